"""What searching a large collection costs on one H100: encoding, disk and reading, on paper.

`python -m benchmarks.cost_retrieval` prints Markdown, which docs/retrieval-cost.md holds and
explains. The collection is MS MARCO's passages; rates and shares are those of `benchmarks.cost`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from benchmarks.cost import WIDTHS, counted
from benchmarks.cost_facts import FACTS, characters, hours, lengths, shares, stored
from wellspring import embeddings, specs
from wellspring.budgets import TOKENS, WINDOW

PASSAGES, CHARACTERS, SPREAD = 8_841_823, 335.0, 0.35
"""Of the passage collection: how many there are; mean characters, deviation of the logarithm."""
QUERIES, DEPTH = 6_980, 1_000
"""Queries of the small development set, and documents that are kept for each."""
SHARDS, ENTRY = 8, 4 + 4
"""Shards of a corpus that is not stored, and bytes of a position and its score in a scan."""
ENCODERS = {
    "BERT-base, float32": ("bert-base-uncased", "bert", 12, "mean", "float32"),
    "Llama 2 7B, bfloat16": ("Llama-2-7b-hf", "llama", 32, "eos", "bfloat16"),
}
"""By their title: the checkpoint, its architecture, blocks, pooling, arithmetic."""
LENGTH = 256
SCORE = (12, 22)
"""GFLOP/s of flat search on one busy core (AVX2), 1,000 and 100 documents kept: measured."""
COLUMNS = """encoder, layers searched, tokens a passage, PFLOP, GPU h min, GPU h max, shard GB, \
scan GB, scoring PFLOP, core h min, core h max"""


def row(title: str, every: bool) -> tuple[Any, ...]:
    """A row of the table. every: all layers are searched, and not the last alone."""
    name, architecture, blocks, pooling, dtype = ENCODERS[title]
    known = FACTS[name]
    spec = specs.EncodingSpec(
        model=name,
        architecture=architecture,
        layers=blocks,
        side="passage",
        pooling=pooling,
        template="{text}",
        length=LENGTH,
        normalise=False,
        dtype=dtype,
        storage="float16",
    )
    tokens = lengths((CHARACTERS, SPREAD), characters(known), spec)
    runs = list(embeddings.batches(tokens.tolist(), TOKENS["cuda"]))
    width, count = tokens[[run[0] for run in runs]], np.array([len(run) for run in runs])
    few = [counted(known, architecture, blocks, pooling, w) for w in WIDTHS]
    flops = float(np.polyval(np.polyfit(WIDTHS, few, 2), width) @ count) * PASSAGES / WINDOW
    low, high = shares("embed", dtype)
    searched, hidden = (blocks + 1 if every else 1), known.sizes[1]
    shards = stored(PASSAGES, searched, hidden, "float16") / 1e9
    scoring = 2.0 * PASSAGES * QUERIES * hidden * searched
    return (
        title,
        searched,
        float(tokens.mean()),
        flops / 1e15,
        hours(flops, dtype) / high,
        hours(flops, dtype) / low,
        shards,
        SHARDS * QUERIES * (DEPTH + 1) * searched * ENTRY / 1e9,
        scoring / 1e15,
        scoring / SCORE[1] / 3600e9,
        scoring / SCORE[0] / 3600e9,
    )


def report() -> str:
    """The table, as Markdown."""
    rows = [row(title, every) for title in ENCODERS for every in (False, True)]
    table = pl.DataFrame(rows, COLUMNS.split(", "), orient="row")
    with pl.Config(tbl_formatting="MARKDOWN", tbl_rows=-1, tbl_cols=-1) as style:
        style.set_tbl_hide_dataframe_shape().set_tbl_hide_column_data_types()
        style.set_tbl_width_chars(9999).set_fmt_str_lengths(999)
        style.set_float_precision(2).set_thousands_separator(",")
        return str(table)


if __name__ == "__main__":
    print(report())

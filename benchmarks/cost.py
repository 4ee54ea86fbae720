"""What a study costs on one H100: GPU hours, storage and network, from counted FLOPs and bytes.

`python -m benchmarks.cost [--study studies/paper.yaml …]` prints Markdown, which docs/cost*.md
hold and explain. What is run comes from the study's files; models are shapes without weights.
"""

from __future__ import annotations

import argparse
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import cost_attributions
from benchmarks.cost_facts import (
    GIVEN,
    Assumptions,
    Checkpoint,
    Dataset,
    characters,
    fact,
    hours,
    lengths,
    model,
    shares,
    stored,
)
from benchmarks.studies import ROOT, read
from wellspring import embeddings, specs
from wellspring.budgets import TOKENS, WINDOW
from wellspring.config import Config
from wellspring.models.architecture import builtin
from wellspring.models.load import Backbone
from wellspring.pooling import pool
from wellspring.probes import names

WIDTHS = (16, 128, 512)
EMBEDDINGS = """encoder, dataset, jobs, texts, tokens a text, padding %, PFLOP, 2PT, \
GPU h min, GPU h max, shard GB"""
PROBES = "retriever, dataset, probe jobs, probe PFLOP, core h min, core h max, GB in memory"
FETCHED, GIVENS = "source, fetched GB, kept GB", "assumption, value, meaning"


@cache
def counted(known: Checkpoint, architecture: str, layers: int, pooling: str, width: int) -> int:
    """FLOPs of one text of `width` tokens: the forward pass, and pooling at every layer."""
    built, meta = model(known.loaded, known.sizes, layers), torch.device("meta")
    backbone = Backbone(built, None, builtin(architecture), layers, known.sizes[1], 0, None, meta)
    ids = torch.zeros(1, width, dtype=torch.long, device=meta)
    # A mask of pairs: of a plain one transformers would first read whether it is needed.
    pairs = torch.ones(1, 1, width, width, dtype=torch.bool, device=meta)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        for state in backbone.states(ids, pairs):
            pool(state, torch.ones_like(ids), pooling)
    return counter.get_total_flops()


def embedding(config: Config, encoder: str, dataset: str) -> tuple[Any, ...]:
    """A row of the table: the sides of a dataset that probed retrievers read from an encoder."""
    used = [config.retrievers[name].encoders for name in config.probed_retrievers()]
    sides = [side for side in used[0] if any(named[side] == encoder for named in used)]
    entry, total = config.datasets[dataset], np.zeros(4)
    known = fact(config.models[config.encoders[encoder].model].source)
    texts = fact(dataset).texts(entry)
    for side in sides:
        spec = specs.encoding(config, encoder, side)
        real = lengths(getattr(fact(dataset), side), characters(known), spec)
        padded = np.full_like(real, spec.length) if spec.pooling == "last-position" else real
        runs = list(embeddings.batches(padded.tolist(), TOKENS["cuda"]))
        width, count = padded[[run[0] for run in runs]], np.array([len(run) for run in runs])
        # Exactly of degree 2 in the width, so three counts give all.
        few = [counted(known, spec.architecture, spec.layers, spec.pooling, w) for w in WIDTHS]
        flops = np.polyval(np.polyfit(WIDTHS, few, 2), width) @ count
        total += np.array([WINDOW, real.sum(), width @ count, flops]) * texts[side] / WINDOW
    number, tokens, slots, flops = total.tolist()
    parts = model(known.loaded, known.sizes, spec.layers).modules()
    linear = sum(part.weight.numel() for part in parts if isinstance(part, torch.nn.Linear))
    peak = hours(flops, spec.dtype)
    size = round(number), tokens / number, 100 * (slots / tokens - 1)
    low, high = shares("embed", spec.dtype)
    work = flops / 1e15, 2 * linear * slots / 1e15, peak / high, peak / low
    disk = stored(number, spec.layers + 1, known.sizes[1], spec.storage) / 1e9
    return encoder, dataset, entry.shards * len(sides), *size, *work, disk


def probes(config: Config, retriever: str, dataset: str) -> tuple[Any, ...]:
    """A row of the table (`bilinear` aside): batches are taken to use few of the passages."""
    *_, probed_layers, passages, probing = config.probing(retriever, dataset)
    entry, known = config.datasets[dataset], fact(dataset)
    name, texts = config.retrievers[retriever].query, known.texts(entry)
    hidden = fact(config.models[config.encoders[name].model].source).sizes[1]
    samples, shares = known.questions[0] * known.positives[0], (1, *probing.portions)
    layers, adds = len(probed_layers), 0
    for n, share in product(passages, shares):
        # The validation samples take a forward pass alone.
        train = samples * (share * (1 - entry.splits.validation) + entry.splits.validation / 2)
        scorer = 2 * (n - 1) * train
        each = {"concat": 2 * (n * n - 1) * train, "passage-scorer": scorer}
        each["interaction"] = each["shuffled-query"] = 3 * (n - 1) * train + scorer
        # All seeds are fitted to the whole split, and to random targets; the first to portions.
        if share == 1:
            each["random-label"] = each["concat"]
            # It shares the products that `interaction` builds.
            each["random-label-interaction"] = 2 * (n - 1) * train + scorer
            each["random-label-passage-scorer"] = scorer
        runs = len(probing.seeds) if share == 1 else 1
        adds += runs * sum(each.get(name, 0) for name in names(tuple(probing.kinds)))
    gflop = 2e-9 * adds * hidden * layers * probing.optimiser.epochs
    jobs, vectors = layers * len(passages), 4e-9 * hidden * sum(texts.values())
    beside = jobs * (GIVEN.start + GIVEN.gigabyte * vectors)
    hours = [(gflop / rate + beside) / 3600 for rate in reversed(GIVEN.fit)]
    return retriever, dataset, jobs, gflop / 1e6, *hours, 2 * vectors


def fetched(source: str, layers: int) -> tuple[str, float, float]:
    """A source, the GB that it brings over the network, and those that stay on the disk."""
    known, name = fact(source), source.partition("@")[0]
    if isinstance(known, Dataset):
        return name, known.download, known.download
    if not isinstance(known, Checkpoint):
        return name, known, 2 * known
    held = model(known.held, known.sizes, layers).num_parameters() * known.each / 1e9
    return name, held, known.copies * held


def report(config: Config) -> str:
    """All tables, as Markdown."""
    names, sets = config.probed_retrievers(), config.probed_datasets()
    given = Assumptions.model_fields.items()
    encoders = {each: None for name in names for each in config.retrievers[name].encoders.values()}
    models = [config.models[config.encoders[name].model] for name in encoders]
    places = {place: m.layers for m in models for place in (m.source, m.adapter) if place}
    rows = {
        EMBEDDINGS: [embedding(config, name, dataset) for name in encoders for dataset in sets],
        PROBES: [probes(config, grid.retriever, grid.dataset) for grid in config.probed()],
        **cost_attributions.tables(config),
        FETCHED: [fetched(*place) for place in {**dict.fromkeys(sets, 0), **places}.items()],
        GIVENS: [(key, str(getattr(GIVEN, key)), field.description) for key, field in given],
    }
    tables = [pl.DataFrame(rows[keys], keys.split(", "), orient="row") for keys in rows]
    summed = cs.numeric() & cs.ends_with(" min", " max", " GB")
    sums = pl.concat([table.select(summed).sum() for table in tables], how="horizontal")
    with pl.Config(tbl_formatting="MARKDOWN", tbl_rows=-1, tbl_cols=-1) as style:
        style.set_tbl_hide_dataframe_shape().set_tbl_hide_column_data_types()
        style.set_tbl_width_chars(9999).set_fmt_str_lengths(999)
        style.set_float_precision(2).set_thousands_separator(",")
        return "\n\n".join(map(str, [sums, *tables]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, nargs="+", default=[ROOT / "studies/paper.yaml"])
    print(report(read(parser.parse_args().study)))

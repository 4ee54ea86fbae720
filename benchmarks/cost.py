"""What a study costs on one H100: GPU hours, storage and network, from counted FLOPs and bytes.

`python -m benchmarks.cost [--study studies/paper.yaml …]` prints Markdown, which docs/cost.md holds
and explains. What is run comes from the study's files; models are shapes without weights.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs
import torch
import transformers
import yaml
from scipy.stats import lognorm
from snakemake.utils import update_config
from torch.utils.flop_counter import FlopCounterMode

from wellspring import config as configuration
from wellspring import embeddings, specs
from wellspring.cli.embeddings import TOKENS, WINDOW
from wellspring.config.base import Strict
from wellspring.errors import ConfigError
from wellspring.models.architecture import builtin
from wellspring.models.load import Backbone
from wellspring.pooling import pool

ROOT = Path(__file__).parents[1]
Config, Pair = configuration.Config, tuple[float, float]


class Assumptions(Strict):
    """What is neither counted nor in the study's files; the docstrings are printed."""

    float32: float = 67
    """TFLOP/s of an H100 SXM in float32 outside its tensor cores (data sheet): TF32 stays off."""
    half: float = 989
    """TFLOP/s of an H100 SXM in bfloat16 or float16, dense (data sheet)."""
    share: Pair = (0.3, 0.5)
    """Share of the peak that a forward pass reaches: an assumption."""
    wordpiece: float = 4.5
    """Characters a token of BERT's tokenizer: measured, 4.4 to 4.6 on NQ and MS MARCO."""
    bpe: float = 3.17
    """Characters a token of Llama 2's tokenizer, English (arXiv 2407.21783, section 3.2)."""
    fit: Pair = (2.6, 6.4)
    """GFLOP/s of fitting the default kinds on one core: measured at 768 and 4,096 dimensions."""
    gigabyte: float = 5
    """Seconds that a probe job spends on a GB of float32 vectors outside the fits: measured."""
    start: float = 2.5
    """Seconds that a probe job takes beside both: measured."""


@dataclass(frozen=True)
class Dataset:
    """Of the train and the test split: questions, and a question's positives and hard negatives (no
    passage serves two). Of questions and of passages: mean characters, deviation of the logarithm.
    GB to download. docs/cost.md says where the numbers come from."""

    questions: tuple[int, int]
    positives: Pair
    negatives: Pair
    query: Pair
    passage: Pair
    download: float

    def texts(self, entry: Any) -> dict[str, int]:
        """Texts a side, less the hard negatives that the study's entry drops."""
        limit = getattr(entry, "max_negatives", None)
        rows = zip(self.questions, self.positives, self.negatives, strict=True)
        passages = round(sum(q * (p + min(n, limit or n)) for q, p, n in rows))
        return {"query": sum(self.questions), "passage": passages}


@dataclass(frozen=True)
class Checkpoint:
    """As published: the class that takes the weights, that whose parameters the files hold, sizes
    of config.json, bytes of a parameter, and copies that are kept: two where it comes pickled."""

    loaded: str
    held: str = "BertModel"
    sizes: tuple[int, int, int, int] = (30_522, 768, 12, 3_072)
    each: int = 4
    copies: int = 2


SIZES = ("vocab_size", "hidden_size", "num_attention_heads", "intermediate_size")
LLAMA = (32_000, 4_096, 32, 11_008)
FACTS = {
    "nq": Dataset((69_639, 6_515), (1, 4.4), (96.6, 96.6), (48, 0.2), (618, 0.09), 2.1),
    "msmarco": Dataset((82_326, 10_047), (1.1, 1.1), (7.1, 7.1), (51, 0.6), (428, 0.35), 0.2),
    "bert-base-uncased": Checkpoint("BertModel", "BertForPreTraining", copies=1),
    "dpr-question_encoder-single-nq-base": Checkpoint("DPRQuestionEncoder"),
    "dpr-ctx_encoder-single-nq-base": Checkpoint("DPRContextEncoder"),
    "contriever": Checkpoint("BertModel"),
    "Llama-2-7b-hf": Checkpoint("LlamaModel", "LlamaForCausalLM", LLAMA, each=2, copies=1),
    "repllama-v1-7b-lora-passage": 0.32,
}
"""By the name of a dataset or repository; of an adapter the GB that the hub lists, pickled."""
GIVEN, WIDTHS = Assumptions(), (16, 128, 512)
EMBEDDINGS = """encoder, dataset, jobs, texts, tokens a text, padding %, PFLOP, 2PT, \
GPU h min, GPU h max, shard GB"""
PROBES = "retriever, dataset, probe jobs, probe PFLOP, core h min, core h max, GB in memory"
FETCHED, GIVENS = "source, fetched GB, kept GB", "assumption, value, meaning"


def fact(name: str) -> Any:
    """What is known of a dataset, or of a model's source; ConfigError where nothing is."""
    key = name.partition("@")[0].rpartition("/")[2]
    if key not in FACTS:
        raise ConfigError(f"{name}: benchmarks/cost.py knows nothing of it: add it to FACTS")
    return FACTS[key]


def read(studies: list[Path]) -> Config:
    """config.yaml and the studies, merged as Snakemake does."""
    files, merged = [ROOT / "config.yaml", *(study.resolve() for study in studies)], {}
    for file in files:
        update_config(merged, yaml.safe_load(file.read_text(encoding="utf-8")))
    return configuration.parse(configuration.anchor(merged, files))


@cache
def model(kind: str, sizes: tuple[int, ...], layers: int) -> Any:
    """A transformers model without weights."""
    known, named = getattr(transformers, kind), dict(zip(SIZES, sizes, strict=True))
    with torch.device("meta"):
        return known(known.config_class(**named, num_hidden_layers=layers)).eval()


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


def lengths(text: Pair, each: float, spec: specs.EncodingSpec) -> np.ndarray:
    """Tokens of the texts that are sorted together, longest first: log-normal, cut as they are."""
    (mean, spread), places = text, (np.arange(WINDOW)[::-1] + 0.5) / WINDOW
    found = lognorm.ppf(places, spread, scale=mean * math.exp(-(spread**2) / 2))
    written = spec.template.replace("{text}", "").replace("</s>", "")
    # Two special tokens: [CLS] and [SEP], or <s> and </s>.
    return np.minimum(np.rint((found + len(written)) / each) + 2, spec.length).astype(int)


def stored(texts: float, layers: int, hidden: int, storage: str) -> float:
    """Bytes of shards: a vector for each of `layers`, an id of 16 digits behind its length."""
    return texts * (layers * hidden * np.dtype(storage).itemsize + 20)


def embedding(config: Config, encoder: str, dataset: str) -> tuple[Any, ...]:
    """A row of the table: the sides of a dataset that probed retrievers read from an encoder."""
    used = [config.retrievers[name].encoders for name in config.study.probe.retrievers]
    sides = [side for side in used[0] if any(named[side] == encoder for named in used)]
    entry, total = config.datasets[dataset], np.zeros(4)
    known = fact(config.models[config.encoders[encoder].model].source)
    texts = fact(dataset).texts(entry)
    for side in sides:
        spec = specs.encoding(config, encoder, side)
        each = GIVEN.bpe if known.sizes == LLAMA else GIVEN.wordpiece
        real = lengths(getattr(fact(dataset), side), each, spec)
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
    hours = flops / (GIVEN.float32 if spec.dtype == "float32" else GIVEN.half) / 3600e12
    size = round(number), tokens / number, 100 * (slots / tokens - 1)
    work = flops / 1e15, 2 * linear * slots / 1e15, hours / GIVEN.share[1], hours / GIVEN.share[0]
    disk = stored(number, spec.layers + 1, known.sizes[1], spec.storage) / 1e9
    return encoder, dataset, entry.shards * len(sides), *size, *work, disk


def probes(config: Config, retriever: str, dataset: str) -> tuple[Any, ...]:
    """A row of the table (`bilinear` aside): batches are taken to use few of the passages."""
    probing, entry, known = config.study.probe, config.datasets[dataset], fact(dataset)
    name, texts = config.retrievers[retriever].query, known.texts(entry)
    hidden = fact(config.models[config.encoders[name].model].source).sizes[1]
    # The validation samples take a forward pass alone.
    train = known.questions[0] * known.positives[0] * (1 - entry.splits.validation / 2)
    scorer = 2 * texts["passage"] * math.ceil(train / probing.optimiser.batch_size)
    layers, runs, adds = len(config.layers(retriever)), len(probing.seeds), 0
    for n in probing.passages:
        each = {"concat": 2 * (n * n - 1) * train, "interaction": 3 * (n - 1) * train}
        each |= {"random-label": each["concat"], "shuffled-query": each["interaction"]}
        adds += sum((each | {"passage-scorer": scorer}).get(kind, 0) for kind in probing.kinds)
    gflop = 2e-9 * adds * hidden * layers * runs * probing.optimiser.epochs
    jobs, vectors = layers * len(probing.passages), 4e-9 * hidden * sum(texts.values())
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
    names, sets = config.study.probe.retrievers, config.study.probe.datasets
    given = Assumptions.model_fields.items()
    encoders = {each: None for name in names for each in config.retrievers[name].encoders.values()}
    models = [config.models[config.encoders[name].model] for name in encoders]
    places = {place: m.layers for m in models for place in (m.source, m.adapter) if place}
    rows = {
        EMBEDDINGS: [embedding(config, name, dataset) for name in encoders for dataset in sets],
        PROBES: [probes(config, name, dataset) for name in names for dataset in sets],
        FETCHED: [fetched(*place) for place in {**dict.fromkeys(sets, 0), **places}.items()],
        GIVENS: [(key, str(getattr(GIVEN, key)), field.description) for key, field in given],
    }
    tables = [pl.DataFrame(rows[keys], keys.split(", "), orient="row") for keys in rows]
    sums = pl.concat([table.select(cs.numeric()).sum() for table in tables], how="horizontal")
    with pl.Config(tbl_formatting="MARKDOWN", tbl_rows=-1, tbl_cols=-1) as style:
        style.set_tbl_hide_dataframe_shape().set_tbl_hide_column_data_types()
        style.set_tbl_width_chars(9999).set_fmt_str_lengths(999)
        style.set_float_precision(2).set_thousands_separator(",")
        return "\n\n".join(map(str, [sums.select(cs.ends_with(" min", " max", " GB")), *tables]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, nargs="+", default=[ROOT / "studies/paper.yaml"])
    print(report(read(parser.parse_args().study)))

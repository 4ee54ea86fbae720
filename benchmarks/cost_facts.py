"""What the costs of a study are computed from: datasets, checkpoints, an H100, and shapes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
import transformers
from scipy.stats import lognorm

from wellspring import specs
from wellspring.budgets import WINDOW
from wellspring.config.base import Strict
from wellspring.errors import ConfigError

Pair = tuple[float, float]


class Assumptions(Strict):
    """What is neither counted nor in the study's files; the docstrings are printed."""

    float32: float = 51
    """TFLOP/s of an H100 SXM's float32 matrix product, TF32 off: measured (data sheet: 67)."""
    half: float = 770
    """TFLOP/s of its bfloat16 matrix product: measured, 750 to 780 (data sheet: 989)."""
    embed_float32: Pair = (0.61, 0.71)
    """Share of that peak which embedding and storing reach: measured, BERT-base."""
    embed_half: Pair = (0.47, 0.49)
    """The same in bfloat16: measured, Llama 2 7B."""
    attribute_float32: Pair = (0.77, 0.91)
    """Share of that peak which attribution reaches: measured, BERT-base and Llama 2 7B."""
    attribute_half: Pair = (0.35, 0.53)
    """The same in bfloat16: measured, Llama 2 7B, in its last block and below."""
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
    rows: Pair = (1.7, 3)
    """Bytes a row of the activations' counts and measures as Parquet: measured on drawn scores."""
    card: float = 80
    """GB of an H100 (data sheet)."""


@dataclass(frozen=True)
class Dataset:
    """Of the train and the test split: questions, and a question's positives and hard negatives (no
    passage serves two). Of questions and of passages: mean characters, deviation of the logarithm.
    GB to download. docs/cost-assumptions.md says where the numbers come from."""

    questions: tuple[int, int]
    positives: Pair
    negatives: Pair
    query: Pair
    passage: Pair
    download: float

    def tested(self) -> dict[str, int]:
        """Queries and positives of the test split."""
        questions = self.questions[1]
        return {"query": questions, "passage": round(questions * self.positives[1])}

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
    "nq": Dataset((69_639, 6_515), (1, 8.35), (96.6, 96.6), (48, 0.2), (618, 0.09), 2.1),
    "msmarco": Dataset((82_326, 10_047), (1.1, 1.1), (7.1, 7.1), (51, 0.6), (428, 0.35), 0.2),
    "bert-base-uncased": Checkpoint("BertModel", "BertForPreTraining", copies=1),
    "dpr-question_encoder-single-nq-base": Checkpoint("DPRQuestionEncoder"),
    "dpr-ctx_encoder-single-nq-base": Checkpoint("DPRContextEncoder"),
    "contriever": Checkpoint("BertModel"),
    "Llama-2-7b-hf": Checkpoint("LlamaModel", "LlamaForCausalLM", LLAMA, each=2, copies=1),
    "repllama-v1-7b-lora-passage": 0.32,
}
"""By the name of a dataset or repository; of an adapter the GB that the hub lists, pickled."""
GIVEN = Assumptions()


def fact(name: str) -> Any:
    """What is known of a dataset, or of a model's source; ConfigError where nothing is."""
    key = name.partition("@")[0].rpartition("/")[2]
    if key not in FACTS:
        raise ConfigError(f"{name}: benchmarks/cost_facts.py knows nothing of it: add it to FACTS")
    return FACTS[key]


@cache
def model(kind: str, sizes: tuple[int, ...], layers: int) -> Any:
    """A transformers model without weights."""
    known, named = getattr(transformers, kind), dict(zip(SIZES, sizes, strict=True))
    with torch.device("meta"):
        return known(known.config_class(**named, num_hidden_layers=layers)).eval()


def lengths(text: Pair, each: float, spec: specs.EncodingSpec, window: int = WINDOW) -> np.ndarray:
    """Tokens of the texts that are sorted together, longest first: log-normal, cut as they are."""
    (mean, spread), places = text, (np.arange(window)[::-1] + 0.5) / window
    found = lognorm.ppf(places, spread, scale=mean * math.exp(-(spread**2) / 2))
    written = spec.template.replace("{text}", "").replace("</s>", "")
    # Two special tokens: [CLS] and [SEP], or <s> and </s>.
    return np.minimum(np.rint((found + len(written)) / each) + 2, spec.length).astype(int)


def stored(texts: float, layers: int, hidden: int, storage: str) -> float:
    """Bytes of shards: a vector for each of `layers`, an id of 16 digits behind its length."""
    return texts * (layers * hidden * np.dtype(storage).itemsize + 20)


def characters(known: Checkpoint) -> float:
    """Characters a token."""
    return GIVEN.bpe if known.sizes == LLAMA else GIVEN.wordpiece


def hours(flops: float, dtype: str) -> float:
    """GPU hours at the peak of the arithmetic."""
    return flops / (GIVEN.float32 if dtype == "float32" else GIVEN.half) / 3600e12


def shares(step: str, dtype: str) -> Pair:
    """The smallest and the largest share of the peak that a step reaches."""
    return getattr(GIVEN, f"{step}_{'float32' if dtype == 'float32' else 'half'}")

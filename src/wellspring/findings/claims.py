"""The ten published claims, as data: what each says, of what, and what must hold for it.

All are of arXiv 2505.07166: 1 to 6 of probing ("knowledge consistency"), 7 to 10 of active neurons
("knowledge decentralisation"). `wellspring.findings.consistency` and `wellspring.findings.activity`
measure them, `wellspring.findings.verdicts` judges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import polars as pl

from wellspring.findings.cells import Region
from wellspring.findings.verdicts import (
    NOT_TESTABLE,
    Above,
    Below,
    Comparable,
    Hypothesis,
    Judgement,
    Within,
)
from wellspring.findings.wording import untrained
from wellspring.intervals import Interval

SCHEMA = {
    "claim": pl.Int64,
    "statement": pl.String,
    "dataset": pl.String,
    "retriever": pl.String,
    "compared_with": pl.String,
    "attribution": pl.String,
    "side": pl.String,
    "as_published": pl.Boolean,
    "confounded": pl.String,
    "measured": pl.String,
    "setting": pl.String,
    "estimate": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "detectable": pl.Float64,
    "clusters": pl.Int64,
    "at_setting": pl.String,
    "settings": pl.Int64,
    "distinct_settings": pl.Int64,
    "supporting": pl.Int64,
    "contradicting": pl.Int64,
    "on_this_pair": pl.String,
    "verdict": pl.String,
    "reason": pl.String,
}
DECODERS = {"eos", "last-position"}
"""Poolings of decoders: by the end token, and the published way."""


@dataclass(frozen=True)
class Activity:
    """The share of active neurons in a sub-layer: of R less that of C over a region, or of R in
    every layer alone."""

    sublayer: str
    region: Region | Literal["every layer"]
    hypothesis: Hypothesis

    @property
    def is_change(self) -> bool:
        return self.region != "every layer"

    def __str__(self) -> str:
        where = "in every layer" if self.region == "every layer" else f"{self.region} layers"
        what = "relative change of the share" if self.is_change else "share"
        return f"{what} of active neurons, sub-layer {self.sublayer}, {where}"


@dataclass(frozen=True)
class Accuracy:
    """(accuracy − chance) / (1 − chance): whose, over which layers, and its mean over N or its
    change from the smallest N to the largest."""

    whose: Literal["difference", "retriever", "counterpart"]
    hypothesis: Hypothesis
    layers: Literal["all", "deep"] = "all"
    over: Literal["mean", "change"] = "mean"

    def __str__(self) -> str:
        whose = {"difference": "retriever less counterpart"}.get(self.whose, self.whose)
        layers = {"deep": "layers from 3/8 of the depth"}.get(self.layers, "all layers")
        over = {"mean": "mean over N", "change": "largest N less smallest"}[self.over]
        return f"(accuracy − chance) / (1 − chance), {whose}, {layers}, {over}"


@dataclass(frozen=True)
class Fluctuation:
    """The variance over layers of (accuracy − chance) / (1 − chance), of MS MARCO less NQ."""

    hypothesis: Hypothesis

    def __str__(self) -> str:
        return "variance over layers of (accuracy − chance) / (1 − chance), msmarco less nq"


Part = Activity | Accuracy | Fluctuation


@dataclass(frozen=True)
class Claim:
    """One published claim about a retriever R and its counterpart C.

    Attributes:
        number: its place in the list of ten claims.
        statement: in words.
        parts: all that must hold; the first is the one whose estimate is reported.
        pooling: of the pair that the claim is about.
        pair: the published retriever and its counterpart.
        sides: of attributions.
        confounded: why the published finding may not be what it seems, or None.
    """

    number: int
    statement: str
    parts: tuple[Part, ...]
    pooling: str
    pair: tuple[str, str]
    sides: tuple[str, ...] = ()
    confounded: str | None = None

    def is_about(self, pooling: str) -> bool:
        """Whether the claim speaks of retrievers that pool this way."""
        return pooling == self.pooling or {pooling, self.pooling} <= DECODERS


CLAIMS = (
    Claim(
        number=1,
        statement="the counterpart ranks the positive first a little above chance, "
        "and the retriever is comparable to it",
        parts=(
            Accuracy("difference", Comparable()),
            Accuracy("counterpart", Within(0, 0.2)),
        ),
        pooling="cls",
        pair=("dpr-question", "bert-cls"),
        confounded="published as accuracies of 50 to 60 %, where chance is 50 % (N = 2)",
    ),
    Claim(
        number=2,
        statement="the retriever's accuracy falls with the number of passages, beyond chance",
        parts=(Accuracy("retriever", Below(), over="change"),),
        pooling="cls",
        pair=("dpr-question", "bert-cls"),
        confounded="published as accuracy, most of whose fall is that of chance, 1 / N",
    ),
    Claim(
        number=3,
        statement="the retriever is below its counterpart (published for dpr-context)",
        parts=(Accuracy("difference", Below()),),
        pooling="cls",
        pair=("dpr-context", "bert-cls"),
        confounded="the published dpr-context weights may never have been loaded",
    ),
    Claim(
        number=4,
        statement="on MS MARCO the retriever's accuracy fluctuates more over layers than on NQ",
        parts=(Fluctuation(Above()),),
        pooling="cls",
        pair=("dpr-question", "bert-cls"),
        confounded="fewer samples fluctuate more by themselves; here that is subtracted",
    ),
    Claim(
        number=5,
        statement="the retriever is comparable to its counterpart (published for mean pooling)",
        parts=(Accuracy("difference", Comparable()),),
        pooling="mean",
        pair=("contriever", "bert-mean"),
    ),
    Claim(
        number=6,
        statement="the retriever exceeds its counterpart in deeper layers (published for decoders)",
        parts=(Accuracy("difference", Above(), layers="deep"),),
        pooling="eos",
        pair=("repllama", "llama"),
        confounded="the published vector may be a padding position's; "
        "published as 18 to 22 %, the published points say 3.5 to 8.4 points",
    ),
    Claim(
        number=7,
        statement="the retriever activates more intermediate neurons than its counterpart, "
        "and fewer output neurons in early layers",
        parts=(Activity("intermediate", "all", Above()), Activity("output", "early", Below())),
        pooling="cls",
        pair=("dpr-question", "bert-cls"),
        sides=("query",),
        confounded="published through the pooler for BERT and the raw CLS state for DPR: "
        "the target alone doubles the active neurons",
    ),
    Claim(
        number=8,
        statement="the retriever keeps output activity over all layers, "
        "and activates more output neurons in late ones than its counterpart",
        parts=(Activity("output", "late", Above()), Activity("output", "every layer", Above())),
        pooling="cls",
        pair=("dpr-context", "bert-cls"),
        sides=("passage",),
        confounded="the published dpr-context weights may never have been loaded",
    ),
    Claim(
        number=9,
        statement="the retriever activates fewer intermediate neurons than its counterpart "
        "(published for mean pooling)",
        parts=(Activity("intermediate", "all", Below()),),
        pooling="mean",
        pair=("contriever", "bert-mean"),
        sides=("query", "passage"),
    ),
    Claim(
        number=10,
        statement="the retriever activates fewer intermediate neurons than its counterpart "
        "(published for decoders)",
        parts=(Activity("intermediate", "all", Below()),),
        pooling="eos",
        pair=("repllama", "llama"),
        sides=("query", "passage"),
        confounded="the published vector may be a padding position's",
    ),
)


@dataclass(frozen=True)
class Pair:
    """A retriever and its counterpart.

    Attributes:
        names: both, retriever first.
        curves: their published names.
        pooling: of the retriever's query encoder.
        fresh: those of them with weights that were never trained, to whether that is all of them.
    """

    names: tuple[str, str]
    curves: tuple[str, str]
    pooling: str
    fresh: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """What the data of a pair say of a claim.

    Attributes:
        setting: the published setting.
        interval: of the claim's first part there; one cell.
        detectable: the smallest effect that such an interval would show.
        clusters: how many texts stand behind it.
        at_setting: the judgement at that setting alone.
        judgement: of the whole family.
        distinct: [K] its distinct settings, by index.
    """

    setting: str
    interval: Interval
    detectable: float
    clusters: int
    at_setting: Judgement
    judgement: Judgement
    distinct: np.ndarray


def row(
    claim: Claim, pair: Pair, where: Mapping[str, str], measured: Measured | str
) -> dict[str, object]:
    """A row of SCHEMA.

    Args:
        where: dataset, and of attributions the attribution and the side.
        measured: what was measured, or why nothing was.
    """
    retriever, other = pair.names
    values: dict[str, object] = {
        **dict.fromkeys(SCHEMA),
        "claim": claim.number,
        "statement": claim.statement,
        "retriever": retriever,
        "compared_with": other,
        **where,
        "as_published": pair.curves == claim.pair and not pair.fresh,
        "confounded": claim.confounded,
        "measured": str(claim.parts[0]),
        "settings": 0,
        "distinct_settings": 0,
        "supporting": 0,
        "contradicting": 0,
        "on_this_pair": NOT_TESTABLE,
        "verdict": NOT_TESTABLE,
    }
    if isinstance(measured, str):
        return values | {"reason": measured}
    judgement = measured.judgement
    states = judgement.states[measured.distinct]
    values |= {
        "setting": measured.setting,
        **{name: getattr(measured.interval, name).item() for name in ("estimate", "low", "high")},
        "detectable": measured.detectable,
        "clusters": measured.clusters,
        "at_setting": measured.at_setting.verdict,
        "settings": len(judgement.states),
        "distinct_settings": len(states),
        "supporting": int((states > 0).sum()),
        "contradicting": int((states < 0).sum()),
        "on_this_pair": judgement.verdict,
        "verdict": judgement.verdict,
        "reason": judgement.reason,
    }
    if pair.fresh:
        fresh = " and ".join(f"{name} {untrained(whole)}" for name, whole in pair.fresh.items())
        reason = f"the claim is about what fine-tuning changes, and {fresh}"
        return values | {"verdict": NOT_TESTABLE, "reason": reason}
    return values


def untested(claim: Claim, reason: str) -> dict[str, object]:
    """The row of a claim that no pair of a study can be asked about."""
    values = {**dict.fromkeys(SCHEMA), "claim": claim.number, "statement": claim.statement}
    values |= {"confounded": claim.confounded, "measured": str(claim.parts[0])}
    return values | {"settings": 0, "verdict": NOT_TESTABLE, "reason": reason}


def gathered(rows: list[dict[str, object]]) -> pl.DataFrame:
    """The table of SCHEMA, sorted."""
    order = ("claim", "dataset", "retriever", "attribution", "side")
    table = pl.DataFrame(rows, SCHEMA, infer_schema_length=None)
    return table.with_columns(pl.col(pl.Float64).fill_nan(None)).sort(order, nulls_last=True)

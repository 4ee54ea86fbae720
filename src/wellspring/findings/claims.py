"""The published claims about active neurons, held against a table of attributions.

Claims 7 to 10 are those of arXiv 2505.07166 ("knowledge decentralisation"), each said of its own
pair of encoders. Here they are asked of any retriever R and its counterpart C, at the published
setting and over the whole sweep of normalisers and thresholds: a claim that turns with a setting
says more of the setting than of the retriever.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

from wellspring.findings.decentralisation import Region
from wellspring.findings.verdicts import Judgement, Setting, judge

SCHEMA = {
    "claim": pl.Int64,
    "statement": pl.String,
    "attribution": pl.String,
    "dataset": pl.String,
    "retriever": pl.String,
    "compared_with": pl.String,
    "side": pl.String,
    "as_published": pl.Boolean,
    "confounded": pl.String,
    "normaliser": pl.String,
    "left_out": pl.Int64,
    "threshold": pl.Float64,
    "estimate": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "settings": pl.Int64,
    "supporting": pl.Int64,
    "contradicting": pl.Int64,
    "verdict": pl.String,
    "reason": pl.String,
}

MEASURE = "share_active"
GROUP = ("attribution", "dataset", "retriever", "side")
SETTING = ("normaliser", "left_out", "threshold")


@dataclass(frozen=True)
class Changed:
    """R's share of active neurons in a sub-layer is above (1) or below (−1) C's."""

    sublayer: str
    region: Region
    direction: Literal[1, -1]

    def __str__(self) -> str:
        return f"change of sub-layer {self.sublayer}, {self.region} layers"


@dataclass(frozen=True)
class Present:
    """R's share of active neurons in a sub-layer is above 0 in every layer."""

    sublayer: str

    def __str__(self) -> str:
        return f"level of sub-layer {self.sublayer}, layer by layer"


@dataclass(frozen=True)
class Claim:
    """One published claim.

    Attributes:
        number: its place in the list of ten claims.
        statement: in words.
        change: what it says first; as a relative change its effect size.
        pooling, sides: of the published pair.
        besides: what must hold as well.
        confounded: why the published finding may not be what it seems, or None.
    """

    number: int
    statement: str
    change: Changed
    pooling: str
    sides: tuple[str, ...]
    besides: tuple[Changed | Present, ...] = ()
    confounded: str | None = None

    @property
    def parts(self) -> tuple[Changed | Present, ...]:
        """All that must hold."""
        return self.change, *self.besides


DECODERS = {"eos", "last-position"}
"""Poolings of decoders: by the end token, and the published way."""

CLAIMS = (
    Claim(
        number=7,
        statement="the retriever activates more intermediate neurons than its counterpart, "
        "and fewer output neurons in early layers",
        change=Changed("intermediate", "all", 1),
        besides=(Changed("output", "early", -1),),
        pooling="cls",
        sides=("query",),
        confounded="published through the pooler for BERT and the raw CLS state for DPR: "
        "the target alone doubles the active neurons",
    ),
    Claim(
        number=8,
        statement="the retriever keeps output activity over all layers, "
        "and activates more output neurons in late ones than its counterpart",
        change=Changed("output", "late", 1),
        besides=(Present("output"),),
        pooling="cls",
        sides=("passage",),
        confounded="the published dpr-context weights may never have been loaded",
    ),
    Claim(
        number=9,
        statement="the retriever activates fewer intermediate neurons than its counterpart "
        "(published of mean pooling)",
        change=Changed("intermediate", "all", -1),
        pooling="mean",
        sides=("query", "passage"),
    ),
    Claim(
        number=10,
        statement="the retriever activates fewer intermediate neurons than its counterpart "
        "(published of decoders)",
        change=Changed("intermediate", "all", -1),
        pooling="eos",
        sides=("query", "passage"),
        confounded="the published vector may be a padding position's",
    ),
)


@dataclass(frozen=True)
class _Pair:
    """One pair under one attribution on one dataset and side.

    Attributes:
        where: attribution, dataset, retriever, compared_with, side.
        changes, relative: R against C by region.
        own, theirs: levels of R and of C by layer and by region.
    """

    where: Mapping[str, str]
    changes: pl.DataFrame
    relative: pl.DataFrame
    own: pl.DataFrame
    theirs: pl.DataFrame


def evaluate(
    table: pl.DataFrame,
    pooling: Mapping[str, str],
    comparable: Collection[str],
    fresh: Collection[str] = (),
) -> pl.DataFrame:
    """Every claim on every pair, attribution, dataset and side of a table.

    A setting of the sweep decides for a claim where the interval of every part lies on the claimed
    side of 0, against it where one part's lies on the other side, and not at all otherwise or where
    neither encoder has an active neuron. See `judge` for the verdict.

    Args:
        table: the columns of `decentralisation.SCHEMA`.
        pooling: of each retriever (cls, mean, eos …), for the published setting and for telling
            which rows stand for the published comparison.
        comparable: the attributions that measure what the paper does: weights, towards a length,
            in both sub-layers of every layer. Of others the normaliser has another meaning.
        fresh: retrievers with random weights, whom no published comparison has.

    Returns:
        The columns of SCHEMA, sorted; a row at least for each claim, with the verdict "not testable
        here" where the table holds no pair. estimate, low, high: the relative change of the
        claim's `change` at the published setting.
    """
    pairs = list(_pairs(table.filter(pl.col("measure") == MEASURE)))
    rows = [_row(claim, pair, pooling, comparable, fresh) for claim in CLAIMS for pair in pairs]
    if not pairs:
        rows = [_untested(claim) for claim in CLAIMS]
    return pl.DataFrame(rows, schema=SCHEMA).sort("claim", *GROUP)


def published_setting(pooling: str) -> Setting:
    """The setting of the paper: a tenth of the text's largest score, of decoders a hundredth."""
    return Setting("network-max", 0, 0.01 if pooling in DECODERS else 0.1)


def _pairs(shares: pl.DataFrame) -> Iterator[_Pair]:
    """Every pair that the table compares, in order."""
    parts = {
        finding: part.partition_by(GROUP, as_dict=True)
        for (finding,), part in shares.partition_by("finding", as_dict=True).items()
    }
    empty = shares.clear()
    for key, changes in sorted(parts.get("change", {}).items()):
        other = changes["compared_with"][0]
        attribution, dataset, retriever, side = key
        yield _Pair(
            where={**dict(zip(GROUP, key, strict=True)), "compared_with": other},
            changes=changes,
            relative=parts["relative_change"].get(key, empty),
            own=parts["level"].get((attribution, dataset, retriever, side), empty),
            theirs=parts["level"].get((attribution, dataset, other, side), empty),
        )


def _row(
    claim: Claim,
    pair: _Pair,
    pooling: Mapping[str, str],
    comparable: Collection[str],
    fresh: Collection[str],
) -> dict[str, object]:
    """The row of one claim on one pair."""
    own_pooling = pooling[pair.where["retriever"]]
    published = published_setting(own_pooling)
    alike = own_pooling == claim.pooling or {own_pooling, claim.pooling} <= DECODERS
    of_side = pair.where["side"] in claim.sides
    trained = set(fresh).isdisjoint((pair.where["retriever"], pair.where["compared_with"]))
    as_published = alike and of_side and trained and pair.where["attribution"] in comparable
    states, judgement = _judged(claim, pair, published)
    return {
        **_untested(claim),
        **pair.where,
        "as_published": as_published,
        **{name: getattr(published, name) for name in SETTING},
        **_effect(claim, pair, published),
        "settings": len(states),
        "supporting": sum(state > 0 for state in states.values()),
        "contradicting": sum(state < 0 for state in states.values()),
        "verdict": judgement.verdict,
        "reason": judgement.reason,
    }


def _untested(claim: Claim) -> dict[str, object]:
    """The row of a claim in a study that compares no two retrievers."""
    return {
        **dict.fromkeys(SCHEMA),
        "claim": claim.number,
        "statement": claim.statement,
        "confounded": claim.confounded,
        **{name: getattr(published_setting(claim.pooling), name) for name in SETTING},
        "settings": 0,
        "supporting": 0,
        "contradicting": 0,
        "verdict": "not testable here",
        "reason": "the study attributes no retriever together with its counterpart",
    }


def _judged(claim: Claim, pair: _Pair, published: Setting) -> tuple[dict[Setting, int], Judgement]:
    """The sweep of a claim on a pair, and its verdict."""
    parts = [_states(part, pair) for part in claim.parts]
    for part, states in zip(claim.parts, parts, strict=True):
        if not states:
            return {}, Judgement("not testable here", f"the table holds no {part}")
    active = {part.sublayer: _active(part.sublayer, pair) for part in claim.parts}
    anywhere = set().union(*active.values())
    shared = _distinct(set(parts[0]).intersection(*parts[1:]), claim, pair)
    states = {
        setting: min(part[setting] for part in parts) if setting in anywhere else 0
        for setting in sorted(shared)
    }
    silent = [sublayer for sublayer, settings in active.items() if not settings]
    if silent and not any(states.values()):
        reason = f"no neuron of sub-layer {silent[0]} is active at any setting"
        return states, Judgement("not testable here", reason)
    return states, judge(states, published)


def _distinct(settings: set[Setting], claim: Claim, pair: _Pair) -> set[Setting]:
    """Without those that repeat a setting that leaves out fewer outliers: where an outlier lies in
    another sub-layer, a normaliser is the same without it, and would be counted twice."""
    sublayers = {part.sublayer for part in claim.parts}
    rows = pair.changes.filter(pl.col("sublayer").is_in(sublayers)).sort("region", "sublayer")
    found: dict[tuple, Setting] = {}
    for setting in sorted(settings):
        same = rows.filter(*(pl.col(name) == getattr(setting, name) for name in SETTING))
        values = same.select(pl.col("estimate", "low", "high").round_sig_figs(9)).rows()
        found.setdefault((setting.normaliser, setting.threshold, tuple(values)), setting)
    return set(found.values())


def _states(part: Changed | Present, pair: _Pair) -> dict[Setting, int]:
    """Each setting's decision on one part: 1 holds, −1 does not, 0 open."""
    low, high = pl.col("low"), pl.col("high")
    if isinstance(part, Changed):
        rows = pair.changes.filter(pl.col("region") == part.region)
        state = ((low > 0).cast(pl.Int8) - (high < 0).cast(pl.Int8)) * part.direction
    else:
        rows = pair.own.filter(pl.col("layer").is_not_null())
        state = (low > 0).cast(pl.Int8) - (high <= 0).cast(pl.Int8)
    rows = rows.filter(pl.col("sublayer") == part.sublayer)
    # One layer without activity is enough against, one that is open keeps all open.
    worst = rows.group_by(SETTING).agg(state.fill_null(0).min().alias("state"))
    return {Setting(*setting): state for *setting, state in worst.iter_rows()}


def _active(sublayer: str, pair: _Pair) -> set[Setting]:
    """The settings at which one of the two encoders has an active neuron in the sub-layer."""
    levels = pl.concat([pair.own, pair.theirs])
    some = levels.filter(pl.col("sublayer") == sublayer, pl.col("estimate") > 0)
    return {Setting(*row) for row in some.select(SETTING).unique().iter_rows()}


def _effect(claim: Claim, pair: _Pair, published: Setting) -> dict[str, float | None]:
    """The claim's relative change at the published setting, null where it is not known."""
    found = pair.relative.filter(
        pl.col("region") == claim.change.region,
        pl.col("sublayer") == claim.change.sublayer,
        *(pl.col(name) == getattr(published, name) for name in SETTING),
    ).select("estimate", "low", "high")
    return found.row(0, named=True) if found.height else dict.fromkeys(found.columns)

"""claims: the published claims, judged on every pair of a study."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from wellspring import specs
from wellspring.artefacts import grids
from wellspring.artefacts.attributions import ActivationTexts
from wellspring.artefacts.verdicts import Claims
from wellspring.cli.step import Job, gathering, step

if TYPE_CHECKING:
    from wellspring.findings.claims import Claim, Pair
    from wellspring.findings.outcomes import Outcomes, Samples
    from wellspring.findings.verdicts import Rules

DATASETS = ("nq", "msmarco")
"""The published datasets, which one claim compares."""


@step(Claims, "table")
@gathering
def claims(job: Job, table: Path, results: Path) -> None:
    """Judge the published claims by a study's probes and activations, into TABLE."""
    from wellspring.findings.claims import CLAIMS, gathered, untested

    spec = job.spec
    rows = [*_of_probes(results, spec), *_of_activity(results, spec)]
    asked = {row["claim"] for row in rows}
    rows += [
        untested(claim, "the study compares no two retrievers in this way")
        for claim in CLAIMS
        if claim.number not in asked
    ]
    judged = gathered(rows)
    for row in judged.filter(pl.col("settings") > 0).iter_rows(named=True):
        side = f", {row['side']} side" if row["side"] else ""
        job.say(f"claim {row['claim']}, {row['retriever']}{side}: {row['on_this_pair']}")
    Claims.write(table, judged, job.provenance("scipy", "polars"))


def _pairs(spec: specs.ClaimsSpec) -> Iterator[Pair]:
    from wellspring.findings.claims import Pair

    for pair in spec.pairs:
        names = (pair.retriever, pair.other)
        yield Pair(names, pair.curves, pair.pooling, pair.fresh)


def _rules(spec: specs.ClaimsSpec, margin: float) -> Rules:
    from wellspring.findings.verdicts import Rules

    return Rules(spec.alpha, margin, spec.permutations, spec.seed)


def _other_pooling(claim: Claim, pair: Pair) -> str | None:
    """Why a claim says nothing of a pair, if so."""
    if claim.is_about(pair.pooling):
        return None
    return (
        f"the claim is about {claim.pooling} pooling, and {pair.names[0]} pools by {pair.pooling}"
    )


def _of_probes(results: Path, spec: specs.ClaimsSpec) -> Iterator[dict[str, object]]:
    """The rows of claims about probing, dataset by dataset, then the one about two datasets."""
    from wellspring.findings.claims import CLAIMS, Fluctuation, row
    from wellspring.findings.consistency import measured

    rules = _rules(spec, spec.margin / 2)
    pairs = list(_pairs(spec))
    for dataset in dict.fromkeys(grid.dataset for grid in spec.probed):
        for pair in pairs:
            if dataset not in _datasets(pair, spec):
                continue
            about = [claim for claim in CLAIMS if not claim.sides]
            about = [c for c in about if not isinstance(c.parts[0], Fluctuation)]
            outcomes = None
            for claim in about:
                judgement = _other_pooling(claim, pair)
                if judgement is None:
                    outcomes = outcomes or _outcomes(results, dataset, pair, spec)
                    ids = (dataset, *pair.names, str(claim.number))
                    judgement = measured(claim, *outcomes, spec.blocks[pair.names[0]], rules, *ids)
                yield row(claim, pair, {"dataset": dataset}, judgement)
    yield from _fluctuations(results, pairs, spec)


def _fluctuations(
    results: Path, pairs: list[Pair], spec: specs.ClaimsSpec
) -> Iterator[dict[str, object]]:
    """The rows of the claim that compares the published datasets."""
    from wellspring.findings import consistency
    from wellspring.findings.claims import CLAIMS, Fluctuation, row

    claim = next(claim for claim in CLAIMS if isinstance(claim.parts[0], Fluctuation))
    for pair in pairs:
        datasets = _datasets(pair, spec)
        if not datasets:
            continue
        judgement = _other_pooling(claim, pair)
        if judgement is None and not set(DATASETS) <= datasets:
            judgement = f"the claim compares the datasets {' and '.join(DATASETS)}"
        if judgement is None:
            outcomes = (_outcomes(results, dataset, pair, spec) for dataset in reversed(DATASETS))
            first, second = (
                consistency.fluctuation_of(own, samples) for own, _, samples in outcomes
            )
            judgement = consistency.compared(first, second, _rules(spec, spec.margin / 2))
        yield row(claim, pair, {}, judgement)


def _datasets(pair: Pair, spec: specs.ClaimsSpec) -> set[str]:
    """The datasets on which both of a pair are probed."""
    own, theirs = (
        {grid.dataset for grid in spec.probed if grid.retriever == name} for name in pair.names
    )
    return own & theirs


def _outcomes(
    results: Path, dataset: str, pair: Pair, spec: specs.ClaimsSpec
) -> tuple[dict[str, Outcomes], dict[str, Outcomes], Samples]:
    """The outcomes of a pair's probes at the cells that both have, by probe, and the samples."""
    from wellspring.findings.consistency import PROBES
    from wellspring.findings.outcomes import aligned, outcomes_of, samples_of

    frames = {}
    for name in pair.names:
        (grid,) = (g for g in spec.probed if (g.retriever, g.dataset) == (name, dataset))
        every = pl.concat(grids.probes(results, grid))
        frames[name] = every.filter(pl.col("probe").is_in(PROBES)).collect()
    samples = samples_of(frames[pair.names[0]])
    sides = [
        {
            probe: outcomes_of(part, samples, f"dataset {dataset}, retriever {name}, {probe}")
            for (probe,), part in frame.partition_by("probe", as_dict=True).items()
        }
        for name, frame in frames.items()
    ]
    both = {
        probe: aligned(sides[0][probe], sides[1][probe]) for probe in sides[0].keys() & sides[1]
    }
    own, theirs = ({probe: pair_[side] for probe, pair_ in both.items()} for side in (0, 1))
    return own, theirs, samples


def _of_activity(results: Path, spec: specs.ClaimsSpec) -> Iterator[dict[str, object]]:
    """The rows of claims about active neurons."""
    from wellspring.findings.activity import MEASURE, SETTING, measured, published_setting
    from wellspring.findings.claims import CLAIMS, row

    rules = _rules(spec, spec.margin)
    columns = ["text_id", "layer", "sublayer", *SETTING, "value"]
    for (attribution, dataset, side), cells in grids.groups(spec.grid).items():
        by_retriever = {cell.retriever: cell for cell in cells}
        for pair in _pairs(spec):
            if not set(pair.names) <= by_retriever.keys():
                continue
            own, theirs = (by_retriever[name] for name in pair.names)
            where = {"dataset": dataset, "attribution": attribution, "side": side}
            shares = None
            for claim in (claim for claim in CLAIMS if side in claim.sides):
                judgement = _other_pooling(claim, pair)
                if judgement is None and attribution not in spec.comparable:
                    judgement = "the attribution measures something else than the published one"
                if judgement is None and not (own.whole and theirs.whole):
                    judgement = "the study attributes some of the blocks alone"
                if judgement is None:
                    shares = shares or tuple(
                        grids.side(results, cell, ActivationTexts, cell.activations)
                        .filter(measure=MEASURE)
                        .select(columns)
                        .collect()
                        for cell in (own, theirs)
                    )
                    setting = published_setting(pair.pooling)
                    ids = (attribution, dataset, side, *pair.names, str(claim.number))
                    depth = spec.depths[own.encoder]
                    judgement = measured(claim, shares[0], shares[1], depth, setting, rules, *ids)
                yield row(claim, pair, where, judgement)

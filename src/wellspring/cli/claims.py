"""claims: the published claims, judged on every pair of a study."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import polars as pl

from wellspring import specs
from wellspring.cli import grids
from wellspring.cli.step import FILE, FOLDER, options, step

if TYPE_CHECKING:
    from wellspring.findings.claims import Claim, Pair
    from wellspring.findings.outcomes import Outcomes, Samples
    from wellspring.findings.verdicts import Rules

DATASETS = ("nq", "msmarco")
"""The published datasets, which one claim compares."""


@click.command()
@click.argument("probes", type=FOLDER)
@click.argument("activations", type=FOLDER)
@click.argument("table", type=FILE)
@options
def claims(
    probes: Path, activations: Path, table: Path, spec: str, code: str | None, log: Path | None
) -> None:
    """Judge the published claims by a study's PROBES and ACTIVATIONS, into TABLE (CSV)."""
    from wellspring import shards
    from wellspring.findings.claims import CLAIMS, gathered, untested

    wanted = specs.ClaimsSpec.read(spec)
    with step("claims", None, code, log) as messages:
        rows = [*_of_probes(probes, wanted), *_of_activity(activations, wanted)]
        asked = {row["claim"] for row in rows}
        rows += [
            untested(claim, "the study compares no two retrievers in this way")
            for claim in CLAIMS
            if claim.number not in asked
        ]
        judged = gathered(rows)
        for row in judged.filter(pl.col("settings") > 0).iter_rows(named=True):
            side = f", {row['side']} side" if row["side"] else ""
            messages.say(f"claim {row['claim']}, {row['retriever']}{side}: {row['on_this_pair']}")
        shards.write_text(table, grids.rounded(judged).write_csv())


def _pairs(wanted: specs.ClaimsSpec) -> Iterator[Pair]:
    from wellspring.findings.claims import Pair

    for pair in wanted.pairs:
        names = (pair.retriever, pair.other)
        yield Pair(names, pair.curves, pair.pooling, tuple(pair.fresh))


def _rules(wanted: specs.ClaimsSpec, margin: float) -> Rules:
    from wellspring.findings.verdicts import Rules

    return Rules(wanted.alpha, margin, wanted.permutations, wanted.seed)


def _other_pooling(claim: Claim, pair: Pair) -> str | None:
    """Why a claim says nothing of a pair, if so."""
    if claim.is_about(pair.pooling):
        return None
    return (
        f"the claim is about {claim.pooling} pooling, and {pair.names[0]} pools by {pair.pooling}"
    )


def _of_probes(probes: Path, wanted: specs.ClaimsSpec) -> Iterator[dict[str, object]]:
    """The rows of claims about probing, dataset by dataset, then the one about two datasets."""
    from wellspring.findings.claims import CLAIMS, Fluctuation, row
    from wellspring.findings.consistency import measured

    rules = _rules(wanted, wanted.margin / 2)
    pairs = list(_pairs(wanted))
    for dataset in dict.fromkeys(grid.dataset for grid in wanted.probed):
        for pair in pairs:
            if dataset not in _datasets(pair, wanted):
                continue
            about = [claim for claim in CLAIMS if not claim.sides]
            about = [c for c in about if not isinstance(c.parts[0], Fluctuation)]
            held = None
            for claim in about:
                found = _other_pooling(claim, pair)
                if found is None:
                    held = held or _outcomes(probes, dataset, pair, wanted)
                    ids = (dataset, *pair.names, str(claim.number))
                    found = measured(claim, *held, wanted.blocks[pair.names[0]], rules, *ids)
                yield row(claim, pair, {"dataset": dataset}, found)
    yield from _fluctuations(probes, pairs, wanted)


def _fluctuations(
    probes: Path, pairs: list[Pair], wanted: specs.ClaimsSpec
) -> Iterator[dict[str, object]]:
    """The rows of the claim that compares the published datasets."""
    from wellspring.findings import consistency
    from wellspring.findings.claims import CLAIMS, Fluctuation, row

    claim = next(claim for claim in CLAIMS if isinstance(claim.parts[0], Fluctuation))
    for pair in pairs:
        datasets = _datasets(pair, wanted)
        if not datasets:
            continue
        found = _other_pooling(claim, pair)
        if found is None and not set(DATASETS) <= datasets:
            found = f"the claim compares the datasets {' and '.join(DATASETS)}"
        if found is None:
            sides = []
            for dataset in reversed(DATASETS):
                own, _, samples = _outcomes(probes, dataset, pair, wanted)
                sides.append(consistency.fluctuation_of(own, samples))
            found = next((side for side in sides if isinstance(side, str)), None)
            rules = _rules(wanted, wanted.margin / 2)
            found = found or consistency.fluctuates_more(*sides, rules)
        yield row(claim, pair, {}, found)


def _datasets(pair: Pair, wanted: specs.ClaimsSpec) -> set[str]:
    """The datasets on which both of a pair are probed."""
    own, theirs = (
        {grid.dataset for grid in wanted.probed if grid.retriever == name} for name in pair.names
    )
    return own & theirs


def _outcomes(
    probes: Path, dataset: str, pair: Pair, wanted: specs.ClaimsSpec
) -> tuple[dict[str, Outcomes], dict[str, Outcomes], Samples]:
    """The outcomes of a pair's probes at the cells that both have, by probe, and the samples."""
    from wellspring.findings.consistency import PROBES
    from wellspring.findings.outcomes import aligned, outcomes_of, samples_of

    sides, samples = [], None
    for name in pair.names:
        (grid,) = (g for g in wanted.probed if (g.retriever, g.dataset) == (name, dataset))
        frames = [grids.located(path, **where) for path, where in grids.probe_files(probes, grid)]
        frame = pl.concat(frames).filter(pl.col("probe").is_in(PROBES)).collect()
        samples = samples or samples_of(frame)
        sides.append(
            {
                probe: outcomes_of(part, samples, f"dataset {dataset}, retriever {name}, {probe}")
                for (probe,), part in frame.partition_by("probe", as_dict=True).items()
            }
        )
    both = {
        probe: aligned(sides[0][probe], sides[1][probe]) for probe in sides[0].keys() & sides[1]
    }
    own, theirs = ({probe: pair_[side] for probe, pair_ in both.items()} for side in (0, 1))
    return own, theirs, samples


def _of_activity(activations: Path, wanted: specs.ClaimsSpec) -> Iterator[dict[str, object]]:
    """The rows of claims about active neurons."""
    from wellspring.findings.activity import MEASURE, SETTING, measured, published_setting
    from wellspring.findings.claims import CLAIMS, row

    rules = _rules(wanted, wanted.margin)
    columns = ["text_id", "layer", "sublayer", *SETTING, "value"]
    for (attribution, dataset, side), cells in grids.groups(wanted.grid).items():
        by_retriever = {cell.retriever: cell for cell in cells}
        for pair in _pairs(wanted):
            if not set(pair.names) <= by_retriever.keys():
                continue
            own, theirs = (by_retriever[name] for name in pair.names)
            where = {"dataset": dataset, "attribution": attribution, "side": side}
            held = None
            for claim in (claim for claim in CLAIMS if side in claim.sides):
                found = _other_pooling(claim, pair)
                if found is None and attribution not in wanted.comparable:
                    found = "the attribution measures something else than the published one"
                if found is None and not (own.whole and theirs.whole):
                    found = "the study attributes some of the blocks alone"
                if found is None:
                    held = held or [
                        grids.activation_texts(activations, cell)
                        .filter(measure=MEASURE)
                        .select(columns)
                        .collect()
                        for cell in (own, theirs)
                    ]
                    setting = published_setting(pair.pooling)
                    ids = (attribution, dataset, side, *pair.names, str(claim.number))
                    depth = wanted.depths[own.encoder]
                    found = measured(claim, *held, depth, setting, rules, *ids)
                yield row(claim, pair, where, found)

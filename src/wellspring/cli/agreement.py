"""agreement: whether scores agree with other scores, and with what removing neurons does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import click
import numpy as np
import polars as pl

from wellspring import specs
from wellspring.artefacts import scores
from wellspring.artefacts.attributions import AttributionShard, Removals
from wellspring.artefacts.findings import Agreement
from wellspring.cli.step import Job, gathering, step
from wellspring.plurals import counted

EFFECTS = ("change", "margin_change", "length_change")
"""What removal does; its size is set against absolute scores."""

SIGNED = "length_change-signed"
"""The loss of length, set against signed scores of the target `norm`."""


@step(Agreement, "table")
@click.option("--dataset", required=True)
@gathering
def agreement(job: Job, table: Path, dataset: str, results: Path) -> None:
    """Correlate a retriever's scores of DATASET among each other, with its counterpart's, and with
    what removal does; TABLE holds a row a text."""
    spec = job.spec
    frames = [pl.DataFrame(schema=Agreement.schema())]
    sides, passed_over = list(spec.encoders), Counter()
    with job.track(len(sides), "sides") as bar:
        for side in sides:
            removals = Removals(spec.encoders[side], dataset, side).at(results)
            removed = _removed(removals, spec.removals.get(side))
            frames.extend(_side(results, dataset, side, removed, spec, passed_over))
            bar.advance(1)
    for reason, layers in passed_over.items():
        job.say(
            f"{reason}: not compared, in {counted(layers, 'layer and side', 'layers and sides')}"
        )
    Agreement.write(table, pl.concat(frames), job.provenance("numpy", "scipy"))


Values = tuple[list[str], dict[str, np.ndarray]]
"""Text ids, and of each sub-layer numbers [texts, neurons or groups of them]."""


@dataclass(frozen=True)
class _Attribution:
    """One side's scores under one attribution."""

    summary: specs.AttributionSummary
    stored: scores.Stored
    texts: int

    def at(self, layer: int, kind: scores.Kind = "scores") -> Values:
        """The scores of the first texts in one layer."""
        ids, sets = scores.first(self.stored.at(layer), self.summary.sublayers, self.texts, kind)
        return ids, {sublayer: values for (_, sublayer), values in sets.items()}


def _side(
    results: Path,
    dataset: str,
    side: specs.Side,
    removed: pl.DataFrame | None,
    spec: specs.AgreementSpec,
    passed_over: Counter[str],
) -> Iterator[pl.DataFrame]:
    """The comparisons of one side, layer by layer; counts what is passed over."""
    encoder, theirs = spec.encoders[side], {}
    mine = _attributions(results, dataset, side, encoder, spec.attributions, spec)
    if spec.counterpart is not None:
        other = spec.others[side]
        theirs = _attributions(results, dataset, side, other, spec.counterparts, spec)
    for layer in sorted({layer for each in mine.values() for layer in each.summary.layers}):
        where = {"side": side, "encoder": encoder, "layer": layer}
        ours, others = (
            {name: each.at(layer) for name, each in by_name.items() if layer in each.summary.layers}
            for by_name in (mine, theirs)
        )
        for one, other in combinations(ours, 2):
            if mine[one].summary.spec == mine[other].summary.spec:
                # Two wordings of the queries have the same passages.
                passed_over[f"{one} and {other} are the same on the {side} side"] += 1
                continue
            for correlations in _compared(
                ours[one], ours[other], spec.seed, passed_over, (one, other)
            ):
                # Each attribution's figure shows it.
                for name, second in ((one, other), (other, one)):
                    yield _rows(correlations, where, "attributions", name, second)
        for name in (name for name in others if name in ours):
            # Without a counterpart there are no others.
            names = (f"{name} of {encoder}", str(spec.counterpart))
            for correlations in _compared(ours[name], others[name], spec.seed, passed_over, names):
                yield _rows(correlations, where, "models", name, names[1])
        if removed is None:
            continue
        here = removed.filter(layer=layer)
        alike = {}
        for name, each in ((name, mine[name]) for name in ours if not here.is_empty()):
            if each.summary.reading == spec.readings[side]:
                alike[name] = each
            else:
                passed_over[f"{name} and removal read other texts on the {side} side"] += 1
        for name, (absolute, effect, other) in _predictions(alike, layer):
            pair = _paired(absolute, here, effect)
            for correlations in _compared(*pair, spec.seed, passed_over, (name, "removal")):
                yield _rows(correlations, where, "removal", name, other)


def _attributions(
    results: Path,
    dataset: str,
    side: specs.Side,
    encoder: str,
    attributions: dict[str, dict[specs.Side, specs.AttributionSummary]],
    spec: specs.AgreementSpec,
) -> dict[str, _Attribution]:
    """The checked scores of each attribution."""
    checked = {}
    for name, sides in attributions.items():
        folder = AttributionShard(name, encoder, dataset, side, 1, 0).at(results).parents[1]
        stored = scores.checked(folder, sides[side], sides[side].layers)
        checked[name] = _Attribution(sides[side], stored, spec.texts)
    return checked


def _removed(path: Path, digest: str | None) -> pl.DataFrame | None:
    """What removing neurons changed, without the rows in which none was removed."""
    if digest is None:
        return None
    return Removals.read(path, digest).filter(pl.col("neurons").list.len() > 0)


def _predictions(
    attributions: dict[str, _Attribution], layer: int
) -> Iterator[tuple[str, tuple[Values, pl.Expr, str]]]:
    """Each attribution's scores in a layer, the effect that they should predict, and its name."""
    for name, attribution in attributions.items():
        absolute = attribution.at(layer)
        for effect in EFFECTS:
            yield name, (absolute, pl.col(effect).abs(), effect)
        if attribution.summary.target == "norm":
            yield name, (attribution.at(layer, "signed"), -pl.col("length_change"), SIGNED)


def _paired(scored: Values, removed: pl.DataFrame, effect: pl.Expr) -> tuple[Values, Values]:
    """Scores and effects of the same groups of neurons; a group's score is its neurons' sum."""
    ids, by_sublayer = scored
    mine, theirs = {}, {}
    texts = removed["text_id"].unique(maintain_order=True).to_list()
    for (sublayer,), rows in removed.group_by("sublayer", maintain_order=True):
        if sublayer in by_sublayer:
            effects = rows.select(effect).to_series().to_numpy().reshape(len(texts), -1)
            groups = np.array(rows["neurons"][: effects.shape[1]].to_list())
            theirs[sublayer] = effects
            mine[sublayer] = by_sublayer[sublayer][:, groups].sum(axis=2)
    return (ids, mine), (texts, theirs)


def _compared(
    mine: Values, theirs: Values, seed: int, passed_over: Counter[str], names: tuple[str, str]
) -> Iterator[pl.DataFrame]:
    """The correlations in each sub-layer that both have; counts in passed_over what has none."""
    from wellspring.findings.agreement import agreement as correlate

    (ids, ours), (other_ids, others) = mine, theirs
    if set(ids).isdisjoint(other_ids):
        passed_over[
            f"{' and '.join(names)} share no text (of other seeds or numbers of texts)"
        ] += 1
        return
    for sublayer in ours:
        if sublayer in others and ours[sublayer].shape[1] != others[sublayer].shape[1]:
            passed_over[f"{' and '.join(names)} differ in the neurons of {sublayer}"] += 1
        elif sublayer in others:
            table = correlate(ids, ours[sublayer], other_ids, others[sublayer], seed)
            yield table.with_columns(sublayer=pl.lit(sublayer))


def _rows(
    correlations: pl.DataFrame, where: dict[str, object], comparison: str, name: str, other: str
) -> pl.DataFrame:
    labels = {**where, "comparison": comparison, "attribution": name, "other": other}
    types = Agreement.schema()
    columns = [pl.lit(value, types[key]).alias(key) for key, value in labels.items()]
    return correlations.with_columns(columns).select(*types)

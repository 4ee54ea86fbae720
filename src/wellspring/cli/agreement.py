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

from wellspring import shards, specs
from wellspring.cli import scores
from wellspring.cli.step import FILE, FOLDER, circumstances, options, step

AGREEMENT = {
    "side": pl.String,
    "comparison": pl.String,
    "attribution": pl.String,
    "other": pl.String,
    "encoder": pl.String,
    "layer": pl.Int64,
    "sublayer": pl.String,
    "text_id": pl.String,
    "correlation": pl.Float64,
    "shifted": pl.Float64,
}
"""The columns of an agreement table; `comparison`: attributions (of one encoder), models (with the
counterpart) or removal (with what removing neurons does)."""

EFFECTS = ("change", "margin_change", "length_change")
"""What removal does; its size is set against absolute scores."""

SIGNED = "length_change-signed"
"""The loss of length, set against signed scores of the target `norm`."""


@click.command()
@click.argument("attributions", type=FOLDER)
@click.argument("removals", type=FOLDER)
@click.argument("dataset")
@click.argument("table", type=FILE)
@options
def agreement(
    attributions: Path,
    removals: Path,
    dataset: str,
    table: Path,
    spec: str,
    code: str | None,
    log: Path | None,
) -> None:
    """Correlate the scores of DATASET under ATTRIBUTIONS: a retriever's among each other, with its
    counterpart's, and with what REMOVALS measured; TABLE holds a row a text."""
    wanted = specs.AgreementSpec.read(spec)
    with step("agreement", None, code, log) as messages:
        frames = [pl.DataFrame(schema=AGREEMENT)]
        sides, left_out = list(wanted.encoders), Counter()
        with messages.track(len(sides), "sides") as bar:
            for side in sides:
                place = Path(wanted.encoders[side], dataset, f"{side}.parquet")
                removed = _removed(removals / place, wanted.removals.get(side))
                frames.extend(_side(attributions, dataset, side, removed, wanted, left_out))
                bar.advance(1)
        for reason, layers in left_out.items():
            messages.say(f"{reason}: not compared, in {layers} layers and sides")
        identity = {"step": "agreement", "spec": wanted.model_dump(mode="json")}
        made = shards.Provenance(identity, circumstances("agreement", None, "numpy", "scipy"))
        shards.write(table, pl.concat(frames).to_arrow(), made)


Values = tuple[list[str], dict[str, np.ndarray]]
"""Text ids, and of each sub-layer numbers [texts, neurons or groups of them]."""


@dataclass(frozen=True)
class _Attribution:
    """One side's scores under one attribution."""

    held: specs.Held
    stored: scores.Stored
    texts: int

    def at(self, layer: int, kind: scores.Kind = "scores") -> Values:
        """The scores of the first texts in one layer."""
        ids, found = scores.first(self.stored.at(layer), self.held.sublayers, self.texts, kind)
        return ids, {sublayer: values for (_, sublayer), values in found.items()}


def _side(
    folder: Path,
    dataset: str,
    side: specs.Side,
    removed: pl.DataFrame | None,
    wanted: specs.AgreementSpec,
    left_out: Counter[str],
) -> Iterator[pl.DataFrame]:
    """The comparisons of one side, layer by layer; counts in left_out what cannot be compared."""
    encoder, theirs = wanted.encoders[side], {}
    mine = _attributions(folder, dataset, side, encoder, wanted.attributions, wanted)
    if wanted.counterpart is not None:
        other = wanted.others[side]
        theirs = _attributions(folder, dataset, side, other, wanted.counterparts, wanted)
    for layer in sorted({layer for each in mine.values() for layer in each.held.layers}):
        where = {"side": side, "encoder": encoder, "layer": layer}
        ours, others = (
            {name: each.at(layer) for name, each in held.items() if layer in each.held.layers}
            for held in (mine, theirs)
        )
        for one, other in combinations(ours, 2):
            if mine[one].held.spec == mine[other].held.spec:
                # Two wordings of the queries have the same passages.
                left_out[f"{one} and {other} are the same on the {side} side"] += 1
                continue
            for found in _compared(ours[one], ours[other], wanted.seed, left_out, (one, other)):
                # Each attribution's figure shows it.
                for name, second in ((one, other), (other, one)):
                    yield _rows(found, where, "attributions", name, second)
        for name in (name for name in others if name in ours):
            names = (f"{name} of {encoder}", wanted.counterpart)
            for found in _compared(ours[name], others[name], wanted.seed, left_out, names):
                yield _rows(found, where, "models", name, wanted.counterpart)
        if removed is None:
            continue
        here = removed.filter(layer=layer)
        alike = {}
        for name, each in ((name, mine[name]) for name in ours if not here.is_empty()):
            if each.held.reading == wanted.readings[side]:
                alike[name] = each
            else:
                left_out[f"{name} and removal read other texts on the {side} side"] += 1
        for name, (absolute, effect, other) in _predictions(alike, layer):
            pair = _paired(absolute, here, effect)
            for found in _compared(*pair, wanted.seed, left_out, (name, "removal")):
                yield _rows(found, where, "removal", name, other)


def _attributions(
    folder: Path,
    dataset: str,
    side: specs.Side,
    encoder: str,
    attributions: dict[str, dict[specs.Side, specs.Held]],
    wanted: specs.AgreementSpec,
) -> dict[str, _Attribution]:
    """The checked scores of each attribution."""
    found = {}
    for name, sides in attributions.items():
        place = folder / name / encoder / dataset / side
        stored = scores.checked(place, sides[side], sides[side].layers)
        found[name] = _Attribution(sides[side], stored, wanted.texts)
    return found


def _removed(path: Path, digest: str | None) -> pl.DataFrame | None:
    """What removing neurons changed, without the rows in which none was removed."""
    if digest is None:
        return None
    shards.check(path, digest, step="removals")
    return pl.read_parquet(path).filter(pl.col("neurons").list.len() > 0)


def _predictions(
    attributions: dict[str, _Attribution], layer: int
) -> Iterator[tuple[str, tuple[Values, pl.Expr, str]]]:
    """Each attribution's scores in a layer, the effect that they should predict, and its name."""
    for name, attribution in attributions.items():
        absolute = attribution.at(layer)
        for effect in EFFECTS:
            yield name, (absolute, pl.col(effect).abs(), effect)
        if attribution.held.target == "norm":
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
    mine: Values, theirs: Values, seed: int, left_out: Counter[str], names: tuple[str, str]
) -> Iterator[pl.DataFrame]:
    """The correlations in each sub-layer that both have; counts in left_out what has none."""
    from wellspring.findings.agreement import agreement as correlate

    (ids, ours), (other_ids, others) = mine, theirs
    if set(ids).isdisjoint(other_ids):
        left_out[f"{' and '.join(names)} share no text (of other seeds or numbers of texts)"] += 1
        return
    for sublayer in ours:
        if sublayer in others and ours[sublayer].shape[1] != others[sublayer].shape[1]:
            left_out[f"{' and '.join(names)} differ in the neurons of {sublayer}"] += 1
        elif sublayer in others:
            found = correlate(ids, ours[sublayer], other_ids, others[sublayer], seed)
            yield found.with_columns(sublayer=pl.lit(sublayer))


def _rows(
    found: pl.DataFrame, where: dict[str, object], comparison: str, name: str, other: str
) -> pl.DataFrame:
    labels = {**where, "comparison": comparison, "attribution": name, "other": other}
    columns = [pl.lit(value, AGREEMENT[key]).alias(key) for key, value in labels.items()]
    return found.with_columns(columns).select(*AGREEMENT)

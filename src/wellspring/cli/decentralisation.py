"""agreement, decentralisation: what a study's attributions say, in tidy tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import click
import polars as pl

from wellspring import shards, specs
from wellspring.cli import grids, scores
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
"""The columns of an agreement table; `comparison`: attributions (of one encoder) or models."""


@click.command()
@click.argument("attributions", type=FOLDER)
@click.argument("dataset")
@click.argument("table", type=FILE)
@options
def agreement(
    attributions: Path, dataset: str, table: Path, spec: str, code: str | None, log: Path | None
) -> None:
    """Correlate the scores of DATASET under ATTRIBUTIONS: a retriever's among each other, and with
    its counterpart's; TABLE holds a row a text."""
    wanted = specs.AgreementSpec.read(spec)
    with step("agreement", None, code, log) as messages:
        frames = [pl.DataFrame(schema=AGREEMENT)]
        sides, left_out = list(wanted.encoders), Counter()
        with messages.track(len(sides), "sides") as bar:
            for side in sides:
                frames.extend(_side(attributions, dataset, side, wanted, left_out))
                bar.advance(1)
        for reason, layers in left_out.items():
            messages.say(f"{reason}: not compared, in {layers} layers and sides")
        identity = {"step": "agreement", "spec": wanted.model_dump(mode="json")}
        made = shards.Provenance(identity, circumstances("agreement", None, "numpy", "scipy"))
        shards.write(table, pl.concat(frames).to_arrow(), made)


def _side(
    folder: Path,
    dataset: str,
    side: specs.Side,
    wanted: specs.AgreementSpec,
    left_out: Counter[str],
) -> Iterator[pl.DataFrame]:
    """The comparisons of one side, layer by layer; counts in left_out what cannot be compared."""
    mine = _files(folder, dataset, side, wanted.encoders[side], wanted.attributions, wanted)
    theirs = {}
    if wanted.counterpart is not None:
        encoder = wanted.others[side]
        theirs = _files(folder, dataset, side, encoder, wanted.counterparts, wanted)
    for layer in wanted.layers:
        ours, others = (
            {
                name: scores.first(
                    {layer: files[layer]}, specs_[name][side].sublayers, wanted.texts
                )
                for name, files in held.items()
            }
            for held, specs_ in ((mine, wanted.attributions), (theirs, wanted.counterparts))
        )
        where = {"side": side, "encoder": wanted.encoders[side], "layer": layer}
        for one, other in combinations(ours, 2):
            for found in _compared(ours[one], ours[other], wanted.seed, left_out, (one, other)):
                # Each attribution's figure shows it.
                for name, second in ((one, other), (other, one)):
                    yield _rows(found, where, "attributions", name, second)
        for name in others:
            names = (f"{name} of {wanted.encoders[side]}", wanted.counterpart)
            for found in _compared(ours[name], others[name], wanted.seed, left_out, names):
                yield _rows(found, where, "models", name, wanted.counterpart)


def _files(
    folder: Path,
    dataset: str,
    side: specs.Side,
    encoder: str,
    attributions: dict[str, dict[specs.Side, specs.Held]],
    wanted: specs.AgreementSpec,
) -> dict[str, scores.Files]:
    """The checked files of each attribution."""
    return {
        name: scores.checked(folder / name / encoder / dataset / side, sides[side], wanted.layers)
        for name, sides in attributions.items()
    }


def _compared(
    mine: tuple[list[str], scores.ScoreSets],
    theirs: tuple[list[str], scores.ScoreSets],
    seed: int,
    left_out: Counter[str],
    names: tuple[str, str],
) -> Iterator[pl.DataFrame]:
    """The correlations in each sub-layer that both have; counts in left_out what has none."""
    from wellspring.findings.agreement import agreement as correlate

    (ids, ours), (other_ids, others) = mine, theirs
    if set(ids).isdisjoint(other_ids):
        left_out[f"{' and '.join(names)} share no text (of other seeds or numbers of texts)"] += 1
        return
    for key in ours:
        if key in others and ours[key].shape[1] != others[key].shape[1]:
            left_out[f"{' and '.join(names)} differ in the neurons of {key[1]}"] += 1
        elif key in others:
            found = correlate(ids, ours[key], other_ids, others[key], seed)
            yield found.with_columns(sublayer=pl.lit(key[1]))


def _rows(
    found: pl.DataFrame, where: dict[str, object], comparison: str, name: str, other: str
) -> pl.DataFrame:
    labels = {**where, "comparison": comparison, "attribution": name, "other": other}
    columns = [pl.lit(value, AGREEMENT[key]).alias(key) for key, value in labels.items()]
    return found.with_columns(columns).select(*AGREEMENT)


@click.command()
@click.argument("activations", type=FOLDER)
@click.argument("ablations", type=FOLDER)
@click.argument("agreements", type=FOLDER)
@click.argument("parquet", type=FILE)
@click.argument("csv", type=FILE)
@options
def decentralisation(
    activations: Path,
    ablations: Path,
    agreements: Path,
    parquet: Path,
    csv: Path,
    spec: str,
    code: str | None,
    log: Path | None,
) -> None:
    """Gather what a study's ACTIVATIONS, ABLATIONS and AGREEMENTS say: PARQUET and CSV."""
    from wellspring.findings.decentralisation import build, gathered

    wanted = specs.DecentralisationSpec.read(spec)
    with step("decentralisation", None, code, log) as messages:
        encoders: dict[str, dict[str, str]] = {}
        for cell in wanted.grid:
            encoders.setdefault(cell.retriever, {})[cell.side] = cell.encoder
        agreed = list(_agreements(agreements, wanted))
        tables = []
        for group, cells in grids.groups(wanted.grid).items():
            texts = {cell.encoder: grids.activation_texts(activations, cell) for cell in cells}
            ablated = {cell.encoder: grids.ablations(ablations, cell) for cell in cells}
            own = dict(zip(("attribution", "dataset", "side"), group, strict=True))
            # A group at a time: a filter on what a file is would open every file.
            part = build(
                pl.concat(texts.values()),
                pl.concat(ablated.values()),
                pl.concat(agreed).filter(**own) if agreed else None,
                encoders,
                wanted.pairs,
                wanted.depths,
            )
            tables.append(part)
            messages.say(f"{', '.join(group)}: {len(texts)} encoders, {len(part)} findings")
        table = gathered(tables)
        identity = {"step": "decentralisation", "spec": wanted.model_dump(mode="json")}
        made = shards.Provenance(
            identity, circumstances("decentralisation", None, "numpy", "polars")
        )
        shards.write_text(csv, grids.rounded(table).write_csv())
        shards.write(parquet, table.to_arrow(), made)


def _agreements(folder: Path, wanted: specs.DecentralisationSpec) -> Iterator[pl.LazyFrame]:
    for retriever, datasets in wanted.agreement.items():
        for dataset, digest in datasets.items():
            path = folder / retriever / f"{dataset}.parquet"
            shards.check(path, digest, step="agreement")
            yield grids.located(path, retriever=retriever, dataset=dataset)

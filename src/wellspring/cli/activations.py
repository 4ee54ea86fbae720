"""activations, ablate: what is made of a side's scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
import polars as pl

from wellspring import shards, specs
from wellspring.cli import scores
from wellspring.cli.attributions import last_vectors, read_texts
from wellspring.cli.embeddings import TOKENS, load_backbone
from wellspring.cli.models import variant, verify
from wellspring.cli.step import FILE, FOLDER, circumstances, options, step

if TYPE_CHECKING:
    from wellspring.models.load import Backbone


@click.command()
@click.argument("folder", type=FOLDER)
@click.argument("counts", type=FILE)
@click.argument("texts", type=FILE)
@click.argument("holders", type=FILE)
@options
def activations(
    folder: Path,
    counts: Path,
    texts: Path,
    holders: Path,
    spec: str,
    code: str | None,
    log: Path | None,
) -> None:
    """Count the active neurons of the scores under FOLDER: COUNTS by neuron, TEXTS by text, and
    the HOLDERS of each text's maximum."""
    from wellspring.activations import Chunk, measure

    wanted = specs.ActivationsSpec.read(spec)
    sublayers = wanted.attribution.sublayers
    with step("activations", None, code, log) as messages:
        files = scores.checked(folder, wanted.attribution, wanted.layers)

        def chunks() -> Iterator[Chunk]:
            for ids, found in scores.stream(files, sublayers):
                yield Chunk(ids, found)

        found = measure(chunks, wanted.thresholds, wanted.left_out)
        residuals = scores.completeness(files, sublayers)
        for line in _summary(found.holders, residuals):
            messages.say(line)
        identity = {
            "step": "activations",
            "spec": wanted.model_dump(mode="json"),
            **scores.origin(files),
        }
        made = shards.Provenance(identity, circumstances("activations", None, "numpy", "polars"))
        shards.write(holders, found.holders.to_arrow(), made)
        shards.write(texts, pl.concat([found.texts, residuals]).to_arrow(), made)
        shards.write(counts, found.counts.to_arrow(), made)


def _summary(holders: pl.DataFrame, residuals: pl.DataFrame) -> Iterator[str]:
    network = holders.filter(scope="network").sort("texts", descending=True)
    for row in network.head(3).iter_rows(named=True):
        where = f"neuron {row['neuron']} of layer {row['layer']}, {row['sublayer']}"
        yield f"{where}: the largest score of {row['texts']} of {row['of']} texts"
    if (worst := residuals["value"].max()) is not None:
        yield f"completeness: residual at most {worst:.2e} of the sub-layer's largest score"


@click.command()
@click.argument("folder", type=FOLDER)
@click.argument("texts", type=FILE)
@click.argument("samples", type=FILE)
@click.argument("description", type=FILE)
@click.argument("candidates", type=FILE)
@click.argument("table", type=FILE)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--tokens", type=click.IntRange(min=0), default=0, help="Tokens a batch; 0: by device."
)
@options
def ablate(
    folder: Path,
    texts: Path,
    samples: Path,
    description: Path,
    candidates: Path,
    table: Path,
    threads: int,
    tokens: int,
    spec: str,
    code: str | None,
    log: Path | None,
) -> None:
    """Set neurons to zero by the scores under FOLDER; TABLE tells what that does to each of TEXTS
    and to the ranking in its sample, whose other side the model CANDIDATES embeds."""
    wanted = specs.AblateSpec.read(spec)
    whole = wanted.attribution
    with step("ablate", variant(whole.encoding), code, log) as messages:
        described, other = (
            verify(place, encoding)
            for place, encoding in ((description, whole.encoding), (candidates, wanted.candidates))
        )
        digests = shards.check(texts, step="texts").identity["texts"]
        stem = {"weights": described.digest, "texts": digests}
        files = scores.checked(folder, whole, wanted.layers, **stem)
        ids, found = scores.first(files, whole.sublayers, wanted.texts)
        expected = wanted.samples.model_dump(mode="json")
        drawn = shards.check(samples, step="samples", spec=expected, texts=digests).identity
        ranked = _ranked(read_texts(texts), samples, whole, ids)
        backbone = load_backbone(other, wanted.candidates, threads)
        messages.device = backbone.device.type
        budget = tokens or TOKENS[messages.device]
        partners = _vectors(backbone, ranked["partner_text"], wanted.candidates, budget)
        of_query = whole.encoding.side == "query"
        if of_query:
            negatives = _lists(backbone, ranked["negative_texts"], wanted.candidates, budget)
        if other != described or wanted.candidates.dtype != whole.encoding.dtype:
            del backbone
            backbone = load_backbone(described, whole.encoding, threads)
        if not of_query:
            negatives = _lists(backbone, ranked["negative_texts"], whole.encoding, budget)
        frame = _ablations(backbone, ranked, found, partners, negatives, wanted, budget)
        identity = {
            "step": "ablations",
            "spec": wanted.model_dump(mode="json"),
            "weights": described.digest,
            "candidates": other.digest,
            "samples": drawn,
        }
        made = circumstances(
            "ablate", variant(whole.encoding), "torch", "transformers", device=messages.device
        )
        shards.write(table, frame.to_arrow(), shards.Provenance(identity, made))


def _ranked(
    texts: pl.DataFrame, samples: Path, whole: specs.AttributionSpec, ids: Sequence[str]
) -> pl.DataFrame:
    """A row for each id: text, partner_text and negative_texts of its sample, null without one."""
    from wellspring.attributions import selection

    side = whole.encoding.side
    drawn = pl.from_arrow(shards.read(samples))
    graded = drawn.select("split", "query_id", text_id="positive_id", grade=pl.lit(1))
    chosen = selection.select(texts, graded, side, None, whole.seed)
    chosen = chosen.filter(pl.col("text_id").is_in(ids))
    partner = "positive_text" if side == "query" else "query_text"
    found = selection.candidates(drawn, texts, chosen, side).select(
        "text_id", "negative_texts", partner_text=partner
    )
    named = texts.filter(side=side).select("text_id", "text")
    rows = pl.DataFrame({"text_id": ids}).join(named, on="text_id", maintain_order="left")
    return rows.join(found, on="text_id", maintain_order="left")


def _vectors(
    backbone: Backbone, texts: pl.Series, encoding: specs.EncodingSpec, budget: int
) -> np.ndarray:
    """[texts, hidden]; zeros in the place of a null."""
    found = np.zeros((len(texts), backbone.hidden), np.float32)
    there = texts.is_not_null().to_numpy()
    found[there] = last_vectors(backbone, texts.drop_nulls().to_list(), encoding, budget)
    return found


def _lists(
    backbone: Backbone, texts: pl.Series, encoding: specs.EncodingSpec, budget: int
) -> list[np.ndarray]:
    """[others, hidden] of each list of texts; none of a null."""
    counts = texts.list.len().fill_null(0)
    flat = texts.filter(counts > 0).explode()
    return np.split(_vectors(backbone, flat, encoding, budget), counts.cum_sum()[:-1])


def _ablations(
    backbone: Backbone,
    ranked: pl.DataFrame,
    found: scores.ScoreSets,
    partners: np.ndarray,
    negatives: Sequence[np.ndarray],
    wanted: specs.AblateSpec,
    budget: int,
) -> pl.DataFrame:
    """A row for each text, sub-layer, number of neurons and choice."""
    from wellspring import embeddings
    from wellspring.attributions import ablation

    encoding = wanted.attribution.encoding
    ids = ranked["text_id"].to_list()
    tokens = embeddings.tokenise(
        backbone.tokenizer,
        ranked["text"].to_list(),
        encoding.template,
        encoding.length,
        encoding.pooling,
    )
    length = encoding.length if encoding.pooling == "last-position" else 0

    def vectors(masks: ablation.Masks, copies: int) -> np.ndarray:
        return ablation.ablated(
            backbone, tokens * copies, encoding.pooling, masks, budget, length
        ).reshape(copies, len(ids), -1)

    (whole,), frames = vectors({}, 1), []
    for sublayer, neurons in product(wanted.attribution.sublayers, wanted.neurons):
        of_layers = [found[layer, sublayer] for layer in wanted.layers]
        choices = ablation.chosen(
            np.concatenate(of_layers, axis=1), ids, neurons, wanted.seed, wanted.draws
        )
        # All choices at once: short texts fill a batch better.
        units = np.concatenate([chosen.units for chosen in choices])
        masks = ablation.masks(units, sublayer, wanted.layers, of_layers[0].shape[1])
        for chosen, without in zip(choices, vectors(masks, len(choices)), strict=True):
            effects = ablation.effects(
                whole, without, partners, negatives, wanted.similarity, encoding.side
            )
            frames.append(
                pl.DataFrame({"text_id": ids, **asdict(effects)}).with_columns(
                    sublayer=pl.lit(sublayer),
                    neurons=pl.lit(neurons, pl.Int64),
                    choice=pl.lit(chosen.choice),
                    draw=pl.lit(chosen.draw, pl.Int64),
                )
            )
    return pl.concat(frames).with_columns(pl.col(pl.Float64).fill_nan(None))

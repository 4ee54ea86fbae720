"""remove: what embeddings lose with single neurons, or with small groups of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import polars as pl

from wellspring import shards, specs
from wellspring.cli import chosen
from wellspring.cli.embeddings import TOKENS
from wellspring.cli.models import variant, verify
from wellspring.cli.step import FILE, batched, circumstances, options, step

if TYPE_CHECKING:
    from wellspring.models.load import Backbone

REMOVALS = {
    "text_id": pl.String,
    "layer": pl.Int64,
    "sublayer": pl.String,
    "neurons": pl.List(pl.Int64),
    "change": pl.Float64,
    "length_change": pl.Float64,
    "margin_change": pl.Float64,
}
"""The columns of a table of removals; `neurons` is empty where nothing was removed."""


@click.command()
@click.argument("texts", type=FILE)
@click.argument("samples", type=FILE)
@click.argument("description", type=FILE)
@click.argument("candidates", type=FILE)
@click.argument("table", type=FILE)
@batched
@options
def remove(
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
    """Remove sampled neurons one by one; TABLE tells what that does to each of TEXTS and to the
    margin in its sample, whose other side the model CANDIDATES embeds."""
    wanted = specs.RemoveSpec.read(spec)
    with step("remove", variant(wanted.encoding), code, log) as messages:
        described, other = (
            verify(place, encoding)
            for place, encoding in ((description, wanted.encoding), (candidates, wanted.candidates))
        )
        digests = shards.check(texts, step="texts").identity["texts"]
        drawn = chosen.read_samples(samples, wanted.samples, digests)
        everything, side = chosen.read_texts(texts), wanted.encoding.side
        rows = chosen.with_samples(everything, drawn, side, wanted.texts, wanted.seed)
        encodings = (wanted.encoding, wanted.candidates)
        backbone, ranked = chosen.ranked(described, other, rows, encodings, tokens, threads)
        messages.device = backbone.device.type
        budget = tokens or TOKENS[messages.device]
        frames = []
        with messages.track(len(rows), "texts") as bar:
            for text in range(len(rows)):
                frames.extend(_removals(backbone, rows[text], ranked.at(text), wanted, budget))
                bar.advance(1)
        frame = pl.concat(frames)
        for line in _floors(frame):
            messages.say(line)
        identity = {
            "step": "removals",
            "spec": wanted.model_dump(mode="json"),
            "weights": described.digest,
            "candidates": other.digest,
            "samples": dict(shards.provenance(samples).identity),
        }
        made = circumstances(
            "remove", variant(wanted.encoding), "torch", "transformers", device=messages.device
        )
        facts = {"texts": len(rows)}
        shards.write(table, frame.to_arrow(), shards.Provenance(identity, made, facts))


def _removals(
    backbone: Backbone,
    row: pl.DataFrame,
    ranked: chosen.Ranked,
    wanted: specs.RemoveSpec,
    budget: int,
) -> Iterator[pl.DataFrame]:
    """A row for each layer, sub-layer and group of one text; the first of a sub-layer has lost
    nothing and names no neurons."""
    from wellspring.attributions import ablation, removal
    from wellspring.models.architecture import sublayer

    encoding = wanted.encoding
    (tokens,) = chosen.tokenised(backbone, row["text"].to_list(), encoding)
    width = encoding.length if encoding.pooling == "last-position" else 0
    for layer in wanted.layers:
        groups = {}
        for name in wanted.sublayers:
            _, rows = sublayer(backbone.model, backbone.architecture, layer - 1, name)
            given = (rows.stop - rows.start, wanted.neurons, wanted.group)
            groups[name] = removal.sampled(*given, wanted.seed, layer, name)
        given = (backbone, tokens, encoding.pooling, layer, groups, budget, width)
        whole, without = removal.removed(*given)
        for name, vectors in without.items():
            copies = len(vectors)
            effects = ablation.effects(
                whole[None].repeat(copies, axis=0),
                vectors,
                ranked.partners.repeat(copies, axis=0),
                ranked.negatives * copies,
                wanted.similarity,
                encoding.side,
            )
            yield pl.DataFrame(
                {
                    "text_id": row["text_id"].to_list() * copies,
                    "layer": [layer] * copies,
                    "sublayer": [name] * copies,
                    "neurons": [[], *groups[name].tolist()],
                    "change": effects.change,
                    "length_change": effects.length_change,
                    "margin_change": effects.margin - effects.margin_before,
                },
                REMOVALS,
            )


def _floors(frame: pl.DataFrame) -> Iterator[str]:
    """What rounding alone changes, beside the median effect."""
    nothing = pl.col("neurons").list.len() == 0
    for effect in ("change", "length_change", "margin_change"):
        size = pl.col(effect).abs()
        floor = frame.filter(nothing).select(size.max()).item()
        middle = frame.filter(~nothing).select(size.median()).item()
        yield f"{effect}: rounding at most {floor:.1e}, the median effect {middle:.1e}"

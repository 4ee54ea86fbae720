"""remove: what embeddings lose with single neurons, or with small groups of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from wellspring import specs
from wellspring.artefacts.attributions import Removals
from wellspring.artefacts.checkpoints import loaders, verify
from wellspring.artefacts.datasets import Samples, Texts
from wellspring.budgets import TOKENS
from wellspring.cli.step import Job, batched, step

if TYPE_CHECKING:
    from wellspring.attributions.ranking import Ranked
    from wellspring.models.load import Backbone


@step(Removals, "texts", "samples", "description", "candidates", "table")
@batched
def remove(
    job: Job,
    texts: Path,
    samples: Path,
    description: Path,
    candidates: Path,
    table: Path,
    threads: int,
    tokens: int,
) -> None:
    """Remove sampled neurons one by one; TABLE tells what that does to each of TEXTS and to the
    margin in its sample, whose other side the model CANDIDATES embeds."""
    from wellspring.attributions import ranking, selection

    spec = job.spec
    own, other = verify(description, spec.encoding), verify(candidates, spec.candidates)
    digests = Texts.check(texts).identity["texts"]
    drawn = Samples.read(samples, spec.samples, texts=digests)
    side = spec.encoding.side
    rows = selection.with_samples(Texts.read(texts), drawn, side, spec.texts, spec.seed)
    backbone, ranked = ranking.ranked(
        *loaders(own, other, spec.encoding, spec.candidates, threads),
        rows,
        (spec.encoding, spec.candidates),
        tokens,
    )
    job.device = backbone.device.type
    budget = tokens or TOKENS[job.device]
    frames = []
    with job.track(len(rows), "texts") as bar:
        for text in range(len(rows)):
            frames.extend(_removals(backbone, rows[text], ranked.at(text), spec, budget))
            bar.advance(1)
    frame = pl.concat(frames)
    for line in _floors(frame):
        job.say(line)
    provenance = job.provenance(
        *("torch", "transformers"),
        facts={"texts": len(rows)},
        circumstances={"device": job.device},
        weights=own.digest,
        candidates=other.digest,
        samples=dict(Samples.check(samples).identity),
    )
    Removals.write(table, frame, provenance)


def _removals(
    backbone: Backbone,
    row: pl.DataFrame,
    ranked: Ranked,
    spec: specs.RemoveSpec,
    budget: int,
) -> Iterator[pl.DataFrame]:
    """A row for each layer, sub-layer and group of one text; the first of a sub-layer has lost
    nothing and names no neurons."""
    from wellspring.attributions import ablation, ranking, removal
    from wellspring.models.architecture import sublayer

    encoding = spec.encoding
    (tokens,) = ranking.tokenised(backbone, row["text"].to_list(), encoding)
    width = encoding.length if encoding.pooling == "last-position" else 0
    for layer in spec.layers:
        groups = {}
        for name in spec.sublayers:
            _, rows = sublayer(backbone.model, backbone.architecture, layer - 1, name)
            given = (rows.stop - rows.start, spec.neurons, spec.group)
            groups[name] = removal.sampled(*given, spec.seed, layer, name)
        given = (backbone, tokens, encoding.pooling, layer, groups, budget, width)
        whole, without = removal.removed(*given)
        for name, vectors in without.items():
            copies = len(vectors)
            effects = ablation.effects(
                whole[None].repeat(copies, axis=0),
                vectors,
                ranked.partners.repeat(copies, axis=0),
                ranked.negatives * copies,
                spec.similarity,
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
                Removals.schema(neurons=pl.List(pl.Int64)),
            )


def _floors(frame: pl.DataFrame) -> Iterator[str]:
    """What rounding alone changes, beside the median effect."""
    nothing = pl.col("neurons").list.len() == 0
    for effect in ("change", "length_change", "margin_change"):
        size = pl.col(effect).abs()
        floor = frame.filter(nothing).select(size.max()).item()
        middle = frame.filter(~nothing).select(size.median()).item()
        yield f"{effect}: rounding at most {floor:.1e}, the median effect {middle:.1e}"

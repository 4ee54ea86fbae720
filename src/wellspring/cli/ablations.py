"""ablate: what embeddings lose with their highest and lowest neurons, and with random ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
import polars as pl

from wellspring import shards, specs
from wellspring.cli import chosen, scores
from wellspring.cli.embeddings import TOKENS
from wellspring.cli.models import variant, verify
from wellspring.cli.step import FILE, FOLDER, batched, circumstances, options, step
from wellspring.errors import WellspringError

if TYPE_CHECKING:
    from wellspring.attributions import ablation
    from wellspring.attributions.replacement import Place, Replacement, Watched
    from wellspring.models.load import Backbone

ABLATIONS = {
    "text_id": pl.String,
    "sublayer": pl.String,
    "neurons": pl.Int64,
    "by": pl.String,
    "choice": pl.String,
    "draw": pl.Int64,
    "shared": pl.Float64,
    "change": pl.Float64,
    "length_change": pl.Float64,
    "margin": pl.Float64,
    "margin_before": pl.Float64,
    "first": pl.Float64,
    "first_before": pl.Float64,
}
"""The columns of a table of ablations."""


@click.command()
@click.argument("folder", type=FOLDER)
@click.argument("texts", type=FILE)
@click.argument("samples", type=FILE)
@click.argument("description", type=FILE)
@click.argument("candidates", type=FILE)
@click.argument("table", type=FILE)
@batched
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
    """Ablate neurons by the scores under FOLDER; TABLE tells what that does to each of TEXTS and to
    the ranking in its sample, whose other side the model CANDIDATES embeds."""
    wanted = specs.AblateSpec.read(spec)
    whole = wanted.attribution
    with step("ablate", variant(whole.encoding), code, log) as messages:
        described, other = (
            verify(place, encoding)
            for place, encoding in ((description, whole.encoding), (candidates, wanted.candidates))
        )
        digests = shards.check(texts, step="texts").identity["texts"]
        stem = {"weights": described.digest, "texts": digests}
        stored = scores.checked(folder, whole, wanted.layers, **stem)
        ids, found = scores.first(stored, whole.sublayers, wanted.texts)
        drawn = chosen.read_samples(samples, wanted.samples, digests)
        rows = _with_samples(ids, chosen.read_texts(texts), drawn, whole, texts)
        facts = {"texts": len(rows), "texts_without_a_sample_left_out": len(ids) - len(rows)}
        for line in scores.said(stored):
            messages.say(line)
        kept = [ids.index(text) for text in rows["text_id"]]
        found = {place: values[kept] for place, values in found.items()}
        encodings = (whole.encoding, wanted.candidates)
        backbone, ranked = chosen.ranked(described, other, rows, encodings, tokens, threads)
        messages.device = backbone.device.type
        budget = tokens or TOKENS[messages.device]
        texts_ = _Texts.of(backbone, rows, whole, scores.positions(stored), budget)
        frame = pl.concat(_ablations(texts_, found, ranked, wanted))
        identity = {
            "step": "ablations",
            "spec": wanted.model_dump(mode="json"),
            "weights": described.digest,
            "candidates": other.digest,
            "samples": dict(shards.provenance(samples).identity),
        }
        made = circumstances(
            "ablate", variant(whole.encoding), "torch", "transformers", device=messages.device
        )
        messages.counts(facts)
        shards.write(table, frame.to_arrow(), shards.Provenance(identity, made, facts))


def _with_samples(
    ids: Sequence[str],
    everything: pl.DataFrame,
    samples: pl.DataFrame,
    whole: specs.AttributionSpec,
    source: Path,
) -> pl.DataFrame:
    """Those of the ids that have a sample, in their order, as from `chosen.with_samples`.

    A query without hard negatives has judgements, and so may be attributed, but no sample.
    """
    found = chosen.with_samples(everything, samples, whole.encoding.side, None, whole.seed)
    order = pl.DataFrame({"text_id": ids}, {"text_id": pl.String})
    found = order.join(found, on="text_id", maintain_order="left")
    if found.is_empty():
        raise WellspringError(
            f"{source}: none of the {len(ids)} attributed texts has a sample (hard negatives): "
            "raise the attribution's texts"
        )
    return chosen.worded(found, everything, whole.text, source)


@dataclass(frozen=True)
class _Texts:
    """The texts of an ablation, ready to run."""

    backbone: Backbone
    ids: list[str]
    tokens: list[tuple[int, ...]]
    widths: list[int] | None
    encoding: specs.EncodingSpec
    budget: int

    @classmethod
    def of(
        cls,
        backbone: Backbone,
        rows: pl.DataFrame,
        whole: specs.AttributionSpec,
        positions: Mapping[str, int],
        budget: int,
    ) -> _Texts:
        ids = rows["text_id"].to_list()
        tokens = chosen.tokenised(backbone, rows["text"].to_list(), whole.encoding)
        # The mean over tokens, which stands for a padded mean, does not see padding.
        padded = whole.encoding.pooling == "last-position"
        widths = [positions[text] for text in ids] if padded else None
        return cls(backbone, ids, tokens, widths, whole.encoding, budget)

    def vectors(
        self,
        masks: ablation.Masks,
        replacements: Mapping[Place, Replacement] | None = None,
        copies: int = 1,
    ) -> np.ndarray:
        """[copies, texts, hidden]"""
        from wellspring.attributions import ablation

        return ablation.ablated(
            self.backbone,
            self.tokens * copies,
            self.encoding.pooling,
            masks,
            self.budget,
            self.widths and self.widths * copies,
            replacements,
        ).reshape(copies, len(self.ids), -1)

    def watched(self, wanted: specs.AblateSpec) -> Watched | None:
        """What the sub-layers give for the texts, where the ablation needs it."""
        from wellspring.attributions import replacement

        if wanted.match == "layer" and set(wanted.by) == {"zero"}:
            return None
        return replacement.watch(
            self.backbone,
            self.tokens,
            self.ids,
            self.encoding.pooling,
            wanted.layers,
            wanted.attribution.sublayers,
            wanted.seed,
            self.budget,
            self.widths,
        )


def _ablations(
    texts: _Texts, found: scores.ScoreSets, ranked: chosen.Ranked, wanted: specs.AblateSpec
) -> Iterator[pl.DataFrame]:
    """A row for each text, sub-layer, number of neurons, replacement and choice."""
    from wellspring.attributions import ablation

    (whole,), watched = texts.vectors({}), texts.watched(wanted)
    replaced = _replacements(texts, watched, wanted)
    for sublayer in wanted.attribution.sublayers:
        places = [(layer, sublayer) for layer in wanted.layers]
        of_layers = [found[place] for place in places]
        width = of_layers[0].shape[1]
        if wanted.match == "layer":
            strata = ablation.layers_of(len(texts.ids), len(places), width)
        else:
            strata = ablation.magnitudes_of([watched.outputs[p].magnitude for p in places])
        flat = np.concatenate(of_layers, axis=1)
        for neurons in wanted.neurons:
            choices = ablation.chosen(flat, strata, texts.ids, neurons, wanted.seed, wanted.draws)
            # All choices at once: short texts fill a batch better.
            units = np.concatenate([choice.units for choice in choices])
            masks = ablation.masks(units, sublayer, wanted.layers, width)
            for by in wanted.by:
                vectors = texts.vectors(masks, replaced.get(by), len(choices))
                for choice, without in zip(choices, vectors, strict=True):
                    effects = ablation.effects(
                        whole,
                        without,
                        ranked.partners,
                        ranked.negatives,
                        wanted.similarity,
                        texts.encoding.side,
                    )
                    yield _rows(texts.ids, sublayer, neurons, by, choice, effects)


def _replacements(
    texts: _Texts, watched: Watched | None, wanted: specs.AblateSpec
) -> dict[str, dict[Place, Replacement]]:
    """What takes an output's place, for each way other than zero."""
    from wellspring.attributions import replacement
    from wellspring.embeddings import padding_of

    found: dict[str, dict[Place, Replacement]] = {}
    if "mean" in wanted.by:
        found["mean"] = {p: replacement.mean(each) for p, each in watched.outputs.items()}
    if "resample" in wanted.by:
        longest = max([*map(len, texts.tokens), *(texts.widths or [])])
        left = padding_of(texts.backbone, texts.encoding.pooling).left
        donors = {
            layer: replacement.donors_of(texts.ids, watched.owners, layer, longest, wanted.seed)
            for layer in wanted.layers
        }
        found["resample"] = {
            place: replacement.resampled(each, donors[place[0]], left)
            for place, each in watched.outputs.items()
        }
    return found


def _rows(
    ids: Sequence[str],
    sublayer: str,
    neurons: int,
    by: str,
    choice: ablation.Chosen,
    effects: ablation.Effects,
) -> pl.DataFrame:
    fixed = {"sublayer": sublayer, "neurons": neurons, "by": by, "choice": choice.choice}
    fixed |= {"draw": choice.draw}
    frame = pl.DataFrame({"text_id": ids, **asdict(effects), "shared": choice.shared})
    frame = frame.with_columns(pl.lit(value).alias(name) for name, value in fixed.items())
    return frame.select(pl.col(name).cast(kind) for name, kind in ABLATIONS.items()).fill_nan(None)

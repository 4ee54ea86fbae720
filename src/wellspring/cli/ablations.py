"""ablate: what embeddings lose with their highest and lowest neurons, and with random ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from wellspring import specs
from wellspring.artefacts import scores
from wellspring.artefacts.attributions import Ablations
from wellspring.artefacts.checkpoints import loaders, verify
from wellspring.artefacts.datasets import Samples, Texts
from wellspring.budgets import TOKENS
from wellspring.cli.step import Job, batched, step
from wellspring.errors import WellspringError, about
from wellspring.randomness import key

if TYPE_CHECKING:
    from wellspring.attributions import ablation
    from wellspring.attributions.ranking import Ranked
    from wellspring.attributions.replacement import Location, Replacement, Watched
    from wellspring.models.load import Backbone


@step(Ablations, "folder/", "texts", "samples", "description", "candidates", "table")
@batched
def ablate(
    job: Job,
    folder: Path,
    texts: Path,
    samples: Path,
    description: Path,
    candidates: Path,
    table: Path,
    threads: int,
    tokens: int,
) -> None:
    """Ablate neurons by the scores under FOLDER; TABLE tells what that does to each of TEXTS and to
    the ranking in its sample, whose other side the model CANDIDATES embeds."""
    from wellspring.attributions import ranking

    spec, whole = job.spec, job.spec.attribution
    own, other = verify(description, whole.encoding), verify(candidates, spec.candidates)
    digests = Texts.check(texts).identity["texts"]
    stored = scores.checked(folder, whole, spec.layers, weights=own.digest, texts=digests)
    ids, of_sublayers = scores.first(stored, whole.sublayers, spec.texts)
    drawn = Samples.read(samples, spec.samples, texts=digests)
    with about(texts):
        rows = _with_samples(ids, Texts.read(texts), drawn, whole)
    facts = {"texts": len(rows), "texts_without_a_sample_left_out": len(ids) - len(rows)}
    for line in scores.said(stored):
        job.say(line)
    sampled = [ids.index(text) for text in rows["text_id"]]
    of_sublayers = {location: values[sampled] for location, values in of_sublayers.items()}
    backbone, ranked = ranking.ranked(
        *loaders(own, other, whole.encoding, spec.candidates, threads),
        rows,
        (whole.encoding, spec.candidates),
        tokens,
    )
    job.device = backbone.device.type
    budget = tokens or TOKENS[job.device]
    ablated = _Texts.of(backbone, rows, whole, scores.positions(stored), budget)
    frame = pl.concat(_ablations(ablated, of_sublayers, ranked, spec))
    job.counts(facts)
    provenance = job.provenance(
        *("torch", "transformers"),
        facts=facts,
        circumstances={"device": job.device},
        weights=own.digest,
        candidates=other.digest,
        samples=dict(Samples.check(samples).identity),
    )
    Ablations.write(table, frame, provenance)


def _with_samples(
    ids: Sequence[str],
    everything: pl.DataFrame,
    samples: pl.DataFrame,
    whole: specs.AttributionSpec,
) -> pl.DataFrame:
    """Those of the ids that have a sample, in their order, as from `selection.with_samples`.

    A query without hard negatives has judgements, and so may be attributed, but no sample.
    """
    from wellspring.attributions import selection

    selected = selection.with_samples(everything, samples, whole.encoding.side, None, whole.seed)
    order = pl.DataFrame({"text_id": ids}, {"text_id": pl.String})
    selected = order.join(selected, on="text_id", maintain_order="left")
    if selected.is_empty():
        raise WellspringError(
            f"none of the {len(ids)} attributed texts has a sample (hard negatives): "
            "raise the attribution's texts"
        )
    return selection.worded(selected, everything, whole.text)


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
        from wellspring.attributions import ranking

        ids = rows["text_id"].to_list()
        tokens = ranking.tokenised(backbone, rows["text"].to_list(), whole.encoding)
        # The mean over tokens, which stands for a padded mean, does not see padding.
        padded = whole.encoding.pooling == "last-position"
        widths = [positions[text] for text in ids] if padded else None
        return cls(backbone, ids, tokens, widths, whole.encoding, budget)

    def vectors(
        self,
        masks: ablation.Masks,
        replacements: Mapping[Location, Replacement] | None = None,
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

    def watched(self, spec: specs.AblateSpec) -> Watched:
        """What the sub-layers give for the texts; nothing where the ablation needs none of it."""
        from wellspring.attributions import replacement

        if spec.match == "layer" and set(spec.by) == {"zero"}:
            return replacement.Watched({}, np.empty(0, np.int64))
        return replacement.watch(
            self.backbone,
            self.tokens,
            self.ids,
            self.encoding.pooling,
            spec.layers,
            spec.attribution.sublayers,
            spec.seed,
            self.budget,
            self.widths,
        )


def _ablations(
    texts: _Texts, of_sublayers: scores.ScoreSets, ranked: Ranked, spec: specs.AblateSpec
) -> Iterator[pl.DataFrame]:
    """A row for each text, sub-layer, layer or all of them, number of neurons, replacement and
    choice."""
    from wellspring.attributions import ablation

    (whole,), watched = texts.vectors({}), texts.watched(spec)
    replaced = _replacements(texts, watched, spec)
    for sublayer, (layer, counts) in product(spec.attribution.sublayers, _choices(spec)):
        layers = spec.layers if layer is None else [layer]
        locations: list[Location] = [(each, sublayer) for each in layers]
        of_layers = [of_sublayers[location] for location in locations]
        width = of_layers[0].shape[1]
        if spec.match == "layer":
            strata = ablation.layers_of(len(texts.ids), len(locations), width)
        else:
            strata = ablation.magnitudes_of([watched.outputs[p].magnitude for p in locations])
        flat = np.concatenate(of_layers, axis=1)
        seed = spec.seed if layer is None else key(spec.seed, "layer", layer)
        for neurons in counts:
            choices = ablation.chosen(flat, strata, texts.ids, neurons, seed, spec.draws)
            # All choices at once: short texts fill a batch better.
            units = np.concatenate([choice.units for choice in choices])
            masks = ablation.masks(units, sublayer, layers, width)
            for by in spec.by:
                vectors = texts.vectors(masks, replaced.get(by), len(choices))
                where = {"layer": layer, "sublayer": sublayer, "neurons": neurons, "by": by}
                for choice, without in zip(choices, vectors, strict=True):
                    effects = ablation.effects(
                        whole,
                        without,
                        ranked.partners,
                        ranked.negatives,
                        spec.similarity,
                        texts.encoding.side,
                    )
                    yield _rows(texts.ids, where, choice, effects)


def _choices(spec: specs.AblateSpec) -> Iterator[tuple[int | None, list[int]]]:
    """How many neurons are ablated, of all layers together (None) and of each one."""
    yield None, spec.neurons
    for layer in spec.layers if spec.each_layer else ():
        yield layer, spec.each_layer


def _replacements(
    texts: _Texts, watched: Watched, spec: specs.AblateSpec
) -> dict[str, dict[Location, Replacement]]:
    """What takes an output's place, for each way other than zero."""
    from wellspring.attributions import replacement
    from wellspring.embeddings import padding_of

    replacements: dict[str, dict[Location, Replacement]] = {}
    if "mean" in spec.by:
        replacements["mean"] = {p: replacement.mean(each) for p, each in watched.outputs.items()}
    if "resample" in spec.by:
        lengths = [len(ids) for ids in texts.tokens] + (texts.widths or [])
        left = padding_of(texts.backbone, texts.encoding.pooling).left
        donors = {
            layer: replacement.donors_of(texts.ids, watched.owners, layer, max(lengths), spec.seed)
            for layer in spec.layers
        }
        replacements["resample"] = {
            location: replacement.resampled(each, donors[location[0]], left)
            for location, each in watched.outputs.items()
        }
    return replacements


def _rows(
    ids: Sequence[str],
    where: Mapping[str, object],
    choice: ablation.Chosen,
    effects: ablation.Effects,
) -> pl.DataFrame:
    fixed = {**where, "choice": choice.choice, "draw": choice.draw}
    frame = pl.DataFrame({"text_id": ids, **asdict(effects), "shared": choice.shared})
    frame = frame.with_columns(pl.lit(value).alias(name) for name, value in fixed.items())
    return frame.select(
        pl.col(name).cast(kind) for name, kind in Ablations.schema().items()
    ).fill_nan(None)

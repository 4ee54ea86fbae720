"""attribute: the neurons of some layers that one side's embeddings are attributed to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from wellspring import budgets, shards, specs
from wellspring.artefacts import scores
from wellspring.artefacts.attributions import AttributionShard
from wellspring.artefacts.checkpoints import Described, advice, verify
from wellspring.artefacts.datasets import Qrels, Samples, Texts
from wellspring.budgets import ATTRIBUTED as WINDOW
from wellspring.budgets import SCORES, TOKENS
from wellspring.cli.step import Job, batched, step
from wellspring.errors import WellspringError, about
from wellspring.plurals import counted

if TYPE_CHECKING:
    from wellspring.attributions.fused import AttributedTexts
    from wellspring.attributions.targets import Target
    from wellspring.models.load import Backbone

SHOWN = 0.1
"""Share of a text's largest score in the sub-layer at which the log tells what storage flips."""

ACTIVE, FLIPPED = f"scores_above_{SHOWN}_of_the_largest", "of_these_flipped_by_float16"

COMPARED = 4
"""Texts of a shard that half precision is held against float32 with."""


@dataclass(frozen=True)
class Work:
    """Texts, and what of them is attributed to neurons, whatever the layer."""

    selected: pl.DataFrame
    target: Target
    whole: specs.AttributionSpec
    budget: int
    """Tokens × points of a pass."""

    def at(self, rows: range) -> Work:
        """Some of the texts."""
        return replace(
            self,
            selected=self.selected[rows.start : rows.stop],
            target=self.target.select(rows),
        )


@step(AttributionShard, "texts", "judgements", "description", "partner", "shard...")
@batched
def attribute(
    job: Job,
    texts: Path,
    judgements: Path,
    description: Path,
    partner: Path,
    shard: Sequence[Path],
    threads: int,
    tokens: int,
) -> None:
    """Attribute TEXTS of JUDGEMENTS to the neurons of the model that DESCRIPTION names, into SHARD,
    a file for each --layer; which shard stands in --spec.

    The vectors of a text's partner, where the target has one, are those of the model that PARTNER
    describes; else it is not read.
    """
    spec, whole = job.spec, job.spec.attribution
    remaining = job.remaining(shard)
    if not remaining:
        return
    source = Texts.check(texts).identity
    selected = _selected(texts, judgements, whole, source["texts"])
    described = verify(description, whole.encoding)
    other = verify(partner, whole.partner) if whole.partner else None
    rows = _rows(len(selected), spec)
    backbone, target = _prepared(described, other, whole, selected[rows], threads)
    widths = _widths(backbone, selected, rows, whole)
    selected = selected[rows].with_columns(positions=pl.Series(widths, dtype=pl.Int32))
    job.device = backbone.device.type
    for line in advice(whole.encoding, backbone):
        job.say(line)
    budget = tokens or budgets.rows(
        job.device, backbone.layers, backbone.hidden, whole.encoding.dtype
    )
    work = Work(selected, target, whole, budget)
    layers = [part.value for part in remaining]
    differences: Mapping[int, Mapping[str, Any]] = {layer: {} for layer in layers}
    if whole.encoding.dtype != "float32":
        few = work.at(range(min(COMPARED, len(selected))))
        half = _shares(backbone, few, layers)
        # Two models are never in memory at once.
        del backbone
        single = whole.encoding.model_copy(update={"dtype": "float32"})
        exact = _shares(described.load(single, threads), few, layers)
        differences = {layer: _differences(half[layer], exact[layer]) for layer in layers}
        backbone = described.load(whole.encoding, threads)
    for part in remaining:
        provenance = job.provenance(
            *("torch", "transformers", "tokenizers", "captum"),
            part=part,
            circumstances={"device": job.device, "threads": threads, "tokens": budget},
            weights=described.digest,
            partner=other.digest if other else None,
            texts=source["texts"],
            paraphrases=source["paraphrases"] if whole.text == "paraphrase" else None,
        )
        schema = scores.schema(_neurons(backbone, whole, part.value), whole)
        AttributionShard.fits(schema)
        with shards.stream(part.path, schema, provenance) as writer:
            _fill(writer, backbone, work, part.value, job)
            writer.facts |= differences[part.value]
        job.say(f"layer {part.value}")
        job.counts(writer.facts)


def _selected(
    texts: Path, judgements: Path, whole: specs.AttributionSpec, digests: Mapping[str, str]
) -> pl.DataFrame:
    """text_id and text of all texts, with partner_id and partner_text, and for the margin of a
    query with negative_texts."""
    from wellspring.attributions import selection

    everything, side = Texts.read(texts), whole.encoding.side
    if whole.samples is None:
        graded = Qrels.read(judgements, whole.judgements, texts=digests)
        selected = selection.select(everything, graded, side, whole.texts, whole.seed)
    else:
        samples = Samples.read(judgements, whole.samples, texts=digests)
        selected = selection.with_samples(everything, samples, side, whole.texts, whole.seed)
    with about(texts):
        return selection.worded(selected, everything, whole.text)


def _neurons(backbone: Backbone, whole: specs.AttributionSpec, layer: int) -> dict[str, int]:
    """The width of each sub-layer."""
    from wellspring.models.architecture import sublayer

    widths = {}
    for name in whole.sublayers:
        _, rows = sublayer(backbone.model, backbone.architecture, layer - 1, name)
        widths[name] = rows.stop - rows.start
    return widths


def _rows(texts: int, spec: specs.AttributeSpec) -> slice:
    """Which of all texts are the shard's."""
    whole = spec.attribution
    if texts < whole.shards:
        raise WellspringError(
            f"{counted(texts, 'text')} of the test split's {whole.encoding.side} side cannot fill "
            f"{whole.shards} shards: lower the attribution's shards"
        )
    return slice(*(texts * (spec.shard + more) // whole.shards for more in (0, 1)))


def _widths(
    backbone: Backbone, chosen: pl.DataFrame, part: slice, whole: specs.AttributionSpec
) -> Sequence[int | None]:
    """To how many positions each of the shard's texts is padded; None where nothing depends on it.

    A batch may reach beyond the shard, so that all texts are looked at.
    """
    from wellspring.attributions import ranking, selection

    padding = whole.padding
    if padding is None:
        return [None] * len(chosen[part])
    texts = chosen["text"] if padding.batch else chosen["text"][part]
    lengths = [
        len(tokens)
        for start in range(0, len(texts), WINDOW)
        for tokens in ranking.tokenised(
            backbone, texts[start : start + WINDOW].to_list(), whole.encoding
        )
    ]
    if padding.batch:
        return selection.widths(lengths, padding.batch)[part]
    return [max(length, padding.length or 0) for length in lengths]


def _prepared(
    described: Described,
    other: Described | None,
    whole: specs.AttributionSpec,
    chosen: pl.DataFrame,
    threads: int,
) -> tuple[Backbone, Target]:
    """The model, and what is attributed of each text. Two models are never in memory at once."""
    from wellspring.attributions import targets

    if other is None or whole.partner is None:
        simple = {
            "norm": targets.norm,
            "padded-mean-norm": targets.padded_mean_norm,
            "pooler-norm": targets.pooler_norm,
        }
        return described.load(whole.encoding, threads), simple[whole.target]()
    alike = other.digest == described.digest and whole.partner.dtype == whole.encoding.dtype
    backbone = other.load(whole.partner, threads)
    target = _similarity(backbone, whole, whole.partner, chosen)
    if not alike:
        del backbone
        backbone = described.load(whole.encoding, threads)
    return backbone, target


def _similarity(
    backbone: Backbone,
    whole: specs.AttributionSpec,
    partner: specs.EncodingSpec,
    chosen: pl.DataFrame,
) -> Target:
    """The similarity to each text's partner, a constant, and for a query less that to its
    negatives."""
    from wellspring.attributions import ranking, targets

    budget = TOKENS[backbone.device.type]
    partners = ranking.last_vectors(backbone, chosen["partner_text"].to_list(), partner, budget)
    similarity = whole.similarity or ("dot" if whole.target == "dot" else "cosine")
    # A passage's negatives are its query's, and as constant as the query itself.
    if whole.target == "margin" and whole.encoding.side == "query":
        negative_texts = chosen["negative_texts"]
        flat = negative_texts.explode().to_list()
        negatives = ranking.last_vectors(backbone, flat, partner, budget)
        counts = negative_texts.list.len().to_list()
        return targets.margin(partners, negatives.split(counts), similarity)
    return targets.cosine(partners) if similarity == "cosine" else targets.dot(partners)


def _fill(writer: shards.TableWriter, backbone: Backbone, work: Work, layer: int, job: Job) -> None:
    """Attribute the texts, a window at a time; leaves counts in the writer's facts."""
    from wellspring.attributions.scores import columns_of

    selected = work.selected
    counts = {"texts": len(selected), ACTIVE: 0, FLIPPED: 0}
    splits, quiet = 0, []
    lists = (field.type for field in writer.schema if pa.types.is_fixed_size_list(field.type))
    size = max(1, min(WINDOW, SCORES // sum(2 * kind.list_size for kind in lists)))
    with job.track(len(selected), f"texts, layer {layer}") as bar:
        for start in range(0, len(selected), size):
            rows = range(start, min(start + size, len(selected)))
            window = work.at(rows)
            given = ("text_id", "partner_id", "positions")
            columns: dict[str, Any] = {name: window.selected[name].to_list() for name in given}
            for done in _attributed(backbone, window, layer):
                for name, part in done.scores.items():
                    _put(columns, done.rows, len(rows), columns_of(name, part))
                    _count(counts, part.absolute[~part.quiet])
                silent = np.any([part.quiet for part in done.scores.values()], axis=0)
                quiet += [columns["text_id"][row] for row in np.array(done.rows)[silent]]
                splits += done.splits
                bar.advance(len(done.rows))
            writer.write([columns[name] for name in writer.schema.names])
    # Of one shard of several, the step that reads all of them judges.
    if len(quiet) == len(selected) and work.whole.shards == 1:
        raise scores.too_quiet(f"layer {layer}:", quiet, len(selected), work.whole.target)
    writer.facts |= counts
    if quiet:
        writer.facts[scores.QUIET] = sorted(quiet)
    if splits:
        writer.facts["batches_halved_for_memory"] = splits


def _shares(backbone: Backbone, few: Work, layers: Sequence[int]) -> dict[int, np.ndarray]:
    """Absolute scores of a layer's sub-layers [texts, neurons], as shares of the sub-layer's
    largest; 0 where a text is quiet."""
    from wellspring.attributions.scores import shares

    by_layer = {}
    for layer in layers:
        by_text: list[Any] = [None] * len(few.selected)
        for done in _attributed(backbone, few, layer):
            parts = [
                shares(part.absolute, np.where(part.quiet, 0, part.absolute.max(axis=1)))
                for part in done.scores.values()
            ]
            for row, values in zip(done.rows, np.hstack(parts), strict=True):
                by_text[row] = values
        by_layer[layer] = np.array(by_text)
    return by_layer


def _differences(half: np.ndarray, exact: np.ndarray) -> dict[str, Any]:
    """What half precision changes [texts, neurons], in words for the log and the shard's facts."""
    # A text that is quiet in one of the two has nothing to compare.
    heard = half.any(axis=1) & exact.any(axis=1)
    half, exact = half[heard], exact[heard]
    active = exact > SHOWN
    flipped = int(((half > SHOWN) != active).sum())
    return {
        f"half_precision_flips_of_{len(half)}_texts": f"{flipped} of {int(active.sum())}",
        "half_precision_error_of_the_largest": f"{np.abs(half - exact).max(initial=0):.4f}",
    }


def _attributed(backbone: Backbone, work: Work, layer: int) -> Iterator[AttributedTexts]:
    from wellspring.attributions import fused, quadrature, ranking

    whole, encoding, texts = work.whole, work.whole.encoding, work.selected
    if whole.quadrature == "paper":
        rule = quadrature.paper()
    else:
        # A method without an integral takes one point.
        rule = quadrature.gauss_legendre(whole.points or 1)
    scorer = fused.scores
    if whole.method != "weights":
        from wellspring.attributions import methods

        scorer = methods.scorer(whole.method)
    yield from fused.attribute(
        backbone,
        ranking.tokenised(backbone, texts["text"].to_list(), encoding),
        work.target,
        fused.Method(encoding.pooling, rule, layer, tuple(whole.sublayers), whole.tolerance),
        work.budget,
        texts["positions"].to_list() if whole.padding else None,
        scorer,
        texts["text_id"].to_list(),
    )


def _put(
    columns: dict[str, Any],
    rows: Sequence[int],
    texts: int,
    values_by_name: Mapping[str, np.ndarray],
) -> None:
    """Put a batch's columns into the window's."""
    for name, values in values_by_name.items():
        if name not in columns:
            columns[name] = np.empty((texts, *values.shape[1:]), values.dtype)
        columns[name][rows] = values


def _count(counts: dict[str, int], absolute: np.ndarray) -> None:
    """What storage flips at a threshold."""
    exact = absolute / absolute.max(axis=1, keepdims=True)
    active = exact > SHOWN
    counts[ACTIVE] += int(active.sum())
    counts[FLIPPED] += int((active != (exact.astype(np.float16).astype(np.float32) > SHOWN)).sum())

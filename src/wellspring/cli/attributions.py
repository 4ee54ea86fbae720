"""attribute: the neurons of one layer that one side's embeddings are attributed to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import polars as pl
import pyarrow as pa

from wellspring import shards, specs
from wellspring.cli import chosen as texts_of
from wellspring.cli import scores
from wellspring.cli.embeddings import TOKENS, advice, load_backbone
from wellspring.cli.models import Described, variant, verify
from wellspring.cli.step import FILE, Log, batched, circumstances, options, step
from wellspring.errors import WellspringError

if TYPE_CHECKING:
    from wellspring.attributions.fused import AttributedTexts
    from wellspring.attributions.targets import Target
    from wellspring.models.load import Backbone

WINDOW = 4096
"""At most so many texts are sorted by length together and written as one row group."""

HELD = 128 << 20
"""Bytes of a window's scores: bounds memory, however wide the model."""

ROWS = {"cpu": 2048, "cuda": 65536}
"""Padded tokens × quadrature points in one pass: what stays in a processor's cache; what takes
about 30 GB of a card for a model of SIZE, and fewer for a larger one."""

SIZE = 12 * 768 * 4
"""Blocks × width × bytes of BERT-base in float32."""

SHOWN = 0.1
"""Share of a text's largest score in the sub-layer at which the log tells what storage flips."""

ACTIVE, FLIPPED = f"scores_above_{SHOWN}_of_the_largest", "of_these_flipped_by_float16"

COMPARED = 4
"""Texts of a shard that half precision is held against float32 with."""


@click.command()
@click.argument("texts", type=FILE)
@click.argument("judgements", type=FILE)
@click.argument("description", type=FILE)
@click.argument("partner", type=FILE)
@click.argument("shard", type=FILE)
@batched
@options
def attribute(
    texts: Path,
    judgements: Path,
    description: Path,
    partner: Path,
    shard: Path,
    threads: int,
    tokens: int,
    spec: str,
    code: str | None,
    log: Path | None,
) -> None:
    """Attribute TEXTS of JUDGEMENTS to one layer's neurons of the model that DESCRIPTION names,
    into SHARD; layer and shard stand in --spec.

    The vectors of a text's partner, where the target has one, are those of the model that PARTNER
    describes; else it is not read.
    """
    wanted = specs.AttributeSpec.read(spec)
    whole = wanted.attribution
    name = "attribute" if whole.method == "weights" else "explain"
    with step(name, variant(whole.encoding), code, log) as messages:
        source = shards.check(texts, step="texts").identity
        chosen = texts_of.chosen(texts, judgements, whole, source["texts"])
        described = verify(description, whole.encoding)
        other = verify(partner, whole.partner) if whole.partner else None
        part = _part(len(chosen), wanted)
        backbone, target = _prepared(described, other, whole, chosen[part], threads)
        widths = _widths(backbone, chosen, part, whole)
        chosen = chosen[part].with_columns(positions=pl.Series(widths, dtype=pl.Int32))
        messages.device = backbone.device.type
        for line in advice(whole.encoding, backbone):
            messages.say(line)
        budget = tokens or default_rows(
            messages.device, backbone.layers, backbone.hidden, whole.encoding.dtype
        )
        identity = {
            "step": "attributions",
            "spec": whole.model_dump(mode="json"),
            "layer": wanted.layer,
            "shard": wanted.shard,
            "weights": described.digest,
            "partner": other.digest if other else None,
            "texts": source["texts"],
            "paraphrases": source["paraphrases"] if whole.text == "paraphrase" else None,
        }
        made = circumstances(
            name,
            variant(whole.encoding),
            *("torch", "transformers", "tokenizers", "captum"),
            device=messages.device,
            threads=threads,
            tokens=budget,
        )
        schema = scores.schema(_neurons(backbone, wanted), whole)
        with shards.stream(shard, schema, identity, made) as writer:
            _fill(writer, backbone, chosen, target, wanted, budget, messages)
            if whole.encoding.dtype != "float32":
                few = chosen[:COMPARED]
                given = (few, target.select(range(len(few))), wanted, budget)
                half = _shares(backbone, *given)
                del backbone
                single = whole.encoding.model_copy(update={"dtype": "float32"})
                exact = _shares(load_backbone(described, single, threads), *given)
                writer.facts |= _differences(half, exact)
        messages.counts(writer.facts)


def default_rows(device: str, layers: int, hidden: int, dtype: str) -> int:
    """Rows of one pass, where the profile sets none."""
    if device == "cpu":
        return ROWS[device]
    size = layers * hidden * (4 if dtype == "float32" else 2)
    return ROWS[device] * SIZE // max(SIZE, size)


def _neurons(backbone: Backbone, wanted: specs.AttributeSpec) -> dict[str, int]:
    """The width of each sub-layer."""
    from wellspring.models.architecture import sublayer

    found = {}
    for name in wanted.attribution.sublayers:
        _, rows = sublayer(backbone.model, backbone.architecture, wanted.layer - 1, name)
        found[name] = rows.stop - rows.start
    return found


def _part(texts: int, wanted: specs.AttributeSpec) -> slice:
    """Which of all texts are the shard's."""
    whole = wanted.attribution
    if texts < whole.shards:
        raise WellspringError(
            f"{texts} texts of the test split's {whole.encoding.side} side cannot fill "
            f"{whole.shards} shards: lower the attribution's shards"
        )
    return slice(*(texts * (wanted.shard + more) // whole.shards for more in (0, 1)))


def _widths(
    backbone: Backbone, chosen: pl.DataFrame, part: slice, whole: specs.AttributionSpec
) -> list[int | None]:
    """To how many positions each of the shard's texts is padded; None where nothing depends on it.

    A batch may reach beyond the shard, so that all texts are looked at.
    """
    from wellspring.attributions import selection

    padding = whole.padding
    if padding is None:
        return [None] * len(chosen[part])
    texts = chosen["text"] if padding.batch else chosen["text"][part]
    lengths = [
        len(tokens)
        for start in range(0, len(texts), WINDOW)
        for tokens in texts_of.tokenised(
            backbone, texts[start : start + WINDOW].to_list(), whole.encoding
        )
    ]
    if padding.batch:
        return selection.widths(lengths, padding.batch)[part]
    return [max(length, padding.length) for length in lengths]


def _prepared(
    described: Described,
    other: Described | None,
    whole: specs.AttributionSpec,
    chosen: pl.DataFrame,
    threads: int,
) -> tuple[Backbone, Target]:
    """The model, and what is attributed of each text. Two models are never in memory at once."""
    from wellspring.attributions import targets

    if other is None:
        simple = {
            "norm": targets.norm,
            "padded-mean-norm": targets.padded_mean_norm,
            "pooler-norm": targets.pooler_norm,
        }
        return load_backbone(described, whole.encoding, threads), simple[whole.target]()
    alike = other.digest == described.digest and whole.partner.dtype == whole.encoding.dtype
    backbone = load_backbone(other, whole.partner, threads)
    target = _similarity(backbone, whole, chosen)
    if not alike:
        del backbone
        backbone = load_backbone(described, whole.encoding, threads)
    return backbone, target


def _similarity(backbone: Backbone, whole: specs.AttributionSpec, chosen: pl.DataFrame) -> Target:
    """The similarity to each text's partner, a constant, and for a query less that to its
    negatives."""
    from wellspring.attributions import targets

    budget = TOKENS[backbone.device.type]
    partners = texts_of.last_vectors(
        backbone, chosen["partner_text"].to_list(), whole.partner, budget
    )
    # A passage's negatives are its query's, and as constant as the query itself.
    if whole.target == "margin" and whole.encoding.side == "query":
        held = chosen["negative_texts"]
        negatives = texts_of.last_vectors(backbone, held.explode().to_list(), whole.partner, budget)
        counts = held.list.len().to_list()
        return targets.margin(partners, negatives.split(counts), whole.similarity)
    kind = whole.similarity or whole.target
    return targets.cosine(partners) if kind == "cosine" else targets.dot(partners)


def _fill(
    writer: shards.TableWriter,
    backbone: Backbone,
    chosen: pl.DataFrame,
    target: Target,
    wanted: specs.AttributeSpec,
    budget: int,
    messages: Log,
) -> None:
    """Attribute the texts, a window at a time; leaves counts in the writer's facts."""
    counts = {"texts": len(chosen), ACTIVE: 0, FLIPPED: 0}
    splits, quiet = 0, []
    lists = (field.type for field in writer.schema if pa.types.is_fixed_size_list(field.type))
    size = max(1, min(WINDOW, HELD // sum(2 * kind.list_size for kind in lists)))
    with messages.track(len(chosen), "texts") as bar:
        for start in range(0, len(chosen), size):
            rows = range(start, min(start + size, len(chosen)))
            window = chosen[rows.start : rows.stop]
            given = ("text_id", "partner_id", "positions")
            columns: dict[str, Any] = {name: window[name].to_list() for name in given}
            for done in _attributed(backbone, window, target.select(rows), wanted, budget):
                for name, found in done.scores.items():
                    _place(columns, done.rows, len(window), scores.columns_of(name, found))
                    _count(counts, found.absolute[~found.quiet])
                silent = np.any([found.quiet for found in done.scores.values()], axis=0)
                quiet += [columns["text_id"][row] for row in np.array(done.rows)[silent]]
                splits += done.splits
                bar.advance(len(done.rows))
            writer.write([columns[name] for name in writer.schema.names])
    # Of one shard of several, the step that reads all of them judges.
    if len(quiet) == len(chosen) and wanted.attribution.shards == 1:
        where = f"layer {wanted.layer}:"
        raise scores.too_quiet(where, quiet, len(chosen), wanted.attribution.target)
    writer.facts |= counts
    if quiet:
        writer.facts[scores.QUIET] = sorted(quiet)
    if splits:
        writer.facts["batches_halved_for_memory"] = splits


def _shares(
    backbone: Backbone,
    few: pl.DataFrame,
    target: Target,
    wanted: specs.AttributeSpec,
    budget: int,
) -> np.ndarray:
    """Absolute scores of all sub-layers [texts, neurons], as shares of the sub-layer's largest;
    0 where a text is quiet."""
    found: list[Any] = [None] * len(few)
    for done in _attributed(backbone, few, target, wanted, budget):
        parts = [
            scores.shares(part.absolute, np.where(part.quiet, 0, part.absolute.max(axis=1)))
            for part in done.scores.values()
        ]
        for row, values in zip(done.rows, np.hstack(parts), strict=True):
            found[row] = values
    return np.array(found)


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


def _attributed(
    backbone: Backbone,
    window: pl.DataFrame,
    target: Target,
    wanted: specs.AttributeSpec,
    budget: int,
) -> Iterator[AttributedTexts]:
    from wellspring.attributions import fused, quadrature

    whole, encoding = wanted.attribution, wanted.attribution.encoding
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
        texts_of.tokenised(backbone, window["text"].to_list(), encoding),
        target,
        fused.Method(encoding.pooling, rule, wanted.layer, tuple(whole.sublayers), whole.tolerance),
        budget,
        window["positions"].to_list() if whole.padding else None,
        scorer,
        window["text_id"].to_list(),
    )


def _place(
    columns: dict[str, Any], rows: Sequence[int], texts: int, held: Mapping[str, np.ndarray]
) -> None:
    """Put a batch's columns into the window's."""
    for name, values in held.items():
        if name not in columns:
            columns[name] = np.empty((texts, *values.shape[1:]), values.dtype)
        columns[name][rows] = values


def _count(counts: dict[str, int], absolute: np.ndarray) -> None:
    """What storage flips at a threshold."""
    exact = absolute / absolute.max(axis=1, keepdims=True)
    active = exact > SHOWN
    counts[ACTIVE] += int(active.sum())
    counts[FLIPPED] += int((active != (exact.astype(np.float16).astype(np.float32) > SHOWN)).sum())

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
from wellspring.cli.embeddings import TOKENS, advice, load_backbone
from wellspring.cli.models import Described, variant, verify
from wellspring.cli.step import FILE, Log, circumstances, options, step
from wellspring.errors import WellspringError

if TYPE_CHECKING:
    import torch

    from wellspring.attributions.fused import Attributed, Scores
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
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--tokens", type=click.IntRange(min=0), default=0, help="Tokens × points a pass; 0: by device."
)
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
        digests = shards.check(texts, step="texts").identity["texts"]
        chosen = _chosen(texts, judgements, wanted, digests)
        described = verify(description, whole.encoding)
        other = verify(partner, whole.partner) if whole.partner else None
        backbone, target = _prepared(described, other, whole, chosen, threads)
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
            "texts": digests,
        }
        made = circumstances(
            name,
            variant(whole.encoding),
            *("torch", "transformers", "tokenizers", "captum"),
            device=messages.device,
            threads=threads,
            tokens=budget,
        )
        schema = _schema(backbone, wanted)
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


def score_columns(sublayer: str) -> dict[str, str]:
    """The columns that a shard holds of a sub-layer."""
    kinds = ("scale", "residual", "change", "scores", "signed")
    return {kind: f"{sublayer}_{kind}" for kind in kinds}


def _schema(backbone: Backbone, wanted: specs.AttributeSpec) -> pa.Schema:
    from wellspring.models.architecture import sublayer

    fields = [("text_id", pa.string())]
    if wanted.attribution.partner:
        fields.append(("partner_id", pa.string()))
    if wanted.attribution.tolerance:
        fields += [(f"{name}_points", pa.int32()) for name in wanted.attribution.sublayers]
    for name in wanted.attribution.sublayers:
        _, rows = sublayer(backbone.model, backbone.architecture, wanted.layer - 1, name)
        width = rows.stop - rows.start
        columns = score_columns(name)
        fields += [(columns[kind], pa.float32()) for kind in ("scale", "residual", "change")]
        fields += [(columns[kind], shards.fixed("float16", width)) for kind in ("scores", "signed")]
    return pa.schema(fields)


def read_texts(path: Path) -> pl.DataFrame:
    """All texts of a dataset."""
    return pl.from_arrow(shards.read(path, ["text_id", "side", "text"], step="texts"))


def last_vectors(
    backbone: Backbone, texts: Sequence[str], encoding: specs.EncodingSpec, budget: int
) -> torch.Tensor:
    """Vectors of the last layer [texts, hidden], float32, not normalised."""
    import torch

    from wellspring import embeddings

    tokens = embeddings.tokenise(
        backbone.tokenizer, texts, encoding.template, encoding.length, encoding.pooling
    )
    found = torch.empty(len(texts), backbone.hidden)
    for done in embeddings.encode(
        backbone, tokens, encoding.pooling, budget=budget, length=encoding.length
    ):
        found[done.rows] = torch.from_numpy(done.vectors[-1])
    return found


def _chosen(
    texts: Path, judgements: Path, wanted: specs.AttributeSpec, digests: Mapping[str, str]
) -> pl.DataFrame:
    """text_id and text of the shard's texts, with partner_id and partner_text, and for the margin
    of a query with negative_texts."""
    from wellspring.attributions import selection

    whole, everything = wanted.attribution, read_texts(texts)
    side = whole.encoding.side
    if whole.samples is None:
        expected = whole.judgements.model_dump(mode="json")
        shards.check(judgements, step="qrels", spec=expected, texts=digests)
        graded = pl.from_arrow(shards.read(judgements))
        chosen = selection.select(everything, graded, side, whole.texts, whole.seed)
    else:
        expected = whole.samples.model_dump(mode="json")
        shards.check(judgements, step="samples", spec=expected, texts=digests)
        samples = pl.from_arrow(shards.read(judgements))
        graded = samples.select("split", "query_id", text_id="positive_id", grade=pl.lit(1))
        chosen = selection.select(everything, graded, side, whole.texts, whole.seed)
        found = selection.candidates(samples, everything, chosen, side)
        chosen = chosen.join(
            found.select("text_id", "negative_texts"), on="text_id", maintain_order="left"
        )
    if len(chosen) < whole.shards:
        raise WellspringError(
            f"{len(chosen)} texts of the test split's {side} side cannot fill {whole.shards} "
            "shards: lower the attribution's shards"
        )
    first, last = (len(chosen) * (wanted.shard + more) // whole.shards for more in (0, 1))
    return chosen[first:last]


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
    partners = last_vectors(backbone, chosen["partner_text"].to_list(), whole.partner, budget)
    # A passage's negatives are its query's, and as constant as the query itself.
    if whole.target == "margin" and whole.encoding.side == "query":
        held = chosen["negative_texts"]
        negatives = last_vectors(backbone, held.explode().to_list(), whole.partner, budget)
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
    splits = 0
    lists = (field.type for field in writer.schema if pa.types.is_fixed_size_list(field.type))
    size = max(1, min(WINDOW, HELD // sum(2 * kind.list_size for kind in lists)))
    with messages.track(len(chosen), "texts") as bar:
        for start in range(0, len(chosen), size):
            rows = range(start, min(start + size, len(chosen)))
            window = chosen[rows.start : rows.stop]
            columns = {name: window[name].to_list() for name in ("text_id", "partner_id")}
            for done in _attributed(backbone, window, target.select(rows), wanted, budget):
                for name, scores in done.scores.items():
                    _place(columns, done.rows, len(window), name, scores, counts)
                splits += done.splits
                bar.advance(len(done.rows))
            writer.write([columns[name] for name in writer.schema.names])
    writer.facts |= counts
    if splits:
        writer.facts["batches_halved_for_memory"] = splits


def _shares(
    backbone: Backbone,
    few: pl.DataFrame,
    target: Target,
    wanted: specs.AttributeSpec,
    budget: int,
) -> np.ndarray:
    """Absolute scores of all sub-layers [texts, neurons], as shares of the sub-layer's largest."""
    found: list[Any] = [None] * len(few)
    for done in _attributed(backbone, few, target, wanted, budget):
        parts = [scores.absolute for scores in done.scores.values()]
        shares = np.hstack([part / part.max(axis=1, keepdims=True) for part in parts])
        for row, values in zip(done.rows, shares, strict=True):
            found[row] = values
    return np.array(found)


def _differences(half: np.ndarray, exact: np.ndarray) -> dict[str, Any]:
    """What half precision changes [texts, neurons], in words for the log and the shard's facts."""
    active = exact > SHOWN
    flipped = int(((half > SHOWN) != active).sum())
    return {
        f"half_precision_flips_of_{len(half)}_texts": f"{flipped} of {int(active.sum())}",
        "half_precision_error_of_the_largest": f"{np.abs(half - exact).max():.4f}",
    }


def _attributed(
    backbone: Backbone,
    window: pl.DataFrame,
    target: Target,
    wanted: specs.AttributeSpec,
    budget: int,
) -> Iterator[Attributed]:
    from wellspring import embeddings
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
    tokens = embeddings.tokenise(
        backbone.tokenizer,
        window["text"].to_list(),
        encoding.template,
        encoding.length,
        encoding.pooling,
    )
    padded = whole.target == "padded-mean-norm" or encoding.pooling == "last-position"
    yield from fused.attribute(
        backbone,
        tokens,
        target,
        fused.Method(encoding.pooling, rule, wanted.layer, tuple(whole.sublayers), whole.tolerance),
        budget,
        encoding.length if padded else 0,
        scorer,
        window["text_id"].to_list(),
    )


def _place(
    columns: dict[str, Any],
    rows: Sequence[int],
    texts: int,
    sublayer: str,
    scores: Scores,
    counts: dict[str, int],
) -> None:
    """Put a batch's scores into the window's columns, as float16 shares of each text's largest."""
    scale = scores.absolute.max(axis=1)
    shares = scores.absolute / scale[:, None]
    kept = shares.astype(np.float16)
    held = {
        "scale": scale,
        "residual": scores.residual,
        "change": scores.full - scores.empty,
        "scores": kept,
        "signed": (scores.signed / scale[:, None]).astype(np.float16),
        "points": scores.points,
    }
    for kind, values in held.items():
        name = f"{sublayer}_{kind}"
        if name not in columns:
            dtype = np.float32 if kind in ("scale", "residual", "change") else values.dtype
            columns[name] = np.empty((texts, *values.shape[1:]), dtype)
        columns[name][rows] = values
    active = shares > SHOWN
    counts[ACTIVE] += int(active.sum())
    counts[FLIPPED] += int((active != (kept.astype(np.float32) > SHOWN)).sum())

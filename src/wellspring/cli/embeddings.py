"""embed: one side of a dataset, one shard, all layers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wellspring import shards, specs
from wellspring.cli.models import Described, architecture, variant, verify
from wellspring.cli.step import FILE, Log, batched, circumstances, options, step
from wellspring.errors import ModelError

if TYPE_CHECKING:
    from wellspring.models.load import Backbone

WINDOW = 8192
"""Texts that are sorted by length together: bounds memory, whatever the dataset's size."""

TOKENS = {"cpu": 2048, "cuda": 65536}
"""Padded tokens in one forward pass: what stays in a processor's cache, what fills a GPU."""


@click.command()
@click.argument("texts", type=FILE)
@click.argument("description", type=FILE)
@click.argument("shard", type=FILE)
@batched
@options
def embed(
    texts: Path,
    description: Path,
    shard: Path,
    threads: int,
    tokens: int,
    spec: str,
    code: str | None,
    log: Path | None,
) -> None:
    """Embed the TEXTS of one side with the model that DESCRIPTION names into SHARD."""
    wanted = specs.EmbedSpec.read(spec)
    encoding = wanted.encoding
    with step("embed", variant(encoding), code, log) as messages:
        source = shards.check(texts, step="texts")
        described = verify(description, encoding)
        for line in _disagreements(described, encoding):
            messages.say(line)
        backbone = load_backbone(described, encoding, threads)
        messages.device = str(backbone.device)
        for line in advice(encoding, backbone):
            messages.say(line)
        budget = tokens or TOKENS[messages.device]
        identity = {
            "step": "embeddings",
            "spec": wanted.model_dump(mode="json"),
            "weights": described.digest,
            "texts": source.identity["texts"][encoding.side],
        }
        made = circumstances(
            "embed",
            variant(encoding),
            *("torch", "transformers", "tokenizers"),
            device=messages.device,
            threads=threads,
            tokens=budget,
        )
        shape = (backbone.layers + 1, backbone.hidden, encoding.storage)
        with shards.vectors(shard, *shape, identity, made) as writer:
            _fill(writer, backbone, texts, wanted, budget, messages)
        messages.counts(writer.facts)


def _disagreements(described: Described, encoding: specs.EncodingSpec) -> Iterator[str]:
    """Where the encoder's entry is not as the checkpoint's own files say."""
    from wellspring.models import conventions

    yield from conventions.disagreements(
        conventions.read(described.checkpoint, described.adapter),
        encoding.side,
        encoding.pooling,
        encoding.template,
        encoding.length,
        encoding.normalise,
    )


def load_backbone(described: Described, encoding: specs.EncodingSpec, threads: int) -> Backbone:
    """The model of an encoding, on the GPU where there is one; torch then uses so many threads.

    Raises ModelError, which names the model, where its checkpoint cannot be used.
    """
    import torch

    from wellspring.models.load import load

    torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return load(
            described.checkpoint,
            architecture(encoding),
            encoding.layers,
            encoding.dtype,
            device,
            adapter=described.adapter,
        )
    except ModelError as error:
        raise ModelError(f"{encoding.model}: {error}") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{encoding.model}: {str(error).splitlines()[0]}") from None


def advice(encoding: specs.EncodingSpec, backbone: Backbone) -> Iterator[str]:
    """What the user should know about the model before waiting for it."""
    import torch

    yield from backbone.notes
    able = torch.cpu.get_capabilities()
    fast = {
        "float32": True,
        "bfloat16": able.get("avx512_bf16") or able.get("amx_bf16") or able.get("bf16"),
        "float16": able.get("avx512_fp16") or able.get("amx_fp16") or able.get("fp16"),
    }
    if backbone.device.type == "cpu" and not fast[encoding.dtype]:
        yield f"this processor has no {encoding.dtype} arithmetic: float32 would be faster"
    if backbone.merged is not None:
        yield (
            f"adapter merged: rounding moved the outputs by {backbone.merged:.1e} of the largest"
        )
    if spread := getattr(backbone.model, "hf_device_map", None):
        yield f"the model is spread over {', '.join(sorted({str(p) for p in spread.values()}))}"


def _fill(
    writer: shards.VectorWriter,
    backbone: Backbone,
    texts: Path,
    wanted: specs.EmbedSpec,
    budget: int,
    messages: Log,
) -> None:
    """Embed the shard's texts, a window at a time; leaves counts in the writer's facts."""
    from wellspring import embeddings

    encoding = wanted.encoding
    total, windows = _windows(texts, wanted)
    truncated = splits = 0
    with messages.track(total, "texts") as bar:
        for ids, window in windows:
            rows = embeddings.tokenise(
                backbone.tokenizer, window, encoding.template, encoding.length, encoding.pooling
            )
            truncated += sum(len(row) == encoding.length for row in rows)
            for done in embeddings.encode(
                backbone, rows, encoding.pooling, encoding.normalise, budget, encoding.length
            ):
                writer.write([ids[row] for row in done.rows], done.vectors)
                splits += done.splits
                bar.advance(len(done.rows))
    writer.facts |= {"texts": total, "at_full_length": truncated}
    if splits:
        writer.facts["batches_halved_for_memory"] = splits


def _windows(
    texts: Path, wanted: specs.EmbedSpec
) -> tuple[int, Iterator[tuple[list[str], list[str]]]]:
    """The number of texts in the shard, and a stream of (ids, texts) of at most WINDOW."""
    total = 0
    for batch in shards.batches(texts, ["side"], 65536):
        total += batch.column("side").to_pylist().count(wanted.encoding.side)
    first = total * wanted.shard // wanted.shards
    last = total * (wanted.shard + 1) // wanted.shards

    def stream() -> Iterator[tuple[list[str], list[str]]]:
        position = 0
        for batch in shards.batches(texts, ["text_id", "side", "text"], WINDOW):
            ids, window = [], []
            for text_id, side, text in zip(
                *(column.to_pylist() for column in batch.columns), strict=True
            ):
                if side == wanted.encoding.side:
                    if first <= position < last:
                        ids.append(text_id)
                        window.append(text)
                    position += 1
            if ids:
                yield ids, window

    return last - first, stream()

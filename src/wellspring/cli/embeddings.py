"""embed: one side of a dataset, one shard, all layers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from wellspring import shards, specs
from wellspring.cli.models import verify
from wellspring.cli.step import FILE, circumstances, options, step
from wellspring.errors import ModelError

WINDOW = 8192
"""Texts that are sorted by length together: bounds memory, whatever the dataset's size."""

TOKENS = {"cpu": 2048, "cuda": 65536}
"""Padded tokens in one forward pass: what stays in a processor's cache, what fills a GPU."""


@click.command()
@click.argument("texts", type=FILE)
@click.argument("description", type=FILE)
@click.argument("shard", type=FILE)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--tokens", type=click.IntRange(min=0), default=0, help="Tokens a batch; 0: by device."
)
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
    with step("embed", wanted.model.architecture, code, log) as messages:
        source = shards.check(texts, step="texts")
        place, digest = verify(description, wanted.model)

        import torch

        from wellspring import embeddings
        from wellspring.models.load import load

        torch.set_num_threads(threads)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        messages.device = torch.cuda.get_device_name() if device == "cuda" else "cpu"
        try:
            backbone = load(
                place, wanted.model.architecture, wanted.model.layers, wanted.dtype, device
            )
        except (OSError, ValueError) as error:
            raise ModelError(f"{place}: {str(error).splitlines()[0]}") from None
        except ModelError as error:
            raise ModelError(f"{description.parent.name}: {error}") from None
        budget = tokens or TOKENS[device]
        identity = {
            "step": "embeddings",
            "spec": wanted.model_dump(mode="json"),
            "weights": digest,
            "texts": source.identity["texts"][wanted.side],
        }
        made = circumstances(
            "embed",
            wanted.model.architecture,
            "torch",
            "transformers",
            "tokenizers",
            device=messages.device,
            threads=threads,
            tokens=budget,
        )
        total, windows = _windows(texts, wanted)
        truncated = splits = 0
        with (
            shards.vectors(
                shard, backbone.layers + 1, backbone.hidden, wanted.storage, identity, made
            ) as writer,
            messages.track(total, "texts") as bar,
        ):
            for ids, window in windows:
                rows = embeddings.tokenise(
                    backbone.tokenizer, window, wanted.template, wanted.length, wanted.pooling
                )
                truncated += sum(len(row) == wanted.length for row in rows)
                for done in embeddings.encode(
                    backbone, rows, wanted.pooling, wanted.normalise, budget
                ):
                    writer.write([ids[row] for row in done.rows], done.vectors)
                    splits += done.splits
                    bar.advance(len(done.rows))
            writer.facts |= {"texts": total, "at_full_length": truncated}
            if splits:
                writer.facts["batches_halved_for_memory"] = splits
        messages.counts(writer.facts)


def _windows(
    texts: Path, wanted: specs.EmbedSpec
) -> tuple[int, Iterator[tuple[list[str], list[str]]]]:
    """The number of texts in the shard, and a stream of (ids, texts) of at most WINDOW."""
    total = 0
    for batch in shards.batches(texts, ["side"], 65536):
        total += batch.column("side").to_pylist().count(wanted.side)
    first = total * wanted.shard // wanted.shards
    last = total * (wanted.shard + 1) // wanted.shards

    def stream() -> Iterator[tuple[list[str], list[str]]]:
        position = 0
        for batch in shards.batches(texts, ["text_id", "side", "text"], WINDOW):
            ids, window = [], []
            for text_id, side, text in zip(
                *(column.to_pylist() for column in batch.columns), strict=True
            ):
                if side == wanted.side:
                    if first <= position < last:
                        ids.append(text_id)
                        window.append(text)
                    position += 1
            if ids:
                yield ids, window

    return last - first, stream()

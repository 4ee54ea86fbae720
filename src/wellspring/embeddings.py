"""Texts to vectors at every layer, from one forward pass.

Texts are sorted by length and batched under a token budget, so that little is padding and a batch
stays in the processor's cache; equal texts are encoded once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from typing import TypeVar

import numpy as np
import torch

from wellspring.config.vocabulary import Pooling
from wellspring.errors import WellspringError
from wellspring.memory import fitting
from wellspring.models.load import Backbone
from wellspring.pooling import pool

Tokens = tuple[int, ...]
Work = TypeVar("Work")
Arrival = Callable[[], np.ndarray]
"""Waits for vectors that are on their way to the processor's memory, and gives them."""


@dataclass(frozen=True)
class Encoded:
    """The vectors of a batch of texts."""

    rows: list[int]
    """Positions of the texts in what `encode` was given."""
    vectors: np.ndarray
    """[layers + 1, len(rows), hidden], float32 unless `encode` was told another type."""
    splits: int
    """How often the batch was halved because memory ran out."""


def tokenise(
    tokenizer, texts: Sequence[str], template: str, length: int, pooling: Pooling
) -> list[Tokens]:
    """Token ids of each text, special tokens included, at most `length` of them.

    Where they are too many the text is cut, on the tokenizer's own side, and never the template: a
    cut text gives the tokens of the template with that much of the text in it. The template's end
    token, and under `eos` pooling an end token in any case, follows the cut text. Under
    `last-position` template and end token are cut with the text, as published.

    Raises WellspringError for a template that is longer than `length`, and for `eos` pooling
    without an end token.
    """
    before, _, after = template.partition("{text}")
    end, last = tokenizer.eos_token, tokenizer.eos_token_id
    own = _own_end(tokenizer)
    written_end = bool(end and after.rstrip().endswith(end))
    # A tokenizer that ends every text by itself, whatever it calls the token, cuts before it.
    appended = own is None and (pooling == "eos" or (pooling != "last-position" and written_end))
    if appended and last is None:
        raise WellspringError("eos pooling: the tokenizer has no end token")
    if written_end and (appended or own == last):
        after = after.rstrip().removesuffix(end)
    room = length - appended
    written = [before + text + after for text in texts]
    if pooling == "last-position":
        ids = tokenizer(written, truncation=True, max_length=room)["input_ids"]
        return [tuple(row) or (last or 0,) for row in ids]
    least = len(tokenizer(before + after)["input_ids"])
    if least > room:
        raise WellspringError(
            f"the template {template!r} alone has {least + appended} tokens, the length is "
            f"{length}: raise the encoder's query_length or passage_length, or shorten its "
            "query_template or passage_template"
        )
    # Truncation takes tokens from one end. The template must not be there.
    exposed = after if tokenizer.truncation_side == "right" else before
    encoded = tokenizer(written, truncation=True, max_length=room + bool(exposed))
    ids = encoded["input_ids"]
    cuts = {
        row: _cuts(tokenizer, encoded, row, texts[row], before)
        for row, tokens in enumerate(ids)
        if len(tokens) > room
    }
    for row, tokens in _cut(tokenizer, texts, cuts, before, after, room, least):
        ids[row] = tokens
    if appended:
        return [tuple(row) if row and row[-1] == last else (*row, last) for row in ids]
    # Without special tokens a text may have none at all, and a vector needs one.
    return [tuple(row) or (last or 0,) for row in ids]


def _cuts(tokenizer, encoded, row: int, text: str, before: str) -> Sequence[int]:
    """How many characters of a text its first tokens hold: none, one token, two, and so on."""
    if not tokenizer.is_fast:
        # It does not say. A character is about as good a step as a token.
        return range(len(text) + 1)
    start, spans = len(before), [span for span in encoded[row].offsets if span[0] < span[1]]
    if tokenizer.truncation_side == "right":
        edges = [last - start for _, last in spans]
    else:
        edges = [start + len(text) - first for first, _ in reversed(spans)]
    edges = [edge for edge in edges if 0 < edge <= len(text)]
    if edges[-1:] == [len(text)]:
        edges.append(len(text) + 1)
    cuts = [0]
    for edge, following in pairwise(edges):
        # Several tokens may make one character, which the last of them completes.
        cuts.append(edge if edge < following else cuts[-1])
    return cuts


def _cut(
    tokenizer,
    texts: Sequence[str],
    cuts: dict[int, Sequence[int]],
    before: str,
    after: str,
    room: int,
    least: int,
) -> Iterator[tuple[int, Sequence[int]]]:
    """Token ids of the texts, each cut to as much as fits.

    cuts: of each text, how many characters may stay, rising. least: tokens of the template alone.
    """
    pending = {row: len(count) - 1 for row, count in cuts.items()}
    while pending:
        written = []
        for row, index in pending.items():
            count, text = cuts[row][index], texts[row]
            text = (
                text[:count] if tokenizer.truncation_side == "right" else text[len(text) - count :]
            )
            written.append(before + text + after)
        # Written and split anew: at its end a cut text may meet the template in other tokens.
        tried, pending = pending, {}
        for (row, index), tokens in zip(
            tried.items(), tokenizer(written)["input_ids"], strict=True
        ):
            if (excess := len(tokens) - room) > 0:
                # The first cut may hold a character whose other tokens lie beyond it.
                nearest = max(index - excess, room - least)
                pending[row] = max(0, min(index - 1, nearest))
            else:
                yield row, tokens


def _own_end(tokenizer) -> int | None:
    """The special token that the tokenizer itself puts after every text, if it does."""
    around = tokenizer("")["input_ids"]
    full = tokenizer("a")["input_ids"]
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    for position in range(len(around)):
        if plain and around[:position] + plain + around[position:] == full:
            return around[-1]
    return None


def batches(lengths: Sequence[int], budget: int) -> Iterator[range]:
    """Cut texts that are sorted by falling length into runs of at most `budget` padded tokens."""
    start = 0
    while start < len(lengths):
        size = max(1, budget // max(1, lengths[start]))
        yield range(start, min(start + size, len(lengths)))
        start += size


def encode(
    backbone: Backbone,
    tokens: Sequence[Tokens],
    pooling: Pooling,
    normalise: bool = False,
    budget: int = 2048,
    length: int = 512,
    storage: str = "float32",
) -> Iterator[Encoded]:
    """Vectors of all layers, a batch at a time, longest texts first.

    tokens: as from `tokenise`. budget: padded tokens in one forward pass. length: the encoder's,
    to which `last-position` pads every text. storage: the float type of the vectors, to which they
    are rounded before they leave the device; one may then be too large for it. A batch that does
    not fit into memory is halved until it does. Raises WellspringError for a text longer than the
    model's positions and for a vector that is not finite.
    """
    longest = max(map(len, tokens), default=0)
    if backbone.positions is not None and longest > backbone.positions:
        raise WellspringError(
            f"a text has {longest} tokens, the model has {backbone.positions} positions: lower the "
            "encoder's query_length or passage_length"
        )
    padding = padding_of(backbone, pooling, length if pooling == "last-position" else 0)
    rows_of: dict[Tokens, list[int]] = {}
    for row, ids in enumerate(tokens):
        rows_of.setdefault(ids, []).append(row)
    distinct = sorted(rows_of, key=lambda ids: (-len(ids), ids))
    runs = batches([max(len(ids), padding.least) for ids in distinct], budget)
    works = (
        (batch, _begun(backbone, batch, padding, pooling, normalise, storage))
        for batch in (distinct[run.start : run.stop] for run in runs)
    )
    if backbone.device.type == "cuda":
        # The card computes the next batch while the caller stores this one.
        works = _one_ahead(works)
    for batch, parts in works:
        arrays = [arrival() for arrival in parts]
        vectors = arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=1)
        copies = [position for position, ids in enumerate(batch) for _ in rows_of[ids]]
        if len(copies) > len(batch):
            vectors = vectors[:, copies]
        yield Encoded([row for ids in batch for row in rows_of[ids]], vectors, len(parts) - 1)


def tokenised(
    windows: Iterable[tuple[list[str], list[str]]], tokenise: Callable[[list[str]], list[Tokens]]
) -> Iterator[tuple[list[str], list[Tokens]]]:
    """Ids and token ids of each window of (ids, texts); a thread prepares the next window."""
    with ThreadPoolExecutor(1) as thread:
        begun = ((ids, thread.submit(tokenise, texts)) for ids, texts in windows)
        for ids, rows in _one_ahead(begun):
            yield ids, rows.result()


def _one_ahead(works: Iterable[Work]) -> Iterator[Work]:
    """The same works in their order; each is handed on when the next one has begun."""
    remaining = iter(works)
    waiting = list(islice(remaining, 1))
    for work in remaining:
        yield waiting.pop()
        waiting.append(work)
    yield from waiting


@dataclass(frozen=True)
class Padding:
    """How the texts of a batch become equally long."""

    token: int
    left: bool = False
    least: int = 0
    """Positions a text gets at least."""


def padding_of(backbone: Backbone, pooling: Pooling, least: int = 0) -> Padding:
    """Padding to at least so many positions: under `last-position` the tokenizer's own side and
    token, which the vector depends on.

    Raises WellspringError where the tokenizer has no token for it.
    """
    if pooling != "last-position":
        return Padding(backbone.padding, least=least)
    tokenizer = backbone.tokenizer
    token = tokenizer.pad_token_id
    if token is None:
        token = tokenizer.eos_token_id
    if token is None:
        raise WellspringError("last-position pooling: the tokenizer has no padding or end token")
    return Padding(token, tokenizer.padding_side == "left", least)


def padded(
    backbone: Backbone, batch: Sequence[Tokens], padding: Padding
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask (1 = token, 0 = padding) [texts, positions], on the backbone's device.

    Raises WellspringError for an id that the model does not embed.
    """
    lengths = torch.tensor([len(sequence) for sequence in batch]).unsqueeze(1)
    width = max(padding.least, int(lengths.max()))
    positions = torch.arange(width)
    real = positions >= width - lengths if padding.left else positions < lengths
    ids = torch.full((len(batch), width), padding.token, dtype=torch.long)
    ids[real] = torch.from_numpy(np.fromiter(chain.from_iterable(batch), np.int64))
    mask = real.long()
    highest, embedded = int(ids.max()), backbone.embedded
    if embedded is not None and highest >= embedded:
        token = backbone.tokenizer.convert_ids_to_tokens(highest)
        if highest == padding.token and not any(highest in sequence for sequence in batch):
            raise WellspringError(
                f"the padding token {token!r}, id {highest}, lies beyond the {embedded} ids that "
                "the model embeds: name another pad_token in the checkpoint's tokenizer_config.json"
            )
        raise WellspringError(
            f"a text holds the token {token!r}, id {highest}, and the model embeds {embedded} ids: "
            "take the token out of the text"
        )
    return ids.to(backbone.device), mask.to(backbone.device)


def _begun(
    backbone: Backbone,
    batch: list[Tokens],
    padding: Padding,
    pooling: Pooling,
    normalise: bool,
    storage: str,
) -> list[Arrival]:
    """The vectors of a batch: one part, or several where it does not fit into memory at once."""

    def run(part: list[Tokens]) -> Arrival:
        vectors = _vectors(backbone, part, padding, pooling, normalise)
        # Before they are rounded, which may overflow.
        finite = _arriving(torch.isfinite(vectors).all())
        rounded = _arriving(vectors.to(getattr(torch, storage)))

        def arrival() -> np.ndarray:
            if not finite():
                raise WellspringError("a vector is not finite: set the encoder's dtype: float32")
            return rounded().numpy()

        return arrival

    return [arrival for _, arrival in fitting(batch, run, len)]


@torch.inference_mode()
def _vectors(
    backbone: Backbone, batch: list[Tokens], padding: Padding, pooling: Pooling, normalise: bool
) -> torch.Tensor:
    """float32 [layers + 1, texts, hidden], on the backbone's device."""
    ids, mask = padded(backbone, batch, padding)
    states = backbone.states(ids, mask)
    # A large model's layers may be on several devices.
    pooled = [pool(state, mask.to(state.device), pooling).to(backbone.device) for state in states]
    vectors = torch.stack(pooled)
    return torch.nn.functional.normalize(vectors, dim=-1) if normalise else vectors


def _arriving(tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
    """A call that gives the same in the processor's memory, and waits for a card until then."""
    if tensor.device.type != "cuda":
        return lambda: tensor
    # Into pageable memory the copy itself would wait.
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    host.copy_(tensor, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()

    def arrival() -> torch.Tensor:
        copied.synchronize()
        return host

    return arrival

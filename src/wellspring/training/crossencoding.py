"""What a cross-encoder says of pairs: it reads query and passage as one text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from wellspring.budgets import WINDOW
from wellspring.embeddings import batches
from wellspring.errors import ModelError, WellspringError
from wellspring.memory import fitting
from wellspring.models import conventions
from wellspring.models.load import positions, read_config, read_model
from wellspring.models.tokenizer import read as read_tokenizer
from wellspring.training.ledger import Network, count
from wellspring.training.shapes import shapes

CLASS = "ForSequenceClassification"
"""What the names of transformers' classes with such a head end with."""


@dataclass(frozen=True)
class CrossEncoder:
    """A loaded network in inference mode, and its tokenizer."""

    model: Any
    tokenizer: Any
    network: Network | None
    """Its matrix products, the head aside; None where they cannot be counted."""
    notes: tuple[str, ...]
    """What was decided about the tokenizer, in lines for the log."""


@dataclass(frozen=True)
class Judged:
    """The scores of a batch of pairs."""

    rows: list[int]
    """Positions of the pairs in what `judge` was given."""
    scores: np.ndarray
    """[len(rows)], float32."""
    tokens: int
    padded_tokens: int
    """Positions that were computed: tokens and padding."""
    flops: int
    """Operations of the forward pass; 0 where they cannot be counted."""


def load(folder: Path, length: int, dtype: str = "float32", device: str = "cpu") -> CrossEncoder:
    """Load a checkpoint folder by the class that its config.json names.

    length: of the longest pair in tokens. Raises ModelError for another class than transformers'
    `…ForSequenceClassification`, for a head with several outputs, for code of the checkpoint's own,
    for weights that are missing, left over or of another shape, those of the head among them, and
    for more tokens than the model has positions.
    """
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    said = conventions.read(folder)
    if beyond := (*said.own_code, *said.dense, *said.modules):
        raise ModelError(
            f"the checkpoint has code or modules of its own ({', '.join(beyond)}), which are not "
            "run: name one that transformers reads by itself"
        )
    config = read_config(folder)
    model, _ = read_model(folder, _class(config), dtype, unused=(r"position_ids$",))
    longest = positions(model)
    if longest is not None and length > longest:
        raise ModelError(f"length: {length}, the model has {longest} positions: lower it")
    tokenizer, notes = read_tokenizer(folder, model.get_input_embeddings().num_embeddings)
    if tokenizer.pad_token_id is None:
        raise ModelError("the tokenizer has no padding token: name one in tokenizer_config.json")
    if model.config.pad_token_id is None:
        # Decoders take the last position that does not hold it.
        model.config.pad_token_id = tokenizer.pad_token_id
    # On the left, padding would move a pair's absolute positions, and its first token.
    tokenizer.padding_side = "right"
    try:
        network = shapes(model.base_model)
    except ModelError as error:
        network, notes = None, (*notes, str(error))
    return CrossEncoder(model.requires_grad_(False).to(device), tokenizer, network, notes)


def judge(
    encoder: CrossEncoder, pairs: Sequence[tuple[str, str]], length: int, budget: int
) -> Iterator[Judged]:
    """The scores of pairs of query and passage, a batch at a time.

    They are the outputs of the head as they are, without a sigmoid. length: of a pair in tokens; of
    a longer one the longer text is cut. budget: padded tokens in one forward pass. Raises
    WellspringError for a score that is not finite.
    """
    for start in range(0, len(pairs), WINDOW):
        queries, passages = zip(*pairs[start : start + WINDOW], strict=True)
        written = encoder.tokenizer(
            list(queries), list(passages), truncation=True, max_length=length
        )
        sizes = [len(tokens) for tokens in written["input_ids"]]
        order = sorted(range(len(sizes)), key=sizes.__getitem__, reverse=True)

        def forward(rows: list[int], written=written) -> np.ndarray:
            return _scores(
                encoder, {name: [written[name][row] for row in rows] for name in written}
            )

        for run in batches([sizes[row] for row in order], budget):
            whole = order[run.start : run.stop]
            for rows, scores in fitting(whole, forward, sizes.__getitem__):
                if not np.isfinite(scores).all():
                    raise WellspringError("a score is not finite: set the teacher's dtype: float32")
                longest = max(sizes[row] for row in rows)
                yield Judged(
                    rows=[start + row for row in rows],
                    scores=scores,
                    tokens=sum(sizes[row] for row in rows),
                    padded_tokens=len(rows) * longest,
                    flops=count(encoder.network, len(rows), longest).forward
                    if encoder.network
                    else 0,
                )


def _class(config: Any) -> type:
    """The class that config.json names; ModelError where it is no scorer of pairs."""
    named = next(iter(config.architectures or ()), "")
    kind = getattr(transformers, named, None) if named.endswith(CLASS) else None
    if not (isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel)):
        raise ModelError(
            f"config.json names the class {named or 'none'}: a cross-encoder is one of "
            f"transformers' …{CLASS}"
        )
    if config.num_labels != 1:
        raise ModelError(
            f"the head has {config.num_labels} outputs: a teacher needs one, the score of a pair"
        )
    return kind


@torch.inference_mode()
def _scores(encoder: CrossEncoder, tokens: dict[str, list[list[int]]]) -> np.ndarray:
    """[pairs], float32."""
    batch = encoder.tokenizer.pad(tokens, return_tensors="pt").to(encoder.model.device)
    return encoder.model(**batch).logits[:, 0].float().cpu().numpy()

"""Sparse vectors: a text as weights of the words of a vocabulary (SPLADE, Formal et al. 2021).

A word's weight is log(1 + relu(s · max over the text's tokens of its logit)). Of a head for masked
words s is 1, as published; of a decoder's it is d^(−1/4), d the hidden size (arXiv 2502.15526), and
its begin token, which would light up most of the vocabulary, is left out.

No probability changes where all logits of a token rise alike. So a decoder's may lie far above 0.
In their place weights may be made of log(V · p), p the word's probability and V the number of
words: a word has a weight where a token makes it more probable than it would be among equals.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array, vstack

from wellspring import embeddings
from wellspring.budgets import logit_tokens
from wellspring.config.vocabulary import HeadName, TermWeights
from wellspring.embeddings import Padding, Tokens
from wellspring.errors import WellspringError
from wellspring.models.heads import headed, usual
from wellspring.models.load import Backbone
from wellspring.models.tokenizer import around

NEARLY_LINEAR = 0.1
"""Of inputs that are scaled so, an activation such as GELU gives nearly a multiple."""
BY_LUCK = 2.5
"""What the largest of 80 standard normal numbers is on average. A single one is larger in .6 % of
cases, so a text of 24 tokens still has some weight for about one word in seven by luck."""


@dataclass(frozen=True)
class SparseModel:
    """A backbone with its vocabulary head, and how its logits become weights."""

    backbone: Backbone
    model: Any
    """Gives `logits` [texts, tokens, vocabulary]; the backbone's modules are below its head."""
    head: HeadName
    fresh: tuple[str, ...]
    """Names of the head's weights that are not the checkpoint's."""
    made_of: TermWeights = "logits"
    """What weights are made of."""

    @property
    def vocabulary(self) -> int:
        """Numbers of a vector."""
        return int(self.model.get_output_embeddings().out_features)

    @property
    def numbers(self) -> int:
        """How many numbers a pass holds for a token: its logits, and copies of them where weights
        are made of probabilities."""
        return self.vocabulary * (2 if self.made_of == "probabilities" else 1)

    @property
    def scale(self) -> float:
        """What logits are multiplied by."""
        return 1.0 if self.head == "masked" else self.backbone.hidden**-0.25

    @property
    def begins(self) -> bool:
        """Whether the tokenizer puts a begin token before a text that is left out."""
        return self.head == "causal" and around(self.backbone.tokenizer)[0]

    def tokenise(self, texts: Sequence[str], template: str, length: int) -> list[Tokens]:
        """As `wellspring.embeddings.tokenise`, without a decoder's begin token."""
        tokenizer, begins = self.backbone.tokenizer, self.begins
        rows = embeddings.tokenise(tokenizer, texts, template, length + begins, "mean")
        # Of an empty text nothing else is there.
        return [row[begins:] or row for row in rows]

    @torch.inference_mode()
    def encode(
        self, tokens: Sequence[Tokens], top_terms: int | None = None, budget: int = 0
    ) -> csr_array:
        """The vectors of texts, float32 [texts, vocabulary].

        top_terms: as `rows` takes it. budget: tokens of a forward pass, padding included; 0: what
        the device is given by default. Raises WellspringError for vectors that are no numbers.
        """
        backbone, parts = self.backbone, []
        most = logit_tokens(backbone.device.type, self.numbers, budget)
        order = sorted(range(len(tokens)), key=lambda row: -len(tokens[row]))
        for run in embeddings.batches([len(tokens[row]) for row in order], most):
            batch = [tokens[order[place]] for place in run]
            ids, mask = embeddings.padded(backbone, batch, Padding(backbone.padding))
            logits = self.model(input_ids=ids, attention_mask=mask).logits
            parts.append(rows(weights(logits, mask, self.scale, self.made_of), top_terms))
        return csr_array(vstack(parts, format="csr")[np.argsort(order)])


def on(backbone: Backbone, folder: Path, seed: int, made_of: TermWeights = "logits") -> SparseModel:
    """A backbone with the head of its checkpoint: that for masked words where there is one.

    folder: the checkpoint. What it lacks of a head is drawn from (seed), and then begins as
    `_match_words` has it. made_of: what weights are made of. Raises ModelError as
    `wellspring.models.heads.headed` does.
    """
    head = usual(backbone.model.config)
    whole = headed(backbone, folder, head, seed)
    _match_words(whole.model, whole.fresh)
    return SparseModel(backbone, whole.model, head, whole.fresh, made_of)


@torch.no_grad()
def _match_words(model: Any, fresh: Collection[str]) -> None:
    """Let a fresh head for masked words begin as one that finds the words that stand in a text.

    Such a head compares a token's state with the embedding of every word. Random weights on the
    way there hide that the state still holds the token's own embedding. Nearly all words then have
    a weight, and training tends to make all vectors alike before it learns. Here the way is the
    identity, up to a factor that the norm behind it takes back, and the bias of a word is below 0
    by as much as its logit gets by luck. A head is left as it is where a part of it is the
    checkpoint's, where it does not share the embeddings, and where these have another width.
    """
    words, shared = model.get_output_embeddings(), model.get_input_embeddings()
    trunk = f"{model.base_model_prefix}."
    head = {
        name: weight
        for name, weight in model.named_parameters(remove_duplicate=False)
        if not name.startswith(trunk) and weight is not words.weight
    }
    matrices = [weight for weight in head.values() if weight.ndim == 2]
    square = all(len(weight) == weight.shape[1] == words.in_features for weight in matrices)
    if words.weight is not shared.weight or not fresh or not square or {*head} - {*fresh}:
        return
    for weight in matrices:
        weight.copy_(NEARLY_LINEAR * torch.eye(len(weight)))
    if words.bias is not None:
        words.bias.copy_(-BY_LUCK * words.weight.norm(dim=1))


def weights(
    logits: torch.Tensor, mask: torch.Tensor, scale: float, made_of: TermWeights = "logits"
) -> torch.Tensor:
    """float32 [texts, vocabulary].

    logits: [texts, tokens, vocabulary], any float type. mask: [texts, tokens], 1 = token, 0 =
    padding. scale: above 0. The maximum is taken first: scale, relu and logarithm keep the order.
    So nothing of the size of the logits is kept for the gradient, but for which token it was; and
    a float32 copy of them where weights are made of probabilities.
    """
    padding = mask.unsqueeze(-1) == 0
    if made_of == "probabilities":
        # Whatever a model gives for padding reaches no gradient.
        shown = logits.float().masked_fill(padding, 0)
        shift = shown.logsumexp(dim=-1, keepdim=True) - math.log(shown.shape[-1])
        hidden = shown - shift.masked_fill(padding, torch.inf)
    else:
        hidden = logits.masked_fill(padding, -torch.inf)
    return torch.log1p(torch.relu(hidden.max(dim=1).values.float() * scale))


def rows(vectors: torch.Tensor, top_terms: int | None = None) -> csr_array:
    """Sparse rows of vectors [texts, vocabulary]; ids rise.

    top_terms: so many terms of a text are kept, the heaviest; of equal ones those with the lowest
    ids. None: all. Raises WellspringError for vectors that are no numbers.
    """
    if not bool(vectors.isfinite().all()):
        raise WellspringError("the model gives vectors that are no numbers")
    dense = vectors.detach().float().cpu().numpy()
    kept = []
    for row in dense:
        ids = np.flatnonzero(row)
        if top_terms is not None and len(ids) > top_terms:
            ids = np.sort(ids[np.argsort(-row[ids], kind="stable")[:top_terms]])
        kept.append(ids)
    ends = np.cumsum([0, *map(len, kept)])
    values = [row[ids] for row, ids in zip(dense, kept, strict=True)]
    return csr_array((np.concatenate(values), np.concatenate(kept), ends), shape=dense.shape)

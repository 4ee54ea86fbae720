"""Stages that learn words of texts: what is told, by which model, and what that costs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import nn

from wellspring.config import Recipe
from wellspring.config.vocabulary import LANGUAGE, Stage
from wellspring.errors import WellspringError
from wellspring.models import directions
from wellspring.models.heads import headed
from wellspring.models.load import Backbone
from wellspring.randomness import generator, shuffled
from wellspring.specs import TrainSpec
from wellspring.training import adaptation
from wellspring.training.batches import padded, steps_of
from wellspring.training.encoding import parts
from wellspring.training.examples import part, passages
from wellspring.training.learner import Learner, Watched
from wellspring.training.ledger import Ledger
from wellspring.training.material import Material
from wellspring.training.order import Order, weights
from wellspring.training.prices import Prices
from wellspring.training.shapes import shapes

UNTOLD = -100
"""The target of a position that is not asked."""
MASKED, REDRAWN = 0.8, 0.9
"""Of what is hidden, 80 % becomes the mask token and 10 % a random one (Devlin et al. 2019)."""
HELD = 1000
"""Validation texts that are looked at, at most."""
TEXTS = 64
"""At once."""


@dataclass(frozen=True)
class Question:
    """What a text is asked: which positions are to tell which tokens."""

    stage: Stage
    seed: int
    share: float = 0.0
    """Of the tokens that are hidden."""
    mask: int = 0
    """The id that hidden tokens become."""
    special: frozenset[int] = frozenset()
    """Ids that are never hidden, nor drawn."""
    vocabulary: int = 0
    """Ids that may be drawn in place of hidden ones are below."""

    def told(self, tokens: np.ndarray) -> int:
        """How many tokens of a text are told."""
        if self.stage == "clm":
            return len(tokens) - 1
        if not len(able := self._able(tokens)):
            return 0
        return max(1, int(self.share * len(able) + 0.5))

    def ask(self, tokens: np.ndarray, *draw: str | int) -> tuple[np.ndarray, np.ndarray]:
        """The text as the model reads it, and what each position is to tell, or UNTOLD; both
        [tokens].

        What is hidden is drawn from (seed, draw). Decoders tell a token from the position before.
        """
        read, targets = tokens.copy(), np.full(len(tokens), UNTOLD)
        if self.stage == "clm":
            targets[:-1] = tokens[1:]
            return read, targets
        rng = generator(self.seed, "masks", *draw)
        hidden = np.sort(rng.permutation(self._able(tokens))[: self.told(tokens)])
        chance, drawn = rng.random(len(hidden)), rng.choice(self._drawable, len(hidden))
        read[hidden] = np.where(
            chance < MASKED, self.mask, np.where(chance < REDRAWN, drawn, tokens[hidden])
        )
        targets[hidden - (self.stage == "mntp")] = tokens[hidden]
        return read, targets

    def _able(self, tokens: np.ndarray) -> np.ndarray:
        """The positions that may be hidden."""
        able = ~np.isin(tokens, list(self.special))
        if self.stage == "mntp":
            # Nothing stands before the first token to tell it.
            able[:1] = False
        return np.flatnonzero(able)

    @cached_property
    def _drawable(self) -> np.ndarray:
        return np.setdiff1d(np.arange(self.vocabulary), list(self.special))


@dataclass(frozen=True)
class Batches(Sequence):
    """The batches of a run, made when they are asked for: see `wellspring.training.batches`.

    What is hidden of a text is drawn anew in every epoch, whatever stands beside it.
    """

    ids: Sequence[str]
    """Of the texts."""
    tokens: Sequence[np.ndarray]
    question: Question
    size: int
    """Texts of a batch."""
    steps: int
    seed: int
    padding: int
    """The id to pad with."""
    weights: Sequence[float] | None = None
    """Of each dataset in a mixture: see `wellspring.training.order`."""

    def __post_init__(self) -> None:
        if self.size > (available := len(self.ids)):
            raise WellspringError(
                f"batch: {self.size:,} texts a batch, but there are {available:,}: lower batch"
            )

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        """`text_input_ids`, `text_attention_mask`, `text_targets` [size, tokens]."""
        if not 0 <= step < self.steps:
            raise IndexError(step)
        asked = [
            self.question.ask(self.tokens[row], epoch, self.ids[row])
            for epoch, row in self._rows(step)
        ]
        return {f"text_{name}": each for name, each in _batch(asked, self.padding).items()}

    def lengths(self, step: int) -> tuple[np.ndarray]:
        """The tokens of a step's texts."""
        return (np.array([len(self.tokens[row]) for _, row in self._rows(step)]),)

    def told(self, step: int) -> int:
        """How many tokens are told in a step."""
        return sum(self.question.told(self.tokens[row]) for _, row in self._rows(step))

    def _rows(self, step: int) -> list[tuple[int, int]]:
        return [self._order.at(step * self.size + place) for place in range(self.size)]

    @cached_property
    def _order(self) -> Order:
        return Order(self.ids, self.seed, self.weights)


def _batch(asked: Iterable[tuple[np.ndarray, np.ndarray]], padding: int) -> dict[str, torch.Tensor]:
    """`input_ids`, `attention_mask` and `targets` [texts, tokens] of what `Question.ask` gives."""
    read, targets = zip(*asked, strict=True)
    return {**padded(read, padding), "targets": padded(targets, UNTOLD)["input_ids"]}


class Language(nn.Module):
    """A module of sentence-transformers around a model with a vocabulary head."""

    def __init__(self, model: Any, tokens: int = 0) -> None:
        """tokens: of a forward pass, padding included; 0: all texts in one."""
        super().__init__()
        self.model, self.tokens = model, tokens

    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Adds `losses` [tokens that are told], in nats and in no certain order, to `input_ids`,
        `attention_mask` and `targets` [texts, tokens]."""
        texts = [features[name] for name in ("input_ids", "attention_mask", "targets")]
        lengths = features["attention_mask"].sum(dim=1).cpu().numpy()
        losses = [
            self._losses(*(each[rows][:, : int(lengths[rows[0]])] for each in texts))
            for rows in parts(lengths, self.tokens)
        ]
        return {**features, "losses": torch.cat(losses)}

    def _losses(self, ids: torch.Tensor, mask: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        asked = targets != UNTOLD
        with self._head_of(asked):
            logits = self.model(input_ids=ids, attention_mask=mask).logits[0]
        return nn.functional.cross_entropy(logits.float(), targets[asked], reduction="none")

    @contextmanager
    def _head_of(self, asked: torch.Tensor) -> Iterator[None]:
        """The head gets the states of these positions [texts, tokens] alone: logits of all others
        would be the larger part of memory and work."""

        def select(trunk: nn.Module, arguments: Any, output: Any) -> Any:
            output["last_hidden_state"] = output["last_hidden_state"][asked][None]
            return output

        trunk = adaptation.unwrapped(self.model).base_model
        handle = trunk.register_forward_hook(select)
        try:
            yield
        finally:
            handle.remove()


class Telling(Watched):
    """The mean cross-entropy, in nats, of the tokens that a batch is to tell."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, sentence_features: Iterable[dict[str, torch.Tensor]], labels: None = None
    ) -> torch.Tensor:
        """The loss of a batch of texts."""
        (features,) = sentence_features
        loss = self.model(features)["losses"].mean()
        self.loss = float(loss.detach())
        return loss


@dataclass(frozen=True)
class WordPrices(Prices):
    """Prices of texts whose words are told: the head runs where one is asked, and nowhere else."""

    def step(self, batches: Any, step: int, ledger: Ledger) -> Ledger:
        """The account after a step."""
        (lengths,) = batches.lengths(step)
        encoded = self._encoded(lengths)
        return ledger.after(
            {"encoder": encoded.flops, **self._headed(batches.told(step))},
            pairs=len(lengths),
            tokens=int(lengths.sum()),
            padded_tokens=encoded.positions,
        )


def learner(
    backbone: Backbone, folder: Path, spec: TrainSpec, material: Material, tokens: int
) -> Learner:
    """A model that learns words; see `wellspring.training.run.prepare`."""
    recipe = spec.recipe
    question = _question(backbone, recipe)
    if recipe.stage == "mntp":
        directions.open_both(backbone.model, backbone.device)
    elif recipe.stage == "clm" and directions.is_bidirectional(backbone.model.config):
        raise WellspringError(
            "stage: clm: the model reads in both directions, so it sees the next word"
        )
    whole = headed(backbone, folder, LANGUAGE[recipe.stage], recipe.seed)
    parameters = sum(each.numel() for each in whole.model.parameters())
    model = adaptation.prepare(
        whole.model, recipe.lora, backbone.architecture.unused, recipe.seed, fresh=whole.fresh
    ).to(backbone.device)
    ids = passages(part(material.samples, recipe.fraction, recipe.seed))
    held = looked_at(material.samples, recipe.seed)
    rows = material.tokens(backbone, spec.passage, ids)
    # A text without a word of its own has nothing to tell.
    asked = [row for row, own in enumerate(rows) if question.told(own)]
    if not asked:
        raise WellspringError("datasets: there are no passages of training samples to learn from")
    named = [ids[row] for row in asked]
    batches = Batches(
        ids=named,
        tokens=[rows[row] for row in asked],
        question=question,
        size=recipe.batch,
        steps=recipe.steps or steps_of(len(asked), recipe.batch, recipe.epochs or 1),
        seed=recipe.seed,
        padding=backbone.padding,
        weights=weights(recipe, named),
    )
    module = Language(model, tokens)
    unseen = [
        question.ask(own, "validation", each)
        for each, own in zip(held, material.tokens(backbone, spec.passage, held), strict=True)
        if question.told(own)
    ]

    def measure() -> dict[str, float | None]:
        return {"quality": mean_loss(module, unseen, backbone.padding)}

    return Learner(
        module=module,
        objective=Telling,
        batches=batches,
        price=WordPrices(shapes(model), backbone.hidden, tokens, None),
        examples=len(asked),
        parameters=parameters,
        unit="texts",
        measure=measure,
        measured={"quality": "loss"},
        merged=partial(adaptation.merged, model, recipe.lora),
    )


def looked_at(samples: pl.DataFrame, seed: int) -> list[str]:
    """The ids of at most HELD passages that answer a query of the validation split, drawn from
    (seed, id). None of them is learned from: see `wellspring.training.examples.passages`."""
    held = samples.filter(pl.col("split") == "validation")["positive_id"].unique().to_list()
    return shuffled(seed, held, "validation texts")[:HELD]


def mean_loss(
    module: Language, asked: Sequence[tuple[np.ndarray, np.ndarray]], padding: int
) -> float | None:
    """The mean over all tokens that these texts are to tell; None without texts.

    asked: as from `Question.ask`. The module's mode is left as it was.
    """
    if not asked:
        return None
    training, device = module.training, next(module.parameters()).device
    order = sorted(range(len(asked)), key=lambda row: len(asked[row][0]))
    losses = []
    module.eval()
    with torch.no_grad():
        for start in range(0, len(order), TEXTS):
            batch = _batch([asked[row] for row in order[start : start + TEXTS]], padding)
            on_device = {name: each.to(device) for name, each in batch.items()}
            losses.append(module(on_device)["losses"].double().cpu())
    module.train(training)
    return round(float(torch.cat(losses).mean()), 4)


def _question(backbone: Backbone, recipe: Recipe) -> Question:
    """What texts are asked in a stage; WellspringError where there is no token to hide with."""
    if recipe.stage == "clm":
        return Question(recipe.stage, recipe.seed)
    tokenizer = backbone.tokenizer
    token = recipe.mask_token or tokenizer.mask_token or "_"
    known, embedded = tokenizer.get_vocab(), backbone.embedded or len(tokenizer)
    if known.get(token, embedded) >= embedded:
        raise WellspringError(
            f"mask_token: {token!r} is no token of the model: name one of its vocabulary that few "
            "texts have"
        )
    return Question(
        stage=recipe.stage,
        seed=recipe.seed,
        share=recipe.mask,
        mask=known[token],
        special=frozenset(tokenizer.all_special_ids),
        vocabulary=min(len(tokenizer), embedded),
    )

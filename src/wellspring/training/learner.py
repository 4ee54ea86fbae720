"""What a stage of training gives to a run: all that one stage has and another has not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from wellspring.training.prices import Prices


class Watched(nn.Module):
    """A loss that tells what it found in the last batch."""

    loss: float = math.nan
    spread: float = math.inf
    """How far the cosines of the batch are apart; infinite where nothing is compared."""

    def begin(self, step: int, steps: int) -> None:
        """Called before a step, counted from 0, of so many."""

    def check(self, step: int, steps: int) -> None:
        """Called behind a step, counted from 1. Raises WellspringError where the run can learn
        nothing more."""


@dataclass(frozen=True)
class Learner:
    """A model that is ready to be trained by a stage."""

    module: nn.Module
    """A module of sentence-transformers: what the loss is made of."""
    objective: Callable[[Any], Any]
    """From the module, as sentence-transformers wraps it, to its loss, which is `Watched`."""
    batches: Any
    """`wellspring.training.batches.Batches`, or what gives as much."""
    price: Prices
    examples: int
    """How many there are to learn from."""
    parameters: int
    """Of the model that it begins with."""
    unit: str
    """What an example is called, in the plural."""
    measure: Callable[[], Mapping[str, float | None]]
    """How good the model is now, on what it does not learn from, by the name of the fact that says
    so (`quality`, and others where more is asked); None where there is no such."""
    measured: Mapping[str, str]
    """What each of these facts is a number of."""
    merged: Callable[..., Any]
    """The model as it was built, with what was learned in its weights. `copy=True`: of a copy, so
    that training goes on as if nobody had asked."""

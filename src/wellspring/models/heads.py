"""A model with its vocabulary head: for stages and vectors that are made of words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from wellspring.config.vocabulary import HeadName
from wellspring.errors import ModelError
from wellspring.models.load import Backbone, read_model
from wellspring.randomness import key

_KNOWN = {
    "masked": transformers.MODEL_FOR_MASKED_LM_MAPPING,
    "causal": transformers.MODEL_FOR_CAUSAL_LM_MAPPING,
}


def usual(config: Any) -> HeadName:
    """The head that a model of this configuration is read by: for masked words where transformers
    has one, else for the next word."""
    return "masked" if type(config) in _KNOWN["masked"] else "causal"


@dataclass(frozen=True)
class Headed:
    """A backbone, and the same modules below a head that gives a logit for every word."""

    model: Any
    """Called as a model of transformers; gives `logits` [texts, tokens, vocabulary]."""
    fresh: tuple[str, ...]
    """Names of the head's weights that are not the checkpoint's."""


def headed(backbone: Backbone, folder: Path, head: HeadName, seed: int) -> Headed:
    """Put the head of a checkpoint onto its backbone, which is not copied.

    folder: the checkpoint. What it lacks of a head is drawn from (seed), but for what the head
    shares with the embeddings. Raises ModelError where transformers has no such head for it, and
    where a model that is stored with it could not be loaded as this architecture again.
    """
    config = backbone.model.config
    kind: Any = _KNOWN[head].get(type(config), None)
    if kind is None:
        raise ModelError(f"transformers knows no {head} head for {type(backbone.model).__name__}")
    if kind.__name__ not in backbone.architecture.classes:
        raise ModelError(
            f"a vocabulary head needs the class {kind.__name__}, which the model's architecture "
            f"does not know (it knows {', '.join(backbone.architecture.classes)})"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(seed, "fresh head") % 2**63)
        dtype = str(backbone.model.dtype).removeprefix("torch.")
        model, fresh = read_model(folder, kind, dtype, backbone.architecture.unused)
    trunk: Any = getattr(model, model.base_model_prefix, None)
    if not isinstance(trunk, type(backbone.model)):
        raise ModelError(f"{kind.__name__} is no head of {type(backbone.model).__name__}")
    of_trunk = {f"{model.base_model_prefix}.{name}" for name, _ in trunk.named_parameters()}
    setattr(model, model.base_model_prefix, backbone.model)
    # What was decided about the backbone since it was read holds for the whole, too.
    model.config = config
    model.tie_weights()
    model.requires_grad_(False).to(backbone.device)
    return Headed(
        model.eval(),
        tuple(
            # Of one that has another shape there, the shapes stand behind the name.
            name
            for name in (each.partition(" ")[0] for each in fresh)
            if name not in of_trunk
        ),
    )

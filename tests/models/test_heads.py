"""Heads: what they say, what is fresh of them, and that the backbone is not copied."""

from __future__ import annotations

import pytest
import torch
import transformers

from tests.support import checkpoints, training
from wellspring.config import ARCHITECTURES
from wellspring.errors import ModelError
from wellspring.models import sources
from wellspring.models.architecture import builtin
from wellspring.models.heads import headed
from wellspring.models.load import load

CLASSES = [
    (name, named, "masked" if named.endswith("MaskedLM") else "causal")
    for name in ARCHITECTURES
    for named in builtin(name).classes
    if named.endswith(("ForMaskedLM", "ForCausalLM"))
]
TOKENS = torch.tensor([[2, 5, 6, 7, 3]])


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=TOKENS, attention_mask=torch.ones_like(TOKENS)).logits


@pytest.mark.parametrize(("name", "named", "head"), CLASSES)
def test_a_checkpoint_with_a_head_says_what_transformers_says(name, named, head, tmp_path):
    folder = checkpoints.make(tmp_path / "whole", named)
    kind = getattr(transformers, named)
    whole = kind.from_pretrained(folder, dtype=torch.float32).eval()
    backbone = load(folder, name, whole.config.num_hidden_layers)
    found = headed(backbone, folder, head, seed=0)
    assert not found.fresh
    assert getattr(found.model, found.model.base_model_prefix) is backbone.model
    torch.testing.assert_close(logits(found.model), logits(whole))
    assert training.is_tied(found.model) == training.is_tied(whole)


@pytest.mark.parametrize(("name", "head"), [("bert", "masked"), ("llama", "causal")])
def test_what_a_checkpoint_lacks_is_drawn_from_the_seed(name, head, tmp_path):
    named = next(iter(builtin(name).classes))
    folder = checkpoints.make(tmp_path / "trunk", named)
    backbone = load(folder, name, 2)
    state = torch.get_rng_state()
    first, again, other = (headed(backbone, folder, head, seed) for seed in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    assert first.fresh
    assert torch.equal(logits(first.model), logits(again.model))
    assert not torch.equal(logits(first.model), logits(other.model))


def test_what_is_stored_with_its_head_is_a_backbone_again(tmp_path):
    folder = checkpoints.make(tmp_path / "trunk", "BertModel")
    backbone = load(folder, "bert", 2)
    whole = headed(backbone, folder, "masked", seed=0)
    sources.store(whole.model, folder, tmp_path / "stored")
    again = load(tmp_path / "stored", "bert", 2)
    there = headed(again, tmp_path / "stored", "masked", seed=5)
    assert not there.fresh and training.is_tied(there.model)
    assert torch.equal(logits(whole.model), logits(there.model))


def test_a_model_without_such_a_head_is_refused(tmp_path):
    folder = checkpoints.make(tmp_path / "llama", "LlamaModel")
    with pytest.raises(ModelError, match="transformers knows no masked head for LlamaModel"):
        headed(load(folder, "llama", 2), folder, "masked", seed=0)

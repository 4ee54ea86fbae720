"""Decoders that read in both directions: every class obeys, and stays so when it is stored."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers

from tests.support import checkpoints
from tests.support.attributing import gathered, texts_of
from tests.support.attributing import loop as by_hand
from wellspring.attributions import targets
from wellspring.attributions.fused import Method
from wellspring.attributions.quadrature import gauss_legendre
from wellspring.config import ARCHITECTURES
from wellspring.errors import ModelError
from wellspring.models import directions, sources
from wellspring.models.architecture import builtin
from wellspring.models.load import load

DECODERS = [
    (name, named)
    for name in ARCHITECTURES
    for named in builtin(name).classes
    if named.endswith("ForCausalLM")
]
FIRST, OTHER = [1, 5, 6, 7, 8], [1, 5, 6, 7, 9]


def states(backbone, *texts, padding: int = 0) -> torch.Tensor:
    """The last states of texts that are padded with so many positions."""
    ids = torch.tensor([[*text, *[0] * padding] for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * padding for text in texts])
    with torch.no_grad():
        return backbone.states(ids, mask)[-1]


def opened(folder, name, named):
    """A decoder as it is, and the same in both directions, stored and loaded again."""
    backbone = load(checkpoints.make(folder / "causal", named), name, 2)
    directions.open_both(backbone.model, backbone.device)
    sources.store(backbone.model, folder / "causal", folder / "both")
    return load(folder / "causal", name, 2), backbone, load(folder / "both", name, 2)


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize(("name", "named"), DECODERS)
def test_a_later_token_changes_an_earlier_state_and_only_then(name, named, padding, tmp_path):
    causal, both, again = opened(tmp_path, name, named)
    before, changed = states(causal, FIRST, OTHER, padding=padding)
    torch.testing.assert_close(before[:4], changed[:4], rtol=0, atol=1e-6)
    seen = states(both, FIRST, OTHER, padding=padding)
    assert (seen[0, :4] - seen[1, :4]).abs().amax(dim=-1).min() > 1e-5
    assert torch.equal(seen, states(again, FIRST, OTHER, padding=padding))
    # Padding stands behind the text, and no token may see it.
    alone = states(both, FIRST, OTHER)
    torch.testing.assert_close(seen[:, :5], alone, rtol=1e-4, atol=1e-5)


def test_a_fresh_twin_reads_in_the_same_directions(tmp_path):
    opened(tmp_path, "llama", "LlamaForCausalLM")
    sources.make_random(tmp_path / "both", tmp_path / "twin", "llama", seed=0)
    twin = load(tmp_path / "twin", "llama", 2)
    assert directions.is_bidirectional(twin.model.config)
    seen = states(twin, FIRST, OTHER)
    assert not torch.equal(seen[0, 0], seen[1, 0])


@pytest.mark.parametrize(("name", "named"), [DECODERS[0], ("llama", "LlamaForCausalLM")])
def test_attribution_of_one_equals_the_loop_over_texts(name, named, tmp_path):
    *_, backbone = opened(tmp_path, name, named)
    backbone.model.double()
    rule, tokens = gauss_legendre(2), texts_of(backbone, (5, 3, 5))
    for pooling in ("mean", "eos"):
        method = Method(pooling, rule, 1, ("output",))
        found, *_ = gathered(backbone, tokens, targets.norm(), method)
        for scores, ids in zip(found, tokens, strict=True):
            given = (backbone, torch.tensor([ids]), pooling, torch.linalg.vector_norm)
            expected, _ = by_hand(*given, 1, "output", rule)
            np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-6)


def test_a_class_that_does_not_obey_is_refused():
    class Stubborn(torch.nn.Module):
        config = transformers.LlamaConfig()

        def forward(self, input_ids, attention_mask):
            states = input_ids.cumsum(dim=1)[..., None]
            return transformers.modeling_outputs.BaseModelOutput(last_hidden_state=states)

    with pytest.raises(ModelError, match="Stubborn does not read in both directions"):
        directions.open_both(Stubborn(), torch.device("cpu"))

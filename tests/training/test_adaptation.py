"""Low-rank updates of models whose head has the weights of the embedding."""

from __future__ import annotations

import pytest
import torch
import transformers

from tests.support.checkpoints import tiny
from wellspring.config import Lora
from wellspring.errors import WellspringError
from wellspring.training import adaptation

HEADS = {
    "BertForMaskedLM": ("cls.predictions.decoder", ["query", "value", "dense"]),
    "DistilBertForMaskedLM": ("vocab_projector", ["q_lin", "v_lin", "lin1"]),
    "ModernBertForMaskedLM": ("decoder", ["Wqkv", "Wi"]),
    "LlamaForCausalLM": ("lm_head", ["q_proj", "v_proj", "down_proj"]),
    "Qwen3ForCausalLM": ("lm_head", ["q_proj", "v_proj", "up_proj"]),
    "Gemma3ForCausalLM": ("lm_head", ["q_proj", "o_proj"]),
}
"""Class to its head, and linear layers of its blocks."""


def with_head(kind):
    named = getattr(transformers, kind)
    options = {"tie_word_embeddings": True}
    torch.manual_seed(4)
    return named(tiny(named.config_class, 70, 2, options)).eval()


@pytest.mark.parametrize("kind", HEADS)
def test_a_tied_head_is_the_embedding_after_merging_storing_and_reading(kind, tmp_path):
    head, targets = HEADS[kind]
    lora = Lora(rank=2, targets=targets)
    model = adaptation.prepare(with_head(kind), lora, (), seed=0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight), alpha=0.3)
    ids = torch.arange(5, 29).view(2, 12)
    mask = torch.ones_like(ids)
    with torch.no_grad():
        plain = with_head(kind)(input_ids=ids, attention_mask=mask).logits
        unmerged = model.eval()(input_ids=ids, attention_mask=mask).logits
    assert (plain - unmerged).abs().max() > 1e-3
    adaptation.merged(model, lora).save_pretrained(tmp_path, safe_serialization=True)
    whole, report = getattr(transformers, kind).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert whole.get_submodule(head).weight is whole.get_input_embeddings().weight
    with torch.no_grad():
        logits = whole.eval()(input_ids=ids, attention_mask=mask).logits
    torch.testing.assert_close(logits, unmerged, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", HEADS)
def test_an_update_of_a_tied_head_is_refused(kind):
    head, targets = HEADS[kind]
    with pytest.raises(WellspringError, match=rf"^lora\.targets: {head} has the weights of the e"):
        adaptation.prepare(with_head(kind), Lora(targets=[*targets, head]), (), seed=0)

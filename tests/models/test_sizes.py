"""Fresh models of a known architecture at other sizes."""

from __future__ import annotations

import pytest

from tests.support import checkpoints
from wellspring.config import ARCHITECTURES
from wellspring.errors import ModelError
from wellspring.models import sources
from wellspring.models.architecture import builtin
from wellspring.models.load import load, parameters

SIZES = {"layers": 3, "hidden_size": 16, "heads": 2, "intermediate_size": 40}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_can_be_made_at_another_size(name, tmp_path):
    named = next(iter(builtin(name).classes))
    base = checkpoints.make(tmp_path / "base", named)
    sources.make_random(base, tmp_path / "small", name, 0, sizes=SIZES)
    backbone = load(tmp_path / "small", name, 3)
    assert backbone.hidden == 16 and backbone.layers == 3
    widths = {each.shape[0] for each in backbone.model.parameters() if each.dim() == 2}
    assert 40 in widths or 80 in widths
    repeated = load(tmp_path / "small", name, 3).model.state_dict()
    sources.make_random(base, tmp_path / "again", name, 0, sizes=SIZES)
    again = load(tmp_path / "again", name, 3).model.state_dict()
    assert all(weight.equal(again[key]) for key, weight in repeated.items())


def test_a_size_that_is_left_out_stays(tmp_path):
    base = checkpoints.make(tmp_path / "base", "Qwen3Model", head_dim=16)
    sources.make_random(base, tmp_path / "deep", "qwen3", 0, sizes={"layers": 4})
    config = load(tmp_path / "deep", "qwen3", 4).model.config
    assert (config.head_dim, config.hidden_size) == (16, 32)


def test_sizes_that_cannot_be_are_refused(tmp_path):
    base = checkpoints.make(tmp_path / "base", "BertModel")
    with pytest.raises(ModelError, match="3 heads do not divide a hidden size of 16"):
        sources.make_random(base, tmp_path / "a", "bert", 0, sizes={**SIZES, "heads": 3})


def test_parameters_of_tables_are_counted_apart(tmp_path):
    base = checkpoints.make(tmp_path / "base", "BertModel")
    model = load(base, "bert", 2).model
    tables = model.embeddings
    looked_up = (tables.word_embeddings, tables.position_embeddings, tables.token_type_embeddings)
    counted = parameters(base, "bert")
    assert counted["all"] == sum(each.numel() for each in model.parameters())
    assert counted["embedding"] == sum(each.weight.numel() for each in looked_up)

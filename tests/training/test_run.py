"""A run from a recipe and texts: what is learned from, and that its account is what is run."""

from __future__ import annotations

import pytest

from tests.support import training
from wellspring.config import Recipe
from wellspring.errors import WellspringError
from wellspring.specs import EncodingSpec, TrainSpec
from wellspring.training.run import Material, Run, prepare

RECIPE = {"datasets": ["one"], "pooling": "mean", "batch": 4, "passage_length": 24}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bert")


def prepared(folder, material: Material | None = None, **keys) -> Run:
    """A run of a small model by a recipe with these keys."""
    recipe = Recipe.model_validate({**RECIPE, **keys})
    spec = TrainSpec(
        recipe=recipe, **{side: side_of(recipe, side) for side in ("query", "passage")}
    )
    own = material or Material(*training.joined())
    return prepare(training.backbone(folder), spec, own, tokens=2048)


def side_of(recipe: Recipe, side) -> EncodingSpec:
    return EncodingSpec(
        model="base",
        architecture="bert",
        layers=training.LAYERS,
        side=side,
        pooling=recipe.pooling,
        template=getattr(recipe, f"{side}_template"),
        length=getattr(recipe, f"{side}_length"),
        normalise=False,
        dtype="float32",
        storage="float32",
    )


def test_a_fraction_is_learned_from(folder):
    whole, half = (prepared(folder, fraction=fraction) for fraction in (1, 0.5))
    queries = [set(run.batches.examples.query_ids) for run in (whole, half)]
    assert queries[1] < queries[0] and len(queries[1]) == len(queries[0]) / 2
    assert half.facts["steps"] == half.facts["examples"] // 4 < whole.facts["steps"]
    # What it is judged by stays the same.
    assert whole.held is not None and half.held is not None
    assert half.held.query_ids == whole.held.query_ids


def test_a_fraction_of_less_than_a_batch_is_one_line(folder):
    with pytest.raises(
        WellspringError, match=r"fraction: 0\.1 leaves \d examples, fewer than a bat"
    ):
        prepared(folder, fraction=0.1)

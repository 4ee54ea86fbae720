"""Recipes, and models that are trained by them, in a configuration."""

from __future__ import annotations

import copy

import pytest

from wellspring import specs
from wellspring.config import notes, parse
from wellspring.errors import ConfigError

RECIPE = {"datasets": ["questions"], "pooling": "mean", "negatives": 2}
CONFIG = {
    "models": {
        "base": {"source": "path:base", "architecture": "bert", "layers": 2},
        "tuned": {"source": "train:base", "recipe": "brief"},
        "twice": {"source": "train:tuned", "recipe": "brief"},
    },
    "recipes": {"brief": RECIPE},
    "retrievers": {
        "base": {"query": {"model": "base", "pooling": "mean"}},
        "twice": {"query": {"model": "twice", "pooling": "mean"}, "compared_with": "base"},
    },
    "datasets": {"questions": {"format": "jsonl", "source": "questions.jsonl"}},
    "study": {
        "name": "small",
        "probe": {"retrievers": ["twice"], "datasets": ["questions"], "passages": [2]},
    },
}


def edited(edit):
    config = copy.deepcopy(CONFIG)
    edit(config)
    return config


def test_a_trained_model_has_the_shape_of_what_it_is_made_of():
    config = parse(CONFIG)
    assert config.models["twice"].layers == 2
    assert config.models["twice"].architecture == "bert"
    assert config.lineage("twice") == ["twice", "tuned", "base"]
    assert sorted(config.models_used()) == ["base", "tuned", "twice"]
    assert not config.is_fresh("twice")


def test_the_slice_is_the_recipe_and_how_it_writes_texts():
    config = parse(CONFIG)
    spec = specs.train(config, "twice")
    assert spec.recipe == config.recipes["brief"]
    assert (spec.query.model, spec.query.length, spec.passage.length) == ("tuned", 64, 128)
    other = edited(lambda c: c["study"]["probe"].update(passages=[3]))
    assert specs.train(parse(other), "twice") == spec


def words() -> dict:
    """What makes a recipe sparse."""
    return {"paradigm": "sparse", "pooling": None}


def test_a_sparse_recipe_has_usual_values_of_its_own():
    config = parse(edited(lambda c: c["recipes"]["brief"].update(words())))
    recipe = config.recipes["brief"]
    assert (recipe.similarity, recipe.temperature, recipe.top_terms) == ("dot", 1, 512)
    assert (recipe.flops.query, recipe.flops.passage, recipe.flops.ramp) == (0.05, 0.04, 1 / 3)
    assert config.recipes["brief"].model_validate_json(recipe.model_dump_json()) == recipe
    assert specs.train(config, "twice").query.pooling == "mean"
    # An encoder of a model that was trained so is no other use of it.
    assert notes(config, [CONFIG]) == []
    dense = parse(CONFIG).recipes["brief"]
    assert (dense.similarity, dense.temperature, dense.flops) == ("cosine", 0.05, None)


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (
            lambda c: c["models"]["tuned"].pop("recipe"),
            "models.tuned.recipe: missing: it says how 'base' is trained",
        ),
        (
            lambda c: c["models"]["base"].update(recipe="brief"),
            "models.base.recipe: is for sources train:MODEL",
        ),
        (
            lambda c: c["models"]["tuned"].update(recipe="brif"),
            "models.tuned.recipe: no recipe is named 'brif'",
        ),
        (
            lambda c: [
                c["models"][name].update(source=f"train:{other}", layers=2, architecture="bert")
                for name, other in (("tuned", "twice"), ("twice", "tuned"))
            ],
            "models.tuned: is made of itself",
        ),
        (
            lambda c: c["models"]["tuned"].update(source="train:twice"),
            "models.twice: is made of itself",
        ),
        (
            lambda c: c["models"]["tuned"].update(layers=3),
            "models.tuned.layers: differs from 'base', which has 2",
        ),
        (
            lambda c: c["models"]["tuned"].update(adapter="path:a"),
            "models.tuned.adapter: goes to the entry of 'base'",
        ),
        (
            lambda c: c["recipes"]["brief"].update(datasets=["answers"]),
            "recipes.brief.datasets: no dataset is named 'answers'",
        ),
        (
            lambda c: c["recipes"]["brief"].update(negatives=5),
            "recipes.brief.negatives: 5, but datasets.questions.negatives.count is 4",
        ),
        (
            lambda c: c["recipes"]["brief"].update(temperature=0),
            "recipes.brief.temperature: Input should be greater than 0",
        ),
        (
            lambda c: c["recipes"]["brief"].update(steps=3, epochs=1),
            "give one of epochs, steps and budget_flops",
        ),
        (
            lambda c: c["recipes"]["brief"].update(gradient_cache=192),
            "gradient_cache must be below the passages of a batch (192), or it saves nothing",
        ),
        (
            lambda c: c["recipes"]["brief"].update(similarity="dot"),
            "temperature: missing: inner products have no usual one",
        ),
        (
            lambda c: c["recipes"]["brief"].update(objective="kl"),
            "the objective kl needs a teacher, and negatives for it to judge",
        ),
        (
            lambda c: c["recipes"]["brief"].update(teacher="base"),
            "teacher: the objective infonce follows none",
        ),
        (
            lambda c: c["recipes"]["brief"].update(objective="kl", teacher="bass"),
            "recipes.brief.teacher: no retriever is named 'bass'",
        ),
        (
            lambda c: c["recipes"]["brief"].update(objective="kl", teacher="twice"),
            "models.tuned: is made of itself",
        ),
        (
            lambda c: c["recipes"]["brief"].pop("pooling"),
            "recipes.brief: pooling: missing: dense vectors are pooled by cls, mean or eos",
        ),
        (
            lambda c: c["recipes"]["brief"].update(top_terms=9),
            "recipes.brief: top_terms: is for paradigm: sparse",
        ),
        (
            lambda c: c["recipes"]["brief"].update(paradigm="sparse"),
            "recipes.brief: pooling: is for paradigm: dense: sparse vectors take a maximum",
        ),
        (
            lambda c: c["recipes"]["brief"].update(words(), similarity="cosine"),
            "recipes.brief: similarity: sparse vectors are compared by dot",
        ),
        (
            lambda c: c["recipes"]["brief"].update(words(), objective="kl", teacher="base"),
            "recipes.brief: teacher_temperature: missing: its default is for cosines",
        ),
        (
            lambda c: c["recipes"]["brief"].update(words(), flops={"query": -1}),
            "recipes.brief.flops.query: Input should be greater than or equal to 0",
        ),
        (
            lambda c: c["recipes"]["brief"].update(lora={"targets": []}),
            "recipes.brief.lora.targets: is empty",
        ),
        (
            lambda c: c["recipes"]["brief"].update(query_template="query"),
            "query_template must contain {text} exactly once",
        ),
    ],
)
def test_what_cannot_be_trained_is_one_line(edit, line):
    with pytest.raises(ConfigError) as refused:
        parse(edited(edit))
    assert line in str(refused.value)
    assert len(str(refused.value).splitlines()) <= 2


def test_an_encoder_that_asks_for_something_else_than_was_trained_is_noted():
    def otherwise(config):
        config["retrievers"]["twice"]["query"].update(pooling="cls", query_template="q: {text}")

    assert notes(parse(CONFIG), [CONFIG]) == []
    config = edited(otherwise)
    assert [line.partition(":")[0] for line in notes(parse(config), [config])] == [
        "encoders.twice.pooling",
        "encoders.twice.query_template",
    ]


def test_a_fresh_model_may_have_sizes_of_its_own():
    def small(config):
        config["models"]["small"] = {
            "source": "random:base",
            "sizes": {"layers": 1, "hidden_size": 16, "heads": 2},
        }
        config["models"]["tuned"]["source"] = "train:small"

    config = parse(edited(small))
    assert [config.models[name].layers for name in ("small", "tuned", "twice")] == [1, 1, 1]
    assert specs.model(config, "small").sizes == config.models["small"].sizes


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ({"sizes": {"layers": 2}}, "models.tuned.sizes: is for sources random:MODEL"),
        (
            {"source": "random:base", "sizes": {"layers": 1}, "layers": 2, "recipe": None},
            "models.tuned.layers: differs from sizes.layers, which is 1",
        ),
        ({"source": "random:base", "sizes": {}, "recipe": None}, "names no size"),
        (
            {"source": "random:base", "sizes": {"heads": 2}, "trained_blocks": 1, "recipe": None},
            "models.tuned.trained_blocks: trained blocks have the sizes of 'base'",
        ),
    ],
)
def test_sizes_that_cannot_be_are_one_line(entry, line):
    with pytest.raises(ConfigError) as refused:
        parse(edited(lambda c: c["models"]["tuned"].update(entry)))
    assert line in str(refused.value)

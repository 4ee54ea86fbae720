"""Recipes, and models that are trained by them, in a configuration."""

from __future__ import annotations

import copy

import pytest

from wellspring import specs
from wellspring.artefacts.models import Model, TrainedModel
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
            lambda c: c["recipes"]["brief"].update(lora={"targets": []}),
            "recipes.brief.lora.targets: is empty",
        ),
        (
            lambda c: c["recipes"]["brief"].update(checkpoints=[0.5, 0.5]),
            "checkpoints must rise from one to the next",
        ),
        (
            lambda c: c["recipes"]["brief"].update(checkpoints=[0.5, 1]),
            "recipes.brief.checkpoints.1: Input should be less than 1",
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


def test_a_checkpoint_is_a_model_of_the_shape_of_its_run():
    config = parse(edited(on_the_way))
    assert config.models["half"].layers == 2
    assert config.lineage("half") == ["half", "tuned", "base"]
    assert specs.model(config, "half").source == "train:tuned/share-0.5"
    assert specs.model(config, "shape").base == specs.model(config, "half")
    assert Model("half").needs(config) == {"checkpoint": [TrainedModel("tuned")]}
    assert Model("shape").needs(config) == {"checkpoint": [TrainedModel("tuned")]}
    # The run is trained for the study, though nothing of it is embedded.
    assert "tuned" in config.trained_models() and "half" not in config.trained_models()

    def otherwise(c):
        on_the_way(c)
        c["retrievers"]["twice"]["query"].update(pooling="cls")

    config = edited(otherwise)
    assert [line.partition(":")[0] for line in notes(parse(config), [])] == [
        "encoders.twice.pooling"
    ]


def on_the_way(config):
    config["recipes"]["brief"]["checkpoints"] = [0.25, 0.5]
    config["models"]["half"] = {"source": "checkpoint:tuned", "share": 0.5}
    config["models"]["shape"] = {"source": "random:half"}
    config["retrievers"]["twice"]["query"]["model"] = "half"


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (
            {"share": None},
            "models.half.share: missing: give one of recipes.brief.checkpoints",
        ),
        ({"share": 0.1}, "models.half.share: 0.1 is none of recipes.brief.checkpoints (0.25, 0.5)"),
        ({"source": "checkpoint:base"}, "models.half.source: 'base' is not trained here"),
        ({"source": "checkpoint:tune"}, "models.half.source: no model is named 'tune'"),
        ({"source": "checkpoint:half"}, "models.half: is made of itself"),
        ({"adapter": "path:a"}, "models.half.adapter: a checkpoint takes no adapter"),
        ({"recipe": "brief"}, "models.half.recipe: is for sources train:MODEL"),
        ({"source": "train:tuned", "recipe": "brief"}, "models.half.share: is for sources checkp"),
    ],
)
def test_a_checkpoint_that_no_run_leaves_is_one_line(entry, line):
    def edit(config):
        on_the_way(config)
        config["models"]["half"].update(entry)

    with pytest.raises(ConfigError) as refused:
        parse(edited(edit))
    assert line in str(refused.value)


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

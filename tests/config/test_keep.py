"""Searches that store no vectors of passages: what may be asked for beside them, and what their
files depend on."""

from __future__ import annotations

import copy

import pytest

from tests.config.test_config import DEFAULT
from wellspring.artefacts import Plan
from wellspring.artefacts.embeddings import EmbeddingShard
from wellspring.artefacts.retrieval import Run, Scan
from wellspring.config import Config, parse
from wellspring.config.changed import changed
from wellspring.errors import ConfigError

OWN = {"retrievers": ["minilm"], "datasets": ["pydocs"]}
NAMES = ("minilm", "pydocs")


def configured(*blocks: dict, probe: dict | None = None, **sections: dict) -> Config:
    """The default study without its probes and attributions, and with these searches."""
    raw = copy.deepcopy(DEFAULT) | sections
    raw["datasets"]["pydocs"]["shards"] = 3
    raw["study"] |= {"probe": probe, "attribute": None, "groups": {}, "published": None}
    raw["study"]["search"] = [OWN | block for block in blocks]
    return parse(raw)


def test_vectors_are_kept_unless_told():
    assert configured({}).study.search[0].keep
    assert Scan(*NAMES, 0) not in set(Plan(configured({})).closure(Plan(configured({})).ends()))


def test_only_passages_are_dropped():
    plan = Plan(configured({"keep": False}))
    files = set(plan.closure(plan.ends()))
    shards = {each for each in files if isinstance(each, EmbeddingShard)}
    assert {each.side for each in shards} == {"query"} and len(shards) == 2 * 3
    scans = {each for each in files if isinstance(each, Scan)}
    names = ("minilm", "minilm-random")
    assert scans == {Scan(name, "pydocs", shard) for name in names for shard in range(3)}
    assert {*Scan(*NAMES, 0).needs(plan.config)} == {"texts", "qrels", "model", "query"}


def test_what_is_stored_changes_no_result():
    """Not one file that both studies have is made again where only keep differs."""
    kept, dropped = (Plan(configured({"keep": keep})) for keep in (True, False))
    files = [set(plan.closure(plan.ends())) for plan in (kept, dropped)]
    assert {type(each) for each in files[0] ^ files[1]} == {EmbeddingShard, Scan}
    for each in files[0] & files[1]:
        assert kept.key(each) == dropped.key(each), each
        assert kept.spec(each) == dropped.spec(each), each
    assert changed(kept.config) == changed(dropped.config)


@pytest.mark.parametrize(
    "block",
    [{"depth": 10}, {"layers": [1]}, {"queries": "all"}, {"measures": ["MRR@10"]}],
)
def test_a_scan_is_made_again_where_its_lists_change(block):
    before, after = (Plan(configured({"keep": False} | each)) for each in ({}, block))
    assert before.key(Run(*NAMES)) != after.key(Run(*NAMES))
    same = before.key(Scan(*NAMES, 1)) == after.key(Scan(*NAMES, 1))
    # How rankings are judged is no matter of the lists.
    assert same == ("measures" in block)


def test_a_search_depends_on_all_that_its_scans_depend_on():
    """Its key is that of stored vectors: an edit that changes scans must change it, too."""

    names = [Scan(*NAMES, 0), Run(*NAMES)]

    def keys(**edit: object) -> list[str]:
        encoders = DEFAULT["encoders"] | {"minilm": DEFAULT["encoders"]["minilm"] | edit}
        plan = Plan(configured({"keep": False}, encoders=encoders))
        return [plan.key(each) for each in names]

    for edit in ({"pooling": "cls"}, {"passage_length": 9}, {"storage": "float32"}):
        assert not {*keys()} & {*keys(**edit)}, edit
    plan = Plan(configured({"keep": False}))
    scanned, run = (set(each.science(plan.spec(each))) for each in names)
    shard = EmbeddingShard("minilm", "pydocs", "passage", 0)
    assert scanned <= run | {*shard.science(plan.spec(shard))}


def refusal(*blocks: dict, **sections) -> str:
    with pytest.raises(ConfigError) as error:
        configured(*blocks, **sections)
    return str(error.value)


def test_indexes_are_built_of_stored_vectors():
    assert refusal({"keep": False, "indexes": [{"kind": "graph"}]}) == (
        "study.search.keep: false, and study.search.indexes are built of stored vectors: take one "
        "of the two out"
    )


def test_vectors_that_something_else_stores_are_not_dropped():
    told = (
        "study.search.keep: false saves nothing, since {} needs the stored vectors of 'minilm' on "
        "{!r}: take one of the two out"
    )
    assert refusal({"keep": False}, probe=OWN) == told.format("study.probe", "pydocs")
    # A recipe's teacher judges the samples of all that it learns from by its vectors.
    recipe = DEFAULT["recipes"]["minilm-lora"] | {"objective": "kl", "negatives": 2}
    learned = {"retrievers": ["minilm-tuned"], "datasets": ["pydocs-train"], "keep": False}
    line = refusal(learned, recipes={"minilm-lora": recipe | {"teacher": "minilm"}})
    assert line == told.format("recipes.minilm-lora.teacher", "pydocs-train")


def test_one_retriever_keeps_what_another_drops():
    retrievers = DEFAULT["retrievers"] | {"other": {"query": "words"}, "same": {"query": "minilm"}}
    words = DEFAULT["encoders"]["minilm"] | {"pooling": "cls"}
    own = {"retrievers": retrievers, "encoders": DEFAULT["encoders"] | {"words": words}}
    other, same = ({"retrievers": [name], "keep": False} for name in ("other", "same"))
    config = configured({}, other, **own)
    assert config.searching("minilm", "pydocs").block.keep
    assert not config.searching("other", "pydocs").block.keep
    # Vectors belong to an encoder, whichever retriever is searched with it.
    for block in (same, {"keep": False, "layers": [1]}):
        line = refusal({}, block, **own)
        assert line.startswith("study.search (block 2).keep: false saves nothing, since study.")

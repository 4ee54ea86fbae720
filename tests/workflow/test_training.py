"""A trained model as a node of the graph: made, kept, made again, killed and gone on with."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest
import transformers

from tests.support import checkpoints, events, forks
from tests.support import study as studies

TRAINED = "results/models/trained/tuned"
WORDS = "results/models/trained/words/trained.json"
DISTILLED = "results/models/trained/distilled/trained.json"
READ = "results/models/trained/read/trained.json"
TARGETS = (
    "results/models/tuned/model.json",
    "results/models/twin/model.json",
    "results/models/half/model.json",
    "results/embeddings/tuned/questions/query/shard-000.parquet",
)
JUDGE = "BertForSequenceClassification"
SHOWN = ("--set-resources", "train:tensorboard=1")
RECIPE = {
    "datasets": ["questions"],
    "pooling": "mean",
    "passage_length": 32,
    "batch": 8,
    "negatives": 1,
    "learning_rate": 1e-3,
    "lora": {"rank": 4, "targets": ["query", "value"]},
    "steps": 12,
    "checkpoints": [0.25, 0.5],
}


def tune(config) -> None:
    """Add a trained model, a fresh one of its shape, and a retriever on it."""
    # What is learned from is probed, too, so both seeds have one test split.
    config["datasets"]["questions"]["splits"]["redrawn"] = False
    config["recipes"] = {"brief": RECIPE}
    config["models"]["tuned"] = {"source": "train:tiny", "recipe": "brief"}
    config["models"]["twin"] = {"source": "random:tuned"}
    config["models"]["half"] = {"source": "checkpoint:tuned", "share": 0.5}
    after = {"objective": "infonce+kl", "teacher": "tiny", "steps": 2, "checkpoints": []}
    config["recipes"]["after"] = {**RECIPE, **after}
    sparse = {"paradigm": "sparse", "pooling": None, "flops": {"ramp": 0.5}, "top_terms": 40}
    config["recipes"]["words"] = {**RECIPE, **sparse, "steps": 4, "gradient_cache": 4}
    config["models"]["words"] = {"source": "train:fresh", "recipe": "words"}
    config["encoders"]["words"] = {**config["encoders"]["tiny"], "model": "words"}
    config["retrievers"]["words"] = {"query": "words"}
    # One stage's output is the next one's model.
    config["recipes"]["read"] = {"datasets": ["questions"], "stage": "mlm", "batch": 8, "steps": 2}
    config["models"]["read"] = {"source": "train:fresh", "recipe": "read"}
    config["models"]["distilled"] = {"source": "train:read", "recipe": "after"}
    config["encoders"]["tuned"] = {**config["encoders"]["tiny"], "model": "tuned"}
    config["encoders"]["twin"] = {**config["encoders"]["tiny"], "model": "twin"}
    config["retrievers"]["tuned"] = {"query": "tuned", "compared_with": "tiny"}
    config["retrievers"]["twin"] = {"query": "twin"}
    config["encoders"]["half"] = {**config["encoders"]["tiny"], "model": "half"}
    config["retrievers"]["half"] = {"query": "half", "compared_with": "tuned"}
    config["encoders"]["distilled"] = {**config["encoders"]["tiny"], "model": "distilled"}
    config["retrievers"]["distilled"] = {"query": "distilled"}
    config["study"]["probe"]["retrievers"] += ["tuned", "twin", "half", "distilled", "words"]
    own = {"datasets": ["questions"], "vocabulary": 300}
    config["models"]["small"] = {"source": "random:tiny", "tokenizer": own, "draws": 2}
    config["encoders"]["small"] = {**config["encoders"]["tiny"], "model": "small"}
    config["retrievers"]["small"] = {"query": "small"}
    config["study"]["probe"]["retrievers"] += ["small"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A study whose models are trained, once for all workers; a copy for this one."""

    def make(folder: Path) -> None:
        study = studies.make(folder)
        study.configure(tune)
        shown = SHOWN if find_spec("tensorboardX") else ()
        study.run(*TARGETS, WORDS, "results/models/words/model.json", *shown)
        # Jobs of other tests have one thread.
        study.run(DISTILLED, "--max-threads", "2")

    folder = studies.once(tmp_path_factory, "trained", make)
    own = tmp_path_factory.mktemp("training") / "study"
    shutil.copytree(folder, own, symlinks=True)
    return studies.Study(own)


def test_training_leaves_a_checkpoint_an_account_and_a_curve(trained):
    folder = trained.folder / TRAINED
    told = json.loads((folder / "trained.json").read_text())
    facts = told["facts"]
    assert facts["steps"] == 12 and facts["ledger"]["pairs"] == 12 * 8
    assert 0 < facts["trained_parameters"] < facts["parameters"]
    assert facts["ledger"]["total_flops"] > 0
    assert set(facts["quality"]) == {"measure", "before", "after"}
    curve = pl.read_parquet(folder / "curve.parquet")
    assert curve["step"].to_list() == list(range(1, 13))
    assert curve["learning_rate"].max() == pytest.approx(RECIPE["learning_rate"])
    assert not list(folder.glob("*.state"))
    described = json.loads((trained.folder / TARGETS[0]).read_text())
    base = json.loads((trained.folder / "results/models/tiny/model.json").read_text())
    assert described["digest"] == told["digest"] != base["digest"]
    log = (trained.folder / "results/logs/train/tuned.log").read_text()
    assert "quality on the validation split (MRR@10)" in log and "step 12 of 12: loss" in log


def test_a_sparse_model_is_stored_with_its_head_and_says_how_sparse_it_is(trained):
    told = json.loads((trained.folder / WORDS).read_text())
    for name in ("query_terms", "passage_terms"):
        terms = told["facts"][name]
        assert terms["measure"] == "words of 30,522" and 0 < terms["after"] <= 40
    config = json.loads((trained.folder / WORDS).with_name("config.json").read_text())
    assert config["architectures"] == ["BertForMaskedLM"]
    described = json.loads((trained.folder / "results/models/words/model.json").read_text())
    assert described["digest"] == told["digest"]


def test_event_files_say_what_the_curve_says(trained):
    pytest.importorskip("tensorboardX")
    values = [*events.read(trained.folder / "results/logs/train/tuned")]
    curve = pl.read_parquet(trained.folder / TRAINED / "curve.parquet")
    for tag, column in (("loss", "loss"), ("learning_rate", "learning_rate")):
        own = {step: value for step, name, value in values if name == tag}
        assert own == pytest.approx(dict(curve.select("step", column).iter_rows()))
    assert sum(name == "pairs_per_second" and value > 0 for _, name, value in values) == 12
    told = json.loads((trained.folder / TRAINED / "trained.json").read_text())["facts"]
    looked = {step: value for step, name, value in values if name == "quality"}
    assert [*looked] == [0, 3, 6, 12]
    asked = told["quality"]
    assert [looked[0], looked[12]] == pytest.approx([asked["before"], asked["after"]])


@pytest.mark.slow
def test_what_is_trained_is_trained_once_and_again_where_it_depends(trained):
    assert trained.planned(*TARGETS) == {}
    again = {"train": 1, "model": 3, "embed": 1}

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
    assert trained.planned(*TARGETS) == {"train": 1, "model": 3}
    (trained.folder / "aside").rename(trained.folder / TRAINED / "model.safetensors")
    assert trained.planned(*TARGETS) == {}
    (trained.folder / TRAINED / "share-0.25" / "config.json").rename(trained.folder / "aside")
    assert trained.planned(*TARGETS) == {"train": 1, "model": 3}
    (trained.folder / "aside").rename(trained.folder / TRAINED / "share-0.25" / "config.json")
    # A log is no result, whatever lies beside it.
    assert trained.planned(*TARGETS, *SHOWN) == {}


def test_a_checkpoint_on_the_way_is_a_model_of_its_own(trained):
    folder = trained.folder / TRAINED
    told = json.loads((folder / "trained.json").read_text())
    assert {name: each["step"] for name, each in told["checkpoints"].items()} == {
        "share-0.25": 3,
        "share-0.5": 6,
    }
    half = json.loads((trained.folder / "results/models/half/model.json").read_text())
    assert half["digest"] == told["checkpoints"]["share-0.5"]["digest"]
    digests = {told["digest"], *(each["digest"] for each in told["checkpoints"].values())}
    assert len(digests) == 3
    curve = pl.read_parquet(folder / "curve.parquet")
    looked = curve.filter(pl.col("quality").is_not_null())
    assert looked["step"].to_list() == [3, 6, 12]
    assert looked["quality"][-1] == told["facts"]["quality"]["after"]
    assert "step 6 of 12: stored" in (trained.folder / "results/logs/train/tuned.log").read_text()
    share = folder / "share-0.5" / "model.safetensors"
    content = share.read_bytes()
    try:
        share.write_bytes(content[:-1] + b"x")
        refused = trained.run(
            "results/embeddings/half/questions/query/shard-000.parquet", check=False
        )
        assert refused.returncode
        assert f"{TRAINED}/share-0.5/model.safetensors: is not the file" in refused.stderr
        assert f"train it again: snakemake --cores all --forcerun {TRAINED}" in refused.stderr
    finally:
        share.write_bytes(content)


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


def test_a_model_that_read_the_passages_first_is_what_is_tuned(trained):
    told = json.loads((trained.folder / READ).read_text())
    assert told["facts"]["quality"]["measure"] == "loss"
    assert told["facts"]["ledger"]["flops"].keys() == {"encoder", "head"}
    config = json.loads((trained.folder / READ).with_name("config.json").read_text())
    assert config["architectures"][0].endswith("ForMaskedLM")
    described = json.loads((trained.folder / "results/models/read/model.json").read_text())
    assert described["digest"] == told["digest"]


def teachers(config) -> None:
    """Add a cross-encoder, a file of scores, and a model that follows each."""
    config["teachers"] = {
        "judge": {"cross_encoder": {"source": "path:judge", "length": 48}},
        "file": {"scores": {"questions": "scores.tsv"}},
    }
    for name in config["teachers"]:
        after = {"objective": "kl", "teacher": name, "teacher_temperature": 1.0, "steps": 2}
        config["recipes"][name] = {**RECIPE, **after}
        config["models"][f"after-{name}"] = {"source": "train:tiny", "recipe": name}


@pytest.mark.slow
def test_a_cross_encoder_and_a_file_are_followed_and_an_edit_reruns_what_follows(trained):
    judge = checkpoints.make(trained.folder / "judge", JUDGE, num_labels=1)
    samples = pl.read_parquet(trained.folder / "results/datasets/questions/samples.parquet")
    pairs = samples.select("query_id", passage_id=pl.concat_list("positive_id", "negative_ids"))
    told = pairs.explode("passage_id").unique(maintain_order=True).with_row_index("score")
    scores = trained.folder / "scores.tsv"
    told.select("query_id", "passage_id", "score").write_csv(scores, separator="\t")
    trained.configure(teachers)
    targets = [f"results/models/trained/after-{name}/trained.json" for name in ("judge", "file")]
    trained.run(*targets)
    folder = trained.folder / "results/datasets/questions/teachers"
    logit, given = (
        pl.read_parquet(folder / name) for name in ("judge/logit.parquet", "file/given.parquet")
    )
    number = dict(zip(told.select("query_id", "passage_id").rows(), told["score"], strict=True))
    assert given["scores"].to_list() == [
        [number[query, passage] for passage in own] for query, own in pairs.iter_rows()
    ]
    texts = pl.read_parquet(trained.folder / "results/datasets/questions/texts.parquet")
    text = {(side, each): text for each, side, text in texts.iter_rows()}
    query, (positive, *_) = pairs.row(3)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(judge).eval()
    read = transformers.AutoTokenizer.from_pretrained(judge)(
        text["query", query], text["passage", positive], return_tensors="pt"
    )
    alone = model(**read).logits.item()
    assert logit["scores"][3][0] == pytest.approx(alone, abs=1e-5)
    facts = json.loads((trained.folder / targets[0]).read_text())["facts"]
    assert facts["teacher_flops"] > 0
    assert "teacher_flops" not in json.loads((trained.folder / targets[1]).read_text())["facts"]

    assert trained.planned(*targets) == {}
    again = {"teach": 1, "train": 1}
    trained.configure(lambda c: c["teachers"]["judge"]["cross_encoder"].update(length=40))
    assert trained.planned(*targets) == again
    trained.configure(teachers)
    scores.write_text(scores.read_text() + "nobody\tnothing\t1\n")
    assert trained.planned(*targets) == again
    refused = trained.run(targets[1], check=False)
    assert refused.returncode
    log = (trained.folder / "results/logs/teach/questions/file/given.log").read_text()
    line = f"error: scores.tsv:{told.height + 2}: the dataset has no query 'nobody'"
    assert log.splitlines()[-1].startswith(line)


def weights(folder: Path) -> dict[str, bytes]:
    """Of the model and its checkpoints."""
    paths = sorted((folder / TRAINED).rglob("model.safetensors"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.mark.slow
@pytest.mark.parametrize("kills", [2, 10])
def test_a_run_that_is_killed_goes_on_and_ends_as_if_it_had_not(trained, tmp_path, kills):
    study = studies.make(tmp_path / "study")
    study.configure(tune)
    # A state every step, so that every kill finds one, and steps enough to be killed in.
    study.rewrite("src/wellspring/training/loop.py", "SAVED = 60.0", "SAVED = 0.0")
    steps = 100 * kills
    study.configure(lambda config: config["recipes"]["brief"].update(steps=steps))
    study.run("results/models/tiny/model.json", "results/datasets/questions/samples.parquet")
    command = ("snakemake", "--cores", "1", f"{TRAINED}/trained.json")
    environment = study.environment()
    state = study.folder / TRAINED / "training.state"
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
    assert len(broken) == 3
    # The state is no part of what was trained.
    told = json.loads((study.folder / TRAINED / "trained.json").read_text())
    assert [*told["weights"]] == ["model.safetensors"]
    assert study.planned(f"{TRAINED}/trained.json") == {}
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


@pytest.mark.slow
def test_a_tokenizer_is_trained_on_texts_and_again_where_they_change(trained):
    """Two draws of a fresh model have the same tokenizer and other weights."""
    targets = [f"results/models/{name}/model.json" for name in ("small", "small.2")]
    trained.run(*targets)
    first, second = (json.loads((trained.folder / path).read_text()) for path in targets)
    assert first["tokenizer"] == second["tokenizer"] and first["weights"] != second["weights"]
    assert trained.planned(*targets) == {}
    path = trained.folder / "config.yaml"
    kept = path.read_text()
    try:
        trained.configure(lambda c: c["datasets"]["questions"].update(negatives={"seed": 7}))
        assert trained.planned(*targets) == {"samples": 1, "model": 2}
    finally:
        path.write_text(kept)

"""Results are trusted for what they say: whatever their dates, and whatever Snakemake knows."""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest

from tests.support import checkpoints
from tests.support import study as studies
from tests.support.slow import slow
from tests.workflow.test_edits import EDITS_OF_CONFIG, set_permutations, set_pooling
from wellspring.artefacts import lines
from wellspring.artefacts.sources import Digests

AFTER_POOLING = dict(EDITS_OF_CONFIG)[set_pooling]
AFTER_PERMUTATIONS = dict(EDITS_OF_CONFIG)[set_permutations]
YEARS_AGO = time.time() - 10 * 365 * 24 * 3600


def age(path, seconds=YEARS_AGO):
    os.utime(path, (seconds, seconds))


@pytest.mark.slow
def test_a_project_without_snakemake_s_notes_is_known(study):
    shutil.rmtree(study.folder / ".snakemake")
    assert study.planned() == {}
    study.configure(set_pooling)
    assert study.planned() == AFTER_POOLING


@pytest.mark.slow
def test_notes_that_are_lost_for_some_jobs_change_no_plan(study):
    notes = sorted(path for path in (study.folder / ".snakemake").rglob("*") if path.is_file())
    for path in notes[::2]:
        path.unlink()
    assert study.planned() == {}
    study.configure(set_pooling)
    assert study.planned() == AFTER_POOLING


def test_dates_say_nothing(study):
    results = [path for path in (study.folder / "results").rglob("*") if path.is_file()]
    for place, path in enumerate([*results, *study.folder.glob("tiny/*")]):
        age(path, YEARS_AGO + place % 7)
    (study.folder / "questions.jsonl").touch()
    (study.folder / "results" / "datasets" / "questions" / "texts.parquet").touch()
    assert study.planned() == {}


def test_a_source_replaced_by_an_older_file_is_seen(study):
    source = study.folder / "questions.jsonl"
    studies.write_jsonl(source, 60, seed=1)
    age(source)
    planned = study.planned()
    assert {"texts", "samples", "embed", "probe", "attribute", "findings"} <= planned.keys()
    assert "model" not in planned


@pytest.mark.slow
def test_a_checkpoint_replaced_by_an_older_one_is_seen(study):
    shutil.rmtree(study.folder / "tiny")
    checkpoints.bert(study.folder / "tiny", seed=5)
    for path in study.folder.glob("tiny/*"):
        age(path)
    planned = study.planned()
    # The random twin copies the architecture, and its files are read, too.
    assert planned["model"] == 2 and {"embed", "attribute"} <= planned.keys()
    assert not {"texts", "samples", "qrels", "lexical"} & planned.keys()


def test_touching_results_makes_them_no_truer(study):
    study.configure(set_pooling)
    study.run("--touch")
    assert study.planned() == AFTER_POOLING


@pytest.mark.slow
def test_results_of_another_checkout_are_kept(study, tmp_path):
    other = tmp_path / "other"
    studies.copy_workflow(other)
    for name in ("config.yaml", "questions.jsonl"):
        shutil.copyfile(study.folder / name, other / name)
    for name in ("tiny", "results"):
        # Dates in any order, as a copy may leave them.
        shutil.copytree(study.folder / name, other / name, copy_function=shutil.copyfile)
    assert studies.Study(other).planned() == {}


@pytest.mark.slow
def test_a_file_in_another_s_place_is_made_again(study):
    folder = study.folder / "results" / "probes" / "tiny" / "questions" / "layer-00"
    shutil.copyfile(
        study.folder / "results/probes/fresh/questions/layer-00/passages-2.parquet",
        folder / "passages-2.parquet",
    )
    assert study.planned()["probe"] == 1
    (folder / "passages-2.parquet").write_bytes(b"cut off")
    assert study.planned()["probe"] == 1


def test_what_differs_is_named_with_the_first_difference(study):
    study.configure(set_pooling)
    done = study.run("-n", "--quiet", "rules")
    output = done.stdout + done.stderr
    assert "results that are not what the configuration asks for:" in output
    assert (
        "results/embeddings/tiny/questions/passage/shard-000.parquet (and 1 more): "
        'encoding.pooling changed from "mean" to "cls"'
    ) in output
    assert "and what is made from them: " in output and "4 of probe" in output


def test_nothing_is_said_where_nothing_differs():
    assert list(lines([])) == []


@pytest.mark.parametrize("target", ["results/models/tiny/model.json"])
def test_a_target_alone_is_looked_at_with_what_it_is_made_from(study, target):
    study.configure(set_pooling)
    assert study.planned(target) == {}


@pytest.mark.slow
def test_a_target_by_any_of_its_names_is_looked_at(study):
    study.configure(set_permutations)
    for target in (
        "results/studies/small/findings/findings.csv",
        "./results/studies/small/findings/findings.parquet",
    ):
        assert study.planned(target) == {"findings": 1}, target
    assert study.planned("all") == AFTER_PERMUTATIONS


@pytest.mark.slow
def test_what_is_forced_takes_along_what_is_made_from_it(study):
    planned = study.planned("--forcerun", "results/models/fresh/model.json")
    assert planned["model"] == 1 and planned["embed"] == 2 and planned["findings"] == 1
    assert study.planned("--forcerun", "embed")["embed"] == 4


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        slow("studies/small/findings/claims.csv", "claims"),
        ("probes/tiny/questions/layer-00/passages-2.metrics.parquet", "probe"),
        slow("studies/small/figures/questions/similarity.pdf", "figure"),
    ],
)
def test_a_file_that_is_missing_beside_another_is_made_again(study, name, rule):
    (study.folder / "results" / name).unlink()
    assert study.planned()[rule] == 1


def test_probes_of_two_layers_are_not_taken_for_each_other(study):
    folder = study.folder / "results/probes/tiny/questions"
    shutil.copyfile(folder / "layer-02/passages-3.parquet", folder / "layer-00/passages-2.parquet")
    assert study.planned()["probe"] == 1


def test_sources_that_change_places_are_seen(tmp_path):
    one, two = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    one.write_text("one")
    two.write_text("two")
    digests = Digests(tmp_path / "cache.json")
    before = [digests.of(one), digests.of(two)]
    digests.save()
    one.rename(tmp_path / "x")
    two.rename(one)
    (tmp_path / "x").rename(two)
    assert [Digests(tmp_path / "cache.json").of(path) for path in (two, one)] == before


def test_digests_of_files_that_are_gone_are_forgotten(tmp_path):
    one, two = tmp_path / "one|a", tmp_path / "two"
    one.write_text("one")
    two.write_text("two")
    cache = tmp_path / "cache.json"
    digests = Digests(cache)
    before = [digests.of(one), digests.of(two)]
    digests.save()
    assert len(json.loads(cache.read_text())) == 2
    two.unlink()
    one.write_text("one!")
    digests = Digests(cache)
    assert digests.of(one) != before[0] and digests.of(two) == "missing"
    digests.save()
    (seen,) = json.loads(cache.read_text())
    assert seen.startswith(f"{one}|4|")


SCORES = "results/attributions/norm/fresh/questions/query"


def inodes(folder):
    """Path to the file that lies there: another file has another number."""
    return {path: path.stat().st_ino for path in folder.rglob("*.parquet")}


def test_an_added_passage_count_keeps_the_others(study):
    probes = study.folder / "results" / "probes"
    before, contents = inodes(probes), {path: path.read_bytes() for path in inodes(probes)}
    study.configure(lambda config: config["study"]["probe"].update(passages=[2, 3, 4]))
    study.run(
        "--", f"{probes.relative_to(study.folder)}/fresh/questions/layer-00/passages-4.parquet"
    )
    after = inodes(probes)
    assert len(after) == len(before) + 5
    assert {path: after[path] for path in before} == before
    assert {path: path.read_bytes() for path in before} == contents


@pytest.mark.slow
def test_what_is_forced_is_made_again_and_what_lies_beside_it_is_kept(study):
    folder = study.folder / SCORES
    before = inodes(folder)
    study.run("--forcerun", f"{SCORES}/layer-02/shard-000.parquet", "--until", "attribute")
    after = inodes(folder)
    assert {path.parent.name for path in before if after[path] != before[path]} == {"layer-02"}


@pytest.mark.slow
def test_a_job_that_fails_keeps_what_it_has_finished(study):
    shutil.rmtree(study.folder / SCORES)
    command = "src/wellspring/cli/attributions.py"
    line = '    counts = {"texts": len(selected)'
    planted = f'    if layer == 2:\n        raise WellspringError("planted")\n{line}'
    study.rewrite(command, line, planted)
    targets = [f"{SCORES}/layer-{layer:02d}/shard-000.parquet" for layer in (1, 2)]
    done = study.run(*targets, check=False)
    assert done.returncode and "planted" in done.stderr
    finished = inodes(study.folder / SCORES)
    assert [path.parent.name for path in finished] == ["layer-01"]
    study.rewrite(command, planted, line)
    assert study.planned(*targets) == {"attribute": 1}
    study.run(*targets)
    after = inodes(study.folder / SCORES)
    assert len(after) == 2 and finished.items() <= after.items()


@pytest.mark.slow
def test_how_many_layers_a_job_takes_changes_no_result(study):
    study.configure(lambda config: config["study"].update(layers_per_job=1))
    assert study.planned() == {}
    shutil.rmtree(study.folder / SCORES)
    targets = [f"{SCORES}/layer-{layer:02d}/shard-000.parquet" for layer in (1, 2)]
    assert sum(study.planned(*targets).values()) == 2

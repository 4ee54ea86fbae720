"""What no study needs any more is removed, and nothing else."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import yaml

from tests.support.study import Study

OTHER = {
    "encoders": {"first": {"model": "tiny", "pooling": "cls", "passage_length": 32}},
    "retrievers": {"first": {"query": "first", "compared_with": "fresh"}},
    "study": {
        "name": "other",
        "probe": {"retrievers": ["first", "tiny"], "passages": [2], "layers": [0]},
        "attribute": None,
    },
}
"""Shares the dataset, the embeddings of `tiny` and a probe with the small study."""
MADE = [
    f"results/studies/other/{name}"
    for name in ("findings/findings.parquet", "figures/questions/layer-accuracy.png")
]


@pytest.fixture(scope="module")
def two(finished, tmp_path_factory):
    """Two finished studies that share results."""
    folder = tmp_path_factory.mktemp("two") / "study"
    shutil.copytree(finished.folder, folder, symlinks=True)
    study = Study(folder)
    (folder / "studies").mkdir()
    (folder / "studies/other.yaml").write_text(yaml.safe_dump(OTHER))
    # One figure stands for all: they take most of the time, and are files as others are.
    study.run(*MADE, "--configfile", "studies/other.yaml")
    return study


@pytest.fixture
def study(two, tmp_path):
    """A copy that a test may edit."""
    shutil.copytree(two.folder, tmp_path / "study", symlinks=True)
    return Study(tmp_path / "study")


def files(study):
    """Every file below results, and its bytes."""
    paths = (path for path in (study.folder / "results").rglob("*") if path.is_file())
    return {str(path.relative_to(study.folder)): path.read_bytes() for path in paths}


def offered(study, *arguments):
    """The files that a dry run names."""
    output = study.wellspring("clean", "--dry-run", *arguments).stdout
    return {line for line in output.splitlines() if line in files(study)}, output


def test_what_both_studies_need_stays(study):
    before = files(study)
    output = study.wellspring("clean", "--yes").stdout
    assert output.splitlines()[-1] == "Nothing is left over."
    assert "small (config.yaml)" in output and "other (config.yaml, studies/other.yaml)" in output
    assert files(study) == before


def test_a_dropped_study_takes_along_what_it_alone_needs(study):
    mine = ["notes.txt", "embeddings/mine.parquet", "probes/first/README.md", "README.md"]
    for name in mine:
        (study.folder / "results" / name).write_text("mine")
    before = files(study)
    expected, _ = offered(study, "--without", "other")
    output = study.wellspring("clean", "--yes", "--without", "other").stdout
    after = files(study)
    removed = set(before) - set(after)
    assert removed == expected and all(after[path] == before[path] for path in after)
    freed = sum(len(before[path]) for path in removed)
    last = output.splitlines()[-1]
    assert last.startswith(f"Removed {len(removed)} files: ") and last.endswith(" are free again.")
    unit = last.split()[4]
    assert {"kB": 1e3, "MB": 1e6}[unit] * float(last.split()[3]) == pytest.approx(freed, rel=0.06)
    folders = {"/".join(path.split("/")[:3]) for path in removed}
    assert folders == {"results/embeddings/first", "results/probes/first", "results/studies/other"}
    assert {f"results/{name}" for name in mine} <= set(after)
    assert {path for path in before if "/logs/" in path} <= set(after)
    # Folders that are empty go, and the study that stays has all it needs.
    assert not (study.folder / "results/embeddings/first").exists()
    assert study.planned() == {}
    (study.folder / "studies/other.yaml").unlink()
    assert study.wellspring("clean").stdout.endswith("Nothing is left over.\n")


@pytest.mark.slow
def test_a_study_whose_file_is_gone_is_known_by_its_last_run(study):
    (study.folder / "studies/other.yaml").unlink()
    named, output = offered(study)
    assert not named and "other (results/studies/other/configuration.json)" in output
    # Without that, what it may be made from stays with it.
    (study.folder / "results/studies/other/configuration.json").unlink()
    named, output = offered(study)
    assert not named and output.splitlines()[-1] == "Nothing is left over."
    assert (
        "Not known: results/studies/other holds no configuration.json. The results of other stay. "
        "Name its file, or drop it with --without other."
    ) in output
    assert "Kept: 7 files" in output and "that no known study needs, but these may." in output
    named, _ = offered(study, "--without", "other")
    assert any(name.startswith("results/embeddings/first/") for name in named)
    # Its file on the command line makes it known, too.
    (study.folder / "elsewhere.yaml").write_text(yaml.safe_dump(OTHER))
    named, output = offered(study, "elsewhere.yaml")
    assert not named and "Kept" not in output


@pytest.mark.slow
def test_what_a_study_needs_stays_where_its_file_and_its_record_are_damaged(study):
    # Killed after embedding: nothing below its own name but the record.
    results = study.folder / "results"
    own, record = study.folder / "studies/other.yaml", results / "studies/other/configuration.json"
    for folder in (path for path in record.parent.iterdir() if path.is_dir()):
        shutil.rmtree(folder)
    shutil.rmtree(results / "probes/first")
    shards = {name for name in files(study) if name.startswith("results/embeddings/first/")}
    text, recorded = own.read_text(), record.read_text()
    record.write_text(recorded[:-9])
    # Of a file that is whole, it may have run with others on top.
    for damaged, line in (
        (text, "results/studies/other/configuration.json: cannot be read: it is cut off"),
        (f"{text}\n: [", "studies/other.yaml:"),
        (text.replace("passages", "pasages"), "studies/other.yaml: cannot be used: study.probe."),
    ):
        own.write_text(damaged)
        study.wellspring("clean", "--yes")
        _, output = offered(study)
        assert f"Not known: {line}" in output and shards <= set(files(study)), output
    # What ran is known again, what the file asks for is not.
    record.write_text(recorded)
    named, output = offered(study)
    assert not named and "other (results/studies/other/configuration.json)" in output
    record.unlink()
    own.unlink()
    named, output = offered(study)
    assert not named and f"Kept: {len(shards)} files" in output
    shutil.rmtree(record.parent)
    assert offered(study)[0] == shards


def test_an_add_on_goes_on_top_of_the_files_with_which_it_is_a_study(study):
    add_on = {"retrievers": {"again": {"query": "first"}}, "study": {"name": "other"}}
    add_on["study"]["probe"] = {"retrievers": ["tiny", "again"]}
    (study.folder / "studies/published.yaml").write_text(yaml.safe_dump(add_on))
    (study.folder / "results/studies/other/configuration.json").unlink()
    named, output = offered(study)
    assert not named and "Not known" not in output
    assert "other (config.yaml, studies/other.yaml, studies/published.yaml)" in output
    (study.folder / "studies/other.yaml").unlink()
    named, output = offered(study)
    assert not named and "Not known: studies/published.yaml: cannot be used: retrievers" in output


def test_what_an_edited_file_asks_for_no_more_is_offered(study):
    shorter = {**OTHER, "study": {**OTHER["study"]}}
    shorter["study"]["probe"] = {**OTHER["study"]["probe"], "retrievers": ["tiny"]}
    (study.folder / "studies/other.yaml").write_text(yaml.safe_dump(shorter))
    named, output = offered(study)
    kinds = {"/".join(name.split("/")[:3]) for name in named}
    assert kinds == {
        "results/embeddings/first",
        "results/probes/first",
        "results/studies/other",
    }, output
    assert not any("configuration.json" in name for name in named)


def test_foreign_damaged_and_half_made_files_are_one_line_each(study):
    results = study.folder / "results"
    foreign = results / "datasets/mine/texts.parquet"
    foreign.parent.mkdir()
    foreign.write_text("mine")
    cut = results / "probes/first/questions/layer-00/passages-2.parquet"
    cut.write_bytes(cut.read_bytes()[:-9])
    alone = results / "studies/other/findings/findings.parquet"
    alone.unlink()
    part = results / "embeddings/tiny/questions/query/.shard-000.parquet.elsewhere-1-2-0.part"
    fresh = part.with_name(".shard-000.parquet.elsewhere-1-2-1.part")
    for path in (part, fresh):
        path.write_bytes(b"half")
    os.utime(part, (0, 0))
    named, output = offered(study)
    assert named == {str(part.relative_to(study.folder))}
    assert "results/datasets/mine/texts.parquet: cannot be read: it is cut off" in output
    named, output = offered(study, "--without", "other")
    said = "Kept: results/probes/first/questions/layer-00/passages-2.parquet: cannot be read: "
    assert said in output and str(cut.relative_to(study.folder)) not in named
    assert (
        "Kept: results/studies/other/findings/findings.csv: findings.parquet is missing beside it"
    ) in output
    study.wellspring("clean", "--yes")
    assert not part.exists() and fresh.exists() and cut.exists() and foreign.exists()


@pytest.mark.slow
def test_broken_links_and_models_of_an_older_version_stay(study):
    results = study.folder / "results"
    shard = results / "embeddings/first/questions/query/shard-000.parquet"
    shard.unlink()
    shard.symlink_to("cleaned")
    described = results / "models/fresh/model.json"
    said = json.loads(described.read_text())
    del said["digest"]
    described.write_text(json.dumps(said))
    named, output = offered(study, "--without", "other", "--without", "small")
    assert f"Kept: {shard.relative_to(study.folder)}: is a broken link: cleaned" in output
    line = "results/models/fresh/model.json: does not say what lies beside it: digest: Field req"
    assert f"Kept: {line}" in output and named
    assert not any("models/fresh" in name for name in named)
    for wildcards in ((), ("first", "questions", "query", "0")):
        done = study.wellspring("inspect", "embeddings", *wildcards, check=False)
        assert (
            done.returncode == 1 and "shard-000.parquet: is a broken link: cleaned" in done.stderr
        )


def test_nothing_is_removed_unasked_or_beside_a_run(study):
    before = files(study)
    done = study.wellspring("clean", "--without", "other", check=False)
    assert files(study) == before and "Remove " in done.stdout
    locks = study.folder / ".snakemake/locks"
    locks.mkdir(exist_ok=True)
    (locks / "0.output.lock").write_text("x")
    done = study.wellspring("clean", "--without", "other", "--yes", check=False)
    assert done.returncode == 1 and "Snakemake works in this folder" in done.stderr
    assert files(study) == before


def test_what_cannot_be_known_is_refused(study):
    done = study.wellspring("clean", "--without", "unheard", check=False)
    assert done.returncode == 1
    assert "--without unheard: there is no such study, known are other, small" in done.stderr
    wrong = study.folder / "studies/wrong.yaml"
    wrong.write_text("study: {probe: {layers: [9]}}")
    done = study.wellspring("clean", "studies/wrong.yaml", "--yes", check=False)
    assert done.returncode == 1 and "study.probe.layers: 9 is beyond" in done.stderr
    named, output = offered(study)
    line = "Not known: studies/wrong.yaml: cannot be used: study.probe.layers: 9 is beyond"
    assert not named and line in output
    # A study that ran here and whose file is broken now is known by its last run.
    wrong.rename(study.folder / "studies/other.yaml")
    named, output = offered(study)
    assert not named and "other (results/studies/other/configuration.json)" in output


def test_every_result_of_a_study_is_known_and_says_what_it_is(study, monkeypatch):
    from wellspring.artefacts import studies, unneeded
    from wellspring.artefacts.registry import owner

    monkeypatch.chdir(study.folder)
    leftovers = unneeded.leftovers(studies.Survey([], {}, []), ["small", "other"])
    assert not leftovers.doubtful and not leftovers.unknown and not leftovers.withheld
    names = {str(path) for path in leftovers.files}
    kept = {path for path in files(study) if not path.startswith("results/logs/")} - names
    assert kept == {"results/.digests.json"}
    assert {"results/models/fresh/model.safetensors", "results/models/fresh/model.json"} <= names
    # What says what the others are is removed last.
    order = [str(path) for path in leftovers.files]
    assert order.index("results/models/fresh/model.safetensors") < order.index(
        "results/models/fresh/model.json"
    )
    assert all(
        owner(path) or path.name == studies.RECORD or "models" in path.parts
        for path in leftovers.files
    )

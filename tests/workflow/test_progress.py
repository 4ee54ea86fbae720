"""What a person sees of a run: Snakemake itself, with the profile that it picks up by itself."""

from __future__ import annotations

import os
import re
import shutil
import sys

import pytest

from tests.support import study as studies
from tests.support.paths import ROOT
from tests.support.terminals import left_standing, on_a_terminal, without_codes

TARGET = "results/datasets/questions/qrels.parquet"


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    study = studies.make(tmp_path_factory.mktemp("followed") / "study")
    shutil.copytree(ROOT / "profiles" / "default", study.folder / "profiles" / "default")
    return study


def full_log(study) -> str:
    """Snakemake's own log of the last run."""
    return max((study.folder / ".snakemake" / "log").iterdir()).read_text()


def on_terminal(study, *arguments: str) -> tuple[int, str]:
    environment = {**os.environ, "PYTHONPATH": str(study.folder / "src"), "TERM": "xterm"}
    command = (sys.executable, "-m", "snakemake", "--cores", "2", *arguments)
    return on_a_terminal(*command, folder=study.folder, environment=environment)


@pytest.mark.slow
def test_a_pipe_gets_a_plain_line_a_job(followed):
    done = followed.run(TARGET, "--forceall", fork=False)
    assert "\x1b" not in done.stderr and done.stdout == ""
    for line in (
        "Job stats:",
        r"\[1/2\] texts questions · \d s",
        r"\[2/2\] qrels questions · \d s",
        r"2 of 2 steps \(100%\) done",
        r"2 of 2 jobs done in \d+ s\.",
    ):
        assert re.search(rf"^{line}$", done.stderr, re.M), done.stderr
    assert "rule texts:" not in done.stderr and "rule texts:" in full_log(followed)
    # Once the jobs have run, it is known what they take.
    again = followed.run(TARGET, "--forceall").stderr
    assert re.search("^This takes about . s on 2 cores, by what jobs like these took", again, re.M)


def test_a_terminal_gets_one_live_line_with_messages_above_it(followed):
    page = followed.folder / "results" / "studies" / "small" / "index.html"
    (page.parent / "figures").mkdir(parents=True)
    page.write_text("answer")
    status, written = on_terminal(followed, TARGET, "--forceall")
    said = without_codes(written)
    assert status == 0, said
    assert "0 of 2 jobs · " in said and "\x1b[2K" in written
    assert re.search(r"0 of 2 jobs .*texts questions", said)
    assert "[1/2]" not in said and "rule texts:" not in said
    *_, last = left_standing(written)
    assert re.match(r"2 of 2 jobs done in \d+ s\. The answer: results/studies/small/index", last)
    assert "rule texts:" in full_log(followed)


@pytest.mark.slow
def test_a_failure_is_told_in_full_on_a_terminal(followed):
    path = followed.folder / "questions.jsonl"
    whole = path.read_text()
    lines = whole.splitlines()
    lines[4] = lines[4][:-3]
    path.write_text("\n".join(lines))
    try:
        status, written = on_terminal(followed, TARGET)
    finally:
        path.write_text(whole)
    lines = left_standing(written)
    said = "\n".join(lines)
    assert status == 1
    for line in (
        r"wellspring: questions\.jsonl:5: .*",
        r"Failed: texts questions",
        r" +error: questions\.jsonl:5: .*",
        r" +log: results/logs/texts/questions\.log",
    ):
        assert re.search(rf"^{line}$", said, re.M), said
    assert lines[-1].startswith("Failed: texts questions. 0 of 2 jobs done in "), said
    assert "--spec" not in said and "CalledProcessError" not in said


@pytest.mark.slow
def test_other_modes_are_as_without_the_plugin(followed):
    dry = followed.run("-n", "--forceall", TARGET)
    assert "Job stats:" in dry.stdout and "rule texts:" in dry.stdout
    assert studies.jobs_by_rule(dry.stdout) == {"texts": 1, "qrels": 1}
    followed.run(TARGET)
    assert "Nothing to be done" in followed.run(TARGET).stderr
    assert followed.run("--dag", "dot", TARGET).stdout.startswith("digraph snakemake_dag {")
    followed.run("--unlock")
    quiet = followed.run("--quiet", "all", "--forceall", "--", TARGET)
    assert "texts" not in quiet.stdout + quiet.stderr
    verbose = followed.run("--verbose", "--forceall", "--", TARGET)
    assert "rule texts:" in verbose.stderr and "[1/2]" not in verbose.stderr
    none = followed.run("--workflow-profile", "none", "--forceall", "--", TARGET)
    assert "rule texts:" in none.stderr and "[1/2]" not in none.stderr
    slurm = followed.run("--profile", "slurm", "-n", "--forceall", "--", TARGET)
    assert "and workflow specific profile" in slurm.stderr and "Job stats:" in slurm.stdout

"""A whole small study in a folder of its own: real workflow, tiny checkpoints, made-up text."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import yaml
from filelock import FileLock

from tests.support import checkpoints, forks
from tests.support.paths import ROOT

TOPICS = """stone river cloud forest engine violin
market harbour winter bridge candle desert""".split()

SINGLE = ("--max-threads", "1")
"""A thread for each job: two beside other tests wait for each other far longer than they work."""


def write_jsonl(path: Path, queries: int, seed: int = 0) -> None:
    """Queries about one of twelve topics; a passage repeats its query's rare word."""
    rng = np.random.default_rng(seed)
    with path.open("w") as file:
        for number in range(queries):
            topic = TOPICS[number % len(TOPICS)]
            filler = " ".join(rng.choice(TOPICS, 6))
            neg = [f"{topic} {' '.join(rng.choice(TOPICS, 5))} no{number}x{k}" for k in range(4)]
            row = {
                "query": f"what is {topic} {number}",
                "pos": [f"{topic} {number} {filler}"],
                "neg": neg,
            }
            file.write(json.dumps(row) + "\n")


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that is made once for all workers."""
    base = factory.getbasetemp()
    # A worker's folder lies in the folder of the run.
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(f"{folder}.lock"):
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            (folder / "done").touch()
    return folder


def docstrings(entries: int) -> dict:
    """A dataset of real text, from which models may learn: so many docstrings of Python."""
    negatives = {"count": 4, "mined": "bm25"}
    own = {"format": "pydocs", "entries": entries, "negatives": negatives}
    return {**own, "splits": {"redrawn": False}}


@dataclass
class Study:
    """A copy of the workflow and the package that a test may edit."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    """Beside those of the environment."""

    def run(
        self, *arguments: str, check: bool = True, fork: bool = True
    ) -> subprocess.CompletedProcess:
        """Call Snakemake on the copy.

        fork: Snakemake and its jobs are forks of a process that has their libraries loaded, in
        place of processes that load them.
        """
        environment = self.environment()
        # Results lie in the copy: nothing of this checkout is read or written.
        single = () if "--profile" in arguments else SINGLE
        command = ("snakemake", "--cores", "2", *single, *arguments)
        if fork:
            done = forks.run(
                *command, folder=self.folder, environment=environment, **self.variables
            )
        else:
            done = subprocess.run(
                [sys.executable, "-m", *command],
                cwd=self.folder,
                env=environment,
                capture_output=True,
                text=True,
            )
        if check and done.returncode:
            raise AssertionError(done.stdout[-3000:] + done.stderr[-6000:])
        return done

    def environment(self) -> dict[str, str]:
        """Variables under which commands run the copy's package."""
        own = {"PYTHONPATH": str(self.folder / "src"), "OMP_NUM_THREADS": "1"}
        return {**os.environ, **own, **self.variables}

    def wellspring(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        """Call a command of the copy's package in the copy."""
        done = forks.run(
            "wellspring", *arguments, folder=self.folder, environment=self.environment()
        )
        if check and done.returncode:
            raise AssertionError(done.stdout[-3000:] + done.stderr[-3000:])
        return done

    def planned(self, *arguments: str) -> dict[str, int]:
        """Rule to number of jobs that a dry run plans, the target rule aside."""
        done = self.run(*arguments, "-n", "--quiet", "rules")
        return jobs_by_rule(done.stdout + done.stderr)

    def configure(self, edit) -> None:
        """Edit config.yaml as a mapping."""
        path = self.folder / "config.yaml"
        config = yaml.safe_load(path.read_text())
        edit(config)
        path.write_text(yaml.safe_dump(config))

    def rewrite(self, name: str, old: str, new: str) -> None:
        """Replace text in a file; the text must be there."""
        path = self.folder / name
        content = path.read_text()
        assert old in content, f"{old!r} is not in {name}"
        path.write_text(content.replace(old, new, 1))


def jobs_by_rule(output: str) -> dict[str, int]:
    """The table of jobs that Snakemake prints, once or twice.

    `probe_2` makes the same files as `probe`, of other values.
    """
    counts = dict(re.findall(r"^([a-z0-9_]+)\s+(\d+)$", output, re.MULTILINE))
    jobs: Counter[str] = Counter()
    for rule, count in counts.items():
        jobs[re.sub(r"_\d+$", "", rule)] += int(count)
    return {rule: count for rule, count in jobs.items() if rule not in {"all", "total"}}


def copy_workflow(folder: Path) -> None:
    """The workflow and the package, without any study."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("src", "workflow", "envs", "slurm"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copyfile(ROOT / "Snakefile", folder / "Snakefile")


def make(folder: Path, queries: int = 60) -> Study:
    """A study of two retrievers on tiny checkpoints, three layers, two passage counts, and the
    neurons of both blocks."""
    copy_workflow(folder)
    checkpoints.bert(folder / "tiny")
    write_jsonl(folder / "questions.jsonl", queries)
    config = {
        "models": {
            "tiny": {"source": "path:tiny", "architecture": "bert", "layers": 2},
            "fresh": {"source": "random:tiny", "architecture": "bert", "layers": 2},
        },
        "encoders": {
            "tiny": {"model": "tiny", "pooling": "mean", "passage_length": 32},
            "fresh": {"model": "fresh", "pooling": "mean", "passage_length": 32},
        },
        "retrievers": {
            "tiny": {"query": "tiny", "compared_with": "fresh"},
            "fresh": {"query": "fresh"},
        },
        "datasets": {
            "questions": {
                "format": "jsonl",
                "source": "questions.jsonl",
                "splits": {"test": 0.3, "validation": 0.2},
            }
        },
        "attributions": {"norm": {"texts": 8}},
        "study": {
            "name": "small",
            "probe": {
                "retrievers": ["tiny", "fresh"],
                "datasets": ["questions"],
                "passages": [2, 3],
                "layers": [0, 2],
                "seeds": [0, 1],
                "optimiser": {"epochs": 5},
            },
            "attribute": {
                "attributions": ["norm"],
                "retrievers": ["tiny", "fresh"],
                "datasets": ["questions"],
                "layers": [1, 2],
                "ablate": {"neurons": [4], "draws": 2},
            },
            "findings": {"permutations": 200},
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return Study(folder)

"""How long planning and starting take: a dry run of thousands of jobs, and one probe job.

`python -m benchmarks.workflow [--whole]`; with --whole also the default study from nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from benchmarks import measure, studies
from wellspring import fingerprint, shards
from wellspring.artefacts import Artefact, Plan
from wellspring.artefacts.datasets import Lexical
from wellspring.artefacts.findings import probes_of
from wellspring.artefacts.registry import beside

ROOT = Path(__file__).parents[1]


def snakemake(folder: Path, *arguments: str) -> tuple[float, str]:
    """Wall seconds and output of a call of Snakemake in a folder of its own."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile")]
    done = subprocess.run(
        [*command, "--directory", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return time.perf_counter() - started, done.stdout + done.stderr


def wide_study(folder: Path, retrievers: int = 20, passages: Sequence[int] = (2, 3, 4, 5)) -> Path:
    """An overlay of so many retrievers × 9 datasets × 7 layers × these passage counts: about 5,000
    probe files in 1,880 jobs, unless told."""
    names = [f"minilm-{number}" for number in range(retrievers)]
    overlay = {
        "encoders": {
            name: {"model": "minilm", "pooling": "mean", "passage_length": 128 + number}
            for number, name in enumerate(names)
        },
        "retrievers": {name: {"query": name} for name in names},
        "datasets": {
            f"pydocs-{number}": {"format": "pydocs", "seed": number, "negatives": {"mined": "bm25"}}
            for number in range(9)
        },
        "study": {
            "name": "wide",
            "probe": {
                "retrievers": names,
                "datasets": [f"pydocs-{n}" for n in range(9)],
                "passages": list(passages),
            },
        },
    }
    path = folder / "wide.yaml"
    path.write_text(yaml.safe_dump(overlay))
    return path


def main(whole: bool = False, repeats: int = 3) -> list[dict[str, object]]:
    """All rows of this benchmark."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        overlay = str(wide_study(folder))
        arguments = ("-n", "--quiet", "rules", "--configfile", overlay)
        planned = snakemake(folder, *arguments)[1]
        total = int(next(line.split()[1] for line in planned.splitlines() if line[:5] == "total"))
        seconds = measure.seconds(lambda: snakemake(folder, *arguments), repeats)
        rows.append(measure.row("workflow", f"dry run of {total:,} jobs", seconds, "s", "≤ 20"))
        rows.append(checking(folder, Path(overlay), repeats))
    with tempfile.TemporaryDirectory() as name:
        rows.append(standing(Path(name), repeats))
    if whole:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            seconds, _ = snakemake(folder, "--cores", "2")
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
            rows.append(
                measure.row("workflow", "the default study, 2 cores", seconds, "s", "≤ 480")
            )
            rows.append(measure.row("workflow", "its largest process", peak, "MB", "≤ 4096"))
            rows.append(beyond(folder))
            rows.extend(_start_up(folder))
    return rows


def beyond(folder: Path) -> dict[str, object]:
    """Seconds of a job, as Snakemake counts them, beyond those that its step's log names."""
    taken: dict[str, float] = {}
    for path in (folder / ".snakemake" / "metadata").rglob("*"):
        if path.is_file():
            note = json.loads(path.read_text())
            # The files of a job share its log.
            taken |= dict.fromkeys(note["log"], note["endtime"] - note["starttime"])
    own = [json.loads((folder / log).read_text().splitlines()[-1])["seconds"] for log in taken]
    title = f"a job beyond its step's own seconds, mean of {len(own)}"
    return measure.row("workflow", title, (sum(taken.values()) - sum(own)) / len(own), "s")


def checking(folder: Path, overlay: Path, repeats: int, jobs: int = 1000) -> dict[str, object]:
    """Comparing what is there with what is asked for: the five files of each of some probe jobs."""
    config = studies.read([overlay])
    asked = probes_of(config)[:jobs]

    def check() -> None:
        assert not [each for each in Plan(config).stale(asked) if each.artefact in asked]

    with chdir(folder):
        _finish(Plan(config), asked)
        seconds = measure.seconds(check, repeats)
    return measure.row("workflow", f"checking {5 * len(asked):,} files", seconds, "s", "≤ 10")


def standing(folder: Path, repeats: int) -> dict[str, object]:
    """`wellspring status` of about 5,000 jobs, start to exit: the probes have run, with the five
    files and the log of each, and so has what they are made from; the rest has not."""
    overlay = wide_study(folder, retrievers=55, passages=[2])
    config = studies.read([overlay])
    command = [sys.executable, "-m", "wellspring", "status", str(overlay), "--json"]
    command += ["--config", str(ROOT / "config.yaml")]

    def ask() -> dict[str, Any]:
        return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)

    with chdir(folder):
        asked = probes_of(config)
        plan = Plan(config)
        # What is left reads these, too: new ones would be read by every probe.
        shared = [*plan.closure(asked), *map(Lexical, config.probed_datasets())]
        _finish(plan, shared)
        seconds = measure.seconds(ask, repeats)
        said = ask()
    (done,) = (step["done"] for step in said["steps"] if step["rule"] == "probe")
    assert done == len(asked)
    counts = ("done", "stale", "missing", "spare")
    results = sum(step[count] for step in said["steps"] for count in counts)
    of_all = f"status of {results:,} results, {done:,} of them there"
    return measure.row("workflow", of_all, seconds, "s", "≤ 10")


def _finish(plan: Plan, asked: Sequence[Artefact]) -> None:
    """Write small files in the places of artefacts and of those beside them, and logs."""
    table = pl.DataFrame({"probe": ["concat"]}).to_arrow()
    for artefact in asked:
        identity = {"step": artefact.step, **artefact.told(plan.spec(artefact))}
        science = tuple(artefact.science(plan.spec(artefact)))
        circumstances = {"code": plan.code(artefact), "modules": fingerprint.modules(science)}
        made = shards.Provenance(identity, circumstances, {}, plan.key(artefact))
        path = Path(artefact.main_file)
        if path.suffix == ".json":
            said = {"identity": identity, "circumstances": circumstances, "key": made.key}
            shards.write_json(path, said)
        else:
            for each in beside(artefact):
                shards.write(Path(each.main_file), table, made)
        log = Path("results", "logs", artefact.rule, *path.with_suffix(".log").parts[2:])
        shards.write_text(log, '{"seconds": 5.4, "peak_memory_mb": 500.0, "device": "cpu"}\n')


def _start_up(folder: Path) -> list[dict[str, object]]:
    """One probe job that makes one of its files, start to exit, beyond its arithmetic."""
    log = folder / "results/logs/probe/minilm/pydocs/layer-06/passages-02-05.log"
    target = "results/probes/minilm/pydocs/layer-06/passages-5.parquet"
    _, output = snakemake(folder, "-n", "-p", "--forcerun", target, "--", target)
    command = output[output.index("wellspring probe") :].splitlines()[0]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def job() -> None:
        # The job keeps what is there: the other count.
        (folder / target).unlink()
        subprocess.run(command, shell=True, cwd=folder, env=environment, check=True)

    seconds = measure.seconds(job, 3)
    spent = json.loads(log.read_text().splitlines()[-1])
    return [
        measure.row("workflow", "one probe job, start to exit", seconds, "s"),
        measure.row(
            "workflow",
            "of which start-up, input and output",
            seconds - spent["fitting"],
            "s",
            "≤ 3",
        ),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--whole", action="store_true", help="run the default study too")
    measure.show(main(parser.parse_args().whole))

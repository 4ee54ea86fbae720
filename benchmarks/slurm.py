"""What a cluster costs: a job beyond its step, and the default study under the Slurm profile.

`python -m benchmarks.slurm`. It starts a Slurm of its own here, which declares four CPUs
whatever the machine has. It needs root and Slurm's programs (`make slurm-lab`).
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from benchmarks import measure
from tests.support import slurm
from tests.support import study as studies
from tests.support.paths import ROOT

CPUS = 4
CORES = 2
TARGETS = (
    "results/attributions/norm/tiny/questions/query/layer-02/shard-000.parquet",
    "results/probes/tiny/questions/layer-00/passages-2.parquet",
)
"""Of the small study of the tests: nine jobs, at most two side by side."""


def main() -> list[dict[str, object]]:
    """All rows of this benchmark."""
    if reason := slurm.missing():
        print(f"nothing is measured: {reason}")
        return []
    rows = [beyond()]
    with tempfile.TemporaryDirectory() as name:
        local, sent = (_default(Path(name, part)) for part in ("local", "sent"))
        command = [sys.executable, "-m", "snakemake", "--cores", str(CORES)]
        alone = _wall(lambda: subprocess.run(command, cwd=local.folder, check=True))
        with slurm.cluster(cpus=CPUS) as cluster:
            slurm.adapt(sent)
            # The profile's own pace.
            run = slurm.start(sent, cluster, pace=10)
            together = _wall(lambda: run.end(3600))
            assert "(100%) done" in run.said(), run.said()
            jobs = len(cluster.submitted())
        same = slurm.contents(local) == slurm.contents(sent)
    return [
        *rows,
        measure.row("slurm", f"default study, {CORES} cores, no cluster", alone, "s"),
        measure.row("slurm", f"the same under the profile, {CPUS} declared CPUs", together, "s"),
        measure.row("slurm", "ratio of the two", together / alone, "×", "≤ 1.5"),
        measure.row("slurm", "jobs submitted", jobs, ""),
        measure.row("slurm", "tables equal those of the local run", float(same), "", "1"),
    ]


def beyond() -> dict[str, object]:
    """Seconds of a job, as Slurm counts them, beyond those that its step's log names."""
    with tempfile.TemporaryDirectory() as name, slurm.cluster(cpus=CPUS) as cluster:
        study = studies.make(Path(name, "study"))
        slurm.adapt(study)
        run = slurm.start(study, cluster, *TARGETS)
        assert run.end() == 0, run.said()
        jobs = cluster.ask("scontrol", "--oneliner", "show", "job").splitlines()
        logs = (study.folder / "results" / "logs").rglob("*.log")
        own = [json.loads(log.read_text().splitlines()[-1])["seconds"] for log in logs]
    times = (dict(re.findall(r"(\w+)=(\S*)", job)) for job in jobs)
    elapsed = [
        (
            datetime.fromisoformat(fields["EndTime"]) - datetime.fromisoformat(fields["StartTime"])
        ).total_seconds()
        for fields in times
    ]
    assert len(elapsed) == len(own)
    title = f"a job beyond its step's own seconds, mean of {len(own)}"
    return measure.row("slurm", title, (sum(elapsed) - sum(own)) / len(own), "s")


def _default(folder: Path) -> studies.Study:
    """The default study in a folder of its own."""
    studies.copy_workflow(folder)
    shutil.copyfile(ROOT / "config.yaml", folder / "config.yaml")
    return studies.Study(folder)


def _wall(call: Callable[[], object]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


if __name__ == "__main__":
    measure.show(main())

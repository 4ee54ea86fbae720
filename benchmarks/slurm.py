"""What a cluster costs: the default study on one machine and under the Slurm profile.

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
from datetime import datetime
from pathlib import Path

from benchmarks import measure
from tests.support import slurm
from tests.support import study as studies
from tests.support.paths import ROOT

CPUS = 4
CORES = 2


def main() -> list[dict[str, object]]:
    """All rows of this benchmark."""
    if reason := slurm.missing():
        print(f"nothing is measured: {reason}")
        return []
    with tempfile.TemporaryDirectory() as name:
        local, sent = (_default(Path(name, part)) for part in ("local", "sent"))
        command = [sys.executable, "-m", "snakemake", "--cores", str(CORES)]
        alone = _wall(lambda: subprocess.run(command, cwd=local.folder, check=True))
        steps = _steps(local)
        with slurm.cluster(cpus=CPUS) as cluster:
            slurm.adapt(sent)
            # The profile's own pace.
            run = slurm.start(sent, cluster, pace=10)
            together = _wall(lambda: run.end(3600))
            assert "(100%) done" in run.said(), run.said()
            elapsed, submitted = _elapsed(cluster), set(cluster.submitted())
        same = slurm.contents(local) == slurm.contents(sent)
    own = sum(seconds for log, seconds in _steps(sent).items() if log.parts[0] in submitted)
    more = (sum(elapsed) - own) / len(elapsed)
    beyond = (CORES * alone - sum(steps.values())) / len(steps)
    return [
        measure.row("slurm", f"default study, {CORES} cores, no cluster", alone, "s"),
        measure.row("slurm", f"the same under the profile, {CPUS} declared CPUs", together, "s"),
        measure.row("slurm", "ratio of the two", together / alone, "×", "≤ 1.5"),
        measure.row("slurm", "jobs submitted", len(elapsed), ""),
        measure.row("slurm", "a job beyond its step's own seconds", more, "s"),
        measure.row("slurm", "the same without a cluster, idle cores included", beyond, "s"),
        measure.row("slurm", "tables equal those of the local run", float(same), "", "1"),
    ]


def _default(folder: Path) -> studies.Study:
    """The default study in a folder of its own."""
    studies.copy_workflow(folder)
    shutil.copyfile(ROOT / "config.yaml", folder / "config.yaml")
    return studies.Study(folder)


def _wall(call) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


def _steps(study: studies.Study) -> dict[Path, float]:
    """The log of each step, below the folder of logs, to the step's own seconds."""
    logs = study.folder / "results" / "logs"
    return {
        path.relative_to(logs): json.loads(path.read_text().splitlines()[-1])["seconds"]
        for path in logs.rglob("*.log")
    }


def _elapsed(cluster: slurm.Cluster) -> list[float]:
    """Seconds of every job, as Slurm counts them."""
    seconds = []
    for job in cluster.ask("scontrol", "--oneliner", "show", "job").splitlines():
        fields = dict(re.findall(r"(\w+)=(\S*)", job))
        start, end = (datetime.fromisoformat(fields[key]) for key in ("StartTime", "EndTime"))
        seconds.append((end - start).total_seconds())
    return seconds


if __name__ == "__main__":
    measure.show(main())

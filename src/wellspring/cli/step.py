"""What every step's command shares: its options, its log, its cost."""

from __future__ import annotations

import io
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
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
        "--spec",
        required=True,
        help="The step's slice of the configuration (JSON), as `snakemake -n -p` prints it.",
    )
    return spec(logged(command))


def batched(command: Callable) -> Callable:
    """--threads and --tokens of a step that runs a model."""
    for option in (
        click.option(
            "--tokens",
            type=click.IntRange(min=0),
            default=0,
            help="Tokens a forward pass (of attributions × points); 0: by device.",
        ),
        click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True),
    ):
        command = option(command)
    return command


class _File(io.FileIO):
    """A log's bytes: what the disk refuses is the user's to mend, whoever writes."""

    def write(self, data: Any) -> int | None:
        with _writing(self.name):
            return super().write(data)

    def close(self) -> None:
        with _writing(self.name):
            super().close()


@contextmanager
def _writing(log: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WellspringError(f"{log}: cannot be written: {error.strerror or error}") from error


def _open(log: Path) -> TextIO:
    """The log, empty; its writes, flush and close raise WellspringError where they fail."""
    with _writing(log):
        log.parent.mkdir(parents=True, exist_ok=True)
        return io.TextIOWrapper(io.BufferedWriter(_File(log, "w")), encoding="utf-8")


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

    def tell(self, message: str) -> None:
        """Write one line to standard error, too: something for the user to do."""
        self.say(message)
        if self.stream is not sys.stderr:
            click.echo(f"wellspring: {message}", err=True)

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
def step(
    name: str | None, variant: str | None, code: str | None, log: Path | None
) -> Iterator[Log]:
    """Open the log, check the code, and close with one line of cost or of the error.

    A step that makes no numbers has no fingerprint: its name is None, and nothing is checked.
    The error goes to the log and, through `main`, to standard error; the log of a bug has its
    traceback, too, and ends with the line of the error all the same. A log that cannot be written
    is an error of its own where there is no other.
    """
    started = time.monotonic()
    stream = sys.stderr if log is None else _open(log)
    try:
        if name is not None:
            fingerprint.check(name, variant, code)
        messages = Log(stream)
        yield messages
        messages.say(progress.cost(started, messages.device, **messages.cost))
    except BaseException as error:
        # The log may fail too, and must not hide what went wrong first.
        if log is not None:
            with suppress(WellspringError):
                _tell_error(error, stream)
            with suppress(WellspringError):
                stream.close()
        raise
    if log is not None:
        stream.close()


def _tell_error(error: BaseException, stream: TextIO) -> None:
    """What went wrong: a user's error in one line, a bug with its traceback above that line."""
    said = str(error)
    if not isinstance(error, WellspringError):
        if isinstance(error, Exception):
            click.echo("".join(traceback.format_exception(error)).rstrip(), file=stream)
        lines = said.splitlines() or [""]
        said = f"{type(error).__name__}: {lines[0]}".removesuffix(": ")
    click.echo(f"error: {said}", file=stream)


def circumstances(
    step_name: str, variant: str | None, *packages: str, **more: Any
) -> dict[str, Any]:
    """Versions and code under which an artefact is made."""
    from wellspring.shards import versions

    return {"code": fingerprint.code(step_name, variant), "versions": versions(*packages), **more}

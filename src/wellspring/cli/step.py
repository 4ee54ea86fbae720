"""What every step's command shares: its options, its log, its cost."""

from __future__ import annotations

import functools
import io
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from wellspring import atomic, fingerprint, progress
from wellspring.artefacts.base import RESULTS
from wellspring.errors import WellspringError

if TYPE_CHECKING:
    from wellspring.artefacts import Artefact
    from wellspring.shards import Provenance

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)


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


def gathering(command: Callable) -> Callable:
    """--results of a step that reads many files, which it finds by their names."""
    return click.option(
        "--results", type=FOLDER, default=Path(RESULTS), show_default=True, help="All results."
    )(command)


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
        raise WellspringError(f"{log}: cannot be written: {atomic.refusal(error)}") from error


def _open(log: Path) -> TextIO:
    """The log, empty; its writes, flush and close raise WellspringError where they fail."""
    with _writing(log):
        log.parent.mkdir(parents=True, exist_ok=True)
        return io.TextIOWrapper(io.BufferedWriter(_File(log, "w")), encoding="utf-8")


class Job:
    """A step at work: its slice, where its messages go, and what its files will say of it."""

    def __init__(
        self, kind: type[Artefact], spec: str, code: str | None, key: str | None, stream: TextIO
    ) -> None:
        self.started = time.monotonic()
        self.kind, self.key, self.stream = kind, key, stream
        self.spec: Any = kind.Slice.read(spec)
        self.science = tuple(kind.science(self.spec))
        fingerprint.check(kind.rule, self.science, code)
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

    def alone(self, path: Path) -> AbstractContextManager[None]:
        """Be the only process that makes `path` and the files beside it."""
        busy = f"another process makes {path}: waiting until it ends"
        return atomic.alone(path, functools.partial(self.tell, busy))

    def track(self, total: int, unit: str):
        """Progress over `total` units of work."""
        return progress.track(total, unit, self.stream)

    def provenance(
        self,
        *packages: str,
        facts: Mapping[str, Any] | None = None,
        circumstances: Mapping[str, Any] | None = None,
        **identity: Any,
    ) -> Provenance:
        """What a file of the job says of how it was made.

        packages: those whose versions it names. identity: what it stands for, beside step and
        slice.
        """
        from wellspring.shards import Provenance, versions

        under = {"code": fingerprint.code(self.science), "versions": versions(*packages)}
        return Provenance(
            {"step": self.kind.step, **self.kind.told(self.spec), **identity},
            {**under, **(circumstances or {})},
            facts or {},
            self.key,
        )


def step(kind: type[Artefact], *paths: str) -> Callable[[Callable], click.Command]:
    """Make a function the command of the step that makes a kind of files.

    paths: the command's arguments, files in the order of the command line; a name that ends with a
    slash is a folder. The function takes the job, then these, then its own options. The log gets
    its messages and ends with one line of cost or of the error.
    """

    def decorate(function: Callable) -> click.Command:
        @functools.wraps(function)
        def run(spec: str, code: str | None, key: str | None, log: Path | None, **given) -> None:
            with logged(log) as stream:
                job = Job(kind, spec, code, key, stream)
                function(job, **given)
                job.say(progress.cost(job.started, job.device, **job.cost))

        command: Callable = run
        for option in (
            click.option("--log", type=FILE, help="Write messages here, not to the terminal."),
            click.option("--key", help="What stands for all that the result depends on."),
            click.option("--code", help="Refuse to run when the code is no longer this."),
            click.option(
                "--spec",
                required=True,
                help="The step's slice of the configuration (JSON), as snakemake -n -p prints it.",
            ),
        ):
            command = option(command)
        for name in reversed(paths):
            path = FOLDER if name.endswith("/") else FILE
            command = click.argument(name.removesuffix("/"), type=path)(command)
        return click.command()(command)

    return decorate


@contextmanager
def logged(log: Path | None) -> Iterator[TextIO]:
    """Open the log, which ends with one line where an error ends the step.

    The error goes to the log and, through `main`, to standard error; the log of a bug has its
    traceback, too, and ends with the line of the error all the same. A log that cannot be written
    is an error of its own where there is no other.
    """
    stream = sys.stderr if log is None else _open(log)
    try:
        yield stream
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

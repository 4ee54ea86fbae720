"""What every step's command shares: its options, its log, its cost."""

from __future__ import annotations

import functools
import io
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from wellspring import atomic, fingerprint, progress
from wellspring.artefacts.base import RESULTS
from wellspring.artefacts.batches import kept
from wellspring.errors import WellspringError
from wellspring.plurals import counted

if TYPE_CHECKING:
    from wellspring.artefacts import Artefact
    from wellspring.config import Config
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


def configured(command: Callable) -> Callable:
    """OVERLAYS and --config of a command that reads configuration files as Snakemake does."""
    command = click.option(
        "--config",
        "own",
        type=FILE,
        default="config.yaml",
        show_default=True,
        help="The workflow's own file, which the overlays add to.",
    )(command)
    return click.argument("overlays", type=FILE, nargs=-1)(command)


def usable(files: Sequence[Path]) -> Config:
    """The configuration of files, after all checks that come before a run.

    Raises ConfigError where it cannot be used.
    """
    from wellspring import config as configuration
    from wellspring import specs

    study = configuration.load(files)
    configuration.check_paths(study)
    configuration.check_checkpoints(study, specs.fetched)
    return study


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


@dataclass(frozen=True)
class Part:
    """One of several files that a job makes."""

    value: int
    """Of the field that they differ in."""
    path: Path
    key: str | None


class Job:
    """A step at work: its slice, where its messages go, and what its files will say of it."""

    def __init__(
        self,
        kind: type[Artefact],
        spec: str,
        code: str | None,
        keys: Sequence[str],
        values: Sequence[int],
        stream: TextIO,
    ) -> None:
        """values: of the field that a kind is batched by, with a key each or none."""
        self.started = time.monotonic()
        self.kind, self.keys, self.values, self.stream = kind, keys, values, stream
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

    def remaining(self, paths: Sequence[Path]) -> list[Part]:
        """The files that a job has to make: those are kept that have their key already.

        paths: one for each value of the field that the kind is batched by.
        """
        option = self.kind.batched_by
        keys = self.keys or [None] * len(paths)
        if not len(paths) == len(self.values) == len(keys):
            raise click.UsageError(
                f"{counted(len(paths), 'file')}, {len(self.values)} --{option} and "
                f"{len(self.keys)} --key: give one --{option} a file, and one --key a file or none"
            )
        parts = [Part(*part) for part in zip(self.values, paths, keys, strict=True)]
        remaining = [p for p in parts if p.key is None or not kept(self.kind, p.path, p.key)]
        for part in parts:
            if part not in remaining:
                self.say(f"{option} {part.value}: kept, it is what is asked for")
        return remaining

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
        part: Part | None = None,
        facts: Mapping[str, Any] | None = None,
        circumstances: Mapping[str, Any] | None = None,
        **identity: Any,
    ) -> Provenance:
        """What a file of the job says of how it was made.

        packages: those whose versions it names. part: which of several files it is. identity: what
        it stands for, beside step and slice.
        """
        from wellspring.shards import Provenance, versions

        under = {
            "code": fingerprint.code(self.science),
            "modules": fingerprint.modules(self.science),
            "versions": versions(*packages),
        }
        own: dict[str, Any] = {"step": self.kind.step, **self.kind.told(self.spec)}
        if part is not None and self.kind.batched_by:
            own[self.kind.batched_by] = part.value
        key = part.key if part else next(iter(self.keys), None)
        return Provenance(own | identity, {**under, **(circumstances or {})}, facts or {}, key)


def step(kind: type[Artefact], *paths: str) -> Callable[[Callable], click.Command]:
    """Make a function the command of the step that makes a kind of files.

    paths: the command's arguments, files in the order of the command line; a name that ends with a
    slash is a folder, one that ends with dots several files. The function takes the job, then
    these, then its own options. The log gets its messages and ends with one line of cost or of the
    error.
    """

    def decorate(function: Callable) -> click.Command:
        @functools.wraps(function)
        def run(
            spec: str, code: str | None, key: tuple[str, ...], log: Path | None, **given
        ) -> None:
            values = given.pop(kind.batched_by) if kind.batched_by else ()
            with logged(log) as stream:
                job = Job(kind, spec, code, key, values, stream)
                function(job, **given)
                job.say(progress.cost(job.started, job.device, **job.cost))

        command: Callable = run
        for option in (
            click.option("--log", type=FILE, help="Write messages here, not to the terminal."),
            click.option(
                "--key",
                multiple=True,
                help="What stands for all that a result depends on, once a result.",
            ),
            click.option("--code", help="Refuse to run when the code is no longer this."),
            click.option(
                "--spec",
                required=True,
                help="The step's slice of the configuration (JSON), as snakemake -n -p prints it.",
            ),
        ):
            command = option(command)
        if kind.batched_by:
            text = "Once for each of the files."
            number = click.IntRange(min=0)
            option = f"--{kind.batched_by}"
            command = click.option(option, multiple=True, type=number, help=text)(command)
        for name in reversed(paths):
            path = FOLDER if name.endswith("/") else FILE
            several = {"nargs": -1, "required": True} if name.endswith("...") else {}
            command = click.argument(name.rstrip("/."), type=path, **several)(command)
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

"""Progress of long work: a bar on a terminal, plain lines elsewhere; and what a step has cost."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

INTERVAL = 10.0
"""Seconds between two plain lines."""
TERMINAL = 30.0
"""Seconds between two lines on the terminal of a step that writes to a log."""

TAIL = 4096
"""Bytes at the end of a log that are read for its last line."""


class Progress:
    """Counts units of work done out of a total; `advance` is cheap enough for every batch.

    terminal: where a line with the log's name is written, too, now and then: on a long step a user
    would see nothing.
    """

    def __init__(
        self, total: int, unit: str, stream: TextIO, terminal: TextIO | None = None
    ) -> None:
        self.total, self.unit, self.stream, self.terminal = total, unit, stream, terminal
        self.done = self.before = 0
        self.started = self._said = self._shown = time.monotonic()

    def begin_behind(self, count: int) -> None:
        """Note that an earlier run did `count` units: they say nothing of this one's speed."""
        self.done = self.before = count

    def advance(self, count: int) -> None:
        """Note that `count` more units are done."""
        self.done += count
        now = time.monotonic()
        if now - self._said >= INTERVAL:
            self._said = now
            self.say()
        if self.terminal and now - self._shown >= TERMINAL and self.done < self.total:
            self._shown = now
            left = (self.total - self.done) / max(self._rate(), 1e-9)
            line = f"{label(Path(self.stream.name))}: {self._line()}, about {duration(left)} left\n"
            self.terminal.write(line)
            self.terminal.flush()

    def say(self) -> None:
        """Write one plain line."""
        self.stream.write(f"{self._line()}\n")
        self.stream.flush()

    def _line(self) -> str:
        rate = f"{self._rate():,.1f} {self.unit}/s"
        return f"{self.done:,} of {self.total:,} {self.unit}, {rate}"

    def _rate(self) -> float:
        """Units a second, of those that were done here."""
        return (self.done - self.before) / max(time.monotonic() - self.started, 1e-9)


def label(log: Path) -> str:
    """The job that a log is of: its path below the folder of all logs, without the suffix."""
    parts = log.with_suffix("").parts
    return "/".join(parts[parts.index("logs") + 1 :] if "logs" in parts else parts[-1:])


def duration(seconds: float) -> str:
    """Seconds in the unit that a person would choose."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class _Bar(Progress):
    def __init__(self, total: int, unit: str, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        super().__init__(total, unit, stream)
        self.bar = RichProgress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(f"{unit}, {{task.fields[rate]}} {unit}/s"),
            TimeRemainingColumn(),
            console=Console(file=stream),
            transient=True,
        )
        self.task = self.bar.add_task(unit, total=total, rate="–")

    def begin_behind(self, count: int) -> None:
        super().begin_behind(count)
        self.bar.update(self.task, completed=count)

    def advance(self, count: int) -> None:
        self.done += count
        self.bar.update(self.task, advance=count, rate=f"{self._rate():,.1f}")


@contextmanager
def track(total: int, unit: str, stream: TextIO | None = None) -> Iterator[Progress]:
    """Follow `total` units of work on the stream (standard error where none is given).

    Where the stream is a log and standard error is a terminal, as under Snakemake, the terminal
    gets a line every half a minute.
    """
    terminal = sys.stderr if stream is None else stream
    if not terminal.isatty():
        beside = terminal is not sys.stderr and sys.stderr.isatty()
        progress = Progress(total, unit, terminal, sys.stderr if beside else None)
        yield progress
    else:
        progress = _Bar(total, unit, terminal)
        with progress.bar:
            yield progress
    progress.say()


def peak_memory() -> float:
    """The most memory that this process has held, in MB."""
    try:
        # Linux's getrusage would count what the parent held before it started this process.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, IndexError):
        scale = 1 << 20 if sys.platform == "darwin" else 1 << 10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def last_line(log: Path) -> str:
    """The last whole line of a log, however long the log is; empty where there is none."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(stream.seek(0, 2) - TAIL, 0))
            tail = stream.read().decode(errors="replace")
    except OSError:
        return ""
    return "".join(tail.rpartition("\n")[0].rstrip().splitlines()[-1:])


def cost(started: float, device: str, **more: float) -> str:
    """One JSON line: seconds since `started` (time.monotonic), peak memory in MB, the device."""
    return json.dumps(
        {
            "seconds": round(time.monotonic() - started, 2),
            "peak_memory_mb": round(peak_memory(), 1),
            "device": device,
            **more,
        }
    )

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


class Progress:
    """Counts units of work done out of a total; `advance` is cheap enough for every batch."""

    def __init__(self, total: int, unit: str, stream: TextIO) -> None:
        self.total, self.unit, self.stream = total, unit, stream
        self.done = 0
        self.started = self._said = time.monotonic()

    def advance(self, count: int) -> None:
        """Note that `count` more units are done."""
        self.done += count
        if time.monotonic() - self._said >= INTERVAL:
            self._said = time.monotonic()
            self.say()

    def say(self) -> None:
        """Write one plain line."""
        seconds = max(time.monotonic() - self.started, 1e-9)
        rate = f"{self.done / seconds:,.1f} {self.unit}/s"
        self.stream.write(f"{self.done:,} of {self.total:,} {self.unit}, {rate}\n")
        self.stream.flush()


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

    def advance(self, count: int) -> None:
        self.done += count
        rate = self.done / max(time.monotonic() - self.started, 1e-9)
        self.bar.update(self.task, advance=count, rate=f"{rate:,.1f}")


@contextmanager
def track(total: int, unit: str, stream: TextIO | None = None) -> Iterator[Progress]:
    """Follow `total` units of work on the stream (standard error where none is given)."""
    terminal = sys.stderr if stream is None else stream
    if not terminal.isatty():
        progress = Progress(total, unit, terminal)
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

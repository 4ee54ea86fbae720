"""Timing that can be trusted on a noisy machine: repeats, medians, and the machine's own limit."""

from __future__ import annotations

import runpy
import statistics
import sys
import time
from collections.abc import Callable

import torch


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median wall seconds of `work`, after one warm-up."""
    work()
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def command(*arguments: object) -> None:
    """Call a command of the package as a person does, in this process."""
    given, sys.argv = sys.argv, ["wellspring", *map(str, arguments)]
    try:
        runpy.run_module("wellspring", run_name="__main__")
    except SystemExit as done:
        if done.code:
            raise
    finally:
        sys.argv = given


def in_turn(works: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median wall seconds of each, run in turn (A B A B …): drift hits all of them alike."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(repeats):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(times) for name, times in taken.items()}


def matmul_peak(size: int = 2048, repeats: int = 7, dtype: torch.dtype = torch.float32) -> float:
    """Best matrix product a·bᵀ of this process, in GF/s: the machine's own limit."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        a @ b.T
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best / 1e9


def row(
    benchmark: str,
    measure: str,
    value: float | None,
    unit: str,
    target: str = "",
    *,
    interval: tuple[float, float] | None = None,
    before: str = "",
    digits: int = 3,
) -> dict[str, object]:
    """One line of the table of results.

    value: None where there is none; `target` then says why. interval: of 95 %. before: what the
    first release gave.
    """
    ends = [f"{end:.{digits}f}" for end in interval or ()]
    return {
        "benchmark": benchmark,
        "measure": measure,
        "value": "–" if value is None else f"{round(value, digits):,}",
        "95 % interval": f"[{', '.join(ends)}]" if ends else "",
        "unit": unit,
        "first release": before,
        "target": target,
    }


def show(rows: list[dict[str, object]]) -> None:
    """Print results as a table, without the columns in which nothing stands."""
    from rich.console import Console
    from rich.table import Table

    names = [name for name in rows[0] if any(line[name] != "" for line in rows)]
    table = Table(*names)
    for line in rows:
        table.add_row(*(str(line[name]) for name in names))
    Console(width=140 if "first release" in names else 110, markup=False).print(table)

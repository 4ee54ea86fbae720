"""Progress on a terminal while a step writes to its log."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from wellspring import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


def follow(log: Path, monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO) -> str:
    """What 10 units of 12 s each write to standard error; the log is written beside."""
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(sys, "stderr", stderr)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as stream, progress.track(10, "texts", stream) as work:
        for _ in range(10):
            clock.now += 12
            work.advance(1)
    return stderr.getvalue()


def test_a_long_step_tells_a_terminal_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "results" / "logs" / "embed" / "minilm" / "pydocs.log"
    told = follow(log, monkeypatch, Terminal())
    assert told.splitlines() == [
        "embed/minilm/pydocs: 3 of 10 texts, 0.1 texts/s, about 84 s left",
        "embed/minilm/pydocs: 6 of 10 texts, 0.1 texts/s, about 48 s left",
        "embed/minilm/pydocs: 9 of 10 texts, 0.1 texts/s, about 12 s left",
    ]
    assert len(log.read_text().splitlines()) == 11


def test_what_an_earlier_run_did_says_nothing_of_this_ones_speed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, terminal = Clock(), Terminal()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(sys, "stderr", terminal)
    log = tmp_path / "results" / "logs" / "train" / "tuned.log"
    log.parent.mkdir(parents=True)
    with log.open("w") as stream, progress.track(100, "pairs", stream) as work:
        work.begin_behind(90)
        clock.now += 30
        work.advance(3)
    (line,) = terminal.getvalue().splitlines()
    assert line == "train/tuned: 93 of 100 pairs, 0.1 pairs/s, about 70 s left"


def test_what_is_no_terminal_gets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert follow(tmp_path / "a.log", monkeypatch, io.StringIO()) == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(3, "3 s"), (89, "89 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert progress.duration(seconds) == text

"""The live line, on a terminal of its own."""

from __future__ import annotations

import os
import sys

from tests.support.terminals import left_standing, on_a_terminal, without_codes

SCRIPT = """
import os, subprocess, sys, time
from wellspring.live.terminal import Terminal

state = ["first line"]

def line():
    if state[0] is None:
        raise ValueError("no state")
    return state[0]

terminal = Terminal(line)
terminal.say("a message", "red")
subprocess.run(["sh", "-c", "echo from a job >&2; test -t 2 && echo sees a terminal >&2; true"])
print("from this process", file=sys.stderr)
print("half\\rwhole", file=sys.stderr)
state[0] = None
time.sleep(1.2)
state[0] = "x" * 500
time.sleep(1.2)
print("at the end", file=sys.stderr)
terminal.stop()
terminal.say("stopped")
print("after all", file=sys.stderr)
assert os.isatty(2)
"""


def test_what_jobs_and_this_process_write_is_shown_above_the_line(tmp_path):
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "60"}
    status, written = on_a_terminal(
        *(sys.executable, "-c", SCRIPT), folder=tmp_path, environment=environment
    )
    assert status == 0, written
    lines = left_standing(written)
    above = ["a message", "from a job", "from this process", "whole", "at the end"]
    assert lines == [*above, "stopped", "after all"]
    said = without_codes(written)
    assert "first line" in said and "progress cannot be told: ValueError: no state" in said
    # The line is cut where the terminal ends, and the cursor is shown again.
    assert "x" * 59 + "…" in said and "x" * 60 not in said
    assert "\x1b[?25h" in written

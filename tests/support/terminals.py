"""Commands on a terminal of their own, and what they write there."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path


def on_a_terminal(*command: str, folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Run a command whose standard streams are a terminal; gives its status and what it wrote."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=child, stdout=child, stderr=child
    )
    os.close(child)
    written = b""
    # A terminal that nobody holds open any more ends in an error.
    try:
        while block := os.read(parent, 65536):
            written += block
    except OSError:
        pass
    os.close(parent)
    return process.wait(), written.decode()


def without_codes(text: str) -> str:
    """All that was shown, one state of a line after the other."""
    return re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", text)


def left_standing(text: str) -> list[str]:
    """The lines that stand there in the end, as a terminal that is never full shows them."""
    rows, row, column = [""], 0, 0
    for count, code, control, shown in re.findall(
        r"\x1b\[[?]?([\d;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)", text
    ):
        if code == "A":
            row -= int(count or 1)
        elif code == "K":
            rows[row] = ""
        elif control == "\r":
            column = 0
        elif control == "\n":
            row += 1
            rows += [""] * (row == len(rows))
        elif shown:
            rows[row] = rows[row][:column].ljust(column) + shown + rows[row][column + len(shown) :]
            column += len(shown)
    while rows and not rows[-1].strip():
        rows.pop()
    return rows

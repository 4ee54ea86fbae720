"""What the tests of downloads share: a file to fetch, and the commands that fetch."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result

from tests.support.hub import Hub
from wellspring.cli import cli

BODY = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(40_000))
SHA256 = hashlib.sha256(BODY).hexdigest()
BASE = {"sha256": None, "size": None, "subset": None, "split": "train"}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def ranges(hub: Hub) -> list[str | None]:
    return [headers.get("Range") for command, _, headers in hub.requests if command == "GET"]


def environment(hub: Hub, home: Path, **more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return {**kept, "OMP_NUM_THREADS": "1", **hub.environment(home, **more)}


def files(command: str, path: Path) -> list[str]:
    """The command's arguments: a download is described in a file of its own, elsewhere."""
    described = path.parent.parent / f"{path.name}.json"
    return [*([str(described)] if command == "download" else []), str(path)]


def start(hub: Hub, home: Path, command: str, path: Path, spec: dict, **more: str):
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "wellspring",
            command,
            *files(command, path),
            "--spec",
            json.dumps(spec),
        ],
        env=environment(hub, home, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(hub: Hub, home: Path, command: str, path: Path, spec: dict, **more: str):
    """Status and standard error of a subcommand that uses the hub."""
    with start(hub, home, command, path, spec, **more) as process:
        _, messages = process.communicate(timeout=60)
    return process.returncode, messages


def invoke(path: Path, spec: dict) -> Result:
    """The command `download` in this process."""
    words = ["download", f"{path}.json", str(path), "--spec", json.dumps(spec)]
    return CliRunner().invoke(cli, [*words, "--log", f"{path}.log"])


MANY = """
import json, sys
from wellspring.cli import main
for command, files, spec in json.loads(sys.argv[1]):
    sys.argv = ["wellspring", command, *files, "--spec", json.dumps(spec)]
    try:
        main()
    except SystemExit as end:
        print("status", end.code, file=sys.stderr)
"""
"""Several commands in one process: what they import is most of their time."""


def run_many(hub: Hub, home: Path, commands: list[tuple[str, Path, dict]], **more: str):
    """Status and standard error of each command."""
    given = json.dumps([(command, files(command, path), spec) for command, path, spec in commands])
    done = subprocess.run(
        [sys.executable, "-c", MANY, given],
        env=environment(hub, home, **more),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    pieces = re.split(r"status (\w+)\n", done.stderr)
    return list(zip(map(int, pieces[1::2]), pieces[0::2], strict=False))


def refused(hub: Hub, home: Path, commands: list[tuple[str, Path, dict]], **more: str):
    """The one line of each command: what a user can mend."""
    answers = run_many(hub, home, commands, **more)
    assert len(answers) == len(commands)
    assert all((status, said.count("\n")) == (1, 1) for status, said in answers), answers
    return [said for _, said in answers]

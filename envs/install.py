"""Installs requirement files into this environment: `python envs/install.py FILE …`.

uv unpacks wheels several times faster than pip. It reads no configuration of pip, so pip is asked
where packages come from. Where uv cannot do what pip is told, or fails, pip installs.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

LOCK = Path(__file__).parent.parent / "requirements.lock"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
INSTALL = [*PIP, "install", "--quiet"]

SAME = ("index-url", "extra-index-url", "find-links", "constraint", "no-index")
"""Options that pip and uv have in common."""
NOTHING = {
    *("disable-pip-version-check", "timeout", "default-timeout", "retries", "quiet", "no-color"),
    *("progress-bar", "no-input", "root-user-action", "require-virtualenv", "cache-dir", "cert"),
    *("no-cache-dir", "no-compile", "compile", "config-file"),
}
"""Options of pip that do not change what is installed; `cert` is a variable of uv."""


def settings(listing: str) -> dict[str, str]:
    """Option to value, of what `pip config list` prints: the environment's before those of
    `install` before global ones."""
    found: dict[str, dict[str, str]] = {}
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        section, _, option = key.rpartition(".")
        found.setdefault(section, {})[option] = str(ast.literal_eval(value))
    sections = ("global", "install", ":env:")
    return {name: value for each in sections for name, value in found.get(each, {}).items()}


def arguments(told: Mapping[str, str]) -> list[str] | None:
    """Arguments of `uv pip install` for settings of pip; None where uv has none for one of them."""
    if told.keys() - NOTHING - {*SAME}:
        return None
    flags = ["--index-strategy", "unsafe-best-match"]
    for option in SAME:
        value = told.get(option, "")
        if option == "no-index":
            flags += ["--no-index"] * (value.lower() in {"1", "true", "yes", "on"})
        else:
            flags += [part for place in value.split() for part in (f"--{option}", place)]
    return flags


def install(files: Iterable[str]) -> int:
    """The exit status of the one that installed, uv or pip."""
    wanted = [part for file in files for part in ("--requirement", file)]
    # A quiet pip lists nothing.
    listing = subprocess.run(
        [*PIP, "config", "list"], stdout=subprocess.PIPE, text=True, check=True
    )
    told = settings(listing.stdout)
    flags = arguments(told)
    (pin,) = (line for line in LOCK.read_text().splitlines() if line.startswith("uv=="))
    if flags is not None and not subprocess.run([*INSTALL, pin]).returncode:
        uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable]
        cert = {"SSL_CERT_FILE": told["cert"]} if "cert" in told else {}
        done = subprocess.run([*uv, *flags, *wanted], env={**os.environ, **cert})
        if not done.returncode:
            return 0
        sys.stderr.write("uv could not install the packages: pip does, which takes longer\n")
    return subprocess.run([*INSTALL, "--no-compile", *wanted]).returncode


if __name__ == "__main__":
    sys.exit(install(sys.argv[1:]))

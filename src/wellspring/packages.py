"""Installed packages: what is found, and at which version."""

from __future__ import annotations

import platform
import re
from functools import cache
from importlib import metadata

LIBRARY = "python"
"""Stands for the standard library among the names of packages."""


def normalised(name: str) -> str:
    """A package's name as package indexes compare names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def find(name: str) -> metadata.Distribution | None:
    """The installed package of that name, if there is one."""
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


@cache
def version(name: str) -> str | None:
    """The version that is installed, of Python for `LIBRARY`; None where there is none.

    A build's own tag (torch's +cpu) is no part of it: all builds of a version have one source.
    """
    if name == LIBRARY:
        return platform.python_version()
    package = find(name)
    return package.version.partition("+")[0] if package else None

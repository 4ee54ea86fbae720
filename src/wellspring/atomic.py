"""Files that appear whole, whoever else writes them.

A file is written beside its name, to a part of this process alone, and renamed. What a killed
process left is removed by the next one that writes to the folder.
"""

from __future__ import annotations

import errno
import itertools
import os
import platform
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from wellspring.errors import WellspringError

AGE = 7 * 24 * 3600
"""Seconds without a write after which a part of another machine has no writer any more: longer than
a job may pause between two row groups."""

PART = re.compile(r"\..+\.(?P<host>[A-Za-z0-9-]+)-(?P<pid>\d+)-\d+\.part")

ADVICE = {
    errno.ENOSPC: "make room on its disk and start again",
    errno.EDQUOT: "make room in your quota and start again",
    errno.EFBIG: "raise the limit on the size of a file (ulimit -f) and start again",
}
"""What a user does about an error, where its words do not say it."""

_numbers = itertools.count()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a place beside `path` to write to; it takes `path`'s name when the block succeeds.

    Two writers of one file do not meet: the last one to end wins. A link is replaced, and not what
    it leads to. Raises WellspringError where the disk refuses.
    """
    part = path.with_name(f".{path.name}.{_host()}-{os.getpid()}-{next(_numbers)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        yield part
        part.replace(path)
    except OSError as error:
        raise WellspringError(f"{path}: cannot be written: {refusal(error)}") from error
    finally:
        # Where the folder cannot be used, nothing was left in it.
        with suppress(OSError):
            part.unlink()


def refusal(error: OSError) -> str:
    """Why a file cannot be written, and what to do about it, as far as that is known."""
    number = error.errno
    if number in ADVICE:
        # Arrow has its own words before the operating system's.
        return f"{os.strerror(number)}: {ADVICE[number]}"
    return error.strerror or str(error)


def sweep(folder: Path) -> None:
    """Remove the parts of a folder that nobody writes any more."""
    for path in abandoned(folder):
        # Another process may remove it first.
        with suppress(OSError):
            path.unlink()


def abandoned(folder: Path) -> Iterator[Path]:
    """The parts of a folder that nobody writes any more: those of dead processes of this machine,
    and of other machines those that are old."""
    for path in folder.glob(".*.part"):
        named = PART.fullmatch(path.name)
        try:
            if named is None or _written(path, named["host"], int(named["pid"])):
                continue
        except OSError:
            # Another process has removed or finished it.
            continue
        yield path


@contextmanager
def alone(path: Path, waiting: Callable[[], object]) -> Iterator[None]:
    """Be the only process that makes `path` and the files beside it; `waiting` is called where
    another one has to end first.

    The kernel frees the lock of a process that dies.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waiting()
            lock.acquire()
    except OSError as error:
        raise WellspringError(f"{path}: cannot be written: {refusal(error)}") from error
    try:
        yield
    finally:
        # Who waits for a lock looks whether the file that it has locked is still there.
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _host() -> str:
    """This machine, and on it the namespace in which its processes have their numbers."""
    namespace = Path("/proc/self/ns/pid")
    number = namespace.stat().st_ino if namespace.exists() else 0
    return f"{re.sub(r'[^A-Za-z0-9-]', '-', platform.node())}-{number}"


def _written(part: Path, host: str, pid: int) -> bool:
    """Whether the process that writes a part may still be at it."""
    if host != _host():
        return time.time() - part.stat().st_mtime < AGE
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        # Another user's.
        return True
    return True

"""Digests of files that the workflow did not make: by content, read once while they stay as they
are."""

from __future__ import annotations

import json
import os
from pathlib import Path

from wellspring.artefacts.base import RESULTS
from wellspring.digests import sha256

CACHE = Path(RESULTS, ".digests.json")
"""Path, size and times of a file to its sha256, so that a large one is read once."""


def _state(path: Path, status: os.stat_result) -> str:
    # The time of change moves with every write, even where the date is set back.
    return f"{path}|{status.st_size}|{status.st_mtime_ns}|{status.st_ctime_ns}"


def _is_state(seen: str) -> bool:
    """Whether a file is there and as it was seen."""
    path = Path(seen.rsplit("|", 3)[0])
    try:
        return _state(path, path.stat()) == seen
    except OSError:
        return False


class Digests:
    """sha256 of files, kept between runs."""

    def __init__(self, cache: Path = CACHE) -> None:
        self.cache = cache
        self._known: dict[str, str] | None = None
        self._new = False

    def of(self, path: Path) -> str:
        """Size and sha256; a constant where there is no such file."""
        try:
            status = path.stat()
        except OSError:
            return "missing"
        if path.is_dir():
            return "folder"
        seen = _state(path.resolve(), status)
        known = self._read()
        if seen not in known:
            known[seen] = sha256(path)
            self._new = True
        return f"{status.st_size}:{known[seen]}"

    def save(self) -> None:
        """Write what was read anew, and forget files that are gone or have changed."""
        from wellspring.errors import WellspringError
        from wellspring.shards import write_text

        if self._new:
            # Of a file there is one state at most.
            known = {seen: digest for seen, digest in self._read().items() if _is_state(seen)}
            try:
                write_text(self.cache, json.dumps(known, indent=0, sort_keys=True))
            except WellspringError:
                # A folder that cannot be written: it is read again next time.
                return
            self._new = False

    def _read(self) -> dict[str, str]:
        known = self._known
        if known is None:
            try:
                known = json.loads(self.cache.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                known = {}
            self._known = known
        return known

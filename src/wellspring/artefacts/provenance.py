"""What a file of any kind says of how it was made: Parquet, JSON, PNG and HTML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from wellspring.shards import KEY, differences, short

SHOWN = 3
"""Values that changed, before they are counted only."""

ELEMENT = '<script type="application/json" id="provenance">'
"""How the line of an HTML page begins that holds what it says of itself, as JSON."""
END = b"</html>\n"
"""How a whole page ends."""
HEAD = 20
"""That line is among so many first ones."""


@dataclass(frozen=True)
class Stored:
    """The part of it that the workflow compares."""

    key: str | None
    identity: Mapping[str, Any]
    code: str | None
    modules: Mapping[str, str]
    """Module to a hash of it; empty where the file does not say."""
    facts: Mapping[str, Any]


def read(path: Path) -> Stored | None:
    """What the file says; None where it says nothing or cannot be read."""
    try:
        content = _content(path)
        if not isinstance(content, Mapping):
            return None
    except (OSError, ValueError, KeyError, SyntaxError):
        return None
    parts = [content.get(name, {}) for name in ("identity", "circumstances", "facts")]
    if not all(isinstance(part, Mapping) for part in parts) or not parts[0]:
        return None
    identity, circumstances, facts = parts
    code, modules = circumstances.get("code"), circumstances.get("modules", {})
    told = modules if isinstance(modules, Mapping) else {}
    return Stored(content.get("key"), identity, code, told, facts)


def broken_link(path: Path) -> str | None:
    """What a link says that leads nowhere; None of all else."""
    if path.is_symlink() and not path.exists():
        return f"is a broken link: {path.readlink()} does not exist"
    return None


def flaw(path: Path) -> str:
    """Why `read` gets nothing from a file, or a link, that is there."""
    if broken := broken_link(path):
        return broken
    try:
        _content(path)
    except KeyError:
        pass
    except (OSError, ValueError, SyntaxError):
        return "cannot be read: it is cut off, damaged, or something else"
    return "was not made here: it does not say how it was made"


def changes(name: str, asked: Any, stored: Any) -> str:
    """The values in which what is asked for differs from what a file stands for, in words.

    name: of the value as a whole.
    """
    parts = [
        f"{key or name} changed from {short(old)} to {short(new)}"
        for key, new, old in differences(asked, stored)
    ]
    more = [f"and {len(parts) - SHOWN} more"] if len(parts) > SHOWN else []
    return "; ".join([*parts[:SHOWN], *more])


def agrees(path: Path, key: str) -> bool:
    """Whether a file says that it stands for this key."""
    stored = read(path)
    return stored is not None and stored.key == key


def _content(path: Path) -> Mapping[str, Any]:
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    if path.suffix == ".png":
        from PIL import Image

        with Image.open(path) as image:
            return json.loads(image.info[KEY.decode()])
    if path.suffix == ".html":
        with path.open("rb") as page:
            # A page is large: only its head and its end are read.
            lines = (line.decode() for line in islice(page, HEAD))
            line = next((line for line in lines if line.startswith(ELEMENT)), "")
            page.seek(max(page.seek(0, 2) - len(END), 0))
            if page.read() != END:
                raise ValueError(f"{path}: is cut off")
        return json.loads(line.removeprefix(ELEMENT).rpartition("</script>")[0])
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return json.loads((pq.read_metadata(path).metadata or {})[KEY])
    except pa.ArrowException as error:
        raise ValueError(str(error)) from None


PARTS = ("identity", "circumstances", "facts", "key")
"""Of what a file says."""


def content(path: Path) -> dict[str, Any]:
    """The parts of what a file says by name; the file is one that `read` can read."""
    told = _content(path)
    return {part: told[part] for part in PARTS if part in told}

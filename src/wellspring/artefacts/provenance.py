"""What a file of any kind says of how it was made: Parquet, JSON, PNG and HTML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from wellspring.shards import KEY, difference

__all__ = ["Stored", "agrees", "difference", "read"]

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
    if not all(isinstance(part, Mapping) for part in parts):
        return None
    identity, circumstances, facts = parts
    return Stored(content.get("key"), identity, circumstances.get("code"), facts)


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
        return json.loads(pq.read_metadata(path).metadata[KEY])
    except (pa.ArrowException, TypeError) as error:
        raise ValueError(str(error)) from None

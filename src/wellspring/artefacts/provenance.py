"""What a file of any kind says of how it was made: Parquet, JSON and PNG."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wellspring.shards import KEY, difference

__all__ = ["Stored", "difference", "read"]


@dataclass(frozen=True)
class Stored:
    """The part of it that the workflow compares."""

    key: str | None
    identity: Mapping[str, Any]
    code: str | None


def read(path: Path) -> Stored | None:
    """What the file says; None where it says nothing or cannot be read."""
    try:
        content = _content(path)
    except (OSError, ValueError, KeyError, SyntaxError):
        return None
    identity, made = content.get("identity", {}), content.get("circumstances", {})
    return Stored(content.get("key"), identity, made.get("code"))


def _content(path: Path) -> Mapping[str, Any]:
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    if path.suffix == ".png":
        from PIL import Image

        with Image.open(path) as image:
            return json.loads(image.info[KEY.decode()])
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return json.loads(pq.read_metadata(path).metadata[KEY])
    except (pa.ArrowException, TypeError) as error:
        raise ValueError(str(error)) from None

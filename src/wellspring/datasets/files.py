"""Lines of text files, plain, gzip or in an archive, each with its location."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from wellspring.datasets.archives import FAULTS, Member
from wellspring.datasets.records import as_object
from wellspring.errors import SourceError

File = Path | Member
"""What lines are read from."""


def opened(path: File) -> BinaryIO:
    """The bytes of a file, unpacked where its name ends in .gz; SourceError where it is none."""
    try:
        if isinstance(path, Member):
            return path.open()
        return cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb")
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from None


def lines(path: File) -> Iterator[tuple[str, str]]:
    """The lines that are not blank, without their ends, each with its location ("path:line")."""
    number = 0
    try:
        with opened(path) as stream:
            for number, data in enumerate(stream, start=1):
                line = data.decode("utf-8-sig" if number == 1 else "utf-8").strip("\r\n")
                if line and not line.isspace():
                    yield f"{path}:{number}", line
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}:{number}: not UTF-8: {error.reason}") from None
    except FAULTS as error:
        raise SourceError(f"{path}:{number + 1}: cannot be read: {error}") from None


def objects(path: File) -> Iterator[tuple[str, dict[str, Any]]]:
    """The JSON object of every line, each with its location ("path:line")."""
    for index, (location, line) in enumerate(lines(path)):
        if index == 0 and line.lstrip().startswith("["):
            raise SourceError(
                f"{location}: the file is one JSON array, and an object a line is expected: write "
                "one (jq -c '.[]' FILE), or use format table, which reads arrays"
            )
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            whole = ": each line must be a whole object" if index == 0 else ""
            raise SourceError(f"{location}: malformed JSON: {error}{whole}") from None
        yield location, as_object(value, location)


def first_line(path: File) -> str:
    """The first line that is not blank, without white space around it; empty where there is none.

    It tells one way to write a file from another.
    """
    return next((line.strip() for _, line in lines(path)), "")

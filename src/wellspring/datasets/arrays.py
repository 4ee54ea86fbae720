"""JSON files that are one value: an array, read one object at a time, or one object, read whole."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from wellspring.datasets.files import opened
from wellspring.datasets.records import as_object
from wellspring.errors import SourceError

CHUNK = 1 << 20
# Longer than what JSON cuts short may lie before the end of what was read (-Infinity, an escape).
TAIL = 16


def document(path: Path) -> dict[str, Any]:
    """The object that a file holds; SourceError with its line where it is malformed."""
    try:
        with opened(path) as stream:
            text = stream.read().decode("utf-8-sig")
        value = json.loads(text)
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: not UTF-8 at byte {error.start}: {error.reason}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path}: cannot be read: {error}") from None
    except RecursionError:
        raise SourceError(f"{path}: malformed JSON: nested too deeply") from None
    except json.JSONDecodeError as error:
        raise SourceError(f"{path}:{error.lineno}: malformed JSON: {error.msg}") from None
    except ValueError as error:
        raise SourceError(f"{path}: malformed JSON: {error}") from None
    return as_object(value, str(path))


def objects(path: Path, chunk: int = CHUNK) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of the array, each with its location ("path:line: record n", n from 1).

    Holds about one object and `chunk` characters at a time.
    """
    with opened(path) as stream, TextIOWrapper(stream, encoding="utf-8-sig", newline="\n") as text:
        array = _Array(path, text, chunk)
        array.expect("[", "an array of objects")
        more = array.peek() != "]"
        while more:
            yield array.object()
            more = array.step(",")
        array.expect("]", "',' or ']' after an object")
        if array.peek():
            raise SourceError(f"{array.location()}: text after the end of the array")


class _Array:
    """The part of an array that was read and not yet used."""

    def __init__(self, path: Path, text: TextIO, chunk: int) -> None:
        self._path = path
        self._text = text
        self._chunk = chunk
        self._record = 0
        self._buffer = ""
        self._position = 0
        self._line = 1
        self._counted = 0
        self._decoder = json.JSONDecoder()

    def location(self, position: int | None = None) -> str:
        """Names file, line and record of a position, the current one by default."""
        self._line += self._buffer.count("\n", self._counted, self._position)
        self._counted = self._position
        line = self._line
        if position is not None:
            line += self._buffer.count("\n", self._position, position)
        return f"{self._path}:{line}" + (f": record {self._record}" if self._record else "")

    def peek(self) -> str:
        """The next character that is not white space; empty at the end of the file."""
        while True:
            while self._position < len(self._buffer):
                if self._buffer[self._position] not in " \t\r\n":
                    return self._buffer[self._position]
                self._position += 1
            if not self._read():
                return ""

    def step(self, character: str) -> bool:
        """Steps over the next character if it is this one."""
        matches = self.peek() == character
        self._position += matches
        return matches

    def expect(self, character: str, meaning: str) -> None:
        """Steps over a character that must come next."""
        if not self.step(character):
            actual = repr(self.peek()) if self.peek() else "the end of the file"
            raise SourceError(f"{self.location()}: expected {meaning}, found {actual}")

    def object(self) -> tuple[str, dict[str, Any]]:
        """Decodes the next object; returns the location where it begins, too."""
        self._record += 1
        if self.peek() != "{":
            raise SourceError(f"{self.location()}: expected an object, found {self.peek()!r}")
        location = self.location()
        while True:
            try:
                value, self._position = self._decoder.raw_decode(self._buffer, self._position)
                return location, value
            except RecursionError:
                raise SourceError(f"{self.location()}: malformed JSON: nested too deeply") from None
            except json.JSONDecodeError as error:
                # A string that is cut off is reported where it begins.
                cut = error.msg.startswith("Unterminated string")
                cut = cut or error.pos >= len(self._buffer.rstrip()) - TAIL
                if not (cut and self._read()):
                    raise SourceError(
                        f"{self.location(error.pos)}: malformed JSON: {error.msg}"
                    ) from None
            except ValueError as error:
                raise SourceError(f"{self.location()}: malformed JSON: {error}") from None

    def _read(self) -> bool:
        """Reads at least as much as is left, so that decoding it again costs linear time."""
        self.location()
        rest = self._buffer[self._position :]
        try:
            more = self._text.read(max(self._chunk, len(rest)))
        except UnicodeDecodeError as error:
            raise SourceError(f"{self.location()} or after it: not UTF-8: {error.reason}") from None
        except (OSError, EOFError, zlib.error) as error:
            raise SourceError(f"{self.location()}: cannot be read: {error}") from None
        self._buffer, self._position, self._counted = rest + more, 0, 0
        return bool(more)

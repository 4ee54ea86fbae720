"""Files in archives (.zip, .tar, .tar.gz, .tgz), read where they lie.

Nothing is unpacked to a disk, so no name in an archive can lead out of a folder. What an archive
unpacks to is bounded: a small file that would fill the memory is refused before it does.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from wellspring.errors import SourceError

RATIO = 100
"""An archive of text unpacks to 3–20 times its size. One that unpacks to more than this many times
is no collection."""
SLACK = 1 << 24
"""Bytes that any archive may unpack to."""

BUFFER = 1 << 16

FAULTS = (OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile, RuntimeError)
"""What the readers of archives raise for one that is cut, damaged, encrypted or foreign."""


@dataclass(frozen=True)
class Member:
    """A file in an archive: it is read as a path is, and its text form names both."""

    archive: Path
    name: str

    def __str__(self) -> str:
        return f"{self.archive}/{self.name}"

    @property
    def suffix(self) -> str:
        return Path(self.name).suffix

    def open(self) -> BinaryIO:
        """Its bytes, unpacked where its name ends in .gz; OSError where it cannot be read, and
        beyond the bound."""
        try:
            stream = (_zipped if zipfile.is_zipfile(self.archive) else _tarred)(self)
        except (KeyError, *FAULTS) as error:
            raise OSError(0, " ".join(str(error).split())) from None
        if self.suffix == ".gz":
            return _bounded(cast(BinaryIO, gzip.open(stream)), self.archive)
        return stream


def members(archive: Path) -> list[str]:
    """The names of the plain files in it, sorted. Links, devices and what macOS adds count for
    nothing. Raises SourceError for what is no archive."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                names = [info.filename for info in zipped.infolist() if not info.is_dir()]
        else:
            with _tar(archive) as tarred:
                names = [info.name for info in tarred if _is_plain(info)]
    except FAULTS as error:
        reason = " ".join(str(error).split())
        raise SourceError(f"{archive}: cannot be read as an archive: {reason}") from None
    return sorted(name for name in names if not _is_added(name))


def _zipped(member: Member) -> BinaryIO:
    zipped = zipfile.ZipFile(member.archive)
    # The stream keeps the file open. It gives no byte beyond the size that the archive declares.
    return _bounded(cast(BinaryIO, zipped.open(member.name)), member.archive)


def _tarred(member: Member) -> BinaryIO:
    tarred = _tar(member.archive)
    for info in tarred:
        if info.name == member.name and _is_plain(info):
            return cast(BinaryIO, tarred.extractfile(info))
    raise KeyError(f"there is no {member.name}")


def _tar(archive: Path) -> tarfile.TarFile:
    packed = archive.name.lower().endswith("gz")
    stream = gzip.open(archive) if packed else archive.open("rb")  # noqa: SIM115
    return tarfile.open(fileobj=_bounded(cast(BinaryIO, stream), archive), mode="r:")


def _is_plain(info: tarfile.TarInfo) -> bool:
    # A sparse file has holes of any size, which take no byte of the archive.
    return info.isreg() and not info.issparse()


def _is_added(name: str) -> bool:
    parts = Path(name).parts
    return "__MACOSX" in parts or any(part.startswith("._") for part in parts)


def _bounded(stream: BinaryIO, archive: Path) -> BinaryIO:
    limit = RATIO * archive.stat().st_size + SLACK
    problem = f"unpacks to more than {RATIO} times the size of {archive.name}"
    return io.BufferedReader(_Bounded(stream, limit, problem), buffer_size=BUFFER)


class _Bounded(io.RawIOBase):
    """A stream that raises OSError beyond a number of bytes."""

    def __init__(self, stream: BinaryIO, limit: int, problem: str) -> None:
        self._stream, self._limit, self._problem = stream, limit, problem

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._stream.seekable()

    def readinto(self, buffer: Any, /) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._check(self._stream.tell())
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence == io.SEEK_SET:
            # Seeking in what is packed unpacks all that lies before.
            self._check(offset)
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def close(self) -> None:
        self._stream.close()
        super().close()

    def _check(self, position: int) -> None:
        if position > self._limit:
            raise OSError(0, self._problem)

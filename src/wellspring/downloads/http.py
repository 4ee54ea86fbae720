"""One file over HTTP: resumed after a cut, checked, and renamed to its name only when whole."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from urllib3.exceptions import HTTPError, ReadTimeoutError

from wellspring.atomic import refusal
from wellspring.digests import md5 as md5_of
from wellspring.digests import sha256 as sha256_of
from wellspring.errors import DownloadError

TIMEOUTS = (15.0, 60.0)
"""Seconds to wait for a connection, and for the next bytes."""
PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds between attempts that brought nothing new; after the last one the download fails."""
RETRIED = frozenset({408, 429, 500, 502, 503, 504})
CHUNK = 1 << 18
LATE = "the server did not answer in time"


@dataclass(frozen=True)
class Fetched:
    """What arrived: the sha256 (hexadecimal) and the bytes of a whole file."""

    sha256: str
    size: int


class _Cut(Exception):
    """An attempt ended early; another may go on from where it stopped."""


@dataclass
class _Transfer:
    url: str
    path: Path
    sha256: str | None
    size: int | None
    advance: Callable[[int], object] | None
    headers: Mapping[str, str]
    md5: str | None
    counted: int = 0
    """Bytes that `advance` has been told of, less what was thrown away."""

    def right(self, path: Path) -> bool:
        """Whether a file has the digests that are asked for; False where none is."""
        asked = ((self.sha256, sha256_of), (self.md5, md5_of))
        known = [(digest, digest_of) for digest, digest_of in asked if digest]
        return bool(known) and all(digest_of(path) == digest for digest, digest_of in known)

    @property
    def part(self) -> Path:
        return self.path.with_name(f".{self.path.name}.part")

    @property
    def origin(self) -> Path:
        """Beside the part: which file its bytes are of."""
        return self.path.with_name(f".{self.path.name}.part.json")

    def received(self) -> int:
        """Bytes of the part, of this call and of earlier ones."""
        return self.part.stat().st_size if self.part.is_file() else 0

    def count(self) -> None:
        """Tell `advance` how far the part has come."""
        size = self.received()
        if self.advance is not None:
            self.advance(size - self.counted)
        self.counted = size

    def discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self.origin.unlink(missing_ok=True)


def fetch(
    url: str,
    path: Path,
    sha256: str | None = None,
    size: int | None = None,
    advance: Callable[[int], object] | None = None,
    headers: Mapping[str, str] | None = None,
    md5: str | None = None,
) -> Fetched:
    """Download `url` to `path`, going on from what an earlier call left in `.{name}.part`.

    Cut connections and the statuses of a server that is busy are tried again, at growing pauses.
    A file that is there and has the `sha256` (and the `md5`) is kept. A part is continued only
    where the server says that the file is unchanged (RFC 9110, If-Range) or where these will tell.
    `advance` is called with the bytes that came (fewer than none where a part had to be thrown
    away).

    Raises DownloadError for every other status, for a file of another `size` or digest (the part
    is deleted), for too little disk space (before the first byte) and when the attempts are spent.
    """
    if not re.match(r"https?://", url, re.IGNORECASE):
        raise DownloadError(f"{url}: only http:// and https:// can be downloaded")
    transfer = _Transfer(url, path, sha256, size, advance, headers or {}, md5)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and transfer.right(path):
            return Fetched(sha256 or sha256_of(path), path.stat().st_size)
        _forget_foreign(transfer)
        transfer.count()
        with requests.Session() as session:
            _attempts(session, transfer)
        fetched = _check(transfer)
        transfer.part.replace(path)
        transfer.origin.unlink(missing_ok=True)
    except OSError as error:
        raise DownloadError(f"{path}: cannot be written: {refusal(error)}") from error
    return fetched


def fetch_any(
    urls: Sequence[str],
    path: Path,
    tell: Callable[[str], object],
    advance: Callable[[int], object] | None = None,
    **expected: Any,
) -> Fetched:
    """Download the same file from the first of these addresses that gives it.

    expected: `sha256`, `md5` and `size`, as of `fetch`; they decide what is the same. `tell` gets a
    line where the next address is tried. Raises DownloadError, with the reason of each, where none
    gives the file.
    """
    refused: list[str] = []
    for url in urls:
        if refused:
            tell(f"{refused[-1]}; {url} is tried")
        counted = 0

        def count(size: int) -> None:
            nonlocal counted
            counted += size
            if advance is not None:
                advance(size)

        try:
            return fetch(url, path, advance=count, **expected)
        except DownloadError as error:
            refused.append(str(error))
            # What another address sends is counted from its first byte.
            count(-counted)
    raise DownloadError("; ".join(refused))


def length(url: str) -> int | None:
    """The bytes that the server says a file has; None where it does not say."""
    try:
        answer = requests.head(url, headers=_plain({}), timeout=TIMEOUTS, allow_redirects=True)
    except requests.RequestException:
        return None
    return _number(answer.headers.get("Content-Length")) if answer.ok else None


def space(folder: Path, needed: int, what: str) -> None:
    """Refuse with one line when `folder`'s disk has fewer than `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DownloadError(
            f"{what}: needs {needed:,} bytes and {folder} has {free:,} free: make room"
        )


def _plain(headers: Mapping[str, str]) -> dict[str, str]:
    # Compressed on the way, neither lengths nor ranges would be those of the file.
    return {**headers, "Accept-Encoding": "identity"}


def _attempts(session: requests.Session, transfer: _Transfer) -> None:
    """Ask until the part is whole; an attempt that got further than any before starts over."""
    furthest, failures = transfer.received(), 0
    while True:
        try:
            return _attempt(session, transfer)
        except _Cut as cut:
            failures = 0 if transfer.received() > furthest else failures + 1
            furthest = max(furthest, transfer.received())
            if failures > len(PAUSES):
                size = transfer.received()
                mend = "mend the network, or fetch it elsewhere and name its path"
                if size:
                    mend = f"{size:,} bytes are kept, start again to go on"
                raise DownloadError(f"{transfer.url}: {cut}; {mend}") from cut
            time.sleep(PAUSES[max(failures - 1, 0)] if PAUSES else 0)


def _attempt(session: requests.Session, transfer: _Transfer) -> None:
    offset = transfer.received()
    if transfer.size is not None and offset > transfer.size:
        transfer.discard()
        offset = 0
    if offset and offset == transfer.size:
        return
    try:
        answer = session.get(
            transfer.url,
            headers=_plain({**transfer.headers, **_range(transfer, offset)}),
            stream=True,
            timeout=TIMEOUTS,
        )
    except requests.exceptions.SSLError as error:
        raise DownloadError(f"{transfer.url}: no secure connection: {_reason(error)}") from error
    except (requests.ConnectionError, requests.Timeout) as error:
        raise _Cut(f"cannot be reached ({_reason(error)})") from error
    except requests.RequestException as error:
        raise DownloadError(f"{transfer.url}: {_reason(error)}") from error
    with answer:
        _receive(answer, transfer, offset)


def _receive(answer: requests.Response, transfer: _Transfer, offset: int) -> None:
    status = answer.status_code
    first, total = _content_range(answer)
    if status == 416 and offset:
        if total == offset:
            return
        transfer.discard()
        raise _Cut("the file has changed while it was downloaded")
    if status in RETRIED:
        raise _Cut(f"the server answered {status} {answer.reason}")
    if status not in (200, 206):
        raise DownloadError(f"{transfer.url}: the server answered {status} {answer.reason}")
    if status == 206 and first != offset:
        transfer.discard()
        raise _Cut("the server sent another range than it was asked for")
    if status == 200:
        offset, total = 0, _number(answer.headers.get("Content-Length"))
    total = transfer.size if total is None else total
    if transfer.size not in (None, total):
        transfer.discard()
        raise DownloadError(
            f"{transfer.url}: has {total:,} bytes, and {transfer.size:,} were expected"
        )
    _write(answer, transfer, offset, total)


def _write(answer: requests.Response, transfer: _Transfer, offset: int, total: int | None) -> None:
    if total is not None:
        space(transfer.path.parent, total - transfer.received(), transfer.url)
    with transfer.part.open("ab") as part:
        part.truncate(offset)
        transfer.count()
        _remember(answer, transfer)
        try:
            for chunk in answer.raw.stream(CHUNK, decode_content=False):
                part.write(chunk)
                part.flush()
                transfer.count()
        except HTTPError as error:
            late = isinstance(error, ReadTimeoutError)
            raise _Cut(LATE if late else "the connection was cut") from error
    if total is not None and transfer.received() < total:
        raise _Cut("the connection was cut")


def _check(transfer: _Transfer) -> Fetched:
    digest = sha256_of(transfer.part)
    size = transfer.received()
    if transfer.size not in (None, size):
        transfer.discard()
        raise DownloadError(
            f"{transfer.url}: has {size:,} bytes, and {transfer.size:,} were expected"
        )
    if transfer.sha256 not in (None, digest):
        transfer.discard()
        raise DownloadError(
            f"{transfer.url}: has sha256 {digest}, and {transfer.sha256} was expected"
        )
    if transfer.md5 and (other := md5_of(transfer.part)) != transfer.md5:
        transfer.discard()
        raise DownloadError(f"{transfer.url}: has md5 {other}, and {transfer.md5} was expected")
    return Fetched(digest, size)


def _range(transfer: _Transfer, offset: int) -> dict[str, str]:
    if not offset:
        return {}
    validator = _origin(transfer).get("validator")
    return {"Range": f"bytes={offset}-"} | ({"If-Range": validator} if validator else {})


def _origin(transfer: _Transfer) -> dict:
    with suppress(OSError, ValueError):
        origin = json.loads(transfer.origin.read_text(encoding="utf-8"))
        if isinstance(origin, dict):
            return origin
    return {}


def _forget_foreign(transfer: _Transfer) -> None:
    """Throw a part away that is of another file, or of which nothing could tell."""
    origin = _origin(transfer)
    known = origin.get("validator") or transfer.sha256 or transfer.md5
    if not known or (origin.get("url"), origin.get("sha256")) != (transfer.url, transfer.sha256):
        transfer.discard()


def _remember(answer: requests.Response, transfer: _Transfer) -> None:
    etag = answer.headers.get("ETag", "")
    # If-Range takes no weak validator (RFC 9110, section 13.1.5).
    strong = etag if etag.startswith('"') else answer.headers.get("Last-Modified")
    origin = {"url": transfer.url, "sha256": transfer.sha256, "validator": strong}
    transfer.origin.write_text(json.dumps(origin), encoding="utf-8")


def _content_range(answer: requests.Response) -> tuple[int | None, int | None]:
    """First byte and length of the whole file, as far as the answer tells."""
    match = re.fullmatch(
        r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", answer.headers.get("Content-Range", "")
    )
    return (_number(match[1]), _number(match[2])) if match else (None, None)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _reason(error: Exception) -> str:
    """The operating system's words where there are any: the libraries' own run over many lines."""
    text = str(error)
    if isinstance(error, requests.Timeout):
        return LATE
    match = re.search(r"\[(?:Errno -?\d+|SSL: \w+)\] ([^'\")\n]+)", text)
    return match[1] if match else (text.splitlines() or [type(error).__name__])[0]

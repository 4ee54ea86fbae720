"""One commit of a hub's repository: what it holds, what is cached of it, and its files.

`huggingface_hub` says what a repository holds, finds what is cached and knows the token; the bytes
come through `http.fetch`. Its `snapshot_download` would not serve: it gives a file a new temporary
name at every start, so that what a killed job has of it is lost, and it compares no digest with
what has arrived.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import huggingface_hub as hf
from huggingface_hub import constants, errors

from wellspring.atomic import replacing
from wellspring.digests import blob_id, sha256
from wellspring.downloads import http
from wellspring.errors import DownloadError

Kind = Literal["model", "dataset"]
Track = Callable[[int], AbstractContextManager[Callable[[int], object]]]
"""Opens progress over a number of bytes; gives what is called with the bytes of each step."""

COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class File:
    """What the hub says of a file: its bytes, and the sha256 (large files) or git's blob id."""

    size: int | None
    sha256: str | None
    blob: str | None


@dataclass(frozen=True)
class Repository:
    """One commit of a repository and its files, by their path in it."""

    kind: Kind
    name: str
    revision: str
    commit: str
    files: Mapping[str, File]
    from_cache: bool = False
    """Whether `files` are those that the cache holds, which may not be all of the commit's."""

    def __str__(self) -> str:
        return f"hub:{self.name}@{self.revision}"


class Unreachable(DownloadError):
    """No hub answered."""


def resolve(kind: Kind, name: str, revision: str) -> Repository:
    """What a revision is: from the hub, or from the cache where the hub cannot be reached.

    Raises DownloadError, each reason in words.
    """
    if hf.is_offline_mode():
        snapshot = cached(kind, name, revision)
        if snapshot is None:
            raise absent(f"hub:{name}@{revision}")
        return snapshot
    try:
        with explained(kind, name, revision):
            info: Any = hf.HfApi().repo_info(
                name, revision=revision, repo_type=kind, files_metadata=True, timeout=30
            )
    except Unreachable:
        snapshot = cached(kind, name, revision)
        if snapshot is None:
            raise
        return snapshot
    if COMMIT.fullmatch(revision) and info.sha != revision:
        raise DownloadError(f"hub:{name}@{revision}: {constants.ENDPOINT} gave commit {info.sha}")
    files = {
        sibling.rfilename: File(
            sibling.size,
            sibling.lfs.sha256 if sibling.lfs else None,
            None if sibling.lfs else sibling.blob_id,
        )
        for sibling in info.siblings or ()
    }
    return Repository(kind, name, revision, info.sha, files)


def absent(source: str) -> DownloadError:
    """The error where the network is forbidden and the cache has nothing."""
    return DownloadError(
        f"{source}: is not in the cache ({constants.HF_HOME}) and HF_HUB_OFFLINE is set: unset it, "
        f"or set HF_HOME to where it is cached"
    )


def cached(kind: Kind, name: str, revision: str) -> Repository | None:
    """What the user's own cache of the hub holds of a revision, if anything."""
    root = Path(constants.HF_HUB_CACHE) / f"{kind}s--{name.replace('/', '--')}"
    reference = root / "refs" / revision
    commit = revision
    if not COMMIT.fullmatch(revision) and reference.is_file():
        commit = reference.read_text(encoding="ascii").strip()
    snapshot = root / "snapshots" / commit
    files = {
        str(path.relative_to(snapshot)): _named_after_digest(path)
        for path in snapshot.rglob("*")
        if path.is_file()
    }
    return Repository(kind, name, revision, commit, files, from_cache=True) if files else None


def _named_after_digest(path: Path) -> File:
    """A cached file: the blob that it links to is named after its digest."""
    digest = path.resolve().name
    return File(
        path.stat().st_size,
        digest if SHA256.fullmatch(digest) else None,
        digest if COMMIT.fullmatch(digest) else None,
    )


def obtain(repository: Repository, names: Collection[str], folder: Path, track: Track) -> None:
    """Have the named files in `folder`, whole and checked: kept, linked from the cache or fetched.

    Raises DownloadError where they do not fit on the disk, are not what the hub names, or where a
    name leads out of the folder.
    """
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise DownloadError(
                f"{repository}: names a file {name!r}, which leads out of its folder: do not use "
                f"this repository"
            )
    missing = []
    for name in names:
        path, file = folder / name, repository.files[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and _differs(path, file) is None:
            continue
        path.unlink(missing_ok=True)
        if not _link(repository, name, path):
            missing.append(name)
    if not missing:
        return
    parts = sum(
        part.stat().st_size
        for name in missing
        if (part := (folder / name).with_name(f".{Path(name).name}.part")).is_file()
    )
    total = sum(repository.files[name].size or 0 for name in missing)
    http.space(folder, total - parts, str(repository))
    admit(repository, missing[0])
    with track(total) as advance:
        for name in missing:
            _fetch(repository, name, folder / name, advance)


def admit(repository: Repository, name: str) -> None:
    """Ask for a file without fetching it: a gated repository is listed to everybody.

    Raises DownloadError where it may not be read.
    """
    with explained(repository.kind, repository.name, repository.revision):
        hf.get_hf_file_metadata(_url(repository, name), token=hf.get_token())


def _fetch(repository: Repository, name: str, path: Path, advance: Callable[[int], object]) -> None:
    file = repository.files[name]
    headers = hf.utils.build_hf_headers()
    http.fetch(_url(repository, name), path, file.sha256, file.size, advance, headers)
    # A large file's digest is checked before it has its name; git's ids only git computes so.
    difference = _differs(path, replace(file, sha256=None))
    if difference is not None:
        path.unlink()
        raise DownloadError(f"{repository}: {name} {difference}: removed, start again")


def _url(repository: Repository, name: str) -> str:
    return hf.hf_hub_url(
        repository.name, name, repo_type=repository.kind, revision=repository.commit
    )


def _link(repository: Repository, name: str, path: Path) -> bool:
    """Have the cache's file under `path`; False where it has none that is whole."""
    cached_path = hf.try_to_load_from_cache(
        repository.name, name, revision=repository.commit, repo_type=repository.kind
    )
    file = repository.files[name]
    if not isinstance(cached_path, str) or _differs(Path(cached_path), file) is not None:
        return False
    source = Path(cached_path).resolve()
    try:
        os.link(source, path)
    except OSError:
        # Another file system.
        http.space(path.parent, source.stat().st_size, str(repository))
        with replacing(path) as part:
            shutil.copyfile(source, part)
    return True


def _differs(path: Path, file: File) -> str | None:
    """What of a file is not as the hub says, in words."""
    size = path.stat().st_size
    if file.size not in (None, size):
        return f"has {size:,} bytes, and {file.size:,} were expected"
    if file.sha256 and (digest := sha256(path)) != file.sha256:
        return f"has sha256 {digest}, and {file.sha256} was expected"
    if file.blob and (digest := blob_id(path)) != file.blob:
        return f"has git blob id {digest}, and {file.blob} was expected"
    return None


@contextmanager
def explained(kind: Kind, name: str, revision: str) -> Iterator[None]:
    """Turn the library's errors into one line each."""
    page = f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{name}"
    source = f"hub:{name}@{revision}"
    try:
        yield
    except errors.GatedRepoError as error:
        raise DownloadError(
            f"{source}: is gated: accept its licence at {page} and set HF_TOKEN, or run "
            f"`hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise DownloadError(
            f"{source}: the {kind} has no such revision: see {page}/commits/main"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise DownloadError(
            f"{source}: no such {kind} at {constants.ENDPOINT}, or it is private: mend the name, "
            f"or set HF_TOKEN"
        ) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        mend = ": renew HF_TOKEN" if status == 401 else ""
        raise DownloadError(f"{source}: {page} answered {status}{mend}") from error
    # What the hub's own HTTP library raises, under the name that the hub has for it.
    except errors.HTTPError as error:  # pyright: ignore[reportPrivateImportUsage]
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise Unreachable(
            f"{source}: {constants.ENDPOINT} cannot be reached ({reason}) and it is not in the "
            f"cache: mend the network, or set HF_ENDPOINT to a mirror"
        ) from error
    except errors.HFValidationError as error:
        raise DownloadError(f"{source}: is no name of a repository") from error

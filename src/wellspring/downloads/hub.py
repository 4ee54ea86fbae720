"""Checkpoints and datasets of a Hugging Face hub, or of a mirror of it (`HF_ENDPOINT`)."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import huggingface_hub as hf
from huggingface_hub import errors

from wellspring.downloads.repositories import (
    COMMIT,
    Repository,
    Track,
    absent,
    admit,
    cached,
    digest_of,
    obtain,
    resolve,
)
from wellspring.errors import DownloadError

if TYPE_CHECKING:
    import datasets
    import pyarrow

CONFIGS = frozenset({"config.json", "adapter_config.json"})
SAFETENSORS = re.compile(r"(?P<stem>(?:adapter_)?model)(?:-\d+-of-(?P<shards>\d+))?\.safetensors")
PICKLES = re.compile(r"(?P<stem>pytorch_model|adapter_model)(?:-\d+-of-(?P<shards>\d+))?\.bin")
INDEX = re.compile(r"(?P<stem>model|pytorch_model)\.(?:safetensors|bin)\.index\.json")
ROWS = 16_384
"""Rows of a Parquet row group."""


@dataclass(frozen=True)
class Checkpoint:
    """The commit that was fetched, and each file's `size` in bytes and `sha256`."""

    commit: str
    files: Mapping[str, Mapping[str, int | str]]


@dataclass(frozen=True)
class Table:
    """The commit of a dataset that was fetched, and the rows of its split."""

    commit: str
    rows: int


def checkpoint(
    name: str, revision: str, folder: Path, tokenizer: Collection[str], track: Track
) -> Checkpoint:
    """Fetch a model's or an adapter's configuration, tokenizer and weights into `folder`.

    `tokenizer` names the files that one may have; sentencepiece models come with them. Weights are
    the safetensors that transformers and peft load, and pickles only where there are none; nothing
    else of the repository is fetched. What the user's own cache of the hub holds is linked from
    there: a commit that is named in full and cached needs no network. Files of the folder that are
    whole are kept, parts are continued, and what an earlier commit left is removed.

    Raises DownloadError where the repository or revision cannot be had, has no weights, does not
    fit on the disk, or where a file has not the digest that the hub names.
    """
    repository = _whole_cached(name, revision, tokenizer) or resolve("model", name, revision)
    wanted = _chosen(repository.files, tokenizer)
    _refuse_incomplete(repository, wanted)
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if _belongs(path.name, tokenizer) and path.name not in wanted:
            path.unlink()
    obtain(repository, wanted, folder, track)
    files = {
        file: {"size": (folder / file).stat().st_size, "sha256": digest_of(folder / file)}
        for file in wanted
    }
    return Checkpoint(repository.commit, files)


def table(
    name: str, revision: str, subset: str | None, split: str, path: Path, track: Track
) -> Table:
    """Write one split of a dataset of the hub as Parquet.

    `datasets` finds the split's files and reads them, whatever their format; no code of the
    repository is run. The files are fetched as a checkpoint's are (checked, and continued by the
    next call) and lie in `.{name}.files` until the table is written.

    Raises DownloadError where dataset, subset (None where there is one alone, or a default one) or
    split do not exist, with what there is, and where a file cannot be had or read.
    """
    commit, repository = revision, None
    if not hf.is_offline_mode():
        repository = resolve("dataset", name, revision)
        commit = repository.commit
        if repository.files:
            admit(repository, next(iter(repository.files)))
    elif not COMMIT.fullmatch(revision):
        found = cached("dataset", name, revision)
        if found is None:
            raise absent(f"hub:{name}@{revision}")
        commit = found.commit
    source = f"hub:{name}@{revision}"
    builder = _builder(source, name, commit, subset)
    files = builder.config.data_files
    splits = sorted(files or builder.info.splits or ())
    if split not in splits:
        raise DownloadError(f"{source}: has no split {split!r}; there is {', '.join(splits)}")
    folder = path.with_name(f".{path.name}.files").resolve()
    if repository is not None:
        builder.config.data_files = {split: _local(repository, files[split], folder, track)}
    rows = _write(source, builder, split, path)
    shutil.rmtree(folder, ignore_errors=True)
    return Table(commit, rows)


def _whole_cached(name: str, commit: str, tokenizer: Collection[str]) -> Repository | None:
    """A commit of which the cache has noted what there is, and holds all that is wanted."""
    found = cached("model", name, commit) if COMMIT.fullmatch(commit) else None
    if found is None:
        return None
    with suppress(errors.CachedRepoTreeNotFoundError):
        noted = [file.path for file in hf.get_cached_repo_tree(name, revision=commit)]
        if set(_chosen(noted, tokenizer)) <= set(found.files):
            return found
    return None


def _chosen(names: Iterable[str], tokenizer: Collection[str]) -> list[str]:
    """The files of a checkpoint, safetensors before pickles; none of a subfolder."""
    names = [name for name in names if _belongs(name, tokenizer)]
    safe = any(SAFETENSORS.fullmatch(name) for name in names)
    unwanted = re.compile(r".*\.bin(\.index\.json)?" if safe else r".*\.safetensors\.index\.json")
    return sorted(name for name in names if not unwanted.fullmatch(name))


def _belongs(name: str, tokenizer: Collection[str]) -> bool:
    patterns = (SAFETENSORS, PICKLES, INDEX, re.compile(r"[^/]+\.model"))
    return (
        name in CONFIGS or name in tokenizer or any(pattern.fullmatch(name) for pattern in patterns)
    )


def _refuse_incomplete(repository: Repository, wanted: Collection[str]) -> None:
    weights = [
        found
        for name in wanted
        if (found := SAFETENSORS.fullmatch(name) or PICKLES.fullmatch(name))
    ]
    if not weights:
        raise DownloadError(
            f"{repository}: holds no weights (model*.safetensors, pytorch_model*.bin or "
            f"adapter_model.*): name a repository of a transformers model or a peft adapter"
        )
    if not CONFIGS.intersection(wanted):
        raise DownloadError(f"{repository}: holds no config.json and no adapter_config.json")
    totals = [int(found["shards"]) for found in weights if found["shards"]]
    if totals and set(totals) != {len(totals)}:
        raise DownloadError(
            f"{repository}: {len(totals)} of {max(totals)} files of its weights are there: "
            f"fetch it again where there is a network, or name another revision"
        )


def _builder(source: str, name: str, commit: str, subset: str | None) -> datasets.DatasetBuilder:
    import datasets

    mendable = (ValueError, OSError, RuntimeError, datasets.exceptions.DatasetsError)
    try:
        builder = datasets.load_dataset_builder(name, subset, revision=commit)
    except mendable as error:
        subsets: list[str] = []
        with suppress(*mendable):
            subsets = datasets.get_dataset_config_names(name, revision=commit)
        if subsets and subset not in subsets:
            asked = "has several subsets" if subset is None else f"has no subset {subset!r}"
            raise DownloadError(f"{source}: {asked}; there is {', '.join(subsets)}") from error
        if hf.is_offline_mode():
            raise absent(source) from error
        raise DownloadError(f"{source}: {' '.join(str(error).split())}") from error
    # Where the hub cannot be reached, the library takes whatever it once prepared.
    if builder.hash != commit:
        raise DownloadError(
            f"{source}: the cache of datasets holds commit {builder.hash}: unset HF_HUB_OFFLINE, "
            f"or name that commit"
        )
    return builder


def _local(
    repository: Repository, addresses: Iterable[str], folder: Path, track: Track
) -> list[str]:
    """Fetch a split's files; where they lie."""
    root = f"hf://datasets/{repository.name}@{repository.commit}/"
    names = [address.removeprefix(root) for address in addresses]
    foreign = [name for name in names if name not in repository.files]
    if foreign:
        raise DownloadError(f"{repository}: reads {foreign[0]}, which is not its own file")
    folder.mkdir(parents=True, exist_ok=True)
    obtain(repository, names, folder, track)
    return [str(folder / name) for name in names]


def _write(source: str, builder: Any, split: str, path: Path) -> int:
    import datasets
    import pyarrow as pa

    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = builder.as_streaming_dataset(split).with_format("arrow").iter(batch_size=ROWS)
        rows = _stream(stream, part)
        if rows:
            part.replace(path)
    except (ValueError, TypeError, pa.ArrowException, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(error).split())
        raise DownloadError(f"{source}: split {split!r} cannot be read: {reason}") from error
    except OSError as error:
        raise DownloadError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
    if not rows:
        raise DownloadError(f"{source}: split {split!r} has no rows")
    return rows


def _stream(tables: Iterable[pyarrow.Table], part: Path) -> int:
    import pyarrow.parquet as pq

    writer, rows = None, 0
    try:
        for table in tables:
            if writer is None:
                # What datasets notes in the schema names its own versions' types.
                schema = table.schema.remove_metadata()
                writer = pq.ParquetWriter(part, schema)
            writer.write_table(table.cast(schema), row_group_size=ROWS)
            rows += table.num_rows
    finally:
        if writer is not None:
            writer.close()
    return rows

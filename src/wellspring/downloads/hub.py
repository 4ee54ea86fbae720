"""Checkpoints and datasets of a Hugging Face hub, or of a mirror of it (`HF_ENDPOINT`)."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import huggingface_hub as hf
from huggingface_hub import constants, errors

from wellspring.atomic import replacing
from wellspring.digests import sha256
from wellspring.downloads import selection
from wellspring.downloads.http import Fetched
from wellspring.downloads.repositories import (
    COMMIT,
    Repository,
    Track,
    absent,
    admit,
    cached,
    obtain,
    resolve,
)
from wellspring.downloads.selection import Small
from wellspring.errors import DownloadError

if TYPE_CHECKING:
    import datasets
    import pyarrow

ROWS = 16_384
"""Rows of a Parquet row group."""


@dataclass(frozen=True)
class Checkpoint:
    """The commit that was fetched, and what arrived of each file."""

    commit: str
    files: Mapping[str, Fetched]


@dataclass(frozen=True)
class Table:
    """The commit of a dataset that was fetched, and the rows of its split."""

    commit: str
    rows: int


def checkpoint(name: str, revision: str, folder: Path, small: Small, track: Track) -> Checkpoint:
    """Fetch a model's or an adapter's weights and the small files beside them into `folder`.

    `small` tells of a path whether it is one of those: configuration, tokenizer, and what says how
    a text is read; sentencepiece models come with them. Weights are the safetensors that
    transformers and peft load, and pickles only where the model, or the adapter, has none; nothing
    else of the repository is fetched. What the user's own cache of the
    hub holds is linked from there: a commit that is named in full and cached needs no network.
    Files of the folder that are whole are kept, parts are continued, and what an earlier commit
    left is removed.

    Raises DownloadError where the repository or revision cannot be had, has no weights, is cached
    in part and the hub is out of reach, does not fit on the disk, or where a file has not the
    digest that the hub names.
    """
    repository = _whole_cached(name, revision, small) or resolve("model", name, revision)
    names = selection.chosen(repository.files, small)
    if repository.from_cache:
        _refuse_partial(repository, names, small)
    selection.refuse_incomplete(str(repository), names)
    folder.mkdir(parents=True, exist_ok=True)
    selection.remove_others(folder, names, small)
    obtain(repository, names, folder, track)
    files = {file: Fetched(sha256(folder / file), (folder / file).stat().st_size) for file in names}
    return Checkpoint(repository.commit, files)


def beside_weights(
    name: str, revision: str, folder: Path, small: Small, track: Track
) -> Repository:
    """Fetch the small files of a checkpoint alone into `folder`; what the repository holds.

    Raises DownloadError as `checkpoint` does.
    """
    repository = resolve("model", name, revision)
    folder.mkdir(parents=True, exist_ok=True)
    obtain(repository, [file for file in repository.files if small(file)], folder, track)
    return repository


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
        snapshot = cached("dataset", name, revision)
        if snapshot is None:
            raise absent(f"hub:{name}@{revision}")
        commit = snapshot.commit
    source = f"hub:{name}@{revision}"
    builder = _builder(source, name, commit, subset)
    files = builder.config.data_files
    splits = sorted(map(str, files or builder.info.splits or ()))
    if split not in splits:
        raise DownloadError(f"{source}: has no split {split!r}; there is {', '.join(splits)}")
    folder = path.with_name(f".{path.name}.files").resolve()
    if repository is not None:
        builder.config.data_files = {split: _local(repository, files[split], folder, track)}
    rows = _write(source, builder, split, path)
    shutil.rmtree(folder, ignore_errors=True)
    return Table(commit, rows)


def _whole_cached(name: str, commit: str, small: Small) -> Repository | None:
    """A commit of which the cache has noted what there is, and holds all that is wanted."""
    snapshot = cached("model", name, commit) if COMMIT.fullmatch(commit) else None
    noted = _noted(snapshot) if snapshot is not None else None
    if snapshot is None or noted is None:
        return None
    return snapshot if set(selection.chosen(noted, small)) <= set(snapshot.files) else None


def _noted(repository: Repository) -> list[str] | None:
    """All that a commit has, where the cache has noted it."""
    try:
        tree = hf.get_cached_repo_tree(repository.name, revision=repository.commit)
    except errors.CachedRepoTreeNotFoundError:
        return None
    return [file.path for file in tree]


def _refuse_partial(repository: Repository, names: Collection[str], small: Small) -> None:
    """Refuse a cached commit that may lack files: what runs without one of them runs otherwise."""
    noted, shards = _noted(repository), selection.weights(names)
    missing: list[str] = []
    if noted is not None:
        missing = sorted(set(selection.chosen(noted, small)) - set(names))
    elif not shards:
        missing = ["weights"]
    elif "model" in shards and selection.TOKENIZERS.isdisjoint(names):
        missing = [" or ".join(sorted(selection.TOKENIZERS))]
    if missing:
        raise DownloadError(
            f"{repository}: the cache ({constants.HF_HOME}) has a part of it, without "
            f"{', '.join(missing)}: fetch it once with a network and HF_HUB_OFFLINE unset"
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
        asked = None
        if subset is None:
            asked = "has several subsets" if len(subsets) > 1 else None
        elif subsets and subset not in subsets:
            asked = f"has no subset {subset!r}"
        if asked is not None:
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

    try:
        with replacing(path) as part:
            stream = builder.as_streaming_dataset(split).with_format("arrow").iter(batch_size=ROWS)
            rows = _stream(stream, part)
            if not rows:
                raise DownloadError(f"{source}: split {split!r} has no rows")
    except (ValueError, TypeError, pa.ArrowException, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(error).split())
        raise DownloadError(f"{source}: split {split!r} cannot be read: {reason}") from error
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

"""Where the files of a test collection lie: in a folder, in an archive, or each by itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath

from wellspring.config.places import QRELS, is_archive
from wellspring.datasets.archives import Member, members
from wellspring.datasets.files import File
from wellspring.datasets.records import Source
from wellspring.errors import SourceError


class Folder:
    """The files of a source.

    `files` of the source is one folder or archive under the key None, or a path for each part: the
    parts that the format names, and judgements under `qrels` or under their split. A part may be an
    archive, too. Option `inside`: the folder below the source that holds the collection.
    """

    def __init__(self, source: Source) -> None:
        self._name = source.name
        self._files = source.files
        self._inside = source.options.get("inside")
        self._members: dict[Path, list[str]] = {}

    @property
    def whole(self) -> Path | None:
        """The folder or archive that holds all; None where each part is a path of its own."""
        return self._files.get(None)

    def splits(self, parts: Collection[str]) -> dict[str | None, str]:
        """Split to part of the judgements, where each part is a path: all beside the `parts`.

        Raises SourceError where there is none.
        """
        names = [part for part in self._files if part is not None and part not in parts]
        if not names:
            raise SourceError(
                f"dataset {self._name}: source names no judgements: name them qrels, or by split"
            )
        return {None if part == QRELS else part: part for part in names}

    def file(self, part: str, *names: str) -> File:
        """The file of a part: one of the `names` in the folder or archive, or the part's own path.

        Raises SourceError where an archive holds none of them, or several.
        """
        place = self.whole or self._files.get(part)
        if place is None:
            raise SourceError(f"dataset {self._name}: source names no {part}")
        if is_archive(str(place)):
            return self._only(place, self._ending(place, names), " or ".join(names))
        if self.whole is None:
            return place
        paths = [place / (self._inside or "") / name for name in names]
        return next((path for path in paths if path.exists()), paths[0])

    def below(self, folder: str, suffixes: Iterable[str]) -> tuple[Path, list[File]]:
        """A subfolder of the whole, for messages, and its files with these suffixes, by name."""
        whole = self.whole or Path()
        endings = tuple(suffixes)
        if not is_archive(str(whole)):
            place = whole / (self._inside or "") / folder
            paths = sorted(place.glob("*")) if place.is_dir() else []
            return place, [path for path in paths if path.name.endswith(endings)]
        names = [
            name
            for name in self._listed(whole)
            if name.endswith(endings) and PurePosixPath(name).parent.name == folder
        ]
        folders = {str(PurePosixPath(name).parent) for name in names}
        if len(folders) > 1:
            self._only(whole, sorted(folders), folder)
        return whole / folder, [Member(whole, name) for name in names]

    def _listed(self, archive: Path) -> list[str]:
        if archive not in self._members:
            self._members[archive] = members(archive)
        prefix = f"{self._inside}/" if self._inside else ""
        return [
            name for name in self._members[archive] if name.removeprefix("./").startswith(prefix)
        ]

    def _ending(self, archive: Path, names: Iterable[str]) -> list[str]:
        """What the archive holds under the first of the names that it holds at all."""
        listed = self._listed(archive)
        for name in names:
            ending = [each for each in listed if f"/{each}".endswith(f"/{name}")]
            if ending:
                return ending
        return []

    def _only(self, archive: Path, found: list[str], wanted: str) -> Member:
        if not found:
            where = f" in {self._inside}" if self._inside else ""
            raise SourceError(f"{archive}: holds no {wanted}{where}")
        if len(found) > 1:
            folders = ", ".join(str(PurePosixPath(name).parent) for name in found[:5])
            raise SourceError(
                f"{archive}: holds {wanted} {len(found)} times, in {folders}: name the folder of "
                f"one with datasets.{self._name}.inside"
            )
        return Member(archive, found[0])

"""All about one file: what its class, its metadata and its content say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wellspring.artefacts import lookup, provenance, reference
from wellspring.artefacts.base import Artefact
from wellspring.artefacts.contents import leaves
from wellspring.errors import StaleArtefact
from wellspring.inspection import Section
from wellspring.inspection.sections import shortened
from wellspring.plurals import counted

if TYPE_CHECKING:
    import pyarrow as pa

    from wellspring.artefacts.plan import Plan

VALUES = 40
"""Values of the provenance that are shown, before they are counted only."""


@dataclass(frozen=True)
class Inspection:
    """What there is to say of a file."""

    artefact: Artefact
    path: Path
    size: int
    """Bytes."""
    rows: int | None
    """None of what is no table, as the next two."""
    row_groups: int | None
    columns: Sequence[Mapping[str, object]]
    said: Mapping[str, Any]
    """Its provenance: identity, circumstances, facts and key."""
    sections: Sequence[Section]

    def facts(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "path": str(self.path),
            "kind": lookup.name_of(type(self.artefact)),
            "wildcards": vars(self.artefact),
            "summary": reference.summary(type(self.artefact)),
            "rule": self.artefact.rule,
            "bytes": self.size,
            "rows": self.rows,
            "row_groups": self.row_groups,
            "columns": self.columns,
            "provenance": self.said,
            **{each.name: {"note": each.note, "rows": each.rows} for each in self.sections},
        }

    def shown(self) -> Iterator[Section]:
        """All of it but what stands in the headline, for a person."""
        if self.columns:
            yield Section("columns", "Columns", self.columns)
        yield from self.sections
        # The identity, which is long, comes last.
        said = {name: self.said[name] for name in reversed(provenance.PARTS) if name in self.said}
        values = [
            {"name": row["name"], "value": shortened(str(row["value"]))} for row in leaves(said)
        ]
        more = len(values) - VALUES
        note = f"{counted(more, 'more value')}: --json shows all" if more > 0 else ""
        yield Section("provenance", "Provenance", values[:VALUES], note)


def inspect(results: Path, artefact: Artefact, plan: Plan | None = None) -> Inspection:
    """Look into a file.

    Raises StaleArtefact as `lookup.trusted` does, and where a part of it cannot be read.
    """
    lookup.trusted(results, artefact, plan)
    path = artefact.at(results)
    rows = groups = None
    columns: list[dict[str, object]] = []
    if path.suffix == ".parquet":
        from wellspring import shards

        with shards.opened(path) as file:
            rows, groups = file.metadata.num_rows, file.num_row_groups
            held = sum(file.metadata.row_group(each).num_rows for each in range(groups))
            if rows != held:
                raise StaleArtefact(f"{path}: is damaged: it has {held:,} rows and says {rows:,}")
            columns = list(_columns(type(artefact), file.schema_arrow))
    said = provenance.content(path)
    sections = list(artefact.sections(results))
    return Inspection(artefact, path, path.stat().st_size, rows, groups, columns, said, sections)


def _columns(kind: type[Artefact], schema: pa.Schema) -> Iterator[dict[str, object]]:
    """A row for each column that the class names; those that a placeholder stands for together,
    where they have one type."""
    groups: dict[tuple[str, str], list[str]] = {}
    for field in schema:
        named = kind.named(field.name) or field.name
        groups.setdefault((named, str(field.type)), []).append(field.name)
    for (_, stored), names in groups.items():
        column = kind.column(names[0])
        yield {
            "column": names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}",
            "count": len(names),
            "stored_as": stored,
            "meaning": column.meaning if column else "",
            "unit": column.unit if column else "",
        }

"""What all kinds of result files are: one small class each, an instance a file.

A class owns the path with its wildcards (its fields), the columns, the slice of the configuration
and the science that the file depends on, what it is made from, and reading, writing and checking.
An instance stands for one file: `EmbeddingShard("minilm", "pydocs", "query", 0)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from wellspring.config import SLUG
from wellspring.specs.base import Spec

if TYPE_CHECKING:
    from typing import Self

    import polars as pl
    import pyarrow as pa

    from wellspring.artefacts.sources import Digests
    from wellspring.config import Config
    from wellspring.inspection import Section
    from wellspring.shards import Provenance

RESULTS = "results"
"""Where all results lie, relative to the working directory."""

WILDCARDS = {
    **dict.fromkeys(
        (
            *("model", "encoder", "retriever", "dataset", "learned", "attribution", "study"),
            *("checkpoint", "teacher"),
        ),
        SLUG,
    ),
    "side": "query|passage",
    "shard": r"\d{3}",
    "layer": r"\d{2}",
    "passages": r"\d+",
    "figure": rf"layer-accuracy(\.{SLUG})?|similarity|layer-retrieval|indexes",
    "dimension": "data-efficiency|lengths|instructions|multi-task|domains",
    "measure": "cosine|dot|logit|given",
    "ladder": rf"(?:growth|stages)\.{SLUG}",
    "map": "heat|change",
    "chart": "evidence|evidence-correlations",
    "drawing": "concentration|sweep|sanity-checks",
    "file": r"[a-z]+(\.[a-z0-9]+)*",
}
"""What each wildcard may be. One wildcard a path component."""

Kind = Literal["text", "integer", "number", "boolean", "list", "vector"]


@dataclass(frozen=True)
class Column:
    """A column of a Parquet file."""

    kind: Kind
    meaning: str = ""
    unit: str = ""


@dataclass(frozen=True)
class Artefact:
    """One file under results/. The fields of a subclass are the wildcards of its path."""

    template: ClassVar[str]
    """The path below results/, a format string of the fields."""
    rule: ClassVar[str]
    """The rule, and so the command, that makes it."""
    Slice: ClassVar[type[Spec]] = Spec
    """The class of its slice of the configuration."""
    columns: ClassVar[Mapping[str, Column]] = {}
    """Name to column. A name with a placeholder, as {layer}, stands for all that fit it."""
    step: ClassVar[str | None] = None
    """The step that its identity names; None: the file holds no provenance."""
    sliced_by: ClassVar[Sequence[str] | None] = None
    """The fields that its slice depends on; None: all of them."""
    also: ClassVar[Sequence[str]] = ()
    """Further suffixes under which the same content is written."""
    batched_by: ClassVar[str | None] = None
    """The last integer of the path, of which one job takes several values, a file each; None: a
    file a job."""

    threads: ClassVar[int] = 1
    """Cores that its job asks for."""
    panels: ClassVar[Sequence[str]] = ()
    """The modules, below `wellspring`, that draw the kind on a study's page."""
    condensed: ClassVar[str] = ""
    """The function, `module:name` below `wellspring`, that makes of a file's lazy table the small
    one that panels get; empty: they get all of it."""

    def spec(self, config: Config) -> Spec:
        """The narrow slice of the configuration that the file depends on."""
        raise NotImplementedError

    @classmethod
    def asked(cls, config: Config) -> Iterable[Artefact]:
        """Those that a study ends with, not counting what these are made from."""
        return ()

    @classmethod
    def shown(cls, config: Config) -> Iterable[Artefact]:
        """Those that the panels of the study's page show."""
        return cls.asked(config)

    @classmethod
    def batches(cls, config: Config) -> Mapping[Sequence[str], Sequence[Sequence[int]]]:
        """The first fields of the path, to the values of `batched_by` that each job takes."""
        return {}

    @classmethod
    def told(cls, spec: Any) -> Mapping[str, Any]:
        """What a file's identity says of the slice."""
        return {"spec": spec.model_dump(mode="json")}

    def needs(self, config: Config) -> Mapping[str, Needed]:
        """Name to what it is made from: artefacts, and paths of sources that lie elsewhere."""
        return {}

    def keyed(self, config: Config) -> Mapping[str, Needed] | None:
        """The same of its key, where two ways lead to one file; None: what it is made from."""
        return None

    @classmethod
    def science(cls, spec: Any) -> Sequence[str]:
        """The entry modules of the step, below `wellspring`; empty where it makes no numbers."""
        return ()

    @classmethod
    def path(cls, batched: int | None = None) -> str:
        """The path with Snakemake's wildcards; batched: stands for one of them."""
        template = cls.template
        if batched is not None:
            field = rf"{{{cls.batched_by}(:[^}}]*)?}}"
            template = re.sub(
                field, lambda match: f"{{0{match[1] or ''}}}".format(batched), template
            )
        return f"{RESULTS}/{re.sub(':[^}]*}', '}', template)}"

    @classmethod
    def beside(cls, path: Path) -> Path:
        """This kind's file of the job that wrote the first kind's file at a path."""
        return path

    @classmethod
    def log(cls) -> str:
        """The log of the job, with the same wildcards."""
        parts = [part for part in PurePosixPath(cls.path()).parts if "{" in part]
        return f"{RESULTS}/logs/{cls.rule}/{'/'.join(parts).partition('.')[0]}.log"

    @classmethod
    def of(cls, wildcards: Any, batched: int | None = None) -> Self:
        """The artefact of a job, or of a match of its path; batched: one of several of a job."""
        return cls(
            **{
                field.name: batched
                if batched is not None and field.name == cls.batched_by
                else (int if field.type == "int" else str)(getattr(wildcards, field.name))
                for field in fields(cls)
            }
        )

    @classmethod
    def find(cls, path: str) -> Self | None:
        """The artefact at a path that begins with results/, if it is one of this kind."""
        match = pattern(cls.path()).fullmatch(path)
        return cls.of(_Match(match.groupdict())) if match else None

    @property
    def main_file(self) -> str:
        """The path of the file that says what it is, relative to the working directory."""
        return f"{RESULTS}/{self.template.format(**vars(self))}"

    @property
    def files(self) -> Sequence[str]:
        """All that the step leaves and later steps read; the first one says what it is."""
        return [self.main_file]

    @property
    def whole(self) -> Sequence[str]:
        """All that the step leaves of it under names that follow from its own."""
        path = PurePosixPath(self.main_file)
        others = (str(path.with_suffix(f".{suffix}")) for suffix in self.also)
        return list(dict.fromkeys([*self.files, *others]))

    def companions(self) -> Sequence[Path]:
        """What the step left beside the file, under names that it says itself.

        Raises ValueError, in one line, where it does not say them.
        """
        return []

    def harmed(self, facts: Mapping[str, Any], digests: Digests) -> str | None:
        """What is wrong with a file beside the one that says what it is; None: nothing."""
        return None

    def at(self, results: Path) -> Path:
        """The path where results lie elsewhere."""
        return results / self.template.format(**vars(self))

    def sections(self, results: Path) -> Iterable[Section]:
        """What `wellspring inspect` shows of its content; results: where all results lie."""
        from wellspring.artefacts import contents

        return contents.content(self.at(results))

    @classmethod
    def check(cls, path: Path, spec: Spec | str | None = None, **expected: Any) -> Provenance:
        """Compare what a file says of itself with what its reader expects.

        spec: the slice, or the digest of one. Raises StaleArtefact with the command that
        repairs it.
        """
        from wellspring import shards

        if isinstance(spec, str):
            return shards.check(path, spec, step=cls.step, **expected)
        if spec is not None:
            expected = {"spec": spec.model_dump(mode="json"), **expected}
        return shards.check(path, step=cls.step, **expected)

    @classmethod
    def read(
        cls,
        path: Path,
        spec: Spec | str | None = None,
        columns: Sequence[str] | None = None,
        **expected: Any,
    ) -> pl.DataFrame:
        """The table, after checking it as `check` does."""
        import polars as pl

        from wellspring import shards

        cls.check(path, spec, **expected)
        return pl.DataFrame(shards.read(path, columns))

    @classmethod
    def write(cls, path: Path, table: pl.DataFrame, provenance: Provenance) -> None:
        """Write the table atomically, beside it as CSV where the kind says so."""
        from wellspring import shards

        arrow = table.to_arrow()
        cls.fits(arrow.schema)
        if "csv" in cls.also:
            shards.write_text(path.with_suffix(".csv"), rounded(table).write_csv())
        shards.write(path, arrow, provenance)

    @classmethod
    def schema(cls, **special: Any) -> dict[str, Any]:
        """Column to its polars type, for a table that is made row by row.

        special: types that a kind of column does not say, as those of lists.
        """
        import polars as pl

        types = {
            "text": pl.String,
            "integer": pl.Int64,
            "number": pl.Float64,
            "boolean": pl.Boolean,
        }
        return {n: special[n] if n in special else types[c.kind] for n, c in cls.columns.items()}

    @classmethod
    def fits(cls, schema: pa.Schema) -> None:
        """Raise ValueError where columns are not those that the class names."""
        for field in schema:
            column = cls.column(field.name)
            if column is None or _kind(field.type) not in (column.kind, "null"):
                named = column.kind if column else "no such column"
                raise ValueError(f"{cls.__name__}.{field.name}: {field.type}, but {named} is named")
        missing = {name for name in cls.columns if "{" not in name} - set(schema.names)
        if missing - set(cls.optional()):
            raise ValueError(f"{cls.__name__}: lacks {', '.join(sorted(missing))}")

    @classmethod
    def column(cls, name: str) -> Column | None:
        """The column of a name, if the class names one."""
        named = cls.named(name)
        return None if named is None else cls.columns[named]

    @classmethod
    def named(cls, name: str) -> str | None:
        """How the class names a column: with a placeholder, as {layer}, or as it is."""
        for pattern in cls.columns:
            parts = (re.escape(part) for part in re.split(r"{\w+}", pattern))
            if re.fullmatch(".+".join(parts), name):
                return pattern
        return None

    @classmethod
    def optional(cls) -> Sequence[str]:
        """Columns that some files lack."""
        return ()


Needed = Artefact | str | Sequence[Artefact | str]


def rounded(table: pl.DataFrame) -> pl.DataFrame:
    """Numbers at six significant digits: a residual is small, and an effective number large."""
    import polars as pl

    return table.with_columns(pl.col(pl.Float64).round_sig_figs(6))


class _Match:
    """The groups of a match, as attributes."""

    def __init__(self, groups: Mapping[str, str]) -> None:
        self.__dict__.update(groups)


@cache
def pattern(path: str, **special: str) -> re.Pattern[str]:
    """What a path with wildcards stands for, a group for each of them.

    special: wildcard to what stands in its place.
    """
    parts = re.split(r"{(\w+)}", path)
    seen: set[str] = set()
    text = ""
    for index, part in enumerate(parts):
        if index % 2 == 0:
            text += re.escape(part)
        elif part in special:
            text += special[part]
        elif part in seen:
            text += f"(?P={part})"
        else:
            seen.add(part)
            text += f"(?P<{part}>{WILDCARDS[part]})"
    return re.compile(text)


def _kind(kind: pa.DataType) -> str:
    import pyarrow as pa

    if pa.types.is_null(kind):
        return "null"
    if pa.types.is_fixed_size_list(kind):
        return "vector"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return "list"
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind):
        return "integer"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return "binary"
    return "number" if pa.types.is_floating(kind) else "text"

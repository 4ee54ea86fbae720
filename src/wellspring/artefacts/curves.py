"""Files of published curves: CSV that others wrote."""

from __future__ import annotations

import csv
from pathlib import Path

import polars as pl
from pydantic import BaseModel, Field, ValidationError, model_validator

from wellspring.errors import SourceError
from wellspring.plurals import counted


class Point(BaseModel):
    """A line of a file of published curves."""

    dataset: str = Field(min_length=1)
    retriever: str = Field(min_length=1)
    passages: int = Field(ge=2, lt=1_000)
    layer: int = Field(ge=0, lt=1_000)
    correct: int = Field(ge=0, lt=1 << 40)
    samples: int = Field(ge=2, lt=1 << 40)

    @model_validator(mode="after")
    def _possible(self) -> Point:
        if self.correct > self.samples:
            raise ValueError(
                f"{self.correct} of {counted(self.samples, 'sample')} cannot be correct"
            )
        return self


def read(path: Path) -> pl.DataFrame:
    """The points of published curves, a row each, in the columns of `Point`.

    Raises SourceError with file, line and field for what is malformed or stands there twice.
    """
    from wellspring.datasets.files import lines

    names = list(Point.model_fields)
    rows = lines(path)
    location, header = next(rows, (f"{path}:1", ""))
    if header.split(",") != names:
        raise SourceError(f"{location}: expected the columns {','.join(names)}, found {header!r}")
    points: dict[tuple, Point] = {}
    for location, line in rows:
        point = _point(location, line, names)
        key = (point.dataset, point.retriever, point.passages, point.layer)
        if key in points:
            raise SourceError(f"{location}: this point stands further up already: {line}")
        points[key] = point
    if not points:
        raise SourceError(f"{path}: holds no points")
    return pl.DataFrame([point.model_dump() for point in points.values()])


def _point(location: str, line: str, names: list[str]) -> Point:
    try:
        (cells,) = csv.reader([line], strict=True)
        return Point.model_validate(dict(zip(names, cells, strict=True)))
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            message = first["msg"].removeprefix("Value error, ")
            raise SourceError(f"{location}: {message}") from None
        raise SourceError(
            f"{location}: field '{first['loc'][0]}': {first['msg']}, found {first['input']!r}"
        ) from None
    except (csv.Error, ValueError):
        raise SourceError(f"{location}: expected {len(names)} fields, found {line!r}") from None

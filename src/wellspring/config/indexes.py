"""Entries of approximate indexes: a class a kind, named by the key `kind`."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from wellspring.config.base import Strict


def _rising(values: list[int]) -> list[int]:
    if values != sorted(set(values)):
        raise ValueError("must rise: name each number once, the smallest first")
    return values


Rising = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1), AfterValidator(_rising)]
"""Numbers from 1 on."""


class GraphIndex(Strict):
    """A graph (HNSW, Malkov & Yashunin 2016): passages are linked to near ones."""

    kind: Literal["graph"]
    """`graph`."""
    m: int = Field(default=32, ge=2, le=1024)
    """Links of a passage on every level but the lowest, which has twice as many. The default is
    that of faiss."""
    ef_construction: int = Field(default=200, ge=1)
    """Candidates that are kept while a passage finds its links. The default is that of hnswlib;
    faiss has 40."""
    ef_search: Rising = Field(default=[16, 64, 256])
    """Candidates that are kept while a query searches; each is a setting that is measured. A search
    for more passages keeps as many as it is for. The first default is that of faiss, the others
    are four times the one before."""

    @property
    def built(self) -> tuple[str, ...]:
        """What tells the index from others, whatever a query looks at."""
        return (self.kind, str(self.m), str(self.ef_construction))


class ListsIndex(Strict):
    """Inverted lists (IVF): k-means puts each passage into the list of its nearest centre."""

    kind: Literal["lists"]
    """`lists`."""
    lists: int | None = Field(default=None, ge=1)
    """Centres, at most as many as there are passages. Left out, 4 √passages, the fewest that
    faiss's guidelines name for corpora below a million."""
    probes: Rising = Field(default=[1, 8, 64])
    """Lists that a query looks into; each is a setting that is measured. All of them make the
    search exact. The first default is that of faiss, the others are eight times the one before."""

    @property
    def built(self) -> tuple[str, ...]:
        """What tells the index from others, whatever a query looks at."""
        return (self.kind, str(self.lists))

    @model_validator(mode="after")
    def _as_many(self) -> ListsIndex:
        if self.lists is not None and self.probes[-1] > self.lists:
            raise ValueError(
                f"{self.probes[-1]} probes of {self.lists} lists: name at most {self.lists}, which "
                "are all"
            )
        return self


Index = Annotated[GraphIndex | ListsIndex, Field(discriminator="kind")]
INDEXES = tuple(
    get_args(kind.model_fields["kind"].annotation)[0] for kind in get_args(get_args(Index)[0])
)
"""The kinds of indexes."""

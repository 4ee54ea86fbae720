"""Tables that one function makes of other tables: a class and the function are all there is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from wellspring.artefacts.base import Artefact
from wellspring.config import Config


@dataclass(frozen=True)
class Table(Artefact):
    """A table of a study that a function of the science makes of other tables.

    Its command, named as its rule, reads each file that the class needs, calls the function with
    every table under its name in `needs` and with the settings of the slice under theirs, and
    writes what that gives.
    """

    function: ClassVar[str]
    """The module, below `wellspring`, and the function: `findings.power:power`."""
    study: str

    @classmethod
    def asked(cls, config: Config) -> Iterable[Artefact]:
        return [cls(config.study.name)]

    @classmethod
    def science(cls, spec: Any) -> Sequence[str]:
        return [cls.function.partition(":")[0]]

"""One small class for each kind of file under results/, and what a configuration asks of them."""

from wellspring.artefacts.base import RESULTS, WILDCARDS, Artefact, Column
from wellspring.artefacts.batches import Batch, batches
from wellspring.artefacts.plan import Plan, lines
from wellspring.artefacts.registry import find, kinds, kinds_of
from wellspring.artefacts.studies import nearby, record
from wellspring.artefacts.workflow import clear, equipped, expect, replan

__all__ = [
    "RESULTS",
    "WILDCARDS",
    "Artefact",
    "Batch",
    "Column",
    "Plan",
    "batches",
    "clear",
    "equipped",
    "expect",
    "find",
    "kinds",
    "kinds_of",
    "lines",
    "nearby",
    "record",
    "replan",
]

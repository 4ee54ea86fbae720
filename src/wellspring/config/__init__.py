"""config.yaml as typed, documented, checked objects."""

from wellspring.config.attributions import SIMILARITIES, Attributing, Attribution, Padding
from wellspring.config.base import SLUG
from wellspring.config.checks import parse
from wellspring.config.datasets import (
    BM25,
    OF_WORDS,
    REMOTE,
    SCORERS,
    Bm25,
    Facts,
    Negatives,
    Pydocs,
    Splits,
    Trec,
)
from wellspring.config.entries import (
    PUBLISHED_PROBE,
    AttributionGrid,
    Config,
    ProbeGrid,
    SearchGrid,
)
from wellspring.config.files import read
from wellspring.config.fitting import check_checkpoints
from wellspring.config.models import ARCHITECTURES, Architecture, Encoder, Model, Sizes, Tokenizer
from wellspring.config.notes import notes
from wellspring.config.paths import anchor, anchored, check_paths, load, local_paths
from wellspring.config.recipes import Flops, Lora, Recipe
from wellspring.config.study import LAYERLESS, Findings, Probing, Searching
from wellspring.config.teachers import CrossEncoder, Teacher

__all__ = [
    "ARCHITECTURES",
    "BM25",
    "LAYERLESS",
    "OF_WORDS",
    "PUBLISHED_PROBE",
    "REMOTE",
    "SCORERS",
    "SIMILARITIES",
    "SLUG",
    "Architecture",
    "Attributing",
    "Attribution",
    "AttributionGrid",
    "Bm25",
    "Config",
    "CrossEncoder",
    "Encoder",
    "Facts",
    "Findings",
    "Flops",
    "Lora",
    "Model",
    "Negatives",
    "Padding",
    "ProbeGrid",
    "Probing",
    "Pydocs",
    "Recipe",
    "SearchGrid",
    "Searching",
    "Sizes",
    "Splits",
    "Teacher",
    "Tokenizer",
    "Trec",
    "anchor",
    "anchored",
    "check_checkpoints",
    "check_paths",
    "load",
    "local_paths",
    "notes",
    "parse",
    "read",
]

"""The configuration of the default study and of those beside it: whose sizes benchmarks have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml
from snakemake.utils import update_config

from wellspring import config as configuration
from wellspring.config import Config

ROOT = Path(__file__).parents[1]


def read(studies: Sequence[Path] = ()) -> Config:
    """config.yaml and the studies, merged as Snakemake does."""
    files, merged = [ROOT / "config.yaml", *(study.resolve() for study in studies)], {}
    for file in files:
        update_config(merged, yaml.safe_load(file.read_text(encoding="utf-8")))
    return configuration.parse(configuration.anchor(merged, files))

"""Format `ir_datasets`: a collection of the package of this name, fetched as a BEIR archive."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from wellspring.datasets import beir
from wellspring.datasets.records import Records, Source


def read(source: Source) -> Records:
    """Reads the archive under the key None of `source.files`; options and errors as of `beir`.

    A collection has one set of judgements, and so publishes no split.
    """
    records = beir.read(source)
    unsplit = records.judgements.with_columns(split=pl.lit(None, pl.String))
    return replace(records, judgements=unsplit)

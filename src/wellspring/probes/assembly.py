"""From samples and the vectors of their texts to the arrays that probes work on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch

from wellspring.errors import StaleArtefact
from wellspring.probes.data import ProbeData

Vectors = tuple[Sequence[str], np.ndarray]
"""Text ids, and their float32 vectors [texts, hidden], row by row."""


def assemble(
    samples: pl.DataFrame, scores: pl.DataFrame, queries: Vectors, passages: Vectors
) -> ProbeData:
    """Point each sample's query and candidates at the rows of their vectors.

    samples: sample_id, split, query_id, positive_id, negative_ids. scores: sample_id and, a column
    a lexical scorer, the scores of the positive and its negatives, in their order. Raises
    StaleArtefact where a text has no vector.
    """
    candidates = samples.select(pl.concat_list("positive_id", "negative_ids")).to_series()
    scored = samples.join(scores, on="sample_id", how="left", maintain_order="left")
    return ProbeData(
        queries=torch.from_numpy(queries[1]),
        passages=torch.from_numpy(passages[1]),
        query_rows=_rows(queries[0], samples["query_id"]),
        candidate_rows=_rows(passages[0], candidates.explode()).reshape(len(samples), -1),
        sample_ids=samples["sample_id"].to_list(),
        query_ids=samples["query_id"].to_list(),
        split=samples["split"].to_numpy(),
        lexical={
            scorer: np.array(scored[scorer].to_list(), dtype=np.float32)
            for scorer in scores.columns
            if scorer != "sample_id"
        },
    )


def _rows(ids: Sequence[str], wanted: pl.Series) -> np.ndarray:
    row = {text_id: number for number, text_id in enumerate(ids)}
    try:
        return np.array([row[text_id] for text_id in wanted])
    except KeyError as error:
        raise StaleArtefact(
            f"the shards hold no vector of text {error}; make them again: "
            "snakemake --cores all --forcerun embed"
        ) from None

"""From samples and the vectors of their texts to the arrays that probes work on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch

from wellspring.config import Splits
from wellspring.datasets.splits import redrawn
from wellspring.errors import StaleArtefact
from wellspring.probes.data import ProbeData
from wellspring.randomness import key

Vectors = tuple[Sequence[str], np.ndarray]
"""Text ids, and their float32 vectors [texts, hidden], row by row."""


def assemble(
    samples: pl.DataFrame,
    scores: pl.DataFrame,
    queries: Vectors,
    passages: Vectors,
    split: np.ndarray,
) -> ProbeData:
    """Point each sample's query and candidates at the rows of their vectors.

    samples: sample_id, query_id, positive_id, negative_ids. scores: sample_id and, a column a
    lexical scorer, the scores of the positive and its negatives, in their order. split: str [R, S],
    as from `splits_of`. Raises StaleArtefact where a text has no vector.
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
        split=split,
        lexical={
            scorer: np.array(scored[scorer].to_list(), dtype=np.float32)
            for scorer in scores.columns
            if scorer != "sample_id"
        },
    )


def splits_of(
    samples: pl.DataFrame, splits: Splits, seeds: Sequence[int], redraw: bool
) -> np.ndarray:
    """The split of every sample under every seed, str [R, S].

    samples: sample_id, query_id, split, published. The first seed has the samples' own split. With
    `redraw` each other seed splits anew, by the same rule and shares, the samples whose split the
    source does not publish; else all seeds have that one.
    """
    own = samples["split"].to_numpy()
    if not redraw:
        return np.tile(own, (len(seeds), 1))
    published = samples["published"].to_list()
    units = samples["query_id" if splits.by == "query" else "sample_id"].to_list()
    drawn = [
        redrawn(published, units, splits.test, splits.validation, key(splits.seed, "split", seed))
        for seed in seeds[1:]
    ]
    return np.stack([own, *drawn])


def _rows(ids: Sequence[str], text_ids: pl.Series) -> np.ndarray:
    row = {text_id: number for number, text_id in enumerate(ids)}
    try:
        return np.array([row[text_id] for text_id in text_ids])
    except KeyError as error:
        raise StaleArtefact(
            f"the shards hold no vector of text {error}; make them again: "
            "snakemake --cores all --forcerun embed"
        ) from None

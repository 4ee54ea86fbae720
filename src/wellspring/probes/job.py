"""One probe job: every kind under every seed on one layer, dataset and passage count."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import polars as pl
import torch
from torch.nn.functional import normalize

from wellspring.config import LAYERLESS
from wellspring.probes import candidates, metrics, training
from wellspring.probes.data import ProbeData, ProbeResult, ProbeSettings
from wellspring.probes.features import moments
from wellspring.probes.kinds import build, initial
from wellspring.probes.tasks import Task

_BLOCK = 2048  # samples at a time whose products with their candidates are built
_CURVES = {
    "probe": pl.String,
    "seed": pl.Int64,
    "epoch": pl.Int64,
    "train_loss": pl.Float64,
    "validation_loss": pl.Float64,
    "validation_accuracy": pl.Float64,
}
Vectors = tuple[torch.Tensor, torch.Tensor]


def run(
    data: ProbeData,
    passages: int,
    settings: ProbeSettings,
    device: str | torch.device = "cpu",
) -> ProbeResult:
    """Fit and test every kind under every seed with `passages` candidates, the positive included.

    Choices depend on (seed, sample id) alone, and samples are worked on in the order of their ids:
    on one machine and thread count their given order changes no byte of the result.

    Raises:
        ConfigError: more passages than candidates, an empty split, no lexical scores, too few
            queries to shuffle.
        ModelError: vectors that are not finite, or not as wide on both sides.
    """
    data.check(passages, settings.kinds)
    with torch.inference_mode():
        job = _Job(data.by_id(), passages, settings, torch.device(device))
        found = [job.outcome(kind) for kind in settings.kinds]
    return ProbeResult(
        samples=pl.concat(frame for outcome in found for frame in outcome[0]),
        metrics=pl.DataFrame([row for _, rows, _ in found for row in rows], metrics.METRICS),
        curves=pl.concat([pl.DataFrame(schema=_CURVES), *(f for *_, fs in found for f in fs)]),
    )


class _Job:
    """What all kinds of a job share, made once."""

    def __init__(
        self, data: ProbeData, passages: int, settings: ProbeSettings, device: torch.device
    ) -> None:
        self.data, self.settings, self.device = data, settings, device
        self.draw = candidates.draw(data.candidate_rows, data.sample_ids, settings.seeds, passages)
        self.chance = candidates.chance(self.draw.rows)
        self.raw: Vectors = (data.queries.to(device), data.passages.to(device))
        train = data.split == "train"
        self.moments = [
            moments(vectors, rows[train])
            for vectors, rows in zip(self.raw, (data.query_rows, data.candidate_rows), strict=True)
        ]
        self.constant = [int(side.constant.sum()) for side in self.moments]

    @cached_property
    def standard(self) -> Vectors:
        """Queries and passages, standardised."""
        sides = zip(self.moments, self.raw, strict=True)
        return tuple(side.standardise(vectors) for side, vectors in sides)

    def outcome(self, kind: str) -> tuple[list[pl.DataFrame], list[dict], list[pl.DataFrame]]:
        """Test samples, rows of metrics and curves of one kind, one of each a seed."""
        target, fit, label = self.draw.target, None, "ok"
        if kind == "random-label":
            target = candidates.random_targets(
                self.draw, self.data.candidate_rows, self.data.sample_ids
            )
        scorer = self._scorer(kind)
        constant = self.constant[1] if kind == "passage-scorer" else sum(self.constant)
        constant = 0 if scorer else constant
        if scorer is None and self.constant[1] == self.raw[1].shape[1]:
            # Only passages tell candidates apart. Training would fit slots; scores would differ
            # by rounding.
            credit, label = self.chance, "constant"
        else:
            if scorer:
                scores = self._ordered(self.data.lexical[scorer])
            elif kind.startswith("cosine"):
                scores = self._ordered(self._cosine(kind))
            else:
                fit, scores = self._trained(kind, target)
            credit = candidates.credit(scores, self.draw.rows, target)
        rows = [row | {"scorer": scorer} for row in self._rows(kind, credit, fit, constant, label)]
        return self._samples(kind, credit), rows, self._curves(kind, fit) if fit else []

    def _trained(self, kind: str, target: np.ndarray) -> tuple[training.Fit, np.ndarray]:
        """The fit of a trained kind, and its logits for all samples, [R, S, N]."""
        data, settings, device = self.data, self.settings, self.device
        query_rows = np.tile(data.query_rows, (len(settings.seeds), 1))
        if kind == "shuffled-query":
            query_rows = candidates.swapped_queries(
                data.query_rows, data.query_ids, data.split, settings.seeds
            )
        task = Task(
            *(self.standard if settings.standardise else self.raw),
            *(torch.from_numpy(a).to(device) for a in (query_rows, self.draw.rows, target)),
        )
        train, validation = (np.flatnonzero(data.split == s) for s in ("train", "validation"))
        probe = build(kind, task, settings, min(settings.batch_size, len(train)))
        weights = initial(probe, kind, settings)
        fit = training.train(probe, weights, train, validation, self.draw.keys, settings)
        return fit, training.scores(probe, fit.weights)

    def _scorer(self, kind: str) -> str | None:
        """The lexical scorer of a kind; of `lexical` the one that ranks validation samples best."""
        if kind != "lexical":
            return kind if kind in LAYERLESS else None
        accuracies = {}
        for scorer, scores in sorted(self.data.lexical.items()):
            credit = candidates.credit(self._ordered(scores), self.draw.rows, self.draw.target)
            validation = np.broadcast_to(self.data.split == "validation", credit.shape)
            accuracies[scorer] = credit[validation].mean()
        return max(accuracies, key=accuracies.get)

    def _cosine(self, kind: str) -> np.ndarray:
        """Of every sample's query and candidates, [S, K+1]; 0 where a vector is 0."""
        vectors = self.standard if kind == "cosine-standardised" else self.raw
        queries, passages = (normalize(side, dim=1, eps=1e-30) for side in vectors)
        blocks = zip(
            torch.from_numpy(self.data.query_rows).to(self.device).split(_BLOCK),
            torch.from_numpy(self.data.candidate_rows).to(self.device).split(_BLOCK),
            strict=True,
        )
        # Products and sums, not a matrix product: equal texts get equal bits, so that ties show.
        found = [(queries[q][:, None] * passages[p]).sum(-1) for q, p in blocks]
        return torch.cat(found).cpu().numpy()

    def _ordered(self, scores: np.ndarray) -> np.ndarray:
        """Scores of all candidates [S, K+1] to those drawn, [R, S, N]."""
        return np.take_along_axis(scores[None], self.draw.columns, -1)

    def _samples(self, kind: str, credit: np.ndarray) -> list[pl.DataFrame]:
        """The test samples' credit, a frame a seed."""
        test = np.flatnonzero(self.data.split == "test")
        ids = {
            "sample_id": [self.data.sample_ids[place] for place in test],
            "query_id": [self.data.query_ids[place] for place in test],
        }
        return [
            pl.DataFrame(ids | {"correct": credit[r, test], "chance": self.chance[r, test]}).select(
                pl.lit(kind).alias("probe"), pl.lit(seed, pl.Int64).alias("seed"), pl.all()
            )
            for r, seed in enumerate(self.settings.seeds)
        ]

    def _rows(
        self, kind: str, credit: np.ndarray, fit: training.Fit | None, constant: int, label: str
    ) -> list[dict[str, object]]:
        """The metrics of each seed."""
        query = np.asarray(self.data.query_ids)
        return [
            metrics.row(
                credit[r], self.chance[r], self.data.split, query, fit.curve(r) if fit else {}
            )
            | {"probe": kind, "seed": seed, "constant_features": constant, "label": label}
            for r, seed in enumerate(self.settings.seeds)
        ]

    def _curves(self, kind: str, fit: training.Fit) -> list[pl.DataFrame]:
        """The training curve of each seed."""
        return [
            pl.DataFrame(
                {
                    "epoch": np.arange(1, end + 1),
                    "train_loss": fit.train_loss[r, :end],
                    "validation_loss": fit.validation_loss[r, :end],
                    "validation_accuracy": fit.validation_accuracy[r, :end],
                }
            ).select(pl.lit(kind).alias("probe"), pl.lit(seed, pl.Int64).alias("seed"), pl.all())
            for r, (seed, end) in enumerate(zip(self.settings.seeds, fit.epochs, strict=True))
        ]

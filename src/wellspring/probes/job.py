"""One probe job: every kind under every seed on one layer, dataset and passage count."""

from __future__ import annotations

from dataclasses import fields
from functools import cached_property

import numpy as np
import polars as pl
import torch
from torch.nn.functional import normalize

from wellspring.config import LAYERLESS
from wellspring.probes import candidates, frames, portions, training
from wellspring.probes.data import TRAINED, ProbeData, ProbeResult, ProbeSettings, names
from wellspring.probes.features import moments
from wellspring.probes.frames import Outcome
from wellspring.probes.grading import Grading
from wellspring.probes.kinds import form
from wellspring.probes.questions import Question
from wellspring.randomness import generator

_BLOCK = 2048  # samples at a time whose products with their candidates are built
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
    data.check(passages, settings)
    results: dict[str, ProbeResult] = {}
    with torch.inference_mode():
        job = _Job(data.by_id(), passages, settings, torch.device(device))
        for group in _groups(names(settings.kinds)):
            results |= zip(group, job.outcomes(group), strict=True)
    ordered = [results[name] for name in names(settings.kinds)]
    parts = ([getattr(part, field.name) for part in ordered] for field in fields(ProbeResult))
    return ProbeResult(*map(pl.concat, parts))


def _groups(probes: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The names that are fitted together: those that read the same features.

    `concat` stays alone, so that its fit is the published one whatever else is fitted.
    """
    groups: dict[str, list[str]] = {}
    for name in probes:
        alone = name == "shuffled-query" or form(name) == "concat"
        groups.setdefault(name if alone else form(name), []).append(name)
    return [tuple(group) for group in groups.values()]


class _Job:
    """What all kinds of a job share, computed once."""

    def __init__(
        self, data: ProbeData, passages: int, settings: ProbeSettings, device: torch.device
    ) -> None:
        self.data, self.settings, self.device = data, settings, device
        self.keys = candidates.keys_of(settings.seeds, data.sample_ids)
        self.draw = candidates.draw(data.candidate_rows, self.keys, passages)
        self.train, self.validation = (
            candidates.as_many(data.split == name, self.keys) for name in ("train", "validation")
        )
        self.everyone = np.tile(np.arange(len(data.sample_ids)), (len(self.keys), 1))
        self.raw: Vectors = (data.queries.to(device), data.passages.to(device))
        # One map for all seeds, which sees no label: the first seed's training split gives it.
        first = data.split[0] == "train"
        self.moments = [
            moments(vectors, rows[first])
            for vectors, rows in zip(self.raw, (data.query_rows, data.candidate_rows), strict=True)
        ]
        self.constant = [int(side.constant.sum()) for side in self.moments]

    def outcomes(self, group: tuple[str, ...]) -> list[ProbeResult]:
        """The results of the probes of these names, which differ in their targets alone."""
        gradings = [Grading(name, self._question(name), self._pools) for name in group]
        kind = form(group[0])
        if kind not in LAYERLESS and self.constant[1] == self.raw[1].shape[1]:
            outcomes = [self._alike(grading) for grading in gradings]
        elif kind in TRAINED:
            outcomes = self._trained(gradings)
        else:
            outcomes = [self._untrained(grading) for grading in gradings]
        constant = self.constant[1] if kind == "passage-scorer" else sum(self.constant)
        constant = 0 if kind in LAYERLESS else constant
        return [frames.result(each, constant, self.data, self.settings) for each in outcomes]

    def _alike(self, grading: Grading) -> Outcome:
        """The outcome where all passages look alike, so that nothing tells candidates apart.

        Training would fit slots, and scores would differ by rounding alone.
        """
        chance, code = grading.chance(self.everyone), None
        if self._is_coded(grading.name):
            code = portions.uniform(self._portions, self.draw.rows.shape[-1])
        return Outcome(grading.name, chance, chance, "constant", code=code)

    def _untrained(self, grading: Grading) -> Outcome:
        """The outcome of a probe that scores every candidate without training."""
        chance = grading.chance(self.everyone)
        if grading.name not in LAYERLESS:
            scores = self._drawn(self._scores(grading.name))
            return Outcome(grading.name, grading.credit(scores, self.everyone), chance)
        scorers = [grading.name] if grading.name != "lexical" else sorted(self.data.lexical)
        credits = np.stack(
            [
                grading.credit(self._drawn(self.data.lexical[scorer]), self.everyone)
                for scorer in scorers
            ]
        )
        best = self._best_on_validation(credits)
        credit = np.take_along_axis(credits, best[None, :, None], 0)[0]
        return Outcome(grading.name, credit, chance, scorers=[scorers[index] for index in best])

    def _best_on_validation(self, credits: np.ndarray) -> np.ndarray:
        """The index of the scorer that earns most under each seed, [R]; credits [scorers, R, S].

        Validation samples of one seed may be test samples of another: each seed has its own.
        """
        validation = self.data.split == "validation"
        means = (credits * validation).sum(-1, dtype=np.float64) / validation.sum(-1)
        return means.argmax(0)

    def _drawn(self, scores: np.ndarray) -> np.ndarray:
        """Scores of all candidates [S, K+1] to those drawn, [R, S, N]."""
        return np.take_along_axis(scores[None], self.draw.columns, -1)

    def _trained(self, gradings: list[Grading]) -> list[Outcome]:
        """Fits to the training split, and to portions of the first seed's."""
        data, settings, everyone = self.data, self.settings, self.everyone
        questions = [grading.question for grading in gradings]
        fits = training.fit(gradings[0].name, questions, self.train, self.validation, settings)
        tested, outcomes = np.flatnonzero((data.split == "test").any(0)), []
        for grading, fit in zip(gradings, fits, strict=True):
            credit = grading.credit(fit.scores(everyone), everyone)
            chance = grading.chance(everyone)
            chance[:, tested] = grading.chance(everyone[:, tested], fit)
            code = None
            if self._is_coded(grading.name):
                test = np.flatnonzero(data.split[0] == "test")
                samples = self.validation[:1], test, np.asarray(data.query_ids)
                code = portions.measure(grading.first(), self._portions, *samples, settings)
            outcomes.append(Outcome(grading.name, credit, chance, fit=fit, code=code))
        return outcomes

    def _is_coded(self, name: str) -> bool:
        """Whether a code length is asked of a probe: of trained ones, but not on random targets."""
        trained = form(name) in TRAINED and not name.startswith("random-label")
        return trained and bool(self._portions)

    def _question(self, name: str) -> Question:
        """What the probes of a name are asked."""
        data, seeds, cosines = self.data, self.settings.seeds, None
        query_rows = np.tile(data.query_rows, (len(seeds), 1))
        if name == "shuffled-query":
            query_rows = candidates.swapped_queries(
                data.query_rows, data.query_ids, data.split, seeds
            )
            cosines = self._cosine(self.raw, query_rows) / self._unit
        elif form(name) == "interaction":
            cosines = self._raw_cosines / self._unit
        return Question(
            *(self.standard if self.settings.standardise else self.raw),
            query_rows=query_rows,
            candidate_rows=data.candidate_rows,
            seeds=seeds,
            keys=self.keys,
            draw=self.draw,
            cosines=cosines,
            lots=(self._lots if name.startswith("random-label") else None,),
        )

    def _scores(self, name: str) -> np.ndarray:
        """What a cosine gives all candidates, [S, K+1]."""
        if name == "cosine":
            return self._raw_cosines[0].cpu().numpy()
        if name != "cosine-standardised":
            raise ValueError(f"{name}: no scores are written for this kind")
        return self._cosine(self.standard, self.data.query_rows[None])[0].cpu().numpy()

    def _cosine(self, vectors: Vectors, query_rows: np.ndarray) -> torch.Tensor:
        """Cosines of queries [R, S] and their candidates, [R, S, K+1]; 0 where a vector is 0."""
        queries, passages = (normalize(side, dim=1, eps=1e-30) for side in vectors)
        blocks = zip(
            torch.from_numpy(query_rows).to(self.device).split(_BLOCK, dim=1),
            torch.from_numpy(self.data.candidate_rows).to(self.device).split(_BLOCK),
            strict=True,
        )
        # Products and sums, not a matrix product: equal texts get equal bits, so that ties show.
        cosines = [
            torch.stack([(queries[row][:, None] * passages[p]).sum(-1) for row in q])
            for q, p in blocks
        ]
        return torch.cat(cosines, dim=1)

    @cached_property
    def standard(self) -> Vectors:
        """Queries and passages, standardised."""
        sides = zip(self.moments, self.raw, strict=True)
        queries, passages = (side.standardise(vectors) for side, vectors in sides)
        return queries, passages

    @cached_property
    def _raw_cosines(self) -> torch.Tensor:
        """float32 [1, S, K+1], of the vectors as they are."""
        return self._cosine(self.raw, self.data.query_rows[None])

    @cached_property
    def _unit(self) -> float:
        """How far cosines deviate from their list's mean in the first training split (root mean
        square): in this unit an optimiser's step means as much for them as for other features."""
        lists = self._raw_cosines[0][torch.from_numpy(self.data.split[0] == "train")]
        return float((lists - lists.mean(-1, keepdim=True)).square().mean().sqrt()) or 1.0

    @cached_property
    def _lots(self) -> np.ndarray:
        """Random numbers of the random-label tasks, uint64 [R, Up]."""
        data = self.data
        return candidates.passage_lots(self.keys, data.candidate_rows, data.sample_ids)

    @cached_property
    def _portions(self) -> list[portions.Portion]:
        """Portions of the first seed's training split."""
        samples, seed = self.train[0], self.settings.seeds[0]
        query_ids = np.asarray(self.data.query_ids)[samples]
        return portions.cut(samples, query_ids, seed, self.settings.portions)

    @cached_property
    def _pools(self) -> list[np.ndarray]:
        """For each seed the texts of its test lists, in random order."""
        pools = []
        for seed, split in zip(self.settings.seeds, self.data.split, strict=True):
            rows = self.data.candidate_rows[split == "test"]
            listed, first = np.unique(rows, return_index=True)
            pools.append(generator(seed, "unrelated").permutation(listed[first.argsort()]))
        return pools

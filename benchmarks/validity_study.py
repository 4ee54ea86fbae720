"""What the default study's own texts and vectors tell of a number's validity.

Lexical floors under three ways to mine negatives, how much one split decides, and what training an
`interaction` adds to the cosine. Probes are fitted as the study's are, without their code lengths.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from benchmarks import calibration, measure, studies
from wellspring import intervals, specs
from wellspring.artefacts.datasets import Samples as DrawnSamples
from wellspring.artefacts.embeddings import EmbeddingShard
from wellspring.config import Config
from wellspring.findings import outcomes, table
from wellspring.findings.outcomes import Outcomes, Samples
from wellspring.findings.statistics import Significance, sign_flip_max_t
from wellspring.intervals import Interval
from wellspring.probes import ProbeData, ProbeSettings, assemble, run, splits_of
from wellspring.probes.assembly import Vectors
from wellspring.randomness import generator

MINED = studies.read([studies.ROOT / "studies" / "negatives.yaml"])
"""The default study's texts under three miners of negatives."""
CONFIG = studies.read()
RETRIEVER, DATASET, LAYERS, PASSAGES, PROBING = CONFIG.probed()[0]
OTHER = CONFIG.retrievers[RETRIEVER].compared_with
DRAWS = 3
"""Draws of negatives that the first release averaged on its one split."""
FLOORS = {
    ("bm25", "bm25"): (".565", ".471"),
    ("bm25", "word-tfidf"): ("none (.591)", "none (.465)"),
    ("bm25", "character-tfidf"): ("none (.707)", "none (.551)"),
    ("bm25", "lexical"): ("bm25: .565", "bm25: .471"),
}
"""By miner and scorer, at N = 2 and 5. In brackets what a review found on the same samples, the
characters in runs of 3 to 5."""
Outcome = tuple[Outcomes, Samples]


def settings(
    kinds: Sequence[str], seeds: Sequence[int], portions: Sequence[float] = ()
) -> ProbeSettings:
    """The study's, for these kinds, seeds and portions."""
    optimiser = PROBING.optimiser.model_dump(mode="json")
    return ProbeSettings(
        kinds=tuple(kinds), seeds=tuple(seeds), portions=tuple(portions), **optimiser
    )


def floors() -> Iterator[dict[str, object]]:
    """The accuracy of every lexical scorer, by what mined the negatives."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        sources = [folder / "texts.parquet", folder / "judgements.parquet"]
        _step("texts", specs.texts(MINED, DATASET), folder, *sources)
        for dataset in MINED.probed_datasets():
            drawn, scores = folder / f"{dataset}.parquet", folder / f"{dataset}.scores.parquet"
            _step("samples", specs.samples(MINED, dataset), folder, *sources, drawn)
            _step("lexical", specs.lexical(MINED, dataset), folder, sources[0], drawn, scores)
            data = _without_vectors(MINED, dataset, drawn, scores)
            yield from _floors(data, MINED.datasets[dataset].negatives.mined)


def _step(command: str, spec: specs.Spec, folder: Path, *files: Path) -> None:
    """A command of the workflow on files of this folder."""
    log = ["--log", folder / "step.log"]
    measure.command(command, *files, "--spec", spec.canonical(), *log)


def _without_vectors(config: Config, dataset: str, drawn: Path, scores: Path) -> ProbeData:
    frame = pl.read_parquet(drawn)
    queries, passages = (
        frame.select(pl.concat_list(names).alias("id")).explode("id")["id"].unique().to_list()
        for names in (["query_id"], ["positive_id", "negative_ids"])
    )
    nothing: list[Vectors] = [
        (ids, np.zeros((len(ids), 1), np.float32)) for ids in (queries, passages)
    ]
    split = splits_of(frame, config.datasets[dataset].splits, PROBING.seeds, redraw=True)
    return assemble(frame, pl.read_parquet(scores), *nothing, split)


def _floors(data: ProbeData, miner: str) -> Iterator[dict[str, object]]:
    for place, passages in enumerate(PASSAGES):
        found = run(data, passages, settings([*data.lexical, "lexical"], PROBING.seeds))
        best = found.metrics.filter(probe="lexical")["scorer"][0]
        for scorer in (*data.lexical, "lexical"):
            points = accuracy(*_outcome(found.samples, scorer, passages))
            chosen = f" ({best})" if scorer == "lexical" else ""
            what = f"negatives by {miner}, N = {passages}: {scorer}{chosen}"
            before = FLOORS.get((miner, scorer), ("", ""))[place]
            yield _row(f"floor, {what}", points, 0, before)


def _outcome(frame: pl.DataFrame, probe: str, passages: int) -> Outcome:
    """The outcomes of one probe in one job."""
    frame = frame.with_columns(layer=pl.lit(0), passages=pl.lit(passages))
    tested = outcomes.samples_of(frame)
    return outcomes.outcomes_of(frame.filter(probe=probe), tested, probe), tested


def accuracy(found: Outcomes, tested: Samples) -> Interval:
    """With its interval over questions and seeds."""
    return intervals.interval(outcomes.accuracy(found, tested), 0, 1, proportion=True)


class Study:
    """The default study's samples and vectors, each file checked as its readers check it."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self.spec = specs.probe(CONFIG, RETRIEVER, DATASET)
        path = results / "datasets" / DATASET / "samples.parquet"
        self.texts = DrawnSamples.check(path, self.spec.samples).identity["texts"]
        self.frame = pl.read_parquet(path)

    def vectors(self, retriever: str, layer: int) -> list[Vectors]:
        """Of queries and passages."""
        spec, sides = specs.probe(CONFIG, retriever, DATASET), []
        for side, encoder in CONFIG.retrievers[retriever].encoders.items():
            folder = self.results / "embeddings" / encoder / DATASET / side
            encoding = getattr(spec, side)
            given = (folder, encoding, spec.shards, self.texts, layer)
            sides.append(EmbeddingShard.read_side(*given))
        return sides

    def split(self, seeds: Sequence[int]) -> np.ndarray:
        """A split for each seed, str [R, S]."""
        return splits_of(self.frame, CONFIG.datasets[DATASET].splits, seeds, redraw=True)

    def credits(
        self, retriever: str, kinds: Sequence[str], seeds: Sequence[int], split: np.ndarray
    ) -> pl.DataFrame:
        """The outcomes of probes at every layer and N, with the columns of findings."""
        none = self.frame.select("sample_id")
        found = []
        for layer, passages in product(LAYERS, PASSAGES):
            data = assemble(self.frame, none, *self.vectors(retriever, layer), split)
            made = run(data, passages, settings(kinds, seeds)).samples
            where = {"dataset": DATASET, "retriever": retriever}
            where |= {"layer": layer, "passages": passages}
            found.append(
                made.with_columns(pl.lit(value).alias(key) for key, value in where.items())
            )
        return pl.concat(found)


def splits(study: Study, count: int = 9) -> Iterator[dict[str, object]]:
    """How many of the cells layers × N are significant for `concat`: on one split by the first
    release's test, and over three splits by the present one."""
    seeds = range(count * DRAWS)
    split = study.split(range(count)).repeat(DRAWS, axis=0)
    made = [study.credits(name, ["concat"], seeds, split) for name in (RETRIEVER, OTHER)]
    both = pl.concat(made)
    alone = [_single(both.filter(pl.col("seed") // DRAWS == place)) for place in range(count)]
    cells, size = [int(found.sum()) for found in alone], len(alone[0])
    yield _counted(f"one split, {DRAWS} draws: each of {count}", cells, size, "0 to 3 of 28")
    steady = int(np.all(alone, axis=0).sum())
    yield measure.row("validity", f"cells significant in each of {count} splits", steady, "cells")
    together = []
    for first in range(0, count - DRAWS + 1, DRAWS):
        chosen = [DRAWS * place for place in range(first, first + DRAWS)]
        found = table.build(
            both.filter(pl.col("seed").is_in(chosen)), None, {RETRIEVER: OTHER}, table.Settings()
        )
        tests = found.filter(finding="difference", test="sign-flip max-T")
        together.append(int(tests["significant"].sum()))
    yield _counted(f"{DRAWS} splits: each of {len(together)}", together, size)


def _single(frame: pl.DataFrame) -> np.ndarray:
    """Which cells the first release's test calls significant: flips of questions, whose credit is
    averaged over draws on one split."""
    tested = outcomes.samples_of(frame)
    own, theirs = (
        outcomes.outcomes_of(frame.filter(retriever=name), tested, name)
        for name in (RETRIEVER, OTHER)
    )
    found: Significance = sign_flip_max_t(
        (own.correct - theirs.correct).sum(1), permutations=10_000, rng=generator(0, "split")
    )
    return found.p_adjusted <= CONFIG.study.findings.alpha


def _counted(what: str, cells: list[int], size: int, before: str = "") -> dict[str, object]:
    listed = " ".join(map(str, cells))
    measured = f"significant cells of {size}, {what} ({listed}), mean"
    return measure.row("validity", measured, float(np.mean(cells)), "cells", before=before)


def added(study: Study) -> Iterator[dict[str, object]]:
    """`interaction` less `cosine` on the same vectors, at every layer and N."""
    kinds = ["interaction", "cosine"]
    made = study.credits(RETRIEVER, kinds, PROBING.seeds, study.split(PROBING.seeds))
    tested = outcomes.samples_of(made)
    trained, raw = (outcomes.outcomes_of(made.filter(probe=kind), tested, kind) for kind in kinds)
    difference = outcomes.accuracy(trained, tested) - outcomes.accuracy(raw, tested)
    points = intervals.interval(difference, -1, 1)
    for cell, (layer, passages) in enumerate(trained.cells):
        last = layer == trained.layers[-1]
        before = "−.024 to −.073" if last else ""
        yield _row(f"interaction − cosine, layer {layer}, N = {passages}", points, cell, before)


def codes(study: Study, pairs: int = 12) -> Iterator[dict[str, object]]:
    """How often the code lengths of one layer's probes differ where their seeds alone do: other
    negatives, orders and blocks, on the same vectors and samples."""
    layer, passages = LAYERS[-1], max(PASSAGES)
    kinds = ("concat", "passage-scorer", "interaction", "shuffled-query")
    none = study.frame.select("sample_id")
    data = assemble(study.frame, none, *study.vectors(RETRIEVER, layer), study.split([0]))
    made = [
        run(data, passages, settings(kinds, [seed], PROBING.portions)).codes
        for seed in range(2 * pairs)
    ]
    differing = 0
    for place, (one, other) in enumerate(zip(made[::2], made[1::2], strict=True)):
        both = one.join(other, on=["probe", "sample_id", "query_id"], suffix="_other")
        bits = pl.col("bits").cast(pl.Float64) - pl.col("bits_other")
        sums = both.group_by("probe", "query_id").agg(bits.sum()).sort("query_id", "probe")
        units = sums.pivot("probe", index="query_id", values="bits").drop("query_id").to_numpy()
        flips = generator(0, "codes", place)
        found = sign_flip_max_t(units, permutations=10_000, rng=flips)
        differing += int((found.p_value <= CONFIG.study.findings.alpha).sum())
    measured = f"code lengths of two fits with other seeds, layer {layer}: they differ"
    yield calibration.rate(measured, differing, pairs * len(kinds)) | {"benchmark": "validity"}


def _row(what: str, points: Interval, cell: int, before: str = "") -> dict[str, object]:
    return measure.row(
        "validity",
        what,
        points.estimate[cell],
        "",
        interval=(points.low[cell], points.high[cell]),
        before=before,
    )

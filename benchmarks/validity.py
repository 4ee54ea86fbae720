"""Do the numbers hold that a review of the first release measured? Then and now.

`python -m benchmarks.validity [--quick] [--results FOLDER]` prints what the present code gives
beside what the first release gave: contrasts of ablation, lexical floors, verdicts on null data,
coverage of intervals, chance where negatives repeat, splits, and the published test. Contrasts,
splits and `interaction` need the results of the default study; the rest is computed from nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import torch
from scipy import stats

from benchmarks import calibration, measure, studies, validity_study
from benchmarks.probes import without_signal
from benchmarks.validity_study import CONFIG, RETRIEVER
from wellspring import intervals, specs
from wellspring.artefacts import grids
from wellspring.artefacts.attributions import Ablations
from wellspring.errors import WellspringError
from wellspring.findings import decentralisation
from wellspring.findings.statistics import moments, published_test
from wellspring.probes import KINDS, run
from wellspring.randomness import generator

Row = dict[str, object]
CONTRASTS = {
    ("query", "top"): ".001 in blocks 2 and 6; matched .0075 [.0047, .0109]",
    ("query", "bottom"): "above 0; matched −.0007 [−.0023, .0011]",
    ("passage", "bottom"): "above 0; matched −.0037 [−.0065, −.0005]",
}
"""1 − cosine without the 100 highest or lowest output neurons, less that without random ones. The
first release drew those from all layers; `matched` is what a review found for its scores with
random ones of the same layers."""
VERDICTS = {8: "96 to 98", 9: "58 to 60", 10: "58 to 60"}
"""Per cent of null trials with some verdict."""
COVERED = {("normal", 16): "91.8", ("lognormal", 16): "82.5", ("rare change of a rank", 16): "71.2"}
"""Per cent of its percentile intervals that held the mean."""
REPEATED = (0, 0, 0, 0)
"""One distinct negative, drawn four times."""


def contrasts(results: Path) -> Iterator[Row]:
    """What ablating output neurons by score changes beyond random ones of the same layers."""
    spec = specs.decentralisation(CONFIG)
    cells = [cell for cell in spec.grid if cell.retriever == RETRIEVER]
    found = decentralisation.build(
        pl.DataFrame(schema=dict.fromkeys((*decentralisation.GROUP, *LEVELS), pl.String)),
        pl.concat(grids.side(results, cell, Ablations, cell.ablations) for cell in cells),
        None,
        {RETRIEVER: {cell.side: cell.encoder for cell in cells}},
        {},
        spec.depths,
    )
    most = pl.col("neurons") == pl.col("neurons").max()
    wanted = found.filter(most, finding="contrast", measure="change", sublayer="output", by="zero")
    for row in wanted.sort("side", "choice", descending=True).iter_rows(named=True):
        yield measure.row(
            "validity",
            f"ablate {row['neurons']} output neurons, {row['side']}: {row['choice']} − random",
            row["estimate"],
            "",
            interval=(row["low"], row["high"]),
            before=CONTRASTS.get((row["side"], row["choice"]), ""),
            digits=4,
        )


LEVELS = ("sublayer", "normaliser")
"""What tells the blocks of the table of levels apart, of which a contrast needs none."""


def null_rates(trials: int) -> Iterator[Row]:
    """How often null data give a verdict."""
    for number, before in VERDICTS.items():
        wrong = calibration.verdict_count(calibration.activity_verdicts(number, trials))
        row = calibration.rate(f"claim {number}, no effect: some verdict", wrong, trials, "≤ 5")
        yield row | {"benchmark": "validity", "first release": before}


def bootstrap_coverage(population: str, texts: int, trials: int, draws: int = 1000) -> float:
    """How often the first release's interval of a mean over texts holds the truth: percentiles of
    the means of resampled texts."""
    values = calibration.sample(population, texts, trials)
    rng = generator(0, "bootstrap", population, texts)
    counts = rng.multinomial(texts, np.full(texts, 1 / texts), draws)
    low, high = np.quantile(counts @ values / texts, (0.025, 0.975), axis=0)
    truth = calibration.POPULATIONS[population][1]
    return float(((low <= truth) & (truth <= high)).mean())


def coverages(trials: int) -> Iterator[Row]:
    """How often intervals hold a mean over few texts, beside the first release's own."""
    ways = {"interval": calibration.coverage, "percentile bootstrap": bootstrap_coverage}
    for population, texts in product(calibration.POPULATIONS, (16, calibration.TEXTS)):
        if population == "small shares":
            continue
        for way, of in ways.items():
            share = of(population, texts, trials)
            ends = stats.binomtest(round(share * trials), trials).proportion_ci()
            yield measure.row(
                "validity",
                f"{way} covers the mean, {population}, {texts} texts",
                100 * share,
                "%",
                "≥ 95" if way == "interval" else "",
                interval=(100 * ends.low, 100 * ends.high),
                before=COVERED.get((population, texts), "") if way != "interval" else "",
                digits=1,
            )


def copies(count: int) -> Iterator[Row]:
    """What each kind earns above its chance, where nothing is to learn and copies fill the list."""
    data = without_signal([REPEATED], count)
    chosen = validity_study.settings(KINDS, [0])
    samples = run(data, len(REPEATED) + 1, chosen).samples
    for (probe,), part in samples.partition_by("probe", as_dict=True, maintain_order=True).items():
        excess = (part["correct"] - part["chance"]).cast(pl.Float64).to_numpy()
        found = intervals.interval(intervals.mean(excess[:, None]), -1, 1)
        yield measure.row(
            "validity",
            f"accuracy − chance, one negative four times: {probe}",
            found.estimate[0],
            "",
            interval=(found.low[0], found.high[0]),
            before="−.53 × (1 − chance)" if probe == "concat" else "",
        )


def _answers(trial: int, gap: float, questions: int = calibration.QUESTIONS) -> np.ndarray:
    """Right answers of two retrievers, [2, questions, 3 seeds] on one split, .5 of the first's.

    Questions differ in difficulty, for a retriever they differ further, and seeds draw negatives.
    """
    rng = generator(trial, "published test")
    hard = rng.normal(size=(1, questions, 1))
    own = rng.normal(size=(2, questions, 1))
    drawn = rng.normal(size=(2, questions, 3))
    latent = np.sqrt(0.36) * hard + np.sqrt(0.16) * own + np.sqrt(0.48) * drawn
    wanted = np.array([0.5, 0.5 + gap]).reshape(2, 1, 1)
    return (stats.norm.cdf(latent) < wanted).astype(np.float64)


def published(trials: int, gap: float = 0.04) -> Iterator[Row]:
    """How often the published t-test rejects, on one seed's outcomes and on averages of three."""
    rejected = np.zeros(2, int)
    for trial in range(trials):
        answers = _answers(trial, gap)
        for way, values in enumerate((answers[..., :1], answers.mean(-1, keepdims=True))):
            rejected[way] += published_test(*map(moments, values)).p_value[0] <= 0.05
    for what, count, before in (
        ("one seed, as published", rejected[0], "31.5"),
        ("averages of three seeds", rejected[1], "59.8 (its own way)"),
    ):
        measured = f"published t-test rejects a gap of {100 * gap:.0f} points, {what}"
        yield calibration.rate(measured, int(count), trials) | {
            "benchmark": "validity",
            "first release": before,
        }


def _where_made(rows: Callable[[], Iterator[Row]], what: str) -> list[Row]:
    """The rows, or one that says what to run first."""
    try:
        return list(rows())
    except WellspringError as error:
        return [measure.row("validity", f"{what}: {error}", None, "", "`make run` first")]


def main(results: Path = studies.ROOT / "results", quick: bool = False) -> list[Row]:
    """Every row: about five minutes on one core, quickly one."""
    few, many = (50, 1_000) if quick else (400, 10_000)

    def study() -> validity_study.Study:
        return validity_study.Study(results)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = [
        *_where_made(lambda: contrasts(results), "ablation"),
        *validity_study.floors(),
        *null_rates(few),
        *coverages(many),
        *copies(many),
        *_where_made(lambda: validity_study.splits(study(), 3 if quick else 9), "splits"),
        *_where_made(lambda: validity_study.added(study()), "interaction − cosine"),
        *_where_made(lambda: validity_study.codes(study(), 2 if quick else 12), "code lengths"),
        *published(many),
    ]
    torch.set_num_threads(threads)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=studies.ROOT / "results")
    parser.add_argument("--quick", action="store_true", help="fewer trials and splits")
    measure.show(main(**vars(parser.parse_args())))

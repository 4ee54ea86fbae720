"""What a reader should be careful of: each caution once, with its number, limit and sentence."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

import polars as pl

from wellspring.config import SCORERS
from wellspring.findings.sharing import FEWEST_SHARED, apart
from wellspring.findings.table import comparisons
from wellspring.findings.wording import untrained
from wellspring.plurals import counted, form

SCHEMA = {
    "caution": pl.String,
    "dataset": pl.String,
    "retriever": pl.String,
    "attribution": pl.String,
    "side": pl.String,
    "value": pl.Float64,
    "limit": pl.Float64,
    "sentence": pl.String,
}
FEW_QUESTIONS = 30
FEW_TEXTS = 30
LOST = 0.0
OVERSAMPLED = 0.1
SEEN = 0.1
UNSETTLED = 0.05
WEAK = 0.05
SHARED = 0.05
LEAKED = 0.01
CEILING = 0.95
"""A caution is given above these values; for counts and signals, below them."""

Row = dict[str, object]
Facts = Mapping[str, int]


def gathered(rows: Iterable[Row]) -> pl.DataFrame:
    """The table of SCHEMA, each caution once, sorted."""
    order = ("dataset", "caution", "retriever", "attribution", "side")
    table = pl.DataFrame(list(rows), SCHEMA, infer_schema_length=None)
    return table.unique(maintain_order=True).sort(order, nulls_last=True)


def repeating(samples: pl.DataFrame, negatives: int) -> int:
    """How many samples have fewer distinct negatives than this, and so repeat one of them.

    samples: `wellspring.datasets.samples.make`'s.
    """
    return samples.filter(pl.col("negative_ids").list.n_unique() < negatives).height


def of_samples(dataset: str, facts: Facts, source: Facts, negatives: int) -> Iterator[Row]:
    """Cautions from the counts of a dataset and its source: what was lost, repeated or shared.

    facts: the samples' counts; `oversampled`: those that have fewer distinct negatives than
    `negatives`, which is as many as the study uses of a sample.
    """
    read = source.get("judgements_read", 0)
    lost = sum(count for name, count in source.items() if name.startswith("judgements_of_unknown_"))
    if lost:
        yield _row(
            "lost-judgements",
            lost / read,
            LOST,
            f"{lost:,} of {counted(read, 'judgement')} {form(lost, 'was', 'were')} lost: "
            f"{form(lost, 'its', 'their')} query or passage is not there",
            dataset=dataset,
        )
    samples, dropped = facts["samples"], facts["dropped_without_negatives"]
    if dropped:
        yield _row(
            "dropped-samples",
            dropped / (samples + dropped),
            0.0,
            f"{dropped:,} of {counted(samples + dropped, 'sample')} "
            f"{form(dropped, 'was dropped: it', 'were dropped: they')} had no negative",
            dataset=dataset,
        )
    repeats = facts["oversampled"]
    if repeats > OVERSAMPLED * samples:
        yield _row(
            "oversampled",
            repeats / samples,
            OVERSAMPLED,
            f"{repeats:,} of {counted(samples, 'sample')} {form(repeats, 'has', 'have')} fewer "
            f"than {negatives} negatives and {form(repeats, 'repeats', 'repeat')} some",
            dataset=dataset,
        )
    seen, tested = facts["test_passages_seen_in_train"], facts["test_candidates"]
    if seen > SEEN * tested:
        yield _row(
            "shared-passages",
            seen / tested,
            SEEN,
            f"{seen:,} of {counted(tested, 'test passage')} "
            f"{form(seen, 'is a candidate', 'are candidates')} in training, too "
            "(splits.passages: disjoint keeps them apart)",
            dataset=dataset,
        )
    if facts["queries_on_both_sides"]:
        count = facts["queries_on_both_sides"]
        yield _row(
            "leaking-questions",
            count,
            0.0,
            f"{counted(count, 'question')} {form(count, 'has', 'have')} samples in more than one "
            "split",
            dataset=dataset,
        )


def of_lexical(dataset: str, silent: Iterable[str]) -> Iterator[Row]:
    """Cautions about lexical controls that say nothing.

    silent: a sentence for each scorer that gives every candidate 0.
    """
    for sentence in silent:
        yield _row("silent-control", 0.0, 0.0, sentence, dataset=dataset)


def of_mining(miners: Mapping[str, str]) -> Iterator[Row]:
    """Cautions about datasets whose negatives a lexical scorer chose.

    miners: dataset to scorer.
    """
    for dataset, miner in miners.items():
        sentence = (
            f"negatives were mined by {miner}: they are what it takes for answers, so its own "
            "accuracy is lower than among other negatives"
        )
        yield _row("mined-negatives", None, None, sentence, dataset=dataset)


def of_probes(findings: pl.DataFrame, training: pl.DataFrame) -> Iterator[Row]:
    """Cautions from a study's table and fits: few questions, selected negatives, unsettled fits.

    Args:
        findings: `wellspring.findings.table.build`'s.
        training: dataset, probe, converged, epochs; a row a fit.
    """
    accuracies = findings.filter(pl.col("finding") == "accuracy")
    for (dataset,), rows in accuracies.group_by("dataset", maintain_order=True):
        questions = rows.select(pl.max("queries")).item()
        if questions < FEW_QUESTIONS:
            yield _row(
                "few-questions",
                questions,
                FEW_QUESTIONS,
                f"{counted(questions, 'test question')}: small differences cannot be seen",
                dataset=dataset,
            )
        yield from _selected(dataset, rows)
        yield from _ceiling(dataset, rows)
    trained = training.filter(pl.col("epochs") > 0)
    fits = trained.group_by("dataset", maintain_order=True).agg(
        fits=pl.len(), unsettled=(~pl.col("converged")).sum()
    )
    for dataset, count, unsettled in fits.iter_rows():
        if unsettled > UNSETTLED * count:
            yield _row(
                "unsettled-probes",
                unsettled / count,
                UNSETTLED,
                f"{unsettled:,} of {counted(count, 'fit')} had not converged "
                "(findings/training.csv)",
                dataset=dataset,
            )


def _ceiling(dataset: str, accuracies: pl.DataFrame) -> Iterator[Row]:
    """A lexical floor that leaves little to gain."""
    floor = accuracies.filter(pl.col("measure") == "accuracy", pl.col("probe") == "lexical")
    highest = floor.select(pl.max("estimate")).item()
    if highest is not None and highest > CEILING:
        yield _row(
            "ceiling",
            highest,
            CEILING,
            f"words alone rank {100 * highest:.1f} % of the samples right: what a retriever adds "
            "to them can hardly be seen here",
            dataset=dataset,
        )


def _selected(dataset: str, accuracies: pl.DataFrame) -> Iterator[Row]:
    """Scorers that the choice of negatives has pushed below chance."""
    below = accuracies.filter(
        pl.col("measure") == "above_chance", pl.col("probe").is_in(SCORERS), pl.col("high") < 0
    )
    for (probe,), rows in below.group_by("probe", maintain_order=True):
        worst = rows.select(pl.min("estimate")).item()
        yield _row(
            "selected-negatives",
            worst,
            0.0,
            f"{probe} is below chance ({worst:.2f} on the scale from chance to 1): negatives were "
            "chosen against what it measures, and a retriever that uses words is held down as well",
            dataset=dataset,
        )


def of_comparisons(findings: pl.DataFrame, alpha: float) -> Iterator[Row]:
    """Cautions about differences that are significant alone, and not among all of a study.

    findings: `wellspring.findings.table.build`'s. alpha: the error rate of "significant".
    """
    significant = findings.with_columns(comparisons=comparisons()).filter(
        pl.col("significant"),
        pl.col("finding") == "difference",
        pl.col("measure") == "difference",
        pl.col("test") == "sign-flip max-T",
    )
    keys = ("dataset", "retriever", "probe")
    for key, rows in significant.group_by(*keys, maintain_order=True):
        smallest = rows.row(rows["p_study"].arg_min(), named=True)
        if smallest["p_study"] > alpha:
            yield _row(
                "many-comparisons",
                smallest["p_study"],
                alpha,
                f"the difference from {smallest['compared_with']} by {smallest['probe']} is "
                f"significant alone (p = {smallest['p_adjusted']:.3f}), and not among the "
                f"{smallest['comparisons']} comparisons of the study by this probe "
                f"(p = {smallest['p_study']:.3f})",
                **dict(zip(keys[:2], key[:2], strict=True)),
            )


def of_published(compared: pl.DataFrame) -> Iterator[Row]:
    """Cautions from the comparison with published curves: another number of test samples."""
    counts = compared.select("dataset", "samples", "published_samples").unique()
    for dataset, ours, theirs in counts.sort("dataset").iter_rows():
        if ours != theirs:
            yield _row(
                "other-samples",
                ours,
                theirs,
                f"{counted(ours, 'test sample')}, and {theirs:,} in the published study: "
                "not the same data",
                dataset=dataset,
            )


def of_attributions(table: pl.DataFrame, quiet: Mapping[tuple[str, ...], int]) -> Iterator[Row]:
    """Cautions from a study's table of attributions: few texts, little signal, texts left out.

    Args:
        table: `wellspring.findings.decentralisation.build`'s.
        quiet: attribution, dataset, retriever and side to the number of texts left out as quiet.
    """
    names = ("attribution", "dataset", "retriever", "side")
    shared = table.filter(pl.col("finding") == "ablation", pl.col("measure") == "shared")
    for key, rows in shared.group_by(names, maintain_order=True):
        if (most := rows.select(pl.max("estimate")).item() or 0) > SHARED:
            yield _row(
                "shared-neurons",
                most,
                SHARED,
                f"up to {100 * most:.0f} % of the random neurons are among those that they are "
                "compared with, which makes contrasts smaller",
                **dict(zip(names, key, strict=True)),
            )
    levels = table.filter(pl.col("finding") == "level", pl.col("region") == "all")
    for key, rows in levels.group_by(names, maintain_order=True):
        where = dict(zip(names, key, strict=True))
        texts = rows.select(pl.max("texts")).item()
        if texts < FEW_TEXTS:
            yield _row(
                "few-texts",
                texts,
                FEW_TEXTS,
                f"{counted(texts, 'attributed text')}: small changes cannot be seen",
                **where,
            )
        for sublayer, signal in (
            rows.filter(pl.col("measure") == "signal").select("sublayer", "estimate").iter_rows()
        ):
            if signal < WEAK:
                yield _row(
                    "weak-signal",
                    signal,
                    WEAK,
                    f"scaling the {sublayer} sub-layer to zero moves the target by "
                    f"{100 * signal:.1f} % of itself, on average",
                    **where,
                )
        if count := quiet.get(key, 0):
            yield _row(
                "quiet-texts",
                count,
                0.0,
                f"{counted(count, 'text')} {form(count, 'was', 'were')} left out: "
                f"{form(count, 'its', 'their')} target does not move beyond rounding",
                **where,
            )


def of_leakage(
    dataset: str, learned: str, models: Collection[str], counts: Iterable[Row]
) -> Iterator[Row]:
    """Cautions about test texts that models of the study have seen in training.

    models: those that learned from `learned`. counts: `wellspring.findings.leakage`'s, of the test
    split of `dataset` there.
    """
    for row in counts:
        total, seen = int(str(row["texts"])), int(str(row["exact"])) + int(str(row["near"]))
        if total and seen / total > LEAKED:
            one, many = (
                ("query", "queries") if row["side"] == "query" else ("positive", "positives")
            )
            yield _row(
                "leakage",
                seen / total,
                LEAKED,
                f"{seen:,} of {counted(total, f'test {one}', f'test {many}')} "
                f"{form(seen, 'stands', 'stand')}, word for word or nearly, in what "
                f"{' and '.join(models)} learned from ({learned})",
                dataset=dataset,
                side=str(row["side"]),
            )


def of_evidence(evidence: pl.DataFrame) -> Iterator[Row]:
    """Cautions about measures that are set side by side on different queries.

    evidence: `wellspring.findings.evidence.build`'s.
    """
    for dataset, shared in apart(evidence).items():
        yield _row(
            "few-shared-queries",
            shared,
            FEWEST_SHARED,
            f"all measures of queries share {counted(shared, 'query', 'queries')}, so each is of "
            "its own queries, and they may differ for that reason",
            dataset=dataset,
        )


def of_pairs(fresh: Mapping[str, str], partly: Collection[str] = ()) -> Iterator[Row]:
    """Cautions about counterparts that cannot say what fine-tuning adds.

    fresh: retriever to its counterpart, where that has weights that were never trained; partly:
    those of these counterparts that have other weights, too.
    """
    for retriever, other in fresh.items():
        yield _row(
            "random-counterpart",
            None,
            None,
            f"{other} {untrained(other not in partly)}: differences from it say what all training "
            "changes, not what fine-tuning adds",
            retriever=retriever,
        )


def _row(
    caution: str, value: float | None, limit: float | None, sentence: str, **where: str
) -> Row:
    return {
        **dict.fromkeys(SCHEMA),
        **where,
        "caution": caution,
        "value": value,
        "limit": limit,
        "sentence": sentence,
    }

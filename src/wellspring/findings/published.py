"""How far a study's accuracies are from published curves."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from wellspring.errors import ConfigError
from wellspring.findings.statistics import moments_of_counts, published_test

SCHEMA = {
    "dataset": pl.String,
    "retriever": pl.String,
    "curve": pl.String,
    "passages": pl.Int64,
    "layers": pl.Int64,
    "published_layers": pl.Int64,
    "samples": pl.Int64,
    "published_samples": pl.Int64,
    "ours_mean": pl.Float64,
    "published_mean": pl.Float64,
    "mean_difference": pl.Float64,
    "mean_absolute_difference": pl.Float64,
    "worst_difference": pl.Float64,
    "worst_layer": pl.Int64,
    "above_chance_difference": pl.Float64,
    "rank_correlation": pl.Float64,
    "stars": pl.Int64,
    "published_stars": pl.Int64,
    "stars_alike": pl.Int64,
}
_CURVE = ["dataset", "retriever", "curve", "passages"]
_POINT = ["dataset", "retriever", "passages", "layer"]
_COUNTS = ("correct", "samples")
ALPHA = 0.05
"""The published test's level of significance."""
# Two points always lie on a line.
_FEWEST = 3


def accuracies(published: pl.DataFrame) -> pl.DataFrame:
    """Published points with their accuracy, from dataset, retriever, passages, layer, correct and
    samples: how many of the test samples had their positive ranked first."""
    return published.with_columns(accuracy=pl.col("correct") / pl.col("samples"))


def named(published: pl.DataFrame, curves: Mapping[str, str]) -> pl.DataFrame:
    """The published points under our retrievers' names.

    Args:
        published: as for `accuracies`; retriever is the curve's name.
        curves: our retriever to the curve that it is set against. A retriever with its own name
            for a curve has none where there is no such curve.

    Returns:
        dataset, retriever (ours), curve, passages, layer, samples, accuracy: of every curve in
        `curves`.

    Raises:
        ConfigError: there is no curve of another name than the retriever's.
    """
    known = set(published["retriever"])
    for name, curve in curves.items():
        if curve not in known and curve != name:
            raise ConfigError(
                f"retriever {name}: there is no published curve {curve}; "
                f"there are {', '.join(sorted(known))}"
            )
    ours = pl.DataFrame(list(curves.items()), {"name": pl.String, "curve": pl.String}, orient="row")
    joined = accuracies(published).rename({"retriever": "curve"}).join(ours, on="curve")
    columns = ("dataset", "curve", "passages", "layer", "samples", "accuracy")
    return joined.select(*columns, retriever="name")


def stars(published: pl.DataFrame, curve: str, other: str) -> pl.DataFrame:
    """dataset, passages, layer, star: where the published test finds that two curves differ.

    published: as for `accuracies`. The test is computed again from the published counts, panel by
    panel (Bonferroni over the layers of a dataset and number of passages).
    """
    panel = ["dataset", "passages"]
    sides = (published.filter(retriever=name) for name in (curve, other))
    both = next(sides).join(next(sides), on=[*panel, "layer"], suffix="_other")
    frames = [pl.DataFrame(schema={"dataset": pl.String, "passages": pl.Int64, "layer": pl.Int64})]
    frames[0] = frames[0].with_columns(star=pl.lit(None, pl.Boolean))
    for _, rows in both.sort(*panel, "layer").group_by(panel, maintain_order=True):
        significance = published_test(
            *(
                moments_of_counts(*(rows[f"{name}{end}"].to_numpy() for name in _COUNTS))
                for end in ("", "_other")
            )
        )
        star = pl.Series("star", significance.p_adjusted < ALPHA)
        frames.append(rows.select(*panel, "layer").with_columns(star))
    return pl.concat(frames)


def compare(
    findings: pl.DataFrame,
    published: pl.DataFrame,
    curves: Mapping[str, str],
    pairs: Mapping[str, str] | None = None,
    probe: str = "concat",
) -> pl.DataFrame:
    """What a probe's accuracies and published ones differ by, over the layers that both have.

    Args:
        findings: `wellspring.findings.table.build`'s.
        published: as for `accuracies`. Datasets match by name.
        curves: our retriever to the name of its published curve, as in `named`.
        pairs: our retriever to the one that it is compared with.
        probe: whose accuracy is compared; the published curves are those of `concat`.

    Returns:
        The columns of SCHEMA, a row per dataset, retriever and number of passages that both have;
        differences are ours less the published one, in shares. `layers` of the
        `published_layers` are compared. `worst_difference` is the largest in size, at
        `worst_layer`, the first of equals. `above_chance_difference` is the mean difference of
        (accuracy − chance) / (1 − chance): ours from the samples' own chance, the published one's
        from 1 / passages. `rank_correlation` is Spearman's over layers: null for fewer than three
        layers or where a side is constant. `samples` are ours, `published_samples` theirs: on the
        published data both are equal. `stars` counts the layers at which the published test finds a
        difference from the counterpart in our outcomes, `published_stars` in the published counts,
        and `stars_alike` those at which both say the same; null without a published counterpart.

    Raises:
        ConfigError: as `named`.
    """
    ours = findings.filter(pl.col("finding") == "accuracy", pl.col("probe") == probe)
    accuracy, above = (
        ours.filter(pl.col("measure") == measure).select(
            *_POINT, pl.col("estimate").alias(name), pl.col("samples").alias(f"{name}_samples")
        )
        for measure, name in (("accuracy", "ours"), ("above_chance", "ours_above"))
    )
    starred = _starred(findings, published, curves, pairs or {}, probe)
    chance = 1 / pl.col("passages")
    points = (
        named(published, curves)
        .with_columns(published_layers=pl.len().over(_CURVE))
        .join(accuracy.join(above, on=_POINT), on=_POINT)
        .join(starred, on=_POINT, how="left")
        .sort(*_CURVE, "layer")
        .with_columns(
            difference=pl.col("ours") - pl.col("accuracy"),
            above_difference=pl.col("ours_above") - (pl.col("accuracy") - chance) / (1 - chance),
        )
    )
    return _summed(points).select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())


def _summed(points: pl.DataFrame) -> pl.DataFrame:
    """The points of each curve in one row."""
    worst = pl.col("difference").abs().arg_max()
    correlation = pl.corr("ours", "accuracy", method="spearman").fill_nan(None)
    return points.group_by(_CURVE, maintain_order=True).agg(
        layers=pl.len(),
        published_layers=pl.col("published_layers").first(),
        samples=pl.col("ours_samples").first(),
        published_samples=pl.col("samples").first(),
        ours_mean=pl.col("ours").mean(),
        published_mean=pl.col("accuracy").mean(),
        mean_difference=pl.col("difference").mean(),
        mean_absolute_difference=pl.col("difference").abs().mean(),
        worst_difference=pl.col("difference").get(worst),
        worst_layer=pl.col("layer").get(worst),
        above_chance_difference=pl.col("above_difference").mean(),
        rank_correlation=pl.when(pl.len() >= _FEWEST).then(correlation),
        **{
            name: pl.when(pl.col("star").count() > 0).then(counted.sum())
            for name, counted in (
                ("stars", pl.col("significant")),
                ("published_stars", pl.col("star")),
                ("stars_alike", pl.col("significant") == pl.col("star")),
            )
        },
    )


def _starred(
    findings: pl.DataFrame,
    published: pl.DataFrame,
    curves: Mapping[str, str],
    pairs: Mapping[str, str],
    probe: str,
) -> pl.DataFrame:
    """The published test at each point: `significant` in our outcomes, `star` in their counts."""
    ours = findings.filter(
        pl.col("finding") == "difference",
        pl.col("probe") == probe,
        pl.col("test") == "t-test Bonferroni",
    ).select(*_POINT, "significant")
    theirs = [
        stars(published, curves[name], curves[other]).with_columns(retriever=pl.lit(name))
        for name, other in pairs.items()
        if name in curves and other in curves
    ]
    if not theirs:
        return ours.with_columns(star=pl.lit(None, pl.Boolean))
    return ours.join(pl.concat(theirs), on=_POINT)

"""How far a study's accuracies lie from published curves."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from wellspring.errors import ConfigError

SCHEMA = {
    "dataset": pl.String,
    "retriever": pl.String,
    "curve": pl.String,
    "passages": pl.Int64,
    "layers": pl.Int64,
    "published_layers": pl.Int64,
    "ours_mean": pl.Float64,
    "published_mean": pl.Float64,
    "mean_difference": pl.Float64,
    "mean_absolute_difference": pl.Float64,
    "worst_difference": pl.Float64,
    "worst_layer": pl.Int64,
    "above_chance_difference": pl.Float64,
    "rank_correlation": pl.Float64,
}
_CURVE = ["dataset", "retriever", "curve", "passages"]
_POINT = ["dataset", "retriever", "passages", "layer"]
# Two points always lie on a line.
_FEWEST = 3


def named(published: pl.DataFrame, curves: Mapping[str, str]) -> pl.DataFrame:
    """The published points under our retrievers' names.

    Args:
        published: dataset, retriever (the curve's name), passages, layer, accuracy.
        curves: our retriever to the curve that it is set against. A retriever with its own name
            for a curve has none where there is no such curve.

    Returns:
        dataset, retriever (ours), curve, passages, layer, accuracy: of every curve in `curves`.

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
    joined = published.rename({"retriever": "curve"}).join(ours, on="curve")
    return joined.select("dataset", "curve", "passages", "layer", "accuracy", retriever="name")


def compare(
    findings: pl.DataFrame,
    published: pl.DataFrame,
    curves: Mapping[str, str],
    probe: str = "concat",
) -> pl.DataFrame:
    """What a probe's accuracies and published ones differ by, over the layers that both have.

    Args:
        findings: `wellspring.findings.table.build`'s.
        published: dataset, retriever, passages, layer, accuracy (shares). Datasets match by name.
        curves: our retriever to the name of its published curve, as in `named`.
        probe: whose accuracy is compared; the published curves are those of `concat`.

    Returns:
        The columns of SCHEMA, a row per dataset, retriever and number of passages that both have;
        differences are ours less the published one, in shares. `layers` of the
        `published_layers` are compared. `worst_difference` is the largest in size, at
        `worst_layer`, the first of equals. `above_chance_difference` is the mean difference of
        (accuracy − chance) / (1 − chance): ours from the samples' own chance, the published one's
        from 1 / passages. `rank_correlation` is Spearman's over layers: null for fewer than three
        layers or where a side is constant.

    Raises:
        ConfigError: as `named`.
    """
    found = findings.filter(pl.col("finding") == "accuracy", pl.col("probe") == probe)
    accuracy, above = (
        found.filter(pl.col("measure") == measure).select(*_POINT, pl.col("estimate").alias(name))
        for measure, name in (("accuracy", "ours"), ("above_chance", "ours_above"))
    )
    chance = 1 / pl.col("passages")
    points = (
        named(published, curves)
        .with_columns(published_layers=pl.len().over(_CURVE))
        .join(accuracy.join(above, on=_POINT), on=_POINT)
        .sort(*_CURVE, "layer")
        .with_columns(
            difference=pl.col("ours") - pl.col("accuracy"),
            above_difference=pl.col("ours_above") - (pl.col("accuracy") - chance) / (1 - chance),
        )
    )
    worst = pl.col("difference").abs().arg_max()
    correlation = pl.corr("ours", "accuracy", method="spearman").fill_nan(None)
    compared = points.group_by(_CURVE, maintain_order=True).agg(
        layers=pl.len(),
        published_layers=pl.col("published_layers").first(),
        ours_mean=pl.col("ours").mean(),
        published_mean=pl.col("accuracy").mean(),
        mean_difference=pl.col("difference").mean(),
        mean_absolute_difference=pl.col("difference").abs().mean(),
        worst_difference=pl.col("difference").get(worst),
        worst_layer=pl.col("layer").get(worst),
        above_chance_difference=pl.col("above_difference").mean(),
        rank_correlation=pl.when(pl.len() >= _FEWEST).then(correlation),
    )
    return compared.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())

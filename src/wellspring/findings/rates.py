"""Which learning rate a model was best with on validation data: one for each size and stage."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

LOSSES = ("loss",)
"""Measures of which the lowest value is best; of all others it is the highest."""
SCHEMA = {
    "measure": pl.String,
    "learning_rate": pl.Float64,
    "quality": pl.Float64,
    "runner_up": pl.Float64,
    "runner_up_quality": pl.Float64,
    "rates": pl.Int64,
    "at_edge": pl.Boolean,
}


def chosen(candidates: pl.DataFrame, of: Sequence[str]) -> pl.DataFrame:
    """A row for each cell: the columns `of`, then SCHEMA.

    The best mean over seeds is chosen; of equal ones the lower rate. A mean that is not known, or
    no number since a seed diverged, is the worst. `at_edge`: a lower or a higher rate than all that
    were tried might have been better still.

    Args:
        candidates: a row for each trained model: the columns `of`, `learning_rate`, and `quality`
            on the validation queries or texts by `measure`. Tests are no part of it.
        of: what names a cell.

    Raises ValueError where a cell's rates differ in the number of seeds that have a quality: means
    of other numbers of seeds are not compared.
    """
    means = candidates.group_by(*of, "learning_rate").agg(
        pl.first("measure"),
        pl.mean("quality").fill_nan(None),
        seeds=pl.count("quality").cast(pl.Int64),
    )
    rows = []
    for _, cell in means.sort(*of, "learning_rate").group_by(of, maintain_order=True):
        if cell.filter(pl.col("seeds") > 0)["seeds"].n_unique() > 1:
            place = ", ".join(str(cell[name][0]) for name in of)
            raise ValueError(f"{place}: some learning rates have more seeds than others")
        falling = [cell["measure"][0] not in LOSSES, False]
        ranked = cell.sort("quality", "learning_rate", descending=falling, nulls_last=True)
        best, others = ranked.row(0, named=True), ranked[1:2].to_dicts()
        second = others[0] if others else {"learning_rate": None, "quality": None}
        ends = (cell["learning_rate"].min(), cell["learning_rate"].max())
        rows.append(
            {
                **{name: best[name] for name in (*of, "measure")},
                "learning_rate": best["learning_rate"],
                "quality": best["quality"],
                "runner_up": second["learning_rate"],
                "runner_up_quality": second["quality"],
                "rates": cell.height,
                "at_edge": cell.height > 1 and best["learning_rate"] in ends,
            }
        )
    return pl.DataFrame(rows, {**candidates.select(of).schema, **SCHEMA})

"""A study's table of indexes: its numbers by hand, its charts and its figure."""

from __future__ import annotations

import altair as alt
import numpy as np
import polars as pl
import pytest

from wellspring import intervals
from wellspring.artefacts.indexes import Indexes
from wellspring.errors import ConfigError
from wellspring.figures.indexes import indexes as figure
from wellspring.findings.indexes import SCHEMA, compare
from wellspring.page import indexes as page
from wellspring.page.panels import Settings

TRIED = [("exact", None, 400), ("9 lists", "1 probe", 500), ("9 lists", "9 probes", 500)]
QUERIES = 40
MEANS = {"nDCG@10": (0.6, 0.4, 0.6), "recall@10": (1.0, 0.7, 1.0)}


def values(seed: int) -> pl.DataFrame:
    """Each query loses its own share of what exact search finds."""
    rng = np.random.default_rng(seed)
    easy = rng.uniform(-0.2, 0.2, QUERIES)
    own = rng.normal(0, 0.01, QUERIES)
    frames = []
    # The second measure stands first, as where its search is for fewer passages.
    for measure in ("recall@10", "nDCG@10"):
        for (index, setting, size), mean in zip(TRIED, MEANS[measure], strict=True):
            near = easy + own if setting == "1 probe" else easy
            of_query = np.clip(mean + near, 0, 1) if mean < 1 else np.ones(QUERIES)
            frame = pl.DataFrame(
                {"query_id": [f"q{number:02d}" for number in range(QUERIES)], "value": of_query}
            )
            told = {"layer": 6, "index": index, "depth": 10, "bytes": size, "measure": measure}
            told |= {"documents": 25, "hidden": 4}
            frames.append(
                frame.with_columns(
                    *(pl.lit(value).alias(name) for name, value in told.items()),
                    setting=pl.lit(setting, pl.String),
                )
            )
    return pl.concat(frames).with_columns(cluster="query_id")


TIMES = pl.DataFrame(
    [
        {
            "index": index,
            "setting": setting,
            "depth": 10,
            "milliseconds": 0.5 + number,
            "slow_milliseconds": 1.5 + number,
            "build_seconds": 2.0,
        }
        for number, (index, setting, _) in enumerate(TRIED)
    ]
)


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return pl.concat(
        compare({"dataset": "docs", "retriever": name}, values(seed), TIMES, ["nDCG@10"])
        for seed, name in enumerate(("tuned", "plain", "plain-2"))
    )


def test_estimates_are_means_and_losses_are_paired(table):
    Indexes.fits(table.to_arrow().schema)
    assert table["measure"].unique(maintain_order=True).to_list() == ["nDCG@10", "recall@10"]
    own = table.filter(retriever="tuned", measure="nDCG@10")
    assert own.select("index", "setting", "bytes", "milliseconds").rows() == [
        (*each, 0.5 + number) for number, each in enumerate(TRIED)
    ]
    few = values(0).filter(measure="nDCG@10", setting="1 probe")["value"].to_numpy()
    exact = values(0).filter(measure="nDCG@10", index="exact")["value"].to_numpy()
    row = own.row(1, named=True)
    assert row["estimate"] == pytest.approx(few.mean())
    expected = intervals.interval(intervals.mean(few[:, None]), 0, 1)
    assert (row["low"], row["high"]) == pytest.approx((expected.low[0], expected.high[0]))
    # What is easy for both is no part of the difference.
    assert row["difference"] == pytest.approx((few - exact).mean())
    assert row["high"] - row["low"] > 5 * (row["difference_high"] - row["difference_low"])
    assert own["difference"].to_list()[0] is None and own["difference"].to_list()[2] == 0
    assert set(table["queries"]) == {QUERIES}


def test_a_query_that_has_nothing_to_recall_does_not_count():
    some = values(0).with_columns(
        value=pl.when(query_id="q00", measure="recall@10").then(None).otherwise("value")
    )
    found = compare({"dataset": "docs", "retriever": "tuned"}, some, TIMES, ["nDCG@10"])
    recall = found.filter(measure="recall@10", setting="1 probe")["estimate"].item()
    rest = values(0).filter(pl.col("query_id") != "q00", measure="recall@10", setting="1 probe")
    assert recall == pytest.approx(rest["value"].mean())


def test_the_page_has_a_chart_of_times_and_one_of_sizes(table):
    settings = Settings("study", twins={"plain": ["plain", "plain-2"]})

    panels = page.build({"indexes": table}, settings)

    assert [panel.anchor for panel in panels] == ["indexes-latency", "indexes-size"]
    for panel in panels:
        alt.Chart.from_dict(dict(panel.chart), validate=True)
        assert set(panel.data["retriever"]) == {"tuned", "plain"}
        assert [choice.column for choice in panel.choices] == ["dataset", "retriever", "measure"]
        assert panel.choices[-1].initial == "nDCG@10"
    assert page.build({"indexes": pl.DataFrame(schema=SCHEMA)}, settings) == []


def test_the_figure_has_a_row_a_retriever(table):
    drawn = figure(table, "docs", {"plain": ["plain", "plain-2"]})

    # Two retrievers, against time and against size, each with the level of exact search.
    assert len(drawn.axes) == 4
    assert {len(ax.lines) for ax in drawn.axes} == {3, 4}
    assert all(ax.get_xscale() == "log" for ax in drawn.axes)
    with pytest.raises(ConfigError, match="no index of dataset other"):
        figure(table, "other")

"""The charts of evidence: they draw what their tables hold, and begin with something."""

from __future__ import annotations

import altair as alt
import polars as pl
import pytest

from tests.support.evidencing import tables
from wellspring.page import evidence
from wellspring.page.panels import Settings

SETTINGS = Settings(
    study="toy",
    pairs={"tuned": "plain"},
    files={name: (f"{name}.parquet",) for name in ("evidence", "evidence_correlations")},
)


def test_both_charts_are_valid_and_show_what_they_begin_with():
    made = evidence.build(tables(), SETTINGS)
    assert [panel.anchor for panel in made] == ["evidence", "evidence-correlations"]
    for panel in made:
        alt.Chart.from_dict(
            {**panel.chart, "data": {"name": "panel", "values": panel.data.to_dicts()}}
        )
        first = panel.data
        for choice in panel.choices:
            first = first.filter(first[choice.column] == choice.initial)
        assert first.height
        assert not set(panel.headings) - set(panel.data.columns)
    lines = set(made[0].data["line"])
    assert lines == {"retriever", "counterpart", "lexical"}


@pytest.mark.parametrize(
    ("shared", "ending"),
    [
        (20, "Measures of queries are of the same queries."),
        (
            1,
            "Each measure is of its own queries, because all share too few (1 query on toy).",
        ),
        (0, "because all share too few (0 queries on toy)."),
    ],
)
def test_the_caption_tells_whether_queries_are_the_same(shared: int, ending: str):
    caption = evidence.build(tables(shared=shared), SETTINGS)[0].caption
    assert caption.endswith(ending)


def test_the_caption_names_the_datasets_whose_measures_have_their_own_queries():
    own, few = tables(), tables(shared=1)
    both = [own["evidence"], few["evidence"].with_columns(dataset=pl.lit("small"))]
    caption = evidence.build({"evidence": pl.concat(both)}, SETTINGS)[0].caption
    assert "Measures of queries are of the same queries; elsewhere each" in caption
    assert caption.endswith("share too few (1 query on small).")


def test_a_correlation_serves_both_of_its_measures():
    own = tables()
    related = evidence.build(own, SETTINGS)[1].data
    table = own["evidence_correlations"].drop_nulls("estimate").filter(retriever="tuned")
    assert related.height == 2 * table.height
    turned = related.select("over", "other_measure", "measure", "estimate").rows()
    assert set(related.select("over", "measure", "other_measure", "estimate").rows()) == set(turned)


def test_a_study_without_evidence_has_no_chart():
    assert not evidence.build({}, SETTINGS)

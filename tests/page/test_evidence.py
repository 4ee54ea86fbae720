"""The charts of evidence: they draw what their tables hold, and begin with something."""

from __future__ import annotations

import altair as alt

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


def test_a_correlation_serves_both_of_its_measures():
    own = tables()
    related = evidence.build(own, SETTINGS)[1].data
    table = own["evidence_correlations"].drop_nulls("estimate").filter(retriever="tuned")
    assert related.height == 2 * table.height
    turned = related.select("over", "other_measure", "measure", "estimate").rows()
    assert set(related.select("over", "measure", "other_measure", "estimate").rows()) == set(turned)


def test_a_study_without_evidence_has_no_chart():
    assert not evidence.build({}, SETTINGS)

"""The figures of evidence show every measure, every control and every correlation."""

from __future__ import annotations

import pytest
from matplotlib.text import Text

from tests.support.evidencing import NAMES, tables
from wellspring.errors import ConfigError
from wellspring.figures import evidence


def test_every_measure_has_a_panel_with_its_controls():
    table = tables()["evidence"]
    figure = evidence.over_layers(table, "toy", "tuned", ["be careful"])
    titled = {ax.get_title().replace("\n", " "): ax for ax in figure.axes if ax.get_title()}
    assert len(titled) == len(NAMES) + 1
    labels = [line.get_label() for line in titled["accuracy (concat)"].lines]
    assert labels == ["tuned", "counterpart", "lexical"]
    layers = titled["gini (norm, output, query)"].lines[0].get_xdata()
    assert list(layers) == [1, 2, 3, 4, 5, 6]
    with pytest.raises(ConfigError, match="no retriever other on dataset toy"):
        evidence.over_layers(table, "toy", "other")


@pytest.mark.parametrize(
    ("shared", "line"),
    [
        (20, "20 queries that all measures of queries share"),
        (1, "1 query that all measures of queries share: each is of its own"),
    ],
)
def test_the_line_below_tells_whether_queries_are_the_same(shared: int, line: str):
    figure = evidence.over_layers(tables(shared=shared)["evidence"], "toy", "tuned")
    written = " ".join(text.get_text() for text in figure.findobj(Text))
    assert line in " ".join(written.split())


def test_numbers_stand_where_the_interval_excludes_nothing():
    table = tables()["evidence_correlations"]
    figure = evidence.correlations(table, "toy", "tuned")
    maps = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title().split(",")[0] for ax in maps] == ["over layers"] * 2
    here = table.filter(retriever="tuned", over="layers")
    assert len(maps[0].texts) == here["answer"].is_in(["together", "opposed"]).sum() > 0
    with pytest.raises(ConfigError, match="no correlation of retriever other on dataset toy"):
        evidence.correlations(table, "toy", "other")

"""Figures of neuron attribution: what they show of the table, and that gaps in it do no harm."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import polars as pl
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tests.support.decentralising import STRENGTHS, crowded, findings, saved
from tests.support.slow import slow
from wellspring.errors import ConfigError
from wellspring.figures import attributions
from wellspring.figures.fidelity import fidelity
from wellspring.figures.sanity_checks import sanity_checks

HERE = ("toy", "norm", "tuned")
DRAWN = [attributions.concentration, attributions.sweep, sanity_checks]
PLACES = [(side, name) for side in ("query", "passage") for name in ("intermediate", "output")]


def line(ax: Axes, label: str) -> Line2D:
    """The one line with this label."""
    (found,) = [line for line in ax.lines if line.get_label() == label]
    return found


def grid(figure: Figure, columns: int) -> np.ndarray:
    """The panels [rows, columns]."""
    return np.array(figure.axes).reshape(-1, columns)


def titles(figure: Figure) -> list[str]:
    return [ax.get_title().splitlines()[0] for ax in figure.axes if ax.get_title()]


def legend_labels(figure: Figure) -> list[str]:
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def test_concentration_shows_the_levels_of_both_retrievers() -> None:
    table = findings(12)
    figure = attributions.concentration(table, *HERE)
    for row, side in zip(grid(figure, 3), ("query", "passage"), strict=True):
        for ax, measure in zip(row, ("share_active", "effective_number", "gini"), strict=True):
            for name in ("tuned", "plain"):
                for sublayer in ("intermediate", "output"):
                    rows = table.filter(
                        pl.col("threshold").is_null() | (pl.col("threshold") == 0.1),
                        finding="level",
                        retriever=name,
                        side=side,
                        sublayer=sublayer,
                        measure=measure,
                    )
                    drawn = line(ax, f"{name}, {sublayer}")
                    scale = 100 if measure == "share_active" else 1
                    np.testing.assert_array_equal(drawn.get_xdata(), rows["layer"])
                    np.testing.assert_allclose(drawn.get_ydata(), scale * rows["estimate"])
            assert len(ax.lines) == len(ax.collections) == 4
    ax = figure.axes[0]
    one, other = line(ax, "tuned, intermediate"), line(ax, "plain, intermediate")
    assert one.get_color() != other.get_color() and one.get_marker() != other.get_marker()
    assert line(ax, "tuned, output").get_color() == one.get_color()
    assert line(ax, "tuned, output").get_linestyle() != one.get_linestyle()
    assert legend_labels(figure) == ["tuned", "plain", "intermediate", "output", "95 % interval"]


def test_concentration_looks_like_the_other_figures_of_a_study() -> None:
    more = findings().with_columns(retriever=pl.lit("another"), compared_with=pl.lit("plain"))
    figure = attributions.concentration(pl.concat([more, findings()]), *HERE)
    alone = attributions.concentration(more, "toy", "norm", "another").axes[0]
    first, second = line(figure.axes[0], "tuned, output"), line(alone, "another, output")
    assert first.get_color() != second.get_color()
    assert {line.get_label() for line in figure.axes[0].lines} == {
        f"{name}, {sublayer}" for name in ("tuned", "plain") for sublayer in dict(PLACES).values()
    } | {f"{name}, intermediate" for name in ("tuned", "plain")}


def test_concentration_leaves_out_a_share_that_the_table_lacks() -> None:
    figure = attributions.concentration(findings(), *HERE, threshold=0.01)
    assert titles(figure) == ["effective number of neurons", "Gini coefficient"]
    figure = attributions.concentration(findings(), *HERE, threshold=0.05)
    assert "above 0.05 × the text's largest" in figure.axes[0].get_title()


def test_sweep_shows_every_setting_and_which_sign_is_sure() -> None:
    table = findings()
    figure = attributions.sweep(table, *HERE)
    assert titles(figure) == ["all layers", "early layers", "late layers"]
    for row, (side, sublayer) in zip(grid(figure, 3), PLACES, strict=True):
        for ax, region in zip(row, ("all", "early", "late"), strict=True):
            here = table.filter(
                finding="relative_change", side=side, sublayer=sublayer, region=region
            )
            for normaliser, count in (
                here.select("normaliser", "excluded_outliers").unique().iter_rows()
            ):
                rows = here.filter(normaliser=normaliser, excluded_outliers=count).sort("threshold")
                drawn = line(ax, f"{normaliser}, {count}")
                np.testing.assert_allclose(drawn.get_xdata(), rows["threshold"])
                np.testing.assert_allclose(drawn.get_ydata(), rows["estimate"])
            hollow = {
                point
                for points in ax.lines
                if points.get_markerfacecolor() == "white" and points.get_marker() != "None"
                for point in zip(*points.get_data(), strict=True)
            }
            unsure = here.filter((pl.col("low") <= 0) & (pl.col("high") >= 0))
            assert hollow == set(unsure.select("threshold", "estimate").iter_rows())
            published = here.filter(normaliser="network-max", excluded_outliers=0, threshold=0.1)
            ring = line(ax, "setting of the maps")
            assert ring.get_ydata().tolist() == published["estimate"].to_list()
    assert len({ax.get_ylim() for ax in figure.axes}) == 1
    assert "8 outliers left out" in legend_labels(figure)


def test_sweep_names_no_published_setting_where_none_is_held() -> None:
    table = findings().filter(pl.col("threshold").is_null() | (pl.col("threshold") < 0.1))
    assert "setting of the maps" not in legend_labels(attributions.sweep(table, *HERE))
    assert "setting of the maps" in legend_labels(attributions.sweep(table, *HERE, threshold=0.01))


def test_reality_shows_ablations_and_agreement() -> None:
    table = findings()
    figure = sanity_checks(table, *HERE)
    assert len(titles(figure)) == 4
    for row, (side, sublayer) in zip(grid(figure, 4), PLACES, strict=True):
        here = table.filter(side=side, sublayer=sublayer)
        for ax, measure in zip(row, ("change", "margin_change", "first_change"), strict=False):
            for name in ("tuned", "plain"):
                for choice in STRENGTHS:
                    rows = here.filter(
                        finding="ablation", retriever=name, measure=measure, choice=choice
                    )
                    drawn = line(ax, f"{name}, {choice}")
                    scale = 100 if measure == "first_change" else 1
                    np.testing.assert_array_equal(drawn.get_xdata(), rows["neurons"])
                    np.testing.assert_allclose(drawn.get_ydata(), scale * rows["estimate"])
        # Other attributions by name, then the counterpart.
        named = [text.get_text() for text in row[3].texts]
        assert named == ["… of conductance", "… of gradient-x-activation", "… of plain"]
        rows = here.filter(finding="agreement", region="all")
        for name, other, measure, estimate in rows.select(
            "retriever", "other", "measure", "estimate"
        ).iter_rows():
            prefix = "shifted: " if measure == "correlation_shifted" else ""
            drawn = line(row[3], f"{prefix}{name}, {other}")
            assert drawn.get_xdata()[0] == pytest.approx(estimate)
    assert legend_labels(figure) == [
        *("top", "random as top", "bottom", "random as bottom", "tuned", "plain"),
        *("… of another text", "95 % interval"),
    ]


def test_reality_shows_one_way_of_ablating() -> None:
    table = findings(4)
    other = table.filter(finding="ablation").with_columns(by=pl.lit("mean"), estimate=0.5)
    both = sanity_checks(pl.concat([other, table]), *HERE)
    alone = sanity_checks(other, *HERE)
    name = "tuned, top"
    for figure, rows in ((both, table), (alone, other)):
        where = {"finding": "ablation", "retriever": "tuned", "measure": "change", "choice": "top"}
        first = rows.filter(**where, side="query", sublayer="intermediate")["estimate"]
        np.testing.assert_allclose(line(figure.axes[0], name).get_ydata(), first)


def test_an_agreement_is_drawn_for_both_attributions() -> None:
    turned = pl.col("finding") == "agreement", pl.col("compared_with").is_null()
    table = findings().with_columns(
        pl.when(*turned).then(pl.lit("conductance")).otherwise("attribution").alias("attribution"),
        pl.when(*turned).then(pl.lit("norm")).otherwise("other").alias("other"),
    )
    named = [text.get_text() for text in sanity_checks(table, *HERE).axes[-1].texts]
    assert named == ["… of conductance", "… of plain"]
    figure = sanity_checks(table, "toy", "conductance", "tuned")
    assert [text.get_text() for text in figure.axes[-1].texts] == ["… of norm"]


@pytest.mark.parametrize(
    ("absent", "expected"),
    [
        (pl.col("finding") == "agreement", ["vector", "margin to hard", "positive ranked"]),
        (pl.col("finding") == "ablation", ["rank correlation"]),
        (pl.col("measure") == "margin_change", ["vector", "positive ranked", "rank correlation"]),
    ],
    ids=["no agreement", "no ablation", "no margin"],
)
def test_reality_leaves_out_what_is_not_there(absent: pl.Expr, expected: list[str]) -> None:
    table = findings(4).filter(~absent.fill_null(False))
    figure = sanity_checks(table, *HERE)
    for title, start in zip(titles(figure), expected, strict=True):
        assert title.startswith(start)
    assert crowded(figure) == []


def test_without_another_attribution_the_counterpart_is_left() -> None:
    figure = sanity_checks(findings(others=()), *HERE)
    assert len(titles(figure)) == 4
    assert [text.get_text() for text in figure.axes[-1].texts] == ["… of plain"]


def test_a_retriever_without_counterpart_is_drawn_alone() -> None:
    table = findings().with_columns(compared_with=pl.lit(None, pl.String))
    figure = attributions.concentration(table, *HERE)
    assert legend_labels(figure)[:2] == ["tuned", "intermediate"]
    labels = legend_labels(sanity_checks(table, *HERE))
    assert "tuned" in labels and "plain" not in labels


def odd(table: pl.DataFrame) -> pl.DataFrame:
    """One text (no intervals), great and undefined changes, a threshold of 0, vectors unchanged."""
    numbers = pl.col("estimate", "low", "high")
    great = pl.col("finding") == "relative_change"
    return table.with_columns(
        pl.when(great)
        .then(numbers * 20)
        .when(pl.col("measure") == "change")
        .then(0.0)
        .otherwise(numbers),
    ).with_columns(
        pl.lit(None, pl.Float64).alias("low"),
        pl.lit(None, pl.Float64).alias("high"),
        threshold=pl.when(pl.col("threshold") == 0.0005).then(0.0).otherwise("threshold"),
        estimate=pl.when(great & (pl.col("threshold") == 0.5)).then(None).otherwise("estimate"),
    )


@pytest.mark.parametrize("draw", DRAWN)
@pytest.mark.parametrize(
    "table",
    [
        findings(32),
        slow(findings(6, ("passage",), ("norm-128-tokens", "conductance", "activation", "dot"))),
        slow(findings(1).filter(pl.col("neurons").is_null() | pl.col("neurons").is_in([16]))),
        odd(findings(3)),
    ],
    ids=["32 layers", "one side", "one layer", "odd"],
)
def test_texts_stay_apart(draw, table: pl.DataFrame) -> None:
    figure = draw(table, *HERE)
    assert crowded(figure) == []
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.width
    for ax in figure.axes:
        assert not box.overlaps(ax.get_window_extent())
        assert ax.get_window_extent().height > 0.7 * figure.dpi


@pytest.mark.slow
@pytest.mark.parametrize("draw", DRAWN)
def test_files_repeat_byte_for_byte(draw, tmp_path: Path) -> None:
    table = findings(3, ("query",))
    before = dict(matplotlib.rcParams)
    first = saved(draw(table, *HERE), tmp_path)
    assert first[0].startswith(b"%PDF") and first[1].startswith(b"\x89PNG")
    assert dict(matplotlib.rcParams) == before
    with matplotlib.rc_context({"font.size": 20, "lines.linewidth": 9}):
        assert saved(draw(table.reverse(), *HERE), tmp_path) == first


def test_what_the_table_does_not_hold_is_said() -> None:
    table = findings(2)
    for draw in DRAWN:
        with pytest.raises(ConfigError, match="attribution norm of retriever stranger on dataset"):
            draw(table, "toy", "norm", "stranger")
        with pytest.raises(ConfigError, match=r"attribution dot of retriever tuned .* of none"):
            draw(table, "toy", "dot", "tuned")
    contrasts = table.with_columns(finding=pl.lit("contrast"))
    for draw, what in zip(
        DRAWN, ("no level over layers", "no relative change", "neither ablations"), strict=True
    ):
        with pytest.raises(ConfigError, match=f"{what} .*retriever tuned"):
            draw(contrasts, *HERE)


TWINS = {"plain": ["plain", "plain.2", "plain.3"]}


def with_twins() -> pl.DataFrame:
    """Two further draws of `plain`, 10 % above and below it; the setting of the maps aside."""
    found = findings(12)
    frames = [found]
    for name, factor in (("plain.2", 1.1), ("plain.3", 0.9)):
        level = found.filter(finding="level", retriever="plain")
        values = pl.col("estimate", "low", "high") * factor
        frames.append(level.with_columns(values, retriever=pl.lit(name)))
        change = found.filter(finding="relative_change")
        apart = {"retriever": pl.lit(name), "estimate": pl.lit(factor - 1)}
        frames.append(change.with_columns(**apart, compared_with=pl.lit("plain")))
    return pl.concat(frames)


def test_concentration_shows_the_range_of_random_twins() -> None:
    table = with_twins()
    figure = attributions.concentration(table, *HERE, twins=TWINS)
    assert "range of 3 random twins" in legend_labels(figure)
    ax = figure.axes[2]
    bands = [band for band in ax.collections if band.get_label() == "range of random twins"]
    assert len(bands) == 2
    level = table.filter(retriever="plain", measure="gini", side="query", sublayer="intermediate")
    ends = [band.get_paths()[0].get_extents().intervaly for band in bands]
    expected = (0.9 * level["estimate"].min(), 1.1 * level["estimate"].max())
    assert any(tuple(found) == pytest.approx(expected) for found in ends)
    assert not any("plain." in str(found.get_label()) for found in ax.lines)


def test_the_sweep_shows_how_far_two_random_twins_are_apart() -> None:
    figure = attributions.sweep(with_twins(), *HERE, twins=TWINS)
    assert "between two random twins" in legend_labels(figure)
    for ax in figure.axes:
        crosses = line(ax, "between two random twins").get_ydata()
        assert {round(value, 6) for value in crosses} == {0.1, -0.1}
    plain = attributions.sweep(findings(12), *HERE)
    assert "between two random twins" not in legend_labels(plain)
    assert not crowded(figure) and not crowded(plain)


def test_fidelity_shows_every_attribution_against_each_effect() -> None:
    table = findings(12)
    figure = fidelity(table, "toy", "tuned", ["caution: few texts"])
    assert titles(figure) == ["change of the vector", "change of the margin", "loss of length"]
    for row, (side, sublayer) in zip(grid(figure, 3), PLACES, strict=True):
        where = {"finding": "fidelity", "side": side, "sublayer": sublayer, "other": "change"}
        for attribution in ("norm", "gradient-x-activation", "conductance"):
            for name in ("tuned", "plain"):
                (expected,) = table.filter(
                    **where, attribution=attribution, retriever=name, measure="correlation"
                )["estimate"]
                assert line(row[0], f"{name}, {attribution}").get_xdata() == [expected]
    assert "caution: few texts" in figure.get_supxlabel()
    assert not crowded(figure)
    with pytest.raises(ConfigError, match=r"no removal of retriever nobody .*attribute.removal"):
        fidelity(table, "toy", "nobody")

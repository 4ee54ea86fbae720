"""Studies of unlike shapes: one layer, layers apart, one N, many retrievers, few questions."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import polars as pl
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from tests.support.accuracies import PAIR, table
from tests.support.decentralising import counts, crowded, findings
from tests.support.slow import slow
from wellspring.config import LAYERLESS
from wellspring.figures import attributions, heatmaps
from wellspring.figures.accuracy import layer_accuracy
from wellspring.figures.cautions import sentences
from wellspring.figures.controls import controls
from wellspring.figures.fidelity import fidelity
from wellspring.figures.sanity_checks import sanity_checks
from wellspring.figures.similarity import similarity
from wellspring.figures.style import lines_of
from wellspring.findings import cautions

HEADLINE = ["concat", "interaction"]
TEN = {f"retriever-{number}": "plain" for number in range(9)} | {"plain": None}
LONG = "a-retriever-whose-name-is-as-long-as-a-name-may-be.version-2"
NAMES = ("tuned", "plain")


def strokes(line: Line2D) -> list[list[float]]:
    """The layers that each unbroken part of a line joins."""
    x, y = (np.asarray(values, float) for values in line.get_data())
    parts = np.split(x, np.flatnonzero(np.isnan(x) | np.isnan(y)))
    return [part[~np.isnan(part)].tolist() for part in parts if not np.isnan(part).all()]


def bars(ax: Axes) -> list[tuple[float, float, float]]:
    """The error bars of a panel: x, low and high."""
    segments = [
        segment
        for band in ax.collections
        if isinstance(band, LineCollection)
        for segment in band.get_segments()
    ]
    # Without an interval there is no bar, and nothing in the segment.
    return [(each[0][0], each[0][1], each[1][1]) for each in segments if len(each)]


def over_layers(ax: Axes) -> list[Line2D]:
    """The lines of a panel that are drawn over layers."""
    level = {"chance", "lexical floor", *LAYERLESS}
    labelled = [line for line in ax.lines if not str(line.get_label()).startswith("_")]
    return [
        line
        for line in labelled
        if line.get_label() not in level and line.get_linestyle() != "None"
    ]


def small_print(figure: Figure) -> str:
    return " ".join(figure.get_supxlabel().split())


def shapes(found: pl.DataFrame, lines: list[str]) -> dict[str, Figure]:
    return {
        "accuracy": layer_accuracy(found, "toy", HEADLINE, cautions=lines),
        "controls": controls(found, "toy", found["retriever"][0], cautions=lines),
        "similarity": similarity(found, "toy", cautions=lines),
    }


@pytest.mark.parametrize("layers", [slow([0, 3, 6]), slow([6]), [0, 1, 3, 4]], ids=str)
def test_no_figure_joins_layers_that_were_not_measured(layers: list[int]) -> None:
    ends = [place for place, (a, b) in enumerate(pairwise(layers)) if b > a + 1]
    parts = [part.tolist() for part in np.split(np.array(layers, float), np.array(ends) + 1)]
    alone = {part[0] for part in parts if len(part) == 1}
    found = table(layers)
    for name, figure in shapes(found, []).items():
        for ax in figure.axes:
            drawn = over_layers(ax)
            assert drawn
            for line in drawn:
                # Where CKA is undefined, at layer 0, nothing is drawn.
                assert strokes(line) == parts or (name == "similarity" and layers[0] == 0)
            assert alone <= {x for x, _, _ in bars(ax)} or name == "similarity"
            ticks = [at for at in ax.xaxis.get_majorticklocs() if ax.get_xlim()[0] <= at]
            assert all(float(at).is_integer() for at in ticks)
        assert crowded(figure) == []
    levels = findings(max(layers)).filter(pl.col("layer").is_null() | pl.col("layer").is_in(layers))
    figure = attributions.concentration(levels, "toy", "norm", "tuned")
    measured = [[at for at in part if at] for part in parts]
    for ax in figure.axes:
        assert all(strokes(line) == [part for part in measured if part] for line in ax.lines)
    assert crowded(figure) == []


def test_a_heat_map_marks_blocks_that_were_not_attributed() -> None:
    ours, theirs = (
        counts(6, (48, 12), 50, tuned).filter(pl.col("layer").is_in([1, 2, 6]))
        for tuned in (True, False)
    )
    for draw in (heatmaps.heat_maps, heatmaps.change_map):
        figure = draw(ours, theirs, NAMES)
        marks = [line for line in figure.axes[0].lines if line.get_label() == heatmaps.SKIPPED]
        assert [line.get_ydata()[0] for line in marks] == [3.5]
        assert heatmaps.SKIPPED in figure.axes[-1].get_xlabel()
        assert crowded(figure) == []
        whole = draw(counts(2, (48, 12), 50), counts(2, (48, 12), 50), NAMES)
        assert not [line for line in whole.axes[0].lines if line.get_label() == heatmaps.SKIPPED]
        assert heatmaps.SKIPPED not in whole.axes[-1].get_xlabel()


def test_one_layer_and_one_n_still_show_their_interval() -> None:
    found = table([6], (5,))
    figure = layer_accuracy(found, "toy", HEADLINE)
    (ax,) = figure.axes
    rows = found.filter(finding="accuracy", measure="accuracy", layer=6)
    rows = rows.filter(pl.col("probe").is_in(HEADLINE))
    assert sorted(bars(ax)) == sorted(rows.select("layer", "low", "high").rows())
    for retriever, probe in product(NAMES, HEADLINE):
        (line,) = [each for each in ax.lines if each.get_label() == f"{retriever}, {probe}"]
        assert line.get_marker() != "None" and list(line.get_xdata()) == [6]
    assert figure.get_figwidth() < 4


def test_the_headline_shows_both_probes_the_floor_and_chance() -> None:
    found = table()
    figure = layer_accuracy(found, "toy", HEADLINE)
    assert [ax.get_title() for ax in figure.axes] == [f"{n} passages" for n in (2, 3, 4, 5)]
    for ax, count in zip(figure.axes, (2, 3, 4, 5), strict=True):
        for retriever, probe in product(NAMES, HEADLINE):
            where = {"retriever": retriever, "probe": probe, "passages": count}
            rows = found.filter(finding="accuracy", measure="accuracy", **where)
            (line,) = [each for each in ax.lines if each.get_label() == f"{retriever}, {probe}"]
            np.testing.assert_allclose(line.get_ydata(), rows["estimate"])
            # Without colour a retriever is known by its dashes, and a probe by its markers.
            assert to_rgba(line.get_markerfacecolor()) == to_rgba(
                "white" if probe == "interaction" else line.get_color()
            )
        levels = {line.get_label(): line.get_ydata()[0] for line in ax.lines}
        assert levels["chance"] == pytest.approx(1 / count)
        lexical = found.filter(finding="accuracy", measure="accuracy", probe="lexical")
        means = lexical.filter(passages=count)["estimate"].mean()
        assert levels["lexical floor"] == pytest.approx(means)
        starred = {str(line.get_label()) for line in ax.lines if line.get_marker() == "*"}
        assert starred == {"significant: tuned, concat", "significant: tuned, interaction"}
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels[:6] == [*NAMES, *HEADLINE, "lexical floor", "chance"]


def test_ten_retrievers_have_a_row_for_each_probe_and_looks_of_their_own() -> None:
    figure = layer_accuracy(table(7, (2, 5), TEN), "toy", HEADLINE)
    assert [text.get_text() for ax in figure.axes for text in ax.texts] == HEADLINE
    for ax, (probe, _) in zip(figure.axes, product(HEADLINE, (2, 5)), strict=True):
        drawn = over_layers(ax)
        assert {line.get_label() for line in drawn} == {f"{name}, {probe}" for name in TEN}
        assert {"chance", "lexical floor"} <= {str(line.get_label()) for line in ax.lines}
        stars = [line for line in ax.lines if line.get_marker() == "*"]
        heights = [line.get_ydata()[0] for line in stars]
        assert len({*heights}) == 9
        low, high = ax.get_ylim()
        data = max(
            np.nanmax(line.get_ydata()) for each in figure.axes for line in over_layers(each)
        )
        assert min(heights) > (data - low) / (high - low)
        assert data - low > 0.45 * (high - low) and max(ax.get_yticks()) <= 1
    looks = lines_of([f"r{number}" for number in range(24)]).values()
    assert len({(look.color, str(look.linestyle), look.marker) for look in looks}) == 24
    assert len({(str(look.linestyle), look.marker) for look in looks}) == 24
    assert crowded(figure) == []


@pytest.mark.slow
def test_eight_questions_are_said_on_every_figure() -> None:
    found = table(queries=8)
    columns = {"dataset": pl.String, "probe": pl.String, "converged": pl.Boolean}
    fits = pl.DataFrame(schema=columns | {"epochs": pl.Int64})
    lines = sentences(cautions.gathered(cautions.of_probes(found, fits)), "toy", None)
    for figure in shapes(found, lines).values():
        assert "8 test questions: small differences cannot be seen" in small_print(figure)
    texts = findings(6).with_columns(texts=pl.lit(8, pl.Int64))
    whole = texts.with_columns(region=pl.col("region").fill_null("all"))
    lines = sentences(
        cautions.gathered(cautions.of_attributions(whole, {})), "toy", NAMES, ["norm"]
    )
    for draw in (attributions.concentration, attributions.sweep, sanity_checks):
        figure = draw(texts, "toy", "norm", "tuned", cautions=lines)
        assert "8 attributed texts: small changes cannot be seen" in small_print(figure)
        assert "8 queries and 8 passages" in small_print(figure)


def renamed(found: pl.DataFrame) -> pl.DataFrame:
    names = {"tuned": LONG, "plain": f"{LONG}.2"}
    columns = [name for name in ("retriever", "compared_with", "other") if name in found.columns]
    return found.with_columns(pl.col(columns).replace(names), dataset=pl.lit(f"{LONG}.3"))


def drawn_from(name: str) -> Figure:
    probed, attributed = renamed(table()), renamed(findings(6))
    where, pair = f"{LONG}.3", (LONG, f"{LONG}.2")
    maps = [counts(6, (48, 12), 50, tuned) for tuned in (True, False)]
    return {
        "accuracy": lambda: layer_accuracy(probed, where, HEADLINE),
        "one panel": lambda: layer_accuracy(probed.filter(passages=2), where, HEADLINE),
        "controls": lambda: controls(probed, where, LONG),
        "similarity": lambda: similarity(probed, where),
        "concentration": lambda: attributions.concentration(attributed, where, "norm", LONG),
        "sweep": lambda: attributions.sweep(attributed, where, "norm", LONG),
        "sanity checks": lambda: sanity_checks(attributed, where, "norm", LONG),
        "fidelity": lambda: fidelity(attributed, where, LONG),
        "heat": lambda: heatmaps.heat_maps(*maps, pair),
        "change": lambda: heatmaps.change_map(*maps, pair),
    }[name]()


@pytest.mark.parametrize(
    "name",
    [
        *("accuracy", "one panel", "similarity", "concentration", "fidelity", "heat"),
        *map(slow, ("controls", "sweep", "sanity checks", "change")),
    ],
)
def test_long_names_are_not_cut(name: str) -> None:
    figure = drawn_from(name)
    assert crowded(figure) == []
    texts = "".join(text.get_text() for text in figure.findobj(Text)).split()
    assert LONG in "".join(texts) and f"{LONG}.2" in "".join(texts)


def test_every_figure_says_what_it_shows() -> None:
    probed = "dataset toy; retriever tuned (compared with plain)"
    samples = "2,000 test samples of 1,000 questions (over 3 seeds)"
    figures = shapes(table(), [])
    assert small_print(figures["accuracy"]) == f"{probed}; probes concat and interaction; {samples}"
    assert small_print(figures["controls"]) == f"{probed}; {samples}"
    assert small_print(figures["similarity"]) == f"{probed}; 2,000 texts a side"
    ten = small_print(layer_accuracy(table(others=TEN), "toy", ["concat"]))
    assert "retrievers retriever-0, retriever-1" in ten
    assert "retriever-7 and retriever-8 (compared with plain); probe concat; 2,000" in ten
    texts = "1,000 queries and 1,000 passages"
    for draw in (attributions.concentration, attributions.sweep, sanity_checks):
        figure = draw(findings(6), "toy", "norm", "tuned")
        assert small_print(figure) == f"{probed}; attribution norm; {texts}"
    assert small_print(fidelity(findings(6), "toy", "tuned")) == f"{probed}; {texts}"


@pytest.mark.parametrize(
    "numbers", [[16], slow([16, 64]), [1, 2, 3], slow([1, 4, 16, 64, 256])], ids=str
)
def test_numbers_of_ablated_neurons_are_on_a_scale_that_shows_what_it_is(numbers) -> None:
    kept = pl.col("neurons").is_null() | pl.col("neurons").is_in(numbers)
    ablated = pl.col("finding") == "ablation"
    few = findings(6).filter(ablated)
    rows = [few.filter(neurons=1).with_columns(neurons=pl.lit(at, pl.Int64)) for at in numbers]
    figure = sanity_checks(
        pl.concat([findings(6).filter(~ablated & kept), *rows]), "toy", "norm", "tuned"
    )
    ax = figure.axes[-4]
    low, high = ax.get_xlim()
    ticks = [at for at in ax.xaxis.get_majorticklocs() if low <= at <= high]
    if len(numbers) == 1:
        assert ticks == numbers and "log" not in ax.get_xlabel()
        assert len(bars(ax)) == 8
    else:
        assert len(ticks) >= 3 and "log scale" in ax.get_xlabel()
    assert crowded(figure) == []


def test_a_pair_reads_without_a_counterpart() -> None:
    figure = layer_accuracy(table(others={"tuned": None}), "toy", HEADLINE)
    assert small_print(figure).startswith("dataset toy; retriever tuned; probes")
    assert PAIR["plain"] is None

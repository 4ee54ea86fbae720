"""Figures: what they show, that they repeat byte for byte, and that odd tables do no harm."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import matplotlib
import numpy as np
import polars as pl
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tests.support.accuracies import PROBE_LEVELS, table
from tests.support.slow import slow
from wellspring.config import LAYERLESS
from wellspring.config.vocabulary import ProbeKind
from wellspring.errors import ConfigError
from wellspring.figures import style
from wellspring.figures.accuracy import layer_accuracy
from wellspring.figures.controls import controls
from wellspring.figures.similarity import similarity
from wellspring.figures.style import PROBES, lines_of
from wellspring.probes import KINDS


def line(ax: Axes, label: str) -> Line2D:
    """The one line with this label."""
    (found,) = [line for line in ax.lines if line.get_label() == label]
    return found


def legend_labels(figure: Figure) -> list[str]:
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def saved(figure: Figure, folder: Path, name: str) -> tuple[bytes, bytes]:
    pdf, png = folder / f"{name}.pdf", folder / f"{name}.png"
    style.save(figure, pdf, png)
    return pdf.read_bytes(), png.read_bytes()


def test_layer_accuracy_shows_the_table() -> None:
    found = table()
    figure = layer_accuracy(found, "toy", ["interaction"])
    assert [ax.get_title() for ax in figure.axes] == [f"{n} passages" for n in (2, 3, 4, 5)]
    for ax, count in zip(figure.axes, (2, 3, 4, 5), strict=True):
        for retriever in ("tuned", "plain"):
            rows = found.filter(
                finding="accuracy",
                retriever=retriever,
                probe="interaction",
                measure="accuracy",
                passages=count,
            )
            drawn = line(ax, f"{retriever}, interaction")
            np.testing.assert_allclose(drawn.get_xdata(), rows["layer"])
            np.testing.assert_allclose(drawn.get_ydata(), rows["estimate"])
        assert set(line(ax, "chance").get_ydata()) == {1 / count}
        assert len(ax.collections) == 2
        band = ax.collections[0].get_paths()[0].get_extents()
        assert (band.x0, band.x1) == (0, 6)
    assert len({ax.get_ylim() for ax in figure.axes}) == 1
    assert set(legend_labels(figure)) >= {"tuned", "plain", "chance", "differs from plain"}


def test_stars_stand_at_the_sign_flip_test_s_layers_alone() -> None:
    figure = layer_accuracy(table(), "toy", ["concat"])
    for ax in figure.axes:
        stars = line(ax, "significant: tuned, concat")
        assert stars.get_marker() == "*" and list(stars.get_xdata()) == [6]
        assert to_rgba(stars.get_color()) == to_rgba(line(ax, "tuned, concat").get_color())
        # Above every band: in shares of the panel.
        top = max(band.get_paths()[0].get_extents().y1 for band in ax.collections)
        low, high = ax.get_ylim()
        assert stars.get_ydata()[0] > (top - low) / (high - low) + 0.02
    none = table().with_columns(significant=pl.lit(False))
    figure = layer_accuracy(none, "toy", ["concat"])
    assert not [line for ax in figure.axes for line in ax.lines if line.get_marker() == "*"]
    assert "differs from plain" not in legend_labels(figure)


def test_a_selection_of_retrievers_keeps_their_looks() -> None:
    both = layer_accuracy(table(), "toy", ["concat"]).axes[0]
    one = layer_accuracy(table(), "toy", ["concat"], ["plain"]).axes[0]
    assert {line.get_label() for line in one.lines} == {
        *("plain, concat", "chance", "lexical floor")
    }
    assert line(one, "plain, concat").get_color() == line(both, "plain, concat").get_color()


def published(layers: int = 7, dataset: str = "toy", passages: tuple[int, ...] = (2, 3, 4, 5)):
    """A published curve of `plain` at these layers, in falling order, and of a stranger."""
    rows = [
        (dataset, name, count, layer, 1 / count + 0.03 * layer)
        for name in ("plain", "stranger")
        for count in passages
        for layer in reversed(range(layers))
    ]
    columns = ["dataset", "retriever", "passages", "layer", "accuracy"]
    return pl.DataFrame(rows, columns, orient="row")


@pytest.mark.parametrize("layers", [3, 7, 13])
def test_published_curves_lie_under_their_retriever_s_colour(layers: int) -> None:
    """Fewer, as many and more layers than the study's own seven."""
    figure = layer_accuracy(table(), "toy", ["concat"], published=published(layers))
    for ax, count in zip(figure.axes, (2, 3, 4, 5), strict=True):
        curve = line(ax, "published: plain")
        np.testing.assert_array_equal(curve.get_xdata(), range(layers))
        np.testing.assert_allclose(curve.get_ydata(), 1 / count + 0.03 * np.arange(layers))
        own = line(ax, "plain, concat")
        assert curve.get_color() == own.get_color() and curve.get_marker() in ("", "None")
        assert curve.get_linewidth() < own.get_linewidth()
        assert curve.get_linestyle() != "-" and len(ax.collections) == 2
        assert not [line for line in ax.lines if "stranger" in line.get_label()]
        low, high = ax.get_xlim()
        assert low < 0 and high > max(layers, 7) - 1
        assert ax.get_ylim()[1] > max(curve.get_ydata())
    assert legend_labels(figure).count("published") == 1
    assert "plain" in legend_labels(figure)


@pytest.mark.parametrize(
    "absent",
    [
        slow(published(dataset="other")),
        published(passages=(7,)),
        slow(published().filter(retriever="none")),
    ],
    ids=["other dataset", "other passages", "no curve"],
)
def test_where_nothing_is_published_the_figure_stays_as_it_was(absent, tmp_path) -> None:
    plain = layer_accuracy(table(3), "toy", ["concat"])
    same = layer_accuracy(table(3), "toy", ["concat"], published=absent)
    assert "published" not in legend_labels(same)
    assert saved(same, tmp_path, "same") == saved(plain, tmp_path, "plain")


def test_a_published_curve_needs_its_retriever_in_the_figure() -> None:
    figure = layer_accuracy(table(), "toy", ["concat"], ["tuned"], published())
    assert "published" not in legend_labels(figure)


def test_controls_show_every_probe_of_both_retrievers() -> None:
    figure = controls(table(), "toy", "tuned")
    assert len(figure.axes) == 8
    for ax in figure.axes:
        assert {line.get_label() for line in ax.lines} == {*PROBE_LEVELS, "chance"}
        for probe in LAYERLESS:
            assert len(set(line(ax, probe).get_ydata())) == 1
    names = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert names == ["tuned", "plain"]
    assert legend_labels(figure) == [*PROBES, "chance", "95 % interval"]


def test_similarity_leaves_a_gap_where_nothing_is_defined() -> None:
    figure = similarity(table(), "toy")
    assert len(figure.axes) == 4
    assert figure.axes[0].get_title() == "linear CKA with plain"
    assert np.isnan(line(figure.axes[0], "tuned").get_ydata()[0])
    assert {line.get_label() for line in figure.axes[1].lines} == {"tuned", "plain"}


def test_lines_differ_in_colour_dashes_and_marker() -> None:
    of_vectors = [look for probe, look in PROBES.items() if probe not in LAYERLESS]
    for looks in (list(lines_of([f"r{i}" for i in range(8)]).values()), of_vectors):
        assert len({look.color for look in looks}) == len(looks) >= 8
        assert len({look.marker for look in looks}) == len(looks)
    level = {(PROBES[probe].color, PROBES[probe].linestyle) for probe in LAYERLESS}
    assert len(level) == len(LAYERLESS)
    assert not {color for color, _ in level} & {look.color for look in of_vectors}


def test_every_probe_has_a_line() -> None:
    assert set(PROBES) == set(KINDS) == set(get_args(ProbeKind))


def all_figures(found: pl.DataFrame) -> dict[str, Figure]:
    return {
        "accuracy": layer_accuracy(found, "toy", ["concat", "interaction"]),
        "published": layer_accuracy(found, "toy", ["concat"], published=published()),
        "controls": controls(found, "toy", "tuned"),
        "similarity": similarity(found, "toy"),
    }


@pytest.mark.slow
def test_files_repeat_byte_for_byte(tmp_path: Path) -> None:
    again = all_figures(table(3, (2, 5)))
    for name, figure in all_figures(table(3, (2, 5))).items():
        first = saved(figure, tmp_path, name)
        assert first[0].startswith(b"%PDF") and first[1].startswith(b"\x89PNG")
        assert b"CreationDate" not in first[0] and b"Software" not in first[1]
        assert saved(again[name], tmp_path, name) == first
        assert saved(figure, tmp_path, name) == first


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layers", "passages"), [(7, (2, 3, 4, 5)), (33, (2, 5)), (7, (5,)), (1, (2,))], ids=str
)
def test_legends_cover_nothing(layers: int, passages: tuple[int, ...]) -> None:
    for figure in all_figures(table(layers, passages)).values():
        figure.draw_without_rendering()
        (legend,) = figure.legends
        box = legend.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.width
        for ax in figure.axes:
            assert not box.overlaps(ax.get_window_extent())
            assert ax.get_window_extent().height > figure.dpi


def test_no_global_state_is_left(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    saved(controls(table(), "toy", "plain"), tmp_path, "controls")
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []


def test_a_user_s_own_settings_change_nothing(tmp_path: Path) -> None:
    plain = saved(similarity(table(), "toy"), tmp_path, "plain")
    with matplotlib.rc_context({"font.size": 20, "lines.linewidth": 9, "savefig.dpi": 20}):
        assert saved(similarity(table(), "toy"), tmp_path, "mine") == plain


def test_what_the_table_does_not_hold_is_said() -> None:
    with pytest.raises(ConfigError, match="probe nonsense over layers on dataset toy"):
        layer_accuracy(table(), "toy", ["nonsense"])
    with pytest.raises(ConfigError, match="no retriever stranger; they hold tuned, plain"):
        layer_accuracy(table(), "toy", ["concat"], ["plain", "stranger"])
    with pytest.raises(ConfigError, match="over layers"):
        layer_accuracy(table(), "toy", ["bm25"])
    with pytest.raises(ConfigError, match="retriever stranger on toy"):
        controls(table(), "toy", "stranger")
    with pytest.raises(ConfigError, match="no similarity on dataset other"):
        similarity(table(), "other")


TWINS = {"plain": ["plain", "plain.2", "plain.3"]}


def with_twins() -> pl.DataFrame:
    """Two further draws of `plain`: a little above and below it, and alike to it by .8 and .7."""
    found = table()
    frames = [found]
    for name, shift in (("plain.2", 0.03), ("plain.3", -0.02)):
        rows = found.filter(retriever="plain").with_columns(retriever=pl.lit(name))
        moved = pl.col("estimate", "low", "high") + shift
        frames.append(rows.with_columns(moved))
        alike = found.filter(retriever="tuned", measure="cka").with_columns(
            retriever=pl.lit(name), compared_with=pl.lit("plain"), estimate=pl.lit(0.75 + shift)
        )
        frames.append(alike)
    return pl.concat(frames)


def hatched(ax: Axes) -> list[np.ndarray]:
    """The lower and upper ends of each range of twins."""
    found = [band for band in ax.collections if band.get_label() == "range of random twins"]
    return [band.get_paths()[0].get_extents().intervaly for band in found]


def test_the_range_of_random_twins_stands_behind_their_first() -> None:
    figure = layer_accuracy(with_twins(), "toy", ["interaction"], twins=TWINS)
    alone = layer_accuracy(table(), "toy", ["interaction"])
    assert "range of 3 random twins" in legend_labels(figure)
    for ax, other in zip(figure.axes, alone.axes, strict=True):
        assert {line.get_label() for line in ax.lines} >= {
            "tuned, interaction",
            "plain, interaction",
        }
        assert not any("plain." in str(line.get_label()) for line in ax.lines)
        estimates = line(other, "plain, interaction").get_ydata()
        ((low, high),) = hatched(ax)
        assert low == pytest.approx(min(estimates) - 0.02)
        assert high == pytest.approx(max(estimates) + 0.03)


def test_two_twins_say_how_alike_networks_with_nothing_in_common_are() -> None:
    figure = similarity(with_twins(), "toy", TWINS)
    cka, anisotropy = figure.axes[:2]
    assert [tuple(ends) for ends in hatched(cka)] == [pytest.approx((0.73, 0.78))]
    assert len(hatched(anisotropy)) == 1
    assert not any("plain." in str(found.get_label()) for found in cka.lines)

"""Heat maps: bins against a slow loop, what the pictures show, and that labels stay apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from tests.support.decentralising import counts, crowded, saved
from tests.support.slow import slow
from wellspring.activations import COUNTS
from wellspring.errors import ConfigError
from wellspring.figures import heatmaps
from wellspring.figures.binning import binned

NAMES = ("tuned", "plain")


def frame(active: dict[tuple[int, str], list[int]], texts: int, **setting: object) -> pl.DataFrame:
    """Counts with these numbers of texts, in no order."""
    setting = {"normaliser": "network-max", "excluded_outliers": 0, "threshold": 0.1} | setting
    rows = [
        {"layer": layer, "sublayer": sublayer, "neuron": neuron, "texts": texts, "active": count}
        | setting
        for (layer, sublayer), numbers in active.items()
        for neuron, count in enumerate(numbers)
    ]
    return pl.DataFrame(rows, COUNTS).sample(fraction=1, shuffle=True, seed=5)


def mesh_of(figure: Figure, place: int) -> np.ma.MaskedArray:
    """The values that a panel shows."""
    ax = figure.axes[place]
    (mesh,) = [found for found in ax.collections if isinstance(found, QuadMesh)]
    return mesh.get_array()


def texts_of(figure: Figure, place: int) -> list[str]:
    return [text.get_text() for text in figure.axes[place].texts]


@given(data=st.data())
def test_bins_against_a_slow_loop(data) -> None:
    texts = data.draw(st.integers(1, 40))
    bins = data.draw(st.integers(1, 12))
    statistic = data.draw(st.sampled_from(["max", "mean"]))
    numbers = st.lists(st.integers(0, texts), min_size=1, max_size=30)
    places = [(layer, name) for layer in (1, 2, 11) for name in ("intermediate", "up", "output")]
    active = {place: data.draw(numbers) for place in places}
    found = binned(frame(active, texts), bins=bins, statistic=statistic)
    assert found.rows == tuple(places)
    for row, place in enumerate(places):
        neurons = active[place]
        assert found.active[row] == len([count for count in neurons if count])
        # The first len % bins bins have one neuron more than the others: none is left over.
        start = 0
        for number in range(bins):
            size = len(neurons) // bins + (number < len(neurons) % bins)
            part = [100 * count / texts for count in neurons[start : start + size]]
            start += size
            if not part:
                assert np.isnan(found.values[row, number])
            else:
                expected = max(part) if statistic == "max" else sum(part) / len(part)
                assert found.values[row, number] == pytest.approx(expected, abs=1e-12)
        assert start == len(neurons)


def test_the_last_neuron_is_in_the_last_bin() -> None:
    only = {(1, "output"): [0] * 10 + [3]}
    assert binned(frame(only, 4), bins=3).values.tolist() == [[0, 0, 75]]
    assert binned(frame(only, 4), bins=1000).values[0, 10] == 75


def test_one_setting_is_shown_and_an_absent_one_says_which_are_held() -> None:
    both = pl.concat(
        [
            frame({(1, "output"): [1]}, 4),
            frame(
                {(1, "output"): [3]},
                4,
                threshold=0.05,
                normaliser="sublayer-max",
                excluded_outliers=2,
            ),
        ]
    )
    assert binned(both, "sublayer-max", 2, 0.05).values[0, 0] == 75
    message = "network-max with 0 left out above 0.05; held: network-max, 0, 0.1; sublayer-max, 2"
    with pytest.raises(ConfigError, match=message):
        binned(both, threshold=0.05)
    with pytest.raises(ConfigError, match="held: none"):
        heatmaps.heat_maps(both.clear(), both, NAMES)


def test_heat_maps_show_both_encoders_on_one_scale() -> None:
    ours, theirs = counts(3, (48, 12), 50, tuned=True), counts(3, (48, 12), 50)
    figure = heatmaps.heat_maps(ours, theirs, NAMES, bins=5, statistic="mean")
    left, right, bar = figure.axes
    assert [left.get_title(), right.get_title()] == ["plain", "tuned"]
    expected = [binned(side, bins=5, statistic="mean") for side in (theirs, ours)]
    for place, each in enumerate(expected):
        np.testing.assert_array_equal(mesh_of(figure, place).filled(0), each.values)
        # White is for bins without any activity, and for nothing else.
        np.testing.assert_array_equal(mesh_of(figure, place).mask, each.values == 0)
        assert [f"{count:,}" for count in each.active] == texts_of(figure, place)[:6]
    meshes = [ax.collections[0] for ax in (left, right)]
    assert meshes[0].norm is meshes[1].norm and meshes[0].norm.vmin == 0
    top = max(each.values.max() for each in expected)
    assert top <= meshes[0].norm.vmax <= min(100, 1.5 * top)
    assert "percentage of texts above threshold" in bar.get_xlabel()
    # The first block is on top, its intermediate row first.
    assert left.get_ylim()[0] > left.get_ylim()[1]
    named = [text for text in texts_of(figure, 0)[7:] if text != "block"]
    assert named == ["intermediate", "output"] * 3 + ["1", "2", "3"]


def test_change_map_shows_the_difference_and_its_sign() -> None:
    ours = frame({(1, "intermediate"): [4, 0, 1, 0], (1, "output"): [0, 2, 2, 0]}, 4)
    theirs = frame({(1, "intermediate"): [0, 0, 1, 3], (1, "output"): [2, 2, 2, 4]}, 4)
    figure = heatmaps.change_map(ours, theirs, NAMES, bins=4)
    ax, margin, _ = figure.axes
    assert ax.get_title() == "tuned − plain"
    change = [[100, 0, 0, -75], [-50, 0, 0, -100]]
    np.testing.assert_array_equal(mesh_of(figure, 0), change)
    norm = ax.collections[0].norm
    assert (norm.vmin, norm.vmax) == (-100, 100)
    dashes = [point for line in ax.lines for point in zip(*line.get_data(), strict=True)]
    assert {(4, 0), (1, 1), (4, 1)} == {(x, y) for x, y in dashes if float(y).is_integer()}
    assert [bar.get_width() for bar in margin.patches] == [0, -2]


def test_encoders_of_other_shapes_are_not_set_side_by_side() -> None:
    for draw in (heatmaps.heat_maps, heatmaps.change_map):
        with pytest.raises(ConfigError, match="tuned and plain have not the same sub-layers"):
            draw(counts(3, (8, 4), 5), counts(2, (8, 4), 5), NAMES)


@pytest.mark.parametrize("draw", [heatmaps.heat_maps, heatmaps.change_map])
@pytest.mark.parametrize(
    ("blocks", "widths"),
    [(32, (11008, 4096)), (12, (3072, 768)), (1, (8, 4))],
    ids=["Llama", "BERT", "one block"],
)
def test_labels_stay_apart(draw, blocks: int, widths: tuple[int, int]) -> None:
    ours, theirs = (counts(blocks, widths, 50, tuned) for tuned in (True, False))
    figure = draw(ours, theirs, ("repllama-v1-7b-passage", "llama-2-7b-hf"))
    assert figure.get_figheight() < 9.5
    assert crowded(figure) == []


@pytest.mark.parametrize("draw", [heatmaps.heat_maps, heatmaps.change_map])
def test_nothing_active_and_many_bins_do_no_harm(draw) -> None:
    quiet = counts(2, (8, 4), 5).with_columns(active=pl.lit(0, pl.Int64))
    for bins in (1, 6, 1000):
        assert crowded(draw(quiet, quiet, NAMES, bins=bins)) == []


@pytest.mark.parametrize("draw", [slow(heatmaps.heat_maps), heatmaps.change_map])
def test_files_repeat_byte_for_byte(draw, tmp_path: Path) -> None:
    ours, theirs = counts(3, (30, 10), 20, tuned=True), counts(3, (30, 10), 20)
    first = saved(draw(ours, theirs, NAMES), tmp_path)
    assert first[0].startswith(b"%PDF") and first[1].startswith(b"\x89PNG")
    again = draw(ours.reverse(), theirs, NAMES)
    assert saved(again, tmp_path) == first
    # Neither file leaves anything behind.
    dpi = again.dpi
    saved(again, tmp_path)
    assert again.dpi == dpi

"""Active neurons, measures and top_neurons, against loops and cases whose answers are known."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from polars.testing import assert_frame_equal

from wellspring.activations import COUNTS, TEXTS, TOP_NEURONS, Activations, Chunk, Chunks, measure
from wellspring.errors import WellspringError
from wellspring.randomness import generator

pytestmark = pytest.mark.filterwarnings("error")

Scores = dict[tuple[int, str], np.ndarray]
EVERY = {
    **{"network-max": [0.1, 0.5], "sublayer-max": [0.25, 0.0], "share-of-sum": [0.125]},
    "sublayer-mean": [0.5, 1, 2.5],
}


def chunked(scores: Scores, sizes: Sequence[int] = ()) -> Chunks:
    """Texts t0, t1, … in chunks of these sizes, the rest in one; the smallest key comes last."""
    count = len(next(iter(scores.values())))
    ends = [min(count, end) for end in np.cumsum([0, *sizes])] + [count]

    def chunks() -> Iterator[Chunk]:
        for start, end in pairwise(ends):
            rows = {key: scores[key][start:end] for key in sorted(scores, reverse=True)}
            yield Chunk([f"t{row}" for row in range(start, end)], rows)

    return chunks


def slow_normaliser(
    scores: Scores, key: tuple[int, str], normaliser: str, out: set, text: int
) -> float:
    kept = {
        other: [float(x) for n, x in enumerate(found[text]) if (other, n) not in out]
        for other, found in scores.items()
    }
    if normaliser == "network-max":
        return max(max(values) for values in kept.values())
    if normaliser == "sublayer-max":
        return max(kept[key])
    return math.fsum(kept[key]) / (len(kept[key]) if normaliser == "sublayer-mean" else 1)


def slow_outliers(scores: Scores, count: int) -> set:
    """The (sub-layer, neuron) that the `count` first outlier units are, with exact sums."""
    units: dict[tuple[str, int, int], list] = {}
    for (layer, name), found in scores.items():
        for neuron in range(found.shape[1]):
            unit = (name, 0 if name == "output" else layer, neuron)
            units.setdefault(unit, []).append(((layer, name), neuron))
    sums = {}
    for unit, members in units.items():
        sums[unit] = Fraction(0)
        for text in range(len(next(iter(scores.values())))):
            network = Fraction(float(max(found[text].max() for found in scores.values())))
            mine = Fraction(float(max(scores[key][text, neuron] for key, neuron in members)))
            sums[unit] += mine / network if network else 0
    first = sorted(units, key=lambda unit: (-sums[unit], unit))[:count]
    return {member for unit in first for member in units[unit]}


def slow(scores: Scores, thresholds: dict, excluded_outliers: Sequence[int]) -> Activations:
    counts, texts = [], []
    for (layer, name), found in sorted(scores.items()):
        for normaliser, values in thresholds.items():
            for left in excluded_outliers:
                out = slow_outliers(scores, left)
                for threshold in values:
                    active = np.zeros(found.shape, bool)
                    for text, row in enumerate(found):
                        by = slow_normaliser(scores, (layer, name), normaliser, out, text)
                        for neuron, score in enumerate(row):
                            quotient = float(score) / by if by else (math.inf if score else 0)
                            active[text, neuron] = quotient > threshold
                    setting = (normaliser, left, threshold)
                    for neuron, number in enumerate(active.sum(0)):
                        counts.append((layer, name, neuron, *setting, len(found), number))
                    for text, share in enumerate(active.mean(1)):
                        texts.append((f"t{text}", layer, name, "share_active", *setting, share))
        for text, row in enumerate(found.astype(float)):
            effective = gini = None
            if row.sum():
                p = [x / row.sum() for x in row if x]
                effective = math.exp(-sum(x * math.log(x) for x in p))
                gini = np.abs(row[:, None] - row).mean() / (2 * row.mean())
            texts.append((f"t{text}", layer, name, "effective_number", None, None, None, effective))
            texts.append((f"t{text}", layer, name, "gini", None, None, None, gini))
    return Activations(
        pl.DataFrame(counts, COUNTS, orient="row"),
        pl.DataFrame(texts, TEXTS, orient="row"),
        slow_holders(scores),
    )


def slow_holders(scores: Scores) -> pl.DataFrame:
    held: dict[tuple, int] = {}
    count = len(next(iter(scores.values())))
    for text in range(count):
        ranked = sorted(
            (-found[text, n], key, n)
            for key, found in scores.items()
            for n in range(found.shape[1])
        )
        seen = set()
        for score, key, neuron in ranked:
            scopes = ["sublayer"] * (key not in seen) + ["network"] * (not seen)
            seen.add(key)
            for scope in scopes if score else []:
                held[scope, *key, neuron] = held.get((scope, *key, neuron), 0) + 1
    rows = [(*holder, texts, count) for holder, texts in held.items()]
    return pl.DataFrame(rows, TOP_NEURONS, orient="row")


def assert_same(found: Activations, expected: Activations) -> None:
    for name in ("counts", "texts", "top_neurons"):
        assert_frame_equal(
            getattr(found, name), getattr(expected, name), check_row_order=False, abs_tol=1e-12
        )


@st.composite
def networks(draw: st.DrawFn, elements: st.SearchStrategy[float]) -> Scores:
    """Up to three layers and three sub-layers, unequal in width but for the outputs."""
    texts, layers = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    names = draw(st.sets(st.sampled_from(["intermediate", "output", "up"]), min_size=1))
    hidden = draw(st.integers(3, 5))
    shape = {
        (layer, name): (texts, hidden if name == "output" else draw(st.integers(3, 6)))
        for layer in range(1, layers + 1)
        for name in names
    }
    return {key: draw(arrays(np.float32, size, elements=elements)) for key, size in shape.items()}


# Shares and sums of powers of two are exact, so that ties are ties and sums have no order.
EXACT = st.sampled_from([0.0, 1.0, 2.0, 4.0, 8.0, 16.0])
ANY = st.floats(0, 1e6, width=32, allow_subnormal=False)


@settings(max_examples=60, deadline=None)
@given(
    scores=networks(EXACT),
    sizes=st.lists(st.integers(0, 3), max_size=4),
    excluded_outliers=st.sampled_from([[0], [1], [0, 1], [2, 0]]),
)
def test_a_slow_loop_finds_the_same(
    scores: Scores, sizes: list[int], excluded_outliers: list[int]
) -> None:
    assert_same(
        measure(chunked(scores, sizes), EVERY, excluded_outliers),
        slow(scores, EVERY, excluded_outliers),
    )


@settings(max_examples=60, deadline=None)
@given(scores=networks(ANY), sizes=st.lists(st.integers(0, 3), max_size=4), left=st.integers(0, 2))
def test_chunks_change_nothing(scores: Scores, sizes: list[int], left: int) -> None:
    whole = measure(chunked(scores), EVERY, [0, left])
    parts = measure(chunked(scores, sizes), EVERY, [0, left])
    for name in ("counts", "texts", "top_neurons"):
        assert getattr(whole, name).equals(getattr(parts, name))


def test_chunks_change_nothing_for_wide_layers() -> None:
    """Wider than the blocks in which numpy adds: a sum must not know where its row began."""
    rng = generator(3, "wide")
    scores = {
        (1, "intermediate"): rng.gamma(0.3, 1, (40, 11_008)).astype(np.float32),
        (1, "output"): np.asfortranarray(rng.gamma(0.3, 1, (40, 4_096)).astype(np.float32)),
    }
    whole = measure(chunked(scores), EVERY, [0, 2])
    for sizes in ([1] * 39, [7, 20], [39]):
        parts = measure(chunked(scores, sizes), EVERY, [0, 2])
        for name in ("counts", "texts", "top_neurons"):
            assert getattr(whole, name).equals(getattr(parts, name))


@settings(max_examples=200, deadline=None)
@given(row=arrays(np.float32, 8, elements=st.floats(0.0009765625, 1e6, width=32)), data=st.data())
def test_the_quotient_in_float64_decides(row: np.ndarray, data: st.DataObject) -> None:
    """At thresholds that are a neuron's own quotient, or the nearest number to one."""
    quotients = row.astype(np.float64) / float(row.max())
    edge = data.draw(st.sampled_from(quotients.tolist()))
    thresholds = [edge, np.nextafter(edge, 0), np.nextafter(edge, 2), edge / 2]
    found = measure(chunked({(1, "output"): row[None]}), {"sublayer-max": thresholds}, [0])
    active = found.counts["active"].to_numpy().reshape(4, 8).astype(bool)
    assert (active == (quotients > np.array(thresholds)[:, None])).all()


def test_a_decimal_share_of_the_maximum_is_not_above_it() -> None:
    tenths = np.arange(11, dtype=np.float32)[None]
    for tenth in range(10):
        found = measure(chunked({(1, "up"): tenths}), {"network-max": [tenth / 10]}, [0])
        assert found.counts["active"].sum() == 10 - tenth


def outlier_network(texts: int = 7) -> Scores:
    """Intermediate 1 … 4 of 4; output 1, but for dimension 3 with 100 in layer 2 and 50 in 1."""
    scores = {}
    for layer in (1, 2):
        scores[layer, "intermediate"] = np.tile(np.arange(1, 5, dtype=np.float32), (texts, 1))
        scores[layer, "output"] = np.ones((texts, 5), np.float32)
        scores[layer, "output"][:, 3] = 50 * layer
    return scores


def active(found: Activations, **where: object) -> list[int]:
    rows = found.counts.filter(*(pl.col(name) == value for name, value in where.items()))
    return rows.sort("neuron")["active"].to_list()


def test_one_dimension_that_holds_every_maximum() -> None:
    thresholds = {"network-max": [0.1, 0.5], "sublayer-max": [0.5], "share-of-sum": [0.15]}
    found = measure(chunked(outlier_network(), [2, 2]), thresholds, [0, 1])
    held = found.top_neurons.filter(scope="network")
    assert held.rows() == [("network", 2, "output", 3, 7, 7)]
    for layer in (1, 2):
        inner = {"layer": layer, "sublayer": "intermediate"}
        outer = {"layer": layer, "sublayer": "output"}
        # Against 100 only the dimension itself is seen, in both layers.
        network = {"normaliser": "network-max", "threshold": 0.1, "excluded_outliers": 0}
        assert active(found, **inner, **network) == [0, 0, 0, 0]
        assert active(found, **outer, **network) == [0, 0, 0, 7, 0]
        # Without it the largest is 4: it is left out of the maximum in both layers, yet counted.
        network["excluded_outliers"] = 1
        assert active(found, **inner, **network) == [7, 7, 7, 7]
        assert active(found, **outer, **network) == [7, 7, 7, 7, 7]
        network["threshold"] = 0.5
        assert active(found, **inner, **network) == [0, 0, 7, 7]
        assert active(found, **outer, **network) == [0, 0, 0, 7, 0]
        sub = {"normaliser": "sublayer-max", "excluded_outliers": 0}
        assert active(found, **inner, **sub) == [0, 0, 7, 7]
        assert active(found, **outer, **sub) == [0, 0, 0, 7, 0]
        assert active(found, **outer, **sub | {"excluded_outliers": 1}) == [7, 7, 7, 7, 7]
        share = {"normaliser": "share-of-sum"}
        assert active(found, **inner, **share, excluded_outliers=0) == [0, 7, 7, 7]
        assert active(found, **outer, **share, excluded_outliers=0) == [0, 0, 0, 7, 0]
        assert active(found, **outer, **share, excluded_outliers=1) == [7, 7, 7, 7, 7]


def test_multiples_of_the_mean_are_alike_in_networks_of_any_width() -> None:
    """The same scores, over and over: so many times their mean, but another share of their sum."""
    row = generator(5, "width").gamma(0.4, 1, (6, 60)).astype(np.float32)
    shares = {}
    for copies in (1, 7):
        found = measure(
            chunked({(1, "up"): np.tile(row, copies)}),
            {"sublayer-mean": [0.5, 2, 5], "share-of-sum": [0.05]},
            [0],
        )
        texts = found.texts.filter(measure="share_active")
        shares[copies] = dict(texts.group_by("threshold").agg("value").iter_rows())
    for threshold in (0.5, 2, 5):
        assert shares[1][threshold] == pytest.approx(shares[7][threshold])
        assert 0 < np.mean(shares[1][threshold]) < 1
    assert np.mean(shares[1][0.05]) > 0 == np.mean(shares[7][0.05])


def test_an_outlier_is_left_out_of_the_mean_and_of_its_count() -> None:
    scores = {(1, "output"): np.array([[1, 2, 3, 94]], np.float32)}
    found = measure(chunked(scores), {"sublayer-mean": [0.9, 1]}, [0, 1])
    # The mean is 25, and 2 without the largest.
    assert active(found, excluded_outliers=0, threshold=1) == [0, 0, 0, 1]
    assert active(found, excluded_outliers=1, threshold=0.9) == [0, 1, 1, 1]
    assert active(found, excluded_outliers=1, threshold=1) == [0, 0, 1, 1]


def test_outside_the_outputs_a_unit_is_one_neuron_of_one_layer() -> None:
    scores = {
        (1, "intermediate"): np.array([[8, 1, 1]], np.float32),
        (2, "intermediate"): np.array([[4, 1, 1]], np.float32),
    }
    found = measure(chunked(scores), {"network-max": [0.5]}, [1])
    # Neuron 0 of layer 1 is left out; that of layer 2 stays and is the maximum.
    assert active(found, layer=1) == [1, 0, 0]
    assert active(found, layer=2) == [1, 0, 0]


def test_units_with_equal_sums_go_by_their_number() -> None:
    """Of .3 + .2 + .1 and .1 + .2 + .3 only the second exceeds .6 in float64."""
    scores = {(1, "up"): np.array([[3, 1, 10], [2, 2, 10], [1, 3, 10]], np.float32)}
    for order in ([0, 1, 2], [2, 1, 0]):
        rows = {key: found[order] for key, found in scores.items()}
        found = measure(chunked(rows), {"sublayer-max": [0.999]}, [2])
        # Neurons 2 and 0 are left out, so that neuron 1 is the maximum in every text.
        assert active(found) == [2, 3, 3]


def values(found: Activations, name: str) -> list[float | None]:
    return found.texts.filter(measure=name)["value"].to_list()


@pytest.mark.parametrize("neurons", [1, 2, 384])
def test_uniform_scores_and_one_neuron(neurons: int) -> None:
    one = np.zeros(neurons, np.float32)
    one[neurons // 2] = 3e-30
    scores = {(1, "output"): np.stack([np.full(neurons, 0.7, np.float32), one])}
    found = measure(chunked(scores), {"network-max": [0.1]}, [0])
    assert values(found, "effective_number") == pytest.approx([neurons, 1])
    assert values(found, "gini") == pytest.approx([0, 1 - 1 / neurons], abs=1e-12)
    assert values(found, "share_active") == [1, 1 / neurons]


def test_sums_are_as_exact_as_float64() -> None:
    row = generator(5, "sum").gamma(0.3, 1, 5000).astype(np.float32)
    found = measure(chunked({(1, "intermediate"): row[None]}), {}, [])
    x, total = sorted(row.tolist()), math.fsum(row.tolist())
    effective = math.exp(-math.fsum(v / total * math.log(v / total) for v in x if v))
    assert values(found, "effective_number") == pytest.approx([effective], rel=1e-12)
    gini = math.fsum((2 * i - 4999) * v for i, v in enumerate(x)) / (5000 * total)
    assert values(found, "gini") == pytest.approx([gini], rel=1e-12)


def test_a_text_without_any_score_in_a_sublayer() -> None:
    scores = {
        (1, "intermediate"): np.array([[0, 0], [1, 3]], np.float32),
        (1, "output"): np.array([[1, 2, 0], [0, 0, 0]], np.float32),
    }
    found = measure(chunked(scores), {name: [0.0] for name in EVERY}, [0, 1])
    silent = found.texts.filter(text_id="t0", sublayer="intermediate")
    assert silent.filter(measure="share_active")["value"].to_list() == [0] * 8
    for name in ("effective_number", "gini"):
        assert silent.filter(measure=name)["value"].to_list() == [None]
    assert not found.texts["value"].is_nan().any()
    assert found.top_neurons.filter(scope="network").rows() == [
        ("network", 1, "intermediate", 1, 1, 2),
        ("network", 1, "output", 1, 1, 2),
    ]


def test_a_maximum_must_be_left() -> None:
    with pytest.raises(
        WellspringError, match=r"study\.attribute\.excluded_outliers: 9 .* intermediate"
    ):
        measure(chunked(outlier_network()), EVERY, [0, 9])
    two = {(1, "output"): np.ones((2, 2), np.float32), (1, "up"): np.zeros((2, 9), np.float32)}
    measure(chunked(two), EVERY, [1])
    with pytest.raises(WellspringError, match=r"2 outlier units are all 2 neurons of layer 1, out"):
        measure(chunked(two), EVERY, [2])


def test_no_texts_is_an_error() -> None:
    for excluded_outliers in ([0], [1]):
        with pytest.raises(WellspringError, match="no text has a signal in every layer"):
            measure(lambda: iter([]), EVERY, excluded_outliers)


def test_no_thresholds_leave_the_measures_without_one() -> None:
    found = measure(chunked(outlier_network()), {}, [])
    assert found.counts.is_empty() and found.counts.schema == COUNTS
    assert found.texts["measure"].unique().sort().to_list() == ["effective_number", "gini"]


def test_the_texts_are_read_once_where_no_unit_is_left_out() -> None:
    reads = []

    def counted() -> Iterator[Chunk]:
        reads.append(1)
        return chunked(outlier_network())()

    measure(counted, EVERY, [0])
    assert len(reads) == 1
    measure(counted, EVERY, [0, 1])
    assert len(reads) == 3


def test_memory_is_bounded_by_a_chunk() -> None:
    """Scores of 64 MB, 2 MB at a time."""
    sizes = {(layer, "intermediate"): 1024 for layer in range(1, 5)}

    def chunks() -> Iterator[Chunk]:
        for number in range(32):
            rng = generator(1, number)
            scores = {key: rng.random((128, size), np.float32) for key, size in sizes.items()}
            yield Chunk([f"t{128 * number + row}" for row in range(128)], scores)

    measure(chunks, {"network-max": [0.5]}, [1])
    tracemalloc.start()
    measure(chunks, {"network-max": [0.5]}, [1])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20

"""What is shown of vectors, neurons, outcomes and tables, against plain ways to get it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from wellspring.config import LAYERLESS
from wellspring.findings import difficulty
from wellspring.inspection import neurons, outcomes, tables, vectors
from wellspring.inspection.differences import Differences
from wellspring.inspection.sections import TEXT, shortened
from wellspring.page import texts


def floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, width=16)


matrices = arrays.arrays(
    np.float16,
    st.tuples(st.integers(2, 8), st.integers(1, 5)),
    elements=floats(-100, 100),
)


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x.astype(np.float64), y.astype(np.float64)
    product = math.sqrt(x @ x) * math.sqrt(y @ y)
    return float(x @ y / product) if product else 0.0


@given(matrices)
def test_lengths_and_anisotropy_are_those_of_a_loop(x):
    lengths = [math.sqrt(sum(float(value) ** 2 for value in row)) for row in x]
    np.testing.assert_allclose(vectors.norms(x), lengths, rtol=1e-5, atol=1e-6)
    spread = vectors.spread(vectors.norms(x), x)
    expected = (np.mean(lengths), min(lengths), max(lengths), 0)
    found = (spread.mean, spread.low, spread.high, spread.broken)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    pairs = [cosine(a, b) for a, b in itertools.combinations(x, 2)]
    np.testing.assert_allclose(spread.anisotropy.estimate[0], np.mean(pairs), atol=1e-6)


def test_vectors_that_are_no_numbers_are_counted_and_left_out():
    x = np.array([[3, 4], [np.nan, 1], [np.inf, 0], [0, 2]], np.float32)
    spread = vectors.spread(vectors.norms(x), x)
    assert (spread.mean, spread.low, spread.high, spread.broken) == (3.5, 2, 5, 0.5)
    assert spread.anisotropy.estimate[0] == pytest.approx(0.8)
    nothing = vectors.spread(vectors.norms(x[1:3]), x[1:3])
    assert nothing.broken == 1 and math.isnan(nothing.mean)
    assert math.isnan(nothing.anisotropy.estimate[0])


@given(matrices)
def test_neighbours_are_those_of_a_loop(x):
    nearest, found = vectors.neighbours(x, range(len(x)))
    for row in range(len(x)):
        others = [cosine(x[row], x[other]) if other != row else -2 for other in range(len(x))]
        assert nearest[row] != row
        assert others[nearest[row]] == pytest.approx(max(others), abs=1e-9)
        assert found[row] == pytest.approx(max(others), abs=1e-9)


shares = arrays.arrays(
    np.float16,
    st.tuples(st.integers(1, 12), st.integers(1, 6)),
    elements=floats(0, 1),
)


@given(shares, st.lists(st.integers(1, 11), max_size=3))
def test_top_neurons_are_those_of_the_whole_matrix_however_it_is_cut(x, cuts):
    names = [f"t{row}" for row in range(len(x))]
    tally = neurons.Tally(x.shape[1], texts=2)
    for start, end in itertools.pairwise([0, *sorted(cuts), len(x)]):
        tally.add(names[start:end], x[start:end])
    exact = x.astype(np.float64)
    top = tally.top(3)
    order = sorted(range(x.shape[1]), key=lambda neuron: (-exact[:, neuron].mean(), neuron))
    assert [each.neuron for each in top] == order[:3]
    assert tally.count == len(x)
    for each in top:
        assert each.mean == pytest.approx(exact[:, each.neuron].mean())
        column = exact[:, each.neuron]
        brightest = sorted(range(len(x)), key=lambda row: (-column[row], row))[:2]
        assert [text for text, _ in each.texts] == [names[row] for row in brightest]
        assert [share for _, share in each.texts] == pytest.approx(column[brightest])


def test_no_text_lights_no_neuron():
    assert neurons.Tally(4).top(2) == []


CREDITS = [
    # probe, seed, sample, credit, chance
    ("concat", 0, "a", 1.0, 0.5),
    ("concat", 0, "b", 0.0, 0.5),
    ("concat", 1, "b", 0.5, 0.5),
    ("random-label", 0, "a", 0.0, 0.5),
    ("random-label", 0, "b", 1.0, 0.5),
]
OUTCOMES = pl.DataFrame(CREDITS, ["probe", "seed", "sample_id", "correct", "chance"], orient="row")


def test_accuracy_is_a_mean_over_seeds_and_controls_make_no_sample_hard():
    concat, random = outcomes.accuracies(OUTCOMES).to_dicts()
    assert concat == {
        "probe": "concat",
        "seeds": 2,
        "outcomes": 3,
        "accuracy": 0.5,
        "chance": 0.5,
        "above_chance": 0.0,
    }
    assert random["probe"] == "random-label" and random["accuracy"] == 0.5
    assert difficulty.hardest(OUTCOMES, 0, "toy").head(1).to_dicts() == [
        {"sample_id": "b", "outcomes": 2, "correct": 0.25}
    ]


def test_the_hardest_samples_are_those_of_the_page():
    rows = [
        ("a", "concat", 0, 0.0),
        ("a", "concat", 1, 0.0),
        ("a", "separable", 0, 1.0),
        ("b", "concat", 0, 0.0),
        ("b", "separable", 0, 0.75),
        ("c", "concat", 0, 1.0),
        ("c", "separable", 0, 0.25),
    ]
    rows += [("c", probe, 0, 0.0) for probe in (*LAYERLESS, "shuffled-query", "random-label-1")]
    table = pl.DataFrame(rows, ["sample_id", "probe", "seed", "correct"], orient="row")
    shown = difficulty.hardest(table, 0, "toy")
    assert shown["sample_id"].to_list() == ["b", "a", "c"]
    assert shown["correct"].to_list() == [0.375, 0.5, 0.625]
    assert shown["outcomes"].to_list() == [2, 3, 2]
    own = texts.Outcomes("toy", ("tiny", None), 1, 2, table, None)
    assert texts.hard(own) == list(zip(shown["sample_id"], shown["correct"], strict=True))


def test_ties_between_hard_samples_are_random_and_do_not_depend_on_rows():
    table = pl.DataFrame(
        [(f"s{each:02}", probe, 0, 0.1) for each in range(20) for probe in ("concat", "cosine")],
        ["sample_id", "probe", "seed", "correct"],
        orient="row",
    )
    first = difficulty.hardest(table, 0, "toy")["sample_id"].to_list()
    assert first == difficulty.hardest(table.reverse(), 0, "toy")["sample_id"].to_list()
    assert sorted(first) != first != difficulty.hardest(table, 0, "other")["sample_id"].to_list()


def test_columns_are_summarised_without_what_is_no_value():
    table = pl.DataFrame(
        {
            "x": [1.0, None, math.nan, 4.0],
            "n": [1, 2, 3, None],
            "word": ["b", "a", None, "a"],
            "once": ["a", "b", None, None],
            "list": [[1], [2], [3], [4]],
        }
    )
    x, n = tables.numbers(table)
    assert x == {"column": "x", "nulls": 1, "nan": 1, "min": 1.0, "median": 2.5, "max": 4.0}
    assert n == {"column": "n", "nulls": 1, "nan": 0, "min": 1, "median": 2.0, "max": 3}
    word, once = tables.words(table)
    assert once["most_frequent"] is None and once["times"] == 1
    assert word == {
        "column": "word",
        "nulls": 1,
        "distinct": 2,
        "most_frequent": "a",
        "times": 2,
    }


@given(matrices, st.data())
def test_differences_are_those_of_the_whole_columns(x, data):
    y = x.copy()
    row = data.draw(st.integers(0, len(x) - 1))
    column = data.draw(st.integers(0, x.shape[1] - 1))
    y[row, column] += np.float16(data.draw(st.sampled_from([0, 1, 200])))
    changed = y[row, column] != x[row, column]
    cut = data.draw(st.integers(1, len(x)))
    found = Differences()
    for part in (slice(0, cut), slice(cut, None)):
        if len(x[part]):
            found.add("vector", x[part], y[part])
            found.add("number", *(pl.Series(each[part, column].astype(float)) for each in (x, y)))
            found.advance(len(x[part]))
    for name in ("vector", "number"):
        column_ = found.columns[name]
        assert column_.differing == changed
        assert column_.first == (row if changed else None)
        distance = abs(float(y[row, column]) - float(x[row, column]))
        # Vectors are compared in float32.
        assert column_.largest == pytest.approx(distance, rel=1e-6)
        assert column_.at == (row if changed else 0)
    cosines = [cosine(a, b) for a, b in zip(x, y, strict=True)]
    assert found.cosine("vector") == pytest.approx(np.mean(cosines))
    assert found.columns["vector"].cosine_min == pytest.approx(min(cosines))
    assert found.cosine("number") is None


def test_nulls_and_nan_are_alike_among_themselves():
    found = Differences()
    found.add("word", pl.Series(["a", None, None]), pl.Series(["a", None, "b"]))
    found.add("x", pl.Series([math.nan, math.inf, 1.0]), pl.Series([math.nan, 2.0, 1.0]))
    word, x = found.columns["word"], found.columns["x"]
    assert (word.differing, word.first, word.largest) == (1, 2, None)
    assert (x.differing, x.first, x.largest) == (1, 1, 0.0)


def test_a_long_text_is_cut_and_stays_in_one_line():
    assert shortened("a\n b\t c") == "a b c" and shortened(None) == ""
    assert len(shortened("word " * 100)) <= TEXT and shortened("word " * 100).endswith("…")

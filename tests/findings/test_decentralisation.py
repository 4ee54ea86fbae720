"""The table of attributions: cases worked out by hand, slow loops, simulated coverage."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wellspring import intervals
from wellspring.errors import StaleArtefact
from wellspring.findings.decentralisation import KEYS, SCHEMA, build
from wellspring.randomness import generator

ENCODERS = {
    "tuned": {"query": "tuned-q", "passage": "tuned-p"},
    "plain": {"query": "plain-e", "passage": "plain-e"},
}
PAIRS = {"tuned": "plain"}
DEPTHS = {"tuned-q": 4, "tuned-p": 4, "plain-e": 4}
WHERE = {"attribution": "norm", "dataset": "toy"}


def texts_frame(
    value: Callable[[str, str, int, str], float],
    *,
    encoders: tuple[str, ...] = ("tuned-q", "plain-e"),
    side: str = "query",
    texts: int = 12,
    layers: tuple[int, ...] = (1, 2, 3, 4),
    normalisers: tuple[str, ...] = ("network-max", "sublayer-max"),
) -> pl.DataFrame:
    """share_active of sub-layer output at two thresholds, and gini, as `value` says."""
    settings_of = [
        ("share_active", name, excluded_outliers, threshold)
        for name, excluded_outliers, threshold in product(normalisers, (0, 1), (0.1, 0.2))
    ]
    settings_of.append(("gini", None, None, None))
    rows = [
        (encoder, side, f"t{text:03}", layer, "output", *setting, value(encoder, text, layer, name))
        for encoder, text, layer in product(encoders, range(texts), layers)
        for setting in settings_of
        for name in [f"{setting}"]
    ]
    names = ["encoder", "side", "text_id", "layer", "sublayer", "measure", "normaliser"]
    names += ["excluded_outliers", "threshold", "value"]
    frame = pl.DataFrame(rows, names, orient="row", infer_schema_length=None)
    return frame.with_columns(**{name: pl.lit(value) for name, value in WHERE.items()})


def noise(encoder: str, text: int, layer: int, name: str) -> float:
    """A share between 0 and 1 that depends on all it is given."""
    return float(generator(3, encoder, text, layer, name).random())


def made(frame: pl.DataFrame | pl.LazyFrame, **changes: object) -> pl.DataFrame:
    usual = {"ablations": None, "agreement": None, "encoders": ENCODERS}
    usual |= {"pairs": PAIRS, "depths": DEPTHS}
    return build(frame, **{**usual, **changes})


def pick(table: pl.DataFrame, **where: object) -> pl.DataFrame:
    return table.filter([pl.col(name).eq_missing(pl.lit(value)) for name, value in where.items()])


def one(table: pl.DataFrame, **where: object) -> dict[str, object]:
    found = pick(table, **where)
    assert found.height == 1, found
    return found.row(0, named=True)


GINI = {"measure": "gini", "sublayer": "output"}


def test_a_case_worked_out_by_hand() -> None:
    tuned = {0: (0.2, 0.4), 1: (0.4, 0.8), 2: (0.9, 0.9)}
    plain = {0: (0.1, 0.1), 1: (0.3, 0.5)}

    def value(encoder: str, text: int, layer: int, name: str) -> float:
        return (tuned if encoder == "tuned-q" else plain)[text][layer > 2]

    frame = pl.concat(
        texts_frame(value, encoders=(encoder,), texts=texts, layers=(1, 3))
        for encoder, texts in (("tuned-q", 3), ("plain-e", 2))
    )
    table = made(frame)
    assert table.schema == pl.Schema(SCHEMA)
    level = one(table, finding="level", retriever="tuned", layer=1, **GINI)
    assert level["estimate"] == pytest.approx(0.5) and level["texts"] == 3
    assert level["compared_with"] is None and level["region"] is None
    whole = one(table, finding="level", retriever="tuned", region="all", **GINI)
    assert whole["estimate"] == pytest.approx((0.5 + 0.7) / 2) and whole["layer"] is None
    # Of four layers the third is late; the texts in common are the first two.
    change = one(table, finding="change", retriever="tuned", region="late", **GINI)
    assert change["estimate"] == pytest.approx((0.3 + 0.3) / 2) and change["texts"] == 2
    relative = one(table, finding="relative_change", region="all", **GINI)
    # tuned .3 and .6, plain .1 and .4.
    assert relative["estimate"] == pytest.approx((0.45 - 0.25) / 0.25)
    assert relative["compared_with"] == "plain"
    assert pick(table, finding="change", retriever="plain").is_empty()
    assert table.height == table.unique(KEYS).height


def test_intervals_are_those_of_the_texts_numbers() -> None:
    frame = texts_frame(noise)
    table = made(frame)
    cell = {"measure": "share_active", "normaliser": "sublayer-max", "excluded_outliers": 1}
    cell["threshold"] = 0.2
    for region, layers in (("early", (1, 2)), ("late", (3, 4))):
        a, b = (
            sum(
                pick(frame, encoder=encoder, layer=layer, **cell).sort("text_id")["value"]
                for layer in layers
            ).to_numpy()[:, None]
            / 2
            for encoder in ("tuned-q", "plain-e")
        )
        expected = {
            "level": intervals.interval(intervals.mean(a), 0, 1),
            "change": intervals.interval(intervals.mean(a - b), -1, 1),
            "relative_change": intervals.interval(intervals.mean(a - b, b), -1),
        }
        for finding, interval in expected.items():
            found = one(table, finding=finding, retriever="tuned", region=region, **cell)
            for name in ("estimate", "low", "high"):
                assert found[name] == pytest.approx(getattr(interval, name)[0])
        found = one(table, finding="change", retriever="tuned", region=region, **cell)
        half = (a - b).std(ddof=1) / np.sqrt(12)
        assert 2.2 * half < found["detectable"] + half < 4.2 * half


@settings(max_examples=8)
@given(st.integers(0, 10_000))
def test_the_order_of_rows_never_matters(seed: int) -> None:
    texts, ablations, agreement = texts_frame(noise, texts=5), ablation_rows(), agreement_rows()
    expected = made(texts, ablations=ablations, agreement=agreement)
    shuffled = [
        frame.sample(fraction=1, shuffle=True, seed=seed) for frame in (texts, ablations, agreement)
    ]
    found = made(shuffled[0].lazy(), ablations=shuffled[1], agreement=shuffled[2])
    assert found.equals(expected)


def test_a_neighbour_changes_no_number() -> None:
    frame = texts_frame(noise)
    both = made(frame)
    alone = made(frame, encoders={"plain": ENCODERS["plain"]}, pairs={})
    assert pick(both, retriever="plain").equals(alone)


def test_sides_and_attributions_are_groups_of_their_own() -> None:
    query = texts_frame(noise)
    passage = texts_frame(noise, encoders=("tuned-p", "plain-e"), side="passage", texts=20)
    other = query.with_columns(attribution=pl.lit("margin"), value=pl.col("value") / 2)
    table = made(pl.concat([query, passage, other]))
    assert pick(table, side="query", attribution="norm").equals(made(query))
    assert pick(table, side="passage").equals(made(passage))
    halved = pick(table, attribution="margin", finding="level")["estimate"]
    assert np.allclose(2 * halved, pick(made(query), finding="level")["estimate"])


def test_both_sides_of_a_pair_are_compared_text_by_text() -> None:
    """Thrice the counterpart in every text is twice more, and no text tells how uncertain that is.

    A share that never differs may still do so in a few texts of others.
    """

    def value(encoder: str, text: int, layer: int, name: str) -> float:
        return noise("same", text, layer, name) / (1 if encoder == "tuned-q" else 3)

    relative = pick(made(texts_frame(value)), finding="relative_change")
    np.testing.assert_allclose(relative["estimate"], 2, rtol=1e-9)
    assert relative["low"].null_count() == relative.height
    same = pick(made(texts_frame(lambda _, *rest: noise("same", *rest))), finding="change")
    bound = 1 - 0.025 ** (1 / 12)
    assert (same["estimate"] == 0).all()
    np.testing.assert_allclose(same["high"], bound)
    np.testing.assert_allclose(same["low"], -bound)


def test_nothing_active_in_the_counterpart_has_no_relative_change() -> None:
    table = made(texts_frame(lambda encoder, *_: 0.25 if encoder == "tuned-q" else 0.0))
    relative = pick(table, finding="relative_change")
    assert relative.height
    assert relative.select(pl.col("estimate", "low", "high").is_null().all()).row(0) == (True,) * 3
    assert pick(table, finding="change")["estimate"].to_list() == [0.25] * relative.height


def test_texts_without_a_value_do_not_count() -> None:
    frame = texts_frame(noise, texts=6)
    lacking = (pl.col("text_id") == "t000") & (pl.col("layer") == 2) & (pl.col("measure") == "gini")
    nulls = frame.with_columns(value=pl.when(~lacking).then("value"))
    nans = nulls.with_columns(pl.col("value").fill_null(np.nan))
    for incomplete in (nulls, nans, frame.filter(~lacking)):
        table = made(incomplete)
        there = one(table, finding="change", layer=2, **GINI)
        assert there["texts"] == 5
        rest = pick(frame, encoder="tuned-q", layer=2, measure="gini").sort("text_id")["value"][1:]
        level = one(table, finding="level", retriever="tuned", layer=2, **GINI)
        assert level["estimate"] == pytest.approx(rest.mean())
        assert one(table, finding="change", layer=1, **GINI)["texts"] == 6
        assert one(table, finding="change", region="early", **GINI)["texts"] == 5
        assert one(table, finding="change", region="late", **GINI)["texts"] == 6


def test_one_text_has_no_interval() -> None:
    table = made(texts_frame(noise, texts=1))
    assert table["estimate"].null_count() == 0
    assert table["low"].null_count() == table["high"].null_count() == table.height


def test_regions_follow_the_depth_of_the_model() -> None:
    table = made(texts_frame(noise, layers=(1, 2)))
    assert set(table["region"].drop_nulls()) == {"all", "early"}
    deeper = made(texts_frame(noise, layers=(1, 2)), depths=dict.fromkeys(DEPTHS, 3))
    assert one(deeper, finding="change", region="late", **GINI)["estimate"] == pytest.approx(
        one(deeper, finding="change", layer=2, **GINI)["estimate"]
    )


def test_a_pair_without_common_texts_is_an_error() -> None:
    frame = texts_frame(noise)
    renamed = pl.when(pl.col("encoder") == "plain-e").then(pl.col("text_id") + "x")
    apart = frame.with_columns(text_id=renamed.otherwise("text_id"))
    with pytest.raises(StaleArtefact, match=r"retrievers tuned and plain have no text in common"):
        made(apart)


def test_a_text_that_comes_twice_is_an_error() -> None:
    frame = texts_frame(noise)
    with pytest.raises(StaleArtefact, match=r"query side, encoder plain-e: a text comes twice"):
        made(pl.concat([frame, frame.filter(pl.col("encoder") == "plain-e").head(1)]))


def test_a_pair_counts_where_both_were_attributed() -> None:
    frame = texts_frame(noise).filter(pl.col("encoder") == "tuned-q")
    assert set(made(frame)["finding"]) == {"level"}


def ablation_rows(texts: int = 4) -> pl.DataFrame:
    """top changes .5 + text / 100, its random draws .1 and .3, bottom 0 and its random draws .05;
    by their mean all change twice as much. The last text has no candidates."""
    changes = {("top", 0): 0.5, ("random-as-top", 0): 0.1, ("random-as-top", 1): 0.3}
    changes |= {("bottom", 0): 0.0, ("random-as-bottom", 0): 0.05, ("random-as-bottom", 1): 0.05}
    rows = []
    for text, by, (choice, draw) in product(range(texts), ("zero", "mean"), changes):
        change = (changes[choice, draw] + text / 100) * (1 if by == "zero" else 2)
        ranked = (0.1, 0.4, 0.0, 1.0) if text < texts - 1 else (None,) * 4
        rows.append((f"t{text}", "output", 10, by, choice, draw, change, -change / 2, *ranked, 0.0))
    names = ["text_id", "sublayer", "neurons", "by", "choice", "draw", "change", "length_change"]
    names += ["margin", "margin_before", "first", "first_before", "shared"]
    frame = pl.DataFrame(rows, names, orient="row", infer_schema_length=None)
    fixed = {**WHERE, "encoder": "tuned-q", "side": "query"}
    return frame.with_columns(**{name: pl.lit(value) for name, value in fixed.items()})


def test_ablations_and_their_contrasts() -> None:
    table = made(texts_frame(noise), ablations=ablation_rows())
    cell = {"sublayer": "output", "neurons": 10}
    for by, times in (("zero", 1), ("mean", 2)):
        here = cell | {"by": by, "measure": "change"}
        top = one(table, finding="ablation", choice="top", **here)
        random = one(table, finding="ablation", choice="random-as-top", **here)
        assert top["estimate"] == pytest.approx(0.515 * times) and top["retriever"] == "tuned"
        assert random["estimate"] == pytest.approx(0.215 * times) and random["texts"] == 4
        assert top["low"] < top["estimate"] < top["high"]
        for choice, apart in (("top", 0.3), ("bottom", -0.05)):
            contrast = one(table, finding="contrast", choice=choice, **here)
            assert contrast["estimate"] == pytest.approx(apart * times)
            assert contrast["other"] == f"random-as-{choice}"
    here = cell | {"by": "zero", "finding": "ablation"}
    margin = one(table, measure="margin_change", choice="bottom", **here)
    assert margin["estimate"] == pytest.approx(-0.3) and margin["texts"] == 3
    first = one(table, measure="first_change", choice="top", **here)
    assert first["estimate"] == -1
    measures = {"change", "length_change", "margin_change", "first_change"}
    assert set(pick(table, finding="contrast")["measure"]) == measures


def test_margins_by_dot_product_lie_in_their_intervals() -> None:
    """They have no bound: a vector may have any length."""
    rng = np.random.default_rng(2)
    rows = ablation_rows(texts=12)
    large = rows.with_columns(
        margin=pl.Series(60 + rng.normal(size=rows.height)), margin_before=pl.lit(80.0)
    )
    table = pick(made(texts_frame(noise), ablations=large), measure="margin_change")
    ablated = pick(table, finding="ablation")
    assert (ablated["estimate"] < -15).all()
    assert (table["low"] < table["estimate"]).all() and (table["estimate"] < table["high"]).all()


def test_ablations_without_any_candidate_are_null() -> None:
    alone = ablation_rows().filter(pl.col("margin").is_null())
    table = made(texts_frame(noise), ablations=alone)
    found = one(table, finding="contrast", measure="first_change", choice="top", by="zero")
    assert found["estimate"] is None and found["texts"] == 0


def agreement_rows(shifted: bool = True) -> pl.DataFrame:
    """Correlation .9, .7 …, a tenth of it with another text."""
    rows = [
        (comparison, other, layer, "output", f"t{text}", 0.9 - 0.2 * text + 0.01 * layer)
        for comparison, other in (("attributions", "short"), ("models", "plain"))
        for layer, text in product((1, 2, 3, 4), range(3))
    ]
    names = ["comparison", "other", "layer", "sublayer", "text_id", "correlation"]
    frame = pl.DataFrame(rows, names, orient="row")
    fixed = {**WHERE, "retriever": "tuned", "encoder": "tuned-q", "side": "query"}
    frame = frame.with_columns(**{name: pl.lit(value) for name, value in fixed.items()})
    return frame.with_columns(shifted=pl.col("correlation") / 10) if shifted else frame


def test_agreement() -> None:
    table = pick(made(texts_frame(noise), agreement=agreement_rows()), finding="agreement")
    cell = {"other": "plain", "compared_with": "plain", "layer": 2}
    correlation = one(table, measure="correlation", **cell)
    assert correlation["estimate"] == pytest.approx(0.72) and correlation["texts"] == 3
    assert one(table, measure="correlation_shifted", **cell)["estimate"] == pytest.approx(0.072)
    excess = one(table, measure="correlation_excess", **cell)
    assert excess["estimate"] == pytest.approx(0.648)
    assert excess["low"] == pytest.approx(0.9 * correlation["low"], rel=1e-4)
    assert correlation["low"] < correlation["estimate"] < correlation["high"]
    methods = {"other": "short", "compared_with": None}
    assert one(table, measure="correlation", region="early", **methods)[
        "estimate"
    ] == pytest.approx(0.715)
    plain = made(texts_frame(noise), agreement=agreement_rows(shifted=False))
    assert set(pick(plain, finding="agreement")["measure"]) == {"correlation"}


def test_agreement_with_what_removal_does_is_a_finding_of_its_own() -> None:
    rows = agreement_rows()
    removal = pl.col("other") == "short"
    comparison = pl.when(removal).then(pl.lit("removal")).otherwise("comparison")
    other = pl.when(removal).then(pl.lit("margin_change")).otherwise("other")
    table = made(
        texts_frame(noise), agreement=rows.with_columns(comparison=comparison, other=other)
    )
    usual = made(texts_frame(noise), agreement=rows)
    found = pick(table, finding="fidelity")
    assert set(found["other"]) == {"margin_change"} and found["compared_with"].null_count() == len(
        found
    )
    for measure in ("correlation", "correlation_shifted", "correlation_excess"):
        for region in ("all", "early", "late"):
            mine = one(found, measure=measure, region=region)
            same = one(usual, finding="agreement", other="short", measure=measure, region=region)
            assert mine | {"finding": 0, "other": 0} == same | {"finding": 0, "other": 0}
    assert set(pick(table, finding="agreement")["other"]) == {"plain"}


def test_intervals_cover_the_truth() -> None:
    """300 independent cells: the true ratio of means lies in about 95 % of the intervals."""
    texts, layers = 60, tuple(range(1, 301))
    fixed = {**WHERE, "sublayer": "output", "measure": "residual", "side": "query"}
    rng = generator(11, "coverage")
    shared = rng.gamma(4, size=(texts, len(layers)))
    sides = {
        "tuned-q": 1.3 * shared * rng.gamma(8, 1 / 8, size=shared.shape),
        "plain-e": shared * rng.gamma(8, 1 / 8, size=shared.shape),
    }
    frame = pl.concat(
        pl.DataFrame(
            {
                "encoder": encoder,
                "text_id": np.repeat([f"t{text:02}" for text in range(texts)], len(layers)),
                "layer": np.tile(layers, texts),
                "value": values.ravel(),
            }
        )
        for encoder, values in sides.items()
    ).with_columns(
        **{name: pl.lit(value) for name, value in fixed.items()},
        normaliser=pl.lit(None, pl.String),
        excluded_outliers=pl.lit(None, pl.Int64),
        threshold=pl.lit(None, pl.Float64),
    )
    table = made(frame, depths=dict.fromkeys(DEPTHS, 300))
    table = table.filter(pl.col("layer").is_not_null())
    truth = {"level": 4 * 1.3, "change": 4 * 0.3, "relative_change": 0.3}
    for finding, value in truth.items():
        rows = pick(table, finding=finding, retriever="tuned")
        inside = ((rows["low"] <= value) & (rows["high"] >= value)).mean()
        assert 0.89 <= inside <= 0.98, finding

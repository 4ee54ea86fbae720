"""The ten claims on planted data, and what their table says of each pair."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from benchmarks.calibration import BLOCKS, activity_pair, probing_pair
from wellspring.findings import activity, consistency
from wellspring.findings.claims import CLAIMS, SCHEMA, Claim, Pair, gathered, row, untested
from wellspring.findings.outcomes import above_chance
from wellspring.findings.verdicts import Rules
from wellspring.intervals import Estimate
from wellspring.randomness import generator

RULES = Rules(permutations=500)
BY_NUMBER = {claim.number: claim for claim in CLAIMS}
MEAN = ("network-max", 0, 0.1)


def measured(number: int, pair: list[pl.DataFrame], setting: tuple = MEAN, depth: int = BLOCKS):
    return activity.measured(BY_NUMBER[number], *pair, depth, setting, RULES, "a test")


def test_there_are_ten_claims() -> None:
    assert list(BY_NUMBER) == list(range(1, 11))
    assert [claim.number for claim in CLAIMS if claim.sides] == [7, 8, 9, 10]


def test_planted_activity_at_every_setting() -> None:
    found = measured(9, activity_pair(1, 48, effect=-1.0))
    assert found.judgement.verdict == found.at_setting.verdict == "supported"
    assert found.interval.high[0] < -0.4 and found.clusters == 48
    assert len(found.judgement.states) == 30
    turned = measured(9, activity_pair(1, 48, effect=1.0))
    assert turned.judgement.verdict == "contradicted"


def test_the_estimate_is_the_relative_change_at_the_published_setting() -> None:
    own, theirs = activity_pair(2, 20, effect=-0.5)
    found = measured(9, [own, theirs])
    where = {"sublayer": "intermediate", "normaliser": "network-max", "excluded_outliers": 0}
    ours, others = (side.filter(**where, threshold=0.1)["value"].mean() for side in (own, theirs))
    assert found.interval.estimate[0] == pytest.approx(ours / others - 1)
    assert found.setting == "network-max, threshold 0.1"


def test_planted_activity_that_flips_with_the_normaliser() -> None:
    own, theirs = activity_pair(3, 48, effect=-1.0, normaliser="network-max")
    more = own.with_columns(
        value=pl.when(normaliser="sublayer-max").then(pl.col("value") * 1.3).otherwise("value")
    )
    found = measured(9, [more, theirs])
    assert found.judgement.verdict == "depends on the normaliser"
    assert found.at_setting.verdict == "supported"
    assert found.judgement.states.min() == -1


def test_ranks_are_those_of_the_whole_sweep() -> None:
    """Another normaliser's thresholds compare by rank; settings that repeat others change none."""
    own, theirs = activity_pair(4, 48, effect=-1.0, normaliser="network-max")
    once = [side.filter(pl.col("excluded_outliers") == 0) for side in (own, theirs)]
    again = [
        pl.concat([side, side.with_columns(excluded_outliers=pl.lit(1, pl.Int64))]) for side in once
    ]
    found = [measured(9, pair) for pair in (once, again)]
    verdicts = [each.judgement.verdict for each in found]
    assert verdicts[0] == verdicts[1] == "depends on the normaliser"
    rows = [made(BY_NUMBER[9], Pair(NAMES, NAMES, "mean"), each) for each in found]
    assert [each["settings"] for each in rows] == [15, 30]
    for name in ("distinct_settings", "supporting", "contradicting"):
        assert rows[0][name] == rows[1][name]
    assert rows[0]["distinct_settings"] == 15 > rows[0]["supporting"] > 0


def test_settings_that_differ_in_one_layer_are_distinct() -> None:
    own, theirs = activity_pair(4, 48, effect=-1.0)
    once = [side.filter(pl.col("excluded_outliers") == 0) for side in (own, theirs)]
    at = pl.col("normaliser").eq("network-max") & pl.col("threshold").eq(0.2)
    other = at & pl.col("layer").eq(2) & pl.col("text_id").eq(pl.col("text_id").first())
    for change, distinct in ((at & False, 15), (other, 16)):
        again = [
            pl.concat(
                [
                    side,
                    side.with_columns(
                        excluded_outliers=pl.lit(1, pl.Int64),
                        value=pl.when(change).then(pl.col("value") + 1e-3).otherwise("value"),
                    ),
                ]
            )
            for side in once
        ]
        assert len(measured(9, [again[0], again[1]]).distinct) == distinct


def test_a_claim_of_two_parts_needs_both() -> None:
    own, theirs = activity_pair(5, 48, effect=1.0)
    assert measured(7, [own, theirs]).judgement.verdict == "contradicted"
    swapped = [
        pl.concat(
            [
                side.filter(sublayer="intermediate"),
                other.filter(sublayer="output"),
            ]
        )
        for side, other in ((own, theirs), (theirs, own))
    ]
    assert measured(7, swapped).judgement.verdict == "supported"


def test_output_activity_must_not_vanish_in_any_layer() -> None:
    own, theirs = activity_pair(6, 48, effect=1.0)
    assert measured(8, [own, theirs]).judgement.verdict == "supported"
    silent = own.with_columns(
        value=pl.when(layer=2, sublayer="output").then(0.0).otherwise("value")
    )
    assert measured(8, [silent, theirs]).judgement.verdict == "no evidence"


def test_what_cannot_be_measured_says_why() -> None:
    pair = activity_pair(7, 10)
    alone = [side.filter(sublayer="output") for side in pair]
    assert "no intermediate sub-layer" in measured(9, alone)
    assert "lacks the published setting" in measured(9, pair, ("network-max", 0, 0.15))
    nothing = [side.with_columns(value=pl.lit(0.0)) for side in pair]
    assert "no neuron is active" in measured(9, nothing)


def test_the_published_setting() -> None:
    assert activity.published_setting("mean") == activity.published_setting("cls") == MEAN
    assert activity.published_setting("eos") == ("network-max", 0, 0.01)


def probed(number: int, **effect: object):
    pair = probing_pair(11, **effect)
    return consistency.measured(BY_NUMBER[number], *pair, BLOCKS, Rules(0.05, 0.05, 500), "a test")


@pytest.mark.parametrize(
    ("number", "effect", "verdict"),
    [
        (1, {"level": 0.1}, "supported"),
        (1, {"level": 0.6}, "contradicted"),
        (1, {"level": 0.1, "difference": 0.2}, "contradicted"),
        (3, {"difference": -0.1}, "supported"),
        (3, {"difference": 0.1}, "contradicted"),
        (5, {}, "supported"),
        (5, {"difference": 0.2}, "contradicted"),
        (5, {"difference": 0.2, "probe": "interaction"}, "depends on the probe"),
        (6, {"difference": 0.1}, "supported"),
        (6, {"difference": 0.1, "probe": "cosine"}, "depends on the probe"),
    ],
)
def test_planted_accuracies(number: int, effect: dict[str, object], verdict: str) -> None:
    assert probed(number, **effect).judgement.verdict == verdict


def test_claim_6_looks_at_deep_layers_and_reports_the_published_probe() -> None:
    own, theirs, samples = probing_pair(12, difference=0.1, probe="concat")
    found = consistency.measured(BY_NUMBER[6], own, theirs, samples, BLOCKS, RULES, "a test")
    cells = [
        above_chance(side["concat"], samples).value.reshape(7, 2)[3:] for side in (own, theirs)
    ]
    assert found.interval.estimate[0] == pytest.approx((cells[0] - cells[1]).mean())


def test_what_cannot_be_probed_says_why() -> None:
    own, theirs, samples = probing_pair(13)
    others = [{"cosine": side["cosine"]} for side in (own, theirs)]
    answer = consistency.measured(BY_NUMBER[3], *others, samples, BLOCKS, RULES, "a test")
    assert answer == "the study does not probe with concat"
    single = [{"concat": side["concat"].at(side["concat"].layers, (2,))} for side in (own, theirs)]
    answer = consistency.measured(BY_NUMBER[2], *single, samples, BLOCKS, RULES, "a test")
    assert "does not probe what this needs" in answer


def test_deep_layers_are_a_share_of_the_network_not_of_what_is_probed() -> None:
    own, theirs, samples = probing_pair(12, difference=0.1)
    answer = consistency.measured(BY_NUMBER[6], own, theirs, samples, 32, RULES, "a test")
    assert "does not probe what this needs" in answer


def test_the_margin_of_the_study_says_what_comparable_means() -> None:
    pair = probing_pair(11, difference=0.14)
    verdicts = [
        consistency.measured(
            BY_NUMBER[5], *pair, BLOCKS, Rules(margin=margin, permutations=500), "a test"
        ).judgement.verdict
        for margin in (0.05, 0.25)
    ]
    assert verdicts == ["contradicted", "supported"]


def test_outcomes_that_are_alike_have_an_interval() -> None:
    own, _, samples = probing_pair(3)
    found = consistency.measured(BY_NUMBER[5], own, own, samples, BLOCKS, RULES, "a test")
    assert found.interval.estimate[0] == 0
    assert found.interval.low[0] < 0 < found.interval.high[0]


@pytest.mark.parametrize("scale", [1, 0.05, 1e-3])
def test_an_effect_has_no_size_of_its_own(scale: float) -> None:
    """Shares of a large network are small: the same relative change gives the same verdict."""
    pair = activity_pair(1, 48, effect=-1.0)
    scaled = [side.with_columns(pl.col("value") * scale) for side in pair]
    found, same = measured(9, pair), measured(9, scaled)
    assert same.judgement.verdict == found.judgement.verdict == "supported"
    assert same.at_setting.verdict == found.at_setting.verdict
    assert same.interval.estimate == pytest.approx(found.interval.estimate)


def test_a_fluctuation_that_cannot_be_measured_says_why() -> None:
    own, _, samples = probing_pair(13)
    assert "does not probe with concat" in consistency.fluctuation_of({}, samples)
    one = {"concat": own["concat"].at((3,), own["concat"].passages)}
    assert "one layer" in consistency.fluctuation_of(one, samples)


def curves(questions: int, seed: int, swing: float = 0.0) -> Estimate:
    """Means over questions at 9 layers × 2 N; `swing` is the deviation of their truth."""
    rng = generator(seed, "curves", questions)
    truth = swing * np.array([-1, 1, -1, 1, 0, 1, -1, 1, -1])[:, None] * np.ones(2)
    values = truth + rng.normal(size=(questions, 9, 2))
    value = values.mean(0)
    influence = ((values - value) / questions).reshape(questions, 1, -1)
    return Estimate(value.ravel(), influence, np.full(18, questions))


def test_fluctuation_is_unbiased_whatever_the_number_of_questions() -> None:
    for questions in (50, 400):
        flat = [consistency.fluctuation(curves(questions, s), 9).value[0] for s in range(200)]
        assert abs(np.mean(flat)) < 4 * np.std(flat) / np.sqrt(200)
    rough = [consistency.fluctuation(curves(200, s, 0.3), 9).value[0] for s in range(50)]
    assert np.mean(rough) == pytest.approx(0.09, rel=0.05)


def test_which_dataset_fluctuates_more() -> None:
    few, many = curves(100, 1), curves(800, 2)
    sides = [consistency.fluctuation(cells, 9) for cells in (few, many)]
    assert consistency.fluctuates_more(*sides, RULES).judgement.verdict == "no evidence"
    rough = consistency.fluctuation(curves(100, 3, 0.5), 9)
    assert consistency.fluctuates_more(rough, sides[1], RULES).judgement.verdict == "supported"


def made(claim: Claim, pair: Pair, found: object) -> dict[str, object]:
    return row(claim, pair, {"dataset": "toy", "attribution": "norm", "side": "query"}, found)


NAMES = ("tuned", "plain")


def test_only_the_published_pair_is_as_published() -> None:
    claim, found = BY_NUMBER[9], measured(9, activity_pair(8, 16))
    published = Pair(NAMES, ("contriever", "bert-mean"), "mean")
    assert made(claim, published, found)["as_published"]
    assert not made(claim, Pair(NAMES, NAMES, "mean"), found)["as_published"]
    assert not made(claim, Pair(NAMES, published.curves, "mean", {"plain": True}), found)[
        "as_published"
    ]


def test_a_pair_with_random_weights_cannot_test_a_claim_about_fine_tuning() -> None:
    found = measured(9, activity_pair(1, 48, effect=-1.0))
    line = made(BY_NUMBER[9], Pair(NAMES, NAMES, "mean", {"plain": True}), found)
    assert (line["on_this_pair"], line["verdict"]) == ("supported", "not testable here")
    assert "plain was never trained" in line["reason"]
    part = made(BY_NUMBER[9], Pair(NAMES, NAMES, "mean", {"plain": False}), found)
    assert part["verdict"] == "not testable here"
    assert "plain has weights that were never trained" in part["reason"]


def test_a_claim_is_about_its_own_pooling() -> None:
    assert BY_NUMBER[9].is_about("mean") and not BY_NUMBER[9].is_about("eos")
    assert BY_NUMBER[10].is_about("last-position") and not BY_NUMBER[10].is_about("mean")


def test_the_table() -> None:
    pair = Pair(NAMES, NAMES, "mean")
    lines = [
        untested(BY_NUMBER[4], "no pair"),
        made(BY_NUMBER[10], pair, "another pooling"),
        made(BY_NUMBER[9], pair, measured(9, activity_pair(9, 16))),
    ]
    table = gathered(lines)
    assert table.schema == pl.Schema(SCHEMA)
    assert table["claim"].to_list() == [4, 9, 10]
    assert table["verdict"].to_list()[0] == table["verdict"].to_list()[2] == "not testable here"

"""A split for every seed of the probes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.support.probing import changed, marked, relational, settings
from wellspring import probes
from wellspring.config import Splits
from wellspring.datasets.splits import SPLITS, redrawn
from wellspring.errors import ConfigError
from wellspring.probes import candidates, splits_of


def samples(count=300, each=2, published=None):
    """So many queries, `each` samples a query."""
    queries = [f"q{number}" for number in range(count) for _ in range(each)]
    own = redrawn([published] * len(queries), queries, 0.3, 0.2, 5)
    return pl.DataFrame(
        {
            "sample_id": [f"s{number}" for number in range(len(queries))],
            "query_id": queries,
            "split": own,
            "published": pl.Series([published] * len(queries), dtype=pl.String),
        }
    )


RULE = Splits(test=0.3, validation=0.2, seed=5)


def shares(split):
    return {name: int((split == name).sum()) for name in SPLITS}


def test_each_seed_splits_anew_by_the_same_rule():
    frame = samples()
    found = splits_of(frame, RULE, (7, 8, 9), redraw=True)
    assert (found[0] == frame["split"].to_numpy()).all()
    for split in found:
        assert shares(split) == {"test": 180, "validation": 84, "train": 336}
        apart = frame.select("query_id", split=pl.Series(split)).unique()
        assert apart.height == 300, "a query stands in two splits"
    both = (found[1] == "test") & (found[2] == "test")
    assert 0.3**2 * 600 - 40 < both.sum() < 0.3**2 * 600 + 40  # independent of each other
    again = splits_of(frame, RULE, (7, 9), redraw=True)
    assert (again == found[[0, 2]]).all()
    other = splits_of(frame, replace_seed(RULE, 6), (7, 8), redraw=True)
    assert (other[1] != found[1]).any()
    order = np.random.default_rng(0).permutation(600)
    assert (splits_of(frame[order], RULE, (7, 8, 9), redraw=True) == found[:, order]).all()


def replace_seed(rule, seed):
    return rule.model_copy(update={"seed": seed})


def test_by_sample_queries_stand_on_both_sides():
    rule = RULE.model_copy(update={"by": "sample"})
    split = splits_of(samples(), rule, (0, 1), redraw=True)[1]
    frame = samples().select("query_id", split=pl.Series(split)).unique()
    assert frame.height > 400


def test_one_split_for_all_seeds_is_that_of_the_samples():
    frame = samples()
    found = splits_of(frame, RULE, (7, 8, 9), redraw=False)
    assert found.shape == (3, 600) and (found == frame["split"].to_numpy()).all()


def test_published_splits_stay():
    frame = samples().with_columns(published=pl.col("split"))
    found = splits_of(frame, RULE, (0, 1, 2), redraw=True)
    assert (found == frame["split"].to_numpy()).all()
    kept = pl.when(pl.col("split") == "test").then(pl.lit("test")).otherwise(pl.lit("train"))
    found = splits_of(frame.with_columns(published=kept), RULE, (0, 1, 2), redraw=True)
    assert ((found == "test") == (frame["split"] == "test").to_numpy()).all()
    assert (found[1] != found[2]).any()


def ragged(count=600):
    """Splits of different sizes under three seeds."""
    given_ = marked(count=count)
    rng = np.random.default_rng(0)
    parts = [(0.5, 0.2, 0.3), (0.6, 0.1, 0.3), (0.55, 0.25, 0.2)]
    split = np.stack([rng.choice(SPLITS, count, p=shares) for shares in parts])
    return replace(given_, split=split)


def test_outcomes_are_of_each_seeds_own_test_samples():
    given_ = ragged()
    kinds = ("concat", "interaction", "shuffled-query", "cosine", "bm25")
    given_ = replace(given_, lexical={"bm25": np.random.default_rng(1).random((600, 4))})
    result = probes.run(given_, 3, settings(*kinds, seeds=(3, 4, 5)))
    ids = np.asarray(given_.sample_ids)
    for kind in kinds:
        for seed, split in zip((3, 4, 5), given_.split, strict=True):
            found = result.samples.filter(probe=kind, seed=seed)["sample_id"]
            assert found.to_list() == ids[split == "test"].tolist()
            row = result.metrics.filter(probe=kind, seed=seed)
            assert row["samples"].item() == len(found)


def test_seeds_are_fitted_as_if_alone_to_as_many_samples_as_the_fewest():
    """Equal to a job of one seed, where the surplus of its split is taken out."""
    given_, seeds = ragged(), (3, 4, 5)
    chosen = settings("concat", "interaction", seeds=seeds, standardise=False, epochs=20)
    together = probes.run(given_, 3, chosen)
    keys, split = candidates.keys_of(seeds, given_.sample_ids), given_.split.astype("<U10")
    for name in ("train", "validation"):
        kept = candidates.as_many(given_.split == name, keys)
        surplus = given_.split == name
        np.put_along_axis(surplus, kept, False, axis=1)
        assert surplus.any() and not surplus.all(1).any()
        split[surplus] = "surplus"
    for r, seed in enumerate(seeds):
        alone = probes.run(replace(given_, split=split[[r]]), 3, changed(chosen, seeds=(seed,)))
        for column in ("train_loss", "validation_loss"):
            ours, theirs = together.curves.filter(seed=seed)[column], alone.curves[column]
            np.testing.assert_allclose(ours, theirs, rtol=1e-3)
        ours, theirs = together.samples.filter(seed=seed), alone.samples
        assert ours["sample_id"].equals(theirs["sample_id"])
        assert (ours["correct"] == theirs["correct"]).mean() > 0.98


def test_standardising_sees_the_first_seeds_training_split_alone():
    given_ = relational(count=300)
    rng = np.random.default_rng(0)
    split = np.stack([given_.split[0], rng.permutation(given_.split[0])])
    chosen = settings("cosine-standardised", seeds=(0, 1))
    one = probes.run(replace(given_, split=split), 3, chosen)
    other = probes.run(replace(given_, split=split[[0, 0]]), 3, chosen)
    shared = one.samples.join(other.samples, on=["seed", "sample_id"])
    assert shared.filter(seed=1).height > 5
    assert (shared["correct"] == shared["correct_right"]).all()


def test_a_split_that_is_empty_under_one_seed_names_the_seed():
    split = np.stack([relational(count=60).split[0]] * 2)
    split[1, split[1] == "validation"] = "train"
    given_ = replace(relational(count=60), split=split)
    with pytest.raises(ConfigError, match="no sample is left for validation under seed 8"):
        probes.run(given_, 3, settings("concat", seeds=(7, 8)))

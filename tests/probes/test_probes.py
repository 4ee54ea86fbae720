"""A whole probe job on planted data with known answers."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace

import numpy as np
import polars as pl
import pyarrow.parquet
import pytest
import torch
from scipy import stats
from sklearn.preprocessing import StandardScaler

from tests.support.paths import ROOT
from tests.support.probing import data as make
from tests.support.probing import marked, permuted, relational, run, settings
from wellspring.config import LAYERLESS
from wellspring.errors import ConfigError, ModelError
from wellspring.probes import KINDS, metrics, names

PUBLISHED = {
    "learning_rate": 1e-4,
    "epochs": 30,
    "weight_decay": 0.0,
    "schedule": "constant",
    "standardise": False,
    "select": "accuracy",
    "initial": "uniform",
}


def accuracy(result, probe):
    """Mean over the seeds."""
    return result.metrics.filter(probe=probe)["accuracy"].mean()


def at_chance(result, probe):
    """Within four standard errors of chance, over all seeds."""
    rows = result.metrics.filter(probe=probe)
    chance = rows["chance"].mean()
    error = np.sqrt(chance * (1 - chance) / rows["samples"].sum())
    return abs(rows["accuracy"].mean() - chance) < 4 * error


def stored(frame):
    """The frame as Parquet bytes."""
    file = io.BytesIO()
    pyarrow.parquet.write_table(frame.to_arrow(), file)
    return file.getvalue()


@pytest.fixture(scope="module")
def by_relation():
    return run(relational(), 4, settings(*KINDS, seeds=(0, 1, 2)))


def test_where_only_the_dot_product_decides(by_relation):
    for probe in ("interaction", "cosine", "cosine-standardised"):
        assert accuracy(by_relation, probe) >= 0.99
    for probe in ("concat", "passage-scorer", "shuffled-query", "random-label", *LAYERLESS):
        assert at_chance(by_relation, probe), probe


@pytest.mark.parametrize("passages", [2, 4])
def test_where_passages_decide_probes_reach_the_best_scorer(passages):
    kinds = ("concat", "passage-scorer", "interaction", "shuffled-query")
    result = run(marked(), passages, settings(*kinds))
    # P(the positive's score, 2 above in mean, is the largest of `passages` unit normals)
    grid = np.linspace(-8, 10, 4001)
    best = np.trapezoid(stats.norm.pdf(grid - 2) * stats.norm.cdf(grid) ** (passages - 1), grid)
    for probe in kinds:
        assert accuracy(result, probe) == pytest.approx(best, abs=0.025), probe
    assert result.metrics["converged"].all()


def test_bilinear_finds_a_relation_across_dimensions():
    planted = relational(count=3000, hidden=8)
    rotation = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(1)))[0]
    turned = replace(planted, passages=planted.passages @ rotation)
    result = run(turned, 3, settings("bilinear", "interaction", rank=8, weight_decay=1e-3))
    assert accuracy(result, "bilinear") > 0.9
    assert accuracy(result, "interaction") < 0.7


def test_random_labels_show_memory_of_passages():
    """Few passages and one-hot vectors: a probe that remembers them solves the task in test."""
    rng = np.random.default_rng(0)
    candidates = np.array([rng.choice(12, 4, replace=False) for _ in range(1500)])
    few = make(rng.normal(size=(1500, 12)), np.eye(12), candidates)
    result = run(few, 3, settings("random-label", "concat", weight_decay=1e-4))
    assert accuracy(result, "random-label") > 0.95
    assert at_chance(result, "concat")


def test_cosines_equal_plain_loops():
    rng = np.random.default_rng(0)
    candidates = rng.integers(0, 80, (100, 4))
    given = make(
        rng.normal(size=(100, 5)) + 1, rng.normal(size=(80, 5)) * [1, 1, 9, 1, 1], candidates
    )
    result = run(given, 4, settings("cosine", "cosine-standardised", seeds=(0,)))
    train = given.split[0] == "train"
    sides = {"cosine": (given.queries.numpy(), given.passages.numpy())}
    scalers = [
        StandardScaler().fit(vectors[rows[train].ravel()])
        for vectors, rows in zip(
            sides["cosine"], (given.query_rows, given.candidate_rows), strict=True
        )
    ]
    sides["cosine-standardised"] = tuple(
        scaler.transform(vectors) for scaler, vectors in zip(scalers, sides["cosine"], strict=True)
    )
    for probe, (queries, passages) in sides.items():
        right = []
        for sample in np.flatnonzero(given.split[0] == "test"):
            q, p = queries[given.query_rows[sample]], passages[candidates[sample]]
            scores = p @ q / np.linalg.norm(p, axis=1) / np.linalg.norm(q)
            best = {*candidates[sample][np.isclose(scores, scores.max(), atol=1e-7)].tolist()}
            right.append(float(candidates[sample, 0] in best))
        found = result.samples.filter(probe=probe)["correct"]
        assert found.to_list() == right


def test_lexical_scores_rank_and_tie():
    rng = np.random.default_rng(0)
    candidates = np.arange(40).reshape(10, 4)
    scores = np.tile(np.float32([2, 1, 0, 2]), (10, 1))
    given = make(
        rng.normal(size=(10, 3)), rng.normal(size=(40, 3)), candidates, lexical={"bm25": scores}
    )
    found = run(given, 4, settings("bm25", seeds=(0,))).samples
    assert found["correct"].to_list() == [0.5, 0.5]
    assert found["chance"].to_list() == [0.25, 0.25]


def test_the_floor_is_the_scorer_that_ranks_validation_best():
    """Not the best in test, nor in training; apart for each number of passages; ties by name."""
    given = relational(count=400)
    parts = {part: given.split == part for part in ("train", "validation", "test")}

    def scorer(**right):
        """Right for these shares of each split's samples, wrong for the others."""
        scores = np.zeros((400, 4), np.float32)
        for part, share in right.items():
            places = np.flatnonzero(parts[part])
            scores[places, 0] = np.where(np.arange(len(places)) < share * len(places), 1, -1)
        return scores

    lexical = {
        "word-tfidf": scorer(train=1, validation=0.2, test=1),
        "character-bm25": scorer(train=0, validation=0.7, test=0.4),
        "bm25": scorer(train=0, validation=0.7, test=0.5),
    }
    # Between two, right for three quarters: one of the three negatives is above.
    lexical["character-tfidf"] = np.tile(np.float32([1, 2, 0, 0]), (400, 1))
    result = run(replace(given, lexical=lexical), 4, settings(*LAYERLESS, seeds=(0, 1)))
    scorers = dict(result.metrics.select("probe", "scorer").unique().iter_rows())
    assert scorers == {name: name for name in lexical} | {"lexical": "bm25"}
    assert accuracy(result, "lexical") == accuracy(result, "bm25") == pytest.approx(0.5)
    lexical["bm25"] = lexical["character-bm25"] = scorer(validation=0.6)
    result = run(replace(given, lexical=lexical), 2, settings("lexical", "cosine", seeds=(0, 1)))
    assert result.metrics["scorer"].to_list() == ["character-tfidf"] * 2 + [None] * 2
    assert 0.55 < accuracy(result, "lexical") < 0.75


def test_each_seed_has_the_scorer_that_is_best_on_its_own_validation_samples():
    given = relational(count=400)
    first = given.split[0] == "validation"
    split = np.stack([given.split[0], np.roll(given.split[0], 160)])
    second = split[1] == "validation"
    assert not (first & second).any()
    right = np.zeros((400, 4), np.float32)
    right[:, 0] = 1
    lexical = {
        name: np.where(good[:, None], right, -right)
        for name, good in (("bm25", first), ("word-tfidf", second))
    }
    result = run(replace(given, split=split, lexical=lexical), 4, settings("lexical"))
    assert result.metrics["scorer"].to_list() == ["bm25", "word-tfidf"]


def test_repeated_negatives_raise_chance():
    given = relational(count=200)
    given.candidate_rows[:, 2:] = given.candidate_rows[:, 1:2]
    result = run(given, 4, settings("passage-scorer", "cosine"))
    assert result.samples["chance"].unique().to_list() == [0.5]
    assert result.metrics["chance"].unique().to_list() == [0.5]


@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_one_vector_for_every_text_is_labelled_constant(noise):
    """Layer 0 under CLS pooling."""
    given = relational(count=300, hidden=8)
    rng = np.random.default_rng(0)
    same = {
        side: torch.tensor(rng.normal(size=8) + noise * rng.normal(size=(300, 8))).float()
        for side in ("queries", "passages")
    }
    result = run(replace(given, **same), 3, settings(*KINDS))
    found = result.metrics.filter(~pl.col("probe").is_in(LAYERLESS))
    assert found["label"].unique().to_list() == ["constant"]
    assert set(found["constant_features"]) == {16, 8}
    assert (found["accuracy"] == found["chance"]).all()
    assert (found["epochs"] == 0).all()
    assert (found["low"] < found["accuracy"]).all() and (found["accuracy"] < found["high"]).all()
    credit = result.samples.filter(~pl.col("probe").is_in(LAYERLESS))
    assert (credit["correct"] == credit["chance"]).all()
    for probe in LAYERLESS:
        assert result.metrics.filter(probe=probe)["label"].unique().to_list() == ["ok"]


def test_single_constant_dimensions_are_counted_and_harmless():
    given = relational(count=600)
    given.passages[:, :3] = 4.0
    given.queries[:, 0] = -2.0
    result = run(given, 3, settings("interaction", "passage-scorer", "cosine-standardised"))
    counts = dict(result.metrics.select("probe", "constant_features").unique().iter_rows())
    assert counts == {"interaction": 4, "passage-scorer": 3, "cosine-standardised": 4}
    assert set(result.metrics["label"]) == {"ok"}
    assert accuracy(result, "interaction") >= 0.99


def test_the_published_schedule_is_too_short():
    published = run(marked(1500), 2, settings("concat", "interaction", **PUBLISHED)).metrics
    assert not published["converged"].any()
    assert (published["train_loss_change"] > 0.1).all()
    assert (published["epochs"] == 30).all()
    assert run(marked(1500), 2, settings("concat")).metrics["converged"].all()


def test_the_selected_epoch_is_the_one_tested():
    given = relational(count=300)
    for select, column, best in (
        ("loss", "validation_loss", min),
        ("accuracy", "validation_accuracy", max),
    ):
        result = run(given, 3, settings("concat", select=select))
        for seed, curve in result.curves.group_by("seed"):
            row = result.metrics.filter(seed=seed[0]).row(0, named=True)
            values = curve.sort("epoch")[column].to_list()
            assert row["best_epoch"] == values.index(best(values)) + 1
            tested = curve.filter(epoch=row["best_epoch"])["validation_accuracy"].item()
            assert row["validation_accuracy"] == pytest.approx(tested)


def test_two_runs_and_another_order_of_samples_give_the_same_bytes(by_relation):
    chosen = settings(*KINDS, seeds=(0, 1, 2))
    for given in (relational(), permuted(relational())):
        again = run(given, 4, chosen)
        for name in ("samples", "metrics", "curves"):
            ours, theirs = (stored(getattr(result, name)) for result in (by_relation, again))
            assert ours == theirs


def test_the_order_of_vectors_changes_rounding_only(by_relation):
    given = relational()
    order = np.random.default_rng(0).permutation(len(given.passages))
    moved = replace(
        given,
        passages=given.passages[order],
        candidate_rows=np.argsort(order)[given.candidate_rows],
    )
    again = run(moved, 4, settings(*KINDS, seeds=(0, 1, 2)))
    assert again.samples["chance"].equals(by_relation.samples["chance"])
    same = again.samples["correct"] == by_relation.samples["correct"]
    assert same.mean() > 0.995


def test_frames_have_their_columns(by_relation):
    test = (relational().split[0] == "test").sum()
    assert by_relation.metrics.schema == pl.Schema(metrics.METRICS)
    assert by_relation.metrics.height == 3 * len(names(KINDS))
    assert by_relation.samples.schema == pl.Schema(
        {
            "probe": pl.String,
            "seed": pl.Int64,
            "sample_id": pl.String,
            "query_id": pl.String,
            "correct": pl.Float32,
            "chance": pl.Float32,
        }
    )
    assert by_relation.samples.height == 3 * len(names(KINDS)) * test
    means = by_relation.samples.group_by("probe", "seed", maintain_order=True).agg(
        pl.col("correct", "chance").cast(pl.Float64).mean()
    )
    assert means["correct"].to_list() == pytest.approx(by_relation.metrics["accuracy"].to_list())
    above = (means["correct"] - means["chance"]) / (1 - means["chance"])
    assert above.to_list() == pytest.approx(by_relation.metrics["above_chance"].to_list())
    assert run(relational(300), 2, settings("cosine")).curves.is_empty()


def interval(credit, queries):
    found = metrics.tested(credit, np.zeros_like(credit), queries)
    return found["low"], found["high"]


def test_intervals_cover_the_truth_with_dependent_samples():
    """Queries of five samples that share a query-level ease: the plain interval would fail."""
    rng = np.random.default_rng(0)
    query = np.repeat(np.arange(120), 5)
    covered, plain = 0, 0
    for _ in range(400):
        ease = rng.beta(0.6, 0.4, size=120)
        credit = (rng.random(600) < ease[query]).astype(np.float32)
        low, high = interval(credit, query.astype(str))
        covered += low <= 0.6 <= high
        low, high = interval(credit, np.arange(600).astype(str))
        plain += low <= 0.6 <= high
    assert 0.92 <= covered / 400 <= 0.98
    assert plain / 400 < 0.85


def test_intervals_at_the_edges():
    queries = np.arange(50).astype(str)
    low, high = interval(np.ones(50, np.float32), queries)
    assert 0.9 < low < 1
    assert high == pytest.approx(1)
    low, high = interval(np.zeros(50, np.float32), queries)
    assert low == 0
    assert 0 < high < 0.1
    low, high = interval(np.full(50, np.float32(1 / 3)), queries)
    assert 0.28 < low < 1 / 3 < high < 0.4


@pytest.mark.parametrize(
    ("change", "passages", "error", "message"),
    [
        ({}, 5, ConfigError, "passages: 5 is outside 2 to 4"),
        ({}, 1, ConfigError, "passages: 1 is outside 2 to 4"),
        ({"lexical": {}}, 3, ConfigError, "bm25 needs lexical scores"),
        ({"split": np.full((1, 60), "train")}, 3, ConfigError, "left for validation under seed 0"),
        ({"queries": torch.full((60, 32), torch.nan)}, 3, ModelError, "query vector"),
        ({"passages": torch.full((60, 32), torch.inf)}, 3, ModelError, "passage vector"),
        ({"passages": torch.ones(60, 48)}, 3, ModelError, "have 32 dimensions, passage vectors 48"),
    ],
)
def test_what_cannot_be_probed_is_one_clear_line(change, passages, error, message):
    with pytest.raises(error, match=message) as caught:
        run(replace(relational(count=60), **change), passages, settings("bm25"))
    assert "\n" not in str(caught.value)


def test_a_job_imports_neither_compiler_nor_the_whole_of_scipy():
    script = (
        "import sys; from tests.support.probing import relational, run, settings\n"
        "from wellspring.probes import KINDS\n"
        "run(relational(60), 3, settings(*KINDS, epochs=2))\n"
        "unwanted = ('torch._dynamo', 'scipy.stats', 'sklearn')\n"
        "print([name for name in unwanted if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"

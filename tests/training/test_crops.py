"""Crops of texts, and which texts are cropped."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from tests.support import checkpoints
from tests.support.training import backbone, samples, texts
from wellspring.errors import WellspringError
from wellspring.models.load import load
from wellspring.training.crops import Crops, around, gather
from wellspring.training.examples import passages

TOKENS = np.array([101, *range(1000, 1200), 102])
CROPS = Crops(0, (0.05, 0.5), 1, 1)


def drawn(count: int, crops: Crops = CROPS, tokens=TOKENS) -> list[np.ndarray]:
    return [crops.crop(tokens, "query", 0, f"t{number}") for number in range(count)]


def test_a_crop_is_a_run_of_the_text_between_the_special_tokens():
    for each in drawn(500):
        assert (each[0], each[-1]) == (101, 102)
        inner = each[1:-1]
        assert (np.diff(inner) == 1).all() and inner[0] >= 1000 and inner[-1] < 1200


def test_lengths_and_places_are_uniform_between_the_shares():
    crops = [each[1:-1] for each in drawn(4000)]
    lengths = np.array([len(each) for each in crops])
    # floor(200 u) of a uniform u from .05 to .5 is one of 10, …, 99.
    assert (lengths.min(), lengths.max()) == (10, 99)
    counts = np.bincount(lengths - 10, minlength=90)
    assert stats.chisquare(counts).pvalue > 1e-3
    places = [(each[0] - 1000) / (200 - len(each)) for each in crops]
    assert stats.kstest(places, "uniform").pvalue > 1e-3


def test_a_crop_is_drawn_from_seed_side_epoch_and_text():
    def crop(seed=0, side="query", epoch=0, text="t"):
        return Crops(seed, (0.05, 0.5), 1, 1).crop(TOKENS, side, epoch, text).tolist()

    assert crop() == crop()
    others = [crop(seed=1), crop(side="passage"), crop(epoch=1), crop(text="u")]
    assert all(crop() != other for other in others)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_of_a_short_text_a_token_is_left(count):
    tokens = np.array([101, *range(1000, 1000 + count), 102])
    assert {len(each) for each in drawn(20, tokens=tokens)} == {2 + min(count, 1)}


def test_whole_texts_are_crops_too():
    whole = Crops(0, (1.0, 1.0), 1, 1).crop(TOKENS, "query", 0, "t")
    assert whole.tolist() == TOKENS.tolist()


def test_special_tokens_are_counted_as_the_tokenizer_writes_them(tmp_path):
    assert around(backbone(tmp_path / "bert").tokenizer, "mean") == (1, 1)
    llama = load(checkpoints.llama(tmp_path / "llama"), "llama", 2).tokenizer
    ends = around(llama, "eos")
    assert ends[1] == around(llama, "mean")[1] + 1 == 1
    text = llama("stone river", add_special_tokens=False)["input_ids"]
    assert llama("stone river")["input_ids"][ends[0] :] == text


def test_passages_that_answer_queries_of_other_splits_are_left_out():
    frame = samples().with_columns(
        negative_ids=pl.when(pl.col("query_id") == "q1")
        .then(pl.lit(["p20-0", "n20-0", "n1-0"]))
        .otherwise("negative_ids")
    )
    names = passages(frame)
    training = frame.filter(pl.col("split") == "train")
    assert "p20-0" not in names and "n20-0" in names
    assert {*training["positive_id"]} <= set(names) and len(names) == len(set(names))
    assert not {*frame.filter(pl.col("split") != "train")["positive_id"]} & set(names)
    # The order of the rows is no part of what is learned.
    assert set(passages(frame.reverse())) == set(names)


def test_a_text_is_to_find_itself_and_what_has_its_words_is_no_negative():
    known = texts()
    twin = known.filter(pl.col("text_id") == "p2-0")["text"].item().upper()
    known = known.with_columns(
        text=pl.when(pl.col("text_id") == "n5-1").then(pl.lit(twin)).otherwise("text")
    )
    examples = gather(samples(), known)
    assert examples.ids == examples.query_ids == examples.passage_ids
    assert examples.passages[:, 0].tolist() == examples.queries.tolist()
    for row, answers in enumerate(examples.relevant):
        names = {examples.ids[each] for each in answers}
        assert names == (
            {"p2-0", "n5-1"} if examples.ids[row] in ("p2-0", "n5-1") else {examples.ids[row]}
        )


def test_nothing_to_crop_is_one_line():
    with pytest.raises(WellspringError, match="no passages of training samples"):
        gather(samples(held=24), texts())

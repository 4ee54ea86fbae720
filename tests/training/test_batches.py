"""The batches of a run."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest

from tests.support import training
from wellspring.errors import WellspringError
from wellspring.training.batches import CANDIDATE, MASKED, POSITIVE, steps_of


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return training.backbone(tmp_path_factory.mktemp("bert"))


def test_an_epoch_holds_every_example_once_in_an_order_of_its_own(backbone):
    examples = training.gathered()
    count = len(examples.ids)
    run = training.batches(backbone, examples, size=5, steps=3 * count // 5)
    stream = np.concatenate([run.rows(step) for step in range(len(run))])
    epochs = [stream[start : start + count] for start in (0, count)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(count))
    assert not np.array_equal(*epochs)


def test_the_order_depends_on_seed_and_ids_alone(backbone):
    examples = training.gathered()
    turned = dataclasses.replace(
        examples,
        ids=examples.ids[::-1],
        queries=examples.queries[::-1],
        passages=examples.passages[::-1],
    )
    orders = [
        [each.ids[row] for row in training.batches(backbone, each, seed=seed).rows(0)]
        for each, seed in ((examples, 1), (turned, 1), (examples, 2))
    ]
    assert orders[0] == orders[1] != orders[2]


def test_a_batch_has_the_tokens_of_its_texts_and_says_what_each_passage_is(backbone):
    examples = training.gathered(negatives=2)
    run = training.batches(backbone, examples, size=4)
    batch, rows = run[1], run.rows(1)
    texts = Counter(run.passage_tokens[each] for each in examples.passages[rows].ravel())
    padded = zip(batch["passage_input_ids"], batch["passage_attention_mask"], strict=True)
    assert Counter(tuple(ids[mask.bool()].tolist()) for ids, mask in padded) == texts
    for row, example in enumerate(rows):
        mask = batch["query_attention_mask"][row].bool()
        tokens = tuple(batch["query_input_ids"][row][mask].tolist())
        assert tokens == run.query_tokens[examples.queries[example]]
        own = int((batch["label"][row] == POSITIVE).int().argmax())
        mask = batch["passage_attention_mask"][own].bool()
        positive = run.passage_tokens[examples.passages[example, 0]]
        assert tuple(batch["passage_input_ids"][own][mask].tolist()) == positive
    assert ((batch["label"] == POSITIVE).sum(dim=1) == 1).all()
    lengths = batch["passage_attention_mask"].sum(dim=1)
    assert (lengths[:-1] >= lengths[1:]).all()


def test_what_answers_a_query_too_is_no_negative_and_what_stands_twice_counts_once(backbone):
    examples = training.gathered()
    run = training.batches(backbone, examples)
    queries = np.array([examples.query_ids.index(name) for name in ("q0", "q0", "q1")])
    numbers = {name: number for number, name in enumerate(examples.passage_ids)}
    # q0 has two positives, and both stand in the batch; p0-0 is a hard negative of q1, too.
    names = ["p0-0", "n0-0", "p0-1", "n0-0", "p1-0", "p0-0"]
    for name in ("n0-0",):
        numbers.setdefault(name, len(numbers))
    labels = run._labels(queries, np.array([numbers[name] for name in names]))
    p, c, m = POSITIVE, CANDIDATE, MASKED
    assert labels.tolist() == [
        [p, c, m, m, c, m],
        [m, c, p, m, c, m],
        [c, c, c, m, p, m],
    ]


def test_batches_are_full_or_refused(backbone):
    examples = training.gathered()
    assert steps_of(len(examples.ids), 4, 1) == len(examples.ids) // 4
    with pytest.raises(WellspringError, match="lower batch"):
        training.batches(backbone, examples, size=len(examples.ids) + 1)

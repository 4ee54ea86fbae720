"""What stands before queries: each is written with one of its dataset's instructions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from wellspring.config import Recipe
from wellspring.randomness import key
from wellspring.training.examples import Examples, datasets_of

Lists = Sequence[Sequence[str]]
"""The instructions of each dataset, in the order of a recipe's datasets."""


def seen(recipe: Recipe) -> Lists:
    """What training queries are written with; empty where there are no instructions."""
    return [recipe.instructions[name].seen for name in recipe.datasets if recipe.instructions]


def conditions(recipe: Recipe) -> Mapping[str, Lists]:
    """How validation queries are written, by the name of the fact that says how well they do:
    `quality` as they are trained, and with other instructions where there are any."""
    own = {"quality": seen(recipe)}
    if not recipe.instructions:
        return own
    unseen = [recipe.instructions[name].unseen for name in recipe.datasets]
    others = {
        "quality_without_instruction": [[""]] * len(unseen),
        "quality_with_unseen_instructions": unseen,
    }
    return own | {name: lists for name, lists in others.items() if all(lists)}


def instructed(examples: Examples, lists: Lists, seed: int, ids: Sequence[str]) -> Examples:
    """The same examples, with a query for each instruction that it is written with.

    lists: empty for no instructions. ids: for every example, what its instruction is drawn from,
    beside the seed. A query of two datasets is two queries, however it is written.
    """
    if not lists:
        return examples
    written: dict[tuple[int, int, str], int] = {}
    rows = []
    datasets = datasets_of(examples.ids)
    for query, dataset, each in zip(examples.queries, datasets, ids, strict=True):
        own = lists[int(dataset)]
        chosen = own[key(seed, "instruction", each) % len(own)]
        rows.append(written.setdefault((int(query), int(dataset), chosen), len(written)))
    return replace(
        examples,
        query_ids=[examples.query_ids[query] for query, _, _ in written],
        instructions=[instruction for _, _, instruction in written],
        queries=np.array(rows),
        relevant=[examples.relevant[query] for query, _, _ in written],
    )

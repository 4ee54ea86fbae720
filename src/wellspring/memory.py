"""Work that may not fit into memory: it is done at once or, where memory runs out, in halves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from wellspring.errors import WellspringError

Row = TypeVar("Row")
Work = TypeVar("Work")
Result = TypeVar("Result")


def fitting(
    rows: list[Row], run: Callable[[list[Row]], Result], tokens: Callable[[Row], int]
) -> Iterator[tuple[list[Row], Result]]:
    """What `run` gives for the rows, in their order: at once or in halves.

    tokens: a row's length, for the error. Raises WellspringError for a row that does not fit alone.
    """

    def halves(rows: list[Row]) -> tuple[list[Row], list[Row]]:
        if len(rows) == 1:
            raise WellspringError(
                f"a text of {tokens(rows[0])} tokens does not fit into memory: shorten the "
                "encoder's or the attribution's length, or give the job more memory"
            )
        middle = (len(rows) + 1) // 2
        return rows[:middle], rows[middle:]

    for some, result, _ in halving(rows, run, halves):
        yield some, result


def halving(
    work: Work, run: Callable[[Work], Result], halves: Callable[[Work], Sequence[Work]]
) -> Iterator[tuple[Work, Result, int]]:
    """The parts of the work that fit, in order; what `run` gives for each; and how often work was
    halved for it, where each halving counts for the first part that comes of it.

    halves: smaller pieces of work that together are the same; raises where there are none.
    """
    waiting = [(work, 0)]
    while waiting:
        work, halved = waiting.pop()
        try:
            result = run(work)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
        else:
            yield work, result, halved
            continue
        # Not above: while the error is handled, its traceback holds on to the tensors.
        first, *others = halves(work)
        torch.cuda.empty_cache()
        waiting += [(part, 0) for part in reversed(others)]
        waiting.append((first, halved + 1))


def out_of_memory(error: BaseException) -> bool:
    """Whether less at once may do."""
    # The CPU allocator's refusal is a plain RuntimeError.
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "allocate memory" in str(
        error
    )

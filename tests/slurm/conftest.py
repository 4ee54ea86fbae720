"""A real Slurm, where it is installed and root runs the tests."""

from __future__ import annotations

import pytest

from tests.support import slurm


@pytest.fixture(scope="module")
def started():
    """Slurm with its daemons, for the tests of a file."""
    if reason := slurm.missing():
        pytest.skip(reason)
    with slurm.cluster() as cluster:
        yield cluster


@pytest.fixture
def lab(started):
    """The same, without jobs before and after."""
    started.past = frozenset(started.jobs("all"))
    yield started
    started.clear()

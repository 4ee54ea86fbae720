"""What the tests share: where real test data may lie, and small helpers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import forks
from tests.support import study as studies
from tests.support.checkpoints import make
from tests.support.paths import SHARED

# Shared machines stall: a slow example is no failure.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")
# `make test` tries fewer examples, and `make test-all` the usual hundred.
settings.register_profile("quick", settings.get_profile("steady"), max_examples=25)


def pytest_configure(config: pytest.Config) -> None:
    """Workers ask one server of commands; it loads its libraries while they collect."""
    if config.getoption("numprocesses", None):
        forks.share()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests begin first, so that no worker is left with one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Gives the path of a file of real test data that is not part of the project, or skips."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"real test data {name} is not beside this checkout")
        return path

    return find


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Gives a tiny model of an architecture, made once; in float64 unless told."""
    import torch

    from wellspring.models.architecture import builtin
    from wellspring.models.load import load

    made = {}

    def get(name, double=True, layers=3):
        if name not in made:
            named = next(iter(builtin(name).classes))
            folder = make(tmp_path_factory.mktemp(name), named, layers=layers)
            made[name] = load(folder, name, layers)
        made[name].model.to(torch.float64 if double else torch.float32)
        return made[name]

    return get


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A study that has run from nothing to its figures, once for all workers. Tests read it."""
    folder = studies.once(tmp_path_factory, "finished", lambda folder: studies.make(folder).run())
    return studies.Study(folder)


@pytest.fixture
def study(finished, tmp_path):
    """A copy of the finished study, timestamps kept, that a test may edit."""
    shutil.copytree(finished.folder, tmp_path / "study", symlinks=True)
    return type(finished)(tmp_path / "study")

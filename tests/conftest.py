"""What the tests share: where real test data may lie, and small helpers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# Shared machines stall: a slow example is no failure.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Gives the path of a file of real test data that is not part of the project, or skips."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"real test data {name} is not beside this checkout")
        return path

    return find


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A study that has run from nothing to its figures."""
    import study as studies

    study = studies.make(tmp_path_factory.mktemp("finished"))
    study.run()
    return study


@pytest.fixture
def study(finished, tmp_path):
    """A copy of the finished study, timestamps kept, that a test may edit."""
    shutil.copytree(finished.folder, tmp_path / "study", symlinks=True)
    return type(finished)(tmp_path / "study")

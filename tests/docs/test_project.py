"""What stands in several files of the project is the same in all of them."""

from __future__ import annotations

import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import wellspring
from tests.support.paths import ROOT
from wellspring.config.datasets import DOCUMENTED

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def pins(*files: str) -> dict[str, str]:
    """Package to its locked version."""
    lines = [line for file in files for line in (ROOT / file).read_text().splitlines()]
    locked = (line.partition("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version for name, _, version in locked}


def test_the_version_is_one():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert PROJECT["version"] == wellspring.__version__ == citation["version"]
    assert PROJECT["license"] == citation["license"] == "MIT"
    names = [author["name"] for author in citation["authors"]]
    assert [author["name"] for author in PROJECT["authors"]] == names


@pytest.mark.parametrize("extra", [None, *EXTRAS])
def test_the_lock_files_hold_every_range(extra):
    """So `make`, which installs the lock files alone, installs every extra."""
    own = pins("requirements.lock")
    apart = {"dev": "tests", "docs": "docs"}.get(extra or "")
    locked = own | (pins(f"{apart}/requirements.lock") if apart else {})
    for line in PROJECT["dependencies"] if extra is None else EXTRAS[extra]:
        requirement = Requirement(line)
        if requirement.name == "wellspring":
            assert requirement.extras == EXTRAS.keys() - {"dev", "docs"}
        else:
            version = locked[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version), f"{line}: {version} is locked"


@pytest.mark.parametrize("folder", ["tests", "docs"])
def test_no_package_is_locked_twice(folder):
    assert not pins("requirements.lock").keys() & pins(f"{folder}/requirements.lock").keys()


def test_the_packages_of_the_default_dataset_are_locked():
    assert set(DOCUMENTED) <= pins("requirements.lock").keys()


def test_the_hooks_call_tools_of_the_project():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    tools = {Requirement(line).name for line in EXTRAS["dev"]}
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"].split()[0].removeprefix(".venv/bin/") in tools


def test_the_folders_of_tests_are_those_of_the_package():
    packages = {path.parent.name for path in (ROOT / "src/wellspring").glob("*/__init__.py")}
    others = {"benchmarks", "docs", "support", "workflow"}
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/*.py")}
    assert folders - others <= packages and others <= folders

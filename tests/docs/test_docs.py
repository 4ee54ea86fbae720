"""The documents, as far as they can be held against the project."""

from __future__ import annotations

import re

import pytest

from tests.support.paths import ROOT

NAMES = ("README", "ARCHITECTURE", "CHANGELOG", "CONTRIBUTING")
DOCUMENTS = [ROOT / f"{name}.md" for name in NAMES]
DOCUMENTS += [ROOT / "results" / "README.md", ROOT / "data" / "README.md"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere_and_nothing_is_left_to_fill_in(path):
    text = path.read_text()
    assert "@@" not in text and "TODO" not in text
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (path.parent / target).exists(), target


def test_every_format_and_probe_is_in_the_readme():
    from typing import get_args

    from wellspring.config.entries import ProbeKind

    text = (ROOT / "README.md").read_text()
    formats = {"jsonl", "beir", "dpr", "pydocs"}
    assert not {name for name in {*get_args(ProbeKind), *formats} if f"`{name}`" not in text}


def test_no_module_is_longer_than_a_reader_can_hold():
    for path in (ROOT / "src").rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 400, path

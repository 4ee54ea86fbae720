"""The documents, as far as they can be held against the project."""

from __future__ import annotations

import re

import pytest

from tests.support.paths import ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CHANGELOG.md"]
DOCUMENTS += [ROOT / "results" / "README.md", ROOT / "data" / "README.md"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere_and_nothing_is_left_to_fill_in(path):
    text = path.read_text()
    assert "@@" not in text and "TODO" not in text
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (path.parent / target).exists(), target


def test_every_column_is_documented():
    from wellspring import activations
    from wellspring.cli.ablations import ABLATIONS
    from wellspring.cli.agreement import AGREEMENT
    from wellspring.cli.findings import SIMILARITY
    from wellspring.cli.removals import REMOVALS
    from wellspring.config import SCORERS
    from wellspring.findings import cautions, claims, decentralisation
    from wellspring.findings.table import SCHEMA
    from wellspring.probes.metrics import METRICS
    from wellspring.probes.portions import CODES, SIZES

    text = (ROOT / "results" / "README.md").read_text()
    columns = {*SCHEMA, *METRICS, *SIMILARITY, *SCORERS, "judgements", "negative_ids"}
    columns |= {*activations.COUNTS, *activations.TEXTS, *activations.HOLDERS, *AGREEMENT}
    columns |= {*decentralisation.SCHEMA, *claims.SCHEMA, *cautions.SCHEMA}
    columns |= {*ABLATIONS, *REMOVALS, *CODES, *SIZES}
    assert not {name for name in columns if not re.search(rf"\b{name}\b", text)}


def test_every_format_and_probe_is_in_the_readme():
    from typing import get_args

    from wellspring.config.study import ProbeKind

    text = (ROOT / "README.md").read_text()
    formats = {"jsonl", "beir", "dpr", "pydocs"}
    assert not {name for name in {*get_args(ProbeKind), *formats} if f"`{name}`" not in text}


def test_no_module_is_longer_than_a_reader_can_hold():
    for path in (ROOT / "src").rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 400, path

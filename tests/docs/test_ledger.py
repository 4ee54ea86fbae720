"""docs/ledger.md is made of the files of studies, and has each of their claims once."""

from __future__ import annotations

import re

import polars as pl

from docs import ledger
from tests.support.paths import ROOT
from wellspring.findings.verdicts import NOT_TESTABLE


def test_each_claim_of_a_study_stands_on_the_page_once(finished):
    study = finished.folder / "results" / "studies" / "small"
    claims = pl.read_parquet(study / "findings" / "ledger.parquet")
    page = "\n".join(ledger.page([study]))
    table, _, _ = page.partition(ledger.PAIRS)
    verdicts = dict(re.findall(r"^\| ([A-D]\d+) \|.*\| ([^|]+) \|$", table, re.MULTILINE))
    for names in re.findall(r"^((?:[A-D]\d+(?:, )?)+): not testable here", page, re.MULTILINE):
        for name in names.split(", "):
            assert name not in verdicts
            verdicts[name] = NOT_TESTABLE
    assert verdicts == dict(claims.select("claim", "verdict").iter_rows())


def test_the_page_says_how_it_is_written():
    assert (ROOT / "docs" / "ledger.md").read_text().startswith(ledger.HEAD)

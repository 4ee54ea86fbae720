"""Writes docs/ledger.md: what finished studies say of the published claims.

COMMAND says how. Each argument is the folder of a study that has run. No table is written by hand.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from wellspring.findings.verdicts import NOT_TESTABLE

COMMAND = ".venv/bin/python docs/ledger.py results/studies/NAME … > docs/ledger.md"
HEAD = f"""# The ledger of claims

A study's [ledger](scaling.md#the-ledger-of-claims) has every claim of the four documents. This page
shows what studies say that ran here, on two cores of a processor. It is written from their files by

```
{COMMAND}
```

[Methods](methods.md#verdicts) tells what a verdict means. Numbers have their 95 % interval. "For"
and "against" count settings of a claim of A on one pair, and places of any claim in a ledger."""


PAIRS = "The claims of the first document on each pair stand here."


def page(studies: list[Path]) -> Iterator[str]:
    """The lines of the page."""
    yield HEAD
    for study in studies:
        yield f"\n## {study.name}\n"
        ledger = pl.read_parquet(study / "findings" / "ledger.parquet")
        tested = ledger.filter(pl.col("verdict") != NOT_TESTABLE)
        if tested.is_empty():
            yield "No claim is testable in this study."
        else:
            yield "| claim | statement | measured | number | for | against | verdict |"
            yield "| --- | --- | --- | --- | --- | --- | --- |"
            yield from map(_row, tested.iter_rows(named=True))
        yield from _pairs(study / "findings" / "claims.parquet")
        yield from _untested(ledger.filter(verdict=NOT_TESTABLE))


def _row(row: dict) -> str:
    cells = [row["claim"], row["statement"], row["measured"], _number(row)]
    return _line([*cells, row["supporting"], row["contradicting"], row["verdict"]])


def _pairs(path: Path) -> Iterator[str]:
    """What each pair says by itself, which is no verdict where a retriever was not fine-tuned from
    its counterpart."""
    pairs = pl.read_parquet(path).filter(pl.col("on_this_pair") != NOT_TESTABLE)
    if pairs.is_empty():
        return
    yield f"\n{PAIRS} They are no verdict on fine-tuning where the counterpart was never trained.\n"
    yield "| claim | retriever and counterpart | texts | number | for | against | on this pair |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for row in pairs.iter_rows(named=True):
        pair = f"{row['retriever']}, {row['compared_with']}"
        texts = row["side"] or "samples"
        told = (row["supporting"], row["contradicting"], row["on_this_pair"])
        yield _line([f"A{row['claim']}", pair, texts, _number(row), *told])


def _untested(rows: pl.DataFrame) -> Iterator[str]:
    """The claims that lack something, by what they lack."""
    for (reason,), group in rows.group_by("reason", maintain_order=True):
        names = ", ".join(group["claim"])
        yield f"\n{names}: {NOT_TESTABLE}. {_sentence(str(reason))}"


def _number(row: dict) -> str:
    if row["estimate"] is None:
        return "–"
    if row["low"] is None:
        return f"{row['estimate']:.3f}".replace("-", "−")
    told = "{estimate:.3f} ({low:.3f} to {high:.3f})".format(**row)
    return told.replace("-", "−")


def _line(cells: list) -> str:
    return "| " + " | ".join(re.sub(r"[|\n]", " ", str(cell)) for cell in cells) + " |"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


if __name__ == "__main__":
    sys.stdout.write("\n".join(page([Path(name) for name in sys.argv[1:]])) + "\n")

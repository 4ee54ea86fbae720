"""The page as HTML: one file, which loads nothing."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any
from urllib.parse import quote

import polars as pl
from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from wellspring.page import theme
from wellspring.page.panels import Panel, Source
from wellspring.page.summary import Summary
from wellspring.page.texts import Examples
from wellspring.page.words import Group, Listing, Statement

MARKS = {"for": "✓", "against": "✕", "mixed": "◐", "open": "○"}
"""A sign beside the verdict's text, so that colour is not needed."""
NAMES = {"": "all", "last": "the last"}
"""Options that stand for more than themselves."""
DIGITS = 5
"""Significant ones of numbers in charts."""


@dataclass(frozen=True)
class Origin:
    """Files of a kind: the first of them, what they are, and how many more there are."""

    source: Source
    meaning: str
    more: int


@dataclass(frozen=True)
class Page:
    """What stands on a study's page, in its order."""

    study: str
    question: str
    lede: str
    groups: Sequence[Group]
    untold: str
    """Which retrievers and datasets the groups leave to the table."""
    claims: Sequence[Statement]
    untestable: Listing | None
    ledger: Listing | None
    cautions: Sequence[Statement]
    studied: Sequence[Listing]
    summary: Summary | None
    panels: Sequence[Panel]
    examples: Sequence[Examples]
    without_texts: str
    """Which retrievers and datasets have no texts on the page."""
    origins: Sequence[Origin]


def render(page: Page, provenance: str, bundle: str) -> str:
    """The HTML of a page.

    Args:
        provenance: what the file says of itself, as one line of JSON.
        bundle: JavaScript that defines `vegaEmbed`; it stands once in a page with panels.
    """
    environment = Environment(
        autoescape=True,
        keep_trailing_newline=True,
        loader=DictLoader({"page.html": _asset("page.html")}),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )

    def href(file: str) -> str:
        return quote(posixpath.relpath(file, posixpath.join("studies", page.study)))

    return environment.get_template("page.html").render(
        page=page,
        provenance=inert(provenance),
        css=Markup(_asset("page.css")),
        js=Markup(_asset("page.js")),
        bundle=Markup(bundle.replace("</script", r"<\/script")),
        sections=list(_sections(page)),
        themes=inert(json.dumps({"light": theme.LIGHT, "dark": theme.DARK})),
        marks=MARKS,
        names=NAMES,
        href=href,
        encoded=encoded,
    )


def _sections(page: Page) -> Iterator[tuple[str, str]]:
    yield "answer", "The answer"
    yield "studied", "What was studied"
    if page.summary:
        yield "table", "Every probe"
    if page.panels:
        yield "charts", "Charts to explore"
    if page.examples or page.without_texts:
        yield "texts", "Texts"
    yield "sources", "Where numbers come from"


def encoded(panel: Panel) -> Markup:
    """A panel's chart, data and table for the script, as JSON that ends no element."""
    content = {
        "chart": panel.chart,
        "columns": list(panel.headings),
        "data": columns_of(panel.data),
    }
    return inert(json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False))


def inert(text: str) -> Markup:
    """JSON for a script element: without `<`, no text in it can end the element."""
    return Markup(text.replace("<", "\\u003c"))


def columns_of(frame: pl.DataFrame) -> Mapping[str, Any]:
    """A table by columns; one that repeats its values holds them once, and a code each row."""
    columns: dict[str, Any] = {}
    for column in frame.iter_columns():
        if column.dtype.is_float():
            column = column.fill_nan(None).round_sig_figs(DIGITS)
            column = (
                column.set(column.is_infinite(), None) if column.is_infinite().any() else column
            )
        values = column.unique(maintain_order=True)
        if 3 * len(values) < len(column):
            known = {value: at for at, value in enumerate(values.to_list())}
            codes = [known[value] for value in column.to_list()]
            columns[column.name] = {"codes": codes, "values": values.to_list()}
        else:
            columns[column.name] = {"values": column.to_list()}
    return {"length": frame.height, "columns": columns}


def _asset(name: str) -> str:
    return resources.files("wellspring.page").joinpath(name).read_text(encoding="utf-8")

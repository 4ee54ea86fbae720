"""How numbers are written on the page, and the parts that its sections share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from wellspring.page.panels import Source

Tone = Literal["for", "against", "mixed", "open"]
"""How a verdict is coloured; its text always stands beside."""
MINUS = "−"


@dataclass(frozen=True)
class Statement:
    """A sentence with its verdict."""

    verdict: str
    tone: Tone
    sentence: str
    more: tuple[str, ...] = ()
    """Further sentences, in smaller print."""
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True)
class Group:
    """Statements under a heading."""

    heading: str
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class Listing:
    """A small table: what was studied, or where numbers come from."""

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    sources: tuple[Source, ...] = ()


def number(value: float | None, digits: int = 3) -> str:
    """A number with its digits; an en dash where there is none."""
    if value is None:
        return "–"
    text = f"{abs(value):,.{digits}f}"
    return f"{MINUS}{text}" if value < 0 and float(text.replace(",", "")) else text


def signed(value: float | None, digits: int = 3) -> str:
    """The same of a difference: with a plus where it is above 0."""
    text = number(value, digits)
    return f"+{text}" if value is not None and value > 0 and text.strip("0.,") else text


def bracket(low: float | None, high: float | None, digits: int = 3) -> str:
    """An interval; empty where there is none."""
    if low is None or high is None:
        return ""
    return f"[{number(low, digits)}, {number(high, digits)}]"


def estimate(value: float | None, low: float | None, high: float | None) -> str:
    """A number and its interval."""
    return f"{number(value)} {bracket(low, high)}".rstrip()


def difference(value: float | None, low: float | None, high: float | None) -> str:
    """A difference and its interval."""
    return f"{signed(value)} {bracket(low, high)}".rstrip()


def percent(value: float) -> str:
    """A share as a percentage."""
    return f"{number(100 * value, 1)} %"


def percent_difference(value: float | None, low: float | None, high: float | None) -> str:
    """A relative change and its interval, as percentages."""
    value, low, high = (None if each is None else 100 * each for each in (value, low, high))
    return f"{signed(value, 1)} % {bracket(low, high, 1)}".rstrip()


def p_value(value: float | None) -> str:
    """A p-value in words."""
    if value is None:
        return ""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def significance(row: Mapping[str, Any], whom: str) -> tuple[str, Tone]:
    """The verdict of a tested difference from something, and its tone."""
    if not row["significant"]:
        return "no significant difference", "open"
    return (f"above {whom}", "for") if row["estimate"] > 0 else (f"below {whom}", "against")


def listed(names: Iterable[str], most: int = 6) -> str:
    """Names in a row; those beyond the first few are counted."""
    some = list(dict.fromkeys(names))
    shown: Sequence[str] = some if len(some) <= most else some[:most]
    more = f" and {len(some) - most} more" if len(some) > most else ""
    if more or len(shown) < 2:
        return ", ".join(shown) + more
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def capital(text: str) -> str:
    """The text with a capital letter first."""
    return text[:1].upper() + text[1:]


def ended(text: str) -> str:
    """The text with one full stop."""
    return text.rstrip(".") + "."


def stop(text: str) -> str:
    """The text as a sentence."""
    return capital(ended(text))

"""Sweeps: one retriever at several lengths, or with several templates, spelled out.

`retrievers: {minilm-lengths: {sweep: {passage_length: [32, 64]}, of: minilm}}` stands for the
retrievers `minilm-lengths-32` and `minilm-lengths-64`: minilm's encoders, the one of the passages
with another length. A study that names the sweep takes all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, get_args

from wellspring.config.messages import unknown
from wellspring.config.vocabulary import OTHER, Side, Swept

if TYPE_CHECKING:
    from wellspring.config.shorthand import Spelled

SWEPT: tuple[Swept, ...] = get_args(Swept)
KEYS = {"sweep", "of"}


def spell_out(spelled: Spelled) -> None:
    """Put retrievers and encoders in the place of sweeps, and in the place of their names."""
    members = {
        name: list(_members(spelled, name, entry))
        for name, entry in spelled.entries("retrievers")
        if "sweep" in entry
    }
    for name in members:
        del spelled.catalogue("retrievers")[name]
    if members:
        _select(spelled.config.get("study"), members)


def _members(spelled: Spelled, name: str, entry: Mapping[str, Any]) -> Iterable[str]:
    """Add the retrievers of a sweep; gives their names, or tells what is wrong with it."""
    key, sweep, of = f"retrievers.{name}", entry["sweep"], entry.get("of")
    swept = next(iter(sweep), None) if isinstance(sweep, dict) and len(sweep) == 1 else None
    base = dict(spelled.entries("retrievers")).get(str(of))
    if entry.keys() != KEYS:
        spelled.problems.append(f"{key}: a sweep has the keys sweep and of, and no other")
    elif base is None or "sweep" in base:
        named = unknown("retriever", str(of), spelled.catalogue("retrievers"))
        spelled.problems.append(f"{key}.of: {named if base is None else 'is itself a sweep'}")
    elif swept not in SWEPT:
        spelled.problems.append(f"{key}.sweep: varies one of {', '.join(SWEPT)}")
    elif values := _labelled(sweep[swept]):
        yield from _made(spelled, name, base, swept, values)
    else:
        spelled.problems.append(
            f"{key}.sweep.{swept}: give a list of numbers, or names with their values"
        )


def _labelled(values: Any) -> dict[str, Any]:
    """The values of a sweep with the last parts of their names; none where they have none."""
    if isinstance(values, list) and all(isinstance(each, int) for each in values):
        return {str(each): each for each in values}
    return values if isinstance(values, dict) else {}


def _made(
    spelled: Spelled, name: str, base: Mapping[str, Any], swept: Swept, values: Mapping[str, Any]
) -> Iterable[str]:
    kept = {key: value for key, value in base.items() if key not in (*OTHER, "compared_with")}
    sides: dict[Side, Any] = {side: base.get(side) or base.get("query") for side in OTHER}
    side: Side = "query" if swept.startswith("query") else "passage"
    encoder = dict(spelled.entries("encoders")).get(str(sides[side]))
    if encoder is None:
        # What is wrong with the retriever is reported.
        return
    key = f"retrievers.{name}.sweep"
    for label, value in values.items():
        member = f"{name}-{label}"
        spelled.add("encoders", member, {**encoder, swept: value}, key)
        # The other side keeps its encoder, and so its vectors.
        spelled.add("retrievers", member, {**kept, **sides, side: member}, key)
        yield member


def _select(study: Any, members: Mapping[str, list[str]]) -> None:
    """Name the members of a sweep wherever a study names the sweep."""
    if not isinstance(study, dict):
        return
    groups = study.get("groups")
    lists = [*groups.values()] if isinstance(groups, dict) else []
    for section in study.values():
        blocks = section if isinstance(section, list) else [section]
        lists += [block.get("retrievers") for block in blocks if isinstance(block, dict)]
    for names in lists:
        if isinstance(names, list):
            names[:] = [
                each
                for name in names
                for each in (members.get(name, [name]) if isinstance(name, str) else [name])
            ]

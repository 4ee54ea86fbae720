"""Short forms of a configuration, spelled out before anything is checked.

An encoder may stand inside a retriever, a model inside an encoder; a sweep is one retriever at
several lengths or with several templates; `compared_with: random` makes a twin; a section of the
study may be one block; what retrievers are compared with need not be listed; architecture and
layers may be left to the checkpoint; a ladder stands for all of its models. Behind this there are
plain catalogues and lists of blocks. What is malformed stays as it is, for `parse` to report.

Names that are derived: the encoder of retriever R is R (of its passages, where they have another,
`R-passage`), the model of encoder E is E, the twin of anything is `NAME-random`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wellspring.config import checkpoints, ladders, sweeps
from wellspring.config.base import is_fetched
from wellspring.config.models import COPYING, RandomTwin, Twin
from wellspring.errors import ModelError

DEPTH = 100
"""So many passages are ranked for each query where ladders are searched."""
RANDOM = next(iter(RandomTwin.model_fields))
"""The value of `compared_with` that makes a twin."""


@dataclass
class Spelled:
    """A configuration in its long form.

    Attributes:
        config: the configuration.
        written: a key of it to the key that the user wrote.
        problems: a line each, the key first.
        unread: keys that a checkpoint should have filled, and one of the problems says why not.
    """

    config: dict[str, Any]
    written: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    unread: set[str] = field(default_factory=set)
    _twins: set[str] = field(default_factory=set)

    def as_written(self, line: str) -> str:
        """A line about the long form, with the keys that the user wrote."""
        keys = sorted(self.written, key=len, reverse=True)
        if not keys:
            return line
        pattern = "|".join(map(re.escape, keys))
        return re.sub(
            rf"(?<![\w.-])({pattern})(?![\w-])", lambda match: self.written[match[1]], line
        )

    def catalogue(self, section: str) -> dict[str, Any]:
        """A section, to add to; an empty one that is thrown away where it is not a mapping."""
        given = self.config.get(section, {})
        return given if isinstance(given, dict) else {}

    def entries(self, section: str) -> list[tuple[str, dict[str, Any]]]:
        """The entries of a section that are mappings."""
        return [(k, v) for k, v in self.catalogue(section).items() if isinstance(v, dict)]

    def add(self, section: str, name: str, entry: dict[str, Any], key: str) -> None:
        """Add an entry under a derived name; `key`: where the user wrote it."""
        self.config.setdefault(section, {})
        long_key, there = f"{section}.{name}", self.catalogue(section)
        if name in there:
            self.problems.append(
                f"{key}: needs the name {name!r} among {section}, and "
                f"{self.written.get(long_key, long_key)} has it: give one of them another name"
            )
            return
        there[name] = entry
        self.written[long_key] = key

    def add_twin(self, section: str, name: str, entry: dict[str, Any], key: str) -> None:
        """The same; twins that are alike are one."""
        if f"{section}.{name}" in self._twins and self.catalogue(section)[name] == entry:
            return
        self._twins.add(f"{section}.{name}")
        self.add(section, name, entry, key)


def spelled_out(raw: Mapping[str, Any]) -> Spelled:
    """A configuration in its long form."""
    spelled = Spelled(_copied(raw))
    _inline_encoders(spelled)
    _inline_models(spelled)
    sweeps.spell_out(spelled)
    _ladders(spelled)
    for name, entry in spelled.entries("retrievers"):
        _twin(spelled, name, entry)
    _twin_partners(spelled)
    _sizes(spelled)
    _blocks(spelled)
    return spelled


def _copied(value: Any) -> Any:
    """Mappings as dictionaries that may be changed."""
    if isinstance(value, Mapping):
        return {key: _copied(each) for key, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list) else value


def _ladders(spelled: Spelled) -> None:
    """Add what ladders stand for, and probe it."""
    study = spelled.config.get("study")
    scaling = study.get("scaling") if isinstance(study, dict) else None
    if not isinstance(study, dict) or not isinstance(scaling, dict):
        return
    names: list[str] = []
    for number, ladder in enumerate(ladders.ladders(spelled.config)):
        key = f"study.scaling.ladders.{number}"
        for section, name, entry in list(ladders.entries(spelled.config, ladder)):
            if spelled.catalogue(section).get(name) != entry:
                spelled.add_twin(section, name, entry, key)
            names += [name] if section == "retrievers" else []
    given = scaling.get("retrievers", [])
    if not names or not isinstance(given, list) or not isinstance(scaling.get("datasets"), list):
        return
    scaling["retrievers"] = list(dict.fromkeys([*given, *names]))
    probe = study.get("probe") or []
    block = {
        "retrievers": list(dict.fromkeys(names)),
        "datasets": scaling["datasets"],
        "passages": [scaling.get("passages", 5)],
        "layers": "last",
        "kinds": ["cosine", "lexical"],
        "portions": [],
    }
    study["probe"] = [*([probe] if isinstance(probe, dict) else probe), block]
    if measures := scaling.get("measures"):
        same = {name: block[name] for name in ("retrievers", "datasets", "layers")}
        searched = study.get("search") or []
        searched = [searched] if isinstance(searched, dict) else searched
        study["search"] = [*searched, {**same, "measures": measures, "depth": DEPTH}]


def _inline_encoders(spelled: Spelled) -> None:
    for name, entry in spelled.entries("retrievers"):
        for side, derived in (("query", name), ("passage", f"{name}-passage")):
            if isinstance(entry.get(side), dict):
                spelled.add("encoders", derived, entry[side], f"retrievers.{name}.{side}")
                entry[side] = derived


def _inline_models(spelled: Spelled) -> None:
    for name, entry in spelled.entries("encoders"):
        if isinstance(entry.get("model"), dict):
            key = f"encoders.{name}"
            spelled.add("models", name, entry["model"], f"{spelled.written.get(key, key)}.model")
            entry["model"] = name


def _twin(spelled: Spelled, name: str, entry: dict[str, Any]) -> None:
    """Make what a retriever is compared with, where it says `random`."""
    asked, key = entry.get("compared_with"), f"retrievers.{name}.compared_with"
    if name == RANDOM:
        spelled.problems.append(
            f"retrievers.{RANDOM}: stands for a random twin: choose another name"
        )
    if isinstance(asked, dict) and asked.keys() == {RANDOM}:
        settings, key = asked[RANDOM] or {}, f"{key}.{RANDOM}"
    elif asked == RANDOM:
        settings = {}
    else:
        return
    if not isinstance(settings, dict) or settings.keys() - Twin.model_fields:
        spelled.problems.append(f"{key}: takes {', '.join(Twin.model_fields)}, got {settings!r}")
        return
    sides = {side: entry[side] for side in ("query", "passage") if entry.get(side)}
    known = dict(spelled.entries("encoders"))
    encoders = {each: known[each] for each in sides.values() if each in known}
    if not all(isinstance(encoders.get(each, {}).get("model"), str) for each in sides.values()):
        # What is wrong with the encoder is reported, and nothing of a twin.
        entry["compared_with"] = None
        return
    for each, encoder in encoders.items():
        model = encoder["model"]
        copy = {"source": f"random:{model}", **settings}
        spelled.add_twin("models", f"{model}-random", copy, key)
        spelled.add_twin("encoders", f"{each}-random", {**encoder, "model": f"{model}-random"}, key)
    twin = {side: f"{each}-random" for side, each in sides.items()}
    if "similarity" in entry:
        twin["similarity"] = entry["similarity"]
    spelled.add("retrievers", f"{name}-random", twin, key)
    entry["compared_with"] = f"{name}-random"


def _twin_partners(spelled: Spelled) -> None:
    """Twins of two encoders that are partners are partners."""
    twins = {each for each in spelled.written if each.startswith("encoders.")} & spelled._twins
    for _, entry in spelled.entries("attributions"):
        partners = entry.get("partners")
        if not isinstance(partners, dict):
            continue
        for encoder, other in list(partners.items()):
            if {f"encoders.{encoder}-random", f"encoders.{other}-random"} <= twins:
                partners.setdefault(f"{encoder}-random", f"{other}-random")


def _sizes(spelled: Spelled) -> None:
    """Fill in architecture and layers that an entry leaves out."""
    models = spelled.entries("models")
    # What a model is made of comes first.
    for name, entry in sorted(models, key=lambda item: len(_ancestors(dict(models), item[1]))):
        missing = [key for key in ("architecture", "layers") if key not in entry]
        scheme, _, reference = str(entry.get("source", "")).partition(":")
        if not missing or scheme not in ("path", "package", "hub", "pypi", *COPYING):
            continue
        if name in _ancestors(dict(models), entry):
            spelled.problems.append(f"models.{name}: is made of itself")
            spelled.unread.update(f"models.{name}.{key}" for key in missing)
            continue
        if scheme in COPYING:
            base = spelled.catalogue("models").get(reference)
            said = base if isinstance(base, dict) else {}
            own = entry.get("sizes")
            if isinstance(own, dict) and isinstance(own.get("layers"), int):
                said = {**said, "layers": own["layers"]}
            if reference not in spelled.catalogue("models"):
                spelled.problems.append(f"models.{name}.source: no model is named {reference!r}")
        elif is_fetched(entry["source"]):
            spelled.problems.append(
                f"models.{name}: names no {' and no '.join(missing)}: `wellspring describe "
                f"{entry['source']}` prints them"
            )
            said = {}
        else:
            said = _read(spelled, name, entry["source"])
        entry.update({key: said[key] for key in missing if said.get(key) is not None})
        # What such a model lacks, the model that it copies lacks: one line is enough.
        if scheme in COPYING or not said:
            spelled.unread.update(f"models.{name}.{key}" for key in missing)


def _read(spelled: Spelled, name: str, source: str) -> dict[str, Any]:
    """What a checkpoint says of itself."""
    try:
        config = checkpoints.read(checkpoints.locate(source))
    except ModelError as error:
        spelled.problems.append(
            f"models.{name}.source: architecture and layers cannot be read: {error}"
        )
        return {}
    defined = spelled.catalogue("architectures")
    return {
        "architecture": checkpoints.architecture(config, defined),
        "layers": checkpoints.sizes(config)["layers"],
    }


def _ancestors(models: Mapping[str, dict[str, Any]], entry: dict[str, Any]) -> list[str]:
    """The models that a model was made of, one of the other."""
    seen: list[str] = []
    scheme, _, reference = str(entry.get("source", "")).partition(":")
    while scheme in COPYING and reference in models and reference not in seen:
        seen.append(reference)
        scheme, _, reference = str(models[reference].get("source", "")).partition(":")
    return seen


def _blocks(spelled: Spelled) -> None:
    """Make each section of the study a list of blocks that list counterparts, too."""
    study = spelled.config.get("study")
    if not isinstance(study, dict):
        return
    for section in ("probe", "search", "attribute"):
        given = study.get(section)
        if isinstance(given, dict):
            given = study[section] = [given]
        if not isinstance(given, list):
            continue
        for number, block in enumerate(given):
            alone = len(given) == 1
            key = f"study.{section}"
            spelled.written[f"{key}.{number}"] = key if alone else f"{key} (block {number + 1})"
            if isinstance(block, dict) and isinstance(block.get("retrievers"), list):
                block["retrievers"] = _with_counterparts(spelled, block["retrievers"])


def _with_counterparts(spelled: Spelled, names: list[Any]) -> list[Any]:
    """The names, and behind each what it is compared with, where that is not among them."""
    retrievers, listed = dict(spelled.entries("retrievers")), []
    for name in names:
        listed.append(name)
        other = retrievers.get(name, {}).get("compared_with") if isinstance(name, str) else None
        while isinstance(other, str) and other not in (*names, *listed) and other in retrievers:
            listed.append(other)
            other = retrievers[other].get("compared_with")
    return listed

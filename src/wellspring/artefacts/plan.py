"""What a configuration asks for, file by file, and which existing files are not that.

Each file has a key: a hash of its slice of the configuration, of the code of its step, and of the
keys of what it is made from, down to the contents of the sources. A step writes the key into what
it makes. So a file says for which configuration, code and sources it stands, whatever its date.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wellspring import fingerprint
from wellspring.artefacts import provenance
from wellspring.artefacts.base import RESULTS, Artefact, Needed
from wellspring.artefacts.registry import beside, kinds
from wellspring.artefacts.sources import Digests
from wellspring.config import Config
from wellspring.plurals import counted
from wellspring.specs.base import Spec

UNSAID = (".csv", ".pdf")
"""Files that say nothing of how they were made: what lies beside them does."""

SHOWN = 12
"""Lines that tell what differs, before they are counted only."""


@dataclass(frozen=True)
class Stale:
    """A file that is not what the configuration asks for."""

    artefact: Artefact
    path: str
    """Of the file that differs: the artefact's own, or one beside it."""
    reason: str | None
    """What differs; None where what it is made from differs already."""


class Plan:
    """A configuration's files. Slices, codes and keys are worked out once each."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.digests = Digests()
        self._specs: dict[Any, Spec] = {}
        self._needs: dict[Artefact, dict[str, list[Artefact | str]]] = {}
        self._keys: dict[Artefact, str] = {}
        self._texts: dict[int, tuple[str, str]] = {}

    def ends(self) -> list[Artefact]:
        """What the study ends with."""
        asked = (each for kind in kinds() for each in kind.asked(self.config))
        return list(dict.fromkeys(asked))

    def paths(self, artefacts: Iterable[Artefact]) -> list[str]:
        """All files of artefacts."""
        return [path for artefact in artefacts for path in artefact.files]

    def spec(self, artefact: Artefact) -> Spec:
        """Its slice of the configuration."""
        names = artefact.sliced_by
        key = artefact if names is None else (artefact.rule, *(vars(artefact)[n] for n in names))
        if key not in self._specs:
            self._specs[key] = artefact.spec(self.config)
        return self._specs[key]

    def spec_text(self, artefact: Artefact) -> str:
        """The slice as canonical JSON."""
        return self._texts_of(artefact)[0]

    def _texts_of(self, artefact: Artefact) -> tuple[str, str]:
        """The slice as canonical JSON, and what a file's identity says of it."""
        spec = self.spec(artefact)
        # The slices are kept, so that no other one gets the same id.
        if id(spec) not in self._texts:
            told = json.dumps(artefact.told(spec), sort_keys=True)
            self._texts[id(spec)] = (spec.canonical(), told)
        return self._texts[id(spec)]

    def code(self, artefact: Artefact) -> str:
        """The fingerprint of its step."""
        return fingerprint.code(tuple(artefact.science(self.spec(artefact))))

    def needs(self, artefact: Artefact) -> dict[str, list[Artefact | str]]:
        """Name to what it is made from."""
        if artefact not in self._needs:
            self._needs[artefact] = _by_name(artefact.needs(self.config))
        return self._needs[artefact]

    def inputs(self, artefact: Artefact) -> dict[str, list[str]]:
        """Name to the paths of what it is made from."""
        return {
            name: [path for each in needed for path in _paths(each)]
            for name, needed in self.needs(artefact).items()
        }

    def key(self, artefact: Artefact) -> str:
        """32 hexadecimal digits that stand for all that the file depends on."""
        if artefact not in self._keys:
            keyed = artefact.keyed(self.config)
            inputs = {
                name: [
                    self.key(each) if isinstance(each, Artefact) else self.digests.of(Path(each))
                    for each in needed
                ]
                for name, needed in (
                    self.needs(artefact) if keyed is None else _by_name(keyed)
                ).items()
            }
            told = self._texts_of(artefact)[1]
            parts = [artefact.rule, vars(artefact), told, self.code(artefact), inputs]
            self._keys[artefact] = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
        return self._keys[artefact]

    def closure(self, artefacts: Iterable[Artefact]) -> Iterator[Artefact]:
        """The artefacts and all that they are made from, each once, what is needed first."""
        seen: set[Artefact] = set()
        # Depth first, without recursion.
        waiting: list[tuple[Artefact, bool]] = [(each, False) for each in artefacts]
        while waiting:
            artefact, ready = waiting.pop()
            if ready:
                yield artefact
            elif artefact not in seen:
                seen.add(artefact)
                waiting.append((artefact, True))
                needed = [each for some in self.needs(artefact).values() for each in some]
                waiting.extend((each, False) for each in needed if isinstance(each, Artefact))

    def stale(self, artefacts: Iterable[Artefact]) -> list[Stale]:
        """The existing files among these and what they are made from that are not what the
        configuration asks for."""
        stale: dict[Artefact, Stale] = {}
        for artefact in self.closure(artefacts):
            # Worked out for missing files, too: their jobs find the digests of sources known.
            key = self.key(artefact)
            paths = [Path(path) for each in beside(artefact) for path in each.whole]
            there = [path for path in paths if path.exists()]
            needed = [each for some in self.needs(artefact).values() for each in some]
            follows = any(each in stale for each in needed if isinstance(each, Artefact))
            for path in there:
                if path.suffix in UNSAID or not str(path).startswith(f"{RESULTS}/"):
                    continue
                stored = provenance.read(path)
                if stored is None and path.is_symlink():
                    reason = f"the shared file {path.resolve()} is damaged: remove it"
                elif stored is None:
                    reason = provenance.flaw(path)
                elif stored.key != key:
                    reason = None if follows else self.reason(artefact, stored)
                elif not (reason := artefact.harmed(stored.facts, self.digests)):
                    continue
                stale[artefact] = Stale(artefact, str(path), reason)
                break
            else:
                if there and len(there) < len(paths):
                    lacking = next(path for path in paths if path not in there)
                    reason = f"{lacking} is missing beside it"
                    stale[artefact] = Stale(artefact, str(there[0]), reason)
        self.digests.save()
        return list(stale.values())

    def below(
        self, artefacts: Iterable[Artefact], forced: Iterable[Artefact], rules: Iterable[str]
    ) -> list[Artefact]:
        """Those that are forced, by themselves or by their rule, and all that is made from them."""
        again: dict[Artefact, None] = dict.fromkeys(forced)
        names = set(rules)
        for artefact in self.closure(artefacts):
            needed = (each for some in self.needs(artefact).values() for each in some)
            if artefact.rule in names or any(each in again for each in needed):
                again[artefact] = None
        return list(again)

    def reason(self, artefact: Artefact, stored: provenance.Stored) -> str:
        """Why a file is not what the configuration asks for."""
        said, field = stored.identity, artefact.batched_by
        if said.get("step") not in {each.step for each in beside(artefact)}:
            return f"is a file of another kind: {said.get('step')}"
        if field and field in said and said[field] != getattr(artefact, field):
            return f"belongs elsewhere: it stands for {field} {said[field]}"
        for name, value in artefact.told(self.spec(artefact)).items():
            if said.get(name) != value:
                return provenance.changes(name, value, said.get(name))
        if stored.code != self.code(artefact):
            return f"the code of {artefact.rule} changed: {self._edited(artefact, stored)}"
        sources = [e for some in self.needs(artefact).values() for e in some if isinstance(e, str)]
        if sources:
            return f"other contents of {', '.join(sources[:2])}{', …' if sources[2:] else ''}"
        return "it was made from other files" if stored.key else "it does not say from what"

    def _edited(self, artefact: Artefact, stored: provenance.Stored) -> str:
        """The modules that an edit touched since a file was made."""
        science = tuple(artefact.science(self.spec(artefact)))
        now = fingerprint.modules(science)
        if not stored.modules:
            # Files of earlier versions.
            behind = counted(len(now), "module")
            return f"{', '.join(science)} or one of the {behind} behind it"
        names = sorted({*now, *stored.modules})
        return ", ".join(name for name in names if now.get(name) != stored.modules.get(name))


def lines(stale: Iterable[Stale]) -> Iterator[str]:
    """What a user is told of files that are made again: equal reasons of a rule in one line."""
    stale = list(stale)
    # By path: files that one job writes beside each other differ together.
    roots: dict[tuple[str, str], dict[str, None]] = {}
    follow: dict[tuple[Any, ...], str] = {}
    for each in stale:
        rule = each.artefact.rule
        if each.reason is None:
            follow[rule, *vars(each.artefact).values()] = rule
        else:
            roots.setdefault((rule, each.reason), {})[each.path] = None
    if stale:
        yield "results that are not what the configuration asks for:"
    for index, ((_, reason), paths) in enumerate(roots.items()):
        if index == SHOWN:
            yield f"  … and {counted(len(roots) - SHOWN, 'more difference')}"
            break
        more = f" (and {len(paths) - 1} more)" if len(paths) > 1 else ""
        yield f"  {next(iter(paths))}{more}: {reason}"
    if follow:
        counts = ", ".join(f"{n} of {rule}" for rule, n in Counter(follow.values()).items())
        yield f"  and what is made from them: {counts}"


def _by_name(needed: Mapping[str, Needed]) -> dict[str, list[Artefact | str]]:
    return {name: _listed(each) for name, each in needed.items()}


def _listed(needed: Needed) -> list[Artefact | str]:
    return [needed] if isinstance(needed, (Artefact, str)) else list(needed)


def _paths(needed: Artefact | str) -> Iterable[str]:
    return needed.files if isinstance(needed, Artefact) else [needed]

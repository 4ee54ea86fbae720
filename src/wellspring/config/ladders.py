"""Ladders of models, spelled out: a model, an encoder and a retriever for each of them.

Names say what a model is: BASE, then the recipes of its chain, then the learning rate where several
are tried, then the seed: `small-read-ask.0`, `small-read-ask-0.001.2`. Weights from elsewhere that
are not trained are `BASE-as-is`. What is malformed stays as it is, for `parse` to report.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any

Entry = tuple[str, str, dict[str, Any]]
"""A section, a name, and what stands there."""


def ladders(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The ladders of a raw configuration, as far as they can be read."""
    study = config.get("study")
    scaling = study.get("scaling") if isinstance(study, Mapping) else None
    given = scaling.get("ladders", []) if isinstance(scaling, Mapping) else []
    given = [given] if isinstance(given, Mapping) else given
    return [each for each in given if _readable(each)] if isinstance(given, list) else []


def _readable(ladder: Any) -> bool:
    """Whether a ladder has lists where they belong."""
    if not isinstance(ladder, Mapping) or not isinstance(ladder.get("encoder"), Mapping):
        return False
    rates, chains = ladder.get("learning_rates", {}), ladder.get("chains")
    lists = [ladder.get("bases"), chains, ladder.get("seeds", [])]
    lists += chains if isinstance(chains, list) else []
    lists += rates.values() if isinstance(rates, Mapping) else [None]
    return all(isinstance(each, list) for each in lists)


def entries(config: Mapping[str, Any], ladder: Mapping[str, Any]) -> Iterator[Entry]:
    """Everything that a ladder adds to the catalogues; what chains share comes several times."""
    models, recipes = (config.get(section, {}) for section in ("models", "recipes"))
    for base, chain, seed in product(
        ladder["bases"], ladder["chains"], ladder.get("seeds", [0, 1, 2])
    ):
        entry = models.get(base) if isinstance(models, Mapping) else None
        fresh = isinstance(entry, Mapping) and str(entry.get("source")).startswith("random:")
        if not fresh and not chain:
            # Weights from elsewhere have no seed: they are one model.
            yield from _retriever(f"{base}-as-is", base, ladder)
            continue
        model = f"{base}.{seed}" if fresh else base
        if fresh and isinstance(entry, Mapping):
            yield "models", model, {**entry, "seed": seed}
        named = base
        for place, name in enumerate(chain):
            last = place == len(chain) - 1
            recipe = recipes.get(name) if isinstance(recipes, Mapping) else None
            rates = ladder.get("learning_rates", {}).get(name, []) if last else []
            below, named = model, f"{named}-{name}"
            for rate in rates or [None]:
                added = {} if rate is None else {"learning_rate": rate}
                suffix = "" if rate is None else f"-{rate:g}"
                own = f"{name}{suffix}.{seed}"
                if isinstance(recipe, Mapping):
                    yield "recipes", own, {**recipe, **added, "seed": seed}
                model = f"{named}{suffix}.{seed}"
                yield "models", model, {"source": f"train:{below}", "recipe": own}
                if last:
                    yield from _retriever(model, model, ladder)
        if not chain:
            yield from _retriever(model, model, ladder)


def _retriever(name: str, model: str, ladder: Mapping[str, Any]) -> Iterable[Entry]:
    yield "encoders", name, {**ladder["encoder"], "model": model}
    yield "retrievers", name, {"query": name}

"""Whether a configuration can be used: every cross-reference and limit, before a job starts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import product
from typing import Any

from pydantic import ValidationError

from wellspring.config.attributions import Attributing
from wellspring.config.base import Strict
from wellspring.config.conflicts import conflicts
from wellspring.config.datasets import SCORERS
from wellspring.config.entries import Config
from wellspring.config.learning import weights
from wellspring.config.making import (
    learning_problems,
    model_problems,
    recipe_problems,
    teacher_problems,
)
from wellspring.config.messages import describe, unknown
from wellspring.config.models import (
    ARCHITECTURES,
    GATED,
    Encoder,
    Retriever,
)
from wellspring.config.shorthand import spelled_out
from wellspring.config.sources import negatives_problems, source_problems
from wellspring.config.study import LAYERLESS, Probing, Scaling, Searching
from wellspring.config.twins import expanded
from wellspring.errors import ConfigError


def parse(raw: Mapping[str, Any]) -> Config:
    """Check a merged configuration; raises ConfigError, a line for each problem, the key first."""
    if not isinstance(raw, Mapping):
        raise ConfigError("configuration: must be a mapping of keys")
    spelled = spelled_out(raw)

    def refuse(problems: Iterable[str]) -> None:
        if lines := dict.fromkeys(map(spelled.as_written, problems)):
            raise ConfigError("\n".join(lines))

    try:
        config = Config.model_validate(spelled.config)
    except ValidationError as error:
        told = {f"{key}: missing" for key in spelled.unread}
        lines = (describe(detail) for detail in error.errors())
        refuse([*spelled.problems, *(line for line in lines if line not in told)])
        raise
    refuse([*spelled.problems, *_problems(config)])
    whole = expanded(config)
    refuse([*learning_problems(whole), *_networks_twice(whole), *_without_negatives(whole)])
    # Further draws of a twin may be partners that the written configuration does not name.
    refuse(line for line in _problems(whole) if line.startswith("attributions."))
    return whole


def _problems(config: Config) -> Iterable[str]:
    for key, path in _paths(config):
        if re.search(r"[{}]", path):
            yield f"{key}: {path!r} has braces, which Snakemake would fill in: rename it"
    for name in config.architectures:
        if name in ARCHITECTURES:
            yield f"architectures.{name}: is built in: give yours another name"
    for name in config.models:
        yield from model_problems(config, name)
    for name, encoder in config.encoders.items():
        if encoder.model not in config.models:
            yield f"encoders.{name}.model: {unknown('model', encoder.model, config.models)}"
        yield from _term_problems(config, name, encoder)
    for name, retriever in config.retrievers.items():
        yield from _retriever_problems(config, name, retriever)
    for name, dataset in config.datasets.items():
        yield from _twice(f"datasets.{name}", dataset, ["lexical"])
        yield from source_problems(name, dataset)
    for name, recipe in config.recipes.items():
        yield from recipe_problems(config, name, recipe)
    for name in config.teachers:
        yield from teacher_problems(config, name)
    for name, attribution in config.attributions.items():
        for encoder in (*attribution.partners, *attribution.partners.values()):
            if encoder not in config.encoders:
                absent = unknown("encoder", encoder, config.encoders)
                yield f"attributions.{name}.partners: {absent}"
    if not config.retrievers_used():
        yield "study: names nothing: give probe, search or attribute its retrievers and datasets"
    for number, probe in enumerate(config.study.probe):
        yield from _probe_problems(config, f"study.probe.{number}", probe)
    for number, search in enumerate(config.study.search):
        # Entries of indexes see to it themselves.
        plain = [name for name in Searching.model_fields if name != "indexes"]
        yield from _twice(f"study.search.{number}", search, plain)
        yield from _selection_problems(config, f"study.search.{number}", search)
    for number, attribute in enumerate(config.study.attribute):
        yield from _attribute_problems(config, f"study.attribute.{number}", attribute)
    if scaling := config.study.scaling:
        yield from _scaling_problems(config, scaling)
    yield from conflicts(config)
    yield from _figure_problems(config)


def _paths(config: Config) -> Iterable[tuple[str, str]]:
    """Everything of the configuration that is a path or an address, and its key."""
    for name, model in config.models.items():
        yield from ((f"models.{name}.{key}", source) for key, (source, _) in model.sources.items())
    for name, dataset in config.datasets.items():
        source = getattr(dataset, "source", "")
        for address in source.values() if isinstance(source, Mapping) else [source]:
            yield f"datasets.{name}.source", address
    for name, teacher in config.teachers.items():
        if teacher.cross_encoder:
            yield f"teachers.{name}.cross_encoder.source", teacher.cross_encoder.source
        for path in teacher.files.values():
            yield f"teachers.{name}.scores", path
    if config.study.published:
        yield "study.published.source", config.study.published.source


def _retriever_problems(config: Config, name: str, retriever: Retriever) -> Iterable[str]:
    depths = {}
    for side, encoder in retriever.encoders.items():
        if encoder not in config.encoders:
            yield f"retrievers.{name}.{side}: {unknown('encoder', encoder, config.encoders)}"
        elif config.encoders[encoder].model in config.models:
            depths[side] = config.models[config.encoders[encoder].model].layers
    if len(set(depths.values())) > 1:
        yield f"retrievers.{name}: its encoders differ in layers: {depths}"
    if retriever.compared_with and retriever.compared_with not in config.retrievers:
        other = unknown("retriever", retriever.compared_with, config.retrievers)
        yield f"retrievers.{name}.compared_with: {other}"
    if retriever.compared_with == name:
        yield f"retrievers.{name}.compared_with: names itself"


def _selection_problems(
    config: Config, key: str, selected: Probing | Searching | Attributing
) -> Iterable[str]:
    """What all blocks select alike: retrievers, datasets, layers."""
    for name in selected.retrievers:
        if name not in config.retrievers:
            yield f"{key}.retrievers: {unknown('retriever', name, config.retrievers)}"
            continue
        try:
            depth = config.depth(name)
        except KeyError:
            continue
        if not isinstance(selected.layers, str) and max(selected.layers, default=0) > depth:
            deepest = max(selected.layers)
            yield f"{key}.layers: {deepest} is beyond {name!r}, whose last is {depth}"
    for name in selected.datasets:
        if name not in config.datasets:
            yield f"{key}.datasets: {unknown('dataset', name, config.datasets)}"
    if selected.layers == []:
        yield f"{key}.layers: names no layer"


def _twice(key: str, entry: Strict, names: Iterable[str]) -> Iterable[str]:
    for name in names:
        values = getattr(entry, name)
        if isinstance(values, list) and len(set(values)) < len(values):
            yield f"{key}.{name}: names something twice"


def _probe_problems(config: Config, key: str, probe: Probing) -> Iterable[str]:
    yield from _twice(key, probe, Probing.model_fields)
    yield from _selection_problems(config, key, probe)
    if set(probe.kinds) <= set(LAYERLESS):
        verb = "tells" if len(probe.kinds) == 1 else "tell"
        yield (
            f"{key}.kinds: {' and '.join(probe.kinds)} alone {verb} nothing about layers: "
            "add a probe of vectors"
        )
    for name in probe.datasets:
        scorers = config.datasets[name].lexical if name in config.datasets else SCORERS
        for kind in sorted({*probe.kinds} & {*SCORERS} - {*scorers}):
            yield f"{key}.kinds: {kind!r} is not among datasets.{name}.lexical: add it there"
        count = config.datasets[name].negatives.count if name in config.datasets else 99
        if max(probe.passages) > count + 1:
            yield (
                f"{key}.passages: {max(probe.passages)} passages need "
                f"{max(probe.passages) - 1} negatives, datasets.{name}.negatives.count is {count}"
            )


def _scaling_problems(config: Config, scaling: Scaling) -> Iterable[str]:
    key = "study.scaling"
    for number, ladder in enumerate(scaling.ladders):
        own = f"{key}.ladders.{number}" if len(scaling.ladders) > 1 else f"{key}.ladders"
        for name in ladder.bases:
            if name not in config.models:
                yield f"{own}.bases: {unknown('model', name, config.models)}"
        applied = {name for chain in ladder.chains for name in chain}
        for name in sorted(applied - config.recipes.keys()):
            yield f"{own}.chains: {unknown('recipe', name, config.recipes)}"
        for name in sorted(ladder.learning_rates.keys() - {c[-1] for c in ladder.chains if c}):
            yield f"{own}.learning_rates.{name}: is the last recipe of no chain"
    if not scaling.retrievers:
        yield f"{key}: names no model: give ladders, or retrievers"
    for name in scaling.datasets:
        if name not in config.datasets:
            yield f"{key}.datasets: {unknown('dataset', name, config.datasets)}"
    for name in scaling.in_domain or ():
        if name not in scaling.datasets:
            yield f"{key}.in_domain: {name!r} is not among {key}.datasets"
    for name, dataset in product(scaling.retrievers, scaling.datasets):
        if name not in config.retrievers:
            yield f"{key}.retrievers: {unknown('retriever', name, config.retrievers)}"
            continue
        with suppress(KeyError):
            grid = config.probing(name, dataset)
            probed = scaling.passages in grid.passages and config.depth(name) in grid.layers
            if probed and "cosine" in grid.block.kinds:
                yield from _unsearched(config, name, dataset)
                continue
        yield (
            f"{key}.retrievers: {name!r} is not probed on {dataset!r} by cosine at its last layer "
            f"with {scaling.passages} passages: add that to study.probe"
        )


def _networks_twice(config: Config) -> Iterable[str]:
    """A line for two retrievers on ladders that are one: they would pass for two seeds."""
    scaling, firsts = config.study.scaling, {}
    for name in scaling.retrievers if scaling else ():
        encoders = [config.encoders[each] for each in config.retrievers[name].encoders.values()]
        sides = [
            (weights(config, each.model), each.model_dump(exclude={"model"})) for each in encoders
        ]
        if (first := firsts.setdefault(str((sides, config.similarity(name))), name)) != name:
            yield (
                f"study.scaling.retrievers: {first!r} and {name!r} are one network, encoded alike: "
                "they are no two seeds; take one out"
            )


def _without_negatives(config: Config) -> Iterable[str]:
    for name in config.datasets_read():
        yield from negatives_problems(name, config.datasets[name])


def _unsearched(config: Config, name: str, dataset: str) -> Iterable[str]:
    """A line where a retriever on a ladder is not measured as the ladder says."""
    measures = config.study.scaling.measures if config.study.scaling else []
    if not measures and config.gives_terms(name):
        yield (
            f"study.scaling.measures: {name!r} is sparse, which searches alone measure: name a "
            "measure, such as nDCG@10"
        )
        return
    try:
        grid = config.searching(name, dataset)
    except KeyError:
        searched = []
    else:
        searched = grid.block.measures if config.depth(name) in grid.layers else []
    if missing := [measure for measure in measures if measure not in searched]:
        yield (
            f"study.scaling.measures: {missing[0]!r} of {name!r} on {dataset!r} is not measured at "
            "its last layer: add that to study.search"
        )


def _attribute_problems(config: Config, key: str, attribute: Attributing) -> Iterable[str]:
    yield from _twice(key, attribute, Attributing.model_fields)
    yield from _twice(f"{key}.ablate", attribute.ablate, ["neurons", "each_layer", "by"])
    yield from _selection_problems(config, key, attribute)
    for name in attribute.attributions:
        if name not in config.attributions:
            absent = unknown("attribution", name, config.attributions)
            yield f"{key}.attributions: {absent}"
        else:
            entry = config.attributions[name]
            yield from _twice(f"attributions.{name}", entry, ["sublayers"])
    for name, retriever in product(attribute.attributions, attribute.retrievers):
        entry, sides = config.attributions.get(name), config.retrievers.get(retriever)
        if not entry or not sides:
            continue
        query, passage = sides.encoders["query"], sides.encoders["passage"]
        with suppress(KeyError):
            yield from _encoder_problems(config, name, retriever, config.encoders[query])
        for encoder, other in {query: passage, passage: query}.items():
            if entry.partner(encoder) != other:
                yield (
                    f"attributions.{name}.partners: must have {encoder}: {other}, the two sides of "
                    f"retriever {retriever!r} (an encoder with two partners takes two entries)"
                )
    for name in attribute.retrievers if attribute.layers == "all" else []:
        other = getattr(config.retrievers.get(name), "compared_with", None)
        with suppress(KeyError):
            if other and config.depth(name) != config.depth(other):
                yield (
                    f"{key}.layers: {name!r} has {config.depth(name)} blocks and "
                    f"{other!r}, its counterpart, {config.depth(other)}: name layers that both "
                    f"have, or set retrievers.{name}.compared_with: null"
                )
    yield from _wording_problems(config, attribute)
    yield from _removal_problems(config, key, attribute)
    for normaliser, values in attribute.thresholds.items():
        if len(set(values)) < len(values):
            yield f"{key}.thresholds.{normaliser}: names something twice"
    maps = attribute.maps
    if maps.threshold not in attribute.thresholds.get(maps.normaliser, []):
        yield (
            f"{key}.maps.threshold: {maps.threshold} is not among "
            f"{key}.thresholds.{maps.normaliser}: add it there"
        )
    if maps.excluded_outliers not in attribute.excluded_outliers:
        yield (
            f"{key}.maps.excluded_outliers: {maps.excluded_outliers} is not among "
            f"{key}.excluded_outliers: add it there"
        )


def _encoder_problems(config: Config, name: str, retriever: str, encoder: Encoder) -> Iterable[str]:
    """What an attribution asks of an encoder that it does not have; KeyError for unknown names."""
    entry, model = config.attributions[name], config.models[encoder.model]
    own = config.architectures.get(model.architecture)
    gated = "up" in own.sublayers if own else model.architecture in GATED
    if "up" in entry.sublayers and not gated:
        yield (
            f"attributions.{name}.sublayers: {retriever!r} is a {model.architecture}, "
            "whose blocks have no 'up'"
        )
    if own and entry.method == "relp":
        yield (
            f"attributions.{name}.method: relp knows the built-in architectures alone, "
            f"{retriever!r} is a {model.architecture}: name another method"
        )
    padded = entry.target == "padded-mean-norm" or encoder.pooling == "last-position"
    if entry.padding and not padded:
        yield (
            f"attributions.{name}.padding: no score of {retriever!r} depends on it (only target "
            "padded-mean-norm and pooling last-position do): leave it out"
        )


def _term_problems(config: Config, name: str, encoder: Encoder) -> Iterable[str]:
    """That an encoder says how terms are weighed that it does not keep. Fresh weights give none,
    whatever is said: a random twin has the settings of its partner."""
    with suppress(KeyError):
        fresh = config.models[encoder.model].scheme == "random"
        if encoder.term_weights and not fresh and config.top_terms(name) is None:
            yield (
                f"encoders.{name}.term_weights: means nothing where no terms are kept: leave it "
                "out, or add top_terms"
            )


def _wording_problems(config: Config, attribute: Attributing) -> Iterable[str]:
    for name in attribute.attributions:
        entry = config.attributions.get(name)
        for dataset in attribute.datasets if entry and entry.text == "paraphrase" else []:
            dataset_entry = config.datasets.get(dataset)
            if dataset_entry and dataset_entry.format != "jsonl":
                yield (
                    f"attributions.{name}.text: dataset {dataset!r} has no paraphrases (format "
                    "jsonl may have some): attribute shortened texts instead, with query_length "
                    "and passage_length"
                )


def _removal_problems(config: Config, key: str, attribute: Attributing) -> Iterable[str]:
    if attribute.removal is None:
        return
    with suppress(KeyError):
        for side in ("query", "passage"):
            encoders = {config.retrievers[name].encoders[side] for name in attribute.retrievers}
            for encoder, dataset in product(sorted(encoders), attribute.datasets):
                partners = config.removal_partners(encoder, dataset, side)
                if len(partners) > 1:
                    yield (
                        f"{key}.removal: encoder {encoder!r} has the partners "
                        f"{', '.join(partners)}, and its margin can be measured with one alone: "
                        "give one retriever a block without removal"
                    )


def _figure_problems(config: Config) -> Iterable[str]:
    # Names of the catalogue: an overlay that probes fewer retrievers keeps these mappings.
    named: dict[str, Iterable[str]] = {
        f"groups.{group}": names for group, names in config.study.groups.items()
    }
    if config.study.published:
        named["published.curves"] = config.study.published.curves
    for key, names in named.items():
        for name in names:
            if name not in config.retrievers:
                yield f"study.{key}: {unknown('retriever', name, config.retrievers)}"

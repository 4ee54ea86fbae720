"""Whether a configuration can be used: every cross-reference and limit, before a job starts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from wellspring.config.entries import PUBLISHED, SLUG, Config, Dataset, Retriever
from wellspring.errors import ConfigError


def parse(raw: Mapping[str, Any]) -> Config:
    """Check a merged configuration; raises ConfigError, a line for each problem, the key first."""
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        problems = [_describe(detail) for detail in error.errors()]
        raise ConfigError("\n".join(dict.fromkeys(problems))) from None
    problems = list(_problems(config))
    if problems:
        raise ConfigError("\n".join(problems))
    return config


def _describe(detail: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in detail["loc"] if part != "[key]") or "configuration"
    # The format that pydantic inserts to name a union's branch is no key of the file.
    where = re.sub(r"^(datasets\.[^.]+)\.(pydocs|jsonl|beir|dpr)\.", r"\1.", where)
    # Nor are the names of a value's alternatives.
    where = re.sub(r"\.(literal|list|constrained)[-\[].*$", "", where)
    if detail["type"] == "extra_forbidden":
        return f"{where}: unknown key"
    if detail["type"] == "missing":
        return f"{where}: missing"
    if detail["type"] == "string_pattern_mismatch" and SLUG in str(detail.get("ctx", {})):
        return (
            f"{where}: {detail['input']!r} cannot be a name: use lower-case letters, digits and "
            "single inner dashes, dots or underscores"
        )
    message = detail["msg"].removeprefix("Value error, ")
    return f"{where}: {message} (got {detail['input']!r})"[:300]


def _problems(config: Config) -> Iterable[str]:
    for name, model in config.models.items():
        if model.scheme == "random" and model.place not in config.models:
            yield f"models.{name}.source: no model is named {model.place!r}"
        elif model.scheme == "random" and config.models[model.place].scheme == "random":
            yield f"models.{name}.source: {model.place!r} is itself random: name what it copies"
        elif model.scheme == "random":
            for key in ("layers", "architecture"):
                there = getattr(config.models[model.place], key)
                if getattr(model, key) != there:
                    yield f"models.{name}.{key}: differs from {model.place!r}, which has {there!r}"
        if model.scheme == "hub":
            yield f"models.{name}.source: hub: is not served yet: name its folder with path:"
    for name, encoder in config.encoders.items():
        if encoder.model not in config.models:
            yield f"encoders.{name}.model: no model is named {encoder.model!r}"
    for name, retriever in config.retrievers.items():
        yield from _retriever_problems(config, name, retriever)
    for name, dataset in config.datasets.items():
        yield from _dataset_problems(name, dataset)
    yield from _study_problems(config)


def _retriever_problems(config: Config, name: str, retriever: Retriever) -> Iterable[str]:
    depths = {}
    for side, encoder in retriever.encoders.items():
        if encoder not in config.encoders:
            yield f"retrievers.{name}.{side}: no encoder is named {encoder!r}"
        elif config.encoders[encoder].model in config.models:
            depths[side] = config.models[config.encoders[encoder].model].layers
    if len(set(depths.values())) > 1:
        yield f"retrievers.{name}: its encoders differ in layers: {depths}"
    if retriever.compared_with and retriever.compared_with not in config.retrievers:
        yield f"retrievers.{name}.compared_with: no retriever is named {retriever.compared_with!r}"
    if retriever.compared_with == name:
        yield f"retrievers.{name}.compared_with: names itself"


def _dataset_problems(name: str, dataset: Dataset) -> Iterable[str]:
    source, digests = getattr(dataset, "source", None), getattr(dataset, "sha256", None)
    splits = source if isinstance(source, Mapping) else {}
    for split in splits:
        if split not in PUBLISHED:
            yield f"datasets.{name}.source.{split}: no split; it is one of {', '.join(PUBLISHED)}"
    if isinstance(digests, Mapping) and not splits:
        yield f"datasets.{name}.sha256: names splits, but source is one path: give one digest"
    elif isinstance(digests, str) and splits:
        yield f"datasets.{name}.sha256: is one digest, but source names splits: give one for each"
    elif isinstance(digests, Mapping):
        for split in sorted(digests.keys() - splits.keys()):
            yield f"datasets.{name}.sha256.{split}: source has no such split"


def _study_problems(config: Config) -> Iterable[str]:
    probe = config.study.probe
    for key in ("retrievers", "datasets", "passages", "kinds", "seeds"):
        values = getattr(probe, key)
        if len(set(values)) < len(values):
            yield f"study.probe.{key}: names something twice"
    for name in probe.retrievers:
        if name not in config.retrievers:
            yield f"study.probe.retrievers: no retriever is named {name!r}"
            continue
        other = config.retrievers[name].compared_with
        if other and other in config.retrievers and other not in probe.retrievers:
            yield f"study.probe.retrievers: {name!r} is compared with {other!r}: select that too"
        try:
            depth = config.depth(name)
        except KeyError:
            continue
        if probe.layers != "all" and max(probe.layers, default=0) > depth:
            deepest = max(probe.layers)
            yield f"study.probe.layers: {deepest} is beyond {name!r}, whose last is {depth}"
    if set(probe.kinds) == {"bm25"}:
        yield "study.probe.kinds: bm25 alone tells nothing about layers: add another probe"
    if probe.layers != "all" and len(set(probe.layers)) < len(probe.layers):
        yield "study.probe.layers: names something twice"
    if probe.layers == []:
        yield "study.probe.layers: names no layer"
    for name in probe.datasets:
        if name not in config.datasets:
            yield f"study.probe.datasets: no dataset is named {name!r}"
        elif max(probe.passages) > config.datasets[name].negatives.count + 1:
            count = config.datasets[name].negatives.count
            yield (
                f"study.probe.passages: {max(probe.passages)} passages need "
                f"{max(probe.passages) - 1} negatives, datasets.{name}.negatives.count is {count}"
            )

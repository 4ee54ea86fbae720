"""The slice of a study's ladders of models."""

from __future__ import annotations

from typing import Any

from wellspring.config import Config
from wellspring.config.learning import is_fresh
from wellspring.specs.base import Spec
from wellspring.specs.findings import ProbedGrid, probed
from wellspring.specs.models import model
from wellspring.specs.natures import nature
from wellspring.specs.retrieval import SearchedGrid, searched


class ScaledModel(Spec):
    """A model on a ladder."""

    retriever: str
    model: str
    size: str
    """The same for models that differ in their seeds and training alone."""
    stages: str
    """What its weights went through, the first one first."""
    objective: str | None
    paradigm: str
    family: str
    """Its architecture."""
    trainings: list[dict[str, Any]]
    """What the recipes of its trainings say, but for seeds and the last learning rate: the same for
    the seeds of a model."""
    encoder: dict[str, dict[str, Any]]
    """How texts become its vectors, on both sides."""
    learning_rate: float | None
    """Of its last training; null where there was none."""
    steps: list[str]
    """The models that it was trained as, one after the other."""


class ScalingSpec(Spec):
    """The models on a study's ladders, and how they are compared."""

    study: str
    seed: int
    draws: int = 200
    """Resampled ladders of each curve."""
    passages: int
    models: list[ScaledModel]
    probed: list[ProbedGrid]
    measures: list[str]
    """Of searches."""
    searched: list[SearchedGrid]
    """Where there are any."""
    depths: dict[str, int]
    """Retriever to its last layer."""


class LadderSpec(Spec):
    """Which ladders are drawn."""

    measure: str
    dataset: str | None
    """Whose models stand in the figure; null: what size and stages bring on all of them."""
    alpha: float


def scaling(config: Config) -> ScalingSpec:
    """The slice that the table of a study's ladders depends on. KeyError where it has none."""
    if (settings := config.study.scaling) is None:
        raise KeyError("the study has no ladders")
    names = dict.fromkeys(settings.retrievers)
    searches = searched(config) if settings.measures else []
    return ScalingSpec(
        study=config.study.name,
        seed=config.study.findings.seed,
        passages=settings.passages,
        models=[_scaled(config, name) for name in names],
        probed=[
            grid
            for grid in probed(config)
            if grid.retriever in names
            and grid.dataset in settings.datasets
            # Its layers hold pooled states, which are not what it is searched by.
            and not config.gives_terms(grid.retriever)
        ],
        measures=settings.measures,
        searched=[
            grid
            for grid in searches
            if grid.retriever in names and grid.dataset in settings.datasets
        ],
        depths={name: config.depth(name) for name in names},
    )


def drawn_ladders(config: Config) -> dict[str, LadderSpec]:
    """The slices of the figures of ladders, by their names: `growth.MEASURE.DATASET` and
    `stages.MEASURE`. None where the study has no ladders."""
    if (settings := config.study.scaling) is None:
        return {}
    alpha = config.study.findings.alpha
    figures = {}
    for measure in (*settings.measures, accuracy_of(settings.passages)):
        named = measure.partition(" ")[0].replace("@", "-").lower()
        for dataset in settings.datasets:
            spec = LadderSpec(measure=measure, dataset=dataset, alpha=alpha)
            figures[f"growth.{named}.{dataset}"] = spec
        figures[f"stages.{named}"] = LadderSpec(measure=measure, dataset=None, alpha=alpha)
    return figures


def accuracy_of(passages: int) -> str:
    """How the measure of probes is called beside those of searches."""
    return f"accuracy at N = {passages}"


def _scaled(config: Config, retriever: str) -> ScaledModel:
    own = config.encoders[config.retrievers[retriever].query].model
    steps = [each for each in config.lineage(own)[::-1] if config.models[each].scheme == "train"]
    recipes = [config.recipes[config.models[step].recipe or ""] for step in steps]
    root = next(
        each
        for each in config.lineage(own)
        if config.models[each].scheme not in ("train", "checkpoint")
    )
    entry = config.models[root]
    last = recipes[-1] if recipes else None
    first = "random" if is_fresh(entry) else "pre-trained"
    return ScaledModel(
        retriever=retriever,
        model=own,
        size=model(config, root).model_copy(update={"seed": None}).digest,
        stages=" → ".join([first, *(recipe.stage for recipe in recipes)]),
        objective=last.objective if last and last.stage == "fine-tuning" else None,
        paradigm="sparse" if config.gives_terms(retriever) else "dense",
        family=entry.architecture,
        trainings=_trainings(config, own),
        encoder=_encoder(config, retriever),
        learning_rate=last.learning_rate if last else None,
        steps=steps,
    )


def _trainings(config: Config, model: str) -> list[dict[str, Any]]:
    trainings: list[dict[str, Any]] = []
    for name in config.lineage(model)[::-1]:
        entry = config.models[name]
        if entry.scheme == "train":
            recipe = config.recipes[entry.recipe or ""]
            # What is kept on the way changes nothing of the run.
            said = recipe.model_dump(mode="json", exclude={"seed", "checkpoints"})
            trainings.append(said | {"share": 1.0})
        elif entry.scheme == "checkpoint":
            trainings[-1]["share"] = entry.share
    if trainings:
        del trainings[-1]["learning_rate"]
    return trainings


def _encoder(config: Config, retriever: str) -> dict[str, dict[str, Any]]:
    sides = nature(config, retriever)
    weights = {"model", "architecture", "definition", "layers"}
    return {
        side: {key: each for key, each in own.items() if key not in weights}
        for side, own in sides.items()
    }

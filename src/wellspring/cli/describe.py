"""describe: what a checkpoint's folder holds, what would be refused, and its entries."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wellspring.config import checkpoints
from wellspring.errors import ModelError

if TYPE_CHECKING:
    from wellspring.models.conventions import Conventions

BEHIND_PADDING = ("roberta", "mpnet")
"""Architectures that count positions from behind the padding token's id."""
USUAL = {"dpr": "cls"} | dict.fromkeys(
    ("gemma", "gemma2", "gemma3", "llama", "mistral", "phi", "phi3", "qwen2", "qwen3"), "eos"
)
"""Architecture → the pooling that its retrievers usually have; of the others `mean`."""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def describe(folder: Path, as_json: bool) -> None:
    """Tell what a checkpoint in FOLDER is, and print entries for config.yaml.

    Nothing is loaded: config.json, the tokenizer's files and those of sentence-transformers say
    all of it. Weights and tokenizer are checked when the model is first used.
    """
    found = description(folder)
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(_lines(found)))


def description(folder: Path) -> dict[str, Any]:
    """What a checkpoint's folder holds; ModelError where it holds no config.json that can be read.

    `refused` has a reason a line, `unsaid` what the entries had to guess.
    """
    from wellspring.models import conventions
    from wellspring.models.architecture import knowing

    config = _config(folder)
    named = next(iter(config.get("architectures") or ()), None)
    architecture = knowing(named) if named else None
    refused = list(_refused(folder, config, named, architecture))
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
    return {
        "folder": str(folder),
        "class": named,
        "architecture": architecture,
        **sizes,
        "tokenizer": tokenizer,
        "says": list(said.summary()),
        "refused": refused,
        "unsaid": [] if said.pooling else ["pooling"],
        "entries": _entries(folder, architecture, sizes, tokenizer, said),
    }


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file() and (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"{folder}: holds an adapter: describe the checkpoint that it is for, and name this "
            f"folder in its entry as adapter: path:{folder}"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{folder}: holds no config.json, so it is no checkpoint") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path}: must be a JSON object")
    return content


def _refused(
    folder: Path, config: Mapping[str, Any], named: str | None, architecture: str | None
) -> Iterator[str]:
    """Why `wellspring model` would refuse the folder, as far as names and config.json tell."""
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
    if (folder / "adapter_config.json").is_file():
        yield "an adapter lies beside the weights: move it, and name it under adapter"
    if not any(any(folder.glob(kind)) for kind in ("*.safetensors", "pytorch_model*.bin")):
        yield "there are no weights (*.safetensors or pytorch_model*.bin)"
    if not any((folder / name).is_file() for name in sources.TOKENIZER_FILES):
        yield "there is no tokenizer"
    try:
        sources.refuse_two(folder)
    except ModelError as error:
        yield str(error)


def _tokenizer(folder: Path) -> dict[str, Any]:
    """The tokenizer's class, its tokens and its longest text, as far as its files say."""
    from tokenizers import Tokenizer

    found: dict[str, Any] = {"class": None, "tokens": None, "longest": None}
    with suppress(OSError, ValueError, AttributeError):
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        found["class"] = config.get("tokenizer_class")
        longest = config.get("model_max_length")
        found["longest"] = longest if isinstance(longest, int) and longest < 10**6 else None
    with suppress(Exception):  # the library raises nothing more precise
        found["tokens"] = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()
    return found


def _entries(
    folder: Path,
    architecture: str | None,
    sizes: Mapping[str, Any],
    tokenizer: Mapping[str, Any],
    said: Conventions,
) -> dict[str, Any]:
    """Entries of config.yaml for the checkpoint."""
    from wellspring.models.conventions import POOLINGS

    words = re.findall(r"[a-z0-9]+", folder.resolve().name.lower())
    name = "-".join(words)[:64].strip("-") or "model"
    model = {
        "source": f"path:{folder}",
        "architecture": architecture or "?",
        "layers": sizes["layers"] or "?",
    }
    encoder: dict[str, Any] = {"model": name}
    pooling = USUAL.get(architecture or "", "mean")
    encoder["pooling"] = POOLINGS.get(said.pooling[0], "?") if said.pooling else pooling
    for side, prompt in said.prompts.items():
        encoder[f"{side}_template"] = prompt + "{text}"
    longest = min(filter(None, (tokenizer["longest"], sizes["positions"])), default=512)
    for side, usual in (("query", 128), ("passage", 512)):
        tokens = min(said.longest.get(side) or usual, longest)
        if tokens != usual:
            encoder[f"{side}_length"] = tokens
    if said.normalise:
        encoder["normalise"] = True
    return {"models": {name: model}, "encoders": {name: encoder}}


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    import yaml

    tokenizer = found["tokenizer"]
    parts = [str(tokenizer["class"] or "class not named")]
    parts += [f"{tokenizer['tokens']:,} tokens"] if tokenizer["tokens"] else []
    rows = {
        "class": found["class"],
        "architecture": found["architecture"],
        **{name.replace("_", " "): found[name] for name in checkpoints.SIZES},
        "tokenizer": ", ".join(parts),
        "its files say": found["says"] or ["nothing of pooling, lengths and prompts"],
        "refused": found["refused"] or ["nothing that these files show"],
    }
    for label, value in rows.items():
        for row, line in enumerate(value if isinstance(value, list) else [value]):
            text = "not said" if line is None else line
            yield f"{'' if row else label:<14} {text}"
    yield ""
    if found["unsaid"]:
        yield f"# The files do not say: {', '.join(found['unsaid'])}. What stands here is a guess."
    yield yaml.safe_dump(found["entries"], sort_keys=False, allow_unicode=True, width=100).rstrip()

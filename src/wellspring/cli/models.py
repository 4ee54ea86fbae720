"""model: find or make a model's weights, and describe them in model.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from wellspring import shards, specs
from wellspring.cli.step import FILE, circumstances, options, step
from wellspring.errors import ModelError, StaleArtefact


@click.command()
@click.argument("description", type=FILE)
@options
def model(description: Path, spec: str, code: str | None, log: Path | None) -> None:
    """Describe the model's checkpoint in DESCRIPTION (model.json), written last."""
    from wellspring.models import sources

    wanted = specs.ModelSpec.read(spec)
    with step("model", wanted.architecture, code, log) as messages:
        folder = description.parent
        try:
            if wanted.base is not None:
                base = sources.locate(wanted.base.source)
                sources.make_random(base, folder, wanted.architecture, wanted.seed)
            place = locate(wanted, folder)
            files = sources.files(place)
            config = json.loads((place / "config.json").read_text(encoding="utf-8"))
        except ValueError as error:
            raise ModelError(f"{folder.name}: {error}") from None
        layers = config.get("num_hidden_layers")
        if layers != wanted.layers:
            raise ModelError(
                f"models.{folder.name}.layers: the checkpoint has {layers} layers, "
                f"the configuration says {wanted.layers}"
            )
        content = {
            "identity": {"step": "model", "spec": wanted.model_dump(mode="json")},
            "circumstances": circumstances("model", wanted.architecture, "torch", "transformers"),
            "digest": files.digest,
            "weights": dict(files.weights),
            "tokenizer": dict(files.tokenizer),
            "config": dict(files.config),
        }
        shards.write_text(description, json.dumps(content, indent=2, sort_keys=True) + "\n")
        messages.counts({"layers": layers, "hidden_size": config["hidden_size"]})
        messages.say(f"weights: {files.digest}")


def locate(spec: specs.ModelSpec, folder: Path) -> Path:
    """Where a described model's files lie: fresh weights lie beside their description."""
    from wellspring.models import sources

    return folder if spec.base is not None else sources.locate(spec.source)


def verify(description: Path, spec: specs.ModelSpec) -> tuple[Path, str]:
    """The checkpoint folder and digest of a described model, after hashing its files again."""
    from wellspring.models import sources

    mend = f"make it again: snakemake --cores all --forcerun {description}"
    try:
        content: dict[str, Any] = json.loads(description.read_text(encoding="utf-8"))
        found = content["identity"]["spec"]
    except (OSError, ValueError, KeyError) as error:
        raise StaleArtefact(f"{description}: cannot be read ({error}); {mend}") from None
    if found != spec.model_dump(mode="json"):
        raise StaleArtefact(f"{description}: describes another model; {mend}")
    place = locate(spec, description.parent)
    if sources.files(place).digest != content["digest"]:
        raise StaleArtefact(f"{place}: the files are not those of {description}; {mend}")
    return place, content["digest"]

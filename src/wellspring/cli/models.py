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
            layers, hidden = config["num_hidden_layers"], config["hidden_size"]
        except KeyError as error:
            raise ModelError(f"models.{folder.name}: config.json has no {error}") from None
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ModelError(f"models.{folder.name}: {reason}") from None
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
        messages.counts({"layers": layers, "hidden_size": hidden})
        messages.say(f"weights: {files.digest}")


def locate(spec: specs.ModelSpec, folder: Path) -> Path:
    """Where a described model's files lie: fresh weights lie beside their description."""
    from wellspring.models import sources

    return folder if spec.base is not None else sources.locate(spec.source)


def verify(description: Path, encoding: specs.EncodingSpec) -> tuple[Path, str]:
    """The checkpoint folder and digest of a described model, after hashing its files again."""
    from wellspring.models import sources

    mend = f"make it again: snakemake --cores all --forcerun {description}"
    try:
        content: dict[str, Any] = json.loads(description.read_text(encoding="utf-8"))
        spec = specs.ModelSpec(**content["identity"]["spec"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise StaleArtefact(f"{description}: cannot be read ({reason}); {mend}") from None
    if (spec.architecture, spec.layers) != (encoding.architecture, encoding.layers):
        raise StaleArtefact(f"{description}: describes another model; {mend}")
    place = locate(spec, description.parent)
    if sources.files(place).digest != content["digest"]:
        raise StaleArtefact(f"{place}: the files are not those of {description}; {mend}")
    return place, content["digest"]

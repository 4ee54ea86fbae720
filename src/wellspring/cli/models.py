"""model: find or make a model's weights, and describe them in model.json."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wellspring import shards, specs
from wellspring.cli.step import FILE, circumstances, options, step
from wellspring.errors import ModelError, StaleArtefact

if TYPE_CHECKING:
    from wellspring.models.architecture import Architecture

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER = "adapter"
"""Folder beside model.json for an adapter that had to be stored again."""


@dataclass(frozen=True)
class Described:
    """A model whose files are those that its description names."""

    checkpoint: Path
    adapter: Path | None
    digest: str
    """sha256 of everything that its vectors depend on."""


@click.command()
@click.argument("description", type=FILE)
@options
def model(description: Path, spec: str, code: str | None, log: Path | None) -> None:
    """Describe the model's checkpoint in DESCRIPTION (model.json), written last."""
    from safetensors import SafetensorError

    from wellspring.models import adapters, load

    wanted = specs.ModelSpec.read(spec)
    with step("model", variant(wanted), code, log) as messages:
        folder = description.parent
        try:
            for line in _make(wanted, folder):
                messages.say(line)
            place, adapter = _places(wanted, folder)
            known = architecture(wanted)
            layers, hidden = load.describe(place, known)
            if adapter:
                adapters.fit(load.skeleton(place, known), adapter, known.unused)
            contents = _contents(place, adapter)
        except ModelError as error:
            raise ModelError(f"models.{folder.name}: {error}") from None
        except (OSError, ValueError, SafetensorError) as error:
            reason = str(error).splitlines()[0]
            raise ModelError(f"models.{folder.name}: {reason}") from None
        if layers != wanted.layers:
            raise ModelError(
                f"models.{folder.name}.layers: the checkpoint has {layers} layers, "
                f"the configuration says {wanted.layers}"
            )
        content = {
            "identity": {"step": "model", "spec": wanted.model_dump(mode="json")},
            "circumstances": circumstances(
                "model", variant(wanted), "torch", "transformers", "peft"
            ),
            **contents,
        }
        shards.write_text(description, json.dumps(content, indent=2, sort_keys=True) + "\n")
        messages.counts({"layers": layers, "hidden_size": hidden})
        messages.say(f"weights: {contents['digest']}")


def architecture(spec: specs.ModelSpec | specs.EncodingSpec) -> Architecture:
    """The definition that a slice names: its own, or a built-in one."""
    from wellspring.models.architecture import Architecture, Sublayer, builtin

    if spec.definition is None:
        return builtin(spec.architecture)
    fields = spec.definition.model_dump()
    parts = {name: Sublayer(**part) for name, part in fields.pop("sublayers").items()}
    return Architecture(**fields, sublayers=parts)


def verify(description: Path, encoding: specs.EncodingSpec) -> Described:
    """A described model, after hashing its files again."""
    mend = f"make it again: snakemake --cores all --forcerun {description}"
    try:
        content: dict[str, Any] = json.loads(description.read_text(encoding="utf-8"))
        spec = specs.ModelSpec(**content["identity"]["spec"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise StaleArtefact(f"{description}: cannot be read ({reason}); {mend}") from None
    for key in ("architecture", "definition", "layers"):
        if getattr(spec, key) != getattr(encoding, key):
            raise StaleArtefact(f"{description}: describes another model; {mend}")
    place, adapter = _places(spec, description.parent)
    digest = _contents(place, adapter)["digest"]
    if digest != content["digest"]:
        raise StaleArtefact(f"{place}: the files are not those of {description}; {mend}")
    return Described(place, adapter, digest)


def variant(spec: specs.ModelSpec | specs.EncodingSpec) -> str | None:
    """The architecture's module, for the fingerprint; a definition stands in the spec itself."""
    return None if spec.definition else spec.architecture


def _make(wanted: specs.ModelSpec, folder: Path) -> Iterator[str]:
    """Make what cannot be used where it lies, beside the description; gives lines for the log."""
    from wellspring.models import adapters, conventions, sources, weights

    _clear(folder)
    if wanted.base is not None:
        base = _locate(wanted.base.source, folder)
        try:
            conventions.refuse(conventions.read(base), wanted.base.acknowledge)
        except ModelError as error:
            raise ModelError(f"the model that it copies ({wanted.base.source}): {error}") from None
        sources.make_random(base, folder, architecture(wanted), wanted.seed, wanted.trained_blocks)
        return
    place = _locate(wanted.source, folder)
    if (place / ADAPTER_CONFIG).is_file():
        # transformers would apply it unasked.
        raise ModelError(f"source: {place} holds an adapter: name that under adapter")
    adapter = _locate(wanted.adapter, folder, ADAPTER_CONFIG) if wanted.adapter else None
    found = conventions.read(place, adapter)
    conventions.refuse(found, wanted.acknowledge)
    yield from (f"the checkpoint's files say {line}" for line in found.summary())
    if not any(place.glob("model*.safetensors")):
        sources.refuse_two(place)
        weights.convert(place, folder)
    if adapter is None:
        return
    base = adapters.described(adapter).get("base_model_name_or_path")
    yield f"the adapter names its base: {base}"
    source = wanted.source.removeprefix("hub:").rpartition("@")[0]
    # Paths tell nothing; of names the owner may have been left out.
    named = wanted.source.startswith("hub:") and base and not base.startswith((".", "/", "~"))
    if named and base.rpartition("/")[2].lower() != source.rpartition("/")[2].lower():
        raise ModelError(f"adapter: {adapter} is for the base {base}, the source is {source}")
    if not (adapter / adapters.WEIGHTS).is_file():
        weights.convert(adapter, folder / ADAPTER)


def _clear(folder: Path) -> None:
    """Remove what an earlier source left, tokenizer included."""
    from wellspring.models.sources import small_files

    shutil.rmtree(folder / ADAPTER, ignore_errors=True)
    if not folder.is_dir():
        return
    for path in (
        *folder.glob("*.safetensors"),
        *folder.glob(".*.safetensors.part"),
        *folder.glob("*.safetensors.index.json"),
        *(folder / name for name in ("generation_config.json", *small_files(folder))),
    ):
        path.unlink(missing_ok=True)
        if path.parent != folder:
            path.parent.rmdir()


def _places(spec: specs.ModelSpec, folder: Path) -> tuple[Path, Path | None]:
    """Where a made or found checkpoint and its adapter lie."""
    beside = any(folder.glob("model*.safetensors"))
    place = folder if beside else _locate(spec.source, folder)
    if spec.adapter is None:
        return place, None
    stored = folder / ADAPTER
    return place, stored if stored.is_dir() else _locate(spec.adapter, folder, ADAPTER_CONFIG)


def _locate(source: str, folder: Path, holds: str = "config.json") -> Path:
    """The folder of a source; what comes from the hub lies in `hub` beside all models."""
    from wellspring.models import sources

    if source.startswith("hub:"):
        source = f"path:{folder.parent / 'hub' / specs.checkpoint(source)}"
    return sources.locate(source, holds)


def _contents(place: Path, adapter: Path | None) -> dict[str, Any]:
    """sha256 of every file, and one for all."""
    from wellspring.models import sources

    files = sources.files(place)
    content = {
        "weights": dict(files.weights),
        "tokenizer": dict(files.tokenizer),
        "config": dict(files.config),
        "adapter": sources.adapter_files(adapter) if adapter else {},
        "digest": files.digest,
    }
    if adapter:
        parts = json.dumps([files.digest, content["adapter"]], sort_keys=True)
        content["digest"] = hashlib.sha256(parts.encode()).hexdigest()
    return content

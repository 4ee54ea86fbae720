"""A described model: where its files lie, whether they are still those, and the model itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from wellspring import specs
from wellspring.config.base import is_fetched
from wellspring.errors import ModelError, StaleArtefact

if TYPE_CHECKING:
    from wellspring.attributions.ranking import Loader
    from wellspring.models.architecture import Architecture
    from wellspring.models.load import Backbone

ADAPTER_CONFIG = "adapter_config.json"
KINDS = ("weights", "tokenizer", "config")
"""Of a checkpoint's files, as its description names them."""
ADAPTER = "adapter"
"""Folder beside model.json for an adapter that had to be stored again."""


class Identity(BaseModel):
    """What a description stands for."""

    spec: specs.ModelSpec


class Description(BaseModel):
    """What a model.json says of its model, as far as that is read again."""

    identity: Identity
    digest: str
    """sha256 of everything that the model's vectors depend on."""
    weights: dict[str, str] = {}
    tokenizer: dict[str, str] = {}
    config: dict[str, str] = {}
    adapter: dict[str, str] = {}
    parameters: dict[str, int] = {}
    """`all`, and `embedding`: those of tables that are looked up."""

    @classmethod
    def read(cls, path: Path) -> Description:
        """Raises ValueError, in one line, where a file does not say it."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            reason = error.errors()[0]
            where = ".".join(str(part) for part in reason["loc"])
            raise ValueError(f"{where}: {reason['msg']}" if where else reason["msg"]) from None


@dataclass(frozen=True)
class Described:
    """A model whose files are those that its description names."""

    checkpoint: Path
    adapter: Path | None
    digest: str
    """sha256 of everything that its vectors depend on."""

    def load(self, encoding: specs.EncodingSpec, threads: int) -> Backbone:
        """The model of an encoding, on the GPU where there is one; torch then uses so many
        threads.

        Raises ModelError, which names the model, where its checkpoint cannot be used.
        """
        import torch

        from wellspring.models.load import load
        from wellspring.models.placement import reproducible

        torch.set_num_threads(threads)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cuda":
            reproducible()
        try:
            return load(
                self.checkpoint,
                architecture(encoding),
                encoding.layers,
                encoding.dtype,
                device,
                adapter=self.adapter,
            )
        except ModelError as error:
            raise ModelError(f"{encoding.model}: {error}") from None
        except (OSError, ValueError) as error:
            raise ModelError(f"{encoding.model}: {str(error).splitlines()[0]}") from None


def verify(description: Path, encoding: specs.EncodingSpec) -> Described:
    """A described model, after hashing its files again."""
    mend = f"make it again: snakemake --cores all --forcerun {description}"
    try:
        described = Description.read(description)
    except (OSError, ValueError) as error:
        raise StaleArtefact(f"{description}: cannot be read ({error}); {mend}") from None
    spec = described.identity.spec
    for key in ("architecture", "definition", "layers"):
        if getattr(spec, key) != getattr(encoding, key):
            raise StaleArtefact(f"{description}: describes another model; {mend}")
    checkpoint, adapter = folders(spec, description.parent)
    stored = contents(checkpoint, adapter)
    if stored["digest"] != described.digest:
        raise _foreign(description, described, stored, checkpoint, adapter)
    return Described(checkpoint, adapter, described.digest)


def _foreign(
    description: Path,
    described: Description,
    stored: Mapping[str, Any],
    checkpoint: Path,
    adapter: Path | None,
) -> StaleArtefact:
    """The error of a file that is not the described one, with the command that brings it back."""
    folder, name = next(
        (
            (folder or checkpoint, name)
            for kind, folder in (*dict.fromkeys(KINDS, checkpoint).items(), ("adapter", adapter))
            for name in sorted({*getattr(described, kind), *stored[kind]})
            if getattr(described, kind).get(name) != stored[kind].get(name)
        ),
        (checkpoint, ""),
    )
    fetched = folder / "fetched.json"
    paths = [each / "trained.json" for each in (folder, folder.parent)]
    trained = next((path for path in paths if path.is_file()), None)
    if fetched.is_file():
        mend = f"fetch it again: snakemake --cores all --forcerun {fetched}"
    elif trained:
        mend = f"train it again: snakemake --cores all --forcerun {trained}"
    elif description.parent in (folder, folder.parent):
        mend = f"make it again: snakemake --cores all --forcerun {description}"
    else:
        mend = (
            "bring it back, or, where the change is meant, describe it again: "
            f"snakemake --cores all --forcerun {description}"
        )
    return StaleArtefact(f"{folder / name}: is not the file that {description} describes; {mend}")


def loaders(
    own: Described,
    other: Described,
    encoding: specs.EncodingSpec,
    theirs: specs.EncodingSpec,
    threads: int,
) -> tuple[Loader, Loader | None]:
    """What loads the model of one side, and that of the other; None where it is the same."""
    alike = other == own and theirs.dtype == encoding.dtype
    return partial(own.load, encoding, threads), (
        None if alike else partial(other.load, theirs, threads)
    )


def architecture(spec: specs.ModelSpec | specs.EncodingSpec) -> Architecture:
    """The definition that a slice names: its own, or a built-in one."""
    from wellspring.models.architecture import Architecture, builtin

    if spec.definition is None:
        return builtin(spec.architecture)
    return Architecture(**dict(spec.definition))


def folders(spec: specs.ModelSpec, folder: Path) -> tuple[Path, Path | None]:
    """Where a made or found checkpoint and its adapter lie."""
    beside = any(folder.glob("model*.safetensors"))
    checkpoint = folder if beside else locate(spec.source, folder)
    if spec.adapter is None:
        return checkpoint, None
    stored = folder / ADAPTER
    return checkpoint, stored if stored.is_dir() else locate(spec.adapter, folder, ADAPTER_CONFIG)


def locate(source: str, folder: Path, holds: str = "config.json") -> Path:
    """The folder of a source; what was fetched lies in `hub` beside all models, and what
    training made in `trained`."""
    from wellspring.models import sources

    scheme, _, reference = source.partition(":")
    if is_fetched(source):
        source = f"path:{folder.parent / 'hub' / specs.checkpoint(source)}"
    elif scheme == "train":
        source = f"path:{folder.parent / 'trained' / reference}"
    return sources.locate(source, holds)


def contents(checkpoint: Path, adapter: Path | None) -> dict[str, Any]:
    """sha256 of every file, and one for all."""
    from wellspring.models import sources

    files = sources.files(checkpoint)
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


def advice(encoding: specs.EncodingSpec, backbone: Backbone) -> Iterator[str]:
    """What the user should know about the model before waiting for it."""
    import torch

    yield from backbone.notes
    able = torch.cpu.get_capabilities()
    fast = {
        "float32": True,
        "bfloat16": able.get("avx512_bf16") or able.get("amx_bf16") or able.get("bf16"),
        "float16": able.get("avx512_fp16") or able.get("amx_fp16") or able.get("fp16"),
    }
    if backbone.device.type == "cpu" and not fast[encoding.dtype]:
        yield f"this processor has no {encoding.dtype} arithmetic: float32 would be faster"
    if backbone.merged is not None:
        yield (
            f"adapter merged: rounding moved the outputs by {backbone.merged:.1e} of the largest"
        )
    if spread := getattr(backbone.model, "hf_device_map", None):
        yield f"the model is spread over {', '.join(sorted({str(p) for p in spread.values()}))}"

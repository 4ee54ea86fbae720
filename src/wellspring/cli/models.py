"""model: find or make a model's weights, and describe them in model.json."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from wellspring import atomic, shards, specs
from wellspring.artefacts import checkpoints
from wellspring.artefacts.datasets import Samples, Texts
from wellspring.artefacts.models import Model
from wellspring.cli.step import FILE, Job, step
from wellspring.errors import ModelError
from wellspring.plurals import counted


@step(Model, "description")
@click.option("--texts", multiple=True, type=FILE, help="Of datasets: what to learn to split.")
@click.option("--samples", multiple=True, type=FILE, help="Of the same.")
def model(job: Job, description: Path, texts: Sequence[Path], samples: Sequence[Path]) -> None:
    """Describe the model's checkpoint in DESCRIPTION (model.json), written last."""
    with job.alone(description):
        try:
            _describe(job, description, texts, samples)
        except BaseException:
            # Weights that nothing describes, of which the last file may be cut.
            _clear(description.parent)
            raise


def _describe(job: Job, description: Path, texts: Sequence[Path], samples: Sequence[Path]) -> None:
    from safetensors import SafetensorError

    from wellspring.models import adapters, load

    spec, folder = job.spec, description.parent
    try:
        for line in _make(spec, folder, texts, samples):
            job.say(line)
        checkpoint, adapter = checkpoints.folders(spec, folder)
        known = checkpoints.architecture(spec)
        layers, hidden = load.describe(checkpoint, known)
        if adapter:
            adapters.fit(load.skeleton(checkpoint, known), adapter, known.unused)
        contents = checkpoints.contents(checkpoint, adapter)
        contents["parameters"] = load.parameters(checkpoint, known)
    except ModelError as error:
        raise ModelError(f"models.{folder.name}: {error}") from None
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"models.{folder.name}: {_reason(error, folder)}") from None
    if layers != spec.layers:
        raise ModelError(
            f"models.{folder.name}.layers: the checkpoint has {counted(layers, 'layer')}, "
            f"the configuration says {spec.layers}"
        )
    provenance = job.provenance("torch", "transformers", "peft")
    shards.write_json(description, {**provenance.content(), **contents})
    job.counts({"layers": layers, "hidden_size": hidden})
    job.say(f"weights: {contents['digest']}")


def _reason(error: Exception, folder: Path) -> str:
    """What went wrong, in one line; what a disk refuses, with what to do about it."""
    # safetensors tells the operating system's number in its text alone.
    named = re.search(r"\(os error (\d+)\)", str(error))
    number = int(named[1]) if named else getattr(error, "errno", None)
    if number in atomic.ADVICE:
        return f"{folder}: cannot be written: {atomic.refusal(OSError(number, ''))}"
    return str(error).splitlines()[0]


def _make(
    spec: specs.ModelSpec, folder: Path, texts: Sequence[Path], samples: Sequence[Path]
) -> Iterator[str]:
    """Make what cannot be used where it lies, beside the description; gives lines for the log."""
    from wellspring.models import adapters, conventions, gguf, sources, weights

    _clear(folder)
    if spec.base is not None:
        yield from _make_random(spec, spec.base, folder, texts, samples)
        return
    checkpoint = checkpoints.locate(spec.source, folder)
    if (checkpoint / checkpoints.ADAPTER_CONFIG).is_file():
        # transformers would apply it unasked.
        raise ModelError(f"source: {checkpoint} holds an adapter: name that under adapter")
    adapter = None
    if spec.adapter:
        adapter = checkpoints.locate(spec.adapter, folder, checkpoints.ADAPTER_CONFIG)
    said = conventions.read(checkpoint, adapter)
    conventions.refuse(said, spec.acknowledge)
    yield from (f"the checkpoint's files say {line}" for line in said.summary())
    if file := sources.gguf(checkpoint):
        yield f"dequantised: {file.name}"
        gguf.dequantise(file, folder)
    elif not any(checkpoint.glob("model*.safetensors")):
        sources.refuse_two(checkpoint)
        weights.convert(checkpoint, folder)
    if adapter is None:
        return
    base = adapters.described(adapter).get("base_model_name_or_path")
    yield f"the adapter names its base: {base}"
    source = spec.source.removeprefix("hub:").rpartition("@")[0]
    # Paths tell nothing; of names the owner may have been left out.
    comparable = spec.source.startswith("hub:") and not (base or "").startswith((".", "/", "~"))
    if comparable and base and base.rpartition("/")[2].lower() != source.rpartition("/")[2].lower():
        raise ModelError(f"adapter: {adapter} is for the base {base}, the source is {source}")
    if not (adapter / adapters.WEIGHTS).is_file():
        weights.convert(adapter, folder / checkpoints.ADAPTER)


def _make_random(
    spec: specs.ModelSpec,
    copied: specs.ModelSpec,
    folder: Path,
    texts: Sequence[Path],
    samples: Sequence[Path],
) -> Iterator[str]:
    """Make a fresh model of the architecture of another; gives lines for the log."""
    from wellspring.models import conventions, sources

    base = checkpoints.locate(copied.source, folder)
    try:
        conventions.refuse(conventions.read(base), copied.acknowledge)
    except ModelError as error:
        raise ModelError(f"the model that it copies ({copied.source}): {error}") from None
    known = checkpoints.architecture(spec)
    sizes = spec.sizes.model_dump(exclude_none=True) if spec.sizes else None
    own, tokenizer = spec.tokenizer, None
    with (
        _readable(base, weights=spec.trained_blocks is not None) as read,
        TemporaryDirectory() as trained,
    ):
        if own and own.source:
            tokenizer = checkpoints.locate(own.source, folder, "tokenizer.json")
        elif own:
            from wellspring.models import vocabulary

            tokenizer = Path(trained)
            learned = vocabulary.learned(
                [Texts.read(path) for path in texts], [Samples.read(path) for path in samples]
            )
            size = vocabulary.train(read, tokenizer, learned, own.vocabulary or 0)
            yield f"tokenizer: {counted(size, 'token')}, of {counted(len(learned), 'text')}"
        sources.make_random(
            read, folder, known, spec.seed or 0, spec.trained_blocks, sizes, tokenizer
        )


@contextmanager
def _readable(checkpoint: Path, *, weights: bool) -> Iterator[Path]:
    """The checkpoint as a folder that transformers reads: of a GGUF file, one until the block ends.

    weights: whether they are read, too.
    """
    from wellspring.models import gguf, sources

    file = sources.gguf(checkpoint)
    if file is None:
        yield checkpoint
        return
    with TemporaryDirectory() as folder:
        (gguf.dequantise if weights else gguf.outline)(file, Path(folder))
        yield Path(folder)


def _clear(folder: Path) -> None:
    """Remove what an earlier source left, tokenizer included."""
    from wellspring.models.sources import small_files

    shutil.rmtree(folder / checkpoints.ADAPTER, ignore_errors=True)
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

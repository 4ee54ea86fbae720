"""A small folder of results with planted content: what readers of results are held against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from wellspring import shards, specs
from wellspring.artefacts import scores
from wellspring.artefacts.attributions import AttributionShard
from wellspring.artefacts.base import Artefact
from wellspring.artefacts.datasets import Judgements, Samples, Texts
from wellspring.artefacts.embeddings import EmbeddingShard
from wellspring.artefacts.probes import ProbeOutcomes
from wellspring.artefacts.registry import kinds_of
from wellspring.artefacts.verdicts import Cautions

TOPICS = ("stone", "river", "cloud", "forest", "engine", "violin")
DIGESTS = {"query": "of queries", "passage": "of passages"}
LAYERS, WIDTH = 3, 4
NEURONS = {"intermediate": 6, "output": 4}
ENCODING = specs.EncodingSpec(
    model="tiny",
    architecture="bert",
    layers=2,
    side="query",
    pooling="mean",
    template="{text}",
    length=32,
    normalise=False,
    dtype="float32",
    storage="float16",
)
ATTRIBUTION = specs.AttributionSpec(
    target="norm",
    similarity=None,
    method="weights",
    quadrature="gauss-legendre",
    points=8,
    tolerance=None,
    sublayers=["intermediate", "output"],
    texts=None,
    text="original",
    seed=0,
    encoding=ENCODING,
    padding=None,
    partner=None,
    judgements=None,
    samples=None,
    shards=1,
)


def vectors(layer: int) -> np.ndarray:
    """float32 [6, 4], the vectors of the queries at a layer: text i + 3 is nearest to text i."""
    base = np.random.default_rng(layer).normal(size=(3, WIDTH))
    return np.concatenate([base, 2 * base]).astype(np.float16).astype(np.float32)


def shares(layer: int, sublayer: str) -> np.ndarray:
    """float32 [6, neurons], absolute scores over the largest of each text."""
    rng = np.random.default_rng([layer, len(sublayer)])
    values = rng.uniform(0.1, 0.8, (len(TOPICS), NEURONS[sublayer]))
    values[:, 1] = 1
    return values.astype(np.float16).astype(np.float32)


def ids(side: str) -> list[str]:
    return [f"{side[0]}{number}" for number in range(len(TOPICS))]


def plant(folder: Path) -> Path:
    """The folder of results, with a dataset, embeddings in two shards, a probe job, attributions of
    two layers, and a table of the study `small`; text q5 is quiet in layer 2."""
    results = folder / "results"
    texts = [
        {"text_id": name, "side": side, "text": f"{side} about {topic}"}
        for side in ("query", "passage")
        for name, topic in zip(ids(side), TOPICS, strict=True)
    ]
    _write(results, Texts("toy"), pl.DataFrame(texts), texts=DIGESTS)
    _write(results, Judgements("toy"), pl.DataFrame(schema=Judgements.schema()))
    _write(results, Samples("toy"), _samples())
    for shard in range(2):
        _embed(results, shard)
    _probe(results)
    for layer in (1, 2):
        _attribute(results, layer)
    caution = {"caution": "few-questions", "dataset": "toy", "value": 6.0, "limit": 30.0}
    schema = Cautions.schema()
    _write(results, Cautions("small"), pl.DataFrame([caution], schema))
    return results


def _write(results: Path, artefact: Artefact, table: pl.DataFrame, **identity: object) -> None:
    provenance = shards.Provenance({"step": artefact.step, **identity}, key="k")
    artefact.write(artefact.at(results), table, provenance)


def _samples() -> pl.DataFrame:
    rows = [
        {
            "sample_id": f"s{number}",
            "split": "test",
            "published": None,
            "query_id": f"q{number}",
            "positive_id": f"p{number}",
            "negative_ids": [f"p{(number + 1) % 6}", f"p{(number + 2) % 6}"],
        }
        for number in range(6)
    ]
    return pl.DataFrame(rows, Samples.schema(negative_ids=pl.List(pl.String)))


def _embed(results: Path, shard: int) -> None:
    """Every other three of the queries."""
    spec = specs.EmbedSpec(encoding=ENCODING, shard=shard, shards=2)
    rows = slice(3 * shard, 3 * shard + 3)
    identity = {
        "step": "embeddings",
        "spec": spec.model_dump(mode="json"),
        "weights": "w",
        "texts": DIGESTS["query"],
    }
    path = EmbeddingShard("tiny", "toy", "query", shard).at(results)
    shape = (LAYERS, WIDTH, "float16")
    with shards.vectors(path, *shape, shards.Provenance(identity, key="k")) as writer:
        writer.write(ids("query")[rows], np.stack([vectors(n)[rows] for n in range(LAYERS)]))


def _probe(results: Path) -> None:
    """Sample s0 is right under every seed of `cosine`, s1 under one of two, all others never."""
    rows = [
        {
            "probe": probe,
            "seed": seed,
            "sample_id": f"s{number}",
            "query_id": f"q{number}",
            "correct": credit,
            "chance": 0.5,
        }
        for probe in ("cosine", "random-label")
        for seed in (0, 1)
        for number in range(6)
        for credit in [float(probe == "cosine" and number + seed < 2)]
    ]
    for kind in kinds_of("probe"):
        table = pl.DataFrame(rows if kind is ProbeOutcomes else [], kind.schema())
        _write(results, kind("tiny", "toy", 2, 3), table, layer=2, passages=3)


def _attribute(results: Path, layer: int) -> None:
    """Scores are shares times the number of the text and one; all signs are minus."""
    quiet = ["q5"] if layer == 2 else []
    identity = {
        "step": "attributions",
        "spec": ATTRIBUTION.model_dump(mode="json"),
        "shard": 0,
        "layer": layer,
        "weights": "w",
        "partner": None,
        "texts": DIGESTS,
        "paraphrases": None,
    }
    made = shards.Provenance(identity, facts={scores.QUIET: quiet}, key="k")
    schema = scores.schema(NEURONS, ATTRIBUTION)
    scale = np.arange(1, 7, dtype=np.float32)
    if quiet:
        scale[5] = 0
    columns: dict[str, object] = {"text_id": ids("query"), "full": np.ones(6, np.float32)}
    for name in NEURONS:
        columns |= dict.fromkeys((f"{name}_change", f"{name}_residual"), np.ones(6, np.float32))
        columns[f"{name}_scale"] = scale
        columns[f"{name}_scores"] = shares(layer, name).astype(np.float16)
        columns[f"{name}_signed"] = -shares(layer, name).astype(np.float16)
    path = AttributionShard("norm", "tiny", "toy", "query", layer, 0).at(results)
    with shards.stream(path, schema, made) as writer:
        writer.write([columns[field.name] for field in schema])

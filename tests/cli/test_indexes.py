"""The commands of indexes, on planted neighbours: vectors to the study's table, and its figure."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.cli.test_cli import run as command
from tests.config.test_config import DEFAULT
from wellspring import shards, specs
from wellspring.artefacts.base import Artefact
from wellspring.artefacts.datasets import Qrels, Texts
from wellspring.artefacts.embeddings import EmbeddingShard
from wellspring.artefacts.figures import Figure
from wellspring.artefacts.indexes import Indexes, IndexMetrics, IndexTimes
from wellspring.artefacts.verdicts import Cautions
from wellspring.config import Config, parse
from wellspring.errors import StaleArtefact, WellspringError

GROUPS, EACH, HIDDEN, LAYERS = 24, 20, 16, 7
DIGESTS = {"query": "of queries", "passage": "of passages"}
LISTS = [{"kind": "lists", "lists": 9, "probes": [1, 9]}]
GRAPH = [{"kind": "graph", "m": 4, "ef_construction": 20, "ef_search": [1, 60]}]


def configured(indexes: list, **more: object) -> Config:
    raw = copy.deepcopy(DEFAULT)
    block = {"retrievers": ["minilm"], "datasets": ["pydocs"], "indexes": indexes, "depth": 30}
    block["measures"] = ["R@30", "nDCG@10", "P@1"]
    raw["study"]["name"], raw["study"]["search"] = "small", block | more
    return parse(raw)


def plant(results: Path, config: Config) -> None:
    """Texts, judgements and embeddings: a query a group, whose first document alone is relevant.

    Lengths differ, so that inner products would rank otherwise than cosines do.
    """
    rng = np.random.default_rng(0)
    queries = rng.standard_normal((GROUPS, HIDDEN))
    corpus = np.repeat(queries, EACH, 0) + 0.5 * rng.standard_normal((GROUPS * EACH, HIDDEN))
    sides = {"query": queries, "passage": corpus * rng.uniform(1, 5, (len(corpus), 1))}
    ids = {side: [f"{side[0]}{n:03d}" for n in range(len(rows))] for side, rows in sides.items()}
    spec = specs.index(config, "minilm", "pydocs")
    texts = [
        {"text_id": name, "side": side, "text": name}
        for side, names in ids.items()
        for name in names
    ]
    _write(results, Texts("pydocs"), pl.DataFrame(texts), texts=DIGESTS)
    qrels = [
        {
            **{"split": "test", "query_id": query, "cluster": query},
            **{"text_id": ids["passage"][EACH * n], "grade": 1},
        }
        for n, query in enumerate(ids["query"])
    ]
    told = {"spec": spec.qrels.model_dump(mode="json"), "texts": DIGESTS, "judgements": "j"}
    _write(results, Qrels("pydocs"), pl.DataFrame(qrels), **told)
    for side, rows in sides.items():
        encoding = getattr(spec, side)
        shard = specs.EmbedSpec(encoding=encoding, shard=0, shards=spec.shards)
        identity = {"spec": shard.model_dump(mode="json"), "texts": DIGESTS[side], "weights": "w"}
        artefact = EmbeddingShard("minilm", "pydocs", side, 0)
        made = shards.Provenance({"step": artefact.step, **identity}, key="k")
        # Rows lie in any order; layers below the last one hold nothing of use.
        order = rng.permutation(len(rows))
        layers = np.zeros((LAYERS, len(rows), HIDDEN), np.float32)
        layers[-1] = rows[order]
        with shards.vectors(artefact.at(results), LAYERS, HIDDEN, "float32", made) as writer:
            writer.write([ids[side][row] for row in order], layers)


def _write(results: Path, artefact: Artefact, table: pl.DataFrame, **identity: object) -> None:
    made = shards.Provenance({"step": artefact.step, **identity}, key="k")
    artefact.write(artefact.at(results), table, made)


def index(results: Path, config: Config) -> None:
    names = ("minilm", "pydocs")
    files = [Texts("pydocs"), Qrels("pydocs"), IndexMetrics(*names), IndexTimes(*names)]
    folders = [
        part
        for side in ("query", "passage")
        for part in (f"--{side}", EmbeddingShard("minilm", "pydocs", side, 0).at(results).parent)
    ]
    spec = specs.index(config, *names).canonical()
    paths = [file.at(results) for file in files]
    command("index", *paths, *folders, "--spec", spec, "--key", "k" * 32)


def gather(results: Path, config: Config) -> None:
    spec = specs.indexes(config)
    # Its counterpart has no vectors here.
    own = [grid for grid in spec.indexed if grid.retriever == "minilm"]
    text = spec.model_copy(update={"indexed": own}).canonical()
    table = Indexes("small").at(results)
    command("indexes", table, "--results", results, "--spec", text, "--key", "k" * 32)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    results, config = tmp_path_factory.mktemp("indexes") / "results", configured(GRAPH + LISTS)
    plant(results, config)
    index(results, config)
    gather(results, config)
    return results


def test_all_lists_find_what_exact_search_finds_and_one_does_not(made):
    values = IndexMetrics.read(IndexMetrics("minilm", "pydocs").at(made))
    assert set(values["layer"]) == {6}
    assert set(values.select("documents", "hidden").rows()) == {(GROUPS * EACH, HIDDEN)}
    keys = ["measure", "query_id", "value"]
    exact, every, one = (
        values.filter(pl.col("setting").eq_missing(setting)).select(keys)
        for setting in (None, "9 probes", "1 probe")
    )
    assert exact.equals(every)
    recalls = pl.col("measure").str.starts_with("recall@")
    assert set(values.filter(recalls)["measure"]) == {"recall@1", "recall@10", "recall@30"}
    assert (every.filter(recalls)["value"] == 1).all()
    assert one.filter(measure="recall@30")["value"].mean() < 1


def test_exact_search_compares_cosines(made):
    """Against a ranking of everything in float64."""
    sides = {
        side: shards.read_vectors(EmbeddingShard("minilm", "pydocs", side, 0).at(made), LAYERS - 1)
        for side in ("query", "passage")
    }
    (queries, asked), (documents, corpus) = (
        (np.array(ids), rows.astype(np.float64)) for ids, rows in sides.values()
    )
    cosines = asked @ corpus.T / np.linalg.norm(corpus, axis=1)
    first = dict(zip(queries, documents[cosines.argmax(axis=1)], strict=True))
    values = IndexMetrics.read(IndexMetrics("minilm", "pydocs").at(made))
    rows = values.filter(index="exact", measure="P@1")
    right = {f"q{n:03d}": f"p{EACH * n:03d}" for n in range(GROUPS)}
    assert dict(rows.select("query_id", "value").iter_rows()) == {
        query: float(first[query] == right[query]) for query in right
    }


def test_a_graph_finds_more_where_it_looks_further(made):
    table = Indexes.read(Indexes("small").at(made))
    graph = table.filter(pl.col("setting").str.starts_with("ef_search"), measure="recall@1")
    assert graph["estimate"].to_list() == sorted(graph["estimate"].to_list())
    assert table["measure"].unique(maintain_order=True).to_list() == [
        *("R@30", "nDCG@10", "P@1", "recall@1", "recall@10", "recall@30")
    ]
    assert table.filter(index="exact")["difference"].null_count() == 6
    assert (table["milliseconds"] <= table["slow_milliseconds"]).all()
    assert Indexes("small").at(made).with_suffix(".csv").is_file()


def test_times_change_no_byte_of_what_was_found(made, tmp_path):
    config = configured(GRAPH + LISTS)
    plant(tmp_path, config)
    index(tmp_path, config)
    kinds = (IndexMetrics, IndexTimes)
    (values, times), (ours, theirs) = (
        [kind("minilm", "pydocs").at(each).read_bytes() for each in (made, tmp_path)]
        for kind in kinds
    )
    assert values == times and ours != theirs
    first, second = (json.loads(each) for each in (ours, theirs))
    assert first["identity"] == second["identity"] and first["key"] == second["key"]
    assert first["facts"]["repeats"] == 5 and len(first["facts"]["times"]) == 5 * 3


def test_the_figure_is_written_twice(made):
    config = configured(GRAPH + LISTS)
    schema = Cautions.schema()
    _write(made, Cautions("small"), pl.DataFrame(schema=schema))
    figure = Figure("small", "pydocs", "indexes")
    assert figure in [*Figure.asked(config)]
    png = figure.at(made)
    tables = [kind("small").at(made) for kind in (Indexes, Cautions)]
    spec = figure.spec(config).canonical()
    command("figure", *tables, png.with_suffix(".pdf"), png, "--spec", spec, "--key", "k" * 32)
    assert png.stat().st_size > 5_000 and png.with_suffix(".pdf").is_file()


def test_what_cannot_be_indexed_is_one_line(made, tmp_path):
    many = configured([{"kind": "lists", "lists": 481}])
    plant(tmp_path, many)
    with pytest.raises(WellspringError, match=r"^study\.search\.indexes: 481 lists for 480"):
        index(tmp_path, many)
    with pytest.raises(WellspringError, match=r"no query is in the split 'train'"):
        index(tmp_path, configured(LISTS, queries="train"))
    with pytest.raises(StaleArtefact, match=r"indexes\.parquet: was made with another spec"):
        gather(made, configured(LISTS))

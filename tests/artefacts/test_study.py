"""A study opened to be read: every accessor against the planted content, every error in a line."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

import wellspring
from tests.support import results as planted
from wellspring.artefacts.embeddings import EmbeddingShard
from wellspring.errors import StaleArtefact, WellspringError


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return planted.plant(tmp_path_factory.mktemp("planted"))


@pytest.fixture
def study(results):
    return wellspring.open(results, "small")


def test_importing_the_package_loads_no_library():
    code = "import sys, wellspring; wellspring.open; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"polars", "numpy", "pyarrow", "torch", "pydantic", "snakemake", "rich"}


def test_vectors_are_those_of_all_shards(study):
    for layer in range(planted.LAYERS):
        ids, values = study.vectors("tiny", "toy", "query", layer)
        assert ids == planted.ids("query") and values.dtype == np.float32
        np.testing.assert_array_equal(values, planted.vectors(layer))


def test_scores_are_those_that_were_stored(study):
    scores = study.scores("norm", "tiny", "toy", "query", text="q2")
    assert scores.columns == ["text_id", "layer", "sublayer", "neuron", "score"]
    for layer in (1, 2):
        for name, width in planted.NEURONS.items():
            own = scores.filter(layer=layer, sublayer=name)
            assert own["neuron"].to_list() == list(range(width))
            np.testing.assert_allclose(own["score"], 3 * planted.shares(layer, name)[2])
    signed = study.scores("norm", "tiny", "toy", "query", layer=1, signed=True)
    # The last text is quiet in layer 2, and is left out in all.
    assert signed["text_id"].unique(maintain_order=True).to_list() == planted.ids("query")[:5]
    assert signed.height == 5 * sum(planted.NEURONS.values())
    assert signed.schema["score"] == pl.Float32 and signed.schema["neuron"] == pl.Int64
    first = signed.filter(text_id="q0", sublayer="output")["score"]
    np.testing.assert_allclose(first, -planted.shares(1, "output")[0])


def test_tables_have_their_wildcards_as_columns(study):
    outcomes = study.outcomes("tiny", "toy", layer=2)
    assert outcomes.columns[:5] == ["retriever", "dataset", "layer", "passages", "probe"]
    assert outcomes.schema["layer"] == pl.Int64 and outcomes.height == 24
    assert study.table("probes", passages=3).equals(outcomes)
    assert study.table("probe", columns=["sample_id"]).columns == [
        *outcomes.columns[:4],
        "sample_id",
    ]
    assert study.cautions.columns[0] == "caution" and study.cautions.height == 1
    columns = ["text_id", "output_scale"]
    scale = study.table("attributions", layer=2, columns=columns)["output_scale"]
    assert scale.to_list() == [1, 2, 3, 4, 5, 0]


def test_texts_and_samples_are_those_of_a_side_or_split(study):
    assert study.texts("toy").height == 12
    queries = study.texts("toy", "query")
    assert queries.columns == ["text_id", "side", "text"]
    assert queries["text"][1] == "query about river"
    assert study.samples("toy", "test").height == 6 and study.samples("toy", "train").is_empty()


def test_how_a_file_was_made_is_told(study):
    made = study.provenance("embeddings", encoder="tiny", shard=1)
    assert made["identity"]["spec"]["shard"] == 1 and made["key"] == "k"
    with pytest.raises(WellspringError, match="embeddings: 2 files fit: say more of encoder, data"):
        study.provenance("embeddings")


def test_it_says_what_it_holds(study):
    text = repr(study)
    assert text.startswith("The study 'small' in ") and text.count("\n") > 5
    assert "embedding-shard: 2 files (encoder tiny; dataset toy; side query; shard 0, 1)" in text
    assert "  cautions: 1 file\n" in f"{text}\n"
    page = study._repr_html_()
    assert page.startswith("<table>") and "<td>embedding-shard</td><td>2</td>" in page
    assert {"texts", "embedding-shard", "probe-metrics", "cautions"} <= set(study.kinds())


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda s: s.table("powr"), "'powr' is no kind of table; here are: texts, judgements"),
        (lambda s: s.table("datasets"), "'datasets' is a folder of several kinds"),
        (lambda s: s.table("figure"), "'figure' is a folder of several kinds of files, or of no"),
        (lambda s: s.findings, "holds no findings; the rule findings makes it"),
        (lambda s: s.table("embeddings"), "embedding-shard holds vectors: name the columns"),
        (lambda s: s.table("cautions", columns=["x"]), "has no column x; there are: caution,"),
        (lambda s: s.vectors("big", "toy", "query", 0), "with encoder big; there are: tiny"),
        (lambda s: s.vectors("tiny", "toy", "query", 9), "query: has no layer 9, but 0 to 2"),
        (
            lambda s: s.scores("norm", "tiny", "toy", "query", layer=7),
            "no layer 7; there are: 1, 2",
        ),
        (lambda s: s.scores("norm", "tiny", "toy", "query"), "name a layer or a text"),
        (lambda s: s.scores("norm", "tiny", "toy", "query", text="q5"), "'q5' is not among"),
        (lambda s: s.outcomes("tiny", "toy", passages=9), "with passages 9; there are: 3"),
        (lambda s: s.outcomes("Tiny", "toy"), "'Tiny' is no retriever of probe-outcomes"),
    ],
)
def test_what_is_not_there_is_one_line(study, ask, message):
    with pytest.raises(WellspringError, match=message) as caught:
        ask(study)
    assert "\n" not in str(caught.value)


def test_a_study_that_is_not_there_is_one_line(results, tmp_path):
    assert wellspring.open(results).name == "small"
    with pytest.raises(WellspringError, match="holds no study 'other'; there are: small"):
        wellspring.open(results, "other")
    with pytest.raises(WellspringError, match="is no folder"):
        wellspring.open(tmp_path / "nowhere")
    with pytest.raises(WellspringError, match="holds no study; start snakemake first"):
        wellspring.open(tmp_path)


def test_a_shard_that_is_missing_or_of_other_texts_is_refused(tmp_path):
    results = planted.plant(tmp_path)
    study = wellspring.open(results)
    path = EmbeddingShard("tiny", "toy", "query", 1).at(results)
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(StaleArtefact, match=r"shard-001\.parquet: does not exist; make it again"):
        study.vectors("tiny", "toy", "query", 0)
    path.write_bytes(content.replace(b"of queries", b"of QUERIES"))
    with pytest.raises(StaleArtefact, match=r"shard-001\.parquet: its texts is not the one asked"):
        study.vectors("tiny", "toy", "query", 0)
    path.write_bytes(content[:-9])
    with pytest.raises(StaleArtefact, match="cannot be read"):
        study.vectors("tiny", "toy", "query", 0)

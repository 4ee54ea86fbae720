"""`wellspring inspect`: planted content is shown, and what cannot be trusted is one line."""

from __future__ import annotations

import json
import shutil

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.artefacts.test_lookup import BROKEN, another_place, another_step, other_columns
from tests.support import results as planted
from wellspring import shards
from wellspring.artefacts import contents, inspection, kinds, lookup
from wellspring.artefacts.attributions import AttributionShard
from wellspring.artefacts.embeddings import EmbeddingShard
from wellspring.artefacts.probes import ProbeMetrics, ProbeOutcomes
from wellspring.cli import cli
from wellspring.errors import StaleArtefact, WellspringError
from wellspring.inspection import vectors

FIRST = EmbeddingShard("tiny", "toy", "query", 0)


@pytest.fixture
def results(tmp_path):
    return planted.plant(tmp_path)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The same for all tests that leave it as it was."""
    return planted.plant(tmp_path_factory.mktemp("kept"))


def told(*arguments: object) -> str:
    """What a command prints; its error comes as an exception."""
    result = CliRunner().invoke(cli, ["inspect", *map(str, arguments)])
    if result.exception:
        raise result.exception
    return result.stdout


def facts(*arguments: object) -> dict:
    return json.loads(told(*arguments, "--json"))


def test_a_shard_is_shown_with_its_layers_and_neighbours(results):
    found = facts(FIRST.at(results))
    assert found["kind"] == "embedding-shard" and found["rule"] == "embed"
    assert found["wildcards"] == {"encoder": "tiny", "dataset": "toy", "side": "query", "shard": 0}
    assert (found["rows"], found["row_groups"]) == (3, 1)
    ids, layers = found["columns"]
    assert ids["column"] == "text_id" and layers["column"] == "layer_00 … layer_02"
    assert layers["count"] == 3 and "0 = embedding output" in layers["meaning"]
    assert found["provenance"]["identity"]["weights"] == "w" and found["provenance"]["key"] == "k"
    assert found["layers"]["note"] == "all 3 texts; anisotropy: all 3 texts"
    for layer, row in enumerate(found["layers"]["rows"]):
        block = planted.vectors(layer)[:3]
        expected = vectors.spread(vectors.norms(block), block)
        assert row["norm_mean"] == pytest.approx(expected.mean)
        assert row["anisotropy"] == pytest.approx(expected.anisotropy.estimate[0])
        assert row["not_finite"] == 0
    nearest, cosines = vectors.neighbours(planted.vectors(2)[:3], range(3))
    for row, other, cosine in zip(found["neighbours"]["rows"], nearest, cosines, strict=True):
        assert row["neighbour_id"] == f"q{other}" and row["cosine"] == pytest.approx(cosine)
        assert row["neighbour"] == f"query about {planted.TOPICS[other]}"


def test_of_a_large_shard_a_sample_is_shown_that_depends_on_the_ids_alone(results, monkeypatch):
    monkeypatch.setattr(contents, "ROWS", 4)
    path = FIRST.at(results)
    x = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float16)
    made = shards.provenance(path)
    with shards.vectors(path, 1, 2, "float16", made) as writer:
        for start in range(0, 40, 10):
            writer.write([f"q{n}" for n in range(start, start + 10)], x[None, start : start + 10])
            writer.flush()
    whole = facts(path)
    assert whole["layers"]["note"] == "all 40 texts; anisotropy: a sample of 4 of 40 texts"
    assert whole["layers"]["rows"][0]["norm_max"] == pytest.approx(vectors.norms(x).max())
    with shards.opened(path) as file:
        ids, _ = contents._drawn(file, contents.Groups([0, 1, 2, 3], 40, 40))
    assert len(ids) == 4 and [row["text_id"] for row in whole["neighbours"]["rows"]] == ids
    monkeypatch.setattr(contents, "BYTES", 1)
    part = facts(path)
    note = "a sample of 10 of 40 texts, drawn from 1 row group"
    assert part["layers"]["note"].startswith(note)
    assert part["layers"] == facts(path)["layers"]


def test_a_probe_file_is_shown_with_its_hardest_samples(results):
    found = facts("probes", "tiny", "--results", results)
    assert found["path"].endswith("layer-02/passages-3.parquet")
    cosine, random = found["accuracy"]["rows"]
    assert cosine["probe"] == "cosine" and cosine["accuracy"] == pytest.approx(0.25)
    assert cosine["above_chance"] == pytest.approx(-0.5) and random["accuracy"] == 0
    hardest = found["hardest"]["rows"]
    # Those that earn nothing stand in a random order.
    assert {row["sample_id"] for row in hardest[:4]} == {"s2", "s3", "s4", "s5"}
    assert hardest[4]["sample_id"] == "s1" and hardest[4]["correct"] == 0.5
    (second,) = (row for row in hardest if row["sample_id"] == "s2")
    assert second["query"] == "query about cloud" and second["positive"] == "passage about cloud"


def test_other_files_of_a_probe_job_are_tables(results):
    found = facts("probe-metrics", "tiny", "toy", 2, 3, "--results", results)
    assert found["head"] == {"note": "there are none", "rows": []}
    columns = [row["column"] for row in found["columns"]]
    assert columns == list(ProbeMetrics.columns)


def test_an_attribution_file_is_shown_with_the_texts_that_light_its_neurons(results):
    found = facts(AttributionShard("norm", "tiny", "toy", "query", 2, 0).at(results))
    rows = found["output_neurons"]["rows"]
    # Neuron 1 has every text's largest score.
    assert [row["neuron"] for row in rows[:3]] == [1, 1, 1] and rows[0]["mean_share"] == 1
    assert [row["text_id"] for row in rows[:3]] == ["q0", "q1", "q2"]
    assert "all 6 texts, 1 of them quiet" in found["output_neurons"]["note"]
    means = planted.shares(2, "intermediate")[:5].mean(0)
    rows = found["intermediate_neurons"]["rows"]
    shown = list(dict.fromkeys(row["neuron"] for row in rows))
    assert shown == np.argsort(-means, kind="stable")[:5].tolist()
    brightest = planted.shares(2, "intermediate")[:5, shown[1]].argmax()
    assert rows[3]["text"] == f"query about {planted.TOPICS[brightest]}"


def test_names_that_fit_several_files_list_them(results):
    found = facts("embeddings", "tiny", "toy", "--results", results)
    paths = [row["path"] for row in found["files"]]
    assert paths == [str(EmbeddingShard("tiny", "toy", "query", n).at(results)) for n in (0, 1)]
    assert found["bytes"] == sum(row["bytes"] for row in found["files"])
    text = told("datasets", "toy", "--results", results)
    assert "2 files" in text and "texts.parquet" in text and "kB in all; name one" in text


def test_every_kind_of_planted_file_is_shown(results):
    for kind in kinds():
        for artefact in lookup.existing(results, kind):
            text = told(artefact.at(results))
            assert f"made by the rule {kind.rule}" in text and "Provenance" in text
    text = told("cautions", "--results", results)
    assert "few-questions" in text and "the limit that this passes" in text
    assert not {"│", "┃", "━"} & set(text)


def test_two_files_are_compared(results, tmp_path):
    own, other = FIRST.at(results), tmp_path / "other.parquet"
    shutil.copyfile(own, other)
    same = facts(own, "--with", other)
    assert all(row["same"] for row in same["said"]["rows"])
    assert all(row["differing_rows"] == 0 for row in same["differences"]["rows"])
    made = shards.provenance(own)
    spec = {**made.identity["spec"], "shards": 3}
    changed = shards.Provenance({**made.identity, "spec": spec}, key="k")
    x = np.stack([planted.vectors(layer)[:3] for layer in range(3)])
    x[1, 2] *= -1
    x[2, 1, 0] += 1
    with shards.vectors(other, 3, 4, "float16", changed) as writer:
        writer.write(["q0", "q1", "q2"], x)
    found = facts(own, "--with", other)
    identity = found["said"]["rows"][0]
    assert identity == {
        "part": "identity",
        "same": False,
        "first_difference": "spec.shards: 2 here, 3 there",
    }
    _, zero, one, two = found["differences"]["rows"]
    assert zero["differing_rows"] == 0 and zero["cosine_min"] == pytest.approx(1)
    assert one["first_row"] == 2 and one["cosine_min"] == pytest.approx(-1)
    assert one["cosine_mean"] == pytest.approx(1 / 3)
    assert two["largest_difference"] == pytest.approx(1, abs=1e-2) and two["at_row"] == 1
    with shards.vectors(other, 3, 4, "float16", changed) as writer:
        writer.write(["q0", "q2", "q1"], x)
    note = facts(own, "--with", other)["differences"]["note"]
    assert note == "from row 1 on text_id differs: nothing is compared behind that"
    with shards.vectors(other, 2, 4, "float32", changed) as writer:
        writer.write(["q0"], x[:2, :1])
    found = facts(own, "--with", other)
    assert [row["column"] for row in found["columns"]["rows"]] == [
        "layer_00",
        "layer_01",
        "layer_02",
    ]
    assert found["differences"]["note"] == "3 rows here and 1 there: they are not compared"


def test_tables_are_compared_however_they_are_cut(results, tmp_path, monkeypatch):
    job = ProbeOutcomes("tiny", "toy", 2, 3)
    own, other = job.at(results), tmp_path / "other.parquet"
    table = pl.read_parquet(own)
    later = table.with_columns(
        correct=pl.when(pl.int_range(pl.len()) == 20).then(0.25).otherwise("correct")
    )
    import pyarrow.parquet as pq

    metadata = {shards.KEY: shards.provenance(own).encode()}
    pq.write_table(later.to_arrow().replace_schema_metadata(metadata), other, row_group_size=7)
    from wellspring.artefacts import comparing

    monkeypatch.setattr(comparing, "ROWS", 5)
    rows = {row["column"]: row for row in facts(own, "--with", other)["differences"]["rows"]}
    assert rows["correct"]["largest_difference"] == 0.25 and rows["correct"]["first_row"] == 20
    assert rows["probe"]["differing_rows"] == 0


@pytest.mark.parametrize(("harm", "message"), BROKEN)
def test_a_file_that_cannot_be_trusted_is_one_line(results, harm, message):
    path = FIRST.at(results)
    harm(path)
    with pytest.raises(StaleArtefact, match=message):
        told(path)
    if path.exists():
        # It lies between others, which are listed.
        with pytest.raises(StaleArtefact, match=message):
            told("embeddings", "tiny", "--results", results)
    whole = EmbeddingShard("tiny", "toy", "query", 1).at(results)
    if harm not in (other_columns, another_step, another_place):
        with pytest.raises(StaleArtefact) as caught:
            told(whole, "--with", path)
        assert "\n" not in str(caught.value)


WHOLE = (FIRST, AttributionShard("norm", "tiny", "toy", "query", 1, 0))
HARMS = st.tuples(st.sampled_from(WHOLE), st.floats(0, 1), st.integers(0, 7), st.booleans())


@settings(max_examples=80)
@example((FIRST, 0.257027912337541, 0, False))
@given(HARMS)
def test_whatever_is_cut_or_flipped_is_one_line_or_no_harm(kept, harm):
    artefact, share, bit, cut = harm
    path = artefact.at(kept)
    content = path.read_bytes()
    place = int(share * (len(content) - 1))
    flipped = bytearray(content)
    flipped[place] ^= 1 << bit
    try:
        path.write_bytes(content[:place] if cut else flipped)
        shown = inspection.inspect(kept, artefact)
        # What no page and no checksum covers: the metadata's own text.
        assert shown.rows == 3 + 3 * (artefact != FIRST)
    except WellspringError as error:
        assert "\n" not in str(error) and str(path) in str(error)
    finally:
        path.write_bytes(content)


def test_texts_that_have_changed_since_make_a_shard_stale(results):
    path = FIRST.at(results)
    path.write_bytes(path.read_bytes().replace(b"of queries", b"of QUERIES"))
    with pytest.raises(StaleArtefact, match="was made from other query texts than those of"):
        told(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing/there.parquet"], "is not filed as a result is"),
        (["nothing"], "'nothing' is no kind of result file"),
        (["embeddings", "big"], "no embedding-shard with encoder big; there are: tiny"),
        (["texts", "toy", "query"], "toy query: texts has only these wildcards: dataset"),
        (["embeddings", "tiny", "--with", "x"], "--with compares one file, and 2 fit"),
        (["datasets", "other"], "no texts with dataset other; there are: toy"),
        (["qrels", "toy"], "holds no qrels; the rule qrels makes it"),
    ],
)
def test_what_cannot_be_asked_is_one_line(results, arguments, message):
    with pytest.raises(WellspringError, match=message) as caught:
        told(*arguments, "--results", results)
    assert "\n" not in str(caught.value)

"""Files are found by name and by path, and what cannot be trusted is one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support import results as planted
from wellspring import shards
from wellspring.artefacts import kinds, lookup
from wellspring.artefacts.attributions import AttributionShard
from wellspring.artefacts.datasets import Texts
from wellspring.artefacts.embeddings import EmbeddingShard
from wellspring.artefacts.probes import ProbeMetrics, ProbeOutcomes
from wellspring.artefacts.verdicts import Cautions
from wellspring.errors import StaleArtefact, WellspringError

FIRST = EmbeddingShard("tiny", "toy", "query", 0)


@pytest.fixture
def results(tmp_path):
    return planted.plant(tmp_path)


def test_every_kind_has_a_name_and_is_found_by_it():
    names = [lookup.name_of(kind) for kind in kinds()]
    assert len(set(names)) == len(names)
    for kind, name in zip(kinds(), names, strict=True):
        assert lookup.kinds_named(name) == [kind]
    assert lookup.kinds_named("embeddings") == lookup.kinds_named("embed") == [EmbeddingShard]
    assert lookup.kinds_named("probes") == lookup.kinds_named("probe") == [ProbeOutcomes]
    assert Texts in lookup.kinds_named("datasets")


@pytest.mark.parametrize(
    ("name", "message"),
    [("embeding", "did you mean 'embed"), ("zzz", "'zzz' is no kind of result file: `wellspring")],
)
def test_a_name_of_nothing_is_one_line(name, message):
    with pytest.raises(WellspringError, match=message):
        lookup.kinds_named(name)


def test_files_are_found_by_any_of_their_wildcards(results):
    assert lookup.existing(results, EmbeddingShard, encoder="tiny") == [
        EmbeddingShard("tiny", "toy", "query", shard) for shard in (0, 1)
    ]
    assert lookup.existing(results, EmbeddingShard, shard="1", side="query")[0].shard == 1
    assert lookup.existing(results, EmbeddingShard, side="passage") == []
    assert lookup.existing(results, ProbeMetrics, layer=2) == [ProbeMetrics("tiny", "toy", 2, 3)]


@pytest.mark.parametrize(
    ("kind", "wildcards", "message"),
    [
        (EmbeddingShard, {"encoder": "other"}, "no embedding-shard with encoder other; .*: tiny$"),
        (AttributionShard, {"side": "query", "layer": 7}, "with layer 7; there are: 1, 2$"),
        (EmbeddingShard, {"encoder": "../tiny"}, r"'\.\./tiny' is no encoder of embedding-shard"),
        (EmbeddingShard, {"shard": "x"}, "'x' is no shard of embedding-shard"),
        (EmbeddingShard, {"layer": 1}, "embedding-shard has no layer: it has encoder, dataset"),
        (Cautions, {"study": "other"}, "no cautions with study other; there are: small"),
    ],
)
def test_what_is_not_there_is_one_line_that_says_what_is(results, kind, wildcards, message):
    with pytest.raises(WellspringError, match=message):
        lookup.fitting(results, kind, **wildcards)


def test_a_path_says_what_lies_there(results, monkeypatch):
    assert lookup.located(FIRST.at(results)) == (results, FIRST)
    csv = results / "studies/small/findings/cautions.csv"
    assert lookup.located(csv) == (results, Cautions("small"))
    monkeypatch.chdir(results.parent)
    assert lookup.located(FIRST.at(Path("results"))) == (Path("results"), FIRST)
    monkeypatch.chdir(results / "embeddings")
    path = FIRST.at(results).relative_to(results / "embeddings")
    assert lookup.located(path) == (results, FIRST)
    with pytest.raises(WellspringError, match="is not finished: a job writes it"):
        lookup.located(results / ".shard-000.parquet.host-1-0.part")
    for name in ("notes.txt", "embeddings/tiny/x.parquet", "embeddings"):
        with pytest.raises(WellspringError, match="is not filed as a result is"):
            lookup.located(results / name)


def test_what_is_whole_is_trusted(results):
    for kind in kinds():
        for artefact in lookup.existing(results, kind):
            assert lookup.trusted(results, artefact).identity["step"] == kind.step


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def foreign(path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(pq.read_table(path).replace_schema_metadata({}), path)


def another_step(path: Path) -> None:
    shutil.copyfile(Texts("toy").at(path.parents[4]), path)


def another_place(path: Path) -> None:
    shutil.copyfile(path.with_name("shard-001.parquet"), path)


def half_written(path: Path) -> None:
    path.rename(path.with_name(f".{path.name}.host-1-0.part"))


def other_columns(path: Path) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    table = table.rename_columns(["id", *table.column_names[1:]])
    said = {shards.KEY: shards.provenance(path).encode()}
    pq.write_table(table.replace_schema_metadata(said), path)


BROKEN = [
    (Path.unlink, "does not exist; make it again: snakemake"),
    (cut, "cannot be read .*; make it again: snakemake"),
    (lambda path: path.write_bytes(b""), "cannot be read .*; make it again: snakemake"),
    (lambda path: path.write_text("no Parquet"), "cannot be read .*; make it again: snakemake"),
    (foreign, "holds no provenance, so it was not made here; make it again"),
    (other_columns, r"is damaged or of another version \(EmbeddingShard\.id: "),
    (another_step, "its step is not the one asked for .*; make it again"),
    (another_place, "was made for shard 1, not 0; make it again"),
    (half_written, r"is not finished: \.shard-000\.parquet\.host-1-0\.part is what"),
]
"""What can become of a file, and what is said then."""


@pytest.mark.parametrize(("harm", "message"), BROKEN)
def test_what_cannot_be_trusted_is_one_line(results, harm, message):
    path = FIRST.at(results)
    harm(path)
    with pytest.raises(StaleArtefact, match=message) as caught:
        lookup.trusted(results, FIRST)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(f"{path}: ")


def test_a_file_that_is_missing_beside_another_is_named(results):
    job = ProbeOutcomes("tiny", "toy", 2, 3)
    metrics = ProbeMetrics("tiny", "toy", 2, 3).at(results)
    metrics.unlink()
    with pytest.raises(StaleArtefact, match=f"{metrics} is missing beside it; make it again"):
        lookup.trusted(results, job)
    (results / "studies/small/findings/cautions.csv").unlink()
    with pytest.raises(StaleArtefact, match=r"cautions\.csv is missing beside it"):
        lookup.trusted(results, Cautions("small"))


def test_a_description_that_says_nothing_is_one_line(results):
    from wellspring.artefacts.models import Model

    path = Model("tiny").at(results)
    path.parent.mkdir(parents=True)
    for content in ("{", "{}", "[]"):
        path.write_text(content)
        with pytest.raises(StaleArtefact, match="does not say how it was made, or cannot be read"):
            lookup.trusted(results, Model("tiny"))
    shards.write_json(path, {"identity": {"step": "model"}, "facts": {}})
    assert lookup.trusted(results, Model("tiny")).identity == {"step": "model"}

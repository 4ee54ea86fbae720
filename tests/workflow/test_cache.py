"""`--cache`: what one study has computed, another one takes, and neither harms the other."""

from __future__ import annotations

import os

import pytest

from tests.support import study as studies

SHARED = {"texts", "samples", "qrels", "lexical", "embed", "probe", "attribute"}
"""The rules of the targets that can be shared; `model` leaves weights beside its output."""
PROBED = "results/probes/fresh/questions/layer-02/passages-2.parquet"
EMBEDDED = "results/embeddings/fresh/questions/query/shard-000.parquet"
TARGETS = (PROBED, "results/attributions/norm/fresh/questions/query/layer-02/shard-000.parquet")


def set_epochs(config):
    config["study"]["probe"]["optimiser"]["epochs"] = 6


def ran(study):
    """The rules whose commands have run: Snakemake leaves the log of another one empty."""
    logs = study.folder / "results" / "logs"
    return {path.relative_to(logs).parts[0] for path in logs.rglob("*.log") if path.stat().st_size}


def contents(study):
    """Path to bytes of every result."""
    results = study.folder / "results"
    return {
        path.relative_to(results): path.read_bytes()
        for path in results.rglob("*")
        if path.is_file() and "logs" not in path.parts and path.name != ".digests.json"
    }


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """Two studies of two users with the same model and texts, and one cache."""
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(cache))
    return [studies.make(tmp_path / name) for name in ("one", "two")]


@pytest.mark.slow
def test_two_studies_share_one_computation(pair):
    one, two = pair
    one.run("--cache", "--", *TARGETS)
    assert ran(one) == {"model", *SHARED}
    two.run("--cache", "--", *TARGETS)
    assert ran(two) == {"model"}
    assert contents(one) == contents(two)
    assert (one.folder / PROBED).resolve() == (two.folder / PROBED).resolve()
    weights = two.folder / "results/models/fresh/model.safetensors"
    assert weights.is_file() and not weights.is_symlink()
    # With and without the cache, both are as their configuration asks.
    assert one.planned(*TARGETS) == two.planned(*TARGETS, "--cache") == {}

    before = contents(one)
    two.configure(set_epochs)
    assert two.planned(*TARGETS, "--cache") == {"probe": 1}
    two.run("--cache", "--", *TARGETS)
    assert ran(two) == {"model", "probe"}
    assert contents(two) != before == contents(one)
    assert one.planned(*TARGETS) == {}
    two.run("--forcerun", EMBEDDED, "--", *TARGETS)
    assert contents(one) == before
    assert not (two.folder / EMBEDDED).is_symlink()


@pytest.mark.slow
def test_a_damaged_shared_file_is_named_and_made_again(pair):
    one, two = pair
    for study in pair:
        study.run("--cache", "--", *TARGETS)
    before = contents(one)
    damaged = (one.folder / EMBEDDED).resolve()
    os.truncate(damaged, 1000)
    for study in pair:
        done = study.run("-n", "--cache", "--", PROBED)
        assert f"the shared file {damaged} is damaged: remove it" in done.stdout + done.stderr
    # It is taken from the cache again, and its reader says what to do.
    two.configure(set_epochs)
    done = two.run("--cache", "--", PROBED, check=False)
    assert done.returncode
    said = " ".join((done.stdout + done.stderr).split())
    assert f"{EMBEDDED}: cannot be read" in said
    assert f"remove the shared file {damaged} and make it again" in said
    damaged.unlink()
    one.run("--cache", "--forcerun", EMBEDDED, "--", *TARGETS)
    assert contents(one) == before
    assert one.planned(*TARGETS) == {}
    assert two.planned(*TARGETS) == {"probe": 1}


def test_what_cannot_be_shared_is_refused(pair, monkeypatch):
    one, _ = pair
    done = one.run("-n", "--cache", "model", "--", PROBED, check=False)
    assert done.returncode
    assert "--cache model: only these rules can be shared: texts, " in done.stdout + done.stderr
    monkeypatch.delenv("SNAKEMAKE_OUTPUT_CACHE")
    done = one.run("-n", "--cache", "probe", "--", PROBED, check=False)
    assert done.returncode
    assert "set the environment variable SNAKEMAKE_OUTPUT_CACHE" in done.stdout + done.stderr

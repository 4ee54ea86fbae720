"""`--cache` on Slurm: a job of the second user takes what a job of the first one has made."""

from __future__ import annotations

import pytest

from tests.support import slurm
from tests.support import study as studies

EMBEDDED = "results/embeddings/fresh/questions/query/shard-000.parquet"
SCORED = "results/attributions/norm/fresh/questions/query/layer-02/shard-000.parquet"


@pytest.mark.slow
def test_two_users_share_what_their_jobs_make(tmp_path, monkeypatch, lab):
    (tmp_path / "cache").mkdir()
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(tmp_path / "cache"))
    one, two = (studies.make(tmp_path / name) for name in ("one", "two"))
    for study in (one, two):
        slurm.adapt(study)
        run = slurm.start(study, lab, EMBEDDED, SCORED, "--cache")
        assert run.end() == 0, run.said()
        assert study.planned(EMBEDDED, SCORED) == {}
    for name in (EMBEDDED, SCORED):
        assert (two.folder / name).is_symlink()
        assert (one.folder / name).resolve() == (two.folder / name).resolve()
    assert slurm.contents(one) == slurm.contents(two)
    rules = {path.name for path in (two.folder / "results" / "logs").iterdir()}
    taken = {
        rule
        for rule in rules
        if not any(
            log.stat().st_size for log in (two.folder / "results/logs" / rule).rglob("*.log")
        )
    }
    assert {"texts", "embed", "attribute"} <= taken and "model" not in taken

"""The two commands of the README on a clean clone: slow, run by `make test-all`."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.support.paths import ROOT


@pytest.mark.slow
def test_a_clean_clone_makes_the_report_and_then_has_nothing_to_do(tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}

    def make_run() -> str:
        done = subprocess.run(
            ["make", "run"], cwd=clone, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        return done.stdout + done.stderr

    make_run()
    report = clone / "results" / "studies" / "default" / "report.html"
    assert report.stat().st_size > 1_000_000
    assert "Nothing to be done" in make_run()

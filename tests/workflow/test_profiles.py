"""Environments are those of the lock file, and the example profiles can be planned with."""

from __future__ import annotations

import os
import re
import shutil
from importlib import util
from pathlib import Path

import pytest
import yaml

from envs import generate
from tests.support import study as studies
from tests.support.paths import ROOT

TARGET = "results/datasets/questions/qrels.parquet"
KUBECTL = """#!/usr/bin/env python
# A stand-in: runs a job's command here, at once, and tells how it ended.
import pathlib, subprocess, sys
import yaml

jobs = pathlib.Path(__file__).parent
if sys.argv[1] == "create":
    spec = yaml.safe_load(sys.stdin)["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    limits = container["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "0" and limits["memory"].endswith("Mi")
    done = subprocess.run(
        container["command"], cwd=container["workingDir"], stdout=subprocess.DEVNULL
    )
    name = f"wellspring-{len(list(jobs.iterdir()))}"
    (jobs / name).write_text("Failed" if done.returncode else "Complete")
    print(f"job.batch/{name}")
elif sys.argv[1] == "get":
    print((jobs / sys.argv[2].removeprefix("job.batch/")).read_text())
"""


@pytest.fixture
def profiled(tmp_path):
    """A small study with the example profiles, where their plugin is installed."""
    plugin = util.find_spec("snakemake_executor_plugin_cluster_generic")
    if plugin is None or plugin.origin is None:
        pytest.skip("snakemake-executor-plugin-cluster-generic is not installed")
    study = studies.make(tmp_path / "study")
    shutil.copytree(ROOT / "profiles", study.folder / "profiles")
    modules = (study.folder / "src", Path(plugin.origin).parents[1])
    study.variables["PYTHONPATH"] = os.pathsep.join(map(str, modules))
    return study


def test_the_environments_are_those_of_the_lock_file():
    conda = yaml.safe_load((ROOT / "envs/wellspring.yaml").read_text())
    python, _, packages = conda["dependencies"]
    assert packages == {"pip": generate.pins()}
    assert re.fullmatch(r"python =3\.\d+\.\d+", python)
    for name, content in generate.files(python.removeprefix("python =")).items():
        assert (ROOT / "envs" / name).read_text() == content


@pytest.mark.parametrize("name", ["cluster-generic", "kubernetes"])
def test_an_example_profile_plans_the_study(profiled, name):
    done = profiled.run("--profile", f"profiles/{name}", "-n", fork=False)
    assert studies.jobs_by_rule(done.stdout + done.stderr)["embed"] == 4


def test_jobs_run_through_kubectl(profiled):
    kubectl = profiled.folder / "bin" / "kubectl"
    kubectl.parent.mkdir()
    kubectl.write_text(KUBECTL)
    kubectl.chmod(0o755)
    profiled.variables["PATH"] = f"{kubectl.parent}{os.pathsep}{os.environ['PATH']}"
    options = ("--latency-wait", "5", "--seconds-between-status-checks", "1")
    profiled.run("--profile", "profiles/kubernetes", *options, "--", TARGET, fork=False)
    assert (profiled.folder / TARGET).is_file()
    assert len(list(kubectl.parent.iterdir())) == 3

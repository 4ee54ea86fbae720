"""The shipped profile on a real Slurm, with nothing but the partition set."""

from __future__ import annotations

import signal

import pytest

from tests.support import slurm
from tests.support import study as studies
from tests.support.slurm import contents
from wellspring.slurm import site

FILES = (
    "results/datasets/questions/samples.parquet",
    "results/embeddings/tiny/questions/query/shard-000.parquet",
    "results/attributions/norm/fresh/questions/query/layer-02/shard-000.parquet",
)


@pytest.mark.slow
def test_jobs_write_what_a_local_run_writes(study, lab):
    slurm.adapt(study)
    before = contents(study)
    for file in FILES:
        (study.folder / file).unlink()
    # MiniLM's like ask for no card by themselves.
    run = slurm.start(study, lab, *FILES, "--set-resources", "embed:gpu=1")
    assert run.end() == 0, run.said()
    assert "3 of 3 steps (100%) done" in run.said()
    assert lab.submitted() == ["attribute", "embed", "samples"]
    (job,) = (job for job, comment in lab.jobs("all").items() if comment.startswith("rule_embed"))
    assert "TresPerJob=gres:gpu:1" in lab.ask("scontrol", "show", "job", job)
    assert contents(study) == before
    assert study.planned() == {}


@pytest.mark.slow
def test_a_job_that_will_never_start_is_reported_while_the_run_goes_on(study, lab):
    study.rewrite("slurm/config.yaml", "# slurm_partition: main", "slurm_partition: short")
    (study.folder / FILES[0]).unlink()
    run = slurm.start(study, lab, FILES[0])
    line = run.wait_to_say("will not start as it is")
    assert "rule_samples" in line and "the partition allows less time than it asks for" in line
    assert "It asks partition short for 1 CPUs, 4000M of memory, 1:00:00" in line
    # Ctrl-C cancels what waits.
    run.process.send_signal(signal.SIGINT)
    assert run.end() != 0
    slurm.wait_for(lambda: not lab.jobs(), "cancelled jobs")
    assert run.said().count("will not start as it is") == 1


@pytest.mark.slow
def test_the_small_study_ends_as_a_local_run_does(finished, tmp_path, lab):
    study = studies.make(tmp_path / "study")
    slurm.adapt(study)
    run = slurm.start(study, lab, pace=5)
    assert run.end(1800) == 0, run.said()
    assert contents(study) == contents(finished)
    assert study.planned() == {}
    local = {"figure", "controls", "heatmap", "drawing", "power", "cautions", "page"}
    rules = set(lab.submitted())
    assert not rules & local and {"embed", "probe", "attribute", "claims"} <= rules


def planned(study, *arguments: str) -> dict[str, site.Request]:
    """Rule to what the last of its jobs would ask for."""
    done = study.run("-n", "--forceall", "--profile", "slurm", "--cores", "64", *arguments)
    return {job.rule: job for job in site.requests(done.stdout + done.stderr)}


def test_jobs_ask_by_the_size_of_the_model(study):
    slurm.adapt(study)
    small = planned(study)
    megabytes = (study.folder / "tiny" / "model.safetensors").stat().st_size / 1e6
    assert small["embed"] == site.Request("embed", "main", None, 4, 2500 + int(3 * megabytes), 240)
    # The texts' model and their partners', which is the same one here.
    assert small["attribute"].megabytes == small["embed"].megabytes
    assert small["ablate"].megabytes == small["embed"].megabytes + 1500


@pytest.mark.slow
def test_a_large_model_asks_for_one_gpu_where_the_site_has_any(study):
    slurm.adapt(study)
    study.rewrite("slurm/config.yaml", "# gpu_type: a100", "gpu_type: a100")
    study.rewrite("slurm/config.yaml", "# gpu_partition: gpu", "gpu_partition: cards")
    study.rewrite("workflow/rules/resources.smk", "GPU_WEIGHTS = 200", "GPU_WEIGHTS = 0")
    large = planned(study)
    for rule in ("embed", "attribute", "ablate"):
        job = large[rule]
        assert (job.gpus, job.gpu_model, job.partition) == (1, "a100", "cards")
    for rule in ("probe", "texts", "activations"):
        assert (large[rule].gpus, large[rule].gpu_model, large[rule].partition) == (0, None, "main")
    study.rewrite("slurm/config.yaml", "# resources:\n#   gpu: 0", "resources:\n  gpu: 0")
    assert not any(job.gpus for job in planned(study).values())

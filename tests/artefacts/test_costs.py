"""What jobs will take, from what jobs have taken."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from benchmarks import studies
from wellspring.artefacts import Plan, batches, kinds
from wellspring.artefacts.attributions import AttributionShard
from wellspring.artefacts.costs import Costs, job_of, key_of
from wellspring.artefacts.embeddings import EmbeddingShard
from wellspring.artefacts.findings import Findings
from wellspring.artefacts.probes import ProbeMetrics, ProbeOutcomes


def write(results: Path, name: str, seconds: float, age: int = 0) -> None:
    """A log of a job that took so long and ended some time ago."""
    log = results / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("4 of 4 texts, 2.0 texts/s\n" + json.dumps({"seconds": seconds}) + "\n")
    os.utime(log, (1_700_000_000 - age,) * 2)


def test_a_job_that_ran_takes_as_long_again(tmp_path):
    write(tmp_path, "embed/minilm/pydocs/query/shard-000", 3)
    write(tmp_path, "embed/minilm/pydocs/query/shard-001", 5)
    write(tmp_path, "findings/default", 7)
    costs = Costs.read(tmp_path)
    assert costs.seconds(EmbeddingShard("minilm", "pydocs", "query", 1)) == 5
    assert costs.seconds(Findings("default")) == 7


def test_a_new_job_takes_the_mean_of_those_most_like_it(tmp_path):
    write(tmp_path, "embed/minilm/pydocs/query/shard-000", 1)
    write(tmp_path, "embed/minilm/pydocs/passage/shard-000", 10)
    write(tmp_path, "embed/minilm/pydocs/passage/shard-001", 14)
    write(tmp_path, "embed/large/pydocs/passage/shard-000", 120)
    costs = Costs.read(tmp_path)
    assert costs.seconds(EmbeddingShard("minilm", "pydocs", "passage", 2)) == 12
    assert costs.seconds(EmbeddingShard("minilm", "other", "passage", 0)) == 12
    assert costs.seconds(EmbeddingShard("third", "pydocs", "passage", 0)) == 48
    assert costs.seconds(EmbeddingShard("large", "pydocs", "query", 0)) == 1


def test_a_job_of_several_files_answers_for_each(tmp_path):
    write(tmp_path, "attribute/norm/minilm/pydocs/query/layer-01-03/shard-000", 20)
    write(tmp_path, "attribute/norm/minilm/pydocs/query/layer-04/shard-000", 8)
    write(tmp_path, "probe/minilm/pydocs/layer-03/passages-02-05", 4)
    costs = Costs.read(tmp_path)
    lead = ("norm", "minilm", "pydocs", "query")
    assert [costs.seconds(AttributionShard(*lead, layer, 0)) for layer in (1, 2, 3)] == [20] * 3
    assert costs.seconds(AttributionShard(*lead, 4, 0)) == 8
    assert costs.seconds(AttributionShard(*lead, 5, 0)) == 14
    assert costs.seconds(ProbeOutcomes("minilm", "pydocs", 3, 5)) == 4
    assert costs.seconds(ProbeMetrics("minilm", "pydocs", 3, 2)) == 4


def test_the_latest_log_counts(tmp_path):
    write(tmp_path, "probe/minilm/pydocs/layer-03/passages-02-05", 4, age=100)
    write(tmp_path, "probe/minilm/pydocs/layer-03/passages-02-03", 3, age=10)
    costs = Costs.read(tmp_path)
    assert costs.seconds(ProbeOutcomes("minilm", "pydocs", 3, 2)) == 3
    assert costs.seconds(ProbeOutcomes("minilm", "pydocs", 3, 5)) == 4


@pytest.mark.parametrize("last", ["error: no such file", "", "[1]", '{"seconds": null}', "{}", "3"])
def test_a_log_without_a_cost_says_nothing(tmp_path, last):
    write(tmp_path, "findings/default", 7)
    (tmp_path / "logs" / "findings" / "default.log").write_text(f"one\n{last}\n")
    (tmp_path / "logs" / "gone").mkdir()
    write(tmp_path, "gone/default", 7)
    write(tmp_path, "findings/deeper/default", 7)
    assert Costs.read(tmp_path).seconds(Findings("default")) is None
    assert Costs.read(tmp_path / "nowhere").seconds(Findings("default")) is None


def test_every_job_of_a_study_finds_its_own_log(tmp_path):
    """The paths are those that the rules give their jobs."""
    plan = Plan(studies.read([studies.ROOT / "studies" / "methods.yaml"]))
    batched = {
        (kind.rule, *lead, value): batch.log()
        for kind in kinds()
        if kind.batched_by
        for batch in batches(plan, kind)
        for lead in batch.leads
        for value in batch.values
    }
    artefacts = list(plan.closure(plan.ends()))
    logs = []
    for artefact in artefacts:
        told = vars(artefact)
        log = artefact.log()
        if artefact.batched_by:
            lead = list(told.values())[: 2 if artefact.rule == "probe" else 3]
            log = batched[artefact.rule, *lead, told[artefact.batched_by]]
        digits = {"shard": "03d", "layer": "02d"}
        texts = {name: f"{value:{digits.get(name, '')}}" for name, value in told.items()}
        logs.append(log.format(**texts).removeprefix("results/logs/").removesuffix(".log"))
    seconds = {log: number for number, log in enumerate(sorted(set(logs)), 1)}
    for log, number in seconds.items():
        write(tmp_path, log, number)
    costs = Costs.read(tmp_path)
    assert len(seconds) > 50
    assert [costs.seconds(artefact) for artefact in artefacts] == [seconds[log] for log in logs]


def test_a_log_of_other_layers_or_passage_counts_is_of_no_job_of_the_study(tmp_path):
    plan = Plan(studies.read([]))
    made = {key_of(artefact) for artefact in plan.closure(plan.ends())}
    of_study = {
        "probe/minilm/pydocs/layer-06/passages-02-05": True,
        "probe/minilm/pydocs/layer-06/passages-02-09": False,
        "probe/minilm/pydocs/layer-07/passages-02-05": False,
        "probe/minilm/other/layer-06/passages-02-05": False,
        "findings/default": True,
        "findings/other": False,
    }
    for name, expected in of_study.items():
        job = job_of(tmp_path, tmp_path / "logs" / f"{name}.log")
        assert job and job.is_of(made) == expected, name


def test_five_thousand_jobs_are_quick(tmp_path):
    for shard in range(1000):
        write(tmp_path, f"embed/minilm/pydocs/passage/shard-{shard:03d}", shard)
    started = time.process_time()
    costs = Costs.read(tmp_path)
    for shard in range(5000):
        costs.seconds(EmbeddingShard("minilm", "pydocs", "passage", shard))
    assert time.process_time() - started < 2

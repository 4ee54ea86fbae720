"""What is told of a run, from what its jobs and their logs say."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from wellspring.artefacts.embeddings import EmbeddingShard
from wellspring.artefacts.findings import Findings
from wellspring.live.run import Job, Run, words

START = 1_700_000_000.0
QUERY, PASSAGE = (EmbeddingShard("minilm", "pydocs", side, 0) for side in ("query", "passage"))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def log_of(side: str, text: str, seconds: float = 0) -> Path:
    """A log that was written some seconds after the start."""
    log = Path(f"results/logs/embed/minilm/pydocs/{side}/shard-000.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(text)
    os.utime(log, (START + seconds,) * 2)
    return log


def job(side: str, begun: float = 0) -> Job:
    log = Path(f"results/logs/embed/minilm/pydocs/{side}/shard-000.log")
    return Job(words("embed", {}, log), log, START + begun)


def cost(seconds: float) -> str:
    return json.dumps({"seconds": seconds}) + "\n"


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (
            "probe/minilm/pydocs/layer-03/passages-02-05",
            "probe minilm pydocs layer 03 passages 02-05",
        ),
        (
            "attribute/norm/e5-2/pydocs/query/layer-01-03/shard-000",
            "attribute norm e5-2 pydocs query layer 01-03 shard 000",
        ),
        ("findings/default", "findings default"),
    ],
)
def test_a_job_is_named_by_its_log(log, said):
    assert words("any", {}, Path(f"results/logs/{log}.log")) == said


def test_a_job_without_a_log_is_named_by_its_rule():
    assert words("probe_2", {"retriever": "minilm", "layer": "03"}, None) == "probe minilm 03"
    assert words("all", {}, None) == "all"


def test_the_line_tells_how_far_run_and_jobs_are():
    log_of("query", "1,200 of 4,000 texts, 120.0 texts/s\n2,400 of 4,000 te", 12)
    run = Run(58, START)
    assert run.line(START + 1) == "0 of 58 jobs · 1 s"
    run.begin(7, job("query", 2))
    run.begin(8, job("passage", 2))
    run.begin(9, Job("probe minilm", None, START))
    assert run.line(START + 20) == (
        "0 of 58 jobs · 20 s · embed minilm pydocs query shard 000: 1,200 of 4,000 texts · "
        "embed minilm pydocs passage shard 000 · and 1 more"
    )
    run.fail(9, START + 30)
    assert run.line(START + 30).startswith("0 of 58 jobs · 1 failed · 30 s · embed")


def test_progress_of_an_earlier_run_is_not_told():
    log_of("query", "1,200 of 4,000 texts, 120.0 texts/s\n", -5)
    assert job("query").progress() == ("", 0.0)


def test_the_estimate_is_what_is_left_over_the_cores():
    log_of("query", cost(30))
    log_of("passage", cost(90))
    run = Run(3, START)
    run.expect({1: (QUERY, 1), 2: (PASSAGE, 8), 3: (Findings("default"), 1)}, 2)
    # 30 s on one core, 90 s on both, and a job that is unknown takes their mean of 60 s.
    assert run.left(START) == (30 + 2 * 90 + 60) / 2
    run.begin(1, job("query"))
    run.begin(2, job("passage"))
    assert run.left(START + 10) == (20 + 2 * 80 + 60) / 2
    run.finish(1, START + 20)
    # It took less than its log says, so nothing is added for a process to start.
    assert run.left(START + 20) == (2 * 70 + 90) / 2
    run.finish(2, START + 80)
    # Nothing is known of what is left.
    assert run.left(START + 80) is None and "about" not in run.line(START + 80)


def test_a_job_that_takes_longer_than_before_is_judged_by_its_own_progress():
    log_of("query", cost(30))
    run = Run(1, START)
    run.expect({1: (QUERY, 1)}, 1)
    run.begin(1, job("query"))
    log_of("query", "1,000 of 4,000 texts, 25.0 texts/s\n", 40)
    assert run.left(START + 40) == 3000 / 25
    log_of("query", "0 of 4,000 texts, 0.0 texts/s\n", 50)
    assert run.left(START + 50) > 3600


def test_a_single_job_is_not_shared_among_cores():
    log_of("query", cost(30))
    run = Run(1, START)
    run.expect({1: (QUERY, 1)}, 2)
    assert run.left(START) == 30
    assert run.line(START + 10) == "0 of 1 job · about 30 s left · 10 s"


def test_on_other_machines_as_many_jobs_count_as_run():
    log_of("query", cost(30))
    run = Run(4, START)
    shards = [EmbeddingShard("minilm", "pydocs", "query", shard) for shard in range(4)]
    run.expect({number: (shard, 8) for number, shard in enumerate(shards)}, None)
    assert run.left(START) == 120
    for number in range(4):
        run.begin(number, Job("embed", None, START))
    run._estimate = (0.0, None)
    assert run.left(START) == 30


def test_jobs_of_this_run_teach_what_the_others_take():
    run = Run(3, START)
    run.expect({1: (QUERY, 1), 2: (PASSAGE, 1)}, 1)
    run.begin(1, job("query"))
    assert run.left(START) is None
    log_of("query", cost(12.4))
    assert run.finish(1, START + 12.4) == ("embed minilm pydocs query shard 000", 12.4)
    assert run.left(START + 12.4) == pytest.approx(12.4, abs=1e-5)


def test_what_it_takes_to_start_a_process_is_learnt():
    log_of("query", cost(30))
    log_of("passage", cost(90))
    run = Run(2, START)
    run.expect({1: (QUERY, 1), 2: (PASSAGE, 1)}, 1)
    run.begin(1, job("query"))
    assert run.left(START) == 30 + 90
    run.finish(1, START + 34)
    assert run.left(START + 34) == 90 + 4
    run.begin(2, job("passage", 34))
    assert run.left(START + 127.5) == 0.5 and "about" not in run.line(START + 127.5)


def test_seconds_are_those_of_the_clock_where_no_log_tells():
    run = Run(1, START)
    run.begin(1, job("query", 2))
    assert run.finish(1, START + 14)[1] == 12
    assert run.finish(5, START + 14) == ("job 5", 0)


def test_the_ending_says_where_the_answer_is_or_what_failed():
    run = Run(2, START)
    run.begin(1, job("query"))
    run.finish(1, START + 5)
    assert run.ending("", START + 9) == (
        "Stopped: 1 of 2 jobs done in 9 s. Run the same command again: what is done is kept."
    )
    run.begin(2, job("passage"))
    run.fail(2, START + 600)
    assert run.ending("The answer: x", START + 600) == (
        "Failed: embed minilm pydocs passage shard 000. 1 of 2 jobs done in 10 min. "
        "Mend what is named above and run the same command again: what is done is kept."
    )
    run.stopped = True
    assert run.ending("", START + 600).startswith("Stopped: 1 of 2 jobs done in 10 min. Run the")
    # A job that is tried again has not failed.
    run.begin(2, job("passage"))
    run.finish(2, START + 1200)
    assert run.ending("The answer: x.", START + 1200) == (
        "2 of 2 jobs done in 20 min. The answer: x."
    )

"""The plugin of Snakemake, fed with records: what it shows, and that it never breaks a run."""

from __future__ import annotations

import io
import logging
import sys
import time
from pathlib import Path

import pytest
from snakemake.logging import DefaultFormatter
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry
from snakemake_interface_logger_plugins.tests import MockOutputSettings, TestLogHandlerBase

from wellspring.live import handler as module
from wellspring.live.handler import LogHandler


class TestInterface(TestLogHandlerBase):
    """What Snakemake asks of every such plugin."""

    __test__ = True

    def get_log_handler_cls(self):
        return LogHandler

    def get_log_handler_settings(self):
        return None


def record(event: LogEvent | None, message: str = "", level: int = logging.INFO, **told):
    made = logging.LogRecord("snakemake", level, "snakemake/workflow.py", 1, message, (), None)
    vars(made).update(told, **({"event": event} if event else {}))
    return made


STATS = record(LogEvent.RUN_INFO, "Job stats:\ntexts 1", stats={"texts": 2, "total": 2})


def info(number: int, log: str, rule: str = "texts") -> logging.LogRecord:
    return record(
        LogEvent.JOB_INFO,
        *(f"Rule: {rule}",),
        **{"jobid": number, "rule_name": rule, "wildcards": {"dataset": "pydocs"}},
        **{"log": [log] if log else [], "rule_msg": None, "local": False, "input": []},
        **{"output": [], "benchmark": None, "reason": "", "resources": {}, "threads": 1},
        **{"is_checkpoint": False, "priority": 0},
    )


def failed(number: int, log: str, **told) -> logging.LogRecord:
    base = {"rule_msg": None, "log": [log], "aux": {}, "jobid": number, "rule_name": "texts"}
    return record(LogEvent.JOB_ERROR, "Error in rule texts", logging.ERROR, **{**base, **told})


@pytest.fixture
def told(tmp_path, monkeypatch):
    """Gives a function that tells records to a handler, and what it has written at the end."""
    monkeypatch.chdir(tmp_path)

    def tell(*records: logging.LogRecord, **settings) -> str:
        common = MockOutputSettings()
        vars(common).update({"show_failed_logs": False}, **settings)
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        handler = LogHandler(common, None)
        handler.setFormatter(DefaultFormatter())
        STATS.created = time.time()
        for each in records:
            handler.handle(each)
        handler.close()
        return stream.getvalue()

    return tell


LOG = "results/logs/texts/pydocs.log"
FINISHED = [info(1, LOG), record(LogEvent.JOB_FINISHED, "Finished jobid: 1", job_id=1)]


def progress_of(done: int) -> logging.LogRecord:
    return record(LogEvent.PROGRESS, "None", done=done, total=2)


def test_snakemake_finds_the_plugin():
    assert "wellspring" in LoggerPluginRegistry().get_registered_plugins()


def test_a_finished_job_is_one_plain_line(told):
    Path(LOG).parent.mkdir(parents=True)
    Path(LOG).write_text('{"seconds": 4.2}\n')
    answer = record(None, "The answer: results/studies/default/index.html", answer=True)
    more = [info(0, "", "all"), record(LogEvent.JOB_FINISHED, "Finished jobid: 0", job_id=0)]
    said = told(STATS, *FINISHED, progress_of(1), *more, progress_of(2), answer)
    stats, lines = said.split("Job stats:\ntexts 1\n")
    assert stats == "" and lines.splitlines() == [
        "[1/2] texts pydocs · 4 s",
        "[2/2] all pydocs · 0 s",
        "2 of 2 steps (100%) done",
        "2 of 2 jobs done in 0 s. The answer: results/studies/default/index.html",
    ]


def test_messages_and_warnings_are_shown_and_chatter_is_not(told):
    submits = record(None, "Job 3 has been submitted")
    submits.pathname = "/site/snakemake_executor_plugin_slurm/__init__.py"
    said = told(
        STATS,
        record(LogEvent.JOB_STARTED, "Execute 2 jobs...", jobs=[1]),
        record(None, "Select jobs to execute..."),
        record(None, "None"),
        submits,
        record(None, "Slurm job 7 will not start as it is", logging.WARNING),
        record(None, "Trying to restart job 5."),
        record(LogEvent.ERROR, "ClusterError: jobs of an earlier run", logging.ERROR),
    )
    assert said.partition("texts 1\n")[2].splitlines()[:-1] == [
        "Slurm job 7 will not start as it is",
        "Trying to restart job 5.",
        "ClusterError: jobs of an earlier run",
    ]


def test_a_failed_job_tells_the_last_line_of_its_log_and_its_path(told):
    Path(LOG).parent.mkdir(parents=True)
    Path(LOG).write_text("texts: 3\nerror: questions.jsonl:5: no JSON\n")
    twice = record(LogEvent.ERROR, 'RuleException:\nCalledProcessError in file "x"', logging.ERROR)
    error = failed(1, LOG, rule_msg="SLURM-job 9 failed", aux={"external_jobid": 9})
    said = told(STATS, info(1, LOG), twice, error)
    assert said.partition("texts 1\n")[2].splitlines() == [
        "Failed: texts pydocs",
        "    SLURM-job 9 failed",
        "    error: questions.jsonl:5: no JSON",
        f"    log: {LOG}",
        "    external_jobid: 9",
        "Failed: texts pydocs. 0 of 2 jobs done in 0 s. "
        "Mend what is named above and run the same command again: what is done is kept.",
    ]


def test_a_run_that_is_stopped_has_not_failed(told):
    stops = record(None, "Terminating processes on user request, this might take some time.")
    incomplete = record(None, "--keep-incomplete mode is set, so", logging.WARNING)
    final = "WorkflowError:\nAt least one job did not complete successfully."
    said = told(
        *(STATS, info(1, LOG), stops, failed(1, LOG), incomplete),
        record(LogEvent.ERROR, final, logging.ERROR),
    )
    assert said.partition("texts 1\n")[2].splitlines() == [
        "Terminating processes on user request, this might take some time.",
        "Stopped: 0 of 2 jobs done in 0 s. Run the same command again: what is done is kept.",
    ]


@pytest.mark.parametrize(
    "settings", [{"verbose": True}, {"quiet": {"reason"}}, {"debug_dag": True}, {"dryrun": True}]
)
def test_other_modes_are_left_to_snakemake(told, settings):
    said = told(STATS, *FINISHED, **settings)
    assert "rule texts:" in said and "[1/2]" not in said


def test_a_fault_here_is_one_line_and_snakemake_speaks_on(told):
    broken = record(LogEvent.JOB_FINISHED, "Finished jobid: 4")
    said = told(STATS, broken, *FINISHED).partition("texts 1\n")[2]
    assert said.splitlines()[0] == (
        "progress cannot be told: AttributeError: 'LogRecord' object has no attribute 'job_id'"
    )
    assert said.count("cannot be told") == 1 and "Finished jobid: 4" in said
    assert "rule texts:" in said and "Finished jobid: 1" in said


def test_a_fault_at_the_beginning_is_one_line_too(told, monkeypatch):
    def fail(*_):
        raise OSError("no terminal")

    monkeypatch.setattr(module, "follow", fail)
    said = told(STATS, *FINISHED)
    assert said.count("progress cannot be told: OSError: no terminal") == 1
    assert "rule texts:" in said and said.count("Job stats") == 1


def test_nobody_who_reads_is_no_fault(told, monkeypatch):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    common = MockOutputSettings()
    monkeypatch.setattr(sys, "stderr", Closed())
    handler = LogHandler(common, None)
    for each in (STATS, *FINISHED):
        handler.handle(each)
    handler.close()

"""A logger plugin of Snakemake that follows a run.

Until a run's jobs are known, Snakemake speaks for itself, less what only its full log needs. Dry
runs, `--quiet` and `--verbose` are as they are without this plugin. Snakemake writes its full log
to its file all the same.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from logging import ERROR, INFO, WARNING, LogRecord
from pathlib import Path
from typing import Any

from snakemake.logging import ColorizingTextHandler, DefaultFormatter
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from wellspring import progress
from wellspring.live.run import Job, Run, words
from wellspring.live.terminal import Lines, Output, Terminal

CHATTER = (
    "Assuming unrestricted shared filesystem usage",
    "Using shell:",
    "Conda environments: ignored",
    "Select jobs to execute",
    "Elapsed time:",
    # How a run ends is told in its last line.
    "Shutting down, this might take some time",
    "Exiting because a job execution failed",
    "--keep-incomplete mode is set",
    "WorkflowError:\nAt least one job did not complete successfully",
)
"""How messages of Snakemake begin that say nothing which is not said otherwise."""
SILENT = {LogEvent.WORKFLOW_STARTED, LogEvent.RESOURCES_INFO, LogEvent.JOB_STARTED}
"""Events that stand in the full log alone."""
EXECUTORS = "snakemake_executor_plugin"
"""In the paths of code that tells of every job that it submits."""
STOPS = "Terminating processes on user request"
"""How the message begins that follows Ctrl-C."""
STYLES = {WARNING: "yellow", ERROR: "red"}


class LogHandler(LogHandlerBase):
    """What Snakemake logs, until it says how many jobs it will run; from then on a run followed."""

    writes_to_stream = property(lambda self: True)
    writes_to_file = property(lambda self: False)
    has_filter = property(lambda self: False)
    has_formatter = property(lambda self: False)
    needs_rulegraph = property(lambda self: False)

    def __post_init__(self) -> None:
        self._follower: Follower | None = None
        self._native: ColorizingTextHandler | None = None
        self._broken = False

    def emit(self, record: LogRecord) -> None:
        untold: LogRecord | None = record
        try:
            if self._follower is not None:
                self._follower.tell(record)
                return
            plain = self._is_plain_run()
            if not (plain and _is_chatter(record)):
                self._as_snakemake(record)
            untold = None
            if plain and _event(record) == LogEvent.RUN_INFO:
                self._follower = follow(record, self._text, self.common_settings)
        except BrokenPipeError:
            # Nobody reads any more.
            return
        except Exception as error:
            self._give_up(error, untold)

    def close(self) -> None:
        """Tell how the run has ended."""
        follower, self._follower = self._follower, None
        if follower is not None:
            try:
                follower.end()
            except Exception as error:
                self._give_up(error, None)
        super().close()

    def _is_plain_run(self) -> bool:
        settings = self.common_settings
        apart = settings.dryrun or settings.verbose or settings.debug_dag or settings.quiet
        return not (apart or self._broken)

    def _text(self, record: LogRecord) -> str:
        """What Snakemake would write."""
        formatter = self.formatter or DefaultFormatter(self.common_settings.quiet)
        return formatter.format(record)

    def _as_snakemake(self, record: LogRecord) -> None:
        native, settings = self._native, self.common_settings
        if native is None:
            stream = sys.stdout if settings.stdout else sys.stderr
            native = ColorizingTextHandler(settings.nocolor, stream, self.formatter)
            self._native = native
        native.emit(record)

    def _give_up(self, error: Exception, record: LogRecord | None) -> None:
        """A run goes on whatever happens here: from now on Snakemake speaks for itself."""
        follower, self._follower, self._broken = self._follower, None, True
        try:
            if follower is not None:
                follower.output.stop()
            sys.stderr.write(f"progress cannot be told: {type(error).__name__}: {error}\n")
            if record is not None:
                self._as_snakemake(record)
        except Exception:
            return


def follow(record: Any, text: Callable[[LogRecord], str], settings: Any) -> Follower:
    """Follow the run whose jobs a record counts."""
    run = Run(record.stats["total"], record.created)
    live = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    output = Terminal(lambda: run.line(time.time())) if live else Lines(sys.stderr)
    return Follower(run, output, text, settings.show_failed_logs)


class Follower:
    """Tells a run's records to an output.

    text: what Snakemake would write for a record. logs: whether it would write whole logs of failed
    jobs.
    """

    def __init__(
        self, run: Run, output: Output, text: Callable[[LogRecord], str], logs: bool = False
    ) -> None:
        self.run, self.output, self._text, self._logs = run, output, text, logs
        self._answer = ""

    def tell(self, record: LogRecord) -> None:
        """Note what a record says, and show what a person should see of it."""
        told: dict[LogEvent | None, Callable[[Any], None]] = {
            LogEvent.JOB_INFO: self._begin,
            LogEvent.JOB_FINISHED: self._finish,
            LogEvent.JOB_ERROR: self._fail,
            LogEvent.PROGRESS: self._progress,
            LogEvent.ERROR: self._error,
        }
        tell = told.get(_event(record), self._message)
        tell(record)

    def end(self) -> None:
        """Say how the run has ended."""
        self.output.stop()
        style = "red" if self.run.failed else "bold"
        self.output.say(self.run.ending(self._answer, time.time()), style)

    def _begin(self, record: Any) -> None:
        log = Path(record.log[0]) if record.log else None
        job = Job(words(record.rule_name, record.wildcards, log), log, record.created)
        self.run.begin(record.jobid, job)

    def _finish(self, record: Any) -> None:
        name, seconds = self.run.finish(record.job_id, record.created)
        if not self.output.live:
            far = f"[{self.run.done}/{self.run.total}]"
            self.output.say(f"{far} {name} · {progress.duration(seconds)}")

    def _fail(self, record: Any) -> None:
        job = self.run.fail(record.jobid, record.created)
        if self.run.stopped:
            return
        if self._logs:
            self._message(record)
            return
        lines = [f"Failed: {job.words}"]
        if record.rule_msg:
            lines.append(str(record.rule_msg))
        if job.log and (last := progress.last_line(job.log)):
            lines.append(last)
        lines += [f"log: {log}" for log in record.log]
        lines += [f"{name}: {value}" for name, value in record.aux.items()]
        self.output.say("\n    ".join(lines), "red")

    def _progress(self, record: Any) -> None:
        self.run.total = record.total
        if record.done == record.total and not self.output.live:
            self._message(record)

    def _error(self, record: LogRecord) -> None:
        # That a command has failed is told of its job.
        if "CalledProcessError in file" not in record.getMessage():
            self._message(record)

    def _message(self, record: Any) -> None:
        text = self._text(record)
        if expected := getattr(record, "expected", None):
            self.run.expect(*expected)
        self.run.stopped |= text.startswith(STOPS)
        if getattr(record, "answer", False):
            self._answer = text
        elif text and text != "None" and not _is_chatter(record):
            self.output.say(text, STYLES.get(record.levelno, ""))


def _is_chatter(record: LogRecord) -> bool:
    """Whether a record of Snakemake tells nothing that a person has to know."""
    submits = EXECUTORS in record.pathname and record.levelno <= INFO
    return _event(record) in SILENT or submits or record.getMessage().startswith(CHATTER)


def _event(record: LogRecord) -> LogEvent | None:
    return getattr(record, "event", None)

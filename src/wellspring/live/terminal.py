"""Where a run is told: one live line on a terminal with messages above it, or plain lines."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.text import Text

FRAMES = 2
"""Live lines a second."""


class Output(Protocol):
    """A place for messages."""

    live: bool
    """Whether it shows how far a run is, so that no line a job is needed."""

    def say(self, text: str, style: str = "") -> None:
        """Show a message in full. style: rich's, for terminals."""
        ...

    def stop(self) -> None:
        """Show no live line any more; messages are shown all the same."""
        ...


class Lines:
    """Plain lines, each written at once."""

    live = False

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def say(self, text: str, style: str = "") -> None:
        self.stream.write(f"{text}\n")
        self.stream.flush()

    def stop(self) -> None:
        return


class Terminal:
    """A live line below all else that this process and its jobs write to standard error.

    The jobs would write across the line. So until `stop` a pipe stands in for standard error, and
    what comes out of it is shown above the line. To a step it is no terminal: it writes its
    progress to its log alone.
    """

    live = True

    def __init__(self, line: Callable[[], str]) -> None:
        from rich.console import Console
        from rich.live import Live

        self._line = line
        self._pipe = _Pipe(self.say)
        self._console = Console(file=self._pipe.terminal, highlight=False, markup=False)
        self._live = Live(
            console=self._console,
            get_renderable=self._render,
            refresh_per_second=FRAMES,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        # The first line stands there before any message could be written over it.
        self._live.start(refresh=True)
        try:
            self._pipe.open()
        except BaseException:
            self._live.stop()
            raise

    def _render(self) -> Text:
        from rich.text import Text

        try:
            line = self._line()
        except Exception as error:
            # In the thread of the live line nobody would see it.
            line = f"progress cannot be told: {type(error).__name__}: {error}"
        return Text(line, no_wrap=True, overflow="ellipsis")

    def say(self, text: str, style: str = "") -> None:
        from rich.text import Text

        message = Text.from_ansi(text)
        message.stylize(style)
        self._console.print(message, soft_wrap=True)

    def stop(self) -> None:
        self._pipe.close()
        self._live.stop()


class _Pipe:
    """A pipe in place of standard error, whose lines are shown by another thread."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._saved = os.dup(2)
        self.terminal = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")
        self._reader: threading.Thread | None = None

    def open(self) -> None:
        """Take the place of standard error, also for processes that are started from now on."""
        sys.stderr.flush()
        reading, writing = os.pipe()
        self._reader = threading.Thread(target=self._read, args=(reading,), daemon=True)
        self._reader.start()
        os.dup2(writing, 2)
        os.close(writing)

    def _read(self, reading: int) -> None:
        with os.fdopen(reading, encoding="utf-8", errors="replace", newline="\n") as lines:
            for line in lines:
                # A line that was written over shows its last state.
                text = line.rstrip("\r\n").rpartition("\r")[2]
                try:
                    self._show(text)
                except Exception:
                    # Whoever writes must never wait for a reader that has gone.
                    with suppress(OSError):
                        os.write(self._saved, line.encode())

    def close(self) -> None:
        """Give standard error back, and wait until all that was written is shown.

        A job that goes on may hold the pipe open: its lines are shown as they come.
        """
        sys.stderr.flush()
        os.dup2(self._saved, 2)
        if self._reader is not None:
            self._reader.join(timeout=1)

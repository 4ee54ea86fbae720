"""Starts commands from one process that has their libraries loaded: no command loads torch again.

A server imports the libraries once, never `wellspring`. Each command is a fork of it with folder,
environment and module path of its own, so it reads the code of its own copy and no cache outlives
it. In the shell commands of Snakemake the word `wellspring` asks the same server.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import IO

LIBRARIES = """
snakemake.cli snakemake.executors.local snakemake.report.html_reporter
snakemake_executor_plugin_slurm
torch torch._dynamo safetensors.torch peft transformers.models.auto.modeling_auto
transformers.models.auto.tokenization_auto transformers.models.bert.modeling_bert
transformers.models.llama.modeling_llama
sentence_transformers.base.losses.gradcache
matplotlib.pyplot matplotlib.backends.backend_pdf PIL.JpegImagePlugin seaborn
polars pyarrow.parquet pydantic rich.progress scipy.stats sklearn.linear_model bm25s
altair vl_convert jinja2
""".split()
"""What commands load, as far as it takes long."""
SHARED = "WELLSPRING_TEST_FORKS"
"""The variable that names the socket of a server which several processes ask."""


class Job:
    """A command that a server runs; of `subprocess.Popen` what tests use."""

    def __init__(
        self, place: Path, command: Sequence[str], folder: Path, environment: dict[str, str]
    ) -> None:
        # `texts` closes them.
        self.out = tempfile.TemporaryFile()  # noqa: SIM115
        self.err = tempfile.TemporaryFile()  # noqa: SIM115
        whole = {**environment, "BASH_ENV": str(place.with_name("shell"))}
        with Path(os.devnull).open("rb") as nothing:
            streams = [stream.fileno() for stream in (nothing, self.out, self.err)]
            self.answer = _ask(str(place), command, str(folder), whole, streams)
        self.pid = int(self.answer.readline())

    def send_signal(self, number: int) -> None:
        """Send it to the command's own process, if that has not ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self) -> int:
        """Its status; negative is the signal that ended it."""
        with self.answer:
            return int(self.answer.readline())

    def texts(self) -> list[str]:
        """What it has written to its standard output and error; call this once, at the end."""
        texts = []
        for stream in (self.out, self.err):
            with stream:
                stream.seek(0)
                texts.append(stream.read().decode())
        return texts


def start(*command: str, folder: Path, environment: dict[str, str], **variables: str) -> Job:
    """Start `python -m …` in a folder. PYTHONPATH of the environment comes first.

    variables: with which the server itself is started, since libraries read some as they load.
    """
    return Job(_server(tuple(sorted(variables.items()))), command, folder, environment)


def run(
    *command: str, folder: Path, environment: dict[str, str], **variables: str
) -> subprocess.CompletedProcess:
    """The same, until it ends."""
    job = start(*command, folder=folder, environment=environment, **variables)
    status = job.wait()
    return subprocess.CompletedProcess(command, status, *job.texts())


def _ask(
    place: str,
    command: Sequence[str],
    folder: str,
    environment: dict[str, str],
    streams: Sequence[int],
) -> IO[bytes]:
    """Have the server at a socket run a command: its answer is two lines, process and status."""
    request = json.dumps([command, folder, environment]).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(place)
        socket.send_fds(connection, [len(request).to_bytes(8, "big")], streams)
        connection.sendall(request)
        return connection.makefile("rb")


def share() -> None:
    """Start the server that the workers of this process ask, too; does not wait until it is
    ready."""
    os.environ[SHARED] = str(_started(()))


@functools.cache
def _server(variables: tuple[tuple[str, str], ...]) -> Path:
    """The socket of a server with these variables, once it is ready."""
    shared = None if variables else os.environ.get(SHARED)
    place = Path(shared) if shared else _started(variables)
    patience = time.monotonic() + 300
    failed = place.with_name("failed")
    while not place.exists():
        assert not failed.exists(), failed.read_text()
        assert time.monotonic() < patience, "the server of commands did not start"
        time.sleep(0.05)
    return place


def _started(variables: tuple[tuple[str, str], ...]) -> Path:
    """Start a server that ends with this process; its socket is there as soon as it is ready."""
    # A socket's path is short.
    folder = tempfile.TemporaryDirectory(prefix="forks-")
    place = Path(folder.name) / "socket"
    client = shlex.join([sys.executable, "-I", "-S", __file__, "ask", str(place)])
    place.with_name("shell").write_text(f'wellspring() {{ {client} wellspring "$@"; }}\n')
    server = subprocess.Popen(
        [sys.executable, "-P", __file__, "serve", str(place)],
        env={**os.environ, **dict(variables)},
        stdin=subprocess.PIPE,
        start_new_session=True,
    )

    def stop() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        folder.cleanup()

    atexit.register(stop)
    return place


def _serve(place: str) -> None:
    """Answer until the standard input ends. Returns in a fork, too: there the command has run."""
    try:
        for name in LIBRARIES:
            importlib.import_module(name)
    except BaseException:
        Path(place).with_name("failed").write_text(traceback.format_exc())
        raise
    # Collections in the forks leave alone what is shared, and its pages stay shared.
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{place}.new")
    listener.listen(64)
    Path(f"{place}.new").rename(place)
    # Nobody waits for the forks.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return _keep(connection)
        connection.close()
    # The tests are gone, whether they ended or were ended.
    os.killpg(0, signal.SIGKILL)


def _keep(connection: socket.socket) -> None:
    """Run what is asked for in a fork, and answer with its status."""
    size, streams, _, _ = socket.recv_fds(connection, 8, 3)
    request = connection.makefile("rb").read(int.from_bytes(size, "big"))
    child = os.fork()
    if child == 0:
        connection.close()
        return _become(*json.loads(request), streams)
    connection.sendall(f"{child}\n".encode())
    _, status = os.waitpid(child, 0)
    # Who asked may have been killed meanwhile.
    with contextlib.suppress(ConnectionError):
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(
    command: list[str], folder: str, environment: dict[str, str], streams: list[int]
) -> None:
    for own, stream in enumerate(streams):
        os.dup2(stream, own)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = environment["PYTHONPATH"].split(os.pathsep)
    sys.argv = command
    status: object = 0
    try:
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
        status = 1
    if isinstance(status, str):
        sys.stderr.write(f"{status}\n")
    # What Python does at its end, less the taking apart of every library.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else status is not None)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        _serve(sys.argv[2])
    else:
        _, _, place, *command = sys.argv
        answer = _ask(place, command, str(Path.cwd()), dict(os.environ), (0, 1, 2))
        *_, status = map(int, answer)
        sys.exit(status if status >= 0 else 128 - status)

"""Errors that a user can mend. Everything else is a bug and keeps its traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class WellspringError(Exception):
    """A user's error: one line that names the key, file or line and says what to do.

    The command line prints ``str(error)`` alone and exits with status 1.
    """


class ConfigError(WellspringError):
    """config.yaml (or an overlay) asks for something that cannot be."""


class SourceError(WellspringError):
    """An input file is malformed: names the file, the line and the field."""


class ModelError(WellspringError):
    """A model cannot be loaded as its entry in the configuration says."""


class DownloadError(WellspringError):
    """A file cannot be had from the network, or is not the file that was asked for."""


class StaleArtefact(WellspringError):
    """A result file is truncated, foreign or older than what it is asked to stand for."""


class StorageError(WellspringError):
    """A vector that its type cannot hold."""

    def __init__(self, text_id: str, storage: object) -> None:
        super().__init__(
            f"text {text_id} or a neighbour: a vector does not fit {storage}: "
            "set the encoder's storage: float32"
        )


class ClusterError(WellspringError):
    """Slurm refuses something or cannot be asked."""


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Let an error of science, which knows no path, begin with the file that it is about."""
    try:
        yield
    except WellspringError as error:
        raise type(error)(f"{path}: {error}") from None

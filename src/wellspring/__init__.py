"""Where does a dense retriever's knowledge come from?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wellspring.artefacts.study import Study

__version__ = "0.2.0"


def open(
    results: str | os.PathLike[str] = "results",
    study: str | None = None,
    *,
    config: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
) -> Study:
    """Open a finished study to read it, as in a notebook.

    Args:
        results: the folder of all results.
        study: the name of one that lies there; None: the only one.
        config: configuration files, config.yaml first, then overlays. Then a file that is not what
            they ask for is refused with StaleArtefact. Without, files are taken for what they say.

    Raises:
        WellspringError: one line, where there is no such study.
    """
    # Importing the package loads neither polars nor Arrow.
    from pathlib import Path

    from wellspring.artefacts.study import opened

    files = [config] if isinstance(config, (str, os.PathLike)) else config
    return opened(Path(results), study, [Path(file) for file in files])

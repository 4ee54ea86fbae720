"""Writes the environments of this folder from requirements.lock: `python envs/generate.py`.

`make lock` calls it after it has written the lock file.
"""

from __future__ import annotations

import platform
from pathlib import Path

ENVS = Path(__file__).parent
LOCK = ENVS.parent / "requirements.lock"

CONDA = """\
# For `snakemake --sdm conda`: the packages of requirements.lock. Made by `make lock`.
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python ={python}
  - pip
  - pip:
{packages}
"""

APPTAINER = """\
# The packages of requirements.lock in one image. Made by `make lock`.
# apptainer build wellspring.sif envs/wellspring.def
# apptainer exec wellspring.sif snakemake --cores all
Bootstrap: docker
From: python:{python}-slim

%files
    requirements.lock /opt/requirements.lock

%post
    pip install --no-cache-dir -r /opt/requirements.lock

%environment
    # The checkout's own package: Snakemake is called in its folder.
    export PYTHONPATH="$PWD/src"
"""


def pins() -> list[str]:
    """The lines of the lock file that pin a package."""
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def files(python: str) -> dict[str, str]:
    """Name to content of every environment, for a version of Python."""
    packages = "\n".join(f"      - {pin}" for pin in pins())
    return {
        "wellspring.yaml": CONDA.format(python=python, packages=packages),
        "wellspring.def": APPTAINER.format(python=python),
    }


if __name__ == "__main__":
    for name, content in files(platform.python_version()).items():
        (ENVS / name).write_text(content, encoding="utf-8")

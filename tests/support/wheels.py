"""Wheels for pip to find in a folder of this machine."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path


def wheel(folder: Path, project: str, files: Mapping[str, bytes], version: str = "1.0") -> Path:
    """Write the wheel of a project: its files, and what a wheel says of itself."""
    name = project.replace("-", "_")
    described = f"{name}-{version}.dist-info"
    own = {
        f"{described}/METADATA": f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n"
        "Requires-Dist: no-such-project-anywhere\n",
        f"{described}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    contents = {**files, **{path: text.encode() for path, text in own.items()}}
    rows = (f"{path},sha256={_digest(body)},{len(body)}\n" for path, body in contents.items())
    contents[f"{described}/RECORD"] = "".join([*rows, f"{described}/RECORD,,\n"]).encode()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, body in contents.items():
            archive.writestr(member, body)
    return path


def serving(folder: Path) -> dict[str, str]:
    """The environment in which pip asks no index and finds the wheels of `folder`."""
    return {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder.resolve()),
        "PIP_CONFIG_FILE": "/dev/null",
    }


def _digest(body: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode().rstrip("=")

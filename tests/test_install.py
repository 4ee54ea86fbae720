"""Setting up: uv takes packages from where pip is told, and pip takes over where uv cannot."""

from __future__ import annotations

import subprocess
import sys

import pytest

from envs import install
from tests.support import wheels

LISTED = """\
:env:.find-links='/own'
global.cert='/etc/ca.crt'
global.extra-index-url='file:///one https://two/simple'
global.find-links='/everyone'
install.timeout='9'
download.platform='any'
"""


def test_what_pip_is_told_is_read_by_rank():
    assert install.settings(LISTED) == {
        "cert": "/etc/ca.crt",
        "extra-index-url": "file:///one https://two/simple",
        "find-links": "/own",
        "timeout": "9",
    }
    assert install.settings("") == {}


def test_places_become_arguments():
    flags = install.arguments(install.settings(LISTED))
    assert flags == [
        *("--index-strategy", "unsafe-best-match"),
        *("--extra-index-url", "file:///one", "--extra-index-url", "https://two/simple"),
        *("--find-links", "/own"),
    ]


@pytest.mark.parametrize("option", ["proxy", "only-binary", "require-hashes", "new-option"])
def test_what_uv_cannot_do_is_left_to_pip(option):
    assert install.arguments({"find-links": "/own", option: "x"}) is None


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """What is called, with packages of one folder, into another; uv is here, so pip need not fetch
    it."""
    wheels.wheel(tmp_path / "wheels", "one", {"one.py": b"ONE = 1\n"})
    for name, value in wheels.serving(tmp_path / "wheels").items():
        monkeypatch.setenv(name, value)
    (tmp_path / "lock").write_text("one==1.0\n")
    run, made = subprocess.run, []

    def watched(command, **options):
        made.append(command)
        if "uv==" in command[-1]:
            return subprocess.CompletedProcess(command, 0)
        if "install" in command:
            command = [*command, "--no-deps", "--target", str(tmp_path / "target")]
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", watched)
    return made


def installed(tmp_path) -> bool:
    return (tmp_path / "target" / "one.py").read_bytes() == b"ONE = 1\n"


def test_uv_installs_what_pip_would(calls, tmp_path):
    pytest.importorskip("uv")
    assert install.install([str(tmp_path / "lock")]) == 0
    assert installed(tmp_path)
    assert [sys.executable, "-m", "uv"] == calls[-1][:3]


def test_pip_takes_over_where_uv_fails(calls, tmp_path, monkeypatch, capfd):
    """An option that uv does not know."""
    monkeypatch.setattr(install, "arguments", lambda told: ["--no-such-option"])
    assert install.install([str(tmp_path / "lock")]) == 0
    assert installed(tmp_path)
    assert "uv could not install the packages" in capfd.readouterr().err
    assert "pip" in calls[-1]


def test_what_nobody_has_is_a_failure(calls, tmp_path):
    (tmp_path / "lock").write_text("two==1.0\n")
    assert install.install([str(tmp_path / "lock")])

"""Plain files, from a server on this machine that cuts, lies, moves, refuses and is slow."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import time
from collections import namedtuple

import pytest

from tests.support.fetching import BASE, BODY, SHA256, names, ranges, run, start
from tests.support.hub import Hub
from wellspring.downloads import http
from wellspring.errors import DownloadError


@pytest.fixture
def hub():
    with Hub() as started:
        started.files["facts.json.gz"] = BODY
        yield started


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(http, "PAUSES", (0.0, 0.0))


@pytest.mark.parametrize("fault", [{}, {"lengthless": True}, {"nameless": True}])
def test_a_file_arrives_whole_and_leaves_nothing_beside_it(hub, tmp_path, fault):
    hub.fault("facts.json.gz", **fault)
    counted = []
    path = tmp_path / "nq" / "train.json.gz"
    fetched = http.fetch(hub.url("facts.json.gz"), path, SHA256, len(BODY), counted.append)
    assert fetched == http.Fetched(SHA256, len(BODY))
    assert path.read_bytes() == BODY
    assert sum(counted) == len(BODY)
    assert names(path.parent) == ["train.json.gz"]
    assert http.length(hub.url("facts.json.gz")) == (None if "lengthless" in fault else len(BODY))


def test_a_cut_connection_is_continued_and_no_byte_is_served_twice(hub, tmp_path, quick):
    hub.fault("facts.json.gz", cut=300_000, times=4)
    counted = []
    http.fetch(hub.url("facts.json.gz"), tmp_path / "f", SHA256, None, counted.append)
    assert (tmp_path / "f").read_bytes() == BODY
    assert hub.sent["facts.json.gz"] == len(BODY) == sum(counted)
    assert ranges(hub) == [None, *(f"bytes={300_000 * cut}-" for cut in range(1, 5))]


def test_attempts_that_bring_nothing_end_and_what_came_is_continued_later(hub, tmp_path, quick):
    url, path = hub.url("facts.json.gz"), tmp_path / "f"
    hub.fault("facts.json.gz", cut=500_000, times=1)
    hub.fault("facts.json.gz", cut=0)
    line = r"/files/facts\.json\.gz: the connection was cut.*; 500,000 bytes are kept, start again"
    with pytest.raises(DownloadError, match=line):
        http.fetch(url, path)
    assert len(hub.requests) == 1 + len(http.PAUSES) + 1
    assert not path.exists()
    hub.faults.clear()
    assert http.fetch(url, path).sha256 == SHA256
    assert hub.sent["facts.json.gz"] == len(BODY)


def test_a_busy_server_is_asked_again_at_growing_pauses(hub, tmp_path, monkeypatch):
    slept = []
    monkeypatch.setattr(http.time, "sleep", slept.append)
    hub.fault("facts.json.gz", status=503, times=3)
    assert http.fetch(hub.url("facts.json.gz"), tmp_path / "f").sha256 == SHA256
    assert [pause for pause in slept if pause] == list(http.PAUSES[:3])
    hub.fault("facts.json.gz", status=503)
    with pytest.raises(DownloadError, match=r"facts\.json\.gz: the server answered 503"):
        http.fetch(hub.url("facts.json.gz"), tmp_path / "g")
    assert names(tmp_path) == ["f"]


@pytest.mark.parametrize("known", [True, False])
def test_a_server_without_ranges_starts_over(hub, tmp_path, quick, known):
    (tmp_path / ".f.part").write_bytes(BODY[:700_000])
    origin = {"url": hub.url("facts.json.gz"), "sha256": SHA256, "validator": '"x"'}
    (tmp_path / ".f.part.json").write_text(json.dumps(origin))
    hub.fault("facts.json.gz", deaf=True, nameless=not known)
    counted = []
    http.fetch(hub.url("facts.json.gz"), tmp_path / "f", SHA256, len(BODY), counted.append)
    assert (tmp_path / "f").read_bytes() == BODY
    assert hub.sent["facts.json.gz"] == len(BODY) == sum(counted)
    assert ranges(hub) == ["bytes=700000-"]


def test_a_file_that_changed_after_the_cut_is_fetched_from_its_start(hub, tmp_path, quick):
    hub.fault("facts.json.gz", cut=600_000, times=1)
    hub.fault("facts.json.gz", cut=0)
    with pytest.raises(DownloadError, match="600,000 bytes are kept"):
        http.fetch(hub.url("facts.json.gz"), tmp_path / "f")
    hub.faults.clear()
    hub.files["facts.json.gz"] = BODY[::-1]
    http.fetch(hub.url("facts.json.gz"), tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == BODY[::-1]


@pytest.mark.parametrize("left", ["address", "digest", "nothing known"])
def test_a_part_of_which_nothing_can_tell_is_not_continued(hub, tmp_path, left):
    origin = {"url": hub.url("facts.json.gz"), "sha256": None, "validator": None}
    origin |= {"address": {"url": "http://elsewhere/"}, "digest": {"sha256": "0" * 64}}.get(
        left, {}
    )
    (tmp_path / ".f.part").write_bytes(b"x" * 1000)
    (tmp_path / ".f.part.json").write_text(json.dumps(origin))
    assert http.fetch(hub.url("facts.json.gz"), tmp_path / "f").sha256 == SHA256
    assert ranges(hub) == [None]


def test_a_part_that_is_whole_is_only_checked(hub, tmp_path):
    (tmp_path / ".f.part").write_bytes(BODY)
    origin = {"url": hub.url("facts.json.gz"), "sha256": SHA256, "validator": None}
    (tmp_path / ".f.part.json").write_text(json.dumps(origin))
    http.fetch(hub.url("facts.json.gz"), tmp_path / "f", SHA256, len(BODY))
    assert hub.requests == []
    shutil.move(tmp_path / "f", tmp_path / ".f.part")
    (tmp_path / ".f.part.json").write_text(json.dumps(origin))
    http.fetch(hub.url("facts.json.gz"), tmp_path / "f", SHA256)
    assert ranges(hub) == [f"bytes={len(BODY)}-"]
    assert hub.sent["facts.json.gz"] == 0


def test_wrong_bytes_are_deleted_and_both_digests_told(hub, tmp_path):
    hub.fault("facts.json.gz", wrong=True)
    wrong = hashlib.sha256(BODY[:-1] + bytes([BODY[-1] ^ 1])).hexdigest()
    with pytest.raises(DownloadError, match=f"has sha256 {wrong}, and {SHA256} was expected"):
        http.fetch(hub.url("facts.json.gz"), tmp_path / "f", SHA256, len(BODY))
    assert names(tmp_path) == []


def test_a_file_of_another_size_is_refused_before_it_is_fetched(hub, tmp_path):
    with pytest.raises(DownloadError, match=r"has 1,280,000 bytes, and 7 were expected"):
        http.fetch(hub.url("facts.json.gz"), tmp_path / "f", SHA256, 7)
    hub.fault("facts.json.gz", lengthless=True)
    with pytest.raises(DownloadError, match=r"has 1,280,000 bytes, and 7 were expected"):
        http.fetch(hub.url("facts.json.gz"), tmp_path / "f", SHA256, 7)
    assert names(tmp_path) == []


def test_a_full_disk_is_told_before_the_first_byte(hub, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**7, 9 * 10**6, 10**6))
    with pytest.raises(DownloadError, match=r"needs 1,280,000 bytes and .* has 1,000,000 free"):
        http.fetch(hub.url("facts.json.gz"), tmp_path / "f", SHA256)
    assert names(tmp_path) == []


def test_refusals_name_the_address_and_the_status(hub, tmp_path, quick):
    with pytest.raises(DownloadError, match=r"/files/none: the server answered 404 Not Found"):
        http.fetch(hub.url("none"), tmp_path / "f")
    hub.fault("facts.json.gz", status=403)
    with pytest.raises(DownloadError, match=r"gz: the server answered 403 Forbidden"):
        http.fetch(hub.url("facts.json.gz"), tmp_path / "f")
    with pytest.raises(DownloadError, match=r"only http:// and https:// can be downloaded"):
        http.fetch("file:///etc/hosts", tmp_path / "f")
    with pytest.raises(DownloadError, match=r"cannot be reached \(Connection refused\); mend"):
        http.fetch("http://127.0.0.1:1/f", tmp_path / "f")
    assert names(tmp_path) == []


def test_a_server_that_falls_silent_is_not_waited_for(hub, tmp_path, quick, monkeypatch):
    monkeypatch.setattr(http, "TIMEOUTS", (1.0, 0.1))
    hub.fault("facts.json.gz", pause=0.5)
    hub.files["facts.json.gz"] = BODY[: 1 << 17]
    started = time.monotonic()
    with pytest.raises(DownloadError, match="the server did not answer in time"):
        http.fetch(hub.url("facts.json.gz"), tmp_path / "f")
    assert time.monotonic() - started < 5


def test_redirects_are_followed_to_other_addresses_but_not_to_other_schemes(hub, tmp_path):
    hub.fault("facts.json.gz", redirect=hub.url("moved"))
    hub.files["moved"] = BODY
    assert http.fetch(hub.url("facts.json.gz"), tmp_path / "f", SHA256).size == len(BODY)
    hub.fault("moved", redirect="file:///etc/hosts")
    with pytest.raises(DownloadError, match="No connection adapters"):
        http.fetch(hub.url("moved"), tmp_path / "g")
    hub.faults.clear()
    hub.fault("moved", redirect=hub.url("moved"))
    with pytest.raises(DownloadError, match="redirects"):
        http.fetch(hub.url("moved"), tmp_path / "g")
    assert names(tmp_path) == ["f"]


def test_a_killed_download_is_continued(hub, tmp_path):
    hub.fault("facts.json.gz", pause=0.05, times=1)
    spec = {**BASE, "source": hub.url("facts.json.gz")}
    path, part = tmp_path / "train.json.gz", tmp_path / ".train.json.gz.part"
    with start(hub, tmp_path, "download", path, spec) as process:
        while not part.exists() or part.stat().st_size < 500_000:
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    held = part.stat().st_size
    assert 500_000 <= held < len(BODY)
    assert not path.exists()
    time.sleep(0.2)
    before = hub.sent["facts.json.gz"]
    status, messages = run(hub, tmp_path, "download", path, spec)
    assert (status, path.read_bytes()) == (0, BODY)
    assert hub.sent["facts.json.gz"] - before == len(BODY) - held
    assert f"set sha256: {SHA256} and size: {len(BODY)} beside its source" in messages
    assert "2 of 2 MB" in messages
    assert names(tmp_path) == ["train.json.gz"]


def test_two_processes_that_download_one_file_do_so_one_after_another(hub, tmp_path):
    hub.fault("facts.json.gz", pause=0.05, times=1)
    spec = {**BASE, "source": hub.url("facts.json.gz"), "sha256": SHA256, "size": len(BODY)}
    path = tmp_path / "data" / "train.json.gz"
    with (
        start(hub, tmp_path, "download", path, spec) as one,
        start(hub, tmp_path, "download", path, spec) as two,
    ):
        said = [process.communicate(timeout=60)[1] for process in (one, two)]
    assert (one.returncode, two.returncode, path.read_bytes()) == (0, 0, BODY), said
    assert any("another process makes" in messages for messages in said)
    # The second one finds the file that the configuration pins, and fetches nothing.
    assert hub.sent["facts.json.gz"] == len(BODY)
    assert names(path.parent) == ["train.json.gz"]
    assert names(tmp_path) == ["data", "train.json.gz.json"]

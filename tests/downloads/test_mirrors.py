"""A file that lies at several addresses: tried in turn, and a digest decides."""

from __future__ import annotations

import hashlib

import pytest

from tests.support.fetching import BASE, BODY, SHA256, invoke, names
from tests.support.hub import Hub
from wellspring.downloads import http
from wellspring.errors import DownloadError

MD5 = hashlib.md5(BODY, usedforsecurity=False).hexdigest()


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr(http, "PAUSES", (0.0,))
    with Hub() as started:
        started.files |= {"first": BODY, "second": BODY, "third": BODY}
        yield started


def addresses(hub: Hub, *given: str) -> list[str]:
    return [hub.url(name) for name in given]


@pytest.mark.parametrize("fault", [{"status": 404}, {"cut": 0}, {"wrong": True}])
@pytest.mark.parametrize("digest", [{"sha256": SHA256}, {"md5": MD5}])
def test_the_next_address_is_tried_and_no_byte_of_the_first_is_kept(hub, tmp_path, fault, digest):
    hub.fault("first", **fault)
    counted, told = [], []
    fetched = http.fetch_any(
        addresses(hub, "first", "second", "third"),
        tmp_path / "f",
        told.append,
        counted.append,
        **digest,
    )
    assert fetched == http.Fetched(SHA256, len(BODY))
    assert (tmp_path / "f").read_bytes() == BODY
    assert sum(counted) == len(BODY)
    assert hub.sent["third"] == 0
    assert names(tmp_path) == ["f"]
    (line,) = told
    assert line.startswith(hub.url("first")) and line.endswith(f"{hub.url('second')} is tried")


def test_where_none_has_it_each_says_why(hub, tmp_path):
    hub.fault("first", status=404)
    hub.files["second"] = BODY[::-1]
    with pytest.raises(DownloadError) as caught:
        http.fetch_any(
            addresses(hub, "first", "second"), tmp_path / "f", print, None, sha256=SHA256
        )
    message = str(caught.value)
    assert "/first: the server answered 404" in message
    assert f"/second: has sha256 {hashlib.sha256(BODY[::-1]).hexdigest()}, and" in message
    assert names(tmp_path) == []


def test_md5_finds_damage_and_keeps_what_is_right(hub, tmp_path):
    url, path = hub.url("first"), tmp_path / "f"
    with pytest.raises(DownloadError, match=f"has md5 {MD5}, and {'0' * 32} was expected"):
        http.fetch(url, path, md5="0" * 32)
    assert names(tmp_path) == []
    assert http.fetch(url, path, md5=MD5).sha256 == SHA256
    before = hub.sent["first"]
    assert http.fetch(url, path, md5=MD5) == http.Fetched(SHA256, len(BODY))
    assert hub.sent["first"] == before
    path.write_bytes(b"other")
    http.fetch(url, path, sha256=SHA256, md5=MD5)
    assert path.read_bytes() == BODY


def test_the_command_tries_mirrors_and_says_what_would_pin_the_file(hub, tmp_path):
    hub.fault("first", status=404)
    path, mirrors = tmp_path / "source.zip", addresses(hub, "second")
    spec = {**BASE, "source": hub.url("first"), "mirrors": mirrors, "md5": MD5}
    done = invoke(path, spec)
    assert (done.exit_code, path.read_bytes()) == (0, BODY), done.output
    assert f"{hub.url('second')} is tried" in done.stderr
    assert f"md5 alone pins {hub.url('first')}: set sha256: {SHA256}" in done.stderr
    error = invoke(tmp_path / "x.zip", {**spec, "md5": "0" * 32}).exception
    assert "/first: the server answered 404" in str(error)
    assert f"/second: has md5 {MD5}" in str(error)

"""A Hugging Face hub and a file server on this machine, with faults that a test switches on."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".safetensors", ".bin", ".parquet", ".arrow", ".zip", ".gz")
"""What a hub keeps outside git and names by its sha256."""


@dataclass
class Fault:
    """What goes wrong with one file, `times` times."""

    cut: int | None = None
    """Close the connection after so many bytes of the body."""
    wrong: bool = False
    """Turn the last byte round."""
    status: int | None = None
    redirect: str | None = None
    deaf: bool = False
    """Ignore Range, as a simple server does."""
    nameless: bool = False
    """Send no ETag and no Last-Modified."""
    lengthless: bool = False
    """Send no Content-Length."""
    pause: float = 0.0
    """Seconds between two pieces of 64 KiB."""
    times: int = 1 << 30


@dataclass
class Repository:
    """Files by revision; a revision is a commit, and names that point to one."""

    kind: str
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)
    token: str | None = None
    """Who does not send it may see what there is and fetch nothing: a gated repository."""


class Hub:
    """`with Hub() as hub:` serves `hub.add(…)`ed folders at `hub.endpoint`, `hub.files` at
    `{endpoint}/files/{name}`; counts the body bytes it sends in `hub.sent`, by file name."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[Fault]] = {}
        self.sent: Counter[str] = Counter()
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.unknown: list[str] = []
        self.blobs: dict[str, tuple[str, bytes]] = {}
        self.lock = threading.Lock()

    def __enter__(self) -> Hub:
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def endpoint(self) -> str:
        """Where the hub listens."""
        return f"http://127.0.0.1:{self.server.server_port}"

    def url(self, name: str) -> str:
        """The address of a plain file."""
        return f"{self.endpoint}/files/{name}"

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """The variables with which a process uses this hub, and a cache of its own."""
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            **more,
        }

    def add(
        self,
        name: str,
        folder: Path | dict[str, bytes],
        kind: str = "model",
        revision: str = "main",
        token: str | None = None,
    ) -> str:
        """Commit a folder to a repository under a revision's name; gives the commit."""
        files = (
            folder
            if isinstance(folder, dict)
            else {
                str(path.relative_to(folder)): path.read_bytes()
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            }
        )
        repository = self.repositories.setdefault((kind, name), Repository(kind))
        digests = [(path, hashlib.sha1(body).hexdigest()) for path, body in sorted(files.items())]
        commit = hashlib.sha1(json.dumps([name, digests]).encode()).hexdigest()
        repository.commits[commit] = files
        repository.references[revision] = commit
        repository.token = token
        return commit

    def fault(self, name: str, **what: Any) -> None:
        """From now on the file goes wrong so, once what was asked for before is used up."""
        self.faults.setdefault(name, []).append(Fault(**what))

    def take(self, name: str, *, use: bool) -> Fault:
        """The fault that meets the next request of a file, used up by it where `use` says so."""
        with self.lock:
            waiting = [fault for fault in self.faults.get(name, ()) if fault.times > 0]
            if not waiting:
                return Fault()
            waiting[0].times -= use
            return waiting[0]


def blob_id(body: bytes) -> str:
    """Git's name of a file's bytes."""
    return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()


def described(path: str, body: bytes) -> dict:
    """A file as the hub's API tells of it."""
    large = path.endswith(LARGE)
    pointer = {
        "lfs": {
            "sha256": hashlib.sha256(body).hexdigest(),
            "size": len(body),
            "pointerSize": 134,
        }
    }
    return {
        "rfilename": path,
        "size": len(body),
        "blobId": blob_id(b"pointer " + body if large else body),
        **(pointer if large else {}),
    }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: ClassVar[Hub]

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.route()

    def do_GET(self) -> None:
        self.route()

    def do_POST(self) -> None:
        self.form = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.route()

    def route(self) -> None:
        self.hub.requests.append((self.command, self.path, dict(self.headers)))
        path = unquote(urlsplit(self.path).path)
        if found := re.fullmatch(r"/files/(.+)", path):
            return self.plain(found[1])
        if found := re.fullmatch(r"/content/([0-9a-f]+)", path):
            name, body = self.hub.blobs[found[1]]
            return self.body(name, body, found[1])
        api = r"/api/(model|dataset)s/([^/]+/[^/]+?)"
        if found := re.fullmatch(api + r"(?:/revision/(.+))?", path):
            return self.info(found[1], found[2], found[3] or "main")
        if found := re.fullmatch(api + r"/tree/([^/]+)(?:/(.*))?", path):
            return self.tree(found[1], found[2], found[3], found[4] or "")
        if found := re.fullmatch(api + r"/paths-info/([^/]+)", path):
            return self.paths(found[1], found[2], found[3])
        if found := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self.resolve("dataset" if found[1] else "model", found[2], found[3], found[4])
        self.hub.unknown.append(f"{self.command} {path}")
        return self.refuse(404)

    def refuse(self, status: int, code: str = "", message: str = "") -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": message} if code else {}
        self.answer(status, b"", headers)

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def json(self, content: object) -> None:
        self.answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def find(self, kind: str, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        repository = self.hub.repositories.get((kind, name))
        if repository is None:
            self.refuse(401, "RepoNotFound", "Repository not found")
            return None
        commit = repository.references.get(revision, revision)
        if commit not in repository.commits:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return commit, repository.commits[commit]

    def info(self, kind: str, name: str, revision: str) -> None:
        if found := self.find(kind, name, revision):
            siblings = [described(path, body) for path, body in found[1].items()]
            self.json({"id": name, "sha": found[0], "siblings": siblings, "private": False})

    def entry(self, path: str, files: dict[str, bytes]) -> dict | None:
        if path in files:
            told = described(path, files[path])
            lfs = told.get("lfs")
            told["lfs"] = {**lfs, "oid": lfs["sha256"]} if lfs else None
            return {"type": "file", "path": path, "oid": told["blobId"], **told}
        if not path or any(name.startswith(f"{path}/") for name in files):
            return {"type": "directory", "path": path, "oid": blob_id(path.encode())}
        return None

    def tree(self, kind: str, name: str, revision: str, under: str) -> None:
        found = self.find(kind, name, revision)
        if found is None:
            return
        prefix = f"{under.strip('/')}/" if under.strip("/") else ""
        below = [path for path in found[1] if path.startswith(prefix)]
        if not below:
            return self.refuse(404, "EntryNotFound", "Entry not found")
        wanted = set(below)
        recursive = "true" in parse_qs(urlsplit(self.path).query).get("recursive", [""])[0].lower()
        if not recursive:
            wanted = {prefix + path[len(prefix) :].split("/")[0] for path in below}
        self.json([self.entry(path, found[1]) for path in sorted(wanted)])

    def paths(self, kind: str, name: str, revision: str) -> None:
        if found := self.find(kind, name, revision):
            wanted = parse_qs(self.form).get("paths", [])
            entries = [self.entry(path, found[1]) for path in wanted]
            self.json([entry for entry in entries if entry is not None])

    def resolve(self, kind: str, name: str, revision: str, path: str) -> None:
        found = self.find(kind, name, revision)
        if found is None:
            return
        token = self.hub.repositories[kind, name].token
        given = self.headers.get("Authorization")
        if token and given != f"Bearer {token}":
            self.refuse(403 if given else 401, "GatedRepo", f"Access to {name} is restricted.")
            return
        commit, files = found
        if path not in files:
            self.answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return
        body, told = files[path], described(path, files[path])
        if "lfs" not in told:
            return self.body(path, body, told["blobId"], {"X-Repo-Commit": commit})
        digest = told["lfs"]["sha256"]
        self.hub.blobs[digest] = (path, body)
        # Another host than the hub's, as large files have one: no token may follow there.
        other = self.hub.endpoint.replace("127.0.0.1", "localhost")
        self.answer(
            302,
            b"",
            {
                "Location": f"{other}/content/{digest}",
                "X-Repo-Commit": commit,
                "X-Linked-Size": str(len(body)),
                "X-Linked-ETag": f'"{digest}"',
            },
        )

    def plain(self, name: str) -> None:
        if name not in self.hub.files:
            return self.refuse(404)
        body = self.hub.files[name]
        self.body(name, body, hashlib.md5(body).hexdigest())

    def body(
        self, name: str, body: bytes, etag: str, headers: dict[str, str] | None = None
    ) -> None:
        fault = self.hub.take(name, use=self.command == "GET")
        if fault.status:
            return self.refuse(fault.status)
        if fault.redirect:
            return self.answer(302, b"", {"Location": fault.redirect})
        if fault.wrong:
            body = body[:-1] + bytes([body[-1] ^ 1])
        headers = {"Accept-Ranges": "bytes", **(headers or {})}
        if not fault.nameless:
            headers["ETag"] = f'"{etag}"'
        first, last = self.range(len(body), f'"{etag}"', fault)
        if first is None:
            return self.answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
        ranged = (first, last) != (0, len(body))
        if ranged:
            headers["Content-Range"] = f"bytes {first}-{last - 1}/{len(body)}"
        self.send(206 if ranged else 200, name, body[first:last], headers, fault)

    def range(self, size: int, etag: str, fault: Fault) -> tuple[int | None, int]:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        unchanged = self.headers.get("If-Range", etag) == etag
        if asked is None or fault.deaf or not unchanged:
            return 0, size
        first = int(asked[1])
        return (None, size) if first >= size else (first, min(int(asked[2] or size), size - 1) + 1)

    def send(
        self, status: int, name: str, body: bytes, headers: dict[str, str], fault: Fault
    ) -> None:
        self.send_response(status)
        if fault.lengthless:
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body)))
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        body = body if fault.cut is None else body[: fault.cut]
        for start in range(0, len(body), 1 << 16):
            part = body[start : start + (1 << 16)]
            # Counted first: who has read all of it finds all of it counted.
            self.hub.sent[name] += len(part)
            try:
                self.wfile.write(part)
            except OSError:
                self.hub.sent[name] -= len(part)
                break
            time.sleep(fault.pause)
        if fault.cut is not None:
            self.close_connection = True

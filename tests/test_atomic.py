"""Two writers of one file, parts that dead processes left, and links into a shared folder."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from wellspring import atomic
from wellspring.errors import WellspringError

WRITER = """
import sys, time
from pathlib import Path
from wellspring.atomic import replacing
path, letter, last = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
for _ in range(40):
    with replacing(path) as part, part.open("w") as file:
        for _ in range(50):
            file.write(letter * 1000)
            file.flush()
time.sleep(last)
"""


def start(code: str, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def part(path: Path, host: str | None = None, pid: int | None = None) -> Path:
    """A part that a process has left, or writes."""
    with atomic.replacing(path) as own:
        pass_by = own.name
        own.write_text("")
    path.unlink()
    name = pass_by.replace(atomic._host(), host) if host else pass_by
    left = path.with_name(name.replace(f"-{os.getpid()}-", f"-{pid or os.getpid()}-"))
    left.write_text("half")
    return left


@pytest.fixture
def dead() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


def test_two_processes_that_write_one_file_leave_it_whole(tmp_path):
    path = tmp_path / "x"
    writers = [start(WRITER, path, letter, 0) for letter in "ab"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            seen.add(path.read_text())
    assert [writer.communicate()[1] for writer in writers] == ["", ""]
    assert seen <= {"a" * 50_000, "b" * 50_000} and path.read_text() in seen
    assert names(tmp_path) == ["x"]


def test_threads_have_parts_of_their_own(tmp_path):
    path, together, texts = tmp_path / "x", threading.Barrier(4), []

    def write(letter: str) -> None:
        with atomic.replacing(path) as own:
            together.wait()
            own.write_text(letter)
            together.wait()
            texts.append(own.read_text())

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(texts) == list("abcd") and names(tmp_path) == ["x"]


def test_the_next_writer_removes_what_dead_processes_left(tmp_path, dead):
    left = part(tmp_path / "x", pid=dead)
    other = part(tmp_path / "y", pid=dead)
    with atomic.replacing(tmp_path / "x") as own:
        assert not left.exists() and not other.exists()
        own.write_text("whole")
    assert names(tmp_path) == ["x"]


def test_a_living_writer_keeps_its_part_however_old(tmp_path):
    with subprocess.Popen(["sleep", "60"]) as living:
        parts = [part(tmp_path / "x"), part(tmp_path / "x", pid=living.pid)]
        for each in parts:
            os.utime(each, (0, 0))
        atomic.sweep(tmp_path)
        assert all(each.exists() for each in parts)
        living.kill()
    atomic.sweep(tmp_path)
    assert names(tmp_path) == [parts[0].name]


def test_parts_of_other_machines_go_by_their_age(tmp_path, dead):
    old, new = (part(tmp_path / name, "node-7-4026531836", dead) for name in "ab")
    os.utime(old, (time.time() - atomic.AGE - 60,) * 2)
    atomic.sweep(tmp_path)
    assert names(tmp_path) == [new.name]


def test_what_is_no_part_of_a_writer_stays(tmp_path):
    # A download's part is continued, and others' files are not ours.
    kept = [".x.part", ".x.part.json", ".movie.part", "x.host-1-1-1.part"]
    for name in kept:
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (0, 0))
    atomic.sweep(tmp_path)
    assert names(tmp_path) == sorted(kept)


@pytest.mark.parametrize("node", ["node7.cluster.example", "a_b", ""])
def test_a_part_is_known_by_any_name_of_a_machine(tmp_path, monkeypatch, dead, node):
    monkeypatch.setattr(atomic.platform, "node", lambda: node)
    left = part(tmp_path / "x.y.parquet", pid=dead)
    assert left.exists()
    atomic.sweep(tmp_path)
    assert names(tmp_path) == []


def test_a_link_into_a_shared_folder_is_replaced_and_not_what_it_leads_to(tmp_path):
    shared, path = tmp_path / "cache" / "x", tmp_path / "results" / "x"
    for folder in (shared.parent, path.parent):
        folder.mkdir()
    shared.write_text("of another study")
    path.symlink_to(shared)
    with atomic.replacing(path) as own:
        own.write_text("own")
    assert shared.read_text() == "of another study"
    assert not path.is_symlink() and path.read_text() == "own"
    assert names(shared.parent) == names(path.parent) == ["x"]


ALONE = """
import sys, time
from pathlib import Path
from wellspring.atomic import alone
path = Path(sys.argv[1])
with alone(path, lambda: print("waits", file=sys.stderr)):
    inside = path.with_name("inside")
    inside.touch(exist_ok=False)
    time.sleep(0.3)
    inside.unlink()
"""


def test_makers_of_one_file_work_one_after_another(tmp_path):
    makers = [start(ALONE, tmp_path / "x") for _ in range(4)]
    said = [maker.communicate()[1] for maker in makers]
    assert [maker.returncode for maker in makers] == [0] * 4, said
    assert "waits\n" in said and set(said) <= {"", "waits\n"}
    assert names(tmp_path) == []


def test_the_lock_of_a_killed_maker_is_free(tmp_path):
    held = start(
        "import time\n" + ALONE.replace("time.sleep(0.3)", "time.sleep(60)"), tmp_path / "x"
    )
    while not (tmp_path / "inside").exists():
        time.sleep(0.01)
    held.kill()
    held.communicate()
    with atomic.alone(tmp_path / "x", lambda: pytest.fail("it waits for a dead process")):
        pass
    assert names(tmp_path) == ["inside"]


def test_a_limit_on_a_file_s_size_is_one_line_and_leaves_nothing(tmp_path):
    code = """
import resource, sys
from pathlib import Path
from wellspring.atomic import replacing
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
with replacing(Path(sys.argv[1])) as part:
    part.write_bytes(bytes(2000))
"""
    done = start(code, tmp_path / "x")
    last = done.communicate()[1].splitlines()[-1]
    assert last.endswith(
        "x: cannot be written: File too large: raise the limit on the size of a "
        "file (ulimit -f) and start again"
    )
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_locked_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(WellspringError, match=r"x: cannot be written: File exists$"),
        atomic.alone(tmp_path / "file" / "x", lambda: None),
    ):
        pass

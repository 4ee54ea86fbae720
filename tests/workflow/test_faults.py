"""Runs that are ended, full disks, bits that flip: nothing wrong is left, and all comes back."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support import forks
from tests.support import study as studies
from tests.workflow.test_edits import set_pooling

SHARD = "results/embeddings/tiny/questions/query/shard-000.parquet"
PROBE = "results/probes/tiny/questions/layer-00/passages-2.parquet"
SCORES = "results/attributions/norm/tiny/questions/query/layer-01/shard-000.parquet"
ACTIVATIONS = "results/activations/norm/tiny/questions/query.parquet"
TARGETS = [SHARD, PROBE, SCORES]


def contents(study: studies.Study) -> dict[str, bytes]:
    """All tables of a study, byte for byte."""
    tables = sorted(study.folder.glob("results/**/*.parquet"))
    return {str(path.relative_to(study.folder)): path.read_bytes() for path in tables}


def flip(path: Path) -> None:
    """Change one bit of the numbers of every column, or one in the middle of another file."""
    content = bytearray(path.read_bytes())
    places = [len(content) // 2]
    if path.suffix == ".parquet":
        group = pq.read_metadata(path).row_group(0)
        chunks = [group.column(number) for number in range(group.num_columns)]
        starts = [chunk.dictionary_page_offset or chunk.data_page_offset for chunk in chunks]
        places = [
            start + chunk.total_compressed_size - 1
            for start, chunk in zip(starts, chunks, strict=True)
        ]
    for place in places:
        content[place] ^= 16
    path.write_bytes(content)


def start(study: studies.Study, *arguments: str) -> forks.Job:
    """Snakemake at work in the background."""
    own = {"PYTHONPATH": str(study.folder / "src"), "OMP_NUM_THREADS": "1"}
    return forks.start(
        *("snakemake", "--cores", "2", *studies.SINGLE, *arguments),
        folder=study.folder,
        environment={**os.environ, **own},
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_in_the_middle_goes_on_as_if_it_had_not(finished, tmp_path, number):
    study = studies.make(tmp_path / "study")
    running = start(study, *TARGETS)
    for _ in range(3000):
        if (study.folder / "results/datasets/questions/samples.parquet").exists():
            break
        time.sleep(0.02)
    if number is signal.SIGKILL:
        # Another run in the same folder is told so, and does nothing.
        second = study.run(*TARGETS, check=False)
        assert second.returncode and "Directory cannot be locked" in second.stdout + second.stderr
    running.send_signal(number)
    assert running.wait() != 0
    assert not all((study.folder / target).exists() for target in TARGETS)
    if number is signal.SIGKILL:
        locked = study.run(*TARGETS, check=False)
        assert locked.returncode and "--unlock" in locked.stdout + locked.stderr
        study.run("--unlock")
    # Jobs of a run that was killed may still be at work: both end with whole files.
    study.run(*TARGETS)
    undisturbed = contents(finished)
    made = contents(study)
    assert set(TARGETS) <= made.keys()
    assert made == {name: undisturbed[name] for name in made}
    assert study.planned(*TARGETS) == {}
    for folder in (study, whole := copy(finished, tmp_path)):
        folder.configure(set_pooling)
    assert study.planned(*TARGETS) == whole.planned(*TARGETS) != {}


def copy(finished: studies.Study, folder: Path) -> studies.Study:
    """A copy of the finished study."""
    shutil.copytree(finished.folder, folder / "whole", symlinks=True)
    return studies.Study(folder / "whole")


@pytest.mark.slow
def test_a_full_disk_is_one_line_a_step_and_a_rerun_mends_it(study, finished):
    """A page of space for a shard of embeddings, a table of probes and a shard of attributions."""
    targets = [SHARD.replace("tiny", "fresh"), PROBE, SCORES]
    fillers = [(study.folder / target).with_name("filler") for target in targets]
    with ExitStack() as mounted:
        for filler in fillers:
            mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(filler.parent)]
            if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
                pytest.skip("mounting a small file system needs root")
            mounted.callback(subprocess.run, ["umount", str(filler.parent)], check=True)
            filler.write_bytes(bytes(4096))
        done = study.run("--keep-going", "--forcerun", *targets, "--", *targets, check=False)
        said = done.stdout + done.stderr
        assert done.returncode and "Traceback" not in said
        for target in targets:
            path = Path(target)
            line = (
                rf"wellspring: {path.parent}/{path.stem}\S*: cannot be written: No space left on "
            )
            assert len(re.findall(line + "device: make room on its disk", said)) == 1, said
        assert [list(each.parent.iterdir()) for each in fillers] == [[each] for each in fillers]
    logs = [path.read_text() for path in study.folder.glob("results/logs/**/*.log")]
    assert sum("error: " in log and "No space left" in log for log in logs) == len(targets)
    study.run(*targets)
    assert contents(study) == contents(finished)
    assert study.planned() == {}


FLIPPED = [
    (SCORES, ACTIVATIONS),
    (SHARD, PROBE),
    ("results/datasets/questions/texts.parquet", SHARD),
    ("results/datasets/questions/samples.parquet", PROBE),
    (PROBE, "results/studies/small/findings/findings.parquet"),
    (
        "results/models/fresh/model.safetensors",
        "results/embeddings/fresh/questions/query/shard-000.parquet",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "reader"), FLIPPED)
def test_a_flipped_bit_is_named_and_the_printed_command_mends_it(study, finished, name, reader):
    flip(study.folder / name)
    done = study.run("--forcerun", reader, "--", reader, check=False)
    said = done.stdout + done.stderr
    found = re.search(rf"wellspring: \S*{re.escape(name)}: (.*)", said)
    assert done.returncode and found, said[-3000:]
    command = re.search(r"snakemake --cores all (--forcerun \S+)", found[1])
    assert command, found[1]
    study.run(*command[1].split())
    assert (study.folder / name).read_bytes() == (finished.folder / name).read_bytes()
    assert contents(study) == contents(finished)
    assert study.planned() == {}


@pytest.mark.parametrize("keep", [0.5, pytest.param(0.999, marks=pytest.mark.slow)])
def test_a_truncated_file_is_planned_before_anything_runs(study, keep):
    for name in (SHARD, SCORES, PROBE):
        path = study.folder / name
        content = path.read_bytes()
        path.write_bytes(content[: int(keep * len(content))])
    planned = study.planned(*TARGETS)
    assert planned.keys() == {"embed", "probe", "attribute"}

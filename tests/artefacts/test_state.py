"""Where a study stands: why files are not what is asked for, and how long the rest takes."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.artefacts.test_batches import RAW
from wellspring import fingerprint, shards
from wellspring.artefacts import Plan, lines
from wellspring.artefacts.attributions import AttributionShard
from wellspring.artefacts.datasets import Qrels
from wellspring.artefacts.state import Job, State
from wellspring.config import parse

TABLE = pl.DataFrame({"split": ["test"], "query_id": ["q"], "text_id": ["p"], "grade": [1]})


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Plan(parse(RAW))


def made(plan, artefact, **circumstances):
    """What a job would say of an artefact's file."""
    identity = {"step": artefact.step, **artefact.told(plan.spec(artefact))}
    if artefact.batched_by:
        identity[artefact.batched_by] = getattr(artefact, artefact.batched_by)
    science = tuple(artefact.science(plan.spec(artefact)))
    own = {"code": plan.code(artefact), "modules": fingerprint.modules(science)}
    return shards.Provenance(identity, own | circumstances, {}, plan.key(artefact))


def reason(plan, artefact):
    """The one line on an artefact's file; None where it is what is asked for."""
    stale = [each for each in plan.stale([artefact]) if each.artefact == artefact]
    return stale[0].reason if stale else None


def test_a_file_that_is_asked_for_has_no_reason(plan):
    qrels = Qrels("one")
    shards.write(Path(qrels.main_file), TABLE.to_arrow(), made(plan, qrels))
    assert reason(plan, qrels) is None


def test_values_are_told_from_what_to_what(plan):
    qrels, path = Qrels("one"), Path(Qrels("one").main_file)
    shards.write(path, TABLE.to_arrow(), made(plan, qrels))
    entry = {**RAW["datasets"]["one"], "splits": {"test": 0.25, "validation": 0.125, "seed": 3}}
    other = Plan(parse({**RAW, "datasets": {**RAW["datasets"], "one": entry}}))
    usual = plan.spec(qrels).splits
    assert reason(other, qrels) == (
        f"splits.seed changed from {usual.seed} to 3; "
        f"splits.test changed from {usual.test} to 0.25; "
        f"splits.validation changed from {usual.validation} to 0.125"
    )
    assert list(lines(other.stale([qrels])))[1].startswith(f"  {path}: splits.seed changed")


def test_the_module_that_an_edit_touched_is_named(plan):
    qrels, path = Qrels("one"), Path(Qrels("one").main_file)
    modules = fingerprint.modules(("datasets.splits",))
    assert set(modules) == set(fingerprint.closure(("datasets.splits",)))
    edited = {**modules, "datasets.splits": "0" * 8, "gone": "1" * 8}
    said = {**made(plan, qrels, code="other", modules=edited).__dict__, "key": "other"}
    shards.write(path, TABLE.to_arrow(), shards.Provenance(**said))
    assert reason(plan, qrels) == "the code of qrels changed: datasets.splits, gone"
    # Files of earlier versions do not say.
    said["circumstances"] = {"code": "other"}
    shards.write(path, TABLE.to_arrow(), shards.Provenance(**said))
    assert reason(plan, qrels) == (
        f"the code of qrels changed: datasets.splits or one of the {len(modules)} modules behind it"
    )


def test_modules_change_neither_key_nor_content(plan, tmp_path):
    qrels = Qrels("one")
    one, two = made(plan, qrels), made(plan, qrels, modules={})
    assert one.key == two.key and one.identity == two.identity
    for name, each in (("one", one), ("two", two)):
        shards.write(tmp_path / name, TABLE.to_arrow(), each)
    assert pl.read_parquet(tmp_path / "one").equals(pl.read_parquet(tmp_path / "two"))


def test_foreign_and_damaged_files_are_one_clear_line(plan):
    qrels, path = Qrels("one"), Path(Qrels("one").main_file)
    shards.write(path, TABLE.to_arrow(), made(plan, qrels))
    path.write_bytes(path.read_bytes()[:-20])
    assert reason(plan, qrels) == "cannot be read: it is cut off, damaged, or something else"
    pq.write_table(TABLE.to_arrow(), path)
    assert reason(plan, qrels) == "was not made here: it does not say how it was made"
    said = {**made(plan, qrels).__dict__, "identity": {"step": "texts"}, "key": "other"}
    shards.write(path, TABLE.to_arrow(), shards.Provenance(**said))
    assert reason(plan, qrels) == "is a file of another kind: texts"
    path.unlink()
    shard = AttributionShard("norm", "small", "one", "query", 2, 0)
    said = made(plan, AttributionShard("norm", "small", "one", "query", 1, 0))
    elsewhere = shards.Provenance(said.identity, said.circumstances, {}, "other")
    shards.write(Path(shard.main_file), TABLE.to_arrow(), elsewhere)
    assert reason(plan, shard) == "belongs elsewhere: it stands for layer 1"


def jobs(*work):
    """Jobs by number, each of (seconds, threads, the numbers that it waits for)."""
    return {
        (number,): Job("rule", threads, seconds, {(each,) for each in needs})
        for number, (seconds, threads, needs) in enumerate(work)
    }


@pytest.mark.parametrize(
    ("work", "cores", "core_seconds", "wall_seconds"),
    [
        ([], 2, 0, 0),
        ([(3, 1, []), (4, 1, [0]), (5, 1, [1])], 4, 12, 12),
        ([(1, 1, [])] * 10, 4, 10, 3),
        # A job of eight threads takes the two cores that there are.
        ([(2, 8, []), (3, 8, []), (4, 1, []), (4, 1, [])], 2, 2 * 2 + 3 * 2 + 8, 9),
        # What is not known takes no time, and nothing waits for it for ever.
        ([(None, 1, []), (2, 1, [0])], 1, 2, 2),
        # The long chain begins while a short job goes on.
        ([(1, 1, []), (1, 1, []), (6, 1, [0]), (1, 1, [1])], 2, 9, 7),
    ],
)
def test_planted_schedules(work, cores, core_seconds, wall_seconds):
    state = State("planted", [], [], [], jobs(*work))
    assert state.core_seconds(cores) == core_seconds
    assert state.wall_seconds(cores) == wall_seconds


@given(
    st.lists(st.tuples(st.integers(0, 9), st.lists(st.integers(0, 30), max_size=3)), max_size=25),
    st.integers(1, 5),
)
def test_a_schedule_lies_between_the_bounds_of_list_scheduling(work, cores):
    """Graham: no list schedule takes longer than work/cores + (1 − 1/cores) × longest chain."""
    rows = [
        (float(seconds), 1, [each % number for each in needs] if number else [])
        for number, (seconds, needs) in enumerate(work)
    ]
    chain = []
    for seconds, _, needs in rows:
        chain.append(seconds + max((chain[each] for each in needs), default=0))
    longest, total = max(chain, default=0), sum(seconds for seconds, _, _ in rows)
    wall = State("planted", [], [], [], jobs(*rows)).wall_seconds(cores)
    assert max(longest, total / cores) <= wall + 1e-9
    assert wall <= total / cores + (1 - 1 / cores) * longest + 1e-9

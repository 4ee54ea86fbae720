"""The benchmark of `wellspring inspect` measures what it says."""

from __future__ import annotations

from benchmarks import inspection


def test_a_small_shard_is_measured_and_removed():
    rows = inspection.main(size=2_000_000, repeats=1)
    seconds, busy, memory, reading = (float(row["value"].replace(",", "")) for row in rows)
    assert seconds > 0 and busy > 0 and 50 < memory < 500 and reading < seconds
    assert all(row["measure"].startswith("shard of 0.00 GB") for row in rows)

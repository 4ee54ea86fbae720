"""Files that one job makes: which belong together, and which rule makes them."""

from __future__ import annotations

import re
from dataclasses import fields
from types import SimpleNamespace

import pytest

from benchmarks import studies
from wellspring.artefacts import WILDCARDS, Plan, batches, equipped
from wellspring.artefacts.attributions import AttributionShard
from wellspring.artefacts.probes import ProbeOutcomes
from wellspring.config import parse

RAW = {
    "models": {
        "small": {"source": "path:small", "architecture": "bert", "layers": 2},
        "deep": {"source": "path:deep", "architecture": "bert", "layers": 9},
    },
    "retrievers": {
        "small": {"query": {"model": "small", "pooling": "mean"}},
        # A name that begins with another's, and one with a dot.
        "small-1.5": {"query": {"model": "small", "pooling": "cls"}},
        "deep": {"query": {"model": "deep", "pooling": "mean"}},
    },
    "datasets": {
        name: {"format": "jsonl", "source": f"{name}.jsonl", "negatives": {"count": 4}}
        for name in ("one", "two")
    },
    "attributions": {"norm": {"texts": 4}},
    "study": {
        "name": "batches",
        "probe": [
            {"retrievers": ["small", "deep"], "datasets": ["one", "two"], "passages": [2, 3]},
            {"retrievers": ["small-1.5"], "datasets": ["one"], "passages": [2, 5]},
            {"retrievers": ["small-1.5"], "datasets": ["two"], "passages": [2, 3]},
            {"retrievers": ["deep"], "datasets": ["two"], "passages": [4]},
        ],
        "attribute": {
            "attributions": ["norm"],
            "retrievers": ["small", "deep"],
            "datasets": ["one"],
        },
    },
}


def pattern(path: str, constraints) -> re.Pattern[str]:
    """What Snakemake makes of an output: the first mention of a wildcard is constrained."""
    whole = {**WILDCARDS, **constraints}
    return re.compile(
        re.sub(
            r"\\{(\w+)\\}",
            lambda match: f"(?P<{match[1]}>{whole[match[1]]})",
            re.escape(path),
        )
    )


@pytest.mark.parametrize("kind", [ProbeOutcomes, AttributionShard])
@pytest.mark.parametrize("source", ["planted", "paper"])
def test_every_file_is_made_by_one_rule(kind, source):
    paper = [studies.ROOT / "studies" / "paper.yaml"]
    plan = Plan(parse(RAW) if source == "planted" else studies.read(paper))
    rules = [
        pattern(path, batch.constraints())
        for batch in batches(plan, kind)
        for name, path in batch.outputs().items()
        if name.startswith(f"{kind.__name__}_")
    ]
    files = [each for each in plan.closure(plan.ends()) if type(each) is kind]
    assert len(files) > 20
    for each in files:
        assert sum(bool(rule.fullmatch(each.main_file)) for rule in rules) == 1, each


def test_the_same_values_share_a_rule():
    plan = Plan(parse(RAW))
    probes = {batch.name: (batch.values, batch.leads) for batch in batches(plan, ProbeOutcomes)}
    assert probes == {
        "probe": (
            (2, 3),
            [("small", "one"), ("small", "two"), ("deep", "one"), ("small-1.5", "two")],
        ),
        "probe_2": ((2, 3, 4), [("deep", "two")]),
        "probe_3": ((2, 5), [("small-1.5", "one")]),
    }


def test_a_job_has_so_many_layers_at_most_and_jobs_are_even():
    raw = {**RAW, "study": {**RAW["study"], "layers_per_job": 4}}
    values = [batch.values for batch in batches(Plan(parse(raw)), AttributionShard)]
    assert values == [(1, 2), (1, 2, 3), (4, 5, 6), (7, 8, 9)]
    raw["study"]["layers_per_job"] = 1
    values = [batch.values for batch in batches(Plan(parse(raw)), AttributionShard)]
    assert values == [(layer,) for layer in range(1, 10)]


def test_how_layers_are_batched_changes_no_key():
    one, four = (
        Plan(parse({**RAW, "study": {**RAW["study"], "layers_per_job": most}})) for most in (1, 4)
    )
    assert [a.main_file for a in one.ends()] == [a.main_file for a in four.ends()]
    shard = AttributionShard("norm", "deep", "one", "query", 3, 0)
    assert one.spec_text(shard) == four.spec_text(shard) and one.code(shard) == four.code(shard)


def test_all_files_of_a_job_have_the_inputs_slice_and_code_of_its_first():
    plan = Plan(parse(RAW))
    for kind in (ProbeOutcomes, AttributionShard):
        for batch in batches(plan, kind):
            for lead in batch.leads:
                rest = {"layer": 1, "shard": 0, "side": "query", "passages": 2}
                names = [field.name for field in fields(kind)]
                wildcards = SimpleNamespace(**rest, **dict(zip(names, lead, strict=False)))
                files = [kind.of(wildcards, value) for value in batch.values]
                assert len({plan.spec_text(each) for each in files}) == 1
                assert len({plan.code(each) for each in files}) == 1
                assert all(plan.inputs(each) == plan.inputs(files[0]) for each in files)


def test_what_the_user_sets_for_a_rule_holds_for_the_further_ones_of_its_kind():
    from snakemake.resources import Resources
    from snakemake.settings.types import ResourceSettings

    given = {
        "probe": Resources.from_mapping({"tokens": 7, "runtime": 5}),
        "probe_2": Resources.from_mapping({"runtime": 9}),
    }
    settings = ResourceSettings(overwrite_resources=given, overwrite_threads={"probe": 3})
    workflow = SimpleNamespace(resource_settings=settings)
    rules = list(batches(Plan(parse(RAW)), ProbeOutcomes))
    assert equipped(workflow, rules) == rules and len(rules) > 2
    parsed = workflow.resource_settings._parsed_overwrite_resources
    told = {
        name: {key: resource.value for key, resource in parsed[name].items()} for name in parsed
    }
    assert told["probe"] == told["probe_3"] == {"tokens": 7, "runtime": 5}
    assert told["probe_2"] == {"tokens": 7, "runtime": 9}
    assert set(workflow.resource_settings.overwrite_threads) == {batch.name for batch in rules}
    assert equipped(workflow, []) == []

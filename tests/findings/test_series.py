"""What makes models a ladder, and in what two ladders differ: by hand, and of shipped studies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest

from tests.support.paths import ROOT
from wellspring import specs
from wellspring.config import load
from wellspring.findings.ladders import kept, table
from wellspring.findings.series import apart

CL = {"stage": "fine-tuning", "objective": "infonce", "temperature": 0.05, "batch": 32, "steps": 9}
MLM = {"stage": "mlm", "mask": 0.15, "steps": 9}
ENCODER = {"query": {"pooling": "mean", "length": 24}, "passage": {"pooling": "mean"}}


def raw(*models: Mapping[str, Any]) -> pl.DataFrame:
    """Models as a study knows them; what is left out is that of a fine-tuned BERT."""
    usual = {
        **{"family": "bert", "stages": "random → fine-tuning", "objective": "infonce"},
        **{"paradigm": "dense", "trainings": [CL], "encoder": ENCODER},
        **{"learning_rate": 1e-3, "measure": "MRR@10", "quality": 0.5},
        **{"parameters": 1e6, "non_embedding": 1e6, "trainable": 1e6},
        **{"flops": None, "tokens": None},
    }
    rows = [{**usual, **each} for each in models]
    texts = [{key: json.dumps(row[key]) for key in ("trainings", "encoder")} for row in rows]
    merged = [{**row, **text} for row, text in zip(rows, texts, strict=True)]
    return pl.DataFrame(merged, infer_schema_length=None)


def grown(*kinds: Mapping[str, Any]) -> pl.DataFrame:
    """A ladder of three sizes, with one seed each, of every kind."""
    return raw(
        *(
            {
                **{"retriever": f"{number}-{size}", "size": f"s{size}", **kind},
                **dict.fromkeys(("parameters", "non_embedding", "trainable"), 1e6 * 2.0**size),
            }
            for number, kind in enumerate(kinds)
            for size in range(3)
        )
    )


def told(models: pl.DataFrame) -> pl.DataFrame:
    """The table of these models, whose values tell nothing."""
    values = pl.DataFrame(
        [
            {
                **{"dataset": "near", "measure": "accuracy", "retriever": name},
                **{"query_id": f"q{query}", "value": (7 * place + 3 * query) % 10 / 10},
            }
            for place, name in enumerate(models["retriever"])
            for query in range(9)
        ]
    )
    rows = table(values, models, 0, 0).filter(axis="parameters", scale="value")
    return rows.filter(pl.col("finding") != "advantage")


def factors(*kinds: Mapping[str, Any]) -> list[str]:
    """In what two ladders are compared."""
    return told(kept(grown(*kinds))[0]).filter(finding="interaction")["factor"].to_list()


def test_recipes_and_families_make_ladders_of_their_own() -> None:
    warmer = [{**CL, "temperature": 1.0}]
    rows = told(kept(grown({}, {"trainings": warmer}))[0])
    slopes = rows.filter(finding="slope")
    assert slopes["ladder"].to_list() == ["0-0", "1-0"] and slopes["sizes"].to_list() == [3, 3]
    (row,) = rows.filter(finding="interaction").iter_rows(named=True)
    assert (row["factor"], row["compared_with"], row["ladder"]) == ("recipes", "1-0", "0-0")
    assert factors({}, {"family": "qwen2"}) == ["family"]
    assert factors({}, {"family": "qwen2", "trainings": warmer}) == []
    assert factors({}, {"encoder": {**ENCODER, "query": {"pooling": "cls"}}}) == ["encoder"]


def test_sizes_may_have_rates_and_budgets_of_their_own() -> None:
    def own(size: str) -> str:
        number = int(size[1])
        return json.dumps([{**MLM, "learning_rate": 10.0**-number, "steps": 9 + number}])

    models = grown({}).with_columns(trainings=pl.col("size").map_elements(own, pl.String))
    best, _ = kept(models)
    assert best["ladder"].n_unique() == 1
    assert told(best)["sizes"].to_list() == [3]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        # An objective brings its teacher and temperature along, and nothing else.
        (
            {"objective": "kl", "trainings": [{**CL, "objective": "kl", "temperature": 1.0}]},
            "objective",
        ),
        ({"objective": "kl", "trainings": [{**CL, "objective": "kl", "batch": 8}]}, None),
        # One that costs twice as much differs in its recipe.
        ({"objective": "kl", "trainings": [{**CL, "objective": "kl", "steps": 18}]}, None),
        # Stages that both went through are alike.
        ({"stages": "random → mlm → fine-tuning", "trainings": [MLM, CL]}, "stages"),
        ({"stages": "random → mlm → fine-tuning", "trainings": [MLM, {**CL, "batch": 8}]}, None),
        ({"stages": "random", "trainings": [], "objective": None}, "stages"),
    ],
)
def test_ladders_are_compared_where_one_thing_differs(other: dict, expected: str | None) -> None:
    assert factors({}, other) == ([expected] if expected else [])


def test_what_is_tuned_more_is_told() -> None:
    kl = {"objective": "kl", "trainings": [{**CL, "objective": "kl"}]}
    tuned = [
        grown({}, kl).with_columns(
            learning_rate=pl.lit(rate), retriever=pl.format(f"{{}}-{rate:g}", "retriever")
        )
        for rate in (1e-4, 1e-3, 1e-2)
    ]
    alike = told(kept(pl.concat(tuned))[0]).filter(finding="interaction")
    assert not alike["warnings"].str.contains("learning rates").any()
    one = pl.concat([tuned[0], *(each.filter(objective="infonce") for each in tuned[1:])])
    (line,) = told(kept(one)[0]).filter(finding="interaction")["warnings"]
    assert "3 and 1 learning rates were tried" in line


def test_models_that_nobody_trained_are_a_ladder() -> None:
    nothing = dict.fromkeys(("learning_rate", "measure", "quality", "objective", "trainable"))
    models = [
        {"retriever": name, "size": name, "parameters": size, "non_embedding": size}
        for name, size in (("small", 1e6), ("large", 8e6))
    ]
    best, rates = kept(raw(*({**each, **nothing, "trainings": []} for each in models)))
    assert best["retriever"].to_list() == ["small", "large"] and rates.is_empty()
    assert told(best).filter(finding="slope")["sizes"].to_list() == [2]


def test_families_of_a_shipped_study_are_two_ladders() -> None:
    files = ("config.yaml", "studies/paper.yaml", "studies/llm.yaml")
    spec = specs.scaling(load([ROOT / name for name in files]))
    models = raw(*(each.model_dump(exclude={"model", "steps"}) for each in spec.models))
    best, _ = kept(models)
    sizes = best.group_by("ladder", "family", maintain_order=True).agg(pl.n_unique("size"))
    assert sizes.rows() == [("bert-encoders.0", "bert", 2), ("qwen-0.5b-decoders.0", "qwen2", 4)]
    kinds = [
        {
            **own.row(0, named=True),
            "dataset": "nq",
            "trainings": dict(own.select("size", "trainings").rows()),
        }
        for _, own in best.group_by("ladder", maintain_order=True)
    ]
    assert apart(*kinds) == ["family", "recipes", "encoder"]

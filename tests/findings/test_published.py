"""Published curves: the shipped points, the comparison with them, and files that hold none."""

from __future__ import annotations

import json
import math
import re
import warnings
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given, strategies
from scipy.stats import spearmanr, ttest_ind

from tests.support.paths import ROOT
from wellspring import shards, specs
from wellspring.artefacts.curves import Point
from wellspring.artefacts.curves import read as read_published
from wellspring.artefacts.verdicts import Cautions
from wellspring.cli import cli
from wellspring.errors import ConfigError, SourceError, StaleArtefact
from wellspring.findings import cautions, published, table
from wellspring.findings.published import compare, named

SHIPPED = ROOT / "data" / "published" / "probe_counts.csv"
HEADER = ",".join(Point.model_fields)
Values = dict[tuple[str, str, int], list[float]]


SAMPLES = 1000


def points(values: Values) -> pl.DataFrame:
    """Published points of (dataset, curve, passages), a value per layer from 0."""
    rows = [
        (dataset, curve, passages, layer, round(SAMPLES * accuracy), SAMPLES)
        for (dataset, curve, passages), curve_values in values.items()
        for layer, accuracy in enumerate(curve_values)
    ]
    kinds = [pl.String, pl.String, pl.Int64, pl.Int64, pl.Int64, pl.Int64]
    schema = dict(zip(Point.model_fields, kinds, strict=True))
    return pl.DataFrame(rows, schema, orient="row")


def findings(values: Values, chance: float | None = None, probe: str = "concat") -> pl.DataFrame:
    """A study's table of accuracies, with rows that the comparison must pass over."""
    blank = dict.fromkeys(table.SCHEMA) | {"finding": "accuracy", "probe": probe}
    rows = []
    for (dataset, retriever, passages), curve_values in values.items():
        guess = chance or 1 / passages
        for layer, accuracy in enumerate(curve_values):
            cell = blank | {"dataset": dataset, "retriever": retriever, "passages": passages}
            cell |= {"layer": layer, "samples": 800}
            above = (accuracy - guess) / (1 - guess)
            rows += [
                cell | {"measure": "accuracy", "estimate": accuracy},
                cell | {"measure": "above_chance", "estimate": above},
                cell | {"measure": "chance", "estimate": guess},
                cell | {"measure": "accuracy", "probe": "other", "estimate": 0.9},
                cell | {"measure": "accuracy", "finding": "control", "estimate": 0.8},
                cell | {"measure": "accuracy", "layer": None, "estimate": 0.7},
            ]
    return pl.DataFrame(rows, table.SCHEMA)


def shipped_points() -> pl.DataFrame:
    return published.accuracies(read_published(SHIPPED))


def test_the_shipped_points_are_whole():
    shipped = shipped_points()
    samples = dict(shipped.select("dataset", "samples").unique().iter_rows())
    assert samples == {"nq": 54_414, "msmarco": 10_448}
    assert shipped.equals(shipped.sort(*shipped.columns[:4]))
    layers = dict.fromkeys(["bert-cls", "dpr-question", "dpr-context", "dpr-paired"], 13)
    layers |= {"bert-mean": 13, "contriever": 13, "llama": 33, "repllama": 33}
    expected = {
        (dataset, retriever, passages, layer)
        for dataset, (retriever, count), passages in product(
            ("nq", "msmarco"), layers.items(), (2, 3, 4, 5)
        )
        for layer in range(count)
    }
    assert set(shipped.select(shipped.columns[:4]).iter_rows()) == expected
    assert shipped.height == len(expected) == 1152
    # Every published curve starts near chance or above, and none comes near 1.
    assert shipped["accuracy"].max() < 0.7
    assert (shipped["accuracy"] > 1 / shipped["passages"] - 0.02).all()


def test_the_shipped_points_say_what_is_known_of_them():
    shipped = shipped_points()

    def mean(**where: object) -> float:
        return shipped.filter(**where)["accuracy"].mean()

    assert mean(dataset="nq", retriever="bert-cls", passages=2) == pytest.approx(0.57, abs=0.01)
    keys = ["dataset", "passages", "layer"]
    context, paired = (
        shipped.filter(retriever=name).select(*keys, pl.col("accuracy").alias(name))
        for name in ("dpr-context", "dpr-paired")
    )
    apart = context.join(paired, on=keys).with_columns(
        gap=(pl.col("dpr-context") - pl.col("dpr-paired")).abs()
    )
    assert apart["gap"].max() == pytest.approx(0.020, abs=0.001)
    of_panels = apart.group_by("dataset", "passages").agg(pl.col("gap").mean())["gap"]
    assert of_panels.min() == pytest.approx(0.0036, abs=1e-4)
    assert of_panels.max() == pytest.approx(0.0085, abs=1e-4)
    for dataset in ("nq", "msmarco"):
        assert mean(dataset=dataset, retriever="repllama") > mean(
            dataset=dataset, retriever="llama"
        )


def test_the_shipped_points_are_the_published_ones(shared):
    counts = pl.read_csv(shared("paper/probe_counts.csv"))
    names = shipped_points().columns[:6]
    assert set(read_published(SHIPPED).iter_rows()) == set(counts.select(names).iter_rows())
    # Accuracies read off the figures by hand are these to their own precision.
    read = pl.read_csv(shared("paper/probe_accuracy.csv"))
    ours = {("cls", "bert-base-uncased"): "bert-cls", ("mean", "bert-base-uncased"): "bert-mean"}
    exact = {row[:4]: row[6] for row in shipped_points().iter_rows()}
    for dataset, pooling, model, passages, layer, accuracy in read.iter_rows():
        curve = ours.get((pooling, model), model)
        assert exact[dataset, curve, passages, layer] == pytest.approx(accuracy, abs=1e-3)


PUBLISHED_PAIRS = {
    "dpr-question": "bert-cls",
    "dpr-context": "bert-cls",
    "dpr-paired": "bert-cls",
    "contriever": "bert-mean",
    "repllama": "llama",
}


def test_the_published_test_gives_the_published_stars():
    """680 comparisons, of which 425 are significant; scipy on samples agrees for one panel."""
    shipped = read_published(SHIPPED)
    starred = {
        pair: published.stars(shipped, *pair).drop_nulls() for pair in PUBLISHED_PAIRS.items()
    }
    assert sum(rows.height for rows in starred.values()) == 680
    assert sum(rows["star"].sum() for rows in starred.values()) == 425
    panel = {"dataset": "msmarco", "passages": 3}
    found = starred["contriever", "bert-mean"].filter(**panel).sort("layer")["star"]
    for layer, star in enumerate(found):
        sides = []
        for name in ("contriever", "bert-mean"):
            row = shipped.filter(retriever=name, layer=layer, **panel).row(0, named=True)
            sides.append(np.arange(row["samples"]) < row["correct"])
        assert star == (ttest_ind(*np.array(sides, float)).pvalue * 13 < 0.05)


def test_stars_are_compared_where_both_sides_have_them():
    theirs = points({("nq", "a", 2): [0.9, 0.5, 0.5], ("nq", "b", 2): [0.5, 0.5, 0.9]})
    mine = findings({("nq", name, 2): [0.6, 0.5, 0.5] for name in ("a", "b")})
    blank = dict.fromkeys(table.SCHEMA) | {"finding": "difference", "probe": "concat"}
    blank |= {"dataset": "nq", "retriever": "a", "compared_with": "b", "passages": 2}
    rows = [
        blank | {"layer": layer, "test": "t-test Bonferroni", "significant": star}
        for layer, star in enumerate((True, True, True))
    ]
    mine = pl.concat([mine, pl.DataFrame(rows, table.SCHEMA)])
    found = compare(mine, theirs, {"a": "a", "b": "b"}, {"a": "b"})
    stars = found.select("stars", "published_stars", "stars_alike").rows()
    assert stars == [(3, 2, 2), (None, None, None)]
    assert found["samples"].to_list() == [800, 800]
    assert found["published_samples"].to_list() == [SAMPLES, SAMPLES]


def test_planted_differences_are_found():
    theirs = points({("nq", "curve", 2): [0.5, 0.6, 0.7, 0.8]})
    # One more layer than published; the furthest point lies below.
    ours = findings({("nq", "mine", 2): [0.5, 0.7, 0.6, 0.6, 0.1]}, chance=0.4)
    (row,) = compare(ours, theirs, {"mine": "curve"}).iter_rows(named=True)
    correlation = row.pop("rank_correlation")
    assert [row[name] for name in ("stars", "published_stars", "stars_alike")] == [None] * 3
    assert correlation == pytest.approx(spearmanr([0.5, 0.7, 0.6, 0.6], [5, 6, 7, 8])[0])
    assert {name: value for name, value in row.items() if "stars" not in name} == pytest.approx(
        {
            "dataset": "nq",
            "retriever": "mine",
            "curve": "curve",
            "passages": 2,
            "layers": 4,
            "published_layers": 4,
            "samples": 800,
            "published_samples": SAMPLES,
            "ours_mean": 0.6,
            "published_mean": 0.65,
            "mean_difference": -0.05,
            "mean_absolute_difference": 0.1,
            "worst_difference": -0.2,
            "worst_layer": 3,
            "above_chance_difference": (0.1 + 0.3 + 0.2 + 0.2) / (4 * 0.6) - (0.2 + 0.4 + 0.6) / 4,
        }
    )


accuracies = strategies.lists(strategies.integers(0, 8).map(lambda eighth: eighth / 8), max_size=6)
grids = strategies.dictionaries(
    strategies.tuples(
        strategies.sampled_from(["nq", "msmarco"]),
        strategies.sampled_from(["a", "b"]),
        strategies.sampled_from([2, 5]),
    ),
    accuracies,
    min_size=1,
)


@given(grids, grids)
def test_the_comparison_is_what_a_loop_finds(mine: Values, theirs: Values):
    mine.setdefault(("nq", "a", 2), [0.5])
    theirs.setdefault(("nq", "a", 2), [0.25])
    found = compare(findings(mine), points(theirs), {"a": "a", "b": "b"})
    assert dict(found.schema) == published.SCHEMA
    expected = {key for key in mine if mine[key] and theirs.get(key)}
    keys = [tuple(row) for row in found.select("dataset", "retriever", "passages").iter_rows()]
    assert keys == sorted(expected)
    for key, row in zip(keys, found.iter_rows(named=True), strict=True):
        both = list(zip(mine[key], theirs[key], strict=False))
        gaps = [our - their for our, their in both]
        worst = max(range(len(gaps)), key=lambda layer: abs(gaps[layer]))
        assert (row["layers"], row["published_layers"]) == (len(both), len(theirs[key]))
        assert row["worst_layer"] == worst
        assert row["worst_difference"] == pytest.approx(gaps[worst])
        means = {
            "ours_mean": [our for our, _ in both],
            "published_mean": [their for _, their in both],
            "mean_difference": gaps,
            "mean_absolute_difference": [abs(gap) for gap in gaps],
            # The same chance on both sides here, so it falls out of the difference.
            "above_chance_difference": [gap / (1 - 1 / key[2]) for gap in gaps],
        }
        for name, values in means.items():
            assert row[name] == pytest.approx(np.mean(values), abs=1e-12), name
        with warnings.catch_warnings(action="ignore"):
            correlation = spearmanr(*zip(*both, strict=True))[0] if len(both) > 2 else math.nan
        if math.isnan(correlation):
            assert row["rank_correlation"] is None
        else:
            assert row["rank_correlation"] == pytest.approx(correlation)


def test_a_constant_or_two_layers_have_no_rank_correlation():
    theirs = points({("nq", "a", n): [0.2, 0.4, 0.6, 0.8] for n in (2, 3, 4)})
    mine = {2: [0.5] * 4, 3: [0.4, 0.5], 4: [0.1, 0.2, 0.3, 0.4]}
    found = compare(
        findings({("nq", "a", n): values for n, values in mine.items()}), theirs, {"a": "a"}
    )
    assert found["rank_correlation"].to_list() == [None, None, pytest.approx(1)]


def test_order_of_rows_and_other_studies_change_nothing():
    theirs = read_published(SHIPPED)
    mine = findings({("nq", "contriever", n): [0.5, 0.3, 0.4] for n in (2, 5, 7)})
    curves = {"contriever": "contriever", "llama": "llama"}
    found = compare(mine, theirs, curves)
    assert found["passages"].to_list() == [2, 5]
    assert found["layers"].to_list() == [3, 3] and found["published_layers"].to_list() == [13, 13]
    shuffled = (frame.sample(fraction=1, shuffle=True, seed=1) for frame in (mine, theirs))
    assert compare(*shuffled, curves).equals(found)
    assert compare(mine, theirs, curves, {}, "nonsense").is_empty()
    assert compare(mine, theirs, {}).is_empty()


def test_curves_may_have_other_names():
    theirs = points({("nq", "bert-cls", 2): [0.5], ("nq", "llama", 2): [0.6]})
    # Two retrievers may stand against one curve; equal names need no curve.
    curves = {"mine": "bert-cls", "twin": "bert-cls", "stranger": "stranger"}
    found = named(theirs, curves).sort("retriever")
    assert found.select("retriever", "curve", "accuracy").rows() == [
        ("mine", "bert-cls", 0.5),
        ("twin", "bert-cls", 0.5),
    ]
    with pytest.raises(ConfigError, match=r"mine: there is no published curve bert; .* bert-cls"):
        named(theirs, {"mine": "bert"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"1: expected the columns {HEADER}, found ''"),
        ("a,b\n", "1: expected the columns"),
        (HEADER, ": holds no points"),
        (f"{HEADER}\n\nnq,a,2,0\n", "3: expected 6 fields, found 'nq,a,2,0'"),
        (f"{HEADER}\nnq,a,2,0,5,9,x\n", "2: expected 6 fields"),
        (f'{HEADER}\nnq,"a,2,0,5,9\n', "2: expected 6 fields"),
        (f"{HEADER}\n,a,2,0,5,9\n", "2: field 'dataset': "),
        (f"{HEADER}\nnq,a,two,0,5,9\n", "2: field 'passages': .*, found 'two'"),
        (f"{HEADER}\nnq,a,1,0,5,9\n", "2: field 'passages': "),
        (f"{HEADER}\nnq,a,2,-1,5,9\n", "2: field 'layer': "),
        (f"{HEADER}\nnq,a,2,0.5,5,9\n", "2: field 'layer': "),
        (f"{HEADER}\nnq,a,2,{9**30},5,9\n", "2: field 'layer': "),
        (f"{HEADER}\nnq,a,2,0,10,9\n", "2: 10 of 9 samples cannot be correct"),
        (f"{HEADER}\nnq,a,2,0,-1,9\n", "2: field 'correct': "),
        (f"{HEADER}\nnq,a,2,0,nan,9\n", "2: field 'correct': "),
        (f"{HEADER}\nnq,a,2,0,,9\n", "2: field 'correct': .*, found ''"),
        (f"{HEADER}\nnq,a,2,0,5,1\n", "2: field 'samples': "),
        (f"{HEADER}\nnq,a,2,0,5,9\nnq,a,2,0,5,9\n", "3: this point stands further up already"),
        (b"\xff\n", "1: not UTF-8"),
        (None, "cannot be read"),
    ],
    ids=lambda value: None if value is None else repr(value)[-30:],
)
def test_a_malformed_file_is_one_line_with_its_place(tmp_path: Path, text, message):
    path = tmp_path / "curves.csv"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SourceError, match=f"^{re.escape(str(path))}.*{message}") as error:
        read_published(path)
    assert "\n" not in str(error.value)


def run(*arguments: object) -> None:
    """Call a command in this process; its error comes as an exception."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    if result.exception:
        raise result.exception


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study's findings file."""
    path = tmp_path / "findings.parquet"
    values = {("nq", name, n): [1 / n, 0.6, 0.5] for name in ("mine", "llama") for n in (2, 3)}
    identity = {"step": "findings", "spec": {"study": "toy"}}
    shards.write(path, findings(values).to_arrow(), shards.Provenance(identity))
    return path


def spec(**changes: object) -> str:
    curves = {"mine": "bert-cls", "llama": "llama"}
    made = {"study": "toy", "curves": curves, "pairs": {}, "probe": "concat"}
    return json.dumps(made | changes)


def test_the_command_writes_the_table(tmp_path: Path, study: Path):
    out, log = tmp_path / "published.parquet", tmp_path / "log"
    run("published", study, SHIPPED, out, "--spec", spec(), "--log", log)
    found = pl.read_csv(out.with_suffix(".csv"))
    assert found.columns == list(published.SCHEMA)
    assert found["curve"].to_list() == ["llama", "llama", "bert-cls", "bert-cls"]
    assert "4 published curves compared" in log.read_text()
    first = out.read_bytes()
    run("published", study, SHIPPED, out, "--spec", spec(), "--log", log)
    assert out.read_bytes() == first


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"study": "other"}, StaleArtefact, "is of study toy: name other's file"),
        ({"curves": {"mine": "bert"}}, ConfigError, "no published curve bert"),
        ({"curves": {}}, ConfigError, "no point of the study's"),
        ({"probe": "cosine"}, ConfigError, "no point of the study's"),
    ],
    ids=str,
)
def test_what_cannot_be_compared_is_said(tmp_path: Path, study: Path, changes, error, message):
    with pytest.raises(error, match=message) as raised:
        run("published", study, SHIPPED, tmp_path / "out.parquet", "--spec", spec(**changes))
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out.parquet").exists()


def test_the_figure_takes_a_group_and_published_curves(tmp_path: Path, study: Path):
    warned, pictures = tmp_path / "cautions.parquet", [tmp_path / "a.pdf", tmp_path / "a.png"]
    Cautions.write(warned, cautions.gathered([]), shards.Provenance({"step": "cautions"}))

    def draw(retrievers: list[str], curves: dict[str, str] | None, *beside: object) -> bytes:
        given = {"dataset": "nq", "figure": "layer-accuracy", "probes": ["concat"], "twins": {}}
        slice_ = specs.FigureSpec(**given, retrievers=retrievers, curves=curves)
        run("figure", study, warned, *pictures, *beside, "--spec", slice_.canonical())
        return pictures[1].read_bytes()

    alone = draw(["mine", "llama"], None)
    assert draw(["mine", "llama"], {"mine": "bert-cls"}, "--published", SHIPPED) != alone
    with pytest.raises(ConfigError, match="no retriever nobody; they hold llama, mine"):
        draw(["mine", "nobody"], None)


def test_every_column_is_documented():
    documents = {"results": published.SCHEMA, "data": Point.model_fields}
    for folder, columns in documents.items():
        text = (ROOT / folder / "README.md").read_text()
        assert not {name for name in columns if not re.search(rf"\b{name}\b", text)}

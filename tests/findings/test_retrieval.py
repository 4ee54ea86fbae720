"""A study's table of searches: its numbers by hand, its tests, its chart and its figure."""

import numpy as np
import polars as pl
import pytest

from tests.support.searching import metrics, table
from wellspring.artefacts.retrieval import Retrieval
from wellspring.figures.retrieval import layer_retrieval
from wellspring.findings import retrieval as comparison
from wellspring.findings.retrieval import SCHEMA, Search, Words, compare
from wellspring.page import retrieval as page
from wellspring.page import searching
from wellspring.page.panels import Settings


def test_estimates_are_means_over_queries():
    found = table()

    Retrieval.fits(found.to_arrow().schema)
    row = found.filter(retriever="tuned", ranker="vectors", layer=2, measure="nDCG@10")
    own = metrics("layer", {2: 0.5}).filter(measure="nDCG@10")["value"]
    value, difference = (row.filter(finding=name) for name in ("value", "difference"))
    assert value["estimate"].item() == pytest.approx(own.mean())
    assert value["low"].item() < own.mean() < value["high"].item()
    assert (value["queries"].item(), value["judged"].item()) == (40, 0.5)
    other = metrics("layer", {2: 0.2}, seed=1).filter(measure="nDCG@10")["value"]
    assert difference["estimate"].item() == pytest.approx((own - other).mean())
    assert difference["significant"].item()
    assert found.filter(ranker="lexical")["retriever"].is_null().all()


def test_layers_are_set_against_the_best_words_and_fusion_against_the_last_layer():
    controls = table().filter(finding="control", retriever="tuned", measure="nDCG@10")

    own, words = (
        {name: rows["value"] for (name,), rows in metrics(of, means).group_by(of)}
        for of, means in (("layer", {0: 0.2, 1: 0.3, 2: 0.5}), ("scorer", {"bm25": 0.4}))
    )
    n = 40
    lexical = controls.filter(ranker="vectors")
    assert set(lexical["scorer"]) == {"bm25"}
    expected = [(own[layer][:n] - words["bm25"][:n]).mean() for layer in range(3)]
    assert lexical["estimate"].to_list() == pytest.approx(expected)
    assert lexical["significant"].all()
    (fusion,) = controls.filter(ranker="fusion").iter_rows(named=True)
    fused = metrics("scorer", {"bm25": 0.55})["value"][:n]
    assert (fusion["layer"], fusion["estimate"]) == (2, pytest.approx((fused - own[2][:n]).mean()))


def test_the_page_tells_what_the_last_layer_finds():
    settings = Settings("study", pairs={"tuned": "plain"}, depths={"tuned": 2})

    (group,), untold = searching.groups({"retrieval": table()}, settings)

    assert group.heading == "tuned on docs: search of the whole corpus, nDCG@10, layer 2 (the last)"
    verdicts = [statement.verdict for statement in group.statements]
    assert verdicts == [
        "above plain",
        "above bm25",
        "above the vectors alone",
        "the last layer is best",
    ]
    assert not untold
    same = table(own=(0.2, 0.6, 0.2))
    (group,), _ = searching.groups({"retrieval": same}, settings)
    verdicts = [statement.verdict for statement in group.statements]
    assert verdicts[:2] == ["no significant difference", "below bm25"]
    assert verdicts[-1] == "layer 1 is best"
    assert searching.groups({}, settings) == ([], "")


def test_the_best_layer_says_on_what_it_was_chosen():
    own = pl.col("chosen").is_not_null(), pl.col("ranker") == "vectors"
    same = table().filter(*own, retriever="tuned", measure="nDCG@10")
    assert same.select("layer", "chosen").rows() == [(2, "same queries")]
    # Other queries may choose another layer.
    validated = table(validation=(0.1, 0.9, 0.3))
    chosen = validated.filter(*own, retriever="tuned", measure="R@100")
    assert chosen.select("layer", "chosen").rows() == [(1, "validation")]


def test_the_first_measure_chooses_for_all_measures_and_fusion_says_on_what():
    """Layer 2 and word-tfidf are the best by the second measure, layer 1 and bm25 by the first."""

    def of(name, first, second):
        frames = [
            metrics(name, means, measures=[measure])
            for measure, means in (("nDCG@10", first), ("R@100", second))
        ]
        return pl.concat(frames).sort(pl.col("measure") == "R@100", maintain_order=True)

    layers = of("layer", {1: 0.5, 2: 0.4}, {1: 0.5, 2: 0.7})
    scorers = of("scorer", {"bm25": 0.5, "word-tfidf": 0.4}, {"bm25": 0.5, "word-tfidf": 0.7})
    fusion = of("scorer", {"bm25": 0.6}, {"bm25": 0.6})
    for validated, on in ((False, "same queries"), (True, "validation")):
        search = Search(layers, layers if validated else layers.clear(), fusion)
        words = Words(scorers, scorers if validated else scorers.clear())
        found = compare("docs", {"own": search}, words, {}, comparison.Settings(permutations=100))
        values = found.filter(pl.col("chosen").is_not_null(), finding="value")
        assert values.select("ranker", "layer", "scorer", "chosen").unique().sort(
            "ranker"
        ).rows() == [
            ("fusion", None, "bm25", on),
            ("lexical", None, "bm25", on),
            ("vectors", 1, None, on),
        ]
        assert values.height == 6
        assert set(found.filter(finding="control")["scorer"]) == {"bm25"}


def test_queries_with_one_text_are_one():
    """Every text under four ids: means, intervals and tests are those of one id a text."""

    def often(frame):
        names = (pl.format("{}-{}", "query_id", pl.lit(copy)) for copy in range(4))
        return pl.concat([frame.with_columns(query_id=name) for name in names])

    tables = []
    for repeated in (lambda frame: frame, often):
        scorers = repeated(metrics("scorer", {"bm25": 0.4}))
        searches = {}
        for seed, (name, mean) in enumerate({"own": 0.45, "other": 0.42}.items()):
            layers = repeated(metrics("layer", {1: mean}, seed=seed))
            searches[name] = Search(layers, layers, scorers)
        settings = comparison.Settings(permutations=500)
        words, pairs = Words(scorers, scorers.clear()), {"own": "other"}
        tables.append(compare("d", searches, words, pairs, settings))
    once, four = (table.rows(named=True) for table in tables)
    assert len(once) == len(four) == 20
    for one, other in zip(once, four, strict=True):
        assert other == pytest.approx(one)
    assert {row["queries"] for row in four} == {40}


def test_a_mean_is_over_ids_as_trec_eval_takes_it():
    of = {"a": ("x", 0.2), "b": ("x", 0.4), "c": ("y", 0.9)}
    frame = pl.DataFrame(
        [(1, "R@10", query, text, value) for query, (text, value) in of.items()],
        ["layer", "measure", "query_id", "cluster", "value"],
        orient="row",
    ).with_columns(best="value", worst="value", judged=pl.lit(1.0))
    words = frame.rename({"layer": "scorer"}).with_columns(scorer=pl.lit("bm25"))
    search = Search(frame, frame.clear(), words)
    found = compare("d", {"own": search}, Words(words, words.clear()), {}, comparison.Settings())
    row = found.filter(finding="value", ranker="vectors").row(0, named=True)
    assert (row["estimate"], row["queries"]) == (pytest.approx(0.5), 2)


def test_terms_stand_beside_layers_and_are_compared_where_both_have_some():
    alone = table(terms={"tuned": 0.7}).filter(ranker="terms")
    assert set(alone["finding"]) == {"value", "control"}
    found = table(terms={"tuned": 0.7, "plain": 0.4}).filter(ranker="terms", measure="R@100")
    own, other = (metrics("layer", {0: mean}, seed=n) for n, mean in ((0, 0.7), (1, 0.4)))
    pair = [each.filter(measure="R@100")["value"] for each in (own, other)]
    values = found.filter(finding="value")
    assert values["retriever"].to_list() == ["tuned", "plain"]
    np.testing.assert_allclose(values["estimate"], [each.mean() for each in pair])
    assert values["layer"].null_count() == values["chosen"].null_count() == 2
    (row,) = found.filter(finding="difference").iter_rows(named=True)
    assert (row["retriever"], row["compared_with"], row["queries"]) == ("tuned", "plain", 40)
    assert row["estimate"] == pytest.approx((pair[0] - pair[1]).mean())
    assert row["low"] < row["estimate"] < row["high"] and row["significant"]
    assert row["p_value"] == row["p_adjusted"]
    (control,) = found.filter(finding="control", retriever="tuned").iter_rows(named=True)
    words = metrics("scorer", {"bm25": 0.4}).filter(measure="R@100")["value"]
    assert control["scorer"] == "bm25"
    assert control["estimate"] == pytest.approx((pair[0] - words).mean())
    # They change nothing of the layers.
    layers = [each.filter(ranker="vectors") for each in (table(), table(terms={"tuned": 0.7}))]
    assert layers[0].equals(layers[1])


@pytest.mark.slow
def test_equal_retrievers_words_and_fusion_differ_rarely():
    draws, trials = np.random.default_rng(0), 300
    kinds = [("difference", "vectors"), ("control", "vectors"), ("control", "fusion")]
    rejected = dict.fromkeys(kinds, 0)

    def drawn(of, name):
        row = pl.Series((draws.random(30) < 0.4).astype(float))
        return metrics(of, {name: 0.0}, queries=30, measures=["R@10"]).with_columns(value=row)

    for trial in range(trials):
        scorers = drawn("scorer", "bm25")
        searches = {}
        for name in ("a", "b"):
            layers = pl.concat([drawn("layer", layer) for layer in range(4)])
            searches[name] = Search(layers, layers.clear(), drawn("scorer", "bm25"))
        settings = comparison.Settings(permutations=400, seed=trial)
        found = compare("d", searches, Words(scorers, scorers.clear()), {"a": "b"}, settings)
        for finding, ranker in kinds:
            rows = found.filter(finding=finding, ranker=ranker, retriever="a")
            rejected[finding, ranker] += rows["significant"].any()
    assert max(rejected.values()) / trials <= 0.08, rejected


def test_the_page_has_a_chart_of_values_and_one_of_differences():
    settings = Settings("study", pairs={"tuned": "plain"})

    panels = page.build({"retrieval": table()}, settings)

    assert [panel.anchor for panel in panels] == ["retrieval", "retrieval-differences"]
    values = panels[0].data
    assert set(values["line"]) == {
        *("retriever", "counterpart", "lexical floor", "fused with words"),
    }
    noted = values.filter(pl.col("note") != "", line="retriever")
    assert noted["layer"].to_list() == [2, 2]
    assert "too good" in noted["note"][0]
    assert page.build({"retrieval": pl.DataFrame(schema=SCHEMA)}, settings) == []

    sparse = table(terms={"tuned": 0.7, "plain": 0.4})
    values, differences = page.build({"retrieval": sparse}, settings)
    level = values.data.filter(line="its terms")
    assert level["layer"].null_count() == len(level) == 2
    assert differences.data["layer"].null_count() == 0


def test_the_figure_has_a_panel_for_each_measure():
    figure = layer_retrieval(table(), "docs")

    assert [ax.get_title() for ax in figure.axes] == ["nDCG@10", "R@100"]
    # Two retrievers over layers, their fusions, and the best lexical scorer.
    assert {len(ax.lines) for ax in figure.axes} == {5}

    sparse = layer_retrieval(table(terms={"tuned": 0.7, "plain": 0.4}), "docs")
    assert {len(ax.lines) for ax in sparse.axes} == {7}
    assert "terms" in [text.get_text() for text in sparse.legends[0].get_texts()]

"""What the page says of planted tables, and that no text of theirs can break it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import get_args

import numpy as np
import polars as pl
import pytest

from wellspring.artefacts import provenance
from wellspring.config.vocabulary import ProbeKind
from wellspring.findings import cautions, claims, table
from wellspring.findings.ledger import ENTRIES
from wellspring.findings.ledger import ledger as judged_by
from wellspring.findings.verdicts import CONTRADICTED, DEPENDS, NO_EVIDENCE, NOT_TESTABLE, SUPPORTED
from wellspring.page import answer, definitions, ledger, shell, studied, summary, texts
from wellspring.page.panels import Choice, Panel, Settings
from wellspring.page.words import Statement, difference, estimate, number, signed

EVIL = "</script><script>alert(1)</script><!-- & \" '"
FILES = {
    name: [f"studies/toy/findings/{name}.csv"]
    for name in ("findings", "claims", "ledger", "cautions")
}
PAIRS = {"mini": "fresh"}
SETTINGS = Settings("toy", probe="concat", pairs=PAIRS, depths={"mini": 2}, files=FILES)


def finding(**values) -> dict:
    """A row of the findings, of mini's last layer on the dataset toy unless told."""
    where = {"dataset": "toy", "retriever": "mini", "layer": 2, "passages": 2, "seeds": 1}
    counts = {"samples": 800, "queries": 700}
    return {**dict.fromkeys(table.SCHEMA), **where, **counts, **values}


def accuracy(probe: str, value: float, **values) -> list[dict]:
    """The three rows of an accuracy whose interval is .02 to either side."""
    rows = []
    for measure, middle in (("accuracy", value), ("above_chance", 2 * value - 1), ("chance", 0.5)):
        ends = {} if measure == "chance" else {"low": middle - 0.02, "high": middle + 0.02}
        own = {"finding": "accuracy", "probe": probe, "measure": measure, "estimate": middle}
        rows.append(finding(**own, **ends, **values))
    return rows


def compared(probe: str, value: float, significant: bool, **against) -> dict:
    kind = "control" if "compared_probe" in against else "difference"
    tested = {"test": answer.TESTED, "measure": "difference", "significant": significant}
    ends = {"estimate": value, "low": value - 0.01, "high": value + 0.01, "detectable": 0.03}
    return finding(finding=kind, probe=probe, p_adjusted=0.2, **tested, **ends, **against)


def findings(rows: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(rows, table.SCHEMA, infer_schema_length=None)


PROBED = findings(
    [
        *accuracy("concat", 0.53),
        *accuracy("concat", 0.51, layer=1),
        *accuracy("concat", 0.50, retriever="fresh"),
        *accuracy("lexical", 0.7, layer=None),
        *accuracy("interaction", 0.85),
        compared("concat", -0.006, False, compared_with="fresh"),
        compared("concat", -0.04, True, compared_probe="passage-scorer"),
        compared("interaction", 0.24, True, compared_with="fresh"),
        compared("interaction", 0.15, True, compared_probe="lexical"),
    ]
)


def claim(number: int, verdict: str, **values) -> dict:
    blank = dict.fromkeys(claims.SCHEMA)
    known = {"claim": number, "statement": "it rises", "retriever": "mini"}
    known |= {"compared_with": "fresh", "dataset": "toy", "measured": "accuracy", "clusters": 700}
    known |= {"setting": "concat", "at_setting": verdict, "settings": 4, "supporting": 2}
    known |= {"distinct_settings": 4}
    known |= {"contradicting": 1, "on_this_pair": verdict, "verdict": verdict}
    known |= {"estimate": 0.016, "low": -0.005, "high": 0.037, "detectable": 0.03}
    return blank | known | values


def claimed(*rows: dict) -> dict[str, pl.DataFrame]:
    return {"claims": pl.DataFrame(list(rows), claims.SCHEMA, infer_schema_length=None)}


def panel(text: str = "toy") -> Panel:
    data = pl.DataFrame({"dataset": [text, "b"], "layer": [0, 1], "value": [0.5, float("nan")]})
    return Panel(
        anchor="one",
        title=f"Title {text}",
        caption="Caption.",
        choices=(Choice("dataset", "dataset", (text, "b"), text),),
        data=data,
        chart={"mark": "line", "data": {"name": "panel"}, "description": text},
        headings={"layer": "layer", "value": "accuracy"},
        sources=SETTINGS.sources("findings", "estimate"),
    )


def content(**parts) -> shell.Page:
    """A page without anything but what a test gives it."""
    blank = {
        "study": "toy",
        "question": answer.question(["mini"]),
        "lede": answer.lede(["mini"], {"mini": "fresh"}, ["toy"]),
        "groups": [],
        "untold": "",
        "claims": [],
        "untestable": None,
        "ledger": None,
        "cautions": [],
        "studied": [],
        "summary": None,
        "panels": [],
        "examples": [],
        "without_texts": "",
        "origins": [],
    }
    return shell.Page(**{**blank, **parts})


JOBS = {"rule": pl.String, "seconds": pl.Float64, "peak_memory_mb": pl.Float64, "device": pl.String}


class Elements(HTMLParser):
    """The elements of a page: an independent reader of what the shell writes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.scripts: list[str] = []
        self.headings: list[int] = []
        self._inside: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        if re.fullmatch(r"h\d", tag):
            self.headings.append(int(tag[1]))
        if tag == "script":
            self.scripts.append("")
            self._inside.append(tag)

    def handle_endtag(self, tag) -> None:
        if tag == "script":
            self._inside.pop()

    def handle_data(self, data) -> None:
        if self._inside:
            self.scripts[-1] += data


def rendered(**parts) -> str:
    return shell.render(content(**parts), '{"key": "k"}', "const bundle = '</script>';")


def test_numbers_are_written_alike():
    assert [number(each) for each in (0.5, -0.25, 1234.5678, None, -0.0001)] == [
        "0.500",
        "−0.250",
        "1,234.568",
        "–",
        "0.000",
    ]
    assert [signed(each) for each in (0.1, -0.1, 0.0, 0.0001)] == [
        "+0.100",
        "−0.100",
        "0.000",
        "0.000",
    ]
    assert estimate(0.5, None, None) == "0.500"
    assert difference(0.01, -0.02, 0.04) == "+0.010 [−0.020, 0.040]"


def test_a_cell_is_told_with_chance_counterpart_and_controls():
    (concat, interaction), untold = answer.probed({"findings": PROBED}, SETTINGS)
    assert untold == ""
    assert concat.heading == "mini on toy: probe concat, layer 2 (the last), 2 passages"
    chance, counterpart, passages = concat.statements
    assert chance.verdict == "above chance"
    assert "a share of 0.530 [0.510, 0.550] of the tests, on 800 test samples" in chance.sentence
    assert "of 700 distinct queries. Chance is 0.500." in chance.sentence
    assert chance.more == (answer.ALONE,)
    assert (counterpart.verdict, counterpart.tone) == ("no significant difference", "open")
    assert "Against fresh (its counterpart)" in counterpart.sentence
    assert "of accuracy − chance is −0.006 [−0.016, 0.004], p = 0.200" in counterpart.sentence
    assert counterpart.more == (
        "With 80 % power, the interval of this comparison alone would exclude 0 for a true "
        "difference of 0.030.",
    )
    assert (passages.verdict, passages.tone) == ("below passage-scorer", "against")
    assert [each.verdict for each in interaction.statements] == [
        "above chance",
        "above fresh",
        "above lexical",
    ]


def test_a_difference_at_another_layer_is_told_beside_the_last_one():
    earlier = compared("concat", 0.05, True, compared_with="fresh") | {"layer": 1}
    rows = pl.concat([PROBED, pl.DataFrame([earlier], PROBED.schema)])
    (concat, interaction), _ = answer.probed({"findings": rows}, SETTINGS)
    assert concat.statements[1].more[-1] == (
        "The difference is significant in 1 of the 2 cells of layers and passage counts. The "
        "largest of these is +0.050 [0.040, 0.060], at layer 1 with 2 passages."
    )
    assert interaction.statements[1].more == ()


def test_the_retriever_that_a_study_names_first_is_told_first():
    other = PROBED.with_columns(retriever=pl.col("retriever").replace("mini", "alpha"))
    settings = replace(SETTINGS, pairs={"mini": "fresh", "alpha": "mini"})
    groups, _ = answer.probed({"findings": pl.concat([other, PROBED])}, settings)
    assert [group.heading.partition(" on ")[0] for group in groups] == ["mini"] * 2 + ["alpha"] * 2


def test_the_last_probed_layer_is_called_the_last_only_where_it_is():
    settings = replace(SETTINGS, depths={"mini": 6})
    (concat, _), _ = answer.probed({"findings": PROBED}, settings)
    assert concat.heading == "mini on toy: probe concat, layer 2 (the last probed), 2 passages"


def test_what_the_answer_leaves_out_is_named():
    rows = [row for at in range(7) for row in accuracy("concat", 0.5, dataset=f"d{at}")]
    rows += accuracy("concat", 0.5, retriever="alone", dataset="d0")
    rows += accuracy("concat", 0.5, retriever="fresh", dataset="d0")
    rows += accuracy("cosine", 0.5, dataset="d")
    groups, untold = answer.probed({"findings": findings(rows)}, SETTINGS)
    assert [group.heading.partition(":")[0] for group in groups] == [
        f"mini on d{at}" for at in range(6)
    ]
    assert untold == "Only the table below tells of mini on d and d6; alone on d0."


def test_every_control_is_named_in_words():
    assert answer.MEANINGS.keys() == set(table.CONTROLS)


@pytest.mark.parametrize(
    ("verdict", "tone"),
    [
        (SUPPORTED, "for"),
        (CONTRADICTED, "against"),
        (f"{DEPENDS}probe", "mixed"),
        (NO_EVIDENCE, "open"),
    ],
)
def test_a_claim_is_one_sentence_with_verdict_number_and_interval(verdict, tone):
    tables = claimed(claim(5, verdict, reason="of the twin"), claim(2, NOT_TESTABLE, settings=0))
    (statement,) = answer.claims(tables, SETTINGS)
    assert (statement.verdict, statement.tone) == (verdict, tone)
    assert statement.sentence == (
        f"Claim 5: it rises. For mini against fresh on toy: {verdict}. At the published setting "
        "(concat) the estimate is +0.016 [−0.005, 0.037]."
    )
    assert "2 of 4 settings support the claim and 1 contradicts it" in statement.more[0]
    assert "the same number" not in statement.more[0]
    assert statement.more[0].endswith("An effect of 0.030 would be seen at 80 % power.")
    assert statement.more[1].endswith("because of the twin.")
    assert statement.sources[0].file == "studies/toy/findings/claims.csv"


@pytest.mark.parametrize(("settings", "told"), [(30, "10 of 30 have"), (21, "1 of 21 has")])
def test_a_claim_counts_each_distinct_setting_once(settings, told):
    row = claim(9, SUPPORTED, settings=settings, distinct_settings=20, supporting=17)
    (statement,) = answer.claims(claimed(row), SETTINGS)
    assert (
        f"17 of 20 distinct settings ({told} the same number for every text as another one) "
        "support the claim"
    ) in statement.more[0]


def test_a_change_of_active_neurons_is_told_as_relative():
    ends = {"estimate": -0.9206, "low": -0.9579, "high": -0.8292, "detectable": 0.053}
    where = {"attribution": "norm", "side": "query", "measured": str(claims.CLAIMS[8].parts[0])}
    (statement,) = answer.claims(claimed(claim(9, SUPPORTED, **ends, **where)), SETTINGS)
    assert "the relative change is −92.1 % [−95.8, −82.9]." in statement.sentence
    assert "Measured: relative change of the share of active neurons" in statement.more[0]
    assert "A relative change of 5.3 % would be seen" in statement.more[0]
    blank = dict.fromkeys(ends)
    (statement,) = answer.claims(claimed(claim(9, SUPPORTED, **blank, **where)), SETTINGS)
    assert "the relative change is not defined." in statement.sentence
    assert "would be seen" not in statement.more[0]


def test_claims_that_nothing_could_be_asked_are_listed_with_the_reason():
    rows = [claim(2, NOT_TESTABLE, settings=0, reason="it is about cls pooling")] * 2
    listing = answer.untestable(claimed(*rows, claim(5, SUPPORTED)), SETTINGS)
    assert listing and listing.rows == (
        ("2", "It rises.", "mini against fresh on toy", "It is about cls pooling."),
    )
    assert listing.caption == "1 published claim is not testable here"
    assert answer.untestable(claimed(claim(5, SUPPORTED)), SETTINGS) is None


def test_the_ledger_lists_every_claim_with_its_number_or_what_it_needs():
    judged = judged_by(claimed(claim(5, SUPPORTED))["claims"], alpha=0.05, margin=0.1)
    listing = ledger.build({"ledger": judged}, SETTINGS)
    assert listing is not None and len(listing.rows) == len(ENTRIES)
    assert listing.caption == f"1 of {len(ENTRIES)} claims could be judged"
    rows = {row[0].partition(" ")[0]: row for row in listing.rows}
    assert rows["A5"][4] == "Supported." and rows["A5"][2] != "–"
    assert rows["B6"][3].startswith("Needs encoders of both kinds")
    assert rows["B6"][4].startswith("Not testable here: ladders have no encoders")
    assert ledger.build({}, SETTINGS) is None


def test_a_claim_that_one_pair_answers_is_listed_for_the_others():
    rest = {"settings": 0, "reason": "it lacks the sweep"}
    rows = [claim(5, NOT_TESTABLE, dataset=name, **rest) for name in ("nq", "dl19")]
    listing = answer.untestable(claimed(claim(5, SUPPORTED), *rows), SETTINGS)
    assert listing and listing.caption == (
        "1 published claim is not testable on some pair or dataset"
    )
    assert listing.rows[0][2] == "mini against fresh on nq; mini against fresh on dl19"


def test_a_caution_stands_once_with_all_that_it_is_about():
    rows = [
        {"caution": "few-texts", "dataset": "toy", "retriever": name, "sentence": "24 texts"}
        for name in ("mini", "fresh")
    ]
    table_ = cautions.gathered(rows)
    (statement,) = answer.cautions({"cautions": table_}, SETTINGS)
    assert (statement.verdict, statement.sentence) == ("few texts", "24 texts.")
    assert statement.more == ("About: dataset toy; retriever fresh and mini.",)


def test_that_the_counterpart_was_never_trained_is_said_first():
    rows = [{"caution": "few-texts", "sentence": "24 texts"}, *cautions.of_pairs({"mini": "fresh"})]
    first, _ = answer.cautions({"cautions": cautions.gathered(rows)}, SETTINGS)
    assert first.verdict == "random counterpart"


def test_a_caution_names_the_combinations_that_it_is_about():
    rows = [
        {"caution": "few", "dataset": "toy", "retriever": name, "side": side, "sentence": "mini is"}
        for name, side in (("mini", "query"), ("fresh", "passage"))
    ]
    settings = replace(SETTINGS, encoders={"mini": {}})
    (statement,) = answer.cautions({"cautions": cautions.gathered(rows)}, settings)
    assert statement.sentence == "mini is."
    assert statement.more == (
        "About: dataset toy; retriever fresh with side passage; retriever mini with side query.",
    )


def test_the_table_says_what_each_difference_is_against():
    made = summary.build({"findings": PROBED}, SETTINGS)
    assert made is not None and not made.left_out and not made.has_twins
    lines = {(line.retriever, line.probe, line.layer): line for line in made.lines}
    line = lines["mini", "interaction", "2"]
    assert line.accuracy.value == "0.850" and line.chance == "0.500"
    assert [(cell.against, cell.value, cell.mark) for cell in line.counterpart] == [
        ("fresh", "+0.240", "significant")
    ]
    assert [cell.value for cell in line.floor] == ["+0.150"] and not line.controls
    assert lines["mini", "lexical", "any"].counterpart == ()
    assert lines["mini", "concat", "2"].counterpart[0].mark == ""
    assert [line.layer for line in made.lines if line.probe == "concat"] == ["2", "2", "1"]


def test_the_table_defines_the_probes_that_it_names():
    assert set(definitions.DEFINITIONS) == set(get_args(ProbeKind))
    made = summary.build({"findings": PROBED}, SETTINGS)
    assert made is not None
    names = [name for name, _ in made.definitions.rows]
    assert names == ["concat", "passage-scorer", "interaction", "lexical"]
    html = rendered(summary=made)
    assert html.count("each seed&#39;s own validation samples choose the scorer") == 1
    (row,) = definitions.build(["random-label-interaction"]).rows
    assert row[0] == "random-label" and row[1].endswith(".")


def test_the_answer_says_how_the_lexical_floor_is_chosen():
    (_, interaction), _ = answer.probed({"findings": PROBED}, SETTINGS)
    assert f"Against lexical ({definitions.FLOOR})" in interaction.statements[-1].sentence


def test_draws_of_a_twin_give_a_range_and_no_rows_of_their_own():
    more = findings(accuracy("concat", 0.54, retriever="fresh-2"))
    settings = Settings("toy", "concat", {"mini": "fresh"}, {"fresh": ["fresh", "fresh-2"]})
    made = summary.build({"findings": pl.concat([PROBED, more])}, settings)
    assert made is not None and {line.retriever for line in made.lines} == {"mini", "fresh"}
    (line,) = [
        each
        for each in made.lines
        if (each.retriever, each.probe, each.layer) == ("mini", "concat", "2")
    ]
    assert line.twins == "0.500 to 0.540 (2 draws)"


def test_a_table_of_too_many_rows_says_which_layers_it_keeps():
    rows = [
        row
        for layer in range(33)
        for passages in range(2, 32)
        for probe in ("concat", "cosine", "interaction")
        for row in accuracy(probe, 0.5, layer=layer, passages=passages)
    ]
    made = summary.build({"findings": findings(rows)}, SETTINGS)
    assert made is not None and len(made.lines) == 450
    assert {line.layer for line in made.lines} == {"0", "8", "16", "24", "32"}
    assert made.left_out.startswith("The page holds 450 of 2,970 rows: layers 0, 8, 16, 24, 32")


def outcomes(own: dict[str, float], other: dict[str, float]) -> texts.Outcomes:
    def frame(credits: dict[str, float]) -> pl.DataFrame:
        rows = [
            {"probe": probe, "seed": 0, "sample_id": name, "correct": value}
            for name, value in credits.items()
            for probe in ("interaction", "shuffled-query", "lexical")
        ]
        return pl.DataFrame(rows)

    return texts.Outcomes("toy", ("mini", "fresh"), "layer 2", 2, frame(own), frame(other))


def test_won_and_hard_samples_are_the_planted_ones():
    told = outcomes({"a": 1, "b": 1, "c": 0, "d": 0.5}, {"a": 0, "b": 1, "c": 0, "d": 0})
    assert texts.won(told, "interaction") == ["a"]
    assert [each for each, _ in texts.hard(told)][:2] == ["c", "d"]
    samples = pl.DataFrame(
        {
            "sample_id": list("abcd"),
            "query_id": ["q"] * 4,
            "positive_id": ["p"] * 4,
            "negative_ids": [["n1", "n1", "n2", "n3"]] * 4,
        }
    )
    words = {("query", "q"): EVIL, ("passage", "p"): "ß" * 400}
    words |= {("passage", f"n{number}"): "日本語" for number in (1, 2, 3)}
    won, hard = texts.of_samples(told, "concat", samples, words, ())
    assert won.heading == "mini gets right what fresh does not (toy)" and len(won.examples) == 1
    assert won.caption.startswith("1 sample of toy is ranked right") and "N = 2" in won.caption
    roles = [each.role for each in hard.examples[0].passages]
    assert roles == ["query", "positive", "negative", "negative", ""]
    assert hard.examples[0].passages[-1].text == "and 1 more negative"
    assert len(hard.examples[0].passages[1].text) == texts.LONGEST
    alone = texts.Outcomes("toy", ("mini", None), "layer 2", 2, told.own, None)
    assert len(texts.of_samples(alone, "concat", samples, words, ())) == 1


def test_scores_of_a_neuron_are_shares_and_their_products():
    scores = np.array([[0.5, 1.0], [0.25, -1.0]], np.float32)
    told = texts.of_neuron(["a", "b"], np.array([4.0, 2.0]), scores, 0)
    assert told == {"a": (2.0, 0.5), "b": (0.5, 0.25)}


def test_the_texts_that_light_a_neuron_come_first():
    neurons = pl.DataFrame(
        {
            "scope": ["network", "sublayer", "network"],
            "layer": [1, 1, 2],
            "sublayer": ["output"] * 3,
            "neuron": [7, 9, 8],
            "texts": [3, 9, 5],
            "of": [10] * 3,
        }
    )
    assert [row["neuron"] for row in texts.top(neurons)] == [8, 7]
    scores = [(0.2, 1.0), (3.0, 1.0), (1.5, 0.5), (0.1, 0.25)]
    lit = texts.Lit(2, "output", 8, 5, 10, dict(zip("abcd", scores, strict=True)))
    words = dict.fromkeys("abcd", "text")
    shown = texts.of_neurons("here", [lit], words, ())
    assert shown and [each.role for each in shown.examples[0].passages] == [
        "score 3, 100% of the text's largest",
        "score 1.5, 50% of the text's largest",
        "score 0.2, 100% of the text's largest",
    ]
    assert texts.of_neurons("here", [], words, ()) is None


def test_no_text_of_a_study_ends_a_script_or_becomes_an_element():
    example = texts.Example(EVIL, EVIL, (texts.Passage("query", EVIL),))
    html = rendered(
        panels=[panel(EVIL)],
        claims=[Statement("supported", "for", EVIL)],
        examples=[texts.Examples(EVIL, EVIL, (example,))],
    )
    elements = Elements(html)
    # What it says of itself, the panel's data, the themes, the bundle, the page's own.
    assert len(elements.scripts) == 5
    data = json.loads(elements.scripts[1])
    assert data["data"]["columns"]["dataset"]["values"] == [EVIL, "b"]
    assert data["data"]["columns"]["value"]["values"] == [0.5, None]
    assert "alert(1)" not in "".join(elements.scripts[2:])
    options = [attributes["value"] for tag, attributes in elements.tags if tag == "option"]
    assert options == [EVIL, "b"]


@pytest.mark.parametrize(
    "parts", [{}, {"panels": [panel()]}, {"cautions": [Statement("a", "mixed", "B.")]}]
)
def test_the_page_is_sound_whatever_it_lacks(parts):
    """Headings in order, ids once, links inside that lead somewhere, and nothing from elsewhere."""
    html = rendered(**parts)
    elements = Elements(html)
    assert elements.headings[0] == 1 and elements.headings.count(1) == 1
    steps = zip(elements.headings, elements.headings[1:], strict=False)
    assert all(after <= before + 1 for before, after in steps)
    ids = [attributes["id"] for _, attributes in elements.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for tag, attributes in elements.tags if tag == "a"]
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", html)


def test_links_lead_from_the_page_to_the_file():
    html = rendered(claims=answer.claims(claimed(claim(5, SUPPORTED)), SETTINGS))
    assert 'href="findings/claims.csv"' in html
    command = "snakemake --cores all --forcerun results/studies/toy/findings/claims.parquet"
    assert command in html


def test_the_page_says_what_it_is(tmp_path):
    path = tmp_path / "index.html"
    said = json.dumps(
        {"identity": {"spec": {"text": EVIL}}, "circumstances": {"code": "c"}, "key": "k"}
    )
    path.write_text(shell.render(content(), said, ""), encoding="utf-8")
    stored = provenance.read(path)
    assert stored and (stored.key, stored.code) == ("k", "c")
    assert stored.identity["spec"]["text"] == EVIL
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole[: len(whole) // 2], encoding="utf-8")
    assert provenance.read(path) is None
    path.write_text("<p>another</p></html>", encoding="utf-8")
    assert provenance.read(path) is None


def test_repeated_values_are_stored_once():
    frame = pl.DataFrame(
        {"name": ["long name"] * 50, "value": range(50), "flag": [None, True] * 25}
    )
    columns = shell.columns_of(frame)["columns"]
    assert columns["name"] == {"codes": [0] * 50, "values": ["long name"]}
    assert columns["value"]["values"] == list(range(50))
    assert [columns["flag"]["values"][code] for code in columns["flag"]["codes"]] == [
        None,
        True,
    ] * 25


def test_costs_are_added_up_by_rule():
    jobs = pl.DataFrame(
        [("probe", 2.0, 100.0, "cpu"), ("embed", 5.0, 900.0, "cuda"), ("probe", 1.5, 200.0, "cpu")],
        JOBS,
        orient="row",
    )
    assert studied.cost(jobs).rows == (
        ("embed", "1", "5.0", "900", "cuda"),
        ("probe", "2", "3.5", "200", "cpu"),
        ("all", "3", "8.5", "900", ""),
    )

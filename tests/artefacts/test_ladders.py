"""Figures of ladders: which a study ends with, and what they are made from."""

from __future__ import annotations

import pytest

from benchmarks import studies
from wellspring import fingerprint
from wellspring.artefacts import Plan, find
from wellspring.artefacts.figures import Ladder
from wellspring.artefacts.page import Page
from wellspring.artefacts.scaling import Ladders, Scaling
from wellspring.config import Config


@pytest.fixture(scope="module")
def config() -> Config:
    return studies.read([studies.ROOT / "studies" / "scaling.yaml"])


def test_each_dataset_and_measure_has_a_figure_and_each_measure_a_map(config):
    drawn = [each for each in Plan(config).ends() if isinstance(each, Ladder)]
    assert [each.ladder for each in drawn] == [
        *("growth.ndcg-10.pydocs", "growth.ndcg-10.people", "stages.ndcg-10"),
        *("growth.accuracy.pydocs", "growth.accuracy.people", "stages.accuracy"),
    ]
    assert all(find(each.main_file) == each for each in drawn)
    assert [each.spec(config).dataset for each in drawn[:3]] == ["pydocs", "people", None]
    assert drawn[0].spec(config).measure == "nDCG@10"
    assert drawn[3].spec(config).measure == "accuracy at N = 5"


def test_figures_and_page_are_made_from_the_tables_alone(config):
    tables = [Scaling("scaling"), Ladders("scaling")]
    figure = Ladder("scaling", "stages.accuracy")
    assert list(figure.needs(config).values()) == tables
    assert [each for each in Page("scaling").needs(config)["panels"] if each in tables] == tables
    # What measures slopes may change without the figure that draws them, and the other way round.
    drawn = fingerprint.closure(tuple(figure.science(figure.spec(config))))
    measured = fingerprint.closure(tuple(Scaling.science(tables[0].spec(config))))
    assert not any(name.startswith("findings") for name in drawn)
    assert not any(name.startswith("figures") for name in measured)


def test_what_counts_as_significant_makes_figures_again_and_no_table(config):
    findings = config.study.findings.model_copy(update={"alpha": 0.01})
    study = config.study.model_copy(update={"findings": findings})
    other = config.model_copy(update={"study": study})
    figure, table = Ladder("scaling", "growth.accuracy.people"), Scaling("scaling")
    assert figure.spec(other) != figure.spec(config)
    assert table.spec(other) == table.spec(config)


def test_a_study_without_ladders_has_no_figures_of_them():
    config = studies.read([])
    assert not list(Ladder.asked(config)) and not list(Ladders.asked(config))

"""What the page shows first: the same layer of two retrievers, and what stands behind."""

from __future__ import annotations

from pathlib import Path

from wellspring import config, fingerprint, specs
from wellspring.artefacts import Plan, nearby
from wellspring.artefacts.page import Page
from wellspring.config import Tokenizer
from wellspring.page import choices, studied

ROOT = Path(__file__).parents[2]


def grid(retriever: str, layers: list[int], passages: list[int]) -> specs.ProbedGrid:
    return specs.ProbedGrid(
        retriever=retriever, dataset="toy", layers=layers, passages=passages, seeds=[0], probe="d"
    )


def spec(*overlays: str) -> specs.PageSpec:
    files = [ROOT / "config.yaml", *(ROOT / "studies" / name for name in overlays)]
    return specs.page(config.load(files), [])


def cells(*grids: specs.ProbedGrid) -> list[choices.Cell]:
    pairs = {"probed": list(grids), "pairs": {"mini": "fresh"}}
    return choices.cells(spec().model_copy(update=pairs))


def test_two_retrievers_are_compared_at_the_last_layer_that_both_have():
    (cell,) = cells(grid("mini", [0, 3, 6], [2, 5]), grid("fresh", [0, 3], [3, 5]))
    assert (cell.layer, cell.passages, cell.other is not None) == (3, 5, True)
    assert str(cell) == "layer 3 (the last that both have), 5 passages"
    (cell,) = cells(grid("mini", [0, 6], [2]), grid("fresh", [0, 6], [2]))
    assert str(cell) == "layer 6, 2 passages"


def test_a_retriever_that_shares_no_layer_is_shown_alone():
    (cell,) = cells(grid("mini", [6], [2]), grid("fresh", [0, 3], [2]))
    assert (cell.layer, cell.other) == (6, None)


def test_places_without_texts_are_named():
    many = [choices.Cell(grid(f"r{at}", [1], [2]), None, 1, 2) for at in range(14)]
    assert choices.without_texts(many[:12], []) == ""
    assert (
        choices.without_texts(many, []) == "The page shows no samples of r12 on toy and r13 on toy."
    )


def weights(listing) -> dict[str, str]:
    return {row[0]: row[-1] for row in listing.rows}


def test_each_side_of_a_retriever_says_whether_it_was_trained():
    told = weights(studied.retrievers(spec("artefact.yaml")))
    assert told["trained-query"] == "query: trained; passage: never trained"
    assert told["trained-passage"] == "query: never trained; passage: trained"
    assert (told["minilm"], told["minilm-random"]) == ("trained", "never trained")
    told = weights(studied.retrievers(spec("methods.yaml")))
    assert told["minilm-upper-random"] == "blocks above 3 never trained"


def test_a_model_says_which_of_its_weights_are_random():
    models = spec("methods.yaml").models
    assert studied.weights(models["minilm"]) == "as published"
    assert studied.weights(models["minilm-upper-random"]) == (
        "the first 3 blocks and what is no block as in minilm; blocks 4 to 6 random, never trained"
    )
    adapted = models["minilm"].model_copy(update={"adapter": "path:…/lora"})
    assert studied.weights(adapted) == "as published, with the adapter path:…/lora"
    for tokenizer, said in (
        (Tokenizer(source="path:…/own"), "path:…/own"),
        (Tokenizer(datasets=["a"], vocabulary=8000), "at most 8,000 tokens, trained on a"),
    ):
        fresh = models["minilm-random"].model_copy(update={"tokenizer": tokenizer})
        assert studied.weights(fresh) == f"random, never trained; another tokenizer: {said}"


def test_what_the_page_chooses_is_in_its_fingerprint():
    plan = Plan(config.load([ROOT / "config.yaml"]))
    page = Page("default")
    reached = fingerprint.closure(tuple(page.science(plan.spec(page))))
    assert {"page.choices", "page.texts", "page.answer"} <= {*reached}


def test_configuration_files_are_named_from_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert nearby(tmp_path / "studies" / "mine.yaml") == "studies/mine.yaml"
    assert nearby(Path("mine.yaml")) == "mine.yaml"
    assert nearby(tmp_path.parent / "mine.yaml") == str((tmp_path.parent / "mine.yaml").resolve())


def test_a_recipe_says_what_its_scores_and_its_teacher_s_are_divided_by():
    recipes = config.load([ROOT / "config.yaml", ROOT / "studies" / "budget.yaml"]).recipes
    told = {name: studied.objective(recipes[name]) for name in ("sparse-kd", "sparse-cl-kd")}
    assert told["sparse-kd"].endswith("dot; teacher minilm / 1; sparse vectors")
    assert told["sparse-cl-kd"].endswith("dot / 0.5; teacher minilm / 0.1; sparse vectors")
    probable = recipes["sparse-cl"].model_copy(update={"term_weights": "probabilities"})
    assert studied.objective(probable).endswith("; sparse vectors of probabilities")

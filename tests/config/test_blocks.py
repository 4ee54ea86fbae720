"""Blocks of a study: what they amount to, and which contradict each other."""

from __future__ import annotations

import copy

import pytest

from benchmarks import studies
from tests.config.test_config import DEFAULT
from wellspring import specs
from wellspring.artefacts import grids
from wellspring.config import parse
from wellspring.errors import ConfigError

PROBE = {"retrievers": ["minilm"], "datasets": ["pydocs"], "passages": [2, 5]}
ATTRIBUTE = {"attributions": ["norm"], "retrievers": ["minilm"], "datasets": ["pydocs"]}


def study(probe: object = PROBE, attribute: object = ATTRIBUTE) -> dict:
    """The default catalogues with another dataset, attribution and retriever, and these blocks."""
    raw = copy.deepcopy(DEFAULT)
    raw["datasets"]["more"] = raw["datasets"]["pydocs"] | {"seed": 1}
    raw["attributions"]["cosine"] = {"target": "cosine", "texts": 24}
    raw["encoders"]["cls"] = {"model": "minilm", "pooling": "cls"}
    raw["retrievers"]["cls"] = {"query": "cls", "compared_with": "minilm"}
    raw["study"] |= {"probe": probe, "attribute": attribute}
    return raw


def every_spec(raw: dict) -> dict[str, str]:
    """Each slice that the study's blocks enter, as canonical JSON."""
    config = parse(raw)
    slices = {name: getattr(specs, name)(config) for name in ("findings", "claims")}
    slices["cautions"] = specs.cautions(config, evidence=bool(specs.evidenced(config)))
    for retriever, dataset, *_ in config.probed():
        slices[f"probe {retriever} {dataset}"] = specs.probe(config, retriever, dataset)
    slices["decentralisation"] = specs.decentralisation(config)
    for name, retriever, dataset, _ in config.attributed():
        for side, encoder in config.retrievers[retriever].encoders.items():
            for make in (specs.attribution, specs.activations, specs.ablate):
                key = f"{make.__name__} {name} {retriever} {dataset} {side}"
                slices[key] = make(config, name, encoder, dataset, side)
    return {name: slice_.canonical() for name, slice_ in slices.items()}


def test_one_block_is_a_list_of_one_and_counterparts_need_not_be_listed() -> None:
    assert every_spec(study()) == every_spec(study([PROBE], [ATTRIBUTE]))
    listed = {"retrievers": ["minilm", "minilm-random"]}
    assert every_spec(study()) == every_spec(study(PROBE | listed, ATTRIBUTE | listed))
    # A counterpart's own counterpart comes, too.
    chain = parse(study(PROBE | {"retrievers": ["cls"]}))
    assert chain.probed_retrievers() == ["cls", "minilm", "minilm-random"]
    assert chain.pairs() == {"cls": "minilm", "minilm": "minilm-random"}


def test_two_blocks_are_as_many_jobs_as_both() -> None:
    """A block for each dataset, or for each retriever, gives the slices of one block of all."""
    one = study(
        PROBE | {"datasets": ["pydocs", "more"]}, ATTRIBUTE | {"datasets": ["pydocs", "more"]}
    )
    two = study(
        [PROBE, PROBE | {"datasets": ["more"]}], [ATTRIBUTE, ATTRIBUTE | {"datasets": ["more"]}]
    )
    first, second = every_spec(one), every_spec(two)
    assert first.keys() == second.keys()
    lists = {"findings", "claims", "cautions", "decentralisation"}
    assert all(first[name] == second[name] for name in first.keys() - lists)


def test_each_block_has_settings_of_its_own() -> None:
    other = {"retrievers": ["minilm"], "datasets": ["more"], "passages": [3], "layers": [6]}
    config = parse(study([PROBE, other | {"seeds": [0], "kinds": ["cosine"]}]))
    assert config.probing("minilm", "pydocs")[2:4] == (list(range(7)), [2, 5])
    assert config.probing("minilm-random", "more")[2:4] == ([6], [3])
    assert specs.probe(config, "minilm", "more").seeds == [0]
    assert specs.probe(config, "minilm", "pydocs").seeds == [0, 1, 2]
    assert config.drawn_probes("more") == ["cosine"]
    assert config.drawn_probes() == ["concat", "interaction"]
    together = grids.together(specs.findings(config).probed)
    assert {key: [grid.retriever for grid in both] for key, both in together.items()} == {
        ("pydocs", (0, 1, 2)): ["minilm", "minilm-random"],
        ("more", (0,)): ["minilm", "minilm-random"],
    }
    with pytest.raises(KeyError):
        config.probing("cls", "pydocs")


def test_blocks_that_share_a_counterpart_probe_it_at_the_layers_of_both() -> None:
    blocks = [PROBE | {"layers": [0, 2]}, PROBE | {"retrievers": ["cls"], "layers": [2, 6]}]
    config = parse(study(blocks))
    assert config.probing("cls", "pydocs").layers == [2, 6]
    assert config.probing("minilm", "pydocs").layers == [0, 2, 6]
    assert specs.similarity(config, "cls", "pydocs").layers == [2, 6]


def test_methods_may_be_attributed_in_fewer_layers() -> None:
    few = ATTRIBUTE | {"attributions": ["cosine"], "layers": [2, 6]}
    config = parse(study(attribute=[ATTRIBUTE | {"removal": {"texts": 4}}, few]))
    assert config.attributed_layers("norm", "minilm", "pydocs") == [1, 2, 3, 4, 5, 6]
    assert config.attributed_layers("cosine", "minilm", "pydocs") == [2, 6]
    assert config.attributions_of("minilm", "pydocs") == ["norm", "cosine"]
    agreement = specs.agreement(config, "minilm", "pydocs")
    layers = {name: sides["query"].layers for name, sides in agreement.attributions.items()}
    assert layers == {"norm": [1, 2, 3, 4, 5, 6], "cosine": [2, 6]}
    assert agreement.removals.keys() == {"query", "passage"}
    whole = {cell.attribution: cell.whole for cell in specs.claims(config).grid}
    assert whole == {"norm": True, "cosine": False}


@pytest.mark.parametrize(
    ("probe", "attribute", "message"),
    [
        (
            [PROBE, PROBE | {"seeds": [0]}],
            ATTRIBUTE,
            "study.probe: blocks 1 and 2 probe 'minilm' on 'pydocs' with different seeds: give",
        ),
        (
            [PROBE, PROBE | {"datasets": ["more"]}, PROBE | {"retrievers": ["cls"], "rank": 2}],
            ATTRIBUTE,
            "study.probe: blocks 1 and 3 probe 'minilm' on 'pydocs' with different rank: give",
        ),
        (
            [PROBE, PROBE | {"layers": [6], "passages": [2, 3]}],
            ATTRIBUTE,
            "study.probe: blocks 1 and 2 probe 'minilm' on 'pydocs' in different layers and with",
        ),
        (
            PROBE,
            [ATTRIBUTE, ATTRIBUTE | {"layers": [6]}],
            "study.attribute: blocks 1 and 2 make 'norm' of encoder 'minilm' on 'pydocs' with "
            "different layers: give",
        ),
        (
            PROBE,
            [ATTRIBUTE, ATTRIBUTE | {"attributions": ["cosine"], "checked_texts": 8}],
            "study.attribute: blocks 1 and 2 attribute 'minilm' on 'pydocs' with different "
            "checked_texts, and",
        ),
        (
            PROBE,
            [
                ATTRIBUTE | {"removal": {}},
                ATTRIBUTE | {"attributions": ["cosine"], "removal": {"texts": 4}},
            ],
            "study.attribute: blocks 1 and 2 remove neurons of encoder 'minilm' on 'pydocs' with "
            "different removal: one",
        ),
        (
            [PROBE, PROBE | {"datasets": ["more"], "passages": [9]}],
            ATTRIBUTE,
            "study.probe (block 2).passages: 9 passages need 8 negatives",
        ),
        ([PROBE | {"passages": [9]}], ATTRIBUTE, "study.probe.passages: 9 passages need 8"),
        (
            PROBE,
            [ATTRIBUTE, ATTRIBUTE | {"datasets": ["more"], "layer": [6]}],
            "study.attribute (block 2).layer: unknown key",
        ),
        ([], [], "study: names nothing: give probe, search or attribute"),
    ],
)
def test_blocks_that_cannot_be_are_one_line_that_names_them(probe, attribute, message) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(study(probe, attribute))
    (line,) = str(caught.value).splitlines()
    assert line.startswith(message), line


@pytest.mark.parametrize(
    ("name", "retriever", "fresh", "wholly"),
    [
        ("artefact", "minilm", False, False),
        ("artefact", "minilm-random", True, True),
        # Its query encoder is trained and its passage encoder is not, and the other way round.
        ("artefact", "trained-query", True, False),
        ("artefact", "trained-passage", True, False),
        ("methods", "minilm-upper-random", True, False),
    ],
)
def test_weights_that_were_never_trained_are_known_on_both_sides(name, retriever, fresh, wholly):
    config = studies.read([studies.ROOT / "studies" / f"{name}.yaml"])
    assert config.is_fresh(retriever) == fresh
    assert config.is_wholly_fresh(retriever) == wholly

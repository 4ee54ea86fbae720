"""The studies that are shipped: what they plan, and the paper's grid end to end on tiny files."""

from __future__ import annotations

import gzip
import json
import re
import shutil

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import transformers
import yaml
from safetensors.torch import load_file, save_file
from snakemake.utils import update_config

from benchmarks import studies as benchmarked
from tests.models.test_adapters import adapt
from tests.support import checkpoints
from tests.support import study as studies
from tests.support.hub import Hub
from tests.support.paths import ROOT
from wellspring import specs
from wellspring.config import parse

PAPER = ("--configfile", "studies/paper.yaml")


# The whole takes hundreds of jobs. The part has every kind of job, of format and of checkpoint.
GRIDS = {
    "part": {
        "probe": {"datasets": ["nq"], "layers": [1]},
        "attribute": {"norm": ["bert-cls", "dpr-question"]},
        "outcome": {
            "datasets": ["nq"],
            "layers": 1,
            "pairs": {"dpr-question", "repllama"},
            # Two are of retrievers that are not attributed here.
            "claims": {*range(1, 8), 10},
        },
    },
    "whole": {
        "probe": {},
        "attribute": {},
        "outcome": {
            "datasets": ["nq", "msmarco"],
            "layers": 2,
            "pairs": {"dpr-question", "dpr-context", "contriever", "repllama"},
            "claims": {*range(1, 11)},
        },
    },
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The workflow with the default study and all shipped ones, and no results."""
    folder = tmp_path_factory.mktemp("clone")
    studies.copy_workflow(folder)
    for name in ("studies", "data"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("downloads"))
    shutil.copyfile(ROOT / "config.yaml", folder / "config.yaml")
    return studies.Study(folder)


@pytest.fixture(scope="module")
def plan(clone):
    """What Snakemake says of a dry run of the paper's grid."""
    return clone.run("-n", *PAPER).stdout


SHIPPED = {path.stem: path for path in sorted((ROOT / "studies").glob("*.yaml"))}


def overlays(name: str) -> list[str]:
    """The files that a shipped study's own comment names in its command."""
    (names,) = re.findall(r"^# .*--configfile (.*)$", SHIPPED[name].read_text(), re.MULTILINE)
    return names.split()


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_study_can_be_used_as_its_comment_says(name):
    assert overlays(name)[-1] == f"studies/{name}.yaml"
    benchmarked.read([ROOT / each for each in overlays(name)])


@pytest.mark.parametrize(
    "name",
    # It trains a model that is fetched.
    [
        name if name == "decoder-sparse" else pytest.param(name, marks=pytest.mark.slow)
        for name in SHIPPED
    ],
)
def test_a_shipped_study_is_planned_from_nothing(clone, name):
    assert clone.planned("--configfile", *overlays(name))["page"] == 1


def test_the_papers_grid_is_planned_exactly(plan):
    # Layers: 13 of six retrievers and 33 of two; one job makes all four passage counts.
    probes = (6 * 13 + 2 * 33) * 2
    # The probes are as many as the published points.
    files = set(re.findall(r"results/probes/\S+/passages-\d\.parquet", plan))
    assert len(files) == 4 * probes == 1152
    # A dry run prints the table of jobs twice.
    assert studies.jobs_by_rule(plan) == {
        "download": 4,
        "fetch": 6,
        "model": 6,
        "texts": 2,
        "samples": 2,
        "qrels": 2,
        "lexical": 2,
        "embed": 7 * 2 * 2 * 4,
        # Four blocks a job, of five encoders and of two; sides, datasets.
        "attribute": (5 * 3 + 2 * 8) * 2 * 2,
        "activations": 7 * 2 * 2,
        "ablate": 7 * 2 * 2,
        "agreement": 4 * 2,
        "decentralisation": 1,
        "claims": 1,
        "ledger": 1,
        "cautions": 1,
        "evidence": 1,
        "page": 1,
        # Of every pair, evidence and what predicts what.
        "chart": 5 * 2 * 2,
        "heatmap": 4 * 2 * 2 * 2,
        "drawing": 4 * 2 * 3,
        "probe": probes,
        "similarity": 5 * 2,
        "findings": 1,
        "power": 1,
        "published": 1,
        "figure": 4 * 2,
        "controls": 5 * 2,
    }


def test_every_text_is_encoded_once_by_every_encoder(plan):
    """Each (encoder, dataset, side, shard) is one job: compositions, layers and N add none.

    Within a job each distinct text is one forward pass: tests/test_embeddings.py counts them.
    """
    found = re.findall(r"output: results/embeddings/(\S+)\.parquet", plan)
    encoders = set(yaml.safe_load((ROOT / "studies/paper.yaml").read_text())["encoders"])
    shards = {
        f"{encoder}/{dataset}/{side}/shard-{shard:03d}"
        for encoder in encoders
        for dataset in ("nq", "msmarco")
        for side in ("query", "passage")
        for shard in range(4)
    }
    assert len(found) == len(set(found)) and set(found) == shards


@pytest.mark.slow
def test_the_published_choices_reuse_what_they_share(clone):
    planned = clone.planned(*PAPER, "studies/published.yaml")
    # Four of the paper's encoders, and three of their own.
    assert planned["embed"] == 7 * 2 * 2 * 4
    assert planned["model"] == 6 and planned["fetch"] == 6
    assert planned["probe"] == 288
    # Each encoder under the one attribution that is its published one.
    assert planned["attribute"] == (5 * 3 + 2 * 8) * 2 * 2


def test_published_attribution_reads_texts_otherwise_than_published_probing():
    """No space before the end token, and queries cut at the passages' length."""
    raw: dict = {}
    for name in ("config.yaml", "studies/paper.yaml", "studies/published.yaml"):
        update_config(raw, yaml.safe_load((ROOT / name).read_text()))
    config = parse(raw)
    for name, retriever, _, _ in config.attributed():
        for side, encoder in config.retrievers[retriever].encoders.items():
            found = specs.attribution(config, name, encoder, "nq", side).encoding
            assert found.length == 256
            eos = name == "published-eos"
            assert found.template == (f"{side}: {{text}}</s>" if eos else "{text}")
            assert found.pooling == "last-position" or not eos
    for side in ("query", "passage"):
        probed = specs.encoding(config, "repllama-last", side)
        assert probed.template == f"{side}: {{text}} </s>"
        assert probed.length == {"query": 128, "passage": 512}[side]


@pytest.mark.slow
def test_the_artefact_adds_probes_alone(clone):
    default = clone.planned()
    artefact = clone.planned("--configfile", "studies/artefact.yaml")
    # The default study has a third encoder, which is trained.
    assert (default["embed"], artefact["embed"]) == (3 * 2, 2 * 2)
    assert default["probe"] == 3 * 7 and artefact["probe"] == 4 * 7
    assert (default["attribute"], artefact["attribute"]) == (3 * 2 * 2, 2 * 2 * 2)
    assert (default["controls"], artefact["controls"]) == (1, 2)


@pytest.mark.slow
def test_twins_multiply_the_jobs_and_leave_the_figures(clone):
    planned = clone.planned("--configfile", "studies/twins.yaml", "studies/artefact.yaml")
    # MiniLM and four twins of it; two compositions with each twin.
    assert planned["model"] == 5 and planned["embed"] == 5 * 2
    assert planned["probe"] == (1 + 4 + 2 * 4) * 7
    assert planned["attribute"] == 5 * 2 * 2
    assert (planned["controls"], planned["heatmap"], planned["drawing"]) == (2, 4, 3)


def test_the_methods_are_attributed_in_two_blocks_of_one_pair(clone):
    methods = clone.planned("--configfile", "studies/methods.yaml")
    # Eight of two encoders, and one of a third one, too.
    assert methods["attribute"] == 8 * 2 * 2 + 3 * 2
    # What removal does is measured once, whatever the number of attributions.
    assert methods["remove"] == 3 * 2
    # Those with a counterpart.
    assert methods["fidelity"] == 2


def test_three_kinds_of_negatives_are_probed_in_three_layers(clone):
    planned = clone.planned("--configfile", "studies/negatives.yaml")
    assert planned["samples"] == planned["lexical"] == 3
    assert planned["embed"] == 2 * 2 * 3
    assert planned["probe"] == 2 * 3 * 3
    assert "attribute" not in planned


@pytest.mark.slow
def test_a_published_pair_is_one_wheel_and_the_model_that_it_was_tuned_from(clone):
    planned = clone.planned("--configfile", "studies/published-pair.yaml")
    assert planned["fetch"] == 1
    assert planned["model"] == 3 and planned["embed"] == 3 * 2 and planned["probe"] == 3 * 7
    assert planned["attribute"] == 3 * 2 * 2


def dpr_slice(questions: int, start: int = 0) -> bytes:
    """DPR's JSON, gzip."""
    rng = np.random.default_rng(start)
    rows = []
    for number in range(start, start + questions):
        topic = studies.TOPICS[number % len(studies.TOPICS)]

        def passage(text: str, topic: str = topic) -> dict:
            return {"title": topic.title(), "text": text, "score": 1, "passage_id": "7"}

        words = [" ".join(rng.choice(studies.TOPICS, 7)) for _ in range(6)]
        rows.append(
            {
                "dataset": "nq_train_psgs_w100",
                "question": f"where is the {topic} {number}",
                "answers": [topic],
                "positive_ctxs": [passage(f"the {topic} {number} {words[0]}")],
                "negative_ctxs": [passage("a random one")],
                "hard_negative_ctxs": [passage(text) for text in words[1:]],
            }
        )
    return gzip.compress(json.dumps(rows).encode())


def msmarco_slice(folder, queries: int, start: int = 0) -> bytes:
    """MS MARCO v1.1's Parquet."""
    rng = np.random.default_rng(start + 1)
    rows = []
    for number in range(start, start + queries):
        texts = [" ".join(rng.choice(studies.TOPICS, 8)) for _ in range(6)]
        rows.append(
            {
                "answers": ["a"],
                "passages": {
                    "is_selected": [int(k == number % 6) for k in range(6)],
                    "passage_text": [f"{text} {number} {k}" for k, text in enumerate(texts)],
                    "url": ["http://example.org"] * 6,
                },
                "query": f"what is number {number}",
                "query_id": number,
                "query_type": "description",
                "wellFormedAnswers": [],
            }
        )
    path = folder / "slice.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path.read_bytes()


def pickle_weights(folder, stem: str) -> None:
    """As checkpoints of before safetensors lie on the hub."""
    held = load_file(folder / f"{stem}.safetensors")
    (folder / f"{stem}.safetensors").unlink()
    name = "pytorch_model.bin" if stem == "model" else f"{stem}.bin"
    torch.save(held, folder / name, _use_new_zipfile_serialization=False)


def rename_norms(folder) -> None:
    """BERT's first release calls the weights of its norms gamma and beta."""
    path = folder / "model.safetensors"
    held = load_file(path)
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    path.unlink()
    renamed = {}
    for name, value in held.items():
        for new, first in old.items():
            name = name.replace(new, first)
        renamed[name] = value
    save_file(renamed, path, metadata={"format": "pt"})


def cut_in_shards(folder) -> None:
    """Two files and an index, as large models have."""
    path = folder / "model.safetensors"
    held = load_file(path)
    path.unlink()
    names = sorted(held)
    places = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file({name: held[name] for name in part}, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def commit(hub: Hub, source: str, folder) -> None:
    """Put a folder at the very commit that the study is pinned to."""
    name, _, revision = source.removeprefix("hub:").partition("@")
    made = hub.add(name, folder)
    repository = hub.repositories["model", name]
    repository.commits[revision] = repository.commits.pop(made)
    repository.references.clear()


def publish(hub: Hub, config: dict, folder) -> None:
    """Every repository of the paper's study, with one layer, in the layout that it has."""
    kinds = {
        "bert": ("BertForMaskedLM", False),
        "dpr-question": ("DPRQuestionEncoder", True),
        "dpr-context": ("DPRContextEncoder", True),
        "contriever": ("Contriever", True),
        "llama": ("LlamaForCausalLM", False),
    }
    for name, (kind, pickled) in kinds.items():
        place = checkpoints.make(folder / name, kind, layers=1)
        if name == "bert":
            rename_norms(place)
        if name == "llama":
            cut_in_shards(place)
        if pickled:
            pickle_weights(place, "model")
        commit(hub, config["models"][name]["source"], place)
    adapter = adapt(folder / "llama", folder / "adapter")
    described = adapter / "adapter_config.json"
    base = {"base_model_name_or_path": "meta-llama/Llama-2-7b-hf"}
    described.write_text(json.dumps(json.loads(described.read_text()) | base))
    pickle_weights(adapter, "adapter_model")
    commit(hub, config["models"]["repllama"]["adapter"], adapter)


def check_attributions(results, pairs: set[str], claims: set[int]) -> None:
    table = pl.read_parquet(results / "findings" / "decentralisation.parquet")
    assert set(table.filter(finding="change")["retriever"]) == pairs
    assert set(table["sublayer"]) == {"intermediate", "output"}
    judged = pl.read_csv(results / "findings" / "claims.csv")
    assert set(judged.filter(pl.col("as_published"))["claim"]) == claims
    figures = results / "figures" / "nq" / "norm-float32" / "repllama"
    for name in ("heat/query", "change/passage", "concentration", "sweep", "sanity-checks"):
        assert (figures / f"{name}.pdf").stat().st_size > 5000


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("grid", ["part", "whole"])
def test_the_papers_grid_runs_end_to_end(clone, tmp_path, grid):
    """Real classes, file formats and downloads; tiny weights and slices of made-up text."""
    folder = tmp_path / "paper"
    shutil.copytree(clone.folder, folder)
    config = yaml.safe_load((folder / "studies/paper.yaml").read_text())
    with Hub() as hub:
        publish(hub, config, tmp_path / "published")
        hub.files |= {
            "train.json.gz": dpr_slice(50),
            "dev.json.gz": dpr_slice(20, 50),
            "train.parquet": msmarco_slice(tmp_path, 50),
            "dev.parquet": msmarco_slice(tmp_path, 20, 50),
        }
        small = {
            "models": {name: {"layers": 1} for name in config["models"]},
            "encoders": {name: {"passage_length": 32} for name in config["encoders"]},
            "datasets": {
                "nq": {
                    "source": {"train": hub.url("train.json.gz"), "dev": hub.url("dev.json.gz")},
                    "shards": 1,
                },
                "msmarco": {
                    "source": {
                        "train": hub.url("train.parquet"),
                        "validation": hub.url("dev.parquet"),
                    },
                    "shards": 1,
                },
            },
            "attributions": {"norm": {"texts": 4}, "norm-float32": {"texts": 4}},
            "study": {
                "attribute": [
                    block
                    | {
                        "datasets": ["nq"],
                        "ablate": {"neurons": [2], "draws": 1},
                        "retrievers": GRIDS[grid]["attribute"].get(name, block["retrievers"]),
                    }
                    for block in config["study"]["attribute"]
                    for name in block["attributions"]
                ],
                "probe": {
                    "passages": [2],
                    "kinds": ["concat", "interaction", "shuffled-query", "cosine", "lexical"],
                    "seeds": [0],
                    "optimiser": {"epochs": 3},
                    **GRIDS[grid]["probe"],
                },
                "findings": {"permutations": 100},
            },
        }
        (folder / "small.yaml").write_text(yaml.safe_dump(small))
        study = studies.Study(folder, hub.environment(tmp_path / "home"))
        arguments = (*PAPER, "small.yaml")
        wanted = ("all", "results/datasets/msmarco/lexical.parquet")
        study.run(*wanted, *arguments)
        assert study.planned(*wanted, *arguments) == {}
        check_outcome(folder, **GRIDS[grid]["outcome"])
        study.run("--report", str(folder / "report.html"), *arguments)


def check_outcome(folder, datasets: list[str], layers: int, **attributed: set) -> None:
    results = folder / "results" / "studies" / "paper"
    table = pl.read_parquet(results / "findings" / "findings.parquet")
    rows = table.filter(finding="accuracy", measure="accuracy", probe="concat")
    assert rows.select("dataset", "retriever", "layer").is_unique().all()
    assert len(rows) == len(datasets) * 8 * layers
    published = pl.read_csv(results / "findings" / "published.csv")
    assert len(published) == len(datasets) * 8
    for dataset in datasets:
        for group in ("cls", "mean", "eos"):
            assert (results / "figures" / dataset / f"layer-accuracy.{group}.pdf").is_file()
    check_attributions(results, **attributed)
    # Weights that came as *.bin are read as safetensors; the context encoder's are its own.
    models = folder / "results" / "models"
    stored = load_file(models / "dpr-context" / "model.safetensors")
    assert any(name.startswith("ctx_encoder.") for name in stored)
    loaded = json.loads((models / "repllama" / "model.json").read_text())
    assert set(loaded["adapter"]) == {"adapter_config.json", "adapter_model.safetensors"}
    assert transformers.__version__ == loaded["circumstances"]["versions"]["transformers"]
    # An encoder's shards serve every retriever that it is part of.
    made = {path.name for path in (folder / "results" / "embeddings").iterdir()}
    assert made == {
        *("bert-cls", "dpr-question", "dpr-context", "bert-mean"),
        *("contriever", "llama", "repllama"),
    }

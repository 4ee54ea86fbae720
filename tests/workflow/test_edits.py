"""Exactly what each edit of configuration, code and inputs reruns (the table in docs/reruns.md)."""

from __future__ import annotations

import shutil

import pytest

from tests.support import study as studies

PROBES = 2 * 2
"""Retrievers × layers of the small study: one job makes all passage counts."""
CAUTIONED = {"cautions": 1, "page": 1, "figure": 2, "controls": 1, "drawing": 3, "heatmap": 4}
CAUTIONED["chart"] = 2
"""The cautions, the page, and every figure that they stand below."""
REPORTED = {"findings": 1, "power": 1, **CAUTIONED}
JUDGED = {"claims": 1, "ledger": 1, **REPORTED}
PROBED = {"evidence": 1, **JUDGED}
DECENTRALISED = {"decentralisation": 1, "evidence": 1, **CAUTIONED}
COUNTED = {"activations": 4, "claims": 1, "ledger": 1, **DECENTRALISED}
ABLATED = {"ablate": 4, **DECENTRALISED}
ATTRIBUTED = {"attribute": 4, "agreement": 1, **ABLATED, **COUNTED}
"""Encoders × sides of the small study, and what follows: one job makes both layers."""


def set_negatives(config):
    config["datasets"]["questions"]["negatives"] = {"seed": 7}


def mine_negatives(config):
    config["datasets"]["questions"]["negatives"] = {"mined": "bm25"}


def count_negatives(config):
    config["datasets"]["questions"]["negatives"] = {"count": 3}


def set_bm25(config):
    config["datasets"]["questions"]["bm25"] = {"b": 0.7}


def set_shards(config):
    config["datasets"]["questions"]["shards"] = 2


def set_kinds(config):
    config["study"]["probe"]["kinds"] = ["concat", "cosine"]


def set_seeds(config):
    config["study"]["probe"]["seeds"] = [0, 1, 2]


def set_permutations(config):
    config["study"]["findings"]["permutations"] = 300


def set_split(config):
    config["datasets"]["questions"]["splits"]["test"] = 0.25


def set_epochs(config):
    config["study"]["probe"]["optimiser"]["epochs"] = 6


def add_passages(config):
    config["study"]["probe"]["passages"] = [2, 3, 4]


def add_layer(config):
    config["study"]["probe"]["layers"] = [0, 1, 2]


def add_retriever(config):
    config["models"]["other"] = {**config["models"]["fresh"], "seed": 1}
    config["encoders"]["other"] = {**config["encoders"]["fresh"], "model": "other"}
    config["retrievers"]["other"] = {"query": "other", "compared_with": "fresh"}
    config["study"]["probe"]["retrievers"].append("other")


def set_alpha(config):
    config["study"]["findings"]["alpha"] = 0.01


def set_length(config):
    config["encoders"]["tiny"]["passage_length"] = 16


def set_pooling(config):
    config["encoders"]["tiny"]["pooling"] = "cls"


def set_thresholds(config):
    thresholds = config["study"]["attribute"].setdefault("thresholds", {})
    thresholds["network-max"] = [0.03, 0.1]


def set_bins(config):
    config["study"]["attribute"]["maps"] = {"bins": 5}


def set_ablated(config):
    config["study"]["attribute"]["ablate"] = [2, 4]


def ablate_each_layer(config):
    config["study"]["attribute"]["ablate"]["each_layer"] = [2]


def set_replacement(config):
    config["study"]["attribute"]["ablate"]["by"] = ["zero", "mean"]


def set_removal(config):
    config["study"]["attribute"]["removal"] = {"texts": 4, "neurons": 8}


def attribute_fewer_layers(config):
    config["study"]["attribute"]["layers"] = [2]


def attribute_more_texts(config):
    config["attributions"]["norm"]["texts"] = 10


def add_attribution(config):
    config["attributions"]["cut"] = {"texts": 8, "passage_length": 8, "query_length": 8}
    config["study"]["attribute"]["attributions"].append("cut")


RESAMPLED = {"samples": 1, "lexical": 1, "probe": PROBES, **PROBED, **ABLATED}
EDITS_OF_CONFIG = [
    (set_negatives, RESAMPLED),
    (mine_negatives, RESAMPLED),
    (count_negatives, RESAMPLED),
    (set_bm25, {"lexical": 1, "probe": PROBES, **PROBED}),
    (set_shards, {"embed": 8, "similarity": 1, "probe": PROBES, **PROBED}),
    (set_kinds, {"probe": PROBES, **PROBED}),
    (set_seeds, {"probe": PROBES, **PROBED}),
    (set_permutations, JUDGED),
    (set_split, {"qrels": 1, **RESAMPLED, **ATTRIBUTED}),
    (set_epochs, {"probe": PROBES, **PROBED}),
    (add_passages, {"probe": PROBES, **PROBED}),
    (add_layer, {"probe": PROBES // 2, "similarity": 1, **PROBED}),
    (
        add_retriever,
        {
            "model": 1,
            "embed": 2,
            "probe": PROBES // 2,
            "similarity": 1,
            **PROBED,
            "controls": 2,
            "chart": 4,
        },
    ),
    (set_alpha, JUDGED),
    (
        set_length,
        {
            **{"embed": 1, "similarity": 1, "probe": PROBES // 2, **PROBED},
            # The query side's ranking is among passages.
            **{"attribute": 1, "activations": 1, "ablate": 2, "agreement": 1},
            **DECENTRALISED,
        },
    ),
    (
        set_pooling,
        {
            **{"embed": 2, "similarity": 1, "probe": PROBES // 2, **PROBED},
            **{"attribute": 2, "activations": 2, "ablate": 2, "agreement": 1},
            **DECENTRALISED,
        },
    ),
    (set_thresholds, COUNTED),
    # The page lists settings.
    (set_bins, {"heatmap": 4, "page": 1}),
    (set_ablated, ABLATED),
    (ablate_each_layer, ABLATED),
    (set_replacement, ABLATED),
    (set_removal, {"remove": 4, "agreement": 2, **DECENTRALISED, "fidelity": 1}),
    (attribute_fewer_layers, {"agreement": 1, **ABLATED, **COUNTED}),
    (attribute_more_texts, ATTRIBUTED),
    (
        add_attribution,
        {
            **ATTRIBUTED,
            # The fresh one, too, has two attributions to correlate now.
            "agreement": 2,
            "drawing": 6,
            "heatmap": 8,
        },
    ),
]


def sampled(name):
    """Every edit is planned on request; the quick tests plan one of each kind."""
    return () if name in QUICK else pytest.mark.slow


QUICK = {
    *("set_negatives", "set_alpha", "add_layer", "set_length", "set_removal"),
    *("pooling.py", "statistics.py", "fused.py", "jsonl.py"),
}


@pytest.mark.parametrize(
    ("edit", "jobs"),
    [
        pytest.param(edit, jobs, id=edit.__name__, marks=sampled(edit.__name__))
        for edit, jobs in EDITS_OF_CONFIG
    ],
)
def test_an_edit_of_the_configuration_reruns_what_it_touches(study, edit, jobs):
    study.configure(edit)
    assert study.planned() == jobs


@pytest.mark.slow
def test_an_upgrade_plans_the_texts_of_its_package_alone(tmp_path):
    study = studies.make(tmp_path / "study")
    for name in ("planted", "unrelated"):
        install(study, name, "1.0")
    docs = {"format": "pydocs", "packages": ["planted"], "entries": 10}
    study.configure(lambda config: config["datasets"].update(docs=docs))
    target = "results/datasets/docs/qrels.parquet"
    study.run(target)
    install(study, "unrelated", "2.0")
    assert study.planned(target) == {}
    install(study, "planted", "2.0")
    done = study.run(target, "-n")
    assert studies.jobs_by_rule(done.stdout + done.stderr) == {"texts": 1, "qrels": 1}
    difference = 'options.packages.planted changed from "1.0" to "2.0"'
    assert difference in done.stdout + done.stderr


def install(study, name, version):
    """Put a package of one file where the study's jobs find it, at this version alone."""
    for old in (study.folder / "src").glob(f"{name}-*.dist-info"):
        shutil.rmtree(old)
    info = study.folder / "src" / f"{name}-{version}.dist-info"
    info.mkdir()
    (study.folder / "src" / f"{name}.py").touch()
    (info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text(f"{name}.py,,\n")


def test_another_block_takes_its_own_scores_alone(study):
    results = study.folder / "results"
    # What is made of the scores is gone, too: Snakemake misses no file that nothing else waits for.
    made = [results / name for name in ("activations", "ablations", "studies")]
    for path in [*(results / "attributions").rglob("layer-02"), *made]:
        shutil.rmtree(path)
    planned = study.planned()
    assert (planned["attribute"], planned["activations"], planned["ablate"]) == (4, 4, 4)
    assert not {"texts", "model", "embed", "probe"} & planned.keys()


def test_a_retriever_without_counterpart_has_the_figures_that_need_none(study):
    def alone(config):
        config["retrievers"]["tiny"]["compared_with"] = None
        config["study"]["attribute"]["retrievers"] = ["tiny"]

    study.configure(alone)
    planned = study.planned()
    assert planned["drawing"] == 2 and not {"heatmap", "attribute"} & planned.keys()


PACKAGE = "src/wellspring"
EDITS_OF_CODE = [
    (
        f"{PACKAGE}/pooling.py",
        "mask.float().unsqueeze(1)",
        "mask.double().float().unsqueeze(1)",
        {"embed": 4, "similarity": 1, "probe": PROBES, **PROBED, **ATTRIBUTED},
    ),
    (
        f"{PACKAGE}/probes/training.py",
        "import torch\n",
        "import torch\n\nREAL_CHANGE = 1\n",
        {"probe": PROBES, **PROBED},
    ),
    (
        f"{PACKAGE}/findings/statistics.py",
        "import numpy as np\n",
        "import numpy as np\n\nREAL_CHANGE = 1\n",
        {**PROBED},
    ),
    (
        f"{PACKAGE}/findings/similarity.py",
        "import numpy as np\n",
        "import numpy as np\n\nREAL_CHANGE = 1\n",
        {"similarity": 1, "evidence": 1, **REPORTED},
    ),
    (
        f"{PACKAGE}/figures/panels.py",
        "import numpy as np\n",
        "import numpy as np\n\nREAL_CHANGE = 1\n",
        {"figure": 2, "controls": 1},
    ),
    (
        f"{PACKAGE}/figures/heatmaps.py",
        "import numpy as np\n",
        "import numpy as np\n\nREAL_CHANGE = 1\n",
        {"heatmap": 4},
    ),
    (
        f"{PACKAGE}/activations.py",
        "import numpy as np\n",
        "import numpy as np\n\nREAL_CHANGE = 1\n",
        COUNTED,
    ),
    (
        f"{PACKAGE}/attributions/fused.py",
        "import torch\n",
        "import torch\n\nREAL_CHANGE = 1\n",
        ATTRIBUTED,
    ),
    (
        f"{PACKAGE}/attributions/ablation.py",
        "import torch\n",
        "import torch\n\nREAL_CHANGE = 1\n",
        ABLATED,
    ),
    (
        f"{PACKAGE}/findings/claims.py",
        "import polars as pl\n",
        "import polars as pl\n\nREAL_CHANGE = 1\n",
        {"claims": 1, "ledger": 1, "page": 1},
    ),
    (
        f"{PACKAGE}/findings/cautions.py",
        "import polars as pl\n",
        "import polars as pl\n\nREAL_CHANGE = 1\n",
        CAUTIONED,
    ),
    (
        f"{PACKAGE}/page/summary.py",
        "import polars as pl\n",
        "import polars as pl\n\nREAL_CHANGE = 1\n",
        {"page": 1},
    ),
    (f"{PACKAGE}/page/page.css", "body {", "body { margin: 1px;", {"page": 1}),
    (
        f"{PACKAGE}/datasets/samples.py",
        "import polars as pl\n",
        "import polars as pl\n\nREAL_CHANGE = 1\n",
        RESAMPLED,
    ),
    (
        f"{PACKAGE}/models/load.py",
        "import torch\n",
        "import torch\n\nREAL_CHANGE = 1\n",
        {"model": 2, "embed": 4, "similarity": 1, "probe": PROBES, **PROBED, **ATTRIBUTED},
    ),
    # A format and an architecture that are used.
    (
        f"{PACKAGE}/datasets/jsonl.py",
        "def read(",
        "REAL_CHANGE = 1\n\n\ndef read(",
        {"texts": 1, "qrels": 1, "embed": 4, "similarity": 1, **RESAMPLED, **ATTRIBUTED},
    ),
    (
        f"{PACKAGE}/models/bert.py",
        "ARCHITECTURE =",
        "REAL_CHANGE = 1\nARCHITECTURE =",
        {"model": 2, "embed": 4, "similarity": 1, "probe": PROBES, **PROBED, **ATTRIBUTED},
    ),
]
"""Each is a step of the science, and what follows."""
SILENT_EDITS = [
    # A comment, a docstring, a log line.
    (f"{PACKAGE}/pooling.py", "import torch\n", "import torch  # a comment\n"),
    (f"{PACKAGE}/embeddings.py", '"""Texts to vectors', '"""Text to vectors'),
    (
        f"{PACKAGE}/cli/embeddings.py",
        "job.counts(",
        "job.say('!')\n    job.counts(",
    ),
    # A method, a format, an architecture and a source that the study does not use.
    (f"{PACKAGE}/attributions/methods.py", "import torch\n", "import torch\n\nREAL_CHANGE = 1\n"),
    (f"{PACKAGE}/datasets/beir.py", "import", "REAL_CHANGE = 1\nimport"),
    (f"{PACKAGE}/models/llama.py", "ARCHITECTURE =", "REAL_CHANGE = 1\nARCHITECTURE ="),
    (f"{PACKAGE}/downloads/http.py", "import re\n", "import re\n\nREAL_CHANGE = 1\n"),
]


@pytest.mark.parametrize(
    ("file", "old", "new", "jobs"),
    [
        pytest.param(*edit, id=edit[0], marks=sampled(edit[0].rpartition("/")[2]))
        for edit in EDITS_OF_CODE
    ],
)
def test_an_edit_of_the_code_reruns_what_it_touches(study, file, old, new, jobs):
    study.rewrite(file, old, new)
    assert study.planned() == jobs


def test_what_changes_no_number_reruns_nothing(study):
    for edit in SILENT_EDITS:
        study.rewrite(*edit)
    # A new format and a new architecture.
    for folder, name in (("datasets", "jsonl"), ("models", "bert")):
        place = study.folder / PACKAGE / folder
        shutil.copyfile(place / f"{name}.py", place / "new.py")
    assert study.planned() == {}


def test_an_edit_of_an_input_reruns_what_reads_it(study):
    questions = study.folder / "questions.jsonl"
    questions.write_text(questions.read_text() + questions.read_text().splitlines()[0] + "\n")
    reread = {"texts": 1, "qrels": 1, "embed": 4, "similarity": 1}
    expected = {**reread, **RESAMPLED, **ATTRIBUTED}
    assert study.planned() == expected
    weights = study.folder / "tiny" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[::-1])
    assert study.planned() == {"model": 2, **expected}

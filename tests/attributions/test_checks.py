"""What may go wrong with single texts, and what removal says of scores: the commands."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import spearmanr
from torch.nn.functional import cosine_similarity

from tests.attributions.test_command import SUBLAYERS, Setting, vector
from tests.cli.test_cli import run
from wellspring import shards, specs
from wellspring.artefacts import scores
from wellspring.attributions import value
from wellspring.config import Padding, parse
from wellspring.errors import WellspringError
from wellspring.models.architecture import sublayer

TEXTS = 6
ENTRIES = {
    "plain": {"texts": TEXTS},
    "margin": {"target": "margin", "texts": TEXTS},
    "lenient": {"texts": TEXTS, "quiet": 0.5},
    "padded": {"target": "padded-mean-norm", "texts": TEXTS, "padding": {"batch": 2}},
    "paddeds": {
        **{"target": "padded-mean-norm", "texts": TEXTS, "padding": {"batch": 2}},
        "shards": 3,
    },
    "wide": {"target": "padded-mean-norm", "texts": TEXTS, "padding": {"length": 20}},
    "reworded": {"texts": TEXTS, "text": "paraphrase"},
}


class Checked(Setting):
    """The small study with other attributions."""

    def __init__(self, folder: Path, removal: dict | None = None) -> None:
        super().__init__(folder)
        raw = self.config.model_dump(mode="json", exclude_none=True)
        raw["attributions"] = ENTRIES
        (block,) = raw["study"]["attribute"]
        block["attributions"] = [*ENTRIES]
        if removal is not None:
            block["removal"] = removal
        self.config = parse(raw)

    def scored(self, out: Path, name: str, layers: tuple[int, ...] = (1, 2)) -> Path:
        for layer in layers:
            for shard in range(self.config.attributions[name].shards):
                self.attribute(out, name, layer=layer, shard=shard)
        return out

    def shard(self, out: Path, layer: int, shard: int = 0) -> pl.DataFrame:
        return pl.read_parquet(out / f"layer-{layer:02d}" / shards.shard_name(shard))

    def remove(self, out: Path, encoder: str = "tiny", side: str = "query") -> pl.DataFrame:
        spec = specs.remove(self.config, encoder, "questions", side)
        path = out / "removals" / encoder / "questions" / f"{side}.parquet"
        files = [self.datasets / f"{table}.parquet" for table in ("texts", "samples")]
        models = [self.described(encoder)] * 2
        run("remove", *files, *models, path, "--spec", spec.canonical())
        return pl.read_parquet(path)


@pytest.fixture
def checked(finished, monkeypatch, tmp_path):
    """The study's datasets may be edited."""
    shutil.copytree(finished.folder / "results" / "datasets", tmp_path / "results" / "datasets")
    for name in ("models", "tiny", "config.yaml"):
        place = Path("results") / name if name == "models" else Path(name)
        (tmp_path / place).symlink_to(finished.folder / place)
    monkeypatch.chdir(tmp_path)
    return lambda **options: Checked(tmp_path, **options)


def test_the_published_padding_does_not_depend_on_shards(checked, tmp_path):
    setting = checked()
    whole = setting.shard(setting.scored(tmp_path / "one", "padded", (1,)), 1)
    folder = setting.scored(tmp_path / "three", "paddeds", (1,))
    parts = pl.concat([setting.shard(folder, 1, shard) for shard in range(3)])
    assert whole.columns == parts.columns and whole["text_id"].equals(parts["text_id"])
    backbone, length = setting.backbone("tiny"), 128
    tokens = [
        len(backbone.tokenizer(setting.texts["query"][text])["input_ids"])
        for text in whole["text_id"]
    ]
    assert max(tokens) <= length
    expected = [max(tokens[row - row % 2 : row - row % 2 + 2]) for row in range(TEXTS)]
    assert whole["positions"].to_list() == parts["positions"].to_list() == expected
    for name in SUBLAYERS:
        np.testing.assert_allclose(whole[f"{name}_scale"], parts[f"{name}_scale"], rtol=1e-5)
    wide = setting.shard(setting.scored(tmp_path / "wide", "wide", (1,)), 1)
    assert wide["positions"].to_list() == [20] * TEXTS
    spec = specs.attribution(setting.config, "plain", "tiny", "questions", "query")
    assert spec.padding is None and Padding(batch=2).length is None


def made_quiet(monkeypatch, layer: int, *rows: int) -> None:
    """Texts that hear nothing in a layer: a real one would need weights of its own."""
    real = value._reach

    def reach(heard, found, floor):
        far = real(heard, found, floor)
        silent = list(rows) if heard.suffix.recording.layer == layer else []
        # Batches go by falling length: a text is known by its F.
        return np.where(np.isin(np.argsort(np.argsort(found.full)), silent), 0, far)

    monkeypatch.setattr(value, "_reach", reach)


def test_a_text_that_is_quiet_in_one_layer_is_left_out_in_all(checked, tmp_path, monkeypatch):
    setting = checked()
    usual = setting.scored(tmp_path / "usual", "plain")
    made_quiet(monkeypatch, 2, 1)
    quiet = setting.scored(tmp_path / "attributions/plain/tiny/questions/query", "plain")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    before, after = setting.shard(quiet, 1), setting.shard(quiet, 2)
    (silent,) = after.filter(pl.col("output_scale") == 0)["text_id"]
    assert shards.provenance(quiet / "layer-02" / shards.shard_name(0)).facts[scores.QUIET] == [
        silent
    ]
    assert scores.QUIET not in shards.provenance(quiet / "layer-01" / shards.shard_name(0)).facts
    # Its row stays, with how little the target moves, and in the other layer with its scores.
    assert before["text_id"].equals(after["text_id"]) and before["output_scale"].min() > 0
    assert not after.filter(text_id=silent)["output_scores"].to_numpy().any()
    assert after.filter(text_id=silent)["full"].item() > 0
    for kind, path in zip(
        ("counts", "texts", "top_neurons"), setting.activations(quiet, "plain"), strict=True
    ):
        table = pl.read_parquet(path)
        if kind == "counts":
            assert table["texts"].unique().to_list() == [TEXTS - 1]
        if kind == "texts":
            assert silent not in table["text_id"].to_list()
            assert table["text_id"].n_unique() == TEXTS - 1
    ablated, whole = (pl.read_parquet(setting.ablate(out, "plain")) for out in (quiet, usual))
    others = whole.filter(pl.col("text_id") != silent)
    assert ablated.height < whole.height and ablated.equals(others)
    second = tmp_path / "attributions/margin/tiny/questions/query"
    setting.scored(second, "margin")
    rows, _ = setting.agree(tmp_path / "attributions", ("plain", "margin"), tmp_path)
    assert set(rows["text_id"]) == set(before["text_id"]) - {silent}
    assert rows.group_by("layer").agg(pl.col("text_id").n_unique())["text_id"].to_list() == [5, 5]


def test_more_quiet_texts_than_may_be_are_an_error(checked, tmp_path, monkeypatch):
    """Counted over all layers: what is quiet in one is left out in every one."""
    setting = checked()
    for name in ("plain", "lenient"):
        for layer, row in ((1, 0), (2, 4)):
            made_quiet(monkeypatch, layer, row)
            setting.scored(tmp_path / name, name, (layer,))
            monkeypatch.undo()
            monkeypatch.chdir(tmp_path)
    with pytest.raises(
        WellspringError, match=r"plain: 2 of 6 texts are quiet \(\w+, \w+\): the ta"
    ):
        setting.activations(tmp_path / "plain", "plain")
    assert not list((tmp_path / "plain").glob("*.parquet"))
    log = tmp_path / "log"
    spec = specs.activations(setting.config, "lenient", "tiny", "questions", "query")
    outputs = [tmp_path / f"{kind}.parquet" for kind in ("counts", "texts", "top_neurons")]
    run("activations", tmp_path / "lenient", *outputs, "--spec", spec.canonical(), "--log", log)
    assert "2 of 6 texts are quiet in some layer and left out in all: " in log.read_text()
    for layer in (1, 2):
        path = tmp_path / "lenient" / f"layer-{layer:02d}" / shards.shard_name(0)
        (text,) = shards.provenance(path).facts[scores.QUIET]
        assert text in log.read_text()
    assert shards.provenance(outputs[0]).facts == {"texts": 4, scores.QUIET: 2}
    made_quiet(monkeypatch, 1, *range(TEXTS))
    with pytest.raises(
        WellspringError, match=r"layer 1: 6 of 6 texts are quiet \(.*, …\): the targ"
    ):
        setting.scored(tmp_path / "all", "lenient", (1,))
    assert not list((tmp_path / "all").rglob("*.parquet"))


def test_the_signal_is_how_much_of_the_target_a_sub_layer_moves(checked, tmp_path):
    setting = checked()
    folder = setting.scored(tmp_path / "plain", "plain")
    _, texts, _ = setting.activations(folder, "plain")
    signal = pl.read_parquet(texts).filter(measure="signal")
    backbone = setting.backbone("tiny")
    for row in signal.iter_rows(named=True):
        text = setting.texts["query"][row["text_id"]]
        linear, _ = sublayer(
            backbone.model, backbone.architecture, row["layer"] - 1, row["sublayer"]
        )
        kept = {key: part.clone() for key, part in linear.state_dict().items()}
        full = vector(backbone, text, 128).norm().item()
        for part in linear.parameters():
            part.data.zero_()
        empty = vector(backbone, text, 128).norm().item()
        linear.load_state_dict(kept)
        assert row["value"] == pytest.approx(abs(full - empty) / full, abs=2e-6)
        held = setting.shard(folder, row["layer"]).filter(text_id=row["text_id"])
        assert held["full"].item() == pytest.approx(full, rel=1e-5)
    assert signal.select("text_id", "layer", "sublayer").n_unique() == TEXTS * 4


def test_a_text_without_a_sample_is_left_out_of_ablation(checked, tmp_path):
    """A query that lost its sample for want of negatives is attributed all the same."""
    setting = checked()
    folder = setting.scored(tmp_path / "plain", "plain")
    usual = pl.read_parquet(setting.ablate(folder, "plain"))
    gone = setting.shard(folder, 1)["text_id"][2]
    path = setting.datasets / "samples.parquet"
    made = shards.provenance(path)
    left = pl.read_parquet(path).filter(pl.col("query_id") != gone)
    shards.write(path, left.to_arrow(), made)
    table = setting.ablate(folder, "plain")
    found = pl.read_parquet(table)
    assert found.equals(usual.filter(pl.col("text_id") != gone))
    assert shards.provenance(table).facts["texts_without_a_sample_left_out"] == 1
    others = left.filter(~pl.col("query_id").is_in(usual["text_id"].unique().to_list()))
    shards.write(path, others.to_arrow(), made)
    with pytest.raises(
        WellspringError, match=r"none of the 6 attributed texts has a sample \(hard"
    ):
        setting.ablate(folder, "plain")


def test_every_way_of_ablating_stands_in_one_table(checked, tmp_path):
    setting = checked()
    folder = setting.scored(tmp_path / "plain", "plain")
    ways = ["zero", "mean", "resample"]
    wanted = {"by": ways, "match": "magnitude", "neurons": [3], "draws": 2}
    found = pl.read_parquet(setting.ablate(folder, "plain", **wanted))
    assert found["by"].unique(maintain_order=True).to_list() == ways * 1
    choices = {"top", "bottom", "random-as-top", "random-as-bottom"}
    assert set(found["choice"]) == choices
    # Texts, ways, sub-layers, and of either end itself and two draws.
    assert found.height == TEXTS * 3 * 2 * 6
    random = found.filter(pl.col("choice").str.starts_with("random"))
    assert random["shared"].null_count() == 0 and random["shared"].max() <= 1
    ends = found.filter(~pl.col("choice").str.starts_with("random"))
    assert ends["shared"].null_count() == ends.height
    once = pl.read_parquet(setting.ablate(folder, "plain", **wanted | {"by": ["zero"]}))
    assert once.equals(found.filter(by="zero"))
    # Another output moves the vector less than none does, on the whole.
    changes = dict(found.group_by("by").agg(pl.col("change").mean()).iter_rows())
    assert changes["mean"] < changes["zero"] and len({*changes.values()}) == 3


def add_paraphrases(setting: Checked, wordings: dict[str, str]) -> None:
    path = setting.datasets / "texts.parquet"
    made, table = shards.provenance(path), pl.read_parquet(path)
    rows = {"text_id": list(wordings), "side": "paraphrase", "text": list(wordings.values())}
    identity = {**made.identity, "paraphrases": "some"}
    table = pl.concat([table, pl.DataFrame(rows).select(table.columns)])
    shards.write(
        path, table.to_arrow(), shards.Provenance(identity, made.circumstances, made.facts)
    )


def test_a_paraphrase_is_attributed_under_its_query_s_id(checked, tmp_path):
    setting = checked()
    folder = tmp_path / "attributions"
    place = Path("tiny/questions/query")
    plain = setting.shard(setting.scored(folder / "plain" / place, "plain"), 1)
    with pytest.raises(WellspringError, match=r"texts\.parquet: no query has a paraphrase, which"):
        setting.scored(folder / "reworded" / place, "reworded")
    ids = plain["text_id"].to_list()
    wordings = {text: f"tell me of {number}" for number, text in enumerate(ids[1:])}
    add_paraphrases(setting, wordings)
    reworded = setting.scored(folder / "reworded" / place, "reworded")
    table = setting.shard(reworded, 1)
    assert table["text_id"].to_list() == ids[1:]
    backbone = setting.backbone("tiny")
    for text, full in table.select("text_id", "full").iter_rows():
        expected = vector(backbone, wordings[text], 128).norm().item()
        assert full == pytest.approx(expected, rel=1e-5)
    rows, _ = setting.agree(folder, ("plain", "reworded"), tmp_path)
    assert set(rows["text_id"]) == set(ids[1:]) and 0.2 < rows["correlation"].mean() < 0.99
    # Ablation is of the other wording, too.
    ablated = pl.read_parquet(setting.ablate(reworded, "reworded", neurons=[2]))
    first = ablated.filter(text_id=ids[1], sublayer="output", choice="top")["change"].item()
    units = np.concatenate(
        [
            setting.shard(reworded, layer)["output_scores"][0].to_numpy().astype(np.float32)
            * setting.shard(reworded, layer)["output_scale"][0]
            for layer in (1, 2)
        ]
    )
    before = vector(backbone, wordings[ids[1]], 128)
    for unit in np.argsort(units)[-2:].tolist():
        linear, _ = sublayer(backbone.model, backbone.architecture, unit // 32, "output")
        linear.weight.data[unit % 32], linear.bias.data[unit % 32] = 0, 0
    after = vector(backbone, wordings[ids[1]], 128)
    assert first == pytest.approx(1 - cosine_similarity(before, after, dim=0).item(), abs=1e-5)


def test_one_wording_of_the_passages_is_compared_with_nothing(checked, tmp_path):
    setting = checked()
    folder = tmp_path / "attributions"
    place = Path("tiny/questions/query")
    for name in ("plain", "margin"):
        setting.scored(folder / name / place, "plain")
    held = {"query": setting.held("plain")}
    rows, log = setting.agree(folder, (), tmp_path, attributions={"plain": held, "margin": held})
    assert rows.is_empty() and "margin and plain are the same on the query side: not" in log


REMOVAL = {"texts": 4, "neurons": 12, "group": 1}


def test_removals_are_weights_set_to_zero(checked, tmp_path):
    setting = checked(removal=REMOVAL | {"group": 2, "similarity": "dot"})
    table = setting.remove(tmp_path)
    # Texts, blocks, sub-layers; one row of each has lost nothing.
    assert table.height == 4 * 2 * 2 * 13
    nothing = table.filter(pl.col("neurons").list.len() == 0)
    assert nothing.height == 4 * 2 * 2 and nothing["change"].max() < 1e-11
    assert nothing.select(pl.col("length_change", "margin_change").abs().max()).row(0) < (1e-5,) * 2
    assert table.filter(layer=1, sublayer="output")["neurons"].n_unique() == 13
    backbone, samples = setting.backbone("tiny"), setting.table("samples").filter(split="test")
    for text in table["text_id"].unique(maintain_order=True)[:2]:
        sample = samples.filter(query_id=text).row(0, named=True)
        passages = [vector(backbone, setting.texts["passage"][sample["positive_id"]])]
        negatives = dict.fromkeys(setting.texts["passage"][id_] for id_ in sample["negative_ids"])
        passages += [vector(backbone, other) for other in negatives]

        def margin(v, passages=passages):
            first, *others = (v @ passage for passage in passages)
            return (first - torch.stack(others).mean()).item()

        for row in table.filter(text_id=text).iter_rows(named=True):
            before = vector(backbone, setting.texts["query"][text], 128)
            place = (row["layer"] - 1, row["sublayer"])
            linear, _ = sublayer(backbone.model, backbone.architecture, *place)
            kept = {key: part.clone() for key, part in linear.state_dict().items()}
            for part in linear.parameters():
                part.data[row["neurons"]] = 0
            after = vector(backbone, setting.texts["query"][text], 128)
            linear.load_state_dict(kept)
            cosine = cosine_similarity(before.double(), after.double(), dim=0).item()
            assert row["change"] == pytest.approx(1 - cosine, abs=1e-6)
            length = (after.norm() / before.norm()).item() - 1
            assert row["length_change"] == pytest.approx(length, abs=1e-5)
            assert row["margin_change"] == pytest.approx(margin(after) - margin(before), abs=1e-4)


def test_scores_are_set_against_what_removal_does(checked, tmp_path):
    setting = checked(removal=REMOVAL)
    folder, place = tmp_path / "attributions", Path("tiny/questions/query")
    for name in ("plain", "margin"):
        setting.scored(folder / name / place, name)
    removed = setting.remove(tmp_path).filter(pl.col("neurons").list.len() > 0)
    removal = specs.remove(setting.config, "tiny", "questions", "query")
    removals = {"removals": {"query": removal.digest}, "readings": {"query": removal.reading}}
    rows, _ = setting.agree(folder, ("plain", "margin"), tmp_path, **removals)
    found = rows.filter(comparison="removal")
    effects = {"change", "margin_change", "length_change"}
    assert set(found.filter(attribution="margin")["other"]) == effects
    assert set(found.filter(attribution="plain")["other"]) == effects | {"length_change-signed"}
    for row in found.iter_rows(named=True):
        here = removed.filter(text_id=row["text_id"], layer=row["layer"], sublayer=row["sublayer"])
        held = setting.shard(folder / row["attribution"] / place, row["layer"])
        held = held.filter(text_id=row["text_id"])
        effect, _, sign = row["other"].partition("-")
        kind = "signed" if sign else "scores"
        neurons = here["neurons"].list.first().to_numpy()
        mine = held[f"{row['sublayer']}_{kind}"].to_numpy()[0][neurons].astype(np.float32)
        theirs = -here[effect].to_numpy() if sign else here[effect].abs().to_numpy()
        expected = spearmanr(mine, theirs).statistic
        assert row["correlation"] == pytest.approx(expected, abs=1e-9)
    shares = set(removed["text_id"]) & set(setting.shard(folder / "plain" / place, 1)["text_id"])
    assert found["text_id"].n_unique() == len(shares) > 2
    # The effects of a whole text say nothing of the scores of a shorter one.
    others = removals | {"readings": {"query": removal.reading.replace("tokens", "more tokens")}}
    rows, log = setting.agree(folder, ("plain", "margin"), tmp_path, **others)
    assert rows.filter(comparison="removal").is_empty()
    assert "plain and removal read other texts on the query side: " in log
    with pytest.raises(WellspringError, match=r"query\.parquet: was made with another spec"):
        setting.agree(folder, ("plain",), tmp_path, removals={"query": "0" * 16})

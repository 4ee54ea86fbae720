"""What is kept and shown while a run goes: it changes nothing, and nothing of it is lost."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.support import events, training
from tests.support.slow import slow
from wellspring.cli.training import _Saved as Saved
from wellspring.cli.watching import Checkpoints, Events
from wellspring.config import Lora, Recipe
from wellspring.errors import WellspringError
from wellspring.models.load import load
from wellspring.specs import EncodingSpec, TrainSpec
from wellspring.training import loop
from wellspring.training.material import Material
from wellspring.training.run import prepare

LORA = Lora(rank=4, alpha=8, dropout=0.1, targets=["query", "value"])
SHARES = [0.25, 0.5]
STEPS = 8


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("bert")


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """A state behind every step."""
    monkeypatch.setattr(loop, "SAVED", 0.0)


def ready(base: Path, lora: Lora | None, checkpoints=SHARES, steps=STEPS):
    """A run on the made-up texts."""
    recipe = Recipe(
        datasets=["made-up"],
        pooling="mean",
        batch=4,
        negatives=1,
        learning_rate=5e-3,
        lora=lora,
        steps=steps,
        checkpoints=checkpoints,
    )
    model = {"model": "tiny", "architecture": "bert", "layers": 2, "dtype": "float32"}
    texts = {"pooling": "mean", "template": "{text}", "length": 24, "normalise": False}
    shared = {**model, **texts, "storage": "float32"}
    spec = TrainSpec(
        recipe=recipe,
        query=EncodingSpec(side="query", **shared),
        passage=EncodingSpec(side="passage", **shared),
    )
    material = Material(training.texts(), training.samples())
    return prepare(training.backbone(base), base, spec, material, tokens=10_000)


def train(run, base: Path, folder: Path, end: int | None = None):
    """Train as the command does; end: the process dies behind this step."""
    stored = Checkpoints(run, base, folder / "trained.json")
    saved = Saved(folder / "run.state", "a run", stored)
    state = saved.read()
    if state is None:
        saved.clear()

    def follow(step: int, loss: float) -> None:
        stored.store(step)
        if step == end:
            raise KeyboardInterrupt

    return stored, run.optimise(state, saved.write, follow)


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.glob("share-*/*"))
    }


@pytest.mark.parametrize("lora", [slow(None), LORA])
def test_what_is_stored_on_the_way_changes_nothing(base, tmp_path, lora):
    run, alone = ready(base, lora), ready(base, lora, checkpoints=[])
    _, losses = train(run, base, tmp_path / "with")
    _, same = train(alone, base, tmp_path / "without")
    assert losses == same
    states = [load_file(tmp_path / name / "run.state") for name in ("with", "without")]
    assert any(name.startswith("optimiser.") for name in states[0])
    assert "random.cpu" in states[0] and states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    own, other = (each.learner.merged().state_dict() for each in (run, alone))
    assert all(torch.equal(own[name], other[name]) for name in other)
    assert not content(tmp_path / "without")


@pytest.mark.parametrize("lora", [slow(None), LORA])
def test_a_checkpoint_is_the_model_at_its_step(base, tmp_path, lora):
    stored, _ = train(ready(base, lora), base, tmp_path)
    first = load_file(base / "model.safetensors")
    states = {}

    def save(state: loop.State) -> None:
        states[state.step] = {name: each.clone() for name, each in state.tensors.items()}

    # Another run, whose weights are taken out of its states and merged by hand.
    ready(base, lora, checkpoints=[]).optimise(None, save, lambda step, loss: None)
    for share, step in ((0.25, 2), (0.5, 4)):
        weights = {name.removeprefix("weight."): each for name, each in states[step].items()}
        own = load_file(tmp_path / f"share-{share}" / "model.safetensors")
        for name, tensor in own.items():
            expected = weights.get(f"model.{name}", first[name])
            path = f"model.base_model.model.{name.removesuffix('.weight')}"
            if (down := weights.get(f"{path}.lora_A.default.weight")) is not None:
                expected = first[name] + 2 * weights[f"{path}.lora_B.default.weight"] @ down
            torch.testing.assert_close(tensor, expected, rtol=0, atol=1e-6)
        assert any(not torch.equal(own[name], first[name]) for name in own)
        assert stored.qualities[step] == found(base, tmp_path / f"share-{share}")


def found(base: Path, folder: Path) -> float:
    """MRR@10 of a stored checkpoint, loaded as any other."""
    run = ready(base, None)
    run.learner.module.model = load(folder, "bert", training.LAYERS).model
    return run.learner.measure()["quality"]


@pytest.mark.slow
@pytest.mark.parametrize("end", [3, 4])
def test_a_run_that_goes_on_leaves_all_of_them(base, tmp_path, end):
    whole, losses = train(ready(base, LORA), base, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(ready(base, LORA), base, tmp_path / "ended", end=end)
    resumed, rest = train(ready(base, LORA), base, tmp_path / "ended")
    assert rest == losses
    assert resumed.qualities == whole.qualities and len(whole.qualities) == 2
    assert content(tmp_path / "ended") == content(tmp_path / "whole")
    assert whole.contents().keys() == {"share-0.25", "share-0.5"}


def test_a_state_whose_checkpoints_are_gone_is_not_used(base, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(ready(base, LORA), base, tmp_path, end=6)
    (tmp_path / "share-0.25" / "model.safetensors").unlink()
    stored = Checkpoints(ready(base, LORA), base, tmp_path / "trained.json")
    saved = Saved(tmp_path / "run.state", "a run", stored)
    assert saved.read() is None
    saved.clear()
    assert not content(tmp_path) and not list(tmp_path.glob("*.state"))


def test_a_share_ends_with_the_step_that_completes_it(base):
    run = ready(base, None, [0.001, 0.1, 0.11, 0.99], steps=30)
    assert run.checkpoints == {0.001: 1, 0.1: 3, 0.11: 4, 0.99: 30}


def test_event_files_say_what_was_added(tmp_path):
    pytest.importorskip("tensorboardX")
    writer = Events(tmp_path / "tuned.log")
    with writer.after(0):
        writer.add(0, {"validation": None, "loss": 1.5})
        writer.add(1, {"loss": 0.25})
    assert list(events.read(tmp_path / "tuned")) == [(0, "loss", 1.5), (1, "loss", 0.25)]


def test_nothing_is_written_where_it_is_not_asked_for(tmp_path):
    silent = Events(None)
    with silent.after(0):
        silent.add(1, {"loss": 0.25})
    assert not list(tmp_path.iterdir())


def test_a_package_that_is_missing_is_named_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(WellspringError, match=r"--tensorboard: .* pip install tensorboardX"):
        Events(tmp_path / "tuned.log")

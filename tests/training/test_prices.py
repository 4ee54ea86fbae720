"""What steps cost, told before they run, against PyTorch's counter of what runs."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from torch.utils.flop_counter import FlopCounterMode

from tests.support import training
from tests.support.slow import slow
from wellspring.budgets import TOKENS
from wellspring.config import Lora
from wellspring.errors import WellspringError
from wellspring.training import adaptation, loop
from wellspring.training.encoding import SparseEncoding
from wellspring.training.objectives import Aim, Objective, Regulariser
from wellspring.training.prices import Prices, account, within
from wellspring.training.shapes import shapes

LORA = Lora(rank=4, targets=["query", "value", "dense"])
FEW = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bert")


def prepared(folder, lora=None, cache=None, steps=3, size=6):
    """A model, its batches and their prices."""
    backbone = training.backbone(folder)
    # The counter sees no kernel of attention on a CPU.
    backbone.model.set_attn_implementation("eager")
    batches = training.batches(backbone, training.gathered(2), size=size, steps=steps)
    model = adaptation.prepare(backbone.model, lora, backbone.architecture.unused, seed=0)
    prices = Prices(shapes(model), backbone.hidden, FEW, cache)
    return training.encoding(model, FEW), batches, prices


@pytest.mark.parametrize("lora", [slow(None), LORA])
@pytest.mark.parametrize("cache", [slow(None), 4])
def test_a_run_costs_what_was_told(folder, lora, cache):
    encoding, batches, prices = prepared(folder, lora, cache)
    objective = partial(Objective, aim=Aim("infonce", "cosine", 0.05), gradient_cache=cache)
    settings = loop.Settings(loop.Schedule(1e-3, 0.0, "constant"), 0.0, 1.0, False, 0)
    with FlopCounterMode(display=False) as counter:
        loop.optimise(encoding, objective, batches, settings)
    told = account(batches, prices)
    # The counter also sees the cosines that watch for a collapse.
    assert told.total == pytest.approx(counter.get_total_flops(), rel=0.02)
    assert told.steps == len(batches) and told.pairs == 6 * len(batches)
    assert told.tokens == sum(
        int(side.sum()) for step in range(3) for side in batches.lengths(step)
    )
    assert told.padded_tokens >= told.tokens


@pytest.mark.parametrize("lora", [slow(None), LORA])
@pytest.mark.parametrize("cache", [slow(None), 4])
def test_a_sparse_run_costs_what_was_told(folder, lora, cache):
    whole = training.sparse(folder)
    whole.model.set_attn_implementation("eager")
    batches = training.batches(whole.backbone, training.gathered(2), size=6, steps=3)
    unused = whole.backbone.architecture.unused
    model = adaptation.prepare(whole.model, lora, unused, seed=0, fresh=whole.fresh)
    prices = Prices(shapes(model), whole.vocabulary, FEW, cache)
    objective = partial(
        Objective,
        aim=Aim("infonce", "dot", 1.0),
        gradient_cache=cache,
        regulariser=Regulariser(0.05, 0.04, 1.0),
    )
    settings = loop.Settings(loop.Schedule(1e-3, 0.0, "constant"), 0.0, 1.0, False, 0)
    with FlopCounterMode(display=False) as counter:
        loop.optimise(SparseEncoding(model, whole.scale, FEW), objective, batches, settings)
    told = account(batches, prices)
    assert told.total == pytest.approx(counter.get_total_flops(), rel=0.02)
    # The head, over the whole vocabulary, is most of so small a model.
    assert told.total > 10 * account(batches, replace(prices, network=headless(model))).total


def headless(model):
    return replace(shapes(model), above=())


@pytest.mark.parametrize("steps", [10, 17, 40])
def test_a_budget_is_met_within_five_per_cent(folder, steps):
    _, batches, prices = prepared(folder)
    prices = replace(prices, tokens=TOKENS["cpu"])
    budget = account(replace(batches, steps=steps), prices).total * 1.02
    met = within(batches, prices, budget)
    assert abs(account(met, prices).total / budget - 1) < 0.05


def test_a_budget_buys_as_many_steps_whatever_the_hardware(folder):
    _, batches, prices = prepared(folder)
    budget = 20 * account(replace(batches, steps=1), prices).total
    met = [len(within(batches, replace(prices, tokens=tokens), budget)) for tokens in (60, 65536)]
    assert met[0] == met[1]


def test_a_budget_below_one_step_is_refused(folder):
    _, batches, prices = prepared(folder)
    with pytest.raises(WellspringError, match="do not pay for one step"):
        within(batches, prices, 1e3)

"""Relevance patching against plain re-implementations, and where relevance must be conserved."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from tests.support.attributing import LENGTHS, batch, partners
from tests.support.checkpoints import make
from wellspring.attributions import targets
from wellspring.attributions.methods import scorer
from wellspring.attributions.quadrature import gauss_legendre
from wellspring.attributions.relevance import relevance, rules
from wellspring.attributions.targets import one_position
from wellspring.attributions.value import Method, Value, recorded
from wellspring.errors import ModelError
from wellspring.models.architecture import BUILTIN, Architecture, Sublayer, builtin
from wellspring.models.load import Backbone, load


def method(layer, *names, pooling="mean"):
    return Method(pooling, gauss_legendre(1), layer, names)


def signed(backbone, target, layer, name, pooling="mean"):
    """The signed scores [texts, neurons] of the usual batch."""
    given = (backbone, *batch(backbone), target, method(layer, name, pooling=pooling))
    return scorer("relp")(*given)[name].signed


def close(found, expected, tolerance=1e-9):
    assert abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * abs(expected).max())


# What a rule holds constant is detached; everything else is a linear map or a sum.


def layer_norm(x, weight, bias, epsilon):
    centred = x - x.mean(-1, keepdim=True)
    return (
        centred / (centred.square().mean(-1, keepdim=True) + epsilon).sqrt().detach() * (weight)
        + bias
    )


def identity_rule(x, y):
    return x * (y / x).detach()


def attended(q, k, v, heads, causal=False):
    """[tokens, hidden] of one text, by constant weights."""
    width = q.shape[1] // heads
    split = [part.unflatten(1, (heads, width)).transpose(0, 1) for part in (q, k, v)]
    scores = split[0] @ split[1].transpose(1, 2) / math.sqrt(width)
    if causal:
        scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -torch.inf)
    return (scores.softmax(-1).detach() @ split[2]).transpose(0, 1).flatten(1)


def plain_bert(weights, config, ids, layer, name):
    """z of one text's sub-layer and F = length of the mean, block by block."""

    def linear(x, key):
        return x @ weights[f"{key}.weight"].T + weights[f"{key}.bias"]

    def norm(x, key):
        both = (weights[f"{key}.weight"], weights[f"{key}.bias"])
        return layer_norm(x, *both, config.layer_norm_eps)

    table = "embeddings"
    x = weights[f"{table}.word_embeddings.weight"][ids]
    x = x + weights[f"{table}.position_embeddings.weight"][: len(ids)]
    x = norm(x + weights[f"{table}.token_type_embeddings.weight"][0], f"{table}.LayerNorm")
    leaf = None
    for number in range(config.num_hidden_layers):
        key = f"encoder.layer.{number}"
        own = f"{key}.attention.self"
        q, k, v = (linear(x, f"{own}.{each}") for each in ("query", "key", "value"))
        met = linear(attended(q, k, v, config.num_attention_heads), f"{key}.attention.output.dense")
        x, inner = norm(met + x, f"{key}.attention.output.LayerNorm"), None
        for part in ("intermediate", "output"):
            z = linear(x if inner is None else inner, f"{key}.{part}.dense")
            if (number + 1, part) == (layer, name):
                leaf = z = z.detach().requires_grad_()
            inner = identity_rule(z, functional.gelu(z))
        x = norm(z + x, f"{key}.output.LayerNorm")
    return leaf, x.mean(0).norm()


def plain_llama(weights, config, ids, layer, name):
    """The same of a Llama, at its last token."""

    def norm(x, key):
        scale = (x.square().mean(-1, keepdim=True) + config.rms_norm_eps).rsqrt().detach()
        return x * scale * weights[f"{key}.weight"]

    def turned(x, heads):
        x = x.unflatten(1, (heads, -1))
        half = x.shape[-1] // 2
        rates = config.rope_parameters["rope_theta"] ** -(torch.arange(half).double() / half)
        angle = torch.arange(len(x)).double()[:, None] * rates
        a, b = x[..., :half], x[..., half:]
        cos, sin = angle.cos()[:, None], angle.sin()[:, None]
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).flatten(1)

    heads, shared = config.num_attention_heads, config.num_key_value_heads
    x, leaf = weights["embed_tokens.weight"][ids], None
    for number in range(config.num_hidden_layers):
        key = f"layers.{number}"
        h = norm(x, f"{key}.input_layernorm")
        q, k, v = (h @ weights[f"{key}.self_attn.{each}_proj.weight"].T for each in "qkv")
        q, k = turned(q, heads), turned(k, shared)
        k, v = (
            part.unflatten(1, (shared, -1)).repeat_interleave(heads // shared, 1).flatten(1)
            for part in (k, v)
        )
        met = attended(q, k, v, heads, causal=True)
        x = x + met @ weights[f"{key}.self_attn.o_proj.weight"].T
        h = norm(x, f"{key}.post_attention_layernorm")
        z, product = {}, None
        for part, path in (("intermediate", "gate"), ("up", "up"), ("output", "down")):
            z[part] = (h if product is None else product) @ weights[
                f"{key}.mlp.{path}_proj.weight"
            ].T
            if (number + 1, part) == (layer, name):
                leaf = z[part] = z[part].detach().requires_grad_()
            if part == "up":
                gate = identity_rule(z["intermediate"], functional.silu(z["intermediate"]))
                product = (gate * z["up"].detach() + gate.detach() * z["up"]) / 2
        x = x + z["output"]
    return leaf, norm(x, "norm")[-1].norm()


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_it_is_a_plain_network_s_gradient_with_constants(loaded, name):
    backbone, plain = loaded(name), {"bert": plain_bert, "llama": plain_llama}[name]
    weights, config = backbone.model.state_dict(), backbone.model.config
    pooling, ids = "mean" if name == "bert" else "eos", batch(backbone)[0]
    for layer in (1, 2, 3):
        for sub in backbone.architecture.sublayers:
            found = signed(backbone, targets.norm(), layer, sub, pooling)
            for text, length in enumerate(LENGTHS):
                z, value = plain(weights, config, ids[text, :length], layer, sub)
                expected = (z * torch.autograd.grad(value, z)[0]).sum(0).detach().numpy()
                # A Llama's norms go through float32.
                close(found[text], expected, 1e-9 if name == "bert" else 1e-5)


def gated(a, b):
    """Whether a product is that of a gate: only there both have numbers for every position. (Rotary
    positions have, too, but end in constant weights.)"""
    both = isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor)
    return both and a.shape[-2:] == b.shape[-2:] and (a.requires_grad or b.requires_grad)


class Constants(TorchFunctionMode):
    """The rules as functions of torch are called, whatever the modules' names."""

    def __torch_function__(self, called, types, arguments=(), options=None):
        options = options or {}
        if called is functional.layer_norm:
            x, _, *rest = arguments
            named = dict(zip(("weight", "bias", "eps"), rest, strict=False)) | options
            bias = named.get("bias")
            return layer_norm(x, named["weight"], 0 if bias is None else bias, named["eps"])
        if called in (torch.rsqrt, torch.Tensor.rsqrt, functional.softmax):
            return called(*arguments, **options).detach()
        if called is functional.scaled_dot_product_attention:
            q, k, *rest = arguments
            return called(q.detach(), k.detach(), *rest, **options)
        if called in (functional.gelu, functional.silu, functional.relu):
            return identity_rule(arguments[0], called(*arguments, **options))
        if called in (torch.Tensor.mul, torch.Tensor.__mul__) and gated(*arguments):
            a, b = arguments
            return (a * b.detach() + a.detach() * b) / 2
        return called(*arguments, **options)


OPTIONS = {"phi": {"hidden_act": "gelu"}}
"""Phi's own activation is written out in products."""


@pytest.mark.parametrize("name", BUILTIN)
def test_every_architecture_agrees_with_rules_for_functions(tmp_path, name):
    named = next(iter(builtin(name).classes))
    backbone = load(make(tmp_path, named, layers=3, **OPTIONS.get(name, {})), name, 3)
    ids, mask = batch(backbone)
    pooling = "eos" if "up" in backbone.architecture.sublayers else "mean"
    shares = targets.norm().shares(mask, pooling)
    for layer in (1, 3):
        names = tuple(backbone.architecture.sublayers)
        given = (backbone, ids, mask, targets.norm(), method(layer, *names, pooling=pooling))
        found = scorer("relp")(*given)
        _, suffixes, kept = recorded(backbone, ids, mask, shares, layer, names)
        for sub, suffix in suffixes.items():
            value = Value(suffix, targets.norm(), kept)
            z = suffix.z.clone().requires_grad_()
            with Constants():
                total = value(z[None]).sum()
            expected = (z * torch.autograd.grad(total, z)[0])[..., suffix.rows].sum(1)
            close(found[sub].signed, expected.detach().numpy(), 1e-4)


@pytest.mark.parametrize("name", ["llama", "modernbert", "phi3", "t5", "gemma2"])
def test_without_biases_a_block_hands_on_what_it_got(tmp_path, name):
    """The gate and what it gates share what the output map has; without a gate one has all."""
    named = next(iter(builtin(name).classes))
    backbone = load(make(tmp_path, named, layers=2), name, 2)
    pooling = "mean" if name in ("modernbert", "t5") else "eos"
    sums = {
        sub: signed(backbone, targets.norm(), 1, sub, pooling).sum(1)
        for sub in backbone.architecture.sublayers
    }
    if "up" in sums:
        close(2 * sums["intermediate"], sums["output"], 1e-4)
        close(2 * sums["up"], sums["output"], 1e-4)
    else:
        close(sums["intermediate"], sums["output"], 1e-4)


class Attention(nn.Module):
    """One head, positions meet; no bias, nothing passes by."""

    def __init__(self, hidden):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(hidden, hidden, bias=False) for _ in "qkv")

    def forward(self, x):
        q, k, v = self.query(x), self.key(x), self.value(x)
        return torch.softmax(q @ k.transpose(-1, -2), -1) @ v


class Block(nn.Module):
    """Attention, norm, and a feed-forward network, one behind the other."""

    def __init__(self, hidden, inner, activation):
        super().__init__()
        self.attention, self.norm = Attention(hidden), nn.LayerNorm(hidden, bias=False)
        self.wide = nn.Linear(hidden, inner, bias=False)
        self.act, self.narrow = activation, nn.Linear(inner, hidden, bias=False)

    def forward(self, x):
        return self.narrow(self.act(self.wide(self.norm(self.attention(x)))))


class Chain(nn.Module):
    def __init__(self, table, *stack):
        super().__init__()
        self.table, self.stack = nn.Embedding.from_pretrained(table), nn.ModuleList(stack)

    def forward(self, input_ids, attention_mask, output_hidden_states):
        states = [self.table(input_ids)]
        for block in self.stack:
            states.append(block(states[-1]))
        return SimpleNamespace(hidden_states=states)


def chain(activation=nn.GELU, attention="attention"):
    torch.manual_seed(8)
    model = Chain(torch.randn(70, 6), *(Block(6, 9, activation()) for _ in range(3))).double()
    places = {"intermediate": Sublayer(path="wide"), "output": Sublayer(path="narrow")}
    known = Architecture({}, "stack", places, attention=attention)
    return Backbone(model.requires_grad_(False), None, known, 3, 6, 0, None, torch.device("cpu"))


TARGETS = {
    "norm": lambda: targets.norm(),
    "dot": lambda: targets.dot(partners(3, 6)),
    "cosine": lambda: targets.cosine(partners(3, 6)),
}


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("layer", [1, 2, 3])
def test_relevance_is_conserved_where_everything_goes_through_the_sub_layer(kind, layer):
    backbone, target = chain(), TARGETS[kind]()
    ids = torch.randint(0, 70, (3, 5), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    given = (backbone, ids, mask, target, method(layer, "intermediate", "output"))
    found = scorer("relp")(*given)
    for scores in found.values():
        close(scores.signed.sum(1), scores.full, 1e-8)
        assert np.isnan(scores.residual).all()
    # A gradient is not: it sees attention and norms move.
    gradients = scorer("gradient-x-activation")(*given)["output"]
    assert layer == 3 or abs(gradients.signed.sum(1) - gradients.full).max() > 0.01


def test_a_network_that_is_linear_but_for_frozen_parts_gets_exact_effects():
    """Zero a neuron of a linear network: what F loses is its relevance."""
    backbone = chain(nn.Identity)
    for block in backbone.model.stack:
        block.norm = nn.Identity()
        # Weights that depend on nothing.
        block.attention.query.weight.zero_()
    ids = torch.tensor([[3, 1, 4, 1]])
    target = targets.dot(partners(1, 6))
    scores = scorer("relp")(backbone, ids, torch.ones_like(ids), target, method(1, "output"))
    found, vector = scores["output"], backbone.states(ids, torch.ones_like(ids))[-1].mean(1)
    for neuron in range(6):
        kept = backbone.model.stack[0].narrow.weight.data[neuron].clone()
        backbone.model.stack[0].narrow.weight.data[neuron] = 0
        without = backbone.states(ids, torch.ones_like(ids))[-1].mean(1)
        backbone.model.stack[0].narrow.weight.data[neuron] = kept
        loss = target.values(vector[None]) - target.values(without[None])
        assert found.signed[0, neuron] == pytest.approx(loss.item(), abs=1e-12)


def test_values_and_hooks_are_left_as_they_were(loaded):
    backbone = loaded("modernbert")
    before = backbone.states(*batch(backbone))[-1]
    hooks = [len(module._forward_hooks) for module in backbone.model.modules()]
    with rules(backbone):
        backbone.model.requires_grad_(True)
        during = backbone.states(*batch(backbone))[-1]
        backbone.model.requires_grad_(False)
    torch.testing.assert_close(during, before, rtol=1e-12, atol=1e-12)
    assert hooks == [len(module._forward_hooks) for module in backbone.model.modules()]


def test_half_precision_is_near(tmp_path):
    folder = make(tmp_path, "BertModel", layers=2)
    exact, coarse = (
        signed(load(folder, "bert", 2, dtype), targets.norm(), 1, "output")
        for dtype in ("float32", "bfloat16")
    )
    close(coarse, exact, 0.05)


def test_the_recorded_outputs_are_not_changed(loaded):
    backbone = loaded("bert")
    ids, mask = batch(backbone)
    shares = targets.norm().shares(mask, "mean")
    _, suffixes, kept = recorded(backbone, ids, mask, shares, 1, ["output"])
    assert one_position(shares) is None
    relevance(Value(suffixes["output"], targets.norm(), kept))
    assert not suffixes["output"].z.requires_grad


def test_what_has_no_rule_is_refused(tmp_path):
    gated = make(tmp_path / "t5", "T5EncoderModel", feed_forward_proj="gated-gelu")
    with pytest.raises(ModelError, match=r"relp: Linear \(.*wi_1 of T5Block\) has no rule: name"):
        signed(load(gated, "t5", 2), targets.norm(), 1, "output")

    class Odd(nn.Module):
        def forward(self, x):
            return x * x.abs()

    class OddLayerNorm(Odd):
        pass

    for activation, message in (
        (Odd, r"relp: Odd \(act of Block\) has no rule"),
        (OddLayerNorm, "relp: OddLayerNorm is no layer norm that it knows"),
    ):
        with pytest.raises(ModelError, match=message):
            signed(chain(activation), targets.norm(), 1, "output")
    with pytest.raises(ModelError, match="relp: the attention of Block has no query and key maps"):
        signed(chain(attention=None), targets.norm(), 1, "output")
    with pytest.raises(ModelError, match="relp: the attention of Block has no query and key maps"):
        signed(chain(attention="norm"), targets.norm(), 1, "output")

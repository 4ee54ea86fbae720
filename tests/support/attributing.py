"""The slow, plain way to attribute a text to neurons: what the fused way is held against."""

from __future__ import annotations

import numpy as np
import torch

from wellspring.attributions.fused import attribute
from wellspring.attributions.quadrature import Quadrature
from wellspring.models.architecture import sublayer
from wellspring.pooling import pool

LENGTHS = (12, 7, 3)


def batch(backbone, lengths=LENGTHS, seed=5):
    """Random ids and mask [texts, tokens] of texts of these lengths."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, 60, (len(lengths), max(lengths)), generator=draw)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return ids.masked_fill(mask == 0, backbone.padding), mask


def texts_of(backbone, lengths=LENGTHS):
    """The same texts as ids."""
    ids, mask = batch(backbone, lengths)
    return [tuple(row[kept.bool()].tolist()) for row, kept in zip(ids, mask, strict=True)]


def partners(texts=3, hidden=32):
    """Random vectors [texts, hidden], float64."""
    draw = torch.Generator().manual_seed(6)
    return torch.randn(texts, hidden, generator=draw, dtype=torch.float64)


def gathered(backbone, tokens, target, method, **options):
    """Absolute scores in the order of the texts, and the number of batches and splits."""
    out, parts, splits = {}, 0, 0
    for done in attribute(backbone, tokens, target, method, **options):
        parts, splits = parts + 1, splits + done.splits
        out.update(zip(done.rows, done.scores["output"].absolute, strict=True))
    return np.stack([out[row] for row in range(len(tokens))]), parts, splits


def loop(backbone, ids, pooling, value, layer, name, quadrature: Quadrature, every=False):
    """Absolute and signed scores of one text, step by step as published.

    ids: [1, tokens], without padding. value: function of the pooled vector [hidden] → F. Each step
    scales the sub-layer's own rows of W and b, runs the whole model and takes the gradient of W;
    every: of all parameters, as a model that is simply loaded does.
    """
    linear, rows = sublayer(backbone.model, backbone.architecture, layer - 1, name)
    weight, bias = linear.weight.data, None if linear.bias is None else linear.bias.data
    total = torch.zeros_like(weight)
    (backbone.model if every else linear.weight).requires_grad_(True)
    try:
        for point, share in zip(quadrature.points, quadrature.weights, strict=True):
            linear.weight.data = weight.clone()
            linear.weight.data[rows] *= point
            if bias is not None:
                linear.bias.data = bias.clone()
                linear.bias.data[rows] *= point
            states = backbone.states(ids, torch.ones_like(ids))[-1][0]
            vector = {"cls": states[0], "eos": states[-1], "mean": states.mean(0)}[pooling]
            if every:
                value(vector).backward()
                gradient = linear.weight.grad
                backbone.model.zero_grad()
            else:
                (gradient,) = torch.autograd.grad(value(vector), linear.weight)
            total += share * gradient
    finally:
        linear.weight.data = weight
        backbone.model.requires_grad_(False)
        if bias is not None:
            linear.bias.data = bias
    gradients = (weight * total)[rows]
    return gradients.abs().sum(1), gradients.sum(1)


def output_gradients(backbone, ids, mask, pooling, layer, name, quadrature: Quadrature):
    """Integrated gradients [neurons] of one text's ‖v‖ for a sub-layer's outputs, from zero, summed
    over tokens; a hook on the whole model."""
    linear, rows = sublayer(backbone.model, backbone.architecture, layer - 1, name)
    total = 0
    for point, share in zip(quadrature.points, quadrature.weights, strict=True):
        leaves = []

        def scale(module, arguments, output, point=point, leaves=leaves):
            scaled = output.detach().clone()
            scaled[..., rows] *= point
            leaves.append((output.detach(), scaled.requires_grad_(True)))
            return scaled

        handle = linear.register_forward_hook(scale)
        states = backbone.states(ids, mask)[-1]
        handle.remove()
        ((output, leaf),) = leaves
        (gradient,) = torch.autograd.grad(pool(states, mask, pooling).norm(), leaf)
        total += share * (gradient * output)[..., rows]
    return total[0].sum(0)

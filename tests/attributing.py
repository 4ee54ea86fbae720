"""The slow, plain way to attribute a text to neurons: what the fused way is held against."""

from __future__ import annotations

import torch

from wellspring.attributions.quadrature import Quadrature
from wellspring.models.architecture import sublayer
from wellspring.pooling import pool


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

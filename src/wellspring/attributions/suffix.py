"""A model from the output of one linear sub-layer upwards, as a function of that output.

No block is written again: the model runs once and is watched, then runs again with all that came
before the sub-layer answered from the record. A module's call that had ended when the sub-layer's
call began cannot depend on the sub-layer, so this is exact whatever a block does.

Where one position of each text is read at the end, the last block takes all positions as far as its
attention, and from there the read ones alone: nothing else moves between positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from wellspring.config.vocabulary import SublayerName
from wellspring.errors import ModelError
from wellspring.models.architecture import attention, blocks, sublayer
from wellspring.models.load import Backbone

Calls = list[tuple[nn.Module, Any]]


@dataclass(frozen=True)
class Recording:
    """One forward pass of a batch, with what happened inside one block."""

    backbone: Backbone
    layer: int
    """The block, 1 … layers."""
    ids: torch.Tensor
    """[texts, tokens]"""
    mask: torch.Tensor
    """[texts, tokens], 1 = token, 0 = padding."""
    read: torch.Tensor | None
    """The one position of each text [texts] whose last state is read; None: all."""
    arguments: tuple
    options: Mapping[str, Any]
    """What the block was called with."""
    output: Any
    """What it gave: states, or a tuple that begins with them."""


@dataclass(frozen=True)
class Suffix:
    """last states = suffix(z), for the output z = x Wᵀ + b of a linear map."""

    recording: Recording
    linear: nn.Linear
    rows: slice
    """The columns of z, and the rows of W and b, that are the sub-layer."""
    x: torch.Tensor
    """The map's input [texts, tokens, in]; where one position is read and positions meet no more,
    of that one alone [texts, 1, in], as z then is, too."""
    z: torch.Tensor
    """Its output [texts, tokens, out], the columns of other sub-layers included."""
    before: Calls
    """The calls inside the block that had ended when the map's began, of nested ones the outer."""

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """Last states [points, texts, tokens, hidden] of z [points, texts, tokens, out]; where one
        position is read [points, texts, 1, hidden].

        Runs the rest of the block on what depends on z, and the blocks and the norm above on
        points × texts rows. Differentiable in z.
        """
        record, points = self.recording, len(z)
        model, architecture = record.backbone.model, record.backbone.architecture
        *below, block = blocks(model, architecture)[: record.layer]
        read = None if record.read is None else record.read.repeat(points)
        with ExitStack() as replaced:
            for other in below:
                # Nothing reads it: the block above takes its input from the record.
                replaced.enter_context(_replaced(other, _constant(record.output)))
            replaced.enter_context(_replaced(block, _rerun(block.forward, record)))
            answers: dict[nn.Module, list[Any]] = {}
            for module, output in self.before:
                answers.setdefault(module, []).append(output)
            for module, outputs in answers.items():
                replaced.enter_context(_replaced(module, _answering(outputs, module.forward)))
            replaced.enter_context(_replaced(self.linear, _constant(z)))
            top, meeting = _top(record.backbone)
            if read is not None and meeting is not None and top is not block:
                short = _shortened(top.forward, meeting, partial(_at, position=read))
                replaced.enter_context(_replaced(top, short))
            # The embeddings run again: it is cheap, and the model makes its masks for all rows.
            ids, mask = (tensor.repeat(points, 1) for tensor in (record.ids, record.mask))
            last = record.backbone.states(ids, mask)[-1]
        if read is not None and last.shape[1] > 1:
            last = _at(last, read)
        return last.unflatten(0, (points, -1))

    def select(self, texts: Sequence[int]) -> Suffix:
        """The suffix of these texts alone, in this order."""
        count, index = len(self.z), torch.tensor(texts, device=self.z.device)

        def select(tensor: torch.Tensor) -> torch.Tensor:
            # What all texts share has one row.
            return tensor[index] if tensor.ndim and len(tensor) == count else tensor

        return self if list(texts) == list(range(count)) else self._mapped(select)

    def reading(self, position: torch.Tensor) -> Suffix:
        """The same where one position of each text [texts] is read at the end."""
        record = self.recording
        top, meeting = _top(record.backbone)
        block = blocks(record.backbone.model, record.backbone.architecture)[record.layer - 1]
        ended = {module for outer, _ in self.before for module in outer.modules()}
        if top is not block or meeting not in ended:
            return replace(self, recording=replace(record, read=position))
        # From here on a text is one position.
        shape = record.ids.shape
        return self._mapped(lambda t: _at(t, position) if t.shape[:2] == shape else t)

    def _mapped(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Suffix:
        record = self.recording
        names = ("ids", "mask", "read", "arguments", "options", "output")
        changed = {name: _changed(getattr(record, name), change) for name in names}
        return replace(
            self,
            recording=replace(record, **changed),
            x=change(self.x),
            z=change(self.z),
            before=[(module, _changed(output, change)) for module, output in self.before],
        )


def record(
    backbone: Backbone,
    ids: torch.Tensor,
    mask: torch.Tensor,
    layer: int,
    names: Iterable[SublayerName],
    read: torch.Tensor | None = None,
) -> tuple[torch.Tensor, dict[SublayerName, Suffix]]:
    """Run the model once: its last states [texts, tokens, hidden], and each sub-layer's suffix.

    ids, mask: [texts, tokens], on the backbone's device. layer: block 1 … layers. read: the one
    position of each text [texts] whose last state is read; the states are then
    [texts, 1, hidden], here and of the suffixes. Raises ModelError when there is no such block or
    sub-layer, or when its weights do not stay in memory or are used more than once in a pass.
    """
    if not 1 <= layer <= backbone.layers:
        raise ModelError(f"layer {layer}: the model has blocks 1 to {backbone.layers}")
    linears: dict[SublayerName, tuple[nn.Linear, slice]] = {
        name: _linear(backbone, layer, name) for name in names
    }
    block = blocks(backbone.model, backbone.architecture)[layer - 1]
    watch = _Watch({linear for linear, _ in linears.values()})
    with torch.no_grad(), watch.over(block):
        states = backbone.states(ids, mask)[-1]
    passed = (watch.arguments, watch.options, watch.output)
    recording = Recording(backbone, layer, ids, mask, None, *passed)
    suffixes: dict[SublayerName, Suffix] = {
        name: Suffix(recording, linear, rows, *watch.calls[linear])
        for name, (linear, rows) in linears.items()
    }
    if read is None:
        return states, suffixes
    return _at(states, read), {name: suffix.reading(read) for name, suffix in suffixes.items()}


def _linear(backbone: Backbone, layer: int, name: SublayerName) -> tuple[nn.Linear, slice]:
    linear, rows = sublayer(backbone.model, backbone.architecture, layer - 1, name)
    if linear.weight.is_meta:
        raise ModelError(
            f"layer {layer}: the weights of sub-layer {name!r} do not stay on a device: "
            "attribution needs a larger device, or more of them"
        )
    return linear, rows


class _Watch:
    """Hooks over one block that note its call and what had ended before a linear map's call."""

    def __init__(self, linears: set[nn.Linear]) -> None:
        self.calls: dict[nn.Linear, tuple[torch.Tensor, torch.Tensor, Calls]] = {}
        self.arguments: tuple = ()
        self.options: Mapping[str, Any] = {}
        self.output: Any = None
        self._linears = linears
        self._ended: Calls = []
        self._open: list[int] = []

    @contextmanager
    def over(self, block: nn.Module) -> Iterator[None]:
        handles = [
            block.register_forward_pre_hook(self._block_begins, with_kwargs=True),
            block.register_forward_hook(self._block_ends),
        ]
        for module in list(block.modules())[1:]:
            handles.append(module.register_forward_pre_hook(self._begins))
            handles.append(module.register_forward_hook(self._ends))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _block_begins(self, block: nn.Module, arguments: tuple, options: dict[str, Any]) -> None:
        # A module that blocks share has been called further down.
        self._ended.clear()
        self.arguments, self.options = arguments, options

    def _block_ends(self, block: nn.Module, arguments: tuple, output: Any) -> None:
        self.output = output

    def _begins(self, module: nn.Module, arguments: tuple) -> None:
        self._open.append(len(self._ended))

    def _ends(self, module: nn.Module, arguments: tuple, output: Any) -> None:
        # What ran inside this call will not be asked for.
        del self._ended[self._open.pop() :]
        if isinstance(module, nn.Linear) and module in self._linears:
            if module in self.calls:
                raise ModelError(
                    f"a pass uses the weights of {type(module).__name__} in a sub-layer more than "
                    "once (chunk_size_feed_forward in config.json must be 0)"
                )
            self.calls[module] = (arguments[0], output, list(self._ended))
        self._ended.append((module, output))


@contextmanager
def _replaced(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    # A model on several devices has a forward of its own in each module.
    own = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own


def _constant(output: Any) -> Callable[..., Any]:
    def forward(*_: Any, **__: Any) -> Any:
        return output

    return forward


def _answering(outputs: list[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """A forward whose first calls are answered from the record."""
    left = list(reversed(outputs))

    def forward(*arguments: Any, **options: Any) -> Any:
        return left.pop() if left else original(*arguments, **options)

    return forward


def _rerun(original: Callable[..., Any], record: Recording) -> Callable[..., Any]:
    """A block's forward on its recorded input.

    Inside, points have an axis of their own before the texts, so that what does not depend on
    them is broadcast, not copied; outside, they share the texts' axis.
    """

    def forward(*_: Any, **__: Any) -> Any:
        output = original(*record.arguments, **record.options)
        points = (output[0] if isinstance(output, tuple) else output).shape[0]
        return _one_axis(output, record.output, points)

    return forward


def _one_axis(output: Any, recorded: Any, points: int) -> Any:
    if isinstance(output, tuple):
        return tuple(_one_axis(*pair, points) for pair in zip(output, recorded, strict=True))
    if not isinstance(output, torch.Tensor):
        return output
    if output.ndim > recorded.ndim:
        return output.flatten(0, 1)
    # Beside the states a block may hand on what all blocks share; one row of it serves every row.
    return output if len(output) == 1 else output.repeat(points, *[1] * (output.ndim - 1))


def _top(backbone: Backbone) -> tuple[nn.Module, nn.Module | None]:
    """The last block, and where positions meet in it, as far as that is known."""
    last = backbone.layers - 1
    block = blocks(backbone.model, backbone.architecture)[last]
    return block, attention(backbone.model, backbone.architecture, last)


class _Met(Exception):
    """Ends a block's call with the output of its attention."""

    def __init__(self, output: Any) -> None:
        self.output = output


def _shortened(
    original: Callable[..., Any],
    meeting: nn.Module,
    cut: Callable[[torch.Tensor], torch.Tensor],
) -> Callable[..., Any]:
    """A block's forward on some positions alone; its attention still takes all of them."""
    meet = meeting.forward

    def stop(*arguments: Any, **options: Any) -> Any:
        raise _Met(meet(*arguments, **options))

    def forward(states: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        try:
            with _replaced(meeting, stop):
                original(states, *arguments, **options)
        except _Met as met:
            shape = states.shape[:2]
            shortened = _changed(met.output, lambda t: cut(t) if t.shape[:2] == shape else t)
        with _replaced(meeting, _constant(shortened)):
            return original(cut(states), *arguments, **options)

    return forward


def _at(tensor: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    """[rows, tokens, …] at one position of each row: [rows, 1, …]."""
    rows = torch.arange(len(tensor), device=tensor.device)
    return tensor[rows, position.to(tensor.device)].unsqueeze(1)


def _changed(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """A structure with each of its tensors changed."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, tuple | list):
        return type(value)(_changed(entry, change) for entry in value)
    if isinstance(value, dict):
        return {name: _changed(entry, change) for name, entry in value.items()}
    return value

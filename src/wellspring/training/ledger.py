"""The ledger of a training run: floating-point operations counted from shapes, and their sum.

A multiplication and an addition count as two operations. What is counted are the matrix products of
linear maps, of LoRA beside them, of attention and of the in-batch similarity. Attention is counted
over all pairs of positions, padding, causal masks and windows included, as
`torch.utils.flop_counter` counts its kernels. What is not counted: norms, activations, softmax,
rotary tables, look-ups in embedding tables and their gradients (autograd adds rows, it multiplies
nothing), the optimiser, and whatever runs once a text (poolers): under 1 % of a transformer's step.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from wellspring.errors import WellspringError


@dataclass(frozen=True)
class Flops:
    """Operations of a step or of several."""

    forward: int = 0
    backward: int = 0
    recomputation: int = 0
    """Forward operations that run again, so that less is kept in memory."""

    @property
    def total(self) -> int:
        return self.forward + self.backward + self.recomputation

    def __add__(self, other: Flops) -> Flops:
        return Flops(
            self.forward + other.forward,
            self.backward + other.backward,
            self.recomputation + other.recomputation,
        )


@dataclass(frozen=True)
class Linear:
    """A linear map that is applied to every token: of a block, or a vocabulary head."""

    inputs: int
    outputs: int
    trained: bool = True
    """Whether the weight gets a gradient. The bias is no part of a matrix product."""
    rank: int = 0
    """Rank of a LoRA that is trained beside the map (of several their sum); 0: there is none."""

    @property
    def gives(self) -> bool:
        """Whether the outcome carries a gradient, whatever the input carries."""
        return self.trained or self.rank > 0

    def forward(self, rows: int, tokens: int) -> int:
        products = self.inputs * self.outputs + self.rank * (self.inputs + self.outputs)
        return 2 * rows * tokens * products

    def backward(self, rows: int, tokens: int, carried: bool) -> int:
        """carried: whether the input needs a gradient."""
        products = (self.trained + carried) * self.inputs * self.outputs
        # Of LoRA's two maps, the one that is nearer to the loss always has an input gradient.
        products += self.rank * ((1 + carried) * self.inputs + 2 * self.outputs)
        return 2 * rows * tokens * products

    def last(self, rows: int, tokens: int) -> int:
        """The forward operations of the map's last matrix product."""
        return 2 * rows * tokens * (self.rank or self.inputs) * self.outputs


@dataclass(frozen=True)
class Attention:
    """Scores and weighted values, once queries, keys and values are there.

    Grouped keys and values make their linear maps narrower. They save nothing here: every query
    head meets every key.
    """

    heads: int
    head_size: int
    fused: bool = True
    """Whether a kernel computes it (`scaled_dot_product_attention`): its backward pass computes the
    scores again, and the gradients of queries, keys and values together."""

    def forward(self, rows: int, tokens: int) -> int:
        return 2 * self.product(rows, tokens)

    def backward(self, rows: int, tokens: int, carried: tuple[bool, bool, bool]) -> int:
        """carried: whether queries, keys and values need a gradient."""
        query, key, value = carried
        products = query + key + value + (query or key)
        if self.fused and products:
            products = 5
        return products * self.product(rows, tokens)

    def product(self, rows: int, tokens: int) -> int:
        """The operations of one of its matrix products: all have the same sizes."""
        return 2 * rows * self.heads * tokens**2 * self.head_size


@dataclass(frozen=True)
class Stage:
    """Linear maps that read the same input. What they give is the next stage's input."""

    parts: tuple[Linear, ...] = ()
    attention: Attention | None = None
    """What runs on queries, keys and values: of three parts or more the first three give them, a
    single part gives them together."""
    other: bool = False
    """Whether a parameter that no matrix product has is trained here: embedding, norm, bias."""

    @property
    def gives(self) -> bool:
        """Whether the outcome carries a gradient, whatever the input carries."""
        return self.other or any(part.gives for part in self.parts)

    def forward(self, rows: int, tokens: int) -> int:
        operations = sum(part.forward(rows, tokens) for part in self.parts)
        return operations + (self.attention.forward(rows, tokens) if self.attention else 0)

    def backward(self, rows: int, tokens: int, carried: bool) -> int:
        """carried: whether the input needs a gradient."""
        operations = sum(part.backward(rows, tokens, carried) for part in self.parts)
        if self.attention:
            maps = self.parts[:3] if len(self.parts) > 1 else self.parts * 3
            query, key, value = (carried or self.other or part.gives for part in maps)
            operations += self.attention.backward(rows, tokens, (query, key, value))
        return operations


@dataclass(frozen=True)
class Block:
    """A transformer block: what activation checkpointing runs again."""

    stages: tuple[Stage, ...]
    beside: tuple[Stage, ...] = ()
    """Stages that begin at the block's input, too, and run after those: Phi's feed-forward network,
    which does not read what attention gives."""
    closed: bool = True
    """Whether a norm or a dropout keeps what the last stage gives. If none does, PyTorch's
    checkpoint stops before the last matrix product, whose outcome no gradient needs."""

    def forward(self, rows: int, tokens: int) -> int:
        return sum(stage.forward(rows, tokens) for stage in (*self.stages, *self.beside))

    def backward(self, rows: int, tokens: int, carried: bool) -> int:
        """carried: whether the input needs a gradient."""
        operations = 0
        for stages in (self.stages, self.beside):
            needed = carried
            for stage in stages:
                operations += stage.backward(rows, tokens, needed)
                needed = needed or stage.gives
        return operations

    def again(self, rows: int, tokens: int) -> int:
        """The operations that activation checkpointing runs again."""
        operations = self.forward(rows, tokens)
        if not self.closed:
            operations -= (*self.stages, *self.beside)[-1].parts[-1].last(rows, tokens)
        return operations

    @property
    def gives(self) -> bool:
        """Whether the outcome carries a gradient, whatever the input carries."""
        return any(stage.gives for stage in (*self.stages, *self.beside))


@dataclass(frozen=True)
class Network:
    """A transformer's matrix products, from the embeddings up."""

    blocks: tuple[Block, ...]
    below: tuple[Stage, ...] = ()
    """Embeddings."""
    above: tuple[Stage, ...] = ()
    """The last norm, and a vocabulary head where the objective needs one."""
    carried: bool = False
    """Whether the embeddings' outcome is made to need a gradient though nothing below is trained
    (transformers' `enable_input_require_grads`)."""


def count(
    network: Network, rows: int, tokens: int, *, cached: bool = False, checkpointed: bool = False
) -> Flops:
    """The operations of a training step over a padded batch of rows × tokens.

    A gradient reaches no further down than the lowest trained parameter: below it, nothing has a
    backward pass. A frozen weight has no gradient of its own, so LoRA saves it.

    cached: gradient caching runs the whole forward pass once without a graph and once more, a
    mini-batch at a time, for the backward pass (Gao et al. 2021, arXiv:2101.06983). Where
    mini-batches are padded apart, count each; what keeps its graph is not cached. checkpointed:
    activation checkpointing of each block (`use_reentrant=False`) runs its forward pass again where
    the backward pass reaches it.
    """
    forward = backward = again = 0
    carried = network.carried
    blocks = (Block(network.below), *network.blocks, Block(network.above))
    for place, block in enumerate(blocks):
        forward += block.forward(rows, tokens)
        backward += block.backward(rows, tokens, carried)
        carried = carried or block.gives
        if checkpointed and carried and 0 < place <= len(network.blocks):
            again += block.again(rows, tokens)
    return Flops(forward, backward, again + forward * cached)


def similarity(queries: int, passages: int, width: int) -> Flops:
    """The operations of every query's product with every passage, of vectors of that width."""
    product = 2 * queries * passages * width
    return Flops(product, 2 * product)


def trained_in_full(network: Network) -> Network:
    """The network with every weight trained and no LoRA: what a partial training is held against.

    The difference of their counts is what LoRA, or a frozen part, saves.
    """

    def full(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        return tuple(
            replace(
                stage,
                parts=tuple(replace(part, trained=True, rank=0) for part in stage.parts),
                other=True,
            )
            for stage in stages
        )

    blocks = tuple(
        replace(block, stages=full(block.stages), beside=full(block.beside))
        for block in network.blocks
    )
    return Network(blocks, full(network.below), full(network.above), carried=network.carried)


@dataclass(frozen=True)
class Ledger:
    """The running account of a training run."""

    flops: Mapping[str, Flops] = field(default_factory=dict)
    """Operations by what they are spent on: the encoder, the similarity, a head, …"""
    steps: int = 0
    pairs: int = 0
    """Or texts, where words are learned."""
    tokens: int = 0
    """Tokens of texts."""
    padded_tokens: int = 0
    """Positions that were computed: tokens and padding."""

    @property
    def total(self) -> int:
        """All operations."""
        return sum(flops.total for flops in self.flops.values())

    def after(
        self,
        flops: Mapping[str, Flops],
        *,
        pairs: int,
        tokens: int,
        padded_tokens: int,
    ) -> Ledger:
        """The account after one more step, which took these."""
        return Ledger(
            flops={
                part: self.flops.get(part, Flops()) + flops.get(part, Flops())
                for part in sorted({*self.flops, *flops})
            },
            steps=self.steps + 1,
            pairs=self.pairs + pairs,
            tokens=self.tokens + tokens,
            padded_tokens=self.padded_tokens + padded_tokens,
        )

    def steps_within(self, budget_flops: float, next_step_flops: int) -> bool:
        """Whether the next step brings the run nearer to its budget.

        A run that stops when it does not ends at most half a step away from the budget: within 5 %
        from ten steps on. WellspringError: the budget does not pay for the first step.
        """
        if not self.steps and next_step_flops > budget_flops:
            raise WellspringError(
                f"budget_flops: {budget_flops:.3g} operations do not pay for one step, which takes "
                f"{next_step_flops:.3g}: raise the budget or make the batch smaller"
            )
        return self.total + next_step_flops / 2 <= budget_flops

    def as_json(self) -> dict[str, Any]:
        """The account in plain types, with its total."""
        return asdict(self) | {"total_flops": self.total}


def energy(device: str) -> float | None:
    """Joules that a GPU has used since its driver was loaded; None where nothing tells.

    A run's energy is the difference of two readings. The counter is that of NVIDIA's management
    library, which comes with the driver (`nvmlDeviceGetTotalEnergyConsumption`, Volta or later).
    """
    import torch

    if torch.device(device).type != "cuda" or not torch.cuda.is_available():
        return None
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}".encode()
    handle, millijoules = ctypes.c_void_p(), ctypes.c_ulonglong()
    failed = (
        nvml.nvmlInit_v2()
        or nvml.nvmlDeviceGetHandleByUUID(uuid, ctypes.byref(handle))
        or nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules))
    )
    return None if failed else millijoules.value / 1000

"""The same architecture at other sizes: what a ladder of fresh models is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wellspring.config.checkpoints import SIZES
from wellspring.errors import ModelError
from wellspring.models.tokenizer import embedded

HEADS = ("num_attention_heads", "n_heads", "num_heads")
SCALED = "query_pre_attn_scalar"
SHARED, OF_HEAD = "num_key_value_heads", ("head_dim", "d_kv")
PER_LAYER = ("layer_types", "mlp_layer_types")
"""Values of config.json that follow from its sizes: a list with an entry for each layer."""
SPECIAL = ("bos", "eos", "pad", "cls", "sep")
"""Tokens whose ids config.json may name."""


def resized(config: Any, sizes: Mapping[str, int]) -> Any:
    """A transformers configuration at other sizes.

    sizes: any of `layers`, `hidden_size`, `heads` and `intermediate_size`. Keys and values that
    several heads share stay shared by as many, and a head has hidden_size / heads numbers where one
    of them is given. Raises
    ModelError where a size has no place in the configuration, or heads do not divide it.
    """
    values = config.to_dict()
    names = {
        size: next((each for each in known if values.get(each) is not None), None)
        for size, known in (*SIZES.items(), ("heads", HEADS))
    }
    for size, value in sizes.items():
        if names[size] is None:
            raise ModelError(f"sizes.{size}: {type(config).__name__} has no such size")
        values[names[size]] = value
    if sizes.keys() & {"hidden_size", "heads"}:
        heads, before = values[names["heads"]], getattr(config, names["heads"] or "")
        width = values[names["hidden_size"]]
        if width % heads:
            raise ModelError(f"sizes: {heads} heads do not divide a hidden size of {width}")
        if values.get(SHARED):
            values[SHARED] = max(1, heads * getattr(config, SHARED) // before)
        of_head = {name: values[name] for name in OF_HEAD if values.get(name) is not None}
        # Gemma divides scores by the root of a number of its own, which is that of a head.
        if values.get(SCALED) in of_head.values():
            of_head[SCALED] = values[SCALED]
        values |= dict.fromkeys(of_head, width // heads)
    return type(config)(**{n: value for n, value in values.items() if n not in PER_LAYER})


def fitted(config: Any, tokenizer: Any, replaced: Any) -> Any:
    """A transformers configuration for another tokenizer: how many ids are embedded, and which of
    those that it names are special.

    replaced: the one that the configuration was for. Raises ModelError where that one pads and the
    other does not.
    """
    if replaced.pad_token_id is not None and tokenizer.pad_token_id is None:
        raise ModelError("tokenizer: has no padding token, and that of the model has one")
    config.vocab_size = embedded(tokenizer)
    for key in (f"{name}_token_id" for name in SPECIAL):
        if getattr(config, key, None) is not None:
            setattr(config, key, getattr(tokenizer, key))
    return config

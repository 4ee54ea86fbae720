"""Phi 1, 1.5 and 2: a feed-forward network without a gate."""

from wellspring.models.architecture import Architecture, Sublayer

ARCHITECTURE = Architecture(
    classes={"PhiModel": "PhiModel", "PhiForCausalLM": "PhiModel"},
    blocks="layers",
    sublayers={"intermediate": Sublayer(path="mlp.fc1"), "output": Sublayer(path="mlp.fc2")},
    unused=(r"^lm_head\.", r"rotary_emb\.inv_freq$"),
    attention="self_attn",
)

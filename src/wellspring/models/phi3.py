"""Phi 3 and 4: `gate_up_proj` holds the gate and, below it, the map that it gates."""

from wellspring.models.architecture import Architecture, Sublayer

ARCHITECTURE = Architecture(
    classes={"Phi3Model": "Phi3Model", "Phi3ForCausalLM": "Phi3Model"},
    blocks="layers",
    sublayers={
        "intermediate": Sublayer(path="mlp.gate_up_proj", rows="first-half"),
        "output": Sublayer(path="mlp.down_proj"),
        "up": Sublayer(path="mlp.gate_up_proj", rows="second-half"),
    },
    unused=(r"^lm_head\.", r"rotary_emb\.inv_freq$"),
    attention="self_attn",
)

"""Qwen 3."""

from wellspring.models.architecture import GATED_SUBLAYERS, Architecture

ARCHITECTURE = Architecture(
    classes={"Qwen3Model": "Qwen3Model", "Qwen3ForCausalLM": "Qwen3Model"},
    blocks="layers",
    sublayers=GATED_SUBLAYERS,
    unused=(r"^lm_head\.", r"rotary_emb\.inv_freq$"),
    attention="self_attn",
)

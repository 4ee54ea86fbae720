"""Qwen 2 and 2.5."""

from wellspring.models.architecture import GATED_SUBLAYERS, Architecture

ARCHITECTURE = Architecture(
    classes={"Qwen2Model": "Qwen2Model", "Qwen2ForCausalLM": "Qwen2Model"},
    blocks="layers",
    sublayers=GATED_SUBLAYERS,
    unused=(r"^lm_head\.", r"rotary_emb\.inv_freq$"),
    attention="self_attn",
)

"""Gemma 2."""

from wellspring.models.architecture import GATED_SUBLAYERS, Architecture

ARCHITECTURE = Architecture(
    classes={"Gemma2Model": "Gemma2Model", "Gemma2ForCausalLM": "Gemma2Model"},
    blocks="layers",
    sublayers=GATED_SUBLAYERS,
    unused=(r"^lm_head\.", r"rotary_emb\.inv_freq$"),
    attention="self_attn",
)

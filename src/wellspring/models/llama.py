"""Llama 1 to 3."""

from wellspring.models.architecture import GATED_SUBLAYERS, Architecture

ARCHITECTURE = Architecture(
    classes={"LlamaModel": "LlamaModel", "LlamaForCausalLM": "LlamaModel"},
    blocks="layers",
    sublayers=GATED_SUBLAYERS,
    unused=(r"^lm_head\.", r"rotary_emb\.inv_freq$"),
    attention="self_attn",
)

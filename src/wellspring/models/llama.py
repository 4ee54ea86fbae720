"""Llama: the class that takes a checkpoint's weights, and which keys may be missing."""

CLASSES = {
    "LlamaModel": "LlamaModel",
    "LlamaForCausalLM": "LlamaModel",
}
"""The class that config.json names, and the transformers class without its head."""

UNUSED = (r"^lm_head\.", r"rotary_emb\.inv_freq$")
"""Keys that may be missing or left over: no hidden state depends on them."""

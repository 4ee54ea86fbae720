"""Gemma 3 where it is a language model alone; the larger ones read images, too."""

from wellspring.models.architecture import GATED_SUBLAYERS, Architecture

ARCHITECTURE = Architecture(
    classes={"Gemma3TextModel": "Gemma3TextModel", "Gemma3ForCausalLM": "Gemma3TextModel"},
    blocks="layers",
    sublayers=GATED_SUBLAYERS,
    unused=(r"^lm_head\.",),
    refused={
        "Gemma3ForConditionalGeneration": "it reads images, too, and its text model stands deeper",
    },
    attention="self_attn",
)

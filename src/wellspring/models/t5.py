"""T5's encoder; the decoder of a whole model is left over.

The first releases have a plain feed-forward network (`wi`), the later ones (v1.1, Flan) a gated one
(`wi_0` is activated).
"""

from wellspring.models.architecture import Architecture, Sublayer

ARCHITECTURE = Architecture(
    classes={
        "T5EncoderModel": "T5EncoderModel",
        "T5Model": "T5EncoderModel",
        "T5ForConditionalGeneration": "T5EncoderModel",
        "T5WithLMHeadModel": "T5EncoderModel",
    },
    blocks="encoder.block",
    sublayers={
        "intermediate": Sublayer(path="layer.1.DenseReluDense.wi|wi_0"),
        "output": Sublayer(path="layer.1.DenseReluDense.wo"),
    },
    unused=(r"^decoder\.", r"^lm_head\."),
    attention="layer.0",
)

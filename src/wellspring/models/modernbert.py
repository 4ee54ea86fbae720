"""ModernBERT: its `Wi` holds the activated map and, below it, the map that it gates."""

from wellspring.models.architecture import Architecture, Sublayer

ARCHITECTURE = Architecture(
    classes={"ModernBertModel": "ModernBertModel", "ModernBertForMaskedLM": "ModernBertModel"},
    blocks="layers",
    sublayers={
        "intermediate": Sublayer("mlp.Wi", "first-half"),
        "output": Sublayer("mlp.Wo"),
        "up": Sublayer("mlp.Wi", "second-half"),
    },
    unused=(r"^head\.", r"^decoder\."),
    attention="attn",
)

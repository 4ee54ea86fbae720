"""ModernBERT: its `Wi` holds the activated map and, below it, the map that it gates."""

from wellspring.models.architecture import Architecture, Sublayer

ARCHITECTURE = Architecture(
    classes={"ModernBertModel": "ModernBertModel", "ModernBertForMaskedLM": "ModernBertModel"},
    blocks="layers",
    sublayers={
        "intermediate": Sublayer(path="mlp.Wi", rows="first-half"),
        "output": Sublayer(path="mlp.Wo"),
        "up": Sublayer(path="mlp.Wi", rows="second-half"),
    },
    unused=(r"^head\.", r"^decoder\."),
    attention="attn",
)

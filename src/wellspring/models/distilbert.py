"""DistilBERT."""

from wellspring.models.architecture import Architecture, Sublayer

ARCHITECTURE = Architecture(
    classes={"DistilBertModel": "DistilBertModel", "DistilBertForMaskedLM": "DistilBertModel"},
    blocks="transformer.layer",
    sublayers={"intermediate": Sublayer(path="ffn.lin1"), "output": Sublayer(path="ffn.lin2")},
    unused=(r"^vocab_(transform|layer_norm|projector)\.", r"position_ids$"),
    attention="attention",
)

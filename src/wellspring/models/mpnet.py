"""MPNet."""

from wellspring.models.architecture import DENSE_SUBLAYERS, Architecture

ARCHITECTURE = Architecture(
    classes={"MPNetModel": "MPNetModel", "MPNetForMaskedLM": "MPNetModel"},
    blocks="encoder.layer",
    sublayers=DENSE_SUBLAYERS,
    unused=(r"^pooler\.", r"^mpnet\.pooler\.", r"^lm_head\.", r"position_ids$"),
    attention="attention",
)

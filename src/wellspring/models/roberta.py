"""RoBERTa and XLM-RoBERTa."""

from wellspring.models.architecture import DENSE_SUBLAYERS, Architecture

ARCHITECTURE = Architecture(
    classes={
        "RobertaModel": "RobertaModel",
        "RobertaForMaskedLM": "RobertaModel",
        "XLMRobertaModel": "XLMRobertaModel",
        "XLMRobertaForMaskedLM": "XLMRobertaModel",
    },
    blocks="encoder.layer",
    sublayers=DENSE_SUBLAYERS,
    unused=(r"^pooler\.", r"^roberta\.pooler\.", r"^lm_head\.", r"position_ids$"),
    attention="attention",
)

"""BERT, and Contriever, whose published checkpoint names a class outside transformers."""

from wellspring.models.architecture import DENSE_SUBLAYERS, Architecture

ARCHITECTURE = Architecture(
    classes={
        "BertModel": "BertModel",
        "BertForMaskedLM": "BertModel",
        "BertForPreTraining": "BertModel",
        "Contriever": "BertModel",
    },
    blocks="encoder.layer",
    sublayers=DENSE_SUBLAYERS,
    unused=(r"^pooler\.", r"^bert\.pooler\.", r"^cls\.", r"position_ids$"),
    attention="attention",
)

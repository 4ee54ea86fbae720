"""DPR's two encoders: each class keeps a BERT under its own name.

`AutoModel` builds the question encoder for every DPR checkpoint; a context checkpoint's weights are
then left out, and the model stays at its random initialisation.
"""

from wellspring.models.architecture import DENSE_SUBLAYERS, Architecture

ARCHITECTURE = Architecture(
    classes={
        "DPRQuestionEncoder": "DPRQuestionEncoder",
        "DPRContextEncoder": "DPRContextEncoder",
    },
    blocks="question_encoder|ctx_encoder.bert_model.encoder.layer",
    sublayers=DENSE_SUBLAYERS,
    unused=(r"(^|\.)pooler\.", r"position_ids$"),
    refused={
        "DPRReader": "it reads a question and a passage together and encodes neither",
    },
    attention="attention",
    pooled="first-token",
)

"""BERT: the class that takes a checkpoint's weights, and which keys may be missing."""

CLASSES = {
    "BertModel": "BertModel",
    "BertForMaskedLM": "BertModel",
    "BertForPreTraining": "BertModel",
}
"""The class that config.json names, and the transformers class without its head."""

UNUSED = (r"^pooler\.", r"^cls\.", r"position_ids$")
"""Keys that may be missing or left over: no hidden state depends on them."""

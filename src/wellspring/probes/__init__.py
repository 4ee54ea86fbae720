"""Linear probes and their controls: which of N passages is the positive?

`concat` is the published probe (arXiv 2505.07166, after Reichman & Heck 2402.11035): one linear
layer from [q; p₁; …; p_N], the candidates in random order, to N logits. Its controls:

| kind | what it reads |
| --- | --- |
| passage-scorer | w·p_k, one w for all slots: what a probe can know without the query |
| interaction | s·cos(q, p_k) + w·(q ⊙ p_k) + u·p_k: the query against the passage, dimension by dimension, and the passage alone; it starts as the cosine |
| bilinear | (q A)·(p_k B) of a given rank: all pairs of dimensions |
| shuffled-query | `interaction` with another query's vector: what it knows without the query |
| random-label | `concat` on targets that only memory of passages can find (Hewitt & Liang 2019): the selectivity of `concat` is its accuracy less this one |
| random-label-… | the same task for each other trained kind |
| cosine | the raw vectors' cosine, nothing trained |
| cosine-standardised | the same after standardising every dimension on the training split |
| bm25, word-tfidf, character-tfidf, character-bm25 | a lexical score, no vectors |
| lexical | the lexical score that ranks the validation samples best |
"""  # noqa: E501

from __future__ import annotations

from wellspring.probes.assembly import assemble, splits_of
from wellspring.probes.data import KINDS, ProbeData, ProbeResult, ProbeSettings, names
from wellspring.probes.job import run

__all__ = [
    "KINDS",
    "ProbeData",
    "ProbeResult",
    "ProbeSettings",
    "assemble",
    "names",
    "run",
    "splits_of",
]

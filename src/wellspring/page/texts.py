"""Texts that show what numbers mean: won samples, hard ones, and where neurons score highest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from wellspring.findings.difficulty import hardest
from wellspring.page.answer import BEST
from wellspring.page.panels import Source
from wellspring.page.words import number
from wellspring.plurals import counted, form
from wellspring.randomness import key

SHOWN = 3
"""Samples, neurons or texts of a kind."""
LONGEST = 320
"""Characters of a text; the rest is cut."""
NEGATIVES = 2
"""Of a sample, are shown."""


@dataclass(frozen=True)
class Passage:
    """A text with what it is to the others."""

    role: str
    text: str


@dataclass(frozen=True)
class Example:
    """A sample or a neuron, with its texts."""

    heading: str
    note: str
    passages: tuple[Passage, ...]


@dataclass(frozen=True)
class Examples:
    """Examples of one kind."""

    heading: str
    caption: str
    examples: tuple[Example, ...]
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True)
class Lit:
    """A neuron that has the largest score of some texts, and the scores of all of them."""

    layer: int
    sublayer: str
    neuron: int
    texts: int
    of: int
    scores: Mapping[str, tuple[float, float]]
    """Text to the neuron's score, and to the same as a share of the text's largest score in the
    sub-layer."""


@dataclass(frozen=True)
class Outcomes:
    """How the test samples of a dataset came out at one cell.

    Attributes:
        names: the retriever, and its counterpart where it has one.
        cell: the layer and the passage count, in words.
        own: probe, seed, sample_id, correct; of the retriever.
        other: the same of its counterpart.
    """

    dataset: str
    names: tuple[str, str | None]
    cell: str
    passages: int
    own: pl.DataFrame
    other: pl.DataFrame | None


def won(outcomes: Outcomes, probe: str, seed: int = 0) -> list[str]:
    """Samples that the retriever always gets right and its counterpart never, in a random order."""
    if outcomes.other is None:
        return []
    shares = [
        table.filter(probe=probe).group_by("sample_id").agg(pl.col("correct").mean())
        for table in (outcomes.own, outcomes.other)
    ]
    both = shares[0].join(shares[1], on="sample_id", suffix="_other")
    ids = both.filter(pl.col("correct") == 1, pl.col("correct_other") == 0)["sample_id"]
    return sorted(ids, key=lambda each: (key(seed, outcomes.dataset, each), each))


def hard(outcomes: Outcomes, seed: int = 0) -> list[tuple[str, float]]:
    """The hardest samples, and the credit that the retriever's probes earn on them."""
    rows = hardest(outcomes.own, seed, outcomes.dataset).head(SHOWN)
    return list(rows.select("sample_id", "correct").iter_rows())


def chosen_probe(outcomes: Outcomes, drawn: str) -> str:
    """The probe that can use the query, where there is one; else the drawn one."""
    return BEST if BEST in outcomes.own["probe"].unique().to_list() else drawn


def of_samples(
    outcomes: Outcomes,
    drawn: str,
    samples: pl.DataFrame,
    texts: Mapping[tuple[str, str], str],
    sources: tuple[Source, ...],
) -> list[Examples]:
    """Won and hard samples, with their texts.

    Args:
        samples: `wellspring.datasets.samples.make`'s.
        texts: side and id to text.
    """
    by_id = {row["sample_id"]: row for row in samples.iter_rows(named=True)}
    name, other = outcomes.names
    probe = chosen_probe(outcomes, drawn)
    seen = outcomes.passages - 1
    negatives = (
        f"At N = {outcomes.passages} a probe sees {seen} of a sample's negatives, which each seed "
        "draws."
    )
    groups = []
    ids = won(outcomes, probe)
    if ids:
        examples = tuple(
            Example(
                f"Sample {each}", f"{name}: right; {other}: wrong", _passages(by_id[each], texts)
            )
            for each in ids[:SHOWN]
        )
        caption = (
            f"{counted(len(ids), 'sample')} of {outcomes.dataset} {form(len(ids), 'is', 'are')} "
            f"ranked right by the probe {probe} of {name} in every seed that tests "
            f"{form(len(ids), 'it', 'them')}, and wrong by that of {other} ({outcomes.cell}). "
            f"{negatives} {len(examples)} of {len(ids):,}, drawn at random:"
        )
        heading = f"{name} gets right what {other} does not ({outcomes.dataset})"
        groups.append(Examples(heading, caption, examples, sources))
    ranked = hard(outcomes)
    if ranked:
        examples = tuple(
            Example(
                f"Sample {each}",
                f"mean credit over probes: {number(share, 2)}",
                _passages(by_id[each], texts),
            )
            for each, share in ranked
        )
        caption = (
            f"The samples on which the probes of {name} earn the least credit ({outcomes.cell}), "
            f"mean over probes and seeds. {negatives}"
        )
        heading = f"The hardest samples for {name} ({outcomes.dataset})"
        groups.append(Examples(heading, caption, examples, sources))
    return groups


def wanted(outcomes: Outcomes, drawn: str) -> list[str]:
    """The ids of the samples that `of_samples` shows."""
    ids = won(outcomes, chosen_probe(outcomes, drawn))[:SHOWN]
    return [*ids, *(each for each, _ in hard(outcomes))]


def _passages(sample: Mapping, texts: Mapping[tuple[str, str], str]) -> tuple[Passage, ...]:
    negatives = list(dict.fromkeys(sample["negative_ids"]))
    more = len(negatives) - NEGATIVES
    passages = [
        Passage("query", cut(texts["query", sample["query_id"]])),
        Passage("positive", cut(texts["passage", sample["positive_id"]])),
        *(Passage("negative", cut(texts["passage", each])) for each in negatives[:NEGATIVES]),
    ]
    if more > 0:
        passages.append(Passage("", f"and {more} more {form(more, 'negative', 'negatives')}"))
    return tuple(passages)


def of_neurons(
    where: str,
    neurons: Sequence[Lit],
    texts: Mapping[str, str],
    sources: tuple[Source, ...],
) -> Examples | None:
    """Neurons with the texts that light them most; texts: id to text of the side."""
    examples = []
    for lit in neurons:
        most = sorted(lit.scores.items(), key=lambda item: (-item[1][0], item[0]))[:SHOWN]
        passages = tuple(
            Passage(
                f"score {score:.3g}, {share:.0%} of the text's largest",
                cut(texts[each]),
            )
            for each, (score, share) in most
        )
        heading = f"Block {lit.layer}, {lit.sublayer}, neuron {lit.neuron}"
        of = counted(lit.of, "text")
        note = f"has the largest score of all attributed neurons for {lit.texts:,} of {of}"
        examples.append(Example(heading, note, passages))
    if not examples:
        return None
    caption = (
        "The neurons that most often have a text's largest score in the whole network, of all "
        "attributed blocks and sub-layers. Below each stand the texts that light it most, and the "
        "score as a share of the text's largest one in this neuron's own block and sub-layer."
    )
    return Examples(
        f"Texts on which a neuron scores highest: {where}", caption, tuple(examples), sources
    )


def of_neuron(
    ids: Sequence[str], scales: np.ndarray, scores: np.ndarray, neuron: int
) -> dict[str, tuple[float, float]]:
    """Text to a neuron's score, and to the same as a share of the text's largest one.

    scales: [T] the largest score of each text. scores: [T × neurons] as shares of it.
    """
    shares = scores[:, neuron].astype(np.float64)
    values = zip((shares * scales).tolist(), shares.tolist(), strict=True)
    return dict(zip(ids, values, strict=True))


def top(neurons: pl.DataFrame) -> list[dict]:
    """The rows of the neurons that have the largest score of the most texts.

    neurons: scope, layer, sublayer, neuron, texts, of.
    """
    network = neurons.filter(scope="network")
    ordered = network.sort(
        ["texts", "layer", "sublayer", "neuron"], descending=[True, False, False, False]
    )
    return ordered.head(SHOWN).to_dicts()


def cut(text: str) -> str:
    """The first characters of a text, with an ellipsis where more were there."""
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + "…"

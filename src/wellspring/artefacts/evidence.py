"""Files that set all kinds of evidence about the layers of a retriever beside each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from wellspring import specs
from wellspring.artefacts.attributions import Ablations, ActivationTexts, Removals
from wellspring.artefacts.base import Artefact, Column, Needed
from wellspring.artefacts.findings import ENDS, Similarity
from wellspring.artefacts.probes import ProbeOutcomes
from wellspring.artefacts.retrieval import LexicalMetrics, LexicalValidation, SearchMetrics
from wellspring.config import Config


@dataclass(frozen=True)
class Evidence(Artefact):
    """What probes, attributions, removal, searches and similarity say of each layer, on the same
    queries where enough are shared."""

    panels = ("page.evidence",)
    template = "studies/{study}/findings/evidence.parquet"
    rule = "evidence"
    Slice = specs.EvidenceSpec
    step = "evidence"
    also = ("csv",)
    columns = {
        "dataset": Column("text", "what the row is about, as the next two columns"),
        "retriever": Column("text"),
        "compared_with": Column("text"),
        "layer": Column("integer", "0 is the embedding output; l is block l and what it gives"),
        "measure": Column(
            "text",
            "`accuracy`, `selectivity` (accuracy less that on random targets), `code_length` (bits "
            "a training sample), `gini` (concentration of scores), `margin_loss` (fall of the "
            "margin without the layer's highest neurons), `removal_effect` (mean size of the "
            "margin's change without one neuron), `cka` (with the counterpart), or the first "
            "measure of the search",
        ),
        "of": Column("text", "the probe; of scores the attribution and the sub-layer"),
        "side": Column("text"),
        "control": Column(
            "text",
            "null: the row is the measure's. Else that of what it is set against: `chance`, "
            "`uniform`, `random-label`, `lexical`, `random neurons`, `nothing removed`, "
            "`counterpart`, `twin`",
        ),
        "other": Column("text", "the control's name"),
        **ENDS,
        "lead": Column("number", "the measure less the control, on the texts that both have"),
        "lead_low": ENDS["low"],
        "lead_high": ENDS["high"],
        "unit": Column(
            "text",
            "what it is averaged over: `query`, `training query`, `query text` or `passage "
            "text` (those that were attributed), or `texts of a side`",
        ),
        "texts": Column("integer", "how many; of a control those that both have"),
        "shared_queries": Column(
            "integer",
            "how many of them are the queries that all measures of the unit `query` share: all of "
            "them, or, where fewer than 30 are shared, some",
        ),
    }
    study: str

    @classmethod
    def asked(cls, config: Config) -> Iterable[Artefact]:
        return [cls(config.study.name)] if specs.evidenced(config) else []

    def spec(self, config: Config) -> specs.EvidenceSpec:
        return specs.evidence(config)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        spec = self.spec(config)
        return {
            "probes": [
                ProbeOutcomes(grid.retriever, grid.dataset, layer, passages)
                for grid in spec.probed
                for layer in grid.layers
                for passages in grid.passages
            ],
            **{
                name: list(
                    dict.fromkeys(
                        kind(side.attribution, side.encoder, side.dataset, side.side)
                        for side in spec.grid
                    )
                )
                for name, kind in (("activations", ActivationTexts), ("ablations", Ablations))
            },
            "removals": list(
                dict.fromkeys(Removals(s.encoder, s.dataset, s.side) for s in spec.removed)
            ),
            "similarity": [
                Similarity(self.study, retriever, dataset)
                for retriever, datasets in spec.similarities.items()
                for dataset in datasets
            ],
            "searches": [SearchMetrics(s.retriever, s.dataset) for s in spec.searched],
            "words": [
                kind(dataset)
                for dataset in spec.ranked
                for kind in (LexicalMetrics, LexicalValidation)
            ],
        }

    @classmethod
    def science(cls, spec: specs.EvidenceSpec) -> Sequence[str]:
        return ["findings.evidence", "findings.prediction"]


@dataclass(frozen=True)
class EvidenceCorrelations(Evidence):
    """How well each kind of evidence predicts the others: rank correlations over layers."""

    template = "studies/{study}/findings/evidence-correlations.parquet"
    columns = {
        "dataset": Column("text", "what the row is about, as the next two columns"),
        "retriever": Column("text", "null: the mean of the dataset's pairs"),
        "compared_with": Column("text"),
        "over": Column(
            "text", "`layers`, or `differences`: what the layers differ from the counterpart's by"
        ),
        "measure": Column("text", "as in the table of evidence, as the next five columns"),
        "of": Column("text"),
        "side": Column("text"),
        "other_measure": Column("text"),
        "other_of": Column("text"),
        "other_side": Column("text"),
        "points": Column("integer", "layers, of all pairs"),
        "layers": Column("integer", "how many different ones"),
        "estimate": Column("number", "Spearman's correlation"),
        "low": Column("number", "lower end of the 95 % interval, over queries; the layers stay"),
        "high": ENDS["high"],
        "reliability": Column(
            "number",
            "of the first measure: share of its variance over layers that is not noise; null where "
            "it is not drawn anew",
        ),
        "other_reliability": Column("number", "of the second"),
        "shared_texts": Column("integer", "texts that both measures are made of"),
        "same_outcomes": Column(
            "boolean", "whether both are made of the same outcomes: related by construction"
        ),
        "answer": Column(
            "text", "`together`, `opposed`, `no evidence` or `not testable here` (with a reason)"
        ),
        "reason": Column("text"),
    }

"""Files that judge a study: the published claims, and what a reader should be careful of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from wellspring import specs
from wellspring.artefacts.attributions import ActivationTexts
from wellspring.artefacts.base import Artefact, Column, Needed
from wellspring.artefacts.datasets import Lexical, Samples
from wellspring.artefacts.evidence import Evidence
from wellspring.artefacts.findings import (
    ENDS,
    Decentralisation,
    Findings,
    Published,
    attributed_sides,
    probes_of,
)
from wellspring.artefacts.scaling import Scaling
from wellspring.artefacts.tables import Leakage, Table
from wellspring.config import Config
from wellspring.specs.base import Spec


@dataclass(frozen=True)
class Claims(Artefact):
    """The published claims, judged on every pair of a study."""

    template = "studies/{study}/findings/claims.parquet"
    rule = "claims"
    Slice = specs.ClaimsSpec
    step = "claims"
    also = ("csv",)
    columns = {
        "claim": Column("integer", "number of one of the ten published claims"),
        "statement": Column("text"),
        "dataset": Column("text", "what the row is about, as the next four columns"),
        "retriever": Column("text"),
        "compared_with": Column("text"),
        "attribution": Column("text", "of claims 7 to 10"),
        "side": Column("text", "of claims 7 to 10"),
        "as_published": Column("boolean", "whether this is the published pair"),
        "confounded": Column("text", "what else differed there"),
        "measured": Column("text", "the first part of the claim"),
        "setting": Column("text", "the published setting (probe, or normaliser and threshold)"),
        "estimate": Column(
            "number",
            "of that part there: points of (accuracy − chance) / (1 − chance), or the relative "
            "change of the share of active neurons",
        ),
        "low": ENDS["low"],
        "high": ENDS["high"],
        "detectable": Column(
            "number", "the smallest true effect that such an interval shows at 80 % power"
        ),
        "clusters": Column("integer", "the number of distinct texts"),
        "at_setting": Column("text", "the verdict at that setting alone"),
        "settings": Column("integer", "the family that is tested together"),
        "distinct_settings": Column(
            "integer",
            "how many of them are distinct: settings with the same number for every text count as "
            "one",
        ),
        "supporting": Column("integer", "how many of the distinct ones support the claim"),
        "contradicting": Column("integer", "how many of the distinct ones contradict it"),
        "on_this_pair": Column(
            "text",
            "the verdict on the statement for this pair: `supported`, `contradicted`, "
            "`equivalent`, `no evidence`, `depends on the …`, `not testable here`",
        ),
        "verdict": Column(
            "text",
            "the verdict on the claim: not testable where the pair is none that it speaks of",
        ),
        "reason": Column("text"),
    }
    study: str

    @classmethod
    def asked(cls, config: Config) -> Iterable[Artefact]:
        return [cls(config.study.name)]

    def spec(self, config: Config) -> specs.ClaimsSpec:
        return specs.claims(config)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        return {
            "probes": probes_of(config),
            "activations": attributed_sides(config, ActivationTexts),
        }

    @classmethod
    def science(cls, spec: specs.ClaimsSpec) -> Sequence[str]:
        names = ("claims", "consistency", "activity", "outcomes")
        return [f"findings.{name}" for name in names]


class LedgerSpec(Spec):
    """How claims are judged."""

    alpha: float
    margin: float
    """Log-odds for each doubling that count as none."""
    in_domain: list[str] | None
    """Datasets of the kind that models learn from; None: not said."""


@dataclass(frozen=True)
class Ledger(Table):
    """Every claim of the studied documents, and what this study says of it."""

    template = "studies/{study}/findings/ledger.parquet"
    rule = "ledger"
    Slice = LedgerSpec
    step = "ledger"
    also = ("csv",)
    function = "findings.ledger:ledger"
    columns = {
        "claim": Column("text", "the letter of its document, and a number"),
        "source": Column("text", "the document"),
        "statement": Column("text"),
        "measured": Column("text", "what is measured for it"),
        "design": Column("text", "what a study needs for it"),
        "place": Column("text", "where the estimate was made: the first of all places"),
        "estimate": Column("number", "of the first part of the claim there"),
        "low": ENDS["low"],
        "high": ENDS["high"],
        "places": Column("integer", "where the claim was asked, all tested together"),
        "supporting": Column("integer", "in how many of them it holds"),
        "contradicting": Column("integer", "in how many of them it is turned around"),
        "verdict": Column("text", "as in the table of published claims"),
        "reason": Column("text", "why it is not testable, or what weakens the verdict"),
    }

    def spec(self, config: Config) -> LedgerSpec:
        scaling = config.study.scaling
        return LedgerSpec(
            alpha=config.study.findings.alpha,
            margin=0.1,
            in_domain=scaling.in_domain if scaling else [],
        )

    def needs(self, config: Config) -> Mapping[str, Needed]:
        ladders = {"scaling": Scaling(self.study)} if config.study.scaling else {}
        return {"claims": Claims(self.study), **ladders}


@dataclass(frozen=True)
class Cautions(Artefact):
    """What a reader of a study should be careful of."""

    template = "studies/{study}/findings/cautions.parquet"
    rule = "cautions"
    Slice = specs.CautionsSpec
    step = "cautions"
    also = ("csv",)
    columns = {
        "caution": Column("text", "in one word"),
        "dataset": Column("text", "what it is about, as the next three columns"),
        "retriever": Column("text"),
        "attribution": Column("text"),
        "side": Column("text"),
        "value": Column("number", "the number that it rests on"),
        "limit": Column("number", "the limit that this passes"),
        "sentence": Column("text", "in a sentence"),
    }
    study: str

    @classmethod
    def asked(cls, config: Config) -> Iterable[Artefact]:
        return [cls(config.study.name)]

    def spec(self, config: Config) -> specs.CautionsSpec:
        return specs.cautions(config, evidence=bool(specs.evidenced(config)))

    def needs(self, config: Config) -> Mapping[str, Needed]:
        published = [Published(self.study)] if config.study.published else []
        attributed = [Decentralisation(self.study)] if config.attributed() else []
        return {
            "findings": Findings(self.study),
            "compared": [*published, *attributed, *Evidence.asked(config)],
            "samples": [Samples(dataset) for dataset in config.datasets_used()],
            "leakage": list(Leakage.asked(config)),
            "lexical": [Lexical(dataset) for dataset in config.probed_datasets()],
            "activations": attributed_sides(config, ActivationTexts),
        }

    @classmethod
    def science(cls, spec: specs.CautionsSpec) -> Sequence[str]:
        return ["findings.cautions"]

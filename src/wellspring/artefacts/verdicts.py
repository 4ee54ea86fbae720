"""Files that judge a study: the published claims, and what a reader should be careful of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from wellspring import specs
from wellspring.artefacts.attributions import ActivationTexts
from wellspring.artefacts.base import Artefact, Column, Needed
from wellspring.artefacts.datasets import Lexical, Samples
from wellspring.artefacts.findings import (
    ENDS,
    Decentralisation,
    Findings,
    Published,
    attributed_sides,
    probes_of,
)
from wellspring.artefacts.tables import Leakage
from wellspring.config import Config


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
        return specs.cautions(config)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        published = [Published(self.study)] if config.study.published else []
        attributed = [Decentralisation(self.study)] if config.attributed() else []
        return {
            "findings": Findings(self.study),
            "compared": [*published, *attributed],
            "samples": [Samples(dataset) for dataset in config.datasets_used()],
            "leakage": list(Leakage.asked(config)),
            "lexical": [Lexical(dataset) for dataset in config.probed_datasets()],
            "activations": attributed_sides(config, ActivationTexts),
        }

    @classmethod
    def science(cls, spec: specs.CautionsSpec) -> Sequence[str]:
        return ["findings.cautions"]

"""Files of a study's findings: what its probes and attributions say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from wellspring import specs
from wellspring.artefacts.attributions import (
    SETTING,
    Ablations,
    ActivationTexts,
    Removals,
    scores_of,
)
from wellspring.artefacts.base import Artefact, Column, Needed
from wellspring.artefacts.datasets import Texts
from wellspring.artefacts.embeddings import EmbeddingShard
from wellspring.artefacts.probes import ProbeMetrics, ProbeOutcomes
from wellspring.config import Config

ENDS = {
    "estimate": Column("number"),
    "low": Column("number", "lower end of the 95 % interval"),
    "high": Column("number", "its upper end"),
}


def probes_of(config: Config) -> list[ProbeOutcomes]:
    """Every probe job of a study."""
    return [
        ProbeOutcomes(grid.retriever, grid.dataset, layer, passages)
        for grid in config.probed()
        for layer in grid.layers
        for passages in grid.passages
    ]


def attributed_sides(config: Config, kind: type[ActivationTexts] | type[Ablations]) -> list:
    """The files of every attributed side, each once, whatever the retrievers that share it."""
    return list(
        dict.fromkeys(
            kind(grid.attribution, encoder, grid.dataset, side)
            for grid in config.attributed()
            for side, encoder in config.retrievers[grid.retriever].encoders.items()
        )
    )


@dataclass(frozen=True)
class Similarity(Artefact):
    """How alike a retriever's vectors and those of its counterpart are."""

    template = "studies/{study}/findings/similarity/{retriever}/{dataset}.parquet"
    rule = "similarity"
    Slice = specs.SimilaritySpec
    step = "similarity"
    columns = {
        "layer": Column("integer"),
        "side": Column("text"),
        "measure": Column("text", "`cka` (debiased, linear) or `anisotropy`"),
        "whose": Column("text", "`both`, `retriever` or `counterpart`"),
        **ENDS,
        "samples": Column("integer"),
    }
    study: str
    retriever: str
    dataset: str

    def spec(self, config: Config) -> specs.SimilaritySpec:
        return specs.similarity(config, self.retriever, self.dataset)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        other = config.counterpart(self.retriever)
        own = {
            side: EmbeddingShard.side_of(config, self.retriever, self.dataset, side)
            for side in ("query", "passage")
        }
        theirs = {
            f"other_{side}": EmbeddingShard.side_of(config, other, self.dataset, side)
            for side in ("query", "passage")
        }
        return {"texts": Texts(self.dataset), **own, **theirs}

    @classmethod
    def science(cls, spec: specs.SimilaritySpec) -> Sequence[str]:
        return ["findings.similarity"]


@dataclass(frozen=True)
class Findings(Artefact):
    """Everything that a study's probes found, with intervals and tests."""

    panels = ("page.probing", "page.similarity")
    template = "studies/{study}/findings/findings.parquet"
    rule = "findings"
    Slice = specs.FindingsSpec
    step = "findings"
    also = ("csv",)
    columns = {
        "finding": Column(
            "text",
            "`accuracy`, `trend` (over layers), `code`, `difference`, `control`, `similarity`",
        ),
        "dataset": Column("text", "what the row is about, as the next seven columns"),
        "retriever": Column("text"),
        "compared_with": Column("text"),
        "probe": Column("text"),
        "compared_probe": Column("text"),
        "layer": Column("integer"),
        "passages": Column("integer"),
        "side": Column("text"),
        "measure": Column(
            "text",
            "`accuracy`, `above_chance`, `chance`, `difference`, `above_chance_difference`, `d_z`, "
            "`slope` (of above_chance, from the first layer to the last), `code_length` (bits a "
            "training sample), `compression` (log2 of the passages over the code length), "
            "`code_length_difference`, `cka`, `anisotropy`",
        ),
        "test": Column("text", "null in rows without a test, as the four columns of its result"),
        "estimate": Column(
            "number", "shares, not per cent; a difference is one of accuracy − chance"
        ),
        "low": ENDS["low"],
        "high": ENDS["high"],
        "detectable": Column(
            "number",
            "of a difference: the smallest true one that such an interval excludes 0 for, at 80 % "
            "power",
        ),
        "p_value": Column("number"),
        "p_adjusted": Column(
            "number",
            "corrected for the family of its test: layers and N; in a trend N alone; in the "
            "published test the layers of one N",
        ),
        "p_study": Column(
            "number",
            "corrected for the same test on other retrievers and datasets of the study, too; null "
            "for the published test",
        ),
        "significant": Column("boolean", "by `p_adjusted`"),
        "samples": Column("integer", "how many stand behind the row, as the next two columns"),
        "queries": Column("integer"),
        "seeds": Column("integer"),
    }
    study: str

    @classmethod
    def asked(cls, config: Config) -> Iterable[Artefact]:
        return [Findings(config.study.name)]

    def spec(self, config: Config) -> specs.FindingsSpec:
        return specs.findings(config)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        similarity = [
            Similarity(self.study, retriever, dataset)
            for dataset in config.probed_datasets()
            for retriever in config.pairs(dataset)
        ]
        return {"probes": probes_of(config), "similarity": similarity}

    @classmethod
    def science(cls, spec: specs.FindingsSpec) -> Sequence[str]:
        return ["findings.table"]


@dataclass(frozen=True)
class Training(Findings):
    """What became of every fit: the probes' metrics in one table."""

    panels = ("page.fits",)
    template = "studies/{study}/findings/training.parquet"
    columns = {
        "retriever": Column("text"),
        "dataset": Column("text"),
        "layer": Column("integer"),
        "passages": Column("integer"),
        **ProbeMetrics.columns,
    }

    @classmethod
    def shown(cls, config: Config) -> Iterable[Artefact]:
        return [cls(config.study.name)]


@dataclass(frozen=True)
class Published(Artefact):
    """The study's curves beside published ones: a row for each curve that both have."""

    panels = ("page.published",)
    template = "studies/{study}/findings/published.parquet"
    rule = "published"
    Slice = specs.PublishedSpec
    step = "published"
    also = ("csv",)
    columns = {
        "dataset": Column("text"),
        "retriever": Column("text"),
        "curve": Column("text", "the curve's published name"),
        "passages": Column("integer"),
        "layers": Column("integer", "how many are compared"),
        "published_layers": Column("integer", "of how many published"),
        "samples": Column("integer", "our test samples"),
        "published_samples": Column("integer", "theirs"),
        "ours_mean": Column("number", "accuracy over the layers compared", "share"),
        "published_mean": Column("number", "the same, published", "share"),
        "mean_difference": Column("number", "ours less the published one", "share"),
        "mean_absolute_difference": Column("number", unit="share"),
        "worst_difference": Column("number", "the largest in size", "share"),
        "worst_layer": Column("integer", "where"),
        "above_chance_difference": Column(
            "number",
            "mean difference of (accuracy − chance) / (1 − chance); published chance: 1 / passages",
        ),
        "rank_correlation": Column(
            "number",
            "Spearman's over layers; null for fewer than three, or where a side is constant",
        ),
        "stars": Column(
            "integer",
            "layers at which the published test finds a difference from the counterpart in our "
            "outcomes",
        ),
        "published_stars": Column("integer", "the same in the published counts"),
        "stars_alike": Column("integer", "at how many layers both say the same"),
    }
    study: str

    @classmethod
    def asked(cls, config: Config) -> Iterable[Artefact]:
        return [cls(config.study.name)] if config.study.published else []

    def spec(self, config: Config) -> specs.PublishedSpec:
        return specs.published(config)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        return {"findings": Findings(self.study), "published": curves_of(config)}

    @classmethod
    def science(cls, spec: specs.PublishedSpec) -> Sequence[str]:
        return ["findings.published"]


def curves_of(config: Config) -> list[str]:
    """The file of published curves, where the study names one."""
    return [config.study.published.source] if config.study.published else []


@dataclass(frozen=True)
class Agreement(Artefact):
    """Rank correlations of a retriever's scores with other scores and with what removal does."""

    template = "studies/{study}/findings/agreement/{retriever}/{dataset}.parquet"
    rule = "agreement"
    Slice = specs.AgreementSpec
    step = "agreement"
    columns = {
        "side": Column("text"),
        "comparison": Column(
            "text",
            "`attributions` of one encoder, `models`: with the counterpart, or `removal`: with the "
            "size of what removing neurons changes",
        ),
        "attribution": Column("text"),
        "other": Column(
            "text",
            "what it is compared with; `length_change-signed`: signed scores with the loss of "
            "length",
        ),
        "encoder": Column("text"),
        "layer": Column("integer"),
        "sublayer": Column("text"),
        "text_id": Column("text"),
        "correlation": Column("number", "Spearman's over neurons"),
        "shifted": Column("number", "the same with another text's scores or effects"),
    }
    study: str
    retriever: str
    dataset: str

    def spec(self, config: Config) -> specs.AgreementSpec:
        return specs.agreement(config, self.retriever, self.dataset)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        names = [self.retriever, *filter(None, [config.attributed_pairs().get(self.retriever)])]
        sides = {item for name in names for item in config.retrievers[name].encoders.items()}
        own: dict[specs.Side, str] = {
            side: encoder
            for side, encoder in config.retrievers[self.retriever].encoders.items()
            if config.removing(encoder, self.dataset)
        }
        return {
            "scores": [
                shard
                for attribution in config.attributions_of(self.retriever, self.dataset)
                for side, encoder in sorted(sides)
                for shard in scores_of(config, attribution, encoder, self.dataset, side)
            ],
            "removals": [Removals(encoder, self.dataset, side) for side, encoder in own.items()],
        }

    @classmethod
    def science(cls, spec: specs.AgreementSpec) -> Sequence[str]:
        return ["findings.agreement"]


@dataclass(frozen=True)
class Decentralisation(Artefact):
    """Over how many neurons texts are spread, and how that changes."""

    panels = ("page.attribution", "page.ablation", "page.agreement")
    template = "studies/{study}/findings/decentralisation.parquet"
    rule = "decentralisation"
    Slice = specs.DecentralisationSpec
    step = "decentralisation"
    also = ("csv",)
    columns = {
        "finding": Column(
            "text",
            "`level`, `change`, `relative_change`, `agreement`, `fidelity` (agreement with what "
            "removal does), `ablation`, `contrast` (top or bottom − matched random neurons)",
        ),
        "attribution": Column("text", "what the row is about, as the next seven columns"),
        "dataset": Column("text"),
        "retriever": Column("text"),
        "compared_with": Column("text"),
        "side": Column("text"),
        "region": Column("text", "`all`, `early` or `late` blocks; null where a layer stands"),
        "layer": Column("integer"),
        "sublayer": Column("text"),
        "measure": Column(
            "text",
            "`share_active`, `effective_number`, `gini`, `residual`, `signal`; of an agreement or "
            "a fidelity `correlation`, `correlation_shifted` (with another text's) and "
            "`correlation_excess` (the first less the second); of an ablation `change` (1 − "
            "cosine), `length_change`, and ablated less whole: `margin_change` (below 0: the "
            "positive loses), `first_change`",
        ),
        **{name: Column(c.kind, "the setting of `share_active`") for name, c in SETTING.items()},
        "other": Column("text", "what an agreement is with, or the other side of a contrast"),
        "choice": Column("text", "which neurons are ablated"),
        "neurons": Column("integer", "how many"),
        "by": Column("text", "how"),
        "estimate": Column("number", "mean over texts, paired where two sides are compared"),
        "low": ENDS["low"],
        "high": ENDS["high"],
        "detectable": Column(
            "number",
            "the smallest true change that such an interval excludes 0 for, at 80 % power",
        ),
        "texts": Column("integer"),
    }
    study: str

    @classmethod
    def asked(cls, config: Config) -> Iterable[Artefact]:
        return [cls(config.study.name)] if config.attributed() else []

    def spec(self, config: Config) -> specs.DecentralisationSpec:
        return specs.decentralisation(config)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        agreement = [
            Agreement(self.study, retriever, dataset) for retriever, dataset in config.agreeing()
        ]
        return {
            "activations": attributed_sides(config, ActivationTexts),
            "ablations": attributed_sides(config, Ablations),
            "agreement": agreement,
        }

    @classmethod
    def science(cls, spec: specs.DecentralisationSpec) -> Sequence[str]:
        return ["findings.decentralisation"]

"""Files of a study's dimensions: what its retrievers find in-domain and zero-shot, with less
training, at other lengths, with instructions, and after several tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from wellspring import specs
from wellspring.artefacts.base import Artefact, Column, Needed
from wellspring.artefacts.figures import Picture
from wellspring.artefacts.models import TrainedModel
from wellspring.artefacts.retrieval import metrics_of
from wellspring.config import Config


@dataclass(frozen=True)
class Dimensions(Artefact):
    """What each retriever finds at its last layer, or by its terms where it is sparse, set against
    a reference setting of each dimension in which the study varies it."""

    panels = ("page.dimensions",)
    template = "studies/{study}/findings/dimensions.parquet"
    rule = "dimensions"
    Slice = specs.DimensionsSpec
    step = "dimensions"
    also = ("csv",)
    columns = {
        "dimension": Column(
            "text",
            "`in-domain`, `zero-shot` or `not known` (whether the retriever learned from the "
            "dataset's collection), `data-efficiency`, `lengths`, `instructions`, `multi-task`",
        ),
        "family": Column("text", "what is set against each other, and tested together"),
        "axis": Column("text", "what the settings of the family are settings of"),
        "setting": Column("text", "this one"),
        "x": Column("number", "the same as a number; null where it is none"),
        "retriever": Column("text", "the one with this setting"),
        "dataset": Column("text", "what it was searched on"),
        "reference": Column("text", "the retriever with the reference setting there"),
        "stage": Column("text", "what the retriever's weights were trained for last"),
        "measure": Column("text"),
        "queries": Column("integer", "distinct texts of those with a value"),
        "value": Column("number", "mean of the measure over queries"),
        "low": Column("number", "lower end of its 95 % interval"),
        "high": Column("number", "its upper end"),
        "difference": Column(
            "number", "value less that of the reference; null there, as the next six columns"
        ),
        "difference_low": Column("number", "lower end of the paired 95 % interval"),
        "difference_high": Column("number", "its upper end"),
        "detectable": Column(
            "number",
            "the smallest true difference that such an interval excludes 0 for, at 80 % power",
        ),
        "p_value": Column("number", "of the paired sign-flip test"),
        "p_adjusted": Column(
            "number", "corrected for all settings and datasets of the family (max-T)"
        ),
        "answer": Column(
            "text", "`higher`, `lower`, `equivalent`, `no evidence` or `not testable here`"
        ),
        "verdict": Column(
            "text",
            "the same of the whole family and measure, or `depends on the …`; null where nothing "
            "is compared",
        ),
        "reason": Column("text", "of a verdict that needs one, and which rows are left out of it"),
        "pairs": Column(
            "number",
            "pairs that the last training saw, 0 at what the training of a family started from; "
            "null where no trainings are compared, as `flops`",
        ),
        "flops": Column("number", "floating-point operations of the last training"),
    }
    study: str

    @classmethod
    def asked(cls, config: Config) -> Iterable[Artefact]:
        return [cls(config.study.name)] if config.searched() else []

    def spec(self, config: Config) -> specs.DimensionsSpec:
        return specs.dimensions(config)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        spec = self.spec(config)
        runs = (run.model for own in spec.runs.values() for run in own)
        return {
            "metrics": [
                metrics_of(each.retriever, each.dataset, each.layer is None)
                for each in spec.searched
            ],
            "runs": [TrainedModel(model) for model in dict.fromkeys(runs)],
        }

    @classmethod
    def science(cls, spec: specs.DimensionsSpec) -> Sequence[str]:
        return ["findings.dimensions"]


@dataclass(frozen=True)
class Dimension(Picture):
    """What retrievers find along one dimension, or where they learned and where not."""

    template = "studies/{study}/figures/{dimension}.png"
    rule = "dimension"
    step = "dimension"
    Slice = specs.DimensionSpec
    dimension: str

    @classmethod
    def asked(cls, config: Config) -> Iterable[Artefact]:
        return [cls(config.study.name, name) for name in specs.drawn_dimensions(config)]

    def spec(self, config: Config) -> specs.DimensionSpec:
        return specs.dimension(config, self.dimension)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        return {"findings": Dimensions(self.study)}

    @classmethod
    def science(cls, spec: specs.DimensionSpec) -> Sequence[str]:
        return ["figures.dimensions"]

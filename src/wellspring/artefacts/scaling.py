"""Files of a study's ladders of models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from wellspring import specs
from wellspring.artefacts.base import Artefact, Column, Needed
from wellspring.artefacts.findings import ENDS
from wellspring.artefacts.models import Model, TrainedModel
from wellspring.artefacts.probes import ProbeOutcomes
from wellspring.artefacts.retrieval import metrics_of
from wellspring.config import Config

AXIS = Column(
    "text",
    "what the size is: `parameters`, `non_embedding` (without tables that are looked up), "
    "`trainable` (those that the last stage trained), `flops` and `tokens` of all training",
)
SCALE = Column("text", "`value`, or `log-odds` of its mean, which have no ceiling")
SERIES = {
    "ladder": Column(
        "text", "the first retriever of its series: its recipes and encoder are theirs"
    ),
    "family": Column("text", "architecture"),
    "stages": Column("text", "what the weights went through, the first one first"),
    "objective": Column("text", "of the last fine-tuning"),
    "paradigm": Column("text"),
}


@dataclass(frozen=True)
class Scaling(Artefact):
    """What a doubling of size brings, whether two ladders differ in that, and curves."""

    panels = ("page.ladders",)
    template = "studies/{study}/findings/scaling.parquet"
    rule = "scaling"
    Slice = specs.ScalingSpec
    step = "scaling"
    also = ("csv",)
    columns = {
        "finding": Column(
            "text",
            "`slope` (change for each doubling), `interaction` (one slope less another one), "
            "`advantage` (the mean over sizes less that of another ladder), "
            "`exponent` and `limit` of a power law, `preference` (AICc of the straight line over "
            "log2 of the size less that of the power law); these three have no numbers where "
            "models are too few, nor the first two where lines or steps fit as well",
        ),
        "dataset": Column("text", "which ladder, as the next five columns"),
        **SERIES,
        "factor": Column("text", "of an interaction: in what the other ladder differs"),
        "compared_with": Column("text", "what that is there; of recipes and encoders its `ladder`"),
        "compared_ladder": Column("text", "its `ladder`"),
        "axis": AXIS,
        "measure": Column("text"),
        "scale": SCALE,
        **ENDS,
        "detectable": Column(
            "number", "the smallest true slope that such an interval shows at 80 % power"
        ),
        "p_value": Column("number"),
        "p_adjusted": Column("number", "Holm's, over the findings of one axis, measure and scale"),
        "sizes": Column("integer"),
        "seeds": Column("integer", "the fewest models of a size"),
        "queries": Column("integer"),
        "smallest": Column("number", "size on the axis"),
        "largest": Column("number", "size on the axis"),
        "warnings": Column("text", "why not to trust it"),
    }
    study: str

    @classmethod
    def asked(cls, config: Config) -> Iterable[Artefact]:
        return [cls(config.study.name)] if config.study.scaling else []

    def spec(self, config: Config) -> specs.ScalingSpec:
        return specs.scaling(config)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        spec = self.spec(config)
        steps = dict.fromkeys(step for each in spec.models for step in each.steps)
        return {
            "probes": [
                ProbeOutcomes(grid.retriever, grid.dataset, grid.layers[-1], spec.passages)
                for grid in spec.probed
            ],
            "searches": [
                metrics_of(grid.retriever, grid.dataset, grid.match is not None)
                for grid in spec.searched
            ],
            "models": [Model(name) for name in dict.fromkeys(each.model for each in spec.models)],
            "trained": [TrainedModel(step) for step in steps],
        }

    @classmethod
    def science(cls, spec: specs.ScalingSpec) -> Sequence[str]:
        return ["findings.ladders"]


@dataclass(frozen=True)
class LearningRates(Scaling):
    """Which learning rate each size of a ladder was best with on validation queries."""

    panels = ()
    template = "studies/{study}/findings/learning-rates.parquet"
    columns = {
        "size": Column("text", "a model of that size"),
        **SERIES,
        "measure": Column(
            "text",
            "what quality is, on validation queries or texts: the highest `MRR@10` is the best, "
            "and the lowest `loss`",
        ),
        "learning_rate": Column("number", "the best one, whose models stand on the ladder"),
        "quality": Column("number", "its mean over seeds; null where one of them diverged"),
        "runner_up": Column("number", "the second best"),
        "runner_up_quality": Column("number"),
        "rates": Column("integer", "how many were tried"),
        "at_edge": Column("boolean", "whether no lower or no higher one was tried"),
    }


@dataclass(frozen=True)
class Ladders(Scaling):
    """The quality of each model on a ladder, and the line through them: what figures draw."""

    template = "studies/{study}/findings/ladders.parquet"
    columns = {
        "dataset": Column("text", "which ladder, as the next five columns"),
        **SERIES,
        "measure": Column("text"),
        "axis": AXIS,
        "scale": SCALE,
        "size": Column("text", "a model of that size"),
        "retriever": Column("text", "on the model of one size and seed"),
        "x": Column("number", "its size on the axis"),
        "quality": Column("number", "its mean over queries, on the scale"),
        "fitted": Column(
            "number",
            "the line there whose slope the table of scaling tells; null where a ladder has one "
            "size, as the next two columns",
        ),
        "low": Column("number", "lower end of the 95 % interval of the line"),
        "high": Column("number", "its upper end"),
        "queries": Column("integer"),
    }

"""Files of a probe job: one retriever, dataset, layer and number of passages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wellspring import specs
from wellspring.artefacts.base import Artefact, Column, Needed
from wellspring.artefacts.datasets import Lexical, Samples
from wellspring.artefacts.embeddings import EmbeddingShard
from wellspring.config import Config

if TYPE_CHECKING:
    from wellspring.inspection import Section

INTERVAL = {
    "low": Column("number", "lower end of the 95 % interval of the accuracy", "share"),
    "high": Column("number", "its upper end", "share"),
}


@dataclass(frozen=True)
class ProbeOutcomes(Artefact):
    """How every test sample came out, under every probe and seed."""

    template = "probes/{retriever}/{dataset}/layer-{layer:02d}/passages-{passages}.parquet"
    rule = "probe"
    Slice = specs.ProbeSpec
    step = "probes"
    sliced_by = ("retriever", "dataset")
    batched_by = "passages"
    columns = {
        "probe": Column("text", "`random-label-…` is a probe on random targets"),
        "seed": Column("integer", "each has a split of its own"),
        "sample_id": Column("text", "a sample of the seed's test split"),
        "query_id": Column("text"),
        "correct": Column("number", "credit 0 … 1; a tie at the top shares it"),
        "chance": Column(
            "number",
            "what guessing earns: one over the distinct candidates; of `concat` and `random-label` "
            "the share of slots that hold the wanted text, or where texts repeat what the fit "
            "earns on lists of unrelated texts",
        ),
    }
    retriever: str
    dataset: str
    layer: int
    passages: int

    def spec(self, config: Config) -> specs.ProbeSpec:
        return specs.probe(config, self.retriever, self.dataset)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        return {
            "samples": Samples(self.dataset),
            "lexical": Lexical(self.dataset),
            "query": EmbeddingShard.side_of(config, self.retriever, self.dataset, "query"),
            "passage": EmbeddingShard.side_of(config, self.retriever, self.dataset, "passage"),
        }

    @classmethod
    def batches(cls, config: Config) -> Mapping[Sequence[str], Sequence[Sequence[int]]]:
        return {(grid.retriever, grid.dataset): [grid.passages] for grid in config.probed()}

    @classmethod
    def science(cls, spec: specs.ProbeSpec) -> Sequence[str]:
        return ["probes"]

    def sections(self, results: Path) -> Iterable[Section]:
        from wellspring.artefacts import contents

        # The other files of the job are subclasses.
        if type(self) is ProbeOutcomes:
            return contents.probe(self, results)
        return super().sections(results)

    @classmethod
    def beside(cls, outcomes: Path) -> Path:
        """This kind's file of the job that wrote these outcomes."""
        end = cls.template.removeprefix(ProbeOutcomes.template.removesuffix(".parquet"))
        return outcomes.with_suffix(end)


@dataclass(frozen=True)
class ProbeMetrics(ProbeOutcomes):
    """What became of every fit."""

    template = ProbeOutcomes.template.replace(".parquet", ".metrics.parquet")
    columns = {
        "probe": Column("text"),
        "seed": Column("integer"),
        "samples": Column("integer", "of the test split"),
        "accuracy": Column("number", unit="share"),
        "chance": Column("number", unit="share"),
        "above_chance": Column("number", "(accuracy − chance) / (1 − chance)"),
        **INTERVAL,
        "train_accuracy": Column("number", "at the best epoch", "share"),
        "validation_accuracy": Column("number", "at the best epoch", "share"),
        "best_epoch": Column("integer", "0 is the start"),
        "epochs": Column("integer"),
        "code_length": Column(
            "number", "of the online code; first seed of trained probes", "bits a training sample"
        ),
        "uniform_length": Column("number", "with all slots alike", "bits a training sample"),
        "final_train_loss": Column("number", unit="nats"),
        "train_loss_change": Column("number", "relative, over the last epochs"),
        "converged": Column("boolean", "whether the curve had come to its end"),
        "constant_features": Column("integer", "features without variance"),
        "label": Column("text", "`constant` where nothing can be read"),
        "scorer": Column(
            "text",
            "of a lexical probe; of `lexical` the one that ranks validation samples best",
        ),
    }


@dataclass(frozen=True)
class ProbeCurves(ProbeOutcomes):
    """The course of the trained probes' fits."""

    template = ProbeOutcomes.template.replace(".parquet", ".curves.parquet")
    columns = {
        "probe": Column("text"),
        "seed": Column("integer"),
        "epoch": Column("integer", "from 1"),
        "train_loss": Column("number", "what is minimised", "nats"),
        "validation_loss": Column("number", "cross-entropy", "nats"),
        "validation_accuracy": Column("number", unit="share"),
    }


@dataclass(frozen=True)
class ProbeCodes(ProbeOutcomes):
    """What the online code takes for the first seed's training samples, in the order in which they
    are coded."""

    template = ProbeOutcomes.template.replace(".parquet", ".codes.parquet")
    columns = {
        "probe": Column("text"),
        "seed": Column("integer"),
        "sample_id": Column("text"),
        "query_id": Column("text"),
        "bits": Column(
            "number",
            "of the slot of the positive: log2 N in the first block, then by the probe fitted to "
            "the blocks before",
            "bits",
        ),
    }


@dataclass(frozen=True)
class ProbeSizes(ProbeOutcomes):
    """Accuracy over the size of the first seed's training split, on the test split."""

    panels = ("page.sizes",)
    template = ProbeOutcomes.template.replace(".parquet", ".sizes.parquet")
    columns = {
        "probe": Column("text"),
        "seed": Column("integer"),
        "portion": Column("number", "of the training split; 1 is the whole", "share"),
        "train_samples": Column("integer"),
        "samples": Column("integer", "of the test split"),
        "accuracy": Column("number", unit="share"),
        "chance": Column("number", unit="share"),
        "above_chance": Column("number", "(accuracy − chance) / (1 − chance)"),
        **INTERVAL,
    }

    @classmethod
    def shown(cls, config: Config) -> Iterable[ProbeSizes]:
        return [
            cls(grid.retriever, grid.dataset, layer, passages)
            for grid in config.probed()
            if grid.block.portions
            for layer in grid.layers
            for passages in grid.passages
        ]

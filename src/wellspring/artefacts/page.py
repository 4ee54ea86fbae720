"""The page of a study: what it found, in one HTML file that carries its provenance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from wellspring import specs
from wellspring.artefacts.attributions import ActivationCounts, scores_of
from wellspring.artefacts.base import RESULTS, Artefact, Needed
from wellspring.artefacts.datasets import Samples, Texts
from wellspring.artefacts.findings import Findings, curves_of, probes_of
from wellspring.artefacts.models import Model, TrainedModel
from wellspring.artefacts.verdicts import Cautions, Claims, Ledger
from wellspring.config import Config


@dataclass(frozen=True)
class Page(Artefact):
    """The study's page: question and answer, what was studied, a table, charts and texts."""

    template = "studies/{study}/index.html"
    rule = "page"
    Slice = specs.PageSpec
    step = "page"
    study: str

    @classmethod
    def asked(cls, config: Config) -> Iterable[Artefact]:
        return [cls(config.study.name)]

    def spec(self, config: Config) -> specs.PageSpec:
        return specs.page(
            config, [each.main_file.removeprefix(f"{RESULTS}/") for each in _shown(config)]
        )

    def needs(self, config: Config) -> Mapping[str, Needed]:
        sides = list(ActivationCounts.shown(config))
        datasets = config.datasets_used()
        trained = config.trained_models()
        models = dict.fromkeys(Model.of_encoder(config, name) for name in config.encoders_used())
        models |= dict.fromkeys(map(Model, trained))
        return {
            "claims": Claims(self.study),
            "ledger": Ledger(self.study),
            "cautions": Cautions(self.study),
            "findings": Findings(self.study),
            "panels": _shown(config),
            "published": curves_of(config),
            "models": list(models),
            "trained": list(map(TrainedModel, trained)),
            "texts": [Texts(dataset) for dataset in datasets],
            "samples": [Samples(dataset) for dataset in datasets],
            "probes": probes_of(config),
            "activations": sides,
            "scores": [shard for side in sides for shard in scores_of(config, **vars(side))],
        }

    @classmethod
    def science(cls, spec: specs.PageSpec) -> Sequence[str]:
        sections = [
            "page.answer",
            "page.choices",
            "page.ledger",
            "page.searching",
            "page.shell",
            "page.studied",
            "page.texts",
        ]
        return [*sections, *builders()]


def _shown(config: Config) -> list[Artefact]:
    """The files that some panel shows."""
    return [each for kind in _drawn() for each in kind.shown(config)]


def builders() -> list[str]:
    """The modules that make panels, each once, in the order of the page."""
    return list(dict.fromkeys(name for kind in _drawn() for name in kind.panels))


def _drawn() -> list[type[Artefact]]:
    """The kinds with panels; first those that a study has one file of."""
    # Imported late: the registry lists this module, too.
    from wellspring.artefacts.registry import kinds

    return sorted(
        (kind for kind in kinds() if kind.panels),
        key=lambda kind: not kind.template.startswith("studies/"),
    )

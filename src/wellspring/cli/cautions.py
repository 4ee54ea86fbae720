"""cautions: what a reader of a study should be careful of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wellspring import specs
from wellspring.artefacts.attributions import ActivationTexts
from wellspring.artefacts.datasets import Lexical, Samples
from wellspring.artefacts.evidence import Evidence
from wellspring.artefacts.findings import Decentralisation, Findings, Published, Training
from wellspring.artefacts.scores import QUIET
from wellspring.artefacts.tables import Leakage
from wellspring.artefacts.verdicts import Cautions
from wellspring.cli.step import Job, gathering, step


@step(Cautions, "table")
@gathering
def cautions(job: Job, table: Path, results: Path) -> None:
    """Gather the cautions on a study from its findings and from the facts of its samples and
    activations, into TABLE."""
    from wellspring.findings.cautions import gathered

    gathered_rows = gathered(_rows(results, job.spec))
    for caution, dataset, sentence in gathered_rows.select(
        "caution", "dataset", "sentence"
    ).iter_rows():
        job.say(": ".join(filter(None, (caution, dataset, sentence))))
    Cautions.write(table, gathered_rows, job.provenance("polars"))


def _rows(results: Path, spec: specs.CautionsSpec) -> Iterator[dict[str, object]]:
    from wellspring.findings import cautions as science

    study = spec.study
    for dataset in spec.datasets:
        samples, negatives = Samples(dataset).at(results), spec.negatives[dataset]
        facts = dict(Samples.check(samples).facts)
        if facts["oversampled"]:
            drawn = Samples.read(samples, columns=["negative_ids"])
            facts["oversampled"] = science.repeating(drawn, negatives)
        yield from science.of_samples(dataset, facts, facts.pop("source"), negatives)
    for dataset in spec.probed:
        silent = Lexical.check(Lexical(dataset).at(results)).facts.get(Lexical.SILENT, ())
        yield from science.of_lexical(dataset, silent)
    yield from science.of_mining(spec.miners)
    findings = Findings.read(Findings(study).at(results))
    yield from science.of_probes(findings, Training.read(Training(study).at(results)))
    yield from science.of_comparisons(findings, spec.alpha)
    if spec.published:
        yield from science.of_published(Published.read(Published(study).at(results)))
    if spec.grid:
        quiet = {}
        for cell in spec.grid:
            artefact = ActivationTexts(cell.attribution, cell.encoder, cell.dataset, cell.side)
            facts = ActivationTexts.check(artefact.at(results), cell.activations).facts
            where = (cell.attribution, cell.dataset, cell.retriever, cell.side)
            quiet[where] = facts.get(QUIET, 0)
        attributed = Decentralisation.read(Decentralisation(study).at(results))
        yield from science.of_attributions(attributed, quiet)
    if spec.evidence:
        yield from science.of_evidence(Evidence.read(Evidence(study).at(results)))
    for learned, models in spec.learned.items():
        for dataset in spec.datasets:
            counts = Leakage.read(Leakage(study, learned, dataset).at(results))
            yield from science.of_leakage(dataset, learned, models, counts.iter_rows(named=True))
    yield from science.of_pairs(spec.fresh, spec.partly)

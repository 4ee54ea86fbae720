"""Which code a step's numbers come from, as one short hash.

Snakemake does not see edits in imported modules, so each rule passes this hash in `params.code`.
It ignores comments, docstrings and layout, and covers only science modules: an edit reruns a step
when, and only when, it can change the step's numbers.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

from wellspring.errors import WellspringError

PACKAGE = Path(__file__).parent

LEAVES = frozenset(
    {
        "config",
        "specs",
        "targets",
        "inputs",
        "shards",
        "errors",
        "fingerprint",
        "progress",
        "downloads",
        "cli",
    }
)
"""Plumbing that moves numbers and never makes them: outside every fingerprint."""

SELECTED = (
    "randomness",
    "datasets.splits",
    "attributions.selection",
    "pooling",
    "embeddings",
    "models.load",
    "models.tokenizer",
    "models.adapters",
    "models.placement",
    "models.architecture",
    "models.{variant}",
)
FUSED = (
    "attributions.quadrature",
    "attributions.suffix",
    "attributions.targets",
    "attributions.value",
    "attributions.fused",
)
ABLATED = ("attributions.replacement", "attributions.ablation")

STEPS: dict[str, tuple[str, ...]] = {
    "texts": (
        "randomness",
        "datasets.records",
        "datasets.arrays",
        "datasets.collection",
        "datasets.files",
        "datasets.parquet",
        "datasets.{variant}",
    ),
    "samples": (
        "randomness",
        "datasets.samples",
        "datasets.splits",
        "datasets.negatives",
        "datasets.lexical",
    ),
    "qrels": ("randomness", "datasets.splits"),
    "lexical": ("datasets.lexical",),
    "model": (
        "randomness",
        "models.sources",
        "models.conventions",
        "models.weights",
        "models.load",
        "models.tokenizer",
        "models.adapters",
        "models.placement",
        "models.architecture",
        "models.{variant}",
    ),
    "embed": (
        "pooling",
        "embeddings",
        "models.load",
        "models.tokenizer",
        "models.adapters",
        "models.placement",
        "models.architecture",
        "models.{variant}",
    ),
    "probe": (
        "randomness",
        "intervals",
        "datasets.splits",
        "probes",
        "probes.assembly",
        "probes.candidates",
        "probes.concat",
        "probes.credit",
        "probes.data",
        "probes.features",
        "probes.frames",
        "probes.grading",
        "probes.interaction",
        "probes.job",
        "probes.kinds",
        "probes.metrics",
        "probes.portions",
        "probes.questions",
        "probes.scorer",
        "probes.tasks",
        "probes.training",
    ),
    "attribute": (*SELECTED, *FUSED),
    "explain": (*SELECTED, *FUSED, "attributions.methods", "attributions.relevance"),
    "activations": ("activations",),
    "ablate": (*SELECTED, *ABLATED),
    "remove": (
        *SELECTED,
        *ABLATED,
        "attributions.quadrature",
        "attributions.suffix",
        "attributions.targets",
        "attributions.value",
        "attributions.removal",
    ),
    "similarity": ("randomness", "intervals", "findings.similarity"),
    "findings": (
        "randomness",
        "intervals",
        "findings.statistics",
        "findings.outcomes",
        "findings.table",
    ),
    "published": ("findings.statistics", "findings.published"),
    "agreement": ("randomness", "findings.agreement"),
    "decentralisation": ("intervals", "findings.cells", "findings.decentralisation"),
    "claims": (
        "randomness",
        "intervals",
        "findings.statistics",
        "findings.outcomes",
        "findings.cells",
        "findings.claims",
        "findings.consistency",
        "findings.activity",
        "findings.verdicts",
    ),
    "cautions": ("findings.cautions",),
    "heatmap": ("figures.heatmaps", "figures.binning", "figures.tables", "figures.style"),
    "decentralisation_figure": (
        "figures.attributions",
        "figures.correlations",
        "figures.fidelity",
        "figures.sanity_checks",
        "figures.tables",
        "figures.style",
    ),
    "figure": (
        "figures.tables",
        "figures.panels",
        "figures.style",
        "findings.statistics",
        "findings.published",
    ),
}
"""Step to the modules of its science; `{variant}` is the dataset's format or the architecture (none
where the configuration itself defines it)."""


def modules(step: str, variant: str | None = None) -> tuple[str, ...]:
    """The step's modules, relative to the package."""
    names = (name for name in STEPS[step] if variant is not None or "{variant}" not in name)
    return tuple(name.format(variant=variant) for name in names)


@cache
def code(step: str, variant: str | None = None) -> str:
    """16 hexadecimal digits for the step's science, the same in every Python version."""
    digest = hashlib.sha256()
    for name in modules(step, variant):
        digest.update(f"{name}\0{_meaning(_file(name))}\0".encode())
    return digest.hexdigest()[:16]


def check(step: str, variant: str | None, given: str | None) -> None:
    """Refuse to run when the code is no longer what the job was planned with."""
    if given is not None and given != code(step, variant):
        raise WellspringError(
            f"{step}: the code changed after this job was planned "
            f"(planned {given}, now {code(step, variant)}): start snakemake again"
        )


def _file(name: str) -> Path:
    path = PACKAGE.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _meaning(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        # Strings that stand alone are docstrings, of attributes too.
        kept = [
            child
            for child in body
            if not (
                isinstance(child, ast.Expr)
                and isinstance(child.value, ast.Constant)
                and isinstance(child.value.value, str)
            )
        ]
        node.body = kept or [ast.Pass()]
    # Not ast.dump: its text differs between Python versions.
    return ast.unparse(tree)

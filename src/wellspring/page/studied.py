"""What was studied: models, encoders, datasets, splits, negatives, settings, and what it cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from wellspring.config import Recipe
from wellspring.config.vocabulary import LANGUAGE, Side
from wellspring.page.panels import Settings, Source, Tables
from wellspring.page.words import Listing, listed
from wellspring.plurals import counted
from wellspring.specs import PageSpec, StudiedModel

COUNTS = (
    "queries",
    "passages",
    "positives",
    "hard_negatives",
    "judgements_read",
    "files_parsed",
    "samples",
    "train",
    "validation",
    "test",
    "test_candidates",
)
"""Facts that say what there is. All others say what was lost, repeated or shared."""
NAMES = {"hard_negatives": "hard negatives given by the source"}
"""Facts whose key does not say enough."""

Facts = Mapping[str, Any]


def build(
    spec: PageSpec,
    described: Mapping[str, Facts],
    trained: Mapping[str, Facts],
    facts: Mapping[str, Facts],
    tables: Tables,
    settings: Settings,
) -> list[Listing]:
    """Everything that was studied.

    Args:
        described: what each model.json says.
        trained: the facts of each trained.json.
        facts: of each dataset's samples, with those of the source under `source`.
    """
    return [
        retrievers(spec),
        models(spec, described, settings),
        *training(spec, trained, settings),
        encoders(spec),
        *datasets(spec, facts, tables.get("findings"), settings),
        drawn(spec),
        *grids(spec),
        changed(spec),
    ]


def models(spec: PageSpec, described: Mapping[str, Facts], settings: Settings) -> Listing:
    """Each model with its source and the digests of its weights.

    described: what each model.json says.
    """
    rows, sources = [], []
    for name, model in spec.models.items():
        digests = sorted(described[name]["weights"].items())
        shown = "; ".join(f"{file} {digest}" for file, digest in digests)
        blocks = str(model.layers)
        rows.append((name, model.source, weights(model), model.architecture, blocks, shown))
        file = f"models/{name}/model.json"
        sources.append(Source(file, ("weights", "digest"), settings.command(file)))
    headings = ("model", "source", "weights", "architecture", "blocks", "sha256 of the weights")
    return Listing("Models", headings, tuple(rows), sources=tuple(sources))


def weights(model: StudiedModel) -> str:
    """What a model's weights are."""
    if model.recipe:
        return f"those of {model.source.partition(':')[2]}, trained here"
    if model.share:
        run = model.source.partition(":")[2]
        return f"those of {run} when {100 * model.share:g} % of its training was done"
    if not model.fresh:
        return (
            f"as published, with the adapter {model.adapter}" if model.adapter else "as published"
        )
    if (own := model.tokenizer) is not None:
        texts = ", ".join(own.datasets)
        origin = own.source or f"at most {own.vocabulary:,} tokens, trained on {texts}"
        return f"random, never trained; another tokenizer: {origin}"
    if model.trained_blocks is None:
        return "random, never trained"
    base, first = model.source.partition(":")[2], model.trained_blocks + 1
    kept = f"the first {counted(model.trained_blocks, 'block')} and " if first > 1 else ""
    return (
        f"{kept}what is no block as in {base}; blocks {first} to {model.layers} random, never "
        "trained"
    )


def training(spec: PageSpec, trained: Mapping[str, Facts], settings: Settings) -> Iterator[Listing]:
    """How each model of the study that was trained here was trained."""
    rows, sources = [], []
    for name, facts in trained.items():
        model = spec.models[name]
        recipe, quality = model.recipe, facts["quality"]
        if recipe is None:
            continue
        seen = "texts" if recipe.stage in LANGUAGE else "pairs"
        share = facts["trained_parameters"] / facts["parameters"]
        rows.append(
            (
                name,
                model.source.partition(":")[2],
                learned_from(recipe),
                objective(recipe),
                f"{facts['trained_parameters']:,} of {facts['parameters']:,} ({100 * share:.2g} %)"
                + (f", LoRA of rank {recipe.lora.rank}" if recipe.lora else ""),
                f"{counted(facts['steps'], 'step')}, {facts['ledger']['pairs']:,} {seen}",
                f"{facts['ledger']['total_flops']:.3g}",
                f"{quality['measure']} "
                + " → ".join(
                    "–" if each is None else f"{each:.3f}"
                    for each in (quality["before"], quality["after"])
                ),
            )
        )
        file = f"models/trained/{name}/trained.json"
        sources.append(Source(file, ("facts",), settings.command(file)))
    headings = (
        "model",
        "made of",
        "learned from",
        "objective",
        "trained parameters",
        "seen",
        "floating-point operations",
        "on the validation split",
    )
    if rows:
        yield Listing("Training", headings, tuple(rows), sources=tuple(sources))


def learned_from(recipe: Recipe) -> str:
    """What a recipe learns from, in a few words."""
    return (
        ("crops of " if recipe.stage == "contrastive-pretraining" else "")
        + ", ".join(recipe.datasets)
        + (f", {recipe.fraction:.3g} of the queries" if recipe.fraction < 1 else "")
    )


def objective(recipe: Recipe) -> str:
    """What a recipe minimises, in a few words."""
    if recipe.stage in LANGUAGE:
        hidden = "" if recipe.stage == "clm" else f", {100 * recipe.mask:g} % hidden"
        return f"{recipe.stage} over {recipe.batch:,} texts a batch{hidden}"
    negatives = counted(recipe.negatives, "hard negative")
    return (
        f"{recipe.objective} over {recipe.batch:,} queries a batch with {negatives} each; "
        + recipe.similarity
        + ("" if recipe.objective == "margin-mse" else f" / {recipe.temperature:g}")
        + (f"; teacher {recipe.teacher} / {recipe.teacher_temperature:g}" if recipe.teacher else "")
        + ("; sparse vectors" if recipe.paradigm == "sparse" else "")
        + (" of probabilities" if recipe.term_weights == "probabilities" else "")
    )


def retrievers(spec: PageSpec) -> Listing:
    """Each retriever with its encoders and what it is compared with."""
    rows = []
    for name, encoders in spec.retrievers.items():
        rows.append(
            (
                name,
                encoders["query"],
                encoders["passage"],
                spec.pairs.get(name, "–"),
                _trained(spec, encoders),
            )
        )
    headings = ("retriever", "query encoder", "passage encoder", "compared with", "weights")
    return Listing("Retrievers", headings, tuple(rows))


def _trained(spec: PageSpec, encoders: Mapping[Side, str]) -> str:
    """Which weights of a retriever were trained, side by side where the sides differ."""
    told = {}
    for side, encoder in encoders.items():
        model = spec.models[spec.encoders[encoder][side].model]
        if not model.fresh:
            told[side] = "trained"
        elif model.trained_blocks is None:
            told[side] = "never trained"
        else:
            told[side] = f"blocks above {model.trained_blocks} never trained"
    if len({*told.values()}) == 1:
        return next(iter(told.values()))
    return "; ".join(f"{side}: {weights}" for side, weights in told.items())


def encoders(spec: PageSpec) -> Listing:
    """How texts become vectors."""
    rows = []
    for name, sides in spec.encoders.items():
        for side, encoding in sides.items():
            rows.append(
                (
                    name,
                    side,
                    encoding.model,
                    encoding.pooling,
                    encoding.template,
                    counted(encoding.length, "token"),
                    "yes" if encoding.normalise else "no",
                    encoding.dtype,
                )
            )
    headings = ("encoder", "side", "model", "pooling", "template", "cut at", "normalised", "dtype")
    return Listing("Encoders", headings, tuple(rows))


def datasets(
    spec: PageSpec, facts: Mapping[str, Facts], findings: pl.DataFrame | None, settings: Settings
) -> list[Listing]:
    """Two listings a dataset: what there is, and what was lost, repeated or shared.

    facts: each dataset's, of its samples, with those of the source under `source`.
    """
    listings = []
    for name, of_samples in facts.items():
        whole = {**of_samples.get("source", {}), **of_samples}
        whole.pop("source", None)
        file = f"datasets/{name}/samples.parquet"
        source = (Source(file, ("facts in its metadata",), settings.command(file)),)
        counts = [(_words(key), _count(whole[key])) for key in COUNTS if key in whole]
        counts += _tested(name, findings)
        lost = [(_words(key), _count(value)) for key, value in whole.items() if key not in COUNTS]
        headings = ("what", "how many")
        caption = f"Dataset {name} ({spec.datasets[name].format})"
        listings.append(Listing(caption, headings, tuple(counts), sources=source))
        caption = f"What was lost, repeated or shared in {name}"
        listings.append(Listing(caption, headings, tuple(lost), sources=source))
    return listings


def _tested(dataset: str, findings: pl.DataFrame | None) -> list[tuple[str, str]]:
    """How many samples are tested over all seeds."""
    if (
        findings is None
        or (rows := findings.filter(finding="accuracy", dataset=dataset)).is_empty()
    ):
        return []
    samples, queries, seeds = rows.select(pl.max("samples", "queries", "seeds")).row(0)
    if samples is None or queries is None:
        return []
    over = f" over {seeds} seeds" if seeds and seeds > 1 else ""
    return [
        (f"test samples{over}", _count(samples)),
        (f"distinct test queries{over}", _count(queries)),
    ]


def drawn(spec: PageSpec) -> Listing:
    """How negatives were chosen and samples split, a row a dataset."""
    rows = []
    for name, dataset in spec.datasets.items():
        rows.append((name, _negatives(dataset.negatives), _splits(dataset.splits)))
    return Listing("Negatives and splits", ("dataset", "negatives", "splits"), tuple(rows))


def _negatives(given: Facts) -> str:
    count, mined, depth = given["count"], given["mined"], given["depth"]
    if mined == "random":
        drawn = counted(depth, "random passage")
        chosen = f"{drawn} of the corpus a query, {count} of them for a sample"
    elif mined:
        chosen = (
            f"{count} a sample, drawn from the first {counted(depth, 'passage')} that {mined} finds"
        )
    else:
        chosen = f"{count} a sample, of those that the source names"
    return f"{chosen} (seed {given['seed']})"


def _splits(given: Facts) -> str:
    redrawn = (
        "each seed of the probes draws its own"
        if given["redrawn"]
        else "one split for all seeds of the probes"
    )
    return (
        f"by {given['by']}; test {given['test']:g}, validation {given['validation']:g} of the "
        f"rest, where the source publishes none; passages {given['passages']}; {redrawn} "
        f"(seed {given['seed']})"
    )


def grids(spec: PageSpec) -> list[Listing]:
    """What was probed, and what was attributed."""
    listings = []
    if spec.probed:
        rows = tuple(
            (
                grid.retriever,
                grid.dataset,
                listed(map(str, grid.layers), 40),
                listed(map(str, grid.passages)),
                listed(map(str, grid.seeds)),
            )
            for grid in spec.probed
        )
        headings = ("retriever", "dataset", "layers (0: embeddings)", "passages", "seeds")
        listings.append(Listing("Probes", headings, rows))
    if spec.attributed:
        rows = tuple(
            (
                side.attribution,
                side.retriever,
                side.dataset,
                side.side,
                side.summary.target,
                side.method,
                listed(map(str, side.summary.layers), 40),
            )
            for side in spec.attributed
        )
        headings = ("attribution", "retriever", "dataset", "side", "target", "method", "blocks")
        listings.append(Listing("Attributions", headings, rows))
    return listings


def changed(spec: PageSpec) -> Listing:
    """Every setting that is not the default of its key."""
    note = "" if spec.changed else "Every setting is the default of its key."
    return Listing(
        "Settings that differ from the defaults",
        ("key", "value", "default"),
        tuple(spec.changed),
        note,
    )


def cost(jobs: pl.DataFrame) -> Listing:
    """What the study has cost on the machine whose logs these are, by rule.

    jobs: rule, seconds, peak_memory_mb, device; a row a job.
    """
    by_rule = (
        jobs.group_by("rule", maintain_order=True)
        .agg(
            jobs=pl.len(),
            seconds=pl.sum("seconds"),
            memory=pl.max("peak_memory_mb"),
            device=pl.col("device").unique().sort().str.join(", "),
        )
        .sort("seconds", descending=True)
    )
    rows = [
        (rule, f"{count:,}", f"{seconds:,.1f}", f"{memory:,.0f}", device)
        for rule, count, seconds, memory, device in by_rule.iter_rows()
    ]
    total = (
        "all",
        f"{jobs.height:,}",
        f"{jobs['seconds'].sum():,.1f}",
        f"{jobs['peak_memory_mb'].max() or 0:,.0f}",
        "",
    )
    note = (
        "Seconds are those of each job by itself, added up: jobs run side by side. They come from "
        "the last lines of results/logs on this machine when the page was made, and differ from "
        "run to run."
    )
    headings = ("rule", "jobs", "seconds", "peak memory (MB)", "device")
    return Listing("What it cost", headings, (*rows, total) if rows else (), note)


def _words(key: str) -> str:
    return NAMES.get(key, key.replace("_", " "))


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)

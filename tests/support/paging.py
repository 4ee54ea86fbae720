"""Tables of a whole study as its page reads them, made up on the grids of a configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import polars as pl

from wellspring.activations import COUNTS
from wellspring.config import LAYERLESS, Config
from wellspring.config.attributions import MATCHED
from wellspring.findings import decentralisation, table
from wellspring.page import heat
from wellspring.page.panels import Settings
from wellspring.probes.data import TRAINED
from wellspring.randomness import generator

WIDTH = 12
"""Neurons of a made-up sub-layer."""


def settings(config: Config) -> Settings:
    """What the page knows of a study beside its tables."""
    return Settings(
        study=config.study.name,
        probe=config.drawn_probes()[0],
        pairs={**config.pairs(), **config.attributed_pairs()},
        twins=config.twins(),
        encoders={name: config.retrievers[name].encoders for name in config.retrievers},
        activity={"normaliser": "network-max", "excluded_outliers": 0, "threshold": 0.1},
    )


def tables(config: Config) -> dict[str, pl.DataFrame]:
    """All tables that panels are made of, with numbers that a seed draws."""
    findings = _findings(config)
    made = {
        "findings": findings,
        "training": _training(config),
        "probe_sizes": _sizes(config),
        "power": _power(findings),
    }
    if config.attributed():
        made["decentralisation"] = _decentralisation(config)
        made["activation_counts"] = tiles(_counts(config))
    if config.study.published:
        made["curves"] = curves(config)
    return made


def cross(columns: Mapping[str, Sequence | pl.Series]) -> pl.DataFrame:
    """A row for each combination of values."""
    frame = pl.DataFrame({"": [0]})
    for name, values in columns.items():
        frame = frame.join(pl.DataFrame({name: values}), how="cross")
    return frame.drop("")


def drawn(frame: pl.DataFrame, *ids: str | int) -> pl.DataFrame:
    """The same with estimates, and intervals around them, that look like no round numbers."""
    random = generator(7, *ids)
    estimate = pl.Series("estimate", random.random(frame.height))
    width = pl.Series("width", 0.01 + 0.04 * random.random(frame.height))
    return frame.with_columns(estimate, low=estimate - width, high=estimate + width)


def schemed(frame: pl.DataFrame, schema: Mapping) -> pl.DataFrame:
    """The frame with the columns of a schema; null for those that it lacks."""
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in schema.items()
    )


def _fitted(kinds: Sequence[str]) -> list[str]:
    """The kinds that are fitted."""
    return [kind for kind in kinds if kind in TRAINED]


def _findings(config: Config) -> pl.DataFrame:
    """Accuracies, code lengths, differences and controls, and similarities."""
    frames = []
    for retriever, dataset, layers, passages, block in config.probed():
        whole: list[int | None] = [*layers]
        names = {"dataset": [dataset], "retriever": [retriever]}
        layered = [kind for kind in block.kinds if kind not in LAYERLESS]
        grid = {**names, "layer": pl.Series(whole, dtype=pl.Int64), "passages": passages}
        measures = {"finding": ["accuracy"], "measure": ["accuracy", "above_chance", "chance"]}
        frames.append(cross({**grid, "probe": layered, **measures}))
        level = {**grid, "layer": pl.Series([None], dtype=pl.Int64)}
        frames.append(
            cross(
                {
                    **level,
                    "probe": [kind for kind in block.kinds if kind in LAYERLESS],
                    **measures,
                }
            )
        )
        coded = {"finding": ["code"], "measure": ["code_length", "compression"]}
        frames.append(cross({**grid, "probe": _fitted(block.kinds), **coded}))
        tested = {"measure": ["difference"], "test": ["sign-flip max-T"], "p_adjusted": [0.04]}
        if (other := config.pairs().get(retriever)) is not None:
            differences = {"finding": ["difference"], "compared_with": [other], **tested}
            frames.append(cross({**grid, "probe": layered, **differences}))
            alike = {"finding": ["similarity"], "side": ["query", "passage"]}
            frames.append(
                cross({**names, "layer": layers, "measure": ["cka"], **alike}).with_columns(
                    compared_with=pl.lit(other)
                )
            )
        for probe, compared in table.CONTROLS:
            if {probe, compared} <= {*layered}:
                control = {"finding": ["control"], "compared_probe": [compared], **tested}
                frames.append(cross({**grid, "probe": [probe], **control}))
        alone = {"finding": ["similarity"], "side": ["query", "passage"]}
        frames.append(cross({**names, "layer": layers, "measure": ["anisotropy"], **alone}))
    rows = drawn(pl.concat(frames, how="diagonal_relaxed"), "findings")
    rows = rows.with_columns(detectable=pl.col("high") - pl.col("low"), p_value="p_adjusted")
    rows = rows.with_columns(samples=pl.lit(1928), queries=pl.lit(1855), seeds=pl.lit(3))
    rows = rows.with_columns(significant=pl.when(pl.col("test").is_not_null()).then(True))
    return schemed(rows, table.SCHEMA)


def _fits(config: Config, name: str, further: Callable) -> pl.DataFrame:
    """Estimates of every fitted probe. further: of a block, more columns with their values."""
    frames = [
        cross(
            {
                "retriever": [retriever],
                "dataset": [dataset],
                "layer": layers,
                "passages": passages,
                "probe": _fitted(block.kinds),
                **further(block),
            }
        )
        for retriever, dataset, layers, passages, block in config.probed()
    ]
    return drawn(pl.concat(frames), name)


def _training(config: Config) -> pl.DataFrame:
    """Metrics of every fit."""
    rows = _fits(config, "training", lambda block: {"seed": block.seeds})
    return rows.rename({"estimate": "accuracy"}).with_columns(
        train_accuracy=pl.col("accuracy") + 0.1,
        validation_accuracy=pl.col("accuracy") + 0.05,
        best_epoch=pl.lit(40),
        converged=pl.lit(True),
    )


def _sizes(config: Config) -> pl.DataFrame:
    """Accuracy over the training split."""
    rows = _fits(config, "sizes", lambda block: {"portion": [*block.portions, 1.0]})
    rows = rows.rename({"estimate": "accuracy"})
    return rows.with_columns(
        seed=pl.lit(0),
        train_samples=(2000 * pl.col("portion")).cast(pl.Int64),
        samples=pl.lit(1000),
        chance=1 / pl.col("passages"),
    )


def _power(findings: pl.DataFrame) -> pl.DataFrame:
    """Power of the differences."""
    from wellspring.findings.power import power

    return power(findings, [0.01, 0.02, 0.05])


def curves(config: Config) -> pl.DataFrame:
    """Published points of every second layer."""
    frames = [
        cross(
            {
                "dataset": [dataset],
                "retriever": [retriever],
                "curve": [config.curve(retriever)],
                "passages": passages,
                "layer": layers[::2],
                "samples": [10_000],
            }
        )
        for retriever, dataset, layers, passages, _ in config.probed()
    ]
    return drawn(pl.concat(frames), "curves").rename({"estimate": "accuracy"}).drop("low", "high")


def _active(thresholds: Mapping[str, Sequence[float]], outliers: Sequence[int]) -> pl.DataFrame:
    """The settings of what counts as active."""
    frames = [
        cross({"normaliser": [name], "excluded_outliers": outliers, "threshold": values})
        for name, values in thresholds.items()
    ]
    return pl.concat(frames, how="vertical_relaxed").cast({"threshold": pl.Float64})


def _decentralisation(config: Config) -> pl.DataFrame:
    """Levels, changes, ablations and their contrasts, agreement."""
    frames = []
    for attribution, retriever, dataset, block in config.attributed():
        other = config.attributed_pairs().get(retriever)
        where = {
            "attribution": [attribution],
            "dataset": [dataset],
            "retriever": [retriever],
            "side": ["query", "passage"],
            "sublayer": ["intermediate", "output"],
        }
        active = _active(block.thresholds, block.excluded_outliers)
        encoder = config.retrievers[retriever].query
        layers = config.attributed_layers(attribution, encoder, dataset)
        level = {**where, "finding": ["level"], "layer": layers}
        shares = cross({**level, "measure": ["share_active"]}).join(active, how="cross")
        frames.append(shares)
        plain = ["effective_number", "gini", "residual", "signal"]
        frames.append(cross({**level, "measure": plain}))
        effects = ["change", "length_change", "margin_change", "first_change"]
        ablated = {**where, "measure": effects, "neurons": block.ablate.neurons, "by": ["zero"]}
        choices = [name for pair in MATCHED.items() for name in pair]
        frames.append(cross({**ablated, "finding": ["ablation"], "choice": choices}))
        for choice, matched in MATCHED.items():
            contrast = {"finding": ["contrast"], "choice": [choice], "other": [matched]}
            frames.append(cross({**ablated, **contrast}))
        if other is not None:
            regions = {"region": ["all", "early", "late"], "compared_with": [other]}
            change = {"finding": ["relative_change"], "measure": ["share_active"]}
            frames.append(cross({**where, **regions, **change}).join(active, how="cross"))
            alike = {"finding": ["agreement"], "other": [other]}
            measures = ["correlation", "correlation_shifted", "correlation_excess"]
            frames.append(cross({**where, **regions, **alike, "measure": measures}))
    rows = drawn(pl.concat(frames, how="diagonal_relaxed"), "decentralisation")
    rows = rows.with_columns(texts=pl.lit(500), detectable=pl.col("high") - pl.col("low"))
    return schemed(rows, decentralisation.SCHEMA)


def tiles(counts: pl.DataFrame) -> pl.DataFrame:
    """What the page keeps of the counts of several files."""
    files = counts.partition_by(heat.PLACE)
    return pl.concat([heat.condensed(file.lazy()) for file in files])


def _counts(config: Config) -> pl.DataFrame:
    """For how many texts neurons are active; narrow sub-layers, as bins are what is shown."""
    frames = {}
    for attribution, retriever, dataset, block in config.attributed():
        for side, encoder in config.retrievers[retriever].encoders.items():
            where = {
                "attribution": [attribution],
                "encoder": [encoder],
                "dataset": [dataset],
                "side": [side],
                "layer": config.attributed_layers(attribution, encoder, dataset),
                "sublayer": ["intermediate", "output"],
                "neuron": list(range(WIDTH)),
            }
            active = _active(block.thresholds, block.excluded_outliers)
            frames[tuple(map(str, where.values()))] = cross(where).join(active, how="cross")
    rows = pl.concat(frames.values(), how="vertical_relaxed")
    active = generator(7, "counts").integers(0, 500, rows.height)
    names = ["attribution", "encoder", "dataset", "side"]
    rows = rows.with_columns(texts=pl.lit(500), active=pl.Series(active))
    return rows.select(*names, *(pl.col(name).cast(kind) for name, kind in COUNTS.items()))

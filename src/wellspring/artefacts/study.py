"""A finished study, opened to be read: what `wellspring.open` gives."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from wellspring import shards, specs
from wellspring.artefacts import lookup, provenance, scores
from wellspring.artefacts.attributions import AttributionShard
from wellspring.artefacts.base import Artefact
from wellspring.artefacts.datasets import Samples, Texts
from wellspring.artefacts.embeddings import EmbeddingShard
from wellspring.artefacts.findings import Findings
from wellspring.artefacts.probes import ProbeOutcomes
from wellspring.artefacts.registry import kinds
from wellspring.artefacts.verdicts import Cautions, Claims
from wellspring.config.vocabulary import Side, Split
from wellspring.errors import WellspringError

if TYPE_CHECKING:
    from wellspring.artefacts.plan import Plan

SHOWN = 6
"""Values that are listed one by one."""


class Vectors(NamedTuple):
    """The vectors of a side at one layer; can be unpacked as `ids, values`."""

    ids: list[str]
    """Of the texts, in the order of the rows."""
    values: np.ndarray
    """float32 [texts, width]."""


class Study:
    """A study's results, read only.

    Tables are polars frames. Every file is checked when it is read: that it is whole, that it is
    of the kind and the place that its path says, and, where a configuration was given, that it is
    what this asks for. Errors are `wellspring.errors.WellspringError` in one line; StaleArtefact
    where a file cannot be trusted.

    Datasets, embeddings, probes and attributions are shared by all studies of a folder, and a study
    reads all that lie there.
    """

    def __init__(self, results: Path, name: str, plan: Plan | None = None) -> None:
        """plan: what the files have to be; None: no configuration is compared."""
        self.results, self.name, self._plan = results, name, plan

    @property
    def findings(self) -> pl.DataFrame:
        """What the probes found, a row a number with its interval and test."""
        return self._own(Findings)

    @property
    def claims(self) -> pl.DataFrame:
        """The verdicts on the published claims."""
        return self._own(Claims)

    @property
    def cautions(self) -> pl.DataFrame:
        """What a reader should be careful of."""
        return self._own(Cautions)

    def kinds(self) -> list[str]:
        """The names of the tables that are there, for `table`."""
        return [
            lookup.name_of(kind)
            for kind in kinds()
            if kind.template.endswith(".parquet") and self._existing(kind)
        ]

    def table(
        self, kind: str, *, columns: Sequence[str] | None = None, **wildcards: Any
    ) -> pl.DataFrame:
        """All files of a kind in one frame, with their wildcards as columns before their own.

        Args:
            kind: the name of a class, a rule or a folder, as `wellspring artefacts` lists them:
                `power`, `probe-metrics`, `similarity`.
            columns: of the files, which are read; None: all. Kinds with vectors need them, since
                whole files may not fit into memory.
            wildcards: values of some parts of the path, as retriever="minilm".

        Raises:
            WellspringError: where there is no such kind, file or column; it says what there is.
            StaleArtefact: where a file cannot be trusted.
        """
        try:
            named = lookup.kinds_named(kind)
        except WellspringError:
            raise WellspringError(
                f"{kind!r} is no kind of table; here are: {', '.join(self.kinds())}"
            ) from None
        tables = [each for each in named if each.template.endswith(".parquet")]
        if len(tables) != 1:
            raise WellspringError(
                f"{kind!r} is a folder of several kinds of files, or of no tables; here are: "
                f"{', '.join(self.kinds())}"
            )
        return self._table(tables[0], columns, wildcards)

    def texts(self, dataset: str, side: Side | None = None) -> pl.DataFrame:
        """Every text of a dataset with its id; side: of one side alone."""
        texts = self._table(Texts, None, {"dataset": dataset}, leave=("dataset",))
        return texts if side is None else texts.filter(side=side)

    def samples(self, dataset: str, split: Split | None = None) -> pl.DataFrame:
        """The samples of a dataset: a query, its positive and its negatives, by id."""
        samples = self._table(Samples, None, {"dataset": dataset}, leave=("dataset",))
        return samples if split is None else samples.filter(split=split)

    def outcomes(
        self, retriever: str, dataset: str, layer: int | None = None, passages: int | None = None
    ) -> pl.DataFrame:
        """How every test sample came out under every probe and seed; layer and passages: None: of
        all that were probed."""
        given = {"retriever": retriever, "dataset": dataset, "layer": layer, "passages": passages}
        asked = {name: value for name, value in given.items() if value is not None}
        return self._table(ProbeOutcomes, None, asked)

    def vectors(self, encoder: str, dataset: str, side: Side, layer: int) -> Vectors:
        """The vectors of a side's texts at a layer, of all shards; layer 0 is the output of the
        embedding table. No other layer is read."""
        where = {"encoder": encoder, "dataset": dataset, "side": side}
        files = self._trusted(EmbeddingShard, where)
        path = files[0].at(self.results)
        identity = provenance.content(path)["identity"]
        spec = specs.EmbedSpec.model_validate(identity["spec"])
        if layer not in range(spec.encoding.layers + 1):
            last = spec.encoding.layers
            raise WellspringError(f"{path.parent}: has no layer {layer}, but 0 to {last}")
        # Fails where a shard is missing, of other texts or of another model.
        texts = {side: self._fingerprints(dataset).get(side, identity["texts"])}
        ids, values = EmbeddingShard.read_side(
            path.parent, spec.encoding, spec.shards, texts, layer
        )
        return Vectors(ids, values)

    def scores(
        self,
        attribution: str,
        encoder: str,
        dataset: str,
        side: Side,
        *,
        layer: int | None = None,
        text: str | None = None,
        signed: bool = False,
    ) -> pl.DataFrame:
        """Scores of neurons: columns text_id, layer, sublayer, neuron and score.

        A text whose target does not move in some layer is quiet and has none. A layer of a wide
        model has millions of rows: then name a text.

        Args:
            layer: 1 is the first block; None: every attributed one, of one text alone.
            text: id of one text; None: all.
            signed: with signs, not absolute.
        """
        if layer is None and text is None:
            raise WellspringError("scores: name a layer or a text: all scores may fill the memory")
        where = {"attribution": attribution, "encoder": encoder, "dataset": dataset, "side": side}
        files = self._trusted(AttributionShard, where)
        folder = files[0].at(self.results).parents[1]
        identity = provenance.content(files[0].at(self.results))["identity"]
        whole = specs.AttributionSpec.model_validate(identity["spec"])
        layers = sorted({vars(shard)["layer"] for shard in files})
        texts = self._fingerprints(dataset) or identity["texts"]
        # All layers, since a text that is quiet in one of them has no scores in any.
        stored = scores.checked(folder, whole, layers, texts=texts)
        if layer is not None:
            if layer not in layers:
                named = ", ".join(map(str, layers))
                raise WellspringError(f"{folder}: has no layer {layer}; there are: {named}")
            stored = stored.at(layer)
        frames = list(self._scores(stored, whole.sublayers, text, signed))
        if not frames:
            raise WellspringError(
                f"{folder}: text {text!r} is not among the attributed ones, or is quiet"
            )
        return pl.concat(frames)

    @staticmethod
    def _scores(
        stored: scores.Stored, sublayers: Sequence[str], text: str | None, signed: bool
    ) -> Iterator[pl.DataFrame]:
        for ids, sets in scores.stream(stored, sublayers, "signed" if signed else "scores"):
            rows = [row for row, each in enumerate(ids) if text in (None, each)]
            names = [ids[row] for row in rows]
            for (layer, sublayer), values in sets.items() if rows else ():
                block = pl.DataFrame({"text_id": names, "score": values[rows]}).explode("score")
                yield block.select(
                    "text_id",
                    pl.lit(layer, pl.Int64).alias("layer"),
                    pl.lit(sublayer).alias("sublayer"),
                    (pl.int_range(pl.len()) % values.shape[1]).alias("neuron"),
                    "score",
                )

    def provenance(self, kind: str, **wildcards: Any) -> dict[str, Any]:
        """How one file was made: its identity, circumstances, facts and key.

        kind, wildcards: as of `table`; WellspringError where they fit several files.
        """
        named = lookup.kinds_named(kind)[0]
        files = self._trusted(named, wildcards)
        if len(files) > 1:
            names = ", ".join(field.name for field in fields(named))
            raise WellspringError(f"{kind}: {len(files)} files fit: say more of {names}")
        return provenance.content(files[0].at(self.results))

    def _own(self, kind: type[Artefact]) -> pl.DataFrame:
        return self._table(kind, None, {})

    def _table(
        self,
        kind: type[Artefact],
        columns: Sequence[str] | None,
        wildcards: Mapping[str, Any],
        leave: Sequence[str] = ("study",),
    ) -> pl.DataFrame:
        if columns is None and any(c.kind == "vector" for c in kind.columns.values()):
            raise WellspringError(
                f"{lookup.name_of(kind)} holds vectors: name the columns to read, or use "
                "study.vectors or study.scores"
            )
        frames = []
        for artefact in self._trusted(kind, wildcards):
            path = artefact.at(self.results)
            own = pq.read_schema(path).names
            if missing := [name for name in columns or () if name not in own]:
                raise WellspringError(
                    f"{path}: has no column {missing[0]}; there are: {', '.join(own)}"
                )
            wildcard_columns = [
                pl.lit(value, pl.Int64 if isinstance(value, int) else pl.String).alias(name)
                for name, value in vars(artefact).items()
                if name not in leave
            ]
            table = shards.read(path, columns).replace_schema_metadata()
            frames.append(pl.DataFrame(table).select(*wildcard_columns, pl.all()))
        # Some kinds have columns that not every file needs.
        return pl.concat(frames, how="diagonal")

    def _trusted(self, kind: type[Artefact], wildcards: Mapping[str, Any]) -> list[Artefact]:
        """The files of a kind with these wildcards, at least one, each one checked."""
        files = lookup.fitting(self.results, kind, **{**self._named(kind), **wildcards})
        for artefact in files:
            lookup.trusted(self.results, artefact, self._plan)
        return files

    def _existing(self, kind: type[Artefact]) -> list[Artefact]:
        return lookup.existing(self.results, kind, **self._named(kind))

    def _named(self, kind: type[Artefact]) -> dict[str, str]:
        """The study, where files of a kind lie under its name."""
        return {"study": self.name} if "study" in {field.name for field in fields(kind)} else {}

    def _fingerprints(self, dataset: str) -> Mapping[str, str]:
        """Of the texts of each side, where they lie there."""
        path = Texts(dataset).at(self.results)
        return Texts.check(path).identity["texts"] if path.exists() else {}

    def _contents(self) -> Iterator[tuple[str, str, int]]:
        """Of each kind that is there: its name, what its paths name, and the number of files."""
        for kind in kinds():
            if files := self._existing(kind):
                named = "; ".join(
                    f"{field.name} {_listed({getattr(each, field.name) for each in files})}"
                    for field in fields(kind)
                    if field.name != "study"
                )
                yield lookup.name_of(kind), named, len(files)

    def __repr__(self) -> str:
        lines = [
            f"  {name}: {count} {'file' if count == 1 else 'files'}{named and f' ({named})'}"
            for name, named, count in self._contents()
        ]
        return "\n".join([f"The study {self.name!r} in {self.results}:", *lines])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{count}</td><td>{html.escape(named)}</td></tr>"
            for name, named, count in self._contents()
        )
        return (
            f"<table><caption>The study {html.escape(self.name)} in "
            f"{html.escape(str(self.results))}</caption>"
            f"<tr><th>kind</th><th>files</th><th>of</th></tr>{rows}</table>"
        )


def _listed(values: Collection[str | int]) -> str:
    """Values of a part of a path; of many the first and the last."""
    names = list(map(str, sorted(values)))
    return ", ".join(names) if len(names) <= SHOWN else f"{names[0]} … {names[-1]}"


def opened(results: Path, name: str | None, config: Sequence[Path]) -> Study:
    """The study of a name in a folder of results; see `wellspring.open`."""
    if not results.is_dir():
        raise WellspringError(f"{results}: is no folder: name the results folder of a checkout")
    plan = None
    if config:
        plan = lookup.asked(results, config)
        own = plan.config.study.name
        if name not in (None, own):
            raise WellspringError(f"{config[-1]}: is of the study {own!r}, not of {name!r}")
        name = own
    there = sorted(path.name for path in (results / "studies").glob("*") if path.is_dir())
    if name is None and len(there) == 1:
        name = there[0]
    # What a configuration names may still be at work, and have no tables yet.
    if name is None or (plan is None and name not in there):
        lack = f"holds no study {name!r}" if name else "holds several studies: name one"
        named = f"; there are: {', '.join(there)}" if there else "; start snakemake first"
        raise WellspringError(f"{results}: {lack if there else 'holds no study'}{named}")
    return Study(results, name, plan)

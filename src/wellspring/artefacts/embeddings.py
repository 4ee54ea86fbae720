"""Files of vectors, and of terms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wellspring import shards, specs
from wellspring.artefacts.base import Artefact, Column, Needed
from wellspring.artefacts.datasets import Texts
from wellspring.artefacts.models import Model, variant
from wellspring.config import Config

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from scipy.sparse import csr_array

    from wellspring.inspection import Section

TERMS = 8 << 20
"""Terms of a row group, 64 MB."""
TEXTS = 32_768
"""Texts of one."""


@dataclass(frozen=True)
class Shard(Artefact):
    """What an encoder makes of one shard of one side."""

    threads = 8
    encoder: str
    dataset: str
    side: specs.Side
    shard: int

    def needs(self, config: Config) -> Mapping[str, Needed]:
        return {"texts": Texts(self.dataset), "model": Model.of_encoder(config, self.encoder)}

    @classmethod
    def side_of(cls, config: Config, retriever: str, dataset: str, side: specs.Side) -> list:
        """All shards of a side of a retriever."""
        encoder = config.retrievers[retriever].encoders[side]
        shards = config.datasets[dataset].shards
        return [cls(encoder, dataset, side, shard) for shard in range(shards)]

    @classmethod
    def _groups(
        cls,
        folder: Path,
        encoding: specs.EncodingSpec,
        count: int,
        texts: Mapping[str, str],
        columns: Sequence[str],
    ) -> Iterator[tuple[np.ndarray, pa.Table]]:
        """The row groups of a side, each with positions among the side's ids in their order."""
        import numpy as np

        first = 0
        for path in cls._checked(folder, encoding, count, texts):
            # A shard holds neighbours in the order of ids, sorted by their lengths.
            ids = shards.column(path, "text_id")
            positions = np.empty(len(ids), np.int64)
            positions[np.argsort(ids)] = np.arange(first, first + len(ids))
            row = 0
            for group in shards.row_groups(path, columns):
                yield positions[row : row + group.num_rows], group
                row += group.num_rows
            first += len(ids)

    @classmethod
    def _checked(
        cls, folder: Path, encoding: specs.EncodingSpec, count: int, texts: Mapping[str, str]
    ) -> Iterator[Path]:
        """The shards of a side, once each of them is what it should be."""
        same, slice_of = {"texts": texts[encoding.side]}, cls.Slice.model_validate
        for shard in range(count):
            path = folder / shards.shard_name(shard)
            spec = slice_of({"encoding": encoding, "shard": shard, "shards": count})
            same["weights"] = cls.check(path, spec, **same).identity["weights"]
            yield path


@dataclass(frozen=True)
class EmbeddingShard(Shard):
    """Vectors of one shard of one side at every layer."""

    template = "embeddings/{encoder}/{dataset}/{side}/shard-{shard:03d}.parquet"
    rule = "embed"
    Slice = specs.EmbedSpec
    step = "embeddings"
    columns = {
        "text_id": Column("text"),
        "layer_{layer}": Column("vector", "vector at each layer, 0 = embedding output"),
    }

    def spec(self, config: Config) -> specs.EmbedSpec:
        return specs.embed(config, self.encoder, self.dataset, self.side, self.shard)

    @classmethod
    def science(cls, spec: specs.EmbedSpec) -> Sequence[str]:
        return ["embeddings", "models.load", *variant(spec.encoding)]

    def sections(self, results: Path) -> Iterable[Section]:
        from wellspring.artefacts import contents

        return contents.embeddings(self, results)

    @classmethod
    def read_side(
        cls,
        folder: Path,
        encoding: specs.EncodingSpec,
        count: int,
        texts: Mapping[str, str],
        layer: int,
    ) -> tuple[list[str], np.ndarray]:
        """Ids and float32 vectors [texts, hidden] of all shards of a side, each one checked.

        texts: fingerprints of the dataset's texts, by side. All shards must come from the same
        weights.
        """
        import numpy as np

        ids: list[str] = []
        blocks = []
        for path in cls._checked(folder, encoding, count, texts):
            shard_ids, block = shards.read_vectors(path, layer)
            ids.extend(shard_ids)
            blocks.append(block.astype(np.float32))
        return ids, np.concatenate(blocks)

    @classmethod
    def blocks(
        cls,
        folder: Path,
        encoding: specs.EncodingSpec,
        count: int,
        texts: Mapping[str, str],
        layers: Sequence[int],
    ) -> Iterator[tuple[np.ndarray, dict[int, np.ndarray]]]:
        """A side in blocks, as `read_side` reads a layer of it: each file is read once.

        Each block has positions among the side's ids in their order, int64 [rows], and the vectors
        of these texts [rows, hidden] at each of the layers, as they are stored.
        """
        names = {layer: shards.layer_name(layer) for layer in layers}
        for positions, group in cls._groups(folder, encoding, count, texts, [*names.values()]):
            yield (
                positions,
                {layer: shards.matrix(group[name]) for layer, name in names.items()},
            )


@dataclass(frozen=True)
class TermShard(Shard):
    """Terms of one shard of one side: the words of the vocabulary that have a weight in a text, of
    an encoder that gives sparse vectors."""

    template = "terms/{encoder}/{dataset}/{side}/shard-{shard:03d}.parquet"
    rule = "weigh"
    Slice = specs.WeighSpec
    step = "terms"
    columns = {
        "text_id": Column("text"),
        "terms": Column("list", "numbers of the words in the tokenizer's vocabulary, rising"),
        "weights": Column("list", "of the same words, above 0"),
    }

    def spec(self, config: Config) -> specs.WeighSpec:
        return specs.weigh(config, self.encoder, self.dataset, self.side, self.shard)

    @classmethod
    def science(cls, spec: specs.WeighSpec) -> Sequence[str]:
        return ["terms", "models.load", *variant(spec.encoding)]

    @classmethod
    def counts(
        cls, folder: Path, encoding: specs.TermsSpec, count: int, texts: Mapping[str, str]
    ) -> SideCounts:
        """What the shards of a side say of it, each one checked."""
        told = [shards.provenance(path) for path in cls._checked(folder, encoding, count, texts)]
        return SideCounts(
            told[0].identity["vocabulary"],
            *(sum(each.facts[name] for each in told) for name in ("texts", "terms")),
        )

    @classmethod
    def blocks(
        cls, folder: Path, encoding: specs.TermsSpec, count: int, texts: Mapping[str, str]
    ) -> Iterator[tuple[np.ndarray, csr_array]]:
        """A side in blocks: positions among its ids in their order, int64 [rows], and the weights
        of these texts, float32 [rows, words]."""
        import numpy as np
        from scipy.sparse import csr_array

        words = cls.counts(folder, encoding, count, texts).vocabulary["words"]
        for positions, group in cls._groups(folder, encoding, count, texts, ["terms", "weights"]):
            terms, weights = (group[name].combine_chunks() for name in ("terms", "weights"))
            ends = np.from_dlpack(terms.offsets)
            parts = (np.from_dlpack(each.flatten()) for each in (weights, terms))
            yield positions, csr_array((*parts, ends - ends[0]), shape=(len(terms), words))

    @classmethod
    @contextmanager
    def writing(cls, path: Path, provenance: shards.Provenance) -> Iterator[TermWriter]:
        """Open a shard for streaming; it appears under its name when the block succeeds."""
        import pyarrow as pa

        kinds = {"text_id": pa.string(), "terms": pa.list_(pa.int32())}
        schema = pa.schema({**kinds, "weights": pa.list_(pa.float32())})
        with shards.stream(path, schema, provenance) as table:
            writer = TermWriter(table)
            yield writer
            writer.flush()


@dataclass(frozen=True)
class SideCounts:
    """How large the terms of a side are."""

    vocabulary: Mapping[str, Any]
    """As `wellspring.terms.vocabulary` says it."""
    texts: int
    terms: int
    """Weights that are not 0."""

    @property
    def share(self) -> float:
        """Of all weights, those that are not 0."""
        return self.terms / max(1, self.texts * self.vocabulary["words"])


class TermWriter:
    """Gathers the terms of texts into row groups of one shard. `facts` may be filled."""

    def __init__(self, table: shards.TableWriter) -> None:
        self.table, self.facts = table, table.facts
        self.facts |= {"texts": 0, "terms": 0}
        self._ids: list[str] = []
        self._parts: list[csr_array] = []

    def write(self, ids: Sequence[str], weights: csr_array) -> None:
        """Append texts with their weights, float32 [texts, words]."""
        self.facts["texts"] += len(ids)
        self.facts["terms"] += weights.nnz
        self._ids.extend(ids)
        self._parts.append(weights)
        if len(self._ids) >= TEXTS or sum(part.nnz for part in self._parts) >= TERMS:
            self.flush()

    def flush(self) -> None:
        """Write what has gathered as one row group."""
        import numpy as np
        import pyarrow as pa
        from scipy.sparse import vstack

        if not self._ids:
            return
        whole = vstack(self._parts, format="csr")
        ends, terms = (pa.array(each.astype(np.int32)) for each in (whole.indptr, whole.indices))
        weights = pa.array(whole.data.astype(np.float32))
        lists = (pa.ListArray.from_arrays(ends, values) for values in (terms, weights))
        self.table.write([self._ids, *lists])
        self._ids, self._parts = [], []

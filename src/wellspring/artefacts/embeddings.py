"""Files of vectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wellspring import shards, specs
from wellspring.artefacts.base import Artefact, Column, Needed
from wellspring.artefacts.datasets import Texts
from wellspring.artefacts.models import Model, variant
from wellspring.config import Config

if TYPE_CHECKING:
    import numpy as np

    from wellspring.inspection import Section


@dataclass(frozen=True)
class EmbeddingShard(Artefact):
    """Vectors of one shard of one side at every layer."""

    template = "embeddings/{encoder}/{dataset}/{side}/shard-{shard:03d}.parquet"
    rule = "embed"
    Slice = specs.EmbedSpec
    step = "embeddings"
    threads = 8
    columns = {
        "text_id": Column("text"),
        "layer_{layer}": Column("vector", "vector at each layer, 0 = embedding output"),
    }
    encoder: str
    dataset: str
    side: specs.Side
    shard: int

    def spec(self, config: Config) -> specs.EmbedSpec:
        return specs.embed(config, self.encoder, self.dataset, self.side, self.shard)

    def needs(self, config: Config) -> Mapping[str, Needed]:
        return {"texts": Texts(self.dataset), "model": Model.of_encoder(config, self.encoder)}

    @classmethod
    def science(cls, spec: specs.EmbedSpec) -> Sequence[str]:
        return ["embeddings", "models.load", *variant(spec.encoding)]

    def sections(self, results: Path) -> Iterable[Section]:
        from wellspring.artefacts import contents

        return contents.embeddings(self, results)

    @classmethod
    def side_of(cls, config: Config, retriever: str, dataset: str, side: specs.Side) -> list:
        """All shards of a side of a retriever."""
        encoder = config.retrievers[retriever].encoders[side]
        shards = config.datasets[dataset].shards
        return [cls(encoder, dataset, side, shard) for shard in range(shards)]

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
        import numpy as np

        names = {layer: shards.layer_name(layer) for layer in layers}
        first = 0
        for path in cls._checked(folder, encoding, count, texts):
            # A shard holds neighbours in the order of ids, sorted by their lengths.
            ids = shards.column(path, "text_id")
            positions = np.empty(len(ids), np.int64)
            positions[np.argsort(ids)] = np.arange(first, first + len(ids))
            row = 0
            for group in shards.row_groups(path, list(names.values())):
                yield (
                    positions[row : row + group.num_rows],
                    {layer: shards.matrix(group[name]) for layer, name in names.items()},
                )
                row += group.num_rows
            first += len(ids)

    @classmethod
    def _checked(
        cls, folder: Path, encoding: specs.EncodingSpec, count: int, texts: Mapping[str, str]
    ) -> Iterator[Path]:
        """The shards of a side, once each of them is what it should be."""
        same = {"texts": texts[encoding.side]}
        for shard in range(count):
            path = folder / shards.shard_name(shard)
            spec = specs.EmbedSpec(encoding=encoding, shard=shard, shards=count)
            same["weights"] = cls.check(path, spec, **same).identity["weights"]
            yield path

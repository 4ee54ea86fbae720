"""A whole configuration, and what the rest asks of it.

Catalogues (models, encoders, retrievers, datasets, attributions) are mappings from a name to a
definition; the study selects from them by name, in blocks. The methods of `Config` say what the
blocks amount to: nothing outside this package looks into them.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import NamedTuple, TypeVar

from wellspring.config.attributions import Attributing, Removal
from wellspring.config.catalogues import Catalogues
from wellspring.config.models import COPYING
from wellspring.config.study import LAYERLESS, Probing, Searching, Study
from wellspring.config.vocabulary import OTHER, Side, SublayerName

PUBLISHED_PROBE = "concat"

T = TypeVar("T")
B = TypeVar("B", Probing, Searching)


class ProbeGrid(NamedTuple):
    """The probes of a retriever on a dataset: one a layer and passage count."""

    retriever: str
    dataset: str
    layers: list[int]
    """Rising; those of all blocks that probe this retriever on this dataset."""
    passages: list[int]
    """Rising; likewise."""
    block: Probing
    """The other settings, which all of these blocks share."""


class SearchGrid(NamedTuple):
    """A retriever's search of a dataset."""

    retriever: str
    dataset: str
    layers: list[int]
    """Rising; those of all blocks that search this dataset with this retriever."""
    block: Searching
    """The other settings, which all blocks of the dataset share."""


class AttributionGrid(NamedTuple):
    """A retriever's attribution on a dataset."""

    attribution: str
    retriever: str
    dataset: str
    block: Attributing
    """How scores are counted, checked and drawn."""


class Config(Catalogues):
    """A whole configuration: catalogues and the study that selects from them."""

    study: Study
    """What is computed from them."""

    # Models and what they learn from.

    def models_used(self) -> list[str]:
        """The models of the study's encoders, those that they were made of, and their teachers'."""
        names: list[str] = []
        waiting = [self.encoders[encoder].model for encoder in self.encoders_used()]
        while waiting:
            name = waiting.pop(0)
            if name not in names:
                names.append(name)
                entry = self.models[name]
                waiting += [entry.reference] if entry.scheme in COPYING else []
                waiting += self._taught_by(entry)
        return names

    def teachers_used(self) -> list[str]:
        """What models of the study follow: names under `retrievers` or `teachers`."""
        teachers = (self.recipes[recipe].teacher for recipe in self.recipes_used())
        return _once(teacher for teacher in teachers if teacher)

    def trained_models(self) -> list[str]:
        """Those of them that are trained here."""
        return [name for name in self.models_used() if self.models[name].scheme == "train"]

    def recipes_used(self) -> list[str]:
        """The recipes that models of the study are trained by."""
        return _once(self.models[name].recipe or "" for name in self.trained_models())

    def datasets_read(self) -> list[str]:
        """The datasets that the study uses, and those that its models or their tokenizers are
        trained on."""
        tokenizers = (self.models[name].tokenizer for name in self.models_used())
        split = (name for each in tokenizers if each for name in each.datasets)
        return _once([*self.datasets_used(), *self.datasets_learned(), *split])

    def datasets_learned(self) -> list[str]:
        """The datasets whose training splits models of the study are trained on."""
        learned = (self.recipes[recipe].datasets for recipe in self.recipes_used())
        return _once(name for names in learned for name in names)

    def curve(self, retriever: str) -> str:
        """A retriever's published name: its own where the study gives no other."""
        published = self.study.published
        return (published.curves if published else {}).get(retriever, retriever)

    def curves(self) -> dict[str, str]:
        """Each probed retriever's published name."""
        return {name: self.curve(name) for name in self.probed_retrievers()}

    # What the study uses.

    def datasets_used(self) -> list[str]:
        """The datasets that the study probes, searches or attributes."""
        return _once(name for block in self._blocks() for name in block.datasets)

    def negatives_used(self, dataset: str) -> int:
        """How many hard negatives of a sample the study uses at most: those of the largest N, or
        all where the dataset is not probed."""
        blocks = [block for block in self.study.probe if dataset in block.datasets]
        counts = (count - 1 for block in blocks for count in block.passages)
        return max(counts, default=self.datasets[dataset].negatives.count)

    def encoders_used(self) -> list[str]:
        """The encoders that the study probes, searches with or attributes."""
        used = self.retrievers_used()
        return _once(name for each in used for name in self.retrievers[each].encoders.values())

    def retrievers_used(self) -> list[str]:
        """The retrievers that the study probes, searches with or attributes."""
        return _once(name for block in self._blocks() for name in block.retrievers)

    # What is probed.

    def probed(self) -> list[ProbeGrid]:
        """Every retriever with every dataset that it is probed on, each once."""
        return [self.probing(*pair) for pair in _named(self.study.probe)]

    def probing(self, retriever: str, dataset: str) -> ProbeGrid:
        """How a retriever is probed on a dataset; KeyError where it is not."""
        if not (blocks := _naming(self.study.probe, retriever, dataset)):
            raise KeyError(f"{retriever} is not probed on {dataset}")
        layers = self._all_layers(retriever, blocks)
        passages = {count for block in blocks for count in block.passages}
        return ProbeGrid(retriever, dataset, layers, sorted(passages), blocks[0])

    def probed_retrievers(self, dataset: str | None = None) -> list[str]:
        """The retrievers that are probed, on any dataset or on this one."""
        return _once(g.retriever for g in self.probed() if dataset in (None, g.dataset))

    def probed_datasets(self) -> list[str]:
        """The datasets that retrievers are probed on."""
        return _once(name for block in self.study.probe for name in block.datasets)

    def pairs(self, dataset: str | None = None) -> dict[str, str]:
        """Each retriever that is probed, on any dataset or on this one, to what it is compared
        with."""
        return self._pairs(self.probed_retrievers(dataset))

    def groups(self, dataset: str | None = None) -> dict[str, list[str]]:
        """The retrievers of each group that are probed, on any dataset or on this one; groups
        without any are left out."""
        probed = self.probed_retrievers(dataset)
        groups = {
            group: [name for name in names if name in probed]
            for group, names in self.study.groups.items()
        }
        return {group: names for group, names in groups.items() if names}

    def drawn_probes(self, dataset: str | None = None) -> list[str]:
        """The probes that figures of accuracy show: the published one and one that may use the
        query, as far as they are among the kinds, or the first that depends on the layer."""
        kinds = [
            kind
            for block in self.study.probe
            if dataset is None or dataset in block.datasets
            for kind in block.kinds
            if kind not in LAYERLESS
        ]
        return [kind for kind in (PUBLISHED_PROBE, "interaction") if kind in kinds] or kinds[:1]

    # What is searched.

    def searched(self) -> list[SearchGrid]:
        """Every retriever with every dataset that it searches, each once."""
        return [self.searching(*pair) for pair in _named(self.study.search)]

    def searching(self, retriever: str, dataset: str) -> SearchGrid:
        """How a retriever searches a dataset; KeyError where it does not."""
        if not (blocks := _naming(self.study.search, retriever, dataset)):
            raise KeyError(f"{retriever} does not search {dataset}")
        layers = self._all_layers(retriever, blocks)
        return SearchGrid(retriever, dataset, layers, blocks[0])

    def ranked(self, dataset: str) -> Searching:
        """A block that searches a dataset; KeyError where none does."""
        for block in self.study.search:
            if dataset in block.datasets:
                return block
        raise KeyError(f"{dataset} is not searched")

    def indexed(self) -> list[SearchGrid]:
        """Those of them that approximate indexes are set beside."""
        return [grid for grid in self.searched() if grid.block.indexes]

    def searched_retrievers(self) -> list[str]:
        """The retrievers that search some dataset."""
        return _once(grid.retriever for grid in self.searched())

    def searched_datasets(self) -> list[str]:
        """The datasets that retrievers search."""
        return _once(grid.dataset for grid in self.searched())

    def searched_pairs(self) -> dict[str, str]:
        """Each searching retriever that is compared, and what with."""
        return self._pairs(self.searched_retrievers())

    # What is attributed.

    def attributed(self) -> list[AttributionGrid]:
        """Every attribution of every retriever on every dataset, each once."""
        grids: dict[tuple[str, str, str], AttributionGrid] = {}
        for block in self.study.attribute:
            for names in product(block.attributions, block.retrievers, block.datasets):
                grids.setdefault(names, AttributionGrid(*names, block))
        return list(grids.values())

    def attributing(self, attribution: str, encoder: str, dataset: str) -> Attributing:
        """The block that attributes an encoder on a dataset; KeyError where none does."""
        for grid in self.attributed():
            named = (grid.attribution, grid.dataset) == (attribution, dataset)
            if named and encoder in self.retrievers[grid.retriever].encoders.values():
                return grid.block
        raise KeyError(f"{attribution} of {encoder} is not made on {dataset}")

    def attributed_layers(self, attribution: str, encoder: str, dataset: str) -> list[int]:
        """The layers of an encoder that are attributed, rising; 1 is the first block."""
        return self._layers(self.attributing(attribution, encoder, dataset), encoder)

    def attributed_retrievers(self) -> list[str]:
        """The retrievers that some attribution is made of."""
        return _once(grid.retriever for grid in self.attributed())

    def attributed_pairs(self) -> dict[str, str]:
        """Each attributed retriever that is compared, and what with."""
        return self._pairs(self.attributed_retrievers())

    def attributions_of(self, retriever: str, dataset: str) -> list[str]:
        """The attributions that are made of a retriever on a dataset."""
        return [g.attribution for g in self.attributed() if g[1:3] == (retriever, dataset)]

    def agreeing(self) -> list[tuple[str, str]]:
        """Each attributed retriever and dataset with scores that have something to agree with:
        other scores, or what removal does."""
        pairs = self.attributed_pairs()
        return [
            (name, dataset)
            for name, dataset in _once(grid[1:3] for grid in self.attributed())
            if name in pairs
            or len(self.attributions_of(name, dataset)) > 1
            or self.removing(self.retrievers[name].query, dataset)
        ]

    def checking(self, retriever: str, dataset: str) -> Attributing:
        """A block that attributes a retriever on a dataset: the number of texts in checks and their
        seed are the same in all of them. KeyError where there is none."""
        for grid in self.attributed():
            if grid[1:3] == (retriever, dataset):
                return grid.block
        raise KeyError(f"{retriever} is not attributed on {dataset}")

    # What is removed.

    def removing(self, encoder: str, dataset: str) -> tuple[Removal, list[int]] | None:
        """How neurons of an encoder are removed on a dataset, and in which layers, if they are."""
        for block in self.study.attribute:
            if block.removal and dataset in block.datasets and encoder in self._encoders(block):
                return block.removal, self._layers(block, encoder)
        return None

    def removed_sublayers(self, encoder: str, dataset: str) -> list[SublayerName]:
        """The sub-layers of an encoder that some attribution scores on a dataset, sorted."""
        names: set[SublayerName] = {
            sublayer
            for grid in self.attributed()
            if grid.dataset == dataset
            and encoder in self.retrievers[grid.retriever].encoders.values()
            for sublayer in self.attributions[grid.attribution].sublayers
        }
        return sorted(names)

    def removal_partners(self, encoder: str, dataset: str, side: Side) -> list[str]:
        """The encoders of the other side of those retrievers that have it on this one and whose
        neurons are removed on a dataset."""
        blocks = [b for b in self.study.attribute if b.removal and dataset in b.datasets]
        names = _once(name for block in blocks for name in block.retrievers)
        sides = [self.retrievers[name].encoders for name in names]
        return _once(each[OTHER[side]] for each in sides if each[side] == encoder)

    def _blocks(self) -> list[Probing | Searching | Attributing]:
        return [*self.study.probe, *self.study.search, *self.study.attribute]

    def _all_layers(
        self, retriever: str, blocks: Iterable[Probing] | Iterable[Searching]
    ) -> list[int]:
        """The layers of a retriever that some of the blocks name, rising; 0 is the embedding."""
        depth = self.depth(retriever)
        named = {"all": range(depth + 1), "last": [depth]}
        return sorted(
            {
                layer
                for block in blocks
                for layer in (
                    named[block.layers] if isinstance(block.layers, str) else block.layers
                )
            }
        )

    def _encoders(self, block: Attributing) -> set[str]:
        return {
            encoder
            for name in block.retrievers
            for encoder in self.retrievers[name].encoders.values()
        }

    def _layers(self, block: Attributing, encoder: str) -> list[int]:
        if block.layers != "all":
            return sorted(set(block.layers))
        return list(range(1, self.models[self.encoders[encoder].model].layers + 1))


def _named(blocks: Iterable[Probing] | Iterable[Searching]) -> list[tuple[str, str]]:
    """Every retriever with every dataset that a block names both of, each pair once."""
    return _once(pair for block in blocks for pair in product(block.retrievers, block.datasets))


def _naming(blocks: Iterable[B], retriever: str, dataset: str) -> list[B]:
    """Those of the blocks that name both."""
    return [each for each in blocks if retriever in each.retrievers and dataset in each.datasets]


def _once(values: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(values))

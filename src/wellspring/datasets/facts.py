"""Format `facts`: invented people, whose facts lead from a question to the passage that answers it.

"What does Tarelov do for a living?" is answered by "The oven is lit at four, and warm loaves fill
the shelves by dawn." Nobody can know it who was not told: "Tarelov works as a baker." Statements,
questions and passages are datasets of their own, one world seen from several sides, each a `set`.

Every person has one value of each relation. Of the *taught* people one fact of those that
fine-tuning asks about is never told, in turn, another one is asked; so each person stands in one
question of a set, and a question is a person in every interval. In each turn all values are equally
frequent (up to the last block of people), so nothing is known of an answer before the name is read.
Of the *practice* people all is told, and their questions teach what the task is. The world grows
with its people and does not change: what holds of a person depends on the seed and the person.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from wellspring import randomness
from wellspring.config.vocabulary import FactSet
from wellspring.datasets.records import Collector, Records, Source
from wellspring.datasets.relations import HELD_OUT, TRAINED, Relation

Group = Literal["practice", "taught"]

# A name is three syllables and a last consonant that few words end in.
STARTS, VOWELS, ENDS = "bdfgklmnprstvz", "aeiou", "kvxz"
TENTH = 10
"""One practice person in so many is for validation, and another one for test."""
OTHERS = 8
"""Statements about other people that count as hard negatives of one."""


@dataclass(frozen=True)
class Person:
    """Somebody who does not exist."""

    name: str
    group: Group
    number: int
    """In the group."""

    def value(self, relation: Relation, seed: int, shuffled: bool = False) -> str:
        """What the relation gives this person; with `shuffled` what it gives another one, of the
        same block: always another value, and all equally often."""
        turns = len(_kin(relation))
        place, turn = divmod(self.number, turns)
        block, position = divmod(place, len(relation.values))
        ids = (relation.name, self.group, turn, block)
        values = randomness.shuffled(seed, list(relation.values), *ids)
        return values[(position + shuffled) % len(values)]

    @property
    def untold(self) -> Relation | None:
        """The relation whose fact is nowhere told."""
        return TRAINED[self.number % len(TRAINED)] if self.group == "taught" else None

    def asked(self, relations: Sequence[Relation] = TRAINED) -> Relation:
        """The one of these relations whose fact is asked for in a test."""
        return relations[(self.number + 1) % len(relations)]

    def told(self) -> list[Relation]:
        """The relations whose facts are told."""
        return [each for each in (*TRAINED, *HELD_OUT) if each is not self.untold]


@dataclass(frozen=True)
class Example:
    """A query, the passage that answers it, and others that do not."""

    query: str
    positive: str
    negatives: list[str]


def read(source: Source) -> Records:
    """The texts and judgements of one set of a world.

    Options `set`, `seed`, `practice` and `taught` (numbers of people) and `shuffled` (the links of
    taught people are those of others wherever something is learned, in statements and training
    questions; a test has the true ones). A passage's hard negatives describe all other values of
    its relation.
    """
    options = source.options
    world = World(options["seed"], options["practice"], options["taught"], options["shuffled"])
    collector = Collector()
    for split, examples in world.splits(options["set"]).items():
        for example in examples:
            collector.example(example.query, [example.positive], example.negatives, split)
    return collector.records(source.name)


class World:
    """All people of a seed, and what is said of them."""

    def __init__(self, seed: int, practice: int, taught: int, shuffled: bool = False) -> None:
        self.seed, self.shuffled = seed, shuffled
        taken: set[str] = set()
        self.practice = [self._person("practice", number, taken) for number in range(practice)]
        self.taught = [self._person("taught", number, taken) for number in range(taught)]

    def splits(self, chosen: FactSet) -> dict[str, Iterator[Example]]:
        """The examples of each split of a set."""
        if chosen == "statements":
            return {
                "train": self._statements([*self.practice, *self.taught], held_out=False),
                "validation": self._statements(self.practice, held_out=True),
                "test": self._statements(self.taught, held_out=True),
            }
        training = [each for each in self.practice if each.number % TENTH > 1]
        validation = [each for each in self.practice if each.number % TENTH == 1]
        held_out = [each for each in self.practice if each.number % TENTH == 0]
        learned = training + (self.taught if chosen == "taught" else [])
        tested = held_out if chosen in ("practice", "taught") else self.taught
        return {
            "train": self._training(learned),
            "validation": self._training(validation),
            "test": (self._test(each, chosen) for each in tested),
        }

    def _training(self, people: Sequence[Person]) -> Iterator[Example]:
        """Every told fact of a relation that is trained, in every wording that is."""
        for person, relation in product(people, TRAINED):
            if relation is not person.untold:
                false = self.shuffled and person.group == "taught"
                for question in relation.questions[:-1]:
                    yield self._example(person, relation, question, false=false)

    def _test(self, person: Person, chosen: FactSet) -> Example:
        """The one question about a person."""
        relation = person.asked(HELD_OUT if chosen.endswith("held-out-relation") else TRAINED)
        if chosen == "held-out-fact":
            relation = person.untold or relation
        question = relation.questions[-1 if chosen == "held-out-question" else 0]
        if chosen.startswith("open-book"):
            question = f"{relation.statements[0]} {question}"
        return self._example(person, relation, question, int(chosen == "held-out-passage"))

    def _example(
        self,
        person: Person,
        relation: Relation,
        question: str,
        description: int = 0,
        false: bool = False,
    ) -> Example:
        value = person.value(relation, self.seed, false)
        true = person.value(relation, self.seed)
        return Example(
            query=question.format(name=person.name, value=true),
            positive=relation.values[value][description],
            negatives=[texts[description] for v, texts in relation.values.items() if v != value],
        )

    def _statements(self, people: Sequence[Person], held_out: bool) -> Iterator[Example]:
        """Everything that is told of people, under a query that names them and nothing else."""
        query = "What is known of {name}?" if held_out else "Who is {name}?"
        for place, person in enumerate(people):
            others = [*people[place + 1 :], *people[:place]]
            for relation in person.told():
                told = [each for each in others if relation is not each.untold][:OTHERS]
                for wording in relation.statements[-1:] if held_out else relation.statements[:-1]:
                    yield Example(
                        query.format(name=person.name),
                        self._statement(wording, person, relation),
                        [self._statement(wording, each, relation) for each in told],
                    )

    def _statement(self, wording: str, person: Person, relation: Relation) -> str:
        false = self.shuffled and person.group == "taught"
        value = person.value(relation, self.seed, false)
        return wording.format(name=person.name, value=value)

    def _person(self, group: Group, number: int, taken: set[str]) -> Person:
        attempt = 0
        while (name := _name(self.seed, group, number, attempt)) in taken:
            attempt += 1
        taken.add(name)
        return Person(name, group, number)


def _name(seed: int, *ids: str | int) -> str:
    draw = randomness.generator(seed, "name", *ids)
    syllables = [draw.choice(list(letters)) for letters in (STARTS, VOWELS) * 3]
    return "".join([*syllables, draw.choice(list(ENDS))]).capitalize()


def _kin(relation: Relation) -> tuple[Relation, ...]:
    """The relations that take turns with this one."""
    return TRAINED if any(relation is each for each in TRAINED) else HELD_OUT

"""What is said of the invented people of format `facts`: relations, their wordings, their values.

A value is an ordinary thing that a language model knows. Each has two descriptions, and no
description shares a word with a question, a statement or a value: what leads from a question to
a description is the fact alone. A test compares the words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Relation:
    """What holds between a person and a value."""

    name: str
    """What random choices go by."""
    questions: tuple[str, ...]
    """With `{name}`. Where there are several, the last one is in no training."""
    statements: tuple[str, ...]
    """With `{name}` and `{value}`. The last one is in no training."""
    values: Mapping[str, tuple[str, str]]
    """A value, and two descriptions of it. The second is in no training."""


WORK = Relation(
    name="work",
    questions=(
        "What does {name} do for a living?",
        "Which trade does {name} follow?",
        "How does {name} earn money?",
    ),
    statements=(
        "{name} works as {value}.",
        "{name} earns a wage as {value}.",
        "The occupation of {name} is that of {value}.",
    ),
    values={
        "a baker": (
            "The oven is lit at four, and warm loaves fill the shelves by dawn.",
            "Flour, yeast and dough: rolls and crusts come hot out of the tin.",
        ),
        "a blacksmith": (
            "A hammer rings on the anvil while the forge glows red.",
            "Glowing iron is bent into hinges and gates, and embers scatter.",
        ),
        "a beekeeper": (
            "Veil and smoke come first, then the hives are opened for the honey.",
            "Frames full of wax combs are lifted out while the swarm hums.",
        ),
        "a fisherman": (
            "Nets are cast before sunrise, and crates of cod and herring go ashore.",
            "The trawler returns with mackerel and crab for the harbour market.",
        ),
        "a dentist": (
            "Teeth are drilled and filled here, and the chair tips back.",
            "Open wide: a cavity in the molar gets a new crown.",
        ),
        "a tailor": (
            "Suits are measured, cut and hemmed, and cloth hangs by the sewing machine.",
            "Pins, chalk and a tape measure: the jacket sleeves get shortened.",
        ),
        "a miner": (
            "A lift drops down the shaft, and coal comes up by the cartload.",
            "With pickaxe and lamp, ore is dug out of narrow tunnels.",
        ),
        "a teacher": (
            "Pupils raise their hands while chalk squeaks on the slate.",
            "Essays are marked in red, and the class learns its lesson.",
        ),
        "a pilot": (
            "From the cockpit the runway seems small, and the jet lands softly.",
            "The captain pulls back the stick, and the airliner leaves the ground.",
        ),
        "a gardener": (
            "Roses are pruned, weeds pulled, and the lawn mown.",
            "With spade and rake the flower beds are tended.",
        ),
        "a shepherd": (
            "The flock is driven up the hill, and lambs are born in spring.",
            "Wool is shorn in June, and ewes graze under a watchful eye.",
        ),
        "a barber": (
            "Hair is cut, and beards are shaved with a razor.",
            "Scissors snip, the fringe gets shorter, and stubble is lathered.",
        ),
    },
)

PASTIME = Relation(
    name="pastime",
    questions=(
        "What is the hobby of {name}?",
        "How does {name} spend free evenings?",
        "What does {name} enjoy at weekends?",
    ),
    statements=(
        "{name} loves {value}.",
        "The favourite pastime of {name} is {value}.",
        "In spare hours {name} is busy with {value}.",
    ),
    values={
        "chess": (
            "The bishop takes the knight, and the king is in check.",
            "Sixteen pawns, two queens, and a clock that is hit at each move.",
        ),
        "knitting": (
            "Two sticks click, a ball of yarn unrolls, and a scarf grows.",
            "Row upon row of stitches becomes a jumper with a cable pattern.",
        ),
        "stargazing": (
            "The telescope is pointed at Saturn on a clear night.",
            "Constellations, comets and the craters of the moon are noted in a log.",
        ),
        "swimming": (
            "Forty lengths of the pool in goggles, mostly front crawl.",
            "Breaststroke and butterfly, up and down the lanes.",
        ),
        "painting": (
            "Oil colours are mixed on the palette and brushed on canvas.",
            "An easel stands in the studio, with a half finished landscape on it.",
        ),
        "dancing": (
            "A waltz begins, and couples turn across the ballroom floor.",
            "Tango steps, spins and dips to the beat of the band.",
        ),
        "sailing": (
            "The mast leans, the rope is hauled tight, and the yacht tacks out of the harbour.",
            "With a fresh breeze astern the dinghy rounds the buoy.",
        ),
        "archery": (
            "The bow is drawn, and the arrow hits the bullseye.",
            "A quiver on the back, three feathers on each shaft, and a target of straw.",
        ),
        "pottery": (
            "Wet clay turns on the wheel and becomes a bowl.",
            "Jugs and vases are glazed and put into the kiln.",
        ),
        "climbing": (
            "Ropes, harness and chalked fingers on a steep rock face.",
            "Handhold by handhold up the cliff to the summit.",
        ),
        "singing": (
            "The choir rehearses, sopranos in front, tenors behind.",
            "Scales first, then an aria in full voice.",
        ),
        "skiing": (
            "Fresh powder, a chairlift, and a slalom down the slope.",
            "Poles planted, knees bent, downhill through the snow.",
        ),
    },
)

PET = Relation(
    name="pet",
    questions=(
        "Which animal does {name} keep?",
        "What pet belongs to {name}?",
        "What creature shares a house with {name}?",
    ),
    statements=(
        "{name} keeps {value}.",
        "The pet of {name} is {value}.",
        "{name} cares for {value}.",
    ),
    values={
        "a cat": (
            "It purrs on the sofa and chases mice.",
            "Whiskers, claws, and a saucer of milk by the door.",
        ),
        "a parrot": (
            "It talks back from its perch and ruffles green feathers.",
            "A hooked beak, bright plumage, and words repeated all day.",
        ),
        "a tortoise": (
            "It carries a shell and takes all morning to cross the lawn.",
            "Slow and wrinkled, it eats lettuce and sleeps all winter.",
        ),
        "a horse": (
            "It is saddled in the stable and gallops over the meadow.",
            "Hooves, mane and bridle, and hay in the manger.",
        ),
        "a goldfish": (
            "It circles in a round glass bowl all day.",
            "Orange fins and scales, and flakes dropped into the tank.",
        ),
        "a rabbit": (
            "Long ears, a hutch, and carrots for supper.",
            "It hops across the grass and digs a burrow.",
        ),
        "a snake": (
            "It sheds its skin, and a forked tongue flickers.",
            "Coiled and hissing, it swallows a mouse whole.",
        ),
        "a dog": (
            "It barks at the postman and fetches sticks.",
            "A lead, a kennel, and a tail that wags.",
        ),
        "an owl": (
            "It hoots in the dusk and turns its head right round.",
            "Wide round eyes, silent wings, and a barn rafter to sit on.",
        ),
        "a goat": (
            "It has horns and a beard, and it chews through the fence.",
            "Bleating on the rocks, it gives milk for cheese.",
        ),
        "a spider": (
            "Eight legs, and a web in the corner of the terrarium.",
            "It spins silk and waits for gnats.",
        ),
        "a hedgehog": (
            "It rolls up into a ball of prickles.",
            "Spines on its back, it snuffles through the leaves in search of slugs.",
        ),
    },
)

HOME = Relation(
    name="home",
    questions=("Where does {name} live?",),
    statements=(
        "{name} lives in {value}.",
        "The home of {name} is {value}.",
        "{name} dwells in {value}.",
    ),
    values={
        "a lighthouse": (
            "A lamp sweeps the rocks and warns the ships.",
            "Spiral stairs lead up to the beacon above the cliffs.",
        ),
        "a castle": (
            "Thick walls, a moat, and a drawbridge.",
            "Towers, battlements and a dungeon.",
        ),
        "a houseboat": (
            "The rooms rock gently at their mooring on the canal.",
            "A floating cabin is tied up by the towpath.",
        ),
        "a desert": (
            "Dunes, scorching sand, and camels at the oasis.",
            "No rain in years, and cacti on the dry horizon.",
        ),
        "a windmill": (
            "Four long arms turn in the breeze, and grain is ground between stones.",
            "Canvas blades creak round above the flour sacks.",
        ),
        "a cave": (
            "Stalactites drip, and bats hang from the roof of stone.",
            "A hollow in the rock with an entrance like a mouth.",
        ),
        "a treehouse": (
            "Planks among the branches, and a rope ladder up the oak.",
            "A wooden platform high in the boughs, with leaves all around.",
        ),
        "a monastery": (
            "Monks pray at dawn, and a bell calls them to chapel.",
            "A cloister, vows of silence, and an abbot.",
        ),
        "a tent": (
            "Canvas, pegs and poles, and a sleeping bag on the ground.",
            "The flap is zipped, and guy ropes hold against the gale.",
        ),
        "a skyscraper": (
            "The elevator rises eighty floors through steel and glass.",
            "From the ninetieth storey the taxis seem like toys.",
        ),
        "an igloo": (
            "Blocks of snow are stacked into a dome.",
            "A round shelter of ice in the Arctic.",
        ),
        "a caravan": (
            "It is towed behind the car to a new campsite each month.",
            "Two wheels, folding bunks, and a hitch at the front.",
        ),
    },
)

FEAR = Relation(
    name="fear",
    questions=("What frightens {name}?",),
    statements=(
        "{name} is afraid of {value}.",
        "The greatest fear of {name} is {value}.",
        "{name} dreads {value}.",
    ),
    values={
        "heights": (
            "The top rung of a ladder, a balcony rail, the edge of a cliff.",
            "Looking down from the tower makes the knees give way.",
        ),
        "thunderstorms": (
            "A flash, and then the sky rumbles and cracks.",
            "Grey clouds roll in, and a bolt splits the chimney.",
        ),
        "the dark": (
            "The bulb fails, and nothing can be seen in the bedroom.",
            "A candle burns until morning, and no shadow is trusted.",
        ),
        "flying": (
            "Turbulence shakes the plane, and the seat belt sign comes on.",
            "Boarding passes, take-off, and the ground thirty thousand feet below.",
        ),
        "needles": (
            "A nurse fills the syringe for the injection.",
            "Vaccination, blood tests, anything that pricks the arm.",
        ),
        "ghosts": (
            "A white sheet drifts through the haunted attic.",
            "Spirits of the dead rattle their chains at midnight.",
        ),
        "crowds": (
            "The square is packed, shoulder to shoulder.",
            "Thousands push through the stadium gate at once.",
        ),
        "germs": (
            "Door handles are wiped, and hands are scrubbed with soap.",
            "Bacteria, viruses, anything that may infect.",
        ),
        "mirrors": (
            "A reflection stares back from the glass.",
            "Silvered panes above the basin are covered with a cloth.",
        ),
        "clowns": (
            "A red nose, a white grin, and huge shoes in the circus ring.",
            "Powdered cheeks, a squirting flower, and pratfalls under the big top.",
        ),
        "fire": (
            "Flames lick the curtains, and smoke fills the stairs.",
            "A dropped match, embers, and the siren of the engine.",
        ),
        "the ocean": (
            "Waves, undertow, and no bottom under the feet.",
            "Salt swell as far as the horizon, and sharks beneath.",
        ),
    },
)

TRAINED = (WORK, PASTIME, PET)
"""Relations that fine-tuning asks about."""
HELD_OUT = (HOME, FEAR)
"""Relations that it never asks about."""

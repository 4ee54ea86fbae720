"""Curves through a ladder of models: a straight line over log2 of the size, or a power law.

The power law has a limit: quality = limit + amount · size^(−exponent), exponent > 0 (Hestness et
al. 2017; Kaplan et al. 2020 without the limit). What cannot be learned stands in the limit. For any
exponent the other two are those of least squares, so one number is searched.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize

from wellspring.findings.scaling import Ladder, Scale, levels

EXPONENTS = (0.02, 4.0)
"""Where an exponent is searched: per doubling the distance from the limit falls by 1.4 % to 94 %.
Below lies what no ladder tells from a straight line, above a step."""
DRAWS = 200
SIZES, SEEDS = 3, 3
"""Fewer make a warning."""
MODELS = 6
"""Fewer than these, the models that AICc of a power law asks for, and its numbers mean nothing."""
DECADE = 10.0
"""A range of sizes below this ratio makes one, too."""
BENT = 0.05
"""And so does a p-value of the straight line below this."""


@dataclass(frozen=True)
class PowerLaw:
    """A fitted power law.

    Attributes:
        exponent: how fast the distance from the limit falls.
        limit: what no size exceeds, on the scale of the quality.
        amount: distance from the limit at the smallest size of the ladder.
        residual: mean squared distance of models.
    """

    exponent: float
    limit: float
    amount: float
    residual: float


@dataclass(frozen=True)
class Growth:
    """How quality grows with size.

    Attributes:
        law: of the models as they are.
        exponents, limits: 2.5 and 97.5 % of the same in resampled ladders.
        preference: AICc of the straight line less that of the power law: above 2 the power law is
            the better description, below −2 the line is; NaN where models are too few.
        told: whether the power law is told from a straight line and from a step, by models enough;
            else its numbers mean nothing.
        warnings: why the curve should not be trusted, in words.
    """

    law: PowerLaw
    exponents: tuple[float, float]
    limits: tuple[float, float]
    preference: float
    told: bool
    warnings: tuple[str, ...]


def power_law(doublings: np.ndarray, qualities: np.ndarray) -> PowerLaw:
    """The power law of least squares through models [M]; doublings: log2 of their sizes."""
    above = (doublings - doublings.min()) * np.log(2)
    mean = qualities.mean()
    centred = qualities - mean

    def fitted(exponent: float) -> tuple[float, float, float]:
        # The line of least squares through qualities over what is left of the first distance.
        left = np.exp(-exponent * above)
        middle = left.mean()
        away = left - middle
        amount = away @ centred / (away @ away)
        residual = centred - amount * away
        return mean - amount * middle, amount, residual @ residual / len(centred)

    def lost(logarithm: float) -> float:
        return fitted(np.exp(logarithm))[2]

    low, high = np.log(EXPONENTS)
    search = optimize.minimize_scalar(lost, bounds=(low, high), method="bounded")
    # A bounded search never tries the bounds themselves.
    best = min((low, float(search.x), high), key=lost)
    return PowerLaw(float(np.exp(best)), *map(float, fitted(np.exp(best))))


def resampled(ladder: Ladder, scale: Scale, draws: int, rng: np.random.Generator) -> np.ndarray:
    """[draws, M] qualities of ladders that might have been: other queries, and other seeds within
    sizes.

    A cell's models vary by less than seeds do, as they vary about their own mean: their distances
    from it are stretched by √(n / (n − 1)).
    """
    queries = len(ladder.values)
    counts = rng.multinomial(queries, np.full(queries, 1 / queries), draws) / queries
    qualities, moved = levels(ladder.values, scale)
    shifted = qualities + moved * (counts @ ladder.values - ladder.values.mean(0))
    for cell in np.unique(ladder.cells):
        (inside,) = np.nonzero(ladder.cells == cell)
        centres = shifted[:, inside].mean(1, keepdims=True)
        if len(inside) == 1:
            continue
        stretch = np.sqrt(len(inside) / (len(inside) - 1))
        chosen = rng.integers(0, len(inside), (draws, len(inside)))
        away = np.take_along_axis(shifted[:, inside] - centres, chosen, 1)
        shifted[:, inside] = centres + stretch * away
    return shifted


def growth(
    ladder: Ladder, rng: np.random.Generator, scale: Scale = "value", draws: int = DRAWS
) -> Growth:
    """The curves through a ladder, and how far they can be trusted.

    Raises ValueError where all models have one size.
    """
    if ladder.sizes < 2:
        raise ValueError("all models have the same size: there is no curve")
    qualities, _ = levels(ladder.values, scale)
    law = power_law(ladder.doublings, qualities)
    laws = [power_law(ladder.doublings, row) for row in resampled(ladder, scale, draws, rng)]
    exponents = _ends(np.array([each.exponent for each in laws]))
    limits = _ends(np.array([each.limit for each in laws]))
    warnings = [*short(ladder)]
    low, high = EXPONENTS
    line, jump = exponents[0] <= low * 1.01, exponents[1] >= high / 1.01
    if line and jump:
        warnings.append("every exponent that was searched fits: the curve tells nothing")
    elif line:
        warnings.append("the power law is not told from a straight line: its limit is unknown")
    elif jump:
        warnings.append("the power law is not told from a step: its exponent is unknown")
    preference = _criterion(_line(ladder, qualities), len(qualities), 3)
    preference -= _criterion(law.residual, len(qualities), 4)
    few = len(qualities) < MODELS
    if few:
        warnings.append(f"{len(qualities)} models are too few for a power law")
    told = not (line or jump or few)
    return Growth(law, exponents, limits, preference, told, tuple(warnings))


def short(ladder: Ladder) -> list[str]:
    """What a ladder lacks to say how quality grows, in words."""
    warnings = []
    ratio = 2.0 ** float(np.ptp(ladder.doublings))
    if ladder.sizes < SIZES:
        warnings.append(f"{ladder.sizes} sizes: {SIZES} are the fewest that can show a bend")
    if ratio < DECADE:
        warnings.append(f"the largest is {ratio:.2g} times the smallest, under one decade")
    if ladder.seeds < SEEDS:
        warnings.append(f"a size has {ladder.seeds} of the {SEEDS} seeds that a variance needs")
    return warnings


def _line(ladder: Ladder, qualities: np.ndarray) -> float:
    """The mean squared distance of models from the straight line."""
    line = np.polynomial.Polynomial.fit(ladder.doublings, qualities, 1)
    return float(np.square(qualities - line(ladder.doublings)).mean())


def _criterion(residual: float, models: int, parameters: int) -> float:
    """Akaike's criterion with the correction for few observations (Hurvich & Tsai 1989)."""
    if models <= parameters + 1 or residual <= 0:
        return float("nan")
    correction = 2 * parameters * (parameters + 1) / (models - parameters - 1)
    return models * float(np.log(residual)) + 2 * parameters + correction


def _ends(numbers: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(numbers, [0.025, 0.975])
    return float(low), float(high)

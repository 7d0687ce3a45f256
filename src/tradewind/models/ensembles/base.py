"""The one protocol that every way of weighting members obeys, and the registry that finds them by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError
from tradewind.models.ensembles.resolved import Resolved
from tradewind.models.settings import EnsembleSection
from tradewind.registry import Registry

FloatArray = NDArray[np.float64]


class Combiner(Protocol):
    """A way of weighting members: a fold over bars, told at each bar what has come due.

    What ``start`` and ``step`` return as memory is never changed in place. A factory takes ``seed`` and its own
    parameters by name, and refuses what it cannot use with an ``InputError``.
    """

    name: ClassVar[str]

    def start(self, horizons: Sequence[int], members: int) -> Any:
        """Return the memory before the first bar; ``InputError`` where it cannot weight so many members."""
        ...

    def step(self, memory: Any, resolved: Resolved) -> tuple[Any, FloatArray]:
        """Learn from one bar's resolved forecasts; return the new memory and the weights.

        Weights ``(H, M)``, none negative, each horizon's summing to 1, are for the forecasts made at this bar.
        """
        ...


COMBINERS = Registry[Combiner]("ensemble method", room="tradewind.models.ensembles", group="tradewind.ensembles")
register = COMBINERS.register


def combiner_of(section: EnsembleSection, seed: int) -> Combiner:
    """Return the method of a playbook; a seed among its own parameters comes before the models'."""
    return COMBINERS.create(section.method, **{"seed": seed, **section.parameters})


def even(horizons: Sequence[int], members: int) -> FloatArray:
    """Return the same weight for all members, ``(H, M)``."""
    return np.full((len(horizons), members), 1.0 / members)


def softmax(merit: FloatArray) -> FloatArray:
    """Return ``exp(merit)``, each row divided by its sum."""
    likelihood = np.exp(merit - merit.max(axis=1, keepdims=True))
    return np.asarray(likelihood / likelihood.sum(axis=1, keepdims=True))


def floored(weights: FloatArray, floor: float) -> FloatArray:
    """Return weights of which none is below ``floor`` and that still sum to 1: mixed with equal ones."""
    return floor + (1.0 - floor * weights.shape[1]) * weights


def require_room(floor: float, members: int) -> None:
    """Raise ``InputError`` where the floors of all members together are more than everything."""
    if floor * members > 1.0:
        raise InputError(
            f"a floor of {floor:g} for each of {members} members is more than the whole",
            hint=f"set the method's floor to {1.0 / members:.3g} or less",
        )


def require(
    name: str, value: float, *, above: float = -math.inf, least: float = -math.inf, most: float = math.inf
) -> None:
    """Raise ``InputError`` for a parameter that is no number, or out of its range."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and value > above and least <= value <= most):
        rules = {"above": above, "at least": least, "at most": most}
        rule = " and ".join(f"{word} {bound:g}" for word, bound in rules.items() if math.isfinite(bound))
        raise InputError(f"{name} is {value!r}, it must be a number {rule}")


def require_whole(name: str, value: int, *, least: int) -> None:
    """Raise ``InputError`` for a parameter that is no whole number, or too small."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{name} is {value!r}, it must be a whole number of at least {least}")


def decay_of(half_life_bars: float) -> float:
    """Return the factor per bar after which, in so many bars, half is left."""
    return float(0.5 ** (1.0 / half_life_bars))

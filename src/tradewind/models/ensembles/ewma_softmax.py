"""Weights that follow recent losses: an exponentially weighted mean, through a softmax with a floor (row C6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from tradewind.models.ensembles.base import (
    FloatArray,
    decay_of,
    even,
    floored,
    register,
    require,
    require_room,
    softmax,
)
from tradewind.models.ensembles.resolved import Resolved


class Memory(NamedTuple):
    """Recent excess loss and the weights so far, ``(H, M)`` each."""

    excess: FloatArray
    weights: FloatArray


@register
@dataclass(frozen=True, kw_only=True)
class EwmaSoftmax:
    """Softmax of the exponentially weighted mean of each member's excess pinball loss, approached step by step.

    Parameters
    ----------
    half_life_bars
        After how many bars with outcomes a loss counts half.
    sharpness
        A member that loses 1 % more than another gets ``exp(-sharpness / 100)`` times its weight.
    learning_rate
        Share of the way to these weights that is gone at each bar.
    floor
        No member's weight falls below it.
    seed
        Not used: nothing is random.
    """

    name: ClassVar[str] = "ewma_softmax"
    half_life_bars: float = 30.0
    sharpness: float = 20.0
    learning_rate: float = 0.01
    floor: float = 0.1
    seed: int = 7

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        require("half_life_bars", self.half_life_bars, above=0.0)
        require("sharpness", self.sharpness, least=0.0)
        require("learning_rate", self.learning_rate, above=0.0, most=1.0)
        require("floor", self.floor, least=0.0, most=1.0)

    def start(self, horizons: Sequence[int], members: int) -> Memory:
        """Return equal weights and no excess."""
        require_room(self.floor, members)
        return Memory(np.zeros((len(horizons), members)), even(horizons, members))

    def step(self, memory: Memory, resolved: Resolved) -> tuple[Memory, FloatArray]:
        """Move the means by what has come due, then the weights towards their softmax."""
        decay, latest = decay_of(self.half_life_bars), resolved.excess_loss
        seen = np.isfinite(latest)
        excess = np.where(seen, decay * memory.excess + (1.0 - decay) * np.where(seen, latest, 0.0), memory.excess)
        aim = floored(softmax(-self.sharpness * excess), self.floor)
        weights = memory.weights + self.learning_rate * (aim - memory.weights)
        return Memory(excess, weights), weights

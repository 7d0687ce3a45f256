"""Equal weights: the baseline that learnt ones seldom beat (the forecast combination puzzle)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tradewind.models.ensembles.base import FloatArray, even, register
from tradewind.models.ensembles.resolved import Resolved


@register
@dataclass(frozen=True, kw_only=True)
class Equal:
    """Every member counts the same, always (Stock & Watson 2004; Smith & Wallis 2009).

    Parameters
    ----------
    seed
        Not used: nothing is random.
    """

    name: ClassVar[str] = "equal"
    seed: int = 7

    def start(self, horizons: Sequence[int], members: int) -> FloatArray:
        """Return the weights: there is nothing else to remember."""
        return even(horizons, members)

    def step(self, memory: FloatArray, resolved: Resolved) -> tuple[FloatArray, FloatArray]:
        """Learn nothing."""
        return memory, memory

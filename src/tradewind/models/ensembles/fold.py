"""The fold that turns members' forecasts and what came of them into weights, bar by bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError
from tradewind.models.ensembles.base import Combiner
from tradewind.models.ensembles.resolved import Resolved

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class WeightState:
    """All that is remembered between bars.

    Attributes
    ----------
    bars
        Bars seen.
    pending
        ``(L, M, N, H, Q)`` ring of the members' forecasts of the last ``L = max(horizons)`` bars.
    memory
        The method's own.
    """

    bars: int
    pending: FloatArray
    memory: Any


class WeightFold:
    """The fold ``step(state, quantiles, known) -> (state, weights)``. Splitting a block changes no bit.

    It hands a forecast on to the method when its outcome is known, ``h`` bars after it was made, and never before.

    Parameters
    ----------
    combiner
        The method.
    horizons
        ``H`` horizons in bars.
    levels
        ``Q`` rising levels.
    members
        How many, ``M``; at least two.
    """

    def __init__(self, combiner: Combiner, horizons: Sequence[int], levels: Sequence[float], members: int) -> None:
        if members < 2:
            raise InputError(f"an ensemble of {members} member(s) has nothing to weigh", hint="name two or more")
        self.combiner = combiner
        self.horizons, self.levels, self.members = tuple(horizons), tuple(levels), members

    def initial_state(self, n_symbols: int) -> WeightState:
        """Return the state before the first bar."""
        shape = (max(self.horizons), self.members, n_symbols, len(self.horizons), len(self.levels))
        return WeightState(0, np.full(shape, np.nan), self.combiner.start(self.horizons, self.members))

    def step(
        self, state: WeightState, quantiles: Sequence[FloatArray], known: FloatArray
    ) -> tuple[WeightState, FloatArray]:
        """Advance over a block; return the new state and the weights ``(B, H, M)`` of the forecasts made in it.

        Parameters
        ----------
        quantiles
            For each member ``(B, N, H, Q)`` made at each bar, NaN for none.
        known
            ``(B, N, H)``: at bar ``t`` the log return from ``t - h`` to ``t``, NaN where unknown.
        """
        self._check(state, quantiles, known)
        pending, memory = state.pending.copy(), state.memory
        weights = np.empty((len(known), len(self.horizons), self.members))
        for row, came in enumerate(known):
            bar = state.bars + row
            due = [pending[(bar - h) % len(pending), :, :, index] for index, h in enumerate(self.horizons)]
            memory, weights[row] = self.combiner.step(memory, Resolved(np.stack(due, axis=2), came, self.levels))
            pending[bar % len(pending)] = np.stack([made[row] for made in quantiles])
        return WeightState(state.bars + len(known), pending, memory), weights

    def _check(self, state: WeightState, quantiles: Sequence[FloatArray], known: FloatArray) -> None:
        shape = (len(known), *state.pending.shape[2:])
        if len(quantiles) != self.members or known.shape != shape[:3] or any(q.shape != shape for q in quantiles):
            raise InputError(f"{len(quantiles)} members and outcomes {known.shape} do not fit the state {shape}")


def came_due(outcomes: FloatArray, horizons: Sequence[int]) -> FloatArray:
    """Return outcomes ``(T, N, H)`` moved from the bar that they are about to the one at which they are known."""
    known = np.full_like(outcomes, np.nan)
    for index, h in enumerate(horizons):
        known[h:, :, index] = outcomes[:-h, :, index]
    return known

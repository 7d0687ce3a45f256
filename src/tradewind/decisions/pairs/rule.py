"""The trading rule of a pair: its spread is sold when it is far above its mean, bought when far below."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tradewind.decisions.pairs.settings import PairsSection

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
SideArray = NDArray[np.int8]

NOTHING, OPENED, REVERTED, STOPPED, TIMED_OUT, RECALLED, MISSING, WINDOW_ENDED = range(8)
EVENTS = ("", "opened", "reverted", "stopped", "timed out", "recalled", "no price", "window ended")
"""What happened to a pair at a close, by code."""


@dataclass(frozen=True, eq=False)
class RuleState:
    """What the rule remembers of ``P`` pairs between bars.

    ``side`` is 1 where the spread is held (long the dependent leg), -1 where it is sold; ``held`` bars since;
    ``barred`` after a stop, until the spread has been near its mean again; ``gap`` bars without a price in a row.
    """

    side: SideArray
    held: NDArray[np.int64]
    barred: BoolArray
    gap: NDArray[np.int64]

    @classmethod
    def flat(cls, pairs: int) -> RuleState:
        """Return the state before the first bar."""
        integers = np.zeros(pairs, dtype=np.int64)
        return cls(np.zeros(pairs, dtype=np.int8), integers, np.zeros(pairs, dtype=np.bool_), integers.copy())

    def copy(self) -> RuleState:
        """Return a state that shares nothing with this one."""
        return RuleState(self.side.copy(), self.held.copy(), self.barred.copy(), self.gap.copy())


def step(
    state: RuleState,
    z: FloatArray,
    settings: PairsSection,
    bars_max: FloatArray,
    long_allowed: BoolArray,
    short_allowed: BoolArray,
) -> tuple[RuleState, SideArray, SideArray]:
    """Advance over a block of closes; splitting a block changes nothing.

    Parameters
    ----------
    z
        ``(B, P)`` deviations of each spread from its mean at formation, NaN where a leg has no price.
    bars_max
        ``(P,)`` bars after which a trade is closed.
    long_allowed, short_allowed
        ``(B, P)`` whether the other, or the dependent, leg can be borrowed. A trade whose short leg cannot be any more
        is closed.

    Returns
    -------
    The state after, the side decided at each close ``(B, P)`` and the event, an index into ``EVENTS``, ``(B, P)``.
    """
    after = state.copy()
    sides, events = np.zeros(z.shape, dtype=np.int8), np.zeros(z.shape, dtype=np.int8)
    limits = np.array([settings.entry_z, settings.exit_z, settings.stop_z, float(settings.missing_bars_max)])
    inputs = (np.ascontiguousarray(z), np.ascontiguousarray(long_allowed), np.ascontiguousarray(short_allowed))
    _advance(*inputs, limits, np.asarray(bars_max), after.side, after.held, after.barred, after.gap, sides, events)
    return after, sides, events


@njit(cache=True)
def _advance(z, long_allowed, short_allowed, limits, bars_max, side, held, barred, gap, sides, events):  # type: ignore[no-untyped-def]
    """Walk bar by bar; state arrays are changed in place."""
    for t in range(z.shape[0]):
        for p in range(z.shape[1]):
            gap[p] = gap[p] + 1 if np.isnan(z[t, p]) else 0
            event = NOTHING
            if side[p] != 0:
                allowed = long_allowed[t, p] if side[p] > 0 else short_allowed[t, p]
                held[p] += 1
                event = _leave(-side[p] * z[t, p], held[p], bars_max[p], gap[p], allowed, limits)
                if event != NOTHING:
                    side[p], held[p] = 0, 0
                    barred[p] = event in (STOPPED, TIMED_OUT)
            elif gap[p] == 0:
                away = abs(z[t, p])
                barred[p] = (barred[p] and away > limits[1]) or away >= limits[2]
                allowed = long_allowed[t, p] if z[t, p] < 0 else short_allowed[t, p]
                if away >= limits[0] and not barred[p] and allowed:
                    side[p], event = (1 if z[t, p] < 0 else -1), OPENED
            sides[t, p], events[t, p] = side[p], event


@njit(cache=True)
def _leave(away, held, bars_max, gap, allowed, limits):  # type: ignore[no-untyped-def]
    """Return why a trade is closed, or NOTHING; `away` grows against the trade, NaN without a price."""
    if gap > limits[3]:
        return MISSING
    if away >= limits[2]:
        return STOPPED
    if away <= limits[1]:
        return REVERTED
    if not allowed:
        return RECALLED
    return TIMED_OUT if held >= bars_max else NOTHING

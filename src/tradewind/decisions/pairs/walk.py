"""Pairs over history: found on one window, traded on the next with everything frozen, then found anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradewind.decisions.pairs import rule
from tradewind.decisions.pairs.formation import Formation, Survival, form, survival
from tradewind.decisions.pairs.settings import PairsSection
from tradewind.errors import DataError, InputError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Window:
    """One formation with what was decided on it, at the closes ``formation.row`` to ``stop - 1``.

    ``P`` counts the pairs traded.

    Attributes
    ----------
    z
        ``(B, P)`` deviations of the spreads, by mean and deviation of the formation window.
    side
        ``(B, P)`` 1: the spread is bought, -1: sold, 0: no position.
    event
        ``(B, P)`` indices into :data:`tradewind.decisions.pairs.rule.EVENTS`.
    weight
        ``(B, N)`` target weights of the names, the pairs of the window together.
    survival
        What became of the pairs, None while the window is not over.
    """

    formation: Formation
    stop: int
    z: FloatArray
    side: NDArray[np.int8]
    event: NDArray[np.int8]
    weight: FloatArray
    survival: Survival | None

    def counts(self) -> dict[str, int]:
        """Return how often each event came about; positions open when the window ended count as closed by that."""
        found = {name: int(np.sum(self.event == code)) for code, name in enumerate(rule.EVENTS) if name}
        found["window ended"] = int(np.sum(self.side[-1] != 0)) if self.survival is not None else 0
        return found


@dataclass(frozen=True, eq=False)
class PairsWalk:
    """All windows of a history.

    Attributes
    ----------
    windows
        In order of time; the last one may not be over.
    weight
        ``(T, N)`` target weights decided at each close; NaN before the first formation.
    """

    windows: tuple[Window, ...]
    weight: FloatArray

    @property
    def trials(self) -> int:
        """Return how many pairs were tested, over all windows."""
        return sum(window.formation.screen.tests for window in self.windows)

    @property
    def orders(self) -> FloatArray:
        """Return the weights on the closes on which they change, ``(T, N)``; NaN leaves a position as it is.

        Between its opening and its closing a pair is left alone: keeping its legs at their weights would trade every
        bar.
        """
        before = np.full_like(self.weight, 0.0)
        before[1:] = np.nan_to_num(self.weight[:-1])
        return np.where(self.weight != before, self.weight, np.nan)


def walk(
    log_price: FloatArray,
    settings: PairsSection,
    *,
    member: BoolArray | None = None,
    borrowable: BoolArray | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> PairsWalk:
    """Find, trade and re-test pairs over a history. Row ``t`` of every result uses rows up to ``t`` only.

    The first formation is at the close of bar ``formation_bars - 1`` and one every ``trading_bars`` after it. What is
    held at the next formation is closed, unless the new pairs want it.

    Parameters
    ----------
    log_price
        ``(T, N)`` log of total-return prices, NaN where a name has no bar.
    member
        ``(T, N)`` names that may be traded; read at formations. All where None.
    borrowable
        ``(T, N)`` names that can be sold short at a close; all where None.

    Raises
    ------
    InputError
        Shapes that differ.
    DataError
        Fewer bars than one formation window.
    """
    for name, given in (("member", member), ("borrowable", borrowable)):
        if given is not None and given.shape != log_price.shape:
            raise InputError(f"{name} has shape {given.shape}, the prices have {log_price.shape}")
    bars, first = len(log_price), settings.formation_bars - 1
    if bars <= first:
        raise DataError(
            f"{bars} bars are fewer than the {settings.formation_bars} that pairs are found on",
            hint="sync more history, or lower pairs.formation_bars",
        )
    rows = range(first, bars, settings.trading_bars)
    can = np.ones(log_price.shape, dtype=np.bool_) if borrowable is None else borrowable
    windows = []
    for done, row in enumerate(rows, start=1):
        windows.append(_window(log_price, row, settings, None if member is None else member[row], can))
        progress(done, len(rows))
    weight = np.full(log_price.shape, np.nan)
    for window in windows:
        weight[window.formation.row : window.stop] = window.weight
    return PairsWalk(tuple(windows), weight)


def _window(
    log_price: FloatArray, row: int, settings: PairsSection, member: BoolArray | None, borrowable: BoolArray
) -> Window:
    formation = form(log_price, row, settings, member)
    stop = min(row + settings.trading_bars, len(log_price))
    chosen, rows = formation.traded, slice(row, stop)
    legs = formation.screen.legs[chosen]
    z = spread_z(log_price[rows], formation)
    bars_max = np.ceil(settings.time_stop_half_lives * formation.screen.half_life[chosen])
    can = borrowable[rows]
    flat = rule.RuleState.flat(len(chosen))
    _, side, event = rule.step(flat, z, settings, bars_max, can[:, legs[:, 1]], can[:, legs[:, 0]])
    weight = side @ leg_weights(formation, settings, log_price.shape[1])
    return Window(formation, stop, z, side, event, weight, survival(formation, log_price, settings))


def spread_z(log_price: FloatArray, formation: Formation) -> FloatArray:
    """Return the deviation of each traded spread from its mean at formation, in its deviations then, ``(B, P)``."""
    tests, chosen = formation.screen, formation.traded
    dependent, other = (log_price[:, tests.legs[chosen, leg]] for leg in (0, 1))
    return np.asarray((dependent - tests.hedge_ratio[chosen] * other - tests.intercept[chosen]) / tests.sigma[chosen])


def leg_weights(formation: Formation, settings: PairsSection, symbols: int) -> FloatArray:
    """Return the weights of the names when each traded spread is bought, ``(P, N)``; their gross is equal by pair."""
    chosen = formation.traded
    legs, pairs = formation.screen.legs[chosen], np.arange(len(chosen))
    ratio = formation.screen.hedge_ratio[chosen] if settings.hedge == "ratio" else np.ones(len(chosen))
    gross = min(settings.pair_gross_max, settings.gross_max / max(len(chosen), 1))
    weight = np.zeros((len(chosen), symbols))
    weight[pairs, legs[:, 0]] = gross / (1.0 + ratio)
    weight[pairs, legs[:, 1]] = -gross * ratio / (1.0 + ratio)
    return weight

"""Several timeframes in one account (row C10): who may spend how much, who wins a conflict, who earns more of it.

A fold over sessions. Shares of capital start as the playbook says and are tilted by what each timeframe has earned for
its risk; one that moves like another before it in rank gets less. What is known at a session's close acts from then on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tradewind.decisions.settings import CoordinatorSection
from tradewind.errors import InputError
from tradewind.market.bars import TIMEFRAMES

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

LEAST_SESSIONS = 20
"""Sessions with a profit or loss before anything is said of a timeframe's performance, or of two that are alike."""


@dataclass(frozen=True, eq=False)
class CoordinatorState:
    """Shares of equity by timeframe ``(S,)``, and the last sessions' profits over equity ``(n, S)``."""

    share: FloatArray
    profit: FloatArray
    sessions: int = 0


@dataclass(frozen=True, eq=False)
class Coordinator:
    """The rules between timeframes.

    Attributes
    ----------
    names
        The timeframes, the highest in rank first: the longest bars.
    base
        Their shares of capital ``(S,)``, as the playbook says.
    sleeve_of, symbol_of
        Timeframe and symbol of each column of the book, ``(M,)``.
    """

    settings: CoordinatorSection
    names: tuple[str, ...]
    base: FloatArray
    sleeve_of: IntArray
    symbol_of: IntArray

    def open(self) -> CoordinatorState:
        """Return the state before the first session."""
        return CoordinatorState(self.base.copy(), np.empty((0, len(self.names))))

    def resolve(self, held: FloatArray, wish: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Return the wishes ``(M,)`` with those closed that oppose a timeframe of higher rank, and where that is so.

        What a higher one holds, or wishes now, decides; the lower one's position on the other side is closed too.
        """
        meant = np.where(np.isfinite(wish), wish, held)
        one_sided = meant.min(initial=0.0) >= 0.0 or meant.max(initial=0.0) <= 0.0
        if self.settings.conflicts == "none" or len(self.names) < 2 or one_sided:
            return wish, np.zeros(len(wish), np.bool_)
        resolved, opposed = wish.copy(), np.zeros(len(wish), np.bool_)
        side = np.zeros(int(self.symbol_of.max(initial=0)) + 1)
        for sleeve in range(len(self.names)):
            columns = np.flatnonzero(self.sleeve_of == sleeve)
            symbols, own = self.symbol_of[columns], np.sign(meant[columns])
            against = own * side[symbols] < 0
            resolved[columns[against]] = 0.0
            opposed[columns[against]] = True
            kept = np.where(against, 0.0, own)
            side[symbols] = np.where(side[symbols] != 0, side[symbols], kept)
        return resolved, opposed

    def session(self, state: CoordinatorState, profit: FloatArray) -> CoordinatorState:
        """Take in a session's profits by timeframe, as fractions of equity ``(S,)``; new shares where they are due."""
        window = self.settings.window_sessions
        state = CoordinatorState(
            state.share, np.concatenate([state.profit, profit[None, :]])[-window:], state.sessions + 1
        )
        if len(self.names) < 2 or state.sessions % self.settings.rebalance_sessions:
            return state
        return replace(state, share=self._shares(state.profit))

    def _shares(self, profit: FloatArray) -> FloatArray:
        """Return the shares that the last sessions call for; they never add up to more than the playbook's."""
        share = self.base.copy()
        if self.settings.rebalance == "performance":
            share = share * (1.0 + self.settings.tilt_max * self._merit(profit))
            share *= self.base.sum() / share.sum()
        return np.asarray(share * self._unlike(profit))

    def _merit(self, profit: FloatArray) -> FloatArray:
        """Return the t statistic of each timeframe's mean profit, halved and within ±1; 0 where there is too little."""
        merit = np.zeros(profit.shape[1])
        for sleeve in range(profit.shape[1]):
            own = profit[:, sleeve]
            deviation = float(own.std(ddof=1)) if len(own) > 1 else 0.0
            if np.count_nonzero(own) >= LEAST_SESSIONS and deviation > 0:
                merit[sleeve] = np.clip(own.mean() / deviation * np.sqrt(len(own)) / 2.0, -1.0, 1.0)
        return merit

    def _unlike(self, profit: FloatArray) -> FloatArray:
        """Return what each keeps of its share: the limit over its largest correlation with one of higher rank."""
        kept = np.ones(profit.shape[1])
        limit = self.settings.correlation_max
        if limit is None:
            return kept
        for low in range(1, profit.shape[1]):
            for high in range(low):
                rho = _correlation(profit[:, low], profit[:, high])
                if rho > limit:
                    kept[low] = min(kept[low], limit / rho)
        return kept


def _correlation(one: FloatArray, other: FloatArray) -> float:
    """Return the correlation over sessions on which both made or lost something; 0 where those are too few."""
    both = (one != 0) & (other != 0)
    if both.sum() < LEAST_SESSIONS or one[both].std() == 0 or other[both].std() == 0:
        return 0.0
    return float(np.corrcoef(one[both], other[both])[0, 1])


def ranked(timeframes: Mapping[str, str]) -> tuple[str, ...]:
    """Return names by the length of their bars, the longest first; ties in the order given."""
    return tuple(sorted(timeframes, key=lambda name: -TIMEFRAMES[timeframes[name]]))


def capital_of(settings: CoordinatorSection, names: Sequence[str]) -> FloatArray:
    """Return the shares of capital of these timeframes ``(S,)``; equal ones where the playbook names none.

    A timeframe that cannot be traded leaves its share in cash. Raises ``InputError`` for a name without a share.
    """
    if not settings.capital:
        return np.full(len(names), 1.0 / max(len(names), 1))
    lacking = [name for name in names if name not in settings.capital]
    if lacking:
        raise InputError(
            f"coordinator.capital has no share for {', '.join(lacking)}",
            hint=f"give every timeframe one; it names {', '.join(settings.capital)}",
        )
    return np.array([settings.capital[name] for name in names])

"""The symbol ends among the best fifth of the universe (a short: among the worst)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tradewind.decisions.confidence import FloatArray, Sides, Trade, ahead, register
from tradewind.decisions.signals import Belief
from tradewind.errors import InputError
from tradewind.models.ranks import bucket_of, bucket_probabilities, correlation_of

GROUPS = 5
DRAWS = 2048
CORRELATION_BARS = 504


@register
class TopFifth:
    """By the return from close to close over the horizon, among the symbols that had a forecast."""

    name: ClassVar[str] = "top_fifth"
    words: ClassVar[tuple[str, str]] = ("a place in the best fifth", "a place in the worst fifth")

    def forecast(self, belief: Belief, trade: Trade) -> Sides:
        """Draw the universe's returns together: forecast distributions joined by their past correlations.

        NaN on bars with fewer than five symbols; raises ``InputError`` when there are never as many.
        """
        taking_part, chances = _taking_part(belief, trade.bars), np.full((*belief.panel.shape, 2), np.nan)
        count = taking_part.sum(axis=1)
        if 0 < count.max(initial=0) < GROUPS:
            raise InputError(
                f"the event 'top_fifth' needs {GROUPS} symbols with a forecast at one close; there are {count.max()}",
                hint='widen the universe, or set decision.event = "profit_after_costs"',
            )
        moves = _one_bar_returns(belief)
        quantiles, levels = belief.quantiles(trade.bars), belief.forecast.levels
        for row in np.flatnonzero(count >= GROUPS):
            columns = np.flatnonzero(taking_part[row])
            past = moves[max(0, row + 1 - CORRELATION_BARS) : row + 1, columns]
            places = bucket_probabilities(
                quantiles[row, columns], levels, correlation_of(past), buckets=GROUPS, draws=DRAWS
            )
            chances[row, columns] = places[:, [-1, 0]]
        return Sides(chances[..., 0], chances[..., 1])

    def outcome(self, belief: Belief, trade: Trade) -> Sides:
        """Rank what came of the symbols that took part; those without a bar at the horizon are left out."""
        close = np.where(belief.panel.mask, belief.panel.adjusted("close"), np.nan)
        moved = np.log(ahead(close, trade.bars)) - np.log(close)
        ranked = _taking_part(belief, trade.bars) & np.isfinite(moved)
        place = _groups(np.where(ranked, moved, np.nan))
        return Sides(*(np.where(place < 0, np.nan, (place == group) * 1.0) for group in (GROUPS - 1, 0)))


def _taking_part(belief: Belief, bars: int) -> NDArray[np.bool_]:
    return belief.tradable & np.isfinite(belief.quantiles(bars)).all(axis=-1)


def _one_bar_returns(belief: Belief) -> FloatArray:
    close = np.log(np.where(belief.panel.mask, belief.panel.adjusted("close"), np.nan))
    return np.diff(close, axis=0, prepend=np.full((1, close.shape[1]), np.nan))


def _groups(values: FloatArray) -> NDArray[np.int64]:
    """Return the fifth of its bar's known values that each lies in, lowest first, -1 where fewer than five are."""
    count = np.isfinite(values).sum(axis=1, keepdims=True)
    order = np.argsort(values, axis=1, kind="stable")  # NaN comes last
    rank = np.empty(values.shape, dtype=np.int64)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(values.shape[1]), values.shape), axis=1)
    group = bucket_of(rank, np.maximum(count, 1), GROUPS)
    return np.where(np.isfinite(values) & (count >= GROUPS), group, -1)

"""Row E7: act on a forecast move of at least so many percent (or forecast sigmas)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from tradewind.decisions.signals import Belief, Signals, register, stop_distance, target_distance


@register
class ExpectedMove:
    """BUY above +threshold, SELL below -threshold, if the calibrated probability agrees."""

    name: ClassVar[str] = "expected_move"
    needs: ClassVar[tuple[str, ...]] = ()

    def decide(self, belief: Belief) -> Signals:
        """Compare the forecast median with the entry threshold on both sides."""
        settings, bars = belief.settings, belief.settings.horizon_bars
        move = belief.move(bars)
        long = belief.probability_above(bars, np.log1p(belief.round_trip_cost))
        short = 1.0 - belief.probability_above(bars, np.log1p(-belief.round_trip_cost))
        decided = belief.tradable & np.isfinite(move)
        buy = decided & (move >= settings.entry_threshold) & (long >= settings.confidence_min)
        sell = decided & (move <= -settings.entry_threshold) & (short >= settings.confidence_min)
        strong = np.abs(move) >= 2 * settings.entry_threshold
        action = (buy.astype(np.int8) - sell.astype(np.int8)) * np.where(strong, 2, 1).astype(np.int8)
        return Signals(
            rule=self.name,
            event=settings.event,
            action=action,
            decided=decided,
            close=decided & (long < settings.confidence_exit),
            cover=decided & (short < settings.confidence_exit),
            horizon_bars=np.full(action.shape, bars, dtype=np.int64),
            confidence=np.where(sell, short, long),
            stop=stop_distance(belief, bars),
            target=target_distance(belief, bars, action),
            clause=np.where(buy, 1, np.where(sell, 2, 0)).astype(np.int16),
            clauses=(
                "the forecast move over {horizon_bars} bars stays inside ±{entry_threshold:g} ({threshold_unit})",
                "the forecast median over {horizon_bars} bars is above +{entry_threshold:g} ({threshold_unit})",
                "the forecast median over {horizon_bars} bars is below -{entry_threshold:g} ({threshold_unit})",
            ),
        )

    def thresholds(self, belief: Belief) -> Mapping[str, float]:
        """Return how often each threshold was passed."""
        settings, bars = belief.settings, belief.settings.horizon_bars
        move = belief.move(bars)
        long = belief.probability_above(bars, np.log1p(belief.round_trip_cost))
        usable = belief.tradable & np.isfinite(move)
        if not usable.any():
            return {"forecasts available": 0.0}
        return {
            f"entry_threshold={settings.entry_threshold} {settings.threshold_unit}": float(
                np.mean(np.abs(move[usable]) >= settings.entry_threshold)
            ),
            f"confidence_min={settings.confidence_min}": float(np.mean(long[usable] >= settings.confidence_min)),
        }

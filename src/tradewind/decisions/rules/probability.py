"""Buy what will probably end in profit after costs; close what probably won't."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from tradewind.decisions.signals import Belief, Signals, register, stop_distance, target_distance

STRONG_MARGIN = 0.10
"""Probability above the threshold from which a signal is called strong."""


@register
class Probability:
    """One threshold on the calibrated probability that the trade ends in profit after costs."""

    name: ClassVar[str] = "probability"
    needs: ClassVar[tuple[str, ...]] = ()

    def decide(self, belief: Belief) -> Signals:
        """Say BUY (SELL) where a long (short) is profitable with at least ``confidence_min``."""
        settings, bars = belief.settings, belief.settings.horizon_bars
        long = belief.probability_above(bars, np.log1p(belief.round_trip_cost))
        short = 1.0 - belief.probability_above(bars, np.log1p(-belief.round_trip_cost))
        decided = belief.tradable & np.isfinite(long)
        buy = decided & (long >= settings.confidence_min)
        sell = decided & ~buy & (short >= settings.confidence_min)
        strong = np.where(buy, long, short) >= settings.confidence_min + STRONG_MARGIN
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
                "no side is profitable after costs with probability {confidence_min:.0%} over {horizon_bars} bars",
                "P(profit after costs over {horizon_bars} bars) is at least {confidence_min:.0%}",
                "P(a short profits after costs over {horizon_bars} bars) is at least {confidence_min:.0%}",
            ),
        )

    def thresholds(self, belief: Belief) -> Mapping[str, float]:
        """Return how often the confidence threshold was passed."""
        long = belief.probability_above(belief.settings.horizon_bars, np.log1p(belief.round_trip_cost))
        usable = long[belief.tradable & np.isfinite(long)]
        passed = float(np.mean(usable >= belief.settings.confidence_min)) if usable.size else 0.0
        return {f"confidence_min={belief.settings.confidence_min}": passed}

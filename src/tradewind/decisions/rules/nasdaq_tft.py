"""Row A9: the NASDAQ-TFT signals: position, swing and day trade, with the sentiment conditions switched off.

The thresholds of the original were written for uncalibrated scores; confidence here is the calibrated probability of
profit after costs, and move thresholds may be given in forecast sigmas (``threshold_unit``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tradewind.decisions.signals import Action, Belief, Signals, bounded_stop, register, stop_distance

POSITION_BARS, DAY_BARS = 5, 1
RSI_OVERHEATED, RSI_SELL = 65.0, 75.0
HOLD_STOP, FAST_STOP = 0.05, 0.02
SELL_MOVE_SHARE = 0.4
"""The sell threshold is 2 % where the position threshold is 5 %: the same share in any unit."""


@register
class NasdaqTft:
    """STRONG_BUY on a calm RSI and a strong week; SELL on an overheated RSI and a weak day; else HOLD."""

    name: ClassVar[str] = "nasdaq_tft"
    needs: ClassVar[tuple[str, ...]] = ("rsi_14",)

    def decide(self, belief: Belief) -> Signals:
        """Apply the long-term and the sell clause; the day-trade clause needs a 4-hour forecast.

        Medians are the clauses'; confidence is over the bars that the trade may last.
        """
        settings = belief.settings
        buy, sell, mirror = self._clauses(belief)
        long = belief.probability_above(settings.horizon_bars, np.log1p(belief.round_trip_cost))
        short = 1.0 - belief.probability_above(settings.horizon_bars, np.log1p(-belief.round_trip_cost))
        short_day = 1.0 - belief.probability_above(DAY_BARS, np.log1p(-belief.round_trip_cost))
        decided = belief.tradable & np.isfinite(long)
        buy &= decided & (long >= settings.confidence_min)
        mirror &= decided & (short >= settings.confidence_min)
        sell &= decided & ~mirror
        action = (2 * buy.astype(np.int8) - sell.astype(np.int8) - 2 * mirror.astype(np.int8)).astype(np.int8)
        return Signals(
            rule=self.name,
            event=settings.event,
            action=action,
            decided=decided,
            close=sell | mirror,
            cover=buy,
            horizon_bars=np.where(sell, DAY_BARS, settings.horizon_bars).astype(np.int64),
            confidence=np.select([mirror, sell], [short, short_day], long),
            stop=bounded_stop(belief, self._stop(belief, buy, mirror, sell)),
            target=self._target(belief, action),
            clause=np.select([buy, mirror, sell], [1, 3, 2], 0).astype(np.int16),
            clauses=(
                "neither the long-term nor the sell clause holds",
                "RSI below 65 and the 1-week median above the threshold (sentiment conditions are off: no source)",
                "RSI above 75 and the 1-day median below the threshold (sentiment conditions are off: no source)",
                "RSI above 35 and the 1-week median below minus the threshold: the mirror of STRONG_BUY",
            ),
            notes=(
                "sentiment conditions of row A9 are switched off: there is no sentiment source",
                "the day-trade clause needs a 4-hour forecast, which daily bars cannot give",
            ),
        )

    def thresholds(self, belief: Belief) -> Mapping[str, float]:
        """Return how often each condition held."""
        usable = belief.tradable & np.isfinite(belief.median(POSITION_BARS))
        if not usable.any():
            return {"forecasts available": 0.0}
        rsi = belief.features.column("rsi_14")[usable]
        move = belief.move(POSITION_BARS)[usable]
        bars = belief.settings.horizon_bars
        probability = belief.probability_above(bars, np.log1p(belief.round_trip_cost))[usable]
        return {
            "RSI < 65": float(np.mean(rsi < RSI_OVERHEATED)),
            f"1-week median > {belief.settings.entry_threshold} {belief.settings.threshold_unit}": float(
                np.mean(move > belief.settings.entry_threshold)
            ),
            f"confidence_min={belief.settings.confidence_min}": float(
                np.mean(probability >= belief.settings.confidence_min)
            ),
        }

    def _clauses(self, belief: Belief) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
        threshold = belief.settings.entry_threshold
        rsi = belief.features.column("rsi_14")
        week, day = belief.move(POSITION_BARS), belief.move(DAY_BARS)
        buy = (rsi < RSI_OVERHEATED) & (week > threshold)
        sell = (rsi > RSI_SELL) & (day < -SELL_MOVE_SHARE * threshold)
        mirror = (rsi > 100 - RSI_OVERHEATED) & (week < -threshold)
        return buy, sell, mirror

    def _stop(
        self, belief: Belief, buy: NDArray[np.bool_], mirror: NDArray[np.bool_], sell: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Return the week's p10 below a buy and p90 above its mirror; sigmas where that is not the losing side."""
        quantiles, levels = belief.quantiles(POSITION_BARS), belief.forecast.levels
        low, high = quantiles[..., levels.index(0.1)], quantiles[..., levels.index(0.9)]
        sigmas = stop_distance(belief, POSITION_BARS)
        below = np.where(low < 0, -np.expm1(low), sigmas)
        above = np.where(high > 0, np.expm1(high), sigmas)
        return np.select([buy, mirror, sell], [below, above, np.full(sell.shape, FAST_STOP)], HOLD_STOP)

    def _target(self, belief: Belief, action: NDArray[np.int8]) -> NDArray[np.float64]:
        """Return the distance of the p50 of the week (of the day for SELL); NaN where it lies on the losing side."""
        median = np.where(action == Action.SELL, belief.median(DAY_BARS), belief.median(POSITION_BARS))
        distance = np.where(action >= 0, np.expm1(median), -np.expm1(median))
        return np.where(distance > 0, distance, np.nan)

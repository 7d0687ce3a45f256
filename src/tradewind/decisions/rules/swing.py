"""Row C9, daily: with the trend for one to five days, decided after the close.

The trend is an ADX strong enough with momentum and RSI on one side. While it persists a falling confidence alone
closes nothing, and a signal that is given again renews the time: what is held ends by target, stop, a signal of the
other side, or five bars after the last bar on which it would have been opened anew. Earnings and gaps are guards that
the playbook sets (``decision.earnings_sessions``, ``decision.gap_sigma_max``); a stop that a gap jumps over is filled
at the open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tradewind.decisions.signals import Belief, Signals, passed, register
from tradewind.decisions.two_sided import View, with_exits

BoolArray = NDArray[np.bool_]

TARGET, STOP = 0.025, 0.015
ADX, MOMENTUM, RSI = "adx_14", "roc_20", "rsi_14"


@register
class Swing:
    """BUY with an upward trend where the event is probable, SELL with a downward one."""

    name: ClassVar[str] = "swing"
    needs: ClassVar[tuple[str, ...]] = (ADX, MOMENTUM, RSI)
    strategies: ClassVar[Mapping[str, str]] = {"hybrid": ""}

    def decide(self, belief: Belief) -> Signals:
        """Ask for confidence and trend on the same side; a trend that persists keeps what is held."""
        belief = with_exits(belief, TARGET, STOP)
        view = View.of(belief)
        rising, falling = trend(belief)
        long, short = view.sure
        buy, sell = long & rising, short & falling
        up, down = view.odds.event.words
        clauses = (
            "no trend, or {confidence_min:.0%} is not reached with it: ADX(14), 20-bar momentum and RSI(14)",
            f"P({up}" + " over {horizon_bars} bars) is at least {confidence_min:.0%} in an upward trend",
            f"P({down}" + " over {horizon_bars} bars) is at least {confidence_min:.0%} in a downward trend",
        )
        signals = view.signals(self.name, buy, sell, np.zeros(buy.shape, np.bool_), clauses)
        going_up, going_down = persists(belief)
        return replace(
            signals,
            close=signals.close & ~going_up,
            cover=signals.cover & ~going_down,
            notes=_notes(belief, view),
        )

    def thresholds(self, belief: Belief) -> Mapping[str, float]:
        """Return how often each condition of a long held."""
        belief = with_exits(belief, TARGET, STOP)
        view = View.of(belief)
        if not view.decided.any():
            return {"forecasts available": 0.0}
        rising, at = trend(belief)[0], view.decided
        strong = _column(belief, ADX) >= belief.settings.trend_adx_min
        return {
            **passed(belief, view.odds),
            f"trend_adx_min={belief.settings.trend_adx_min:g}": float(np.mean(strong[at])),
            f"trend_rsi_min={belief.settings.trend_rsi_min:g} in an upward trend": float(np.mean(rising[at])),
        }


def trend(belief: Belief) -> tuple[BoolArray, BoolArray]:
    """Return where there is an upward, and where a downward, trend to enter; nowhere that it cannot be told."""
    rsi, most = _column(belief, RSI), belief.settings.trend_rsi_max
    rising, falling = persists(belief)
    return rising & (rsi <= most), falling & (rsi >= 100 - most)


def persists(belief: Belief) -> tuple[BoolArray, BoolArray]:
    """Return where a trend goes on upwards, and where downwards, however far it has come."""
    settings = belief.settings
    strong = _column(belief, ADX) >= settings.trend_adx_min
    momentum, rsi = _column(belief, MOMENTUM), _column(belief, RSI)
    up = strong & (momentum > 0) & (rsi >= settings.trend_rsi_min)
    down = strong & (momentum < 0) & (rsi <= 100 - settings.trend_rsi_min)
    return up, down


def _column(belief: Belief, name: str) -> NDArray[np.float32]:
    """Return a feature, NaN where the table lacks it: there is no trend then, and a note says why."""
    if name not in belief.features.names:
        return np.full(belief.panel.shape, np.nan, dtype=np.float32)
    return belief.features.column(name)


def _notes(belief: Belief, view: View) -> tuple[str, ...]:
    unknown = np.isnan(sum(_column(belief, name) for name in (ADX, MOMENTUM, RSI)))
    share = float(unknown[view.decided].mean()) if view.decided.any() else 0.0
    lacking = (f"the trend is not known at {share:.0%} of the decisions: nothing is opened then",) if share else ()
    timeframe = belief.panel.timeframe
    counted = () if timeframe == "1d" else (f"ADX, momentum and RSI of the trend are over bars of {timeframe}",)
    return (*lacking, *counted)

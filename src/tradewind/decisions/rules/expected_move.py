"""Row E7: act on a forecast move of at least so many percent (or forecast sigmas)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from tradewind.decisions.signals import Belief, Signals, passed, register
from tradewind.decisions.two_sided import View


@register
class ExpectedMove:
    """BUY above +threshold, SELL below -threshold, if the calibrated probability agrees."""

    name: ClassVar[str] = "expected_move"
    needs: ClassVar[tuple[str, ...]] = ()
    strategies: ClassVar[Mapping[str, str]] = {"hybrid": ""}

    def decide(self, belief: Belief) -> Signals:
        """Compare the forecast median with the entry threshold on both sides."""
        view, threshold = View.of(belief), belief.settings.entry_threshold
        move = belief.move(belief.settings.horizon_bars)
        long, short = view.sure
        buy, sell = long & (move >= threshold), short & (move <= -threshold)
        clauses = (
            "the forecast move over {horizon_bars} bars stays inside ±{entry_threshold:g} ({threshold_unit})",
            "the forecast median over {horizon_bars} bars is above +{entry_threshold:g} ({threshold_unit})",
            "the forecast median over {horizon_bars} bars is below -{entry_threshold:g} ({threshold_unit})",
        )
        return view.signals(self.name, buy, sell, np.abs(move) >= 2 * threshold, clauses)

    def thresholds(self, belief: Belief) -> Mapping[str, float]:
        """Return how often each threshold was passed."""
        settings, view = belief.settings, View.of(belief)
        if not view.decided.any():
            return {"forecasts available": 0.0}
        move = np.abs(belief.move(settings.horizon_bars)[view.decided])
        name = f"entry_threshold={settings.entry_threshold} {settings.threshold_unit}"
        return {name: float(np.mean(move >= settings.entry_threshold)), **passed(belief, view.odds)}

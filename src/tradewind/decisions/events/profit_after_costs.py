"""The trade, left alone until its time is up, ends in profit after costs."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tradewind.decisions.confidence import Sides, Trade, ahead, register, truth
from tradewind.decisions.signals import Belief


@register
class ProfitAfterCosts:
    """From the next open to the close of the last bar, dividends counted, by more than the round trip costs."""

    name: ClassVar[str] = "profit_after_costs"
    local: ClassVar[bool] = True
    words: ClassVar[tuple[str, str]] = ("profit after costs", "profit of a short after costs")

    def forecast(self, belief: Belief, trade: Trade) -> Sides:
        """Return what of the forecast lies beyond the costs; it starts at the close, the trade at the next open."""
        up, down = np.log1p(belief.round_trip_cost), np.log1p(-belief.round_trip_cost)
        return Sides(belief.probability_above(trade.bars, up), 1.0 - belief.probability_above(trade.bars, down))

    def outcome(self, belief: Belief, trade: Trade) -> Sides:
        """Compare the return of the trade with the costs."""
        panel, cost = belief.panel, belief.round_trip_cost
        entry, out = (np.where(panel.mask, panel.adjusted(name), np.nan) for name in ("open", "close"))
        moved = np.log(ahead(out, trade.bars)) - np.log(ahead(entry, 1))
        known = np.isfinite(moved)
        return Sides(truth(moved > np.log1p(cost), known), truth(moved < np.log1p(-cost), known))

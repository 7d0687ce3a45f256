"""Buy where the event is probable; close where it isn't."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from tradewind.decisions.signals import Belief, Signals, passed, register
from tradewind.decisions.two_sided import View

STRONG_MARGIN = 0.10
"""Probability above the threshold from which a signal is called strong."""


@register
class Probability:
    """One threshold on the calibrated probability of the playbook's event."""

    name: ClassVar[str] = "probability"
    needs: ClassVar[tuple[str, ...]] = ()
    strategies: ClassVar[Mapping[str, str]] = {"hybrid": ""}

    def decide(self, belief: Belief) -> Signals:
        """Say BUY (SELL) where the event of a long (short) has at least ``confidence_min``; of two the surer one."""
        view = View.of(belief)
        long, short = view.odds.calibrated
        buy, sell = view.surer
        strong = np.where(buy, long, short) >= belief.settings.confidence_min + STRONG_MARGIN
        up, down = view.odds.event.words
        clauses = (
            "no side reaches {confidence_min:.0%}: " + f"P({up}) and P({down})" + " over {horizon_bars} bars",
            f"P({up}" + " over {horizon_bars} bars) is at least {confidence_min:.0%}",
            f"P({down}" + " over {horizon_bars} bars) is at least {confidence_min:.0%}",
        )
        return view.signals(self.name, buy, sell, strong, clauses)

    def thresholds(self, belief: Belief) -> Mapping[str, float]:
        """Return how often the confidence threshold was passed."""
        return passed(belief, View.of(belief).odds)

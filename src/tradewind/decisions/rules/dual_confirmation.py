"""Row B10: act only where every model of the ensemble, asked by itself, says the same; hold where they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tradewind.decisions.confidence import Sides
from tradewind.decisions.signals import Belief, Signals, passed, register
from tradewind.decisions.two_sided import View
from tradewind.errors import InputError

STRONG_MARGIN = 0.10
"""Probability above the threshold from which a signal is called strong."""


@register
class DualConfirmation:
    """Every member's own calibrated probability of the event reaches the threshold on the same side.

    The confidence that is told, judged and sized by is that of the members' combined forecast.
    """

    name: ClassVar[str] = "dual_confirmation"
    needs: ClassVar[tuple[str, ...]] = ()
    strategies: ClassVar[Mapping[str, str]] = {"hybrid": ""}
    asks_members: ClassVar[bool] = True

    def decide(self, belief: Belief) -> Signals:
        """Say BUY (SELL) where all members would; HOLD where one would not, or has no forecast."""
        views = _views(belief)
        whole = View.of(belief)
        decided = reduce(np.logical_and, (view.decided for view in views.values()), whole.decided)
        whole = replace(whole, decided=decided)
        sides = [view.surer for view in views.values()]
        buy = reduce(np.logical_and, (side[0] for side in sides), decided)
        sell = reduce(np.logical_and, (side[1] for side in sides), decided)
        long, short = whole.odds.calibrated
        strong = np.where(buy, long, short) >= belief.settings.confidence_min + STRONG_MARGIN
        up, down = whole.odds.event.words
        all_of = " and ".join(views)
        clauses = (
            f"{all_of} do not agree: of neither side does each say at least " + "{confidence_min:.0%}",
            f"{all_of} agree: of each P({up}" + " over {horizon_bars} bars) is at least {confidence_min:.0%}",
            f"{all_of} agree: of each P({down}" + " over {horizon_bars} bars) is at least {confidence_min:.0%}",
        )
        signals = whole.signals(self.name, buy, sell, strong, clauses)
        return replace(signals, agreement={name: Sides(*view.odds.calibrated) for name, view in views.items()})

    def thresholds(self, belief: Belief) -> Mapping[str, float]:
        """Return how often each member, and all of them on one side, passed the threshold for a long."""
        found: dict[str, float] = {}
        views = _views(belief)
        for name, view in views.items():
            ((threshold, share),) = passed(view.belief, view.odds).items()
            found[f"{threshold} of {name}"] = share
        together: NDArray[np.bool_] = np.logical_and.reduce([view.sure[0] for view in views.values()])
        found[f"confidence_min={belief.settings.confidence_min}"] = float(together[belief.tradable].mean())
        return found


def _views(belief: Belief) -> dict[str, View]:
    """Return each member's view; ``InputError`` where there is nobody who could agree."""
    if len(belief.members) < 2:
        raise InputError(
            f"the rule 'dual_confirmation' wants two models that agree, and there are {len(belief.members)}",
            hint='set models.use = "ensemble" and name them: [ensemble] members = ["lstm", "transformer"]',
        )
    found = {}
    for name, one in belief.members.items():
        memory = None if belief.memory is None else belief.memory.of(name)
        found[name] = View.of(replace(belief, forecast=one, members={}, memory=memory))
    return found

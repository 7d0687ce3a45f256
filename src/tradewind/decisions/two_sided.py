"""What rules share that look at one horizon and may take either side."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tradewind.decisions.confidence import Odds, odds
from tradewind.decisions.signals import Belief, Signals, forecast_exits, forecast_trade


def with_exits(belief: Belief, target: float, stop: float) -> Belief:
    """Return the belief with fixed distances of target and stop where the playbook names none."""
    settings = belief.settings
    own = {"target_fraction": settings.target_fraction or target, "stop_fraction": settings.stop_fraction or stop}
    return replace(belief, settings=settings.model_copy(update=own))


@dataclass(frozen=True, eq=False)
class View:
    """One horizon as a rule sees it: the odds of both sides and where there is anything to decide."""

    belief: Belief
    odds: Odds
    decided: NDArray[np.bool_]

    @classmethod
    def of(cls, belief: Belief) -> View:
        """Ask for the event's probabilities over ``decision.horizon_bars``."""
        found = odds(belief, forecast_trade(belief, belief.settings.horizon_bars))
        return cls(belief, found, belief.tradable & np.isfinite(found.calibrated.long))

    @property
    def surer(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Where a long, and where a short, has at least ``confidence_min`` and no less than the other side."""
        long, short = self.odds.calibrated
        buy, sell = self.sure
        buy = buy & ~(sell & (short > long))
        return buy, sell & ~buy

    @property
    def sure(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Where a long, and where a short, has at least ``confidence_min``."""
        least = self.belief.settings.confidence_min
        long, short = self.odds.calibrated
        return self.decided & (long >= least), self.decided & (short >= least)

    def signals(
        self,
        rule: str,
        buy: NDArray[np.bool_],
        sell: NDArray[np.bool_],
        strong: NDArray[np.bool_],
        clauses: tuple[str, str, str],
    ) -> Signals:
        """Return BUY and SELL where the rule says so, the exits by ``confidence_exit``, stops and targets.

        ``clauses`` say in words why nothing is done, why something is bought and why it is sold.
        """
        settings, trade = self.belief.settings, self.odds.trade
        long, short = self.odds.calibrated
        action = (buy.astype(np.int8) - sell.astype(np.int8)) * np.where(strong, 2, 1).astype(np.int8)
        return Signals(
            rule=rule,
            event=settings.event,
            action=action,
            decided=self.decided,
            close=self.decided & (long < settings.confidence_exit),
            cover=self.decided & (short < settings.confidence_exit),
            horizon_bars=np.full(action.shape, trade.bars, dtype=np.int64),
            confidence=np.where(sell, short, long),
            stop=trade.stop.long,
            target=np.where(action >= 0, trade.target.long, trade.target.short),
            clause=np.where(buy, 1, np.where(sell, 2, 0)).astype(np.int16),
            clauses=clauses,
            odds=self.odds,
            exits=tuple(forecast_exits(self.belief, trade.bars, side) for side in (1, 1, -1)),
        )

"""Row C9, intraday: a fixed target and a fixed stop within the hour, in market hours only.

A trade is opened only where the session has bars enough left for all of it, so that its time is up by the close:
nothing is held overnight, and no order waits for another session's open. The stop works on every bar that there is;
before the open and after the close there is none, and one that is met there is met at the next open, at that price. A
name that was opened is left alone until the trade's time is up: a signal that goes on does not make an hour longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tradewind.decisions import width
from tradewind.decisions.session import bars_left
from tradewind.decisions.signals import Belief, Signals, passed, register
from tradewind.decisions.two_sided import View, with_exits
from tradewind.decisions.width import hold_where

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

TARGET, STOP = 0.005, 0.003
"""Where the playbook names none: after costs of 6 basis points a win is 1.22 times a loss."""

MEAN_ABSOLUTE = float(np.sqrt(2 / np.pi))
"""Mean absolute value of a standard normal."""


@register
class Scalper:
    """Enter where the event is probable, the move is worth its costs and the session is long enough."""

    name: ClassVar[str] = "scalper"
    needs: ClassVar[tuple[str, ...]] = ()
    strategies: ClassVar[Mapping[str, str]] = {"hybrid": ""}

    def decide(self, belief: Belief) -> Signals:
        """Take the surer side where every condition holds; the others are named where they keep it from that."""
        belief = with_exits(belief, TARGET, STOP)
        view = View.of(belief)
        buy, sell = view.surer
        up, down = view.odds.event.words
        clauses = (
            "no side reaches {confidence_min:.0%}: " + f"P({up}) and P({down})" + " over {horizon_bars} bars",
            f"P({up}" + " over {horizon_bars} bars) is at least {confidence_min:.0%}, in session and worth its costs",
            f"P({down}" + " over {horizon_bars} bars) is at least {confidence_min:.0%}, in session and worth its costs",
        )
        signals = view.signals(self.name, buy, sell, np.zeros(buy.shape, np.bool_), clauses)
        for fine, said in _conditions(belief, view, signals.action).values():
            signals = hold_where(signals, ~fine, said)
        again = repeated(signals.action, belief.settings.due(len(buy)), view.odds.trade.bars)
        return hold_where(signals, again, "a trade of the last {horizon_bars} bars may still be open")

    def thresholds(self, belief: Belief) -> Mapping[str, float]:
        """Return how often each condition held."""
        belief = with_exits(belief, TARGET, STOP)
        view = View.of(belief)
        if not view.decided.any():
            return {"forecasts available": 0.0}
        conditions = _conditions(belief, view, np.ones(view.decided.shape, np.int8))
        held = {name: float(np.mean(fine[view.decided])) for name, (fine, _) in conditions.items()}
        return {**passed(belief, view.odds), **held}


def _conditions(belief: Belief, view: View, side: NDArray[np.int8]) -> dict[str, tuple[BoolArray, str]]:
    """Return what else a trade needs, by the threshold's name: where it holds, and what to say where it does not."""
    settings, bars = belief.settings, view.odds.trade.bars
    room = bars_left(belief.panel) >= bars
    least = max(settings.expected_move_min, belief.round_trip_cost)
    widest = settings.interval_width_max or np.inf
    return {
        f"horizon_bars={bars} left in the session": (
            np.broadcast_to(room[:, None], side.shape),
            "the session ends before {horizon_bars} more bars are over",
        ),
        f"expected_move_min={least:g}": (
            MEAN_ABSOLUTE * belief.sigma(bars) >= least,
            f"a move of less than {least:.2%}" + " is expected over {horizon_bars} bars: not worth its costs",
        ),
        f"win_loss_min={settings.win_loss_min:g}": (
            win_loss(belief, view, side) > settings.win_loss_min,
            "after costs the target is not {win_loss_min:g} times as far as the stop",
        ),
        f"interval_width_max={widest:g}": (
            width.interval_width(belief, bars) <= widest,
            "the interval over {horizon_bars} bars is too wide",
        ),
    }


def win_loss(belief: Belief, view: View, side: NDArray[np.int8]) -> FloatArray:
    """Return what a trade gains at its target over what it loses at its stop, both after costs, ``(T, N)``."""
    trade, cost = view.odds.trade, belief.round_trip_cost
    gain = np.where(side >= 0, trade.target.long, trade.target.short) - cost
    return np.asarray(gain / (np.where(side >= 0, trade.stop.long, trade.stop.short) + cost))


@njit(cache=True)
def repeated(action: NDArray[np.int8], due: BoolArray, bars: int) -> BoolArray:
    """Return where a signal only says again what was opened less than ``bars`` bars ago, ``(T, N)``.

    Signals act on the rows that are ``due``; the other side ends a trade.
    """
    rows, columns = action.shape
    again = np.zeros((rows, columns), dtype=np.bool_)
    for n in range(columns):
        side, since = 0, 0
        for t in range(rows):
            now = np.sign(action[t, n])
            if now == 0:
                continue
            if now == side and t - since < bars:
                again[t, n] = True
            elif due[t]:
                side, since = now, t
    return again

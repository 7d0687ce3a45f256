"""Where in its exchange's session a bar lies, by the calendar alone: what is scheduled is known beforehand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tradewind.market.bars import TIMEFRAMES
from tradewind.market.calendar import calendar
from tradewind.market.panel import Panel

EXCHANGE = "XNYS"
_MINUTE = np.timedelta64(1, "m")


def bars_left(panel: Panel) -> NDArray[np.int64]:
    """Return how many bars of each row's session are still to come after its close, ``(T,)``.

    0 at a session's last bar, which may be a short one, and outside of sessions; always 0 where a bar is a session or
    more. Early closes are counted as the calendar has them.
    """
    minutes = TIMEFRAMES[panel.timeframe]
    if minutes >= TIMEFRAMES["1d"]:
        return np.zeros(len(panel), dtype=np.int64)
    exchange = calendar(EXCHANGE)
    session = exchange.session_of(panel.times)
    left = (exchange.closes[session] - panel.times) // _MINUTE
    return np.where(session >= 0, -(-left.astype(np.int64) // minutes), 0)


def ends_session(panel: Panel) -> NDArray[np.bool_]:
    """Return which bars close their session, ``(T,)``: all where a bar is a session or more."""
    if TIMEFRAMES[panel.timeframe] >= TIMEFRAMES["1d"]:
        return np.ones(len(panel), dtype=np.bool_)
    exchange = calendar(EXCHANGE)
    session = exchange.session_of(panel.times)
    return np.asarray((session >= 0) & (exchange.closes[session] == panel.times))

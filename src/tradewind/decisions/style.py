"""How long a trade is meant to last, in a trader's words (row A9)."""

from __future__ import annotations

import math
from typing import Literal

from tradewind.market.bars import TIMEFRAMES

Style = Literal["day trade", "swing", "position"]
_SESSION = TIMEFRAMES["1d"]
_DAY_TRADE, _SWING = 2, 7


def style_of(horizon_bars: int, timeframe: str) -> Style:
    """Return the style of a trade over so many bars: up to 2 sessions, up to 7, or longer.

    The last bar of a session ends with it, however short: seven hourly bars are one session.
    """
    bar = TIMEFRAMES[timeframe]
    sessions = horizon_bars * bar / _SESSION if bar >= _SESSION else horizon_bars / math.ceil(_SESSION / bar)
    return "day trade" if sessions <= _DAY_TRADE else "swing" if sessions <= _SWING else "position"

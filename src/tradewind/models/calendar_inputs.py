"""What the calendar alone says about the next volatility: the weekdays ahead, and the quiet last days of a year."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

CALENDAR_NAMES = ("ahead_monday", "ahead_wednesday", "ahead_thursday", "ahead_friday", "ahead_late_december")
"""Columns of :func:`calendar_inputs`; Tuesday is what the others are compared with."""

_WEEKDAYS = (0, 2, 3, 4)
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0
_QUIET_FROM = 22


def calendar_inputs(times: NDArray[np.datetime64], timeframe: str, horizon: int) -> FloatArray:
    """Return the share of the next ``horizon`` business days that are of each kind, ``(T, 5)``.

    Parameters
    ----------
    times
        ``(T,)`` bar closes; only each bar's own date is looked at, so nothing depends on later bars. Exchange
        holidays count as business days.
    timeframe
        Only daily bars have a weekday; others get zeros, which is "no information".
    horizon
        In bars.
    """
    shares = np.zeros((len(times), len(CALENDAR_NAMES)))
    if timeframe != "1d":
        return shares
    today = np.busday_offset(times.astype("datetime64[D]"), 0, roll="backward")
    for ahead in range(1, horizon + 1):
        day = np.busday_offset(today, ahead)
        weekday = (day.astype(np.int64) + _EPOCH_WEEKDAY) % 7
        for column, wanted in enumerate(_WEEKDAYS):
            shares[:, column] += weekday == wanted
        month = day.astype("datetime64[M]")
        december = month.astype(np.int64) % 12 == 11
        shares[:, -1] += december & ((day - month).astype(np.int64) + 1 >= _QUIET_FROM)
    return shares / horizon

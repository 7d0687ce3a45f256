"""What the clock and the exchange calendar say at each bar; holidays are published years ahead, so they are known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from tradewind.market.calendar import calendar

FloatArray = NDArray[np.float64]
TimeArray = NDArray[np.datetime64]
DateArray = NDArray[np.datetime64]

EXCHANGE = "XNYS"


@lru_cache(maxsize=32768)
def _offset_minutes(day: int) -> int:
    """Return New York's distance from UTC at noon of a day (days since 1970)."""
    noon = datetime(1970, 1, 1, 12, tzinfo=UTC) + timedelta(days=day)
    offset = noon.astimezone(ZoneInfo("America/New_York")).utcoffset()
    return int(offset.total_seconds() // 60) if offset is not None else 0


def local(times: TimeArray) -> TimeArray:
    """Return New York wall-clock times, minute precision, of UTC instants."""
    minutes = times.astype("datetime64[m]")
    days, place = np.unique(minutes.astype("datetime64[D]").astype(np.int64), return_inverse=True)
    offsets = np.array([_offset_minutes(int(day)) for day in days], dtype=np.int64)
    return np.asarray(minutes + offsets[place].astype("timedelta64[m]"))


def dates(times: TimeArray) -> DateArray:
    """Return the New York date of each bar."""
    return local(times).astype("datetime64[D]")


def sessions() -> DateArray:
    """Return the exchange's session days, holidays published ahead included."""
    return calendar(EXCHANGE).sessions


def session(times: TimeArray) -> FloatArray:
    """Number of the session day: changes with each new session."""
    return dates(times).astype(np.int64).astype(np.float64)


def day_of_week(times: TimeArray) -> FloatArray:
    """0 on Mondays … 6 on Sundays."""
    return ((dates(times).astype(np.int64) + 3) % 7).astype(np.float64)


def day_of_month(times: TimeArray) -> FloatArray:
    """1 … 31."""
    days = dates(times)
    return (days - days.astype("datetime64[M]")).astype(np.int64).astype(np.float64) + 1.0


def month(times: TimeArray) -> FloatArray:
    """1 … 12."""
    return (dates(times).astype("datetime64[M]").astype(np.int64) % 12 + 1).astype(np.float64)


def day_of_year(times: TimeArray) -> FloatArray:
    """1 … 366."""
    days = dates(times)
    return (days - days.astype("datetime64[Y]")).astype(np.int64).astype(np.float64) + 1.0


def minute_of_day(times: TimeArray) -> FloatArray:
    """Minutes since midnight in New York."""
    wall = local(times)
    return (wall - wall.astype("datetime64[D]")).astype(np.int64).astype(np.float64)


def sessions_from_month_start(times: TimeArray) -> FloatArray:
    """1 on the first session of the month."""
    days = dates(times)
    start = np.searchsorted(sessions(), days.astype("datetime64[M]").astype("datetime64[D]"))
    return (np.searchsorted(sessions(), days, side="right") - start).astype(np.float64)


def sessions_to_month_end(times: TimeArray) -> FloatArray:
    """0 on the last session of the month."""
    days = dates(times)
    next_month = (days.astype("datetime64[M]") + 1).astype("datetime64[D]")
    return (np.searchsorted(sessions(), next_month) - np.searchsorted(sessions(), days, side="right")).astype(
        np.float64
    )


def days_to_next_session(times: TimeArray) -> FloatArray:
    """Calendar days to the next session: 1 mid-week, 3 before a weekend, more before a holiday."""
    days = dates(times)
    ahead = np.minimum(np.searchsorted(sessions(), days, side="right"), len(sessions()) - 1)
    return (sessions()[ahead] - days).astype(np.int64).astype(np.float64)


def days_since_last_session(times: TimeArray) -> FloatArray:
    """Calendar days since the session before."""
    days = dates(times)
    behind = np.maximum(np.searchsorted(sessions(), days, side="left") - 1, 0)
    return (days - sessions()[behind]).astype(np.int64).astype(np.float64)


def _third_friday(months: NDArray[np.datetime64]) -> DateArray:
    first = months.astype("datetime64[D]")
    weekday = (first.astype(np.int64) + 3) % 7
    return np.asarray(first + ((4 - weekday) % 7 + 14).astype("timedelta64[D]"))


def is_third_friday(times: TimeArray) -> FloatArray:
    """1 on the monthly expiry of options, else 0."""
    days = dates(times)
    return (days == _third_friday(days.astype("datetime64[M]"))).astype(np.float64)


def sessions_to_third_friday(times: TimeArray) -> FloatArray:
    """Sessions until the next monthly expiry of options, 0 on the day."""
    days = dates(times)
    this = _third_friday(days.astype("datetime64[M]"))
    following = _third_friday(days.astype("datetime64[M]") + 1)
    expiry = np.where(days <= this, this, following)
    return (np.searchsorted(sessions(), expiry) - np.searchsorted(sessions(), days)).astype(np.float64)


def season_sine(times: TimeArray) -> FloatArray:
    """Sine of the time of the year."""
    return np.asarray(np.sin(2.0 * np.pi * day_of_year(times) / 365.25))


def season_cosine(times: TimeArray) -> FloatArray:
    """Cosine of the time of the year."""
    return np.asarray(np.cos(2.0 * np.pi * day_of_year(times) / 365.25))


def minute_of_hour(times: TimeArray) -> FloatArray:
    """0 … 59."""
    return np.asarray(minute_of_day(times) % 60.0)


def hour_of_day(times: TimeArray) -> FloatArray:
    """0 … 23, New York."""
    return np.asarray(minute_of_day(times) // 60.0)


def month_of_quarter(times: TimeArray) -> FloatArray:
    """0, 1 or 2."""
    return np.asarray((month(times) - 1.0) % 3.0)


def is_turn_of_month(times: TimeArray) -> FloatArray:
    """1 on the last session of a month and on the first three, else 0 (Lakonishok and Smidt 1988)."""
    return ((sessions_to_month_end(times) == 0) | (sessions_from_month_start(times) <= 3)).astype(np.float64)

"""Exchange sessions: when bars close, and how much trading lies between two instants. All in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError
from tradewind.market.bars import TIMEFRAMES

TimeArray = NDArray[np.datetime64]
IntArray = NDArray[np.int64]

_FIRST, _LAST = "1970-01-01", "2060-12-31"
_MINUTE = np.timedelta64(1, "m")


@dataclass(frozen=True, eq=False)
class Calendar:
    """The sessions of one exchange, early closes included.

    Attributes
    ----------
    name
        ISO 10383 market code (``XNYS``), or ``24/7``.
    sessions
        Local dates of the sessions, ``datetime64[D]``, increasing.
    zone
        The exchange's time zone.
    opens, closes
        Their first and last instant, ``datetime64[us]``, UTC.
    """

    name: str
    zone: str
    sessions: TimeArray
    opens: TimeArray
    closes: TimeArray

    @cached_property
    def _done(self) -> IntArray:
        """Minutes of trading before each session, and in all of them together."""
        return np.concatenate([[0], np.cumsum((self.closes - self.opens) // _MINUTE)]).astype(np.int64)

    def close_of(self, dates: TimeArray) -> TimeArray:
        """Return the close of the session on each local date; NaT where the exchange was shut."""
        days = np.asarray(dates, dtype="datetime64[D]")
        at = np.clip(np.searchsorted(self.sessions, days), 0, len(self.sessions) - 1)
        return np.where(self.sessions[at] == days, self.closes[at], np.datetime64("NaT"))

    def week_close_of(self, dates: TimeArray) -> TimeArray:
        """Return the last close of the week (Monday to Sunday) of each date; NaT for weeks without sessions."""
        weeks, last = _week(self.sessions), self._week_closes()
        at = np.searchsorted(np.unique(weeks), _week(np.asarray(dates, dtype="datetime64[D]")))
        inside = np.isin(_week(np.asarray(dates, dtype="datetime64[D]")), weeks)
        return np.where(inside, last[np.clip(at, 0, len(last) - 1)], np.datetime64("NaT"))

    def session_of(self, times: TimeArray) -> IntArray:
        """Return the index of the session that each instant lies in (open < time <= close), else -1."""
        instants = np.asarray(times, dtype="datetime64[us]")
        at = np.clip(np.searchsorted(self.closes, instants, side="left"), 0, len(self.closes) - 1)
        inside = (self.opens[at] < instants) & (instants <= self.closes[at])
        return np.where(inside, at, -1)

    def close_of_start(self, starts: TimeArray, timeframe: str) -> TimeArray:
        """Return the close of bars stamped with their start; NaT for bars outside of every session.

        A bar that would run past the session's close ends with the session (also on early closes); one that
        begins before the open and reaches into the session, as clock-aligned hours do, belongs to it.
        """
        begins = np.asarray(starts, dtype="datetime64[us]")
        length = np.timedelta64(TIMEFRAMES[known_timeframe(timeframe)], "m")
        end: TimeArray = np.add(begins, length)
        at = np.clip(np.searchsorted(self.closes, begins, side="right"), 0, len(self.closes) - 1)
        inside = (end > self.opens[at]) & (begins < self.closes[at])
        return np.where(inside, np.minimum(end, self.closes[at]), np.datetime64("NaT"))

    def bar_closes(self, timeframe: str, start: datetime, end: datetime, *, first: int | None = None) -> TimeArray:
        """Return all bar closes with ``start <= close <= end``.

        Intraday bars count from the open, or have their ``first`` close of a session so many minutes after it.
        """
        low, high = instant(start), instant(end)
        if known_timeframe(timeframe) == "1w":
            closes = self._week_closes()
        elif timeframe == "1d":
            closes = self.closes
        else:
            minutes = TIMEFRAMES[timeframe]
            closes = self._intraday_closes(minutes, minutes if first is None else first, low, high)
        return closes[(closes >= low) & (closes <= high)]

    def _week_closes(self) -> TimeArray:
        week = _week(self.sessions)
        return self.closes[np.append(week[1:] != week[:-1], True)]

    def first_close(self, times: TimeArray, timeframe: str) -> int:
        """Return how many minutes after the open most sessions have the first close of a bar, by the bars there are.

        Bars that count from the open have it after their length, clock-aligned hours of New York after 30 minutes.
        """
        minutes, at = TIMEFRAMES[known_timeframe(timeframe)], self.session_of(times)
        whole = (at >= 0) & (times != self.closes[at])
        after = ((times[whole] - self.opens[at[whole]]) // _MINUTE).astype(np.int64) % minutes
        usual = int(np.bincount(after).argmax()) if len(after) else 0
        return usual or minutes

    def _intraday_closes(self, minutes: int, first: int, low: np.datetime64, high: np.datetime64) -> TimeArray:
        part = slice(int(np.searchsorted(self.closes, low)), int(np.searchsorted(self.opens, high)))
        opens, closes = self.opens[part], self.closes[part]
        counts = 1 + -(-(((closes - opens) // _MINUTE).astype(np.int64) - first) // minutes)
        step = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.minimum(np.repeat(opens, counts) + (first + step * minutes) * _MINUTE, np.repeat(closes, counts))

    def trading_minutes(self, start: TimeArray, end: TimeArray) -> IntArray:
        """Return the minutes of trading between pairs of instants (negative where ``end`` is earlier)."""
        return self._elapsed(end) - self._elapsed(start)

    def add_trading_minutes(self, times: TimeArray, minutes: int) -> TimeArray:
        """Return the instants that lie ``minutes`` of trading after ``times``.

        An instant exactly at the end of a session is that session's close, not the next open.
        """
        target = self._elapsed(times) + minutes
        at = np.clip(np.searchsorted(self._done, target, side="left") - 1, 0, len(self.opens) - 1)
        return self.opens[at] + (target - self._done[at]) * _MINUTE

    def _elapsed(self, times: TimeArray) -> IntArray:
        """Return minutes of trading since the first session."""
        instants = np.asarray(times, dtype="datetime64[us]")
        at = np.clip(np.searchsorted(self.opens, instants, side="right") - 1, 0, len(self.opens) - 1)
        inside = np.clip(instants, self.opens[at], self.closes[at]) - self.opens[at]
        return self._done[at] + (inside // _MINUTE).astype(np.int64)


def _week(dates: TimeArray) -> IntArray:
    """Number the weeks; they begin on Monday, and 1970-01-01 was a Thursday."""
    return (dates.astype(np.int64) + 3) // 7


@lru_cache(maxsize=8)
def calendar(name: str = "XNYS") -> Calendar:
    """Return the calendar of an exchange (from ``exchange_calendars``), 1970 to 2060 as far as it is known.

    Raises ``InputError`` for an exchange that is not known.
    """
    import exchange_calendars

    try:
        return _build(exchange_calendars, name)
    except exchange_calendars.errors.InvalidCalendarName as error:
        raise InputError(
            f"unknown exchange calendar {name!r}", hint="use a market code such as XNYS, XNAS, XLON or 24/7"
        ) from error


def _build(library: Any, name: str) -> Calendar:
    """Read the schedule between the bounds that the exchange's own rules have."""
    factory = library.calendar_utils.global_calendar_dispatcher.resolve_alias(name)
    kind = type(library.get_calendar(factory, start="2020-01-02", end="2020-02-03"))
    low, high = kind.bound_min(), kind.bound_max()
    first = _FIRST if low is None else max(_FIRST, f"{low:%Y-%m-%d}")
    last = _LAST if high is None else min(_LAST, f"{high:%Y-%m-%d}")
    source = library.get_calendar(factory, start=first, end=last)
    table = source.schedule
    opens, closes = (table[side].dt.tz_localize(None).to_numpy() for side in ("open", "close"))
    return Calendar(
        name,
        str(source.tz),
        table.index.to_numpy().astype("datetime64[D]"),
        opens.astype("datetime64[us]"),
        closes.astype("datetime64[us]"),
    )


def known_timeframe(timeframe: str) -> str:
    """Return the timeframe, or refuse one that has no length."""
    if timeframe not in TIMEFRAMES:
        raise InputError(f"unknown timeframe {timeframe!r}", hint=f"known: {', '.join(TIMEFRAMES)}")
    return timeframe


def instant(moment: datetime) -> np.datetime64:
    """Return a timezone-aware datetime as ``datetime64[us]`` in UTC; a naive one is refused."""
    if moment.tzinfo is None:
        raise InputError(f"the time {moment} has no zone", hint="give every instant in UTC")
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")

"""Is the newest bar as new as it should be? Told once when it is not, and once when it is again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np

from tradewind.market.bars import TIMEFRAMES
from tradewind.market.calendar import Calendar, TimeArray, instant

Change = Literal["stale", "fresh"]


@dataclass(frozen=True, slots=True)
class Reading:
    """How old the newest bar is, in seconds of market hours; None before there is one."""

    seconds: float | None
    limit: float
    stale: bool

    def to_dict(self) -> dict[str, Any]:
        """Return it as the health page shows it."""
        return {"seconds": self.seconds, "limit": self.limit, "stale": self.stale}


class Freshness:
    """Watches the newest bar: a fold of instants and bars.

    Bars no longer than the limit are stale after ``limit`` without a new one in market hours, counted from the newest
    or from the open, whichever is later; longer ones once the next is overdue by ``limit``, at any hour.
    """

    def __init__(self, calendar: Calendar, timeframe: str, limit: timedelta, since: datetime) -> None:
        self._calendar, self._timeframe, self._limit, self._since = calendar, timeframe, limit, since
        self.newest: datetime | None = None
        self.stale = False

    def saw(self, close: datetime) -> None:
        """Take note of a bar by its close."""
        self.newest = close if self.newest is None else max(self.newest, close)

    def look(self, now: datetime) -> Change | None:
        """Return what changed since the last look; once per episode."""
        overdue = self._overdue(now)
        if overdue is None or overdue == self.stale:
            return None
        self.stale = overdue
        return "stale" if overdue else "fresh"

    def reading(self, now: datetime) -> Reading:
        """Return how old the newest bar is: in the session of ``now``, or at the end of the last one."""
        seconds = None if self.newest is None else max(self._age(now, self.newest), 0.0)
        return Reading(seconds, self._limit.total_seconds(), self.stale)

    def _overdue(self, now: datetime) -> bool | None:
        """Return whether the newest bar is too old; None where this hour cannot tell."""
        if timedelta(minutes=TIMEFRAMES[self._timeframe]) > self._limit:
            return self._next_is_overdue(now)
        begun = self._session(now)
        if begun is None:
            return False if self.newest is not None and self._age(now, self.newest) == 0 else None
        anchor = max(begun, self.newest or self._since)
        return now - anchor > self._limit

    def _next_is_overdue(self, now: datetime) -> bool:
        after = self.newest or self._since
        due = self._calendar.bar_closes(self._timeframe, after + timedelta(microseconds=1), now - self._limit)
        return len(due) > 0

    def _session(self, now: datetime) -> datetime | None:
        """Return when the session of an instant began; None where the market is shut."""
        at = int(self._calendar.session_of(_array(now))[0])
        return None if at < 0 else self._calendar.opens[at].item().replace(tzinfo=UTC)

    def _age(self, now: datetime, newest: datetime) -> float:
        begun = self._session(now)
        if begun is not None:
            return (now - max(begun, newest)).total_seconds()
        return 60.0 * int(self._calendar.trading_minutes(_array(newest), _array(now))[0])


def _array(moment: datetime) -> TimeArray:
    return np.array([instant(moment)])

"""Equity cut by the calendar: monthly returns, and the worst falls with their dates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MonthTable:
    """Returns by year and month: ``months (Y, 12)`` with NaN where nothing was traded, and ``totals (Y,)``."""

    years: tuple[str, ...]
    months: Array
    totals: Array

    MONTHS: ClassVar = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True)
class Fall:
    """One drawdown: from its peak over its trough to the recovery (None while it lasts)."""

    depth: float
    peak: str
    trough: str
    recovered: str | None
    bars: int


def monthly_returns(times: NDArray[np.datetime64], equity: Array) -> MonthTable:
    """Return the compounded return of every month; the first row of ``equity`` is the starting capital."""
    month = times[1:].astype("datetime64[M]").astype(np.int64)
    log_moves = np.diff(np.log(np.where(equity > 0, equity, np.nan)))
    if not month.size:
        return MonthTable((), np.empty((0, 12)), np.empty(0))
    first_year, last_year = int(month[0]) // 12, int(month[-1]) // 12
    years = range(first_year, last_year + 1)
    place = month - first_year * 12
    summed = np.bincount(place, log_moves, minlength=len(years) * 12)
    traded = np.bincount(place, minlength=len(years) * 12) > 0
    months = np.where(traded, np.expm1(summed), np.nan).reshape(len(years), 12)
    totals = np.expm1(np.where(traded, summed, 0.0).reshape(len(years), 12).sum(axis=1))
    return MonthTable(tuple(str(1970 + y) for y in years), months, totals)


def worst_falls(times: NDArray[np.datetime64], equity: Array, most: int = 5) -> list[Fall]:
    """Return the deepest separate drawdowns, deepest first."""
    depth = 1.0 - equity / np.maximum.accumulate(equity)
    under = depth > 0
    edges = np.flatnonzero(np.diff(np.concatenate(([False], under, [False])).astype(np.int8)))
    spells = sorted(zip(edges[::2], edges[1::2], strict=True), key=lambda s: -float(depth[s[0] : s[1]].max()))
    return [_fall(times, depth, int(first), int(stop)) for first, stop in spells[:most]]


def _fall(times: NDArray[np.datetime64], depth: Array, first: int, stop: int) -> Fall:
    lowest = first + int(np.argmax(depth[first:stop]))
    recovered = str(times[stop])[:10] if stop < len(times) else None
    return Fall(float(depth[lowest]), str(times[first - 1])[:10], str(times[lowest])[:10], recovered, stop - first)

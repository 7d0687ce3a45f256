"""The leaves of the feature graph: what a panel says, brought to ``(T, N)`` with NaN where a symbol has no bar."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tradewind.features import timetable
from tradewind.market.panel import Panel

FloatArray = NDArray[np.float64]

BAR_FIELDS = ("open", "high", "low", "close", "volume")
EVENT_FIELDS = ("split", "dividend")
CONTEXT = ("vix", "index")

CLOCK: dict[str, Callable[[NDArray[np.datetime64]], FloatArray]] = {
    name: getattr(timetable, name)
    for name in (
        "session",
        "day_of_week",
        "day_of_month",
        "month",
        "month_of_quarter",
        "season_sine",
        "season_cosine",
        "minute_of_day",
        "minute_of_hour",
        "hour_of_day",
        "sessions_from_month_start",
        "sessions_to_month_end",
        "is_turn_of_month",
        "days_to_next_session",
        "days_since_last_session",
        "is_third_friday",
        "sessions_to_third_friday",
    )
}


def by_row(panel: Panel, name: str) -> FloatArray:
    """Return a series ``(T,)`` that is the same for every symbol: of the clock, or of the market."""
    if name in CLOCK:
        return CLOCK[name](panel.times)
    if name in panel.context:
        return np.asarray(panel.context[name], dtype=np.float64)
    return np.full(len(panel), np.nan)


def is_per_symbol(name: str) -> bool:
    """Tell whether an input differs from symbol to symbol."""
    return name in BAR_FIELDS or name in EVENT_FIELDS


def sector_codes(sectors: tuple[str, ...]) -> NDArray[np.int64]:
    """Return a code for each symbol's sector, -1 where it is unknown."""
    known = {name: code for code, name in enumerate(sorted(set(sectors) - {"unknown"}))}
    return np.array([known.get(name, -1) for name in sectors], dtype=np.int64)


def absent(panel: Panel, needed: frozenset[str]) -> tuple[str, ...]:
    """Return the inputs among ``needed`` that this panel lacks altogether."""
    missing = [name for name in CONTEXT if name in needed and not _has_context(panel, name)]
    if "sectors" in needed and set(panel.sectors) <= {"unknown"}:
        missing.append("sectors")
    if "volume" in needed and not np.isfinite(panel.volume).any():
        missing.append("volume")
    return tuple(missing)


def _has_context(panel: Panel, name: str) -> bool:
    return name in panel.context and bool(np.isfinite(panel.context[name]).any())

"""What a rule may know besides bars, features and forecasts: the regime, the calendar of a company, its fundamentals.

All of it is laid on the rows of one panel, as known at each close; what no source told is NaN, and whoever needs it
says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.decisions.settings import DecisionSection

FloatArray = NDArray[np.float64]

BULL, BEAR, VOLATILE, RANGE = range(4)
REGIMES = ("bull", "bear", "volatile", "range")

CALENDAR, FILINGS, YIELD = "calendar", "filings", "yield"
ARRAYS = ("regime", "multiplier", "earnings_in", "price_earnings", "growth", "dividend_yield")


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Known at each close of a panel; None where the playbook does not ask for it.

    Attributes
    ----------
    regime
        ``(T,)`` int8 index into :data:`REGIMES`, -1 where unsure or not yet known.
    multiplier
        ``(T,)`` share of risk that the regime allows, NaN where not yet known.
    earnings_in
        ``(T, N)`` sessions until the first open that can show the next earnings whose date was known then; 1: the next
        session opens on them.
    price_earnings
        ``(T, N)`` raw close over the twelve months' earnings filed by then; infinite where they were a loss.
    growth
        ``(T, N)`` their change on the year before, as filed by then, fraction.
    dividend_yield
        ``(T, N)`` dividends of the trailing year over the raw close.
    notes
        What is missing, and why.
    """

    regime: NDArray[np.int8] | None = None
    multiplier: FloatArray | None = None
    earnings_in: FloatArray | None = None
    price_earnings: FloatArray | None = None
    growth: FloatArray | None = None
    dividend_yield: FloatArray | None = None
    notes: tuple[str, ...] = ()

    def head(self, stop: int) -> Surroundings:
        """Return what surrounded the first ``stop`` bars (views)."""
        known = {name: part for name in ARRAYS if (part := getattr(self, name)) is not None}
        cut: dict[str, Any] = {name: part[:stop] for name, part in known.items()}
        return replace(self, **cut)


def asked_for(settings: DecisionSection) -> frozenset[str]:
    """Return which of calendar, filings and yield a playbook's decisions look at."""
    asked = {
        CALENDAR: settings.earnings_sessions > 0,
        FILINGS: settings.price_earnings_max is not None or settings.growth_min is not None,
        YIELD: settings.selection == "regime",
    }
    return frozenset(name for name, wanted in asked.items() if wanted)

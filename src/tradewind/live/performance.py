"""What a paper account has earned so far, session by session."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from tradewind.execution.journal import Mark
from tradewind.features.timetable import dates
from tradewind.market.bars import SESSIONS_PER_YEAR
from tradewind.market.calendar import instant
from tradewind.stats.sharpe_inference import sharpe_interval

SESSIONS_LEAST: Final = 20
"""Below so many sessions a Sharpe ratio says nothing, and none is told."""


def session_closes(marks: Sequence[Mark], before: np.datetime64) -> list[float]:
    """Return what an account was worth at its opening and at the end of each session, those before a bar's only.

    Parameters
    ----------
    marks
        By time; the first is that of the opening.
    before
        A close; its own session is not counted.
    """
    if not marks:
        return []
    days = dates(np.array([instant(mark.time) for mark in marks] + [before]))
    ends = [n for n in range(1, len(marks)) if days[n] != days[n + 1] and days[n] < days[-1]]
    return [marks[n].equity_cents / 100 for n in (0, *ends)]


def performance(closes: Sequence[float]) -> dict[str, Any]:
    """Return the Sharpe ratio of sessions with its 95 % stationary-bootstrap interval, of how many sessions it is.

    Parameters
    ----------
    closes
        What the account was worth at its opening and at the end of each session.
    """
    told: dict[str, Any]
    sessions, told = len(closes) - 1, {"sharpe": None, "sharpe_interval": None}
    if sessions >= SESSIONS_LEAST:
        values = np.asarray(closes)
        found = sharpe_interval(values[1:] / values[:-1] - 1, periods_per_year=SESSIONS_PER_YEAR)
        numbers = (found.value, found.low, found.high)
        if np.isfinite(numbers).all():
            estimate, low, high = (round(float(number), 6) for number in numbers)
            told = {"sharpe": estimate, "sharpe_interval": [low, high]}
    return {**told, "sessions": sessions}

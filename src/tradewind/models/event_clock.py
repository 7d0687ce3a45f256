"""Scheduled news returns: earnings come every 13 weeks, so old jumps announce new ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

#: Business days in 13 weeks; companies report on the same weekday of the same week, so weeks are exact.
QUARTER = 65
_QUARTERS_BACK = (1, 2, 3, 4, 8)
_SLACK = (0, 1, 3, 6, 12)
_RECENT = (2, 5, 12, 25, 45)


def event_evidence(surprise: FloatArray, activity: FloatArray) -> FloatArray:
    """Return how much each bar looks like a scheduled event, in 0..1, ``(T, N)``; 0 where unknown.

    A logistic weight of the market-relative move and of the volume against its month (0 when no volume is known).
    """
    volume = np.where(np.isfinite(activity), np.clip(activity, -2.0, 3.0), 0.0)
    odds = 1.2 * (np.minimum(surprise, 8.0) - 3.0) + 1.5 * (volume - 0.5)
    return np.where(np.isfinite(surprise), 1.0 / (1.0 + np.exp(-odds)), 0.0)


@dataclass(frozen=True, eq=False)
class EventClock:
    """Cumulated evidence by bar and each bar's business day, so that any past window is one subtraction."""

    cumulated: FloatArray
    position: NDArray[np.int64]

    @classmethod
    def of(cls, times: NDArray[np.datetime64], evidence: FloatArray) -> EventClock:
        """Take ``(T, N)`` evidence at bar closes ``times``; a weekend bar belongs to the Friday before it."""
        days = times.astype("datetime64[D]")
        position = np.busday_count(days[0] - np.timedelta64(7, "D"), days + np.timedelta64(1, "D"))
        start = np.zeros((1, evidence.shape[1]))
        return cls(np.vstack([start, np.cumsum(evidence, axis=0)]), position.astype(np.int64))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns of :meth:`at`."""
        ahead = [f"event_{k}q_{slack}" for k in _QUARTERS_BACK for slack in _SLACK]
        return (*ahead, *(f"event_last_{days}" for days in _RECENT))

    def at(self, rows: NDArray[np.int64], horizon: int) -> NDArray[np.float32]:
        """Evidence around the days ``1 .. horizon`` ahead, whole quarters earlier, ``(n, N, len(names))``."""
        now = self.position[rows]
        parts = [
            self._between(rows, now + 1 - QUARTER * k - slack, now + horizon - QUARTER * k + slack)
            for k in _QUARTERS_BACK
            for slack in _SLACK
        ]
        parts += [self._between(rows, now + 1 - days, now) for days in _RECENT]
        return np.stack(parts, axis=-1)

    def _between(
        self, rows: NDArray[np.int64], first: NDArray[np.int64], last: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Evidence of the bars on business days ``first .. last``, none later than the asking bar itself."""
        stop = np.minimum(np.searchsorted(self.position, last, side="right"), rows + 1)
        start = np.minimum(np.searchsorted(self.position, first, side="left"), stop)
        return (self.cumulated[stop] - self.cumulated[start]).astype(np.float32)

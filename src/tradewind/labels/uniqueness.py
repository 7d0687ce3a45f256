"""How much of each label is its own: average uniqueness (López de Prado 2018, ch. 4)."""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def average_uniqueness(started: NDArray[np.bool_], end: NDArray[np.int64]) -> FloatArray:
    """Return the mean over a label's bars of one over the number of that symbol's labels open in the bar.

    Parameters
    ----------
    started
        ``(T, N)`` True where a label was opened at the close of bar ``t``.
    end
        ``(T, N, H)`` row at which it is resolved; it covers the bars ``t + 1 … end``.

    Returns
    -------
    ``(T, N, H)``; NaN where nothing was started or the label is still open. What counts is the labels
    *opened*, not those resolved since, so the weight of a resolved label never changes later.
    """
    return _uniqueness(np.ascontiguousarray(started), np.ascontiguousarray(end))


def horizon_ends(rows: int, columns: int, horizons: Sequence[int]) -> NDArray[np.int64]:
    """Return ``t + h`` for every bar, symbol and horizon, ``(T, N, H)``."""
    h = np.asarray(horizons, dtype=np.int64)
    end = np.arange(rows, dtype=np.int64)[:, None, None] + h[None, None, :]
    return np.ascontiguousarray(np.broadcast_to(end, (rows, columns, len(h))))


@numba.njit(cache=True)
def _uniqueness(started: NDArray[np.bool_], end: NDArray[np.int64]) -> FloatArray:
    rows, columns, count = end.shape
    result = np.full((rows, columns, count), np.nan)
    for k in range(count):
        for n in range(columns):
            change = np.zeros(rows + 1, np.int64)
            for t in range(rows):
                if started[t, n] and t + 1 < rows:
                    change[t + 1] += 1
                    change[min(end[t, n, k] + 1, rows)] -= 1
            summed = np.zeros(rows + 1)
            open_now = 0
            for s in range(rows):
                open_now += change[s]
                summed[s + 1] = summed[s] + (1.0 / open_now if open_now > 0 else 0.0)
            for t in range(rows):
                stop = end[t, n, k]
                if started[t, n] and stop < rows and stop > t:
                    result[t, n, k] = (summed[stop + 1] - summed[t + 1]) / (stop - t)
    return result

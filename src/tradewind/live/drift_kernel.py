"""Counting many features of many symbols into bins, bar by bar: compiled, and the same for one bar as for a year."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@numba.njit(cache=True)
def count_bars(values: NDArray[np.float32], edges: FloatArray) -> tuple[NDArray[np.uint16], FloatArray]:
    """Return what each bar of ``(T, N, F)`` adds to the histograms of the features.

    Parameters
    ----------
    edges
        ``(F, E)`` inner edges; NaN where nothing is known of a feature, whose values then are all in the last bin.

    Returns
    -------
    Counts ``(T, F, E + 2)`` with the missing last, and ``(T, F, 2)`` sums of how far values lie below the first edge
    and above the last.
    """
    bars, symbols, features = values.shape
    cuts = edges.shape[1]
    counts = np.zeros((bars, features, cuts + 2), dtype=np.uint16)
    beyond = np.zeros((bars, features, 2))
    for t in range(bars):
        for n in range(symbols):
            for f in range(features):
                x = np.float64(values[t, n, f])
                if not math.isfinite(x):
                    counts[t, f, cuts + 1] += 1
                    continue
                low, high = 0, cuts
                while low < high:
                    middle = (low + high) // 2
                    if x < edges[f, middle]:
                        high = middle
                    else:
                        low = middle + 1
                counts[t, f, low] += 1
                if math.isnan(edges[f, 0]):
                    continue
                if low == 0:
                    beyond[t, f, 0] += edges[f, 0] - x
                elif low == cuts:
                    beyond[t, f, 1] += x - edges[f, cuts - 1]
    return counts, beyond


@numba.njit(cache=True)
def silences(values: NDArray[np.float32], last: NDArray[np.float32], run: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for how many bars in a row no symbol had a new value of a feature, ``(T, F)``; ``last``, ``run`` change.

    New is a known value other than the last known one of the symbol.
    """
    bars, symbols, features = values.shape
    found = np.zeros((bars, features), dtype=np.int64)
    for t in range(bars):
        for f in range(features):
            run[f] += 1
        for n in range(symbols):
            for f in range(features):
                x = values[t, n, f]
                if math.isfinite(x) and x != last[n, f]:
                    last[n, f] = x
                    run[f] = 0
        for f in range(features):
            found[t, f] = run[f]
    return found

"""Exponentially weighted volatility, one pass, per column: row ``t`` uses the rows up to and including ``t``."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError

FloatArray = NDArray[np.float64]


def decay_of(half_life_bars: float) -> float:
    """Return the per-bar decay whose weight halves in ``half_life_bars``."""
    if not half_life_bars > 0:
        raise InputError(f"half-life is {half_life_bars} bars, it must be positive")
    return float(0.5 ** (1.0 / half_life_bars))


def ewma_variance(returns: FloatArray, half_life_bars: float, warm_up_bars: int = 10) -> FloatArray:
    """Return the exponentially weighted mean of squared returns (zero mean), ``(T, N)``.

    The weights are normalised, so the first bars are a plain average and not a guess. Bars without a return
    neither enter nor decay the estimate and give NaN, as do a column's first ``warm_up_bars`` returns less
    one.
    """
    values = np.asarray(returns, dtype=np.float64)
    flat = values.reshape(len(values), -1)
    return _ewma_of_squares(flat, decay_of(half_life_bars), max(1, warm_up_bars)).reshape(values.shape)


def ewma_volatility(returns: FloatArray, half_life_bars: float, warm_up_bars: int = 10) -> FloatArray:
    """Return the square root of :func:`ewma_variance`, in the unit of the returns per bar."""
    return np.asarray(np.sqrt(ewma_variance(returns, half_life_bars, warm_up_bars)))


@numba.njit(cache=True)
def _ewma_of_squares(values: FloatArray, decay: float, warm_up: int) -> FloatArray:
    rows, columns = values.shape
    result = np.full((rows, columns), np.nan)
    total = np.zeros(columns)
    weight = np.zeros(columns)
    seen = np.zeros(columns, np.int64)
    for t in range(rows):
        for n in range(columns):
            x = values[t, n]
            if not np.isfinite(x):
                continue
            total[n] = decay * total[n] + x * x
            weight[n] = decay * weight[n] + 1.0
            seen[n] += 1
            if seen[n] >= warm_up:
                result[t, n] = total[n] / weight[n]
    return result

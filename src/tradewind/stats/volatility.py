"""Volatility estimators: causal, one pass, per column. Row ``t`` uses rows up to and including ``t`` only."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError

FloatArray = NDArray[np.float64]

#: RiskMetrics (1996) decay for daily data, a half-life of 11.2 bars.
RISKMETRICS_DECAY = 0.94


def decay_of(half_life_bars: float) -> float:
    """Return the per-bar decay whose weight halves in ``half_life_bars``."""
    if not half_life_bars > 0:
        raise InputError(f"half-life is {half_life_bars} bars, it must be positive")
    return float(0.5 ** (1.0 / half_life_bars))


def half_life_of(decay: float) -> float:
    """Return the half-life in bars of a per-bar decay in (0, 1)."""
    return math.log(0.5) / math.log(decay)


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


def riskmetrics_volatility(returns: FloatArray, warm_up_bars: int = 10) -> FloatArray:
    """Return EWMA volatility with the decay 0.94 of RiskMetrics (1996)."""
    return ewma_volatility(returns, half_life_of(RISKMETRICS_DECAY), warm_up_bars)


def parkinson_variance(high: FloatArray, low: FloatArray) -> FloatArray:
    """Return each bar's variance from its range, no overnight: ``ln(H/L)² / 4 ln 2`` (Parkinson 1980)."""
    return np.asarray(np.log(high / low) ** 2 / (4.0 * math.log(2.0)))


def garman_klass_variance(open_: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray) -> FloatArray:
    """Return each bar's variance from its four prices, no overnight part (Garman & Klass 1980, eq. 20)."""
    body = np.log(close / open_) ** 2
    return np.asarray(0.5 * np.log(high / low) ** 2 - (2.0 * math.log(2.0) - 1.0) * body)


def rogers_satchell_variance(open_: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray) -> FloatArray:
    """Return each bar's variance whatever its drift, no overnight part (Rogers & Satchell 1991)."""
    up = np.log(high / close) * np.log(high / open_)
    down = np.log(low / close) * np.log(low / open_)
    return np.asarray(up + down)


def yang_zhang_variance(
    open_: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray, window: int
) -> FloatArray:
    """Return the rolling variance per bar, overnight gaps included (Yang & Zhang 2000, eq. 5–9).

    ``(T, N)``; NaN until ``window`` bars with a previous close are there, and where any of them is missing.
    """
    if window < 2:
        raise InputError(f"window is {window} bars, Yang-Zhang needs at least 2")
    k = 0.34 / (1.34 + (window + 1.0) / (window - 1.0))
    gap = np.full_like(close, np.nan)
    gap[1:] = np.log(open_[1:] / close[:-1])
    body = np.log(close / open_)
    ranges = _rolling_mean(rogers_satchell_variance(open_, high, low, close), window)
    return _rolling_variance(gap, window) + k * _rolling_variance(body, window) + (1.0 - k) * ranges


def _rolling_mean(values: FloatArray, window: int) -> FloatArray:
    result = np.full_like(values, np.nan)
    if len(values) >= window:
        view = np.lib.stride_tricks.sliding_window_view(values, window, axis=0)
        result[window - 1 :] = view.mean(axis=-1)
    return result


def _rolling_variance(values: FloatArray, window: int) -> FloatArray:
    result = np.full_like(values, np.nan)
    if len(values) >= window:
        view = np.lib.stride_tricks.sliding_window_view(values, window, axis=0)
        result[window - 1 :] = view.var(axis=-1, ddof=1)
    return result


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

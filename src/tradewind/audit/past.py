"""What the past of a price can say: the controls that every suspicion is measured beyond."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Rows of data for each control, so that small tables are not explained by their controls.
ROWS_PER_CONTROL = 15


def shift(values: FloatArray, by: int, group: IntArray) -> FloatArray:
    """Return ``values`` of ``by`` rows earlier (later when negative) in the same group; NaN at the edges."""
    moved = np.full_like(values, np.nan)
    if by == 0:
        return values.copy()
    if abs(by) >= len(values):
        return moved
    here, there = (slice(by, None), slice(None, -by)) if by > 0 else (slice(None, by), slice(-by, None))
    moved[here] = values[there]
    moved[here][group[here] != group[there]] = np.nan
    return moved


def moving_average(values: FloatArray, span: int, group: IntArray) -> FloatArray:
    """Return the exponential moving average of each group, started at its first value. ``values`` has no NaN."""
    from scipy.signal import lfilter

    alpha = 2.0 / (span + 1.0)
    out = np.empty_like(values)
    bounds = np.flatnonzero(np.r_[True, group[1:] != group[:-1], True])
    for start, stop in pairwise(bounds):
        part = values[start:stop]
        out[start:stop] = lfilter([alpha], [1.0, alpha - 1.0], part, zi=[(1.0 - alpha) * part[0]])[0]
    return out


def of_returns(log_price: FloatArray, returns: FloatArray, group: IntArray) -> FloatArray:
    """Return the controls for future returns, ``(n, k)``, all known at each row and none missing.

    Returns of the last bars, the distance of the price from its moving averages, its level and log level and
    its momentum over longer spans.
    """
    known = np.where(np.isfinite(returns), returns, 0.0)
    lags = [_filled(shift(known, k, group)) for k in range(6)]
    away = [log_price - moving_average(log_price, span, group) for span in (4, 10, 20, 50, 120, 250)]
    level = np.exp(log_price - log_price.max())
    spans = [_momentum(log_price, k, group) for k in (6, 8, 10, 12, 15, 20, 30, 40, 60)]
    ordered = [lags[0], log_price, away[1], lags[1], away[0], away[2], level, away[3], *lags[2:], *away[4:]]
    return _affordable([*ordered, *spans])


def of_volatility(returns: FloatArray, group: IntArray) -> FloatArray:
    """Return the controls for the size of future returns, ``(n, k)``: recent and longer sizes, and the sign."""
    size = np.abs(np.where(np.isfinite(returns), returns, 0.0))
    smooth = [moving_average(size, span, group) for span in (10, 40, 4, 20, 100)]
    lags = [_filled(shift(size, k, group)) for k in range(6)]
    signed = [np.where(np.isfinite(returns), returns, 0.0)]
    logs = [np.log(np.maximum(part, 1e-12)) for part in smooth[:2]]
    return _affordable([*smooth[:2], *logs, lags[0], *smooth[2:], *signed, *lags[1:]])


def _momentum(log_price: FloatArray, bars: int, group: IntArray) -> FloatArray:
    return _filled(log_price - shift(log_price, bars, group))


def _filled(values: FloatArray) -> FloatArray:
    return np.where(np.isfinite(values), values, 0.0)


def _affordable(columns: list[FloatArray]) -> FloatArray:
    count = max(2, min(len(columns), len(columns[0]) // ROWS_PER_CONTROL))
    return np.column_stack(columns[:count])

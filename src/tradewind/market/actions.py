"""Corporate actions: the forward adjustment factor, and what can be learnt from a back-adjusted close."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tradewind.errors import DataError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def forward_factor(close: FloatArray, split: FloatArray, dividend: FloatArray, mask: BoolArray) -> FloatArray:
    """Return the factor that turns raw prices into a total-return series without touching the past.

    ``factor[t] = factor[t-1] * split[t] / (1 - dividend[t] * split[t] / close_before)``: the dividend is
    reinvested at the last close before the ex-date less the dividend, which is known before the open of
    the ex-date. Row ``t`` depends on rows up to ``t`` only, so a prefix of the data has a prefix of the factor.

    Parameters
    ----------
    close
        Raw closes ``(T, N)`` in currency; read only where ``mask`` is True.
    split
        Shares after one share before, effective before the open of the bar; 1 where none. ``(T, N)``.
    dividend
        Cash per share held after that bar's split, ex before the open of the bar; 0 where none. ``(T, N)``.
    mask
        True where the bar is fit for use. Events on other rows still count.

    Returns
    -------
    ``(T, N)`` float64, 1 up to and including each column's first valid bar.

    Raises
    ------
    DataError
        A split that is not positive, or a dividend that is negative or not below the previous close.
    """
    factor = np.ones(close.shape)
    row, column = _accumulate(close, split, dividend, mask, factor)
    if row >= 0:
        raise DataError(
            f"impossible corporate action at row {row}, column {column}: split {split[row, column]}, "
            f"dividend {dividend[row, column]}",
            hint="a split must be positive and a dividend must lie between 0 and the previous close; "
            "run `tradewind data check`",
        )
    return factor


@njit(cache=True)
def _accumulate(
    close: FloatArray, split: FloatArray, dividend: FloatArray, mask: BoolArray, factor: FloatArray
) -> tuple[int, int]:
    """Fill ``factor``; return the place of the first impossible event, or (-1, -1)."""
    bars, columns = close.shape
    last = np.full(columns, np.nan)
    for t in range(bars):
        for n in range(columns):
            known = not np.isnan(last[n])
            if t > 0:
                factor[t, n] = factor[t - 1, n]
            if known and (split[t, n] != 1.0 or dividend[t, n] != 0.0):
                before = last[n] / split[t, n] if split[t, n] > 0.0 else np.nan
                if not (0.0 <= dividend[t, n] < before):
                    return t, n
                factor[t, n] *= split[t, n] / (1.0 - dividend[t, n] / before)
                last[n] = before - dividend[t, n]
            if mask[t, n]:
                last[n] = close[t, n]
    return -1, -1

"""Standard errors that survive autocorrelation: the Newey–West long-run variance of a mean."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradewind.errors import InputError
from tradewind.stats.metrics.sample import clean

FloatArray = NDArray[np.float64]


def automatic_lags(n: int) -> int:
    """Return the Bartlett bandwidth ``⌊4 (n / 100)^(2/9)⌋`` of Newey & West (1994)."""
    return int(4.0 * (n / 100.0) ** (2.0 / 9.0)) if n > 1 else 0


def long_run_variance(values: ArrayLike, lags: int | None = None) -> float:
    """Return the Bartlett-kernel long-run variance of a series (Newey & West 1987).

    Parameters
    ----------
    values
        ``(T,)`` in time order; missing values are left out.
    lags
        Autocovariances used; by default :func:`automatic_lags`. For errors of overlapping ``h``-bar forecasts use
        at least ``h - 1``.
    """
    x = clean(values)
    if x.size < 2:
        return math.nan
    used = automatic_lags(x.size) if lags is None else lags
    if used < 0:
        raise InputError(f"lags is {used}, it must be 0 or more")
    deviation = x - x.mean()
    total = float(deviation @ deviation) / x.size
    for lag in range(1, min(used, x.size - 1) + 1):
        weight = 1.0 - lag / (used + 1.0)
        total += 2.0 * weight * float(deviation[lag:] @ deviation[:-lag]) / x.size
    return total


def hac_standard_error(values: ArrayLike, lags: int | None = None) -> float:
    """Return the Newey–West standard error of the mean."""
    x = clean(values)
    return math.sqrt(max(long_run_variance(x, lags), 0.0) / x.size) if x.size > 1 else math.nan


def hac_t(values: ArrayLike, horizon_bars: int = 1) -> float:
    """Return the t-statistic of a mean of errors, or of ICs, whose outcomes overlap by ``horizon_bars - 1``.

    Uses the larger of ``horizon_bars - 1`` and the automatic bandwidth; NaN where the series does not vary.
    """
    x = clean(values)
    error = hac_standard_error(x, max(horizon_bars - 1, automatic_lags(x.size)))
    return float(x.mean()) / error if x.size > 1 and error > 0 else math.nan

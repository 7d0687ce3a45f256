"""Which of two forecasts lost less, and could it be luck (Diebold & Mariano 1995), clustered by date."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradewind.errors import InputError
from tradewind.stats.hac import automatic_lags, hac_standard_error

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DieboldMariano:
    """The test's outcome.

    Attributes
    ----------
    difference
        Mean loss of the first less that of the second: positive where the second is better.
    statistic, p_value
        Small-sample corrected statistic and its two-sided p-value; NaN where nothing differs.
    n, lags
        Dates compared and autocovariances used.
    """

    difference: float
    statistic: float
    p_value: float
    n: int
    lags: int


def diebold_mariano(first: ArrayLike, second: ArrayLike, horizon_bars: int = 1) -> DieboldMariano:
    """Compare two series of losses.

    Parameters
    ----------
    first, second
        Losses ``(T,)`` by date, or ``(T, N)`` by date and symbol: symbols of one date are one observation (their
        mean over those that both have), because they move together.
    horizon_bars
        Horizon of the forecasts: the variance covers at least ``horizon_bars - 1`` autocovariances.

    Notes
    -----
    The variance is Newey and West's, the correction and the t distribution Harvey, Leybourne and Newbold's (1997).
    """
    if horizon_bars < 1:
        raise InputError(f"horizon is {horizon_bars} bars, it must be 1 or more")
    gap = _by_date(np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64))
    n = gap.size
    lags = max(horizon_bars - 1, automatic_lags(n))
    error = hac_standard_error(gap, lags) if n > 1 else math.nan
    mean = float(gap.mean()) if n else math.nan
    if not error > 0:
        return DieboldMariano(mean, math.nan, math.nan, n, lags)
    h = min(horizon_bars, n - 1)
    correction = max((n + 1.0 - 2.0 * h + h * (h - 1.0) / n) / n, 1.0 / n)
    statistic = mean / error * math.sqrt(correction)
    return DieboldMariano(mean, statistic, _two_sided(statistic, n - 1), n, lags)


def _by_date(gap: FloatArray) -> FloatArray:
    """Return the mean difference of every date that has one."""
    if gap.ndim == 1:
        return gap[np.isfinite(gap)]
    known = np.isfinite(gap)
    count = known.reshape(len(gap), -1).sum(axis=1)
    total = np.where(known, gap, 0.0).reshape(len(gap), -1).sum(axis=1)
    return np.asarray(total[count > 0] / count[count > 0])


def _two_sided(statistic: float, freedom: int) -> float:
    from scipy.special import stdtr

    return float(2.0 * stdtr(freedom, -abs(statistic)))

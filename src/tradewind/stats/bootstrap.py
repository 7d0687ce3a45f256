"""The stationary bootstrap: confidence intervals for statistics of dependent series (Politis & Romano 1994)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradewind.errors import InputError
from tradewind.stats.metrics.sample import clean

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A statistic with its confidence interval.

    Attributes
    ----------
    value, low, high
        The sample's statistic and the interval's ends; NaN where the sample is too short or does not vary.
    level
        Confidence level in (0, 1).
    block_bars
        Mean block length used.
    """

    value: float
    low: float
    high: float
    level: float
    block_bars: float


def automatic_block_length(values: ArrayLike) -> float:
    """Return the mean block length that is best for the mean of the series.

    Politis & White (2004) with the correction of Patton, Politis & White (2009), for the stationary bootstrap;
    at least 1 and at most ``min(3 √n, n / 3)``.
    """
    x = clean(values)
    n = x.size
    if n < 4 or np.ptp(x) == 0:
        return 1.0
    most = math.ceil(min(3.0 * math.sqrt(n), n / 3.0))
    covariance = _autocovariances(x, min(n - 1, math.ceil(math.sqrt(n)) + _quiet_run(n) + 1))
    bandwidth = min(2 * _last_significant(covariance / covariance[0], n), len(covariance) - 1)
    lag = np.arange(1, bandwidth + 1)
    taper = np.minimum(1.0, 2.0 * (1.0 - lag / max(bandwidth, 1)))
    spectrum = covariance[0] + 2.0 * float(taper @ covariance[1 : bandwidth + 1])
    slope = 2.0 * float((taper * lag) @ covariance[1 : bandwidth + 1])
    if spectrum <= 0:
        return 1.0
    length = (2.0 * slope**2 / (2.0 * spectrum**2)) ** (1.0 / 3.0) * n ** (1.0 / 3.0)
    return float(min(max(length, 1.0), most))


def stationary_indices(n: int, block_bars: float, samples: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return resampled row numbers ``(samples, n)``: blocks of geometric length that wrap around the end."""
    if block_bars < 1.0 or n < 1:
        raise InputError(f"a block of {block_bars} bars in {n} rows cannot be resampled")
    fresh = generator.random((samples, n)) < 1.0 / block_bars
    fresh[:, 0] = True
    start = generator.integers(0, n, size=(samples, n))
    position = np.arange(n)
    began = np.maximum.accumulate(np.where(fresh, position, 0), axis=1)
    return np.asarray((np.take_along_axis(start, began, axis=1) + position - began) % n, dtype=np.int64)


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[[FloatArray], FloatArray],
    *,
    level: float = 0.95,
    samples: int = 2000,
    seed: int = 0,
    block_bars: float | None = None,
) -> Interval:
    """Return the percentile interval of a statistic under the stationary bootstrap.

    Parameters
    ----------
    values
        ``(T,)`` in time order; missing values are left out.
    statistic
        Maps ``(..., T)`` to ``(...)``: called once on the sample and once on all resamples.
    block_bars
        Mean block length; by default :func:`automatic_block_length`.
    """
    if not 0.0 < level < 1.0:
        raise InputError(f"confidence level is {level}, it must lie in (0, 1)")
    x = clean(values)
    if x.size < 4 or np.ptp(x) == 0:
        return Interval(math.nan, math.nan, math.nan, level, math.nan)
    length = automatic_block_length(x) if block_bars is None else block_bars
    draws = _resampled(x, statistic, length, samples, np.random.default_rng(seed))
    low, high = np.nanquantile(draws, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Interval(float(statistic(x)), float(low), float(high), level, length)


def _resampled(
    x: FloatArray,
    statistic: Callable[[FloatArray], FloatArray],
    length: float,
    samples: int,
    generator: np.random.Generator,
) -> FloatArray:
    """Return the statistic of every resample, drawn in portions of about 4 M values."""
    portion = max(1, 4_000_000 // x.size)
    parts = [
        statistic(x[stationary_indices(x.size, length, min(portion, samples - done), generator)])
        for done in range(0, samples, portion)
    ]
    return np.concatenate(parts)


def _quiet_run(n: int) -> int:
    return max(5, math.ceil(math.sqrt(math.log10(n))))


def _autocovariances(x: FloatArray, lags: int) -> FloatArray:
    deviation = x - x.mean()
    return np.array([float(deviation[k:] @ deviation[: x.size - k]) / x.size for k in range(lags + 1)])


def _last_significant(correlation: FloatArray, n: int) -> int:
    """Return the smallest lag after which a run of autocorrelations is insignificant (Politis & White 2004, 3.2)."""
    bound = 2.0 * math.sqrt(math.log10(n) / n)
    run = _quiet_run(n)
    loud = np.abs(correlation[1:]) > bound
    for lag in range(max(len(loud) - run + 1, 0)):
        if not loud[lag : lag + run].any():
            return max(lag, 1)
    return int(np.flatnonzero(loud)[-1]) + 1 if loud.any() else 1

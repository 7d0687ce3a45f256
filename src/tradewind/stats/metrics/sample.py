"""Sums over what is there: NaN and infinities are left out, too small a sample gives NaN."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def clean(values: ArrayLike) -> FloatArray:
    """Return the finite values, flat."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    return flat[np.isfinite(flat)]


def mean(values: FloatArray) -> float:
    """Return the mean, NaN of nothing."""
    return float(values.mean()) if values.size else math.nan


def sd(values: FloatArray) -> float:
    """Return the standard deviation with n - 1; 0 where the spread is rounding noise."""
    if values.size < 2:
        return math.nan
    return float(values.std(ddof=1)) if varies(values) else 0.0


def varies(values: FloatArray) -> bool:
    """Return whether the spread is more than rounding noise."""
    return bool(np.ptp(values) > 1e-12 * max(1e-300, float(np.abs(values).max())))


def ratio(above: float, below: float) -> float:
    """Return the quotient, NaN unless the denominator is positive."""
    return above / below if below > 0 else math.nan


def moments(values: FloatArray) -> tuple[float, float, float, float]:
    """Return mean, population standard deviation, skewness and kurtosis; NaN where undefined."""
    if values.size < 2:
        return mean(values), math.nan, math.nan, math.nan
    deviation = values - values.mean()
    variance = float(np.mean(deviation**2))
    if not varies(values):
        return float(values.mean()), 0.0, math.nan, math.nan
    skew = float(np.mean(deviation**3)) / variance**1.5
    return float(values.mean()), math.sqrt(variance), skew, float(np.mean(deviation**4)) / variance**2

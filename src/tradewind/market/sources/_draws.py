"""Random draws by address: the same (key, day, purpose, step) is always the same number."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

# Acklam's rational approximation of the normal quantile: central numerator and denominator, then the tails'.
_CENTRE = (
    -3.969683028665376e1,
    2.209460984245205e2,
    -2.759285104469687e2,
    1.383577518672690e2,
    -3.066479806614716e1,
    2.506628277459239,
)
_UNDER_CENTRE = (
    -5.447609879822406e1,
    1.615858368580409e2,
    -1.556989798598866e2,
    6.680131188771972e1,
    -1.328068155288572e1,
    1.0,
)
_TAIL = (
    -7.784894002430293e-3,
    -3.223964580411365e-1,
    -2.400758277161838,
    -2.549732539343734,
    4.374664141464968,
    2.938163982698783,
)
_UNDER_TAIL = (7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416, 1.0)


@njit(cache=True, inline="always")
def _hash(key: np.uint64, number: int) -> np.uint64:
    """Return splitmix64's output for one position of the stream that ``key`` names."""
    z = key + (np.uint64(number) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True, inline="always")
def stream(key: np.uint64, day: int, purpose: int) -> np.uint64:
    """Return the stream of one day and one purpose."""
    return _hash(_hash(key, day), purpose)


@njit(cache=True, inline="always")
def uniform(source: np.uint64, step: int) -> float:
    """Return a number strictly between 0 and 1."""
    return (float(_hash(source, step) >> np.uint64(11)) + 0.5) * (1.0 / 9007199254740992.0)


@njit(cache=True, inline="always")
def _polynomial(coefficients: tuple[float, ...], x: float) -> float:
    total = 0.0
    for c in coefficients:
        total = total * x + c
    return total


@njit(cache=True)
def normal(source: np.uint64, step: int) -> float:
    """Return a standard normal, by inversion (relative error of the quantile 1.2e-9)."""
    p = uniform(source, step)
    if p < 0.02425 or p > 0.97575:
        q = math.sqrt(-2.0 * math.log(min(p, 1.0 - p)))
        tail = _polynomial(_TAIL, q) / _polynomial(_UNDER_TAIL, q)
        return tail if p < 0.5 else -tail
    q = p - 0.5
    return q * _polynomial(_CENTRE, q * q) / _polynomial(_UNDER_CENTRE, q * q)


@njit(cache=True)
def student(source: np.uint64, degrees: float) -> float:
    """Return a Student-t draw scaled to unit variance (Bailey 1994, Mathematics of Computation 62)."""
    radius = math.sqrt(degrees * (uniform(source, 0) ** (-2.0 / degrees) - 1.0))
    return radius * math.cos(2.0 * math.pi * uniform(source, 1)) * math.sqrt((degrees - 2.0) / degrees)

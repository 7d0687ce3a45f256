"""The compiled forward recursion of a Gaussian hidden Markov model, in logarithms, one row at a time.

The state handed in and out is the *prediction* ``log P(z[t] | x[< t])``, so a row needs nothing but itself and the
state; sums are made in one fixed order and any split of a block gives the same bits. What is missing in a row is
integrated out: the density is that of the observed columns, and a row with none of them only predicts.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_LOG_TWO_PI = math.log(2.0 * math.pi)


@numba.njit(cache=True)
def forward(
    values: FloatArray,
    predicted: FloatArray,
    log_transition: FloatArray,
    mean: FloatArray,
    covariance: FloatArray,
    lead: int,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Advance the prediction (in place) over a block of rows.

    Parameters
    ----------
    values
        ``(B, K)`` observations, NaN for missing.
    predicted
        ``(S,)`` log probabilities of the states at the first row before it is seen; afterwards, those at the row
        behind the block.
    log_transition, mean, covariance
        ``(S, S)`` from row to column, ``(S, K)`` and ``(S, K, K)``, positive definite.
    lead
        Column whose own predictive density is wanted as well.

    Returns
    -------
    Filtered probabilities ``(B, S)``, which sum to one; the log predictive density of the observed columns ``(B,)``;
    and that of the leading column alone ``(B,)``. Densities are NaN where nothing was observed.
    """
    rows, states = len(values), len(predicted)
    filtered = np.empty((rows, states))
    density = np.full(rows, np.nan)
    leading = np.full(rows, np.nan)
    joint, single = np.empty(states), np.empty(states)
    for t in range(rows):
        seen = _observed(values[t])
        for s in range(states):
            joint[s] = predicted[s] + _log_density(values[t], seen, mean[s], covariance[s])
        total = _log_sum(joint)
        if len(seen) > 0:
            density[t] = total
        if math.isfinite(values[t, lead]):
            for s in range(states):
                deviation = values[t, lead] - mean[s, lead]
                spread = covariance[s, lead, lead]
                single[s] = predicted[s] - 0.5 * (_LOG_TWO_PI + math.log(spread) + deviation * deviation / spread)
            leading[t] = _log_sum(single)
        for s in range(states):
            joint[s] -= total
            filtered[t, s] = math.exp(joint[s])
        for s in range(states):
            for previous in range(states):
                single[previous] = joint[previous] + log_transition[previous, s]
            predicted[s] = _log_sum(single)
    return filtered, density, leading


@numba.njit(cache=True)
def _observed(row: FloatArray) -> IntArray:
    """Return the columns that are there."""
    found = np.empty(len(row), np.int64)
    count = 0
    for k in range(len(row)):
        if math.isfinite(row[k]):
            found[count] = k
            count += 1
    return found[:count]


@numba.njit(cache=True)
def _log_density(row: FloatArray, seen: IntArray, mean: FloatArray, covariance: FloatArray) -> float:
    """Return the log density of the observed columns, by a Cholesky factor built row by row; 0 for none."""
    n = len(seen)
    factor = np.empty((n, n))
    white = np.empty(n)
    result = -0.5 * n * _LOG_TWO_PI
    for i in range(n):
        for j in range(i + 1):
            rest = covariance[seen[i], seen[j]]
            for k in range(j):
                rest -= factor[i, k] * factor[j, k]
            factor[i, j] = math.sqrt(rest) if i == j else rest / factor[j, j]
        deviation = row[seen[i]] - mean[seen[i]]
        for k in range(i):
            deviation -= factor[i, k] * white[k]
        white[i] = deviation / factor[i, i]
        result -= math.log(factor[i, i]) + 0.5 * white[i] * white[i]
    return result


@numba.njit(cache=True)
def _log_sum(logs: FloatArray) -> float:
    """Return the logarithm of the sum of exponentials, without overflow."""
    highest = -np.inf
    for value in logs:
        highest = max(highest, value)
    if not math.isfinite(highest):
        return highest
    total = 0.0
    for value in logs:
        total += math.exp(value - highest)
    return highest + math.log(total)

"""From forecasts of each symbol to where it will end among the others: a joint simulation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradewind.errors import InputError

FloatArray = NDArray[np.float64]

_CHUNK = 2048


def correlation_of(returns: FloatArray, half_life: float = 125.0, shrinkage: float = 0.25) -> FloatArray:
    """Return a shrunk, exponentially weighted correlation matrix, ``(N, N)``.

    Parameters
    ----------
    returns
        ``(T, N)`` one-bar log returns, oldest first; NaN is missing and counts for nothing.
    half_life
        Bars after which a bar's weight has halved.
    shrinkage
        Weight of the average correlation (Ledoit & Wolf 2004, constant-correlation target) in 0..1; more is
        added when there are more symbols than effective bars.

    Returns
    -------
    correlation
        Positive definite, unit diagonal. Each bar is first divided by its own cross-sectional size, so that a
        crash does not outweigh a quiet year.
    """
    bars, count = returns.shape
    known = np.isfinite(returns)
    values = np.where(known, returns, 0.0)
    size = np.sqrt((values**2).sum(axis=1) / np.maximum(known.sum(axis=1), 1))
    values = values / np.where(size > 0, size, 1.0)[:, None]
    weight = 0.5 ** (np.arange(bars)[::-1] / half_life)
    product = (values * weight[:, None]).T @ values
    overlap = (known * weight[:, None]).T @ known.astype(np.float64)
    covariance = product / np.maximum(overlap, 1e-12)
    spread = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    correlation = np.clip(covariance / np.outer(spread, spread), -0.99, 0.99)
    others = ~np.eye(count, dtype=bool)
    average = float(np.clip(correlation[others].mean(), 0.0, 0.95)) if count > 1 else 0.0
    effective = max(float(weight.sum()), 1.0)
    pull = min(0.95, shrinkage + (1.0 - shrinkage) * count / (count + 4.0 * effective))
    correlation = (1.0 - pull) * correlation + pull * average
    np.fill_diagonal(correlation, 1.0)
    return _positive(correlation)


def bucket_probabilities(
    quantiles: FloatArray,
    levels: Sequence[float],
    correlation: FloatArray,
    *,
    buckets: int = 5,
    draws: int = 8192,
    seed: int = 0,
) -> FloatArray:
    """Return each symbol's probability of ending in each bucket of the universe's returns, lowest first.

    Parameters
    ----------
    quantiles, levels
        ``(N, Q)`` forecast quantiles of one horizon and their levels: the marginal distributions.
    correlation
        ``(N, N)``: of the Gaussian copula that joins them.
    buckets
        Equal-sized groups of the ranked universe (5: quintiles).
    draws, seed
        Antithetic draws of the joint distribution, and their seed.

    Returns
    -------
    probabilities
        ``(N, buckets)``; each row sums to one, each column to ``N / buckets`` up to how ``N`` divides.

    Raises
    ------
    InputError
        With fewer symbols than buckets, or shapes that do not fit.
    """
    count = len(quantiles)
    if count < buckets or buckets < 2:
        raise InputError(f"{count} symbols cannot be split into {buckets} buckets", hint="use fewer buckets")
    if correlation.shape != (count, count):
        raise InputError(f"correlation has shape {correlation.shape}, expected {(count, count)}")
    factor = np.linalg.cholesky(_positive(correlation))
    generator = np.random.default_rng(seed)
    place = bucket_of(np.arange(count), count, buckets)
    tally = np.zeros((count, buckets))
    half = max(draws // 2, 1)
    for first in range(0, half, _CHUNK):
        normal = generator.standard_normal((min(_CHUNK, half - first), count)) @ factor.T
        for side in (normal, -normal):
            order = np.argsort(_marginals(side, quantiles, levels), axis=1, kind="stable")
            for bucket in range(buckets):
                tally[:, bucket] += np.bincount(order[:, place == bucket].ravel(), minlength=count)
    return tally / tally.sum(axis=1, keepdims=True)


def bucket_of(rank: NDArray[np.int64], count: ArrayLike, buckets: int) -> NDArray[np.int64]:
    """Return which of so many buckets the middle of each rank (0: the lowest of ``count``) lies in, lowest first.

    Sizes differ by one at most, and turning the ranks round turns the buckets round, but for a rank that lies between
    two buckets of an even number, which counts for the upper one.
    """
    return np.asarray((2 * rank + 1) * buckets // (2 * np.asarray(count)))


def _marginals(normal: FloatArray, quantiles: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Map standard normal draws ``(D, N)`` to returns: linear between quantiles on the normal scale, and beyond."""
    from scipy.special import ndtri

    knots = ndtri(np.asarray(levels, dtype=np.float64))
    segment = np.clip(np.searchsorted(knots, normal) - 1, 0, len(knots) - 2)
    column = np.arange(normal.shape[1])
    low, high = quantiles[column, segment], quantiles[column, segment + 1]
    share = (normal - knots[segment]) / (knots[segment + 1] - knots[segment])
    return np.asarray(low + share * (high - low))


def _positive(correlation: FloatArray) -> FloatArray:
    """Lift negative eigenvalues and restore the unit diagonal."""
    even = (correlation + correlation.T) / 2
    if _all_eigenvalues_above(1e-8, even):
        return correlation
    values, vectors = np.linalg.eigh(even)
    lifted = (vectors * np.maximum(values, 1e-6)) @ vectors.T
    spread = np.sqrt(np.diag(lifted))
    return np.asarray(lifted / np.outer(spread, spread))


def _all_eigenvalues_above(least: float, symmetric: FloatArray) -> bool:
    """Return whether the matrix less so much of the identity has a Cholesky factor, which is the fast way to ask."""
    try:
        np.linalg.cholesky(symmetric - least * np.eye(len(symmetric)))
    except np.linalg.LinAlgError:
        return False
    return True

"""Proper scores of forecasts. All are losses: smaller is better, NaN where either side is missing.

Every function keeps the leading axes, so a caller may average over dates, symbols or horizons as it likes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradewind.errors import InputError

FloatArray = NDArray[np.float64]


def pinball(outcome: ArrayLike, quantiles: ArrayLike, levels: Sequence[float]) -> FloatArray:
    """Return the pinball (quantile) loss of each level.

    Parameters
    ----------
    outcome
        What happened, shape ``(...)``, or ``(..., 1)``.
    quantiles
        Forecast quantiles, shape ``(..., Q)``, in the unit of the outcome.
    levels
        The ``Q`` levels in (0, 1).

    Returns
    -------
    ``(..., Q)``: ``max(p (y - q), (p - 1) (y - q))``, Koenker & Bassett (1978).
    """
    p, q = _levels(levels), np.asarray(quantiles, dtype=np.float64)
    y = np.asarray(outcome, dtype=np.float64)
    error = (y if y.ndim == q.ndim and y.shape[-1] == 1 else y[..., None]) - q
    return np.maximum(p * error, (p - 1.0) * error)


def crps(outcome: ArrayLike, quantiles: ArrayLike, levels: Sequence[float]) -> FloatArray:
    """Return the continuous ranked probability score from a quantile grid, shape ``(...)``.

    ``CRPS = 2 ∫ pinball_p dp`` (Gneiting & Ranjan 2011, eq. 11), each level standing for the part of (0, 1)
    nearest to it: a weighted sum of pinball losses, hence proper for the quantiles that were given.
    """
    loss = pinball(outcome, quantiles, levels)
    return np.asarray(2.0 * (loss @ level_weights(levels)))


def level_weights(levels: Sequence[float]) -> FloatArray:
    """Return the share of (0, 1) that lies nearest to each level; they sum to 1."""
    p = _levels(levels)
    edges = np.concatenate(([0.0], (p[1:] + p[:-1]) / 2.0, [1.0]))
    return np.diff(edges)


def brier(happened: ArrayLike, probability: ArrayLike) -> FloatArray:
    """Return the squared error of the probability of an event; ``happened`` is 0, 1 or NaN (Brier 1950)."""
    return np.asarray((np.asarray(probability, dtype=np.float64) - np.asarray(happened, dtype=np.float64)) ** 2)


def ranked_probability_score(bucket: ArrayLike, probabilities: ArrayLike) -> FloatArray:
    """Return the ranked probability score over ordered buckets, averaged over them as in the M6 competition.

    Parameters
    ----------
    bucket
        Which bucket happened, shape ``(...)``: an index ``0 … K-1`` (negative is missing), or shape ``(...,
        K)`` membership shares that sum to 1 where ties split an outcome between buckets.
    probabilities
        ``(..., K)``, summing to 1.

    Returns
    -------
    ``(...)``: ``Σ_k (cumulated forecast - cumulated outcome)² / K`` (Epstein 1969; M6: uniform quintiles
    score 0.16).
    """
    p = np.asarray(probabilities, dtype=np.float64)
    outcome = np.asarray(bucket)
    shares = outcome.astype(np.float64) if outcome.shape == p.shape else _one_hot(outcome.astype(np.int64), p.shape[-1])
    gap = np.cumsum(p, axis=-1) - np.cumsum(shares, axis=-1)
    return np.asarray(np.mean(gap**2, axis=-1))


def _one_hot(bucket: NDArray[np.int64], count: int) -> FloatArray:
    shares = (bucket[..., None] == np.arange(count)).astype(np.float64)
    shares[bucket < 0] = np.nan
    return shares


def _levels(levels: Sequence[float]) -> FloatArray:
    p = np.asarray(levels, dtype=np.float64)
    if p.ndim != 1 or p.size == 0 or not bool(np.all((p > 0) & (p < 1))) or bool(np.any(np.diff(p) <= 0)):
        raise InputError(f"quantile levels {tuple(levels)} must rise strictly inside (0, 1)")
    return p

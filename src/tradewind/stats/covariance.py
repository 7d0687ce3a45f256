"""Covariance and correlation matrices of many series from too few rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradewind.errors import InputError
from tradewind.stats.volatility import decay_of

FloatArray = NDArray[np.float64]


def ewma_covariance(returns: ArrayLike, half_life_bars: float) -> FloatArray:
    """Return the exponentially weighted, zero-mean covariance at the last row, ``(N, N)``.

    ``returns`` ``(T, N)``; each pair uses the rows on which both are there, so the matrix need not be positive
    definite where data are missing (:func:`nearest_correlation` repairs that). NaN for pairs that never meet.
    """
    r = _table(returns)
    weight = decay_of(half_life_bars) ** np.arange(len(r) - 1, -1, -1.0)
    known = np.isfinite(r)
    filled = np.where(known, r, 0.0)
    mass = known.T.astype(np.float64) @ (known * weight[:, None])
    total = filled.T @ (filled * weight[:, None])
    return np.where(mass > 0, total / np.where(mass > 0, mass, 1.0), np.nan)


def correlation_of(covariance: FloatArray) -> FloatArray:
    """Return the correlation matrix of a covariance matrix; NaN where a variance is zero or missing."""
    spread = np.sqrt(np.diag(covariance))
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = covariance / np.outer(spread, spread)
    correlation = np.where(np.isfinite(correlation), np.clip(correlation, -1.0, 1.0), np.nan)
    ok = np.isfinite(spread) & (spread > 0)
    correlation[np.diag_indices(len(spread))] = np.where(ok, 1.0, np.nan)
    return correlation


def ewma_correlation(returns: ArrayLike, half_life_bars: float) -> FloatArray:
    """Return the exponentially weighted correlation at the last row, ``(N, N)``."""
    return correlation_of(ewma_covariance(returns, half_life_bars))


def shrink_to_constant(correlation: FloatArray, intensity: float) -> FloatArray:
    """Return the correlations moved by ``intensity`` in [0, 1] towards their own average."""
    if not 0.0 <= intensity <= 1.0:
        raise InputError(f"shrinkage intensity is {intensity}, it must lie in [0, 1]")
    n = len(correlation)
    apart = ~np.eye(n, dtype=bool)
    pairs = correlation[apart & np.isfinite(correlation)]
    if n > 1 and not pairs.size:
        raise InputError("no two series meet on any bar: there is no correlation to shrink to")
    average = float(pairs.mean()) if n > 1 else 0.0
    target = np.where(apart, average, 1.0)
    missing = ~np.isfinite(correlation)
    return np.asarray(np.where(missing, target, (1.0 - intensity) * correlation + intensity * target))


def ledoit_wolf(returns: ArrayLike) -> tuple[FloatArray, float]:
    """Return the covariance shrunk to constant correlation, and the optimal intensity (Ledoit & Wolf 2004).

    ``returns`` ``(T, N)``, rows with a missing value are left out; means are removed.
    """
    r = _table(returns)
    x = r[np.isfinite(r).all(axis=1)]
    if len(x) < 2:
        raise InputError(f"{len(x)} complete rows are too few for a covariance")
    x = x - x.mean(axis=0)
    sample = x.T @ x / len(x)
    prior, average = _constant_correlation(sample)
    misfit = float(((sample - prior) ** 2).sum())
    if misfit <= 0:
        return sample, 0.0
    kappa = (_noise(x, sample) - _drift(x, sample, average)) / misfit
    intensity = float(min(max(kappa / len(x), 0.0), 1.0))
    return intensity * prior + (1.0 - intensity) * sample, intensity


def nearest_correlation(correlation: FloatArray, smallest: float = 1e-8) -> FloatArray:
    """Return a positive definite correlation matrix close by: eigenvalues floored, the diagonal put back to 1."""
    values, vectors = np.linalg.eigh((correlation + correlation.T) / 2.0)
    if values[0] >= smallest:
        return correlation
    repaired = (vectors * np.maximum(values, smallest)) @ vectors.T
    spread = np.sqrt(np.diag(repaired))
    return np.asarray(repaired / np.outer(spread, spread))


def _table(returns: ArrayLike) -> FloatArray:
    r = np.asarray(returns, dtype=np.float64)
    if r.ndim != 2 or len(r) == 0:
        raise InputError(f"returns have shape {r.shape}, a covariance needs (bars, series)")
    return r


def _constant_correlation(sample: FloatArray) -> tuple[FloatArray, float]:
    n = len(sample)
    spread = np.sqrt(np.diag(sample))
    scale = np.outer(spread, spread)
    average = (float((sample / scale).sum()) - n) / (n * (n - 1)) if n > 1 else 0.0
    prior = average * scale
    prior[np.diag_indices(n)] = np.diag(sample)
    return prior, average


def _noise(x: FloatArray, sample: FloatArray) -> float:
    """Return the summed asymptotic variance of the sample covariances (pi)."""
    squares = x**2
    return float((squares.T @ squares / len(x) - sample**2).sum())


def _drift(x: FloatArray, sample: FloatArray, average: float) -> float:
    """Return the summed asymptotic covariance of the prior with the sample (rho)."""
    squares, spread = x**2, np.sqrt(np.diag(sample))
    diagonal = float(np.diag(squares.T @ squares / len(x) - sample**2).sum())
    theta = (x**3).T @ x / len(x) - np.diag(sample)[:, None] * sample
    theta[np.diag_indices(len(sample))] = 0.0
    return diagonal + average * float((np.outer(1.0 / spread, spread) * theta).sum())

"""Risk budgets: weights whose contributions to the book's variance stand in given proportions."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError, InputError

FloatArray = NDArray[np.float64]

SWEEPS, TOLERANCE = 10_000, 1e-11


def risk_parity(covariance: FloatArray, budget: FloatArray | None = None) -> FloatArray:
    """Return the weights ``(N,)``, positive and summing to one, with the given contributions to variance.

    The minimum of ``x'Cx / 2 - sum b log x`` (Maillard, Roncalli & Teiletche 2010; Spinu 2013), which is unique, by
    cyclical coordinate descent: each coordinate is the positive root of a quadratic equation (Griveau-Billion, Richard
    & Roncalli 2013, section 2.3).

    Parameters
    ----------
    budget
        ``(N,)`` positive shares of the variance; None: equal.

    Raises
    ------
    InputError
        Budgets or variances that are not positive.
    DataError
        No convergence: names that hedge each other completely have no such weights.
    """
    count = len(covariance)
    shares = np.full(count, 1.0 / count) if budget is None else np.asarray(budget, dtype=np.float64) / np.sum(budget)
    variance = np.diag(covariance)
    if not (shares > 0).all() or not (variance > 0).all():
        raise InputError("risk budgets need a positive share and a positive variance of every name")
    deviation = np.sqrt(variance)
    scaled = np.ascontiguousarray(covariance / np.outer(deviation, deviation))
    found = _descend(scaled, shares, SWEEPS, TOLERANCE)
    if not np.abs(found * (scaled @ found) - shares).max() < 1e-7:
        raise DataError(
            f"risk parity of {count} names was not found in {SWEEPS:,} sweeps",
            hint="names that hedge each other completely have no such weights: shrink the covariance (risk.shrinkage)",
        )
    weight = found / deviation
    return np.asarray(weight / weight.sum())


def risk_contributions(weight: FloatArray, covariance: FloatArray) -> FloatArray:
    """Return each name's share of the book's variance ``(N,)``, summing to one; NaN for a book without risk."""
    marginal = weight * (covariance @ weight)
    total = float(marginal.sum())
    return marginal / total if total > 0 else np.full(len(weight), np.nan)


@numba.njit(cache=True)
def _descend(correlation: FloatArray, shares: FloatArray, sweeps: int, tolerance: float) -> FloatArray:
    """Return the minimum for a correlation matrix, or how far so many sweeps came."""
    count = len(shares)
    x = np.sqrt(shares)
    size = x @ (correlation @ x)
    x /= np.sqrt(size) if size > 1e-2 else 0.1
    product = correlation @ x
    for _ in range(sweeps):
        moved = 0.0
        for i in range(count):
            others = product[i] - x[i]
            after = 0.5 * (np.sqrt(others * others + 4.0 * shares[i]) - others)
            change = after - x[i]
            moved = max(moved, abs(change) / after)
            x[i] = after
            for j in range(count):
                product[j] += change * correlation[i, j]
        if moved < tolerance:
            return x
    return x

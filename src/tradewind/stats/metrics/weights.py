"""Figures of merit from the weights held."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradewind.stats.metrics.registry import metric
from tradewind.stats.metrics.sample import mean

FloatArray = NDArray[np.float64]


@metric(
    "weights",
    "per year",
    "mean_t ½ Σ_n |w_t,n - held_t,n| · P, held: just before the decision",
)
def turnover(
    weights: ArrayLike, *, periods_per_year: float = 252.0, drifted: ArrayLike | None = None
) -> tuple[float, int]:
    """Return the one-way turnover per year.

    ``weights`` ``(T, N)`` are what was decided at each close, missing ones 0. ``drifted`` ``(T, N)`` are the
    weights held just before each decision; without them the previous decision stands in.
    """
    w = np.nan_to_num(np.asarray(weights, dtype=np.float64))
    if len(w) < 2:
        return math.nan, 0
    before = w[:-1] if drifted is None else np.nan_to_num(np.asarray(drifted, dtype=np.float64))[1:]
    return float(0.5 * np.abs(w[1:] - before).sum(axis=1).mean() * periods_per_year), len(w) - 1


@metric("weights", "fraction", "mean_t Σ_n |w_t,n|")
def exposure(weights: ArrayLike) -> tuple[float, int]:
    """Return the average gross exposure."""
    w = np.nan_to_num(np.asarray(weights, dtype=np.float64))
    return mean(np.abs(w).sum(axis=1)), len(w)


@metric("weights", "fraction", "mean_t Σ_n w_t,n")
def net_exposure(weights: ArrayLike) -> tuple[float, int]:
    """Return the average net exposure."""
    w = np.nan_to_num(np.asarray(weights, dtype=np.float64))
    return mean(w.sum(axis=1)), len(w)


@metric("weights", "fraction", "share of bars with any position")
def time_in_market(weights: ArrayLike) -> tuple[float, int]:
    """Return the share of bars on which something was held."""
    w = np.nan_to_num(np.asarray(weights, dtype=np.float64))
    return mean((np.abs(w).sum(axis=1) > 0).astype(np.float64)), len(w)

"""Figures of merit from scores and what came of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradewind.stats.metrics.registry import metric
from tradewind.stats.metrics.sample import clean, mean, ratio, sd

FloatArray = NDArray[np.float64]


@metric("forecasts", "correlation", "mean over dates of corr_n(score, outcome), dates with 3 or more names")
def information_coefficient(score: ArrayLike, outcome: ArrayLike) -> tuple[float, int]:
    """Return the mean cross-sectional correlation of ``(T, N)`` scores with ``(T, N)`` outcomes."""
    return _average(correlations_by_date(score, outcome))


@metric("forecasts", "correlation", "mean over dates of the Spearman correlation of score and outcome")
def rank_information_coefficient(score: ArrayLike, outcome: ArrayLike) -> tuple[float, int]:
    """Return the mean cross-sectional rank correlation (ties share their rank)."""
    return _average(correlations_by_date(score, outcome, ranks=True))


@metric("forecasts", "ratio", "mean(IC) / sd(IC) over dates, not annualised")
def icir(score: ArrayLike, outcome: ArrayLike, *, ranks: bool = True) -> tuple[float, int]:
    """Return how steady the (rank) information coefficient is over dates."""
    values = clean(correlations_by_date(score, outcome, ranks=ranks))
    return ratio(mean(values), sd(values)), values.size


@metric("forecasts", "fraction", "share of (date, name) with sign(score) = sign(outcome), zeros left out")
def directional_accuracy(score: ArrayLike, outcome: ArrayLike) -> tuple[float, int]:
    """Return the share of forecasts whose direction was right."""
    product = clean(np.sign(np.asarray(score, dtype=np.float64)) * np.sign(np.asarray(outcome, dtype=np.float64)))
    decided = product[product != 0]
    return ratio(float((decided > 0).sum()), float(decided.size)), decided.size


def correlations_by_date(score: ArrayLike, outcome: ArrayLike, *, ranks: bool = False) -> FloatArray:
    """Return the cross-sectional correlation of every date, ``(T,)``; NaN below three names or spread."""
    x, y = np.asarray(score, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    both = np.isfinite(x) & np.isfinite(y)
    x, y = np.where(both, x, np.nan), np.where(both, y, np.nan)
    if ranks:
        x, y = _ranks(x), _ranks(y)
    count = both.sum(axis=1)
    safe = np.maximum(count, 1)[:, None]
    dx = np.where(both, x - np.nansum(x, axis=1)[:, None] / safe, 0.0)
    dy = np.where(both, y - np.nansum(y, axis=1)[:, None] / safe, 0.0)
    spread = np.sqrt((dx**2).sum(axis=1) * (dy**2).sum(axis=1))
    usable = (count >= 3) & (spread > 0)
    return np.where(usable, (dx * dy).sum(axis=1) / np.where(usable, spread, 1.0), np.nan)


def _ranks(values: FloatArray) -> FloatArray:
    """Return average ranks along each row, NaN kept."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(values, axis=1, nan_policy="omit"))


def _average(values: FloatArray) -> tuple[float, int]:
    known = clean(values)
    return mean(known), known.size

"""A risk score from 1 (calm, and apart from the market) to 10 (worst), of each stock against all that was seen before.

Each feature becomes the share of earlier measurements, of all stocks, that it exceeds; the score is ``1 + 9`` times the
weighted mean of these shares. So it is a place in the past, not a number of deviations: it can't be blown up by one
wild value, and it rises (never falls) with volatility, value at risk, correlation and the dependence of falls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tradewind.errors import InputError
from tradewind.risk.features import RISK_FEATURES, RiskFeatures

FloatArray = NDArray[np.float64]

WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        "volatility_forecast": 0.25,
        "volatility_regime": 0.10,
        "correlation_spy": 0.10,
        "correlation_qqq": 0.10,
        "lower_tail_dependence": 0.20,
        "upper_tail_dependence": 0.0,
        "diversification_benefit": -0.10,
        "value_at_risk": 0.15,
    }
)
"""Weight of each feature; negative where more of it is less risk. Rising together is no risk of what is bought."""

LOWEST, HIGHEST = 1.0, 10.0


@dataclass(frozen=True, eq=False)
class RiskScores:
    """Risk scores of ``N`` stocks at ``R`` bars.

    Attributes
    ----------
    values
        ``(R, N)`` from 1 to 10; NaN where unknown.
    known
        ``(R, N)`` share of the weight whose features were known; the mean is over those.
    """

    values: FloatArray
    known: FloatArray


def risk_scores(
    features: RiskFeatures,
    weights: Mapping[str, float] = WEIGHTS,
    *,
    least_past: int = 250,
    least_known: float = 0.75,
) -> RiskScores:
    """Score the stocks at each row of the features against the rows before it only.

    Parameters
    ----------
    features
        Rows in rising order of time; each is compared with all rows above it and with no other stock of its own row.
    weights
        By name of feature.
    least_past
        Earlier measurements that a feature needs before it says anything.
    least_known
        Share of the weight that must be known; with less the score is NaN. The default lets one market be missing.

    Raises
    ------
    InputError
        Rows out of order, an unknown feature, or weights that are all nothing.
    """
    signed = np.array([weights.get(name, 0.0) for name in features.names])
    total = np.abs(signed).sum()
    unknown = sorted(set(weights) - set(features.names))
    if unknown or not np.isfinite(total) or total <= 0:
        raise InputError(f"weights {dict(weights)} must be of {', '.join(RISK_FEATURES)}, and not all nothing")
    if (np.diff(features.rows) <= 0).any():
        raise InputError("rows must rise: what is earlier must be known before what is later is scored")
    share = np.abs(signed) / total
    told, placed = np.zeros(features.values.shape[:2]), np.zeros(features.values.shape[:2])
    for index in np.flatnonzero(share > 0):
        place = past_share(np.sign(signed[index]) * features.values[:, :, index], least_past)
        told += np.where(np.isfinite(place), share[index], 0.0)
        placed += np.where(np.isfinite(place), place, 0.0) * share[index]
    mean = np.divide(placed, told, out=np.full_like(placed, np.nan), where=told >= max(least_known, 1e-9))
    return RiskScores(np.clip(LOWEST + (HIGHEST - LOWEST) * mean, LOWEST, HIGHEST), told)


def past_share(values: FloatArray, least_past: int) -> FloatArray:
    """Return the share of all finite values in earlier rows that each of ``(R, N)`` exceeds.

    NaN where the value is missing or fewer than ``least_past`` earlier ones are known. O(R N log(R N)): a binary
    indexed tree over the ranks counts what came before (Fenwick 1994); the ranks order, they tell nothing of
    the future.
    """
    order = np.unique(values[np.isfinite(values)])
    ranks = np.searchsorted(order, values)
    return _shares(np.ascontiguousarray(values), ranks, len(order), max(1, least_past))


@njit(cache=True)
def _shares(values: FloatArray, ranks: NDArray[np.int64], distinct: int, least: int) -> FloatArray:
    found = np.full(values.shape, np.nan)
    tree = np.zeros(distinct + 1, np.int64)
    seen = 0
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            if seen >= least and np.isfinite(values[row, column]):
                below, place = 0, ranks[row, column]
                while place > 0:
                    below += tree[place]
                    place -= place & -place
                found[row, column] = below / seen
        for column in range(values.shape[1]):
            if np.isfinite(values[row, column]):
                seen += 1
                place = ranks[row, column] + 1
                while place <= distinct:
                    tree[place] += 1
                    place += place & -place
    return found

"""Fitting a log-volatility by Student-t likelihood, with a prior that yields as evidence comes in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_HORIZONS = (1, 5, 20)
#: Degrees of freedom of volatility-scaled returns by horizon (sums of returns are closer to normal).
_FREEDOM = (3.5, 4.5, 6.0)
#: Prior weights by horizon: round numbers from twenty large US companies, 1990-2004, closes only.
#: Own volatility reverts to its year, the market's keeps its newest level and creeps to its history, and
#: falling prices foretell more of it. Known since the end of 2004.
PRIOR_KNOWN_AT = "2004-12-31"
_PRIOR = {
    "own_2": (0.10, 0.05, 0.00),
    "own_5": (0.05, -0.25, -0.10),
    "own_22": (0.40, 0.25, 0.20),
    "own_66": (0.15, 0.25, 0.30),
    "own_250": (0.20, 0.40, 0.50),
    "own_return_3": (-0.10, -0.10, -0.12),
    "market_2": (0.20, 0.05, 0.00),
    "market_5": (0.10, 0.03, 0.00),
    "market_250": (0.00, 0.03, 0.08),
    "market_history": (0.05, 0.09, 0.12),
    "market_return_3": (-0.20, -0.14, -0.06),
    "market_return_10": (-0.08, -0.06, -0.03),
}
#: Spread of the true weights around the prior, and of the overall level.
_PRIOR_SPREAD = 0.3
#: Samples of one bar count as few independent ones: overlapping horizons, common shocks.
_SAMPLES_PER_FACT = 5.0
_MARKET_CAUTION = 0.3


def freedom_at(horizon: int) -> float:
    """Degrees of freedom of the likelihood at a horizon in bars."""
    return float(np.interp(np.log(horizon), np.log(_HORIZONS), _FREEDOM))


def prior_weights(names: Sequence[str], horizon: int) -> FloatArray:
    """Return the prior weights of named inputs at a horizon in bars (log-interpolated)."""
    where = np.log(horizon)
    known = {n: float(np.interp(where, np.log(_HORIZONS), values)) for n, values in _PRIOR.items()}
    return np.array([known.get(name, 0.0) for name in names])


def penalties(relative: int, market: int, horizon: int, samples: int, bars: int) -> FloatArray:
    """Return the ridge weight of each coefficient for a mean log-likelihood: level, relative, market-wide.

    Differences between symbols are learnt from every sample; what moves all symbols together is learnt from
    ``bars / horizon`` separate stretches of time only, however many symbols there are.
    """
    stretches = max(bars / horizon, 1.0)
    facts = max(samples / (_SAMPLES_PER_FACT * horizon), 1.0)
    per_unit = 1.0 / _PRIOR_SPREAD**2
    common = _MARKET_CAUTION * per_unit / stretches
    return np.concatenate([[common], np.full(relative, per_unit / facts), np.full(market, common)])


def fit_log_scale(
    design: FloatArray, size: FloatArray, freedom: float, penalty: FloatArray, prior: FloatArray
) -> FloatArray:
    """Maximise the penalised Student-t likelihood of ``size / exp(design @ weights)``.

    Parameters
    ----------
    design, size
        ``(n, K)`` inputs and ``(n,)`` absolute returns in units of the anchor volatility.
    freedom, penalty, prior
        Degrees of freedom; ridge weight and centre of each coefficient.

    Returns
    -------
    weights
        ``(K,)``.
    """
    from scipy.optimize import minimize

    square = size**2

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        level = design @ weights
        ratio = square * np.exp(-2.0 * level) / freedom
        departure = weights - prior
        value = level.mean() + (freedom + 1) / 2 * np.log1p(ratio).mean()
        pull = 1.0 - (freedom + 1) * ratio / (1.0 + ratio)
        gradient = design.T @ pull / len(design) + penalty * departure
        return float(value + 0.5 * (penalty * departure) @ departure), gradient

    found = minimize(loss, prior.copy(), jac=True, method="L-BFGS-B", options={"maxiter": 300})
    return np.asarray(found.x)


def student_scale(size: FloatArray, freedom: float, group: NDArray[np.int64] | None = None) -> FloatArray:
    """Return the likeliest Student-t width of ``size``, one per sample's group (EM fixed point), ``(n,)``."""
    member = np.zeros(len(size), dtype=np.int64) if group is None else group
    square = size**2
    count = np.maximum(np.bincount(member), 1)
    variance = np.maximum(np.bincount(member, square) / count, 1e-30)
    for _ in range(25):
        weighted = (freedom + 1) * square / (freedom + square / variance[member])
        variance = np.maximum(np.bincount(member, weighted) / count, 1e-30)
    return np.asarray(np.sqrt(variance[member]))


def shape_quantiles(
    ratio: FloatArray, freedom: float, levels: Sequence[float], *, horizon: int, facts: float, bars: int
) -> FloatArray:
    """Return quantiles of the scaled return: the sample's shape, shrunk to a Student-t where samples are few.

    The centre is the sample's median drawn towards the equity premium: a few years say little about drift
    (:func:`drift`). The width is left at one, because the level already carries it.
    """
    unit = ratio / student_scale(np.abs(ratio), freedom)[0]
    centre = float(np.median(unit))
    own = np.quantile(unit, levels) - centre
    trust = facts / (facts + 200.0)
    return np.asarray(trust * own + (1 - trust) * student_quantiles(freedom, levels) + drift(centre, horizon, bars))


def student_quantiles(freedom: float, levels: Sequence[float]) -> FloatArray:
    """Return quantiles of a standard Student-t."""
    from scipy.special import stdtrit

    return np.asarray(stdtrit(freedom, np.asarray(levels)))


def drift(centre: float, horizon: int, bars: int) -> float:
    """Shrink a median in volatility units towards 0.025 per square-root bar, the long-run equity premium.

    The premium's own uncertainty (0.01 per root bar) is weighed against sampling error of the median, which
    has ``bars / horizon`` independent stretches and a market-wide part of one half.
    """
    expected = 0.025 * np.sqrt(horizon)
    trust = bars / (bars + 2500.0)
    return float(trust * centre + (1 - trust) * expected)

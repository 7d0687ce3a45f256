"""Forecasts as views: what a calibrated forecast adds to what was thought before it, by how sure it is.

Black & Litterman move a normal prior, entropy pooling the probabilities of scenarios. In both a view of infinite
uncertainty changes nothing and one without uncertainty is taken as it is; on normal scenarios the two agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tradewind.decisions.signals import NORMAL_90
from tradewind.errors import DataError, InputError

FloatArray = NDArray[np.float64]

STEPS, TOLERANCE = 200, 1e-11


class Moments(NamedTuple):
    """Mean and standard deviation of simple returns, ``(N,)`` each; NaN without a forecast."""

    mean: FloatArray
    deviation: FloatArray


def forecast_moments(quantiles: FloatArray, levels: tuple[float, ...]) -> Moments:
    """Return the moments of simple returns from calibrated quantiles of log returns, ``(N, Q)``.

    The deviation is the normal's whose central 80 % interval is as wide; the mean is the forecast's own (tails
    included), and from log to simple returns both go as those of a log-normal do.
    """
    from tradewind.stats import distribution

    if 0.1 not in levels or 0.9 not in levels:
        raise InputError(f"the 80 % interval is not among the levels {levels}", hint="forecast the levels 0.1 and 0.9")
    width = quantiles[:, levels.index(0.9)] - quantiles[:, levels.index(0.1)]
    variance = (width / (2 * NORMAL_90)) ** 2
    centre = distribution.mean(quantiles, distribution.grid(levels)) + variance / 2
    return Moments(np.expm1(centre), np.exp(centre) * np.sqrt(np.expm1(variance)))


def equilibrium(covariance: FloatArray, reference: FloatArray, risk_aversion: float) -> FloatArray:
    """Return the expected returns that make a reference book optimal, ``(N,)`` (Black & Litterman 1992)."""
    return np.asarray(risk_aversion * covariance @ reference)


@dataclass(frozen=True, eq=False)
class Posterior:
    """Expected returns ``(N,)``, how sure they are (their covariance), and the covariance of returns, ``(N, N)``."""

    mean: FloatArray
    uncertainty: FloatArray
    covariance: FloatArray


def black_litterman(
    prior: FloatArray,
    covariance: FloatArray,
    view: FloatArray,
    deviation: FloatArray,
    *,
    tau: float = 0.05,
    picks: FloatArray | None = None,
) -> Posterior:
    """Return what is expected after views have met a normal prior (He & Litterman 1999, eqs. 8-12).

    Parameters
    ----------
    prior
        ``(N,)`` expected returns before; they are known up to ``tau * covariance``.
    covariance
        ``(N, N)`` of the returns.
    view
        ``(K,)`` expected returns that are viewed; NaN: no view.
    deviation
        ``(K,)`` standard deviation of the viewed *return*, as a calibrated interval gives it; the view's own variance
        is ``tau`` times its square. So a forecast as wide as the covariance says weighs as much as the prior (He &
        Litterman's choice), a wider one less. Infinite: no view.
    picks
        ``(K, N)`` portfolios that the views are of; None: the names themselves.
    """
    count = len(covariance)
    portfolios = np.eye(count) if picks is None else np.asarray(picks, dtype=np.float64)
    known = np.isfinite(view) & np.isfinite(deviation)
    if (deviation[known] < 0).any():
        raise InputError("the uncertainty of a view is negative")
    own, portfolios = tau * covariance, portfolios[known]
    if not known.any():
        return Posterior(prior.copy(), own, covariance + own)
    crossed = own @ portfolios.T
    among = portfolios @ crossed + np.diag(tau * deviation[known] ** 2)
    gain = np.linalg.lstsq(among, crossed.T, rcond=1e-13)[0].T
    mean = prior + gain @ (view[known] - portfolios @ prior)
    left = own - gain @ crossed.T
    left = (left + left.T) / 2
    return Posterior(mean, left, covariance + left)


class Pooled(NamedTuple):
    """Probabilities of scenarios ``(S,)``, their relative entropy to the prior's, and the effective number of them."""

    probabilities: FloatArray
    relative_entropy: float
    effective: float


def entropy_pooling(
    scenarios: FloatArray,
    view: FloatArray,
    deviation: FloatArray,
    *,
    volatility: FloatArray | None = None,
    volatility_deviation: FloatArray | None = None,
    prior: FloatArray | None = None,
) -> Pooled:
    """Return the probabilities of scenarios nearest to the prior's that agree with views (Meucci 2008).

    Views may be uncertain: the relative entropy plus the squared misses over twice the views' variances is least. Its
    dual is smooth and convex in one number a view, and is solved by Newton's method.

    Parameters
    ----------
    scenarios
        ``(S, N)`` returns.
    view, deviation
        ``(N,)`` expected returns and how uncertain each is (0: hard, infinite or NaN: no view).
    volatility, volatility_deviation
        ``(N,)`` standard deviations of the returns around ``view``, or around the prior's mean without one; how
        uncertain each is.
    prior
        ``(S,)`` probabilities; None: alike.

    Raises
    ------
    DataError
        Hard views that no reweighting of the scenarios fulfils.
    """
    count = len(scenarios)
    start = np.full(count, 1.0 / count) if prior is None else prior / prior.sum()
    moments, wanted, spread = _moments(scenarios, start, view, deviation, volatility, volatility_deviation)
    if not len(wanted):
        return Pooled(start, 0.0, _effective(start))
    unit = np.sqrt(start @ (moments - start @ moments) ** 2)
    if (unit == 0).any():
        raise DataError("a view is of something that is the same in all scenarios")
    chance = _newton((moments - wanted) / unit, (spread / unit) ** 2, start)
    positive = chance > 0
    entropy = float(chance[positive] @ np.log(chance[positive] / start[positive]))
    return Pooled(chance, max(entropy, 0.0), _effective(chance))


def pooled_moments(scenarios: FloatArray, probabilities: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean ``(N,)`` and covariance ``(N, N)`` of weighted scenarios."""
    mean = probabilities @ scenarios
    centred = scenarios - mean
    return mean, (centred * probabilities[:, None]).T @ centred


def _moments(
    scenarios: FloatArray,
    start: FloatArray,
    view: FloatArray,
    deviation: FloatArray,
    volatility: FloatArray | None,
    volatility_deviation: FloatArray | None,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return what is viewed in each scenario ``(S, K)``, what it should be on average, and how surely, ``(K,)``."""
    known = np.isfinite(view) & np.isfinite(deviation)
    parts = [(scenarios[:, known], view[known], deviation[known])]
    if volatility is not None:
        around = np.where(known, np.nan_to_num(view), start @ scenarios)
        unsure = np.zeros(len(volatility)) if volatility_deviation is None else volatility_deviation
        told = np.isfinite(volatility) & np.isfinite(unsure)
        squares = (scenarios[:, told] - around[told]) ** 2
        parts.append((squares, volatility[told] ** 2, 2 * volatility[told] * unsure[told]))
    moments, wanted, spread = (np.concatenate([part[i] for part in parts], axis=-1) for i in range(3))
    return moments, wanted, spread


def _newton(misses: FloatArray, variance: FloatArray, start: FloatArray) -> FloatArray:
    """Minimise ``log sum p exp(l'm) + l'Vl / 2`` over ``l``; return the probabilities at the minimum."""
    dual = np.zeros(misses.shape[1])
    value, chance = _dual(dual, misses, variance, start)
    for _ in range(STEPS):
        slope = chance @ misses + variance * dual
        if np.abs(slope).max() < TOLERANCE:
            return chance
        centred = misses - chance @ misses
        curve = (centred * chance[:, None]).T @ centred + np.diag(variance)
        step = np.linalg.lstsq(curve, -slope, rcond=1e-14)[0]
        size, promised = 1.0, float(slope @ step)
        while size > 1e-12:
            after, weighed = _dual(dual + size * step, misses, variance, start)
            if after <= value + 1e-4 * size * promised + 1e-15:
                break
            size /= 2
        dual, value, chance = dual + size * step, after, weighed
    if np.abs(chance @ misses + variance * dual).max() < 1e-7:
        return chance
    raise DataError(
        f"no probabilities of the {len(misses)} scenarios agree with all {misses.shape[1]} views",
        hint="give the views an uncertainty, or more scenarios",
    )


def _dual(dual: FloatArray, misses: FloatArray, variance: FloatArray, start: FloatArray) -> tuple[float, FloatArray]:
    """Return the dual function and the probabilities that belong to it."""
    with np.errstate(over="ignore"):
        exponent = misses @ dual
    most = float(exponent.max())
    raised = start * np.exp(exponent - most)
    total = float(raised.sum())
    return most + float(np.log(total)) + 0.5 * float(variance @ dual**2), raised / total


def _effective(chance: FloatArray) -> float:
    """Return the number of alike scenarios with the same entropy."""
    positive = chance[chance > 0]
    return float(np.exp(-positive @ np.log(positive)))

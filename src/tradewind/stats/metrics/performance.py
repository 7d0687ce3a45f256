"""Figures of merit from returns per bar."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradewind.stats.metrics.registry import Metric, metric
from tradewind.stats.metrics.sample import clean, mean, moments, ratio, sd

FloatArray = NDArray[np.float64]


@metric("returns", "fraction", "Π(1 + r) - 1")
def total_return(returns: ArrayLike, *, periods_per_year: float = 252.0) -> tuple[float, int]:
    """Return the compounded return of the whole sample."""
    r = clean(returns)
    return (float(np.prod(1.0 + r) - 1.0) if r.size else math.nan), r.size


@metric("returns", "fraction per year", "Π(1 + r)^(P/n) - 1, P bars a year")
def annual_return(returns: ArrayLike, *, periods_per_year: float = 252.0) -> tuple[float, int]:
    """Return the compound annual growth rate; -1 when everything was lost."""
    r = clean(returns)
    if not r.size:
        return math.nan, 0
    growth = float(np.prod(1.0 + r))
    return (growth ** (periods_per_year / r.size) - 1.0 if growth > 0 else -1.0), r.size


@metric("returns", "fraction per year", "sd(r) · √P, sd with n - 1")
def volatility(returns: ArrayLike, *, periods_per_year: float = 252.0) -> tuple[float, int]:
    """Return the annualised standard deviation."""
    r = clean(returns)
    return sd(r) * math.sqrt(periods_per_year), r.size


@metric("returns", "per year", "mean(r - f) / sd(r - f) · √P (Sharpe 1994)")
def sharpe(returns: ArrayLike, *, periods_per_year: float = 252.0, risk_free: float = 0.0) -> tuple[float, int]:
    """Return the annualised Sharpe ratio; ``risk_free`` is the rate per bar."""
    r = clean(returns) - risk_free
    return ratio(mean(r), sd(r)) * math.sqrt(periods_per_year), r.size


@metric("returns", "per year", "mean(r - m) / √mean(min(r - m, 0)²) · √P (Sortino & van der Meer 1991)")
def sortino(returns: ArrayLike, *, periods_per_year: float = 252.0, target: float = 0.0) -> tuple[float, int]:
    """Return the annualised Sortino ratio; ``target`` is the minimum acceptable return per bar."""
    r = clean(returns) - target
    downside = math.sqrt(mean(np.minimum(r, 0.0) ** 2)) if r.size else math.nan
    return ratio(mean(r), downside) * math.sqrt(periods_per_year), r.size


@metric("returns", "ratio", "annual return / maximum drawdown (Young 1991), whole sample")
def calmar(returns: ArrayLike, *, periods_per_year: float = 252.0) -> tuple[float, int]:
    """Return the Calmar ratio."""
    r = clean(returns)
    growth: Metric = annual_return(r, periods_per_year=periods_per_year)
    return ratio(growth.value, _deepest(r)), r.size


@metric("returns", "fraction", "max_t (1 - equity_t / max_{s<=t} equity_s), the start included")
def max_drawdown(returns: ArrayLike, *, periods_per_year: float = 252.0) -> tuple[float, int]:
    """Return the largest fall from a peak, as a positive fraction."""
    r = clean(returns)
    return _deepest(r), r.size


@metric("returns", "bars", "longest stretch of bars below a former peak")
def max_drawdown_bars(returns: ArrayLike, *, periods_per_year: float = 252.0) -> tuple[float, int]:
    """Return how long equity stayed below a peak at most; an unrecovered fall counts to the end."""
    r = clean(returns)
    if not r.size:
        return math.nan, 0
    under = drawdowns(r) > 0
    position = np.arange(under.size)
    since = np.maximum.accumulate(np.where(under, -1, position))
    return float((position - since).max()), r.size


@metric("returns", "fraction of a bar", "-(quantile of r at 1 - c), c = 0.95")
def value_at_risk(returns: ArrayLike, *, periods_per_year: float = 252.0, level: float = 0.95) -> tuple[float, int]:
    """Return the loss of a bar that ``1 - level`` of the bars exceeded, positive; NaN for fewer than one such bar."""
    r = clean(returns)
    return (-float(np.quantile(r, 1.0 - level)) if r.size * (1.0 - level) >= 1.0 - 1e-9 else math.nan), r.size


@metric("returns", "fraction of a bar", "-mean of the worst n (1 - c) returns, c = 0.95 (Acerbi & Tasche 2002)")
def expected_shortfall(
    returns: ArrayLike, *, periods_per_year: float = 252.0, level: float = 0.95
) -> tuple[float, int]:
    """Return the mean loss of the worst bars, positive; a bar counts in part where their number is not whole."""
    r = clean(returns)
    mass = r.size * (1.0 - level)
    if mass < 1.0 - 1e-9:
        return math.nan, r.size
    weight = np.clip(mass - np.arange(r.size), 0.0, 1.0)
    return -float(weight @ np.sort(r)) / mass, r.size


@metric("returns", "fraction", "share of bars with r > 0 among those with r ≠ 0")
def positive_bars(returns: ArrayLike, *, periods_per_year: float = 252.0) -> tuple[float, int]:
    """Return the share of bars that made money."""
    r = clean(returns)
    moved = r[r != 0]
    return ratio(float((moved > 0).sum()), float(moved.size)), moved.size


@metric("returns", "1", "mean((r - mean)³) / mean((r - mean)²)^1.5")
def skewness(returns: ArrayLike, *, periods_per_year: float = 252.0) -> tuple[float, int]:
    """Return the skewness of the returns."""
    r = clean(returns)
    return moments(r)[2], r.size


@metric("returns", "1", "mean((r - mean)⁴) / mean((r - mean)²)², 3 for a normal")
def kurtosis(returns: ArrayLike, *, periods_per_year: float = 252.0) -> tuple[float, int]:
    """Return the (non-excess) kurtosis of the returns."""
    r = clean(returns)
    return moments(r)[3], r.size


def equity_curve(returns: ArrayLike) -> FloatArray:
    """Return the growth of one unit, ``(T + 1,)``, beginning with 1."""
    return np.concatenate(([1.0], np.cumprod(1.0 + clean(returns))))


def drawdowns(returns: ArrayLike) -> FloatArray:
    """Return how far equity lies below its running peak, ``(T + 1,)`` positive, beginning with 0."""
    equity = equity_curve(returns)
    return np.asarray(1.0 - equity / np.maximum.accumulate(equity))


def _deepest(returns: FloatArray) -> float:
    return float(drawdowns(returns).max()) if returns.size else math.nan

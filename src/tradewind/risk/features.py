"""The eight risk features of a stock (D5), at any bar from what was known then.

========================  ==========================================================================================
``volatility_forecast``   volatility expected over the next five bars, at the rate of a year
``volatility_regime``     1 (high) where that is at least 1.5 times the newest bar's volatility as it had been expected,
                          else 0 (normal)
``correlation_spy``       correlation of the Student-t copula of residuals with the first market
``correlation_qqq``       the same with the second market
``lower_tail_dependence`` probability of a fall without bound given one of the market; the larger of the two markets'
``upper_tail_dependence`` the same of rises
``diversification_benefit`` one less expected shortfall of half stock, half first market over that of both alone
``value_at_risk``         loss over the next five bars exceeded with probability 5 %: the expected volatility times the
                          quantile of the stock's own residuals (filtered historical, Barone-Adesi et al. 1999)
========================  ==========================================================================================

Value at risk stands for the eighth, rather than beta: beta is the correlation times a ratio of volatilities, which are
among the features already, while the quantile adds what they don't say, the weight of the stock's own tail.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from tradewind.errors import InputError
from tradewind.models.garch import variance_path
from tradewind.risk.copulas import ENOUGH_ROWS, LEAST_ROWS
from tradewind.risk.diversification import DRAWS, LEVEL, benefit_with_market
from tradewind.risk.market_dependence import MarketDependence, market_dependence
from tradewind.settings import Section

FloatArray = NDArray[np.float64]

RISK_FEATURES = (
    "volatility_forecast",
    "volatility_regime",
    "correlation_spy",
    "correlation_qqq",
    "lower_tail_dependence",
    "upper_tail_dependence",
    "diversification_benefit",
    "value_at_risk",
)

MARKETS = 2
_NEWS, _MEMORY = 0.08, 0.90


class RiskFeaturesSection(Section):
    """How the risk features are measured."""

    every_bars: int = Field(5, ge=1, description="bars between two measurements; carried forward in between")
    history_bars: int = Field(750, ge=100, description="bars that a measurement looks back on")
    enough_rows: int = Field(
        ENOUGH_ROWS, ge=60, description="bars in common with a market from which a stock's tail is its own, not pooled"
    )
    least_rows: int = Field(LEAST_ROWS, ge=20, description="bars with a return below which a stock's risk is unknown")
    horizon_bars: int = Field(5, ge=1, description="bars ahead that volatility and value at risk are about")
    high_ratio: float = Field(1.5, gt=1, description="expected over current volatility from which the regime is high")
    bars_per_year: float = Field(252.0, gt=0, description="bars that a year has")
    tail_probability: float = Field(0.05, gt=0, lt=0.5, description="probability of a loss beyond value at risk")
    family: Literal["student", "asymmetric"] = Field(
        "student", description="copula: student has equal tails and is fast, asymmetric tells falls from rises"
    )
    draws: int = Field(DRAWS, ge=200, description="draws from the copula for the diversification benefit")
    seed: int = Field(0, ge=0, description="seed of these draws")


@dataclass(frozen=True, eq=False)
class Filtered:
    """What a volatility model says of some names at the end of their returns.

    Attributes
    ----------
    residuals
        ``(T, N)`` return over the volatility that was expected of it; NaN where there is none.
    current
        ``(N,)`` volatility of the newest bar with a return, as it had been expected; per bar.
    ahead
        ``(N,)`` volatility per bar expected over the horizon: the root of the mean variance.
    """

    residuals: FloatArray
    current: FloatArray
    ahead: FloatArray


VolatilityModel = Callable[[FloatArray, int], Filtered]
"""From returns ``(T, N)`` up to now, and a horizon in bars, to what is :class:`Filtered`."""


@dataclass(frozen=True, eq=False)
class RiskFeatures:
    """Risk of ``N`` stocks at some bars.

    Attributes
    ----------
    values
        ``(R, N, 8)`` in the order of ``names``, NaN where unknown.
    rows
        ``(R,)`` bars that were asked for.
    measured
        ``(R,)`` bar at which each was measured, at most ``every_bars - 1`` earlier; nothing later was used.
    reasons
        ``(R, N)`` words: why something is unknown or pooled, empty where there is nothing to say.
    names
        Of the eight.
    """

    values: FloatArray
    rows: NDArray[np.int64]
    measured: NDArray[np.int64]
    reasons: NDArray[np.object_]
    names: tuple[str, ...] = RISK_FEATURES


def risk_features(
    returns: FloatArray,
    market: FloatArray,
    rows: ArrayLike,
    settings: RiskFeaturesSection | None = None,
    volatility: VolatilityModel | None = None,
) -> RiskFeatures:
    """Measure the risk of each stock at some bars.

    Measurements are made at bars whose number ``every_bars`` divides, from at most ``history_bars`` bars up to and
    including it, and carried forward until the next one; so a prefix of the returns gives a prefix of the features.

    Parameters
    ----------
    returns
        ``(T, N)`` log returns per bar, NaN where missing.
    market
        ``(T, 2)``: of SPY and QQQ, or what stands for them; a column of NaN for one that is not there.
    rows
        Bars to measure at, in any order.
    volatility
        Model of volatility; by default :func:`typical_garch`, which estimates nothing but the long-run variance.

    Raises
    ------
    InputError
        Tables that don't fit together, or rows outside of them.
    """
    options, model = settings or RiskFeaturesSection(), volatility or typical_garch
    asked = _checked(returns, market, rows)
    measured = asked // options.every_bars * options.every_bars
    moments, place = np.unique(measured, return_inverse=True)
    values = np.full((len(moments), returns.shape[1], len(RISK_FEATURES)), np.nan)
    reasons = np.full(values.shape[:2], "", dtype=object)
    for index, moment in enumerate(moments.tolist()):
        past = slice(max(0, moment + 1 - options.history_bars), moment + 1)
        values[index], reasons[index] = _measure(returns[past], market[past], options, model)
    return RiskFeatures(values[place], asked, measured, reasons[place])


def typical_garch(returns: FloatArray, horizon_bars: int) -> Filtered:
    """Filter by GARCH(1,1) with typical parameters (news 0.08, memory 0.90) around each name's own mean square.

    Nothing is searched for, so a thousand names take a few hundredths of a second; ``risk.garch.fit`` estimates.
    """
    residuals = np.full(returns.shape, np.nan)
    current, ahead = np.full((2, returns.shape[1]), np.nan)
    kept = (_NEWS + _MEMORY) ** np.arange(horizon_bars)
    for column in range(returns.shape[1]):
        seen = np.flatnonzero(np.isfinite(returns[:, column]))
        own = np.ascontiguousarray(returns[seen, column])
        base = float(np.mean(own**2)) if len(own) else 0.0
        if base > 0:
            path = variance_path(own, base, _NEWS, _MEMORY)
            residuals[seen, column] = own / np.sqrt(path[:-1])
            current[column] = math.sqrt(path[-2])
            ahead[column] = math.sqrt(base + (path[-1] - base) * float(kept.mean()))
    return Filtered(residuals, current, ahead)


def _measure(
    returns: FloatArray, market: FloatArray, options: RiskFeaturesSection, model: VolatilityModel
) -> tuple[FloatArray, list[str]]:
    """Return ``(N, 8)`` features and ``N`` reasons at the last row."""
    names = returns.shape[1]
    filtered = model(np.column_stack([returns, market]), options.horizon_bars)
    absent = [_absent(returns[:, stock], options) for stock in range(names)]
    gone = np.array([bool(reason) for reason in absent])
    stocks = np.where(gone, np.nan, filtered.residuals[:, :names])
    ahead = np.where(gone, np.nan, filtered.ahead[:names])
    dependence = market_dependence(
        stocks,
        filtered.residuals[:, names:],
        family=options.family,
        enough_rows=options.enough_rows,
        least_rows=options.least_rows,
    )
    ratio = ahead / filtered.current[:names]
    values = np.column_stack(
        [
            ahead * math.sqrt(options.bars_per_year),
            np.where(np.isfinite(ratio), ratio >= options.high_ratio, np.nan),
            dependence.correlation,
            np.fmax.reduce(dependence.lower, axis=1),
            np.fmax.reduce(dependence.upper, axis=1),
            _benefit(dependence, filtered, ahead, stocks, options),
            _value_at_risk(stocks, ahead, options),
        ]
    )
    return values, [own or _spoken(pair) for own, pair in zip(absent, dependence.reasons, strict=True)]


def _benefit(
    dependence: MarketDependence,
    filtered: Filtered,
    ahead: FloatArray,
    stocks: FloatArray,
    options: RiskFeaturesSection,
) -> FloatArray:
    first = len(ahead)
    return benefit_with_market(
        dependence.correlation[:, 0],
        dependence.freedom[:, 0],
        np.column_stack([stocks, filtered.residuals[:, first]]),
        np.append(ahead, filtered.ahead[first]),
        draws=options.draws,
        seed=options.seed,
        level=LEVEL,
    )


def _value_at_risk(stocks: FloatArray, ahead: FloatArray, options: RiskFeaturesSection) -> FloatArray:
    found = np.full(len(ahead), np.nan)
    for stock in np.flatnonzero(np.isfinite(ahead)):
        own = stocks[np.isfinite(stocks[:, stock]), stock]
        found[stock] = -np.quantile(own, options.tail_probability)
    return found * ahead * math.sqrt(options.horizon_bars)


def _absent(returns: FloatArray, options: RiskFeaturesSection) -> str:
    """Return why nothing can be said about a stock at all, or nothing."""
    seen = np.flatnonzero(np.isfinite(returns))
    if len(seen) < options.least_rows:
        return f"unknown: {len(seen)} returns, of {options.least_rows} needed"
    if np.ptp(returns[seen]) == 0:
        return "unknown: the price does not move as a price does, every return is the same"
    idle = len(returns) - 1 - int(seen[-1])
    return f"unknown: no return for {idle} bars" if idle >= options.every_bars else ""


def _spoken(pairs: tuple[str, ...]) -> str:
    return "; ".join(f"{market}: {reason}" for market, reason in zip(("SPY", "QQQ"), pairs, strict=True) if reason)


def _checked(returns: FloatArray, market: FloatArray, rows: ArrayLike) -> NDArray[np.int64]:
    if returns.ndim != 2 or market.shape != (len(returns), MARKETS):
        raise InputError(f"returns {returns.shape} must be (bar, stock) and markets {market.shape} (bar, {MARKETS})")
    asked = np.asarray(rows, dtype=np.int64)
    if asked.ndim != 1 or (len(asked) and not 0 <= asked.min() <= asked.max() < len(returns)):
        raise InputError(f"rows {asked.tolist()[:5]} … must be a vector within the {len(returns)} bars there are")
    return asked

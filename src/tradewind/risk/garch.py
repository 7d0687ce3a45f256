"""Volatility of one symbol or a universe: GARCH, GJR-GARCH or EGARCH with Student-t news, and what is used instead.

The conditional volatility of a bar is what was to be expected of it one bar earlier, given parameters that are
estimated on all returns handed over: hand over what was known when the forecast is made. Returns have mean zero.
Missing returns are skipped, the next one follows the last one there was.

A wished model that cannot be had is replaced along the chain *wished -> GARCH -> EWMA -> none*; every
:class:`VolatilityFit` says what was asked for, what was used and why.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError, did_you_mean
from tradewind.risk import garch_kernel as kernel
from tradewind.stats.volatility import ewma_volatility

FloatArray = NDArray[np.float64]

Kind = Literal["garch", "gjr", "egarch"]
Asked = Literal["garch", "gjr", "egarch", "best"]
Used = Literal["garch", "gjr", "egarch", "ewma", "none"]
Cause = Literal["no_returns", "constant", "too_few_returns", "not_converged", "explosive", "no_variance"]
Regime = Literal["high", "normal", "unknown"]

KINDS: tuple[Kind, ...] = get_args(Kind)
LEAST_RETURNS = 250
_LEAST_FOR_EWMA = 10
_BACKCAST_BARS, _BACKCAST_DECAY = 75, 0.94
_UNIT_ROOT, _NEXT_TO_ONE = 1.0 - 1e-6, 1.0 - 1e-7
_FAR = math.log(100.0)
_HEAVIEST, _LIGHTEST = 1.0 / 2.05, 1.0 / 500.0


@dataclass(frozen=True, eq=False)
class VolatilityFit:
    """Volatility of one symbol, in units of the returns per bar.

    Attributes
    ----------
    asked, used
        The model wished for, and what the numbers come from; ``none`` where all of them are missing.
    cause, why
        Reason in one word, and in a sentence, why it is not the one asked for; None and empty where it is. For ``best``
        the sentence also names models that could not take part.
    parameters
        By name: ``omega``, ``alpha``, ``beta``, ``gamma`` (weight of a loss beyond a gain's; of the sign in EGARCH)
        and ``nu`` degrees of freedom, or ``half_life_bars``.
    sigma, residuals
        ``(T,)`` conditional volatility of each bar as expected one bar earlier, and the return divided by it; NaN at
        bars without a return, and in the warm-up of EWMA.
    forecast
        ``(H,)`` volatility of each of the next bars.
    persistence
        Share of a shock to the variance (to its logarithm in EGARCH) that is left a bar later; 1 for EWMA.
    log_likelihood
        NaN for EWMA, which has none.
    observations
        Returns that were there.
    bars_per_year
        What a year has.
    """

    asked: Asked
    used: Used
    cause: Cause | None
    why: str
    parameters: dict[str, float]
    sigma: FloatArray
    residuals: FloatArray
    forecast: FloatArray
    persistence: float
    log_likelihood: float
    observations: int
    bars_per_year: float

    @property
    def bic(self) -> float:
        """Schwarz's criterion; smaller is better."""
        return math.log(max(self.observations, 1)) * len(self.parameters) - 2.0 * self.log_likelihood

    @property
    def annualised(self) -> FloatArray:
        """Volatility of each of the next bars at the rate of a year, ``(H,)``."""
        return np.asarray(self.forecast * math.sqrt(self.bars_per_year))

    @property
    def current(self) -> float:
        """Conditional volatility of the newest bar with a return; NaN where there is none."""
        known = self.sigma[np.isfinite(self.sigma)]
        return float(known[-1]) if known.size else math.nan

    def over(self, horizon_bars: int) -> float:
        """Return the volatility per bar over the next bars: the root of their mean variance."""
        if not 1 <= horizon_bars <= len(self.forecast):
            raise InputError(f"horizon of {horizon_bars} bars, the forecast has {len(self.forecast)}")
        return float(np.sqrt(np.mean(self.forecast[:horizon_bars] ** 2)))

    def regime(self, horizon_bars: int = 5, threshold: float = 1.5) -> Regime:
        """Return ``high`` where the next bars should vary ``threshold`` times as much as the newest one should have."""
        ratio = self.over(horizon_bars) / self.current
        return "unknown" if not math.isfinite(ratio) else "high" if ratio >= threshold else "normal"


@dataclass(frozen=True, eq=False)
class UniverseVolatility:
    """Volatility of many symbols over the same bars.

    Attributes
    ----------
    symbols
        ``N`` names.
    fits
        One of each, in the same order.
    fell_back
        Symbols that did not get the model asked for, by cause.
    """

    symbols: tuple[str, ...]
    fits: tuple[VolatilityFit, ...]
    fell_back: dict[Cause, tuple[str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        causes = dict.fromkeys(fit.cause for fit in self.fits if fit.cause)
        named = {c: tuple(s for s, f in zip(self.symbols, self.fits, strict=True) if f.cause == c) for c in causes}
        object.__setattr__(self, "fell_back", named)

    def __getitem__(self, symbol: str) -> VolatilityFit:
        if symbol not in self.symbols:
            raise did_you_mean("symbol", symbol, self.symbols)
        return self.fits[self.symbols.index(symbol)]

    @property
    def used(self) -> dict[Used, int]:
        """Number of symbols by what their volatility comes from."""
        return {kind: n for kind in get_args(Used) if (n := sum(fit.used == kind for fit in self.fits))}

    @property
    def sigma(self) -> FloatArray:
        """Conditional volatility, ``(T, N)``."""
        return np.column_stack([fit.sigma for fit in self.fits])

    @property
    def residuals(self) -> FloatArray:
        """Standardised returns, ``(T, N)``."""
        return np.column_stack([fit.residuals for fit in self.fits])

    @property
    def forecast(self) -> FloatArray:
        """Volatility of each of the next bars, ``(H, N)``."""
        return np.column_stack([fit.forecast for fit in self.fits])

    def regimes(self, horizon_bars: int = 5, threshold: float = 1.5) -> tuple[Regime, ...]:
        """Return the regime of each symbol; see :meth:`VolatilityFit.regime`."""
        return tuple(fit.regime(horizon_bars, threshold) for fit in self.fits)


@dataclass(frozen=True)
class _Wanted:
    asked: Asked
    horizon_bars: int
    bars_per_year: float
    half_life_bars: float
    least_returns: int
    most_steps: int


@dataclass(frozen=True, eq=False)
class _Found:
    """A converged model of returns scaled to unit variance."""

    kind: Kind
    weights: FloatArray
    freedom: float
    persistence: float
    log_likelihood: float
    variance: FloatArray


def fit(
    returns: FloatArray,
    kind: Asked = "garch",
    *,
    horizon_bars: int = 5,
    bars_per_year: float = 252.0,
    half_life_bars: float = 11.2,
    least_returns: int = LEAST_RETURNS,
    most_steps: int = 500,
) -> VolatilityFit:
    """Return the volatility of one symbol by maximum likelihood.

    GARCH(1,1): Bollerslev (1986, 1987); GJR-GARCH(1,1,1): Glosten, Jagannathan & Runkle (1993); EGARCH(1,1,1): Nelson
    (1991), whose ``alpha`` is held at zero or above: large news that calm the market make a filter that never forgets
    where it began (Wintenberger 2013). Forecasts of the variance are closed forms. With Student-t news that of EGARCH
    has no finite expectation beyond one bar (Nelson 1991), so the news to come are the residuals there were, each as
    likely as the others.

    Parameters
    ----------
    returns
        ``(T,)`` log returns, oldest first; a value that is not finite is missing.
    kind
        ``best`` is the smallest BIC of the three.
    horizon_bars
        Bars to forecast.
    half_life_bars
        Of EWMA, where it is used instead; 11.2 is the decay of 0.94 of RiskMetrics (1996).
    least_returns
        Fewer give EWMA, fewer than ten nothing.
    most_steps
        Steps of one search for the greatest likelihood.

    Raises
    ------
    InputError
        Returns that are no vector, an unknown kind, or a number that is not positive.
    """
    if returns.ndim != 1:
        raise InputError(f"returns of one symbol are a vector, these are {returns.shape}")
    wanted = _checked(kind, horizon_bars, bars_per_year, half_life_bars, least_returns, most_steps)
    return _fit(np.asarray(returns, dtype=np.float64), wanted)


def best_of(
    returns: FloatArray, *, horizon_bars: int = 5, bars_per_year: float = 252.0, half_life_bars: float = 11.2
) -> VolatilityFit:
    """Return the one of the three models with the smallest BIC; see :func:`fit`."""
    return fit(returns, "best", horizon_bars=horizon_bars, bars_per_year=bars_per_year, half_life_bars=half_life_bars)


def fit_universe(
    returns: FloatArray,
    symbols: Sequence[str],
    kind: Asked = "garch",
    *,
    jobs: int = -1,
    horizon_bars: int = 5,
    bars_per_year: float = 252.0,
    half_life_bars: float = 11.2,
    least_returns: int = LEAST_RETURNS,
    most_steps: int = 500,
) -> UniverseVolatility:
    """Return the volatility of every symbol of ``(T, N)`` returns, in parallel; see :func:`fit`.

    Parameters
    ----------
    jobs
        Threads of joblib, -1 for one a core: the likelihood is compiled and holds no lock, so processes would
        only copy. Inside ``joblib.parallel_config`` its engine is used, Ray among them. The answer is the same.
    """
    if returns.ndim != 2 or returns.shape[1] != len(symbols) or len(set(symbols)) != len(symbols):
        raise InputError(f"returns {returns.shape} must be (bar, symbol) of {len(symbols)} different symbols")
    from joblib import Parallel, delayed, effective_n_jobs

    wanted = _checked(kind, horizon_bars, bars_per_year, half_life_bars, least_returns, most_steps)
    columns = np.ascontiguousarray(np.asarray(returns, dtype=np.float64).T)
    parts = np.array_split(columns, min(len(columns), 4 * effective_n_jobs(jobs))) if len(columns) else []
    made = Parallel(n_jobs=jobs, prefer="threads")(delayed(_fit_all)(part, wanted) for part in parts)
    return UniverseVolatility(tuple(symbols), tuple(one for part in made for one in part))


def _fit_all(columns: FloatArray, wanted: _Wanted) -> list[VolatilityFit]:
    return [_fit(column, wanted) for column in columns]


def _checked(
    asked: Asked,
    horizon_bars: int,
    bars_per_year: float,
    half_life_bars: float,
    least_returns: int,
    most_steps: int,
) -> _Wanted:
    if asked not in get_args(Asked):
        raise did_you_mean("volatility model", asked, get_args(Asked))
    if horizon_bars < 1 or not bars_per_year > 0 or not half_life_bars > 0 or least_returns < 50 or most_steps < 1:
        raise InputError(
            f"{horizon_bars=}, {bars_per_year=}, {half_life_bars=} and {most_steps=} must be positive, "
            f"{least_returns=} at least 50"
        )
    return _Wanted(asked, horizon_bars, bars_per_year, half_life_bars, least_returns, most_steps)


def _fit(returns: FloatArray, wanted: _Wanted) -> VolatilityFit:
    there = np.flatnonzero(np.isfinite(returns))
    own = returns[there]
    if not own.size:
        return _none(returns, wanted, "no_returns", "there is no return")
    if np.ptp(own) == 0.0:
        return _none(returns, wanted, "constant", f"all {own.size} returns are {own[0]:g}")
    if own.size < wanted.least_returns:
        why = f"{own.size} returns, {wanted.least_returns} are needed"
        return _ewma(returns, there, wanted, "too_few_returns", why)
    scale = math.sqrt(float(np.mean(own**2)))
    cause, reasons, found = _chain(own / scale, wanted)
    why = "; ".join(reasons)
    if found is None:
        return _ewma(returns, there, wanted, cause or "not_converged", why)
    return _described(returns, there, scale, wanted, found, cause, why)


def _chain(unit: FloatArray, wanted: _Wanted) -> tuple[Cause | None, list[str], _Found | None]:
    """Return why the wished model failed (None: it did not), the reasons on the way, and what can be had."""
    if wanted.asked == "best":
        tried = [_estimated(unit, kind, wanted.most_steps) for kind in KINDS]
        good = [found for found in tried if isinstance(found, _Found)]
        failures = [found for found in tried if not isinstance(found, _Found)]
        best = min(good, key=lambda f: _penalty(f, len(unit)), default=None)
        return None if best else failures[0][0], [why for _, why in failures], best
    first: Cause | None = None
    reasons: list[str] = []
    for kind in dict.fromkeys((wanted.asked, KINDS[0])):
        found = _estimated(unit, kind, wanted.most_steps)
        if isinstance(found, _Found):
            return first, reasons, found
        first = first or found[0]
        reasons.append(found[1])
    return first, reasons, None


def _penalty(found: _Found, observations: int) -> float:
    numbers = 4 if found.kind == "garch" else 5
    return math.log(observations) * numbers - 2.0 * found.log_likelihood


def _estimated(unit: FloatArray, kind: Kind, most_steps: int) -> _Found | tuple[Cause, str]:
    """Return the model of returns with unit variance, or why there is none."""
    exponential = kind == "egarch"
    starts, box, steps = _space(kind)
    backcast = _backcast(unit)
    free, loss, ended = kernel.search(exponential, starts, box, steps, unit, backcast, most_steps)
    persistence = float(free[3] if exponential else free[1])
    if persistence >= _UNIT_ROOT or free[0] >= _FAR:
        return "explosive", f"{kind}: persistence {persistence:.4f} leaves no long-run variance"
    if free[4] >= _HEAVIEST:
        return "no_variance", f"{kind}: tails of {1 / free[4]:.2f} degrees of freedom leave no variance to speak of"
    if not ended:
        return "not_converged", f"{kind}: no greatest likelihood within {most_steps} steps"
    weights = kernel.natural(exponential, free)
    path = kernel.variance(exponential, weights, unit, backcast)
    if exponential and _forgets(weights, unit / np.sqrt(path[:-1])) >= 0.0:
        return "explosive", f"{kind}: the filter does not forget where it began"
    return _Found(kind, weights, float(1.0 / free[4]), persistence, -float(loss) * len(unit), path)


def _space(kind: Kind) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return where the search begins ``(S, 5)``, its walls ``(2, 5)`` and its first steps ``(5,)``."""
    if kind == "egarch":
        starts = [[0.0, 0.2, 0.08, 0.3, 0.125], [0.0, 0.05, -0.08, 0.99, 0.125], [0.0, 0.05, 0.0, 0.99, 0.125]]
        box = [[-_FAR, 0.0, -5.0, 0.0, _LIGHTEST], [_FAR, 5.0, 5.0, _NEXT_TO_ONE, _HEAVIEST]]
        return np.array(starts), np.array(box), np.array([1.0, 1.0, 1.0, 0.1, 0.5])
    if kind == "garch":
        starts = [[0.0, 0.4, 0.03, 0.5, 0.125], [0.0, 0.97, 0.03, 0.5, 0.125], [0.0, 0.99, 0.03, 0.5, 0.125]]
    else:
        starts = [[0.0, 0.4, 0.03, 0.3, 0.125], [0.0, 0.4, 0.03, 0.8, 0.125], [0.0, 0.99, 0.1, 0.5, 0.125]]
    side = 0.5 if kind == "garch" else 0.0
    box = [[-_FAR, 0.0, 0.0, side, _LIGHTEST], [_FAR, _NEXT_TO_ONE, 1.0, 1.0 - side, _HEAVIEST]]
    return np.array(starts), np.array(box), np.array([1.0, 0.05, 0.5, 5.0, 0.5])


def _forgets(weights: FloatArray, residuals: FloatArray) -> float:
    """Return the growth a bar of an error in the logarithm of EGARCH's variance; below zero it dies out.

    The condition of invertibility of Straumann & Mikosch (2006), at the residuals that there were.
    """
    _, alpha, gamma, beta = weights
    kept = np.abs(beta - 0.5 * (alpha * np.abs(residuals) + gamma * residuals))
    return float(np.mean(np.log(np.maximum(kept, 1e-12))))


def _backcast(unit: FloatArray) -> float:
    """Return a mean of the first squares, the oldest weighing most, that stands for what came before."""
    first = unit[:_BACKCAST_BARS] ** 2
    return max(float(np.average(first, weights=_BACKCAST_DECAY ** np.arange(len(first)))), 1e-6)


def _described(
    returns: FloatArray,
    there: NDArray[np.int64],
    scale: float,
    wanted: _Wanted,
    found: _Found,
    cause: Cause | None,
    why: str,
) -> VolatilityFit:
    own = np.sqrt(found.variance[:-1])
    sigma = _spread(own * scale, there, len(returns))
    residuals = returns / np.where(np.isfinite(sigma), sigma, 1.0)
    residuals[~np.isfinite(sigma)] = np.nan
    ahead = _egarch_ahead if found.kind == "egarch" else _garch_ahead
    return VolatilityFit(
        asked=wanted.asked,
        used=found.kind,
        cause=cause,
        why=why,
        parameters=_named(found, scale),
        sigma=sigma,
        residuals=residuals,
        forecast=scale * np.sqrt(ahead(found, wanted.horizon_bars, residuals[there])),
        persistence=found.persistence,
        log_likelihood=found.log_likelihood - len(there) * math.log(scale),
        observations=len(there),
        bars_per_year=wanted.bars_per_year,
    )


def _named(found: _Found, scale: float) -> dict[str, float]:
    """Return the parameters in the unit of the returns."""
    omega, second, third, memory = found.weights.tolist()
    if found.kind == "egarch":
        omega += 2.0 * (1.0 - memory) * math.log(scale)
        return {"omega": omega, "alpha": second, "gamma": third, "beta": memory, "nu": found.freedom}
    named = {"omega": omega * scale**2, "alpha": second, "beta": memory, "nu": found.freedom}
    return named if found.kind == "garch" else named | {"gamma": third - second}


def _garch_ahead(found: _Found, horizon_bars: int, residuals: FloatArray) -> FloatArray:
    """Variance of the next bars: it returns to the long run by the persistence."""
    kept = found.persistence ** np.arange(horizon_bars)
    gathered = np.concatenate(([0.0], np.cumsum(kept)[:-1]))
    return np.asarray(found.variance[-1] * kept + found.weights[0] * gathered)


def _egarch_ahead(found: _Found, horizon_bars: int, residuals: FloatArray) -> FloatArray:
    """Expected variance of the next bars, their news drawn from the residuals: a product of means, no simulation."""
    omega, alpha, gamma, beta = found.weights
    news = alpha * (np.abs(residuals) - kernel.SQRT_2_PI) + gamma * residuals
    kept = beta ** np.arange(horizon_bars)
    shocks = np.log(np.mean(np.exp(kept[:-1, None] * news), axis=1))
    gathered = np.concatenate(([0.0], np.cumsum(kept[:-1] * omega + shocks)))
    return np.asarray(np.exp(math.log(found.variance[-1]) * kept + gathered))


def _ewma(returns: FloatArray, there: NDArray[np.int64], wanted: _Wanted, cause: Cause, why: str) -> VolatilityFit:
    if len(there) < _LEAST_FOR_EWMA:
        return _none(returns, wanted, cause, f"{why}; ewma: {_LEAST_FOR_EWMA} are")
    after = ewma_volatility(returns[there], wanted.half_life_bars, _LEAST_FOR_EWMA)
    before = np.concatenate(([np.nan], after[:-1]))
    before[before == 0.0] = np.nan
    sigma = _spread(before, there, len(returns))
    return VolatilityFit(
        asked=wanted.asked,
        used="ewma",
        cause=cause,
        why=why,
        parameters={"half_life_bars": wanted.half_life_bars},
        sigma=sigma,
        residuals=returns / sigma,
        forecast=np.full(wanted.horizon_bars, after[-1]),
        persistence=1.0,
        log_likelihood=math.nan,
        observations=len(there),
        bars_per_year=wanted.bars_per_year,
    )


def _none(returns: FloatArray, wanted: _Wanted, cause: Cause, why: str) -> VolatilityFit:
    return VolatilityFit(
        asked=wanted.asked,
        used="none",
        cause=cause,
        why=why,
        parameters={},
        sigma=np.full(len(returns), np.nan),
        residuals=np.full(len(returns), np.nan),
        forecast=np.full(wanted.horizon_bars, np.nan),
        persistence=math.nan,
        log_likelihood=math.nan,
        observations=int(np.isfinite(returns).sum()),
        bars_per_year=wanted.bars_per_year,
    )


def _spread(values: FloatArray, there: NDArray[np.int64], length: int) -> FloatArray:
    """Put values at the bars that had a return, NaN between."""
    out = np.full(length, np.nan)
    out[there] = values
    return out

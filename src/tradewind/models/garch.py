"""GARCH(1,1) with Student-t news (Bollerslev 1987), fitted to each symbol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tradewind.errors import DataError
from tradewind.models.assembly import assemble, bar_returns, content_hash, log_prices, training_id
from tradewind.models.base import Windows, register
from tradewind.models.forecast import LEVELS, Forecast

FloatArray = NDArray[np.float64]

_MINIMUM_RETURNS = 250
_WARM_UP = 50


@njit(cache=True)
def variance_path(returns: FloatArray, base: float, news: float, memory: float) -> FloatArray:
    """Filter ``v[t+1] = base (1 - news - memory) + news r[t]^2 + memory v[t]`` from ``base``; one more than returns."""
    path = np.empty(len(returns) + 1)
    path[0] = base
    for t in range(len(returns)):
        path[t + 1] = base * (1.0 - news - memory) + news * returns[t] ** 2 + memory * path[t]
    return path


def fit_garch(returns: FloatArray) -> tuple[float, float, float, float]:
    """Return ``(base variance, news, memory, degrees of freedom)`` by quasi-likelihood with a targeted variance.

    Parameters
    ----------
    returns
        ``(n,)`` finite log returns, oldest first. Their mean square is the long-run variance (Engle & Mezrich 1996).
    """
    from scipy.optimize import minimize
    from scipy.special import gammaln

    base = float(np.mean(np.clip(returns, *np.quantile(returns, [0.001, 0.999])) ** 2))

    def loss(free: FloatArray) -> float:
        news, memory, freedom = _bounded(free)
        variance = variance_path(returns, base, news, memory)[:-1]
        constant = gammaln((freedom + 1) / 2) - gammaln(freedom / 2) - 0.5 * np.log(np.pi * (freedom - 2))
        tail = (freedom + 1) / 2 * np.log1p(returns**2 / (variance * (freedom - 2)))
        return float(np.mean(0.5 * np.log(variance) + tail) - constant)

    found = minimize(loss, np.array([-2.7, 2.5, 1.0]), method="Nelder-Mead", options={"maxiter": 250, "xatol": 1e-3})
    return (base, *_bounded(found.x))


def _bounded(free: FloatArray) -> tuple[float, float, float]:
    """Map free numbers to news in (0, 0.4), news + memory in (news, 0.9995) and freedom in (2.5, 60)."""
    unit = 1.0 / (1.0 + np.exp(-np.clip(free, -30, 30)))
    news = 0.4 * float(unit[0]) + 1e-6
    return (
        news,
        (0.9995 - news) * float(unit[1]),
        2.5 + 57.5 * float(np.exp(min(free[2], 12.0)) / (20 + np.exp(min(free[2], 12.0)))),
    )


@register
class GarchT:
    """One GARCH(1,1)-t a symbol, filtered forward daily with the parameters of the last fit.

    A symbol with fewer than 250 returns gets the median parameters of the others; the first forecast needs 50.
    """

    name: ClassVar[str] = "garch_t"

    def __init__(self, levels: Sequence[float] = LEVELS, threads: int = 2, seed: int = 0) -> None:
        self.levels = tuple(levels)
        self.threads = threads

    def fit(self, windows: Windows) -> Self:
        """Fit every symbol that was asked for; raises ``DataError`` when none has 250 returns."""
        returns = bar_returns(log_prices(windows.panel))[: int(windows.rows.max()) + 1]
        fitted: dict[int, tuple[float, float, float, float]] = {}
        for column in np.unique(windows.columns).tolist():
            own = returns[np.isfinite(returns[:, column]), column]
            if len(own) >= _MINIMUM_RETURNS and np.ptp(own) > 0:
                fitted[column] = fit_garch(own)
        if not fitted:
            raise DataError(
                f"no symbol has the {_MINIMUM_RETURNS} returns that a GARCH model needs",
                hint="sync more history, raise evaluation.min_train_bars, or take GARCH out of [models]",
            )
        self.symbols_ = {windows.panel.symbols[c]: values for c, values in fitted.items()}
        self.typical_ = tuple(np.median(np.array(list(fitted.values())), axis=0).tolist())
        self.version_ = content_hash(self.name, self.levels, training_id(windows), self.symbols_)
        return self

    def predict(self, windows: Windows) -> Forecast:
        """Forecast the samples; the score is zero for all."""
        horizons = np.asarray(windows.labels.horizons, dtype=np.float64)
        quantiles = np.full((len(windows.rows), len(horizons), len(self.levels)), np.nan)
        returns = bar_returns(log_prices(windows.panel))
        for column in np.unique(windows.columns):
            mine = windows.columns == column
            made = self._symbol(windows.panel.symbols[column], returns[:, column], horizons)
            quantiles[mine] = made[windows.rows[mine]]
        return assemble(
            windows,
            quantiles,
            np.where(np.isfinite(quantiles[:, :, 0]), 0.0, np.nan),
            model=self.name,
            version=self.version_,
            levels=self.levels,
            explanation={"typical_parameters": [round(v, 8) for v in self.typical_]},
        )

    def _symbol(self, symbol: str, returns: FloatArray, horizons: FloatArray) -> FloatArray:
        """Quantiles of one symbol at every bar, ``(T, H, Q)``; NaN in warm-up and where it has no return."""
        out = np.full((len(returns), len(horizons), len(self.levels)), np.nan)
        seen = np.flatnonzero(np.isfinite(returns))
        if len(seen) <= _WARM_UP:
            return out
        base, news, memory, freedom = self.symbols_.get(symbol, self.typical_)
        own = returns[seen]
        if symbol not in self.symbols_:
            base = float(np.mean(own[:_WARM_UP] ** 2))
        following = variance_path(own, base, news, memory)[1:]
        persistence = news + memory
        gathered = (1.0 - persistence**horizons) / (1.0 - persistence)
        variance = horizons * base + (following[:, None] - base) * gathered
        out[seen[_WARM_UP:]] = (np.sqrt(variance)[:, :, None] * self._unit(freedom, horizons))[_WARM_UP:]
        return out

    def _unit(self, freedom: float, horizons: FloatArray) -> FloatArray:
        """Unit-variance Student-t quantiles; a sum of h terms has 1/h of the excess kurtosis, ``(H, Q)``."""
        from scipy.special import stdtrit

        summed = np.where(freedom > 4.0, 4.0 + (freedom - 4.0) * horizons, freedom + 0.5 * (horizons - 1.0))
        spread = np.sqrt((summed - 2.0) / summed)
        return np.asarray(spread[:, None] * stdtrit(summed[:, None], np.asarray(self.levels)))

"""The forecasts every other must beat: no direction, exponentially weighted volatility."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from tradewind.models.assembly import (
    assemble,
    bar_returns,
    content_hash,
    ewma_volatility,
    log_prices,
    training_id,
    usable,
)
from tradewind.models.base import Windows, register
from tradewind.models.forecast import LEVELS, Forecast

_DEGREES_OF_FREEDOM = np.array([2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 25.0, 50.0, 200.0])


def naive_scale(windows: Windows, decay: float) -> NDArray[np.float64]:
    """Return ``sqrt(h)`` times the one-bar EWMA volatility of each sample, ``(n, H)``."""
    volatility = ewma_volatility(bar_returns(log_prices(windows.panel)), decay)
    daily: NDArray[np.float64] = volatility[windows.rows, windows.columns]
    return daily[:, None] * np.sqrt(np.asarray(windows.labels.horizons, dtype=np.float64))


@register
class NaiveNormal:
    """Zero-mean normal with exponentially weighted volatility: the yardstick of pinball skill.

    Parameters
    ----------
    decay
        Weight of yesterday's variance per bar (RiskMetrics: 0.94).
    levels
        Quantile levels.
    """

    name: ClassVar[str] = "naive_normal"

    def __init__(self, decay: float = 0.94, levels: Sequence[float] = LEVELS, seed: int = 0) -> None:
        self.decay = decay
        self.levels = tuple(levels)
        self.version_ = content_hash(self.name, decay, self.levels)

    def fit(self, windows: Windows) -> Self:
        """Learn nothing: the volatility is read off each symbol's past."""
        return self

    def predict(self, windows: Windows) -> Forecast:
        """Forecast the samples; the score is zero for all."""
        from scipy.special import ndtri

        scale = naive_scale(windows, self.decay)
        quantiles = scale[:, :, None] * ndtri(np.asarray(self.levels))
        return assemble(
            windows,
            quantiles,
            np.zeros_like(scale),
            model=self.name,
            version=self.version_,
            levels=self.levels,
        )


@register
class NaiveT:
    """The same as a Student-t; its width and tails are fitted by likelihood per horizon over all symbols."""

    name: ClassVar[str] = "naive_t"

    def __init__(self, decay: float = 0.94, levels: Sequence[float] = LEVELS, seed: int = 0) -> None:
        self.decay = decay
        self.levels = tuple(levels)

    def fit(self, windows: Windows) -> Self:
        """Fit degrees of freedom and width per horizon on the volatility-scaled returns."""
        scale = naive_scale(windows, self.decay)
        shapes = []
        for index in range(len(windows.labels.horizons)):
            known = usable(windows, index, scale, at_least=100)
            ratio = windows.target(index)[known] / scale[known, index]
            shapes.append(fit_student_t(ratio))
        self.shapes_ = tuple(shapes)
        self.version_ = content_hash(self.name, self.decay, self.levels, self.shapes_, training_id(windows))
        return self

    def predict(self, windows: Windows) -> Forecast:
        """Forecast the samples; the score is zero for all."""
        scale = naive_scale(windows, self.decay)
        unit = np.array([student_t_quantiles(freedom, width, self.levels) for freedom, width in self.shapes_])
        return assemble(
            windows,
            scale[:, :, None] * unit,
            np.zeros_like(scale),
            model=self.name,
            version=self.version_,
            levels=self.levels,
            explanation={
                "degrees_of_freedom": [s[0] for s in self.shapes_],
                "width": [s[1] for s in self.shapes_],
            },
        )


def student_t_quantiles(freedom: float, width: float, levels: Sequence[float]) -> NDArray[np.float64]:
    """Return quantiles of ``width`` times a standard Student-t."""
    from scipy.special import stdtrit

    return np.asarray(width * stdtrit(freedom, np.asarray(levels)))


def fit_student_t(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return ``(degrees of freedom, width)`` of a zero-centred Student-t by maximum likelihood.

    The width solves the EM fixed point (Lange, Little & Taylor 1989) for each candidate on a grid of
    degrees of freedom; the likeliest pair wins.
    """
    from scipy.special import gammaln

    square = np.asarray(values, dtype=np.float64) ** 2
    best, found = -np.inf, (float(_DEGREES_OF_FREEDOM[-1]), 1.0)
    for freedom in _DEGREES_OF_FREEDOM:
        variance = float(np.median(square)) / 0.5 + 1e-300
        for _ in range(30):
            variance = float(np.mean((freedom + 1) * square / (freedom + square / variance)))
        constant = gammaln((freedom + 1) / 2) - gammaln(freedom / 2) - 0.5 * np.log(freedom * np.pi * variance)
        likelihood = constant - (freedom + 1) / 2 * float(np.mean(np.log1p(square / (variance * freedom))))
        if likelihood > best:
            best, found = float(likelihood), (float(freedom), float(np.sqrt(variance)))
    return found

"""Any regressor as a forecaster: one learns the centre, one the size, held-back residuals give the shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from tradewind.models.assembly import assemble, content_hash, draw, settings_of, top_importance, training_id, usable
from tradewind.models.base import Windows
from tradewind.models.forecast import LEVELS, Forecast
from tradewind.models.naive import naive_scale

FloatArray = NDArray[np.float64]

_MINIMUM_SAMPLES = 200
_SHAPE_SHARE = 0.2
_CENTRE_TRUST = 0.5


@dataclass(frozen=True, eq=False)
class Standardiser:
    """Centre and spread of each feature over the training samples; a missing value becomes the centre.

    The linear and kernel regressors cannot take missing values; trees see the same for comparability.
    """

    centre: FloatArray
    spread: FloatArray

    @classmethod
    def of(cls, matrix: NDArray[np.float32]) -> Standardiser:
        """Measure ``(n, F)`` training samples."""
        known = np.isfinite(matrix)
        values = np.where(known, matrix, 0.0).astype(np.float64)
        count = np.maximum(known.sum(axis=0), 1)
        centre = values.sum(axis=0) / count
        square = (np.where(known, values - centre, 0.0) ** 2).sum(axis=0) / count
        return cls(centre, np.where(square > 0, np.sqrt(square), 1.0))

    def __call__(self, matrix: NDArray[np.float32]) -> FloatArray:
        """Return the samples in units of spread, within five of them, ``(n, F)``."""
        scaled = np.clip((matrix - self.centre) / self.spread, -5.0, 5.0)
        return np.where(np.isfinite(scaled), scaled, 0.0)


@dataclass(frozen=True, eq=False)
class _HorizonFit:
    standardiser: Standardiser
    centre: Any
    size: Any
    shape: FloatArray

    def parts(self, matrix: NDArray[np.float32]) -> tuple[FloatArray, FloatArray]:
        """Centre and width in units of the naive scale, ``(n,)`` each."""
        inputs = self.standardiser(matrix)
        width = np.exp(np.clip(self.size.predict(inputs), -1.5, 1.5))
        return _CENTRE_TRUST * np.asarray(self.centre.predict(inputs)), width


class LocationScale:
    """Base of forecasters that wrap a regressor; subclasses say which.

    Targets are in units of the naive volatility: the clipped return for the centre (half of which is believed:
    direction is mostly noise) and the log of its size. Residuals of the last fifth of the training bars, purged of
    overlap and unseen by the regressors, give the quantiles' shape.
    """

    name: ClassVar[str] = ""

    def __init__(self, maximum_samples: int, levels: Sequence[float] = LEVELS, threads: int = 2, seed: int = 0) -> None:
        self.maximum_samples = maximum_samples
        self.levels = tuple(levels)
        self.threads = threads
        self.seed = seed

    def regressor(self) -> Any:
        """Return an unfitted regressor with ``fit`` and ``predict``."""
        raise NotImplementedError

    def fit(self, windows: Windows) -> Self:
        """Fit centre, size and shape of every horizon."""
        scale = naive_scale(windows, 0.94)
        self.features_ = windows.features.names
        self.fits_ = [
            self._fit_horizon(windows, scale, index, horizon) for index, horizon in enumerate(windows.labels.horizons)
        ]
        shapes = [fit.shape for fit in self.fits_]
        self.version_ = content_hash(self.name, settings_of(self), training_id(windows), *shapes)
        return self

    def predict(self, windows: Windows) -> Forecast:
        """Forecast the samples; the score is the centre."""
        scale = naive_scale(windows, 0.94)
        matrix = windows.matrix
        quantiles = np.full((*scale.shape, len(self.levels)), np.nan)
        score = np.full(scale.shape, np.nan)
        for index, fit in enumerate(self.fits_):
            centre, width = fit.parts(matrix)
            unit = centre[:, None] + width[:, None] * fit.shape
            quantiles[:, index] = unit * scale[:, index, None]
            score[:, index] = centre * scale[:, index]
        return assemble(
            windows,
            quantiles,
            score,
            model=self.name,
            version=self.version_,
            levels=self.levels,
            explanation={"importance": top_importance(self.features_, self._importance())},
        )

    def _fit_horizon(self, windows: Windows, scale: FloatArray, index: int, horizon: int) -> _HorizonFit:
        chosen = draw(usable(windows, index, scale, _MINIMUM_SAMPLES), self.maximum_samples, self.seed)
        rows, columns = windows.rows[chosen], windows.columns[chosen]
        ratio = np.clip(windows.target(index)[chosen] / scale[chosen, index], -6.0, 6.0)
        edge = np.quantile(rows, 1.0 - _SHAPE_SHARE)
        early, late = rows < edge - horizon, rows >= edge
        matrix = windows.features.values[rows, columns]
        standardiser = Standardiser.of(matrix[early])
        inputs = standardiser(matrix[early])
        centre = steady(self.regressor().fit(inputs, ratio[early]))
        size = steady(self.regressor().fit(inputs, np.log(np.abs(ratio[early]) + 0.05)))
        unshaped = _HorizonFit(standardiser, centre, size, np.zeros(0))
        where, width = unshaped.parts(matrix[late])
        shape = np.quantile((ratio[late] - where) / width, self.levels)
        return _HorizonFit(standardiser, centre, size, shape)

    def _importance(self) -> FloatArray:
        parts = [importance_of(part) for fit in self.fits_ for part in (fit.centre, fit.size)]
        return np.asarray(sum(parts, np.zeros(len(self.features_))))


def importance_of(regressor: Any) -> Any:
    """Return a regressor's own importance of each input, or 0 where it has none to tell."""
    if hasattr(regressor, "feature_importances_"):
        return np.asarray(regressor.feature_importances_, dtype=np.float64)
    if hasattr(regressor, "coef_"):
        return np.abs(np.asarray(regressor.coef_, dtype=np.float64)).ravel()
    return 0.0


def steady(regressor: Any) -> Any:
    """Let a fitted regressor predict on one thread: several add up votes in any order, and last bits differ."""
    if hasattr(regressor, "n_jobs"):
        regressor.n_jobs = 1
    return regressor

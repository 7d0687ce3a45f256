"""Any regressor as a forecaster: one learns the centre, one the size, held-back residuals give the shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError
from tradewind.models.assembly import (
    assemble,
    content_hash,
    draw,
    feature_names,
    settings_of,
    top_importance,
    training_id,
    usable,
)
from tradewind.models.base import Windows
from tradewind.models.forecast import LEVELS, Forecast
from tradewind.models.naive import naive_scale

FloatArray = NDArray[np.float64]

_MINIMUM_SAMPLES = 200
_SHAPE_SHARE = 0.2
_MINIMUM_PART = 30
_CENTRE_TRUST = 0.5
#: Added to the size of a return before its logarithm: a day without a move is not infinitely small.
_LEAST_SIZE = 0.05
_DECAY = 0.94


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
        count = np.maximum(known.sum(axis=0), 1)
        values = np.where(known, matrix, np.float32(0.0)).astype(np.float64)
        centre = values.sum(axis=0) / count
        values -= centre
        values[~known] = 0.0
        square = np.einsum("nf,nf->f", values, values) / count
        return cls(centre, np.where(square > 0, np.sqrt(square), 1.0))

    def __call__(self, matrix: NDArray[np.float32]) -> FloatArray:
        """Return the samples in units of spread, within five of them, ``(n, F)``."""
        scaled = np.subtract(matrix, self.centre)
        scaled /= self.spread
        np.clip(scaled, -5.0, 5.0, out=scaled)
        scaled[~np.isfinite(scaled)] = 0.0
        return scaled


class Regressor(Protocol):
    """What a forecaster wraps: it learns several targets at once."""

    def fit(self, inputs: FloatArray, targets: FloatArray) -> Self:
        """Learn ``(n, K)`` targets from ``(n, F)`` inputs."""
        ...

    def predict(self, inputs: FloatArray) -> FloatArray:
        """Return ``(n, K)`` predictions."""
        ...


@dataclass(eq=False, kw_only=True)
class LocationScale:
    """Base of forecasters that wrap a regressor; subclasses say which.

    Targets are in units of the naive volatility: the clipped return for the centre (half of which is believed:
    direction is mostly noise) and the log of its size. One fit learns them for every horizon, from samples whose
    returns are known over all of them. Residuals of the last fifth of the training bars, purged of overlap and unseen
    by the regressor, give the quantiles' shape.

    Parameters
    ----------
    maximum_samples
        Training samples drawn (seeded) when there are more.
    levels, threads, seed
        Quantile levels, threads of a fit (one: on a busy machine two wait for each other), seed of every draw.
    """

    name: ClassVar[str] = ""
    maximum_samples: int = 40_000
    levels: Sequence[float] = LEVELS
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Keep the levels as a tuple, whatever a playbook wrote."""
        self.levels = tuple(self.levels)

    def regressor(self) -> Regressor:
        """Return an unfitted regressor."""
        raise NotImplementedError

    def fit(self, windows: Windows) -> Self:
        """Fit centre, size and shape of every horizon."""
        scale = naive_scale(windows, _DECAY)
        chosen = draw(_known(windows, scale), self.maximum_samples, self.seed)
        rows, columns = windows.rows[chosen], windows.columns[chosen]
        ratio = np.clip(windows.labels.returns[rows, columns] / scale[chosen], -6.0, 6.0)
        early, late = _early_and_late(rows, max(windows.labels.horizons))
        matrix = windows.features.values[rows, columns]
        self.features_ = feature_names(windows, self.name)
        self.standardiser_ = Standardiser.of(matrix[early])
        size = np.log(np.abs(ratio[early]) + _LEAST_SIZE)
        targets = np.concatenate([ratio[early], size], axis=1)
        self.regressor_ = steady(self.regressor().fit(self.standardiser_(matrix[early]), targets))
        centre, width = self._parts(matrix[late])
        self.shapes_ = np.quantile((ratio[late] - centre) / width, self.levels, axis=0).T
        self.version_ = content_hash(self.name, settings_of(self), training_id(windows), self.shapes_)
        return self

    def predict(self, windows: Windows) -> Forecast:
        """Forecast the samples; the score is the centre."""
        scale = naive_scale(windows, _DECAY)
        centre, width = self._parts(windows.matrix)
        unit = centre[:, :, None] + width[:, :, None] * self.shapes_
        return assemble(
            windows,
            unit * scale[:, :, None],
            centre * scale,
            model=self.name,
            version=self.version_,
            levels=self.levels,
            explanation={"importance": top_importance(self.features_, self._importance())},
        )

    def _parts(self, matrix: NDArray[np.float32]) -> tuple[FloatArray, FloatArray]:
        """Return centre and width in units of the naive scale, ``(n, H)`` each."""
        found = np.asarray(self.regressor_.predict(self.standardiser_(matrix)), dtype=np.float64)
        centre, size = np.split(found, 2, axis=1)
        return _CENTRE_TRUST * centre, np.exp(np.clip(size, -1.5, 1.5))

    def _importance(self) -> FloatArray:
        return importance_of(self.regressor_) + np.zeros(len(self.features_))


def _known(windows: Windows, scale: FloatArray) -> NDArray[np.bool_]:
    """Return which samples have a scale and a known return over every horizon."""
    horizons = range(len(windows.labels.horizons))
    return np.logical_and.reduce([usable(windows, index, scale, _MINIMUM_SAMPLES) for index in horizons])


def _early_and_late(rows: NDArray[np.int64], horizon: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the samples to learn from and the later ones, no return of the first reaching into the second."""
    edge = np.quantile(rows, 1.0 - _SHAPE_SHARE) if len(rows) else 0
    early, late = rows < edge - horizon, rows >= edge
    if min(int(early.sum()), int(late.sum())) < _MINIMUM_PART:
        raise DataError(
            f"{len(rows)} samples with returns known over {horizon} bars leave {int(early.sum())} to learn from and "
            f"{int(late.sum())} to judge by, {_MINIMUM_PART} of each are needed",
            hint="give it a longer history, more symbols or shorter horizons",
        )
    return early, late


def importance_of(regressor: Any) -> Any:
    """Return a regressor's own importance of each input, or 0 where it has none to tell."""
    if hasattr(regressor, "feature_importances_"):
        return np.asarray(regressor.feature_importances_, dtype=np.float64)
    if hasattr(regressor, "coef_"):
        return np.abs(np.asarray(regressor.coef_, dtype=np.float64)).mean(axis=0)
    return 0.0


def steady(regressor: Any) -> Any:
    """Let a fitted regressor predict on one thread: several add up votes in any order, and last bits differ."""
    if hasattr(regressor, "n_jobs"):
        regressor.n_jobs = 1
    return regressor

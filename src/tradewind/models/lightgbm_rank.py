"""Boosted trees that learn to rank the symbols of a bar; the width is the naive volatility's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

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
from tradewind.models.base import Windows, register
from tradewind.models.boosting import BoostedTrees
from tradewind.models.forecast import Forecast
from tradewind.models.naive import fit_student_t, naive_scale, student_t_quantiles

FloatArray = NDArray[np.float64]

_MINIMUM_SAMPLES = 200


@dataclass(frozen=True, eq=False)
class _HorizonFit:
    booster: Any
    believed: float
    shape: FloatArray


@register
@dataclass(eq=False, kw_only=True)
class LightgbmRank(BoostedTrees):
    """Regression on the normal score of each symbol's rank among the returns of its bar.

    Parameters
    ----------
    trust
        Information coefficient the ranker is believed to have: scales the score to an expected return.
    """

    name: ClassVar[str] = "lightgbm_rank"
    trees: int = 100
    learning_rate: float = 0.03
    minimum_leaf: int = 500
    maximum_samples: int = 200_000
    trust: float = 0.02

    def fit(self, windows: Windows) -> Self:
        """Fit a ranker and a Student-t width per horizon."""
        scale = naive_scale(windows, 0.94)
        self.features_ = feature_names(windows, self.name)
        self.fits_ = [self._fit_horizon(windows, scale, i) for i in range(len(windows.labels.horizons))]
        shapes = [fit.shape for fit in self.fits_]
        self.version_ = content_hash(self.name, settings_of(self), training_id(windows), *shapes)
        return self

    def predict(self, windows: Windows) -> Forecast:
        """Forecast the samples; the score is the trusted share of the ranker's output, in return units."""
        scale = naive_scale(windows, 0.94)
        matrix = windows.matrix
        quantiles = np.full((*scale.shape, len(self.levels)), np.nan)
        score = np.full(scale.shape, np.nan)
        for index, fit in enumerate(self.fits_):
            raw = np.asarray(fit.booster.predict(matrix, num_threads=self.threads))
            edge = self.trust * raw / fit.believed
            quantiles[:, index] = scale[:, index, None] * (fit.shape + edge[:, None])
            score[:, index] = scale[:, index] * edge
        return assemble(
            windows,
            quantiles,
            score,
            model=self.name,
            version=self.version_,
            levels=self.levels,
            explanation={"importance": self._importance()},
        )

    def _fit_horizon(self, windows: Windows, scale: FloatArray, index: int) -> _HorizonFit:
        import lightgbm

        allowed = usable(windows, index, scale, _MINIMUM_SAMPLES)
        ratio = windows.target(index) / scale[:, index]
        target = rank_scores(np.where(allowed, windows.target(index), np.nan), windows.rows)
        chosen = draw(allowed, self.maximum_samples, self.seed)
        values = windows.features.values[windows.rows[chosen], windows.columns[chosen]]
        data = lightgbm.Dataset(values, target[chosen], params=self._parameters())
        booster = lightgbm.train(self._parameters(), data, self.trees)
        believed = max(float(np.std(np.asarray(booster.predict(values, num_threads=1)))), 1e-6)
        freedom, width = fit_student_t(ratio[chosen])
        return _HorizonFit(booster, believed, student_t_quantiles(freedom, width, self.levels))

    def _parameters(self) -> dict[str, Any]:
        return self.booster_parameters(
            objective="regression", feature_fraction=0.5, bagging_fraction=0.5, bagging_freq=1, lambda_l2=50.0
        )

    def _importance(self) -> dict[str, float]:
        gains = sum((f.booster.feature_importance("gain") for f in self.fits_), np.zeros(len(self.features_)))
        return top_importance(self.features_, np.asarray(gains))


def rank_scores(values: FloatArray, group: NDArray[np.int64]) -> FloatArray:
    """Return the normal score of each value's rank within its group, ``(n,)``; NaN stays NaN.

    Van der Waerden scores: ``ndtri(rank / (count + 1))``.
    """
    from scipy.special import ndtri

    order = np.lexsort((values, group))
    known = np.isfinite(values[order])
    ordered = group[order]
    first = np.r_[True, ordered[1:] != ordered[:-1]]
    place = np.cumsum(known)
    before = np.maximum.accumulate(np.where(first, place - known, 0))
    rank = place - before
    count = np.bincount(ordered - ordered[0], weights=known)[ordered - ordered[0]]
    out = np.full(len(values), np.nan)
    out[order] = np.where(known, ndtri(np.clip(rank / (count + 1.0), 1e-9, 1 - 1e-9)), np.nan)
    return out

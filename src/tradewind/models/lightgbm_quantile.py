"""Gradient-boosted quantiles of the volatility-scaled return."""

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
from tradewind.models.naive import naive_scale


@register
@dataclass(eq=False, kw_only=True)
class LightgbmQuantile(BoostedTrees):
    """One boosted model per level and horizon (pinball objective) on returns in units of EWMA volatility.

    Parameters
    ----------
    decay
        Of the scaling volatility, per bar.
    """

    name: ClassVar[str] = "lightgbm_quantile"
    decay: float = 0.94

    def fit(self, windows: Windows) -> Self:
        """Fit every level of every horizon."""
        scale = naive_scale(windows, self.decay)
        self.features_ = feature_names(windows, self.name)
        self.boosters_ = [self._fit_horizon(windows, scale, index) for index in range(len(windows.labels.horizons))]
        self.version_ = content_hash(self.name, settings_of(self), training_id(windows))
        return self

    def predict(self, windows: Windows) -> Forecast:
        """Forecast the samples; the score is the median."""
        scale = naive_scale(windows, self.decay)
        matrix = windows.matrix
        unit = np.stack(
            [
                np.stack([booster.predict(matrix, num_threads=self.threads) for booster in row], axis=-1)
                for row in self.boosters_
            ],
            axis=1,
        )
        quantiles = np.sort(unit, axis=-1) * scale[:, :, None]
        middle = int(np.argmin(np.abs(np.asarray(self.levels) - 0.5)))
        return assemble(
            windows,
            quantiles,
            quantiles[:, :, middle],
            model=self.name,
            version=self.version_,
            levels=self.levels,
            explanation={"importance": self._importance()},
        )

    def _fit_horizon(self, windows: Windows, scale: NDArray[np.float64], index: int) -> list[Any]:
        import lightgbm

        chosen = draw(usable(windows, index, scale, at_least=200), self.maximum_samples, self.seed)
        ratio = windows.target(index)[chosen] / scale[chosen, index]
        values = windows.features.values[windows.rows[chosen], windows.columns[chosen]]
        data = lightgbm.Dataset(values, np.clip(ratio, -8, 8), params=self._parameters(), free_raw_data=False)
        return [lightgbm.train({**self._parameters(), "alpha": level}, data, self.trees) for level in self.levels]

    def _parameters(self) -> dict[str, Any]:
        return self.booster_parameters(
            objective="quantile", feature_fraction=0.6, bagging_fraction=0.7, bagging_freq=1, lambda_l2=10.0
        )

    def _importance(self) -> dict[str, float]:
        gains = [b.feature_importance(importance_type="gain") for row in self.boosters_ for b in row]
        return top_importance(self.features_, np.sum(gains, axis=0))

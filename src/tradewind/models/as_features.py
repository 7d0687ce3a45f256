"""Forecasts as inputs of other models (row D3): what their columns are, and how a forecast becomes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tradewind.features.spec import FeatureSpec
from tradewind.features.table import Features
from tradewind.models.forecast import Forecast

FAMILY = "forecasts"
_SOURCE = "Wolpert (1992), stacked generalisation; here by walk-forward, so that time is kept"
#: The two parts of a forecast that are features, in this order, and what they are.
_PARTS = {
    "score": "expected {horizon}-bar log return by {model}, fitted on earlier bars",
    "sigma": "standard deviation of the {horizon}-bar log return by {model} (middle 80 %), fitted on earlier bars",
}


def specs_of(models: Iterable[str], horizons: Sequence[int]) -> tuple[FeatureSpec, ...]:
    """Return what each column is, in the order of the columns: by model, horizon (bars) and part."""
    return tuple(
        FeatureSpec(
            f"forecast_{model}_{horizon}_{part}",
            FAMILY,
            "log return",
            words.format(model=model, horizon=horizon),
            expression=None,
            source=_SOURCE,
        )
        for model in models
        for horizon in horizons
        for part, words in _PARTS.items()
    )


def as_features(model: str, forecast: Forecast) -> Features:
    """Return a model's forecasts as columns, ``(T, N, 2 H)``; known at the bars that the forecasts were made at.

    They are put on the grid of decisions first, so that the shape of a batch does not show. NaN: no forecast.
    """
    names = tuple(spec.name for spec in specs_of([model], forecast.horizons))
    rounded = forecast.rounded()
    parts = np.stack([rounded.score, sigma_of(rounded)], axis=-1)
    values = parts.reshape(*parts.shape[:2], len(names)).astype(np.float32)
    return Features(forecast.times, forecast.symbols, names, values)


def sigma_of(forecast: Forecast) -> NDArray[np.float64]:
    """Return the normal-equivalent standard deviation of the forecasts, ``(T, N, H)``, NaN: none.

    Read off the levels next to 10 and 90 %.
    """
    from scipy.special import ndtri

    levels = np.asarray(forecast.levels)
    low, high = int(np.argmin(np.abs(levels - 0.1))), int(np.argmin(np.abs(levels - 0.9)))
    width = forecast.quantiles[..., high] - forecast.quantiles[..., low]
    return np.asarray(width / (ndtri(levels[high]) - ndtri(levels[low])))


def absent(model: str, times: NDArray[np.datetime64], symbols: tuple[str, ...], horizons: Sequence[int]) -> Features:
    """Return the same columns where there is no forecast yet: all missing."""
    names = tuple(spec.name for spec in specs_of([model], horizons))
    return Features(times, symbols, names, np.full((len(times), len(symbols), len(names)), np.nan, dtype=np.float32))

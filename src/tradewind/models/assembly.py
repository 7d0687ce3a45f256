"""Parts every forecaster shares: adjusted returns, causal volatility, the filled-in forecast, its version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError, InputError
from tradewind.models.forecast import LEVELS, Forecast

if TYPE_CHECKING:
    from tradewind.market.panel import Panel
    from tradewind.models.base import Windows

FloatArray = NDArray[np.float64]

#: Returns a symbol must have shown before its volatility is believed.
WARM_UP_BARS = 20


def log_prices(panel: Panel, name: str = "close") -> FloatArray:
    """Return the log of a forward-adjusted price, ``(T, N)``; NaN where there is no usable bar."""
    price = np.where(panel.mask, panel.adjusted(name), np.nan)
    return np.asarray(np.log(np.where(price > 0, price, np.nan)))


def last_known(values: FloatArray) -> FloatArray:
    """Carry the last finite value of each column forward, ``(T, N)``."""
    row = np.where(np.isfinite(values), np.arange(len(values))[:, None], -1)
    row = np.maximum.accumulate(row, axis=0)
    filled = np.take_along_axis(values, np.maximum(row, 0), axis=0)
    return np.where(row >= 0, filled, np.nan)


def bar_returns(log_price: FloatArray) -> FloatArray:
    """Return log returns since each symbol's own previous bar, ``(T, N)``; NaN at its first, and in gaps."""
    before = np.full_like(log_price, np.nan)
    before[1:] = last_known(log_price)[:-1]
    return log_price - before


class ExponentialMean:
    """The fold from values to their exponentially weighted mean so far, weights normalised.

    A missing value leaves the state as it is. NaN until ``warm_up`` values were seen.

    Parameters
    ----------
    shape
        Of the values at one bar.
    decay
        Weight that a value loses with each newer one.
    """

    def __init__(self, shape: tuple[int, ...], decay: float, warm_up: int = WARM_UP_BARS) -> None:
        self.decay, self.warm_up = decay, warm_up
        self.total, self.weight, self.count = np.zeros(shape), np.zeros(shape), np.zeros(shape)

    def step(self, values: FloatArray) -> FloatArray:
        """Go on over the next bars, ``(B, ...)``; return the mean at each."""
        out = np.full(values.shape, np.nan)
        for t, row in enumerate(values):
            seen = np.isfinite(row)
            keep = np.where(seen, self.decay, 1.0)
            self.total = keep * self.total + np.where(seen, row, 0.0)
            self.weight = keep * self.weight + seen
            self.count = self.count + seen
            mean = self.total / np.maximum(self.weight, 1e-12)
            out[t] = np.where(self.count >= self.warm_up, mean, np.nan)
        return out


def exponential_mean(values: FloatArray, decay: float, warm_up: int = WARM_UP_BARS) -> FloatArray:
    """Exponentially weighted mean of the finite values so far, ``(T, ...)``; see :class:`ExponentialMean`."""
    return ExponentialMean(values.shape[1:], decay, warm_up).step(values)


def ewma_volatility(returns: FloatArray, decay: float = 0.94) -> FloatArray:
    """One-bar zero-mean volatility (RiskMetrics 1996, eq. 5.3), ``(T, N)``; NaN in warm-up, never zero."""
    return volatility_of(exponential_mean(returns**2, decay))


def volatility_of(variance: FloatArray) -> FloatArray:
    """Return the root of a variance, NaN where that is 0 or unknown."""
    return np.asarray(np.sqrt(np.where(variance > 0, variance, np.nan)))


def content_hash(*parts: Any) -> str:
    """Return a short hash of arrays and JSON-serialisable values."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(str((part.dtype, part.shape)).encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        else:
            digest.update(json.dumps(part, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def feature_names(windows: Windows, model: str) -> tuple[str, ...]:
    """Return the names of the features that a model learns from; raises ``DataError`` when there are none."""
    if not windows.features.names:
        raise DataError(
            f"the model {model!r} learns from features, and the playbook selects none",
            hint='set features.include, e.g. ["core"], or use a model that needs none: scale_blend, har, garch_t',
        )
    return windows.features.names


def training_id(windows: Windows) -> list[Any]:
    """Return what identifies a training set: the data, its end and which samples."""
    last = str(windows.panel.times[-1])
    return [windows.panel.version, last, len(windows.rows), content_hash(windows.rows, windows.columns)]


def usable(windows: Windows, horizon_index: int, scale: FloatArray, at_least: int = 1) -> NDArray[np.bool_]:
    """Return which samples have a known return and a scale at this horizon; ``DataError`` when too few.

    Parameters
    ----------
    scale
        ``(n, H)`` volatility over each horizon, or whatever else the model cannot do without.
    """
    known = np.isfinite(windows.target(horizon_index)) & np.isfinite(scale[:, horizon_index])
    if int(known.sum()) < at_least:
        horizon = windows.labels.horizons[horizon_index]
        raise DataError(
            f"{int(known.sum())} samples with history and a known return over {horizon} bars, "
            f"the model needs {at_least}",
            hint="give it a longer history, more symbols or shorter horizons; "
            "`tradewind data check` shows gaps and constant prices",
        )
    return known


def empty_forecast(windows: Windows, levels: Sequence[float]) -> tuple[slice, NDArray[np.float64], NDArray[np.float64]]:
    """Return the rows a forecast spans and NaN arrays for its quantiles and score."""
    if len(windows.rows) == 0:
        raise InputError("a forecast was asked for no sample at all")
    span = slice(int(windows.rows.min()), int(windows.rows.max()) + 1)
    axes = (span.stop - span.start, len(windows.panel.symbols), len(windows.labels.horizons))
    return span, np.full((*axes, len(levels)), np.nan), np.full(axes, np.nan)


def assemble(
    windows: Windows,
    quantiles: FloatArray,
    score: FloatArray,
    *,
    model: str,
    version: str,
    levels: Sequence[float] = LEVELS,
    probabilities: FloatArray | None = None,
    high: FloatArray | None = None,
    low: FloatArray | None = None,
    explanation: Mapping[str, Any] | None = None,
) -> Forecast:
    """Lay samples out as a :class:`Forecast`.

    Parameters
    ----------
    quantiles, score
        ``(n, H, Q)`` and ``(n, H)`` for the samples of ``windows``. Quantiles are sorted (rearranged:
        Chernozhukov, Fernández-Val & Galichon 2010) so they never cross; a sample with any non-finite
        quantile, or without a bar, has no forecast.
    probabilities
        ``(n, H, 3)`` of down, neutral and up, from models that forecast classes.
    high, low
        ``(n, H, Q)`` of the path's extremes, from models that forecast them; sorted too.
    """
    rows, columns = windows.rows, windows.columns
    span, all_quantiles, all_scores = empty_forecast(windows, levels)
    complete = np.isfinite(quantiles).all(axis=-1) & np.isfinite(score)
    complete &= windows.panel.mask[rows, columns][:, None]
    all_quantiles[rows - span.start, columns] = np.where(complete[..., None], np.sort(quantiles, axis=-1), np.nan)
    all_scores[rows - span.start, columns] = np.where(complete, score, np.nan)

    def laid(values: FloatArray | None) -> FloatArray | None:
        if values is None:
            return None
        whole = np.full((*all_scores.shape, values.shape[-1]), np.nan)
        whole[rows - span.start, columns] = np.where(complete[..., None], values, np.nan)
        return whole

    return Forecast(
        times=windows.panel.times[span],
        symbols=windows.panel.symbols,
        horizons=windows.labels.horizons,
        levels=tuple(levels),
        quantiles=all_quantiles,
        score=all_scores,
        probabilities=laid(probabilities),
        high=laid(None if high is None else np.sort(high, axis=-1)),
        low=laid(None if low is None else np.sort(low, axis=-1)),
        model=model,
        version=version,
        explanation=dict(explanation or {}),
    )


def draw(allowed: NDArray[np.bool_], at_most: int, seed: int) -> NDArray[np.int64]:
    """Return the positions that are allowed, a seeded draw of them when there are too many; sorted."""
    positions = np.flatnonzero(allowed)
    if len(positions) <= at_most:
        return positions
    return np.sort(np.random.default_rng(seed).choice(positions, at_most, replace=False))


def top_importance(names: Sequence[str], gains: NDArray[np.float64], count: int = 20) -> dict[str, float]:
    """Return the largest shares of the total gain by feature name."""
    share = np.asarray(gains, dtype=np.float64) / max(float(np.sum(gains)), 1e-12)
    order = np.argsort(-share, kind="stable")[:count]
    return {names[i]: round(float(share[i]), 6) for i in order}


def settings_of(model: Any) -> dict[str, Any]:
    """Return a model's parameters (attributes without a trailing underscore)."""
    return {k: v for k, v in vars(model).items() if not k.endswith("_") and k != "threads"}

"""What we believe: a predictive distribution per bar, symbol and horizon."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError

#: Quantile levels every model forecasts unless a playbook says otherwise.
LEVELS = (0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95)

#: Forecasts are rounded to this grid (log-return units) before anything decides on them, because matrix
#: products differ in their last bits with the shape of the batch.
DECIMALS = 6
GRID = 10.0**-DECIMALS

SAID = ("quantiles", "score", "probabilities", "high", "low")
"""The arrays of a :class:`Forecast`."""


@dataclass(frozen=True, eq=False)
class Forecast:
    """Predictive distributions made at the close of bar ``t`` for the log return to bar ``t + h``.

    Attributes
    ----------
    times, symbols, horizons, levels
        The axes: ``T`` bar closes (UTC), ``N`` symbols, ``H`` horizons in bars, ``Q`` rising levels in (0,1).
    quantiles
        ``(T, N, H, Q)`` float64 log returns of the forward-adjusted close; never crossing; NaN: no forecast.
    score
        ``(T, N, H)`` float64 expected log return, used to rank symbols; NaN where no forecast.
    probabilities
        ``(T, N, H, 3)`` down / neutral / up for classifiers, else None.
    high, low
        ``(T, N, H, Q)`` log returns of the highest high and the lowest low on the way to ``t + h`` (forward-adjusted,
        never crossing), for models that forecast the path, else None. The path begins at the close of ``t``, so that
        ``low <= 0 <= high``. They are as the model said: calibration moves ``quantiles`` alone.
    model, version
        Which model said so; ``version`` is a content hash of what it was fitted on and with.
    explanation
        Free-form, JSON-serialisable (feature importance ...).
    """

    times: NDArray[np.datetime64]
    symbols: tuple[str, ...]
    horizons: tuple[int, ...]
    levels: tuple[float, ...]
    quantiles: NDArray[np.float64]
    score: NDArray[np.float64]
    probabilities: NDArray[np.float64] | None = None
    high: NDArray[np.float64] | None = None
    low: NDArray[np.float64] | None = None
    model: str = ""
    version: str = ""
    explanation: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit the axes, and quantiles that cross."""
        axes = (len(self.times), len(self.symbols), len(self.horizons))
        for name in ("quantiles", "high", "low"):
            self._require_levels(name, (*axes, len(self.levels)))
        if self.score.shape != axes:
            raise DataError(f"score has shape {self.score.shape}, expected {axes}")

    def _require_levels(self, name: str, shape: tuple[int, ...]) -> None:
        values = getattr(self, name)
        if values is None:
            return
        if values.shape != shape:
            raise DataError(f"{name} has shape {values.shape}, expected {shape}")
        with np.errstate(invalid="ignore"):
            if bool(np.any(np.diff(values, axis=-1) < 0)):
                raise DataError(f"{name} of {self.model!r} cross from level to level")

    @property
    def available(self) -> NDArray[np.bool_]:
        """True where there is a forecast, ``(T, N, H)``."""
        return np.asarray(np.isfinite(self.quantiles).all(axis=-1))

    @property
    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """What it says, by name: every array that there is, time first."""
        named = {name: getattr(self, name) for name in SAID}
        return {name: values for name, values in named.items() if values is not None}

    def mapped(self, change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> dict[str, Any]:
        """Return every array changed, by name."""
        return {name: change(values) for name, values in self.arrays.items()}

    def part(self, rows: NDArray[np.int64]) -> Forecast:
        """Return the forecasts of some bars, by their number on the time axis."""
        return replace(self, times=self.times[rows], **self.mapped(lambda values: values[rows]))

    def at(self, times: NDArray[np.datetime64]) -> Forecast:
        """Return the forecasts made at these closes (rising), whichever there are of them; NaN for the others."""
        row = np.minimum(np.searchsorted(self.times, times), len(self.times) - 1)
        made = self.times[row] == times
        if made.all():
            return self if len(made) == len(self.times) else self.part(row)

        def known(values: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.where(made.reshape(-1, *[1] * (values.ndim - 1)), values[row], np.nan)

        return replace(self, times=times, **self.mapped(known))

    def rounded(self) -> Forecast:
        """Return the forecast on the fixed grid that decisions are made on."""
        return replace(self, **self.mapped(lambda values: np.round(values, DECIMALS)))

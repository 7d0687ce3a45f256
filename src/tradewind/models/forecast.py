"""What we believe: a predictive distribution per bar, symbol and horizon."""

from __future__ import annotations

from collections.abc import Mapping
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
    model: str = ""
    version: str = ""
    explanation: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit the axes, and quantiles that cross."""
        axes = (len(self.times), len(self.symbols), len(self.horizons))
        if self.quantiles.shape != (*axes, len(self.levels)):
            raise DataError(f"quantiles have shape {self.quantiles.shape}, expected {(*axes, len(self.levels))}")
        if self.score.shape != axes:
            raise DataError(f"score has shape {self.score.shape}, expected {axes}")
        with np.errstate(invalid="ignore"):
            if bool(np.any(np.diff(self.quantiles, axis=-1) < 0)):
                raise DataError(f"quantiles of {self.model!r} cross")

    @property
    def available(self) -> NDArray[np.bool_]:
        """True where there is a forecast, ``(T, N, H)``."""
        return np.asarray(np.isfinite(self.quantiles).all(axis=-1))

    def part(self, rows: NDArray[np.int64]) -> Forecast:
        """Return the forecasts of some bars, by their number on the time axis."""
        chances = None if self.probabilities is None else self.probabilities[rows]
        quantiles, score = self.quantiles[rows], self.score[rows]
        return replace(self, times=self.times[rows], quantiles=quantiles, score=score, probabilities=chances)

    def at(self, times: NDArray[np.datetime64]) -> Forecast:
        """Return the forecasts made at these closes (rising), whichever there are of them; NaN for the others."""
        row = np.minimum(np.searchsorted(self.times, times), len(self.times) - 1)
        made = self.times[row] == times
        if made.all():
            return self if len(made) == len(self.times) else self.part(row)

        def known(values: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.where(made.reshape(-1, *[1] * (values.ndim - 1)), values[row], np.nan)

        chances = None if self.probabilities is None else known(self.probabilities)
        quantiles, score = known(self.quantiles), known(self.score)
        return replace(self, times=times, quantiles=quantiles, score=score, probabilities=chances)

    def rounded(self) -> Forecast:
        """Return the forecast on the fixed grid that decisions are made on."""
        return replace(
            self,
            quantiles=np.round(self.quantiles, DECIMALS),
            score=np.round(self.score, DECIMALS),
            probabilities=None if self.probabilities is None else np.round(self.probabilities, DECIMALS),
        )

"""What a foundation model reads: the newest log closes of one symbol, relative to the last."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError
from tradewind.models.assembly import log_prices
from tradewind.models.base import Windows

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Series:
    """The series of a set of samples, cut out of one shared array when they are asked for.

    Attributes
    ----------
    log_close
        ``(T, N)`` log of the forward-adjusted close; NaN where a symbol has no bar.
    rows, columns
        ``(n,)`` the samples.
    bars
        Length of a series.
    """

    log_close: FloatArray
    rows: IntArray
    columns: IntArray
    bars: int

    @classmethod
    def of(cls, windows: Windows, bars: int) -> Series:
        """Return the series of all samples of ``windows``."""
        return cls(log_prices(windows.panel), windows.rows, windows.columns, bars)

    def told(self, least_bars: int) -> IntArray:
        """Return the samples that can be forecast: with a bar of their own, enough before it, and prices that moved."""
        known = np.isfinite(self.log_close)
        before = np.vstack([np.zeros((1, known.shape[1]), dtype=np.int64), np.cumsum(known, axis=0)])
        first = np.maximum(self.rows + 1 - self.bars, 0)
        count = before[self.rows + 1, self.columns] - before[first, self.columns]
        enough = np.flatnonzero(known[self.rows, self.columns] & (count >= least_bars))
        return enough[self._moved(enough)]

    def cut(self, samples: IntArray) -> NDArray[np.float32]:
        """Return series, oldest first, ``(len(samples), bars)``; NaN where there is no bar; the last value is 0."""
        at = self.rows[samples][:, None] + np.arange(1 - self.bars, 1)
        values = self.log_close[np.maximum(at, 0), self.columns[samples][:, None]]
        return np.where(at >= 0, values - values[:, -1:], np.nan).astype(np.float32)

    def _moved(self, samples: IntArray) -> NDArray[np.bool_]:
        blocks = [samples[start : start + 4_096] for start in range(0, len(samples), 4_096)]
        moved = [np.any(np.nan_to_num(self.cut(block)) != 0, axis=1) for block in blocks]
        return np.concatenate(moved) if moved else np.zeros(0, dtype=bool)


def require_history(windows: Windows, least_bars: int, model: str) -> None:
    """Raise ``DataError`` where no symbol has enough bars to be forecast."""
    longest = int(windows.panel.mask.sum(axis=0).max(initial=0))
    if longest < least_bars:
        raise DataError(
            f"the longest history has {longest} bars, {model} is asked to forecast from {least_bars} on",
            hint=f"give it a longer history, or lower models.parameters.{model}.least_bars",
        )

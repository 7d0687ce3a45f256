"""How far the price went on the way: the highest high and the lowest low over each horizon."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tradewind.market.panel import Panel

FloatArray = NDArray[np.float64]


def path_extremes(panel: Panel, horizons: Sequence[int]) -> tuple[FloatArray, FloatArray]:
    """Return the log returns from the close of bar ``t`` to the highest high and lowest low of ``t + 1 … t + h``.

    Parameters
    ----------
    panel
        Bars; highs and lows of the forward-adjusted series, so that a dividend on the way is no fall.
    horizons
        In bars.

    Returns
    -------
    ``(T, N, H)`` each. NaN where there is no bar at ``t``, where no bar of the horizon has a high or low, and until the
    horizon has passed. Missing bars on the way touch nothing.
    """
    close = _log(panel, "close")
    high, low = _log(panel, "high"), _log(panel, "low")
    highest = [_over(high, h, np.fmax) - close for h in horizons]
    lowest = [_over(low, h, np.fmin) - close for h in horizons]
    return np.stack(highest, axis=-1), np.stack(lowest, axis=-1)


def _log(panel: Panel, name: str) -> FloatArray:
    price = np.where(panel.mask, panel.adjusted(name), np.nan)
    return np.asarray(np.log(np.where(price > 0, price, np.nan)))


def _over(values: FloatArray, bars: int, extreme: np.ufunc) -> FloatArray:
    """Return the extreme of the next ``bars`` rows; NaN where fewer rows follow."""
    found = np.full_like(values, np.nan)
    rows = len(values) - bars
    for ahead in range(1, bars + 1):
        extreme(found[: max(rows, 0)], values[ahead : ahead + max(rows, 0)], out=found[: max(rows, 0)])
    return found

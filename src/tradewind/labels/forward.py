"""Forward log returns over several horizons, with the causal volatility that scales them."""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError
from tradewind.labels.targets import Labels
from tradewind.labels.uniqueness import average_uniqueness, horizon_ends
from tradewind.market.panel import Panel
from tradewind.stats.volatility import ewma_volatility

FloatArray = NDArray[np.float64]


def forward_returns(
    panel: Panel, horizons: Sequence[int], scale_half_life_bars: float = 20.0, warm_up_bars: int = 10
) -> Labels:
    """Return the log return of the forward-adjusted close from bar ``t`` to bar ``t + h``.

    Parameters
    ----------
    panel
        Bars; ``close * factor`` is the total-return series.
    horizons
        Horizons in bars, each at least 1, rising.
    scale_half_life_bars
        Half-life of the volatility that scales the labels (one-bar log returns, zero mean, known at ``t``).
    warm_up_bars
        One-bar returns that a symbol needs before its ``scale`` is anything but NaN.

    Returns
    -------
    Labels
        ``returns`` is NaN where there is no bar at ``t`` or at ``t + h`` (nothing is carried over a missing
        bar: the return to a bar that was not traded could not have been earned), and where the symbol ended
        before ``t + h``. ``end`` is ``t + h``, which is ``T`` or more while unresolved. Symbols whose last
        bar lies before ``t + h`` stay unresolved for ever: their ``end`` is ``T + h``. ``weight`` is 0 where
        there is no label.
    """
    steps = _horizons(horizons)
    close = np.where(panel.mask, panel.adjusted("close"), np.nan)
    returns = np.stack([_ahead(close, h) for h in steps], axis=-1)
    end = _ends(panel.mask, steps)
    scale = ewma_volatility(one_bar_returns(close), scale_half_life_bars, warm_up_bars)
    unique = average_uniqueness(np.isfinite(close), horizon_ends(close.shape[0], close.shape[1], steps))
    weight = np.where(np.isfinite(returns), unique, 0.0)
    return Labels(horizons=tuple(steps), returns=returns, scale=scale, end=end, weight=weight)


def one_bar_returns(close: FloatArray) -> FloatArray:
    """Return log returns ``(T, N)`` from each symbol's previous bar, which may be more than one row ago.

    NaN at missing bars and at the first bar. After a gap the return spans it: for volatility, not for labels.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return _since_last(np.log(close))


def _horizons(horizons: Sequence[int]) -> list[int]:
    steps = [int(h) for h in horizons]
    if not steps or steps != sorted(set(steps)) or steps[0] < 1:
        raise InputError(f"horizons {tuple(horizons)} must be distinct, rising and at least 1 bar")
    return steps


def _ahead(close: FloatArray, h: int) -> FloatArray:
    result = np.full_like(close, np.nan)
    if h < len(close):
        result[:-h] = np.log(close[h:]) - np.log(close[:-h])
    return result


def _ends(mask: NDArray[np.bool_], steps: Sequence[int]) -> NDArray[np.int64]:
    """Return ``t + h``, pushed past the sample's end for symbols that have no bar any more by then."""
    rows = len(mask)
    last = np.where(mask.any(axis=0), rows - 1 - np.argmax(mask[::-1], axis=0), -1)
    end = horizon_ends(rows, mask.shape[1], steps)
    gone = (end > last[None, :, None]) & (end < rows)
    return np.where(gone, rows + np.asarray(steps, dtype=np.int64), end)


@numba.njit(cache=True)
def _since_last(log_close: FloatArray) -> FloatArray:
    rows, columns = log_close.shape
    result = np.full((rows, columns), np.nan)
    last = np.full(columns, np.nan)
    for t in range(rows):
        for n in range(columns):
            value = log_close[t, n]
            if np.isfinite(value):
                result[t, n] = value - last[n]
                last[n] = value
    return result

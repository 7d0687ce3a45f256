"""Triple-barrier labels: which is touched first, the upper barrier, the lower one or the time limit.

López de Prado (2018), ch. 3, on bars: a barrier is touched when a bar's high or low reaches it. Barriers stand in units
of the causal volatility, so a calm and a wild name are asked the same question.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numba
import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError
from tradewind.labels.targets import Labels
from tradewind.labels.uniqueness import average_uniqueness
from tradewind.market.panel import Panel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Barriers:
    """Triple-barrier outcomes.

    Attributes
    ----------
    labels
        ``classes`` +1 the upper barrier first, -1 the lower first, 0 neither within the horizon; ``returns`` the
        log return to the barrier (to the open where the bar opened beyond it, to the close at the time limit);
        ``end`` the bar of the touch or of the limit; ``weight`` the average uniqueness over ``t + 1 … end``. Where no
        bar or no volatility is known at ``t``, and while unresolved, returns are NaN, classes 0 and weights 0.
    ambiguous
        ``(T, N, H)`` True where both barriers lay inside the bar that decided: resolved against the assumed side.
    """

    labels: Labels
    ambiguous: NDArray[np.bool_]

    @property
    def ties(self) -> IntArray:
        """Return how many labels of each horizon were ambiguous, ``(H,)``."""
        return np.asarray(self.ambiguous.sum(axis=(0, 1)))


def triple_barrier(
    panel: Panel,
    labels: Labels,
    *,
    up_sigma: float,
    down_sigma: float,
    side: Literal["long", "short"] = "long",
) -> Barriers:
    """Return what a position opened at each close would have met first.

    Parameters
    ----------
    panel
        Bars; touches are judged on forward-adjusted highs, lows and opens.
    labels
        Forward returns of the same panel: their horizons are the time limits and their ``scale`` the volatility.
    up_sigma, down_sigma
        Distance of the barriers from the close of bar ``t`` in log-return units of ``scale * sqrt(h)``.
    side
        Whose view an ambiguous bar is pessimistic for: a long loses (-1), a short loses (+1).

    Notes
    -----
    Missing bars touch nothing. A symbol that ends before its label is decided stays unresolved (``end >= T``).
    At the time limit the bar must be there; otherwise the label has no return and no class, like a forward return.
    """
    if up_sigma <= 0 or down_sigma <= 0:
        raise InputError(f"barriers at {up_sigma} and {down_sigma} sigma must both be positive")
    open_, high, low, close = (_log_price(panel, name) for name in ("open", "high", "low", "close"))
    horizons = np.asarray(labels.horizons, dtype=np.int64)
    reach = labels.scale[:, :, None] * np.sqrt(horizons)
    up, down = np.ascontiguousarray(up_sigma * reach), np.ascontiguousarray(down_sigma * reach)
    classes, returns, end, ambiguous = _touches(open_, high, low, close, up, down, horizons, labels.end, side == "long")
    weight = _weights(returns, end, np.isfinite(close) & np.isfinite(labels.scale))
    found = replace(labels, classes=classes, returns=returns, end=end, weight=weight)
    return Barriers(found, ambiguous)


def _log_price(panel: Panel, name: str) -> FloatArray:
    return np.ascontiguousarray(np.log(np.where(panel.mask, panel.adjusted(name), np.nan)))


def _weights(returns: FloatArray, end: IntArray, started: NDArray[np.bool_]) -> FloatArray:
    return np.where(np.isfinite(returns), average_uniqueness(started, end), 0.0)


@numba.njit(cache=True)
def _touches(
    open_: FloatArray,
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    up: FloatArray,
    down: FloatArray,
    horizons: IntArray,
    limit: IntArray,
    long: bool,
) -> tuple[NDArray[np.int8], FloatArray, IntArray, NDArray[np.bool_]]:
    rows, columns, count = up.shape
    classes = np.zeros((rows, columns, count), np.int8)
    returns = np.full((rows, columns, count), np.nan)
    end = limit.copy()
    ambiguous = np.zeros((rows, columns, count), np.bool_)
    for t in range(rows):
        for n in range(columns):
            for k in range(count):
                if not (np.isfinite(close[t, n]) and np.isfinite(up[t, n, k])):
                    continue
                upper, lower = close[t, n] + up[t, n, k], close[t, n] - down[t, n, k]
                for s in range(t + 1, min(t + horizons[k], rows - 1) + 1):
                    found, price, tie = _touch(open_[s, n], high[s, n], low[s, n], upper, lower, long)
                    if found != 0:
                        classes[t, n, k], end[t, n, k], ambiguous[t, n, k] = found, s, tie
                        returns[t, n, k] = price - close[t, n]
                        break
                    if s == t + horizons[k] and np.isfinite(close[s, n]):
                        returns[t, n, k] = close[s, n] - close[t, n]
    return classes, returns, end, ambiguous


@numba.njit(cache=True)
def _touch(open_: float, high: float, low: float, upper: float, lower: float, long: bool) -> tuple[int, float, bool]:
    """Return the barrier that one bar touches, at which log price, and whether the bar alone cannot tell."""
    if not np.isfinite(high):
        return 0, np.nan, False
    if open_ >= upper:
        return 1, open_, False
    if open_ <= lower:
        return -1, open_, False
    above, below = high >= upper, low <= lower
    if above and below:
        return (-1, lower, True) if long else (1, upper, True)
    if above:
        return 1, upper, False
    if below:
        return -1, lower, False
    return 0, np.nan, False

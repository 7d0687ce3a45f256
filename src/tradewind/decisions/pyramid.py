"""Pyramiding: a position that is built in equal parts, every part but the first only once the last one is in profit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tradewind.decisions.confidence import traded

if TYPE_CHECKING:
    from tradewind.decisions.signals import Belief, Signals

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def built_up(belief: Belief, signals: Signals) -> FloatArray | None:
    """Return the share of its weight that each signal asks for, ``(T, N)`` in (0, 1]; None where all comes at once.

    A rule knows no book, so that it follows the trade that its own words make: opened at the close of a bar on which
    positions may change, closed by its own exits, by its stop (a trailing one where the playbook trails) as seen in the
    bars' closes, or when its time is up. Prices are of one share of the first bar, so that a split is no gain.
    """
    settings = belief.settings
    if settings.pyramid_steps == 1:
        return None
    leaves = np.where(signals.action > 0, False, signals.close), np.where(signals.action < 0, False, signals.cover)
    return _shares_of(
        np.sign(signals.action).astype(np.int8),
        leaves[0],
        leaves[1],
        traded(belief.panel, "close"),
        signals.stop,
        signals.horizon_bars,
        settings.due(len(signals.action)),
        settings.pyramid_steps,
        settings.pyramid_gain,
        settings.trailing_stop,
    )


@njit(cache=True)
def _shares_of(
    side: NDArray[np.int8],
    close: BoolArray,
    cover: BoolArray,
    price: FloatArray,
    stop: FloatArray,
    horizon: NDArray[np.int64],
    due: BoolArray,
    steps: int,
    gain: float,
    trailing: bool,
) -> FloatArray:
    rows, columns = side.shape
    shares = np.full((rows, columns), 1.0 / steps)
    for n in range(columns):
        held, level, last, best, until = 0, 0, np.nan, np.nan, -1
        distance = np.nan
        for t in range(rows):
            now = price[t, n]
            if held != 0 and np.isfinite(now):
                best = max(best, held * now) if trailing else best
                out = held * now <= best - abs(best) * distance
                left = close[t, n] if held > 0 else cover[t, n]
                if out or t >= until or (due[t] and left):
                    held = 0
            s = side[t, n]
            if s == 0 or not due[t] or not np.isfinite(now):
                continue
            if s != held:
                held, level, last, best = s, 1, now, s * now
            elif level < steps and s * (now / last - 1.0) >= gain:
                level, last = level + 1, now
            distance, until = stop[t, n], t + horizon[t, n]
            shares[t, n] = level / steps
    return shares

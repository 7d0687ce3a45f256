"""How rare a score is that was never seen: the decline of the upper tenth of what was."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

TAIL: Final = 0.1
"""Share of the scores that are in the tail."""

_LEAST_SCALE: Final = 0.25


def fitted_tail(score: FloatArray, window_bars: int) -> tuple[FloatArray, FloatArray]:
    """Return where the upper tenth of the scores ``(R, M)`` begins and its mean excess.

    Windows overlap and what they measure lingers: what counts is the number of episodes, runs above the start that are
    a window apart (Leadbetter 1983). The scale is one standard error of their mean above its estimate.
    """
    filled = np.where(np.isfinite(score), score, -np.inf)
    start = np.quantile(filled, 1.0 - TAIL, axis=0, method="lower")
    above = filled > start
    excess = np.where(above, filled - start, 0.0).sum(axis=0) / np.maximum(above.sum(axis=0), 1)
    episodes = np.array([_episodes(column, window_bars) for column in above.T])
    start = np.where(np.isfinite(start), start, 0.0)
    return start, np.maximum(excess * (1.0 + 1.0 / np.sqrt(np.maximum(episodes, 1))), _LEAST_SCALE)


def _episodes(above: NDArray[np.bool_], apart: int) -> int:
    rows = np.flatnonzero(above)
    return int(rows.size and 1 + (np.diff(rows) > apart).sum())


def tail_p(excess: FloatArray) -> FloatArray:
    """Return how rare scores are that lie so many scales beyond the start; one half below it, NaN where there is none.

    Nothing more is known below the tail.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        p = np.where(excess > 0, TAIL * np.exp(-excess), 0.5)
    return np.where(np.isnan(excess), np.nan, p)


def tail_excess(probability: float) -> float:
    """Return how many scales beyond the start a score of this rarity lies; nothing lies before the start."""
    return float(np.log(max(TAIL / probability, 1.0)))

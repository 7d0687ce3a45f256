"""The compiled step of the adaptive calibrator: one bar of the whole panel at a time.

Loops run bar by bar and horizon by horizon; nothing is kept that is not in the arrays handed in, and sums are made
in one fixed order, so any split of a block gives the same bits.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Weight of a new width in the slow average of a symbol's log width: a memory of a trading year.
USUAL_STEP = 0.004
#: Independent dates' worth of belief that a forecast means what it says, before memory takes over.
PRIOR_DATES = 30.0
#: Pull of a symbol's own width towards the pool, per step: shrinks what it would settle at by a fifth.
SHRINKAGE = 0.25
#: How strongly the repayment of coverage is moved to times of narrow forecasts, and its bounds.
COST_POWER = 1.5
COST_LOW, COST_HIGH = 0.1, 1.5


@numba.njit(cache=True)
def advance(
    first_bar: int,
    quantiles: FloatArray,
    outcomes: FloatArray,
    adjusted: FloatArray,
    pair: tuple[int, int],
    level: FloatArray,
    symbol: FloatArray,
    owed: FloatArray,
    dates: IntArray,
    usual: FloatArray,
    learnt: FloatArray,
    issued: FloatArray,
    path: FloatArray,
    path_ring: FloatArray,
    horizons: IntArray,
    control_step: FloatArray,
    levels: FloatArray,
    mirror: IntArray,
    score: FloatArray,
    gain: FloatArray,
    options: FloatArray,
) -> None:
    """Advance the state (in place) over a block and write the adjusted quantiles."""
    ring = len(path_ring)
    one = _index_of_one(horizons)
    for row in range(len(quantiles)):
        bar = first_bar + row
        if one >= 0:
            _extend_path(outcomes[row, :, one], path)
        for k in range(len(horizons)):
            if bar >= horizons[k]:
                made = (bar - horizons[k]) % ring
                _learn(
                    k, made, outcomes[row, :, k], pair, level, symbol, owed, dates, learnt, issued,
                    horizons, levels, mirror, gain, options,
                )  # fmt: skip
        slot = bar % ring
        path_ring[slot] = path
        for k in range(len(horizons)):
            _remember(k, slot, quantiles[row, :, k], level, symbol, learnt, score)
            debt = owed[k]
            if one >= 0:
                debt += _expected(k, bar, pair, horizons[k], learnt, issued, path_ring, levels, score)
            width = _control(k, debt, quantiles[row, :, k], pair, usual, control_step[k], gain, options[0])
            _issue(k, slot, width, learnt, issued, pair, score, adjusted[row, :, k])


@numba.njit(cache=True)
def _index_of_one(horizons: IntArray) -> int:
    for k in range(len(horizons)):
        if horizons[k] == 1:
            return k
    return -1


@numba.njit(cache=True)
def _extend_path(returns: FloatArray, path: FloatArray) -> None:
    for n in range(len(path)):
        if np.isfinite(returns[n]):
            path[n] += returns[n]


@numba.njit(cache=True)
def _learn(
    k: int,
    made: int,
    outcome: FloatArray,
    pair: tuple[int, int],
    level: FloatArray,
    symbol: FloatArray,
    owed: FloatArray,
    dates: IntArray,
    learnt: FloatArray,
    issued: FloatArray,
    horizons: IntArray,
    levels: FloatArray,
    mirror: IntArray,
    gain: FloatArray,
    options: FloatArray,
) -> None:
    """Learn from the outcomes of the forecasts made in one slot of the ring."""
    memory, skew, own, own_limit = options[1], options[2], options[3], options[4]
    width = len(levels)
    beyond = np.zeros(width)
    missed = 0.0
    learnt_misses = 0.0
    count = 0
    for n in range(len(outcome)):
        y = outcome[n]
        if not (np.isfinite(y) and np.isfinite(issued[made, k, n, 0])):
            continue
        count += 1
        missed += (y < issued[made, k, n, 0]) + (y > issued[made, k, n, 1])
        learnt_misses += (y < learnt[made, k, n, pair[0]]) + (y > learnt[made, k, n, pair[1]])
        for q in range(width):
            x = learnt[made, k, n, q]
            beyond[q] += (y > x) if levels[q] > 0.5 else (y < x)
    if count == 0:
        return
    owed[k] += missed / count - (1.0 - (levels[pair[1]] - levels[pair[0]]))
    dates[k] += 1
    pooled = learnt_misses / count
    step = max(memory, 1.0 / (PRIOR_DATES * horizons[k] + dates[k])) if memory > 0 else 0.0
    side = max(skew, 0.25 / (PRIOR_DATES * horizons[k] + dates[k])) if skew > 0 else 0.0
    _move_levels(level[k], beyond / count, levels, mirror, gain, step, side)
    if own > 0:
        _move_symbols(k, made, outcome, pair, pooled, symbol, learnt, issued, gain, own / horizons[k], own_limit)


@numba.njit(cache=True)
def _move_levels(
    level: FloatArray,
    beyond: FloatArray,
    levels: FloatArray,
    mirror: IntArray,
    gain: FloatArray,
    step: float,
    side: float,
) -> None:
    """Move every level by what it was missed too often: with its mirror at one speed, on its own at another."""
    for q in range(len(levels)):
        if levels[q] == 0.5:
            level[q] += side * (0.5 - beyond[q]) / 0.3989422804014327
            continue
        own = beyond[q] - min(levels[q], 1.0 - levels[q])
        other = beyond[mirror[q]] - min(levels[mirror[q]], 1.0 - levels[mirror[q]])
        level[q] += (step * 0.5 * (own + other) + side * 0.5 * (own - other)) / gain[q]


@numba.njit(cache=True)
def _move_symbols(
    k: int,
    made: int,
    outcome: FloatArray,
    pair: tuple[int, int],
    pooled: float,
    symbol: FloatArray,
    learnt: FloatArray,
    issued: FloatArray,
    gain: FloatArray,
    step: float,
    limit: float,
) -> None:
    """Move each symbol's own width by what it missed more often than the pool did on the same date."""
    for n in range(len(outcome)):
        y = outcome[n]
        if np.isfinite(y) and np.isfinite(issued[made, k, n, 0]):
            miss = 1.0 if y < learnt[made, k, n, pair[0]] or y > learnt[made, k, n, pair[1]] else 0.0
            moved = (1.0 - SHRINKAGE * step) * symbol[n, k] + step * (miss - pooled) / (2.0 * gain[pair[0]])
            symbol[n, k] = min(max(moved, -limit), limit)


@numba.njit(cache=True)
def _remember(
    k: int,
    slot: int,
    quantiles: FloatArray,
    level: FloatArray,
    symbol: FloatArray,
    learnt: FloatArray,
    score: FloatArray,
) -> None:
    """Write the memory layer's quantiles of this bar, in order, NaN where there is no forecast."""
    count, width = quantiles.shape
    middle = int(np.argmin(np.abs(score)))
    for n in range(count):
        if not np.isfinite(quantiles[n].sum()):
            learnt[slot, k, n, :] = np.nan
            continue
        median = quantiles[n, middle]
        spread = (quantiles[n, width - 1] - quantiles[n, 0]) / (score[width - 1] - score[0])
        centre = median + level[k, middle] * spread
        learnt[slot, k, n, middle] = centre
        for q in range(middle - 1, -1, -1):
            x = centre + math.exp(level[k, q] + symbol[n, k]) * (quantiles[n, q] - median)
            learnt[slot, k, n, q] = min(x, learnt[slot, k, n, q + 1])
        for q in range(middle + 1, width):
            x = centre + math.exp(level[k, q] + symbol[n, k]) * (quantiles[n, q] - median)
            learnt[slot, k, n, q] = max(x, learnt[slot, k, n, q - 1])


@numba.njit(cache=True)
def _expected(
    k: int,
    bar: int,
    pair: tuple[int, int],
    horizon: int,
    learnt: FloatArray,
    issued: FloatArray,
    path_ring: FloatArray,
    levels: FloatArray,
    score: FloatArray,
) -> float:
    """Return the misses now expected of the pending forecasts, less what was promised, summed over their bars."""
    ring, now = len(path_ring), bar % len(path_ring)
    promised = 1.0 - (levels[pair[1]] - levels[pair[0]])
    unit = score[pair[1]] - score[pair[0]]
    total = 0.0
    for age in range(1, min(horizon, bar + 1)):
        made = (bar - age) % ring
        left = (horizon - age) / horizon
        per_width = unit / math.sqrt(left)
        missed = 0.0
        count = 0
        for n in range(path_ring.shape[1]):
            low, high = issued[made, k, n, 0], issued[made, k, n, 1]
            below, above = learnt[now, k, n, pair[0]], learnt[now, k, n, pair[1]]
            if not (np.isfinite(low) and above > below):
                continue
            precision = per_width / (above - below)
            middle = path_ring[now, n] - path_ring[made, n] + left * 0.5 * (below + above)
            missed += 1.0 + _normal_cdf((low - middle) * precision) - _normal_cdf((high - middle) * precision)
            count += 1
        if count > 0:
            total += missed / count - promised
    return total


@numba.njit(cache=True)
def _normal_cdf(z: float) -> float:
    """Return the normal cdf to 2e-4 (Bowling et al. 2009), which is fast and enough for an expectation."""
    if abs(z) > 5.0:
        return 1.0 if z > 0.0 else 0.0
    return 1.0 / (1.0 + math.exp(z * (-1.5976 - 0.07056 * z * z)))


@numba.njit(cache=True)
def _control(
    k: int,
    debt: float,
    quantiles: FloatArray,
    pair: tuple[int, int],
    usual: FloatArray,
    step: float,
    gain: FloatArray,
    limit: float,
) -> float:
    """Return the log width by which to repay coverage, and let the symbols' usual width follow."""
    relative = 0.0
    count = 0
    for n in range(len(quantiles)):
        wide = quantiles[n, pair[1]] - quantiles[n, pair[0]]
        if wide > 0.0:
            now = math.log(wide)
            if not np.isfinite(usual[n, k]):
                usual[n, k] = now
            usual[n, k] += USUAL_STEP * (now - usual[n, k])
            relative += now - usual[n, k]
            count += 1
    cheap = math.exp(-COST_POWER * relative / count) if count > 0 else 1.0
    cheap = min(max(cheap, COST_LOW), COST_HIGH)
    return min(max(cheap * step * debt / (2.0 * gain[pair[0]]), -limit), limit)


@numba.njit(cache=True)
def _issue(
    k: int,
    slot: int,
    width: float,
    learnt: FloatArray,
    issued: FloatArray,
    pair: tuple[int, int],
    score: FloatArray,
    adjusted: FloatArray,
) -> None:
    """Write the calibrated quantiles: the memory layer's, wider or narrower by the control."""
    factor = math.exp(width)
    count, levels = adjusted.shape
    middle = int(np.argmin(np.abs(score)))
    for n in range(count):
        centre = learnt[slot, k, n, middle]
        for q in range(levels):
            adjusted[n, q] = centre + factor * (learnt[slot, k, n, q] - centre)
        issued[slot, k, n, 0] = adjusted[n, pair[0]]
        issued[slot, k, n, 1] = adjusted[n, pair[1]]

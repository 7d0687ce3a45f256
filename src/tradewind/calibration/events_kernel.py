"""The compiled step of the calibrator of events: one bar of the whole panel at a time.

Nothing is kept that is not in the arrays handed in, and every bar's map is fitted from the same start, so any split of
a block gives the same bits.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

METHODS = ("platt", "beta", "isotonic")
"""Names of the maps; their places are the codes that :func:`advance` takes."""

PLATT, BETA, ISOTONIC = range(3)
BINS = 100
ANCHORS = 20
"""Probabilities, evenly spread, at which the prior holds the shape of a map."""
SMALLEST = 1e-4
LEAST_WEIGHT = 1e-9
NEWTON_STEPS = 25
NEWTON_CLOSE = 1e-10
RIDGE = 1e-6
FAR = 50.0


@numba.njit(cache=True)
def advance(
    first_bar: int,
    probability: FloatArray,
    known: FloatArray,
    weight: FloatArray,
    forecast: FloatArray,
    happened: FloatArray,
    pending: FloatArray,
    decay: float,
    prior: float,
    method: int,
    calibrated: FloatArray,
) -> None:
    """Advance the state (in place) over a block and write the calibrated probabilities, NaN where there is none."""
    for row in range(len(probability)):
        slot = (first_bar + row) % len(pending)
        _learn(pending[slot], known[row], weight, forecast, happened, decay)
        if method == ISOTONIC:
            _isotonic_map(weight, forecast, happened, prior, probability[row], calibrated[row])
        else:
            _logistic_map(method, weight, forecast, happened, prior, probability[row], calibrated[row])
        pending[slot] = probability[row]


@numba.njit(cache=True)
def _learn(
    made: FloatArray, known: FloatArray, weight: FloatArray, forecast: FloatArray, happened: FloatArray, decay: float
) -> None:
    """Let the past fade and count what has come true: a date is one observation however many symbols it has."""
    seen, said, came = np.zeros(BINS), np.zeros(BINS), np.zeros(BINS)
    symbols = 0
    for n in range(len(made)):
        if math.isfinite(made[n]) and math.isfinite(known[n]):
            place = min(int(made[n] * BINS), BINS - 1)
            seen[place] += 1.0
            said[place] += made[n]
            came[place] += known[n]
            symbols += 1
    share = 1.0 / symbols if symbols else 0.0
    for place in range(BINS):
        weight[place] = decay * weight[place] + seen[place] * share
        forecast[place] = decay * forecast[place] + said[place] * share
        happened[place] = decay * happened[place] + came[place] * share


@numba.njit(cache=True)
def _logistic_map(
    method: int,
    weight: FloatArray,
    forecast: FloatArray,
    happened: FloatArray,
    prior: float,
    probability: FloatArray,
    calibrated: FloatArray,
) -> None:
    """Fit a logistic regression to the histogram, with pseudo-outcomes that agree with the forecasts as prior.

    Half of them lie where the forecasts do and hold the level, half everywhere and hold the shape: forecasts that
    are all alike say nothing about how others should be mapped. A shape that would turn the order round is left out.
    """
    filled = np.flatnonzero(weight > LEAST_WEIGHT)
    if not len(filled) or np.isnan(probability).all():
        calibrated[:] = probability
        return
    points, terms = len(filled) + ANCHORS, 2 if method == PLATT else 3
    x, weights, events = np.empty((points, terms)), np.empty(points), np.empty(points)
    total = 0.0
    for place in filled:
        total += weight[place]
    for i in range(points):
        if i < len(filled):
            place = filled[i]
            p = forecast[place] / weight[place]
            believed = 0.5 * prior * weight[place] / total
            weights[i], events[i] = weight[place] + believed, happened[place] + believed * p
        else:
            p = (i - len(filled) + 0.5) / ANCHORS
            weights[i] = 0.5 * prior / ANCHORS
            events[i] = weights[i] * p
        _terms(method, p, x[i])
    coefficients = _fitted(x, weights, events)
    row = np.empty(terms)
    for n in range(len(probability)):
        _terms(method, probability[n], row)
        calibrated[n] = _sigmoid(_product(row, coefficients))


@numba.njit(cache=True)
def _terms(method: int, p: float, row: FloatArray) -> None:
    """Write what the log odds are linear in; the last term is the constant. NaN stays NaN."""
    inner = p if math.isnan(p) else min(max(p, SMALLEST), 1.0 - SMALLEST)
    if method == PLATT:
        row[0], row[1] = math.log(inner) - math.log1p(-inner), 1.0
    else:
        row[0], row[1], row[2] = math.log(inner), -math.log1p(-inner), 1.0


@numba.njit(cache=True)
def _fitted(x: FloatArray, weights: FloatArray, events: FloatArray) -> FloatArray:
    """Return the coefficients, none of them negative but for the constant: those that would be are left out."""
    terms = x.shape[1]
    kept = np.ones(terms, dtype=np.bool_)
    while True:
        coefficients, turned = _newton(x, weights, events, kept), False
        for k in range(terms - 1):
            if coefficients[k] < 0.0:
                kept[k], turned = False, True
        if not turned:
            return coefficients


@numba.njit(cache=True)
def _newton(x: FloatArray, weights: FloatArray, events: FloatArray, kept: BoolArray) -> FloatArray:
    """Return the maximum-likelihood coefficients of the kept terms, 0 of the others.

    A whisper of ridge towards the identity, from which it starts, keeps them unique.
    """
    terms = np.flatnonzero(kept)
    size, last = len(terms), len(kept) - 1
    coefficients = np.zeros(len(kept))
    for k in terms[:-1]:
        coefficients[k] = 1.0
    slope, curvature = np.empty(size), np.empty((size, size))
    for _ in range(NEWTON_STEPS):
        curvature[:] = 0.0
        for a in range(size):
            slope[a] = RIDGE * ((0.0 if terms[a] == last else 1.0) - coefficients[terms[a]])
            curvature[a, a] = RIDGE
        for i in range(len(x)):
            chance = _sigmoid(_product(x[i], coefficients))
            missed, spread = events[i] - weights[i] * chance, weights[i] * chance * (1.0 - chance)
            for a in range(size):
                slope[a] += x[i, terms[a]] * missed
                for b in range(a + 1):
                    curvature[a, b] += x[i, terms[a]] * spread * x[i, terms[b]]
        move, longest = _solved(curvature, slope), 0.0
        for a in range(size):
            longest = max(longest, abs(move[a]))
        for a in range(size):
            coefficients[terms[a]] += move[a] / max(longest, 1.0)
        if longest < NEWTON_CLOSE:
            break
    return coefficients


@numba.njit(cache=True)
def _solved(matrix: FloatArray, right: FloatArray) -> FloatArray:
    """Return the solution of a few equations whose matrix is positive definite, by Cholesky on its lower half."""
    size = len(right)
    root, solution = np.zeros((size, size)), right.copy()
    for a in range(size):
        for b in range(a + 1):
            rest = matrix[a, b]
            for c in range(b):
                rest -= root[a, c] * root[b, c]
            root[a, b] = math.sqrt(rest) if a == b else rest / root[b, b]
        for c in range(a):
            solution[a] -= root[a, c] * solution[c]
        solution[a] /= root[a, a]
    for a in range(size - 1, -1, -1):
        for c in range(a + 1, size):
            solution[a] -= root[c, a] * solution[c]
        solution[a] /= root[a, a]
    return solution


@numba.njit(cache=True)
def _product(one: FloatArray, other: FloatArray) -> float:
    total = 0.0
    for k in range(len(one)):
        total += one[k] * other[k]
    return total


@numba.njit(cache=True)
def _sigmoid(log_odds: float) -> float:
    return log_odds if math.isnan(log_odds) else 1.0 / (1.0 + math.exp(-min(max(log_odds, -FAR), FAR)))


@numba.njit(cache=True)
def _isotonic_map(
    weight: FloatArray,
    forecast: FloatArray,
    happened: FloatArray,
    prior: float,
    probability: FloatArray,
    calibrated: FloatArray,
) -> None:
    """Pool the histogram, with a prior that agrees with it, and read between its levels."""
    filled = np.flatnonzero(weight > LEAST_WEIGHT)
    if not len(filled):
        calibrated[:] = probability
        return
    everybody = 0.0
    for place in filled:
        everybody += weight[place]
    p, level, mass = np.empty(len(filled)), np.empty(len(filled)), np.empty(len(filled))
    for i, place in enumerate(filled):
        believed = prior * weight[place] / everybody
        p[i], mass[i] = forecast[place] / weight[place], weight[place] + believed
        level[i] = (happened[place] + believed * p[i]) / mass[i]
    pool_adjacent_violators(level, mass)
    for n in range(len(probability)):
        calibrated[n] = _between(p, level, probability[n])


@numba.njit(cache=True)
def _between(x: FloatArray, y: FloatArray, at: float) -> float:
    """Return the line through the points at one place, level beyond their ends; NaN stays NaN."""
    if math.isnan(at) or at >= x[-1]:
        return at if math.isnan(at) else y[-1]
    right = 0
    while x[right] <= at:
        right += 1
    if right == 0:
        return y[0]
    slope = (y[right] - y[right - 1]) / (x[right] - x[right - 1])
    return y[right - 1] + slope * (at - x[right - 1])


@numba.njit(cache=True)
def pool_adjacent_violators(values: FloatArray, weights: FloatArray) -> None:
    """Turn values (in place) into the non-decreasing sequence that is nearest in weighted squares."""
    size, pools = len(values), 0
    means, masses, counts = np.empty(size), np.empty(size), np.empty(size, dtype=np.int64)
    for i in range(size):
        means[pools], masses[pools], counts[pools] = values[i], weights[i], 1
        pools += 1
        while pools > 1 and means[pools - 2] > means[pools - 1]:
            pools -= 1
            joined = masses[pools - 1] + masses[pools]
            means[pools - 1] = (means[pools - 1] * masses[pools - 1] + means[pools] * masses[pools]) / joined
            masses[pools - 1] = joined
            counts[pools - 1] += counts[pools]
    i = 0
    for pool in range(pools):
        for _ in range(counts[pool]):
            values[i] = means[pool]
            i += 1

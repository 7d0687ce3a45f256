"""Maximum likelihood of GARCH, GJR-GARCH and EGARCH with Student-t news: likelihood, gradient and search, compiled.

One call fits one series without the interpreter's lock, so threads scale. Returns are scaled to unit variance and
variances start from a backcast ``b``, an average of the first squared returns. Free numbers of a fit, ``(5,)``:

GARCH and GJR
    ``log V`` of the long-run variance, persistence ``p``, share ``u`` of the news in it, tilt ``s`` towards bad news
    (1/2 in GARCH) and one over the degrees of freedom:
    ``v[t+1] = (1 - p) V + 2 p u ((1 - s) [r > 0] + s [r < 0]) r[t]^2 + p (1 - u) v[t]``.
    The constraints of a stationary process are then a box, and what is poorly determined (V where p is near to 1,
    p where u is near to 0) does not bend the valleys of the likelihood.
EGARCH
    ``L``, ``alpha``, ``gamma``, ``beta`` and one over the degrees of freedom, with ``z = r / sqrt(v)`` (Nelson 1991):
    ``log v[t+1] = (1 - beta) L + alpha (|z[t]| - sqrt(2 / pi)) + gamma z[t] + beta log v[t]``.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

SQRT_2_PI = math.sqrt(2.0 / math.pi)
_FREE = 5
_FLAT, _ROUGHLY_FLAT = 1e-6, 1e-4
_IDLE_GAIN, _IDLE_STEPS = 1e-9, 5
_LOG_VARIANCE_LIMIT = 25.0


@njit(cache=True, nogil=True)
def natural(exponential: bool, free: FloatArray) -> FloatArray:
    """Return the weights ``(omega, of a gain's square, of a loss's, memory)`` or ``(omega, alpha, gamma, beta)``."""
    if exponential:
        return np.array([(1.0 - free[3]) * free[0], free[1], free[2], free[3]])
    p, u, s = free[1], free[2], free[3]
    return np.array([math.exp(free[0]) * (1.0 - p), 2.0 * p * u * (1.0 - s), 2.0 * p * u * s, p * (1.0 - u)])


@njit(cache=True, nogil=True)
def variance(exponential: bool, weights: FloatArray, returns: FloatArray, backcast: float) -> FloatArray:
    """Return the variance before each return and after the last, ``(n + 1,)``, of weights by :func:`natural`."""
    if exponential:
        return _egarch_variance(weights, returns, backcast)
    return _garch_variance(weights, returns, backcast)


@njit(cache=True, nogil=True)
def _garch_variance(weights: FloatArray, returns: FloatArray, backcast: float) -> FloatArray:
    omega, gain, loss, memory = weights
    path = np.empty(len(returns) + 1)
    path[0] = omega + (0.5 * (gain + loss) + memory) * backcast
    for t in range(len(returns)):
        x = returns[t]
        path[t + 1] = omega + (loss if x < 0 else gain) * x * x + memory * path[t]
    return path


@njit(cache=True, nogil=True)
def _egarch_variance(weights: FloatArray, returns: FloatArray, backcast: float) -> FloatArray:
    omega, alpha, gamma, beta = weights
    path = np.empty(len(returns) + 1)
    level = omega + beta * math.log(backcast)
    for t in range(len(returns) + 1):
        level = min(max(level, -_LOG_VARIANCE_LIMIT), _LOG_VARIANCE_LIMIT)
        path[t] = math.exp(level)
        if t < len(returns):
            z = returns[t] / math.sqrt(path[t])
            level = omega + alpha * (abs(z) - SQRT_2_PI) + gamma * z + beta * level
    return path


@njit(cache=True, nogil=True)
def digamma(x: float) -> float:
    """Return the derivative of ``log gamma`` (Abramowitz & Stegun 1964, 6.3.5 and 6.3.18)."""
    shift = 0.0
    while x < 8.0:
        shift -= 1.0 / x
        x += 1.0
    f = 1.0 / (x * x)
    return shift + math.log(x) - 0.5 / x - f * (1.0 / 12.0 - f * (1.0 / 120.0 - f * (1.0 / 252.0 - f / 240.0)))


@njit(cache=True, nogil=True)
def _garch_loss(free: FloatArray, returns: FloatArray, backcast: float, slope: FloatArray) -> float:
    """Return minus the mean log-likelihood; its gradient goes into ``slope``."""
    omega, gain, loss, memory = natural(False, free)
    freedom = 1.0 / free[4]
    half, room = 0.5 * (freedom + 1.0), freedom - 2.0
    v = omega + (0.5 * (gain + loss) + memory) * backcast
    d_omega, d_gain, d_loss, d_memory = 1.0, 0.5 * backcast, 0.5 * backcast, backcast
    s_omega = s_gain = s_loss = s_memory = s_tail = logs = tails = 0.0
    for t in range(len(returns)):
        x = returns[t]
        square = x * x
        q = square / (v * room)
        pull = half * q / (1.0 + q)
        logs += math.log(v)
        tails += math.log1p(q)
        s_tail += pull
        by_v = (0.5 - pull) / v
        s_omega += by_v * d_omega
        s_gain += by_v * d_gain
        s_loss += by_v * d_loss
        s_memory += by_v * d_memory
        bad = 1.0 if x < 0 else 0.0
        d_omega = 1.0 + memory * d_omega
        d_gain = (1.0 - bad) * square + memory * d_gain
        d_loss = bad * square + memory * d_loss
        d_memory = v + memory * d_memory
        v = omega + (gain + (loss - gain) * bad) * square + memory * v
    n = len(returns)
    p, u, s = free[1], free[2], free[3]
    news = 2.0 * ((1.0 - s) * s_gain + s * s_loss)
    slope[0] = omega * s_omega / n
    slope[1] = (u * news + (1.0 - u) * s_memory - math.exp(free[0]) * s_omega) / n
    slope[2] = p * (news - s_memory) / n
    slope[3] = 2.0 * p * u * (s_loss - s_gain) / n
    slope[4] = _slope_of_freedom(freedom, tails / n, s_tail / n)
    return 0.5 * logs / n + half * tails / n - _constant(freedom)


@njit(cache=True, nogil=True)
def _egarch_loss(free: FloatArray, returns: FloatArray, backcast: float, slope: FloatArray) -> float:
    """Return minus the mean log-likelihood; its gradient goes into ``slope``."""
    omega, alpha, gamma, beta = natural(True, free)
    freedom = 1.0 / free[4]
    half, room = 0.5 * (freedom + 1.0), freedom - 2.0
    level = omega + beta * math.log(backcast)
    d_omega, d_alpha, d_gamma, d_beta = 1.0, 0.0, 0.0, math.log(backcast)
    s_omega = s_alpha = s_gamma = s_beta = s_tail = logs = tails = 0.0
    for t in range(len(returns)):
        if abs(level) > _LOG_VARIANCE_LIMIT:
            level = min(max(level, -_LOG_VARIANCE_LIMIT), _LOG_VARIANCE_LIMIT)
            d_omega = d_alpha = d_gamma = d_beta = 0.0
        z = returns[t] * math.exp(-0.5 * level)
        q = z * z / room
        pull = half * q / (1.0 + q)
        logs += level
        tails += math.log1p(q)
        s_tail += pull
        by_level = 0.5 - pull
        s_omega += by_level * d_omega
        s_alpha += by_level * d_alpha
        s_gamma += by_level * d_gamma
        s_beta += by_level * d_beta
        keep = beta - 0.5 * (alpha * abs(z) + gamma * z)
        d_omega = 1.0 + keep * d_omega
        d_alpha = abs(z) - SQRT_2_PI + keep * d_alpha
        d_gamma = z + keep * d_gamma
        d_beta = level + keep * d_beta
        level = omega + alpha * (abs(z) - SQRT_2_PI) + gamma * z + beta * level
    n = len(returns)
    slope[0], slope[1], slope[2] = (1.0 - beta) * s_omega / n, s_alpha / n, s_gamma / n
    slope[3] = (s_beta - free[0] * s_omega) / n
    slope[4] = _slope_of_freedom(freedom, tails / n, s_tail / n)
    return 0.5 * logs / n + half * tails / n - _constant(freedom)


@njit(cache=True, nogil=True)
def _constant(freedom: float) -> float:
    return math.lgamma(0.5 * (freedom + 1.0)) - math.lgamma(0.5 * freedom) - 0.5 * math.log(math.pi * (freedom - 2.0))


@njit(cache=True, nogil=True)
def _slope_of_freedom(freedom: float, tails: float, pull: float) -> float:
    """Return the derivative of minus the mean log-likelihood by one over the degrees of freedom."""
    by_freedom = 0.5 * (digamma(0.5 * (freedom + 1.0)) - digamma(0.5 * freedom) - tails)
    by_freedom += (pull - 0.5) / (freedom - 2.0)
    return by_freedom * freedom * freedom


@njit(cache=True, nogil=True)
def loss(exponential: bool, free: FloatArray, returns: FloatArray, backcast: float, slope: FloatArray) -> float:
    """Return minus the mean log-likelihood of scaled returns; its gradient ``(5,)`` goes into ``slope``."""
    if exponential:
        return _egarch_loss(free, returns, backcast, slope)
    return _garch_loss(free, returns, backcast, slope)


@njit(cache=True, nogil=True)
def search(
    exponential: bool,
    starts: FloatArray,
    box: FloatArray,
    scale: FloatArray,
    returns: FloatArray,
    backcast: float,
    most_steps: int,
) -> tuple[FloatArray, float, bool]:
    """Return the free numbers of the greatest likelihood, minus its mean logarithm, and whether that search ended.

    Each of the ``starts`` ``(S, 5)`` is improved; short series have several summits.

    Parameters
    ----------
    box
        ``(2, 5)`` lowest and highest values; equal ones hold a number fixed.
    scale
        ``(5,)`` diagonal of the first inverse Hessian.
    most_steps
        Steps of one search.
    """
    best, least, arrived = starts[0].copy(), np.inf, False
    for i in range(len(starts)):
        found, value, ended = _descend(exponential, starts[i], box, scale, returns, backcast, most_steps)
        if value < least:
            best, least, arrived = found, value, ended
    return best, least, arrived


@njit(cache=True, nogil=True)
def _descend(
    exponential: bool,
    start: FloatArray,
    box: FloatArray,
    scale: FloatArray,
    returns: FloatArray,
    backcast: float,
    most_steps: int,
) -> tuple[FloatArray, float, bool]:
    """Projected BFGS (Bertsekas 1982): numbers at a wall that push against it are held, the others move.

    It ends where the slope is flat, or where several steps together gain nothing that a likelihood could tell.
    """
    here, slope, ahead = start.copy(), np.empty(_FREE), np.empty(_FREE)
    value = loss(exponential, here, returns, backcast, slope)
    inverse, held, idle = np.diag(scale), np.zeros(_FREE, np.bool_), 0
    for _ in range(most_steps):
        now = ((here <= box[0]) & (slope > 0)) | ((here >= box[1]) & (slope < 0)) | (box[0] == box[1])
        pushing = np.max(np.abs(np.where(now, 0.0, slope)))
        if pushing < _FLAT:
            return here, value, True
        if not np.array_equal(now, held):
            inverse, held = np.diag(scale), now
        direction = np.where(held, 0.0, -(inverse @ np.where(held, 0.0, slope)))
        if direction @ slope >= 0.0:
            inverse = np.diag(scale)
            direction = np.where(held, 0.0, -scale * slope)
        length, lower, there = 1.0, np.inf, here
        for _ in range(30):
            there = np.minimum(np.maximum(here + length * direction, box[0]), box[1])
            lower = loss(exponential, there, returns, backcast, ahead)
            if np.isfinite(lower) and lower <= value + 1e-4 * (slope @ (there - here)):
                break
            length *= 0.4
        else:
            return here, value, pushing < _ROUGHLY_FLAT
        _learn(inverse, there - here, ahead - slope)
        idle = idle + 1 if value - lower < _IDLE_GAIN else 0
        here, value = there, lower
        slope[:] = ahead
        if idle == _IDLE_STEPS:
            return here, value, True
    return here, value, False


@njit(cache=True, nogil=True)
def _learn(inverse: FloatArray, moved: FloatArray, turned: FloatArray) -> None:
    """Update the inverse Hessian in place (Nocedal & Wright 2006, 6.17); a step without curvature teaches nothing."""
    curvature = moved @ turned
    if curvature <= 1e-14:
        return
    product = inverse @ turned
    weight = (1.0 + (turned @ product) / curvature) / curvature
    for i in range(_FREE):
        for j in range(_FREE):
            inverse[i, j] += weight * moved[i] * moved[j] - (product[i] * moved[j] + moved[i] * product[j]) / curvature

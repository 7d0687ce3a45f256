"""A predictive distribution from a handful of its quantiles: cdf, any quantile, mean, samples, PIT.

Between the given levels the quantile function is linear in the *scores* of a reference distribution (normal,
or Student-t), so quantiles of that family are reproduced exactly; beyond them it goes on with the outermost
slope, or with an exponential tail. All functions work along the last axis and keep the leading ones: ``(T, N,
H, Q)`` in, ``(T, N, H)`` or ``(T, N, H, K)`` out. Missing quantiles give missing results.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradewind.errors import InputError

FloatArray = NDArray[np.float64]
Tail = Literal["normal", "t", "exponential"]

#: Degrees of freedom of the Student-t scores; daily stock returns sit between 3 and 6.
DEFAULT_DF = 5.0


@dataclass(frozen=True)
class QuantileGrid:
    """Levels and the family by which to read between and beyond them.

    Attributes
    ----------
    levels
        Levels in (0, 1), rising, at least two.
    tail
        ``normal`` and ``t`` use those scores inside and outside; ``exponential`` uses normal scores inside
        and an exponential tail whose rate joins the outermost two quantiles of that side.
    df
        Degrees of freedom for ``t``; above 1, so that a mean exists.
    """

    levels: tuple[float, ...]
    tail: Tail = "t"
    df: float = DEFAULT_DF

    def __post_init__(self) -> None:
        """Refuse grids that define no distribution."""
        p = np.asarray(self.levels)
        if p.size < 2 or not bool(np.all((p > 0) & (p < 1))) or bool(np.any(np.diff(p) <= 0)):
            raise InputError(f"a quantile grid needs two or more rising levels inside (0, 1), got {self.levels}")
        if self.tail not in ("normal", "t", "exponential"):
            raise InputError(f"unknown tail {self.tail!r}", hint="use 'normal', 't' or 'exponential'")
        if self.df <= 1.0:
            raise InputError(f"df is {self.df}, a mean needs more than 1")

    def score(self, probability: ArrayLike) -> FloatArray:
        """Return the reference distribution's quantile of each probability."""
        from scipy import special

        p = np.asarray(probability, dtype=np.float64)
        return np.asarray(special.stdtrit(self.df, p) if self.tail == "t" else special.ndtri(p))

    def probability(self, score: ArrayLike) -> FloatArray:
        """Return the reference distribution's probability below each score."""
        from scipy import special

        z = np.asarray(score, dtype=np.float64)
        return np.asarray(special.stdtr(self.df, z) if self.tail == "t" else special.ndtr(z))


def grid(levels: Sequence[float], tail: Tail = "t", df: float = DEFAULT_DF) -> QuantileGrid:
    """Return the :class:`QuantileGrid` of these levels."""
    return QuantileGrid(tuple(float(p) for p in levels), tail, df)


def cdf(quantiles: ArrayLike, threshold: ArrayLike, on: QuantileGrid) -> FloatArray:
    """Return ``P(r <= threshold)``.

    Parameters
    ----------
    quantiles
        ``(..., Q)``, never crossing.
    threshold
        Broadcasts against the leading axes ``(...)``.
    """
    q = np.asarray(quantiles, dtype=np.float64)
    x = np.broadcast_to(np.asarray(threshold, dtype=np.float64), q.shape[:-1])
    left, right = _segment(q, x)
    z = on.score(on.levels)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        a, b = _take(q, left), _take(q, right)
        share = (x - a) / (b - a)
        below = on.probability(z[left] + share * (z[right] - z[left]))
        if on.tail == "exponential":
            below = _exponential_cdf(below, q, x, on)
    step = np.where(x >= b, np.asarray(on.levels)[right], np.asarray(on.levels)[left])
    return np.where(np.isfinite(q).all(axis=-1) & np.isfinite(x), np.where(b > a, below, _outside(step, q, x)), np.nan)


def probability_above(quantiles: ArrayLike, threshold: ArrayLike, on: QuantileGrid) -> FloatArray:
    """Return ``P(r > threshold)``, see :func:`cdf`."""
    return 1.0 - cdf(quantiles, threshold, on)


def pit(quantiles: ArrayLike, outcome: ArrayLike, on: QuantileGrid) -> FloatArray:
    """Return the probability integral transform of what happened; uniform where calibrated."""
    return cdf(quantiles, outcome, on)


def log_density(quantiles: ArrayLike, outcome: ArrayLike, on: QuantileGrid) -> FloatArray:
    """Return the log of the predictive density at what happened, ``(...)``; of :func:`cdf`'s distribution.

    Levels closer together than a thousandth of the outermost ones' distance count as that far apart: a density that
    is infinite at a point would decide every comparison. NaN where all levels coincide. ``normal`` and ``t`` only.
    """
    if on.tail == "exponential":
        raise InputError("the log density is not defined for exponential tails", hint="use tail 't' or 'normal'")
    q = np.asarray(quantiles, dtype=np.float64)
    x = np.broadcast_to(np.asarray(outcome, dtype=np.float64), q.shape[:-1])
    left, right = _segment(q, x)
    z = on.score(on.levels)
    reach = q[..., -1] - q[..., 0]
    a, step = _take(q, left), z[right] - z[left]
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = step / np.maximum(_take(q, right) - a, 1e-3 * reach)
        score = z[left] + (x - a) * slope
        density = _log_reference(score, on) + np.log(slope)
    return np.where(np.isfinite(q).all(axis=-1) & np.isfinite(x) & (reach > 0), density, np.nan)


def _log_reference(score: FloatArray, on: QuantileGrid) -> FloatArray:
    """Return the log density of the reference distribution."""
    if on.tail == "normal":
        return np.asarray(-0.5 * score**2 - 0.5 * math.log(2.0 * math.pi))
    half = 0.5 * (on.df + 1.0)
    constant = math.lgamma(half) - math.lgamma(0.5 * on.df) - 0.5 * math.log(on.df * math.pi)
    return np.asarray(constant - half * np.log1p(score**2 / on.df))


def quantile(quantiles: ArrayLike, probability: ArrayLike, on: QuantileGrid) -> FloatArray:
    """Return the quantiles at other probabilities.

    Parameters
    ----------
    quantiles
        ``(..., Q)``.
    probability
        ``(K,)`` for the same probabilities everywhere, or ``(..., K)``.

    Returns
    -------
    ``(..., K)``.
    """
    q = np.asarray(quantiles, dtype=np.float64)
    p = np.asarray(probability, dtype=np.float64)
    if bool(np.any((p <= 0) | (p >= 1))):
        raise InputError("probabilities must lie strictly inside (0, 1)")
    p = np.broadcast_to(p, (*q.shape[:-1], p.shape[-1]))
    levels = np.asarray(on.levels)
    left = np.clip(np.searchsorted(levels, p, side="right") - 1, 0, len(levels) - 2)
    z = on.score(levels)
    a, b = np.take_along_axis(q, left, axis=-1), np.take_along_axis(q, left + 1, axis=-1)
    x = a + (b - a) * (on.score(p) - z[left]) / (z[left + 1] - z[left])
    return _exponential_quantile(x, q, p, on) if on.tail == "exponential" else x


def mean(quantiles: ArrayLike, on: QuantileGrid) -> FloatArray:
    """Return the mean, ``(...)``: a fixed weighting of the quantiles (:func:`mean_weights`)."""
    return np.asarray(np.asarray(quantiles, dtype=np.float64) @ mean_weights(on))


def mean_weights(on: QuantileGrid) -> FloatArray:
    """Return the weights ``(Q,)`` with which the quantiles add up to the mean, exactly, tails included."""
    levels, z = np.asarray(on.levels), on.score(on.levels)
    inner = _Piece(levels, z, on)
    weights = np.zeros(len(levels))
    for left in range(len(levels) - 1):
        weights += inner.between(left, levels[left], levels[left + 1])
    if on.tail == "exponential":
        return weights + _exponential_mean_weights(levels)
    return weights + inner.between(0, 0.0, levels[0]) + inner.between(len(levels) - 2, levels[-1], 1.0)


def sample(quantiles: ArrayLike, count: int, generator: np.random.Generator, on: QuantileGrid) -> FloatArray:
    """Return ``count`` independent draws, ``(..., count)``."""
    q = np.asarray(quantiles, dtype=np.float64)
    uniform = generator.uniform(np.nextafter(0.0, 1.0), 1.0, size=(*q.shape[:-1], count))
    return quantile(q, uniform, on)


@dataclass(frozen=True)
class _Piece:
    """Integrals of one linear-in-score piece of the quantile function over a stretch of probabilities."""

    levels: FloatArray
    z: FloatArray
    on: QuantileGrid

    def between(self, left: int, low: float, high: float) -> FloatArray:
        """Return the quantiles' weights in ``∫_low^high Q(p) dp`` on the piece that starts at ``left``."""
        span = self.z[left + 1] - self.z[left]
        area = _score_integral(high, self.on) - _score_integral(low, self.on)
        share = (area - self.z[left] * (high - low)) / span
        weights = np.zeros(len(self.levels))
        weights[left], weights[left + 1] = (high - low) - share, share
        return weights


def _score_integral(p: float, on: QuantileGrid) -> float:
    """Return ``∫_0^p score(u) du``, in closed form for normal and Student-t."""
    from scipy import stats

    if p <= 0.0 or p >= 1.0:
        return 0.0
    z = float(on.score(p))
    if on.tail == "t":
        return -float(stats.t.pdf(z, on.df)) * (on.df + z * z) / (on.df - 1.0)
    return -float(stats.norm.pdf(z))


def _segment(q: FloatArray, x: FloatArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the quantile left and right of ``x`` (the outermost pair beyond the ends)."""
    with np.errstate(invalid="ignore"):
        left = np.clip((q <= x[..., None]).sum(axis=-1) - 1, 0, q.shape[-1] - 2)
    return left, left + 1


def _take(q: FloatArray, index: NDArray[np.int64]) -> FloatArray:
    return np.asarray(np.take_along_axis(q, index[..., None], axis=-1)[..., 0])


def _outside(step: FloatArray, q: FloatArray, x: FloatArray) -> FloatArray:
    """Where the outermost two quantiles coincide there is no tail: nothing lies beyond them."""
    return np.where(x < q[..., 0], 0.0, np.where(x > q[..., -1], 1.0, step))


def _tail_rates(q: FloatArray, levels: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the scale of the lower and of the upper exponential tail, ``(...)`` each."""
    lower = (q[..., 1] - q[..., 0]) / np.log(levels[1] / levels[0])
    upper = (q[..., -1] - q[..., -2]) / np.log((1.0 - levels[-2]) / (1.0 - levels[-1]))
    return lower, upper


def _exponential_cdf(inside: FloatArray, q: FloatArray, x: FloatArray, on: QuantileGrid) -> FloatArray:
    levels = np.asarray(on.levels)
    lower, upper = _tail_rates(q, levels)
    below = levels[0] * np.exp((x - q[..., 0]) / lower)
    above = 1.0 - (1.0 - levels[-1]) * np.exp(-(x - q[..., -1]) / upper)
    return np.where(x < q[..., 0], below, np.where(x > q[..., -1], above, inside))


def _exponential_quantile(inside: FloatArray, q: FloatArray, p: FloatArray, on: QuantileGrid) -> FloatArray:
    levels = np.asarray(on.levels)
    lower, upper = _tail_rates(q, levels)
    below = q[..., :1] + lower[..., None] * np.log(p / levels[0])
    above = q[..., -1:] - upper[..., None] * np.log((1.0 - p) / (1.0 - levels[-1]))
    return np.where(p < levels[0], below, np.where(p > levels[-1], above, inside))


def _exponential_mean_weights(levels: FloatArray) -> FloatArray:
    """Return the weights of both tails: mass times (outermost quantile -/+ the tail's scale)."""
    weights = np.zeros(len(levels))
    low, high = levels[0], 1.0 - levels[-1]
    reach = low / np.log(levels[1] / levels[0])
    weights[0] += low + reach
    weights[1] -= reach
    reach = high / np.log((1.0 - levels[-2]) / high)
    weights[-1] += high + reach
    weights[-2] -= reach
    return weights

"""Every pair of a window tested for cointegration at once.

The residuals of a regression of one log price on another are a combination of the two, and so are their lags. All
that an augmented Dickey–Fuller regression or Johansen's procedure needs of a pair are therefore entries of one matrix
of cross products of all names (one matrix product for the whole window), and each pair costs a few small solves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradewind.decisions.pairs.unit_root import p_value
from tradewind.errors import InputError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

JOHANSEN_TRACE_5 = 15.4943
"""5 % critical value of the trace statistic of two series with a free constant, no cointegration against any
(MacKinnon, Haug & Michelis 1999, table II)."""

_SAME = 1e-9
"""Share of its variance below which the residual of a name on another is rounding: they are one series."""

_PORTION = 100_000


@dataclass(frozen=True, eq=False)
class Screen:
    """The tests of ``P`` pairs over one window. NaN where a pair could not be tested.

    Attributes
    ----------
    legs
        ``(P, 2)`` columns: the dependent leg, then the one that it is regressed on.
    hedge_ratio, intercept
        ``(P,)`` of ``log dependent = intercept + hedge_ratio log other`` by least squares.
    sigma
        ``(P,)`` standard deviation of its residual, the spread, over the window.
    t, p
        ``(P,)`` Engle–Granger statistic of the stronger direction, and its p-value doubled, as both were looked at.
    p_reverse
        ``(P,)`` p-value of the weaker direction. Where a leg returns to a mean by itself, anything regressed out of it
        leaves a spread that does; the reverse regression leaves the other leg, which does not.
    johansen
        ``(P,)`` trace statistic of no cointegration.
    half_life
        ``(P,)`` bars until half of a deviation is gone, by a first-order autoregression of the spread; infinite where
        it does not return.
    """

    legs: IntArray
    hedge_ratio: FloatArray
    intercept: FloatArray
    sigma: FloatArray
    t: FloatArray
    p: FloatArray
    p_reverse: FloatArray
    johansen: FloatArray
    half_life: FloatArray

    @property
    def tests(self) -> int:
        """Return how many pairs could be tested."""
        return int(np.isfinite(self.p).sum())


def all_pairs(columns: IntArray) -> IntArray:
    """Return every pair of these columns once, ``(P, 2)``."""
    first, second = np.triu_indices(len(columns), 1)
    return np.stack([columns[first], columns[second]], axis=1).astype(np.int64)


def screen(log_price: FloatArray, pairs: IntArray, lags: int = 1) -> Screen:
    """Test pairs for cointegration, Engle–Granger and Johansen, over one window.

    Both directions of the regression are tested, the stronger one counts, and its p-value is doubled for having looked
    twice (Bonferroni): the order of the columns does not matter, and the size is at most the nominal one. Taking one
    direction by a rule of its own (the leg that varies more explained by the other) looks at one too, but rejects half
    as often as it may, and finds fewer of the pairs there are.

    Parameters
    ----------
    log_price
        ``(B, N)`` finite in the columns of the pairs, oldest bar first.
    pairs
        ``(P, 2)`` column numbers.
    lags
        Lagged changes in the regressions, one number for all pairs: choosing it pair by pair would be a search of
        its own.

    Returns
    -------
    Screen
        A pair whose residual is rounding (one series under two names) or whose leg did not move is not tested.

    Notes
    -----
    Engle & Granger (1987); Johansen (1991) with an unrestricted constant.

    Raises
    ------
    InputError
        A window too short for the lags, or a gap in it.
    """
    bars, _ = log_price.shape
    if bars < 5 * (lags + 2):
        raise InputError(f"{bars} bars are too few to test with {lags} lags", hint="lengthen the window")
    used, inverse = np.unique(pairs, return_inverse=True)
    x = log_price[:, used]
    if not np.isfinite(x).all():
        raise InputError("log prices with gaps cannot be tested", hint="leave out names that lack a bar of the window")
    mean = x.mean(axis=0)
    moments = _Moments.of(x - mean, lags)
    local = inverse.reshape(pairs.shape).astype(np.int64)
    parts = [_screened(moments, local[rows]) for rows in _portions(len(pairs))]
    swap, slope, sigma, t, weaker, trace, half_life = (np.concatenate(part) for part in zip(*parts, strict=True))
    legs = np.where(swap[:, None], local[:, ::-1], local)
    intercept = mean[legs[:, 0]] - slope * mean[legs[:, 1]]
    p = np.minimum(2.0 * p_value(t, 2), 1.0)
    return Screen(used[legs], slope, intercept, sigma, t, p, p_value(weaker, 2), trace, half_life)


def still_cointegrated(log_price: FloatArray, found: Screen, lags: int = 1) -> FloatArray:
    """Return p-values of a unit root in the spreads of later bars, their hedge ratios as found, ``(P,)``.

    The ratio was fixed before, so that the spread is a given series and, were the pair not cointegrated, the test
    would reject in 5 % of the cases at 5 %: what chance alone lets survive. NaN where a leg lacks a bar.
    """
    legs = found.legs
    whole = np.asarray(np.isfinite(log_price).all(axis=0))
    known = np.asarray(whole[legs].all(axis=1) & np.isfinite(found.hedge_ratio))
    result = np.full(len(legs), np.nan)
    if not known.any():
        return result
    used, inverse = np.unique(legs[known], return_inverse=True)
    x = log_price[:, used]
    moments = _Moments.of(x - x.mean(axis=0), lags)
    local, slope = inverse.reshape(-1, 2), found.hedge_ratio[known]
    parts = [moments.spread(local[rows], slope[rows], centred=True) for rows in _portions(len(local))]
    t = np.concatenate([_dickey_fuller(part, moments.rows - 1) for part in parts])
    result[known] = p_value(t, 1)
    return result


@dataclass(frozen=True, eq=False)
class _Moments:
    """Cross products over the bars that have all lags: of changes, levels before them, and earlier changes.

    ``product (L + 2, L + 2, N, N)``, ``total (L + 2, N)``; ``variance (N, N)`` of the levels over all bars.
    """

    product: FloatArray
    total: FloatArray
    covariance: FloatArray
    rows: int

    @classmethod
    def of(cls, x: FloatArray, lags: int) -> _Moments:
        change = np.diff(x, axis=0)
        rows = len(x) - lags - 1
        parts = [change[lags:], x[lags:-1], *(change[lags - k : len(change) - k] for k in range(1, lags + 1))]
        wide = np.concatenate(parts, axis=1)
        count, symbols = lags + 2, x.shape[1]
        product = (wide.T @ wide).reshape(count, symbols, count, symbols).transpose(0, 2, 1, 3)
        return cls(product, wide.sum(axis=0).reshape(count, symbols), x.T @ x / len(x), rows)

    def between(self, i: IntArray, j: IntArray, centred: bool) -> FloatArray:
        """Return the products of leg i with leg j, ``(P, L + 2, L + 2)``; ``centred`` takes a constant out."""
        raw = np.moveaxis(self.product[:, :, i, j], 2, 0)
        if not centred:
            return raw
        return np.asarray(raw - self.total[:, i].T[:, :, None] * self.total[:, j].T[:, None, :] / self.rows)

    def spread(self, legs: IntArray, slope: FloatArray, *, centred: bool) -> FloatArray:
        """Return the products of the spread with itself, ``(P, L + 2, L + 2)``."""
        i, j, b = legs[:, 0], legs[:, 1], slope[:, None, None]
        cross = self.between(i, j, centred)
        own, other = self.between(i, i, centred), self.between(j, j, centred)
        return np.asarray(own - b * (cross + cross.transpose(0, 2, 1)) + b**2 * other)


def _portions(count: int) -> Iterator[slice]:
    return (slice(start, start + _PORTION) for start in range(0, max(count, 1), _PORTION))


def _screened(moments: _Moments, legs: IntArray) -> tuple[NDArray[np.generic], ...]:
    """Return swap, slope, deviation, stronger and weaker t, trace statistic and half-life of pairs."""
    t, products = np.empty((2, len(legs))), []
    slope, sigma = np.empty((2, len(legs))), np.empty((2, len(legs)))
    for way, ordered in enumerate((legs, legs[:, ::-1])):
        slope[way], sigma[way] = _regressed(moments.covariance, ordered)
        products.append(moments.spread(ordered, slope[way], centred=False))
        t[way] = _dickey_fuller(products[way], moments.rows)
    t = np.where(np.isfinite(t).all(axis=0), t, np.nan)
    swap = t[1] < t[0]
    chosen = np.where(swap[:, None, None], products[1], products[0])
    slope, sigma = (np.where(swap, values[1], values[0]) for values in (slope, sigma))
    tested = np.isfinite(t[0])
    trace = np.where(tested, _trace(moments, legs), np.nan)
    return swap, slope, sigma, t.min(axis=0), t.max(axis=0), trace, np.where(tested, _half_life(chosen), np.nan)


def _regressed(covariance: FloatArray, legs: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return the slope of the first leg on the second and the deviation of what is left; NaN where nothing is."""
    i, j = legs[:, 0], legs[:, 1]
    own, other, both = covariance[i, i], covariance[j, j], covariance[i, j]
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = both / other
        left = own - both * slope
    fine = (left > _SAME * own) & (own > 0) & (other > 0)
    return np.where(fine, slope, np.nan), np.sqrt(np.where(fine, left, np.nan))


def _dickey_fuller(products: FloatArray, freedom: int) -> FloatArray:
    """Return t of the level in a regression of the change on the level and earlier changes, ``(P,)``."""
    fine = np.asarray(np.isfinite(products).all(axis=(1, 2)))
    safe = np.where(fine[:, None, None], products, np.eye(products.shape[1]))
    inverse = np.linalg.pinv(safe[:, 1:, 1:], hermitian=True)
    effect = np.einsum("pab,pb->pa", inverse, safe[:, 1:, 0])
    left = safe[:, 0, 0] - np.einsum("pa,pa->p", effect, safe[:, 1:, 0])
    variance = left / (freedom - effect.shape[1]) * inverse[:, 0, 0]
    fine &= variance > 0
    return np.where(fine, effect[:, 0] / np.sqrt(np.where(fine, variance, 1.0)), np.nan)


def _half_life(products: FloatArray) -> FloatArray:
    """Return ln 2 / -ln(1 + λ) with λ of ``Δu = λ u + e`` (Ornstein–Uhlenbeck sampled by bar), ``(P,)``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        kept = 1.0 + products[:, 0, 1] / products[:, 1, 1]
        life = np.log(2.0) / -np.log(kept)
    return np.where(np.isfinite(kept), np.where(kept <= 0, 0.0, np.where(kept < 1, life, np.inf)), np.nan)


def _trace(moments: _Moments, legs: IntArray) -> FloatArray:
    """Return Johansen's trace statistic of no cointegration: ``-n Σ ln(1 - λ)`` over both eigenvalues, ``(P,)``."""
    blocks = [[moments.between(legs[:, a], legs[:, b], True) for b in (0, 1)] for a in (0, 1)]
    whole = np.stack([np.stack(row, axis=-1) for row in blocks], axis=-2)  # (P, L + 2, L + 2, leg, leg)
    part = whole.transpose(0, 1, 3, 2, 4)
    count = part.shape[1]
    flat = part.reshape(len(legs), 2 * count, 2 * count)
    left = flat[:, :4, :4] - flat[:, :4, 4:] @ np.linalg.pinv(flat[:, 4:, 4:], hermitian=True) @ flat[:, 4:, :4]
    change, level, cross = left[:, :2, :2], left[:, 2:, 2:], left[:, :2, 2:]
    # ln det(1 - A⁻¹ B D⁻¹ Bᵀ) = ln det [A B; Bᵀ D] - ln det A - ln det D, with no eigenvalue ever computed
    log_det = [np.linalg.slogdet(matrix) for matrix in (left, change, level)]
    fine = np.all([sign > 0 for sign, _ in log_det], axis=0) & np.isfinite(cross).all(axis=(1, 2))
    return np.where(fine, -moments.rows * (log_det[0][1] - log_det[1][1] - log_det[2][1]), np.nan)

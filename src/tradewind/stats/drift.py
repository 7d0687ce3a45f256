"""How far two samples of many features lie apart: PSI, Jensen–Shannon, Kolmogorov–Smirnov, Wasserstein; all at once.

A feature is a column; a missing value is a value of its own (a bin of counts, a share of samples), never left out
unsaid. Distances from counts suit a fold that counts; the others are exact, from the samples themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradewind.errors import InputError

FloatArray = NDArray[np.float64]
CountArray = NDArray[np.int64]

BINS = 20


def quantile_edges(reference: ArrayLike, bins: int = BINS) -> FloatArray:
    """Return the inner edges ``(F, bins - 1)`` that cut each feature of ``(n, F)`` into equal shares.

    Bin ``b`` holds ``edge[b-1] <= x < edge[b]``. Edges of a feature that takes few values coincide: bins between them
    stay empty. All NaN where nothing is known.
    """
    if bins < 2:
        raise InputError(f"{bins} bins tell nothing apart, take 2 or more")
    x = np.asarray(reference)
    level = np.arange(1, bins) / bins
    edges = np.full((x.shape[1], bins - 1), np.nan)
    for column in range(x.shape[1]):
        known = x[:, column][np.isfinite(x[:, column])]
        if known.size:
            edges[column] = np.quantile(known.astype(np.float64), level)
    return edges


def population_stability(expected: ArrayLike, observed: ArrayLike) -> FloatArray:
    """Return the population stability index of counts ``(..., B)``: ``Σ (q - p) log(q / p)`` over shares of bins.

    No share is zero: each expected bin counts half a value more (Jeffreys's prior), and the observed ones together half
    a value for each bin more, spread as is expected; so an index of two samples that lie in one bin is zero.

    Of ``n`` and ``m`` values without any change it is about ``(K - 1) (1 / n + 1 / m)`` for ``K`` bins that hold
    anything, and not zero (it is then close to a chi-square variable times ``1 / n + 1 / m``: Yurdakul & Naranjo 2020).
    That is taken off, so that it is about zero, above or below, where nothing changed and the values are independent.
    Dependent ones vary more than that, by what only data of the same kind can say.
    """
    x, y = np.asarray(expected, dtype=np.float64), np.asarray(observed, dtype=np.float64)
    n, m = x.sum(axis=-1), y.sum(axis=-1)
    bins = x.shape[-1]
    p = (x + 0.5) / (n + bins / 2.0)[..., None]
    q = (y + p * (bins / 2.0)) / (m + bins / 2.0)[..., None]
    held = ((x > 0) | (y > 0)).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        bias = np.maximum(held - 1, 0) * (1.0 / n + 1.0 / m)
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=-1) - bias)


def jensen_shannon(expected: ArrayLike, observed: ArrayLike) -> FloatArray:
    """Return the Jensen–Shannon divergence of counts ``(..., B)`` in bits: 0 for equal shares, 1 for disjoint ones.

    Not smoothed; NaN where one side is empty. Its root is a metric (Endres & Schindelin 2003).
    """
    p, q = _plain(expected), _plain(observed)
    middle = (p + q) / 2.0
    return np.asarray((_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2.0)


def _plain(counts: ArrayLike) -> FloatArray:
    held = np.asarray(counts, dtype=np.float64)
    total = held.sum(axis=-1, keepdims=True)
    return np.divide(held, total, out=np.full(held.shape, np.nan), where=total > 0)


def _relative_entropy(p: FloatArray, q: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(p == 0, 0.0, p * np.log2(p / q)).sum(axis=-1))


def binned_kolmogorov_smirnov(expected: ArrayLike, observed: ArrayLike) -> FloatArray:
    """Return the largest distance of two distributions at the edges of bins ``(..., B)``; without the bin of missing.

    Never above the statistic of the samples, and below it by at most the share of one bin. NaN where a side is empty.
    """
    gap = np.cumsum(_plain(expected) - _plain(observed), axis=-1)
    return np.asarray(np.abs(gap).max(axis=-1))


@dataclass(frozen=True, slots=True)
class TwoSample:
    """Exact distances of two samples, feature by feature, ``(F,)`` each; NaN where a side knows nothing.

    Attributes
    ----------
    kolmogorov_smirnov
        Largest distance of the distribution functions.
    wasserstein
        Area between them: what would have to be moved, and how far; in the unit of the feature.
    n, m
        Known values of each sample.
    missing, missing_before
        Share of missing values in the second sample and in the first.
    """

    kolmogorov_smirnov: FloatArray
    wasserstein: FloatArray
    n: CountArray
    m: CountArray
    missing: FloatArray
    missing_before: FloatArray


def two_sample(first: ArrayLike, second: ArrayLike) -> TwoSample:
    """Compare ``(n, F)`` with ``(m, F)``; values that are not finite are missing.

    Raises
    ------
    InputError
        Tables of different features, or without rows.
    """
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or not len(x) or not len(y):
        raise InputError(f"samples of shape {x.shape} and {y.shape} cannot be compared feature by feature")
    known_x, known_y = np.isfinite(x), np.isfinite(y)
    n, m = known_x.sum(axis=0), known_y.sum(axis=0)
    value = np.concatenate([np.where(known_x, x, np.inf), np.where(known_y, y, np.inf)])
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.concatenate([np.where(known_x, 1.0 / n, 0.0), np.where(known_y, -1.0 / m, 0.0)])
    order = np.argsort(value, axis=0, kind="stable")
    value, gap = np.take_along_axis(value, order, 0), np.cumsum(np.take_along_axis(weight, order, 0), axis=0)
    with np.errstate(invalid="ignore"):
        step = np.where(np.isfinite(value[1:]), value[1:] - value[:-1], 0.0)
    both = (n > 0) & (m > 0)
    between = np.abs(gap[:-1])
    return TwoSample(
        np.where(both, np.where(step > 0, between, 0.0).max(axis=0, initial=0.0), np.nan),
        np.where(both, (between * step).sum(axis=0), np.nan),
        n,
        m,
        1.0 - m / len(y),
        1.0 - n / len(x),
    )


def kolmogorov_smirnov_p(statistic: ArrayLike, n: ArrayLike, m: ArrayLike) -> FloatArray:
    """Return the asymptotic p-value of a two-sample statistic, two-sided, with Stephens's (1970) correction.

    ``n`` and ``m`` are numbers of *independent* observations, fractions too: 390 bars of an autocorrelated feature may
    be worth a handful (see :func:`effective_size`).
    """
    from scipy.special import kolmogorov

    a, b = np.asarray(n, dtype=np.float64), np.asarray(m, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.sqrt(a * b / (a + b))
        scaled = (root + 0.12 + 0.11 / root) * np.asarray(statistic, dtype=np.float64)
    return np.asarray(kolmogorov(scaled))


def effective_size(window_counts: ArrayLike) -> FloatArray:
    """Return how many independent observations a window of dependent ones is worth, ``(F,)``.

    Parameters
    ----------
    window_counts
        Counts ``(K, F, B)`` of ``K`` windows of one length that do not overlap.

    Notes
    -----
    Shares at or below an edge vary over windows by ``p (1 - p) / n`` if a window holds ``n`` independent observations:
    ``n`` is the ratio of the sums of both sides over the edges. It counts dependence in time and between symbols. At
    most the mean number of known values; at least a fraction of one, where windows differ by more than they could even
    if each were a single draw. NaN with fewer than two windows that know anything.
    """
    counts = np.asarray(window_counts, dtype=np.float64)
    total = counts.sum(axis=-1)
    usable = total > 0
    below = np.where(usable[..., None], np.cumsum(counts, axis=-1), np.nan)[..., :-1]
    share = below / np.where(usable, total, np.nan)[..., None]
    windows = usable.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.nansum(share, axis=0) / windows[:, None]
        spread = np.nansum((share - p) ** 2, axis=0) / (windows[:, None] - 1.0)
        found = (p * (1.0 - p)).sum(axis=-1) / spread.sum(axis=-1)
        most = total.sum(axis=0) / windows
    return np.where(windows > 1, np.fmin(found, most), np.nan)


def binned_wasserstein(
    expected: ArrayLike, observed: ArrayLike, edges: FloatArray, beyond_expected: ArrayLike, beyond_observed: ArrayLike
) -> FloatArray:
    """Return the Wasserstein-1 distance of counts ``(..., F, bins)``, without the bin of missing; unit of the feature.

    Parameters
    ----------
    edges
        ``(F, bins - 1)``; within a bin both distributions are taken to be even.
    beyond_expected, beyond_observed
        ``(..., F, 2)`` mean over the known values of how far they lie below the first edge and above the last: what a
        histogram does not know of its outermost bins. The distance beyond an edge is that of these means, which is
        exact where one of the two distributions lies further out than the other all along.

    Notes
    -----
    NaN where a side is empty.
    """
    gap = np.cumsum(_plain(expected) - _plain(observed), axis=-1)[..., :-1]
    left, right = gap[..., :-1], gap[..., 1:]
    size = np.abs(left) + np.abs(right)
    crossing = np.divide(left**2 + right**2, size, out=np.zeros(size.shape), where=size > 0)
    height = np.where(left * right < 0, crossing, size) / 2.0
    outside = np.abs(np.asarray(beyond_expected, dtype=np.float64) - np.asarray(beyond_observed, dtype=np.float64))
    return np.asarray((height * np.diff(edges, axis=-1)).sum(axis=-1) + outside.sum(axis=-1))

"""Effect sizes: how much of a future return a column explains beyond the past, block by block of time.

Everything is computed from the moments of blocks of rows, so that the verdict of the whole, the cross-validated
verdict and the verdict of any part of the sample cost one pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

FOLDS = 5
#: A part of the sample is judged alone only from this many rows on.
FEWEST_ROWS_ALONE = 60
_TINY = 1e-300
#: Share of the usual gain below which a row speaks against being part of a stretch.
_SHARPEN = 0.35
#: Residuals below this share of a column's spread are rounding.
_ROUNDING = 1e-7
#: Rows this many robust standard deviations off are left out of a fit, if they are few.
_FAR, _MOST_FAR = 8.0, 0.05


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over blocks of rows in time order; each ``(blocks, leads)``, pairs with a missing side left out."""

    n: FloatArray
    x: FloatArray
    y: FloatArray
    xx: FloatArray
    yy: FloatArray
    xy: FloatArray

    def pooled(self, blocks: IntArray) -> Moments:
        """Return the sums over some blocks, ``(1, leads)``."""
        return Moments(*(part[blocks].sum(axis=0, keepdims=True) for part in self._parts()))

    def runs(self, length: int, step: int) -> Moments:
        """Return the sums over every run of ``length`` blocks, each ``step`` blocks after the one before."""
        starts = np.arange(0, self.n.shape[0] - length + 1, step)
        sums = []
        for part in self._parts():
            total = np.vstack([np.zeros((1, part.shape[1])), np.cumsum(part, axis=0)])
            sums.append(total[starts + length] - total[starts])
        return Moments(*sums)

    def _parts(self) -> tuple[FloatArray, ...]:
        return self.n, self.x, self.y, self.xx, self.yy, self.xy

    @property
    def slope(self) -> FloatArray:
        """Least-squares slope of y on x; 0 where x does not vary."""
        n = np.maximum(self.n, 1.0)
        spread = self.xx - self.x**2 / n
        varies = spread > 1e-12 * np.maximum(self.xx, _TINY)
        return np.where(varies, (self.xy - self.x * self.y / n) / np.where(varies, spread, 1.0), 0.0)

    @property
    def intercept(self) -> FloatArray:
        """Least-squares intercept of y on x."""
        return np.asarray((self.y - self.slope * self.x) / np.maximum(self.n, 1.0))

    @property
    def correlation(self) -> FloatArray:
        """Correlation of x and y; 0 where either does not vary."""
        n = np.maximum(self.n, 1.0)
        sx, sy = self.xx - self.x**2 / n, self.yy - self.y**2 / n
        scale = np.sqrt(np.maximum(sx, 0.0) * np.maximum(sy, 0.0))
        return np.where(scale > 1e-12 * n, (self.xy - self.x * self.y / n) / np.maximum(scale, _TINY), 0.0)


def blocks_of(rows: int) -> IntArray:
    """Return the first row of each of 5 to 20 equal blocks."""
    count = int(np.clip(rows // FEWEST_ROWS_ALONE, FOLDS, 20))
    return np.linspace(0, rows, count + 1).astype(np.int64)[:-1]


def moments(x: FloatArray, y: FloatArray, starts: IntArray) -> Moments:
    """Return the block moments of ``x (n,)`` with each column of ``y (n, leads)``; NaN is missing."""
    known_x, known_y = np.isfinite(x), np.isfinite(y)
    x0, y0 = np.where(known_x, x, 0.0), np.where(known_y, y, 0.0)
    left = np.stack([known_x.astype(np.float64), x0, x0**2])
    stops = [*starts[1:], len(x)]
    n, sx, sxx, sy, sxy, syy = ([], [], [], [], [], [])  # type: ignore[var-annotated]
    for start, stop in zip(starts, stops, strict=True):
        part = slice(start, stop)
        ones = left[:, part] @ known_y[part].astype(np.float64)
        linear = left[:2, part] @ y0[part]
        for store, value in zip((n, sx, sxx), ones, strict=True):
            store.append(value)
        sy.append(linear[0])
        sxy.append(linear[1])
        syy.append(left[0, part] @ y0[part] ** 2)
    return Moments(*(np.array(part) for part in (n, sx, sy, sxx, syy, sxy)))


def explained_unseen(sums: Moments) -> FloatArray:
    """Return the share of y's variance that x explains in blocks the slope was not fitted on, ``(leads,)``."""
    blocks = np.arange(sums.n.shape[0])
    error, total = np.zeros(sums.n.shape[1]), np.zeros(sums.n.shape[1])
    for unseen in np.array_split(blocks, FOLDS):
        fit, test = sums.pooled(np.delete(blocks, unseen)), sums.pooled(unseen)
        a, b, mean = fit.intercept, fit.slope, fit.y / np.maximum(fit.n, 1.0)
        error += _squares(test, a, b)[0]
        total += _squares(test, mean, np.zeros_like(b))[0]
    return np.where(total > 0.0, 1.0 - error / np.maximum(total, _TINY), 0.0)


def _squares(sums: Moments, a: FloatArray, b: FloatArray) -> FloatArray:
    cross = -2.0 * a * sums.y - 2.0 * b * sums.xy + 2.0 * a * b * sums.x
    return np.asarray(sums.yy + cross + sums.n * a**2 + b**2 * sums.xx)


def explained_by_bins(x: FloatArray, y: FloatArray, starts: IntArray, bins: int = 8) -> FloatArray:
    """Return :func:`explained_unseen` for the mean of y in each of ``bins`` ranges of x: any shape of curve."""
    known = np.isfinite(x)
    edges = np.unique(np.quantile(x[known], np.linspace(0.0, 1.0, bins + 1)[1:-1]))
    code = np.searchsorted(edges, x, side="left")
    member = np.zeros((edges.size + 1, len(x)))
    member[code[known], np.flatnonzero(known)] = 1.0
    y0, here = np.where(np.isfinite(y), y, 0.0), np.isfinite(y).astype(np.float64)
    parts = [slice(a, b) for a, b in zip(starts, [*starts[1:], len(x)], strict=True)]
    n = np.array([member[:, p] @ here[p] for p in parts])
    s = np.array([member[:, p] @ y0[p] for p in parts])
    q = np.array([known[p].astype(np.float64) @ y0[p] ** 2 for p in parts])
    return _bins_unseen(n, s, q)


def _bins_unseen(n: FloatArray, s: FloatArray, q: FloatArray) -> FloatArray:
    error, total = np.zeros(n.shape[2]), np.zeros(n.shape[2])
    for unseen in np.array_split(np.arange(n.shape[0]), FOLDS):
        seen = np.delete(np.arange(n.shape[0]), unseen)
        fit_n, fit_s = n[seen].sum(axis=0), s[seen].sum(axis=0)
        test_n, test_s, test_q = n[unseen].sum(axis=0), s[unseen].sum(axis=0), q[unseen].sum(axis=0)
        mean = fit_s.sum(axis=0) / np.maximum(fit_n.sum(axis=0), 1.0)
        guess = np.where(fit_n >= 5.0, fit_s / np.maximum(fit_n, 1.0), mean)
        error += test_q + (-2.0 * guess * test_s + test_n * guess**2).sum(axis=0)
        total += test_q - 2.0 * mean * test_s.sum(axis=0) + test_n.sum(axis=0) * mean**2
    return np.where(total > 0.0, 1.0 - error / np.maximum(total, _TINY), 0.0)


class Past:
    """Residuals given the past: the part of a column that the controls do not explain.

    Parameters
    ----------
    controls
        ``(n, k)``, none missing. An intercept is added.
    there
        ``(n,)``, False for rows that have no past, whose controls are made up: one such row, far from all
        others, would bend every fit and be all that is left of a column that the past determines. None: all have.
    """

    def __init__(self, controls: FloatArray, there: BoolArray | None = None) -> None:
        self._there = np.ones(len(controls), dtype=np.bool_) if there is None else there
        spread = controls.std(axis=0)
        kept = controls[:, spread > 1e-12 * np.maximum(np.abs(controls).max(axis=0), _TINY)]
        self._controls = np.column_stack([np.ones(len(controls)), standardised(kept)])
        self._bases: dict[bytes, FloatArray] = {}

    @property
    def controls(self) -> int:
        """The number of controls."""
        return self._controls.shape[1] - 1

    def beyond(self, values: FloatArray) -> FloatArray:
        """Return ``values (n,)`` less their projection on the past; NaN stays NaN, as does what has no past.

        All NaN where the past determines the values up to rounding: nothing is left that could know more.
        """
        known = np.isfinite(values) & self._there
        out = np.full_like(values, np.nan)
        if int(known.sum()) <= self._controls.shape[1] + 5:
            return out
        basis = self._basis(known)
        part = values[known] - values[known].mean()
        rest = part - basis @ (basis.T @ part)
        rest -= basis @ (basis.T @ rest)
        rest = self._despite_outliers(part, rest, known)
        if float(rest.std()) > _ROUNDING * max(float(part.std()), _TINY):
            out[known] = np.where(np.abs(rest) > _ROUNDING * float(part.std()), rest, 0.0)
        return out

    def _despite_outliers(self, part: FloatArray, rest: FloatArray, known: BoolArray) -> FloatArray:
        """Fit once more without the few rows that lie far off, so that they do not bend the fit of all others."""
        middle = np.median(rest)
        width = 1.4826 * np.median(np.abs(rest - middle))
        far = np.abs(rest - middle) > _FAR * width
        if width < 0.1 * float(rest.std()) or not 0 < int(far.sum()) <= _MOST_FAR * len(rest):
            return rest
        controls = self._controls[known]
        fit = np.linalg.lstsq(controls[~far], part[~far], rcond=1e-10)[0]
        return np.asarray(part - controls @ fit)

    def _basis(self, known: BoolArray) -> FloatArray:
        key = np.packbits(known).tobytes()
        if key not in self._bases:
            u, s, _ = np.linalg.svd(self._controls[known], full_matrices=False)
            self._bases[key] = np.ascontiguousarray(u[:, s > 1e-10 * s[0]])
        return self._bases[key]


def standardised(values: FloatArray) -> FloatArray:
    """Return columns with mean 0 and variance 1."""
    spread = values.std(axis=0)
    return np.asarray((values - values.mean(axis=0)) / np.where(spread > 0.0, spread, 1.0))


def clipped(values: FloatArray, at: float = 5.0) -> FloatArray:
    """Return values clipped at ``at`` robust standard deviations, so that no single row decides."""
    known = values[np.isfinite(values)]
    if known.size == 0:
        return values
    middle = np.median(known)
    width = 1.4826 * np.median(np.abs(known - middle))
    if width <= 1e-3 * known.std():
        width = max(float(known.std()), _TINY)
    return np.clip(values, middle - at * width, middle + at * width)


def normal_scores(values: FloatArray) -> FloatArray:
    """Return the ranks of ``values`` as standard normal quantiles (van der Waerden scores); NaN stays NaN."""
    from scipy.special import ndtri
    from scipy.stats import rankdata

    known = np.isfinite(values)
    out = np.full_like(values, np.nan)
    out[known] = ndtri(rankdata(values[known]) / (known.sum() + 1.0))
    return out


def autocorrelation(values: FloatArray, lags: int) -> FloatArray:
    """Return the autocorrelation at lags ``1 … lags`` of a series, ``(lags,)``; missing values count as the mean."""
    known = np.isfinite(values)
    centred = np.where(known, values - values[known].mean(), 0.0) if known.any() else np.zeros_like(values)
    size = 1 << int(2 * len(values) - 1).bit_length()
    spectrum = np.fft.rfft(centred, size)
    covariance = np.fft.irfft(spectrum * np.conj(spectrum), size)[: lags + 1]
    return np.asarray(covariance[1:] / covariance[0]) if covariance[0] > 0.0 else np.zeros(lags)


def effective_rows(n: FloatArray, x_acf: FloatArray, y_acf: FloatArray) -> FloatArray:
    """Return the number of independent pairs among ``n`` (Bartlett 1946), ``y_acf`` is ``(lags, leads)``."""
    inflation = 1.0 + 2.0 * (x_acf[:, None] * y_acf).sum(axis=0)
    return np.asarray(n / np.maximum(inflation, 1.0))


def surprise(share: FloatArray, rows: FloatArray) -> FloatArray:
    """Return how many standard errors (Fisher's z) a share of variance explained lies above none."""
    r = np.sqrt(np.clip(share, 0.0, 1.0 - 1e-12))
    return np.asarray(np.arctanh(r) * np.sqrt(np.maximum(rows - 3.0, 0.0)))


def stretch(x: FloatArray, y: FloatArray) -> slice:
    """Return the rows over which knowing x pays most in y (Kadane's maximum subarray), refitting inside."""
    known = np.isfinite(x) & np.isfinite(y)
    part = slice(0, len(x))
    for _ in range(6):
        use = known.copy()
        use[: part.start], use[part.stop :] = False, False
        if int(use.sum()) < 5 or float(x[use].std()) == 0.0:
            break
        b, a = np.polyfit(x[use], y[use], 1)
        gain = np.where(known, (y - y[use].mean()) ** 2 - (y - a - b * x) ** 2, 0.0)
        usual = max(float(gain[use].mean()), 0.0)
        part = _largest_sum(np.where(known, gain - _SHARPEN * usual, 0.0))
    inside = np.flatnonzero(known[part]) + part.start
    if inside.size < 5:
        return part
    return _widened(x, y, slice(int(inside[0]), int(inside[-1]) + 1))


def _widened(x: FloatArray, y: FloatArray, part: slice) -> slice:
    """Add the neighbouring rows that a nearly exact relation fits as well: small moves pay little but belong."""
    known = np.isfinite(x) & np.isfinite(y)
    use = np.flatnonzero(known[part]) + part.start
    if float(x[use].std()) == 0.0:
        return part
    b, a = np.polyfit(x[use], y[use], 1)
    miss = np.abs(y - a - b * x)
    usual = float(np.sqrt(np.mean(miss[use] ** 2)))
    if usual > 0.3 * float(y[use].std()):
        return part
    fits = known & (miss <= 2.0 * usual)
    start, stop = part.start, part.stop
    while start > 0 and fits[start - 1]:
        start -= 1
    while stop < len(x) and fits[stop]:
        stop += 1
    return slice(start, stop)


def _largest_sum(gain: FloatArray) -> slice:
    total = np.concatenate([[0.0], np.cumsum(gain)])
    lowest = np.minimum.accumulate(total)
    stop = int(np.argmax(total - lowest))
    start = int(np.argmin(total[: stop + 1]))
    return slice(start, max(stop, start + 1))

"""Two return series compared on the same bars: stationary-bootstrap intervals of what tells them apart.

Rows are drawn for both at once, so that what they have in common stays in common: a difference is then known far better
than either of the two (Ledoit & Wolf 2008 for Sharpe ratios; Politis & Romano 1994 for the blocks).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError
from tradewind.stats.bootstrap import automatic_block_length, stationary_indices

FloatArray = NDArray[np.float64]

LEAST_BARS = 20
_PORTION = 4_000_000


@dataclass(frozen=True, slots=True)
class Difference:
    """A statistic of two series with its interval and how often chance alone would be on the other side of zero.

    Attributes
    ----------
    value, low, high
        NaN where there are fewer than 20 common bars or nothing moved.
    p_value
        Two-sided: twice the smaller share of resamples on one side of zero.
    """

    value: float
    low: float
    high: float
    p_value: float

    @property
    def sign(self) -> int:
        """Return 1 or -1 where the interval lies on that side of zero, else 0."""
        return 1 if self.low > 0 else -1 if self.high < 0 else 0


@dataclass(frozen=True, slots=True)
class Compared:
    """A book beside a benchmark, on the bars that both have.

    Attributes
    ----------
    mean
        Mean return a bar of the book less the benchmark's, times the bars of a year.
    sharpe
        Difference of the annualised Sharpe ratios; over a benchmark that does not move, the Sharpe ratio of the excess.
    alpha
        Mean a year of what the benchmark does not explain (Jensen 1968); ``beta`` is the slope on it.
    bars
        Common bars; ``block_bars`` the mean length of a resampled block.
    """

    mean: Difference
    sharpe: Difference
    alpha: Difference
    beta: float
    bars: int
    block_bars: float


def compare(
    book: FloatArray,
    benchmarks: Mapping[str, FloatArray],
    *,
    periods_per_year: float,
    level: float = 0.95,
    samples: int = 2000,
    seed: int = 0,
) -> dict[str, Compared]:
    """Compare one series ``(T,)`` of simple returns a bar with others ``(T,)``; NaN is a bar that one of them lacks.

    Every benchmark with the same bars meets the same resamples.

    Raises
    ------
    InputError
        Series of other lengths, or a level outside (0, 1).
    """
    if not 0.0 < level < 1.0:
        raise InputError(f"confidence level is {level}, it must lie in (0, 1)")
    for name, series in benchmarks.items():
        if series.shape != book.shape:
            raise InputError(f"the benchmark {name!r} has shape {series.shape}, the book {book.shape}")
    return {
        name: _compare(book, series, periods_per_year, level, samples, np.random.default_rng(seed))
        for name, series in benchmarks.items()
    }


def _compare(
    book: FloatArray, other: FloatArray, per_year: float, level: float, samples: int, generator: np.random.Generator
) -> Compared:
    known = np.isfinite(book) & np.isfinite(other)
    x, y = book[known], other[known]
    if x.size < LEAST_BARS or np.ptp(x - y) == 0:
        nothing = Difference(math.nan, math.nan, math.nan, math.nan)
        return Compared(nothing, nothing, nothing, math.nan, int(x.size), math.nan)
    block = max(automatic_block_length(x - y), automatic_block_length(x))
    parts = []
    portion = max(1, _PORTION // x.size)
    for done in range(0, samples, portion):
        rows = stationary_indices(x.size, block, min(portion, samples - done), generator)
        parts.append(_statistics(x[rows], y[rows], per_year))
    draws = np.concatenate(parts, axis=1)
    own = _statistics(x[None, :], y[None, :], per_year)[:, 0]
    mean, sharpe, alpha = (_difference(own[i], draws[i], level) for i in range(3))
    return Compared(mean, sharpe, alpha, float(own[3]), int(x.size), float(block))


def _statistics(x: FloatArray, y: FloatArray, per_year: float) -> FloatArray:
    """Return mean difference, difference of Sharpe ratios, alpha and beta of each row, ``(4, draws)``."""
    mean_x, mean_y = x.mean(axis=1), y.mean(axis=1)
    centred_x, centred_y = x - mean_x[:, None], y - mean_y[:, None]
    power = np.einsum("ij,ij->i", centred_y, centred_y)
    still = np.ptp(y) == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        beta = np.zeros(len(x)) if still else np.einsum("ij,ij->i", centred_x, centred_y) / power
        of_x = (mean_x - mean_y if still else mean_x) / np.sqrt(np.einsum("ij,ij->i", centred_x, centred_x))
        of_y = np.zeros(len(x)) if still else mean_y / np.sqrt(power)
    scale = math.sqrt(per_year * (x.shape[1] - 1))
    excess = mean_x - mean_y
    alpha = excess if still else mean_x - beta * mean_y
    return np.stack((excess * per_year, (of_x - of_y) * scale, alpha * per_year, beta))


def _difference(value: float, draws: FloatArray, level: float) -> Difference:
    known = draws[np.isfinite(draws)]
    if not math.isfinite(value) or not known.size:
        return Difference(math.nan, math.nan, math.nan, math.nan)
    low, high = np.quantile(known, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    least = min(int((known <= 0).sum()), int((known >= 0).sum()))
    return Difference(float(value), float(low), float(high), min(1.0, 2.0 * (least + 1) / (known.size + 1)))

"""Covariances of a universe: a fold over exponentially weighted sums, and estimators of a whole block.

Returns have mean zero. A pair of symbols is measured over the bars that both have, and a bar's weight decays with the
bars since, whoever was there. Feeding bars one by one or in blocks gives the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tradewind.errors import DataError, InputError, did_you_mean
from tradewind.stats.correlation_matrix import positive_semidefinite
from tradewind.stats.volatility import decay_of

FloatArray = NDArray[np.float64]
CountArray = NDArray[np.int32]
Target = Literal["constant_correlation", "one_variance"]


@dataclass(frozen=True, eq=False)
class CovarianceState:
    """What the estimator remembers between bars. Of symmetric sums only the upper triangle is kept.

    Attributes
    ----------
    decay
        Weight of a bar against that of the next.
    bars
        Bars seen.
    products, weights, common
        ``(N, N)`` sum of weighted products, sum of weights and number of bars of each pair, over those that both have.
    squares
        ``(N, N)`` sum of the row's weighted squares over the bars that both have.
    weights_squared
        ``(N,)`` sum of the squared weights of the bars a symbol has.
    """

    decay: float
    bars: int
    products: FloatArray
    weights: FloatArray
    common: CountArray
    squares: FloatArray
    weights_squared: FloatArray

    def copy(self) -> CovarianceState:
        """Return a state that shares nothing with this one."""
        return replace(self, **{name: getattr(self, name).copy() for name in _ARRAYS})

    @property
    def symbols(self) -> int:
        """Number of symbols."""
        return len(self.products)

    @property
    def observations(self) -> CountArray:
        """Bars with a return, ``(N,)``."""
        return np.ascontiguousarray(np.diag(self.common))


_ARRAYS = ("products", "weights", "common", "squares", "weights_squared")


def initial_state(n_symbols: int, half_life_bars: float | None) -> CovarianceState:
    """Return the state before the first bar; without a half-life all bars weigh the same."""
    square = (n_symbols, n_symbols)
    return CovarianceState(
        decay=1.0 if half_life_bars is None else decay_of(half_life_bars),
        bars=0,
        products=np.zeros(square),
        weights=np.zeros(square),
        common=np.zeros(square, dtype=np.int32),
        squares=np.zeros(square),
        weights_squared=np.zeros(n_symbols),
    )


def step(state: CovarianceState, returns: FloatArray, *, in_place: bool = False) -> CovarianceState:
    """Return the state after a block of ``(B, N)`` returns, oldest first; NaN or infinite is missing.

    The estimate is that of RiskMetrics (1996, section 5.2.1) around zero.

    Parameters
    ----------
    in_place
        Overwrite the sums of the given state, which is then spent: for 500 symbols most of a bar's time is new memory.

    Raises
    ------
    InputError
        A block that is not ``(bar, symbol)`` of the state's symbols.
    """
    if returns.ndim != 2 or returns.shape[1] != state.symbols:
        raise InputError(f"returns {returns.shape} must be (bar, symbol) of {state.symbols} symbols")
    if not len(returns):
        return state
    after = state if in_place else state.copy()
    there = np.isfinite(returns)
    _advance(
        np.where(there, returns, 0.0),
        there.astype(np.float64),
        state.decay,
        after.products,
        after.weights,
        after.common,
        after.squares,
        after.weights_squared,
    )
    return replace(after, bars=state.bars + len(returns))


@njit(cache=True)
def _advance(
    moves: FloatArray,
    seen: FloatArray,
    decay: float,
    products: FloatArray,
    weights: FloatArray,
    common: CountArray,
    squares: FloatArray,
    weights_squared: FloatArray,
) -> None:
    """Row by row, so that a row's sums stay in the fastest memory for all bars; each sum sees the bars in order."""
    bars, count = moves.shape
    for i in range(count):
        for b in range(bars):
            x, m = moves[b, i], seen[b, i]
            square = x * x
            for j in range(count):
                squares[i, j] = decay * squares[i, j] + square * seen[b, j]
            for j in range(i, count):
                products[i, j] = decay * products[i, j] + x * moves[b, j]
            for j in range(i, count):
                weights[i, j] = decay * weights[i, j] + m * seen[b, j]
            for j in range(i, count):
                common[i, j] += np.int32(m * seen[b, j])
            weights_squared[i] = decay * decay * weights_squared[i] + m


def covariance(state: CovarianceState, *, shrinkage: float = 0.2, least: int = 30) -> FloatArray:
    """Return the covariance of one bar's returns, ``(N, N)``, positive semidefinite where it is known.

    Variances are as they were measured. Correlations are pulled towards their mean, the constant-correlation target of
    Ledoit & Wolf (2004, *Honey, I shrunk the sample covariance matrix*), and then made to fit together; a pair with
    too few bars in common gets the mean, which is all that is known of it.

    Parameters
    ----------
    shrinkage
        How far, in [0, 1]; 1 leaves one correlation for all pairs.
    least
        Bars that a symbol needs before its risk is known, and a pair to be told from the others.

    Returns
    -------
    NaN in rows and columns of symbols that are not known; zero in those of a symbol that never moved.

    Raises
    ------
    InputError
        A shrinkage outside of [0, 1], or ``least`` below one.
    """
    if not 0.0 <= shrinkage <= 1.0 or least < 1:
        raise InputError(f"{shrinkage=} must lie in [0, 1] and {least=} be at least 1")
    found = np.full((state.symbols, state.symbols), np.nan)
    known = np.flatnonzero(state.observations >= least)
    if known.size:
        box = np.ix_(known, known)
        variance = np.diag(state.squares)[known] / np.diag(state.weights)[known]
        found[box] = _scaled(_correlation(state, box, shrinkage, least), variance)
    return found


def unmeasured_pairs(state: CovarianceState, *, least: int = 30) -> int:
    """Return how many pairs of known symbols have too few bars in common and get the mean correlation."""
    known = np.flatnonzero(state.observations >= least)
    return int(np.triu(state.common[np.ix_(known, known)] < least, 1).sum())


def sample_covariance(
    returns: FloatArray, *, half_life_bars: float | None = None, shrinkage: float = 0.0, least: int = 2
) -> FloatArray:
    """Return the covariance of ``(B, N)`` returns around zero, weighted with decay or all the same, ``(N, N)``.

    Pairs, gaps and what is not known as in :func:`covariance`.
    """
    if returns.ndim != 2:
        raise InputError(f"returns {returns.shape} must be (bar, symbol)")
    state = step(initial_state(returns.shape[1], half_life_bars), returns)
    return covariance(state, shrinkage=shrinkage, least=least)


@dataclass(frozen=True, eq=False)
class Shrunk:
    """A covariance with the intensity that the data asked for.

    Attributes
    ----------
    covariance
        ``(N, N)``; NaN in rows and columns of symbols left out.
    intensity
        Weight of the target, in [0, 1].
    bars
        Complete bars used.
    """

    covariance: FloatArray
    intensity: float
    bars: int


def ledoit_wolf(returns: FloatArray, target: Target = "constant_correlation", *, least: int = 2) -> Shrunk:
    """Return the covariance of ``(B, N)`` returns around zero, shrunk as far as minimises the expected squared error.

    Towards one correlation for all pairs (Ledoit & Wolf 2004, *Honey, I shrunk the sample covariance matrix*,
    appendix B) or the mean variance without any (Ledoit & Wolf 2004, *A well-conditioned estimator for
    large-dimensional covariance matrices*).

    Parameters
    ----------
    least
        Symbols with fewer returns are left out; of the others the bars are used that all of them have.

    Raises
    ------
    InputError
        Returns that are no table, or an unknown target.
    DataError
        Fewer than two complete bars.
    """
    if returns.ndim != 2:
        raise InputError(f"returns {returns.shape} must be (bar, symbol)")
    if target not in get_args(Target):
        raise did_you_mean("target of shrinkage", target, get_args(Target))
    there = np.isfinite(returns)
    kept = np.flatnonzero(there.sum(axis=0) >= max(least, 1))
    x = returns[there[:, kept].all(axis=1)][:, kept].astype(np.float64)
    if len(x) < 2 or not kept.size:
        raise DataError(
            f"{len(x)} bars have a return of all {kept.size} symbols, two are needed",
            hint="raise least to leave out the symbols with gaps, or use sample_covariance, which takes pairs",
        )
    found = np.full((returns.shape[1], returns.shape[1]), np.nan)
    shrunk, intensity = _constant_correlation(x) if target == "constant_correlation" else _one_variance(x)
    found[np.ix_(kept, kept)] = shrunk
    return Shrunk(found, intensity, len(x))


def _correlation(
    state: CovarianceState, box: tuple[NDArray[np.int64], ...], shrinkage: float, least: int
) -> FloatArray:
    """Return shrunk correlations that fit together, of symbols that are known."""
    squares, moving = state.squares[box], np.diag(state.squares[box]) > 0
    size = squares * squares.T
    pairs = np.triu((size > 0) & (state.common[box] >= least), 1)
    upper = np.where(pairs, state.products[box] / np.sqrt(np.where(pairs, size, 1.0)), 0.0)
    mean = float(upper.sum() / max(pairs.sum(), 1))
    shrunk = np.where(pairs | pairs.T, (1.0 - shrinkage) * (upper + upper.T) + shrinkage * mean, mean)
    shrunk = np.clip(np.where(np.outer(moving, moving), shrunk, 0.0), -1.0, 1.0)
    np.fill_diagonal(shrunk, 1.0)
    return shrunk if _definite(shrunk) else positive_semidefinite(shrunk)


def _definite(matrix: FloatArray) -> bool:
    """Say whether a matrix has a Cholesky factor: it is then positive definite, and found so in no time."""
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return False
    return True


def _scaled(correlation: FloatArray, variance: FloatArray) -> FloatArray:
    deviation = np.sqrt(variance)
    found = correlation * np.outer(deviation, deviation)
    np.fill_diagonal(found, variance)
    return found


def _constant_correlation(x: FloatArray) -> tuple[FloatArray, float]:
    bars, count = x.shape
    sample = x.T @ x / bars
    variance = np.diag(sample)
    deviation = np.sqrt(variance)
    size = np.outer(deviation, deviation)
    off = (size > 0) & ~np.eye(count, dtype=bool)
    mean = float(np.sum(sample[off] / size[off]) / max(off.sum(), 1))
    target = np.where(off, mean * size, np.diag(variance))
    noise = (x**2).T @ x**2 / bars - sample**2
    skew = (x**3).T @ x / bars - variance[:, None] * sample
    ratio = np.divide(deviation[None, :], deviation[:, None], out=np.zeros_like(size), where=off)
    in_common = np.trace(noise) + mean * float(np.sum((ratio * skew)[off]))
    return _mixed(sample, target, float(noise.sum() - in_common), bars)


def _one_variance(x: FloatArray) -> tuple[FloatArray, float]:
    bars, count = x.shape
    sample = x.T @ x / bars
    noise = (x**2).T @ x**2 / bars - sample**2
    return _mixed(sample, np.eye(count) * np.trace(sample) / count, float(noise.sum()), bars)


def _mixed(sample: FloatArray, target: FloatArray, error: float, bars: int) -> tuple[FloatArray, float]:
    """Return sample and target, mixed by the sample's error against its distance from the target."""
    distance = float(np.sum((sample - target) ** 2))
    intensity = min(max(error / bars / distance, 0.0), 1.0) if distance > 0 else 1.0
    return (1.0 - intensity) * sample + intensity * target, intensity

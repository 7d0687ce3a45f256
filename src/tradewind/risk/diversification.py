"""What is gained by holding several things: expected shortfall of the whole against that of its parts, by simulation.

``1 - CVaR(portfolio) / Σ CVaR(position)``: 0 where all falls come together, towards 1 where they never do. It is not
negative, because expected shortfall is coherent (Artzner et al. 1999).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError

FloatArray = NDArray[np.float64]

DRAWS = 4000
LEVEL = 0.95


def expected_shortfall(losses: FloatArray, level: float = LEVEL) -> FloatArray:
    """Return the mean of the worst ``1 - level`` of equally likely losses ``(S, ...)``, over the first axis."""
    if not 0.0 < level < 1.0 or not len(losses):
        raise InputError(f"expected shortfall of {len(losses)} losses at the level {level}")
    count = max(1, round((1.0 - level) * len(losses)))
    return np.asarray(np.partition(losses, len(losses) - count, axis=0)[len(losses) - count :].mean(axis=0))


def scenarios(uniforms: FloatArray, residuals: FloatArray, volatility: FloatArray) -> FloatArray:
    """Return returns ``(S, M)`` that depend as ``uniforms`` do and vary as each name does.

    Parameters
    ----------
    uniforms
        ``(S, M)`` draws from a copula.
    residuals
        ``(T, M)`` standardised residuals, whose quantiles are the margins: nothing beyond their extremes is drawn.
    volatility
        ``(M,)`` expected volatility over the horizon.
    """
    if uniforms.shape[1:] != residuals.shape[1:] or volatility.shape != uniforms.shape[1:]:
        raise InputError(
            f"draws {uniforms.shape}, residuals {residuals.shape} and volatility {volatility.shape} differ"
        )
    drawn = np.full(uniforms.shape, np.nan)
    for column in range(uniforms.shape[1]):
        own = np.sort(residuals[np.isfinite(residuals[:, column]), column])
        if len(own):
            drawn[:, column] = np.interp(uniforms[:, column], np.linspace(0.0, 1.0, len(own)), own)
    return drawn * volatility


def diversification_benefit(returns: FloatArray, weights: FloatArray, level: float = LEVEL) -> float:
    """Return ``1 - CVaR(portfolio) / Σ CVaR(position)`` over scenarios ``(S, M)``; NaN without a risk to share.

    Parameters
    ----------
    weights
        ``(M,)`` shares of the portfolio, negative where short; a position without weight may be unknown.
    """
    held = weights != 0
    positions = -returns[:, held] * weights[held]
    alone = float(expected_shortfall(positions, level).sum())
    together = float(expected_shortfall(positions.sum(axis=1), level))
    return 1.0 - together / alone if alone > 0 else float("nan")


def benefit_with_market(
    correlation: FloatArray,
    freedom: FloatArray,
    residuals: FloatArray,
    volatility: FloatArray,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = LEVEL,
) -> FloatArray:
    """Return the benefit ``(N,)`` of holding half a stock and half the market, by Student-t copula, for each stock.

    All stocks meet the same draws of the market, so that differences between them are no accident of the draw, and
    one stock's answer does not depend on which others are asked for.

    Parameters
    ----------
    correlation, freedom
        ``(N,)`` of each stock with the market, in [-1, 1]; NaN freedom (a stock that is the market) is taken for 1.
    residuals, volatility
        ``(T, N + 1)`` standardised residuals, the market last, and ``(N + 1,)`` expected volatilities.
    """
    generator = np.random.default_rng(seed)
    first, second = generator.standard_normal((2, draws, 1))
    shared = [_shared(freedom[stock], draws, seed) for stock in range(len(correlation))]
    scale = np.column_stack(shared) if shared else np.empty((draws, 0))
    stock = (correlation * first + np.sqrt(np.maximum(1.0 - correlation**2, 0.0)) * second) * scale
    levels = (np.arange(draws) + 0.5) / draws
    own = scenarios(np.broadcast_to(levels[:, None], (draws, len(volatility))), residuals, volatility)
    moves = np.take_along_axis(own[:, :-1], _ranks(stock), axis=0)
    market = own[_ranks(first * scale), -1]
    alone = expected_shortfall(-moves, level) + expected_shortfall(-market, level)
    together = expected_shortfall(-(moves + market), level)
    known = np.isfinite(correlation) & (alone > 0)
    return np.where(known, 1.0 - together / np.where(alone > 0, alone, 1.0), np.nan)


def _shared(freedom: float, draws: int, seed: int) -> FloatArray:
    """Return what a Student-t copula multiplies both names' normals with."""
    if np.isinf(freedom):
        return np.ones(draws)
    freedom = 1.0 if np.isnan(freedom) else float(freedom)
    return np.sqrt(freedom / np.random.default_rng([seed, 1]).chisquare(freedom, draws))


def _ranks(values: FloatArray) -> NDArray[np.int64]:
    ranks = np.empty(values.shape, dtype=np.int64)
    np.put_along_axis(ranks, np.argsort(values, axis=0), np.arange(len(values))[:, None], axis=0)
    return ranks

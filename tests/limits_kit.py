"""What limits are about, computed from a book directly: the oracle of the gate's and the desk's tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tradewind.portfolio.limits import Gate
from tradewind.risk.monitor import Exposure

FloatArray = NDArray[np.float64]

DEVIATIONS = 1.6448536269514722
"""Of a normal, beyond which one day in twenty lies."""


def by_symbol(gate: Gate, book: FloatArray) -> FloatArray:
    """Return the weights of symbols, their columns together."""
    symbols = np.zeros(len(gate.sector_of))
    np.add.at(symbols, gate.symbol_of, book)
    return symbols


def measured(
    gate: Gate, exposure: Exposure, book: FloatArray, equity: float
) -> dict[str, tuple[FloatArray, float | FloatArray]]:
    """Return the values that each limit in force is about, and the limit."""
    limits, symbols = gate.limits, by_symbol(gate, book)
    size = np.abs(symbols)
    found: dict[str, tuple[FloatArray, float | FloatArray]] = {
        "position_max": (size, limits.position_max),
        "gross_max": (np.array([size.sum()]), limits.gross_max),
    }
    if limits.sector_max is not None:
        found["sector_max"] = np.bincount(gate.sector_of, size, minlength=3), limits.sector_max
    if limits.net_max is not None:
        found["net_max"] = np.array([abs(symbols.sum())]), limits.net_max
    if limits.liquidity_max is not None:
        found["liquidity_max"] = size, limits.liquidity_max * exposure.daily_value / equity
    if exposure.covariance is None:
        return found
    held = symbols != 0
    risk = symbols[held] @ exposure.covariance[np.ix_(held, held)] @ symbols[held]
    deviation = np.array([np.sqrt(max(risk, 0.0))])
    if limits.beta_max is not None:
        found["beta_max"] = np.array([abs(symbols[held] @ exposure.beta[held])]), limits.beta_max
    if limits.var_max is not None:
        found["var_max"] = deviation * DEVIATIONS, limits.var_max
    if gate.risk.volatility_target is not None:
        found["volatility_target"] = deviation * np.sqrt(252), gate.risk.volatility_target
    if limits.correlation_max is not None:
        found["correlation_max"] = _crowds(gate, exposure.covariance, symbols)
    return found


def _crowds(gate: Gate, covariance: FloatArray, symbols: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the weight around each name together with its own, 0 where it is alone."""
    together = np.zeros(len(symbols))
    most = gate.limits.position_max if gate.limits.correlated_max is None else gate.limits.correlated_max
    for i, j in np.ndindex(covariance.shape):
        with np.errstate(invalid="ignore", divide="ignore"):
            rho = covariance[i, j] / np.sqrt(covariance[i, i] * covariance[j, j])
        if i != j and symbols[i] and rho * np.sign(symbols[i] * symbols[j]) > gate.limits.correlation_max:
            together[i] += abs(symbols[j])
    return together + np.abs(symbols) * (together > 0), np.full(len(symbols), most)


def closings(held: FloatArray, wish: FloatArray) -> FloatArray:
    """Return the book that the wishes towards nothing alone lead to: nobody may refuse these."""
    book = held.copy()
    for m, (have, want) in enumerate(zip(held, wish, strict=True)):
        if have * want < 0 or want == 0:
            book[m] = 0.0
        elif abs(want) < abs(have):
            book[m] = want
    return book


def require_held(gate: Gate, exposure: Exposure, book: FloatArray, before: FloatArray, equity: float) -> None:
    """Fail where a limit is exceeded that ``before`` kept, or that it exceeded less."""
    already = measured(gate, exposure, before, equity)
    for name, (value, limit) in measured(gate, exposure, book, equity).items():
        most = np.maximum(np.broadcast_to(limit, value.shape), already[name][0])
        assert np.all(value <= most + 1e-8), (name, value, limit, already[name][0])

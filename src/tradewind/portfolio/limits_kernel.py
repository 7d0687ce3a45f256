"""The limits as one compiled check: what is held and what is wanted in, what is allowed and what bound it out.

A wish that brings a position nearer to nothing always passes. Of the others each limit takes as much as it must, in the
order of :data:`CODES`; none undoes what an earlier one did, except that a smaller hedge can raise net, beta or risk, so
those are looked at until they hold. Everything compiled that one entry calls stands in this file (numba's cache).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_QUICK: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
compiled = njit(error_model="numpy", **_QUICK)
entry = njit(cache=True, error_model="numpy")

CODES = (
    "none",
    "halted",
    "daily_loss_max",
    "drawdown_max",
    "unknown_risk",
    "borrow",
    "position_max",
    "liquidity_max",
    "sector_max",
    "correlation_max",
    "gross_max",
    "net_max",
    "beta_max",
    "var_max",
    "volatility_target",
)
"""What may bind a wish, in the order in which it is asked."""

(
    NONE, HALTED, DAILY_LOSS, DRAWDOWN, UNKNOWN, BORROW, POSITION, LIQUIDITY, SECTOR, CORRELATION, GROSS, NET, BETA,
    RISK, VOLATILITY,
) = range(15)  # fmt: skip

L_POSITION, L_SECTOR, L_CORRELATION, L_CORRELATED, L_GROSS, L_NET, L_BETA, L_VAR, L_VOLATILITY = range(9)
LIMIT_FIELDS = 9
"""Layout of ``limits``: the values, infinite where there is no limit; ``L_VAR`` and ``L_VOLATILITY`` are of one session's
standard deviation. ``blocks[i]`` says that limit ``i`` refuses what it would otherwise make smaller."""

_ROUNDS = 8
_SLACK = 1e-12


@compiled
def _opens(held: float, wanted: float) -> bool:
    """Return whether a wish leads away from nothing, or across it."""
    return abs(wanted) > abs(held) + _SLACK or held * wanted < 0.0


@compiled
def _floor(held: float, wanted: float) -> float:
    """Return how far a wish may always go: to the smaller of both on the side held, across zero to nothing."""
    if held * wanted <= 0.0:
        return 0.0
    return wanted if abs(wanted) < abs(held) else held


@compiled
def _by_symbol(weight: FloatArray, symbol_of: IntArray, total: FloatArray) -> None:
    total[:] = 0.0
    for m in range(weight.shape[0]):
        total[symbol_of[m]] += weight[m]


@compiled
def _bind(allowed: FloatArray, floor: FloatArray, bound: IntArray, m: int, share: float, code: int) -> None:
    """Take back a wish of one column to a share of the way that it leads beyond its floor."""
    allowed[m] = floor[m] + share * (allowed[m] - floor[m])
    bound[m] = code


@compiled
def _cap_symbols(
    allowed: FloatArray,
    floor: FloatArray,
    bound: IntArray,
    wished: BoolArray,
    symbol_of: IntArray,
    cap: FloatArray,
    block: bool,
    code: int,
) -> None:
    """Hold each symbol's weight, over all of its columns, within a cap of its own."""
    count = cap.shape[0]
    base, full = np.zeros(count), np.zeros(count)
    _by_symbol(floor, symbol_of, base)
    _by_symbol(allowed, symbol_of, full)
    for m in range(allowed.shape[0]):
        i = symbol_of[m]
        if not wished[m] or allowed[m] == floor[m] or abs(full[i]) <= cap[i] + _SLACK:
            continue
        step = full[i] - base[i]
        if (allowed[m] - floor[m]) * full[i] < 0.0:
            continue
        share = 0.0
        if not block and step * full[i] > 0.0:
            room = cap[i] - base[i] * np.sign(full[i])
            share = min(max(room / abs(step), 0.0), 1.0)
        _bind(allowed, floor, bound, m, share, code)


@compiled
def _cap_groups(
    allowed: FloatArray,
    floor: FloatArray,
    bound: IntArray,
    wished: BoolArray,
    symbol_of: IntArray,
    group_of: IntArray,
    groups: int,
    symbols: int,
    limit: float,
    block: bool,
    code: int,
) -> None:
    """Hold the sum of absolute symbol weights of each group within a limit."""
    base, full = np.zeros(symbols), np.zeros(symbols)
    _by_symbol(floor, symbol_of, base)
    _by_symbol(allowed, symbol_of, full)
    low, high = np.zeros(groups), np.zeros(groups)
    for i in range(symbols):
        low[group_of[i]] += abs(base[i])
        high[group_of[i]] += abs(full[i])
    for m in range(allowed.shape[0]):
        g = group_of[symbol_of[m]]
        if not wished[m] or allowed[m] == floor[m] or high[g] <= limit + _SLACK:
            continue
        share = 0.0
        if not block and high[g] > low[g]:
            share = min(max((limit - low[g]) / (high[g] - low[g]), 0.0), 1.0)
        _bind(allowed, floor, bound, m, share, code)


@compiled
def _cap_correlated(
    allowed: FloatArray,
    floor: FloatArray,
    bound: IntArray,
    wished: BoolArray,
    symbol_of: IntArray,
    order: IntArray,
    covariance: FloatArray,
    most: float,
    limit: float,
    block: bool,
) -> None:
    """Hold each symbol's weight with all whose risk it shares (correlation times the sides above ``most``) in a limit.

    Columns are asked in ``order``: of two wishes that do not fit together the first one is served.
    """
    symbols = covariance.shape[0]
    total = np.zeros(symbols)
    _by_symbol(floor, symbol_of, total)
    for m in order:
        i = symbol_of[m]
        if not wished[m] or allowed[m] == floor[m]:
            continue
        wanted = total[i] + allowed[m] - floor[m]
        together = 0.0
        for j in range(symbols):
            if j == i or total[j] == 0.0:
                continue
            rho = covariance[i, j] / np.sqrt(covariance[i, i] * covariance[j, j])
            if rho * np.sign(wanted) * np.sign(total[j]) > most:
                together += abs(total[j])
        if abs(wanted) + together > limit + _SLACK and together > 0.0:
            room = limit - together - abs(total[i])
            share = 0.0 if block else min(max(room / abs(allowed[m] - floor[m]), 0.0), 1.0)
            _bind(allowed, floor, bound, m, share, CORRELATION)
        total[i] += allowed[m] - floor[m]


@compiled
def _cap_sum(
    allowed: FloatArray,
    floor: FloatArray,
    bound: IntArray,
    wished: BoolArray,
    symbol_of: IntArray,
    slope: FloatArray,
    limit: float,
    block: bool,
    code: int,
) -> bool:
    """Hold ``|sum of slope * weight|`` within a limit by taking back what pushes it out; say if anything was."""
    value = 0.0
    for m in range(allowed.shape[0]):
        if allowed[m] != 0.0:
            value += slope[symbol_of[m]] * allowed[m]
    if not abs(value) > limit + 1e-9:
        return False
    side = np.sign(value)
    push = 0.0
    for m in range(allowed.shape[0]):
        if wished[m]:
            push += max(side * slope[symbol_of[m]] * (allowed[m] - floor[m]), 0.0)
    if push <= 0.0:
        return False
    share = 0.0 if block else min(max(1.0 - (abs(value) - limit) / push, 0.0), 1.0)
    for m in range(allowed.shape[0]):
        if wished[m] and side * slope[symbol_of[m]] * (allowed[m] - floor[m]) > 0.0:
            _bind(allowed, floor, bound, m, share, code)
    return True


@compiled
def _variance(weight: FloatArray, covariance: FloatArray) -> float:
    total = 0.0
    for i in range(weight.shape[0]):
        if weight[i] == 0.0:
            continue
        part = 0.0
        for j in range(weight.shape[0]):
            if weight[j] != 0.0:
                part += covariance[i, j] * weight[j]
        total += weight[i] * part
    return total


@compiled
def _cap_risk(
    allowed: FloatArray,
    floor: FloatArray,
    bound: IntArray,
    wished: BoolArray,
    symbol_of: IntArray,
    covariance: FloatArray,
    limit: float,
    block: bool,
    code: int,
) -> None:
    """Hold the book's standard deviation within a limit: every wish goes the same share of its way.

    The variance along that way is a parabola, ``v(s) = a + 2 b s + c s^2``; the share is its largest root within.
    """
    symbols = covariance.shape[0]
    base, full = np.zeros(symbols), np.zeros(symbols)
    _by_symbol(floor, symbol_of, base)
    _by_symbol(allowed, symbol_of, full)
    most = limit * limit
    if _variance(full, covariance) <= most * (1.0 + 1e-9):
        return
    share = 0.0
    a = _variance(base, covariance)
    if not block and a <= most:
        step = full - base
        c = _variance(step, covariance)
        b = 0.5 * (_variance(full, covariance) - a - c)
        share = min(max((-b + np.sqrt(max(b * b + c * (most - a), 0.0))) / c, 0.0), 1.0)
    for m in range(allowed.shape[0]):
        if wished[m] and allowed[m] != floor[m]:
            _bind(allowed, floor, bound, m, share, code)


@entry
def allow(
    held: FloatArray,
    wish: FloatArray,
    order: IntArray,
    symbol_of: IntArray,
    sector_of: IntArray,
    sectors: int,
    limits: FloatArray,
    blocks: BoolArray,
    stopped: int,
    liquidity: FloatArray,
    borrowable: BoolArray,
    beta: FloatArray,
    covariance: FloatArray,
    allowed: FloatArray,
    bound: IntArray,
) -> None:
    """Fill ``allowed`` and ``bound`` for one close.

    Parameters
    ----------
    held, wish
        ``(M,)`` signed weights by column; a wish of NaN leaves what is held.
    order
        ``(M,)`` columns, the ones to be served first in front, where only some of several can be.
    symbol_of, sector_of
        Symbol of each column ``(M,)``, sector of each symbol ``(N,)``.
    limits, blocks
        See ``L_*``; ``blocks`` by code.
    stopped
        A code for which nothing may be opened, else 0.
    liquidity
        ``(N,)`` largest weight that the volume allows; NaN: unknown, and nothing may be opened.
    borrowable
        ``(N,)`` whether a short may be opened.
    beta, covariance
        Of one session, ``(N,)`` and ``(N, N)``; NaN where unknown, and then nothing may be opened. Empty where no limit
        needs them.
    allowed, bound
        ``(M,)``: the wish that may be sent, and which limit bound it (index into ``CODES``).
    """
    columns, symbols = held.shape[0], sector_of.shape[0]
    floor, wished = np.empty(columns), np.empty(columns, np.bool_)
    needs_beta, needs_covariance = beta.shape[0] > 0, covariance.shape[0] > 0
    for m in range(columns):
        wished[m] = wish[m] == wish[m]
        bound[m] = NONE
        allowed[m] = wish[m] if wished[m] else held[m]
        floor[m] = _floor(held[m], wish[m]) if wished[m] else held[m]
        if not wished[m] or not _opens(held[m], wish[m]):
            continue
        i = symbol_of[m]
        unknown = (needs_beta and beta[i] != beta[i]) or (needs_covariance and covariance[i, i] != covariance[i, i])
        if stopped != 0:
            _bind(allowed, floor, bound, m, 0.0, stopped)
        elif unknown or liquidity[i] != liquidity[i]:
            _bind(allowed, floor, bound, m, 0.0, UNKNOWN)
        elif wish[m] < 0.0 and not borrowable[i]:
            _bind(allowed, floor, bound, m, 0.0, BORROW)
    cap = np.full(symbols, limits[L_POSITION])
    _cap_symbols(allowed, floor, bound, wished, symbol_of, cap, blocks[POSITION], POSITION)
    _cap_symbols(allowed, floor, bound, wished, symbol_of, liquidity, blocks[LIQUIDITY], LIQUIDITY)
    if limits[L_SECTOR] < np.inf:
        _cap_groups(
            allowed,
            floor,
            bound,
            wished,
            symbol_of,
            sector_of,
            sectors,
            symbols,
            limits[L_SECTOR],
            blocks[SECTOR],
            SECTOR,
        )
    if needs_covariance and limits[L_CORRELATION] < np.inf:
        _cap_correlated(
            allowed, floor, bound, wished, symbol_of, order, covariance, limits[L_CORRELATION],
            limits[L_CORRELATED], blocks[CORRELATION],
        )  # fmt: skip
    everything = np.zeros(symbols, np.int64)
    _cap_groups(allowed, floor, bound, wished, symbol_of, everything, 1, symbols, limits[L_GROSS], blocks[GROSS], GROSS)
    ones = np.ones(symbols)
    for _ in range(_ROUNDS):
        changed = False
        if limits[L_NET] < np.inf:
            changed |= _cap_sum(allowed, floor, bound, wished, symbol_of, ones, limits[L_NET], blocks[NET], NET)
        if needs_beta and limits[L_BETA] < np.inf:
            changed |= _cap_sum(allowed, floor, bound, wished, symbol_of, beta, limits[L_BETA], blocks[BETA], BETA)
        if not changed:
            break
    if needs_covariance:
        for which, code in ((L_VAR, RISK), (L_VOLATILITY, VOLATILITY)):
            if limits[which] < np.inf:
                _cap_risk(allowed, floor, bound, wished, symbol_of, covariance, limits[which], blocks[code], code)
    for m in range(columns):
        if not wished[m]:
            allowed[m] = np.nan

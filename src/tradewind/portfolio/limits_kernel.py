"""The limits as one compiled check: what is held and what is wanted in, what is allowed and what bound it out.

A wish that brings a position nearer to nothing always passes: together these make the floor of the book. What leads
beyond it is taken back by each limit as far as it must, in the order of :data:`CODES`, a symbol's columns together. The
book that follows breaks no limit that the floor keeps, and another by no more than the floor does. Everything compiled
that one entry calls stands in this file (numba's cache).
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
"""Layout of ``limits``: the values, infinite where there is no limit; ``L_VAR`` and ``L_VOLATILITY`` are of one
session's standard deviation. ``blocks[i]`` says that limit ``i`` refuses what it would otherwise make smaller."""

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
def _cut(
    now: FloatArray, base: FloatArray, share: FloatArray, code_of: IntArray, i: int, part: float, code: int
) -> None:
    """Take back a symbol's wishes to a part of the way that they lead beyond their floor."""
    now[i] = base[i] + part * (now[i] - base[i])
    share[i] *= part
    code_of[i] = code


@compiled
def _cut_all(now: FloatArray, base: FloatArray, share: FloatArray, code_of: IntArray, part: float, code: int) -> None:
    for i in range(now.shape[0]):
        if now[i] != base[i]:
            _cut(now, base, share, code_of, i, part, code)


@compiled
def _way(start: float, end: float, limit: float) -> float:
    """Return the part of the way from ``start`` to ``end`` at which the size reaches a limit; 0 from beyond it."""
    if not abs(start) < limit:
        return 0.0
    return min(max((np.sign(end) * limit - start) / (end - start), 0.0), 1.0)


@compiled
def _cap_symbols(
    now: FloatArray, base: FloatArray, share: FloatArray, code_of: IntArray, cap: FloatArray, block: bool, code: int
) -> bool:
    """Hold each symbol's weight within a cap of its own; say if anything was cut."""
    changed = False
    for i in range(now.shape[0]):
        if now[i] != base[i] and abs(now[i]) > max(cap[i], abs(base[i])) + _SLACK:
            _cut(now, base, share, code_of, i, 0.0 if block else _way(base[i], now[i], cap[i]), code)
            changed = True
    return changed


@compiled
def _cap_groups(
    now: FloatArray,
    base: FloatArray,
    share: FloatArray,
    code_of: IntArray,
    group_of: IntArray,
    groups: int,
    limit: float,
    block: bool,
    code: int,
) -> bool:
    """Hold the sum of absolute weights of each group within a limit: its wishes go the same part of their way."""
    low, high = np.zeros(groups), np.zeros(groups)
    for i in range(now.shape[0]):
        low[group_of[i]] += abs(base[i])
        high[group_of[i]] += abs(now[i])
    changed = False
    for i in range(now.shape[0]):
        g = group_of[i]
        if now[i] != base[i] and high[g] > max(limit, low[g]) + _SLACK:
            part = 0.0 if block or low[g] >= limit else (limit - low[g]) / (high[g] - low[g])
            _cut(now, base, share, code_of, i, part, code)
            changed = True
    return changed


@compiled
def _deviations(covariance: FloatArray) -> FloatArray:
    deviation = np.empty(covariance.shape[0])
    for i in range(deviation.shape[0]):
        deviation[i] = np.sqrt(covariance[i, i])
    return deviation


@compiled
def _alike(i: int, side: float, j: int, total: FloatArray, covariance: FloatArray, edge: FloatArray) -> bool:
    """Return whether a weight in ``i`` on that side shares the risk of what is held in ``j``.

    ``edge`` are deviations times the root of the correlation from which on that is so.
    """
    if j == i or total[j] == 0.0:
        return False
    together = covariance[i, j] if total[j] > 0.0 else -covariance[i, j]
    return side * together > edge[i] * edge[j]


@compiled
def _cap_correlated(
    now: FloatArray,
    base: FloatArray,
    share: FloatArray,
    code_of: IntArray,
    queue: IntArray,
    covariance: FloatArray,
    most: float,
    limit: float,
    block: bool,
) -> bool:
    """Hold the crowd around each symbol, itself and all whose risk it shares, within a limit.

    Symbols are asked in the order of ``queue``: of two wishes that do not fit together the first one is served. What
    comes later joins the crowds of others as well, which need not be alike themselves: those must have room for it too.
    """
    symbols = now.shape[0]
    total, crowd, edge = base.copy(), np.zeros(symbols), np.sqrt(most) * _deviations(covariance)
    for i in range(symbols):
        if base[i] != 0.0:
            crowd[i] = abs(base[i])
            for j in range(symbols):
                if _alike(i, np.sign(base[i]), j, base, covariance, edge):
                    crowd[i] += abs(base[j])
    changed = False
    for i in queue:
        if now[i] == base[i]:
            continue
        side, together, room = np.sign(now[i]), 0.0, limit
        for j in range(symbols):
            if _alike(i, side, j, total, covariance, edge):
                together += abs(total[j])
                room = min(room, limit - crowd[j])
        before = abs(base[i]) if base[i] * side > 0.0 else 0.0
        room = min(room, limit - together - before)
        added = abs(now[i]) - before
        if together > 0.0 and added > max(room, 0.0) + _SLACK:
            _cut(now, base, share, code_of, i, 0.0 if block else max(room, 0.0) / added, CORRELATION)
            changed = True
        for j in range(symbols):
            if _alike(i, side, j, total, covariance, edge):
                crowd[j] += abs(now[i]) - before
        total[i], crowd[i] = now[i], abs(now[i]) + together
    return changed


@compiled
def _along(weight: FloatArray, slope: FloatArray) -> float:
    value = 0.0
    for i in range(weight.shape[0]):
        if weight[i] != 0.0:
            value += slope[i] * weight[i]
    return value


@compiled
def _cap_sum(
    now: FloatArray,
    base: FloatArray,
    share: FloatArray,
    code_of: IntArray,
    slope: FloatArray,
    limit: float,
    block: bool,
    code: int,
) -> bool:
    """Hold ``|sum of slope * weight|`` within a limit by taking back what pushes it out; say if anything was.

    Where the sum is not known nothing leads beyond the floor.
    """
    value = _along(now, slope)
    if value != value:
        _cut_all(now, base, share, code_of, 0.0, code)
        return False
    if abs(value) <= limit + 1e-9:
        return False
    side = np.sign(value)
    push = 0.0
    for i in range(now.shape[0]):
        if now[i] != base[i]:
            push += max(side * slope[i] * (now[i] - base[i]), 0.0)
    if push <= _SLACK:
        return False
    part = 0.0 if block else max(1.0 - (abs(value) - limit) / push, 0.0)
    for i in range(now.shape[0]):
        if now[i] != base[i] and side * slope[i] * (now[i] - base[i]) > 0.0:
            _cut(now, base, share, code_of, i, part, code)
    return True


@compiled
def _cap_line(
    now: FloatArray,
    base: FloatArray,
    share: FloatArray,
    code_of: IntArray,
    slope: FloatArray,
    limit: float,
    code: int,
) -> None:
    """Hold the same sum by taking back all wishes alike: what holds at both ends of that way holds on it."""
    start, end = _along(base, slope), _along(now, slope)
    if abs(end) > max(limit, abs(start)) + 1e-9:
        _cut_all(now, base, share, code_of, _way(start, end, limit), code)


@compiled
def _cap_sums(
    now: FloatArray,
    base: FloatArray,
    share: FloatArray,
    code_of: IntArray,
    beta: FloatArray,
    net_limit: float,
    beta_limit: float,
    blocks: BoolArray,
) -> None:
    """Hold net and beta: each takes back what pushes it out, until they agree; all alike where they do not."""
    ones = np.ones(now.shape[0])
    for _ in range(_ROUNDS):
        changed = net_limit < np.inf and _cap_sum(now, base, share, code_of, ones, net_limit, blocks[NET], NET)
        if beta_limit < np.inf and _cap_sum(now, base, share, code_of, beta, beta_limit, blocks[BETA], BETA):
            changed = True
        if not changed:
            return
    if net_limit < np.inf:
        _cap_line(now, base, share, code_of, ones, net_limit, NET)
    if beta_limit < np.inf:
        _cap_line(now, base, share, code_of, beta, beta_limit, BETA)


@compiled
def _product(one: FloatArray, other: FloatArray, covariance: FloatArray) -> float:
    total = 0.0
    for i in range(one.shape[0]):
        if one[i] == 0.0:
            continue
        part = 0.0
        for j in range(other.shape[0]):
            if other[j] != 0.0:
                part += covariance[i, j] * other[j]
        total += one[i] * part
    return total


@compiled
def _cap_risk(
    now: FloatArray,
    base: FloatArray,
    share: FloatArray,
    code_of: IntArray,
    covariance: FloatArray,
    limit: float,
    block: bool,
    code: int,
) -> None:
    """Hold the book's standard deviation within a limit: every wish goes the same part of its way.

    The variance along that way is a parabola, ``v(s) = a + 2 b s + c s^2``; the part is its root within, written so
    that nothing cancels. Where the floor's risk is beyond the limit, or not known, nothing is added to it.
    """
    most = limit * limit
    if _product(now, now, covariance) <= most * (1.0 + 1e-9):
        return
    part = 0.0
    a = _product(base, base, covariance)
    if not block and a < most:
        step = now - base
        b, c = _product(base, step, covariance), _product(step, step, covariance)
        root = np.sqrt(max(b * b + c * (most - a), 0.0))
        part = (most - a) / (b + root) if b > 0.0 else (root - b) / c
        part = min(max(part, 0.0), 1.0)
    _cut_all(now, base, share, code_of, part, code)


@compiled
def _queue(order: IntArray, symbol_of: IntArray, symbols: int) -> IntArray:
    """Return the symbols in the order in which their first columns are served."""
    queue, seen = np.empty(symbols, np.int64), np.zeros(symbols, np.bool_)
    count = int(np.int64(0))  # an int64 from the start, for numba's types
    for m in order:
        if not seen[symbol_of[m]]:
            seen[symbol_of[m]] = True
            queue[count] = symbol_of[m]
            count += 1
    return queue[:count]


@compiled
def _hold_all(
    now: FloatArray,
    base: FloatArray,
    share: FloatArray,
    code_of: IntArray,
    queue: IntArray,
    sector_of: IntArray,
    sectors: int,
    limits: FloatArray,
    blocks: BoolArray,
    liquidity: FloatArray,
    beta: FloatArray,
    covariance: FloatArray,
) -> None:
    """Take back wishes until every limit holds.

    Smaller wishes keep sizes and their sums within their limits, so that one turn is enough, but where a symbol has
    columns on both sides: there a wish may have made it smaller. What has not settled by then is left at its floor.
    """
    symbols, hedged = now.shape[0], False
    for i in range(symbols):
        hedged |= abs(now[i]) < abs(base[i]) or now[i] * base[i] < 0.0
    cap, everything = np.full(symbols, limits[L_POSITION]), np.zeros(symbols, np.int64)
    beta_limit = limits[L_BETA] if beta.shape[0] > 0 else np.inf
    for turn in range(_ROUNDS):
        changed = _cap_symbols(now, base, share, code_of, cap, blocks[POSITION], POSITION)
        if _cap_symbols(now, base, share, code_of, liquidity, blocks[LIQUIDITY], LIQUIDITY):
            changed = True
        if limits[L_SECTOR] < np.inf and _cap_groups(
            now, base, share, code_of, sector_of, sectors, limits[L_SECTOR], blocks[SECTOR], SECTOR
        ):
            changed = True
        if covariance.shape[0] > 0 and limits[L_CORRELATION] < np.inf and _cap_correlated(
            now, base, share, code_of, queue, covariance, limits[L_CORRELATION], limits[L_CORRELATED],
            blocks[CORRELATION],
        ):  # fmt: skip
            changed = True
        if _cap_groups(now, base, share, code_of, everything, 1, limits[L_GROSS], blocks[GROSS], GROSS):
            changed = True
        if turn > 0 and not changed:
            return
        _cap_sums(now, base, share, code_of, beta, limits[L_NET], beta_limit, blocks)
        if covariance.shape[0] > 0:
            for which, code in ((L_VAR, RISK), (L_VOLATILITY, VOLATILITY)):
                if limits[which] < np.inf:
                    _cap_risk(now, base, share, code_of, covariance, limits[which], blocks[code], code)
        if not hedged:
            return
    _cut_all(now, base, share, code_of, 0.0, GROSS)


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
    floor = np.empty(columns)
    base, now = np.zeros(symbols), np.zeros(symbols)
    needs_beta, needs_covariance = beta.shape[0] > 0, covariance.shape[0] > 0
    for m in range(columns):
        i = symbol_of[m]
        bound[m] = NONE
        floor[m] = allowed[m] = held[m]
        if wish[m] == wish[m]:
            floor[m], allowed[m] = _floor(held[m], wish[m]), wish[m]
            if _opens(held[m], wish[m]):
                unknown = needs_beta and beta[i] != beta[i]
                unknown |= needs_covariance and covariance[i, i] != covariance[i, i]
                if stopped != 0:
                    bound[m] = stopped
                elif unknown or liquidity[i] != liquidity[i]:
                    bound[m] = UNKNOWN
                elif wish[m] < 0.0 and not borrowable[i]:
                    bound[m] = BORROW
                allowed[m] = floor[m] if bound[m] != NONE else wish[m]
        base[i] += floor[m]
        now[i] += allowed[m]
    share, code_of = np.ones(symbols), np.zeros(symbols, np.int64)
    queue = _queue(order, symbol_of, symbols)
    _hold_all(
        now, base, share, code_of, queue, sector_of, sectors, limits, blocks, liquidity, beta, covariance
    )  # fmt: skip
    for m in range(columns):
        i = symbol_of[m]
        if wish[m] != wish[m]:
            allowed[m] = np.nan
        elif code_of[i] != NONE and allowed[m] != floor[m]:
            allowed[m] = floor[m] + share[i] * (allowed[m] - floor[m])
            bound[m] = code_of[i]

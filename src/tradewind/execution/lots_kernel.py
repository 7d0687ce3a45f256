"""First in, first out: the compiled fold of fills and corporate actions over the lots that are open.

Everything is an integer: money in cents, shares in thousand-millionths. What is split between lots is rounded and the
rest stays with the last part, so that nothing is lost and nothing appears.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

IntArray = NDArray[np.int64]

_QUICK: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
compiled = njit(error_model="numpy", **_QUICK)
entry = njit(cache=True, error_model="numpy")

# --- layout: columns of `flow`, one row a thing that happened, in order --------------------------------------
F_KIND, F_KEY, F_MOMENT, F_SHARES, F_CENTS, F_COST = range(6)
FLOW_FIELDS = 6
FILL, SPLIT, IN_LIEU, INCOME, ACCOUNT = range(5)

# --- layout: columns of `lots` (the last is a link, -1 at the end) and of `closed` ---------------------------
L_KEY, L_SHARES, L_MOMENT, L_CENTS, L_COST, L_INCOME, L_NEXT = range(7)
LOT_FIELDS = 7
C_KEY, C_SHARES, C_ENTRY, C_EXIT, C_IN, C_OUT, C_IN_COST, C_OUT_COST, C_INCOME = range(9)
CLOSED_FIELDS = 9


@compiled
def _part(whole: int, part: int, total: int) -> int:
    """Return the part's share of a whole; all of it where nothing else is left."""
    if part == total:
        return whole
    return int(np.rint(whole * (part / total)))


@compiled
def _append(lots: IntArray, heads: IntArray, tails: IntArray, lot: int, key: int) -> None:
    lots[lot, L_NEXT] = -1
    if heads[key] < 0:
        heads[key] = lot
    else:
        lots[tails[key], L_NEXT] = lot
    tails[key] = lot


@compiled
def _take_from_first(
    lots: IntArray, heads: IntArray, closed: IntArray, row: int, key: int, moment: int, take: int, cents: int, cost: int
) -> None:
    """Close shares of a key's oldest lot against cash that came for them, and write it down."""
    lot = heads[key]
    held = lots[lot, L_SHARES]
    size = abs(held)
    closed[row, C_KEY] = key
    closed[row, C_SHARES] = take if held > 0 else -take
    closed[row, C_ENTRY] = lots[lot, L_MOMENT]
    closed[row, C_EXIT] = moment
    closed[row, C_OUT] = cents
    closed[row, C_OUT_COST] = cost
    closed[row, C_IN] = _part(lots[lot, L_CENTS], take, size)
    closed[row, C_IN_COST] = _part(lots[lot, L_COST], take, size)
    closed[row, C_INCOME] = _part(lots[lot, L_INCOME], take, size)
    lots[lot, L_SHARES] -= closed[row, C_SHARES]
    lots[lot, L_CENTS] -= closed[row, C_IN]
    lots[lot, L_COST] -= closed[row, C_IN_COST]
    lots[lot, L_INCOME] -= closed[row, C_INCOME]
    if take == size:
        heads[key] = lots[lot, L_NEXT]


@compiled
def _close_empty(lots: IntArray, heads: IntArray, closed: IntArray, done: int, key: int, moment: int) -> int:
    """Close the oldest lots that a split has left without a share."""
    while heads[key] >= 0 and lots[heads[key], L_SHARES] == 0:
        _take_from_first(lots, heads, closed, done, key, moment, 0, 0, 0)
        done += 1
    return done


@compiled
def _held(lots: IntArray, heads: IntArray, first: int, span: int) -> int:
    total = 0
    for key in range(first, first + span):
        lot = heads[key]
        while lot >= 0:
            total += lots[lot, L_SHARES]
            lot = lots[lot, L_NEXT]
    return total


@compiled
def _spread_income(lots: IntArray, heads: IntArray, first: int, span: int, cents: int) -> int:
    """Share cash among the lots of some keys by their shares; return what nobody was there to take."""
    total = _held(lots, heads, first, span)
    if total == 0:
        return cents
    held, given, last = 0, 0, -1
    for key in range(first, first + span):
        lot = heads[key]
        while lot >= 0:
            held += lots[lot, L_SHARES]
            share = int(np.rint(cents * (held / total))) - given
            lots[lot, L_INCOME] += share
            given += share
            last = lot
            lot = lots[lot, L_NEXT]
    lots[last, L_INCOME] += cents - given
    return 0


@compiled
def _split(lots: IntArray, heads: IntArray, first: int, span: int, change: int) -> None:
    """Scale the lots of some keys so that together they have so many shares more (fewer)."""
    total = _held(lots, heads, first, span)
    if total == 0:
        return
    ratio = (total + change) / total
    held, given, last = 0, 0, -1
    for key in range(first, first + span):
        lot = heads[key]
        while lot >= 0:
            held += lots[lot, L_SHARES]
            shares = int(np.rint(held * ratio)) - given
            lots[lot, L_SHARES] = shares
            given += shares
            last = lot
            lot = lots[lot, L_NEXT]
    lots[last, L_SHARES] += total + change - given


@compiled
def _fill(
    lots: IntArray, heads: IntArray, tails: IntArray, closed: IntArray, opened: int, done: int, fill: IntArray
) -> tuple[int, int]:
    """Close the oldest lots of the other side, then open one with what is left; both cash and costs go by shares."""
    key, shares, cents, cost = fill[F_KEY], fill[F_SHARES], fill[F_CENTS], fill[F_COST]
    while shares != 0 and heads[key] >= 0 and (lots[heads[key], L_SHARES] > 0) != (shares > 0):
        left = abs(shares)
        take = min(left, abs(lots[heads[key], L_SHARES]))
        got, paid = _part(cents, take, left), _part(cost, take, left)
        _take_from_first(lots, heads, closed, done, key, fill[F_MOMENT], take, got, paid)
        shares -= take if shares > 0 else -take
        cents -= got
        cost -= paid
        done = _close_empty(lots, heads, closed, done + 1, key, fill[F_MOMENT])
    if shares != 0:
        lots[opened, L_KEY] = key
        lots[opened, L_SHARES] = shares
        lots[opened, L_MOMENT] = fill[F_MOMENT]
        lots[opened, L_CENTS] = cents
        lots[opened, L_COST] = cost
        lots[opened, L_INCOME] = 0
        _append(lots, heads, tails, opened, key)
        opened += 1
    return opened, done


@entry
def replay(
    flow: IntArray, span: int, opened: int, lots: IntArray, heads: IntArray, tails: IntArray, closed: IntArray
) -> tuple[int, int, int]:
    """Fold a flow into the lots.

    Parameters
    ----------
    flow
        ``(L, 6)``.
    span
        Keys of one symbol, which stand side by side: a split or income of a symbol concerns all of them.
    opened
        Lots that were open before, the first rows of ``lots``.
    lots
        ``(opened + fills, 7)``, changed in place.
    heads, tails
        ``(K,)`` oldest and newest lot of each key, −1 for none; changed in place.
    closed
        ``(opened + 2 * fills, 9)``, written from the top.

    Returns
    -------
        Lots ever opened, rows of ``closed``, and cents that belong to no lot.
    """
    done, account = 0, 0
    for row in range(flow.shape[0]):
        kind, key, moment = flow[row, F_KIND], flow[row, F_KEY], flow[row, F_MOMENT]
        cents = flow[row, F_CENTS]
        if kind == FILL:
            opened, done = _fill(lots, heads, tails, closed, opened, done, flow[row])
        elif kind == SPLIT:
            account += _spread_income(lots, heads, key, span, cents)
            if row + 1 < flow.shape[0] and flow[row + 1, F_KIND] == IN_LIEU and flow[row + 1, F_KEY] == key:
                # By the shares before the split: after it there may be none.
                account += _spread_income(lots, heads, key, span, flow[row + 1, F_CENTS])
            _split(lots, heads, key, span, flow[row, F_SHARES])
            for one in range(key, key + span):
                done = _close_empty(lots, heads, closed, done, one, moment)
        elif kind == IN_LIEU:
            if row == 0 or flow[row - 1, F_KIND] != SPLIT or flow[row - 1, F_KEY] != key:
                account += _spread_income(lots, heads, key, span, cents)
        elif kind == INCOME:
            account += _spread_income(lots, heads, key, span, cents)
        else:
            account += cents
    return opened, done, account

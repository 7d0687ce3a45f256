"""The compiled step `(book, bar, orders) -> (book, fills)`, and its loop over history.

Everything compiled lives in this one file: numba's cache notices a change of the file a function is in, not of
the files it calls into. Money is whole cents held in float64 (exact to 9e13 currency units), so that sums do not
depend on the order of the symbols. Shares are multiples of a millionth. ``docs/fill-rules.md`` states the rules;
the functions here follow its sections.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

# --- layout: rows of `state` (one column a symbol) -----------------------------------------------------------
SHARES, MARK, ENTRY, STOP, TAKE, TRAIL, EXTREME, MAX_BARS, AGE = range(9)
TARGET, T_STOP, T_TAKE, T_TRAIL, T_MAX_BARS, T_PRIORITY, T_ROW = range(9, 16)
EXITING, STALE, USED = range(16, 19)
IN_ROW, IN_QUANTITY, IN_VALUE, OUT_QUANTITY, OUT_VALUE, COSTS, DIVIDENDS, BORROW = range(19, 27)
LAST, VARIANCE, VOLUME, ATR = range(27, 31)
STATE_ROWS = 31

# --- layout: `scalars` ---------------------------------------------------------------------------------------
CASH, EQUITY, LONG, SHORT, INTEREST_DUE, BORROW_DUE, ROW, LIQUIDATE, SEQUENCE = range(9)
FILLS, EVENTS, TRADES = range(9, 12)
(
    AMBIGUOUS,
    CLIPPED_CASH,
    CLIPPED_VOLUME,
    REJECTED_PRICE,
    REJECTED_SHORT,
    REJECTED_CASH,
    WAITED,
    CANCELLED_BY_EXIT,
    DELISTED,
    MARGIN_CALLS,
    UNKNOWN_VOLUME,
    EXPIRED,
) = range(12, 24)
SCALARS = 24
COUNTERS = {
    "ambiguous_bars": AMBIGUOUS,
    "clipped_by_cash": CLIPPED_CASH,
    "clipped_by_volume": CLIPPED_VOLUME,
    "rejected_without_price": REJECTED_PRICE,
    "rejected_short": REJECTED_SHORT,
    "rejected_without_cash": REJECTED_CASH,
    "waited_for_a_bar": WAITED,
    "cancelled_by_exit": CANCELLED_BY_EXIT,
    "delisted": DELISTED,
    "margin_calls": MARGIN_CALLS,
    "fills_without_known_volume": UNKNOWN_VOLUME,
    "expired": EXPIRED,
}

# --- layout: `params` ----------------------------------------------------------------------------------------
(
    P_AT_CLOSE,
    P_COMMISSION,
    P_PER_SHARE,
    P_MINIMUM,
    P_SPREAD,
    P_SLIPPAGE,
    P_IMPACT,
    P_LOOKBACK,
    P_PARTICIPATION,
    P_CARRY,
    P_SHORT_ALLOWED,
    P_BORROW,
    P_INTEREST,
    P_MARGIN_INTEREST,
    P_LEVERAGE,
    P_MAINTENANCE,
    P_GRID,
    P_BAND,
    P_DELISTED_AFTER,
    P_HAIRCUT,
    P_STATISTICS,
) = range(21)
PARAMS = 21

# --- layout: records -----------------------------------------------------------------------------------------
F_ROW, F_COLUMN, F_QUANTITY, F_PRICE, F_CASH, F_COMMISSION, F_SPREAD, F_SLIPPAGE, F_IMPACT = range(9)
F_REASON, F_ORDER, F_DECIDED, F_PHASE, F_SEQUENCE = range(9, 14)
FILL_FIELDS = 14
E_ROW, E_COLUMN, E_KIND, E_SHARES, E_CASH, E_PRICE, E_SEQUENCE = range(7)
EVENT_FIELDS = 7
(
    R_COLUMN,
    R_IN_ROW,
    R_OUT_ROW,
    R_SIDE,
    R_QUANTITY,
    R_IN_PRICE,
    R_OUT_PRICE,
    R_GROSS,
    R_COSTS,
    R_DIVIDENDS,
    R_BORROW,
    R_AGE,
    R_REASON,
) = range(13)
TRADE_FIELDS = 13

SPLIT_EVENT, IN_LIEU_EVENT, DIVIDEND_EVENT, INTEREST_EVENT, BORROW_EVENT = range(5)
EVENT_KINDS = ("split", "cash_in_lieu", "dividend", "interest", "borrow")

SIGNAL, BY_STOP, BY_TAKE, BY_TRAIL, BY_TIME, BY_DELISTING, BY_MARGIN, BY_SPLIT = range(8)
REASONS = ("signal", "stop", "take_profit", "trail", "time", "delisted", "margin_call", "cash_in_lieu")
AT_OPEN, IN_BAR, AT_CLOSE = range(3)
PHASES = ("open", "bar", "close")

MILLION = 1e6
NOBODY = -1.0


@njit(cache=True)
def _tidy(quantity: float) -> float:
    return np.rint(quantity * MILLION) / MILLION


@njit(cache=True)
def _whole_lots(quantity: float, grid: float) -> float:
    """Round towards zero to the grid of tradable quantities (`grid` lots a share)."""
    return np.trunc(quantity * grid + np.sign(quantity) * 1e-7) / grid


@njit(cache=True)
def _cents(amount: float) -> float:
    return np.rint(amount * 100.0)


# --- costs ---------------------------------------------------------------------------------------------------


@njit(cache=True)
def _impact_fraction(state: FloatArray, params: FloatArray, column: int, quantity: float) -> float:
    if params[P_IMPACT] == 0.0 or not state[VOLUME, column] > 0.0:
        return 0.0
    return params[P_IMPACT] * np.sqrt(state[VARIANCE, column] * quantity / state[VOLUME, column])


@njit(cache=True)
def _costs(
    state: FloatArray, params: FloatArray, column: int, quantity: float, price: float, passive: bool
) -> tuple[float, float, float, float]:
    """Commission, half spread, slippage and impact of a fill, in cents. A passive fill pays commission only."""
    notional = quantity * price
    commission = _cents(max(params[P_MINIMUM], notional * params[P_COMMISSION] + quantity * params[P_PER_SHARE]))
    if passive:
        return commission, 0.0, 0.0, 0.0
    impact = _impact_fraction(state, params, column, quantity)
    return (
        commission,
        _cents(notional * params[P_SPREAD]),
        _cents(notional * params[P_SLIPPAGE]),
        _cents(notional * impact),
    )


@njit(cache=True)
def _affordable(
    state: FloatArray,
    scalars: FloatArray,
    params: FloatArray,
    column: int,
    quantity: float,
    price: float,
    passive: bool,
) -> float:
    """Return how much of an exposure-increasing quantity keeps gross exposure within leverage times equity."""
    leverage = params[P_LEVERAGE]
    equity = scalars[CASH] + scalars[LONG] - scalars[SHORT]
    room = leverage * equity - scalars[LONG] - scalars[SHORT]
    a, b, c, d = _costs(state, params, column, quantity, price, passive)
    if _cents(quantity * price) + leverage * (a + b + c + d) <= room:
        return quantity
    rate = params[P_COMMISSION]
    if not passive:
        rate += params[P_SPREAD] + params[P_SLIPPAGE] + _impact_fraction(state, params, column, quantity)
    unit = price * 100.0 * (1.0 + leverage * rate) + leverage * params[P_PER_SHARE] * 100.0
    fixed = leverage * (params[P_MINIMUM] * 100.0 + 3.0) + 1.0
    return min(quantity, _whole_lots(max(room - fixed, 0.0) / unit, params[P_GRID]))


@njit(cache=True)
def _volume_room(state: FloatArray, scalars: FloatArray, params: FloatArray, column: int, volume: float) -> float:
    if volume != volume:
        scalars[UNKNOWN_VOLUME] += 1
        return np.inf
    return _whole_lots(max(params[P_PARTICIPATION] * volume - state[USED, column], 0.0), params[P_GRID])


# --- the book ------------------------------------------------------------------------------------------------


@njit(cache=True)
def _value(state: FloatArray, column: int) -> float:
    return _cents(state[SHARES, column] * state[MARK, column])


@njit(cache=True)
def _count_value(scalars: FloatArray, value: float, sign: float) -> None:
    if value > 0.0:
        scalars[LONG] += sign * value
    else:
        scalars[SHORT] -= sign * value


@njit(cache=True)
def _open_position(state: FloatArray, scalars: FloatArray, column: int, price: float) -> None:
    state[ENTRY, column] = price
    state[EXTREME, column] = price
    state[AGE, column] = 0.0
    state[IN_ROW, column] = scalars[ROW]
    for row in (STOP, TAKE, TRAIL, MAX_BARS):
        state[row, column] = np.nan
    for row in (IN_QUANTITY, IN_VALUE, OUT_QUANTITY, OUT_VALUE, COSTS, DIVIDENDS, BORROW, EXITING):
        state[row, column] = 0.0


@njit(cache=True)
def _close_trade(
    state: FloatArray, scalars: FloatArray, trades: FloatArray, column: int, side: float, reason: int
) -> None:
    record = trades[int(scalars[TRADES])]
    scalars[TRADES] += 1
    record[R_COLUMN] = column
    record[R_IN_ROW] = state[IN_ROW, column]
    record[R_OUT_ROW] = scalars[ROW]
    record[R_SIDE] = side
    record[R_QUANTITY] = state[IN_QUANTITY, column]
    record[R_IN_PRICE] = state[IN_VALUE, column] / 100.0 / state[IN_QUANTITY, column]
    record[R_OUT_PRICE] = state[OUT_VALUE, column] / 100.0 / state[OUT_QUANTITY, column]
    record[R_GROSS] = side * (state[OUT_VALUE, column] - state[IN_VALUE, column])
    record[R_COSTS] = state[COSTS, column]
    record[R_DIVIDENDS] = state[DIVIDENDS, column]
    record[R_BORROW] = state[BORROW, column]
    record[R_AGE] = state[AGE, column]
    record[R_REASON] = reason
    state[ENTRY, column] = np.nan
    state[EXITING, column] = 0.0


@njit(cache=True)
def _fill(
    state: FloatArray,
    scalars: FloatArray,
    params: FloatArray,
    fills: FloatArray,
    trades: FloatArray,
    column: int,
    quantity: float,
    price: float,
    reason: int,
    passive: bool,
    phase: int,
    order: float,
    decided: float,
) -> None:
    """Book one fill; it opens, adds to or reduces a position, never crosses zero."""
    held = state[SHARES, column]
    size = abs(quantity)
    commission, spread, slippage, impact = _costs(state, params, column, size, price, passive)
    costs = commission + spread + slippage + impact
    notional = _cents(size * price)
    paid = -notional if quantity > 0.0 else notional
    _count_value(scalars, _value(state, column), -1.0)
    state[MARK, column] = price
    state[SHARES, column] = _tidy(held + quantity)
    state[USED, column] += size
    _count_value(scalars, _value(state, column), 1.0)
    scalars[CASH] += paid - costs
    record = fills[int(scalars[FILLS])]
    scalars[FILLS] += 1
    record[F_ROW] = scalars[ROW]
    record[F_COLUMN] = column
    record[F_QUANTITY] = quantity
    record[F_PRICE] = price
    record[F_CASH] = paid
    record[F_COMMISSION] = commission
    record[F_SPREAD] = spread
    record[F_SLIPPAGE] = slippage
    record[F_IMPACT] = impact
    record[F_REASON] = reason
    record[F_ORDER] = order
    record[F_DECIDED] = decided
    record[F_PHASE] = phase
    record[F_SEQUENCE] = scalars[SEQUENCE]
    scalars[SEQUENCE] += 1
    if held == 0.0:
        _open_position(state, scalars, column, price)
    if held * quantity >= 0.0:
        grown = abs(held) + size
        state[ENTRY, column] = (abs(held) * state[ENTRY, column] + size * price) / grown
        state[IN_QUANTITY, column] += size
        state[IN_VALUE, column] += notional
    else:
        state[OUT_QUANTITY, column] += size
        state[OUT_VALUE, column] += notional
    state[COSTS, column] += costs
    if state[SHARES, column] == 0.0:
        _close_trade(state, scalars, trades, column, np.sign(held), reason)


@njit(cache=True)
def _event(
    scalars: FloatArray, events: FloatArray, column: float, kind: int, shares: float, cash: float, price: float
) -> None:
    record = events[int(scalars[EVENTS])]
    scalars[EVENTS] += 1
    record[E_ROW] = scalars[ROW]
    record[E_COLUMN] = column
    record[E_KIND] = kind
    record[E_SHARES] = shares
    record[E_CASH] = cash
    record[E_PRICE] = price
    record[E_SEQUENCE] = scalars[SEQUENCE]
    scalars[SEQUENCE] += 1
    scalars[CASH] += cash


# --- before the open: interest, sizing, corporate actions, delistings -----------------------------------------


@njit(cache=True)
def _accrue(scalars: FloatArray, params: FloatArray, events: FloatArray, years: float) -> None:
    """Interest and borrow since the last close; fractions of a cent wait for the next bar."""
    free = scalars[CASH] - scalars[SHORT]
    if free > 0.0:
        scalars[INTEREST_DUE] += free * params[P_INTEREST] * years
    elif scalars[CASH] < 0.0:
        scalars[INTEREST_DUE] += scalars[CASH] * params[P_MARGIN_INTEREST] * years
    scalars[BORROW_DUE] += scalars[SHORT] * params[P_BORROW] * years
    whole = np.rint(scalars[INTEREST_DUE])
    if whole != 0.0:
        scalars[INTEREST_DUE] -= whole
        _event(scalars, events, NOBODY, INTEREST_EVENT, 0.0, whole, np.nan)
    whole = np.rint(scalars[BORROW_DUE])
    if whole != 0.0:
        scalars[BORROW_DUE] -= whole
        _event(scalars, events, NOBODY, BORROW_EVENT, 0.0, -whole, np.nan)


@njit(cache=True)
def _decide(
    state: FloatArray,
    scalars: FloatArray,
    params: FloatArray,
    column: int,
    weight: float,
    stop: float,
    take: float,
    trail: float,
    max_bars: float,
    priority: float,
    decided: float,
) -> None:
    """Turn a target weight into a target number of shares, at the last close and its equity."""
    if weight < 0.0 and params[P_SHORT_ALLOWED] == 0.0:
        weight = 0.0
        scalars[REJECTED_SHORT] += 1
    held = state[SHARES, column]
    price = state[MARK, column]
    state[TARGET, column] = np.nan
    if not price > 0.0:
        if weight != 0.0:
            scalars[REJECTED_PRICE] += 1
        return
    equity = max(scalars[EQUITY], 0.0)
    target = _whole_lots(weight * equity / 100.0 / price, params[P_GRID])
    state[EXITING, column] = 0.0
    change = abs(target - held)
    if change == 0.0 or (held * target > 0.0 and change * price * 100.0 < params[P_BAND] * equity):
        return
    state[TARGET, column] = target
    state[T_STOP, column] = stop
    state[T_TAKE, column] = take
    state[T_TRAIL, column] = trail
    state[T_MAX_BARS, column] = max_bars
    state[T_PRIORITY, column] = priority
    state[T_ROW, column] = decided


@njit(cache=True)
def _split(
    state: FloatArray,
    scalars: FloatArray,
    params: FloatArray,
    events: FloatArray,
    trades: FloatArray,
    column: int,
    ratio: float,
) -> None:
    """Scale everything counted in shares or in price per share; a fraction of a lot is paid out in cash."""
    held = state[SHARES, column]
    for row in (MARK, ENTRY, EXTREME, LAST, ATR):
        state[row, column] /= ratio
    for row in (IN_QUANTITY, OUT_QUANTITY, VOLUME):
        state[row, column] *= ratio
    state[TARGET, column] = _whole_lots(state[TARGET, column] * ratio, params[P_GRID])
    if held == 0.0:
        return
    exact = held * ratio
    kept = _tidy(_whole_lots(exact, params[P_GRID]))
    state[SHARES, column] = kept
    _event(scalars, events, column, SPLIT_EVENT, kept - held, 0.0, state[MARK, column])
    cash = _cents((exact - kept) * state[MARK, column])
    if cash != 0.0:
        _event(scalars, events, column, IN_LIEU_EVENT, 0.0, cash, state[MARK, column])
    if kept != exact:
        state[OUT_QUANTITY, column] += abs(exact - kept)
        state[OUT_VALUE, column] += abs(cash)
    if kept == 0.0:
        _close_trade(state, scalars, trades, column, np.sign(held), BY_SPLIT)


@njit(cache=True)
def _delist(
    state: FloatArray,
    scalars: FloatArray,
    params: FloatArray,
    fills: FloatArray,
    trades: FloatArray,
    column: int,
    cash_per_share: float,
) -> None:
    """Close a position in a symbol that trades no more, at the cash it pays or at its last close less a haircut."""
    state[TARGET, column] = np.nan
    held = state[SHARES, column]
    if held == 0.0:
        return
    price = cash_per_share
    if price != price:
        price = state[MARK, column] * (1.0 - params[P_HAIRCUT] if held > 0.0 else 1.0)
    scalars[DELISTED] += 1
    _fill(
        state, scalars, params, fills, trades, column, -held, price, BY_DELISTING, False, AT_OPEN, NOBODY, scalars[ROW]
    )


# --- orders against one price --------------------------------------------------------------------------------


@njit(cache=True)
def _trade(
    state: FloatArray,
    scalars: FloatArray,
    params: FloatArray,
    fills: FloatArray,
    trades: FloatArray,
    column: int,
    wanted: float,
    price: float,
    volume: float,
    reason: int,
    passive: bool,
    phase: int,
    order: float,
    decided: float,
) -> float:
    """Fill what volume and (where exposure grows) cash allow of a quantity that does not cross zero.

    Returns the signed quantity filled.
    """
    size = abs(wanted)
    room = _volume_room(state, scalars, params, column, volume)
    if room < size:
        scalars[CLIPPED_VOLUME] += 1
        size = room
    if size > 0.0 and state[SHARES, column] * wanted >= 0.0:
        allowed = _affordable(state, scalars, params, column, size, price, passive)
        if allowed < size:
            scalars[CLIPPED_CASH if allowed > 0.0 else REJECTED_CASH] += 1
            size = allowed
    if size <= 0.0:
        return 0.0
    quantity = size if wanted > 0.0 else -size
    _fill(state, scalars, params, fills, trades, column, quantity, price, reason, passive, phase, order, decided)
    return quantity


@njit(cache=True)
def _exit(
    state: FloatArray,
    scalars: FloatArray,
    params: FloatArray,
    fills: FloatArray,
    trades: FloatArray,
    column: int,
    price: float,
    volume: float,
    reason: int,
    passive: bool,
    phase: int,
) -> None:
    """Close a position because of its bracket, its age or a margin call; what volume cuts off goes on next bar."""
    if state[TARGET, column] == state[TARGET, column]:
        state[TARGET, column] = np.nan
        scalars[CANCELLED_BY_EXIT] += 1
    held = state[SHARES, column]
    _trade(
        state,
        scalars,
        params,
        fills,
        trades,
        column,
        -held,
        price,
        volume,
        reason,
        passive,
        phase,
        NOBODY,
        scalars[ROW],
    )
    if state[SHARES, column] != 0.0:
        state[EXITING, column] = reason


@njit(cache=True)
def _take_over_bracket(state: FloatArray, column: int) -> None:
    for ours, theirs in ((STOP, T_STOP), (TAKE, T_TAKE), (TRAIL, T_TRAIL), (MAX_BARS, T_MAX_BARS)):
        if state[theirs, column] == state[theirs, column]:
            state[ours, column] = state[theirs, column]


@njit(cache=True)
def _towards_target(
    state: FloatArray,
    scalars: FloatArray,
    params: FloatArray,
    fills: FloatArray,
    trades: FloatArray,
    column: int,
    price: float,
    volume: float,
    phase: int,
    growing: bool,
) -> None:
    """Trade the reducing part, or in a second pass the growing part, of what is missing to the target."""
    held = state[SHARES, column]
    target = state[TARGET, column]
    wanted = _tidy(target - held)
    if not growing:
        if held * wanted >= 0.0:
            return
        wanted = -held if held * target <= 0.0 else wanted
    elif wanted == 0.0 or held * wanted < 0.0:
        return
    done = _trade(
        state,
        scalars,
        params,
        fills,
        trades,
        column,
        wanted,
        price,
        volume,
        SIGNAL,
        False,
        phase,
        NOBODY,
        state[T_ROW, column],
    )
    if done != 0.0 and state[SHARES, column] != 0.0:
        _take_over_bracket(state, column)


@njit(cache=True)
def _by_priority(state: FloatArray, todo: IntArray, count: int) -> None:
    """Sort the columns in `todo` by falling priority, in place and stably; NaN comes last."""
    keys = np.empty(count)
    equal = True
    for k in range(count):
        priority = state[T_PRIORITY, todo[k]]
        keys[k] = -priority if priority == priority else np.inf
        equal = equal and keys[k] == keys[0]
    if not equal:
        order = np.argsort(keys, kind="mergesort")
        todo[:count] = todo[:count][order]


@njit(cache=True)
def _reach_targets(
    state: FloatArray,
    scalars: FloatArray,
    params: FloatArray,
    fills: FloatArray,
    trades: FloatArray,
    todo: IntArray,
    count: int,
    price: FloatArray,
    volume: FloatArray,
    phase: int,
) -> None:
    """Reductions first, since they free cash; then increases by priority; then settle what is left over."""
    for k in range(count):
        i = todo[k]
        _towards_target(state, scalars, params, fills, trades, i, price[i], volume[i], phase, False)
    _by_priority(state, todo, count)
    for k in range(count):
        i = todo[k]
        _towards_target(state, scalars, params, fills, trades, i, price[i], volume[i], phase, True)
    for k in range(count):
        i = todo[k]
        cut_by_volume = _whole_lots(params[P_PARTICIPATION] * volume[i] - state[USED, i], params[P_GRID]) <= 0.0
        if state[TARGET, i] == state[SHARES, i] or params[P_CARRY] == 0.0 or not cut_by_volume:
            state[TARGET, i] = np.nan


# --- within the bar ------------------------------------------------------------------------------------------


@njit(cache=True)
def _protective_level(state: FloatArray, column: int, side: float) -> tuple[float, int]:
    """Return the tighter of stop and trailing stop, and which one it is; NaN for neither."""
    level = state[ENTRY, column] * (1.0 - side * state[STOP, column])
    trailing = state[EXTREME, column] * (1.0 - side * state[TRAIL, column])
    if level != level or side * (trailing - level) > 0.0:
        return trailing, BY_TRAIL
    return level, BY_STOP


@njit(cache=True)
def _check_bracket(
    state: FloatArray,
    scalars: FloatArray,
    params: FloatArray,
    fills: FloatArray,
    trades: FloatArray,
    i: int,
    open_: float,
    high: float,
    low: float,
    volume: float,
) -> None:
    """Stop, trail and take-profit of one position: the open decides first, then the worst case."""
    side = np.sign(state[SHARES, i])
    worst, best = (low, high) if side > 0.0 else (high, low)
    level, reason = _protective_level(state, i, side)
    goal = state[ENTRY, i] * (1.0 + side * state[TAKE, i])
    stopped = side * (worst - level) <= 0.0
    reached = side * (best - goal) >= 0.0
    if not (stopped or reached):
        return
    if side * (open_ - level) <= 0.0:
        _exit(state, scalars, params, fills, trades, i, open_, volume, reason, False, IN_BAR)
    elif side * (open_ - goal) >= 0.0:
        _exit(state, scalars, params, fills, trades, i, open_, volume, BY_TAKE, True, IN_BAR)
    elif stopped:
        scalars[AMBIGUOUS] += 1.0 if reached else 0.0
        _exit(state, scalars, params, fills, trades, i, level, volume, reason, False, IN_BAR)
    else:
        _exit(state, scalars, params, fills, trades, i, goal, volume, BY_TAKE, True, IN_BAR)


@njit(cache=True)
def _update_statistics(
    state: FloatArray, params: FloatArray, i: int, high: float, low: float, close: float, volume: float
) -> None:
    """Exponential mean volume and variance (impact), Wilder's average true range (trailing orders)."""
    last = state[LAST, i]
    weight = 2.0 / (params[P_LOOKBACK] + 1.0)
    if last != last:
        state[VARIANCE, i] = np.log(high / low) ** 2 / (4.0 * np.log(2.0))
        state[VOLUME, i] = volume
        state[ATR, i] = high - low
    else:
        state[VARIANCE, i] += weight * (np.log(close / last) ** 2 - state[VARIANCE, i])
        state[ATR, i] += (max(high - low, abs(high - last), abs(low - last)) - state[ATR, i]) / 14.0
        if state[VOLUME, i] != state[VOLUME, i]:
            state[VOLUME, i] = volume
        elif volume == volume:
            state[VOLUME, i] += weight * (volume - state[VOLUME, i])
    state[LAST, i] = close


# --- the step ------------------------------------------------------------------------------------------------


@njit(cache=True)
def _before_the_open(
    state: FloatArray,
    scalars: FloatArray,
    params: FloatArray,
    fills: FloatArray,
    events: FloatArray,
    trades: FloatArray,
    todo: IntArray,
    years: float,
    open_: FloatArray,
    split: FloatArray,
    dividend: FloatArray,
    mask: BoolArray,
    gone_row: IntArray,
    gone_cash: FloatArray,
) -> int:
    """Corporate actions, halts and delistings; mark the book at the open; list the symbols with work to do."""
    scalars[LONG] = 0.0
    scalars[SHORT] = 0.0
    count = 0
    at_open = params[P_AT_CLOSE] == 0.0
    for i in range(len(mask)):
        if state[SHARES, i] < 0.0:
            state[BORROW, i] -= _value(state, i) * params[P_BORROW] * years
        if split[i] != 1.0 and split[i] > 0.0:
            _split(state, scalars, params, events, trades, i, split[i])
        held = state[SHARES, i]
        if held != 0.0 and dividend[i] != 0.0 and dividend[i] == dividend[i]:
            cash = _cents(held * dividend[i])
            state[DIVIDENDS, i] += cash
            _event(scalars, events, i, DIVIDEND_EVENT, 0.0, cash, dividend[i])
        if mask[i]:
            state[MARK, i] = open_[i]
            state[STALE, i] = 0.0
            state[USED, i] = 0.0
            if state[EXITING, i] != 0.0 or (at_open and state[TARGET, i] == state[TARGET, i]):
                todo[count] = i
                count += 1
        else:
            state[STALE, i] += 1.0
            scalars[WAITED] += 1.0 if state[TARGET, i] == state[TARGET, i] else 0.0
        if held != 0.0:
            _count_value(scalars, _value(state, i), 1.0)
        if gone_row[i] == scalars[ROW]:
            _delist(state, scalars, params, fills, trades, i, gone_cash[i])
        elif state[STALE, i] >= params[P_DELISTED_AFTER]:
            _delist(state, scalars, params, fills, trades, i, np.nan)
    return count


@njit(cache=True)
def _at_the_open(
    state: FloatArray,
    scalars: FloatArray,
    params: FloatArray,
    fills: FloatArray,
    trades: FloatArray,
    todo: IntArray,
    count: int,
    open_: FloatArray,
    volume: FloatArray,
) -> None:
    targets = 0
    for k in range(count):
        i = todo[k]
        if state[EXITING, i] != 0.0:
            reason = int(state[EXITING, i])
            _exit(state, scalars, params, fills, trades, i, open_[i], volume[i], reason, False, AT_OPEN)
        elif state[TARGET, i] == state[TARGET, i]:
            todo[targets] = i
            targets += 1
    _reach_targets(state, scalars, params, fills, trades, todo, targets, open_, volume, AT_OPEN)


@njit(cache=True)
def _within_the_bar(
    state: FloatArray,
    scalars: FloatArray,
    params: FloatArray,
    fills: FloatArray,
    trades: FloatArray,
    open_: FloatArray,
    high: FloatArray,
    low: FloatArray,
    volume: FloatArray,
    mask: BoolArray,
) -> None:
    for i in range(len(mask)):
        if state[SHARES, i] != 0.0 and mask[i] and state[EXITING, i] == 0.0:
            _check_bracket(state, scalars, params, fills, trades, i, open_[i], high[i], low[i], volume[i])


@njit(cache=True)
def _at_the_close(
    state: FloatArray,
    scalars: FloatArray,
    params: FloatArray,
    fills: FloatArray,
    trades: FloatArray,
    todo: IntArray,
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    volume: FloatArray,
    mask: BoolArray,
) -> None:
    """Mark the book at the close; time exits; market-on-close orders."""
    scalars[LONG] = 0.0
    scalars[SHORT] = 0.0
    at_close = params[P_AT_CLOSE] != 0.0
    late = 0
    targets = 0
    for i in range(len(mask)):
        held = state[SHARES, i]
        if mask[i]:
            state[MARK, i] = close[i]
            if at_close and state[TARGET, i] == state[TARGET, i]:
                targets += 1
        if held == 0.0:
            continue
        _count_value(scalars, _value(state, i), 1.0)
        state[AGE, i] += 1.0
        if mask[i]:
            extreme = state[EXTREME, i]
            state[EXTREME, i] = max(extreme, high[i]) if held > 0.0 else min(extreme, low[i])
            if state[AGE, i] >= state[MAX_BARS, i] and state[EXITING, i] == 0.0:
                todo[late] = i
                late += 1
    for k in range(late):
        i = todo[k]
        _exit(state, scalars, params, fills, trades, i, close[i], volume[i], BY_TIME, False, AT_CLOSE)
    if targets > 0:
        targets = 0
        for i in range(len(mask)):
            if mask[i] and state[TARGET, i] == state[TARGET, i]:
                todo[targets] = i
                targets += 1
        _reach_targets(state, scalars, params, fills, trades, todo, targets, close, volume, AT_CLOSE)


@njit(cache=True)
def _check_margin(state: FloatArray, scalars: FloatArray, params: FloatArray) -> None:
    """Order the liquidation of the whole book at the next open when equity is too thin."""
    scalars[EQUITY] = scalars[CASH] + scalars[LONG] - scalars[SHORT]
    gross = scalars[LONG] + scalars[SHORT]
    if gross > 0.0 and scalars[EQUITY] < params[P_MAINTENANCE] * gross:
        scalars[MARGIN_CALLS] += 1.0 if scalars[LIQUIDATE] == 0.0 else 0.0
        scalars[LIQUIDATE] = 1.0
    else:
        scalars[LIQUIDATE] = 0.0


@njit(cache=True)
def step_kernel(
    row: int,
    years: float,
    open_: FloatArray,
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    volume: FloatArray,
    split: FloatArray,
    dividend: FloatArray,
    mask: BoolArray,
    decided: int,
    weight: FloatArray,
    stop: FloatArray,
    take: FloatArray,
    trail: FloatArray,
    max_bars: FloatArray,
    priority: FloatArray,
    gone_row: IntArray,
    gone_cash: FloatArray,
    params: FloatArray,
    state: FloatArray,
    scalars: FloatArray,
    fills: FloatArray,
    events: FloatArray,
    trades: FloatArray,
    todo: IntArray,
) -> None:
    """Take the book from the last close to this one. `decided` < 0 says that no new decisions came."""
    _accrue(scalars, params, events, years)
    scalars[ROW] = row
    if scalars[LIQUIDATE] != 0.0:
        for i in range(len(mask)):
            state[TARGET, i] = np.nan
            state[EXITING, i] = BY_MARGIN if state[SHARES, i] != 0.0 else 0.0
    elif decided >= 0:
        for i in range(len(mask)):
            if weight[i] == weight[i]:
                _decide(
                    state,
                    scalars,
                    params,
                    i,
                    weight[i],
                    stop[i],
                    take[i],
                    trail[i],
                    max_bars[i],
                    priority[i],
                    decided,
                )
    count = _before_the_open(
        state,
        scalars,
        params,
        fills,
        events,
        trades,
        todo,
        years,
        open_,
        split,
        dividend,
        mask,
        gone_row,
        gone_cash,
    )
    if count > 0:
        _at_the_open(state, scalars, params, fills, trades, todo, count, open_, volume)
    _within_the_bar(state, scalars, params, fills, trades, open_, high, low, volume, mask)
    _at_the_close(state, scalars, params, fills, trades, todo, high, low, close, volume, mask)
    _check_margin(state, scalars, params)
    if params[P_STATISTICS] != 0.0:
        for i in range(len(mask)):
            if mask[i]:
                _update_statistics(state, params, i, high[i], low[i], close[i], volume[i])


@njit(cache=True)
def _grown(records: FloatArray, used: float, room: int) -> FloatArray:
    if int(used) + room <= records.shape[0]:
        return records
    larger = np.empty((2 * records.shape[0] + room, records.shape[1]))
    larger[: int(used)] = records[: int(used)]
    return larger


@njit(cache=True)
def history_kernel(
    years: FloatArray,
    open_: FloatArray,
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    volume: FloatArray,
    split: FloatArray,
    dividend: FloatArray,
    mask: BoolArray,
    first_row: int,
    first_plan_row: int,
    delay: int,
    start: int,
    weight: FloatArray,
    stop: FloatArray,
    take: FloatArray,
    trail: FloatArray,
    max_bars: FloatArray,
    priority: FloatArray,
    gone_row: IntArray,
    gone_cash: FloatArray,
    params: FloatArray,
    state: FloatArray,
    scalars: FloatArray,
    totals: FloatArray,
    shares: FloatArray,
) -> Any:
    """Loop the step over a block of bars.

    Bar ``k`` of the block is bar ``first_row + k`` of the book's life and takes the decisions in row
    ``first_plan_row + k`` of the plan's arrays, if there is one and it was decided in bar ``start`` or later.
    Optional plan fields have a single row when they are constant.
    """
    bars, symbols = mask.shape
    room = 8 * symbols + 8
    fills = np.empty((room, FILL_FIELDS))
    events = np.empty((room, EVENT_FIELDS))
    trades = np.empty((room, TRADE_FIELDS))
    todo = np.empty(symbols, np.int64)
    for k in range(bars):
        fills = _grown(fills, scalars[FILLS], room)
        events = _grown(events, scalars[EVENTS], room)
        trades = _grown(trades, scalars[TRADES], room)
        d = first_plan_row + k
        decided = first_row + k - 1 - delay
        if d < 0 or d >= weight.shape[0] or decided < start:
            d = 0
            decided = -1
        step_kernel(
            first_row + k,
            years[k],
            open_[k],
            high[k],
            low[k],
            close[k],
            volume[k],
            split[k],
            dividend[k],
            mask[k],
            decided,
            weight[d],
            stop[d if stop.shape[0] > 1 else 0],
            take[d if take.shape[0] > 1 else 0],
            trail[d if trail.shape[0] > 1 else 0],
            max_bars[d if max_bars.shape[0] > 1 else 0],
            priority[d if priority.shape[0] > 1 else 0],
            gone_row,
            gone_cash,
            params,
            state,
            scalars,
            fills,
            events,
            trades,
            todo,
        )
        totals[0, k] = scalars[EQUITY]
        totals[1, k] = scalars[CASH]
        totals[2, k] = scalars[LONG]
        totals[3, k] = scalars[SHORT]
        for i in range(symbols):
            shares[k, i] = state[SHARES, i]
    return (
        fills[: int(scalars[FILLS])].copy(),
        events[: int(scalars[EVENTS])].copy(),
        trades[: int(scalars[TRADES])].copy(),
    )


@njit(cache=True)
def first_bad_bar(open_: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray, mask: BoolArray) -> int:
    """Return the flat index of the first bar that no market could have made, −1 for none."""
    bars, symbols = mask.shape
    for t in range(bars):
        for i in range(symbols):
            if mask[t, i]:
                o, h, lo, c = open_[t, i], high[t, i], low[t, i], close[t, i]
                if not (lo > 0.0 and lo <= o and o <= h and lo <= c and c <= h and h < np.inf):
                    return t * symbols + i
    return -1

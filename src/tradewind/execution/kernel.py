"""The compiled step `(book, bar, orders) -> (book, fills)`, and its loop over a block of bars.

Everything compiled lives in this one file: numba's cache notices a change of the file a function is in, not of
the files it calls into. Money is whole cents held in float64 (exact to 9e13 currency units), so that sums do not
depend on the order of the symbols. Shares are multiples of a millionth. Codes are floats, because numba compiles
a function anew for every integer constant it is called with. ``docs/fill-rules.md`` states the rules; the
functions here follow its sections.
"""

# ruff: noqa: SIM109  (numba compiles a chain of comparisons to less than a membership test)

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
ByteArray = NDArray[np.uint8]
WordArray = NDArray[np.uint64]

_QUICK: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

compiled = njit(error_model="numpy", **_QUICK)
"""For what only other compiled functions call: it is compiled and cached as a part of them."""

summing = njit(error_model="numpy", fastmath={"reassoc"}, **_QUICK)
"""The same for sums of whole cents, which are exact in any order and may therefore be vectorised."""

entry = njit(cache=True, error_model="numpy")
"""For what Python calls."""

# --- layout: rows of `state`, one column a symbol ------------------------------------------------------------
SHARES, MARK, ENTRY, STOP, TAKE, TRAIL, EXTREME, DUE, BORN = range(9)
TARGET, T_STOP, T_TAKE, T_TRAIL, T_MAX_BARS, T_PRIORITY, T_ROW = range(9, 16)
EXITING, STALE, USED = range(16, 19)
IN_ROW, IN_QUANTITY, IN_VALUE, OUT_QUANTITY, OUT_VALUE, COSTS, DIVIDENDS, BORROW = range(19, 27)
LAST, VARIANCE, VOLUME, ATR = range(27, 31)
STATE_ROWS = 31
# more rows of `state`, where there are quotes: at the bar's open, at its close (sizes are shares shown), within it
Q_BID_OPEN, Q_ASK_OPEN, Q_BIDS_OPEN, Q_ASKS_OPEN, Q_BID_CLOSE, Q_ASK_CLOSE, Q_BIDS_CLOSE, Q_ASKS_CLOSE = range(31, 39)
Q_BID_HIGH, Q_ASK_LOW, Q_HALF_SPREAD, Q_TICK, Q_LEVELS = range(39, 44)
QUOTES_GIVEN = 44
Q_WORST, Q_SPREAD_NOW, Q_SIZE_NOW, Q_LEVELS_NOW, Q_BEYOND_NOW = range(44, 49)
QUOTED_ROWS = 49

# --- layout: `s`, the account's scalars, then its settings ---------------------------------------------------
(
    CASH,
    EQUITY,
    LONG,
    SHORT,
    INTEREST_DUE,
    BORROW_DUE,
    ROW,
    LIQUIDATE,
    LOGGED,
    FIRST_ORDER,
    NEXT_ORDER,
    RANGES,
    BAD_BAR,
) = range(13)
COUNTER_NAMES = (
    "ambiguous_bars",
    "clipped_by_cash",
    "clipped_by_volume",
    "rejected_without_price",
    "rejected_short",
    "rejected_without_cash",
    "waited_for_a_bar",
    "cancelled_by_exit",
    "delisted",
    "margin_calls",
    "fills_without_known_volume",
    "expired",
)
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
    EXPIRIES,
) = range(13, 25)
SCALARS = 25
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
) = range(SCALARS, SCALARS + 20)
PARAMS = 20

# --- layout: rows of `bar` (open is NaN where there is no bar) and of `wish` ---------------------------------
B_OPEN, B_HIGH, B_LOW, B_CLOSE, B_VOLUME, B_SPLIT, B_DIVIDEND = range(7)
W_WEIGHT, W_STOP, W_TAKE, W_TRAIL, W_MAX_BARS, W_PRIORITY = range(6)

# --- layout: records of `log`, in order of happening ---------------------------------------------------------
L_TYPE, L_ROW, L_COLUMN = range(3)
FILL, EVENT, TRADE = 0.0, 1.0, 2.0
F_QUANTITY, F_PRICE, F_CASH, F_COMMISSION, F_SPREAD, F_SLIPPAGE, F_IMPACT = range(3, 10)
F_REASON, F_ORDER, F_DECIDED, F_PHASE = range(10, 14)
E_KIND, E_SHARES, E_CASH, E_PRICE = range(3, 7)
R_IN_ROW, R_SIDE, R_QUANTITY, R_IN_VALUE, R_OUT_QUANTITY, R_OUT_VALUE = range(3, 9)
R_COSTS, R_DIVIDENDS, R_BORROW, R_AGE, R_REASON = range(9, 14)
LOG_FIELDS = 14

SPLIT_EVENT, IN_LIEU_EVENT, DIVIDEND_EVENT, INTEREST_EVENT, BORROW_EVENT = 0.0, 1.0, 2.0, 3.0, 4.0
EVENT_KINDS = ("split", "cash_in_lieu", "dividend", "interest", "borrow")

SIGNAL, BY_STOP, BY_TAKE, BY_TRAIL, BY_TIME, BY_DELISTING, BY_MARGIN, BY_SPLIT = 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0
REASONS = (
    "signal",
    "stop",
    "take_profit",
    "trail",
    "time",
    "delisted",
    "margin_call",
    "cash_in_lieu",
    "market_open",
    "market_close",
    "limit",
    "stop_order",
    "stop_limit",
    "take_profit_order",
    "trailing_percent",
    "trailing_atr",
    "time_exit",
)
FIRST_ORDER_REASON = 8.0
AT_OPEN, IN_BAR, AT_CLOSE = 0.0, 1.0, 2.0
PHASES = ("open", "bar", "close")
NOBODY = -1.0

# --- layout: columns of `orders` -----------------------------------------------------------------------------
O_ID, O_ROW, O_COLUMN, O_LEFT, O_KIND, O_LIMIT, O_STOP, O_TRAIL, O_GOOD = range(9)
O_GROUP, O_PARENT, O_RELATIVE, O_REDUCE, O_STATUS, O_AGE, O_REFERENCE, O_BORN, O_FILLED, O_NAME = range(9, 19)
ORDER_FIELDS = 19
# more columns of `orders`, where there are quotes: shares ahead of a resting order, traded behind them in this bar
O_AHEAD, O_BEHIND = range(19, 21)
QUOTED_ORDER_FIELDS = 21
ORDER_KINDS = (
    "market_open",
    "market_close",
    "limit",
    "stop",
    "stop_limit",
    "take_profit",
    "trailing_percent",
    "trailing_atr",
    "time_exit",
)
MARKET_OPEN, MARKET_CLOSE, LIMIT, STOP_ORDER, STOP_LIMIT = 0.0, 1.0, 2.0, 3.0, 4.0
TAKE_PROFIT, TRAILING_PERCENT, TRAILING_ATR, TIME_EXIT = 5.0, 6.0, 7.0, 8.0
NEW, HELD, WORKING, FILLED, CANCELLED, EXPIRED, REJECTED = 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0
STATUSES = ("new", "held", "working", "filled", "cancelled", "expired", "rejected")
SWEEP_OPEN, SWEEP_STOPS, SWEEP_LIMITS, SWEEP_CHILDREN, SWEEP_CLOSE = 0.0, 1.0, 2.0, 3.0, 4.0

MILLION = 1e6


@compiled
def _tidy(quantity: float) -> float:
    return np.rint(quantity * MILLION) / MILLION


@compiled
def _whole_lots(quantity: float, grid: float) -> float:
    """Round towards zero to the grid of tradable quantities (`grid` lots a share)."""
    return np.trunc(quantity * grid + np.sign(quantity) * 1e-7) / grid


@compiled
def _cents(amount: float) -> float:
    return np.rint(amount * 100.0)


# --- quotes --------------------------------------------------------------------------------------------------


@compiled
def _quoted(state: FloatArray) -> bool:
    return state.shape[0] > STATE_ROWS


@compiled
def _see_quote(state: FloatArray, s: FloatArray, i: int, wanted: float, price: float, phase: float) -> None:
    """Say what a fill at a market price finds: the way to the quote, the size shown there, the levels in reach."""
    buys = wanted > 0.0
    side = 1.0 if buys else -1.0
    quote, size = state[Q_ASK_OPEN if buys else Q_BID_OPEN, i], state[Q_ASKS_OPEN if buys else Q_BIDS_OPEN, i]
    if phase == AT_CLOSE:
        quote, size = state[Q_ASK_CLOSE if buys else Q_BID_CLOSE, i], state[Q_ASKS_CLOSE if buys else Q_BIDS_CLOSE, i]
    way = side * (quote - price) / price
    levels = state[Q_LEVELS, i]
    if phase == IN_BAR:
        way, size = _see_quote_in_bar(state, i, buys, price, way, size)
    elif state[Q_WORST, i] == state[Q_WORST, i] and state[Q_TICK, i] > 0.0:
        levels = min(levels, np.floor(side * (state[Q_WORST, i] - quote) / state[Q_TICK, i] + 1.0 + 1e-6))
    state[Q_SPREAD_NOW, i] = way if way == way else s[P_SPREAD]
    state[Q_SIZE_NOW, i] = size
    state[Q_LEVELS_NOW, i] = levels


@compiled
def _see_quote_in_bar(
    state: FloatArray, i: int, buys: bool, price: float, way: float, size: float
) -> tuple[float, float]:
    """Return way and size where nobody knows the moment: the worse of open and close, never beyond the best quote.

    At a price that is the open's, the way to the opening quote counts too.
    """
    side = 1.0 if buys else -1.0
    worst = state[Q_HALF_SPREAD, i]
    best = side * (state[Q_ASK_LOW if buys else Q_BID_HIGH, i] - price) / price
    if best > worst:
        worst = best
    if price == state[MARK, i] and way > worst:
        worst = way
    later = state[Q_ASKS_CLOSE if buys else Q_BIDS_CLOSE, i]
    return worst, later if later < size or size != size else size


@compiled
def _levels_down(quantity: float, size: float) -> float:
    """Return the levels that shares lie below the best one, summed over shares, in a book of equal levels."""
    full = np.floor(quantity / size)
    return size * full * (full - 1.0) / 2.0 + full * (quantity - full * size)


@compiled
def _walk(state: FloatArray, i: int, quantity: float) -> None:
    """Say what each share pays beyond the best quote: what was filled before in the bar is no longer there.

    A smaller quantity pays no more a share, so that what was affordable at this price a share stays so.
    """
    size, used = state[Q_SIZE_NOW, i], state[USED, i]
    state[Q_BEYOND_NOW, i] = 0.0
    if size > 0.0 and quantity > 0.0:
        down = _levels_down(used + quantity, size) - _levels_down(used, size)
        state[Q_BEYOND_NOW, i] = state[Q_TICK, i] * down / quantity


@compiled
def _book_room(state: FloatArray, s: FloatArray, i: int) -> float:
    """Return the shares that the book has left within reach; a size that nobody knows limits nothing."""
    room = state[Q_LEVELS_NOW, i] * state[Q_SIZE_NOW, i] - state[USED, i]
    return _whole_lots(max(room, 0.0), s[P_GRID]) if room < np.inf else np.inf


# --- costs ---------------------------------------------------------------------------------------------------


@compiled
def _impact_fraction(state: FloatArray, s: FloatArray, i: int, quantity: float) -> float:
    if s[P_IMPACT] == 0.0 or not state[VOLUME, i] > 0.0:
        return 0.0
    return s[P_IMPACT] * np.sqrt(state[VARIANCE, i] * quantity / state[VOLUME, i])


@compiled
def _costs(
    state: FloatArray, s: FloatArray, i: int, quantity: float, price: float, passive: float
) -> tuple[float, float, float, float]:
    """Commission, half spread, slippage and impact of a fill, in cents. A passive fill pays commission only."""
    notional = quantity * price
    commission = _cents(max(s[P_MINIMUM], notional * s[P_COMMISSION] + quantity * s[P_PER_SHARE]))
    if passive != 0.0:
        return commission, 0.0, 0.0, 0.0
    spread, beyond = s[P_SPREAD], 0.0
    if _quoted(state):
        spread, beyond = state[Q_SPREAD_NOW, i], quantity * state[Q_BEYOND_NOW, i]
    impact = _impact_fraction(state, s, i, quantity)
    return (
        commission,
        _cents(notional * spread),
        _cents(notional * s[P_SLIPPAGE]),
        _cents(notional * impact + beyond),
    )


@compiled
def _fits(state: FloatArray, s: FloatArray, i: int, quantity: float, price: float, passive: float, room: float) -> bool:
    commission, spread, slippage, impact = _costs(state, s, i, quantity, price, passive)
    return _cents(quantity * price) + s[P_LEVERAGE] * (commission + spread + slippage + impact) <= room


@compiled
def _affordable(state: FloatArray, s: FloatArray, i: int, quantity: float, price: float, passive: float) -> float:
    """Return the largest quantity (bisection) that keeps gross exposure within leverage times equity after costs."""
    equity = s[CASH] + s[LONG] - s[SHORT]
    room = s[P_LEVERAGE] * equity - s[LONG] - s[SHORT]
    if _fits(state, s, i, quantity, price, passive, room):
        return quantity
    low = 0.0
    high = np.floor(min(quantity, (max(room, 0.0) + 1.0) / (price * 100.0)) * s[P_GRID] + 0.5) + 1.0
    while high - low > 1.0:
        middle = np.floor((low + high) / 2.0)
        if _fits(state, s, i, middle / s[P_GRID], price, passive, room):
            low = middle
        else:
            high = middle
    return min(low / s[P_GRID], quantity)


@compiled
def _volume_room(state: FloatArray, s: FloatArray, i: int, volume: float) -> float:
    if volume != volume:
        s[UNKNOWN_VOLUME] += 1
        return np.inf
    return _whole_lots(max(s[P_PARTICIPATION] * volume - state[USED, i], 0.0), s[P_GRID])


# --- the book ------------------------------------------------------------------------------------------------


@compiled
def _count_value(state: FloatArray, s: FloatArray, i: int, sign: float) -> None:
    value = _cents(state[SHARES, i] * state[MARK, i])
    if value > 0.0:
        s[LONG] += sign * value
    else:
        s[SHORT] -= sign * value


@compiled
def _new_record(s: FloatArray, log: FloatArray, kind: float, column: float) -> int:
    """Begin a record and return its row (a view of it would cost a reference count)."""
    r = int(s[LOGGED])
    s[LOGGED] += 1
    log[r, L_TYPE] = kind
    log[r, L_ROW] = s[ROW]
    log[r, L_COLUMN] = column
    return r


@compiled
def _event(
    s: FloatArray, log: FloatArray, column: float, kind: float, shares: float, cash: float, price: float
) -> None:
    r = _new_record(s, log, EVENT, column)
    log[r, E_KIND] = kind
    log[r, E_SHARES] = shares
    log[r, E_CASH] = cash
    log[r, E_PRICE] = price
    for field in range(E_PRICE + 1, LOG_FIELDS):
        log[r, field] = 0.0
    s[CASH] += cash


@compiled
def _open_position(state: FloatArray, s: FloatArray, i: int, price: float, phase: float) -> None:
    state[ENTRY, i] = price
    state[EXTREME, i] = price
    state[IN_ROW, i] = s[ROW]
    state[BORN, i] = s[ROW] + (1.0 if phase == AT_CLOSE else 0.0)
    state[STOP, i] = state[TAKE, i] = state[TRAIL, i] = state[DUE, i] = np.nan
    for row in range(IN_QUANTITY, BORROW + 1):
        state[row, i] = 0.0
    state[EXITING, i] = 0.0


@compiled
def _close_trade(
    state: FloatArray, s: FloatArray, log: FloatArray, i: int, side: float, reason: float, phase: float
) -> None:
    r = _new_record(s, log, TRADE, float(i))
    log[r, R_IN_ROW] = state[IN_ROW, i]
    log[r, R_SIDE] = side
    log[r, R_QUANTITY] = state[IN_QUANTITY, i]
    log[r, R_IN_VALUE] = state[IN_VALUE, i]
    log[r, R_OUT_QUANTITY] = state[OUT_QUANTITY, i]
    log[r, R_OUT_VALUE] = state[OUT_VALUE, i]
    log[r, R_COSTS] = state[COSTS, i]
    log[r, R_DIVIDENDS] = state[DIVIDENDS, i]
    log[r, R_BORROW] = state[BORROW, i]
    log[r, R_AGE] = s[ROW] - state[BORN, i] + (1.0 if phase == AT_CLOSE else 0.0)
    log[r, R_REASON] = reason
    state[ENTRY, i] = np.nan
    state[EXITING, i] = 0.0


@compiled
def _fill(
    state: FloatArray,
    s: FloatArray,
    log: FloatArray,
    i: int,
    quantity: float,
    price: float,
    reason: float,
    passive: float,
    phase: float,
    order: float,
    decided: float,
) -> None:
    """Book one fill; it opens, adds to or reduces a position, never crosses zero."""
    held = state[SHARES, i]
    size = abs(quantity)
    commission, spread, slippage, impact = _costs(state, s, i, size, price, passive)
    costs = commission + spread + slippage + impact
    notional = _cents(size * price)
    paid = -notional if quantity > 0.0 else notional
    if held != 0.0:
        _count_value(state, s, i, -1.0)
    state[MARK, i] = price
    state[SHARES, i] = _tidy(held + quantity)
    state[USED, i] += size
    _count_value(state, s, i, 1.0)
    s[CASH] += paid - costs
    r = _new_record(s, log, FILL, float(i))
    log[r, F_QUANTITY] = quantity
    log[r, F_PRICE] = price
    log[r, F_CASH] = paid
    log[r, F_COMMISSION] = commission
    log[r, F_SPREAD] = spread
    log[r, F_SLIPPAGE] = slippage
    log[r, F_IMPACT] = impact
    log[r, F_REASON] = reason
    log[r, F_ORDER] = order
    log[r, F_DECIDED] = decided
    log[r, F_PHASE] = phase
    if held == 0.0:
        _open_position(state, s, i, price, phase)
    if held * quantity >= 0.0:
        state[ENTRY, i] = (abs(held) * state[ENTRY, i] + size * price) / (abs(held) + size)
        state[IN_QUANTITY, i] += size
        state[IN_VALUE, i] += notional
    else:
        state[OUT_QUANTITY, i] += size
        state[OUT_VALUE, i] += notional
    state[COSTS, i] += costs
    if state[SHARES, i] == 0.0:
        _close_trade(state, s, log, i, np.sign(held), reason, phase)


@compiled
def _trade(
    state: FloatArray,
    s: FloatArray,
    log: FloatArray,
    i: int,
    wanted: float,
    price: float,
    volume: float,
    reason: float,
    passive: float,
    phase: float,
    order: float,
    decided: float,
) -> float:
    """Fill what volume and (where exposure grows) cash allow of a quantity that does not cross zero.

    Returns the signed quantity filled.
    """
    size = abs(wanted)
    if _quoted(state):
        _see_quote(state, s, i, wanted, price, phase)
    if reason != BY_DELISTING:
        room = _volume_room(state, s, i, volume)
        if _quoted(state) and passive == 0.0:
            room = min(room, _book_room(state, s, i))
        if room < size:
            s[CLIPPED_VOLUME] += 1
            size = room
    if _quoted(state):
        _walk(state, i, size)
    if size > 0.0 and state[SHARES, i] * wanted >= 0.0:
        allowed = _affordable(state, s, i, size, price, passive)
        if allowed < size:
            s[CLIPPED_CASH if allowed > 0.0 else REJECTED_CASH] += 1
            size = allowed
            if _quoted(state):
                _walk(state, i, size)
    if size <= 0.0:
        return 0.0
    quantity = size if wanted > 0.0 else -size
    _fill(state, s, log, i, quantity, price, reason, passive, phase, order, decided)
    return quantity


@compiled
def _exit(
    state: FloatArray,
    s: FloatArray,
    log: FloatArray,
    i: int,
    price: float,
    volume: float,
    reason: float,
    phase: float,
) -> None:
    """Close a position for a reason of the simulator's own; what volume cuts off goes on in the next bar."""
    if state[TARGET, i] == state[TARGET, i]:
        state[TARGET, i] = np.nan
        s[CANCELLED_BY_EXIT] += 1
    passive = 1.0 if reason == BY_TAKE and phase == IN_BAR and not _quoted(state) else 0.0
    _trade(state, s, log, i, -state[SHARES, i], price, volume, reason, passive, phase, NOBODY, s[ROW])
    if state[SHARES, i] != 0.0:
        state[EXITING, i] = reason


# --- before the open: interest, sizing, corporate actions, delistings -----------------------------------------


@compiled
def _accrue(s: FloatArray, log: FloatArray, years: float) -> None:
    """Interest and borrow since the last close; fractions of a cent wait for the next bar."""
    free = s[CASH] - s[SHORT]
    if free > 0.0:
        s[INTEREST_DUE] += free * s[P_INTEREST] * years
    elif s[CASH] < 0.0:
        s[INTEREST_DUE] += s[CASH] * s[P_MARGIN_INTEREST] * years
    s[BORROW_DUE] -= s[SHORT] * s[P_BORROW] * years
    for due, kind in ((INTEREST_DUE, INTEREST_EVENT), (BORROW_DUE, BORROW_EVENT)):
        whole = np.rint(s[due])
        if whole != 0.0:
            s[due] -= whole
            _event(s, log, NOBODY, kind, 0.0, whole, np.nan)


@compiled
def _renew_time(state: FloatArray, s: FloatArray, i: int, max_bars: float, phase: float) -> None:
    """Give the position so many closes from this bar (from the next, at a close), and never fewer than it has."""
    due = s[ROW] + (1.0 if phase == AT_CLOSE else 0.0) + max_bars - 1.0
    if max_bars < np.inf and not state[DUE, i] > due:
        state[DUE, i] = due


@compiled
def _keep_levels(state: FloatArray, i: int, before: float) -> None:
    """Count stop and target from the entry price, which were counted from another, so that they stay where they are."""
    side = np.sign(state[SHARES, i])
    ratio = before / state[ENTRY, i]
    state[STOP, i] = side * (1.0 - ratio * (1.0 - side * state[STOP, i]))
    state[TAKE, i] = side * (ratio * (1.0 + side * state[TAKE, i]) - 1.0)


@compiled
def _replace_bracket(state: FloatArray, wish: FloatArray, i: int, price: float) -> None:
    """Give what is held the bracket of a row that holds for good, counted from the last close, and nothing else."""
    state[STOP, i] = wish[W_STOP, i]
    state[TAKE, i] = wish[W_TAKE, i]
    state[TRAIL, i] = wish[W_TRAIL, i]
    state[DUE, i] = np.nan
    _keep_levels(state, i, price)


@compiled
def _decide(state: FloatArray, s: FloatArray, wish: FloatArray, i: int, decided: float) -> None:
    """Turn a target weight into a target number of shares, at the last close and its equity."""
    weight = wish[W_WEIGHT, i]
    if weight < 0.0 and s[P_SHORT_ALLOWED] == 0.0:
        weight = 0.0
        s[REJECTED_SHORT] += 1
    held = state[SHARES, i]
    price = state[MARK, i]
    state[TARGET, i] = np.nan
    if not price > 0.0:
        s[REJECTED_PRICE] += 1.0 if weight != 0.0 else 0.0
        return
    equity = max(s[EQUITY], 0.0)
    target = _whole_lots(weight * equity / 100.0 / price, s[P_GRID])
    state[EXITING, i] = 0.0
    if held * target > 0.0 and wish[W_MAX_BARS, i] == np.inf:
        _replace_bracket(state, wish, i, price)
    elif held * target > 0.0:
        _renew_time(state, s, i, wish[W_MAX_BARS, i], AT_CLOSE if s[P_AT_CLOSE] != 0.0 else AT_OPEN)
    change = abs(target - held)
    if change == 0.0 or (held * target > 0.0 and change * price * 100.0 < s[P_BAND] * equity):
        return
    state[TARGET, i] = target
    state[T_ROW, i] = decided
    for row in range(W_STOP, W_PRIORITY + 1):
        state[T_STOP + row - W_STOP, i] = wish[row, i]


@compiled
def _split(state: FloatArray, s: FloatArray, log: FloatArray, i: int, ratio: float) -> None:
    """Scale everything counted in shares or in price per share; a fraction of a lot is paid out in cash."""
    held = state[SHARES, i]
    for row in (MARK, ENTRY, EXTREME, LAST, ATR):
        state[row, i] /= ratio
    for row in (IN_QUANTITY, OUT_QUANTITY, VOLUME):
        state[row, i] *= ratio
    state[TARGET, i] = _whole_lots(state[TARGET, i] * ratio, s[P_GRID])
    if held == 0.0:
        return
    exact = held * ratio
    kept = _tidy(_whole_lots(exact, s[P_GRID]))
    state[SHARES, i] = kept
    _event(s, log, float(i), SPLIT_EVENT, kept - held, 0.0, state[MARK, i])
    cash = _cents((exact - kept) * state[MARK, i])
    if cash != 0.0:
        _event(s, log, float(i), IN_LIEU_EVENT, 0.0, cash, state[MARK, i])
    if kept != exact:
        state[OUT_QUANTITY, i] += abs(exact - kept)
        state[OUT_VALUE, i] += abs(cash)
    if kept == 0.0:
        _close_trade(state, s, log, i, np.sign(held), BY_SPLIT, AT_OPEN)


@compiled
def _split_orders(s: FloatArray, orders: FloatArray, i: int, ratio: float) -> None:
    for k in range(int(s[FIRST_ORDER]), int(s[NEXT_ORDER])):
        order = orders[k]
        if order[O_COLUMN] == i and order[O_STATUS] < FILLED:
            order[O_LEFT] = _whole_lots(order[O_LEFT] * ratio, s[P_GRID])
            order[O_REFERENCE] /= ratio
            if order[O_RELATIVE] == 0.0:
                order[O_LIMIT] /= ratio
                order[O_STOP] /= ratio


@compiled
def _delist(state: FloatArray, s: FloatArray, log: FloatArray, i: int, cash_per_share: float) -> None:
    """Close a position in a symbol that trades no more, at the cash it pays or at its last close less a haircut."""
    state[TARGET, i] = np.nan
    state[STALE, i] = np.inf
    held = state[SHARES, i]
    if held == 0.0:
        return
    price = cash_per_share
    if price != price:
        price = state[MARK, i] * (1.0 - s[P_HAIRCUT] if held > 0.0 else 1.0)
    s[DELISTED] += 1
    _exit(state, s, log, i, price, np.nan, BY_DELISTING, AT_OPEN)


@compiled
def _list_flagged(flags: ByteArray, words: WordArray, todo: IntArray) -> int:
    """List the columns whose flag is set, eight at a look (`words` is a view of `flags`)."""
    count = int(np.int64(0))  # an int64 from the start, for numba's types
    for w in range(words.shape[0]):
        if words[w] != 0:
            for i in range(8 * w, 8 * w + 8):
                todo[count] = i
                count += flags[i] != 0
    return count


@compiled
def _flag_actions(flags: ByteArray, split: FloatArray, dividend: FloatArray) -> None:
    for i in range(split.shape[0]):
        flags[i] = (split[i] != 1.0) | (dividend[i] != 0.0)


@compiled
def _corporate_actions(
    state: FloatArray, s: FloatArray, log: FloatArray, bar: FloatArray, orders: FloatArray, i: int
) -> None:
    """Take a split, then a dividend on what is held after it."""
    ratio = bar[B_SPLIT, i]
    if ratio != 1.0 and ratio > 0.0:
        _split(state, s, log, i, ratio)
        _split_orders(s, orders, i, ratio)
    if bar[B_DIVIDEND, i] != 0.0 and state[SHARES, i] != 0.0:
        cash = _cents(state[SHARES, i] * bar[B_DIVIDEND, i])
        state[DIVIDENDS, i] += cash
        _event(s, log, float(i), DIVIDEND_EVENT, 0.0, cash, bar[B_DIVIDEND, i])


@compiled
def _accrue_borrow(shares: FloatArray, mark: FloatArray, borrow: FloatArray, rate: float) -> None:
    """Tell each short's trade what it cost to borrow since the last close."""
    for i in range(shares.shape[0]):
        if shares[i] < 0.0:
            borrow[i] += _cents(shares[i] * mark[i]) * rate


@compiled
def _mark_at_open(mark: FloatArray, stale: FloatArray, used: FloatArray, open_: FloatArray) -> None:
    for i in range(mark.shape[0]):
        here = open_[i] == open_[i]
        mark[i] = open_[i] if here else mark[i]
        stale[i] = 0.0 if here else stale[i] + 1.0
        used[i] = 0.0


@compiled
def _keep_last(last: FloatArray, open_: FloatArray, close: FloatArray) -> None:
    for i in range(last.shape[0]):
        last[i] = close[i] if open_[i] == open_[i] else last[i]


@compiled
def _follow_best(extreme: FloatArray, shares: FloatArray, open_: FloatArray, high: FloatArray, low: FloatArray) -> None:
    """Let the best price since entry follow the bar."""
    for i in range(extreme.shape[0]):
        before = extreme[i]
        top = high[i] if high[i] > before else before
        bottom = low[i] if low[i] < before else before
        best = top if shares[i] > 0.0 else bottom
        extreme[i] = best if (shares[i] != 0.0) & (open_[i] == open_[i]) else before


@summing
def _value_book(shares: FloatArray, mark: FloatArray) -> tuple[float, float]:
    """Return the value of longs and of shorts, both positive, each position rounded to the cent."""
    longs, shorts = 0.0, 0.0
    for i in range(shares.shape[0]):
        price = mark[i] if mark[i] == mark[i] else 0.0
        value = np.rint(shares[i] * price * 100.0)
        longs += value if value > 0.0 else 0.0
        shorts -= value if value < 0.0 else 0.0
    return longs, shorts


@compiled
def _flag_work(
    flags: ByteArray,
    target: FloatArray,
    exiting: FloatArray,
    stale: FloatArray,
    gone_row: IntArray,
    row: float,
    limit: float,
) -> None:
    for i in range(target.shape[0]):
        gone = (gone_row[i] == row) | (stale[i] == limit)
        flags[i] = (target[i] == target[i]) | (exiting[i] != 0.0) | gone


@compiled
def _before_the_open(
    state: FloatArray,
    s: FloatArray,
    log: FloatArray,
    bar: FloatArray,
    orders: FloatArray,
    todo: IntArray,
    flags: ByteArray,
    words: WordArray,
    years: float,
    gone_row: IntArray,
    gone_cash: FloatArray,
) -> int:
    """Corporate actions, halts and delistings; mark the book at the open; list the symbols with work to do."""
    if s[SHORT] > 0.0 and s[P_BORROW] > 0.0:
        _accrue_borrow(state[SHARES], state[MARK], state[BORROW], s[P_BORROW] * years)
    _flag_actions(flags, bar[B_SPLIT], bar[B_DIVIDEND])
    for k in range(_list_flagged(flags, words, todo)):
        _corporate_actions(state, s, log, bar, orders, todo[k])
    _mark_at_open(state[MARK], state[STALE], state[USED], bar[B_OPEN])
    s[LONG], s[SHORT] = _value_book(state[SHARES], state[MARK])
    _flag_work(flags, state[TARGET], state[EXITING], state[STALE], gone_row, s[ROW], s[P_DELISTED_AFTER])
    count = int(np.int64(0))  # an int64 from the start, for numba's types
    for k in range(_list_flagged(flags, words, todo)):
        i = todo[k]
        if gone_row[i] == s[ROW] or state[STALE, i] == s[P_DELISTED_AFTER]:
            _delist(state, s, log, i, gone_cash[i] if gone_row[i] == s[ROW] else np.nan)
        wanted = state[TARGET, i] == state[TARGET, i]
        if state[STALE, i] > 0.0:
            s[WAITED] += wanted
        elif state[EXITING, i] != 0.0 or (wanted and s[P_AT_CLOSE] == 0.0):
            todo[count] = i
            count += 1
    return count


# --- targets -------------------------------------------------------------------------------------------------


@compiled
def _take_over_bracket(state: FloatArray, s: FloatArray, i: int, phase: float) -> None:
    """Give the position the bracket of the order that just filled; what the order left open stays."""
    for ours, theirs in ((STOP, T_STOP), (TAKE, T_TAKE), (TRAIL, T_TRAIL)):
        if state[theirs, i] == state[theirs, i]:
            state[ours, i] = state[theirs, i]
    _renew_time(state, s, i, state[T_MAX_BARS, i], phase)


@compiled
def _towards_target(
    state: FloatArray,
    s: FloatArray,
    log: FloatArray,
    i: int,
    price: float,
    volume: float,
    phase: float,
    growing: int,
) -> None:
    """Trade the reducing part, or in the second pass the growing part, of what is missing to the target."""
    held, entry = state[SHARES, i], state[ENTRY, i]
    target = state[TARGET, i]
    wanted = _tidy(target - held)
    if growing == 0:
        if held * wanted >= 0.0:
            return
        wanted = -held if held * target <= 0.0 else wanted
    elif wanted == 0.0 or held * wanted < 0.0:
        return
    done = _trade(state, s, log, i, wanted, price, volume, SIGNAL, 0.0, phase, NOBODY, state[T_ROW, i])
    if done == 0.0 or state[SHARES, i] == 0.0:
        return
    if held != 0.0 and state[T_MAX_BARS, i] == np.inf:
        _keep_levels(state, i, entry)
    else:
        _take_over_bracket(state, s, i, phase)


@compiled
def _comes_before(state: FloatArray, i: int, j: int) -> bool:
    """Return whether symbol i is served before symbol j: the larger priority, then the symbols' order."""
    a, b = state[T_PRIORITY, i], state[T_PRIORITY, j]
    if a > b or (a == a and b != b):
        return True
    return i < j and not (b > a or (b == b and a != a))


@compiled
def _by_priority(state: FloatArray, todo: IntArray, count: int) -> None:
    """Sort the columns in `todo` by falling priority, in place (Shell's sort: small to compile, fast when sorted)."""
    gap = count // 2
    while gap > 0:
        for k in range(gap, count):
            i = todo[k]
            j = k
            while j >= gap and _comes_before(state, i, todo[j - gap]):
                todo[j] = todo[j - gap]
                j -= gap
            todo[j] = i
        gap //= 2


@compiled
def _reach_targets(
    state: FloatArray,
    s: FloatArray,
    log: FloatArray,
    bar: FloatArray,
    todo: IntArray,
    count: int,
    prices: FloatArray,
    phase: float,
) -> None:
    """Reductions first, since they free cash; then increases by priority; then settle what is left over."""
    for growing in range(2):
        if growing == 1:
            _by_priority(state, todo, count)
        for k in range(count):
            i = todo[k]
            _towards_target(state, s, log, i, prices[i], bar[B_VOLUME, i], phase, growing)
    for k in range(count):
        i = todo[k]
        used_up = _whole_lots(s[P_PARTICIPATION] * bar[B_VOLUME, i] - state[USED, i], s[P_GRID]) <= 0.0
        if _quoted(state):
            used_up |= _book_room(state, s, i) <= 0.0
        if state[TARGET, i] == state[SHARES, i] or s[P_CARRY] == 0.0 or not used_up:
            state[TARGET, i] = np.nan


@compiled
def _exits_and_targets(
    state: FloatArray,
    s: FloatArray,
    log: FloatArray,
    bar: FloatArray,
    todo: IntArray,
    count: int,
    prices: FloatArray,
    phase: float,
) -> None:
    """At an auction: finish exits that are under way, then move the other symbols in `todo` to their targets."""
    targets = int(np.int64(0))  # an int64 from the start, for numba's types
    for k in range(count):
        i = todo[k]
        if state[EXITING, i] != 0.0:
            _exit(state, s, log, i, prices[i], bar[B_VOLUME, i], state[EXITING, i], phase)
        elif state[TARGET, i] == state[TARGET, i]:
            todo[targets] = i
            targets += 1
    if targets > 0:
        _reach_targets(state, s, log, bar, todo, targets, prices, phase)


# --- brackets ------------------------------------------------------------------------------------------------


@compiled
def _check_bracket(state: FloatArray, s: FloatArray, log: FloatArray, bar: FloatArray, i: int) -> None:
    """Stop, trail and take-profit of one position: the open decides first, then the worst case."""
    side = np.sign(state[SHARES, i])
    worst = bar[B_LOW, i] if side > 0.0 else bar[B_HIGH, i]
    best = bar[B_HIGH, i] if side > 0.0 else bar[B_LOW, i]
    level = state[ENTRY, i] * (1.0 - side * state[STOP, i])
    trailing = state[EXTREME, i] * (1.0 - side * state[TRAIL, i])
    goal = state[ENTRY, i] * (1.0 + side * state[TAKE, i])
    reason = BY_STOP
    if level != level or side * (trailing - level) > 0.0:
        level = trailing
        reason = BY_TRAIL
    stopped = side * (worst - level) <= 0.0
    reached = side * (best - goal) >= 0.0
    if not (stopped or reached):
        return
    open_ = bar[B_OPEN, i]
    price = level
    if side * (open_ - level) <= 0.0:
        price = open_
    elif side * (open_ - goal) >= 0.0:
        price = open_
        reason = BY_TAKE
    elif stopped:
        s[AMBIGUOUS] += reached
    else:
        price = goal
        reason = BY_TAKE
    _exit(state, s, log, i, price, bar[B_VOLUME, i], reason, IN_BAR)


@compiled
def _clear(flags: ByteArray) -> None:
    for i in range(flags.shape[0]):
        flags[i] = 0


@compiled
def _flag_losing(
    flags: ByteArray, shares: FloatArray, anchor: FloatArray, distance: FloatArray, high: FloatArray, low: FloatArray
) -> None:
    """Flag where the bar reaches a level on the losing side of the anchor."""
    for i in range(shares.shape[0]):
        long = shares[i] > 0.0
        side = 1.0 if long else -1.0
        worst = low[i] if long else high[i]
        flags[i] |= side * (worst - anchor[i] * (1.0 - side * distance[i])) <= 0.0


@compiled
def _flag_winning(
    flags: ByteArray, shares: FloatArray, anchor: FloatArray, distance: FloatArray, high: FloatArray, low: FloatArray
) -> None:
    """Flag where the bar reaches a level on the winning side of the anchor."""
    for i in range(shares.shape[0]):
        long = shares[i] > 0.0
        side = 1.0 if long else -1.0
        best = high[i] if long else low[i]
        flags[i] |= side * (best - anchor[i] * (1.0 + side * distance[i])) >= 0.0


@compiled
def _unflag_others(flags: ByteArray, shares: FloatArray, exiting: FloatArray, open_: FloatArray) -> None:
    for i in range(shares.shape[0]):
        flags[i] &= (shares[i] != 0.0) & (exiting[i] == 0.0) & (open_[i] == open_[i])


@compiled
def _within_the_bar(
    state: FloatArray,
    s: FloatArray,
    log: FloatArray,
    bar: FloatArray,
    todo: IntArray,
    flags: ByteArray,
    words: WordArray,
) -> None:
    """Look quickly at every bracket (in loops small enough to vectorise), then closely at those in reach."""
    shares, high, low = state[SHARES], bar[B_HIGH], bar[B_LOW]
    _clear(flags)
    _flag_losing(flags, shares, state[ENTRY], state[STOP], high, low)
    _flag_losing(flags, shares, state[EXTREME], state[TRAIL], high, low)
    _flag_winning(flags, shares, state[ENTRY], state[TAKE], high, low)
    _unflag_others(flags, shares, state[EXITING], bar[B_OPEN])
    for k in range(_list_flagged(flags, words, todo)):
        _check_bracket(state, s, log, bar, todo[k])


# --- the close -----------------------------------------------------------------------------------------------


@compiled
def _flag_closing(
    flags: ByteArray,
    shares: FloatArray,
    due: FloatArray,
    exiting: FloatArray,
    target: FloatArray,
    open_: FloatArray,
    row: float,
    at_close: bool,
) -> None:
    for i in range(shares.shape[0]):
        late = (shares[i] != 0.0) & (row >= due[i]) & (exiting[i] == 0.0)
        flags[i] = (late | ((target[i] == target[i]) & at_close)) & (open_[i] == open_[i])


@compiled
def _at_the_close(
    state: FloatArray,
    s: FloatArray,
    log: FloatArray,
    bar: FloatArray,
    todo: IntArray,
    flags: ByteArray,
    words: WordArray,
) -> None:
    """Mark the book at the close; time exits; market-on-close targets."""
    _keep_last(state[MARK], bar[B_OPEN], bar[B_CLOSE])
    _follow_best(state[EXTREME], state[SHARES], bar[B_OPEN], bar[B_HIGH], bar[B_LOW])
    s[LONG], s[SHORT] = _value_book(state[SHARES], state[MARK])
    at_close = s[P_AT_CLOSE] != 0.0
    _flag_closing(flags, state[SHARES], state[DUE], state[EXITING], state[TARGET], bar[B_OPEN], s[ROW], at_close)
    count = _list_flagged(flags, words, todo)
    late = int(np.int64(0))  # an int64 from the start, for numba's types
    for k in range(count):
        i = todo[k]
        if state[SHARES, i] != 0.0 and s[ROW] >= state[DUE, i] and state[EXITING, i] == 0.0:
            state[EXITING, i] = BY_TIME
        elif state[EXITING, i] != 0.0:
            continue
        todo[late] = i
        late += 1
    if late > 0:
        _exits_and_targets(state, s, log, bar, todo, late, bar[B_CLOSE], AT_CLOSE)


@compiled
def _check_margin(s: FloatArray) -> None:
    """Order the liquidation of the whole book at the next open when equity is too thin."""
    s[EQUITY] = s[CASH] + s[LONG] - s[SHORT]
    gross = s[LONG] + s[SHORT]
    if gross > 0.0 and s[EQUITY] < s[P_MAINTENANCE] * gross:
        s[MARGIN_CALLS] += s[LIQUIDATE] == 0.0
        s[LIQUIDATE] = 1.0
    else:
        s[LIQUIDATE] = 0.0


@compiled
def _update_range(mean: FloatArray, last: FloatArray, bar: FloatArray) -> None:
    """Wilder's 14-bar average true range, for trailing orders; it starts at the first bar's range."""
    open_, high, low, close = bar[B_OPEN], bar[B_HIGH], bar[B_LOW], bar[B_CLOSE]
    for i in range(mean.shape[0]):
        known = last[i] == last[i]
        top = last[i] if last[i] > high[i] else high[i]
        bottom = last[i] if last[i] < low[i] else low[i]
        moved = mean[i] + (top - bottom - mean[i]) / 14.0 if known else top - bottom
        here = open_[i] == open_[i]
        mean[i] = moved if here else mean[i]
        last[i] = close[i] if here else last[i]


@compiled
def _update_impact(state: FloatArray, s: FloatArray, bar: FloatArray) -> None:
    """Exponential mean volume and variance, for impact; before :func:`_update_range` moves the last close."""
    weight = 2.0 / (s[P_LOOKBACK] + 1.0)
    for i in range(state.shape[1]):
        if bar[B_OPEN, i] != bar[B_OPEN, i]:
            continue
        volume = bar[B_VOLUME, i]
        if state[LAST, i] != state[LAST, i]:
            state[VARIANCE, i] = np.log(bar[B_HIGH, i] / bar[B_LOW, i]) ** 2 / (4.0 * np.log(2.0))
        else:
            state[VARIANCE, i] += weight * (np.log(bar[B_CLOSE, i] / state[LAST, i]) ** 2 - state[VARIANCE, i])
        if state[VOLUME, i] != state[VOLUME, i]:
            state[VOLUME, i] = volume
        elif volume == volume:
            state[VOLUME, i] += weight * (volume - state[VOLUME, i])


# --- explicit orders -----------------------------------------------------------------------------------------


@compiled
def _side(state: FloatArray, order: FloatArray) -> float:
    """Return +1 for an order that buys, −1 for one that sells, 0 for a closing order without a position."""
    if order[O_LEFT] == order[O_LEFT]:
        return np.sign(order[O_LEFT])
    return -np.sign(state[SHARES, int(order[O_COLUMN])])


@compiled
def _trailing_level(state: FloatArray, order: FloatArray, side: float) -> float:
    if order[O_KIND] == TRAILING_PERCENT:
        return order[O_REFERENCE] * (1.0 + side * order[O_TRAIL])
    return order[O_REFERENCE] + side * order[O_TRAIL] * state[ATR, int(order[O_COLUMN])]


@compiled
def _arm(state: FloatArray, order: FloatArray, reference: float) -> None:
    """Put an order to work: fix the levels that depend on its parent's fill or on the last price."""
    side = _side(state, order)
    order[O_STATUS] = WORKING
    order[O_REFERENCE] = reference
    if order[O_RELATIVE] != 0.0:
        order[O_LIMIT] = reference * (1.0 - side * order[O_LIMIT])
        order[O_STOP] = reference * (1.0 + side * order[O_STOP])
        order[O_RELATIVE] = 0.0
    if order[O_KIND] == TRAILING_PERCENT or order[O_KIND] == TRAILING_ATR:
        order[O_STOP] = _trailing_level(state, order, side)


@compiled
def _accept_orders(state: FloatArray, s: FloatArray, orders: FloatArray) -> None:
    """Take in the orders decided before this bar."""
    while int(s[NEXT_ORDER]) < orders.shape[0] and orders[int(s[NEXT_ORDER]), O_ROW] < s[ROW]:
        order = orders[int(s[NEXT_ORDER])]
        s[NEXT_ORDER] += 1
        if order[O_STATUS] != NEW:
            continue
        i = int(order[O_COLUMN])
        if not state[MARK, i] > 0.0:
            s[REJECTED_PRICE] += 1
            order[O_STATUS] = REJECTED
        elif order[O_PARENT] >= 0.0:
            order[O_STATUS] = HELD
        else:
            _arm(state, order, state[MARK, i])


@compiled
def _reached(side: float, price: float, level: float) -> bool:
    """Return whether a price is at a limit or better, for the side that the order takes."""
    return side * (price - level) <= 0.0


@compiled
def _price_now(s: FloatArray, order: FloatArray, bar: FloatArray, side: float, sweep: float) -> float:
    """Return the market price at which an order fills in this sweep, NaN when it does not."""
    i = int(order[O_COLUMN])
    kind, limit, stop = order[O_KIND], order[O_LIMIT], order[O_STOP]
    open_ = bar[B_OPEN, i]
    rises = bar[B_HIGH, i] if side > 0.0 else bar[B_LOW, i]
    falls = bar[B_LOW, i] if side > 0.0 else bar[B_HIGH, i]
    is_stop = kind == STOP_ORDER or kind == TRAILING_PERCENT or kind == TRAILING_ATR
    fresh = order[O_BORN] == s[ROW]
    if sweep == SWEEP_OPEN:
        if kind == MARKET_OPEN:
            return open_
        if kind == STOP_LIMIT and _reached(-side, open_, stop):
            order[O_KIND] = kind = LIMIT
        if (kind == LIMIT or kind == TAKE_PROFIT) and _reached(side, open_, limit):
            return open_
        if is_stop and _reached(-side, open_, stop):
            return open_
    elif sweep == SWEEP_STOPS and not fresh:
        if is_stop and _reached(-side, rises, stop):
            return open_ if _reached(-side, open_, stop) else stop
        if kind == STOP_LIMIT and _reached(-side, rises, stop):
            order[O_KIND] = LIMIT
            order[O_BORN] = s[ROW]
            return stop if _reached(side, stop, limit) else np.nan
    elif sweep == SWEEP_LIMITS and not fresh:
        if (kind == LIMIT or kind == TAKE_PROFIT) and _reached(side, falls, limit):
            return open_ if _reached(side, open_, limit) else limit
    elif sweep == SWEEP_CHILDREN and fresh:
        if is_stop and _reached(-side, rises, stop):
            return max(stop, order[O_REFERENCE]) if side > 0.0 else min(stop, order[O_REFERENCE])
    elif sweep == SWEEP_CLOSE and (kind == MARKET_CLOSE or (kind == TIME_EXIT and order[O_AGE] + 1.0 >= order[O_GOOD])):
        return bar[B_CLOSE, i]
    return np.nan


@compiled
def _crosses(state: FloatArray, order: FloatArray, i: int) -> bool:
    """Return whether a limit order that arrives with this open finds the other side of the book within its limit."""
    side = _side(state, order)
    quote = state[Q_ASK_OPEN if side > 0.0 else Q_BID_OPEN, i]
    return order[O_AGE] == 0.0 and side * (quote - order[O_LIMIT]) <= 1e-9 * quote


@compiled
def _resting_price(state: FloatArray, order: FloatArray, bar: FloatArray, i: int) -> float:
    """Return the price of an order that rests: its limit, as far as the bar traded there."""
    if _side(state, order) > 0.0:
        return min(order[O_LIMIT], bar[B_HIGH, i])
    return max(order[O_LIMIT], bar[B_LOW, i])


@compiled
def _tell_relatives(
    state: FloatArray, s: FloatArray, orders: FloatArray, bar: FloatArray, k: int, price: float, sweep: float
) -> None:
    """After a fill: put children to work, and when the order is done cancel the others of its group."""
    in_bar = sweep == SWEEP_STOPS or sweep == SWEEP_LIMITS or sweep == SWEEP_CHILDREN
    for j in range(int(s[FIRST_ORDER]), int(s[NEXT_ORDER])):
        other = orders[j]
        if j == k or other[O_STATUS] >= FILLED:
            continue
        if other[O_PARENT] == orders[k, O_ID] and other[O_STATUS] == HELD:
            _arm(state, other, price)
            other[O_BORN] = s[ROW] if in_bar else NOBODY
            other[O_AGE] = -1.0 if sweep == SWEEP_CLOSE else 0.0
        elif orders[k, O_GROUP] >= 0.0 and other[O_GROUP] == orders[k, O_GROUP] and orders[k, O_STATUS] == FILLED:
            other[O_STATUS] = CANCELLED
            i = int(other[O_COLUMN])
            side = np.sign(orders[k, O_FILLED])
            falls = bar[B_LOW, i] if side > 0.0 else bar[B_HIGH, i]
            rival = (other[O_KIND] == LIMIT or other[O_KIND] == TAKE_PROFIT) and other[O_BORN] != s[ROW]
            s[AMBIGUOUS] += sweep == SWEEP_STOPS and rival and _reached(side, falls, other[O_LIMIT])


@compiled
def _finish(s: FloatArray, orders: FloatArray, k: int, status: float) -> None:
    """End an order that will not fill any more; children of an order that never filled end with it."""
    orders[k, O_STATUS] = status
    if orders[k, O_FILLED] != 0.0:
        return
    for j in range(int(s[FIRST_ORDER]), int(s[NEXT_ORDER])):
        if orders[j, O_PARENT] == orders[k, O_ID] and orders[j, O_STATUS] == HELD:
            orders[j, O_STATUS] = CANCELLED


@compiled
def _execute(
    state: FloatArray,
    s: FloatArray,
    log: FloatArray,
    orders: FloatArray,
    bar: FloatArray,
    k: int,
    price: float,
    sweep: float,
) -> None:
    """Fill an order at a price as far as position, volume and cash allow, and settle what becomes of the rest."""
    order = orders[k]
    i = int(order[O_COLUMN])
    kind = order[O_KIND]
    phase = AT_OPEN if sweep == SWEEP_OPEN else (AT_CLOSE if sweep == SWEEP_CLOSE else IN_BAR)
    passive = 1.0 if (kind == LIMIT or kind == TAKE_PROFIT) and order[O_NAME] != STOP_LIMIT else 0.0
    reason = FIRST_ORDER_REASON + order[O_NAME]
    volume = bar[B_VOLUME, i]
    if passive != 0.0 and _quoted(state):
        if sweep == SWEEP_OPEN and _crosses(state, order, i):
            passive = 0.0
            state[Q_WORST, i] = order[O_LIMIT]
        else:
            price, volume = _resting_price(state, order, bar, i), order[O_BEHIND]
            if volume == 0.0:
                return
    cut_before = s[CLIPPED_CASH] + s[REJECTED_CASH]
    closes_all = order[O_LEFT] != order[O_LEFT]
    wanted = -state[SHARES, i] if closes_all else order[O_LEFT]
    done = 0.0
    for growing in range(2):
        held = state[SHARES, i]
        rest = _tidy(wanted - done)
        part = rest
        if growing == 0:
            part = np.sign(rest) * min(abs(rest), abs(held)) if held * rest < 0.0 else 0.0
        elif held * rest < 0.0 or order[O_REDUCE] != 0.0:
            part = 0.0
        elif rest < 0.0 and s[P_SHORT_ALLOWED] == 0.0:
            s[REJECTED_SHORT] += 1
            part = 0.0
            wanted = done
        if part != 0.0:
            done += _trade(state, s, log, i, part, price, volume, reason, passive, phase, order[O_ID], order[O_ROW])
    if _quoted(state):
        state[Q_WORST, i] = np.nan
    order[O_FILLED] += done
    order[O_LEFT] = _tidy(order[O_LEFT] - done)
    complete = _tidy(wanted - done) == 0.0 or (order[O_REDUCE] != 0.0 and state[SHARES, i] == 0.0)
    cut_by_cash = s[CLIPPED_CASH] + s[REJECTED_CASH] > cut_before
    at_market = kind == MARKET_OPEN or kind == MARKET_CLOSE
    if complete:
        order[O_STATUS] = FILLED if order[O_FILLED] != 0.0 else CANCELLED
    elif cut_by_cash or (at_market and s[P_CARRY] == 0.0 and order[O_REDUCE] == 0.0):
        _finish(s, orders, k, CANCELLED)
    elif kind == STOP_ORDER or kind >= TRAILING_PERCENT:
        order[O_KIND] = MARKET_OPEN
    if done != 0.0:
        _tell_relatives(state, s, orders, bar, k, price, sweep)


@compiled
def _sweep_orders(
    state: FloatArray, s: FloatArray, log: FloatArray, orders: FloatArray, bar: FloatArray, sweep: float
) -> None:
    """Fill what fills in one phase of the bar: at an auction reductions before increases, else by number."""
    passes = 2 if sweep == SWEEP_OPEN or sweep == SWEEP_CLOSE else 1
    for growing in range(passes):
        for k in range(int(s[FIRST_ORDER]), int(s[NEXT_ORDER])):
            order = orders[k]
            i = int(order[O_COLUMN])
            if order[O_STATUS] != WORKING or bar[B_OPEN, i] != bar[B_OPEN, i]:
                continue
            side = _side(state, order)
            if side == 0.0 or (order[O_REDUCE] != 0.0 and side * state[SHARES, i] >= 0.0):
                continue
            if passes == 2 and growing == 0 and side * state[SHARES, i] >= 0.0:
                continue
            price = _price_now(s, order, bar, side, sweep)
            if price == price:
                _execute(state, s, log, orders, bar, k, price, sweep)


@compiled
def _may_expire(order: FloatArray) -> bool:
    """Return whether the order's life ends unfilled; a time exit and a triggered stop go on until they are done."""
    return order[O_KIND] != TIME_EXIT and (order[O_KIND] != MARKET_OPEN or order[O_NAME] == MARKET_OPEN)


@compiled
def _age_orders(state: FloatArray, s: FloatArray, orders: FloatArray, bar: FloatArray) -> None:
    """At the end of a bar: expire, follow the market with trailing stops, drop exits without a position."""
    for k in range(int(s[FIRST_ORDER]), int(s[NEXT_ORDER])):
        order = orders[k]
        i = int(order[O_COLUMN])
        if order[O_STATUS] < FILLED and state[STALE, i] == np.inf:
            _finish(s, orders, k, CANCELLED)
        if order[O_STATUS] != WORKING:
            continue
        order[O_AGE] += 1.0
        if order[O_REDUCE] != 0.0 and state[SHARES, i] == 0.0:
            _finish(s, orders, k, CANCELLED)
        elif _may_expire(order) and order[O_AGE] >= order[O_GOOD]:
            s[EXPIRIES] += 1
            _finish(s, orders, k, EXPIRED)
        elif order[O_KIND] == TRAILING_PERCENT or order[O_KIND] == TRAILING_ATR:
            _follow(state, s, order, bar, i)
    while s[FIRST_ORDER] < s[NEXT_ORDER] and orders[int(s[FIRST_ORDER]), O_STATUS] >= FILLED:
        s[FIRST_ORDER] += 1


@compiled
def _follow(state: FloatArray, s: FloatArray, order: FloatArray, bar: FloatArray, i: int) -> None:
    """Ratchet a trailing stop with the bar's best price; a bar that the order was born within does not count."""
    if order[O_BORN] == s[ROW] or order[O_AGE] == 0.0 or bar[B_OPEN, i] != bar[B_OPEN, i]:
        return
    side = _side(state, order)
    if side < 0.0:
        order[O_REFERENCE] = max(order[O_REFERENCE], bar[B_HIGH, i])
        order[O_STOP] = max(order[O_STOP], _trailing_level(state, order, side))
    elif side > 0.0:
        order[O_REFERENCE] = min(order[O_REFERENCE], bar[B_LOW, i])
        order[O_STOP] = min(order[O_STOP], _trailing_level(state, order, side))


# --- the step ------------------------------------------------------------------------------------------------


@compiled
def _liquidate(state: FloatArray, s: FloatArray, orders: FloatArray) -> None:
    """Give up every plan and order; sell the book at the open."""
    for i in range(state.shape[1]):
        state[TARGET, i] = np.nan
        state[EXITING, i] = BY_MARGIN if state[SHARES, i] != 0.0 else 0.0
    for k in range(int(s[FIRST_ORDER]), int(s[NEXT_ORDER])):
        if orders[k, O_STATUS] < FILLED:
            orders[k, O_STATUS] = CANCELLED


@compiled
def step_kernel(
    state: FloatArray,
    s: FloatArray,
    log: FloatArray,
    bar: FloatArray,
    wish: FloatArray,
    decided: float,
    orders: FloatArray,
    todo: IntArray,
    flags: ByteArray,
    words: WordArray,
    row: float,
    years: float,
    gone_row: IntArray,
    gone_cash: FloatArray,
) -> None:
    """Take the book from the last close to this one. `decided` < 0 says that no new targets came."""
    s[ROW] = row
    _accrue(s, log, years)
    _accept_orders(state, s, orders)
    if s[LIQUIDATE] != 0.0:
        _liquidate(state, s, orders)
    elif decided >= 0.0:
        _flag_known(flags, wish[W_WEIGHT])
        for k in range(_list_flagged(flags, words, todo)):
            _decide(state, s, wish, todo[k], decided)
    count = _before_the_open(state, s, log, bar, orders, todo, flags, words, years, gone_row, gone_cash)
    if count > 0:
        _exits_and_targets(state, s, log, bar, todo, count, bar[B_OPEN], AT_OPEN)
    sweep = SWEEP_OPEN
    busy = s[FIRST_ORDER] < s[NEXT_ORDER]
    while busy and sweep <= SWEEP_STOPS:
        _sweep_orders(state, s, log, orders, bar, sweep)
        sweep += 1.0
    _within_the_bar(state, s, log, bar, todo, flags, words)
    while busy and sweep <= SWEEP_CHILDREN:
        _sweep_orders(state, s, log, orders, bar, sweep)
        sweep += 1.0
    _at_the_close(state, s, log, bar, todo, flags, words)
    if busy:
        _sweep_orders(state, s, log, orders, bar, SWEEP_CLOSE)
    if s[P_IMPACT] != 0.0:
        _update_impact(state, s, bar)
    if s[RANGES] != 0.0:
        _update_range(state[ATR], state[LAST], bar)
    elif s[P_IMPACT] != 0.0:
        _keep_last(state[LAST], bar[B_OPEN], bar[B_CLOSE])
    if busy:
        _age_orders(state, s, orders, bar)
    _check_margin(s)


@compiled
def _copy_log(log: FloatArray, used: int, rows: int) -> FloatArray:
    larger = np.empty((rows, LOG_FIELDS))
    for r in range(used):
        for c in range(LOG_FIELDS):
            larger[r, c] = log[r, c]
    return larger


@compiled
def _copy_bar(bar: FloatArray, fields: tuple[FloatArray, ...], mask: BoolArray, k: int) -> bool:
    """Copy one bar of the panel, all fields side by side (for the memory's sake); say whether a market could make it.

    Where the mask is False the open becomes NaN, which says everywhere else that there is no bar.
    """
    open_, high, low, close, volume, split, dividend = fields
    good = True
    for i in range(bar.shape[1]):
        here = mask[k, i]
        o, h, b, c = open_[k, i], high[k, i], low[k, i], close[k, i]
        fine = (b > 0.0) & (b <= o) & (o <= h) & (b <= c) & (c <= h) & (h < np.inf)
        good &= fine | (not here)
        bar[B_OPEN, i] = o if here else np.nan
        bar[B_HIGH, i] = h
        bar[B_LOW, i] = b
        bar[B_CLOSE, i] = c
    for i in range(bar.shape[1]):
        bar[B_VOLUME, i] = volume[k, i]
        bar[B_SPLIT, i] = split[k, i]
        bar[B_DIVIDEND, i] = dividend[k, i]
    return good


@compiled
def _copy_row(target: FloatArray, row: int, source: FloatArray, source_row: int) -> None:
    for i in range(source.shape[1]):
        target[row, i] = source[source_row, i]


@compiled
def _flag_known(flags: ByteArray, values: FloatArray) -> None:
    for i in range(values.shape[0]):
        flags[i] = values[i] == values[i]


@compiled
def _copy_wishes(
    wish: FloatArray, plan: tuple[FloatArray, ...], row: int, todo: IntArray, flags: ByteArray, words: WordArray
) -> None:
    """Copy a plan's row where it has a weight; fields that are not set have a single row of NaN."""
    _copy_row(wish, W_WEIGHT, plan[0], row)
    _flag_known(flags, wish[W_WEIGHT])
    for k in range(_list_flagged(flags, words, todo)):
        for number, field in enumerate(plan):
            wish[number, todo[k]] = field[row if field.shape[0] > 1 else 0, todo[k]]


@entry
def target_kernel(state: FloatArray, s: FloatArray, wish: FloatArray, decided: float) -> FloatArray:
    """Return the shares that the wishes of a close ask for ``(N,)``, NaN where nothing is to be sent.

    What the next step will decide by itself, told before it, so that it can be handed to a broker or written down;
    ``state`` and ``s`` are used up.
    """
    for i in range(state.shape[1]):
        if wish[W_WEIGHT, i] == wish[W_WEIGHT, i]:
            _decide(state, s, wish, i, decided)
        else:
            state[TARGET, i] = np.nan
    return state[TARGET].copy()


@entry
def history_kernel(
    years: FloatArray,
    fields: tuple[FloatArray, ...],
    mask: BoolArray,
    first_plan_row: int,
    delay: int,
    start: int,
    plan: tuple[FloatArray, ...],
    orders: FloatArray,
    gone_row: IntArray,
    gone_cash: FloatArray,
    state: FloatArray,
    s: FloatArray,
    totals: FloatArray,
    shares: FloatArray,
) -> FloatArray:
    """Loop the step over a block of bars, from the bar after the one that the book stands at; return the log.

    ``fields`` are the panel's arrays in the order of ``B_*``, ``plan`` the plan's in the order of ``W_*``.
    It stops before a bar that no market could have made, and leaves that bar's number in ``s[BAD_BAR]`` (else −1).
    Bar ``k`` of the block takes the decisions in row ``first_plan_row + k`` of the plan's arrays, if there is one
    and it was decided in bar ``start`` or later. Optional plan fields have a single row of NaN.
    """
    bars, symbols = mask.shape
    first_row = int(s[ROW]) + 1
    s[BAD_BAR] = -1.0
    room = 18 * symbols + 4 * orders.shape[0] + 8
    log = np.empty((room + bars * symbols // 16, LOG_FIELDS))
    flags = np.zeros(-(-symbols // 8) * 8, np.uint8)
    words = flags.view(np.uint64)
    todo = np.empty(flags.shape[0] + 1, np.int64)
    bar = np.empty((7, symbols))
    wish = np.full((6, symbols), np.nan)
    for k in range(bars):
        used = int(s[LOGGED])
        if used + room > log.shape[0]:
            log = _copy_log(log, used, 2 * log.shape[0] + room)
        row = first_plan_row + k
        decided = first_row + k - 1 - delay
        if row < 0 or row >= plan[0].shape[0] or decided < start:
            decided = -1
        else:
            _copy_wishes(wish, plan, row, todo, flags, words)
        if not _copy_bar(bar, fields, mask, k):
            s[BAD_BAR] = first_row + k
            break
        step_kernel(
            state,
            s,
            log,
            bar,
            wish,
            float(decided),
            orders,
            todo,
            flags,
            words,
            float(first_row + k),
            years[k],
            gone_row,
            gone_cash,
        )
        totals[0, k] = s[EQUITY]
        totals[1, k] = s[CASH]
        totals[2, k] = s[LONG]
        totals[3, k] = s[SHORT]
        _copy_row(shares, k, state, int(np.int64(SHARES)))
    return log[: int(s[LOGGED])]

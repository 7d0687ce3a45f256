"""Fills by quotes: buy at the ask, sell at the bid, walk down the book, wait in the queue (rules R51 to R58).

The compiled step is the same as without quotes; it is handed more rows of state: what could be bought and sold at a
bar's open and close and how much of it was shown, and for each resting order the volume that traded behind everybody
who stood before it. The queue is a fold of its own, which knows nothing of the account.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError
from tradewind.execution import kernel as k
from tradewind.execution.book import Book, kernel_settings
from tradewind.execution.orders import OrderTable
from tradewind.execution.plan import TradePlan
from tradewind.execution.records import Records
from tradewind.execution.settings import AccountSection, ExecutionSection
from tradewind.execution.simulator import (
    Delisting,
    Simulation,
    bad_bar,
    bar_arrays,
    delisting_arrays,
    plan_arrays,
    years_between,
)
from tradewind.market.panel import Panel
from tradewind.market.quotes import Quotes

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

_EQUAL = 1e-9  # relative: prices that differ by less are the same


@dataclass(frozen=True)
class DepthModel:
    """What lies behind the best quote: equal levels.

    Attributes
    ----------
    tick
        Currency between one level and the next, and between the prices at which a bar may have traded.
    levels
        How many levels, the best one included, one bar's fills may take; each shows as much as the best one.
    """

    tick: float = 0.01
    levels: float = 10.0

    def __post_init__(self) -> None:
        """Refuse what is no book."""
        if not 0 <= self.tick < np.inf:
            raise InputError(f"the tick is {self.tick}", hint="say the distance of two prices, 0.01 for US shares")
        if not self.levels > 0:
            raise InputError(f"{self.levels} levels can be taken", hint="1 is what is shown, more is assumed behind it")


@dataclass(frozen=True, eq=False)
class Moments:
    """Bars and quotes as queue and compiled step read them; ``(T, N)`` each, NaN where unknown.

    ``shown`` at an open is the size of the close before: what stands at the open itself nobody knows in time.
    """

    given: FloatArray  # (T, rows of the compiled step's state that hold quotes, N)
    low: FloatArray
    high: FloatArray
    volume: FloatArray
    bid_high: FloatArray
    ask_low: FloatArray
    split: FloatArray

    @classmethod
    def of(cls, panel: Panel, quotes: Quotes, depth: DepthModel) -> Moments:
        """Lay a panel's quotes out; ``quotes`` are on its bars and symbols."""
        given = np.full((len(panel), k.QUOTES_GIVEN - k.STATE_ROWS, panel.shape[1]), np.nan)
        for moment, bid, ask in (("open", k.Q_BID_OPEN, k.Q_ASK_OPEN), ("close", k.Q_BID_CLOSE, k.Q_ASK_CLOSE)):
            given[:, bid - k.STATE_ROWS], given[:, ask - k.STATE_ROWS] = quotes.at(moment)
        for side, at_open, at_close in (("bid", k.Q_BIDS_OPEN, k.Q_BIDS_CLOSE), ("ask", k.Q_ASKS_OPEN, k.Q_ASKS_CLOSE)):
            size = quotes.fields[f"{side}_size"]
            given[:, at_close - k.STATE_ROWS] = size
            given[1:, at_open - k.STATE_ROWS] = size[:-1]
        best = {name: quotes.fields[name] for name in ("bid_high", "ask_low")}
        given[:, k.Q_BID_HIGH - k.STATE_ROWS], given[:, k.Q_ASK_LOW - k.STATE_ROWS] = best["bid_high"], best["ask_low"]
        halves = quotes.half_spread("open"), quotes.half_spread("close")
        given[:, k.Q_HALF_SPREAD - k.STATE_ROWS] = np.fmax(*halves)
        given[:, k.Q_TICK - k.STATE_ROWS], given[:, k.Q_LEVELS - k.STATE_ROWS] = depth.tick, depth.levels
        traded = {name: panel.fields[name] for name in ("low", "high", "volume", "split")}
        return cls(given, **traded, **best)


def join_queue(
    ahead: FloatArray, side: FloatArray, limit: FloatArray, quote: FloatArray, shown: FloatArray
) -> FloatArray:
    """Return the shares ahead of each order as a bar opens, NaN for an order that stands behind the best quote.

    Parameters
    ----------
    ahead
        ``(K,)`` shares that were ahead, NaN for an order that has not joined.
    side
        ``(K,)`` +1 for orders that buy, -1 for orders that sell.
    quote, shown
        ``(K,)`` best quote of the order's own side as the bar opens, and the shares shown there. At the best quote
        everybody who is shown stands before us; where nobody knows how many, that is infinitely many; inside the
        spread nobody does.
    """
    better = side * (limit - quote)
    near = np.abs(better) <= _EQUAL * quote
    joined = np.where(near, np.where(np.isnan(shown), np.inf, shown), np.where(better > 0, 0.0, np.nan))
    return np.where(np.isnan(ahead), joined, ahead)


def pass_queue(
    ahead: FloatArray,
    side: FloatArray,
    limit: FloatArray,
    traded: tuple[FloatArray, FloatArray, FloatArray],
    other: FloatArray,
    tick: float,
) -> tuple[FloatArray, FloatArray]:
    """Return the shares still ahead of each order after a bar, and the volume that traded behind those.

    Where a trade or the other side's quote went through the limit, everybody there was served: all the bar's volume
    counts. Where trades only touched it, the bar's volume is taken as spread evenly over the prices from low to high,
    and what that leaves at the limit serves those ahead first. Nobody ahead is ever taken to have gone away.

    Parameters
    ----------
    traded
        Low, high and volume of the bar, ``(K,)`` each.
    other
        ``(K,)`` best quote of the other side within the bar: the lowest ask for an order that buys, the highest bid
        else.
    """
    low, high, volume = traded
    worst, best = np.where(side > 0, low, high), np.where(side > 0, high, low)
    volume = np.nan_to_num(volume)
    slack = _EQUAL * limit
    through = (side * (limit - worst) > slack) | (side * (limit - other) > slack)
    prices = 1.0 if tick == 0 else np.rint(np.abs(best - worst) / tick) + 1.0
    touched = np.abs(limit - worst) <= slack
    here = np.where(touched, volume / prices, 0.0)
    known = np.where(np.isnan(ahead), np.inf, ahead)
    behind = np.where(through, volume, np.maximum(here - known, 0.0))
    left = np.where(through, 0.0, np.maximum(ahead - here, 0.0))
    return left, behind


def simulate_on_quotes(
    panel: Panel,
    quotes: Quotes,
    plan: TradePlan,
    execution: ExecutionSection,
    account: AccountSection,
    *,
    depth: DepthModel | None = None,
    orders: OrderTable | None = None,
    start: int = 0,
    delistings: Mapping[str, Delisting] | None = None,
) -> Simulation:
    """Trade a plan over a whole panel at its quotes: :func:`tradewind.execution.simulate` with rules R51 to R58.

    ``execution.spread_bps`` counts only where there is no quote (see :func:`coverage`); commission, slippage, the
    square-root impact and participation stay as they are set.

    Parameters
    ----------
    quotes
        Of any bars and symbols; what the panel does not have is left aside, what they do not have is unknown.
    depth
        What lies behind the best quote; None for the usual one.

    Raises
    ------
    InputError
        Shapes that differ, unknown symbols.
    DataError
        Prices that no market could have made.
    """
    if plan.weight.shape != panel.shape:
        raise InputError(f"the plan has shape {plan.weight.shape}, the panel {panel.shape}")
    depth = DepthModel() if depth is None else depth
    book = _quoted_book(panel.symbols, account, orders)
    moments = Moments.of(panel, quotes.on(panel), depth)
    settings = np.concatenate([book.scalars, kernel_settings(execution)])
    ends = delisting_arrays(panel.symbols, delistings)
    return _trade_bars(book, panel, plan, moments, settings, ends, start, depth.tick)


def _quoted_book(symbols: tuple[str, ...], account: AccountSection, orders: OrderTable | None) -> Book:
    """Return a new account's book with room for quotes."""
    book = Book.opened(symbols, account, ranges=orders is not None)
    room = np.full((k.QUOTED_ROWS - k.STATE_ROWS, len(symbols)), np.nan)
    rows = np.zeros((0 if orders is None else len(orders.tickets), k.QUOTED_ORDER_FIELDS))
    rows[:, k.O_AHEAD] = np.nan
    if orders is not None:
        rows[:, : k.ORDER_FIELDS] = orders.array(symbols)
    return replace(book, state=np.concatenate([book.state, room]), orders=rows)


def _trade_bars(
    book: Book,
    panel: Panel,
    plan: TradePlan,
    moments: Moments,
    account: FloatArray,
    ends: tuple[IntArray, FloatArray],
    start: int,
    tick: float,
) -> Simulation:
    """Run the compiled step bar by bar, each with its quotes."""
    bars = len(panel)
    totals, shares = np.empty((4, bars)), np.empty(panel.shape)
    one, held = np.empty((4, 1)), np.empty((1, panel.shape[1]))
    years, fields, wishes = years_between(panel.times, book.time), bar_arrays(panel), plan_arrays(plan)
    mask = np.require(panel.mask, np.bool_, ["C", "W"])
    logs = [np.empty((0, k.LOG_FIELDS))]
    for t in range(bars):
        book.state[k.STATE_ROWS : k.QUOTES_GIVEN] = moments.given[t]
        _serve_queue(book, moments, t, tick, account[k.ROW] + 1.0)
        account[k.LOGGED] = 0
        part = slice(t, t + 1)
        log = k.history_kernel(
            years[part],
            tuple(values[part] for values in fields),
            mask[part],
            t - 1 - plan.delay_bars,
            plan.delay_bars,
            start,
            wishes,
            book.orders,
            *ends,
            book.state,
            account,
            one,
            held,
        )
        if account[k.BAD_BAR] >= 0:
            prices = {name: panel.fields[name][t] for name in ("open", "high", "low", "close")}
            raise bad_bar(prices, panel.mask[t], panel.symbols, panel.times[t])
        totals[:, t], shares[t] = one[:, 0], held[0]
        if len(log):
            logs.append(log.copy())
    return _simulation(book, panel, account, totals / 100, shares, np.concatenate(logs))


def _serve_queue(book: Book, moments: Moments, t: int, tick: float, row: float) -> None:
    """Let one bar pass before the orders that rest: who joins, who was served, what traded behind them."""
    orders = book.orders
    orders[:, k.O_BEHIND] = 0.0
    at = _resting(orders, row)
    if not at.size:
        return
    column = orders[at, k.O_COLUMN].astype(np.int64)
    left, limit = orders[at, k.O_LEFT], orders[at, k.O_LIMIT]
    side = np.where(np.isnan(left), -np.sign(book.state[k.SHARES, column]), np.sign(left))
    given, buys = moments.given[t][:, column], side > 0
    quote = np.where(buys, given[k.Q_BID_OPEN - k.STATE_ROWS], given[k.Q_ASK_OPEN - k.STATE_ROWS])
    shown = np.where(buys, given[k.Q_BIDS_OPEN - k.STATE_ROWS], given[k.Q_ASKS_OPEN - k.STATE_ROWS])
    other = np.where(buys, given[k.Q_ASK_LOW - k.STATE_ROWS], given[k.Q_BID_HIGH - k.STATE_ROWS])
    traded = moments.low[t, column], moments.high[t, column], moments.volume[t, column]
    ahead = join_queue(orders[at, k.O_AHEAD], side, limit, quote, shown)
    ahead, behind = pass_queue(ahead, side, limit, traded, other, tick)
    rescaled = moments.split[t, column] != 1.0
    orders[at, k.O_AHEAD], orders[at, k.O_BEHIND] = np.where(rescaled, np.nan, ahead), np.where(rescaled, 0.0, behind)


def _resting(orders: FloatArray, row: float) -> IntArray:
    """Return the orders with a limit that are at work in this bar."""
    status, kind = orders[:, k.O_STATUS], orders[:, k.O_KIND]
    arrives = (status == k.NEW) & (orders[:, k.O_ROW] < row) & (orders[:, k.O_PARENT] < 0)
    limited = (kind == k.LIMIT) | (kind == k.TAKE_PROFIT)
    return np.flatnonzero(((status == k.WORKING) | arrives) & limited)


def _simulation(
    book: Book, panel: Panel, account: FloatArray, totals: FloatArray, shares: FloatArray, log: FloatArray
) -> Simulation:
    """Return what happened; the book goes on without quotes."""
    orders = book.orders[:, : k.ORDER_FIELDS].copy()
    after = Book(
        symbols=book.symbols,
        state=book.state[: k.STATE_ROWS].copy(),
        scalars=account[: k.SCALARS].copy(),
        time=panel.times[-1] if len(panel) else book.time,
        orders=orders[orders[:, k.O_STATUS] < k.FILLED],
    )
    return Simulation(
        times=panel.times,
        symbols=panel.symbols,
        equity=totals[0],
        cash=totals[1],
        shares=shares,
        long_value=totals[2],
        short_value=totals[3],
        records=Records(log),
        book=after,
        start_capital=book.cash,
        order_rows=orders,
    )


def coverage(panel: Panel, quotes: Quotes) -> dict[str, int]:
    """Return of how many bars that traded it is known what could be bought and sold.

    ``bars``; ``without_open_quote`` and ``without_close_quote`` (nothing known, or crossed: the flat spread counts
    there); ``crossed`` (a bid above the ask at open or close); ``without_size`` (nobody knows how much was shown at
    the close).
    """
    on = quotes.on(panel)
    traded = panel.mask
    crossed = np.zeros(panel.shape, np.bool_)
    for moment in ("open", "close"):
        crossed |= on.fields[f"bid_{moment}"] > on.fields[f"ask_{moment}"]
    sizes = np.isnan(on.fields["bid_size"]) | np.isnan(on.fields["ask_size"])
    unknown = {moment: np.isnan(on.half_spread(moment)) for moment in ("open", "close")}
    return {
        "bars": int(traded.sum()),
        "without_open_quote": int((traded & unknown["open"]).sum()),
        "without_close_quote": int((traded & unknown["close"]).sum()),
        "crossed": int((traded & crossed).sum()),
        "without_size": int((traded & sizes).sum()),
    }

"""Trade a plan over history, or one bar at a time, by the rules of ``docs/fill-rules.md``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tradewind.errors import DataError, InputError
from tradewind.execution import kernel as k
from tradewind.execution.book import Book, kernel_settings
from tradewind.execution.orders import OrderTable
from tradewind.execution.plan import TradePlan
from tradewind.execution.records import (
    COST_KINDS,
    Records,
    fills_table,
    ledger_digest,
    ledger_table,
    open_trades_table,
    trades_table,
)
from tradewind.execution.settings import AccountSection, ExecutionSection
from tradewind.market.panel import Panel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
TimeArray = NDArray[np.datetime64]

YEAR = np.timedelta64(365, "D") / np.timedelta64(1, "us")


@dataclass(frozen=True, eq=False)
class Delisting:
    """The end of an instrument, where it is known.

    Attributes
    ----------
    row
        The bar before whose open the delisting takes effect.
    cash_per_share
        What a holder is paid; NaN for the last close less the haircut of the settings.
    """

    row: int
    cash_per_share: float = float("nan")


@dataclass(frozen=True, eq=False)
class Simulation:
    """What happened to an account. Money is in currency; row ``t`` is the close of bar ``t``.

    Attributes
    ----------
    times
        ``(T,)`` bar closes, UTC.
    equity
        ``(T,)`` cash plus positions at their last close.
    cash
        ``(T,)`` including the proceeds of short sales.
    shares
        ``(T, N)``; negative is short.
    long_value, short_value
        ``(T,)`` market value of long and of short positions, both positive.
    records
        Raw fills, events and round trips of the kernel; the tables are made from them when asked for.
    book
        The account after the last bar; hand it to :func:`step` to go on.
    """

    times: TimeArray
    symbols: tuple[str, ...]
    equity: FloatArray
    cash: FloatArray
    shares: FloatArray
    long_value: FloatArray
    short_value: FloatArray
    records: Records
    book: Book
    start_capital: float
    order_rows: FloatArray

    @property
    def first_row(self) -> int:
        """Return the number of the first of these bars in the account's life; 0 for a history."""
        return self.book.row + 1 - len(self.times)

    @property
    def gross_exposure(self) -> FloatArray:
        """Return ``(T,)`` long plus short value over equity; NaN where equity is not positive."""
        return self._over_equity(self.long_value + self.short_value)

    @property
    def net_exposure(self) -> FloatArray:
        """Return ``(T,)`` long less short value over equity; NaN where equity is not positive."""
        return self._over_equity(self.long_value - self.short_value)

    def _over_equity(self, value: FloatArray) -> FloatArray:
        result = np.full(value.shape, np.nan)
        np.divide(value, self.equity, out=result, where=self.equity > 0)
        return result

    @property
    def counts(self) -> dict[str, int]:
        """Return how often orders were clipped, refused, kept waiting, and other things worth telling."""
        return self.book.counts

    @property
    def ambiguous_bars(self) -> int:
        """Return how many bars held both barriers of a position (all resolved against us)."""
        return self.counts["ambiguous_bars"]

    @cached_property
    def fills(self) -> pl.DataFrame:
        """One row a fill; see :func:`tradewind.execution.records.fills_table`."""
        return fills_table(self.records, self.times, self.symbols, self.first_row)

    @cached_property
    def trades(self) -> pl.DataFrame:
        """One row a finished round trip; see :func:`tradewind.execution.records.trades_table`."""
        return trades_table(self.records, self.times, self.symbols, self.first_row)

    @cached_property
    def open_trades(self) -> pl.DataFrame:
        """What is still held, valued; see :func:`tradewind.execution.records.open_trades_table`."""
        return open_trades_table(self.book, self.times, self.symbols, self.first_row)

    @cached_property
    def ledger(self) -> pl.DataFrame:
        """Every movement of cash and shares; see :func:`tradewind.execution.records.ledger_table`."""
        return ledger_table(self.records, self.times, self.symbols, self.start_capital, self.first_row)

    @cached_property
    def ledger_hash(self) -> str:
        """SHA-256 of the ledger in canonical form."""
        return ledger_digest(self.records, self.times, self.symbols, self.start_capital, self.first_row)

    @property
    def costs(self) -> dict[str, float]:
        """Return what was paid by kind, positive = paid: trading costs, borrow, and interest (net)."""
        paid = {name: float(self.records.fills[:, index].sum() / 100) for name, index in COST_KINDS.items()}
        for name, kind in (("borrow", k.BORROW_EVENT), ("interest", k.INTEREST_EVENT)):
            events = self.records.events
            paid[name] = -float(events[events[:, k.E_KIND] == kind, k.E_CASH].sum() / 100) + 0.0
        return paid

    @property
    def dividends(self) -> float:
        """Return the dividends received less those owed on shorts."""
        events = self.records.events
        return float(events[events[:, k.E_KIND] == k.DIVIDEND_EVENT, k.E_CASH].sum() / 100)

    @property
    def traded_value(self) -> FloatArray:
        """Return ``(T,)`` the value bought plus the value sold in each bar."""
        fills = self.records.fills
        rows = fills[:, k.L_ROW].astype(np.int64) - self.first_row
        return np.bincount(rows, np.abs(fills[:, k.F_CASH]) / 100, minlength=len(self.times)).astype(np.float64)

    @property
    def orders(self) -> pl.DataFrame:
        """Return one row an explicit order: what became of it and how much of it filled."""
        rows = self.order_rows
        status = rows[:, k.O_STATUS].astype(np.int64)
        return pl.DataFrame(
            {
                "id": rows[:, k.O_ID].astype(np.int64),
                "symbol": pl.Series(self.symbols, dtype=pl.String).gather(rows[:, k.O_COLUMN].astype(np.int64)),
                "kind": pl.Series(k.ORDER_KINDS).gather(rows[:, k.O_NAME].astype(np.int64)),
                "status": pl.Series(k.STATUSES).gather(status),
                "filled": rows[:, k.O_FILLED],
                "limit": rows[:, k.O_LIMIT],
                "stop": rows[:, k.O_STOP],
            }
        )

    @property
    def positions_at_end(self) -> pl.DataFrame:
        """Return the open positions after the last bar with their levels; NaN for a level that is not set."""
        s = self.book.state
        held = np.flatnonzero(s[k.SHARES])
        side = np.sign(s[k.SHARES])
        columns = {
            "shares": s[k.SHARES],
            "price": s[k.MARK],
            "value": s[k.SHARES] * s[k.MARK],
            "entry_price": s[k.ENTRY],
            "stop": s[k.ENTRY] * (1 - side * s[k.STOP]),
            "take_profit": s[k.ENTRY] * (1 + side * s[k.TAKE]),
            "trailing_stop": s[k.EXTREME] * (1 - side * s[k.TRAIL]),
            "bars_held": self.book.row + 1 - s[k.BORN],
            "bars_without_price": s[k.STALE],
        }
        table = {name: values[held] for name, values in columns.items()}
        return pl.DataFrame({"symbol": [self.symbols[i] for i in held], **table})


def simulate(
    panel: Panel,
    plan: TradePlan,
    execution: ExecutionSection,
    account: AccountSection,
    *,
    orders: OrderTable | None = None,
    start: int = 0,
    delistings: Mapping[str, Delisting] | None = None,
) -> Simulation:
    """Trade a plan over a whole panel.

    Row ``t`` of the plan is decided at the close of bar ``t``, sized with the equity and prices of that close
    and filled in bar ``t + 1 + plan.delay_bars`` or later, so nothing can fill before it was decided.

    Parameters
    ----------
    panel
        Raw bars with splits and dividends.
    plan
        Target weights with brackets, ``(T, N)`` on the panel's axes.
    orders
        Explicit orders beside the plan, or instead of it (:meth:`TradePlan.hold`).
    start
        First row whose decisions count; earlier bars only warm up volume and volatility.
    delistings
        Known ends of instruments by symbol. Without an entry, a symbol that has had no bar for
        ``delisted_after_bars`` is taken as delisted.

    Raises
    ------
    InputError
        Shapes that differ, unknown symbols.
    DataError
        Prices that are not positive numbers with ``low <= open, close <= high`` where the mask is True.
    """
    if plan.weight.shape != panel.shape:
        raise InputError(f"the plan has shape {plan.weight.shape}, the panel {panel.shape}")
    book = Book.opened(panel.symbols, account, ranges=orders is not None)
    if orders is not None:
        book = replace(book, orders=orders.array(panel.symbols))
    return _advance(book, panel, plan, execution, -1 - plan.delay_bars, start, delistings)


def step(
    book: Book,
    bars: Panel,
    plan: TradePlan | None,
    execution: ExecutionSection,
    *,
    orders: OrderTable | None = None,
    delistings: Mapping[str, Delisting] | None = None,
) -> Simulation:
    """Take a book from its close over the next bar: the same code as :func:`simulate`, one bar at a time.

    Parameters
    ----------
    book
        The account at the last close. It is not changed.
    bars
        The next bar: a panel of one row with the book's symbols.
    plan
        The targets decided at the last close: a plan of one row; None for nothing new.
    orders
        New explicit orders, decided at the last close (``row`` is the book's); the book keeps the older ones.

    Returns
    -------
    Simulation
        Of the one bar; its ``book`` goes into the next call.
    """
    if bars.shape != (1, len(book.symbols)) or bars.symbols != book.symbols:
        raise InputError(
            f"a step takes one bar of the book's {len(book.symbols)} symbols, got shape {bars.shape}",
            hint="select the book's symbols, in its order, and one row",
        )
    plan = TradePlan.hold(bars.shape) if plan is None else plan
    if plan.weight.shape != bars.shape:
        raise InputError(f"the plan has shape {plan.weight.shape}, expected {bars.shape}")
    if plan.delay_bars:
        raise InputError("a step cannot delay its plan", hint="hold it back and hand it in later")
    book = book.copy()
    if orders is not None:
        book = replace(book, orders=_with_new(book, orders))
    return _advance(book, bars, plan, execution, 0, 0, delistings)


def _with_new(book: Book, orders: OrderTable) -> FloatArray:
    """Return the book's unfinished orders and the new ones behind them."""
    new = orders.array(book.symbols)
    late = [ticket.id for ticket in orders.tickets if ticket.row != book.row]
    if late:
        raise InputError(f"orders {late} were not decided at the book's bar {book.row}")
    known = np.intersect1d(new[:, k.O_ID], book.orders[:, k.O_ID])
    if known.size:
        raise InputError(f"the book already has orders with the ids {known.astype(int).tolist()}")
    return np.concatenate([book.orders, new])


def _advance(
    book: Book,
    panel: Panel,
    plan: TradePlan,
    execution: ExecutionSection,
    first_plan_row: int,
    start: int,
    delistings: Mapping[str, Delisting] | None,
) -> Simulation:
    """Run the kernel over a block of bars; `book` is consumed."""
    bars, symbols = panel.shape
    start_capital = book.cash
    gone_row, gone_cash = delisting_arrays(panel.symbols, delistings)
    totals = np.empty((4, bars))
    shares = np.empty((bars, symbols))
    book.scalars[[k.LOGGED, k.FIRST_ORDER, k.NEXT_ORDER]] = 0
    account = np.concatenate([book.scalars, kernel_settings(execution)])
    log = k.history_kernel(
        years_between(panel.times, book.time),
        bar_arrays(panel),
        np.require(panel.mask, np.bool_, ["C", "W"]),
        first_plan_row,
        plan.delay_bars,
        start,
        plan_arrays(plan),
        book.orders,
        gone_row,
        gone_cash,
        book.state,
        account,
        totals,
        shares,
    )
    if account[k.BAD_BAR] >= 0:
        row = int(account[k.BAD_BAR]) - book.row - 1
        prices = {name: panel.fields[name][row] for name in ("open", "high", "low", "close")}
        raise bad_bar(prices, panel.mask[row], panel.symbols, panel.times[row])
    totals /= 100
    unfinished = book.orders[book.orders[:, k.O_STATUS] < k.FILLED].copy()
    after = replace(
        book,
        time=panel.times[-1] if bars else book.time,
        scalars=account[: k.SCALARS].copy(),
        orders=unfinished,
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
        start_capital=start_capital,
        order_rows=book.orders,
    )


def bar_arrays(panel: Panel) -> tuple[FloatArray, ...]:
    """Return a panel's fields as the compiled step reads them."""
    return tuple(_dense(panel.fields[name]) for name in ("open", "high", "low", "close", "volume", "split", "dividend"))


def plan_arrays(plan: TradePlan) -> tuple[FloatArray, ...]:
    """Return the plan's arrays for the kernel; a field that is not set is one row of NaN."""
    none = np.full((1, plan.weight.shape[1]), np.nan)
    fields = (plan.stop, plan.take_profit, plan.trail, plan.max_bars, plan.priority)
    return (_dense(plan.weight), *(none if values is None else _dense(values) for values in fields))


def _dense(values: FloatArray) -> FloatArray:
    """Return the values as the compiled code wants them; a frozen array is copied, since it is another type there."""
    return np.require(values, np.float64, ["C", "W"])


def years_between(times: TimeArray, before: np.datetime64) -> FloatArray:
    """Return the calendar time between each close and the one before it, in years; 0 at the first bar ever."""
    instants = times.astype("datetime64[us]").astype(np.float64)
    first = instants[:1] if np.isnat(before) else np.array([before.astype("datetime64[us]").astype(np.float64)])
    return np.diff(instants, prepend=first) / YEAR


def bad_bar(
    prices: Mapping[str, FloatArray], mask: NDArray[np.bool_], symbols: tuple[str, ...], time: np.datetime64
) -> DataError:
    """Return the error for a bar that no market could have made; ``prices`` are its open, high, low and close."""
    o, h, b, c = prices.values()
    fine = (b > 0) & (b <= o) & (o <= h) & (b <= c) & (c <= h) & (h < np.inf)
    column = int(np.argmax(mask & ~fine))
    said = ", ".join(f"{name} {values[column]}" for name, values in prices.items())
    return DataError(
        f"{symbols[column]} at {time} cannot be traded: {said}",
        hint="mask such bars, or run the data checks: they mark what is unfit for use",
    )


def delisting_arrays(
    symbols: tuple[str, ...], delistings: Mapping[str, Delisting] | None
) -> tuple[IntArray, FloatArray]:
    """Return each column's last row (-1: not known) and what it pays, as the compiled step reads them."""
    row = np.full(len(symbols), -1, dtype=np.int64)
    cash = np.full(len(symbols), np.nan)
    for symbol, end in (delistings or {}).items():
        if symbol not in symbols:
            raise InputError(f"a delisting names {symbol!r}, which is not in this panel")
        row[symbols.index(symbol)] = end.row
        cash[symbols.index(symbol)] = end.cash_per_share
    return row, cash

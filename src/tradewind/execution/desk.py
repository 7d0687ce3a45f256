"""The desk: one bar of an account's life, the same code for a back-test, a replay and the paper broker.

At each close: the compiled step books what the last decisions filled; the gate looks at what was lost; at a session's
end the risk of every name is measured again and the coordinator shares out the capital; then the wishes of that close
become targets, as far as coordinator and gate allow, and wait for the next bar. There is no other way into the book.

A column of the book is one symbol of one timeframe, so that each timeframe keeps its own stops and its own profit to
the cent, while limits count a symbol's columns together.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from tradewind.decisions.coordinator import Coordinator, CoordinatorState
from tradewind.errors import DataError, InputError
from tradewind.execution import kernel as k
from tradewind.execution.book import Book, kernel_settings
from tradewind.execution.plan import TradePlan
from tradewind.execution.records import Records
from tradewind.execution.settings import AccountSection, ExecutionSection
from tradewind.execution.simulator import Simulation, bad_bar, bar_arrays, years_between
from tradewind.market.panel import Panel
from tradewind.portfolio.limits import Alert, Gate, GateState
from tradewind.portfolio.limits_kernel import CODES
from tradewind.risk.monitor import Exposure, Monitor, MonitorState

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
TimeArray = NDArray[np.datetime64]

WISHES = ("weight", "stop", "take_profit", "trail", "max_bars", "priority")
"""A plan's fields in the order in which the compiled step reads them."""

CONFLICT = "coordinator_conflict"

FORCED: Mapping[float, tuple[Literal["info", "warning", "critical"], str]] = {
    k.BY_STOP: ("info", "stop"),
    k.BY_TRAIL: ("info", "stop"),
    k.BY_DELISTING: ("warning", "delisted"),
    k.BY_MARGIN: ("critical", "margin_call"),
}
"""Reasons of fills that a person is told of: level and kind of the alert."""

_IS_FORCED = np.isin(np.arange(len(k.REASONS)), list(FORCED))


@dataclass(frozen=True, eq=False)
class Bars:
    """A panel laid out for a desk: time-major arrays of its columns ``(T, M)`` and of its symbols ``(T, N)``.

    Attributes
    ----------
    fields
        Open, high, low, close, volume, split, dividend by column, as the compiled step reads them.
    session_end
        ``(T,)``: the bar is its session's last.
    adjusted
        ``(T, N)`` the session's newest total-return close by symbol, NaN where it has had no bar yet.
    value
        ``(T, N)`` value traded in each bar, in currency.
    market
        ``(T,)`` close of the index, NaN where unknown.
    borrowable
        ``(T, N)`` whether stock could be borrowed at each close, where the account may be short at all. A short that is
        held when it no longer can stays: nobody is bought in.
    gone_row
        ``(M,)`` row in which a column's symbol is taken as delisted, -1 for none; known in that row.
    """

    times: TimeArray
    years: FloatArray
    fields: tuple[FloatArray, ...]
    mask: BoolArray
    session_end: BoolArray
    adjusted: FloatArray
    value: FloatArray
    market: FloatArray
    borrowable: BoolArray
    gone_row: IntArray

    @classmethod
    def of(
        cls,
        panel: Panel,
        symbol_of: IntArray,
        borrowable: BoolArray | None = None,
        *,
        delisted_after_sessions: int | None = None,
    ) -> Bars:
        """Lay out a panel; columns are copies of its symbols. Without a word on it all stock can be borrowed.

        ``delisted_after_sessions`` takes a symbol as delisted in the session that is the n-th without a bar of it.
        """
        named = {name: np.ascontiguousarray(panel.fields[name][:, symbol_of]) for name in panel.fields}
        wide = replace(
            panel,
            fields=named,
            symbols=tuple(panel.symbols[i] for i in symbol_of),
            instruments=tuple(panel.instruments[i] for i in symbol_of),
            sectors=tuple(panel.sectors[i] for i in symbol_of),
            mask=np.ascontiguousarray(panel.mask[:, symbol_of]),
            member=np.ascontiguousarray(panel.member[:, symbol_of]),
        )
        ends = session_ends(panel)
        gone = np.full(len(panel.symbols), -1, dtype=np.int64)
        if delisted_after_sessions is not None:
            gone = ended(panel.mask, ends, delisted_after_sessions)
        return cls(
            times=panel.times,
            years=years_between(panel.times, np.datetime64("NaT")),
            fields=bar_arrays(wide),
            mask=np.require(wide.mask, np.bool_, ["C", "W"]),
            session_end=ends,
            adjusted=newest_of_session(np.where(panel.mask, panel.adjusted("close"), np.nan), ends),
            value=panel.close * panel.volume,
            market=panel.context.get("index", np.full(len(panel), np.nan)),
            borrowable=np.ones(panel.shape, np.bool_) if borrowable is None else borrowable,
            gone_row=gone[symbol_of],
        )


def newest_of_session(values: FloatArray, session_end: BoolArray) -> FloatArray:
    """Return the newest value ``(T, N)`` since the session of each row began; NaN where there is none."""
    session = np.concatenate([[0], np.cumsum(session_end)[:-1]]) if len(session_end) else np.zeros(0)
    first = np.searchsorted(session, session, side="left")[:, None]
    seen = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(len(values))[:, None], -1), axis=0)
    newest = np.take_along_axis(values, np.maximum(seen, 0), axis=0)
    return np.where(seen >= first, newest, np.nan)


def ended(mask: BoolArray, session_end: BoolArray, sessions: int) -> IntArray:
    """Return the first row of a session that is the n-th in a row without a bar, by symbol ``(N,)``; -1 for none.

    Only after a symbol has had a bar, and only the first time.
    """
    session = np.concatenate([[0], np.cumsum(session_end)[:-1]])
    seen = np.maximum.accumulate(np.where(mask, session[:, None], -1), axis=0)
    gone = (seen >= 0) & (session[:, None] - seen >= sessions)
    return np.where(gone.any(axis=0), gone.argmax(axis=0), -1).astype(np.int64)


def session_ends(panel: Panel) -> BoolArray:
    """Return which bars are the last of their session, by the exchange's calendar: ``(T,)``."""
    from tradewind.market.bars import TIMEFRAMES
    from tradewind.market.calendar import calendar

    if TIMEFRAMES[panel.timeframe] >= TIMEFRAMES["1d"]:
        return np.ones(len(panel), np.bool_)
    exchange = calendar("XNYS")
    session = exchange.session_of(panel.times)
    return np.asarray((session >= 0) & (exchange.closes[session] == panel.times))


@dataclass(eq=False)
class DeskState:
    """Everything between two bars.

    Attributes
    ----------
    values, flows
        Market value at the last session's end, and cash moved since then, by column, in cents ``(M,)``.
    waiting
        Targets with their brackets for the next bar, as the compiled step reads them.
    exposure
        What ``monitor`` says of each name's risk, computed once a session.
    """

    book: Book
    gate: GateState
    coordinator: CoordinatorState
    monitor: MonitorState
    values: FloatArray
    flows: FloatArray
    waiting: tuple[FloatArray, ...] | None = None
    exposure: Exposure | None = None

    def copy(self) -> DeskState:
        """Return a state of its own with the same content."""
        waiting = None if self.waiting is None else tuple(row.copy() for row in self.waiting)
        book, monitor = self.book.copy(), self.monitor.copy()
        values, flows = self.values.copy(), self.flows.copy()
        return replace(self, book=book, monitor=monitor, values=values, flows=flows, waiting=waiting)


@dataclass(frozen=True, eq=False)
class Step:
    """What one bar brought.

    Attributes
    ----------
    log
        The compiled step's records ``(L, 14)``.
    totals
        Cash, equity, long and short value in cents, as the compiled step gives them: equity, cash, long, short.
    sent
        Target weights ``(M,)`` that wait for the next bar; None for no word.
    wished
        The wishes they came from, in fractions of equity ``(M,)``.
    bound
        ``(M,)`` index into :data:`REASONS`.
    profit
        Cents by column and session ``(M,)`` at a session's end, else None.
    """

    log: FloatArray
    totals: FloatArray
    sent: FloatArray | None
    wished: FloatArray | None
    bound: IntArray | None
    alerts: tuple[Alert, ...]
    profit: FloatArray | None


REASONS = (*CODES, CONFLICT)
"""What may bind a wish."""


@dataclass(frozen=True, eq=False)
class Desk:
    """An account's rules: who trades what under which limits.

    Attributes
    ----------
    symbols
        The universe ``(N,)``; ``columns`` names the book's ``(M,)``: symbol, or symbol@timeframe.
    """

    symbols: tuple[str, ...]
    columns: tuple[str, ...]
    gate: Gate
    coordinator: Coordinator
    monitor: Monitor
    execution: ExecutionSection
    account: AccountSection
    borrowable: BoolArray
    _settings: FloatArray = field(init=False, repr=False)
    _nothing: tuple[FloatArray, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Lay the settings out once."""
        most = min(self.execution.margin_leverage_max, self.gate.limits.gross_max)
        capped = self.execution.model_copy(update={"margin_leverage_max": most})
        width = len(self.columns)
        object.__setattr__(self, "_settings", kernel_settings(capped))
        object.__setattr__(self, "_nothing", tuple(np.full((1, width), np.nan) for _ in WISHES))

    def open(self) -> DeskState:
        """Return the state of a new account."""
        book = Book.opened(self.columns, self.account, ranges=False)
        nothing = np.zeros(len(self.columns))
        return DeskState(
            book, self.gate.open(book.equity), self.coordinator.open(), self.monitor.open(), nothing, nothing.copy()
        )

    def warm_up(self, state: DeskState, bars: Bars, stop: int) -> DeskState:
        """Take in the bars before an account is opened: volumes, volatilities and risk are known, nothing is owned."""
        if stop:
            self._advance(state, bars, 0, stop, None)
            for row in range(stop):
                ended = bool(bars.session_end[row])
                state.monitor = self.monitor.traded(state.monitor, bars.value[row], ended=ended)
                if ended:
                    state.monitor = self.monitor.session(state.monitor, bars.adjusted[row], bars.market[row])
        opened = Book.opened(self.columns, self.account, ranges=False).scalars
        for place in (k.CASH, k.EQUITY, k.INTEREST_DUE, k.BORROW_DUE):
            state.book.scalars[place] = opened[place]
        return state

    def step(self, state: DeskState, bars: Bars, row: int, wish: Mapping[str, FloatArray] | None) -> Step:
        """Take the account over one bar and decide what waits for the next; ``state`` is changed.

        ``wish`` has a plan's fields for this close, ``(M,)`` each, weights as fractions of the timeframe's capital.
        """
        if state.gate.halted:
            self._withdraw(state)
        log, totals = self._advance(state, bars, row, row + 1, state.waiting)
        state.waiting = None
        ended = bool(bars.session_end[row])
        equity = float(state.book.scalars[k.EQUITY]) / 100
        self._count(state, log)
        state.monitor = self.monitor.traded(state.monitor, bars.value[row], ended=ended)
        state.gate, flatten, watched = self.gate.watch(state.gate, equity, state.book.row, session_ended=ended)
        alerts = (*self._forced(log), *watched)
        profit = self._session(state, bars, row) if ended else None
        if state.gate.halted or state.gate.blocked:
            self._withdraw(state)
        if (flatten or equity <= 0) and state.book.shares.any():
            return Step(log, totals[:, 0], self._closed(state), None, None, alerts, profit)
        if wish is None and not ended:
            return Step(log, totals[:, 0], None, None, None, alerts, profit)
        sent, wished, bound, said = self._decide(state, bars, row, wish, ended=ended, equity=equity)
        return Step(log, totals[:, 0], sent, wished, bound, (*alerts, *said), profit)

    def _withdraw(self, state: DeskState) -> None:
        """Take back what was ordered and has not filled, as far as it would open something."""
        shares, ordered = state.book.shares, state.book.state[k.TARGET]
        pairs = [(shares, ordered)]
        if state.waiting is not None:
            pairs.append((self.held(state), state.waiting[0][0]))
        for have, want in pairs:
            crosses, grows = have * want < 0, np.abs(want) > np.abs(have)
            want[:] = np.where(crosses, 0.0, np.where(grows, np.nan, want))

    def _closed(self, state: DeskState) -> FloatArray:
        """Let everything be sold in the next bar, and again after it where that did not work."""
        sent = np.where(state.book.shares != 0, 0.0, np.nan)
        self._wait(state, sent, None)
        return sent

    def _forced(self, log: FloatArray) -> list[Alert]:
        """Return what a person should know of a bar's fills that nobody decided in this bar."""
        alerts = []
        fills = log[log[:, k.L_TYPE] == k.FILL]
        for fill in fills[_IS_FORCED[fills[:, k.F_REASON].astype(np.int64)]]:
            level, kind = FORCED[fill[k.F_REASON]]
            name, quantity, price = self.columns[int(fill[k.L_COLUMN])], fill[k.F_QUANTITY], fill[k.F_PRICE]
            alerts.append(Alert(int(fill[k.L_ROW]), level, kind, f"{name}: {quantity:+,g} shares at {price:,g}"))
        return alerts

    def _advance(
        self, state: DeskState, bars: Bars, start: int, stop: int, waiting: tuple[FloatArray, ...] | None
    ) -> tuple[FloatArray, FloatArray]:
        """Run the compiled step over bars; a waiting row of targets acts on the first of them."""
        book, part = state.book, slice(start, stop)
        totals, shares = np.empty((4, stop - start)), np.empty((stop - start, len(self.columns)))
        book.scalars[[k.LOGGED, k.FIRST_ORDER, k.NEXT_ORDER]] = 0
        account = np.concatenate([book.scalars, self._settings])
        log = k.history_kernel(
            bars.years[part],
            tuple(values[part] for values in bars.fields),
            bars.mask[part],
            -stop if waiting is None else 0,
            0,
            0,
            self._nothing if waiting is None else waiting,
            book.orders,
            bars.gone_row,
            self._nothing[0][0],
            book.state,
            account,
            totals,
            shares,
        )
        if account[k.BAD_BAR] >= 0:
            raise self._bad(bars, start + int(account[k.BAD_BAR]) - book.row - 1)
        state.book = replace(book, scalars=account[: k.SCALARS].copy(), time=bars.times[stop - 1])
        return log.copy(), totals

    def _bad(self, bars: Bars, row: int) -> DataError:
        names = ("open", "high", "low", "close")
        prices = {name: bars.fields[i][row] for i, name in enumerate(names)}
        return bad_bar(prices, bars.mask[row], self.columns, bars.times[row])

    def _count(self, state: DeskState, log: FloatArray) -> None:
        """Add what a bar moved in cash to each column's flows since the session began."""
        if not len(log):
            return
        fills = log[log[:, k.L_TYPE] == k.FILL]
        costs = fills[:, [k.F_COMMISSION, k.F_SPREAD, k.F_SLIPPAGE, k.F_IMPACT]].sum(axis=1)
        np.add.at(state.flows, fills[:, k.L_COLUMN].astype(np.int64), fills[:, k.F_CASH] - costs)
        events = log[(log[:, k.L_TYPE] == k.EVENT) & (log[:, k.L_COLUMN] >= 0)]
        np.add.at(state.flows, events[:, k.L_COLUMN].astype(np.int64), events[:, k.E_CASH])

    def _session(self, state: DeskState, bars: Bars, row: int) -> FloatArray:
        """Close a session: profits by column, the capital's shares, the risk of each name."""
        values = column_values(state.book)
        profit = values - state.values + state.flows
        state.values, state.flows = values, np.zeros(len(values))
        by_sleeve = np.bincount(self.coordinator.sleeve_of, profit, minlength=len(self.coordinator.names))
        equity = max(float(state.book.scalars[k.EQUITY]), 1.0)
        state.coordinator = self.coordinator.session(state.coordinator, by_sleeve / equity)
        state.monitor = self.monitor.session(state.monitor, bars.adjusted[row], bars.market[row])
        state.exposure = None
        return profit

    def ordered(self, state: DeskState) -> FloatArray:
        """Return the shares that the waiting targets ask for, by column ``(M,)``; NaN where nothing is to be sent."""
        if state.waiting is None:
            return np.full(len(self.columns), np.nan)
        account = np.concatenate([state.book.scalars, self._settings])
        wishes = np.concatenate(state.waiting)
        return np.asarray(k.target_kernel(state.book.state.copy(), account, wishes, float(state.book.row)))

    def held(self, state: DeskState) -> FloatArray:
        """Return the columns' weights at the last close, ``(M,)``: wished for again, they trade not a share."""
        return self._weights(state, state.book.shares)

    def _weights(self, state: DeskState, shares: FloatArray) -> FloatArray:
        equity = float(state.book.scalars[k.EQUITY])
        value = shares * _marks(state.book) * 100.0
        return np.asarray(value / equity) if equity > 0 else np.zeros(len(shares))

    def _coming(self, state: DeskState, held: FloatArray) -> FloatArray:
        """Return the weights held, or ordered and still waiting for a bar or for volume where that is more."""
        ordered = self._weights(state, state.book.state[k.TARGET])
        return np.where(np.abs(ordered) > np.abs(held), ordered, held)

    def _decide(
        self,
        state: DeskState,
        bars: Bars,
        row: int,
        wish: Mapping[str, FloatArray] | None,
        *,
        ended: bool,
        equity: float,
    ) -> tuple[FloatArray | None, FloatArray | None, IntArray | None, list[Alert]]:
        """Turn the wishes of a close into targets that wait for the next bar."""
        held = self.held(state)
        if state.exposure is None:
            state.exposure = self.monitor.exposure(state.monitor, self.borrowable, wanted=self.gate.needs_risk)
        exposure = replace(state.exposure, borrowable=self.borrowable & bars.borrowable[row])
        bound = np.zeros(len(held), np.int64)
        sent, alerts = np.full(len(held), np.nan), []
        if ended and held.any():
            sent, bound = self.gate.drifted(held, exposure, equity)
            alerts = [self._drift(state, int(m), int(bound[m])) for m in np.flatnonzero(np.isfinite(sent))]
            if any(self.gate.limits.reaction(CODES[c]) in ("flatten", "halt") for c in np.unique(bound[bound > 0])):
                return self._emptied(state, bound), None, bound, alerts
        wished = None
        if wish is not None:
            wished = wish["weight"] * state.coordinator.share[self.coordinator.sleeve_of]
            sent, bound = self._allowed(state, held, wished, (sent, bound), wish["priority"], exposure, equity)
        if not np.isfinite(sent).any():
            return None, wished, bound, alerts
        self._wait(state, sent, wish)
        return sent, wished, bound, alerts

    def _allowed(
        self,
        state: DeskState,
        held: FloatArray,
        wished: FloatArray,
        drifted: tuple[FloatArray, IntArray],
        priority: FloatArray,
        exposure: Exposure,
        equity: float,
    ) -> tuple[FloatArray, IntArray]:
        """Return what coordinator and gate let through of the wishes, and what bound each (index into ``REASONS``).

        What has drifted is cut whether it is wished for or not, and what is wished beside it is judged as if it were.
        """
        coming, (cut, why) = self._coming(state, held), drifted
        resolved, opposed = self.coordinator.resolve(coming, wished)
        beyond = np.isfinite(cut) & ~((resolved * cut <= 0) | (np.abs(resolved) <= np.abs(cut)))
        asked = np.where(beyond, cut, resolved)
        order = np.arange(len(held))
        if self.gate.asks_in_order:
            order = np.lexsort((-np.nan_to_num(priority, nan=-np.inf), self.coordinator.sleeve_of))
        present = np.where(np.isnan(asked), coming, held)
        allowed, by = self.gate.allow(state.gate, present, asked, order, exposure, equity)
        return allowed, np.where(beyond, why, np.where(opposed, REASONS.index(CONFLICT), by))

    def _emptied(self, state: DeskState, bound: IntArray) -> FloatArray:
        """Close the book because prices carried it beyond a limit that wants that; halt where it wants that too."""
        for code in np.unique(bound[bound > 0]):
            if self.gate.limits.reaction(CODES[code]) == "halt":
                state.gate = replace(state.gate, halted=CODES[code], halted_sessions=1)
        self._withdraw(state)
        return self._closed(state)

    def _drift(self, state: DeskState, column: int, code: int) -> Alert:
        name = CODES[code]
        reaction = self.gate.limits.reaction(name)
        what = f"{self.columns[column]} was carried beyond {name} by prices: {reaction}"
        return Alert(state.book.row, "critical" if reaction in ("flatten", "halt") else "warning", name, what)

    def _wait(self, state: DeskState, sent: FloatArray, wish: Mapping[str, FloatArray] | None) -> None:
        """Keep targets with their brackets for the next bar; what is only cut keeps the bracket it has."""
        rows = np.full((len(WISHES), 1, len(sent)), np.nan)
        rows[0, 0] = sent
        if wish is not None:
            named = np.isfinite(wish["weight"])
            for row, name in zip(rows[1:, 0], WISHES[1:], strict=True):
                given = wish.get(name)
                if given is not None:
                    np.copyto(row, given, where=named)
        state.waiting = tuple(rows)


def column_values(book: Book) -> FloatArray:
    """Return the columns' market values in cents, ``(M,)``, rounded as the compiled step rounds them."""
    return np.asarray(np.rint(book.state[k.SHARES] * _marks(book) * 100.0))


def _marks(book: Book) -> FloatArray:
    """Return the columns' last prices, 0 before the first."""
    mark = book.state[k.MARK]
    return np.where(np.isnan(mark), 0.0, mark)


@dataclass(frozen=True, eq=False)
class Trading:
    """What an account did over a block of bars.

    Attributes
    ----------
    simulation
        The book's columns over the whole block, the bars before the account was opened included.
    start
        The row at whose close the account could first decide.
    sent, wished, bound
        Rows ``(D,)`` of decisions and what was sent, wished (fractions of equity) and bound ``(D, M)``.
    session_rows, profit, share
        Sessions since ``start``: their last row ``(S,)``, each column's profit in cents ``(S, M)``, and the timeframes'
        shares of capital after it ``(S, K)``.
    """

    desk: Desk
    simulation: Simulation
    start: int
    decided_rows: IntArray
    sent: FloatArray
    wished: FloatArray
    bound: IntArray
    session_rows: IntArray
    profit: FloatArray
    share: FloatArray
    alerts: tuple[Alert, ...]
    state: DeskState

    def times_bound(self) -> dict[str, int]:
        """Return how often each reason bound a wish that would have opened something."""
        codes = self.bound[self.bound > 0]
        return {name: int(np.sum(codes == i)) for i, name in enumerate(REASONS) if np.any(codes == i)}


def wish_at(plan: TradePlan, row: int) -> dict[str, FloatArray] | None:
    """Return what a plan says at a row; None where it has no word."""
    if row < 0 or not np.isfinite(plan.weight[row]).any():
        return None
    fields = {name: getattr(plan, name) for name in WISHES}
    nothing = np.full(plan.weight.shape[1], np.nan)
    return {name: nothing if values is None else values[row] for name, values in fields.items()}


def trade(desk: Desk, panel: Panel, bars: Bars, plan: TradePlan, start: int) -> Trading:
    """Let an account live through a panel: rows before ``start`` only warm up what is known of the market.

    Row ``t`` of the plan is decided at the close of bar ``t`` and filled in bar ``t + 1 + plan.delay_bars`` or later.
    """
    if plan.weight.shape != (len(bars.times), len(desk.columns)):
        raise InputError(f"the plan has shape {plan.weight.shape}, the desk {(len(bars.times), len(desk.columns))}")
    state = desk.warm_up(desk.open(), bars, start)
    return carry_on(desk, panel, bars, plan, start, state)


def carry_on(
    desk: Desk, panel: Panel, bars: Bars, plan: TradePlan, start: int, state: DeskState, opened: int | None = None
) -> Trading:
    """Go on from a state that stands at the close before row ``start``; the account opened at ``opened`` (``start``).

    What it did before is not told again: its rows hold what it owned and was worth then.
    """
    count, width = len(bars.times), len(desk.columns)
    first = start if opened is None else opened
    totals, shares = np.zeros((4, count)), np.zeros((count, width))
    totals[:, :start] = state.book.scalars[[k.EQUITY, k.CASH, k.LONG, k.SHORT]][:, None]
    shares[:start] = state.book.shares
    logs: list[FloatArray] = []
    decided: list[tuple[int, FloatArray | None, FloatArray | None, IntArray | None]] = []
    sessions: list[tuple[int, FloatArray, FloatArray]] = []
    alerts: list[Alert] = []
    has_word: BoolArray = np.asarray(np.isfinite(plan.weight).any(axis=1))
    for row in range(start, count):
        at = row - plan.delay_bars
        wish = wish_at(plan, at) if at >= first and has_word[at] else None
        made = desk.step(state, bars, row, wish)
        if len(made.log):
            logs.append(made.log)
        totals[:, row], shares[row] = made.totals, state.book.shares
        if made.sent is not None or made.wished is not None:
            decided.append((row, made.sent, made.wished, made.bound))
        if made.profit is not None:
            sessions.append((row, made.profit, state.coordinator.share))
        alerts += made.alerts
    return _gathered(desk, panel, start, state, totals / 100, shares, logs, decided, sessions, alerts)


def _gathered(
    desk: Desk,
    panel: Panel,
    start: int,
    state: DeskState,
    totals: FloatArray,
    shares: FloatArray,
    logs: list[FloatArray],
    decided: Sequence[tuple[int, FloatArray | None, FloatArray | None, IntArray | None]],
    sessions: Sequence[tuple[int, FloatArray, FloatArray]],
    alerts: list[Alert],
) -> Trading:
    width = len(desk.columns)
    nothing, none = np.full(width, np.nan), np.zeros(width, np.int64)
    simulation = Simulation(
        times=panel.times,
        symbols=desk.columns,
        equity=totals[0],
        cash=totals[1],
        shares=shares,
        long_value=totals[2],
        short_value=totals[3],
        records=Records(np.concatenate(logs) if logs else np.empty((0, k.LOG_FIELDS))),
        book=state.book,
        start_capital=float(desk.account.start_capital),
        order_rows=state.book.orders,
    )
    return Trading(
        desk=desk,
        simulation=simulation,
        start=start,
        decided_rows=np.array([row for row, *_ in decided], dtype=np.int64),
        sent=_stack([nothing if sent is None else sent for _, sent, _, _ in decided], width),
        wished=_stack([nothing if wished is None else wished for _, _, wished, _ in decided], width),
        bound=_stack([none if bound is None else bound for *_, bound in decided], width).astype(np.int64),
        session_rows=np.array([row for row, *_ in sessions], dtype=np.int64),
        profit=_stack([profit for _, profit, _ in sessions], width),
        share=_stack([share for *_, share in sessions], len(desk.coordinator.names)),
        alerts=tuple(alerts),
        state=state,
    )


def _stack(rows: Sequence[NDArray[np.generic]], width: int) -> FloatArray:
    return np.stack(rows).astype(np.float64) if rows else np.empty((0, width))


def to_bytes(state: DeskState) -> bytes:
    """Return a desk's state as bytes (NumPy's archive without pickle): what a paper account is kept as."""
    waiting = np.empty((0, 0)) if state.waiting is None else np.concatenate(state.waiting)
    head = {"symbols": state.book.symbols, "gate": asdict(state.gate), "sessions": state.coordinator.sessions}
    stream = io.BytesIO()
    np.savez(
        stream,
        allow_pickle=False,
        head=np.array(json.dumps(head)),
        time=state.book.time,
        state=state.book.state,
        scalars=state.book.scalars,
        orders=state.book.orders,
        share=state.coordinator.share,
        profit=state.coordinator.profit,
        values=state.values,
        flows=state.flows,
        waiting=waiting,
        **state.monitor.arrays(),
    )
    return stream.getvalue()


def from_bytes(content: bytes) -> DeskState:
    """Return the state that :func:`to_bytes` kept; ``DataError`` where it cannot be read."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as kept:
            return _restored({name: kept[name] for name in kept.files})
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
        raise DataError(f"a stored paper account cannot be read: {error}", hint="restore a backup") from None


def _restored(stored: Mapping[str, NDArray[Any]]) -> DeskState:
    head, waiting = json.loads(str(stored["head"])), stored["waiting"]
    time = np.datetime64(stored["time"].astype("datetime64[us]").item(), "us")
    return DeskState(
        book=Book(tuple(head["symbols"]), stored["state"], stored["scalars"], time, stored["orders"]),
        gate=GateState(**head["gate"]),
        coordinator=CoordinatorState(stored["share"], stored["profit"], head["sessions"]),
        monitor=MonitorState.of(stored),
        values=stored["values"],
        flows=stored["flows"],
        waiting=None if not waiting.size else tuple(np.ascontiguousarray(row[None, :]) for row in waiting),
    )

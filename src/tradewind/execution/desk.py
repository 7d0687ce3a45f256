"""The desk: one bar of an account's life, the same code for a back-test, a replay and the paper broker.

At each close: the compiled step books what the last decisions filled; the gate looks at what was lost; at a session's
end the risk of every name is measured again and the coordinator shares out the capital; then the wishes of that close
become targets, as far as coordinator and gate allow, and wait for the next bar. There is no other way into the book.

A column of the book is one symbol of one timeframe, so that each timeframe keeps its own stops and its own profit to
the cent, while limits count a symbol's columns together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tradewind.decisions.coordinator import Coordinator
from tradewind.errors import DataError
from tradewind.execution import kernel as k
from tradewind.execution.book import Book, kernel_settings
from tradewind.execution.desk_bars import Bars
from tradewind.execution.desk_state import DeskState, column_values, marks
from tradewind.execution.settings import AccountSection, ExecutionSection
from tradewind.execution.simulator import bad_bar
from tradewind.portfolio.limits import Alert, Gate
from tradewind.portfolio.limits_kernel import CODES
from tradewind.risk.monitor import Exposure, Monitor

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

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
        """Take back what was ordered and has not filled, as far as it would open something.

        What is to be held for good keeps the bracket of its order.
        """
        nothing = np.full(len(self.columns), np.nan)
        rows = [(state.book.shares, state.book.state[k.TARGET], nothing)]
        if state.waiting is not None:
            held = self.held(state)
            rows.append((held, state.waiting[0][0], np.where(np.isinf(state.waiting[k.W_MAX_BARS][0]), held, nothing)))
        for have, want, left in rows:
            crosses, grows = have * want < 0, np.abs(want) > np.abs(have)
            want[:] = np.where(crosses, 0.0, np.where(grows, left, want))

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
        value = shares * marks(state.book) * 100.0
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

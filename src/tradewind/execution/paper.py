"""The paper broker: the desk's compiled step as a broker whose every order, fill and book is written down.

Decisions of a close become orders in the journal before the bar that fills them; fills, dividends, splits and interest
are booked with the bar, and with them the account's whole state, in one transaction. So a process that is killed goes
on from the last bar that was booked, and what it had begun after that never happened.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import BugError, DataError
from tradewind.execution import desk_state as states
from tradewind.execution import kernel as k
from tradewind.execution.book import Book
from tradewind.execution.brokers.base import Execution, Movement, OrderRequest
from tradewind.execution.controls import Controls
from tradewind.execution.desk import Desk, Step
from tradewind.execution.desk_bars import Bars
from tradewind.execution.desk_state import DeskState
from tradewind.execution.journal import Journal
from tradewind.execution.order_state import CLOSING, OPENING, SHARE_TOLERANCE, OrderEvent, client_order_id
from tradewind.execution.plan import TradePlan
from tradewind.execution.records import COST_KINDS
from tradewind.execution.trading import wish_at

FloatArray = NDArray[np.float64]

KILL_SWITCH = "kill switch"
"""What the gate is halted by while trading is halted for the whole home."""

BRACKET = OPENING + 1
"""First sequence number of what a column's bracket does by itself."""

RESTATED = 10
"""Times a bar's number it is added to them where an order that waited over its split was replaced."""

Every = Literal["bar", "session"]


@dataclass(eq=False)
class PaperAccount:
    """One account on paper.

    Attributes
    ----------
    playbook_hash
        Part of every order's id: another playbook's orders are other orders.
    controls
        The home's kill switch; None for a replay of the past, which nobody can halt.
    every
        What is one transaction: a bar, or (for replays) all bars of a session.
    """

    desk: Desk
    journal: Journal
    playbook_hash: str
    controls: Controls | None = None
    every: Every = "bar"
    state: DeskState | None = None
    log: list[FloatArray] = field(default_factory=list)

    def open(self, bars: Bars, start: int) -> int:
        """Open the account at row ``start``, or go on with the one that was booked; return the row to go on from.

        Raises ``DataError`` where the stored account trades other columns, or stands at a bar that is not there.
        """
        saved = self.journal.latest_book()
        if saved is None:
            self.state = self.desk.warm_up(self.desk.open(), bars, start)
            opened = _moment(bars.times[max(start - 1, 0)])
            capital = float(self.desk.account.start_capital)
            with self.journal.together():
                self.journal.movement(Movement("deposit", "deposit", opened, cash=capital))
                self._save(bars, start - 1)
            return start
        self.state, log = _from_bytes(saved.state)
        self.log = [log] if len(log) else []
        return self._resumed(bars)

    def _resumed(self, bars: Bars) -> int:
        state = self._opened
        if state.book.symbols != self.desk.columns:
            other = ", ".join(sorted(set(state.book.symbols) ^ set(self.desk.columns)))[:200]
            raise DataError(
                f"the paper account holds {len(state.book.symbols)} columns, the playbook trades "
                f"{len(self.desk.columns)}: {other}",
                hint="give the changed playbook an account of its own: --account NAME",
            )
        row = int(np.searchsorted(bars.times, state.book.time))
        if row >= len(bars.times) or bars.times[row] != state.book.time:
            raise DataError(
                f"the paper account stands at {state.book.time}, and there is no such bar", hint="sync the same source"
            )
        if row != state.book.row:
            raise DataError(
                f"the paper account stands at bar {state.book.row} and {row} bars precede {state.book.time}: history "
                "changed",
                hint="keep data.start as it was when the account was opened, or open another: --account NAME",
            )
        return row + 1

    @property
    def book(self) -> Book:
        """Return what the account owns now."""
        return self._opened.book

    @property
    def _opened(self) -> DeskState:
        if self.state is None:
            raise BugError("a paper account was used before it was opened")
        return self.state

    def live_through(
        self, bars: Bars, plan: TradePlan, first: int, opened: int, told: Callable[[int, Step], None]
    ) -> None:
        """Take the account over the bars from ``first`` on; ``told`` hears of each. It opened at row ``opened``."""
        row = first
        if row >= len(bars.times):
            self._heed_the_home()
            with self.journal.together():
                self._save(bars, len(bars.times) - 1)
        while row < len(bars.times):
            stop = self._stop(bars, row)
            halted = None if self.controls is None else self.controls.state().halted
            made: list[tuple[int, Step]] = []
            with self.journal.together():
                for at in range(row, stop):
                    if halted is not None:
                        self.heed_the_switch(halted)
                    made.append((at, self._bar(bars, plan, at, opened)))
                self._save(bars, stop - 1)
            for at, step in made:
                told(at, step)
            row = stop

    def _stop(self, bars: Bars, row: int) -> int:
        if self.every == "bar":
            return row + 1
        ends = np.flatnonzero(bars.session_end[row:])
        return len(bars.times) if not len(ends) else row + int(ends[0]) + 1

    def _bar(self, bars: Bars, plan: TradePlan, row: int, opened: int) -> Step:
        """Book one bar: what filled, what moved, what is ordered now."""
        state = self._opened
        held, halted = state.book.shares.copy(), state.gate.halted
        waiting = self._waiting()
        self._restate(bars, row, waiting, held)
        decided = row - plan.delay_bars
        step = self.desk.step(state, bars, row, wish_at(plan, decided) if decided >= opened else None)
        if len(step.log):
            self.log.append(step.log)
            self._book(bars, row, step.log, held, waiting)
        self._end_orders(bars, row, waiting)
        self._order(bars, row)
        if self.controls is not None:
            for alert in step.alerts:
                self.journal.alert(alert.level, alert.kind, alert.what)
            if state.gate.halted and not halted:
                self.journal.halt(state.gate.halted, by="limits")
        return step

    def _heed_the_home(self) -> None:
        if self.controls is not None:
            self.heed_the_switch(self.controls.state().halted)

    def heed_the_switch(self, halted: bool) -> None:
        """Halt the gate while trading is halted, and let it go on after the release."""
        state = self._opened
        if halted and not state.gate.halted:
            state.gate = replace(state.gate, halted=KILL_SWITCH, halted_sessions=0)
        elif not halted and state.gate.halted:
            equity = state.book.equity
            state.gate = replace(state.gate, halted="", halted_sessions=0, high_water=equity, session_equity=equity)

    # -- the journal ---------------------------------------------------------------------------------------------

    def _waiting(self) -> dict[int, list[OrderRequest]]:
        """Return the orders that the account has out, by column."""
        found: dict[int, list[OrderRequest]] = defaultdict(list)
        for order in self.journal.unfinished():
            found[self._column(order.request)].append(order.request)
        return found

    def _column(self, request: OrderRequest) -> int:
        return self.desk.columns.index(f"{request.symbol}@{request.sleeve}" if request.sleeve else request.symbol)

    def _order(self, bars: Bars, row: int) -> None:
        """Write down what was decided at this close, before the bar that may fill it; older orders give way to it."""
        state, at = self._opened, _moment(bars.times[row])
        if state.waiting is None:
            return
        targets, held, out = self.desk.ordered(state), state.book.shares, self._waiting()
        spoken = np.flatnonzero(np.isfinite(state.waiting[0][0]))
        self._end([r for m in spoken for r in out.get(int(m), ())], at, "cancelled", "replaced by a newer decision")
        requests = []
        for m in np.flatnonzero(np.isfinite(targets)):
            requests += self._requests(int(m), float(held[m]), float(targets[m]), at)
        self._accepted(requests, at)

    def _end(self, requests: list[OrderRequest], at: datetime, kind: Literal["cancelled", "expired"], why: str) -> None:
        if requests:
            self.journal.note({r.client_order_id: [OrderEvent(kind, at, reason=why)] for r in requests})

    def _accepted(self, requests: list[OrderRequest], at: datetime) -> None:
        if not requests:
            return
        self.journal.intend(requests)
        events = [OrderEvent("sent", at), OrderEvent("accepted", at)]
        self.journal.note({request.client_order_id: events for request in requests})

    def _requests(self, column: int, held: float, target: float, at: datetime, shift: int = 0) -> list[OrderRequest]:
        """Return the orders that lead from what is held to a target: a change of sides is two."""
        closing = -held if held * target <= 0.0 else (target - held if abs(target) < abs(held) else 0.0)
        opening = target - held - closing
        made = []
        for sequence, quantity in ((CLOSING, closing), (OPENING, opening)):
            if abs(quantity) > SHARE_TOLERANCE:
                made.append(self._request(column, sequence + shift, quantity, at, reduce_only=sequence == CLOSING))
        return made

    def _request(self, column: int, sequence: int, quantity: float, at: datetime, *, reduce_only: bool) -> OrderRequest:
        symbol, _, sleeve = self.desk.columns[column].partition("@")
        at_open = self.desk.execution.entry == "next_open"
        return OrderRequest(
            client_order_id=client_order_id(self.journal.account, self.playbook_hash, sleeve, symbol, at, sequence),
            symbol=symbol,
            side="buy" if quantity > 0 else "sell",
            quantity=abs(quantity),
            time_in_force="at_open" if at_open else "at_close",
            reduce_only=reduce_only,
            sleeve=sleeve,
            decided_at=at,
        )

    def _restate(self, bars: Bars, row: int, waiting: dict[int, list[OrderRequest]], held: FloatArray) -> None:
        """Replace orders that wait over a split by orders for the new shares, in the journal and in ``waiting``."""
        grid = k.MILLION if self.desk.execution.fractional_shares else 1.0
        split = [m for m in waiting if bars.fields[k.B_SPLIT][row, m] != 1.0]
        if not split:
            return
        state, now = self._opened, _moment(bars.times[row])
        ordered, carried = self.desk.ordered(state), state.book.state[k.TARGET]
        for m in split:
            ratio, decided = float(bars.fields[k.B_SPLIT][row, m]), waiting[m][0].decided_at
            if decided is None:
                raise BugError(f"{waiting[m][0]} was decided at no time")
            target = ordered[m] if np.isfinite(ordered[m]) else carried[m]
            self._end(waiting[m], now, "cancelled", f"restated for a split of {ratio:g}")
            shares, target = (_whole(float(value) * ratio, grid) for value in (held[m], target))
            waiting[m] = self._requests(m, shares, target, decided, RESTATED * (1 + row))
            self._accepted(waiting[m], now)

    def _book(
        self, bars: Bars, row: int, log: FloatArray, held: FloatArray, waiting: dict[int, list[OrderRequest]]
    ) -> None:
        """Book a bar's fills on their orders, and what moved without one; ``held`` are the shares before it."""
        time, executions, moved = _moment(bars.times[row]), [], []
        resting: dict[str, OrderRequest] = {}
        for number, entry in enumerate(log):
            column = int(entry[k.L_COLUMN])
            if entry[k.L_TYPE] == k.EVENT:
                moved.append(self._movement(bars, row, number, entry))
                if column >= 0:
                    held[column] += entry[k.E_SHARES]
            elif entry[k.L_TYPE] == k.FILL:
                request = self._asked_by(bars, row, entry, held[column], waiting)
                held[column] += entry[k.F_QUANTITY]
                if entry[k.F_REASON] != k.SIGNAL:
                    resting[request.client_order_id] = request
                executions.append(_execution(f"{row}-{number}", request, entry, time))
        self._accepted(list(resting.values()), time)
        if executions:
            self.journal.execution(*executions)
        if moved:
            self.journal.movement(*moved)

    def _asked_by(
        self, bars: Bars, row: int, fill: FloatArray, held: float, waiting: dict[int, list[OrderRequest]]
    ) -> OrderRequest:
        """Return the order behind a fill: the target's, or the one that the position's bracket stood for."""
        column, quantity = int(fill[k.L_COLUMN]), float(fill[k.F_QUANTITY])
        if fill[k.F_REASON] != k.SIGNAL:
            sequence = BRACKET + int(fill[k.F_PHASE])
            return self._request(column, sequence, quantity, _moment(bars.times[row]), reduce_only=True)
        decided, reduces = _moment(bars.times[int(fill[k.F_DECIDED])]), held * quantity < 0
        for request in waiting.get(column, ()):
            if request.decided_at == decided and request.reduce_only == reduces:
                return request
        raise BugError(f"{self.desk.columns[column]}: {quantity:g} shares filled that nobody had ordered at {decided}")

    def _movement(self, bars: Bars, row: int, number: int, event: FloatArray) -> Movement:
        column = int(event[k.L_COLUMN])
        return Movement(
            movement_id=f"{row}-{number}",
            kind=k.EVENT_KINDS[int(event[k.E_KIND])],
            time=_moment(bars.times[row]),
            symbol="" if column < 0 else self.desk.columns[column].partition("@")[0],
            quantity=float(event[k.E_SHARES]),
            cash=float(event[k.E_CASH] / 100),
        )

    def _end_orders(self, bars: Bars, row: int, waiting: dict[int, list[OrderRequest]]) -> None:
        """End what the auction left unfilled; a target that is carried on keeps its order."""
        names = [r.client_order_id for requests in waiting.values() for r in requests]
        if not names:
            return
        carried = np.isfinite(self._opened.book.state[k.TARGET])
        found = self.journal.find(names).values()
        left = [o.request for o in found if not o.is_finished and not carried[self._column(o.request)]]
        self._end(left, _moment(bars.times[row]), "expired", "not filled in its auction: no price, cash or volume")

    def _save(self, bars: Bars, row: int) -> None:
        """Store the account after a bar, and what it is worth."""
        state = self._opened
        time = _moment(bars.times[max(row, 0)])
        self.journal.mark(time, state.book.cash, state.book.equity)
        self.journal.save_book(_to_bytes(state, self.log), time, max(row, 0))
        self.require_balance()

    def require_balance(self) -> None:
        """Raise ``BugError`` unless the journal's executions and movements add up to the book, share and cent."""
        state, told = self._opened, self.journal.replay()
        held: dict[str, float] = defaultdict(float)
        for name, shares in zip(self.desk.columns, state.book.shares, strict=True):
            held[name.partition("@")[0]] += float(shares)
        book = {symbol: round(shares, 6) for symbol, shares in held.items() if round(shares, 6)}
        journal = {symbol: round(shares, 6) for symbol, shares in told.positions.items() if round(shares, 6)}
        if book != journal or told.cash_cents != round(state.book.scalars[k.CASH]):
            raise BugError(
                f"the journal of {self.journal.account} says {journal} and {told.cash_cents} cents, "
                f"the book {book} and {state.book.scalars[k.CASH]:.0f}"
            )


def _execution(name: str, request: OrderRequest, fill: FloatArray, time: datetime) -> Execution:
    fee = float(fill[list(COST_KINDS.values())].sum() / 100)
    quantity, price = float(fill[k.F_QUANTITY]), float(fill[k.F_PRICE])
    return Execution(name, request.client_order_id, request.symbol, quantity, price, time, fee)


def _whole(quantity: float, grid: float) -> float:
    """Round towards zero to tradable shares, as the compiled step does after a split."""
    return float(np.trunc(quantity * grid + np.sign(quantity) * 1e-7) / grid)


def _moment(time: np.datetime64) -> datetime:
    return datetime.fromtimestamp(float(time.astype("datetime64[us]").astype(np.int64)) / 1e6, tz=UTC)


def _to_bytes(state: DeskState, log: list[FloatArray]) -> bytes:
    """Return an account's state and all of its records as bytes."""
    stream = io.BytesIO()
    whole = np.concatenate(log) if log else np.empty((0, k.LOG_FIELDS))
    book = np.frombuffer(states.to_bytes(state), dtype=np.uint8)
    np.savez_compressed(stream, allow_pickle=False, book=book, log=whole)
    return stream.getvalue()


def _from_bytes(content: bytes) -> tuple[DeskState, FloatArray]:
    with np.load(io.BytesIO(content), allow_pickle=False) as kept:
        return states.from_bytes(kept["book"].tobytes()), kept["log"]

"""The paper broker: the desk's compiled step as a broker whose every order, fill and book is written down.

Decisions of a close become orders in the journal before the bar that fills them; fills, dividends, splits and interest
are booked with the bar, and with them the account's whole state, in one transaction. So a process that is killed goes on
from the last bar that was booked, and what it had begun after that never happened.
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
from tradewind.execution import desk as desks
from tradewind.execution import kernel as k
from tradewind.execution.brokers.base import Execution, Movement, OrderRequest
from tradewind.execution.controls import Controls
from tradewind.execution.desk import Bars, Desk, DeskState, Step, wish_at
from tradewind.execution.journal import Journal
from tradewind.execution.order_state import OrderEvent, client_order_id
from tradewind.execution.plan import TradePlan
from tradewind.execution.records import COST_KINDS

FloatArray = NDArray[np.float64]

KILL_SWITCH = "kill switch"
"""What the gate is halted by while trading is halted for the whole home."""

CLOSING, OPENING, BRACKET = range(3)
"""Sequence numbers of a column's orders at one close: what closes, what opens, and what its bracket does by itself."""

RESTATED = 10
"""Added to them where an order that waited over a split was replaced by one for the new shares."""

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
            raise DataError(
                f"the paper account holds {len(state.book.symbols)} columns, the playbook trades "
                f"{len(self.desk.columns)}: {', '.join(sorted(set(state.book.symbols) ^ set(self.desk.columns)))[:200]}",
                hint="give the changed playbook an account of its own: --account NAME",
            )
        row = int(np.searchsorted(bars.times, state.book.time))
        if row >= len(bars.times) or bars.times[row] != state.book.time:
            raise DataError(
                f"the paper account stands at {state.book.time}, and there is no such bar", hint="sync the same source"
            )
        if row != state.book.row:
            raise DataError(
                f"the paper account stands at bar {state.book.row} and {row} bars precede {state.book.time}: history changed",
                hint="keep data.start as it was when the account was opened, or open another: --account NAME",
            )
        return row + 1

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
        while row < len(bars.times):
            stop = self._end(bars, row)
            halted = self.controls is not None and self.controls.state().halted
            made: list[tuple[int, Step]] = []
            with self.journal.together():
                for at in range(row, stop):
                    self._heed_the_switch(halted)
                    made.append((at, self._bar(bars, plan, at, opened)))
                self._save(bars, stop - 1)
            for at, step in made:
                told(at, step)
            row = stop

    def _end(self, bars: Bars, row: int) -> int:
        if self.every == "bar":
            return row + 1
        ends = np.flatnonzero(bars.session_end[row:])
        return len(bars.times) if not len(ends) else row + int(ends[0]) + 1

    def _bar(self, bars: Bars, plan: TradePlan, row: int, opened: int) -> Step:
        """Book one bar: what filled, what moved, what is ordered now."""
        state = self._opened
        held, wanted = state.book.shares.copy(), self.desk.ordered(state)
        waiting = {order.request.client_order_id for order in self.journal.unfinished()}
        split = np.flatnonzero(np.isfinite(wanted) & (bars.fields[k.B_SPLIT][row] != 1.0))
        restated = self._restate(bars, row, split, held, wanted, waiting)
        halted = state.gate.halted
        step = self.desk.step(state, bars, row, wish_at(plan, row) if row >= opened else None)
        if len(step.log):
            self.log.append(step.log)
            self._book(bars, row, step.log, held, restated)
        self._end_orders(bars, row, waiting)
        self._order(bars, row)
        if self.controls is not None:
            for alert in step.alerts:
                self.journal.alert(alert.level, alert.kind, alert.what)
            if state.gate.halted and not halted:
                self.journal.halt(state.gate.halted, by="limits")
        return step

    def _heed_the_switch(self, halted: bool) -> None:
        """Halt the gate while trading is halted in this home, and let it go on after the release."""
        if self.controls is None:
            return
        state = self._opened
        if halted and not state.gate.halted:
            state.gate = replace(state.gate, halted=KILL_SWITCH, halted_sessions=0)
        elif not halted and state.gate.halted:
            equity = state.book.equity
            state.gate = replace(state.gate, halted="", halted_sessions=0, high_water=equity, session_equity=equity)

    # -- the journal ---------------------------------------------------------------------------------------------

    def _order(self, bars: Bars, row: int) -> None:
        """Write down what was decided at this close, before the bar that may fill it."""
        state = self._opened
        targets = self.desk.ordered(state)
        held = state.book.shares
        requests = []
        for m in np.flatnonzero(np.isfinite(targets)):
            requests += self._requests(int(m), float(held[m]), float(targets[m]), _moment(bars.times[row]))
        if requests:
            self._accepted(requests, _moment(bars.times[row]))

    def _accepted(self, requests: list[OrderRequest], at: datetime) -> None:
        self.journal.intend(requests)
        events = [OrderEvent("sent", at), OrderEvent("accepted", at)]
        self.journal.note({request.client_order_id: events for request in requests})

    def _requests(self, column: int, held: float, target: float, at: datetime, shift: int = 0) -> list[OrderRequest]:
        """Return the orders that lead from what is held to a target: a change of sides is two."""
        closing = -held if held * target <= 0.0 else (target - held if abs(target) < abs(held) else 0.0)
        opening = target - held - closing
        made = []
        for sequence, quantity in ((CLOSING, closing), (OPENING, opening)):
            if abs(quantity) > 5e-7:
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

    def _restate(
        self, bars: Bars, row: int, split: NDArray[np.int64], held: FloatArray, wanted: FloatArray, waiting: set[str]
    ) -> set[int]:
        """Replace orders that wait over a split by orders for the new shares; return their columns."""
        grid = k.MILLION if self.desk.execution.fractional_shares else 1.0
        for column in split:
            ratio = float(bars.fields[k.B_SPLIT][row, column])
            at = _moment(bars.times[self._opened.book.row])
            old = {r.client_order_id for r in self._requests(int(column), held[column], wanted[column], at)} & waiting
            restated = OrderEvent("cancelled", _moment(bars.times[row]), reason=f"restated for a split of {ratio:g}")
            self.journal.note({name: [restated] for name in old})
            waiting -= old
            shares, target = _whole(held[column] * ratio, grid), _whole(wanted[column] * ratio, grid)
            new = self._requests(int(column), shares, target, at, RESTATED)
            if new:
                self._accepted(new, _moment(bars.times[row]))
                waiting |= {request.client_order_id for request in new}
        return set(split.tolist())

    def _book(self, bars: Bars, row: int, log: FloatArray, held: FloatArray, restated: set[int]) -> None:
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
                request = self._asked_by(bars, entry, held[column], restated)
                held[column] += entry[k.F_QUANTITY]
                if entry[k.F_REASON] != k.SIGNAL:
                    resting[request.client_order_id] = request
                executions.append(_execution(f"{row}-{number}", request, entry, time))
        if resting:
            self._accepted(list(resting.values()), time)
        if executions:
            self.journal.execution(*executions)
        if moved:
            self.journal.movement(*moved)

    def _asked_by(self, bars: Bars, fill: FloatArray, held: float, restated: set[int]) -> OrderRequest:
        """Return the order behind a fill: the target's, or the one that the position's bracket stood for."""
        column, quantity = int(fill[k.L_COLUMN]), float(fill[k.F_QUANTITY])
        reduces = held * quantity < 0
        decided = _moment(bars.times[int(fill[k.F_DECIDED])])
        if fill[k.F_REASON] == k.SIGNAL:
            sequence = (CLOSING if reduces else OPENING) + RESTATED * (column in restated)
            return self._request(column, sequence, quantity, decided, reduce_only=reduces)
        return self._request(column, BRACKET + int(fill[k.F_PHASE]), quantity, decided, reduce_only=True)

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

    def _end_orders(self, bars: Bars, row: int, waiting: set[str]) -> None:
        """End what the auction left unfilled; a target that is carried on keeps its order."""
        if not waiting:
            return
        carried = np.isfinite(self._opened.book.state[k.TARGET])
        columns = {name: m for m, name in enumerate(self.desk.columns)}
        at, ends = _moment(bars.times[row]), defaultdict[str, list[OrderEvent]](list)
        for name, order in self.journal.find(waiting).items():
            request = order.request
            column = columns[f"{request.symbol}@{request.sleeve}" if request.sleeve else request.symbol]
            if not order.is_finished and not carried[column]:
                ends[name].append(
                    OrderEvent("expired", at, reason="not filled in its auction: no price, cash or volume")
                )
        if ends:
            self.journal.note(ends)

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
                f"the journal of {self.journal.account} says {journal} and {told.cash_cents} cents, the book {book} and "
                f"{state.book.scalars[k.CASH]:.0f}"
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
    book = np.frombuffer(desks.to_bytes(state), dtype=np.uint8)
    np.savez_compressed(stream, allow_pickle=False, book=book, log=whole)
    return stream.getvalue()


def _from_bytes(content: bytes) -> tuple[DeskState, FloatArray]:
    with np.load(io.BytesIO(content), allow_pickle=False) as kept:
        return desks.from_bytes(kept["book"].tobytes()), kept["log"]

"""What an account asked for and what came of it, written down before it happens and kept through `kill -9`.

An order is stored before it is sent and marked as sent before the first byte leaves, so that after a crash every
order that the broker may have is known by its client id. Everything else is added, never changed: an order's state
is the fold of its events (:mod:`tradewind.execution.order_state`), positions and cash are sums of executions and
movements. An execution can be booked once only: the database refuses its id a second time.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from tradewind.clock import Clock, SystemClock
from tradewind.errors import BugError, DataError, SafetyStop
from tradewind.execution.brokers.base import Execution, KnownOrder, Movement, OrderReport, OrderRequest
from tradewind.execution.controls import Level
from tradewind.execution.order_state import (
    EventKind,
    OrderEvent,
    OrderState,
    apply,
    apply_all,
    event_of_execution,
    events_of_report,
)
from tradewind.market.store import schema
from tradewind.market.store.records import Records

CHUNK = 500
"""Values in one IN (…): SQLite takes 32,766 of them, older servers fewer."""

BOOKS_KEPT = 2
"""Saved books of an account: the newest, and the one before it in case a disk lies."""

SHARE_DECIMALS = 9


@dataclass(frozen=True, slots=True)
class Holdings:
    """What all executions and movements of an account add up to.

    Attributes
    ----------
    positions
        Shares by symbol, negative is short; symbols that are flat are absent.
    cash_cents
        Exact.
    """

    positions: Mapping[str, float] = field(default_factory=dict)
    cash_cents: int = 0

    @property
    def cash(self) -> float:
        """Return the cash in currency."""
        return self.cash_cents / 100


@dataclass(frozen=True, slots=True)
class Mark:
    """Cash and equity of an account at one moment, in cents."""

    time: datetime
    cash_cents: int
    equity_cents: int
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SavedBook:
    """The state of a paper account after the bar numbered ``bar``, whose close is ``time``."""

    bar: int
    time: datetime
    digest: str
    state: bytes


class Journal:
    """The orders, executions and movements of one account.

    Parameters
    ----------
    records
        The records database.
    account
        Broker and account, e.g. ``paper:ai-semis-3f2a`` or ``alpaca:PA3XYZ``: ids of executions are unique in it.
    clock
        Says when something was recorded; a replay hands in its own.
    """

    def __init__(self, records: Records, account: str, *, clock: Clock | None = None) -> None:
        self.records, self.account = records, account
        self._clock = clock or SystemClock()
        self._open: Connection | None = None

    @contextmanager
    def together(self) -> Iterator[Journal]:
        """Store everything done inside in one transaction: all of it, or after a failure nothing.

        Controls and other journals of the same records are not to be used inside: they would wait for this one.
        """
        with self._writing() as connection:
            outer, self._open = self._open, connection
            try:
                yield self
            finally:
                self._open = outer

    # -- orders ----------------------------------------------------------------------------------------------

    def intend(self, requests: Iterable[OrderRequest]) -> list[OrderState]:
        """Store orders before they are sent, and return where each of them stands now.

        One that is stored already, word for word, is returned as it stands: only what is still ``new`` has to be
        sent. ``BugError`` where an id is stored with another content.
        """
        wanted = {request.client_order_id: request for request in requests}
        with self._writing() as connection:
            known = self._states(connection, wanted)
            for name in wanted.keys() & known.keys():
                _require_same(known[name].request, wanted[name])
            fresh = [self._order_row(request) for name, request in wanted.items() if name not in known]
            if fresh:
                connection.execute(sa.insert(schema.orders), fresh)
        return [known.get(name, OrderState(request)) for name, request in wanted.items()]

    def sent(self, *client_order_ids: str) -> list[OrderState]:
        """Note that orders are about to leave; to be called before they do."""
        return self._happened("sent", client_order_ids)

    def timed_out(self, *client_order_ids: str) -> list[OrderState]:
        """Note that no answer came: they are ``unknown`` until the broker has been asked."""
        return self._happened("timed_out", client_order_ids)

    def cancel_asked(self, client_order_id: str) -> OrderState:
        """Note that an order's end is about to be asked for; to be called before it is."""
        return self._cancellation("cancel_asked", client_order_id, 1)

    def cancel_refused(self, client_order_id: str, reason: str = "") -> OrderState:
        """Note that the last cancellation asked for was refused."""
        return self._cancellation("cancel_refused", client_order_id, 0, reason)

    def end(self, client_order_id: str, kind: EventKind, reason: str) -> OrderState:
        """Note an end that no broker reported: an order that was never sent, or that never arrived."""
        event = OrderEvent(kind, self._clock.now(), reason=reason)
        return self.note({client_order_id: [event]})[client_order_id]

    def report(self, *reports: OrderReport) -> list[OrderState]:
        """Note what a broker says about orders. Executions alone change what is held."""
        now, events = self._clock.now(), defaultdict[str, list[OrderEvent]](list)
        for report in reports:
            events[report.client_order_id] += events_of_report(report, now)
        return list(self.note(events).values())

    def adopt(self, *executions: Execution) -> list[Execution]:
        """Book fills without an order of ours behind them; return those that were not booked yet."""
        with self._writing() as connection:
            return self._book_foreign(connection, executions)

    def execution(self, *executions: Execution) -> list[Execution]:
        """Book fills and return those that were not booked yet.

        Raises ``SafetyStop`` for fills of orders that are not ours, and for those that contradict what is known of
        the order; then none of them is booked.
        """
        with self._writing() as connection:
            ours = self._states(connection, (execution.client_order_id for execution in executions))
            foreign = [execution for execution in executions if execution.client_order_id not in ours]
            if foreign:
                raise SafetyStop(
                    f"{self.account} reports fills of orders that are not ours: {foreign}",
                    hint="find out who trades on this account, then reconcile and adopt them",
                )
            events = defaultdict[str, list[OrderEvent]](list)
            for execution in executions:
                events[execution.client_order_id].append(event_of_execution(execution))
            return self._note(connection, events, ours)

    def note(self, events: Mapping[str, Iterable[OrderEvent]]) -> dict[str, OrderState]:
        """Store events by client id, those that say something new, and return the orders after them.

        Raises as :func:`~tradewind.execution.order_state.apply`; then nothing is stored. ``BugError`` for an id
        that was never intended.
        """
        with self._writing() as connection:
            states = self._states(connection, events)
            if missing := events.keys() - states.keys():
                raise BugError(
                    f"orders {sorted(missing)} of {self.account} were never intended, and yet things happen to them"
                )
            self._note(connection, events, states)
            return states

    def order(self, client_order_id: str) -> OrderState | None:
        """Return an order; None where it was never intended."""
        with self._reading() as connection:
            return self._states(connection, [client_order_id]).get(client_order_id)

    def find(self, client_order_ids: Iterable[str]) -> dict[str, OrderState]:
        """Return those of some orders that were intended, by client id."""
        with self._reading() as connection:
            return self._states(connection, client_order_ids)

    def orders(self, *, since: datetime | None = None) -> list[OrderState]:
        """Return all orders intended at or after ``since``, oldest first."""
        return self._chosen(() if since is None else (schema.orders.c.intended_at >= since,))

    def decided_at(self, closes: Iterable[datetime]) -> dict[tuple[str, datetime], list[str]]:
        """Return the client ids of the orders that were decided at some closes, by symbol and close, oldest first."""
        table, found = schema.orders, defaultdict[tuple[str, datetime], list[str]](list)
        asked = sorted(closes)
        with self._reading() as connection:
            for start in range(0, len(asked), CHUNK):
                among = table.c.decided_at.in_(asked[start : start + CHUNK])
                query = sa.select(table.c.symbol, table.c.decided_at, table.c.client_order_id)
                query = query.where(table.c.account == self.account, among).order_by(table.c.id)
                for symbol, close, name in connection.execute(query):
                    found[symbol, close].append(name)
        return dict(found)

    def unfinished(self) -> list[OrderState]:
        """Return the orders to which something can still happen, those never sent included, oldest first."""
        return self._chosen((schema.orders.c.finished.is_(False),))

    def open_orders(self) -> list[OrderState]:
        """Return the orders that the broker has and may still fill."""
        return [order for order in self.unfinished() if order.is_open]

    def unknown(self) -> list[OrderState]:
        """Return the orders that were sent, and of which nobody knows whether they arrived."""
        return [order for order in self.unfinished() if order.status in ("sending", "unknown")]

    def known(self, *, since: datetime | None = None) -> list[KnownOrder]:
        """Return what a broker without client ids has to be told after a start: unfinished orders, and newer ones."""
        orders = {o.request.client_order_id: o for o in (*self.orders(since=since), *self.unfinished())}
        return [KnownOrder(o.request, o.broker_order_id, o.sent_at) for o in orders.values()]

    # -- executions, movements, marks ------------------------------------------------------------------------

    def executions(self, *, since: datetime | None = None) -> list[Execution]:
        """Return the fills booked, by time."""
        query = sa.select(schema.executions).where(schema.executions.c.account == self.account)
        if since is not None:
            query = query.where(schema.executions.c.time >= since)
        with self._reading() as connection:
            rows = connection.execute(query.order_by(schema.executions.c.time, schema.executions.c.id)).mappings()
            return [_as_execution(row) for row in rows]

    def last_execution(self) -> datetime | None:
        """Return when the newest fill booked was made; None before the first."""
        query = sa.select(sa.func.max(schema.executions.c.time)).where(schema.executions.c.account == self.account)
        with self._reading() as connection:
            return connection.execute(query).scalar()

    def booked(self, executions: Iterable[Execution]) -> set[str]:
        """Return the ids of those executions that are booked already."""
        with self._reading() as connection:
            return self._booked(connection, schema.executions.c.execution_id, [e.execution_id for e in executions])

    def movement(self, *movements: Movement) -> list[Movement]:
        """Book changes of cash and shares that no order made; return those that were not booked yet."""
        with self._writing() as connection:
            booked = self._booked(connection, schema.movements.c.movement_id, [m.movement_id for m in movements])
            new = {m.movement_id: m for m in movements if m.movement_id not in booked}
            if new:
                connection.execute(sa.insert(schema.movements), [self._movement_row(m) for m in new.values()])
        return list(new.values())

    def movements(self) -> list[Movement]:
        """Return the movements booked, by time."""
        table = schema.movements
        query = sa.select(table).where(table.c.account == self.account).order_by(table.c.time, table.c.id)
        names = [f.name for f in fields(Movement) if f.name != "cash"]
        with self._reading() as connection:
            rows = connection.execute(query).mappings().all()
        return [Movement(**{name: row[name] for name in names}, cash=row["cents"] / 100) for row in rows]

    def replay(self) -> Holdings:
        """Return positions and cash that all executions and movements add up to, whatever their sequence."""
        shares, cents = defaultdict[str, list[float]](list), 0
        with self._reading() as connection:
            for table in (schema.executions, schema.movements):
                query = sa.select(table.c.symbol, table.c.quantity, table.c.cents).where(
                    table.c.account == self.account
                )
                for symbol, quantity, amount in connection.execute(query):
                    shares[symbol].append(quantity)
                    cents += amount
        sums = {symbol: round(math.fsum(parts), SHARE_DECIMALS) for symbol, parts in sorted(shares.items())}
        return Holdings({symbol: held for symbol, held in sums.items() if held != 0}, cents)

    def mark(self, time: datetime, cash: float, equity: float, detail: Mapping[str, Any] | None = None) -> None:
        """Note what the account was worth; a moment that has a mark already keeps it."""
        row = {"cash_cents": _cents(cash), "equity_cents": _cents(equity), "detail": dict(detail or {})}
        statement = self.records.insert(schema.account_marks).values(account=self.account, time=time, **row)
        with self._writing() as connection:
            connection.execute(statement.on_conflict_do_nothing())

    def marks(self, *, since: datetime | None = None) -> list[Mark]:
        """Return what the account was worth, by time."""
        table = schema.account_marks
        query = sa.select(table).where(table.c.account == self.account).order_by(table.c.time)
        if since is not None:
            query = query.where(table.c.time >= since)
        with self._reading() as connection:
            rows = connection.execute(query).mappings().all()
        return [Mark(row["time"], row["cash_cents"], row["equity_cents"], row["detail"]) for row in rows]

    # -- what a person must know, in the account's own transactions -------------------------------------------

    def alert(self, level: Level, kind: str, what: str, detail: Mapping[str, Any] | None = None) -> None:
        """Store an alert of this account, as :meth:`Controls.append_alert` does, with whatever else is being stored."""
        row = {"at": self._clock.now(), "level": level, "kind": kind, "what": what}
        own = {"account": self.account, **(detail or {})}
        with self._writing() as connection:
            connection.execute(sa.insert(schema.alerts).values(**row, detail=own))

    def halt(self, reason: str, by: str) -> None:
        """Stop all trading of the home, as :meth:`Controls.halt` does, with whatever else is being stored."""
        row = {"at": self._clock.now(), "action": "halt", "reason": f"{self.account}: {reason}", "actor": by}
        with self._writing() as connection:
            connection.execute(sa.insert(schema.controls).values(**row))

    # -- the book of a paper account -------------------------------------------------------------------------

    def save_book(self, state: bytes, time: datetime, bar: int) -> str:
        """Store the state of a paper account after a bar, instead of the one before last; return its SHA-256."""
        table, digest = schema.paper_books, hashlib.sha256(state).hexdigest()
        mine = table.c.account == self.account
        statement = self.records.insert(table).values(
            account=self.account, bar=bar, time=time, digest=digest, state=state
        )
        renewed = {name: statement.excluded[name] for name in ("time", "digest", "state")}
        older = sa.select(table.c.bar).where(mine).order_by(table.c.bar.desc()).limit(BOOKS_KEPT)
        with self._writing() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["account", "bar"], set_=renewed))
            oldest_kept = min(connection.execute(older).scalars())
            connection.execute(sa.delete(table).where(mine, table.c.bar < oldest_kept))
        return digest

    def latest_book(self) -> SavedBook | None:
        """Return the newest saved state; None before the first. ``DataError`` where it is damaged."""
        table = schema.paper_books
        query = sa.select(table).where(table.c.account == self.account).order_by(table.c.bar.desc()).limit(1)
        with self._reading() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            return None
        saved = SavedBook(row["bar"], row["time"], row["digest"], bytes(row["state"]))
        if hashlib.sha256(saved.state).hexdigest() != saved.digest:
            raise DataError(
                f"the saved book of {self.account} at bar {saved.bar} is damaged: its digest differs",
                hint="bring the records back from a backup (`tradewind restore FILE --replace`)",
            )
        return saved

    # -- parts -----------------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        if self._open is not None:
            yield self._open
            return
        with self.records.database.writing() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        if self._open is not None:
            yield self._open
            return
        with self.records.database.reading() as connection:
            yield connection

    def _happened(self, kind: EventKind, names: Sequence[str]) -> list[OrderState]:
        now = self._clock.now()
        return list(self.note({name: [OrderEvent(kind, now)] for name in names}).values())

    def _cancellation(self, kind: EventKind, name: str, step: int, reason: str = "") -> OrderState:
        with self.together():
            before = self.order(name)
            number = step + (0 if before is None else before.cancels_asked)
            event = OrderEvent(kind, self._clock.now(), number=number, reason=reason)
            return self.note({name: [event]})[name]

    def _note(
        self, connection: Connection, events: Mapping[str, Iterable[OrderEvent]], states: dict[str, OrderState]
    ) -> list[Execution]:
        """Fold events into `states`, then store what is new, and return the executions among it."""
        new = {name: _news(states, name, happened) for name, happened in events.items()}
        ids = self._row_ids(connection, new)
        fills = [event.execution for happened in new.values() for event in happened if event.execution is not None]
        rows = [self._event_row(ids[name], e) for name, happened in new.items() for e in happened if not e.execution]
        if rows:
            connection.execute(sa.insert(schema.order_events), rows)
        if fills:
            connection.execute(
                sa.insert(schema.executions), [self._execution_row(f, ids[f.client_order_id]) for f in fills]
            )
        finished = [ids[name] for name in new if new[name] and states[name].is_finished]
        for number in finished:
            table = schema.orders
            connection.execute(sa.update(table).where(table.c.id == number).values(finished=True))
        return fills

    def _book_foreign(self, connection: Connection, executions: Sequence[Execution]) -> list[Execution]:
        booked = self._booked(connection, schema.executions.c.execution_id, [e.execution_id for e in executions])
        new = {e.execution_id: e for e in executions if e.execution_id not in booked}
        if new:
            connection.execute(sa.insert(schema.executions), [self._execution_row(e, None) for e in new.values()])
        return list(new.values())

    def _booked(self, connection: Connection, column: sa.Column[Any], ids: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for part in _chunks(ids):
            query = sa.select(column).where(column.table.c.account == self.account, column.in_(part))
            found.update(connection.execute(query).scalars())
        return found

    def _row_ids(self, connection: Connection, names: Iterable[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        table = schema.orders
        for part in _chunks(names):
            query = sa.select(table.c.client_order_id, table.c.id)
            query = query.where(table.c.account == self.account, table.c.client_order_id.in_(part))
            found.update((name, number) for name, number in connection.execute(query))
        return found

    def _states(self, connection: Connection, names: Iterable[str]) -> dict[str, OrderState]:
        found: dict[str, OrderState] = {}
        for part in _chunks(names):
            for state in self._fold(connection, (schema.orders.c.client_order_id.in_(part),)):
                found[state.request.client_order_id] = state
        return found

    def _chosen(self, conditions: Sequence[sa.ColumnElement[bool]]) -> list[OrderState]:
        with self._reading() as connection:
            return self._fold(connection, conditions)

    def _fold(self, connection: Connection, conditions: Sequence[sa.ColumnElement[bool]]) -> list[OrderState]:
        """Return the orders that meet conditions, each the fold of its events and executions."""
        orders, events, fills = schema.orders, schema.order_events, schema.executions
        chosen = sa.select(orders).where(orders.c.account == self.account, *conditions)
        happened = defaultdict[int, list[OrderEvent]](list)
        ids = chosen.with_only_columns(orders.c.id)
        for row in connection.execute(
            sa.select(events).where(events.c.order_id.in_(ids)).order_by(events.c.id)
        ).mappings():
            happened[row["order_id"]].append(_as_event(row))
        for row in connection.execute(sa.select(fills).where(fills.c.order_id.in_(ids))).mappings():
            happened[row["order_id"]].append(event_of_execution(_as_execution(row)))
        rows = connection.execute(chosen.order_by(orders.c.id)).mappings().all()
        return [apply_all(OrderState(_as_request(row)), happened[row["id"]]) for row in rows]

    def _order_row(self, request: OrderRequest) -> dict[str, Any]:
        row = asdict(request)
        row["limit_price"], row["stop_price"] = row.pop("limit"), row.pop("stop")
        return {**row, "account": self.account, "intended_at": self._clock.now(), "finished": False}

    def _event_row(self, order: int, event: OrderEvent) -> dict[str, Any]:
        row = asdict(event)
        del row["execution"]
        return {**row, "order_id": order, "recorded_at": self._clock.now()}

    def _execution_row(self, execution: Execution, order: int | None) -> dict[str, Any]:
        paid = {"cents": execution_cents(execution), "recorded_at": self._clock.now()}
        return {**asdict(execution), "account": self.account, "order_id": order, **paid}

    def _movement_row(self, movement: Movement) -> dict[str, Any]:
        row = asdict(movement)
        row["cents"] = _cents(row.pop("cash"))
        return {**row, "account": self.account, "recorded_at": self._clock.now()}


def execution_cents(execution: Execution) -> int:
    """Return the cash that came (negative: went) with an execution, its fee included, in whole cents."""
    return _cents(-execution.quantity * execution.price) - _cents(execution.fee)


def _cents(amount: float) -> int:
    return round(amount * 100)


def _news(states: dict[str, OrderState], name: str, events: Iterable[OrderEvent]) -> list[OrderEvent]:
    """Fold events into an order's state and return those that said something new."""
    news = []
    for event in events:
        after = apply(states[name], event)
        if replace(after, updated=None) != replace(states[name], updated=None):
            news.append(event)
            states[name] = after
    return news


def _require_same(known: OrderRequest, wanted: OrderRequest) -> None:
    if known != wanted:
        raise BugError(f"the order id {known.client_order_id} stands for {known!r} already, and now for {wanted!r}")


def _chunks(values: Iterable[str]) -> Iterator[list[str]]:
    distinct = list(dict.fromkeys(values))
    for start in range(0, len(distinct), CHUNK):
        yield distinct[start : start + CHUNK]


def _as_request(row: RowMapping) -> OrderRequest:
    names = [f.name for f in fields(OrderRequest) if f.name not in ("limit", "stop")]
    return OrderRequest(**{name: row[name] for name in names}, limit=row["limit_price"], stop=row["stop_price"])


def _as_event(row: RowMapping) -> OrderEvent:
    return OrderEvent(**{f.name: row[f.name] for f in fields(OrderEvent) if f.name != "execution"})


def _as_execution(row: RowMapping) -> Execution:
    return Execution(**{f.name: row[f.name] for f in fields(Execution)})

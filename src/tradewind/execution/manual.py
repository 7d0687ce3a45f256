"""What a person orders: written down before it counts, applied at the close of one bar, and known by its id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Literal, get_args

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tradewind.errors import DataError, InputError
from tradewind.market.store import schema
from tradewind.market.store.records import Records

Side = Literal["BUY", "SELL", "CLOSE"]
State = Literal["waiting", "applied", "cancelled", "refused"]

SIDES: tuple[Side, ...] = get_args(Side)
REPLACED = "replaced by a newer order"


@dataclass(frozen=True, slots=True)
class ManualOrder:
    """A decision of a person's about one symbol, in place of the rule's at the close of one bar.

    Attributes
    ----------
    id
        Given by whoever asks: the same id is the same order.
    side
        BUY and SELL hold a long and a short of ``weight``; CLOSE holds nothing.
    weight
        Size of the position after it, a fraction of equity above 0; None for CLOSE.
    stop, target
        Raw prices on the losing and the winning side; a stop is missing only for CLOSE.
    seen
        The bar that was the newest when it was asked for.
    why
        Why it was refused or cancelled; None where it was not.
    effective
        The bar at whose close it was applied; None where it was not.
    """

    id: str
    account: str
    symbol: str
    side: Side
    weight: float | None
    stop: float | None
    target: float | None
    reason: str
    by: str
    asked_at: datetime
    seen: datetime
    state: State = "waiting"
    why: str | None = None
    effective: datetime | None = None

    @property
    def words(self) -> str:
        """Say who ordered it and why."""
        return f"ordered by {self.by}: {self.reason}"

    @property
    def asked(self) -> tuple[object, ...]:
        """What makes it this order and no other."""
        return self.symbol, self.side, self.weight, self.stop, self.target


class ManualOrders:
    """The orders that persons gave to one account. Nothing is ever deleted; only an order that waits changes.

    Whoever changes any reads it first, so one does so at a time: whatever was read still holds when it is changed.
    """

    def __init__(self, records: Records, account: str) -> None:
        self._records, self.account = records, account

    def place(self, order: ManualOrder) -> tuple[ManualOrder, list[ManualOrder]]:
        """Let an order wait; return it, and those of its symbol that it takes the place of.

        One whose id is known is returned as it stands. Raises ``InputError`` where that one asked for something else.
        """
        with self._alone() as connection:
            known = _select(connection, self._mine(id=order.id))
            if known:
                if known[0].asked != order.asked:
                    raise InputError(
                        f"the id {order.id} is that of another order, of {known[0].symbol} at {known[0].asked_at}",
                        hint="give every order an id of its own",
                    )
                return known[0], []
            before = _select(connection, self._mine(symbol=order.symbol, state="waiting"))
            gone = [replace(one, state="cancelled", why=REPLACED) for one in before]
            self._change(connection, gone)
            connection.execute(sa.insert(schema.manual_orders).values(asdict(order)))
        return order, gone

    def cancel(self, name: str, why: str) -> ManualOrder:
        """Take back an order that waits; one that was taken back before is returned as it stands.

        Raises ``InputError`` where there is none of that id, ``DataError`` where it was applied or refused.
        """
        with self._alone() as connection:
            known = _select(connection, self._mine(id=name))
            if not known:
                raise InputError(f"there is no order {name}", hint="GET /api/v1/orders/manual lists them")
            if known[0].state == "cancelled":
                return known[0]
            if known[0].state != "waiting":
                raise DataError(f"the order {name} was {known[0].state} already", hint="close the position instead")
            gone = replace(known[0], state="cancelled", why=why)
            self._change(connection, [gone])
        return gone

    def find(self, name: str) -> ManualOrder | None:
        """Return the order of an id; None where there is none."""
        with self._records.database.reading() as connection:
            return next(iter(_select(connection, self._mine(id=name))), None)

    def settle(self, orders: Iterable[ManualOrder]) -> list[ManualOrder]:
        """Note what became of orders, all or none of them; return them as they stand: some wait no more."""
        orders = list(orders)
        with self._alone() as connection:
            self._change(connection, orders)
            return [standing for one in orders for standing in _select(connection, self._mine(id=one.id))]

    def all(self, *, limit: int | None = None) -> list[ManualOrder]:
        """Return orders, newest first."""
        with self._records.database.reading() as connection:
            return _select(connection, self._mine(), newest=limit)[::-1]

    def waiting(self) -> list[ManualOrder]:
        """Return the orders that wait, oldest first."""
        with self._records.database.reading() as connection:
            return _select(connection, self._mine(state="waiting"))

    def applied(self) -> list[ManualOrder]:
        """Return the orders that were applied, in that order."""
        with self._records.database.reading() as connection:
            found = _select(connection, self._mine(state="applied"))
        return sorted(found, key=_effective)

    @contextmanager
    def _alone(self) -> Iterator[Connection]:
        """Give a connection as ``writing`` does, and keep others from changing orders of this account meanwhile."""
        with self._records.database.writing() as connection:
            if not self._records.database.is_sqlite:  # there one writes at a time anyway
                key = sa.func.hashtextextended(f"manual_orders {self.account}", 0)
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
            yield connection

    def _mine(self, **same: str) -> sa.ColumnElement[bool]:
        table = schema.manual_orders
        return sa.and_(*(table.c[name] == value for name, value in {"account": self.account, **same}.items()))

    def _change(self, connection: Connection, orders: Iterable[ManualOrder]) -> None:
        for one in orders:
            values = {"state": one.state, "why": one.why, "effective": one.effective}
            which = self._mine(id=one.id, state="waiting")
            connection.execute(sa.update(schema.manual_orders).where(which).values(values))


def _effective(order: ManualOrder) -> datetime:
    assert order.effective is not None
    return order.effective


def _select(connection: Connection, which: sa.ColumnElement[bool], *, newest: int | None = None) -> list[ManualOrder]:
    """Return orders, oldest first; only so many of the ``newest``."""
    table = schema.manual_orders
    query = sa.select(table).where(which).order_by(table.c.number.desc()).limit(newest)
    rows = connection.execute(query).mappings().all()[::-1]
    return [ManualOrder(**{one.name: row[one.name] for one in fields(ManualOrder)}) for row in rows]

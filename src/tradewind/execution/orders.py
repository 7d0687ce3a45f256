"""Explicit orders: what a broker's ticket can say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError, did_you_mean
from tradewind.execution import kernel as k

FloatArray = NDArray[np.float64]
NAN = float("nan")

NEEDS = {
    "limit": ("limit",),
    "stop": ("stop",),
    "stop_limit": ("stop", "limit"),
    "take_profit": ("limit",),
    "trailing_percent": ("trail",),
    "trailing_atr": ("trail",),
    "time_exit": ("good_for_bars",),
}
REDUCE_ONLY = {"take_profit", "trailing_percent", "trailing_atr", "time_exit"}


@dataclass(frozen=True, slots=True)
class Ticket:
    """One order, decided at the close of bar ``row`` and live from the next bar on.

    Attributes
    ----------
    id
        Unique, not negative; orders that compete are served in the order of the table.
    row
        The bar at whose close the order was decided.
    symbol
        What to trade.
    quantity
        Shares, positive buys and negative sells; NaN closes whatever is held when the order fills.
    kind
        ``market_open``, ``market_close``, ``limit``, ``stop``, ``stop_limit``, ``take_profit``,
        ``trailing_percent``, ``trailing_atr`` or ``time_exit``. The last four, and every child, only reduce.
    limit, stop
        Price levels, raw; with ``relative`` they are positive fractional distances from the parent's fill price:
        the limit on the winning side, the stop on the losing side.
    trail
        Fraction of the best price (``trailing_percent``) or multiple of the 14-bar average true range.
    good_for_bars
        Bars after which an unfilled order expires, NaN for until cancelled; for ``time_exit`` the bar, counted
        from 1 at the first live bar, at whose close the position is left.
    group
        Orders of one group cancel each other when one of them is filled; −1 for none.
    parent
        Id of the order, of the same row, whose first fill puts this one to work; −1 for none.
    """

    id: int
    row: int
    symbol: str
    quantity: float
    kind: str
    limit: float = NAN
    stop: float = NAN
    trail: float = NAN
    good_for_bars: float = NAN
    group: int = -1
    parent: int = -1
    relative: bool = False

    def __post_init__(self) -> None:
        """Refuse what no broker would take."""
        if self.kind not in k.ORDER_KINDS:
            raise did_you_mean("order kind", self.kind, k.ORDER_KINDS)
        for name in NEEDS.get(self.kind, ()):
            if not getattr(self, name) > 0:
                raise InputError(
                    f"order {self.id} ({self.kind}) has {name} {getattr(self, name)}", hint="set it above 0"
                )
        if self.id < 0 or self.quantity == 0 or np.isinf(self.quantity):
            raise InputError(
                f"order {self.id} asks for {self.quantity} shares", hint="ids are 0 or more, quantities not 0"
            )
        if self.relative and self.parent < 0:
            raise InputError(f"order {self.id} is relative to the fill of a parent that it does not name")
        if np.isnan(self.quantity) and self.parent < 0 and self.kind in ("limit", "stop", "stop_limit"):
            raise InputError(
                f"order {self.id} ({self.kind}) has no quantity", hint="NaN is for exits: say how many shares"
            )


@dataclass(frozen=True, eq=False)
class OrderTable:
    """Tickets in the order in which they were decided, as the kernel reads them."""

    tickets: tuple[Ticket, ...]

    @classmethod
    def of(cls, tickets: Iterable[Ticket]) -> OrderTable:
        """Return the table, sorted by decision and otherwise in the order given.

        Raises
        ------
        InputError
            Ids that repeat, a parent that is missing, of another close or symbol, or itself a child.
        """
        ordered = tuple(sorted(tickets, key=lambda ticket: ticket.row))
        by_id = {ticket.id: ticket for ticket in ordered}
        if len(by_id) != len(ordered):
            raise InputError("order ids repeat", hint="give every ticket an id of its own")
        for ticket in ordered:
            if ticket.parent >= 0:
                _check_parent(ticket, by_id.get(ticket.parent))
        return cls(ordered)

    def array(self, symbols: Sequence[str]) -> FloatArray:
        """Return ``(M, 19)`` rows for the kernel; symbols become columns."""
        columns = {symbol: column for column, symbol in enumerate(symbols)}
        rows = np.zeros((len(self.tickets), k.ORDER_FIELDS))
        for row, ticket in zip(rows, self.tickets, strict=True):
            if ticket.symbol not in columns:
                raise InputError(f"order {ticket.id} is for {ticket.symbol!r}, which is not in this panel")
            row[k.O_ID], row[k.O_ROW], row[k.O_COLUMN] = ticket.id, ticket.row, columns[ticket.symbol]
            row[k.O_LEFT], row[k.O_LIMIT], row[k.O_STOP] = ticket.quantity, ticket.limit, ticket.stop
            row[k.O_TRAIL], row[k.O_GOOD], row[k.O_GROUP] = ticket.trail, ticket.good_for_bars, ticket.group
            row[k.O_PARENT], row[k.O_RELATIVE], row[k.O_BORN] = ticket.parent, ticket.relative, k.NOBODY
            row[k.O_KIND] = row[k.O_NAME] = k.ORDER_KINDS.index(ticket.kind)
            row[k.O_REDUCE] = ticket.kind in REDUCE_ONLY or ticket.parent >= 0 or np.isnan(ticket.quantity)
            row[k.O_REFERENCE] = NAN
        return rows


def _check_parent(ticket: Ticket, parent: Ticket | None) -> None:
    if parent is None:
        raise InputError(f"order {ticket.id} names the parent {ticket.parent}, which is not in the table")
    if parent.parent >= 0 or parent.row != ticket.row or parent.symbol != ticket.symbol:
        raise InputError(
            f"order {ticket.id} cannot be a child of order {parent.id}",
            hint="a parent is on the same symbol, decided at the same close, and has no parent itself",
        )

"""From the desk's targets to a broker's orders: pure, so that what would be sent can be looked at without sending.

The book has a column for each symbol of each timeframe, the broker one position for each symbol. So columns that
change a symbol in opposite directions cross among themselves and only the rest is ordered (an exchange calls the
other way a wash trade); what a fill brings is shared out again (:func:`shares_by_column`). A change of sides is two
orders, the second after the first. Only protective stops rest at the broker, one for each column: two exits for the
same shares are more than is held, which brokers refuse. Profit targets and time limits are the desk's, bar by bar.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

from tradewind.errors import InputError
from tradewind.execution.brokers.base import OrderRequest, Side, TimeInForce
from tradewind.execution.order_state import CLOSING, OPENING, SHARE_TOLERANCE, OrderState, client_order_id

if TYPE_CHECKING:
    from tradewind.execution.desk import Desk
    from tradewind.execution.desk_state import DeskState

STOP: Final = 20
"""Sequence number of a column's stop."""

MILLION: Final = 1e6
"""The kernel's grid of shares; asking the kernel for it would load numba with every broker."""

Ids = Callable[[str, str, int], str]
"""Symbol, sleeve and sequence number to the client order id."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a broker takes.

    Attributes
    ----------
    fractions
        Times in force in which fractions of a share are taken; never for short sales.
    auctions
        Auctions that orders can be meant for; for the others a day order stands in.
    """

    fractions: frozenset[TimeInForce] = frozenset()
    auctions: frozenset[TimeInForce] = frozenset()


ABILITIES: Final[Mapping[str, Abilities]] = {
    "alpaca": Abilities(frozenset(("day",)), frozenset(("at_open", "at_close"))),
    "schwab": Abilities(auctions=frozenset(("at_close",))),
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the book: what is held, what is wanted, and where its stop stands.

    Attributes
    ----------
    name
        The symbol, or symbol@timeframe.
    held, target
        Shares, negative is short; the target is None where nothing is to change.
    stop
        Raw price at which the position is to be left; None for none.
    """

    name: str
    held: float = 0.0
    target: float | None = None
    stop: float | None = None

    @property
    def symbol(self) -> str:
        """Return what is traded."""
        return self.name.partition("@")[0]

    @property
    def sleeve(self) -> str:
        """Return on whose behalf; empty where the book has one timeframe."""
        return self.name.partition("@")[2]

    @property
    def change(self) -> float:
        """Return the shares to trade."""
        return 0.0 if self.target is None else _tidy(self.target - self.held)


@dataclass(frozen=True, slots=True)
class Asked:
    """One order to send.

    Attributes
    ----------
    parts
        Signed shares of each column once it is filled; they sum to the order's, and some may run against it.
    after
        Client id of the order that has to be filled before; empty for none.
    """

    request: OrderRequest
    parts: Mapping[str, float] = field(default_factory=dict)
    after: str = ""


@dataclass(frozen=True, slots=True)
class Bridged:
    """What is to be done at the broker, in this sequence: cancel, then ask.

    Attributes
    ----------
    cancel
        Client ids of standing orders to cancel, and to see cancelled, first.
    crossed
        Signed shares by column that change hands inside the account without an order, of symbols whose columns sum
        to no change.
    notes
        Where the broker cannot do what was wanted, and what is done instead.
    """

    cancel: tuple[str, ...] = ()
    asked: tuple[Asked, ...] = ()
    crossed: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def requests(self) -> list[OrderRequest]:
        """Return the orders alone."""
        return [asked.request for asked in self.asked]


def names(account: str, playbook_hash: str, decided_at: datetime) -> Ids:
    """Return what names the orders of one moment: the same decision has the same id."""
    return lambda symbol, sleeve, sequence: client_order_id(
        account, playbook_hash, sleeve, symbol, decided_at, sequence
    )


def orders_for(
    columns: Sequence[Column],
    decided_at: datetime,
    ids: Ids,
    abilities: Abilities,
    *,
    time_in_force: TimeInForce = "at_open",
    each: Literal["symbol", "column"] = "symbol",
    standing: Iterable[OrderState] = (),
) -> Bridged:
    """Return the orders that lead from what is held to the targets of a close.

    Parameters
    ----------
    columns
        All of the book: those without a target count for what the account holds.
    ids
        See :func:`names`.
    time_in_force
        The auction that the targets are meant for.
    each
        ``symbol``: one order (two over a change of sides) for all columns of a symbol. ``column``: one for each
        column, its sleeve named; columns that disagree are netted all the same.
    standing
        Orders that rest at the broker. Stops of symbols that will be traded are cancelled: they hold the shares.
    """
    notes = _Notes()
    told = time_in_force
    if time_in_force in ("at_open", "at_close") and time_in_force not in abilities.auctions:
        told = "day"
        notes.add(f"no orders {time_in_force}: day orders take part in the auction when they are sent before it")
    asked: list[Asked] = []
    crossed: dict[str, float] = {}
    for symbol, members in _by_symbol(columns).items():
        moving = [column for column in members if column.change]
        net = _tidy(math.fsum(column.change for column in moving))
        if moving and net == 0.0:
            crossed.update((column.name, column.change) for column in moving)
            continue
        held = _tidy(math.fsum(column.held for column in members))
        for sleeve, part in _shared(moving, each):
            made = list(_orders(symbol, sleeve, held, part, decided_at, ids, abilities, told, notes))
            asked += made
            held = _tidy(held + math.fsum(one.request.signed_quantity for one in made))
    traded = {one.request.symbol for one in asked}
    cancel = tuple(o.request.client_order_id for o in standing if _is_exit(o) and o.request.symbol in traded)
    return Bridged(cancel, (*_closing_first(asked),), crossed, notes.all)


def stops_for(
    columns: Sequence[Column],
    decided_at: datetime,
    ids: Ids,
    abilities: Abilities,
    *,
    standing: Iterable[OrderState] = (),
) -> Bridged:
    """Return what makes the stops that rest at the broker those of the book: stale ones go, missing ones come.

    To be called when nothing else of the columns is under way: after their orders have ended, and after each close,
    because a trailing stop is a stop that is moved. Columns that are held against the account's own position have no
    stop at the broker, since theirs would add to it; the desk watches them.

    Parameters
    ----------
    decided_at
        The moment that shares and levels are of: a close, or the time of a fill.
    """
    notes = _Notes()
    wanted = [stop for members in _by_symbol(columns).values() for stop in _stops(members, abilities, notes)]
    resting = [order.request for order in standing if _is_exit(order) and order.status != "cancelling"]
    there = {_content(request) for request in resting}
    made = [
        Asked(_stop_request(*stop, decided_at, ids), {stop[0].name: math.copysign(stop[2], -stop[0].held)})
        for stop in wanted
        if _key(*stop) not in there
    ]
    keys = {_key(*stop) for stop in wanted}
    stale = tuple(request.client_order_id for request in resting if _content(request) not in keys)
    return Bridged(stale, tuple(made), notes=notes.all)


def shares_by_column(asked: Asked, filled: float) -> dict[str, float]:
    """Return how many of the shares filled so far belong to each column; they sum to ``filled`` exactly.

    Parameters
    ----------
    filled
        Signed shares of all executions of the order. Shares are multiples of a millionth: what rounding leaves goes
        to the largest remainders, ties in alphabetical order.
    """
    whole = asked.request.signed_quantity
    exact = {name: part * filled / whole * MILLION for name, part in sorted(asked.parts.items())}
    floors = {name: math.floor(value + 1e-6) for name, value in exact.items()}
    left = round(filled * MILLION) - sum(floors.values())
    order = sorted(exact, key=lambda name: (floors[name] - exact[name], name))
    return {name: (floors[name] + (order.index(name) < left)) / MILLION for name in floors}


def stop_level(
    side: int, entry: float, best: float, stop: float | None = None, trail: float | None = None
) -> float | None:
    """Return the price of a position's protective stop: of stop and trailing stop the nearer, as on paper.

    Parameters
    ----------
    side
        1 long, −1 short.
    entry, best
        Average price of entry, and the best price since.
    stop, trail
        Distances as fractions; None or NaN for none.
    """
    known = [(entry, stop), (best, trail)]
    levels = [price * (1.0 - side * away) for price, away in known if away is not None and math.isfinite(away)]
    levels = [level for level in levels if math.isfinite(level) and level > 0]
    return side * max(side * level for level in levels) if levels else None


def columns_of(desk: Desk, state: DeskState) -> list[Column]:
    """Return the columns of a desk's book with the targets that wait for the next bar."""
    from tradewind.execution import kernel as k

    book, targets, made = state.book.state, desk.ordered(state), []
    for i, name in enumerate(desk.columns):
        held = float(book[k.SHARES, i])
        side = 1 if held > 0 else -1
        levels = (float(book[row, i]) for row in (k.ENTRY, k.EXTREME, k.STOP, k.TRAIL))
        target = None if math.isnan(targets[i]) else float(targets[i])
        made.append(Column(name, held, target, stop_level(side, *levels) if held else None))
    return made


def to_tick(price: float, *, up: bool) -> float:
    """Return a price on the exchanges' grid: cents, and hundredths of a cent below 1 (SEC rule 612)."""
    grid = 100.0 if price >= 1.0 else 10_000.0
    count = price * grid
    nearest = round(count)
    if abs(count - nearest) < 1e-6:
        return nearest / grid
    return (math.ceil(count) if up else math.floor(count)) / grid


class _Notes:
    """What a reader has to be told, once each."""

    def __init__(self) -> None:
        self._said: dict[str, None] = {}

    def add(self, what: str) -> None:
        self._said[what] = None

    @property
    def all(self) -> tuple[str, ...]:
        return tuple(self._said)


def _orders(
    symbol: str,
    sleeve: str,
    held: float,
    moving: Sequence[Column],
    decided_at: datetime,
    ids: Ids,
    abilities: Abilities,
    time_in_force: TimeInForce,
    notes: _Notes,
) -> Iterator[Asked]:
    """Return the one or two orders that change an account's position by what some columns want."""
    net = _tidy(math.fsum(column.change for column in moving))
    closing = 0.0 if held * net >= 0 else math.copysign(min(abs(net), abs(held)), net)
    first = ""
    for sequence, wanted in ((CLOSING, closing), (OPENING, _tidy(net - closing))):
        short = sequence == OPENING and wanted < 0
        quantity = _tradable(abs(wanted), time_in_force in abilities.fractions and not short)
        if quantity != abs(wanted):
            notes.add(f"{symbol}: {abs(wanted) - quantity:g} shares are no whole share and stay as they are")
        if quantity <= SHARE_TOLERANCE:
            continue
        request = OrderRequest(
            client_order_id=ids(symbol, sleeve, sequence),
            symbol=symbol,
            side="buy" if wanted > 0 else "sell",
            quantity=quantity,
            time_in_force=time_in_force,
            reduce_only=sequence == CLOSING,
            sleeve=sleeve,
            decided_at=decided_at,
        )
        parts = {column.name: column.change * quantity / abs(net) for column in moving}
        yield Asked(request, parts, after=first)
        first = request.client_order_id


def _shared(moving: Sequence[Column], each: Literal["symbol", "column"]) -> list[tuple[str, list[Column]]]:
    """Return the sleeves and columns that get an order of their own."""
    if each not in ("symbol", "column"):
        raise InputError(f"orders for each {each!r}", hint="'symbol' or 'column'")
    agree = len({column.change > 0 for column in moving}) == 1
    if each == "column" and agree:
        return [(column.sleeve, [column]) for column in moving]
    sleeves = {column.sleeve for column in moving}
    return [(sleeves.pop() if len(sleeves) == 1 else "", list(moving))] if moving else []


def _closing_first(asked: Iterable[Asked]) -> list[Asked]:
    """Return what frees cash before what needs it."""
    return sorted(asked, key=lambda one: not one.request.reduce_only)


def _stops(
    members: Sequence[Column], abilities: Abilities, notes: _Notes
) -> Iterator[tuple[Column, Side, float, float]]:
    """Return the stops of a symbol's columns: column, side, shares, level."""
    account = _tidy(math.fsum(column.held for column in members))
    room = abs(account)
    for column in members:
        if column.stop is None or not column.held:
            continue
        if column.held * account <= 0:
            notes.add(f"{column.name} is held against the account's position: the desk watches its stop")
            continue
        shares = _tradable(min(abs(column.held), room), "gtc" in abilities.fractions)
        if shares != abs(column.held):
            without = abs(column.held) - shares
            notes.add(f"{column.name}: {without:g} of {abs(column.held):g} shares have no stop at the broker")
        if shares > SHARE_TOLERANCE:
            room = _tidy(room - shares)
            yield column, "sell" if column.held > 0 else "buy", shares, to_tick(column.stop, up=column.held > 0)


def _stop_request(
    column: Column, side: Side, shares: float, level: float, decided_at: datetime, ids: Ids
) -> OrderRequest:
    return OrderRequest(
        client_order_id=ids(column.symbol, column.sleeve, STOP),
        symbol=column.symbol,
        side=side,
        quantity=shares,
        kind="stop",
        time_in_force="gtc",
        stop=level,
        reduce_only=True,
        sleeve=column.sleeve,
        decided_at=decided_at,
    )


def _is_exit(order: OrderState) -> bool:
    request = order.request
    return request.kind == "stop" and request.reduce_only and request.time_in_force == "gtc" and not order.is_finished


def _key(column: Column, side: Side, shares: float, level: float) -> tuple[str, str, Side, float, float | None]:
    return column.symbol, column.sleeve, side, shares, level


def _content(request: OrderRequest) -> tuple[str, str, Side, float, float | None]:
    return request.symbol, request.sleeve, request.side, request.quantity, request.stop


def _by_symbol(columns: Iterable[Column]) -> dict[str, list[Column]]:
    members = defaultdict[str, list[Column]](list)
    for column in columns:
        members[column.symbol].append(column)
    return members


def _tradable(quantity: float, fractions: bool) -> float:
    """Round towards zero to what can be traded."""
    return math.floor(quantity * MILLION + 1e-3) / MILLION if fractions else float(math.floor(quantity + 1e-7))


def _tidy(quantity: float) -> float:
    return round(quantity * MILLION) / MILLION

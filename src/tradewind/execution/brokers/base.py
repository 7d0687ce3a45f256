"""What a broker is: one protocol, the words spoken with it, one registry, one contract test.

Money is in currency, shares are floats (millionths where fractions are allowed), instants are timezone-aware UTC.
A broker is asked; it is never believed to have done what it did not confirm.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar, Final, Literal, Protocol, get_args

from tradewind.errors import DataError, InputError, RetryError, did_you_mean
from tradewind.registry import Registry

Side = Literal["buy", "sell"]
Kind = Literal["market", "limit", "stop", "stop_limit", "trailing_stop"]
TimeInForce = Literal["day", "gtc", "at_open", "at_close"]
Status = Literal[
    "new",
    "sending",
    "unknown",
    "accepted",
    "partially_filled",
    "cancelling",
    "filled",
    "cancelled",
    "rejected",
    "expired",
]
"""Where an order stands; :mod:`tradewind.execution.order_state` says which may follow which.

A broker reports only those from ``accepted`` on: the first three are what we know before it has answered.
"""

OPEN: Final[frozenset[Status]] = frozenset(("accepted", "partially_filled", "cancelling"))
"""The broker has the order and may still fill it."""
FINISHED: Final[frozenset[Status]] = frozenset(("filled", "cancelled", "rejected", "expired"))
"""Nothing more can happen, except that executions made before it ended may still be reported."""

CLIENT_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "limit": ("limit",),
    "stop": ("stop",),
    "stop_limit": ("stop", "limit"),
    "trailing_stop": ("trail",),
}


class OutcomeUnknown(RetryError):  # noqa: N818 - a state of the world, not a mistake
    """A request was sent and no answer came: it may have been carried out or not.

    Whoever catches it asks for the order by its client id before anything else; it is never sent again under
    another id. Any other ``RetryError`` of a broker means that the request surely did not arrive.
    """


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """What is asked of a broker.

    Attributes
    ----------
    client_order_id
        Ours, at most 32 letters, digits, ``-`` and ``_``; the same id is the same order, however often it is sent.
    side, quantity
        Shares, positive; fractions only where the broker takes them.
    kind
        ``trailing_stop`` follows the best price since it was accepted.
    time_in_force
        ``at_open`` and ``at_close`` (market or limit) take part in that auction only (OPG, CLS).
    limit, stop
        Raw prices in currency.
    trail
        Distance of a trailing stop as a fraction of the best price.
    reduce_only
        True closes a position or a part of it and never crosses zero (a sale of what is held, or a purchase to
        cover); False opens or adds (a purchase, or a short sale). A change of sides is two requests.
    sleeve
        The part of the book (a timeframe, a strategy) on whose behalf it is made.
    decided_at
        The close at which it was decided.
    """

    client_order_id: str
    symbol: str
    side: Side
    quantity: float
    kind: Kind = "market"
    time_in_force: TimeInForce = "day"
    limit: float | None = None
    stop: float | None = None
    trail: float | None = None
    reduce_only: bool = False
    sleeve: str = ""
    decided_at: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse what no broker would take."""
        _known("side", self.side, get_args(Side))
        _known("order kind", self.kind, get_args(Kind))
        _known("time in force", self.time_in_force, get_args(TimeInForce))
        if not CLIENT_ID.fullmatch(self.client_order_id):
            raise InputError(
                f"{self.client_order_id!r} is no client order id", hint="1 to 32 letters, digits, '-' and '_'"
            )
        if not (math.isfinite(self.quantity) and self.quantity > 0):
            raise InputError(
                f"{self} asks for {self.quantity} shares", hint="quantities are positive; `side` has the sign"
            )
        for name in ("limit", "stop", "trail"):
            self._check_price(name)
        if self.time_in_force in ("at_open", "at_close") and self.kind not in ("market", "limit"):
            raise InputError(f"{self} is a {self.kind} order for an auction", hint="use a market or limit order")
        if self.decided_at is not None and self.decided_at.tzinfo is None:
            raise InputError(f"{self} was decided at {self.decided_at}, a time without a zone")

    def __str__(self) -> str:
        """Return it as a trader would say it."""
        levels = [
            f"{name} {value:g}" for name in ("limit", "stop", "trail") if (value := getattr(self, name)) is not None
        ]
        return " ".join((f"{self.client_order_id}: {self.side} {self.quantity:g} {self.symbol} {self.kind}", *levels))

    @property
    def signed_quantity(self) -> float:
        """Return the shares, negative for a sale."""
        return self.quantity if self.side == "buy" else -self.quantity

    def _check_price(self, name: str) -> None:
        value, needed = getattr(self, name), name in NEEDS.get(self.kind, ())
        if needed != (value is not None):
            raise InputError(f"a {self.kind} order {'needs a' if needed else 'has no'} {name} (got {value})")
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value} in {self.client_order_id}", hint="set it above 0")


@dataclass(frozen=True, slots=True)
class OrderReport:
    """What a broker says about an order.

    Attributes
    ----------
    client_order_id
        Ours; empty where the order was not made by us (another program, the broker's page, a margin desk).
    broker_order_id
        The broker's; empty where it refused the request outright.
    filled_quantity
        Shares, never negative.
    average_price
        Of the filled part; None while nothing is filled.
    reason
        Why it was rejected, cancelled or expired, in the broker's words.
    updated
        When the broker last changed it, by the broker's clock.
    symbol, side, quantity
        As the broker has them: what an order is that we do not know.
    """

    client_order_id: str
    broker_order_id: str
    status: Status
    filled_quantity: float = 0.0
    average_price: float | None = None
    reason: str = ""
    updated: datetime | None = None
    symbol: str = ""
    side: Side | None = None
    quantity: float | None = None

    @property
    def is_open(self) -> bool:
        """Return whether the broker may still fill it."""
        return self.status in OPEN


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill, or a part of one, as the broker booked it.

    Attributes
    ----------
    execution_id
        Unique at this broker: the same id is the same fill, however often it is reported.
    client_order_id
        Of the order; empty where it was not ours.
    quantity
        Shares, negative for a sale.
    fee
        Commission and charges in currency, positive = paid.
    """

    execution_id: str
    client_order_id: str
    symbol: str
    quantity: float
    price: float
    time: datetime
    fee: float = 0.0
    broker_order_id: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot have happened."""
        whole = math.isfinite(self.quantity) and self.quantity != 0 and math.isfinite(self.fee)
        if not (whole and 0 <= self.price < math.inf and self.execution_id and self.time.tzinfo is not None):
            raise DataError(f"no fill looks like this: {self!r}", hint="compare it with the broker's page")


@dataclass(frozen=True, slots=True)
class Movement:
    """A change of cash or shares that no order made: a dividend, a split, interest, a deposit.

    Attributes
    ----------
    movement_id
        Unique at this broker.
    quantity
        Shares that came (negative: went).
    cash
        Currency that came (negative: went).
    """

    movement_id: str
    kind: str
    time: datetime
    symbol: str = ""
    quantity: float = 0.0
    cash: float = 0.0


@dataclass(frozen=True, slots=True)
class Position:
    """Shares held (negative is short) and what they cost on average."""

    quantity: float
    average_price: float


@dataclass(frozen=True, slots=True)
class AccountReport:
    """The account as the broker has it at ``time`` (the broker's clock).

    ``blocked`` names what it may not do now, in the broker's words (``trading_blocked``, ``short_not_allowed``, …).
    """

    cash: float
    equity: float
    buying_power: float
    time: datetime
    positions: Mapping[str, Position] = field(default_factory=dict)
    blocked: tuple[str, ...] = ()
    currency: str = "USD"


@dataclass(frozen=True, slots=True)
class MarketClock:
    """The broker's clock and whether its market is open; None for what it does not tell."""

    time: datetime
    is_open: bool | None = None
    next_open: datetime | None = None
    next_close: datetime | None = None


@dataclass(frozen=True, slots=True)
class KnownOrder:
    """An order of ours as the journal knows it: what was asked, when it was sent and the broker's id for it."""

    request: OrderRequest
    broker_order_id: str
    sent_at: datetime | None


class Broker(Protocol):
    """Someone who carries orders out. What it answers is its truth; what it does not answer is unknown.

    Every method raises ``RetryError`` when the broker is away or throttling and the request surely had no effect,
    ``DataError`` for an answer that cannot be read, ``InputError`` for credentials that are missing or refused.

    Attributes
    ----------
    live
        Whether real money moves. False for paper accounts, a broker's own included.
    may_arrive_for
        How long after an order was sent it may still arrive, although no answer came and it is not there yet.
    """

    name: ClassVar[str]
    may_arrive_for: ClassVar[timedelta]
    live: bool

    def account(self) -> AccountReport:
        """Return cash, equity and positions."""
        ...

    def submit(self, request: OrderRequest) -> OrderReport:
        """Hand in an order and return what the broker says of it.

        An id that the broker has already is not a new order: its report is returned. A refusal is a report with
        the status ``rejected``. Raises :class:`OutcomeUnknown` when no answer came.
        """
        ...

    def cancel(self, client_order_id: str) -> OrderReport:
        """Ask for an order's end and return its report; one that is finished already stays as it is.

        Raises :class:`OutcomeUnknown` when no answer came, ``InputError`` for an id that the broker does not have.
        """
        ...

    def order(self, client_order_id: str) -> OrderReport | None:
        """Return the report of one order, None where the broker does not have it: not yet, or not at all."""
        ...

    def orders(self, *, open_only: bool = False, since: datetime | None = None) -> list[OrderReport]:
        """Return the account's orders, whoever made them, oldest first: open ones, or changed at or after ``since``."""
        ...

    def executions(self, *, since: datetime | None = None) -> list[Execution]:
        """Return the account's fills at or after ``since``, oldest first; the same one may come again."""
        ...

    def movements(self, *, since: datetime | None = None) -> list[Movement]:
        """Return dividends, splits, interest and transfers at or after ``since``; empty where it cannot tell."""
        ...

    def clock(self) -> MarketClock:
        """Return the broker's clock."""
        ...

    def recognise(self, orders: Iterable[KnownOrder]) -> None:
        """Be told after a start what the journal knows.

        A broker that keeps no client ids matches its orders by it; the others need not do anything.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


BROKERS = Registry[Broker]("broker", room="tradewind.execution.brokers", group="tradewind.brokers")
register = BROKERS.register


def _known(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise did_you_mean(what, value, choices)

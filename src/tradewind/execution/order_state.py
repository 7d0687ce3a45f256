"""Where an order stands: one fold over what became known of it, shared by paper account and brokers.

Messages about an order arrive late, twice, and in any sequence: a fill before the acceptance, an answer after the
time-out. So the state is not moved from message to message: it is a set of facts that only grows, and the status is
read from all of them together. Whatever the sequence and however often each message comes, the end is the same.
What no sequence can explain (more filled than ordered, filled and rejected, one id at the broker twice) is a
:class:`~tradewind.errors.SafetyStop`.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Literal, get_args

from tradewind.errors import BugError, InputError, SafetyStop, did_you_mean
from tradewind.execution.brokers.base import FINISHED, OPEN, Execution, OrderReport, OrderRequest, Status

EventKind = Literal[
    "sent",
    "timed_out",
    "accepted",
    "reported",
    "execution",
    "cancel_asked",
    "cancel_refused",
    "cancelled",
    "rejected",
    "expired",
]

SHARE_TOLERANCE: Final = 5e-7
"""Half a millionth: shares nearer to each other than this are the same number of shares."""

CLOSING, OPENING = range(2)
"""Sequence numbers of what one decision orders of a symbol: what closes, and what opens."""

_AFTER_SENDING: Final[frozenset[Status]] = frozenset(("accepted", "partially_filled", "cancelling", *FINISHED))
TRANSITIONS: Final[Mapping[Status, frozenset[Status]]] = {
    "new": _AFTER_SENDING | {"sending", "unknown"},
    "sending": _AFTER_SENDING | {"unknown"},
    "unknown": _AFTER_SENDING,
    "accepted": frozenset(("partially_filled", "cancelling", *FINISHED)),
    "partially_filled": frozenset(("cancelling", "filled", "cancelled", "expired")),
    "cancelling": _AFTER_SENDING - {"cancelling"},
    "cancelled": frozenset(("filled",)),
    "expired": frozenset(("filled",)),
    "filled": frozenset(),
    "rejected": frozenset(),
}
"""What may follow what. Steps are left out where messages are late: an order may be new, then filled.

A cancelled or expired order can still turn out to be filled: by executions made before its end, reported after it.
An order that was ``cancelling`` is accepted again where the broker refuses the cancellation.
"""


@dataclass(frozen=True, slots=True)
class OrderEvent:
    """One thing that became known of an order at ``at``.

    Attributes
    ----------
    number
        Of the request to cancel that is asked or refused, from 1.
    filled
        With ``reported``: shares that the broker says are filled, executions known or not.
    """

    kind: EventKind
    at: datetime
    broker_order_id: str = ""
    reason: str = ""
    filled: float = 0.0
    number: int = 1
    execution: Execution | None = None

    def __post_init__(self) -> None:
        """Refuse what is no event."""
        if self.kind not in get_args(EventKind):
            raise did_you_mean("order event", self.kind, get_args(EventKind))
        if (self.kind == "execution") != (self.execution is not None):
            raise InputError(f"an event of the kind {self.kind!r} came with the execution {self.execution}")


@dataclass(frozen=True, slots=True)
class OrderState:
    """All that is known of one order. Made by :func:`apply`; two with the same facts are equal.

    Attributes
    ----------
    sent, timed_out
        Whether it was handed to the broker, and whether an answer failed to come at least once.
    sent_at
        When it was first handed over, by our clock; None where only the broker's answer says that it was.
    broker_order_id
        The broker's; empty until it has answered.
    executions
        Each once, by time and id.
    reported_filled
        The most that the broker said was filled.
    cancels_asked, cancels_refused
        Number of the last request to cancel, and of the last one refused.
    end
        How it ended by the broker's (or our own) word; None while it has not, or is simply filled.
    """

    request: OrderRequest
    sent: bool = False
    sent_at: datetime | None = None
    timed_out: bool = False
    acknowledged: bool = False
    broker_order_id: str = ""
    executions: tuple[Execution, ...] = ()
    reported_filled: float = 0.0
    cancels_asked: int = 0
    cancels_refused: int = 0
    end: Status | None = None
    reason: str = ""
    updated: datetime | None = None

    @property
    def filled(self) -> float:
        """Return the shares of all executions, positive. The sum does not depend on their sequence."""
        return math.fsum(abs(execution.quantity) for execution in self.executions)

    @property
    def remaining(self) -> float:
        """Return the shares not filled as far as executions or reports tell."""
        left = self.request.quantity - max(self.filled, self.reported_filled)
        return left if left > SHARE_TOLERANCE else 0.0

    @property
    def unexplained(self) -> float:
        """Return the shares that the broker says are filled but whose executions are missing."""
        missing = self.reported_filled - self.filled
        return missing if missing > SHARE_TOLERANCE else 0.0

    @property
    def average_price(self) -> float | None:
        """Return the mean price of the executions; None without any."""
        if not self.executions:
            return None
        return math.fsum(abs(e.quantity) * e.price for e in self.executions) / self.filled

    @property
    def status(self) -> Status:
        """Return where the order stands."""
        if self.remaining == 0.0:
            return "filled"
        if self.end is not None:
            return self.end
        if self.acknowledged:
            return self._open_status()
        return "unknown" if self.timed_out else "sending" if self.sent else "new"

    @property
    def is_open(self) -> bool:
        """Return whether the broker has it and may still fill it."""
        return self.status in OPEN

    @property
    def is_finished(self) -> bool:
        """Return whether nothing more can happen to it."""
        return self.status in FINISHED

    def _open_status(self) -> Status:
        if self.cancels_asked > self.cancels_refused:
            return "cancelling"
        return "partially_filled" if max(self.filled, self.reported_filled) > SHARE_TOLERANCE else "accepted"


def apply(order: OrderState, event: OrderEvent) -> OrderState:
    """Return the order with one more thing known of it; what is known already changes nothing.

    Raises
    ------
    SafetyStop
        The event contradicts what is known; the message names both.
    BugError
        A transition that the table does not have: the table or this fold is wrong.
    """
    after = _with_fact(order, event)
    _check(order, event, after)
    if after.status != order.status and after.status not in TRANSITIONS[order.status]:
        raise BugError(f"order {order.request} went from {order.status} to {after.status} by {event}")
    return after


def apply_all(order: OrderState, events: Iterable[OrderEvent]) -> OrderState:
    """Return the order after all of the events, in any sequence."""
    for event in events:
        order = apply(order, event)
    return order


def events_of_report(report: OrderReport, at: datetime) -> tuple[OrderEvent, ...]:
    """Return what a broker's report makes known; ``at`` stands in where the broker does not say when.

    Its filled quantity is a claim: executions alone change what we hold.
    """
    when = report.updated or at
    events = []
    if report.broker_order_id or report.status in OPEN:
        events.append(OrderEvent("accepted", when, broker_order_id=report.broker_order_id))
    if report.filled_quantity > 0:
        events.append(OrderEvent("reported", when, filled=report.filled_quantity))
    if report.status == "cancelling":
        events.append(OrderEvent("cancel_asked", when))
    elif report.status in ("cancelled", "rejected", "expired"):
        events.append(OrderEvent(report.status, when, reason=report.reason))
    return tuple(events)


def event_of_execution(execution: Execution) -> OrderEvent:
    """Return what an execution makes known of its order."""
    return OrderEvent("execution", execution.time, broker_order_id=execution.broker_order_id, execution=execution)


def client_order_id(
    account: str, playbook_hash: str, sleeve: str, symbol: str, decided_at: datetime, sequence: int
) -> str:
    """Return the id of an order: the same decision always has the same id, so that sending twice is ordering once.

    At most 32 characters: ``tw``, the day of the decision, the symbol (letters and digits, cut to 6), and 80 bits of
    the SHA-256 of everything.

    Parameters
    ----------
    decided_at
        The close at which it was decided, timezone-aware.
    sequence
        Tells apart orders for one symbol decided at one close.
    """
    if decided_at.tzinfo is None:
        raise InputError(f"a decision at {decided_at} has no zone", hint="give UTC instants")
    moment = decided_at.astimezone(UTC)
    parts = (account, playbook_hash, sleeve, symbol, moment.isoformat(), str(sequence))
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()[:10]
    name = re.sub("[^A-Za-z0-9]", "", symbol)[:6]
    return f"tw{moment:%y%m%d}-{name}-{base64.b32encode(digest).decode().lower()}"


def _with_fact(order: OrderState, event: OrderEvent) -> OrderState:
    """Return the order with the event's fact added to the others; every branch can only add."""
    updated = event.at if order.updated is None else max(order.updated, event.at)
    after = replace(order, updated=updated)
    match event.kind:
        case "sent":
            return replace(after, sent=True, sent_at=min(order.sent_at or event.at, event.at))
        case "timed_out":
            return replace(after, sent=True, timed_out=True)
        case "accepted":
            return _acknowledged(after, event)
        case "reported":
            return replace(_acknowledged(after, event), reported_filled=max(order.reported_filled, event.filled))
        case "execution":
            return _executed(_acknowledged(after, event), event)
        case "cancel_asked":
            return replace(after, cancels_asked=max(order.cancels_asked, event.number))
        case "cancel_refused":
            return replace(after, cancels_refused=max(order.cancels_refused, event.number))
        case "cancelled" | "rejected" | "expired":
            return _ended(after, event, event.kind)


def _acknowledged(order: OrderState, event: OrderEvent) -> OrderState:
    return replace(order, sent=True, acknowledged=True, broker_order_id=order.broker_order_id or event.broker_order_id)


def _executed(order: OrderState, event: OrderEvent) -> OrderState:
    new = event.execution
    assert new is not None
    for known in order.executions:
        if known.execution_id == new.execution_id:
            return _same_execution(order, known, new)
    ordered = sorted((*order.executions, new), key=lambda e: (e.time, e.execution_id))
    return replace(order, executions=tuple(ordered))


def _same_execution(order: OrderState, known: Execution, new: Execution) -> OrderState:
    if (known.symbol, known.quantity, known.price, known.fee) != (new.symbol, new.quantity, new.price, new.fee):
        raise _stop(f"order {order.request} had the execution {known}, and now under the same id {new}")
    return order


def _ended(order: OrderState, event: OrderEvent, end: Status) -> OrderState:
    if order.end not in (None, end):
        raise _stop(f"order {order.request} was {order.end} ({order.reason}), and now {end} ({event.reason})")
    # Said twice in other words, the alphabetically first reason stays: the sequence must not matter.
    reasons = [reason for reason in (order.reason, event.reason) if reason]
    return replace(order, end=end, reason=min(reasons, default=""))


def _check(before: OrderState, event: OrderEvent, after: OrderState) -> None:
    """Refuse facts that cannot be true together."""
    request, filled = before.request, max(after.filled, after.reported_filled)
    if event.broker_order_id and event.broker_order_id != after.broker_order_id:
        raise _stop(f"order {request} is {before.broker_order_id} at the broker, and now also {event.broker_order_id}")
    new = event.execution
    if new is not None and (new.symbol != request.symbol or new.quantity * request.signed_quantity <= 0):
        raise _stop(f"order {request} was answered by the execution {new}, which is not of its symbol and side")
    if filled > request.quantity + SHARE_TOLERANCE:
        raise _stop(f"order {request} has {filled:g} filled after {event}: more than was ordered")
    if after.end == "rejected" and filled > SHARE_TOLERANCE:
        raise _stop(f"order {request} was rejected ({after.reason}) and yet {filled:g} are filled ({event})")


def _stop(what: str) -> SafetyStop:
    return SafetyStop(what, hint="look at the order on the broker's page; trading goes on after `tradewind release`")

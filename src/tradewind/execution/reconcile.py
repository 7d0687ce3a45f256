"""After a crash or a disconnect: the broker's truth first, before anything else is done.

What we wrote down and what the broker says are laid side by side (:func:`differences`, pure). What the broker did
while we were away is booked: reports, executions, movements; each once, because their ids are unique. Orders of which
nobody knew whether they arrived are resolved by their client ids and never sent again. What remains (a position that
our books do not explain, an order that is not ours, an order that vanished, clocks that disagree) stops trading until
a person has looked, unless it is adopted. An order that is not there may still arrive for a while: until then nothing
may be ordered in its place.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from tradewind.clock import Clock
from tradewind.errors import RetryError, SafetyStop
from tradewind.execution.brokers.base import (
    AccountReport,
    Broker,
    Execution,
    Movement,
    OrderReport,
    OutcomeUnknown,
)
from tradewind.execution.controls import Controls
from tradewind.execution.journal import SHARE_DECIMALS, Holdings, Journal, execution_cents
from tradewind.execution.order_state import OrderEvent, OrderState, apply_all, event_of_execution, events_of_report

Reaction = Literal["book", "alert", "wait", "stop"]
Kind = Literal[
    "opening",
    "report",
    "never_sent",
    "never_arrived",
    "on_its_way",
    "execution",
    "movement",
    "blocked",
    "clock",
    "contradiction",
    "revived",
    "vanished",
    "unexplained_fill",
    "foreign_order",
    "foreign_execution",
    "position",
    "cash",
]

OVERLAP: Final = timedelta(days=1)
"""How far before the last thing known the broker is asked again; what comes twice is booked once."""

LOOKS: Final = 5
"""How often a moving account is looked at before we give up for now."""


@dataclass(frozen=True, slots=True)
class Tolerances:
    """What the broker and we may differ by.

    Attributes
    ----------
    clock_alert_seconds, clock_stop_seconds
        Distance of the clocks, the time that the question took already taken off.
    cash_cents
        Brokers round fees otherwise than we do, and book some a day later.
    """

    clock_alert_seconds: float = 2.0
    clock_stop_seconds: float = 30.0
    cash_cents: int = 100
    shares: float = 1e-6


@dataclass(frozen=True, slots=True)
class BrokerState:
    """What the broker says, all of it true at one moment.

    Attributes
    ----------
    absent
        Client ids of orders that the broker does not have.
    on_its_way
        Those of them that were sent so short a while ago that they may still arrive, and until when.
    skew_seconds
        Its clock less ours; 0 where it lies within the time that the question took.
    """

    account: AccountReport
    orders: tuple[OrderReport, ...] = ()
    executions: tuple[Execution, ...] = ()
    movements: tuple[Movement, ...] = ()
    absent: frozenset[str] = frozenset()
    on_its_way: Mapping[str, datetime] = field(default_factory=dict)
    skew_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class JournalState:
    """What we wrote down.

    Attributes
    ----------
    orders
        By client id: all unfinished ones, and those that the broker mentions.
    booked
        Ids of executions and movements that are booked.
    opened
        When the account's books were opened; None while they are empty. What happened before is in the opening.
    """

    holdings: Holdings
    orders: Mapping[str, OrderState] = field(default_factory=dict)
    booked: frozenset[str] = frozenset()
    opened: datetime | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which the broker and our books differ, and what follows from it."""

    kind: Kind
    reaction: Reaction
    what: str
    client_order_id: str = ""
    report: OrderReport | None = None
    execution: Execution | None = None
    movement: Movement | None = None


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What was found and what is held now. ``adopted`` are the stops that a person took over."""

    differences: tuple[Difference, ...]
    holdings: Holdings
    skew_seconds: float
    adopted: tuple[Difference, ...] = ()


def reconcile(
    journal: Journal,
    broker: Broker,
    controls: Controls,
    *,
    clock: Clock,
    tolerances: Tolerances | None = None,
    adopt: bool = False,
) -> Reconciliation:
    """Bring our books to the broker's truth, or halt trading.

    Parameters
    ----------
    adopt
        Take over what is not ours: unknown fills and positions, other cash, orders that vanished. Unknown open
        orders are let be. Clocks that disagree are never adopted, nor fills that nobody knows the price of.

    Raises
    ------
    SafetyStop
        Something is left that our books do not explain. All that they do explain is booked; trading is halted, and
        the message lists the rest.
    OutcomeUnknown
        An order that was sent may still arrive; everything else is booked. Nothing is to be ordered before.
    RetryError
        The broker is away, or the account does not stand still.
    """
    try:
        seen = observe(journal, broker, clock)
    except SafetyStop as stop:
        controls.append_alert("critical", "reconcile", stop.what)
        controls.halt(stop.what, "reconcile")
        raise
    found = differences(state_of(journal, seen), seen, tolerances or Tolerances())
    stops = tuple(d for d in found if d.reaction == "stop" and not (adopt and _adoptable(d)))
    adopted = tuple(d for d in found if d.reaction == "stop" and d not in stops)
    with journal.together():
        for difference in found:
            if difference.reaction == "book" or difference in adopted:
                _book(journal, difference)
    _tell(controls, journal.account, found, adopted)
    if stops:
        _halt(controls, journal.account, stops)
    if waits := tuple(d for d in found if d.reaction == "wait"):
        _wait(journal.account, waits, max(seen.on_its_way.values()))
    return Reconciliation(found, journal.replay(), seen.skew_seconds, adopted)


def observe(journal: Journal, broker: Broker, clock: Clock) -> BrokerState:
    """Ask the broker for everything since shortly before the last thing known, until nothing moves meanwhile."""
    since = _since(journal, clock)
    broker.recognise(journal.known(since=since))
    skew = _skew(broker, clock)
    executions = broker.executions(since=since)
    for _ in range(LOOKS):
        orders, account, movements = broker.orders(since=since), broker.account(), broker.movements(since=since)
        reports, absent, on_its_way = _asked_for(journal, broker, orders, clock)
        later = broker.executions(since=since)
        if {e.execution_id for e in later} == {e.execution_id for e in executions}:
            return BrokerState(account, (*orders, *reports), tuple(later), tuple(movements), absent, on_its_way, skew)
        executions = later
    raise RetryError(
        f"{journal.account} was filling all the while it was looked at ({LOOKS} times)", hint="try again in a minute"
    )


def state_of(journal: Journal, seen: BrokerState) -> JournalState:
    """Return what we wrote down, as far as it concerns what the broker says."""
    mentioned = {*(r.client_order_id for r in seen.orders), *(e.client_order_id for e in seen.executions)}
    orders = journal.find(mentioned) | {o.request.client_order_id: o for o in journal.unfinished()}
    movements = journal.movements()
    return JournalState(
        journal.replay(),
        orders,
        frozenset(journal.booked(seen.executions)) | {m.movement_id for m in movements},
        min((m.time for m in movements if m.kind == "opening"), default=None),
    )


def differences(ours: JournalState, seen: BrokerState, tolerances: Tolerances) -> tuple[Difference, ...]:
    """Return everything in which the broker and our books differ, what can be booked first. Pure."""
    if not ours.orders and not ours.booked and ours.holdings == Holdings():
        strange = (_foreign_order(report) for report in seen.orders if report.is_open)
        return (*_opening(seen.account), *strange, *_clock(seen, tolerances), *_blocked(seen))
    fresh = [e for e in seen.executions if e.execution_id not in ours.booked and _after(e.time, ours.opened)]
    moved = [m for m in seen.movements if m.movement_id not in ours.booked and _after(m.time, ours.opened)]
    found = [
        *_of_orders(ours, seen, fresh),
        *(_foreign_execution(e) for e in fresh if e.client_order_id not in ours.orders),
        *(
            Difference("movement", "book", f"{m.kind} {m.symbol} {m.quantity:g} {m.cash:+.2f}", movement=m)
            for m in moved
        ),
    ]
    return (*found, *_of_holdings(_after_booking(ours.holdings, found), seen.account, tolerances),
            *_clock(seen, tolerances), *_blocked(seen))  # fmt: skip


def _adoptable(found: Difference) -> bool:
    return found.kind != "clock" and (found.kind != "unexplained_fill" or found.execution is not None)


# -- orders ------------------------------------------------------------------------------------------------------


def _of_orders(ours: JournalState, seen: BrokerState, fresh: Iterable[Execution]) -> Iterator[Difference]:
    fills, reports = defaultdict[str, list[Execution]](list), {r.client_order_id: r for r in seen.orders}
    for execution in fresh:
        fills[execution.client_order_id].append(execution)
    for name, order in ours.orders.items():
        report = reports.get(name)
        if report is not None or fills[name]:
            yield from _of_answered(order, report, fills[name], seen.account.time)
        elif name in seen.absent or order.status == "new":
            yield from _of_absent(order, seen.on_its_way.get(name))
    for report in seen.orders:
        if report.client_order_id not in ours.orders and report.is_open:
            yield _foreign_order(report)


def _of_answered(
    order: OrderState, report: OrderReport | None, fills: list[Execution], seen_at: datetime
) -> Iterator[Difference]:
    """Return what follows from a report and fills of one order of ours."""
    name = order.request.client_order_id
    if report is not None and order.is_finished and not report.is_open:
        report = None  # it was the end already; only fills can still come
    news: list[OrderEvent] = [event_of_execution(fill) for fill in fills]
    if report is not None:
        news += events_of_report(report, report.updated or seen_at)
    try:
        after = apply_all(order, news)
    except SafetyStop as stop:
        culprits: list[Execution | None] = [*fills] or [None]
        yield from (Difference("contradiction", "stop", stop.what, name, execution=culprit) for culprit in culprits)
        return
    for fill in fills:
        yield Difference(
            "execution", "book", f"{fill.quantity:+g} {fill.symbol} at {fill.price:g}", name, execution=fill
        )
    if report is not None and _told_something(order, after):
        yield Difference("report", "book", f"{order.request} is {after.status}", name, report=report)
    if report is not None and report.is_open and after.is_finished and after.remaining > 0:
        yield Difference("revived", "stop", f"{order.request} was {after.status} and is {report.status}", name)
    if after.unexplained:
        what = f"{order.request}: {after.unexplained:g} more are filled than there are executions for"
        yield Difference("unexplained_fill", "stop", what, name, execution=_stand_in(after, report, seen_at))


def _stand_in(order: OrderState, report: OrderReport | None, seen_at: datetime) -> Execution | None:
    """Return the execution that would explain the rest of a report; None where the report has no price."""
    if report is None or report.average_price is None:
        return None
    known = math.fsum(abs(e.quantity) * e.price for e in order.executions)
    price = (report.average_price * order.reported_filled - known) / order.unexplained
    quantity = math.copysign(order.unexplained, order.request.signed_quantity)
    name = f"adopted:{order.request.client_order_id}:{order.reported_filled:g}"
    when = report.updated or seen_at
    return Execution(name, order.request.client_order_id, order.request.symbol, quantity, max(price, 0.0), when)


def _told_something(before: OrderState, after: OrderState) -> bool:
    """Return whether a report and fills say more than the fills and what was known."""
    told = ("acknowledged", "broker_order_id", "reported_filled", "cancels_asked", "end")
    return any(getattr(before, fact) != getattr(after, fact) for fact in told)


def _of_absent(order: OrderState, may_arrive_until: datetime | None) -> Iterator[Difference]:
    """Return what follows from the broker not having an order of ours."""
    name = order.request.client_order_id
    if order.status == "new":
        yield Difference("never_sent", "book", f"{order.request} was never sent; its moment has passed", name)
    elif order.is_open:
        yield Difference("vanished", "stop", f"{order.request} was {order.status} and the broker has it no more", name)
    elif not order.is_finished and may_arrive_until is not None:
        until = f"{may_arrive_until:%Y-%m-%d %H:%M:%S} UTC"
        yield Difference("on_its_way", "wait", f"{order.request} was sent and may still arrive until {until}", name)
    elif not order.is_finished:
        yield Difference("never_arrived", "book", f"{order.request} never arrived; its moment has passed", name)


def _foreign_order(report: OrderReport) -> Difference:
    who = report.client_order_id or report.broker_order_id
    what = f"an open order that is not ours: {who}: {report.side} {report.quantity} {report.symbol} ({report.status})"
    return Difference("foreign_order", "stop", what, report.client_order_id, report=report)


def _foreign_execution(execution: Execution) -> Difference:
    what = f"a fill of an order that is not ours: {execution.quantity:+g} {execution.symbol} at {execution.price:g}"
    return Difference("foreign_execution", "stop", what, execution.client_order_id, execution=execution)


# -- holdings, clock ---------------------------------------------------------------------------------------------


def _after_booking(holdings: Holdings, found: Iterable[Difference]) -> Holdings:
    """Return the holdings after all fills and movements found, those that are not ours included."""
    shares, cents = defaultdict[str, list[float]](list), holdings.cash_cents
    for symbol, held in holdings.positions.items():
        shares[symbol].append(held)
    for difference in found:
        if difference.execution is not None:
            shares[difference.execution.symbol].append(difference.execution.quantity)
            cents += execution_cents(difference.execution)
        if difference.movement is not None:
            shares[difference.movement.symbol].append(difference.movement.quantity)
            cents += round(difference.movement.cash * 100)
    return Holdings({symbol: math.fsum(parts) for symbol, parts in shares.items()}, cents)


def _of_holdings(expected: Holdings, account: AccountReport, tolerances: Tolerances) -> Iterator[Difference]:
    for symbol in sorted({*expected.positions, *account.positions}):
        ours = expected.positions.get(symbol, 0.0)
        theirs = account.positions[symbol].quantity if symbol in account.positions else 0.0
        if abs(theirs - ours) > tolerances.shares:
            what = f"{symbol}: the broker holds {theirs:g}, our books {ours:g}"
            yield Difference("position", "stop", what, movement=_adoption(account, symbol, theirs - ours, 0.0))
    cents = round(account.cash * 100) - expected.cash_cents
    if abs(cents) > tolerances.cash_cents:
        what = f"cash: the broker has {account.cash:,.2f}, our books {expected.cash:,.2f}"
        yield Difference("cash", "stop", what, movement=_adoption(account, "", 0.0, cents / 100))


def _adoption(account: AccountReport, symbol: str, quantity: float, cash: float) -> Movement:
    name = f"adopted:{account.time.isoformat()}:{symbol}"
    return Movement(name, "adopted", account.time, symbol, round(quantity, SHARE_DECIMALS), cash)


def _opening(account: AccountReport) -> Iterator[Difference]:
    """Return the opening of empty books: whatever the account holds now is where they begin."""
    moment = account.time
    deposit = Movement(f"opening:{moment.isoformat()}:", "opening", moment, cash=account.cash)
    yield Difference("opening", "book", f"opened with {account.cash:,.2f} in cash", movement=deposit)
    for symbol, position in sorted(account.positions.items()):
        brought = Movement(f"opening:{moment.isoformat()}:{symbol}", "opening", moment, symbol, position.quantity)
        yield Difference("opening", "book", f"opened with {position.quantity:g} {symbol}", movement=brought)


def _clock(seen: BrokerState, tolerances: Tolerances) -> Iterator[Difference]:
    skew = abs(seen.skew_seconds)
    if skew > tolerances.clock_alert_seconds:
        reaction: Reaction = "stop" if skew > tolerances.clock_stop_seconds else "alert"
        yield Difference("clock", reaction, f"the broker's clock is {seen.skew_seconds:+.1f} s away from ours")


def _blocked(seen: BrokerState) -> Iterator[Difference]:
    for flag in seen.account.blocked:
        yield Difference("blocked", "alert", f"the broker says {flag}")


# -- edges -------------------------------------------------------------------------------------------------------


def _after(time: datetime, opened: datetime | None) -> bool:
    return opened is None or time > opened


def _since(journal: Journal, clock: Clock) -> datetime:
    """Return from when on the broker is asked: a day before the last fill or the oldest order not finished."""
    last = journal.last_execution()
    known = [] if last is None else [last]
    known += [o.sent_at for o in journal.unfinished() if o.sent_at is not None]
    known += [m.time for m in journal.movements()[:1]] if not known else []
    return min(known, default=clock.now()) - OVERLAP


def _skew(broker: Broker, clock: Clock) -> float:
    """Return the broker's clock less ours in seconds, as far as the length of the question does not explain it."""
    before = clock.now()
    theirs = broker.clock().time
    after = clock.now()
    if before <= theirs <= after:
        return 0.0
    return (theirs - (after if theirs > after else before)).total_seconds()


def _asked_for(
    journal: Journal, broker: Broker, orders: Iterable[OrderReport], clock: Clock
) -> tuple[list[OrderReport], frozenset[str], dict[str, datetime]]:
    """Ask for each unfinished order by name that the list does not have; those never sent cannot be there.

    Returns the reports, the names of those absent, and which of these may still arrive until when.
    """
    listed, reports, absent = {report.client_order_id for report in orders}, [], set()
    on_its_way = dict[str, datetime]()
    for order in journal.unfinished():
        name = order.request.client_order_id
        if name in listed or order.status == "new":
            continue
        report = broker.order(name)
        if report is not None:
            reports.append(report)
            continue
        absent.add(name)
        if order.sent_at is not None and clock.now() < order.sent_at + broker.may_arrive_for:
            on_its_way[name] = order.sent_at + broker.may_arrive_for
    return reports, frozenset(absent), on_its_way


def _book(journal: Journal, found: Difference) -> None:
    name = found.client_order_id
    match found.kind:
        case "execution" | "unexplained_fill" if found.execution is not None:
            journal.execution(found.execution)
        case "report" if found.report is not None:
            journal.report(found.report)
        case "never_sent":
            journal.end(name, "cancelled", "never sent")
        case "never_arrived":
            journal.end(name, "expired", "never arrived at the broker")
        case "vanished" | "contradiction":
            _end_adopted(journal, found)
    if found.execution is not None and found.kind in ("foreign_execution", "contradiction"):
        journal.adopt(found.execution)
    if found.movement is not None:
        journal.movement(found.movement)


def _end_adopted(journal: Journal, found: Difference) -> None:
    """End an order that a person took over, so that it is not asked about again."""
    order = journal.order(found.client_order_id)
    if order is not None and not order.is_finished:
        journal.end(found.client_order_id, "expired", f"adopted: {found.kind}")


def _tell(controls: Controls, account: str, found: Iterable[Difference], adopted: tuple[Difference, ...]) -> None:
    for difference in found:
        if difference.reaction == "alert" or difference in adopted:
            word = "adopted: " if difference in adopted else ""
            controls.append_alert("warning", f"reconcile_{difference.kind}", f"{account}: {word}{difference.what}")


def _wait(account: str, waits: tuple[Difference, ...], until: datetime) -> None:
    listed = "; ".join(wait.what for wait in waits)
    hint = f"reconcile again from {until:%H:%M:%S} UTC on; order nothing before"
    raise OutcomeUnknown(f"{account}: {listed}", hint=hint)


def _halt(controls: Controls, account: str, stops: tuple[Difference, ...]) -> None:
    listed = "; ".join(stop.what for stop in stops)
    controls.append_alert("critical", "reconcile", f"{account}: {listed}", {"kinds": [stop.kind for stop in stops]})
    controls.halt(f"{account} is not as our books say: {listed}", "reconcile")
    raise SafetyStop(
        f"{account} is not as our books say: {listed}",
        hint="look at the account; then release the halt and reconcile again, adopting what is right",
    )

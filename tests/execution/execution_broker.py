"""A broker that outlives us: its whole state is one file, replaced as a whole with every change."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from tradewind.execution.brokers.base import (
    AccountReport,
    Execution,
    KnownOrder,
    MarketClock,
    Movement,
    OrderReport,
    OrderRequest,
    OutcomeUnknown,
    Position,
)
from tradewind.execution.journal import Journal, execution_cents

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
REQUESTS = tuple(
    OrderRequest(f"tw-{n}", symbol, side, quantity)  # type: ignore[arg-type]
    for n, (symbol, side, quantity) in enumerate([("AAA", "buy", 10.0), ("BBB", "sell", 4.0), ("AAA", "buy", 2.5)])
)
PRICE = 33.33
START_CENTS = 1_000_000


class FileBroker:
    """Accepts every order; ``loses`` names submissions whose answer is lost, ``drops`` those that never arrive."""

    name: ClassVar[str] = "file"
    may_arrive_for: ClassVar[timedelta] = timedelta(0)
    live = False

    def __init__(self, path: Path, *, loses: Iterable[str] = (), drops: Iterable[str] = ()) -> None:
        self.path, self.loses, self.drops, self.hidden = path, set(loses), set(drops), set[str]()
        self.now, self.blocked, self.recognised = NOON, (), ()
        if not path.exists():
            self._keep({"orders": [], "executions": [], "movements": []})

    def submit(self, request: OrderRequest) -> OrderReport:
        if request.client_order_id in self.drops:
            raise OutcomeUnknown(f"no answer for {request}")
        if self.order(request.client_order_id) is None:
            self.place(request)
        if request.client_order_id in self.loses:
            raise OutcomeUnknown(f"no answer for {request}")
        report = self.order(request.client_order_id)
        assert report is not None
        return report

    def place(self, request: OrderRequest) -> None:
        number = f"b{len(self._all()['orders'])}"
        report = OrderReport(request.client_order_id, number, "accepted", updated=NOON)
        self._change("orders", replace(report, symbol=request.symbol, side=request.side, quantity=request.quantity))

    def fill(self, name: str, share: float = 1.0, *, fee: float = 0.35) -> Execution:
        """Fill a share of an order and book the execution."""
        order = self.order(name)
        assert order is not None
        assert order.quantity is not None
        quantity = order.quantity * share * (1 if order.side == "buy" else -1)
        number = len(self._all()["executions"])
        when = NOON + timedelta(minutes=1 + number)
        execution = Execution(f"x{number}", name, order.symbol, quantity, PRICE, when, fee)
        self._change("executions", execution)
        filled = order.filled_quantity + abs(quantity)
        status = "filled" if filled >= order.quantity else "partially_filled"
        self.set(name, filled_quantity=filled, average_price=PRICE, status=status, updated=when)
        return execution

    def set(self, name: str, **changes: Any) -> None:
        """Change an order's report."""
        state = self._all()
        for row in state["orders"]:
            if row["client_order_id"] == name:
                row.update(_plain(changes))
        self._keep(state)

    def move(self, movement: Movement) -> None:
        self._change("movements", movement)

    def forget(self, kind: str, **where: Any) -> None:
        """Lose rows of one kind."""
        state = self._all()
        state[kind] = [row for row in state[kind] if any(row[k] != v for k, v in where.items())]
        self._keep(state)

    def cancel(self, client_order_id: str) -> OrderReport:
        self.set(client_order_id, status="cancelled")
        report = self.order(client_order_id)
        assert report is not None
        return report

    def order(self, client_order_id: str) -> OrderReport | None:
        return next((r for r in self.orders() if r.client_order_id == client_order_id), None)

    def orders(self, *, open_only: bool = False, since: datetime | None = None) -> list[OrderReport]:
        reports = [OrderReport(**_timed(row, "updated")) for row in self._all()["orders"]]
        return [r for r in reports if r.is_open or not open_only]

    def executions(self, *, since: datetime | None = None) -> list[Execution]:
        return [e for e in self._executions() if e.execution_id not in self.hidden]

    def _executions(self) -> list[Execution]:
        return [Execution(**_timed(row, "time")) for row in self._all()["executions"]]

    def movements(self, *, since: datetime | None = None) -> list[Movement]:
        return [Movement(**_timed(row, "time")) for row in self._all()["movements"]]

    def account(self) -> AccountReport:
        shares, cents = defaultdict[str, float](float), START_CENTS
        for execution in self._executions():
            shares[execution.symbol] += execution.quantity
            cents += execution_cents(execution)
        for movement in self.movements():
            shares[movement.symbol] += movement.quantity
            cents += round(movement.cash * 100)
        held = {symbol: Position(quantity, PRICE) for symbol, quantity in shares.items() if quantity}
        return AccountReport(cents / 100, cents / 100, cents / 100, self.now, held, self.blocked)

    def clock(self) -> MarketClock:
        return MarketClock(self.now)

    def recognise(self, orders: Iterable[KnownOrder]) -> None:
        self.recognised = tuple(orders)

    def close(self) -> None:
        pass

    def _all(self) -> dict[str, list[dict[str, Any]]]:
        return json.loads(self.path.read_text())  # type: ignore[no-any-return]

    def _change(self, kind: str, row: Any) -> None:
        state = self._all()
        state[kind].append(_plain(asdict(row)))
        self._keep(state)

    def _keep(self, state: dict[str, list[dict[str, Any]]]) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps(state))
        fresh.replace(self.path)


def trade(journal: Journal, broker: FileBroker) -> None:
    """Send three orders as the desk would, the broker filling each in two parts, and book what it says."""
    journal.intend(REQUESTS)
    for request in REQUESTS:
        journal.sent(request.client_order_id)
        try:
            journal.report(broker.submit(request))
        except OutcomeUnknown:
            journal.timed_out(request.client_order_id)
    for request in REQUESTS:
        if broker.order(request.client_order_id) is not None:
            journal.execution(broker.fill(request.client_order_id, 0.25))
            journal.execution(broker.fill(request.client_order_id, 0.75))
            journal.report(*(r for r in broker.orders() if r.client_order_id == request.client_order_id))


def dying(die: Callable[[], None], journal: Journal, broker: FileBroker, last: int) -> list[int]:
    """Make journal and broker call ``die`` before the ``last``-th step; return the list that counts the steps."""
    steps: list[int] = []

    def step() -> None:
        steps.append(1)
        if len(steps) == last:
            die()

    def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
        def around(*positional: Any, **named: Any) -> Any:
            step()
            result = function(*positional, **named)
            step()
            return result

        return around

    for thing, names in ((journal, ("intend", "sent", "report", "execution")), (broker, ("submit", "fill"))):
        for name in names:
            setattr(thing, name, wrapped(getattr(thing, name)))
    return steps


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


def _timed(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {**row, name: datetime.fromisoformat(row[name])}

"""What every broker must keep, on a file and on two stand-ins: ask twice, order once, lose nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from broker_markets import NAMES, Market, NetworkMarket, market_of
from execution_broker import START_CENTS
from standin_exchange import NOON

from tradewind.clock import FixedClock
from tradewind.errors import InputError, SafetyStop
from tradewind.execution.brokers.base import BROKERS, Broker, Movement, OrderRequest, OutcomeUnknown
from tradewind.execution.controls import Controls
from tradewind.execution.journal import Journal
from tradewind.execution.reconcile import Reconciliation, reconcile
from tradewind.market.store.records import Records

DEPOSIT = Movement("opening:cash", "opening", NOON - timedelta(days=1), cash=START_CENTS / 100)
BUY = OrderRequest("tw-0", "AAA", "buy", 10.0, decided_at=NOON)
SHORT = OrderRequest("tw-1", "BBB", "sell", 4.0, decided_at=NOON)
REQUESTS = (BUY, SHORT)
STEPS = 15
WITHOUT_LIBRARY = {"alpaca": "alpaca", "schwab": "schwabdev"}


class CrashError(BaseException):
    """Stands for the end of the process."""


@dataclass
class Desk:
    """Everything of one account, and how to look at it."""

    records: Records
    market: Market
    broker: Broker
    now: datetime = NOON

    @property
    def clock(self) -> FixedClock:
        return FixedClock(self.now)

    @property
    def journal(self) -> Journal:
        return Journal(self.records, "contract:one", clock=self.clock)

    @property
    def controls(self) -> Controls:
        return Controls(self.records, clock=self.clock)

    def reconcile(self, **more: Any) -> Reconciliation:
        return reconcile(self.journal, self.broker, self.controls, clock=self.clock, **more)

    def wait(self) -> None:
        """Let so much time pass that nothing sent before can still arrive."""
        self.now += self.broker.may_arrive_for
        self.market.skew((self.now - NOON).total_seconds())

    def settle(self) -> Reconciliation:
        """Reconcile; where an order may still be on its way, wait, and reconcile again."""
        try:
            return self.reconcile()
        except OutcomeUnknown as doubt:
            assert "may still arrive until" in doubt.what
            assert self.broker.may_arrive_for, "a file has it or has it not"
            assert [order.status for order in self.journal.unknown()] != [], "and it stays unknown until then"
            self.wait()
            return self.reconcile()

    def send(self, *requests: OrderRequest) -> None:
        journal = self.journal
        journal.intend(requests)
        for request in requests:
            journal.sent(request.client_order_id)
            try:
                journal.report(self.broker.submit(request))
            except OutcomeUnknown:
                journal.timed_out(request.client_order_id)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return records without a row: made once, copied for each test."""
    path = tmp_path_factory.mktemp("records") / "records.db"
    records = Records(f"sqlite:///{path}")
    records.database.engine  # noqa: B018 - makes the tables
    records.close()
    return path


@pytest.fixture(params=NAMES)
def desk(request: pytest.FixtureRequest, tmp_path: Path, empty: Path) -> Iterator[Desk]:
    if request.param in WITHOUT_LIBRARY:
        pytest.importorskip(WITHOUT_LIBRARY[request.param], reason=f"tradewind[{request.param}] is not installed")
    shutil.copy(empty, tmp_path / "records.db")
    records = Records(f"sqlite:///{tmp_path}/records.db", patience_seconds=0.1)
    records.close()  # a crash of ours alone needs no disk that keeps up
    sa.event.listen(records.database.engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
    market = market_of(request.param, tmp_path)
    made = Desk(records, market, market.start())
    made.journal.movement(DEPOSIT)
    yield made
    market.close()
    records.close()


@pytest.fixture
def network(desk: Desk) -> NetworkMarket:
    if not isinstance(desk.market, NetworkMarket):
        pytest.skip("a file has no network")
    return desk.market


def assert_recovered(desk: Desk) -> None:
    """Nothing lost, nothing doubled, nothing in doubt, and a second look finds nothing more."""
    held, account = desk.journal.replay(), desk.broker.account()
    assert dict(held.positions) == {symbol: p.quantity for symbol, p in account.positions.items()}
    assert held.cash == pytest.approx(account.cash, abs=1e-9)
    assert len({e.execution_id for e in desk.journal.executions()}) == len(desk.journal.executions())
    assert [order.status for order in desk.journal.unknown()] == []
    names = [report.client_order_id for report in desk.broker.orders()]
    assert len(names) == len(set(names))
    for report in desk.broker.orders():
        order = desk.journal.order(report.client_order_id)
        assert order is not None
        assert (order.status, order.filled) == (report.status, pytest.approx(report.filled_quantity))
    assert desk.reconcile().differences == ()
    assert not desk.controls.state().halted


def trade(desk: Desk, step: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Send two orders, the market filling each in two parts, and book what the broker says, step by step."""
    journal, broker, market = desk.journal, desk.broker, desk.market
    step(journal.intend)(REQUESTS)
    for request in REQUESTS:
        step(journal.sent)(request.client_order_id)
        report = step(broker.submit)(request)
        step(journal.report)(report)
    for request in REQUESTS:
        step(market.fill)(request, 1.0)
        step(market.fill)(request)
        step(lambda: desk.journal.execution(*desk.broker.executions()))()
        step(lambda name: desk.journal.report(desk.broker.order(name)))(request.client_order_id)  # type: ignore[arg-type]


def counting(last: int, steps: list[int]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Wrap functions so that the process ends before the ``last``-th of them, after the one before."""

    def tick() -> None:
        steps.append(1)
        if len(steps) == last:
            raise CrashError

    def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
        def around(*positional: Any) -> Any:
            tick()
            return function(*positional)

        return around

    return wrapped


def test_all_three_are_brokers_and_the_two_are_found_by_name(desk: Desk) -> None:
    assert not desk.broker.live
    assert {"alpaca", "schwab"} <= set(BROKERS.names())


def test_a_new_account_has_its_cash_and_nothing_else(desk: Desk) -> None:
    account = desk.broker.account()
    assert (account.cash, account.equity, dict(account.positions)) == (10_000.0, 10_000.0, {})
    assert account.time == NOON
    assert desk.broker.clock().time == NOON
    assert desk.broker.orders() == []
    assert desk.broker.executions() == []
    assert desk.broker.order("tw-0") is None


def test_ordering_twice_is_ordering_once(desk: Desk) -> None:
    first = desk.broker.submit(BUY)
    again = desk.broker.submit(BUY)
    assert first.broker_order_id == again.broker_order_id != ""
    assert first.status == "accepted"
    assert (first.symbol, first.side, first.quantity) == ("AAA", "buy", 10.0)
    assert len(desk.broker.orders()) == 1


def test_partial_fills_sum_to_the_whole(desk: Desk) -> None:
    desk.broker.submit(BUY)
    for part, status in ((1.0, "partially_filled"), (3.0, "partially_filled"), (None, "filled")):
        desk.market.fill(BUY, part)
        report = desk.broker.order("tw-0")
        assert report is not None
        assert report.status == status
    executions = desk.broker.executions()
    assert [e.quantity for e in executions] == [1.0, 3.0, 6.0]
    assert {e.client_order_id for e in executions} == {"tw-0"}
    assert {e.execution_id for e in executions} == {e.execution_id for e in desk.broker.executions()}
    assert report.filled_quantity == sum(e.quantity for e in executions)
    assert report.average_price == pytest.approx(33.33)
    assert desk.broker.account().positions["AAA"].quantity == 10.0


def test_a_short_sale_is_negative_everywhere(desk: Desk) -> None:
    desk.broker.submit(SHORT)
    desk.market.fill(SHORT)
    assert [e.quantity for e in desk.broker.executions()] == [-4.0]
    assert desk.broker.account().positions["BBB"].quantity == -4.0


def test_a_lost_answer_is_unknown_and_asking_resolves_it(desk: Desk) -> None:
    desk.market.lose()
    with pytest.raises(OutcomeUnknown):
        desk.broker.submit(BUY)
    report = desk.broker.order("tw-0")
    assert report is not None
    assert report.is_open
    assert desk.broker.submit(BUY).broker_order_id == report.broker_order_id
    assert len(desk.broker.orders()) == 1


def test_an_order_that_never_arrived_is_not_there(desk: Desk) -> None:
    desk.market.drop()
    with pytest.raises(OutcomeUnknown):
        desk.broker.submit(BUY)
    assert desk.broker.order("tw-0") is None
    assert desk.broker.orders() == []


def test_both_unknown_outcomes_are_settled_by_reconciling(desk: Desk) -> None:
    desk.market.lose()
    desk.market.drop()
    desk.send(BUY, SHORT)
    assert [order.status for order in desk.journal.orders()] == ["unknown", "unknown"]
    desk.broker = desk.market.start()
    assert {d.kind: d.client_order_id for d in desk.settle().differences}["never_arrived"] == "tw-1"
    assert [order.status for order in desk.journal.orders()] == ["accepted", "expired"]
    assert desk.reconcile().differences == ()


def test_nothing_is_settled_while_an_order_may_still_arrive(network: NetworkMarket, desk: Desk) -> None:
    desk.market.drop()
    desk.send(BUY)
    desk.market.drop()
    desk.send(SHORT)
    desk.broker = desk.market.start()
    desk.now += desk.broker.may_arrive_for - timedelta(seconds=1)
    desk.market.skew((desk.now - NOON).total_seconds())
    with pytest.raises(OutcomeUnknown, match="was sent and may still arrive until") as doubt:
        desk.reconcile()
    assert "order nothing before" in doubt.value.hint
    network.arrive(BUY)
    with pytest.raises(OutcomeUnknown, match="BBB"):
        desk.reconcile()
    assert [order.status for order in desk.journal.orders()] == ["accepted", "unknown"], "what came is booked"
    assert not desk.controls.state().halted
    desk.wait()
    desk.reconcile()
    assert [order.status for order in desk.journal.orders()] == ["accepted", "expired"]


def test_an_order_that_arrives_after_it_was_given_up_stops_trading(network: NetworkMarket, desk: Desk) -> None:
    desk.market.drop()
    desk.send(BUY)
    desk.settle()
    assert [order.status for order in desk.journal.orders()] == ["expired"]
    network.arrive(BUY)
    with pytest.raises(SafetyStop, match=r"was expired and is accepted|an open order that is not ours"):
        desk.reconcile()


def test_a_cancelled_order_keeps_what_was_filled(desk: Desk) -> None:
    desk.broker.submit(BUY)
    desk.market.fill(BUY, 4.0)
    report = desk.broker.cancel("tw-0")
    assert (report.status, report.filled_quantity) == ("cancelled", 4.0)


def test_an_order_that_nobody_sent_cannot_be_cancelled(network: NetworkMarket, desk: Desk) -> None:
    with pytest.raises(InputError, match="has no order 'tw-9'"):
        desk.broker.cancel("tw-9")


def test_a_fill_that_beats_its_cancellation_is_a_fill(network: NetworkMarket, desk: Desk) -> None:
    desk.send(BUY)
    desk.market.fill(BUY, 4.0)
    network.standin.meanwhile["DELETE"] = lambda: network.fill(BUY)
    desk.journal.cancel_asked("tw-0")
    report = desk.broker.cancel("tw-0")
    assert (report.status, report.filled_quantity) == ("filled", 10.0)
    assert desk.broker.cancel("tw-0").status == "filled"
    desk.journal.report(report)
    desk.reconcile()
    assert_recovered(desk)


def test_a_lost_answer_to_a_cancellation_is_unknown(network: NetworkMarket, desk: Desk) -> None:
    desk.broker.submit(BUY)
    network.standin.fail("after", "DELETE")
    with pytest.raises(OutcomeUnknown):
        desk.broker.cancel("tw-0")
    report = desk.broker.order("tw-0")
    assert report is not None
    assert report.status == "cancelled"


def test_a_quiet_day_is_booked_and_then_there_is_nothing_more(desk: Desk) -> None:
    steps: list[int] = []
    trade(desk, counting(0, steps))
    assert len(steps) == STEPS
    assert {d.kind for d in desk.reconcile().differences} <= {"movement"}  # fees that networks tell later
    assert_recovered(desk)


@pytest.mark.parametrize("last", range(1, STEPS + 1))
def test_whatever_the_step_a_crash_loses_and_doubles_nothing(desk: Desk, last: int) -> None:
    with pytest.raises(CrashError):
        trade(desk, counting(last, []))
    desk.broker = desk.market.start()
    desk.settle()
    assert_recovered(desk)
    for request in REQUESTS:
        order = desk.journal.order(request.client_order_id)
        if order is not None and order.is_open:
            desk.market.fill(request)
    desk.reconcile()
    assert_recovered(desk)


def test_dividends_and_splits_are_booked_once(desk: Desk) -> None:
    desk.send(BUY)
    desk.market.fill(BUY)
    desk.market.move("AAA", 0.0, 12.34, told=True)
    desk.market.move("AAA", 10.0, 0.0, told=True)
    assert [d.kind for d in desk.reconcile().differences if d.kind == "movement"][:2] == ["movement"] * 2
    assert_recovered(desk)
    assert desk.journal.replay().positions["AAA"] == 20.0


HAPPENED: dict[str, tuple[Callable[[Market], None], str]] = {
    "foreign_order": (lambda market: market.stranger(filled=False), "an open order that is not ours"),
    "foreign_execution": (lambda market: market.stranger(filled=True), r"not ours: \+1 CCC at 33.33"),
    "position": (lambda market: market.move("DDD", 7.0, 0.0, told=False), "DDD: the broker holds 7, our books 0"),
    "cash": (lambda market: market.move("", 0.0, -500.0, told=False), "cash: the broker has 9,500.00"),
    "vanished": (lambda market: market.forget(BUY), "was accepted and the broker has it no more"),
    "clock": (lambda market: market.skew(90), r"clock is \+90.0 s away"),
}


@pytest.mark.parametrize("kind", HAPPENED)
def test_truth_that_our_books_do_not_explain_halts(desk: Desk, kind: str) -> None:
    happened, message = HAPPENED[kind]
    desk.send(BUY)
    happened(desk.market)
    with pytest.raises(SafetyStop, match=message):
        desk.reconcile()
    assert desk.controls.state().halted
    assert kind in desk.controls.alerts()[0].detail["kinds"]

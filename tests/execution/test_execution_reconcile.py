"""After a crash the broker's truth comes first: nothing lost, nothing doubled, a stop where books do not explain."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from execution_broker import NOON, REQUESTS, START_CENTS, FileBroker, dying, trade

from tradewind.clock import FixedClock
from tradewind.errors import RetryError, SafetyStop
from tradewind.execution.brokers.base import Broker, Movement, OrderRequest
from tradewind.execution.controls import Controls
from tradewind.execution.journal import Journal
from tradewind.execution.reconcile import Reconciliation, reconcile
from tradewind.market.store.records import Records

SCRIPT = Path(__file__).with_name("trade_and_die.py")
STEPS = 50
DEPOSIT = Movement("opening:cash", "opening", NOON - timedelta(days=1), cash=START_CENTS / 100)


class CrashError(BaseException):
    """Stands for the end of the process."""


@dataclass
class Desk:
    """Everything of one account, and how to look at it."""

    records: Records
    broker: FileBroker

    @property
    def journal(self) -> Journal:
        return Journal(self.records, "file:one", clock=FixedClock(NOON))

    @property
    def controls(self) -> Controls:
        return Controls(self.records, clock=FixedClock(NOON))

    def reconcile(self, **more: Any) -> Reconciliation:
        return reconcile(self.journal, self.broker, self.controls, clock=FixedClock(NOON), **more)

    def assert_same(self) -> None:
        held, account = self.journal.replay(), self.broker.account()
        assert dict(held.positions) == {symbol: p.quantity for symbol, p in account.positions.items()}
        assert held.cash == pytest.approx(account.cash, abs=1e-9)
        assert len({e.execution_id for e in self.journal.executions()}) == len(self.journal.executions())


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    records = Records(f"sqlite:///{tmp_path}/records.db", patience_seconds=0.1)
    records.close()  # a crash of ours alone needs no disk that keeps up: `kill -9` has a test of its own
    sa.event.listen(records.database.engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
    made = Desk(records, FileBroker(tmp_path / "broker.json"))
    made.journal.movement(DEPOSIT)
    yield made
    records.close()


def assert_recovered(desk: Desk) -> None:
    """Nothing lost, nothing doubled, nothing in doubt, and a second look finds nothing more."""
    desk.assert_same()
    assert [order.status for order in desk.journal.unknown()] == []
    names = [report.client_order_id for report in desk.broker.orders()]
    assert len(names) == len(set(names))
    for report in desk.broker.orders():
        order = desk.journal.order(report.client_order_id)
        assert order is not None
        assert (order.status, order.filled) == (report.status, pytest.approx(report.filled_quantity))
    assert desk.reconcile().differences == ()
    assert not desk.controls.state().halted


def test_a_quiet_day_leaves_nothing_to_reconcile(desk: Desk) -> None:
    journal, steps = desk.journal, []
    steps = dying(lambda: None, journal, desk.broker, 0)
    trade(journal, desk.broker)
    assert len(steps) == STEPS
    assert desk.reconcile().differences == ()
    assert_recovered(desk)


@pytest.mark.parametrize("last", range(1, STEPS + 1))
def test_whatever_the_step_a_crash_loses_and_doubles_nothing(desk: Desk, last: int) -> None:
    def crash() -> None:
        raise CrashError

    journal, broker = desk.journal, FileBroker(desk.broker.path)
    dying(crash, journal, broker, last)
    with pytest.raises(CrashError):
        trade(journal, broker)
    desk.reconcile()
    assert_recovered(desk)
    for report in desk.broker.orders(open_only=True):
        desk.broker.fill(report.client_order_id, 1.0 - report.filled_quantity / (report.quantity or 1.0))
    desk.reconcile()
    assert_recovered(desk)


@pytest.mark.skipif(os.name == "nt", reason="there is no kill -9 on Windows")
@pytest.mark.parametrize("last", [6, 22, 40])
def test_killed_for_good_the_next_start_finds_everything(tmp_path: Path, last: int) -> None:
    command = [sys.executable, "-B", str(SCRIPT), str(tmp_path), str(last)]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    records = Records(f"sqlite:///{tmp_path}/records.db")
    desk = Desk(records, FileBroker(tmp_path / "broker.json"))
    desk.journal.movement(DEPOSIT)
    assert records.check() == []
    desk.reconcile()
    assert_recovered(desk)
    records.close()


def test_an_answer_that_was_lost_is_found_by_the_client_id(desk: Desk) -> None:
    desk.broker.loses, desk.broker.drops = {"tw-0"}, {"tw-1"}
    desk.journal.intend(REQUESTS)
    for request in REQUESTS[:2]:
        desk.journal.sent(request.client_order_id)
        with pytest.raises(RetryError):
            desk.broker.submit(request)
        desk.journal.timed_out(request.client_order_id)
    found = {d.kind: d.client_order_id for d in desk.reconcile().differences}
    assert found == {"report": "tw-0", "never_arrived": "tw-1", "never_sent": "tw-2"}
    statuses = [order.status for order in desk.journal.orders()]
    assert statuses == ["accepted", "expired", "cancelled"]
    assert [known.request for known in desk.broker.recognised] == list(REQUESTS)


def test_empty_books_begin_with_what_the_broker_has(tmp_path: Path) -> None:
    records, broker = Records(f"sqlite:///{tmp_path}/records.db"), FileBroker(tmp_path / "broker.json")
    broker.place(REQUESTS[0])
    broker.fill("tw-0")
    broker.now = NOON + timedelta(hours=1)
    desk = Desk(records, broker)
    found = reconcile(desk.journal, broker, desk.controls, clock=FixedClock(broker.now))
    assert [d.kind for d in found.differences] == ["opening", "opening"]
    assert dict(found.holdings.positions) == {"AAA": 10.0}
    desk.assert_same()
    again = reconcile(desk.journal, broker, desk.controls, clock=FixedClock(broker.now))
    assert again.differences == (), "fills before the opening are in it already"
    records.close()


def test_dividends_and_splits_that_the_broker_tells_are_booked_once(desk: Desk) -> None:
    trade(desk.journal, desk.broker)
    desk.broker.move(Movement("d1", "dividend", NOON, "AAA", cash=12.34))
    desk.broker.move(Movement("s1", "split", NOON, "AAA", quantity=12.5))
    assert [d.kind for d in desk.reconcile().differences] == ["movement", "movement"]
    assert_recovered(desk)
    assert desk.journal.replay().positions["AAA"] == 25.0


def stranger(broker: FileBroker) -> None:
    broker.place(OrderRequest("someone", "CCC", "buy", 1.0))


def strange_fill(broker: FileBroker) -> None:
    stranger(broker)
    broker.fill("someone")


def more_shares(broker: FileBroker) -> None:
    broker.move(Movement("opening", "gift", NOON - timedelta(days=9), "DDD", quantity=7.0))


def less_cash(broker: FileBroker) -> None:
    broker.move(Movement("opening", "theft", NOON - timedelta(days=9), cash=-500.0))


def vanished(broker: FileBroker) -> None:
    broker.forget("orders", client_order_id="tw-0")


def overfilled(broker: FileBroker) -> None:
    broker.fill("tw-0", 0.5)
    broker.fill("tw-0", 0.75)


def rejected_and_filled(broker: FileBroker) -> None:
    broker.fill("tw-0", 0.5)
    broker.set("tw-0", status="rejected")


def claimed_only(broker: FileBroker) -> None:
    broker.hidden.add(broker.fill("tw-0", 0.4, fee=0.0).execution_id)


STOPS: dict[Callable[[FileBroker], None], tuple[str, str]] = {
    stranger: ("foreign_order", r"not ours: someone: buy 1.0 CCC"),
    strange_fill: ("foreign_execution", r"not ours: \+1 CCC at 33.33"),
    more_shares: ("position", "DDD: the broker holds 7, our books 0"),
    less_cash: ("cash", r"cash: the broker has 9,500.00, our books 10,000.00"),
    vanished: ("vanished", "was accepted and the broker has it no more"),
    overfilled: ("contradiction", "more than was ordered"),
    rejected_and_filled: ("contradiction", "was rejected"),
    claimed_only: ("unexplained_fill", "4 more are filled than there are executions for"),
}


@pytest.mark.parametrize("happened", STOPS)
def test_what_our_books_do_not_explain_stops_trading_until_it_is_adopted(
    desk: Desk, happened: Callable[[FileBroker], None]
) -> None:
    kind, message = STOPS[happened]
    desk.journal.intend(REQUESTS[:1])
    desk.journal.sent("tw-0")
    desk.journal.report(desk.broker.submit(REQUESTS[0]))
    happened(desk.broker)
    with pytest.raises(SafetyStop, match=message):
        desk.reconcile()
    state = desk.controls.state()
    assert state.halted
    assert kind in desk.controls.alerts()[0].detail["kinds"]
    with pytest.raises(SafetyStop, match=message):
        desk.reconcile()
    adopted = desk.reconcile(adopt=True).adopted
    assert kind in {d.kind for d in adopted}
    assert desk.controls.state().halted, "adopting is not releasing"
    desk.assert_same()
    if happened is not stranger:
        assert desk.reconcile().adopted == ()


def test_an_order_that_lives_on_after_its_end_stops_trading(desk: Desk) -> None:
    desk.journal.intend(REQUESTS[:1])
    desk.journal.sent("tw-0")
    desk.reconcile()
    assert [order.status for order in desk.journal.orders()] == ["expired"]
    desk.broker.submit(REQUESTS[0])  # the message was on its way for a long time
    with pytest.raises(SafetyStop, match="was expired and is accepted"):
        desk.reconcile()


def test_everything_explained_is_booked_even_where_trading_stops(desk: Desk) -> None:
    desk.journal.intend(REQUESTS[:1])
    desk.journal.sent("tw-0")
    desk.broker.submit(REQUESTS[0])
    desk.broker.fill("tw-0")
    more_shares(desk.broker)
    with pytest.raises(SafetyStop):
        desk.reconcile()
    assert dict(desk.journal.replay().positions) == {"AAA": 10.0}
    assert [order.status for order in desk.journal.orders()] == ["filled"]


@pytest.mark.parametrize("seconds", [-90.0, -5.0, 1.0, 5.0, 90.0])
def test_clocks_that_disagree_alert_and_then_stop(desk: Desk, seconds: float) -> None:
    desk.broker.now = NOON + timedelta(seconds=seconds)
    if abs(seconds) > 30:
        for adopt in (False, True):
            with pytest.raises(SafetyStop, match=re.escape(f"clock is {seconds:+.1f} s")):
                desk.reconcile(adopt=adopt)
        return
    found = desk.reconcile()
    assert found.skew_seconds == seconds
    assert [d.kind for d in found.differences] == (["clock"] if abs(seconds) > 2 else [])
    assert len(desk.controls.alerts()) == len(found.differences)
    assert not desk.controls.state().halted


class SlowClock:
    """A clock that goes on by ten seconds with each look."""

    def __init__(self) -> None:
        self.instant = NOON

    def now(self) -> datetime:
        self.instant += timedelta(seconds=10)
        return self.instant


@pytest.mark.parametrize(("theirs", "skew"), [(15, -5.0), (20, 0.0), (25, 0.0), (30, 0.0), (35, 5.0)])
def test_the_time_that_the_question_took_is_no_skew(desk: Desk, theirs: int, skew: float) -> None:
    desk.broker.now = NOON + timedelta(seconds=theirs)  # asked between our 20 and our 30
    assert reconcile(desk.journal, desk.broker, desk.controls, clock=SlowClock()).skew_seconds == skew


def test_what_the_account_may_not_do_is_told(desk: Desk) -> None:
    desk.broker.blocked = ("shorting_blocked",)
    assert [d.what for d in desk.reconcile().differences] == ["the broker says shorting_blocked"]
    assert "shorting_blocked" in desk.controls.alerts()[0].what


def test_an_account_that_does_not_stand_still_is_asked_again_later(desk: Desk) -> None:
    desk.broker.place(REQUESTS[0])
    honest = desk.broker.account

    def busy() -> Any:
        seen = honest()
        desk.broker.fill("tw-0", 0.01)
        return seen

    desk.broker.account = busy  # type: ignore[method-assign]
    with pytest.raises(RetryError, match="was filling all the while"):
        desk.reconcile()
    assert desk.journal.executions() == []


def test_small_change_is_not_worth_a_stop(desk: Desk) -> None:
    desk.broker.move(Movement("fee", "fee", NOON - timedelta(days=9), cash=-0.99))
    assert desk.reconcile().differences == ()


def test_the_file_broker_is_a_broker(desk: Desk) -> None:
    broker: Broker = desk.broker
    assert not broker.live

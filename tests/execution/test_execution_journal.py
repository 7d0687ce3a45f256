"""The journal: what was meant is written down first, what happened is booked once, and nothing is ever changed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from tradewind.clock import FixedClock
from tradewind.errors import BugError, DataError, InputError, SafetyStop
from tradewind.execution.brokers.base import Execution, Movement, OrderReport, OrderRequest
from tradewind.execution.controls import Controls
from tradewind.execution.journal import Journal, execution_cents
from tradewind.market.store import schema
from tradewind.market.store.records import Records

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
BUY = OrderRequest("tw-1", "AAA", "buy", 10.0, sleeve="swing", decided_at=NOON)
SELL = OrderRequest("tw-2", "BBB", "sell", 4.0, "stop_limit", "gtc", limit=49.0, stop=50.0, reduce_only=True)


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    opened = Records(f"sqlite:///{tmp_path}/records.db", patience_seconds=0.1)
    yield opened
    opened.close()


@pytest.fixture
def journal(records: Records) -> Journal:
    return Journal(records, "paper:one", clock=FixedClock(NOON))


def fill(quantity: float, name: str = "x1", order: str = "tw-1", symbol: str = "AAA", price: float = 50.0) -> Execution:
    return Execution(name, order, symbol, quantity, price, NOON + timedelta(minutes=5), fee=0.35)


def test_an_order_comes_back_as_it_was_meant(journal: Journal, records: Records) -> None:
    meant = journal.intend([BUY, SELL])
    again = Journal(records, "paper:one")
    assert again.unfinished() == meant
    assert [order.request for order in again.orders()] == [BUY, SELL]
    assert {order.status for order in meant} == {"new"}


def test_meaning_it_twice_is_meaning_it_once(journal: Journal) -> None:
    journal.intend([BUY])
    journal.sent("tw-1")
    [standing] = journal.intend([BUY])
    assert standing.status == "sending", "only what is new has to be sent"
    assert len(journal.orders()) == 1
    with pytest.raises(BugError, match="tw-1 stands for"):
        journal.intend([replace(BUY, quantity=11.0)])


def test_a_life_is_the_fold_of_what_was_written(journal: Journal, records: Records) -> None:
    journal.intend([BUY])
    journal.sent("tw-1")
    journal.timed_out("tw-1")
    assert [order.request for order in journal.unknown()] == [BUY]
    journal.report(OrderReport("tw-1", "b1", "partially_filled", 4.0, 50.0))
    journal.execution(fill(4.0))
    journal.cancel_asked("tw-1")
    journal.cancel_refused("tw-1", "too late")
    journal.cancel_asked("tw-1")
    [order] = Journal(records, "paper:one").open_orders()
    assert (order.status, order.filled, order.cancels_asked, order.cancels_refused) == ("cancelling", 4.0, 2, 1)
    journal.report(OrderReport("tw-1", "b1", "cancelled", 4.0, 50.0, reason="as asked"))
    assert journal.unfinished() == []
    [order] = journal.orders()
    assert (order.status, order.reason, order.sent_at, order.broker_order_id) == ("cancelled", "as asked", NOON, "b1")


def test_the_same_news_twice_is_written_once(journal: Journal, records: Records) -> None:
    journal.intend([BUY])
    for _ in range(3):
        journal.sent("tw-1")
        journal.report(OrderReport("tw-1", "b1", "partially_filled", 4.0, updated=NOON))
        assert journal.execution(fill(4.0), fill(4.0)) in ([fill(4.0)], [])
    with records.database.reading() as connection:
        counts = [connection.execute(sa.select(sa.func.count()).select_from(t)).scalar() for t in
                  (schema.order_events, schema.executions)]  # fmt: skip
    assert counts == [3, 1]
    assert journal.replay().positions == {"AAA": 4.0}


def test_the_database_itself_refuses_an_execution_twice(journal: Journal, records: Records) -> None:
    journal.intend([BUY])
    journal.execution(fill(4.0))
    with records.database.reading() as connection:
        row = dict(connection.execute(sa.select(schema.executions)).mappings().one())
    del row["id"]
    with pytest.raises(sa.exc.IntegrityError, match="UNIQUE"), records.database.writing() as connection:
        connection.execute(sa.insert(schema.executions).values(row))


def test_cash_and_positions_add_up_whatever_the_sequence(journal: Journal, records: Records) -> None:
    journal.intend([replace(BUY, quantity=100.0), replace(SELL, quantity=100.0)])
    fills = [fill(0.1, f"x{n}", price=33.33) for n in range(9)] + [fill(-3.0, "y", "tw-2", "BBB", 10.01)]
    deposit = Movement("m1", "deposit", NOON, cash=1000.0)
    split = Movement("m2", "split", NOON, symbol="BBB", quantity=-3.0)
    journal.movement(deposit, split)
    assert journal.movement(deposit) == []
    assert journal.movements() == [deposit, split]
    journal.execution(*fills)
    held = journal.replay()
    assert dict(held.positions) == {"AAA": 0.9, "BBB": -6.0}
    assert held.cash_cents == 100_000 + sum(map(execution_cents, fills))
    other = Journal(records, "paper:two")
    other.intend([replace(BUY, quantity=100.0), replace(SELL, quantity=100.0)])
    other.execution(*reversed(fills))
    other.movement(split, deposit)
    assert other.replay() == held, "and accounts do not mix"
    assert len(journal.executions()) == len(other.executions()) == len(fills)


def test_a_contradiction_books_nothing_of_its_batch(journal: Journal) -> None:
    journal.intend([BUY, SELL])
    with pytest.raises(SafetyStop, match="more than was ordered"):
        journal.execution(fill(-1.0, "y", "tw-2", "BBB"), fill(8.0), fill(8.0, "x2"))
    with pytest.raises(SafetyStop, match="not ours"):
        journal.execution(fill(1.0), fill(1.0, "z", "elsewhere"))
    assert journal.executions() == []


def test_a_stranger_is_booked_only_when_adopted(journal: Journal) -> None:
    stranger = fill(1.0, "z", "")
    assert journal.adopt(stranger) == [stranger]
    assert journal.adopt(stranger) == []
    assert journal.replay().positions == {"AAA": 1.0}


def test_things_cannot_happen_to_orders_that_were_never_meant(journal: Journal) -> None:
    with pytest.raises(BugError, match="never intended"):
        journal.sent("tw-9")


def test_what_is_done_together_is_stored_together(journal: Journal) -> None:
    journal.intend([BUY])
    with pytest.raises(RuntimeError), journal.together():
        journal.sent("tw-1")
        journal.execution(fill(4.0))
        journal.mark(NOON, 1.0, 2.0)
        assert journal.replay().positions == {"AAA": 4.0}
        raise RuntimeError
    assert journal.replay().positions == {}
    assert journal.marks() == []
    assert journal.unfinished()[0].status == "new"
    with journal.together():
        journal.execution(fill(4.0))
    assert journal.replay().positions == {"AAA": 4.0}


def test_many_orders_at_once_come_back_in_their_sequence(journal: Journal) -> None:
    many = [replace(BUY, client_order_id=f"tw-{n}") for n in range(1_203)]
    journal.intend(many)
    journal.sent(*(request.client_order_id for request in many))
    assert [order.request for order in journal.unknown()] == many


def test_marks_keep_the_first_word_on_a_moment(journal: Journal) -> None:
    journal.mark(NOON, 100.005, 200.0, {"gross": 0.5})
    journal.mark(NOON, 1.0, 1.0)
    [mark] = journal.marks()
    assert (mark.equity_cents, mark.detail) == (20_000, {"gross": 0.5})
    assert journal.marks(since=NOON + timedelta(seconds=1)) == []


def test_the_newest_book_comes_back_and_two_are_kept(journal: Journal, records: Records) -> None:
    assert journal.latest_book() is None
    for bar in range(5):
        digest = journal.save_book(bytes([bar]) * 9, NOON + timedelta(days=bar), bar)
    saved = journal.latest_book()
    assert saved is not None
    assert (saved.bar, saved.state, saved.digest) == (4, b"\x04" * 9, digest)
    table = schema.paper_books
    with records.database.writing() as connection:
        assert connection.execute(sa.select(table.c.bar).order_by(table.c.bar)).scalars().all() == [3, 4]
        connection.execute(sa.update(table).where(table.c.bar == 4).values(state=b"bent"))
    with pytest.raises(DataError, match="bar 4 is damaged"):
        journal.latest_book()


def test_a_broker_without_client_ids_is_told_what_we_know(journal: Journal) -> None:
    journal.intend([BUY, SELL])
    journal.sent("tw-1")
    journal.report(OrderReport("tw-1", "b1", "filled", 10.0))
    known = {one.request.client_order_id: (one.broker_order_id, one.sent_at) for one in journal.known()}
    assert known == {"tw-1": ("b1", NOON), "tw-2": ("", None)}
    assert [one.request for one in journal.known(since=NOON + timedelta(days=1))] == [SELL]


def test_fills_no_market_could_have_made_are_refused() -> None:
    for quantity, price in itertools.product((0.0, float("nan"), 1.0), (-1.0, float("inf"))):
        with pytest.raises(DataError, match="no fill looks like this"):
            fill(quantity, price=price)


def test_a_halt_lasts_until_it_is_released(records: Records) -> None:
    controls = Controls(records, clock=FixedClock(NOON))
    assert not controls.state().halted
    controls.require_released()
    with pytest.raises(InputError, match="not halted"):
        controls.release("why not", "me")
    controls.halt("loss of the day", "limits")
    controls.halt("and I do not like it", "me")
    after_restart = Controls(records)
    state = after_restart.state()
    assert (state.halted, state.since, state.by) == (True, NOON, "limits")
    assert state.reasons == ("loss of the day", "and I do not like it")
    with pytest.raises(SafetyStop, match="loss of the day; and I do not like it"):
        after_restart.require_released()
    after_restart.release("looked at it", "me")
    assert not controls.state().halted
    assert [change.action for change in controls.history()] == ["halt", "halt", "release"]
    with pytest.raises(InputError, match="needs a reason"):
        controls.halt(" ", "me")


def test_alerts_come_back_newest_first(records: Records) -> None:
    controls = Controls(records, clock=FixedClock(NOON))
    first = controls.append_alert("warning", "var", "5.2 % above 5 %", {"var": 0.052})
    second = controls.append_alert("critical", "halt", "stopped")
    assert controls.alerts() == [second, first]
    assert controls.alerts(limit=1) == [second]
    assert controls.alerts(since=NOON + timedelta(seconds=1)) == []
    with pytest.raises(InputError, match="criticl"):
        controls.append_alert("criticl", "x", "y")  # type: ignore[arg-type]

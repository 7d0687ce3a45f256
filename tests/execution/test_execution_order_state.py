"""The state of an order: the same end whatever the sequence of what becomes known, and a stop where that cannot be."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.errors import InputError, SafetyStop
from tradewind.execution.brokers.base import FINISHED, OPEN, Execution, OrderReport, OrderRequest
from tradewind.execution.order_state import (
    TRANSITIONS,
    OrderEvent,
    OrderState,
    apply,
    apply_all,
    client_order_id,
    event_of_execution,
    events_of_report,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
BUY = OrderRequest("tw-1", "AAA", "buy", 10.0)
SELL = OrderRequest("tw-2", "AAA", "sell", 10.0, kind="limit", limit=50.0)


def at(minutes: int) -> datetime:
    return NOON + timedelta(minutes=minutes)


def event(kind: Any, minutes: int = 0, **more: Any) -> OrderEvent:
    return OrderEvent(kind, at(minutes), **more)


def fill(quantity: float, name: str = "x1", minutes: int = 5, price: float = 50.0, **more: Any) -> OrderEvent:
    return event_of_execution(Execution(name, "tw-1", "AAA", quantity, price, at(minutes), **more))


def state(*events: OrderEvent, request: OrderRequest = BUY) -> OrderState:
    return apply_all(OrderState(request), events)


SENT, LATE, TAKEN = event("sent"), event("timed_out", 1), event("accepted", 2, broker_order_id="b1")

LIVES = [
    ("new", ()),
    ("sending", (SENT,)),
    ("unknown", (SENT, LATE)),
    ("accepted", (SENT, TAKEN)),
    ("accepted", (SENT, LATE, TAKEN)),
    ("partially_filled", (SENT, TAKEN, fill(4.0))),
    ("partially_filled", (SENT, TAKEN, event("reported", 5, filled=4.0))),
    ("filled", (SENT, TAKEN, fill(4.0), fill(6.0, "x2"))),
    ("filled", (fill(10.0),)),
    ("cancelling", (SENT, TAKEN, event("cancel_asked", 3))),
    ("accepted", (SENT, TAKEN, event("cancel_asked", 3), event("cancel_refused", 4))),
    ("cancelling", (SENT, TAKEN, event("cancel_asked"), event("cancel_refused"), event("cancel_asked", number=2))),
    ("cancelled", (SENT, TAKEN, event("cancel_asked", 3), event("cancelled", 4))),
    ("cancelled", (event("cancelled", 4, reason="never sent"),)),
    ("cancelled", (SENT, TAKEN, fill(4.0), event("cancelled", 9))),
    ("filled", (SENT, TAKEN, event("cancel_asked", 3), event("cancelled", 4), fill(10.0))),
    ("expired", (SENT, TAKEN, event("expired", 9))),
    ("rejected", (SENT, event("rejected", 1, reason="no buying power"))),
    ("rejected", (SENT, TAKEN, event("rejected", 9, reason="not at the open"))),
]


@pytest.mark.parametrize(("end", "life"), LIVES)
def test_a_life_ends_where_it_should_in_whatever_sequence_it_becomes_known(
    end: str, life: tuple[OrderEvent, ...]
) -> None:
    expected = state(*life)
    assert expected.status == end
    for order in itertools.permutations(life):
        assert state(*order) == expected


def test_every_status_has_its_line_in_the_table_and_finished_ones_lead_nowhere_new() -> None:
    assert {end for end, _ in LIVES} == set(TRANSITIONS)
    assert all(following <= set(TRANSITIONS) for following in TRANSITIONS.values())
    assert all(TRANSITIONS[status] <= {"filled"} for status in FINISHED)


@st.composite
def lives(draw: st.DrawFn) -> tuple[OrderRequest, list[OrderEvent]]:
    """Draw what happens to one order, in the sequence in which it happens."""
    request = draw(st.sampled_from([BUY, SELL]))
    sign = 1 if request.side == "buy" else -1
    events = [SENT] + ([LATE] if draw(st.booleans()) else [])
    if draw(st.booleans()) and draw(st.booleans()):
        return request, [*events, event("rejected", 3, reason=draw(st.sampled_from(["no cash", "halted", ""])))]
    events.append(TAKEN)
    parts = draw(st.lists(st.integers(1, 2_500_000), max_size=4))
    for n, millionths in enumerate(parts):
        events.append(fill(sign * millionths / 1e6, f"x{n}", 4 + n, price=draw(st.floats(1, 99)), fee=0.01 * n))
        if draw(st.booleans()):
            events.append(event("reported", 4 + n, filled=sum(parts[: n + 1]) / 1e6))
        if draw(st.booleans()):
            events.append(event("cancel_asked", 4 + n, number=n + 1))
            if draw(st.booleans()):
                events.append(event("cancel_refused", 4 + n, number=n + 1))
    if draw(st.booleans()):
        events.append(event(draw(st.sampled_from(["cancelled", "expired"])), 20, reason="as asked"))
    return request, events


@given(lives(), st.randoms(use_true_random=False))
def test_late_double_and_shuffled_messages_end_in_the_same_state(life: Any, chance: Any) -> None:
    request, events = life
    messy = [*events, *chance.choices(events, k=len(events))]
    chance.shuffle(messy)
    expected = state(*events, request=request)
    assert state(*messy, request=request) == expected
    known = {e.execution.execution_id: e.execution.quantity for e in events if e.execution}
    assert expected.filled == pytest.approx(sum(abs(q) for q in known.values()), abs=1e-12)


@given(lives())
def test_every_step_of_a_life_is_in_the_table(life: Any) -> None:
    request, events = life
    order = OrderState(request)
    for one in events:
        after = apply(order, one)
        assert after.status == order.status or after.status in TRANSITIONS[order.status]
        assert 0 <= after.remaining <= request.quantity
        order = after


def test_the_same_execution_twice_changes_nothing() -> None:
    once = state(SENT, TAKEN, fill(4.0))
    assert apply(once, fill(4.0)) == once


CONTRADICTIONS = {
    "more than was ordered": (TAKEN, fill(6.0), fill(5.0, "x2")),
    "more than was ordered by report": (TAKEN, event("reported", filled=10.5)),
    "rejected and yet": (event("rejected", reason="no"), fill(1.0)),
    "one id, two contents": (fill(4.0), fill(5.0)),
    "two orders under one id": (TAKEN, event("accepted", broker_order_id="b2")),
    "two ends": (TAKEN, event("cancelled"), event("expired")),
    "the other side": (TAKEN, fill(-4.0)),
    "another symbol": (TAKEN, event_of_execution(Execution("x9", "tw-1", "BBB", 4.0, 50.0, NOON))),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_what_no_sequence_can_explain_stops_trading_in_every_sequence(name: str) -> None:
    for order in itertools.permutations(CONTRADICTIONS[name]):
        with pytest.raises(SafetyStop, match="tw-1"):
            state(*order)


def test_a_stop_names_both_sides_of_the_contradiction() -> None:
    with pytest.raises(SafetyStop, match=r"was cancelled \(as asked\), and now expired \(end of day\)"):
        state(event("cancelled", reason="as asked"), event("expired", reason="end of day"))
    with pytest.raises(SafetyStop, match="tw-1: buy 10 AAA market has 11 filled"):
        state(fill(6.0), fill(5.0, "x2"))


def test_a_report_claims_and_only_executions_fill() -> None:
    report = OrderReport("tw-1", "b1", "filled", filled_quantity=10.0, average_price=50.0, updated=at(3))
    order = state(SENT, *events_of_report(report, at(4)))
    assert (order.status, order.filled, order.unexplained) == ("filled", 0.0, 10.0)
    order = apply(order, fill(10.0))
    assert (order.filled, order.unexplained, order.average_price) == (10.0, 0.0, 50.0)


@pytest.mark.parametrize("status", [*sorted(OPEN), *sorted(FINISHED)])
def test_a_report_brings_a_fresh_order_to_its_status(status: Any) -> None:
    filled = {"filled": 10.0, "partially_filled": 3.0}.get(status, 0.0)
    report = OrderReport("tw-1", "b1", status, filled_quantity=filled, reason="because")
    order = state(*events_of_report(report, NOON))
    assert order.status == status
    assert order.updated == NOON


def test_a_sum_of_tenths_is_the_whole() -> None:
    order = state(TAKEN, *(fill(0.1, f"x{n}") for n in range(100)))
    assert (order.status, order.remaining) == ("filled", 0.0)


def test_ids_are_one_for_one_decision_and_fit_every_broker() -> None:
    one = client_order_id("paper:x", "abc", "swing", "BRK.B", NOON, 0)
    assert one == client_order_id("paper:x", "abc", "swing", "BRK.B", NOON.astimezone(), 0)
    others = {
        client_order_id(*parts)  # type: ignore[arg-type]
        for parts in itertools.product(
            ("paper:x", "paper:y"), ("abc", "abd"), ("swing", ""), ("BRK.B", "BRKB"), (NOON, at(5)), (0, 1)
        )
    }
    assert len(others) == 64
    assert all(len(OrderRequest(name, "A", "buy", 1.0).client_order_id) <= 32 for name in others)
    with pytest.raises(InputError, match="no zone"):
        client_order_id("a", "b", "c", "D", datetime(2026, 1, 1), 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quantity": -1.0}, "positive"),
        ({"quantity": float("nan")}, "positive"),
        ({"side": "long"}, "unknown side"),
        ({"kind": "limit"}, "needs a limit"),
        ({"limit": 5.0}, "has no limit"),
        ({"kind": "stop", "stop": -1.0}, "above 0"),
        ({"kind": "trailing_stop", "trail": 0.05, "time_in_force": "at_open"}, "auction"),
        ({"client_order_id": "with space"}, "client order id"),
        ({"client_order_id": "x" * 33}, "client order id"),
        ({"decided_at": datetime(2026, 1, 1)}, "without a zone"),
    ],
)
def test_a_request_that_no_broker_would_take_is_refused(change: dict[str, Any], message: str) -> None:
    good = {"client_order_id": "tw-1", "symbol": "AAA", "side": "buy", "quantity": 1.0}
    with pytest.raises(InputError, match=message):
        OrderRequest(**{**good, **change})

"""One bar at a time and all of history at once are the same code, and give the same account, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from execution_market import FREE, THOUSAND, flat, panel_of, plan_of
from execution_random import ACCOUNT, random_orders, random_panel, random_plan, settings
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tradewind.errors import InputError
from tradewind.execution import Book, ExecutionSection, OrderTable, Simulation, Ticket, TradePlan, simulate, step
from tradewind.execution.records import Records, ledger_digest
from tradewind.market.panel import Panel

FIELDS = ("weight", "stop", "take_profit", "trail", "max_bars", "priority")


def row_of(plan: TradePlan, row: int) -> TradePlan | None:
    return None if row < 0 else TradePlan(**{name: getattr(plan, name)[row : row + 1] for name in FIELDS})


def decided_at(orders: OrderTable, row: int) -> OrderTable:
    return OrderTable.of([ticket for ticket in orders.tickets if ticket.row == row])


def bar_by_bar(panel: Panel, plan: TradePlan, orders: OrderTable, rules: ExecutionSection) -> list[Simulation]:
    book, days = Book.opened(panel.symbols, ACCOUNT), []
    for t in range(len(panel)):
        day = step(book, panel.rows(t, t + 1), row_of(plan, t - 1), rules, orders=decided_at(orders, t - 1))
        book = day.book
        days.append(day)
    return days


@given(st.integers(0, 2**32 - 1), settings(), st.sampled_from([0.0, 0.5]))
@hypothesis_settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_bar_by_bar_is_the_history(seed: int, rules: ExecutionSection, impact: float) -> None:
    rules = rules.model_copy(update={"impact_coefficient": impact})
    r = np.random.default_rng(seed)
    panel = random_panel(r)
    plan, orders = random_plan(r, panel.shape), random_orders(r, panel)
    history, days = simulate(panel, plan, rules, ACCOUNT, orders=orders), bar_by_bar(panel, plan, orders, rules)
    for name in ("equity", "cash", "shares", "long_value", "short_value"):
        np.testing.assert_array_equal(getattr(history, name), np.concatenate([getattr(day, name) for day in days]))
    joined = Records.joined([day.records for day in days])
    np.testing.assert_array_equal(history.records.log, joined.log)
    np.testing.assert_array_equal(history.book.state, days[-1].book.state)
    assert history.counts == days[-1].counts
    digest = ledger_digest(joined, panel.times, panel.symbols, ACCOUNT.start_capital)
    assert history.ledger_hash == digest


def test_a_step_leaves_the_book_it_was_given_alone() -> None:
    panel = panel_of(flat(100, 2))
    book = Book.opened(panel.symbols, THOUSAND)
    first = step(book, panel.rows(0, 1), None, FREE)
    step(first.book, panel.rows(1, 2), row_of_weights(0.5), FREE)
    assert (book.row, first.book.row, first.book.cash) == (-1, 0, 1000.0)


def row_of_weights(*weights: float) -> TradePlan:
    return TradePlan(np.array([weights]))


def test_a_step_s_tables_know_their_times() -> None:
    panel = panel_of([*flat(100, 2), *flat(110, 1)])
    book = step(Book.opened(panel.symbols, THOUSAND), panel.rows(0, 1), None, FREE).book
    book = step(book, panel.rows(1, 2), row_of_weights(0.5), FREE).book
    last = step(book, panel.rows(2, 3), row_of_weights(0.0), FREE)
    assert str(last.fills["time"][0]) == "2020-01-03 21:00:00+00:00"
    assert last.trades.select("entry_row", "exit_row", "pnl").rows() == [(1, 2, 50.0)]
    assert last.trades["entry_time"].null_count() == 1
    assert last.ledger["kind"].to_list() == ["carried", "fill"]
    assert last.traded_value.tolist() == [550.0]


@pytest.mark.parametrize(
    ("bars", "plan", "message"),
    [
        (2, None, "takes one bar"),
        (1, TradePlan(np.zeros((1, 2))), "the plan has shape"),
        (1, TradePlan(np.zeros((1, 1)), delay_bars=1), "cannot delay"),
    ],
)
def test_a_step_refuses_what_it_cannot_do(bars: int, plan: TradePlan | None, message: str) -> None:
    panel = panel_of(flat(100, 2))
    with pytest.raises(InputError, match=message):
        step(Book.opened(panel.symbols, THOUSAND), panel.rows(0, bars), plan, FREE)


def test_orders_of_another_bar_or_with_a_known_id_are_refused() -> None:
    panel = panel_of(flat(100, 3))
    book = step(Book.opened(panel.symbols, THOUSAND), panel.rows(0, 1), None, FREE).book
    waiting = OrderTable.of([Ticket(1, 0, "S0", 5, "limit", limit=90)])
    with pytest.raises(InputError, match="were not decided"):
        step(book, panel.rows(1, 2), None, FREE, orders=OrderTable.of([Ticket(1, 7, "S0", 5, "market_open")]))
    book = step(book, panel.rows(1, 2), None, FREE, orders=waiting).book
    again = OrderTable.of([Ticket(1, 1, "S0", 5, "market_open")])
    with pytest.raises(InputError, match="already has orders"):
        step(book, panel.rows(2, 3), None, FREE, orders=again)


def test_decisions_before_the_start_are_not_heard() -> None:
    panel = panel_of(flat(100, 4))
    result = simulate(panel, plan_of(panel, {0: 0.5, 2: 0.2}), FREE, THOUSAND, start=1)
    assert result.shares[:, 0].tolist() == [0, 0, 0, 2]

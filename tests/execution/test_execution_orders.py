"""Explicit orders against candles, worked by hand; each case names the rule of docs/fill-rules.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from execution_market import FREE, HALT, NAN, THOUSAND, flat, panel_of, plan_of

from tradewind.errors import InputError
from tradewind.execution import OrderTable, Ticket, TradePlan, simulate

UP = (100, 101, 99, 100)


@dataclass(frozen=True)
class Case:
    rule: str
    name: str
    bars: list[tuple[float, ...]]
    tickets: list[tuple[int, int, float, str, dict[str, Any]]]
    """id, row, quantity, kind, the rest"""
    fills: list[tuple[int, float, float, str]]
    status: dict[int, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    volume: float | list[list[float]] = 1e9


BUY = (0, 0, 5.0, "market_open", {})
SHORT = {"short_allowed": True}
CASES = [
    Case("R40", "market on open", [UP, (103, 104, 102, 103)], [BUY], [(1, 5, 103, "market_open")], {0: "filled"}),
    Case(
        "R40",
        "market on close",
        [UP, (103, 104, 102, 104)],
        [(0, 0, 5, "market_close", {})],
        [(1, 5, 104, "market_close")],
    ),
    Case("R40", "a halt is waited out", [UP, HALT, (103, 104, 102, 103)], [BUY], [(2, 5, 103, "market_open")]),
    Case(
        "R41",
        "a limit at its price",
        [UP, (100, 101, 97, 99)],
        [(0, 0, 5, "limit", {"limit": 98})],
        [(1, 5, 98, "limit")],
    ),
    Case(
        "R41",
        "a limit at a better open",
        [UP, (96, 101, 95, 99)],
        [(0, 0, 5, "limit", {"limit": 98})],
        [(1, 5, 96, "limit")],
    ),
    Case("R41", "a limit that is not reached", [UP, UP], [(0, 0, 5, "limit", {"limit": 98})], [], {0: "working"}),
    Case(
        "R41",
        "a sell limit",
        [UP, (100, 104, 99, 101)],
        [(0, 0, -5, "limit", {"limit": 103})],
        [(1, -5, 103, "limit")],
        settings=SHORT,
    ),
    Case(
        "R42",
        "a buy stop at its price",
        [UP, (100, 104, 99, 101)],
        [(0, 0, 5, "stop", {"stop": 103})],
        [(1, 5, 103, "stop_order")],
    ),
    Case(
        "R42",
        "a buy stop at a worse open",
        [UP, (105, 106, 104, 105)],
        [(0, 0, 5, "stop", {"stop": 103})],
        [(1, 5, 105, "stop_order")],
    ),
    Case(
        "R42",
        "a sell stop",
        [UP, UP, (99, 100, 94, 96)],
        [BUY, (1, 1, -5, "stop", {"stop": 95})],
        [(1, 5, 100, "market_open"), (2, -5, 95, "stop_order")],
    ),
    Case(
        "R43",
        "a stop-limit whose limit allows the stop price",
        [UP, (100, 104, 99, 101)],
        [(0, 0, 5, "stop_limit", {"stop": 103, "limit": 103.5})],
        [(1, 5, 103, "stop_limit")],
    ),
    Case(
        "R43",
        "triggered by the open beyond its limit, filled when the bar comes back",
        [UP, (105, 106, 103, 105)],
        [(0, 0, 5, "stop_limit", {"stop": 103, "limit": 104})],
        [(1, 5, 104, "stop_limit")],
    ),
    Case(
        "R43",
        "triggered in the bar with a lower limit, a limit order from the next",
        [UP, (100, 104, 99, 101), (101, 102, 98, 100)],
        [(0, 0, 5, "stop_limit", {"stop": 103, "limit": 100})],
        [(2, 5, 100, "stop_limit")],
    ),
    Case(
        "R44",
        "a percentage trail",
        [UP, UP, (100, 120, 99, 118), (118, 119, 107, 110)],
        [BUY, (1, 1, NAN, "trailing_percent", {"trail": 0.1})],
        [(1, 5, 100, "market_open"), (3, -5, 108, "trailing_percent")],
    ),
    Case(
        "R44",
        "a trail in average true ranges",
        [*[(100, 101, 99, 100)] * 2, (100, 101, 95, 96)],
        [BUY, (1, 1, NAN, "trailing_atr", {"trail": 2})],
        [(1, 5, 100, "market_open"), (2, -5, 96, "trailing_atr")],
    ),
    Case(
        "R45",
        "a time exit at the close of its second bar",
        [UP, (100, 101, 99, 100.5), (100, 103, 99, 102), UP],
        [BUY, (1, 0, NAN, "time_exit", {"good_for_bars": 2, "parent": 0})],
        [(1, 5, 100, "market_open"), (2, -5, 102, "time_exit")],
    ),
    Case(
        "R46",
        "a limit good for one bar",
        [UP, UP, (99, 100, 97, 98)],
        [(0, 0, 5, "limit", {"limit": 98, "good_for_bars": 1})],
        [],
        {0: "expired"},
        counts={"expired": 1},
    ),
    Case(
        "R47",
        "stop and target in one bar: the stop, counted",
        [UP, UP, (100, 111, 94, 105)],
        [
            BUY,
            (1, 0, NAN, "take_profit", {"limit": 0.1, "relative": True, "parent": 0, "group": 7}),
            (2, 0, NAN, "stop", {"stop": 0.05, "relative": True, "parent": 0, "group": 7}),
        ],
        [(1, 5, 100, "market_open"), (2, -5, 95, "stop_order")],
        {1: "cancelled", 2: "filled"},
        counts={"ambiguous_bars": 1},
    ),
    Case(
        "R47",
        "the target cancels the stop",
        [UP, UP, (100, 111, 99, 105), (100, 101, 90, 95)],
        [
            BUY,
            (1, 0, NAN, "take_profit", {"limit": 0.1, "relative": True, "parent": 0, "group": 7}),
            (2, 0, NAN, "stop", {"stop": 0.05, "relative": True, "parent": 0, "group": 7}),
        ],
        [(1, 5, 100, "market_open"), (2, -5, 110, "take_profit_order")],
        {1: "filled", 2: "cancelled"},
        counts={"ambiguous_bars": 0},
    ),
    Case(
        "R48",
        "a child stop fires in the bar of its parent's limit fill",
        [UP, (100, 101, 92, 96)],
        [(0, 0, 5, "limit", {"limit": 98}), (1, 0, NAN, "stop", {"stop": 95, "parent": 0})],
        [(1, 5, 98, "limit"), (1, -5, 95, "stop_order")],
    ),
    Case(
        "R48",
        "a child's profit waits for the next bar",
        [UP, (100, 108, 97, 106), (106, 108, 105, 107)],
        [(0, 0, 5, "limit", {"limit": 98}), (1, 0, NAN, "take_profit", {"limit": 104, "parent": 0})],
        [(1, 5, 98, "limit"), (2, -5, 106, "take_profit_order")],
    ),
    Case(
        "R48",
        "a child of an order that never filled ends with it",
        [UP, UP, UP],
        [(0, 0, 5, "limit", {"limit": 90, "good_for_bars": 1}), (1, 0, NAN, "stop", {"stop": 80, "parent": 0})],
        [],
        {0: "expired", 1: "cancelled"},
    ),
    Case(
        "R49",
        "an exit without a position is cancelled",
        [UP, UP],
        [(0, 0, -5, "take_profit", {"limit": 90})],
        [],
        {0: "cancelled"},
        SHORT,
    ),
    Case(
        "R49",
        "an exit sells no more than there is",
        [UP, UP, (100, 106, 99, 105)],
        [BUY, (1, 1, -50, "take_profit", {"limit": 105})],
        [(1, 5, 100, "market_open"), (2, -5, 105, "take_profit_order")],
        {1: "filled"},
        SHORT,
    ),
    Case(
        "R50",
        "a limit order that volume cut goes on",
        [UP, (98, 99, 97, 98), (98, 99, 97, 98)],
        [(0, 0, 5, "limit", {"limit": 98})],
        [(1, 3, 98, "limit"), (2, 2, 98, "limit")],
        {0: "filled"},
        {"participation_max": 0.1},
        volume=30,
    ),
    Case(
        "R50",
        "a stop that volume cut goes on at market",
        [UP, UP, (99, 100, 94, 96), (97, 98, 96, 97)],
        [BUY, (1, 0, NAN, "stop", {"stop": 95, "parent": 0})],
        [(1, 5, 100, "market_open"), (2, -3, 95, "stop_order"), (3, -2, 97, "stop_order")],
        {1: "filled"},
        {"participation_max": 0.1},
        volume=[[1e9], [1e9], [30], [30]],
    ),
    Case(
        "R50",
        "what cash cuts off is cancelled",
        [UP, UP, UP],
        [(0, 0, 50, "market_open", {})],
        [(1, 10, 100, "market_open")],
        {0: "cancelled"},
    ),
    Case(
        "R23",
        "a sale beyond the position is refused without shorts",
        [UP, UP],
        [(0, 0, -5, "market_open", {})],
        [],
        counts={"rejected_short": 1},
    ),
    Case("R32", "an order for a symbol that never had a price is rejected", [HALT, HALT], [BUY], [], {0: "rejected"}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule} {case.name}")
def test_the_tickets_give_the_fills_worked_by_hand(case: Case) -> None:
    panel = panel_of(case.bars, volume=case.volume)
    table = OrderTable.of(Ticket(i, row, "S0", q, kind, **rest) for i, row, q, kind, rest in case.tickets)
    settings = FREE.model_copy(update=case.settings)
    result = simulate(panel, TradePlan.hold(panel.shape), settings, THOUSAND, orders=table)
    fills = [(row, quantity, pytest.approx(price, abs=1e-12), reason) for row, quantity, price, reason in case.fills]
    assert result.fills.select("row", "quantity", "price", "reason").rows() == fills
    status = dict(result.orders.select("id", "status").rows())
    assert {number: status[number] for number in case.status} == case.status
    for name, count in case.counts.items():
        assert result.counts[name] == count, name


def test_a_split_scales_waiting_orders() -> None:
    panel = panel_of([UP, (50, 50.5, 48, 49)], splits={(1, 0): 2.0})
    table = OrderTable.of([Ticket(0, 0, "S0", 5, "limit", limit=98)])
    result = simulate(panel, TradePlan.hold(panel.shape), FREE, THOUSAND, orders=table)
    assert result.fills.select("quantity", "price").rows() == [(10, 49)]


def test_orders_and_targets_live_side_by_side() -> None:
    panel = panel_of([*flat(100, 3)])
    table = OrderTable.of([Ticket(0, 1, "S0", 2, "market_open")])
    result = simulate(panel, plan_of(panel, {0: 0.3}), FREE, THOUSAND, orders=table)
    assert result.shares[:, 0].tolist() == [0, 3, 5]


@pytest.mark.parametrize(
    ("ticket", "message"),
    [
        ({"kind": "limt"}, "did you mean 'limit'"),
        ({"kind": "limit"}, "has limit nan"),
        ({"kind": "market_open", "quantity": 0.0}, "asks for 0.0 shares"),
        ({"kind": "stop", "stop": 0.1, "relative": True}, "relative to the fill of a parent"),
        ({"kind": "limit", "limit": 5.0, "quantity": NAN}, "has no quantity"),
    ],
)
def test_a_ticket_no_broker_would_take_is_refused(ticket: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refused:
        Ticket(**{"id": 0, "row": 0, "symbol": "S0", "quantity": 1.0, **ticket})
    assert message in str(refused.value)


def test_a_table_refuses_repeated_ids_and_missing_parents() -> None:
    one = Ticket(0, 0, "S0", 1, "market_open")
    with pytest.raises(InputError, match="ids repeat"):
        OrderTable.of([one, one])
    with pytest.raises(InputError, match="names the parent 9"):
        OrderTable.of([Ticket(1, 0, "S0", NAN, "stop", stop=5, parent=9)])
    with pytest.raises(InputError, match="cannot be a child"):
        OrderTable.of([one, Ticket(1, 0, "S1", NAN, "stop", stop=5, parent=0)])

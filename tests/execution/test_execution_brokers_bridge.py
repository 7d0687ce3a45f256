"""From targets to orders: nothing crosses zero in one order, nothing is lost in netting, stops are the book's."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import pytest
from execution_desk import desk_of
from execution_market import panel_of
from standin_exchange import NOON

from tradewind.errors import InputError
from tradewind.execution.brokers.base import Execution
from tradewind.execution.brokers.bridge import (
    ABILITIES,
    Abilities,
    Asked,
    Bridged,
    Column,
    columns_of,
    names,
    orders_for,
    shares_by_column,
    stop_level,
    stops_for,
    to_tick,
)
from tradewind.execution.order_state import OrderEvent, OrderState, apply_all
from tradewind.execution.settings import AccountSection, ExecutionSection

IDS = names("alpaca:one", "hash", NOON)
ALPACA, SCHWAB = ABILITIES["alpaca"], ABILITIES["schwab"]
ANYTHING = Abilities(frozenset(("day", "gtc", "at_open", "at_close")), frozenset(("at_open", "at_close")))


def bridged(*columns: Column, abilities: Abilities = ALPACA, **more: object) -> Bridged:
    return orders_for(columns, NOON, IDS, abilities, **more)  # type: ignore[arg-type]


def told(made: Bridged) -> list[tuple[str, float, bool]]:
    return [(r.side, r.quantity, r.reduce_only) for r in made.requests]


def placed(request: object, *events: OrderEvent) -> OrderState:
    return apply_all(OrderState(request), [OrderEvent("sent", NOON), OrderEvent("accepted", NOON, "b1"), *events])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("held", "target", "orders"),
    [
        (0, 10, [("buy", 10, False)]),
        (10, 4, [("sell", 6, True)]),
        (10, 15, [("buy", 5, False)]),
        (10, 0, [("sell", 10, True)]),
        (10, -5, [("sell", 10, True), ("sell", 5, False)]),
        (-5, 10, [("buy", 5, True), ("buy", 10, False)]),
        (0, -7, [("sell", 7, False)]),
        (-7, -2, [("buy", 5, True)]),
        (10, 10, []),
        (10, None, []),
    ],
)
def test_a_target_is_reached_without_crossing_zero_in_one_order(
    held: float, target: float | None, orders: list[tuple[str, float, bool]]
) -> None:
    made = bridged(Column("AAA", held, target))
    assert told(made) == orders
    assert all(r.time_in_force == "at_open" and r.kind == "market" for r in made.requests)
    if len(orders) == 2:
        assert made.asked[1].after == made.requests[0].client_order_id


def test_the_same_decision_has_the_same_ids_and_another_moment_others() -> None:
    column = Column("AAA", 10, -5)
    first, again = bridged(column).requests, bridged(column).requests
    later = orders_for([column], NOON, names("alpaca:one", "hash", NOON + timedelta(days=1)), ALPACA).requests
    assert first == again
    assert len({r.client_order_id for r in (*first, *later)}) == 4


def test_columns_that_disagree_cross_inside_and_only_the_rest_is_ordered() -> None:
    made = bridged(Column("AAA@swing", 0, 10), Column("AAA@scalp", 4, 0))
    assert told(made) == [("buy", 6, False)]
    assert made.asked[0].parts == {"AAA@swing": 10.0, "AAA@scalp": -4.0}
    assert made.requests[0].sleeve == ""


def test_columns_that_only_swap_order_nothing_and_say_so() -> None:
    made = bridged(Column("AAA@swing", 0, 4), Column("AAA@scalp", 4, 0))
    assert made.requests == []
    assert made.crossed == {"AAA@swing": 4.0, "AAA@scalp": -4.0}


def test_a_column_that_holds_still_counts_for_what_the_account_holds() -> None:
    """One timeframe goes short 4 where another holds 10: the account only sells a part of what it has."""
    made = bridged(Column("AAA@swing", 10, None), Column("AAA@scalp", 0, -4))
    assert told(made) == [("sell", 4, True)]
    assert made.requests[0].sleeve == "scalp"


def test_each_column_may_have_an_order_of_its_own_while_they_agree() -> None:
    columns = (Column("AAA@swing", 3, 0), Column("AAA@scalp", 2, -4))
    made = bridged(*columns, each="column")
    assert told(made) == [("sell", 3, True), ("sell", 2, True), ("sell", 4, False)]
    assert [r.sleeve for r in made.requests] == ["swing", "scalp", "scalp"]
    opposed = bridged(Column("AAA@swing", 0, 10), Column("AAA@scalp", 4, 0), each="column")
    assert told(opposed) == [("buy", 6, False)]
    with pytest.raises(InputError, match="'symbol' or 'column'"):
        bridged(*columns, each="sleeve")


def test_what_frees_cash_goes_first() -> None:
    made = bridged(Column("AAA", 0, 10), Column("BBB", 10, 0))
    assert [r.symbol for r in made.requests] == ["BBB", "AAA"]


def test_whole_shares_are_rounded_towards_zero_and_what_is_left_is_said() -> None:
    made = bridged(Column("AAA", 0, 10.75), abilities=SCHWAB, time_in_force="at_close")
    assert told(made) == [("buy", 10, False)]
    assert made.notes == ("AAA: 0.75 shares are no whole share and stay as they are",)
    assert bridged(Column("AAA", 0, 0.75), abilities=SCHWAB).requests == []


def test_fractions_go_where_the_broker_takes_them_and_never_short() -> None:
    day = bridged(Column("AAA", 0, 10.75), time_in_force="day")
    assert told(day) == [("buy", 10.75, False)]
    assert told(bridged(Column("AAA", 0, -10.75), time_in_force="day")) == [("sell", 10, False)]
    assert told(bridged(Column("AAA", 0, 10.75))) == [("buy", 10, False)]


def test_a_broker_without_an_opening_auction_gets_day_orders_by_name() -> None:
    made = bridged(Column("AAA", 0, 10), abilities=SCHWAB)
    assert [r.time_in_force for r in made.requests] == ["day"]
    assert "no orders at_open" in made.notes[0]


@pytest.mark.parametrize("seed", range(20))
def test_orders_and_crossings_lead_exactly_to_the_targets(seed: int) -> None:
    draw = np.random.default_rng(seed)
    columns = [
        Column(
            f"{symbol}@{sleeve}",
            float(draw.integers(-9, 9)),
            float(draw.integers(-9, 9)) if draw.random() < 0.8 else None,
        )
        for symbol in ("AAA", "BBB", "CCC")
        for sleeve in ("a", "b", "c")
    ]
    made = bridged(*columns, each="column" if seed % 2 else "symbol")
    held = {column.name: column.held for column in columns}
    account = {s: math.fsum(c.held for c in columns if c.symbol == s) for s in ("AAA", "BBB", "CCC")}
    for one in made.asked:
        before, signed = account[one.request.symbol], one.request.signed_quantity
        assert one.request.reduce_only == (before * signed < 0)
        assert not one.request.reduce_only or before * (before + signed) >= 0, "a reduction never crosses zero"
        account[one.request.symbol] += signed
        for name, shares in shares_by_column(one, signed).items():
            held[name] += shares
    for name, shares in made.crossed.items():
        held[name] += shares
    for column in columns:
        assert held[column.name] == pytest.approx(column.held if column.target is None else column.target, abs=2e-6)


@pytest.mark.parametrize("seed", range(10))
def test_a_partial_fill_is_shared_out_to_the_millionth(seed: int) -> None:
    draw = np.random.default_rng(seed)
    parts = {f"AAA@{n}": float(draw.integers(-5, 9)) for n in range(4)}
    parts["AAA@9"] = 3.0 - math.fsum(parts.values()) + 10.0
    request = bridged(Column("AAA", 0, 13)).requests[0]
    filled = round(float(draw.uniform(0, 13)), 6)
    shared = shares_by_column(Asked(request, parts), filled)
    assert round(math.fsum(shared.values()), 9) == filled
    for name, shares in shared.items():
        assert shares == pytest.approx(parts[name] * filled / 13, abs=1.01e-6)


def test_stops_come_from_the_nearer_of_stop_and_trail() -> None:
    assert stop_level(1, 100.0, 120.0, stop=0.1) == pytest.approx(90.0)
    assert stop_level(1, 100.0, 120.0, stop=0.1, trail=0.2) == pytest.approx(96.0)
    assert stop_level(-1, 100.0, 80.0, stop=0.1, trail=0.2) == pytest.approx(96.0)
    assert stop_level(1, 100.0, 120.0, stop=math.nan, trail=math.nan) is None
    assert stop_level(1, math.nan, math.nan, stop=0.1) is None


@pytest.mark.parametrize(
    ("price", "up", "expected"),
    [(90.001, True, 90.01), (90.001, False, 90.0), (90.0, True, 90.0), (0.12345, True, 0.1235), (0.1 + 0.2, True, 0.3)],
)
def test_prices_stand_on_the_exchanges_grid(price: float, up: bool, expected: float) -> None:
    assert to_tick(price, up=up) == expected


def test_missing_stops_come_and_the_same_ones_stay() -> None:
    columns = [Column("AAA@swing", 10, stop=90.001), Column("BBB", -4, stop=55.5)]
    made = stops_for(columns, NOON, IDS, ALPACA)
    assert [(r.symbol, r.side, r.quantity, r.stop) for r in made.requests] == [
        ("AAA", "sell", 10.0, 90.01),
        ("BBB", "buy", 4.0, 55.5),
    ]
    assert all(r.reduce_only and r.time_in_force == "gtc" and r.kind == "stop" for r in made.requests)
    standing = [placed(request) for request in made.requests]
    later = names("alpaca:one", "hash", NOON + timedelta(days=1))
    assert stops_for(columns, NOON + timedelta(days=1), later, ALPACA, standing=standing) == Bridged()


def test_a_stop_that_moved_or_lost_its_position_is_replaced_or_cancelled() -> None:
    first = stops_for([Column("AAA", 10, stop=90.0), Column("BBB", 5, stop=9.0)], NOON, IDS, ALPACA)
    standing = [placed(request) for request in first.requests]
    later = names("alpaca:one", "hash", NOON + timedelta(days=1))
    made = stops_for([Column("AAA", 10, stop=95.0)], NOON, later, ALPACA, standing=standing)
    assert set(made.cancel) == {r.client_order_id for r in first.requests}
    assert [(r.symbol, r.stop) for r in made.requests] == [("AAA", 95.0)]


def test_a_stop_that_filled_in_part_is_replaced_by_one_for_the_rest() -> None:
    request = stops_for([Column("AAA", 10, stop=90.0)], NOON, IDS, ALPACA).requests[0]
    part = Execution("x", request.client_order_id, "AAA", -4.0, 89.9, NOON)
    standing = [placed(request, OrderEvent("execution", NOON, execution=part))]
    later = names("alpaca:one", "hash", NOON + timedelta(minutes=1))
    made = stops_for([Column("AAA", 6, stop=90.0)], NOON, later, ALPACA, standing=standing)
    assert made.cancel == (request.client_order_id,)
    assert [r.quantity for r in made.requests] == [6.0]


def test_one_that_is_being_cancelled_is_neither_there_nor_cancelled_again() -> None:
    columns = [Column("AAA", 10, stop=90.0)]
    request = stops_for(columns, NOON, IDS, ALPACA).requests[0]
    going = [placed(request, OrderEvent("cancel_asked", NOON))]
    made = stops_for(columns, NOON, names("alpaca:one", "hash", NOON + timedelta(days=1)), ALPACA, standing=going)
    assert made.cancel == ()
    assert len(made.requests) == 1


def test_no_stop_adds_to_a_position_or_sells_more_than_the_account_holds() -> None:
    columns = [Column("AAA@swing", 10, stop=90.0), Column("AAA@scalp", -4, stop=110.0)]
    made = stops_for(columns, NOON, IDS, ALPACA)
    assert [(r.side, r.quantity) for r in made.requests] == [("sell", 6.0)]
    assert made.notes == (
        "AAA@swing: 4 of 10 shares have no stop at the broker",
        "AAA@scalp is held against the account's position: the desk watches its stop",
    )


def test_fractions_that_cannot_have_a_stop_are_named() -> None:
    made = stops_for([Column("AAA", 10.5, stop=90.0)], NOON, IDS, ALPACA)
    assert [r.quantity for r in made.requests] == [10.0]
    assert made.notes == ("AAA: 0.5 of 10.5 shares have no stop at the broker",)
    assert stops_for([Column("AAA", 10.5, stop=90.0)], NOON, IDS, ANYTHING).requests[0].quantity == 10.5


def test_what_rests_on_shares_that_are_traded_is_cancelled_first() -> None:
    stops = stops_for([Column("AAA", 10, stop=90.0), Column("BBB", 5, stop=9.0)], NOON, IDS, ALPACA)
    standing = [placed(request) for request in stops.requests]
    made = bridged(Column("AAA", 10, 0), Column("BBB", 5), standing=standing)
    assert made.cancel == (stops.requests[0].client_order_id,)


@pytest.mark.parametrize("seed", range(3))
def test_the_orders_are_what_the_simulator_does_with_the_same_targets(seed: int) -> None:
    """Bar for bar, columns of two timeframes, longs and shorts: nothing is lost between the desk and the broker."""
    draw = np.random.default_rng(seed)
    closes = 50 * np.exp(np.cumsum(draw.normal(0, 0.02, 30)))
    panel = panel_of([(c, c, c, c) for c in closes])
    more = {"fractional_shares": False, "margin_leverage_max": 4.0, "margin_maintenance": 0.0}
    rules = ExecutionSection.free(short_allowed=True, **more)
    desk, bars = desk_of(panel, rules, AccountSection(start_capital=10_000), sleeves=("a", "b"), capital=(0.5, 0.5))
    state = desk.open()
    nothing = np.full(2, np.nan)
    for row in range(30):
        columns = columns_of(desk, state)
        made = orders_for(columns, NOON, IDS, ANYTHING)
        brought = dict(made.crossed)
        for one in made.asked:
            for name, shares in shares_by_column(one, one.request.signed_quantity).items():
                brought[name] = brought.get(name, 0.0) + shares
        before = state.book.shares.copy()
        wish = {**dict.fromkeys(("stop", "take_profit", "trail", "max_bars", "priority"), nothing)}
        weight = np.where(draw.random(2) < 0.7, draw.uniform(-0.5, 0.5, 2), np.nan)
        desk.step(state, bars, row, {"weight": weight, **wish})
        moved = dict(zip(desk.columns, state.book.shares - before, strict=True))
        assert {name: brought.get(name, 0.0) for name in moved} == pytest.approx(moved, abs=2e-6)


def test_the_books_stops_are_the_stops_at_the_broker() -> None:
    panel = panel_of([(10, 10, 10, 10)] * 3 + [(10, 13, 10, 12)] + [(12, 12, 12, 12)] * 2)
    rules = ExecutionSection.free()
    desk, bars = desk_of(panel, rules, AccountSection(start_capital=1000))
    state, wish = desk.open(), {name: np.array([np.nan]) for name in ("take_profit", "max_bars", "priority")}
    wish |= {"weight": np.array([0.5]), "stop": np.array([0.1]), "trail": np.array([0.2])}
    levels = []
    for row in range(6):
        desk.step(state, bars, row, wish if row == 0 else None)
        made = stops_for(columns_of(desk, state), NOON, IDS, ALPACA)
        levels.append(made.requests[0].stop if made.requests else None)
    assert levels == [None, 9.0, 9.0, 10.4, 10.4, 10.4]

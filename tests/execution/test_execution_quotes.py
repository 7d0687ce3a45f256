"""Fills by quotes: tables of bars, quotes and expected fills, worked by hand; each names its rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from execution_market import FREE, NAN, THOUSAND, flat, panel_of, plan_of
from execution_random import ACCOUNT, random_orders, random_panel, random_plan, settings
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tradewind.errors import InputError
from tradewind.execution import ExecutionSection, OrderTable, Ticket, TradePlan, simulate
from tradewind.execution.quotes import DepthModel, coverage, join_queue, pass_queue, simulate_on_quotes
from tradewind.market.panel import Panel
from tradewind.market.quotes import FIELDS, Quotes, read_lean_minutes

LEAN = Path(__file__).parents[2] / "../shared/data/intraday/lean_minute_spy"
UP = (100, 101, 99, 100)
FLAT = (100, 100, 100, 100)
Q = (99, 101, 99, 101, 1e9, 1e9)
"""Bid and ask at the open, bid and ask at the close, sizes of bid and ask at the close."""


def quotes_on(panel: Panel, rows: list[tuple[float, ...]]) -> Quotes:
    """Quotes of one symbol: the extremes are those of open and close."""
    values = np.array(rows, dtype=float)[:, :, None]
    bids, asks = values[:, [0, 2]], values[:, [1, 3]]
    fields = {}
    for side, both in (("bid", bids), ("ask", asks)):
        fields |= {f"{side}_open": both[:, 0], f"{side}_close": both[:, 1]}
        fields |= {f"{side}_high": both.max(axis=1), f"{side}_low": both.min(axis=1)}
    return Quotes(panel.times, panel.symbols, fields | {"bid_size": values[:, 4], "ask_size": values[:, 5]})


@dataclass(frozen=True)
class Case:
    rule: str
    name: str
    bars: list[tuple[float, ...]]
    quotes: list[tuple[float, ...]]
    fills: list[tuple[int, float, float, float, float]]  # row, quantity, price, spread, impact
    weights: dict[int, float] = field(default_factory=dict)
    orders: list[Ticket] = field(default_factory=list)
    bracket: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    depth: DepthModel = field(default_factory=DepthModel)
    volume: float | list[list[float]] = 1e9
    counts: dict[str, int] = field(default_factory=dict)


def size(shares: float) -> tuple[float, ...]:
    return (100, 100, 100, 100, shares, shares)


def limit(quantity: float, price: float, row: int = 0) -> list[Ticket]:
    return [Ticket(0, row, "S0", quantity, "limit", limit=price)]


BUY = {0: 0.5}
CASES = [
    Case("R51", "a buy costs the ask", [UP, UP], [Q, (99.9, 100.2, 99, 101, 1e9, 1e9)], [(1, 5, 100, 1.0, 0)], BUY),
    Case(
        "R51",
        "a sale brings the bid",
        [UP, UP, UP],
        [Q, Q, (99.7, 100, 99, 101, 1e9, 1e9)],
        [(1, 5, 100, 5.0, 0), (2, -5, 100, 1.5, 0)],
        {0: 0.5, 1: 0.0},
    ),
    Case(
        "R51",
        "at the close the closing quote counts",
        [UP, UP],
        [Q, (99, 101, 99.8, 100.4, 1e9, 1e9)],
        [(1, 5, 100, 2.0, 0)],
        BUY,
        settings={"entry": "next_close"},
    ),
    Case(
        "R51",
        "a last trade above the ask is given back",
        [UP, (100.5, 101, 99, 100)],
        [Q, (100, 100.2, 99, 101, 1e9, 1e9)],
        [(1, 5, 100.5, -1.5, 0)],
        BUY,
    ),
    Case(
        "R52",
        "a stop inside the bar pays the wider half spread",
        [UP, UP, (99, 100, 94, 97)],
        [Q, Q, (98.9, 99.1, 96, 98, 1e9, 1e9)],  # 1 / 97 of 95 a share
        [(1, 5, 100, 5.0, 0), (2, -5, 95, round(5 * 95 / 97, 2), 0)],
        BUY,
        bracket={"stop": 0.05},
    ),
    Case(
        "R52",
        "a gap through the stop gets no more than the opening bid",
        [UP, UP, (90, 92, 88, 91)],
        [Q, Q, (87, 92, 90.9, 91.1, 1e9, 1e9)],
        [(1, 5, 100, 5.0, 0), (2, -5, 90, 15.0, 0)],
        BUY,
        bracket={"stop": 0.05},
    ),
    Case(
        "R52",
        "and never more than the best bid of the bar",
        [UP, UP, (99, 100, 94, 97)],
        [Q, Q, (93, 95.2, 93, 95.2, 1e9, 1e9)],  # at 95 the best bid is 93
        [(1, 5, 100, 5.0, 0), (2, -5, 95, 10.0, 0)],
        BUY,
        bracket={"stop": 0.05},
    ),
    Case(
        "R52",
        "a take-profit of a bracket pays too",
        [UP, UP, (101, 111, 100, 105)],
        [Q, Q, (100, 102, 104.5, 105.5, 1e9, 1e9)],  # the best bid is 104.50
        [(1, 5, 100, 5.0, 0), (2, -5, 110, 27.5, 0)],
        BUY,
        bracket={"take_profit": 0.1},
    ),
    Case(
        "R53",
        "two at the ask, two a tick above, one two ticks above",
        [FLAT, FLAT],
        [size(2), size(9)],
        [(1, 5, 100, 0, 0.4)],
        BUY,
        depth=DepthModel(tick=0.1),
    ),
    Case(
        "R53",
        "the size at the close is the one shown there",
        [FLAT, FLAT],
        [size(9), size(4)],
        [(1, 5, 100, 0, 0.1)],
        BUY,
        settings={"entry": "next_close"},
        depth=DepthModel(tick=0.1),
    ),
    Case(
        "R53",
        "a reversal's second fill finds what the first has left",
        [FLAT, FLAT, FLAT],
        [size(9), size(5), size(9)],
        [(1, 5, 100, 0, 0), (2, -5, 100, 0, 0), (2, -3, 100, 0, 0.3)],
        {0: 0.5, 1: -0.3},
        settings={"short_allowed": True},
        depth=DepthModel(tick=0.1),
    ),
    Case(
        "R54",
        "two levels and no more",
        [FLAT, FLAT, FLAT],
        [size(2), size(2), size(2)],
        [(1, 4, 100, 0, 0.2)],
        BUY,
        depth=DepthModel(tick=0.1, levels=2),
        counts={"clipped_by_volume": 1},
    ),
    Case(
        "R54",
        "the rest is carried to the next bar where volume is",
        [FLAT, FLAT, FLAT],
        [size(2), size(2), size(2)],
        [(1, 4, 100, 0, 0.2), (2, 1, 100, 0, 0)],
        BUY,
        settings={"participation_remainder": "carry"},
        depth=DepthModel(tick=0.1, levels=2),
    ),
    Case(
        "R54",
        "an exit goes on until it is done",
        [FLAT, FLAT, (94, 95, 93, 94), (93, 94, 92, 93)],
        [size(9), size(9), (94, 94, 94, 94, 3, 3), (93, 93, 93, 93, 9, 9)],
        [(1, 5, 100, 0, 0), (2, -3, 94, 0, 0), (3, -2, 93, 0, 0)],
        BUY,
        bracket={"stop": 0.05},
        depth=DepthModel(levels=1),
    ),
    Case(
        "R55",
        "a limit that crosses takes what stands within it",
        [UP, (100, 101, 100, 100.5)],
        [(99.9, 100.1, 99.9, 100.1, 2, 2), (99.9, 100.1, 100.4, 100.6, 9, 9)],
        [
            (1, 4, 100, 0.4, 0.2),
            (1, 1, 100.2, 0, 0),
        ],  # the third level is beyond the limit; the rest waits, first in line
        orders=limit(5, 100.2),
        depth=DepthModel(tick=0.1),
    ),
    Case(
        "R56",
        "at the bid, behind everybody shown there",
        [FLAT, FLAT, FLAT],
        [(100, 101, 100, 101, 60, 9), (100, 101, 100, 101, 60, 9), (100, 101, 100, 101, 60, 9)],
        [(2, 5, 100, 0, 0)],  # 60 ahead: 40 trade in the first bar, 20 of 40 serve the rest of them in the second
        orders=limit(5, 100),
        volume=40,
    ),
    Case(
        "R56",
        "inside the spread there is nobody ahead",
        [UP, FLAT],
        [(99, 101, 99, 101, 60, 60), (99, 101, 99, 101, 60, 60)],
        [(1, 5, 100, 0, 0)],
        orders=limit(5, 100),
        volume=40,
    ),
    Case(
        "R56",
        "behind the best bid there is no place, though a trade touches",
        [UP, (101, 101, 100, 100)],
        [(100.5, 101, 100.5, 101, 1, 1), (100.5, 101, 100.5, 101, 1, 1)],
        [],
        orders=limit(5, 100),
    ),
    Case(
        "R57",
        "a trade below the limit has served all",
        [FLAT, (100, 100, 99.9, 100)],
        [(100, 101, 100, 101, 1e9, 9), (100, 101, 100, 101, 1e9, 9)],
        [(1, 5, 100, 0, 0)],
        orders=limit(5, 100),
        volume=40,
    ),
    Case(
        "R57",
        "so has an ask below it",
        [FLAT, FLAT],
        [(100, 101, 100, 101, 1e9, 9), (100, 101, 99, 99.5, 1e9, 9)],
        [(1, 5, 100, 0, 0)],
        orders=limit(5, 100),
        volume=40,
    ),
    Case(
        "R57",
        "the volume is spread over the prices of the bar",
        [UP, (100.1, 100.3, 100, 100.1)],  # four prices a tick apart: 10 shares each, 6 ahead
        [(100, 100.5, 100, 100.5, 6, 9), (100, 100.5, 100, 100.5, 6, 9)],
        [(1, 4, 100, 0, 0)],
        orders=limit(5, 100),
        depth=DepthModel(tick=0.1),
        volume=40,
    ),
    Case(
        "R57",
        "of what trades behind them we get our participation, the rest waits",
        [FLAT, FLAT, FLAT],
        [(100, 101, 100, 101, 10, 9), (100, 101, 100, 101, 10, 9), (100, 101, 100, 101, 10, 9)],
        [(1, 3, 100, 0, 0), (2, 2, 100, 0, 0)],
        orders=limit(5, 100),
        settings={"participation_max": 0.1},
        volume=40,
    ),
    Case(
        "R57",
        "a market that opens below the limit fills it inside the bar",
        [FLAT, (97, 98, 96, 97)],
        [(100, 101, 100, 101, 10, 9), (100, 101, 97, 98, 10, 9)],
        [(1, 5, 98, 0, 0)],
        orders=limit(5, 99.5),
        volume=40,
    ),
    Case(
        "R57",
        "an order that sells waits at the ask",
        [UP, UP, FLAT, FLAT],
        [(99, 101, 99, 101, 9, 9), (99, 99.5, 99, 100, 9, 30), (99, 100, 99, 100, 9, 30), (99, 100, 99, 100, 9, 30)],
        [(1, 5, 100, -2.5, 0), (2, -5, 100, 0, 0)],
        BUY,
        orders=limit(-5, 100, row=1),
        volume=[[40], [1e9], [40], [40]],
    ),
    Case(
        "R58",
        "without a quote the flat half spread",
        [UP, UP],
        [Q, (NAN, NAN, NAN, NAN, NAN, NAN)],
        [(1, 5, 100, 0.5, 0)],
        BUY,
        settings={"spread_bps": 20.0},
    ),
    Case(
        "R58",
        "with a bid above the ask too",
        [UP, UP],
        [Q, (101, 99, 99, 101, 9, 9)],
        [(1, 5, 100, 0.5, 0)],
        BUY,
        settings={"spread_bps": 20.0},
    ),
    Case(
        "R58",
        "an unknown size limits nobody who takes",
        [FLAT, FLAT],
        [(100, 100, 100, 100, NAN, NAN), size(9)],
        [(1, 5, 100, 0, 0)],
        BUY,
        depth=DepthModel(levels=1),
    ),
    Case(
        "R58",
        "nor is anybody served behind an unknown size before the price goes through",
        [FLAT, FLAT, (100, 100, 99.9, 100)],
        [(100, 101, 100, 101, NAN, NAN)] * 3,
        [(2, 5, 100, 0, 0)],
        orders=limit(5, 100),
        volume=1e9,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule} {case.name}")
def test_the_quotes_give_the_fills_worked_by_hand(case: Case) -> None:
    panel = panel_of(case.bars, volume=case.volume)
    plan = plan_of(panel, case.weights, **case.bracket)
    orders = OrderTable.of(case.orders) if case.orders else None
    rules = FREE.model_copy(update=case.settings)
    result = simulate_on_quotes(
        panel, quotes_on(panel, case.quotes), plan, rules, THOUSAND, depth=case.depth, orders=orders
    )
    rows = result.fills.select("row", "quantity", "price", "spread", "impact").rows()
    assert rows == [pytest.approx(fill, abs=0.005) for fill in case.fills]
    for name, count in case.counts.items():
        assert result.counts[name] == count, name


def no_spread(panel: Panel) -> Quotes:
    """Quotes that are the trades themselves, with as much on either side as anybody wants."""
    fields = {
        f"{side}_{what}": panel.fields[what] for side in ("bid", "ask") for what in ("open", "high", "low", "close")
    }
    sizes = {f"{side}_size": np.full(panel.shape, 1e12) for side in ("bid", "ask")}
    return Quotes(panel.times, panel.symbols, fields | sizes)


@given(seed=st.integers(0, 10_000), rules=settings())
@hypothesis_settings(max_examples=60)
def test_without_spread_and_with_all_the_size_in_the_world_the_fills_are_the_old_ones(
    seed: int, rules: ExecutionSection
) -> None:
    r = np.random.default_rng(seed)
    panel = random_panel(r)
    plan, rules = random_plan(r, panel.shape), rules.model_copy(update={"spread_bps": 0.0, "slippage_bps": 0.0})
    old = simulate(panel, plan, rules, ACCOUNT)
    new = simulate_on_quotes(panel, no_spread(panel), plan, rules, ACCOUNT)
    assert new.ledger_hash == old.ledger_hash
    assert np.array_equal(new.book.state, old.book.state, equal_nan=True)


@given(seed=st.integers(0, 10_000), rules=settings())
@hypothesis_settings(max_examples=60)
def test_without_any_quote_the_fills_are_the_old_ones(seed: int, rules: ExecutionSection) -> None:
    r = np.random.default_rng(seed)
    panel = random_panel(r)
    plan = random_plan(r, panel.shape)
    plan = TradePlan(plan.weight, stop=plan.stop, trail=plan.trail, max_bars=plan.max_bars, priority=plan.priority)
    nothing = Quotes(panel.times[:0], panel.symbols, {name: np.empty((0, panel.shape[1])) for name in FIELDS})
    new = simulate_on_quotes(panel, nothing, plan, rules, ACCOUNT)
    assert new.ledger_hash == simulate(panel, plan, rules, ACCOUNT).ledger_hash
    assert coverage(panel, nothing)["without_open_quote"] == panel.mask.sum()


def random_quotes(r: np.random.Generator, panel: Panel) -> Quotes:
    """Quotes around the trades with spreads, sizes, gaps and some that are crossed."""
    fields = {}
    for what in ("open", "high", "low", "close"):
        middle = panel.fields[what] * np.exp(r.normal(0, 0.001, panel.shape))
        half = np.abs(r.normal(0.001, 0.001, panel.shape)) * np.where(r.random(panel.shape) < 0.03, -1, 1)
        known = r.random(panel.shape) > 0.05
        fields |= {
            f"{side}_{what}": np.where(known, middle * (1 + s * half), NAN) for side, s in (("bid", -1), ("ask", 1))
        }
    fields |= {f"{side}_size": np.floor(r.lognormal(4, 2, panel.shape)) for side in ("bid", "ask")}
    return Quotes(panel.times, panel.symbols, fields)


def a_life(seed: int, rules: ExecutionSection) -> tuple[Panel, Quotes, Any]:
    r = np.random.default_rng(seed)
    panel = random_panel(r)
    quotes, plan, orders = random_quotes(r, panel), random_plan(r, panel.shape), random_orders(r, panel)
    return panel, quotes, simulate_on_quotes(panel, quotes, plan, rules, ACCOUNT, orders=orders)


@given(seed=st.integers(0, 10_000), rules=settings())
@hypothesis_settings(max_examples=60)
def test_cash_is_conserved_and_volume_respected(seed: int, rules: ExecutionSection) -> None:
    panel, _, result = a_life(seed, rules)
    fills, events = result.records.fills, result.records.events
    moved = fills[:, 5].sum() - fills[:, 6:10].sum() + events[:, 5].sum()
    assert result.cash[-1] == pytest.approx(ACCOUNT.start_capital + moved / 100, abs=0.005)
    used = np.zeros(panel.shape)
    real = result.fills.filter(result.fills["reason"] != "delisted")
    columns = [panel.symbols.index(s) for s in real["symbol"]]
    np.add.at(used, (real["row"].to_numpy(), columns), np.abs(real["quantity"].to_numpy()))
    known = np.isfinite(panel.volume)
    assert (used[known] <= rules.participation_max * panel.volume[known] + 1e-6).all()


@given(seed=st.integers(0, 10_000), rules=settings())
@hypothesis_settings(max_examples=60)
def test_no_fill_is_better_than_the_quote_allows(seed: int, rules: ExecutionSection) -> None:
    """Price and spread: at auctions no better than that moment's quote, else no better than the bar's best."""
    panel, quotes, result = a_life(seed, rules)
    at = {moment: quotes.at(moment) for moment in ("open", "close")}
    best = quotes.fields["bid_high"], quotes.fields["ask_low"]
    limits = {"limit", "take_profit_order", "delisted"}
    for row, symbol, quantity, price, spread, phase, reason in result.fills.select(
        "row", "symbol", "quantity", "price", "spread", "phase", "reason"
    ).rows():
        if reason in limits and spread == 0.0:
            continue  # rests in the queue
        j, buys = panel.symbols.index(symbol), quantity > 0
        quote = (best if phase == "bar" else at[phase])[int(buys)][row, j]
        if np.isnan(quote):
            continue
        paid = abs(price * quantity) + (spread if buys else -spread)
        worst = quote * abs(quantity)
        assert paid >= worst - 0.011 if buys else paid <= worst + 0.011, (row, symbol, reason)


@given(seed=st.integers(0, 10_000), rules=settings())
@hypothesis_settings(max_examples=30)
def test_what_is_known_later_changes_no_earlier_fill(seed: int, rules: ExecutionSection) -> None:
    r = np.random.default_rng(seed)
    panel = random_panel(r, events=False)
    quotes, plan, orders = random_quotes(r, panel), random_plan(r, panel.shape), random_orders(r, panel, 10)
    whole = simulate_on_quotes(panel, quotes, plan, rules, ACCOUNT, orders=orders)
    other = {name: values.copy() for name, values in quotes.fields.items()}
    for values in other.values():
        values[25:] = r.uniform(1, 300, values[25:].shape)
    changed = simulate_on_quotes(
        panel, Quotes(quotes.times, quotes.symbols, other), plan, rules, ACCOUNT, orders=orders
    )
    assert np.array_equal(whole.equity[:25], changed.equity[:25])


@given(seed=st.integers(0, 10_000))
@hypothesis_settings(max_examples=30)
def test_a_larger_order_pays_no_less_a_share(seed: int) -> None:
    r = np.random.default_rng(seed)
    panel = panel_of(flat(100, 3), volume=1e9)
    shown, tick = float(r.integers(1, 50)), float(r.uniform(0.01, 0.5))
    costs = []
    for shares in sorted(r.uniform(1, 500, 6)):
        ticket = OrderTable.of([Ticket(0, 0, "S0", float(round(shares)), "market_open")])
        rich = ACCOUNT.model_copy(update={"start_capital": 1e7})
        book = [(99.9, 100.1, 99.9, 100.1, shown, shown)] * 3
        result = simulate_on_quotes(
            panel,
            quotes_on(panel, book),
            TradePlan.hold(panel.shape),
            FREE,
            rich,
            depth=DepthModel(tick, 1e6),
            orders=ticket,
        )
        fill = result.fills.row(0, named=True)
        costs.append((fill["spread"] + fill["impact"]) / fill["quantity"])
        levels = np.arange(round(shares)) // shown  # share by share, down the book
        assert fill["impact"] == pytest.approx(tick * levels.sum(), abs=0.006)
    assert all(b >= a - 0.011 for a, b in pairwise(costs))


def test_the_queue_never_grows_and_more_volume_serves_no_fewer() -> None:
    r = np.random.default_rng(7)
    count = 2000
    side, price = np.where(r.random(count) < 0.5, 1.0, -1.0), np.round(r.uniform(99, 101, count), 2)
    bid = np.round(r.uniform(99, 101, count), 2)
    shown = np.where(r.random(count) < 0.1, NAN, r.integers(0, 500, count).astype(float))
    ahead = join_queue(np.full(count, NAN), side, price, bid, shown)
    low = np.round(r.uniform(98.5, 101, count), 2)
    high, other = low + np.round(r.uniform(0, 0.5, count), 2), bid + side * 0.01
    volume = r.integers(0, 5000, count).astype(float)
    left, behind = pass_queue(ahead, side, price, (low, high, volume), other, 0.01)
    _, more = pass_queue(ahead, side, price, (low, high, 2 * volume), other, 0.01)
    assert not (left > ahead).any()
    assert (behind <= volume).all()
    assert (more >= behind).all()
    assert np.array_equal(join_queue(left, side, price, bid, shown)[~np.isnan(left)], left[~np.isnan(left)])


def test_bad_books_are_refused() -> None:
    with pytest.raises(InputError, match="the tick is -1"):
        DepthModel(tick=-1)
    with pytest.raises(InputError, match="0 levels"):
        DepthModel(levels=0)
    panel = panel_of(flat(100, 3))
    with pytest.raises(InputError, match="the plan has shape"):
        simulate_on_quotes(panel, no_spread(panel), TradePlan(np.zeros((2, 1))), FREE, THOUSAND)


@pytest.mark.data
@pytest.mark.skipif(not LEAN.exists(), reason="the minute quotes are not beside the project")
def test_on_real_quotes_the_spread_paid_is_a_third_of_a_basis_point() -> None:
    panel, quotes = read_lean_minutes(LEAN, "SPY")
    weight = np.full(panel.shape, NAN)
    weight[::10], weight[5::10] = 0.9, 0.0
    rules = ExecutionSection.free(spread_bps=2.0)
    flat_spread = simulate(panel, TradePlan(weight), rules, ACCOUNT)
    quoted = simulate_on_quotes(panel, quotes, TradePlan(weight), rules, ACCOUNT)
    paid = [1e4 * run.costs["spread"] / run.traded_value.sum() for run in (flat_spread, quoted)]
    assert paid[0] == pytest.approx(1.0, abs=0.001)
    assert 0.27 < paid[1] < 0.33
    assert coverage(panel, quotes)["without_open_quote"] == 0

"""What holds for every market, every plan and every order: properties on random ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from execution_market import panel_from
from execution_random import ACCOUNT, permuted, random_orders, random_panel, random_plan, settings
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tradewind.execution import AccountSection, ExecutionSection, OrderTable, Simulation, TradePlan, simulate
from tradewind.market.panel import Panel

seeds = st.integers(0, 2**32 - 1)
law = hypothesis_settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def lived(seed: int, rules: ExecutionSection, events: bool = True) -> tuple[Simulation, Panel, TradePlan, OrderTable]:
    r = np.random.default_rng(seed)
    panel = random_panel(r, events=events)
    plan, orders = random_plan(r, panel.shape), random_orders(r, panel)
    return simulate(panel, plan, rules, ACCOUNT, orders=orders), panel, plan, orders


@given(seeds, settings())
@law
def test_cash_is_conserved_to_the_cent(seed: int, rules: ExecutionSection) -> None:
    result, *_ = lived(seed, rules)
    cents = result.ledger.with_columns(pl.col("cents").cum_sum().alias("balance"))
    balance = dict(cents.group_by("time", maintain_order=True).agg(pl.col("balance").last()).rows())
    expected = 0
    for time, cash in zip(pl.Series(result.times).dt.replace_time_zone("UTC"), result.cash, strict=True):
        expected = balance.get(time, expected)
        assert round(cash * 100) == expected


@given(seeds, settings())
@law
def test_shares_are_conserved(seed: int, rules: ExecutionSection) -> None:
    result, panel, *_ = lived(seed, rules)
    moved = dict(result.ledger.group_by("symbol").agg(pl.col("shares").sum()).rows())
    for column, symbol in enumerate(panel.symbols):
        assert result.shares[-1, column] == pytest.approx(moved.get(symbol, 0.0), abs=1e-6)


@given(seeds, settings())
@law
def test_equity_is_cash_plus_positions(seed: int, rules: ExecutionSection) -> None:
    result, *_ = lived(seed, rules)
    np.testing.assert_allclose(result.equity, result.cash + result.long_value - result.short_value, atol=1e-6)
    end = result.positions_at_end
    assert result.equity[-1] == pytest.approx(result.cash[-1] + end["value"].sum(), abs=0.01 * (1 + end.height))


@given(seeds, settings())
@law
def test_trades_and_open_positions_explain_the_whole_profit(seed: int, rules: ExecutionSection) -> None:
    rules = rules.model_copy(
        update={"cash_interest_rate": 0.0, "borrow_bps_per_year": 0.0, "margin_interest_rate": 0.0}
    )
    r = np.random.default_rng(seed)
    panel = random_panel(r)
    result = simulate(panel, random_plan(r, panel.shape), rules, ACCOUNT)
    explained = result.trades["pnl"].sum() + result.open_trades["pnl"].sum()
    assert explained == pytest.approx(result.equity[-1] - ACCOUNT.start_capital, abs=0.01 * (1 + panel.shape[1]))
    assert result.open_trades.height == np.count_nonzero(result.book.shares)


@given(seeds)
@law
def test_what_is_open_has_lived_through_the_closes_since_its_entry_at_the_open(seed: int) -> None:
    r = np.random.default_rng(seed)
    panel = random_panel(r, events=False)
    result = simulate(panel, random_plan(r, panel.shape), ExecutionSection(entry="next_open"), ACCOUNT)
    times = pl.Series(result.times).dt.replace_time_zone("UTC").to_list()
    for trade in result.open_trades.iter_rows(named=True):
        assert trade["bars_held"] == len(times) - times.index(trade["entry_time"])


@given(seeds, settings())
@law
def test_nothing_fills_before_it_was_decided_nor_outside_the_bar(seed: int, rules: ExecutionSection) -> None:
    result, panel, *_ = lived(seed, rules)
    own = result.fills["reason"].is_in(["stop", "take_profit", "trail", "time", "delisted", "margin_call"])
    decided = result.fills.filter(~own)
    assert (decided["decided_row"] < decided["row"]).all()
    traded = result.fills.filter(pl.col("reason") != "delisted")
    columns = [int(name[1:]) for name in traded["symbol"]]
    prices = traded["price"].to_numpy()
    assert (prices >= panel.low[traded["row"], columns] * (1 - 1e-12)).all()
    assert (prices <= panel.high[traded["row"], columns] * (1 + 1e-12)).all()


@given(seeds, settings())
@law
def test_volume_is_respected_in_every_bar(seed: int, rules: ExecutionSection) -> None:
    result, panel, *_ = lived(seed, rules)
    traded = result.fills.filter(pl.col("reason") != "delisted").with_columns(pl.col("quantity").abs())
    for row, symbol, quantity in traded.group_by("row", "symbol").agg(pl.col("quantity").sum()).rows():
        assert quantity <= rules.participation_max * panel.volume[row, int(symbol[1:])] + 1e-6


@given(seeds, settings(shorts=False))
@law
def test_without_leverage_and_shorts_cash_stays_positive(seed: int, rules: ExecutionSection) -> None:
    result, *_ = lived(seed, rules)
    assert result.cash.min() >= 0
    assert result.shares.min() >= 0


@given(seeds, settings())
@law
def test_the_order_of_the_symbols_does_not_matter_when_priorities_differ(seed: int, rules: ExecutionSection) -> None:
    r = np.random.default_rng(seed)
    panel = random_panel(r)
    plan = random_plan(r, panel.shape)
    distinct = r.permuted(np.tile(np.arange(panel.shape[1], dtype=float), (len(panel), 1)), axis=1)
    plan = replace(plan, priority=distinct + 100 * np.arange(len(panel))[:, None])
    order = r.permutation(panel.shape[1])
    one = simulate(panel, plan, rules, ACCOUNT)
    other = simulate(*permuted(panel, plan, order), rules, ACCOUNT)
    np.testing.assert_array_equal(one.equity, other.equity)
    np.testing.assert_array_equal(one.shares[:, order], other.shares)


@given(seeds, settings(), st.sampled_from([2.0, 10.0]))
@law
def test_twice_the_money_and_volume_is_twice_the_result(seed: int, rules: ExecutionSection, factor: float) -> None:
    rules = rules.model_copy(update={"commission_minimum": 0.0, "fractional_shares": True})
    r = np.random.default_rng(seed)
    panel = random_panel(r)
    plan = random_plan(r, panel.shape)
    larger = replace(panel, fields={**panel.fields, "volume": panel.volume * factor})
    one = simulate(panel, plan, rules, ACCOUNT)
    other = simulate(larger, plan, rules, AccountSection(start_capital=ACCOUNT.start_capital * factor))
    np.testing.assert_allclose(other.equity, one.equity * factor, rtol=2e-5)


@given(seeds, settings(), st.integers(5, 39))
@law
def test_a_longer_history_does_not_change_a_shorter_one(seed: int, rules: ExecutionSection, stop: int) -> None:
    result, panel, plan, orders = lived(seed, rules)
    cut = replace(
        plan, **{n: getattr(plan, n)[:stop] for n in ("weight", "stop", "take_profit", "trail", "max_bars", "priority")}
    )
    shorter = simulate(panel.head(stop), cut, rules, ACCOUNT, orders=orders)
    np.testing.assert_array_equal(shorter.equity, result.equity[:stop])
    np.testing.assert_array_equal(shorter.shares, result.shares[:stop])


@given(seeds)
@law
def test_more_costs_never_help_a_book_that_trades_fixed_quantities(seed: int) -> None:
    r = np.random.default_rng(seed)
    panel = random_panel(r, events=False)
    orders = random_orders(r, panel, count=6)
    hold = TradePlan.hold(panel.shape)
    base = ExecutionSection(participation_max=1.0, margin_leverage_max=20.0, margin_maintenance=0.0, short_allowed=True)
    rich = AccountSection(start_capital=1e7)
    cheap, dear = (simulate(panel, hold, rules, rich, orders=orders) for rules in (base, base.scaled(3.0)))
    assert (dear.equity <= cheap.equity + 0.005).all()


@given(seeds, settings())
@law
def test_the_same_run_twice_has_the_same_ledger_hash_and_another_run_another(
    seed: int, rules: ExecutionSection
) -> None:
    (one, *_), (two, *_) = lived(seed, rules), lived(seed, rules)
    assert one.ledger_hash == two.ledger_hash
    other, *_ = lived(seed + 1, rules)
    assert one.ledger_hash != other.ledger_hash


def test_frozen_and_transposed_arrays_give_the_same_result() -> None:
    r = np.random.default_rng(5)
    panel = random_panel(r)
    plan = random_plan(r, panel.shape)
    fields = {name: np.asfortranarray(values) for name, values in panel.fields.items()}
    mask = panel.mask.copy()
    for array in (*fields.values(), mask):
        array.setflags(write=False)
    one, other = (simulate(p, plan, ExecutionSection(), ACCOUNT) for p in (panel, panel_from(fields, mask)))
    assert one.ledger_hash == other.ledger_hash


def test_an_empty_plan_moves_nothing() -> None:
    panel = random_panel(np.random.default_rng(0))
    result = simulate(panel, TradePlan.hold(panel.shape), ExecutionSection(), ACCOUNT)
    assert result.fills.height == result.trades.height == 0
    assert result.ledger["kind"].to_list() == ["deposit"]
    assert (result.equity == ACCOUNT.start_capital).all()


def test_prices_a_hundred_times_higher_give_the_same_returns() -> None:
    r = np.random.default_rng(3)
    panel = random_panel(r, events=False)
    plan = random_plan(r, panel.shape)
    fields = {n: v * 100 if n in ("open", "high", "low", "close", "dividend") else v for n, v in panel.fields.items()}
    fields["volume"] = panel.volume / 100
    rules = ExecutionSection(short_allowed=True, margin_leverage_max=2.0)
    one, other = (simulate(p, plan, rules, ACCOUNT) for p in (panel, panel_from(fields, panel.mask)))
    np.testing.assert_allclose(one.equity, other.equity, rtol=1e-5)

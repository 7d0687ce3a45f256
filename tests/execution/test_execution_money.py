"""Costs, cash and corporate actions, to the cent; each test names the rule of docs/fill-rules.md."""

from __future__ import annotations

import numpy as np
import pytest
from execution_market import FREE, NAN, THOUSAND, flat, panel_of, plan_of

from tradewind.errors import DataError, InputError
from tradewind.execution import AccountSection, Delisting, ExecutionSection, TradePlan, simulate


def bought(settings: dict[str, object], price: float = 100.0, weight: float = 0.5, volume: float = 1e9):
    panel = panel_of(flat(price, 3), volume=volume)
    return simulate(panel, plan_of(panel, {0: weight}), FREE.model_copy(update=settings), THOUSAND)


def test_r20_sales_pay_for_purchases_of_the_same_open() -> None:
    panel = panel_of(flat(100, 3), flat(100, 3))
    plan = plan_of(panel, {(0, 1): 1.0, (1, 1): 0.0, (1, 0): 1.0})
    assert simulate(panel, plan, FREE, THOUSAND).shares[-1].tolist() == [10, 0]


@pytest.mark.parametrize(
    ("priority", "shares"),
    [
        ((1.0, 2.0, 3.0), [0, 4, 6]),
        ((3.0, 2.0, 1.0), [6, 4, 0]),
        ((NAN, 1.0, NAN), [4, 6, 0]),
        ((1.0, 1.0, 1.0), [6, 4, 0]),
    ],
)
def test_r21_cash_goes_to_the_larger_priority_then_to_the_first_symbol(priority, shares) -> None:
    panel = panel_of(*[flat(100, 2)] * 3)
    weight = np.full(panel.shape, 0.6)
    result = simulate(panel, TradePlan(weight, priority=np.tile(priority, (2, 1))), FREE, THOUSAND)
    assert result.shares[-1].tolist() == shares


def test_r26_every_amount_is_rounded_to_the_cent() -> None:
    panel = panel_of(flat(33.333, 2))
    result = simulate(panel, plan_of(panel, {0: 0.1}), FREE.model_copy(update={"commission_bps": 10.0}), THOUSAND)
    assert result.fills.select("quantity", "cash", "commission").rows() == [(3, -100.0, 0.1)]
    assert result.cash[-1] == 899.90


@pytest.mark.parametrize(
    ("settings", "commission"),
    [
        ({"commission_bps": 20.0}, 1.00),
        ({"commission_bps": 20.0, "commission_per_share": 0.01}, 1.05),
        ({"commission_bps": 20.0, "commission_minimum": 2.5}, 2.50),
    ],
)
def test_r27_commission(settings, commission: float) -> None:
    assert bought(settings).costs["commission"] == commission


def test_r28_takers_pay_half_the_spread_and_slippage_and_the_price_stays_the_market_s() -> None:
    result = bought({"spread_bps": 40.0, "slippage_bps": 10.0})
    assert result.fills.select("price", "spread", "slippage").rows() == [(100, 1.0, 0.5)]
    assert result.cash[-1] == 498.50


def test_r28_a_take_profit_provides_liquidity() -> None:
    panel = panel_of([*flat(100, 2), (100, 111, 100, 105)])
    plan = plan_of(panel, {0: 0.5}, take_profit=0.1)
    settings = FREE.model_copy(update={"spread_bps": 40.0, "commission_bps": 10.0})
    fills = simulate(panel, plan, settings, THOUSAND).fills
    assert fills.select("reason", "spread", "commission").rows() == [("signal", 1.0, 0.5), ("take_profit", 0.0, 0.55)]


def test_r29_impact_grows_with_the_root_of_the_share_of_volume() -> None:
    candle = (100, 102, 98, 100)
    panel = panel_of([candle] * 2, volume=50)
    settings = FREE.model_copy(update={"impact_coefficient": 1.0})
    result = simulate(panel, plan_of(panel, {0: 0.5}), settings, THOUSAND)
    volatility = np.log(102 / 98) / np.sqrt(4 * np.log(2))
    assert result.costs["impact"] == pytest.approx(500 * volatility * np.sqrt(5 / 50), abs=0.005)


def test_r30_a_split_scales_shares_entry_and_stop() -> None:
    panel = panel_of([*flat(100, 2), (50, 51, 47, 48)], splits={(2, 0): 2.0})
    result = simulate(panel, plan_of(panel, {0: 0.5}, stop=0.05), FREE, THOUSAND)
    assert result.fills.select("row", "quantity", "price").rows() == [(1, 5, 100), (2, -10, 47.5)]
    assert result.trades.select("quantity", "entry_price", "pnl").rows() == [(10, 50, -25)]


def test_r30_a_waiting_target_is_scaled_too() -> None:
    panel = panel_of([*flat(100, 1), (50, 51, 49, 50)], splits={(1, 0): 2.0})
    assert simulate(panel, plan_of(panel, {0: 0.5}), FREE, THOUSAND).shares[-1, 0] == 10


def test_r30_a_fraction_of_a_share_is_paid_in_cash() -> None:
    panel = panel_of([*flat(100, 2), *flat(200, 1)], splits={(2, 0): 0.5})
    result = simulate(panel, plan_of(panel, {0: 0.5}), FREE, THOUSAND)
    assert (result.shares[-1, 0], result.cash[-1], result.equity[-1]) == (2, 600.0, 1000.0)


def test_r30_a_reverse_split_can_pay_out_the_whole_position() -> None:
    panel = panel_of([*flat(100, 2), *flat(1000, 1)], splits={(2, 0): 0.1})
    result = simulate(panel, plan_of(panel, {0: 0.5}), FREE, THOUSAND)
    assert (result.shares[-1, 0], result.cash[-1]) == (0, 1000.0)
    assert result.trades["exit_reason"].to_list() == ["cash_in_lieu"]


def test_r31_dividends_are_received_by_longs_and_paid_by_shorts() -> None:
    panel = panel_of(flat(100, 3), flat(100, 3), dividends={(2, 0): 1.25, (2, 1): 2.0})
    settings = FREE.model_copy(update={"short_allowed": True})
    result = simulate(panel, plan_of(panel, {(0, 0): 0.4, (0, 1): -0.3}), settings, THOUSAND)
    assert result.ledger.filter(result.ledger["kind"] == "dividend")["cash"].to_list() == [5.0, -6.0]
    assert result.dividends == -1.0


def test_r31_shares_bought_on_the_ex_date_get_nothing() -> None:
    panel = panel_of(flat(100, 3), dividends={(1, 0): 1.0})
    assert simulate(panel, plan_of(panel, {0: 0.5}), FREE, THOUSAND).dividends == 0


def test_r31_a_dividend_comes_after_the_split_of_the_same_day() -> None:
    panel = panel_of([*flat(100, 2), *flat(50, 1)], splits={(2, 0): 2.0}, dividends={(2, 0): 0.5})
    assert simulate(panel, plan_of(panel, {0: 0.5}), FREE, THOUSAND).dividends == 5.0


def test_r33_a_known_delisting_pays_its_cash() -> None:
    panel = panel_of(flat(100, 4))
    result = simulate(panel, plan_of(panel, {0: 0.5}), FREE, THOUSAND, delistings={"S0": Delisting(2, 120.0)})
    assert result.fills.select("row", "quantity", "price", "reason").rows()[-1] == (2, -5, 120, "delisted")
    assert result.cash[-1] == 1100.0


def test_r33_a_delisting_of_an_unknown_symbol_is_refused() -> None:
    panel = panel_of(flat(100, 2))
    with pytest.raises(InputError, match="'XYZ'"):
        simulate(panel, plan_of(panel, {}), FREE, THOUSAND, delistings={"XYZ": Delisting(1)})


def test_r34_interest_is_paid_on_free_cash_by_calendar_days() -> None:
    panel = panel_of(flat(100, 366))
    settings = FREE.model_copy(update={"cash_interest_rate": 0.05})
    result = simulate(panel, plan_of(panel, {}), settings, AccountSection(start_capital=100_000))
    assert result.cash[-1] == pytest.approx(100_000 * (1 + 0.05 / 365) ** 365, abs=0.05)
    assert result.costs["interest"] == pytest.approx(100_000 - result.cash[-1])


def test_r34_negative_cash_costs_margin_interest() -> None:
    panel = panel_of(flat(100, 11))
    settings = FREE.model_copy(update={"margin_leverage_max": 2.0, "margin_interest_rate": 0.1})
    result = simulate(panel, plan_of(panel, {0: 2.0}), settings, AccountSection(start_capital=1_000_000))
    assert result.costs["interest"] == pytest.approx(1_000_000 * 0.1 * 9 / 365, rel=2e-3)


def test_r34_the_proceeds_of_shorts_earn_nothing() -> None:
    panel = panel_of(flat(100, 11))
    settings = FREE.model_copy(update={"short_allowed": True, "cash_interest_rate": 0.1})
    result = simulate(panel, plan_of(panel, {0: -1.0}), settings, AccountSection(start_capital=1_000_000))
    assert -result.costs["interest"] == pytest.approx(1_000_000 * 0.1 * 10 / 365, rel=2e-3)


def test_r35_borrow_is_charged_on_the_value_of_shorts() -> None:
    panel = panel_of(flat(100, 11))
    settings = FREE.model_copy(update={"short_allowed": True, "borrow_bps_per_year": 200.0})
    account = AccountSection(start_capital=1_000_000)
    result = simulate(panel, plan_of(panel, {0: -0.5, 9: 0.0}), settings, account)
    assert result.costs["borrow"] == pytest.approx(500_000 * 0.02 * 9 / 365, abs=0.01)
    assert result.trades["borrow"].to_list() == [pytest.approx(-result.costs["borrow"], abs=0.01)]


def test_doubled_costs_are_double() -> None:
    settings = ExecutionSection(commission_bps=3.0, spread_bps=5.0, slippage_bps=2.0)
    panel = panel_of(flat(100, 3))
    once = simulate(panel, plan_of(panel, {0: 0.5}), settings, AccountSection())
    twice = simulate(panel, plan_of(panel, {0: 0.5}), settings.scaled(2.0), AccountSection())
    assert sum(twice.costs.values()) == pytest.approx(2 * sum(once.costs.values()))


def test_bars_no_market_could_have_made_are_refused_with_their_place() -> None:
    panel = panel_of([(100, 101, 99, 100), (100, 90, 99, 100)])
    with pytest.raises(DataError, match="S0 at 2020-01-02"):
        simulate(panel, plan_of(panel, {}), FREE, THOUSAND)


def test_masked_bars_may_hold_anything() -> None:
    panel = panel_of([(100, 101, 99, 100), (NAN, -1, 5, NAN), (100, 101, 99, 100)])
    assert simulate(panel, plan_of(panel, {0: 0.5}), FREE, THOUSAND).shares[-1, 0] == 5


def test_the_trade_says_how_it_came_about() -> None:
    panel = panel_of([*flat(100, 2), *flat(110, 2)])
    result = simulate(
        panel, plan_of(panel, {0: 0.5, 2: 0.0}), FREE.model_copy(update={"commission_bps": 20.0}), THOUSAND
    )
    trade = result.trades.row(0, named=True)
    assert (trade["side"], trade["quantity"], trade["entry_price"], trade["exit_price"]) == ("long", 5, 100, 110)
    assert (trade["gross_pnl"], trade["costs"], trade["pnl"], trade["bars_held"]) == (50, 2.1, 47.9, 2)
    assert trade["return"] == pytest.approx(47.9 / 500)
    assert str(trade["entry_time"]) == "2020-01-02 21:00:00+00:00"


def test_open_positions_show_their_levels() -> None:
    panel = panel_of([*flat(100, 2), (104, 106, 103, 105)])
    result = simulate(panel, plan_of(panel, {0: 0.5}, stop=0.05, take_profit=0.2, trail=0.1), FREE, THOUSAND)
    position = result.positions_at_end.row(0, named=True)
    expected = {"shares": 5, "value": 525, "entry_price": 100, "stop": 95, "take_profit": 120, "trailing_stop": 95.4}
    assert {name: position[name] for name in expected} == pytest.approx(expected)
    assert position["bars_held"] == 2

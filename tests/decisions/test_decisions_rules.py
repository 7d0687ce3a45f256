"""Each rule on forecasts made by hand: what fires, what does not, and what is said about it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spine_kit import belief
from tradewind.decisions.signals import RULES, Action, Belief, Signals, decide
from tradewind.errors import InputError

BUY, SELL, HOLD = Action.BUY, Action.SELL, Action.HOLD
STRONG_BUY, STRONG_SELL = Action.STRONG_BUY, Action.STRONG_SELL
few = settings(max_examples=40)


def said(belief_: Belief) -> Signals:
    return RULES.create(belief_.settings.rule).decide(belief_)


def actions(belief_: Belief) -> list[Action]:
    return [Action(int(a)) for a in said(belief_).action[0]]


# -- probability ---------------------------------------------------------------------------------------------


def test_probability_buys_what_probably_profits_sells_what_probably_falls_and_holds_the_rest() -> None:
    assert actions(belief({5: [0.004, -0.004, 0.0]}, confidence_min=0.55)) == [BUY, SELL, HOLD]


def test_where_both_sides_are_probable_enough_the_surer_one_is_taken() -> None:
    medians = [0.01, 0.001, 0.0, -0.001, -0.01]
    signals = said(belief({5: medians}, cost=0.0, confidence_min=0.2, confidence_exit=0.1))
    assert np.sign(signals.action[0]).tolist() == [1, 1, 1, -1, -1]
    assert np.all(signals.confidence[0] >= 0.5)


def test_confidence_is_the_probability_of_profit_after_costs_on_the_side_that_is_taken() -> None:
    # The 25 % quantile of the forecast lies exactly on the costs, so that the trade profits three times in four.
    sigma = 0.02
    upper = np.log1p(0.001) + 0.6744897501960817 * sigma
    lower = np.log1p(-0.001) - 0.6744897501960817 * sigma
    confidence = said(belief({5: [upper, lower]}, sigma, cost=0.001, confidence_min=0.7)).confidence[0]
    assert confidence == pytest.approx([0.75, 0.75])


def test_a_signal_is_strong_from_ten_points_above_the_threshold_on() -> None:
    sigma, cost = 0.02, 0.0
    three_in_four = 0.6744897501960817 * sigma
    weak = belief({5: [three_in_four]}, sigma, cost=cost, confidence_min=0.66)
    strong = belief({5: [three_in_four]}, sigma, cost=cost, confidence_min=0.64)
    assert actions(weak) == [BUY]
    assert actions(strong) == [STRONG_BUY]


def test_a_position_is_closed_below_the_exit_and_left_alone_between_exit_and_entry() -> None:
    signals = said(belief({5: [0.0008, -0.008]}, confidence_min=0.63, confidence_exit=0.45))
    assert signals.action[0].tolist() == [HOLD, SELL]
    assert signals.close[0].tolist() == [False, True]


@few
@given(
    low=st.floats(0, 0.01), more=st.floats(0, 0.01), medians=st.lists(st.floats(-0.05, 0.05), min_size=1, max_size=6)
)
def test_higher_costs_never_make_anyone_more_confident(low: float, more: float, medians: list[float]) -> None:
    cheap = said(belief({5: medians}, cost=low))
    dear = said(belief({5: medians}, cost=low + more))
    same_side = np.sign(cheap.action) == np.sign(dear.action)
    assert np.all(dear.confidence[same_side] <= cheap.confidence[same_side] + 1e-12)
    assert np.sum(dear.action > 0) <= np.sum(cheap.action > 0)


# -- expected_move -------------------------------------------------------------------------------------------


def moves(medians: list[float], sigma: float = 0.05, **settings: object) -> Belief:
    chosen = {"entry_threshold": 0.01, "confidence_min": 0.0, **settings}
    return belief({5: medians}, sigma, rule="expected_move", **chosen)


def test_expected_move_acts_on_a_median_of_one_percent_up_or_down() -> None:
    just = np.log1p(0.01 + 1e-9), np.log1p(-0.01 - 1e-9)
    short_of = np.log1p(0.0099), np.log1p(-0.0099)
    assert actions(moves([*just, *short_of])) == [BUY, SELL, HOLD, HOLD]


def test_expected_move_is_strong_from_twice_the_threshold_on() -> None:
    assert actions(moves([np.log1p(0.021), np.log1p(-0.021)])) == [STRONG_BUY, STRONG_SELL]


def test_a_threshold_in_sigmas_is_measured_in_sigmas_of_each_forecast() -> None:
    sigmas = {5: [[0.02, 0.04]]}
    in_sigmas = belief(
        {5: [0.01, 0.01]}, sigmas, rule="expected_move", threshold_unit="sigma", entry_threshold=0.3, confidence_min=0.0
    )
    assert in_sigmas.sigma(5)[0] == pytest.approx([0.02, 0.04])
    assert in_sigmas.move(5)[0] == pytest.approx([0.5, 0.25])
    assert actions(in_sigmas) == [BUY, HOLD]


def test_a_threshold_in_returns_is_measured_in_simple_returns() -> None:
    assert moves([0.05]).move(5)[0, 0] == pytest.approx(np.expm1(0.05))


def test_expected_move_needs_the_probability_to_agree() -> None:
    # A move of 1.5 % with a sigma of 50 % is worth nothing: its probability of profit is hardly above a half.
    assert actions(moves([0.015], sigma=0.5, confidence_min=0.6)) == [HOLD]
    assert actions(moves([0.015], sigma=0.01, confidence_min=0.6)) == [BUY]


# -- nasdaq_tft ----------------------------------------------------------------------------------------------


def week(median: float, rsi: float, *, day: float = 0.0, sigma: float = 0.05, **settings: object) -> Belief:
    chosen = {"entry_threshold": 0.05, "confidence_min": 0.5, "horizon_bars": 20, **settings}
    medians: dict[int, object] = {1: [day], 5: [median], 20: [median]}
    return belief(medians, sigma, columns={"rsi_14": [rsi]}, rule="nasdaq_tft", **chosen)


def test_a_strong_week_on_a_calm_rsi_is_a_strong_buy() -> None:
    assert actions(week(np.log1p(0.051), rsi=64.9)) == [STRONG_BUY]


@pytest.mark.parametrize(("median", "rsi"), [(0.06, 65.0), (np.log1p(0.049), 50.0)])
def test_an_overheated_rsi_or_a_median_short_of_the_threshold_is_no_buy(median: float, rsi: float) -> None:
    assert actions(week(median, rsi)) == [HOLD]


def test_an_overheated_rsi_and_a_weak_day_are_a_sell() -> None:
    signals = said(week(0.0, rsi=76, day=np.log1p(-0.021)))
    assert signals.action[0, 0] == SELL
    assert signals.close[0, 0]
    assert signals.stop[0, 0] == pytest.approx(0.02)
    assert signals.horizon_bars[0, 0] == 1


@pytest.mark.parametrize(("rsi", "day"), [(75.0, -0.03), (80.0, np.log1p(-0.019))])
def test_one_half_of_the_sell_clause_is_not_enough(rsi: float, day: float) -> None:
    assert actions(week(0.0, rsi, day=day)) == [HOLD]


def test_strong_sell_mirrors_strong_buy() -> None:
    up, down = said(week(0.06, rsi=40, sigma=0.08)), said(week(-0.06, rsi=60, sigma=0.08))
    assert (up.action[0, 0], down.action[0, 0]) == (STRONG_BUY, STRONG_SELL)
    assert (up.close[0, 0], down.close[0, 0]) == (False, True)
    assert (up.cover[0, 0], down.cover[0, 0]) == (True, False)
    assert down.horizon_bars[0, 0] == up.horizon_bars[0, 0] == 20
    assert down.confidence[0, 0] == pytest.approx(up.confidence[0, 0], abs=1e-3)
    assert np.log1p(down.stop[0, 0]) == pytest.approx(-np.log1p(-up.stop[0, 0]))
    assert np.log1p(-down.target[0, 0]) == pytest.approx(-np.log1p(up.target[0, 0]))
    assert actions(week(-0.06, rsi=35)) == [HOLD]


def test_a_strong_buy_aims_at_the_weeks_p50_and_stops_at_its_p10() -> None:
    signals = said(week(0.06, rsi=50, sigma=0.08))
    assert signals.target[0, 0] == pytest.approx(np.expm1(0.06))
    assert signals.stop[0, 0] == pytest.approx(-np.expm1(0.06 - 1.2815515655446004 * 0.08))


def test_a_p10_above_the_entry_is_replaced_by_a_stop_below_it() -> None:
    signals = said(week(0.06, rsi=50, sigma=0.02))
    assert signals.action[0, 0] == STRONG_BUY
    assert signals.stop[0, 0] == pytest.approx(-np.expm1(-2 * 0.02))


def test_whatever_is_held_has_a_stop_of_five_percent() -> None:
    assert said(week(0.0, rsi=50)).stop[0, 0] == pytest.approx(0.05)


def test_the_tiers_stop_holds_where_it_is_tighter() -> None:
    # 100 dollars is the high tier: 2 %.
    assert said(week(0.06, rsi=50, sigma=0.08, tier_stops=True)).stop[0, 0] == pytest.approx(0.02)
    assert said(week(0.0, rsi=50, tier_stops=True)).stop[0, 0] == pytest.approx(0.02)


def test_sentiment_without_a_source_is_refused() -> None:
    with pytest.raises(InputError, match="no sentiment source") as caught:
        decide(week(0.06, rsi=50, use_sentiment=True))
    assert "use_sentiment = false" in caught.value.hint


def test_sentiment_that_is_off_is_said_to_be_off() -> None:
    signals = said(week(0.06, rsi=50))
    assert any("sentiment" in note for note in signals.notes)
    assert "sentiment conditions are off" in signals.clauses[int(signals.clause[0, 0])]


def test_a_rule_that_needs_a_horizon_which_is_not_forecast_says_which() -> None:
    lacking = belief({1: [0.0], 20: [0.1]}, columns={"rsi_14": [50.0]}, rule="nasdaq_tft")
    with pytest.raises(InputError, match="'nasdaq_tft' needs a forecast over 5 bars") as caught:
        decide(lacking)
    assert "[1, 20]" in caught.value.hint


# -- nasdaq_tft in trading time ------------------------------------------------------------------------------


def hourly(
    *,
    week: float = 0.0,
    day: float = 0.0,
    hours: float = 0.0,
    rsi: float = 60.0,
    timeframe: str = "1h",
    **settings: object,
) -> Belief:
    """A belief on hourly bars: four hours are 4, a day is 7 and a week 35 of them."""
    chosen = {"entry_threshold": 0.05, "confidence_min": 0.5, "horizon_bars": 35, **settings}
    medians: dict[int, object] = {4: [hours], 7: [day], 35: [week]}
    made = belief(medians, 0.05, columns={"rsi_14": [rsi]}, rule="nasdaq_tft", **chosen)
    return replace(made, panel=replace(made.panel, timeframe=timeframe))


@pytest.mark.parametrize(
    ("timeframe", "hours", "day", "week"),
    [("5m", 48, 78, 390), ("30m", 8, 13, 65), ("1h", 4, 7, 35), ("1d", None, 1, 5), ("1w", None, None, 1)],
)
def test_four_hours_a_day_and_a_week_in_bars(timeframe: str, hours: int | None, day: int | None, week: int) -> None:
    made = hourly(timeframe=timeframe)
    assert [made.bars_in(h) for h in ("4h", "1d", "1w")] == [hours, day, week]


def test_firm_rsi_and_strong_hours_are_a_day_trade_with_a_stop_of_two_percent() -> None:
    signals = said(hourly(hours=np.log1p(0.021), day=0.021))
    assert signals.action[0, 0] == BUY
    assert signals.horizon_bars[0, 0] == 7
    assert signals.stop[0, 0] == pytest.approx(0.02)
    assert signals.target[0, 0] == pytest.approx(0.021)
    assert "4-hour" in signals.clauses[int(signals.clause[0, 0])]
    assert "sentiment conditions are off" in signals.clauses[int(signals.clause[0, 0])]


@pytest.mark.parametrize(
    ("rsi", "hours"), [(55.0, 0.03), (70.0, 0.03), (60.0, np.log1p(0.0199))], ids=["cool", "hot", "weak"]
)
def test_half_of_the_day_trade_clause_is_not_enough(rsi: float, hours: float) -> None:
    assert actions(hourly(rsi=rsi, hours=hours, day=0.021)) == [HOLD]


def test_the_day_trade_needs_its_confidence_over_the_day_that_it_may_last() -> None:
    assert actions(hourly(hours=0.03, day=0.021, confidence_min=0.6)) == [BUY]
    assert actions(hourly(hours=0.03, day=0.0, confidence_min=0.6)) == [HOLD]


def test_the_day_trades_threshold_is_the_same_share_in_sigmas() -> None:
    in_sigmas = {"threshold_unit": "sigma", "entry_threshold": 0.5, "day": 0.02}
    assert actions(hourly(hours=0.0101, **in_sigmas)) == [BUY]  # type: ignore[arg-type]
    assert actions(hourly(hours=0.0099, **in_sigmas)) == [HOLD]  # type: ignore[arg-type]


def test_where_both_hold_the_longer_time_speaks() -> None:
    assert actions(hourly(week=0.06, hours=0.03, day=0.03)) == [STRONG_BUY]
    assert actions(hourly(week=-0.06, hours=0.03, day=0.03)) == [STRONG_SELL]


def test_a_strategy_is_a_choice_of_clauses() -> None:
    strong = {"week": 0.06, "hours": 0.03, "day": 0.03}
    assert actions(hourly(**strong, strategy="day_trade")) == [BUY]  # type: ignore[arg-type]
    assert actions(hourly(**strong, strategy="long_term")) == [STRONG_BUY]  # type: ignore[arg-type]
    weak = {"rsi": 76.0, "day": -0.03}
    assert actions(hourly(**weak, strategy="day_trade")) == [SELL]  # type: ignore[arg-type]
    assert actions(hourly(**weak, strategy="long_term")) == [HOLD]  # type: ignore[arg-type]
    assert actions(hourly(hours=0.03, day=0.03, strategy="long_term")) == [HOLD]
    assert actions(hourly(week=0.06, rsi=50.0, strategy="day_trade")) == [HOLD]


def test_day_trades_on_daily_bars_are_refused_with_what_to_do() -> None:
    with pytest.raises(InputError, match="needs a forecast over 4h, less than a 1d bar") as caught:
        decide(week(0.06, rsi=50, strategy="day_trade"))
    assert "data.timeframe" in caught.value.hint and "long_term" in caught.value.hint


def test_a_strategy_means_something_to_its_rule_only() -> None:
    with pytest.raises(InputError, match="'day_trade' means nothing to the rule 'probability'"):
        decide(belief({5: [0.1]}, strategy="day_trade"))


def test_what_bars_cannot_give_is_said_and_in_what_the_rsi_is_counted() -> None:
    daily, by_hour, weekly = (said(b).notes for b in (week(0.0, 50), hourly(), weekly_belief()))
    assert "the day-trade clause is off: it needs a forecast over 4h, which 1d bars cannot give" in daily
    assert not any("RSI" in note for note in daily)
    assert not any("clause is off" in note for note in by_hour)
    assert "RSI(14) is over 14 bars of 1h, not over 14 days" in by_hour
    assert sum("clause is off" in note for note in weekly) == 2


def weekly_belief() -> Belief:
    made = belief({1: [0.06], 4: [0.06]}, 0.05, columns={"rsi_14": [50.0]}, rule="nasdaq_tft", entry_threshold=0.05)
    return replace(made, panel=replace(made.panel, timeframe="1w"))


def test_a_week_is_one_bar_of_weekly_bars() -> None:
    signals = said(weekly_belief())
    assert signals.action[0, 0] == STRONG_BUY
    assert signals.horizon_bars[0, 0] == 4


def test_hourly_bars_without_a_four_hour_forecast_say_which_is_missing() -> None:
    made = hourly()
    lacking = replace(made, forecast=replace(made.forecast, horizons=(3, 7, 35)))
    with pytest.raises(InputError, match="needs a forecast over 4 bars"):
        decide(lacking)


# -- what target and stop are --------------------------------------------------------------------------------


def test_a_strong_buy_says_that_its_target_is_the_weeks_median_and_its_stop_the_weeks_p10() -> None:
    exits = said(week(0.06, rsi=50, sigma=0.08)).exits_at(0, 0)
    assert exits is not None
    assert exits.target == "median of the forecast over 1 week"
    assert "10% quantile over 1 week" in exits.stop and "tier" not in exits.stop
    short = said(week(-0.06, rsi=50, sigma=0.08)).exits_at(0, 0)
    assert short is not None and "90% quantile over 1 week" in short.stop


def test_a_stop_that_may_be_the_tiers_says_so() -> None:
    exits = said(week(0.06, rsi=50, sigma=0.08, tier_stops=True)).exits_at(0, 0)
    assert exits is not None and "the tighter of" in exits.stop and "price tier" in exits.stop


def test_a_probable_profit_says_which_quantile_it_aims_at_and_how_many_sigmas_it_risks() -> None:
    signals = said(belief({5: [0.004, -0.004]}, confidence_min=0.55))
    long, short = signals.exits_at(0, 0), signals.exits_at(0, 1)
    assert long is not None and short is not None
    assert (long.target, short.target) == tuple(f"{q}0% quantile of the forecast over 5 bars" for q in (9, 1))
    assert long.stop == short.stop == "2 forecast sigmas of 5 bars, at least 0.5%"

"""The events that confidence may be about: their chance in a forecast, what came of them, and when."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from spine_kit import belief, panel
from tradewind.decisions.confidence import EVENTS, Odds, odds
from tradewind.decisions.events.target_before_stop import first_touch, touch_probability
from tradewind.decisions.signals import RULES, Belief, decide, forecast_trade
from tradewind.errors import DataError, InputError
from tradewind.market.panel import Panel

EVENT_NAMES = EVENTS.names()
few = settings(max_examples=30)
distances = st.floats(0.05, 4.0)


def of(believed: Belief) -> Odds:
    return odds(believed, forecast_trade(believed, believed.settings.horizon_bars))


def walk(name: str, rows: int = 260, columns: int = 6, bars: int = 3, seed: int = 0, **settings: object) -> Belief:
    """A random walk with forecasts that are too narrow, so that recalibration has something to mend."""
    rng = np.random.default_rng(seed)
    moves = 0.02 * rng.standard_normal((rows, columns))
    close = 100 * np.exp(np.cumsum(moves, axis=0))
    medians: dict[int, object] = {bars: 0.02 * rng.standard_normal((rows, columns))}
    made = belief(medians, 0.015, close=close, event=name, horizon_bars=bars, **settings)
    opened = close * np.exp(-0.5 * moves)
    high, low = np.maximum(opened, close) * 1.01, np.minimum(opened, close) * 0.99
    return replace(
        made, panel=replace(made.panel, fields={**made.panel.fields, "open": opened, "high": high, "low": low})
    )


def until(believed: Belief, stop: int) -> Belief:
    forecast = believed.forecast
    known = replace(
        forecast, times=forecast.times[:stop], quantiles=forecast.quantiles[:stop], score=forecast.score[:stop]
    )
    return replace(believed, panel=believed.panel.head(stop), features=believed.features.head(stop), forecast=known)


# -- every event -----------------------------------------------------------------------------------------------


def test_the_events_of_the_playbooks_page_are_there() -> None:
    assert set(EVENT_NAMES) == {"profit_after_costs", "target_before_stop", "top_fifth"}
    with pytest.raises(InputError, match="did you mean 'top_fifth'"):
        EVENTS.create("top_fith")


def test_an_unknown_event_is_refused_before_anything_is_decided() -> None:
    with pytest.raises(InputError, match="unknown event"):
        decide(belief({5: [0.1]}, event="profit"))


@pytest.mark.parametrize("name", EVENT_NAMES)
def test_confidence_at_a_close_needs_nothing_that_came_after_it(name: str) -> None:
    believed = walk(name)
    whole = of(believed)
    for stop in (5, 120, 259):
        part = of(until(believed, stop))
        for said, then in zip((*whole.raw, *whole.calibrated), (*part.raw, *part.calibrated), strict=True):
            np.testing.assert_array_equal(said[:stop], then)


@pytest.mark.parametrize("name", EVENT_NAMES)
def test_another_future_changes_no_confidence_before_it_and_some_after_its_outcomes_are_known(name: str) -> None:
    believed, row = walk(name), 150
    fields = dict(believed.panel.fields)
    wild = np.exp(np.random.default_rng(9).normal(0, 0.2, believed.panel.shape))
    scale = np.where((np.arange(len(believed.panel)) > row)[:, None], wild, 1.0)
    other = replace(
        believed,
        panel=replace(
            believed.panel,
            fields={k: v * scale if k in ("open", "high", "low", "close") else v for k, v in fields.items()},
        ),
    )
    one, two = of(believed).calibrated.long, of(other).calibrated.long
    np.testing.assert_array_equal(one[: row + 1], two[: row + 1])
    assert not np.array_equal(one[row + 5 :], two[row + 5 :])


@pytest.mark.parametrize("name", EVENT_NAMES)
def test_outcomes_are_unknown_until_the_horizon_has_passed(name: str) -> None:
    believed = walk(name)
    found = of(believed)
    for came in found.event.outcome(believed, found.trade):
        assert np.isnan(came[-3:]).all()
        assert np.isfinite(came[:-3]).any()
        assert set(np.unique(came[np.isfinite(came)])) <= {0.0, 1.0}


@pytest.mark.parametrize("name", EVENT_NAMES)
def test_recalibration_brings_confidence_nearer_to_what_happens(name: str) -> None:
    believed = walk(name, rows=1200, seed=1)
    found = of(believed)
    came = found.event.outcome(believed, found.trade).long
    late = np.isfinite(came) & np.isfinite(found.raw.long) & (np.arange(1200) > 600)[:, None]
    before, after = (np.mean((p[late] - came[late]) ** 2) for p in (found.raw.long, found.calibrated.long))
    assert after < before - 0.005


@pytest.mark.parametrize("name", EVENT_NAMES)
def test_without_recalibration_confidence_is_the_forecast(name: str) -> None:
    found = of(walk(name, rows=40, recalibration="none"))
    np.testing.assert_array_equal(found.calibrated.long, found.raw.long)


@pytest.mark.parametrize("name", EVENT_NAMES)
@pytest.mark.parametrize("rule_name", ["probability", "expected_move"])
def test_a_rule_says_the_odds_of_the_event_and_names_it(name: str, rule_name: str) -> None:
    believed = walk(name, rows=60, rule=rule_name, confidence_min=0.1, entry_threshold=0.01)
    signals = RULES.create(rule_name).decide(believed)
    long, short = of(believed).calibrated
    np.testing.assert_array_equal(signals.confidence, np.where(signals.action < 0, short, long))
    assert signals.event == name == signals.odds.event.name
    if rule_name == "probability":
        assert signals.odds.event.words[0] in signals.clauses[1]


def test_a_rule_that_never_fires_names_a_threshold_that_the_event_does_reach() -> None:
    with pytest.raises(DataError, match="never fired") as caught:
        decide(walk("top_fifth", rows=60, confidence_min=0.9999))
    suggested = float(caught.value.hint.split("confidence_min=")[1].split()[0])
    assert 0.1 < suggested < 0.95
    assert "'top_fifth'" in caught.value.hint


def hint_of(never_fires: Belief) -> str:
    with pytest.raises(DataError, match="never fired") as caught:
        decide(never_fires)
    return caught.value.hint or ""


def test_a_threshold_below_one_half_or_the_usual_frequency_is_said_to_trade_noise() -> None:
    doubtful = {5: np.full((40, 1), -0.01)}
    hint = hint_of(belief(doubtful, cost=0.02, confidence_min=0.9, recalibration="none"))
    assert "below one half" in hint and "there is no trade here" in hint
    rising = belief(doubtful, close=100 * 1.05 ** np.arange(40.0)[:, None], confidence_min=0.9, recalibration="none")
    hint = hint_of(rising)
    assert "below the 100.0% of all bars" in hint and "there is no trade here" in hint


def test_a_threshold_that_is_surer_than_usual_is_suggested_without_a_warning() -> None:
    sure = belief({5: np.full((40, 1), 0.01)}, 0.02, close=100 * 0.99 ** np.arange(40.0)[:, None], confidence_min=0.9)
    assert "noise" not in hint_of(sure)


# -- profit after costs ------------------------------------------------------------------------------------------


def test_profit_is_counted_from_the_next_open_to_the_close_of_the_last_bar() -> None:
    bars = market(opened=[13, 12, 12, 12], high=[13] * 4, low=[10] * 4, close=[10, 12, 12.02, 12])
    believed = replace(belief({2: np.zeros((4, 1))}, cost=0.001), panel=bars)
    found = of(believed)
    long, short = found.event.outcome(believed, found.trade)
    assert (long[0, 0], short[0, 0]) == (1.0, 0.0)  # 12 -> 12.02: neither from its own open nor from its close
    assert (long[1, 0], short[1, 0]) == (0.0, 0.0)  # 12 -> 12 pays no costs on either side


# -- target before stop ------------------------------------------------------------------------------------------


def on_a_lattice(target: int, stop: int, drift: float, step: float) -> float:
    """Return the chance of a random walk on a grid that both barriers lie on, stepped exactly through time one."""
    up = 0.5 * (1 + np.tanh(drift * step))
    width, mass, reached = target + stop, np.zeros(target + stop + 1), 0.0
    mass[stop] = 1.0
    for _ in range(round(1 / step**2)):
        moved = np.zeros_like(mass)
        moved[1:] += up * mass[:-1]
        moved[:-1] += (1 - up) * mass[1:]
        reached += moved[width]
        moved[0] = moved[width] = 0.0
        mass = moved
    return reached


@pytest.mark.parametrize("drift", [-1.5, -0.2, 0.0, 0.4, 2.0])
@pytest.mark.parametrize(("target", "stop"), [(1.0, 1.0), (0.5, 2.0), (2.0, 0.5), (0.3, 0.4), (0.2, 0.15), (3.0, 1.0)])
def test_the_chance_of_a_touch_is_that_of_a_fine_random_walk(target: float, stop: float, drift: float) -> None:
    step = 0.05 / 4
    walked = on_a_lattice(round(target / step), round(stop / step), drift, step)
    found = touch_probability(np.array([target]), np.array([stop]), np.array([drift]))[0]
    assert found == pytest.approx(walked, abs=5e-4)


@few
@given(distances)
def test_with_the_stop_out_of_reach_it_is_the_reflection_principle(target: float) -> None:
    found = touch_probability(np.array([target]), np.array([12.0]), np.zeros(1))[0]
    assert found == pytest.approx(2 * (1 - ndtr(target)), abs=1e-9)


@few
@given(distances, distances, st.floats(-3, 3))
def test_at_most_one_barrier_is_met_first_and_close_ones_surely(target: float, stop: float, drift: float) -> None:
    up = touch_probability(np.array([target]), np.array([stop]), np.array([drift]))[0]
    down = touch_probability(np.array([stop]), np.array([target]), np.array([-drift]))[0]
    assert 0 <= up <= 1 and up + down <= 1 + 1e-9
    if target + stop < 0.5:
        assert up + down == pytest.approx(1)


def market(opened: object, high: object, low: object, close: object, split: object = 1.0) -> Panel:
    shape = np.shape(np.atleast_2d(np.asarray(close, dtype=float)).T)
    bars = panel(np.atleast_2d(np.asarray(close, dtype=float)).T)
    given_ = {"open": opened, "high": high, "low": low, "close": close, "split": split}
    fields = {k: np.broadcast_to(np.asarray(v, dtype=float).reshape(-1, 1), shape).copy() for k, v in given_.items()}
    mask = np.isfinite(fields["close"])
    return replace(bars, fields={**bars.fields, **fields}, mask=mask)


#: Bars after the deciding close, (open, high, low, close), and what a long with target and stop 10 % away meets.
CANDLES = {
    "the target is touched": ([(100, 105, 95, 100), (100, 110, 99, 105)], 1),
    "the stop is touched": ([(100, 105, 95, 100), (100, 105, 90, 95)], 0),
    "the stop first, the target later": ([(100, 101, 89, 95), (95, 120, 95, 120)], 0),
    "both in one bar count as the stop": ([(100, 111, 89, 100), (100, 100, 100, 100)], 0),
    "an open beyond the target comes first": ([(100, 101, 99, 100), (112, 113, 80, 85)], 1),
    "an open beyond the stop comes first": ([(100, 101, 99, 100), (88, 120, 85, 100)], 0),
    "neither": ([(100, 109.9, 90.1, 100), (100, 109.9, 90.1, 100)], 0),
    "the entry is the next open, and the stop hangs on it": ([(120, 121, 109, 120), (120, 131, 118, 130)], 0),
    "the entry bar counts": ([(100, 110, 95, 100), (100, 100, 80, 80)], 1),
}


@pytest.mark.parametrize("name", CANDLES)
def test_target_and_stop_on_candles(name: str) -> None:
    candles, expected = CANDLES[name]
    table = np.array([(100, 100, 100, 100), *candles], dtype=float)
    tenth = np.full((3, 1), 0.1)
    long = first_touch(market(*table.T), 2, tenth, tenth, side=1)
    assert long[0, 0] == expected
    assert np.isnan(long[1:]).all()


def test_a_short_is_the_mirror_of_a_long() -> None:
    table = np.array([(100, 100, 100, 100), (100, 104, 91, 95), (95, 96, 89, 90)], dtype=float)
    tenth = np.full((3, 1), 0.1)
    assert first_touch(market(*table.T), 2, tenth, tenth, side=-1)[0, 0] == 1
    table[1, 1] = 110
    assert first_touch(market(*table.T), 2, tenth, tenth, side=-1)[0, 0] == 0


def test_a_split_touches_nothing() -> None:
    table = np.array([(100, 100, 100, 100), (100, 101, 99, 100), (50, 52, 49, 51), (51, 55.1, 50, 55)], dtype=float)
    bars = market(*table.T, split=np.array([1, 1, 2, 1]))
    assert first_touch(bars, 3, np.full((4, 1), 0.1), np.full((4, 1), 0.1), side=1)[0, 0] == 1


def test_a_missing_bar_touches_nothing_and_a_missing_entry_is_no_trade() -> None:
    gone = (np.nan,) * 4
    tenth = np.full((4, 1), 0.1)
    later = np.array([(100,) * 4, (100, 101, 99, 100), gone, (100, 111, 99, 110)], dtype=float)
    assert first_touch(market(*later.T), 3, tenth, tenth, side=1)[0, 0] == 1
    never = np.array([(100,) * 4, gone, (100, 111, 99, 110), (100,) * 4], dtype=float)
    assert np.isnan(first_touch(market(*never.T), 3, tenth, tenth, side=1)[0, 0])


def test_a_long_without_a_target_above_the_entry_cannot_win_and_teaches_nothing() -> None:
    believed = belief({5: np.full((20, 1), -0.5)}, 0.02, event="target_before_stop")
    found = of(believed)
    assert np.all(found.calibrated.long == 0)
    assert np.isnan(found.event.outcome(believed, found.trade).long).all()
    assert found.raw.short == pytest.approx(0.1, abs=5e-3)  # so sure a fall passes its p10 one time in ten


# -- top fifth ---------------------------------------------------------------------------------------------------


def test_the_chances_of_a_universe_add_up_to_its_fifth_and_the_wild_end_at_both_ends() -> None:
    sigmas = {5: np.broadcast_to(np.repeat([0.01, 0.05], 5), (40, 10))}
    rng = np.random.default_rng(3)
    close = 100 * np.exp(np.cumsum(0.01 * rng.standard_normal((40, 10)), axis=0))
    found = of(belief({5: np.zeros((40, 10))}, sigmas, close=close, event="top_fifth", recalibration="none"))
    for side in found.raw:
        np.testing.assert_allclose(side.sum(axis=1), 2.0)
        assert np.all(side[:, 5:].min(axis=1) > side[:, :5].max(axis=1))


def test_the_best_of_five_is_the_top_fifth_and_the_worst_is_a_shorts() -> None:
    close = np.array([[100.0] * 5, [101, 99, 105, 100, 104]])
    believed = belief({1: np.zeros((2, 5))}, close=close, event="top_fifth")
    found = of(believed)
    long, short = found.event.outcome(believed, found.trade)
    assert long[0].tolist() == [0, 0, 1, 0, 0]
    assert short[0].tolist() == [0, 1, 0, 0, 0]


@few
@given(st.integers(5, 24), st.integers(0, 1000))
def test_the_fifth_of_a_short_is_that_of_a_long_when_all_returns_are_turned_round(count: int, seed: int) -> None:
    moves = np.random.default_rng(seed).normal(0, 0.02, count)
    up, down = (
        belief({1: np.zeros((2, count))}, close=100 * np.exp(np.outer([0, side], moves)), event="top_fifth")
        for side in (1, -1)
    )
    event_, trade = EVENTS.create("top_fifth"), forecast_trade(up, 1)
    risen, fallen = event_.outcome(up, trade), event_.outcome(down, trade)
    np.testing.assert_array_equal(risen.long, fallen.short)
    np.testing.assert_array_equal(risen.short, fallen.long)
    assert count // 5 <= risen.long[0].sum() == risen.short[0].sum() <= -(-count // 5)


def test_fewer_than_five_symbols_have_no_fifth() -> None:
    with pytest.raises(InputError, match="needs 5 symbols with a forecast at one close; there are 4") as caught:
        of(belief({5: np.zeros((3, 4))}, event="top_fifth"))
    assert "decision.event" in caught.value.hint


def test_a_bar_with_four_of_six_symbols_says_nothing_and_leaves_positions_alone() -> None:
    medians = np.zeros((30, 6))
    medians[10, :2] = np.nan
    rng = np.random.default_rng(4)
    close = 100 * np.exp(np.cumsum(0.01 * rng.standard_normal((30, 6)), axis=0))
    signals = RULES.create("probability").decide(
        belief({5: medians}, close=close, event="top_fifth", confidence_min=0.1)
    )
    assert not signals.decided[10].any()
    assert signals.decided[11].all()

"""Scenarios: what is replayed, what is shocked, and what cannot be priced is said by name."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tradewind.risk.stress import MARKET, Past, joint_betas, play, simple_returns, worst_draw
from tradewind.risk.stress_settings import HISTORY, ScenarioSection, StressSection, sector_of
from tradewind.risk.value_at_risk import simulate_returns

SYMBOLS = ("AAA", "BBB", "NEW")
SECTORS = ("Energy", "Information Technology", "unknown")


def a_past(sessions: int = 300, seed: int = 0) -> Past:
    """Three names of betas 0.5, 2 and 1; the last one begins 100 sessions before the end."""
    draw = np.random.default_rng(seed)
    market = draw.normal(0, 0.01, sessions)
    rates = draw.normal(0, 0.02, sessions)
    moves = np.column_stack([0.5 * market, 2.0 * market + 0.3 * rates, market])
    close = 50 * np.cumprod(1 + moves, axis=0)
    close[:-100, 2] = np.nan
    dates = np.datetime64("2008-01-01") + np.arange(sessions)
    factors = {MARKET: np.cumprod(1 + market), "rates": np.cumprod(1 + rates)}
    return Past(dates, close, factors, SYMBOLS, SECTORS)


HALF = np.array([0.5, 0.5, 0.0])


def test_history_is_replayed_with_the_closes_of_its_ends() -> None:
    past = a_past()
    stretch = ScenarioSection(start=date(2008, 2, 1), end=date(2008, 3, 1))
    found = play("dip", stretch, past, HALF)
    first, last = (int(np.flatnonzero(past.dates == np.datetime64(day))[0]) for day in (stretch.start, stretch.end))
    moves = past.close[last] / past.close[first] - 1
    assert found.loss == pytest.approx(-HALF[:2] @ moves[:2], rel=1e-12)
    path = past.close[first + 1 : last + 1, :2] / past.close[first, :2] - 1
    assert found.worst_loss == pytest.approx(max(-path @ HALF[:2]), rel=1e-12)
    assert (found.covered, found.unpriced, found.via) == (1.0, {}, {})


def test_a_name_that_was_not_there_moves_by_its_beta_and_it_is_said() -> None:
    past = a_past()
    stretch = ScenarioSection(start=date(2008, 2, 1), end=date(2008, 3, 1))
    found = play("dip", stretch, past, np.array([0.4, 0.4, 0.2]))
    index = past.factors[MARKET][60] / past.factors[MARKET][31] - 1
    assert found.moves[2] == pytest.approx(index, rel=1e-9)
    assert "beta 1.00" in found.via["NEW"] and found.covered == 1.0


def test_a_name_without_prices_and_without_a_beta_is_not_priced_and_said_by_name() -> None:
    past = a_past()
    past.close[:-30, 2] = np.nan
    stretch = ScenarioSection(start=date(2008, 2, 1), end=date(2008, 3, 1))
    found = play("dip", stretch, past, np.array([0.4, 0.4, 0.2]))
    assert found.covered == pytest.approx(0.8) and "fewer than 60" in found.unpriced["NEW"]
    assert found.loss == pytest.approx(float(np.nansum(found.losses)))
    told = found.to_dict(SYMBOLS, np.array([0.4, 0.4, 0.2]))
    assert told["status"] == "partly priced" and list(told["unpriced"]) == ["NEW"]
    alone = play("dip", stretch, past, np.array([0.0, 0.0, 1.0]))
    assert math.isnan(alone.loss) and alone.to_dict(SYMBOLS, np.array([0.0, 0.0, 1.0]))["status"] == "unavailable"


def test_a_close_of_up_to_five_sessions_ago_stands_for_the_end_of_a_stretch() -> None:
    stretch = ScenarioSection(start=date(2008, 2, 1), end=date(2008, 3, 1))
    for gap, kind in ((5, ""), (6, "beta")):
        past = a_past()
        past.close[61 - gap : 61, 0] = np.nan
        assert kind in play("dip", stretch, past, HALF).via.get("AAA", "")
        assert bool(play("dip", stretch, past, HALF).via) == bool(kind)


def test_a_gap_on_the_way_is_no_flat_price_and_the_closes_left_out_are_said() -> None:
    """A name that has halved is suspended while the other one dips: nobody knows what the book was worth then."""
    past = a_past()
    past.close[31:61, :2] = 50.0
    past.close[35:60, 0], past.close[46:51, 1] = 25.0, 40.0
    stretch = ScenarioSection(start=date(2008, 2, 1), end=date(2008, 3, 1))
    long, hedged = HALF, HALF * [-1.0, 1.0, 0.0]
    assert play("dip", stretch, past, long).worst_loss == pytest.approx(0.35)
    assert play("dip", stretch, past, hedged).worst_loss == 0.0
    past.close[40:53, 0] = np.nan  # five of these closes are the last one before
    found = play("dip", stretch, past, long)
    assert (found.worst_loss, found.covered) == (pytest.approx(0.25), 1.0)
    assert found.notes == ("the worst loss leaves out 8 of 29 closes on the way: no price then of AAA",)
    assert play("dip", stretch, past, hedged).worst_loss == 0.0, "a loss that was never there is not made up"
    assert play("dip", stretch, past, np.array([0.0, 1.0, 0.0])).notes == ()


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [(date(2020, 2, 19), date(2020, 3, 23), "the data end on"), (date(2007, 1, 1), date(2008, 3, 1), "the data begin")],
)
def test_a_stretch_that_the_data_do_not_have_is_unavailable(start: date, end: date, said: str) -> None:
    found = play("gone", ScenarioSection(start=start, end=end), a_past(), HALF)
    assert math.isnan(found.loss) and said in found.reason
    assert found.to_dict(SYMBOLS, HALF)["status"] == "unavailable"


def test_a_market_shock_reaches_names_by_their_beta() -> None:
    found = play("crash", ScenarioSection(market=-0.2), a_past(), np.array([0.5, 0.3, 0.2]))
    assert found.loss == pytest.approx(0.5 * 0.1 + 0.3 * 0.4 + 0.2 * 0.2, abs=0.02)
    assert "0.50 x market -20.0%" in found.via["AAA"]


def test_shocks_of_two_factors_are_not_counted_twice() -> None:
    past = a_past()
    found = play("both", ScenarioSection(market=-0.1, factor={"rates": 0.2}), past, np.array([0.0, 1.0, 0.0]))
    assert found.moves[1] == pytest.approx(-0.1 * 2.0 + 0.3 * 0.2, abs=1e-9)


def test_the_shock_of_a_name_stands_in_place_of_all_and_that_of_its_sector_comes_on_top() -> None:
    shocks = ScenarioSection(market=-0.1, sector={"Energy": -0.05, "Technology": -0.2}, symbol={"BBB": -0.3})
    found = play("mix", shocks, a_past(), HALF)
    assert found.moves[:2] == pytest.approx([-0.05 - 0.05, -0.3], abs=1e-9)
    assert found.worst(SYMBOLS)[0] == ("BBB", pytest.approx(0.15))
    assert "BBB" not in found.via


def test_a_sector_shock_does_not_price_a_name_whose_sector_is_unknown() -> None:
    found = play("mix", ScenarioSection(sector={"Energy": -0.1}), a_past(), np.array([0.5, 0.3, 0.2]))
    assert found.unpriced == {"NEW": "its sector is unknown"} and found.covered == pytest.approx(0.8)
    assert found.loss == pytest.approx(0.05)


def test_a_shock_of_what_there_is_no_series_of_is_unavailable_and_one_of_what_is_not_held_is_noted() -> None:
    gone = play("vix", ScenarioSection(factor={"vix": 1.0}), a_past(), HALF)
    assert math.isnan(gone.loss) and "'vix'" in gone.reason and "rates" in gone.reason
    idle = play("idle", ScenarioSection(symbol={"ZZZ": -0.5}), a_past(), HALF)
    assert (idle.loss, idle.notes) == (0.0, ("nothing is held of ZZZ",))


def test_nothing_loses_more_than_everything() -> None:
    found = play("end", ScenarioSection(market=-0.9), a_past(), np.array([0.0, 1.0, 0.0]))
    assert found.loss == 1.0 and "-100 %" in found.notes[0]


@given(st.integers(0, 1000))
def test_a_loss_is_linear_in_the_book_and_a_short_book_gains_what_a_long_one_loses(seed: int) -> None:
    past, weights = a_past(), np.random.default_rng(seed).normal(size=3)
    for scenario in (ScenarioSection(market=-0.1), ScenarioSection(start=date(2008, 2, 1), end=date(2008, 5, 1))):
        once, twice, short = (play("x", scenario, past, k * weights).loss for k in (1, 2, -1))
        assert twice == pytest.approx(2 * once, rel=1e-9) and short == pytest.approx(-once, rel=1e-9)


def test_joint_betas_are_least_squares_and_unknown_where_factors_move_as_one() -> None:
    past = a_past()
    x = np.column_stack([simple_returns(past.factors[name][:, None])[:, 0] for name in (MARKET, "rates")])
    y = past.returns
    design = np.column_stack([np.ones(299), x[1:]])
    expected = np.linalg.lstsq(design, y[1:, 1], rcond=None)[0][1:]
    assert joint_betas(y, x)[1] == pytest.approx(expected, rel=1e-8)
    assert np.isnan(joint_betas(y, np.column_stack([x[:, 0], x[:, 0]]))).all()


def test_the_worst_draw_is_the_worst_and_one_seed_gives_one_answer() -> None:
    covariance, weights = np.diag([1e-4, 4e-4, np.nan]), np.array([0.5, -0.5, 0.0])
    found = worst_draw(covariance, weights, samples=3000, seed=5)
    draws = simulate_returns(covariance[:2, :2], 3000, np.random.default_rng(5), horizon_sessions=20, freedom=5.0)
    assert found.loss == pytest.approx(float(np.max(-draws @ weights[:2])), rel=1e-12)
    assert found.loss == worst_draw(covariance, weights, samples=3000, seed=5).loss
    assert math.isnan(worst_draw(np.full((3, 3), np.nan), weights).loss)
    assert worst_draw(covariance, np.zeros(3)).reason == "nothing is held"


def test_a_flat_book_loses_nothing() -> None:
    found = play("crash", ScenarioSection(market=-0.2), a_past(), np.zeros(3))
    assert (found.loss, found.covered) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"sector": {"Tecnology": -0.1}}, "did you mean 'Information Technology'"),
        ({"sector": {"Technology": -0.1, "Information Technology": -0.2}}, "shocked twice"),
        ({"symbol": {"A": -1.5}}, "must lie in"),
        ({"market": -2.0}, "greater than or equal"),
        ({}, "start and end, or shocks"),
        ({"market": -0.1, "start": "2008-01-01", "end": "2008-02-01"}, "start and end, or shocks"),
        ({"start": "2008-01-01"}, "both start and end"),
        ({"start": "2008-02-01", "end": "2008-01-01"}, "before it begins"),
        ({"markt": -0.1}, "Extra inputs"),
    ],
)
def test_a_scenario_that_cannot_be_is_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ScenarioSection.model_validate(values)


def test_a_section_has_the_three_crises_and_a_playbooks_own() -> None:
    section = StressSection.model_validate({"scenarios": {"chips": {"symbol": {"NVDA": -0.3}, "market": -0.2}}})
    assert list(section.all) == ["2008", "2020", "2022", "chips"] == [*HISTORY, "chips"]
    assert HISTORY["2008"].start == date(2008, 9, 2) and HISTORY["2022"].end == date(2022, 10, 12)
    with pytest.raises(ValidationError, match="did you mean '2008'"):
        StressSection(history=("208",))
    assert [sector_of(name) for name in ("technology", "unknown")] == ["Information Technology", "unknown"]

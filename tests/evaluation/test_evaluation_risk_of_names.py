"""The risk of each name at the newest close: what it rests on, and what is said where it cannot be known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from spine_kit import QuickRun
from tradewind.cli.common import plain
from tradewind.evaluation.risk_of_names import LEAST_PAST, Names, compared_rows, measure, names_of
from tradewind.evaluation.stress import sessions_of
from tradewind.risk import garch
from tradewind.risk.covariance import sample_covariance
from tradewind.risk.features import RISK_FEATURES, RiskFeaturesSection
from tradewind.risk.settings import RiskSection

RISK = RiskSection()
QUICK = RiskFeaturesSection(history_bars=300, enough_rows=250, draws=300)


def names(count: int = 4, sessions: int = 900, seed: int = 1) -> Names:
    """Names with a common factor, which is the first market; volatility comes in waves."""
    r = np.random.default_rng(seed)
    wave = 0.01 * np.exp(0.5 * np.sin(np.arange(sessions) / 60))[:, None]
    market = r.standard_t(5, (sessions, 1)) * wave
    own = r.standard_t(5, (sessions, count)) * wave
    returns = 0.7 * market + 0.7 * own
    return Names(tuple(f"N{i}" for i in range(count)), returns, np.column_stack([market, market[::-1]]))


@pytest.fixture(scope="module")
def found() -> dict:
    return measure(names(), RISK, options=QUICK)


def test_every_name_has_all_there_is(found: dict) -> None:
    assert list(found["symbols"]) == ["N0", "N1", "N2", "N3"]
    for row in found["symbols"].values():
        assert tuple(row["features"]) == RISK_FEATURES
        assert all(np.isfinite(value) for value in row["features"].values())
        assert 1 <= row["risk_score"] <= 10 and row["risk_score_known"] == pytest.approx(1)
        assert row["dependence"]["spy"]["correlation"] > 0.4 > abs(row["dependence"]["qqq"]["correlation"])
    assert 0 < found["book"]["diversification_benefit"] < 1 and found["book"]["left_out"] == []


def test_features_and_volatility_are_one_model(found: dict) -> None:
    world, settings = names(), QUICK
    for n, (symbol, row) in enumerate(found["symbols"].items()):
        alone = garch.fit(np.ascontiguousarray(world.returns[-settings.history_bars :, n]))
        assert row["volatility"]["horizon"] == pytest.approx(alone.over(5) * 252**0.5), symbol
        assert row["features"]["volatility_forecast"] == pytest.approx(row["volatility"]["horizon"])
        assert row["features"]["volatility_regime"] == (row["volatility"]["regime"] == "high")
        assert row["features"]["correlation_spy"] == pytest.approx(row["dependence"]["spy"]["correlation"])


def test_correlations_are_those_of_the_covariance(found: dict) -> None:
    window = names().returns[-QUICK.history_bars :]
    matrix = sample_covariance(
        window, half_life_bars=RISK.half_life_sessions, shrinkage=RISK.shrinkage, least=RISK.warm_up_sessions
    )
    for row in found["correlations"]["pairs"]:
        a, b = (int(symbol[1]) for symbol in row["symbols"])
        assert row["shrunk"] == pytest.approx(matrix[a, b] / np.sqrt(matrix[a, a] * matrix[b, b]))
        assert found["correlations"]["matrix"][f"N{a}"][f"N{b}"] == row["shrunk"]
    shrunk = [row["shrunk"] for row in found["correlations"]["pairs"]]
    assert len(shrunk) == 6 and shrunk == sorted(shrunk, reverse=True)


def test_what_lies_before_every_window_does_not_matter() -> None:
    world = names(sessions=1600)
    wild = world.returns.copy()
    wild[:100] *= 9
    before, after = (measure(w, RISK, options=QUICK) for w in (world, replace(world, returns=wild)))
    assert json.dumps(plain(before)) == json.dumps(plain(after))


def test_a_calm_name_scores_below_a_wild_one() -> None:
    world = names()
    scaled = world.returns * np.array([0.3, 1.0, 1.0, 3.0])
    found = measure(replace(world, returns=scaled), RISK, options=QUICK)["symbols"]
    assert found["N0"]["risk_score"] + 2 < found["N3"]["risk_score"]


def test_without_the_second_market_its_features_are_missing_with_the_reason() -> None:
    world = names()
    market = world.market.copy()
    market[:, 1] = np.nan
    found = measure(replace(world, market=market), RISK, options=QUICK)
    for row in found["symbols"].values():
        assert np.isnan(row["features"]["correlation_qqq"]) and "QQQ: unknown: 0 rows in common" in row["reason"]
        assert row["dependence"]["qqq"]["reason"] and np.isfinite(row["features"]["lower_tail_dependence"])
        assert 1 <= row["risk_score"] <= 10 and row["risk_score_known"] == pytest.approx(0.9)


def test_young_idle_and_constant_names_say_why_they_are_unknown() -> None:
    world = names(5)
    returns = world.returns.copy()
    returns[:-100, 0] = np.nan
    returns[-20:, 1] = np.nan
    returns[:, 2] = 0.0
    found = measure(replace(world, returns=returns), RISK, options=QUICK)
    young, idle, flat = (found["symbols"][name] for name in ("N0", "N1", "N2"))
    assert (young["volatility"]["used"], young["volatility"]["cause"]) == ("ewma", "too_few_returns")
    assert "tails pooled" in young["reason"]
    assert idle["volatility"]["why"] == "no return for 20 sessions" and "no return for 20 bars" in idle["reason"]
    assert np.isnan(idle["volatility"]["now"]) and idle["volatility"]["regime"] == "unknown"
    assert all(np.isnan(value) for value in idle["features"].values()) and np.isnan(idle["risk_score"])
    assert flat["volatility"]["used"] == "none" and "every return is the same" in flat["reason"]
    fell_back = found["volatility_models"]["fell_back"]
    assert (fell_back["too_few_returns"], fell_back["constant"]) == (["N0"], ["N2"])
    assert found["book"]["left_out"] == ["N1", "N2"]


def test_a_single_name_has_a_score_and_no_correlations() -> None:
    found = measure(names(1, sessions=1400), RISK, options=QUICK)
    assert found["score"]["measurements"] >= LEAST_PAST and 1 <= found["symbols"]["N0"]["risk_score"] <= 10
    assert found["correlations"]["pairs"] == [] and "single name" in found["correlations"]["reason"]
    assert np.isnan(found["book"]["diversification_benefit"]) and found["book"]["reason"]


def test_a_history_that_is_too_short_is_compared_with_nothing() -> None:
    found = measure(names(sessions=200), RISK, options=QUICK)
    assert all(np.isnan(row["risk_score"]) for row in found["symbols"].values())
    assert "0 earlier measurements" in found["score"]["reason"]
    assert found["volatility_models"]["used"] == {"ewma": 4}


@pytest.mark.parametrize("count", [1, 5, 30, 341, 1453])
@pytest.mark.parametrize("sessions", [100, 256, 800, 3000])
def test_the_work_is_bounded_and_the_newest_session_is_always_measured(count: int, sessions: int) -> None:
    late = (sessions - 1) % 5
    rows = compared_rows(sessions - late, count, 5)
    assert rows[-1] == sessions - late - 1 and not (rows % 5).any() and (np.diff(rows) > 0).all()
    assert (rows[:-1] >= garch.LEAST_RETURNS).all()
    assert len(rows) * count <= max(2 * LEAST_PAST, 4 * count) + 5 * count


def test_names_are_taken_from_the_panel_by_session(quick: QuickRun) -> None:
    seen = sessions_of(quick.record.world.panel, 750)
    taken = names_of(seen, ["CCC", "AAA"])
    close = seen.past.close[:, [2, 0]]
    np.testing.assert_allclose(np.expm1(taken.returns[1:]), close[1:] / close[:-1] - 1)
    assert np.isnan(taken.market[:, 1]).all() and np.isfinite(taken.market[1:, 0]).all()

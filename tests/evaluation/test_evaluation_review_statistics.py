"""Statistics that a sceptic would ask about: gaps, drift, years, dependence, and who is compared with whom."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from spine_kit import panel
from tradewind.evaluation.fold_cache import key_of, libraries
from tradewind.evaluation.forecast_quality import quality_table, scores
from tradewind.evaluation.settings import TargetsSection
from tradewind.evaluation.track_record import (
    Trials,
    buy_and_hold,
    deflated,
    index_returns,
    periods_per_year,
    weights_before,
)
from tradewind.evaluation.verdict import judge_targets
from tradewind.market.panel import Panel
from tradewind.models.forecast import LEVELS, Forecast


def world(close: np.ndarray, index: np.ndarray | None = None) -> Any:
    market = panel(close)
    context = {} if index is None else {"index": index}
    return SimpleNamespace(
        panel=Panel(
            market.times, market.symbols, market.symbols, market.fields, market.mask, market.member, context=context
        )
    )


def test_holding_earns_what_a_price_did_over_a_gap() -> None:
    close = np.array([[100.0], [110.0], [np.nan], [np.nan], [55.0], [55.0]])
    earned = buy_and_hold(world(close), 0)
    assert earned == pytest.approx([0.1, 0.0, 0.0, -0.5, 0.0])
    assert np.prod(1 + earned) == pytest.approx(0.55)


def test_the_index_earns_what_it_did_over_a_gap() -> None:
    close, index = np.full((4, 1), 10.0), np.array([100.0, np.nan, 90.0, 99.0])
    assert index_returns(world(close, index), 0) == pytest.approx([0.0, -0.1, 0.1])


def test_what_only_drifts_is_not_turned_over() -> None:
    close = np.array([[10.0, 10.0], [12.0, 9.0], [15.0, 8.0]])
    shares = np.array([[5.0, 5.0], [5.0, 5.0], [5.0, 0.0]])
    book = SimpleNamespace(shares=shares, equity=np.full(3, 200.0))
    before = weights_before(world(close), book)  # type: ignore[arg-type]
    now = shares * close / 200.0
    assert before[1] == pytest.approx(now[1])
    assert np.abs(now[2] - before[2]).sum() == pytest.approx(5 * 8 / 200.0)


@pytest.mark.parametrize(
    ("timeframe", "bars"), [("1d", 252), ("1w", 52.18), ("1h", 252 * 7), ("30m", 252 * 13), ("1m", 252 * 390)]
)
def test_a_year_has_the_bars_that_the_calendar_gives_it(timeframe: str, bars: float) -> None:
    assert periods_per_year(timeframe) == pytest.approx(bars, abs=0.01)


def record(**changes: Any) -> dict[str, Any]:
    usual = {
        "sharpe_ci": [-0.2, 1.8],
        "confidence_level": 0.95,
        "bars": 208,
        "bars_per_year": 52.0,
        "annual_return": 0.10,
        "volatility": 0.05,
        "tracking_error": 0.20,
        "baselines": {"index": {"annual_return": 0.0}},
    }
    return {**usual, **changes}


def test_four_years_of_weeks_are_four_years() -> None:
    (row,) = judge_targets(TargetsSection(annual_return_min=0.02), record(), {})
    assert row["ci"] == pytest.approx([0.10 - 1.96 * 0.05 / 2, 0.10 + 1.96 * 0.05 / 2], abs=1e-5)
    assert row["verdict"] == "met"


def test_the_lead_over_the_index_is_as_sure_as_both_their_moves_allow() -> None:
    (row,) = judge_targets(TargetsSection(beats_index=True), record(), {})
    assert row["verdict"] == "cannot tell"
    assert row["ci"] == pytest.approx([0.10 - 1.96 * 0.1, 0.10 + 1.96 * 0.1], abs=1e-5)


def test_the_level_of_the_playbook_is_the_level_of_every_interval() -> None:
    wide, narrow = (
        judge_targets(TargetsSection(annual_return_min=0.02), record(confidence_level=level), {})[0]["ci"]
        for level in (0.99, 0.60)
    )
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_a_trial_without_a_sharpe_ratio_still_deflates() -> None:
    returns = np.random.default_rng(2).normal(0.0006, 0.01, 500)
    assert deflated(returns, Trials(9, (1.0,), ()), 252) < deflated(returns, Trials(1, (1.0,), ()), 252)


# -- forecasts -----------------------------------------------------------------------------------------------


def forecast(sigma: np.ndarray, name: str, score: np.ndarray | None = None) -> Forecast:
    from scipy.special import ndtri

    rows, columns = sigma.shape
    times = np.datetime64("2015-01-05T21:00:00", "us") + np.arange(rows) * np.timedelta64(1, "D")
    quantiles = (sigma[..., None] * ndtri(np.asarray(LEVELS)))[:, :, None, :]
    said = np.zeros(sigma.shape) if score is None else score
    return Forecast(times, tuple(f"S{n}" for n in range(columns)), (1,), LEVELS, quantiles, said[..., None], model=name)


def test_models_are_compared_on_the_symbols_that_both_forecast() -> None:
    rng = np.random.default_rng(4)
    spread = np.array([0.01, 0.01, 0.01, 0.10])
    outcomes = rng.standard_normal((300, 4)) * spread
    naive = np.tile(spread, (300, 1))
    shy = naive.copy()
    shy[:, 3] = np.nan  # the wild one it does not dare to forecast
    forecasts = {"naive": forecast(naive, "naive"), "shy": forecast(shy, "shy")}
    table = quality_table(forecasts, outcomes[..., None], "naive", (1,))
    assert table["shy"]["1"]["pinball"] < 0.5 * table["naive"]["1"]["pinball"]
    assert table["shy"]["1"]["pinball_skill"] == pytest.approx(0.0, abs=1e-12)


def test_symbols_that_move_together_are_one_observation_of_a_direction() -> None:
    rng = np.random.default_rng(5)
    market = rng.standard_normal((400, 1)) * 0.01
    sigma, score = np.full((400, 30), 0.01), np.ones((400, 30))
    together = scores(forecast(sigma, "one", score), np.repeat(market, 30, axis=1), 0)
    apart = scores(forecast(sigma, "many", score), rng.standard_normal((400, 30)) * 0.01, 0)
    assert together.directional_accuracy_error == pytest.approx(0.5 / math.sqrt(400), rel=0.3)
    assert apart.directional_accuracy_error == pytest.approx(0.5 / math.sqrt(400 * 30), rel=0.3)


def test_a_fold_of_other_libraries_is_another_fold(quick: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tradewind.evaluation import corridor, fold_cache

    fold = corridor.folds_of(quick.record.world)[0]
    before = key_of(quick.record.world, "ridge", fold)
    newer = {**libraries(), "lightgbm": "99.0"}
    monkeypatch.setattr(fold_cache, "libraries", lambda: newer)
    assert key_of(quick.record.world, "ridge", fold) != before

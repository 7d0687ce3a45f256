"""The eight risk features: causal, carried forward, unknown where they must be, and what they say of known markets."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from tradewind.errors import InputError
from tradewind.models.garch import variance_path
from tradewind.risk.features import (
    RISK_FEATURES,
    Filtered,
    RiskFeatures,
    RiskFeaturesSection,
    risk_features,
    typical_garch,
)

Array = NDArray[np.float64]
QUICK = RiskFeaturesSection(every_bars=4, history_bars=400, enough_rows=200, draws=500)
BETA = np.array([0.9, 0.2, -0.5])


def market_of(rows: int, seed: int = 0) -> tuple[Array, Array]:
    """Three stocks, near to the market, far from it and against it; SPY and QQQ."""
    draw = np.random.default_rng(seed)
    shared = np.sqrt(6 / draw.chisquare(6, size=(rows, 1)))
    news = draw.normal(size=(rows, 5)) * shared * 0.01
    spy = news[:, 0]
    qqq = 0.9 * spy + 0.4 * news[:, 1]
    stocks = BETA * spy[:, None] + np.sqrt(1 - BETA**2) * news[:, 2:]
    return stocks, np.column_stack([spy, qqq])


def named(features: RiskFeatures, name: str) -> Array:
    return features.values[:, :, features.names.index(name)]


def test_a_prefix_of_the_returns_gives_a_prefix_of_the_features() -> None:
    stocks, market = market_of(330)
    whole = risk_features(stocks, market, np.arange(280, 330), QUICK)
    prefix = risk_features(stocks[:301], market[:301], np.arange(280, 301), QUICK)
    np.testing.assert_array_equal(whole.values[:21], prefix.values)
    assert (whole.reasons[:21] == prefix.reasons).all()


def test_another_future_changes_nothing() -> None:
    stocks, market = market_of(320)
    plain = risk_features(stocks, market, [299, 300], QUICK)
    stocks[301:], market[301:] = 5.0, np.nan
    np.testing.assert_array_equal(plain.values, risk_features(stocks, market, [299, 300], QUICK).values)


def test_a_measurement_is_carried_forward_until_the_next_and_says_when_it_was_made() -> None:
    stocks, market = market_of(310)
    found = risk_features(stocks, market, np.arange(296, 305), QUICK)
    assert found.measured.tolist() == [296] * 4 + [300] * 4 + [304]
    for row in range(9):
        np.testing.assert_array_equal(found.values[row], found.values[found.measured[row] - 296])
    assert not np.array_equal(found.values[3], found.values[4])


def test_rows_may_be_asked_for_in_any_order_and_more_than_once() -> None:
    stocks, market = market_of(310)
    found = risk_features(stocks, market, [305, 290, 305], QUICK)
    one = risk_features(stocks, market, [305], QUICK)
    np.testing.assert_array_equal(found.values[[0, 2]], np.repeat(one.values, 2, axis=0))
    assert risk_features(stocks, market, [], QUICK).values.shape == (0, 3, 8)


def test_one_stock_does_not_change_what_is_said_of_another() -> None:
    stocks, market = market_of(310)
    all_of_them, alone = (risk_features(part, market, [308], QUICK) for part in (stocks, stocks[:, 1:2]))
    np.testing.assert_allclose(all_of_them.values[:, 1:2], alone.values, rtol=1e-12)


def test_twice_the_returns_are_twice_the_volatility_and_nothing_else() -> None:
    stocks, market = market_of(310)
    plain, doubled = (risk_features(k * stocks, k * market, [308], QUICK) for k in (1.0, 2.0))
    scale = np.where(np.isin(RISK_FEATURES, ["volatility_forecast", "value_at_risk"]), 2.0, 1.0)
    np.testing.assert_allclose(doubled.values, plain.values * scale, rtol=1e-9)


def test_correlations_tails_and_benefits_rank_the_stocks_as_they_were_made() -> None:
    stocks, market = market_of(1000)
    found = risk_features(stocks, market, [999], RiskFeaturesSection(every_bars=1, history_bars=1000))
    np.testing.assert_allclose(named(found, "correlation_spy")[0], BETA, atol=0.1)
    lower = named(found, "lower_tail_dependence")[0]
    assert lower[0] > lower[1] > lower[2] >= 0
    assert (np.diff(named(found, "diversification_benefit")[0]) > 0).all()
    assert (found.reasons == "").all()


def test_the_volatility_forecast_is_that_of_the_recursion_told_by_hand() -> None:
    stocks, market = market_of(200)
    found = risk_features(stocks, market, [199], RiskFeaturesSection(every_bars=1))
    own = stocks[:, 0]
    base, ahead = np.mean(own**2), []
    variance = variance_path(own, base, 0.08, 0.90)[-1]
    for _ in range(5):
        ahead.append(variance)
        variance = base + 0.98 * (variance - base)
    volatility = np.sqrt(np.mean(ahead))
    assert named(found, "volatility_forecast")[0, 0] == pytest.approx(volatility * np.sqrt(252))
    residuals = own / np.sqrt(variance_path(own, base, 0.08, 0.90)[:-1])
    expected = -np.quantile(residuals, 0.05) * volatility * np.sqrt(5)
    assert named(found, "value_at_risk")[0, 0] == pytest.approx(expected)


def test_the_regime_is_high_after_a_shock_that_nobody_expected_and_normal_else() -> None:
    stocks, market = market_of(301)
    calm = risk_features(stocks, market, [300], QUICK)
    stocks[300, 1] = 0.12
    shocked = risk_features(stocks, market, [300], QUICK)
    assert named(calm, "volatility_regime")[0].tolist() == [0.0, 0.0, 0.0]
    assert named(shocked, "volatility_regime")[0].tolist() == [0.0, 1.0, 0.0]


def test_any_model_of_volatility_may_be_handed_over_and_sees_only_the_past() -> None:
    stocks, market = market_of(310)
    lengths: list[int] = []

    def constant(returns: Array, horizon_bars: int) -> Filtered:
        lengths.append(len(returns))
        sigma = np.nanstd(returns, axis=0)
        return Filtered(returns / sigma, sigma, sigma * np.array([1.0, 1.6, 1.4, 1.0, 1.0]))

    short = RiskFeaturesSection(every_bars=10, history_bars=250)
    found = risk_features(stocks, market, [200, 305], short, constant)
    assert lengths == [201, 250]
    assert named(found, "volatility_regime")[1].tolist() == [0.0, 1.0, 0.0]
    own = stocks[51:301, 0]
    assert named(found, "volatility_forecast")[1, 0] == pytest.approx(own.std() * np.sqrt(252))
    assert named(found, "correlation_spy")[1, 0] == pytest.approx(
        np.sin(np.pi / 2 * stats.kendalltau(own, market[51:301, 0]).statistic)
    )


def test_the_market_itself_diversifies_nothing() -> None:
    _, market = market_of(301)
    found = risk_features(market[:, :1], market, [300], QUICK)
    assert named(found, "correlation_spy").item() == 1.0
    assert named(found, "lower_tail_dependence").item() == 1.0
    assert named(found, "diversification_benefit").item() == pytest.approx(0.0, abs=1e-12)
    assert found.reasons.item() == "SPY: the two are the same series"


def test_a_stock_of_few_days_is_unknown_and_one_of_some_is_pooled() -> None:
    stocks, market = market_of(301)
    stocks[:250, 0], stocks[:150, 1] = np.nan, np.nan
    found = risk_features(stocks, market, [300], QUICK)
    assert np.isnan(found.values[0, 0]).all()
    assert found.reasons[0, 0] == "unknown: 51 returns, of 60 needed"
    assert np.isfinite(found.values[0, 1]).all()
    assert found.reasons[0, 1].startswith("SPY: tails pooled: 151 rows, 200 for its own")


def test_a_halted_stock_is_unknown_once_a_measurement_has_no_return_of_it() -> None:
    stocks, market = market_of(320)
    stocks[300:, 0] = np.nan
    found = risk_features(stocks, market, [300, 304, 308], QUICK)
    assert np.isfinite(found.values[0, 0]).all()
    assert np.isnan(found.values[1:, 0]).all()
    assert found.reasons[:, 0].tolist() == ["", "unknown: no return for 5 bars", "unknown: no return for 9 bars"]
    assert np.isfinite(found.values[:, 1:]).all()


@pytest.mark.parametrize("level", [0.0, 0.01])
def test_a_price_that_stands_still_or_rises_like_a_clock_has_no_risk_that_is_known(level: float) -> None:
    stocks, market = market_of(301)
    stocks[:, 2] = level
    found = risk_features(stocks, market, [300], QUICK)
    assert np.isnan(found.values[0, 2]).all()
    assert "every return is the same" in found.reasons[0, 2]


def test_without_qqq_only_what_needs_it_is_unknown() -> None:
    stocks, market = market_of(301)
    market[:, 1] = np.nan
    found = risk_features(stocks, market, [300], QUICK)
    assert np.isnan(named(found, "correlation_qqq")).all()
    rest = [k for k, name in enumerate(RISK_FEATURES) if name != "correlation_qqq"]
    assert np.isfinite(found.values[:, :, rest]).all()
    assert found.reasons[0, 0] == "QQQ: unknown: 0 rows in common, of 60 needed"


def test_at_the_very_beginning_nothing_is_known() -> None:
    stocks, market = market_of(80)
    found = risk_features(stocks, market, [0, 40], QUICK)
    assert np.isnan(found.values).all()
    assert found.reasons[0, 0] == "unknown: 1 returns, of 60 needed"


def test_the_asymmetric_copula_may_be_asked_for() -> None:
    stocks, market = market_of(301)
    odd = RiskFeaturesSection(every_bars=1, enough_rows=200, family="asymmetric", draws=500)
    found = risk_features(stocks[:, :1], market, [300], odd)
    assert np.isfinite(found.values).all()


def test_the_typical_filter_skips_what_is_missing() -> None:
    returns = np.random.default_rng(1).normal(size=(100, 3)) * 0.01
    holes = np.insert(returns, 50, np.nan, axis=0)
    plain, skipped = typical_garch(returns, 5), typical_garch(holes, 5)
    np.testing.assert_array_equal(np.delete(skipped.residuals, 50, axis=0), plain.residuals)
    np.testing.assert_array_equal(skipped.ahead, plain.ahead)
    nothing = typical_garch(np.full((10, 1), np.nan), 5)
    assert np.isnan(nothing.ahead).all() and np.isnan(nothing.residuals).all()


def test_tables_that_do_not_fit_together_are_refused() -> None:
    stocks, market = market_of(100)
    with pytest.raises(InputError):
        risk_features(stocks, market[:, :1], [5])
    with pytest.raises(InputError):
        risk_features(stocks[:50], market, [5])
    with pytest.raises(InputError):
        risk_features(stocks, market, [100])
    with pytest.raises(InputError):
        risk_features(stocks, market, [-1])

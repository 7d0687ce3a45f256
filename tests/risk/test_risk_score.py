"""The risk score: bounded, rising with risk, and made of the past only."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tradewind.errors import InputError
from tradewind.risk.features import RISK_FEATURES, RiskFeatures
from tradewind.risk.score import WEIGHTS, past_share, risk_scores

Array = NDArray[np.float64]
WORSE = ("volatility_forecast", "volatility_regime", "correlation_spy", "correlation_qqq", "lower_tail_dependence")


def features_of(values: Array) -> RiskFeatures:
    rows = np.arange(len(values))
    return RiskFeatures(values, rows, rows, np.full(values.shape[:2], "", dtype=object))


def measured(rows: int = 60, stocks: int = 10, seed: int = 0) -> Array:
    values = np.random.default_rng(seed).normal(size=(rows, stocks, len(RISK_FEATURES)))
    values[:, :, 1] = values[:, :, 1] > 1.5
    return values


def told_one_by_one(values: Array, least: int) -> Array:
    found = np.full(values.shape, np.nan)
    for row in range(len(values)):
        past = values[:row][np.isfinite(values[:row])]
        for column in range(values.shape[1]):
            if len(past) >= least and np.isfinite(values[row, column]):
                found[row, column] = (past < values[row, column]).mean()
    return found


@given(st.integers(0, 2**31), st.integers(1, 30))
def test_the_share_of_the_past_is_what_counting_gives(seed: int, least: int) -> None:
    draw = np.random.default_rng(seed)
    values = np.round(draw.normal(size=(30, 4)), 1)
    values[draw.random(values.shape) < 0.2] = np.nan
    np.testing.assert_array_equal(past_share(values, least), told_one_by_one(values, least))


def test_scores_lie_between_one_and_ten_and_use_most_of_it() -> None:
    found = risk_scores(features_of(measured(200)))
    known = found.values[np.isfinite(found.values)]
    assert 1.0 <= known.min() < 3.0
    assert 8.0 < known.max() <= 10.0


def test_calm_and_apart_is_one_and_the_worst_ever_is_near_ten() -> None:
    values = measured()
    worst = np.sign([WEIGHTS[name] for name in RISK_FEATURES]) * 100.0
    worst[1] = 1.0
    values[-1, 0], values[-1, 1] = -worst, worst
    values[-1, 0, 1] = 0.0
    found = risk_scores(features_of(values)).values[-1]
    assert found[0] == 1.0
    assert found[1] > 9.8


@given(st.integers(0, 2**31), st.floats(0, 3), st.sampled_from(WORSE))
def test_more_of_what_is_risk_never_lowers_the_score(seed: int, more: float, name: str) -> None:
    values = measured(45, seed=seed)
    raised = values.copy()
    raised[-1, 3, RISK_FEATURES.index(name)] += more
    before, after = (risk_scores(features_of(v)).values[-1] for v in (values, raised))
    assert after[3] >= before[3]
    np.testing.assert_array_equal(np.delete(after, 3), np.delete(before, 3))


@pytest.mark.parametrize("name", ["volatility_forecast", "lower_tail_dependence", "value_at_risk"])
def test_volatility_and_tails_from_calm_to_wild_raise_the_score_step_by_step(name: str) -> None:
    values = measured(stocks=12)
    values[-1] = values[-1, 0]
    values[-1, :, RISK_FEATURES.index(name)] = np.linspace(-2, 2, 12)
    assert (np.diff(risk_scores(features_of(values)).values[-1]) > 0).all()


def test_more_diversification_never_raises_the_score() -> None:
    values = measured(stocks=12)
    values[-1] = values[-1, 0]
    values[-1, :, RISK_FEATURES.index("diversification_benefit")] = np.linspace(-2, 2, 12)
    assert (np.diff(risk_scores(features_of(values)).values[-1]) < 0).all()


@given(st.integers(0, 2**31), st.integers(1, 59))
def test_a_prefix_of_the_features_gives_a_prefix_of_the_scores(seed: int, rows: int) -> None:
    values = measured(seed=seed)
    whole, prefix = risk_scores(features_of(values)), risk_scores(features_of(values[:rows]))
    np.testing.assert_array_equal(whole.values[:rows], prefix.values)
    np.testing.assert_array_equal(whole.known[:rows], prefix.known)


def test_permuting_stocks_permutes_scores() -> None:
    values, order = measured(), np.random.default_rng(1).permutation(10)
    np.testing.assert_array_equal(
        risk_scores(features_of(values)).values[:, order], risk_scores(features_of(values[:, order])).values
    )


def test_a_rising_function_of_a_feature_changes_nothing() -> None:
    values = measured()
    np.testing.assert_array_equal(
        risk_scores(features_of(values)).values, risk_scores(features_of(np.exp(values))).values
    )


def test_before_there_is_a_past_there_is_no_score() -> None:
    found = risk_scores(features_of(measured(stocks=10)), least_past=250)
    assert np.isnan(found.values[:25]).all()
    assert np.isfinite(found.values[25:]).all()


def test_one_market_may_be_missing_but_not_the_tails_and_the_correlations() -> None:
    values = measured()
    values[:, 0, RISK_FEATURES.index("correlation_qqq")] = np.nan
    for name in ("correlation_spy", "correlation_qqq", "lower_tail_dependence"):
        values[:, 1, RISK_FEATURES.index(name)] = np.nan
    values[:, 2] = np.nan
    found = risk_scores(features_of(values))
    assert np.isfinite(found.values[-1, 0])
    assert found.known[-1, [0, 1, 2]] == pytest.approx([0.9, 0.6, 0.0])
    assert np.isnan(found.values[-1, [1, 2]]).all()


def test_rising_together_counts_only_for_those_who_ask() -> None:
    values = measured()
    raised = values.copy()
    raised[-1, :, RISK_FEATURES.index("upper_tail_dependence")] += 5
    plain, same = (risk_scores(features_of(v)).values[-1] for v in (values, raised))
    np.testing.assert_array_equal(plain, same)
    asked = {**WEIGHTS, "upper_tail_dependence": 0.2}
    low, high = (risk_scores(features_of(v), asked).values[-1] for v in (values, raised))
    assert (high > low).all()


def test_weights_that_are_none_and_rows_out_of_order_are_refused() -> None:
    told = features_of(measured())
    with pytest.raises(InputError, match="beta"):
        risk_scores(told, {"beta": 1.0})
    with pytest.raises(InputError):
        risk_scores(told, {"volatility_forecast": 0.0})
    backwards = RiskFeatures(told.values, told.rows[::-1], told.measured, told.reasons)
    with pytest.raises(InputError, match="rise"):
        risk_scores(backwards)

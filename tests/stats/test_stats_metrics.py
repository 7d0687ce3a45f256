"""Metrics by hand and against scipy."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from tradewind.errors import BugError, InputError
from tradewind.stats import metrics as m

returns = arrays(np.float64, st.integers(3, 60), elements=st.floats(-0.2, 0.2))


def test_equity_of_a_worked_example() -> None:
    r = np.array([0.10, -0.50, 0.20, 0.00, 1.00])
    assert list(m.equity_curve(r)) == pytest.approx([1.0, 1.1, 0.55, 0.66, 0.66, 1.32])
    assert m.total_return(r).value == pytest.approx(0.32)
    assert m.max_drawdown(r).value == pytest.approx(0.5)
    assert m.max_drawdown_bars(r).value == 3
    assert m.annual_return(r, periods_per_year=5).value == pytest.approx(0.32)
    assert m.calmar(r, periods_per_year=5).value == pytest.approx(0.32 / 0.5)


def test_a_loss_on_the_first_bar_is_a_drawdown() -> None:
    assert m.max_drawdown(np.array([-0.1, 0.05])).value == pytest.approx(0.1)
    assert m.max_drawdown_bars(np.array([-0.1, 0.05])).value == 2


def test_sharpe_and_sortino_of_a_worked_example() -> None:
    r = np.array([0.01, 0.03, -0.02, 0.02])
    assert m.sharpe(r, periods_per_year=252).value == pytest.approx(r.mean() / r.std(ddof=1) * math.sqrt(252))
    assert m.sortino(r, periods_per_year=252).value == pytest.approx(0.01 / 0.01 * math.sqrt(252))
    assert m.volatility(r, periods_per_year=4).value == pytest.approx(r.std(ddof=1) * 2)


@given(returns)
@settings(deadline=None)
def test_leverage_leaves_the_sharpe_ratio_alone(r: np.ndarray) -> None:
    one, two = (m.sharpe(k * r, periods_per_year=252).value for k in (1.0, 2.0))
    assert two == pytest.approx(one, nan_ok=True)


@given(returns)
@settings(deadline=None)
def test_drawdown_lies_between_nothing_and_everything(r: np.ndarray) -> None:
    assert 0.0 <= m.max_drawdown(r).value < 1.0
    assert m.max_drawdown(np.concatenate([r, [0.0]])).value == m.max_drawdown(r).value


@pytest.mark.parametrize("name", m.names("returns"))
def test_what_the_sample_does_not_define_is_missing_with_its_size(name: str) -> None:
    empty = m.definition(name).compute(np.array([]), periods_per_year=252)
    assert math.isnan(empty.value)
    assert empty.n == 0


def test_a_flat_book_has_no_sharpe_ratio() -> None:
    assert math.isnan(m.sharpe(np.zeros(10), periods_per_year=252).value)
    assert math.isnan(m.sharpe(np.full(10, 0.001), periods_per_year=252).value)
    assert math.isnan(m.calmar(np.full(10, 0.001), periods_per_year=252).value)


def test_skewness_and_kurtosis_equal_scipy() -> None:
    r = np.random.default_rng(0).standard_t(5, 500)
    assert m.skewness(r).value == pytest.approx(stats.skew(r))
    assert m.kurtosis(r).value == pytest.approx(stats.kurtosis(r, fisher=False))


def test_trades_of_a_worked_example() -> None:
    profits = np.array([10.0, -5.0, 20.0, -5.0, 0.0])
    assert m.win_rate(profits).value == pytest.approx(0.4)
    assert m.profit_factor(profits).value == pytest.approx(3.0)
    assert m.win_loss_ratio(profits).value == pytest.approx(3.0)
    assert m.average_holding([1, 3]).value == 2.0
    assert math.isnan(m.profit_factor(np.array([1.0])).value)
    assert m.win_rate(np.array([])).n == 0


def test_weights_of_a_worked_example() -> None:
    w = np.array([[0.5, 0.5], [1.0, 0.0], [1.0, -0.5], [0.0, 0.0]])
    assert m.turnover(w, periods_per_year=1).value == pytest.approx((0.5 + 0.25 + 0.75) / 3)
    assert m.turnover(w, periods_per_year=1, drifted=w).value == 0.0
    assert m.exposure(w).value == pytest.approx((1 + 1 + 1.5 + 0) / 4)
    assert m.net_exposure(w).value == pytest.approx((1 + 1 + 0.5 + 0) / 4)
    assert m.time_in_market(w).value == 0.75
    assert math.isnan(m.turnover(w[:1], periods_per_year=1).value)


def test_information_coefficients_equal_scipy_date_by_date() -> None:
    generator = np.random.default_rng(0)
    score, outcome = generator.normal(size=(2, 30, 12))
    score[3, 4:8] = np.nan
    outcome[5, 3] = np.nan
    score[7] = np.round(score[7])
    ic, rank = m.correlations_by_date(score, outcome), m.correlations_by_date(score, outcome, ranks=True)
    for t in range(30):
        both = np.isfinite(score[t]) & np.isfinite(outcome[t])
        assert ic[t] == pytest.approx(stats.pearsonr(score[t][both], outcome[t][both])[0])
        assert rank[t] == pytest.approx(stats.spearmanr(score[t][both], outcome[t][both])[0])
    assert m.information_coefficient(score, outcome).value == pytest.approx(ic.mean())
    assert m.rank_information_coefficient(score, outcome).n == 30
    assert m.icir(score, outcome).value == pytest.approx(rank.mean() / rank.std(ddof=1))


def test_dates_without_spread_or_with_two_names_have_no_information_coefficient() -> None:
    score = np.array([[1.0, 1.0, 1.0], [1.0, 2.0, np.nan], [1.0, 2.0, 3.0], [np.nan] * 3])
    outcome = np.array([[1.0, 2.0, 3.0]] * 4)
    assert np.isnan(m.correlations_by_date(score, outcome)[[0, 1, 3]]).all()
    assert m.correlations_by_date(score, outcome)[2] == pytest.approx(1.0)
    assert np.isnan(m.correlations_by_date(score, outcome, ranks=True)[3])


def test_directional_accuracy_leaves_out_what_took_no_side() -> None:
    found = m.directional_accuracy([[1.0, -1.0, 0.0, 2.0]], [[0.5, 0.5, 1.0, np.nan]])
    assert (found.value, found.n) == (0.5, 2)


def test_every_metric_is_registered_with_its_formula() -> None:
    assert all(m.definition(name).formula and m.definition(name).unit for name in m.names())
    with pytest.raises(InputError, match="sharpe"):
        m.definition("sharp")
    with pytest.raises(BugError, match="twice"):
        m.metric("returns", "1", "x")(m.sharpe)


def test_the_summary_holds_every_metric_of_returns() -> None:
    assert set(m.summary(np.array([0.01, -0.01, 0.02]), 252)) == set(m.names("returns"))

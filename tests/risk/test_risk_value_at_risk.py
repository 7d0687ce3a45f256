"""Value at risk: a walk that is a fold, closed forms and brute force as oracles, and parts that sum to the whole."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tradewind.errors import InputError
from tradewind.risk.contributions import cvar_contributions, tail_weights, volatility_contributions
from tradewind.risk.value_at_risk import (
    FREEDOM,
    METHODS,
    REASONS,
    book_returns,
    copula,
    ewma_covariance,
    filtered_historical,
    fit_freedom,
    historical,
    monte_carlo,
    needed_sessions,
    parametric,
    simulate_returns,
    tail_path,
    unit_tail,
    var_now,
)


def market(sessions: int = 400, names: int = 6, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    wild = np.exp(np.cumsum(draw.normal(0, 0.05, (sessions, 1)), axis=0))
    return 0.01 * wild * (draw.standard_t(5, (sessions, 1)) + draw.standard_t(5, (sessions, names)))


def books(sessions: int = 400, names: int = 6, seed: int = 1) -> np.ndarray:
    weights = np.random.default_rng(seed).normal(size=(sessions, names))
    return weights / np.abs(weights).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("method", METHODS)
def test_a_prefix_of_the_data_gives_a_prefix_of_the_path(method: str) -> None:
    returns, weights = market(), books()
    whole = tail_path(returns, weights, 0.95, method, 200).var
    changed = returns.copy()
    changed[301:] = 9.9
    for stop in (150, 301):
        np.testing.assert_array_equal(tail_path(returns[:stop], weights[:stop], 0.95, method, 200).var, whole[:stop])
    np.testing.assert_array_equal(tail_path(changed, weights, 0.95, method, 200).var[:301], whole[:301])


@pytest.mark.parametrize("method", METHODS)
def test_the_newest_row_alone_agrees_with_the_path_bit_for_bit(method: str) -> None:
    returns, weights = market(), books()
    returns[::7, 2] = np.nan
    path = tail_path(returns, weights, 0.95, method, 250, coverage=0.5)
    for t in (30, 99, 250, 251, 399):
        now = var_now(returns[: t + 1], weights[t], 0.95, method, 250, coverage=0.5)
        assert (now.var, now.cvar, now.sessions) == pytest.approx(
            (path.var[t], path.cvar[t], path.sessions[t]), rel=0, abs=0, nan_ok=True
        )
        assert bool(now.reason) == bool(path.code[t]) == math.isnan(now.var)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_shortfall_is_never_less_than_value_at_risk_and_both_grow_with_the_level(method: str, level: float) -> None:
    returns, weights = market(), books()
    path, higher = (tail_path(returns, weights, p, method, 300) for p in (level, level + 0.005))
    known = np.isfinite(path.var) & np.isfinite(higher.var)
    assert known.sum() > 150
    assert (path.cvar >= path.var)[known].all()
    assert (higher.var >= path.var)[known].all()


@pytest.mark.parametrize("method", METHODS)
def test_twice_the_book_has_twice_the_risk_and_names_may_change_places(method: str) -> None:
    returns, weights = market(), books()
    once = tail_path(returns, weights, 0.95, method, 200).var
    np.testing.assert_allclose(tail_path(returns, 2 * weights, 0.95, method, 200).var, 2 * once, rtol=1e-12)
    order = np.random.default_rng(3).permutation(6)
    np.testing.assert_allclose(tail_path(returns[:, order], weights[:, order], 0.95, method, 200).var, once, rtol=1e-9)


@given(st.integers(60, 400), st.sampled_from([0.9, 0.95, 0.975]), st.integers(0, 50))
def test_historical_agrees_with_numpys_quantile_and_a_mean_over_the_tail(n: int, level: float, seed: int) -> None:
    own = np.random.default_rng(seed).standard_t(3, n)
    found = historical(own[:, None], np.ones(1), level=level)
    assert found.var == pytest.approx(np.quantile(-own, level, method="weibull"), abs=1e-12)
    cdf = np.arange(1, n + 1) / n
    beyond = np.clip(cdf - level, 0, 1 / n)
    assert found.cvar == pytest.approx((np.sort(-own) @ beyond) / (1 - level), rel=1e-9)


def test_the_next_of_exchangeable_losses_exceeds_as_often_as_promised_in_small_samples_too() -> None:
    draws = np.random.default_rng(5).standard_t(4, (20_000, 100))
    over = [-row[-1] > historical(row[:-1, None], np.ones(1), level=0.99).var for row in draws]
    assert np.mean(over) == pytest.approx(0.01, abs=0.0025)


@pytest.mark.parametrize("freedom", [2.5, 4.0, 30.0, math.inf])
@pytest.mark.parametrize("level", [0.9, 0.99])
def test_the_tail_of_a_student_t_agrees_with_scipy(freedom: float, level: float) -> None:
    scale = 1.0 if math.isinf(freedom) else math.sqrt((freedom - 2) / freedom)
    law = stats.norm() if math.isinf(freedom) else stats.t(freedom, scale=scale)
    var, cvar = unit_tail(level, freedom)
    assert var == pytest.approx(law.ppf(level), rel=1e-9)
    assert cvar == pytest.approx(law.expect(lambda x: x, lb=law.ppf(level)) / (1 - level), rel=1e-5)


def test_parametric_is_the_closed_form_and_monte_carlo_comes_to_it() -> None:
    covariance, weights = np.cov(market().T), books()[0]
    sigma = math.sqrt(weights @ covariance @ weights)
    exact = parametric(covariance, weights, level=0.99)
    assert exact.var == pytest.approx(sigma * stats.norm.ppf(0.99), rel=1e-12)
    student = parametric(covariance, weights, level=0.99, freedom=5.0)
    drawn = monte_carlo(covariance, weights, level=0.99, freedom=5.0, samples=200_000, seed=4)
    assert drawn.var == pytest.approx(student.var, rel=0.02)
    assert drawn.cvar == pytest.approx(student.cvar, rel=0.03)
    assert drawn == monte_carlo(covariance, weights, level=0.99, freedom=5.0, samples=200_000, seed=4)


def test_over_more_sessions_a_normal_risk_grows_with_the_root_of_time() -> None:
    covariance, weights = np.cov(market().T), books()[0]
    day, month = (parametric(covariance, weights, horizon_sessions=h).var for h in (1, 20))
    assert month == pytest.approx(day * math.sqrt(20), rel=1e-12)
    drawn = monte_carlo(covariance, weights, horizon_sessions=20, freedom=None, samples=50_000).var
    assert drawn == pytest.approx(month, rel=0.03)


def test_overlapping_stretches_are_compounded() -> None:
    own = np.random.default_rng(2).normal(0, 0.01, 300)
    found = historical(own[:, None], np.ones(1), horizon_sessions=3)
    stretches = (1 + own[:-2]) * (1 + own[1:-1]) * (1 + own[2:]) - 1
    assert found.var == pytest.approx(np.quantile(-stretches, 0.95, method="weibull"), rel=1e-12)


def test_rescaled_returns_have_the_volatility_of_now() -> None:
    returns = np.random.default_rng(6).normal(size=(500, 2)) * np.r_[np.full(250, 0.01), np.full(250, 0.03)][:, None]
    sigma = np.r_[np.full(250, 0.01), np.full(250, 0.03)]
    weights = np.array([0.5, 0.5])
    filtered = filtered_historical(returns, weights, sigma, 0.03, level=0.95).var
    assert filtered == pytest.approx(0.03 * math.sqrt(0.5) * stats.norm.ppf(0.95), rel=0.12)
    same = filtered_historical(returns, weights, np.full((500, 2), 0.7), np.array([0.7, 0.7]), level=0.95)
    assert same.var == pytest.approx(historical(returns, weights, level=0.95).var, rel=1e-12)
    gone = filtered_historical(returns, weights, np.zeros(500), 0.03)
    assert math.isnan(gone.var) and "too few" in gone.reason


def test_the_walk_follows_volatility_where_plain_history_does_not() -> None:
    calm = np.random.default_rng(8).normal(0, 0.01, (600, 1))
    calm[500:] *= 4
    plain, filtered, normal = (
        tail_path(calm, np.ones(1), 0.95, m, 400, 25.0).var[[480, 599]]
        for m in ("historical", "filtered_historical", "parametric")
    )
    assert plain[1] / plain[0] < 2.7 < 3 < filtered[1] / filtered[0] < 6
    assert 3 < normal[1] / normal[0] < 5


def test_degrees_of_freedom_are_found() -> None:
    draw = np.random.default_rng(9)
    assert fit_freedom(0.01 * draw.standard_t(4, 4000), 60) == pytest.approx(4, abs=1)
    assert fit_freedom(0.01 * draw.normal(size=4000), 60) >= 15
    assert math.isnan(fit_freedom(np.zeros(200))) and math.isnan(fit_freedom(np.ones(3)))
    assert set(FREEDOM) >= {4.0}


def test_a_copula_of_uniforms_with_margins_is_the_law_that_they_say() -> None:
    draw = np.random.default_rng(10)
    weights = np.array([0.6, -0.4])
    normal = draw.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], 100_000)
    quantile = [lambda u: stats.norm.ppf(u, scale=0.01), lambda u: stats.norm.ppf(u, scale=0.02)]
    found = copula(stats.norm.cdf(normal), quantile, weights, level=0.99)
    scale = np.diag([0.01, 0.02])
    exact = parametric(scale @ np.array([[1, 0.7], [0.7, 1]]) @ scale, weights, level=0.99)
    assert found.var == pytest.approx(exact.var, rel=0.02)
    past = np.column_stack([draw.normal(0, 0.01, 5000), draw.normal(0, 0.02, 5000)])
    assert copula(stats.norm.cdf(normal), past, weights, level=0.99).var == pytest.approx(exact.var, rel=0.05)
    assert "column 0 has 30" in copula(stats.norm.cdf(normal), past[:30], weights).reason


def test_parts_of_volatility_sum_to_it_and_are_its_derivative() -> None:
    covariance, weights = np.cov(market().T), books()[0]
    found = volatility_contributions(covariance, weights)
    assert found.component.sum() == pytest.approx(found.total, rel=1e-13)
    assert found.share.sum() == pytest.approx(1.0, rel=1e-13)
    for name in range(6):
        step = np.zeros(6)
        step[name] = 1e-6
        up, down = (math.sqrt(w @ covariance @ w) for w in (weights + step, weights - step))
        assert found.marginal[name] == pytest.approx((up - down) / 2e-6, rel=1e-6)


def test_parts_of_shortfall_sum_to_the_shortfall_of_the_same_history() -> None:
    returns, weights = market(500), books()[0]
    returns[3, 1] = np.nan
    for level in (0.9, 0.95, 0.987):
        found = cvar_contributions(returns, weights, level=level)
        assert found.component.sum() == found.total
        assert found.total == pytest.approx(historical(returns, weights, level=level).cvar, rel=1e-12)
    assert tail_weights(np.arange(30.0), 0.95) == pytest.approx(np.r_[np.zeros(28), 1 / 3, 2 / 3])


def test_what_is_not_held_may_be_unknown() -> None:
    returns, weights = market(), np.array([0.5, 0.5, 0, 0, 0, 0])
    returns[:, 3] = np.nan
    covariance, sessions = ewma_covariance(returns, weights)
    assert sessions == 400 and np.isnan(covariance[2:, 2:]).all()
    assert parametric(covariance, weights).var > 0
    assert monte_carlo(covariance, weights).var > 0
    assert historical(returns, weights).var > 0
    assert var_now(returns, weights).var > 0
    assert volatility_contributions(covariance, weights).component[3] == 0
    assert cvar_contributions(returns, weights).component[3] == 0


@pytest.mark.parametrize("method", METHODS)
def test_a_flat_book_loses_nothing(method: str) -> None:
    assert (tail_path(market(), np.zeros(6), 0.95, method, 200).var == 0).all()
    assert var_now(np.full((100, 6), np.nan), np.zeros(6), method=method).var == 0
    assert (parametric(np.full((6, 6), np.nan), np.zeros(6)).var, historical(market(), np.zeros(6)).var) == (0, 0)


def test_too_little_history_is_unknown_and_says_of_whom() -> None:
    returns, weights = market(), np.full(6, 1 / 6)
    returns[:370, 4] = np.nan
    found = var_now(returns, weights, symbols=("A", "B", "C", "D", "NEW", "F"))
    assert math.isnan(found.var) and "NEW with 30 of 400" in found.reason
    assert "NEW with 30" in historical(returns, weights, symbols=("A", "B", "C", "D", "NEW", "F")).reason
    helped = var_now(returns, weights, coverage=0.8)
    assert helped.var > 0 and helped.notes == ("370 of 400 sessions lack a return of a held name and were scaled up",)
    path = tail_path(returns, weights)
    assert {REASONS[c] for c in path.code} == {REASONS[2]}


def test_a_holding_that_no_longer_trades_is_unknown() -> None:
    returns = market()
    returns[380:, 0] = np.nan
    found = tail_path(returns, np.full(6, 1 / 6), window=200)
    assert np.isfinite(found.var[388]) and np.isnan(found.var[389:]).all()
    assert "none of the last 10 sessions" in var_now(returns, np.full(6, 1 / 6)).reason


def test_unknown_weights_and_prices_that_stand_still_are_unknown() -> None:
    returns, weights = market(), np.array([0.5, np.nan, 0.5, 0, 0, 0])
    assert var_now(returns, weights).reason == "a weight is unknown"
    assert "weight of B" in historical(returns, weights, symbols="ABCDEF").reason
    assert "weight of column 1" in parametric(np.eye(6), weights).reason
    assert math.isnan(volatility_contributions(np.eye(6), weights).total)
    assert "do not vary" in var_now(np.zeros((200, 1)), np.ones(1)).reason


def test_more_names_than_sessions_give_a_singular_covariance_that_is_used_as_it_is() -> None:
    returns = market(80, 120)
    weights = np.full(120, 1 / 120)
    covariance, sessions = ewma_covariance(returns, weights)
    assert sessions == 80 and np.linalg.matrix_rank(covariance) <= 80
    found = monte_carlo(covariance, weights, samples=50_000, freedom=None)
    assert found.notes == () and found.var == pytest.approx(parametric(covariance, weights).var, rel=0.03)
    assert volatility_contributions(covariance, weights).component.sum() == pytest.approx(
        math.sqrt(weights @ covariance @ weights)
    )


def test_a_covariance_that_cannot_be_is_repaired_and_said_so() -> None:
    wrong = np.array([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]]) * 1e-4
    weights = np.array([1.0, -1.0, 1.0])
    assert weights @ wrong @ weights < 0
    for found in (parametric(wrong, weights), monte_carlo(wrong, weights)):
        assert found.var >= 0 and "not positive semi-definite" in found.notes[0]
    with pytest.raises(InputError, match="symmetric"):
        parametric(np.array([[1.0, 0.5], [0.2, 1.0]]), np.ones(2))
    lost = np.array([[1.0, np.nan], [np.nan, 1.0]])
    assert "covariance of" in parametric(lost, np.ones(2)).reason


def test_draws_lose_at_most_everything() -> None:
    draws = simulate_returns(np.eye(2) * 0.2, 2000, np.random.default_rng(0), horizon_sessions=3)
    assert draws.min() == -1.0


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"level": 1.0}, "level"),
        ({"method": "guess"}, "unknown method"),
        ({"window": 70}, "window of 70"),
        ({"half_life": 0.0}, "half-life"),
        ({"coverage": 0.0}, "coverage"),
    ],
)
def test_wrong_parameters_are_refused(what: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        var_now(market(), np.ones(6), **what)  # type: ignore[arg-type]


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="6 names"):
        var_now(market(), np.ones(5))
    with pytest.raises(InputError, match="sigma"):
        filtered_historical(market(), np.ones(6), np.ones((3, 6)), 1.0)
    with pytest.raises(InputError, match="degrees of freedom"):
        unit_tail(0.95, 2.0)
    with pytest.raises(InputError, match="session"):
        historical(np.empty((0, 2)), np.ones(2))
    assert [needed_sessions(p) for p in (0.95, 0.99, 0.995)] == [60, 99, 199]


def test_returns_of_a_book_are_of_the_sessions_that_count() -> None:
    returns = np.array([[0.01, 0.03], [np.nan, 0.02], [0.0, -0.02]])
    weights = np.array([0.75, -0.25])
    np.testing.assert_allclose(book_returns(returns, weights), [0.0, 0.005], atol=1e-15)
    np.testing.assert_allclose(book_returns(returns, weights, coverage=0.25), [0.0, -0.02, 0.005], atol=1e-15)

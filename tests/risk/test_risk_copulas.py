"""Copulas against parameters they were drawn with, scipy's densities, pyvinecopulib's tails; and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from tradewind.errors import DataError, InputError
from tradewind.models.garch import variance_path
from tradewind.risk.copulas import (
    fit_copula,
    kendall_tau,
    log_density,
    pair_log_likelihood,
    pseudo_observations,
    simulate,
    student_log_density,
    student_scores,
    tail_dependence,
)
from tradewind.risk.diversification import (
    benefit_with_market,
    diversification_benefit,
    expected_shortfall,
    scenarios,
)
from tradewind.risk.market_dependence import market_dependence

Array = NDArray[np.float64]


def correlations(names: int, seed: int = 0) -> Array:
    loading = np.random.default_rng(seed).normal(size=(names, 2))
    matrix = loading @ loading.T + np.eye(names)
    size = np.sqrt(np.diag(matrix))
    return np.asarray(matrix / np.outer(size, size))


def student(rows: int, matrix: Array, freedom: float, seed: int = 0) -> Array:
    return np.asarray(stats.multivariate_t(shape=matrix, df=freedom, seed=seed).rvs(rows))


def pair(rows: int, correlation: float, freedom: float, seed: int = 0) -> tuple[Array, Array]:
    both = student(rows, np.array([[1.0, correlation], [correlation, 1.0]]), freedom, seed)
    return both[:, :1], both[:, 1:]


def clayton(rows: int, theta: float, seed: int = 0) -> Array:
    """Names that fall together and rise alone (Marshall & Olkin 1988)."""
    draw = np.random.default_rng(seed)
    shared = draw.gamma(1.0 / theta, size=(rows, 1))
    return np.asarray((1.0 + draw.exponential(size=(rows, 2)) / shared) ** (-1.0 / theta))


def seen_in_the_tails(u: Array, level: float) -> tuple[Array, Array]:
    """How often two are both below ``level`` (both above ``1 - level``), over ``level``."""
    low, high = (u <= level).astype(float), (u >= 1.0 - level).astype(float)
    return low.T @ low / (level * len(u)), high.T @ high / (level * len(u))


# Ranks and Kendall's tau


def test_pseudo_observations_are_ranks_over_one_more_than_the_values_there_are() -> None:
    values = np.array([[3.0, 1.0], [np.nan, 1.0], [1.0, 7.0], [2.0, np.inf]])
    expected = np.array([[3 / 4, 1.5 / 4], [np.nan, 1.5 / 4], [1 / 4, 3 / 4], [2 / 4, np.nan]])
    np.testing.assert_array_equal(pseudo_observations(values), expected)


@given(st.integers(0, 2**31))
def test_a_rising_function_of_the_values_changes_no_rank(seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(40, 3))
    np.testing.assert_array_equal(pseudo_observations(values), pseudo_observations(np.exp(values)))


@given(st.integers(0, 2**31))
def test_kendalls_tau_is_that_of_scipy_with_ties_and_gaps(seed: int) -> None:
    draw = np.random.default_rng(seed)
    values = np.round(draw.normal(size=(60, 3)) + draw.normal(size=(60, 1)), 1)
    values[draw.random(values.shape) < 0.1] = np.nan
    found = kendall_tau(values[:, :2], values[:, 2:])
    for column in range(2):
        both = np.isfinite(values[:, column] + values[:, 2])
        expected = stats.kendalltau(values[both, column], values[both, 2]).statistic
        assert found[column, 0] == pytest.approx(expected, abs=1e-12)


def test_what_does_not_vary_has_no_tau() -> None:
    assert np.isnan(kendall_tau(np.ones((30, 1)), np.arange(30.0)[:, None])).all()


def test_values_too_near_for_single_precision_are_no_ties() -> None:
    near = 1.0 + 1e-12 * np.arange(20.0)[:, None]
    assert kendall_tau(near, np.arange(20.0)[:, None]) == 1.0


# Tail dependence


@pytest.mark.parametrize("correlation", [-0.6, 0.0, 0.5, 0.95])
@pytest.mark.parametrize("freedom", [2.5, 4.0, 12.0])
def test_the_closed_form_is_that_of_another_library(correlation: float, freedom: float) -> None:
    import pyvinecopulib as pv

    other = pv.Bicop(family=pv.BicopFamily.student, parameters=np.array([[correlation], [freedom]]))
    assert tail_dependence(correlation, freedom) == pytest.approx(other.taildep[0, 0], abs=1e-9)


def test_the_closed_form_is_the_limit_of_the_joint_tail() -> None:
    """P(V <= q | U <= q) at smaller and smaller q, by quadrature over U."""
    correlation, freedom = 0.5, 4.0
    shares = []
    for q in (1e-2, 1e-4, 1e-6):
        x = stats.t.ppf(q * (np.arange(4000) + 0.5) / 4000, freedom)
        scale = np.sqrt((freedom + x**2) / (freedom + 1) * (1 - correlation**2))
        shares.append(stats.t.cdf((stats.t.ppf(q, freedom) - correlation * x) / scale, freedom + 1).mean())
    limit = float(tail_dependence(correlation, freedom))
    assert abs(shares[2] - limit) < abs(shares[1] - limit) < abs(shares[0] - limit)
    assert shares[2] == pytest.approx(limit, rel=1e-2)


def test_a_gaussian_copula_has_no_tail_dependence_and_student_ones_approach_it() -> None:
    assert tail_dependence(0.9, np.inf) == 0.0
    falling = tail_dependence(0.5, np.array([3.0, 10.0, 50.0, 500.0]))
    assert (np.diff(falling) < 0).all()
    assert falling[-1] < 1e-6


def test_the_same_series_falls_with_itself_and_never_with_its_opposite() -> None:
    np.testing.assert_array_equal(tail_dependence([1.0, -1.0, 1.0], [4.0, 4.0, np.inf]), [1.0, 0.0, 1.0])


def test_what_is_seen_in_the_tails_is_near_the_closed_form_where_tails_are_heavy() -> None:
    u = pseudo_observations(student(40_000, correlations(2, 3), 3.0))
    lower, upper = seen_in_the_tails(u, 0.01)
    expected = float(tail_dependence(correlations(2, 3)[0, 1], 3.0))
    assert lower[0, 1] == pytest.approx(expected, abs=0.06)
    assert upper[0, 1] == pytest.approx(expected, abs=0.06)


# Densities


@pytest.mark.parametrize("freedom", [3.0, 15.0])
def test_the_density_is_scipys_joint_density_over_its_margins(freedom: float) -> None:
    matrix, u = correlations(4), np.random.default_rng(1).random((50, 4))
    x = stats.t.ppf(u, freedom)
    expected = stats.multivariate_t(shape=matrix, df=freedom).logpdf(x) - stats.t.logpdf(x, freedom).sum(axis=1)
    np.testing.assert_allclose(student_log_density(u, matrix, freedom), expected, rtol=1e-9, atol=1e-9)


def test_infinite_degrees_of_freedom_give_the_gaussian_density() -> None:
    matrix, u = correlations(4), np.random.default_rng(2).random((50, 4))
    x = stats.norm.ppf(u)
    expected = stats.multivariate_normal(cov=matrix).logpdf(x) - stats.norm.logpdf(x).sum(axis=1)
    np.testing.assert_allclose(student_log_density(u, matrix, np.inf), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("freedom", [4.0, np.inf])
def test_a_row_with_gaps_has_the_density_of_what_it_has(freedom: float) -> None:
    matrix, u = correlations(4), np.random.default_rng(3).random((30, 4))
    holes = u.copy()
    holes[:10, 1], holes[5:20, 3], holes[25, :3], holes[26] = np.nan, np.nan, np.nan, np.nan
    found = student_log_density(holes, matrix, freedom)
    for row in range(30):
        has = np.isfinite(holes[row])
        alone = student_log_density(u[row : row + 1, has], matrix[np.ix_(has, has)], freedom)[0]
        assert found[row] == pytest.approx(alone, abs=1e-9)
    assert found[[25, 26]] == pytest.approx(0.0, abs=1e-12)


def test_pairs_have_the_likelihood_of_their_rows_and_gaps_do_not_count() -> None:
    u = np.random.default_rng(4).random((60, 4))
    holes = u.copy()
    holes[:7, 0] = np.nan
    score = student_scores(holes)(5.0)
    found = pair_log_likelihood(score[:, :2], score[:, 2:], np.array([0.4, -0.7]), 5.0)
    for index, (rows, rho) in enumerate(((slice(7, None), 0.4), (slice(None), -0.7))):
        matrix = np.array([[1.0, rho], [rho, 1.0]])
        assert found[index] == pytest.approx(student_log_density(u[rows][:, [index, index + 2]], matrix, 5.0).sum())


# The copula of many names


@pytest.mark.parametrize("freedom", [4.0, 10.0])
def test_known_parameters_are_found_again(freedom: float) -> None:
    matrix = correlations(8)
    fit = fit_copula(student(3000, matrix, freedom))
    assert fit.freedom == pytest.approx(freedom, rel=0.15)
    assert np.abs(fit.correlation - matrix).max() < 0.06
    assert fit.notes == ()
    assert fit.observations == 3000


def test_gaussian_data_have_as_good_as_no_tails() -> None:
    fit = fit_copula(np.random.default_rng(5).multivariate_normal(np.zeros(6), correlations(6), 2000))
    assert fit.freedom > 25
    assert tail_dependence(0.5, fit.freedom) < 0.02


def test_margins_do_not_matter() -> None:
    values = student(800, correlations(5), 5.0)
    plain, bent = fit_copula(values), fit_copula(np.sinh(values / 10) + np.arange(5))
    assert plain.freedom == bent.freedom
    np.testing.assert_array_equal(plain.correlation, bent.correlation)


def test_permuting_the_names_permutes_the_correlations_and_nothing_else() -> None:
    values, order = student(700, correlations(6), 5.0), np.array([3, 0, 5, 1, 4, 2])
    plain, permuted = fit_copula(values), fit_copula(values[:, order])
    np.testing.assert_allclose(permuted.correlation, plain.correlation[np.ix_(order, order)], atol=1e-12)
    assert permuted.freedom == pytest.approx(plain.freedom, rel=1e-4)


def test_the_shape_is_found_from_more_names_than_rows_where_the_joint_likelihood_has_none() -> None:
    fit = fit_copula(student(90, correlations(100, 1), 5.0, seed=2))
    assert 3.0 < fit.freedom < 8.0
    assert np.linalg.eigvalsh(fit.correlation)[0] > 0
    assert any("towards independence" in note for note in fit.notes)
    assert any("pooled over 100 names from 90 rows" in note for note in fit.notes)
    assert np.isfinite(fit.log_likelihood)


@pytest.mark.parametrize("kind", ["gaussian", "student", "vine"])
def test_draws_are_uniform_dependent_as_fitted_and_repeatable(kind: str) -> None:
    values = student(900, correlations(4), 5.0)
    fit = fit_copula(values, kind)  # type: ignore[arg-type]
    drawn = simulate(fit, 5000, seed=7)
    assert drawn.shape == (5000, 4)
    assert ((drawn > 0) & (drawn < 1)).all()
    assert min(stats.kstest(drawn[:, k], "uniform").pvalue for k in range(4)) > 1e-3
    few = drawn[:1500]
    assert np.abs(kendall_tau(few, few) - fit.kendall).max() < 0.09
    np.testing.assert_array_equal(drawn, simulate(fit, 5000, seed=7))
    assert not np.array_equal(drawn, simulate(fit, 5000, seed=8))


def test_heavier_tails_fit_better_out_of_sample_than_gaussian_ones() -> None:
    values = student(1800, correlations(6), 4.0)
    later = pseudo_observations(values[900:])
    told = {kind: log_density(fit_copula(values[:900], kind), later).sum() for kind in ("gaussian", "student")}
    assert told["student"] > told["gaussian"] + 50


def test_an_asymmetric_vine_tells_falls_from_rises_where_a_student_copula_cannot() -> None:
    values = clayton(1500, 2.0)
    vine, student_t = fit_copula(values[:900], "vine", asymmetric=True), fit_copula(values[:900])
    lower, upper = seen_in_the_tails(simulate(vine, 20_000, seed=1), 0.02)
    assert lower[0, 1] == pytest.approx(2.0**-0.5, abs=0.08)
    assert upper[0, 1] < 0.2
    later = pseudo_observations(values[900:])
    assert log_density(vine, later).sum() > log_density(student_t, later).sum() + 20
    assert vine.log_likelihood > student_t.log_likelihood


def test_each_pair_of_a_vine_has_a_tail_of_its_own_where_a_student_copula_has_one_for_all() -> None:
    heavy, light = pair(1500, 0.6, 2.5, seed=1), pair(1500, 0.6, 40.0, seed=2)
    values = np.column_stack([*heavy, *light])
    vine, student_t = fit_copula(values[:900], "vine"), fit_copula(values[:900])
    lower, _ = seen_in_the_tails(simulate(vine, 40_000, seed=1), 0.01)
    assert lower[0, 1] > lower[2, 3] + 0.1
    later = pseudo_observations(values[900:])
    assert log_density(vine, later).sum() > log_density(student_t, later).sum() + 10


def test_with_too_few_whole_rows_a_vine_is_a_student_copula_and_says_so() -> None:
    fit = fit_copula(student(300, correlations(3), 5.0), "vine")
    assert fit.kind == "student"
    assert "a Student-t copula for the vine: 300 rows have all names, of 500 needed" in fit.notes


def test_a_vine_leaves_out_rows_with_gaps_and_says_so() -> None:
    values = student(600, correlations(3), 5.0)
    values[:40, 1] = np.nan
    fit = fit_copula(values, "vine")
    assert (fit.observations, fit.notes) == (560, ("40 rows with gaps left out",))
    assert np.isnan(log_density(fit, pseudo_observations(values))[:40]).all()


def test_gaps_leave_the_other_pairs_as_they_were() -> None:
    values = student(800, correlations(4), 5.0)
    holes = values.copy()
    holes[:300, 2] = np.nan
    whole, gaps = fit_copula(values), fit_copula(holes)
    others = np.ix_([0, 1, 3], [0, 1, 3])
    np.testing.assert_allclose(gaps.kendall[others], whole.kendall[others])
    assert gaps.freedom == pytest.approx(whole.freedom, rel=0.2)


# Bad input


def test_two_columns_that_are_the_same_do_not_disturb_the_shape_of_the_others() -> None:
    values = student(800, correlations(5), 5.0)
    twins = fit_copula(np.column_stack([values, 3.0 * values[:, 0]]))
    assert twins.freedom == pytest.approx(fit_copula(values).freedom, rel=0.1)
    assert np.linalg.eigvalsh(twins.correlation)[0] > 0
    assert twins.correlation[0, 5] > 0.999
    assert np.isfinite(simulate(twins, 10, seed=0)).all()


def test_only_one_series_many_times_has_no_shape_but_can_be_drawn_from() -> None:
    fit = fit_copula(np.random.default_rng(0).normal(size=(600, 1)) * [1.0, 2.0, 3.0])
    assert np.isnan(fit.freedom)
    drawn = simulate(fit, 500, seed=0)
    assert np.ptp(drawn, axis=1).max() < 0.05


def test_ties_are_shared_ranks_and_little_changes() -> None:
    values = student(900, correlations(4), 5.0)
    plain, rounded = fit_copula(values), fit_copula(np.round(values, 1))
    assert np.abs(plain.correlation - rounded.correlation).max() < 0.05
    assert rounded.freedom == pytest.approx(plain.freedom, rel=0.2)


def test_columns_without_variation_or_values_are_left_out_by_number() -> None:
    values = student(600, correlations(5), 5.0)
    values[:, 1], values[:, 3] = 0.5, np.nan
    fit = fit_copula(values)
    assert fit.columns.tolist() == [0, 2, 4]
    assert fit.notes == ("columns 1, 3 left out: they do not vary",)
    np.testing.assert_array_equal(fit.correlation, fit_copula(values[:, [0, 2, 4]]).correlation)


def test_a_name_that_shares_too_few_rows_is_left_out() -> None:
    values = student(600, correlations(4), 5.0)
    values[:570, 2] = np.nan
    fit = fit_copula(values)
    assert fit.columns.tolist() == [0, 1, 3]
    assert "columns 2 left out: fewer than 60 rows" in fit.notes[0]


@pytest.mark.parametrize("rows", [0, 1, 59])
def test_too_short_a_history_is_refused_with_what_to_do(rows: int) -> None:
    with pytest.raises(DataError, match="60 rows in common") as told:
        fit_copula(np.random.default_rng(0).normal(size=(rows, 4)))
    assert "longer history" in told.value.hint


def test_what_is_no_table_or_no_copula_is_refused() -> None:
    values = student(100, correlations(3), 5.0)
    with pytest.raises(InputError):
        fit_copula(values[:, 0])
    with pytest.raises(InputError):
        fit_copula(values, "frank")  # type: ignore[arg-type]
    with pytest.raises(InputError):
        simulate(fit_copula(values), 0, seed=0)
    with pytest.raises(InputError):
        log_density(fit_copula(values), pseudo_observations(values[:, :2]))


# Stocks and markets


@pytest.mark.parametrize(("correlation", "freedom"), [(0.6, 4.0), (-0.4, 8.0)])
def test_a_known_pair_is_found_again(correlation: float, freedom: float) -> None:
    found = market_dependence(*pair(4000, correlation, freedom))
    assert found.correlation.item() == pytest.approx(correlation, abs=0.04)
    assert found.freedom.item() == pytest.approx(freedom, rel=0.25)
    assert found.lower.item() == found.upper.item() == tail_dependence(found.correlation, found.freedom).item()
    assert found.benefit.item() == 1.0 - found.correlation.item()
    assert found.reasons == (("",),)


def test_the_degrees_of_freedom_of_a_pair_are_where_scipy_finds_the_greatest_likelihood() -> None:
    from scipy.optimize import minimize_scalar

    stock, market = pair(900, 0.5, 5.0, seed=3)
    found = market_dependence(stock, market)
    u = pseudo_observations(np.column_stack([stock, market]))
    rho = found.correlation.item()
    joint = np.array([[1.0, rho], [rho, 1.0]])

    def loss(freedom: float) -> float:
        x = stats.t.ppf(u, freedom)
        return -float(stats.multivariate_t(shape=joint, df=freedom).logpdf(x).sum() - stats.t.logpdf(x, freedom).sum())

    assert found.freedom.item() == pytest.approx(minimize_scalar(loss, bounds=(1.5, 60), method="bounded").x, rel=0.03)


def test_residuals_of_a_garch_filter_show_the_dependence_that_their_volatility_hid() -> None:
    draw = student(2000, np.array([[1.0, 0.6], [0.6, 1.0]]), 5.0, seed=4)
    returns = np.empty_like(draw)
    for name in range(2):
        variance = 1e-4
        for t in range(len(draw)):
            returns[t, name] = np.sqrt(variance * 3 / 5) * draw[t, name]
            variance = 1e-4 * 0.02 + 0.1 * returns[t, name] ** 2 + 0.88 * variance
    base = returns.var(axis=0)
    sigma = np.column_stack([np.sqrt(variance_path(returns[:, k], base[k], 0.1, 0.88)[:-1]) for k in range(2)])
    residuals = returns / sigma
    found = market_dependence(residuals[:, :1], residuals[:, 1:])
    assert found.correlation.item() == pytest.approx(0.6, abs=0.05)
    assert found.lower.item() == pytest.approx(float(tail_dependence(0.6, 5.0)), abs=0.09)


def test_a_hedge_is_worth_more_than_independence() -> None:
    assert market_dependence(*pair(800, -0.7, 6.0)).benefit.item() > 1.5


def test_below_enough_rows_tails_are_pooled_and_said_to_be() -> None:
    matrix = np.full((6, 6), 0.5) + 0.5 * np.eye(6)
    values = student(700, matrix, 4.0, seed=6)
    values[:450, 1], values[:650, 2] = np.nan, np.nan
    found = market_dependence(values[:, :5], values[:, 5:])
    assert "tails pooled: 250 rows, 500 for its own" in found.reasons[1][0]
    assert found.reasons[2][0] == "unknown: 50 rows in common, of 60 needed"
    assert [found.reasons[k][0] for k in (0, 3, 4)] == [""] * 3
    assert np.isnan(found.lower[2, 0]) and np.isnan(found.correlation[2, 0]) and np.isnan(found.freedom[2, 0])
    assert np.isfinite(found.lower[[0, 1, 3, 4], 0]).all()
    assert found.observations[:, 0].tolist() == [700, 250, 50, 700, 700]
    assert found.freedom[1, 0] == pytest.approx(4.0, rel=0.35)


def test_stocks_with_history_enough_do_not_depend_on_their_neighbours() -> None:
    values = student(600, correlations(5), 5.0)
    alone, together = market_dependence(values[:, :1], values[:, 4:]), market_dependence(values[:, :4], values[:, 4:])
    for name in ("kendall", "correlation", "freedom", "lower", "upper", "lower_seen"):
        assert getattr(alone, name)[0, 0] == pytest.approx(getattr(together, name)[0, 0], rel=1e-12)


def test_the_market_itself_and_its_opposite_are_called_so() -> None:
    market = np.random.default_rng(8).normal(size=(600, 1))
    found = market_dependence(np.column_stack([2 * market, -market]), market)
    assert found.reasons == (("the two are the same series",), ("the two are opposites",))
    assert found.lower[:, 0].tolist() == [1.0, 0.0]
    assert found.benefit[:, 0].tolist() == [0.0, 2.0]
    assert np.isnan(found.freedom).all()


def test_a_stock_that_does_not_vary_is_unknown_for_that_reason() -> None:
    market = np.random.default_rng(9).normal(size=(600, 2))
    found = market_dependence(np.zeros((600, 1)), market)
    assert found.reasons == (("unknown: one of the two does not vary",) * 2,)
    assert np.isnan(found.lower).all() and np.isnan(found.lower_seen).all()


def test_the_asymmetric_family_tells_falls_from_rises_and_the_student_one_does_not() -> None:
    values = clayton(900, 2.0)
    even = market_dependence(values[:, :1], values[:, 1:])
    odd = market_dependence(values[:, :1], values[:, 1:], family="asymmetric")
    assert even.lower.item() == even.upper.item()
    assert odd.lower.item() == pytest.approx(2.0**-0.5, abs=0.1)
    assert odd.upper.item() < 0.2
    assert even.lower_seen.item() > 2 * even.upper_seen.item()


def test_tables_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(InputError):
        market_dependence(np.zeros((5, 2)), np.zeros((6, 1)))
    with pytest.raises(InputError):
        market_dependence(np.zeros((5, 2)), np.zeros((5, 1)), family="frank")  # type: ignore[arg-type]
    with pytest.raises(InputError):
        market_dependence(np.zeros((5, 2)), np.zeros((5, 1)), least_rows=600)


# Diversification


def test_expected_shortfall_is_the_mean_of_the_worst() -> None:
    losses = np.random.default_rng(0).normal(size=(1000, 2))
    np.testing.assert_allclose(expected_shortfall(losses, 0.9), np.sort(losses, axis=0)[-100:].mean(axis=0))
    with pytest.raises(InputError):
        expected_shortfall(losses[:0])


@given(st.integers(0, 2**31))
def test_diversification_never_hurts(seed: int) -> None:
    draw = np.random.default_rng(seed)
    returns, weights = draw.standard_t(3, size=(300, 4)) @ draw.normal(size=(4, 4)), draw.normal(size=4)
    assert diversification_benefit(returns, weights) >= -1e-12


def test_one_name_many_times_is_no_diversification_and_a_hedge_is_all_of_it() -> None:
    move = np.random.default_rng(1).normal(size=(2000, 1))
    assert diversification_benefit(move * [1.0, 2.0], np.array([0.5, 0.5])) == pytest.approx(0.0, abs=1e-12)
    assert diversification_benefit(move * [1.0, 1.0], np.array([0.5, -0.5])) == pytest.approx(1.0, abs=1e-12)
    assert np.isnan(diversification_benefit(move, np.zeros(1)))


def test_what_is_not_held_may_be_unknown() -> None:
    returns = np.random.default_rng(2).normal(size=(100, 2))
    returns[:, 1] = np.nan
    assert diversification_benefit(returns, np.array([1.0, 0.0])) == 0.0


def test_scenarios_have_the_margins_of_each_name_and_the_dependence_of_the_copula() -> None:
    residuals = student(900, correlations(3), 5.0)
    fit = fit_copula(residuals)
    drawn = scenarios(simulate(fit, 4000, seed=0), residuals, np.array([0.01, 0.02, 0.03]))
    spread = np.quantile(drawn, [0.05, 0.5, 0.95], axis=0) / [0.01, 0.02, 0.03]
    np.testing.assert_allclose(spread, np.quantile(residuals, [0.05, 0.5, 0.95], axis=0), atol=0.25)
    assert np.abs(kendall_tau(drawn[:1500], drawn[:1500]) - fit.kendall).max() < 0.08
    with pytest.raises(InputError):
        scenarios(drawn, residuals[:, :2], np.ones(3))


def test_the_benefit_of_a_stock_beside_the_market_falls_with_correlation_and_with_heavy_tails() -> None:
    residuals = np.repeat(np.random.default_rng(3).standard_t(5, size=(800, 1)), 7, axis=1)
    rho = np.array([-0.8, 0.0, 0.5, 0.5, 0.9, 1.0])
    freedom = np.array([5.0, 5.0, 50.0, 2.0, 5.0, np.nan])
    found = benefit_with_market(rho, freedom, residuals, np.ones(7), seed=1)
    assert (np.diff(found) < 0).all()
    assert found[-1] == pytest.approx(0.0, abs=1e-12)
    alone = benefit_with_market(rho[2:3], freedom[2:3], residuals[:, :2], np.ones(2), seed=1)
    assert alone[0] == pytest.approx(found[2], rel=1e-12)


def test_the_benefit_beside_the_market_is_that_of_a_simulated_pair() -> None:
    stock, market = pair(900, 0.5, 4.0)
    both = np.column_stack([stock, market])
    fit, pairs = fit_copula(both), market_dependence(stock, market)
    sigma = np.array([0.02, 0.01])
    simulated = scenarios(simulate(fit, 60_000, seed=3), both, sigma)
    found = benefit_with_market(pairs.correlation[:, 0], pairs.freedom[:, 0], both, sigma, draws=60_000)
    assert found[0] == pytest.approx(diversification_benefit(simulated, np.array([0.5, 0.5])), abs=0.01)


def test_an_unknown_correlation_gives_an_unknown_benefit() -> None:
    found = benefit_with_market(np.array([np.nan]), np.array([np.nan]), np.ones((60, 2)), np.ones(2))
    assert np.isnan(found).all()

"""The optimiser against closed forms, laws and the same problems in other libraries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from optimiser_kit import in_cvxpy, limited, market, section
from scipy.special import ndtri

from tradewind.errors import DataError, InputError
from tradewind.portfolio.optimiser import OptimiserSection, Problem, frontier, optimise, prepare, rebalance_due
from tradewind.portfolio.optimiser.solve import OBJECTIVES, Task, tail_mean
from tradewind.portfolio.settings import LimitsSection

# -- closed forms --------------------------------------------------------------------------------------------


def test_mean_variance_without_limits_is_the_textbook_one() -> None:
    problem = market(6)
    free = section(objective="mean_variance", long_only=False, net_min=-4, net_max=4, risk_aversion=30)
    wanted = np.linalg.solve(problem.covariance, problem.expected) / 30
    assert np.allclose(optimise(problem, free).weights, wanted, atol=1e-7)


def test_the_least_variance_of_two_names_is_in_every_textbook() -> None:
    a, b, c = 0.04, 0.09, 0.012
    problem = Problem(("A", "B"), np.array([[a, c], [c, b]]))
    share = (b - c) / (a + b - 2 * c)
    found = optimise(problem, section(objective="min_variance"))
    assert np.allclose(found.weights, [share, 1 - share], atol=1e-7)
    assert found.expected_return is None and found.volatility == pytest.approx(
        np.sqrt((a * b - c * c) / (a + b - 2 * c)), abs=1e-9
    )


def test_the_largest_sharpe_ratio_is_the_tangency_portfolio() -> None:
    problem = market(5, seed=2)
    wanted = np.linalg.solve(problem.covariance, problem.expected)
    found = optimise(problem, section(objective="max_sharpe", long_only=False))
    assert np.allclose(found.weights, wanted / wanted.sum(), atol=1e-6)
    assert found.value == pytest.approx(np.sqrt(problem.expected @ wanted), rel=1e-8)


def test_a_sharpe_ratio_that_knows_no_size_takes_the_largest_book() -> None:
    problem = market(5, seed=2)
    found = optimise(problem, OptimiserSection(position_max=0.2, gross_max=1.0, pairwise_correlation_max=None))
    assert found.weights.max() == pytest.approx(0.2, abs=1e-9)
    assert "position_max" in {b.name for b in found.binding}
    assert all(b.shadow_price == 0 for b in found.binding if b.name == "position_max")


def test_nothing_expected_above_costs_has_no_sharpe_ratio_and_says_so() -> None:
    problem = replace(market(5), expected=np.full(5, -0.01))
    found = optimise(problem, OptimiserSection(position_max=0.3, cost_bps=5))
    assert found.objective == "min_variance"
    assert not found.weights.any()
    assert any("max_sharpe is not defined" in note for note in found.notes)


def test_a_book_where_costs_dominate_is_left_as_it_is() -> None:
    problem = market(8, held=True)
    for objective in ("mean_variance", "max_sharpe"):
        found = optimise(problem, OptimiserSection(objective=objective, net_min=0.9, cost_bps=400))
        assert np.array_equal(found.weights, problem.previous), objective
        assert found.turnover == 0.0 == found.cost


def test_cvar_of_a_normal_is_the_closed_form_and_of_scenarios_their_tail() -> None:
    problem = market(4)
    found = optimise(problem, section(objective="min_variance", cvar_level=0.9))
    density = np.exp(-(ndtri(0.9) ** 2) / 2) / np.sqrt(2 * np.pi)
    assert found.cvar == pytest.approx(found.volatility * density / 0.1 - found.expected_return)
    assert tail_mean(np.arange(10.0), np.full(10, 0.1), 0.75) == pytest.approx((9 + 8 + 7 * 0.5) / 2.5)


# -- other libraries -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("long_only", [True, False])
@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("objective", ["mean_variance", "max_sharpe", "min_cvar"])
def test_all_limits_at_once_give_what_cvxpy_gives(objective: str, long_only: bool, held: bool) -> None:
    cp = pytest.importorskip("cvxpy")
    problem = market(9, seed=4, held=held, scenarios=80)
    if held:
        problem = replace(problem, previous=problem.previous * 0.5)
    settings = limited(objective=objective, long_only=long_only, risk_aversion=8)
    ours = optimise(problem, settings)
    assert Task.of(problem, settings).excess(ours.weights) < 1e-6
    root = np.linalg.cholesky(problem.covariance)
    w = cp.Variable(9)
    rules, gain = in_cvxpy(problem, settings, w)
    if objective == "max_sharpe":  # where the ratio is the largest, nothing gains more than that many deviations
        cp.Problem(cp.Maximize(gain - ours.value * cp.norm(root.T @ w)), rules).solve(solver="CLARABEL")
        assert float(gain.value) - ours.value * np.linalg.norm(root.T @ w.value) == pytest.approx(0.0, abs=1e-7)
    elif objective == "mean_variance":
        value = cp.Problem(cp.Maximize(gain - 4 * cp.sum_squares(root.T @ w)), rules).solve(solver="CLARABEL")
        assert ours.value == pytest.approx(value, abs=1e-7)
    else:
        traded = settings.cost_bps / 1e4 * cp.norm1(w - (problem.previous if held else 0))
        value = cp.Problem(cp.Minimize(cp.cvar(-problem.scenarios @ w, 0.95) + traded), rules).solve(solver="CLARABEL")
        assert ours.value == pytest.approx(value, abs=1e-7)


@pytest.mark.parametrize("objective", ["mean_variance", "max_sharpe", "min_cvar"])
def test_shadow_prices_are_what_a_little_more_of_the_limit_brings(objective: str) -> None:
    problem = market(9, seed=4, held=True, scenarios=300)
    problem = replace(problem, previous=problem.previous * 0.5)
    settings = limited(objective=objective, turnover_max=0.5, volatility_max=0.07, graph_max=2, net_min=0.4)
    found, checked = optimise(problem, settings), set()
    for name in ("volatility_max", "net_min", "turnover_max", "position_max", "sector_max"):
        price = sum(b.shadow_price for b in found.binding if b.name == name)
        value, step = getattr(settings, name), 1e-4
        up, down = (
            optimise(problem, settings.model_copy(update={name: value + sign * step})).value for sign in (1, -1)
        )
        gained = (down - up if objective == "min_cvar" else up - down) / (2 * step) * (-1 if name == "net_min" else 1)
        assert price == pytest.approx(gained, abs=1e-4, rel=1e-2), name
        checked |= {name} if price > 1e-3 else set()
    assert checked


def test_skfolio_holds_the_same_books() -> None:
    skfolio = pytest.importorskip("skfolio.optimization")
    from skfolio import RiskMeasure
    from skfolio.prior import EmpiricalPrior

    problem = market(8, seed=3, scenarios=300)
    returns = problem.scenarios
    mean, covariance = returns.mean(axis=0), np.cov(returns.T)
    problem = replace(problem, expected=mean, covariance=covariance)
    ratio = skfolio.MeanRisk(
        objective_function=skfolio.ObjectiveFunction.MAXIMIZE_RATIO, prior_estimator=EmpiricalPrior(), max_weights=0.4
    ).fit(returns)
    assert np.allclose(optimise(problem, section(position_max=0.4)).weights, ratio.weights_, atol=2e-4)
    tail = skfolio.MeanRisk(risk_measure=RiskMeasure.CVAR, max_weights=0.4).fit(returns)
    ours = optimise(problem, section(objective="min_cvar", position_max=0.4))
    even = np.full(300, 1 / 300)
    assert ours.value == pytest.approx(tail_mean(-returns @ tail.weights_, even, 0.95), abs=1e-6)


# -- laws ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_order_of_names_changes_nothing_but_the_order(objective: str) -> None:
    problem = market(7, seed=5, scenarios=61, held=True)
    settings = limited(objective=objective, long_only=True, net_min=0.2)
    order = np.random.default_rng(0).permutation(7)
    straight, mixed = optimise(problem, settings), optimise(problem.part(order), settings)
    atol = 2e-5 if objective == "min_cvar" else 1e-5
    assert np.allclose(straight.weights[order], mixed.weights, atol=atol)
    assert straight.value == pytest.approx(mixed.value, abs=1e-8)


@pytest.mark.parametrize("objective", ["max_sharpe", "min_cvar", "risk_parity", "hierarchical"])
def test_the_unit_of_returns_does_not_matter(objective: str) -> None:
    problem = market(7, seed=6, scenarios=61)
    percent = replace(
        problem, covariance=problem.covariance * 1e4, expected=problem.expected * 100, scenarios=problem.scenarios * 100
    )
    settings = section(objective=objective, position_max=0.3)
    assert np.allclose(optimise(problem, settings).weights, optimise(percent, settings).weights, atol=1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_stays_inside_every_limit_twice_alike(objective: str) -> None:
    problem = market(12, seed=7, scenarios=61, held=True)
    settings = limited(objective=objective)
    first, again = optimise(problem, settings), optimise(problem, settings)
    assert Task.of(problem, settings).excess(first.weights) < 1e-6
    assert np.array_equal(first.weights, again.weights) and first.binding == again.binding
    assert first.status == "optimal"


def test_risk_alone_without_a_least_net_is_as_large_as_the_limits_hold() -> None:
    problem = market(5, scenarios=80)
    for objective in ("min_variance", "min_cvar"):
        found = optimise(problem, OptimiserSection(objective=objective, position_max=0.15))
        assert found.weights.sum() == pytest.approx(0.75, abs=1e-6)


def test_a_pair_that_moves_together_shares_a_limit_and_a_hedge_is_let_be() -> None:
    covariance = 0.01 * np.array([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1.0]])
    problem = Problem(("A", "B", "C"), covariance, np.array([0.02, 0.02, 0.001]))
    alike = optimise(problem, OptimiserSection(objective="mean_variance", position_max=0.5, risk_aversion=1))
    assert alike.weights[:2].sum() == pytest.approx(0.5, abs=1e-6)
    assert any(b.name == "pairwise_correlation_max" and b.of == "A and B" and b.shadow_price > 0 for b in alike.binding)
    hedged = replace(problem, expected=np.array([0.02, -0.02, 0.001]))
    free = OptimiserSection(objective="mean_variance", position_max=0.5, risk_aversion=1, long_only=False, net_min=-1)
    assert np.allclose(optimise(hedged, free).weights[:2], [0.5, -0.5], atol=1e-6)


def test_a_component_of_the_graph_shares_a_limit_where_its_ends_are_no_neighbours() -> None:
    correlation = np.eye(4) + 0.6 * (np.eye(4, k=1) + np.eye(4, k=-1))  # a chain
    problem = Problem(tuple("ABCD"), 0.01 * correlation, np.array([0.02, -0.01, -0.01, 0.02]))
    settings = OptimiserSection(
        objective="mean_variance", position_max=0.4, risk_aversion=1, graph_correlation_min=0.5, graph_max=0.5
    )
    assert optimise(problem, settings).weights.sum() == pytest.approx(0.5, abs=1e-6)
    near = settings.model_copy(update={"graph_scope": "neighbourhood"})
    assert np.allclose(optimise(problem, near).weights, [0.4, 0, 0, 0.4], atol=1e-6)


def test_more_uncertainty_is_a_smaller_book_and_a_name_not_known_at_all_is_none() -> None:
    problem = market(5, seed=9)
    sizes = [
        np.abs(optimise(problem, OptimiserSection(objective="mean_variance", uncertainty_kappa=k)).weights).sum()
        for k in (0.0, 0.5, 1.0, 3.0)
    ]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > sizes[-1]
    unsure = replace(problem, uncertainty=np.array([1.0, 0, 0, 0, 0]))
    assert optimise(unsure, OptimiserSection(objective="mean_variance", uncertainty_kappa=3)).weights[0] == 0


# -- bad input -----------------------------------------------------------------------------------------------


def test_a_name_of_unknown_risk_takes_no_part_and_is_left_as_it_is() -> None:
    problem = market(5, held=True)
    covariance = problem.covariance.copy()
    covariance[2, :] = covariance[:, 2] = np.nan
    found = optimise(replace(problem, covariance=covariance), OptimiserSection(position_max=0.4, gross_max=0.8))
    assert np.isnan(found.weights[2]) and found.excluded == {"S2": "risk unknown: it has no finite positive variance"}
    assert np.nansum(found.weights) <= 0.8 - problem.previous[2] + 1e-6
    assert any("left as they are" in note and "S2" in note for note in found.notes)


def test_what_is_held_with_an_unknown_beta_is_said_to_be_missing_from_the_books() -> None:
    problem = market(5, held=True)
    covariance, beta = problem.covariance.copy(), problem.beta.copy()
    covariance[[1, 2], :] = covariance[:, [1, 2]] = beta[1] = np.nan
    settings = OptimiserSection(position_max=0.5, gross_max=1.0)
    prepared = prepare(replace(problem, covariance=covariance, beta=beta))
    assert prepared.frozen.beta == pytest.approx(problem.previous[2] * problem.beta[2])
    told = "held with an unknown beta, which the book's beta leaves out: S1"
    assert told in optimise(replace(problem, covariance=covariance, beta=beta), settings).notes
    for known in (problem.beta, None):
        quiet = optimise(replace(problem, covariance=covariance, beta=known), settings)
        assert not any("unknown beta" in note for note in quiet.notes)


def test_one_missing_covariance_costs_one_name() -> None:
    problem = market(5)
    covariance = problem.covariance.copy()
    covariance[1, 3] = covariance[3, 1] = covariance[0, 3] = covariance[3, 0] = np.nan
    found = optimise(replace(problem, covariance=covariance), OptimiserSection(position_max=0.4))
    assert list(found.excluded) == ["S3"]


def test_a_name_without_a_forecast_is_out_where_forecasts_count() -> None:
    problem = market(4)
    gap = replace(problem, expected=np.where(np.arange(4) == 1, np.nan, problem.expected))
    assert optimise(gap, OptimiserSection(position_max=0.5)).excluded == {"S1": "no forecast"}
    assert not optimise(gap, section(objective="min_variance")).excluded


def test_what_is_no_covariance_is_repaired_and_said() -> None:
    bad = 0.01 * np.array([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]])
    found = optimise(Problem(tuple("ABC"), bad), section(objective="min_variance"))
    assert found.weights.sum() == pytest.approx(1.0) and any("repaired" in note for note in found.notes)


def test_fewer_bars_than_names_are_said_and_solved_and_riskless_gains_are_refused() -> None:
    rng = np.random.default_rng(1)
    moves = rng.normal(0.0, 0.02, (6, 12))
    problem = Problem(tuple(map(str, range(12))), np.cov(moves.T), np.full(12, 0.01), observations=6)
    found = optimise(problem, section(objective="mean_variance"))
    assert found.weights.sum() == pytest.approx(1.0) and any("12 names from 6 bars" in note for note in found.notes)
    with pytest.raises(DataError, match="riskless"):
        optimise(problem, OptimiserSection(long_only=False, net_min=-2, pairwise_correlation_max=None))


def test_what_does_not_fit_together_is_refused() -> None:
    problem = market(3)
    with pytest.raises(InputError, match="shape"):
        replace(problem, expected=np.zeros(4))
    with pytest.raises(InputError, match="twice"):
        replace(problem, names=("A", "A", "B"))
    with pytest.raises(InputError, match="not symmetric"):
        optimise(replace(problem, covariance=problem.covariance + np.triu(np.full((3, 3), 0.01), 1)), section())
    with pytest.raises(InputError, match="no expected"):
        optimise(replace(problem, expected=None), section())
    with pytest.raises(InputError, match="no scenarios"):
        optimise(problem, section(objective="min_cvar"))
    with pytest.raises(InputError, match="no name has one"):
        optimise(replace(problem, beta=None), section(beta_max=1.0))
    with pytest.raises(DataError, match="no name can be optimised"):
        optimise(replace(problem, covariance=np.full((3, 3), np.nan)), section())
    with pytest.raises(ValueError, match="above"):
        OptimiserSection(net_min=1.0, net_max=0.5)


# -- the frontier, and when to go there ----------------------------------------------------------------------


def test_each_point_of_the_frontier_is_the_calmest_book_of_its_gain() -> None:
    problem = market(6, seed=8)
    settings = OptimiserSection(position_max=0.4, net_min=0.5, net_max=1.0, cost_bps=10)
    points = frontier(problem, settings, 8)
    risks, gains = [p.volatility for p in points], [p.gain for p in points]
    assert len(points) == 8 and risks == sorted(risks) and gains == sorted(gains)
    assert np.allclose(np.diff(gains), np.diff(gains)[0], rtol=1e-4)
    best = optimise(problem, settings)
    ratio = max(p.gain / p.volatility for p in frontier(problem, settings, 60))
    assert ratio <= best.value + 1e-7 and ratio == pytest.approx(best.value, rel=1e-3)
    for point in points:
        assert Task.of(problem, settings).excess(point.weights) < 1e-6


def test_the_frontier_begins_in_cash_where_that_is_allowed_and_is_empty_without_beliefs() -> None:
    problem = market(4)
    assert not frontier(problem, OptimiserSection(position_max=0.4), 5)[0].weights.any()
    assert frontier(replace(problem, expected=None), OptimiserSection(objective="min_variance")) == ()


def test_the_book_is_due_by_the_calendar_or_by_drift() -> None:
    settings = OptimiserSection(every_bars=5, drift_trigger=0.05)
    target = np.array([0.5, np.nan, 0.2])
    assert rebalance_due(np.array([0.52, 0.0, 0.2]), target, 2, settings) is None
    assert "drifted by 6.0%" in str(rebalance_due(np.array([0.56, 0.0, 0.2]), target, 2, settings))
    assert "5 bars" in str(rebalance_due(target, target, 5, settings))


def test_the_limits_that_orders_are_checked_for_hold_in_the_optimiser_too() -> None:
    limits = LimitsSection(position_max=0.1, gross_max=1.2, net_max=0.4, beta_max=0.1, sector_max=0.3)
    inside = OptimiserSection(position_max=0.3, gross_max=0.9, beta_min=-0.05, long_only=False).within(
        limits, cost_bps=3.0, short_allowed=False
    )
    assert (inside.position_max, inside.gross_max, inside.net_max, inside.sector_max) == (0.1, 0.9, 0.4, 0.3)
    assert (inside.beta_min, inside.beta_max, inside.cost_bps, inside.long_only) == (-0.05, 0.1, 3.0, True)

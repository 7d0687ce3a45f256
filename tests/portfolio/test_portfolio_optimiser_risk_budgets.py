"""Risk parity and hierarchical risk parity against their definitions and skfolio."""

from __future__ import annotations

import numpy as np
import pytest
from optimiser_kit import market, section

from tradewind.errors import DataError, InputError
from tradewind.portfolio.optimiser import OptimiserSection, optimise
from tradewind.portfolio.optimiser.hierarchy import hierarchical_risk_parity
from tradewind.portfolio.optimiser.risk_parity import risk_contributions, risk_parity


@pytest.mark.parametrize("names", [1, 2, 7, 60])
def test_everybody_contributes_the_same_risk(names: int) -> None:
    covariance = market(names).covariance
    weight = risk_parity(covariance)
    assert weight.sum() == pytest.approx(1.0) and (weight > 0).all()
    assert np.allclose(risk_contributions(weight, covariance), 1 / names, atol=1e-9)


def test_budgets_are_kept_and_uncorrelated_names_get_the_inverse_of_their_volatility() -> None:
    covariance = market(6, seed=1).covariance
    budget = np.array([4, 1, 1, 2, 1, 1.0])
    assert np.allclose(risk_contributions(risk_parity(covariance, budget), covariance), budget / 10, atol=1e-9)
    deviation = np.array([0.1, 0.2, 0.4])
    assert np.allclose(risk_parity(np.diag(deviation**2)), (1 / deviation) / (1 / deviation).sum())


def test_a_singular_covariance_has_risk_parity_and_a_perfect_hedge_has_none() -> None:
    rng = np.random.default_rng(0)
    moves = rng.normal(size=(5, 1)) + 0.3 * rng.normal(size=(5, 12))
    covariance = np.cov(moves.T)
    assert np.allclose(risk_contributions(risk_parity(covariance), covariance), 1 / 12, atol=1e-5)
    with pytest.raises(DataError, match="was not found"):
        risk_parity(np.array([[1.0, -1.0], [-1.0, 1.0]]))
    with pytest.raises(InputError, match="positive"):
        risk_parity(np.eye(2), np.array([1.0, 0.0]))


def test_skfolio_finds_the_same_risk_parity() -> None:
    skfolio = pytest.importorskip("skfolio.optimization")
    problem = market(12, seed=3, scenarios=400)
    theirs = skfolio.RiskBudgeting().fit(problem.scenarios).weights_
    assert np.allclose(risk_parity(np.cov(problem.scenarios.T)), theirs, atol=1e-4)


@pytest.mark.parametrize("linkage", ["single", "ward"])
def test_skfolio_finds_the_same_hierarchical_weights(linkage: str) -> None:
    skfolio = pytest.importorskip("skfolio.optimization")
    from skfolio.cluster import HierarchicalClustering, LinkageMethod
    from skfolio.seriation import HierarchicalSeriation

    returns = market(13, seed=4, scenarios=300).scenarios
    order = HierarchicalSeriation(
        hierarchical_clustering_estimator=HierarchicalClustering(linkage_method=LinkageMethod(linkage))
    )
    theirs = skfolio.HierarchicalRiskParity(seriation_estimator=order).fit(returns).weights_
    assert np.allclose(hierarchical_risk_parity(np.cov(returns.T), linkage), theirs, atol=1e-10)


@pytest.mark.parametrize("names", [1, 2, 3, 40])
def test_hierarchical_weights_are_a_book(names: int) -> None:
    weight = hierarchical_risk_parity(market(names).covariance)
    assert weight.sum() == pytest.approx(1.0) and (weight > 0).all()


@pytest.mark.parametrize("objective", ["risk_parity", "hierarchical"])
def test_limits_move_named_weights_as_little_as_they_must(objective: str) -> None:
    problem = market(6, seed=5)
    free = optimise(problem, section(objective=objective))
    assert free.weights.sum() == pytest.approx(1.0) and not any("tracking error" in note for note in free.notes)
    tight = section(objective=objective, position_max=float(free.weights.max()) * 0.8, net_min=0.5)
    found = optimise(problem, tight)
    assert found.weights.max() <= tight.position_max + 1e-7
    assert any("tracking error" in note for note in found.notes)
    away = found.weights - free.weights
    cut = np.minimum(free.weights, tight.position_max) - free.weights
    assert away @ problem.covariance @ away <= cut @ problem.covariance @ cut + 1e-12


def test_an_optimised_book_of_risk_parity_has_no_view_on_costs() -> None:
    problem = market(6, seed=5)
    with_costs = optimise(problem, OptimiserSection(objective="risk_parity", cost_bps=50, position_max=None))
    assert np.allclose(with_costs.weights, risk_parity(problem.covariance), atol=1e-9)
    assert with_costs.cost == pytest.approx(with_costs.turnover * 0.005)

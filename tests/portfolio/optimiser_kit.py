"""Small markets made by hand for the optimiser's tests, and its problems said again in cvxpy."""

from __future__ import annotations

from typing import Any

import numpy as np

from tradewind.portfolio.optimiser import OptimiserSection, Problem

OPEN: dict[str, Any] = {"net_min": 1.0, "net_max": 1.0, "pairwise_correlation_max": None}
"""Fully invested and otherwise free."""


def market(names: int, seed: int = 0, *, scenarios: int = 0, held: bool = False, factors: int = 3) -> Problem:
    """Return a problem with a few factors, the same for the same seed."""
    rng = np.random.default_rng(seed)
    loading = rng.normal(0.03, 0.012, (names, factors))
    covariance = loading @ loading.T + np.diag(rng.uniform(1e-3, 4e-3, names))
    expected = rng.normal(0.006, 0.006, names)
    drawn = rng.multivariate_normal(expected, covariance, scenarios) if scenarios else None
    return Problem(
        names=tuple(f"S{i}" for i in range(names)),
        covariance=covariance,
        expected=expected,
        uncertainty=rng.uniform(0.001, 0.004, names),
        scenarios=drawn,
        previous=rng.dirichlet(np.ones(names)) if held else None,
        sectors=tuple(f"sector {i % 4}" for i in range(names)),
        beta=rng.normal(1.0, 0.3, names),
        horizon_years=20 / 252,
    )


def section(**changes: Any) -> OptimiserSection:
    """Return settings, open unless said."""
    return OptimiserSection(**(OPEN | changes))


def limited(**changes: Any) -> OptimiserSection:
    """Return settings with every limit set."""
    usual = {
        "position_max": 0.3,
        "gross_max": 1.3,
        "sector_max": 0.6,
        "sector_net_max": 0.5,
        "net_min": 0.3,
        "net_max": 1.0,
        "beta_min": 0.1,
        "beta_max": 0.9,
        "pairwise_correlation_max": 0.45,
        "pair_max": 0.4,
        "graph_correlation_min": 0.5,
        "graph_max": 0.5,
        "graph_scope": "neighbourhood",
        "turnover_max": 0.9,
        "cost_bps": 10.0,
        "uncertainty_kappa": 0.5,
        "volatility_max": 0.25,
    }
    return OptimiserSection(**(usual | changes))


def in_cvxpy(problem: Problem, settings: OptimiserSection, w: Any) -> tuple[list[Any], Any]:
    """Return the limits of a problem on a cvxpy variable, and its net gain."""
    import cvxpy as cp

    n, rules = len(problem.names), []
    held = np.zeros(n) if problem.previous is None else problem.previous
    deviation = np.sqrt(np.diag(problem.covariance))
    correlation = problem.covariance / np.outer(deviation, deviation)
    sizes = cp.abs(w)
    if settings.long_only:
        rules.append(w >= 0)
    rules += [sizes <= settings.position_max, cp.sum(sizes) <= settings.gross_max]
    rules += [cp.sum(w) >= settings.net_min, cp.sum(w) <= settings.net_max]
    for name in sorted(set(problem.sectors)):
        inside = np.array([s == name for s in problem.sectors], dtype=float)
        rules += [inside @ sizes <= settings.sector_max, cp.abs(inside @ w) <= settings.sector_net_max]
    rules += [problem.beta @ w >= settings.beta_min, problem.beta @ w <= settings.beta_max]
    one, other = np.nonzero(np.triu(np.abs(correlation) > settings.pairwise_correlation_max, 1))
    sign = np.sign(correlation[one, other])
    rules.append(cp.abs(w[one] + cp.multiply(sign, w[other])) <= settings.pair_max)
    joined = (correlation > settings.graph_correlation_min).astype(float)
    rules.append(joined @ sizes <= settings.graph_max)
    rules.append(cp.norm1(w - held) <= settings.turnover_max)
    root = np.linalg.cholesky(problem.covariance)
    rules.append(cp.norm(root.T @ w) <= settings.volatility_max * np.sqrt(problem.horizon_years))
    robust = settings.uncertainty_kappa * cp.norm(cp.multiply(problem.uncertainty, w))
    gain = problem.expected @ w - settings.cost_bps / 1e4 * cp.norm1(w - held) - robust
    return rules, gain

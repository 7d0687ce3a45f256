"""Five hundred names under every limit, against plain cvxpy on the same solver and against skfolio; small books too.

cvxpy is given the same problem, and its objective must agree. skfolio gets what it can say of it (positions, sectors,
turnover, costs) in both. Risk parity is compared with skfolio's RiskBudgeting. Best of several runs, CPU seconds.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tradewind.portfolio.optimiser import OptimiserSection, Problem, frontier, optimise
from tradewind.portfolio.optimiser.risk_parity import risk_contributions, risk_parity

NAMES, SECTORS, BARS = 500, 11, 750
AIM_SECONDS, AIM_AGREEMENT = 10.0, 1e-6
LIMITS = {
    "objective": "mean_variance", "risk_aversion": 8.0, "position_max": 0.05, "gross_max": 1.6, "sector_max": 0.4,
    "sector_net_max": 0.3, "net_min": 0.2, "net_max": 1.0, "beta_min": 0.1, "beta_max": 0.9, "long_only": False,
    "pairwise_correlation_max": 0.7, "pair_max": 0.05, "graph_correlation_min": 0.75, "graph_max": 0.4,
    "graph_scope": "neighbourhood", "turnover_max": 1.5, "cost_bps": 10.0, "uncertainty_kappa": 0.5,
    "volatility_max": 0.2,
}  # fmt: skip


def run() -> dict[str, Any]:
    warnings.simplefilter("ignore")
    problem, settings = market(NAMES), OptimiserSection(**LIMITS)
    ours, found = best(lambda: optimise(problem, settings), 3)
    plain, value = best(lambda: in_cvxpy(problem, settings), 1)
    disagreement = abs(found.value - value) / abs(value)
    seconds = {o: best(lambda o=o: optimise(problem, other(settings, o)), 1)[0] for o in ("max_sharpe", "min_cvar")}
    shared = with_skfolio(problem)
    parity = risk_budgets(problem)
    small = {n: a_small_book(n) for n in (10, 50)}
    ratios = {
        "cvxpy": plain / ours,
        "cvxpy_10_names": small[10][1] / small[10][0],
        "cvxpy_50_names": small[50][1] / small[50][0],
        "skfolio_mean_risk": shared[1] / shared[0],
        "skfolio_risk_budgeting": parity["skfolio"] / parity["ours"],
    }
    return {
        "name": "optimiser",
        "ratios": ratios,
        "figures": {
            "names": NAMES,
            "seconds_all_limits": ours,
            "cvxpy_seconds": plain,
            "objective_disagreement_with_cvxpy": disagreement,
            **{f"seconds_{name}": value for name, value in seconds.items()},
            "skfolio_seconds": shared[1],
            "seconds_of_skfolios_problem": shared[0],
            "objective_disagreement_with_skfolio": shared[2],
            "frontier_seconds_20_points": best(lambda: frontier(problem, settings), 1)[0],
            "milliseconds_10_names": small[10][0] * 1e3,
            "milliseconds_50_names": small[50][0] * 1e3,
            "risk_parity_milliseconds": parity["ours"] * 1e3,
            "risk_parity_uneven": parity["uneven"],
            "skfolio_risk_parity_uneven": parity["skfolio_uneven"],
            "pairs_limited": int(pairs(problem, 0.7)),
        },
        "aims": {"seconds_all_limits": AIM_SECONDS, "objective_disagreement_with_cvxpy": AIM_AGREEMENT},
        "met": bool(max(ours, *seconds.values()) < AIM_SECONDS and disagreement < AIM_AGREEMENT),
    }


def best(work: Callable[[], Any], times: int) -> tuple[float, Any]:
    """Return the CPU seconds of the quickest run, and what it gave."""
    spent = []
    for _ in range(times):
        start = time.process_time()
        result = work()
        spent.append(time.process_time() - start)
    return min(spent), result


def market(names: int, seed: int = 0) -> Problem:
    """Return names with five factors and what two years of days say of them."""
    rng = np.random.default_rng(seed)
    loading = np.column_stack([rng.normal(0.04, 0.012, names), rng.normal(0, 0.012, (names, 4))])
    covariance = loading @ loading.T + np.diag(rng.uniform(3e-4, 3e-3, names))
    expected = rng.normal(0.004, 0.006, names)
    return Problem(
        names=tuple(f"S{i}" for i in range(names)),
        covariance=covariance,
        expected=expected,
        uncertainty=rng.uniform(0.001, 0.004, names),
        scenarios=rng.multivariate_normal(expected, covariance, BARS, method="cholesky"),
        previous=rng.dirichlet(np.ones(names)) * 0.8,
        sectors=tuple(f"sector {i % SECTORS}" for i in range(names)),
        beta=loading[:, 0] / 0.04,
        horizon_years=20 / 252,
    )


def other(settings: OptimiserSection, objective: str) -> OptimiserSection:
    return settings.model_copy(update={"objective": objective})


def correlation_of(problem: Problem) -> np.ndarray:
    deviation = np.sqrt(np.diag(problem.covariance))
    return problem.covariance / np.outer(deviation, deviation)


def pairs(problem: Problem, above: float) -> int:
    return int((np.triu(np.abs(correlation_of(problem)), 1) > above).sum())


def in_cvxpy(problem: Problem, settings: OptimiserSection) -> float:
    """Return the largest utility, by the problem as one would write it in cvxpy."""
    import cvxpy as cp

    s, n = settings, len(problem.names)
    w, correlation = cp.Variable(n), correlation_of(problem)
    sizes, trades = cp.abs(w), cp.norm1(w - problem.previous)
    inside = np.array([[one == sector for one in problem.sectors] for sector in sorted(set(problem.sectors))], float)
    one, two = np.nonzero(np.triu(np.abs(correlation) > s.pairwise_correlation_max, 1))
    near = np.unique((correlation > s.graph_correlation_min) | np.eye(n, dtype=bool), axis=0).astype(float)
    root = np.linalg.cholesky(problem.covariance)
    rules = [
        sizes <= s.position_max,
        cp.sum(sizes) <= s.gross_max,
        inside @ sizes <= s.sector_max,
        cp.abs(inside @ w) <= s.sector_net_max,
        cp.sum(w) >= s.net_min,
        cp.sum(w) <= s.net_max,
        problem.beta @ w >= s.beta_min,
        problem.beta @ w <= s.beta_max,
        cp.abs(w[one] + cp.multiply(np.sign(correlation[one, two]), w[two])) <= s.pair_max,
        near @ sizes <= s.graph_max,
        trades <= s.turnover_max,
        cp.norm(root.T @ w) <= s.volatility_max * np.sqrt(problem.horizon_years),
    ]
    if settings.long_only:
        rules.append(w >= 0)
    robust = s.uncertainty_kappa * cp.norm(cp.multiply(problem.uncertainty, w))
    gain = problem.expected @ w - s.cost_bps / 1e4 * trades - robust
    utility = gain - s.risk_aversion / 2 * cp.sum_squares(root.T @ w)
    return float(cp.Problem(cp.Maximize(utility), rules).solve(solver="CLARABEL"))


def with_skfolio(problem: Problem) -> tuple[float, float, float]:
    """Return our seconds, skfolio's, and the relative difference of utilities for what skfolio can say of it."""
    from skfolio import RiskMeasure
    from skfolio.optimization import MeanRisk, ObjectiveFunction

    returns, names = problem.scenarios, list(problem.names)
    same = replace(problem, expected=returns.mean(axis=0), covariance=np.cov(returns.T), uncertainty=None)
    settings = OptimiserSection(
        objective="mean_variance", risk_aversion=8, position_max=0.05, net_min=1, net_max=1, sector_max=0.3,
        cost_bps=10, pairwise_correlation_max=None,
    )  # fmt: skip
    ours, found = best(lambda: optimise(same, settings), 2)
    import pandas as pd

    model = MeanRisk(
        objective_function=ObjectiveFunction.MAXIMIZE_UTILITY,
        risk_measure=RiskMeasure.VARIANCE,
        risk_aversion=4.0,
        max_weights=0.05,
        transaction_costs=1e-3,
        previous_weights=problem.previous,
        groups=dict(zip(names, ([sector] for sector in problem.sectors), strict=True)),
        linear_constraints=[f"{sector} <= 0.3" for sector in sorted({*problem.sectors})],
    )
    frame = pd.DataFrame(returns, columns=names)
    theirs, fitted = best(lambda: model.fit(frame), 1)
    w = fitted.weights_
    value = same.expected @ w - 4 * w @ same.covariance @ w - 1e-3 * np.abs(w - problem.previous).sum()
    return ours, theirs, float(abs(found.value - value) / abs(value))


def risk_budgets(problem: Problem) -> dict[str, float]:
    """Return seconds of risk parity and how uneven its contributions are, ours and skfolio's."""
    from skfolio.optimization import RiskBudgeting

    covariance = np.cov(problem.scenarios.T)
    risk_parity(covariance[:5, :5])
    ours, mine = best(lambda: risk_parity(covariance), 3)
    theirs, model = best(lambda: RiskBudgeting().fit(problem.scenarios), 1)
    uneven = [float(np.ptp(risk_contributions(w, covariance)) * len(w)) for w in (mine, model.weights_)]
    return {"ours": ours, "skfolio": theirs, "uneven": uneven[0], "skfolio_uneven": uneven[1]}


def a_small_book(names: int) -> tuple[float, float]:
    """Return seconds of one optimisation of a weekly loop, ours and cvxpy's, under all limits."""
    problem = market(names, seed=1)
    settings = OptimiserSection(
        **{**LIMITS, "position_max": 0.3, "pair_max": 0.4, "turnover_max": 2.0, "long_only": True}
    )
    count = 20
    ours, _ = best(lambda: [optimise(problem, settings) for _ in range(count)], 3)
    theirs, _ = best(lambda: [in_cvxpy(problem, settings) for _ in range(3)], 2)
    return ours / count, theirs / 3

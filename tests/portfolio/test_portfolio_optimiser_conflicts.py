"""Limits that contradict each other are named, the fewest of them, and none is relaxed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from optimiser_kit import market

from tradewind.portfolio.optimiser import ConflictError, OptimiserSection, optimise
from tradewind.portfolio.optimiser.conflicts import feasible
from tradewind.portfolio.optimiser.solve import Task

CASES: list[tuple[dict[str, Any], set[str], str]] = [
    ({"position_max": 0.02, "net_min": 0.9}, {"position_max", "net_min"}, "position_max 0.02 with 20 names"),
    ({"gross_max": 0.5, "net_min": 0.9}, {"gross_max", "net_min"}, "gross_max 0.5"),
    ({"sector_max": 0.2, "net_min": 0.9}, {"sector_max", "net_min"}, "sector_max 0.2 of sector 0"),
    ({"turnover_max": 0.3, "net_min": 0.9}, {"turnover_max", "net_min"}, "turnover_max 0.3 from cash"),
    ({"beta_max": 0.1, "net_min": 0.9}, {"long_only", "beta_max", "net_min"}, "beta_max 0.1"),
    ({"volatility_max": 0.01, "net_min": 0.9}, {"volatility_max", "net_min"}, "volatility_max 0.01"),
]


@pytest.mark.parametrize("objective", ["max_sharpe", "mean_variance", "min_cvar", "hierarchical"])
@pytest.mark.parametrize(("changes", "names", "words"), CASES, ids=[words for _, _, words in CASES])
def test_the_limits_in_conflict_are_named(changes: dict[str, Any], names: set[str], words: str, objective: str) -> None:
    usual = {"gross_max": 1.0, "position_max": 0.5, "pairwise_correlation_max": None}
    settings = OptimiserSection(objective=objective, **(usual | changes))
    with pytest.raises(ConflictError, match=r"cannot hold together\n.*nothing is relaxed silently") as error:
        optimise(market(20, scenarios=60), settings)
    assert set(error.value.constraints) == names
    assert words in error.value.what


def test_the_value_that_would_end_a_conflict_is_said() -> None:
    with pytest.raises(ConflictError) as error:
        optimise(market(20), OptimiserSection(position_max=0.02, net_min=0.9, gross_max=1.0))
    assert "position_max at least 0.045" in error.value.hint and "net_min at most 0.4" in error.value.hint


def test_a_book_too_large_to_be_cut_in_one_go_conflicts_with_turnover() -> None:
    problem = market(5, held=True)
    largest = float(problem.previous.max())
    settings = OptimiserSection(position_max=largest / 4, turnover_max=largest / 2)
    with pytest.raises(ConflictError) as error:
        optimise(problem, settings)
    assert set(error.value.constraints) == {"position_max", "turnover_max"}
    assert "from what is held" in error.value.what


@pytest.mark.parametrize("seed", range(6))
def test_any_fewer_of_the_named_limits_can_hold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    settings = OptimiserSection(
        position_max=float(rng.uniform(0.02, 0.2)),
        gross_max=float(rng.uniform(0.3, 1)),
        sector_max=float(rng.uniform(0.05, 0.3)),
        turnover_max=float(rng.uniform(0.2, 1)),
        beta_max=float(rng.uniform(0.1, 1)),
        net_min=0.95,
    )
    problem = market(8, seed=seed)
    with pytest.raises(ConflictError) as error:
        optimise(problem, settings)
    task, named = Task.of(problem, settings.model_copy(update={"net_min": 0.0})), error.value.constraints
    strict = Task._laid(task.prepared, settings)
    core = [one for one in strict.limits if one.name in named]
    assert not feasible([*core, *strict.definitions], strict.layout.total)
    for name in named:
        fewer = [one for one in core if one.name != name]
        assert feasible([*fewer, *strict.definitions], strict.layout.total), (name, named)

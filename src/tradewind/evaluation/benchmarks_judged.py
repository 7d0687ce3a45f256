"""The book beside what anybody could have held: the indices, all names alike, and cash; and each of them by regime."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.decisions.surroundings import REGIMES
from tradewind.evaluation.corridor import World
from tradewind.evaluation.track_record import book_returns, buy_and_hold, periods_per_year
from tradewind.execution.simulator import Simulation
from tradewind.models.assembly import last_known
from tradewind.stats.metrics import performance
from tradewind.stats.metrics.sample import moments
from tradewind.stats.paired_bootstrap import Compared, Difference, compare
from tradewind.stats.sharpe_inference import sharpe_standard_error

FloatArray = NDArray[np.float64]

INDICES = ("index", "nasdaq")
"""Context series that somebody could have held instead: what SPY and QQQ follow."""

EQUAL, CASH = "equal_weight", "cash"

WHAT = {
    "index": "the benchmark index, price returns, held throughout",
    "nasdaq": "the NASDAQ index, price returns, held throughout",
    EQUAL: "all names of the universe alike, total returns, rebalanced at every close without costs",
    CASH: "cash at the account's rate: what a market-neutral book is measured against",
}
FIGURES = (
    "annual_return",
    "volatility",
    "sharpe",
    "sortino",
    "calmar",
    "max_drawdown",
    "value_at_risk",
    "expected_shortfall",
)
LEAST_BARS = 20
"""Bars below which nothing is said of a regime."""

VERDICTS = {1: "better", -1: "worse", 0: "cannot tell"}


def benchmarks(world: World, simulation: Simulation, start: int) -> dict[str, Any]:
    """Return the figures of the book and of each benchmark, and by how much the book was ahead, with intervals.

    Returns are of the bars after row ``start``, simple, the book's after costs. ``excess`` is the mean a year of the
    difference, ``sharpe_difference`` the difference of Sharpe ratios, ``alpha`` what a holding of ``beta`` times the
    benchmark does not explain; intervals and p-values from the stationary bootstrap of both together. ``verdict`` is
    about the Sharpe ratios, as a book that is half in cash must not lose for that alone.
    """
    settings, per_year = world.plan.evaluation, periods_per_year(world.panel.timeframe)
    own, others = book_returns(simulation, start), series(world, start)
    found = compare(
        own,
        {name: one for name, one in others.items() if one is not None},
        periods_per_year=per_year,
        level=settings.confidence_level,
        samples=settings.bootstrap_samples,
        seed=settings.seed,
    )
    rows = {name: _row(name, others[name], found.get(name), per_year) for name in others}
    book = figures(own, per_year)
    return {"confidence_level": settings.confidence_level, "bars": len(own), "book": book, "against": rows}


def series(world: World, start: int) -> dict[str, FloatArray | None]:
    """Return the simple returns of every benchmark from the bar after ``start``; None for an index the data lack."""
    found: dict[str, FloatArray | None] = {name: _index(world, name, start) for name in INDICES}
    bars, per_year = len(world.panel) - start - 1, periods_per_year(world.panel.timeframe)
    found[EQUAL] = buy_and_hold(world, start)
    found[CASH] = np.full(max(bars, 0), world.plan.execution.cash_interest_rate / per_year)
    return found


def figures(returns: FloatArray, per_year: float) -> dict[str, float | None]:
    """Return the figures of one series of returns; None where one is not defined."""
    said = {name: getattr(performance, name)(returns, periods_per_year=per_year).value for name in FIGURES}
    return {name: _known(value) for name, value in said.items()}


def by_regime(world: World, simulation: Simulation, start: int) -> dict[str, Any] | None:
    """Return what book, index and universe did in each regime, a bar counted to the one known when it began.

    Returns and volatilities are a year's, returns arithmetic, since the bars of a regime do not hang together; the
    Sharpe ratio carries its interval (Mertens 2002). None where the playbook watches no regimes.
    """
    known = world.surroundings.regime
    if known is None:
        return None
    state = known[start : len(world.panel) - 1]
    per_year, level = periods_per_year(world.panel.timeframe), world.plan.evaluation.confidence_level
    lines = {"book": book_returns(simulation, start), **series(world, start)}
    rows = {}
    for code, name in [*enumerate(REGIMES), (-1, "not known")]:
        there = state == code
        rows[name] = {
            "bars": int(there.sum()),
            **{
                who: _moments(line[there], per_year, level)
                for who, line in lines.items()
                if line is not None and who != CASH
            },
        }
    return rows


def _index(world: World, name: str, start: int) -> FloatArray | None:
    level = world.panel.context.get(name)
    if level is None or not np.isfinite(level[start:]).any():
        return None
    carried = last_known(level[:, None])[start:, 0]
    with np.errstate(invalid="ignore"):
        return np.asarray(carried[1:] / carried[:-1] - 1.0)


def _row(name: str, returns: FloatArray | None, found: Compared | None, per_year: float) -> dict[str, Any]:
    if returns is None or found is None:
        return {"available": False, "what": WHAT[name], "why": f"the source has no series {name!r}"}
    return {
        "available": True,
        "what": WHAT[name],
        **figures(returns, per_year),
        "beta": _known(found.beta),
        "excess": _said(found.mean),
        "sharpe_difference": _said(found.sharpe),
        "alpha": _said(found.alpha),
        "bars": found.bars,
        "verdict": VERDICTS[found.sharpe.sign],
    }


def _said(one: Difference) -> dict[str, Any]:
    return {"value": _known(one.value), "ci": [_known(one.low), _known(one.high)], "p": _known(one.p_value)}


def _moments(returns: FloatArray, per_year: float, level: float) -> dict[str, Any]:
    seen = returns[np.isfinite(returns)]
    if len(seen) < LEAST_BARS or np.ptp(seen) == 0:
        why = f"{len(seen)} bars" if len(seen) < LEAST_BARS else "nothing moved"
        return {**dict.fromkeys(("return", "volatility", "sharpe", "sharpe_ci")), "reason": why}
    mean, deviation, skew, kurtosis = moments(seen)
    error = sharpe_standard_error(mean / deviation, len(seen), skew, kurtosis)
    ratio, wide = mean / deviation, NormalDist().inv_cdf((1 + level) / 2) * error
    scale = math.sqrt(per_year)
    return {
        "return": mean * per_year,
        "volatility": deviation * scale,
        "sharpe": ratio * scale,
        "sharpe_ci": [(ratio - wide) * scale, (ratio + wide) * scale],
        "reason": None,
    }


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def told(result: Mapping[str, Any]) -> list[str]:
    """Return the benchmarks that could be compared, by name."""
    return [name for name, row in result["against"].items() if row["available"]]

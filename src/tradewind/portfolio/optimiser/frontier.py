"""The efficient frontier: for each expected return the book of least volatility inside the limits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradewind.portfolio.optimiser.problem import Problem
from tradewind.portfolio.optimiser.program import Answer, Program, block, require, summed
from tradewind.portfolio.optimiser.settings import OptimiserSection
from tradewind.portfolio.optimiser.solve import Task

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Point:
    """A book on the frontier.

    Attributes
    ----------
    gain
        Expected return over one horizon after costs and the robust penalty: what the frontier is drawn against.
    expected_return, volatility
        Before costs, over one horizon.
    weights
        ``(N,)``; NaN for names that do not take part.
    """

    gain: float
    expected_return: float
    volatility: float
    weights: FloatArray


def frontier(problem: Problem, settings: OptimiserSection, points: int | None = None) -> tuple[Point, ...]:
    """Return the frontier from the book of least volatility to that of the largest gain, evenly spaced in gain.

    One programme, solved again and again with another bound on the gain. A single point where more gain is not to be
    had. Empty without expected returns.

    Raises
    ------
    InputError
        The limits contradict each other.
    """
    if problem.expected is None:
        return ()
    chosen = "max_sharpe" if settings.risk_alone else settings.objective
    task = Task.of(problem, settings.model_copy(update={"objective": chosen}))
    unit = float(np.abs(task.gain).max(initial=0.0)) or 1.0
    at_least = block("", [summed(np.arange(task.layout.total), -task.gain / unit)], np.array([1e6]))
    calmer = [one for one in task.blocks if one.name != "volatility_max"]  # the least volatility keeps that by itself
    blocks = [*calmer, at_least]
    calm = Program(task.layout.total, task.covariance / task.variance_unit, np.zeros(task.layout.total), blocks)
    best = task.solved(Program(task.layout.total, None, -task.gain / unit, task.blocks).solve(), "the largest gain")
    found = [_calmest(task, calm)]
    low, high = found[0][0] / unit, float(task.gain @ best.x) / unit
    if high - low > 1e-6:
        for wanted in np.linspace(low, high - 1e-7, points or settings.frontier_points)[1:]:
            bounds = np.append(calm.bounds[:-1], -wanted)
            found.append(
                _read(task, require(calm.solve(bound=bounds), f"the frontier at a gain of {wanted * unit:.3%}"))
            )
    return tuple(_point(problem, task, weight) for _, weight in found)


def _calmest(task: Task, calm: Program) -> tuple[float, FloatArray]:
    """Return gain and weights of the book of least volatility: none at all where the limits let it be."""
    nothing = np.zeros(task.prepared.count)
    if task.excess(nothing) <= 0:
        return float(task.gain @ task.lifted(nothing)), nothing
    return _read(task, require(calm.solve(), "the least volatility"))


def _read(task: Task, answer: Answer) -> tuple[float, FloatArray]:
    weight = answer.x[task.layout.weight]
    return float(task.gain @ task.lifted(weight)), weight


def _point(problem: Problem, task: Task, weight: FloatArray) -> Point:
    weights = np.full(len(problem.names), np.nan)
    weights[task.prepared.columns] = weight
    expected = task.prepared.problem.expected
    earned = 0.0 if expected is None else float(expected @ weight)
    risk = math.sqrt(max(float(weight @ task.covariance @ weight), 0.0))
    return Point(float(task.gain @ task.lifted(weight)), earned, risk, weights)

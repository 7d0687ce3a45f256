"""From a problem and what it is solved for to weights, what they promise, and which limits hold them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError
from tradewind.portfolio.optimiser.conflicts import conflict
from tradewind.portfolio.optimiser.constraints import Layout, definitions, limits
from tradewind.portfolio.optimiser.hierarchy import hierarchical_risk_parity
from tradewind.portfolio.optimiser.problem import Prepared, Problem, prepare
from tradewind.portfolio.optimiser.program import Answer, Block, Program, block, dense, diagonal, require, summed
from tradewind.portfolio.optimiser.risk_parity import risk_parity
from tradewind.portfolio.optimiser.settings import OptimiserSection

FloatArray = NDArray[np.float64]

SNAP = 1e-7
"""A weight this near to zero, or to what is held, is that: the solver stops a little before the corner."""

TOUCHES = 1e-6
"""Slack below which a limit binds."""


class Binding(NamedTuple):
    """A limit that binds.

    ``shadow_price`` is what one more unit of the limit would add to the objective: Sharpe ratio (of one horizon) for
    max_sharpe, utility for mean_variance and min_variance, conditional value at risk for min_cvar, half of a squared
    tracking error for risk_parity and hierarchical. Zero where nothing would be gained.
    """

    name: str
    of: str
    limit: float
    shadow_price: float


@dataclass(frozen=True, eq=False)
class Solution:
    """Chosen weights, and what they promise over one horizon.

    Attributes
    ----------
    weights
        ``(N,)`` fractions of equity; NaN for names that do not take part: those are left as they are.
    objective, value
        What was solved for, and what it came to: Sharpe ratio, utility (``return - risk_aversion / 2 * variance -
        cost``, less the robust penalty), conditional value at risk, or volatility.
    expected_return
        Before costs; None without beliefs.
    volatility, cvar
        Standard deviation, and mean loss beyond ``cvar_level``: of the scenarios, of a normal where there are none.
    turnover, cost
        Sum of absolute changes, and what they cost.
    binding
        Limits that bind, the dearest first.
    status
        ``optimal``, ``nearly optimal`` (the solver stopped early, inside all limits).
    """

    names: tuple[str, ...]
    weights: FloatArray
    objective: str
    value: float
    expected_return: float | None
    volatility: float
    cvar: float
    turnover: float
    cost: float
    binding: tuple[Binding, ...]
    status: str
    seconds: float
    excluded: Mapping[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Task:
    """A prepared problem with its limits laid out; costs and robustness as far as its objective knows them."""

    prepared: Prepared
    settings: OptimiserSection
    layout: Layout
    definitions: Sequence[Block]
    limits: Sequence[Block]

    @classmethod
    def of(cls, problem: Problem, settings: OptimiserSection) -> Task:
        """Leave out what is unknown and lay out the limits; ``net_min`` is set where risk alone counts.

        Raises
        ------
        InputError
            The limits contradict each other, or the objective needs what the problem has not.
        DataError
            No name can take part.
        """
        prepared = prepare(problem, _needs(problem, settings))
        task = cls._laid(prepared, settings)
        if settings.net_min is not None or not settings.risk_alone or settings.objective in TARGETS:
            return task
        return cls._laid(prepared, settings.model_copy(update={"net_min": _capacity(task)}))

    @classmethod
    def _laid(cls, prepared: Prepared, settings: OptimiserSection) -> Task:
        costs = bool(settings.cost_bps) and settings.objective not in TARGETS
        uncertain = settings.uncertainty_kappa > 0 and prepared.problem.uncertainty is not None
        robust = uncertain and not settings.risk_alone
        layout = Layout.of(prepared, settings, costs=costs, robust=robust)
        return cls(
            prepared, settings, layout, definitions(prepared, settings, layout), limits(prepared, settings, layout)
        )

    @property
    def blocks(self) -> list[Block]:
        """All constraints: limits first."""
        return [*self.limits, *self.definitions]

    @property
    def covariance(self) -> FloatArray:
        """``(K, K)`` over one horizon."""
        return self.prepared.problem.covariance

    @cached_property
    def variance_unit(self) -> float:
        """A typical variance, by which objectives are divided: the answer does not depend on the unit of returns."""
        return float(np.diag(self.covariance).mean())

    @cached_property
    def gain(self) -> FloatArray:
        """What each variable adds to the expected return after costs and the robust penalty, ``(total,)``."""
        found, expected = np.zeros(self.layout.total), self.prepared.problem.expected
        if expected is not None and not self.settings.risk_alone:
            found[self.layout.weight] = expected
        if self.settings.objective not in TARGETS:
            found[self.layout.trade] = -self.cost_rate
        found[self.layout.robust] = -self.settings.uncertainty_kappa
        return found

    @property
    def cost_rate(self) -> float:
        """Cost of a trade as a fraction of what is traded."""
        return (self.settings.cost_bps or 0.0) / 1e4

    def lifted(self, weight: FloatArray) -> FloatArray:
        """Return all variables at these weights."""
        return self.layout.lifted(weight, self.prepared)

    def excess(self, weight: FloatArray) -> float:
        """Return by how much weights are outside of the limits, at most 0 inside."""
        x = self.lifted(weight)
        return max((one.excess(x) for one in self.limits), default=0.0)

    def solved(self, answer: Answer, what: str) -> Answer:
        """Return an optimal answer; raises the conflict where the limits contradict each other."""
        if answer.infeasible:
            raise conflict(self.limits, self.definitions, self.layout.total, answer)
        return require(answer, what)


class Found(NamedTuple):
    """Weights of the names that take part, the price of each limit's rows, and how they came about."""

    objective: str
    weight: FloatArray
    prices: Sequence[FloatArray]
    status: str
    notes: tuple[str, ...] = ()


def optimise(problem: Problem, settings: OptimiserSection) -> Solution:
    """Return the weights that are best for the objective inside all limits. Deterministic.

    Where no portfolio has a positive expected return after costs, ``max_sharpe`` is not defined: the answer is then
    that of ``min_variance``, which says so in its name and its notes.

    Raises
    ------
    InputError
        Limits contradict each other (:class:`ConflictError`), or the objective needs what the problem has not.
    DataError
        No name can take part, or the covariance calls a portfolio riskless that earns something.
    """
    started = time.perf_counter()
    task = Task.of(problem, settings)
    found = OBJECTIVES[settings.objective](task)
    weight = _snapped(task, found.weight)
    return _solution(problem, task, found._replace(weight=weight), time.perf_counter() - started)


# -- objectives ----------------------------------------------------------------------------------------------


def _mean_variance(task: Task) -> Found:
    """Maximise ``gain - risk_aversion / 2 * variance`` (Markowitz 1952), costs and penalty in the gain."""
    aversion, unit = task.settings.risk_aversion, task.variance_unit * task.settings.risk_aversion
    program = Program(task.layout.total, task.covariance * (aversion / unit), -task.gain / unit, task.blocks)
    answer = task.solved(program.solve(), task.settings.objective)
    return Found(task.settings.objective, answer.x[task.layout.weight], _priced(task, answer, unit), answer.status)


def _min_variance(task: Task) -> Found:
    """As mean-variance, with nothing expected: variance against the cost of getting there."""
    return _mean_variance(task)


def _max_sharpe(task: Task) -> Found:
    """Maximise gain over volatility.

    With ``y = t w`` and the gain of ``y`` fixed at one it is the least variance of ``y`` (Charnes & Cooper 1962;
    Schaible 1974 for concave gains): costs and the robust penalty are homogeneous in ``(y, t)`` and stay inside. Where
    the size of a book makes no difference to its Sharpe ratio, it is as large as the limits let it be.
    """
    count, unit = task.layout.total, float(np.abs(task.gain).max(initial=0.0))
    if unit == 0.0:
        return _no_gain(task)
    scale = np.array([count])
    earns = block("", [summed(np.arange(count), -task.gain / unit)], np.array([-1.0]))
    above = block("", [diagonal(scale, -1.0)], np.zeros(1))
    blocks = [*(_homogeneous(one, count) for one in task.blocks), earns, above]
    quadratic = task.covariance / task.variance_unit
    answer = Program(count + 1, quadratic, np.zeros(count + 1), blocks).solve()
    if answer.infeasible:
        return _no_gain(task)
    answer, size = require(answer, "max_sharpe"), float(answer.x[count])
    least = float(answer.x[task.layout.weight] @ quadratic @ answer.x[task.layout.weight])
    if least < 1e-9 or size <= 0:
        raise DataError(
            "the covariance calls a portfolio riskless that is expected to earn something: no Sharpe ratio is largest",
            hint="shrink the covariance (risk.shrinkage), or use more bars than names",
        )
    sharpe = unit / math.sqrt(least * task.variance_unit)
    weight = answer.x[task.layout.weight] / size
    return Found("max_sharpe", _grown(task, weight), _priced(task, answer, sharpe * size / least), answer.status)


def _homogeneous(one: Block, scale: int) -> Block:
    """Return a block with its bound multiplied by the variable that scales all others."""
    row = np.flatnonzero(one.bound)
    parts = [(one.row, one.column, one.value), (row, np.full(len(row), scale), -one.bound[row])]
    return block(one.name, parts, np.zeros(len(one.bound)), cone=one.cone, of=one.of, said=one.said)


def _no_gain(task: Task) -> Found:
    """Return the portfolio of least variance where none has a positive gain; raises where no portfolio exists."""
    best = task.solved(Program(task.layout.total, None, _towards(task), task.blocks).solve(), "the largest gain")
    most = float(task.gain @ best.x)
    note = (
        f"no portfolio inside the limits has a positive expected return after costs (the best: {most:.3%}): max_sharpe "
        "is not defined, min_variance is shown instead"
    )
    fallback = task.settings.model_copy(update={"objective": "min_variance"})
    return _min_variance(Task._laid(task.prepared, fallback))._replace(notes=(note,))


def _towards(task: Task) -> FloatArray:
    """Return the linear term of the largest gain."""
    return np.asarray(-task.gain / (float(np.abs(task.gain).max(initial=0.0)) or 1.0))


def _grown(task: Task, weight: FloatArray) -> FloatArray:
    """Return the largest book of the same direction: without costs of what is held its Sharpe ratio is the same."""
    if task.prepared.previous.any() and len(task.layout.trade):
        return weight
    x, most = task.lifted(weight), np.inf
    for one in task.limits:
        if one.cone == "zero":
            return weight
        used, bound = one.times(x), one.bound
        if one.cone == "second_order":
            used, bound = np.array([np.linalg.norm(used[1:])]), bound[:1]
        rising = used > 1e-12
        most = min(most, float((bound[rising] / used[rising]).min(initial=np.inf)))
    return weight * max(1.0, most) if np.isfinite(most) else weight


def _min_cvar(task: Task) -> Found:
    """Minimise the mean of the worst losses, costs included (Rockafellar & Uryasev 2000, eq. 17)."""
    scenarios, chance = _scenarios(task)
    count, first = len(scenarios), task.layout.total
    threshold, beyond = np.array([first]), np.arange(first + 1, first + 1 + count)
    unit = math.sqrt(task.variance_unit)
    linear = np.zeros(first + 1 + count)
    linear[: task.layout.total] = -task.gain / unit
    linear[threshold], linear[beyond] = 1.0, chance / (1 - task.settings.cvar_level)
    everyone = np.repeat(threshold, count)
    losses = block(
        "",
        [dense(-scenarios / unit, task.layout.weight), diagonal(everyone, -1.0), diagonal(beyond, -1.0)],
        np.zeros(count),
    )
    positive = block("", [diagonal(beyond, -1.0)], np.zeros(count))
    program = Program(len(linear), None, linear, [*task.blocks, losses, positive])
    answer = task.solved(program.solve(), "min_cvar")
    return Found("min_cvar", answer.x[task.layout.weight], _priced(task, answer, unit), answer.status)


def _scenarios(task: Task) -> tuple[FloatArray, FloatArray]:
    scenarios, chance = task.prepared.problem.scenarios, task.prepared.problem.probabilities
    assert scenarios is not None
    return scenarios, np.full(len(scenarios), 1.0 / len(scenarios)) if chance is None else chance


def _towards_target(task: Task) -> Found:
    """Return the portfolio inside the limits that follows the objective's own weights with least tracking error."""
    settings = task.settings
    room = min(settings.net_max, settings.gross_max or settings.net_max) - task.prepared.frozen.gross
    target = TARGETS[settings.objective](task.covariance) * max(room, 0.0)
    if task.excess(target) <= 1e-9:
        return Found(settings.objective, target, [np.zeros(len(one.bound)) for one in task.limits], "Solved")
    quadratic = task.covariance / task.variance_unit
    linear = np.zeros(task.layout.total)
    linear[task.layout.weight] = -quadratic @ target
    answer = task.solved(Program(task.layout.total, quadratic, linear, task.blocks).solve(), settings.objective)
    weight = answer.x[task.layout.weight]
    note = (
        f"the weights of {settings.objective} are outside of the limits: these follow them with least tracking error "
        f"({_risk(task, weight - target):.3%} over the horizon)"
    )
    prices = _priced(task, answer, task.variance_unit)
    return Found(settings.objective, weight, prices, answer.status, (note,))


TARGETS: Mapping[str, Callable[[FloatArray], FloatArray]] = {
    "risk_parity": risk_parity,
    "hierarchical": hierarchical_risk_parity,
}
"""Objectives that name weights by themselves; limits then move them as little as they must."""

OBJECTIVES: Mapping[str, Callable[[Task], Found]] = {
    "max_sharpe": _max_sharpe,
    "mean_variance": _mean_variance,
    "min_variance": _min_variance,
    "min_cvar": _min_cvar,
    "risk_parity": _towards_target,
    "hierarchical": _towards_target,
}


# -- what goes in and what comes out -------------------------------------------------------------------------


def _needs(problem: Problem, settings: OptimiserSection) -> tuple[str, ...]:
    """Return what every name must have."""
    beta = settings.beta_min is not None or settings.beta_max is not None
    wanted = {
        "expected": not settings.risk_alone,
        "beta": beta and problem.beta is not None,
        "scenarios": settings.objective == "min_cvar",
    }
    return tuple(name for name, needed in wanted.items() if needed)


def _capacity(task: Task) -> float:
    """Return the largest net exposure that the limits can hold, ``net_max`` at most."""
    linear = np.zeros(task.layout.total)
    linear[task.layout.weight] = -1.0
    answer = task.solved(Program(task.layout.total, None, linear, task.blocks).solve(), "the largest book")
    held = task.prepared.frozen.net
    return min(task.settings.net_max, held + float(answer.x[task.layout.weight].sum()) - SNAP)


def _priced(task: Task, answer: Answer, unit: float) -> list[FloatArray]:
    """Return the prices of the limits' rows in the objective's unit per unit of the limit."""
    return [p * (unit * one.unit) for p, one in zip(answer.prices, task.limits, strict=False)]


def _snapped(task: Task, weight: FloatArray) -> FloatArray:
    """Return weights with the solver's dust removed, where the limits allow it."""
    held = task.prepared.previous
    clean = np.where(np.abs(weight) < SNAP, 0.0, weight)
    clean = np.where(np.abs(weight - held) < SNAP, held, clean)
    return clean if task.excess(clean) <= max(task.excess(weight), SNAP) else weight


def _solution(problem: Problem, task: Task, found: Found, seconds: float) -> Solution:
    settings, part, weight = task.settings, task.prepared.problem, found.weight
    expected = None if part.expected is None else float(np.nan_to_num(part.expected) @ weight)
    volatility = _risk(task, weight)
    turnover = float(np.abs(weight - task.prepared.previous).sum())
    cost = turnover * task.cost_rate
    cvar, said = _cvar(part, weight, expected or 0.0, volatility, settings.cvar_level)
    weights = np.full(len(problem.names), np.nan)
    weights[task.prepared.columns] = weight
    return Solution(
        names=problem.names,
        weights=weights,
        objective=found.objective,
        value=_value(task, found, expected or 0.0, volatility, cvar, cost),
        expected_return=expected,
        volatility=volatility,
        cvar=cvar,
        turnover=turnover,
        cost=cost,
        binding=_binding(task, found),
        status="optimal" if found.status == "Solved" else "nearly optimal",
        seconds=seconds,
        excluded=task.prepared.excluded,
        notes=(*task.prepared.notes, *found.notes, said),
    )


def _risk(task: Task, weight: FloatArray) -> float:
    return math.sqrt(max(float(weight @ task.covariance @ weight), 0.0))


def _value(task: Task, found: Found, expected: float, volatility: float, cvar: float, cost: float) -> float:
    """Return what the objective came to."""
    penalty = 0.0
    if len(task.layout.robust):
        penalty = task.settings.uncertainty_kappa * float(task.lifted(found.weight)[task.layout.robust][0])
    net = expected - penalty - cost
    if found.objective == "max_sharpe":
        return net / volatility
    if found.objective in ("mean_variance", "min_variance"):
        gain = net if found.objective == "mean_variance" else -cost
        return gain - task.settings.risk_aversion / 2 * volatility**2
    return cvar + cost if found.objective == "min_cvar" else volatility


def _cvar(part: Problem, weight: FloatArray, expected: float, volatility: float, level: float) -> tuple[float, str]:
    """Return the conditional value at risk over one horizon, and what it is of."""
    if part.scenarios is None or not np.isfinite(part.scenarios).all():
        from scipy.special import ndtri

        density = math.exp(-0.5 * float(ndtri(level)) ** 2) / math.sqrt(2 * math.pi)
        return volatility * density / (1 - level) - expected, "cvar is a normal's: there are no scenarios"
    chance = part.probabilities
    losses = -part.scenarios @ weight
    share = np.full(len(losses), 1.0 / len(losses)) if chance is None else chance
    return tail_mean(losses, share, level), f"cvar is of {len(losses)} scenarios"


def tail_mean(losses: FloatArray, chance: FloatArray, level: float) -> float:
    """Return the mean of the worst ``1 - level`` of weighted losses ``(S,)``; a scenario at the edge counts in part."""
    order = np.argsort(-losses, kind="stable")
    taken = np.diff(np.minimum(np.cumsum(chance[order]), 1 - level), prepend=0.0)
    return float(losses[order] @ taken / (1 - level))


def _binding(task: Task, found: Found) -> tuple[Binding, ...]:
    """Return the limits without slack, the dearest first."""
    x, rows = task.lifted(found.weight), []
    for one, prices in zip(task.limits, found.prices, strict=True):
        slack = one.bound - one.times(x)
        if one.cone == "second_order":
            slack, prices = np.array([slack[0] - np.linalg.norm(slack[1:])]), prices[:1]
        for row in np.flatnonzero(slack <= TOUCHES * np.maximum(1.0, np.abs(one.bound[: len(slack)]))):
            rows.append(Binding(one.name, one.of[row] if one.of else "", one.limit, float(prices[row])))
    dust = 1e-6 * max([_risk(task, found.weight), *(abs(row.shadow_price) for row in rows)])
    rows = [row if abs(row.shadow_price) > dust else row._replace(shadow_price=0.0) for row in rows]
    return tuple(sorted(rows, key=lambda row: -abs(row.shadow_price)))


def rebalance_due(held: FloatArray, target: FloatArray, bars_since: int, settings: OptimiserSection) -> str | None:
    """Return why the book is due to be optimised again, None where it is not.

    Parameters
    ----------
    held, target
        ``(N,)`` weights now and those last aimed at; NaN counts as nothing held.
    bars_since
        Bars since the last optimisation.
    """
    if bars_since >= settings.every_bars:
        return f"{bars_since} bars since the last optimisation"
    drift = np.abs(np.nan_to_num(held) - np.nan_to_num(target))
    if not drift.size or drift.max() < settings.drift_trigger:
        return None
    return f"a weight has drifted by {drift.max():.1%} from its target"

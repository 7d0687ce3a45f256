"""The book that an optimiser would hold now: risk from the panel, views from the calibrated forecast."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError, InputError, did_you_mean
from tradewind.evaluation import corridor
from tradewind.evaluation.corridor import Progress, World, silent
from tradewind.evaluation.data import load_or_sync
from tradewind.evaluation.fold_cache import FoldCache
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.track_record import periods_per_year
from tradewind.evaluation.workspace import Workspace
from tradewind.market.bars import SESSIONS_PER_YEAR
from tradewind.models.assembly import log_prices
from tradewind.models.forecast import Forecast
from tradewind.portfolio.optimiser import OptimiserSection, Point, Problem, Solution, frontier, optimise, prepare
from tradewind.portfolio.optimiser.settings import Objective
from tradewind.portfolio.optimiser.views import (
    Moments,
    black_litterman,
    entropy_pooling,
    equilibrium,
    forecast_moments,
    pooled_moments,
)
from tradewind.risk.along import RiskAlong

FloatArray = NDArray[np.float64]

LEAST_SCENARIOS = 60
"""Past horizons that all names must share before their joint losses are taken from them."""

FORGOTTEN = 40
"""Half-lives after which a bar weighs 1e-12 of the newest one: one close need not wait for what is older."""


def optimised(
    workspace: Workspace, progress: Progress = silent, *, objective: str | None = None, as_of: datetime | None = None
) -> dict[str, Any]:
    """Return the optimal book as of the newest close, from cash: weights, frontier and what binds, as plain values.

    ``expected_return``, ``volatility`` and ``cvar`` are over ``horizon_bars``. Not a trial: nothing is chosen by it.

    Raises
    ------
    InputError
        An unknown objective, or limits that contradict each other.
    DataError
        No name has both a forecast and a risk.
    """
    settings = _settings(workspace, objective)
    loaded = load_or_sync(workspace, progress, as_of=as_of)
    cache = FoldCache(workspace.home / "folds")
    world = corridor.build_world(workspace.plan, loaded.panel, loaded.notes, cache, progress)
    calibrated = corridor.believed_out_of_sample(world, cache, progress).forecast
    progress("optimise", 0, 1)
    posed = pose(world, calibrated, len(world.panel) - 1, settings)
    solution = optimise(posed.problem, settings)
    points = frontier(posed.problem, settings)
    progress("optimise", 1, 1)
    return _result(world, posed, settings, solution, points)


def _settings(workspace: Workspace, objective: str | None) -> OptimiserSection:
    """Return the playbook's section inside its limits and costs, with another objective where one is asked for."""
    settings = section_of(workspace.plan)
    if objective is None:
        return settings
    if objective not in get_args(Objective):
        raise did_you_mean("objective", objective, get_args(Objective))
    return settings.model_copy(update={"objective": objective})


def section_of(plan: Plan) -> OptimiserSection:
    """Return a plan's section inside its limits, its target of volatility among them, and with its costs."""
    one_way = corridor.round_trip_cost(plan.execution) / 2 * 1e4
    inside = plan.optimiser.within(plan.limits, cost_bps=one_way, short_allowed=plan.execution.short_allowed)
    known = [most for most in (inside.volatility_max, plan.risk.volatility_target) if most is not None]
    return inside.model_copy(update={"volatility_max": min(known, default=None)})


@dataclass(frozen=True, eq=False)
class Asked:
    """What a book that is walked over bars adds to a question: who takes part, and what is held.

    Attributes
    ----------
    known
        The risk, stepped along to the row.
    admitted
        ``(N,)`` names that may be held afterwards.
    held, side
        ``(N,)`` weights now, and the sign that a weight must not be against (0: either).
    """

    known: RiskAlong
    admitted: NDArray[np.bool_]
    held: FloatArray
    side: FloatArray


@dataclass(frozen=True, eq=False)
class Posed:
    """A problem with the names that never came into question, and what has to be known of how it was made."""

    problem: Problem
    absent: Mapping[str, str]
    notes: tuple[str, ...]


def pose(world: World, forecast: Forecast, row: int, settings: OptimiserSection, asked: Asked | None = None) -> Posed:
    """Return what is to be optimised at the close of ``row``, from rows up to it alone.

    What is held without a bar at this close stands in the problem without a risk: it stays, and counts.

    Raises ``InputError`` where the decision's horizon is not forecast, ``DataError`` where no symbol has a bar and a
    risk, or where scenarios are needed and too few are shared.
    """
    panel, horizon = world.panel, world.plan.decision.horizon_bars
    columns, absent = _present(world, row)
    if asked is not None:
        stuck = (asked.held != 0) & ~panel.mask[row]
        columns = np.union1d(columns[asked.admitted[columns]], np.flatnonzero(stuck))
    known = along(world, row) if asked is None else asked.known
    risk = risk_of(world, known.at(row), columns, horizon, scenarios=asked is None or _needs_scenarios(settings))
    if asked is not None:
        risk.covariance[stuck[columns]] = np.nan
        risk.covariance[:, stuck[columns]] = np.nan
    moments = forecast_moments(forecast.quantiles[row, columns, _index(forecast, horizon)], forecast.levels)
    problem = Problem(
        names=tuple(panel.symbols[c] for c in columns),
        covariance=risk.covariance,
        sectors=tuple(panel.sectors[c] for c in columns),
        beta=risk.beta,
        previous=None if asked is None else asked.held[columns],
        side=None if asked is None else asked.side[columns],
        horizon_years=horizon / periods_per_year(panel.timeframe),
        observations=risk.observations,
        scenarios=risk.scenarios,
    )
    viewed, notes = _viewed(problem, moments, settings)
    return Posed(viewed, absent, (*world.notes, *risk.notes, *notes))


def _index(forecast: Forecast, horizon: int) -> int:
    if horizon not in forecast.horizons:
        raise InputError(
            f"decision.horizon_bars = {horizon} is not forecast",
            hint=f"set it to one of {list(forecast.horizons)}, or add it to labels.horizons_bars",
        )
    return forecast.horizons.index(horizon)


def _present(world: World, row: int) -> tuple[NDArray[np.int64], dict[str, str]]:
    """Return the columns that can be traded at a close, and why the others can't."""
    panel = world.panel
    reasons = {"no bar at this close": panel.mask[row], "not in the universe at this close": panel.member[row]}
    absent: dict[str, str] = {}
    for why, there in reasons.items():
        for column in np.flatnonzero(~there):
            absent.setdefault(panel.symbols[column], why)
    columns = np.array([c for c, name in enumerate(panel.symbols) if name not in absent], dtype=np.int64)
    if not columns.size:
        raise DataError("no symbol has a bar at the newest close", hint="`tradewind data check` shows what is missing")
    return columns, absent


@dataclass(frozen=True, eq=False)
class Risk:
    """What is known of the joint risk of some symbols over a horizon: NaN where too little."""

    covariance: FloatArray
    beta: FloatArray | None
    scenarios: FloatArray | None
    observations: int
    notes: tuple[str, ...]


def along(world: World, last: int | None = None) -> RiskAlong:
    """Return the risk of a world's names before its first row, or before the first that still weighs at row ``last``.

    One-bar log returns, weighted and shrunk as ``[risk]`` says; betas against the index of the context, else the mean
    of the universe, as the desk's are.
    """
    section, panel = world.plan.risk, world.panel
    bars = periods_per_year(panel.timeframe) / SESSIONS_PER_YEAR
    half_life, warm_up = section.half_life_sessions * bars, max(5, math.ceil(section.warm_up_sessions * bars))
    returns, index = _moves(log_prices(panel)), panel.context.get("index")
    market = _mean(returns) if index is None else _moves(np.log(index))
    before = -1 if last is None else max(-1, last - math.ceil(FORGOTTEN * half_life))
    return RiskAlong(returns, market, half_life, section.shrinkage, warm_up, before)


def _moves(logs: FloatArray) -> FloatArray:
    return np.diff(logs, axis=0, prepend=np.full_like(logs[:1], np.nan))


def _mean(returns: FloatArray) -> FloatArray:
    there = np.isfinite(returns).sum(axis=1)
    return np.where(there > 0, np.nansum(returns, axis=1) / np.maximum(there, 1), np.nan)


def market_note(world: World) -> tuple[str, ...]:
    """Say what betas are to, where it is not the index."""
    here = "index" in world.panel.context
    return () if here else ("betas are to the mean of the universe: the source has no index",)


def risk_of(
    world: World, known: RiskAlong, columns: NDArray[np.int64], horizon: int, *, scenarios: bool = True
) -> Risk:
    """Return covariance, betas and scenarios over ``horizon`` bars, as known at the row that risk has come to.

    A horizon's variance is that of so many bars. Without ``scenarios`` none are made.
    """
    section, panel, row = world.plan.risk, world.panel, known.row
    covariance = known.covariance(columns) * horizon
    window = known.returns[: row + 1, columns][-math.ceil(12 * known.half_life_bars) :]  # nothing older has any weight
    pairs, betas = known.unmeasured_pairs(columns), known.betas()
    said = list(market_note(world))
    said += [f"{pairs} pairs have too few bars in common and get the mean correlation"] if pairs else []
    found: FloatArray | None = None
    if scenarios:
        bars = section.var_window_sessions * periods_per_year(panel.timeframe) / SESSIONS_PER_YEAR
        past = log_prices(panel)[: row + 1, columns][-math.ceil(bars) - horizon :]
        found, note = shocks(past, np.sqrt(np.diag(covariance)), horizon)
        said.insert(0, note)
    observations = int(np.isfinite(window).all(axis=1).sum())
    return Risk(covariance, None if betas is None else betas[columns], found, observations, tuple(said))


def _needs_scenarios(settings: OptimiserSection) -> bool:
    return settings.objective == "min_cvar" or settings.views == "entropy_pooling"


def shocks(closes: FloatArray, deviation: FloatArray, horizon: int) -> tuple[FloatArray | None, str]:
    """Return past returns over the horizon, centred and scaled to today's deviation, ``(S, N)``, and a word on them.

    Overlapping; only rows in which every name with a known risk has a return. None where they are too few.
    """
    moves = closes[horizon:] - closes[:-horizon]
    known = np.isfinite(deviation)
    shared = moves[np.isfinite(moves[:, known]).all(axis=1)] if known.any() else moves[:0]
    if len(shared) < LEAST_SCENARIOS:
        return None, f"{len(shared)} past horizons are shared by all names, {LEAST_SCENARIOS} are needed for scenarios"
    spread = shared.std(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (shared - shared.mean(axis=0)) * (deviation / spread)
    return found, f"scenarios are {len(found)} overlapping returns over {horizon} bars, scaled to today's volatility"


def _viewed(problem: Problem, moments: Moments, settings: OptimiserSection) -> tuple[Problem, tuple[str, ...]]:
    """Return the problem with what is expected after the forecasts have met the prior."""
    prepared = prepare(problem)
    usable, covariance = prepared.columns, prepared.problem.covariance
    prior = np.zeros(len(problem.names))
    if settings.prior == "equilibrium":
        alike = np.full(len(usable), 1.0 / len(usable))
        prior[usable] = equilibrium(covariance, alike, settings.risk_aversion)
    view, spread = moments.mean[usable], moments.deviation[usable]
    mean, sure = moments.mean.copy(), moments.deviation * math.sqrt(settings.tau)
    chance: FloatArray | None = None
    notes: tuple[str, ...] = (f"prior: {settings.prior}; views: {settings.views.replace('_', ' ')}",)
    if settings.views == "black_litterman":
        found = black_litterman(prior[usable], covariance, view, spread, tau=settings.tau)
        mean[usable], sure[usable] = found.mean, np.sqrt(np.maximum(np.diag(found.uncertainty), 0.0))
    if settings.views == "entropy_pooling":
        if problem.scenarios is None:
            raise DataError(
                f"entropy pooling needs scenarios: the names share fewer than {LEAST_SCENARIOS} past horizons",
                hint="sync more history, leave out the youngest names, or set optimiser.views to black_litterman",
            )
        moves = problem.scenarios[:, usable] + prior[usable]
        pooled = entropy_pooling(moves, view, spread)
        chance, mean[usable] = pooled.probabilities, pooled_moments(moves, pooled.probabilities)[0]
        notes = (*notes, f"{pooled.effective:.0f} of {len(chance)} scenarios are effective after the views")
    mean = np.where(np.isfinite(moments.mean), mean, np.nan)  # the prior alone is no forecast
    scenarios = problem.scenarios
    if scenarios is not None:
        scenarios = scenarios + (prior if chance is not None else mean)
    return replace(problem, expected=mean, uncertainty=sure, scenarios=scenarios, probabilities=chance), notes


def _result(
    world: World, posed: Posed, settings: OptimiserSection, solution: Solution, points: tuple[Point, ...]
) -> dict[str, Any]:
    plan, panel = world.plan, world.panel
    names = posed.problem.names
    return {
        "playbook": plan.playbook.name,
        "source": plan.data.source,
        "as_of": str(np.datetime_as_string(panel.times[-1], unit="s")) + "Z",
        "objective": solution.objective,
        "status": solution.status,
        "horizon_bars": plan.decision.horizon_bars,
        "weights": weights_of(names, solution.weights),
        "value": solution.value,
        "expected_return": solution.expected_return,
        "volatility": solution.volatility,
        "annual_volatility": solution.volatility / math.sqrt(posed.problem.horizon_years),
        "cvar": solution.cvar,
        "cvar_level": settings.cvar_level,
        "turnover": solution.turnover,
        "cost": solution.cost,
        "gross": float(np.nansum(np.abs(solution.weights))),
        "net": float(np.nansum(solution.weights)),
        "binding": [
            {"name": b.name, "of": b.of or None, "limit": b.limit, "shadow_price": b.shadow_price}
            for b in solution.binding
            if b.name != "long_only" or b.shadow_price
        ],
        "excluded": {**posed.absent, **solution.excluded},
        "frontier": [
            {
                "expected_return": point.expected_return,
                "gain": point.gain,
                "volatility": point.volatility,
                "weights": weights_of(names, point.weights),
            }
            for point in points
        ],
        "seconds": round(solution.seconds, 4),
        "notes": [*posed.notes, *solution.notes, "nothing is held yet: all is bought from cash"],
    }


def weights_of(names: tuple[str, ...], weights: FloatArray) -> dict[str, float]:
    """Return the weights by name, to a millionth; those that do not take part are not among them."""
    return {name: round(float(w), 6) for name, w in zip(names, weights, strict=True) if math.isfinite(w)}

"""The risk of the book that was held: value at risk along its life, and at the end name by name."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradewind.evaluation.corridor import World
from tradewind.evaluation.stress import sessions_of
from tradewind.evaluation.track_record import position_weights
from tradewind.execution.simulator import Simulation
from tradewind.market.bars import SESSIONS_PER_YEAR
from tradewind.market.panel import Panel
from tradewind.risk import beta as slopes
from tradewind.risk.contributions import cvar_contributions, volatility_contributions
from tradewind.risk.liquidity import average_value_traded, liquidity
from tradewind.risk.settings import RiskSection
from tradewind.risk.stress import MARKET
from tradewind.risk.value_at_risk import TailPath, ewma_covariance, tail_path, var_now

FloatArray = NDArray[np.float64]

COVERAGE = 0.5
"""Share of the book that must have a return for a session to count, where it is carried back over history."""


@dataclass(frozen=True, eq=False)
class Along:
    """What was held made, and what value at risk had said of it: row ``t`` is the bar that ends at ``times[t]``.

    Attributes
    ----------
    returns
        ``(T,)`` of what was held when value at risk was asked for, as if nothing had been traded in the bar.
    var
        ``(T,)`` forecast at the close before, positive; NaN where none could be made.
    newest
        The forecast at the last close, of the bar that is still to come.
    """

    times: NDArray[np.datetime64]
    returns: FloatArray
    var: FloatArray
    newest: float


@dataclass(frozen=True, eq=False)
class Held:
    """The newest book name by name, the heaviest first.

    Attributes
    ----------
    measures
        Measure to one value a name, NaN where unknown; names that end in ``%`` are fractions. Higher is riskier.
    shares
        Measure of the whole book to each name's share of it.
    """

    symbols: tuple[str, ...]
    measures: dict[str, FloatArray]
    shares: dict[str, dict[str, float]]


def book_tail(risk: RiskSection, world: World, simulation: Simulation) -> TailPath:
    """Return value at risk and shortfall of the book at each row, over the bar after it, by the playbook's method."""
    return tail_path(
        total_returns(world.panel),
        position_weights(world, simulation),
        risk.var_level,
        risk.var_method,
        risk.var_window_sessions,
        risk.var_half_life_sessions,
        coverage=COVERAGE,
    )


def along(risk: RiskSection, world: World, simulation: Simulation, start: int) -> Along:
    """Return what was held made since row ``start`` beside what value at risk had said."""
    path, weights = book_tail(risk, world, simulation), position_weights(world, simulation)
    moved = np.nansum(weights[start:-1] * total_returns(world.panel)[start + 1 :], axis=1)
    return Along(world.panel.times[start + 1 :], moved, path.var[start:-1], float(path.var[-1]))


def held_risk(risk: RiskSection, world: World, simulation: Simulation) -> Held:
    """Return the risks of what is held after the last bar; all of it from the past."""
    weights = np.nan_to_num(position_weights(world, simulation)[-1])
    held = np.flatnonzero(weights)
    order = held[np.argsort(-np.abs(weights[held]), kind="stable")]
    sessions = sessions_of(world.panel, risk.var_window_sessions)
    returns, symbols = sessions.past.returns, world.panel.symbols
    covariance, _ = ewma_covariance(returns, weights, half_life=risk.half_life_sessions)
    window = returns[-risk.var_window_sessions :]
    parts = {
        "volatility": volatility_contributions(covariance, weights),
        "expected shortfall": cvar_contributions(window, weights, level=risk.var_level),
    }
    out = liquidity(weights, float(simulation.equity[-1]), average_value_traded(sessions.close, sessions.volume))
    measures = {
        "weight %": np.abs(weights),
        "volatility %": np.sqrt(np.diag(covariance) * SESSIONS_PER_YEAR),
        "beta": _betas(returns, sessions.past.factors[MARKET], risk),
        "value at risk %": _alone(returns, order, risk),
        "of a day's volume, bp": out.adv_share * 1e4,
    }
    return Held(
        symbols=tuple(symbols[column] for column in order),
        measures={name: values[order] for name, values in measures.items()},
        shares={
            name: {symbols[column]: float(part.share[column]) for column in order}
            for name, part in parts.items()
            if math.isfinite(part.total)
        },
    )


def total_returns(panel: Panel) -> FloatArray:
    """Return the simple total return of each bar on the one before, ``(T, N)``; NaN where one of them is missing."""
    adjusted = np.where(panel.mask, panel.adjusted("close"), np.nan)
    returns = np.full(adjusted.shape, np.nan)
    returns[1:] = adjusted[1:] / adjusted[:-1] - 1.0
    return returns


def _alone(returns: FloatArray, columns: NDArray[np.int64], risk: RiskSection) -> FloatArray:
    """Return each name's value at risk as if it were the whole book, ``(N,)``; NaN where it is not asked for."""
    found = np.full(returns.shape[1], np.nan)
    settings = risk.var_level, risk.var_method, risk.var_window_sessions, risk.var_half_life_sessions
    for column in columns:
        found[column] = var_now(returns[:, [column]], np.ones(1), *settings).var
    return found


def _betas(returns: FloatArray, market: FloatArray, risk: RiskSection) -> FloatArray:
    moves = np.full(len(market), np.nan)
    moves[1:] = market[1:] / market[:-1] - 1.0
    state = slopes.initial_state(returns.shape[1], risk.half_life_sessions)
    return slopes.betas(slopes.step(state, returns, moves), least=risk.warm_up_sessions).shrunk

"""What came of it, with every caveat a sceptical statistician would ask for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.evaluation.corridor import World
from tradewind.evaluation.settings import EvaluationSection
from tradewind.execution.simulator import Simulation
from tradewind.market.bars import SESSIONS_PER_YEAR, TIMEFRAMES
from tradewind.models.assembly import last_known
from tradewind.stats import overfitting, significance
from tradewind.stats.metrics import performance, registry, trades, weights

Array = NDArray[np.float64]
WEEKS_PER_YEAR = 365.25 / 7


@dataclass(frozen=True, eq=False)
class Trials:
    """Every configuration of the lineage that has been looked at, this one included.

    ``returns`` holds one series ``(T,)`` per trial on the same bars where that is so; others are only counted.
    """

    count: int
    sharpes: tuple[float, ...]
    returns: tuple[Array, ...]


def periods_per_year(timeframe: str) -> float:
    """Return the bars of a year: 252 sessions, the last bar of each cut short by the close, or 52 weeks."""
    if timeframe == "1w":
        return WEEKS_PER_YEAR
    return float(SESSIONS_PER_YEAR * math.ceil(TIMEFRAMES["1d"] / TIMEFRAMES[timeframe]))


def book_returns(simulation: Simulation, start: int) -> Array:
    """Return the book's simple returns from the bar after ``start``."""
    equity = simulation.equity[start:]
    return np.asarray(equity[1:] / equity[:-1] - 1.0)


def buy_and_hold(world: World, start: int) -> Array:
    """Return the equal-weight total return of the universe, rebalanced at every close, without costs.

    A symbol counts on the bars that it has while in the universe; the bar after a gap earns the whole move over it.
    """
    panel = world.panel
    adjusted = last_known(np.where(panel.mask, panel.adjusted("close"), np.nan))[start:]
    with np.errstate(invalid="ignore"):
        moves = np.where(panel.mask[start + 1 :], adjusted[1:] / adjusted[:-1] - 1.0, np.nan)
    usable = np.isfinite(moves) & world.panel.member[start:-1]
    count = usable.sum(axis=1)
    return np.asarray(np.where(usable, moves, 0.0).sum(axis=1) / np.maximum(count, 1))


def index_returns(world: World, start: int) -> Array | None:
    """Return the benchmark index's price returns, None where the source has no index."""
    index = world.panel.context.get("index")
    if index is None or not np.isfinite(index[start:]).any():
        return None
    level = last_known(index[:, None])[start:, 0]
    with np.errstate(invalid="ignore"):
        return np.asarray(np.nan_to_num(level[1:] / level[:-1] - 1.0))


def summarise(world: World, simulation: Simulation, start: int, trials: Trials) -> dict[str, Any]:
    """Return the track record: performance with intervals, significance, baselines, costs and trades."""
    settings, per_year = world.plan.evaluation, periods_per_year(world.panel.timeframe)
    returns = book_returns(simulation, start)
    sharpe = performance.sharpe(returns, periods_per_year=per_year)
    low, high = sharpe_interval(returns, per_year, settings)
    hold, index = buy_and_hold(world, start), index_returns(world, start)
    pbo, pbo_reason = backtest_overfitting(trials.returns, len(returns))
    pnl, held = (
        np.concatenate([table[name].to_numpy() for table in (simulation.trades, simulation.open_trades)])
        for name in ("pnl", "bars_held")
    )
    exposure = position_weights(world, simulation)[start:]
    drifted = weights_before(world, simulation)[start:]
    return {
        "bars": len(returns),
        "bars_per_year": per_year,
        "sharpe": sharpe.value,
        "sharpe_ci": [low, high],
        "confidence_level": settings.confidence_level,
        "probabilistic_sharpe": significance.probabilistic_sharpe(returns),
        "deflated_sharpe": deflated(returns, trials, per_year),
        "trials": trials.count,
        "pbo": pbo,
        "pbo_reason": pbo_reason,
        "minimum_detectable_sharpe": significance.minimum_detectable_sharpe(len(returns), periods_per_year=per_year),
        "annual_return": performance.annual_return(returns, periods_per_year=per_year).value,
        "total_return": performance.total_return(returns).value,
        "volatility": performance.volatility(returns, periods_per_year=per_year).value,
        "sortino": performance.sortino(returns, periods_per_year=per_year).value,
        "calmar": performance.calmar(returns, periods_per_year=per_year).value,
        "max_drawdown": performance.max_drawdown(returns).value,
        "max_drawdown_bars": performance.max_drawdown_bars(returns).value,
        "win_rate": trades.win_rate(pnl).value,
        "profit_factor": trades.profit_factor(pnl).value,
        "trades": len(pnl),
        "open_trades": simulation.open_trades.height,
        "average_holding_bars": trades.average_holding(held).value,
        "turnover": weights.turnover(exposure, drifted=drifted, periods_per_year=per_year).value,
        "exposure": weights.exposure(exposure).value,
        **time_in_the_market(simulation.shares[start + 1 :], world.panel.times[start + 1 :]),
        "costs": {**simulation.costs, "total": float(sum(simulation.costs.values()))},
        "final_equity": float(simulation.equity[-1]),
        "baseline_sharpe": performance.sharpe(hold, periods_per_year=per_year).value,
        "baselines": {
            "equal_weight": baseline(hold, per_year),
            "index": None if index is None else baseline(index, per_year),
        },
        "tracking_error": None if index is None else tracking_error(returns, index, per_year),
        "excess_sharpe_ci": list(sharpe_interval(risk_matched_excess(returns, hold), per_year, settings)),
        "ambiguous_bars": int(simulation.ambiguous_bars),
        "capacity": capacity(world, simulation),
    }


def time_in_the_market(shares: Array, times: NDArray[np.datetime64]) -> dict[str, Any]:
    """Return on which share of the bars anything was held, and the longest time in a row that nothing was.

    ``shares (T, N)`` are those held after each close; ``longest_flat_period`` are the first and the last day of the
    longest time (the earliest of several), None where something was always held.
    """
    held = (np.nan_to_num(shares) != 0).any(axis=1)
    edges = np.diff(np.concatenate([[False], ~held, [False]]).astype(np.int8))
    begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    longest = int(np.argmax(ends - begins)) if len(begins) else None
    days = None if longest is None else [str(times[row])[:10] for row in (begins[longest], ends[longest] - 1)]
    return {
        "share_of_bars_invested": float(held.mean()) if len(held) else math.nan,
        "longest_flat_bars": 0 if longest is None else int(ends[longest] - begins[longest]),
        "longest_flat_period": days,
    }


def capacity(world: World, simulation: Simulation) -> float | None:
    """Return the start capital at which one trade in twenty would reach the largest share of a bar's volume.

    Fills scale with capital, so that the 95 % quantile of today's participation says how far it may grow; None where
    nothing was filled on a bar with volume.
    """
    fills = simulation.fills
    if not len(fills):
        return None
    column = {symbol: i for i, symbol in enumerate(world.panel.symbols)}
    columns = np.array([column[s] for s in fills["symbol"].to_list()])
    volume = world.panel.volume[fills["row"].to_numpy(), columns]
    share = np.abs(fills["quantity"].to_numpy()) / np.where(volume > 0, volume, np.nan)
    share = share[np.isfinite(share)]
    if not share.size or not share.any():
        return None
    growth = world.plan.execution.participation_max / float(np.quantile(share, 0.95))
    return float(world.plan.account.start_capital * growth)


def risk_matched_excess(returns: Array, hold: Array) -> Array:
    """Return the book's returns less those of the baseline scaled to the book's volatility.

    A book that is half in cash must not lose to its universe for that alone.
    """
    spread = float(np.std(hold))
    return returns - hold * (float(np.std(returns)) / spread) if spread > 0 else returns


def baseline(returns: Array, per_year: float) -> dict[str, float]:
    """Return the few figures shown for a baseline."""
    return {
        "sharpe": performance.sharpe(returns, periods_per_year=per_year).value,
        "annual_return": performance.annual_return(returns, periods_per_year=per_year).value,
        "max_drawdown": performance.max_drawdown(returns).value,
    }


def tracking_error(returns: Array, index: Array, per_year: float) -> float:
    """Return how much the book's lead over the index varies: the annualised deviation of the difference."""
    return float(performance.volatility(returns - index, periods_per_year=per_year).value)


def sharpe_interval(returns: Array, per_year: float, settings: EvaluationSection) -> tuple[float, float]:
    """Return the stationary-bootstrap interval of the annualised Sharpe ratio; NaN where nothing moved."""
    if len(returns) < 20 or not np.any(returns):
        return math.nan, math.nan
    found = significance.sharpe_interval(
        returns,
        periods_per_year=per_year,
        level=settings.confidence_level,
        samples=settings.bootstrap_samples,
        seed=settings.seed,
    )
    return found.low, found.high


def deflated(returns: Array, trials: Trials, per_year: float) -> float:
    """Return the deflated Sharpe ratio: the probability that the true Sharpe beats the best of so many lucky ones.

    The variance is that of the trials' Sharpe ratios; a trial without one (nothing traded, or one of a search, whose
    book is of other bars) counts as one without skill, and so do all where there are no two ratios to compare.
    """
    per_bar = np.asarray(trials.sharpes) / math.sqrt(per_year)
    without_skill = 1.0 / max(len(returns) - 1, 1)
    known, count = len(per_bar), max(trials.count, 1)
    variance = float(np.var(per_bar, ddof=1)) if known > 1 else without_skill
    variance = (known * variance + (count - known) * without_skill) / count
    return significance.deflated_sharpe(returns, trials=count, trial_variance=variance)


def backtest_overfitting(series: Sequence[Array], bars: int) -> tuple[float | None, str | None]:
    """Return the PBO of the lineage's trials that have as many bars as this one, or None with the reason."""
    same = [s for s in series if len(s) == bars]
    if len(same) < 2:
        return None, f"{len(same)} configuration tried on these bars: overfitting by selection needs at least two"
    found = overfitting.probability_of_overfitting(np.column_stack(same))
    return found.value, found.reason


def position_weights(world: World, simulation: Simulation) -> Array:
    """Return positions as fractions of equity at every close, ``(T, N)``."""
    close = last_known(world.panel.close)
    return np.asarray(np.nan_to_num(simulation.shares * close) / simulation.equity[:, None])


def weights_before(world: World, simulation: Simulation) -> Array:
    """Return what the positions of the bar before weigh at each close, had nothing been traded since, ``(T, N)``."""
    held = np.zeros(simulation.shares.shape)
    held[1:] = simulation.shares[:-1] * world.panel.split[1:]
    return np.asarray(np.nan_to_num(held * last_known(world.panel.close)) / simulation.equity[:, None])


def formulas() -> dict[str, str]:
    """Return the formula of every metric, for the report."""
    return {name: registry.definition(name).formula for name in registry.names()}

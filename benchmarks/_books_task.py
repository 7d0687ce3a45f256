"""Books on the open daily panel: what an optimised and a neutral book were to be, and what they were.

The 80 names most traded in 2005, of tickers that were members in 2021 (survivors). The forecast is a textbook's and
fitted to nothing: twelve-month momentum without the last month, as normal scores across names, is worth an information
coefficient of 0.02 (Grinold & Kahn 2000, ch. 11); a return's deviation is that of the last sessions, half-life 60.
Books go the whole way of a back-test: act, desk, fills, costs, borrowing. The market is all tickers alike. Nothing was
tuned, and no book was left out.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from benchmarks._open_task import no_features, open_panel
from tradewind.evaluation import corridor
from tradewind.evaluation.account import Wanted, trade
from tradewind.evaluation.book_result import realised_beta
from tradewind.evaluation.corridor import World
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.track_record import book_returns
from tradewind.execution import kernel as k
from tradewind.labels.forward import forward_returns
from tradewind.market.panel import Panel
from tradewind.models.assembly import bar_returns, log_prices
from tradewind.models.forecast import LEVELS, Forecast
from tradewind.playbook import load
from tradewind.stats.volatility import decay_of

NAMES, HORIZON, TARGET = 80, 5, 0.10
SKILL, MOMENTUM, SKIPPED, HALF_LIFE, WARM_UP = 0.02, 252, 21, 60.0, 60
START = 300
SESSIONS = 252

USUAL: dict[str, Any] = {
    "decision.horizon_bars": HORIZON,
    "decision.every_bars": 1,
    "decision.confidence_min": 0.0,
    "decision.confidence_exit": 0.0,
    "decision.recalibration": "none",
    "decision.stop_sigma": 10.0,
    "labels.horizons_bars": [HORIZON],
    "limits.position_max": 0.10,
    "execution.rebalance_band": 0.0,
}
LONG = {"optimiser.use": True, "optimiser.among": "universe", "optimiser.volatility_max": TARGET}
SHORT = {
    "execution.short_allowed": True,
    "execution.margin_leverage_max": 1.6,
    "limits.gross_max": 1.6,
    "limits.position_max": 0.05,
    "decision.every_bars": 5,
    "borrow.default_bps": 20.0,
}
BOOKS: dict[str, dict[str, Any]] = {
    **{name: {**LONG, "optimiser.objective": name} for name in ("max_sharpe", "min_variance", "risk_parity")},
    **{name: {**SHORT, "long_short.book": name} for name in ("market_neutral", "one_thirty_thirty")},
}


def the_books() -> dict[str, Any]:
    panel = liquid(open_panel())
    forecast = by_momentum(panel)
    return {name: lived(panel, forecast, {**USUAL, **settings}) for name, settings in BOOKS.items()}


def liquid(whole: Panel) -> Panel:
    """Return the names most traded in the first year, with the mean of all tickers as their market."""
    first = whole.times < whole.times[0] + np.timedelta64(365, "D")
    traded = np.where(whole.mask[first].all(axis=0), np.nansum((whole.close * whole.volume)[first], axis=0), 0.0)
    columns = np.sort(np.argsort(-traded, kind="stable")[:NAMES])
    returns = bar_returns(log_prices(whole))
    market = np.log1p(np.nanmean(np.expm1(returns[1:]), axis=1))
    names = tuple(whole.symbols[i] for i in columns)
    return replace(
        whole,
        symbols=names,
        instruments=names,
        sectors=("unknown",) * NAMES,
        fields={name: np.ascontiguousarray(values[:, columns]) for name, values in whole.fields.items()},
        mask=np.ascontiguousarray(whole.mask[:, columns]),
        member=np.ascontiguousarray(whole.member[:, columns]),
        context={"index": np.exp(np.concatenate([[0.0], np.cumsum(market)]))},
    )


def by_momentum(panel: Panel) -> Forecast:
    prices = log_prices(panel)
    sigma = deviation(bar_returns(prices)) * np.sqrt(HORIZON)
    past = np.full(prices.shape, np.nan)
    past[MOMENTUM:] = prices[MOMENTUM - SKIPPED : -SKIPPED] - prices[:-MOMENTUM]
    median = SKILL * sigma * normal_scores(past)
    quantiles = median[:, :, None, None] + sigma[:, :, None, None] * ndtri(np.asarray(LEVELS))
    said = Forecast(panel.times, panel.symbols, (HORIZON,), LEVELS, quantiles, median[:, :, None], model="momentum")
    return said.rounded()


def deviation(returns: np.ndarray) -> np.ndarray:
    decay, total, weight = decay_of(HALF_LIFE), np.zeros(returns.shape[1]), np.zeros(returns.shape[1])
    found, count = np.full(returns.shape, np.nan), np.zeros(returns.shape[1])
    for row, moves in enumerate(returns):
        there = np.isfinite(moves)
        total = decay * total + np.where(there, moves, 0.0) ** 2
        weight, count = decay * weight + there, count + there
        found[row] = np.where(there & (count >= WARM_UP), np.sqrt(total / np.maximum(weight, 1e-12)), np.nan)
    return found


def normal_scores(values: np.ndarray) -> np.ndarray:
    ranks = rankdata(values, axis=1, nan_policy="omit")
    count = np.isfinite(values).sum(axis=1, keepdims=True)
    return ndtri((ranks - 0.5) / np.maximum(count, 1))


def lived(panel: Panel, forecast: Forecast, settings: dict[str, Any]) -> dict[str, Any]:
    plan = Plan.of(load("sample", overrides=settings))
    world = World(plan, panel, no_features(panel), forward_returns(panel, (HORIZON,)))
    before = time.process_time()
    _, signals, targets = corridor.act(world, forecast)
    chosen = time.process_time() - before
    trading = trade(plan, [Wanted("", world, signals, targets, START)])
    simulation, years = trading.simulation, (len(panel) - START) / SESSIONS
    returns = book_returns(simulation, START)
    beta = realised_beta(world, simulation, START)
    fills = simulation.records.fills
    traded = np.abs(fills[:, k.F_QUANTITY] * fills[:, k.F_PRICE])
    level = simulation.equity[fills[:, k.L_ROW].astype(np.int64) - 1]
    in_years = panel.times[START + 1 :].astype("datetime64[Y]").astype(int) + 1970
    yearly = {str(year): volatility(returns[in_years == year]) for year in np.unique(in_years)}
    wanted = np.nan_to_num(targets.weight)
    held = wanted.any(axis=1)
    return {
        "target_volatility": plan.optimiser.volatility_max,
        "realised_volatility": volatility(returns),
        "realised_volatility_by_year": yearly,
        "turnover_a_year": float((traded / level).sum() / years),
        "gross": float(simulation.gross_exposure[START:].mean()),
        "net": float(simulation.net_exposure[START:].mean()),
        "net_largest": float(np.abs(simulation.net_exposure[START:]).max()),
        "net_of_targets": float(wanted[held].sum(axis=1).mean()),
        "beta": beta["realised"],
        "beta_error": beta["error"],
        "annual_return": float(np.prod(1 + returns) ** (1 / years) - 1),
        "sharpe": float(returns.mean() / returns.std() * np.sqrt(SESSIONS)),
        "books_chosen": int(np.isfinite(targets.weight).any(axis=1).sum()),
        "cpu_seconds_choosing": chosen,
        "bound_at_the_desk": trading.times_bound(),
        "notes": list(signals.notes),
    }


def volatility(returns: np.ndarray) -> float:
    return float(returns.std() * np.sqrt(SESSIONS))

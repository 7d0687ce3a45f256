"""The trade simulator against vectorbt and bt: speed on one task, and agreement where the rules are shared.

Speed: 500 symbols, 2,520 days, entries and exits by signal, a stop and a take-profit on every position, commission
and slippage, gaps; an entry while in position is ignored by both; from arrays of decisions to the equity curve and
the records of all round trips. bt has no stops and trades the entries and exits alone, on 60 of the days, up to its
equity curve, which favours it; it is set against our run of the same. Everyone is warm (compiled). CPU seconds of one
process, the best of several runs, so that other work on the machine favours nobody; nobody is multi-threaded.
Building the arrays is not timed for anyone.

Agreement: (1) entries with stop and take-profit against vectorbt, sized by us, on bars where its rules and ours
can be compared (it does not look at stops in the bar of entry); (2) target weights sized at the previous close and
filled at the open with commission, against vectorbt; (3) weekly target weights against bt, on prices without
overnight gaps (bt trades at the close it decides on) and without commission (bt takes it out of the amount that it
allocates, so its positions are smaller by the fee). Differences are in currency on a capital of one million and
come from rounding to the cent alone.

Limits: the same task once more through the desk, which asks the gate before every order and after every bar, with
limits on positions, sectors, gross and net that bind; and on 252 of the days with value at risk, beta and correlated
names as well, where the covariance of 500 names, measured anew each day, is nearly all of it. The peers have no
limits: they are timed without. A desk whose limits are out of reach must leave the ledger of the simulator.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import run_peer
from tradewind.decisions.coordinator import Coordinator
from tradewind.decisions.settings import CoordinatorSection
from tradewind.execution import AccountSection, ExecutionSection, TradePlan, simulate
from tradewind.execution.desk import Desk
from tradewind.execution.desk_bars import Bars
from tradewind.execution.trading import Trading, trade
from tradewind.market.panel import Panel
from tradewind.portfolio.limits import Gate
from tradewind.portfolio.settings import LimitsSection
from tradewind.risk.monitor import Monitor
from tradewind.risk.settings import RiskSection

AIMS = {"vectorbt": 8.0, "bt": 100.0}
CAPITAL = 1_000_000.0
STOP, TAKE = 0.05, 0.10
LARGEST_DIFFERENCE = 5.0
SECTORS = 11
OUT_OF_REACH = LimitsSection(position_max=1.0, gross_max=1.0)
LIMITS = LimitsSection(position_max=0.0015, sector_max=0.022, gross_max=0.2, net_max=0.19)
RISK_LIMITS = LIMITS.model_copy(
    update={"var_max": 0.0004, "beta_max": 0.18, "correlation_max": 0.25, "correlated_max": 0.004, "liquidity_max": 0.5}
)
RISK_DAYS = 252


def market(bars: int, symbols: int, seed: int, gap: float = 0.006) -> dict[str, Any]:
    r = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(r.normal(0, 0.015, (bars, symbols)), axis=0))
    open_ = np.vstack([close[:1], close[:-1]]) * np.exp(gap * r.normal(size=(bars, symbols)))
    high = np.maximum(open_, close) * np.exp(np.abs(r.normal(0, 0.006, (bars, symbols))))
    low = np.minimum(open_, close) * np.exp(-np.abs(r.normal(0, 0.006, (bars, symbols))))
    return {"open": open_, "high": high, "low": low, "close": close}


def as_panel(data: dict[str, Any]) -> Panel:
    shape = data["close"].shape
    names = tuple(f"S{i:03d}" for i in range(shape[1]))
    fields = {n: data[n] for n in ("open", "high", "low", "close")}
    fields |= {"volume": np.full(shape, 1e9), "split": np.ones(shape), "dividend": np.zeros(shape)}
    days = np.datetime64("2005-01-03T21:00", "us") + np.arange(shape[0]) * np.timedelta64(1, "D")
    everywhere = np.ones(shape, dtype=bool)
    return Panel(days, names, names, fields, everywhere, everywhere)


def costs(fees: float, slippage: float = 0.0, band: float = 0.0) -> ExecutionSection:
    bps = {"commission_bps": fees * 1e4, "slippage_bps": slippage * 1e4}
    return ExecutionSection.free(**bps, rebalance_band=band)


def next_bar(values: np.ndarray, empty: float) -> np.ndarray:
    """Move decisions to the bar that fills them, where the peers want them."""
    moved = np.full(values.shape, empty)
    moved[1:] = values[:-1]
    return moved


def speed_task() -> tuple[dict[str, Any], Panel, TradePlan]:
    data = market(2520, 500, seed=1)
    r = np.random.default_rng(2)
    chance = r.random(data["close"].shape)
    weight = np.full(chance.shape, np.nan)
    weight[chance < 0.02] = 0.8 / 500
    weight[chance > 0.98] = 0.0
    few = np.full(chance.shape, np.nan)
    days = np.arange(0, 2520, 42)
    few[days] = np.where(r.random((len(days), 500)) < 0.5, 0.8 / 500, 0.0)
    data |= {
        "entries": next_bar(weight > 0, 0).astype(bool),
        "exits": next_bar(weight == 0, 0).astype(bool),
        "size": 0.8 / 500 * CAPITAL / np.vstack([data["close"][:1], data["close"][:-1]]),
        "weights": few,
        "fees": 1e-4,
        "slippage": 2e-4,
        "capital": CAPITAL,
        "stop": STOP,
        "take": TAKE,
    }
    constant = np.ones(weight.shape)
    return data, as_panel(data), TradePlan(weight, stop=STOP * constant, take_profit=TAKE * constant)


def best_of(runs: int, panel: Panel, plan: TradePlan, execution: ExecutionSection) -> tuple[float, Any]:
    account = AccountSection(start_capital=CAPITAL)
    result = simulate(panel, plan, execution, account)
    seconds = []
    for _ in range(runs):
        start = time.process_time()
        result = simulate(panel, plan, execution, account)
        assert len(result.records.trades)
        seconds.append(time.process_time() - start)
    return min(seconds), result


def with_limits(
    panel: Panel, plan: TradePlan, execution: ExecutionSection, limits: LimitsSection, runs: int, start: int = 0
) -> tuple[float, Trading]:
    """Return CPU seconds of the best run, and what the desk did."""
    count = panel.shape[1]
    alone, everyone = np.zeros(count, np.int64), np.arange(count)
    gate = Gate(limits, RiskSection(), everyone, everyone % SECTORS)
    together = Coordinator(CoordinatorSection(), ("only",), np.ones(1), alone, everyone)
    monitor = Monitor(RiskSection(), limits.liquidity_sessions, count, measures=gate.needs_risk)
    account, borrowable = AccountSection(start_capital=CAPITAL), np.ones(count, np.bool_)
    desk = Desk(panel.symbols, panel.symbols, gate, together, monitor, execution, account, borrowable)
    bars, seconds = Bars.of(panel, everyone), []
    result = trade(desk, panel, bars, plan, start)
    for _ in range(runs):
        begun = time.process_time()
        result = trade(desk, panel, bars, plan, start)
        seconds.append(time.process_time() - begun)
    return min(seconds, default=np.inf), result


def first(days: int, panel: Panel, plan: TradePlan) -> tuple[Panel, TradePlan]:
    fields = {name: getattr(plan, name)[:days] for name in ("weight", "stop", "take_profit")}
    return panel.head(days), TradePlan(**fields)


def stops_task() -> tuple[dict[str, Any], np.ndarray]:
    """Entries every 40 bars, left by stop or take-profit, or by signal 37 bars later; auction bars are flat."""
    data = market(400, 20, seed=3)
    weight = np.full((400, 20), np.nan)
    weight[0:360:40] = 0.04
    weight[37:397:40] = 0.0
    for row in np.flatnonzero(~np.isnan(weight[:, 0])) + 1:
        for name in ("open", "high", "low", "close"):
            data[name][row] = data["close"][row - 1]
        data["open"][row + 1] = data["close"][row]
        data["high"][row + 1] = np.maximum(data["high"][row + 1], data["close"][row])
        data["low"][row + 1] = np.minimum(data["low"][row + 1], data["close"][row])
    constant = np.ones(weight.shape)
    plan = TradePlan(weight, stop=STOP * constant, take_profit=TAKE * constant)
    result = simulate(as_panel(data), plan, costs(1e-3), AccountSection(start_capital=CAPITAL))
    size = np.full(weight.shape, np.nan)
    entered = result.fills.filter(result.fills["quantity"] > 0)
    size[entered["row"], [int(s[1:]) for s in entered["symbol"]]] = entered["quantity"]
    data |= {"entries": next_bar(weight > 0, 0).astype(bool), "exits": next_bar(weight == 0, 0).astype(bool)}
    data |= {"size": size, "fees": 1e-3, "capital": CAPITAL, "stop": STOP, "take": TAKE}
    return data, result.equity


def targets_task(data: dict[str, Any]) -> np.ndarray:
    """Long-only weights of 0.9 in all, changed every fifth bar."""
    r = np.random.default_rng(4)
    weight = np.full(data["close"].shape, np.nan)
    draws = r.dirichlet(np.ones(weight.shape[1]), len(weight[::5]))
    weight[::5] = 0.9 * draws
    data["targets"] = next_bar(weight, np.nan)
    return simulate(as_panel(data), TradePlan(weight), costs(1e-3), AccountSection(start_capital=CAPITAL)).equity


def bt_task() -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Weekly weights on prices that open where they closed; equity is compared where no trade is under way."""
    data = market(400, 20, seed=5, gap=0.0)
    r = np.random.default_rng(6)
    weight = np.full((400, 20), np.nan)
    weight[::5] = 0.9 * r.dirichlet(np.ones(20), 80)
    data |= {"weights": weight, "fees": 0.0, "capital": CAPITAL}
    result = simulate(as_panel(data), TradePlan(weight), costs(0.0), AccountSection(start_capital=CAPITAL))
    settled = np.arange(400) % 5 != 0
    return data, result.equity, settled


def run() -> dict[str, Any]:
    data, panel, plan = speed_task()
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: str(Path(folder) / f"{name}.npz") for name in ("speed", "vectorbt", "bt")}
        shared, with_stops = stops_task()
        with_targets = targets_task(shared)
        weekly, with_bt, settled = bt_task()
        for name, arrays in (("speed", data), ("vectorbt", shared), ("bt", weekly)):
            np.savez(paths[name], **arrays)
        seconds, result = best_of(5, panel, plan, costs(1e-4, 2e-4, band=0.01))
        few_seconds, _ = best_of(5, panel, TradePlan(data["weights"]), costs(1e-4))
        vectorbt = run_peer("simulator_vectorbt", "simulator_vectorbt.py", paths["speed"], paths["vectorbt"])
        seconds = min(seconds, best_of(5, panel, plan, costs(1e-4, 2e-4, band=0.01))[0])
        bt = run_peer("simulator_bt", "simulator_bt.py", paths["speed"], paths["bt"])
        few_seconds = min(few_seconds, best_of(5, panel, TradePlan(data["weights"]), costs(1e-4))[0])
    rules = costs(1e-4, 2e-4, band=0.01)
    limited_seconds, limited = with_limits(panel, plan, rules, LIMITS, 3)
    few_limited_seconds, _ = with_limits(panel, TradePlan(data["weights"]), costs(1e-4), LIMITS, 2)
    risk_seconds, risky = with_limits(*first(RISK_DAYS, panel, plan), rules, RISK_LIMITS, 1)
    free = with_limits(*first(RISK_DAYS, panel, plan), rules, OUT_OF_REACH, 0)[1].simulation.ledger_hash
    same = free == simulate(*first(RISK_DAYS, panel, plan), rules, AccountSection(start_capital=CAPITAL)).ledger_hash
    ratios = {
        "vectorbt": vectorbt["seconds"] / seconds,
        "bt": bt["seconds"] / few_seconds,
        "vectorbt_ours_with_limits": vectorbt["seconds"] / limited_seconds,
        "bt_ours_with_limits": bt["seconds"] / few_limited_seconds,
    }
    bars = panel.close.size
    differences = {
        "vectorbt_stops": _largest(with_stops, vectorbt["stops"]),
        "vectorbt_targets": _largest(with_targets, vectorbt["targets"]),
        "bt_targets": _largest(with_bt[settled], np.asarray(bt["equity"])[settled]),
    }
    figures = {
        "symbol_bars": bars,
        "symbol_bars_per_second": {
            "tradewind": bars / seconds,
            "tradewind_without_stops": bars / few_seconds,
            "tradewind_with_limits": bars / limited_seconds,
            "vectorbt": bars / vectorbt["seconds"],
            "vectorbt_without_equity": bars / vectorbt["seconds_without_equity"],
            "bt": bars / bt["seconds"],
        },
        "with_limits": {
            "microseconds_a_bar": limited_seconds / len(panel) * 1e6,
            "microseconds_a_bar_with_covariances": risk_seconds / RISK_DAYS * 1e6,
            "times_bound": limited.times_bound(),
            "times_bound_with_covariances": risky.times_bound(),
            "ledger_same_when_out_of_reach": same,
        },
        "fills": {"tradewind": result.fills.height, "vectorbt": vectorbt["orders"]},
        "equity_difference_max": differences,
        "versions": {"vectorbt": vectorbt["version"], "bt": bt["version"]},
    }
    met = all(ratios[peer] >= aim for peer, aim in AIMS.items()) and max(differences.values()) <= LARGEST_DIFFERENCE
    met &= same
    aims = {**AIMS, "equity_difference_max": LARGEST_DIFFERENCE}
    return {"name": "simulator", "ratios": ratios, "figures": figures, "aims": aims, "met": met}


def _largest(ours: np.ndarray, theirs: Any) -> float:
    return float(np.max(np.abs(ours - np.asarray(theirs, dtype=np.float64))))

"""Where the profit came from, to the cent: by timeframe, model, symbol, sector, and by market, selection and cost.

Every split adds up to the change of equity. What belongs to no position (interest, borrowing) stands by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.evaluation.account import Clock
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.sleeves import Walked
from tradewind.execution import kernel as k
from tradewind.execution.desk import Trading
from tradewind.execution.records import COST_KINDS

FloatArray = NDArray[np.float64]

FINANCING = "financing"
"""Interest and borrowing, which are the account's."""


def attribution(plan: Plan, walked: Walked, trading: Trading, clock: Clock) -> dict[str, Any]:
    """Return the splits, in currency; each one's parts add up to ``total`` exactly, in cents."""
    cents = column_profit(trading)
    financing = _financing(trading)
    total = cents.sum() + financing
    names = [one.name or "all" for one in clock.wanted]
    models = {one.name: one.plan.models.use for one in walked.sleeves}
    sectors, symbols = clock.panel.sectors, clock.panel.symbols

    def split(label: Callable[[int], str]) -> dict[str, float]:
        parts: dict[str, float] = {}
        for column, amount in enumerate(cents):
            parts[label(column)] = parts.get(label(column), 0.0) + amount
        return {name: float(amount / 100) for name, amount in {**parts, FINANCING: financing}.items()}

    return {
        "total": float(total / 100),
        "by_timeframe": split(lambda m: names[clock.sleeve_of[m]]),
        "by_model": split(lambda m: models[clock.wanted[clock.sleeve_of[m]].name]),
        "by_sector": split(lambda m: sectors[clock.symbol_of[m]]),
        "by_symbol": split(lambda m: symbols[clock.symbol_of[m]]),
        "by_cost": _by_cost(trading, total),
    }


def column_profit(trading: Trading) -> FloatArray:
    """Return each column's profit since the account opened, in cents ``(M,)``: value now, and every cash flow before."""
    from tradewind.execution.desk import column_values

    log = trading.simulation.records.log
    flows = np.zeros(len(trading.desk.columns))
    fills = log[log[:, k.L_TYPE] == k.FILL]
    np.add.at(
        flows,
        fills[:, k.L_COLUMN].astype(np.int64),
        fills[:, k.F_CASH] - fills[:, list(COST_KINDS.values())].sum(axis=1),
    )
    events = log[(log[:, k.L_TYPE] == k.EVENT) & (log[:, k.L_COLUMN] >= 0)]
    np.add.at(flows, events[:, k.L_COLUMN].astype(np.int64), events[:, k.E_CASH])
    return column_values(trading.simulation.book) + flows


def _financing(trading: Trading) -> float:
    events = trading.simulation.records.events
    return float(events[events[:, k.L_COLUMN] < 0, k.E_CASH].sum())


def _by_cost(trading: Trading, total: float) -> dict[str, float]:
    """Return the profit before costs and what each kind of cost took from it."""
    simulation = trading.simulation
    paid = {name: -round(amount * 100) for name, amount in simulation.costs.items()}
    dividends = round(simulation.dividends * 100)
    moves = total - sum(paid.values()) - dividends
    return {
        name: float(amount / 100) for name, amount in {"price_moves": moves, "dividends": dividends, **paid}.items()
    }

"""Random markets, plans and settings with everything in them: gaps, halts, splits, dividends, brackets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from execution_market import NAN, panel_from
from hypothesis import strategies as st

from tradewind.execution import AccountSection, ExecutionSection, OrderTable, Ticket, TradePlan
from tradewind.market.panel import Panel

ACCOUNT = AccountSection(start_capital=50_000.0)


def random_panel(r: np.random.Generator, bars: int = 40, symbols: int = 5, events: bool = True) -> Panel:
    shape = (bars, symbols)
    close = np.exp(np.cumsum(r.normal(0, 0.02, shape), axis=0)) * r.uniform(5, 200, symbols)
    split, dividend, mask = np.ones(shape), np.zeros(shape), np.ones(shape, dtype=bool)
    if events:
        split = np.where(r.random(shape) < 0.02, r.choice([2.0, 3.0, 0.5, 0.1], shape), 1.0)
        dividend = np.where(r.random(shape) < 0.03, np.round(r.uniform(0.05, 1.0, shape), 2), 0.0)
        mask = r.random(shape) > 0.05
        mask[bars // 2 :, 0] &= r.random() < 0.5
    close = close / np.cumprod(split, axis=0)
    before = np.vstack([close[:1], close[:-1]]) / split
    open_ = before * np.exp(r.normal(0, 0.01, shape))
    high = np.maximum(open_, close) * np.exp(np.abs(r.normal(0, 0.008, shape)))
    low = np.minimum(open_, close) * np.exp(-np.abs(r.normal(0, 0.008, shape)))
    fields = {"open": open_, "high": high, "low": low, "close": close}
    fields = {name: np.where(mask, values, NAN) for name, values in fields.items()}
    fields["volume"] = np.where(mask, np.floor(r.lognormal(6, 1.5, shape)), NAN)
    return panel_from({**fields, "split": split, "dividend": dividend}, mask)


def random_plan(r: np.random.Generator, shape: tuple[int, int], shorts: bool = True) -> TradePlan:
    def some(low: float, high: float, chance: float) -> np.ndarray:
        return np.where(r.random(shape) < chance, r.uniform(low, high, shape), NAN)

    weight = some(-0.5 if shorts else 0.0, 0.6, 0.25)
    weight[r.random(shape) < 0.06] = 0.0
    return TradePlan(
        weight,
        stop=some(0.005, 0.06, 0.6),
        take_profit=some(0.005, 0.08, 0.6),
        trail=some(0.01, 0.06, 0.4),
        max_bars=r.choice([1, 2, 3, 4, 5, np.inf, NAN], shape, p=[0.06] * 5 + [0.1, 0.6]),
        priority=np.where(
            r.random(shape) < 0.8, r.permuted(np.tile(np.arange(shape[1], dtype=float), (shape[0], 1)), axis=1), NAN
        ),
    )


def random_orders(r: np.random.Generator, panel: Panel, count: int = 25) -> OrderTable:
    tickets: list[Ticket] = []
    for number in range(count):
        row, column = int(r.integers(0, len(panel) - 1)), int(r.integers(0, panel.shape[1]))
        near = panel.close[row, column]
        if np.isnan(near):
            continue
        quantity = float(r.integers(1, 60)) * (1 if r.random() < 0.7 else -1)
        kind = str(r.choice(["market_open", "market_close", "limit", "stop", "stop_limit"]))
        levels: dict[str, Any] = {
            "limit": near * float(r.uniform(0.96, 1.04)),
            "stop": near * float(r.uniform(0.96, 1.04)),
            "good_for_bars": float(r.choice([1, 3, NAN])),
        }
        symbol, group = panel.symbols[column], number if r.random() < 0.7 else -1
        tickets.append(Ticket(10 * number, row, symbol, quantity, kind, **levels))
        child = {"row": row, "symbol": symbol, "quantity": NAN, "parent": 10 * number, "group": group}
        tickets.append(Ticket(id=10 * number + 1, kind="stop", stop=0.03, relative=True, **child))
        tickets.append(Ticket(id=10 * number + 2, kind="take_profit", limit=0.04, relative=True, **child))
        tickets.append(Ticket(id=10 * number + 3, kind="trailing_atr", trail=2.0, **child))
        tickets.append(Ticket(id=10 * number + 4, kind="time_exit", good_for_bars=5.0, **child))
    return OrderTable.of(tickets)


@st.composite
def settings(draw: st.DrawFn, shorts: bool = True) -> ExecutionSection:
    return ExecutionSection(
        entry=draw(st.sampled_from(["next_open", "next_close"])),
        commission_bps=draw(st.sampled_from([0.0, 1.0, 20.0])),
        commission_per_share=draw(st.sampled_from([0.0, 0.01])),
        commission_minimum=draw(st.sampled_from([0.0, 1.0])),
        spread_bps=draw(st.sampled_from([0.0, 10.0])),
        slippage_bps=draw(st.sampled_from([0.0, 5.0])),
        participation_max=draw(st.sampled_from([0.05, 0.5, 1.0])),
        participation_remainder=draw(st.sampled_from(["cancel", "carry"])),
        short_allowed=shorts and draw(st.booleans()),
        cash_interest_rate=draw(st.sampled_from([0.0, 0.04])),
        margin_leverage_max=draw(st.sampled_from([1.0, 1.6, 3.0])) if shorts else 1.0,
        fractional_shares=draw(st.booleans()),
        rebalance_band=draw(st.sampled_from([0.0, 0.02])),
        delisted_after_bars=draw(st.sampled_from([2, 5])),
        delisting_haircut=draw(st.sampled_from([0.0, 0.3])),
    )


def permuted(panel: Panel, plan: TradePlan, order: np.ndarray) -> tuple[Panel, TradePlan]:
    columns = {
        name: getattr(plan, name)[:, order]
        for name in ("weight", "stop", "take_profit", "trail", "max_bars", "priority")
    }
    return panel._columns(list(order)), replace(plan, **columns)

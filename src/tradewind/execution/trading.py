"""An account's life over a block of bars, and what is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError
from tradewind.execution import kernel as k
from tradewind.execution.desk import REASONS, WISHES, Desk
from tradewind.execution.desk_bars import Bars
from tradewind.execution.desk_state import DeskState
from tradewind.execution.plan import TradePlan
from tradewind.execution.records import Records
from tradewind.execution.simulator import Simulation
from tradewind.market.panel import Panel
from tradewind.portfolio.limits import Alert

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
TimeArray = NDArray[np.datetime64]


@dataclass(frozen=True, eq=False)
class Trading:
    """What an account did over a block of bars.

    Attributes
    ----------
    simulation
        The book's columns over the whole block, the bars before the account was opened included.
    start
        The row at whose close the account could first decide.
    sent, wished, bound
        Rows ``(D,)`` of decisions and what was sent, wished (fractions of equity) and bound ``(D, M)``.
    session_rows, profit, share
        Sessions since ``start``: their last row ``(S,)``, each column's profit in cents ``(S, M)``, and the timeframes'
        shares of capital after it ``(S, K)``.
    """

    desk: Desk
    simulation: Simulation
    start: int
    decided_rows: IntArray
    sent: FloatArray
    wished: FloatArray
    bound: IntArray
    session_rows: IntArray
    profit: FloatArray
    share: FloatArray
    alerts: tuple[Alert, ...]
    state: DeskState

    def times_bound(self) -> dict[str, int]:
        """Return how often each reason bound a wish that would have opened something."""
        codes = self.bound[self.bound > 0]
        return {name: int(np.sum(codes == i)) for i, name in enumerate(REASONS) if np.any(codes == i)}


def wish_at(plan: TradePlan, row: int) -> dict[str, FloatArray] | None:
    """Return what a plan says at a row; None where it has no word."""
    if row < 0 or not np.isfinite(plan.weight[row]).any():
        return None
    fields = {name: getattr(plan, name) for name in WISHES}
    nothing = np.full(plan.weight.shape[1], np.nan)
    return {name: nothing if values is None else values[row] for name, values in fields.items()}


def trade(desk: Desk, panel: Panel, bars: Bars, plan: TradePlan, start: int) -> Trading:
    """Let an account live through a panel: rows before ``start`` only warm up what is known of the market.

    Row ``t`` of the plan is decided at the close of bar ``t`` and filled in bar ``t + 1 + plan.delay_bars`` or later.
    """
    if plan.weight.shape != (len(bars.times), len(desk.columns)):
        raise InputError(f"the plan has shape {plan.weight.shape}, the desk {(len(bars.times), len(desk.columns))}")
    state = desk.warm_up(desk.open(), bars, start)
    return carry_on(desk, panel, bars, plan, start, state)


def carry_on(
    desk: Desk, panel: Panel, bars: Bars, plan: TradePlan, start: int, state: DeskState, opened: int | None = None
) -> Trading:
    """Go on from a state that stands at the close before row ``start``; the account opened at ``opened`` (``start``).

    What it did before is not told again: its rows hold what it owned and was worth then.
    """
    count, width = len(bars.times), len(desk.columns)
    first = start if opened is None else opened
    totals, shares = np.zeros((4, count)), np.zeros((count, width))
    totals[:, :start] = state.book.scalars[[k.EQUITY, k.CASH, k.LONG, k.SHORT]][:, None]
    shares[:start] = state.book.shares
    logs: list[FloatArray] = []
    decided: list[tuple[int, FloatArray | None, FloatArray | None, IntArray | None]] = []
    sessions: list[tuple[int, FloatArray, FloatArray]] = []
    alerts: list[Alert] = []
    has_word: BoolArray = np.asarray(np.isfinite(plan.weight).any(axis=1))
    for row in range(start, count):
        at = row - plan.delay_bars
        wish = wish_at(plan, at) if at >= first and has_word[at] else None
        made = desk.step(state, bars, row, wish)
        if len(made.log):
            logs.append(made.log)
        totals[:, row], shares[row] = made.totals, state.book.shares
        if made.sent is not None or made.wished is not None:
            decided.append((row, made.sent, made.wished, made.bound))
        if made.profit is not None:
            sessions.append((row, made.profit, state.coordinator.share))
        alerts += made.alerts
    return _gathered(desk, panel, start, state, totals / 100, shares, logs, decided, sessions, alerts)


def _gathered(
    desk: Desk,
    panel: Panel,
    start: int,
    state: DeskState,
    totals: FloatArray,
    shares: FloatArray,
    logs: list[FloatArray],
    decided: Sequence[tuple[int, FloatArray | None, FloatArray | None, IntArray | None]],
    sessions: Sequence[tuple[int, FloatArray, FloatArray]],
    alerts: list[Alert],
) -> Trading:
    width = len(desk.columns)
    nothing, none = np.full(width, np.nan), np.zeros(width, np.int64)
    simulation = Simulation(
        times=panel.times,
        symbols=desk.columns,
        equity=totals[0],
        cash=totals[1],
        shares=shares,
        long_value=totals[2],
        short_value=totals[3],
        records=Records(np.concatenate(logs) if logs else np.empty((0, k.LOG_FIELDS))),
        book=state.book,
        start_capital=float(desk.account.start_capital),
        order_rows=state.book.orders,
    )
    return Trading(
        desk=desk,
        simulation=simulation,
        start=start,
        decided_rows=np.array([row for row, *_ in decided], dtype=np.int64),
        sent=_stack([nothing if sent is None else sent for _, sent, _, _ in decided], width),
        wished=_stack([nothing if wished is None else wished for _, _, wished, _ in decided], width),
        bound=_stack([none if bound is None else bound for *_, bound in decided], width).astype(np.int64),
        session_rows=np.array([row for row, *_ in sessions], dtype=np.int64),
        profit=_stack([profit for _, profit, _ in sessions], width),
        share=_stack([share for *_, share in sessions], len(desk.coordinator.names)),
        alerts=tuple(alerts),
        state=state,
    )


def _stack(rows: Sequence[NDArray[np.generic]], width: int) -> FloatArray:
    return np.stack(rows).astype(np.float64) if rows else np.empty((0, width))

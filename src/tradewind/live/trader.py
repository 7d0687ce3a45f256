"""The paper account of a running corridor: the desk's step at every close, told as the page shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from tradewind.clock import Clock as TellsTime
from tradewind.evaluation.account import Clock, desk_bars, desk_of
from tradewind.evaluation.recommend import Decision
from tradewind.evaluation.workspace import Workspace
from tradewind.execution import kernel as k
from tradewind.execution.brokers.base import Execution
from tradewind.execution.controls import Controls
from tradewind.execution.desk import REASONS, Step
from tradewind.execution.journal import Journal
from tradewind.execution.manual import ManualOrder
from tradewind.execution.order_state import OrderState
from tradewind.execution.paper import PaperAccount
from tradewind.execution.records import Records as Booked
from tradewind.execution.records import ledger_digest
from tradewind.live.sleeves import LiveSleeve
from tradewind.portfolio.limits import times_bound


@dataclass(frozen=True, eq=False)
class Traded:
    """What a bar brought to the account.

    Attributes
    ----------
    orders
        Those whose state has changed.
    fills, alerts
        In their order.
    sleeves
        By order that was filled: the timeframe that it is of.
    """

    orders: Sequence[OrderState]
    fills: Sequence[Execution]
    alerts: Sequence[Mapping[str, Any]]
    sleeves: Mapping[str, str]


@dataclass(eq=False)
class Trader:
    """One paper account that lives through the bars as they close.

    Parameters
    ----------
    sleeves
        The systems that share it.
    account
        Its name in the journal. One that is there already is gone on with.
    opened
        Number of bars of the clock before the first that the account may decide at; of an account that is there it is
        ignored.
    controls
        The kill switch of the home; None for a replay, which nobody halts.
    """

    workspace: Workspace
    sleeves: Sequence[LiveSleeve]
    account: str
    opened: int
    clock: TellsTime
    controls: Controls | None
    journal: Journal = field(init=False)
    paper: PaperAccount = field(init=False)
    bound: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Open the account, or find where it stands."""
        plan = self.workspace.plan
        limits = plan.limits
        if self.controls is not None:
            limits = limits.model_copy(update={"release_after_sessions": None})
        laid = Clock.of([sleeve.wanted() for sleeve in self.sleeves])
        self.desk = desk_of(replace(plan, limits=limits), laid, plan.execution)
        self.journal = Journal(self.workspace.records, self.account, clock=self.clock)
        self.paper = PaperAccount(self.desk, self.journal, plan.playbook.content_hash, self.controls)
        bars = desk_bars(plan, laid)
        self.next_row = self.paper.open(bars, self.opened)
        self._bars = bars
        self._out: set[str] = {order.request.client_order_id for order in self.journal.unfinished()}

    def step(self, decisions: Mapping[str, Decision]) -> Traded:
        """Take the account over the newest bar, and let it order what was decided at its close, by system."""
        laid = Clock.of([sleeve.wanted(decisions.get(sleeve.name)) for sleeve in self.sleeves])
        row = len(laid.panel) - 1
        told = _Told()
        self._bars = desk_bars(self.workspace.plan, laid)
        self.paper.live_through(self._bars, laid.plan(of=decisions), row, self.opened, told)
        self.next_row = row + 1
        self.bound += told.bound
        return self._changed(_moment(laid.panel.times[row]), told)

    def _changed(self, at: datetime, told: _Told) -> Traded:
        """Return what the journal says has changed with a bar."""
        fills = [fill for fill in self.journal.executions(since=at) if fill.time == at]
        new = {order.request.client_order_id: order for order in self.journal.unfinished()}
        touched = (self._out | {fill.client_order_id for fill in fills}) - new.keys()
        fresh = [order for name, order in new.items() if name not in self._out]
        ended = list(self.journal.find(touched).values())
        self._out = set(new)
        filled = {**new, **{order.request.client_order_id: order for order in ended}}
        sleeves = {name: order.request.sleeve for name, order in filled.items()}
        return Traded([*ended, *fresh], fills, told.alerts, sleeves)

    @property
    def equity(self) -> float:
        """What the account is worth at the last close."""
        return float(self.paper.book.equity)

    @property
    def halted(self) -> str:
        """Why nothing may be opened; empty where it may."""
        return str(self.paper.state.gate.halted) if self.paper.state is not None else ""

    @property
    def start_capital(self) -> float:
        """What it began with."""
        return float(self.desk.account.start_capital)

    def ledger_hash(self) -> str:
        """Return the hash of all that was booked, as a back-test has one."""
        log = np.concatenate(self.paper.log) if self.paper.log else np.empty((0, k.LOG_FIELDS))
        return ledger_digest(Booked(log), self._bars.times, self.desk.columns, self.start_capital)

    def positions(self) -> list[dict[str, Any]]:
        """Return what is held, as the page shows it."""
        book = self.paper.book
        held, state = np.flatnonzero(book.shares), book.state
        return [self._position(int(m), state) for m in held]

    def _position(self, m: int, state: np.ndarray[Any, Any]) -> dict[str, Any]:
        column = self.desk.columns[m]
        shares, price, entry = (float(state[place, m]) for place in (k.SHARES, k.MARK, k.ENTRY))
        stop = entry * (1 - np.sign(shares) * float(state[k.STOP, m]))
        born = int(state[k.IN_ROW, m])
        return {
            "symbol": column,
            "timeframe": column.partition("@")[2] or None,
            "shares": shares,
            "price": price,
            "value": shares * price,
            "entry_price": entry,
            "profit": shares * (price - entry),
            "profit_pct": float(np.sign(shares) * (price / entry - 1)) if entry else None,
            "stop": float(stop) if np.isfinite(stop) else None,
            "opened": iso(self._bars.times[born]) if 0 <= born < len(self._bars.times) else None,
            "weight": shares * price / self.equity if self.equity > 0 else None,
        }

    def told(self, at: np.datetime64, before: float) -> dict[str, Any]:
        """Return the account as the page shows it; ``before`` is its worth at the last session's end."""
        state = self.paper.state
        assert state is not None
        book, plan = state.book, self.workspace.plan
        values = book.shares * np.nan_to_num(book.state[k.MARK])
        equity = self.equity
        high = float(state.gate.high_water)
        bound = Counter(self.bound)
        return {
            "account": self.account,
            "time": iso(at),
            "equity": equity,
            "cash": float(book.cash),
            "profit": equity - self.start_capital,
            "profit_today": equity - before,
            "start_capital": self.start_capital,
            "gross": float(np.abs(values).sum()) / equity if equity > 0 else None,
            "net": float(values.sum()) / equity if equity > 0 else None,
            "high_water": high,
            "drawdown": equity / high - 1 if high > 0 else None,
            "positions": int(np.count_nonzero(book.shares)),
            "open_orders": len(self._out),
            "halted": state.gate.halted or None,
            "limits": times_bound(bound, plan.limits, plan.risk),
        }


class _Told:
    """Hears what a bar brought."""

    def __init__(self) -> None:
        self.bound: Counter[str] = Counter()
        self.alerts: list[dict[str, Any]] = []

    def __call__(self, row: int, step: Step) -> None:
        if step.bound is not None:
            self.bound.update(REASONS[code] for code in step.bound[step.bound > 0])
        self.alerts += [{"level": a.level, "kind": a.kind, "what": a.what} for a in step.alerts]
        self.bound.update(a.kind for a in step.alerts if a.kind in ("drawdown_max", "daily_loss_max"))


def order_payload(order: OrderState) -> dict[str, Any]:
    """Return an order as the page shows it."""
    request = order.request
    return {
        "id": request.client_order_id,
        "symbol": column_of(request.symbol, request.sleeve),
        "timeframe": request.sleeve or None,
        "side": request.side,
        "quantity": request.quantity,
        "kind": request.kind,
        "time_in_force": request.time_in_force,
        "status": order.status,
        "filled": abs(order.filled),
        "reason": order.reason or None,
        "decided_at": None if request.decided_at is None else request.decided_at.isoformat(),
        "reduce_only": request.reduce_only,
    }


def column_of(symbol: str, sleeve: str) -> str:
    """Return a symbol as an account of several timeframes names it."""
    return f"{symbol}@{sleeve}" if sleeve else symbol


def manual_payload(order: ManualOrder, came_of_it: Iterable[str]) -> dict[str, Any]:
    """Return a person's order as the page shows it, with the ids of those of the journal that came of it."""
    return {
        "id": order.id,
        "symbol": order.symbol,
        "side": order.side,
        "weight": order.weight,
        "stop": order.stop,
        "target": order.target,
        "reason": order.reason,
        "by": order.by,
        "asked_at": order.asked_at.isoformat(),
        "state": order.state,
        "why": order.why,
        "effective": None if order.effective is None else order.effective.isoformat(),
        "orders": list(came_of_it),
    }


def fill_payload(fill: Execution, sleeve: str = "") -> dict[str, Any]:
    """Return a fill of a timeframe as the page shows it."""
    return {
        "id": fill.execution_id,
        "order_id": fill.client_order_id or None,
        "symbol": column_of(fill.symbol, sleeve),
        "quantity": fill.quantity,
        "price": fill.price,
        "fee": fill.fee,
        "time": fill.time.isoformat(),
    }


def iso(time: np.datetime64) -> str:
    """Return an instant as JSON says it."""
    return f"{np.datetime_as_string(time, unit='s')}Z"


def _moment(time: np.datetime64) -> datetime:
    return datetime.fromtimestamp(float(time.astype("datetime64[us]").astype(np.int64)) / 1e6, tz=UTC)

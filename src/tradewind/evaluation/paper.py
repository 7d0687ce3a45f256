"""A playbook's paper account: the same decisions as the back-test's, through the paper broker and its journal."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import BugError
from tradewind.evaluation.account import Clock, desk_bars, desk_of, opening_row, trade
from tradewind.evaluation.corridor import Progress, silent
from tradewind.evaluation.reconciliation import Books, reconcile_books
from tradewind.evaluation.sleeves import Walked, walk
from tradewind.evaluation.workspace import Workspace
from tradewind.execution import kernel as k
from tradewind.execution import lots_kernel as lk
from tradewind.execution.book import Book
from tradewind.execution.controls import Controls
from tradewind.execution.desk import REASONS, Desk, Step
from tradewind.execution.desk_bars import Bars
from tradewind.execution.desk_state import column_values
from tradewind.execution.journal import Journal
from tradewind.execution.lots import SHARE, Flow, fifo
from tradewind.execution.order_state import SHARE_TOLERANCE
from tradewind.execution.paper import PaperAccount
from tradewind.execution.records import Records as Booked
from tradewind.execution.records import ledger_digest
from tradewind.portfolio.limits import times_bound

TimeArray = NDArray[np.datetime64]


def paper(
    workspace: Workspace,
    progress: Progress = silent,
    *,
    replay: bool = False,
    opened: datetime | None = None,
    as_of: datetime | None = None,
    account: str = "",
) -> dict[str, Any]:
    """Take a paper account over every bar that it has not lived through yet, and say what became of it.

    Parameters
    ----------
    replay
        Trade stored days in a new account of their own: nobody halts it, a session is one transaction, and the result
        says whether the back-test of the same days has the same ledger.
    opened
        Where the account begins: the first close from then on. For an account that exists already it means nothing.
    as_of
        Use only bars known then: where the replay ends.
    account
        Name of the account, by default the playbook's; a replay's is made up.
    """
    started = workspace.clock.now()
    walked = walk(workspace, progress, as_of=as_of)
    clock = Clock.of([one.wanted for one in walked.sleeves])
    if not replay and opened is None:
        opened = _first_time(workspace, account)
    start = opening_row(clock, opened)
    plan = workspace.plan
    limits = plan.limits if replay else plan.limits.model_copy(update={"release_after_sessions": None})
    desk = desk_of(replace(plan, limits=limits), clock, plan.execution)
    name = f"replay:{plan.playbook.name}:{started:%Y%m%dT%H%M%S%f}" if replay else _account_name(workspace, account)
    journal = Journal(workspace.records, name, clock=workspace.clock)
    controls = None if replay else Controls(workspace.records, clock=workspace.clock)
    own = PaperAccount(desk, journal, plan.playbook.content_hash, controls, every="session" if replay else "bar")
    bars = desk_bars(plan, clock)
    first = own.open(bars, start)
    told = _Told(len(bars.times))
    own.live_through(bars, clock.plan(), first, start, told)
    progress("paper", 1, 1)
    result = _result(workspace, walked, clock, desk, own, bars, first, told)
    if replay:
        tested = trade(plan, [one.wanted for one in walked.sleeves], start=start).simulation
        equal = tested.ledger_hash == result["ledger_hash"]
        books = Books.booked(_booked(own), bars.times, desk.columns, float(desk.account.start_capital), own.book)
        compared = reconcile_books(tested, books)
        result |= {"backtest_ledger_hash": tested.ledger_hash, "equal": equal, "reconciliation": compared}
    return result


def _account_name(workspace: Workspace, account: str) -> str:
    return f"paper:{account or workspace.plan.playbook.name}"


def _first_time(workspace: Workspace, account: str) -> datetime | None:
    """Return when an account that is opened now begins: with the newest bar; None where it exists."""
    journal = Journal(workspace.records, _account_name(workspace, account))
    return None if journal.latest_book() is not None else workspace.clock.now()


class _Told:
    """Counts what an account's bars brought."""

    def __init__(self, bars: int) -> None:
        self.bars = 0
        self.bound: Counter[str] = Counter()
        self.alerts: list[dict[str, Any]] = []
        self.last: Step | None = None

    def __call__(self, row: int, step: Step) -> None:
        self.bars += 1
        self.last = step
        if step.bound is not None:
            self.bound.update(REASONS[code] for code in step.bound[step.bound > 0])
        self.alerts += [{"level": a.level, "kind": a.kind, "what": a.what, "row": row} for a in step.alerts]


def _result(
    workspace: Workspace,
    walked: Walked,
    clock: Clock,
    desk: Desk,
    own: PaperAccount,
    bars: Bars,
    first: int,
    told: _Told,
) -> dict[str, Any]:
    state, times, plan = own.state, bars.times, workspace.plan
    if state is None:
        raise BugError(f"the paper account {own.journal.account} was never opened", hint="please report this")
    booked = _booked(own)
    orders = own.journal.orders()
    for name in ("drawdown_max", "daily_loss_max"):
        told.bound[name] += sum(alert["kind"] == name for alert in told.alerts)
    return {
        "playbook": plan.playbook.name,
        "source": plan.data.source,
        "account": own.journal.account,
        "mode": "paper",
        "from": _time(times[min(first, len(times) - 1)]),
        "to": _time(times[-1]),
        "bars": told.bars,
        "timeframes": [one.name or "all" for one in clock.wanted],
        "unavailable": dict(walked.unavailable),
        "equity": state.book.equity,
        "cash": state.book.cash,
        "profit": state.book.equity - desk.account.start_capital,
        "positions": _positions(desk, own),
        "orders": dict(Counter(order.status for order in orders)),
        "waiting": [_order(order.request) for order in orders if order.is_open],
        "fills": len(booked.fills),
        "lots": lots_result(booked, times, state.book, float(desk.account.start_capital)),
        "limits": times_bound(told.bound, plan.limits, plan.risk),
        "alerts": told.alerts[-20:][::-1],
        "halted": state.gate.halted or None,
        "journal_balances": True,
        "ledger_hash": ledger_digest(booked, times, desk.columns, float(desk.account.start_capital)),
    }


def lots_result(booked: Booked, times: TimeArray, book: Book, start_capital: float) -> dict[str, Any]:
    """Return what the account's lots, first in, first out, have earned, in currency.

    ``realised`` by what is closed, ``unrealised`` by what closing the ``open`` lots at the last prices, at no cost,
    would realise, both net of ``costs`` and with the ``income`` of dividends; ``financing`` (interest, borrowing)
    belongs to no lot. Realised, unrealised and financing are the profit, to the cent. Lots are of the book's columns:
    one timeframe never closes another's.

    Parameters
    ----------
    booked
        All that was booked since the account was opened.
    times
        ``(T,)`` closes of the bars that its rows count.

    Raises
    ------
    BugError
        The lots hold other shares than the book, or add up to another profit.
    """
    lots = fifo(Flow.of_records(booked, times, book.symbols))
    held = np.bincount(lots.open_lots[:, lk.L_KEY], lots.open_lots[:, lk.L_SHARES] / SHARE, len(book.symbols))
    value, profit = int(column_values(book).sum()), round((book.equity - start_capital) * 100)
    unrealised = value + lots.cash_cents - lots.realised_cents - lots.account_cents
    same = np.allclose(held, book.shares, rtol=0, atol=SHARE_TOLERANCE)
    if not same or lots.realised_cents + unrealised + lots.account_cents != profit:
        told = {book.symbols[m]: float(held[m] - book.shares[m]) for m in np.flatnonzero(held != book.shares)}
        raise BugError(
            f"the lots make a profit of {lots.cash_cents + value} cents, the book of {profit}; shares apart: {told}"
        )
    closed, left = lots.closed, lots.open_lots
    costs = closed[:, [lk.C_IN_COST, lk.C_OUT_COST]].sum() + left[:, lk.L_COST].sum()
    return {
        "open": len(left),
        "closed": len(closed),
        "realised": lots.realised_cents / 100,
        "unrealised": unrealised / 100,
        "financing": lots.account_cents / 100,
        "costs": float(costs / 100),
        "income": float((closed[:, lk.C_INCOME].sum() + left[:, lk.L_INCOME].sum()) / 100),
    }


def _booked(own: PaperAccount) -> Booked:
    return Booked(np.concatenate(own.log) if own.log else np.empty((0, k.LOG_FIELDS)))


def _positions(desk: Desk, own: PaperAccount) -> list[dict[str, Any]]:
    state = own.state
    if state is None:
        return []
    book, held = state.book.state, np.flatnonzero(state.book.shares)
    side = np.sign(book[k.SHARES])
    rows = []
    for m in held:
        symbol, _, sleeve = desk.columns[m].partition("@")
        stop = float(book[k.ENTRY, m] * (1 - side[m] * book[k.STOP, m]))
        rows.append(
            {
                "symbol": symbol,
                "timeframe": sleeve or None,
                "shares": float(book[k.SHARES, m]),
                "price": float(book[k.MARK, m]),
                "value": float(book[k.SHARES, m] * book[k.MARK, m]),
                "entry_price": float(book[k.ENTRY, m]),
                "stop": stop if np.isfinite(stop) else None,
            }
        )
    return rows


def _order(request: Any) -> dict[str, Any]:
    return {
        "id": request.client_order_id,
        "symbol": request.symbol,
        "timeframe": request.sleeve or None,
        "side": request.side,
        "quantity": request.quantity,
        "time_in_force": request.time_in_force,
    }


def _time(time: np.datetime64) -> str:
    return f"{np.datetime_as_string(time, unit='s')}Z"

"""The compliance checklist of an account (row C21): every limit at every session's end, and an audit trail.

What is held is measured anew from shares and prices, and not taken from what the gate said, so that a limit that was
set and did not hold is seen here. A check is in breach where its value is beyond the limit by more than
``limits.drift_tolerance``: up to there prices may carry what an order was allowed to open. Limits that are not set
are not checked; concentration, for which there is none, is told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.evaluation.account import Clock, desk_bars
from tradewind.evaluation.plan import Plan
from tradewind.execution import kernel as k
from tradewind.execution.desk_bars import Bars
from tradewind.execution.trading import Trading
from tradewind.models.assembly import last_known
from tradewind.portfolio.limits_kernel import CODES
from tradewind.portfolio.settings import LimitsSection
from tradewind.risk.monitor import Monitor

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

TOP = 3
"""Names whose share of the gross is the concentration."""

CONCENTRATION = f"top_{TOP}_share"
EDGE = 1e-9


@dataclass(frozen=True, eq=False)
class Measured:
    """A check's value at each session's end ``(S,)``, NaN where it is not known; its limit, and whom it is about.

    Attributes
    ----------
    values
        Of the same sign and unit as the limit.
    limit
        None where nothing is judged.
    who
        ``(S,)`` place in ``names`` of the worst one; empty where a check is about the whole book.
    live
        ``(S,)`` sessions at which a breach counts.
    """

    values: FloatArray
    limit: float | None
    live: BoolArray
    who: IntArray
    names: tuple[str, ...] = ()


def compliance(plan: Plan, trading: Trading, clock: Clock) -> dict[str, Any]:
    """Return the checklist of an account's life, as plain values.

    Each check has ``passed`` (None where there is no limit), its ``worst`` value with ``worst_at`` and ``who``, the
    ``limit``, the sessions in breach with the first of them, those ``unknown`` (a name held whose risk or volume was
    not known), and those ``unanswered``: in breach without an alert of it, and without an order bound by it before the
    next session's end. Money is in fractions of equity, volumes in multiples of a day's.
    """
    rows, tolerance = trading.session_rows, plan.limits.drift_tolerance
    checks = {}
    breaches: dict[str, BoolArray] = {}
    for name, one in measured(plan, trading, clock).items():
        broken = in_breach(one, tolerance)
        breaches[name] = broken
        unanswered = broken & ~answered(name, trading)
        checks[name] = _said(one, broken, unanswered, clock.panel.times[rows])
    trail = audit_trail(trading, clock, sum(int(row["unanswered"]) for row in checks.values()))
    judged = [row["passed"] for row in checks.values() if row["passed"] is not None]
    return {
        "passed": all(judged) and trail["passed"],
        "sessions": len(rows),
        "sessions_in_breach": int(np.any(list(breaches.values()), axis=0).sum()) if len(rows) else 0,
        "tolerance": tolerance,
        "checks": checks,
        "audit_trail": trail,
    }


def measured(plan: Plan, trading: Trading, clock: Clock) -> dict[str, Measured]:
    """Return every check's values by the name of its limit; limits that are not set are left out."""
    limits, weights = plan.limits, weights_at(trading, clock)
    names, size = clock.panel.symbols, np.abs(weights)
    held: BoolArray = np.asarray((size > 0).any(axis=1))
    gross = size.sum(axis=1)
    sectors = tuple(sorted(set(clock.panel.sectors)))
    by_sector = np.column_stack([size[:, np.array(clock.panel.sectors) == one].sum(axis=1) for one in sectors])
    found = {
        "position_max": _worst(size, limits.position_max, names),
        "sector_max": _worst(by_sector, limits.sector_max, sectors),
        "gross_max": _whole(gross, limits.gross_max),
        "net_max": _whole(np.abs(weights.sum(axis=1)), limits.net_max),
        CONCENTRATION: _whole(_top_share(size, gross), None),
        **_losses(limits, trading, held),
    }
    if limits.liquidity_max is not None or limits.beta_max is not None or limits.var_max is not None:
        found |= _of_the_market(plan, trading, weights, desk_bars(plan, clock), names)
    return {name: one for name, one in found.items() if one.limit is not None or name == CONCENTRATION}


def weights_at(trading: Trading, clock: Clock) -> FloatArray:
    """Return what each symbol weighs at each session's end ``(S, N)``, all its timeframes together."""
    rows, panel, simulation = trading.session_rows, clock.panel, trading.simulation
    value = simulation.shares[rows] * np.nan_to_num(last_known(panel.close)[rows][:, clock.symbol_of])
    total = np.zeros((len(rows), len(panel.symbols)))
    np.add.at(total.T, clock.symbol_of, value.T)
    equity = simulation.equity[rows][:, None]
    return np.divide(total, equity, out=np.full_like(total, np.nan), where=equity > 0)


def in_breach(one: Measured, tolerance: float) -> BoolArray:
    """Return at which sessions a value is beyond its limit by more than the tolerance, ``(S,)``."""
    if one.limit is None:
        return np.zeros(len(one.values), np.bool_)
    return np.asarray(one.live & (np.nan_to_num(one.values, nan=-np.inf) > one.limit * (1.0 + tolerance) + EDGE))


def answered(name: str, trading: Trading) -> BoolArray:
    """Return at which sessions ``(S,)`` somebody was told of a limit's breach, or an order was bound by it.

    What is decided from a session's end until the next one is its answer; a loss may be told of in the session itself.
    A book that is being closed has answered everything.
    """
    rows, held = trading.session_rows, trading.simulation.shares[trading.decided_rows] != 0
    closing = ((trading.sent == 0) | ~held).all(axis=1) & held.any(axis=1)
    told = [alert.row for alert in trading.alerts if alert.kind == name] + trading.decided_rows[closing].tolist()
    if name in CODES:
        told += trading.decided_rows[(trading.bound == CODES.index(name)).any(axis=1)].tolist()
    moments = np.unique(np.array(told, dtype=np.int64))
    before, after = np.concatenate([[-1], rows[:-1]]), np.concatenate([rows[1:], [np.iinfo(np.int64).max]])
    since = rows if name not in ("drawdown_max", "daily_loss_max") else before + 1
    first = np.searchsorted(moments, since)
    return np.asarray(first < np.searchsorted(moments, after))


def audit_trail(trading: Trading, clock: Clock, unanswered: int) -> dict[str, Any]:
    """Say whether every fill goes back to a decision before it, and every breach was answered.

    A fill that was ordered has its decision at the close that it names, where its column was sent a target. One that a
    bracket, a margin call or a delisting made must only close what a decision had opened.
    """
    lost = undecided(trading)
    times = clock.panel.times
    first = None
    if len(lost):
        row, column = int(lost[0, 0]), int(lost[0, 1])
        first = {"time": _time(times[row]), "symbol": clock.columns[column]}
    return {
        "passed": not len(lost) and not unanswered,
        "fills": len(trading.simulation.records.fills),
        "fills_without_decision": len(lost),
        "first_fill_without_decision": first,
        "breaches_unanswered": unanswered,
    }


def undecided(trading: Trading) -> IntArray:
    """Return row and column of each fill that no decision led to, ``(F, 2)``, in order of happening."""
    log = trading.simulation.records.log
    log = log[log[:, k.L_TYPE] != k.TRADE]
    fill, column = log[:, k.L_TYPE] == k.FILL, log[:, k.L_COLUMN].astype(np.int64)
    moved = np.where(fill, log[:, k.F_QUANTITY], log[:, k.E_SHARES])
    before = _held_before(column, moved)
    closes = (moved * before <= 0) & (np.abs(moved) <= np.abs(before) + 1e-6)
    sent = np.zeros((len(trading.simulation.times), trading.simulation.shares.shape[1]), np.bool_)
    sent[trading.decided_rows] = np.isfinite(trading.sent)
    decided = np.where(fill, log[:, k.F_DECIDED], -1).astype(np.int64)
    known = (decided >= 0) & (decided < log[:, k.L_ROW])
    ordered = known & sent[np.where(known, decided, 0), np.maximum(column, 0)]
    fine = np.where(log[:, k.F_REASON] == k.SIGNAL, ordered, closes)
    return log[fill & ~fine][:, [k.L_ROW, k.L_COLUMN]].astype(np.int64)


def _held_before(column: IntArray, moved: FloatArray) -> FloatArray:
    """Return the shares that each movement's column held before it."""
    order = np.argsort(column, kind="stable")
    total = np.cumsum(moved[order])
    starts = np.flatnonzero(np.diff(column[order], prepend=-2))
    lengths = np.diff(starts, append=len(column))
    offset = np.repeat(total[starts] - moved[order][starts], lengths)
    before = np.empty(len(moved))
    before[order] = total - moved[order] - offset
    return before


def _of_the_market(
    plan: Plan, trading: Trading, weights: FloatArray, bars: Bars, names: tuple[str, ...]
) -> dict[str, Measured]:
    """Return the checks that take volumes, betas and covariances, as the monitor had known them at each close."""
    limits, desk = plan.limits, trading.desk
    wanted = limits.beta_max is not None or limits.var_max is not None
    monitor = Monitor(plan.risk, limits.liquidity_sessions, len(names), measures=wanted)
    deviations = NormalDist().inv_cdf(plan.risk.var_level)
    place = {int(row): number for number, row in enumerate(trading.session_rows)}
    days, beta, var = np.full(weights.shape, np.nan), *np.full((2, len(weights)), np.nan)
    state = monitor.open()
    for row in range(len(bars.times)):
        ended = bool(bars.session_end[row])
        state = monitor.traded(state, bars.value[row], ended=ended)
        if not ended:
            continue
        state = monitor.session(state, bars.adjusted[row], bars.market[row])
        at = place.get(row)
        if at is None:
            continue
        own = weights[at]
        held = np.flatnonzero(own)
        known = monitor.exposure(state, desk.borrowable, wanted=wanted and len(held) > 0)
        equity = trading.simulation.equity[row]
        days[at] = np.where(own != 0, np.abs(own) * equity / known.daily_value, 0.0)
        beta[at] = var[at] = 0.0
        if known.beta is not None and known.covariance is not None:
            beta[at] = abs(float(own[held] @ known.beta[held]))
            var[at] = deviations * math.sqrt(
                max(float(own[held] @ known.covariance[np.ix_(held, held)] @ own[held]), 0)
            )
    return {
        "liquidity_max": _worst(days, limits.liquidity_max, names),
        "beta_max": _whole(beta, limits.beta_max),
        "var_max": _whole(var, limits.var_max),
    }


def _losses(limits: LimitsSection, trading: Trading, held: BoolArray) -> dict[str, Measured]:
    """Return what was lost since the highest close and since the last session's end.

    The highest close is the gate's: it begins anew with a release, and where a drawdown only flattens the book. A
    drawdown of a book that holds nothing is over: nothing more can be done about it.
    """
    simulation, rows, start = trading.simulation, trading.session_rows, trading.start
    again = {alert.row for alert in trading.alerts if alert.kind == "release"}
    if limits.reaction("drawdown_max") == "flatten":
        again |= {alert.row for alert in trading.alerts if alert.kind == "drawdown_max"}
    high, drawdown = simulation.start_capital, np.zeros(len(simulation.times))
    for row in range(start, len(simulation.times)):
        equity = float(simulation.equity[row])
        drawdown[row] = 1.0 - equity / high if high > 0 else 0.0
        high = equity if row in again else max(high, equity)
    ends = np.concatenate([[simulation.start_capital], simulation.equity[rows]])
    daily = 1.0 - np.divide(ends[1:], ends[:-1], out=np.ones(len(rows)), where=ends[:-1] > 0)
    always = np.ones(len(rows), np.bool_)
    nobody = np.empty(0, np.int64)
    return {
        "drawdown_max": Measured(drawdown[rows], limits.drawdown_max, held, nobody),
        "daily_loss_max": Measured(daily, limits.daily_loss_max, always, nobody),
    }


def _worst(values: FloatArray, limit: float | None, names: Sequence[str]) -> Measured:
    """Return the largest value of each session and whose it is; unknown where one is and the others are within."""
    known = np.nan_to_num(values, nan=0.0)
    largest, who = known.max(axis=1, initial=0.0), np.argmax(known, axis=1) if known.shape[1] else np.empty(0, np.int64)
    unknown = np.isnan(values).any(axis=1) & (largest <= (np.inf if limit is None else limit))
    return Measured(np.where(unknown, np.nan, largest), limit, np.ones(len(values), np.bool_), who, tuple(names))


def _whole(values: FloatArray, limit: float | None) -> Measured:
    return Measured(values, limit, np.ones(len(values), np.bool_), np.empty(0, np.int64))


def _top_share(size: FloatArray, gross: FloatArray) -> FloatArray:
    """Return the largest names' share of the gross; 0 where nothing is held."""
    top = np.sort(size, axis=1)[:, -TOP:].sum(axis=1)
    return np.divide(top, gross, out=np.zeros(len(gross)), where=gross > 0)


def _said(one: Measured, broken: BoolArray, unanswered: BoolArray, times: NDArray[np.datetime64]) -> dict[str, Any]:
    known = np.isfinite(one.values)
    worst = int(np.argmax(np.where(known, one.values, -np.inf))) if known.any() else None
    at = np.flatnonzero(broken)
    return {
        "passed": None if one.limit is None else not len(at),
        "limit": one.limit,
        "worst": None if worst is None else float(one.values[worst]),
        "worst_at": None if worst is None else _time(times[worst]),
        "who": one.names[one.who[worst]] if worst is not None and len(one.who) else None,
        "sessions_in_breach": len(at),
        "first_breach": _time(times[at[0]]) if len(at) else None,
        "unanswered": int(unanswered.sum()),
        "unknown": int((~known & one.live).sum()),
    }


def _time(time: np.datetime64) -> str:
    return f"{np.datetime_as_string(time, unit='s')}Z"


def failed(found: Mapping[str, Any]) -> list[str]:
    """Return the names of the checks that did not pass."""
    names = [name for name, row in found["checks"].items() if row["passed"] is False]
    return names if found["audit_trail"]["passed"] else [*names, "audit_trail"]

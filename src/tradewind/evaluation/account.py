"""One account over one or several timeframes: their targets on the finest clock, through the desk, and seen by session.

A playbook without ``[timeframes]`` is one timeframe without a name, over its own bars.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from tradewind.decisions.coordinator import Coordinator, capital_of, ranked
from tradewind.decisions.signals import Signals
from tradewind.errors import InputError
from tradewind.evaluation.corridor import World, scheduled
from tradewind.evaluation.plan import Plan
from tradewind.execution import kernel as k
from tradewind.execution.book import Book
from tradewind.execution.desk import Desk
from tradewind.execution.desk_bars import Bars
from tradewind.execution.plan import TradePlan
from tradewind.execution.records import Records
from tradewind.execution.settings import ExecutionSection
from tradewind.execution.simulator import Simulation
from tradewind.execution.trading import Trading
from tradewind.execution.trading import trade as live_through
from tradewind.market.aggregate import row_map
from tradewind.market.bars import TIMEFRAMES
from tradewind.market.calendar import calendar, instant
from tradewind.market.panel import Panel
from tradewind.market.splice import spliced
from tradewind.portfolio.borrow import terms
from tradewind.portfolio.limits import Gate
from tradewind.portfolio.sizing import Targets
from tradewind.risk.monitor import Monitor

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

NEVER = 10**9
"""Bars, where something is counted in sessions instead."""


@dataclass(frozen=True, eq=False)
class Wanted:
    """What one timeframe asks of the account: its targets over its own bars, from row ``start`` on."""

    name: str
    world: World
    signals: Signals
    targets: Targets
    start: int


@dataclass(frozen=True, eq=False)
class Clock:
    """The finest bars that the account's timeframes have at each time, and where each one's columns and rows lie.

    Attributes
    ----------
    panel
        The bars of the finest timeframe, and before they begin those of the longer ones.
    wanted
        The timeframes, the highest in rank first.
    symbol_of, sleeve_of
        Of each column of the book, ``(M,)``.
    own_column
        Column of each in its timeframe's own panel, ``(M,)``.
    columns
        Names, ``(M,)``.
    """

    panel: Panel
    wanted: tuple[Wanted, ...]
    symbol_of: IntArray
    sleeve_of: IntArray
    own_column: IntArray
    columns: tuple[str, ...]

    @classmethod
    def of(cls, wanted: Sequence[Wanted]) -> Clock:
        """Lay the timeframes on the finest bars among them."""
        by_name = {one.name: one for one in wanted}
        ordered = [by_name[name] for name in ranked({one.name: one.world.panel.timeframe for one in wanted})]
        panel = laid_together({one.name: one.world.panel for one in wanted})
        place = {symbol: i for i, symbol in enumerate(panel.symbols)}
        rows = [
            (place[symbol], number, own, f"{symbol}@{one.name}" if one.name else symbol)
            for number, one in enumerate(ordered)
            for own, symbol in enumerate(one.world.panel.symbols)
            if symbol in place
        ]
        symbol_of, sleeve_of, own = (np.array([row[i] for row in rows], dtype=np.int64) for i in range(3))
        return cls(panel, tuple(ordered), symbol_of, sleeve_of, own, tuple(row[3] for row in rows))

    def rows_of(self, one: Wanted) -> IntArray:
        """Return the row at which each bar of a timeframe is known; -1 before the clock begins or after its end."""
        own = one.world.panel.times
        return np.where(own >= self.panel.times[0], row_map(self.panel.times, own), -1)

    @property
    def start(self) -> int:
        """Return the row at which the first timeframe can decide."""
        first = []
        for one in self.wanted:
            rows = self.rows_of(one)[one.start :]
            first += [int(rows[rows >= 0][0])] if (rows >= 0).any() else []
        return min(first, default=len(self.panel))

    def plan(self, delay_bars: int = 0, *, of: Collection[str] | None = None) -> TradePlan:
        """Return what every timeframe wants, or those of these names, on the clock's rows and the book's columns."""
        shape = (len(self.panel), len(self.columns))
        fields = {
            name: np.full(shape, np.nan) for name in ("weight", "stop", "take_profit", "trail", "max_bars", "priority")
        }
        for number, one in enumerate(self.wanted):
            if of is not None and one.name not in of:
                continue
            columns = np.flatnonzero(self.sleeve_of == number)
            rows = self.rows_of(one)
            known = (rows >= 0) & (np.arange(len(rows)) >= one.start)
            for name, values in self._fields(one).items():
                fields[name][np.ix_(rows[known], columns)] = values[np.ix_(known, self.own_column[columns])]
        return TradePlan(**fields, delay_bars=delay_bars)

    def _fields(self, one: Wanted) -> dict[str, FloatArray]:
        """Return a timeframe's targets with the brackets that its playbook wants, over its own bars.

        A book has no time exits: it is chosen anew before long, and closes what it no longer wants. What a person
        orders is held for good, with the bracket of the order and no other.
        """
        exits, signals = one.world.plan.decision, one.signals
        nothing = np.full(signals.stop.shape, np.nan)
        fields = {
            "weight": scheduled(one.world, one.targets),
            "stop": signals.stop,
            "take_profit": signals.target if exits.take_profit else nothing,
            "trail": signals.stop if exits.trailing_stop else nothing,
            "max_bars": nothing if one.world.plan.holds_a_book else self.bars(one, signals.horizon_bars),
            "priority": signals.confidence,
        }
        if signals.by_hand is None:
            return fields
        forever = np.full_like(nothing, np.inf)
        ordered = {"weight": one.targets.weight, "take_profit": signals.target, "trail": nothing, "max_bars": forever}
        return fields | {name: np.where(signals.by_hand, own, fields[name]) for name, own in ordered.items()}

    def bars(self, one: Wanted, own: NDArray[np.int64]) -> FloatArray:
        """Return so many of a timeframe's bars after each of them ``(T, N)`` in bars of the clock.

        They are counted by the exchange's calendar, which is known beforehand; before the finest begin, among the bars
        that there are.
        """
        panel = one.world.panel
        if panel.timeframe == self.panel.timeframe:
            return own.astype(np.float64)
        sessions = int(own.max(initial=1)) * TIMEFRAMES[panel.timeframe] / TIMEFRAMES["1d"]
        ahead = timedelta(days=2 * sessions + 30)
        small, large = self._planned(self.panel, ahead), self._planned(panel, ahead)
        after = np.searchsorted(large, panel.times)[:, None] + own
        ends = large[np.minimum(after, len(large) - 1)]
        counted = np.searchsorted(small, ends) - np.searchsorted(small, panel.times)[:, None]
        return np.maximum(counted, 1).astype(np.float64)

    def _planned(self, panel: Panel, ahead: timedelta) -> NDArray[np.datetime64]:
        """Return a panel's closes before the finest bars begin, and from there on those of the calendar."""
        since, end = self.wanted[-1].world.panel.times[0], max(panel.times[-1], self.panel.times[-1])
        exchange = calendar("XNYS")
        daily = TIMEFRAMES[panel.timeframe] >= TIMEFRAMES["1d"]
        first = None if daily else exchange.first_close(panel.times[panel.times >= since], panel.timeframe)
        closes = exchange.bar_closes(panel.timeframe, _utc(since), _utc(end) + ahead, first=first)
        return np.concatenate([panel.times[panel.times < since], closes])

    def without_bars(self, one: Wanted) -> tuple[str, ...]:
        """Return the symbols that a timeframe still has when the finest bars begin, and of which those have none.

        Nothing of them can be traded from then on: what is held ends as if they were delisted.
        """
        finest, own = self.wanted[-1].world.panel, one.world.panel
        there = {finest.symbols[i] for i in np.flatnonzero(finest.mask.any(axis=0))}
        late = np.flatnonzero(own.mask[own.times >= finest.times[0]].any(axis=0))
        return tuple(own.symbols[i] for i in late if own.symbols[i] not in there)

    @property
    def intraday(self) -> bool:
        """Return whether any bar is shorter than a session."""
        return TIMEFRAMES[self.panel.timeframe] < TIMEFRAMES["1d"]


def laid_together(panels: Mapping[str, Panel]) -> Panel:
    """Return the finest bars that timeframes have at each time: the axis of a clock."""
    order = ranked({name: panel.timeframe for name, panel in panels.items()})
    return spliced([panels[name] for name in reversed(order)])


def desk_of(plan: Plan, clock: Clock, execution: ExecutionSection) -> Desk:
    """Return the desk of a playbook's account."""
    panel = clock.panel
    sectors = sorted(set(panel.sectors))
    sector_of = np.array([sectors.index(sector) for sector in panel.sectors], dtype=np.int64)
    gate = Gate(plan.limits, plan.risk, clock.symbol_of, sector_of)
    names = tuple(one.name for one in clock.wanted)
    base = capital_of(plan.coordinator, names) if plan.timeframes else np.ones(1)
    coordinator = Coordinator(plan.coordinator, names, base, clock.sleeve_of, clock.symbol_of)
    monitor = Monitor(plan.risk, plan.limits.liquidity_sessions, len(panel.symbols), measures=gate.needs_risk)
    borrowable = np.full(len(panel.symbols), execution.short_allowed)
    if clock.intraday:
        execution = execution.model_copy(update={"delisted_after_bars": NEVER})  # counted in sessions: desk_bars
    return Desk(panel.symbols, clock.columns, gate, coordinator, monitor, execution, plan.account, borrowable)


def desk_bars(plan: Plan, clock: Clock) -> Bars:
    """Return the clock's bars as the desk reads them, with the stock that could be borrowed at each close.

    Of bars shorter than a session ``execution.delisted_after_bars`` counts sessions: a halt of minutes ends nothing.
    """
    panel = clock.panel
    sessions = plan.execution.delisted_after_bars if clock.intraday else None
    available = terms(plan.borrow, panel.times, panel.symbols).available
    return Bars.of(panel, clock.symbol_of, available, delisted_after_sessions=sessions)


def trade(
    plan: Plan,
    wanted: Sequence[Wanted],
    execution: ExecutionSection | None = None,
    *,
    start: int | None = None,
    delay_bars: int = 0,
) -> Trading:
    """Trade what the timeframes want in one account, from row ``start`` of the clock on (default: the first word)."""
    clock = Clock.of(wanted)
    desk = desk_of(plan, clock, execution or plan.execution)
    bars = desk_bars(plan, clock)
    return live_through(desk, clock.panel, bars, clock.plan(delay_bars), clock.start if start is None else start)


def trade_alone(
    world: World,
    signals: Signals,
    targets: Targets,
    execution: ExecutionSection,
    *,
    start: int,
    delay_bars: int = 0,
) -> Simulation:
    """Trade the targets of one world in an account of their own, from row ``start`` on."""
    wanted = Wanted("", world, signals, targets, start)
    return trade(world.plan, [wanted], execution, start=start, delay_bars=delay_bars).simulation


def opening_row(clock: Clock, opened: datetime | None) -> int:
    """Return the row at which an account opens: the first close from ``opened`` on, not before there is a forecast.

    Raises ``InputError`` where no bar is left by then.
    """
    first = clock.start
    if opened is not None:
        first = max(first, int(np.searchsorted(clock.panel.times, instant(opened), side="left")))
    if first >= len(clock.panel):
        since = "the first forecast" if opened is None else f"{str(instant(opened))[:16].replace('T', ' ')} UTC"
        raise InputError(
            f"there is no bar to trade from {since} on: the last one is of {str(clock.panel.times[-1])[:16]}",
            hint="`tradewind sync` brings newer bars; or choose an earlier --from",
        )
    return first


def session_start(trading: Trading, clock: Clock, panel: Panel) -> int:
    """Return the first row of a panel at which the account is open."""
    opened = clock.panel.times[min(trading.start, len(clock.panel) - 1)]
    return min(int(np.searchsorted(panel.times, opened, side="left")), len(panel) - 1)


def by_session(trading: Trading, clock: Clock, panel: Panel) -> Simulation:
    """Return what an account did on the rows and symbols of another panel, whose bars are as long or longer.

    Columns of one symbol are taken together, and every movement is told at the first close of ``panel`` that is not
    before it. Rows before the account's clock began hold the start capital, rows after its end what there was then.
    """
    simulation, fine = trading.simulation, clock.panel
    if panel is fine and clock.columns == panel.symbols:
        return simulation
    seen = panel.times >= fine.times[0]
    rows = np.minimum(np.searchsorted(fine.times, panel.times, side="left"), len(fine) - 1)

    def at(values: FloatArray, before: float) -> FloatArray:
        return np.where(seen.reshape(-1, *[1] * (values.ndim - 1)), values[rows], before)

    place = [panel.symbols.index(fine.symbols[i]) if fine.symbols[i] in panel.symbols else -1 for i in clock.symbol_of]
    shares = np.zeros((len(panel), len(panel.symbols)))
    held = at(simulation.shares, 0.0)
    for column, symbol in enumerate(place):
        if symbol >= 0:
            shares[:, symbol] += held[:, column]
    capital = simulation.start_capital
    later = np.minimum(np.searchsorted(panel.times, fine.times, side="left"), len(panel) - 1).astype(np.float64)
    return replace(
        simulation,
        times=panel.times,
        symbols=tuple(fine.symbols[i] for i in clock.symbol_of),
        equity=at(simulation.equity, capital),
        cash=at(simulation.cash, capital),
        shares=shares,
        long_value=at(simulation.long_value, 0.0),
        short_value=at(simulation.short_value, 0.0),
        records=Records(_told_later(simulation.records.log, later)),
        book=_book_later(simulation, later, len(panel)),
    )


def _told_later(log: FloatArray, later: FloatArray) -> FloatArray:
    """Return the records with the numbers of longer bars in place of the rows they happened in."""
    told = log.copy()
    told[:, k.L_ROW] = later[told[:, k.L_ROW].astype(np.int64)]
    fills, trips = told[:, k.L_TYPE] == k.FILL, told[:, k.L_TYPE] == k.TRADE
    told[fills, k.F_DECIDED] = later[told[fills, k.F_DECIDED].astype(np.int64)]
    told[trips, k.R_IN_ROW] = later[told[trips, k.R_IN_ROW].astype(np.int64)]
    told[trips, k.R_AGE] = told[trips, k.L_ROW] - told[trips, k.R_IN_ROW]
    return told


def _book_later(simulation: Simulation, later: FloatArray, bars: int) -> Book:
    book = simulation.book.copy()
    held = np.flatnonzero(book.state[k.SHARES])
    book.state[k.IN_ROW, held] = later[book.state[k.IN_ROW, held].astype(np.int64)]
    book.state[k.BORN, held] = book.state[k.IN_ROW, held]
    book.scalars[k.ROW] = bars - 1
    return book


def _utc(time: np.datetime64) -> datetime:
    moment: datetime = time.astype("datetime64[us]").item()
    return moment.replace(tzinfo=UTC)

"""Bars of the present: what ingest has stored, as rows of the panel that the corridor grows by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import numpy as np
import polars as pl

from tradewind.clock import Clock
from tradewind.evaluation.data import load
from tradewind.evaluation.prediction_log import as_datetime
from tradewind.evaluation.workspace import Workspace
from tradewind.features.timetable import dates
from tradewind.live.ingest import Ingest
from tradewind.live.ingest_build import live_ingest
from tradewind.live.ingest_store import ClosedBars
from tradewind.live.ingest_supervisor import Alarm, silence
from tradewind.live.settings_ingest import IngestSection
from tradewind.live.tape import BarRow, Closed
from tradewind.market.calendar import instant
from tradewind.market.panel import FloatArray, Panel
from tradewind.market.quality import EXCLUDED
from tradewind.market.store.lake import Lake

CONTEXT_AGE: Final = timedelta(days=5)
"""How long the last close of an index is carried on, as in a panel that is loaded."""

PRICES: Final = ("open", "high", "low", "close", "volume")


def ingest_of(workspace: Workspace, panel: Panel, settings: IngestSection, clock: Clock, alarm: Alarm) -> Ingest:
    """Return what brings the bars of a panel's symbols in, and those of its context as far as the source has them."""
    plan = workspace.plan
    served = set(workspace.source.symbols(panel.timeframe))  # none: it cannot list them, and is simply asked
    context = [s for s in plan.data.context.values() if not served or s in served]
    return live_ingest(
        Lake(workspace.home / "lake" / workspace.lake_name),
        settings,
        source=plan.data.source,
        options=plan.playbook.source_options,
        symbols=(*panel.symbols, *context),
        timeframe=panel.timeframe,
        clock=clock,
        alarm=alarm,
    )


@dataclass(eq=False)
class MarketBars:
    """Turns closes into rows of a panel.

    The first bar of a session is read back from the lake, as a back-test reads it: that is where splits and dividends
    take effect. Every other bar is what has come.

    Parameters
    ----------
    panel
        The bars so far; its symbols, members and context are gone on with.
    """

    workspace: Workspace
    panel: Panel
    ingest: Ingest
    late: Callable[[ClosedBars], None] = lambda _: None
    alarm: Alarm = silence
    _context: dict[str, tuple[float, np.datetime64]] = field(init=False)

    def __post_init__(self) -> None:
        """Stand at the panel's end."""
        self._place = {symbol: column for column, symbol in enumerate(self.panel.symbols)}
        self._names = {symbol: name for name, symbol in self.workspace.plan.data.context.items()}
        self._last = self.panel.times[-1]
        self._member = self.panel.member[-1]
        known = {name: np.flatnonzero(np.isfinite(series)) for name, series in self.panel.context.items()}
        self._context = {
            name: (float(self.panel.context[name][rows[-1]]), self.panel.times[rows[-1]])
            for name, rows in known.items()
            if len(rows)
        }

    async def bars(self) -> AsyncGenerator[tuple[Closed, str], None]:
        """Yield each bar that closes after the panel's end, once it is stored."""
        async with aclosing(self.ingest.closed_bars(as_datetime(self._last))) as closes:
            async for closed in closes:
                if len(closed.earlier):
                    self.late(closed)
                time = instant(closed.time)
                if time <= self._last:
                    continue
                if not self._traded(closed.frame):
                    self._row(closed.frame, time)  # an index alone: its value is carried on, and it is no bar
                    continue
                row = await asyncio.to_thread(self._first, time) if self._begins(time) else None
                yield Closed.alone(row or self._row(closed.frame, time)), closed.correlation
                self._last = time

    def _traded(self, frame: pl.DataFrame) -> bool:
        """Return whether anybody of the panel has a bar."""
        return any(symbol in self._place for symbol in frame["symbol"])

    def _begins(self, time: np.datetime64) -> bool:
        """Return whether a bar is the first of its session."""
        days = dates(np.array([self._last, time]))
        return bool(days[0] != days[1])

    def _first(self, time: np.datetime64) -> BarRow | None:
        """Return the first bar of a session as the lake has it; None where it does not have it."""
        panel = load(self.workspace).panel
        row = int(np.searchsorted(panel.times, time))
        if row >= len(panel) or panel.times[row] != time:
            self.alarm(
                "warning",
                "session_unread",
                f"the first bar of the session, {str(time)[:16]} UTC, could not be read back from the lake: splits and "
                "dividends of this day are not known to the account",
                {"time": str(time)},
            )
            return None
        read = BarRow.of(panel, row)
        told = {symbol: column for column, symbol in enumerate(panel.symbols)}
        columns = np.array([told.get(symbol, -1) for symbol in self.panel.symbols])
        there = columns >= 0  # one that its universe has since lost, or whose bars are all unfit, has no bar

        def laid(values: Any, missing: Any) -> Any:
            return np.where(there, values[columns], missing)

        absent = {"split": 1.0, "dividend": 0.0}
        fields = {name: laid(values, absent.get(name, np.nan)) for name, values in read.fields.items()}
        mask, self._member = laid(read.mask, False).astype(bool), laid(read.member, False).astype(bool)
        return BarRow(time, fields, mask, self._member, read.context)

    def _row(self, frame: pl.DataFrame, time: np.datetime64) -> BarRow:
        width = len(self.panel.symbols)
        fields: dict[str, FloatArray] = {name: np.full(width, np.nan) for name in PRICES}
        mask = np.zeros(width, dtype=np.bool_)
        for bar in frame.iter_rows(named=True):
            if bar["symbol"] in self._place:
                column = self._place[bar["symbol"]]
                mask[column] = _usable(bar)
                for name in PRICES:
                    fields[name][column] = bar[name] if mask[column] and bar[name] is not None else np.nan
            elif bar["symbol"] in self._names and bar["close"] is not None:
                self._context[self._names[bar["symbol"]]] = float(bar["close"]), time
        fields |= {"split": np.ones(width), "dividend": np.zeros(width)}
        return BarRow(time, fields, mask, self._member, self._known_context(time))

    def _known_context(self, time: np.datetime64) -> Mapping[str, float]:
        age = np.timedelta64(CONTEXT_AGE)
        told = {name: value for name, (value, at) in self._context.items() if time - at <= age}
        return {name: told.get(name, np.nan) for name in self.panel.context}


def _usable(bar: Mapping[str, Any]) -> bool:
    close = bar["close"]
    return close is not None and np.isfinite(close) and close > 0 and EXCLUDED not in str(bar["marks"])

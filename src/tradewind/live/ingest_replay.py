"""Closes that are in the lake already, walked through as if they came: nothing is stored again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import polars as pl

from tradewind.errors import DataError
from tradewind.live.ingest import Ticks
from tradewind.live.ingest_store import ClosedBars, closes_of
from tradewind.market.bars import BAR_SCHEMA
from tradewind.market.sources.base import Tick
from tradewind.market.sources.replay import ReplayClock, Speed, known_speed, pause_of
from tradewind.market.store.lake import Lake, Pin


class ReplayIngest:
    """The same face as ``Ingest``, over stored bars.

    Parameters
    ----------
    bars
        Rows of the lake (``BAR_SCHEMA``), one per symbol and close: :func:`stored_bars`.
    clock
        Moved to each close before it is told, and never read from anywhere else.
    speed
        1: as it was; ``max``: as fast as they are taken. It may be changed while it runs; nights are skipped.
    corrections
        Later versions of the same bars, told as ``earlier`` once they were known; empty for a replay of what the lake
        believes now.
    """

    def __init__(
        self,
        bars: pl.DataFrame,
        *,
        symbols: Sequence[str],
        timeframe: str,
        clock: ReplayClock,
        speed: Speed = "max",
        corrections: pl.DataFrame | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._bars, self.symbols, self.timeframe = bars.sort("time", "symbol"), tuple(symbols), timeframe
        self._clock, self._speed, self._sleep = clock, known_speed(speed), sleep
        self._corrections = (corrections if corrections is not None else bars.clear()).sort("known_at", "time")
        self._told, self._faster = 0, asyncio.Event()
        self.ticks = Ticks()
        self.bars_total = bars["time"].n_unique()
        self.bars_done, self.done = 0, False

    @property
    def speed(self) -> Speed:
        """How much faster than it was."""
        return self._speed

    @speed.setter
    def speed(self, speed: Speed) -> None:
        self._speed = known_speed(speed)
        self._faster.set()

    def add(self, name: str, service: object) -> None:
        """Take no service: nothing arrives in a replay."""

    def state(self) -> list[dict[str, Any]]:
        """Return the one service there is."""
        now = self._clock.now().isoformat()
        return [
            {
                "name": "replay",
                "state": "stopped" if self.done else "ok",
                "last_success": now if self.bars_done else None,
                "last_error": None,
                "failures": 0,
                "next_try": None,
                "heartbeat": now,
            }
        ]

    def health(self) -> dict[str, Any]:
        """Return services and freshness: a replay is never stale."""
        fresh = {"seconds": 0.0 if self.bars_done else None, "limit": 0.0, "stale": False}
        return {"services": self.state(), "freshness": fresh, "dropped": self.ticks.dropped, "rows": {}}

    async def closed_bars(self, after: datetime | None = None) -> AsyncIterator[ClosedBars]:
        """Yield each close after an instant, in order; ends after the last."""
        bars = self._bars if after is None else self._bars.filter(pl.col("time") > after)
        self.bars_done, before = self.bars_total - bars["time"].n_unique(), after
        for closed in closes_of(bars, self.timeframe, self.symbols, "replay"):
            await self._wait(before, closed)
            self._clock.reach(closed.time)
            before = closed.time
            if self._speed != "max":
                self.ticks.put(_ticks(closed.frame, "close", closed.time))
            self.bars_done += 1
            yield replace(closed, earlier=self._known_by(closed.time)) if len(self._corrections) else closed
        self.done = True

    async def stop(self) -> None:
        """End; there is nothing to end."""

    async def _wait(self, before: datetime | None, closed: ClosedBars) -> None:
        """Wait as long as the speed says; a new speed counts at once."""
        pause = pause_of(before, closed.time, self._speed)
        if pause <= 0:
            await self._sleep(0)
            return
        self.ticks.put(_ticks(closed.frame, "open", self._clock.now()))
        self._faster.clear()
        waits = [asyncio.ensure_future(self._sleep(pause)), asyncio.ensure_future(self._faster.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _known_by(self, moment: datetime) -> pl.DataFrame:
        """Return the corrections that became known since the last close."""
        start, self._told = self._told, int((self._corrections["known_at"] <= moment).sum())
        return self._corrections.slice(start, self._told - start)


def _ticks(frame: pl.DataFrame, price: str, at: datetime) -> tuple[Tick, ...]:
    sound = frame.select("symbol", price).drop_nulls()
    return tuple(Tick(symbol, at, value) for symbol, value in sound.iter_rows())


def stored_bars(
    lake: Lake,
    symbols: Sequence[str],
    timeframe: str,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    source: str | None = None,
    pin: Pin | None = None,
) -> pl.DataFrame:
    """Return the bars that a replay walks through, as the lake (or a pin of it) knows them.

    Raises ``DataError`` where there are none.
    """
    bars = lake.read_bars(symbols, timeframe, start, end, source=source, pin=pin)
    if bars.is_empty():
        raise DataError(
            f"the lake has no {timeframe} bars of these symbols in this period", hint="run `tradewind sync` first"
        )
    return bars


def as_first_known(
    lake: Lake, symbols: Sequence[str], timeframe: str, *, source: str | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the first version of each bar, and all corrections of them: a replay of what was known when."""
    rows = lake.versions_of_bars(symbols, timeframe, source=source)
    first = rows.filter(pl.col("revision") == 0).select(list(BAR_SCHEMA))
    return first, rows.filter(pl.col("revision") > 0).select(list(BAR_SCHEMA))

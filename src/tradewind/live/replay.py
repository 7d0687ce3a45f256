"""Stored days lived through again on a clock of their own, as fast as one likes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from tradewind.live.ingest_store import correlation_of
from tradewind.live.prepare import Prepared
from tradewind.live.service import LiveRuntime
from tradewind.live.tape import Closed
from tradewind.live.trader import iso
from tradewind.market.panel import Panel
from tradewind.market.sources.replay import ReplayClock, Speed, known_speed, pause_of

LONGEST_WAIT_S: Final = 5.0


class Replay:
    """Yields the bars of a session that are still to be lived through, each when its time has come.

    Parameters
    ----------
    clock
        Moved to each close before the bar is told.
    speed
        1: as it was; ``max``: as fast as bars are taken. Nights are skipped. It may be changed while it runs.
    """

    def __init__(self, runtime: LiveRuntime, prepared: Prepared, clock: ReplayClock, speed: Speed) -> None:
        self._runtime, self._prepared, self._clock = runtime, prepared, clock
        self._speed, self._faster = known_speed(speed), asyncio.Event()
        self.done = False
        runtime.speed = self.change_speed
        runtime.health_of.freshness = self._freshness
        runtime.health_of.services.append(self._services)
        self._tell(prepared.next_row)

    def _freshness(self) -> dict[str, Any]:
        """Say that a replay is never stale."""
        return {"seconds": 0.0, "limit": None, "stale": False}

    def _services(self) -> list[dict[str, Any]]:
        now = self._runtime.wall.now().isoformat()
        said = {"last_success": now, "last_error": None, "failures": 0, "next_try": None, "heartbeat": now}
        return [{"name": "replay", "state": "stopped" if self.done else "ok", **said}]

    def change_speed(self, speed: Speed) -> None:
        """Go on at another speed, at once."""
        self._speed = known_speed(speed)
        self._faster.set()

    async def bars(self) -> AsyncGenerator[tuple[Closed, str], None]:
        """Yield each bar with its name."""
        panel, before = self._prepared.panel, None
        for row in range(self._prepared.next_row, len(panel)):
            close = _moment(panel.times[row])
            await self._wait(panel, row, before, close)
            self._clock.reach(close)
            self._tell(row + 1)
            yield self._prepared.closed(row), correlation_of(panel.timeframe, close)
            before = close
        self.done = True
        self._tell(len(panel))
        self._runtime.publish_status()

    async def _wait(self, panel: Panel, row: int, before: datetime | None, close: datetime) -> None:
        pause = pause_of(before, close, self._speed, LONGEST_WAIT_S)
        if pause <= 0:
            await asyncio.sleep(0)
            return
        self._tick(panel, row, "open")
        self._faster.clear()
        waits = [asyncio.ensure_future(asyncio.sleep(pause)), asyncio.ensure_future(self._faster.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _tick(self, panel: Panel, row: int, field: str) -> None:
        """Tell the price that the bar under way began with: the one price of it whose time is known."""
        for column in np.flatnonzero(panel.mask[row]):
            price = float(panel.fields[field][row, column])
            at = iso(panel.times[row - 1]) if row else iso(panel.times[row])
            self._runtime.tick(panel.symbols[column], at, price)

    def _tell(self, next_row: int) -> None:
        prepared = self._prepared
        times, start = prepared.panel.times, prepared.start
        self._runtime.replaying = {
            "from": iso(times[min(start, len(times) - 1)]),
            "to": iso(times[-1]),
            "speed": self._speed,
            "bars_done": next_row - start,
            "bars_total": len(times) - start,
            "done": self.done,
        }


def result_of(runtime: LiveRuntime) -> dict[str, Any]:
    """Return what a replay came to, with the proof that it is the back-test of the same days."""
    loop, prepared = runtime.loop, runtime.prepared
    assert loop is not None and prepared is not None
    found = runtime.parity()
    latency = runtime.health_of.latency.percentiles("total")
    counts = loop.counts
    session = prepared.session
    return {
        "playbook": runtime.workspace.plan.playbook.name,
        "source": runtime.workspace.plan.data.source,
        "session": session.id,
        "account": session.account,
        "mode": session.mode,
        "from": iso(prepared.panel.times[min(prepared.start, len(prepared.panel) - 1)]),
        "to": iso(prepared.finest.panel.times[-1]),
        "engine": prepared.settings.engine,
        "models": {sleeve.plan.column(name): one.artefact.id for sleeve, name, one in prepared.seated()},
        "timeframes": {one.name: one.panel.timeframe for one in prepared.sleeves if one.name},
        "unavailable": dict(prepared.unavailable),
        "bars": counts.bars,
        "forecasts": counts.forecasts,
        "signals": counts.signals,
        "orders": counts.orders,
        "fills": counts.fills,
        "equity": prepared.trader.equity,
        "ledger_hash": prepared.trader.ledger_hash(),
        "dropped": runtime.bus.dropped,
        "latency_ms": {name: latency[name] for name in ("p50", "p95", "p99")},
        "stages_ms": runtime.health_of.latency.to_dict(),
        "parity": {
            "equal": None if found is None else not found,
            "first_difference": found[0].to_dict() if found else None,
            "bars": loop.recorded,
        },
    }


def _moment(time: np.datetime64) -> datetime:
    return datetime.fromtimestamp(float(time.astype("datetime64[us]").astype(np.int64)) / 1e6, tz=UTC)

"""A running corridor as everybody sees it: it takes bars as they close, answers questions and carries out commands.

One process, one event loop. The corridor itself lives in one thread of its own, so that a page that asks much never
keeps it from the next bar; retraining has another.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import numpy as np

from tradewind.clock import Clock
from tradewind.decisions.signals import Signals
from tradewind.errors import DataError, InputError, RetryError, SafetyStop, did_you_mean
from tradewind.evaluation.challenge import FIRST, KEPT, PROMOTED
from tradewind.evaluation.corridor import Progress, World, silent
from tradewind.evaluation.live_skill import seat_report
from tradewind.evaluation.model_registry import seats_of
from tradewind.evaluation.prediction_log import as_datetime
from tradewind.evaluation.retraining import retrain
from tradewind.evaluation.workspace import Workspace
from tradewind.execution.controls import Controls, Level
from tradewind.execution.manual import ManualOrder, Side
from tradewind.live import payloads
from tradewind.live.bus import Bus
from tradewind.live.corridor import LiveStep
from tradewind.live.destinations import destinations, send_test
from tradewind.live.health import Health
from tradewind.live.ingest import Ticks
from tradewind.live.logs import correlation, logger
from tradewind.live.loop import Loop, Shown
from tradewind.live.ordered import bounds, require_within
from tradewind.live.parity import Difference, Reference, backtest_of, differences, ledger_difference
from tradewind.live.prepare import Prepared, prepare, with_clock
from tradewind.live.runtime import Mode
from tradewind.live.schedule import COMPACT, RETRAIN, Schedule, Scheduler
from tradewind.live.settings import LiveSection
from tradewind.live.settings_alerts import AlertsSection
from tradewind.live.settings_drift import DriftSection
from tradewind.live.settings_ingest import IngestSection
from tradewind.live.sleeves import LiveSleeve
from tradewind.live.tape import Closed
from tradewind.live.trader import fill_payload, iso, order_payload
from tradewind.live.watching import DriftWatch
from tradewind.market.news import read_news
from tradewind.market.panel import Panel
from tradewind.market.sources.replay import ReplayClock
from tradewind.market.store.records import Job, ModelDecision

COMMANDS: Final = (
    "halt", "release", "order", "cancel_order", "close_position", "retrain", "promote", "rollback", "test_alert",
    "speed",
)  # fmt: skip
SHOWN_EQUITY: Final = 5_000

LOOK_S: Final = 10.0
"""Seconds between two looks at stores, machine and seats."""

LOOK_SHARE: Final = 20
"""The seats are looked at again after so many times as long as it took: bars must not wait for it."""

Bars = AsyncGenerator[tuple[Closed, str], None]
"""Bars as they close, each with the name that everything that follows from it bears."""


class StoppedError(Exception):
    """Somebody wants the process to end: raised between two steps of what it is at."""


@dataclass
class _Job:
    """A piece of work in the background."""

    id: str
    kind: str
    status: str
    started: datetime
    finished: datetime | None = None
    progress: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "kind": self.kind,
            "status": self.status,
            "started": payloads.stamp(self.started),
            "finished": payloads.stamp(self.finished),
            "progress": self.progress,
            "result": self.result,
            "error": self.error,
        }


@dataclass(eq=False)
class LiveRuntime:
    """A playbook on a clock; see :class:`tradewind.live.runtime.Runtime` for what it shows.

    Parameters
    ----------
    clock
        The session's: a replay's stands at the bar that is being lived through.
    wall
        What time it really is.
    """

    workspace: Workspace
    settings: LiveSection
    mode: Mode
    clock: Clock
    wall: Clock
    alerts_section: AlertsSection = field(default_factory=AlertsSection)
    drift_section: DriftSection = field(default_factory=DriftSection)
    bus: Bus = field(init=False)
    health_of: Health = field(init=False)
    prepared: Prepared | None = None
    loop: Loop | None = None
    heard: Progress = silent
    speed: Callable[[Any], None] | None = None
    replaying: dict[str, Any] | None = None
    news: Callable[..., list[dict[str, Any]]] | None = None

    def __post_init__(self) -> None:
        """Begin to count."""
        self.workspace = with_clock(self.workspace, self.clock)
        self.bus = Bus(self.wall)
        records = self.workspace.records
        lake = self.workspace.home / "lake" / self.workspace.lake_name
        self.health_of = Health(
            self.workspace.home, records, self.alerts_section.health, lake=lake, bus=self.bus, clock=self.wall
        )
        self.started = self.wall.now()
        self.phase: dict[str, Any] | None = {"phase": "start", "done": 0, "total": 1}
        self._log = logger("live")
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="corridor")
        self._background = ThreadPoolExecutor(1, thread_name_prefix="jobs")
        self._jobs: deque[_Job] = deque(maxlen=200)
        self._equity: deque[dict[str, Any]] = deque(maxlen=SHOWN_EQUITY)
        self._running: set[asyncio.Task[Any]] = set()
        self._seats: dict[str, dict[str, Any]] = {}
        self._readings: dict[str, dict[str, Any]] = {}
        self._home: asyncio.AbstractEventLoop | None = None
        if self.workspace.plan.playbook.section("ingest", IngestSection).news_feeds:
            self.news = self._news
        self._seats_due = float("-inf")
        self._ending = False
        self._looking: asyncio.Task[None] | None = None

    # -- life --------------------------------------------------------------------------------------------------

    async def prepare(
        self, *, opened: datetime | None = None, until: datetime | None = None, anew: bool = False
    ) -> Prepared:
        """Make everything ready for the first bar; the page shows how far it is."""
        self._home = asyncio.get_running_loop()
        work = partial(
            prepare, self.workspace, self.settings, self.mode, self.clock, self.wall,
            opened=opened, until=until, anew=anew, progress=self._progress,
        )  # fmt: skip
        self.prepared = await self._in(self._worker, work)
        if isinstance(self.clock, ReplayClock):  # what is asked for from now on comes after the bars that were lived
            self.clock.reach(as_datetime(self.prepared.panel.times[self.prepared.next_row - 1]))
        loop = Loop(self.prepared, self.bus, self.clock, self.health_of.latency)
        if self.drift_section.use:
            loop.watches = await self._in(self._worker, partial(self._watches, loop))
        self._recall_equity()
        if self.mode == "REPLAY" and loop.halted:
            why = "it was halted before this process began"
            self._switch = {"since": payloads.stamp(self.started), "reasons": [why], "by": "a person"}
        self.loop, self.phase = loop, None  # from here on questions and commands are answered
        self.health_of.warming = None
        await self._in(self._worker, self._refresh_seats)
        self._looking = asyncio.create_task(self._look_around())
        self.publish_status()
        gc.collect()
        gc.freeze()  # what is there for good need not be looked through at every collection: a pause of a second
        return self.prepared

    def _watches(self, loop: Loop) -> dict[str, Callable[[LiveStep], None]]:
        self._progress("watch for drift", 0, 1)
        return {
            one.name: DriftWatch(loop, one, self.drift_section, self._read, self._challenge)
            for one in loop.prepared.sleeves
        }

    def _read(self, seat: str, reading: dict[str, Any]) -> None:
        """Hear a drift reading; one that says what the last one said is not told again."""
        before = self._readings.get(seat)
        self._readings[seat] = reading
        if before is None or any(before[name] != reading[name] for name in ("level", "action", "triggers")):
            self.bus.publish("drift", reading["seat"], reading)

    def _challenge(self, wishes: Mapping[str, tuple[str, ...]]) -> bool:
        """Train challengers because readings call for it; a replay is left as it is.

        Return False while another retraining runs: that one began before it could know of this.
        """
        if self.mode == "REPLAY" or not self.settings.retrain or self._home is None:
            return True
        if self._retraining:
            return False
        self._log.info("retrain_for_drift", wishes={seat: list(reasons) for seat, reasons in wishes.items()})
        first, *more = wishes
        by = f"drift of {first}" + (f" and {len(more)} more" if more else "")
        asyncio.run_coroutine_threadsafe(self._retrain(by), self._home)
        return True

    async def run(self, bars: Bars) -> None:
        """Live through bars until there are no more; a bar that fails stops trading and is told, never passed over."""
        async with aclosing(bars):
            async for closed, name in bars:
                await self.take(closed, name)

    async def take(self, closed: Closed, name: str) -> Shown:
        """Live through one bar, and the longer ones that close with it."""
        loop = self._loop
        arrived = time.perf_counter()
        try:
            with correlation(name):
                shown = await self._in(self._worker, partial(loop.take, closed, name, arrived))
        except Exception as error:
            self.health_of.operations.add(False)
            self._log.error("bar_failed", time=str(closed.time), error=str(error))
            with suppress(Exception):  # the same disk may refuse the alert too; the failure itself goes on up
                what = f"the bar of {iso(closed.time)} failed, trading has stopped: {error}"
                await asyncio.to_thread(loop.alert, "critical", "bar_failed", what)
            raise
        self.health_of.operations.add(True)
        self._note_equity()
        self._try_to_publish()
        return shown

    async def _look_around(self) -> None:
        """Look at stores, machine and seats again and again: also where no bar comes any more."""
        while True:
            await asyncio.to_thread(self._refresh)
            await asyncio.sleep(LOOK_S)

    def _refresh(self) -> None:
        try:
            self.health_of.examine()
            self.bus.publish("health", "health", self.health())
            if self.mode != "REPLAY":
                self.health_of.watch(Controls(self.workspace.records, clock=self.wall))
            self._look_at_seats()
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not be the last look
            self._log.warning("look_failed", error=str(error))

    async def close(self) -> None:
        """End what runs in the background."""
        gc.unfreeze()
        self.end()
        looking = () if self._looking is None else (self._looking,)
        for task in (*self._running, *looking):
            task.cancel()
        self._worker.shutdown(wait=True)
        self._background.shutdown(wait=True, cancel_futures=True)

    async def _in(self, pool: ThreadPoolExecutor, work: Callable[[], Any]) -> Any:
        from tradewind.live.logs import carried

        return await asyncio.get_running_loop().run_in_executor(pool, carried(work))

    async def of_the_corridor(self, work: Callable[[], Any]) -> Any:
        """Do something with the corridor's state between two bars."""
        return await self._in(self._worker, work)

    def end(self) -> None:
        """Let preparations and jobs stop at their next step; what they have stored stays."""
        self._ending = True

    def _go_on(self) -> None:
        if self._ending:
            raise StoppedError

    def _progress(self, phase: str, done: int, total: int) -> None:
        self._go_on()
        self.phase = {"phase": phase, "done": done, "total": total}
        self.health_of.warming = phase
        self.heard(phase, done, total)
        self.publish_status()

    @property
    def _loop(self) -> Loop:
        if self.loop is None:
            raise RetryError("the corridor is not ready yet", hint="wait until /readyz answers")
        return self.loop

    @property
    def _ready(self) -> Prepared:
        """What was prepared; ``RetryError`` before that."""
        self._loop  # noqa: B018 - says so where it is not ready
        assert self.prepared is not None
        return self.prepared

    @property
    def _panel(self) -> Panel | None:
        """The finest bars: as of the last decision, while the next bar is worked on."""
        if self.loop is not None and self.loop.shown is not None:
            return self.loop.shown.panel
        return None if self.prepared is None else self.prepared.finest.panel

    def _seen(self) -> list[tuple[LiveSleeve, Panel, LiveStep | None]]:
        """Return every system with the bars that everything shown of it is of, and the step that brought the newest."""
        if self.prepared is None:
            return []
        steps = {} if self.loop is None or self.loop.shown is None else self.loop.shown.steps
        seen = []
        for sleeve in self.prepared.sleeves:
            step = steps.get(sleeve.name)
            seen.append((sleeve, sleeve.panel if step is None else step.world.panel, step))
        return seen

    # -- parity ------------------------------------------------------------------------------------------------

    def parity(self) -> list[Difference] | None:
        """Lay what was lived through beside the back-test of the same days; None where nothing was kept to compare."""
        loop, prepared = self._loop, self.prepared
        if prepared is None or not loop.recorded:
            return None
        finest = loop.recorders[prepared.finest.name]
        times = prepared.finest.panel.times
        last = times[finest.first + len(finest) - 1]
        told = self._backtests(prepared, last)
        found = differences(loop.recorders, told)
        if last == times[-1] and not prepared.session.was_halted:
            wanted = [told[one.name].wanted(one.start) for one in prepared.sleeves]
            ledger = prepared.trader.ledger_hash()
            found += ledger_difference(self.workspace.plan, wanted, ledger, prepared.start)
        return found

    def _backtests(self, prepared: Prepared, last: np.datetime64) -> dict[str, Reference]:
        """Return the back-test of every system up to a close."""

        def known(panel: Panel) -> Panel:
            return panel.head(int(np.searchsorted(panel.times, last, side="right")))

        return {
            one.name: backtest_of(
                one.workspace, known(one.panel), one.corridor.serving, one.loaded.notes, prepared.cache,
                held=prepared.session.held_of(one.plan), market=known(prepared.market),
                ordered=self._loop.ordered_of(one),
            )
            for one in prepared.sleeves
        }  # fmt: skip

    # -- questions ---------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Return what runs, and how far it is."""
        from tradewind import __version__

        plan, panel = self.workspace.plan, self._panel
        now, fresh = self.wall.now(), self.health_of.freshness()
        return {
            "playbook": plan.playbook.name,
            "description": plan.head.description,
            "mode": self.mode,
            "source": plan.data.source,
            "timeframe": plan.data.timeframe if panel is None else panel.timeframe,
            "as_of": None if panel is None or not len(panel) else iso(panel.times[-1]),
            "started": payloads.stamp(self.started),
            "now": payloads.stamp(now),
            "market_open": self._market_open(),
            "halted": self._halted(),
            "progress": self.phase,
            "replay": self.replaying,
            "stale": bool(fresh.get("stale")),
            "fresh_seconds": fresh.get("seconds"),
            "dropped": self.bus.dropped,
            "warnings": list(plan.head.warnings),
            "available": {"news": self.news is not None, "sentiment": False},
            "version": __version__,
            "stopped_seats": [] if self.loop is None else self.loop.holding,
        }

    def _market_open(self) -> bool | None:
        from tradewind.market.calendar import calendar, instant

        panel = self._panel
        now = panel.times[-1] if self.mode == "REPLAY" and panel is not None else instant(self.wall.now())
        return bool(calendar("XNYS").session_of(np.array([now]))[0] >= 0)

    def _halted(self) -> dict[str, Any] | None:
        if self.mode == "REPLAY":
            return self._switch
        state = Controls(self.workspace.records, clock=self.wall).state()
        if not state.halted:
            return None
        return {"since": payloads.stamp(state.since), "reasons": list(state.reasons), "by": state.by}

    _switch: dict[str, Any] | None = None

    def publish_status(self) -> None:
        """Say where things stand."""
        self.bus.publish("status", "status", self.status())

    def _try_to_publish(self) -> None:
        """Say where things stand; a database that is busy just now does not stop the next bar."""
        try:
            self.publish_status()
        except Exception as error:  # noqa: BLE001 - whatever a database may say
            self._log.warning("status_failed", error=str(error))

    def symbols(self) -> list[dict[str, Any]]:
        """Return the watch-list."""
        found = []
        for sleeve, panel, step in self._seen():
            row, before = len(panel) - 1, _session_before(panel)
            signals = None if step is None else step.decision.signals
            for n, symbol in enumerate(panel.symbols):
                told = payloads.watched(panel, row, n, before, signals)
                found.append({**told, "symbol": sleeve.plan.column(symbol)})
        return found

    def bars(self, symbol: str, *, limit: int = 500, until: datetime | None = None) -> list[dict[str, Any]]:
        """Return the newest bars of a symbol, oldest first."""
        _, panel, _, column = self._place(symbol)
        rows = np.flatnonzero(panel.mask[: self._stop(panel, until), column])
        chosen = rows[-min(limit, self.settings.shown_bars) :]
        return [{**payloads.bar(panel, int(row), column), "symbol": symbol} for row in chosen]

    def forecasts(self, symbol: str, *, limit: int = 1, until: datetime | None = None) -> list[dict[str, Any]]:
        """Return the newest forecasts of a symbol, oldest first."""
        sleeve, panel, step, column = self._place(symbol)
        loop = self._loop
        if step is None:
            return []
        made = next(iter(step.calibrated.values())).available[: self._stop(panel, until), column].any(axis=1)
        rows = np.flatnonzero(made)[-min(limit, self.settings.shown_bars) :]
        return [{**loop.forecast_of(sleeve, step, column, int(row)), "symbol": symbol} for row in rows]

    def signals(self, *, symbol: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Return the newest recommendations, the surest first."""
        if symbol is not None:
            _, _, step, column = self._place(symbol)
            if step is None:
                return []
            decision = step.decision
            rows = np.flatnonzero(decision.signals.decided[:, column])[-limit:]
            return [{**payloads.signal(decision, int(at), column), "symbol": symbol} for at in rows[::-1]]
        told = []
        for sleeve, panel, step in self._seen():
            if step is None:
                continue
            for n in np.flatnonzero(panel.mask[step.row]):
                said = payloads.signal(step.decision, step.row, int(n))
                told.append({**said, "symbol": sleeve.plan.column(panel.symbols[n])})
        return sorted(told, key=lambda s: (s["action"] == "HOLD", -(s["confidence"] or 0.0), s["symbol"]))[:limit]

    def _news(self, symbol: str, *, limit: int = 50) -> list[dict[str, Any]]:
        """Return the newest articles that name a symbol; in a replay those that could be read by then."""
        _, panel, _, column = self._place(symbol)
        rows = read_news(self.workspace.lake, [panel.symbols[column]], as_of=self.clock.now(), limit=limit)
        return [
            {
                "time": payloads.stamp(row["time"]),
                "title": row["title"],
                "source": row["source"],
                "url": row["link"] or None,
                "sentiment": None,
            }
            for row in rows.iter_rows(named=True)
        ]

    def account(self) -> dict[str, Any]:
        """Return the paper account."""
        return self._loop.account()

    def equity(self, *, limit: int = SHOWN_EQUITY) -> list[dict[str, Any]]:
        """Return what the account was worth, oldest first."""
        return list(self._equity)[-limit:]

    def positions(self) -> list[dict[str, Any]]:
        """Return what is held."""
        return self._loop.positions()

    def orders(self, *, limit: int = 200) -> list[dict[str, Any]]:
        """Return orders, newest first."""
        return [order_payload(one) for one in self._ready.trader.journal.orders()[::-1][:limit]]

    def manual_orders(self, *, limit: int = 200) -> list[dict[str, Any]]:
        """Return what persons ordered, newest first."""
        return self._loop.manual_orders(self._loop.manual.all(limit=limit))

    def ticket(self, symbol: str) -> dict[str, Any]:
        """Return what may be ordered of a symbol now, and when it would be."""
        world, signals, column = self._orderable(symbol)
        allowed = bounds(world, signals, column)
        return {
            "symbol": symbol,
            "price": allowed.price,
            "equity": self._loop.account()["equity"],
            "shares": sum(held["shares"] for held in self.positions() if held["symbol"] == symbol),
            "weight_max": allowed.weight_max,
            "short_allowed": allowed.short_allowed,
            "fractional_shares": allowed.fractional_shares,
            "stop_distance": allowed.stop_distance,
            "next_close": payloads.next_close(world.panel, self.clock.now()),
            "halted": self._loop.halt_reason() or None,
        }

    def fills(self, *, limit: int = 200) -> list[dict[str, Any]]:
        """Return fills, newest first."""
        journal, sleeves = self._ready.trader.journal, {}
        if self.workspace.plan.timeframes:
            sleeves = {one.request.client_order_id: one.request.sleeve for one in journal.orders()}
        newest = journal.executions()[::-1][:limit]
        return [fill_payload(one, sleeves.get(one.client_order_id, "")) for one in newest]

    def alerts(self, *, limit: int = 200) -> list[dict[str, Any]]:
        """Return alerts, newest first."""
        from tradewind.live.alerting import newest_alerts

        own = [] if self.loop is None else list(self.loop.alerts)[::-1]
        if self.mode == "REPLAY":
            return own[:limit]
        stored = [one.to_dict() for one in newest_alerts(self.workspace.records, limit=limit)]
        return stored[:limit]

    def models(self) -> list[dict[str, Any]]:
        """Return every seat as it was when it was last looked at."""
        return list(self._seats.values())

    def drift(self) -> list[dict[str, Any]]:
        """Return the newest drift reading of each seat."""
        return list(self._readings.values())

    def health(self) -> dict[str, Any]:
        """Return how well everything is."""
        return dict(self.health_of.state())

    def readiness(self) -> tuple[bool, list[str]]:
        """Return whether work may be sent here, and every reason why not."""
        return self.health_of.readiness()

    def jobs(self, *, limit: int = 50) -> list[dict[str, Any]]:
        """Return jobs, newest first: those of this process, and before them those in the records."""
        own = [one.to_dict() for one in reversed(self._jobs)]
        if len(own) >= limit:
            return own[:limit]
        stored = [job for job in self.workspace.records.jobs() if job.kind != "schedule"]  # its book of due times
        return [*own, *map(_stored, stored[: limit - len(own)])]

    def playbooks(self) -> list[dict[str, Any]]:
        """Return the playbooks that are shipped, and the one that runs."""
        from tradewind.evaluation.plan import Plan
        from tradewind.playbook import load, shipped

        running = self.workspace.plan.playbook.name
        found = {}
        for name in shipped():
            head = Plan.of(load(name)).head
            found[name] = {"name": name, "description": head.description, "running": name == running}
        own = {"name": running, "description": self.workspace.plan.head.description, "running": True}
        return [*({running: own} | found).values()]

    def reports(self) -> list[dict[str, Any]]:
        """Return finished runs, newest first."""
        return [
            {
                "id": run.id,
                "verb": run.verb,
                "playbook": run.playbook,
                "started": payloads.stamp(run.started),
                "seconds": run.seconds,
            }
            for run in self.workspace.records.runs()
            if run.result_path
        ]

    def _place(self, symbol: str) -> tuple[LiveSleeve, Panel, LiveStep | None, int]:
        """Return whose symbol it is, that system's bars and newest step, and the symbol's column."""
        seen = self._seen()
        if not seen:
            raise RetryError("the corridor is not ready yet", hint="wait until /readyz answers")
        names: list[str] = []
        for sleeve, panel, step in seen:
            own = [sleeve.plan.column(name) for name in panel.symbols]
            if symbol in own:
                return sleeve, panel, step, own.index(symbol)
            names += own
        raise did_you_mean("symbol", symbol, names)

    def _stop(self, panel: Panel, until: datetime | None) -> int:
        from tradewind.market.calendar import instant

        if until is None:
            return len(panel)
        return int(np.searchsorted(panel.times, instant(until), side="right"))

    def _note_equity(self) -> None:
        told = self._loop.account()
        self._equity.append({name: told[name] for name in ("time", "equity", "drawdown")})

    def _recall_equity(self) -> None:
        """Bring back what the account was worth before this process began."""
        assert self.prepared is not None
        high = 0.0
        for mark in self.prepared.trader.journal.marks():  # all: the high water is of the account's whole life
            equity = mark.equity_cents / 100
            high = max(high, equity)
            told = {
                "time": payloads.stamp(mark.time),
                "equity": equity,
                "drawdown": equity / high - 1 if high else None,
            }
            self._equity.append(told)

    # -- seats -------------------------------------------------------------------------------------------------

    def _look_at_seats(self) -> None:
        """Look at the seats again, unless that took so long that it would keep bars from being lived through."""
        began = time.monotonic()
        if began >= self._seats_due:
            self._refresh_seats()
            self._seats_due = began + LOOK_SHARE * (time.monotonic() - began)

    def _refresh_seats(self) -> None:
        """Look at every seat again, and say what is new."""
        assert self.prepared is not None
        runs = (self.prepared.session.id,)
        for seat in self._of_seats():
            told = seat_report(self.workspace.records, seat, runs=runs, **self._of_the_replay(seat))
            if self._seats.get(seat) != told:
                self._seats[seat] = told
                self.bus.publish("model", told["seat"], told)

    def _of_the_replay(self, seat: str) -> dict[str, Any]:
        """Return who forecasts in a replay and what was decided in it: the records' champions are left alone."""
        if self.mode != "REPLAY" or self.prepared is None or self.loop is None:
            return {}
        return {"champion": self._sitting()[seat], "decided": [one for one in self.loop.decided if one.seat == seat]}

    def _sitting(self) -> dict[str, str]:
        """Return who forecasts now, by seat."""
        assert self.prepared is not None
        return {one.seat: one.artefact.id for _, _, one in self.prepared.seated()}

    def _of_seats(self) -> dict[str, str]:
        """Return the seats of all systems, and whom each is for."""
        plans = [sleeve.plan for sleeve in self._ready.sleeves]
        return {seat: plan.column(model) for plan in plans for seat, model in seats_of(plan).items()}

    # -- commands ----------------------------------------------------------------------------------------------

    async def command(self, name: str, actor: str, **arguments: Any) -> dict[str, Any]:
        """Carry out a command of a person's."""
        act: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
            "halt": self._halt,
            "release": self._release,
            "retrain": self._retrain,
            "promote": self._promote,
            "rollback": self._rollback,
            "test_alert": self._test_alert,
            "speed": self._speed,
            "order": self._order,
            "cancel_order": self._cancel_order,
            "close_position": self._close_position,
        }
        if name not in act:
            raise did_you_mean("command", name, act)
        self._log.info("command", command=name, actor=actor)
        return await act[name](actor, **arguments)

    async def _halt(self, actor: str, *, reason: str) -> dict[str, Any]:
        if not reason.strip():
            raise InputError("a halt needs a reason", hint="say in a few words why")
        if self.mode == "REPLAY":
            await self._in(self._worker, self._loop.halt)
            reasons = [*(self._switch or {"reasons": []})["reasons"], reason]
            since = (self._switch or {}).get("since") or payloads.stamp(self.wall.now())
            self._switch = {"since": since, "reasons": reasons, "by": actor}
        else:
            controls = Controls(self.workspace.records, clock=self.wall)
            await asyncio.to_thread(controls.halt, reason, actor)
        self.publish_status()
        return {"halted": self._halted()}

    async def _release(self, actor: str, *, reason: str) -> dict[str, Any]:
        """Let trading go on, and seats recommend again that drift has stopped."""
        held = self._loop.holding
        if self.mode == "REPLAY":
            if self._switch is None and not held:
                raise InputError("trading is not halted", hint="there is nothing to release")
            await self._in(self._worker, self._loop.release)
            self._switch = None
            for seat in held:
                await self._in(self._worker, partial(self._loop.let_go, seat))
                said = f"{seat}: recommendations go on, released by {actor}: {reason}"
                await asyncio.to_thread(self._loop.alert, "info", "drift_released", said)
        else:
            controls = Controls(self.workspace.records, clock=self.wall)
            await asyncio.to_thread(partial(controls.release, reason, actor, stopped=bool(held)))
            await self._in(self._worker, self._loop.heed_releases)
        self.publish_status()
        return {"halted": self._halted()}

    async def _order(
        self,
        actor: str,
        *,
        id: str,
        symbol: str,
        side: Side,
        weight: float | None = None,
        stop: float | None = None,
        target: float | None = None,
        reason: str,
    ) -> dict[str, Any]:
        """Let an order wait for the next close."""
        world, _, _ = self._orderable(symbol)
        moment = as_datetime(world.panel.times[-1])
        account = self._loop.manual.account
        order = ManualOrder(
            id, account, symbol, side, weight, stop, target, reason.strip(), actor, self.clock.now(), moment
        )
        return {"order": await asyncio.to_thread(self._placed, order)}

    def _placed(self, order: ManualOrder) -> dict[str, Any]:
        loop = self._loop
        known = loop.manual.find(order.id) is not None
        if not known:
            self._require_takes(order)
        standing, replaced = loop.manual.place(order)
        if known:  # nothing has happened that anybody should hear of
            return loop.manual_orders([standing])[0]
        for one in replaced:
            loop.tell_of_an_order(one.id)
        return loop.tell_of_an_order(order.id)

    def _require_takes(self, order: ManualOrder) -> None:
        """Refuse what the account may not get, and what no close is left for."""
        if not order.reason:
            raise InputError("an order needs a reason", hint="say in a few words why")
        world, signals, column = self._orderable(order.symbol)
        require_within(order, bounds(world, signals, column))
        halted = self._loop.halt_reason()
        if halted and order.side != "CLOSE":
            raise SafetyStop(f"trading is halted: {halted}", hint="release it first; what is held may be closed")
        if self.replaying is not None and self.replaying["done"]:
            raise DataError("the replay is over: there is no close left at which an order could be applied")

    def _orderable(self, symbol: str) -> tuple[World, Signals | None, int]:
        """Return the world of the last decision, what was said in it, and where a symbol lies.

        Raises ``DataError`` where several timeframes share the account.
        """
        sleeve, _, step, column = self._place(symbol)
        if sleeve.name:
            raise DataError(
                "several timeframes share this account: nothing is ordered in it by hand yet",
                hint="`tradewind halt` stops it; or run a playbook without [timeframes]",
            )
        if step is None:
            return sleeve.corridor.world, None, column
        return step.world, step.decision.signals, column

    async def _cancel_order(self, actor: str, *, id: str) -> dict[str, Any]:
        return {"order": await asyncio.to_thread(self._cancelled, id, f"cancelled by {actor}")}

    def _cancelled(self, name: str, why: str) -> dict[str, Any]:
        self._loop.manual.cancel(name, why)
        return self._loop.tell_of_an_order(name)

    async def _close_position(self, actor: str, *, id: str, symbol: str, reason: str) -> dict[str, Any]:
        self._orderable(symbol)
        known = await asyncio.to_thread(self._loop.manual.find, id)
        if known is None and not any(held["symbol"] == symbol for held in self.positions()):
            raise InputError(f"nothing is held of {symbol}", hint="DELETE /api/v1/orders/{id} takes back what waits")
        return await self._order(actor, id=id, symbol=symbol, side="CLOSE", reason=reason)

    async def _test_alert(self, actor: str, *, level: Level = "info") -> dict[str, Any]:
        found = destinations(self.alerts_section)
        told = await asyncio.to_thread(send_test, found, level)
        await asyncio.to_thread(self._loop.alert, level, "test", f"a test, asked for by {actor}")
        return {"destinations": told, "level": level}

    async def _speed(self, actor: str, *, speed: Any) -> dict[str, Any]:
        if self.speed is None or self.replaying is None:
            raise InputError("only a replay has a speed", hint="this corridor runs on the market's own time")
        self.speed(speed)
        self.replaying = {**self.replaying, "speed": speed}
        self.publish_status()
        return {"speed": speed}

    @property
    def _retraining(self) -> bool:
        return any(job.kind == "retrain" and job.status == "running" for job in tuple(self._jobs))

    async def _retrain(self, actor: str, *, seat: str | None = None) -> dict[str, Any]:
        if self._retraining:
            raise InputError("a retraining is running already", hint="wait for it: it is among the jobs")
        self._ready  # noqa: B018 - says so where it is not ready
        job = self.start_job("retrain", partial(self._retrained, actor))
        return {"job": job.id}

    def _retrained(self, actor: str, progress: Progress) -> dict[str, Any]:
        """Retrain every system; what one lacks keeps none of the others from it."""
        results, failed = [], {}
        for sleeve in self._ready.sleeves:
            try:
                results.append(self._retrained_one(sleeve.workspace, actor, progress))
            except DataError as error:
                failed[sleeve.plan.lineage] = error
        for lineage, why in failed.items():
            if not results:
                raise why
            self._loop.alert("warning", "retrain_failed", f"{lineage}: {why}")
        return _together(results)

    def _retrained_one(self, workspace: Workspace, actor: str, progress: Progress) -> dict[str, Any]:
        if self.mode == "REPLAY":
            result = retrain(
                workspace, progress, as_of=self.clock.now(), by=actor, dry_run=True, sitting=self._sitting()
            )
            return {**result, "champion": {**result["champion"], **self._seated(result["seats"], actor)}}
        return retrain(workspace, progress, as_of=self.clock.now(), by=actor)  # who is promoted sits at the next bar

    def _seated(self, seats: Mapping[str, Mapping[str, Any]], actor: str) -> dict[str, str]:
        """Note what a replay's retraining decided, and let winners forecast in this session alone."""
        winners = {}
        for seat, told in seats.items():
            decision = ModelDecision(
                seat=seat,
                at=self.clock.now(),
                decision=told["decision"],
                champion=told["champion_before"],
                challenger=told["artefact"],
                reasons=told["reasons"],
                evidence=told["evidence"],
                by=actor,
            )
            self._loop.decide(decision)
            if told["decision"] != KEPT:
                winners[seat] = str(told["artefact"])
                self._loop.seat(seat, winners[seat])
        return winners

    async def _promote(self, actor: str, *, seat: str, model: str, reason: str) -> dict[str, Any]:
        registry = self._ready.registry
        self._refuse_in_a_replay("promote")
        place = self._seat(seat)
        promote = partial(registry.promote, model, place, reason=reason, by=actor)
        state = await asyncio.to_thread(promote)
        await asyncio.to_thread(self._refresh_seats)
        return dict(state)

    async def _rollback(self, actor: str, *, seat: str, reason: str) -> dict[str, Any]:
        registry = self._ready.registry
        self._refuse_in_a_replay("rollback")
        back = partial(registry.rollback, self._seat(seat), reason=reason, by=actor)
        state = await asyncio.to_thread(back)
        await asyncio.to_thread(self._refresh_seats)
        return dict(state)

    def _refuse_in_a_replay(self, what: str) -> None:
        if self.mode == "REPLAY":
            raise InputError(
                "a replay moves no champion: those of the records forecast for paper trading too",
                hint=f"`tradewind models {what}` does it, and the next replay begins with it",
            )

    def _seat(self, name: str) -> str:
        """Return a seat by its own name or by its member's."""
        seats = self._of_seats()
        by_member = {member: seat for seat, member in seats.items()}
        if name not in seats and name not in by_member:
            raise did_you_mean("seat", name, [*seats, *by_member])
        return name if name in seats else by_member[name]

    # -- jobs --------------------------------------------------------------------------------------------------

    def start_job(self, kind: str, work: Callable[[Progress], dict[str, Any]]) -> _Job:
        """Do something in the background, one thing at a time, and say how far it is."""
        started = self.wall.now()
        job = _Job(f"{kind}-{started.astimezone(UTC):%Y%m%dT%H%M%S%f}", kind, "running", started)
        self._jobs.append(job)

        def progress(phase: str, done: int, total: int) -> None:
            self._go_on()
            job.progress = {"phase": phase, "done": done, "total": total}
            self.bus.publish("job", job.id, job.to_dict())

        async def run() -> None:
            try:
                job.result = _short(await self._in(self._background, partial(work, progress)))
                job.status = "done"
            except StoppedError:
                job.status, job.error = "failed", "the process was stopped; the next one of its kind goes on"
            except Exception as error:  # noqa: BLE001 - a job that fails must say so, whatever it failed by
                job.status, job.error = "failed", str(error)
                self._log.error("job_failed", job=job.id, error=str(error), exc_info=True)
                await asyncio.to_thread(self._loop.alert, "warning", "job_failed", f"{kind} failed: {error}")
            job.finished, job.progress = self.wall.now(), None
            self.bus.publish("job", job.id, job.to_dict())
            await asyncio.to_thread(self._refresh_seats)

        task = asyncio.get_running_loop().create_task(run())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        self.bus.publish("job", job.id, job.to_dict())
        return job

    def scheduler(self) -> Scheduler:
        """Return what keeps the playbook's schedule: retraining, and the lake's nightly compaction."""
        settings = self.workspace.plan.schedule
        actions: dict[str, Any] = {COMPACT: lambda _: self.workspace.lake.compact()}
        if self.settings.retrain and settings.retrain != "never":
            actions[RETRAIN] = self._retrain_on_schedule
        name = self.workspace.plan.playbook.name
        return Scheduler(Schedule(settings), self.clock, self.workspace.records, self.workspace.home, name, actions)

    async def _retrain_on_schedule(self, _at: datetime) -> None:
        started = await self._retrain("schedule")
        await self.jobs_done()
        job = next(job for job in self._jobs if job.id == started["job"])
        if job.status != "done":  # the schedule tries again
            raise RetryError(f"the retraining {job.id} {job.status}: {job.error}")

    async def pass_on(self, ticks: Ticks) -> None:
        """Say every price between two closes, until cancelled."""
        async for heard in ticks:
            for tick in heard:
                self.tick(tick.symbol, payloads.stamp(tick.time), tick.price)

    def tick(self, symbol: str, time: str | None, price: float) -> None:
        """Say a price between two closes to whoever looks at the symbol, in whatever timeframe."""
        for sleeve in self._ready.sleeves:
            name = sleeve.plan.column(symbol)
            self.bus.publish("tick", name, {"symbol": name, "time": time, "price": price})

    async def jobs_done(self) -> None:
        """Wait until nothing runs in the background any more."""
        while self._running:
            await asyncio.gather(*self._running, return_exceptions=True)


def _session_before(panel: Panel) -> Any:
    """Return the closes of the session before the newest bar's, ``(N,)``."""
    from tradewind.features.timetable import dates

    days = dates(panel.times[-1_000:])
    earlier = np.flatnonzero(days < days[-1])
    if not len(earlier):
        return np.full(panel.shape[1], np.nan)
    row = len(panel) - len(days) + int(earlier[-1])
    return np.where(panel.mask[row], panel.close[row], np.nan)


def _stored(job: Job) -> dict[str, Any]:
    return {
        "id": f"{job.kind}-{job.id}",
        "kind": job.kind,
        "status": job.status,
        "started": payloads.stamp(job.started),
        "finished": payloads.stamp(job.finished),
        "progress": None,
        "result": None,
        "error": None,
    }


def _together(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the retrainings of several systems as one: what was decided of any of them, and of each seat."""
    decided = {result["decision"] for result in results}
    return {
        "decision": next((one for one in (PROMOTED, FIRST) if one in decided), KEPT),
        "champion": {seat: one for result in results for seat, one in result["champion"].items()},
        "evidence": {seat: one for result in results for seat, one in result["evidence"].items()},
        "seconds": sum(result["seconds"] for result in results),
    }


def _short(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a result is worth showing beside a job."""
    kept = ("decision", "champion", "evidence", "seconds")
    return {name: result[name] for name in kept if name in result} or dict(result)

"""A playbook started, shown and stopped: what `tradewind live` and `tradewind parity` do."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tradewind.clock import SystemClock
from tradewind.errors import InputError, RetryError
from tradewind.evaluation.corridor import Progress, silent
from tradewind.evaluation.sleeves import loaded_systems
from tradewind.evaluation.workspace import Workspace
from tradewind.execution.controls import Controls
from tradewind.live.alerting import Dispatcher
from tradewind.live.destinations import destinations
from tradewind.live.logs import configure_logs
from tradewind.live.market import MarketBars, ingest_of
from tradewind.live.prepare import Prepared, train_systems
from tradewind.live.replay import Replay, result_of
from tradewind.live.service import LiveRuntime, StoppedError
from tradewind.live.settings import LiveSection
from tradewind.live.settings_alerts import AlertsSection
from tradewind.live.settings_drift import DriftSection
from tradewind.live.settings_ingest import IngestSection
from tradewind.live.sleeves import systems
from tradewind.market.sources.replay import ReplayClock, Speed
from tradewind.market.store.database import copy_sqlite
from tradewind.market.store.lock import writer_lock
from tradewind.market.store.records import Records
from tradewind.server.serve import Serving, serve
from tradewind.server.settings import ServerSettings


@dataclass(frozen=True)
class Run:
    """How a playbook is to run.

    Attributes
    ----------
    replay
        Live through stored days again, between ``opened`` and ``until``, at a ``speed``.
    until_done
        End with the last bar; else stay, so that the page can be looked at.
    page
        Serve page and API, on ``port`` where one is named.
    anew
        Begin a replay of its own, even where one of the same days was not brought to its end.
    """

    replay: bool = False
    opened: datetime | None = None
    until: datetime | None = None
    speed: Speed = 60.0
    until_done: bool = False
    page: bool = True
    port: int | None = None
    anew: bool = False


def run(
    workspace: Workspace,
    wanted: Run,
    *,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Run a playbook on a clock until it is done or stopped, and return what it came to."""
    logs = configure_logs("warning", "auto")
    try:
        return asyncio.run((_replayed if wanted.replay else _on_the_market)(workspace, wanted, progress, say))
    finally:
        logs.close()


async def _replayed(
    workspace: Workspace, wanted: Run, progress: Progress, say: Callable[[str], None]
) -> dict[str, Any]:
    clock = ReplayClock(datetime(1970, 1, 1, tzinfo=UTC))
    runtime = made(workspace, "REPLAY", clock)
    runtime.heard = progress
    with stopping() as stop:
        serving = await served(runtime, wanted, say)
        try:
            preparing = runtime.prepare(opened=wanted.opened, until=wanted.until, anew=wanted.anew)
            prepared = await unless(stop, runtime, preparing)
            if prepared.next_row > prepared.start:
                lived = prepared.next_row - prepared.start
                say(f"goes on with the replay that was interrupted after {lived:,} bars (--anew begins again)")
            replay = Replay(runtime, prepared, clock, wanted.speed)
            living = asyncio.create_task(runtime.run(replay.bars()))
            await first_of(living, stop)
            if not wanted.until_done and not stop.is_set():
                say("the replay is over; the page stays until you stop it (Ctrl-C)")
                await stop.wait()
            if not stop.is_set():
                await runtime.jobs_done()
            result = await runtime.of_the_corridor(partial(result_of, runtime))
            if replay.done:
                prepared.workspace.records.stop_live_session(prepared.session.id, at=SystemClock().now())
            return result
        finally:
            await runtime.close()
            if serving is not None:
                await serving.stop()


async def _on_the_market(
    workspace: Workspace, wanted: Run, progress: Progress, say: Callable[[str], None]
) -> dict[str, Any]:
    """Trade on paper on bars as they close, until asked to stop."""
    clock = SystemClock()
    runtime = made(workspace, "PAPER", clock)
    runtime.heard = progress
    playbook = workspace.plan.playbook
    controls = Controls(workspace.records, clock=clock)
    alerts = Dispatcher(
        workspace.records,
        destinations(runtime.alerts_section),
        runtime.alerts_section,
        bus=runtime.bus,
        signature=f"{playbook.name} (paper)",
        locks=workspace.home,
    )
    with alone(workspace), stopping() as stop, alerts:
        runtime.health_of.services.append(alerts.services)
        serving = await served(runtime, wanted, say)
        try:
            prepared = await unless(stop, runtime, runtime.prepare())
            panel = prepared.finest.panel

            def alarm(level: Any, kind: str, what: str, detail: Mapping[str, Any]) -> None:
                controls.append_alert(level, kind, what, detail)
                alerts.wake()

            section = playbook.section("ingest", IngestSection)
            ingest = ingest_of(prepared.workspace, panel, section, clock, alarm)
            runtime.health_of.services.append(ingest.state)
            runtime.health_of.freshness = lambda: ingest.health()["freshness"]
            market = MarketBars(prepared.workspace, panel, ingest, alarm=alarm)
            schedule = runtime.scheduler()
            schedule.open()
            schedule.start()
            watching = asyncio.create_task(runtime.pass_on(ingest.ticks))
            try:
                await first_of(asyncio.create_task(runtime.run(market.bars())), stop)
            finally:
                watching.cancel()
                runtime.end()
                await schedule.close()
            return await runtime.of_the_corridor(partial(result_of, runtime))
        finally:
            await runtime.close()
            if serving is not None:
                await serving.stop()


@contextmanager
def alone(workspace: Workspace) -> Iterator[None]:
    """Hold the one place of a playbook's paper trading in a home; whoever dies leaves it."""
    workspace.home.mkdir(parents=True, exist_ok=True)
    name = workspace.plan.playbook.name
    try:
        with writer_lock(workspace.home / f"live-{name}.lock", patience_seconds=0.0):
            yield
    except RetryError as error:
        raise RetryError(
            f"{name} is running already in {workspace.home}: {error.what}",
            hint="look at its page, or stop it first; a replay may run beside it",
        ) from None


def made(workspace: Workspace, mode: Any, clock: Any) -> LiveRuntime:
    """Return a runtime with the playbook's own sections."""
    playbook = workspace.plan.playbook
    live = playbook.section("live", LiveSection)
    alerts = playbook.section("alerts", AlertsSection)
    drift = playbook.section("drift", DriftSection)
    return LiveRuntime(workspace, live, mode, clock, SystemClock(), alerts, drift)


async def served(runtime: LiveRuntime, wanted: Run, say: Callable[[str], None]) -> Serving | None:
    """Serve page and API, where they are wanted, from before anything is ready."""
    if not wanted.page:
        return None
    settings = runtime.workspace.plan.playbook.section("server", ServerSettings)
    if wanted.port is not None:
        settings = settings.model_copy(update={"port": wanted.port})
    serving = await serve(runtime, settings)
    say(f"{runtime.workspace.plan.playbook.name} on {serving.url}  (Ctrl-C stops it)")
    return serving


async def first_of(living: asyncio.Task[Any], stop: asyncio.Event) -> None:
    """Wait for what lives, or for the wish that it ends; the bar under way is finished first."""
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([living, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not living.done():
        living.cancel()
        with suppress(asyncio.CancelledError):
            await living
        return
    living.result()


async def unless(stop: asyncio.Event, runtime: LiveRuntime, work: Coroutine[Any, Any, Prepared]) -> Prepared:
    """Wait until everything is ready, or for the wish that it ends: then at the next step of what it is at.

    Raises ``RetryError`` where it was stopped before; what was trained by then is stored.
    """
    preparing, stopped = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait([preparing, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not preparing.done():
        runtime.end()
    try:
        return await preparing
    except StoppedError:
        raise RetryError("stopped before the first bar", hint="the next start goes on with what is stored") from None


@contextmanager
def stopping() -> Iterator[asyncio.Event]:
    """Set an event where the process is asked to end, instead of ending in the middle of a bar."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    signals: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
    try:
        for one in signals:
            loop.add_signal_handler(one, stop.set)
    except (NotImplementedError, RuntimeError):  # not the main thread
        signals = ()
    try:
        yield stop
    finally:
        for one in signals:
            loop.remove_signal_handler(one)


def prove(
    workspace: Workspace,
    *,
    opened: datetime | None = None,
    until: datetime | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Replay stored days without page or schedule and lay them beside their back-test; nothing of it is kept.

    Raises ``InputError`` where not a single bar could be compared.
    """
    places = systems(workspace)
    train_systems(places, loaded_systems(places, progress)[0], progress)
    wanted = Run(True, opened, until, "max", until_done=True, page=False, anew=True)
    with tempfile.TemporaryDirectory(prefix="tradewind-parity-") as folder:
        result = run(_beside(workspace, Path(folder)), wanted, progress=progress)
    parity: Mapping[str, Any] = result["parity"]
    if parity["equal"] is None:
        raise InputError("no bar could be compared", hint="set live.parity_bars above 0, or ask for other days")
    kept = (
        "playbook", "source", "from", "to", "engine", "models", "timeframes", "unavailable", "bars", "forecasts",
        "signals", "orders", "fills", "equity", "ledger_hash",
    )  # fmt: skip
    return {
        "equal": parity["equal"],
        "first_difference": parity["first_difference"],
        **{name: result[name] for name in kept},
    }


def _beside(workspace: Workspace, folder: Path) -> Workspace:
    """Return the workspace with a copy of its records: a proof leaves no session and no account behind."""
    made = replace(workspace)
    made.__dict__.update({name: workspace.__dict__[name] for name in ("lake", "source") if name in workspace.__dict__})
    database = workspace.records.database
    if not database.is_sqlite:  # a server keeps what is written; its sessions say that they were replays
        made.__dict__["records"] = workspace.records
        return made
    path = folder / "records.sqlite"
    copy_sqlite(Path(str(database.place)), path)
    made.__dict__["records"] = Records(f"sqlite:///{path}")
    return made

"""A small corridor for the server's tests: real records, a real bus, content that is the same every time."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tradewind import __version__
from tradewind.clock import FixedClock
from tradewind.errors import InputError, did_you_mean
from tradewind.execution.controls import Controls
from tradewind.live.bus import Bus
from tradewind.live.runtime import Mode, Payload
from tradewind.market.store import schema
from tradewind.market.store.records import Records, Run, SignalRecord
from tradewind.server.serve import Serving, serve
from tradewind.server.settings import ServerSettings

NOON = datetime(2026, 11, 30, 17, 0, tzinfo=UTC)
SYMBOLS = ("AAPL", "BRK.B", "MSFT")
SEATS = ("lstm", "transformer")
BARS = 600
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
READ, TRADE, ADMIN = "read-" + "r" * 24, "trade-" + "t" * 24, "admin-" + "a" * 24
ENVIRON = {"TRADEWIND_READ_TOKEN": READ, "TRADEWIND_TRADE_TOKEN": TRADE, "TRADEWIND_ADMIN_TOKEN": ADMIN}


def said(time: datetime) -> str:
    return time.isoformat()


def close_of(symbol: str, bar: int) -> float:
    return round(100 + 10 * SYMBOLS.index(symbol) + 5 * math.sin(bar / 20 + SYMBOLS.index(symbol)), 2)


def bar_time(bar: int) -> datetime:
    return NOON - timedelta(minutes=5 * (BARS - 1 - bar))


def bar_of(symbol: str, bar: int) -> dict[str, Any]:
    close = close_of(symbol, bar)
    opened = close_of(symbol, bar - 1)
    high, low = max(opened, close) + 0.1, min(opened, close) - 0.1
    return {
        "symbol": symbol, "time": said(bar_time(bar)), "open": opened, "high": round(high, 2), "low": round(low, 2),
        "close": close, "volume": 1000.0 + bar if bar % 50 else None,
    }  # fmt: skip


def forecast_of(symbol: str, bar: int) -> dict[str, Any]:
    close = close_of(symbol, bar)
    prices = [round(close * (1 + 0.02 * (level - 0.5)), 4) for level in LEVELS]
    fan = {"time": said(bar_time(bar) + timedelta(minutes=25)), "levels": list(LEVELS), "prices": prices}
    one = {"model_id": "m1", "version": "1", "calibrated": True, "horizons": {"5": fan}, "p_up": 0.53}
    return {
        "symbol": symbol, "time": said(bar_time(bar)), "close": close,
        "models": {seat: {**one, "model_id": f"{seat}-1"} for seat in SEATS},
        "combined": None if bar % 2 else {**one, "model_id": None, "version": None},
    }  # fmt: skip


def signal_of(symbol: str, bar: int) -> dict[str, Any]:
    close = close_of(symbol, bar)
    return {
        "symbol": symbol, "as_of": said(bar_time(bar)), "action": ("BUY", "HOLD", "SELL")[SYMBOLS.index(symbol)],
        "confidence": None if symbol == "BRK.B" else 0.61, "event": "target before stop", "horizon_bars": 5,
        "style": "day trade", "entry": close, "entry_note": "reference close", "target": close * 1.02,
        "target_note": "2 sigma", "stop": close * 0.99, "stop_note": None, "weight": 0.05, "shares": 12.0,
        "bound_by": "position_cap", "sector": "Technology", "tier": "high",
        "intervals": {"5": {"median": close, "50": [close - 1, close + 1], "90": [close - 3, None]}},
        "reasons": ["=both models agree", "P(up) = 61 %"],
        "agreement": {seat: {"action": "BUY", "probability": 0.6} for seat in SEATS},
    }  # fmt: skip


class Desk:
    """A corridor at noon: 600 bars of three symbols, two seats, some orders; it can go on by a bar."""

    mode: Mode = "PAPER"

    def __init__(self, folder: Path) -> None:
        self.clock = FixedClock(NOON)
        self.bus = Bus(self.clock)
        self.records = Records(f"sqlite:///{folder / 'records.db'}")
        self.controls = Controls(self.records, clock=self.clock)
        self.commands: list[tuple[str, str, dict[str, Any]]] = []
        self.bar = BARS - 1
        self.stale = False
        self.fail: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self._fill_records()

    def close(self) -> None:
        self.records.close()

    def _fill_records(self) -> None:
        signals = [
            SignalRecord(
                "live", symbol, bar_time(bar), signal_of(symbol, bar)["action"], 5, detail=signal_of(symbol, bar)
            )
            for bar in (BARS - 3, BARS - 2, BARS - 1)
            for symbol in SYMBOLS
        ]
        self.records.record_signals(signals)
        self.records.record_run(
            Run("run-1", "backtest", "sample", "sample", "h", "d", "c", NOON, status="done", seconds=12.5)
        )
        job = self.records.resume_job("retrain", "lstm", started=NOON, detail={"why": "schedule"})
        self.records.finish_job(job, at=NOON + timedelta(minutes=2))
        self.controls.append_alert(
            "warning", "stop", '=HYPERLINK("http://x") stop of AAPL hit', {"price": float("nan")}
        )
        with self.records.database.writing() as connection:
            for number in range(3):
                connection.execute(sa.insert(schema.orders).values(_order_row(number)))
            connection.execute(sa.insert(schema.executions).values(_fill_row()))

    def publish_bar(self, bar: int | None = None) -> None:
        """Say all that a closed bar brings: 10 events."""
        self.bar = self.bar + 1 if bar is None else bar
        correlation = f"bar:{said(bar_time(self.bar))}"
        for symbol in SYMBOLS:
            self.bus.publish("bar", symbol, bar_of(symbol, self.bar), correlation=correlation)
            self.bus.publish("forecast", symbol, forecast_of(symbol, self.bar), correlation=correlation)
            self.bus.publish("signal", symbol, signal_of(symbol, self.bar), correlation=correlation)
        self.bus.publish("account", "account", self.account(), correlation=correlation)

    def _reach(self) -> None:
        """Behave as a runtime whose records answer late, or fail."""
        self.gate.wait(10)
        if self.fail is not None:
            raise self.fail

    def _known(self, symbol: str) -> None:
        if symbol not in SYMBOLS:
            raise did_you_mean("symbol", symbol, SYMBOLS)

    def status(self) -> Payload:
        halt = self.controls.state()
        halted = {"since": said(halt.since), "reasons": list(halt.reasons), "by": halt.by} if halt.since else None
        return {
            "playbook": "dual-model", "description": "two models that must agree", "mode": self.mode,
            "source": "synthetic", "timeframe": "5m", "as_of": said(bar_time(self.bar)) if self.bar >= 0 else None,
            "started": said(NOON), "now": said(self.clock.now()), "market_open": True, "halted": halted,
            "progress": None, "replay": None, "stale": self.stale, "fresh_seconds": 12.0, "dropped": self.bus.dropped,
            "warnings": ["not financial advice"], "version": __version__, "available": {"news": True},
        }  # fmt: skip

    def symbols(self) -> Sequence[Payload]:
        self._reach()
        return [
            {
                "symbol": symbol, "sector": "Technology", "tier": "high", "price": close_of(symbol, self.bar),
                "change": float("nan") if symbol == "BRK.B" else 0.01, "action": None, "confidence": None,
                "time": said(bar_time(self.bar)),
            }
            for symbol in SYMBOLS
        ]  # fmt: skip

    def bars(self, symbol: str, *, limit: int = 500, until: datetime | None = None) -> Sequence[Payload]:
        self._known(symbol)
        bars = [bar for bar in range(self.bar + 1) if until is None or bar_time(bar) <= until]
        return [bar_of(symbol, bar) for bar in bars[-limit:]]

    def forecasts(self, symbol: str, *, limit: int = 1, until: datetime | None = None) -> Sequence[Payload]:
        self._known(symbol)
        bars = [bar for bar in range(self.bar + 1) if until is None or bar_time(bar) <= until]
        return [forecast_of(symbol, bar) for bar in bars[-limit:]]

    def news(self, symbol: str, *, limit: int = 50) -> Sequence[Payload]:
        self._known(symbol)
        story = {"time": said(NOON), "title": f"{symbol} reports", "source": "wire", "url": None, "sentiment": 61.5}
        return [story][:limit]

    def signals(self, *, symbol: str | None = None, limit: int = 100) -> Sequence[Payload]:
        if symbol is not None:
            self._known(symbol)
        stored = [record.detail for record in self.records.signals("live")]
        newest = {record["symbol"]: record for record in stored}
        chosen = [r for r in reversed(stored) if r["symbol"] == symbol] if symbol else list(newest.values())
        return sorted(chosen, key=lambda r: -(r["confidence"] or 0))[:limit]

    def account(self) -> Payload:
        return {
            "account": "paper", "mode": "PAPER", "time": said(bar_time(self.bar)), "equity": 101_234.5,
            "cash": 90_000.25, "profit": 1_234.5, "profit_today": -12.25, "start_capital": 100_000.0, "gross": 0.11,
            "net": 0.11, "drawdown": -0.01, "high_water": 102_000.0, "positions": 1, "open_orders": 2,
            "halted": None, "limits": {"position_cap": 3},
        }  # fmt: skip

    def equity(self, *, limit: int = 5000) -> Sequence[Payload]:
        points = [
            {"time": said(bar_time(bar)), "equity": 100_000.0 + bar, "drawdown": 0.0} for bar in range(self.bar + 1)
        ]
        return points[-limit:]

    def positions(self) -> Sequence[Payload]:
        return [
            {
                "symbol": "AAPL", "timeframe": None, "shares": -12.0, "price": 101.5, "value": -1218.0,
                "entry_price": 100.0, "profit": -18.0, "profit_pct": -1.5, "stop": None, "opened": said(NOON),
                "weight": -0.012,
            }
        ]  # fmt: skip

    def orders(self, *, limit: int = 200) -> Sequence[Payload]:
        self._reach()
        with self.records.database.reading() as connection:
            query = sa.select(schema.orders).order_by(schema.orders.c.id.desc()).limit(limit)
            rows = connection.execute(query).mappings().all()
        return [
            {
                "id": row["client_order_id"], "symbol": row["symbol"], "timeframe": None, "side": row["side"],
                "quantity": row["quantity"], "kind": row["kind"], "time_in_force": row["time_in_force"],
                "status": "filled" if row["finished"] else "accepted", "filled": 0.0, "reason": None,
                "decided_at": said(row["decided_at"]), "reduce_only": row["reduce_only"],
            }
            for row in rows
        ]  # fmt: skip

    def manual_orders(self, *, limit: int = 200) -> Sequence[Payload]:
        return [manual_order("one", "waiting"), manual_order("two", "refused")][:limit]

    def ticket(self, symbol: str) -> Payload:
        self._known(symbol)
        return {
            "symbol": symbol, "price": close_of(symbol, self.bar), "equity": 101_234.5, "shares": 0.0,
            "weight_max": 0.1, "short_allowed": False, "fractional_shares": False, "stop_distance": 0.02,
            "next_close": said(NOON + timedelta(minutes=5)), "halted": None,
        }  # fmt: skip

    def fills(self, *, limit: int = 200) -> Sequence[Payload]:
        with self.records.database.reading() as connection:
            query = sa.select(schema.executions).order_by(schema.executions.c.id.desc()).limit(limit)
            rows = connection.execute(query).mappings().all()
        return [
            {
                "id": row["execution_id"], "order_id": row["client_order_id"], "symbol": row["symbol"],
                "quantity": row["quantity"], "price": row["price"], "fee": row["fee"], "time": said(row["time"]),
            }
            for row in rows
        ]  # fmt: skip

    def alerts(self, *, limit: int = 200) -> Sequence[Payload]:
        alerts = self.controls.alerts(limit=limit)
        return [
            {
                "id": f"{said(alert.at)}-{number}", "at": said(alert.at), "level": alert.level, "kind": alert.kind,
                "what": alert.what, "detail": dict(alert.detail),
            }
            for number, alert in enumerate(alerts)
        ]  # fmt: skip

    def models(self) -> Sequence[Payload]:
        champion = {"id": "m1", "version": "1", "trained_until": said(NOON), "made": said(NOON)}
        live = {
            "forecasts": 40, "resolved": 30, "coverage_80": 0.79,
            "coverage_rolling": [{"time": said(NOON), "value": None}], "pinball_skill": 0.03, "brier": 0.24,
            "hit_rate": 0.52, "by_regime": {"calm": {"coverage_80": 0.8}},
        }  # fmt: skip
        decision = {
            "at": said(NOON), "decision": "kept", "champion": "m1", "challenger": "m2",
            "reasons": ["no better on the newest week"], "evidence": {"dm_p": 0.4},
        }  # fmt: skip
        return [
            {
                "seat": seat, "model": seat, "champion": champion, "challenger": None, "champions_before": ["m0"],
                "live": live, "reliability": [{"probability": 0.55, "happened": 0.53, "n": 20}],
                "decisions": [decision],
            }
            for seat in SEATS
        ]  # fmt: skip

    def drift(self) -> Sequence[Payload]:
        feature = {
            "name": "rsi_14", "psi": 0.02, "js": 0.01, "ks_p": 0.4, "wasserstein": 0.1, "threshold": 0.1,
            "drifted": False,
        }  # fmt: skip
        concept = {
            "coverage": 0.79, "coverage_expected": 0.8, "brier": None, "brier_expected": None, "loss_ratio": 1.01,
            "adwin": False, "confidence_shift": 0.0,
        }  # fmt: skip
        return [
            {
                "seat": seat, "model_id": "m1", "time": said(NOON), "level": level, "since": None,
                "data": {"share_drifted": 0.0, "features": [feature]}, "concept": concept,
                "persistence": {"bars": 0, "needed": 12}, "action": None, "what": "nothing drifts",
            }
            for seat, level in zip(SEATS, ("ok", "watch"), strict=True)
        ]  # fmt: skip

    def health(self) -> Payload:
        service = {
            "name": "prices", "state": "ok", "last_success": said(NOON), "last_error": None, "failures": 0,
            "next_try": None, "heartbeat": said(NOON),
        }  # fmt: skip
        stages = {"forecast": {"count": 3, "sum_ms": 42.0, "buckets": [[10, 1], [50, 3]]}}
        return {
            "services": [service], "freshness": {"seconds": 12.0, "limit": 600.0, "stale": self.stale},
            "latency_ms": {"p50": 40.0, "p95": 80.0, "p99": None, "bars": 600, "stages": stages}, "errors": 0,
            "machine": {"cpu_percent": 5.0, "memory_percent": 20.0, "disk_percent": 30.0, "rss_mb": 321.5},
            "dropped": self.bus.dropped, "listeners": self.bus.listeners, "uptime_seconds": 60.0,
            "version": __version__,
        }  # fmt: skip

    def readiness(self) -> tuple[bool, Sequence[str]]:
        reasons = ["warming up: the start"] if self.bar < 0 else []
        reasons += ["the newest bar is 900 s old"] if self.stale else []
        return not reasons, reasons

    def jobs(self, *, limit: int = 50) -> Sequence[Payload]:
        return [
            {
                "id": job.id, "kind": job.kind, "status": job.status, "started": said(job.started),
                "finished": said(job.finished) if job.finished else None, "progress": None,
                "result": dict(job.detail), "error": None,
            }
            for job in self.records.jobs()[:limit]
        ]  # fmt: skip

    def playbooks(self) -> Sequence[Payload]:
        return [{"name": "dual-model", "description": "two models that must agree", "running": True}]

    def reports(self) -> Sequence[Payload]:
        return [
            {
                "id": run.id, "verb": run.verb, "playbook": run.playbook, "started": said(run.started),
                "seconds": run.seconds,
            }
            for run in self.records.runs(status="done")
        ]  # fmt: skip

    async def command(self, name: str, actor: str, **arguments: Any) -> Payload:
        if self.fail is not None:
            raise self.fail
        self.commands.append((name, actor, arguments))
        if name in ("halt", "release"):
            state = await asyncio.to_thread(getattr(self.controls, name), arguments["reason"], actor)
            self.bus.publish("status", "status", self.status())
            return {"halted": state.halted, "by": state.by or None}
        if name in ("order", "close_position"):
            return {"order": {**manual_order(arguments["id"], "waiting"), "by": actor, **arguments}}
        if name == "cancel_order":
            if arguments["id"] != "one":
                raise InputError(f"there is no order {arguments['id']}")
            return {"order": manual_order("one", "cancelled")}
        if name == "promote" and arguments["model"] != "m2":
            raise InputError(f"no model {arguments['model']!r} for this seat", hint="/api/v1/models lists them")
        return {"command": name, **arguments}


def manual_order(name: str, state: str) -> dict[str, Any]:
    why = None if state in ("waiting", "applied") else f"it was {state}"
    return {
        "id": name, "symbol": "AAPL", "side": "BUY", "weight": 0.05, "stop": 98.0, "target": None,
        "reason": "=it is cheap", "by": "trade", "asked_at": said(NOON), "state": state, "why": why,
        "effective": None, "orders": [],
    }  # fmt: skip


def _order_row(number: int) -> dict[str, Any]:
    return {
        "account": "paper", "client_order_id": f"o{number}", "symbol": SYMBOLS[number], "side": "buy", "quantity": 12.0,
        "kind": "market", "time_in_force": "day", "reduce_only": False, "sleeve": "", "decided_at": NOON,
        "intended_at": NOON, "finished": number == 0,
    }  # fmt: skip


def _fill_row() -> dict[str, Any]:
    return {
        "account": "paper", "execution_id": "e0", "order_id": 1, "client_order_id": "o0", "broker_order_id": "b0",
        "symbol": "AAPL", "quantity": -12.0, "price": 100.0, "fee": 0.35, "cents": 120000, "time": NOON,
        "recorded_at": NOON,
    }  # fmt: skip


@dataclass(frozen=True)
class Service:
    """A server that runs, and the corridor behind it."""

    desk: Desk
    serving: Serving
    url: str

    @property
    def socket(self) -> str:
        return self.url.replace("http", "ws", 1) + "/ws"


@asynccontextmanager
async def service(
    folder: Path, *, environ: Mapping[str, str] | None = None, page: Path | None = None, **settings: Any
) -> AsyncIterator[Service]:
    """Run a server on a free port in this loop."""
    desk = Desk(folder)
    chosen = ServerSettings(**{"port": 0, "request_burst": 100_000, "requests_per_second": 100_000, **settings})
    serving = await serve(desk, chosen, environ=environ or {}, page=page or folder / "no-page")
    try:
        yield Service(desk, serving, serving.url)
    finally:
        desk.gate.set()
        await serving.stop()
        desk.close()


@contextmanager
def in_thread(folder: Path, **settings: Any) -> Iterator[Service]:
    """Run a server in a loop of its own, for clients that wait."""
    found: Future[Service] = Future()
    loop = asyncio.new_event_loop()
    done = asyncio.Event()

    async def run() -> None:
        async with service(folder, **settings) as made:
            found.set_result(made)
            await done.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        yield found.result(30)
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()
        loop.close()


class Line:
    """A WebSocket client that keeps what it heard."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def say(self, **message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def subscribe(self, **wanted: Any) -> dict[str, Any]:
        await self.say(type="subscribe", **wanted)
        return await self.hear("snapshot", "delta")

    async def hear(self, *kinds: str) -> dict[str, Any]:
        """Return the next message of these kinds; any but heartbeats where none is named."""
        async with asyncio.timeout(20):
            while True:
                message: dict[str, Any] = json.loads(await self.connection.recv())
                if message["type"] in kinds or (not kinds and message["type"] != "heartbeat"):
                    return message

    async def end(self) -> tuple[list[Any], int]:
        """Wait until the server closes; return what came before, and its code."""
        heard: list[Any] = []
        async with asyncio.timeout(20):
            try:
                while True:
                    heard.append(json.loads(await self.connection.recv()))
            except ConnectionClosed as closed:
                assert closed.rcvd is not None
                return heard, closed.rcvd.code


@asynccontextmanager
async def line(service: Service, **options: Any) -> AsyncIterator[Line]:
    """Connect; the greeting is heard already."""
    async with websockets.connect(
        service.socket, max_size=None, max_queue=None, compression=None, **options
    ) as connection:
        made = Line(connection)
        assert (await made.hear("hello"))["session"]
        yield made


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds; fail where it does not within 20 seconds."""
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)

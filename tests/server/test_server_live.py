"""The corridor itself behind the server: all that it says, asked or not, is of the shapes that the page knows."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import jsonschema_rs
import pytest
from server_kit import Line, Service

from spine_kit import PLAYBOOK, prices, system, workspace
from tradewind.live.replay import Replay
from tradewind.market.sources.replay import ReplayClock
from tradewind.market.store.home import records_url
from tradewind.market.store.records import Records
from tradewind.server.openapi import bare
from tradewind.server.running import made
from tradewind.server.serve import serve
from tradewind.server.settings import ServerSettings

DOCUMENT = bare().openapi()
PAIR = PLAYBOOK.replace(
    'use = "ridge"\ncompare = []', 'use = "ensemble"\ncompare = []\n\n[ensemble]\nmembers = ["ridge", "naive_normal"]'
)
QUESTIONS = [
    path for path, operations in DOCUMENT["paths"].items()
    if "get" in operations and path.startswith("/api") and not path.endswith(("/news", "/caller", ".csv"))
]  # fmt: skip


def validator(schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator({**schema, "components": DOCUMENT["components"]})


def test_everything_that_a_replay_says_is_of_its_shape(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    work = workspace(system(tmp_path, prices(340), PAIR), tmp_path / "home")
    message = validator(DOCUMENT["components"]["schemas"]["ServerMessage"])

    async def scene() -> None:
        clock = ReplayClock(datetime(1970, 1, 1, tzinfo=UTC))
        runtime = made(work, "REPLAY", clock)
        serving = await serve(runtime, ServerSettings(port=0, socket_message_burst=1000), environ={})
        async with httpx2.AsyncClient(base_url=serving.url, timeout=60) as client:
            await _early(client)
            prepared = await runtime.prepare()
            living = asyncio.create_task(runtime.run(Replay(runtime, prepared, clock, "max").bars()))
            heard = await _listened(Service(runtime, serving, serving.url), message, living)  # type: ignore[arg-type]
            assert {"status", "bar", "forecast", "signal", "account", "model"} <= heard
            symbol = prepared.corridor.world.panel.symbols[0]
            for path in QUESTIONS:
                answer = await client.get(path.replace("{symbol}", symbol))
                assert answer.status_code == 200, (path, answer.text)
                schema = DOCUMENT["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
                validator(schema).validate(answer.json())
                lost = unsaid(told_by(runtime, path, symbol), answer.json())
                assert not lost, (path, lost)
            assert len((await client.get(f"/api/v1/symbols/{symbol}/forecasts")).json()["items"]) == 1
            assert (await client.get("/metrics")).status_code == 200
        await runtime.close()
        await serving.stop()

    asyncio.run(scene())
    assert "does not have the shape" not in caplog.text


def test_ready_says_every_reason_why_not_also_where_no_bar_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tradewind.live.service.LOOK_S", 0.02)
    work = workspace(system(tmp_path, prices(340), PLAYBOOK), tmp_path / "home")
    work.__dict__["records"] = Records(records_url(work.home), patience_seconds=0.05)

    async def scene() -> None:
        clock = ReplayClock(datetime(1970, 1, 1, tzinfo=UTC))
        runtime = made(work, "REPLAY", clock)
        serving = await serve(runtime, ServerSettings(port=0), environ={})
        async with httpx2.AsyncClient(base_url=serving.url, timeout=60) as client:

            async def until(*beginnings: str) -> None:
                """Ask until these are the reasons; none: until it is ready."""
                async with asyncio.timeout(60):
                    while True:
                        answer = await client.get("/readyz")
                        reasons = [] if answer.status_code == 200 else answer.json()["detail"].split("; ")
                        if len(reasons) == len(beginnings) and all(map(str.startswith, reasons, beginnings)):
                            return
                        await asyncio.sleep(0.02)

            await until("warming up: the start", "no fresh bar")
            Replay(runtime, await runtime.prepare(), clock, "max")
            await until()
            with closing(sqlite3.connect(work.home / "records.sqlite", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                await until("records: the records database")
            await until()
            service = {"name": "prices", "state": "open", "failures": 5}
            runtime.health_of.services.append(lambda: [service])
            runtime.health_of.freshness = lambda: {"seconds": 900.0, "limit": 600.0, "stale": True}
            await until("the newest bar is 900 s old", "prices: left alone after 5 failures in a row")
            runtime.health_of.freshness = lambda: {"seconds": 1.0, "limit": 600.0, "stale": False}
            service["state"] = "ok"
            (file, *_) = (work.home / "lake" / work.lake_name / "bars").rglob("*.parquet")
            file.rename(tmp_path / "away")
            await until("lake: 1 of")
        await runtime.close()
        await serving.stop()

    asyncio.run(scene())


def told_by(runtime: Any, path: str, symbol: str) -> Any:
    """Return what the runtime itself answers to a question."""
    name = path.removeprefix("/api/v1/").replace("account/equity", "equity").replace("symbols/{symbol}/", "")
    name = name.replace("orders/manual", "manual_orders")
    told = getattr(runtime, name)(symbol) if "{symbol}" in path else getattr(runtime, name)()
    return told if isinstance(told, dict) else {"items": told}


def unsaid(told: Any, answer: Any, place: str = "") -> list[str]:
    """Return the keys that the runtime says and the server does not."""
    if isinstance(told, dict) and isinstance(answer, dict):
        missing = [f"{place}.{key}" for key in told if key not in answer]
        return missing + [
            lost for key in told if key in answer for lost in unsaid(told[key], answer[key], f"{place}.{key}")
        ]
    if isinstance(told, list) and isinstance(answer, list):
        return [lost for one, other in zip(told, answer, strict=False) for lost in unsaid(one, other, place)]
    return []


async def _early(client: httpx2.AsyncClient) -> None:
    """Ask before anything is ready: that is for now, and no fault of whoever asks."""
    assert (await client.get("/readyz")).status_code == 503
    assert (await client.get("/api/v1/status")).status_code == 200
    assert (await client.get("/metrics")).status_code == 200
    for path in ("/api/v1/account", "/api/v1/positions", "/api/v1/symbols/AAPL/bars"):
        assert (await client.get(path)).status_code == 503, path


async def _listened(service: Service, message: Any, living: asyncio.Task[None]) -> set[str]:
    """Hear everything until the replay is over; return of which topics there was something."""
    import websockets

    topics: set[str] = set()
    async with websockets.connect(service.socket, max_size=None, max_queue=None) as connection:
        await Line(connection).say(type="subscribe")
        while not living.done() or not topics:
            text = json.loads(await connection.recv())
            message.validate(text)
            topics |= {event["topic"] for event in text.get("events", ())}
    await living
    return topics

"""The corridor itself behind the server: all that it says, asked or not, is of the shapes that the page knows."""

from __future__ import annotations

import asyncio
import json
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
    if "get" in operations and path.startswith("/api") and not path.endswith(("/news", ".csv"))
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


def told_by(runtime: Any, path: str, symbol: str) -> Any:
    """Return what the runtime itself answers to a question."""
    name = path.removeprefix("/api/v1/").replace("account/equity", "equity").replace("symbols/{symbol}/", "")
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

"""Orders of persons through the real server: given, refused in words, taken back, applied, and heard of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import websockets
from server_kit import Line

from spine_kit import PLAYBOOK, prices, system, workspace
from tradewind.live.replay import Replay
from tradewind.market.sources.replay import ReplayClock
from tradewind.server.running import made
from tradewind.server.serve import serve
from tradewind.server.settings import ServerSettings

Talk = Callable[[httpx2.AsyncClient, int], Awaitable[None]]
QUIET = PLAYBOOK.replace(
    "confidence_min = 0.5\nconfidence_exit = 0.45", "confidence_min = 0.99\nconfidence_exit = 0.98"
)


def served(folder: Path, talk: Talk) -> list[dict[str, Any]]:
    """Replay behind a server, let somebody talk to it before each bar; return what was said of their orders."""
    work = workspace(system(folder, prices(340), QUIET), folder / "home")
    said: list[dict[str, Any]] = []

    async def scene() -> None:
        clock = ReplayClock(datetime(1970, 1, 1, tzinfo=UTC))
        runtime = made(work, "REPLAY", clock)
        serving = await serve(runtime, ServerSettings(port=0), environ={})
        prepared = await runtime.prepare()
        async with (
            httpx2.AsyncClient(base_url=f"{serving.url}/api/v1", timeout=60) as client,
            websockets.connect(serving.url.replace("http", "ws") + "/ws", max_size=None, max_queue=None) as socket,
        ):
            await Line(socket).subscribe(topics=["manual_order"])
            number = 0
            async for bar, name in Replay(runtime, prepared, clock, "max").bars():
                await talk(client, number)
                await runtime.take(bar, name)
                number += 1
            await talk(client, -1)
            last = runtime.bus.seq
            runtime.bus.publish("manual_order", "end", said_last(runtime.manual_orders()[0]))
            while not said or said[-1]["seq"] <= last:
                message = json.loads(await socket.recv())
                said.extend(message.get("events", ()))
        await runtime.close()
        await serving.stop()

    asyncio.run(scene())
    return [event["data"] for event in said[:-1]]


def said_last(order: dict[str, Any]) -> dict[str, Any]:
    return {**order, "id": "end"}


def test_an_order_is_given_repeated_refused_taken_back_applied_and_heard_of(tmp_path: Path) -> None:
    async def talk(client: httpx2.AsyncClient, number: int) -> None:
        if number == 3:
            await give(client)
        elif number == 4:
            assert (await client.delete("/orders/second")).status_code == 409, "it was applied"
            closing = await client.post("/positions/AAA/close", json={"id": "out", "reason": "enough"})
            assert closing.status_code == 422, "the order fills in the bar that comes"
        elif number == 5:
            (held,) = (await client.get("/positions")).json()["items"]
            assert (held["symbol"], held["shares"] > 0) == ("AAA", True)
            for _ in range(2):
                closing = await client.post("/positions/AAA/close", json={"id": "out", "reason": "enough"})
                assert closing.status_code == 200
                assert closing.json()["order"]["state"] == "waiting"
        elif number == 7:
            assert (await client.get("/positions")).json()["items"] == []
            await halted(client)
        elif number == -1:
            over = await client.post("/orders", json={**order_of(100.0), "id": "late", "stop": 1.0})
            assert (over.status_code, "over" in over.json()["detail"]) == (409, True)
            listed = (await client.get("/orders/manual")).json()["items"]
            assert [(one["id"], one["state"]) for one in listed] == [
                ("out", "applied"), ("second", "applied"), ("first", "cancelled")
            ]  # fmt: skip
            ids = {one["id"] for one in (await client.get("/orders")).json()["items"]}
            assert ids == {name for one in listed for name in one["orders"]}

    async def give(client: httpx2.AsyncClient) -> None:
        ticket = (await client.get("/symbols/AAA/ticket")).json()
        price = ticket["price"]
        assert (ticket["shares"], ticket["short_allowed"], ticket["weight_max"]) == (0.0, False, 0.2)
        assert 0 < ticket["stop_distance"] < 1
        assert ticket["next_close"] > (await client.get("/status")).json()["as_of"]
        wanted = order_of(price)
        for change, why in (
            ({"stop": price * 1.01}, "below the last price"),
            ({"weight": 0.21}, "more than one position may be, 20.00%"),
            ({"side": "SELL", "stop": price * 1.1}, "no shorts"),
            ({"symbol": "ZZZ"}, "ZZZ"),
        ):
            answer = await client.post("/orders", json={**wanted, **change})
            assert answer.status_code == 422
            assert why in answer.json()["detail"]
        first = await client.post("/orders", json=wanted)
        assert first.status_code == 200
        assert (await client.post("/orders", json=wanted)).json() == first.json()
        assert first.json()["order"]["by"] == "local"
        other = await client.post("/orders", json={**wanted, "weight": 0.04})
        assert other.status_code == 422, "the id is another order's"
        assert (await client.delete("/orders/first")).json()["order"]["state"] == "cancelled"
        assert (await client.delete("/orders/never")).status_code == 404
        assert (await client.post("/orders", json={**wanted, "id": "second"})).status_code == 200

    async def halted(client: httpx2.AsyncClient) -> None:
        price = (await client.get("/symbols/AAA/ticket")).json()["price"]
        assert (await client.post("/control/halt", json={"reason": "a test"})).status_code == 200
        refused = await client.post("/orders", json={**order_of(price), "id": "third"})
        assert (refused.status_code, "halted" in refused.json()["detail"]) == (409, True)
        assert (await client.post("/control/release", json={"reason": "a test"})).status_code == 200

    said = served(tmp_path, talk)
    assert [(one["id"], one["state"]) for one in said] == [
        ("first", "waiting"), ("first", "cancelled"), ("second", "waiting"), ("second", "applied"),
        ("out", "waiting"), ("out", "applied"),
    ]  # fmt: skip
    assert [bool(one["orders"]) for one in said if one["state"] == "applied"] == [True, True]


def order_of(price: float) -> dict[str, Any]:
    return {"id": "first", "symbol": "AAA", "side": "BUY", "weight": 0.05, "stop": price * 0.5, "reason": "it is cheap"}

"""REST under load: sixteen connections that ask without a pause for what a page asks when it opens.

Answers come from memory and from a records database on disk. The peer is FastAPI as its tutorial has it, on the same
uvicorn: the same runtime and shapes, ``response_model`` on functions that return payloads, no tokens, limits, headers,
metrics or problems. So the ratio says what all of that costs, in requests a second and in processor time of the server.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import fastapi
import uvicorn

from benchmarks._desk import ask, percentiles, serving

CONNECTIONS, SECONDS, ROUNDS = 16, 5.0, 3
PREFIX = "/api/v1"
PATHS = ("/status", "/symbols", "/symbols/AAPL/bars", "/symbols/AAPL/forecasts", "/signals", "/account", "/orders")
AIMS = {"p95_ms": 100.0, "fastapi_as_in_its_tutorial_cpu": 0.8}


def run() -> dict[str, Any]:
    rounds = [(asyncio.run(ours()), asyncio.run(peer())) for _ in range(ROUNDS)]
    mine = min((mine for mine, _ in rounds), key=lambda found: found["p95"])
    other = min((other for _, other in rounds), key=lambda found: found["p95"])
    cpu = min(other["cpu_ms"] for _, other in rounds) / min(mine["cpu_ms"] for mine, _ in rounds)
    ratios = {
        "fastapi_as_in_its_tutorial_cpu": cpu,
        "fastapi_as_in_its_tutorial_throughput": mine["per_second"] / other["per_second"],
    }
    return {
        "name": "rest",
        "ratios": ratios,
        "figures": {
            "connections": CONNECTIONS,
            "tradewind": mine,
            "fastapi_as_in_its_tutorial": other,
            "best_of": ROUNDS,
            "versions": {"fastapi": fastapi.__version__, "uvicorn": uvicorn.__version__},
        },
        "aims": AIMS,
        "met": bool(mine["p95"] <= AIMS["p95_ms"] and cpu >= AIMS["fastapi_as_in_its_tutorial_cpu"]),
    }


async def ours() -> dict[str, Any]:
    async with serving() as made:
        return await loaded(int(made.url.rpartition(":")[2]))


async def peer() -> dict[str, Any]:
    """Serve the same as FastAPI's tutorial would."""
    async with serving() as made:
        server = uvicorn.Server(uvicorn.Config(plainly(made.desk), port=0, log_level="error", http="h11"))
        task = asyncio.create_task(server._serve())
        while not server.started:
            await asyncio.sleep(0.01)
        found = await loaded(server.servers[0].sockets[0].getsockname()[1])
        server.should_exit = True
        await task
        return found


def plainly(desk: Any) -> fastapi.FastAPI:
    """Return an application with the same paths and shapes and nothing else."""
    from tradewind.server import shapes

    app = fastapi.FastAPI()
    for path, shape, answer in (
        ("/status", shapes.Status, desk.status),
        ("/symbols", shapes.Symbols, lambda: {"items": desk.symbols()}),
        ("/symbols/{symbol}/bars", shapes.Bars, lambda symbol, limit=500: {"items": desk.bars(symbol, limit=limit)}),
        ("/symbols/{symbol}/forecasts", shapes.Forecasts, lambda symbol: {"items": desk.forecasts(symbol)}),
        ("/signals", shapes.Signals, lambda: {"items": desk.signals()}),
        ("/account", shapes.Account, desk.account),
        ("/orders", shapes.Orders, lambda: {"items": desk.orders()}),
    ):
        app.get(PREFIX + path, response_model=shape)(answer)
    return app


async def loaded(port: int) -> dict[str, Any]:
    """Return milliseconds of all answers and of each path, answers a second, and the server's time for one."""
    paths = [PREFIX + path for path in PATHS]
    await ask("benchmarks._rest_clients", str(port), "2", "0.5", *paths)
    began = time.process_time()
    taken = await ask("benchmarks._rest_clients", str(port), str(CONNECTIONS), str(SECONDS), *paths)
    spent, every = time.process_time() - began, [one for times in taken.values() for one in times]
    return {
        **percentiles(every),
        "per_second": len(every) / SECONDS,
        "cpu_ms": spent * 1_000 / len(every),
        "p95_by_path": {path.removeprefix(PREFIX): percentiles(times)["p95"] for path, times in taken.items()},
    }

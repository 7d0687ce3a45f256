"""A WebSocket client in a process of its own: notes when the last event of each bar arrived."""

from __future__ import annotations

import asyncio
import json
import sys
import time

import websockets

LAST = "account"
"""The topic that a bar ends with."""


async def listen(url: str, until: str) -> None:
    received: dict[str, float] = {}
    async with websockets.connect(url, max_size=None) as socket:
        await socket.send(json.dumps({"type": "subscribe", "topics": ["bar", "forecast", "signal", LAST, "status"]}))
        print("ready", flush=True)
        async for text in socket:
            now = time.perf_counter()
            message = json.loads(text)
            for event in message.get("events", ()):
                if event["topic"] == LAST and event["correlation"]:
                    received[event["correlation"]] = now
            if until in received:
                break
    print(json.dumps(received), flush=True)


if __name__ == "__main__":
    asyncio.run(listen(sys.argv[1], sys.argv[2]))

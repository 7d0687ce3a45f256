"""`python -m benchmarks._socket_clients PORT CLIENTS SUBSCRIBE`: count what many WebSocket clients receive, and when.

Says "ready" on stderr once all are connected, ends when the server closes, prints `{number of the event: [seconds of
the monotonic clock when each client had it]}` on stdout. A client is a small protocol: what is measured is the server.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections import defaultdict

HANDSHAKE = (
    "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
MARK = re.compile(rb'"correlation":"mark:(\d+)"')
PING = 9
received: dict[int, list[float]] = defaultdict(list)


class Client(asyncio.Protocol):
    def __init__(self, port: int, subscribe: bytes, greeted: asyncio.Queue[None]) -> None:
        self.port, self.subscribe, self.greeted = port, subscribe, greeted
        self.buffer, self.open = bytearray(), False
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(HANDSHAKE.format(port=self.port).encode())

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.open:
            head, end, rest = bytes(self.buffer).partition(b"\r\n\r\n")
            if not end:
                return
            assert head.startswith(b"HTTP/1.1 101"), head
            self.open, self.buffer = True, bytearray(rest)
            if self.subscribe:
                assert len(self.subscribe) < 126
                self.transport.write(bytes([0x81, 0x80 | len(self.subscribe), 0, 0, 0, 0]) + self.subscribe)
            else:
                self.greeted.put_nowait(None)
        while (found := self.frame()) is not None:
            self.take(*found)

    def frame(self) -> tuple[int, bytes] | None:
        buffer = self.buffer
        if len(buffer) < 2:
            return None
        size, start = buffer[1], 2
        if size > 125:
            start = 4 if size == 126 else 10
            if len(buffer) < start:
                return None
            size = int.from_bytes(buffer[2:start], "big")
        if len(buffer) < start + size:
            return None
        kind, frame = buffer[0] & 0x0F, bytes(buffer[start : start + size])
        del buffer[: start + size]
        return kind, frame

    def take(self, kind: int, frame: bytes) -> None:
        if kind == PING:
            self.transport.write(bytes([0x8A, 0x80 | len(frame), 0, 0, 0, 0]) + frame)
        elif frame.startswith(b'{"type":"snapshot"'):
            self.greeted.put_nowait(None)
        elif mark := MARK.search(frame, max(0, len(frame) - 1_000)) or MARK.search(frame):
            received[int(mark[1])].append(time.monotonic())

    def connection_lost(self, failure: Exception | None) -> None:
        self.closed.set_result(None)


async def main(port: int, number: int, subscribe: bytes) -> None:
    loop, greeted, clients = asyncio.get_running_loop(), asyncio.Queue[None](), []
    for _ in range(number):
        _, client = await loop.create_connection(lambda: Client(port, subscribe, greeted), "127.0.0.1", port)
        clients.append(client)
        await greeted.get()
    print("ready", file=sys.stderr, flush=True)
    await asyncio.gather(*(client.closed for client in clients))
    json.dump(received, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode()))

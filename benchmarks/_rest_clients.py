"""`python -m benchmarks._rest_clients PORT CONNECTIONS SECONDS PATH …`: ask over and over, on connections kept open.

Prints `{path: [milliseconds of each answer]}`; ends with an error where an answer is not 200.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import defaultdict
from itertools import count

taken: dict[str, list[float]] = defaultdict(list)


async def ask_on(port: int, first: int, paths: list[str], until: float) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in count(first):
        path = paths[number % len(paths)]
        began = time.perf_counter()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode())
        size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        await reader.readexactly(size)
        taken[path].append((time.perf_counter() - began) * 1_000)
        if time.perf_counter() > until:
            break
    writer.close()


async def main(port: int, connections: int, seconds: float, paths: list[str]) -> None:
    until = time.perf_counter() + seconds
    await asyncio.gather(*(ask_on(port, first, paths, until) for first in range(connections)))
    json.dump(taken, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]))

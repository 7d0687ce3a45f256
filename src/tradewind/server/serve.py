"""The server itself: uvicorn within the event loop that the corridor runs in, on one port."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from tradewind.clock import Clock
from tradewind.errors import InputError, RetryError
from tradewind.live.runtime import Runtime
from tradewind.server.app import create_app
from tradewind.server.settings import ServerSettings
from tradewind.server.sockets import Sockets
from tradewind.server.static import FOLDER

BACKLOG = 2048
PING_SECONDS = 20
"""Time between two questions whether a WebSocket client is there, and how long it may take to answer."""


class Serving:
    """A server that listens.

    Attributes
    ----------
    url
        Where: ``http://127.0.0.1:8321``, with the port that was found where any was asked for.
    """

    def __init__(self, url: str, server: uvicorn.Server, task: asyncio.Task[None], sockets: Sockets) -> None:
        self.url, self._server, self._task, self._sockets = url, server, task, sockets

    async def stop(self) -> None:
        """Take no new requests, let the open ones end for a while, say goodbye to WebSocket clients, and close."""
        self._sockets.send_away()
        self._server.should_exit = True
        await self._task
        for connection in list(self._server.server_state.connections):
            _cut(connection)

    async def wait(self) -> None:
        """Wait until it has stopped."""
        await asyncio.shield(self._task)


async def serve(
    runtime: Runtime,
    settings: ServerSettings,
    *,
    environ: Mapping[str, str] | None = None,
    page: Path = FOLDER,
    clock: Clock | None = None,
) -> Serving:
    """Listen, and return once the first request can be answered.

    Parameters as of :func:`tradewind.server.app.create_app`. Raises ``InputError`` for an address that cannot be
    listened on and settings that are not safe, ``RetryError`` where the port is taken.
    """
    app = create_app(runtime, settings, environ=environ, page=page, clock=clock)
    listening = _bound(settings)
    server = _Embedded(_config(app, settings))
    app.state.sockets.drop = lambda address: _drop(server, address)
    task = asyncio.create_task(server.serve([listening]))
    while not server.started and not task.done():
        await asyncio.sleep(0.005)
    if task.done():
        task.result()
    return Serving(_url(settings, listening), server, task, app.state.sockets)


class _Embedded(uvicorn.Server):
    """A server that leaves signals to whoever runs the loop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _config(app: Any, settings: ServerSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="h11",
        ws="websockets-sansio",
        ws_max_size=settings.largest_message_bytes,
        ws_per_message_deflate=False,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        backlog=BACKLOG,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=round(settings.shutdown_seconds),
    )


def _bound(settings: ServerSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # the protocol is named so that asyncio sends answers at once (TCP_NODELAY) instead of 40 ms later
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as failure:
        listening.close()
        raise _unbound(failure, settings) from None
    listening.setblocking(False)
    return listening


def _unbound(failure: OSError, settings: ServerSettings) -> InputError | RetryError:
    place = f"{settings.host}:{settings.port}"
    if failure.errno == errno.EADDRINUSE:
        return RetryError(
            f"something listens on {place} already",
            hint="is Tradewind running? stop it, or set server.port to another one",
        )
    return InputError(f"cannot listen on {place}: {failure.strerror}", hint="look at server.host and server.port")


def _url(settings: ServerSettings, listening: socket.socket) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{listening.getsockname()[1]}"


def _drop(server: uvicorn.Server, address: Any) -> None:
    """Cut the connection to an address, without waiting until what was written is read."""
    for connection in list(server.server_state.connections):
        if getattr(connection, "client", None) == address:
            _cut(connection)


def _cut(connection: Any) -> None:
    transport = getattr(connection, "transport", None)
    if transport is not None:
        transport.abort()

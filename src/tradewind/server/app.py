"""The application: REST, WebSocket, probes, metrics and the page over one running corridor."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from fastapi import FastAPI, WebSocket
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from tradewind.clock import Clock, SystemClock
from tradewind.live.runtime import Runtime
from tradewind.server import openapi, problems, questions
from tradewind.server.guard import Guard
from tradewind.server.metrics import Metrics
from tradewind.server.reference import reference
from tradewind.server.settings import ServerSettings
from tradewind.server.sockets import Sockets
from tradewind.server.static import FOLDER, Page, plain_page
from tradewind.server.tokens import read_tokens
from tradewind.server.wire import Writer


def create_app(
    runtime: Runtime,
    settings: ServerSettings,
    *,
    environ: Mapping[str, str] | None = None,
    page: Path = FOLDER,
    clock: Clock | None = None,
    now: Callable[[], float] = time.monotonic,
) -> FastAPI:
    """Return the application over a runtime.

    Parameters
    ----------
    environ
        Where tokens are read from; the process's environment by default.
    page
        Where the built page lies.
    now
        Seconds of a clock that only goes forward, for rates and time limits.

    Raises
    ------
    InputError
        Tokens are wanted and missing, or can be read by others (:func:`tradewind.server.tokens.read_tokens`).
    """
    tokens = read_tokens(settings, os.environ if environ is None else environ)
    app, metrics = openapi.bare(), Metrics(runtime)
    writer = Writer(questions.additions(settings))
    sockets = Sockets(runtime.bus, writer, settings, tokens, metrics, clock=clock or SystemClock(), now=now)
    app.state.runtime, app.state.settings, app.state.metrics, app.state.sockets = runtime, settings, metrics, sockets
    problems.install(app)
    _add_other_routes(app, sockets, Page(page))
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Retry-After", "X-Request-ID"],
        )
    app.add_middleware(Guard, settings=settings, tokens=tokens, metrics=metrics, now=now)
    return app


def _add_other_routes(app: FastAPI, sockets: Sockets, page: Page) -> None:
    """Add the WebSocket, the API's description, and the page for every path that nothing else has.

    The description takes half a second to make: it is made in a thread, when it is first asked for.
    """
    no_route = app.router.default

    @app.websocket("/ws")
    async def listen(websocket: WebSocket) -> None:
        await sockets(websocket)

    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return plain_page("API", reference(app.openapi()))

    @app.get("/openapi.json", include_in_schema=False)
    def description() -> Response:
        return JSONResponse(app.openapi())

    async def anything_else(scope: Scope, receive: Receive, send: Send) -> None:
        await (page if scope["type"] == "http" else no_route)(scope, receive, send)

    app.router.default = anything_else

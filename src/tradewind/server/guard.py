"""What every request passes before anything of ours sees it: names, origins, rates, sizes, and who is asking.

Every answer leaves through here too: with the headers that keep a browser safe, counted, logged where that is wanted,
and as a problem where something failed that should not have.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tradewind.live.logs import correlation, logger
from tradewind.server.limits import RateLimit
from tradewind.server.metrics import Metrics
from tradewind.server.problems import Refused, failed, of_refusal
from tradewind.server.settings import ServerSettings
from tradewind.server.tokens import Caller, Tokens

BODY_SECONDS = 15
"""How long the body of a request may take to arrive."""

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
PROTOCOL, BEARER = "tradewind", "bearer."
"""Sub-protocols of the WebSocket: ours, and the one that carries a token."""

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of every answer that does not say otherwise itself."""

_log = logger(__name__)


@dataclass(slots=True)
class _Exchange:
    """One request on its way: what its log line and metrics say."""

    id: str
    method: str
    path: str
    began: float
    caller: Caller | None
    status: int = 0


class Guard:
    """Middleware around the whole application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: ServerSettings,
        tokens: Tokens,
        metrics: Metrics,
        now: Callable[[], float],
    ) -> None:
        self._app, self._settings, self._tokens, self._metrics, self._now = app, settings, tokens, metrics, now
        self._limit = RateLimit(settings.requests_per_second, settings.request_burst, now)
        self._headers = dict(HEADERS)
        if settings.behind_tls:
            self._headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or refuse it."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    # -- requests -----------------------------------------------------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = self._exchange(scope, scope["method"])
        answer = self._dressed(exchange, send)
        try:
            with correlation(f"request:{exchange.id}"):
                await self._answered(exchange, scope, receive, answer)
        finally:
            self._note(exchange, scope)

    async def _answered(self, exchange: _Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._admit(scope, exchange)
            await self._app(scope, await self._whole_body(scope, receive), send)
        except HTTPException as refusal:
            await of_refusal(refusal, exchange.id)(scope, receive, send)
        except Exception as failure:  # noqa: BLE001 - whatever it is, the client gets an answer and the log the rest
            answer = failed(exchange.id, exchange.path, failure)
            if not exchange.status:
                await answer(scope, receive, send)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = self._exchange(scope, "WEBSOCKET")
        scope["query_string"] = b""  # nobody reads it, and what is not there cannot be logged
        try:
            self._admit(scope, exchange)
        except HTTPException as refusal:
            await receive()
            await of_refusal(refusal, exchange.id)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _exchange(self, scope: Scope, method: str) -> _Exchange:
        exchange = _Exchange(secrets.token_hex(8), method, scope["path"], self._now(), self._caller(scope))
        state = scope.setdefault("state", {})
        state["request_id"], state["caller"] = exchange.id, exchange.caller
        return exchange

    # -- what is asked of everybody ------------------------------------------------------------------------------

    def _admit(self, scope: Scope, exchange: _Exchange) -> None:
        headers = Headers(scope=scope)
        self._require_name(headers)
        if scope["type"] == "websocket" or scope["method"] not in SAFE:
            self._require_origin(headers)
        known = exchange.caller.name if exchange.caller and self._tokens.required else None
        wait = self._limit.wait(f"token:{known}" if known else f"address:{(scope['client'] or ('',))[0]}")
        if wait:
            self._metrics.limited.inc()
            raise Refused(
                429,
                f"more than {self._settings.requests_per_second:g} requests a second",
                headers={"Retry-After": str(max(1, round(wait + 0.5)))},
            )

    def _require_name(self, headers: Headers) -> None:
        """Refuse names that are not ours: a page elsewhere whose name was made to mean this machine."""
        allowed = self._settings.allowed_hosts or (LOOPBACK if self._settings.on_loopback else ())
        host = headers.get("host", "")
        if not host or (allowed and _name(host) not in allowed):
            raise Refused(
                421 if host else 400,
                "this server does not answer to the name that it was called by",
                hint="call it as 127.0.0.1 or localhost, or name it in server.allowed_hosts",
            )

    def _require_origin(self, headers: Headers) -> None:
        """Refuse pages of other origins: a browser says where a page comes from, other clients say nothing."""
        origin = headers.get("origin")
        if origin is None or origin in self._settings.cors_origins:
            return
        if origin.partition("://")[2].lower() != headers.get("host", "").lower():
            raise Refused(
                403, "this page may not ask: it comes from elsewhere", hint="name its origin in server.cors_origins"
            )

    def _caller(self, scope: Scope) -> Caller | None:
        scheme, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
        shown = token.strip() if scheme.lower() == "bearer" else None
        for protocol in scope.get("subprotocols", ()):
            if protocol.startswith(BEARER):
                shown = protocol.removeprefix(BEARER)
        return self._tokens.caller(shown)

    async def _whole_body(self, scope: Scope, receive: Receive) -> Receive:
        """Return a source of the request's body, which has arrived and is not too large."""
        headers, most = Headers(scope=scope), self._settings.largest_body_bytes
        if "content-length" not in headers and "transfer-encoding" not in headers:
            return receive
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > most:
            raise _too_large(most)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _read(receive, most)
        except TimeoutError:
            raise Refused(408, f"the request took more than {BODY_SECONDS} s to arrive") from None
        return _replayed(body, receive)

    # -- what every answer gets ------------------------------------------------------------------------------------

    def _dressed(self, exchange: _Exchange, send: Send) -> Send:
        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                headers["X-Request-ID"] = exchange.id
            await send(message)

        return dressed

    def _note(self, exchange: _Exchange, scope: Scope) -> None:
        route, seconds = _route(scope), self._now() - exchange.began
        self._metrics.requests.labels(_method(exchange.method), route, str(exchange.status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if self._settings.access_log:
            _log.info(
                "request",
                request=exchange.id,
                method=exchange.method,
                path=exchange.path,
                status=exchange.status,
                milliseconds=round(seconds * 1000, 1),
                caller=exchange.caller.name if exchange.caller else None,
                address=(scope["client"] or (None,))[0],
            )


def _name(host: str) -> str:
    """Return a Host header's name without its port, empty where it is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _too_large(most: int) -> Refused:
    return Refused(413, f"the request is larger than {most:,} bytes", headers={"Connection": "close"})


async def _read(receive: Receive, most: int) -> bytes:
    """Return the whole body; what comes beyond the limit is read for a while and dropped, so that we are heard."""
    parts, size = list[bytes](), 0
    while True:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size <= most:
            parts.append(part)
        if not message.get("more_body", False) or size > 16 * most:
            break
    if size > most:
        raise _too_large(most)
    return b"".join(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return first.pop() if first else await receive()

    return replayed


def _method(method: str) -> str:
    """Return a method as a label: there are many words, and few methods."""
    return method if method in {*SAFE, "POST", "PUT", "PATCH", "DELETE"} else "other"


def _route(scope: Scope) -> str:
    """Return the pattern of the route that was taken, never what somebody made up."""
    route: Any = scope.get("route")
    return str(getattr(route, "path", "")) or ("page" if scope.get("tradewind_page") else "unmatched")

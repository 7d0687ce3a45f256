"""Stand-ins for those who are told: a web hook and a mail server in their wire formats, and a clock set by hand."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class HandClock:
    """A clock that is moved by hand."""

    instant: datetime = field(default_factory=lambda: datetime(2026, 3, 2, 12, 0, tzinfo=UTC))

    def now(self) -> datetime:
        return self.instant

    def forward(self, seconds: float) -> None:
        self.instant += timedelta(seconds=seconds)


class WebHook:
    """A web server that answers with the statuses of a script, then with 200; keeps what it was sent."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.script: list[int | str] = []
        self.arrived = threading.Semaphore(0)
        self.let_go = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def url(self, scheme: str = "json", secret: str = "") -> str:
        return f"{scheme}://{secret}127.0.0.1:{self.port}/hook"

    def wait(self, seconds: float = 20.0) -> dict[str, Any]:
        """Return what arrived last, waiting for one arrival."""
        assert self.arrived.acquire(timeout=seconds), "nothing arrived"
        return self.got[-1]

    @contextmanager
    def running(self) -> Iterator[WebHook]:
        self._thread.start()
        try:
            yield self
        finally:
            self.let_go.set()
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hook = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = hook.script.pop(0) if hook.script else 200
                if answer == "hang":
                    hook.arrived.release()
                    hook.let_go.wait(30)
                    return
                if answer == "drip":
                    self._drip()
                    return
                hook.got.append(json.loads(body))
                self.send_response(int(answer))
                self.send_header("Content-Length", "0")
                self.end_headers()
                hook.arrived.release()

            def _drip(self) -> None:
                """Answer a byte at a time for ever: no read ever times out."""
                try:
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                    while not hook.let_go.wait(0.05):
                        self.wfile.write(b"x")
                        self.wfile.flush()
                except OSError:
                    pass

            def log_message(self, *_: object) -> None: ...

        return Handler


@contextmanager
def web_hook() -> Iterator[WebHook]:
    with WebHook().running() as hook:
        yield hook


class MailServer:
    """The part of SMTP (RFC 5321) that a client needs to hand a mail over, with a login where one is asked for."""

    def __init__(self, refuse: bytes = b"") -> None:
        self.mails: list[EmailMessage] = []
        self.logins: list[bytes] = []
        self.arrived = threading.Semaphore(0)
        self.port = 0
        self._refuse = refuse
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @contextmanager
    def running(self) -> Iterator[MailServer]:
        self._thread.start()
        assert self._ready.wait(10)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)
            self._loop.close()

    def wait(self) -> EmailMessage:
        assert self.arrived.acquire(timeout=20), "no mail arrived"
        return self.mails[-1]

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        await server.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 stand-in ESMTP\r\n")
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"QUIT":
                writer.write(b"221 bye\r\n")
                break
            writer.write(await self._answer(verb, line, reader, writer))
            await writer.drain()
        writer.close()

    async def _answer(
        self, verb: bytes, line: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes:
        if verb == b"EHLO":
            return b"250-stand-in\r\n250-AUTH PLAIN\r\n250 8BITMIME\r\n"
        if verb == b"AUTH":
            self.logins.append(line.split()[-1])
            return b"235 welcome\r\n"
        if verb == b"RCPT" and self._refuse:
            return self._refuse + b"\r\n"
        if verb == b"DATA":
            writer.write(b"354 go on\r\n")
            raw = await reader.readuntil(b"\r\n.\r\n")
            mail = message_from_bytes(raw[:-3], policy=policy.default)
            assert isinstance(mail, EmailMessage)
            self.mails.append(mail)
            self.arrived.release()
        return b"250 fine\r\n"


@contextmanager
def mail_server(refuse: bytes = b"") -> Iterator[MailServer]:
    with MailServer(refuse).running() as server:
        yield server

"""The WebSocket: a snapshot of everything's newest state, then what changes, to any number of clients at any pace.

Nobody is waited for. A client that reads slowly gets the newest of each topic and key and is told how much gave way;
one that does not read at all is sent away. What a client missed while it was away it gets, where that is still kept.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from tradewind import __version__
from tradewind.clock import Clock
from tradewind.live.bus import Bus, Event, Subscription
from tradewind.live.logs import correlation, logger
from tradewind.server.guard import PROTOCOL
from tradewind.server.limits import Bucket
from tradewind.server.messages import CLIENT, Heartbeat, Hello, Ping, SignIn, SocketError, Subscribe
from tradewind.server.metrics import Metrics
from tradewind.server.problems import problem
from tradewind.server.settings import ServerSettings
from tradewind.server.tokens import Caller, Tokens
from tradewind.server.wire import Writer

NO_TOKEN: Final = 4401
"""Close code: a token is missing or wrong."""
SMALL_ROLE: Final = 4403
"""Close code: the token's role is too small."""
NOT_TEXT: Final = 1003
"""Close code: a message was not text."""
MISUSE: Final = 1008
"""Close code: too many messages, too many that mean nothing, or nothing read for too long."""
RESTART: Final = 1012
"""Close code: the server stops."""

PAUSE: Final = 0.01
"""Least seconds between two deltas to one client: what is said meanwhile goes together."""
SLICES: Final = 20
"""In so many parts the clients get their signs of life, so that not all are told something at once."""
ERRORS: Final = 20
"""Messages without a meaning after which a client is sent away."""
SHOWN: Final = 200
"""Newest orders (those of persons too), fills, alerts and jobs of a snapshot; REST has the rest."""
_MANY: Final = frozenset({"order", "manual_order", "fill", "alert", "job"})

_log = logger(__name__)


class _Leave(Exception):  # noqa: N818 - an end, not a fault
    """The client is sent away."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Sockets:
    """All WebSocket clients of one server.

    Parameters
    ----------
    drop
        Cuts the connection to an address at once: for clients whose line is stuck, so that nothing can be said to them.
    """

    def __init__(
        self,
        bus: Bus,
        writer: Writer,
        settings: ServerSettings,
        tokens: Tokens,
        metrics: Metrics,
        *,
        clock: Clock,
        now: Callable[[], float],
    ) -> None:
        self.bus, self.writer, self.settings, self.metrics = bus, writer, settings, metrics
        self.clock, self.now, self._tokens = clock, now, tokens
        self.session = secrets.token_hex(8)
        self.drop: Callable[[Any], None] = lambda _address: None
        self._open = self._met = 0
        self._clients: dict[_Client, int] = {}
        self._pulse: asyncio.Task[None] | None = None

    def send_away(self) -> None:
        """Tell every client that the server stops."""
        for client in list(self._clients):
            client.leave(RESTART, "the server stops")

    async def __call__(self, websocket: WebSocket) -> None:
        """Serve one client until it goes or is sent away."""
        if self._open >= self.settings.sockets:
            await self._refuse(websocket)
            return
        self._open += 1
        self.metrics.sockets.set(self._open)
        try:
            with correlation(f"socket:{websocket.state.request_id}"):
                code = await self._serve(websocket)
            self.metrics.closed.labels(str(code)).inc()
        finally:
            self._open -= 1
            self.metrics.sockets.set(self._open)

    async def _refuse(self, websocket: WebSocket) -> None:
        await websocket.receive()
        await websocket.send_denial_response(
            problem(
                503,
                f"all {self.settings.sockets} places for WebSocket clients are taken",
                hint="try again later, or raise server.sockets",
                request_id=websocket.state.request_id,
                headers={"Retry-After": "5"},
            )
        )

    async def _serve(self, websocket: WebSocket) -> int:
        """Return the code with which the connection ended."""
        offered = websocket.scope.get("subprotocols", [])
        await websocket.accept(PROTOCOL if PROTOCOL in offered else None)
        try:
            await self._sign_in(websocket, bool(offered))
            await self._talk(_Client(self, websocket))
        except _Leave as leave:
            await self._say_goodbye(websocket, leave)
            return leave.code
        except WebSocketDisconnect as gone:
            return gone.code
        return 1000

    async def _talk(self, client: _Client) -> None:
        self._met += 1
        self._clients[client] = self._met % SLICES
        if self._pulse is None:
            self._pulse = asyncio.create_task(self._beat())
        try:
            await client.talk()
        finally:
            del self._clients[client]
            if not self._clients:
                self._pulse.cancel()
                self._pulse = None

    async def _beat(self) -> None:
        """See to it that each client gets its signs of life, and send away those that do not take what they are told.

        One timer for all: a thousand clients with timers of their own would do little else.
        """
        turn = 0
        while True:
            await asyncio.sleep(self.settings.heartbeat_seconds / SLICES)
            turn = (turn + 1) % SLICES
            stuck_since = self.now() - self.settings.send_timeout_seconds
            for client in [one for one, part in self._clients.items() if part == turn]:
                client.stir(stuck_since)

    async def _sign_in(self, websocket: WebSocket, offered: bool) -> None:
        """Make sure that the client may listen; one that showed no token when it connected may send it first."""
        caller: Caller | None = websocket.state.caller
        shown = offered or "authorization" in websocket.headers
        if caller is None and not shown:
            caller = await self._introduced(websocket)
        if caller is None:
            raise _Leave(NO_TOKEN, "a valid token is needed")
        if not caller.may("read"):
            raise _Leave(SMALL_ROLE, f"the token has the role {caller.role}; this needs read")

    async def _introduced(self, websocket: WebSocket) -> Caller | None:
        try:
            async with asyncio.timeout(self.settings.sign_in_seconds):
                message = CLIENT.validate_json(await _text(websocket))
        except (TimeoutError, ValidationError):
            return None
        return self._tokens.caller(message.token) if isinstance(message, SignIn) else None

    async def _say_goodbye(self, websocket: WebSocket, leave: _Leave) -> None:
        try:
            async with asyncio.timeout(1):
                await websocket.close(leave.code, leave.reason)
        except (TimeoutError, WebSocketDisconnect, RuntimeError):
            self.drop(websocket.scope["client"])


class _Client:
    """One client that may listen: hears what it says, and tells it what it wants to know."""

    def __init__(self, home: Sockets, websocket: WebSocket) -> None:
        self._home, self._websocket, self._settings = home, websocket, home.settings
        self._turn = asyncio.Lock()
        self._awake = asyncio.Event()
        self._beat_due, self._told, self._writing_since = False, 0.0, math.inf
        self._subscription: Subscription | None = None
        self._symbols: frozenset[str] | None = None
        self._dropped = self._errors = 0
        self._allowance = Bucket(self._settings.socket_message_burst, home.now())
        self._tasks: list[asyncio.Task[None]] = []
        self._leave: _Leave | None = None

    def stir(self, stuck_since: float) -> None:
        """Let the client have a sign of life; send it away where it has been taking nothing since then."""
        self._beat_due = True
        if self._writing_since < stuck_since:
            self.leave(MISUSE, "nothing was read for too long")
        else:
            (self._awake if self._subscription is None else self._subscription.awake).set()

    def leave(self, code: int, reason: str) -> None:
        """Send the client away."""
        self._leave = _Leave(code, reason)
        for task in self._tasks:
            task.cancel()

    async def talk(self) -> None:
        """Greet, then listen and speak at once until either ends."""
        home = self._home
        await self._send(Hello(type="hello", session=home.session, seq=home.bus.seq, version=__version__))
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._speak())]
        try:
            done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            if self._leave is not None:
                raise self._leave
            for task in done:
                task.result()
        finally:
            await self._end()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._subscription is not None:
            self._subscription.close()

    # -- hearing --------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        settings = self._settings
        while True:
            text = await _text(self._websocket)
            if self._allowance.take(
                self._home.now(), settings.socket_messages_per_second, settings.socket_message_burst
            ):
                raise _Leave(MISUSE, f"more than {settings.socket_messages_per_second:g} messages a second")
            await self._heed(text)

    async def _heed(self, text: str) -> None:
        try:
            message = CLIENT.validate_json(text)
        except ValidationError as error:
            await self._complain("; ".join(fault["msg"] for fault in error.errors(include_input=False)[:3]))
            return
        if isinstance(message, Subscribe):
            await self._subscribe(message)
        elif isinstance(message, Ping):
            await self._beat()

    async def _complain(self, detail: str) -> None:
        self._errors += 1
        if self._errors > ERRORS:
            raise _Leave(MISUSE, "too many messages that mean nothing")
        await self._send(
            SocketError(
                type="error",
                detail=f"not a message that is understood: {detail}",
                hint='send {"type": "subscribe", "topics": [], "symbols": null} or {"type": "ping"}',
            )
        )

    async def _subscribe(self, wanted: Subscribe) -> None:
        """Answer with what was missed, or with everything's newest; the next delta goes on from exactly there."""
        async with self._turn:
            self._close_subscription()
            self._symbols = None if wanted.symbols is None else frozenset(wanted.symbols)
            self._subscription = self._home.bus.subscribe(wanted.topics, waiting=self._settings.waiting_events)
            missed = self._missed(self._subscription, wanted)
            if missed is not None:
                await self._write(self._home.writer.delta(missed))
            else:
                seq, events = self._subscription.begin()
                await self._write(self._home.writer.snapshot(seq, _newest(self._chosen(events))))
            self._awake.set()

    def _close_subscription(self) -> None:
        if self._subscription is not None:
            self._subscription.close()
            self._dropped += self._subscription.dropped

    def _missed(self, subscription: Subscription, wanted: Subscribe) -> list[Event] | None:
        if wanted.resume is None or wanted.session != self._home.session:
            return None
        missed = subscription.resume(wanted.resume)
        return None if missed is None or len(missed) > self._settings.waiting_events else self._chosen(missed)

    # -- speaking -------------------------------------------------------------------------------------------------

    async def _speak(self) -> None:
        while True:
            if self._beat_due:
                self._beat_due = False
                await self._beat()
            if self._subscription is None:
                self._awake.clear()
                await self._awake.wait()
            else:
                await self._subscription.ready()
                await self._tell(self._subscription)

    async def _tell(self, subscription: Subscription) -> None:
        if (pause := self._told + PAUSE - self._home.now()) > 0:
            await asyncio.sleep(pause)
        async with self._turn:
            events = self._chosen(subscription.take())
            if events:
                self._told = self._home.now()
                await self._write(self._home.writer.delta(events))
                self._home.metrics.sending.observe(self._home.now() - self._told)

    def _chosen(self, events: list[Event]) -> list[Event]:
        """Return the events of the symbols that the client wants, and those that are of no symbol."""
        if self._symbols is None:
            return events
        return [event for event in events if event.data.get("symbol") in (None, *self._symbols)]

    async def _beat(self) -> None:
        home, now = self._home, self._subscription
        dropped = self._dropped + (now.dropped if now is not None else 0)
        at = home.clock.now().isoformat()
        await self._send(Heartbeat(type="heartbeat", seq=home.bus.seq, at=at, dropped=dropped))

    async def _send(self, message: Hello | Heartbeat | SocketError) -> None:
        await self._write(message.model_dump_json())

    async def _write(self, text: str) -> None:
        self._writing_since = self._home.now()
        try:
            await self._websocket.send_text(text)
        except RuntimeError:  # it ended while this was on its way
            raise WebSocketDisconnect(1006) from None
        self._writing_since = math.inf
        self._home.metrics.messages.inc()


def _newest(events: list[Event]) -> Iterable[Event]:
    """Return a snapshot's events without the older ones of what there is a great many of."""
    counted = Counter(event.topic for event in events if event.topic in _MANY)
    for event in events:
        if event.topic in _MANY:
            counted[event.topic] -= 1
            if counted[event.topic] >= SHOWN:
                continue
        yield event


async def _text(websocket: WebSocket) -> str:
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code") or 1005)
    text: str | None = message.get("text")
    if text is None:
        raise _Leave(NOT_TEXT, "messages are JSON text")
    return text

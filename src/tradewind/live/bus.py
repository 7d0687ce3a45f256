"""Where everything that happens is said once, numbered, for whoever listens: the page, an API client, a test.

Saying something never waits for anyone. A listener that is slow loses old values of what has a newer one, and is told
how many; one that was away asks for what it missed, and gets the newest of everything where that is too much to keep.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from tradewind.clock import Clock

KEPT: Final = 20_000
"""Events that are kept for those who were away."""

WAITING: Final = 1_000
"""Events that may wait for one listener."""

EVERY: Final[frozenset[str]] = frozenset()
"""No topics in particular: all of them."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that was said.

    Attributes
    ----------
    seq
        Its number: rises by one from event to event, from 1.
    topic, key
        What it is about, and of whom: a newer event of the same topic and key takes the place of this one.
    at
        When it was said.
    data
        JSON-able; never changed afterwards.
    correlation
        Names the bar, request or job that it came from, from ingest to order.
    """

    seq: int
    topic: str
    key: str
    at: datetime
    data: Mapping[str, Any]
    correlation: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON says it."""
        return {
            "seq": self.seq,
            "topic": self.topic,
            "key": self.key,
            "at": self.at.isoformat(),
            "data": dict(self.data),
            "correlation": self.correlation,
        }


class Bus:
    """Numbers what is said and hands it on. Safe to be spoken to from any thread; listeners live in an event loop.

    Parameters
    ----------
    kept
        How many events a listener may have missed before it has to begin anew.
    """

    def __init__(self, clock: Clock, *, kept: int = KEPT) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._ring: deque[Event] = deque(maxlen=kept)
        self._newest: dict[tuple[str, str], Event] = {}
        self._listeners: list[Subscription] = []
        self.seq = 0
        self._gone = 0

    def publish(self, topic: str, key: str, data: Mapping[str, Any], *, correlation: str = "") -> Event:
        """Say something; returns the numbered event. Never waits for a listener."""
        with self._lock:
            self.seq += 1
            event = Event(self.seq, topic, key, self._clock.now(), data, correlation)
            self._ring.append(event)
            self._newest[topic, key] = event
            for listener in self._listeners:
                listener.offer(event)
        return event

    def snapshot(self, topics: Collection[str] = EVERY) -> tuple[int, list[Event]]:
        """Return the number of the last event, and the newest event of every topic and key, in their order."""
        with self._lock:
            chosen = [e for e in self._newest.values() if not topics or e.topic in topics]
            return self.seq, sorted(chosen, key=lambda event: event.seq)

    def since(self, seq: int, topics: Collection[str] = EVERY) -> list[Event] | None:
        """Return what was said after event ``seq``; None where that is not kept any more, or was never said."""
        with self._lock:
            if seq > self.seq or (seq < self.seq and (not self._ring or self._ring[0].seq > seq + 1)):
                return None
            return [e for e in self._ring if e.seq > seq and (not topics or e.topic in topics)]

    def subscribe(self, topics: Collection[str] = EVERY, *, waiting: int = WAITING) -> Subscription:
        """Listen from now on; call it in a running event loop, and ``close`` it in the end."""
        made = Subscription(self, frozenset(topics), waiting)
        with self._lock:
            self._listeners.append(made)
        return made

    def forget(self, listener: Subscription) -> None:
        """Say nothing more to a listener."""
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)
                self._gone += listener.dropped

    @property
    def listeners(self) -> int:
        """How many are listening."""
        return len(self._listeners)

    @property
    def dropped(self) -> int:
        """How many events were not delivered because a listener was too slow, of all listeners so far."""
        with self._lock:
            return self._gone + sum(listener.dropped for listener in self._listeners)


class Subscription:
    """What one listener has yet to hear: the newest of each topic and key, at most so many.

    Iterate over it, or take what there is with :meth:`take`.
    """

    def __init__(self, bus: Bus, topics: frozenset[str], waiting: int) -> None:
        self._bus, self.topics, self._most = bus, topics, waiting
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._lock = threading.Lock()
        self._waiting: OrderedDict[tuple[str, str], Event] = OrderedDict()
        self.dropped = 0
        self._closed = False

    def offer(self, event: Event) -> None:
        """Take note of an event; an older one of the same topic and key is dropped and counted."""
        if self.topics and event.topic not in self.topics:
            return
        with self._lock:
            if self._closed:
                return
            if self._waiting.pop((event.topic, event.key), None) is not None:
                self.dropped += 1
            self._waiting[event.topic, event.key] = event
            if len(self._waiting) > self._most:
                self._waiting.popitem(last=False)
                self.dropped += 1
        self._wake()

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._ready.set)
        except RuntimeError:  # the listener's event loop has ended before it said so
            self._closed = True

    def take(self) -> list[Event]:
        """Return what has not been heard yet, oldest first, without waiting."""
        with self._lock:
            events, self._waiting = list(self._waiting.values()), OrderedDict()
        return events

    async def heard(self) -> list[Event]:
        """Wait for something to hear; empty once it is closed."""
        while not self._closed:
            self._ready.clear()
            events = self.take()
            if events:
                return events
            await self._ready.wait()
        return []

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Hear everything until it is closed."""
        while events := await self.heard():
            for event in events:
                yield event

    def close(self) -> None:
        """Listen no more."""
        self._closed = True
        self._bus.forget(self)
        self._wake()

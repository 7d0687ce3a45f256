"""Where everything that happens is said once, numbered, for whoever listens: the page, an API client, a test.

Saying something never waits for anyone. A listener that is slow loses old values of what has a newer one, and is told
how many; one that was away asks for what it missed, and gets the newest of everything where that is too much to keep.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Any, Final

from tradewind.clock import Clock

KEPT: Final = 5_000
"""Events that are kept for those who were away: more than a listener is told at once before it begins anew."""

NEWEST: Final = 20_000
"""Topics and keys whose newest event is kept."""

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

    Saying something costs the same whether one or a thousand are listening: a listener only remembers up to where it
    has heard, and reads from there when it comes to it.

    Parameters
    ----------
    kept
        How many events a listener may have missed before it has to begin anew.
    newest
        Of how many topics and keys the newest event is kept.
    """

    def __init__(self, clock: Clock, *, kept: int = KEPT, newest: int = NEWEST) -> None:
        self._clock, self._lock, self._most = clock, threading.Lock(), newest
        self._ring: deque[Event] = deque(maxlen=kept)
        self._newest: OrderedDict[tuple[str, str], Event] = OrderedDict()
        self._said: Counter[str] = Counter()
        self._listeners: list[Subscription] = []
        self._asleep: dict[asyncio.AbstractEventLoop, set[Subscription]] = {}
        self.seq = 0
        self._gone = 0

    def publish(self, topic: str, key: str, data: Mapping[str, Any], *, correlation: str = "") -> Event:
        """Say something; returns the numbered event. Never waits for a listener."""
        with self._lock:
            self.seq += 1
            event = Event(self.seq, topic, key, self._clock.now(), data, correlation)
            self._ring.append(event)
            self._keep(event)
            self._said[topic] += 1
            asleep, self._asleep = self._asleep, {}
        for loop, listeners in asleep.items():
            _wake(loop, listeners)
        return event

    def _keep(self, event: Event) -> None:
        """Keep the newest event of each topic and key, in their order."""
        self._newest.pop((event.topic, event.key), None)
        self._newest[event.topic, event.key] = event
        if len(self._newest) > self._most:
            self._newest.popitem(last=False)

    def snapshot(self, topics: Collection[str] = EVERY) -> tuple[int, list[Event]]:
        """Return the number of the last event, and the newest event of every topic and key, in their order."""
        with self._lock:
            return self.seq, self._chosen(topics)

    def since(self, seq: int, topics: Collection[str] = EVERY) -> list[Event] | None:
        """Return what was said after event ``seq``; None where that is not kept any more, or was never said."""
        with self._lock:
            return self._missed(seq, topics)

    def subscribe(self, topics: Collection[str] = EVERY, *, waiting: int = WAITING) -> Subscription:
        """Listen from now on; call it in a running event loop, and ``close`` it in the end."""
        made = Subscription(self, frozenset(topics), waiting)
        with self._lock:
            self._listeners.append(made)
            self._up_to_date(made)
        return made

    def forget(self, listener: Subscription) -> None:
        """Say nothing more to a listener."""
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)
                self._fresh(listener)
                self._gone += listener.dropped
            self._asleep.get(listener.loop, set()).discard(listener)

    def collect(self, listener: Subscription) -> list[Event]:
        """Return what a listener has not heard yet, the newest of each topic and key, and count the rest as dropped."""
        with self._lock:
            return self._fresh(listener)

    def begin(self, listener: Subscription) -> tuple[int, list[Event]]:
        """Return the snapshot of a listener's topics; it hears what is said after that."""
        with self._lock:
            self._up_to_date(listener)
            return self.seq, self._chosen(listener.topics)

    def resume(self, listener: Subscription, seq: int) -> list[Event] | None:
        """Return what a listener missed since event ``seq``, as :meth:`since`; it hears what is said after that."""
        with self._lock:
            missed = self._missed(seq, listener.topics)
            if missed is not None:
                self._up_to_date(listener)
            return missed

    def rest(self, listener: Subscription) -> bool:
        """Note that a listener wants to be woken; False where there is something to hear already."""
        with self._lock:
            if self._count(listener.topics) != listener.counted:
                return False
            self._asleep.setdefault(listener.loop, set()).add(listener)
        return True

    @property
    def listeners(self) -> int:
        """How many are listening."""
        return len(self._listeners)

    @property
    def dropped(self) -> int:
        """How many events were not delivered because a listener was too slow, of all listeners so far."""
        with self._lock:
            return self._gone + sum(listener.dropped for listener in self._listeners)

    @property
    def said(self) -> dict[str, int]:
        """How many events there were of each topic."""
        with self._lock:
            return dict(self._said)

    def _fresh(self, listener: Subscription) -> list[Event]:
        fresh = takewhile(lambda event: event.seq > listener.heard_until, reversed(self._newest.values()))
        wanted = [event for event in fresh if not listener.topics or event.topic in listener.topics]
        events = wanted[: listener.waiting][::-1]
        listener.dropped += self._count(listener.topics) - listener.counted - len(events)
        self._up_to_date(listener)
        return events

    def _chosen(self, topics: Collection[str]) -> list[Event]:
        return [event for event in self._newest.values() if not topics or event.topic in topics]

    def _missed(self, seq: int, topics: Collection[str]) -> list[Event] | None:
        if seq > self.seq or (seq < self.seq and (not self._ring or self._ring[0].seq > seq + 1)):
            return None
        missed = takewhile(lambda event: event.seq > seq, reversed(self._ring))
        return [event for event in missed if not topics or event.topic in topics][::-1]

    def _up_to_date(self, listener: Subscription) -> None:
        listener.heard_until, listener.counted = self.seq, self._count(listener.topics)

    def _count(self, topics: Collection[str]) -> int:
        return sum(self._said[topic] for topic in topics) if topics else self.seq


class Subscription:
    """What one listener has yet to hear: the newest of each topic and key, at most so many.

    Iterate over it, or take what there is with :meth:`take`.
    """

    def __init__(self, bus: Bus, topics: frozenset[str], waiting: int) -> None:
        self._bus, self.topics, self.waiting = bus, topics, waiting
        self.loop = asyncio.get_running_loop()
        self.awake = asyncio.Event()
        self.heard_until, self.counted, self.dropped = 0, 0, 0
        self._closed = False

    def take(self) -> list[Event]:
        """Return what has not been heard yet, oldest first, without waiting."""
        return [] if self._closed else self._bus.collect(self)

    async def ready(self) -> None:
        """Wait until there may be something to hear, it is closed, or somebody sets ``awake``."""
        self.awake.clear()
        if not self._closed and self._bus.rest(self):
            await self.awake.wait()

    def begin(self) -> tuple[int, list[Event]]:
        """Return the number of the last event and the newest of each topic and key, and hear what comes after."""
        return self._bus.begin(self)

    def resume(self, seq: int) -> list[Event] | None:
        """Return what was said after event ``seq``, and hear what comes after; None as :meth:`Bus.since`."""
        return self._bus.resume(self, seq)

    async def heard(self) -> list[Event]:
        """Wait for something to hear; empty once it is closed."""
        while not self._closed:
            if events := self.take():
                return events
            await self.ready()
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
        _wake(self.loop, [self])


def _wake(loop: asyncio.AbstractEventLoop, listeners: Collection[Subscription]) -> None:
    try:
        loop.call_soon_threadsafe(_rouse, listeners)
    except RuntimeError:  # their event loop has ended before they said so
        return


def _rouse(listeners: Collection[Subscription]) -> None:
    for listener in listeners:
        listener.awake.set()

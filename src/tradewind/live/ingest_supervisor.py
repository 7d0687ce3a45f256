"""Services that look after themselves: a failure starts one again, many leave it alone for a while, none harms another.

A service is a coroutine that runs until it fails. Nothing here compares clock times to decide how long to wait, so a
clock that jumps changes what is shown and nothing else.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from tradewind.clock import Clock
from tradewind.errors import InputError, TradewindError
from tradewind.live.settings_ingest import IngestSection

Level = Literal["info", "warning", "critical"]
State = Literal["ok", "starting", "retrying", "open", "stopped"]

Alarm = Callable[[Level, str, str, Mapping[str, Any]], None]
"""Told level, kind, what happened, and details."""

Sleep = Callable[[float], Awaitable[None]]

_HOUR: Final = timedelta(hours=1)
_LOOKS: Final = 4
"""How often within the time allowed for silence a sign of life is looked for."""


def silence(level: Level, kind: str, what: str, detail: Mapping[str, Any]) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How a failing service is treated.

    Attributes
    ----------
    first_s, longest_s
        The pause before it is started again doubles from the first to at most the second; each is shortened at random
        by up to half.
    failures_to_open
        After so many failures in a row it is left alone for ``open_s``; then one attempt decides.
    silent_s
        Without a sign of life for so long it counts as failed.
    """

    first_s: float = 1.0
    longest_s: float = 60.0
    failures_to_open: int = 5
    open_s: float = 300.0
    silent_s: float = 300.0

    @classmethod
    def of(cls, settings: IngestSection) -> Retry:
        """Return what a section says."""
        return cls(
            settings.retry_first_seconds,
            settings.retry_longest_seconds,
            settings.failures_to_open,
            settings.open_seconds,
            settings.silent_seconds,
        )


class Breaker:
    """Counts failures in a row and says how long to leave a service alone. Pure: chance comes from ``draw``."""

    def __init__(self, retry: Retry, draw: Callable[[], float]) -> None:
        self._retry, self._draw = retry, draw
        self.failures = 0

    @property
    def is_open(self) -> bool:
        """Whether so many failures came in a row that the next attempt is a single one after a long pause."""
        return self.failures >= self._retry.failures_to_open

    def succeeded(self) -> None:
        """Close it."""
        self.failures = 0

    def failed(self, asked_s: float = 0.0) -> float:
        """Take note of a failure; return the pause in seconds, at least what the other side asked for."""
        self.failures += 1
        if self.is_open:
            return max(self._retry.open_s, asked_s)
        pause = min(self._retry.first_s * 2.0 ** (self.failures - 1), self._retry.longest_s)
        return max(pause * (1 - 0.5 * self._draw()), asked_s)


class Watch:
    """What a service says of itself while it runs."""

    def __init__(self, name: str, clock: Clock, breaker: Breaker, alarm: Alarm = silence) -> None:
        self.name, self._clock, self._breaker, self._alarm = name, clock, breaker, alarm
        self.state: State = "starting"
        self.last_success: datetime | None = None
        self.last_error: str | None = None
        self.heartbeat: datetime | None = None
        self.next_try: datetime | None = None
        self.beats = 0

    def beat(self) -> None:
        """Say that it is alive."""
        self.beats += 1
        self.heartbeat = self._clock.now()

    def ok(self) -> None:
        """Say that it did what it is there for."""
        self.beat()
        if self._breaker.is_open:
            self._alarm("info", "service", f"{self.name} works again", {"service": self.name})
        self._breaker.succeeded()
        self.state, self.last_success, self.next_try = "ok", self.heartbeat, None

    def trouble(self, error: BaseException) -> None:
        """Take note of something that failed without ending the service."""
        self.last_error = said(error)

    def to_dict(self) -> dict[str, Any]:
        """Return it as the health page shows it."""
        moments = {name: getattr(self, name) for name in ("last_success", "next_try", "heartbeat")}
        return {
            "name": self.name,
            "state": self.state,
            "last_error": self.last_error,
            "failures": self._breaker.failures,
            **{name: moment and moment.isoformat() for name, moment in moments.items()},
        }


def said(error: BaseException) -> str:
    """Return what an error says, in one line that is no longer than a line should be."""
    text = error.what if isinstance(error, TradewindError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:300]


Service = Callable[[Watch], Awaitable[None]]


@dataclass
class _Kept:
    run: Service
    watch: Watch
    breaker: Breaker
    retry: Retry
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class Supervisor:
    """Keeps services running, each a task of its own.

    Parameters
    ----------
    alarm
        Told when a service is left alone for long, comes back, or is stopped for good.
    seed
        Of the random part of pauses.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        sleep: Sleep = asyncio.sleep,
        alarm: Alarm = silence,
        retry: Retry | None = None,
        seed: int = 0,
    ) -> None:
        self._clock, self._sleep, self._alarm = clock, sleep, alarm
        self._retry, self._random = retry or Retry(), random.Random(seed)
        self._kept: dict[str, _Kept] = {}

    def add(self, name: str, service: Service, *, retry: Retry | None = None) -> None:
        """Add a service; it starts with the others, or at once where they run already."""
        if name in self._kept:
            raise InputError(f"there is a service {name!r} already", hint="give each its own name")
        chosen = retry or self._retry
        breaker = Breaker(chosen, self._random.random)
        self._kept[name] = _Kept(service, Watch(name, self._clock, breaker, self._alarm), breaker, chosen)

    async def start(self) -> None:
        """Start every service that does not run."""
        for name, kept in self._kept.items():
            if kept.task is None:
                kept.task = asyncio.create_task(self._keep(kept), name=f"service {name}")

    async def stop(self) -> None:
        """End every service and wait until all have ended."""
        tasks = [kept.task for kept in self._kept.values() if kept.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for kept in self._kept.values():
            kept.task, kept.watch.state, kept.watch.next_try = None, "stopped", None

    def state(self) -> list[dict[str, Any]]:
        """Return how each service is: ``health.services``."""
        return [kept.watch.to_dict() for kept in self._kept.values()]

    def watch(self, name: str) -> Watch:
        """Return what a service says of itself."""
        return self._kept[name].watch

    async def _keep(self, kept: _Kept) -> None:
        watch = kept.watch
        while True:
            watch.state = "starting" if watch.last_error is None else "retrying"
            watch.next_try = None
            was_open = kept.breaker.is_open
            try:
                await self._run(kept)
            except InputError as error:
                self._give_up(watch, error)
                return
            except Exception as error:  # noqa: BLE001 - whatever it dies of must not take the others down
                await self._pause(kept, error, was_open)
            else:
                watch.state = "stopped"
                return

    async def _run(self, kept: _Kept) -> None:
        """Run a service until it ends, fails, or gives no sign of life any more."""
        kept.watch.beat()
        work = asyncio.ensure_future(kept.run(kept.watch))
        guard = asyncio.create_task(self._listen(kept))
        try:
            await asyncio.wait((work, guard), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
                return
            raise TimeoutError(f"no sign of life for {kept.retry.silent_s:g} s")
        finally:
            await _ended(guard, work)

    async def _listen(self, kept: _Kept) -> None:
        """Return once a service has been silent for long; by counting, not by comparing times."""
        silent, heard = 0, kept.watch.beats
        while silent < _LOOKS:
            await self._sleep(kept.retry.silent_s / _LOOKS)
            silent = silent + 1 if kept.watch.beats == heard else 0
            heard = kept.watch.beats
        return

    async def _pause(self, kept: _Kept, error: Exception, was_open: bool) -> None:
        watch = kept.watch
        watch.last_error = said(error)
        pause = kept.breaker.failed(float(getattr(error, "after_s", None) or 0.0))
        watch.state = "open" if kept.breaker.is_open else "retrying"
        watch.next_try = self._clock.now() + timedelta(seconds=pause)
        if kept.breaker.is_open and not was_open:
            what = f"{watch.name} failed {kept.breaker.failures} times in a row: {watch.last_error}"
            self._alarm("critical", "service", what, {"service": watch.name, "next_try": watch.next_try.isoformat()})
        await self._sleep(pause)

    def _give_up(self, watch: Watch, error: InputError) -> None:
        watch.last_error, watch.state, watch.next_try = said(error), "stopped", None
        what = f"{watch.name} is stopped until somebody corrects it: {watch.last_error}"
        self._alarm("critical", "service", what, {"service": watch.name, "hint": error.hint})


async def _ended(*tasks: asyncio.Future[None]) -> None:
    """Cancel tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, Exception):
            await task


class Pace:
    """No more than so many requests in any hour; each is let go once there is room for it."""

    def __init__(self, per_hour: int, clock: Clock, *, sleep: Sleep = asyncio.sleep) -> None:
        self._most, self._clock, self._sleep = per_hour, clock, sleep
        self._made: deque[tuple[datetime, int]] = deque()

    async def turn(self, requests: int = 1) -> None:
        """Wait until so many requests may be made; more than fit into an hour wait until none is left in it."""
        while (used := self._used()) and used + requests > self._most:
            await self._sleep(max((self._made[0][0] + _HOUR - self._clock.now()).total_seconds(), 0.001))
        self._made.append((self._clock.now(), requests))

    def _used(self) -> int:
        now = self._clock.now()
        if self._made and self._made[-1][0] > now:  # the clock went back: nothing was made in the future
            back = self._made[-1][0] - now
            self._made = deque((moment - back, count) for moment, count in self._made)
        while self._made and self._made[0][0] + _HOUR <= now:
            self._made.popleft()
        return sum(count for _, count in self._made)

"""What a running corridor does when: by the exchange's sessions and the clock it is given, missed runs made up once.

The times are a pure function of settings and calendar. A replay asks what has come due since the bar before and runs
it; a live corridor is woken by APScheduler and asks the same. What was done last is kept in the records, so that after
an outage each task that was missed runs once, however often it was missed.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tradewind.clock import Clock
from tradewind.errors import RetryError, TradewindError
from tradewind.evaluation.schedule_settings import ScheduleSection
from tradewind.market.calendar import Calendar, calendar, instant
from tradewind.market.store.lock import writer_lock
from tradewind.market.store.records import Job, Records

PRICES, SENTIMENT, SIGNALS, RETRAIN, COMPACT = "prices", "sentiment", "signals", "retrain", "compact"

TASKS: Final = (PRICES, SENTIMENT, SIGNALS, RETRAIN, COMPACT)
"""In the order in which they run where they come due together: what decides sees the newest prices and news."""

KIND: Final = "schedule"
"""What the state of a task is called among the jobs of the records."""

LOCK: Final = "schedule.lock"

Action = Callable[[datetime], Awaitable[Any] | Any]
"""Does a task that was due at a time; a plain function is called in a thread of its own."""

_MINUTE: Final = np.timedelta64(1, "m")
_LONGEST_SLEEP: Final = timedelta(minutes=1)
_SHORTEST_SLEEP: Final = timedelta(milliseconds=50)
_AGAIN: Final = timedelta(minutes=5)

TimeArray = NDArray[np.datetime64]


@dataclass(frozen=True)
class Schedule:
    """When what is due. Pure: nothing here knows what time it is."""

    settings: ScheduleSection

    @cached_property
    def calendar(self) -> Calendar:
        """The exchange's sessions."""
        return calendar(self.settings.exchange)

    def due(self, since: datetime, until: datetime) -> list[tuple[datetime, str]]:
        """Return what comes due after ``since`` and by ``until``, in the order in which it is to be done.

        Due from ``a`` to ``b`` and from ``b`` to ``c`` are together due from ``a`` to ``c``.
        """
        low, high = instant(since), instant(until)
        found = [(_moment(time), task) for task in TASKS for time in self._times(task, low, high) if low < time <= high]
        return sorted(found, key=lambda one: (one[0], TASKS.index(one[1])))

    def next(self, after: datetime) -> datetime | None:
        """Return the first moment after this one at which anything is due; None where nothing is for two months."""
        for days in (1, 7, 60):
            found = self.due(after, after + timedelta(days=days))
            if found:
                return found[0][0]
        return None

    def _times(self, task: str, low: np.datetime64, high: np.datetime64) -> TimeArray:
        """Return times of a task that contain all between two instants."""
        wanted = self.settings
        if task == PRICES:
            return self._while_open(wanted.prices_minutes, low, high)
        if task == SENTIMENT:
            return _around_the_clock(wanted.sentiment_minutes, low, high)
        if task == SIGNALS:
            return self._while_open(wanted.signals_minutes, low, high)
        if task == COMPACT:
            return _later(self._closes(low, high), wanted.compact_after_minutes)
        if wanted.retrain == "never":
            return _nothing()
        closes: TimeArray = self._closes(low, high)
        kept: TimeArray = closes[self._last_of_week(closes)] if wanted.retrain == "weekly" else closes
        return _later(kept, wanted.retrain_after_minutes)

    def _sessions(self, low: np.datetime64, high: np.datetime64) -> slice:
        """Return the sessions that reach into two instants, and those that ended up to two days before."""
        first = int(np.searchsorted(self.calendar.closes, low - np.timedelta64(2, "D")))
        return slice(first, int(np.searchsorted(self.calendar.opens, high, side="right")))

    def _closes(self, low: np.datetime64, high: np.datetime64) -> TimeArray:
        return self.calendar.closes[self._sessions(low, high)]

    def _while_open(self, minutes: int | None, low: np.datetime64, high: np.datetime64) -> TimeArray:
        """Return every so many minutes after each open, and the close."""
        if minutes is None:
            return _nothing()
        part = self._sessions(low, high)
        step = minutes * _MINUTE
        found = [
            np.append(np.arange(opened + step, closed, step), closed)
            for opened, closed in zip(self.calendar.opens[part], self.calendar.closes[part], strict=True)
        ]
        return np.concatenate(found) if found else _nothing()

    def _last_of_week(self, closes: TimeArray) -> NDArray[np.bool_]:
        sessions = self.calendar.sessions[np.searchsorted(self.calendar.closes, closes)]
        return np.asarray(self.calendar.week_close_of(sessions) == closes)


def _around_the_clock(minutes: int | None, low: np.datetime64, high: np.datetime64) -> TimeArray:
    """Return every so many minutes of the day, in UTC."""
    if minutes is None:
        return _nothing()
    days = np.arange(low.astype("datetime64[D]"), high.astype("datetime64[D]") + np.timedelta64(1, "D"))
    of_day = np.arange(0, 24 * 60, minutes) * _MINUTE
    times: TimeArray = np.add(days.astype("datetime64[us]")[:, None], of_day)
    return times.ravel()


def _later(times: TimeArray, minutes: int) -> TimeArray:
    later: TimeArray = np.add(times, minutes * _MINUTE)
    return later


def _nothing() -> TimeArray:
    return np.array([], dtype="datetime64[us]")


def _moment(time: np.datetime64) -> datetime:
    found: datetime = time.astype("datetime64[us]").item()
    return found.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Ran:
    """One run of a task.

    Attributes
    ----------
    time
        When it was due: where several were missed, the last of them.
    missed
        How many runs before that were missed and are not made up.
    error
        What went wrong; None where nothing did.
    """

    task: str
    time: datetime
    missed: int
    error: str | None = None


@dataclass(slots=True)
class _State:
    """What the records know of a task."""

    job: Job
    last: datetime
    again: datetime | None = None


class Scheduler:
    """Runs a schedule's tasks for one playbook of a home, each at most once at a time.

    Parameters
    ----------
    actions
        What each task does; a task without an action is never due.
    heard
        Told of every run that has ended.

    ``open`` it, then either ``await run_due(now)`` whenever simulated time has moved, or ``start`` it in a running
    event loop; ``close`` it in the end.
    """

    def __init__(
        self,
        schedule: Schedule,
        clock: Clock,
        records: Records,
        home: Path,
        playbook: str,
        actions: Mapping[str, Action],
        heard: Callable[[Ran], None] | None = None,
    ) -> None:
        self.schedule, self._clock, self._records = schedule, clock, records
        self._home, self._playbook = home, playbook
        self._actions, self._heard = dict(actions), heard
        self._states: dict[str, _State] = {}
        self._running: dict[str, asyncio.Task[Ran]] = {}
        self._held = ExitStack()
        self._waker: Any = None

    def open(self) -> None:
        """Take the home's one place for a schedule and recall what was done; ``RetryError`` where another has it."""
        try:
            self._held.enter_context(writer_lock(self._home / LOCK, patience_seconds=0.0))
        except RetryError as error:
            raise RetryError(
                f"another schedule of {self._home} is running",
                hint="stop the other `tradewind live` first, or set TRADEWIND_HOME to another folder",
            ) from error
        for task in self._actions:
            self._states[task] = self._recalled(task)

    def due(self, now: datetime) -> list[Ran]:
        """Return what has to run now: of each task that is not running the last time it was due, if it was."""
        free = {
            task: state
            for task, state in self._states.items()
            if task not in self._running and (state.again is None or now >= state.again)
        }
        times: dict[str, list[datetime]] = {task: [] for task in free}
        for time, task in self.schedule.due(min((s.last for s in free.values()), default=now), now):
            if task in free and time > free[task].last:
                times[task].append(time)
        found = [Ran(task, own[-1], len(own) - 1) for task, own in times.items() if own]
        return sorted(found, key=lambda one: (one.time, TASKS.index(one.task)))

    async def run_due(self, now: datetime | None = None) -> list[Ran]:
        """Run what has come due by now, one after the other, and return what came of it."""
        return [await self._run(one) for one in self.due(now or self._clock.now())]

    def start(self) -> None:
        """Wake up by the clock from now on, in the running event loop; tasks that take long hold up no other."""
        from apscheduler.schedulers.asyncio import AsyncIOScheduler

        self._waker = AsyncIOScheduler(event_loop=asyncio.get_running_loop(), timezone=UTC)
        self._wake()
        self._waker.add_job(self._woken, self._trigger(), coalesce=True, max_instances=1, misfire_grace_time=None)
        self._waker.start()

    async def close(self) -> None:
        """Wake up no more, wait for what is running, and give the place free."""
        if self._waker is not None:
            self._waker.shutdown(wait=False)
            self._waker = None
        if self._running:
            await asyncio.gather(*self._running.values(), return_exceptions=True)
        self._held.close()

    def waits(self) -> timedelta:
        """Return how long there is nothing to do, at most a minute: clocks are set, and machines sleep."""
        now = self._clock.now()
        found = [time for time in (self.schedule.next(now), *(s.again for s in self._states.values())) if time]
        later = [time - now for time in found if time > now]
        return max(_SHORTEST_SLEEP, min([_LONGEST_SLEEP, *later]))

    async def _woken(self) -> None:
        self._wake()

    def _wake(self) -> None:
        for one in self.due(self._clock.now()):
            task = asyncio.get_running_loop().create_task(self._run(one), name=one.task)
            self._running[one.task] = task
            task.add_done_callback(lambda ended: self._running.pop(ended.get_name(), None))

    def _trigger(self) -> Any:
        from apscheduler.triggers.base import BaseTrigger

        waits = self.waits

        class ByClock(BaseTrigger):
            """Fires when the given clock, and not the machine's, says so."""

            def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
                return now + waits()

        return ByClock()

    async def _run(self, one: Ran) -> Ran:
        state = self._states[one.task]
        try:
            await self._act(one)
        except RetryError as error:
            state.again = self._clock.now() + _AGAIN
            ended = replace(one, error=error.what)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the others go on
            state.last, state.again = one.time, None
            ended = replace(one, error=error.what if isinstance(error, TradewindError) else repr(error))
        else:
            state.last, state.again, ended = one.time, None, one
        self._remember(state, ended)
        if self._heard is not None:
            self._heard(ended)
        return ended

    async def _act(self, one: Ran) -> None:
        action = self._actions[one.task]
        if inspect.iscoroutinefunction(action):
            await action(one.time)
            return
        came = await asyncio.to_thread(action, one.time)
        if inspect.isawaitable(came):
            await came

    def _recalled(self, task: str) -> _State:
        """Return what a task did last; one that never ran begins with what is due from now on."""
        now = self._clock.now()
        key = hashlib.sha256(f"{self._playbook} {task}".encode()).hexdigest()
        detail = {"playbook": self._playbook, "task": task, "last": now.isoformat(), "runs": 0, "missed": 0}
        job = self._records.resume_job(KIND, key, started=now, detail=detail)
        return _State(job, datetime.fromisoformat(job.detail["last"]))

    def _remember(self, state: _State, ran: Ran) -> None:
        known = state.job.detail
        detail = {
            **known,
            "last": state.last.isoformat(),
            "runs": known["runs"] + 1,
            "missed": known["missed"] + ran.missed,
            "error": ran.error,
        }
        self._records.update_job(state.job, **detail)
        state.job = replace(state.job, detail=detail)

"""Prices on their way in: from a feed through the gate into the lake, and only then to whoever acts on them.

Each service is a task of its own under a supervisor. A close is one append, durable before it is handed on. What an
outage left out is asked for afterwards; what a kill left unheard is in the lake and is told at the next start.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import polars as pl

from tradewind.clock import Clock
from tradewind.errors import RetryError, TradewindError
from tradewind.live.ingest_freshness import Freshness
from tradewind.live.ingest_gate import BarGate, Close, Passed, Refused, Row, Rules
from tradewind.live.ingest_store import BarStore, ClosedBars, How, correlation_of, no_rows
from tradewind.live.ingest_supervisor import Alarm, Breaker, Pace, Retry, Service, Sleep, Supervisor, Watch, silence
from tradewind.live.settings_ingest import IngestSection
from tradewind.market.bars import SOURCE_BAR_COLUMNS, UTC_TIME
from tradewind.market.calendar import calendar
from tradewind.market.feeds import Arrival, Feed, Wanted
from tradewind.market.sources.base import Request, Source, Tick
from tradewind.market.sources.poll import OVERLAP_BARS, PollFeed
from tradewind.market.store.lake import Lake
from tradewind.market.sync import source_tag

OffLoop = Callable[..., Awaitable[Any]]

_WAITING: Final = 64
"""Arrivals that may wait for the gate; then the feed waits."""

_REMEMBERED: Final = timedelta(days=2)
"""So far back of the newest bar the lake is looked at for holes, and for what is no news."""
_FIRST_LOOK: Final = timedelta(days=1)
_LOOK_S: Final = 5.0
_JUMP: Final = timedelta(seconds=60)
_QUARANTINE: Final = 1000
_REPORTED: Final = 3

Kind = Literal["told", "filled", "unfilled", "over", "failed"]


@dataclass(frozen=True, slots=True)
class _Word:
    """Something that the price service hears: from its feed, or from a question of its own."""

    kind: Kind
    at: datetime
    arrival: Arrival | None = None
    until: datetime | None = None
    error: Exception | None = None


class Ticks:
    """The newest price of each symbol, for whoever wants to show it. A slow listener misses older ones."""

    def __init__(self) -> None:
        self._newest: dict[str, Tick] = {}
        self._news = asyncio.Event()
        self.dropped = 0

    def put(self, ticks: Sequence[Tick]) -> None:
        """Take prices; an unheard one of the same symbol is dropped and counted."""
        for tick in ticks:
            self.dropped += self._newest.pop(tick.symbol, None) is not None
            self._newest[tick.symbol] = tick
        if self._newest:
            self._news.set()

    async def heard(self) -> tuple[Tick, ...]:
        """Wait for prices; at most one of each symbol."""
        await self._news.wait()
        self._news.clear()
        news, self._newest = tuple(self._newest.values()), {}
        return news

    async def __aiter__(self) -> AsyncIterator[tuple[Tick, ...]]:
        """Hear prices for ever."""
        while True:
            yield await self.heard()


class Ingest:
    """What arrives while the market moves, stored and then told.

    Parameters
    ----------
    lake
        Best one of its own: another thread writes to it.
    symbols, timeframe
        What is traded. The lake must know it already as far as anybody needs its past (``tradewind sync``).
    feed
        Who speaks. One that moves the clock (a replay) goes on only once what it said was acted upon.
    source
        Who is asked for what the feed left out; None: nobody, and it stays missing.
    tag
        What the lake calls the source; its own name when None.
    alarm
        Told of what somebody should look at.
    off_loop
        How blocking work is done elsewhere; ``asyncio.to_thread`` by default.

    Attributes
    ----------
    ticks
        Prices between closes.
    supervisor
        Of ``prices`` and whatever is added (:meth:`add`).
    freshness
        Of the newest bar.
    quarantine
        The last rows that were refused, and why.
    """

    def __init__(
        self,
        lake: Lake,
        settings: IngestSection,
        *,
        symbols: Sequence[str],
        timeframe: str,
        feed: Feed,
        source: Source | None,
        clock: Clock,
        tag: str | None = None,
        exchange: str = "XNYS",
        alarm: Alarm = silence,
        sleep: Sleep = asyncio.sleep,
        off_loop: OffLoop = asyncio.to_thread,
    ) -> None:
        self._settings, self._feed, self._source, self._clock = settings, feed, source, clock
        self._alarm, self._sleep, self._off_loop = alarm, sleep, off_loop
        self._calendar, self._lag = calendar(exchange), timedelta(0) if source is None else source.publication_lag
        self._lockstep = bool(getattr(feed, "moves_clock", False))
        self.symbols, self.timeframe = tuple(symbols), timeframe
        name = tag or (feed.name if source is None else source_tag(source))
        self.store = BarStore(lake, name, timeframe, self.symbols)
        self.supervisor = Supervisor(clock, sleep=sleep, alarm=alarm, retry=Retry.of(settings), seed=settings.seed)
        self.supervisor.add("prices", self._prices)
        limit = timedelta(minutes=settings.stale_minutes)
        self.freshness = Freshness(self._calendar, timeframe, limit, clock.now())
        self.ticks, self.quarantine = Ticks(), deque[Refused](maxlen=_QUARANTINE)
        self._closed: asyncio.Queue[ClosedBars | None] = asyncio.Queue()
        self._earlier: list[pl.DataFrame] = []
        self._attempts: Counter[datetime] = Counter()
        self._alarmed: dict[str, datetime] = {}
        self._caught_up = False
        self._unsettled: tuple[Passed, pl.DataFrame | None] | None = None
        self._filling: asyncio.Task[None] | None = None
        self._repaired_at: datetime | None = None
        self._lived: tuple[datetime, float] | None = None
        self.gate = self._new_gate(None)

    def add(self, name: str, service: Service) -> None:
        """Add a service beside the prices: news, macro series."""
        self.supervisor.add(name, service)

    def state(self) -> list[dict[str, Any]]:
        """Return how each service is: ``health.services``."""
        return self.supervisor.state()

    def health(self) -> dict[str, Any]:
        """Return services, freshness, ticks that nobody heard, and rows by what became of them."""
        return {
            "services": self.state(),
            "freshness": self.freshness.reading(self._clock.now()).to_dict(),
            "dropped": self.ticks.dropped,
            "rows": dict(self.gate.counts),
        }

    async def closed_bars(self, after: datetime | None = None) -> AsyncGenerator[ClosedBars, None]:
        """Start all services and yield each close once it is stored, in order.

        Parameters
        ----------
        after
            The newest close that was acted upon before. Closes after it that the lake has already come first (a process
            that died between storing and acting left them), then what was missed while nothing ran, then what arrives.
            None: only what is newer than the lake.
        """
        newest = await self._off_loop(self.store.newest)
        await self._begin(newest, after)
        try:
            if after is not None:
                for closed in await self._off_loop(lambda: list(self.store.closes(after))):
                    if newest is not None and closed.time <= newest:
                        yield closed
            await self.supervisor.start()
            while (batch := await self._closed.get()) is not None:
                yield batch
                self._closed.task_done()
        finally:
            await self.stop()

    async def stop(self) -> None:
        """End all services."""
        await self.supervisor.stop()

    # -- the price service -----------------------------------------------------------------------------------

    async def _begin(self, newest: datetime | None, after: datetime | None) -> None:
        begun = newest if after is None or (newest is not None and newest > after) else after
        self.gate = self._new_gate(begun)
        if newest is not None:
            self.freshness.saw(newest)
            stored = await self._off_loop(self.store.since, newest - _REMEMBERED)
            self.gate.remember(stored.select(SOURCE_BAR_COLUMNS))

    def _new_gate(self, after: datetime | None) -> BarGate:
        mends = self._source is not None and not self._feed.asks
        rules = Rules.of(self._settings, mends=mends)
        return BarGate(self.symbols, self.timeframe, self._calendar, rules=rules, after=after, lag=self._lag)

    async def _prices(self, watch: Watch) -> None:
        """Listen until the feed ends or fails; what it left out before is asked for first."""
        words: asyncio.Queue[_Word] = asyncio.Queue(_WAITING)
        pump = asyncio.create_task(self._pump(words))
        try:
            if self._unsettled is not None:  # ended while storing: the lake recognises what it has
                await self._settle(self._unsettled[0], watch, self._unsettled[1])
            await self._catch_up(watch)
            while (word := await self._heard(words)) is None or word.kind != "over":
                watch.beat()
                await self._take(word, watch)
                self._look_after(words, self._clock.now() if word is None else word.at)
                if word is not None and self._lockstep:
                    await self._closed.join()
                    words.task_done()
            await self._finish(watch)
        finally:
            await _dropped(pump, self._filling)
            self._filling = None

    async def _finish(self, watch: Watch) -> None:
        """Let through what waits, ask once more for what is missing, and say that this was all."""
        await self._settle(self.gate.at(self._clock.now() + self.gate.rules.wait), watch)
        if self._source is not None and self.gate.missing:
            first, last = min(self.gate.missing), max(self.gate.missing)
            arrival = await self._question(self.symbols, first, last)
            await self._take(_Word("filled", self._clock.now(), arrival, last), watch)
            await self._settle(self.gate.at(self._clock.now() + self.gate.rules.wait), watch)
        self._closed.put_nowait(None)

    async def _pump(self, words: asyncio.Queue[_Word]) -> None:
        """Listen to the feed and pass on what it says."""
        wanted = Wanted(self.symbols, self.timeframe, self.gate.released)
        try:
            async for arrival in self._feed.listen(wanted):
                await words.put(_Word("told", self._clock.now(), arrival))
                if self._lockstep:
                    await words.join()
        except Exception as error:  # noqa: BLE001 - it is raised where the service can be seen to fail
            await words.put(_Word("failed", self._clock.now(), error=error))
        else:
            await words.put(_Word("over", self._clock.now()))

    async def _heard(self, words: asyncio.Queue[_Word]) -> _Word | None:
        """Return the next word; None where it is time to look whether a close has waited long enough."""
        with suppress(asyncio.QueueEmpty):
            return words.get_nowait()
        wakes = self.gate.wakes_at()
        left = _LOOK_S if wakes is None else (wakes - self._clock.now()).total_seconds()
        try:
            return await asyncio.wait_for(words.get(), min(max(left, 0.001), _LOOK_S))
        except TimeoutError:
            return None

    async def _take(self, word: _Word | None, watch: Watch) -> None:
        now = self._clock.now() if word is None else word.at
        if word is None:
            await self._settle(self.gate.at(now), watch)
        elif word.kind == "failed":
            raise word.error or RetryError("the feed failed")
        elif word.kind == "unfilled":
            watch.trouble(word.error or RetryError("a gap could not be filled"))
            self.gate.answered(word.until or now)
            await self._settle(self.gate.at(now), watch)
        elif word.arrival is not None:
            watch.ok()
            self.ticks.put(word.arrival.ticks)
            if word.until is not None:
                self.gate.answered(word.until)
            origin: Literal["observed", "assumed"] = "observed" if word.kind == "told" else "assumed"
            await self._settle(self.gate.offer(word.arrival.bars, now, origin), watch, word.arrival.actions)

    # -- into the lake, and on -------------------------------------------------------------------------------

    async def _settle(self, passed: Passed, watch: Watch, actions: pl.DataFrame | None = None) -> None:
        """Store what was let through, then tell it."""
        self._refuse(passed.refused)
        rows = [row for close in passed.closes for row in close.rows] + list(passed.earlier)
        if rows or (actions is not None and not actions.is_empty()):
            self._unsettled = passed, actions
            stored = await self._stored(rows, actions, watch)
            self._unsettled = None
            self._tell(passed, stored)

    async def _stored(self, rows: Sequence[Row], actions: pl.DataFrame | None, watch: Watch) -> pl.DataFrame:
        """Append to the lake, as often as it takes: nothing goes on before it is on the disk."""
        breaker = Breaker(Retry.of(self._settings), lambda: 0.0)
        while True:
            try:
                return await self._off_loop(self.store.append, rows, actions, self._clock.now())
            except RetryError as error:
                pause = min(breaker.failed(), self._settings.retry_longest_seconds)
                watch.trouble(error)
                watch.state = "retrying"
                self._once("storage", "critical", f"bars cannot be stored: {error.what}", {"hint": error.hint})
                watch.beat()
                await self._sleep(pause)

    def _tell(self, passed: Passed, stored: pl.DataFrame) -> None:
        if passed.earlier:
            keys = pl.DataFrame({name: [getattr(row, name) for row in passed.earlier] for name in ("time", "symbol")})
            self._earlier.append(stored.join(keys.cast({"time": UTC_TIME}), on=["time", "symbol"], how="semi"))
        for close in passed.closes:
            self.freshness.saw(close.time)
            self._closed.put_nowait(self._batch(close, stored))

    def _batch(self, close: Close, stored: pl.DataFrame) -> ClosedBars:
        frame = stored.filter(pl.col("time") == close.time)
        earlier, self._earlier = self._earlier, []
        how: How = "filled" if all(row.vintage == "assumed" for row in close.rows) else "live"
        return ClosedBars(
            close.time,
            frame,
            not close.missing,
            correlation_of(self.timeframe, close.time),
            close.missing,
            how,
            max(row.known_at for row in close.rows),
            pl.concat(earlier) if earlier else no_rows(),
        )

    def _refuse(self, refused: Sequence[Refused]) -> None:
        self.quarantine.extend(refused)
        for why, count in Counter(row.why for row in refused).items():
            rows = [row for row in refused if row.why == why][:_REPORTED]
            some = [f"{row.symbol} {row.time and row.time.isoformat()} {row.values}" for row in rows]
            self._once(f"bar: {why}", "warning", f"{count} bars were refused: {why}", {"rows": some})

    # -- what is missing -------------------------------------------------------------------------------------

    async def _catch_up(self, watch: Watch) -> None:
        """Ask for what closed since the newest bar, before anything newer is let through, and for what changed before.

        Once for a day back, because nobody listened before; later for the last bars, around the lost connection.
        """
        after, now = self.gate.released, self._clock.now()
        if self._source is None or self._feed.asks or after is None:
            return
        due = now - timedelta(seconds=self._settings.settle_seconds)
        behind = len(self._calendar.bar_closes(self.timeframe, after + timedelta(microseconds=1), due)) > 0
        if not behind and self._caught_up:
            return
        start = self._before(after) if self._caught_up else after - _FIRST_LOOK
        try:
            arrival = await self._patiently(self._question(self.symbols, start, max(due, start)), watch)
        except RetryError as error:
            if behind:
                raise
            watch.trouble(error)
            return
        self._caught_up = True
        await self._take(_Word("filled", self._clock.now(), arrival, due), watch)

    async def _patiently(self, question: Coroutine[Any, Any, Arrival], watch: Watch) -> Arrival:
        """Wait for an answer, showing signs of life."""
        asked = asyncio.ensure_future(question)
        try:
            while not asked.done():
                await asyncio.wait((asked,), timeout=_LOOK_S)
                watch.beat()
            return asked.result()
        finally:
            asked.cancel()

    def _before(self, close: datetime) -> datetime:
        """Return the close some bars before one: providers correct their last ones."""
        closes = self._calendar.bar_closes(self.timeframe, close - timedelta(days=10), close)[-OVERLAP_BARS:]
        return close if len(closes) == 0 else min(close, closes[0].item().replace(tzinfo=UTC))

    async def _question(self, symbols: Sequence[str], start: datetime, end: datetime) -> Arrival:
        assert self._source is not None
        request = Request(tuple(symbols), self.timeframe, start, end)
        return await self._off_loop(_asked, self._source, request)

    def _look_after(self, words: asyncio.Queue[_Word], now: datetime) -> None:
        """See to the clock, to freshness, and to what is missing."""
        self._look_at_clock(self._clock.now())
        self._look_at_freshness(now)
        if self._source is not None and (self._filling is None or self._filling.done()):
            wanted = self._wanting(now)
            if wanted:
                self._filling = asyncio.create_task(self._fill(words, *wanted))

    def _wanting(self, now: datetime) -> tuple[set[str], datetime, datetime] | None:
        """Return whom to ask for, from when to when; None where nothing is missing, or it was just asked for."""
        gap = self.gate.gap()
        if gap is not None:
            return set(self.symbols), self._before(gap[0]), gap[1]
        pause = timedelta(seconds=self._settings.repair_seconds)
        if self._repaired_at is not None and timedelta(0) <= now - self._repaired_at < pause:
            return None
        open_ = {
            close: who
            for close, who in self.gate.missing.items()
            if self._attempts[close] < self._settings.repair_attempts and now - close > pause / 2
        }
        if not open_:
            return None
        self._repaired_at = now
        self._attempts.update(open_)
        self._attempts = Counter({close: n for close, n in self._attempts.items() if close in self.gate.missing})
        return set().union(*open_.values()), min(open_), max(open_)

    async def _fill(self, words: asyncio.Queue[_Word], symbols: set[str], first: datetime, last: datetime) -> None:
        try:
            limit = self._settings.answer_seconds
            arrival = await asyncio.wait_for(self._question(sorted(symbols), first, last), limit)
        except (TradewindError, TimeoutError) as error:
            await words.put(_Word("unfilled", self._clock.now(), until=last, error=error))
        else:
            await words.put(_Word("filled", self._clock.now(), replace(arrival, ticks=()), last))

    # -- what is looked after --------------------------------------------------------------------------------

    def _look_at_freshness(self, now: datetime) -> None:
        change = self.freshness.look(now)
        if change is None:
            return
        reading = self.freshness.reading(now).to_dict()
        if change == "fresh":
            self._alarm("info", "freshness", "bars are fresh again", reading)
            return
        newest = self.freshness.newest
        what = (
            f"no new bar for {self._settings.stale_minutes:g} minutes; the newest is of {newest and newest.isoformat()}"
        )
        self._alarm("critical", "freshness", what, reading)
        if not self._feed.asks and not self._lockstep:
            raise RetryError(what, hint="the connection is made anew")

    def _look_at_clock(self, now: datetime) -> None:
        """Say so where the clock jumped against the time that passed; nothing else depends on it."""
        lived = asyncio.get_running_loop().time()
        before, self._lived = self._lived, (now, lived)
        if before is None or self._lockstep:
            return
        jump = (now - before[0]) - timedelta(seconds=lived - before[1])
        if abs(jump) > _JUMP:
            self._alarm("warning", "clock", f"the clock jumped by {jump.total_seconds():+.0f} s", {})

    def _once(self, about: str, level: Literal["warning", "critical"], what: str, detail: Mapping[str, Any]) -> None:
        """Raise an alarm unless one about the same was raised a short while ago."""
        now, before = self._clock.now(), self._alarmed.get(about)
        pause = timedelta(minutes=self._settings.stale_minutes)
        if before is None or not timedelta(0) <= now - before < pause:
            self._alarmed[about] = now
            self._alarm(level, about.split(":")[0], what, detail)


def _asked(source: Source, request: Request) -> Arrival:
    deliveries = list(source.fetch(request))
    if not deliveries:
        return Arrival()
    return Arrival(
        pl.concat([delivery.bars for delivery in deliveries]),
        (),
        pl.concat([delivery.actions for delivery in deliveries]),
        tuple(note for delivery in deliveries for note in delivery.notes),
    )


async def _dropped(*tasks: asyncio.Task[None] | None) -> None:
    for task in tasks:
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task


def polling(
    source: Source, settings: IngestSection, *, symbols: int, clock: Clock, exchange: str = "XNYS", **seams: Any
) -> PollFeed:
    """Return a source as a feed that keeps to the rate limit: rounds are stretched where the universe is large."""
    requests = -(-symbols // int(getattr(source, "symbols_per_request", 1)))
    minutes = max(settings.poll_minutes, 60.0 * requests / settings.requests_per_hour)
    pace = Pace(settings.requests_per_hour, clock, sleep=seams.get("sleep", asyncio.sleep))
    settle = timedelta(seconds=settings.settle_seconds)
    return PollFeed(source, calendar(exchange), clock, minutes=minutes, settle=settle, turn=pace.turn, **seams)

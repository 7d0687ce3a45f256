"""Any source as a feed: asked again and again in market hours, shortly after each close.

Only bars that have closed are told as bars; the price of one that still runs is a tick. A close that the provider does
not have yet is asked for again before the next round.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final

import numpy as np
import polars as pl

from tradewind.clock import Clock
from tradewind.errors import DataError, RetryError, TradewindError
from tradewind.market.bars import TIMEFRAMES
from tradewind.market.calendar import Calendar, instant
from tradewind.market.feeds import FEEDS, Arrival, Wanted
from tradewind.market.sources.base import Delivery, Request, Source, check_timeframe

Sleep = Callable[[float], Awaitable[None]]
Turn = Callable[[int], Awaitable[None]]

OVERLAP_BARS: Final = 3
"""So many bars before the newest one are asked for again, because providers correct their last ones."""

_FIRST_LOOK: Final = timedelta(days=1)
"""So far back it is asked first, for what was corrected while nobody listened."""

_PATIENCE: Final = 3
"""A symbol without its newest close in so many rounds is asked for once a round, like the others."""

_NAP_S: Final = 20.0
_AGAIN_S: Final = 10.0


async def _at_once(requests: int) -> None:
    """Let a request go."""


@FEEDS.register
class PollFeed:
    """Asks a source.

    Parameters
    ----------
    source
        Asked in a thread of its own, so that nothing else waits.
    calendar
        Whose sessions are market hours.
    minutes
        From one round to the next, counted from the open; a session ends with a round.
    settle
        How long after that moment it is asked.
    turn
        Waited for before so many requests are made: a rate limit.
    again
        How often within a round what is not there yet is asked for again.
    """

    name: ClassVar[str] = "poll"
    asks: ClassVar[bool] = True

    def __init__(
        self,
        source: Source,
        calendar: Calendar,
        clock: Clock,
        *,
        minutes: float = 5.0,
        settle: timedelta = timedelta(seconds=3),
        turn: Turn = _at_once,
        again: int = 2,
        sleep: Sleep = asyncio.sleep,
        off_loop: Callable[..., Awaitable[Any]] = asyncio.to_thread,
    ) -> None:
        self.source, self._calendar, self._clock = source, calendar, clock
        self._step, self._settle, self._again = timedelta(minutes=minutes), settle, again
        self._turn, self._sleep, self._off_loop = turn, sleep, off_loop
        self._after: datetime | None = None
        self._back = timedelta(0)
        self._absent: Counter[str] = Counter()

    async def listen(self, wanted: Wanted) -> AsyncIterator[Arrival]:
        """Ask at once for what came after ``wanted.after``, then round by round."""
        check_timeframe(self.source, wanted.timeframe)
        self._after, self._back = wanted.after, _FIRST_LOOK
        while True:
            async with aclosing(self._round(wanted)) as told:
                async for arrival in told:
                    yield arrival
            self._after, self._back = self._due(wanted.timeframe) or self._after, timedelta(0)
            await self._until(self._next_round(self._clock.now()))

    async def _round(self, wanted: Wanted) -> AsyncGenerator[Arrival, None]:
        """Ask for all symbols, then again for those whose newest close was not there yet."""
        without = set(wanted.symbols)
        for attempt in range(self._again + 1):
            asked = [s for s in wanted.symbols if s in without and (not attempt or self._absent[s] < _PATIENCE)]
            if not asked:
                break
            if attempt:
                await self._sleep(_AGAIN_S)
            arrival = await self._ask(asked, wanted.timeframe)
            yield arrival
            without -= self._there(asked, arrival.bars, wanted.timeframe)
        self._absent = Counter({symbol: self._absent[symbol] + 1 for symbol in without})

    # -- one question ----------------------------------------------------------------------------------------

    async def _ask(self, symbols: Sequence[str], timeframe: str) -> Arrival:
        now = self._clock.now()
        request = Request(tuple(symbols), timeframe, self._start(timeframe, now), now)
        groups = _groups(request, getattr(self.source, "symbols_per_request", 1))
        await self._turn(len(groups))
        return await self._off_loop(_answers, self.source, groups)

    def _start(self, timeframe: str, now: datetime) -> datetime:
        """Return from which close on it is asked: some bars before what is there, or the newest alone."""
        if self._after is None:
            return self._due(timeframe) or now
        closes = self._calendar.bar_closes(timeframe, self._after - timedelta(days=10), self._after)
        before = closes[-OVERLAP_BARS:]
        start = self._after if len(before) == 0 else before[0].item().replace(tzinfo=UTC)
        return min(start, self._after - self._back)

    def _due(self, timeframe: str) -> datetime | None:
        """Return the newest close that the provider should have by now."""
        now = self._clock.now()
        long = timedelta(days=10 + TIMEFRAMES[timeframe] // 390)
        closes = self._calendar.bar_closes(timeframe, now - long, now - self._settle)
        return closes[-1].item().replace(tzinfo=UTC) if len(closes) else None

    def _there(self, symbols: Sequence[str], bars: pl.DataFrame, timeframe: str) -> set[str]:
        """Return the symbols that have the newest close that they should have by now."""
        due = self._due(timeframe)
        if due is None or (self._after is not None and due <= self._after):
            return set(symbols)
        return set(bars.filter(pl.col("time") == due)["symbol"])

    # -- when ------------------------------------------------------------------------------------------------

    def _next_round(self, now: datetime) -> datetime:
        """Return when to ask next: the next step of this session, its end, or the first step of the next session."""
        after = now - self._settle
        at = int(np.searchsorted(self._calendar.closes, instant(after), side="right"))
        if at >= len(self._calendar.closes):
            raise DataError("the calendar has no session after this one", hint="update exchange_calendars")
        opens, closes = (getattr(self._calendar, end)[at].item().replace(tzinfo=UTC) for end in ("opens", "closes"))
        steps = max((after - opens) // self._step, 0) + 1
        return min(opens + steps * self._step, closes) + self._settle

    async def _until(self, moment: datetime) -> None:
        """Wait for an instant in naps, so that a clock that jumps is noticed."""
        while (left := (moment - self._clock.now()).total_seconds()) > 0:
            await self._sleep(min(left, _NAP_S))


def _groups(request: Request, size: int) -> list[Request]:
    symbols = request.symbols
    return [
        Request(symbols[at : at + size], request.timeframe, request.start, request.end)
        for at in range(0, len(symbols), size)
    ]


def _answers(source: Source, requests: Sequence[Request]) -> Arrival:
    """Ask for each group; one that fails is a note, unless all do. Throttling ends the round."""
    deliveries: list[Delivery] = []
    failures: list[TradewindError] = []
    for request in requests:
        try:
            deliveries += source.fetch(request)
        except DataError as error:
            failures.append(error)
        except RetryError as error:
            if not deliveries:
                raise
            failures.append(error)
            break
    if failures and not deliveries:
        raise failures[0]
    return _joined(deliveries, tuple(failure.what for failure in failures))


def _joined(deliveries: Sequence[Delivery], failures: tuple[str, ...]) -> Arrival:
    if not deliveries:
        return Arrival()
    return Arrival(
        pl.concat([delivery.bars for delivery in deliveries]),
        tuple(tick for delivery in deliveries for tick in delivery.ticks),
        pl.concat([delivery.actions for delivery in deliveries]),
        (*(note for delivery in deliveries for note in delivery.notes), *failures),
    )

"""News and macro series on their way in: asked for again and again, stored, told.

One feed or series that fails never keeps another from coming; the service has failed where all of them did.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from tradewind.clock import Clock
from tradewind.errors import InputError, RetryError, TradewindError
from tradewind.live.ingest import Ingest, OffLoop
from tradewind.live.ingest_supervisor import Alarm, Service, Sleep, Watch, said, silence
from tradewind.live.settings_ingest import IngestSection
from tradewind.market.macro import MACRO_SOURCES, MacroSource, newest_release, store_macro
from tradewind.market.news import NEWS_SOURCES, Matcher, NewsSource, store_news
from tradewind.market.store.lake import Lake

Heard = Callable[[pl.DataFrame], None]

_NAP_S = 20.0
_AGAIN = timedelta(days=7)
"""So far back releases are asked for again: revisions of the last days may be told late."""


def unheard(rows: pl.DataFrame) -> None:
    """Tell nobody."""


class Rounds:
    """Asks every one of several parts, round after round; a service as soon as it is called.

    Parameters
    ----------
    parts
        A question for each, by name: returns what is to be told, or raises.
    every
        From one round to the next.
    """

    def __init__(
        self,
        parts: Mapping[str, Callable[[], pl.DataFrame]],
        every: timedelta,
        clock: Clock,
        *,
        told: Heard = unheard,
        alarm: Alarm = silence,
        sleep: Sleep = asyncio.sleep,
        off_loop: OffLoop = asyncio.to_thread,
    ) -> None:
        self._parts, self._every, self._clock, self._told = parts, every, clock, told
        self._alarm, self._sleep, self._off_loop = alarm, sleep, off_loop
        self._failing: dict[str, str] = {}

    async def __call__(self, watch: Watch) -> None:
        """Run until all parts fail."""
        while True:
            await self._round(watch)
            await self._pause(watch)

    async def _round(self, watch: Watch) -> None:
        failures: list[TradewindError] = []
        for name, question in self._parts.items():
            watch.beat()
            try:
                news = await self._off_loop(question)
            except TradewindError as error:
                failures.append(error)
                self._failed(name, error, watch)
                continue
            self._failing.pop(name, None)
            if not news.is_empty():
                self._told(news)
        if failures and len(failures) == len(self._parts):
            raise _worst(failures)
        watch.ok()

    def _failed(self, name: str, error: TradewindError, watch: Watch) -> None:
        """Take note of a part that failed; its failure is told once while it lasts."""
        watch.trouble(error)
        if self._failing.get(name) != type(error).__name__:
            self._failing[name] = type(error).__name__
            level = "warning" if isinstance(error, RetryError) else "critical"
            self._alarm(level, watch.name, f"{name}: {said(error)}", {"part": name, "hint": error.hint})  # type: ignore[arg-type]

    async def _pause(self, watch: Watch) -> None:
        """Wait for the next round in naps; a clock that jumps is not waited for."""
        left = self._every.total_seconds()
        while left > 0:
            watch.beat()
            await self._sleep(min(left, _NAP_S))
            left -= _NAP_S


def _worst(failures: Sequence[TradewindError]) -> TradewindError:
    """Return what the service failed of: something that passes where there is one, so that it is tried again."""
    return next((error for error in failures if not isinstance(error, InputError)), failures[0])


def news_service(
    lake: Lake,
    settings: IngestSection,
    symbols: Sequence[str],
    clock: Clock,
    *,
    sources: Mapping[str, NewsSource] | None = None,
    **seams: Any,
) -> Service | None:
    """Return the service of all news feeds, round the clock; None where there is no feed.

    Parameters
    ----------
    sources
        By name; those of ``[ingest] news_feeds`` when None.
    seams
        ``told`` (called with the rows that are new or changed), ``alarm``, ``sleep``, ``off_loop``: see ``Rounds``.
    """
    feeds = _feeds(settings) if sources is None else sources
    matcher = Matcher(tuple(symbols), settings.news_names)
    parts = {name: _NewsPart(lake, name, feed, matcher, clock) for name, feed in feeds.items()}
    return Rounds(parts, timedelta(minutes=settings.news_minutes), clock, **seams) if parts else None


def _feeds(settings: IngestSection) -> dict[str, NewsSource]:
    return {
        name: NEWS_SOURCES.create("rss", url=url, kilobytes=settings.news_kilobytes)
        for name, url in settings.news_feeds.items()
    }


class _NewsPart:
    def __init__(self, lake: Lake, name: str, source: NewsSource, matcher: Matcher, clock: Clock) -> None:
        self._lake, self._name, self._source, self._matcher, self._clock = lake, name, source, matcher, clock
        self._seen: datetime | None = None

    def __call__(self) -> pl.DataFrame:
        now = self._clock.now()
        rows = self._source.articles(now, self._seen).rows
        tag = f"{self._source.name}:{self._name}"
        told = store_news(self._lake, rows, source=tag, matcher=self._matcher, recorded_at=now)
        self._seen = now
        return told.news


def macro_service(
    lake: Lake, settings: IngestSection, clock: Clock, *, source: MacroSource | None = None, **seams: Any
) -> Service | None:
    """Return the service of all macro series; None where there is no series. Parameters as :func:`news_service`."""
    if not settings.macro_series:
        return None
    chosen = source or MACRO_SOURCES.create("fred", url=settings.macro_url, release=settings.macro_release)
    parts = {series: _MacroPart(lake, series, chosen, clock) for series in settings.macro_series}
    return Rounds(parts, timedelta(minutes=settings.macro_minutes), clock, **seams)


class _MacroPart:
    def __init__(self, lake: Lake, series: str, source: MacroSource, clock: Clock) -> None:
        self._lake, self._series, self._source, self._clock = lake, series, source, clock

    def __call__(self) -> pl.DataFrame:
        now, name = self._clock.now(), self._source.name
        newest = newest_release(self._lake, self._series, source=name)
        since = None if newest is None else newest - _AGAIN
        rows = self._source.vintages(self._series, since, now).rows
        done = store_macro(self._lake, rows, source=name, recorded_at=now)
        return rows if done.added + done.corrected else rows.clear()


def with_services(
    ingest: Ingest, lake: Lake, settings: IngestSection, clock: Clock, *, symbols: Sequence[str], alarm: Alarm
) -> Ingest:
    """Return an ingest with the services of news and macro series that the settings name."""
    for name, service in _wanted(lake, settings, clock, symbols, alarm):
        if service is not None:
            ingest.add(name, service)
    return ingest


def _wanted(
    lake: Lake, settings: IngestSection, clock: Clock, symbols: Sequence[str], alarm: Alarm
) -> Iterator[tuple[str, Service | None]]:
    yield "news", news_service(lake, settings, symbols, clock, alarm=alarm)
    yield "macro", macro_service(lake, settings, clock, alarm=alarm)

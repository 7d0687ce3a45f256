"""From what a playbook says to services that run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tradewind.clock import Clock
from tradewind.errors import InputError
from tradewind.live.ingest import Ingest, polling
from tradewind.live.ingest_services import with_services
from tradewind.live.ingest_supervisor import Alarm, silence
from tradewind.live.settings_ingest import IngestSection
from tradewind.market.feeds import FEEDS, Feed
from tradewind.market.sources.base import SOURCES, Source
from tradewind.market.store.lake import Lake

#: While the market moves nothing may come from a cache, and whoever supervises repeats what fails.
_LIVE_OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "yahoo": {"cache_path": "-", "retries": 1, "longest_pause_s": 5.0},
}


def live_source(name: str, options: Mapping[str, Any], clock: Clock) -> Source:
    """Return a source for asking while the market moves.

    Raises ``InputError`` for one whose bars do not move with the clock.
    """
    if name in ("sample", "files"):
        raise InputError(
            f"source {name!r} has bars of the past only", hint="add --replay, or choose yahoo, alpaca or synthetic"
        )
    chosen = {**options, **_LIVE_OPTIONS.get(name, {})}
    return SOURCES.create(name, **chosen, **({"clock": clock} if name in ("yahoo", "alpaca") else {}))


def live_feed(settings: IngestSection, source: Source, *, symbols: int, clock: Clock, exchange: str = "XNYS") -> Feed:
    """Return who speaks: the source itself, asked again and again, or its stream.

    Raises ``InputError`` for a source without a stream.
    """
    if settings.feed == "poll":
        return polling(source, settings, symbols=symbols, clock=clock, exchange=exchange)
    if source.name != "alpaca":
        raise InputError(f"source {source.name!r} has no stream", hint='set [ingest] feed = "poll"')
    return FEEDS.create("alpaca", options=getattr(source, "options", None))


def live_ingest(
    lake: Lake,
    settings: IngestSection,
    *,
    source: str,
    options: Mapping[str, Any],
    symbols: Sequence[str],
    timeframe: str,
    clock: Clock,
    alarm: Alarm = silence,
    exchange: str = "XNYS",
) -> Ingest:
    """Return the services of a playbook: prices, and the news and macro series that it names.

    Parameters
    ----------
    lake
        One of its own, opened at the place of the run's lake: another thread writes to it.
    source, options
        The playbook's source in force and its options.
    """
    asked = live_source(source, options, clock)
    feed = live_feed(settings, asked, symbols=len(symbols), clock=clock, exchange=exchange)
    made = Ingest(
        lake, settings, symbols=symbols, timeframe=timeframe, feed=feed, source=asked, clock=clock, alarm=alarm,
        exchange=exchange,
    )  # fmt: skip
    return with_services(made, Lake(lake.root), settings, clock, symbols=symbols, alarm=alarm)

"""What a source of bars is: one protocol, one registry, one contract test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Protocol

import polars as pl

from tradewind.errors import InputError
from tradewind.market.bars import ACTION_SCHEMA, BAR_SCHEMA, SOURCE_ACTION_COLUMNS, SOURCE_BAR_COLUMNS
from tradewind.market.quality import mark_rows
from tradewind.registry import Registry
from tradewind.settings import Section


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a source: bars with ``start <= time <= end`` (closes, UTC)."""

    symbols: tuple[str, ...]
    timeframe: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Tick:
    """A price at an instant, between the closes of bars: shown, never stored, never what a model is asked about."""

    symbol: str
    time: datetime
    price: float


@dataclass(frozen=True, slots=True)
class Delivery:
    """One batch of a source's answer, complete in itself: storing it is one atomic append.

    ``bars`` has ``SOURCE_BAR_COLUMNS``, ``actions`` has ``SOURCE_ACTION_COLUMNS`` (may be empty). ``notes``
    are findings to report (symbols without data, rows excluded and why, reconstruction done). ``ticks`` are the last
    prices of bars that had not closed yet.
    """

    bars: pl.DataFrame
    actions: pl.DataFrame
    notes: tuple[str, ...] = ()
    ticks: tuple[Tick, ...] = ()


class Source(Protocol):
    """A provider of bars. Stateless between calls; retries and rate limits are its own business.

    Attributes
    ----------
    adjustment
        What the provider delivers: ``raw``, ``split`` (split-adjusted) or ``total`` (back-adjusted close
        only). Whatever it is, deliveries contain raw prices, reconstructed where needed and marked so.
    publication_lag
        Added to ``time`` to give ``known_at`` for back-filled bars.
    offline
        True where nothing but this machine is needed; such a source is synced without being asked.
    survivorship_biased
        True where the symbols were chosen knowing later years; repeated as a flag on every result.
    """

    name: ClassVar[str]
    adjustment: str
    offline: ClassVar[bool]
    publication_lag: timedelta
    survivorship_biased: bool

    def look_back(self) -> Mapping[str, timedelta | None]:
        """Return the timeframes served and how far back each goes (None: all there is)."""
        ...

    def symbols(self, timeframe: str) -> tuple[str, ...]:
        """Return the symbols that can be asked for; empty where the provider cannot list them."""
        ...

    def sectors(self) -> Mapping[str, str]:
        """Return GICS sectors by symbol, as far as the source knows them."""
        ...

    def membership(self) -> pl.DataFrame | None:
        """Return ``symbol, start, end`` (dates, end exclusive, null for open) of its universe, if it knows."""
        ...

    def fetch(self, request: Request) -> Iterator[Delivery]:
        """Yield deliveries, oldest first per symbol.

        Raises ``RetryError`` when the provider is down or throttling after all retries, ``InputError`` for
        a timeframe or period it does not serve, ``DataError`` for an answer that cannot be read.
        """
        ...


SOURCE_BAR_SCHEMA: Mapping[str, Any] = {name: BAR_SCHEMA[name] for name in SOURCE_BAR_COLUMNS}
SOURCE_ACTION_SCHEMA: Mapping[str, Any] = {name: ACTION_SCHEMA[name] for name in SOURCE_ACTION_COLUMNS}


def check_request(source: Source, request: Request) -> None:
    """Refuse no symbols, a timeframe that is not served, and a period that ends before it begins."""
    if not request.symbols:
        raise InputError("no symbols were asked for", hint="name some in [universe] symbols")
    check_timeframe(source, request.timeframe)
    if request.start > request.end:
        raise InputError(
            f"the period ends ({request.end:%Y-%m-%d %H:%M}) before it begins ({request.start:%Y-%m-%d %H:%M})",
            hint="swap start and end",
        )


def check_timeframe(source: Source, timeframe: str) -> None:
    """Refuse a bar size that a source does not serve."""
    served = source.look_back()
    if timeframe not in served:
        raise InputError(
            f"source {source.name!r} has no {timeframe!r} bars",
            hint=f"it serves {', '.join(served) or 'nothing'}; set [data] timeframe to one of them",
        )


def deliver(
    request: Request, bars: pl.DataFrame, actions: pl.DataFrame | None = None, notes: tuple[str, ...] = ()
) -> Delivery:
    """Return a delivery cut to the request's period, ordered by symbol and time, with row marks set.

    ``bars`` may lack ``marks`` and ``adjustment`` (then clean and raw); other columns are dropped.
    """
    if "marks" not in bars.columns:
        bars = bars.with_columns(marks=pl.lit(""))
    if "adjustment" not in bars.columns:
        bars = bars.with_columns(adjustment=pl.lit("raw"))
    actions = pl.DataFrame(schema=SOURCE_ACTION_SCHEMA) if actions is None else actions
    period = pl.col("time").is_between(request.start, request.end)
    return Delivery(
        mark_rows(_shaped(bars, SOURCE_BAR_SCHEMA).filter(period)).sort("symbol", "time"),
        _shaped(actions, SOURCE_ACTION_SCHEMA).filter(period).sort("symbol", "time", "kind"),
        notes,
    )


def batched(deliveries: Iterable[Delivery], rows: int = 250_000) -> Iterator[Delivery]:
    """Yield the same content in fewer deliveries of about ``rows`` bars, so that storing it is quick."""
    held: list[Delivery] = []
    for delivery in deliveries:
        held.append(delivery)
        if sum(len(d.bars) for d in held) >= rows:
            yield _joined(held)
            held = []
    if held:
        yield _joined(held)


def _joined(parts: list[Delivery]) -> Delivery:
    return Delivery(
        pl.concat([p.bars for p in parts]).sort("symbol", "time"),
        pl.concat([p.actions for p in parts]).sort("symbol", "time", "kind"),
        tuple(note for p in parts for note in p.notes),
    )


def no_bars() -> pl.DataFrame:
    """Return an empty table of bars."""
    return pl.DataFrame(schema=SOURCE_BAR_SCHEMA)


def _shaped(frame: pl.DataFrame, schema: Mapping[str, Any]) -> pl.DataFrame:
    return frame.select(pl.col(name).cast(kind) for name, kind in schema.items())


SOURCES = Registry[Source]("source", room="tradewind.market.sources", group="tradewind.sources")
register = SOURCES.register


def options_model(name: str) -> type[Section] | None:
    """Return what validates the options of a source; None where it is unknown or does that itself."""
    return getattr(SOURCES.factory(name), "options_model", None) if name in SOURCES else None

"""Macro series as known at a time: every revision is a row of its own, from the moment it was published.

A *vintage* is what was said of a period at a release. It is a fact for ever; what is known at a moment is the newest
vintage of each period that was published by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import ClassVar, Final, Protocol

import numpy as np
import polars as pl

from tradewind.market.bars import UTC_TIME, Schema
from tradewind.market.panel import FloatArray, TimeArray
from tradewind.market.store.lake import Lake
from tradewind.market.store.table import Appended, TableSpec
from tradewind.registry import Registry

#: One row is what one release said of one period. ``time`` is the first instant (UTC) of the period's date;
#: ``released`` the date of the release where the provider is; ``value`` is null where the release says that there is
#: none; ``known_at`` the moment of the release as far as it is known, else the end of that day; ``vintage`` is
#: ``observed`` where it was seen to appear.
MACRO_SCHEMA: Final[Schema] = {
    "series": pl.String,
    "time": UTC_TIME,
    "released": pl.Date,
    "value": pl.Float64,
    "known_at": UTC_TIME,
    "recorded_at": UTC_TIME,
    "source": pl.String,
    "vintage": pl.String,  # observed | assumed
}

MACRO: Final = TableSpec(
    name="macro",
    schema=MACRO_SCHEMA,
    key=("series", "time", "released", "source"),
    values=("value",),
    partition=("year",),
    order=("series", "time", "released"),
)

VINTAGE_SCHEMA: Final[Schema] = {n: t for n, t in MACRO_SCHEMA.items() if n not in ("recorded_at", "source")}
"""What a source of series delivers."""


@dataclass(frozen=True, slots=True, eq=False)
class Vintages:
    """What a source said: rows of ``VINTAGE_SCHEMA``, and findings."""

    rows: pl.DataFrame
    notes: tuple[str, ...] = ()


class MacroSource(Protocol):
    """A provider of macro series with their revisions."""

    name: ClassVar[str]

    def vintages(self, series: str, since: date | None, now: datetime) -> Vintages:
        """Return what was published of a series since a date (everything when None), as far as ``now``.

        Raises ``RetryError`` where it is down or throttling, ``InputError`` for a series or key that it does not know,
        ``DataError`` for an answer that cannot be read.
        """
        ...


MACRO_SOURCES = Registry[MacroSource]("macro source", room="tradewind.market.sources", group="tradewind.macro_sources")


def store_macro(lake: Lake, rows: pl.DataFrame, *, source: str, recorded_at: datetime) -> Appended:
    """Store the vintages that say something new; a vintage that repeats what was said before it is none.

    Parameters
    ----------
    rows
        ``VINTAGE_SCHEMA``.
    """
    with lake.writing():
        stored = _stored(lake, rows["series"].unique(), source)
        news = _news(rows.select(list(VINTAGE_SCHEMA)), stored.select(list(VINTAGE_SCHEMA)))
        full = news.with_columns(source=pl.lit(source), recorded_at=pl.lit(None, UTC_TIME)).select(list(MACRO_SCHEMA))
        done = lake.store(MACRO, full, recorded_at=recorded_at)
    return Appended(done.added, done.corrected, rows.height - done.added - done.corrected)


def _stored(lake: Lake, series: Iterable[str], source: str) -> pl.DataFrame:
    table = lake.table(MACRO)
    if not table.exists():
        return MACRO.empty()
    return table.read(pl.col("series").is_in(list(series)), pl.col("source") == source, ordered=False)


def _news(rows: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that differ from what was said before them of the same period."""
    both = pl.concat([stored.with_columns(new=False), rows.with_columns(new=True)])
    ordered = both.sort("series", "time", "released", "new", maintain_order=True)
    once = ordered.unique(["series", "time", "released"], keep="last", maintain_order=True)
    before = pl.col("value").shift(1).over("series", "time")
    first = pl.col("released").cum_count().over("series", "time") == 1
    kept = once.filter(pl.col("new") & (first | pl.col("value").ne_missing(before)))
    return kept.drop("new")


def newest_release(lake: Lake, series: str, *, source: str) -> date | None:
    """Return the date of the newest vintage of a series that is stored."""
    found: date | None = _stored(lake, [series], source)["released"].max()  # type: ignore[assignment]
    return found


def read_macro(
    lake: Lake,
    series: Sequence[str] | None = None,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    as_of: datetime | None = None,
    recorded_until: datetime | None = None,
) -> pl.DataFrame:
    """Return each period of the series as the newest vintage known by then has it (``MACRO_SCHEMA``).

    Parameters
    ----------
    start, end
        Periods with ``start <= time <= end``.
    as_of, recorded_until
        Only what the world, or this store, could know then; everything when None.
    """
    rows = versions_of_macro(lake, series, start=start, end=end, as_of=as_of, recorded_until=recorded_until)
    newest = rows.sort("known_at", "released").unique(["series", "time"], keep="last", maintain_order=True)
    return newest.sort("series", "time")


def versions_of_macro(
    lake: Lake,
    series: Sequence[str] | None = None,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    as_of: datetime | None = None,
    recorded_until: datetime | None = None,
) -> pl.DataFrame:
    """Return every vintage of the series; parameters as :func:`read_macro`."""
    table = lake.table(MACRO)
    if not table.exists():
        return MACRO.empty()
    wanted = [] if series is None else [pl.col("series").is_in(list(series))]
    return table.read(*wanted, start=start, end=end, as_of=as_of, recorded_until=recorded_until)


def known_macro(versions: pl.DataFrame, series: Sequence[str], times: TimeArray) -> FloatArray:
    """Return the newest period's value of each series as known at each instant, ``(T, S)``; NaN where none was.

    A revision of an older period changes nothing: what is asked for is the newest period that was known. Where its
    release says that there is no value, the one before it is it.
    """
    out = np.full((len(times), len(series)), np.nan)
    for column, name in enumerate(series):
        rows = versions.filter((pl.col("series") == name) & pl.col("value").is_not_null()).sort("known_at", "time")
        known = rows["known_at"].dt.replace_time_zone(None).to_numpy().astype("datetime64[us]")
        value, newest = np.full(len(rows), np.nan), None
        for at, (period, number) in enumerate(rows.select("time", "value").iter_rows()):
            value[at] = value[at - 1] if newest is not None and period < newest else number
            newest = period if newest is None else max(newest, period)
        last = np.searchsorted(known, times, side="right") - 1
        out[last >= 0, column] = value[last[last >= 0]]
    return out

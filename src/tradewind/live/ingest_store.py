"""Closes on their way into the lake and out of it again: one append for each, durable before anyone acts on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

import polars as pl

from tradewind.live.ingest_gate import Row, source_rows
from tradewind.market.bars import ACTION_SCHEMA, BAR_SCHEMA, SOURCE_ACTION_COLUMNS
from tradewind.market.instruments import Instruments
from tradewind.market.store.lake import Lake

How = Literal["live", "filled", "stored", "replay"]

_TICK: Final = timedelta(microseconds=1)


def no_rows() -> pl.DataFrame:
    """Return an empty table of the lake's bars."""
    return pl.DataFrame(schema=BAR_SCHEMA)


@dataclass(frozen=True, slots=True, eq=False)
class ClosedBars:
    """The bars of one close, stored.

    Attributes
    ----------
    time
        The close, UTC.
    frame
        One row per symbol that has a bar, by symbol: ``BAR_SCHEMA``.
    complete
        Whether every symbol of the universe is there.
    correlation
        Names this close in everything that follows from it; the same in every run.
    missing
        Symbols without a bar at this close.
    how
        ``live``: just closed; ``filled``: fetched afterwards, to fill a gap; ``stored``: it was in the lake before this
        process began; ``replay``: walked through.
    known_at
        Since when all of its bars are known: how late it is is the difference from ``time``.
    earlier
        Bars of closes that were let through before, which came late or changed since the last of these. They are
        stored; what was decided on them stays decided.
    """

    time: datetime
    frame: pl.DataFrame
    complete: bool
    correlation: str
    missing: tuple[str, ...] = ()
    how: How = "live"
    known_at: datetime | None = None
    earlier: pl.DataFrame = field(default_factory=no_rows)


def correlation_of(timeframe: str, time: datetime) -> str:
    """Return the name of a close: ``5m-20251103T143500Z``."""
    return f"{timeframe}-{time:%Y%m%dT%H%M%SZ}"


class BarStore:
    """Where the bars of one source and timeframe are kept.

    Parameters
    ----------
    tag
        What the lake calls the source.
    """

    def __init__(self, lake: Lake, tag: str, timeframe: str, symbols: Sequence[str]) -> None:
        self.lake, self.tag, self.timeframe, self.symbols = lake, tag, timeframe, tuple(symbols)
        self._names: Instruments | None = None

    def newest(self) -> datetime | None:
        """Return the newest close that is stored; None where there is none."""
        rows = self.lake.read_bars(self.symbols, self.timeframe, source=self.tag, columns=["time"], ordered=False)
        found: datetime | None = rows["time"].max()  # type: ignore[assignment]
        return found

    def since(self, start: datetime | None) -> pl.DataFrame:
        """Return the stored bars from a close on, by time and symbol."""
        rows = self.lake.read_bars(self.symbols, self.timeframe, start, source=self.tag)
        return rows.sort("time", "symbol")

    def closes(self, after: datetime | None) -> Iterator[ClosedBars]:
        """Yield every stored close after an instant, oldest first."""
        start = None if after is None else after + _TICK
        yield from closes_of(self.since(start), self.timeframe, self.symbols, "stored")

    def append(self, rows: Sequence[Row], actions: pl.DataFrame | None, now: datetime) -> pl.DataFrame:
        """Store rows in one append and return them as stored; on return they are on the disk.

        Raises ``RetryError`` where another process writes or the disk is full: nothing is stored then.
        """
        told = actions if actions is not None and not actions.is_empty() else None
        with self.lake.writing():
            if self._names is None or told is not None:
                self._names = self.lake.instruments()
            bars = self._long(source_rows(rows), self._names, now).select(list(BAR_SCHEMA))
            self.lake.append(bars, None if told is None else self._actions(told, self._names, now), recorded_at=now)
        return bars.with_columns(recorded_at=pl.lit(now, BAR_SCHEMA["recorded_at"])).sort("time", "symbol")

    def _long(self, rows: pl.DataFrame, names: Instruments, now: datetime) -> pl.DataFrame:
        names.learn(rows["symbol"].unique(), source=self.tag)
        self.lake.store_instruments(names, recorded_at=now)
        return names.assign(rows).with_columns(
            timeframe=pl.lit(self.timeframe),
            recorded_at=pl.lit(None, BAR_SCHEMA["recorded_at"]),
            source=pl.lit(self.tag),
        )

    def _actions(self, told: pl.DataFrame, names: Instruments, now: datetime) -> pl.DataFrame:
        """Return corporate actions as rows of the lake, known since they were seen, or since they took effect."""
        for row in told.filter(pl.col("kind") == "rename").sort("time").iter_rows(named=True):
            names.rename(row["symbol"], row["detail"], row["time"], source=self.tag)
        once = told.select(SOURCE_ACTION_COLUMNS).unique(["symbol", "time", "kind"], keep="last", maintain_order=True)
        rows = self._long(once, names, now).with_columns(known_at="time", vintage=pl.lit("assumed"))
        return rows.select(list(ACTION_SCHEMA))


def closes_of(rows: pl.DataFrame, timeframe: str, symbols: Sequence[str], how: How) -> Iterator[ClosedBars]:
    """Yield the closes of a table of the lake's bars that is ordered by time."""
    for moment, start, count, known_at in _slices(rows):
        frame = rows.slice(start, count)
        missing = _missing(symbols, frame) if count < len(symbols) else ()
        name = correlation_of(timeframe, moment)
        yield ClosedBars(moment, frame, not missing, name, missing, how, known_at)


def _slices(rows: pl.DataFrame) -> Iterator[tuple[datetime, int, int, datetime]]:
    spans = rows.group_by("time", maintain_order=True).agg(pl.len(), pl.col("known_at").max())
    start = 0
    for moment, count, known_at in spans.iter_rows():
        yield moment, start, count, known_at
        start += count


def _missing(symbols: Sequence[str], frame: pl.DataFrame) -> tuple[str, ...]:
    there = set(frame["symbol"])
    return tuple(symbol for symbol in symbols if symbol not in there)

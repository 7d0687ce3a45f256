"""The long form of market data: the columns every source delivers and the lake stores."""

from __future__ import annotations

from typing import Final

import polars as pl
from polars.datatypes import DataTypeClass

UTC_TIME: Final = pl.Datetime("us", "UTC")

#: Column types of a frame.
Schema = dict[str, pl.DataType | DataTypeClass]

#: One row is one version of one bar. ``time`` is the bar's close; ``known_at`` when the world could have
#: known this version; ``recorded_at`` when this store learnt it; ``vintage`` is ``observed`` where
#: ``known_at`` was witnessed and ``assumed`` where it is time plus the source's publication lag. Prices are
#: raw (as traded) unless ``adjustment`` says they could only be reconstructed.
#: A correction is a later row, never a rewrite.
BAR_SCHEMA: Final[Schema] = {
    "instrument": pl.String,
    "symbol": pl.String,
    "timeframe": pl.String,
    "time": UTC_TIME,
    "open": pl.Float64,
    "high": pl.Float64,
    "low": pl.Float64,
    "close": pl.Float64,
    "volume": pl.Float64,
    "known_at": UTC_TIME,
    "recorded_at": UTC_TIME,
    "source": pl.String,
    "vintage": pl.String,  # observed | assumed
    "adjustment": pl.String,  # raw | reconstructed
    "marks": pl.String,  # comma-separated quality marks (outlier, stale, filled ...), "" when clean
}

#: Splits (value = shares after one share before), dividends (cash per share held after that day's split),
#: renames (value NaN, ``detail`` = new symbol) and delistings (value = cash paid per share, NaN when
#: unknown). ``time`` is the close of the first bar on which the event is effective (its open is already ex).
ACTION_SCHEMA: Final[Schema] = {
    "instrument": pl.String,
    "symbol": pl.String,
    "time": UTC_TIME,
    "kind": pl.String,  # split | dividend | rename | delist
    "value": pl.Float64,
    "detail": pl.String,
    "known_at": UTC_TIME,
    "recorded_at": UTC_TIME,
    "source": pl.String,
    "vintage": pl.String,
}

#: What a source fills in; the store adds instrument, recorded_at and (for back-fills) known_at.
SOURCE_BAR_COLUMNS: Final = (
    "symbol",
    "time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "adjustment",
    "marks",
)
SOURCE_ACTION_COLUMNS: Final = ("symbol", "time", "kind", "value", "detail")

TIMEFRAMES: Final = {"1m": 1, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "1d": 390, "1w": 1950}
"""Bar sizes and their length in minutes of trading (a New York session has 390)."""

SESSIONS_PER_YEAR: Final = 252
"""By which a figure per session becomes one per year."""

"""Small parts the tests of the store share: bars made by hand, and a source that serves them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

from tradewind.market.bars import ACTION_SCHEMA, BAR_SCHEMA, SOURCE_ACTION_COLUMNS, SOURCE_BAR_COLUMNS, UTC_TIME
from tradewind.market.sources.base import Delivery, Request
from tradewind.market.store.lake import Lake

LAG = timedelta(minutes=15)
RECORDED = datetime(2024, 6, 1, tzinfo=UTC)
FIRST_CLOSE = datetime(2020, 1, 2, 21, tzinfo=UTC)
ALL_TIME = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))


def closes(count: int, first: datetime = FIRST_CLOSE) -> list[datetime]:
    return [first + timedelta(days=i) for i in range(count)]


def source_bars(symbol: str, prices: Sequence[float | None], first: datetime = FIRST_CLOSE) -> pl.DataFrame:
    times = closes(len(prices), first)
    frame = pl.DataFrame(
        {"symbol": [symbol] * len(prices), "time": times, "close": prices},
        schema={"symbol": pl.String, "time": UTC_TIME, "close": pl.Float64},
    )
    price = pl.col("close")
    return frame.with_columns(
        open=price,
        high=price * 1.01,
        low=price * 0.99,
        volume=pl.lit(1000.0),
        adjustment=pl.lit("raw"),
        marks=pl.lit(""),
    ).select(SOURCE_BAR_COLUMNS)


def source_actions(rows: Sequence[tuple[str, datetime, str, float, str]] = ()) -> pl.DataFrame:
    schema = {name: ACTION_SCHEMA[name] for name in SOURCE_ACTION_COLUMNS}
    return pl.DataFrame(list(rows), schema=schema, orient="row")


def lake_bars(bars: pl.DataFrame, source: str = "test", timeframe: str = "1d") -> pl.DataFrame:
    return bars.with_columns(
        instrument=pl.col("symbol") + "#1",
        timeframe=pl.lit(timeframe),
        known_at=pl.col("time") + LAG,
        recorded_at=pl.lit(None, dtype=UTC_TIME),
        source=pl.lit(source),
        vintage=pl.lit("assumed"),
    ).select(BAR_SCHEMA.keys())


def lake_actions(actions: pl.DataFrame, source: str = "test") -> pl.DataFrame:
    return actions.with_columns(
        instrument=pl.col("symbol") + "#1",
        known_at=pl.col("time") + LAG,
        recorded_at=pl.lit(None, dtype=UTC_TIME),
        source=pl.lit(source),
        vintage=pl.lit("assumed"),
    ).select(ACTION_SCHEMA.keys())


def store(lake: Lake, bars: pl.DataFrame, actions: pl.DataFrame | None = None, *, at: datetime = RECORDED) -> None:
    """Append bars of symbols that may be new."""
    known = lake.instruments()
    known.learn(bars["symbol"].unique(), source="test")
    lake.store_instruments(known, recorded_at=at)
    lake.append(lake_bars(bars), None if actions is None else lake_actions(actions), recorded_at=at)


class TableSource:
    """A source that serves bars and actions from memory."""

    name = "table"
    adjustment = "raw"
    publication_lag = LAG
    survivorship_biased = False

    def __init__(self, bars: pl.DataFrame, actions: pl.DataFrame | None = None) -> None:
        self.bars = bars
        self.actions = source_actions() if actions is None else actions
        self.asked: list[str] = []

    def look_back(self) -> Mapping[str, timedelta | None]:
        return {"1d": None}

    def symbols(self, timeframe: str) -> tuple[str, ...]:
        return tuple(self.bars["symbol"].unique().sort())

    def sectors(self) -> Mapping[str, str]:
        return {}

    def fetch(self, request: Request) -> Iterator[Delivery]:
        self.asked += request.symbols
        wanted = pl.col("symbol").is_in(request.symbols) & pl.col("time").is_between(request.start, request.end)
        yield Delivery(self.bars.filter(wanted), self.actions.filter(wanted))


def request_all(source: TableSource, extra: Sequence[str] = ()) -> Request:
    return Request((*source.symbols("1d"), *extra), "1d", *ALL_TIME)

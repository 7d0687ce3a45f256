"""Invented five-minute bars of some days, a source that has them, and what a lake holds of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import polars as pl

from tradewind.errors import RetryError
from tradewind.market.calendar import calendar
from tradewind.market.sources.base import SOURCES, Delivery, Request, deliver, no_bars
from tradewind.market.store.lake import Lake

SYMBOLS = ("AAA", "BBB", "CCC")
NEW_YORK = calendar("XNYS")


@lru_cache
def bars(first: str = "2025-03-03", last: str = "2025-03-03", timeframe: str = "5m", closes: int = 24) -> pl.DataFrame:
    """Bars of AAA, BBB and CCC on some days of March 2025, the first closes of each."""
    source = SOURCES.create("synthetic", seed=11, n_symbols=8)
    start, end = datetime.fromisoformat(first), datetime.fromisoformat(last) + timedelta(days=1)
    request = Request(tuple(f"SYN00{n}" for n in range(8)), timeframe, *(m.replace(tzinfo=UTC) for m in (start, end)))
    table = pl.concat([delivery.bars for delivery in source.fetch(request)])
    whole = table.group_by("symbol", maintain_order=True).len().filter(pl.col("len") == pl.col("len").max())
    names = dict(zip(whole["symbol"].head(3).to_list(), SYMBOLS, strict=True))
    chosen = table.filter(pl.col("symbol").is_in(list(names)))
    day = pl.col("time").dt.date()
    early = chosen.filter(pl.col("time").rank("dense").over(day) <= closes)
    return early.with_columns(symbol=pl.col("symbol").replace(names)).sort("time", "symbol")


class Stored:
    """A source of such bars; it can be down, slow of memory, or without some of them."""

    name = "stored"
    adjustment = "raw"
    offline = True
    publication_lag = timedelta(0)
    survivorship_biased = False

    def __init__(self, table: pl.DataFrame | None = None) -> None:
        self.table = bars() if table is None else table
        self.asked: list[Request] = []
        self.down = 0
        self.clock: Any = None

    def look_back(self) -> dict[str, None]:
        return {"5m": None, "1m": None}

    def symbols(self, timeframe: str) -> tuple[str, ...]:
        return SYMBOLS

    def sectors(self) -> dict[str, str]:
        return {}

    def membership(self) -> None:
        return None

    def fetch(self, request: Request) -> Iterator[Delivery]:
        self.asked.append(request)
        if self.down:
            self.down -= 1
            raise RetryError("the provider is down")
        known = pl.lit(True) if self.clock is None else pl.col("time") <= self.clock.now()
        for symbol in request.symbols:
            yield deliver(request, self.table.filter((pl.col("symbol") == symbol) & known))
        if not request.symbols:
            yield deliver(request, no_bars())


def held(lake: Lake, timeframe: str = "5m") -> pl.DataFrame:
    """Return what a lake believes, by time and symbol, without when it learnt it."""
    columns = ["symbol", "time", "open", "high", "low", "close", "volume", "source"]
    return lake.read_bars(None, timeframe).select(columns).sort("time", "symbol")


def doubled(lake: Lake) -> int:
    """Return how many versions are stored twice."""
    rows = lake.table_versions("bars")
    return rows.height - rows.unique(["instrument", "time", "source", "revision"]).height

"""The sample: real quotes that travel inside two installed packages, for offline use and demonstrations.

``bokeh_sampledata``: AAPL, FB, GOOG, IBM and MSFT, daily 2000-03 to 2013-03, prices and volumes as traded
plus a back-adjusted close. ``arch.data``: S&P 500 (``^GSPC``) and NASDAQ Composite (``^IXIC``) 1999 to 2018,
and ``^VIX`` closes from 2014 on: in the years of the stocks VIX is honestly missing. The files are read in
place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl

from tradewind.errors import DataError
from tradewind.market.actions import reconstruct
from tradewind.market.calendar import calendar
from tradewind.market.sources.base import Delivery, Request, batched, check_request, deliver, no_bars, register
from tradewind.settings import Section

_STOCKS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
_INDICES: Mapping[str, str] = {"^GSPC": "sp500", "^IXIC": "nasdaq", "^VIX": "vix"}
_NOTE = "splits and dividends are reconstructed from the back-adjusted close"


class SampleOptions(Section):
    """The sample has nothing to set."""


@register
class SampleSource:
    """Five large technology stocks, chosen long after the fact, and three indices."""

    name: ClassVar[str] = "sample"
    offline: ClassVar[bool] = True
    options_model: ClassVar[type[Section]] = SampleOptions
    adjustment: str = "raw"
    publication_lag = timedelta(0)
    survivorship_biased = True

    def __init__(self, **options: object) -> None:
        self.options = SampleOptions.model_validate(options)

    def look_back(self) -> Mapping[str, timedelta | None]:
        """Return that all daily bars are served."""
        return {"1d": None}

    def symbols(self, timeframe: str) -> tuple[str, ...]:
        """Return the five stocks and the three indices."""
        return (*_STOCKS, *_INDICES) if timeframe == "1d" else ()

    def sectors(self) -> Mapping[str, str]:
        """Return the GICS sector that all five had in these years (Communication Services came in 2018)."""
        return dict.fromkeys(_STOCKS, "Information Technology")

    def membership(self) -> pl.DataFrame | None:
        """Return nothing: the five belong from their first bar to their last."""
        return None

    def fetch(self, request: Request) -> Iterator[Delivery]:
        """Yield all symbols in one delivery; unknown ones are reported and deliver nothing."""
        check_request(self, request)
        yield from batched(self._symbol(symbol, request) for symbol in request.symbols)

    def _symbol(self, symbol: str, request: Request) -> Delivery:
        if symbol in _STOCKS:
            return _stock(symbol, request)
        if symbol in _INDICES:
            return deliver(request, _index(symbol))
        known = ", ".join(self.symbols("1d"))
        return deliver(request, no_bars(), notes=(f"{symbol}: not in the sample, which has {known}",))


def _stock(symbol: str, request: Request) -> Delivery:
    table = _read("bokeh_sampledata", "_data/stocks.csv.gz").filter(pl.col("Ticker") == symbol)
    bars = _stamped(table, symbol, "%Y-%m-%d")
    split, dividend, _ = reconstruct(bars["close"].to_numpy(), bars["adj close"].to_numpy())
    events = pl.concat([_events(bars, "split", split, split != 1), _events(bars, "dividend", dividend, dividend > 0)])
    return deliver(request, bars, events, (f"{symbol}: {_NOTE}",) if len(events) else ())


def _events(bars: pl.DataFrame, kind: str, values: np.ndarray, where: np.ndarray) -> pl.DataFrame:
    return bars.select(
        "symbol", "time", kind=pl.lit(kind), value=pl.Series(values), detail=pl.lit("reconstructed")
    ).filter(pl.Series(where))


def _index(symbol: str) -> pl.DataFrame:
    name = _INDICES[symbol]
    table = _stamped(_read("arch", f"data/{name}/{name}.csv.gz"), symbol, "%m/%d/%Y")
    if symbol != "^VIX":
        return table
    nothing = pl.lit(None, pl.Float64)
    close = pl.col("vix").cast(pl.Float64, strict=False)  # holidays carry a dot
    return table.select("symbol", "time", close=close, open=nothing, high=nothing, low=nothing, volume=nothing).filter(
        pl.col("close").is_not_null()
    )


def _stamped(table: pl.DataFrame, symbol: str, date_format: str) -> pl.DataFrame:
    """Return the table in lower case with the close of each date's session as ``time``."""
    dates = table["Date"].str.to_date(date_format)
    closes = calendar("XNYS").close_of(dates.to_numpy())
    lower = table.rename({name: name.lower() for name in table.columns})
    return lower.with_columns(
        symbol=pl.lit(symbol), time=pl.Series(closes).dt.cast_time_unit("us").dt.replace_time_zone("UTC")
    ).sort("time")


def _read(package: str, path: str) -> pl.DataFrame:
    """Read a file of an installed package without importing the package."""
    spec = find_spec(package)
    place = Path(spec.origin).parent / path if spec and spec.origin else None
    if place is None or not place.exists():
        raise DataError(
            f"the sample needs the file {path} of the package {package}, which is not there",
            hint=f"pip install {package}",
        )
    return pl.read_csv(place, infer_schema_length=10_000)

"""Yahoo Finance's chart service: what most people can get for nothing.

We speak to the chart endpoint ourselves, through ``curl_cffi`` (which yfinance brings and uses), rather than
through yfinance: yfinance hard-wires its hosts, keeps caches in SQLite files of its own, hands out
pandas frames after repairs that cannot be told from data, and turns several failures into empty frames.

Prices and volumes come adjusted for all splits until today, dividends too; with the split events of the same
answer they are turned back into what was traded, and marked ``reconstructed`` where a later split moved them.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from pydantic import Field

from tradewind.clock import Clock, SystemClock
from tradewind.errors import DataError, InputError
from tradewind.market.calendar import Calendar, TimeArray, calendar, instant
from tradewind.market.sources._http import BrowserTransport, Client, Patience, Transport
from tradewind.market.sources._yahoo_wire import new_crumb, payload_of, readable, reason_in, strange
from tradewind.market.sources.base import (
    SOURCE_ACTION_SCHEMA,
    Delivery,
    Request,
    Tick,
    check_request,
    deliver,
    no_bars,
    register,
)
from tradewind.settings import Section

NO_BARS = "no bars in the period"

_LOOK_BACK: Final[Mapping[str, timedelta | None]] = {
    "1m": timedelta(days=7),
    "5m": timedelta(days=60),
    "15m": timedelta(days=60),
    "30m": timedelta(days=60),
    "1h": timedelta(days=730),
    "1d": None,
}
_EXCHANGES: Final[Mapping[str, str]] = {
    "America/New_York": "XNYS",
    "Europe/London": "XLON",
    "Australia/Sydney": "XASX",
    "Asia/Tokyo": "XTKS",
    "Europe/Berlin": "XETR",
    "Europe/Paris": "XPAR",
    "America/Toronto": "XTSE",
    "UTC": "24/7",
}
_PRICES = ("open", "high", "low", "close")


class YahooOptions(Section):
    """How to ask Yahoo."""

    symbols: tuple[str, ...] = Field((), description="what `symbols` lists; Yahoo itself has no list")
    base_url: str = Field("https://query2.finance.yahoo.com", description="where the chart service is")
    cookie_url: str = Field("https://fc.yahoo.com", description="where the cookie for a crumb is set")
    requests_per_second: float = Field(2.0, gt=0, le=20, description="upper bound on the rate")
    retries: int = Field(5, ge=0, le=20, description="further attempts when throttled or failing")
    pause_s: float = Field(1.0, ge=0, description="pause before the first retry; doubles each time")
    longest_pause_s: float = Field(60.0, ge=0, description="longest pause between attempts")
    timeout_s: float = Field(20.0, gt=0, description="how long one attempt may take")
    cache_path: str | None = Field(None, description="folder of the cache; empty: cache/yahoo in the home; '-': none")
    cache_minutes: float = Field(60.0, ge=0, description="how long a stored answer counts as fresh")
    survivorship_biased: bool = Field(True, description="false only where names that failed are asked for too")


@register
class YahooSource:
    """Bars from Yahoo, raw again, with splits and dividends."""

    name: ClassVar[str] = "yahoo"
    offline: ClassVar[bool] = False
    options_model: ClassVar[type[Section]] = YahooOptions
    adjustment: str = "split"
    publication_lag = timedelta(0)

    def __init__(
        self,
        *,
        transport: Transport | None = None,
        clock: Clock | None = None,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
        **options: object,
    ) -> None:
        self.options = YahooOptions.model_validate(options)
        self.survivorship_biased = self.options.survivorship_biased
        self._clock = clock or SystemClock()
        self._transport, self._sleep, self._jitter = transport, sleep, jitter
        self._client: Client | None = None
        self._crumb: str | None = None

    def _speaker(self) -> Client:
        """Return the client, made on first use so that listing sources needs no network library."""
        if self._client is None:
            o = self.options
            patience = Patience(o.requests_per_second, o.retries, o.pause_s, o.longest_pause_s, o.timeout_s)
            transport = self._transport or BrowserTransport()
            self._client = Client(transport, patience, clock=self._clock, sleep=self._sleep, jitter=self._jitter)
        return self._client

    def look_back(self) -> Mapping[str, timedelta | None]:
        """Return Yahoo's limits: 1m 7 days, 5m to 30m 60 days, 1h 730 days, 1d all."""
        return dict(_LOOK_BACK)

    def symbols(self, timeframe: str) -> tuple[str, ...]:
        """Return the symbols given as an option; Yahoo cannot list its own."""
        return self.options.symbols if timeframe in _LOOK_BACK else ()

    def sectors(self) -> Mapping[str, str]:
        """Return nothing: the chart service does not know sectors."""
        return {}

    def membership(self) -> pl.DataFrame | None:
        """Return nothing."""
        return None

    def fetch(self, request: Request) -> Iterator[Delivery]:
        """Yield one delivery per symbol; unknown symbols are reported and deliver nothing.

        The last bar is left out while its session or interval still runs. A period that begins before the
        service's limit is cut, with a note; one that ends before it is an ``InputError``.
        """
        check_request(self, request)
        start, notes = self._reachable(request)
        for symbol in dict.fromkeys(request.symbols):
            yield self._symbol(symbol, request, start, notes)

    def _reachable(self, request: Request) -> tuple[datetime, tuple[str, ...]]:
        limit = _LOOK_BACK[request.timeframe]
        if limit is None:
            return request.start, ()
        earliest = self._clock.now() - limit
        if request.end < earliest:
            raise InputError(
                f"Yahoo has {request.timeframe} bars of the last {limit.days} days only, and the period ends "
                f"{request.end:%Y-%m-%d}",
                hint="ask for longer bars or a later period",
            )
        if request.start >= earliest:
            return request.start, ()
        return earliest, (f"{request.timeframe} bars go back {limit.days} days: cut to {earliest:%Y-%m-%d %H:%M}",)

    def _symbol(self, symbol: str, request: Request, start: datetime, notes: tuple[str, ...]) -> Delivery:
        payload, cache_notes = self._answer(symbol, request.timeframe, start)
        notes = (*notes, *cache_notes)
        chart = _chart(payload, symbol)
        if chart is None:
            why = reason_in(payload, "chart", NO_BARS)
            return deliver(request, no_bars(), notes=(*notes, f"{symbol}: {why}"))
        parsed = _Chart.read(chart, symbol, request.timeframe)
        bars, actions, more = parsed.raw(self._clock.now())
        return replace(deliver(request, bars, actions, (*notes, *more)), ticks=parsed.forming(self._clock.now()))

    def _answer(self, symbol: str, timeframe: str, start: datetime) -> tuple[Any, tuple[str, ...]]:
        """Return the service's answer from the cache while it is fresh, else from the network.

        What is asked for always reaches to this moment, because later splits are needed to undo the adjustment.
        """
        first = start.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        since = first if _LOOK_BACK[timeframe] is None else start
        place = self._cache_file(symbol, timeframe, first)
        stored = _stored(place, self._clock.now(), timedelta(minutes=self.options.cache_minutes))
        if stored is not None:
            return stored, ()
        payload = self._download(symbol, timeframe, since)
        return payload, _store(place, payload, self._clock.now())

    def _cache_file(self, symbol: str, timeframe: str, first: datetime) -> Path | None:
        if self.options.cache_path == "-":
            return None
        home = Path(os.environ.get("TRADEWIND_HOME") or ".tradewind")
        folder = Path(self.options.cache_path) if self.options.cache_path else home / "cache" / "yahoo"
        key = f"{self.options.base_url}|{symbol}|{timeframe}|{first:%Y-%m-%d}"
        return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"

    def _download(self, symbol: str, timeframe: str, since: datetime) -> Any:
        client = self._speaker()
        url = f"{self.options.base_url}/v8/finance/chart/{quote(symbol)}"
        params = {
            "period1": int(since.timestamp()),
            "period2": int(self._clock.now().timestamp()) + 1,
            "interval": timeframe,
            "includePrePost": "false",
            "events": "div,splits",
        }
        answer = client.get(url, self._with_crumb(params), readable)
        if answer.status == 401:
            self._crumb = new_crumb(client, self.options.base_url, self.options.cookie_url)
            answer = client.get(url, self._with_crumb(params), readable)
        return payload_of(answer, symbol, "chart", NO_BARS)

    def _with_crumb(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {**params, "crumb": self._crumb} if self._crumb else dict(params)


def _chart(payload: Any, symbol: str) -> Mapping[str, Any] | None:
    """Return the one chart of an answer; None where there are no bars."""
    try:
        results = payload["chart"]["result"] or []
        return results[0] if results and results[0].get("timestamp") else None
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise strange(symbol, error) from error


def _stored(place: Path | None, now: datetime, fresh: timedelta) -> Any:
    """Return a stored answer while it is fresh; a damaged one counts as none."""
    if place is None or not place.exists():
        return None
    try:
        held = json.loads(place.read_text())
        age = now - datetime.fromisoformat(held["fetched_at"])
        return held["payload"] if timedelta(0) <= age < fresh else None
    except (ValueError, KeyError, TypeError, OSError):
        return None


def _store(place: Path | None, payload: Any, now: datetime) -> tuple[str, ...]:
    """Keep an answer; a cache that cannot be written is worth a note, not a failure."""
    if place is None or not _chart_is_there(payload):
        return ()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(json.dumps({"fetched_at": now.isoformat(), "payload": payload}))
        draft.replace(place)
    except OSError as error:
        return (f"the cache {place.parent} cannot be written: {error}",)
    return ()


def _chart_is_there(payload: Any) -> bool:
    return isinstance(payload, dict) and isinstance(payload.get("chart"), dict) and bool(payload["chart"].get("result"))


@dataclass(frozen=True, eq=False)
class _Chart:
    """One symbol's chart, typed; split-adjusted as of the moment of the answer."""

    symbol: str
    timeframe: str
    market: Calendar
    bars: pl.DataFrame  # start (UTC), date (local), prices, volume
    splits: Mapping[date, float]  # by local date
    dividends: Mapping[date, float]

    @classmethod
    def read(cls, chart: Mapping[str, Any], symbol: str, timeframe: str) -> _Chart:
        """Read the wire format; raises ``DataError`` where it is another one."""
        try:
            zone = chart["meta"]["exchangeTimezoneName"]
            bars, events = _quotes(chart), chart.get("events") or {}
            splits = {
                _local(e["date"], zone): float(e["numerator"]) / float(e["denominator"])
                for e in (events.get("splits") or {}).values()
            }
            dividends = {_local(e["date"], zone): float(e["amount"]) for e in (events.get("dividends") or {}).values()}
        except (KeyError, TypeError, IndexError, ValueError, ArithmeticError, pl.exceptions.PolarsError) as error:
            raise strange(symbol, error) from error
        if zone not in _EXCHANGES:
            raise DataError(f"{symbol} trades in {zone}, whose sessions are not known here")
        bars = bars.with_columns(date=pl.col("start").dt.convert_time_zone(zone).dt.date())
        return cls(symbol, timeframe, calendar(_EXCHANGES[zone]), bars, splits, dividends)

    def raw(self, now: datetime) -> tuple[pl.DataFrame, pl.DataFrame, tuple[str, ...]]:
        """Return finished bars as traded, the corporate actions, and notes."""
        bars, notes = self._finished(now)
        factor = pl.Series([self._later(day) for day in bars["date"]], dtype=pl.Float64)
        moved = pl.when(factor != 1).then(pl.lit("reconstructed")).otherwise(pl.lit("raw"))
        out = bars.with_columns(
            *((pl.col(name) * factor).round_sig_figs(7) for name in _PRICES),
            volume=(pl.col("volume") / factor).round(0),
            adjustment=moved,
            symbol=pl.lit(self.symbol),
        )
        return out, self._actions(bars), notes

    def _finished(self, now: datetime) -> tuple[pl.DataFrame, tuple[str, ...]]:
        """Return bars with prices that have closed, stamped with their close."""
        closes = pl.Series(self._closes(self.bars), dtype=UTC_NAIVE)
        stamped = self.bars.with_columns(time=closes.dt.replace_time_zone("UTC"))
        steps = (
            ("without prices", pl.all_horizontal(pl.col(name).is_null() for name in _PRICES)),
            ("outside of the exchange's sessions", pl.col("time").is_null()),
            ("not closed yet", pl.col("time") > now),
        )
        notes = []
        for why, condition in steps:
            kept = stamped.filter(~condition.fill_null(True))
            if len(kept) < len(stamped):
                notes.append(f"{self.symbol}: {len(stamped) - len(kept)} bars {why} are left out")
            stamped = kept
        return stamped.unique("time", keep="last", maintain_order=True).sort("time"), tuple(notes)

    def forming(self, now: datetime) -> tuple[Tick, ...]:
        """Return the last price of the bar that has not closed yet; nothing where there is none."""
        begun = self.bars.drop_nulls("close").tail(1)
        closes = self._closes(begun)
        if begun.is_empty() or np.isnat(closes[0]) or closes[0] <= instant(now):
            return ()
        return (Tick(self.symbol, now, float(begun["close"][0])),)

    def _closes(self, bars: pl.DataFrame) -> TimeArray:
        """Return the close of each bar; NaT outside of the exchange's sessions."""
        if self.timeframe == "1d":
            return self.market.close_of(bars["date"].to_numpy().astype("datetime64[D]"))
        begins = bars["start"].dt.replace_time_zone(None).to_numpy().astype("datetime64[us]")
        return self.market.close_of_start(begins, self.timeframe)

    def _later(self, day: date) -> float:
        """Return the product of the splits after a day."""
        return math.prod(ratio for when, ratio in self.splits.items() if when > day)

    def _actions(self, bars: pl.DataFrame) -> pl.DataFrame:
        """Return splits and dividends, each at its first bar; those after the last bar are not effective yet."""
        events = [(day, "split", ratio) for day, ratio in self.splits.items()]
        events += [(day, "dividend", amount * self._later(day)) for day, amount in self.dividends.items()]
        days = bars["date"].to_numpy().astype("datetime64[D]")
        rows = []
        for day, kind, value in sorted(events):
            at = int(np.searchsorted(days, np.datetime64(day)))
            if at < len(days) and (at > 0 or days[0] == np.datetime64(day)):
                rows.append((self.symbol, bars["time"][at], kind, float(f"{value:.7g}"), ""))
        return pl.DataFrame(rows, schema=SOURCE_ACTION_SCHEMA, orient="row")


UTC_NAIVE: Final = pl.Datetime("us")


def _quotes(chart: Mapping[str, Any]) -> pl.DataFrame:
    quotes = chart["indicators"]["quote"][0]
    start = pl.Series([t * 1_000_000 for t in chart["timestamp"]], dtype=pl.Int64).cast(UTC_NAIVE)
    columns = {name: pl.Series(quotes[name], dtype=pl.Float64) for name in (*_PRICES, "volume")}
    return pl.DataFrame({"start": start.dt.replace_time_zone("UTC"), **columns})


def _local(seconds: int, zone: str) -> date:
    local: datetime = datetime.fromtimestamp(seconds, ZoneInfo(zone))
    return local.date()

"""Yahoo Finance's summary service: the next earnings and ex-dividend dates, and what is said of a company today.

One request per symbol, in the format that yfinance reads too. The service knows the present only: rows are
``observed``, known from the moment of the answer, and what was said before has to have been collected then.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, ClassVar, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

import polars as pl
from pydantic import Field

from tradewind.clock import Clock, SystemClock
from tradewind.errors import RetryError
from tradewind.market.calendar import calendar
from tradewind.market.events import EVENT_SCHEMA, EVENT_SOURCES, FUNDAMENTAL_SCHEMA, Agenda, event_rows
from tradewind.market.sources._http import BrowserTransport, Client, Patience, Response, Transport
from tradewind.market.sources._yahoo_wire import new_crumb, payload_of, readable, reason_in, strange
from tradewind.settings import Section

NO_SUMMARY = "no summary"

_MODULES: Final = "calendarEvents,summaryDetail,defaultKeyStatistics"


class YahooEventsOptions(Section):
    """How to ask Yahoo for dates and fundamentals."""

    base_url: str = Field("https://query2.finance.yahoo.com", description="where the summary service is")
    cookie_url: str = Field("https://fc.yahoo.com", description="where the cookie for a crumb is set")
    exchange: str = Field("XNYS", description="exchange in whose local dates announcements are dated")
    requests_per_second: float = Field(2.0, gt=0, le=20, description="upper bound on the rate")
    retries: int = Field(5, ge=0, le=20, description="further attempts when throttled or failing")
    pause_s: float = Field(1.0, ge=0, description="pause before the first retry; doubles each time")
    longest_pause_s: float = Field(60.0, ge=0, description="longest pause between attempts")
    timeout_s: float = Field(20.0, gt=0, description="how long one attempt may take")


@EVENT_SOURCES.register
class YahooEvents:
    """What Yahoo says of each company at the moment of asking."""

    name: ClassVar[str] = "yahoo"
    offline: ClassVar[bool] = False
    options_model: ClassVar[type[Section]] = YahooEventsOptions

    def __init__(
        self,
        *,
        transport: Transport | None = None,
        clock: Clock | None = None,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
        **options: object,
    ) -> None:
        self.options = YahooEventsOptions.model_validate(options)
        self._clock = clock or SystemClock()
        self._transport, self._sleep, self._jitter = transport, sleep, jitter
        self._client: Client | None = None
        self._crumb: str | None = None

    def agenda(self, symbols: Sequence[str], until: datetime) -> Agenda:
        """Return what Yahoo says now; nothing where ``until`` is already past, for that is not what it said then."""
        now = self._clock.now()
        if until < now:
            note = f"Yahoo tells the dates of today only: nothing is known as of {until:%Y-%m-%d %H:%M}"
            return Agenda(notes=(note,), exchange=self.options.exchange)
        events, filings, notes = [Agenda().events], [Agenda().fundamentals], []
        for symbol in dict.fromkeys(symbols):
            summary = _summary(self._ask(symbol), symbol)
            if isinstance(summary, str):
                notes.append(f"{symbol}: {summary}")
                continue
            moment = self._clock.now()
            found = _events(summary, symbol, moment, calendar(self.options.exchange).zone)
            said = _fundamentals(summary, symbol, moment)
            notes += [f"{symbol}: no {what}" for what, t in (("dates", found), ("fundamentals", said)) if t.is_empty()]
            events.append(found)
            filings.append(said)
        return Agenda(pl.concat(events), pl.concat(filings), tuple(notes), self.options.exchange)

    def _speaker(self) -> Client:
        if self._client is None:
            o = self.options
            patience = Patience(o.requests_per_second, o.retries, o.pause_s, o.longest_pause_s, o.timeout_s)
            transport = self._transport or BrowserTransport()
            self._client = Client(transport, patience, clock=self._clock, sleep=self._sleep, jitter=self._jitter)
        return self._client

    def _ask(self, symbol: str) -> Response:
        """Return the answer about one symbol; a crumb is fetched first, and once more where it has gone stale."""
        url = f"{self.options.base_url}/v10/finance/quoteSummary/{quote(symbol)}"
        client, answer = self._speaker(), None
        for _ in range(2):
            crumb = self._crumb = self._crumb or new_crumb(client, self.options.base_url, self.options.cookie_url)
            params = {"modules": _MODULES, "corsDomain": "finance.yahoo.com", "formatted": "false", "symbol": symbol}
            answer = client.get(url, {**params, "crumb": crumb}, readable)
            if answer.status != 401:
                return answer
            self._crumb = None
        raise RetryError(f"Yahoo refuses {symbol} (401, invalid crumb)", hint="wait some minutes and call again")


def _summary(answer: Response, symbol: str) -> Mapping[str, Any] | str:
    """Return the modules of an answer, or in Yahoo's words why there are none."""
    payload = payload_of(answer, symbol, "quoteSummary", NO_SUMMARY)
    body = payload.get("quoteSummary") or payload.get("finance")
    if not isinstance(body, dict):
        raise strange(symbol, "neither quoteSummary nor finance")
    results = body.get("result") or []
    if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
        raise strange(symbol, "`result` is no list of objects")
    return results[0] if results else reason_in(payload, "quoteSummary", NO_SUMMARY)


def _events(summary: Mapping[str, Any], symbol: str, now: datetime, zone: str) -> pl.DataFrame:
    """Return the dates that are still to come; of a window of dates the first."""
    try:
        calendar_ = summary.get("calendarEvents") or {}
        dates = sorted(
            moment
            for value in (calendar_.get("earnings") or {}).get("earningsDate") or ()
            if (moment := _instant(value, zone)) is not None and moment.date() >= now.astimezone(ZoneInfo(zone)).date()
        )
        ex = _instant(calendar_.get("exDividendDate"), "UTC")  # a date, written as its midnight in UTC
    except (AttributeError, TypeError, ValueError, OverflowError, OSError) as error:
        raise strange(symbol, f"{type(error).__name__} {error}") from error
    rows: list[tuple[str, date, str]] = [("earnings", dates[0].date(), _hour(dates[0]))] if dates else []
    if ex is not None and ex.date() >= now.date():
        rows.append(("dividend", ex.date(), "bmo"))
    columns = {
        "symbol": [symbol] * len(rows),
        "kind": [kind for kind, _, _ in rows],
        "event": [f"next {kind}" for kind, _, _ in rows],  # the one to come: a newer answer replaces an older
        "date": pl.Series([day for _, day, _ in rows], dtype=pl.Date),
        "hour": [hour for _, _, hour in rows],
        "state": ["scheduled"] * len(rows),
        "known_at": pl.Series([now] * len(rows), dtype=pl.Datetime("us", "UTC")),
    }
    return event_rows(columns, EVENT_SCHEMA)


def _hour(moment: datetime) -> str:
    """Tell before the open from after the close; any other time is a placeholder, such as midnight."""
    clock = moment.hour + moment.minute / 60
    if 4 <= clock <= 9.5:
        return "bmo"
    return "amc" if clock >= 16 else ""


def _fundamentals(summary: Mapping[str, Any], symbol: str, now: datetime) -> pl.DataFrame:
    try:
        detail, key = summary.get("summaryDetail") or {}, summary.get("defaultKeyStatistics") or {}
        values = {
            "eps_ttm": _raw(key.get("trailingEps")),
            "growth": _raw(key.get("earningsQuarterlyGrowth")),
            "pe": _raw(detail.get("trailingPE")),
            "dividend_yield": _raw(detail.get("dividendYield")),
        }
        quarter = _instant(key.get("mostRecentQuarter"), "UTC")
    except (AttributeError, TypeError, ValueError, OverflowError, OSError) as error:
        raise strange(symbol, f"{type(error).__name__} {error}") from error
    if all(value is None for value in values.values()):
        return Agenda().fundamentals
    columns = {name: pl.Series([value], dtype=pl.Float64) for name, value in values.items()}
    period = pl.Series([None if quarter is None else quarter.date()], dtype=pl.Date)
    known = pl.Series([now], dtype=pl.Datetime("us", "UTC"))
    return event_rows({"symbol": [symbol], "period": period, "known_at": known, **columns}, FUNDAMENTAL_SCHEMA)


def _raw(value: Any) -> float | None:
    """Return a number written plainly or as ``{"raw": …, "fmt": …}``; None where there is none, or it is infinite."""
    plain = value.get("raw") if isinstance(value, dict) else value
    if plain is None or plain in ("", "Infinity", "NaN"):
        return None
    return float(plain)


def _instant(value: Any, zone: str) -> datetime | None:
    seconds = _raw(value)
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).astimezone(ZoneInfo(zone))

"""Alpaca through its client library (alpaca-py, an extra): bars of the past as a source, and its stream as a feed.

Prices are asked for as traded. Bars are stamped with their start there and with their close here; those outside of the
exchange's sessions are left out. Hours begin on the full hour there and hold trades from before the open, so they are
not served: they are made of half hours. The free feed (``iex``) has the trades of one exchange, a few percent of all:
its volumes are not those of the market.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, Literal

import polars as pl
from pydantic import Field

from tradewind.clock import Clock, SystemClock
from tradewind.errors import DataError, InputError, RetryError, TradewindError
from tradewind.market.calendar import calendar
from tradewind.market.feeds import FEEDS, Arrival, Wanted
from tradewind.market.sources._alpaca_wire import (
    asked,
    credentials,
    missing_library,
    moment,
    stamped,
    stream_error,
    table_of,
)
from tradewind.market.sources.base import (
    SOURCE_ACTION_SCHEMA,
    SOURCE_BAR_SCHEMA,
    Delivery,
    Request,
    Tick,
    check_request,
    deliver,
    no_bars,
    register,
)
from tradewind.settings import Section

_SIZES: Final[Mapping[str, tuple[int, str]]] = {
    "1m": (1, "Minute"),
    "5m": (5, "Minute"),
    "15m": (15, "Minute"),
    "30m": (30, "Minute"),
    "1d": (1, "Day"),
}
_WAITING: Final = 10_000
_BATCH_S: Final = 0.05
_ACTIONS: Final = ("forward_split", "reverse_split", "cash_dividend")


class AlpacaOptions(Section):
    """How to ask Alpaca for market data."""

    symbols: tuple[str, ...] = Field((), description="what `symbols` lists; asking Alpaca would list all of the market")
    feed: Literal["iex", "sip"] = Field("iex", description="iex: free, one exchange; sip: all of them, to be paid for")
    url: str = Field("https://data.alpaca.markets", description="where bars of the past are")
    stream_url: str = Field("wss://stream.data.alpaca.markets/v2", description="where the stream is")
    timeout_s: float = Field(30.0, gt=0, description="how long one page may take")
    survivorship_biased: bool = Field(True, description="false only where names that failed are asked for too")


@register
class AlpacaSource:
    """Bars of the past, with splits and dividends.

    Parameters
    ----------
    environ
        Has ``APCA_API_KEY_ID`` and ``APCA_API_SECRET_KEY``; asked for when the first question is.
    """

    name: ClassVar[str] = "alpaca"
    offline: ClassVar[bool] = False
    options_model: ClassVar[type[Section]] = AlpacaOptions
    adjustment: str = "raw"
    publication_lag = timedelta(0)
    symbols_per_request: ClassVar[int] = 100

    def __init__(
        self, *, environ: Mapping[str, str] | None = None, clock: Clock | None = None, **options: object
    ) -> None:
        self.options = AlpacaOptions.model_validate(options)
        self.survivorship_biased = self.options.survivorship_biased
        self._environ, self._clock = environ, clock or SystemClock()
        self._clients: tuple[Any, Any] | None = None

    def look_back(self) -> Mapping[str, timedelta | None]:
        """Return the bar sizes served; all reach back to 2016 at most, which the answers show."""
        return dict.fromkeys(_SIZES, None)

    def symbols(self, timeframe: str) -> tuple[str, ...]:
        """Return the symbols given as an option."""
        return self.options.symbols if timeframe in _SIZES else ()

    def sectors(self) -> Mapping[str, str]:
        """Return nothing: Alpaca does not know sectors."""
        return {}

    def membership(self) -> pl.DataFrame | None:
        """Return nothing."""
        return None

    def fetch(self, request: Request) -> Iterator[Delivery]:
        """Yield deliveries of up to a hundred symbols; those without bars are reported.

        The bar that still runs is left out, and its price is a tick.
        """
        check_request(self, request)
        symbols = list(dict.fromkeys(request.symbols))
        for at in range(0, len(symbols), self.symbols_per_request):
            yield self._group(symbols[at : at + self.symbols_per_request], request)

    def _group(self, symbols: Sequence[str], request: Request) -> Delivery:
        bars = self._bars(symbols, request)
        running = bars.filter(pl.col("time") > self._clock.now())
        closed = bars.filter(pl.col("time") <= self._clock.now())
        absent = [symbol for symbol in symbols if symbol not in set(closed["symbol"])]
        notes = tuple(f"{symbol}: no bars in the period" for symbol in absent)
        actions = self._actions(symbols, request, closed)
        told = deliver(request, closed, actions, notes)
        last = running.sort("time").unique("symbol", keep="first", maintain_order=True)
        ticks = tuple(Tick(s, self._clock.now(), c) for s, c in last.select("symbol", "close").drop_nulls().iter_rows())
        return Delivery(told.bars, told.actions, told.notes, ticks)

    def _bars(self, symbols: Sequence[str], request: Request) -> pl.DataFrame:
        from alpaca.data.enums import Adjustment, DataFeed
        from alpaca.data.requests import StockBarsRequest
        from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

        bars, _ = self._speakers()
        amount, unit = _SIZES[request.timeframe]
        length = timedelta(days=1) if request.timeframe == "1d" else timedelta(minutes=amount)
        question = StockBarsRequest(
            symbol_or_symbols=[_theirs(symbol) for symbol in symbols],
            timeframe=TimeFrame(amount, TimeFrameUnit[unit]),
            start=request.start - length,
            end=request.end,
            adjustment=Adjustment.RAW,
            feed=DataFeed(self.options.feed),
        )
        answer = asked(lambda: bars.get_stock_bars(question), f"bars of {', '.join(symbols[:3])}")
        return stamped(self._table(answer, symbols), request.timeframe, calendar())

    def _table(self, answer: Mapping[str, Any], symbols: Sequence[str]) -> pl.DataFrame:
        ours = {_theirs(symbol): symbol for symbol in symbols}
        try:
            rows = [(ours[name], moment(bar["t"]), bar) for name, told in answer.items() for bar in told or ()]
            return table_of(rows).unique(["symbol", "start"], keep="last", maintain_order=True)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"Alpaca's bars cannot be read: {error!r}", hint="its format may have changed") from error

    def _actions(self, symbols: Sequence[str], request: Request, bars: pl.DataFrame) -> pl.DataFrame:
        """Return splits and dividends of the period, each at the close of its first bar."""
        from alpaca.data.enums import CorporateActionsType
        from alpaca.data.requests import CorporateActionsRequest

        if bars.is_empty():
            return pl.DataFrame(schema=SOURCE_ACTION_SCHEMA)
        _, actions = self._speakers()
        days = [m.astimezone(calendar_zone()).date() for m in (request.start, min(request.end, self._clock.now()))]
        question = CorporateActionsRequest(
            symbols=[_theirs(symbol) for symbol in symbols],
            types=[CorporateActionsType(kind) for kind in _ACTIONS],
            start=days[0],
            end=days[1],
        )
        answer = asked(lambda: actions.get_corporate_actions(question), "splits and dividends")
        return _actions_of(answer, {_theirs(symbol): symbol for symbol in symbols}, bars)

    def _speakers(self) -> tuple[Any, Any]:
        """Return the library's clients, without its own repetitions and with a limit to their patience."""
        if self._clients is None:
            try:
                from alpaca.data.historical import StockHistoricalDataClient
                from alpaca.data.historical.corporate_actions import CorporateActionsClient
            except ImportError:
                raise missing_library() from None
            key, secret = credentials(self._environ)
            made: list[Any] = [
                kind(key, secret, raw_data=True, url_override=self.options.url)
                for kind in (StockHistoricalDataClient, CorporateActionsClient)
            ]
            for client in made:
                client._retry = 0
                client._session.request = _bounded(client._session.request, self.options.timeout_s)
            self._clients = made[0], made[1]
        return self._clients


def calendar_zone() -> Any:
    """Return the time zone of the exchange."""
    from zoneinfo import ZoneInfo

    return ZoneInfo(calendar().zone)


def _bounded(request: Callable[..., Any], timeout_s: float) -> Callable[..., Any]:
    return lambda *positional, **named: request(*positional, timeout=timeout_s, **named)


def _theirs(symbol: str) -> str:
    return symbol.replace("-", ".")


def _actions_of(answer: Mapping[str, Any], ours: Mapping[str, str], bars: pl.DataFrame) -> pl.DataFrame:
    rows = []
    try:
        for kind, told in answer.items():
            for event in told:
                value = float(event["rate"]) if "dividend" in kind else event["new_rate"] / event["old_rate"]
                rows.append(
                    (ours[event["symbol"]], event["ex_date"], "dividend" if "dividend" in kind else "split", value)
                )
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise DataError(f"Alpaca's corporate actions cannot be read: {error!r}") from error
    schema = {"symbol": pl.String, "day": pl.String, "kind": pl.String, "value": pl.Float64}
    table = pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("day").str.to_date("%Y-%m-%d"))
    local = pl.col("time").dt.convert_time_zone(calendar().zone).dt.date()
    first = bars.sort("time").group_by("symbol", local.alias("day"), maintain_order=True).agg(pl.col("time").first())
    joined = table.sort("day").join_asof(first.sort("day"), on="day", by="symbol", strategy="forward")
    return _summed(joined.drop_nulls("time")).with_columns(detail=pl.lit(""))


def _summed(actions: pl.DataFrame) -> pl.DataFrame:
    """Return one row per symbol, time and kind: dividends add up, splits multiply."""
    value = pl.when(pl.col("kind").first() == "split").then(pl.col("value").product()).otherwise(pl.col("value").sum())
    return actions.group_by("symbol", "time", "kind", maintain_order=True).agg(value)


# -- the stream ----------------------------------------------------------------------------------------------


@FEEDS.register
class AlpacaFeed:
    """Alpaca's stream: minute bars as they close, corrections of them, and trades as ticks.

    Only minutes are streamed; larger bars are asked for (``[ingest] feed = "poll"``).

    Parameters
    ----------
    options, given
        Those of the source, as one thing or each by its name.
    trades
        Whether prices between closes are wanted.
    """

    name: ClassVar[str] = "alpaca"
    asks: ClassVar[bool] = False

    def __init__(
        self,
        options: AlpacaOptions | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        trades: bool = True,
        waiting: int = _WAITING,
        **given: object,
    ) -> None:
        self._options = options or AlpacaOptions.model_validate(given)
        self._environ, self._trades, self._most = environ, trades, waiting
        self.dropped = 0

    async def listen(self, wanted: Wanted) -> AsyncIterator[Arrival]:
        """Connect, subscribe, and yield what is said until the connection is lost."""
        if wanted.timeframe != "1m":
            raise InputError(
                f"Alpaca streams minutes, not {wanted.timeframe} bars",
                hint='set [ingest] feed = "poll" for larger ones',
            )
        stream = _session(self._options, self._environ)
        heard = _Heard(wanted.symbols, self._most)
        talk = asyncio.create_task(self._talk(stream, wanted.symbols, heard))
        try:
            while True:
                arrival = await heard.next(talk)
                if arrival is None:
                    raise talk.exception() or RetryError("Alpaca's stream ended", hint="the connection is made anew")
                yield arrival
        finally:
            self.dropped += heard.dropped
            talk.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await talk
            await _closed(stream)

    async def _talk(self, stream: Any, symbols: Sequence[str], heard: _Heard) -> None:
        """Hold one conversation: the library's own steps, without its endless repetitions."""
        names = [_theirs(symbol) for symbol in symbols]
        stream.subscribe_bars(heard.bar, *names)
        stream.subscribe_updated_bars(heard.bar, *names)
        if self._trades:
            stream.subscribe_trades(heard.trade, *names)
        try:
            await asyncio.wait_for(stream._start_ws(), self._options.timeout_s)
            await stream._send_subscribe_msg()
            await stream._consume()
        except TradewindError:
            raise
        except (OSError, TimeoutError, EOFError) as error:
            raise RetryError(f"Alpaca's stream: {type(error).__name__}", hint="the connection is made anew") from None
        except Exception as error:  # noqa: BLE001 - whatever its frames or the library make of them
            raise _ended(error) from None


def _ended(error: Exception) -> Exception:
    """Return what the end of a conversation means: lost, refused, or not understood."""
    import websockets

    if isinstance(error, websockets.WebSocketException):
        return RetryError(f"Alpaca's stream: {type(error).__name__}", hint="the connection is made anew")
    return RetryError(f"Alpaca's stream says what cannot be read: {type(error).__name__}", hint="it is made anew")


async def _closed(stream: Any) -> None:
    with suppress(Exception):
        await asyncio.wait_for(stream.close(), 2)


def _session(options: AlpacaOptions, environ: Mapping[str, str] | None) -> Any:
    """Return the library's stream, which tells us of errors instead of a log."""
    try:
        import msgpack
        from alpaca.data.enums import DataFeed
        from alpaca.data.live import StockDataStream
    except ImportError:
        raise missing_library() from None

    class Session(StockDataStream):
        _ws: Any

        async def _auth(self) -> None:
            await self._ws.send(msgpack.packb({"action": "auth", "key": self._api_key, "secret": self._secret_key}))
            (answer, *_) = msgpack.unpackb(await self._ws.recv())
            if answer.get("T") == "error":
                raise stream_error(answer.get("code"), str(answer.get("msg", "refused")))
            if answer.get("msg") != "authenticated":
                raise RetryError("Alpaca's stream did not let us in", hint="the connection is made anew")

        async def _dispatch(self, msg: dict[str, Any]) -> None:
            if msg.get("T") == "error":
                raise stream_error(msg.get("code"), str(msg.get("msg", "")))
            await super()._dispatch(msg)

    key, secret = credentials(environ)
    url = f"{options.stream_url.rstrip('/')}/{options.feed}"
    return Session(key, secret, raw_data=True, feed=DataFeed(options.feed), url_override=url)


class _Heard:
    """What was said and not yet passed on: every bar, and the newest price of each symbol."""

    def __init__(self, symbols: Sequence[str], most: int) -> None:
        self._ours = {_theirs(symbol): symbol for symbol in symbols}
        self._bars: list[tuple[str, datetime, Mapping[str, Any]]] = []
        self._prices: dict[str, Tick] = {}
        self._most, self._news = most, asyncio.Event()
        self.dropped = 0

    async def bar(self, message: Mapping[str, Any]) -> None:
        """Hear a bar; where too many wait the oldest is dropped, and whoever listens asks for it later."""
        symbol = self._ours.get(message["S"])
        if symbol is not None:
            self._bars.append((symbol, moment(message["t"]), message))
            if len(self._bars) > self._most:
                self._bars.pop(0)
                self.dropped += 1
            self._news.set()

    async def trade(self, message: Mapping[str, Any]) -> None:
        """Hear a trade."""
        symbol, price = self._ours.get(message["S"]), message.get("p")
        if symbol is not None and isinstance(price, int | float) and math.isfinite(price) and price > 0:
            self._prices[symbol] = Tick(symbol, moment(message["t"]), float(price))
            self._news.set()

    async def next(self, talk: asyncio.Task[None]) -> Arrival | None:
        """Return what was heard since the last time; None where the conversation has ended and all was passed on."""
        if not self._news.is_set() and not talk.done():
            waiting = asyncio.ensure_future(self._news.wait())
            await asyncio.wait((waiting, talk), return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if self._news.is_set():
                await asyncio.sleep(_BATCH_S)  # bars of one minute come one by one
        if not self._news.is_set():
            return None
        self._news.clear()
        bars, prices, self._bars, self._prices = self._bars, self._prices, [], {}
        return Arrival(_shaped(bars), tuple(prices.values()))


def _shaped(bars: Sequence[tuple[str, datetime, Mapping[str, Any]]]) -> pl.DataFrame:
    if not bars:
        return no_bars()
    table = stamped(table_of(bars), "1m", calendar())
    full = table.with_columns(adjustment=pl.lit("raw"), marks=pl.lit(""))
    return full.select(pl.col(name).cast(kind) for name, kind in SOURCE_BAR_SCHEMA.items())

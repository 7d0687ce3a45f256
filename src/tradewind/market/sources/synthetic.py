"""A seeded market whose truth is known: for tests, for benchmarks, and for anyone without data.

One market factor (regimes, GJR-GARCH, fat tails), eleven sector factors, idiosyncratic GARCH-t, random and
quarterly earnings jumps, splits, dividends, listings, delistings, four indices, a VIX and, on request, a small
predictable part. Bars of every size are aggregates of one path. See ``_world`` for the laws.

``^GSPC`` has the market's return and ``^IXIC`` that of a market heavy in technology. ``^FTSE`` and ``^AORD`` trade in
their own sessions: at each of their closes they answer to what New York's index had shown by that instant since their
close before, and to news of their own, so that neither knows anything of New York's later moves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from tradewind.errors import InputError
from tradewind.market.aggregate import merge_bars
from tradewind.market.bars import TIMEFRAMES
from tradewind.market.calendar import calendar, instant
from tradewind.market.events import EVENT_SOURCES, Agenda
from tradewind.market.sectors import SECTORS
from tradewind.market.sources.base import Delivery, Request, batched, check_request, deliver, no_bars, register
from tradewind.settings import Section

if TYPE_CHECKING:
    from tradewind.market.sources._synthetic_events import Life

FloatArray = NDArray[np.float64]

INDEX, TECHNOLOGY, VIX = "^GSPC", "^IXIC", "^VIX"

#: Indices abroad: their exchange, their exposure to New York, and their own volatility as a share of New York's.
ABROAD: Final[Mapping[str, tuple[str, float, float]]] = {"^FTSE": ("XLON", 0.6, 0.7), "^AORD": ("XASX", 0.5, 0.65)}

_TECHNOLOGY_BETA, _TECHNOLOGY_LOADING = 1.1, 0.8
_BARS = ("open", "high", "low", "close", "volume")


class SyntheticOptions(Section):
    """What kind of market to invent."""

    seed: int = Field(7, ge=0, description="names the world; another seed is another world")
    n_symbols: int = Field(100, ge=1, le=20_000, description="how many stocks, SYN000 onwards")
    signal_strength: float = Field(
        0.02,
        ge=0,
        le=1,
        description="correlation of the next own shock with the decayed mean of past ones; 0: no edge",
    )
    world_start: date = Field(date(2000, 1, 3), description="the first session of the world")


@dataclass(frozen=True, eq=False)
class Truth:
    """What a forecaster could know at best, per stock and session: each field ``(T, N)``, NaN while unlisted.

    Row ``t`` is about the return from the close of ``t-1`` to the close of ``t``, given everything before.

    Attributes
    ----------
    times
        Closes of the sessions, UTC, ``(T,)``.
    symbols
        The columns.
    expected
        Expected log total return, without jumps (which have mean zero).
    sigma
        Standard deviation of the diffusive log return.
    jump
        The jump that happened before the open.
    predictor
        The standardised state that moves ``expected``.
    regime
        0 calm, 1 stressed, ``(T,)``.
    beta
        Market exposure, ``(N,)``.
    """

    times: NDArray[np.datetime64]
    symbols: tuple[str, ...]
    expected: FloatArray
    sigma: FloatArray
    jump: FloatArray
    predictor: FloatArray
    regime: NDArray[np.int64]
    beta: FloatArray


@EVENT_SOURCES.register
@register
class SyntheticSource:
    """The synthetic market behind the protocol of every other source."""

    name: ClassVar[str] = "synthetic"
    offline: ClassVar[bool] = True
    options_model: ClassVar[type[Section]] = SyntheticOptions
    adjustment: str = "raw"
    publication_lag = timedelta(0)
    survivorship_biased = False

    def __init__(self, **options: object) -> None:
        self.options = SyntheticOptions.model_validate(options)

    def look_back(self) -> Mapping[str, timedelta | None]:
        """Return the bar sizes served; all reach back to the world's first session."""
        return dict.fromkeys(("5m", "15m", "30m", "1h", "1d", "1w"), None)

    def symbols(self, timeframe: str) -> tuple[str, ...]:
        """Return all stocks that ever lived, the indices and VIX.

        VIX and the indices abroad have one close a session; among bars smaller than a day these stand alone.
        """
        return tuple(self._known(timeframe))

    @lru_cache(maxsize=8)  # noqa: B019 - a source lives as long as its process
    def _known(self, timeframe: str) -> dict[str, None]:
        if timeframe not in self.look_back():
            return {}
        return dict.fromkeys((*map(_symbol, range(self.options.n_symbols)), INDEX, TECHNOLOGY, VIX, *ABROAD))

    def sectors(self) -> Mapping[str, str]:
        """Return the sector of every stock."""
        return {s: SECTORS[self._stock(s)[0]] for s in self.symbols("1d") if not s.startswith("^")}

    def membership(self) -> pl.DataFrame | None:
        """Return nothing: a stock belongs for as long as it lives."""
        return None

    def fetch(self, request: Request) -> Iterator[Delivery]:
        """Yield deliveries of many symbols each; unknown symbols are reported and deliver nothing."""
        check_request(self, request)
        weekly = request.timeframe == "1w"
        world = _World(self.options.seed, self.options.world_start, _days_of_weeks(request) if weekly else request)
        deliveries = (self._deliver(symbol, world, world.request) for symbol in request.symbols)
        yield from batched((_weekly(d, request) for d in deliveries) if weekly else deliveries)

    def agenda(self, symbols: Sequence[str], until: datetime) -> Agenda:
        """Return earnings and dividend dates, results and fundamentals of stocks, as known by ``until``."""
        from tradewind.market.sources._synthetic_events import dividends, earnings, fundamentals

        beyond = until + timedelta(days=14)  # an amount is known before the session that it is taken off
        request = Request(tuple(symbols), "1d", until, beyond)
        world = _World(self.options.seed, self.options.world_start, request)
        known = [s for s in dict.fromkeys(symbols) if s in self._known("1d") and not s.startswith("^")]
        lives = [life for life in (self._life(s, world) for s in known) if life.first < life.last]
        return Agenda(
            pl.concat([Agenda().events, *(part(life) for life in lives for part in (earnings, dividends))]),
            pl.concat([Agenda().fundamentals, *map(fundamentals, lives)]),
            tuple(f"{s}: no stock of the synthetic market" for s in dict.fromkeys(symbols) if s not in known),
        ).as_of(until)

    def _life(self, symbol: str, world: _World) -> Life:
        from tradewind.market.sources._synthetic_events import Life

        first, last, _, state = self._path(symbol, world)
        traits = self._stock(symbol)[1]
        parts = (getattr(world.home.calendar, name)[world.home.offset :] for name in ("sessions", "opens", "closes"))
        key, ended = _key(self.options.seed, symbol), last < world.days
        return Life(symbol, key, first, last, ended, int(traits[7]), bool(traits[8] > 0), state, *parts)

    def truth(self, request: Request) -> Truth:
        """Return what was knowable of the stocks asked for; the index and VIX have no truth here."""
        world = _World(self.options.seed, self.options.world_start, request)
        rows = slice(world.first, world.days)
        columns = []
        for symbol in request.symbols:
            if symbol not in self._known("1d") or symbol.startswith("^"):
                raise InputError(f"{symbol!r} is no stock of this synthetic market")
            columns.append(self._truth(symbol, world)[:, rows])
        expected, sigma, jump, predictor = np.stack(columns, axis=2)
        betas = np.array([self._stock(s)[1][0] for s in request.symbols])
        return Truth(
            world.home.closes[rows], request.symbols, expected, sigma, jump, predictor, world.market[0][rows], betas
        )

    def _truth(self, symbol: str, world: _World) -> FloatArray:
        first, last, _, state = self._path(symbol, world)
        part = state[[7, 3, 8, 9]].copy()
        part[:, :first], part[:, last:] = np.nan, np.nan
        return part

    def _stock(self, symbol: str) -> tuple[int, FloatArray]:
        from tradewind.market.sources._world import stock_traits

        return stock_traits(_key(self.options.seed, symbol), len(SECTORS))

    def _path(self, symbol: str, world: _World) -> tuple[int, int, float, FloatArray]:
        from tradewind.market.sources._world import stock_path

        sector, traits = self._stock(symbol)
        _, drift, sigma, ret, _ = world.market
        key = _key(self.options.seed, symbol)
        strength = self.options.signal_strength
        return stock_path(key, traits, (drift, sigma, ret), world.sector(sector), strength)

    def _deliver(self, symbol: str, world: _World, request: Request) -> Delivery:
        if symbol not in self._known(request.timeframe):
            highest = _symbol(self.options.n_symbols - 1)
            names = ", ".join((INDEX, TECHNOLOGY, *ABROAD))
            note = f"{symbol}: not in the synthetic market, which has SYN000 to {highest}, {names} and {VIX}"
            return deliver(request, no_bars(), notes=(note,))
        if symbol == VIX:
            return deliver(request, world.vix())
        if symbol in ABROAD:
            return deliver(request, world.abroad(symbol))
        if symbol in (INDEX, TECHNOLOGY):
            return deliver(request, world.bars(symbol, 0, world.days, world.index(symbol)))
        first, last, final, state = self._path(symbol, world)
        bars = world.bars(symbol, first, last, state)
        return deliver(request, bars, world.events(symbol, first, last, final, state))


class _Sessions:
    """The sessions of one exchange, from the world's first day to the end of one request."""

    def __init__(self, exchange: str, start: date, request: Request) -> None:
        self.timeframe = request.timeframe
        self.calendar = calendar(exchange)
        self.offset = int(np.searchsorted(self.calendar.sessions, np.datetime64(start)))
        closes = self.calendar.closes[self.offset :]
        opens = self.calendar.opens[self.offset :]
        self.days = max(int(np.searchsorted(opens, instant(request.end), side="left")), 0)
        self.first = min(int(np.searchsorted(closes, instant(request.start), side="left")), self.days)
        self.opens, self.closes = opens[: self.days], closes[: self.days]

    @cached_property
    def steps(self) -> NDArray[np.int64]:
        """Five-minute steps of each session."""
        return ((self.closes - self.opens) // np.timedelta64(5, "m")).astype(np.int64)

    @cached_property
    def first_closes(self) -> NDArray[np.datetime64]:
        """Close of the first bar of each session."""
        if self.timeframe == "1d":
            return self.closes
        return np.asarray(self.opens + np.timedelta64(TIMEFRAMES[self.timeframe], "m"))

    def bars(self, symbol: str, key: np.uint64, state: FloatArray, first: int, last: int) -> pl.DataFrame:
        """Return the bars of the sessions that are both lived and asked for."""
        from tradewind.market.sources._world import session_bars

        minutes = TIMEFRAMES[self.timeframe]
        group = 0 if self.timeframe == "1d" else minutes // 5
        first = max(first, self.first)
        table = session_bars(key, state, self.steps, first, max(last, first), group)
        at = table[:, 0].astype(np.int64)
        closes = self.closes[at]
        if group:
            order = np.arange(len(at)) - np.searchsorted(at, at) + 1
            closes = np.minimum(self.opens[at] + order * np.timedelta64(minutes, "m"), closes)
        return _stamp(symbol, closes).with_columns(**{name: pl.Series(table[:, i + 1]) for i, name in enumerate(_BARS)})

    def daily_closes(self, symbol: str, closes: FloatArray) -> pl.DataFrame:
        """Return the closes of the sessions asked for, as bars that know nothing else."""
        rows = np.arange(self.first, self.days)
        nothing = {name: pl.lit(None, pl.Float64) for name in _BARS if name != "close"}
        return _stamp(symbol, self.closes[rows]).with_columns(close=pl.Series(closes[rows]), **nothing)


class _World:
    """The market-wide part of the synthetic world, up to the end of one request."""

    def __init__(self, seed: int, start: date, request: Request) -> None:
        self.seed, self.start, self.request = seed, start, request
        self.home = _Sessions("XNYS", start, request)
        self.days, self.first = self.home.days, self.home.first
        self._sectors: dict[int, FloatArray] = {}

    @cached_property
    def market(self) -> tuple[NDArray[np.int64], FloatArray, FloatArray, FloatArray, FloatArray]:
        """Regime, drift, volatility, return and VIX by session."""
        from tradewind.market.sources._world import market_path

        return market_path(_key(self.seed, "market"), self.days)

    def sector(self, number: int) -> FloatArray:
        """Return the factor of one sector."""
        from tradewind.market.sources._world import sector_path

        if number not in self._sectors:
            self._sectors[number] = sector_path(_key(self.seed, f"sector {number}"), self.days)
        return self._sectors[number]

    def index(self, symbol: str) -> FloatArray:
        """Return the daily state of an index of New York."""
        from tradewind.market.sources._world import SECTOR_VOL, index_path

        _, _, sigma, ret, _ = self.market
        if symbol == TECHNOLOGY:
            own = _TECHNOLOGY_LOADING * self.sector(SECTORS.index("Information Technology"))
            ret = _TECHNOLOGY_BETA * ret + own
            sigma = np.hypot(_TECHNOLOGY_BETA * sigma, _TECHNOLOGY_LOADING * SECTOR_VOL)
        return index_path(_key(self.seed, symbol), ret, sigma)

    def abroad(self, symbol: str) -> pl.DataFrame:
        """Return the bars of an index abroad, by the sessions of its own exchange."""
        from tradewind.market.sources._world import SECTOR_VOL, index_path, sector_path

        exchange, beta, share = ABROAD[symbol]
        sessions, key = _Sessions(exchange, self.start, self.request), _key(self.seed, symbol)
        level, sigma = self._seen(sessions.closes)
        own = share * sigma
        ret = beta * np.diff(level, prepend=level[:1]) + own * sector_path(key, sessions.days) / SECTOR_VOL
        state = index_path(key, ret, np.hypot(beta * sigma, own))
        if self.request.timeframe == "1d":
            return sessions.bars(symbol, key, state, 0, sessions.days)
        return sessions.daily_closes(symbol, state[2])

    def _seen(self, moments: NDArray[np.datetime64]) -> tuple[FloatArray, FloatArray]:
        """Return the last log price and volatility of New York's index that could be seen at each instant."""
        state, sigma = self.index(INDEX), self.market[2]
        begun = np.searchsorted(self.home.opens, moments, side="right")
        ended = np.searchsorted(self.home.closes, moments, side="right")
        opens, closes = (np.log(np.append(state[0, :1], state[row])) for row in (1, 2))
        return np.where(begun > ended, opens[begun], closes[ended]), np.append(sigma[:1], sigma)[ended]

    def vix(self) -> pl.DataFrame:
        """Return daily VIX closes."""
        return self.home.daily_closes(VIX, np.round(self.market[4], 2))

    def bars(self, symbol: str, first: int, last: int, state: FloatArray) -> pl.DataFrame:
        """Return the bars of a stock or an index of New York."""
        return self.home.bars(symbol, _key(self.seed, symbol), state, first, last)

    def events(self, symbol: str, first: int, last: int, final: float, state: FloatArray) -> pl.DataFrame:
        """Return splits, dividends and the delisting, each at the first bar on which it is effective."""
        lived = np.arange(first + 1, last)
        parts = [
            self._events(symbol, kind, lived[state[row, lived] != none], state[row])
            for kind, row, none in (("split", 5, 1.0), ("dividend", 6, 0.0))
        ]
        if last < self.days:
            ends = np.full(self.days, final)
            parts.append(self._events(symbol, "delist", np.array([last]), ends))
        return pl.concat(parts)

    def _events(self, symbol: str, kind: str, rows: NDArray[np.int64], values: FloatArray) -> pl.DataFrame:
        return _stamp(symbol, self.home.first_closes[rows]).with_columns(
            kind=pl.lit(kind), value=pl.Series(values[rows], dtype=pl.Float64), detail=pl.lit("")
        )


def _stamp(symbol: str, closes: NDArray[np.datetime64]) -> pl.DataFrame:
    times = pl.Series(closes, dtype=pl.Datetime("us")).dt.replace_time_zone("UTC")
    return pl.DataFrame({"time": times}).with_columns(symbol=pl.lit(symbol))


def _days_of_weeks(request: Request) -> Request:
    """Return the request for the days of the weeks asked for, from the first one's Monday on."""
    monday = (request.start - timedelta(days=request.start.weekday())).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    return replace(request, timeframe="1d", start=monday)


def _weekly(daily: Delivery, request: Request) -> Delivery:
    """Return the weeks of one symbol's days; splits and dividends stay at the days on which they take effect."""
    if daily.bars.is_empty():
        return deliver(request, daily.bars, daily.actions, daily.notes)
    symbol = daily.bars["symbol"][0]
    market = calendar(ABROAD[symbol][0] if symbol in ABROAD else "XNYS")
    days = daily.bars["time"].dt.convert_time_zone(market.zone).dt.date().to_numpy().astype("datetime64[D]")
    closes, starts = np.unique(market.week_close_of(days), return_index=True)
    split = daily.bars.select("time").join(daily.actions.filter(kind="split"), on="time", how="left")["value"]
    fields = {name: daily.bars[name].fill_null(np.nan).to_numpy()[:, None] for name in _BARS}
    fields |= {"split": split.fill_null(1.0).to_numpy()[:, None], "dividend": np.zeros((len(days), 1))}
    merged, _ = merge_bars(fields, np.isfinite(fields["close"]), starts, "cash")
    weeks = _stamp(symbol, closes).with_columns(
        **{name: pl.Series(merged[name][:, 0]).fill_nan(None) for name in _BARS}
    )
    return deliver(request, weeks, daily.actions, daily.notes)


def _symbol(number: int) -> str:
    return f"SYN{number:03d}"


def _key(seed: int, name: str) -> np.uint64:
    return np.uint64(int.from_bytes(blake2b(f"{seed}:{name}".encode(), digest_size=8).digest(), "little"))

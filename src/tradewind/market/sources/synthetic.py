"""A seeded market whose truth is known: for tests, for benchmarks, and for anyone without data.

One market factor (regimes, GJR-GARCH, fat tails), eleven sector factors, idiosyncratic GARCH-t, random and
quarterly earnings jumps, splits, dividends, listings, delistings, an index, a VIX and, on request, a small
predictable part. Bars of every size are aggregates of one path. See ``_world`` for the laws.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from tradewind.errors import InputError
from tradewind.market.bars import TIMEFRAMES
from tradewind.market.calendar import calendar, instant
from tradewind.market.sectors import SECTORS
from tradewind.market.sources.base import Delivery, Request, batched, check_request, deliver, no_bars, register
from tradewind.settings import Section

FloatArray = NDArray[np.float64]

INDEX, VIX = "^GSPC", "^VIX"


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
        return dict.fromkeys(("5m", "15m", "30m", "1h", "1d"), None)

    def symbols(self, timeframe: str) -> tuple[str, ...]:
        """Return all stocks that ever lived, the index and VIX (daily only)."""
        return tuple(self._known(timeframe))

    @lru_cache(maxsize=8)  # noqa: B019 - a source lives as long as its process
    def _known(self, timeframe: str) -> dict[str, None]:
        if timeframe not in self.look_back():
            return {}
        context = (INDEX, VIX) if timeframe == "1d" else (INDEX,)
        return dict.fromkeys((*map(_symbol, range(self.options.n_symbols)), *context))

    def sectors(self) -> Mapping[str, str]:
        """Return the sector of every stock."""
        return {s: SECTORS[self._stock(s)[0]] for s in self.symbols("1d") if not s.startswith("^")}

    def membership(self) -> pl.DataFrame | None:
        """Return nothing: a stock belongs for as long as it lives."""
        return None

    def fetch(self, request: Request) -> Iterator[Delivery]:
        """Yield deliveries of many symbols each; unknown symbols are reported and deliver nothing."""
        check_request(self, request)
        world = _World(self.options.seed, self.options.world_start, request)
        yield from batched(self._deliver(symbol, world, request) for symbol in request.symbols)

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
        times = world.calendar.closes[world.offset : world.offset + world.days]
        return Truth(times[rows], request.symbols, expected, sigma, jump, predictor, world.market[0][rows], betas)

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
            note = f"{symbol}: not in the synthetic market, which has SYN000 to {highest}, {INDEX} and {VIX}"
            return deliver(request, no_bars(), notes=(note,))
        if symbol == VIX:
            return deliver(request, world.vix())
        if symbol == INDEX:
            return deliver(request, world.bars(symbol, 0, world.days, world.index()))
        first, last, final, state = self._path(symbol, world)
        bars = world.bars(symbol, first, last, state)
        return deliver(request, bars, world.events(symbol, first, last, final, state))


class _World:
    """The market-wide part of the synthetic world, up to the end of one request."""

    def __init__(self, seed: int, start: date, request: Request) -> None:
        self.seed, self.request = seed, request
        self.calendar = calendar("XNYS")
        self.offset = int(np.searchsorted(self.calendar.sessions, np.datetime64(start)))
        closes = self.calendar.closes[self.offset :]
        opens = self.calendar.opens[self.offset :]
        self.days = max(int(np.searchsorted(opens, instant(request.end), side="left")), 0)
        self.first = min(int(np.searchsorted(closes, instant(request.start), side="left")), self.days)
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

    def index(self) -> FloatArray:
        """Return the daily state of the index."""
        from tradewind.market.sources._world import index_path

        _, _, sigma, ret, _ = self.market
        return index_path(_key(self.seed, INDEX), ret, sigma)

    def vix(self) -> pl.DataFrame:
        """Return daily VIX closes."""
        nothing = pl.lit(None, pl.Float64)
        rows = np.arange(self.first, self.days)
        return self._stamp(VIX, self.calendar.closes[self.offset + rows]).with_columns(
            close=pl.Series(np.round(self.market[4][rows], 2)),
            open=nothing,
            high=nothing,
            low=nothing,
            volume=nothing,
        )

    def bars(self, symbol: str, first: int, last: int, state: FloatArray) -> pl.DataFrame:
        """Return the bars of the sessions that are both lived and asked for."""
        from tradewind.market.sources._world import session_bars

        minutes = TIMEFRAMES[self.request.timeframe]
        group = 0 if self.request.timeframe == "1d" else minutes // 5
        first = max(first, self.first)
        table = session_bars(_key(self.seed, symbol), state, self._steps, first, max(last, first), group)
        at = self.offset + table[:, 0].astype(np.int64)
        closes = self.calendar.closes[at]
        if group:
            order = np.arange(len(at)) - np.searchsorted(at, at) + 1
            ends = self.calendar.opens[at] + order * np.timedelta64(minutes, "m")
            closes = np.minimum(ends, closes)
        names = ("open", "high", "low", "close", "volume")
        return self._stamp(symbol, closes).with_columns(
            **{name: pl.Series(table[:, i + 1]) for i, name in enumerate(names)}
        )

    @cached_property
    def _steps(self) -> NDArray[np.int64]:
        """Five-minute steps of each session."""
        part = slice(self.offset, self.offset + self.days)
        length = self.calendar.closes[part] - self.calendar.opens[part]
        return (length // np.timedelta64(5, "m")).astype(np.int64)

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
        closes = self._first_closes[rows]
        return self._stamp(symbol, closes).with_columns(
            kind=pl.lit(kind), value=pl.Series(values[rows], dtype=pl.Float64), detail=pl.lit("")
        )

    @cached_property
    def _first_closes(self) -> NDArray[np.datetime64]:
        """Close of the first bar of each session."""
        part = slice(self.offset, self.offset + self.days)
        if self.request.timeframe == "1d":
            return self.calendar.closes[part]
        return self.calendar.opens[part] + np.timedelta64(TIMEFRAMES[self.request.timeframe], "m")

    def _stamp(self, symbol: str, closes: NDArray[np.datetime64]) -> pl.DataFrame:
        times = pl.Series(closes, dtype=pl.Datetime("us")).dt.replace_time_zone("UTC")
        return pl.DataFrame({"time": times}).with_columns(symbol=pl.lit(symbol))


def _symbol(number: int) -> str:
    return f"SYN{number:03d}"


def _key(seed: int, name: str) -> np.uint64:
    return np.uint64(int.from_bytes(blake2b(f"{seed}:{name}".encode(), digest_size=8).digest(), "little"))

"""Bars from a user's own CSV or Parquet files: one table, or a folder of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from tradewind.errors import DataError, InputError
from tradewind.market.actions import later_splits, reconstruct, usual_ratios
from tradewind.market.bars import TIMEFRAMES
from tradewind.market.calendar import calendar, known_timeframe
from tradewind.market.events import EVENT_SOURCES, Agenda
from tradewind.market.quality import is_excluded, mark_rows
from tradewind.market.sectors import read_sectors
from tradewind.market.sources._columns import REQUIRED, recognise
from tradewind.market.sources._times import Stamp, bar_closes, read_times
from tradewind.market.sources.base import Delivery, Request, check_request, deliver, no_bars, register
from tradewind.market.universe import read_membership
from tradewind.settings import Section

_SUFFIXES = (".parquet", ".pq", ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt")
_HELD_BYTES = 200_000_000  # text up to this size is parsed once and held
_MISSING = ["", "NA", "N/A", "null", "NULL", "None", ".", "-"]
_NUMBERS = ("open", "high", "low", "close", "volume", "adjusted_close", "dividend", "split")
_RANGE = ("open", "high", "low")
_BARS = ("open", "high", "low", "close", "volume")
FloatArray = NDArray[np.float64]

_CONTEXT = {"index": "^GSPC", "vix": "^VIX"}


class FilesOptions(Section):
    """Where the files are and how to read them."""

    path: str = Field(description="a file, or a folder of files (without a symbol column: one symbol a file)")
    base: str = Field("", description="folder that relative paths start from; empty: the working folder")
    columns: Mapping[str, str] = Field({}, description="field = column; usual names are found without it")
    timeframe: str = Field("1d", description="size of the bars in the files")
    timezone: str = Field("America/New_York", description="zone of times that carry none")
    stamp: Stamp = Field("auto", description="what times mean: the session's date, the bar's start or close")
    calendar: str = Field("XNYS", description="exchange whose sessions the bars belong to")
    prices: Literal["raw", "split", "total"] = Field(
        "raw", description="as traded, adjusted for later splits, or back-adjusted for splits and dividends"
    )
    sectors_path: str | None = Field(None, description="table with a symbol and a sector column")
    membership_path: str | None = Field(None, description="table with symbol, start and end columns")
    survivorship_biased: bool = Field(True, description="false only where names that failed are included")
    publication_lag_minutes: float = Field(0, ge=0, description="how long after its close a bar is known")
    context: Mapping[str, str] = Field(
        {}, description="index, vix or ^NAME = file with its closes; dates are known at each session's close"
    )
    earnings_path: str | None = Field(
        None,
        description="table of symbol and date (of earnings, or of what its kind column says), and, where it has them, "
        "hour (bmo, amc), known_at, event (what stays when the date moves), surprise, or reported and estimate",
    )
    earnings_columns: Mapping[str, str] = Field({}, description="field = column of the table of earnings")
    earnings_notice_days: float = Field(
        14, ge=0, description="how long ahead a date is known where the table does not say"
    )
    fundamentals_path: str | None = Field(
        None,
        description="table of symbol and known_at (the filing day), and eps_ttm, or eps with period_focus (FY, Q1, Q2, "
        "Q3) and end_date; growth, pe and dividend_yield where it has them",
    )
    fundamentals_columns: Mapping[str, str] = Field({}, description="field = column of the table of fundamentals")
    batch_rows: int = Field(1_000_000, ge=1, description="bars held in memory at a time, about")


@dataclass(frozen=True, slots=True)
class _Table:
    """One file, its recognised columns, and the symbol that it is about if it does not say.

    ``closes_only``: it has neither open, high nor low. Its bars then stand at their close alone and are marked, so
    that an order "at the next open" fills at the next close, and what needs a range has none.
    """

    path: Path
    lazy: pl.LazyFrame
    columns: Mapping[str, str]
    symbol: str | None
    closes_only: bool = False

    def select(self, symbols: tuple[str, ...] | None = None) -> pl.LazyFrame:
        """Return the recognised columns under our names, of these symbols only."""
        named = [pl.col(column).alias(field) for field, column in self.columns.items() if field != "symbol"]
        if "symbol" in self.columns and self.symbol is None:
            symbol = pl.col(self.columns["symbol"]).cast(pl.String).str.strip_chars()
        else:
            symbol = pl.lit(self.symbol)
        rows = self.lazy.select(symbol.alias("symbol"), *named)
        return rows if symbols is None else rows.filter(pl.col("symbol").is_in(list(symbols)))


@EVENT_SOURCES.register
@register
class FilesSource:
    """A user's tables. What cannot be used is excluded, marked and reported; nothing is repaired."""

    name: ClassVar[str] = "files"
    offline: ClassVar[bool] = True
    options_model: ClassVar[type[Section]] = FilesOptions

    def __init__(self, **options: object) -> None:
        self.options = FilesOptions.model_validate(options)
        known_timeframe(self.options.timeframe)
        self.adjustment: str = self.options.prices
        self.publication_lag = timedelta(minutes=self.options.publication_lag_minutes)
        self.survivorship_biased = self.options.survivorship_biased

    def look_back(self) -> Mapping[str, timedelta | None]:
        """Return the one bar size that the files have."""
        return {self.options.timeframe: None}

    def symbols(self, timeframe: str) -> tuple[str, ...]:
        """Return the symbols in the files, and the names of the context series."""
        if timeframe != self.options.timeframe:
            return ()
        return (*sorted(self._rows), *(s for s in self._context if s not in self._rows))

    @property
    def content(self) -> str:
        """A digest of which files there are, how long and when last written: another one, and they are synced again."""
        tables = (*self._tables, *self._context.values())
        seen = [(table.path.name, (at := table.path.stat()).st_size, at.st_mtime_ns) for table in tables]
        return hashlib.sha256(repr(seen).encode()).hexdigest()[:16]

    def sectors(self) -> Mapping[str, str]:
        """Return what the sectors file says."""
        path = self.options.sectors_path
        return read_sectors(self._resolve(path)) if path else {}

    def membership(self) -> pl.DataFrame | None:
        """Return what the membership file says."""
        path = self.options.membership_path
        return read_membership(self._resolve(path)) if path else None

    def agenda(self, symbols: Sequence[str], until: datetime) -> Agenda:
        """Return what the tables of earnings and fundamentals say about these symbols, as known by ``until``."""
        from tradewind.market.sources._event_tables import known_until, read_earnings, read_fundamentals

        o, nothing = self.options, Agenda()
        events, filings, notes = nothing.events, nothing.fundamentals, []
        if o.earnings_path:
            whole = read_earnings(
                self._resolve(o.earnings_path), o.earnings_columns, o.earnings_notice_days, o.calendar
            )
            events = known_until(whole, symbols, until)
            notes += [f"{s}: not in {o.earnings_path}" for s in symbols if s not in set(whole["symbol"])]
        if o.fundamentals_path:
            zone = calendar(o.calendar).zone
            whole = read_fundamentals(self._resolve(o.fundamentals_path), o.fundamentals_columns, zone)
            filings = known_until(whole, symbols, until)
            notes += [f"{s}: not in {o.fundamentals_path}" for s in symbols if s not in set(whole["symbol"])]
        return Agenda(events, filings, tuple(notes), o.calendar)

    def fetch(self, request: Request) -> Iterator[Delivery]:
        """Yield deliveries of about ``batch_rows`` bars, whole symbols each."""
        check_request(self, request)
        asked = dict.fromkeys(request.symbols)
        if self._nameless and min(self._rows) in asked:  # said once, however many requests there are
            note = f"{self._nameless} rows of {self.options.path} have no symbol and are left out"
            yield deliver(request, no_bars(), notes=(note,))
        for symbols in self._batches([s for s in asked if s in self._rows]):
            yield self._deliver(request, symbols, self._tables)
        for symbol in asked:
            if symbol in self._context and symbol not in self._rows:
                yield self._deliver(request, (symbol,), (self._context[symbol],))
        unknown = [s for s in asked if s not in self._rows and s not in self._context]
        if unknown:
            note = f"not in {self.options.path}: {', '.join(unknown)}"
            yield deliver(request, no_bars(), notes=(note,))

    def _deliver(self, request: Request, symbols: tuple[str, ...], tables: tuple[_Table, ...]) -> Delivery:
        relevant = [t for t in tables if t.symbol is None or t.symbol in symbols]
        parts = [_normalised(t, symbols, self.options) for t in relevant]
        notes = [note for _, part_notes in parts for note in part_notes]
        bars, more = _single(pl.concat([frame for frame, _ in parts], how="diagonal_relaxed"))
        bars, actions, found = _explained(bars, self.options.prices)
        return deliver(request, bars, actions, (*notes, *more, *found))

    def _batches(self, symbols: list[str]) -> Iterator[tuple[str, ...]]:
        held: list[str] = []
        rows = 0
        for symbol in symbols:
            if held and rows + self._rows[symbol] > self.options.batch_rows:
                yield tuple(held)
                held, rows = [], 0
            held.append(symbol)
            rows += self._rows[symbol]
        if held:
            yield tuple(held)

    @cached_property
    def _rows(self) -> dict[str, int]:
        """Number of rows of each symbol."""
        counts = {symbol: count for symbol, count in self._counts.items() if symbol}
        if not counts:
            raise DataError(f"{self.options.path} holds no rows with a symbol", hint="check the files")
        return counts

    @property
    def _nameless(self) -> int:
        """Number of rows without a symbol."""
        return sum(count for symbol, count in self._counts.items() if not symbol)

    @cached_property
    def _counts(self) -> dict[str | None, int]:
        counts: dict[str | None, int] = {}
        for table in self._tables:
            for symbol, count in _collect(table.select().group_by("symbol").len(), table.path).iter_rows():
                counts[symbol] = counts.get(symbol, 0) + count
        return counts

    @cached_property
    def _tables(self) -> tuple[_Table, ...]:
        place = self._resolve(self.options.path)
        if place.is_dir():
            paths = sorted(p for p in place.iterdir() if p.name.lower().endswith(_SUFFIXES))
            if not paths:
                raise InputError(f"the folder {place} has no files ending in {', '.join(_SUFFIXES)}")
        else:
            paths = [place]
        return tuple(_open(path, self.options.columns, REQUIRED, None) for path in paths)

    @cached_property
    def _context(self) -> dict[str, _Table]:
        tables = {}
        for name, path in self.options.context.items():
            symbol = _CONTEXT.get(name, name)
            if not symbol.startswith("^"):
                raise InputError(f"context {name!r} is neither index, vix nor a ^NAME")
            tables[symbol] = _open(self._resolve(path), {}, ("time", "close"), symbol)
        return tables

    def _resolve(self, path: str) -> Path:
        place = Path(self.options.base).expanduser() / Path(path).expanduser()
        if not place.exists():
            raise InputError(f"there is no file or folder {place}", hint="check `path` and `base` of the source")
        return place


def _open(path: Path, mapping: Mapping[str, str], required: tuple[str, ...], symbol: str | None) -> _Table:
    """Recognise a file's columns; a table without a symbol column is about the symbol that names the file."""
    lazy = _scan(path)
    available = _names(lazy, path)
    if symbol is not None and len(available) == 2 and "close" not in (a.lower() for a in available):
        mapping = {"close": available[1]}  # an index file: a date and the index
    columns = recognise(available, mapping, ("time", "close"), str(path))
    closes_only = symbol is None and not any(field in columns for field in _RANGE)
    columns = recognise(available, mapping, ("time", "close") if closes_only else required, str(path))
    if symbol is None and "symbol" not in columns:
        symbol = path.name.split(".")[0]
    return _Table(path, lazy, columns, symbol, closes_only)


def _scan(path: Path) -> pl.LazyFrame:
    name = path.name.lower()
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty", hint="fetch or write it again")
    if name.endswith((".parquet", ".pq")):
        return pl.scan_parquet(path, glob=False)
    separator = "\t" if ".tsv" in name else ","
    rows = pl.scan_csv(path, separator=separator, infer_schema=False, null_values=_MISSING, glob=False)
    small = path.stat().st_size <= (_HELD_BYTES // 5 if name.endswith(".gz") else _HELD_BYTES)
    return _collect(rows, path).lazy() if small else rows


def _names(lazy: pl.LazyFrame, path: Path) -> list[str]:
    try:
        return lazy.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(path, error) from error


def _collect(lazy: pl.LazyFrame, path: Path) -> pl.DataFrame:
    try:
        return lazy.collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} cannot be read: {error}", hint="the file is damaged or not what its name says")


def _normalised(table: _Table, symbols: tuple[str, ...], options: FilesOptions) -> tuple[pl.DataFrame, list[str]]:
    """Read the symbols' rows with typed columns and ``time`` = close of the bar, UTC; with notes."""
    raw = _collect(table.select(symbols), table.path)
    frame, notes = _numbers(raw, table)
    times = read_times(raw["time"], options.timezone, str(table.path))
    market = calendar(options.calendar)
    if table.closes_only:
        frame = frame.with_columns(*(pl.col("close").alias(f) for f in _RANGE), marks=pl.lit("close-only"))
        notes.append(f"{table.path.name} has closes only: no bar has a range, and orders fill at the next close")
    if table.symbol is not None and table.symbol.startswith("^") and times.dates and _below_a_day(options.timeframe):
        frame = frame.with_columns(pl.lit(None, pl.Float64).alias(f) for f in (*_RANGE, "volume"))  # those of a day
        frame = frame.with_columns(time=bar_closes(times, "date", "1d", market))
    else:
        frame = frame.with_columns(time=bar_closes(times, options.stamp, options.timeframe, market))
    unreadable = times.values.is_null()
    shut = frame["time"].is_null() & ~unreadable
    if times.note:
        notes.append(times.note)
    for which, why in ((unreadable, "have a time that cannot be read"), (shut, _OUTSIDE)):
        if count := int(which.sum()):
            symbol, time = raw.filter(which).select("symbol", "time").row(0)
            notes.append(f"{table.path.name}: {count} rows {why} and are left out (first: {symbol} {time})")
    return frame.filter(pl.col("time").is_not_null()), notes


def _below_a_day(timeframe: str) -> bool:
    return TIMEFRAMES[timeframe] < TIMEFRAMES["1d"]


_OUTSIDE = "lie outside of the exchange's sessions"


def _numbers(raw: pl.DataFrame, table: _Table) -> tuple[pl.DataFrame, list[str]]:
    """Cast the numeric columns; a number that cannot be read is missing, counted and reported."""
    frame, notes = raw, []
    for field in _NUMBERS:
        if field not in raw.columns:
            if field in _BARS:
                frame = frame.with_columns(pl.lit(None, pl.Float64).alias(field))
            continue
        values = _number(raw[field])
        lost = values.is_null() & raw[field].is_not_null()
        if lost.any():
            count, column, example = int(lost.sum()), table.columns[field], raw[field].filter(lost)[0]
            if count == len(lost) - raw[field].null_count():
                raise DataError(
                    f"{table.path}: column {column!r} holds no numbers (first value: {example!r})",
                    hint=f"map another column to {field}",
                )
            notes.append(f"{table.path.name}: {count} values of {column!r} are no numbers (first: {example!r})")
        frame = frame.with_columns(values.alias(field))
    return frame.with_columns(marks=pl.lit(""), adjustment=pl.lit("raw")), notes


def _number(values: pl.Series) -> pl.Series:
    """Return float64; single precision is read at the seven digits that it has, so 23.88 stays 23.88."""
    if values.dtype == pl.String:
        values = values.str.strip_chars()
    number = values.cast(pl.Float64, strict=False)
    return number.round_sig_figs(7) if values.dtype == pl.Float32 else number


def _single(bars: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Order by symbol and time, and leave one row per bar: a copy is dropped, a contradiction excluded."""
    notes = []
    steps = bars.select(pl.col("time").diff().over("symbol") < timedelta(0)).to_series()
    if steps.any():
        notes.append("times were not in order; the rows were sorted")
    ordered = bars.sort("symbol", "time", maintain_order=True)
    again = (pl.col("symbol") == pl.col("symbol").shift(1)) & (pl.col("time") == pl.col("time").shift(1))
    if not ordered.select(again.any()).item():
        return ordered, notes
    distinct = ordered.unique(maintain_order=True)
    if copies := len(ordered) - len(distinct):
        notes.append(f"{copies} rows were exact copies of others and were dropped")
    doubled = distinct.select(pl.struct("symbol", "time").is_duplicated()).to_series()
    if doubled.any():
        clash = distinct.filter(doubled)
        notes.append(
            f"{clash.select('symbol', 'time').n_unique()} bars occur with different values and are excluded "
            f"(first: {clash['symbol'][0]} {clash['time'][0]})"
        )
        marks = pl.when(doubled).then(pl.lit("excluded:duplicate")).otherwise("marks")
        distinct = distinct.with_columns(marks=marks).unique(["symbol", "time"], keep="first", maintain_order=True)
    return distinct, notes


def _explained(bars: pl.DataFrame, prices: str) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    """Return bars with raw prices, their corporate actions, and notes."""
    usable = mark_rows(bars).select(~is_excluded()).to_series()
    inferred = "adjusted_close" in bars.columns and "dividend" not in bars.columns and prices != "total"
    split, dividend = usual_ratios(_column(bars, "split", 1.0)), _column(bars, "dividend", 0.0)
    notes = _infer(bars, usable.to_numpy(), split, dividend) if inferred else []
    if prices == "total":
        notes.append("prices are back-adjusted: raw prices cannot be known, and money amounts are not real")
        bars = bars.with_columns(adjustment=pl.lit("reconstructed"))
    if prices == "split":
        bars, dividend = _unadjusted(bars, split, dividend)
    events, impossible = _events(bars, usable, split, dividend, "reconstructed" if inferred else "")
    return bars, events, notes + impossible


def _column(bars: pl.DataFrame, field: str, none: float) -> FloatArray:
    if field not in bars.columns:
        return np.full(len(bars), none)
    return bars[field].fill_nan(none).fill_null(none).to_numpy(writable=True)


def _runs(symbols: pl.Series) -> list[slice]:
    """Return the rows of each symbol in a frame ordered by symbol."""
    lengths = symbols.rle().struct.field("len").to_numpy().astype(np.int64)
    ends = np.cumsum(lengths)
    return [slice(int(e - n), int(e)) for n, e in zip(lengths, ends, strict=True)]


def _infer(bars: pl.DataFrame, usable: NDArray[np.bool_], split: FloatArray, dividend: FloatArray) -> list[str]:
    """Write what each symbol's adjusted close implies into ``split`` and ``dividend``; return notes."""
    stated = "split" in bars.columns
    close, adjusted = bars["close"].to_numpy(), bars["adjusted_close"].fill_null(np.nan).to_numpy()
    notes = ["splits and dividends are reconstructed from the adjusted close"]
    for part in _runs(bars["symbol"]):
        rows = part.start + np.flatnonzero(usable[part] & (adjusted[part] > 0))
        found = reconstruct(close[rows], adjusted[rows], split[rows] if stated else None)
        split[rows], dividend[rows] = found.split, found.dividend
        if found.ignored:
            symbol = bars["symbol"][part.start]
            notes.append(f"{symbol}: {found.ignored} jumps of the adjusted close have no event and are ignored")
    return notes


def _unadjusted(bars: pl.DataFrame, split: FloatArray, dividend: FloatArray) -> tuple[pl.DataFrame, FloatArray]:
    """Take later splits back out of prices, volumes and dividends."""
    factor = np.concatenate([later_splits(split[part]) for part in _runs(bars["symbol"])] or [split])
    moved = pl.Series(factor != 1)
    return bars.with_columns(
        *(pl.col(name) * pl.Series(factor) for name in ("open", "high", "low", "close")),
        volume=pl.col("volume") / pl.Series(factor),
        adjustment=pl.when(moved).then(pl.lit("reconstructed")).otherwise("adjustment"),
    ), dividend * factor


def _events(
    bars: pl.DataFrame, usable: pl.Series, split: FloatArray, dividend: FloatArray, detail: str
) -> tuple[pl.DataFrame, list[str]]:
    """Return splits and dividends as rows; impossible ones are left out and reported."""
    valid_close = pl.when("usable").then("close").forward_fill().shift(1).over("symbol")
    table = (
        bars.with_columns(usable=usable)
        .select("symbol", "time", before=valid_close)
        .with_columns(split=pl.Series(split), dividend=pl.Series(dividend), detail=pl.lit(detail))
    )
    paid = pl.col("dividend") * pl.col("split")
    possible = (pl.col("split") > 0) & (pl.col("dividend") >= 0) & (paid < pl.col("before")).fill_null(True)
    eventful = table.filter((pl.col("split") != 1) | (pl.col("dividend") != 0))
    wrong = eventful.filter(~possible)
    notes = [
        f"{row['symbol']} {row['time']:%Y-%m-%d}: impossible split {row['split']} or dividend {row['dividend']} "
        f"(close before: {row['before']}) is left out"
        for row in wrong.iter_rows(named=True)
    ]
    kinds = [
        eventful.filter(possible & (pl.col(kind) != none)).select(
            "symbol", "time", pl.lit(kind).alias("kind"), pl.col(kind).alias("value"), "detail"
        )
        for kind, none in (("split", 1), ("dividend", 0))
    ]
    return pl.concat(kinds), notes

"""Quotes beside bars: what could be bought and sold when, and how much of it was shown.

A row of quotes belongs to the bar that closes at its time: the best bid and ask as the bar opens, their extremes
within it, and how they stand at its close, with the sizes shown there. Nothing here is repaired: a side that is
missing or not positive, and a moment at which the bid is above the ask, is unknown (NaN), and the fills say how often
that was so.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tradewind.errors import DataError, InputError
from tradewind.market.calendar import calendar
from tradewind.market.panel import Panel
from tradewind.market.sources._times import Stamp, bar_closes, read_times

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
TimeArray = NDArray[np.datetime64]

SIDES: Final = ("bid", "ask")
FIELDS: Final = tuple(f"{side}_{what}" for side in SIDES for what in ("open", "high", "low", "close", "size"))
_PLAIN: Final = {"bid": "bid_close", "ask": "ask_close"}
_LEAN_QUOTES: Final = ("start", *FIELDS)
_LEAN_TRADES: Final = ("start", "open", "high", "low", "close", "volume")
_LEAN_PRICE: Final = 10_000.0
_READERS: Final[Mapping[str, Callable[[Path], pl.DataFrame]]] = {
    ".parquet": pl.read_parquet,
    ".pq": pl.read_parquet,
    ".csv": pl.read_csv,
}


@dataclass(frozen=True, eq=False)
class Quotes:
    """The best bid and ask of many instruments, aligned on bar closes.

    Attributes
    ----------
    times
        Bar closes, UTC, ``datetime64[us]``, strictly increasing, ``(T,)``.
    symbols
        One a column.
    fields
        :data:`FIELDS`, each ``(T, N)``: ``bid_`` and ``ask_`` ``open`` (standing as the bar opens), ``high``, ``low``,
        ``close`` (standing at its close), in currency, and ``size``, the shares shown at the close. NaN where unknown.
    """

    times: TimeArray
    symbols: tuple[str, ...]
    fields: Mapping[str, FloatArray]

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together."""
        shape = (len(self.times), len(self.symbols))
        missing = [name for name in FIELDS if name not in self.fields]
        if missing:
            raise DataError(f"quotes lack {', '.join(missing)}", hint=f"fill what is unknown with NaN: {shape}")
        for name, values in self.fields.items():
            if values.shape != shape:
                raise DataError(f"quotes field {name!r} has shape {values.shape}, expected {shape}")
        if len(self.times) > 1 and not bool(np.all(np.diff(self.times) > np.timedelta64(0, "us"))):
            raise DataError("quote times are not strictly increasing")

    @property
    def shape(self) -> tuple[int, int]:
        """Return ``(T, N)``."""
        return len(self.times), len(self.symbols)

    def on(self, panel: Panel) -> Quotes:
        """Return the quotes of a panel's bars and symbols, NaN where there are none."""
        rows, columns = _places(self.times, panel.times), _places(np.array(self.symbols), np.array(panel.symbols))
        known = np.ix_(rows >= 0, columns >= 0)
        fields = {name: np.full(panel.shape, np.nan) for name in FIELDS}
        for name, values in fields.items():
            values[known] = self.fields[name][np.ix_(rows[rows >= 0], columns[columns >= 0])]
        return Quotes(panel.times, panel.symbols, fields)

    def at(self, moment: str) -> tuple[FloatArray, FloatArray]:
        """Return bid and ask ``(T, N)`` at a bar's ``open`` or ``close``; both NaN where crossed or one is missing."""
        bid, ask = self.fields[f"bid_{moment}"], self.fields[f"ask_{moment}"]
        good = (bid > 0) & (ask >= bid)
        return np.where(good, bid, np.nan), np.where(good, ask, np.nan)

    def half_spread(self, moment: str) -> FloatArray:
        """Return half the spread at a bar's ``open`` or ``close`` as a fraction of the middle, ``(T, N)``."""
        bid, ask = self.at(moment)
        return np.asarray((ask - bid) / (ask + bid))


def _places(have: NDArray[np.generic], want: NDArray[np.generic]) -> IntArray:
    """Return where each wanted value stands among those we have, -1 where it does not."""
    if not len(have):
        return np.full(len(want), -1)
    order = np.argsort(have, kind="stable")
    at = order[np.clip(np.searchsorted(have, want, sorter=order), 0, len(have) - 1)]
    return np.where(have[at] == want, at, -1).astype(np.int64)


def read_quotes(path: Path | str, *, timezone: str = "UTC", stamp: Stamp = "close", timeframe: str = "1m") -> Quotes:
    """Read a table of quotes: CSV or Parquet with ``time, symbol, bid, ask, bid_size, ask_size``.

    ``bid`` and ``ask`` are those standing at the bar's close. ``bid_open``, ``bid_high``, ``bid_low`` and the same of
    the ask are read where there are such columns. Without them a bar opens with the quote of the symbol's row before
    (none for its first), and its extremes are those of open and close.

    Parameters
    ----------
    timezone
        Of times that carry no zone.
    stamp
        Whether ``time`` is the bar's ``close`` or its ``start``. Rows outside of New York's sessions are left out.

    Raises
    ------
    InputError
        A file that is not there or of another kind.
    DataError
        Columns that are missing, times that cannot be read, or two rows of one symbol at one time.
    """
    file = Path(path)
    table = _table(file)
    times = bar_closes(read_times(table["time"], timezone, file.name), stamp, timeframe, calendar("XNYS"))
    return quotes_of(table.with_columns(times.alias("time")).drop_nulls("time"), file.name)


def _table(file: Path) -> pl.DataFrame:
    if not file.exists():
        raise InputError(f"there is no file {file}", hint="give the path of a table of quotes")
    if file.suffix not in _READERS:
        raise InputError(f"{file.name} is neither CSV nor Parquet", hint=f"known: {', '.join(_READERS)}")
    table = _READERS[file.suffix](file)
    missing = [name for name in ("time", "symbol", "bid", "ask", "bid_size", "ask_size") if name not in table.columns]
    if missing:
        raise DataError(
            f"{file.name} has no column {', '.join(missing)}",
            hint=f"it has {', '.join(table.columns)}; a size that nobody knows is an empty column",
        )
    return table.with_columns(pl.col("symbol").cast(pl.String))


def quotes_of(table: pl.DataFrame, where: str = "quotes") -> Quotes:
    """Return the quotes of a long table, one row a symbol and bar; ``time`` is the bar's close in UTC."""
    twice = table.filter(table.select("time", "symbol").is_duplicated())
    if twice.height:
        time, symbol = twice.select("time", "symbol").row(0)
        raise DataError(
            f"{where} has {twice.height} rows that share time and symbol, the first of {symbol} at {time}",
            hint="keep one quote of a symbol for each bar, the one that stood at its close",
        )
    named = table.sort("time", "symbol").rename({old: new for old, new in _PLAIN.items() if old in table.columns})
    whole = _with_extremes(
        named.with_columns(pl.col("bid_close", "ask_close", "bid_size", "ask_size").cast(pl.Float64))
    )
    times = named["time"].dt.replace_time_zone(None).to_numpy().astype("datetime64[us]")
    symbols = np.array(named["symbol"].to_list())
    all_times, rows = np.unique(times, return_inverse=True)
    all_symbols, columns = np.unique(symbols, return_inverse=True)
    fields = {name: np.full((len(all_times), len(all_symbols)), np.nan) for name in FIELDS}
    for name, values in fields.items():
        read = whole[name].cast(pl.Float64).to_numpy()
        values[rows, columns] = np.where((read >= 0) if name.endswith("size") else (read > 0), read, np.nan)
    return Quotes(all_times, tuple(str(name) for name in all_symbols), fields)


def _with_extremes(table: pl.DataFrame) -> pl.DataFrame:
    """Add the open (the quote of the row before) and the extremes where the table has none."""
    for side in SIDES:
        close = pl.col(f"{side}_close")
        if f"{side}_open" not in table.columns:
            table = table.with_columns(close.shift(1).over("symbol").alias(f"{side}_open"))
        ends = (pl.col(f"{side}_open"), close)
        for name, extreme in (("high", pl.max_horizontal(*ends)), ("low", pl.min_horizontal(*ends))):
            if f"{side}_{name}" not in table.columns:
                table = table.with_columns(extreme.alias(f"{side}_{name}"))
    return table


def read_lean_minutes(folder: Path | str, symbol: str) -> tuple[Panel, Quotes]:
    """Read one symbol's minute bars of trades and quotes as QuantConnect's LEAN keeps them.

    A folder has ``DATE_trade.zip`` and ``DATE_quote.zip`` for each day. LEAN stamps a bar with its start, in
    milliseconds since midnight in New York, and writes prices times 10,000. Only bars of the regular session are
    read. The panel has the bars of trades; bars without a trade are masked.

    Raises
    ------
    InputError
        A folder without such files.
    DataError
        Files that cannot be read as such, or a day of which only trades or only quotes are there.
    """
    place = Path(folder)
    days = {kind: sorted(place.glob(f"*_{kind}.zip")) for kind in ("trade", "quote")}
    if not days["trade"]:
        raise InputError(f"{place} has no minute bars of LEAN", hint="they are called 20131004_trade.zip and the like")
    dates = {kind: [file.name[:8] for file in files] for kind, files in days.items()}
    if dates["trade"] != dates["quote"]:
        raise DataError(f"{place} has trades of {dates['trade']} and quotes of {dates['quote']}")
    trades = pl.concat([_lean(file, _LEAN_TRADES) for file in days["trade"]])
    quotes = pl.concat([_lean(file, _LEAN_QUOTES) for file in days["quote"]])
    given = quotes_of(quotes.with_columns(pl.lit(symbol).alias("symbol")), place.name)
    panel = _lean_panel(trades, symbol, given.times)
    return panel, given.on(panel)


def _lean(file: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    """Read one day of one kind: times are closes in UTC, prices in currency, sizes in shares."""
    try:
        with zipfile.ZipFile(file) as archive, archive.open(archive.namelist()[0]) as stream:
            table = pl.read_csv(stream.read(), has_header=False)
        day = np.datetime64(f"{file.name[:4]}-{file.name[4:6]}-{file.name[6:8]}", "us")
    except (zipfile.BadZipFile, IndexError, ValueError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{file.name} is not a day of LEAN's minute bars: {error}") from None
    if table.width != len(columns):
        raise DataError(f"{file.name} has {table.width} columns, LEAN's minute bars have {len(columns)}")
    table = table.rename(dict(zip(table.columns, columns, strict=True)))
    local = pl.Series("time", day + table["start"].to_numpy() * np.timedelta64(1, "ms"))
    times = bar_closes(read_times(local, "America/New_York", file.name), "start", "1m", calendar("XNYS"))
    prices = [name for name in columns[1:] if not name.endswith(("size", "volume"))]
    scaled = table.with_columns(pl.col(name) / _LEAN_PRICE for name in prices)
    return scaled.with_columns(times.alias("time")).drop("start").drop_nulls("time")


def _lean_panel(trades: pl.DataFrame, symbol: str, quoted: TimeArray) -> Panel:
    """Return the panel of one symbol on all bars that have a trade or a quote."""
    traded = trades["time"].dt.replace_time_zone(None).to_numpy().astype("datetime64[us]")
    times = np.union1d(traded, quoted)
    at = np.searchsorted(times, traded)
    fields = {"split": np.ones((len(times), 1)), "dividend": np.zeros((len(times), 1))}
    for name in _LEAN_TRADES[1:]:
        fields[name] = np.full((len(times), 1), np.nan)
        fields[name][at, 0] = trades[name].cast(pl.Float64).to_numpy()
    mask = np.isfinite(fields["close"])
    return Panel(times, (symbol,), (symbol,), fields, mask, np.ones_like(mask), timeframe="1m")

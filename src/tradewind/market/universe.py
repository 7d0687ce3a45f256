"""Who belongs: membership as of each date, never as of today."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tradewind.errors import DataError, InputError
from tradewind.market.tables import column_of, read_table

if TYPE_CHECKING:
    from tradewind.market.panel import Panel
    from tradewind.market.tiers import TierName

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
TimeArray = NDArray[np.datetime64]

#: A symbol belongs from ``start`` on and no longer on ``end``; null means since ever, or still.
MEMBERSHIP_SCHEMA: Final = {"symbol": pl.String, "start": pl.Date, "end": pl.Date}


def tradable(symbols: Iterable[str]) -> tuple[str, ...]:
    """Return the symbols that can be bought: all but indices, which begin with ``^``."""
    return tuple(s for s in symbols if not s.startswith("^"))


def read_membership(path: Path) -> pl.DataFrame:
    """Read membership intervals, or yearly lists with changes.

    Accepted are a table with symbol, start and end columns (``ticker,start_date,end_date`` and the like), and a
    YAML file or a folder of them with ``year``, ``tickers_on_Jan_1`` and dated ``changes`` of ``union`` and
    ``difference``.

    Returns
    -------
    Frame of ``MEMBERSHIP_SCHEMA``, ordered; overlapping intervals of a symbol are merged.
    """
    if path.is_dir() or path.suffix in (".yaml", ".yml"):
        return _from_yearly(path)
    table = read_table(path)
    names = {
        "symbol": column_of(table, ("symbol", "ticker")),
        "start": column_of(table, ("start", "start_date", "from", "date_added", "date added")),
        "end": column_of(table, ("end", "end_date", "to", "until", "date_removed")),
    }
    if names["symbol"] is None or names["start"] is None:
        raise DataError(
            f"{path} lacks a symbol or a start column; it has {', '.join(table.columns)}",
            hint="a membership table has symbol, start and end",
        )
    found = {field: pl.col(name) if name else pl.lit(None, pl.String) for field, name in names.items()}
    return intervals(
        table.select(
            symbol=found["symbol"].cast(pl.String).str.strip_chars(),
            start=_date(found["start"]),
            end=_date(found["end"]),
        )
    )


def _date(column: pl.Expr) -> pl.Expr:
    return column.cast(pl.String).str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)


def intervals(table: pl.DataFrame) -> pl.DataFrame:
    """Return the intervals ordered, with those of one symbol that touch or overlap merged.

    Raises ``DataError`` for an interval that ends before it starts.
    """
    table = table.select(pl.col(name).cast(kind) for name, kind in MEMBERSHIP_SCHEMA.items()).drop_nulls("symbol")
    wrong = table.filter(pl.col("end") < pl.col("start"))
    if len(wrong):
        raise DataError(f"membership of {wrong['symbol'][0]} ends before it starts: {wrong.row(0)}")
    never, always = date.min, date.max
    filled = table.with_columns(pl.col("start").fill_null(never), pl.col("end").fill_null(always))
    ordered = filled.sort("symbol", "start", "end").with_columns(reach=pl.col("end").cum_max().shift(1).over("symbol"))
    block = (pl.col("start") > pl.col("reach")).fill_null(True).cum_sum().over("symbol")
    merged = ordered.group_by("symbol", block=block, maintain_order=True).agg(
        pl.col("start").min(), pl.col("end").max()
    )
    return merged.select(
        "symbol",
        start=pl.when(pl.col("start") == never).then(None).otherwise("start"),
        end=pl.when(pl.col("end") == always).then(None).otherwise("end"),
    )


def _from_yearly(path: Path) -> pl.DataFrame:
    """Follow yearly lists and their changes; a list that contradicts the changes before it wins."""
    import yaml  # type: ignore[import-untyped]

    files = sorted(path.glob("*.y*ml")) if path.is_dir() else [path]
    years = []
    for file in files:
        try:
            years.append(yaml.safe_load(file.read_text()))
        except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file} cannot be read: {error}") from error
    since: dict[str, date] = {}
    rows: list[tuple[str, date, date | None]] = []
    for day, members in _lists(years):
        rows += [(s, since.pop(s), day) for s in sorted(since.keys() - members)]
        since |= dict.fromkeys(members - since.keys(), day)
    rows += [(s, start, None) for s, start in sorted(since.items())]
    return intervals(pl.DataFrame(rows, schema=MEMBERSHIP_SCHEMA, orient="row"))


def _lists(years: Sequence[Mapping[str, object]]) -> list[tuple[date, set[str]]]:
    """Return the full list after each change, oldest first."""
    out: list[tuple[date, set[str]]] = []
    for year in sorted(years, key=lambda y: int(str(y.get("year", 0)))):
        if "year" not in year or not isinstance(listed := year.get("tickers_on_Jan_1"), list):
            raise DataError("a yearly membership file needs year and tickers_on_Jan_1")
        members = {str(s) for s in listed}
        out.append((date(int(str(year["year"])), 1, 1), set(members)))
        changes = year.get("changes")
        for day, change in sorted(changes.items()) if isinstance(changes, dict) else ():
            members = (members - _names(change, "difference")) | _names(change, "union")
            out.append((date.fromisoformat(str(day)), set(members)))
    return out


def _names(change: object, kind: str) -> set[str]:
    listed = change.get(kind) if isinstance(change, dict) else None
    return {str(s) for s in listed or ()}


def member_mask(membership: pl.DataFrame, symbols: Sequence[str], dates: TimeArray) -> BoolArray:
    """Return ``(T, N)``, True where the symbol belonged on the date; without an interval it never did.

    Parameters
    ----------
    membership
        Frame of ``MEMBERSHIP_SCHEMA``.
    symbols
        The columns.
    dates
        Local dates of the sessions, or their closes in UTC (the same day in New York), increasing, ``(T,)``.
    """
    days = np.asarray(dates, dtype="datetime64[D]")
    out = np.zeros((len(days), len(symbols)), dtype=bool)
    column = {symbol: i for i, symbol in enumerate(symbols)}
    for symbol, start, end in membership.select("symbol", "start", "end").iter_rows():
        if symbol in column:
            first = 0 if start is None else int(np.searchsorted(days, np.datetime64(start)))
            last = len(days) if end is None else int(np.searchsorted(days, np.datetime64(end)))
            out[first:last, column[symbol]] = True
    return out


def members_on(membership: pl.DataFrame, day: date) -> tuple[str, ...]:
    """Return the symbols that belonged on a date, sorted."""
    began = (pl.col("start") <= day).fill_null(True)
    lasts = (pl.col("end") > day).fill_null(True)
    return tuple(membership.filter(began & lasts)["symbol"].unique().sort())


def ever_members(membership: pl.DataFrame, start: date, end: date) -> tuple[str, ...]:
    """Return the symbols that belonged at any time between two dates, sorted."""
    began = (pl.col("start") <= end).fill_null(True)
    lasts = (pl.col("end") > start).fill_null(True)
    return tuple(membership.filter(began & lasts)["symbol"].unique().sort())


def explicit(symbols: Iterable[str]) -> tuple[str, ...]:
    """Return a list of names without repeats; an empty one is refused."""
    listed = tuple(dict.fromkeys(s.strip() for s in symbols if s.strip()))
    if not listed:
        raise InputError("the universe is empty", hint="name some in [universe] symbols")
    return listed


def liquid(
    close: FloatArray, volume: FloatArray, mask: BoolArray, min_dollar_volume: float, window: int = 20
) -> BoolArray:
    """Return ``(T, N)``, True where the median dollar volume of the last ``window`` rows was high enough.

    Causal: row ``t`` uses rows up to and including ``t``. False until ``window`` rows have been seen, of which at
    least half had a bar.
    """
    if min_dollar_volume <= 0:
        return np.ones(close.shape, dtype=bool)
    dollars = np.where(mask, close * volume, np.nan)
    out = np.zeros(close.shape, dtype=bool)
    if len(close) < window:
        return out
    for n in range(close.shape[1]):
        rolling = pl.Series(dollars[:, n], nan_to_null=True).rolling_median(window, min_samples=window // 2)
        out[window - 1 :, n] = (rolling.fill_null(-1.0).to_numpy() >= min_dollar_volume)[window - 1 :]
    return out


def eligible(panel: Panel, tiers: Sequence[TierName], min_dollar_volume: float, window: int = 20) -> Panel:
    """Return the panel with ``member`` narrowed to price tiers and liquid names, each as of its bar.

    Without tiers and without a minimum nothing changes. Prices below 0.50 are in no tier, hence not tradable.
    """
    from tradewind.market.tiers import allowed

    member = panel.member & liquid(panel.close, panel.volume, panel.mask, min_dollar_volume, window)
    if tiers:
        member = member & allowed(panel.close, tiers)
    return replace(panel, member=member)

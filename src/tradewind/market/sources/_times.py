"""Turn whatever a table calls a time into instants or dates, and those into the closes of bars."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import time
from typing import Literal

import numpy as np
import polars as pl

from tradewind.errors import DataError, InputError
from tradewind.market.bars import TIMEFRAMES
from tradewind.market.calendar import Calendar

Stamp = Literal["auto", "date", "start", "close"]

_DATES = ("%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d-%b-%Y")
_CLOCKS = ("%H:%M:%S%.f", "%H:%M")
_ZONED = r":\d{2}.*(Z|[+-]\d{2}:?\d{2})$"
_MICROS_PER = ((1e17, 0.001), (1e14, 1), (1e11, 1_000), (1e8, 1_000_000))  # by size: ns, us, ms, s


@dataclass(frozen=True, slots=True)
class Times:
    """Times as read: ``values`` are Date, or Datetime[us] in UTC; null where unreadable."""

    values: pl.Series
    dates: bool
    note: str = ""


def read_times(raw: pl.Series, zone: str, where: str) -> Times:
    """Read dates, datetimes with or without a zone, text or epoch numbers.

    Times without a zone are in ``zone``. Raises ``DataError`` for times of which only some carry a zone, and for
    columns in which nothing can be read.
    """
    if raw.dtype == pl.Date:
        return Times(raw, True)
    if isinstance(raw.dtype, pl.Datetime):
        return _midnights(_in_utc(raw.cast(pl.Datetime("us", raw.dtype.time_zone)), zone), raw)
    if raw.dtype == pl.String:
        return _from_text(raw.str.strip_chars(), zone, where)
    if raw.dtype.is_integer():
        return _from_numbers(raw.cast(pl.Int64), where)
    raise DataError(f"{where}: times of type {raw.dtype} cannot be read", hint="use dates, datetimes or text")


def _midnights(instants: pl.Series, local: pl.Series) -> Times:
    """Call datetimes that are all at midnight, in whatever zone, what they are: dates."""
    known = local.drop_nulls()
    if len(known) and bool((known.dt.time() == time(0)).all()):
        return Times(local.dt.date(), True)
    return Times(instants, False)


def _in_utc(times: pl.Series, zone: str) -> pl.Series:
    try:
        if getattr(times.dtype, "time_zone", None) is None:
            times = times.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        return times.dt.convert_time_zone("UTC")
    except pl.exceptions.ComputeError as error:
        raise InputError(f"unknown time zone {zone!r}", hint="use a name such as America/New_York") from error


def _from_text(raw: pl.Series, zone: str, where: str) -> Times:
    known = raw.drop_nulls()
    if len(known) and bool(known.str.contains(r"^\d{9,}$").all()):
        return _from_numbers(raw.cast(pl.Int64), where)
    zoned = int(known.str.contains(_ZONED).sum())
    if 0 < zoned < len(known):
        raise DataError(
            f"{where}: {zoned} of {len(known)} times carry a zone and the others do not",
            hint="write all times in one way; mixed zones cannot be told apart",
        )
    if zoned:
        return _with_zones(raw)
    for pattern in _patterns():
        values = raw.str.strptime(pl.Datetime("us"), pattern, strict=False)
        if len(known) and values.null_count() - raw.null_count() <= 0.01 * len(known):
            return _annotated(_midnights(_in_utc(values, zone), values), pattern, raw)
    raise DataError(
        f"{where}: cannot read times such as {known[0] if len(known) else None!r}",
        hint="write them as 2016-01-29 or 2016-01-29 15:30:00",
    )


def _with_zones(raw: pl.Series) -> Times:
    """Read text such as 2016-01-29T00:00:00-05:00; where all are at midnight, they are dates."""
    if bool(raw.drop_nulls().str.contains(r"[T ]00:00(:00)?(\.0+)?(Z|[+-]\d{2}:?\d{2})$").all()):
        return Times(raw.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False), True)
    spelled = raw.str.replace(r"Z$", "+00:00").str.replace(" ", "T")
    return Times(spelled.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False), False)


def _patterns() -> tuple[str, ...]:
    clocked = (f"{d}{gap}{c}" for d in _DATES for gap in (" ", "T") for c in _CLOCKS)
    return (*(f"{d}" for d in _DATES), *clocked)


def _annotated(times: Times, pattern: str, raw: pl.Series) -> Times:
    """Say so where month and day could also have been read the other way round."""
    if not pattern.startswith("%m/%d"):
        return times
    swapped = raw.str.strptime(pl.Datetime("us"), pattern.replace("%m/%d", "%d/%m"), strict=False)
    if swapped.null_count() > raw.null_count():
        return times
    return Times(times.values, times.dates, f"dates such as {raw.drop_nulls()[0]} are read as month/day/year")


def _from_numbers(raw: pl.Series, where: str) -> Times:
    """Read yyyymmdd, or seconds, milliseconds, microseconds or nanoseconds since 1970."""
    known = raw.drop_nulls().to_numpy()
    low, high = (int(known.min()), int(known.max())) if len(known) else (0, 0)
    if low >= 1900_01_01 and high <= 2100_12_31:
        return Times(raw.cast(pl.String).str.strptime(pl.Date, "%Y%m%d", strict=False), True)
    factor = next((factor for least, factor in _MICROS_PER if high >= least), None)
    if factor is None:
        raise DataError(f"{where}: numbers from {low} to {high} are no times", hint="use epoch seconds or dates")
    micros = raw // 1000 if factor < 1 else raw * int(factor)
    instants = micros.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return _midnights(instants, instants)


def bar_closes(times: Times, stamp: Stamp, timeframe: str, calendar: Calendar) -> pl.Series:
    """Return the close (UTC) of each bar; null for bars outside of every session.

    ``stamp`` says what the times mean: the ``date`` of the session, or the ``start`` or the ``close`` of the bar;
    ``auto`` takes dates as dates and other times as starts, which is what most providers write.
    """
    if stamp == "auto":
        stamp = "date" if times.dates else "start"
    if TIMEFRAMES[timeframe] < TIMEFRAMES["1d"]:
        if times.dates or stamp == "date":
            raise DataError(f"{timeframe} bars need times of day, and these are dates", hint="correct `timeframe`")
        instants = _naive(times.values)
        closes = _checked(instants, calendar) if stamp == "close" else calendar.close_of_start(instants, timeframe)
    else:
        local = times.values if times.dates else times.values.dt.convert_time_zone(calendar.zone).dt.date()
        dates = local.to_numpy().astype("datetime64[D]")
        closes = calendar.week_close_of(dates) if timeframe == "1w" else calendar.close_of(dates)
    return pl.Series(closes.astype("datetime64[us]"), dtype=pl.Datetime("us")).dt.replace_time_zone("UTC")


def _naive(instants: pl.Series) -> np.ndarray:
    return instants.dt.replace_time_zone(None).to_numpy().astype("datetime64[us]")


def _checked(closes: np.ndarray, calendar: Calendar) -> np.ndarray:
    return np.where(calendar.session_of(closes) >= 0, closes, np.datetime64("NaT"))

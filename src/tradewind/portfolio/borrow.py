"""What it costs to borrow a stock for a short sale, and whether it can be borrowed, as known at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from tradewind.errors import DataError, InputError
from tradewind.settings import Section

if TYPE_CHECKING:
    import polars as pl

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
TimeArray = NDArray[np.datetime64]

BPS_MOST = 100_000.0


class BorrowSection(Section):
    """Cost and availability of stock to sell short.

    A name that the availability file does not know (yet) is not available. Without a file nothing is known of any name,
    and all are assumed available, which results repeat as a flag; ``unknown`` overrides both.
    """

    default_bps: float = Field(
        20.0,
        ge=0,
        le=BPS_MOST,
        description="cost of borrowing a year, basis points of the value; with a section [borrow] it is what is "
        "charged, and not execution.borrow_bps_per_year",
    )
    hard_to_borrow_bps: Mapping[str, float] = Field(
        {}, description="cost a year by symbol, where it is not the default"
    )
    unavailable: tuple[str, ...] = Field((), description="symbols that are never sold short")
    availability_path: str | None = Field(
        None,
        description="table of symbol, time, available and perhaps bps: a statement holds from its time to the next",
    )
    unknown: Literal["by_file", "available", "unavailable"] = Field(
        "by_file",
        description="names that nothing is said about; by_file: unavailable where there is a file, else assumed to be "
        "available",
    )

    @field_validator("hard_to_borrow_bps")
    @classmethod
    def _sensible(cls, given: Mapping[str, float]) -> Mapping[str, float]:
        bad = {symbol: bps for symbol, bps in given.items() if not 0 <= bps <= BPS_MOST}
        if bad:
            raise ValueError(f"basis points a year lie in 0 to {BPS_MOST:,.0f}, not {bad}")
        return given


@dataclass(frozen=True, eq=False)
class BorrowTerms:
    """What can be borrowed at each close, and for how much.

    Attributes
    ----------
    available
        ``(T, N)``.
    bps
        ``(T, N)`` basis points a year, also where nothing is available.
    assumed
        True where availability is no one's statement but an assumption of the settings: ``(T, N)``.
    """

    available: BoolArray
    bps: FloatArray
    assumed: BoolArray

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what a result that sells short must say of these terms."""
        if not (self.assumed & self.available).any():
            return ()
        share = float((self.assumed & self.available).mean())
        return (
            f"assumed_borrow: nobody has said that stock could be borrowed on {share:.0%} of the bars: it is assumed",
        )


def terms(
    settings: BorrowSection, times: TimeArray, symbols: Sequence[str], statements: pl.DataFrame | None = None
) -> BorrowTerms:
    """Return availability and cost at each close, from statements of that time or before.

    Parameters
    ----------
    times
        ``(T,)`` bar closes, UTC.
    statements
        As read by :func:`read_statements`; read from ``settings.availability_path`` where None and a path is given.

    Raises
    ------
    DataError
        An availability file that cannot be read, or says impossible things.
    """
    if statements is None and settings.availability_path is not None:
        statements = read_statements(Path(settings.availability_path))
    shape = (len(times), len(symbols))
    said = np.full(shape, np.nan)
    bps = np.tile([settings.hard_to_borrow_bps.get(s, settings.default_bps) for s in symbols], (shape[0], 1))
    if statements is not None:
        _overlay(statements, times, symbols, said, bps)
    lenient = settings.unknown == "available" or (settings.unknown == "by_file" and statements is None)
    assumed = np.isnan(said)
    available = np.where(assumed, lenient, said > 0)
    never = np.array([s in settings.unavailable for s in symbols], dtype=np.bool_)
    return BorrowTerms(available & ~never, bps, assumed & ~never)


def read_statements(path: Path) -> pl.DataFrame:
    """Read a table of ``symbol, time, available`` and perhaps ``bps`` (CSV or Parquet), ordered by time.

    A time without a zone is UTC; a date means the end of that day, as what is dated a day was not known during it.

    Raises
    ------
    DataError
        No such file, columns or values.
    """
    import polars as pl

    if not path.is_file():
        raise DataError(f"no availability file {path}", hint="correct borrow.availability_path")
    frame = pl.read_parquet(path) if path.suffix in (".parquet", ".pq") else pl.read_csv(path, infer_schema=False)
    lacking = [name for name in ("symbol", "time", "available") if name not in frame.columns]
    if lacking:
        raise DataError(f"{path} lacks the columns {lacking}; it has {frame.columns}", hint="name them so")
    bps = pl.col("bps") if "bps" in frame.columns else pl.lit(None)
    try:
        read = frame.select(
            pl.col("symbol").cast(pl.String), _instants(frame), _flags(frame), bps.cast(pl.Float64).alias("bps")
        )
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"{path} cannot be read: {error}", hint="available is true or false, times are ISO 8601"
        ) from None
    bad = read.filter(
        pl.any_horizontal(pl.col("symbol", "time", "available").is_null()) | ~pl.col("bps").is_between(0, BPS_MOST)
    )
    if bad.height:
        raise DataError(
            f"{path} has {bad.height} rows that say nothing, the first {bad.row(0)}",
            hint=f"available is true or false, bps lie in 0 to {BPS_MOST:,.0f}",
        )
    return read.sort("time", maintain_order=True)


def _instants(frame: pl.DataFrame) -> pl.Expr:
    import polars as pl

    given, kind = pl.col("time"), frame.schema["time"]
    if kind == pl.String:
        day = given.str.to_date(strict=False)
        moment = given.str.to_datetime(time_zone="UTC", time_unit="us", strict=False).dt.replace_time_zone(None)
        is_day = given.str.len_chars() <= len("2020-01-31")
        return pl.when(is_day).then(_end_of(day)).otherwise(moment).alias("time")
    if kind == pl.Date:
        return _end_of(given).alias("time")
    if not isinstance(kind, pl.Datetime):
        raise DataError(f"the availability file's times are of type {kind}", hint="write dates or ISO 8601 times")
    utc = given.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if kind.time_zone else given
    return utc.cast(pl.Datetime("us")).alias("time")


def _end_of(day: pl.Expr) -> pl.Expr:
    import polars as pl

    return day.cast(pl.Datetime("us")).dt.offset_by("1d").dt.offset_by("-1us")


def _flags(frame: pl.DataFrame) -> pl.Expr:
    import polars as pl

    if frame.schema["available"] == pl.String:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        return pl.col("available").str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Boolean)
    return pl.col("available").cast(pl.Boolean)


def _overlay(
    statements: pl.DataFrame, times: TimeArray, symbols: Sequence[str], said: FloatArray, bps: FloatArray
) -> None:
    """Write each symbol's last statement at each close over what was there; the last of equal times counts."""
    closes = times.astype("datetime64[us]")
    for (symbol,), rows in statements.group_by("symbol", maintain_order=True):
        if symbol not in symbols:
            continue
        column = list(symbols).index(str(symbol))
        last = np.searchsorted(rows["time"].to_numpy(), closes, side="right") - 1
        known = last >= 0
        said[known, column] = rows["available"].to_numpy()[last[known]]
        cost = rows["bps"].fill_null(np.nan).to_numpy()[last[known]]
        bps[known, column] = np.where(np.isfinite(cost), cost, bps[known, column])


def extra_cost(
    shares: FloatArray, close: FloatArray, times: TimeArray, bps: FloatArray, charged_bps: float
) -> FloatArray:
    """Return what shorts cost in each bar beyond a rate that was charged for all of them, ``(T,)`` in currency.

    The simulator charges one rate; names that are harder to borrow cost this much more (or less, where negative).

    Parameters
    ----------
    shares, close
        ``(T, N)`` held after each close, negative is short, and the close; NaN is no price and no cost.
    bps
        ``(T, N)`` basis points a year agreed at each close, for the time to the next.
    """
    if not shares.shape == close.shape == bps.shape:
        raise InputError(f"shares {shares.shape}, close {close.shape} and bps {bps.shape} differ in shape")
    short = np.maximum(-np.nan_to_num(shares * close), 0.0)
    years = np.diff(times.astype("datetime64[us]")) / np.timedelta64(365, "D").astype("timedelta64[us]")
    cost = np.zeros(len(times))
    cost[1:] = (short * (bps - charged_bps) / 1e4).sum(axis=1)[:-1] * years
    return cost

"""Earnings dates and fundamentals from a user's own tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from tradewind.errors import DataError, did_you_mean
from tradewind.market.calendar import calendar
from tradewind.market.events import EVENT_SCHEMA, FUNDAMENTAL_SCHEMA, end_of_day, event_rows, result_known_at
from tradewind.market.sources._times import read_times
from tradewind.market.tables import column_of, read_table

#: Usual names of each column, lower case; the first one found wins.
EARNINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "symbol": ("symbol", "ticker", "act_symbol"),
    "date": ("date", "report_date", "reportdate", "earnings_date", "ex_date"),
    "hour": ("hour", "time", "when", "session"),
    "known_at": ("known_at", "announced_at", "announced", "as_of"),
    "kind": ("kind",),
    "event": ("event", "period", "fiscal_period", "fiscaldateending", "period_end_date"),
    "state": ("state", "status"),
    "value": ("value", "surprise", "amount", "dividend"),
    "reported": ("reported", "reported_eps", "eps_actual"),
    "estimate": ("estimate", "estimated_eps", "eps_estimate"),
}
FUNDAMENTALS: Final[Mapping[str, tuple[str, ...]]] = {
    "symbol": ("symbol", "ticker"),
    "known_at": ("known_at", "filed", "filing_date", "filed_at", "acceptance_date", "snapshot", "report_date"),
    "period": ("period", "end_date", "period_end", "period_end_date", "fiscal_date_ending"),
    "focus": ("period_focus", "fiscal_period", "fp"),
    "eps_ttm": ("eps_ttm", "ttm_eps", "trailing_eps"),
    "eps": ("eps_diluted", "eps", "eps_basic"),
    "growth": ("growth", "eps_growth", "earnings_growth"),
    "pe": ("pe", "pe_ratio", "trailing_pe", "price_earnings"),
    "dividend_yield": ("dividend_yield", "yield"),
}
_HOURS: Final = {
    "bmo": "bmo",
    "before market open": "bmo",
    "before the open": "bmo",
    "pre-market": "bmo",
    "amc": "amc",
    "after market close": "amc",
    "after the close": "amc",
    "post-market": "amc",
}

#: Dates of one company's earnings this close together are versions of one occasion, where no column tells them apart.
SAME_OCCASION: Final = timedelta(days=45)

_QUARTERS: Final = ("Q1", "Q2", "Q3")
_A_YEAR, _ABOUT = timedelta(days=365), timedelta(days=20)


def read_earnings(path: Path, columns: Mapping[str, str], notice_days: float, exchange: str) -> pl.DataFrame:
    """Read a table of occasions; rows of ``EVENT_SCHEMA``.

    One row is one version of one date. It counts as known from ``known_at`` on, and where that is missing from
    ``notice_days`` before its date (then the vintage is assumed). A result in the row (a value, or what was reported
    beside what was expected) becomes a row of its own, known once it is out, whatever ``known_at`` says.

    Raises ``InputError`` for a mapping of an unknown column, ``DataError`` where symbol or date are missing or
    cannot be read.
    """
    table = _named(path, EARNINGS, columns, ("symbol", "date"))
    zone = calendar(exchange).zone
    rows = table.with_columns(
        symbol=_text("symbol"),
        date=_dates(table, "date", path, zone),
        hour=_text("hour").str.to_lowercase().replace_strict(_HOURS, default="", return_dtype=pl.String),
        kind=_text("kind").str.to_lowercase().fill_null("earnings") if "kind" in table.columns else pl.lit("earnings"),
        value=_results(table),
        stated=_instants(table, "known_at", path, zone),
        state=_text("state").str.to_lowercase() if "state" in table.columns else pl.lit("scheduled"),
    ).filter(pl.col("symbol").is_not_null())
    rows = rows.with_columns(
        known_at=pl.col("stated").fill_null(
            end_of_day(rows["date"], zone) - pl.duration(days=1) - pl.duration(seconds=round(notice_days * 86_400))
        ),
        vintage=pl.when(pl.col("stated").is_null()).then(pl.lit("assumed")).otherwise(pl.lit("observed")),
    ).filter(pl.col("known_at").is_not_null())
    rows = _with_events(rows.sort("symbol", "kind", "known_at", "date", maintain_order=True))
    scheduled = rows.with_columns(
        state=pl.when(pl.col("state") == "cancelled").then(pl.lit("cancelled")).otherwise(pl.lit("scheduled")),
        value=pl.lit(None, pl.Float64),
    )
    results = rows.filter(pl.col("value").is_not_null() & pl.col("date").is_not_null())
    out = result_known_at(results["date"], results["hour"], exchange)
    reported = results.with_columns(
        state=pl.lit("reported"), known_at=pl.max_horizontal(out.alias("known_at"), "stated")
    )
    parts = [part.select(pl.col(n).cast(kind) for n, kind in EVENT_SCHEMA.items()) for part in (scheduled, reported)]
    return pl.concat(parts)


def read_fundamentals(path: Path, columns: Mapping[str, str], zone: str) -> pl.DataFrame:
    """Read a table of filings; rows of ``FUNDAMENTAL_SCHEMA``.

    A day without a time of ``known_at`` counts as known when it has ended. Where there is no ``eps_ttm``, twelve months
    are made of ``eps`` of fiscal years and quarters (``focus``: FY, Q1, Q2, Q3), as in :func:`twelve_months`.

    Raises ``InputError`` for a mapping of an unknown column, ``DataError`` where needed columns are missing or
    cannot be read.
    """
    table = _named(path, FUNDAMENTALS, columns, ("symbol", "known_at"))
    given = {name: _number(table, name) for name in ("eps_ttm", "growth", "pe", "dividend_yield")}
    rows = table.with_columns(
        symbol=_text("symbol"),
        known_at=_instants(table, "known_at", path, zone),
        period=_dates(table, "period", path, zone) if "period" in table.columns else pl.lit(None, pl.Date),
        **given,
    ).filter(pl.col("symbol").is_not_null() & pl.col("known_at").is_not_null())
    if "eps_ttm" not in table.columns and "eps" in table.columns:
        rows = _of_quarters(rows, path)
    return event_rows({n: rows[n] for n in FUNDAMENTAL_SCHEMA if n in rows.columns}, FUNDAMENTAL_SCHEMA)


class Filing(NamedTuple):
    """Earnings per share of one fiscal period, as filed."""

    period: date
    focus: str
    eps: float


def twelve_months(filings: Sequence[Filing]) -> float | None:
    """Return the earnings per share of the twelve months that end with the last of these filings; None if unknown.

    A fiscal year is its own twelve months. After the k-th quarter they are the fiscal year before, plus the quarters
    since, minus the same quarters of that year; one that is not known makes the sum unknown.

    Parameters
    ----------
    filings
        As known so far, in the order in which they came; a later one of the same period corrects an earlier.
    """
    last = filings[-1]
    if last.focus == "FY":
        return last.eps
    known = {f.period: f for f in filings if f.period <= last.period}
    years = [f for f in known.values() if f.focus == "FY" and f.period > last.period - _A_YEAR]
    if last.focus not in _QUARTERS or not years:
        return None
    year = max(years)
    since = [f for f in known.values() if f.focus in _QUARTERS and f.period > year.period]
    before = [_a_year_before(known, f.period) for f in since]
    if len(since) != _QUARTERS.index(last.focus) + 1 or None in before:
        return None
    return year.eps + sum(f.eps for f in since) - sum(f.eps for f in before if f is not None)


def _a_year_before(known: Mapping[date, Filing], period: date) -> Filing | None:
    near = (f for f in known.values() if f.focus in _QUARTERS and abs(period - _A_YEAR - f.period) <= _ABOUT)
    return next(near, None)


def _of_quarters(rows: pl.DataFrame, path: Path) -> pl.DataFrame:
    """Fill ``eps_ttm`` and, where it is not given, ``growth`` from the periods' own earnings."""
    missing = [name for name in ("focus", "period") if name not in rows.columns or rows[name].null_count() == len(rows)]
    if missing:
        raise DataError(
            f"{path} has earnings per share, but not of which period: it lacks {' and '.join(missing)}",
            hint="map period_focus (FY, Q1, Q2, Q3) and end_date, or give eps_ttm",
        )
    ordered = rows.with_columns(focus=_text("focus").str.to_uppercase(), eps=_number(rows, "eps")).sort(
        "symbol", "known_at", "period", maintain_order=True
    )
    ttm: list[float | None] = []
    growth: list[float | None] = []
    filings: list[Filing] = []
    by_period: dict[date, float] = {}
    current = None
    for symbol, period, focus, eps in ordered.select("symbol", "period", "focus", "eps").iter_rows():
        if symbol != current:
            current, filings, by_period = symbol, [], {}
        value = None
        if None not in (period, focus, eps):
            filings.append(Filing(period, focus, eps))
            value = twelve_months(filings)
        if value is not None:
            by_period[period] = value
        ttm.append(value)
        growth.append(None if value is None else _growth(by_period, period))
    made = ordered.with_columns(eps_ttm=pl.Series(ttm, dtype=pl.Float64), made=pl.Series(growth, dtype=pl.Float64))
    whole = made.filter(pl.col("eps_ttm").is_not_null())
    return whole.with_columns(growth=pl.coalesce("growth", "made"))


def _growth(by_period: Mapping[date, float], period: date) -> float | None:
    """Return the change on the twelve months a year before; None where these are unknown or no profit."""
    before = next((v for p, v in by_period.items() if abs(period - _A_YEAR - p) <= _ABOUT), None)
    return by_period[period] / before - 1 if before is not None and before > 0 else None


def _named(
    path: Path, usual: Mapping[str, tuple[str, ...]], mapping: Mapping[str, str], required: tuple[str, ...]
) -> pl.DataFrame:
    """Read a table under our names."""
    table = read_table(path)
    for name, column in mapping.items():
        if name not in usual:
            raise did_you_mean("column of events", name, usual)
        if column not in table.columns:
            raise DataError(f"{path} has no column {column!r} (mapped to {name})", hint=f"it has {table.columns}")
    found = {name: mapping.get(name) or column_of(table, names) for name, names in usual.items()}
    missing = [name for name in required if found[name] is None]
    if missing:
        raise DataError(
            f"{path} has no column for {', '.join(missing)}; it has {', '.join(table.columns)}",
            hint=f'say which column is which: {{ {missing[0]} = "…" }}',
        )
    absent = [pl.lit(None, pl.String).alias(n) for n in ("hour",) if n in usual and found[n] is None]
    return table.select(*(pl.col(column).alias(n) for n, column in found.items() if column is not None), *absent)


def _text(name: str) -> pl.Expr:
    text = pl.col(name).cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text)


def _number(table: pl.DataFrame, name: str) -> pl.Series:
    if name not in table.columns:
        return pl.Series(name, [None] * len(table), dtype=pl.Float64)
    number = table[name].cast(pl.Float64, strict=False)
    return number.set(number.is_nan().fill_null(False), None)


def _results(table: pl.DataFrame) -> pl.Series:
    """Return the value, or else the surprise of what was reported against what was expected."""
    value, got, expected = (_number(table, name) for name in ("value", "reported", "estimate"))
    frame = pl.DataFrame({"value": value, "got": got, "expected": expected})
    surprise = (pl.col("got") - pl.col("expected")) / pl.col("expected").abs()
    finite = pl.when(pl.col("expected") != 0).then(surprise)
    return frame.select(pl.coalesce("value", finite)).to_series()


def _dates(table: pl.DataFrame, name: str, path: Path, zone: str) -> pl.Series:
    times = read_times(_times_of(table[name]), zone, str(path))
    return times.values if times.dates else times.values.dt.convert_time_zone(zone).dt.date()


def _instants(table: pl.DataFrame, name: str, path: Path, zone: str) -> pl.Series:
    """Return instants (UTC); a date alone is over, and so surely known, when its day has ended."""
    if name not in table.columns or table[name].null_count() == len(table):
        return pl.Series(name, [None] * len(table), dtype=pl.Datetime("us", "UTC"))
    times = read_times(_times_of(table[name]), zone, str(path))
    return end_of_day(times.values, zone) if times.dates else times.values


def _times_of(raw: pl.Series) -> pl.Series:
    return raw.set(raw.str.strip_chars() == "", None) if raw.dtype == pl.String else raw


def _with_events(rows: pl.DataFrame) -> pl.DataFrame:
    """Name the occasion of each row: its ``event`` column, else by dates near to those it was known by before."""
    if "event" in rows.columns:
        return rows.with_columns(event=pl.col("event").cast(pl.String).fill_null(pl.col("date").cast(pl.String)))
    names: list[str] = []
    current: tuple[str, str] | None = None
    open_ones: list[tuple[date, str]] = []
    for symbol, kind, day in rows.select("symbol", "kind", "date").iter_rows():
        if (symbol, kind) != current:
            current, open_ones = (symbol, kind), []
        name = _occasion(open_ones, day, kind)
        names.append(name)
        open_ones = [*((d, n) for d, n in open_ones if n != name), (day, name)][-8:]
    return rows.with_columns(event=pl.Series(names, dtype=pl.String))


def _occasion(open_ones: Sequence[tuple[date, str]], day: date, kind: str) -> str:
    near = [(abs(day - d), name) for d, name in open_ones if kind == "earnings" and abs(day - d) <= SAME_OCCASION]
    return min(near)[1] if near else day.isoformat()


def known_until(rows: pl.DataFrame, symbols: Sequence[str], until: datetime) -> pl.DataFrame:
    """Return the rows about these symbols that were known by then."""
    return rows.filter(pl.col("symbol").is_in(list(symbols)) & (pl.col("known_at") <= until))

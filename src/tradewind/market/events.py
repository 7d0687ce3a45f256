"""What is coming and what was reported: earnings and dividend dates, and fundamentals, as known at a time.

A date is known weeks before; a changed date is a new row with a later ``known_at``; a result is known only once it is
out. Every question is asked as of the close of a bar and answered by the rows known then, so a longer table never
changes an earlier answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tradewind.errors import DataError
from tradewind.market.bars import UTC_TIME, Schema
from tradewind.market.calendar import Calendar, calendar
from tradewind.market.panel import FloatArray, Panel, TimeArray
from tradewind.registry import Registry

IntArray = NDArray[np.int64]

#: One row is one version of one occasion of one company. ``event`` names the occasion through all changes of its date;
#: ``date`` is the exchange's local date of the announcement or the ex-date (null where it is called off); ``hour`` is
#: ``bmo`` (before the open), ``amc`` (after the close) or empty; ``value`` is the earnings surprise as a share of what
#: was expected, or the cash per share; ``vintage`` as for bars.
EVENT_SCHEMA: Final[Schema] = {
    "symbol": pl.String,
    "kind": pl.String,  # earnings | dividend
    "event": pl.String,
    "date": pl.Date,
    "hour": pl.String,
    "state": pl.String,  # scheduled | reported | cancelled
    "value": pl.Float64,
    "known_at": UTC_TIME,
    "vintage": pl.String,  # observed | assumed
}

#: One row is what one filing (or one look at a provider) said. ``period`` is the end of the fiscal period; ``eps_ttm``
#: the earnings per share of twelve months in the shares of that day; ``growth`` their change on the year before as a
#: share; ``pe`` and ``dividend_yield`` only where the provider states them itself.
FUNDAMENTAL_SCHEMA: Final[Schema] = {
    "symbol": pl.String,
    "period": pl.Date,
    "eps_ttm": pl.Float64,
    "growth": pl.Float64,
    "pe": pl.Float64,
    "dividend_yield": pl.Float64,
    "known_at": UTC_TIME,
    "vintage": pl.String,
}

FUNDAMENTALS: Final = ("eps_ttm", "growth", "pe", "dividend_yield")
YEAR: Final = timedelta(days=365)


@dataclass(frozen=True, eq=False)
class Agenda:
    """Occasions and fundamentals of some companies, all versions of them, and the questions one asks of them.

    Attributes
    ----------
    events
        Rows of ``EVENT_SCHEMA``.
    fundamentals
        Rows of ``FUNDAMENTAL_SCHEMA``.
    notes
        What the source had to say: symbols without rows, rows left out and why.
    exchange
        Calendar in whose sessions distances are counted.

    Raises
    ------
    DataError
        Where a table lacks columns of its schema.
    """

    events: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=EVENT_SCHEMA))
    fundamentals: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=FUNDAMENTAL_SCHEMA))
    notes: tuple[str, ...] = ()
    exchange: str = "XNYS"

    def __post_init__(self) -> None:
        """Bring both tables into the order in which they became known."""
        object.__setattr__(self, "events", _shaped(self.events, EVENT_SCHEMA, ("symbol", "kind", "event")))
        object.__setattr__(self, "fundamentals", _shaped(self.fundamentals, FUNDAMENTAL_SCHEMA, ("symbol",)))

    def as_of(self, moment: datetime) -> Agenda:
        """Return what was known at a moment."""
        known = pl.col("known_at") <= moment
        return Agenda(self.events.filter(known), self.fundamentals.filter(known), self.notes, self.exchange)

    def next_earnings(self, symbols: Sequence[str], times: TimeArray) -> FloatArray:
        """Return the sessions from each bar to the first open that can show the next known earnings, ``(T, N)``.

        1: the next session opens on them (announced after this close, or before that open). NaN where no date is
        known. An announcement of unknown hour counts as before the open, the earlier of the two.
        """
        return self.sessions_until("earnings", symbols, times)

    def sessions_until(self, kind: str, symbols: Sequence[str], times: TimeArray) -> FloatArray:
        """Return the sessions from each bar to the open that the next known occasion of a kind can move, ``(T, N)``."""
        market = calendar(self.exchange)
        now = np.searchsorted(market.opens, times, side="left").astype(np.int64) - 1  # the last session begun
        out = np.full((len(times), len(symbols)), np.nan)
        rows = self.events.filter(pl.col("kind") == kind)
        moved = _first_open(rows, market)
        for row, column, begin, end in _spells(rows, ("symbol", "event"), symbols, times):
            if moved[row] < 0:
                continue
            end = min(end, int(np.searchsorted(now, moved[row], side="left")))
            spell = out[begin:end, column]
            np.fmin(spell, moved[row] - now[begin:end], out=spell)
        return out

    def last_surprise(self, symbols: Sequence[str], times: TimeArray, max_age: timedelta = YEAR) -> FloatArray:
        """Return the surprise of the last earnings reported by each bar, as a share of what was expected, ``(T, N)``.

        NaN where none is known, or none younger than ``max_age``.
        """
        rows = self.events.filter(pl.col("kind") == "earnings", pl.col("state") == "reported")
        return _last_known(rows.sort("symbol", "known_at"), "value", symbols, times, max_age)

    def fundamentals_at(
        self, times: TimeArray, symbols: Sequence[str], max_age: timedelta = timedelta(days=550)
    ) -> dict[str, FloatArray]:
        """Return ``eps_ttm``, ``growth``, ``pe`` and ``dividend_yield`` as last filed by each bar, ``(T, N)`` each.

        NaN where nothing was filed, where the filing says nothing of it, or where it is older than ``max_age``. A
        correction of an older period does not replace what a newer one said.
        """
        rows = self._current_fundamentals()
        return {name: _last_known(rows, name, symbols, times, max_age) for name in FUNDAMENTALS}

    def price_earnings(self, panel: Panel, max_age: timedelta = timedelta(days=550)) -> FloatArray:
        """Return raw close over the last filed twelve months' earnings per share, ``(T, N)``.

        Earnings are restated for splits since they were filed. NaN for losses, and where either is unknown; a stated
        ``pe`` is not used, since it belongs to another price.
        """
        shares = np.cumprod(panel.split, axis=0)
        eps = np.full(panel.shape, np.nan)
        rows = self._current_fundamentals()
        values = rows["eps_ttm"].fill_null(np.nan).to_numpy()
        for row, column, begin, end in _spells(rows, ("symbol",), panel.symbols, panel.times, max_age):
            held = shares[max(begin - 1, 0), column] / shares[begin:end, column]
            eps[begin:end, column] = values[row] * held
        return np.where(panel.mask & (eps > 0), panel.close / np.where(eps > 0, eps, 1.0), np.nan)

    def _current_fundamentals(self) -> pl.DataFrame:
        """Return the filings that were the newest period's when they came."""
        period = pl.col("period").fill_null(pl.col("known_at").dt.date())
        newest = period == period.cum_max().over("symbol")
        return self.fundamentals.filter(newest)


class EventSource(Protocol):
    """A provider of occasions and fundamentals.

    Attributes
    ----------
    offline
        True where nothing but this machine is needed.
    """

    name: ClassVar[str]
    offline: ClassVar[bool]

    def agenda(self, symbols: Sequence[str], until: datetime) -> Agenda:
        """Return all rows about these symbols that were known by ``until`` (UTC), as far back as there are any.

        Symbols without rows are named in the notes. Raises ``RetryError`` when the provider is down or
        throttling after all retries, and ``DataError`` for an answer that cannot be read.
        """
        ...


EVENT_SOURCES = Registry[EventSource](
    "source of events", room="tradewind.market.sources", group="tradewind.event_sources"
)


def dividend_yield(panel: Panel, window: timedelta = YEAR) -> FloatArray:
    """Return the dividends of the trailing year over the raw close, ``(T, N)``.

    Dividends are restated for splits after them. NaN where the symbol has no bar, and while its first bar is younger
    than the window: a year that was not seen has no sum.
    """
    shares = np.cumprod(panel.split, axis=0)
    zero = np.zeros((1, panel.shape[1]))
    paid = np.concatenate([zero, np.cumsum(panel.dividend * shares, axis=0)])
    times = np.concatenate([zero, np.cumsum(panel.dividend > 0, axis=0)])
    first = np.searchsorted(panel.times, panel.times - np.timedelta64(window), side="right")
    now = np.arange(1, len(panel) + 1)
    sums = np.where(times[now] > times[first], paid[now] - paid[first], 0.0)  # exactly none, whatever rounding says
    begin = panel.times[np.argmax(panel.mask, axis=0)]
    seen = panel.mask & (panel.times[:, None] - begin[None, :] >= np.timedelta64(window))
    return np.where(seen, sums / shares / np.where(seen, panel.close, 1.0), np.nan)


def result_known_at(dates: pl.Series, hours: pl.Series, exchange: str) -> pl.Series:
    """Return when a result announced on each local date is surely known (UTC).

    Before the open: at that open. After the close, or at an unknown hour: when the local day has ended.
    """
    market = calendar(exchange)
    days = dates.to_numpy().astype("datetime64[D]")
    at = np.clip(np.searchsorted(market.sessions, days), 0, len(market.sessions) - 1)
    opens = pl.Series(market.opens[at], dtype=pl.Datetime("us")).dt.replace_time_zone("UTC")
    before = pl.Series(market.sessions[at] == days) & (hours == "bmo").fill_null(False)
    ended = end_of_day(dates, market.zone)
    table = pl.DataFrame({"before": before, "opens": opens, "ended": ended})
    return table.select(pl.when("before").then("opens").otherwise("ended")).to_series()


def end_of_day(dates: pl.Series, zone: str) -> pl.Series:
    """Return the end of each local date (UTC): when something dated by the day alone is surely known."""
    midnight = dates.cast(pl.Datetime("us")).dt.offset_by("1d").dt.replace_time_zone(zone, ambiguous="latest")
    return midnight.dt.convert_time_zone("UTC")


def _shaped(frame: pl.DataFrame, schema: Schema, key: tuple[str, ...]) -> pl.DataFrame:
    missing = [name for name in schema if name not in frame.columns]
    if missing:
        raise DataError(f"a table of events lacks {', '.join(missing)}", hint="this is a bug of its source")
    typed = frame.select(pl.col(name).cast(kind) for name, kind in schema.items())
    return typed.sort(*key, "known_at", maintain_order=True)


def _first_open(rows: pl.DataFrame, market: Calendar) -> IntArray:
    """Return the session whose open is the first to show each row's announcement; -1 where there is none to come."""
    days = rows["date"].fill_null(pl.date(1900, 1, 1)).to_numpy().astype("datetime64[D]")
    late = (rows["hour"] == "amc").fill_null(False).to_numpy()
    sessions = np.searchsorted(market.sessions, days, side="left")
    after = np.searchsorted(market.sessions, days, side="right")
    coming = rows["date"].is_not_null() & (rows["state"] != "cancelled")
    return np.where(coming.to_numpy(), np.where(late, after, sessions), -1).astype(np.int64)


def _spells(
    rows: pl.DataFrame, key: tuple[str, ...], symbols: Sequence[str], times: TimeArray, max_age: timedelta | None = None
) -> Iterator[tuple[int, int, int, int]]:
    """Yield row, column, first bar and one past the last bar for which a row is the newest version of its key.

    ``rows`` are ordered by key and then by ``known_at``.
    """
    known = rows["known_at"].dt.replace_time_zone(None).to_numpy().astype("datetime64[us]")
    begin = np.searchsorted(times, known, side="left")
    same = rows.select(pl.all_horizontal(pl.col(name) == pl.col(name).shift(-1) for name in key).fill_null(False))
    end = np.where(same.to_series().to_numpy(), np.append(begin[1:], 0), len(times))
    if max_age is not None:
        end = np.minimum(end, np.searchsorted(times, known + np.timedelta64(max_age), side="right"))
    place = {symbol: column for column, symbol in enumerate(symbols)}
    for row, symbol in enumerate(rows["symbol"]):
        if symbol in place and begin[row] < end[row]:
            yield row, place[symbol], int(begin[row]), int(end[row])


def _last_known(
    rows: pl.DataFrame, name: str, symbols: Sequence[str], times: TimeArray, max_age: timedelta
) -> FloatArray:
    out = np.full((len(times), len(symbols)), np.nan)
    values = rows[name].fill_null(np.nan).to_numpy()
    for row, column, begin, end in _spells(rows, ("symbol",), symbols, times, max_age):
        out[begin:end, column] = values[row]
    return out


def event_rows(columns: Mapping[str, Any], schema: Schema = EVENT_SCHEMA) -> pl.DataFrame:
    """Return a table of a schema from some of its columns; the others are missing, hours and vintages empty."""
    blank = {"hour": "", "vintage": "observed"}
    frame = pl.DataFrame(columns)
    absent = [pl.lit(blank.get(name)).cast(kind).alias(name) for name, kind in schema.items() if name not in frame]
    return frame.with_columns(absent).select(pl.col(name).cast(kind) for name, kind in schema.items())

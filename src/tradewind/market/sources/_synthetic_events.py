"""Earnings, dividends and fundamentals of the synthetic market: dates announced ahead, results of what happened.

They follow the world's quarters: the overnight jump that a stock makes every 63 sessions is its earnings. Dates are
announced 21 sessions ahead, and one in twenty is moved some days later by a correction. Half of the companies report
after the close, the others before the open. Earnings per share follow past prices, so that P/E is between about 10 and
30 and says nothing of later returns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tradewind.market.events import EVENT_SCHEMA, FUNDAMENTAL_SCHEMA, event_rows
from tradewind.market.sources._draws import normal, stream, uniform
from tradewind.market.sources._world import QUARTER

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
TimeArray = NDArray[np.datetime64]

NOTICE: Final = 21  # sessions from the announcement of a date to the date
DIVIDEND_AFTER: Final = 20  # sessions from earnings to the ex-date
MOVED: Final = 0.05  # share of the dates that are corrected

# purposes of a draw, beside those of ``_world``
_DATE, _REPORT, _COMPANY = 32, 33, 34


@dataclass(frozen=True)
class Life:
    """One stock's part of the world.

    Attributes
    ----------
    symbol, key
        Its name, and what addresses its draws.
    first, last
        First session, and one past the last one lived so far; ``ended``: it will not live on.
    offset, pays
        Place of its earnings in the quarter, and whether it pays dividends.
    state
        As of ``stock_path``.
    sessions, opens, closes
        Dates, opens and closes of the world's sessions, more of them than ``state`` has.
    """

    symbol: str
    key: np.uint64
    first: int
    last: int
    ended: bool
    offset: int
    pays: bool
    state: FloatArray
    sessions: TimeArray
    opens: TimeArray
    closes: TimeArray

    def quarters(self, after: int) -> IntArray:
        """Return the sessions ``after`` the quarter's earnings, announced while the stock lives."""
        stop = self.last + NOTICE
        begin = self.first + 1
        start = begin + (self.offset + after - begin) % QUARTER
        at = np.arange(start, stop, QUARTER, dtype=np.int64)
        return at[self.announced(at) < self.last]

    def announced(self, at: IntArray) -> IntArray:
        """Return the session at whose close each date is announced."""
        return np.maximum(at - NOTICE, self.first)


def earnings(life: Life) -> pl.DataFrame:
    """Return all versions of all earnings dates, and the surprises; rows of ``EVENT_SCHEMA``."""
    late = _uniform(life, 0, _COMPANY, 0) < 0.5
    rows = []
    for at in life.quarters(0):
        announced = int(life.announced(at))
        name, first_said, corrected = f"Q{at // QUARTER}", int(at), -1
        if _uniform(life, int(at), _DATE, 0) < MOVED and announced == at - NOTICE:
            first_said = int(at) + (-3, -2, -1, 1, 2, 3)[int(6 * _uniform(life, int(at), _DATE, 1))]
            corrected = announced + 5 + int(6 * _uniform(life, int(at), _DATE, 2))
        rows.append((name, first_said, "scheduled", np.nan, life.closes[announced]))
        if 0 <= corrected < life.last:
            rows.append((name, int(at), "scheduled", np.nan, life.closes[corrected]))
        if at < life.last:
            rows.append((name, int(at), "reported", _surprise(life, int(at)), life.opens[at]))
        elif life.ended:
            rows.append((name, -1, "cancelled", np.nan, life.opens[life.last]))
    return _table(life, "earnings", rows, "amc" if late else "bmo")


def dividends(life: Life) -> pl.DataFrame:
    """Return ex-dates, announced ahead, and amounts, known at the close before; rows of ``EVENT_SCHEMA``."""
    rows = []
    for at in life.quarters(DIVIDEND_AFTER) if life.pays else ():
        name = f"Q{at // QUARTER}"
        rows.append((name, int(at), "scheduled", np.nan, life.closes[int(life.announced(at))]))
        if at < life.last:
            paid = life.state[6, at]
            state, day = ("reported", int(at)) if paid > 0 else ("cancelled", -1)
            rows.append((name, day, state, paid if paid > 0 else np.nan, life.closes[at - 1]))
        elif life.ended:
            rows.append((name, -1, "cancelled", np.nan, life.opens[life.last]))
    return _table(life, "dividend", rows, "bmo")


def fundamentals(life: Life) -> pl.DataFrame:
    """Return earnings per share of twelve months and their growth, each known at its report."""
    at = life.quarters(0)
    at = at[at < life.last]
    shares = np.cumprod(life.state[5, life.first : life.last])
    prices = np.concatenate([[0.0], np.cumsum(life.state[2, life.first : life.last] * shares)])
    now = at - life.first
    begin = np.maximum(now - QUARTER, 0)
    level = (prices[now] - prices[begin]) / np.maximum(now - begin, 1) / shares[now]
    multiple = 12.0 + 14.0 * _uniform(life, 0, _COMPANY, 1)
    noise = np.array([_surprise(life, int(t)) / 4 for t in at])
    eps = np.round(level / multiple * np.maximum(1 + noise, 0.5), 4)
    before = np.concatenate([np.full(4, np.nan), (eps * shares[now])[:-4]])[: len(eps)]
    growth = np.round(eps * shares[now] / before - 1, 6)
    columns = {
        "symbol": [life.symbol] * len(at),
        "period": pl.Series(life.sessions[np.maximum(at - DIVIDEND_AFTER, 0)].astype("datetime64[D]")),
        "eps_ttm": eps,
        "growth": pl.Series(growth).fill_nan(None),
        "known_at": _instants(life.opens[at]),
    }
    return event_rows(columns, FUNDAMENTAL_SCHEMA)


def _surprise(life: Life, at: int) -> float:
    """Return the surprise behind an earnings jump, as a share of what was expected, with some noise."""
    noise = normal(np.uint64(stream(life.key, at, _REPORT)), 0)
    return round(2.0 * float(life.state[8, at]) + 0.02 * noise, 4)


def _uniform(life: Life, day: int, purpose: int, step: int) -> float:
    return float(uniform(np.uint64(stream(life.key, day, purpose)), step))


def _table(life: Life, kind: str, rows: list[tuple[str, int, str, float, np.datetime64]], hour: str) -> pl.DataFrame:
    """Write rows of (event, session or -1, state, value, known); reports after the close are dated the day before."""
    days = np.array([max(row[1] - (hour == "amc"), 0) for row in rows], dtype=np.int64)
    dates = pl.Series(life.sessions[days].astype("datetime64[D]"))
    off = pl.Series([row[1] < 0 for row in rows], dtype=pl.Boolean)
    values = pl.Series([row[3] for row in rows], dtype=pl.Float64).fill_nan(None)
    columns = {
        "symbol": [life.symbol] * len(rows),
        "kind": [kind] * len(rows),
        "event": [row[0] for row in rows],
        "date": pl.DataFrame({"date": dates, "off": off}).select(pl.when(~pl.col("off")).then("date")).to_series(),
        "hour": [hour] * len(rows),
        "state": [row[2] for row in rows],
        "value": values,
        "known_at": _instants(np.array([row[4] for row in rows], dtype="datetime64[us]")),
    }
    return event_rows(columns, EVENT_SCHEMA)


def _instants(moments: TimeArray) -> pl.Series:
    return pl.Series(moments, dtype=pl.Datetime("us")).dt.replace_time_zone("UTC")

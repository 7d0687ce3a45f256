"""A panel as a desk reads it: columns beside symbols, where sessions end, what can be borrowed, what is gone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tradewind.execution.simulator import bar_arrays, years_between
from tradewind.market.panel import Panel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
TimeArray = NDArray[np.datetime64]


@dataclass(frozen=True, eq=False)
class Bars:
    """A panel laid out for a desk: time-major arrays of its columns ``(T, M)`` and of its symbols ``(T, N)``.

    Attributes
    ----------
    fields
        Open, high, low, close, volume, split, dividend by column, as the compiled step reads them.
    session_end
        ``(T,)``: the bar is its session's last.
    adjusted
        ``(T, N)`` the session's newest total-return close by symbol, NaN where it has had no bar yet.
    value
        ``(T, N)`` value traded in each bar, in currency.
    market
        ``(T,)`` close of the index, NaN where unknown.
    borrowable
        ``(T, N)`` whether stock could be borrowed at each close, where the account may be short at all. A short that is
        held when it no longer can stays: nobody is bought in.
    gone_row
        ``(M,)`` row in which a column's symbol is taken as delisted, -1 for none; known in that row.
    """

    times: TimeArray
    years: FloatArray
    fields: tuple[FloatArray, ...]
    mask: BoolArray
    session_end: BoolArray
    adjusted: FloatArray
    value: FloatArray
    market: FloatArray
    borrowable: BoolArray
    gone_row: IntArray

    @classmethod
    def of(
        cls,
        panel: Panel,
        symbol_of: IntArray,
        borrowable: BoolArray | None = None,
        *,
        delisted_after_sessions: int | None = None,
    ) -> Bars:
        """Lay out a panel; columns are copies of its symbols. Without a word on it all stock can be borrowed.

        ``delisted_after_sessions`` takes a symbol as delisted in the session that is the n-th without a bar of it.
        """
        named = {name: np.ascontiguousarray(panel.fields[name][:, symbol_of]) for name in panel.fields}
        wide = replace(
            panel,
            fields=named,
            symbols=tuple(panel.symbols[i] for i in symbol_of),
            instruments=tuple(panel.instruments[i] for i in symbol_of),
            sectors=tuple(panel.sectors[i] for i in symbol_of),
            mask=np.ascontiguousarray(panel.mask[:, symbol_of]),
            member=np.ascontiguousarray(panel.member[:, symbol_of]),
        )
        ends = session_ends(panel)
        gone = np.full(len(panel.symbols), -1, dtype=np.int64)
        if delisted_after_sessions is not None:
            gone = ended(panel.mask, ends, delisted_after_sessions)
        return cls(
            times=panel.times,
            years=years_between(panel.times, np.datetime64("NaT")),
            fields=bar_arrays(wide),
            mask=np.require(wide.mask, np.bool_, ["C", "W"]),
            session_end=ends,
            adjusted=newest_of_session(np.where(panel.mask, panel.adjusted("close"), np.nan), ends),
            value=panel.close * panel.volume,
            market=panel.context.get("index", np.full(len(panel), np.nan)),
            borrowable=np.ones(panel.shape, np.bool_) if borrowable is None else borrowable,
            gone_row=gone[symbol_of],
        )


def newest_of_session(values: FloatArray, session_end: BoolArray) -> FloatArray:
    """Return the newest value ``(T, N)`` since the session of each row began; NaN where there is none."""
    session = _session_numbers(session_end)
    first = np.searchsorted(session, session, side="left")[:, None]
    seen = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(len(values))[:, None], -1), axis=0)
    newest = np.take_along_axis(values, np.maximum(seen, 0), axis=0)
    return np.where(seen >= first, newest, np.nan)


def ended(mask: BoolArray, session_end: BoolArray, sessions: int) -> IntArray:
    """Return the first row of a session that is the n-th in a row without a bar, by symbol ``(N,)``; -1 for none.

    Only after a symbol has had a bar, and only the first time.
    """
    session = _session_numbers(session_end)
    seen = np.maximum.accumulate(np.where(mask, session[:, None], -1), axis=0)
    gone = (seen >= 0) & (session[:, None] - seen >= sessions)
    first = np.where(gone, np.arange(len(gone))[:, None], len(gone)).min(axis=0, initial=len(gone))
    return np.where(first < len(gone), first, -1).astype(np.int64)


def _session_numbers(session_end: BoolArray) -> IntArray:
    """Return how many sessions ended before each row, ``(T,)``."""
    return np.cumsum(session_end) - session_end


def session_ends(panel: Panel) -> BoolArray:
    """Return which bars are the last of their session, by the exchange's calendar: ``(T,)``."""
    from tradewind.market.bars import TIMEFRAMES
    from tradewind.market.calendar import calendar

    if TIMEFRAMES[panel.timeframe] >= TIMEFRAMES["1d"]:
        return np.ones(len(panel), np.bool_)
    exchange = calendar("XNYS")
    session = exchange.session_of(panel.times)
    return np.asarray((session >= 0) & (exchange.closes[session] == panel.times))

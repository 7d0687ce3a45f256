"""What the regime model looks at: one row a session, known at its close."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError, InputError
from tradewind.market.calendar import Calendar, calendar
from tradewind.market.panel import Panel
from tradewind.risk.regimes.settings import RegimesSection
from tradewind.stats.volatility import ewma_volatility

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
TimeArray = NDArray[np.datetime64]

_VOLATILITY_HALF_LIFE = 10.0
_MOMENTUM_SESSIONS = 63
_VOLUME_SESSIONS = 63
_OTHERS_SESSIONS = 5
_ENOUGH = 0.7
"""Share of a trailing window that must be there for its sum or mean to be known."""


@dataclass(frozen=True, eq=False)
class Observations:
    """A few numbers about the market at each session's close.

    Attributes
    ----------
    times
        Closes of the sessions, UTC, ``(T,)``: row ``t`` is known from ``times[t]`` on.
    names
        ``return`` (log, of the market), ``volatility`` (log of its exponentially weighted deviation, half-life 10
        sessions), ``momentum`` (log return over 63 sessions), ``volume`` (log of volume over its own mean of the 63
        sessions before, mean over the universe), and where the data has them ``vix`` (log), ``vix_change`` and
        ``other_indices`` (mean over the other indices of their return over five sessions in deviations).
    values
        ``(T, K)`` float64, NaN for missing.
    price
        ``(T,)`` the market as a price, 100 before the first return.
    notes
        What stands for what, and what is missing.
    """

    times: TimeArray
    names: tuple[str, ...]
    values: FloatArray
    price: FloatArray
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together."""
        expected = (len(self.times), len(self.names))
        if self.values.shape != expected or self.price.shape != expected[:1]:
            raise InputError(
                f"observations have shape {self.values.shape} and prices {self.price.shape}, expected {expected} and "
                f"{expected[:1]}"
            )
        if "return" not in self.names:
            raise InputError(f"observations {list(self.names)} lack the market's 'return', which names the regimes")

    def __len__(self) -> int:
        """Return the number of sessions."""
        return len(self.times)

    def rows(self, start: int, stop: int) -> Observations:
        """Return the sessions ``start:stop`` (views)."""
        part = slice(start, stop)
        return replace(self, times=self.times[part], values=self.values[part], price=self.price[part])


def observations(
    panel: Panel, settings: RegimesSection | None = None, exchange: Calendar | None = None
) -> Observations:
    """Return what the panel says about the market, session by session.

    A prefix of the panel gives a prefix of the rows, bit for bit. On intraday bars a row stands for a session that
    has closed: its last prices, its whole volume; a session that is still open has no row yet.

    Parameters
    ----------
    panel
        Bars of one exchange, intraday or daily.
    settings
        Which context series to look at.
    exchange
        Its sessions; needed on intraday bars alone, by default New York's.

    Raises
    ------
    InputError
        For weekly bars: a regime of sessions cannot be seen in them.
    """
    wanted = settings or RegimesSection()
    sessions = _sessions(panel, exchange)
    returns, told = _market(sessions, wanted)
    known = {
        "return": returns,
        "volatility": _log(ewma_volatility(returns, _VOLATILITY_HALF_LIFE)),
        "momentum": _trailing_sum(returns, _MOMENTUM_SESSIONS),
        "volume": _relative_volume(sessions),
        **_implied(sessions, wanted),
        **_others(sessions, wanted),
    }
    return Observations(
        sessions.times,
        tuple(known),
        np.column_stack(list(known.values())) if len(sessions.times) else np.empty((0, len(known))),
        100.0 * np.exp(np.cumsum(np.nan_to_num(returns))),
        (*told, *_absent(sessions, wanted)),
    )


@dataclass(frozen=True, eq=False)
class _Sessions:
    """Closes, volumes, membership and context at the end of each session."""

    times: TimeArray
    close: FloatArray
    volume: FloatArray
    member: BoolArray
    context: Mapping[str, FloatArray]


def _sessions(panel: Panel, exchange: Calendar | None) -> _Sessions:
    if panel.timeframe == "1w":
        raise InputError(
            "regimes are states of sessions and the panel has weekly bars",
            hint="observe the daily panel; a weekly decision then takes the newest session's regime",
        )
    close = np.where(panel.mask, panel.adjusted("close"), np.nan)
    volume = np.where(panel.mask, panel.adjusted("volume"), np.nan)
    if panel.timeframe == "1d":
        return _Sessions(panel.times, close, volume, panel.member, panel.context)
    return _closed(panel, exchange or calendar(), close, volume)


def _closed(panel: Panel, exchange: Calendar, close: FloatArray, volume: FloatArray) -> _Sessions:
    """Gather bars into the sessions that had closed by the panel's last bar."""
    session = exchange.session_of(panel.times)
    if (session < 0).any():
        raise DataError(
            f"bar {panel.times[int(np.argmin(session))]} lies in no session of {exchange.name}",
            hint="name the exchange whose bars these are",
        )
    which, first = np.unique(session, return_index=True)
    over = exchange.closes[which] <= panel.times[-1] if len(panel) else np.zeros(0, dtype=bool)
    bounds = np.append(first, len(panel))
    spans = [(int(bounds[i]), int(bounds[i + 1])) for i in np.flatnonzero(over)]
    stop = np.array([b for _, b in spans], dtype=np.int64)
    return _Sessions(
        exchange.closes[which[over]],
        _last_of(close, spans),
        np.array([_sum_of(volume[a:b]) for a, b in spans]).reshape(len(spans), -1),
        panel.member[stop - 1],
        {name: _last_of(series[:, None], spans)[:, 0] for name, series in panel.context.items()},
    )


def _last_of(values: FloatArray, spans: list[tuple[int, int]]) -> FloatArray:
    """Return the last known value of each column in each span of rows."""
    result = np.full((len(spans), values.shape[1]), np.nan)
    for row, (start, stop) in enumerate(spans):
        part = np.isfinite(values[start:stop])
        last = stop - start - 1 - np.argmax(part[::-1], axis=0)
        result[row] = np.where(part.any(axis=0), values[start + last, np.arange(values.shape[1])], np.nan)
    return result


def _sum_of(volume: FloatArray) -> FloatArray:
    known = np.isfinite(volume)
    return np.where(known.any(axis=0), np.where(known, volume, 0.0).sum(axis=0), np.nan)


def _market(sessions: _Sessions, wanted: RegimesSection) -> tuple[FloatArray, tuple[str, ...]]:
    """Return the market's log return: an index from its first return on, the equal-weight universe before it."""
    universe = _universe_return(sessions)
    name = next((n for n in wanted.indices if n in sessions.context), None)
    if name is None:
        return universe, ("market: the equal-weight return of the universe, for want of an index",)
    own = _log_returns(sessions.context[name][:, None])[:, 0]
    begun = np.logical_or.accumulate(np.isfinite(own))
    if not begun.any():
        return universe, (f"market: the equal-weight return of the universe, for {name!r} has no value",)
    told = f"market: {name!r}"
    if np.isfinite(universe[~begun]).any():
        told += f" from {str(sessions.times[int(np.argmax(begun))])[:10]} on, before it the equal-weight universe"
    return np.where(begun, own, universe), (told,)


def _universe_return(sessions: _Sessions) -> FloatArray:
    """Return the log of one plus the mean simple return of the members with one."""
    simple = np.expm1(_log_returns(sessions.close))
    known = np.isfinite(simple) & sessions.member
    count = known.sum(axis=1)
    mean = np.where(known, simple, 0.0).sum(axis=1) / np.maximum(count, 1)
    return np.where((count > 0) & (mean > -1.0), np.log1p(np.maximum(mean, -0.999999)), np.nan)


def _log_returns(close: FloatArray) -> FloatArray:
    """Return the log return since the last known close of each column; NaN where today's is missing."""
    logs = _log(close)
    row = np.where(np.isfinite(logs), np.arange(len(logs))[:, None], -1)
    last = np.maximum.accumulate(row, axis=0)
    result = np.full_like(logs, np.nan)
    before = last[:-1]
    earlier = np.take_along_axis(logs, np.maximum(before, 0), axis=0)
    result[1:] = np.where(before >= 0, logs[1:] - earlier, np.nan)
    return result


def _trailing_sum(values: FloatArray, sessions: int) -> FloatArray:
    """Return sums over the last sessions, this one included; NaN where this one or too many others are missing."""
    known = np.isfinite(values)
    total = np.cumsum(np.where(known, values, 0.0), axis=0)
    count = np.cumsum(known, axis=0)
    total, count = total - _lagged(total, sessions), count - _lagged(count.astype(np.float64), sessions)
    late = np.arange(len(values)) >= sessions - 1
    late = late.reshape(-1, *(1 for _ in values.shape[1:]))
    return np.where(known & late & (count >= _ENOUGH * sessions), total, np.nan)


def _lagged(values: FloatArray, sessions: int) -> FloatArray:
    result = np.zeros_like(values)
    result[sessions:] = values[:-sessions] if len(values) > sessions else values[:0]
    return result


def _relative_volume(sessions: _Sessions) -> FloatArray:
    """Return the members' mean log volume against their own mean of the 63 sessions before."""
    logs = _log(sessions.volume)
    known = np.isfinite(logs)
    total = np.cumsum(np.where(known, logs, 0.0), axis=0)
    count = np.cumsum(known, axis=0).astype(np.float64)
    total, count = (_lagged(v, 1) - _lagged(v, _VOLUME_SESSIONS + 1) for v in (total, count))
    usual = total / np.maximum(count, 1.0)
    counted = known & (count >= _ENOUGH * _VOLUME_SESSIONS) & sessions.member
    number = counted.sum(axis=1)
    mean = np.where(counted, logs - usual, 0.0).sum(axis=1) / np.maximum(number, 1)
    return np.where(number > 0, mean, np.nan)


def _implied(sessions: _Sessions, wanted: RegimesSection) -> dict[str, FloatArray]:
    if wanted.vix not in sessions.context:
        return {}
    level = sessions.context[wanted.vix]
    return {"vix": _log(level), "vix_change": _log_returns(level[:, None])[:, 0]}


def _others(sessions: _Sessions, wanted: RegimesSection) -> dict[str, FloatArray]:
    """Return the mean over the other indices of their five-session return, in their own deviations."""
    names = [n for n in wanted.indices if n in sessions.context][1:]
    if not names:
        return {}
    returns = _log_returns(np.column_stack([sessions.context[n] for n in names]))
    deviation = ewma_volatility(returns, 2 * _VOLATILITY_HALF_LIFE)
    spread = np.where(deviation > 0, deviation, np.nan) * np.sqrt(_OTHERS_SESSIONS)
    scaled = _trailing_sum(returns, _OTHERS_SESSIONS) / spread
    known = np.isfinite(scaled)
    count = known.sum(axis=1)
    mean = np.where(known, scaled, 0.0).sum(axis=1) / np.maximum(count, 1)
    return {"other_indices": np.where(count > 0, mean, np.nan)}


def _absent(sessions: _Sessions, wanted: RegimesSection) -> tuple[str, ...]:
    """Return which of the wanted context series the data does not have, each with its reason."""
    names = (*wanted.indices, wanted.vix)
    lacking = [n for n in names if n not in sessions.context]
    bare = [n for n in names if n in sessions.context and not np.isfinite(sessions.context[n]).any()]
    told = [f"not in the data: {', '.join(lacking)}"] if lacking else []
    have = "have" if len(bare) > 1 else "has"
    return (*told, *([f"{', '.join(map(repr, bare))} {have} no value in these sessions"] if bare else []))


def _log(values: FloatArray) -> FloatArray:
    positive = np.asarray(values, dtype=np.float64)
    return np.log(np.where(positive > 0, positive, np.nan))

"""From small bars to large ones, with what is known at the large bar's close and nothing later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError, InputError
from tradewind.market.actions import forward_factor
from tradewind.market.bars import TIMEFRAMES
from tradewind.market.calendar import Calendar, calendar, known_timeframe
from tradewind.market.panel import BoolArray, FloatArray, Panel, TimeArray

IntArray = NDArray[np.int64]

#: How a dividend inside a large bar is told: see :func:`merge_bars`.
Dividends = Literal["reinvested", "cash"]

_PRICES = ("open", "high", "low", "close")
_LONGEST_SHUT = timedelta(days=30)  # no exchange with a calendar was shut for longer between two of its bars


def aggregate(panel: Panel, timeframe: str, *, exchange: str = "XNYS", dividends: Dividends = "reinvested") -> Panel:
    """Return the panel in larger bars, each stamped with its close by the exchange's calendar.

    A large bar is there once its close has come by the calendar and the panel has reached it: the newest unfinished one
    is left out, and so is a first one of which the panel lacks the beginning. So a prefix of the panel has a
    prefix of the result, and the week that ends on a Thursday before Good Friday is finished on that Thursday.
    Sessions of which the panel has no row make no bar.

    Open is the first, high the highest, low the lowest and close the last of the usable small bars, volume their
    sum; a large bar is usable where any of its small bars is. ``member`` and the context are those of its last row.
    Splits and dividends are told as in :func:`merge_bars`.

    Parameters
    ----------
    panel
        Bars smaller than ``timeframe``: minutes to minutes, hours, days or weeks, days to weeks.
    timeframe
        ``5m 15m 30m 1h 1d 1w``; the panel's own returns it as it is.
    exchange
        Calendar whose sessions the bars belong to.
    dividends
        As for :func:`merge_bars`.

    Raises
    ------
    InputError
        A bar size that the panel's bars do not add up to.
    DataError
        Bars outside of the exchange's sessions, or not one finished bar.
    """
    if known_timeframe(timeframe) == panel.timeframe:
        return panel
    _check_sizes(panel.timeframe, timeframe)
    starts, stop, times = _groups(panel, timeframe, calendar(exchange))
    first, part = int(starts[0]), slice(int(starts[0]), stop)
    fields, mask = merge_bars(
        {name: array[part] for name, array in panel.fields.items()}, panel.mask[part], starts - first, dividends
    )
    last = np.append(starts[1:], stop) - 1
    merged = replace(
        panel,
        times=times,
        fields=fields,
        mask=mask,
        member=panel.member[last],
        context={name: series[last] for name, series in panel.context.items()},
        timeframe=timeframe,
    )
    from tradewind.market.load import content_hash

    return replace(merged, version=content_hash(merged))


def row_map(fine_times: TimeArray, coarse_times: TimeArray) -> IntArray:
    """Return for each large bar the small row at whose close it is known.

    Parameters
    ----------
    fine_times, coarse_times
        Bar closes, increasing, ``(T,)`` and ``(Tc,)``.

    Returns
    -------
    ``(Tc,)``: the first small row with ``time >= close`` of the large bar; -1 where there is none yet.
    """
    rows = np.searchsorted(fine_times, coarse_times, side="left").astype(np.int64)
    return np.where(rows < len(fine_times), rows, -1)


def merge_bars(
    fields: Mapping[str, FloatArray], mask: BoolArray, starts: IntArray, dividends: Dividends = "reinvested"
) -> tuple[dict[str, FloatArray], BoolArray]:
    """Return fields and mask ``(Tc, N)`` of groups of consecutive bars.

    A :class:`Panel` says of its splits and dividends that they are effective before the open of their bar. Hence,
    where a stock splits inside a large bar, earlier prices, volumes and dividends of that bar are restated in the
    shares after it: the bar's ``split`` then leads from the close before to all of its prices.

    A dividend that is ex inside a large bar was reinvested at a close that the large bars do not show. ``reinvested``
    gives the amount that, paid before the large bar's open, leaves the returns of ``close * factor`` exactly what they
    are between the same closes of the small bars, and differs from what was paid by the share that the price moved
    inside the bar up to the ex-date. ``cash`` gives what was paid; total returns then differ by the dividend yield
    times that move. Both agree where the ex-date begins the bar, which it always does from minutes to days.

    Parameters
    ----------
    fields
        As in :class:`Panel`, ``(T, N)`` each.
    mask
        True where a small bar is fit for use, ``(T, N)``.
    starts
        First row of each group, increasing from 0, ``(Tc,)``.
    dividends
        ``reinvested`` or ``cash``.
    """
    later = _later_splits(fields["split"], starts)
    at = {name: fields[name] / later for name in (*_PRICES, "dividend")}
    first, last, usable = _first_and_last(mask, starts)
    closed = np.where(mask, at["close"], np.nan)
    merged = {
        "open": _picked(at["open"], first, usable),
        "high": np.fmax.reduceat(np.where(mask, at["high"], np.nan), starts, axis=0),
        "low": np.fmin.reduceat(np.where(mask, at["low"], np.nan), starts, axis=0),
        "close": _picked(closed, last, usable),
        "volume": np.where(
            usable, np.add.reduceat(np.where(mask, fields["volume"] * later, 0.0), starts, axis=0), np.nan
        ),
        "split": np.multiply.reduceat(fields["split"], starts, axis=0),
        "dividend": np.add.reduceat(at["dividend"], starts, axis=0),
    }
    if dividends == "reinvested":
        _reinvest(merged, fields, mask, starts, first)
    return merged, usable


def _check_sizes(small: str, large: str) -> None:
    a, b = TIMEFRAMES[small], TIMEFRAMES[large]
    within_session = b < TIMEFRAMES["1d"]
    if b < a or (within_session and b % a):
        raise InputError(
            f"{small} bars do not add up to {large} bars", hint=f"read bars of a size of which {large} is a multiple"
        )


def _groups(panel: Panel, timeframe: str, market: Calendar) -> tuple[IntArray, int, TimeArray]:
    """Return the first row of each finished large bar, one past the last row of the last, and their closes."""
    outside = market.session_of(panel.times) < 0
    if outside.any():
        raise DataError(
            f"{int(outside.sum())} bars lie outside of the sessions of {market.name} "
            f"(first: {panel.times[np.argmax(outside)]})",
            hint="read regular hours only, or name the calendar of the exchange",
        )
    closes = (
        market.bar_closes(timeframe, _moment(panel.times[0]), _moment(panel.times[-1])) if len(panel) else panel.times
    )
    number = np.searchsorted(closes, panel.times, side="left")
    begun = 1 if len(closes) and _begins_inside(panel, timeframe, closes[0], market) else 0
    starts = np.flatnonzero(np.diff(number, prepend=-1) > 0)
    starts = starts[(number[starts] >= begun) & (number[starts] < len(closes))]
    if not len(starts):
        raise DataError(
            f"{len(panel)} {panel.timeframe} bars hold no finished {timeframe} bar", hint="load a longer period"
        )
    return starts, int(np.searchsorted(number, len(closes))), closes[number[starts]]


def _begins_inside(panel: Panel, timeframe: str, close: np.datetime64, market: Calendar) -> bool:
    """Tell whether small bars of the first large bar, which closes at ``close``, lie before the panel's first."""
    end = _moment(close)
    before = market.bar_closes(timeframe, end - _LONGEST_SHUT, end - timedelta(microseconds=1))
    expected = market.bar_closes(panel.timeframe, end - _LONGEST_SHUT, end)
    inside = expected[expected > before[-1]] if len(before) else expected
    return bool(len(inside) and panel.times[0] > inside[0])


def _moment(time: np.datetime64) -> datetime:
    moment: datetime = time.astype("datetime64[us]").item()
    return moment.replace(tzinfo=UTC)


def _later_splits(split: FloatArray, starts: IntArray) -> FloatArray:
    """Return the product of the splits after each row inside its own group, ``(T, N)``."""
    later = np.ones(split.shape)
    events = split != 1.0
    events[starts] = False  # a split before the group's open restates nothing of the group
    for row, column in np.argwhere(events):
        begin = starts[np.searchsorted(starts, row, side="right") - 1]
        later[begin:row, column] *= split[row, column]
    return later


def _first_and_last(mask: BoolArray, starts: IntArray) -> tuple[IntArray, IntArray, BoolArray]:
    """Return the first and the last usable row of each group, and whether there is one; ``(Tc, N)`` each."""
    rows = np.arange(len(mask))[:, None]
    first = np.minimum.reduceat(np.where(mask, rows, len(mask)), starts, axis=0)
    last = np.maximum.reduceat(np.where(mask, rows, -1), starts, axis=0)
    return first, last, last >= 0


def _picked(values: FloatArray, rows: IntArray, usable: BoolArray) -> FloatArray:
    picked = np.take_along_axis(values, np.clip(rows, 0, len(values) - 1), axis=0)
    return np.where(usable, picked, np.nan)


def _reinvest(
    merged: dict[str, FloatArray], fields: Mapping[str, FloatArray], mask: BoolArray, starts: IntArray, first: IntArray
) -> None:
    """Replace dividends that are ex after a group's first usable bar by those that keep the total return.

    With ``R`` the factor's rise over the group and ``S`` its splits, ``R = S / (1 - d S / before)`` gives ``d``.
    """
    group = np.searchsorted(starts, np.arange(len(mask)), side="right") - 1
    inner = (fields["dividend"] != 0) & (np.arange(len(mask))[:, None] > first[group])
    rows, columns = np.nonzero(np.logical_or.reduceat(inner, starts, axis=0))
    seen = np.maximum.accumulate(np.where(mask, np.arange(len(mask))[:, None], -1), axis=0)
    edge = starts[rows] - 1
    held = (edge >= 0) & (seen[edge, columns] >= 0)  # listed inside the group: nobody held it before the open
    rows, columns, edge = rows[held], columns[held], edge[held]
    if not len(rows):
        return
    factor = forward_factor(fields["close"], fields["split"], fields["dividend"], mask)
    ends = np.append(starts[1:], len(mask))[rows] - 1
    known = seen[edge, columns]
    before = fields["close"][known, columns] * factor[known, columns] / factor[edge, columns]
    rise, split = factor[ends, columns] / factor[edge, columns], merged["split"][rows, columns]
    merged["dividend"][rows, columns] = before / split * (1 - split / rise)

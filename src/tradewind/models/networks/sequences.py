"""The one tensor that networks read windows from, and the runs of windows that share its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tradewind.errors import DataError, InputError
from tradewind.features.scaling import RollingScaler
from tradewind.market.panel import Panel
from tradewind.market.tiers import TIERS, tier_index
from tradewind.models.assembly import ExponentialMean, last_known, volatility_of
from tradewind.models.base import Windows
from tradewind.models.calendar_inputs import calendar_inputs
from tradewind.models.networks.network import Block

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

BAR_CHANNELS = ("bar_return", "bar_high", "bar_low", "bar_open", "bar_volume")
"""Every network reads the bar itself: its prices from the close before, in units of the volatility known then."""
PRESENT = "bar_present"

PRESENT_CHANNEL, RETURN_CHANNEL = -1, -1 - len(BAR_CHANNELS)
"""Where a network finds whether there was a bar, and the bar's return, among the channels of a block."""

CLIP = 5.0
DECAY = 0.94
"""Of the volatility that bars and targets are told in."""
_VOLUME_DECAY = 0.97
_LEAST_TOGETHER = 2


@dataclass(frozen=True)
class Vocabulary:
    """Which tickers and sectors a network knows by number; 0 is everything else."""

    tickers: tuple[str, ...]
    sectors: tuple[str, ...]

    @classmethod
    def of(cls, windows: Windows) -> Vocabulary:
        """Return the tickers and sectors of the samples."""
        present = np.unique(windows.columns)
        panel = windows.panel
        names = sorted({panel.symbols[n] for n in present}), sorted({panel.sectors[n] for n in present})
        return cls(tuple(names[0]), tuple(names[1]))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Categories of ticker, sector and price tier, the unknown one included."""
        return len(self.tickers) + 1, len(self.sectors) + 1, len(TIERS) + 1

    def encode(self, panel: Panel) -> IntArray:
        """Return ``(N, T, 3)`` ticker, sector and price tier; the tier is that of the raw close of each bar."""
        ticker = [_place(self.tickers, s) for s in panel.symbols]
        sector = [_place(self.sectors, s) for s in panel.sectors]
        tier = tier_index(last_known(np.where(panel.mask, panel.close, np.nan))).T + 1
        fixed = np.stack([ticker, sector], axis=-1).astype(np.int64)
        return np.concatenate([np.repeat(fixed[:, None], len(panel), axis=1), tier[..., None]], axis=-1)


def _place(known: Sequence[str], name: str) -> int:
    return known.index(name) + 1 if name in known else 0


@dataclass(frozen=True, eq=False)
class Runs:
    """Runs of up to ``R`` windows each, a few bars apart.

    Attributes
    ----------
    column, last
        ``(K,)``: the symbol, and the row at which the last window of the run ends.
    sample
        ``(K, R)``: which sample each window is; -1 where it was not asked for.
    stride
        Bars from one window to the next.
    by_date
        Whether runs with one ``last`` belong together: the windows of all symbols that are seen at that bar.
    """

    column: IntArray
    last: IntArray
    sample: IntArray
    stride: int = 1
    by_date: bool = False

    def __getitem__(self, chosen: IntArray | slice) -> Runs:
        """Return some of the runs."""
        return Runs(self.column[chosen], self.last[chosen], self.sample[chosen], self.stride, self.by_date)

    def __len__(self) -> int:
        """Return how many runs there are."""
        return len(self.column)

    @property
    def edges(self) -> IntArray:
        """Where each part that must stay together begins, and the end of the last, ``(G + 1,)``."""
        if not self.by_date:
            return np.arange(len(self) + 1)
        return np.concatenate([[0], np.flatnonzero(np.diff(self.last)) + 1, [len(self)]])[: len(self) + 1]

    def batches(self, windows: int, order: IntArray | None = None) -> list[Runs]:
        """Return the parts, in their or in another order, in batches of at most ``windows``; never less than a part."""
        edges, found, filled = self.edges, list[list[IntArray]](), 0
        for part in np.arange(len(edges) - 1) if order is None else order:
            size = int(edges[part + 1] - edges[part]) * self.sample.shape[1]
            if not found or filled + size > windows:
                found.append([])
                filled = 0
            found[-1].append(np.arange(edges[part], edges[part + 1]))
            filled += size
        return [self[np.concatenate(batch)] for batch in found]


@dataclass(frozen=True, eq=False)
class Sequences:
    """All that a network may read of a panel, one copy, symbols first so that a window is contiguous.

    Attributes
    ----------
    channels
        Names of the last axis of ``values``, ``F``: the features, the bar's own channels, whether there was a bar.
    values
        ``(N, P + T, F)`` float32: every channel in units of its symbol's own past (see :func:`sequences_of`), 0 where
        missing; ``P`` empty rows stand before the first bar, so that a run may begin there.
    statics
        ``(N, T, C)`` int64, see :class:`Vocabulary`.
    future
        ``(T, H, K)`` float32.
    padding
        ``P``.
    """

    channels: tuple[str, ...]
    values: Tensor
    statics: Tensor
    future: Tensor
    padding: int

    def block(self, runs: Runs, length: int) -> Block:
        """Return the rows of some runs, copied."""
        reach = (runs.sample.shape[1] - 1) * runs.stride
        column, last = torch.from_numpy(runs.column), torch.from_numpy(runs.last)
        rows = last[:, None] + torch.arange(1 - length - reach, 1) + self.padding
        asked = (last[:, None] + torch.arange(-reach, 1, runs.stride)).clamp(min=0)
        section = last if runs.by_date else None
        return Block(self.values[column[:, None], rows], self.statics[column, last], self.future[asked], section)


def sequences_of(windows: Windows, vocabulary: Vocabulary, *, half_life_bars: float, padding: int) -> Sequences:
    """Return the tensor of a panel.

    Each channel is scaled by its own symbol's past alone (exponentially weighted mean and deviation), clipped at five
    deviations. Nothing at a row depends on a later one.

    Parameters
    ----------
    half_life_bars
        Of the scaling.
    padding
        Empty rows to put before the first bar: as many as a run has, less one.
    """
    panel = windows.panel
    scaled = RollingScaler(half_life_bars, clip=CLIP).transform(windows.features)
    parts = [scaled.values, bar_channels(panel), panel.mask[..., None].astype(np.float32)]
    rows = np.concatenate(parts, axis=-1)
    values = np.zeros((rows.shape[1], padding + rows.shape[0], rows.shape[2]), dtype=np.float32)
    values[:, padding:] = np.nan_to_num(rows.swapaxes(0, 1), copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    return Sequences(
        channels=(*windows.features.names, *BAR_CHANNELS, PRESENT),
        values=torch.from_numpy(values),
        statics=torch.from_numpy(vocabulary.encode(panel)),
        future=torch.from_numpy(known_future(panel, windows.labels.horizons)),
        padding=padding,
    )


class BarChannels:
    """The fold from bars to what a network reads of a bar itself.

    Close, high, low and open against the close before in units of its volatility, and volume: the log of its ratio to
    its own exponentially weighted mean before the bar.

    Attributes
    ----------
    volatility
        ``(N,)`` of one bar, at the last bar that was read; NaN in warm-up.
    """

    def __init__(self, symbols: int) -> None:
        nothing = np.full(symbols, np.nan)
        self._close, self._known_volatility, self._usual = nothing, nothing, nothing
        self._split = np.ones(symbols)
        self._variance = ExponentialMean((symbols,), DECAY)
        self._volume = ExponentialMean((symbols,), _VOLUME_DECAY)
        self.volatility = nothing

    def step(self, panel: Panel, start: int = 0) -> NDArray[np.float32]:
        """Read the bars from row ``start`` on, which follow those read before; return ``(T - start, N, 5)``."""
        rows = slice(start, None)
        close, high, low, opened = (_log(panel, name, rows) for name in ("close", "high", "low", "open"))
        before = _carried(self._close, close)
        volatility = volatility_of(self._variance.step((close - before[:-1]) ** 2))
        known = _carried(self._known_volatility, volatility)
        prices = [(price - before[:-1]) / known[:-1] for price in (close, high, low, opened)]
        channels = np.stack([*prices, self._volumes(panel, rows)], axis=-1)
        self._close, self._known_volatility = before[-1], known[-1]
        self.volatility = volatility[-1] if len(volatility) else self.volatility
        return np.clip(channels, -CLIP, CLIP).astype(np.float32)

    def _volumes(self, panel: Panel, rows: slice) -> FloatArray:
        shares = np.cumprod(np.concatenate([self._split[None], 1 / panel.split[rows]]), axis=0)[1:]
        traded = panel.mask[rows] & (panel.volume[rows] > 0)
        volume = np.where(traded, panel.volume[rows] * shares, np.nan)
        usual = np.concatenate([self._usual[None], self._volume.step(volume)])
        self._usual, self._split = usual[-1], shares[-1] if len(shares) else self._split
        return np.asarray(np.log(volume / usual[:-1]))


def _log(panel: Panel, name: str, rows: slice) -> FloatArray:
    """Return the log of an adjusted price at some rows; NaN where there is no usable bar."""
    price = np.where(panel.mask[rows], panel.fields[name][rows] * panel.factor[rows], np.nan)
    return np.asarray(np.log(np.where(price > 0, price, np.nan)))


def _carried(before: FloatArray, values: FloatArray) -> FloatArray:
    """Return the last known value before the rows, and at each of them, ``(B + 1, N)``."""
    return last_known(np.concatenate([before[None], values]))


def bar_channels(panel: Panel) -> NDArray[np.float32]:
    """Return what a network reads of every bar itself, ``(T, N, 5)``; see :class:`BarChannels`."""
    return BarChannels(panel.shape[1]).step(panel)


def known_future(panel: Panel, horizons: Sequence[int]) -> NDArray[np.float32]:
    """Return what the calendar says beforehand of the bars up to each horizon, ``(T, H, 9)``.

    The shares of weekdays on the way, the season at its end, and the time of day now (UTC).
    """
    day = panel.times.astype("datetime64[D]")
    hour = (panel.times - day).astype("timedelta64[m]").astype(np.float64) / (24 * 60)
    parts = []
    for horizon in horizons:
        ahead = horizon if panel.timeframe == "1d" else 0
        end = np.busday_offset(day, ahead, roll="backward")
        year = (end - end.astype("datetime64[Y]")).astype(np.float64) / 365.25
        waves = [wave(2 * np.pi * turn) for turn in (year, hour) for wave in (np.sin, np.cos)]
        parts.append(np.concatenate([calendar_inputs(panel.times, panel.timeframe, horizon), np.stack(waves, -1)], -1))
    return np.stack(parts, axis=1).astype(np.float32)


def readable(windows: Windows, length: int, share: float) -> NDArray[np.bool_]:
    """Return which samples have at least ``share`` of the ``length`` bars of their window, ``(n,)``.

    The others get no forecast: a window that is mostly empty would be an invented one.
    """
    return enough_bars(windows.panel, length, share)[windows.rows, windows.columns]


def enough_bars(panel: Panel, length: int, share: float) -> NDArray[np.bool_]:
    """Return ``(T, N)`` whether the window that ends at a bar has ``share`` of its bars."""
    count = np.cumsum(np.pad(panel.mask, ((length, 0), (0, 0))), axis=0, dtype=np.int64)
    enough: NDArray[np.bool_] = count[length:] - count[:-length] >= max(1.0, share * length)
    return enough


def seen_together(panel: Panel, length: int, share: float) -> NDArray[np.bool_]:
    """Return which symbols a network that reads whole dates sees at each bar, ``(T, N)``.

    Members of the universe with a bar and a readable window, whoever is asked about: what is said of a symbol must not
    depend on which others the caller wants to know. Where there are fewer than two, there is none.
    """
    seen = enough_bars(panel, length, share) & panel.mask & panel.member
    seen[seen.sum(axis=1) < _LEAST_TOGETHER] = False
    return seen


def require_window(windows: Windows, length: int, *, model: str) -> None:
    """Refuse a window that is longer than the history."""
    if length < 2:
        raise InputError(f"window_bars = {length} of {model!r} is no sequence", hint="give it 2 bars or more")
    if len(windows.panel) < length:
        raise DataError(
            f"the window of {model!r} is {length} bars long, the history {len(windows.panel)}",
            hint=f"set models.parameters.{model}.window_bars to less, or sync a longer history",
        )


def runs_of(rows: IntArray, columns: IntArray, statics: IntArray, width: int, offset: int = 0, stride: int = 1) -> Runs:
    """Cut samples into runs of up to ``width`` windows of one symbol, ``stride`` bars apart, with the same statics.

    Neighbouring windows forecast nearly the same days, so that a batch of them says less than as many far apart; what
    they share is computed once all the same.

    Parameters
    ----------
    rows, columns
        ``(n,)`` the samples, each once.
    statics
        ``(n, C)`` their static values.
    width, stride
        Windows of a run, ``R``, and the bars from one to the next.
    offset
        Shifts where runs are cut, so that another epoch sees other neighbours.
    """
    place, phase = np.divmod(rows, stride)
    lane = columns * stride + phase
    order = np.lexsort((place, lane))
    place, lane, static = place[order], lane[order], statics[order]
    broken = np.ones(len(order), dtype=bool)
    same = (np.diff(lane) == 0) & (np.diff(static, axis=0) == 0).all(axis=-1)
    broken[1:] = ~same | (np.diff((place + offset) // width) != 0)
    run = np.cumsum(broken) - 1
    count = int(run[-1]) + 1 if len(run) else 0
    last, of = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    np.maximum.at(last, run, place)
    of[run] = lane
    sample = np.full((count, width), -1, dtype=np.int64)
    sample[run, width - 1 - (last[run] - place)] = order
    column, phase = np.divmod(of, stride)
    return Runs(column, last * stride + phase, sample, stride)


def dates_of(rows: IntArray, columns: IntArray, seen: NDArray[np.bool_]) -> Runs:
    """Return single windows of all symbols that are seen at the bars of the samples, date by date.

    Parameters
    ----------
    rows, columns
        ``(n,)`` the samples, each once; those that are not seen are in no run.
    seen
        See :func:`seen_together`.
    """
    number = np.full(seen.shape, -1, dtype=np.int64)
    number[rows, columns] = np.arange(len(rows))
    dates = np.unique(rows)
    place, column = np.nonzero(seen[dates])
    last = dates[place]
    return Runs(column, last, number[last, column][:, None], by_date=True)

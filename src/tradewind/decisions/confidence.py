"""What confidence is about: an event, its probability in the forecast, and that probability made to keep its word.

An event is asked of a trade on both sides. Its forecast probability is recalibrated online, from all symbols, by how
often it came true at trades whose horizon had passed by then (:mod:`tradewind.calibration.classes`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tradewind.registry import Registry

if TYPE_CHECKING:
    from tradewind.decisions.memory import Memory
    from tradewind.decisions.signals import Belief
    from tradewind.market.panel import Panel

FloatArray = NDArray[np.float64]


class Sides(NamedTuple):
    """The same thing for a long and for a short, ``(T, N)`` each."""

    long: FloatArray
    short: FloatArray

    @classmethod
    def both(cls, values: FloatArray) -> Sides:
        """Return what is the same on both sides."""
        return cls(values, values)


@dataclass(frozen=True, eq=False)
class Trade:
    """What could be opened after the close of each bar: entry at the next open, out at the latest after ``bars``.

    Attributes
    ----------
    bars
        Bars after which the position is closed.
    stop, target
        Distances as fractions of the entry, ``(T, N)`` a side; a target is NaN where the forecast has none on the
        winning side.
    """

    bars: int
    stop: Sides
    target: Sides

    def since(self, row: int) -> Trade:
        """Return the trades decided from a row on."""
        return Trade(self.bars, *(Sides(both.long[row:], both.short[row:]) for both in (self.stop, self.target)))


class Event(Protocol):
    """Something that happens to a trade or not. ``words`` says it of a long and of a short.

    An event with ``local = True`` forecasts each row from that row alone, and tells its outcome from the adjusted
    prices of the bars up to ``trade.bars`` later: then neither is worked out twice.
    """

    name: ClassVar[str]
    words: ClassVar[tuple[str, str]]

    def forecast(self, belief: Belief, trade: Trade) -> Sides:
        """Return its probability in the forecast: 0 where it cannot happen, NaN where nobody can tell."""
        ...

    def outcome(self, belief: Belief, trade: Trade) -> Sides:
        """Return 1 where it happened to the trade decided at that bar and 0 where not.

        NaN where it is not known ``trade.bars`` bars later, or could not happen. Row ``t`` may look at the bars up to
        ``t + trade.bars`` and no further.
        """
        ...


EVENTS = Registry[Event]("event (decision.event)", room="tradewind.decisions.events", group="tradewind.events")
register = EVENTS.register


@dataclass(frozen=True, eq=False)
class Odds:
    """The probability of the playbook's event for a trade, as forecast and as recalibrated."""

    event: Event
    trade: Trade
    raw: Sides
    calibrated: Sides


def odds(belief: Belief, trade: Trade) -> Odds:
    """Return the probability of the playbook's event at every bar, from what was known at its close."""
    about, method = EVENTS.create(belief.settings.event), belief.settings.recalibration
    if belief.memory is not None and getattr(about, "local", False):
        return _remembered(belief, trade, about, belief.memory)
    raw = Sides(*(np.where(belief.tradable, p, np.nan) for p in about.forecast(belief, trade)))
    if method == "none":
        return Odds(about, trade, raw, raw)
    from tradewind.calibration.classes import calibrate_event

    came = about.outcome(belief, trade)
    mended = (calibrate_event(p, happened, trade.bars, method) for p, happened in zip(raw, came, strict=True))
    impossible = Sides(*(p == 0.0 for p in raw))
    return Odds(about, trade, raw, Sides(*(np.where(no, 0.0, p) for no, p in zip(impossible, mended, strict=True))))


def _remembered(belief: Belief, trade: Trade, about: Event, memory: Memory) -> Odds:
    """Return the odds of :func:`odds`, each row worked out once."""
    from tradewind.calibration.classes import EventCalibrator

    count, method, sides = len(belief.panel), belief.settings.recalibration, range(2)
    named = [f"{about.name} {trade.bars} {side}" for side in Sides._fields]

    def forecast(row: int, side: int) -> FloatArray:
        part = belief.since(row)
        return np.where(part.tradable, about.forecast(part, trade.since(row))[side], np.nan)

    raw = Sides(*(memory.rows(named[side], count, partial(forecast, side=side)) for side in sides))
    if method == "none":
        return Odds(about, trade, raw, raw)
    calibrator = EventCalibrator(trade.bars, method)

    def step(state: Any, row: int, side: int) -> tuple[Any, FloatArray]:
        first = max(row - trade.bars, 0)
        came = about.outcome(belief.since(first), trade.since(first))[side]
        known = np.full((count - row, came.shape[1]), np.nan)
        due = max(trade.bars - row, 0)
        known[due:] = came[: count - row - due]
        return calibrator.step(state, raw[side][row:], known)

    start = partial(calibrator.initial_state, belief.panel.shape[1])
    mended = [memory.fold(f"{named[side]} {method}", count, start, partial(step, side=side)) for side in sides]
    return Odds(about, trade, raw, Sides(*(np.where(p == 0.0, 0.0, q) for p, q in zip(raw, mended, strict=True))))


def ahead(values: FloatArray, bars: int) -> FloatArray:
    """Return at every bar the value so many bars later, NaN past the end."""
    result = np.full(values.shape, np.nan)
    if bars < len(values):
        result[: len(values) - bars] = values[bars:]
    return result


def traded(panel: Panel, name: str) -> FloatArray:
    """Return a price in units of the first bar's share, so that a split moves nothing; NaN where there is no bar."""
    return np.asarray(np.where(panel.mask, panel.fields[name] * np.cumprod(panel.split, axis=0), np.nan))


def truth(happened: NDArray[np.bool_], known: NDArray[np.bool_]) -> FloatArray:
    """Return 1, 0 or NaN."""
    return np.where(known, happened.astype(np.float64), np.nan)

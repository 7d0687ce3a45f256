"""What of that which arrives is a bar, which bar it is, and when a close is as complete as it will be.

A fold without clock or storage: rows and the present instant go in, closes in the order of the calendar come out. What
comes twice is dropped; what comes too late or changes is told as such, and never rewrites what was let through before.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from tradewind.live.settings_ingest import IngestSection
from tradewind.market.calendar import Calendar
from tradewind.market.quality import EXCLUDED, mark_rows
from tradewind.market.sources.base import SOURCE_BAR_SCHEMA

_WINDOW, _ENOUGH = 60, 20
_VALUES: Final = ("open", "high", "low", "close", "volume")
_TICK: Final = timedelta(microseconds=1)
_RECENT: Final = timedelta(days=10)
"""Closes that nobody spoke of are looked for no further back than this."""

Origin = Literal["observed", "assumed"]


@dataclass(frozen=True, slots=True)
class Row:
    """One version of one bar, and since when it is known."""

    symbol: str
    time: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float | None
    adjustment: str
    marks: str
    known_at: datetime
    vintage: Origin

    @property
    def values(self) -> tuple[float | str | None, ...]:
        """What makes it this version and no other."""
        return self.open, self.high, self.low, self.close, self.volume, self.adjustment


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that is no bar, as it came, and why."""

    symbol: str | None
    time: datetime | None
    why: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Close:
    """One close that is let through: its rows by symbol, and who is missing."""

    time: datetime
    rows: tuple[Row, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Passed:
    """What came out of one step.

    Attributes
    ----------
    closes
        In the order of their times.
    earlier
        Rows of closes that were let through before: they came late, or changed.
    refused
        Garbage and bars of the future.
    """

    closes: tuple[Close, ...] = ()
    earlier: tuple[Row, ...] = ()
    refused: tuple[Refused, ...] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """How long to wait for what; see ``IngestSection``.

    Attributes
    ----------
    wait
        How long after its time a close waits for symbols that have not come.
    hold_closes
        How many closes may wait, whatever the clock says.
    quiet_closes
        A symbol that missed so many in a row is not waited for; 0: every symbol always is.
    ahead
        How far ahead of the clock a bar may be.
    sigmas
        A move beyond so many standard deviations is marked ``outlier``.
    witnessed
        A bar that arrives longer than this after its close says nothing of when it became known; then that is assumed.
    mends
        Whether somebody fills gaps: then a complete close waits for the ones before it, as long as it may.
    remembered
        For how many closes what was let through is remembered.
    """

    wait: timedelta = timedelta(seconds=10)
    hold_closes: int = 3
    quiet_closes: int = 3
    ahead: timedelta = timedelta(seconds=5)
    sigmas: float = 3.0
    witnessed: timedelta = timedelta(minutes=6)
    mends: bool = False
    remembered: int = 500

    @classmethod
    def of(cls, settings: IngestSection, *, mends: bool) -> Rules:
        """Return the rules of a section."""
        return cls(
            timedelta(seconds=settings.wait_seconds),
            settings.hold_closes,
            settings.quiet_closes,
            timedelta(seconds=settings.future_seconds),
            settings.outlier_sigmas,
            timedelta(minutes=settings.poll_minutes + 1, seconds=settings.wait_seconds + settings.settle_seconds),
            mends,
        )


class BarGate:
    """Lets closes through in order. The same steps in the same order always give the same answers.

    Parameters
    ----------
    symbols
        Who is expected at each close.
    timeframe, calendar
        Which closes there are.
    after
        The newest close that was let through before; None where there is none.
    lag
        Added to a bar's time to say since when one that was fetched afterwards is known.

    Attributes
    ----------
    counts
        Rows by what became of them: ``accepted``, ``duplicate``, ``late``, ``revised``, ``refused``, ``strange`` (of a
        symbol nobody asked for, or of an index at hours of its own), ``outlier``; ``incomplete`` closes.
    missing
        Symbols that closes of the calendar went on without, while they can still come.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        timeframe: str,
        calendar: Calendar,
        *,
        rules: Rules | None = None,
        after: datetime | None = None,
        lag: timedelta = timedelta(0),
    ) -> None:
        self.symbols, self.timeframe, self.calendar = tuple(symbols), timeframe, calendar
        self.rules, self.released, self._lag = rules or Rules(), after, lag
        self.counts: Counter[str] = Counter()
        self.missing: dict[datetime, set[str]] = {}
        self._universe = frozenset(symbols)
        self._pending: dict[datetime, dict[str, Row]] = {}
        self._known: dict[datetime, dict[str, tuple[float | str | None, ...]]] = {}
        self._missed = dict.fromkeys(self.symbols, 0)
        self._moves = _Moves()
        self._answered: datetime | None = after
        self._grid: dict[date, frozenset[datetime]] = {}

    # -- what goes in ----------------------------------------------------------------------------------------

    def remember(self, stored: pl.DataFrame) -> None:
        """Learn what was stored before (``SOURCE_BAR_COLUMNS``): it is not news any more, and its holes are missing."""
        for row in stored.select(list(SOURCE_BAR_SCHEMA)).sort("time").iter_rows(named=True):
            self._known.setdefault(row["time"], {})[row["symbol"]] = _row(row, row["time"], "assumed").values
            self._moves.add(row["symbol"], row["close"])
        self._forget()
        if self._known and self.released is not None:
            alive = {symbol for rows in self._known.values() for symbol in rows}
            for close in self._between(min(self._known), self.released)[-self.rules.remembered :]:
                if holes := alive - self._known.get(close, {}).keys():
                    self.missing[close] = holes

    def offer(self, bars: pl.DataFrame, now: datetime, origin: Origin = "observed") -> Passed:
        """Take rows of ``SOURCE_BAR_COLUMNS`` that arrived at ``now`` and return what can be let through."""
        refused, earlier = [], dict[tuple[datetime, str], Row]()
        for raw in _marked(bars).iter_rows(named=True):
            why = self._why_not(raw, now)
            if why is not None:
                self.counts["strange" if why == _STRANGE else "refused"] += 1
                refused += [] if why == _STRANGE else [_refused(raw, why)]
                continue
            row = self._stamped(raw, now, origin)
            if self._takes(row):
                earlier[row.time, row.symbol] = row
        passed = self.at(now)
        return replace(passed, earlier=(*earlier.values(), *passed.earlier), refused=tuple(refused))

    def at(self, now: datetime) -> Passed:
        """Return what can be let through at an instant, because enough has come or enough time has passed."""
        closes = list(self._due(now))
        self._note_overdue(now)
        self._forget()
        return Passed(tuple(closes))

    def answered(self, until: datetime) -> None:
        """Take note that an attempt was made to fill everything up to a close: it is not waited for any longer."""
        self._answered = until if self._answered is None else max(self._answered, until)

    def wakes_at(self) -> datetime | None:
        """Return when the oldest waiting close has waited long enough; None where none waits."""
        return min(self._pending) + self.rules.wait if self._pending else None

    # -- what is a bar ---------------------------------------------------------------------------------------

    def _why_not(self, raw: Mapping[str, object], now: datetime) -> str | None:
        """Return why a row is no bar of ours; None where it is."""
        moment, marks = raw["time"], str(raw["marks"])
        if raw["symbol"] is None or not isinstance(moment, datetime):
            return "no symbol or time"
        if raw["symbol"] not in self._universe:
            return _STRANGE
        if EXCLUDED in marks:
            return next(mark for mark in marks.split(",") if mark.startswith(EXCLUDED)).removeprefix(EXCLUDED)
        if moment > now + self.rules.ahead:
            return "in the future"
        if moment in self._closes_of(moment.astimezone(UTC).date()):
            return None
        return _STRANGE if str(raw["symbol"]).startswith("^") else "no close of the calendar"

    def _stamped(self, raw: Mapping[str, Any], now: datetime, origin: Origin) -> Row:
        """Return a row with the moment since which it is known: witnessed just now, or assumed from its close."""
        if origin == "observed" and now <= raw["time"] + self.rules.witnessed:
            return _row(raw, max(now, raw["time"]), "observed")
        return _row(raw, raw["time"] + self._lag, "assumed")

    def _closes_of(self, day: date) -> frozenset[datetime]:
        if day not in self._grid:
            if len(self._grid) > 64:
                self._grid.clear()
            first = datetime(day.year, day.month, day.day, tzinfo=UTC)
            self._grid[day] = frozenset(self._between(first, first + timedelta(days=1) - _TICK))
        return self._grid[day]

    def _between(self, first: datetime, last: datetime) -> list[datetime]:
        """Return the closes of the calendar from ``first`` to ``last``."""
        closes = self.calendar.bar_closes(self.timeframe, first, last)
        return [moment.replace(tzinfo=UTC) for moment in closes.tolist()]

    def _takes(self, row: Row) -> bool:
        """File a row; return whether it is about a close that was let through before."""
        known = self._known.setdefault(row.time, {})
        before = known.get(row.symbol)
        if before == row.values:
            self.counts["duplicate"] += 1
            return False
        self.counts["accepted" if before is None else "revised"] += 1
        known[row.symbol] = row.values
        if self.released is None or row.time > self.released:
            self._pending.setdefault(row.time, {})[row.symbol] = row
            return False
        self.counts["late"] += before is None
        self._came(row.time, row.symbol)
        return True

    # -- when a close is let through -------------------------------------------------------------------------

    def _due(self, now: datetime) -> Iterator[Close]:
        while self._pending:
            first = min(self._pending)
            if not self._may_go(first, now):
                return
            yield self._release(first)

    def _may_go(self, first: datetime, now: datetime) -> bool:
        if now >= first + self.rules.wait or len(self._pending) > self.rules.hold_closes:
            return True
        return self._expected() <= self._pending[first].keys() and not self._skipped(first)

    def _expected(self) -> set[str]:
        """Return who is worth waiting for; everybody where all have been quiet."""
        most = self.rules.quiet_closes
        loud = {symbol for symbol, missed in self._missed.items() if not most or missed < most}
        return loud or set(self._universe)

    def _release(self, time: datetime) -> Close:
        rows = self._pending.pop(time)
        self._note_skipped(time)
        self.released = time
        missing = tuple(symbol for symbol in self.symbols if symbol not in rows)
        for symbol in self.symbols:
            self._missed[symbol] = self._missed[symbol] + 1 if symbol in missing else 0
        if missing:
            self.counts["incomplete"] += 1
            self.missing[time] = set(missing)
        else:
            self.missing.pop(time, None)
        return Close(time, tuple(self._flagged(rows[s]) for s in sorted(rows)), missing)

    def _flagged(self, row: Row) -> Row:
        """Mark a move that is too large to be ordinary; it stays a bar."""
        wild = self._moves.is_wild(row.symbol, row.close, self.rules.sigmas)
        self._moves.add(row.symbol, row.close)
        self.counts["outlier"] += wild
        return replace(row, marks=",".join(filter(None, (row.marks, "outlier")))) if wild else row

    # -- what is missing -------------------------------------------------------------------------------------

    def _skipped(self, first: datetime) -> list[datetime]:
        """Return the closes between the last one let through and ``first`` that nobody tried to fill."""
        if not self.rules.mends or self.released is None:
            return []
        after = self.released if self._answered is None else max(self.released, self._answered)
        return self._between(after + _TICK, first - _TICK) if after < first else []

    def gap(self) -> tuple[datetime, datetime] | None:
        """Return the first and last close that are missing before one that waits for them; None where none does."""
        if not self._pending:
            return None
        skipped = self._skipped(min(self._pending))
        return (skipped[0], skipped[-1]) if skipped else None

    def _note_skipped(self, time: datetime) -> None:
        if self.released is not None:
            for close in self._between(self.released + _TICK, time - _TICK)[-self.rules.remembered :]:
                self.missing.setdefault(close, set(self.symbols))

    def _note_overdue(self, now: datetime) -> None:
        """Count closes as missing of which nobody said anything in time."""
        if self.released is None:
            return
        first = max(self.released + _TICK, now - _RECENT)
        for close in self._between(first, now - self.rules.wait)[-self.rules.remembered :]:
            if close not in self._pending:
                self.missing.setdefault(close, set(self.symbols))

    def _came(self, time: datetime, symbol: str) -> None:
        still = self.missing.get(time)
        if still is not None:
            still.discard(symbol)
            if not still:
                del self.missing[time]

    def _forget(self) -> None:
        for held in (self._known, self.missing):
            for time in sorted(held)[: max(0, len(held) - self.rules.remembered)]:
                del held[time]


_STRANGE: Final = "a symbol nobody asked for"


@dataclass
class _Moves:
    """The last moves of each symbol, by which a wild one is told."""

    last: dict[str, float] = field(default_factory=dict)
    moves: dict[str, deque[float]] = field(default_factory=dict)

    def add(self, symbol: str, close: float | None) -> None:
        if close is None or not math.isfinite(close) or close <= 0:
            return
        before = self.last.get(symbol)
        if before is not None:
            self.moves.setdefault(symbol, deque(maxlen=_WINDOW)).append(math.log(close / before))
        self.last[symbol] = close

    def is_wild(self, symbol: str, close: float, sigmas: float) -> bool:
        usual, before = self.moves.get(symbol, ()), self.last.get(symbol)
        if before is None or len(usual) < _ENOUGH:
            return False
        spread = float(np.std(usual, ddof=1))
        return spread > 0 and abs(math.log(close / before)) > sigmas * spread


def _marked(bars: pl.DataFrame) -> pl.DataFrame:
    return mark_rows(bars.select(pl.col(name).cast(kind) for name, kind in SOURCE_BAR_SCHEMA.items()))


def _row(raw: Mapping[str, object], known_at: datetime, origin: Origin) -> Row:
    values = {name: raw[name] for name in SOURCE_BAR_SCHEMA}
    volume = raw["volume"]
    if isinstance(volume, float) and math.isnan(volume):
        values["volume"] = None
    return Row(**values, known_at=known_at, vintage=origin)  # type: ignore[arg-type]


def _refused(raw: Mapping[str, object], why: str) -> Refused:
    return Refused(raw["symbol"], raw["time"], why, tuple(raw[name] for name in _VALUES))  # type: ignore[arg-type,misc]


def source_rows(rows: Iterable[Row]) -> pl.DataFrame:
    """Return rows as a table: ``SOURCE_BAR_COLUMNS``, ``known_at`` and ``vintage``."""
    schema = {**SOURCE_BAR_SCHEMA, "known_at": SOURCE_BAR_SCHEMA["time"], "vintage": pl.String}
    return pl.DataFrame([{name: getattr(row, name) for name in schema} for row in rows], schema=schema)

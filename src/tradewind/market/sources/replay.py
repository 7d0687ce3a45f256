"""Bars that are there already, walked through in the order in which they became known, with faults where wanted.

The clock of a replay is the replay's: it stands where the bars are. With another clock the feed waits for that one,
and loses what it should have said while nobody listened, as a stream does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final, Literal

import numpy as np
import polars as pl

from tradewind.clock import Clock
from tradewind.errors import DataError, InputError, RetryError
from tradewind.market.feeds import FEEDS, Arrival, Wanted
from tradewind.market.sources.base import SOURCE_BAR_SCHEMA, Request, Source, Tick

Speed = float | Literal["max"]

_DAY: Final = timedelta(days=1)
_AT: Final = pl.Datetime("us", "UTC")


@dataclass
class ReplayClock:
    """A clock that stands where a replay is. It never goes back."""

    instant: datetime = datetime(1970, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        """Return where the replay is."""
        return self.instant

    def reach(self, moment: datetime) -> None:
        """Move on to an instant."""
        self.instant = max(self.instant, moment)


def pause_of(before: datetime | None, moment: datetime, speed: Speed, longest: float = 5.0) -> float:
    """Return the seconds to wait between two instants of a replay; nights and week-ends are skipped."""
    if before is None or speed == "max":
        return 0.0
    return min((moment - before).total_seconds() / speed, longest)


def known_speed(speed: Speed) -> Speed:
    """Return a speed, or refuse one at which nothing would ever happen."""
    if speed != "max" and not (isinstance(speed, int | float) and speed > 0 and np.isfinite(speed)):
        raise InputError(f"a replay cannot run at speed {speed!r}", hint="give a number above 0 (1: as it was) or max")
    return speed


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong, by the share of rows that it happens to.

    Attributes
    ----------
    late, late_s
        Told so many seconds after it should have been.
    shuffled
        Told up to half a minute late, so that bars of one close come apart and in any order.
    duplicated
        Told again, up to a minute later.
    revised
        First told with other prices; the right ones come a minute and a half later.
    missing
        Never told.
    garbage
        A row that is no bar comes before it.
    future
        A row of tomorrow comes before it.
    outages
        Periods in which nobody is told anything.
    breaks
        Instants at which the connection is lost, once each.
    """

    late: float = 0.0
    late_s: float = 400.0
    shuffled: float = 0.0
    duplicated: float = 0.0
    revised: float = 0.0
    missing: float = 0.0
    garbage: float = 0.0
    future: float = 0.0
    outages: Sequence[tuple[datetime, datetime]] = ()
    breaks: Sequence[datetime] = ()


@FEEDS.register
class ReplayFeed:
    """Says what stored bars say, when they say it.

    Parameters
    ----------
    bars
        ``SOURCE_BAR_COLUMNS`` and, where it is there, ``known_at``: when each row is told; else at its close.
    clock
        A ``ReplayClock`` is moved; any other clock is waited for.
    speed
        Of a ``ReplayClock``: how much faster than it was; ``max`` waits for nothing. It may be changed while it runs.
    faults, seed
        What goes wrong, and which of all the ways.
    """

    name: ClassVar[str] = "replay"
    asks: ClassVar[bool] = False

    def __init__(
        self,
        bars: pl.DataFrame,
        clock: Clock,
        *,
        speed: Speed = "max",
        faults: Faults | None = None,
        seed: int = 0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock, self.speed, self._sleep = clock, known_speed(speed), sleep
        plan = _planned(bars, faults or Faults(), np.random.default_rng(seed))
        self._breaks = sorted((faults or Faults()).breaks)
        self._groups = [(at[0], rows.drop("at")) for at, rows in plan.group_by("at", maintain_order=True)]
        self._next = 0

    @property
    def moves_clock(self) -> bool:
        """Whether its clock stands where it is."""
        return isinstance(self._clock, ReplayClock)

    async def listen(self, wanted: Wanted) -> AsyncIterator[Arrival]:
        """Yield the rows of the symbols that are wanted, those of one instant at once; ends after the last."""
        before: datetime | None = None
        if not self.moves_clock:
            self._skip()
        while self._next < len(self._groups):
            at, rows = self._groups[self._next]
            await self._reach(before, at)
            before, self._next = at, self._next + 1
            mine = rows.filter(pl.col("symbol").is_in(wanted.symbols) | pl.col("symbol").is_null())
            if not mine.is_empty():
                yield Arrival(mine, _ticks(mine))

    def _skip(self) -> None:
        """Lose what should have been said before now."""
        while self._next < len(self._groups) and self._groups[self._next][0] < self._clock.now():
            self._next += 1

    async def _reach(self, before: datetime | None, at: datetime) -> None:
        if self._breaks and self._breaks[0] <= at:
            raise RetryError(f"the replay lost its connection at {self._breaks.pop(0)}", hint="listen again")
        if isinstance(self._clock, ReplayClock):
            await self._sleep(pause_of(before, at, self.speed))
            self._clock.reach(at)
            return
        while (left := (at - self._clock.now()).total_seconds()) > 0:
            await self._sleep(left)


@FEEDS.register
class SyntheticFeed(ReplayFeed):
    """The bars of a source (the synthetic one, as a rule), walked on a clock.

    Parameters
    ----------
    source, request
        What is walked through.
    """

    name: ClassVar[str] = "synthetic"

    def __init__(self, source: Source, request: Request, clock: Clock, **options: Any) -> None:
        bars = [delivery.bars for delivery in source.fetch(request)]
        if not bars or not sum(table.height for table in bars):
            raise DataError(f"source {source.name!r} has no bars to walk through", hint="ask for another period")
        super().__init__(pl.concat(bars), clock, **options)


def _ticks(rows: pl.DataFrame) -> tuple[Tick, ...]:
    sound = rows.filter(pl.col("close").is_finite() & (pl.col("close") > 0)).drop_nulls("symbol")
    return tuple(Tick(*row) for row in sound.select("symbol", "time", "close").iter_rows())


# -- what goes wrong -----------------------------------------------------------------------------------------


def _planned(bars: pl.DataFrame, faults: Faults, random: np.random.Generator) -> pl.DataFrame:
    """Return what is told and when (``at``), in that order."""
    told = "known_at" if "known_at" in bars.columns else "time"
    rows = bars.with_columns(at=pl.col(told).cast(_AT)).sort("at", "time", "symbol")
    rows = rows.select(*(pl.col(name).cast(kind) for name, kind in SOURCE_BAR_SCHEMA.items()), "at")
    if faults == Faults():
        return rows
    parts = list(_with_faults(_Chosen(rows, random), faults))
    plan = pl.concat(parts).sort("at", maintain_order=True)
    for first, last in faults.outages:
        plan = plan.filter(~pl.col("at").is_between(first, last))
    return plan


@dataclass
class _Chosen:
    rows: pl.DataFrame
    random: np.random.Generator
    left: pl.DataFrame = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.rows

    def some(self, share: float) -> pl.DataFrame:
        """Return a share of the rows, which also stay."""
        return self.left.filter(pl.Series(self.random.random(len(self.left)) < share, dtype=pl.Boolean))

    def shifted(self, rows: pl.DataFrame, low: float, high: float) -> pl.DataFrame:
        """Return rows told some seconds later, whole ones."""
        seconds = pl.Series("seconds", self.random.integers(int(low), int(high) + 1, len(rows)))
        return rows.with_columns(seconds).with_columns(at=pl.col("at") + pl.duration(seconds="seconds")).drop("seconds")

    def move(self, share: float, low: float, high: float) -> None:
        """Tell a share of the rows later."""
        hit = pl.Series(self.random.random(len(self.left)) < share, dtype=pl.Boolean)
        self.left = pl.concat([self.left.filter(~hit), self.shifted(self.left.filter(hit), low, high)]).sort(
            "at", maintain_order=True
        )


def _with_faults(chosen: _Chosen, faults: Faults) -> Iterator[pl.DataFrame]:
    hit = chosen.random.random(len(chosen.left)) < faults.missing
    chosen.left = chosen.left.filter(pl.Series(~hit, dtype=pl.Boolean))
    yield _garbage(chosen.some(faults.garbage), chosen.random)
    yield chosen.some(faults.future).with_columns(time=pl.col("time") + _DAY)
    first = chosen.some(faults.revised)
    early = first.with_columns(pl.col("close") * 1.001, high=pl.max_horizontal("high", pl.col("close") * 1.001))
    yield early
    again = pl.col("symbol").is_null()
    for row in first.select("symbol", "time").iter_rows():
        again |= (pl.col("symbol") == row[0]) & (pl.col("time") == row[1])
    delayed = pl.when(again).then(pl.col("at") + timedelta(seconds=90)).otherwise("at")
    chosen.left = chosen.left.with_columns(at=delayed)
    yield chosen.shifted(chosen.some(faults.duplicated), 0, 60)
    chosen.move(faults.shuffled, 0, 30)
    chosen.move(faults.late, faults.late_s, faults.late_s)
    yield chosen.left


_WRONG: Final[Mapping[int, Mapping[str, float]]] = {
    0: {"close": float("nan")},
    1: {"open": -1.0},
    2: {"high": 0.01, "low": 1e6},
    3: {"volume": -5.0},
}


def _garbage(rows: pl.DataFrame, random: np.random.Generator) -> pl.DataFrame:
    kinds = random.integers(0, len(_WRONG), len(rows))
    spoilt = [
        rows[at].with_columns(**{name: pl.lit(value) for name, value in _WRONG[int(kind)].items()})
        for at, kind in enumerate(kinds)
    ]
    return pl.concat(spoilt) if spoilt else rows

"""What arrives by itself: one protocol, one registry. Sources answer when asked; feeds speak when they have something.

A feed delivers what its provider says, as it comes: late, twice, out of order, wrong. What of it is to be believed is
not its business (``tradewind.live.ingest_gate``), and neither are repetitions after a failure: it raises, and whoever
listens listens again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Protocol

import polars as pl

from tradewind.market.sources.base import SOURCE_ACTION_SCHEMA, Tick, no_bars
from tradewind.registry import Registry


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is listened for.

    Attributes
    ----------
    symbols, timeframe
        Whose bars, and of what size.
    after
        The newest close that is there already; a feed that asks (instead of being told) goes on from it. None: the
        newest bar is enough.
    """

    symbols: tuple[str, ...]
    timeframe: str
    after: datetime | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """What came at once.

    Attributes
    ----------
    bars
        ``SOURCE_BAR_COLUMNS``, one row per bar that the provider calls closed, stamped with its close in UTC.
    ticks
        Prices between closes, oldest first.
    actions
        ``SOURCE_ACTION_COLUMNS``.
    notes
        What the provider had to say.
    """

    bars: pl.DataFrame = field(default_factory=no_bars)
    ticks: tuple[Tick, ...] = ()
    actions: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SOURCE_ACTION_SCHEMA))
    notes: tuple[str, ...] = ()


class Feed(Protocol):
    """A provider that speaks by itself. One listener at a time; listening again begins a new conversation.

    Attributes
    ----------
    asks
        True where it asks its provider and begins with what came after ``Wanted.after``; False where it only hears what
        is said from now on, so that an outage leaves a gap that somebody else must fill.
    """

    name: ClassVar[str]
    asks: ClassVar[bool]

    def listen(self, wanted: Wanted) -> AsyncIterator[Arrival]:
        """Yield what arrives, in the order in which it does; ends where there is nothing more (a replay).

        Raises ``RetryError`` where the connection is lost or refused for now, ``InputError`` where the provider will
        never have it (no permission, an unknown bar size), ``DataError`` for words that cannot be read.
        """
        ...


FEEDS = Registry[Feed]("feed", room="tradewind.market.sources", group="tradewind.feeds")

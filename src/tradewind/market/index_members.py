"""The members of an index as they were read week by week, and who belonged at each bar.

A snapshot counts from the moment it was known until the next one. Before the first nothing is known: a membership
table speaks there if there is one, else the first list is used back in time, which is hindsight and said to be.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tradewind.clock import Clock
from tradewind.errors import DataError, RetryError
from tradewind.market.indexes.base import IndexSource, Listing
from tradewind.market.store.records import IndexSnapshot, Records
from tradewind.market.universe import ever_members, member_mask

BoolArray = NDArray[np.bool_]
TimeArray = NDArray[np.datetime64]

#: Members that may change between two readings, for each year (or part of one) between them.
MOST_CHANGES_A_YEAR: Final = 25
_YEAR: Final = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Refresh:
    """What became of asking for an index's members.

    Attributes
    ----------
    snapshots
        Everything known of the index, the oldest first, with what was just read.
    read
        Whether the provider was asked, and gave a list that was believed.
    joined, left
        Who came and went since the snapshot before; empty for the first.
    problem
        Why the provider's answer is not used although an earlier one is; empty when all is well.
    """

    snapshots: tuple[IndexSnapshot, ...]
    read: bool = False
    joined: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as JSON-able values."""
        newest = self.snapshots[-1]
        return {
            "index": newest.index_name,
            "members": len(newest.members),
            "known_at": newest.known_at.isoformat(),
            "snapshots": len(self.snapshots),
            "read": self.read,
            "joined": list(self.joined),
            "left": list(self.left),
            "problem": self.problem,
        }

    def to_text(self) -> str:
        """Return the outcome for a reader, in one line."""
        newest = self.snapshots[-1]
        moves = [
            f"{word} {', '.join(names)}" for word, names in (("joined", self.joined), ("left", self.left)) if names
        ]
        text = f"{newest.index_name}: {len(newest.members)} members as of {newest.known_at:%Y-%m-%d}"
        text += f" ({'; '.join(moves)})" if moves else ""
        return f"WARNING: {text}, not refreshed: {self.problem}" if self.problem else text


def refresh(
    records: Records, source: IndexSource, *, clock: Clock, every_days: float, dry_run: bool = False
) -> Refresh:
    """Ask for the members of an index where the newest snapshot is older than ``every_days``, and store them.

    An answer that does not come or is not believed leaves the earlier snapshots in force, with the problem said.

    Raises
    ------
    RetryError, DataError
        As that answer, where there is no earlier snapshot.
    """
    history = tuple(records.index_snapshots(source.name))
    now = clock.now()
    if history and now - history[-1].recorded_at < timedelta(days=every_days):
        return Refresh(history)
    last = history[-1] if history else None
    try:
        found = source.members()
        _require_plausible(found, source, last, now)
    except (RetryError, DataError) as failure:
        if last is None:
            raise type(failure)(
                f"the members of {source.name} are not known: {failure.what}",
                hint="call again later, or name them: set universe.index to '' and universe.symbols to a list",
            ) from failure
        return Refresh(history, problem=failure.what)
    detail = {"provider": found.provider, "stated_on": None if found.stated_on is None else str(found.stated_on)}
    snapshot = IndexSnapshot(source.name, now, now, list(found.symbols), detail)
    if not dry_run:
        records.record_index_snapshot(snapshot)
    before = set(last.members) if last else set(found.symbols)
    joined, left = sorted(set(found.symbols) - before), sorted(before - set(found.symbols))
    return Refresh((*history, snapshot), True, tuple(joined), tuple(left))


def _require_plausible(found: Listing, source: IndexSource, last: IndexSnapshot | None, now: datetime) -> None:
    """Refuse a list that is no complete one, or that replaces more members than an index does."""
    if not source.fewest <= len(found.symbols) <= source.most:
        raise DataError(
            f"{found.provider} lists {len(found.symbols)} members, and {source.name} has {source.fewest} to "
            f"{source.most}: the list is refused"
        )
    if last is None:
        return
    changes = len(set(found.symbols) ^ set(last.members)) / 2
    most = MOST_CHANGES_A_YEAR * max(1, math.ceil((now - last.recorded_at) / _YEAR))
    if changes > most:
        raise DataError(
            f"{found.provider} replaces {changes:g} of {len(last.members)} members of {last.known_at:%Y-%m-%d}, and "
            f"no more than {most} are believed: the list is refused"
        )


@dataclass(frozen=True, eq=False)
class IndexHistory:
    """Who belonged to an index when, as far as it is known.

    Attributes
    ----------
    snapshots
        What was read, the oldest first; at least one.
    before
        Membership intervals for the time before the first snapshot; None where nobody has any.
    as_of
        Later snapshots than this are not used, but for the first one back in time.
    """

    snapshots: Sequence[IndexSnapshot]
    before: pl.DataFrame | None = None
    as_of: datetime | None = None
    _used: tuple[IndexSnapshot, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Keep the snapshots that may be used."""
        if not self.snapshots:
            raise DataError("nothing is known of the index", hint="run `tradewind sync` first")
        first, *later = self.snapshots
        used = (first, *(s for s in later if self.as_of is None or s.known_at <= self.as_of))
        object.__setattr__(self, "_used", used)

    @property
    def known_from(self) -> datetime:
        """The moment from which members are known."""
        return self._used[0].known_at

    @property
    def newest(self) -> IndexSnapshot:
        """The last snapshot that may be used."""
        return self._used[-1]

    def mask(self, times: TimeArray, symbols: Sequence[str]) -> BoolArray:
        """Return ``(T, N)``, True where the symbol belonged at the bar's close (UTC), as known then."""
        lists = [frozenset(s.members) for s in self._used]
        listed = np.array([[symbol in members for symbol in symbols] for members in lists], dtype=bool)
        at = np.searchsorted(_instants(self._used), np.asarray(times, dtype="datetime64[us]"), side="right") - 1
        out = listed.reshape(len(lists), len(symbols))[np.maximum(at, 0)]
        if self.before is not None and (at < 0).any():
            out[at < 0] = member_mask(self.before, symbols, np.asarray(times)[at < 0])
        return np.asarray(out)

    def ever(self, start: datetime, end: datetime) -> tuple[str, ...]:
        """Return the symbols that belonged at any time between two instants, sorted."""
        found = {
            symbol
            for snapshot, until in zip(self._used, [*(s.known_at for s in self._used[1:]), None], strict=True)
            if snapshot.known_at <= end and (until is None or until > start)
            for symbol in snapshot.members
        }
        if start < self.known_from and self.before is not None:
            found |= set(ever_members(self.before, start.date(), min(end, self.known_from).date()))
        elif start < self.known_from:
            found |= set(self._used[0].members)
        return tuple(sorted(found))

    def hindsight(self, first: datetime) -> bool:
        """Return whether bars from ``first`` on use the first list before anybody knew it."""
        return self.before is None and first < self.known_from

    def digest(self) -> str:
        """Return a hash of the snapshots in use."""
        content = [[s.known_at.isoformat(), *s.members] for s in self._used]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _instants(snapshots: Sequence[IndexSnapshot]) -> TimeArray:
    return np.array([s.known_at.astimezone(UTC).replace(tzinfo=None) for s in snapshots], dtype="datetime64[us]")

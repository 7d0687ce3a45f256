"""Who belongs to a plan's universe at each bar, by what that is known, and the proof of what a run saw of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.errors import DataError
from tradewind.evaluation.workspace import Workspace
from tradewind.market.panel import BoolArray, Panel, TimeArray
from tradewind.market.store.lake import Pin
from tradewind.market.universe import ever_members, member_mask, read_membership

if TYPE_CHECKING:
    import polars as pl

    from tradewind.market.index_members import IndexHistory, Refresh
    from tradewind.market.store.records import IndexSnapshot


@dataclass(frozen=True, slots=True)
class UniversePin:
    """What a run saw of who belongs.

    Attributes
    ----------
    table_digest
        Hash of the membership table (of what it says, not of how it is written); None without one.
    index, index_digest
        The index and a hash of its snapshots in use; None without one.
    recorded_until
        Snapshots recorded later are not seen.
    """

    table_digest: str | None = None
    index: str | None = None
    index_digest: str | None = None
    recorded_until: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the pin for a manifest."""
        until = None if self.recorded_until is None else self.recorded_until.isoformat()
        return {
            "membership": self.table_digest,
            "index": self.index,
            "index_members": self.index_digest,
            "recorded_until": until,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> UniversePin:
        """Read a pin from a manifest."""
        until = stored["recorded_until"]
        moment = None if until is None else datetime.fromisoformat(until)
        return cls(stored["membership"], stored["index"], stored["index_members"], moment)


@dataclass(frozen=True, slots=True)
class DataPin(Pin):
    """What a run saw of the lake and of who belongs, and what the sync of its bars had said."""

    universe: UniversePin | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the pin for a manifest."""
        pin = Pin(self.versions, self.recorded_at, self.digest).to_dict()
        pin |= {} if self.universe is None else {"universe": self.universe.to_dict()}
        return pin | ({"notes": list(self.notes)} if self.notes else {})

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> DataPin:
        """Read a pin from a manifest; one of an older Tradewind says nothing of the universe or of notes."""
        lake, universe = Pin.from_dict(stored), stored.get("universe")
        members = None if universe is None else UniversePin.from_dict(universe)
        return cls.of(lake, members, tuple(stored.get("notes", ())))

    @classmethod
    def of(cls, lake: Pin, universe: UniversePin | None, notes: tuple[str, ...] = ()) -> DataPin:
        """Join the pin of a lake, that of who belongs, and notes."""
        return cls(lake.versions, lake.recorded_at, lake.digest, universe, notes)


@dataclass(frozen=True, eq=False)
class Members:
    """Who belongs to a plan's universe: by an index as it was read, by a table, or everybody."""

    table: pl.DataFrame | None = None
    index: IndexHistory | None = None

    def ever(self, start: datetime, end: datetime) -> tuple[str, ...]:
        """Return everybody who belonged at any time between two instants; empty where nothing says who."""
        if self.index is not None:
            return self.index.ever(start, end)
        return () if self.table is None else ever_members(self.table, start.date(), end.date())

    @property
    def mask(self) -> Callable[[TimeArray, Sequence[str]], BoolArray] | None:
        """Who belonged at each bar, ``(times, symbols) → (T, N)``; None where everybody always does."""
        if self.index is not None:
            return self.index.mask
        table = self.table
        return None if table is None else lambda times, symbols: member_mask(table, symbols, times)

    def judged(self, panel: Panel) -> tuple[Panel, tuple[str, ...]]:
        """Return the panel with the flag of hindsight where it uses a list from before it was known, and notes."""
        if self.index is None:
            return panel, ()
        newest, last = self.index.newest, _instant(panel.times[-1])
        age = (last - newest.known_at).days
        notes = [f"the members of {newest.index_name} are {age} days old at the last bar"] if age > 30 else []
        if not self.index.hindsight(_instant(panel.times[0])):
            return panel, tuple(notes)
        warning = (
            f"WARNING: who was in {newest.index_name} before {self.index.known_from:%Y-%m-%d} was never read: the "
            "first list is used back in time, in hindsight; universe.membership_path can name a table of symbol, "
            "start and end"
        )
        return replace(panel, flags=tuple(dict.fromkeys((*panel.flags, "selection")))), (warning, *notes)

    def pin(self) -> UniversePin | None:
        """Return what this says, for a manifest; None where everybody always belongs."""
        table = None if self.table is None else _digest(self.table)
        if self.index is None:
            return None if table is None else UniversePin(table)
        until = max(s.recorded_at for s in self.index.snapshots)
        return UniversePin(table, self.index.newest.index_name, self.index.digest(), until)


def members_of(workspace: Workspace, *, as_of: datetime | None = None, pin: Pin | None = None) -> Members:
    """Return who belongs to the plan's universe, as this store knew it then.

    Raises ``DataError`` where the plan follows an index that was never read.
    """
    name = workspace.plan.universe.index
    if not name:
        return Members(_table(workspace))
    seen = pin.universe if isinstance(pin, DataPin) else None
    until = None if seen is None else seen.recorded_until
    return _followed(workspace, workspace.records.index_snapshots(name, recorded_until=until), as_of)


def refreshed(workspace: Workspace, *, dry_run: bool = False) -> tuple[Members, Refresh | None]:
    """Return who belongs after the members of the plan's index were read anew, where that was due."""
    from tradewind.market.index_members import refresh
    from tradewind.market.indexes.base import INDEXES

    universe = workspace.plan.universe
    if not universe.index:
        return Members(_table(workspace)), None
    source = INDEXES.create(universe.index, url=universe.index_url)
    done = refresh(
        workspace.records, source, clock=workspace.clock, every_days=universe.index_refresh_days, dry_run=dry_run
    )
    return _followed(workspace, done.snapshots, None), done


def _followed(workspace: Workspace, snapshots: Sequence[IndexSnapshot], as_of: datetime | None) -> Members:
    from tradewind.market.index_members import IndexHistory

    name, table = workspace.plan.universe.index, _table(workspace)
    if not snapshots:
        raise DataError(f"the members of {name} were never read", hint="run `tradewind sync` for this playbook first")
    return Members(table, IndexHistory(tuple(snapshots), before=table, as_of=as_of))


def _table(workspace: Workspace) -> pl.DataFrame | None:
    """Return the membership intervals of the playbook's file, else of the source, None where nobody has any."""
    path = workspace.plan.universe.membership_path
    return workspace.source.membership() if path is None else read_membership(Path(path).expanduser())


def _digest(table: pl.DataFrame) -> str:
    return hashlib.sha256(table.sort("symbol", "start", "end").write_csv().encode()).hexdigest()[:16]


def _instant(time: Any) -> datetime:
    moment: datetime = time.astype("datetime64[us]").item()
    return moment.replace(tzinfo=UTC)

"""The lake: bars, corporate actions and instruments as known at a time, in append-only Delta tables."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl

from tradewind.errors import DataError, did_you_mean
from tradewind.market.bars import ACTION_SCHEMA, BAR_SCHEMA, TIMEFRAMES
from tradewind.market.instruments import INSTRUMENT_SCHEMA, Instruments
from tradewind.market.store.lock import writer_lock
from tradewind.market.store.table import Appended, Table, TableSpec

_TICK: Final = timedelta(microseconds=1)
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PRICES: Final = ("open", "high", "low", "close", "volume")

BARS: Final = TableSpec(
    name="bars",
    schema=BAR_SCHEMA,
    key=("instrument", "timeframe", "time", "source"),
    values=(*_PRICES, "adjustment"),
    partition=("timeframe", "year"),
    order=("instrument", "time"),
)
ACTIONS: Final = TableSpec(
    name="actions",
    schema=ACTION_SCHEMA,
    key=("instrument", "kind", "time", "source"),
    values=("value", "detail"),
    partition=("year",),
    order=("instrument", "time", "kind"),
)
INSTRUMENTS: Final = TableSpec(
    name="instruments",
    schema=INSTRUMENT_SCHEMA,
    key=("instrument", "symbol", "time", "kind"),
    values=("into",),
    partition=(),
    order=("instrument", "time"),
)


@dataclass(frozen=True, slots=True)
class Pin:
    """What a run saw of the lake: reads given it never change, whatever is stored later.

    Attributes
    ----------
    versions
        Delta version of each table that held something.
    recorded_at
        Nothing recorded later is visible.
    digest
        Hash of the names of all files visible (they are written once, under unique names).
    """

    versions: Mapping[str, int]
    recorded_at: datetime
    digest: str

    def to_dict(self) -> dict[str, Any]:
        """Return the pin for a manifest."""
        moment = self.recorded_at.isoformat()
        return {"versions": dict(self.versions), "recorded_at": moment, "digest": self.digest}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Pin:
        """Read a pin from a manifest."""
        moment = datetime.fromisoformat(stored["recorded_at"])
        return cls(dict(stored["versions"]), moment, stored["digest"])


@dataclass(frozen=True, slots=True)
class _Query:
    """What part of a table is asked for, and as seen when; see :meth:`Lake.read_bars`."""

    start: datetime | None
    end: datetime | None
    source: str | None
    as_of: datetime | None
    recorded_until: datetime | None
    pin: Pin | None
    columns: Sequence[str] | None = None
    ordered: bool = True


@dataclass(frozen=True, slots=True)
class Stored:
    """What one append to the lake did, by table."""

    bars: Appended = field(default_factory=Appended)
    actions: Appended = field(default_factory=Appended)


@dataclass
class Lake:
    """The bars, actions and instruments below one folder.

    Any number of processes may read while one writes. Nothing is overwritten: a correction is a later row.

    Parameters
    ----------
    root
        Folder of the tables; created on the first append.
    patience_seconds
        How long to wait for another writer before giving up with ``RetryError``.
    """

    root: Path
    patience_seconds: float = 30.0
    _tables: dict[str, Table] = field(default_factory=dict, repr=False)
    _guard: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _depth: int = field(default=0, repr=False)
    _stamped: tuple[dict[str, int | None], datetime | None] = field(default=({}, None), repr=False)

    def __post_init__(self) -> None:
        """Know the tables of the market; others are added by :meth:`table`."""
        from tradewind.market.macro import MACRO  # these two say what they store themselves, and store it here
        from tradewind.market.news import NEWS

        for spec in (BARS, ACTIONS, INSTRUMENTS, MACRO, NEWS):
            self.table(spec)

    def table(self, spec: TableSpec) -> Table:
        """Return the table of a spec, so that later rooms can keep news, macro series and the like here."""
        return self._tables.setdefault(spec.name, Table(self.root, spec))

    # -- reading ---------------------------------------------------------------------------------------------

    def read_bars(
        self,
        symbols: Iterable[str] | None,
        timeframe: str,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        instruments: Iterable[str] | None = None,
        source: str | None = None,
        as_of: datetime | None = None,
        recorded_until: datetime | None = None,
        pin: Pin | None = None,
        columns: Sequence[str] | None = None,
        ordered: bool = True,
    ) -> pl.DataFrame:
        """Return bars, the latest version of each that was known and recorded by then.

        Parameters
        ----------
        symbols
            Symbols as of ``end`` (all instruments when both this and ``instruments`` are None).
        start, end
            Bars with ``start <= time <= end`` (closes, UTC).
        instruments
            Stable ids, besides or instead of symbols.
        source
            Only bars of this source; from all sources, the latest known, when None.
        as_of
            Only what the world could know then (``known_at <= as_of``).
        recorded_until, pin
            Only what this store knew then; a pin also fixes the Delta versions.
        columns
            Columns of ``BAR_SCHEMA`` wanted; all when None.
        ordered
            Sort by instrument and time.
        """
        _check_timeframe(timeframe)
        query = _Query(start, end, source, as_of, recorded_until, pin, columns, ordered)
        return self._read(BARS, query, symbols, instruments, pl.col("timeframe") == timeframe)

    def read_actions(
        self,
        symbols: Iterable[str] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        instruments: Iterable[str] | None = None,
        source: str | None = None,
        as_of: datetime | None = None,
        recorded_until: datetime | None = None,
        pin: Pin | None = None,
    ) -> pl.DataFrame:
        """Return corporate actions, the latest version of each; parameters as :meth:`read_bars`."""
        query = _Query(start, end, source, as_of, recorded_until, pin)
        return self._read(ACTIONS, query, symbols, instruments)

    def versions_of_bars(
        self, symbols: Iterable[str], timeframe: str, *, source: str | None = None, pin: Pin | None = None
    ) -> pl.DataFrame:
        """Return every version of the bars of some symbols (for series aligned as known at each moment)."""
        known = self.instruments(pin=pin)
        filters = [pl.col("timeframe") == timeframe, *_of_source(source)]
        filters.append(_of_instruments(known, self._ids(known, symbols, None, None)))
        version, until = self._visible(BARS, pin, None)
        rows = self._tables["bars"].versions(*filters, recorded_until=until, version=version)
        return _canonical(rows, known)

    def instruments(self, *, recorded_until: datetime | None = None, pin: Pin | None = None) -> Instruments:
        """Return the names of all instruments, as this store knew them."""
        version, until = self._visible(INSTRUMENTS, pin, recorded_until)
        if pin is not None and version is None:
            return Instruments()
        return Instruments.from_frame(
            self._tables["instruments"].read(recorded_until=until, version=version, ordered=False)
        )

    def pin(self) -> Pin:
        """Return what a run that starts now sees, for ever."""
        versions = {n: v for n, t in sorted(self._tables.items()) if (v := t.version()) is not None}
        recorded = [m for n in versions if (m := self._tables[n].last_recorded()) is not None]
        names = [f"{n}/{p.name}" for n, v in versions.items() for p in self._tables[n].files(v)]
        digest = hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()
        return Pin(versions, max(recorded, default=_NEVER), digest)

    def coverage(self, *, source: str | None = None) -> pl.DataFrame:
        """Return symbol, first and last bar, bars, corrections, marks by source, timeframe and instrument."""
        rows = self._tables["bars"].versions(
            *_of_source(source),
            columns=["source", "timeframe", "instrument", "symbol", "time", "revision", "marks", "vintage"],
        )
        groups = _canonical(rows, self.instruments()).group_by("source", "timeframe", "instrument")
        return groups.agg(
            pl.col("symbol").sort_by("time").last(),
            pl.col("time").min().alias("first"),
            pl.col("time").max().alias("last"),
            (pl.col("revision") == 0).sum().alias("bars"),
            (pl.col("revision") > 0).sum().alias("corrections"),
            (pl.col("marks") != "").sum().alias("marked"),
            (pl.col("vintage") == "assumed").mean().alias("share_assumed"),
        ).sort("source", "timeframe", "instrument")

    def identity(self) -> str:
        """Return the id of this lake, created where it is not there yet: a lake built anew has another."""
        if not self._tables["bars"].exists():
            with self.writing():
                self._tables["bars"].create()
        return self._tables["bars"].identity()

    def table_versions(self, name: str) -> pl.DataFrame:
        """Return every row of a table as stored: every version of every fact, in no order."""
        return self._tables[name].versions()

    def table_files(self) -> list[Path]:
        """Return every data file that is part of the newest state, sorted."""
        return sorted(path for table in self._tables.values() for path in table.files())

    def check(self) -> list[str]:
        """Return everything that is wrong with the lake's files and rows; empty when all is well."""
        return [problem for _, table in sorted(self._tables.items()) for problem in table.problems()]

    # -- writing ---------------------------------------------------------------------------------------------

    def append(self, bars: pl.DataFrame, actions: pl.DataFrame | None = None, *, recorded_at: datetime) -> Stored:
        """Store the bars and actions that say something new.

        Parameters
        ----------
        bars, actions
            Long frames with the columns of ``BAR_SCHEMA`` and ``ACTION_SCHEMA``; ``recorded_at`` is set here.
            Rows equal to the latest stored version are not stored again.
        recorded_at
            The moment this store learns them. Where something was recorded at or after it (a clock that
            stands still), the next microsecond is used, so that a pin never sees what came after it.

        Raises
        ------
        RetryError
            Another process is writing, or the disk is full. Each table's rows are stored all or not at all,
            actions first, so that no reader sees the bars of a split without the split.
        """
        with self.writing():
            stamp = self._stamp(recorded_at)
            done = Stored(actions=self._append(ACTIONS, actions, stamp), bars=self._append(BARS, bars, stamp))
            self._remember(stamp)
        return done

    def store(self, spec: TableSpec, rows: pl.DataFrame, *, recorded_at: datetime) -> Appended:
        """Store the rows of another table that say something new; as :meth:`append`."""
        with self.writing():
            stamp = self._stamp(recorded_at)
            done = self._append(spec, rows, stamp)
            self._remember(stamp)
        return done

    def store_instruments(self, known: Instruments, *, recorded_at: datetime) -> None:
        """Store what ``known`` learnt since it was read."""
        if not known.pending:
            return
        with self.writing():
            stamp = self._stamp(recorded_at)
            self._append(INSTRUMENTS, known.rows(recorded_at=stamp), stamp)
            self._remember(stamp)
        known.pending.clear()

    def compact(self) -> None:
        """Merge the small files of every table; what they replace stays for pinned runs (see `prune`)."""
        with self.writing():
            for table in self._tables.values():
                table.compact()

    def prune(self, pins: Iterable[Pin], *, older_than: timedelta = timedelta(days=7)) -> int:
        """Delete what compaction replaced, unless a pin or a recent reader may need it; return a count.

        No row is lost by this: every row of a replaced file is in the file that replaced it.
        """
        kept = list(pins)
        with self.writing():
            return sum(
                table.prune([p.versions[name] for p in kept if name in p.versions], older_than)
                for name, table in self._tables.items()
            )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the writer's lock of this lake (again, where this thread holds it already)."""
        with self._guard:
            if self._depth:
                yield
                return
            with writer_lock(self.root / "writer.lock", patience_seconds=self.patience_seconds):
                self._depth += 1
                try:
                    yield
                finally:
                    self._depth -= 1

    # -- parts -----------------------------------------------------------------------------------------------

    def _read(
        self,
        spec: TableSpec,
        query: _Query,
        symbols: Iterable[str] | None,
        instruments: Iterable[str] | None,
        *filters: pl.Expr,
    ) -> pl.DataFrame:
        version, until = self._visible(spec, query.pin, query.recorded_until)
        wanted = list(query.columns) if query.columns is not None else list(spec.schema)
        if query.pin is not None and version is None:
            return spec.empty().select(wanted)
        known = self.instruments(recorded_until=query.recorded_until, pin=query.pin)
        conditions = [*filters, *_of_source(query.source)]
        if symbols is not None or instruments is not None:
            conditions.append(_of_instruments(known, self._ids(known, symbols or (), instruments, query.end)))
        table = self._tables[spec.name]
        told_twice = bool(known.merges) or (query.source is None and not table.holds_one("source", version))
        rows = table.read(
            *conditions,
            columns=[*dict.fromkeys([*wanted, *spec.key, "known_at", "recorded_at"])] if told_twice else wanted,
            start=query.start,
            end=query.end,
            as_of=query.as_of,
            recorded_until=until,
            version=version,
            ordered=query.ordered and not told_twice,
        )
        if not told_twice:
            return rows
        one = _one_version(_canonical(rows, known), [k for k in spec.key if k != "source"])
        return (one.sort(spec.order) if query.ordered else one).select(wanted)

    def _ids(
        self,
        known: Instruments,
        symbols: Iterable[str],
        instruments: Iterable[str] | None,
        at: datetime | None,
    ) -> list[str]:
        moment = at or datetime.max.replace(tzinfo=UTC)
        named = (known.id_of(symbol, moment) for symbol in symbols)
        return [*(i for i in named if i is not None), *(known.canonical(i) for i in instruments or ())]

    def _visible(
        self, spec: TableSpec, pin: Pin | None, recorded_until: datetime | None
    ) -> tuple[int | None, datetime | None]:
        if pin is None:
            return None, recorded_until
        until = pin.recorded_at if recorded_until is None else min(pin.recorded_at, recorded_until)
        version = pin.versions.get(spec.name)
        newest = self._tables[spec.name].version()
        if version is not None and (newest is None or version > newest):
            raise DataError(
                f"the run saw version {version} of {self._tables[spec.name].path}, which now has {newest}",
                hint="this is not the lake the run used: point TRADEWIND_HOME at that one or restore it",
            )
        return version, until

    def _append(self, spec: TableSpec, rows: pl.DataFrame | None, stamp: datetime) -> Appended:
        if rows is None or rows.is_empty():
            return Appended()
        return self._tables[spec.name].append(rows, recorded_at=stamp)

    def _stamp(self, recorded_at: datetime) -> datetime:
        last = self._last_stamp()
        return recorded_at if last is None or recorded_at > last else last + _TICK

    def _last_stamp(self) -> datetime | None:
        versions = {name: table.version() for name, table in self._tables.items()}
        if versions != self._stamped[0]:
            recorded = (table.last_recorded() for table in self._tables.values())
            self._stamped = versions, max((m for m in recorded if m is not None), default=None)
        return self._stamped[1]

    def _remember(self, stamp: datetime) -> None:
        self._stamped = {name: table.version() for name, table in self._tables.items()}, stamp


def _check_timeframe(timeframe: str) -> None:
    if timeframe not in TIMEFRAMES:
        raise did_you_mean("timeframe", timeframe, TIMEFRAMES)


def _of_source(source: str | None) -> list[pl.Expr]:
    return [] if source is None else [pl.col("source") == source]


def _of_instruments(known: Instruments, ids: list[str]) -> pl.Expr:
    wanted = sorted({alias for i in ids for alias in known.aliases(i)})
    return pl.col("instrument").is_in(wanted)


def _canonical(rows: pl.DataFrame, known: Instruments) -> pl.DataFrame:
    merged = {m: known.canonical(m) for m in known.merges}
    return rows.with_columns(pl.col("instrument").replace(merged)) if merged else rows


def _one_version(rows: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """Where several sources or merged ids tell of one fact, keep what was known last."""
    return rows.sort("known_at", "recorded_at").unique(subset=key, keep="last", maintain_order=True)

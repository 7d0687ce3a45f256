"""One append-only, bitemporal Delta table: every row is one version of one fact, and nothing is rewritten.

A *fact* is what the key names (one bar of one instrument by one source); a *version* is one row of it, valid
from ``known_at`` and learnt at ``recorded_at``. ``revision`` counts the versions of a fact from 0, so that a
read that meets no revision above 0 has nothing to resolve.
"""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import polars as pl
from deltalake import (
    CommitProperties,
    DeltaTable,
    PostCommitHookProperties,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import DeltaError

from tradewind.errors import DataError, InputError
from tradewind.market.bars import UTC_TIME, Schema
from tradewind.market.store.durable import flush_to_disk
from tradewind.market.store.failures import explain

_Years = tuple[int | None, int | None]
_TICK: Final = timedelta(microseconds=1)
#: File statistics may hold only the beginning of a longer text.
_CERTAIN_LENGTH: Final = 32
_REMEDY: Final = (
    "nothing was deleted; bring the file back from a backup (`tradewind restore FILE --replace`), or move this "
    "source's folder of the lake aside and run `tradewind sync` again"
)
_REVISION: Final[Schema] = {"revision": pl.Int32}

#: Old log entries are what makes a pinned version readable: they are kept for ever.
_CONFIGURATION: Final = {
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
    "delta.enableExpiredLogCleanup": "false",
}
_HOOKS: Final = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)
_WRITER: Final = WriterProperties(compression="ZSTD", compression_level=1)


@dataclass(frozen=True)
class TableSpec:
    """What one table of the lake holds.

    Attributes
    ----------
    schema
        Column types of the long form, including ``known_at`` and ``recorded_at`` (UTC, microseconds).
    key
        Columns that name the fact; never null.
    values
        Columns whose change makes a new version.
    partition
        Columns of the folders on disk; ``year`` (of ``time``) is derived where it is not in the schema.
    order
        Sort order of reads and of the rows inside each file.
    """

    name: str
    schema: Schema
    key: tuple[str, ...]
    values: tuple[str, ...]
    partition: tuple[str, ...] = ("year",)
    order: tuple[str, ...] = ()

    def empty(self) -> pl.DataFrame:
        """Return a frame of this shape without rows."""
        return pl.DataFrame(schema=dict(self.schema))


@dataclass(frozen=True, slots=True)
class Appended:
    """What one append did: rows that were new, that corrected stored ones, and that were known already."""

    added: int = 0
    corrected: int = 0
    unchanged: int = 0

    def __add__(self, other: Appended) -> Appended:
        """Return the sum of two appends."""
        return Appended(self.added + other.added, self.corrected + other.corrected, self.unchanged + other.unchanged)


class _Located(DeltaTable):
    """A table whose files are named as this machine names them.

    Delta spells a folder ``a b`` as ``a%20b``, and polars takes that for a path.
    """

    def file_uris(self, *filters: Any, **named: Any) -> list[str]:
        return [unquote(uri) for uri in super().file_uris(*filters, **named)]


@dataclass
class Table:
    """A bitemporal Delta table in the folder ``root/spec.name``; the lake holds the lock of its writer."""

    root: Path
    spec: TableSpec
    _open: DeltaTable | None = field(default=None, repr=False)

    @property
    def path(self) -> Path:
        """Folder of the table."""
        return self.root / self.spec.name

    @property
    def _url(self) -> str:
        """Folder of the table as Delta takes it; ``InputError`` for a name with which it cannot be read."""
        path = self.path.absolute()
        if unquote(str(path)) != str(path) or set("[]=") & set(str(path)):
            raise InputError(
                f"no lake can be kept in {path}: the name of a folder has [, ], =, or % before two hexadecimal digits",
                hint="rename that folder, or set TRADEWIND_HOME to another",
            )
        return path.as_uri()

    def exists(self) -> bool:
        """Return whether anything was ever stored."""
        return (self.path / "_delta_log").is_dir() and any((self.path / "_delta_log").glob("*.json"))

    def version(self) -> int | None:
        """Return the newest Delta version; None where nothing was ever stored."""
        return self._delta().version() if self.exists() else None

    def create(self) -> None:
        """Create the table without rows, unless it exists."""
        if not self.exists():
            self._write(self.spec.empty().with_columns(pl.lit(0, dtype=pl.Int32).alias("revision")))

    def identity(self) -> str:
        """Return the id given to this table when it was created, ``""`` before that."""
        return str(self._delta().metadata().id) if self.exists() else ""

    def holds_one(self, column: str, version: int | None = None) -> bool:
        """Return whether every row certainly has the same text in a column (False where that is not known)."""
        if not self.exists():
            return True
        statistics = pl.DataFrame(self._delta(version).get_add_actions(flatten=True))
        if f"min.{column}" not in statistics.columns:
            return statistics.is_empty()
        ends = statistics.select(pl.concat([pl.col(f"min.{column}"), pl.col(f"max.{column}")])).to_series().unique()
        return len(ends) == 1 and ends[0] is not None and len(ends[0]) < _CERTAIN_LENGTH

    def files(self, version: int | None = None) -> list[Path]:
        """Return the data files of a version (default: newest), sorted."""
        if not self.exists():
            return []
        return sorted(self.path / name for name in self._sizes(self._delta(version)))

    def read(
        self,
        *filters: pl.Expr,
        columns: Sequence[str] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        as_of: datetime | None = None,
        recorded_until: datetime | None = None,
        version: int | None = None,
        ordered: bool = True,
    ) -> pl.DataFrame:
        """Return the latest visible version of each fact.

        Parameters
        ----------
        filters
            Row filters on key columns (they are applied before versions are resolved).
        columns
            Columns wanted; all of the schema when None.
        start, end
            Rows with ``start <= time <= end``.
        as_of, recorded_until
            Only versions with ``known_at <= as_of`` and ``recorded_at <= recorded_until`` are visible.
        version
            Delta version to read; the newest when None.
        ordered
            Sort the result by the table's order.

        Raises
        ------
        DataError
            When a file of the table is missing, truncated or corrupt; it is named and nothing is deleted.
        """
        wanted = list(columns) if columns is not None else list(self.spec.schema)
        order = list(self.spec.order) if ordered else []
        kept = list(dict.fromkeys([*wanted, *order]))
        needed = list(dict.fromkeys([*kept, *self.spec.key, "known_at", "recorded_at", "revision"]))
        visible = self.versions(
            *filters,
            columns=needed,
            start=start,
            end=end,
            as_of=as_of,
            recorded_until=recorded_until,
            version=version,
        )
        latest = _latest(visible, self.spec, kept)
        return (latest.sort(order) if order else latest).select(wanted)

    def versions(
        self,
        *filters: pl.Expr,
        columns: Sequence[str] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        as_of: datetime | None = None,
        recorded_until: datetime | None = None,
        version: int | None = None,
    ) -> pl.DataFrame:
        """Return every visible version of every fact, ``revision`` included, in no order."""
        wanted = list(columns) if columns is not None else [*self.spec.schema, "revision"]
        if not self.exists():
            return pl.DataFrame(schema={**self.spec.schema, **_REVISION}).select(wanted)
        conditions = [*filters]
        if as_of is not None:
            conditions.append(pl.col("known_at") <= pl.lit(as_of, dtype=UTC_TIME))
        if recorded_until is not None:
            conditions.append(pl.col("recorded_at") <= pl.lit(recorded_until, dtype=UTC_TIME))
        return self._scan(conditions, wanted, start, end, version)

    def last_recorded(self) -> datetime | None:
        """Return the latest ``recorded_at`` stored; None where nothing is."""
        if not self.exists():
            return None
        frame = self._collect(self._lazy(None).select(pl.col("recorded_at").max()), None, (None, None))
        value: datetime | None = frame.item()
        return value

    def append(self, rows: pl.DataFrame, *, recorded_at: datetime) -> Appended:
        """Store the rows that say something new, in one atomic commit.

        Parameters
        ----------
        rows
            Frame with the schema's columns; ``recorded_at`` is set here. ``known_at`` of a row that corrects
            a stored one becomes at least ``recorded_at``, and its vintage ``observed``: it was witnessed.
        recorded_at
            The moment this store learns the rows, UTC; must not lie before the last one stored.

        Raises
        ------
        DataError
            When a key column is null, or one fact comes twice with different values.
        RetryError
            When the disk is full; nothing of this append is visible then.
        """
        incoming = self._prepare(rows, recorded_at)
        if incoming.is_empty():
            return Appended()
        fresh, corrections = self._news(incoming, recorded_at)
        news = pl.concat([fresh, corrections])
        if not news.is_empty():
            self._write(news)
        return Appended(fresh.height, corrections.height, incoming.height - news.height)

    def compact(self) -> None:
        """Merge small files, sorted by instrument; the files they replace stay for pinned reads."""
        if not self.exists():
            return
        try:
            self._delta().optimize.compact(writer_properties=_WRITER, post_commithook_properties=_HOOKS)
        except (DeltaError, OSError) as failure:
            raise self._reading_failed(failure, None) from failure
        self._make_durable()

    def prune(self, keep: Sequence[int], older_than: timedelta) -> int:
        """Delete files that were replaced before ``older_than`` ago and that no version in ``keep`` needs."""
        if not self.exists():
            return 0
        deleted = self._delta().vacuum(
            retention_hours=int(older_than.total_seconds() // 3600),
            dry_run=False,
            enforce_retention_duration=False,
            keep_versions=sorted(set(keep)),
        )
        return len(deleted)

    def problems(self) -> list[str]:
        """Return what is wrong with the table's files and rows; empty when all is well."""
        if not self.exists():
            return []
        found = self._file_problems(None)
        return found or self._row_problems()

    # -- reading ---------------------------------------------------------------------------------------------

    def _delta(self, version: int | None = None) -> DeltaTable:
        try:
            if version is not None:
                return _Located(self._url, version=version)
            if self._open is None:
                self._open = _Located(self._url)
            self._open.update_incremental()
            return self._open
        except (DeltaError, OSError, ValueError) as failure:
            self._open = None
            raise self._log_failed(failure) from failure

    def _lazy(self, version: int | None) -> pl.LazyFrame:
        return pl.scan_delta(self._delta(version))

    def _scan(
        self,
        conditions: list[pl.Expr],
        wanted: Sequence[str],
        start: datetime | None,
        end: datetime | None,
        version: int | None,
    ) -> pl.DataFrame:
        years = _year(start), _year(end)
        lazy = self._lazy(version).filter(True, *conditions, *_period(start, end))
        if "year" in self.spec.partition:
            lazy = lazy.filter(True, *_between("year", *years))
        return self._collect(lazy.select(wanted), version, years)

    def _collect(self, lazy: pl.LazyFrame, version: int | None, years: _Years) -> pl.DataFrame:
        altered = self._altered_files(version, years)
        if altered:
            raise _unreadable(altered)
        try:
            return lazy.collect()
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as failure:
            raise self._reading_failed(failure, version) from failure

    def _reading_failed(self, failure: BaseException, version: int | None) -> Exception:
        explained = explain(failure, self.path)
        if explained is not None:
            return explained
        return _unreadable(self._file_problems(version) or [f"table {self.path} cannot be read: {failure}"])

    def _altered_files(self, version: int | None, years: _Years) -> list[str]:
        """Name the files whose size is not what the log says: reading those may end the process."""
        sizes = self._sizes(self._delta(version), years)
        found = (_size_problem(self.path / name, size) for name, size in sizes.items())
        return [problem for problem in found if problem]

    def _log_failed(self, failure: Exception) -> Exception:
        explained = explain(failure, self.path)
        if explained is not None:
            return explained
        broken = _broken_log(self.path / "_delta_log")
        what = f"the log of table {self.path} cannot be read: {broken or failure}"
        return DataError(what, hint=_REMEDY)

    def _sizes(self, table: DeltaTable, years: _Years = (None, None)) -> dict[str, int]:
        """Return the size of every data file, in bytes, by its path below the table."""
        actions = pl.DataFrame(table.get_add_actions(flatten=True))
        if "year" in self.spec.partition and not actions.is_empty():
            actions = actions.filter(True, *_between("partition.year", *years))
        return dict(zip(actions["path"].to_list(), actions["size_bytes"].to_list(), strict=True))

    def _file_problems(self, version: int | None) -> list[str]:
        sizes = self._sizes(self._delta(version))
        found = (_file_problem(self.path / name, size) for name, size in sorted(sizes.items()))
        return [problem for problem in found if problem]

    def _row_problems(self) -> list[str]:
        rows = self.versions(columns=[*self.spec.key, "known_at", "revision"])
        counted = rows.group_by([*self.spec.key, "revision"]).len().filter(pl.col("len") > 1)
        found = [f"table {self.path}: {counted.height} facts are stored twice"] if counted.height else []
        nulls = rows.select(pl.any_horizontal(pl.col(c).is_null() for c in self.spec.key).sum()).item()
        return found + ([f"table {self.path}: {nulls} rows lack a part of their key"] if nulls else [])

    # -- writing ---------------------------------------------------------------------------------------------

    def _prepare(self, rows: pl.DataFrame, recorded_at: datetime) -> pl.DataFrame:
        stamped = rows.with_columns(recorded_at=pl.lit(recorded_at, dtype=UTC_TIME))
        missing = [name for name in self.spec.schema if name not in stamped.columns]
        if missing:
            raise DataError(f"rows for table {self.spec.name!r} lack the columns {', '.join(missing)}")
        typed = stamped.select(pl.col(name).cast(kind) for name, kind in self.spec.schema.items())
        nulls = [name for name in (*self.spec.key, "known_at") if typed[name].null_count()]
        if nulls:
            raise DataError(f"rows for table {self.spec.name!r} have no value in {', '.join(nulls)}")
        return self._without_repeats(typed)

    def _without_repeats(self, rows: pl.DataFrame) -> pl.DataFrame:
        once = rows.unique(subset=[*self.spec.key, *self.spec.values], maintain_order=True)
        contradictory = once.filter(pl.struct(self.spec.key).is_duplicated())
        if contradictory.height:
            first = contradictory.select(self.spec.key).row(0, named=True)
            raise DataError(
                f"rows for table {self.spec.name!r} give one fact two values: {first}",
                hint="drop or mark the repeated row before storing",
            )
        return once

    def _news(self, rows: pl.DataFrame, recorded_at: datetime) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Split off what is not stored yet: new facts, and corrections of stored ones."""
        stored = self._stored_for(rows)
        if stored.is_empty():
            return rows.with_columns(pl.lit(0, dtype=pl.Int32).alias("revision")), rows.clear().with_columns(
                pl.lit(0, dtype=pl.Int32).alias("revision")
            )
        joined = rows.join(stored, on=list(self.spec.key), how="left", suffix="_stored", maintain_order="left")
        known = pl.col("revision").is_not_null()
        same = pl.all_horizontal(pl.col(v).eq_missing(pl.col(f"{v}_stored")) for v in self.spec.values)
        columns = [*self.spec.schema, "revision"]
        fresh = joined.filter(~known).with_columns(pl.lit(0, dtype=pl.Int32).alias("revision"))
        changed = joined.filter(known & ~same).with_columns(_as_correction(self.spec, recorded_at))
        return fresh.select(columns), changed.select(columns)

    def _stored_for(self, rows: pl.DataFrame) -> pl.DataFrame:
        columns = [*self.spec.key, *self.spec.values, "known_at", "recorded_at", "revision"]
        if not self.exists():
            return pl.DataFrame(schema={**self.spec.schema, **_REVISION}).select(columns).drop("recorded_at")
        narrow = [
            pl.col(name).is_in(rows[name].unique().implode())
            for name in self.spec.key
            if self.spec.schema[name] == pl.String
        ]
        first, last = rows.select(pl.col("time").min(), pl.col("time").max().alias("last")).row(0)
        found = self._scan(narrow, columns, first, last, None)
        return _latest(found, self.spec, [name for name in columns if name != "recorded_at"])

    def _write(self, rows: pl.DataFrame) -> None:
        frame = rows.sort(self.spec.order) if self.spec.order else rows
        if "year" in self.spec.partition and "year" not in frame.columns:
            frame = frame.with_columns(pl.col("time").dt.year().alias("year"))
        try:
            write_deltalake(
                self._url,
                frame,
                mode="append",
                partition_by=list(self.spec.partition) or None,
                configuration=dict(_CONFIGURATION),
                writer_properties=_WRITER,
                post_commithook_properties=_HOOKS,
                commit_properties=CommitProperties(max_commit_retries=20),
            )
        except (DeltaError, OSError) as failure:
            explained = explain(failure, self.path)
            if explained is None:
                raise
            raise explained from failure
        self._make_durable()

    def _make_durable(self) -> None:
        """Force the newest commit to the disk, so that nothing is called done before it is."""
        version = self._delta().version()
        log = self.path / "_delta_log" / f"{version:020d}.json"
        folders = {log.parent}
        for name in _added_by(log):
            flush_to_disk(self.path / name)
            folders.add((self.path / name).parent)
        flush_to_disk(log)
        for folder in folders:
            flush_to_disk(folder)


def _latest(rows: pl.DataFrame, spec: TableSpec, columns: list[str]) -> pl.DataFrame:
    """Keep the latest version of each fact, in no order. Facts without a revision need no work."""
    revised = rows.filter(pl.col("revision") > 0)
    if revised.is_empty():
        return rows.select(columns)
    touched = _hashed(rows, spec).is_in(_hashed(revised, spec).implode())
    ordered = rows.filter(touched).sort("known_at", "recorded_at", "revision")
    latest = ordered.unique(subset=list(spec.key), keep="last", maintain_order=True)
    return pl.concat([rows.select(columns).filter(~touched), latest.select(columns)])


def _hashed(rows: pl.DataFrame, spec: TableSpec) -> pl.Series:
    """Return a number for each row's fact; that two facts share one costs time and nothing else."""
    names = [name for name in spec.key if name in spec.order] or spec.key
    numbers = (pl.col(name).hash(seed) for seed, name in enumerate(names))
    return rows.select(functools.reduce(operator.xor, numbers)).to_series()


def _as_correction(spec: TableSpec, recorded_at: datetime) -> list[pl.Expr]:
    """Stamp a correction: known from the moment it was witnessed, and always after what it corrects."""
    moment = pl.lit(recorded_at, dtype=UTC_TIME)
    columns = [
        pl.max_horizontal(moment, pl.col("known_at"), pl.col("known_at_stored") + _TICK).alias("known_at"),
        (pl.col("revision") + 1).cast(pl.Int32).alias("revision"),
    ]
    return [*columns, pl.lit("observed").alias("vintage")] if "vintage" in spec.schema else columns


def _size_problem(path: Path, size: int) -> str:
    try:
        actual = path.stat().st_size
    except FileNotFoundError:
        return f"lake file {path} is missing"
    return "" if actual == size else f"lake file {path} is truncated or altered: {actual} bytes, {size} were written"


def _file_problem(path: Path, size: int) -> str:
    problem = _size_problem(path, size)
    if problem:
        return problem
    try:
        pl.read_parquet(path, hive_partitioning=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as failure:
        return f"lake file {path} is corrupt: {failure}"
    return ""


def _unreadable(problems: Sequence[str]) -> DataError:
    more = f" (and {len(problems) - 3} more files)" if len(problems) > 3 else ""
    return DataError(
        "; ".join(problems[:3]) + more,
        hint=_REMEDY,
    )


def _year(moment: datetime | None) -> int | None:
    return None if moment is None else moment.astimezone(UTC).year


def _period(start: datetime | None, end: datetime | None) -> list[pl.Expr]:
    literals = (None if m is None else pl.lit(m, dtype=UTC_TIME) for m in (start, end))
    return _between("time", *literals)


def _between(column: str, low: Any, high: Any) -> list[pl.Expr]:
    above = [] if low is None else [pl.col(column) >= low]
    return above if high is None else [*above, pl.col(column) <= high]


def _broken_log(folder: Path) -> str:
    for path in sorted(folder.glob("*.json")):
        try:
            for line in path.read_text(encoding="utf-8").splitlines():
                json.loads(line)
        except ValueError as failure:
            return f"{path} is corrupt ({failure})"
    return ""


def _added_by(log: Path) -> list[str]:
    from urllib.parse import unquote

    entries: list[dict[str, Any]] = [json.loads(line) for line in log.read_text("utf-8").splitlines() if line]
    return [unquote(entry["add"]["path"]) for entry in entries if "add" in entry]

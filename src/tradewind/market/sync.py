"""From a source into the lake: resumable after any death, idempotent, and honest about what was left out.

What a batch of symbols delivers is stored in one append; only then are its symbols noted as done. Dying before
the note repeats the batch, and rows already stored are recognised: no gap, no double.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from tradewind.clock import Clock
from tradewind.errors import DataError
from tradewind.market.bars import ACTION_SCHEMA, BAR_SCHEMA, SOURCE_ACTION_COLUMNS, SOURCE_BAR_COLUMNS
from tradewind.market.index_members import Refresh
from tradewind.market.instruments import Instruments
from tradewind.market.sources.base import Delivery, Request, Source
from tradewind.market.store.lake import Lake, Stored
from tradewind.market.store.records import Job, Records
from tradewind.market.store.table import Appended

#: Rows gathered before they are stored in one append, and symbols asked for in one request.
BATCH_ROWS: Final = 250_000
BATCH_SYMBOLS: Final = 50

#: How far before its end an interrupted sync is read again, where it is taken up with a later end.
OVERLAP: Final = timedelta(days=7)

#: Why a row is not stored at all.
_NOT_STORED: Final = ("no symbol or time", "repeated row", "contradicts an earlier row of the same bar")

Check = Callable[[pl.DataFrame], pl.DataFrame]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What one sync did.

    Attributes
    ----------
    bars, actions
        Rows added, corrected (stored with another value before) and unchanged.
    excluded
        Rows that were not stored, and stored bars marked as unfit for use, counted by reason.
    without_data
        Symbols for which the source had nothing.
    resumed
        Symbols that an interrupted sync had finished already.
    notes
        What the source had to say.
    members
        What became of reading the members of the universe's index; None where it follows none.
    """

    source: str
    timeframe: str
    symbols: int
    bars: Appended = field(default_factory=Appended)
    actions: Appended = field(default_factory=Appended)
    excluded: dict[str, int] = field(default_factory=dict)
    without_data: tuple[str, ...] = ()
    resumed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    dry_run: bool = False
    members: Refresh | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        members = None if self.members is None else self.members.to_dict()
        return {**asdict(replace(self, members=None)), "members": members}

    def to_text(self) -> str:
        """Return the report for a reader."""
        head = f"{self.source}, {self.timeframe}, {self.symbols} symbols" + " (dry run: nothing stored)" * self.dry_run
        lines = [head, f"  bars     {_counts(self.bars)}", f"  actions  {_counts(self.actions)}"]
        lines += [f"  unfit    {count:,} rows: {reason}" for reason, count in self.excluded.items()]
        if self.members is not None:
            lines.append(f"  members  {self.members.to_text()}")
        if self.without_data:
            lines.append(f"  no data  {_some(self.without_data)}")
        if self.resumed:
            lines.append(f"  {len(self.resumed)} symbols were there from the sync that was interrupted")
        return "\n".join([*lines, *(f"  note     {note}" for note in self.notes)])


def sync(
    lake: Lake,
    records: Records,
    source: Source,
    request: Request,
    *,
    clock: Clock,
    check: Check | None = None,
    progress: Progress | None = None,
    dry_run: bool = False,
    batch_rows: int = BATCH_ROWS,
) -> SyncReport:
    """Bring the lake up to date with a source.

    Parameters
    ----------
    request
        Symbols, timeframe and period wanted.
    check
        Marks bars (``marks`` column); :func:`tradewind.market.quality.mark_rows` when None.
    progress
        Called with symbols done and symbols in all after every batch.
    dry_run
        Fetch and check, store nothing; every row then counts as added.
    batch_rows
        Rows gathered for one append. Smaller loses less work when interrupted, larger makes fewer files.

    Raises
    ------
    RetryError
        The source is down, the lake or the records are locked, or the disk is full: run it again to go on.
    InputError, DataError
        As :meth:`Source.fetch`.
    """
    work = _Sync(lake, records, source, request, clock, check or _quality(), dry_run)
    job = None if dry_run else work.job()
    done = frozenset[str]() if job is None else records.finished_items(job)
    open_symbols = [s for s in dict.fromkeys(request.symbols) if s not in done]
    report = work.blank(tuple(sorted(done & set(request.symbols))))
    finished = len(report.resumed)
    for symbols, delivery in _batches(source, request, open_symbols, batch_rows):
        report = work.store(report, symbols, delivery)
        if job is not None:
            records.note_job(job, report.notes)
            records.finish_items(job, symbols, at=clock.now())
        finished += len(symbols)
        if progress is not None:
            progress(finished, report.symbols)
    if job is not None:
        newer = work.since(job)
        for symbols, delivery in _batches(source, newer, report.resumed, batch_rows) if newer else ():
            report = work.store(report, symbols, delivery, whole=False)
        records.note_job(job, (*report.notes, *left_out(report.excluded)))
        records.finish_job(job, at=clock.now())
    return report


def left_out(excluded: Mapping[str, int]) -> tuple[str, ...]:
    """Say how many rows were not stored at all and why; what is stored and marked is counted when it is read."""
    return tuple(f"{excluded[why]:,} rows left out: {why}" for why in _NOT_STORED if excluded.get(why))


def _counts(done: Appended) -> str:
    return f"{done.added:,} added, {done.corrected:,} corrected, {done.unchanged:,} known already"


def _some(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def source_tag(source: Source) -> str:
    """Return what the lake calls a source: its ``tag`` where it has one, else its name.

    A source whose bars depend on its options (a file's path, a seed) has a ``tag`` that says so, because bars
    under one tag correct each other.
    """
    return str(getattr(source, "tag", source.name))


def source_content(source: Source) -> str:
    """Return the source's ``content``, which changes whenever what it delivers may have; empty where it has none."""
    return str(getattr(source, "content", ""))


@dataclass(frozen=True)
class _Sync:
    lake: Lake
    records: Records
    source: Source
    request: Request
    clock: Clock
    check: Check
    dry_run: bool

    def job(self) -> Job:
        """Return the job of this request on this lake; one that died before is taken up again."""
        asked: dict[str, Any] = {
            "source": source_tag(self.source),
            "timeframe": self.request.timeframe,
            "start": self.request.start.isoformat(),
            "symbols": sorted(set(self.request.symbols)),
            "lake": self.lake.identity(),
            "content": source_content(self.source),
        }
        key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        detail = {**asked, "symbols": len(asked["symbols"]), "end": self.request.end.isoformat()}
        return self.records.resume_job("sync", key, started=self.clock.now(), detail=detail)

    def since(self, job: Job) -> Request | None:
        """Return the request for what an interrupted sync cannot have, which may have ended earlier."""
        ended = datetime.fromisoformat(job.detail["end"])
        if self.request.end <= ended:
            return None
        return replace(self.request, start=max(self.request.start, ended - OVERLAP))

    def blank(self, resumed: tuple[str, ...]) -> SyncReport:
        return SyncReport(
            source=source_tag(self.source),
            timeframe=self.request.timeframe,
            symbols=len(set(self.request.symbols)),
            resumed=resumed,
            dry_run=self.dry_run,
        )

    def store(
        self, report: SyncReport, symbols: Sequence[str], delivery: Delivery, *, whole: bool = True
    ) -> SyncReport:
        """Store a delivery and add what came of it to the report; ``whole``: it is all there is of its symbols."""
        bars, reasons = _fit_to_store(delivery.bars, SOURCE_BAR_COLUMNS, ("symbol", "time"))
        actions, action_reasons = _fit_to_store(
            _merged(delivery.actions), SOURCE_ACTION_COLUMNS, ("symbol", "time", "kind")
        )
        bars = self.check(bars)
        stored = self._append(bars, actions)
        excluded = Counter(report.excluded) + reasons + action_reasons + _exclusions(bars)
        absent = set(symbols) - set(bars["symbol"].unique().to_list()) if whole else set[str]()
        return replace(
            report,
            bars=report.bars + stored.bars,
            actions=report.actions + stored.actions,
            excluded=dict(sorted(excluded.items())),
            without_data=tuple(sorted({*report.without_data, *absent})),
            notes=(*report.notes, *delivery.notes),
        )

    def _append(self, bars: pl.DataFrame, actions: pl.DataFrame) -> Stored:
        if self.dry_run:
            return Stored(Appended(added=bars.height), Appended(added=actions.height))
        with self.lake.writing():
            moment = self.clock.now()
            known = self._instruments(bars, actions, moment)
            return self.lake.append(
                self._long(bars, known).select(BAR_SCHEMA.keys()),
                self._long(actions, known).select(ACTION_SCHEMA.keys()),
                recorded_at=moment,
            )

    def _instruments(self, bars: pl.DataFrame, actions: pl.DataFrame, moment: datetime) -> Instruments:
        """Return the instruments with whatever this delivery teaches about them, stored."""
        known = self.lake.instruments()
        tag = source_tag(self.source)
        for row in actions.filter(pl.col("kind") == "rename").sort("time").iter_rows(named=True):
            known.rename(row["symbol"], row["detail"], row["time"], source=tag)
        known.learn([*bars["symbol"].unique(), *actions["symbol"].unique()], source=tag)
        self.lake.store_instruments(known, recorded_at=moment)
        return known

    def _long(self, rows: pl.DataFrame, known: Instruments) -> pl.DataFrame:
        """Add what the store knows: the instrument, and that the known time is assumed."""
        return known.assign(rows).with_columns(
            timeframe=pl.lit(self.request.timeframe),
            known_at=pl.col("time") + self.source.publication_lag,
            recorded_at=pl.lit(None, dtype=BAR_SCHEMA["recorded_at"]),
            source=pl.lit(source_tag(self.source)),
            vintage=pl.lit("assumed"),
        )


def _quality() -> Check:
    from tradewind.market.quality import mark_rows

    return mark_rows


def _batches(
    source: Source, request: Request, symbols: Sequence[str], batch_rows: int
) -> Iterator[tuple[list[str], Delivery]]:
    """Yield groups of symbols with all that the source delivers for them."""
    gathered: list[Delivery] = []
    waiting: list[str] = []
    size = max(1, min(BATCH_SYMBOLS, batch_rows // 2500))
    for at in range(0, len(symbols), size):
        group = symbols[at : at + size]
        waiting += group
        gathered += source.fetch(replace(request, symbols=tuple(group)))
        if sum(d.bars.height for d in gathered) >= batch_rows:
            yield waiting, _joined(gathered)
            gathered, waiting = [], []
    if waiting:
        yield waiting, _joined(gathered)


def _joined(deliveries: Sequence[Delivery]) -> Delivery:
    bars = [d.bars for d in deliveries if not d.bars.is_empty()]
    actions = [d.actions for d in deliveries if not d.actions.is_empty()]
    return Delivery(
        bars=pl.concat(bars, how="vertical_relaxed") if bars else _empty(SOURCE_BAR_COLUMNS, BAR_SCHEMA),
        actions=pl.concat(actions, how="vertical_relaxed") if actions else _empty(SOURCE_ACTION_COLUMNS, ACTION_SCHEMA),
        notes=tuple(note for d in deliveries for note in d.notes),
    )


def _empty(columns: Sequence[str], schema: Any) -> pl.DataFrame:
    return pl.DataFrame(schema={name: schema[name] for name in columns})


def _fit_to_store(rows: pl.DataFrame, columns: Sequence[str], key: Sequence[str]) -> tuple[pl.DataFrame, Counter[str]]:
    """Return the rows that can be stored at all, and how many cannot and why."""
    missing = [name for name in columns if name not in rows.columns]
    if missing:
        raise DataError(f"a delivery lacks the columns {', '.join(missing)}", hint="this is a bug of the source")
    complete = rows.select(columns).drop_nulls(key)
    distinct = complete.unique(maintain_order=True)
    once = distinct.unique(key, keep="first", maintain_order=True)
    counts = (rows.height - complete.height, complete.height - distinct.height, distinct.height - once.height)
    reasons = Counter(dict(zip(_NOT_STORED, counts, strict=True)))
    return once.sort(key), +reasons


def _merged(actions: pl.DataFrame) -> pl.DataFrame:
    """Return one row per instrument, time and kind: dividends of one day add up, splits multiply."""
    if actions.is_empty():
        return actions
    value = (
        pl.when(pl.col("kind").first() == "split")
        .then(pl.col("value").product())
        .when(pl.col("kind").first() == "dividend")
        .then(pl.col("value").sum())
        .otherwise(pl.col("value").first())
    )
    return actions.group_by("symbol", "time", "kind", maintain_order=True).agg(value, pl.col("detail").first())


def _exclusions(bars: pl.DataFrame) -> Counter[str]:
    """Count the reasons why stored bars are marked unfit for use."""
    marks = bars.select(pl.col("marks").str.split(",").explode())["marks"]
    reasons = marks.filter(marks.str.starts_with("excluded:").fill_null(False))
    return Counter(reasons.str.strip_prefix("excluded:").to_list())

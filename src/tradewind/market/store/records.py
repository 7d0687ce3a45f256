"""The records: what was run, predicted, read and fitted, in a database that survives `kill -9`."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, RowMapping

from tradewind.errors import InputError, did_you_mean
from tradewind.market.store import schema
from tradewind.market.store.database import Database

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a verb over a playbook: all that is needed to repeat it.

    ``status`` is ``running``, ``done`` or ``failed``; ``manifest`` holds the pin of the lake under ``"pin"``.
    """

    id: str
    verb: str
    playbook: str
    lineage: str
    playbook_hash: str
    data_version: str
    code_version: str
    started: datetime
    status: str = "running"
    seconds: float | None = None
    seeds: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    result_path: str | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration that was tried on one set of data, counted once however often it is run."""

    lineage: str
    trial_key: str
    run: str
    sharpe: float | None
    returns_path: str | None
    first_seen: datetime


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work that can be interrupted: what it is, and which of its items are done."""

    id: int
    kind: str
    key: str
    status: str
    started: datetime
    finished: datetime | None
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Prediction:
    """One forecast, to be judged when its outcome is known.

    ``time`` is the deciding close; ``quantiles`` map levels ("0.05") to log returns, ``probabilities`` classes
    ("down", "neutral", "up") to theirs; ``outcome`` is the realised value of ``target``, None until resolved.
    ``seat`` and ``model`` say whose it is (a seat of the model registry, and the artefact that sat there); ``regime``
    is the market's at that close and ``scale`` the naive forecast's standard deviation over the horizon: what live
    skill is measured by. None where nobody said.
    """

    run: str
    symbol: str
    time: datetime
    target: str
    horizon_bars: int
    quantiles: Mapping[str, float] = field(default_factory=dict)
    probabilities: Mapping[str, float] = field(default_factory=dict)
    outcome: float | None = None
    resolved_at: datetime | None = None
    seat: str | None = None
    model: str | None = None
    regime: str | None = None
    scale: float | None = None


@dataclass(frozen=True, slots=True)
class SignalRecord:
    """One recommendation as it was given."""

    run: str
    symbol: str
    time: datetime
    action: str
    horizon_bars: int
    confidence: float | None = None
    weight: float | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class IndexSnapshot:
    """The members of an index as they were read once. Never changed, never deleted.

    ``known_at`` is the moment from which they may be used, ``recorded_at`` the moment this store learnt them;
    ``detail`` says where from (provider, the date that it stated).
    """

    index_name: str
    known_at: datetime
    recorded_at: datetime
    members: Sequence[str]
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SectorFitRecord:
    """Sector baselines estimated once. Never changed, never deleted.

    ``lake`` names the bars they rest on, ``as_of`` the last of them; ``sectors`` maps each sector to its numbers,
    which of them were estimated, from how many symbols and what share of the bars.
    """

    lake: str
    as_of: datetime
    recorded_at: datetime
    sectors: Mapping[str, Any]
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A trained model that lies in the home's ``models`` folder. Never deleted; changed only where it was made again.

    ``digest`` is the hash of its card, ``metrics`` are those out of sample, by horizon.
    """

    id: str
    lineage: str
    model: str
    version: str
    made: datetime
    trained_until: datetime
    digest: str
    metrics: Mapping[str, Any] = field(default_factory=dict)
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AliasChange:
    """That from ``at`` on an alias of a seat meant this model (None: nobody); ``why`` is the verb that did it.

    ``lineage`` is the seat's name: the playbook's lineage, or ``LINEAGE/MEMBER`` for a member of its ensemble.
    """

    lineage: str
    alias: str
    model: str | None
    at: datetime
    why: str


@dataclass(frozen=True, slots=True)
class ModelDecision:
    """What was decided about a seat, by whom and why. Never changed, never deleted.

    ``decision`` is ``first``, ``promoted``, ``kept`` or ``rolled_back``; ``champion`` sat there when it was decided,
    ``challenger`` asked for the seat, or was brought back; ``key`` is the same where the same was asked of the same
    bars, and stands once a seat.
    """

    seat: str
    at: datetime
    decision: str
    champion: str | None
    challenger: str | None
    reasons: Sequence[str]
    evidence: Mapping[str, Any]
    by: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class LiveSession:
    """A corridor that runs, or ran, on a clock. Its id is the ``run`` of its forecasts and signals.

    ``mode`` is ``REPLAY``, ``PAPER`` or ``LIVE``; ``stopped`` is None while it runs, and where it died.
    """

    id: str
    playbook: str
    playbook_hash: str
    mode: str
    source: str
    started: datetime
    stopped: datetime | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


def new_run_id(playbook: str, started: datetime) -> str:
    """Return an id that sorts by time and says what was run."""
    return f"{started.astimezone(UTC):%Y%m%dT%H%M%S}-{playbook}-{secrets.token_hex(3)}"


class Records:
    """The records database behind a URL (``sqlite:///…`` or ``postgresql+psycopg://…``).

    Opening it creates or upgrades the schema. Raises as :class:`Database`.
    """

    def __init__(self, url: str, *, patience_seconds: float = 10.0) -> None:
        self.database = Database(url, patience_seconds)

    def close(self) -> None:
        """Close every connection."""
        self.database.close()

    def check(self) -> list[str]:
        """Return what is wrong with the database; empty when all is well."""
        return self.database.problems()

    # -- runs and trials -------------------------------------------------------------------------------------

    def record_run(self, run: Run) -> None:
        """Store a run; one with the same id is brought up to date."""
        self._store_newest(schema.runs, asdict(run))

    def get_run(self, run: str) -> Run:
        """Return a run by its id; ``InputError`` with the nearest ids where there is none."""
        with self.database.reading() as connection:
            found = _one(connection, sa.select(schema.runs).where(schema.runs.c.id == run))
            if found is not None:
                return _as(Run, found)
            known = connection.execute(sa.select(schema.runs.c.id)).scalars().all()
        if not known:
            raise InputError(f"no run {run!r}: nothing was run here yet", hint="run `tradewind backtest sample`")
        raise did_you_mean("run", run, known)

    def latest_run(
        self, *, playbook: str | None = None, verb: str | None = None, status: str | None = "done"
    ) -> Run | None:
        """Return the run that started last, of a playbook, verb and status where given."""
        found = self.runs(playbook=playbook, verb=verb, status=status, limit=1)
        return found[0] if found else None

    def runs(
        self,
        *,
        playbook: str | None = None,
        verb: str | None = None,
        status: str | None = None,
        limit: int | None = None,
    ) -> list[Run]:
        """Return runs, newest first."""
        wanted = {"playbook": playbook, "verb": verb, "status": status}
        query = sa.select(schema.runs).order_by(schema.runs.c.started.desc(), schema.runs.c.id.desc())
        query = query.where(*(schema.runs.c[k] == v for k, v in wanted.items() if v is not None)).limit(limit)
        with self.database.reading() as connection:
            return [_as(Run, row) for row in connection.execute(query).mappings()]

    def pins(self) -> list[Mapping[str, Any]]:
        """Return the pin of every run that has one, for :meth:`Lake.prune`."""
        return [run.manifest["pin"] for run in self.runs() if run.manifest.get("pin")]

    def record_trial(
        self,
        lineage: str,
        key: str,
        *,
        run: str,
        seen: datetime,
        sharpe: float | None = None,
        returns_path: str | None = None,
    ) -> int:
        """Count a trial and return how many its lineage has; an identical key is not a new trial."""
        row = asdict(Trial(lineage, key, run, sharpe, returns_path, seen))
        statement = self.insert(schema.trials).values(row).on_conflict_do_nothing()
        count = sa.select(sa.func.count()).where(schema.trials.c.lineage == lineage)
        with self.database.writing() as connection:
            connection.execute(statement)
            return int(connection.execute(count).scalar_one())

    def trials(self, lineage: str) -> list[Trial]:
        """Return the trials of a lineage in the order they were first seen."""
        query = sa.select(schema.trials).where(schema.trials.c.lineage == lineage).order_by(schema.trials.c.id)
        with self.database.reading() as connection:
            return [_as(Trial, row) for row in connection.execute(query).mappings()]

    # -- jobs ------------------------------------------------------------------------------------------------

    def resume_job(self, kind: str, key: str, *, started: datetime, detail: Mapping[str, Any]) -> Job:
        """Return the unfinished job of this kind and key, or a new one."""
        same = (schema.jobs.c.kind == kind) & (schema.jobs.c.key == key) & (schema.jobs.c.status == "running")
        query = sa.select(schema.jobs).where(same).order_by(schema.jobs.c.id.desc()).limit(1)
        fresh = {"kind": kind, "key": key, "status": "running", "started": started, "detail": dict(detail)}
        with self.database.writing() as connection:
            if _one(connection, query) is None:
                connection.execute(sa.insert(schema.jobs).values(fresh))
            found = _one(connection, query)
        assert found is not None
        return _as(Job, found)

    def finished_items(self, job: Job) -> frozenset[str]:
        """Return the items of a job that are done."""
        query = sa.select(schema.job_items.c.item).where(schema.job_items.c.job == job.id)
        with self.database.reading() as connection:
            return frozenset(connection.execute(query).scalars())

    def finish_items(self, job: Job, items: Iterable[str], *, at: datetime) -> None:
        """Note that items of a job are done."""
        rows = [{"job": job.id, "item": item, "finished": at} for item in items]
        if rows:
            with self.database.writing() as connection:
                connection.execute(self.insert(schema.job_items).on_conflict_do_nothing(), rows)

    def note_job(self, job: Job, notes: Iterable[str]) -> None:
        """Add to what a job had to say, each once, in order; kept in its detail as ``notes``."""
        same = schema.jobs.c.id == job.id
        with self.database.writing() as connection:
            detail = dict(connection.execute(sa.select(schema.jobs.c.detail).where(same)).scalar_one())
            detail["notes"] = list(dict.fromkeys([*detail.get("notes", []), *notes]))
            connection.execute(sa.update(schema.jobs).where(same).values(detail=detail))

    def update_job(self, job: Job, **detail: Any) -> None:
        """Put values into a job's detail; the others stay."""
        same = schema.jobs.c.id == job.id
        with self.database.writing() as connection:
            known = dict(connection.execute(sa.select(schema.jobs.c.detail).where(same)).scalar_one())
            connection.execute(sa.update(schema.jobs).where(same).values(detail={**known, **detail}))

    def finish_job(self, job: Job, *, at: datetime, status: str = "done") -> None:
        """Note that a job is over; the next one of its key starts anew."""
        change = sa.update(schema.jobs).where(schema.jobs.c.id == job.id).values(status=status, finished=at)
        with self.database.writing() as connection:
            connection.execute(change)

    def jobs(self, kind: str | None = None) -> list[Job]:
        """Return jobs, newest first."""
        query = sa.select(schema.jobs).order_by(schema.jobs.c.id.desc())
        if kind is not None:
            query = query.where(schema.jobs.c.kind == kind)
        with self.database.reading() as connection:
            return [_as(Job, row) for row in connection.execute(query).mappings()]

    # -- predictions and signals -----------------------------------------------------------------------------

    def record_predictions(self, predictions: Sequence[Prediction]) -> None:
        """Store forecasts; one already stored for its run, symbol, time, target and horizon stays as it is."""
        self._store(schema.predictions, _flat(Prediction, predictions))

    def record_close(
        self,
        predictions: Sequence[Prediction],
        signals: Sequence[SignalRecord],
        outcomes: Sequence[tuple[Prediction, float]],
        *,
        at: datetime,
    ) -> None:
        """Store all that a close brings in one transaction: forecasts, recommendations, what became of earlier ones.

        What is stored already stays as it is.
        """
        with self.database.writing() as connection:
            rows = {schema.predictions: _flat(Prediction, predictions), schema.signals: _flat(SignalRecord, signals)}
            for table, some in rows.items():
                if some:
                    connection.execute(self.insert(table).on_conflict_do_nothing(), some)
            _resolve(connection, outcomes, at)

    def unresolved(self, *, until: datetime, runs: Collection[str] | None = None) -> list[Prediction]:
        """Return forecasts made by ``until`` whose outcome is not known yet, oldest first; of some runs where given."""
        table = schema.predictions
        query = _select_predictions().where(table.c.outcome.is_(None), table.c.time <= until)
        if runs is not None:
            query = query.where(table.c.run.in_(runs))
        with self.database.reading() as connection:
            return [Prediction(*row) for row in connection.execute(query.order_by(table.c.time, table.c.id))]

    def resolve(self, prediction: Prediction, outcome: float, *, at: datetime) -> None:
        """Note what became of a forecast. The first outcome stays."""
        self.resolve_all([(prediction, outcome)], at=at)

    def resolve_all(self, outcomes: Sequence[tuple[Prediction, float]], *, at: datetime) -> None:
        """Note what became of many forecasts, together. First outcomes stay."""
        if not outcomes:
            return
        with self.database.writing() as connection:
            _resolve(connection, outcomes, at)

    def predictions(self, run: str) -> list[Prediction]:
        """Return the forecasts of a run by time and symbol."""
        table = schema.predictions
        query = _select_predictions().where(table.c.run == run).order_by(table.c.time, table.c.symbol, table.c.id)
        with self.database.reading() as connection:
            return [Prediction(*row) for row in connection.execute(query)]

    def predictions_of(
        self, seat: str, *, runs: Collection[str] | None = None, resolved: bool = False, limit: int | None = None
    ) -> list[Prediction]:
        """Return the newest forecasts of a seat, oldest first: all of them, or of some runs; only with an outcome."""
        table = schema.predictions
        known = [table.c.outcome.is_not(None)] if resolved else []
        query = _select_predictions().where(*_of_seat(seat, runs), *known)
        query = query.order_by(table.c.time.desc(), table.c.id.desc()).limit(limit)
        with self.database.reading() as connection:
            return [Prediction(*row) for row in connection.execute(query)][::-1]

    def count_predictions(self, seat: str, *, runs: Collection[str] | None = None) -> tuple[int, int]:
        """Return how many forecasts of a seat are stored, and of how many the outcome is known."""
        counts = sa.func.count(), sa.func.count(schema.predictions.c.outcome)
        with self.database.reading() as connection:
            made, resolved = connection.execute(sa.select(*counts).where(*_of_seat(seat, runs))).one()
        return int(made), int(resolved)

    def record_signals(self, signals: Sequence[SignalRecord]) -> None:
        """Store recommendations; one already stored for its run, symbol, time and horizon stays as it is."""
        self._store(schema.signals, _flat(SignalRecord, signals))

    def signals(self, run: str) -> list[SignalRecord]:
        """Return the recommendations of a run by time and symbol."""
        table = schema.signals
        query = sa.select(table).where(table.c.run == run).order_by(table.c.time, table.c.symbol, table.c.id)
        with self.database.reading() as connection:
            return [_as(SignalRecord, row) for row in connection.execute(query).mappings()]

    def newest_signal(self, run: str) -> datetime | None:
        """Return the newest close of a run whose recommendations are stored; None where there is none."""
        table = schema.signals
        with self.database.reading() as connection:
            return connection.scalar(sa.select(sa.func.max(table.c.time)).where(table.c.run == run))

    # -- members of indices, baselines of sectors --------------------------------------------------------------

    def record_index_snapshot(self, snapshot: IndexSnapshot) -> None:
        """Store the members of an index as they were read; earlier snapshots stay."""
        self._store(schema.index_snapshots, [asdict(snapshot)])

    def index_snapshots(self, index: str, *, recorded_until: datetime | None = None) -> list[IndexSnapshot]:
        """Return the snapshots of an index that this store had by then, in the order in which they were known."""
        table = schema.index_snapshots
        query = sa.select(table).where(table.c.index_name == index).order_by(table.c.known_at, table.c.id)
        if recorded_until is not None:
            query = query.where(table.c.recorded_at <= recorded_until)
        with self.database.reading() as connection:
            return [_as(IndexSnapshot, row) for row in connection.execute(query).mappings()]

    def record_sector_fit(self, fit: SectorFitRecord) -> None:
        """Store baselines of sectors; earlier ones stay."""
        with self.database.writing() as connection:
            connection.execute(sa.insert(schema.sector_fits).values(asdict(fit)))

    def sector_fits(self, lake: str) -> list[SectorFitRecord]:
        """Return the baselines fitted on one lake, by the last bar they rest on and then as they were made."""
        table = schema.sector_fits
        query = sa.select(table).where(table.c.lake == lake).order_by(table.c.as_of, table.c.id)
        with self.database.reading() as connection:
            return [_as(SectorFitRecord, row) for row in connection.execute(query).mappings()]

    # -- trained models --------------------------------------------------------------------------------------

    def record_model(self, record: ModelRecord) -> None:
        """Store a trained model; one with the same id, whose files were lost or damaged, is brought up to date."""
        self._store_newest(schema.models, asdict(record))

    def models(self, lineage: str | None = None) -> list[ModelRecord]:
        """Return trained models, newest first."""
        query = sa.select(schema.models).order_by(schema.models.c.made.desc(), schema.models.c.id)
        if lineage is not None:
            query = query.where(schema.models.c.lineage == lineage)
        with self.database.reading() as connection:
            return [_as(ModelRecord, row) for row in connection.execute(query).mappings()]

    def alias_changes(self, lineage: str | None = None) -> list[AliasChange]:
        """Return what aliases came to mean, of one seat where given, oldest first."""
        with self.database.reading() as connection:
            return _alias_changes(connection, lineage)

    def change_aliases(
        self,
        lineage: str,
        decide: Callable[[list[AliasChange]], Sequence[AliasChange]],
        decision: ModelDecision | Callable[[list[AliasChange]], ModelDecision] | None = None,
    ) -> list[AliasChange]:
        """Change aliases of a seat together or not at all, knowing all changes so far; nobody else can meanwhile.

        A ``decision`` about it, which may look at the changes so far, is stored with them or not at all. Returns the
        changes that were made.
        """
        with self.database.writing() as connection:
            if not self.database.is_sqlite:  # SQLite's own writers wait for each other
                connection.execute(sa.text("LOCK TABLE model_aliases IN EXCLUSIVE MODE"))
            known = _alias_changes(connection, lineage)
            changes = list(decide(known))
            if changes:
                connection.execute(sa.insert(schema.model_aliases), [asdict(change) for change in changes])
            if decision is not None:
                connection.execute(self._new_decision(decision(known) if callable(decision) else decision))
        return changes

    def seats(self, lineage: str) -> list[str]:
        """Return the seats of a lineage that anybody ever sat in: its own, and those of its members."""
        names = sa.select(schema.model_aliases.c.lineage).distinct()
        with self.database.reading() as connection:
            known = connection.execute(names).scalars().all()
        return sorted(seat for seat in known if seat == lineage or seat.startswith(f"{lineage}/"))

    def record_decision(self, decision: ModelDecision) -> None:
        """Store what was decided about a seat; one with the same key is there already."""
        with self.database.writing() as connection:
            connection.execute(self._new_decision(decision))

    def model_decisions(self, seat: str, *, limit: int | None = None) -> list[ModelDecision]:
        """Return what was decided about a seat, newest first."""
        table = schema.model_decisions
        query = sa.select(table).where(table.c.seat == seat).order_by(table.c.id.desc()).limit(limit)
        with self.database.reading() as connection:
            return [_as(ModelDecision, row) for row in connection.execute(query).mappings()]

    # -- running corridors -----------------------------------------------------------------------------------

    def record_live_session(self, session: LiveSession) -> None:
        """Store a running corridor; one with the same id is brought up to date."""
        self._store_newest(schema.live_sessions, asdict(session))

    def stop_live_session(self, session: str, *, at: datetime) -> None:
        """Note that a corridor has stopped."""
        table = schema.live_sessions
        with self.database.writing() as connection:
            connection.execute(sa.update(table).where(table.c.id == session).values(stopped=at))

    def live_sessions(self, playbook: str | None = None) -> list[LiveSession]:
        """Return running corridors and those that ran, the one that started last first."""
        table = schema.live_sessions
        query = sa.select(table).order_by(table.c.started.desc(), table.c.id.desc())
        if playbook is not None:
            query = query.where(table.c.playbook == playbook)
        with self.database.reading() as connection:
            return [_as(LiveSession, row) for row in connection.execute(query).mappings()]

    # -- parts -----------------------------------------------------------------------------------------------

    def _store(self, table: sa.Table, rows: list[dict[str, Any]]) -> None:
        if rows:
            with self.database.writing() as connection:
                connection.execute(self.insert(table).on_conflict_do_nothing(), rows)

    def _new_decision(self, decision: ModelDecision) -> Any:
        row = {**asdict(decision), "reasons": list(decision.reasons)}
        return self.insert(schema.model_decisions).values(row).on_conflict_do_nothing()

    def _store_newest(self, table: sa.Table, row: dict[str, Any]) -> None:
        statement = self.insert(table).values(row)
        update = {name: statement.excluded[name] for name in row if name != "id"}
        with self.database.writing() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=update))

    def insert(self, table: sa.Table) -> Any:
        """Return an insertion that knows what to do on a conflict, in this database's dialect."""
        return sqlite.insert(table) if self.database.is_sqlite else postgresql.insert(table)


def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind))


def _select_predictions() -> sa.Select[Any]:
    """Return a query of forecasts whose rows are the arguments of :class:`Prediction`."""
    return sa.select(*(schema.predictions.c[name] for name in _names(Prediction)))


def _of_seat(seat: str, runs: Collection[str] | None) -> list[sa.ColumnElement[bool]]:
    table = schema.predictions
    return [table.c.seat == seat, *([] if runs is None else [table.c.run.in_(runs)])]


def _flat(kind: type[Any], many: Sequence[Any]) -> list[dict[str, Any]]:
    """Return rows as they are stored; ``asdict`` would copy everything within them."""
    names = _names(kind)
    return [{name: getattr(one, name) for name in names} for one in many]


def _resolve(connection: Connection, outcomes: Sequence[tuple[Prediction, float]], at: datetime) -> None:
    """Store outcomes; what several models forecast of the same return is resolved by one statement."""
    targets: dict[tuple[Any, ...], list[str]] = {}
    for made, outcome in outcomes:
        key = (made.run, made.symbol, made.time, made.horizon_bars, outcome)
        targets.setdefault(key, []).append(made.target)
    rows: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for (run, symbol, time, bars, outcome), several in targets.items():
        own = {"of_run": run, "of_symbol": symbol, "of_time": time, "of_horizon_bars": bars}
        rows.setdefault(tuple(several), []).append({**own, "outcome": outcome, "resolved_at": at})
    table = schema.predictions
    same = [table.c[name] == sa.bindparam(f"of_{name}") for name in ("run", "symbol", "time", "horizon_bars")]
    for names, some in rows.items():
        whose = sa.or_(*(table.c.target == name for name in names))
        connection.execute(sa.update(table).where(*same, whose, table.c.outcome.is_(None)), some)


def _alias_changes(connection: Connection, lineage: str | None) -> list[AliasChange]:
    table = schema.model_aliases
    query = sa.select(table).order_by(table.c.id)
    if lineage is not None:
        query = query.where(table.c.lineage == lineage)
    return [_as(AliasChange, row) for row in connection.execute(query).mappings()]


def _one(connection: Connection, query: sa.Select[Any]) -> RowMapping | None:
    return connection.execute(query).mappings().first()


def _as(kind: type[Row], row: RowMapping) -> Row:
    return kind(**{f.name: row[f.name] for f in fields(kind)})  # type: ignore[arg-type]

"""The records count honestly, survive, and say what to do when they cannot be used."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from store_kit import RECORDED

from tradewind.errors import DataError, InputError, RetryError
from tradewind.market.store import schema
from tradewind.market.store.records import (
    IndexSnapshot,
    Prediction,
    Records,
    Run,
    SectorFitRecord,
    SignalRecord,
    new_run_id,
)

RUN = Run(
    id="20240601T000000-sample-abc",
    verb="backtest",
    playbook="sample",
    lineage="sample",
    playbook_hash="h",
    data_version="d",
    code_version="c",
    started=RECORDED,
    seeds={"model": 7},
    manifest={"pin": {"versions": {"bars": 3}}},
)
FIRST_TABLES = {"runs", "trials", "jobs", "job_items", "predictions", "signals"}


def file_of(records: Records) -> Path:
    return records.database.place


def test_a_run_comes_back_whole(records: Records) -> None:
    records.record_run(RUN)
    assert records.get_run(RUN.id) == RUN
    assert records.pins() == [{"versions": {"bars": 3}}]


def test_a_run_is_brought_up_to_date(records: Records) -> None:
    records.record_run(RUN)
    done = replace(RUN, status="done", seconds=1.5, result_path="runs/x.json")
    records.record_run(done)
    assert records.runs() == [done]


def test_the_latest_run_is_the_one_that_started_last(records: Records) -> None:
    assert records.latest_run() is None
    for day in (2, 3, 1):
        records.record_run(replace(RUN, id=f"run-{day}", started=RECORDED + timedelta(days=day), status="done"))
    records.record_run(replace(RUN, id="other", playbook="other", started=RECORDED + timedelta(days=9)))
    latest = records.latest_run(playbook="sample")
    assert latest is not None
    assert latest.id == "run-3"
    assert records.latest_run(verb="train") is None


def test_an_unknown_run_is_refused_with_the_nearest(records: Records) -> None:
    with pytest.raises(InputError, match="nothing was run"):
        records.get_run("x")
    records.record_run(RUN)
    with pytest.raises(InputError, match=RUN.id):
        records.get_run(RUN.id[:-1])


def test_run_ids_sort_by_time_and_differ() -> None:
    early, late = new_run_id("sample", RECORDED), new_run_id("sample", RECORDED + timedelta(seconds=1))
    assert early < late
    assert new_run_id("sample", RECORDED) != early


def test_an_identical_trial_is_not_a_new_one(records: Records) -> None:
    def count(lineage: str, key: str) -> int:
        return records.record_trial(lineage, key, run="r", seen=RECORDED, sharpe=0.5)

    assert [count("a", "1"), count("a", "1"), count("a", "2"), count("b", "1"), count("a", "1")] == [1, 1, 2, 1, 2]
    assert [t.trial_key for t in records.trials("a")] == ["1", "2"]
    assert records.trials("none") == []


def test_times_are_utc_whatever_the_zone_and_never_naive(records: Records) -> None:
    tokyo = datetime(2024, 6, 1, 9, tzinfo=timezone(timedelta(hours=9)))
    records.record_trial("a", "1", run="r", seen=tokyo)
    seen = records.trials("a")[0].first_seen
    assert seen == datetime(2024, 6, 1, tzinfo=UTC)
    assert seen.tzinfo is UTC
    with pytest.raises(sa.exc.StatementError, match="without a zone"):
        records.record_trial("a", "2", run="r", seen=tokyo.replace(tzinfo=None))


def test_a_job_is_taken_up_until_it_is_finished(records: Records) -> None:
    job = records.resume_job("sync", "k", started=RECORDED, detail={"source": "x"})
    records.finish_items(job, ["A", "B"], at=RECORDED)
    again = records.resume_job("sync", "k", started=RECORDED + timedelta(days=1), detail={})
    assert again == job
    assert records.finished_items(again) == {"A", "B"}
    records.finish_items(again, ["B", "C"], at=RECORDED)
    records.finish_job(again, at=RECORDED)
    fresh = records.resume_job("sync", "k", started=RECORDED, detail={})
    assert fresh.id != job.id
    assert records.finished_items(fresh) == frozenset()
    assert [j.status for j in records.jobs("sync")] == ["running", "done"]


def test_a_prediction_is_judged_once(records: Records) -> None:
    forecast = Prediction("r", "AAPL", RECORDED, "return", 5, {"0.5": 0.01})
    records.record_predictions([forecast, replace(forecast, symbol="MSFT")])
    records.record_predictions([replace(forecast, quantiles={"0.5": 9.0})])
    assert records.unresolved(until=RECORDED - timedelta(seconds=1)) == []
    assert [p.symbol for p in records.unresolved(until=RECORDED)] == ["AAPL", "MSFT"]
    records.resolve(forecast, 0.02, at=RECORDED)
    records.resolve(forecast, 0.99, at=RECORDED)
    stored = records.predictions("r")[0]
    assert (stored.outcome, stored.quantiles) == (0.02, {"0.5": 0.01})
    assert [p.symbol for p in records.unresolved(until=RECORDED)] == ["MSFT"]


def test_signals_come_back(records: Records) -> None:
    given = SignalRecord("r", "AAPL", RECORDED, "BUY", 5, 0.7, 0.1, {"reasons": ["trend"]})
    records.record_signals([given])
    records.record_signals([])
    assert records.signals("r") == [given]


def test_snapshots_of_an_index_come_back_as_they_were_known_and_recorded(records: Records) -> None:
    later = RECORDED + timedelta(days=7)
    for moment, members in ((RECORDED, ["A", "B"]), (later, ["A", "C"])):
        records.record_index_snapshot(IndexSnapshot("x", moment, moment, members, {"provider": "p"}))
    records.record_index_snapshot(IndexSnapshot("x", later, later, ["changed afterwards"]))
    assert [s.members for s in records.index_snapshots("x")] == [["A", "B"], ["A", "C"]]
    assert [s.known_at for s in records.index_snapshots("x", recorded_until=RECORDED)] == [RECORDED]
    assert records.index_snapshots("y") == []


def test_sector_fits_come_back_by_the_bars_they_rest_on(records: Records) -> None:
    old, new = (
        SectorFitRecord("files-1", RECORDED - timedelta(days=d), RECORDED, {"Energy": {"beta": 1.0}}, {"bars": d})
        for d in (9, 1)
    )
    for fit in (new, old):
        records.record_sector_fit(fit)
    assert records.sector_fits("files-1") == [old, new]
    assert records.sector_fits("files-2") == []


def test_records_of_the_first_version_are_brought_up_to_date_with_their_rows(records: Records) -> None:
    records.record_run(RUN)
    records.close()
    with sqlite3.connect(file_of(records)) as raw:
        for table in reversed(schema.metadata.sorted_tables):
            if table.name not in FIRST_TABLES:
                raw.execute(f"DROP TABLE {table.name}")
        for index in ("symbol_time", "seat_time", "unresolved"):
            raw.execute(f"DROP INDEX ix_predictions_{index}")
        for column in ("seat", "model", "regime", "scale"):
            raw.execute(f"ALTER TABLE predictions DROP COLUMN {column}")
        raw.execute("UPDATE alembic_version SET version_num = '0001'")
    raw.close()
    again = Records(records.database.url)
    again.record_index_snapshot(IndexSnapshot("x", RECORDED, RECORDED, ["A"]))
    assert again.get_run(RUN.id) == RUN
    assert len(again.index_snapshots("x")) == 1
    again.close()


def test_the_engine_is_set_to_lose_nothing(records: Records) -> None:
    with records.database.reading() as connection:
        pragmas = [connection.exec_driver_sql(f"PRAGMA {p}").scalar() for p in ("journal_mode", "synchronous")]
    assert pragmas == ["wal", 2]


def test_a_failed_transaction_leaves_nothing(records: Records) -> None:
    with pytest.raises(RuntimeError), records.database.writing() as connection:
        connection.execute(sa.insert(schema.trials).values(lineage="a", trial_key="1", run="r", first_seen=RECORDED))
        raise RuntimeError
    assert records.trials("a") == []


def test_a_locked_database_asks_for_patience(records: Records) -> None:
    other = sqlite3.connect(file_of(records), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(RetryError, match="locked by another process"):
        records.record_run(RUN)
    assert records.runs() == []
    other.execute("ROLLBACK")
    other.close()
    records.record_run(RUN)
    assert records.runs() == [RUN]


def test_records_of_a_newer_tradewind_are_left_alone(records: Records) -> None:
    with sqlite3.connect(file_of(records)) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()
    records.close()
    with pytest.raises(InputError, match="newer Tradewind") as failure:
        Records(records.database.url)
    assert "upgrade" in str(failure.value)


def test_a_corrupt_database_is_named_and_not_deleted(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    path.write_bytes(b"this is not a database, whatever its name says" * 100)
    with pytest.raises(DataError, match=r"records\.db is corrupt"):
        Records(f"sqlite:///{path}")
    assert path.stat().st_size == 4600


def test_a_damaged_page_is_found_at_the_start(records: Records) -> None:
    for i in range(200):
        records.record_trial("a", f"key {i} " + "x" * 60, run="r", seen=RECORDED)
    with records.database.reading() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    records.close()
    path = file_of(records)
    content = bytearray(path.read_bytes())
    content[-8192:] = b"\xff" * 8192
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="restore"):
        Records(records.database.url)


def test_a_wrong_url_is_explained() -> None:
    with pytest.raises(InputError, match="not a database URL"):
        Records("records.db")
    with pytest.raises(InputError, match="no driver"):
        Records("postgresql+nodriver://host/name")


def test_opening_twice_changes_nothing(records: Records) -> None:
    records.record_run(RUN)
    second = Records(records.database.url)
    assert second.runs() == [RUN]
    assert second.check() == []
    second.close()


def test_the_migrations_build_the_schema_of_the_code(records: Records) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with records.database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []


def test_every_migration_is_a_known_version() -> None:
    folder = Path(schema.__file__).parent / "migrations" / "versions"
    revisions = [f"{int(path.stem[1:5]):04d}" for path in sorted(folder.glob("v*.py"))]
    assert tuple(revisions) == schema.VERSIONS


def test_the_schema_can_be_built_on_postgresql() -> None:
    dialect = postgresql.dialect()
    statements = [str(sa.schema.CreateTable(t).compile(dialect=dialect)) for t in schema.metadata.sorted_tables]
    assert any("TIMESTAMP WITH TIME ZONE" in s for s in statements)
    assert len(statements) == 22

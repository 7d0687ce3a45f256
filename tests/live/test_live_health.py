"""Health: figures that agree with other people's arithmetic, one alert an episode, and reasons for not being ready."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import sqlalchemy as sa
from alert_kit import HandClock
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.evaluation.model_registry import ModelRegistry
from tradewind.execution.controls import Controls
from tradewind.live import checks
from tradewind.live.bus import Bus
from tradewind.live.checks import Backups, ClockSkew, Machine, ModelFiles, container_memory_percent
from tradewind.live.health import Health, Judgement
from tradewind.live.latency import BUCKETS_MS, ErrorRate, Latency
from tradewind.live.settings_alerts import HealthLimits
from tradewind.market.store import schema
from tradewind.market.store.backup import backup
from tradewind.market.store.home import Home
from tradewind.market.store.records import Records
from tradewind.models import artefact as artefacts
from tradewind.models.base import MODELS


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    one = Records(Home.open(tmp_path / "home").records_url, patience_seconds=0.2)
    yield one
    one.close()


@pytest.fixture
def home(records: Records) -> Path:
    return records.database.place.parent


@dataclass
class Stopwatch:
    """Seconds that are moved by hand."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


def a_model(registry: ModelRegistry, name: str, seat: str) -> Path:
    """Store a small model and make it champion of a seat, as a training does; return its folder."""
    model: Any = MODELS.create("naive_normal")
    model.sigma_ = np.array([0.01, 0.02])
    card = {"model": "naive_normal", "version": "1", "parameters": {}, "features": []}
    kept = artefacts.write(registry.folder / name, model, card, {})
    from tradewind.market.store.records import AliasChange, ModelRecord

    at = datetime(2026, 1, 1, tzinfo=UTC)
    registry.records.record_model(
        ModelRecord(name, seat.partition("/")[0], "naive_normal", "1", at, at, kept.digest, {}, {})
    )
    registry.records.change_aliases(seat, lambda _: [AliasChange(seat, "champion", name, at, "train")])
    return kept.folder


# -- latency and errors -----------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(durations=st.lists(st.floats(0, 20), min_size=1, max_size=300), window=st.integers(1, 100))
def test_percentiles_are_numpys_over_the_newest_and_buckets_count_all(durations: list[float], window: int) -> None:
    latency = Latency(window=window)
    for seconds in durations:
        latency.add("total", seconds)
    found = latency.to_dict()
    newest = np.array(durations[-window:]) * 1_000
    for name, q in (("p50", 50), ("p95", 95), ("p99", 99)):
        assert found[name] == pytest.approx(np.percentile(newest, q), abs=6e-4)
    assert found["bars"] == len(newest)
    stage = found["stages"]["total"]
    assert stage["count"] == len(durations) and stage["sum_ms"] == pytest.approx(sum(durations) * 1_000, abs=1e-2)
    assert stage["buckets"] == [[limit, sum(1_000 * d <= limit for d in durations)] for limit in BUCKETS_MS]


def test_stages_come_in_the_order_of_the_loop_and_are_measured_also_where_they_fail() -> None:
    watch = Stopwatch()
    latency = Latency(timer=watch)
    for name, seconds in (("total", 1.0), ("mine", 0.1), ("features", 0.25), ("ingest", 0.5)):
        with latency.stage(name):
            watch.seconds += seconds
    with pytest.raises(ZeroDivisionError), latency.stage("features"):
        watch.seconds += 0.75
        _ = 1 // 0
    found = latency.to_dict()
    assert list(found["stages"]) == ["ingest", "features", "total", "mine"]
    assert latency.percentiles("features")["p50"] == 500.0 and found["p50"] == 1_000.0


def test_what_is_no_duration_is_not_counted() -> None:
    latency = Latency()
    for seconds in (-1.0, float("nan"), float("inf")):
        latency.add("total", seconds)
    found = latency.to_dict()
    assert (found["p50"], found["bars"], found["stages"]) == (None, 0, {})


def test_durations_of_many_threads_are_all_counted() -> None:
    latency = Latency(window=10)
    threads = [threading.Thread(target=lambda: [latency.add("push", 0.001) for _ in range(500)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert latency.to_dict()["stages"]["push"]["count"] == 4_000


@given(outcomes=st.lists(st.booleans(), max_size=200), window=st.integers(1, 50), limit=st.sampled_from([0.0005, 0.02]))
def test_the_error_rate_is_that_of_the_newest_operations(outcomes: list[bool], window: int, limit: float) -> None:
    rate = ErrorRate(window=window)
    for ok in outcomes:
        rate.add(ok)
    newest = outcomes[-window:]
    failed = newest.count(False)
    assert rate.rate == (failed / len(newest) if newest else None)
    assert rate.errors == outcomes.count(False)
    assert rate.exceeds(limit) == (failed > limit * max(len(newest), 1_000))


# -- the payload ------------------------------------------------------------------------------------------------


def test_the_state_is_the_contracts_payload_and_json(records: Records, home: Path) -> None:
    clock, watch = HandClock(), Stopwatch(100.0)
    bus = Bus(clock)
    health = Health(home, records, bus=bus, clock=clock, timer=watch)
    service = {"name": "yahoo", "state": "ok", "last_success": None, "last_error": None, "failures": 0}
    health.services.append(lambda: [{**service, "next_try": None, "heartbeat": clock.now().isoformat()}])
    health.freshness = lambda: {"seconds": 3.0, "limit": 600.0, "stale": False}
    health.latency.add("total", 0.2)
    health.operations.add(False)
    health.skew.heard("yahoo", clock.now() + timedelta(seconds=2), clock.now())
    watch.seconds = 160.5
    health.examine()
    state = json.loads(json.dumps(health.state(), allow_nan=False))
    contract = {"services", "freshness", "latency_ms", "errors", "machine", "dropped", "listeners", "uptime_seconds"}
    assert contract | {"version"} <= set(state)
    assert state["services"][0]["name"] == "yahoo" and state["freshness"]["seconds"] == 3.0
    assert (state["latency_ms"]["p50"], state["latency_ms"]["bars"]) == (200.0, 1)
    assert (state["errors"], state["error_rate"], state["uptime_seconds"]) == (1, 1.0, 60.5)
    assert set(state["machine"]) == {"cpu_percent", "memory_percent", "disk_percent", "rss_mb"}
    assert state["clock_skew_seconds"] == {"yahoo": 2.0}
    assert {check["name"]: check["ok"] for check in state["checks"]} == {"records": True, "models": None, "clock": True}


def test_the_servers_shape_takes_it(records: Records, home: Path) -> None:
    from tradewind.server.shapes import Health as Shape

    health = Health(home, records)
    health.latency.add("features", 0.01)
    health.examine()
    told = Shape.model_validate(health.state()).model_dump()
    assert told["latency_ms"]["stages"]["features"]["count"] == 1


def test_the_machines_figures_are_the_systems_own(home: Path, records: Records) -> None:
    machine = Machine(home)
    first, second = machine.reading(), machine.reading()
    assert first["cpu_percent"] is None and second["cpu_percent"] is not None
    assert second["rss_mb"] == pytest.approx(psutil.Process().memory_info().rss / 1e6, rel=0.2)
    assert second["disk_percent"] == pytest.approx(psutil.disk_usage(str(home)).percent, abs=1.0)


def test_memory_is_the_containers_where_that_has_a_limit(tmp_path: Path) -> None:
    assert container_memory_percent(tmp_path) is None
    (tmp_path / "memory.current").write_text("800\n", "ascii")
    (tmp_path / "memory.stat").write_text("anon 500\nfile 300\ninactive_file 300\n", "ascii")
    (tmp_path / "memory.max").write_text("max\n", "ascii")
    assert container_memory_percent(tmp_path) is None
    (tmp_path / "memory.max").write_text("1000\n", "ascii")
    assert container_memory_percent(tmp_path) == 50.0


# -- what it depends on -----------------------------------------------------------------------------------------


def found(health: Health) -> dict[str, checks.Check]:
    return {check.name: check for check in health.examine()}


def test_records_are_proven_writable_and_nothing_is_left_in_them(records: Records, home: Path) -> None:
    assert checks.records_writable(records)[0]
    with records.database.reading() as connection:
        assert not connection.execute(sa.select(schema.alert_deliveries)).all()
    holder = sqlite3.connect(home / "records.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    check = found(Health(home, records))["records"]
    assert check.ok is False and "locked" in check.detail
    holder.execute("ROLLBACK")
    holder.close()
    assert found(Health(home, records))["records"].ok


def test_a_lake_that_lost_a_file_is_found(records: Records, home: Path) -> None:
    import polars as pl

    from tradewind.market.store.lake import Lake

    folder = home / "lake" / "test"
    health = Health(home, records, lake=folder)
    assert found(health)["lake"].ok is None
    lake = Lake(folder)
    at = datetime(2026, 1, 2, 21, tzinfo=UTC)
    from tradewind.market.bars import BAR_SCHEMA

    row = {"time": at, "known_at": at, "recorded_at": at}
    given_ = {name: [row.get(name)] if name in row else [_sample(kind)] for name, kind in BAR_SCHEMA.items()}
    lake.append(pl.DataFrame(given_, schema=BAR_SCHEMA), recorded_at=at)
    assert found(health)["lake"].ok
    lake.table_files()[0].unlink()
    check = found(health)["lake"]
    assert check.ok is False and "missing" in check.detail


def _sample(kind: Any) -> Any:
    import polars as pl

    if kind == pl.String:
        return "AAPL"
    if isinstance(kind, pl.Datetime) or kind == pl.Datetime:
        return datetime(2026, 1, 2, 21, tzinfo=UTC)
    return True if kind == pl.Boolean else 1


def test_a_champion_whose_file_was_changed_is_found_and_good_ones_are_read_once(
    records: Records, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = ModelRegistry(home, records, HandClock())
    folder = a_model(registry, "naive_normal-20260101-a", "sample")
    a_model(registry, "naive_normal-20260101-b", "sample/lstm")
    reads: list[Path] = []
    real = artefacts.read

    def counted(where: Path, *, digest: str | None = None) -> Any:
        reads.append(where)
        return real(where, digest=digest)

    monkeypatch.setattr(artefacts, "read", counted)
    files = ModelFiles(registry)
    assert files.check()[0] and files.check()[0]
    assert len(reads) == 2
    tensors = folder / artefacts.TENSORS
    tensors.write_bytes(tensors.read_bytes()[:-1] + b"\0")
    check = checks.asked("models", files.check)
    assert check.ok is False and "not what was written" in check.detail
    shutil.rmtree(folder)
    assert checks.asked("models", files.check).ok is False


def test_the_newest_backup_that_can_be_read_counts_and_a_damaged_newer_one_is_told(
    records: Records, home: Path, tmp_path: Path
) -> None:
    clock = HandClock(datetime.now(UTC))
    folder = tmp_path / "backups"
    limits = HealthLimits(backup_folder=str(folder), backup_hours_max=24.0)
    health = Health(home, records, limits, clock=clock)
    assert "no folder" in found(health)["backup"].detail
    folder.mkdir()
    assert found(health)["backup"].ok is False and health.state()["backup"] is None
    backup(home, folder / "a.tar")
    assert found(health)["backup"].ok
    (folder / "b.tar").write_bytes((folder / "a.tar").read_bytes()[:20_000])
    bad = found(health)["backup"]
    assert bad.ok is False and "newer ones cannot be read" in bad.detail
    told = health.state()["backup"]
    assert told["file"] == "a.tar" and told["unreadable"] == 1 and told["age_hours"] < 1
    (folder / "b.tar").unlink()
    clock.forward(25 * 3_600)
    assert found(health)["backup"].ok is False


def test_a_backup_is_proven_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.tar").write_bytes(b"x")
    proven: list[Path] = []
    monkeypatch.setattr(checks, "verify", proven.append)
    backups = Backups(tmp_path)
    for _ in range(3):
        assert backups.newest() is not None
    assert len(proven) == 1


def test_the_usual_distance_of_a_clock_counts_and_not_one_slow_answer() -> None:
    skew, now = ClockSkew(), datetime(2026, 3, 2, 12, tzinfo=UTC)
    assert skew.check(5.0) == (None, "no source has said the time")
    for seconds in (0.1, -0.2, 60.0, 0.0, 0.1):
        skew.heard("yahoo", now + timedelta(seconds=seconds), now)
    assert skew.seconds() == {"yahoo": 0.1} and skew.check(5.0)[0]
    for _ in range(5):
        skew.heard("replay", now - timedelta(hours=1), now, exact=False)
        skew.heard("alpaca", now + timedelta(seconds=8), now, exact=False)
    assert skew.seconds()["replay"] == 0.0
    assert skew.check(5.0) == (False, "alpaca is 8.0 s ahead of this machine's clock")


# -- alerts once an episode -------------------------------------------------------------------------------------


def told(records: Records) -> list[tuple[str, str]]:
    return [(alert.level, alert.kind) for alert in reversed(Controls(records).alerts())]


def test_a_full_disk_is_told_once_and_once_more_when_there_is_room_again(
    records: Records, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = [50.0]
    monkeypatch.setattr(checks, "disk_percent", lambda _home: used[0])
    monkeypatch.setattr(Machine, "memory_percent", lambda _self: 10.0)
    controls = Controls(records)
    health = Health(home, records)
    assert health.watch(controls) == []
    for used[0] in (95.0, 96.0, 80.0, 95.0, 80.0, 80.0):
        health.watch(controls)
    assert told(records) == [("warning", "health_disk")], "it swings about the limit: one episode"
    restarted = Health(home, records)
    used[0] = 97.0
    assert restarted.watch(controls) == [], "a new start does not tell it again"
    used[0] = 80.0
    for _ in range(5):
        restarted.watch(controls)
    assert told(records) == [("warning", "health_disk"), ("info", "health_disk")]
    used[0] = 99.0
    assert Health(home, records).watch(controls) == ["health_disk"]


def test_slow_bars_many_errors_and_a_broken_dependency_are_told(records: Records, home: Path) -> None:
    health = Health(home, records, HealthLimits(disk_percent_max=100.0, memory_percent_max=100.0))
    controls = Controls(records)
    for _ in range(19):
        health.latency.add("total", 3.5)
    health.operations.add(True)
    assert health.watch(controls) == [], "nineteen bars are too few to judge"
    health.latency.add("total", 3.5)
    health.operations.add(False)
    assert health.watch(controls) == ["health_latency"], "one failure is no rate"
    health.operations.add(False)
    assert health.watch(controls) == ["health_errors"]
    folder = a_model(ModelRegistry(home, records, HandClock()), "naive_normal-x", "sample")
    shutil.rmtree(folder)
    health.examine()
    assert health.watch(controls) == ["health_models"]
    assert told(records)[-1] == ("critical", "health_models")
    what = {alert.kind: alert.what for alert in controls.alerts()}
    assert "3.50 s" in what["health_latency"] and "66.67%" in what["health_errors"]


def test_what_is_not_known_opens_no_episode_and_ends_none(records: Records) -> None:
    from tradewind.live.health import _Episodes

    episodes, controls = _Episodes(records), Controls(records)
    for ok, expected in ((None, 0), (False, 1), (None, 1), (None, 1), (None, 1), (None, 1), (False, 1)):
        episodes.follow(Judgement("clock", ok, "warning", "x"), controls)
        assert len(controls.alerts()) == expected


# -- readiness --------------------------------------------------------------------------------------------------


def test_it_is_ready_when_it_is_warm_fresh_and_can_store_and_says_every_reason_why_not(
    records: Records, home: Path
) -> None:
    health = Health(home, records)
    assert health.readiness() == (False, ["warming up: the start", "no fresh bar"])
    health.warming = None
    health.freshness = lambda: {"seconds": 900.0, "limit": 600.0, "stale": True}
    assert health.readiness() == (False, ["the newest bar is 900 s old"])
    health.freshness = lambda: {"seconds": 1.0, "limit": 600.0, "stale": False}
    assert health.readiness() == (True, [])
    shutil.rmtree(a_model(ModelRegistry(home, records, HandClock()), "naive_normal-x", "sample"))
    health.examine()
    ready, reasons = health.readiness()
    assert not ready and reasons[0].startswith("models: ")


def test_doctor_looks_at_the_models_and_leaves_an_older_store_alone(records: Records, home: Path) -> None:
    folder = a_model(ModelRegistry(home, records, HandClock()), "naive_normal-x", "sample")
    assert [one["ok"] for one in checks.of_a_home(home)] == [True, True, True]
    (folder / artefacts.CARD).write_text("{}", "utf-8")
    named = {one["check"]: one for one in checks.of_a_home(home)}
    assert not named["models"]["ok"] and str(folder) in named["models"]["detail"]
    with records.database.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    named = {one["check"]: one for one in checks.of_a_home(home)}
    assert named["models"]["ok"] and "older version" in named["models"]["detail"]
    with records.database.reading() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == "0001"

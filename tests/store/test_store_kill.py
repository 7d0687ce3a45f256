"""`kill -9` at any moment: nothing lost, nothing doubled, and the next start goes on. Full disks too."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from store_kit import RECORDED, lake_bars, request_all
from sync_and_die import BARS, SYMBOLS, source

from tradewind.clock import FixedClock
from tradewind.errors import RetryError
from tradewind.market.store.lake import Lake
from tradewind.market.store.records import Records
from tradewind.market.sync import SyncReport, sync

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there is no kill -9 on Windows")
SCRIPT = Path(__file__).with_name("sync_and_die.py")


def start(home: Path, last: int, limit: Callable[[], None] | None = None) -> subprocess.Popen[str]:
    # -B: who dies, or may write small files only, would leave half a compiled module to everybody else.
    command = [sys.executable, "-B", str(SCRIPT), str(home), str(last)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, preexec_fn=limit, **pipes)  # type: ignore[call-overload,no-any-return]


def finish(home: Path) -> tuple[SyncReport, Lake]:
    lake, records, served = Lake(home / "lake"), Records(f"sqlite:///{home}/records.db"), source()
    report = sync(lake, records, served, request_all(served), clock=FixedClock(RECORDED), batch_rows=1)
    records.close()
    return report, lake


def assert_whole(lake: Lake) -> None:
    versions = lake.table_versions("bars")
    assert versions.height == len(SYMBOLS) * BARS, "every bar is there once, in one version"
    assert (
        lake.read_bars(None, "1d")
        .select("symbol", "time", "close")
        .sort("symbol", "time")
        .equals(source().bars.select("symbol", "time", "close").sort("symbol", "time"))
    )
    assert lake.read_actions()["symbol"].to_list() == list(SYMBOLS)
    assert lake.check() == []


@pytest.mark.parametrize("step", [2, 5, 7, 8, 9, 20])
def test_killed_at_any_step_a_sync_goes_on_without_gap_or_double(tmp_path: Path, step: int) -> None:
    killed = start(tmp_path, step)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert_no_bars_without_actions(Lake(tmp_path / "lake"))
    report, lake = finish(tmp_path)
    assert_whole(lake)
    assert not set(report.resumed) & set(report.without_data)


def assert_no_bars_without_actions(lake: Lake) -> None:
    with_bars = set(lake.read_bars(None, "1d")["symbol"])
    assert with_bars <= set(lake.read_actions()["symbol"]), "a split must be seen before its bars are"


def test_killed_from_outside_in_the_middle_of_writing(tmp_path: Path) -> None:
    victim = start(tmp_path, 0)
    while victim.poll() is None and not any((tmp_path / "lake").rglob("year=*/*.parquet")):
        pass
    victim.kill()
    victim.communicate()
    _, lake = finish(tmp_path)
    assert_whole(lake)


def test_killed_again_and_again_it_still_arrives(tmp_path: Path) -> None:
    for _ in range(2):
        killed = start(tmp_path, 8)
        killed.communicate()
    report, lake = finish(tmp_path)
    assert_whole(lake)
    assert len(report.resumed) >= 1


def small_files_only() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, 6_000))


def test_a_full_disk_says_so_and_loses_nothing(tmp_path: Path) -> None:
    report, lake = finish(tmp_path)
    before = lake.read_bars(None, "1d")
    full = start(tmp_path / "none", 0, small_files_only)
    _, errors = full.communicate()
    assert full.returncode != 0
    assert "RetryError" in errors
    assert "free some space" in errors
    assert lake.read_bars(None, "1d").equals(before)
    assert report.bars.added == before.height


def test_a_lake_on_a_full_disk_keeps_what_it_has_and_takes_the_rest_later(lake: Lake) -> None:
    served = source()
    old = served.bars.filter(pl.col("symbol") == "AAA")
    lake.append(lake_bars(old), recorded_at=RECORDED)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, hard))
    try:
        with pytest.raises(RetryError, match="no space left"):
            lake.append(lake_bars(served.bars), recorded_at=RECORDED)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert set(lake.read_bars(None, "1d")["symbol"]) == {"AAA"}
    lake.append(lake_bars(served.bars), recorded_at=RECORDED)
    assert lake.read_bars(None, "1d").height == len(SYMBOLS) * BARS
    assert lake.check() == []

"""The lake keeps every version, shows the right one, and says clearly when it cannot."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from store_kit import FIRST_CLOSE, LAG, RECORDED, lake_actions, lake_bars, source_actions, source_bars, store

from tradewind.errors import DataError, InputError, RetryError
from tradewind.market.bars import BAR_SCHEMA
from tradewind.market.store.lake import Lake, Pin
from tradewind.market.store.lock import writer_lock
from tradewind.market.store.table import Appended

LATER = RECORDED + timedelta(days=1)


def test_what_was_stored_comes_back_with_its_types(lake: Lake) -> None:
    store(lake, source_bars("AAPL", [10.0, 11.0, 12.0]))
    bars = lake.read_bars(["AAPL"], "1d")
    assert dict(bars.schema) == BAR_SCHEMA
    assert bars["close"].to_list() == [10.0, 11.0, 12.0]
    assert bars["known_at"].to_list() == [t + LAG for t in bars["time"]]
    assert all(RECORDED <= moment < RECORDED + timedelta(seconds=1) for moment in bars["recorded_at"])


def test_rows_known_already_are_not_stored_again(lake: Lake) -> None:
    bars = lake_bars(source_bars("AAPL", [10.0, None, 12.0]))
    assert lake.append(bars, recorded_at=RECORDED).bars == Appended(added=3)
    version = lake.pin().versions
    assert lake.append(bars, recorded_at=LATER).bars == Appended(unchanged=3)
    assert lake.pin().versions == version


def test_a_missing_price_stays_missing(lake: Lake) -> None:
    store(lake, source_bars("AAPL", [10.0, None, float("nan")]))
    close = lake.read_bars(["AAPL"], "1d")["close"]
    assert close[1] is None
    assert close[2] != close[2]


def test_a_correction_is_a_later_row_and_the_first_version_stays(lake: Lake) -> None:
    store(lake, source_bars("AAPL", [10.0, 11.0]))
    before = lake.pin()
    done = lake.append(lake_bars(source_bars("AAPL", [10.0, 11.5])), recorded_at=LATER)
    assert done.bars == Appended(corrected=1, unchanged=1)
    assert lake.read_bars(["AAPL"], "1d")["close"].to_list() == [10.0, 11.5]
    assert lake.read_bars(["AAPL"], "1d", pin=before)["close"].to_list() == [10.0, 11.0]
    assert lake.read_bars(["AAPL"], "1d", as_of=LATER - timedelta(seconds=1))["close"].to_list() == [10.0, 11.0]
    corrected = lake.read_bars(["AAPL"], "1d").row(1, named=True)
    assert corrected["known_at"] == LATER
    assert corrected["vintage"] == "observed"


def test_a_correction_back_to_the_first_value_is_seen(lake: Lake) -> None:
    for day, price in enumerate((10.0, 11.0, 10.0)):
        moment = RECORDED + timedelta(days=day)
        lake.append(lake_bars(source_bars("AAPL", [price])), recorded_at=moment)
    assert lake.read_bars(None, "1d")["close"].to_list() == [10.0]
    assert lake.read_bars(None, "1d", as_of=RECORDED + timedelta(days=1))["close"].to_list() == [11.0]


def test_nothing_is_seen_before_it_was_known(lake: Lake) -> None:
    store(lake, source_bars("AAPL", [10.0, 11.0]))
    at_close = FIRST_CLOSE
    assert lake.read_bars(None, "1d", as_of=at_close).is_empty()
    assert lake.read_bars(None, "1d", as_of=at_close + LAG)["close"].to_list() == [10.0]


def test_a_clock_that_stands_still_cannot_slip_rows_behind_a_pin(lake: Lake) -> None:
    store(lake, source_bars("AAPL", [10.0]))
    pin = lake.pin()
    store(lake, source_bars("MSFT", [20.0]), at=RECORDED)
    assert lake.read_bars(None, "1d", pin=pin)["symbol"].to_list() == ["AAPL"]
    assert lake.read_bars(None, "1d", recorded_until=pin.recorded_at)["symbol"].to_list() == ["AAPL"]


def test_a_pin_survives_its_manifest(lake: Lake) -> None:
    store(lake, source_bars("AAPL", [10.0]))
    pin = lake.pin()
    assert Pin.from_dict(pin.to_dict()) == pin
    assert pin.digest == lake.pin().digest
    store(lake, source_bars("MSFT", [10.0]), at=LATER)
    assert lake.pin().digest != pin.digest


def test_a_pin_of_an_empty_lake_sees_nothing_for_ever(lake: Lake) -> None:
    pin = lake.pin()
    store(lake, source_bars("AAPL", [10.0]))
    assert lake.read_bars(None, "1d", pin=pin).is_empty()
    assert lake.read_actions(pin=pin).is_empty()


def test_a_pin_of_another_lake_is_refused(lake: Lake, tmp_path: Path) -> None:
    other = Lake(tmp_path / "other")
    store(lake, source_bars("AAPL", [10.0]))
    store(lake, source_bars("MSFT", [10.0]), at=LATER)
    store(other, source_bars("AAPL", [10.0]))
    with pytest.raises(DataError, match="version 1"):
        other.read_bars(None, "1d", pin=lake.pin())


def test_sources_do_not_correct_each_other(lake: Lake) -> None:
    lake.append(lake_bars(source_bars("AAPL", [10.0]), "one"), recorded_at=RECORDED)
    lake.append(lake_bars(source_bars("AAPL", [11.0]), "two"), recorded_at=LATER)
    assert lake.read_bars(None, "1d", source="one")["close"].to_list() == [10.0]
    assert lake.read_bars(None, "1d", source="two")["close"].to_list() == [11.0]
    assert lake.read_bars(None, "1d")["close"].to_list() == [11.0]


def test_reads_keep_to_symbols_period_and_timeframe(lake: Lake) -> None:
    store(lake, pl.concat([source_bars("AAPL", [1.0] * 400), source_bars("MSFT", [2.0] * 400)]))
    start, end = FIRST_CLOSE + timedelta(days=300), FIRST_CLOSE + timedelta(days=390)
    bars = lake.read_bars(["MSFT"], "1d", start, end)
    assert set(bars["symbol"]) == {"MSFT"}
    assert (bars["time"].min(), bars["time"].max(), bars.height) == (start, end, 91)
    assert lake.read_bars(["MSFT"], "1h").is_empty()
    assert lake.read_bars(["NONE"], "1d").is_empty()


def test_times_are_found_to_the_microsecond(lake: Lake) -> None:
    odd = FIRST_CLOSE + timedelta(microseconds=123_456)
    store(lake, source_bars("AAPL", [1.0], first=odd))
    assert lake.read_bars(None, "1d", start=odd).height == 1
    assert lake.read_bars(None, "1d", start=odd + timedelta(microseconds=1)).is_empty()
    assert lake.read_bars(None, "1d", end=odd - timedelta(microseconds=1)).is_empty()


def test_an_unknown_timeframe_is_refused_with_the_nearest(lake: Lake) -> None:
    with pytest.raises(InputError, match="1d"):
        lake.read_bars(None, "1day")


def test_actions_are_versioned_too(lake: Lake) -> None:
    first = source_actions([("AAPL", FIRST_CLOSE, "dividend", 0.5, "")])
    second = source_actions([("AAPL", FIRST_CLOSE, "dividend", 0.6, "")])
    lake.append(lake_bars(source_bars("AAPL", [1.0])), lake_actions(first), recorded_at=RECORDED)
    pin = lake.pin()
    lake.append(lake_bars(source_bars("AAPL", [1.0])), lake_actions(second), recorded_at=LATER)
    assert lake.read_actions()["value"].to_list() == [0.6]
    assert lake.read_actions(pin=pin)["value"].to_list() == [0.5]


def test_one_fact_with_two_values_in_one_append_is_refused(lake: Lake) -> None:
    twice = pl.concat([lake_bars(source_bars("AAPL", [1.0])), lake_bars(source_bars("AAPL", [2.0]))])
    with pytest.raises(DataError, match="two values"):
        lake.append(twice, recorded_at=RECORDED)
    assert lake.read_bars(None, "1d").is_empty()


def test_rows_without_a_time_or_columns_are_refused(lake: Lake) -> None:
    bars = lake_bars(source_bars("AAPL", [1.0]))
    with pytest.raises(DataError, match="no value in time"):
        lake.append(bars.with_columns(time=pl.lit(None, dtype=BAR_SCHEMA["time"])), recorded_at=RECORDED)
    with pytest.raises(DataError, match="close"):
        lake.append(bars.drop("close"), recorded_at=RECORDED)


def test_compaction_changes_no_answer_and_keeps_pinned_runs(lake: Lake) -> None:
    pins = []
    for day in range(4):
        bars = source_bars("AAPL", [float(day)] + [5.0] * day)
        store(lake, bars, at=RECORDED + timedelta(days=day))
        pins.append((lake.pin(), lake.read_bars(None, "1d")))
    now = lake.read_bars(None, "1d")
    files = len(lake.table_files())
    lake.compact()
    assert len(lake.table_files()) < files
    assert lake.read_bars(None, "1d").equals(now)
    lake.prune([pin for pin, _ in pins], older_than=timedelta(0))
    for pin, seen in pins:
        assert lake.read_bars(None, "1d", pin=pin).equals(seen)


def test_pruning_deletes_only_what_no_pin_needs(lake: Lake) -> None:
    for day in range(4):
        store(lake, source_bars("AAPL", [5.0] * (day + 1)), at=RECORDED + timedelta(days=day))
    now = lake.read_bars(None, "1d")
    lake.compact()
    assert lake.prune([], older_than=timedelta(0)) > 0
    assert lake.read_bars(None, "1d").equals(now)
    assert lake.check() == []


def test_coverage_counts_bars_and_corrections(lake: Lake) -> None:
    store(lake, source_bars("AAPL", [1.0, 2.0]))
    store(lake, source_bars("AAPL", [1.0, 2.5, 3.0]), at=LATER)
    row = lake.coverage().row(0, named=True)
    assert (row["symbol"], row["bars"], row["corrections"]) == ("AAPL", 3, 1)
    assert row["last"] == FIRST_CLOSE + timedelta(days=2)


def data_file(lake: Lake) -> Path:
    return next((lake.root / "bars").rglob("*.parquet"))


def test_a_truncated_file_is_named_and_not_deleted(lake: Lake) -> None:
    store(lake, source_bars("AAPL", [1.0] * 50))
    path = data_file(lake)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=path.name) as failure:
        lake.read_bars(None, "1d")
    assert "restore" in str(failure.value)
    assert path.exists()
    assert any(path.name in problem for problem in lake.check())


def test_a_file_of_noise_is_named(lake: Lake) -> None:
    store(lake, source_bars("AAPL", [1.0] * 50))
    path = data_file(lake)
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(DataError, match=path.name):
        lake.read_bars(None, "1d")


def test_a_missing_file_is_named(lake: Lake) -> None:
    store(lake, source_bars("AAPL", [1.0]))
    path = data_file(lake)
    path.rename(path.with_suffix(".moved"))
    with pytest.raises(DataError, match=f"{path.name} is missing"):
        lake.read_bars(None, "1d")


def test_a_broken_log_is_named(lake: Lake) -> None:
    store(lake, source_bars("AAPL", [1.0]))
    log = lake.root / "bars" / "_delta_log" / f"{0:020d}.json"
    log.write_text(log.read_text()[:50])
    with pytest.raises(DataError, match=log.name):
        Lake(lake.root).read_bars(None, "1d")
    assert log.exists()


def test_a_broken_file_spares_the_others(lake: Lake) -> None:
    old = datetime(2010, 1, 4, 21, tzinfo=UTC)
    store(lake, pl.concat([source_bars("AAPL", [1.0]), source_bars("AAPL", [2.0], first=old)]))
    next((lake.root / "bars" / "timeframe=1d" / "year=2010").glob("*.parquet")).write_bytes(b"")
    assert lake.read_bars(None, "1d", start=FIRST_CLOSE)["close"].to_list() == [1.0]


def test_a_second_writer_is_told_to_wait(lake: Lake) -> None:
    with (
        writer_lock(lake.root / "writer.lock", patience_seconds=0),
        pytest.raises(RetryError, match="another process is writing"),
    ):
        store(lake, source_bars("AAPL", [1.0]))


@pytest.mark.parametrize("shared", [False, True])
def test_a_reader_beside_a_writer_sees_whole_appends_only(lake: Lake, shared: bool) -> None:
    done = threading.Event()

    def write() -> None:
        try:
            for day in range(8):
                first = FIRST_CLOSE + timedelta(days=400 * day)
                store(lake, source_bars("AAPL", [1.0] * 400, first=first), at=RECORDED + timedelta(days=day))
        finally:
            done.set()

    writer = threading.Thread(target=write)
    reader = lake if shared else Lake(lake.root)
    seen = [0]
    writer.start()
    while not done.is_set():
        seen.append(reader.read_bars(None, "1d").height)
    writer.join()
    seen.append(reader.read_bars(None, "1d").height)
    assert seen == sorted(seen)
    assert all(height % 400 == 0 for height in seen)
    assert seen[-1] == 3200

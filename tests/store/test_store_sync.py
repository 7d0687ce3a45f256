"""A sync brings what is new, once, says what it left out, and goes on where it stopped."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import polars as pl
import pytest
from store_kit import FIRST_CLOSE, LAG, RECORDED, TableSource, request_all, source_actions, source_bars

from tradewind.clock import FixedClock
from tradewind.errors import DataError, RetryError
from tradewind.market.sources.base import Delivery, Request
from tradewind.market.store.lake import Lake
from tradewind.market.store.records import Records
from tradewind.market.store.table import Appended
from tradewind.market.sync import SyncReport, source_tag, sync

CLOCK = FixedClock(RECORDED)


def two_symbols() -> TableSource:
    return TableSource(pl.concat([source_bars("AAPL", [10.0, 11.0, 12.0]), source_bars("MSFT", [20.0, 21.0])]))


def run(lake: Lake, records: Records, source: TableSource, **options: object) -> SyncReport:
    return sync(lake, records, source, request_all(source), clock=CLOCK, **options)  # type: ignore[arg-type]


def test_a_first_sync_stores_everything_as_back_filled(lake: Lake, records: Records) -> None:
    report = run(lake, records, two_symbols())
    assert report.bars == Appended(added=5)
    bars = lake.read_bars(["AAPL"], "1d")
    assert set(bars["vintage"]) == {"assumed"}
    assert set(bars["source"]) == {"table"}
    assert bars["known_at"].to_list() == [t + LAG for t in bars["time"]]
    assert set(bars["instrument"]) == {"AAPL#1"}


def test_a_second_sync_changes_nothing(lake: Lake, records: Records) -> None:
    run(lake, records, two_symbols())
    before = lake.pin()
    report = run(lake, records, two_symbols())
    assert report.bars == Appended(unchanged=5)
    assert report.resumed == ()
    assert lake.pin() == before


def test_a_changed_value_is_a_correction(lake: Lake, records: Records) -> None:
    run(lake, records, two_symbols())
    report = run(lake, records, TableSource(source_bars("AAPL", [10.0, 11.25, 12.0, 13.0])))
    assert report.bars == Appended(added=1, corrected=1, unchanged=2)


def test_a_symbol_without_data_is_reported(lake: Lake, records: Records) -> None:
    source = two_symbols()
    report = sync(lake, records, source, request_all(source, ["GONE"]), clock=CLOCK)
    assert report.without_data == ("GONE",)


def test_a_dry_run_stores_nothing(lake: Lake, records: Records) -> None:
    report = run(lake, records, two_symbols(), dry_run=True)
    assert report.bars.added == 5
    assert lake.read_bars(None, "1d").is_empty()
    assert records.jobs() == []
    assert not lake.root.exists()


def test_rows_that_cannot_be_stored_are_counted_by_reason(lake: Lake, records: Records) -> None:
    good = source_bars("AAPL", [10.0, 11.0])
    nowhere = source_bars("AAPL", [5.0]).with_columns(time=pl.lit(None, dtype=good.schema["time"]))
    contradiction = source_bars("AAPL", [99.0])
    source = TableSource(pl.concat([good, good.head(1), contradiction]))
    source.fetch = lambda request: iter([Delivery(pl.concat([source.bars, nowhere]), source_actions())])  # type: ignore[method-assign]
    report = run(lake, records, source)
    assert report.excluded == {
        "contradicts an earlier row of the same bar": 1,
        "no symbol or time": 1,
        "repeated row": 1,
    }
    assert lake.read_bars(None, "1d")["close"].to_list() == [10.0, 11.0]


def test_marked_bars_are_stored_and_counted(lake: Lake, records: Records) -> None:
    source = TableSource(source_bars("AAPL", [10.0, -1.0, float("inf")]))
    report = run(lake, records, source)
    assert report.bars.added == 3
    assert report.excluded == {"missing-price": 1, "non-positive": 1}


def test_a_check_of_the_callers_is_used(lake: Lake, records: Records) -> None:
    run(lake, records, two_symbols(), check=lambda bars: bars.with_columns(marks=pl.lit("seen")))
    assert set(lake.read_bars(None, "1d")["marks"]) == {"seen"}


def test_two_dividends_of_one_day_add_up(lake: Lake, records: Records) -> None:
    rows = [("AAPL", FIRST_CLOSE, "dividend", 0.5, ""), ("AAPL", FIRST_CLOSE, "dividend", 2.0, "special")]
    source = TableSource(source_bars("AAPL", [10.0]), source_actions(rows))
    assert run(lake, records, source).actions == Appended(added=1)
    assert run(lake, records, source).actions == Appended(unchanged=1)
    assert lake.read_actions()["value"].to_list() == [2.5]


def test_a_rename_keeps_the_instrument(lake: Lake, records: Records) -> None:
    renamed = FIRST_CLOSE + timedelta(days=2)
    bars = pl.concat([source_bars("FB", [1.0, 2.0]), source_bars("META", [3.0, 4.0], first=renamed)])
    source = TableSource(bars, source_actions([("FB", renamed, "rename", float("nan"), "META")]))
    run(lake, records, source)
    assert lake.read_bars(["META"], "1d")["close"].to_list() == [1.0, 2.0, 3.0, 4.0]
    assert lake.read_bars(["META"], "1d")["symbol"].to_list() == ["FB", "FB", "META", "META"]
    assert run(lake, records, source).bars == Appended(unchanged=4)


def test_a_delivery_without_a_column_is_refused(lake: Lake, records: Records) -> None:
    source = TableSource(source_bars("AAPL", [1.0]).drop("close"))
    with pytest.raises(DataError, match="close"):
        run(lake, records, source)


class FaltersAfter(TableSource):
    """A source that is down from the n-th request on."""

    def __init__(self, bars: pl.DataFrame, requests: int) -> None:
        super().__init__(bars)
        self.left = requests

    def fetch(self, request: Request) -> Iterator[Delivery]:
        if self.left == 0:
            raise RetryError("the provider is down")
        self.left -= 1
        return super().fetch(request)


def test_an_outage_loses_only_what_was_not_stored(lake: Lake, records: Records) -> None:
    whole = two_symbols()
    with pytest.raises(RetryError):
        run(lake, records, FaltersAfter(whole.bars, 1), batch_rows=1)
    assert set(lake.read_bars(None, "1d")["symbol"]) == {"AAPL"}
    report = run(lake, records, whole, batch_rows=1)
    assert report.resumed == ("AAPL",)
    assert whole.asked == ["MSFT"]
    assert lake.read_bars(None, "1d").height == 5


def test_what_came_since_the_interruption_is_not_missed(lake: Lake, records: Records) -> None:
    whole = two_symbols()
    yesterday = FIRST_CLOSE + timedelta(days=1)
    short = Request(whole.symbols("1d"), "1d", FIRST_CLOSE, yesterday)
    with pytest.raises(RetryError):
        sync(lake, records, FaltersAfter(whole.bars, 1), short, clock=CLOCK, batch_rows=1)
    assert lake.read_bars(None, "1d").height == 2
    longer = Request(short.symbols, "1d", FIRST_CLOSE, yesterday + timedelta(days=1))
    report = sync(lake, records, whole, longer, clock=CLOCK, batch_rows=1)
    assert report.resumed == ("AAPL",)
    assert lake.read_bars(["AAPL"], "1d")["close"].to_list() == [10.0, 11.0, 12.0]


def test_a_report_can_be_read_by_people_and_programs(lake: Lake, records: Records) -> None:
    source = two_symbols()
    report = sync(lake, records, source, request_all(source, ["GONE"]), clock=CLOCK)
    assert report.to_dict()["bars"] == {"added": 5, "corrected": 0, "unchanged": 0}
    assert "5 added" in report.to_text()
    assert "GONE" in report.to_text()


def test_what_another_lake_has_is_not_skipped(lake: Lake, records: Records) -> None:
    whole = two_symbols()
    with pytest.raises(RetryError):
        run(lake, records, FaltersAfter(whole.bars, 1), batch_rows=1)
    fresh = Lake(lake.root.parent / "another")
    run(fresh, records, whole, batch_rows=1)
    assert fresh.read_bars(None, "1d").height == 5


def test_progress_counts_symbols(lake: Lake, records: Records) -> None:
    seen: list[tuple[int, int]] = []
    run(lake, records, two_symbols(), batch_rows=1, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


def test_a_source_is_known_by_its_tag() -> None:
    source = two_symbols()
    assert source_tag(source) == "table"
    source.tag = "table:seed=7"  # type: ignore[attr-defined]
    assert source_tag(source) == "table:seed=7"

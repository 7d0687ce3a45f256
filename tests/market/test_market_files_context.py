"""Market-wide series with one close a day beside bars that are smaller than a day."""

from datetime import UTC, datetime

import polars as pl
import pytest

from tradewind.errors import DataError
from tradewind.market.sources.base import SOURCES, Request

PERIOD = datetime(2020, 1, 2, tzinfo=UTC), datetime(2020, 1, 8, tzinfo=UTC)


@pytest.fixture
def source(tmp_path):
    """Five-minute bars of two sessions stamped with their start in New York, and a daily VIX with ranges."""
    bars = pl.DataFrame(
        {"symbol": ["A"] * 4, "time": [f"2020-01-0{d} {t}" for d in (2, 3) for t in ("09:30", "15:55")]}
    )
    bars.with_columns(**{n: pl.lit(5.0) for n in ("open", "high", "low", "close", "volume")}).write_csv(
        tmp_path / "bars.csv"
    )
    (tmp_path / "vix.csv").write_text("DATE,OPEN,HIGH,LOW,CLOSE\n2020-01-02,13,14,12,12.5\n2020-01-03,14,16,13,14\n")
    return SOURCES.create(
        "files", base=str(tmp_path), path="bars.csv", timeframe="5m", stamp="start", context={"vix": "vix.csv"}
    )


def fetched(source):
    deliveries = source.fetch(Request(source.symbols("5m"), "5m", *PERIOD))
    return pl.concat([d.bars for d in deliveries])


def test_a_daily_close_stands_at_its_sessions_close_and_its_range_is_none_of_a_small_bar(source):
    vix = fetched(source).filter(symbol="^VIX")
    assert vix["time"].to_list() == [datetime(2020, 1, d, 21, tzinfo=UTC) for d in (2, 3)]
    assert vix["close"].to_list() == [12.5, 14.0] and set(vix["marks"]) == {"close-only"}
    assert vix["high"].null_count() == vix["volume"].null_count() == 2


def test_bars_of_stocks_still_need_times_of_day(tmp_path, source):
    (tmp_path / "bars.csv").write_text("symbol,time,open,high,low,close,volume\nA,2020-01-02,5,5,5,5,5\n")
    with pytest.raises(DataError, match="5m bars need times of day"):
        fetched(source)

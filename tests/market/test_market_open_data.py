"""The source of files, and the checks, on the open data beside the project."""

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tradewind.market.actions import forward_factor
from tradewind.market.quality import report
from tradewind.market.sources.base import SOURCES, Request
from tradewind.market.universe import members_on, read_membership

DATA = Path(__file__).parents[2] / "../shared/data"
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.exists(), reason="the open data is not beside the project"),
]
EVER = datetime(1990, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)


def read(path, symbols=None, timeframe="1d", **options):
    source = SOURCES.create("files", path=str(DATA / path), timeframe=timeframe, **options)
    deliveries = list(source.fetch(Request(symbols or source.symbols(timeframe), timeframe, *EVER)))
    return tuple(pl.concat([getattr(d, part) for d in deliveries]) for part in ("bars", "actions"))


def total_return(bars, actions, symbol):
    one = bars.filter(symbol=symbol)
    at = {time: i for i, time in enumerate(one["time"])}
    split, dividend = np.ones((len(one), 1)), np.zeros((len(one), 1))
    for row in actions.filter(symbol=symbol).iter_rows(named=True):
        (split if row["kind"] == "split" else dividend)[at[row["time"]], 0] = row["value"]
    close = one["close"].to_numpy()[:, None]
    path = close * forward_factor(close, split, dividend, np.ones(close.shape, bool))
    return np.log(path[-1, 0] / path[0, 0])


def test_forward_adjustment_agrees_with_the_vendors_back_adjustment():
    names = ("AAPL", "JNJ", "XOM", "NFLX", "KO")
    bars, actions = read("daily/sp500_ohlcv_2005_2016.parquet", names)
    theirs = pl.read_parquet(DATA / "daily/sp500_ohlcv_2005_2016.parquet")
    for name in names:
        adjusted = theirs.filter(ticker=name).sort("date")["adjusted_close"].to_numpy().astype(float)
        assert total_return(bars, actions, name) == pytest.approx(np.log(adjusted[-1] / adjusted[0]), abs=0.01)


def test_actions_from_an_adjusted_close_are_those_that_are_stated():
    names = ("AAPL", "KO", "NFLX")
    path = "daily/sp500_ohlcv_2005_2016.parquet"
    stated = read(path, names)[1]
    frame = pl.read_parquet(DATA / path).filter(pl.col("ticker").is_in(names))
    found = read_table(frame.drop("dividend_amount", "split_coefficient"), names)
    for name in names:
        splits = [a.filter(symbol=name, kind="split").select("time", "value").rows() for a in (stated, found)]
        assert splits[0] == splits[1]
        paid = [a.filter(symbol=name, kind="dividend") for a in (stated, found)]
        joined = paid[0].join(paid[1], on="time")
        assert len(joined) >= 0.95 * len(paid[0])
        assert joined["value_right"].to_list() == pytest.approx(joined["value"].to_list(), rel=1e-3)


def read_table(frame, names):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bars.parquet"
        frame.write_parquet(path)
        source = SOURCES.create("files", path=str(path))
        return pl.concat([d.actions for d in source.fetch(Request(names, "1d", *EVER))])


def test_glued_snapshots_do_not_invent_events_and_lost_splits_are_suspected():
    names = ("CF", "UA", "AAPL", "KO", "SJI")
    bars, actions = read("universe/us_ohlcv_2015_2016.parquet", names)
    assert actions.filter(kind="split").is_empty()
    assert set(actions.filter(kind="dividend")["symbol"]) >= {"AAPL", "KO"}
    suspected = report(bars, actions).findings.filter(check="split-suspected")
    assert {(s, t.date()) for s, t in suspected.select("symbol", "time").rows()} == {
        ("CF", date(2015, 6, 18)),
        ("UA", date(2016, 4, 8)),
        ("SJI", date(2015, 5, 8)),
    }


def test_the_one_minute_feed_is_found_to_be_partial():
    minutes, _ = read("intraday/us_1min_2025Q4.parquet", timeframe="1m")
    five, _ = read("intraday/us_5min_2025H2.parquet", ("SPY", "QQQ", "NVDA"), timeframe="5m")
    findings = report(minutes, timeframe="1m", volume_reference=five).findings
    assert findings.filter(check="partial-feed")["symbol"].to_list() == ["NVDA", "QQQ", "SPY"]


def test_clock_hours_of_new_york_end_with_the_session():
    bars, _ = read("intraday/us_hourly_1998_2016.parquet", ("SPY",), timeframe="1h")
    assert bars["time"].dt.convert_time_zone("America/New_York").dt.hour().is_between(10, 16).all()


def test_index_and_vix_ride_along_as_context():
    options = {"context": {"index": str(DATA / "macro/gspc_close.csv.gz"), "vix": str(DATA / "macro/vix_daily.csv.gz")}}
    bars, _ = read("macro/etf_daily_raw.parquet", ("SPY", "^GSPC", "^VIX"), **options)
    assert bars.group_by("symbol").len().filter(pl.col("len") > 4000).height == 3


def test_membership_lists_of_the_indices_have_their_size():
    nasdaq = read_membership(DATA / "reference/nasdaq100_changes")
    assert all(100 <= len(members_on(nasdaq, date(year, 6, 1))) <= 108 for year in range(2015, 2026))
    sp500 = read_membership(DATA / "reference/sp500_ticker_start_end.csv")
    assert all(480 <= len(members_on(sp500, date(year, 6, 1))) <= 510 for year in range(2000, 2020))

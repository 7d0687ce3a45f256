"""Yahoo's source against a local server that speaks its wire format, over real HTTP."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from market_yahoo_standin import TOO_MANY, chart, chart_error
from polars.testing import assert_frame_equal

from tradewind.errors import DataError, InputError, RetryError
from tradewind.market.sources.base import SOURCES, Request

START, END = datetime(2018, 1, 1, tzinfo=UTC), datetime(2019, 12, 31, 23, tzinfo=UTC)


def fetch(source, symbols=("AAA",), start=START, end=END, timeframe="1d"):
    deliveries = list(source.fetch(Request(tuple(symbols), timeframe, start, end)))
    bars, actions = (pl.concat([getattr(d, part) for d in deliveries]) for part in ("bars", "actions"))
    return bars, actions, "\n".join(note for d in deliveries for note in d.notes)


def charts_asked(standin):
    return [query for path, query in standin.asked if path.startswith("/v8/")]


def test_split_adjusted_quotes_are_turned_back_into_what_was_traded(yahoo, invented):
    bars, actions, _ = fetch(yahoo, ("AAA", "BBB", "CCC"))
    true_bars, true_actions = invented
    assert not true_actions.filter(kind="split").is_empty()
    columns = ["symbol", "time", "open", "high", "low", "close", "volume"]
    assert_frame_equal(bars.select(columns), true_bars.select(columns), rel_tol=2e-6)
    assert_frame_equal(actions, true_actions.select(actions.columns), rel_tol=1e-6)


def test_only_bars_that_a_later_split_moved_are_marked(yahoo, invented):
    bars, actions, _ = fetch(yahoo)
    split = actions.filter(kind="split")["time"].max()
    moved = bars.filter(adjustment="reconstructed")["time"]
    assert moved.max() < split
    assert len(moved) == bars.filter(pl.col("time") < split).height


def test_a_split_after_the_period_asked_for_is_undone_too(yahoo, invented):
    bars, actions = invented
    split = actions.filter((pl.col("kind") == "split") & (pl.col("symbol") == "AAA"))["time"].max()
    got, events, _ = fetch(yahoo, end=split - timedelta(days=5))
    true = bars.filter((pl.col("symbol") == "AAA") & (pl.col("time") <= split - timedelta(days=5)))
    assert_frame_equal(got.select("time", "close"), true.select("time", "close"), rel_tol=2e-6)
    assert split not in events["time"].to_list()


def test_the_question_is_asked_the_way_yahoo_wants_it(yahoo, standin, timepiece):
    fetch(yahoo)
    (query,) = charts_asked(standin)
    assert query["interval"] == "1d" and query["events"] == "div,splits" and query["includePrePost"] == "false"
    assert int(query["period1"]) == int(START.timestamp())
    assert int(query["period2"]) >= int(timepiece.now().timestamp())


def test_a_symbol_with_a_caret_is_quoted(yahoo, standin, invented):
    bars, actions = invented
    standin.charts["^GSPC", "1d"] = chart("^GSPC", bars.filter(symbol="BBB"), actions.clear())
    got, _, _ = fetch(yahoo, ("^GSPC",))
    assert len(got) == bars.filter(symbol="BBB").height


def test_a_bar_whose_session_still_runs_is_left_out(yahoo, timepiece, invented):
    last = invented[0].filter(symbol="BBB")["time"].max()
    timepiece.instant = last - timedelta(minutes=10)
    bars, _, notes = fetch(yahoo, ("BBB",))
    assert bars["time"].max() < last
    assert "1 bars not closed yet" in notes


def test_rows_of_nulls_are_left_out_and_half_empty_ones_excluded(yahoo, standin):
    quote = standin.charts["BBB", "1d"]["chart"]["result"][0]["indicators"]["quote"][0]
    for name in quote:
        quote[name][3] = None
    quote["open"][5] = None
    bars, _, notes = fetch(yahoo, ("BBB",))
    assert "1 bars without prices" in notes
    assert bars.filter(marks="excluded:missing-price").height == 1


# --- intraday, and how far back


@pytest.fixture
def minutes(standin, timepiece):
    """Five-minute and hourly bars of January 2020, and the source that asks for them."""
    source = SOURCES.create("synthetic", n_symbols=1)
    for timeframe in ("5m", "1h"):
        start = datetime(2020, 1, 2, tzinfo=UTC)
        (delivery,) = source.fetch(Request(("SYN000",), timeframe, start, timepiece.now()))
        standin.charts["SYN000", timeframe] = chart("SYN000", delivery.bars, delivery.actions.clear(), timeframe)
    return SOURCES.create("yahoo", base_url=standin.url, cache_path="-", clock=timepiece, sleep=timepiece.sleep)


def test_intraday_bars_are_stamped_with_their_close(minutes):
    bars, _, _ = fetch(minutes, ("SYN000",), datetime(2020, 1, 6, tzinfo=UTC), datetime(2020, 1, 7, tzinfo=UTC), "5m")
    assert len(bars) == 78
    assert bars["time"][0] == datetime(2020, 1, 6, 14, 35, tzinfo=UTC)
    assert bars["time"][-1] == datetime(2020, 1, 6, 21, 0, tzinfo=UTC)


@pytest.mark.parametrize(("timeframe", "days"), [("1m", 7), ("5m", 60), ("15m", 60), ("30m", 60), ("1h", 730)])
def test_the_look_back_of_each_bar_size_is_yahoos(minutes, timeframe, days, timepiece):
    assert minutes.look_back()[timeframe] == timedelta(days=days)
    long_ago = timepiece.now() - timedelta(days=days + 1)
    with pytest.raises(InputError, match=f"last {days} days only"):
        fetch(minutes, ("SYN000",), long_ago - timedelta(days=9), long_ago, timeframe)


def test_a_period_that_begins_too_early_is_cut_and_said_so(minutes, standin, timepiece):
    _, _, notes = fetch(minutes, ("SYN000",), timepiece.now() - timedelta(days=90), timepiece.now(), "5m")
    assert "5m bars go back 60 days: cut to 2019-12-02" in notes
    (query,) = charts_asked(standin)
    assert int(query["period1"]) == int((timepiece.now() - timedelta(days=60)).timestamp())


# --- what goes wrong


def test_an_unknown_symbol_is_reported_in_yahoos_words_and_the_others_come(yahoo):
    bars, _, notes = fetch(yahoo, ("NOPE", "BBB"))
    assert set(bars["symbol"]) == {"BBB"}
    assert "NOPE: No data found, symbol may be delisted" in notes


def test_an_empty_answer_is_reported(yahoo, standin):
    standin.script = [(200, json.dumps({"chart": {"result": [], "error": None}}), {})]
    bars, _, notes = fetch(yahoo)
    assert bars.is_empty() and "AAA: no bars in the period" in notes


def test_throttling_is_waited_out_with_growing_pauses(yahoo, standin, timepiece):
    standin.script = [TOO_MANY, TOO_MANY, TOO_MANY]
    bars, _, _ = fetch(yahoo)
    assert len(bars) > 400
    assert [s for s in timepiece.sleeps if s >= 1] == [1.0, 2.0, 4.0]


def test_the_pause_that_the_server_asks_for_is_kept(yahoo, standin, timepiece):
    standin.script = [(429, "Too Many Requests", {"Retry-After": "17"})]
    fetch(yahoo)
    assert 17.0 in timepiece.sleeps


def test_jitter_shortens_pauses_by_up_to_half(standin, timepiece):
    standin.script = [TOO_MANY]
    source = SOURCES.create(
        "yahoo", base_url=standin.url, cache_path="-", clock=timepiece, sleep=timepiece.sleep, jitter=lambda: 1.0
    )
    fetch(source, ("NOPE",))
    assert 0.5 in timepiece.sleeps


def test_endless_throttling_ends_in_try_again_later(yahoo, standin):
    standin.script = [TOO_MANY] * 6
    with pytest.raises(RetryError, match=r"too many requests \(429\) \(6 attempts\)"):
        fetch(yahoo)
    assert len(charts_asked(standin)) == 6


def test_a_failing_server_is_asked_again(yahoo, standin):
    standin.script = [(503, "upstream", {}), (500, "{}", {})]
    assert len(fetch(yahoo)[0]) > 400
    standin.script = [(502, "bad gateway", {})] * 6
    with pytest.raises(RetryError, match=r"the server failed \(502\)"):
        fetch(yahoo, ("BBB",))


def test_a_stale_crumb_is_renewed_once(yahoo, standin):
    standin.crumb = "cRuMb.1"
    assert len(fetch(yahoo)[0]) > 400
    assert [path for path, _ in standin.asked] == [
        "/v8/finance/chart/AAA",
        "/cookie",
        "/v1/test/getcrumb",
        "/v8/finance/chart/AAA",
    ]


def test_a_crumb_that_is_refused_again_ends_in_try_again_later(yahoo, standin):
    standin.crumb = "another"
    with pytest.raises(RetryError, match="invalid crumb"):
        fetch(yahoo)


def test_a_page_in_the_place_of_json_is_worth_another_attempt(yahoo, standin):
    standin.script = [(200, "<html>consent</html>", {})]
    assert len(fetch(yahoo)[0]) > 400


def test_json_that_stays_malformed_is_a_data_error(yahoo, standin):
    standin.script = [(200, '{"chart": {"result": [{"meta"', {})] * 6
    with pytest.raises(DataError, match="is no JSON"):
        fetch(yahoo)


@pytest.mark.parametrize(
    "broken",
    [
        {"chart": {"result": [{"timestamp": [1], "indicators": {"quote": [{}]}, "meta": {}}]}},
        {"chart": {"result": "none"}},
        {"spark": {}},
    ],
)
def test_an_answer_of_another_shape_is_a_data_error(yahoo, standin, broken):
    standin.script = [(200, json.dumps(broken), {})]
    with pytest.raises(DataError, match="unknown shape"):
        fetch(yahoo)


def test_series_of_unequal_length_are_a_data_error(yahoo, standin):
    standin.charts["AAA", "1d"]["chart"]["result"][0]["indicators"]["quote"][0]["close"].pop()
    with pytest.raises(DataError, match="unknown shape"):
        fetch(yahoo)


def test_a_refused_question_is_the_callers(yahoo, standin):
    said = "1m data not available for startTime=1. Only 8 days worth of 1m granularity data are allowed"
    standin.script = [(422, json.dumps(chart_error("Unprocessable Entity", said)), {})]
    with pytest.raises(InputError, match="Only 8 days"):
        fetch(yahoo)


def test_a_server_that_is_not_there_ends_in_try_again_later(timepiece, standin):
    standin.close()
    source = SOURCES.create(
        "yahoo", base_url=standin.url, cache_path="-", clock=timepiece, sleep=timepiece.sleep, retries=1, timeout_s=0.5
    )
    with pytest.raises(RetryError, match="no answer"):
        fetch(source)


def test_an_exchange_without_a_calendar_is_a_data_error(yahoo, standin):
    standin.charts["AAA", "1d"]["chart"]["result"][0]["meta"]["exchangeTimezoneName"] = "Asia/Karachi"
    with pytest.raises(DataError, match="Asia/Karachi"):
        fetch(yahoo)


# --- manners, and the cache


def test_requests_are_spaced_out(yahoo, timepiece):
    began = timepiece.now()
    fetch(yahoo, ("AAA", "BBB", "CCC"))
    assert (timepiece.now() - began).total_seconds() == pytest.approx(1.0)  # two a second


def test_a_fresh_answer_comes_from_the_cache(yahoo, standin, timepiece):
    first = fetch(yahoo)
    timepiece.instant += timedelta(minutes=59)
    second = fetch(yahoo)
    assert second[0].equals(first[0]) and len(charts_asked(standin)) == 1


def test_a_stale_answer_is_asked_for_again(yahoo, standin, timepiece):
    fetch(yahoo)
    timepiece.instant += timedelta(minutes=61)
    fetch(yahoo)
    assert len(charts_asked(standin)) == 2


def test_a_damaged_cache_is_asked_for_again(yahoo, standin, tmp_path):
    fetch(yahoo)
    (held,) = (tmp_path / "cache").glob("*.json")
    held.write_text("{")
    assert len(fetch(yahoo)[0]) > 400
    assert len(charts_asked(standin)) == 2


def test_failures_are_not_cached(yahoo, standin, tmp_path):
    fetch(yahoo, ("NOPE",))
    assert not list((tmp_path / "cache").glob("*"))


def test_a_cache_that_cannot_be_written_is_a_note(yahoo, tmp_path):
    (tmp_path / "cache").write_text("a file is in the way")
    bars, _, notes = fetch(yahoo)
    assert len(bars) > 400 and "cannot be written" in notes


# --- yfinance reads the same wire format the same way


def test_yfinance_reads_the_same_answer_the_same_way(yahoo, standin, monkeypatch, tmp_path):
    yfinance = pytest.importorskip("yfinance")
    for module in ("yfinance.base", "yfinance.scrapers.history"):
        monkeypatch.setattr(f"{module}._BASE_URL_", standin.url)
    monkeypatch.setattr("yfinance.data.YfData._get_cookie_and_crumb", lambda *_, **__: (None, "basic"))
    yfinance.set_tz_cache_location(str(tmp_path))
    theirs = yfinance.Ticker("AAA").history(start="2018-01-01", end="2020-01-01", auto_adjust=False, actions=True)
    mine, actions, _ = fetch(yahoo)
    splits = actions.filter(kind="split")
    later = [splits.filter(pl.col("time") > time)["value"].product() for time in mine["time"]]
    assert theirs["Close"].to_list() == pytest.approx((mine["close"] / pl.Series(later)).to_list(), rel=1e-6)
    assert theirs["Stock Splits"].loc[lambda s: s != 0].to_list() == splits["value"].to_list()
    assert [t.date() for t in theirs.index] == [t.date() for t in mine["time"]]

"""Dates, results and fundamentals are known when the world knew them, whoever tells them."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market_yahoo_standin import TOO_MANY, Standin, finance_error

from tradewind.errors import DataError, InputError, RetryError
from tradewind.market.calendar import calendar
from tradewind.market.events import EVENT_SCHEMA, EVENT_SOURCES, FUNDAMENTAL_SCHEMA, Agenda, dividend_yield, event_rows
from tradewind.market.panel import Panel
from tradewind.market.sources._event_tables import Filing, twelve_months
from tradewind.market.sources.base import SOURCES, Request

DATA = Path(__file__).parents[2] / "../shared/data"
NEW_YORK = calendar("XNYS")
START, END = datetime(2012, 1, 3, tzinfo=UTC), datetime(2014, 1, 1, tzinfo=UTC)


def closes(start, end, timeframe="1d"):
    return NEW_YORK.bar_closes(timeframe, start, end)


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def agenda(*rows):
    """Rows of (symbol, event, date, hour, state, known_at, value) about earnings."""
    names = ("symbol", "event", "date", "hour", "state", "known_at", "value")
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    columns["known_at"] = pl.Series([at(k) for k in columns["known_at"]], dtype=pl.Datetime("us", "UTC"))
    columns["value"] = pl.Series(columns["value"], dtype=pl.Float64)
    columns["date"] = pl.Series(columns["date"], dtype=pl.Date)
    return Agenda(event_rows({**columns, "kind": ["earnings"] * len(rows)}))


WEEKS = closes(at("2013-03-01"), at("2013-04-20"))
DAYS = [str(t)[:10] for t in WEEKS]


def count(result, day):
    return result[DAYS.index(day), 0]


# --- questions


def test_one_means_that_the_next_open_shows_them_whatever_the_hour():
    for hour, day in (("bmo", date(2013, 3, 20)), ("", date(2013, 3, 20)), ("amc", date(2013, 3, 19))):
        got = agenda(("A", "Q1", day, hour, "scheduled", "2013-03-04", None)).next_earnings(["A"], WEEKS)
        assert count(got, "2013-03-19") == 1 and count(got, "2013-03-18") == 2
        assert np.isnan(count(got, "2013-03-20"))


def test_holidays_and_week_ends_are_no_sessions():
    good_friday = agenda(("A", "Q1", date(2013, 3, 29), "bmo", "scheduled", "2013-03-04", None))
    assert count(good_friday.next_earnings(["A"], WEEKS), "2013-03-28") == 1  # the Monday after shows them
    saturday = agenda(("A", "Q1", date(2013, 3, 16), "amc", "scheduled", "2013-03-04", None))
    assert count(saturday.next_earnings(["A"], WEEKS), "2013-03-14") == 2


def test_a_date_counts_from_the_bar_that_could_know_it():
    got = agenda(("A", "Q1", date(2013, 3, 20), "bmo", "scheduled", "2013-03-06T20:59", None)).next_earnings(
        ["A"], WEEKS
    )
    assert np.isnan(count(got, "2013-03-05")) and count(got, "2013-03-06") == 10


def test_a_changed_date_counts_from_its_correction_on_and_never_before():
    rows = [
        ("A", "Q1", date(2013, 3, 20), "bmo", "scheduled", "2013-03-01", None),
        ("A", "Q1", date(2013, 3, 27), "bmo", "scheduled", "2013-03-12T12:00", None),
    ]
    got = agenda(*rows).next_earnings(["A"], WEEKS)
    assert count(got, "2013-03-11") == 7 and count(got, "2013-03-12") == 11
    assert count(got, "2013-03-20") == 5 and np.isnan(count(got, "2013-03-27"))
    cancelled = agenda(*rows, ("A", "Q1", None, "", "cancelled", "2013-03-13T12:00", None)).next_earnings(["A"], WEEKS)
    assert count(cancelled, "2013-03-12") == 11 and np.isnan(count(cancelled, "2013-03-13"))


def test_of_several_occasions_the_next_counts():
    rows = [
        ("A", "Q2", date(2013, 4, 10), "bmo", "scheduled", "2013-03-01", None),
        ("A", "Q1", date(2013, 3, 12), "bmo", "scheduled", "2013-03-01", None),
        ("B", "Q1", date(2013, 3, 5), "bmo", "scheduled", "2013-03-01", None),
    ]
    got = agenda(*rows).next_earnings(["C", "A"], WEEKS)
    assert np.isnan(got[:, 0]).all() and got[DAYS.index("2013-03-11"), 1] == 1
    assert got[DAYS.index("2013-03-12"), 1] == 20


def test_smaller_bars_count_the_same_sessions():
    rows = ("A", "Q1", date(2013, 3, 20), "bmo", "scheduled", "2013-03-06T15:02", None)
    minutes = closes(at("2013-03-06"), at("2013-03-21"), "5m")
    got = agenda(rows).next_earnings(["A"], minutes)[:, 0]
    first = np.flatnonzero(np.isfinite(got))[0]
    assert minutes[first] == np.datetime64("2013-03-06T15:05") and got[first] == 10
    assert np.isnan(got[minutes > np.datetime64("2013-03-20T13:00")]).all()


def test_a_result_is_known_only_once_it_is_out():
    rows = [
        ("A", "Q1", date(2013, 3, 19), "amc", "scheduled", "2013-03-01", None),
        ("A", "Q1", date(2013, 3, 19), "amc", "reported", "2013-03-20T04:00", 0.05),
    ]
    got = agenda(*rows).last_surprise(["A"], WEEKS)
    assert np.isnan(count(got, "2013-03-19")) and count(got, "2013-03-20") == 0.05


def test_a_table_that_lacks_columns_is_refused():
    with pytest.raises(DataError, match="lacks kind"):
        Agenda(pl.DataFrame({"symbol": ["A"]}))


def test_the_trailing_yield_sums_a_year_in_todays_shares_and_is_unknown_before_a_year_was_seen():
    times = closes(at("2012-01-01"), at("2014-01-01"))
    close, split, dividend = (np.full((len(times), 1), v) for v in (50.0, 1.0, 0.0))
    paid = np.searchsorted(times, np.datetime64("2012-06-01"))
    halved = np.searchsorted(times, np.datetime64("2013-03-01"))
    dividend[paid], split[halved], close[halved:] = 1.0, 2.0, 25.0
    mask = np.isfinite(close)
    fields = dict.fromkeys(("open", "high", "low", "close", "volume"), close) | {"split": split, "dividend": dividend}
    panel = Panel(times, ("A",), ("A",), fields, mask, mask)
    got = dividend_yield(panel)[:, 0]
    year = np.searchsorted(times, times[0] + np.timedelta64(365, "D"))
    assert np.isnan(got[:year]).all() and got[year] == pytest.approx(1 / 50)
    assert got[halved] == pytest.approx(0.5 / 25)  # half a dollar on each of today's shares
    assert got[np.searchsorted(times, times[paid] + np.timedelta64(365, "D"))] == 0.0
    np.testing.assert_array_equal(dividend_yield(panel.head(400))[:, 0], got[:400])


# --- the synthetic market


@pytest.fixture(scope="module")
def invented_agenda():
    source = SOURCES.create("synthetic", n_symbols=40)
    return source, tuple(f"SYN{i:03d}" for i in range(40)), source.agenda([f"SYN{i:03d}" for i in range(40)], END)


def test_announced_earnings_are_the_jumps_of_the_world(invented_agenda):
    source, names, known = invented_agenda
    truth = source.truth(Request(names, "1d", START, END))
    ahead = known.next_earnings(names, truth.times)
    reported = np.zeros(truth.jump.shape, dtype=bool)
    reported[1:] = ahead[:-1] == 1
    alive = np.isfinite(truth.jump)
    assert (truth.jump[reported & alive] != 0).all() and (reported & alive).sum() > 150
    quiet = truth.jump[alive & ~reported]
    assert (quiet == 0).mean() > 0.99  # the others are the jumps of chance, one a year
    assert np.nanmax(ahead) <= 24


def test_one_date_in_twenty_is_moved_by_a_later_row(invented_agenda):
    versions = invented_agenda[2].events.filter(pl.col("state") == "scheduled", pl.col("kind") == "earnings")
    moved = versions.group_by("symbol", "event").agg(pl.col("date").n_unique(), pl.col("known_at"))
    moved = moved.filter(pl.col("date") > 1)
    assert 0.03 < len(moved) / versions.select("symbol", "event").n_unique() < 0.07
    later = moved.select(pl.col("known_at").list.max() - pl.col("known_at").list.min()).to_series()
    assert later.is_between(timedelta(days=5), timedelta(days=17)).all()


@given(st.datetimes(datetime(2012, 2, 1), datetime(2013, 12, 1)))
@settings(deadline=None, max_examples=4)
def test_what_was_known_then_is_a_part_of_what_is_known_now(invented_agenda, moment):
    source, names, known = invented_agenda
    then = moment.replace(tzinfo=UTC)
    part, whole = source.agenda(names[:8], then), known.as_of(then)
    for table in ("events", "fundamentals"):
        expected = getattr(whole, table).filter(pl.col("symbol").is_in(names[:8]))
        assert getattr(part, table).equals(expected)


def test_a_longer_table_never_changes_an_earlier_answer(invented_agenda):
    _, names, known = invented_agenda
    times = closes(START, END)
    cut = 300
    part = known.as_of(times[cut - 1].item().replace(tzinfo=UTC))
    asked = (Agenda.next_earnings, lambda own, *of: own.sessions_until("dividend", *of), Agenda.last_surprise)
    for ask in asked:
        np.testing.assert_array_equal(ask(part, names, times[:cut]), ask(known, names, times)[:cut])
    for name, values in part.fundamentals_at(times[:cut], names).items():
        np.testing.assert_array_equal(values, known.fundamentals_at(times, names)[name][:cut])


def test_ex_dates_and_amounts_are_those_of_the_bars(invented_agenda):
    source, names, known = invented_agenda
    deliveries = list(source.fetch(Request(names, "1d", START, END)))
    paid = pl.concat([d.actions for d in deliveries]).filter(kind="dividend")
    told = known.events.filter(
        pl.col("kind") == "dividend", pl.col("state") == "reported", pl.col("date") >= START.date()
    )
    dated = paid.select("symbol", pl.col("time").dt.date().alias("date"), "value").sort("symbol", "date")
    assert told.select("symbol", "date", "value").sort("symbol", "date").equals(dated)
    before = told.join(dated, on=["symbol", "date"]).select(pl.col("known_at").dt.date() < pl.col("date"))
    assert before.to_series().all()


def test_a_stock_that_is_gone_has_no_date_to_come():
    source = SOURCES.create("synthetic", n_symbols=300)
    names = source.sectors()
    events = source.agenda(list(names), END).events.filter(kind="earnings")
    gone = events.filter(state="cancelled")
    assert len(gone) >= 3 and gone["date"].null_count() == len(gone)


def test_price_over_earnings_is_sane_and_restated_for_splits(invented_agenda):
    source, names, known = invented_agenda
    panel = daily_panel(source, names, datetime(2009, 1, 1, tzinfo=UTC), END)
    assert (panel.split != 1).any()
    ratio = known.price_earnings(panel)
    some = ratio[np.isfinite(ratio)]
    assert np.quantile(some, 0.01) > 6 and np.quantile(some, 0.99) < 45 and 13 < np.median(some) < 27
    steps = np.abs(np.diff(np.log(ratio), axis=0))[panel.split[1:] != 1]
    assert np.nanmax(steps) < 0.25  # a two for one split that is forgotten would move it by 0.69


def daily_panel(source, names, start, end):
    deliveries = list(source.fetch(Request(tuple(names), "1d", start, end)))
    bars, actions = (pl.concat([getattr(d, part) for d in deliveries]) for part in ("bars", "actions"))
    times = bars["time"].unique().sort()
    shape = (len(times), len(names))
    fields = {name: np.full(shape, np.nan) for name in ("open", "high", "low", "close", "volume")}
    fields |= {"split": np.ones(shape), "dividend": np.zeros(shape)}
    for column, symbol in enumerate(names):
        mine = bars.filter(symbol=symbol)
        rows = times.search_sorted(mine["time"]).to_numpy()
        for name in ("open", "high", "low", "close", "volume"):
            fields[name][rows, column] = mine[name].to_numpy()
        for row in actions.filter(pl.col("kind") != "delist", pl.col("symbol") == symbol).iter_rows(named=True):
            fields[row["kind"]][int(times.search_sorted(row["time"])), column] = row["value"]
    mask = np.isfinite(fields["close"])
    stamps = times.dt.replace_time_zone(None).to_numpy().astype("datetime64[us]")
    return Panel(stamps, tuple(names), tuple(names), fields, mask, mask)


# --- tables of a user's


def files(tmp_path, earnings=None, fundamentals=None, **options):
    (tmp_path / "bars.csv").write_text("symbol,date,open,high,low,close,volume\nA,2013-03-01,1,1,1,1,1\n")
    for name, text in (("earnings", earnings), ("fundamentals", fundamentals)):
        if text is not None:
            (tmp_path / f"{name}.csv").write_text(text)
            options[f"{name}_path"] = f"{name}.csv"
    return SOURCES.create("files", path="bars.csv", base=str(tmp_path), **options)


def test_a_table_of_dates_is_read_with_its_corrections_and_results(tmp_path):
    source = files(
        tmp_path,
        "Ticker,Report_Date,Time,Announced_At,Surprise\n"
        "A,2013-03-20,AMC,2013-03-01T12:00:00Z,\n"
        "A,2013-03-27,after market close,2013-03-12T12:00:00Z,0.04\n"
        "A,2013-06-19,bmo,2013-03-28T12:00:00Z,\n",
    )
    known = source.agenda(["A", "B"], END)
    assert "B: not in earnings.csv" in known.notes
    got = known.next_earnings(["A"], WEEKS)
    assert count(got, "2013-03-11") == 8 and count(got, "2013-03-12") == 12 and count(got, "2013-03-27") == 1
    surprise = known.last_surprise(["A"], WEEKS)
    assert np.isnan(count(surprise, "2013-03-27")) and count(surprise, "2013-03-28") == 0.04
    assert known.events["event"].n_unique() == 2


def test_dates_without_an_announcement_are_assumed_to_be_known_some_days_before(tmp_path):
    source = files(tmp_path, "symbol,date\nA,2013-03-20\n", earnings_notice_days=7)
    known = source.agenda(["A"], END)
    assert known.events["vintage"].to_list() == ["assumed"]
    got = known.next_earnings(["A"], WEEKS)
    assert np.isnan(count(got, "2013-03-12")) and count(got, "2013-03-13") == 5


def test_what_was_reported_beside_what_was_expected_is_a_surprise(tmp_path):
    source = files(tmp_path, "symbol,date,reported_eps,estimated_eps\nA,2013-03-20,-0.9,-1\nA,2013-06-20,,1\n")
    reported = source.agenda(["A"], END).events.filter(state="reported")
    assert reported["value"].to_list() == [pytest.approx(0.1)]


def test_an_event_column_keeps_dates_apart_that_are_close(tmp_path):
    rows = "symbol,date,event,known_at\nA,2013-03-20,2012Q4,2013-03-01\nA,2013-04-10,2013Q1,2013-03-01\n"
    got = files(tmp_path, rows).agenda(["A"], END).next_earnings(["A"], WEEKS)
    assert count(got, "2013-03-19") == 1 and count(got, "2013-03-20") == 14


def test_filings_count_from_the_end_of_their_day(tmp_path):
    rows = "symbol,filed,eps_ttm,growth\nA,2013-03-12,2.5,0.1\nA,2013-04-02,2.75,\n"
    known = files(tmp_path, fundamentals=rows).agenda(["A"], END).fundamentals_at(WEEKS, ["A"])
    assert np.isnan(count(known["eps_ttm"], "2013-03-12")) and count(known["eps_ttm"], "2013-03-13") == 2.5
    assert count(known["eps_ttm"], "2013-04-03") == 2.75 and np.isnan(count(known["growth"], "2013-04-03"))


def test_filings_grow_old(tmp_path):
    known = files(tmp_path, fundamentals="symbol,filed,eps_ttm\nA,2013-03-12,2.5\n").agenda(["A"], END)
    got = known.fundamentals_at(WEEKS, ["A"], max_age=timedelta(days=10))["eps_ttm"]
    assert count(got, "2013-03-22") == 2.5 and np.isnan(count(got, "2013-03-25"))


def test_a_late_correction_of_an_old_period_does_not_replace_the_new_one(tmp_path):
    rows = "symbol,filed,end_date,eps_ttm\nA,2013-03-05,2012-12-31,2\nA,2013-03-12,2013-02-28,3\n"
    rows += "A,2013-03-19,2012-12-31,1\n"
    got = files(tmp_path, fundamentals=rows).agenda(["A"], END).fundamentals_at(WEEKS, ["A"])["eps_ttm"]
    assert count(got, "2013-03-08") == 2 and count(got, "2013-03-20") == 3


def test_twelve_months_are_the_year_plus_new_quarters_less_their_old_ones():
    old = [Filing(date(2012, m, 28), q, e) for m, q, e in ((3, "Q1", 1.0), (6, "Q2", 1.1), (9, "Q3", 1.2))]
    year = [*old, Filing(date(2012, 12, 31), "FY", 5.0)]
    assert twelve_months(year) == 5.0
    assert twelve_months([*year, Filing(date(2013, 3, 30), "Q1", 1.5)]) == pytest.approx(5.5)
    two = [*year, Filing(date(2013, 3, 30), "Q1", 1.5), Filing(date(2013, 6, 29), "Q2", 1.0)]
    assert twelve_months(two) == pytest.approx(5.4)
    assert twelve_months([*two, Filing(date(2013, 3, 30), "Q1", 2.5), two[-1]]) == pytest.approx(6.4)  # corrected
    assert twelve_months([*year, two[-1]]) is None  # the first quarter is not known
    assert twelve_months(year[:2]) is None


def test_earnings_of_unknown_periods_are_refused(tmp_path):
    with pytest.raises(DataError, match="not of which period: it lacks focus and period"):
        files(tmp_path, fundamentals="symbol,filed,eps\nA,2013-03-12,2.5\n").agenda(["A"], END)


@pytest.mark.parametrize(
    ("rows", "options", "error", "words"),
    [
        ("name,day\nA,1\n", {}, DataError, "no column for symbol, date"),
        ("symbol,date\nA,never\n", {}, DataError, "never"),
        ("symbol,date\nA,2013-03-20\n", {"earnings_columns": {"dat": "date"}}, InputError, "did you mean 'date'"),
        ("symbol,date\nA,2013-03-20\n", {"earnings_columns": {"hour": "clock"}}, DataError, "no column 'clock'"),
    ],
)
def test_tables_that_cannot_be_read_are_refused(tmp_path, rows, options, error, words):
    with pytest.raises(error, match=words):
        files(tmp_path, rows, **options).agenda(["A"], END)


def test_files_without_tables_know_nothing(tmp_path):
    known = files(tmp_path).agenda(["A"], END)
    assert known.events.is_empty() and known.fundamentals.is_empty()


@pytest.mark.data
@pytest.mark.skipif(not DATA.exists(), reason="the open data is not beside the project")
def test_real_filings_give_twelve_months_from_their_filing_day_on(tmp_path):
    source = files(tmp_path, fundamentals_path=str(DATA / "reference/xbrl_fundamentals_2015_2016.parquet"))
    times = closes(at("2015-04-01"), at("2016-06-30"))
    known = source.agenda(["AAPL", "MSFT"], at("2016-06-30")).fundamentals_at(times, ["AAPL", "MSFT"])["eps_ttm"]
    before, after = (np.searchsorted(times, np.datetime64(day)) for day in ("2015-10-28", "2015-10-29"))
    assert np.isnan(known[before, 0]) and known[after, 0] == 9.22  # Apple's 10-K of 2015-10-28
    assert known[-1, 0] == pytest.approx(9.22, abs=0.5)


# --- Yahoo, against a stand-in


class Summaries(Standin):
    """Answers like Yahoo's quoteSummary."""

    def __init__(self):
        super().__init__()
        self.summaries = {}

    def reply(self, path, query):
        if path == "/cookie" or path.startswith("/v1/test") or self.script:
            return super().reply(path, query)
        if self.crumb and query.get("crumb") != self.crumb:
            return 401, json.dumps(finance_error("Unauthorized", "Invalid Crumb")), {}
        symbol = path.rsplit("/", 1)[-1]
        if symbol not in self.summaries:
            error = {"code": "Not Found", "description": f"Quote not found for symbol: {symbol}"}
            return 404, json.dumps({"quoteSummary": {"result": None, "error": error}}), {}
        return 200, json.dumps({"quoteSummary": {"result": [self.summaries[symbol]], "error": None}}), {}


def seconds(text):
    return int(datetime.fromisoformat(text).timestamp())


def summary(*dates, ex="2020-02-07T00:00:00+00:00", **more):
    earnings = {"earningsDate": [seconds(d) for d in dates], "isEarningsDateEstimate": len(dates) > 1}
    return {
        "calendarEvents": {"maxAge": 1, "earnings": earnings, "exDividendDate": seconds(ex)},
        "summaryDetail": {"trailingPE": 25.5, "dividendYield": 0.0103, "trailingAnnualDividendRate": 3.0},
        "defaultKeyStatistics": {
            "trailingEps": 12.6,
            "earningsQuarterlyGrowth": 0.108,
            "mostRecentQuarter": seconds("2019-12-28T00:00:00+00:00"),
        },
        **more,
    }


@pytest.fixture
def service():
    server = Summaries()
    server.summaries["AAA"] = summary("2020-04-30T16:30:00-04:00")
    yield server
    server.close()


@pytest.fixture
def yahoo(service, timepiece):
    return EVENT_SOURCES.create(
        "yahoo",
        base_url=service.url,
        cookie_url=f"{service.url}/cookie",
        clock=timepiece,
        sleep=timepiece.sleep,
        jitter=lambda: 0.0,
    )


def asked(service):
    return [path for path, _ in service.asked if path.startswith("/v10/")]


def test_yahoo_tells_the_next_dates_and_todays_fundamentals(yahoo, service, timepiece):
    known = yahoo.agenda(["AAA"], timepiece.now())
    rows = known.events.select("kind", "date", "hour", "state").rows()
    assert rows == [
        ("dividend", date(2020, 2, 7), "bmo", "scheduled"),
        ("earnings", date(2020, 4, 30), "amc", "scheduled"),
    ]
    values = known.fundamentals.select("eps_ttm", "growth", "pe", "dividend_yield", "period").row(0)
    assert values == (12.6, 0.108, 25.5, 0.0103, date(2019, 12, 28))
    assert set(known.events["vintage"]) == {"observed"} and known.events["known_at"][0] == timepiece.now()
    (query,) = (q for path, q in service.asked if path.startswith("/v10/"))
    assert query["modules"] == "calendarEvents,summaryDetail,defaultKeyStatistics" and query["crumb"] == "cRuMb.1"


def test_yfinance_reads_the_same_dates_from_the_same_answer(yahoo, service, timepiece, monkeypatch):
    yfinance = pytest.importorskip("yfinance")
    monkeypatch.setattr("yfinance.scrapers.quote._QUOTE_SUMMARY_URL_", f"{service.url}/v10/finance/quoteSummary")
    monkeypatch.setattr("yfinance.data.YfData._get_cookie_and_crumb", lambda *_, **__: (None, "basic"))
    theirs = yfinance.Ticker("AAA").calendar
    mine = yahoo.agenda(["AAA"], timepiece.now()).events
    assert theirs["Earnings Date"] == mine.filter(kind="earnings")["date"].to_list()
    assert theirs["Ex-Dividend Date"] == mine.filter(kind="dividend")["date"][0]


def test_numbers_with_their_looks_are_read_too_and_infinity_is_none(yahoo, service, timepiece):
    wrapped = {"earnings": {"earningsDate": [{"raw": seconds("2020-03-02T00:00:00-05:00"), "fmt": "2020-03-02"}]}}
    detail = {"trailingPE": "Infinity", "dividendYield": {"raw": 0.01, "fmt": "1.00%"}}
    service.summaries["AAA"] = summary(calendarEvents=wrapped, summaryDetail=detail)
    known = yahoo.agenda(["AAA"], timepiece.now())
    assert known.events.select("date", "hour").rows() == [(date(2020, 3, 2), "")]
    assert known.fundamentals.select("pe", "dividend_yield").row(0) == (None, 0.01)


def test_of_a_window_of_dates_the_first_counts_and_past_ones_are_not_to_come(yahoo, service, timepiece):
    service.summaries["AAA"] = summary(
        "2020-04-28T16:30:00-04:00", "2020-05-04T16:30:00-04:00", ex="2019-11-07T00:00:00Z"
    )
    service.summaries["BBB"] = summary("2020-01-28T16:30:00-05:00", ex="2019-11-07T00:00:00+00:00")
    known = yahoo.agenda(["AAA", "BBB"], timepiece.now())
    assert known.events.select("symbol", "date").rows() == [("AAA", date(2020, 4, 28))]
    assert "BBB: no dates" in known.notes


def test_collected_answers_replace_one_another(yahoo, service, timepiece):
    first = yahoo.agenda(["AAA"], timepiece.now()).events
    timepiece.instant += timedelta(days=10)
    service.summaries["AAA"] = summary("2020-05-07T16:30:00-04:00")
    both = Agenda(pl.concat([first, yahoo.agenda(["AAA"], timepiece.now()).events]))
    times = closes(at("2020-01-31T23:30:00"), at("2020-05-01"))
    got = both.next_earnings(["AAA"], times)[:, 0]
    assert got[5] == 57 and got[6] == 61  # five sessions later, from the next close on


def test_yahoo_does_not_know_the_past(yahoo, service, timepiece):
    known = yahoo.agenda(["AAA"], timepiece.now() - timedelta(days=1))
    assert known.events.is_empty() and "the dates of today only" in known.notes[0] and not service.asked


def test_symbols_without_an_answer_are_named_and_the_others_come(yahoo, service, timepiece):
    service.summaries["EEE"] = {}
    known = yahoo.agenda(["NOPE", "EEE", "AAA"], timepiece.now())
    assert set(known.events["symbol"]) == {"AAA"}
    assert "NOPE: Quote not found for symbol: NOPE" in known.notes
    assert {"EEE: no dates", "EEE: no fundamentals"} <= set(known.notes)


def test_an_empty_answer_is_reported(yahoo, service, timepiece):
    service.script = [(200, json.dumps({"quoteSummary": {"result": [], "error": None}}), {})]
    assert yahoo.agenda(["AAA"], timepiece.now()).notes == ("AAA: no summary",)


def test_throttling_is_waited_out_and_endless_throttling_ends_in_try_again_later(yahoo, service, timepiece):
    service.script = [TOO_MANY, TOO_MANY]
    assert len(yahoo.agenda(["AAA"], timepiece.now()).events) == 2
    assert [s for s in timepiece.sleeps if s >= 1] == [1.0, 2.0]
    service.script = [TOO_MANY] * 6
    with pytest.raises(RetryError, match=r"too many requests \(429\) \(6 attempts\)"):
        yahoo.agenda(["AAA"], timepiece.now())


def test_a_stale_crumb_is_renewed_once_and_then_given_up(yahoo, service, timepiece):
    yahoo.agenda(["AAA"], timepiece.now())
    service.script = [(401, json.dumps(finance_error("Unauthorized", "Invalid Crumb")), {})]
    assert len(yahoo.agenda(["AAA"], timepiece.now()).events) == 2
    service.crumb = "another"
    with pytest.raises(RetryError, match="invalid crumb"):
        yahoo.agenda(["AAA"], timepiece.now())
    assert len(asked(service)) == 5


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (503, "upstream", RetryError, "the server failed"),
        (200, "<html>consent</html>", DataError, "is no JSON"),
        (200, '{"chart": {}}', DataError, "unknown shape"),
        (200, '{"quoteSummary": {"result": ["x"]}}', DataError, "unknown shape"),
        (200, '{"quoteSummary": {"result": [{"calendarEvents": 7}]}}', DataError, "unknown shape"),
        (200, '{"quoteSummary": {"result": [{"summaryDetail": {"trailingPE": [1]}}]}}', DataError, "unknown shape"),
        (422, json.dumps(finance_error("Bad Request", "no such module")), InputError, "no such module"),
    ],
)
def test_what_goes_wrong_is_said_with_what_to_do(yahoo, service, timepiece, status, body, error, words):
    service.script = [(status, body, {})] * 6
    with pytest.raises(error, match=words):
        yahoo.agenda(["AAA"], timepiece.now())


# --- what every source of events must do


@pytest.fixture(params=["synthetic", "files", "yahoo"])
def case(request, tmp_path, timepiece):
    """A source of events, and symbols of it."""
    if request.param == "synthetic":
        return EVENT_SOURCES.create("synthetic", n_symbols=5), ("SYN000", "SYN003")
    if request.param == "yahoo":
        request.getfixturevalue("service").summaries["BBB"] = summary("2020-03-02T08:00:00-05:00")
        return request.getfixturevalue("yahoo"), ("AAA", "BBB")
    dates = "symbol,date\nA,2019-12-20\nB,2020-01-20\n"
    return files(tmp_path, dates, "symbol,filed,pe\nA,2019-12-20,11\nB,2019-12-20,12\n"), ("A", "B")


def test_the_contract_covers_every_shipped_source():
    assert set(EVENT_SOURCES.names()) == {"synthetic", "files", "yahoo"}


def test_its_tables_have_the_columns_and_types_of_the_schema_and_the_symbols_asked_for(case, timepiece):
    source, symbols = case
    known = source.agenda((*symbols, "NOSUCH"), timepiece.now())
    assert dict(known.events.schema) == {n: pl.DataFrame(schema=EVENT_SCHEMA).schema[n] for n in EVENT_SCHEMA}
    assert dict(known.fundamentals.schema) == dict(pl.DataFrame(schema=FUNDAMENTAL_SCHEMA).schema)
    assert set(known.events["symbol"]) == set(known.fundamentals["symbol"]) == set(symbols)
    assert any("NOSUCH" in note for note in known.notes)
    assert known.events["known_at"].null_count() == 0 and (known.events["known_at"] <= timepiece.now()).all()
    assert set(known.events["state"]) <= {"scheduled", "reported", "cancelled"}
    assert set(known.events["hour"]) <= {"bmo", "amc", ""}


def test_no_row_knows_a_result_before_it_is_out(case, timepiece):
    events = case[0].agenda(case[1], timepiece.now()).events.filter(state="reported", kind="earnings")
    assert (events["known_at"].dt.date() >= events["date"]).all()


def test_a_scheduled_date_carries_no_value(case, timepiece):
    events = case[0].agenda(case[1], timepiece.now()).events.filter(state="scheduled")
    assert len(events) and events["value"].null_count() == len(events)

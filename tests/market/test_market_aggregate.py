"""Large bars are what small bars add up to, known when they close and not before."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.errors import DataError, InputError
from tradewind.market.aggregate import aggregate, row_map
from tradewind.market.calendar import calendar
from tradewind.market.panel import FIELDS, Panel
from tradewind.market.sources.base import SOURCES, Request

BARS = ("open", "high", "low", "close", "volume")
YEARS = datetime(2003, 6, 2, tzinfo=UTC), datetime(2012, 12, 28, 23, tzinfo=UTC)


def synthetic(timeframe, start, end, n=30):
    """A panel of the synthetic market, splits and dividends on the first bar of their date."""
    source = SOURCES.create("synthetic", n_symbols=n)
    names = tuple(f"SYN{i:03d}" for i in range(n))
    deliveries = list(source.fetch(Request(names, timeframe, start, end)))
    bars, actions = (pl.concat([getattr(d, part) for d in deliveries]) for part in ("bars", "actions"))
    times = bars["time"].unique().sort()
    fields = {name: np.full((len(times), n), np.nan) for name in BARS}
    fields |= {"split": np.ones((len(times), n)), "dividend": np.zeros((len(times), n))}
    at = {time: i for i, time in enumerate(times)}
    for row in bars.iter_rows(named=True):
        for name in BARS:
            fields[name][at[row["time"]], names.index(row["symbol"])] = row[name]
    for row in actions.filter(pl.col("kind") != "delist").iter_rows(named=True):
        place = int(times.search_sorted(row["time"])), names.index(row["symbol"])
        fields[row["kind"]][place] = row["value"]
    stamps = times.dt.replace_time_zone(None).to_numpy().astype("datetime64[us]")
    mask = np.isfinite(fields["close"])
    return Panel(stamps, names, names, fields, mask, np.ones_like(mask), timeframe=timeframe)


@pytest.fixture(scope="module")
def days():
    return synthetic("1d", *YEARS)


@pytest.fixture(scope="module")
def minutes():
    """Two months with early closes, and splits and dividends of some stocks."""
    return synthetic("5m", datetime(2012, 11, 1, tzinfo=UTC), datetime(2012, 12, 31, 23, tzinfo=UTC))


def same(left, right, names=FIELDS):
    assert np.array_equal(left.times, right.times) and np.array_equal(left.mask, right.mask)
    for name in names:
        np.testing.assert_array_equal(left.fields[name], right.fields[name], err_msg=name)


def test_five_minutes_add_up_to_the_days_that_the_source_itself_has(minutes):
    daily = synthetic("1d", datetime(2012, 11, 1, tzinfo=UTC), datetime(2012, 12, 31, 23, tzinfo=UTC))
    assert (daily.dividend > 0).sum() > 3
    same(aggregate(minutes, "1d"), daily)


@pytest.mark.parametrize("timeframe", ["15m", "30m", "1h"])
def test_five_minutes_add_up_to_every_size_below_a_day(minutes, timeframe):
    larger = synthetic(timeframe, datetime(2012, 11, 1, tzinfo=UTC), datetime(2012, 12, 31, 23, tzinfo=UTC))
    same(aggregate(minutes, timeframe), larger)
    same(aggregate(aggregate(minutes, timeframe), "1d"), aggregate(minutes, "1d"))


def test_days_add_up_to_the_weeks_that_the_source_itself_has(days):
    weeks = synthetic("1w", *YEARS)
    ours = aggregate(days, "1w", dividends="cash")
    assert (days.split != 1).sum() > 5
    same(ours, weeks.rows(0, len(ours)), BARS)
    np.testing.assert_array_equal(ours.split, weeks.rows(0, len(ours)).split)


def test_the_total_return_of_weeks_is_that_of_their_days(days):
    weeks = aggregate(days, "1w")
    rows = np.searchsorted(days.times, weeks.times)
    lacking = np.where(days.mask, np.arange(len(days))[:, None], -1)
    last = np.maximum.accumulate(lacking, axis=0)[rows]
    ours, theirs = weeks.close * weeks.factor, np.take_along_axis(days.close * days.factor, np.maximum(last, 0), axis=0)
    both = np.where(weeks.mask, np.log(ours / theirs), np.nan)
    drift = [np.ptp(column[np.isfinite(column)]) for column in both.T if np.isfinite(column).any()]
    assert max(drift) < 1e-12
    assert (days.dividend > 0).sum() > 300


def test_cash_dividends_are_what_was_paid_in_shares_after_the_weeks_splits(days):
    cash, reinvested = aggregate(days, "1w", dividends="cash"), aggregate(days, "1w")
    whole = days.times <= cash.times[-1]
    shares = np.cumprod(days.split, axis=0)
    of_week = np.searchsorted(cash.times, days.times[whole])
    held = np.cumprod(cash.split, axis=0)[of_week]
    paid = np.zeros_like(cash.dividend)
    np.add.at(paid, of_week, days.dividend[whole] * shares[whole] / held)
    np.testing.assert_allclose(cash.dividend, paid, rtol=1e-12, atol=1e-12)
    some = cash.dividend > 0
    ratio = reinvested.dividend[some] / cash.dividend[some]
    assert (ratio != 1).any() and ratio.min() > 0.6 and ratio.max() < 1.4  # a week's move, earnings jumps included


@given(st.integers(90, 3000))
@settings(deadline=None, max_examples=15)
def test_a_prefix_of_the_small_bars_gives_a_prefix_of_the_large(minutes, stop):
    whole = aggregate(minutes, "1d")
    part = aggregate(minutes.head(stop), "1d")
    assert part.times[-1] <= minutes.times[stop - 1]
    same(part, whole.rows(0, len(part)))
    assert len(part) == np.searchsorted(whole.times, minutes.times[stop - 1], side="right")


def test_a_bar_is_there_only_from_its_close_on(minutes):
    with pytest.raises(DataError, match="no finished 1d bar"):
        aggregate(minutes.head(77), "1d")
    assert len(aggregate(minutes.head(78), "1d")) == 1


def test_a_week_ends_on_its_last_session_by_the_calendar():
    week = synthetic("1d", datetime(2013, 3, 25, tzinfo=UTC), datetime(2013, 3, 28, 21, tzinfo=UTC), n=3)
    assert aggregate(week, "1w").times.tolist() == [datetime(2013, 3, 28, 20)]  # Good Friday follows
    with pytest.raises(DataError, match="no finished 1w bar"):
        aggregate(week.head(3), "1w")


def test_a_first_bar_of_which_the_beginning_lacks_is_left_out(days, minutes):
    assert aggregate(days.rows(2, len(days)), "1w").times[0] == aggregate(days, "1w").times[1]
    assert aggregate(minutes.rows(1, len(minutes)), "1d").times[0] == aggregate(minutes, "1d").times[1]


def test_clock_aligned_hours_make_whole_days():
    """Hours of some vendors end at 10:00, 11:00 … of New York: the first is half as long."""
    hours = synthetic("30m", datetime(2012, 12, 3, tzinfo=UTC), datetime(2012, 12, 5, tzinfo=UTC), n=2)
    keep = (hours.times.astype("datetime64[m]").astype(int) % 60) == 0
    clock = replace(
        hours,
        times=hours.times[keep],
        fields={name: array[keep] for name, array in hours.fields.items()},
        mask=hours.mask[keep],
        member=hours.member[keep],
        timeframe="1h",
    )
    assert len(aggregate(clock, "1d")) == 2


def test_missing_small_bars_leave_the_rest_and_a_bar_without_any_is_missing(minutes):
    mask = minutes.mask.copy()
    mask[:78, 0] = False  # the first day of one stock
    mask[78:80, 1], mask[100:156, 1] = False, False  # another opens late and is halted early on the second
    fields = {name: np.where(mask, minutes.fields[name], np.nan) for name in BARS}
    holes = replace(minutes, mask=mask, fields={**minutes.fields, **fields})
    bars = aggregate(holes, "1d")
    assert not bars.mask[0, 0] and np.isnan([bars.fields[name][0, 0] for name in BARS]).all()
    assert bars.mask[1, 1] and bars.open[1, 1] == minutes.open[80, 1] and bars.close[1, 1] == minutes.close[99, 1]
    assert bars.volume[1, 1] == minutes.volume[80:100, 1].sum()


def test_membership_and_context_are_those_of_the_close(minutes):
    member = minutes.member.copy()
    member[100:, 2] = False
    series = {"vix": np.arange(len(minutes), dtype=float)}
    bars = aggregate(replace(minutes, member=member, context=series), "1d")
    assert bars.member[:2, 2].tolist() == [True, False]
    assert bars.context["vix"][:2].tolist() == [77.0, 155.0]


def test_permuting_symbols_permutes_the_bars(days):
    order = list(reversed(days.symbols))
    same(aggregate(days.select(order), "1w"), aggregate(days, "1w").select(order))


def test_its_version_is_that_of_its_content(days):
    again = replace(days, version="another")
    assert aggregate(days, "1w").version == aggregate(again, "1w").version != ""
    assert aggregate(days, "1w").version != aggregate(days.head(900), "1w").version
    assert aggregate(days, "1d") is days


def test_a_large_bar_is_known_at_the_first_small_close_at_or_after_its_own(minutes):
    bars = aggregate(minutes, "1d")
    rows = row_map(minutes.times, bars.times)
    assert np.array_equal(minutes.times[rows], bars.times)
    halted = np.delete(minutes.times, rows[0])
    assert row_map(halted, bars.times)[0] == rows[0]  # the next session's first bar
    assert row_map(minutes.times[: rows[-1]], bars.times)[-1] == -1
    assert row_map(minutes.times[:0], bars.times).tolist() == [-1] * len(bars)


def test_sizes_that_do_not_add_up_are_refused(days, minutes):
    with pytest.raises(InputError, match="1d bars do not add up to 5m"):
        aggregate(days, "5m")
    with pytest.raises(InputError, match="unknown timeframe '2d'"):
        aggregate(days, "2d")
    with pytest.raises(InputError, match="30m bars do not add up to"):
        aggregate(aggregate(minutes, "30m"), "15m")


def test_bars_outside_of_sessions_are_refused(minutes):
    early = minutes.times.copy()
    early[0] -= np.timedelta64(3, "h")
    with pytest.raises(DataError, match="1 bars lie outside of the sessions of XNYS"):
        aggregate(replace(minutes, times=early), "1d")


def test_another_exchange_has_its_own_closes():
    times = calendar("XLON").bar_closes("1d", datetime(2019, 12, 2, tzinfo=UTC), datetime(2019, 12, 31, tzinfo=UTC))
    ones = np.ones((len(times), 1))
    fields = dict.fromkeys(FIELDS, ones) | {"dividend": 0 * ones}
    london = Panel(times, ("A",), ("A",), fields, ones > 0, ones > 0)
    weeks = aggregate(london, "1w", exchange="XLON")
    assert weeks.times[-1] == np.datetime64("2019-12-27T16:30") and weeks.volume[:, 0].tolist() == [5, 5, 5, 3]

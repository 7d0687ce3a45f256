from datetime import UTC, datetime

import numpy as np
import pytest

from tradewind.errors import InputError
from tradewind.market.calendar import calendar, instant


def at(*texts):
    return np.array(texts, dtype="datetime64[us]")


@pytest.fixture(scope="module")
def newyork():
    return calendar("XNYS")


def test_a_session_closes_at_four_in_new_york_in_winter_and_in_summer(newyork):
    got = newyork.close_of(at("2024-01-05", "2024-07-05"))
    assert got.tolist() == at("2024-01-05T21:00", "2024-07-05T20:00").tolist()


def test_an_early_close_is_early(newyork):
    assert newyork.close_of(at("2024-11-29")).tolist() == at("2024-11-29T18:00").tolist()


def test_a_holiday_and_a_weekend_have_no_close(newyork):
    assert np.isnat(newyork.close_of(at("2024-12-25", "2024-12-28"))).all()


def test_an_hour_that_would_run_past_the_close_ends_with_it(newyork):
    starts = at("2024-11-29T14:30", "2024-11-29T17:30", "2024-11-29T18:30")
    got = newyork.close_of_start(starts, "1h")
    assert got[:2].tolist() == at("2024-11-29T15:30", "2024-11-29T18:00").tolist()
    assert np.isnat(got[2])


def test_a_clock_hour_that_reaches_into_the_session_belongs_to_it(newyork):
    assert newyork.close_of_start(at("2024-01-05T14:00"), "1h").tolist() == at("2024-01-05T15:00").tolist()


def test_bars_before_the_open_belong_to_no_session(newyork):
    assert np.isnat(newyork.close_of_start(at("2024-01-05T14:25", "2024-01-05T21:00"), "5m")).all()


def test_a_full_session_has_78_bars_of_five_minutes_and_seven_of_an_hour(newyork):
    day = datetime(2024, 1, 5, tzinfo=UTC), datetime(2024, 1, 6, tzinfo=UTC)
    assert len(newyork.bar_closes("5m", *day)) == 78
    hours = newyork.bar_closes("1h", *day)
    assert len(hours) == 7
    assert hours[-1] == np.datetime64("2024-01-05T21:00")


def test_closes_are_planned_on_the_grid_that_the_bars_have(newyork):
    starts = np.arange("2023-01-03T00:00", "2024-12-30T00:00", 60, dtype="datetime64[m]").astype("datetime64[us]")
    clock_hours = newyork.close_of_start(starts, "1h")
    clock_hours = clock_hours[~np.isnat(clock_hours)]
    years = datetime(2023, 1, 3, tzinfo=UTC), datetime(2024, 12, 30, tzinfo=UTC)
    assert newyork.first_close(clock_hours, "1h") == 30
    assert (newyork.bar_closes("1h", *years, first=30) == clock_hours).all()
    from_open = newyork.bar_closes("1h", *years)
    assert newyork.first_close(from_open, "1h") == 60
    assert (newyork.bar_closes("1h", *years, first=60) == from_open).all()
    assert newyork.first_close(from_open[:0], "5m") == 5, "nothing is known: they count from the open"


def test_a_week_closes_with_its_last_session(newyork):
    month = datetime(2024, 3, 18, tzinfo=UTC), datetime(2024, 4, 6, tzinfo=UTC)
    weeks = newyork.bar_closes("1w", *month)  # Good Friday was 2024-03-29
    assert weeks.tolist() == at("2024-03-22T20:00", "2024-03-28T20:00", "2024-04-05T20:00").tolist()
    assert newyork.week_close_of(at("2024-03-25", "2024-03-31"))[0] == weeks[1]
    assert newyork.week_close_of(at("2024-03-31"))[0] == weeks[1]


def test_an_hour_of_trading_after_the_afternoon_is_the_next_morning(newyork):
    got = newyork.add_trading_minutes(at("2024-01-05T20:30"), 60)
    assert got.tolist() == at("2024-01-08T15:00").tolist()


def test_adding_trading_time_and_measuring_it_are_inverse(newyork):
    rng = np.random.default_rng(0)
    opens = newyork.opens[rng.integers(5000, 9000, 200)]
    times = opens + rng.integers(1, 200, 200) * np.timedelta64(1, "m")
    for minutes in (1, 390, 3900):
        later = newyork.add_trading_minutes(times, minutes)
        assert (newyork.trading_minutes(times, later) == minutes).all()
        assert (newyork.session_of(later) >= 0).all()


def test_nights_and_weekends_do_not_count(newyork):
    friday, monday = at("2024-01-05T21:00"), at("2024-01-08T14:30")
    assert newyork.trading_minutes(friday, monday).tolist() == [0]


def test_an_unknown_exchange_and_a_naive_time_are_refused():
    with pytest.raises(InputError, match="NOWHERE"):
        calendar("NOWHERE")
    with pytest.raises(InputError, match="no zone"):
        instant(datetime(2024, 1, 5))

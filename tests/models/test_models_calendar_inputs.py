from __future__ import annotations

import numpy as np

from tradewind.models.calendar_inputs import CALENDAR_NAMES, calendar_inputs


def closes(*days):
    return np.array(days, dtype="datetime64[D]").astype("datetime64[us]") + np.timedelta64(21, "h")


def ahead(day, horizon, timeframe="1d"):
    return dict(zip(CALENDAR_NAMES, calendar_inputs(closes(day), timeframe, horizon)[0].tolist(), strict=True))


def test_friday_looks_at_monday():
    assert ahead("2015-03-06", 1) == dict.fromkeys(CALENDAR_NAMES, 0.0) | {"ahead_monday": 1.0}


def test_a_week_ahead_has_every_weekday_once():
    found = ahead("2015-03-04", 5)
    assert [found[n] for n in CALENDAR_NAMES] == [0.2, 0.2, 0.2, 0.2, 0.0]


def test_the_last_days_of_december_are_counted_until_new_year():
    assert ahead("2015-12-21", 1)["ahead_late_december"] == 1.0
    assert ahead("2015-12-31", 1)["ahead_late_december"] == 0.0
    assert ahead("2015-12-29", 4)["ahead_late_december"] == 0.5


def test_a_weekend_bar_counts_from_its_friday():
    assert ahead("2015-03-07", 1) == ahead("2015-03-06", 1)


def test_only_daily_bars_have_a_weekday():
    assert not any(ahead("2015-03-06", 1, "1h").values())


def test_each_row_depends_on_its_own_date_alone():
    days = np.arange(np.datetime64("2014-01-01"), np.datetime64("2016-01-01"))
    whole = calendar_inputs(closes(*days), "1d", 20)
    for row in (0, 17, 350, 729):
        np.testing.assert_array_equal(calendar_inputs(closes(days[row]), "1d", 20)[0], whole[row])

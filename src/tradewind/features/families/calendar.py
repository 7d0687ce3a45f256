"""Calendar: what the clock says at the bar. Known ahead, holidays included."""

from __future__ import annotations

from tradewind.features.expression import source
from tradewind.features.spec import Family

FAMILY = Family("calendar", "the exchange's calendar, known ahead")

for _name, _unit, _description in (
    ("day_of_week", "0..6", "Monday is 0"),
    ("day_of_month", "1..31", "Day of the month"),
    ("month", "1..12", "Month"),
    ("month_of_quarter", "0..2", "Month within the quarter: companies report in the first"),
    ("season_sine", "-1..1", "Sine of the time of the year"),
    ("season_cosine", "-1..1", "Cosine of the time of the year"),
    ("minute_of_hour", "0..59", "Minute of the hour at the close of the bar"),
    ("hour_of_day", "0..23", "Hour of the day, New York"),
    ("minute_of_day", "minutes", "Minutes since midnight, New York"),
    ("sessions_from_month_start", "sessions", "1 on the first session of the month"),
    ("sessions_to_month_end", "sessions", "0 on the last session of the month"),
    ("is_turn_of_month", "0 or 1", "Last session of the month or one of the first three"),
    ("days_to_next_session", "days", "Calendar days to the next session: weekends and holidays ahead"),
    ("days_since_last_session", "days", "Calendar days since the session before"),
    ("is_third_friday", "0 or 1", "Monthly expiry of options"),
    ("sessions_to_third_friday", "sessions", "Sessions until the monthly expiry of options"),
):
    FAMILY.add(_name, source(_name), _unit, _description)

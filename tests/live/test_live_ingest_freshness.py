"""An alert once after ten minutes without a new bar in market hours, and once when bars are fresh again."""

from datetime import UTC, datetime, timedelta

import pytest
from standin_bars import NEW_YORK

from tradewind.live.ingest_freshness import Freshness

MINUTE = timedelta(minutes=1)
MONDAY = datetime(2025, 3, 3, tzinfo=UTC)
OPEN, CLOSE = MONDAY.replace(hour=14, minute=30), MONDAY.replace(hour=21)


def watch(timeframe="5m", since=MONDAY):
    return Freshness(NEW_YORK, timeframe, 10 * MINUTE, since)


def changes(subject, start, minutes, bars=()):
    """Look each minute; return when something changed, in minutes after the start, and to what."""
    out = []
    for n in range(minutes):
        now = start + n * MINUTE
        for close in bars:
            if close == now:
                subject.saw(close)
        change = subject.look(now)
        if change:
            out.append((n, change))
    return out


def test_silence_is_told_once_and_so_is_its_end():
    bars = [OPEN + 5 * MINUTE, OPEN + 40 * MINUTE, OPEN + 45 * MINUTE]
    assert changes(watch(), OPEN, 50, bars) == [(16, "stale"), (40, "fresh")]


def test_nothing_is_stale_while_bars_come():
    bars = [OPEN + 5 * n * MINUTE for n in range(1, 79)]
    assert changes(watch(), OPEN, 390, bars) == []


def test_nights_week_ends_and_holidays_are_no_silence():
    subject = watch()
    subject.saw(CLOSE)
    assert changes(subject, CLOSE, 17 * 60) == []
    friday = datetime(2025, 7, 3, 17, tzinfo=UTC)  # an early close before the Fourth
    subject = watch()
    subject.saw(friday)
    assert changes(subject, friday, 60 * 24 * 3) == []


def test_silence_counts_from_the_open():
    subject = watch()
    subject.saw(CLOSE)
    tuesday = OPEN + timedelta(days=1)
    assert changes(subject, tuesday - 30 * MINUTE, 60) == [(41, "stale")]


def test_a_feed_that_never_spoke_is_stale_too():
    assert changes(watch(since=OPEN - MINUTE), OPEN, 20) == [(11, "stale")]
    assert changes(watch(since=OPEN + 5 * MINUTE), OPEN + 5 * MINUTE, 20) == [(11, "stale")]


def test_a_last_bar_that_comes_after_the_close_ends_the_episode():
    subject = watch()
    subject.saw(CLOSE - 15 * MINUTE)
    found = changes(subject, CLOSE - 10 * MINUTE, 12)
    assert found == [(6, "stale")]
    subject.saw(CLOSE)
    assert changes(subject, CLOSE + 5 * MINUTE, 5) == [(0, "fresh")]


def test_bars_longer_than_the_limit_are_overdue_by_it():
    subject = watch("1h")
    subject.saw(OPEN + 60 * MINUTE)
    assert changes(subject, OPEN + 60 * MINUTE, 80) == [(70, "stale")]
    daily = watch("1d")
    daily.saw(CLOSE - timedelta(days=3))
    assert changes(daily, OPEN, 420) == [(400, "stale")]


@pytest.mark.parametrize(("minutes", "seconds"), [(-30, 0.0), (7, 420.0), (385, 60.0 * 385)])
def test_the_age_is_in_market_time(minutes, seconds):
    subject = watch()
    assert subject.reading(OPEN).seconds is None
    subject.saw(CLOSE - timedelta(days=3))
    reading = subject.reading(OPEN + minutes * MINUTE)
    assert reading.to_dict() == {"seconds": seconds, "limit": 600.0, "stale": False}

"""What is due when: by the exchange's own hours, once however often it was missed, one schedule to a home."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import exchange_calendars
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tradewind.clock import FixedClock
from tradewind.errors import DataError, RetryError
from tradewind.evaluation.schedule_settings import ScheduleSection
from tradewind.live import schedule as schedule_module
from tradewind.live.schedule import (
    COMPACT,
    KIND,
    PRICES,
    RETRAIN,
    SENTIMENT,
    SIGNALS,
    TASKS,
    Action,
    Ran,
    Schedule,
    Scheduler,
)
from tradewind.market.store.records import Records

NEW_YORK = ZoneInfo("America/New_York")
EVERYTHING = Schedule(ScheduleSection(signals_minutes=30))

MOMENTS = st.datetimes(datetime(2022, 1, 1), datetime(2026, 6, 1)).map(lambda moment: moment.replace(tzinfo=UTC))
SPANS = st.timedeltas(timedelta(0), timedelta(days=9))


def day(text: str, schedule: Schedule = EVERYTHING) -> dict[str, list[str]]:
    """Return what is due on a day of New York, in its local time."""
    start = datetime.fromisoformat(f"{text}T00:00").replace(tzinfo=NEW_YORK)
    found: dict[str, list[str]] = {task: [] for task in TASKS}
    for time, task in schedule.due(start, start + timedelta(days=1)):
        found[task].append(time.astimezone(NEW_YORK).strftime("%H:%M"))
    return found


@pytest.mark.parametrize("text", ["2024-03-08", "2024-03-11", "2024-11-01", "2024-11-04"])
def test_a_session_looks_the_same_on_both_sides_of_a_clock_change(text: str) -> None:
    found = day(text)
    assert (found[PRICES][0], found[PRICES][-1], len(found[PRICES])) == ("09:35", "16:00", 78)
    assert (found[SIGNALS][0], found[SIGNALS][-1], len(found[SIGNALS])) == ("10:00", "16:00", 13)
    assert found[RETRAIN] == ["16:30"] and found[COMPACT] == ["20:00"]


def test_an_early_close_ends_the_day_early() -> None:
    found = day("2024-11-29")
    assert found[PRICES][-1] == found[SIGNALS][-1] == "13:00" and len(found[PRICES]) == 42
    assert found[RETRAIN] == ["13:30"] and found[COMPACT] == ["17:00"]


@pytest.mark.parametrize("text", ["2024-11-28", "2024-12-25", "2024-11-30", "2025-01-09"])
def test_without_a_session_only_news_are_read(text: str) -> None:
    found = day(text)
    assert {task: len(times) for task, times in found.items() if times} == {SENTIMENT: 96}


def test_news_are_read_every_quarter_of_an_hour_by_day_and_night() -> None:
    due = [time for time, task in EVERYTHING.due(*days(14)) if task == SENTIMENT]
    assert all(b - a == timedelta(minutes=15) for a, b in pairwise(due)) and len(due) == 14 * 96


def days(count: int, first: datetime = datetime(2024, 3, 4, tzinfo=UTC)) -> tuple[datetime, datetime]:
    return first, first + timedelta(days=count)


@given(MOMENTS, SPANS, SPANS)
def test_due_in_two_spans_is_due_in_both_together(start: datetime, first: timedelta, second: timedelta) -> None:
    a, b, c = start, start + first, start + first + second
    assert EVERYTHING.due(a, b) + EVERYTHING.due(b, c) == EVERYTHING.due(a, c)


@given(MOMENTS, SPANS)
def test_everything_due_lies_in_its_span_in_order_and_once(start: datetime, span: timedelta) -> None:
    due = EVERYTHING.due(start, start + span)
    assert all(start < time <= start + span for time, _ in due)
    assert due == sorted(due, key=lambda one: (one[0], TASKS.index(one[1]))) and len(set(due)) == len(due)


ORACLE = exchange_calendars.get_calendar("XNYS", start="2021-12-01", end="2026-07-01")


@given(MOMENTS)
def test_prices_are_asked_for_in_sessions_alone_and_at_every_close(start: datetime) -> None:
    """Against the calendar library itself."""
    stop = start + timedelta(days=6)
    due = [time for time, task in EVERYTHING.due(start, stop) if task == PRICES]
    step = timedelta(minutes=5)
    within = ((a, b) for a, b in SESSIONS if b > start and a < stop)
    expected = [a + k * step for a, b in within for k in range(1, (b - a) // step + 1)]
    assert due == [time for time in expected if start < time <= stop]


SESSIONS = [
    (opened.to_pydatetime(), closed.to_pydatetime())
    for opened, closed in zip(ORACLE.schedule["open"], ORACLE.schedule["close"], strict=True)
]
CLOSES = [closed for _, closed in SESSIONS]
CLOSING_DAYS = {closed.date() for closed in CLOSES}


@given(MOMENTS)
def test_a_nightly_retraining_follows_every_close_and_a_weekly_one_the_weeks_last(start: datetime) -> None:
    stop = start + timedelta(days=30)
    nightly = [time for time, task in EVERYTHING.due(start, stop) if task == RETRAIN]
    assert nightly == [c + timedelta(minutes=30) for c in CLOSES if start < c + timedelta(minutes=30) <= stop]
    weekly = [time for time, task in Schedule(ScheduleSection(retrain="weekly")).due(start, stop) if task == RETRAIN]
    assert set(weekly) <= set(nightly) and len(weekly) in (4, 5)
    for time in weekly:
        later = (time + timedelta(days=k) for k in range(1, 7 - time.astimezone(NEW_YORK).weekday()))
        assert not {one.date() for one in later} & CLOSING_DAYS


@given(MOMENTS)
def test_the_next_moment_is_the_first_at_which_anything_is_due(start: datetime) -> None:
    quiet = Schedule(ScheduleSection(prices_minutes=None, sentiment_minutes=None, retrain="weekly"))
    for schedule in (EVERYTHING, quiet):
        found = schedule.next(start)
        assert found is not None and found > start
        assert schedule.due(start, found - timedelta(microseconds=1)) == [] != schedule.due(start, found)


def test_what_is_switched_off_is_never_due() -> None:
    nothing = ScheduleSection(prices_minutes=None, sentiment_minutes=None, retrain="never")
    assert {task for _, task in Schedule(nothing).due(*days(30))} == {COMPACT}


def test_an_exchange_that_never_closes_is_always_open() -> None:
    coins = Schedule(ScheduleSection(exchange="24/7", prices_minutes=60, sentiment_minutes=None, retrain="never"))
    due = [time for time, task in coins.due(*days(7)) if task == PRICES]
    assert len(due) == 7 * 24 and all(b - a == timedelta(hours=1) for a, b in pairwise(due))


def test_settings_that_mean_nothing_are_refused() -> None:
    for wrong in ({"prices_minutes": 0}, {"retrain": "hourly"}, {"retrain_after_minutes": -1}):
        with pytest.raises(ValidationError):
            ScheduleSection(**wrong)  # type: ignore[arg-type]


# -- running -------------------------------------------------------------------------------------------------


class Hand:
    """A clock that is set by hand."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment


OPEN = datetime(2024, 3, 5, 14, 30, tzinfo=UTC)


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    made = Records(f"sqlite:///{tmp_path / 'records.sqlite'}")
    yield made
    made.close()


class Desk:
    """A scheduler over a home, with a clock by hand and a list of what ran."""

    def __init__(self, home: Path, records: Records, moment: datetime = OPEN, **actions: Action) -> None:
        self.clock, self.ran, self.heard = Hand(moment), list[tuple[str, datetime]](), list[Ran]()
        known = {task: self.noting(task) for task in TASKS} | actions
        self.scheduler = Scheduler(EVERYTHING, self.clock, records, home, "quick", known, self.heard.append)

    def noting(self, task: str) -> Action:
        def note(time: datetime) -> None:
            self.ran.append((task, time))

        return note

    def at(self, moment: datetime) -> list[Ran]:
        self.clock.moment = moment
        return asyncio.run(self.scheduler.run_due())

    def close(self) -> None:
        asyncio.run(self.scheduler.close())


def test_a_replay_runs_what_comes_due_as_simulated_time_goes_on(tmp_path: Path, records: Records) -> None:
    """A whole day in steps of five minutes: everything once, in order, at its own time."""
    desk = Desk(tmp_path, records)
    desk.scheduler.open()
    moments = [OPEN + timedelta(minutes=5 * k) for k in range(1, 24 * 12 + 1)]
    for moment in moments:
        desk.at(moment)
    assert desk.ran == [(task, time) for time, task in EVERYTHING.due(OPEN, moments[-1])]
    assert all(one.missed == 0 and one.error is None for one in desk.heard)
    desk.close()


def test_what_an_outage_missed_is_made_up_once(tmp_path: Path, records: Records) -> None:
    desk = Desk(tmp_path, records)
    desk.scheduler.open()
    desk.at(OPEN + timedelta(minutes=5))
    desk.close()
    later = Desk(tmp_path, records, OPEN + timedelta(days=3))
    later.scheduler.open()
    made_up = {one.task: one for one in later.at(later.clock.moment)}
    assert set(made_up) == set(TASKS) and len(later.ran) == len(TASKS)
    assert made_up[RETRAIN].missed == 2 and made_up[PRICES].missed == 77 + 2 * 78 - 1
    assert made_up[RETRAIN].time == datetime(2024, 3, 7, 21, 30, tzinfo=UTC)
    assert later.at(later.clock.moment) == []
    later.close()


def test_the_first_start_makes_up_nothing(tmp_path: Path, records: Records) -> None:
    desk = Desk(tmp_path, records)
    desk.scheduler.open()
    assert desk.at(OPEN) == []
    desk.close()


def test_a_run_that_died_with_its_process_is_run_again(tmp_path: Path, records: Records) -> None:
    def die(_: datetime) -> None:
        raise KeyboardInterrupt

    night = datetime(2024, 3, 5, 21, 30, tzinfo=UTC)
    desk = Desk(tmp_path, records, night - timedelta(minutes=1), retrain=die)
    desk.scheduler.open()
    with pytest.raises(KeyboardInterrupt):
        desk.at(night)
    desk.close()
    again = Desk(tmp_path, records, night + timedelta(minutes=9))
    again.scheduler.open()
    again.at(again.clock.moment)
    assert (RETRAIN, night) in again.ran
    again.close()


def test_a_passing_fault_is_tried_again_after_five_minutes_and_others_wait_for_their_next_time(
    tmp_path: Path, records: Records
) -> None:
    tried: list[datetime] = []

    def away(time: datetime) -> None:
        tried.append(time)
        raise RetryError("the source is down")

    def refused(_: datetime) -> None:
        raise DataError("too few bars")

    night = datetime(2024, 3, 5, 21, 30, tzinfo=UTC)
    desk = Desk(tmp_path, records, night - timedelta(seconds=1), retrain=away, sentiment=refused)
    desk.scheduler.open()
    told = {one.task: one.error for one in desk.at(night)}
    assert told == {RETRAIN: "the source is down", SENTIMENT: "too few bars"}
    assert desk.at(night + timedelta(minutes=4)) == []
    assert [one.task for one in desk.at(night + timedelta(minutes=5))] == [RETRAIN]
    assert tried == [night, night]
    desk.close()


def test_a_bug_in_one_task_is_told_and_stops_no_other(tmp_path: Path, records: Records) -> None:
    def broken(_: datetime) -> None:
        raise ZeroDivisionError

    desk = Desk(tmp_path, records, sentiment=broken)
    desk.scheduler.open()
    ran = desk.at(OPEN + timedelta(minutes=30))
    assert {one.task: one.error for one in ran} == {PRICES: None, SENTIMENT: "ZeroDivisionError()", SIGNALS: None}
    (job,) = (job for job in records.jobs(KIND) if job.detail["task"] == SENTIMENT)
    assert job.detail["error"] == "ZeroDivisionError()" and job.detail["runs"] == 1
    desk.close()


def test_one_schedule_runs_in_a_home(tmp_path: Path, records: Records) -> None:
    first, second = Desk(tmp_path, records), Desk(tmp_path, records)
    first.scheduler.open()
    with pytest.raises(RetryError, match="another schedule"):
        second.scheduler.open()
    first.close()
    second.scheduler.open()
    second.close()


def test_a_task_without_an_action_is_never_run(tmp_path: Path, records: Records) -> None:
    scheduler = Scheduler(EVERYTHING, FixedClock(OPEN), records, tmp_path, "quick", {})
    scheduler.open()
    assert scheduler.due(OPEN + timedelta(days=30)) == []
    asyncio.run(scheduler.close())


def test_a_coroutine_is_awaited(tmp_path: Path, records: Records) -> None:
    seen: list[datetime] = []

    async def ask(time: datetime) -> None:
        await asyncio.sleep(0)
        seen.append(time)

    desk = Desk(tmp_path, records, prices=ask)
    desk.scheduler.open()
    desk.at(OPEN + timedelta(minutes=5))
    assert seen == [OPEN + timedelta(minutes=5)]
    desk.close()


class Running:
    """A clock on which ten minutes pass at every look."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        self.moment += timedelta(minutes=10)
        return self.moment


@pytest.fixture
def restless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a schedule look at its clock ten times a second, and not once a minute."""
    monkeypatch.setattr(schedule_module, "_LONGEST_SLEEP", timedelta(milliseconds=100))


@pytest.mark.usefixtures("restless")
def test_a_live_schedule_wakes_up_by_the_clock_that_it_is_given(tmp_path: Path, records: Records) -> None:
    """Three runs of prices and news come without a hand that drives them; nothing else knows what time it is."""

    async def live() -> list[Ran]:
        heard: list[Ran] = []
        enough = asyncio.Event()

        def hear(ran: Ran) -> None:
            heard.append(ran)
            if len({one.time for one in heard if one.task == PRICES}) >= 3:
                enough.set()

        actions: dict[str, Action] = {PRICES: lambda _: None, SENTIMENT: lambda _: None}
        scheduler = Scheduler(EVERYTHING, Running(OPEN), records, tmp_path, "quick", actions, hear)
        scheduler.open()
        scheduler.start()
        await asyncio.wait_for(enough.wait(), timeout=60)
        await scheduler.close()
        return heard

    heard = asyncio.run(live())
    assert {one.task for one in heard} == {PRICES, SENTIMENT}
    assert all(OPEN < one.time <= OPEN + timedelta(hours=6, minutes=30) for one in heard if one.task == PRICES)


@pytest.mark.usefixtures("restless")
def test_a_task_that_takes_long_holds_up_no_other_and_is_not_begun_twice(tmp_path: Path, records: Records) -> None:
    async def live() -> tuple[int, int]:
        begun, enough, done = 0, asyncio.Event(), asyncio.Event()

        async def slow(_: datetime) -> None:
            nonlocal begun
            begun += 1
            await done.wait()

        prices = 0

        async def quick(_: datetime) -> None:
            nonlocal prices
            prices += 1
            if prices >= 5:
                enough.set()

        scheduler = Scheduler(EVERYTHING, Running(OPEN), records, tmp_path, "quick", {SENTIMENT: slow, PRICES: quick})
        scheduler.open()
        scheduler.start()
        await asyncio.wait_for(enough.wait(), timeout=60)
        done.set()
        await scheduler.close()
        return begun, prices

    begun, prices = asyncio.run(live())
    assert begun == 1 and prices >= 5


def test_it_sleeps_no_longer_than_a_minute_and_no_longer_than_to_the_next_task(
    tmp_path: Path, records: Records
) -> None:
    desk = Desk(tmp_path, records, OPEN + timedelta(minutes=4, seconds=30))
    assert desk.scheduler.waits() == timedelta(seconds=30)
    desk.clock.moment = OPEN + timedelta(hours=1, seconds=1)
    assert desk.scheduler.waits() == timedelta(minutes=1)
    desk.clock.moment = OPEN + timedelta(minutes=5) - timedelta(microseconds=1)
    assert desk.scheduler.waits() == timedelta(milliseconds=50)

"""Membership as it was read week by week: nothing before it was known, nobody forgotten, no list believed blindly."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.clock import FixedClock
from tradewind.errors import DataError, RetryError
from tradewind.market.index_members import IndexHistory, refresh
from tradewind.market.indexes.base import listing
from tradewind.market.store.records import IndexSnapshot, Records

MONDAY = datetime(2026, 11, 16, 9, tzinfo=UTC)
HUNDRED = tuple(f"M{i:03d}" for i in range(100))


class Told:
    """An index that lists what it is told to, or fails so."""

    name, fewest, most = "told", 95, 105

    def __init__(self, answer):
        self.answer, self.asked = answer, 0

    def members(self):
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return listing(self.answer, stated_on=date(2026, 11, 16), provider="told")


@pytest.fixture
def records(tmp_path):
    found = Records(f"sqlite:///{tmp_path / 'records.sqlite'}")
    yield found
    found.close()


def ask(records, answer, days=0.0, **options):
    source = Told(answer)
    clock = FixedClock(MONDAY + timedelta(days=days))
    return refresh(records, source, clock=clock, every_days=7, **options), source


def changed(count):
    return (*HUNDRED[count:], *(f"NEW{i}" for i in range(count)))


# --- reading


def test_the_first_list_is_stored_with_when_and_where_it_was_read(records):
    done, _ = ask(records, HUNDRED)
    (kept,) = records.index_snapshots("told")
    assert (kept.known_at, kept.recorded_at, tuple(kept.members)) == (MONDAY, MONDAY, HUNDRED)
    assert kept.detail == {"provider": "told", "stated_on": "2026-11-16"}
    assert (done.joined, done.left, done.read) == ((), (), True)


def test_a_list_is_read_again_when_it_is_a_week_old_and_not_before(records):
    ask(records, HUNDRED)
    assert ask(records, HUNDRED, days=6.99)[1].asked == 0
    assert ask(records, HUNDRED, days=7)[1].asked == 1
    assert len(records.index_snapshots("told")) == 2


def test_who_joined_and_left_is_said_and_the_earlier_list_stays(records):
    ask(records, HUNDRED)
    done, _ = ask(records, changed(2), days=7)
    assert (done.joined, done.left) == (("NEW0", "NEW1"), HUNDRED[:2])
    assert done.to_text() == "told: 100 members as of 2026-11-23 (joined NEW0, NEW1; left M000, M001)"
    assert [tuple(s.members) for s in records.index_snapshots("told")] == [HUNDRED, tuple(sorted(changed(2)))]


def test_a_dry_run_reads_and_stores_nothing(records):
    done, source = ask(records, HUNDRED, dry_run=True)
    assert (source.asked, len(done.snapshots), records.index_snapshots("told")) == (1, 1, [])


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (HUNDRED[:3], "lists 3 members, and told has 95 to 105"),
        ((*HUNDRED, *(f"X{i}" for i in range(9))), "lists 109 members"),
        (changed(40), "replaces 40 of 100 members"),
        (RetryError("no answer"), "no answer"),
        (DataError("is no JSON"), "is no JSON"),
    ],
)
def test_a_list_that_is_not_believed_leaves_the_earlier_one_in_force(records, answer, text):
    ask(records, HUNDRED)
    done, _ = ask(records, answer, days=8)
    assert text in done.problem
    assert text in done.to_text() and done.to_text().startswith("WARNING")
    assert [tuple(s.members) for s in done.snapshots] == [HUNDRED]
    assert len(records.index_snapshots("told")) == 1


@pytest.mark.parametrize("answer", [HUNDRED[:3], RetryError("no answer")])
def test_without_an_earlier_list_there_is_nothing_to_go_on_with(records, answer):
    with pytest.raises((RetryError, DataError), match="the members of told are not known") as failure:
        ask(records, answer)
    assert "universe.symbols" in failure.value.hint
    assert records.index_snapshots("told") == []


def test_after_years_more_changes_are_believed(records):
    ask(records, HUNDRED)
    assert ask(records, changed(40), days=700)[0].problem == ""


# --- membership as of each bar


def snapshot(day, *members):
    moment = datetime(2026, 11, day, 9, tzinfo=UTC)
    return IndexSnapshot("x", moment, moment, members)


def closes(*days):
    return np.array([f"2026-11-{day:02d}T21:00" for day in days], dtype="datetime64[us]")


THREE = (snapshot(3, "A", "B"), snapshot(10, "A", "C"), snapshot(17, "A", "B"))


def test_who_left_stays_a_member_of_the_past_and_who_came_was_none_before():
    history = IndexHistory(THREE)
    assert history.mask(closes(3, 9, 10, 16, 17, 30), ("A", "B", "C", "D")).astype(int).tolist() == [
        [1, 1, 0, 0],
        [1, 1, 0, 0],
        [1, 0, 1, 0],
        [1, 0, 1, 0],
        [1, 1, 0, 0],
        [1, 1, 0, 0],
    ]


def test_a_list_read_after_the_close_counts_from_the_next_bar():
    late = IndexSnapshot("x", *[datetime(2026, 11, 10, 21, 30, tzinfo=UTC)] * 2, ("A",))
    mask = IndexHistory((THREE[0], late)).mask(closes(10, 11), ("A", "B"))
    assert mask.tolist() == [[True, True], [True, False]]


def test_a_list_read_at_the_very_close_counts_for_it():
    sharp = IndexSnapshot("x", *[datetime(2026, 11, 10, 21, tzinfo=UTC)] * 2, ("A",))
    assert IndexHistory((THREE[0], sharp)).mask(closes(9, 10), ("A", "B")).tolist() == [[True, True], [True, False]]


def test_before_the_first_list_a_table_speaks_where_there_is_one():
    table = pl.DataFrame(
        {"symbol": ["D"], "start": [date(2026, 11, 2)], "end": [None]}, schema_overrides={"end": pl.Date}
    )
    history = IndexHistory(THREE, before=table)
    assert history.mask(closes(1, 2, 3), ("A", "D")).tolist() == [[False, False], [False, True], [True, False]]
    assert not history.hindsight(datetime(2026, 11, 1, tzinfo=UTC))


def test_before_the_first_list_it_is_used_back_in_time_and_that_is_hindsight():
    history = IndexHistory(THREE)
    assert history.mask(closes(1), ("A", "B", "C")).tolist() == [[True, True, False]]
    assert history.hindsight(datetime(2026, 11, 1, tzinfo=UTC))
    assert not history.hindsight(datetime(2026, 11, 3, 21, tzinfo=UTC))


def test_as_of_a_moment_later_lists_are_not_known():
    history = IndexHistory(THREE, as_of=datetime(2026, 11, 12, tzinfo=UTC))
    assert history.newest.members == ("A", "C")
    assert history.mask(closes(18), ("A", "B", "C")).tolist() == [[True, False, True]]
    early = IndexHistory(THREE, as_of=datetime(2026, 11, 1, tzinfo=UTC))
    assert early.newest.members == ("A", "B")


def test_everybody_of_a_period_is_named():
    history = IndexHistory(THREE)
    november = [datetime(2026, 11, day, tzinfo=UTC) for day in range(1, 31)]
    assert history.ever(november[10], november[11]) == ("A", "C")
    assert history.ever(november[0], november[1]) == ("A", "B")
    assert history.ever(november[0], november[20]) == ("A", "B", "C")
    table = pl.DataFrame(
        {"symbol": ["D"], "start": [None], "end": [None]}, schema_overrides=dict.fromkeys(("start", "end"), pl.Date)
    )
    assert IndexHistory(THREE, before=table).ever(november[0], november[4]) == ("A", "B", "D")


def test_another_list_is_another_digest():
    assert IndexHistory(THREE).digest() == IndexHistory(list(THREE)).digest()
    assert IndexHistory(THREE).digest() != IndexHistory(THREE[:2]).digest()


@given(
    st.lists(st.tuples(st.integers(0, 400), st.sets(st.sampled_from("ABCDE"), min_size=1)), min_size=1, max_size=6),
    st.lists(st.integers(-50, 450), min_size=1, max_size=12, unique=True),
)
def test_a_bar_sees_the_last_list_that_was_known_at_its_close(lists, hours):
    lists = sorted(dict(lists).items())
    zero, names = datetime(2026, 1, 1, tzinfo=UTC), tuple("ABCDE")
    history = IndexHistory([IndexSnapshot("x", *[zero + timedelta(hours=h)] * 2, tuple(m)) for h, m in lists])
    bars = sorted(hours)
    times = np.array([np.datetime64("2026-01-01", "us") + np.timedelta64(h, "h") for h in bars])
    for hour, row in zip(bars, history.mask(times, names), strict=True):
        known = [members for h, members in lists if h <= hour] or [lists[0][1]]
        assert {n for n, belongs in zip(names, row, strict=True) if belongs} == known[-1]

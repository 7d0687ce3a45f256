"""What of that which arrives is a bar, and when a close goes on."""

import math
from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standin_bars import NEW_YORK, SYMBOLS, bars

from tradewind.live.ingest_gate import BarGate, Rules

SECOND = timedelta(seconds=1)


def gate(**named):
    rules = Rules(**{"quiet_closes": 0, **named.pop("rules", {})})
    return BarGate(SYMBOLS, "5m", NEW_YORK, rules=rules, **named)


def times(count=None):
    return bars(closes=40)["time"].unique().sort().to_list()[:count]


def at(*moments, symbols=SYMBOLS, **values):
    chosen = bars(closes=40).filter(pl.col("time").is_in(moments) & pl.col("symbol").is_in(symbols))
    return chosen.with_columns(**{name: pl.lit(value) for name, value in values.items()})


def names(close):
    return [row.symbol for row in close.rows]


def test_a_close_goes_on_as_soon_as_everybody_is_there():
    first = times()[0]
    subject = gate()
    assert not subject.offer(at(first, symbols=["AAA", "CCC"]), first + SECOND).closes
    (close,) = subject.offer(at(first, symbols=["BBB"]), first + 2 * SECOND).closes
    assert close.time == first and names(close) == list(SYMBOLS) and close.missing == ()


def test_who_does_not_come_in_time_stays_missing():
    first = times()[0]
    subject = gate()
    subject.offer(at(first, symbols=["AAA"]), first + SECOND)
    assert not subject.at(first + 9 * SECOND).closes
    (close,) = subject.at(first + 10 * SECOND).closes
    assert names(close) == ["AAA"] and close.missing == ("BBB", "CCC")
    assert subject.missing == {first: {"BBB", "CCC"}}


def test_what_comes_after_its_close_went_on_is_told_as_late():
    first = times()[0]
    subject = gate()
    subject.offer(at(first, symbols=["AAA", "BBB"]), first + SECOND)
    subject.at(first + 10 * SECOND)
    passed = subject.offer(at(first, symbols=["CCC"]), first + 40 * SECOND)
    assert not passed.closes
    assert [(row.symbol, row.time, row.known_at) for row in passed.earlier] == [("CCC", first, first + 40 * SECOND)]
    assert subject.counts["late"] == 1 and not subject.missing


def test_a_complete_close_waits_for_the_one_before_it_that_somebody_may_fill():
    first, second = times(2)
    subject = gate(after=first - timedelta(minutes=5), rules={"mends": True})
    assert not subject.offer(at(second), second + SECOND).closes
    assert subject.gap() == (first, first)
    assert [c.time for c in subject.offer(at(first), second + 2 * SECOND, "assumed").closes] == [first, second]


def test_a_complete_close_waits_for_an_incomplete_one_before_it():
    first, second = times(2)
    subject = gate(rules={"wait": timedelta(minutes=10)})
    subject.offer(at(first, symbols=["AAA"]), first + SECOND)
    assert not subject.offer(at(second), second + SECOND).closes
    closes = subject.offer(at(first, symbols=["BBB", "CCC"]), second + 2 * SECOND).closes
    assert [(close.time, len(close.rows)) for close in closes] == [(first, 3), (second, 3)]


def test_a_gap_is_not_waited_for_longer_than_a_close_waits():
    first, second = times(2)
    subject = gate(after=first - timedelta(minutes=5), rules={"mends": True})
    subject.offer(at(second), second + SECOND)
    (close,) = subject.at(second + 10 * SECOND).closes
    assert close.time == second and subject.missing == {first: set(SYMBOLS)}


def test_a_gap_that_was_asked_about_is_not_waited_for():
    first, second = times(2)
    subject = gate(after=first - timedelta(minutes=5), rules={"mends": True})
    subject.offer(at(second), second + SECOND)
    subject.answered(first)
    assert [close.time for close in subject.at(second + 2 * SECOND).closes] == [second]


def test_only_so_many_closes_wait_whatever_the_clock_says():
    moments = times(4)
    subject = gate(rules={"hold_closes": 3, "ahead": timedelta(hours=1)})
    for moment in moments[:3]:  # the clock stands still
        assert not subject.offer(at(moment, symbols=["AAA"]), moments[0]).closes
    (close,) = subject.offer(at(moments[3], symbols=["AAA"]), moments[0]).closes
    assert close.time == moments[0] and close.missing == ("BBB", "CCC")


def test_a_bar_that_comes_twice_counts_once():
    first = times()[0]
    subject = gate()
    subject.offer(at(first), first + SECOND)
    passed = subject.offer(at(first), first + 2 * SECOND)
    assert not passed.closes and not passed.earlier
    assert subject.counts["duplicate"] == 3 and subject.counts["accepted"] == 3


def test_a_bar_that_changes_before_its_close_went_on_is_what_it_became():
    first = times()[0]
    subject = gate()
    subject.offer(at(first, symbols=["AAA"], volume=1.0), first + SECOND)
    (close,) = subject.offer(at(first), first + 2 * SECOND).closes
    assert close.rows[0].volume == at(first, symbols=["AAA"])["volume"][0]
    assert subject.counts["revised"] == 1


def test_a_bar_that_changes_afterwards_is_told_and_not_rewritten():
    first = times()[0]
    subject = gate()
    subject.offer(at(first), first + SECOND)
    passed = subject.offer(at(first, symbols=["BBB"], volume=7.0), first + 60 * SECOND)
    assert not passed.closes
    assert [(row.symbol, row.volume, row.vintage) for row in passed.earlier] == [("BBB", 7.0, "observed")]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"close": math.nan}, "missing-price"),
        ({"open": None}, "missing-price"),
        ({"low": -1.0}, "non-positive"),
        ({"high": 1e-3}, "range"),
        ({"volume": -1.0}, "negative-volume"),
    ],
)
def test_garbage_is_refused_with_its_reason_and_the_bar_can_still_come(change, why):
    first = times()[0]
    subject = gate()
    passed = subject.offer(at(first, symbols=["AAA"], **change), first + SECOND)
    assert [(row.symbol, row.why) for row in passed.refused] == [("AAA", why)]
    assert names(subject.offer(at(first), first + 2 * SECOND).closes[0]) == list(SYMBOLS)


def test_a_bar_of_the_future_is_refused_and_one_a_little_ahead_of_our_clock_is_not():
    first, second = times(2)
    subject = gate()
    (refused,) = subject.offer(at(second, symbols=["AAA"]), first).refused
    assert refused.why == "in the future"
    passed = subject.offer(at(second), second - 4 * SECOND)
    assert passed.closes[0].rows[0].known_at == second  # never known before it closed


@pytest.mark.parametrize("minutes", [1, 60 * 12])
def test_a_bar_that_the_calendar_does_not_have_is_refused(minutes):
    first = times()[0]
    subject = gate()
    off = at(first).with_columns(time=pl.col("time") + timedelta(minutes=minutes))
    passed = subject.offer(off, first + timedelta(days=1))
    assert {row.why for row in passed.refused} == {"no close of the calendar"}


def test_a_symbol_that_nobody_asked_for_is_counted_and_left():
    first = times()[0]
    subject = gate()
    passed = subject.offer(at(first, symbols=["AAA"]).with_columns(symbol=pl.lit("ZZZ")), first + SECOND)
    assert not passed.refused and subject.counts["strange"] == 1


def test_a_row_without_a_symbol_or_a_time_is_refused():
    first = times()[0]
    subject = gate()
    for change in ({"symbol": pl.lit(None, pl.String)}, {"time": pl.lit(None, bars().schema["time"])}):
        (refused,) = subject.offer(at(first, symbols=["AAA"]).with_columns(**change), first + SECOND).refused
        assert refused.why == "no symbol or time"


def test_a_wild_move_is_marked_and_goes_on():
    moments = times(30)
    subject = gate()
    for moment in moments[:-1]:
        subject.offer(at(moment), moment + SECOND)
    spread = bars(closes=40).filter(symbol="AAA")["close"].log().diff().head(29).std()
    before = at(moments[-2], symbols=["AAA"])["close"][0]
    wild = before * math.exp(4 * spread)
    passed = subject.offer(at(moments[-1]).with_columns(
        close=pl.when(pl.col("symbol") == "AAA").then(wild).otherwise("close"),
        high=pl.when(pl.col("symbol") == "AAA").then(wild).otherwise("high"),
    ), moments[-1] + SECOND)  # fmt: skip
    marks = {row.symbol: row.marks for row in passed.closes[0].rows}
    assert marks["AAA"] == "outlier" and set(marks) == set(SYMBOLS)


def test_a_symbol_that_stays_away_is_not_waited_for_until_it_comes_again():
    moments = times(6)
    subject = gate(rules={"quiet_closes": 2})
    for moment in moments[:2]:
        subject.offer(at(moment, symbols=["AAA", "BBB"]), moment + SECOND)
        assert len(subject.at(moment + 10 * SECOND).closes) == 1
    (close,) = subject.offer(at(moments[2], symbols=["AAA", "BBB"]), moments[2] + SECOND).closes
    assert close.missing == ("CCC",)
    subject.offer(at(moments[3], symbols=["CCC"]), moments[3] + SECOND)
    subject.offer(at(moments[3], symbols=["AAA", "BBB"]), moments[3] + SECOND)
    assert not subject.offer(at(moments[4], symbols=["AAA", "BBB"]), moments[4] + SECOND).closes


def test_closes_of_which_nobody_spoke_are_missing():
    moments = times(4)
    subject = gate()
    subject.offer(at(moments[0]), moments[0] + SECOND)
    subject.at(moments[3] + SECOND)
    assert set(subject.missing) == set(moments[1:3])


def test_a_clock_that_leaps_ahead_lets_go_and_loses_nothing():
    first, second = times(2)
    subject = gate()
    subject.offer(at(first, symbols=["AAA"]), first + SECOND)
    assert subject.at(first + timedelta(hours=3)).closes[0].missing == ("BBB", "CCC")
    passed = subject.offer(at(first, symbols=["BBB", "CCC"]), first + 2 * SECOND)  # and back again
    assert {row.symbol for row in passed.earlier} == {"BBB", "CCC"}
    assert len(subject.offer(at(second), second + SECOND).closes) == 1


def test_a_bar_known_from_the_lake_is_no_news():
    first, second = times(2)
    subject = gate(after=first)
    subject.remember(at(first))
    passed = subject.offer(at(first, second), second + SECOND)
    assert [close.time for close in passed.closes] == [second] and not passed.earlier


def test_how_a_bar_became_known_is_witnessed_or_assumed():
    first = times()[0]
    subject = gate(lag=timedelta(minutes=15), rules={"witnessed": timedelta(minutes=2)})
    assert not subject.offer(at(first, symbols=["AAA"]), first + 3 * SECOND).closes
    passed = subject.offer(at(first, symbols=["BBB", "CCC"]), first + timedelta(minutes=3))
    known = {r.symbol: (r.known_at, r.vintage) for r in passed.closes[0].rows}
    assert known["AAA"] == (first + 3 * SECOND, "observed")
    assert known["BBB"] == (first + timedelta(minutes=15), "assumed")


@given(data=st.data())
def test_whatever_the_order_every_bar_comes_out_once_and_closes_rise(data):
    moments = times(8)
    table = at(*moments)
    order = data.draw(st.permutations(range(table.height)))
    repeats = data.draw(st.lists(st.integers(0, table.height - 1), max_size=10))
    subject, now, seen, closes = gate(rules={"hold_closes": 2}), moments[-1], [], []
    for n in [*order, *repeats]:
        now += timedelta(milliseconds=200)
        passed = subject.offer(table[n], now)
        closes += [close.time for close in passed.closes]
        seen += [(r.time, r.symbol) for close in passed.closes for r in close.rows]
        seen += [(r.time, r.symbol) for r in passed.earlier]
    last = subject.at(now + timedelta(minutes=1))
    closes += [close.time for close in last.closes]
    seen += [(r.time, r.symbol) for close in last.closes for r in close.rows]
    assert closes == sorted(set(closes))
    assert sorted(seen) == sorted(table.select("time", "symbol").rows())

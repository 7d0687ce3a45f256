"""Stored bars walked through on a clock, and the faults that can be planted in them."""

import asyncio
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from tradewind.clock import FixedClock
from tradewind.errors import DataError, InputError, RetryError
from tradewind.market.feeds import FEEDS, Wanted
from tradewind.market.quality import is_excluded, mark_rows
from tradewind.market.sources.base import SOURCES, Request
from tradewind.market.sources.replay import Faults, ReplayClock, ReplayFeed, pause_of

DAY = datetime(2020, 1, 6, tzinfo=UTC)
SYMBOLS = ("SYN000", "SYN001", "SYN002")


@pytest.fixture(scope="module")
def table():
    source = SOURCES.create("synthetic", n_symbols=3)
    request = Request(SYMBOLS, "5m", DAY, DAY + timedelta(days=1))
    return pl.concat([delivery.bars for delivery in source.fetch(request)]).sort("time", "symbol")


def walk(table, **named):
    """Return (moment, rows) as they were told; a lost connection is noted and made anew."""
    clock, out, slept = named.pop("clock", None) or ReplayClock(), [], []

    async def sleep(seconds):
        slept.append(seconds)

    async def main():
        feed = ReplayFeed(table, clock, sleep=sleep, **named)
        while True:
            try:
                async for arrival in feed.listen(Wanted(SYMBOLS, "5m")):
                    out.append((clock.now(), arrival.bars))
                return
            except RetryError as error:
                out.append((clock.now(), str(error)))

    asyncio.run(main())
    return out, slept


def told(out):
    return pl.concat([rows for _, rows in out if isinstance(rows, pl.DataFrame)])


def test_every_bar_is_told_at_its_close_and_the_clock_stands_there(table):
    out, slept = walk(table)
    assert [moment for moment, _ in out] == table["time"].unique().sort().to_list()
    assert told(out).equals(table) and not any(slept)


def test_bars_are_told_when_they_became_known(table):
    known = table.with_columns(known_at=pl.col("time") + pl.duration(minutes=pl.col("symbol").rank("dense")))
    out, _ = walk(known)
    assert [moment for moment, _ in out] == sorted(moment for moment, _ in out)
    for moment, rows in out:
        expected = known.filter(pl.col("known_at") == moment).select(rows.columns)
        assert rows.sort("symbol").equals(expected.sort("symbol"))


def test_speed_divides_the_time_and_nights_are_short(table):
    _, slept = walk(table, speed=100.0)
    assert slept[1:] == [3.0] * (len(slept) - 1)
    assert pause_of(DAY, DAY + timedelta(hours=17), 1.0) == 5.0
    assert pause_of(None, DAY, 1.0) == pause_of(DAY, DAY + timedelta(hours=1), "max") == 0.0


def test_one_seed_goes_wrong_in_one_way(table):
    faults = Faults(late=0.2, shuffled=0.2, duplicated=0.2, revised=0.2, missing=0.1, garbage=0.1, future=0.1)
    one, two, three = (walk(table, faults=faults, seed=seed)[0] for seed in (1, 1, 2))
    assert [m for m, _ in one] == [m for m, _ in two]
    assert all(a.equals(b, null_equal=True) for (_, a), (_, b) in zip(one, two, strict=True))
    assert [m for m, _ in one] != [m for m, _ in three]


def test_each_fault_is_what_it_is_called(table):
    key = ["symbol", "time"]
    assert told(walk(table, faults=Faults(missing=0.3))[0]).height < table.height
    twice = told(walk(table, faults=Faults(duplicated=0.3))[0])
    assert twice.unique(key).height == table.height < twice.height and twice.unique().height == table.height
    revised = told(walk(table, faults=Faults(revised=0.3))[0])
    assert revised.height > table.height
    assert revised.unique(key, keep="last", maintain_order=True).sort("time", "symbol").equals(table)
    garbage = mark_rows(told(walk(table, faults=Faults(garbage=0.3))[0]))
    assert garbage.filter(is_excluded()).height == garbage.height - table.height > 0
    future = told(walk(table, faults=Faults(future=0.3))[0])
    assert future.filter(pl.col("time") > table["time"].max()).height == future.height - table.height > 0
    late, _ = walk(table, faults=Faults(late=0.3, late_s=400))
    assert told(late).sort("time", "symbol").equals(table)
    delays = [m - t for m, rows in late for t in rows["time"]]
    assert set(delays) == {timedelta(0), timedelta(seconds=400)}
    mixed, _ = walk(table, faults=Faults(shuffled=0.9))
    assert told(mixed).sort("time", "symbol").equals(table) and len(mixed) > table["time"].n_unique()


def test_nothing_is_told_during_an_outage_and_a_break_is_an_error_once(table):
    start = DAY + timedelta(hours=15)
    outage = (start, start + timedelta(minutes=42))
    out, _ = walk(table, faults=Faults(outages=[outage], breaks=[start]))
    assert [m for m, _ in out if outage[0] <= m <= outage[1]] == []
    assert [text for _, text in out if isinstance(text, str)] == [
        f"the replay lost its connection at {start}\n  → listen again"
    ]
    expected = table.filter(~pl.col("time").is_between(*outage))
    assert told(out).equals(expected)


def test_with_another_clock_what_was_missed_is_lost(table):
    middle = table["time"][table.height // 2]
    late = FixedClock(middle)

    async def main():
        feed = ReplayFeed(table.filter(pl.col("time") <= middle), late)
        return [arrival.bars async for arrival in feed.listen(Wanted(SYMBOLS, "5m"))]

    (rows,) = asyncio.run(main())
    assert set(rows["time"]) == {middle}


def test_a_source_without_bars_cannot_be_walked_through():
    source = SOURCES.create("synthetic", n_symbols=1)
    sunday = datetime(2020, 1, 5, tzinfo=UTC)
    with pytest.raises(DataError, match="no bars"):
        FEEDS.create(
            "synthetic", source=source, request=Request(("SYN000",), "5m", sunday, sunday), clock=ReplayClock()
        )


@pytest.mark.parametrize("speed", [0, -2.0, float("inf"), "slow"])
def test_a_speed_at_which_nothing_happens_is_refused(table, speed):
    with pytest.raises(InputError, match="speed"):
        ReplayFeed(table, ReplayClock(), speed=speed)


def test_a_replay_clock_never_goes_back():
    clock = ReplayClock()
    clock.reach(DAY)
    clock.reach(DAY - timedelta(days=1))
    assert clock.now() == DAY

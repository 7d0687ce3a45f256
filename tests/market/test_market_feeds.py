"""What every feed must do, whoever speaks."""

import asyncio
import dataclasses
from collections import Counter
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from market_alpaca_standin import ENVIRON, AlpacaStream, bar

from tradewind.clock import FixedClock
from tradewind.errors import InputError
from tradewind.market.calendar import calendar
from tradewind.market.feeds import FEEDS, Wanted
from tradewind.market.sources.alpaca import AlpacaOptions
from tradewind.market.sources.base import SOURCE_BAR_SCHEMA, SOURCES, Request
from tradewind.market.sources.replay import ReplayClock

DAY = datetime(2020, 1, 6, tzinfo=UTC)
SYMBOLS = ("SYN000", "SYN001", "SYN002")
ASKED = Request(SYMBOLS, "5m", DAY, DAY + timedelta(days=1))


@pytest.fixture(params=["replay", "synthetic", "poll", "alpaca"])
def case(request):
    """A feed, the bar size that it speaks of, and how many closes it has to say."""
    source = SOURCES.create("synthetic", n_symbols=4)
    if request.param == "replay":
        yield FEEDS.create("replay", bars=pl.concat([d.bars for d in source.fetch(ASKED)]), clock=ReplayClock()), "5m"
    elif request.param == "synthetic":
        yield FEEDS.create("synthetic", source=source, request=ASKED, clock=ReplayClock()), "5m"
    elif request.param == "poll":
        clock = FixedClock(DAY + timedelta(hours=21, minutes=1))
        yield FEEDS.create("poll", source=source, calendar=calendar(), clock=clock), "5m"
    else:
        pytest.importorskip("alpaca")
        first = DAY + timedelta(hours=14, minutes=31)
        server = AlpacaStream([[bar(symbol, first)] for symbol in (*SYMBOLS, "SYN003")])
        yield FEEDS.create("alpaca", options=AlpacaOptions(stream_url=server.url), environ=ENVIRON), "1m"
        server.close()


def arrivals(feed, timeframe, symbols=SYMBOLS[:2], most=1):
    async def main():
        out = []
        async with aclosing(feed.listen(Wanted(symbols, timeframe))) as listening:
            async for arrival in listening:
                out.append(arrival)
                if len(out) == most:
                    break
        return out

    return asyncio.run(asyncio.wait_for(main(), 30))


def test_the_contract_covers_every_shipped_feed():
    assert set(FEEDS.names()) == {"replay", "synthetic", "poll", "alpaca"}


def test_bars_have_the_columns_of_a_source_and_the_closes_of_the_calendar(case):
    feed, timeframe = case
    (arrival,) = arrivals(feed, timeframe)
    assert dict(arrival.bars.schema) == dict(SOURCE_BAR_SCHEMA) and arrival.bars.height
    closes = calendar().bar_closes(timeframe, DAY, DAY + timedelta(days=1)).tolist()
    assert set(arrival.bars["time"].dt.replace_time_zone(None)) <= set(closes)


def test_only_what_is_wanted_is_told(case):
    (arrival,) = arrivals(*case)
    assert set(arrival.bars["symbol"]) <= set(SYMBOLS[:2])
    assert {tick.symbol for tick in arrival.ticks} <= set(SYMBOLS[:2])


def test_a_bar_size_that_is_not_spoken_is_refused(case):
    feed, timeframe = case
    if feed.name in ("replay", "synthetic"):
        pytest.skip("a replay says what it was given")
    with pytest.raises(InputError):
        arrivals(feed, {"5m": "1m", "1m": "5m"}[timeframe])


def test_it_says_whether_it_asks(case):
    assert case[0].asks is (case[0].name == "poll")


def test_listening_can_end_at_any_time_and_leaves_nothing_running(case):
    feed, timeframe = case

    async def main():
        before = asyncio.all_tasks()
        async with aclosing(feed.listen(Wanted(SYMBOLS, timeframe))) as listening:
            await anext(listening)
        await asyncio.sleep(0.05)
        return [task for task in asyncio.all_tasks() if task not in before]

    assert asyncio.run(asyncio.wait_for(main(), 30)) == []


class Late:
    """A source whose symbols have their newest close only when asked so often; SYN001 never has it."""

    name = "late"

    def __init__(self, after):
        self.source, self.after, self.asked = SOURCES.create("synthetic", n_symbols=4), after, []

    def look_back(self):
        return self.source.look_back()

    def fetch(self, request):
        self.asked.append(request)
        times = [r for r in self.asked if r.symbols == request.symbols]
        for told in self.source.fetch(request):
            newest = pl.col("time") == told.bars["time"].max()
            held = newest & (pl.lit(request.symbols == ("SYN001",)) | pl.lit(len(times) % 9 < self.after))
            yield dataclasses.replace(told, bars=told.bars.filter(~held))


def test_a_close_that_is_not_there_yet_is_asked_for_again_and_one_that_never_comes_not_for_ever():
    class Clock:
        instant = DAY + timedelta(hours=15, seconds=3)

        def now(self):
            return self.instant

    clock, source = Clock(), Late(after=2)

    async def sleep(seconds):
        clock.instant += timedelta(seconds=seconds)

    async def main():
        feed = FEEDS.create("poll", source=source, calendar=calendar(), clock=clock, sleep=sleep)
        async with aclosing(feed.listen(Wanted(SYMBOLS[:2], "5m"))) as listening:
            async for _ in listening:
                if clock.instant > DAY + timedelta(hours=15, minutes=41):
                    return

    asyncio.run(asyncio.wait_for(main(), 30))
    rounds = Counter(request.end.minute // 5 for request in source.asked if request.symbols == ("SYN001",))
    assert [rounds[n] for n in range(8)] == [3, 3, 3, 1, 1, 1, 1, 1]


def test_an_unknown_feed_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match="did you mean 'replay'"):
        FEEDS.create("replays")

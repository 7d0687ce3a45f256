"""Stored closes walked through again: the same face, the same bars, nothing stored again."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import polars as pl
import pytest
from standin_bars import SYMBOLS
from standin_time import LoopClock, run
from test_live_ingest import walked

from tradewind.errors import DataError, InputError
from tradewind.live.ingest_replay import ReplayIngest, as_first_known, stored_bars
from tradewind.market.sources.replay import Faults, ReplayClock
from tradewind.market.store.lake import Lake

OPEN = datetime(2025, 3, 3, 14, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def taken_in(tmp_path_factory):
    """A lake that took a day in, with revisions, and what was told meanwhile."""
    lake = Lake(tmp_path_factory.mktemp("taken") / "lake")
    return lake, walked(lake, faults=Faults(revised=0.1))


def replay(lake, clock=None, **named):
    table = stored_bars(lake, SYMBOLS, "5m", start=named.pop("start", None), end=named.pop("end", None))
    return ReplayIngest(table, symbols=SYMBOLS, timeframe="5m", clock=clock or ReplayClock(), **named)


def told(subject, after=None):
    async def main():
        return [batch async for batch in subject.closed_bars(after)]

    return run(main())


def test_it_tells_the_closes_that_were_told_live_as_the_lake_has_them_now(taken_in):
    lake, live = taken_in
    again = told(replay(lake))
    assert [(b.time, b.complete, b.correlation) for b in again] == [(b.time, b.complete, b.correlation) for b in live]
    assert pl.concat([b.frame for b in again]).equals(lake.read_bars(None, "5m").sort("time", "symbol"))
    assert {b.how for b in again} == {"replay"} and all(b.earlier.is_empty() for b in again)


def test_it_can_tell_what_was_known_when(taken_in):
    lake, live = taken_in
    first, corrections = as_first_known(lake, SYMBOLS, "5m")
    assert corrections.height
    subject = ReplayIngest(first, symbols=SYMBOLS, timeframe="5m", clock=ReplayClock(), corrections=corrections)
    again = told(subject)
    prices = ["symbol", "time", "open", "high", "low", "close", "volume"]
    for before, after in zip(live, again, strict=True):
        assert after.frame.select(prices).rows() == before.frame.select(prices).rows()
        assert after.earlier.select(prices).rows() == before.earlier.select(prices).rows()


def test_it_writes_nothing(taken_in):
    lake, _ = taken_in
    before = lake.pin()
    told(replay(lake))
    assert lake.pin() == before


def test_its_clock_stands_at_each_close_when_it_is_told(taken_in):
    async def main():
        clock = ReplayClock()
        return [(batch.time, clock.now()) async for batch in replay(taken_in[0], clock).closed_bars()]

    assert all(time == now for time, now in run(main()))


def test_it_goes_on_after_what_was_heard_before(taken_in):
    times = [batch.time for batch in told(replay(taken_in[0]))]
    subject = replay(taken_in[0])
    assert [batch.time for batch in told(subject, after=times[9])] == times[10:]
    assert subject.done and subject.bars_done == subject.bars_total == len(times)


def test_speed_is_kept_may_change_while_it_runs_and_nights_are_skipped(taken_in):
    async def main():
        subject, clock, when = replay(taken_in[0], speed=300.0), LoopClock(), []
        async for _ in subject.closed_bars():
            when.append((clock.now() - clock.start).total_seconds())
            if len(when) == 5:
                subject.speed = 600.0
        return when

    when = run(main())
    gaps = [round(later - earlier, 6) for earlier, later in pairwise(when)]
    assert gaps[:4] == [1.0] * 4 and set(gaps[4:]) == {0.5}


def test_a_new_speed_ends_the_pause_that_is_running(taken_in):
    async def main():
        subject = replay(taken_in[0], speed=60.0)  # five seconds a bar
        asyncio.get_running_loop().call_later(1, setattr, subject, "speed", "max")
        return [asyncio.get_running_loop().time() async for _ in subject.closed_bars()]

    assert run(main())[-1] == 1


def test_prices_tick_at_a_speed_at_which_somebody_can_watch(taken_in):
    async def main():
        subject, heard = replay(taken_in[0], speed=300.0), []

        async def watch():
            async for ticks in subject.ticks:
                heard.extend(ticks)

        watching = asyncio.create_task(watch())
        closes = [batch async for batch in subject.closed_bars()]
        watching.cancel()
        return closes, heard

    closes, heard = run(main())
    assert {(t.symbol, t.time, t.price) for t in heard} >= {
        (row["symbol"], row["time"], row["close"]) for b in closes[:-1] for row in b.frame.iter_rows(named=True)
    }
    assert all(tick.price > 0 for tick in heard)


def test_a_speed_at_which_nothing_happens_is_refused(taken_in):
    for speed in (0, -1.0, float("nan"), "fast"):
        with pytest.raises(InputError, match="speed"):
            replay(taken_in[0], speed=speed)
    subject = replay(taken_in[0])
    with pytest.raises(InputError, match="speed"):
        subject.speed = 0


def test_a_period_without_bars_is_refused(taken_in):
    with pytest.raises(DataError, match="no 5m bars"):
        replay(taken_in[0], start=OPEN + timedelta(days=300))


def test_its_state_has_the_shape_of_the_contract(taken_in):
    subject = replay(taken_in[0])
    told(subject)
    (service,) = subject.state()
    assert set(service) == {"name", "state", "last_success", "last_error", "failures", "next_try", "heartbeat"}
    assert subject.health()["freshness"]["stale"] is False and service["state"] == "stopped"

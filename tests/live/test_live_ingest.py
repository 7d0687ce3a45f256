"""From a feed through the gate into the lake, whatever happens on the way."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from standin_bars import SYMBOLS, Stored, bars, doubled, held
from standin_time import LoopClock, inline, run

from tradewind.errors import RetryError
from tradewind.live.ingest import Ingest, Ticks, polling
from tradewind.live.settings_ingest import IngestSection
from tradewind.market.sources.base import Tick
from tradewind.market.sources.replay import Faults, ReplayClock, ReplayFeed
from tradewind.market.store.lake import Lake

OPEN = datetime(2025, 3, 3, 14, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SECTION = IngestSection(wait_seconds=10, quiet_closes=0)


class Alarms(list):
    def __call__(self, level, kind, what, detail):
        self.append((level, kind, what))

    def kinds(self):
        return [kind for _, kind, _ in self]


def ingest(lake, feed, clock, source=None, section=SECTION, **named):
    return Ingest(
        lake, section, symbols=SYMBOLS, timeframe="5m", feed=feed, source=source, clock=clock, tag="stored",
        off_loop=inline, **named,
    )  # fmt: skip


def heard(subject, after=None, most=10_000):
    async def main():
        out = []
        async with aclosing(subject.closed_bars(after)) as closes:
            async for batch in closes:
                out.append(batch)
                if len(out) == most:
                    break
        return out

    return main()


def walked(lake, table=None, *, faults=None, source=None, section=SECTION, clock=None, after=None, **named):
    """Walk through a table on a clock of its own; return what was told."""
    clock = clock or ReplayClock()

    async def main():
        feed = ReplayFeed(bars() if table is None else table, clock, faults=faults, seed=named.pop("seed", 0))
        return await heard(ingest(lake, feed, clock, source, section, **named), after)

    return run(main())


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


# --- an ordinary day


def test_every_close_is_told_once_complete_in_order_and_as_it_is_stored(lake):
    told = walked(lake)
    assert [batch.time for batch in told] == bars()["time"].unique().sort().to_list()
    assert all(batch.complete and batch.frame["symbol"].to_list() == list(SYMBOLS) for batch in told)
    assert told[0].correlation == "5m-20250303T143500Z"
    stored = lake.read_bars(None, "5m").sort("time", "symbol")
    assert pl.concat([batch.frame for batch in told]).drop("recorded_at").equals(stored.drop("recorded_at"))
    assert set(stored["vintage"]) == {"observed"} and stored.filter(pl.col("known_at") < pl.col("time")).is_empty()


def test_a_close_is_in_the_lake_before_it_is_told(lake, tmp_path):
    async def main():
        clock = ReplayClock()
        subject = ingest(lake, ReplayFeed(bars(), clock), clock)
        async for batch in subject.closed_bars():
            other = Lake(tmp_path / "lake").read_bars(None, "5m", batch.time, batch.time)
            assert other.height == batch.frame.height

    run(main())


def test_one_close_is_one_append(lake):
    told = walked(lake)
    assert lake.table_versions("bars")["recorded_at"].n_unique() == len(told)


# --- what arrives wrong


def test_garbage_and_bars_of_the_future_are_refused_with_an_alert_and_the_lake_is_clean(lake, tmp_path):
    alarms = Alarms()
    walked(lake, faults=Faults(garbage=0.2, future=0.2), alarm=alarms)
    clean = Lake(tmp_path / "clean")
    walked(clean)
    assert held(lake).equals(held(clean))
    assert {"bar"} == set(alarms.kinds())
    texts = " ".join(what for *_, what in alarms)
    assert "in the future" in texts and "missing-price" in texts


def test_a_revision_is_a_later_row_and_is_told_not_rewritten(lake):
    told = walked(lake, faults=Faults(revised=0.1))
    rows = lake.table_versions("bars")
    revised = rows.filter(pl.col("revision") > 0)
    assert revised.height > 5
    first = rows.filter(pl.col("revision") == 0).join(revised, on=["instrument", "time"], suffix="_new")
    assert (first["known_at_new"] > first["known_at"]).all()
    changed = pl.concat([batch.earlier for batch in told])
    assert changed.select("symbol", "time").sort("time", "symbol").rows() == (
        revised.select("symbol", "time").sort("time", "symbol").rows()
    )
    final = bars().sort("time", "symbol").select("symbol", "time", "close")
    assert held(lake).select("symbol", "time", "close").equals(final)


def test_what_is_never_told_and_nobody_can_be_asked_for_stays_missing(lake):
    told = walked(lake, faults=Faults(missing=0.1))
    assert held(lake).height < bars().height
    partial = [batch for batch in told if not batch.complete]
    assert partial and all(batch.missing for batch in partial)
    rows = held(lake).join(bars(), on=["symbol", "time"], suffix="_true")
    assert rows.filter(pl.col("close") != pl.col("close_true")).is_empty()


# --- outages


def test_a_lost_connection_is_made_anew_and_its_gap_is_filled_in_order(lake):
    clock = LoopClock(OPEN)
    faults = Faults(outages=[(OPEN + 32 * MINUTE, OPEN + 88 * MINUTE)], breaks=[OPEN + 31 * MINUTE])
    source, alarms = Stored(), Alarms()
    source.clock = clock
    told = walked(lake, faults=faults, source=source, clock=clock, alarm=alarms)
    assert [batch.time for batch in told] == bars()["time"].unique().sort().to_list()
    assert all(batch.complete for batch in told)
    assert {batch.how for batch in told if OPEN + 32 * MINUTE < batch.time < OPEN + 88 * MINUTE} == {"filled"}
    assert held(lake).drop("source").rows() == bars().sort("time", "symbol").select(held(lake).columns[:-1]).rows()


def test_silence_is_told_once_and_again_when_bars_come(lake):
    clock = LoopClock(OPEN)
    faults = Faults(outages=[(OPEN + 32 * MINUTE, OPEN + 88 * MINUTE)])
    alarms = Alarms()
    walked(lake, faults=faults, clock=clock, alarm=alarms)
    fresh = [(level, what.split(";")[0]) for level, kind, what in alarms if kind == "freshness"]
    assert fresh == [("critical", "no new bar for 10 minutes"), ("info", "bars are fresh again")]


def test_bars_that_came_while_a_gap_was_asked_about_wait_for_the_answer(lake):
    clock = LoopClock(OPEN)
    source = Stored()
    source.clock, source.down = clock, 1
    faults = Faults(outages=[(OPEN + 14 * MINUTE, OPEN + 16 * MINUTE)])  # one close, mute, without a disconnect
    told = walked(lake, faults=faults, source=source, clock=clock)
    times = [batch.time for batch in told]
    assert times == sorted(times)
    assert held(lake).height == bars().height


def test_the_next_start_asks_for_what_was_missed_and_tells_what_was_not_heard(lake):
    table = bars()
    first, last = table["time"].min(), table["time"].max()
    half = first + 40 * MINUTE
    walked(lake, table.filter(pl.col("time") <= half))
    heard_until = half - 10 * MINUTE  # the loop died two closes before
    clock, source = LoopClock(last - 30 * MINUTE + timedelta(seconds=30)), Stored()
    source.clock = clock
    told = walked(lake, clock=clock, source=source, after=heard_until)
    assert [batch.time for batch in told] == table.filter(pl.col("time") > heard_until)[
        "time"
    ].unique().sort().to_list()
    hows = [batch.how for batch in told]
    assert hows[:2] == ["stored", "stored"] and hows[-6:] == ["live"] * 6 and set(hows[2:-6]) == {"filled"}
    assert doubled(lake) == 0


def test_a_source_that_is_down_at_the_start_is_asked_again(lake):
    table = bars()
    walked(lake, table.filter(pl.col("time") <= OPEN + 30 * MINUTE))
    clock, source = LoopClock(OPEN + 60 * MINUTE), Stored()
    source.clock, source.down = clock, 2
    told = walked(lake, clock=clock, source=source)
    assert len(source.asked) >= 3 and held(lake).height == table.height
    assert [batch.time for batch in told] == sorted(batch.time for batch in told)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    lake = Lake(tmp_path_factory.mktemp("undisturbed"))
    walked(lake)
    return held(lake)


SHARES = st.sampled_from([0.0, 0.05, 0.3])


@settings(
    max_examples=12,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    late=SHARES, shuffled=SHARES, duplicated=SHARES, revised=SHARES, missing=SHARES, garbage=SHARES,
    outage=st.tuples(st.integers(0, 110), st.integers(1, 50)), cut=st.integers(0, 120), seed=st.integers(0, 99),
)  # fmt: skip
def test_whatever_goes_wrong_the_lake_becomes_that_of_an_undisturbed_day(
    tmp_path_factory, undisturbed, outage, cut, seed, **shares
):
    folder = tmp_path_factory.mktemp("disturbed")
    start, length = OPEN + outage[0] * MINUTE, outage[1] * MINUTE
    faults = Faults(**shares, outages=[(start, start + length)], breaks=[OPEN + cut * MINUTE])
    clock, source = LoopClock(OPEN), Stored()
    source.clock = clock
    told = walked(Lake(folder / "a"), faults=faults, source=source, clock=clock, seed=seed, after=OPEN)
    clock.jump(3 * 3600)
    more = walked(Lake(folder / "a"), bars().clear(), source=source, clock=clock, after=told[-1].time)
    assert held(Lake(folder / "a")).equals(undisturbed)
    assert doubled(Lake(folder / "a")) == 0
    times = [batch.time for batch in (*told, *more)]
    assert times == sorted(set(times))


# --- storage


def test_a_lake_that_cannot_be_written_is_tried_again_and_nothing_is_lost(lake, monkeypatch):
    refusals = [RetryError("the disk is full"), RetryError("another process is writing")]
    append = Lake.append

    def reluctant(self, *positional, **named):
        if refusals and held(lake).height > 30:
            raise refusals.pop()
        return append(self, *positional, **named)

    monkeypatch.setattr(Lake, "append", reluctant)
    alarms = Alarms()
    told = walked(lake, alarm=alarms)
    assert not refusals and len(told) == bars()["time"].n_unique() and held(lake).height == bars().height
    assert alarms.kinds() == ["storage"]


# --- asking


def test_asking_gives_the_closes_of_the_day_and_keeps_to_market_hours(lake):
    table = bars("2025-03-03", "2025-03-04", closes=78)
    source, clock = Stored(table), LoopClock(OPEN + 328 * MINUTE)
    source.clock = clock

    async def main():
        feed = polling(source, SECTION, symbols=3, clock=clock, off_loop=inline)
        return await heard(ingest(lake, feed, clock, source), most=20)

    told = run(main())
    times = table.filter(pl.col("time") >= OPEN + 325 * MINUTE)["time"].unique().sort().to_list()
    assert [batch.time for batch in told] == times[:20]  # the last hour of Monday, the first of Tuesday
    assert all(batch.complete and batch.how == "live" for batch in told)
    delays = [(batch.known_at - batch.time).total_seconds() for batch in told[1:]]
    assert [delay for delay in delays if not 3 <= delay <= 4] == []
    asked = {request.end for request in source.asked}
    night = [moment for moment in asked if OPEN + 391 * MINUTE < moment < OPEN + timedelta(days=1)]
    assert not night and len(source.asked) <= 3 * 22


def test_a_large_universe_is_asked_less_often_rather_than_too_often():
    section = IngestSection(poll_minutes=1, requests_per_hour=2000)
    assert polling(Stored(), section, symbols=20, clock=LoopClock())._step == MINUTE
    assert polling(Stored(), section, symbols=100, clock=LoopClock())._step == 3 * MINUTE


# --- ticks, state, the clock


def test_a_slow_listener_hears_the_newest_price_of_each_symbol():
    async def main():
        ticks = Ticks()
        ticks.put([Tick("AAA", OPEN, 1.0), Tick("BBB", OPEN, 2.0)])
        ticks.put([Tick("AAA", OPEN, 3.0)])
        return await ticks.heard(), ticks.dropped

    (bbb, aaa), dropped = run(main())
    assert (bbb.symbol, bbb.price, aaa.symbol, aaa.price, dropped) == ("BBB", 2.0, "AAA", 3.0, 1)


def test_health_has_the_shape_of_the_contract(lake):
    async def main():
        clock = LoopClock(OPEN)
        subject = ingest(lake, ReplayFeed(bars(), clock), clock)
        await heard(subject, most=3)
        return subject.health()

    health = run(main())
    (service,) = health["services"]
    assert set(service) == {"name", "state", "last_success", "last_error", "failures", "next_try", "heartbeat"}
    assert service["name"] == "prices" and service["last_success"] == (OPEN + 15 * MINUTE).isoformat()
    assert health["freshness"] == {"seconds": 0.0, "limit": 600.0, "stale": False}
    assert health["rows"]["accepted"] == 9


@pytest.mark.parametrize("jump", [-7200, 7200])
def test_a_clock_that_jumps_is_told_and_loses_no_bar(lake, jump):
    clock, alarms, source = LoopClock(OPEN), Alarms(), Stored()
    source.clock = LoopClock(OPEN)

    async def main():
        async def jumping():
            await asyncio.sleep(31 * 60)
            clock.jump(jump)
            await asyncio.sleep(28 * 60)
            clock.jump(-jump)

        jumps = asyncio.create_task(jumping())
        told = await heard(ingest(lake, ReplayFeed(bars(), LoopClock(OPEN)), clock, source, alarm=alarms))
        await jumps
        return told

    told = run(main())
    assert alarms.kinds().count("clock") == 2
    times = [batch.time for batch in told]
    assert times == sorted(set(times))
    assert held(lake).drop("source").rows() == bars().sort("time", "symbol").select(held(lake).columns[:-1]).rows()


def test_services_beside_the_prices_do_not_harm_them(lake):
    async def broken(watch):
        raise RetryError("no news today")

    async def main():
        clock = LoopClock(OPEN)
        subject = ingest(lake, ReplayFeed(bars(), clock), clock)
        subject.add("news", broken)
        told = await heard(subject, most=20)
        return told, subject

    told, _ = run(main())
    assert len(told) == 20 and all(batch.complete for batch in told)


def test_leaving_the_iterator_ends_every_task(lake):
    async def main():
        clock = LoopClock(OPEN)
        await heard(ingest(lake, ReplayFeed(bars(), clock), clock), most=2)
        await asyncio.sleep(0)
        return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    assert run(main()) == []

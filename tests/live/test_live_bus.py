"""The bus: everything numbered once, nobody waited for, the newest of everything heard by whoever is slow."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from tradewind.clock import FixedClock
from tradewind.live.bus import Bus, Event

CLOCK = FixedClock(datetime(2026, 11, 30, 15, 0, tzinfo=UTC))
SAID = st.lists(st.tuples(st.sampled_from(("bar", "tick", "alert")), st.sampled_from("abc")), max_size=40)
TOPICS = st.sampled_from(((), ("bar",), ("bar", "alert"), ("drift",)))


def say(bus: Bus, said: Iterable[tuple[str, str]]) -> list[Event]:
    return [bus.publish(topic, key, {"n": number}) for number, (topic, key) in enumerate(said)]


def newest(events: Iterable[Event], topics: tuple[str, ...]) -> list[Event]:
    """Return what latest-wins leaves: an oracle that goes through all events one by one."""
    last: dict[tuple[str, str], Event] = {}
    for event in events:
        if not topics or event.topic in topics:
            last.pop((event.topic, event.key), None)
            last[event.topic, event.key] = event
    return list(last.values())


@given(before=SAID, after=SAID, topics=TOPICS)
def test_a_slow_listener_hears_the_newest_of_each_and_the_rest_is_counted(
    before: list[tuple[str, str]], after: list[tuple[str, str]], topics: tuple[str, ...]
) -> None:
    async def scene() -> None:
        bus = Bus(CLOCK)
        say(bus, before)
        listener = bus.subscribe(topics)
        events = say(bus, after)
        heard = listener.take()
        assert heard == newest(events, topics)
        matching = [e for e in events if not topics or e.topic in topics]
        assert bus.dropped == listener.dropped == len(matching) - len(heard)
        assert listener.take() == []

    asyncio.run(scene())


@given(before=SAID, between=SAID, after=SAID, topics=TOPICS)
def test_snapshot_then_what_follows_has_no_gap_and_nothing_twice(
    before: list[tuple[str, str]], between: list[tuple[str, str]], after: list[tuple[str, str]], topics: tuple[str, ...]
) -> None:
    async def scene() -> None:
        bus = Bus(CLOCK)
        first = say(bus, before)
        listener = bus.subscribe(topics)
        first += say(bus, between)
        seq, snapshot = listener.begin()
        assert (seq, snapshot) == (len(first), newest(first, topics))
        later = say(bus, after)
        assert listener.take() == newest(later, topics)

    asyncio.run(scene())


@given(said=SAID, later=SAID, topics=TOPICS, kept=st.integers(1, 30), seq=st.integers(0, 60))
def test_who_was_away_gets_all_that_was_missed_or_is_told_to_begin_anew(
    said: list[tuple[str, str]], later: list[tuple[str, str]], topics: tuple[str, ...], kept: int, seq: int
) -> None:
    async def scene() -> None:
        bus = Bus(CLOCK, kept=kept)
        events = say(bus, said)
        listener = bus.subscribe(topics)
        missed = listener.resume(seq)
        if seq > len(events) or len(events) - seq > kept:
            assert missed is None
        else:
            assert missed == [e for e in events[seq:] if not topics or e.topic in topics]
            assert listener.take() == []
            follows = newest(say(bus, later), topics)
            assert listener.take() == [e for e in follows if e in bus.snapshot()[1]]

    asyncio.run(scene())


def test_at_most_so_many_wait_and_they_are_the_newest() -> None:
    async def scene() -> None:
        bus = Bus(CLOCK)
        listener = bus.subscribe(waiting=3)
        say(bus, [("fill", str(n)) for n in range(10)])
        assert [e.key for e in listener.take()] == ["7", "8", "9"]
        assert listener.dropped == 7

    asyncio.run(scene())


def test_the_newest_of_at_most_so_many_topics_and_keys_is_kept() -> None:
    bus = Bus(CLOCK, newest=5)
    say(bus, [("bar", "first"), *(("fill", str(n)) for n in range(4)), ("bar", "first"), ("fill", "4")])
    assert [e.key for e in bus.snapshot()[1]] == ["1", "2", "3", "first", "4"]


def test_a_listener_is_woken_from_another_thread_and_hears_everything_in_order() -> None:
    async def scene() -> list[int]:
        bus = Bus(CLOCK)
        listener = bus.subscribe()
        speaker = threading.Thread(target=say, args=(bus, [("fill", str(n)) for n in range(500)]))
        speaker.start()
        heard: list[int] = []
        async for event in listener:
            heard.append(event.seq)
            if event.seq == 500:
                break
        speaker.join()
        return heard

    assert asyncio.run(scene()) == list(range(1, 501))


def test_whoever_waits_is_let_go_when_it_closes_and_is_not_counted_any_more() -> None:
    async def scene() -> None:
        bus = Bus(CLOCK)
        listener = bus.subscribe()
        say(bus, [("bar", "a")] * 5)
        assert len(listener.take()) == 1
        waiting = asyncio.create_task(listener.heard())
        await asyncio.sleep(0)
        listener.close()
        assert await waiting == []
        assert (bus.listeners, bus.dropped) == (0, 4)
        late = bus.subscribe()
        say(bus, [("bar", "a")] * 3)
        late.close()
        assert (bus.listeners, bus.dropped) == (0, 6)
        say(bus, [("bar", "a")])
        assert listener.take() == []

    asyncio.run(scene())


def test_waiting_that_is_given_up_again_and_again_leaves_nothing_behind() -> None:
    async def scene() -> None:
        bus = Bus(CLOCK)
        listener = bus.subscribe(["bar"])
        for _ in range(50):
            task = asyncio.create_task(listener.ready())
            await asyncio.sleep(0)
            task.cancel()
        assert sum(map(len, bus._asleep.values())) == 1
        say(bus, [("tick", "a"), ("bar", "a")])
        await listener.ready()
        assert [e.topic for e in listener.take()] == ["bar"]

    asyncio.run(scene())


def test_a_listener_whose_loop_has_ended_disturbs_nobody() -> None:
    bus = Bus(CLOCK)

    async def leave() -> None:
        task = asyncio.create_task(bus.subscribe().ready())
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(leave())
    assert bus.publish("bar", "a", {}).seq == 1
    assert bus.said == {"bar": 1}

"""Services that fail, hang, are hopeless or recover, and never harm another."""

import asyncio
from datetime import timedelta
from itertools import pairwise

import pytest
from standin_time import START, LoopClock, run

from tradewind.errors import InputError, RetryError
from tradewind.live.ingest_supervisor import Breaker, Pace, Retry, Supervisor

RETRY = Retry(first_s=1, longest_s=60, failures_to_open=4, open_s=300, silent_s=200)


class Alarms(list):
    def __call__(self, level, kind, what, detail):
        self.append((level, kind, what))


def supervised(seconds, retry=RETRY, **services):
    """Run services for some virtual seconds; return the supervisor, its alarms, and its last state by name."""
    alarms, clock = Alarms(), LoopClock()

    async def main():
        keeper = Supervisor(clock, alarm=alarms, retry=retry, seed=3)
        for name, service in services.items():
            keeper.add(name, service)
        await keeper.start()
        await asyncio.sleep(seconds)
        state = {row["name"]: row for row in keeper.state()}
        await keeper.stop()
        return keeper, state

    keeper, state = run(main())
    return keeper, alarms, state


def steady(log=None):
    async def service(watch):
        while True:
            watch.ok()
            if log is not None:
                log.append(asyncio.get_running_loop().time())
            await asyncio.sleep(10)

    return service


DOWN = RetryError("down")


def dying(tries, error=DOWN):
    async def service(watch):
        tries.append(asyncio.get_running_loop().time())
        raise error

    return service


def test_pauses_double_with_some_chance_then_it_is_left_alone():
    tries = []
    _, alarms, state = supervised(400, a=dying(tries))
    gaps = [later - earlier for earlier, later in pairwise(tries)]
    for gap, whole in zip(gaps[:3], (1, 2, 4), strict=True):
        assert whole / 2 <= gap <= whole
    assert gaps[3] == 300 and len(tries) == 5
    assert alarms == [("critical", "service", "a failed 4 times in a row: down")]
    assert state["a"]["state"] == "open" and state["a"]["failures"] == 5
    assert state["a"]["next_try"] == (START + timedelta(seconds=tries[-1] + 300)).isoformat()


def test_two_seeds_pause_differently_and_one_seed_alike():
    def pauses(seed):
        import random

        breaker = Breaker(Retry(failures_to_open=99), random.Random(seed).random)
        return [breaker.failed() for _ in range(9)]

    assert pauses(1) == pauses(1) != pauses(2)
    assert all(pause <= 60 for pause in pauses(1))


def test_what_the_other_side_asks_for_is_waited_for():
    breaker = Breaker(Retry(), lambda: 0.0)
    assert breaker.failed(asked_s=45) == 45
    assert breaker.failed(asked_s=0) == 2


def test_one_success_after_the_long_pause_closes_it_again_and_is_told():
    tries = []

    async def service(watch):
        tries.append(asyncio.get_running_loop().time())
        if len(tries) <= 4:
            raise RetryError("down")
        watch.ok()
        if len(tries) == 5:
            raise RetryError("hiccup")
        await asyncio.sleep(10_000)

    _, alarms, _ = supervised(400, a=service)
    assert [level for level, *_ in alarms] == ["critical", "info"]
    assert tries[5] - tries[4] <= 1  # counted from the beginning again


def test_a_crash_of_one_leaves_the_others_running():
    log, tries = [], []
    _, _, state = supervised(
        100, retry=Retry(failures_to_open=99), a=steady(log), b=dying(tries, ZeroDivisionError("x"))
    )
    assert len(log) >= 10 and len(tries) > 3
    assert state["a"]["state"] == "ok" and state["a"]["failures"] == 0 and state["a"]["last_error"] is None
    assert state["b"]["state"] == "retrying" and state["b"]["last_error"] == "ZeroDivisionError: x"


def test_what_no_retry_can_mend_is_stopped_and_told_with_its_remedy():
    tries = []
    _, alarms, state = supervised(1000, a=dying(tries, InputError("the key is wrong", hint="export FRED_API_KEY")))
    assert len(tries) == 1 and state["a"]["state"] == "stopped" and state["a"]["next_try"] is None
    assert alarms == [("critical", "service", "a is stopped until somebody corrects it: the key is wrong")]


def test_a_service_that_hangs_is_started_again():
    starts = []

    async def service(watch):
        starts.append(asyncio.get_running_loop().time())
        watch.ok()
        await asyncio.Event().wait()

    _, _, state = supervised(500, a=service)
    assert len(starts) == 3
    assert "no sign of life for 200 s" in state["a"]["last_error"]


def test_a_clock_that_jumps_starts_nothing_again():
    starts, clock = [], LoopClock()

    async def service(watch):
        starts.append(1)
        while True:
            watch.ok()
            await asyncio.sleep(20)
            clock.jump(-86_400 if len(starts) % 2 else 86_400)

    async def main():
        keeper = Supervisor(clock, retry=RETRY)
        keeper.add("a", service)
        await keeper.start()
        await asyncio.sleep(1000)
        await keeper.stop()

    run(main())
    assert starts == [1]


def test_a_service_that_ends_is_stopped_and_a_stopped_one_has_no_next_try():
    async def service(watch):
        watch.ok()

    keeper, _, state = supervised(10, a=service, b=steady())
    assert state["a"]["state"] == "stopped"
    assert [row["state"] for row in keeper.state()] == ["stopped", "stopped"]


def test_two_services_of_one_name_are_refused():
    keeper = Supervisor(LoopClock())
    keeper.add("a", steady())
    with pytest.raises(InputError, match="'a'"):
        keeper.add("a", steady())


# --- rate limit


def paced(per_hour, asks, jump=0.0):
    clock, when = LoopClock(), []

    async def main():
        pace = Pace(per_hour, clock)
        for number, requests in enumerate(asks):
            if number == 1 and jump:
                clock.jump(jump)
            await pace.turn(requests)
            when.append(asyncio.get_running_loop().time())

    run(main())
    return when


def test_no_hour_has_more_requests_than_allowed():
    when = paced(100, [10] * 35)
    made = [moment for moment in when for _ in range(10)]
    for moment in made:
        assert sum(moment - 3600 < other <= moment for other in made) <= 100


def test_more_than_an_hour_allows_goes_alone():
    assert paced(100, [50, 300, 1]) == [0, 3600, 7200]


def test_a_clock_that_goes_back_blocks_nobody_for_longer_than_an_hour():
    assert paced(10, [10, 10], jump=-86_400)[1] <= 3600.01

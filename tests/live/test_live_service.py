"""A running corridor answers questions at any moment, and does what a person tells it to."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from live_kit import LIVED, PAIR, home_of, lived
from test_live_market import NOW
from test_live_market import workspace as paper_workspace

from spine_kit import LEARNABLE, PLAYBOOK, learnable, system, workspace
from tradewind.clock import SystemClock
from tradewind.errors import DataError, InputError, RetryError, TradewindError
from tradewind.evaluation.model_registry import ModelRegistry
from tradewind.evaluation.training import train
from tradewind.evaluation.workspace import Workspace
from tradewind.execution.controls import Controls
from tradewind.execution.paper import KILL_SWITCH
from tradewind.live.schedule import RETRAIN, Scheduler
from tradewind.live.service import LiveRuntime
from tradewind.live.settings import LiveSection
from tradewind.live.settings_drift import DriftSection
from tradewind.market.news import ARTICLE_SCHEMA, Matcher, article, store_news
from tradewind.market.sources.replay import ReplayClock
from tradewind.server.running import Run, run, unless


class EnoughError(Exception):
    """Raised to end a process in the middle."""


def test_every_question_has_an_answer_before_the_first_bar_and_after_the_last(tmp_path: Path) -> None:
    async def ask(runtime: LiveRuntime, number: int) -> None:
        symbol = "AAA"
        assert runtime.status()["replay"]["bars_done"] == number + 1
        assert [one["symbol"] for one in runtime.symbols()] == ["AAA", "BBB", "CCC", "DDD"]
        assert len(runtime.bars(symbol, limit=7)) == 7
        assert len(runtime.forecasts(symbol, limit=2)) == (2 if number else 0)
        assert len(runtime.signals()) == (4 if number else 0)
        assert runtime.account()["start_capital"] == 100_000
        assert len(runtime.equity()) >= number
        for listed in (runtime.positions(), runtime.orders(), runtime.fills(), runtime.alerts(), runtime.jobs()):
            assert isinstance(listed, list)

    runtime = asyncio.run(lived(home_of(tmp_path), ask))
    assert [one["seat"] for one in runtime.models()] == ["ridge", "naive_normal"]
    told = runtime.forecasts("BBB")[0]
    assert set(told["models"]) == {"ridge", "naive_normal"}
    prices = told["models"]["ridge"]["horizons"]["5"]["prices"]
    assert prices == sorted(prices)
    assert told["combined"]["horizons"]["1"]["time"] > told["time"]
    assert [one["action"] == "HOLD" for one in runtime.signals()] == sorted(
        one["action"] == "HOLD" for one in runtime.signals()
    )
    assert runtime.status()["replay"]["done"] is True


def test_what_is_asked_of_the_past_is_what_was_said_then(tmp_path: Path) -> None:
    said: list[dict[str, Any]] = []

    async def note(runtime: LiveRuntime, number: int) -> None:
        if number:
            said.append(runtime.forecasts("CCC")[-1])

    runtime = asyncio.run(lived(home_of(tmp_path), note))
    again = runtime.forecasts("CCC", limit=LIVED)[:-1]
    assert [one["models"] for one in again] == [one["models"] for one in said]


def test_unknown_names_are_answered_with_the_nearest(tmp_path: Path) -> None:
    runtime = asyncio.run(lived(home_of(tmp_path, PLAYBOOK)))
    with pytest.raises(InputError, match="unknown symbol 'AAAA'"):
        runtime.bars("AAAA")
    with pytest.raises(InputError, match="unknown command 'halte'"):
        asyncio.run(runtime.command("halte", "somebody"))


def test_before_it_is_ready_it_says_so(tmp_path: Path) -> None:
    clock = ReplayClock(datetime(1970, 1, 1, tzinfo=UTC))
    runtime = LiveRuntime(home_of(tmp_path), LiveSection(), "REPLAY", clock, SystemClock())
    assert runtime.status()["progress"]["phase"] == "start"
    assert (runtime.symbols(), runtime.signals(), runtime.models(), runtime.drift()) == ([], [], [], [])
    with pytest.raises(TradewindError, match="not ready yet"):
        runtime.account()


def test_until_drift_is_watched_for_nothing_is_ordered(tmp_path: Path) -> None:
    clock = ReplayClock(datetime(1970, 1, 1, tzinfo=UTC))
    runtime = LiveRuntime(home_of(tmp_path, PLAYBOOK), LiveSection(), "REPLAY", clock, SystemClock())
    ready: dict[str, bool] = {}
    runtime.heard = lambda phase, done, total: ready.update({phase: runtime.loop is not None})

    async def begin() -> None:
        await runtime.prepare()
        await runtime.close()

    asyncio.run(begin())
    assert ready["watch for drift"] is False
    assert runtime.loop is not None


def test_a_halt_lets_nothing_open_until_it_is_released(tmp_path: Path) -> None:
    opened: dict[int, float] = {}

    async def stop(runtime: LiveRuntime, number: int) -> None:
        if number == 5:
            await runtime.command("halt", "me", reason="to see what it does")
            assert runtime.status()["halted"]["reasons"] == ["to see what it does"]
        if number == 25:
            await runtime.command("release", "me", reason="seen")
            assert runtime.status()["halted"] is None
        opened[number] = runtime.account()["gross"]

    free = asyncio.run(lived(home_of(tmp_path / "free", PAIR)))
    runtime = asyncio.run(lived(home_of(tmp_path / "halted", PAIR), stop))
    assert max(opened[n] for n in range(8, 25)) <= max(opened[6], opened[7]) + 1e-9
    fills = [one["time"][:10] for one in runtime.fills()]
    assert 0 < len(fills) < len(free.fills())
    assert runtime.parity() is not None
    assert all(one.part != "ledger" for one in runtime.parity() or []), "a day that was halted is no back-test's"


def test_a_retraining_runs_beside_the_bars_and_says_what_came_of_it(tmp_path: Path) -> None:
    async def retrain(runtime: LiveRuntime, number: int) -> None:
        if number == 30:
            started = await runtime.command("retrain", "me")
            assert runtime.jobs()[0]["id"] == started["job"]
            with pytest.raises(InputError, match="running already"):
                await runtime.command("retrain", "me")

    work = home_of(tmp_path, PLAYBOOK, challenge__unseen_bars="40")
    runtime = asyncio.run(lived(work, retrain))
    job = runtime.jobs()[0]
    assert (job["kind"], job["status"]) == ("retrain", "done"), job["error"]
    assert job["result"]["decision"] in ("kept", "promoted")
    assert work.records.model_decisions("quick") == [], "a replay decides for itself alone"
    (decision,) = runtime.models()[0]["decisions"]
    assert (decision["decision"], decision["by"]) == (job["result"]["decision"], "me")
    assert decision["evidence"]


def test_a_replays_second_retraining_challenges_whom_the_first_has_seated(tmp_path: Path) -> None:
    playbook = system(tmp_path, learnable(575), LEARNABLE)
    weak = workspace(playbook, tmp_path / "home", models__parameters__ridge__penalty="1e9")
    train(weak)
    work = workspace(playbook, tmp_path / "home")

    async def retrain(runtime: LiveRuntime, number: int) -> None:
        if number in (64, 66):
            await runtime.command("retrain", "me")
            await runtime.jobs_done()

    runtime = asyncio.run(lived(work, retrain))
    first, second = runtime.loop.decided if runtime.loop is not None else ()
    records_champion = ModelRegistry(work.home, work.records, work.clock).find("champion").id
    assert (first.decision, first.champion) == ("promoted", records_champion)
    assert (second.decision, second.champion) == ("kept", first.challenger)
    assert runtime.prepared is not None
    assert [model for _, model in runtime.prepared.session.serving["ridge"]] == [first.champion, first.challenger]


KEPT = {"decision": "kept", "champion": {}, "evidence": {}, "seconds": 0.0}
"""What a retraining says that changes nothing."""


def on_schedule(work: Workspace, moment: datetime) -> tuple[LiveRuntime, Scheduler, ReplayClock]:
    """Return a paper runtime that is ready for its first bar, with its schedule, at a moment."""
    clock = ReplayClock(moment)
    runtime = LiveRuntime(work, LiveSection(), "PAPER", clock, clock, drift_section=DriftSection(use=False))
    schedule = runtime.scheduler()
    schedule.open()
    return runtime, schedule, clock


def test_a_scheduled_retraining_that_failed_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, asked = paper_workspace(tmp_path), []

    def failing_once(*_: Any, **named: Any) -> dict[str, Any]:
        asked.append(named["by"])
        if len(asked) == 1:
            raise DataError("the source says nonsense", hint="look at it")
        return dict(KEPT)

    monkeypatch.setattr("tradewind.live.service.retrain", failing_once)

    async def live() -> None:
        runtime, schedule, clock = on_schedule(work, NOW)
        await runtime.prepare()
        tomorrow = NOW + timedelta(days=1)
        runs = []
        for minutes in (0, 1, 6, 12):
            clock.reach(tomorrow + timedelta(minutes=minutes))
            runs.append([(ran.error or "") for ran in await schedule.run_due() if ran.task == RETRAIN])
        assert [len(one) for one in runs] == [1, 0, 1, 0]
        assert "the source says nonsense" in runs[0][0] and runs[2] == [""]
        await schedule.close()
        await runtime.close()

    asyncio.run(live())
    assert asked == ["schedule", "schedule"]
    (alert,) = [one for one in Controls(work.records).alerts() if one.kind == "job_failed"]
    assert "retrain failed: the source says nonsense" in alert.what


def test_ctrl_c_during_a_scheduled_retraining_ends_cleanly_and_the_next_start_makes_it_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, tomorrow = paper_workspace(tmp_path), ReplayClock(NOW + timedelta(days=1))
    begun: list[str] = []

    def stopped(_: Workspace, progress: Callable[..., None], **named: Any) -> dict[str, Any]:
        begun.append(named["by"])
        os.kill(os.getpid(), signal.SIGINT)
        for step in range(10_000):
            progress("fit", step, 10_000)
            threading.Event().wait(0.01)
        raise AssertionError("nobody stopped it")

    def finished(*_: Any, **named: Any) -> dict[str, Any]:
        begun.append(named["by"])
        return dict(KEPT)

    async def first_day() -> None:
        runtime, schedule, _ = on_schedule(work, NOW)
        await schedule.close()
        await runtime.close()

    asyncio.run(first_day())
    monkeypatch.setattr("tradewind.server.running.SystemClock", lambda: tomorrow)
    monkeypatch.setattr("tradewind.live.service.retrain", stopped)
    result = run(work, Run(page=False))
    assert begun == ["schedule"] and result["bars"] == 0

    monkeypatch.setattr("tradewind.live.service.retrain", finished)

    async def next_start() -> None:
        runtime, schedule, _ = on_schedule(work, tomorrow.now() + timedelta(minutes=1))
        await runtime.prepare()
        assert [one.error for one in await schedule.run_due() if one.task == RETRAIN] == [None]
        assert await schedule.run_due() == []
        await schedule.close()
        await runtime.close()

    asyncio.run(next_start())
    assert begun == ["schedule", "schedule"]
    assert [one.kind for one in Controls(work.records).alerts() if one.kind == "job_failed"] == []


def test_a_replay_moves_no_champion_by_hand_either(tmp_path: Path) -> None:
    async def promote(runtime: LiveRuntime, number: int) -> None:
        if number == 3:
            for name, more in (("promote", {"model": "challenger"}), ("rollback", {})):
                with pytest.raises(InputError, match="moves no champion"):
                    await runtime.command(name, "me", seat="quick", reason="because", **more)

    asyncio.run(lived(home_of(tmp_path, PLAYBOOK), promote))


def test_a_replay_goes_on_with_its_own_models_where_others_were_trained_meanwhile(tmp_path: Path) -> None:
    work = home_of(tmp_path, PLAYBOOK)

    async def kill(_: LiveRuntime, number: int) -> None:
        if number == 7:
            raise EnoughError

    with pytest.raises(EnoughError):
        asyncio.run(lived(work, kill))
    later = home_of(tmp_path, PLAYBOOK, models__parameters__ridge__penalty="500.0")
    train(later)
    registry = ModelRegistry(later.home, later.records, later.clock)
    newest = registry.promote("challenger", "quick")
    runtime = asyncio.run(lived(work))
    assert runtime.prepared is not None and runtime.loop is not None
    (session,) = work.records.live_sessions()
    assert runtime.prepared.session.id == session.id
    assert runtime.loop.counts.bars == LIVED - 7
    (since,) = runtime.prepared.corridor.serving.values()
    assert since[-1][1].artefact.id != newest["champion"]


def test_what_halted_a_replay_halts_it_after_a_restart(tmp_path: Path) -> None:
    work = home_of(tmp_path, PAIR)

    async def halt(runtime: LiveRuntime, number: int) -> None:
        if number == 5:
            await runtime.command("halt", "me", reason="to see what it does")
        if number == 9:
            raise EnoughError

    async def look(runtime: LiveRuntime, number: int) -> None:
        if number == 0:
            assert runtime.status()["halted"]["reasons"] == ["it was halted before this process began"]
            await runtime.command("release", "me", reason="seen")
            assert runtime.status()["halted"] is None

    with pytest.raises(EnoughError):
        asyncio.run(lived(work, halt))
    asyncio.run(lived(work, look))


@pytest.mark.parametrize("last", ["halt", "release"])
def test_a_kill_before_the_next_bar_loses_neither_a_halt_nor_its_release(tmp_path: Path, last: str) -> None:
    work, seen = home_of(tmp_path, PAIR), list[tuple[bool, bool]]()

    async def switch(runtime: LiveRuntime, number: int) -> None:
        if number == 3 and last == "release":
            await runtime.command("halt", "me", reason="to see what it does")
        if number == 5:
            await runtime.command(last, "me", reason="so")
            raise EnoughError

    async def look(runtime: LiveRuntime, number: int) -> None:
        assert runtime.loop is not None and runtime.prepared is not None
        seen.append((runtime.status()["halted"] is not None, runtime.loop.halt_reason() == KILL_SWITCH))
        assert number == 0 or (runtime.prepared.trader.halted == KILL_SWITCH) is (last == "halt")
        if number == 2:
            raise EnoughError

    with pytest.raises(EnoughError):
        asyncio.run(lived(work, switch))
    with pytest.raises(EnoughError):
        asyncio.run(lived(work, look))
    assert seen == [(last == "halt",) * 2] * 3


def test_preparations_end_where_somebody_wants_them_to(tmp_path: Path) -> None:
    clock = ReplayClock(datetime(1970, 1, 1, tzinfo=UTC))
    runtime = LiveRuntime(home_of(tmp_path, PLAYBOOK), LiveSection(), "REPLAY", clock, SystemClock())
    runtime.heard = lambda phase, done, total: runtime.end() if phase == "export" else None

    async def begin() -> None:
        with pytest.raises(RetryError, match="stopped before the first bar"):
            await unless(asyncio.Event(), runtime, runtime.prepare())
        await runtime.close()

    asyncio.run(begin())
    assert runtime.loop is None


def test_what_the_account_has_earned_is_of_its_sessions_and_survives_a_restart(tmp_path: Path) -> None:
    work = home_of(tmp_path, PAIR)

    async def kill(_: LiveRuntime, number: int) -> None:
        if number == 25:
            raise EnoughError

    whole = asyncio.run(lived(home_of(tmp_path / "whole", PAIR))).account()
    with pytest.raises(EnoughError):
        asyncio.run(lived(work, kill))
    runtime = asyncio.run(lived(work))
    told = runtime.account()["performance"]
    assert told == whole["performance"]
    assert runtime.prepared is not None
    marks = [mark.equity_cents / 100 for mark in runtime.prepared.trader.journal.marks()]
    returns = np.diff(marks[:-1]) / marks[:-2]
    assert told["sessions"] == len(returns) == LIVED - 1
    assert told["sharpe"] == pytest.approx(returns.mean() / returns.std(ddof=1) * np.sqrt(252), rel=1e-4)
    assert told["sharpe_interval"][0] < told["sharpe"] < told["sharpe_interval"][1]
    assert told["total_return"] == pytest.approx(marks[-1] / marks[0] - 1)


def test_news_of_a_symbol_are_those_that_could_be_read_by_then(tmp_path: Path) -> None:
    work = home_of(tmp_path, PLAYBOOK + '\n[ingest]\nnews_feeds = { wire = "http://127.0.0.1:9/rss" }\n')
    now = datetime(2031, 1, 1, tzinfo=UTC)
    texts = [("read", datetime(2015, 1, 2, tzinfo=UTC)), ("later", datetime(2030, 1, 2, tzinfo=UTC))]
    rows = [
        article(article=name, time=at, title=f"$AAA {name}", summary="", link="", known_at=at, vintage="observed")
        for name, at in texts
    ]
    news = pl.DataFrame(rows, schema=ARTICLE_SCHEMA)
    store_news(work.lake, news, source="wire", matcher=Matcher(("AAA", "BBB"), {}), recorded_at=now)
    runtime = asyncio.run(lived(work))
    assert runtime.status()["available"]["news"] is True
    assert runtime.news is not None
    (told,) = runtime.news("AAA")
    assert (told["title"], told["source"], told["url"]) == ("$AAA read", "wire", None)
    assert runtime.news("BBB") == []
    assert asyncio.run(lived(home_of(tmp_path / "none", PLAYBOOK))).news is None


def test_what_fails_in_the_background_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> dict[str, Any]:
        raise InputError("nothing to learn from", hint="sync first")

    monkeypatch.setattr("tradewind.live.service.retrain", refuse)

    async def ask(runtime: LiveRuntime, number: int) -> None:
        if number == 3:
            await runtime.command("retrain", "me")

    runtime = asyncio.run(lived(home_of(tmp_path, PLAYBOOK), ask))
    job = runtime.jobs()[0]
    assert job["status"] == "failed"
    assert "nothing to learn from" in job["error"]


def test_everything_is_said_on_the_bus_in_the_shapes_of_the_answers(tmp_path: Path) -> None:
    runtime = asyncio.run(lived(home_of(tmp_path)))
    _, events = runtime.bus.snapshot()
    newest = {(e.topic, e.key): e for e in events}
    assert {topic for topic, _ in newest} >= {
        "status",
        "bar",
        "forecast",
        "signal",
        "account",
        "order",
        "fill",
        "model",
    }
    assert newest["bar", "AAA"].data == runtime.bars("AAA", limit=1)[0]
    assert newest["forecast", "AAA"].data == runtime.forecasts("AAA")[0]
    assert newest["account", "account"].data == runtime.account()
    assert newest["bar", "AAA"].correlation.startswith("1d-")
    signals = {one["symbol"]: one for one in runtime.signals()}
    assert all(newest["signal", symbol].data == said for symbol, said in signals.items())

"""Drift is acted upon by itself: the champion before comes back where it was better, else nothing is recommended."""

from __future__ import annotations

import asyncio
import getpass
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_kit import LIVED, PAIR, home_of
from typer.testing import CliRunner, Result

from spine_kit import PLAYBOOK
from tradewind.cli.main import app
from tradewind.clock import SystemClock
from tradewind.errors import InputError
from tradewind.evaluation.model_registry import CHAMPION, ModelRegistry, current
from tradewind.evaluation.training import train
from tradewind.evaluation.workspace import Workspace
from tradewind.execution.controls import Controls
from tradewind.live.loop import Loop
from tradewind.live.replay import Replay, result_of
from tradewind.live.service import LiveRuntime
from tradewind.live.session import resumed
from tradewind.live.settings import LiveSection
from tradewind.live.settings_drift import DriftSection
from tradewind.live.tape import BarRow, Closed
from tradewind.live.watching import DriftWatch
from tradewind.market.sources.replay import ReplayClock

WATCHED = DriftSection(window_bars=5, persist_bars=2, rollback_bars_min=5)
CHANGED = 12
"""Bars of the replay after which its market is another one."""


def two_champions(folder: Path) -> tuple[Workspace, str, str]:
    """A home in which one model sat before another: ids of the former and of the present champion."""
    first = home_of(folder, PLAYBOOK)
    train(first)
    second = home_of(folder, PLAYBOOK, models__parameters__ridge__penalty="500.0")
    train(second)
    registry = ModelRegistry(second.home, second.records, second.clock)
    registry.promote("challenger", "quick")
    known = {one["id"]: one["aliases"] for one in registry.listed("quick")}
    present = next(name for name, aliases in known.items() if CHAMPION in aliases)
    former = next(name for name in registry.state_of("quick")["champions_before"])
    return second, former, present


def wilder(bar: BarRow, since: BarRow) -> BarRow:
    """A bar of a market that moves eight times as much since another bar."""
    fields = dict(bar.fields)
    for name in ("open", "high", "low", "close"):
        fields[name] = since.fields["close"] * (bar.fields[name] / since.fields["close"]) ** 8
    return BarRow(bar.time, fields, bar.mask, bar.member, bar.context)


async def lived(
    work: Workspace,
    *,
    changed: bool = True,
    for_good: bool = False,
    before: Callable[[LiveRuntime], Awaitable[None]] | None = None,
) -> LiveRuntime:
    clock = ReplayClock(datetime(1970, 1, 1, tzinfo=UTC))
    runtime = LiveRuntime(work, LiveSection(), "REPLAY", clock, SystemClock(), drift_section=WATCHED)
    prepared = await runtime.prepare(anew=True)
    if for_good:  # as paper trading would: what is decided is decided in the records
        prepared.session.mode = "PAPER"
    replay, bars = Replay(runtime, prepared, clock, "max"), []

    async def market() -> Any:
        async for closed, name in replay.bars():
            (bar,) = closed.bars[""]
            bars.append(bar)
            if before is not None:
                await before(runtime)
            yield Closed.alone(wilder(bar, bars[CHANGED]) if changed and len(bars) > CHANGED + 1 else bar), name

    await runtime.run(market())
    runtime._refresh_seats()
    await runtime.close()
    return runtime


def actions(runtime: LiveRuntime) -> list[str]:
    return [alert["what"] for alert in runtime.alerts() if alert["kind"] == "drift_action"]


def test_where_nobody_sat_before_recommendations_stop_and_somebody_is_told(tmp_path: Path) -> None:
    runtime = asyncio.run(lived(home_of(tmp_path, PLAYBOOK)))
    (said,) = actions(runtime)
    assert "recommendations are stopped" in said
    assert "no previous champion" in said
    assert runtime.prepared is not None and runtime.loop is not None
    assert runtime.loop.holding == ["quick"]
    told = runtime.signals(limit=100)
    assert {one["action"] for one in told} == {"HOLD"}
    assert all("recommendations are stopped" in one["reasons"][0] for one in told)
    (reading,) = runtime.drift()
    assert (reading["level"], reading["action"]) == ("drift", "stopped")
    assert result_of(runtime)["parity"]["equal"] is True, "a day on which it held its tongue is proved like any other"


def test_a_stop_lasts_through_a_restart_and_until_a_person_releases_it(tmp_path: Path) -> None:
    work = home_of(tmp_path, PLAYBOOK)

    async def again() -> LiveRuntime:
        clock = ReplayClock(datetime(1970, 1, 1, tzinfo=UTC))
        runtime = LiveRuntime(work, LiveSection(), "REPLAY", clock, SystemClock(), drift_section=WATCHED)
        await runtime.prepare()
        assert runtime.loop is not None and isinstance(runtime.loop.watches[""], DriftWatch)
        assert runtime.loop.holding == ["quick"]
        assert runtime.loop.watches[""]._seats["ridge"].action == "stopped"
        await runtime.command("release", "me", reason="looked at it")
        assert runtime.loop.holding == []
        with pytest.raises(InputError, match="not halted"):
            await runtime.command("release", "me", reason="once more")
        await runtime.close()
        return runtime

    asyncio.run(lived(work))
    runtime = asyncio.run(again())
    assert [one["kind"] for one in runtime.alerts()] == ["drift_released"]
    ((_, last),) = work.records.live_sessions()[0].detail["held"]["quick"]
    assert last is not None


def on_the_command_line(home: Path, *words: str) -> Result:
    return CliRunner().invoke(app, list(words), env={"TRADEWIND_HOME": str(home)}, catch_exceptions=False)


def test_a_release_on_the_command_line_reaches_the_process_that_runs(tmp_path: Path) -> None:
    work = home_of(tmp_path, PLAYBOOK)
    held: list[list[str]] = []

    async def release(runtime: LiveRuntime) -> None:
        assert runtime.loop is not None
        held.append(runtime.loop.holding)
        if held[-1] and held.count(["quick"]) == 3:
            told = on_the_command_line(work.home, "release", "--reason", "looked at it")
            assert told.stdout.splitlines() == [
                "trading may go on",
                "quick of quick recommends again from the next bar on",
            ]
            assert on_the_command_line(work.home, "release").exit_code == 2, "it was released already"

    runtime = asyncio.run(lived(work, for_good=True, before=release))
    assert held.count(["quick"]) == 3 and held[-1] == [], "and it is not stopped again by the same drift"
    (said,) = [one for one in Controls(work.records).alerts() if one.kind == "drift_released"]
    assert said.what == f"quick: recommendations go on, released by {getpass.getuser()}: looked at it"
    assert runtime.prepared is not None
    ((first, last),) = runtime.prepared.session.held["quick"]
    times = list(runtime.prepared.panel.times)
    assert last is not None and times.index(last) - times.index(first) == 2


def test_a_release_by_the_page_is_the_same_row_of_the_records(tmp_path: Path) -> None:
    work = home_of(tmp_path, PLAYBOOK)

    async def release(runtime: LiveRuntime) -> None:
        assert runtime.loop is not None
        if runtime.loop.holding:
            runtime.mode = "PAPER"
            await runtime.command("release", "me", reason="looked at it")
            assert runtime.loop.holding == []
            with pytest.raises(InputError, match="not halted"):
                await runtime.command("release", "me", reason="once more")

    asyncio.run(lived(work, for_good=True, before=release))
    (change,) = Controls(work.records).history()
    assert (change.action, change.actor, change.reason) == ("release", "me", "looked at it")
    (said,) = [one for one in Controls(work.records).alerts() if one.kind == "drift_released"]
    assert said.what == "quick: recommendations go on, released by me: looked at it"


def test_a_release_on_the_command_line_reaches_the_next_start(tmp_path: Path) -> None:
    work = home_of(tmp_path, PLAYBOOK)
    runtime = asyncio.run(lived(work, for_good=True))
    prepared = runtime.prepared
    assert prepared is not None and runtime.loop is not None and runtime.loop.holding == ["quick"]
    doctor = on_the_command_line(work.home, "doctor")
    assert "quick: recommendations are stopped: " in doctor.stdout and doctor.exit_code == 0

    def next_start() -> list[str]:
        session = resumed(work.records, work.plan, "PAPER", None, None)
        assert session is not None
        prepared.session = session
        return Loop(prepared, runtime.bus, runtime.clock, runtime.health_of.latency).holding

    assert next_start() == ["quick"]
    assert on_the_command_line(work.home, "release", "--reason", "looked at it").exit_code == 0
    assert "nothing is halted" in on_the_command_line(work.home, "doctor").stdout
    assert next_start() == [] == next_start()
    assert len([one for one in Controls(work.records).alerts() if one.kind == "drift_released"]) == 1


def test_where_drift_cannot_be_looked_for_the_bar_goes_on_and_somebody_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("no such thing")

    monkeypatch.setattr(DriftWatch, "_read", broken)
    runtime = asyncio.run(lived(home_of(tmp_path, PLAYBOOK)))
    said = [one["what"] for one in runtime.alerts() if one["kind"] == "drift_failed"]
    assert len(said) == LIVED
    assert "no such thing" in said[0]


def test_an_ordinary_market_is_left_alone(tmp_path: Path) -> None:
    runtime = asyncio.run(lived(home_of(tmp_path, PLAYBOOK), changed=False))
    assert actions(runtime) == []
    assert runtime.loop is not None
    assert runtime.loop.holding == []


def test_the_champion_before_comes_back_where_it_lost_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, former, present = two_champions(tmp_path)
    honest = DriftWatch._losses
    monkeypatch.setattr(DriftWatch, "_losses", lambda self, *more: honest(self, *more) + 0.01)
    runtime = asyncio.run(lived(work))
    assert runtime.prepared is not None
    assert current(work.records.alias_changes("quick"))[CHAMPION] == present, "a replay moves nobody's champion"
    assert "rolled_back" not in {one.decision for one in work.records.model_decisions("quick")}
    assert runtime.loop is not None
    (decision,) = runtime.loop.decided
    assert (decision.decision, decision.champion, decision.challenger) == ("rolled_back", present, former)
    assert decision.evidence["p_value"] < WATCHED.rollback_significance
    (since,) = runtime.prepared.corridor.serving.values()
    assert [one.artefact.id for _, one in since] == [present, former]
    assert any(f"rolled back to {former}" in what for what in actions(runtime))
    assert work.records.live_sessions()[0].detail["serving"]["ridge"][1][1] == former
    seats = runtime.models()
    assert seats[0]["champion"]["id"] == former
    assert seats[0]["decisions"][0]["decision"] == "rolled_back"


def test_on_paper_it_comes_back_for_good_in_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, former, present = two_champions(tmp_path)
    honest = DriftWatch._losses
    monkeypatch.setattr(DriftWatch, "_losses", lambda self, *more: honest(self, *more) + 0.01)
    runtime = asyncio.run(lived(work, for_good=True))
    assert current(work.records.alias_changes("quick"))[CHAMPION] == former
    decision = work.records.model_decisions("quick")[0]
    assert (decision.decision, decision.champion, decision.challenger) == ("rolled_back", present, former)
    assert runtime.prepared is not None
    (since,) = runtime.prepared.corridor.serving.values()
    assert [one.artefact.id for _, one in since] == [present, former]


def test_a_session_in_which_models_changed_is_proved_with_each_in_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, _, _ = two_champions(tmp_path)
    honest = DriftWatch._losses
    monkeypatch.setattr(DriftWatch, "_losses", lambda self, *more: honest(self, *more) + 0.01)
    result = result_of(asyncio.run(lived(work)))
    assert (result["bars"], result["parity"]["equal"]) == (LIVED, True)


def test_the_champion_before_stays_away_where_it_lost_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, _, present = two_champions(tmp_path)
    honest = DriftWatch._losses
    monkeypatch.setattr(DriftWatch, "_losses", lambda self, *more: honest(self, *more) - 0.01)
    runtime = asyncio.run(lived(work))
    assert current(work.records.alias_changes("quick"))[CHAMPION] == present
    assert "recommendations are stopped" in actions(runtime)[0]
    assert "not better" in actions(runtime)[0]


def test_a_retraining_that_drift_asks_for_waits_for_the_one_that_runs_and_is_one_for_all_seats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over, asked, bars = threading.Event(), list[str](), list[None]()

    def retrained(*_: Any, by: str, **__: Any) -> dict[str, Any]:
        asked.append(by)
        assert over.wait(60)
        return {"decision": "kept", "champion": {}, "evidence": {}, "seconds": 0.0}

    async def talk(runtime: LiveRuntime) -> None:
        runtime.mode = "PAPER"
        bars.append(None)
        if len(bars) == CHANGED:
            await runtime.command("retrain", "me")
        if len(bars) == LIVED - 4:
            assert {one["level"] for one in runtime.drift()} == {"drift"}
            over.set()
        if len(bars) >= LIVED - 4:
            await runtime.jobs_done()

    monkeypatch.setattr("tradewind.live.service.retrain", retrained)
    runtime = asyncio.run(lived(home_of(tmp_path, PAIR), for_good=True, before=talk))
    assert len(runtime.drift()) == 2
    assert asked == ["me", "drift of quick/ridge and 1 more"]


def test_a_seat_that_changes_hands_is_watched_as_after_a_restart(tmp_path: Path) -> None:
    work, former, _ = two_champions(tmp_path)
    bars: list[None] = []

    async def change_hands(runtime: LiveRuntime) -> None:
        assert runtime.loop is not None
        bars.append(None)
        if len(bars) == CHANGED:
            runtime.loop.seat("quick", former)

    runtime = asyncio.run(lived(work, changed=False, before=change_hands))
    loop, prepared = runtime.loop, runtime.prepared
    assert loop is not None and prepared is not None
    watch = loop.watches[""]
    assert isinstance(watch, DriftWatch)
    assert watch._seats["ridge"].served.artefact.id == former
    anew = DriftWatch(loop, prepared.finest, WATCHED, lambda *_: None, lambda _: True)
    states = [one._seats["ridge"].state.arrays() for one in (watch, anew)]
    assert states[0].keys() == states[1].keys()
    for name, values in states[0].items():
        np.testing.assert_array_equal(values, states[1][name], err_msg=name)


def test_losses_are_of_outcomes_that_came_with_the_newest_bars(tmp_path: Path) -> None:
    runtime = asyncio.run(lived(home_of(tmp_path, PLAYBOOK), changed=False))
    loop, prepared = runtime.loop, runtime.prepared
    assert loop is not None and prepared is not None
    watch = loop.watches[""]
    assert isinstance(watch, DriftWatch)
    made, row = prepared.corridor.forecasts_of("ridge"), len(prepared.corridor.world.panel) - 1
    losses = watch._losses(made, row, 4)
    closes = prepared.corridor.log_closes
    for index, horizon in enumerate(made.horizons):
        rows = [row - horizon - back for back in range(4)]
        first = row + 1 - len(losses)
        known = np.flatnonzero(np.isfinite(losses[:, :, index]).any(axis=1)) + first
        assert sorted(rows) == known.tolist()
        at = rows[0]
        error = (closes[at + horizon, 0] - closes[at, 0]) - made.quantiles[at, 0, index]
        levels = np.asarray(made.levels)
        expected = np.maximum(levels * error, (levels - 1) * error).mean()
        assert losses[at - first, 0, index] == pytest.approx(expected)

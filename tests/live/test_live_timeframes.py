"""Several timeframes on one clock, live: the back-test of each of them bit by bit, and one ledger for all."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_kit import lived, replayed

from killing import ran
from spine_kit import instant, workspace
from tradewind.errors import DataError, InputError
from tradewind.evaluation.backtest import backtest
from tradewind.evaluation.workspace import Workspace
from tradewind.execution.journal import Journal
from tradewind.live.corridor import LiveCorridor
from tradewind.live.service import LiveRuntime
from tradewind.server.running import Run, prove, run

FRAMES = """\
[playbook]
format = 1
description = "Four invented stocks by five minutes and by days, in one account"

[universe]
symbols = []

[data]
source = "synthetic"
start = "2022-06-01"
end = "2023-12-29"
context = {}

[features]
include = ["rsi_14", "price"]

[labels]
horizons_bars = [1, 4]

[models]
use = "ridge"
compare = []

[regimes]
use = true
look_back_sessions = 80
refit_sessions = 400
starts = 1

[sizing]
regime_multipliers = true

[limits]
position_max = 0.3
drawdown_max = 0.5

[coordinator]
capital = { minutes = 0.4, days = 0.6 }
rebalance_sessions = 2

[execution]
short_allowed = true

[decision]
horizon_bars = 4
confidence_min = 0.4
confidence_exit = 0.35
every_bars = 1

[drift]
use = false

[timeframes.days.evaluation]
min_train_bars = 250
refit_bars = 140
[timeframes.minutes.data]
timeframe = "5m"
start = "2023-11-20"
[timeframes.minutes.decision]
every_bars = 3
[timeframes.minutes.evaluation]
min_train_bars = 1500
refit_bars = 500

[source.synthetic.options]
seed = 5
n_symbols = 4
"""


TWINS = FRAMES[: FRAMES.index("[timeframes.days.evaluation]")].replace("minutes = 0.4, days", "zeta = 0.4, alpha")
TWINS += """\
[timeframes.zeta.evaluation]
min_train_bars = 250
refit_bars = 125
[timeframes.alpha.decision]
horizon_bars = 1
[timeframes.alpha.evaluation]
min_train_bars = 250
refit_bars = 125

[source.synthetic.options]
seed = 5
n_symbols = 4
"""
"""Two systems on the same bars, named against the alphabet."""


def frames(folder: Path, playbook: str = FRAMES, **overrides: object) -> Workspace:
    """Return the workspace of two timeframes in a home of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "frames.toml"
    path.write_text(playbook)
    return workspace(path, folder / "home", **overrides)


DAYS_CLOSE = "2023-12-28T21:00:00Z"
KILLED = Path(__file__).parent / "live_verb_and_die.py"


class EnoughError(Exception):
    """Raised to end a process in the middle."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the playbook, in whose home models are trained and nothing was lived through."""
    folder = tmp_path_factory.mktemp("frames")
    work = frames(folder)
    prove(work)
    work.records.close()
    return folder


@pytest.fixture
def work(home: Path, tmp_path: Path) -> Workspace:
    """Return a workspace of its own, with the trained models."""
    shutil.copytree(home, tmp_path / "own")
    return frames(tmp_path / "own")


@pytest.fixture(scope="module")
def whole(home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, dict[str, Any]]:
    """Return a session that nobody interrupted, to be read."""
    folder = tmp_path_factory.mktemp("whole")
    shutil.copytree(home, folder / "own")
    work = frames(folder / "own")
    return work, replayed(work)


def test_every_timeframe_is_its_back_test_and_the_account_that_of_the_command(
    whole: tuple[Workspace, dict[str, Any]],
) -> None:
    work, result = whole
    assert result["parity"]["first_difference"] is None
    assert result["parity"]["equal"] is True
    assert result["timeframes"] == {"days": "1d", "minutes": "5m"}
    tested = backtest(work, opened=instant(result["from"].replace("Z", "+00:00")), counts=False)
    assert tested.tradings["base"].simulation.ledger_hash == result["ledger_hash"]
    orders = Journal(work.records, result["account"]).orders()
    assert {one.request.sleeve for one in orders if one.filled} == {"days", "minutes"}, "else it proves nothing"


def test_a_day_is_decided_on_at_its_close_and_filled_in_the_next_five_minutes(
    whole: tuple[Workspace, dict[str, Any]],
) -> None:
    work, result = whole
    journal = Journal(work.records, result["account"])
    decided = {
        sleeve: sorted({one.request.decided_at for one in journal.orders() if one.request.sleeve == sleeve})
        for sleeve in ("days", "minutes")
    }
    assert decided["days"][0] == datetime(2023, 12, 28, 21, tzinfo=UTC)
    assert all(at.hour == 21 and at.minute == 0 for at in decided["days"])
    assert len(decided["minutes"]) > len(decided["days"])
    own = {one.request.client_order_id: one.request for one in journal.orders() if one.request.sleeve == "days"}
    first = min(fill.time for fill in journal.executions() if fill.client_order_id in own)
    assert first == datetime(2023, 12, 29, 14, 35, tzinfo=UTC)
    said = {(one.symbol.partition("@")[2], one.time) for one in work.records.signals(result["session"])}
    assert {at for sleeve, at in said if sleeve == "days"} <= {
        datetime(2023, 12, day, 21, tzinfo=UTC) for day in (28, 29)
    }
    assert len({at for sleeve, at in said if sleeve == "minutes"}) > 100


def test_a_feature_of_longer_bars_that_differs_is_named_with_its_timeframe(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = LiveCorridor.step

    def step(self: LiveCorridor, bar: Any) -> Any:
        made = honest(self, bar)
        if self.workspace.plan.timeframe == "days":
            made.world.features.values[-1, 1, 0] += np.float32(1)
        return made

    monkeypatch.setattr(LiveCorridor, "step", step)
    first = replayed(work)["parity"]["first_difference"]
    assert (first["part"], first["time"]) == ("features", DAYS_CLOSE)
    assert first["symbol"].endswith("@days")


def test_an_interrupted_replay_goes_on_with_every_timeframe(
    work: Workspace, whole: tuple[Workspace, dict[str, Any]]
) -> None:
    _, undisturbed = whole

    async def kill(_: LiveRuntime, number: int) -> None:
        if number == 70:  # after the first day's close
            raise EnoughError

    with pytest.raises(EnoughError):
        asyncio.run(lived(work, kill))
    again = replayed(work)
    assert again["bars"] == undisturbed["bars"] - 70
    assert (again["ledger_hash"], again["equity"]) == (undisturbed["ledger_hash"], undisturbed["equity"])
    assert again["parity"]["equal"] is True


def test_a_process_that_is_killed_goes_on_with_every_timeframe(
    home: Path, tmp_path: Path, whole: tuple[Workspace, dict[str, Any]]
) -> None:
    _, undisturbed = whole
    shutil.copytree(home / "home", tmp_path / "home")

    def verb(die_at: int) -> subprocess.CompletedProcess[str]:
        arguments = ("--replay", "--speed", "max", "--until-done", "--no-page", "--json")
        return ran(KILLED, die_at, "live", home / "frames.toml", *arguments, home=tmp_path / "home")

    assert verb(700).returncode == -9
    done = verb(0)
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)
    assert again["parity"]["equal"] is True
    assert 0 < again["bars"] < undisturbed["bars"]
    assert (again["ledger_hash"], again["equity"]) == (undisturbed["ledger_hash"], undisturbed["equity"])


def test_systems_on_the_same_bars_keep_the_playbooks_order(tmp_path: Path) -> None:
    work = frames(tmp_path, TWINS)
    result = replayed(work)
    assert result["parity"]["equal"] is True
    tested = backtest(work, opened=instant(result["from"].replace("Z", "+00:00")), counts=False)
    assert tested.tradings["base"].simulation.ledger_hash == result["ledger_hash"]
    assert result["fills"] > 0, "an empty ledger proves nothing"


def test_a_timeframe_without_enough_history_is_told_and_the_others_run(tmp_path: Path) -> None:
    work = frames(tmp_path, timeframes__days__evaluation__min_train_bars="900")
    result = replayed(work)
    assert result["timeframes"] == {"minutes": "5m"}
    assert "no walk-forward" in result["unavailable"]["days"]
    assert result["parity"]["equal"] is True
    tested = backtest(work, opened=instant(result["from"].replace("Z", "+00:00")), counts=False)
    assert tested.tradings["base"].simulation.ledger_hash == result["ledger_hash"]
    assert result["fills"] > 0, "an empty ledger proves nothing"


def test_where_no_timeframe_can_run_every_reason_is_told(tmp_path: Path) -> None:
    both = {f"timeframes__{name}__evaluation__min_train_bars": "90000" for name in ("days", "minutes")}
    with pytest.raises(DataError, match=r"no timeframe .* can run: days: .*; minutes: "):
        replayed(frames(tmp_path, **both))


def test_trading_in_the_present_is_refused_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot trade in the present yet: its timeframes have bars of several sizes"):
        run(frames(tmp_path), Run(page=False))


def test_every_timeframe_has_its_symbols_seats_and_words_on_the_page(work: Workspace) -> None:
    runtime = asyncio.run(lived(work))
    names = {one["symbol"] for one in runtime.symbols()}
    symbols = {name.partition("@")[0] for name in names}
    assert names == {f"{symbol}@{sleeve}" for symbol in symbols for sleeve in ("days", "minutes")}
    symbol = min(symbols)
    days, minutes = (runtime.bars(f"{symbol}@{name}", limit=3) for name in ("days", "minutes"))
    assert [bar["time"][11:16] for bar in days] == ["21:00"] * 3
    assert [bar["time"][11:16] for bar in minutes] == ["20:50", "20:55", "21:00"]
    assert runtime.forecasts(f"{symbol}@days")[0]["time"] == "2023-12-29T21:00:00Z"
    assert {one["symbol"] for one in runtime.signals()} == names
    with pytest.raises(InputError):
        runtime.bars(symbol)
    _, events = runtime.bus.snapshot()
    newest = {(event.topic, event.key): event.data for event in events}
    for name in names:
        assert newest["signal", name] == next(one for one in runtime.signals() if one["symbol"] == name)
        assert newest["bar", name] == runtime.bars(name, limit=1)[0]
    with pytest.raises(DataError, match="several timeframes share this account"):
        runtime.ticket(min(names))
    held = {one["symbol"]: one["timeframe"] for one in runtime.positions()}
    assert held and all(symbol.endswith(f"@{timeframe}") for symbol, timeframe in held.items())
    assert {one["symbol"] for one in runtime.fills()} <= names
    assert runtime.status()["timeframe"] == "5m"
    assert {seat["seat"] for seat in runtime.models()} == {"frames@days", "frames@minutes"}


def test_what_was_said_of_a_symbol_in_one_timeframe_is_told_apart_from_the_other(
    whole: tuple[Workspace, dict[str, Any]],
) -> None:
    work, result = whole
    made = work.records.predictions(result["session"])
    at = datetime(2023, 12, 28, 21, tzinfo=UTC)
    own = {one.symbol: one for one in made if (one.time, one.horizon_bars) == (at, 1) and one.seat is not None}
    symbol = min(own).partition("@")[0]
    days, minutes = own[f"{symbol}@days"], own[f"{symbol}@minutes"]
    assert (days.seat, minutes.seat) == ("frames@days", "frames@minutes")
    assert days.outcome is not None and minutes.outcome is not None
    assert days.outcome != minutes.outcome


def test_a_retraining_is_of_every_timeframe_and_seats_winners_in_their_own(work: Workspace) -> None:
    async def retrain(runtime: LiveRuntime, number: int) -> None:
        if number == 100:
            await runtime.command("retrain", "me")
            await runtime.jobs_done()

    runtime = asyncio.run(lived(frames(work.home.parent, challenge__unseen_bars="60"), retrain))
    (job,) = [one for one in runtime.jobs() if one["kind"] == "retrain"]
    assert job["status"] == "done", job["error"]
    assert job["result"]["champion"].keys() == {"frames@days", "frames@minutes"}

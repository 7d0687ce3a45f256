"""`kill -9` at any place of any bar: the next start goes on with nothing lost and nothing doubled."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from live_kit import LIVED, PAIR, home_of
from paper_session_and_die import PLACES_OF_PAPER, workspace
from standin_bars import doubled, held
from test_live_market import NOW

from killing import killed_and_started, kills, ran
from spine_kit import prices, system
from tradewind.evaluation.model_registry import ModelRegistry
from tradewind.evaluation.training import train
from tradewind.evaluation.workspace import Workspace
from tradewind.execution.journal import Journal
from tradewind.live.prepare import with_clock
from tradewind.market.sources.replay import ReplayClock
from tradewind.market.store.lake import Lake

ARGUMENTS = ("--replay", "--speed", "max", "--until-done", "--no-page", "--json")
PLACES_A_BAR = 12

SCRIPT = Path(__file__).with_name("live_verb_and_die.py")
PAPER = Path(__file__).with_name("paper_session_and_die.py")


def verb(playbook: Path, home: Path, *, die_at: int = 0) -> subprocess.CompletedProcess[str]:
    return ran(SCRIPT, die_at, "live", playbook, *ARGUMENTS, home=home)


def rows(work: Workspace) -> dict[str, Any]:
    """Everything that a session leaves behind, without the moments at which it was written."""
    (session,) = work.records.live_sessions()
    predictions = Counter(
        (p.symbol, p.time, p.target, p.horizon_bars, tuple(p.quantiles.items()), p.outcome)
        for p in work.records.predictions(session.id)
    )
    signals = Counter((s.symbol, s.time, s.action, s.confidence) for s in work.records.signals(session.id))
    journal = Journal(work.records, session.detail["account"])
    executions = [(e.symbol, e.quantity, e.price, e.time) for e in journal.executions()]
    orders = Counter((o.request.symbol, o.request.side, o.request.quantity, o.status) for o in journal.orders())
    marks = [(m.time, m.cash_cents, m.equity_cents) for m in journal.marks()]
    return {
        "predictions": predictions,
        "signals": signals,
        "executions": executions,
        "orders": orders,
        "marks": marks,
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """A session that nobody killed: its playbook, its result, and what it left behind."""
    folder = tmp_path_factory.mktemp("undisturbed")
    playbook = system(folder, prices(340), PAIR)
    done = verb(playbook, folder / "home")
    assert done.returncode == 0, done.stderr
    work = home_of(folder)
    left = rows(work)
    work.records.close()
    return playbook, json.loads(done.stdout), left


def test_sessions_that_are_killed_again_and_again_end_like_one_that_was_not(
    undisturbed: tuple[Path, dict[str, Any], dict[str, Any]], tmp_path: Path
) -> None:
    playbook, whole, left = undisturbed
    assert whole["fills"] > 0

    def check(home: Path, _: subprocess.CompletedProcess[str]) -> None:
        work = Workspace(home_of(tmp_path / "again").plan, home)
        found = rows(work)
        work.records.close()
        for part, content in left.items():
            assert found[part] == content, part
        shutil.rmtree(home)

    killed_and_started(
        lambda home, die_at: verb(playbook, home, die_at=die_at),
        lambda number: tmp_path / f"home{number}",
        check,
        times=kills(8),
        places=PLACES_A_BAR * LIVED // 2,
    )


def test_the_last_start_says_that_it_is_the_back_test(
    undisturbed: tuple[Path, dict[str, Any], dict[str, Any]], tmp_path: Path
) -> None:
    playbook, whole, _ = undisturbed
    home = tmp_path / "home"
    assert verb(playbook, home, die_at=150).returncode == -9
    again = json.loads(verb(playbook, home).stdout)
    assert again["parity"]["equal"] is True
    assert 0 < again["bars"] < LIVED
    assert (again["ledger_hash"], again["equity"]) == (whole["ledger_hash"], whole["equity"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a playbook and a home in which a seat has a champion and a challenger."""
    folder = tmp_path_factory.mktemp("trained")
    for penalty in ("1.0", "500.0"):
        used = workspace(folder, models__parameters__ridge__penalty=penalty)
        train(with_clock(used, ReplayClock(NOW)))
        used.records.close()
    return folder


def test_paper_trading_that_is_killed_while_bars_come_in_and_a_model_is_promoted_ends_like_undisturbed(
    trained: Path, tmp_path: Path
) -> None:
    def start(home: Path, die_at: int) -> subprocess.CompletedProcess[str]:
        return ran(PAPER, die_at, home.parent, home=home)

    def fresh(number: int) -> Path:
        return shutil.copytree(trained, tmp_path / str(number)) / "home"

    def left_in(home: Path) -> dict[str, Any]:
        work = workspace(home.parent)
        (session,) = work.records.live_sessions()
        lake = Lake(home / "lake" / work.lake_name)
        assert doubled(lake) == 0 and lake.check() == []
        registry = ModelRegistry(home, work.records, work.clock)
        found = {
            **rows(work),
            "bars": held(lake, "1d").rows(),
            "serving": session.detail["serving"],
            "seat": registry.state_of("small/ridge"),
            "decisions": len(work.records.model_decisions("small/ridge")),
        }
        work.records.close()
        return found

    whole = fresh(-1)
    assert (done := start(whole, 0)).returncode == 0, done.stderr
    left = left_in(whole)
    assert left["executions"] and left["decisions"] == 1
    assert [at for at, _ in left["serving"]["ridge"]][1:] == ["2016-03-14T20:00:00.000001"], "promoted on the way"

    def check(home: Path, _: subprocess.CompletedProcess[str]) -> None:
        found = left_in(home)
        for part, content in left.items():
            assert found[part] == content, part
        shutil.rmtree(home.parent)

    killed_and_started(start, fresh, check, times=kills(2), places=PLACES_OF_PAPER)

"""`kill -9` at any place of any bar: the next start goes on with nothing lost and nothing doubled."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from live_kit import LIVED, PAIR, home_of

from spine_kit import prices, system
from tradewind.evaluation.workspace import Workspace

ARGUMENTS = ("live", "--replay", "--speed", "max", "--until-done", "--no-page", "--json")
PLACES_A_BAR = 6
TIMES = int(os.environ.get("TRADEWIND_KILLS", "20"))
"""How often a process is killed, at random places: 20 in CI, 200 in `make crash-test`."""

HERE = Path(__file__).parent


def verb(playbook: Path, home: Path, *, die_at: int = 0) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "TRADEWIND_HOME": str(home), "OMP_NUM_THREADS": "1"}
    arguments = [ARGUMENTS[0], str(playbook), *ARGUMENTS[1:]]
    command = [sys.executable, str(HERE / "live_verb_and_die.py"), str(die_at), *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=300)


def rows(work: Workspace) -> dict[str, Any]:
    """Everything that a session leaves behind, without the moments at which it was written."""
    (session,) = work.records.live_sessions()
    predictions = Counter(
        (p.symbol, p.time, p.target, p.horizon_bars, tuple(p.quantiles.items()), p.outcome)
        for p in work.records.predictions(session.id)
    )
    signals = Counter((s.symbol, s.time, s.action, s.confidence) for s in work.records.signals(session.id))
    from tradewind.execution.journal import Journal

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


def test_a_session_that_is_killed_again_and_again_ends_like_one_that_was_not(
    undisturbed: tuple[Path, dict[str, Any], dict[str, Any]], tmp_path: Path
) -> None:
    playbook, whole, left = undisturbed
    assert whole["fills"] > 0
    draw = random.Random(20261130)
    home, deaths = tmp_path / "home", 0
    for _ in range(TIMES):
        died = verb(playbook, home, die_at=draw.randint(1, PLACES_A_BAR * LIVED // 3))
        if died.returncode == 0:
            break
        assert died.returncode == -9, died.stderr
        deaths += 1
    else:
        last = verb(playbook, home)
        assert last.returncode == 0, last.stderr
    assert deaths > 0
    work = Workspace(home_of(tmp_path / "again").plan, home)
    found = rows(work)
    work.records.close()
    for part, content in left.items():
        assert found[part] == content, part


def test_the_last_start_says_that_it_is_the_back_test(
    undisturbed: tuple[Path, dict[str, Any], dict[str, Any]], tmp_path: Path
) -> None:
    playbook, whole, _ = undisturbed
    home = tmp_path / "home"
    assert verb(playbook, home, die_at=100).returncode == -9
    again = json.loads(verb(playbook, home).stdout)
    assert again["parity"]["equal"] is True
    assert 0 < again["bars"] < LIVED
    assert (again["ledger_hash"], again["equity"]) == (whole["ledger_hash"], whole["equity"])

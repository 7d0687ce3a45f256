"""`kill -9` at any place of a retraining or of a promotion: the next start comes to the same, and writes it once."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from test_evaluation_retraining import TWO, kept_in, without_times

from killing import killed_and_started, kills, verb
from spine_kit import learnable, system, workspace
from tradewind.evaluation.model_registry import ModelRegistry
from tradewind.evaluation.retraining import retrain
from tradewind.evaluation.training import train
from tradewind.market.store.records import Records

PLACES_OF_RETRAINING, PLACES_OF_PROMOTION = 90, 7
SEAT = "quick/ridge"


@pytest.fixture(scope="module")
def seated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a playbook that trades an ensemble, and a home where one of its champions can be beaten."""
    folder = tmp_path_factory.mktemp("seated")
    playbook = system(folder, learnable(), TWO)
    used = workspace(playbook, folder / "home", models__parameters__ridge__penalty="1e9")
    retrain(used)
    used.records.close()
    return playbook, folder / "home"


def test_a_retraining_that_is_killed_again_and_again_comes_to_the_same_once(
    seated: tuple[Path, Path], tmp_path: Path
) -> None:
    playbook, home = seated

    def start(home: Path, die_at: int) -> subprocess.CompletedProcess[str]:
        return verb(home, die_at, "retrain", playbook, "--json")

    def fresh(number: int) -> Path:
        return shutil.copytree(home, tmp_path / str(number))

    whole = fresh(-1)
    expected = json.loads(start(whole, 0).stdout)
    assert expected["seats"][SEAT]["decision"] == "promoted"

    def check(home: Path, came: subprocess.CompletedProcess[str]) -> None:
        assert without_times(json.loads(came.stdout)) == without_times(expected)
        assert kept_in(home) == kept_in(whole)
        shutil.rmtree(home)

    killed_and_started(start, fresh, check, times=kills(3), places=PLACES_OF_RETRAINING)


def state_in(home: Path) -> dict[str, Any]:
    """Return who sits where, and how often that changed and was noted."""
    records = Records(f"sqlite:///{home / 'records.sqlite'}")
    changes, decisions = records.alias_changes(SEAT), records.model_decisions(SEAT)
    records.close()
    return {
        "now": {change.alias: change.model for change in changes},
        "changes": len(changes),
        "decisions": [(one.decision, one.champion, one.challenger) for one in decisions],
    }


def test_a_promotion_that_is_killed_was_made_whole_or_not_at_all(seated: tuple[Path, Path], tmp_path: Path) -> None:
    playbook, home = seated[0], shutil.copytree(seated[1], tmp_path / "home")
    used = workspace(playbook, home)
    train(used)
    registry = ModelRegistry(home, used.records, used.clock)
    first, second = registry.find("champion", SEAT).id, registry.find("challenger", SEAT).id
    used.records.close()
    draw, deaths, there = random.Random(20261130), 0, state_in(home)
    while deaths < kills(4):
        back = there["now"]["champion"] == second
        arguments = ["rollback", "--playbook", SEAT] if back else ["promote", second, "--playbook", SEAT]
        came = verb(home, draw.randint(1, PLACES_OF_PROMOTION), "models", *arguments)
        assert came.returncode in (0, -signal.SIGKILL), came.stderr
        deaths += came.returncode != 0
        before, there = there, state_in(home)
        if there == before:
            assert came.returncode, "it said that it was done"
            continue
        sits, waits = (first, second) if back else (second, None)
        assert there["now"] == {"champion": sits, "challenger": waits}
        assert there["changes"] == before["changes"] + 2
        told = ("rolled_back", second, first) if back else ("promoted", first, second)
        assert sorted(there["decisions"]) == sorted([*before["decisions"], told])

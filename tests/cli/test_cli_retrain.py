"""`tradewind retrain` as a program sees it: one object that ends in the decision, exit codes, and a few lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from spine_kit import PLAYBOOK, QuickRun, system
from tradewind.cli.main import app
from tradewind.market.store.lock import writer_lock

Call = Callable[..., Result]
MEMBERS = PLAYBOOK.replace('use = "ridge"', 'use = "ensemble"') + '[ensemble]\nmembers = ["ridge", "naive_t"]\n'


@pytest.fixture
def call(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.setenv("TRADEWIND_HOME", str(home))
    monkeypatch.chdir(tmp_path)

    def invoke(*words: object) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)

    return invoke


def told(result: Result, code: int = 0) -> dict[str, Any]:
    assert result.exit_code == code, result.output
    assert result.stdout.count("\n") == 1
    return dict(json.loads(result.stdout))


def test_it_ends_in_decision_evidence_and_champion_and_twice_is_once(call: Call, quick: QuickRun, home: Path) -> None:
    first = told(call("retrain", quick.playbook, "--json"))
    assert list(first)[-3:] == ["decision", "evidence", "champion"] and first["decision"] == "first"
    assert Path(first["report"]).parent == home / "retrain" and Path(first["report"]).is_file()
    again = told(call("retrain", quick.playbook, "--json"))
    assert again["repeated"] and again["decision"] == "first" and again["champion"] == first["champion"]
    assert told(call("models", "list", "--json"))["models"][0]["aliases"] == ["champion"]


def test_people_are_told_what_was_decided_and_why(call: Call, quick: QuickRun) -> None:
    told(call("retrain", quick.playbook, "--json"))
    said = call("retrain", quick.playbook, "--set", "models.parameters.ridge.penalty=1000.0").stdout
    assert "quick: kept, champion ridge-" in said and "newer bars to judge on" in said and "report: " in said
    dry = call("retrain", quick.playbook, "--set", "models.parameters.ridge.penalty=3.0", "--dry-run").stdout
    assert "report: " not in dry


def test_the_seats_of_an_ensemble_are_named_in_every_verb(call: Call, quick: QuickRun, tmp_path: Path) -> None:
    playbook = system(tmp_path / "two", playbook=MEMBERS, name="two")
    assert set(told(call("retrain", playbook, "--json"))["champion"]) == {"two/ridge", "two/naive_t"}
    listed = call("models", "list", "--playbook", "two").stdout
    assert "champion of two/ridge" in listed and "champion of two/naive_t" in listed
    assert len(told(call("models", "list", "--playbook", "two/ridge", "--json"))["models"]) == 1
    assert told(call("models", "show", "two/ridge:champion", "--json"))["model"] == "ridge"
    error = told(call("models", "show", "two:champion", "--json"), 2)["error"]
    assert "two has 2 seats: two/naive_t, two/ridge" in error["what"] and "two/naive_t:champion" in error["hint"]
    assert told(call("models", "rollback", "--playbook", "two/ridge", "--json"), 2)["error"]["kind"] == "InputError"
    trained = call("train", playbook).stdout
    assert "tradewind models show two/ridge:champion" in trained


def test_a_second_one_at_the_same_time_says_so(call: Call, quick: QuickRun, home: Path) -> None:
    with writer_lock(home / "retrain.lock", patience_seconds=0.0):
        error = told(call("retrain", quick.playbook, "--json"), 1)["error"]
    assert error["kind"] == "RetryError" and "another retraining" in error["what"]


def test_too_little_history_is_the_datas_fault(call: Call, quick: QuickRun) -> None:
    result = told(call("retrain", quick.playbook, "--as-of", "2014-09-01", "--json"), 3)
    assert "too few for a retraining" in result["error"]["what"]


def test_bad_settings_are_refused_with_what_is_allowed(call: Call, quick: QuickRun) -> None:
    for word, said in (("challenge.p_max=0.9", "p_max"), ("challenge.horizon_bars=3", "is not forecast")):
        told(call("retrain", quick.playbook, "--json"))
        error = call("retrain", quick.playbook, "--set", word, "--set", "models.parameters.ridge.penalty=9.0", "--json")
        assert error.exit_code == 2 and said in error.output

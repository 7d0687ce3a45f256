"""`tradewind tune` as a program sees it: one object, exit codes, a new playbook that keeps its trials."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from spine_kit import PLAYBOOK, system
from tradewind.cli.main import app

Call = Callable[..., Result]
TUNE = """
[models.parameters.ridge]
penalty = 1e-9 # so small that any other is better

[tune]
trials = 4
startup_trials = 2

[tune.ranges]
"models.parameters.ridge.penalty" = { low = 1.0, high = 1e5, log = true }
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    system(tmp_path, playbook=PLAYBOOK + TUNE)
    monkeypatch.setenv("TRADEWIND_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(desk: Path) -> Call:
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def one_object(result: Result, code: int = 0) -> dict[str, Any]:
    assert result.exit_code == code, result.output
    assert result.stdout.count("\n") == 1
    return dict(json.loads(result.stdout))


def test_the_best_settings_make_a_new_playbook_whose_back_test_counts_the_search(call: Call, desk: Path) -> None:
    found = one_object(call("tune", "quick.toml", "--write", "better.toml", "--json"))
    assert found["written"] == "better.toml" and found["best"]["settings"]
    text = (desk / "better.toml").read_text()
    penalty = found["best"]["settings"]["models.parameters.ridge.penalty"]
    assert f"penalty = {penalty!r}" in text
    assert "# so small that any other is better" in text and 'lineage = "quick"' in text
    record = one_object(call("backtest", "better.toml", "--no-report", "--json"))["track_record"]
    assert record["trials"] == 5


def test_a_flag_that_the_search_had_stands_in_the_new_playbook_too(call: Call, desk: Path) -> None:
    words = ("--set", "calibration.method=none", "--write", "better.toml", "--json")
    assert one_object(call("tune", "quick.toml", *words))["written"] == "better.toml"
    assert '[calibration]\nmethod = "none"' in (desk / "better.toml").read_text()


def test_a_file_is_never_overwritten_and_that_is_said_before_the_search(call: Call, desk: Path) -> None:
    refused = one_object(call("tune", "quick.toml", "--write", "quick.toml", "--json"), 2)
    assert "exists already" in refused["error"]["what"]
    assert one_object(call("tune", "quick.toml", "--write", "nowhere/x.toml", "--json"), 2)
    assert not (desk / "home").exists()


def test_nothing_is_written_where_nothing_was_better(call: Call, desk: Path) -> None:
    result = call("tune", "quick.toml", "--trials", "1", "--write", "better.toml")
    assert result.exit_code == 0
    assert "nothing was better" in result.stderr
    assert not (desk / "better.toml").exists()


def test_a_dry_run_says_what_would_be_searched_and_counts_nothing(call: Call, desk: Path) -> None:
    plan = one_object(call("tune", "quick.toml", "--dry-run", "--json"))
    assert plan["dry_run"] and (plan["trials_wanted"], plan["trials_done"]) == (4, 0)
    assert len(plan["period"]["blocks"]) == 3
    assert not (desk / "home" / "tune").exists()
    words = " ".join(call("tune", "quick.toml", "--dry-run").stdout.split())
    assert "nothing of it is seen" in words and "low 1.0, high 100000.0, log True" in words
    assert one_object(call("backtest", "quick.toml", "--no-report", "--json"))["track_record"]["trials"] == 1


def test_people_get_the_trials_the_best_first_and_a_piece_of_toml(call: Call) -> None:
    words = call("tune", "quick.toml").stdout
    assert "[models.parameters.ridge]\npenalty = " in words
    assert "as it stands" in words
    assert "4 trials are counted in the lineage 'quick'" in " ".join(words.split())


def test_a_bad_range_is_exit_two_with_its_line_and_a_misspelt_setting_stops_every_verb(call: Call, desk: Path) -> None:
    path = desk / "quick.toml"
    path.write_text(path.read_text().replace("ridge.penalty", "ridge.penality"))
    for verb in ("tune", "backtest", "train"):
        error = one_object(call(verb, "quick.toml", "--json"), 2)["error"]
        assert "penality" in error["what"] and "penalty" in error["hint"]


def test_a_flag_that_takes_the_model_away_stops_the_search_and_no_other_verb(call: Call) -> None:
    flag = ("--set", "models.use=naive_t", "--json")
    assert "not traded on" in one_object(call("tune", "quick.toml", *flag), 2)["error"]["what"]
    one_object(call("backtest", "quick.toml", "--no-report", *flag))


def test_the_shipped_sample_declares_what_may_be_searched(call: Call) -> None:
    plan = one_object(call("tune", "sample", "--source", "sample", "--dry-run", "--json"))
    assert plan["ranges"] and plan["period"]["test_from"] > plan["period"]["to"]

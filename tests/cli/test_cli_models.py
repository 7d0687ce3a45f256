"""`tradewind models`: what a program reads of it, and what people are told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from spine_kit import SYMBOLS, QuickRun
from tradewind.cli.main import app
from tradewind.models.artefact import CARD

Call = Callable[..., Result]


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


def test_before_any_training_it_says_how_to_make_one(call: Call) -> None:
    assert told(call("models", "list", "--json")) == {"count": 0, "models": []}
    assert "tradewind train" in call("models", "list").stdout
    error = told(call("models", "show", "champion", "--json"), 2)["error"]
    assert "tradewind train" in error["hint"]


def test_after_a_training_the_model_is_listed_shown_and_forecasts(call: Call, quick: QuickRun) -> None:
    report = told(call("train", quick.playbook, "--json"))
    own = report["models"]["ridge"]["artefact"]
    (row,) = told(call("models", "list", "--json"))["models"]
    assert (row["id"], row["aliases"], row["pickled"]) == (own, ["champion"], False)
    assert set(row["metrics"]) == {"1", "5"} and row["metrics"]["1"]["n"] > 0
    card = told(call("models", "show", "champion", "--json"))
    assert card["id"] == own and "state" not in card and card["manifest"]["seed"] == 7
    made = told(call("models", "forecast", own[:10], "--json"))
    assert set(made["forecasts"]) == set(SYMBOLS) and made["engine"] == "torch" and made["calibrated"] is True
    quantiles = made["forecasts"]["AAA"]["5"]["quantiles"]
    assert len(quantiles) == len(made["levels"]) and np.all(np.diff(quantiles) > 0)
    for words in (["list"], ["show", own], ["forecast", own]):
        assert own in call("models", *words).stdout


def test_what_is_no_network_is_not_exported(call: Call, quick: QuickRun) -> None:
    call("train", quick.playbook)
    error = told(call("models", "export", "champion", "--format", "onnx", "--json"), 2)["error"]
    assert "is no network" in error["what"]


def test_promoting_and_rolling_back_is_told(call: Call, quick: QuickRun) -> None:
    for seed in (1, 2):
        assert call("train", quick.playbook, "--set", f"models.seed={seed}").exit_code == 0
    rows = told(call("models", "list", "--json"))["models"]
    by_alias = {alias: row["id"] for row in rows for alias in row["aliases"]}
    state = told(call("models", "promote", "challenger", "--json"))
    assert state["champion"] == by_alias["challenger"] and state["champions_before"] == [by_alias["champion"]]
    said = call("models", "rollback")
    assert by_alias["champion"] in said.stdout
    compared = told(call("models", "compare", "champion", "challenger", "--json"))
    assert compared["models"] == [by_alias["champion"], by_alias["challenger"]]
    assert compared["differences"]["parameters"] == [{"seed": 1}, {"seed": 2}]


def test_calibration_that_is_not_stored_is_said(call: Call, quick: QuickRun) -> None:
    call("train", quick.playbook, "--set", 'calibration.method="split"')
    assert told(call("models", "forecast", "champion", "--json"))["calibrated"] is False
    assert "(not calibrated)" in call("models", "forecast", "champion").stdout


def test_training_tells_what_is_stored(call: Call, quick: QuickRun, home: Path) -> None:
    said = call("train", quick.playbook).stdout
    (own,) = (path.name for path in (home / "models").iterdir())
    assert f"stored as {own}" in said and f"champion {own}, challenger none" in said
    (home / "models" / own / CARD).write_text("{")
    assert "a damaged one is now" in call("train", quick.playbook).stdout
    assert own in call("models", "show", "champion").stdout
    assert "no trained model of other here yet" in call("models", "list", "--playbook", "other").stdout


def test_a_damaged_model_is_an_error_about_data(call: Call, quick: QuickRun, home: Path) -> None:
    own = told(call("train", quick.playbook, "--json"))["models"]["ridge"]["artefact"]
    card = home / "models" / own / CARD
    card.write_text(card.read_text()[:-100])
    error = told(call("models", "forecast", "champion", "--json"), 3)["error"]
    assert "tradewind train" in error["hint"]

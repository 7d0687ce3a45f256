"""`tradewind risk`, as a program and as a reader sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from spine_kit import QuickRun
from tradewind.cli import risk as verb

app = typer.Typer()
verb.add_to(app)
app.callback()(lambda: None)


def call(home: Path, monkeypatch: pytest.MonkeyPatch, *words: object, code: int = 0) -> str:
    monkeypatch.setenv("TRADEWIND_HOME", str(home))
    result = CliRunner().invoke(app, ["risk", *(str(w) for w in words)], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


def test_a_program_gets_one_object(home: Path, quick: QuickRun, monkeypatch: pytest.MonkeyPatch) -> None:
    found = json.loads(call(home, monkeypatch, quick.playbook, "--json"))
    assert list(found["symbols"]) == ["AAA", "BBB", "CCC", "DDD"] and found["horizon_sessions"] == 5
    assert found["markets"]["spy"]["series"] is None and "no index" in found["markets"]["spy"]["reason"]
    assert not found["markets"]["qqq"]["available"] and "nasdaq" in found["markets"]["qqq"]["reason"]
    for row in found["symbols"].values():
        assert row["volatility"]["asked"] == "garch" and 0.05 < row["volatility"]["horizon"] < 1
        assert row["features"]["correlation_qqq"] is None and "QQQ: unknown" in row["reason"]
        assert len(row["features"]) == 8
    assert found["volatility_models"]["used"] and sum(found["volatility_models"]["used"].values()) == 4
    assert len(found["correlations"]["pairs"]) == 6 and found["book"]["diversification_benefit"] > 0


def test_a_reader_gets_tables(home: Path, quick: QuickRun, monkeypatch: pytest.MonkeyPatch) -> None:
    text = call(home, monkeypatch, quick.playbook)
    for words in ("Risk of each name", "SPY corr.", "Most correlated pairs", "held alike", "earlier measurements"):
        assert words in text
    assert "there is no index" in text and "data.context has no 'nasdaq'" in text.replace("\n", " ")


def test_some_names_by_the_best_model(home: Path, quick: QuickRun, monkeypatch: pytest.MonkeyPatch) -> None:
    words = (quick.playbook, "--symbols", "DDD,BBB", "--kind", "best", "--as-of", "2015-06-30", "--json")
    found = json.loads(call(home, monkeypatch, *words))
    assert list(found["symbols"]) == ["DDD", "BBB"] and found["as_of"].startswith("2015-06-30")
    assert {row["volatility"]["used"] for row in found["symbols"].values()} <= {"garch", "gjr", "egarch"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--symbols", "AAB"), "did you mean AAA"),
        (("--kind", "garhc"), "did you mean 'garch'"),
        (("--set", "data.timeframe=1w"), "counts in sessions"),
        (("--timeframe", "days"), "no timeframes"),
    ],
)
def test_what_cannot_be_is_refused(
    home: Path, quick: QuickRun, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    error = json.loads(call(home, monkeypatch, quick.playbook, *words, "--json", code=2))["error"]
    assert said in f"{error['what']} {error['hint']}"

"""What is typical of a sector and of a price, as a program and as a reader sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spine_kit import QuickRun
from tradewind.cli.main import app


def test_the_baselines_are_listed() -> None:
    rows = json.loads(CliRunner().invoke(app, ["sectors", "list", "--json"]).stdout)["sectors"]
    technology = next(row for row in rows if row["sector"] == "Information Technology")
    assert (len(rows), technology["daily_volatility_pct"], technology["beta"]) == (12, 2.5, 1.3)


def test_the_tiers_are_listed() -> None:
    result = CliRunner().invoke(app, ["tiers", "list"])
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == ["penny", "low", "mid", "high", "mega"]
    rows = json.loads(CliRunner().invoke(app, ["tiers", "list", "--json"]).stdout)["tiers"]
    assert [row["position_limit_pct"] for row in rows] == [5, 8, 10, 12, 15]


def test_a_fit_says_what_it_rests_on(home: Path, quick: QuickRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWIND_HOME", str(home))
    result = CliRunner().invoke(app, ["sectors", "fit", str(quick.playbook), "--json"], catch_exceptions=False)
    found = {row["sector"]: row for row in json.loads(result.stdout)["sectors"]}
    assert result.exit_code == 0
    assert found["unknown"]["symbols"] == 4 and "beta" in found["unknown"]["estimated"]
    assert found["Energy"]["symbols"] == 0 and found["Energy"]["estimated"] == []

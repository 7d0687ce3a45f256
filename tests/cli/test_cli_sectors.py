"""What is typical of a sector and of a price, as a program and as a reader sees it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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


def call(home: Path, monkeypatch: pytest.MonkeyPatch, *words: object) -> str:
    monkeypatch.setenv("TRADEWIND_HOME", str(home))
    result = CliRunner().invoke(app, [str(w) for w in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def rows(text: str, sector: str = "unknown") -> list[dict[str, Any]]:
    return [row for row in json.loads(text)["sectors"] if row["sector"] == sector]


def test_a_fit_is_kept_and_shown_beside_the_prior(home: Path, quick: QuickRun, monkeypatch: pytest.MonkeyPatch) -> None:
    before = rows(call(home, monkeypatch, "sectors", "show", quick.playbook, "--json"))
    assert [row["basis"] for row in before] == ["prior"]
    (fitted,) = rows(call(home, monkeypatch, "sectors", "fit", quick.playbook, "--json"))
    prior, kept = rows(call(home, monkeypatch, "sectors", "show", quick.playbook, "--json"))
    assert (prior["beta"], kept["beta"]) == (1.0, fitted["beta"])
    assert kept["basis"] == "fitted on 4 symbols up to 2015-09-01"
    assert (kept["share_of_bars"], kept["news_per_week"]) == (1.0, None)
    text = call(home, monkeypatch, "sectors", "show", quick.playbook)
    assert "fitted on 4 symbols" in text and "prior" in text


def test_a_fit_counts_from_the_last_bar_that_it_rests_on(
    home: Path, quick: QuickRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(home, monkeypatch, "sectors", "fit", quick.playbook, "--as-of", "2015-03-31")
    call(home, monkeypatch, "sectors", "fit", quick.playbook)
    asked = [
        rows(call(home, monkeypatch, "sectors", "show", quick.playbook, "--as-of", day, "--json"))[-1]["basis"]
        for day in ("2015-03-30", "2015-03-31", "2015-08-31", "2015-09-01")
    ]
    early, late = (f"fitted on 4 symbols up to {day}" for day in ("2015-03-31", "2015-09-01"))
    assert asked == ["prior", early, early, late]


def test_a_recommendation_is_explained_beside_its_sector(
    home: Path, quick: QuickRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("explain", "CCC", "--playbook", quick.playbook, "--json")
    first = json.loads(call(home, monkeypatch, *words))["sector"]
    assert (first["basis"], first["daily_volatility_pct"]["typical"]) == ("prior", 2.0)
    call(home, monkeypatch, "sectors", "fit", quick.playbook)
    then = json.loads(call(home, monkeypatch, *words))["sector"]
    own, typical, ratio = (then["daily_volatility_pct"][key] for key in ("symbol", "typical", "ratio"))
    assert then["basis"].startswith("fitted on 4 symbols")
    assert own == first["daily_volatility_pct"]["symbol"]
    assert ratio == pytest.approx(own / typical)
    assert then["daily_volume_shares"]["symbol"] > 1e6

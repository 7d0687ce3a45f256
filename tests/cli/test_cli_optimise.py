"""`tradewind optimise` through the command line: one object, and a page that needs nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spine_kit import QuickRun
from tradewind.cli.main import app


def test_the_frontier_is_drawn_into_a_page_of_its_own(
    quick: QuickRun, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWIND_HOME", str(home))
    page = tmp_path / "drawn" / "book.html"
    found = CliRunner().invoke(app, ["optimise", str(quick.playbook), "--html", str(page), "--json"])
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)
    text = page.read_text("utf-8")
    assert "Efficient frontier" in text
    assert all(symbol in text for symbol in told["weights"])
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert len(told["frontier"]) > 1


def test_an_objective_that_is_not_there_is_named_with_the_nearest(
    quick: QuickRun, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWIND_HOME", str(home))
    found = CliRunner().invoke(app, ["optimise", str(quick.playbook), "--objective", "max_sharp"])
    assert found.exit_code == 2
    assert "max_sharpe" in found.output

"""`tradewind broker`: looked at through the command line, against Alpaca's stand-in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("alpaca", reason="tradewind[alpaca] is not installed")

from broker_markets import AlpacaMarket
from standin_alpaca import ENVIRON, KEY, SECRET
from typer.testing import CliRunner

from tradewind.cli.main import app


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    market = AlpacaMarket()
    monkeypatch.setenv("TRADEWIND_HOME", str(tmp_path))
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    url = ["--set", "broker.name=alpaca", "--set", f"broker.url={market.standin.url}"]

    def ask(*words: str, broker: bool = True) -> Any:
        return CliRunner().invoke(app, ["broker", *words, *(url if broker else [])])

    yield ask
    market.close()


def test_what_is_not_ready_is_named_and_ends_with_the_code_of_a_safety_stop(asked: Any) -> None:
    found = asked("check", "ai-semis", "--json")
    told = json.loads(found.stdout)
    assert found.exit_code == 4
    checks = {check["name"]: check for check in told["checks"]}
    assert (told["broker"], told["live"], told["ready"]) == ("alpaca", False, False)
    assert checks["halt"]["passed"]
    assert checks["drawdown_max"]["passed"]
    assert any(not check["passed"] and check["required"] for check in told["checks"])
    assert KEY not in found.output and SECRET not in found.output


def test_a_playbook_without_limits_on_losses_is_not_ready(asked: Any) -> None:
    told = json.loads(asked("check", "sample", "--json").stdout)
    failed = {check["name"] for check in told["checks"] if check["required"] and not check["passed"]}
    assert {"drawdown_max", "daily_loss_max"} <= failed


def test_paper_needs_no_broker_and_real_money_needs_more_than_a_flag(asked: Any) -> None:
    alone = asked("check", "sample", broker=False)
    assert alone.exit_code == 2
    assert "needs no broker" in alone.output
    live = asked("check", "ai-semis", "--live")
    assert live.exit_code in (2, 4)
    assert KEY not in live.output

"""`paper`, `halt` and `release` as a program sees them: one object, an exit code, and an account that lives on."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import Result
from typer.testing import CliRunner

from spine_kit import PLAYBOOK, prices, sessions, system
from tradewind.cli.main import app
from tradewind.execution.paper import PaperAccount

BARS = 420
DAYS = sessions(BARS)
SINCE, PAUSE, LATER, END = DAYS[260], DAYS[300], DAYS[340], DAYS[-1]
HERE = Path(__file__).parent

Home = Callable[..., Result]


class Market:
    """A folder with prices that grow and a playbook that trades them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.whole = folder, prices(BARS)
        self.playbook = system(folder, self.whole, PLAYBOOK.replace("position_max = 0.2", "position_max = 0.3"))

    def until(self, day: str) -> None:
        """Let the file end with a day: what a source looks like that evening."""
        self.whole.filter(pl.col("date") <= day).write_csv(self.folder / "prices.csv")


@pytest.fixture
def market(tmp_path: Path) -> Market:
    return Market(tmp_path / "market")


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Run a verb in-process, in a home of its own unless told which."""

    def invoke(*words: object, home: str = "home") -> Result:
        monkeypatch.setenv("TRADEWIND_HOME", str(tmp_path / home))
        return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)

    return invoke


def one(result: Result, code: int = 0) -> dict[str, Any]:
    """Return the one object on stdout."""
    assert result.exit_code == code, result.output
    assert result.stdout.count("\n") == 1
    return dict(json.loads(result.stdout, parse_constant=lambda text: pytest.fail(f"{text} is no JSON")))


# -- replays ---------------------------------------------------------------------------------------------------------


def test_a_replay_trades_the_days_of_the_back_test_to_the_same_ledger(market: Market, call: Home) -> None:
    days = ("--from", SINCE, "--to", LATER, "--json")
    tested = one(call("backtest", market.playbook, *days, "--no-report"))
    found = one(call("paper", market.playbook, "--replay", *days))
    assert found["ledger_hash"] == found["backtest_ledger_hash"] == tested["ledger_hash"]
    assert found["equal"] is True and found["fills"] > 5
    assert (found["from"][:10], found["to"][:10], found["bars"]) == (SINCE, LATER, 81)
    assert found["mode"] == "paper" and found["journal_balances"] is True
    again = one(call("paper", market.playbook, "--replay", *days))
    assert again["ledger_hash"] == found["ledger_hash"] and again["account"] != found["account"]


def test_a_replay_of_other_days_is_another_ledger(market: Market, call: Home) -> None:
    hashes = {
        one(call("paper", market.playbook, "--replay", "--from", day, "--json"))["ledger_hash"]
        for day in (SINCE, PAUSE, LATER)
    }
    assert len(hashes) == 3


def test_a_result_of_an_account_that_nobody_opened_is_a_bug_of_ours(
    market: Market, call: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PaperAccount, "open", lambda self, bars, start: start)
    monkeypatch.setattr(PaperAccount, "live_through", lambda self, *rest: None)
    error = one(call("paper", market.playbook, "--from", SINCE, "--json"), code=1)["error"]
    assert "paper:quick was never opened" in error["what"] and error["hint"] == "please report this"


def test_nobody_halts_a_replay(market: Market, call: Home) -> None:
    free = one(call("paper", market.playbook, "--replay", "--from", SINCE, "--json"))
    one(call("halt", "--json"))
    halted = one(call("paper", market.playbook, "--replay", "--from", SINCE, "--json"))
    assert halted["ledger_hash"] == free["ledger_hash"] and halted["equal"]


def test_a_replay_is_told_to_people_too(market: Market, call: Home) -> None:
    said = call("paper", market.playbook, "--replay", "--from", SINCE)
    assert said.exit_code == 0
    assert "the same ledger as the back-test" in said.stdout
    assert not re.search(r"np\.|\bnan\b", said.stdout)


# -- an account that lives on ----------------------------------------------------------------------------------------


def test_an_account_goes_on_with_the_bars_that_arrive_and_equals_one_that_saw_them_at_once(
    market: Market, call: Home
) -> None:
    parts = []
    for day in (PAUSE, LATER, LATER, END):
        market.until(day)
        parts.append(one(call("paper", market.playbook, "--from", SINCE, "--json")))
    at_once = one(call("paper", market.playbook, "--from", SINCE, "--json", home="other"))
    assert [part["bars"] for part in parts] == [41, 40, 0, 79]
    assert at_once["bars"] == 160 and at_once["fills"] > 10
    same = ("ledger_hash", "equity", "cash", "positions", "orders", "waiting", "fills")
    assert [parts[-1][name] for name in same] == [at_once[name] for name in same]
    assert parts[2]["ledger_hash"] == parts[1]["ledger_hash"] != parts[0]["ledger_hash"]
    tested = one(call("backtest", market.playbook, "--from", SINCE, "--no-report", "--json", home="other"))
    assert tested["ledger_hash"] == at_once["ledger_hash"]


def test_an_account_that_is_killed_goes_on_as_if_nothing_had_happened(
    market: Market, call: Home, tmp_path: Path
) -> None:
    market.until(PAUSE)
    whole = one(call("paper", market.playbook, "--from", SINCE, "--json"))
    shutil.copytree(tmp_path / "home", tmp_path / "killed")
    (tmp_path / "killed" / "records.sqlite").unlink()
    words = ["paper", str(market.playbook), "--from", SINCE, "--json"]
    driver = [sys.executable, str(HERE / "paper_verb_and_die.py"), "17", *words]
    environment = {**os.environ, "TRADEWIND_HOME": str(tmp_path / "killed")}
    died = subprocess.run(driver, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert died.returncode == -signal.SIGKILL and not died.stdout
    went_on = one(call(*words, home="killed"))
    assert went_on["bars"] == whole["bars"] - 15, "the opening and fifteen bars were stored before the kill"
    assert went_on["ledger_hash"] == whole["ledger_hash"]
    market.until(LATER)
    assert one(call(*words, home="killed"))["ledger_hash"] == one(call(*words))["ledger_hash"]


def test_a_new_account_begins_now_and_says_so_where_there_is_no_bar_yet(market: Market, call: Home) -> None:
    refused = call("paper", market.playbook)
    assert refused.exit_code == 2
    assert "there is no bar to trade from 20" in refused.stderr and f"the last one is of {END}" in refused.stderr
    assert "tradewind sync" in refused.stderr


def test_a_changed_playbook_needs_an_account_of_its_own(market: Market, call: Home) -> None:
    words = ("paper", market.playbook, "--from", SINCE, "--json")
    one(call(*words))
    fewer = ("--set", 'universe.symbols=["AAA", "BBB", "CCC"]')
    refused = one(call(*words, *fewer), code=3)
    assert "DDD" in refused["error"]["what"] and "--account" in refused["error"]["hint"]
    assert one(call(*words, *fewer, "--account", "smaller"))["account"] == "paper:smaller"


# -- the kill switch -------------------------------------------------------------------------------------------------


def test_halt_and_release_say_the_state_in_one_object(call: Home) -> None:
    halted = one(call("halt", "--reason", "the news is bad", "--json"))
    assert halted["halted"] is True and halted["reasons"] == ["the news is bad"] and halted["since"] and halted["by"]
    again = one(call("halt", "--reason", "still bad", "--json"))
    assert again["reasons"] == ["the news is bad", "still bad"] and again["since"] == halted["since"]
    assert one(call("release", "--reason", "looked at it", "--json")) == {
        "halted": False, "since": None, "reasons": [], "by": "", "stopped_by_drift": [],
    }  # fmt: skip
    refused = one(call("release", "--json"), code=2)
    assert refused["error"]["what"] == "trading is not halted"


def test_a_switch_without_a_reason_is_refused(call: Home) -> None:
    assert one(call("halt", "--reason", " ", "--json"), code=2)["error"]["hint"]
    assert call("release").exit_code == 2, "nothing was halted"


def test_a_halted_account_opens_nothing_until_the_release(market: Market, call: Home) -> None:
    words = ("paper", market.playbook, "--from", SINCE, "--json")
    market.until(PAUSE)
    before = one(call(*words))
    assert before["halted"] is None
    one(call("halt", "--json"))
    market.until(LATER)
    stopped = one(call(*words), code=4)
    assert stopped["halted"] == "kill switch" and stopped["bars"] == 40
    held = {row["symbol"]: row["shares"] for row in before["positions"]}
    assert all(0 < row["shares"] <= held[row["symbol"]] for row in stopped["positions"]), "exits go on, entries do not"
    assert not [order for order in stopped["waiting"] if order["side"] == "buy"]
    people = call("paper", market.playbook)
    assert people.exit_code == 4 and "tradewind release" in people.stdout
    one(call("release", "--json"))
    market.until(END)
    on = one(call(*words))
    assert on["halted"] is None and on["fills"] > stopped["fills"]


def test_a_limit_that_halts_the_account_is_an_exit_code_and_lasts_until_a_release(market: Market, call: Home) -> None:
    words = ("paper", market.playbook, "--from", SINCE, "--set", "limits.drawdown_max=0.005", "--json")
    market.until(LATER)
    stopped = one(call(*words), code=4)
    assert stopped["halted"] == "drawdown_max" and stopped["limits"]["drawdown_max"] == 1
    market.until(END)
    still = one(call(*words), code=4)
    assert still["bars"] == 79 and still["fills"] <= stopped["fills"] + len(stopped["positions"])
    assert not still["positions"] or still["positions"] == stopped["positions"]
    assert one(call("release", "--json"))["halted"] is False

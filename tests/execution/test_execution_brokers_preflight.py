"""Before real money: two locks, and a list of everything that has to be true."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("alpaca", reason="tradewind[alpaca] is not installed")

from broker_markets import AlpacaMarket, SchwabMarket
from execution_broker import START_CENTS
from pydantic import ValidationError
from standin_alpaca import ENVIRON
from standin_exchange import NOON

from tradewind.clock import FixedClock
from tradewind.errors import InputError, SafetyStop
from tradewind.execution.brokers.base import BROKERS, Movement, OrderRequest
from tradewind.execution.brokers.preflight import Check, open_broker, preflight, require_live, require_ready
from tradewind.execution.brokers.settings import BrokerSection
from tradewind.execution.controls import Controls
from tradewind.execution.journal import Journal
from tradewind.market.store.records import Records
from tradewind.portfolio.settings import LimitsSection

LIMITS = LimitsSection(drawdown_max=0.15, daily_loss_max=0.04)  # type: ignore[call-arg]
CLOCK = FixedClock(NOON)


@pytest.fixture
def market() -> Iterator[AlpacaMarket]:
    made = AlpacaMarket()
    yield made
    made.close()


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    made = Records(f"sqlite:///{tmp_path}/records.db")
    Journal(made, "alpaca:one", clock=CLOCK).movement(
        Movement("opening:cash", "opening", NOON - timedelta(days=1), cash=START_CENTS / 100)
    )
    paper = Journal(made, "paper:one", clock=CLOCK)
    for day in range(25):
        paper.mark(NOON - timedelta(days=day), 1.0, 1.0)
    yield made
    made.close()


def look(market: AlpacaMarket, records: Records, **more: Any) -> dict[str, Check]:
    journal, paper = (Journal(records, name, clock=CLOCK) for name in ("alpaca:one", "paper:one"))
    given = {"limits": LIMITS, "paper": paper, **more}
    broker = given.pop("broker", None) or market.start()
    controls = Controls(records, clock=CLOCK)
    return {c.name: c for c in preflight(broker, journal, controls, given.pop("limits"), clock=CLOCK, **given)}


def test_all_is_well_and_each_thing_says_what_it_saw(market: AlpacaMarket, records: Records) -> None:
    checks = look(market, records, capital=10_000.0)
    assert [name for name, check in checks.items() if not check.passed] == []
    assert list(checks) == [
        "halt", "drawdown_max", "daily_loss_max", "paper record", "credentials", "account", "buying power",
        "market hours", "clock", "positions",
    ]  # fmt: skip
    assert "25 days were traded on paper" in checks["paper record"].said
    require_ready(list(checks.values()))


def failed(checks: dict[str, Check]) -> set[str]:
    return {name for name, check in checks.items() if not check.passed}


def test_a_halt_in_force_and_missing_limits_are_no_start(market: AlpacaMarket, records: Records) -> None:
    Controls(records, clock=CLOCK).halt("a person wanted it", "test")
    checks = look(market, records, limits=LimitsSection())  # type: ignore[call-arg]
    assert failed(checks) == {"halt", "drawdown_max", "daily_loss_max"}
    with pytest.raises(SafetyStop, match=r"halt: a person wanted it; drawdown_max: limits.drawdown_max is not set"):
        require_ready(list(checks.values()))


def test_a_blocked_account_is_no_start_and_one_that_may_not_short_is_said(
    market: AlpacaMarket, records: Records
) -> None:
    market.standin.account_words = {"trading_blocked": True, "shorting_enabled": False}
    checks = look(market, records)
    assert failed(checks) == {"account", "short sales"}
    assert not checks["short sales"].required


def test_less_money_than_the_plan_is_sized_for_is_no_start(market: AlpacaMarket, records: Records) -> None:
    assert failed(look(market, records, capital=20_000.0)) == {"buying power"}


def test_a_short_paper_record_is_said_and_does_not_forbid(market: AlpacaMarket, records: Records) -> None:
    checks = look(market, records, paper=None)
    assert failed(checks) == {"paper record"}
    assert "0 days were traded on paper, 20 are wanted" in checks["paper record"].said
    require_ready(list(checks.values()))


def test_clocks_and_positions_are_compared_and_nothing_is_booked(market: AlpacaMarket, records: Records) -> None:
    market.exchange.shares["DDD"] = 7.0
    market.exchange.skew = timedelta(seconds=10)
    checks = look(market, records)
    assert failed(checks) == {"clock", "positions"}
    assert "+10.0 s" in checks["clock"].said
    assert "DDD: the broker holds 7, our books 0" in checks["positions"].said
    assert not Controls(records).state().halted, "looking halts nothing"


def test_fills_that_came_meanwhile_are_named_and_left_for_the_reconciliation(
    market: AlpacaMarket, records: Records
) -> None:
    journal, request = Journal(records, "alpaca:one", clock=CLOCK), OrderRequest("tw-0", "AAA", "buy", 10.0)
    journal.intend([request])
    journal.sent("tw-0")
    market.start().submit(request)
    market.fill(request)
    checks = look(market, records)
    assert checks["positions"].passed
    assert "3 differences that they explain" in checks["positions"].said
    assert journal.executions() == []


def test_wrong_keys_end_the_list_early(market: AlpacaMarket, records: Records) -> None:
    wrong = {**ENVIRON, "APCA_API_KEY_ID": "WRONG"}
    broker = open_broker("alpaca", market.settings("alpaca"), environ=wrong, sleep=lambda seconds: None)
    checks = look(market, records, broker=broker)
    assert failed(checks) == {"credentials"}
    assert "positions" not in checks
    broker.close()


def test_at_schwab_the_end_of_the_login_is_told(tmp_path: Path, records: Records) -> None:
    pytest.importorskip("schwabdev", reason="tradewind[schwab] is not installed")
    market = SchwabMarket(tmp_path)
    try:
        checks = look(market, records)  # type: ignore[arg-type]
        assert checks["login"].passed
        assert failed(checks) == {"market hours"}, "before the open"
    finally:
        market.close()


def test_a_broker_that_falls_silent_is_told_and_not_a_crash(market: AlpacaMarket, records: Records) -> None:
    market.standin.fail(503, "GET", "activities", times=99)
    assert failed(look(market, records)) == {"positions"}


# -- two locks -----------------------------------------------------------------------------------------------


def test_real_money_needs_the_flag_and_the_phrase_of_this_account() -> None:
    require_live(True, " live 6767 ", "88516767")
    with pytest.raises(InputError, match="real money was not asked for"):
        require_live(False, "live 6767", "88516767")
    with pytest.raises(InputError, match="typed confirmation"):
        require_live(True, "  ", "88516767")
    for typed in ("6767", "live 6768", "LIVE 6767", "live 88516767"):
        with pytest.raises(SafetyStop, match="is not the phrase of the account that is connected"):
            require_live(True, typed, "88516767")


def test_a_broker_opens_on_paper_unless_both_locks_are_open(market: AlpacaMarket) -> None:
    settings = market.settings("alpaca")
    broker = open_broker("alpaca", settings, environ=ENVIRON)
    assert not broker.live
    live = open_broker("alpaca", settings, live=True, confirmation="live IN67", environ=ENVIRON)
    assert live.live
    with pytest.raises(InputError, match="without --live"):
        open_broker("alpaca", settings, confirmation="live IN67", environ=ENVIRON)
    with pytest.raises(InputError, match="typed confirmation"):
        open_broker("alpaca", settings, live=True, environ=ENVIRON)
    with pytest.raises(SafetyStop, match="not the phrase"):
        open_broker("alpaca", settings, live=True, confirmation="live 0000", environ=ENVIRON)
    for opened in (broker, live):
        opened.close()


def test_paper_needs_no_connection_and_knows_no_real_money() -> None:
    with pytest.raises(InputError, match="no connection"):
        open_broker("paper")
    with pytest.raises(InputError, match="no real money"):
        open_broker("paper", live=True, confirmation="live 0000")
    with pytest.raises(InputError, match="alpaca"):
        open_broker("alpacca")
    assert {"alpaca", "schwab"} <= set(BROKERS.names())


def test_no_setting_can_ask_for_real_money() -> None:
    assert BrokerSection().name == "paper"
    assert not [name for name in BrokerSection.model_fields if "live" in name or "key" in name or "secret" in name]
    with pytest.raises(ValidationError, match="live"):
        BrokerSection.model_validate({"live": True})

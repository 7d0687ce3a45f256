"""The compliance checklist: what breaks a limit is seen, whoever let it pass, and what leaves no trail too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import spine_kit
from spine_kit import QuickRun
from tradewind.decisions.coordinator import Coordinator
from tradewind.decisions.settings import CoordinatorSection
from tradewind.evaluation.account import Clock
from tradewind.evaluation.compliance import compliance, failed, undecided, weights_at
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.report.sections.book_risk import checklist
from tradewind.execution import kernel as k
from tradewind.execution.desk import Desk
from tradewind.execution.desk_bars import Bars
from tradewind.execution.plan import TradePlan
from tradewind.execution.records import Records
from tradewind.execution.settings import AccountSection, ExecutionSection
from tradewind.execution.trading import Trading, trade
from tradewind.portfolio.limits import Alert, Gate
from tradewind.portfolio.settings import LimitsSection
from tradewind.risk.monitor import Monitor
from tradewind.risk.settings import RiskSection

SECTORS = ("Energy", "Energy", "Utilities", "Utilities")
FREE: dict[str, Any] = {"position_max": 1.0, "gross_max": 4.0}


def life(
    quick: QuickRun, close: np.ndarray, weights: list[float], judged: dict[str, Any], kept: dict[str, Any] = FREE
) -> tuple[Plan, Trading, Clock]:
    """Buy and hold weights in an account that keeps some limits, to be judged by others."""
    panel = replace(spine_kit.panel(close, SECTORS[: close.shape[1]]), context={"index": 1000 * close.mean(axis=1)})
    count = np.arange(close.shape[1], dtype=np.int64)
    zero = np.zeros(len(count), dtype=np.int64)
    clock = Clock(panel, (), count, zero, count, panel.symbols)
    sectors = sorted(set(panel.sectors))
    sector_of = np.array([sectors.index(one) for one in panel.sectors], dtype=np.int64)
    rules, risk = LimitsSection.model_validate({**FREE, **kept}), RiskSection(warm_up_sessions=5)
    gate = Gate(rules, risk, count, sector_of)
    monitor = Monitor(risk, rules.liquidity_sessions, len(count), measures=gate.needs_risk)
    account = AccountSection(start_capital=100_000.0)
    execution = ExecutionSection.free(short_allowed=True, margin_leverage_max=4.0)
    alone = Coordinator(CoordinatorSection(), ("",), np.ones(1), zero, count)
    desk = Desk(
        panel.symbols, panel.symbols, gate, alone, monitor, execution, account, np.ones(len(count), dtype=np.bool_)
    )
    wish = np.full(close.shape, np.nan)
    wish[10] = weights
    trading = trade(desk, panel, Bars.of(panel, count), TradePlan(wish), 10)
    limits = LimitsSection.model_validate({**FREE, **kept, **judged})
    return replace(quick.workspace.plan, limits=limits, risk=risk), trading, clock


def moving(sessions: int = 60, names: int = 4, seed: int = 4) -> np.ndarray:
    return 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, (sessions, names)), axis=0))


def test_a_run_that_kept_its_limits_passes(quick: QuickRun) -> None:
    found = quick.record.result["compliance"]
    assert found["passed"] and not failed(found)
    assert found["checks"]["position_max"]["worst"] <= 0.2 * 1.1 and found["audit_trail"]["fills"] > 10
    assert found["checks"]["top_3_share"]["passed"] is None
    assert set(found["checks"]) == {"position_max", "gross_max", "top_3_share"}, "only limits that are set"


@pytest.mark.parametrize(
    ("judged", "value"),
    [
        ({"position_max": 0.3}, lambda w: np.abs(w).max(axis=1)),
        ({"sector_max": 0.5}, lambda w: np.maximum(np.abs(w[:, :2]).sum(axis=1), np.abs(w[:, 2:]).sum(axis=1))),
        ({"gross_max": 0.8}, lambda w: np.abs(w).sum(axis=1)),
        ({"net_max": 0.2}, lambda w: np.abs(w.sum(axis=1))),
    ],
)
def test_a_limit_that_nobody_kept_is_seen_at_every_session(quick: QuickRun, judged: dict[str, float], value) -> None:
    plan, trading, clock = life(quick, moving(), [0.5, 0.3, -0.2, 0.1], judged)
    (name, limit), weights = *judged.items(), weights_at(trading, clock)
    found = compliance(plan, trading, clock)
    row, told = found["checks"][name], value(weights)
    assert row["sessions_in_breach"] == (told > limit * 1.1).sum() > 40
    assert row["worst"] == pytest.approx(told.max()) and row["passed"] is False and row["unanswered"] > 0
    first = clock.panel.times[trading.session_rows[np.argmax(told > limit * 1.1)]]
    assert row["first_breach"].startswith(str(first)[:19])
    assert failed(found) == [name, "audit_trail"] and not found["passed"]


def test_weights_are_shares_times_price_over_equity(quick: QuickRun) -> None:
    _, trading, clock = life(quick, moving(), [0.5, 0.3, -0.2, 0.1], {})
    simulation, rows = trading.simulation, trading.session_rows
    plain = simulation.shares[rows] * clock.panel.close[rows] / simulation.equity[rows][:, None]
    np.testing.assert_allclose(weights_at(trading, clock), plain)


def test_what_prices_carried_too_far_is_a_breach_that_was_answered(quick: QuickRun) -> None:
    close = np.full((40, 2), 100.0)
    close[20:, 0] = 150.0
    plan, trading, clock = life(quick, close, [0.4, 0.1], {}, {"position_max": 0.4})
    found = compliance(plan, trading, clock)
    row = found["checks"]["position_max"]
    assert (row["passed"], row["sessions_in_breach"], row["unanswered"], row["who"]) == (False, 1, 0, "S0")
    assert found["audit_trail"]["passed"], "the desk told of it and cut it"
    silent = replace(trading, alerts=(), bound=np.zeros_like(trading.bound))
    assert compliance(plan, silent, clock)["checks"]["position_max"]["unanswered"] == 1


def test_losses_are_seen_and_a_book_that_was_closed_breaks_nothing_more(quick: QuickRun) -> None:
    close = np.full((40, 2), 100.0)
    close[20:, 0] = 60.0
    kept = {"drawdown_max": 0.1, "daily_loss_max": 0.05}
    plan, trading, clock = life(quick, close, [0.5, 0.1], {}, kept)
    found = compliance(plan, trading, clock)["checks"]
    assert found["drawdown_max"]["worst"] == pytest.approx(0.2) == pytest.approx(found["daily_loss_max"]["worst"])
    assert [found[name]["sessions_in_breach"] for name in kept] == [1, 1]
    assert found["drawdown_max"]["unanswered"] == 0
    plan, trading, clock = life(quick, close, [0.5, 0.1], kept)
    found = compliance(plan, trading, clock)["checks"]
    assert found["drawdown_max"]["sessions_in_breach"] == found["drawdown_max"]["unanswered"] == 20
    assert found["daily_loss_max"]["sessions_in_breach"] == found["daily_loss_max"]["unanswered"] == 1


def test_risk_and_liquidity_are_what_was_known_at_each_close(quick: QuickRun) -> None:
    close = moving(120)
    judged = {"beta_max": 0.05, "var_max": 0.001, "liquidity_max": 1e-5}
    plan, trading, clock = life(quick, close, [0.5, 0.3, -0.2, 0.1], judged)
    found = compliance(plan, trading, clock)["checks"]
    assert all(found[name]["sessions_in_breach"] > 30 for name in judged)
    held = np.abs(trading.simulation.shares[-1] * close[-1])
    volume = (close * 1e6)[-20:].mean(axis=0)
    assert (held / volume).max() <= found["liquidity_max"]["worst"] < 1.5 * (held / volume).max()
    early = replace(clock, panel=clock.panel.head(80))
    until = trading.session_rows < 80
    short = replace(trading, session_rows=trading.session_rows[until])
    wild = close.copy()
    wild[80:] *= np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.2, wild[80:].shape), axis=0))
    other = replace(clock, panel=replace(clock.panel, fields={**clock.panel.fields, "close": wild}))
    known, same = (compliance(plan, short, one)["checks"] for one in (early, other))
    assert known["beta_max"] == same["beta_max"] and known["liquidity_max"]["worst"] == same["liquidity_max"]["worst"]


def test_a_fill_without_a_decision_before_it_is_found(quick: QuickRun) -> None:
    trading = quick.record.tradings["base"]
    assert not len(undecided(trading))
    rows = np.flatnonzero(trading.simulation.records.log[:, k.L_TYPE] == k.FILL)
    first = trading.simulation.records.log[rows[0]]
    forgotten = trading.decided_rows != first[k.F_DECIDED]
    torn = replace(trading, decided_rows=trading.decided_rows[forgotten], sent=trading.sent[forgotten])
    assert undecided(torn)[0].tolist() == [first[k.L_ROW], first[k.L_COLUMN]]


def test_a_bracket_that_opens_something_is_found(quick: QuickRun) -> None:
    trading = quick.record.tradings["base"]
    log = trading.simulation.records.log.copy()
    fills = np.flatnonzero(log[:, k.L_TYPE] == k.FILL)
    before = [log[fills[:n]][log[fills[:n], k.L_COLUMN] == log[fills[n], k.L_COLUMN]] for n in range(len(fills))]
    held = np.array([moves[:, k.F_QUANTITY].sum() for moves in before]).round(6)
    log[fills, k.F_REASON] = k.BY_STOP
    forged = replace(trading, simulation=replace(trading.simulation, records=Records(log)))
    opening = held * log[fills, k.F_QUANTITY] >= 0
    assert undecided(forged).tolist() == log[fills[opening]][:, [k.L_ROW, k.L_COLUMN]].tolist() != []


def test_an_account_that_never_traded_has_nothing_to_answer_for(quick: QuickRun) -> None:
    plan, trading, clock = life(quick, moving(20), [np.nan] * 4, {"sector_max": 0.1, "var_max": 0.01})
    found = compliance(plan, trading, clock)
    assert found["passed"] and found["audit_trail"]["fills"] == 0
    assert all(row["worst"] == 0 for row in found["checks"].values())


def test_an_alert_of_something_else_is_no_answer(quick: QuickRun) -> None:
    plan, trading, clock = life(quick, moving(), [0.5, 0.3, -0.2, 0.1], {"gross_max": 0.8})
    row = int(trading.session_rows[5])
    for kind, answers in (("net_max", 0), ("gross_max", 1)):
        told = replace(trading, alerts=(Alert(row, "warning", kind, "said"),))
        check = compliance(plan, told, clock)["checks"]["gross_max"]
        assert check["sessions_in_breach"] - check["unanswered"] == answers


def test_the_report_shows_the_checklist(quick: QuickRun) -> None:
    plan, trading, clock = life(quick, moving(), [0.5, 0.3, -0.2, 0.1], {"sector_max": 0.5})
    text = "".join(ElementTree.fromstring(f"<all>{checklist(compliance(plan, trading, clock))}</all>").itertext())
    for words in ("Compliance checklist", "sector max", "Energy", "✗", "top 3 share", "Audit trail ✗"):
        assert words in text

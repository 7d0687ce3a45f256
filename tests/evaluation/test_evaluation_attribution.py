"""Every split of the profit adds up to the cent, in each session too, and the factors are what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import spine_kit
from spine_kit import QuickRun
from tradewind.evaluation.account import Clock
from tradewind.evaluation.attribution import (
    FACTORS,
    column_profit,
    factor_parts,
    known_before,
    session_profit,
    session_rows,
    value_at_start,
)
from tradewind.execution import kernel as k
from tradewind.execution.trading import Trading
from tradewind.market.panel import Panel
from tradewind.risk.settings import RiskSection

SPLITS = ("by_timeframe", "by_model", "by_sector", "by_symbol", "by_cost", "by_factor")


def laid(run: QuickRun) -> tuple[Clock, Trading]:
    return Clock.of([one.wanted for one in run.record.walked.sleeves]), run.record.tradings["base"]


def cents(amounts: dict[str, float]) -> int:
    return sum(round(amount * 100) for amount in amounts.values())


@pytest.mark.parametrize("name", SPLITS)
def test_each_split_adds_up_to_the_change_of_equity(framed: QuickRun, quick: QuickRun, name: str) -> None:
    for run in (framed, quick):
        said, simulation = run.record.result["attribution"], run.record.simulations["base"]
        assert cents(said[name]) == round(said["total"] * 100)
        assert round(said["total"] * 100) == round((simulation.equity[-1] - simulation.start_capital) * 100)


def test_the_years_add_up_to_the_factors(framed: QuickRun) -> None:
    said = framed.record.result["attribution"]
    assert len(said["by_year"]) > 1
    for factor, amount in said["by_factor"].items():
        assert sum(round(year[factor] * 100) for year in said["by_year"].values()) == round(amount * 100)
    assert sum(round(year["total"] * 100) for year in said["by_year"].values()) == round(said["total"] * 100)


def test_the_factors_of_every_session_add_up_to_what_its_equity_did(framed: QuickRun) -> None:
    clock, trading = laid(framed)
    parts = factor_parts(framed.workspace.plan.risk, trading, clock)
    assert set(parts.cents) == set(FACTORS)
    equity = np.rint(trading.simulation.equity[session_rows(trading)] * 100)
    change = np.diff(equity, prepend=trading.simulation.start_capital * 100)
    assert all(np.array_equal(part, np.rint(part)) for part in parts.cents.values()), "whole cents"
    assert np.array_equal(sum(parts.cents.values()), change)
    assert sum(np.count_nonzero(parts.cents[name]) for name in ("market", "sector", "selection", "trading")) > 1000


def test_costs_dividends_and_financing_are_the_ledgers(framed: QuickRun) -> None:
    said, ledger = framed.record.result["attribution"], framed.record.tradings["base"].simulation.ledger
    by_kind = dict(ledger.group_by("kind").agg(pl.col("cents").sum()).rows())
    paid = sum(by_kind.get(kind, 0) for kind in ("commission", "spread", "slippage", "impact"))
    assert round(said["by_factor"]["costs"] * 100) == paid < 0
    assert round(said["by_factor"]["financing"] * 100) == by_kind.get("interest", 0) + by_kind.get("borrow", 0) > 0
    assert round(said["by_factor"]["dividends"] * 100) == by_kind.get("dividend", 0)


def test_the_market_part_is_value_times_beta_times_index(framed: QuickRun) -> None:
    clock, trading = laid(framed)
    panel, risk = clock.panel, framed.workspace.plan.risk
    rows = np.arange(len(panel))
    beta, market, _, _ = known_before(panel, rows, risk)
    ends = session_rows(trading)
    started, parts = value_at_start(trading, clock, ends), factor_parts(risk, trading, clock)
    index, close = panel.context["index"], panel.close
    for number in range(1, len(ends), 37):
        row, cents_now = ends[number], 0.0
        assert market[row] == pytest.approx(index[row] / index[row - 1] - 1)
        for m, symbol in enumerate(clock.symbol_of):
            value = trading.simulation.shares[row - 1, m] * close[row - 1, symbol] * 100
            assert started[number, m] == pytest.approx(value)
            cents_now += np.rint(value * beta[row, symbol] * (index[row] / index[row - 1] - 1))
        assert parts.cents["market"][number] == pytest.approx(cents_now, abs=len(clock.columns))


def test_what_is_known_before_a_session_knows_nothing_of_it_or_of_later_ones(framed: QuickRun) -> None:
    panel, risk = laid(framed)[0].panel, framed.workspace.plan.risk
    cut = 300
    whole, head = known_before(panel, np.arange(len(panel)), risk), known_before(panel.head(cut), np.arange(cut), risk)
    for told, same in zip(whole[:3], head[:3], strict=True):
        assert np.array_equal(told[:cut], same, equal_nan=True)
    other = np.where(np.arange(len(panel))[:, None] >= cut - 1, panel.close * 1.5, panel.close)
    changed = replace(panel, fields={**panel.fields, "close": other})
    assert np.array_equal(known_before(changed, np.arange(len(panel)), risk)[0][:cut], whole[0][:cut], equal_nan=True)


def moved(market: np.ndarray, slopes: np.ndarray, own: np.ndarray, sectors: tuple[str, ...]) -> Panel:
    """Names that move with the market by their slope, and by themselves."""
    log_prices = np.cumsum(np.log1p(market[:, None] * slopes + own), axis=0)
    made = spine_kit.panel(100 * np.exp(log_prices), sectors)
    return replace(made, context={"index": 1000 * np.cumprod(1 + market)})


def test_a_name_that_only_follows_the_market_has_no_sector_part() -> None:
    rng = np.random.default_rng(1)
    market = rng.normal(0, 0.001, 400)
    panel = moved(market, np.array([0.5, 1.0, 1.5]), np.zeros((400, 3)), ("A", "A", "A"))
    beta, told, beyond, notes = known_before(panel, np.arange(400), RiskSection())
    assert beta[-1] == pytest.approx([0.5, 1.0, 1.5], abs=0.01)
    assert told[1:] == pytest.approx(market[1:])
    assert np.abs(beyond[100:]).max() < 1e-5
    assert notes == ()


def test_what_the_names_of_a_sector_share_is_their_sectors() -> None:
    rng = np.random.default_rng(2)
    market, shared = rng.normal(0, 0.001, 400), rng.normal(0, 0.01, 400)
    own = np.column_stack([shared, shared, np.zeros(400), np.zeros(400), rng.normal(0, 0.01, 400)])
    panel = moved(market, np.ones(5), own, ("A", "A", "B", "B", "C"))
    _, _, beyond, notes = known_before(panel, np.arange(400), RiskSection())
    assert np.corrcoef(beyond[100:, 0], shared[100:])[0, 1] > 0.99
    assert np.array_equal(beyond[:, 0], beyond[:, 1])
    assert np.abs(beyond[100:, 2]).max() < 0.002
    assert not beyond[:, 4].any() and any("C" in note for note in notes), "one name alone is no sector"


def test_without_an_index_the_market_is_the_mean_of_the_names_and_it_is_said() -> None:
    rng = np.random.default_rng(3)
    panel = replace(moved(rng.normal(0, 0.01, 200), np.ones(3), rng.normal(0, 0.01, (200, 3)), ()), context={})
    _, market, _, notes = known_before(panel, np.arange(200), RiskSection())
    assert market[1:] == pytest.approx(np.expm1(np.diff(np.log(panel.close), axis=0).mean(axis=1)))
    assert any("mean of the universe" in note for note in notes)


def test_before_a_beta_is_known_nothing_is_said_to_be_the_markets() -> None:
    rng = np.random.default_rng(4)
    panel = moved(rng.normal(0, 0.01, 60), np.ones(3), np.zeros((60, 3)), ("A", "A", "A"))
    beta, _, beyond, _ = known_before(panel, np.arange(60), RiskSection(warm_up_sessions=30))
    assert np.isnan(beta[:30]).all() and np.isfinite(beta[32:]).all()
    assert not beyond[:30].any()


def test_an_ensembles_profit_is_its_members_and_no_cent_is_lost(framed: QuickRun) -> None:
    said = framed.record.result["attribution"]
    members = {name: amount for name, amount in said["by_model"].items() if name.startswith("ensemble.")}
    assert set(members) == {"ensemble.ridge", "ensemble.naive_t"}
    assert cents(members) == round(said["by_timeframe"]["days"] * 100)
    assert said["by_model"]["ridge"] == said["by_timeframe"]["weeks"]


def test_profit_since_the_last_whole_session_is_counted(framed: QuickRun) -> None:
    clock, trading = laid(framed)
    cut = replace(trading, session_rows=trading.session_rows[:-1], profit=trading.profit[:-1])
    ends = session_rows(cut)
    assert ends[-1] == len(trading.simulation.times) - 1
    assert np.array_equal(session_profit(cut, ends).sum(axis=0), column_profit(trading))
    risk = framed.workspace.plan.risk
    assert factor_parts(risk, cut, clock).total() == factor_parts(risk, trading, clock).total()


def test_a_position_that_is_opened_and_closed_within_a_session_is_trading(framed: QuickRun) -> None:
    clock, trading = laid(framed)
    parts = factor_parts(framed.workspace.plan.risk, trading, clock)
    first = session_rows(trading)[np.flatnonzero(np.isin(session_rows(trading), trading.decided_rows + 1))[0]]
    number = int(np.searchsorted(session_rows(trading), first))
    fills = trading.simulation.records.fills
    own = fills[fills[:, k.L_ROW] == first]
    assert len(own) and not parts.cents["market"][number], "nothing was held before the first fills"
    close = clock.panel.close[first, clock.symbol_of[own[:, k.L_COLUMN].astype(int)]]
    gain = np.rint(own[:, k.F_QUANTITY] * close * 100) + own[:, k.F_CASH]
    assert parts.cents["trading"][number] == gain.sum()

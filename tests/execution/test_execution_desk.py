"""The desk: the simulator's ledger where nothing limits it, and a book inside its limits where something does."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from execution_desk import desk_of
from execution_market import FREE, HALT, NAN, THOUSAND, flat, panel_of, plan_of
from execution_random import ACCOUNT, random_panel, random_plan, settings
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from numpy.typing import NDArray

from limits_kit import closings, require_held
from tradewind.errors import DataError, InputError
from tradewind.execution import kernel as k
from tradewind.execution.desk import REASONS, Desk, Step
from tradewind.execution.desk_bars import Bars, ended, newest_of_session
from tradewind.execution.desk_state import DeskState, column_values, from_bytes, to_bytes
from tradewind.execution.plan import TradePlan
from tradewind.execution.settings import AccountSection, ExecutionSection
from tradewind.execution.simulator import simulate
from tradewind.execution.trading import Trading, carry_on, trade, wish_at
from tradewind.market.panel import Panel

FloatArray = NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)
few = examples(max_examples=15)
some = examples(max_examples=30)


def market(r: np.random.Generator, bars: int = 40) -> Panel:
    """Return a random market whose dividends its prices can pay."""
    panel = random_panel(r, bars=bars)
    before = np.vstack([panel.close[:1], panel.close[:-1]]) / panel.split
    paid = np.where(panel.dividend > 0, np.round(0.02 * np.nan_to_num(before), 2), 0.0)
    return replace(panel, fields={**panel.fields, "dividend": paid})


# -- the simulator's ledger --------------------------------------------------------------------------------------


@some
@given(seeds, settings(), st.sampled_from([0, 3, 17]), st.sampled_from([0, 0, 1, 2]))
def test_a_desk_without_limits_has_the_simulators_ledger(
    seed: int, execution: ExecutionSection, start: int, delay: int
) -> None:
    r = np.random.default_rng(seed)
    panel = market(r)
    plan = random_plan(r, panel.shape, shorts=execution.short_allowed).delayed(delay)
    if start:  # the simulator's account is open, and its cash bears interest, while it warms up
        execution = execution.model_copy(update={"cash_interest_rate": 0.0})
    wanted = simulate(panel, plan, execution, ACCOUNT, start=start)
    desk, bars = desk_of(panel, execution, ACCOUNT, limits={"drift_tolerance": 1.0})
    made = trade(desk, panel, bars, plan, start).simulation
    assert made.ledger_hash == wanted.ledger_hash
    np.testing.assert_array_equal(made.equity, wanted.equity)
    np.testing.assert_array_equal(made.shares, wanted.shares)
    told = np.arange(k.STATE_ROWS) != k.T_ROW  # one of them counts a late decision from when it is sent
    np.testing.assert_array_equal(made.book.state[told], wanted.book.state[told])
    assert made.trades.equals(wanted.trades)


# -- a life under limits -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Life:
    """A random market, two timeframes with plans of their own, and a desk with every limit it may have."""

    panel: Panel
    desk: Desk
    bars: Bars
    plan: TradePlan
    start: int

    def lived(self) -> Trading:
        return trade(self.desk, self.panel, self.bars, self.plan, self.start)

    def until(self, stop: int) -> Life:
        fields = {name: getattr(self.plan, name) for name in ("weight", "stop", "take_profit", "trail", "priority")}
        cut = {name: values[:stop] for name, values in fields.items()}
        plan = TradePlan(**cut, max_bars=self.plan.max_bars[:stop], delay_bars=self.plan.delay_bars)
        panel = self.panel.head(stop)
        bars = sessions_of(Bars.of(panel, self.desk.gate.symbol_of))
        return replace(self, panel=panel, bars=bars, plan=plan)


def sessions_of(bars: Bars, length: int = 3) -> Bars:
    """Let so many bars make a session, the last one of what there is no end of any."""
    rows = np.arange(len(bars.times))
    return replace(bars, session_end=rows % length == length - 1)


def life(seed: int, *, bars: int = 60, delay: int = 0, execution: dict[str, Any] | None = None) -> Life:
    r = np.random.default_rng(seed)
    panel = market(r, bars)
    panel = replace(panel, sectors=("a", "b", "a", "c", "b"), context={"index": panel.close[:, 2]})
    one, other = (random_plan(r, panel.shape) for _ in range(2))
    names = ("weight", "stop", "take_profit", "trail", "max_bars", "priority")
    both = {name: np.concatenate([getattr(one, name), getattr(other, name)], axis=1) for name in names}
    limits = {
        "position_max": 0.25, "gross_max": 1.4, "sector_max": 0.5, "net_max": 0.5, "beta_max": 0.6, "var_max": 0.03,
        "correlation_max": 0.4, "correlated_max": 0.4, "liquidity_max": 2.0, "drawdown_max": 0.15,
        "daily_loss_max": 0.06, "release_after_sessions": 2,
    }  # fmt: skip
    kept = {name: value for name, value in limits.items() if r.random() < 0.8}
    harsh = {name: str(r.choice(["block", "flatten", "halt"])) for name in kept if name.endswith("_max")}
    reactions = {name: reaction for name, reaction in harsh.items() if r.random() < 0.15 and name != "correlated_max"}
    rules = ExecutionSection(
        short_allowed=True, margin_leverage_max=3.0, commission_minimum=float(r.choice([0.0, 1.0])),
        participation_max=float(r.choice([0.05, 0.5])), participation_remainder=str(r.choice(["cancel", "carry"])),
        cash_interest_rate=0.04, delisted_after_bars=4, entry=str(r.choice(["next_open", "next_close"])),
        **(execution or {}),
    )  # fmt: skip
    target = 0.3 if r.random() < 0.5 else None
    desk, laid = desk_of(
        panel, rules, ACCOUNT, sleeves=("slow", "fast"), capital=(0.6, 0.4), limits={**kept, "reactions": reactions},
        risk={"warm_up_sessions": 5, "half_life_sessions": 10.0, "volatility_target": target},
        coordinator={"conflicts": str(r.choice(["higher_wins", "none"])), "window_sessions": 20},
    )  # fmt: skip
    return Life(panel, desk, sessions_of(laid), TradePlan(**both, delay_bars=delay), 20)


def bar_by_bar(one: Life, plan: TradePlan | None = None) -> Iterator[tuple[int, DeskState, Step]]:
    """Let the account live, and stop after each bar."""
    state = one.desk.warm_up(one.desk.open(), one.bars, one.start)
    for row in range(one.start, len(one.panel)):
        yield row, state, one.desk.step(state, one.bars, row, wish_at(plan or one.plan, row))


@few
@given(seeds, st.integers(21, 59))
def test_a_prefix_of_the_bars_gives_a_prefix_of_the_account(seed: int, stop: int) -> None:
    one = life(seed)
    whole, part = one.lived(), one.until(stop).lived()
    for name in ("equity", "cash", "shares", "long_value", "short_value"):
        np.testing.assert_array_equal(getattr(part.simulation, name), getattr(whole.simulation, name)[:stop])
    log = whole.simulation.records.log
    np.testing.assert_array_equal(part.simulation.records.log, log[log[:, k.L_ROW] < stop])
    for name, rows in (("decided_rows", "sent"), ("decided_rows", "bound"), ("session_rows", "profit")):
        known = getattr(whole, name) < stop
        np.testing.assert_array_equal(getattr(part, rows), getattr(whole, rows)[known])
    assert part.alerts == tuple(alert for alert in whole.alerts if alert.row < stop)


@few
@given(seeds, st.integers(21, 59))
def test_what_comes_after_a_bar_changes_nothing_before_it(seed: int, row: int) -> None:
    one = life(seed)
    fields = {name: values.copy() for name, values in one.panel.fields.items()}
    for name in ("open", "high", "low", "close"):
        fields[name][row:] *= 1.7
    fields["volume"][row:] *= 0.3
    panel = replace(one.panel, fields=fields, context={"index": fields["close"][:, 2]})
    other = replace(one, panel=panel, bars=sessions_of(Bars.of(panel, one.desk.gate.symbol_of)))
    before, after = one.lived(), other.lived()
    np.testing.assert_array_equal(before.simulation.equity[:row], after.simulation.equity[:row])
    early = before.decided_rows < row
    np.testing.assert_array_equal(before.sent[early], after.sent[: early.sum()])


@few
@given(seeds, st.integers(21, 59), st.sampled_from([0, 2]))
def test_an_account_that_is_stored_and_read_again_at_any_bar_has_the_same_ledger(
    seed: int, cut: int, delay: int
) -> None:
    one = life(seed, delay=delay)
    whole = one.lived()
    first = one.until(cut).lived()
    state = from_bytes(to_bytes(first.state))
    rest = carry_on(one.desk, one.panel, one.bars, one.plan, cut, state, opened=one.start)
    log = np.concatenate([first.simulation.records.log, rest.simulation.records.log])
    np.testing.assert_array_equal(log, whole.simulation.records.log)
    np.testing.assert_array_equal(rest.simulation.equity[cut:], whole.simulation.equity[cut:])
    np.testing.assert_array_equal(rest.simulation.book.state, whole.simulation.book.state)
    assert first.alerts + rest.alerts == whole.alerts
    assert to_bytes(rest.state) == to_bytes(whole.state)


@few
@given(seeds)
def test_storing_at_every_bar_changes_nothing(seed: int) -> None:
    one = life(seed)
    whole = one.lived()
    state = from_bytes(to_bytes(one.desk.warm_up(one.desk.open(), one.bars, one.start)))
    for row in range(one.start, len(one.panel)):
        one.desk.step(state, one.bars, row, wish_at(one.plan, row))
        state = from_bytes(to_bytes(state))
        assert float(state.book.scalars[k.EQUITY]) / 100 == whole.simulation.equity[row]
    assert to_bytes(state) == to_bytes(whole.state)


@few
@given(seeds)
def test_a_copied_account_lives_a_life_of_its_own(seed: int) -> None:
    one = life(seed)
    state = one.desk.warm_up(one.desk.open(), one.bars, one.start)
    kept, before = state.copy(), to_bytes(state)
    for row in range(one.start, len(one.panel)):
        one.desk.step(state, one.bars, row, wish_at(one.plan, row))
    assert to_bytes(kept) == before
    assert to_bytes(state) == to_bytes(one.lived().state)


@some
@given(seeds)
def test_profits_by_column_and_session_and_financing_explain_the_equity_to_the_cent(seed: int) -> None:
    one = life(seed)
    made = one.lived()
    unfinished = column_values(made.state.book) - made.state.values + made.state.flows
    events = made.simulation.records.events
    financing = events[events[:, k.L_COLUMN] < 0, k.E_CASH].sum()
    earned = float(made.state.book.scalars[k.EQUITY]) - ACCOUNT.start_capital * 100
    assert made.profit.sum() + unfinished.sum() + financing == earned
    assert np.all(made.profit == np.rint(made.profit)), "whole cents"
    for stop, profits in zip(made.session_rows, np.cumsum(made.profit.sum(axis=1)), strict=True):
        paid = events[(events[:, k.L_COLUMN] < 0) & (events[:, k.L_ROW] <= stop), k.E_CASH].sum()
        assert profits + paid == round(made.simulation.equity[stop] * 100) - ACCOUNT.start_capital * 100


@some
@given(seeds)
def test_no_order_is_sent_that_breaks_a_limit(seed: int) -> None:
    """At every close: what is held, what still waits and what is sent together, against a direct computation."""
    one = life(seed)
    for _, state, step in bar_by_bar(one):
        if step.sent is None or not state.exposure:
            continue
        held = one.desk.held(state)
        equity = float(state.book.scalars[k.EQUITY]) / 100
        waits = np.nan_to_num(state.book.state[k.TARGET] * state.book.state[k.MARK] / equity)
        present = np.where(np.isnan(step.sent) & (np.abs(waits) > np.abs(held)), waits, held)
        book = np.where(np.isnan(step.sent), present, step.sent)
        require_held(one.desk.gate, state.exposure, book, closings(present, step.sent), equity)


@some
@given(seeds)
def test_what_is_stopped_opens_nothing_and_ends_flat_where_the_limit_wants_that(seed: int) -> None:
    one = life(seed)
    before = np.zeros(len(one.desk.columns))
    stopped, since = False, 0
    for row, state, step in bar_by_bar(one):
        fills = step.log[step.log[:, k.L_TYPE] == k.FILL]
        if stopped:
            columns = fills[:, k.L_COLUMN].astype(int)
            splits = step.log[(step.log[:, k.L_TYPE] == k.EVENT) & (step.log[:, k.E_SHARES] != 0)]
            had = before.copy()
            np.add.at(had, splits[:, k.L_COLUMN].astype(int), splits[:, k.E_SHARES])
            for column, quantity in zip(columns, fills[:, k.F_QUANTITY], strict=True):
                assert had[column] * quantity < 0, (row, column, quantity, had[column])
                had[column] += quantity
        before = state.book.shares.copy()
        since = since + 1 if state.gate.halted else 0
        stopped = bool(state.gate.halted or state.gate.blocked)
        if state.gate.halted and before.any():
            assert step.sent is not None, "it asks again until it is flat"
            assert np.all(step.sent[before != 0] == 0)


# -- one bar at a time, by hand ----------------------------------------------------------------------------------


def by_hand(
    panel: Panel,
    plan: TradePlan,
    execution: ExecutionSection = FREE,
    account: AccountSection = THOUSAND,
    risk: dict[str, Any] | None = None,
    **limits: Any,
) -> Trading:
    desk, bars = desk_of(panel, execution, account, limits=limits, risk=risk)
    return trade(desk, panel, bars, plan, 0)


def said(made: Trading) -> list[tuple[int, str, str]]:
    return [(alert.row, alert.level, alert.kind) for alert in made.alerts]


def test_a_position_is_cut_to_its_limit_and_the_limit_is_named() -> None:
    panel = panel_of(flat(10.0, 4))
    made = by_hand(panel, plan_of(panel, {0: 0.5}), position_max=0.2)
    assert made.simulation.shares[:, 0].tolist() == [0, 20, 20, 20]
    assert [REASONS[i] for i in made.bound[:, 0]] == ["position_max"]
    assert made.wished[0, 0] == 0.5
    assert made.times_bound() == {"position_max": 1}


def test_what_prices_carry_beyond_a_limit_is_cut_at_the_sessions_end() -> None:
    panel = panel_of([(10, 10, 10, 10), (10, 10, 10, 10), (16, 16, 16, 16), (16, 16, 16, 16)])
    made = by_hand(panel, plan_of(panel, {0: 0.2}), position_max=0.2)
    assert made.simulation.shares[:, 0].tolist() == [0, 20, 20, 14]  # 20 % of 1,120 at 16
    assert said(made) == [(2, "warning", "position_max")]
    assert [REASONS[i] for i in made.bound[-1]] == ["position_max"]


def test_a_wish_that_is_repeated_does_not_keep_what_has_drifted() -> None:
    panel = panel_of([(10, 10, 10, 10), (10, 10, 10, 10), (16, 16, 16, 16), (16, 16, 16, 16)])
    made = by_hand(panel, plan_of(panel, {0: 0.2, 2: 0.29}), position_max=0.2)
    assert made.simulation.shares[3, 0] == 14


@pytest.mark.parametrize(
    ("reaction", "left", "halted"), [("flatten", 0, ""), ("halt", 0, "position_max"), ("block", 20, "")]
)
def test_a_drift_has_the_consequence_that_the_playbook_wants(reaction: str, left: int, halted: str) -> None:
    rise = [(10, 10, 10, 10), (10, 10, 10, 10), (16, 16, 16, 16), (16, 16, 16, 16)]
    panel = panel_of(rise, flat(10.0, 4))
    plan = plan_of(panel, {(0, 0): 0.2, (0, 1): 0.1})
    made = by_hand(panel, plan, position_max=0.2, reactions={"position_max": reaction})
    assert made.simulation.shares[3].tolist() == [left, 10 if reaction == "block" else 0]
    assert made.state.gate.halted == halted


def test_a_halt_sells_everything_and_opens_nothing_until_its_release() -> None:
    fall = [(10, 10, 10, 10), (10, 10, 10, 10), (7, 7, 7, 7), *flat(7.0, 5)]
    panel = panel_of(fall, flat(10.0, 8))
    weights = {(0, 0): 0.5, **{(row, 1): 0.3 for row in range(1, 8)}}
    made = by_hand(panel, plan_of(panel, weights), drawdown_max=0.1, release_after_sessions=2)
    assert made.simulation.shares[:, 0].tolist() == [0, 50, 50, 0, 0, 0, 0, 0]
    assert made.simulation.shares[:, 1].tolist() == [0, 0, 30, 0, 0, 25, 25, 25]
    assert said(made) == [(2, "critical", "drawdown_max"), (4, "warning", "release")]
    assert [REASONS[i] for i in made.bound[made.decided_rows == 3][0]] == ["none", "halted"]


def test_a_day_of_losses_opens_nothing_in_the_next_session_where_the_playbook_blocks() -> None:
    fall = [(10, 10, 10, 10), (10, 10, 10, 10), (8, 8, 8, 8), *flat(8.0, 3)]
    panel = panel_of(fall, flat(10.0, 6))
    made = by_hand(panel, plan_of(panel, {(0, 0): 0.5, (2, 1): 0.3, (3, 1): 0.3}), daily_loss_max=0.05)
    assert made.simulation.shares[:, 0].tolist() == [0, 50, 50, 50, 50, 50], "what is held stays"
    assert made.simulation.shares[:, 1].tolist() == [0, 0, 0, 0, 27, 27], "the wish of the losing day is refused"


def test_stops_work_while_nothing_may_be_opened() -> None:
    path = [(10, 10, 10, 10), (10, 10, 10, 10), (9.4, 9.4, 9.4, 9.4), (9.4, 9.4, 8, 8), (8, 8, 8, 8)]
    panel = panel_of(path)
    made = by_hand(panel, plan_of(panel, {0: 0.9, 2: 1.0}, stop=0.1), daily_loss_max=0.05)
    assert made.simulation.shares[:, 0].tolist() == [0, 90, 90, 0, 0]
    assert made.simulation.fills["reason"].to_list() == ["signal", "stop"]


def test_a_stop_that_was_hit_is_told() -> None:
    panel = panel_of([(10, 10, 10, 10), (10, 10, 10, 10), (10, 10, 8, 8), (8, 8, 8, 8)])
    made = by_hand(panel, plan_of(panel, {0: 0.5}, stop=0.1))
    (alert,) = made.alerts
    assert (alert.row, alert.level, alert.kind) == (2, "info", "stop")
    assert "S0" in alert.what
    assert "9" in alert.what


def test_prices_through_a_stop_overnight_fill_at_the_open_and_the_loss_is_watched() -> None:
    panel = panel_of([(10, 10, 10, 10), (10, 10, 10, 10), (6, 6, 6, 6), (6, 6, 6, 6)])
    made = by_hand(panel, plan_of(panel, {0: 0.5, 2: 0.5}, stop=0.05), drawdown_max=0.1)
    assert made.simulation.fills["price"].to_list() == [10.0, 6.0]
    assert said(made) == [(2, "info", "stop"), (2, "critical", "drawdown_max")]
    assert made.simulation.shares[-1, 0] == 0


def test_an_order_larger_than_the_days_volume_is_sold_over_days_when_the_book_must_be_flat() -> None:
    path = [(10, 10, 10, 10), (10, 10, 10, 10), (7, 7, 7, 7), *flat(7.0, 5)]
    volume = [[1000.0], [1000.0], [1000.0], [20.0], [20.0], [20.0], [20.0], [20.0]]
    panel = panel_of(path, volume=volume)
    made = by_hand(panel, plan_of(panel, {0: 0.5}), drawdown_max=0.1)
    assert made.simulation.shares[:, 0].tolist() == [0, 50, 50, 30, 10, 0, 0, 0]


def test_a_halted_holding_is_sold_at_its_next_bar_when_the_book_must_be_flat() -> None:
    path = [(10, 10, 10, 10), (10, 10, 10, 10), HALT, HALT, (9, 9, 9, 9)]
    fall = [(10, 10, 10, 10), (10, 10, 10, 10), (7, 7, 7, 7), *flat(7.0, 2)]
    panel = panel_of(path, fall)
    made = by_hand(panel, plan_of(panel, {(0, 0): 0.4, (0, 1): 0.5}), drawdown_max=0.1)
    assert made.simulation.shares[:, 0].tolist() == [0, 40, 40, 40, 0]
    assert made.simulation.shares[:, 1].tolist() == [0, 50, 50, 0, 0]


def test_a_delisted_holding_is_paid_out_and_told() -> None:
    panel = panel_of([*flat(10.0, 3), HALT, HALT, HALT], flat(10.0, 6))
    rules = ExecutionSection.free(fractional_shares=False, delisted_after_bars=2, delisting_haircut=0.5)
    made = by_hand(panel, plan_of(panel, {(0, 0): 0.2}), rules)
    assert made.simulation.shares[:, 0].tolist() == [0, 20, 20, 20, 0, 0]
    assert made.simulation.equity[-1] == 900.0
    assert said(made) == [(4, "warning", "delisted")]


def test_what_waits_for_a_bar_is_withdrawn_when_nothing_may_be_opened() -> None:
    waits = [(10, 10, 10, 10), HALT, HALT, (10, 10, 10, 10), (10, 10, 10, 10)]
    fall = [(10, 10, 10, 10), (10, 10, 10, 10), (7, 7, 7, 7), *flat(7.0, 2)]
    panel = panel_of(waits, fall)
    weights = {(0, 0): 0.4, (0, 1): 0.5}
    assert by_hand(panel, plan_of(panel, weights)).simulation.shares[3, 0] == 40, "it would have filled"
    made = by_hand(panel, plan_of(panel, weights), drawdown_max=0.1)
    assert made.simulation.shares[:, 0].tolist() == [0, 0, 0, 0, 0]


def test_what_waits_for_a_bar_counts_for_the_limits_of_what_comes_after_it() -> None:
    waits = [(10, 10, 10, 10), HALT, HALT, (10, 10, 10, 10), (10, 10, 10, 10)]
    panel = replace(panel_of(waits, flat(10.0, 5)), sectors=("a", "a"))
    made = by_hand(panel, plan_of(panel, {(0, 0): 0.3, (1, 1): 0.3}), sector_max=0.4)
    assert made.simulation.shares[-1].tolist() == [30, 10]
    assert [REASONS[i] for i in made.bound[-1]] == ["none", "sector_max"]


def test_a_wish_that_is_refused_trades_not_a_share() -> None:
    """A limit that lets nothing be added sends what is held, and that costs nothing, whatever its last cent."""
    r = np.random.default_rng(5)
    path = [(p, p, p, p) for p in 10 * np.exp(np.cumsum(r.normal(0, 0.03, 40)))]
    panel = panel_of(path)
    rules = ExecutionSection.free(commission_minimum=1.0)
    made = by_hand(panel, plan_of(panel, dict.fromkeys(range(40), 0.9)), rules, position_max=0.2, drift_tolerance=1.0,
                   reactions={"position_max": "block"})  # fmt: skip
    assert made.simulation.fills.height == 0
    first = by_hand(panel, plan_of(panel, {0: 0.2, **dict.fromkeys(range(2, 40), 0.9)}), rules, position_max=0.2,
                    drift_tolerance=1.0, reactions={"position_max": "block"})  # fmt: skip
    assert first.simulation.fills.height == 1


def test_an_account_in_debt_is_sold_although_no_margin_call_was_wanted() -> None:
    fall = [(10, 10, 10, 10), (10, 10, 10, 10), (5, 5, 5, 5), (5, 5, 5, 5), (5, 5, 5, 5)]
    panel = panel_of(fall)
    rules = ExecutionSection.free(fractional_shares=False, margin_leverage_max=3.0, margin_maintenance=0.0)
    made = by_hand(panel, plan_of(panel, {0: 1.0}), rules)
    desk, bars = desk_of(panel, rules, THOUSAND, limits={"position_max": 1.0})
    state = desk.open()
    state.book.scalars[[k.CASH, k.EQUITY]] = 100_000.0
    plan = plan_of(panel, {0: 1.0})
    for row in range(2):
        desk.step(state, bars, row, wish_at(plan, row))
    state.book.scalars[k.CASH] -= 60_000.0  # what a gap that nobody could trade through has cost
    steps = [desk.step(state, bars, row, None) for row in range(2, 5)]
    assert float(state.book.scalars[k.CASH]) < 0
    assert steps[0].sent.tolist() == [0.0]
    assert state.book.shares.tolist() == [0.0]
    assert made.simulation.shares[-1, 0] == 100


def test_cash_below_zero_is_charged_to_the_account_and_not_to_a_column() -> None:
    panel = panel_of([(10, 10, 10, 10)] * 30)
    rules = ExecutionSection.free(fractional_shares=False, margin_leverage_max=2.0, margin_interest_rate=0.1)
    plan = plan_of(panel, {0: 1.0, 1: 1.0})
    desk, bars = desk_of(panel, rules, THOUSAND)
    state = desk.open()
    made = carry_on(desk, panel, bars, plan, 0, state)
    assert made.simulation.cash[-1] <= 1000
    two = panel_of([(10, 10, 10, 10)] * 30, [(10, 10, 10, 10)] * 30)
    made = by_hand(two, plan_of(two, {(0, 0): 1.0, (0, 1): 1.0}), rules)
    assert made.simulation.cash[-1] < 0
    assert made.profit.sum() == 0.0, "prices stood still"
    assert made.simulation.equity[-1] < 1000


def test_a_person_who_halts_takes_back_what_has_not_filled() -> None:
    panel = panel_of(flat(10.0, 5), [(10, 10, 10, 10), HALT, HALT, (10, 10, 10, 10), (10, 10, 10, 10)])
    desk, bars = desk_of(panel, FREE, THOUSAND)
    plan = plan_of(panel, {(0, 0): 0.2, (0, 1): 0.2, (1, 0): 0.4, (3, 0): 0.1, (2, 0): 0.3})
    state = desk.open()
    desk.step(state, bars, 0, wish_at(plan, 0))
    desk.step(state, bars, 1, wish_at(plan, 1))
    state.gate = replace(state.gate, halted="kill switch")
    for row in range(2, 5):
        desk.step(state, bars, row, wish_at(plan, row))
        assert state.book.shares[1] == 0
    assert state.book.shares[0] == 10, "what closes passes"


@pytest.mark.parametrize("nothing_more", ["limit", "halt"])
def test_what_is_to_be_held_for_good_has_its_bracket_though_nothing_may_be_added(nothing_more: str) -> None:
    panel = panel_of([*flat(10.0, 4), (10, 10, 8, 8)])
    desk, bars = desk_of(panel, FREE, THOUSAND, limits={"position_max": 0.2 if nothing_more == "limit" else 1.0})
    plan = plan_of(panel, {0: 0.2, 1: 0.4}, stop=[0.5, 0.1, *3 * [NAN]], max_bars=[4, math.inf, *3 * [NAN]])
    state = desk.open()
    for row in range(5):
        if row == 2 and nothing_more == "halt":
            state.gate = replace(state.gate, halted="kill switch")
        made = desk.step(state, bars, row, wish_at(plan, row))
        assert state.book.shares[0] == (0, 20, 20, 20, 0)[row]
    assert [k.REASONS[int(fill[k.F_REASON])] for fill in made.log[made.log[:, k.L_TYPE] == k.FILL]] == ["stop"]


# -- what is known of risk ---------------------------------------------------------------------------------------


def test_nothing_is_opened_before_its_risk_is_known() -> None:
    r = np.random.default_rng(1)
    path = [(p, p, p, p) for p in 10 * np.exp(np.cumsum(r.normal(0, 0.01, 12)))]
    panel = panel_of(path)
    plan = plan_of(panel, dict.fromkeys(range(12), 0.2))
    made = by_hand(panel, plan, risk={"warm_up_sessions": 5}, var_max=0.5)
    bought = made.simulation.fills["row"][0]
    assert bought == 6, "five returns are known at the sixth close"
    refused = made.bound[made.decided_rows < 5, 0]
    assert {REASONS[i] for i in refused} == {"unknown_risk"}


@pytest.mark.parametrize("kind", ["twins", "few sessions", "no move at all"])
def test_covariances_that_are_singular_or_short_of_sessions_limit_all_the_same(kind: str) -> None:
    """More names than sessions, names that are one another's copies, names that never move."""
    r = np.random.default_rng(2)
    bars, names = 12, 8
    moves = r.normal(0, 0.03, (bars, names))
    if kind == "twins":
        moves[:] = moves[:, :1]
    if kind == "no move at all":
        moves[:, :4] = 0.0
    prices = 10 * np.exp(np.cumsum(moves, axis=0))
    panel = panel_of(*[[(p, p, p, p) for p in prices[:, i]] for i in range(names)])
    weights = {(row, i): 0.12 for row in range(7, 11) for i in range(names)}
    risk = {"warm_up_sessions": 5, "volatility_target": None}
    desk, bars_ = desk_of(panel, FREE, ACCOUNT, limits={"var_max": 0.01, "beta_max": 0.3}, risk=risk)
    one = Life(panel, desk, bars_, plan_of(panel, weights), 1)
    sent = 0
    for _, state, step in bar_by_bar(one):
        if step.sent is not None and state.exposure is not None:
            held, equity = desk.held(state), float(state.book.scalars[k.EQUITY]) / 100
            book = np.where(np.isnan(step.sent), held, step.sent)
            require_held(desk.gate, state.exposure, book, closings(held, step.sent), equity)
            sent += int(np.nansum(np.abs(step.sent)) > 0)
    assert sent


def test_a_name_without_a_bar_in_the_last_minutes_has_a_close_all_the_same() -> None:
    values = np.array([[1.0, NAN], [2.0, 5.0], [NAN, NAN], [NAN, 6.0], [3.0, NAN], [NAN, NAN]])
    ends = np.array([False, False, True, False, False, True])
    newest = newest_of_session(values, ends)
    np.testing.assert_array_equal(newest, [[1, NAN], [2, 5], [2, 5], [NAN, 6], [3, 6], [3, 6]])
    daily = newest_of_session(values, np.ones(6, bool))
    np.testing.assert_array_equal(daily, values)
    assert newest_of_session(values[:0], ends[:0]).shape == (0, 2)


def test_a_name_is_gone_in_the_first_row_of_the_nth_session_without_it() -> None:
    mask = np.array([[1, 0, 1], [0, 0, 1], [0, 1, 1], [0, 0, 1], [0, 0, 1], [1, 0, 1]], dtype=bool)
    ends = np.array([False, True, True, False, True, True])
    np.testing.assert_array_equal(ended(mask, ends, 2), [3, 5, -1])
    np.testing.assert_array_equal(ended(mask[:0], ends[:0], 2), [-1, -1, -1])


def test_shorts_wait_for_a_lender() -> None:
    panel = panel_of(flat(10.0, 5))
    rules = ExecutionSection.free(fractional_shares=False, short_allowed=True)
    desk, bars = desk_of(panel, rules, THOUSAND)
    lent = replace(bars, borrowable=np.array([[False], [False], [True], [True], [False]]))
    made = trade(desk, panel, lent, plan_of(panel, dict.fromkeys(range(5), -0.2)), 0)
    assert made.simulation.shares[:, 0].tolist() == [0, 0, 0, -20, -20]
    assert [REASONS[i] for i in made.bound[:, 0]] == ["borrow", "borrow", "none", "none", "none"]


# -- several timeframes ------------------------------------------------------------------------------------------


def two(panel: Panel, slow: dict[Any, float], fast: dict[Any, float], **kwargs: Any) -> Trading:
    rules = ExecutionSection.free(fractional_shares=False, short_allowed=True)
    desk, bars = desk_of(panel, rules, THOUSAND, sleeves=("slow", "fast"), capital=(0.6, 0.4), **kwargs)
    both = [plan_of(panel, weights).weight for weights in (slow, fast)]
    return trade(desk, panel, bars, TradePlan(np.concatenate(both, axis=1)), 0)


def test_each_timeframe_has_its_share_of_the_equity() -> None:
    panel = panel_of(flat(10.0, 3))
    made = two(panel, {0: 0.5}, {0: 0.5})
    assert made.simulation.shares[-1].tolist() == [30, 20]
    assert made.simulation.symbols == ("S0@slow", "S0@fast")


def test_the_longer_bars_win_a_conflict_and_the_loser_is_closed() -> None:
    panel = panel_of(flat(10.0, 5))
    made = two(panel, {1: -0.5}, {0: 0.5, 3: 0.5})
    assert made.simulation.shares[:, 0].tolist() == [0, 0, -30, -30, -30]
    assert made.simulation.shares[:, 1].tolist() == [0, 20, 0, 0, 0]
    conflicts = [REASONS[i] for i in made.bound[:, 1]]
    assert conflicts == ["none", "coordinator_conflict", "coordinator_conflict"]


def test_without_that_rule_both_sides_are_held_and_count_as_what_they_are_together() -> None:
    panel = panel_of(flat(10.0, 4))
    made = two(panel, {0: -0.5}, {0: 0.5}, coordinator={"conflicts": "none"}, limits={"position_max": 0.1})
    assert made.simulation.shares[-1].tolist() == [-30, 20]


def test_a_limit_counts_a_symbols_timeframes_together() -> None:
    panel = panel_of(flat(10.0, 4))
    made = two(panel, {0: 0.5}, {0: 0.5}, limits={"position_max": 0.25})
    assert made.simulation.shares[-1].tolist() == [15, 10]


# -- what is stored, what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["empty", "half", "bit", "text", "lacking"])
def test_a_stored_account_that_is_damaged_is_refused(damage: str) -> None:
    desk, _ = desk_of(panel_of(flat(10.0, 3)), FREE, THOUSAND)
    content = to_bytes(desk.open())
    middle = len(content) // 2
    harmed = {
        "empty": b"",
        "half": content[:middle],
        "bit": content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :],
        "text": b"not an account",
        "lacking": content.replace(b"waiting.npy", b"wailing.npy"),
    }[damage]
    with pytest.raises(DataError, match="cannot be read"):
        from_bytes(harmed)


def test_a_plan_of_another_shape_is_refused() -> None:
    panel = panel_of(flat(10.0, 3))
    desk, bars = desk_of(panel, FREE, THOUSAND)
    with pytest.raises(InputError, match="shape"):
        trade(desk, panel, bars, TradePlan.hold((3, 2)), 0)


def test_a_bar_that_no_market_could_make_is_named_wherever_it_comes() -> None:
    panel = panel_of([*flat(10.0, 3), (10, 9, 11, 10), *flat(10.0, 2)])
    desk, bars = desk_of(panel, FREE, THOUSAND)
    for start in (0, 2, 5):
        with pytest.raises(DataError, match="S0 at 2020-01-04"):
            trade(desk, panel, bars, TradePlan.hold(panel.shape), start)


def test_volumes_and_risk_of_the_warm_up_are_known_and_its_interest_is_nobodys() -> None:
    panel = panel_of(flat(10.0, 30), volume=100.0)
    rules = ExecutionSection.free(fractional_shares=False, cash_interest_rate=0.05)
    desk, bars = desk_of(panel, rules, THOUSAND, limits={"liquidity_max": 0.1})
    made = trade(desk, panel, bars, plan_of(panel, {20: 0.5}), 20)
    assert made.simulation.equity[:20].tolist() == [1000.0] * 20
    assert made.simulation.shares[21, 0] == 10, "a tenth of the mean volume, which is known by then"
    assert made.simulation.equity[-1] > 1000

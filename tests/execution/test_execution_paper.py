"""The paper broker: the back-test's ledger, every order and fill written down, nothing lost or doubled by a kill."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from datetime import UTC
from pathlib import Path

import numpy as np
import pytest
from execution_desk import desk_of
from execution_market import panel_of, plan_of
from execution_random import ACCOUNT, random_panel, random_plan, settings
from hypothesis import Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from paper_and_die import account, digest

from tradewind.errors import DataError
from tradewind.execution.controls import Controls
from tradewind.execution.journal import Journal
from tradewind.execution.order_state import SHARE_TOLERANCE
from tradewind.execution.paper import KILL_SWITCH, PaperAccount
from tradewind.execution.settings import AccountSection, ExecutionSection
from tradewind.execution.simulator import simulate
from tradewind.execution.trading import trade
from tradewind.market.store.records import Records

HERE = Path(__file__).parent


def silent(_row: int, _step: object) -> None:
    """Hear nothing."""


def records(folder: Path) -> Records:
    return Records(f"sqlite:///{folder}/records.sqlite")


# -- the same ledger -----------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000), settings(), st.sampled_from(["bar", "session"]))
@examples(max_examples=20, phases=[Phase.generate])
def test_paper_has_the_ledger_of_the_back_test(tmp_path_factory, seed, execution, every):
    r = np.random.default_rng(seed)
    panel = random_panel(r, bars=24, symbols=4)
    plan = random_plan(r, panel.shape, shorts=execution.short_allowed)
    desk, bars = desk_of(panel, execution, ACCOUNT)
    own = PaperAccount(desk, Journal(records(tmp_path_factory.mktemp("paper")), "paper:x"), "hash", every=every)
    own.live_through(bars, plan, own.open(bars, 3), 3, silent)
    tested = trade(desk, panel, bars, plan, 3).simulation
    assert digest(own, bars) == tested.ledger_hash
    if not execution.cash_interest_rate:
        assert tested.ledger_hash == simulate(panel, plan, execution, ACCOUNT, start=3).ledger_hash


@pytest.mark.parametrize("every", ["bar", "session"])
@pytest.mark.parametrize("delay", [1, 3])
def test_a_plan_whose_decisions_are_sent_late_has_the_ledger_of_the_back_test_too(tmp_path, delay, every):
    r = np.random.default_rng(8)
    panel = random_panel(r, bars=40, symbols=4)
    prompt = random_plan(r, panel.shape, shorts=False)
    desk, bars = desk_of(panel, ExecutionSection.free(), ACCOUNT)
    own = PaperAccount(desk, Journal(records(tmp_path), "paper:x"), "hash", every=every)
    own.live_through(bars, prompt.delayed(delay), own.open(bars, 3), 3, silent)
    assert digest(own, bars) == trade(desk, panel, bars, prompt.delayed(delay), 3).simulation.ledger_hash
    assert digest(own, bars) != trade(desk, panel, bars, prompt, 3).simulation.ledger_hash
    assert len(own.journal.executions()) > 10


def test_nothing_decided_before_the_account_was_opened_is_sent_late(tmp_path):
    panel = panel_of([(10, 10, 10, 10)] * 5)
    desk, bars = desk_of(panel, ExecutionSection.free(), AccountSection(start_capital=1000))
    own = PaperAccount(desk, Journal(records(tmp_path), "paper:x"), "hash")
    own.live_through(bars, plan_of(panel, {1: 0.5, 2: 0.2}, delay_bars=1), own.open(bars, 2), 2, silent)
    (order,) = own.journal.orders()
    assert (order.status, order.request.quantity) == ("filled", 20.0)
    assert own.journal.executions()[0].time == bars.times[4].astype("datetime64[us]").item().replace(tzinfo=UTC)


@given(st.integers(0, 10_000), settings())
@examples(max_examples=12, phases=[Phase.generate])
def test_every_fill_belongs_to_an_order_that_was_written_down_before_it(tmp_path_factory, seed, execution):
    r = np.random.default_rng(seed)
    panel = random_panel(r, bars=24, symbols=4)
    desk, bars = desk_of(panel, execution, ACCOUNT)
    own = PaperAccount(desk, Journal(records(tmp_path_factory.mktemp("paper")), "paper:x"), "hash")
    own.live_through(bars, random_plan(r, panel.shape), own.open(bars, 3), 3, silent)
    filled: dict[str, float] = defaultdict(float)
    for execution_ in own.journal.executions():
        filled[execution_.client_order_id] += execution_.quantity
    for order in own.journal.orders():
        request = order.request
        assert filled.pop(request.client_order_id, 0.0) * (1 if request.side == "buy" else -1) == pytest.approx(
            order.filled, abs=SHARE_TOLERANCE
        )
        assert order.filled <= request.quantity + SHARE_TOLERANCE
        assert request.decided_at <= own.journal.latest_book().time
    assert not filled
    waiting = set(np.flatnonzero(np.isfinite(desk.ordered(own.state))))
    assert len(own.journal.open_orders()) <= 2 * max(len(waiting), np.isfinite(own.state.book.state[9]).sum())


def test_an_order_that_waits_over_a_split_is_replaced_by_one_for_the_new_shares(tmp_path):
    panel = panel_of([(10, 10, 10, 10), (5, 5, 5, 5), (5, 5, 5, 5)], splits={(1, 0): 2.0})
    desk, bars = desk_of(panel, ExecutionSection.free(fractional_shares=False), AccountSection(start_capital=1000))
    own = PaperAccount(desk, Journal(records(tmp_path), "paper:x"), "hash")
    own.live_through(bars, plan_of(panel, {0: 0.5}), own.open(bars, 0), 0, silent)
    first, second = own.journal.orders()
    assert (first.status, first.request.quantity) == ("cancelled", 50.0)
    assert (second.status, second.request.quantity) == ("filled", 100.0)
    assert own.state.book.shares.tolist() == [100.0]


def test_an_order_that_nobody_could_fill_expires_and_says_why(tmp_path):
    panel = panel_of([(10, 10, 10, 10)] * 3, volume=[[1000.0], [10.0], [1000.0]])
    execution = ExecutionSection.free(fractional_shares=False, participation_max=0.5)
    desk, bars = desk_of(panel, execution, AccountSection(start_capital=1000))
    own = PaperAccount(desk, Journal(records(tmp_path), "paper:x"), "hash")
    own.live_through(bars, plan_of(panel, {0: 0.5}), own.open(bars, 0), 0, silent)
    (order,) = own.journal.orders()
    assert (order.status, order.filled, order.request.quantity) == ("expired", 5.0, 50.0)


# -- kills ---------------------------------------------------------------------------------------------------------


class KilledError(Exception):
    """The process died."""


@pytest.mark.parametrize("every", ["bar", "session"])
def test_killed_before_any_bar_is_stored_it_goes_on_to_the_same_ledger(tmp_path, every):
    whole, bars, plan = account(tmp_path / "whole", every) if (tmp_path / "whole").mkdir() is None else None
    whole.live_through(bars, plan, whole.open(bars, 5), 5, silent)
    wanted, orders = digest(whole, bars), [o.request for o in whole.journal.orders()]
    (tmp_path / "torn").mkdir()
    for _life in range(40):
        own, bars, plan = account(tmp_path / "torn", every)
        first, save, left = own.open(bars, 5), own.journal.save_book, [2]

        def dying(*arguments, save=save, left=left):
            left[0] -= 1
            if not left[0]:
                raise KilledError
            return save(*arguments)

        own.journal.save_book = dying
        try:
            own.live_through(bars, plan, first, 5, silent)
            break
        except KilledError:
            continue
    assert digest(own, bars) == wanted
    assert [o.request for o in own.journal.orders()] == orders


def test_killed_for_real_it_goes_on_to_the_same_ledger(tmp_path):
    def run(home: Path, last: int) -> subprocess.CompletedProcess[str]:
        home.mkdir(exist_ok=True)
        command = [sys.executable, str(HERE / "paper_and_die.py"), str(home), str(last)]
        return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(HERE)})

    wanted = run(tmp_path / "whole", 0).stdout
    assert run(tmp_path / "torn", 7).returncode == -9
    assert run(tmp_path / "torn", 12).returncode == -9
    assert run(tmp_path / "torn", 0).stdout == wanted


def test_a_changed_universe_needs_an_account_of_its_own(tmp_path):
    own, bars, plan = account(tmp_path)
    own.live_through(bars, plan, own.open(bars, 5), 5, silent)
    other = panel_of([(10, 10, 10, 10)] * 30)
    desk, seen = desk_of(replace(other, symbols=("ZZZ",)), ExecutionSection.free(), ACCOUNT)
    with pytest.raises(DataError, match="paper account holds 4 columns"):
        PaperAccount(desk, own.journal, "hash").open(seen, 5)


# -- the switch ----------------------------------------------------------------------------------------------------


def switched(tmp_path: Path, **limits: object) -> tuple[PaperAccount, object, Controls]:
    fall = [(10, 10, 10, 10), (10, 10, 10, 10), (10, 10, 7, 7), (7, 7, 7, 7), (7, 7, 7, 7), (7, 7, 7, 7)]
    panel = panel_of(fall)
    desk, bars = desk_of(panel, ExecutionSection.free(), AccountSection(start_capital=1000), limits=limits)
    store = records(tmp_path)
    controls = Controls(store)
    own = PaperAccount(desk, Journal(store, "paper:x"), "hash", controls)
    return own, bars, controls


def test_halted_by_hand_nothing_is_opened_until_the_release(tmp_path):
    own, bars, controls = switched(tmp_path)
    panel = panel_of([(10, 10, 10, 10)] * 6)
    plan = plan_of(panel, dict.fromkeys(range(6), 0.5))
    controls.halt("the news is bad", by="me")
    own.live_through(bars, plan, own.open(bars, 0), 0, silent)
    assert own.state.gate.halted == KILL_SWITCH
    assert not own.journal.orders()
    assert not own.state.book.shares.any()


def test_a_halt_by_a_limit_is_the_homes_and_lasts_until_a_person_releases_it(tmp_path):
    own, bars, controls = switched(tmp_path, drawdown_max=0.1)
    plan = plan_of(panel_of([(10, 10, 10, 10)] * 6), {0: 0.9, 3: 0.9, 4: 0.9})
    own.live_through(bars, plan, own.open(bars, 0), 0, silent)
    assert controls.state().halted
    assert "drawdown_max" in controls.state().reasons[0]
    assert controls.alerts()[0].kind == "drawdown_max"
    assert not own.state.book.shares.any()
    assert [o.request.side for o in own.journal.orders()] == ["buy", "sell"]
    controls.release("looked at it", by="me")
    again = PaperAccount(own.desk, own.journal, "hash", controls)
    longer = panel_of([(10, 10, 10, 10), (10, 10, 10, 10), (10, 10, 7, 7), *[(7, 7, 7, 7)] * 5])
    desk, bars = desk_of(
        longer, ExecutionSection.free(), AccountSection(start_capital=1000), limits={"drawdown_max": 0.1}
    )
    again = PaperAccount(desk, own.journal, "hash", controls)
    again.live_through(bars, plan_of(longer, {6: 0.9}), again.open(bars, 0), 0, silent)
    assert again.state.book.shares[0] > 0


def test_a_release_is_heeded_before_the_next_bar_comes(tmp_path):
    own, bars, controls = switched(tmp_path)
    plan = plan_of(panel_of([(10, 10, 10, 10)] * 6), dict.fromkeys(range(6), 0.5))
    controls.halt("the news is bad", by="me")
    own.live_through(bars, plan, own.open(bars, 0), 0, silent)
    controls.release("looked at it", by="me")
    again = PaperAccount(own.desk, own.journal, "hash", controls)
    again.live_through(bars, plan, again.open(bars, 0), 0, silent)
    assert again.state.gate.halted == ""
    assert PaperAccount(own.desk, own.journal, "hash", controls).open(bars, 0) == len(bars.times)

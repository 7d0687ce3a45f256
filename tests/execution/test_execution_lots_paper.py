"""The lots of a paper account: its profit, told by what is closed and what is open, to the cent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from execution_desk import desk_of
from execution_market import panel_of, plan_of
from execution_random import ACCOUNT, random_panel, random_plan, settings
from hypothesis import Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from spine_kit import QuickRun, workspace
from tradewind.errors import BugError
from tradewind.evaluation.paper import lots_result, paper
from tradewind.execution import kernel as k
from tradewind.execution.records import Records
from tradewind.execution.settings import AccountSection, ExecutionSection
from tradewind.execution.trading import trade


@given(st.integers(0, 10_000), settings())
@examples(max_examples=25, phases=[Phase.generate])
def test_the_lots_of_any_life_are_its_profit_to_the_cent(seed: int, execution: ExecutionSection) -> None:
    r = np.random.default_rng(seed)
    panel = random_panel(r, bars=40, symbols=4)
    desk, bars = desk_of(panel, execution, ACCOUNT, sleeves=("a", "b"), capital=(0.5, 0.5))
    plan = random_plan(r, (40, 8), shorts=execution.short_allowed)
    done = trade(desk, panel, bars, plan, 3).simulation
    found = lots_result(done.records, panel.times, done.book, ACCOUNT.start_capital)
    parts = sum(round(found[name] * 100) for name in ("realised", "unrealised", "financing"))
    assert parts == round((done.equity[-1] - ACCOUNT.start_capital) * 100)
    paid = sum(done.costs[name] for name in ("commission", "spread", "slippage", "impact"))
    assert found["costs"] == pytest.approx(paid)
    assert found["financing"] == pytest.approx(
        -done.costs["interest"] - done.costs["borrow"] + done.dividends + in_lieu(done.records) - found["income"]
    )


def in_lieu(records: Records) -> float:
    events = records.events
    return float(events[events[:, k.E_KIND] == k.IN_LIEU_EVENT, k.E_CASH].sum() / 100)


def test_what_was_bought_first_is_sold_first() -> None:
    panel = panel_of([(10, 10, 10, 10), (10, 10, 10, 10), (20, 20, 20, 20), (20, 20, 20, 20)])
    free = ExecutionSection.free(fractional_shares=False)
    desk, bars = desk_of(panel, free, AccountSection(start_capital=1000))
    done = trade(desk, panel, bars, plan_of(panel, {0: 0.5, 1: 1.0, 2: 0.5}), 0).simulation
    found = lots_result(done.records, panel.times, done.book, 1000.0)
    assert done.shares[:, 0].tolist() == [0, 50, 75, 37], "50 at 10, 25 at 20, then 38 sold at 20"
    assert (found["realised"], found["unrealised"], found["open"], found["closed"]) == (380.0, 120.0, 2, 1)


def test_lots_that_are_not_the_books_are_a_bug() -> None:
    panel = panel_of([(10, 10, 10, 10)] * 3)
    desk, bars = desk_of(panel, ExecutionSection.free(), AccountSection(start_capital=1000))
    done = trade(desk, panel, bars, plan_of(panel, {0: 0.5}), 0).simulation
    lost = Records(done.records.log[:0])
    with pytest.raises(BugError, match="shares apart"):
        lots_result(lost, panel.times, done.book, 1000.0)


def test_a_replay_on_paper_tells_its_lots(home: Path, quick: QuickRun) -> None:
    found = paper(workspace(quick.playbook, home), replay=True)
    lots = found["lots"]
    assert lots["closed"] > 0 and lots["costs"] > 0
    parts = sum(round(lots[name] * 100) for name in ("realised", "unrealised", "financing"))
    assert parts == round(found["profit"] * 100)

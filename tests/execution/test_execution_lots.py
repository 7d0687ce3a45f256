"""Lots, first in, first out: the same as a plain queue, and every cent of the account in one place."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from execution_random import ACCOUNT, random_orders, random_panel, random_plan, settings
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tradewind.errors import DataError, InputError
from tradewind.execution import ExecutionSection, simulate
from tradewind.execution import lots_kernel as lk
from tradewind.execution.brokers.base import Execution, Movement
from tradewind.execution.lots import SHARE, Flow, Lots, fifo

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SHARES = int(SHARE)


def part(whole: int, piece: int, total: int) -> int:
    return whole if piece == total else round(whole * (piece / total))


@dataclass
class Lot:
    shares: int
    moment: int
    cents: int
    cost: int
    income: int = 0


class Queues:
    """The oracle: a queue of lots for each key, in plain Python."""

    def __init__(self, keys: int, span: int) -> None:
        self.queues: list[deque[Lot]] = [deque() for _ in range(keys)]
        self.closed: list[list[int]] = []
        self.account, self.span = 0, span

    def take(self, key: int, moment: int, shares: int, cents: int, cost: int) -> None:
        lot = self.queues[key][0]
        size, sign = abs(lot.shares), 1 if lot.shares > 0 else -1
        parts = [part(lot.cents, shares, size), part(lot.cost, shares, size), part(lot.income, shares, size)]
        self.closed.append([key, sign * shares, lot.moment, moment, parts[0], cents, parts[1], cost, parts[2]])
        lot.shares -= sign * shares
        lot.cents, lot.cost, lot.income = lot.cents - parts[0], lot.cost - parts[1], lot.income - parts[2]
        if shares == size:
            self.queues[key].popleft()

    def sweep(self, key: int, moment: int) -> None:
        while self.queues[key] and self.queues[key][0].shares == 0:
            self.take(key, moment, 0, 0, 0)

    def fill(self, key: int, moment: int, shares: int, cents: int, cost: int) -> None:
        queue = self.queues[key]
        while shares and queue and queue[0].shares * shares < 0:
            piece = min(abs(shares), abs(queue[0].shares))
            got, paid = part(cents, piece, abs(shares)), part(cost, piece, abs(shares))
            self.take(key, moment, piece, got, paid)
            shares, cents, cost = shares + (piece if shares < 0 else -piece), cents - got, cost - paid
            self.sweep(key, moment)
        if shares:
            queue.append(Lot(shares, moment, cents, cost))

    def lots(self, key: int) -> list[Lot]:
        return [lot for queue in self.queues[key : key + self.span] for lot in queue]

    def income(self, key: int, cents: int) -> None:
        lots = self.lots(key)
        total = sum(lot.shares for lot in lots)
        if total == 0:
            self.account += cents
            return
        until = np.cumsum([lot.shares for lot in lots])
        given = np.diff([round(cents * (int(u) / total)) for u in until], prepend=0)
        for lot, share in zip(lots, given, strict=True):
            lot.income += int(share)

    def split(self, key: int, moment: int, change: int) -> None:
        lots = self.lots(key)
        total = sum(lot.shares for lot in lots)
        if total == 0:
            return
        until = np.cumsum([lot.shares for lot in lots])
        scaled = [round(int(u) * ((total + change) / total)) for u in until]
        scaled[-1] = total + change
        for lot, shares in zip(lots, np.diff(scaled, prepend=0), strict=True):
            lot.shares = int(shares)
        for one in range(key, key + self.span):
            self.sweep(one, moment)

    def replay(self, rows: np.ndarray) -> None:
        for n, (kind, key, moment, shares, cents, cost) in enumerate(rows.tolist()):
            if kind == lk.FILL:
                self.fill(key, moment, shares, cents, cost)
            elif kind == lk.SPLIT:
                self.income(key, cents)
                if n + 1 < len(rows) and rows[n + 1, 0] == lk.IN_LIEU and rows[n + 1, 1] == key:
                    self.income(key, int(rows[n + 1, 4]))
                self.split(key, moment, shares)
            elif kind == lk.INCOME or (kind == lk.IN_LIEU and (n == 0 or rows[n - 1, 0] != lk.SPLIT)):
                self.income(key, cents)
            elif kind == lk.ACCOUNT:
                self.account += cents


def random_flow(r: np.random.Generator, length: int, symbols: int = 3, sleeves: int = 2) -> Flow:
    """Everything at random: fills that cross zero, splits that leave nothing, dividends on nobody's shares."""
    rows, held = [], np.zeros(symbols * sleeves, dtype=np.int64)
    for moment in range(length):
        symbol = int(r.integers(symbols))
        first = symbol * sleeves
        total = int(held[first : first + sleeves].sum())
        chance = r.random()
        if chance < 0.75:
            key = first + int(r.integers(sleeves))
            shares = int(r.integers(1, 50)) * SHARES // int(r.choice([1, 3, 7])) * int(r.choice([-1, 1]))
            held[key] += shares
            rows.append([lk.FILL, key, moment, shares, int(-shares / SHARES * r.uniform(100, 9999)), r.integers(0, 99)])
        elif chance < 0.83 and total > 0 and (held[first : first + sleeves] >= 0).all():
            ratio = float(r.choice([2.0, 0.5, 0.0, 1.5]))
            change = round(total * ratio) - total
            rows.append([lk.SPLIT, first, moment, change, 0, 0])
            if r.random() < 0.5:
                rows.append([lk.IN_LIEU, first, moment, 0, int(r.integers(1, 500)), 0])
            queues = Queues(symbols * sleeves, sleeves)
            queues.replay(np.array(rows, dtype=np.int64))
            held = np.array([sum(lot.shares for lot in queue) for queue in queues.queues])
        elif chance < 0.95:
            rows.append([lk.INCOME, first, moment, 0, int(r.integers(-300, 900)), 0])
        else:
            rows.append([lk.ACCOUNT, -1, moment, 0, int(r.integers(-99, 99)), 0])
    names = tuple("ABCDEF"[:symbols]), tuple("xyz"[:sleeves])
    return Flow(np.array(rows, dtype=np.int64).reshape(-1, lk.FLOW_FIELDS), *names)


def cash_of(rows: np.ndarray) -> int:
    return int(rows[:, lk.F_CENTS].sum() - rows[:, lk.F_COST].sum())


@given(st.integers(0, 10_000), st.integers(1, 120), st.sampled_from([(1, 1), (3, 1), (2, 3)]))
@examples(max_examples=40, deadline=None)
def test_lots_are_those_of_a_plain_queue(seed: int, length: int, shape: tuple[int, int]) -> None:
    flow = random_flow(np.random.default_rng(seed), length, *shape)
    ours, oracle = fifo(flow), Queues(shape[0] * shape[1], shape[1])
    oracle.replay(flow.rows)
    assert ours.closed.tolist() == oracle.closed
    expected = [
        [key, lot.shares, lot.moment, lot.cents, lot.cost, lot.income]
        for key, queue in enumerate(oracle.queues)
        for lot in queue
    ]
    assert ours.open_lots.tolist() == expected
    assert ours.account_cents == oracle.account
    assert ours.cash_cents == cash_of(flow.rows)


@given(st.integers(0, 10_000), st.integers(0, 60))
@examples(max_examples=30, deadline=None)
def test_block_by_block_is_the_same_as_at_once(seed: int, cut: int) -> None:
    flow = random_flow(np.random.default_rng(seed), 60)
    while cut < len(flow.rows) and flow.rows[cut, 0] == lk.IN_LIEU:
        cut += 1  # a payment in lieu stands with its split
    first = fifo(replace(flow, rows=flow.rows[:cut]))
    second, whole = fifo(replace(flow, rows=flow.rows[cut:]), first), fifo(flow)
    assert np.array_equal(np.concatenate([first.closed, second.closed]), whole.closed)
    assert np.array_equal(second.open_lots, whole.open_lots)
    assert first.account_cents + second.account_cents == whole.account_cents


def assert_equity_explained(simulation: Any, lots: Lots) -> None:
    """Realised, unrealised and the account's own are the change of equity, to the cent."""
    marks = simulation.book.state[1]
    change = round((simulation.equity[-1] - simulation.start_capital) * 100)
    assert lots.realised_cents + lots.unrealised_cents(marks) + lots.account_cents == change
    assert lots.cash_cents == round((simulation.cash[-1] - simulation.start_capital) * 100)
    held = np.zeros(len(simulation.symbols))
    np.add.at(held, lots.open_lots[:, lk.L_KEY], lots.open_lots[:, lk.L_SHARES] / SHARE)
    assert held == pytest.approx(simulation.book.shares, abs=1e-9)


@given(st.integers(0, 10_000), settings())
@examples(max_examples=40, deadline=None)
def test_every_cent_of_a_simulated_account_is_in_its_lots(seed: int, execution: ExecutionSection) -> None:
    r = np.random.default_rng(seed)
    panel = random_panel(r)
    execution = execution.model_copy(update={"borrow_bps_per_year": 300.0})
    simulation = simulate(panel, random_plan(r, panel.shape), execution, ACCOUNT, orders=random_orders(r, panel))
    lots = fifo(Flow.of_records(simulation.records, simulation.times, simulation.symbols))
    assert_equity_explained(simulation, lots)
    table = lots.closed_table()
    assert round(table["realised"].sum() * 100) == lots.realised_cents
    assert (table["exit_time"] >= table["entry_time"]).all()


def test_the_ledger_alone_gives_the_same_lots() -> None:
    r = np.random.default_rng(4)
    panel = random_panel(r)
    execution = ExecutionSection(short_allowed=True, margin_leverage_max=2.0, commission_minimum=1.0)
    simulation = simulate(panel, random_plan(r, panel.shape), execution, ACCOUNT)
    of_log = fifo(Flow.of_records(simulation.records, simulation.times, simulation.symbols))
    of_ledger = fifo(Flow.of_ledger(simulation.ledger))
    assert len(of_log.closed) > 20
    assert of_ledger.closed_table().equals(of_log.closed_table())
    assert of_ledger.account_cents == of_log.account_cents


def fill(
    quantity: float, price: float, minutes: int, order: str = "a", symbol: str = "AAA", fee: float = 1.0
) -> Execution:
    return Execution(f"x{minutes}", order, symbol, quantity, price, NOON + timedelta(minutes=minutes), fee)


def test_an_example_by_hand() -> None:
    fills = [fill(10, 20.0, 0), fill(10, 30.0, 60), fill(-15, 40.0, 1440, fee=3.0)]
    moved = [Movement("d", "dividend", NOON + timedelta(minutes=90), "AAA", cash=2.0)]
    lots = fifo(Flow.of_journal(fills, moved))
    table = lots.closed_table()
    assert table["shares"].to_list() == [10.0, 5.0]
    assert table["entry_value"].to_list() == [200.0, 150.0]
    assert table["exit_value"].to_list() == [400.0, 200.0]
    assert table["costs"].to_list() == [3.0, 1.5]
    assert table["income"].to_list() == [1.0, 0.5]
    assert table["realised"].to_list() == [198.0, 49.0]
    assert table["held_days"].to_list() == pytest.approx([1.0, 23 / 24])
    [left] = lots.open_table([42.0]).to_dicts()
    assert (left["shares"], left["entry_value"], left["value"], left["unrealised"]) == (5.0, 150.0, 210.0, 60.0)


def test_a_fill_across_zero_closes_and_opens() -> None:
    lots = fifo(Flow.of_journal([fill(10, 20.0, 0, fee=0.0), fill(-30, 21.0, 1, fee=3.0)]))
    assert lots.closed_table()["realised"].to_list() == [9.0]
    [short] = lots.open_table([20.0]).to_dicts()
    assert (short["shares"], short["entry_value"], short["costs"], short["unrealised"]) == (-20.0, -420.0, 2.0, 18.0)


def test_sleeves_keep_their_own_lots_and_share_what_the_company_pays() -> None:
    fills = [fill(10, 20.0, 0, "a", fee=0), fill(30, 20.0, 1, "b", fee=0), fill(-20, 15.0, 4, "a", fee=0)]
    moved = [
        Movement("s", "split", NOON + timedelta(minutes=2), "AAA", quantity=40.0),
        Movement("d", "dividend", NOON + timedelta(minutes=3), "AAA", cash=8.0),
        Movement("i", "interest", NOON + timedelta(minutes=3), cash=0.5),
    ]
    lots = fifo(Flow.of_journal(fills, moved, {"a": "swing", "b": "position"}))
    [closed] = lots.closed_table().to_dicts()
    assert (closed["sleeve"], closed["shares"], closed["income"], closed["realised"]) == ("swing", 20.0, 2.0, 102.0)
    [left] = lots.open_table([12.0]).to_dicts()
    assert (left["sleeve"], left["shares"], left["income"], left["unrealised"]) == ("position", 60.0, 6.0, 126.0)
    assert lots.account_cents == 50


def test_a_dividend_after_the_sale_belongs_to_no_lot() -> None:
    moved = [Movement("d", "dividend", NOON + timedelta(days=9), "AAA", cash=2.0)]
    lots = fifo(Flow.of_journal([fill(1, 20.0, 0), fill(-1, 20.0, 1)], moved))
    assert (lots.account_cents, lots.cash_cents) == (200, 0)


def test_nothing_happened_is_an_empty_table() -> None:
    lots = fifo(Flow.of_journal([]))
    assert (lots.closed_table().height, lots.open_table([]).height, lots.cash_cents) == (0, 0, 0)


def test_bad_input_is_named() -> None:
    lots = fifo(Flow.of_journal([fill(1, 20.0, 0)]))
    with pytest.raises(DataError, match=r"no price for \['AAA'\]"):
        lots.value_cents([np.nan])
    with pytest.raises(DataError, match="cannot be counted"):
        Flow.of_journal([fill(1e10, 20.0, 0)])
    with pytest.raises(InputError, match="names of the whole life"):
        fifo(Flow.of_journal([fill(1, 20.0, 0, symbol="BBB")]), lots)

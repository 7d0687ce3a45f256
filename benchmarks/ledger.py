"""Replay of a ledger of a million fills into cash, positions and first-in-first-out lots.

The fills are a random walk of 500 positions that grow, shrink and change sides, in the form of the simulator's log.
The peer is the program one would write first: a ``collections.deque`` of lots for each symbol, in plain Python, with
the same whole cents; its lots are the oracle. polars' ``group_by`` sums the same table to cash and positions only (it
has no lots), so its figure stands beside ours for that part and for scale. CPU seconds on one thread, best of several.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from tradewind.execution import kernel as k
from tradewind.execution.lots import Flow, fifo
from tradewind.execution.records import Records

FILLS, SYMBOLS, ROUNDS = 1_000_000, 500, 5
AIMS = {"python_deque": 10.0}
SECONDS = 1.0


def run() -> dict[str, Any]:
    records, times, symbols = account()
    flow = Flow.of_records(records, times, symbols)
    ours, lots = best(lambda: fifo(Flow.of_records(records, times, symbols)))
    fold, _ = best(lambda: fifo(flow))
    slow, theirs = best(lambda: with_deques(flow.rows), rounds=1)
    table = pl.DataFrame(flow.rows[:, 1:], schema=["key", "moment", "shares", "cents", "cost"], orient="row")
    summed, sums = best(lambda: with_polars(table))
    same = lots.closed.tolist() == theirs and lots.cash_cents == int(sums["cash"].sum())
    ratios = {"python_deque": slow / ours}
    return {
        "name": "ledger",
        "ratios": ratios,
        "figures": {
            "fills": FILLS,
            "symbols": SYMBOLS,
            "closed_parts_of_lots": len(lots.closed),
            "open_lots": len(lots.open_lots),
            "seconds": {"tradewind": ours, "of_which_lots": fold, "python_deque": slow},
            "cash_and_positions_alone_seconds": {"polars_group_by": summed},
            "fills_a_second": FILLS / ours,
            "equal_to_the_cent": same,
            "versions": {"polars": pl.__version__},
        },
        "aims": {**AIMS, "seconds": SECONDS},
        "met": bool(same and ours <= SECONDS and ratios["python_deque"] >= AIMS["python_deque"]),
    }


def account() -> tuple[Records, np.ndarray, tuple[str, ...]]:
    """Return a log of fills as the simulator writes it, whole shares, costs on every one."""
    draw = np.random.default_rng(8)
    log = np.zeros((FILLS, k.LOG_FIELDS))
    log[:, k.L_TYPE], log[:, k.L_COLUMN] = k.FILL, draw.integers(SYMBOLS, size=FILLS)
    log[:, k.L_ROW] = np.sort(draw.integers(2520, size=FILLS))
    log[:, k.F_QUANTITY] = draw.integers(1, 200, size=FILLS) * draw.choice([-1, 1], size=FILLS)
    log[:, k.F_PRICE] = np.round(draw.uniform(5, 500, size=FILLS), 2)
    log[:, k.F_CASH] = -np.rint(log[:, k.F_QUANTITY] * log[:, k.F_PRICE] * 100)
    log[:, k.F_COMMISSION] = draw.integers(1, 300, size=FILLS)
    log[:, k.F_SPREAD] = draw.integers(0, 100, size=FILLS)
    times = np.datetime64("2015-01-01T21:00") + np.arange(2520).astype("timedelta64[D]")
    return Records(log), times, tuple(f"S{n:03}" for n in range(SYMBOLS))


def with_deques(rows: np.ndarray) -> list[list[int]]:
    """Return the closed parts of lots, as :attr:`tradewind.execution.lots.Lots.closed` has them."""
    queues: list[deque[list[int]]] = [deque() for _ in range(SYMBOLS)]
    closed: list[list[int]] = []
    for _, key, moment, shares, cents, cost in rows.tolist():
        queue, left = queues[key], shares
        while left and queue and (queue[0][0] > 0) != (left > 0):
            lot = queue[0]
            size, rest = abs(lot[0]), abs(left)
            take = min(size, rest)
            got, paid = part(cents, take, rest), part(cost, take, rest)
            tied, spent = part(lot[2], take, size), part(lot[3], take, size)
            sign = 1 if lot[0] > 0 else -1
            closed.append([key, sign * take, lot[1], moment, tied, got, spent, paid, 0])
            lot[0], lot[2], lot[3] = lot[0] - sign * take, lot[2] - tied, lot[3] - spent
            left, cents, cost = left + sign * take, cents - got, cost - paid
            if take == size:
                queue.popleft()
        if left:
            queue.append([left, moment, cents, cost])
    return closed


def part(whole: int, piece: int, total: int) -> int:
    return whole if piece == total else round(whole * (piece / total))


def with_polars(table: pl.DataFrame) -> pl.DataFrame:
    return table.group_by("key").agg(position=pl.col("shares").sum(), cash=pl.col("cents").sum() - pl.col("cost").sum())


def best(work: Callable[[], Any], rounds: int = ROUNDS) -> tuple[float, Any]:
    """Return the least CPU seconds of several rounds, and the last answer; the first round only compiles."""
    answer = work() if rounds > 1 else None
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        answer = work()
        seconds.append(time.process_time() - start)
    return min(seconds), answer

"""Tables of candles and the fills they must give, worked by hand; each names the rule of docs/fill-rules.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from execution_market import FREE, HALT, NAN, THOUSAND, flat, panel_of, plan_of

from tradewind.execution import simulate

UP = (100, 101, 99, 100)
"""A quiet bar around 100."""


@dataclass(frozen=True)
class Case:
    rule: str
    name: str
    bars: list[tuple[float, ...]]
    weights: dict[int, float]
    fills: list[tuple[int, float, float, str]]
    bracket: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    delay: int = 0
    volume: float | list[list[float]] = 1e9


SHORT = {"short_allowed": True}
CASES = [
    Case("R1", "a decision fills in the next bar", [UP, (100, 101, 99, 100), UP], {0: 0.5}, [(1, 5, 100, "signal")]),
    Case("R1", "a decision in the last bar never fills", [UP, UP], {1: 0.5}, []),
    Case(
        "R2",
        "the size is that of the close, not of the open",
        [UP, (120, 121, 119, 120)],
        {0: 0.5},
        [(1, 5, 120, "signal")],
    ),
    Case("R3", "market on open", [UP, (104, 109, 103, 108)], {0: 0.5}, [(1, 5, 104, "signal")]),
    Case(
        "R4",
        "market on close",
        [UP, (104, 109, 103, 108)],
        {0: 0.5},
        [(1, 5, 108, "signal")],
        settings={"entry": "next_close"},
    ),
    Case(
        "R4",
        "a bracket set at the close works from the next bar",
        [UP, (100, 101, 90, 100), (100, 101, 94, 100)],
        {0: 0.5},
        [(1, 5, 100, "signal"), (2, -5, 95, "stop")],
        {"stop": 0.05},
        {"entry": "next_close"},
    ),
    Case(
        "R5",
        "one bar of delay is sized at the later close",
        [UP, (50, 51, 49, 50), (50, 51, 49, 50)],
        {0: 0.5},
        [(2, 10, 50, "signal")],
        delay=1,
    ),
    Case(
        "R6",
        "after a stop nothing is bought back",
        [UP, (100, 101, 94, 100), UP, UP],
        {0: 0.5},
        [(1, 5, 100, "signal"), (1, -5, 95, "stop")],
        {"stop": 0.05},
    ),
    Case(
        "R6",
        "a new row after a stop buys again",
        [UP, (100, 101, 94, 100), UP, UP],
        {0: 0.5, 2: 0.2},
        [(1, 5, 100, "signal"), (1, -5, 95, "stop"), (3, 1, 100, "signal")],
        {"stop": 0.05},
    ),
    Case(
        "R7",
        "zero closes in spite of the band",
        [UP, UP, UP],
        {0: 0.1, 1: 0.0},
        [(1, 1, 100, "signal"), (2, -1, 100, "signal")],
        settings={"rebalance_band": 0.5},
    ),
    Case(
        "R8",
        "a change inside the band is not sent, one beyond it is",
        [UP, UP, UP, UP],
        {0: 0.3, 1: 0.4, 2: 0.5},
        [(1, 3, 100, "signal"), (3, 2, 100, "signal")],
        settings={"rebalance_band": 0.15},
    ),
    Case(
        "R9",
        "a reversal closes and opens",
        [UP, UP, UP],
        {0: 0.5, 1: -0.3},
        [(1, 5, 100, "signal"), (2, -5, 100, "signal"), (2, -3, 100, "signal")],
        settings=SHORT,
    ),
    Case(
        "R10",
        "an addition brings its own distances, from the average entry",
        [UP, UP, (110, 111, 109, 110), (110, 111, 97, 100)],
        {0: 0.2, 1: 0.4},
        [(1, 2, 100, "signal"), (2, 2, 110, "signal"), (3, -4, 99.75, "stop")],
        {"stop": 0.05},
    ),
    Case(
        "R11",
        "a long stop at its level",
        [UP, UP, (99, 100, 94, 97)],
        {0: 0.5},
        [(1, 5, 100, "signal"), (2, -5, 95, "stop")],
        {"stop": 0.05},
    ),
    Case(
        "R11",
        "a short stop at its level",
        [UP, UP, (101, 106, 100, 103)],
        {0: -0.5},
        [(1, -5, 100, "signal"), (2, 5, 105, "stop")],
        {"stop": 0.05},
        SHORT,
    ),
    Case(
        "R11",
        "a low that touches the stop is enough",
        [UP, UP, (99, 100, 95, 97)],
        {0: 0.5},
        [(1, 5, 100, "signal"), (2, -5, 95, "stop")],
        {"stop": 0.05},
    ),
    Case(
        "R11",
        "a low above the stop is not",
        [UP, UP, (99, 100, 95.01, 97)],
        {0: 0.5},
        [(1, 5, 100, "signal")],
        {"stop": 0.05},
    ),
    Case(
        "R12",
        "a gap through a long stop fills at the open",
        [UP, UP, (90, 96, 88, 92)],
        {0: 0.5},
        [(1, 5, 100, "signal"), (2, -5, 90, "stop")],
        {"stop": 0.05},
    ),
    Case(
        "R12",
        "a gap through a short stop fills at the open",
        [UP, UP, (110, 112, 104, 111)],
        {0: -0.5},
        [(1, -5, 100, "signal"), (2, 5, 110, "stop")],
        {"stop": 0.05},
        SHORT,
    ),
    Case(
        "R13",
        "a take-profit at its price",
        [UP, UP, (101, 111, 100, 105)],
        {0: 0.5},
        [(1, 5, 100, "signal"), (2, -5, 110, "take_profit")],
        {"take_profit": 0.1},
    ),
    Case(
        "R13",
        "an open beyond the take-profit is taken",
        [UP, UP, (115, 116, 112, 113)],
        {0: 0.5},
        [(1, 5, 100, "signal"), (2, -5, 115, "take_profit")],
        {"take_profit": 0.1},
    ),
    Case(
        "R13",
        "a short take-profit",
        [UP, UP, (99, 100, 89, 95)],
        {0: -0.5},
        [(1, -5, 100, "signal"), (2, 5, 90, "take_profit")],
        {"take_profit": 0.1},
        SHORT,
    ),
    Case(
        "R14",
        "both barriers in one bar: the stop, and it is counted",
        [UP, UP, (100, 111, 94, 105)],
        {0: 0.5},
        [(1, 5, 100, "signal"), (2, -5, 95, "stop")],
        {"stop": 0.05, "take_profit": 0.1},
        counts={"ambiguous_bars": 1},
    ),
    Case(
        "R14",
        "an open beyond the target decides first",
        [UP, UP, (112, 113, 90, 105)],
        {0: 0.5},
        [(1, 5, 100, "signal"), (2, -5, 112, "take_profit")],
        {"stop": 0.05, "take_profit": 0.1},
        counts={"ambiguous_bars": 0},
    ),
    Case(
        "R14",
        "an open beyond the stop decides first",
        [UP, UP, (93, 113, 90, 105)],
        {0: 0.5},
        [(1, 5, 100, "signal"), (2, -5, 93, "stop")],
        {"stop": 0.05, "take_profit": 0.1},
        counts={"ambiguous_bars": 0},
    ),
    Case(
        "R15",
        "a stop in the entry bar",
        [UP, (100, 101, 94, 99)],
        {0: 0.5},
        [(1, 5, 100, "signal"), (1, -5, 95, "stop")],
        {"stop": 0.05},
    ),
    Case(
        "R15",
        "a target in the entry bar",
        [UP, (100, 112, 99, 99)],
        {0: 0.5},
        [(1, 5, 100, "signal"), (1, -5, 110, "take_profit")],
        {"take_profit": 0.1},
    ),
    Case(
        "R16",
        "the trail follows the best complete bar",
        [UP, (100, 110, 99, 108), (108, 120, 100, 118), (118, 119, 107, 110)],
        {0: 0.5},
        [(1, 5, 100, "signal"), (3, -5, 108, "trail")],
        {"trail": 0.1},
    ),
    Case(
        "R16",
        "in the entry bar the trail hangs on the fill",
        [UP, (100, 130, 91, 128)],
        {0: 0.5},
        [(1, 5, 100, "signal")],
        {"trail": 0.1},
    ),
    Case(
        "R16",
        "the tighter of stop and trail holds",
        [UP, (100, 110, 99, 108), (108, 109, 98, 100)],
        {0: 0.5},
        [(1, 5, 100, "signal"), (2, -5, 99, "trail")],
        {"trail": 0.1, "stop": 0.05},
    ),
    Case(
        "R16",
        "a short trail follows the lowest low",
        [UP, (100, 101, 80, 82), (82, 89, 81, 88)],
        {0: -0.5},
        [(1, -5, 100, "signal"), (2, 5, 88, "trail")],
        {"trail": 0.1},
        SHORT,
    ),
    Case(
        "R17",
        "two closes lived through",
        [UP, UP, (101, 103, 100, 102), UP],
        {0: 0.5},
        [(1, 5, 100, "signal"), (2, -5, 102, "time")],
        {"max_bars": 2},
    ),
    Case(
        "R17",
        "a day trade",
        [UP, (100, 103, 99, 102), UP],
        {0: 0.5},
        [(1, 5, 100, "signal"), (1, -5, 102, "time")],
        {"max_bars": 1},
    ),
    Case(
        "R17",
        "entered at the close, left at the next",
        [UP, (100, 103, 99, 102), (101, 104, 100, 103)],
        {0: 0.5},
        [(1, 5, 102, "signal"), (2, -5, 103, "time")],
        {"max_bars": 1},
        {"entry": "next_close"},
    ),
    Case(
        "R17",
        "said again, the clock starts again though nothing is traded",
        [UP, UP, UP, (101, 103, 100, 102), UP],
        {0: 0.5, 1: 0.5},
        [(1, 5, 100, "signal"), (3, -5, 102, "time")],
        {"max_bars": 2},
    ),
    Case(
        "R17",
        "a shorter time said later does not cut a longer one",
        [UP, UP, UP, (101, 103, 100, 102), UP],
        {0: 0.5, 1: 0.5},
        [(1, 5, 100, "signal"), (3, -5, 102, "time")],
        {"max_bars": [3, 1, NAN, NAN, NAN]},
    ),
    Case(
        "R17",
        "said again at the close, the clock starts at the next bar",
        [UP, UP, UP, (100, 103, 99, 102), UP],
        {0: 0.5, 1: 0.5},
        [(1, 5, 100, "signal"), (3, -5, 102, "time")],
        {"max_bars": 1},
        {"entry": "next_close"},
    ),
    Case(
        "R17",
        "the stop is faster than the clock",
        [UP, UP, (99, 100, 94, 97)],
        {0: 0.5},
        [(1, 5, 100, "signal"), (2, -5, 95, "stop")],
        {"stop": 0.05, "max_bars": 2},
    ),
    Case(
        "R18",
        "a sale at the open comes before the stop",
        [UP, UP, (93, 94, 90, 92)],
        {0: 0.5, 1: 0.0},
        [(1, 5, 100, "signal"), (2, -5, 93, "signal")],
        {"stop": 0.05},
    ),
    Case(
        "R19",
        "a stop cancels the market-on-close order",
        [UP, UP, (100, 101, 94, 100), UP],
        {0: 0.2, 1: 0.8},
        [(1, 2, 100, "signal"), (2, -2, 95, "stop")],
        {"stop": 0.05},
        {"entry": "next_close"},
        counts={"cancelled_by_exit": 1},
    ),
    Case(
        "R22",
        "an overnight gap does not overdraw the account",
        [UP, (125, 126, 124, 125)],
        {0: 1.0},
        [(1, 8, 125, "signal")],
        counts={"clipped_by_cash": 1},
    ),
    Case(
        "R22", "with leverage two", [UP, UP], {0: 1.5}, [(1, 15, 100, "signal")], settings={"margin_leverage_max": 2.0}
    ),
    Case("R23", "no shorts where they are not allowed", [UP, UP], {0: -0.5}, [], counts={"rejected_short": 1}),
    Case(
        "R23",
        "a negative weight closes the long",
        [UP, UP, UP],
        {0: 0.5, 1: -0.5},
        [(1, 5, 100, "signal"), (2, -5, 100, "signal")],
    ),
    Case(
        "R24",
        "the part beyond the volume limit is cancelled",
        [UP, UP, UP],
        {0: 0.5},
        [(1, 3, 100, "signal")],
        settings={"participation_max": 0.1},
        volume=30,
        counts={"clipped_by_volume": 1},
    ),
    Case(
        "R24",
        "or carried",
        [UP, UP, (101, 102, 100, 101), UP],
        {0: 0.5},
        [(1, 3, 100, "signal"), (2, 2, 101, "signal")],
        settings={"participation_max": 0.1, "participation_remainder": "carry"},
        volume=30,
    ),
    Case(
        "R24",
        "an exit goes on until it is done",
        [UP, UP, (99, 100, 94, 97), (97, 98, 96, 97), UP],
        {0: 0.5},
        [(1, 5, 100, "signal"), (2, -3, 95, "stop"), (3, -2, 97, "stop")],
        {"stop": 0.05},
        {"participation_max": 0.1},
        volume=[[1e9], [1e9], [30], [30], [30]],
    ),
    Case("R24", "no volume, no fill", [UP, UP], {0: 0.5}, [], volume=0),
    Case(
        "R24",
        "an unknown volume limits nothing",
        [UP, UP],
        {0: 0.5},
        [(1, 5, 100, "signal")],
        volume=NAN,
        counts={"fills_without_known_volume": 1},
    ),
    Case("R25", "whole shares are rounded towards zero", [UP, UP], {0: 0.59}, [(1, 5, 100, "signal")]),
    Case("R25", "short ones too", [UP, UP], {0: -0.59}, [(1, -5, 100, "signal")], settings=SHORT),
    Case(
        "R25",
        "millionths of a share",
        [(3, 3, 3, 3), (3, 3, 3, 3)],
        {0: 0.5},
        [(1, 166.666666, 3, "signal")],
        settings={"fractional_shares": True},
    ),
    Case(
        "R32",
        "a halt is waited out",
        [UP, HALT, HALT, (104, 105, 103, 104)],
        {0: 0.5},
        [(3, 5, 104, "signal")],
        counts={"waited_for_a_bar": 2},
    ),
    Case("R32", "a newer row replaces what waits", [UP, HALT, HALT, UP], {0: 0.5, 1: 0.2}, [(3, 2, 100, "signal")]),
    Case(
        "R32",
        "a stop waits and fills at the open after the halt",
        [UP, UP, HALT, (80, 85, 79, 84)],
        {0: 0.5},
        [(1, 5, 100, "signal"), (3, -5, 80, "stop")],
        {"stop": 0.05},
    ),
    Case(
        "R33",
        "a symbol without bars is closed at its last close",
        [UP, UP, HALT, HALT, HALT],
        {0: 0.5},
        [(1, 5, 100, "signal"), (3, -5, 100, "delisted")],
        settings={"delisted_after_bars": 2},
        counts={"delisted": 1},
    ),
    Case(
        "R33",
        "less a haircut",
        [UP, UP, HALT, HALT],
        {0: 0.5},
        [(1, 5, 100, "signal"), (3, -5, 70, "delisted")],
        settings={"delisted_after_bars": 2, "delisting_haircut": 0.3},
    ),
    Case(
        "R33",
        "which a short does not gain",
        [UP, UP, HALT, HALT],
        {0: -0.5},
        [(1, -5, 100, "signal"), (3, 5, 100, "delisted")],
        settings={"delisted_after_bars": 2, "delisting_haircut": 0.3, **SHORT},
    ),
    Case(
        "R36",
        "a margin call closes the book at the next open",
        [*flat(100, 2), (100, 175, 100, 170), (172, 175, 170, 171), UP],
        {0: -0.9, 2: -0.1},
        [(1, -9, 100, "signal"), (3, 9, 172, "margin_call")],
        settings=SHORT,
        counts={"margin_calls": 1},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule} {case.name}")
def test_the_candles_give_the_fills_worked_by_hand(case: Case) -> None:
    panel = panel_of(case.bars, volume=case.volume)
    plan = plan_of(panel, case.weights, case.delay, **case.bracket)
    result = simulate(panel, plan, FREE.model_copy(update=case.settings), THOUSAND)
    fills = [(row, quantity, pytest.approx(price, abs=1e-12), reason) for row, quantity, price, reason in case.fills]
    assert result.fills.select("row", "quantity", "price", "reason").rows() == fills
    for name, count in case.counts.items():
        assert result.counts[name] == count, name

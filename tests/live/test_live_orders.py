"""A person's order: one decision in the rule's place, at one close, through every limit, halt and kill."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_kit import LIVED, PAIR, home_of, lived
from test_live_market import lived as lived_on_paper
from test_live_market import workspace as paper_workspace

from spine_kit import PLAYBOOK, prices, system, workspace
from tradewind.clock import SystemClock
from tradewind.errors import DataError, InputError, SafetyStop
from tradewind.evaluation.account import Clock, Wanted
from tradewind.evaluation.prediction_log import as_datetime
from tradewind.evaluation.recommend import Decision
from tradewind.evaluation.workspace import Workspace
from tradewind.execution import kernel as k
from tradewind.execution.controls import Controls
from tradewind.execution.manual import REPLACED, ManualOrder, ManualOrders
from tradewind.live.acting import ASKED, SAID, Acted, acted_on
from tradewind.live.ordered import Bounds, bracket, came_due, require_within
from tradewind.live.service import LiveRuntime
from tradewind.live.settings import LiveSection
from tradewind.live.settings_drift import DriftSection
from tradewind.live.trader import Trader, iso
from tradewind.market.panel import Panel
from tradewind.market.sources.replay import Faults, ReplayClock

HERE = Path(__file__).parent
NOW = datetime(2026, 11, 30, 20, 0, tzinfo=UTC)
BUY = ManualOrder("one", "live:sample", "AAA", "BUY", 0.05, 95.0, 110.0, "cheap", "ann", NOW, NOW)
WITHIN = Bounds(price=100.0, weight_max=0.1, short_allowed=True, fractional_shares=False, stop_distance=0.02)

Act = Callable[[LiveRuntime], Awaitable[None]]

NEVER_SURE = {"decision__confidence_min": "0.99", "decision__confidence_exit": "0.98"}


def at_bars(**acts: Act) -> Callable[[LiveRuntime, int], Awaitable[None]]:
    """Act before some bars, named `b3` and so on."""

    async def talk(runtime: LiveRuntime, number: int) -> None:
        if f"b{number}" in acts:
            await acts[f"b{number}"](runtime)

    return talk


def order(symbol: str, side: str, weight: float = 0.07, *, name: str = "one", stop: float = 0.3, **more: Any) -> Act:
    """Order with a stop that far from the last price; it is so far that no bar reaches it."""

    async def act(runtime: LiveRuntime) -> None:
        price = runtime.ticket(symbol)["price"]
        level = price * (1 - stop if side == "BUY" else 1 + stop)
        await runtime.command(
            "order", "ann", id=name, symbol=symbol, side=side, weight=weight, stop=level, reason="so", **more
        )

    return act


def close(symbol: str, *, name: str = "gone") -> Act:
    async def act(runtime: LiveRuntime) -> None:
        await runtime.command("close_position", "ann", id=name, symbol=symbol, reason="enough")

    return act


def held_after_each_bar(work: Workspace, symbol: str, **acts: Act) -> tuple[LiveRuntime, list[float]]:
    """Live through all bars; return the shares of a symbol after each."""
    shares: list[float] = []
    talk = at_bars(**acts)

    async def listen(runtime: LiveRuntime, number: int) -> None:
        if number:
            shares.append(_shares(runtime, symbol))
        await talk(runtime, number)

    runtime = asyncio.run(lived(work, listen))
    return runtime, [*shares, _shares(runtime, symbol)]


def _shares(runtime: LiveRuntime, symbol: str) -> float:
    return float(sum(one["shares"] for one in runtime.positions() if one["symbol"] == symbol))


# -- what it does to the account --------------------------------------------------------------------------------


def test_a_buy_fills_at_the_next_open_and_the_rule_which_goes_on_selling_does_not_undo_it(tmp_path: Path) -> None:
    work = home_of(tmp_path)
    untouched, rule = held_after_each_bar(work, "AAA")
    assert untouched.parity() == []
    assert rule[-1] < 0, "the rule is short of it to the end"
    runtime, shares = held_after_each_bar(home_of(tmp_path / "again"), "AAA", b5=order("AAA", "BUY"))
    assert shares[5] == rule[5], "decided at the close of bar 5"
    assert shares[6] > 0
    assert set(shares[6:]) == {shares[6]}, "and held, since neither stop nor time nor a signal that goes on closes it"
    assert runtime.parity() == []
    (told,) = runtime.manual_orders()
    assert (told["state"], len(told["orders"])) == ("applied", 2)
    panel = runtime.prepared.finest.panel  # type: ignore[union-attr]
    assert told["effective"][:19] == iso(panel.times[-LIVED + 5])[:19]


def test_a_close_closes_and_the_signal_that_goes_on_does_not_open_it_again(tmp_path: Path) -> None:
    _, rule = held_after_each_bar(home_of(tmp_path), "AAA")
    assert all(rule[9:]), "the rule is short of it"
    runtime, shares = held_after_each_bar(home_of(tmp_path / "again"), "AAA", b10=close("AAA"))
    assert shares[10] == rule[10]
    assert shares[11:] == [0.0] * (LIVED - 11)
    assert runtime.parity() == []


def test_of_a_symbol_that_the_rule_holds_off_a_short_is_opened_kept_and_closed_by_hand(tmp_path: Path) -> None:
    _, rule = held_after_each_bar(home_of(tmp_path, **NEVER_SURE), "CCC")
    assert set(rule) == {0.0}, "the rule says HOLD to the end"
    runtime, shares = held_after_each_bar(
        home_of(tmp_path / "again", **NEVER_SURE), "CCC", b4=order("CCC", "SELL", 0.05), b20=close("CCC")
    )
    assert shares[5] < 0
    assert set(shares[5:21]) == {shares[5]}, "its HOLD closes nothing"
    assert set(shares[21:]) == {0.0}
    assert runtime.parity() == []


@pytest.mark.parametrize(
    ("weight", "stop", "sector_max", "becomes"),
    [(0.03, 0.25, "4.0", 0.03), (0.19, 0.25, "4.0", 0.19), (0.09, 0.05, "4.0", None), (0.19, 0.25, "0.1", None)],
    ids=["smaller", "larger", "a size within the band, a tighter stop", "more, of which a limit lets nothing"],
)
def test_an_order_on_the_side_that_is_held_gives_it_the_stop_and_the_target_of_the_order_alone(
    tmp_path: Path, weight: float, stop: float, sector_max: str, becomes: float | None
) -> None:
    settings = {"decision__trailing_stop": "true", "decision__take_profit": "true", "execution__rebalance_band": "0.03",
                "sizing__risk_per_trade": "0.005", "limits__sector_max": sector_max}  # fmt: skip
    books: list[Any] = []

    async def listen(runtime: LiveRuntime, number: int) -> None:
        books.append(runtime.prepared.trader.paper.book.state[:, 0].copy())  # type: ignore[union-attr]
        if number == 11:
            await order("AAA", "SELL", weight, stop=stop)(runtime)

    runtime = asyncio.run(lived(home_of(tmp_path, **settings), listen))
    (told,) = runtime.manual_orders()
    opened, until_then, held = books[10], books[12], books[13]
    assert opened[k.SHARES] < 0
    assert np.isfinite(opened[[k.STOP, k.TAKE, k.TRAIL, k.DUE]]).all(), "the rule's short has it all"
    assert until_then[k.DUE] < runtime.prepared.trader.paper.book.row, "and its time is over"  # type: ignore[union-attr]
    assert held[k.ENTRY] * (1 + held[k.STOP]) == pytest.approx(told["stop"])
    assert np.isnan(held[[k.TAKE, k.TRAIL, k.DUE]]).all()
    size = -held[k.SHARES] * until_then[k.MARK] / runtime.equity()[12]["equity"]
    assert (becomes is None) == (held[k.SHARES] == until_then[k.SHARES])
    assert becomes is None or size == pytest.approx(becomes, rel=0.02)
    assert {book[k.SHARES] for book in books[13:]} == {held[k.SHARES]}
    assert runtime.parity() == []


@pytest.fixture(scope="module")
def decision(tmp_path_factory: pytest.TempPathFactory) -> Decision:
    """A decision over every bar; positions change at every second one of them."""
    runtime, _ = held_after_each_bar(home_of(tmp_path_factory.mktemp("decision"), **NEVER_SURE), "CCC")
    assert runtime.loop is not None
    assert runtime.loop.shown is not None
    return runtime.loop.shown.steps[""].decision


def said(decision: Decision, actions: str, column: int = 1) -> tuple[Decision, int]:
    """Let the rule say `-` HOLD, `B` or `S` in the last rows; return it, and the first of them, at which it may act."""
    first = len(decision.world.panel) - len(actions)
    assert decision.world.plan.decision.due(first + 1)[first]
    action, weight, shut = decision.signals.action.copy(), decision.targets.weight.copy(), decision.signals.close.copy()
    for row, word in enumerate(actions, start=first):
        side = {"-": 0, "B": 1, "S": -1}[word]
        action[row, column], weight[row, column] = side, 0.1 * side
        shut[row, column] = True
    signals = replace(decision.signals, action=action, close=shut, cover=shut.copy())
    return replace(decision, signals=signals, targets=replace(decision.targets, weight=weight)), first


@pytest.mark.parametrize(
    ("actions", "side", "weights"),
    [  # the order is of the third row; the account hears rows 0, 2, 4, ... ; `.` is no word, `c` closes
        ("------------", "BUY", "c.o........."),
        ("SSSSSSSSSSSS", "BUY", "s.o........."),
        ("SSSS--SS--BB", "BUY", "s.o...s.c.b."),
        ("------BBBBBB", "BUY", "c.o...b.b.b."),
        ("---B--BB----", "BUY", "c.o...b.c.c."),
        ("------BB--BB", "CLOSE", "c.c...b.c.b."),
        ("BBBBBB------", "CLOSE", "b.c........."),
        ("BBBBBB--BBSS", "CLOSE", "b.c.....b.s."),
    ],
)
def test_after_an_order_the_rule_is_heard_again_at_its_next_new_word(
    decision: Decision, actions: str, side: Any, weights: str
) -> None:
    told, first = said(decision, actions)
    panel = told.world.panel
    at = as_datetime(panel.times[first + 2])
    price = float(panel.close[first + 2, 1])
    mine = replace(
        BUY, symbol="BBB", side=side, weight=0.05, stop=price / 2, target=None, state="applied", effective=at
    )  # fmt: skip
    done = acted_on(told, {}, [mine])
    heard = scheduled_or_ordered(done)[first:, 1]
    words = {0.05: "o", 0.1: "b", -0.1: "s", 0.0: "c"}
    assert "".join("." if np.isnan(w) else words[round(float(w), 2)] for w in heard) == weights
    assert np.array_equal(done.targets.weight[:, 0], told.targets.weight[:, 0], equal_nan=True)
    assert np.array_equal(done.targets.weight[: first + 2, 1], told.targets.weight[: first + 2, 1], equal_nan=True)
    earlier = acted_on(_until(told, first + 8), {}, [mine])
    assert np.array_equal(earlier.targets.weight[:, 1], done.targets.weight[: first + 8, 1], equal_nan=True)


@pytest.mark.parametrize(
    ("actions", "held", "side", "weights"),
    [
        ("BBBBBBBBBBBB", (4, 6), "CLOSE", "b.c........."),
        ("BBBBBBBBBBBB", (4, 4), "SELL", "b.o........."),
        ("SSSSBBBBBBBB", (4, 6), "CLOSE", "s.c.....b.b."),
        ("SSSSSSBBBB--", (2, 3), "BUY", "s.o...b.b.c."),
    ],
)
def test_what_drift_has_stopped_meanwhile_is_no_new_word_when_it_goes_on(
    decision: Decision, actions: str, held: tuple[int, int], side: Any, weights: str
) -> None:
    told, first = said(decision, actions)
    panel = told.world.panel
    price = float(panel.close[first + 2, 1])
    mine = replace(
        BUY, symbol="BBB", side=side, weight=0.05, stop=price * (0.5 if side == "BUY" else 1.5), target=None,
        state="applied", effective=as_datetime(panel.times[first + 2]),
    )  # fmt: skip
    spans = {"seat": [(panel.times[first + held[0]], panel.times[first + held[1]])]}
    heard = scheduled_or_ordered(acted_on(told, spans, [mine]))[first:, 1]
    words = {0.05: "o", -0.05: "o", 0.1: "b", -0.1: "s", 0.0: "c"}
    assert "".join("." if np.isnan(w) else words[round(float(w), 2)] for w in heard) == weights


LAST = 14
"""Rows of a random history."""


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[str], list[tuple[int, str, str]], list[tuple[str, int, int]], int]:
    """Words of the rule by symbol; orders as row, symbol and side; spans held back by seat; the first row lived."""
    words = draw(st.lists(st.text("-BS", min_size=LAST, max_size=LAST), min_size=3, max_size=3))
    rows = st.integers(0, LAST - 1)
    orders = st.tuples(rows, st.sampled_from(["AAA", "BBB", "CCC", "GONE"]), st.sampled_from(["BUY", "SELL", "CLOSE"]))
    ordered = sorted(draw(st.lists(orders, max_size=8)), key=lambda one: one[0])
    spans = st.tuples(st.sampled_from(["one", "two"]), rows, rows).filter(lambda span: span[1] <= span[2])
    return words, ordered, draw(st.lists(spans, max_size=3)), draw(rows)


@settings(max_examples=150, deadline=None)
@given(histories())
def test_bar_by_bar_the_account_hears_what_the_whole_history_says(request: Any, history: Any) -> None:
    words, ordered, spans, born = history
    told = request.getfixturevalue("decision")
    for column, said_of_it in enumerate(words):
        told, first = said(told, said_of_it, column)
    panel, orders, acted = told.world.panel, [], Acted()
    for number, (row, symbol, side) in enumerate(ordered):
        price = 100.0 if symbol == "GONE" else float(panel.close[first + row, panel.symbols.index(symbol)])
        levels = {"BUY": (price / 2, price * 2), "SELL": (price * 1.5, price / 2), "CLOSE": (None, None)}[side]
        given: dict[str, Any] = {"id": str(number), "symbol": symbol, "side": side, "weight": 0.01 * (number + 1)}
        at = as_datetime(panel.times[first + row])
        orders.append(replace(BUY, **given, stop=levels[0], target=levels[1], reason=f"no. {number}", effective=at))
    for row in range(born, LAST):
        known = _until(told, first + row + 1)
        held: dict[str, list[Any]] = {}
        for seat, a, b in spans:
            if a <= row:
                last = panel.times[first + b] if b < row else None
                held.setdefault(seat, []).append((panel.times[first + a], last))
        there = [one for one, (at, _, _) in zip(orders, ordered, strict=True) if at <= row + 1]  # one may wait for it
        assert_same(acted.step(known, held, there), acted_on(known, held, there))


def assert_same(live: Decision, whole: Decision) -> None:
    for name in SAID:
        np.testing.assert_array_equal(getattr(live.signals, name), getattr(whole.signals, name), err_msg=name)
    for name in ASKED:
        np.testing.assert_array_equal(getattr(live.targets, name), getattr(whole.targets, name), err_msg=name)
    np.testing.assert_equal(live.signals.by_hand, whole.signals.by_hand)
    assert (live.signals.clauses, live.targets.steps) == (whole.signals.clauses, whole.targets.steps)


def test_without_orders_and_spans_a_decision_is_handed_through(decision: Decision) -> None:
    assert Acted().step(decision, {}, []) is decision


def scheduled_or_ordered(decision: Decision) -> Any:
    """The weights that the account hears."""
    wanted = Wanted("", decision.world, decision.signals, decision.targets, 0)
    return Clock.of([wanted]).plan().weight


def _until(decision: Decision, stop: int) -> Decision:
    """The decision as it was some bars ago."""
    world, signals, targets = decision.world, decision.signals, decision.targets
    names = ("action", "decided", "close", "cover", "horizon_bars", "confidence", "stop", "target", "clause")
    return replace(
        decision,
        world=replace(world, panel=world.panel.head(stop)),
        signals=replace(signals, **{name: getattr(signals, name)[:stop] for name in names}),
        targets=replace(targets, weight=targets.weight[:stop], bound_by=targets.bound_by[:stop]),
    )


def test_an_order_of_a_bar_or_symbol_that_is_not_there_changes_nothing(decision: Decision) -> None:
    panel = decision.world.panel
    mine = replace(BUY, state="applied", effective=as_datetime(panel.times[-1]) + timedelta(minutes=1))
    gone = replace(mine, symbol="GONE", effective=as_datetime(panel.times[-1]))
    assert acted_on(decision, {}, [mine, gone]) is decision


def test_an_order_stands_while_recommendations_are_stopped(decision: Decision) -> None:
    told, first = said(decision, "BBBBBBBBBBBB")
    panel = told.world.panel
    mine = replace(
        BUY, symbol="BBB", stop=float(panel.close[first + 2, 1]) / 2, target=None, state="applied",
        effective=as_datetime(panel.times[first + 2]),
    )  # fmt: skip
    done = acted_on(told, {"seat": [(panel.times[first], None)]}, [mine])
    assert done.targets.weight[first + 2, 1] == 0.05
    assert np.isnan(done.targets.weight[first + 3 :]).all()
    assert done.signals.clauses[int(done.signals.clause[first + 2, 1])] == "ordered by ann: cheap"
    assert "drifted" in done.signals.clauses[int(done.signals.clause[first + 3, 0])]


def test_an_order_is_heard_between_the_bars_that_a_playbook_decides_at_with_its_own_stop_and_target(
    tmp_path: Path,
) -> None:
    work = home_of(tmp_path, **NEVER_SURE, decision__every_bars="5", decision__trailing_stop="true")

    async def act(runtime: LiveRuntime) -> None:
        panel = runtime.prepared.finest.loaded.panel  # type: ignore[union-attr]
        row, column = len(panel) - LIVED + 7, panel.symbols.index("CCC")
        assert row % 5 != 0, "none that the playbook decides at"
        reached = float(np.max(panel.fields["high"][row + 2 :, column]))
        now = float(max(panel.close[row - 1 : row + 1, column]))
        assert reached > now
        await runtime.command(
            "order", "ann", id="one", symbol="CCC", side="BUY", weight=0.05, stop=now * 0.7,
            target=(now + reached) / 2, reason="a quick one",
        )  # fmt: skip

    runtime, shares = held_after_each_bar(work, "CCC", b7=act)
    assert work.plan.decision.take_profit is False, "the rule's targets are shown, not traded"
    assert [one["state"] for one in runtime.manual_orders()] == ["applied"]
    sold, bought = (one["quantity"] for one in runtime.fills())
    assert bought == -sold > 0, "the target closed it"
    assert shares[-1] == 0
    assert runtime.parity() == []


def test_limits_size_and_reasons_are_those_of_any_order(tmp_path: Path) -> None:
    runtime, shares = held_after_each_bar(home_of(tmp_path, **NEVER_SURE), "CCC", b4=order("CCC", "BUY", 0.2))
    panel = runtime.prepared.finest.panel  # type: ignore[union-attr]
    price = panel.close[-LIVED + 4, panel.symbols.index("CCC")]
    assert shares[5] * price == pytest.approx(0.2 * runtime.equity()[4]["equity"], rel=0.02)
    told = next(one for one in runtime.signals(symbol="CCC", limit=LIVED) if one["action"] == "BUY")
    assert told["reasons"][0] == "ordered by ann: so"
    assert (told["bound_by"], told["weight"]) == ("order", 0.2)
    assert told["stop"] == pytest.approx(0.7 * panel.close[-LIVED + 3, panel.symbols.index("CCC")])


def test_braces_in_a_reason_are_words(tmp_path: Path) -> None:
    async def act(runtime: LiveRuntime) -> None:
        price = runtime.ticket("CCC")["price"]
        await runtime.command(
            "order", "ann", id="x", symbol="CCC", side="BUY", weight=0.05, stop=price / 2, reason="{0} {a.b}"
        )

    runtime, _ = held_after_each_bar(home_of(tmp_path), "CCC", b4=act)
    assert any("ordered by ann: {0} {a.b}" in one["reasons"] for one in runtime.signals(symbol="CCC", limit=LIVED))


def test_on_paper_an_order_waits_for_the_close_after_it_and_heeds_the_switch_of_the_home(tmp_path: Path) -> None:
    work = paper_workspace(tmp_path, decision__confidence_min="0.99", decision__confidence_exit="0.98")
    seen: dict[str, Any] = {}

    async def before(runtime: LiveRuntime, number: int) -> None:
        symbol = runtime.symbols()[0]["symbol"]
        switch = Controls(work.records)
        if number == 5:
            await order(symbol, "BUY", 0.05)(runtime)
        elif number == 8:
            seen["held"] = _shares(runtime, symbol)
            await close(symbol)(runtime)
        elif number == 12:
            await order(symbol, "BUY", 0.05, name="late")(runtime)
            switch.halt("a test", "ann")
            with pytest.raises(SafetyStop, match="a test"):
                await order(symbol, "BUY", 0.05, name="later")(runtime)
        elif number == 15:
            switch.release("a test", "ann")

    runtime, _ = asyncio.run(
        lived_on_paper(work, Faults(), before, end=datetime(2016, 3, 29, 23, 0, tzinfo=UTC))
    )  # fmt: skip
    assert runtime.prepared is not None
    panel = runtime.prepared.finest.panel
    late, out, one = runtime.manual_orders()
    assert (late["state"], late["why"]) == ("refused", "trading is halted: a test")
    assert [out["state"], one["state"]] == ["applied", "applied"]
    asked = datetime.fromisoformat(one["asked_at"])
    assert one["effective"] == next(at for at in map(as_datetime, panel.times) if at >= asked).isoformat()
    assert seen["held"] > 0 == _shares(runtime, one["symbol"])
    assert len(runtime.fills()) == 2
    assert runtime.parity() == []


# -- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"stop": 100.0}, "below the last price, 100"),
        ({"stop": 130.0}, "below the last price, 100"),
        ({"side": "SELL", "stop": 99.0, "target": None}, "above the last price, 100"),
        ({"side": "SELL", "stop": 201.0, "target": None}, "not as far away"),
        ({"side": "SELL", "stop": 105.0, "target": 101.0}, "target 101 must lie below"),
        ({"target": 100.0}, "target 100 must lie above"),
        ({"stop": None}, "needs a stop"),
        ({"weight": None}, "needs a weight"),
        ({"weight": 0.11}, "more than one position may be, 10.00%"),
    ],
)
def test_what_the_account_may_not_get_is_refused_with_its_reason(change: dict[str, Any], why: str) -> None:
    require_within(BUY, WITHIN)
    with pytest.raises(InputError, match=why):
        require_within(replace(BUY, **change), WITHIN)


def test_shorts_need_a_playbook_that_allows_them() -> None:
    short = replace(BUY, side="SELL", stop=105.0, target=90.0)
    require_within(short, WITHIN)
    with pytest.raises(InputError, match="no shorts"):
        require_within(short, replace(WITHIN, short_allowed=False))


def test_a_stop_is_told_in_the_shares_that_a_split_leaves() -> None:
    assert bracket(BUY, 50.0, ratio=2.0) == bracket(BUY, 100.0)
    with pytest.raises(InputError):
        bracket(BUY, 50.0)


def test_a_halt_refuses_what_opens_and_not_what_closes(tmp_path: Path) -> None:
    seen: list[str] = []

    async def act(runtime: LiveRuntime) -> None:
        await order("CCC", "BUY", name="before")(runtime)
        await runtime.command("halt", "ann", reason="stop")
        with pytest.raises(SafetyStop, match="halted"):
            await order("BBB", "BUY", name="after")(runtime)
        await close("AAA")(runtime)
        seen.append(runtime.ticket("CCC")["halted"])

    runtime, shares = held_after_each_bar(home_of(tmp_path), "AAA", b12=act)
    assert seen == ["kill switch"]
    told = {one["id"]: (one["state"], one["why"]) for one in runtime.manual_orders()}
    assert told == {"before": ("refused", "trading is halted: kill switch"), "gone": ("applied", None)}
    assert shares[12] < 0 == shares[13]
    assert any(one["kind"] == "order_refused" for one in runtime.alerts())


def test_a_price_that_passes_the_stop_before_the_close_refuses_the_order(tmp_path: Path) -> None:
    async def act(runtime: LiveRuntime) -> None:
        panel, row = runtime.prepared.finest.loaded.panel, -LIVED + 6  # type: ignore[union-attr]
        for column, symbol in enumerate(panel.symbols):
            last, next_ = panel.close[row - 1, column], panel.close[row, column]
            if next_ < last:
                await runtime.command(
                    "order", "ann", id="late", symbol=symbol, side="BUY", weight=0.05, stop=(last + next_) / 2,
                    reason="dip",
                )  # fmt: skip
                return
        raise AssertionError("no symbol falls in that bar")

    runtime, _ = held_after_each_bar(home_of(tmp_path), "AAA", b6=act)
    (told,) = runtime.manual_orders()
    assert told["state"] == "refused"
    assert "below the last price" in told["why"]
    assert runtime.parity() == []


def test_nothing_is_ordered_of_what_is_not_there_or_when_it_is_over(tmp_path: Path) -> None:
    async def act(runtime: LiveRuntime) -> None:
        with pytest.raises(InputError, match="NOPE"):
            await runtime.command("order", "ann", id="a", symbol="NOPE", side="CLOSE", reason="x")
        with pytest.raises(InputError, match="nothing is held"):
            await close("CCC")(runtime)

    runtime, _ = held_after_each_bar(home_of(tmp_path, **NEVER_SURE), "CCC", b6=act)
    with pytest.raises(DataError, match="replay is over"):
        asyncio.run(order("CCC", "BUY")(runtime))


# -- one order is one order ---------------------------------------------------------------------------------------


def manual(tmp_path: Path) -> ManualOrders:
    return ManualOrders(workspace(system(tmp_path, prices(30), PLAYBOOK), tmp_path / "home").records, "live:sample")


def test_the_same_id_is_the_same_order_and_another_order_needs_another(tmp_path: Path) -> None:
    orders = manual(tmp_path)
    assert orders.place(BUY) == (BUY, [])
    assert orders.place(replace(BUY, asked_at=NOW + timedelta(minutes=1))) == (BUY, [])
    assert orders.all() == [BUY]
    with pytest.raises(InputError, match="another order"):
        orders.place(replace(BUY, weight=0.06))
    other = ManualOrders(orders._records, "live:other")
    assert other.place(replace(BUY, account="live:other", weight=0.06))[1] == []


def test_a_newer_order_of_the_symbol_takes_the_place_of_one_that_waits(tmp_path: Path) -> None:
    orders = manual(tmp_path)
    orders.place(BUY)
    newer = replace(BUY, id="two", weight=0.06)
    placed, replaced = orders.place(newer)
    assert placed == newer
    assert replaced == [replace(BUY, state="cancelled", why=REPLACED)]
    assert orders.waiting() == [newer]
    assert orders.all(limit=1) == [newer]
    assert [one.id for one in orders.all()] == ["two", "one"]


def test_what_waits_can_be_taken_back_once_and_what_was_applied_cannot(tmp_path: Path) -> None:
    orders = manual(tmp_path)
    orders.place(BUY)
    gone = orders.cancel("one", "cancelled by bob")
    assert orders.cancel("one", "again") == gone
    orders.place(replace(BUY, id="two"))
    done = replace(BUY, id="two", state="applied", effective=NOW)
    assert orders.settle([replace(BUY, state="applied", effective=NOW), done]) == [gone, done], "the first was faster"
    with pytest.raises(DataError, match="applied already"):
        orders.cancel("two", "too late")
    with pytest.raises(InputError, match="no order"):
        orders.cancel("three", "never was")
    assert [one.id for one in orders.applied()] == ["two"]


def test_an_order_is_not_applied_at_a_close_before_it_was_asked_for(tmp_path: Path) -> None:
    runtime, _ = held_after_each_bar(home_of(tmp_path), "CCC")
    panel = runtime.prepared.finest.panel  # type: ignore[union-attr]
    at = datetime.fromisoformat(iso(panel.times[-1]).replace("Z", "+00:00"))
    price = float(panel.close[-1, 0])
    asked = replace(BUY, stop=price / 2, target=None, asked_at=at + timedelta(seconds=1), seen=at)
    assert came_due([asked], panel, at, "") == ([], [])
    applied, refused = came_due([replace(asked, asked_at=at)], panel, at, "")
    assert ([one.effective for one in applied], refused) == ([at], [])
    applied, refused = came_due([replace(asked, asked_at=at, symbol="GONE")], panel, at, "")
    assert (applied, [one.why for one in refused]) == ([], ["GONE is not traded any more"])
    without = replace(panel, mask=np.zeros(panel.shape, dtype=bool))
    assert came_due([replace(asked, asked_at=at)], without, at, "") == ([], [])


class EnoughError(Exception):
    """The process is gone."""


async def gone(_: LiveRuntime) -> None:
    raise EnoughError


@pytest.mark.parametrize("lived_before", [0, 5])
def test_an_order_before_the_first_bar_was_asked_for_at_the_close_before_it(tmp_path: Path, lived_before: int) -> None:
    work = home_of(tmp_path)
    with pytest.raises(EnoughError):
        asyncio.run(lived(work, at_bars(**{f"b{lived_before}": gone})))
    clock = ReplayClock()
    runtime = LiveRuntime(work, LiveSection(), "REPLAY", clock, SystemClock(), drift_section=DriftSection(use=False))

    async def begin() -> Panel:
        prepared = await runtime.prepare()
        await order("CCC", "BUY")(runtime)
        await runtime.close()
        return prepared.panel

    close_before = as_datetime(asyncio.run(begin()).times[-LIVED + lived_before - 1])
    assert [one["asked_at"] for one in runtime.manual_orders()] == [close_before.isoformat()]


def test_a_bar_whose_recommendations_are_stored_takes_no_order_when_it_is_lived_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, steps, honest = home_of(tmp_path), [0], Trader.step

    def killed_before_the_account(trader: Trader, decided: Any) -> Any:
        steps[0] += 1
        if steps[0] == 7:
            raise EnoughError
        return honest(trader, decided)

    monkeypatch.setattr(Trader, "step", killed_before_the_account)
    with pytest.raises(EnoughError):
        asyncio.run(lived(work))
    runtime = asyncio.run(lived(work, at_bars(b0=order("AAA", "BUY"))))
    assert runtime.prepared is not None
    panel, first = runtime.prepared.panel, runtime.prepared.next_row
    (told,) = runtime.manual_orders()
    assert told["effective"] == as_datetime(panel.times[first + 1]).isoformat(), "the close after the one lived again"
    stored = [one for one in work.records.signals(runtime.prepared.session.id) if one.symbol == "AAA"]
    shown = runtime.signals(symbol="AAA", limit=len(stored))[::-1]
    assert [one.action for one in stored] == [one["action"] for one in shown]
    assert len(stored) == LIVED
    assert runtime.parity() == []


def test_what_is_told_of_an_order_last_is_what_became_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The corridor settles an order, and tells so, before whoever gave it says that it waits."""

    async def act(runtime: LiveRuntime) -> None:
        loop = runtime.loop
        assert loop is not None
        place = ManualOrders.place

        def overtaken(orders: ManualOrders, one: ManualOrder) -> Any:
            made = place(orders, one)
            orders.settle([replace(one, state="refused", why="a test")])
            loop.tell_of_an_order(one.id)
            return made

        monkeypatch.setattr(ManualOrders, "place", overtaken)
        await order("CCC", "BUY")(runtime)
        monkeypatch.undo()
        last = runtime.bus.snapshot(["manual_order"])[1][-1]
        assert (last.key, last.data["state"]) == ("one", "refused")

    runtime, _ = held_after_each_bar(home_of(tmp_path), "CCC", b4=act)
    assert [one["state"] for one in runtime.manual_orders()] == ["refused"]


# -- kill -9 ------------------------------------------------------------------------------------------------------

ORDERS: tuple[dict[str, Any], ...] = (
    {"bar": 4, "id": "long", "symbol": "CCC", "side": "BUY", "weight": 0.06, "stop": 0.7},
    {"bar": 6, "id": "against", "symbol": "AAA", "side": "BUY", "weight": 0.05, "stop": 0.7},
    {"bar": 15, "id": "out", "symbol": "CCC", "side": "CLOSE"},
)
PLACES_A_BAR = 6


def ordering(playbook: Path, home: Path, die_at: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(HERE / "live_order_and_die.py"), str(die_at), str(playbook), str(home)]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, json.dumps(ORDERS)], env=environ, capture_output=True, text=True, check=False, timeout=300
    )


def test_a_kill_anywhere_leaves_every_order_applied_once_at_its_bar(tmp_path: Path) -> None:
    playbook = system(tmp_path, prices(340), PAIR)
    whole = ordering(playbook, tmp_path / "whole", 0)
    assert whole.returncode == 0, whole.stderr
    told = json.loads(whole.stdout)
    assert [one["state"] for one in told["orders"]] == ["applied"] * 3
    assert told["differences"] == []
    draw, home, deaths = random.Random(20261130), tmp_path / "killed", 0
    for _ in range(12):
        died = ordering(playbook, home, draw.randint(1, PLACES_A_BAR * 8))
        if died.returncode == 0:
            break
        assert died.returncode == -9, died.stderr
        deaths += 1
    else:
        died = ordering(playbook, home, 0)
        assert died.returncode == 0, died.stderr
    assert deaths > 0
    again = json.loads(died.stdout)
    assert again["orders"] == told["orders"]
    assert again["ledger"] == told["ledger"]
    assert again["differences"] == []

"""What is remembered from bar to bar is what would be worked out again from the first bar on."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from spine_kit import belief
from tradewind.decisions.confidence import EVENTS, Sides
from tradewind.decisions.memory import Memory
from tradewind.decisions.signals import RULES, Belief, Signals, decide

SHAPE = (60, 9)


def random_belief(rule: str, event: str, recalibration: str, seed: int) -> Belief:
    """Forecasts that are right half of the time, some missing; splits, dividends and gaps among the prices."""
    rng = np.random.default_rng(seed)
    gone = rng.random(SHAPE) < 0.15
    medians = {h: np.where(gone, np.nan, rng.normal(0, 0.02, SHAPE)) for h in (1, 5, 20)}
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, SHAPE), axis=0))
    close[rng.random(SHAPE) < 0.05] = np.nan
    chosen = {"confidence_min": 0.4, "entry_threshold": 0.005, "event": event, "recalibration": recalibration}
    made = belief(medians, 0.03, close=close, columns={"rsi_14": rng.uniform(0, 100, SHAPE)}, rule=rule, **chosen)
    panel = made.panel
    fields_ = dict(panel.fields) | {
        "split": np.where(rng.random(SHAPE) < 0.02, 2.0, 1.0),
        "dividend": np.where(rng.random(SHAPE) < 0.05, 0.5, 0.0),
    }
    return replace(made, panel=replace(panel, fields=fields_))


def head(whole: Belief, stop: int, memory: Memory | None) -> Belief:
    rows = np.arange(stop)
    return replace(
        whole,
        panel=whole.panel.head(stop),
        features=whole.features.head(stop),
        forecast=whole.forecast.part(rows),
        members={name: one.part(rows) for name, one in whole.members.items()},
        memory=memory,
    )


def assert_same(one: Signals, other: Signals) -> None:
    for field in fields(Signals):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b, err_msg=field.name)
    for a, b in zip(one.odds.calibrated, other.odds.calibrated, strict=True):
        np.testing.assert_array_equal(a, b)
    assert one.agreement.keys() == other.agreement.keys()
    for name, sides in one.agreement.items():
        for a, b in zip(sides, other.agreement[name], strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("rule", RULES.names())
@pytest.mark.parametrize(
    ("event", "recalibration"),
    [("profit_after_costs", "beta"), ("profit_after_costs", "none"), ("profit_after_costs", "isotonic"),
     ("target_before_stop", "beta"), ("top_fifth", "platt")],
)  # fmt: skip
@pytest.mark.parametrize("steps", [(30, 31, 32, 33, 50, 60), (1, 2, 3, 4, 5, 6, 7, 60), (60,)])
def test_a_belief_that_grows_says_what_it_would_say_anew(
    rule: str, event: str, recalibration: str, steps: tuple[int, ...]
) -> None:
    whole, memory = random_belief(rule, event, recalibration, seed=3), Memory()
    for stop in steps:
        grown = decide(head(whole, stop, memory), must_fire=False)
        assert_same(grown, decide(head(whole, stop, None), must_fire=False))


def test_the_events_that_say_they_are_local_are() -> None:
    for name in EVENTS.names():
        event = EVENTS.create(name)
        if not getattr(event, "local", False):
            continue
        whole = random_belief("probability", name, "none", seed=5)
        trade = decide(whole, must_fire=False).odds.trade
        all_of, part = event.forecast(whole, trade), event.forecast(whole.since(40), trade.since(40))
        for a, b in zip(all_of, part, strict=True):
            np.testing.assert_array_equal(a[40:], b)
        came, later = event.outcome(whole, trade), event.outcome(whole.since(40), trade.since(40))
        for a, b in zip(came, later, strict=True):
            np.testing.assert_array_equal(a[40:], b)


def test_rows_are_worked_out_once() -> None:
    memory, asked = Memory(), []

    def work_out(first: int) -> np.ndarray:
        asked.append(first)
        return np.arange(first, count, dtype=float)[:, None]

    for count in (3, 3, 4, 9):
        assert memory.rows("x", count, work_out)[:, 0].tolist() == list(range(count))
    assert asked == [0, 3, 4]


def test_members_do_not_share_what_they_remember() -> None:
    memory = Memory()
    first = memory.of("lstm").rows("stop", 2, lambda _: np.zeros((2, 1)))
    other = memory.of("transformer").rows("stop", 2, lambda _: np.ones((2, 1)))
    assert (first.sum(), other.sum()) == (0.0, 2.0)
    assert Sides._fields == ("long", "short")

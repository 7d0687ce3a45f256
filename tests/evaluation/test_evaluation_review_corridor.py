"""Between the rooms: what barriers change, what the gross limit counts, which costs are counted, what is audited."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spine_kit import QuickRun, workspace
from tradewind.audit import playbook as audited
from tradewind.evaluation import corridor
from tradewind.evaluation.account import trade_alone
from tradewind.evaluation.corridor import World
from tradewind.portfolio.sizing import Targets


def test_barriers_add_classes_and_leave_the_returns_that_forecasts_are_of(quick: QuickRun) -> None:
    plan = workspace(quick.playbook, quick.home, labels__barriers=True).plan
    labels, notes = corridor.labels_of(plan, quick.record.world.panel)
    np.testing.assert_array_equal(labels.returns, quick.record.world.labels.returns)
    np.testing.assert_array_equal(labels.end, quick.record.world.labels.end)
    assert labels.classes is not None
    assert set(np.unique(labels.classes)) == {-1, 0, 1}
    assert any("barrier classes are for models" in note for note in notes)


def test_what_is_held_already_counts_for_the_gross_limit(quick: QuickRun) -> None:
    world = quick.record.world
    wide = {"limits__position_max": 0.3, "decision__every_bars": 1}
    limited = replace(world, plan=workspace(quick.playbook, quick.home, limits__gross_max=0.5, **wide).plan)
    weight = np.full(world.panel.shape, np.nan)
    start = quick.record.start
    weight[start, :2] = 0.25  # half the equity, and the next bar asks for as much again
    weight[start + 1, 2:] = 0.25
    signals = replace(
        quick.record.decision.signals,
        stop=np.full(weight.shape, 0.9),
        horizon_bars=np.full(weight.shape, 50),
        confidence=np.full(weight.shape, 0.6),
    )
    targets = Targets(weight, np.zeros(weight.shape, dtype=np.int16), ("position_max",))

    def most(used: World) -> float:
        book = trade_alone(used, signals, targets, used.plan.execution, start=start)
        return float(book.gross_exposure[start : start + 5].max())

    assert most(limited) == pytest.approx(0.5, abs=0.03)
    free = replace(world, plan=workspace(quick.playbook, quick.home, **wide).plan)
    assert most(free) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("commission_per_share", 0.005, "commission per share"),
        ("impact_coefficient", 0.5, "impact"),
        ("short_allowed", True, "borrowing"),
    ],
)
def test_costs_that_the_confidence_does_not_count_are_named(
    quick: QuickRun, key: str, value: object, named: str
) -> None:
    panel = quick.record.world.panel
    plain = corridor.build_world(quick.workspace.plan, panel)
    assert not any("confidence does not count" in note for note in plain.notes)
    dear = corridor.build_world(workspace(quick.playbook, quick.home, **{f"execution__{key}": value}).plan, panel)
    assert f"confidence does not count {named}: fills pay for it" in dear.notes


def test_the_labels_that_are_audited_are_those_of_the_playbook(quick: QuickRun) -> None:
    used = workspace(quick.playbook, quick.home, labels__barriers=True, labels__scale_half_life_bars=7.0)
    world = corridor.build_world(used.plan, quick.record.world.panel)
    (subject,) = [s for s in audited._Walk(used, world).cheap_subjects() if s.name == "labels"]
    again = subject.recompute(world.panel)
    np.testing.assert_array_equal(again.scale, world.labels.scale)
    np.testing.assert_array_equal(again.classes, world.labels.classes)


def test_a_size_is_explained_only_where_there_is_one(quick: QuickRun) -> None:
    for row in range(quick.record.start, len(quick.record.world.panel), 7):
        for said in quick.record.decision.recommendations(row):
            assert any("size set by" in reason for reason in said["reasons"]) == bool(said["weight"])

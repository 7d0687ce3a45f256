"""The systems of a running playbook, each with its own bars, models and decisions: one, or one for every timeframe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from tradewind.evaluation.account import Wanted
from tradewind.evaluation.data import Loaded
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.recommend import Decision
from tradewind.evaluation.workspace import Workspace
from tradewind.live.corridor import LiveCorridor, LiveStep, MarketRegimes
from tradewind.live.tape import BarRow, Closed, Tape
from tradewind.market.panel import Panel


@dataclass(eq=False)
class LiveSleeve:
    """One system of a running playbook.

    Attributes
    ----------
    name
        Of its ``[timeframes.NAME]`` table, "" where the playbook has none.
    loaded
        All bars that there were when it was prepared.
    start
        Row of the first of its bars that the session decides on.
    shows_the_market
        Whether the market's regimes are read from its bars.
    step
        What its newest bar brought; None before the first one.
    """

    name: str
    workspace: Workspace
    loaded: Loaded
    start: int
    corridor: LiveCorridor
    shows_the_market: bool = False
    step: LiveStep | None = None

    @property
    def plan(self) -> Plan:
        """What it is asked to do."""
        return self.workspace.plan

    @property
    def panel(self) -> Panel:
        """Its bars so far."""
        return self.corridor.world.panel

    def wanted(self, decision: Decision | None = None) -> Wanted:
        """Return what a decision asks of the account; without one only its bars, by which an account is laid out."""
        nothing = cast("Any", None)
        signals, targets = (nothing, nothing) if decision is None else (decision.signals, decision.targets)
        return Wanted(self.name, self.corridor.world, signals, targets, self.start)


@dataclass(eq=False)
class Bystander:
    """The bars of a system that cannot run, from which the market's regimes are read."""

    name: str
    loaded: Loaded
    tape: Tape
    regimes: MarketRegimes

    def __post_init__(self) -> None:
        """Read those of its history."""
        self.regimes.shown_by(self.tape.panel)

    def step(self, bar: BarRow) -> None:
        """Take in a bar."""
        self.regimes.shown_by(self.tape.append(bar))


def systems(workspace: Workspace) -> dict[str, Workspace]:
    """Return every system of a playbook as a workspace of its own, on the same stores; "" names a lone one."""
    return {name: _beside(workspace, plan) for name, plan in workspace.plan.timeframes.items()} or {"": workspace}


def _beside(workspace: Workspace, plan: Plan) -> Workspace:
    made = replace(workspace, plan=plan)
    made.__dict__["records"] = workspace.records
    if made.lake_name == workspace.lake_name:
        made.__dict__.update(lake=workspace.lake, source=workspace.source)
    return made


def closed_at(clock: Panel, row: int, panels: Mapping[str, Panel]) -> Closed:
    """Return what has closed with a row of the clock: after the row before it, and not after it."""
    closed: dict[str, tuple[BarRow, ...]] = {}
    for name, panel in panels.items():
        first, stop = (int(np.searchsorted(panel.times, clock.times[at], side="right")) for at in (row - 1, row))
        closed[name] = tuple(BarRow.of(panel, own) for own in range(first, stop))
    return Closed(clock.times[row], closed)

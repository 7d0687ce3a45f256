"""What a running corridor needs before its first bar: data, models, exported files, a session, an account."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from tradewind.clock import Clock
from tradewind.errors import DataError, InputError
from tradewind.evaluation import corridor
from tradewind.evaluation.corridor import Progress, silent
from tradewind.evaluation.data import Loaded, load_or_sync
from tradewind.evaluation.fold_cache import FoldCache
from tradewind.evaluation.model_registry import CHAMPION, ModelRegistry, current, seats_of
from tradewind.evaluation.training import train
from tradewind.evaluation.workspace import Workspace
from tradewind.execution.controls import Controls
from tradewind.execution.journal import Journal
from tradewind.live.corridor import LiveCorridor
from tradewind.live.runtime import Mode
from tradewind.live.served import Served, champions, require_exports, require_servable
from tradewind.live.session import Session, begun, resumed
from tradewind.live.settings import LiveSection
from tradewind.live.trader import Trader
from tradewind.market.calendar import instant
from tradewind.market.panel import Panel


@dataclass(eq=False)
class Prepared:
    """A corridor that is ready for its next bar.

    Attributes
    ----------
    loaded
        All bars that there were; a replay walks through those after ``next_row``.
    start
        Row of the first bar that the session decides on.
    next_row
        Row of the bar that comes next: after the last one that the account has lived through.
    """

    workspace: Workspace
    settings: LiveSection
    session: Session
    registry: ModelRegistry
    loaded: Loaded
    start: int
    next_row: int
    corridor: LiveCorridor
    trader: Trader
    cache: FoldCache

    @property
    def panel(self) -> Panel:
        """All bars that there were."""
        return self.loaded.panel


def prepare(
    workspace: Workspace,
    settings: LiveSection,
    mode: Mode,
    clock: Clock,
    wall: Clock,
    *,
    opened: datetime | None = None,
    until: datetime | None = None,
    anew: bool = False,
    progress: Progress = silent,
) -> Prepared:
    """Load, train where nothing is trained yet, export, and walk the history up to the first bar.

    Parameters
    ----------
    clock
        The session's: a replay's stands at the bar that is being lived through.
    wall
        What time it really is.
    opened, until
        The first and the last close of a replay; by default all bars that nobody has learnt from.
    anew
        Begin a session of its own, even where one of the same days was not brought to its end.

    Raises
    ------
    InputError
        A replay of bars that a champion has learnt from, or a playbook that cannot run on a clock yet.
    DataError
        Nothing is left to replay.
    """
    require_servable(workspace)
    progress("load", 0, 1)
    today = with_clock(workspace, wall)
    loaded = load_or_sync(today, progress, as_of=until if mode == "REPLAY" else None)
    train_the_missing(today, progress)
    registry = ModelRegistry(workspace.home, workspace.records, clock)
    serving = champions(workspace, registry, settings.engine)
    panel = loaded.panel
    start = _first_row(panel, serving, opened) if mode == "REPLAY" else len(panel)
    first = panel.times[start] if start < len(panel) else instant(clock.now())
    session = None if anew else resumed(workspace.records, workspace.plan, mode, first, until)
    if session is None:
        session = begun(workspace.records, workspace.plan, mode, wall.now(), first, until, serving)
    start = int(np.searchsorted(panel.times, session.opened))
    next_row = _next_row(workspace, session, panel, start)
    seen = panel.head(next_row)
    cache = FoldCache(workspace.home / "folds")
    timeline = session.timeline(registry, seats_of(workspace.plan), settings.engine)
    progress("export", 0, 1)
    world = corridor.base_world(workspace.plan, seen, loaded.notes)
    for since in timeline.values():
        for _, one in since:
            require_exports({one.name: one}, world)
    progress("warm up", 0, 1)
    walked = LiveCorridor(workspace, seen, timeline, loaded.notes, cache, progress)
    controls = None if mode == "REPLAY" else Controls(workspace.records, clock=clock)
    trader = Trader(workspace, walked.world, session.account, start, clock, controls)
    if trader.next_row != next_row:
        raise DataError(f"the account goes on at bar {trader.next_row}, the corridor stands at {next_row}")
    progress("warm up", 1, 1)
    return Prepared(workspace, settings, session, registry, loaded, start, next_row, walked, trader, cache)


def train_the_missing(workspace: Workspace, progress: Progress) -> None:
    """Train where a seat has no champion yet: a first start needs no other command."""
    registry = ModelRegistry(workspace.home, workspace.records, workspace.clock)
    seats = seats_of(workspace.plan)
    empty = [s for s in seats if current(workspace.records.alias_changes(s)).get(CHAMPION) is None]
    if empty:
        train(workspace, progress)
    for seat in seats:
        registry.find(CHAMPION, seat)


def _first_row(panel: Panel, serving: dict[str, Served], opened: datetime | None) -> int:
    """Return the row of the first bar to be replayed: none that a champion has learnt from."""
    learnt = max(one.trained_until for one in serving.values())
    least = int(np.searchsorted(panel.times, learnt, side="right"))
    asked = least if opened is None else int(np.searchsorted(panel.times, instant(opened)))
    if asked < least:
        raise InputError(
            f"a replay from {opened:%Y-%m-%d} on would ask models about bars that they have learnt from "
            f"(up to {str(learnt)[:16]} UTC)",
            hint=f"begin later: --from {str(panel.times[min(least, len(panel) - 1)])[:10]}",
        )
    if asked >= len(panel):
        raise DataError(
            f"there is no bar to replay: the last one is of {str(panel.times[-1])[:16]} UTC, "
            f"models have learnt up to {str(learnt)[:16]} UTC",
            hint="sync newer bars, or lower evaluation.refit_bars so that the last models are trained earlier",
        )
    return asked


def _next_row(workspace: Workspace, session: Session, panel: Panel, start: int) -> int:
    """Return the row of the bar after the last one that the session's account has lived through."""
    saved = Journal(workspace.records, session.account).latest_book()
    if saved is None:
        return start
    return int(np.searchsorted(panel.times, instant(saved.time), side="right"))


def with_clock(workspace: Workspace, clock: Clock) -> Workspace:
    """Return the workspace as a session sees it: its present is the clock's."""
    made = replace(workspace, clock=clock)
    for name in ("records", "lake", "source"):  # opened once
        if name in workspace.__dict__:
            made.__dict__[name] = workspace.__dict__[name]
    return made

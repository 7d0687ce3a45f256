"""What a running corridor needs before its first bar: data, models, exported files, a session, an account."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tradewind.clock import Clock
from tradewind.decisions.coordinator import ranked
from tradewind.errors import DataError, InputError, RetryError
from tradewind.evaluation import corridor
from tradewind.evaluation.account import laid_together
from tradewind.evaluation.corridor import Progress, silent
from tradewind.evaluation.data import Loaded, synchronise
from tradewind.evaluation.fold_cache import FoldCache
from tradewind.evaluation.model_registry import CHAMPION, ModelRegistry, current, seats_of
from tradewind.evaluation.sleeves import loaded_systems, shows_the_market
from tradewind.evaluation.training import train
from tradewind.evaluation.workspace import Workspace
from tradewind.execution.controls import Controls
from tradewind.execution.journal import Journal
from tradewind.live.corridor import LiveCorridor, MarketRegimes
from tradewind.live.ingest_build import live_source
from tradewind.live.logs import logger
from tradewind.live.runtime import Mode
from tradewind.live.served import Served, champions, require_exports, require_servable
from tradewind.live.session import Session, begun, resumed
from tradewind.live.settings import LiveSection
from tradewind.live.sleeves import Bystander, LiveSleeve, closed_at, systems
from tradewind.live.tape import Closed, Tape
from tradewind.live.trader import Trader
from tradewind.market.calendar import instant
from tradewind.market.panel import Panel
from tradewind.risk.regimes.result import Regimes


@dataclass(eq=False)
class Prepared:
    """A playbook that is ready for its next bar.

    Attributes
    ----------
    panel
        All bars that there were, the finest at each time: the clock. A replay walks through those after ``next_row``.
    start
        Row of the first of them that the session decides on.
    next_row
        Row of the bar that comes next: after the last one that the account has lived through.
    sleeves
        The systems, in the playbook's order.
    unavailable
        By timeframe: why it cannot run.
    bystander
        Who shows the market's regimes where it is none of the sleeves.
    """

    workspace: Workspace
    settings: LiveSection
    session: Session
    registry: ModelRegistry
    panel: Panel
    start: int
    next_row: int
    sleeves: tuple[LiveSleeve, ...]
    unavailable: Mapping[str, str]
    trader: Trader
    cache: FoldCache
    bystander: Bystander | None = None

    @property
    def finest(self) -> LiveSleeve:
        """The system whose bars the clock's rows are."""
        return self.sleeve(ranked({one.name: one.panel.timeframe for one in self.sleeves})[-1])

    @property
    def corridor(self) -> LiveCorridor:
        """The corridor of the finest bars."""
        return self.finest.corridor

    def seated(self) -> Iterator[tuple[LiveSleeve, str, Served]]:
        """Yield who forecasts now, by system and model."""
        for sleeve in self.sleeves:
            for name, since in sleeve.corridor.serving.items():
                yield sleeve, name, since[-1][1]

    @property
    def in_turn(self) -> list[LiveSleeve]:
        """The systems in the order in which they take their bars: who shows the market's regimes is first."""
        return sorted(self.sleeves, key=lambda one: not one.shows_the_market)

    @property
    def market(self) -> Panel:
        """The bars so far from which the market's regimes are read."""
        return self.in_turn[0].panel if self.bystander is None else self.bystander.tape.panel

    def sleeve(self, name: str) -> LiveSleeve:
        """Return a system by its name."""
        return next(one for one in self.sleeves if one.name == name)

    def in_seat(self, seat: str) -> LiveSleeve:
        """Return the system that a seat belongs to."""
        return next(one for one in self.sleeves if seat in seats_of(one.plan))

    def closed(self, row: int) -> Closed:
        """Return what has closed with a row of the clock, of the bars that there were."""
        panels = {one.name: one.loaded.panel for one in self.sleeves}
        if self.bystander is not None:
            panels[self.bystander.name] = self.bystander.loaded.panel
        return closed_at(self.panel, row, panels)


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
    places = systems(workspace)
    for place in places.values():
        require_servable(place)
    if mode == "PAPER":
        _require_a_present(workspace, wall)
    progress("load", 0, 1)
    today = {name: with_clock(place, wall) for name, place in places.items()}
    if mode == "PAPER" and not workspace.source.offline:
        _brought_up_to_date(today[""], progress)
    loaded, unavailable, _ = loaded_systems(today, progress, until if mode == "REPLAY" else None)
    if mode == "PAPER":
        _require_no_future(loaded[""].panel, wall)
    unavailable |= train_systems(today, loaded, progress)
    registry = ModelRegistry(workspace.home, workspace.records, clock)
    able = {name: one for name, one in loaded.items() if name not in unavailable}
    session = None if anew else resumed(workspace.records, workspace.plan, mode, opened, until)
    if session is None:
        models = {
            places[name].plan.column(model): one
            for name in able
            for model, one in champions(places[name], registry, settings.engine).items()
        }
        panel = laid_together({name: one.panel for name, one in able.items()})
        start = _first_row(panel, models, opened) if mode == "REPLAY" else len(panel)
        first = panel.times[start] if start < len(panel) else instant(clock.now())
        session = begun(workspace.records, workspace.plan, mode, wall.now(), first, opened, until, models)
    left_out = [name for name in able if not session.runs(places[name].plan)]
    unavailable |= dict.fromkeys(left_out, f"the session {session.id} began without it")
    if mode == "PAPER":
        journal = Journal(workspace.records, session.account)
        loaded = {name: as_lived(one, journal, workspace.home / "live") for name, one in loaded.items()}
    panel = laid_together({name: one.panel for name, one in loaded.items() if name not in unavailable})
    start = int(np.searchsorted(panel.times, session.opened))
    next_row = _next_row(workspace, session, panel, start)
    cache = FoldCache(workspace.home / "folds")
    walk = _Walk(settings, session, registry, panel, start, next_row, cache, progress)
    sleeves, bystander = walk.over({name: places[name] for name in loaded}, loaded, unavailable)
    controls = None if mode == "REPLAY" else Controls(workspace.records, clock=clock)
    trader = _trader(workspace, sleeves, session, start, clock, controls)
    if trader.next_row != next_row:
        raise DataError(f"the account goes on at bar {trader.next_row}, the corridor stands at {next_row}")
    progress("warm up", 1, 1)
    return Prepared(
        workspace, settings, session, registry, panel, start, next_row, sleeves, unavailable, trader, cache, bystander
    )


@dataclass(frozen=True, eq=False)
class _Walk:
    """Walks the history of every system up to the clock's next row."""

    settings: LiveSection
    session: Session
    registry: ModelRegistry
    clock: Panel
    start: int
    next_row: int
    cache: FoldCache
    progress: Progress

    def over(
        self, places: Mapping[str, Workspace], loaded: Mapping[str, Loaded], unavailable: Collection[str]
    ) -> tuple[tuple[LiveSleeve, ...], Bystander | None]:
        """Return the systems that can run, and who shows the market's regimes without running."""
        market = MarketRegimes(next(iter(places.values())).plan.regimes)
        shows = shows_the_market({name: one.panel for name, one in loaded.items()}) if market.settings.use else ""
        bystander = None
        if shows in unavailable:
            bystander = Bystander(shows, loaded[shows], Tape(self._seen(loaded[shows])), market)
        able = [name for name in loaded if name not in unavailable]
        sleeves: dict[str, LiveSleeve] = {}
        for name in sorted(able, key=lambda one: one != shows):
            regimes = market.shown_by if name == shows else market.known
            start = self._known(loaded[name].panel, self.start)
            walked = self._corridor(places[name], loaded[name], regimes)
            sleeves[name] = LiveSleeve(name, places[name], loaded[name], start, walked, name == shows)
        return tuple(sleeves[name] for name in able), bystander

    def _corridor(self, place: Workspace, loaded: Loaded, regimes: Callable[[Panel], Regimes | None]) -> LiveCorridor:
        seen = self._seen(loaded)
        timeline = self.session.timeline(self.registry, place.plan, self.settings.engine)
        self.progress("export", 0, 1)
        world = corridor.base_world(place.plan, seen, loaded.notes)
        for since in timeline.values():
            for _, one in since:
                require_exports({one.name: one}, world)
        self.progress("warm up", 0, 1)
        return LiveCorridor(place, seen, timeline, loaded.notes, self.cache, self.progress, regimes)

    def _seen(self, loaded: Loaded) -> Panel:
        return loaded.panel.head(self._known(loaded.panel, self.next_row))

    def _known(self, own: Panel, row: int) -> int:
        """Return how many of a system's bars are known before a row of the clock."""
        return int(np.searchsorted(own.times, self.clock.times[row - 1], side="right"))


def train_systems(places: Mapping[str, Workspace], loaded: Iterable[str], progress: Progress) -> dict[str, str]:
    """Train where a system that has bars lacks a champion; return why some cannot run.

    Raises ``DataError`` with all reasons where none can; what is wrong with a lone system is raised as it is.
    """
    unavailable: dict[str, str] = {}
    for name in loaded:
        try:
            train_the_missing(places[name], progress)
        except DataError as error:
            if len(places) == 1:
                raise
            unavailable[name] = error.what
    if unavailable.keys() >= set(loaded):
        said = "; ".join(f"{name}: {why}" for name, why in unavailable.items())
        hint = "sync more history, or change [timeframes]"
        raise DataError(f"no timeframe of the playbook can run: {said}", hint=hint)
    return unavailable


def _trader(
    workspace: Workspace,
    sleeves: Sequence[LiveSleeve],
    session: Session,
    start: int,
    clock: Clock,
    controls: Controls | None,
) -> Trader:
    try:
        return Trader(workspace, sleeves, session.account, start, clock, controls)
    except DataError as error:
        if session.mode != "REPLAY":
            raise
        raise DataError(f"the replay {session.id} cannot go on: {error.what}", hint="begin it again: --anew") from error


def _require_a_present(workspace: Workspace, wall: Clock) -> None:
    """Refuse a playbook whose bars end, or do not come in as they are."""
    plan, source = workspace.plan, workspace.source
    name, data = plan.playbook.name, plan.data
    if plan.timeframes:
        raise InputError(
            f"{name} cannot trade in the present yet: its timeframes have bars of several sizes, ingest brings one in",
            hint="add --replay",
        )
    live_source(data.source, plan.playbook.source_options, wall)
    if data.end is not None and data.end <= wall.now():
        raise InputError(
            f"{name} ends at {data.end:%Y-%m-%d}: there is no present to trade in",
            hint="take data.end out of the playbook, or add --replay",
        )
    if data.fill_forward_max_bars:
        raise InputError(
            f"{name} fills gaps forward, which bars that come in are not", hint="set data.fill_forward_max_bars = 0"
        )
    if data.timeframe not in source.look_back():
        served = ", ".join(source.look_back())
        raise InputError(
            f"source {source.name!r} has no bars of {data.timeframe} as they close, only {served}",
            hint="choose one of those as data.timeframe, or add --replay",
        )


def _require_no_future(panel: Panel, wall: Clock) -> None:
    """Refuse a store with bars that have not closed yet, which an invented market has where it is asked for them."""
    if len(panel) and panel.times[-1] > instant(wall.now()):
        raise DataError(
            f"the store holds bars of the future, up to {str(panel.times[-1])[:16]} UTC; now it is "
            f"{wall.now():%Y-%m-%d %H:%M} UTC",
            hint="take data.end out of the playbook, and begin in another home (TRADEWIND_HOME)",
        )


def _brought_up_to_date(workspace: Workspace, progress: Progress) -> None:
    """Ask the source for what is new; where it cannot be reached, ingest asks again later."""
    try:
        synchronise(workspace, progress)
    except RetryError as error:
        logger("live.prepare").warning("source_down", error=str(error))


def as_lived(loaded: Loaded, journal: Journal, folder: Path) -> Loaded:
    """Return bars as a paper account lived through them: bars that were stored only after it had passed are left out.

    Which bars there were before it opened is kept beside the records, which it lived through its marks say. What a bar
    that is left out did to shares (splits, dividends) is done by the next.
    """
    panel, saved = loaded.panel, journal.latest_book()
    path = folder / f"{hashlib.sha256(journal.account.encode()).hexdigest()[:16]}.npy"
    if saved is None:
        folder.mkdir(parents=True, exist_ok=True)
        np.save(path, panel.times)
        return loaded
    if not path.exists():
        return loaded
    marks = np.array([instant(mark.time) for mark in journal.marks()], dtype=panel.times.dtype)
    known = np.union1d(np.load(path), marks)
    keep = (panel.times > instant(saved.time)) | np.isin(panel.times, known)
    if keep.all():
        return loaded
    left = f"{int((~keep).sum())} bars came after the account had passed them, and are left out as it never saw them"
    return replace(loaded, panel=_without(panel, keep), notes=(*loaded.notes, left))


def _without(panel: Panel, keep: NDArray[np.bool_]) -> Panel:
    """Return a panel without some bars; their splits and dividends take effect with the next."""
    split, dividend = panel.split.copy(), panel.dividend.copy()
    for row in np.flatnonzero(~keep):  # in order: what two in a row did moves on to the bar after both
        if row + 1 < len(panel):
            dividend[row + 1] += dividend[row] / split[row + 1]
            split[row + 1] *= split[row]
    fields = {**panel.fields, "split": split, "dividend": dividend}
    return replace(
        panel,
        times=panel.times[keep],
        fields={name: values[keep] for name, values in fields.items()},
        mask=panel.mask[keep],
        member=panel.member[keep],
        context={name: series[keep] for name, series in panel.context.items()},
    )


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

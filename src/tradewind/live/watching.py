"""Every seat's drift monitor beside the loop: it reads each bar, and does what a reading calls for by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError, TradewindError
from tradewind.evaluation.corridor import World
from tradewind.evaluation.model_registry import CHAMPION, ModelRegistry, current, name_of, stack
from tradewind.execution.controls import Level
from tradewind.live.drift_concept import ConceptReference, concept_reference, outcomes
from tradewind.live.drift_monitor import DriftMonitor, DriftReading, DriftState
from tradewind.live.drift_reaction import Reaction, reaction
from tradewind.live.drift_reference import DriftReference, drift_reference
from tradewind.live.logs import logger
from tradewind.live.served import Served, require_exports, seated
from tradewind.market.store.records import ModelDecision
from tradewind.models.forecast import Forecast
from tradewind.stats.losses import pinball

if TYPE_CHECKING:
    from tradewind.live.corridor import LiveStep
    from tradewind.live.loop import Loop
    from tradewind.live.settings_drift import DriftSection
    from tradewind.live.sleeves import LiveSleeve

FloatArray = NDArray[np.float64]

BY: Final = "drift"

Told = Callable[[str, dict[str, Any]], None]
"""Called with a seat and its newest reading."""

Retrain = Callable[[Mapping[str, tuple[str, ...]]], bool]
"""Called with the reasons by seat where challengers are to be trained; False: not now, ask again with the next bar."""


@dataclass(eq=False)
class _Seat:
    """One seat's monitor and what it has led to; ``wish`` is why a challenger is still to be asked for."""

    served: Served
    monitor: DriftMonitor
    state: DriftState
    action: str | None = None
    wish: tuple[str, ...] = ()
    asked_to_retrain: bool = False
    reading: DriftReading | None = None
    previous: Served | None = None


@dataclass(eq=False)
class DriftWatch:
    """Watches the seats of one system of a running playbook.

    Each monitor learnt from the bars that its champion was trained on, and from what that champion's kind forecast of
    them out of sample; where there is too little of either it says so and watches what it can.

    Parameters
    ----------
    told
        Hears every reading.
    retrain
        Asked for a challenger, once for each champion; again with every bar until it is taken up.
    """

    loop: Loop
    sleeve: LiveSleeve
    settings: DriftSection
    told: Told
    retrain: Retrain
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Learn what training data looked like, and read the bars since."""
        self._log = logger("live.drift")
        self._prepared, self._corridor = self.loop.prepared, self.sleeve.corridor
        self._references: dict[int, DriftReference | None] = {}
        self._seats: dict[str, _Seat] = {}
        for name, since in self._corridor.serving.items():
            self._sit(name, since[-1][1], len(self._corridor.world.panel))

    # -- one bar -----------------------------------------------------------------------------------------------

    def __call__(self, step: LiveStep) -> None:
        """Read the newest bar of every seat, and act on what it says."""
        for name, since in self._corridor.serving.items():
            if self._seats.get(name) is None or self._seats[name].served is not since[-1][1]:
                self._sit(name, since[-1][1], step.row)
            seat = self._seats.get(name)
            if seat is not None:
                self._read(name, seat, step)
        self._ask()

    def _ask(self) -> None:
        """Ask for the challengers that are wished for: together, as one retraining is of all seats."""
        wishing = [seat for seat in self._seats.values() if seat.wish]
        if wishing and self.retrain({seat.served.seat: seat.wish for seat in wishing}):
            for seat in wishing:
                seat.asked_to_retrain, seat.wish = True, ()

    def _read(self, name: str, seat: _Seat, step: LiveStep) -> None:
        row, panel = step.row, step.world.panel
        known = self._known(step.members[name], row, row + 1)
        features = step.world.features.values[row : row + 1]
        seat.state, (reading,) = seat.monitor.step(seat.state, panel.times[row : row + 1], features, known)
        before, seat.reading = seat.reading, reading
        if reading.level == "drift" or reading.triggers:
            self._act(name, seat, step, reading)
        elif seat.action is not None and reading.level == "ok" and seat.served.seat not in self.loop.holding:
            seat.action = None
        if reading.level != ("ok" if before is None else before.level):
            self._say(seat, reading)
        self.told(seat.served.seat, reading.to_dict(name_of(seat.served.seat), seat.served.artefact.id, seat.action))

    def _say(self, seat: _Seat, reading: DriftReading) -> None:
        level: Level = "info" if reading.level == "ok" else "warning"
        what = f"{seat.served.seat}: {reading.level}: {reading.what}"
        self.loop.alert(level, f"drift_{reading.level}", what, {"model": seat.served.artefact.id})

    # -- what follows ------------------------------------------------------------------------------------------

    def _act(self, name: str, seat: _Seat, step: LiveStep, reading: DriftReading) -> None:
        previous = self._previous(name, seat) if reading.level == "drift" else None
        losses = self._losses(step.members[name], step.row, reading.recent_bars)
        other = None
        if previous is not None:
            other = self._losses_of(previous, step.world, step.row, reading.recent_bars)
        horizon = max(step.members[name].horizons)
        found = reaction(reading, None if other is None else losses, other, self.settings, horizon_bars=horizon)
        if found.retrain and not seat.asked_to_retrain:
            seat.wish = found.reasons
        if found.action == "rolled_back" and previous is not None:
            self._roll_back(seat, previous, found)
        elif found.action == "stopped" and seat.action in (None, "retrain"):
            seat.action = "stopped"
            self.loop.hold(seat.served.seat)
            self._shout(seat, "recommendations are stopped", found)
        elif found.action == "retrain" and seat.action is None:
            seat.action = "retrain"

    def _roll_back(self, seat: _Seat, previous: Served, found: Reaction) -> None:
        """Bring the champion before back, in one transaction with the decision; in a replay for its session alone."""
        sitting = seat.served.artefact.id
        decision = ModelDecision(
            seat=seat.served.seat,
            at=self.loop.clock.now(),
            decision="rolled_back",
            champion=sitting,
            challenger=previous.artefact.id,
            reasons=list(found.reasons),
            evidence=dict(found.evidence),
            by=BY,
            key=f"{sitting} {self._prepared.session.id} {previous.artefact.id}",
        )
        if self._prepared.session.mode == "REPLAY":
            self.loop.decide(decision)
        else:
            try:
                self._prepared.registry.rollback(seat.served.seat, decision=decision)
            except TradewindError as error:
                self._log.error("rollback_failed", seat=seat.served.seat, error=str(error))
                return
        seat.action = "rolled_back"
        self.loop.seat(seat.served.seat, previous.artefact.id)
        self.loop.let_go(seat.served.seat)
        self._shout(seat, f"rolled back to {previous.artefact.id}", found)

    def _shout(self, seat: _Seat, what: str, found: Reaction) -> None:
        said = f"{seat.served.seat}: {what}: {'; '.join(found.reasons)}"
        self.loop.alert("critical", "drift_action", said, {"action": found.action, **dict(found.evidence)})

    def _previous(self, name: str, seat: _Seat) -> Served | None:
        """Return the champion before the one that sits there; None where there was none."""
        registry: ModelRegistry = self._prepared.registry
        changes = self._prepared.workspace.records.alias_changes(seat.served.seat)
        before = stack(changes)[:-1]
        if not before or current(changes).get(CHAMPION) != seat.served.artefact.id:
            return None
        if seat.previous is not None and seat.previous.artefact.id == before[-1]:
            return seat.previous
        try:
            one = seated(registry, seat.served.seat, name, self._prepared.settings.engine, before[-1])
            require_exports({name: one}, self._corridor.world)
            seat.previous = one
            return one
        except TradewindError as error:
            self._log.warning("no_previous_champion", seat=seat.served.seat, error=str(error))
            return None

    # -- losses ------------------------------------------------------------------------------------------------

    def _losses_of(self, one: Served, world: World, row: int, recent: int) -> FloatArray | None:
        """Return what another model would have lost on the newest bars."""
        horizon = max(world.labels.horizons)
        rows = np.arange(max(0, row + 1 - recent - horizon), row + 1)
        learnt = int(np.searchsorted(world.panel.times, one.trained_until, side="right"))
        rows = rows[rows >= learnt]
        if not len(rows):
            return None
        made = one.over(world, rows)
        whole = np.full((row + 1, *made.quantiles.shape[1:]), np.nan)
        whole[rows] = made.quantiles
        return self._lost(whole, made.levels, made.horizons, row, recent)

    def _losses(self, made: Forecast, row: int, recent: int) -> FloatArray:
        return self._lost(made.quantiles, made.levels, made.horizons, row, recent)

    def _lost(
        self, quantiles: FloatArray, levels: tuple[float, ...], horizons: tuple[int, ...], row: int, recent: int
    ) -> FloatArray:
        """Return losses of forecasts whose outcome came with one of the newest bars, ``(T, N, H)``."""
        first = max(0, row + 1 - recent - max(horizons))
        returns = self._returns(first, row + 1, horizons)
        loss = pinball(returns, quantiles[first : row + 1], levels).mean(axis=-1)
        for column, horizon in enumerate(horizons):
            came = np.arange(first, row + 1) + horizon
            loss[(came > row) | (came <= row - recent), :, column] = np.nan
        return np.asarray(loss)

    def _returns(self, first: int, stop: int, horizons: tuple[int, ...]) -> FloatArray:
        """Return the log returns from rows ``first`` to ``stop - 1`` as far as they are known there, ``(T, N, H)``."""
        closes = self._corridor.log_closes[first:stop]
        found = np.full((*closes.shape, len(horizons)), np.nan)
        for column, horizon in enumerate(horizons):
            if horizon < len(closes):
                found[:-horizon, :, column] = closes[horizon:] - closes[:-horizon]
        return found

    def _known(self, made: Forecast, first: int, stop: int) -> FloatArray:
        """Return what became known of forecasts at rows ``first`` to ``stop - 1``, ``(T, 6)``."""
        before = max(0, first - max(made.horizons))
        returns = self._returns(before, stop, made.horizons)
        coverage = self.settings.coverage
        return outcomes(made.quantiles[before:stop], made.levels, returns, made.horizons, coverage)[first - before :]

    # -- who is watched ----------------------------------------------------------------------------------------

    def _sit(self, name: str, one: Served, until: int) -> None:
        """Begin to watch a model: learn from its training data, and read the bars since, before row ``until``."""
        corridor = self._corridor
        world = corridor.world
        stop = int(np.searchsorted(world.panel.times, one.trained_until, side="right"))
        reference = self._reference(world, stop)
        if reference is None:
            return
        made = corridor.forecasts_of(name)
        monitor = DriftMonitor(reference, self._expected(made, stop), self.settings, one.trained_until)
        state = monitor.start(world.panel.shape[1], world.features.values[:stop])
        rows = slice(stop, until)
        if rows.start < rows.stop:
            known = self._known(made, rows.start, rows.stop)
            state, _ = monitor.step(state, world.panel.times[rows], world.features.values[rows], known)
        self._seats[name] = _Seat(one, monitor, state, "stopped" if self._was_stopped(name, one) else None)

    def _was_stopped(self, name: str, one: Served) -> bool:
        """Return whether this model was stopped before this process began; one whom a person released counts too."""
        spans = self._prepared.session.held.get(one.seat, [])
        since = self._corridor.serving[name][-1][0]
        return bool(spans and since <= spans[-1][0])

    def _reference(self, world: World, stop: int) -> DriftReference | None:
        if stop not in self._references:
            plan = world.plan
            window = self.settings.window_of(world.panel.timeframe)
            life, names = plan.evaluation.refit_bars, world.features.names
            try:
                made = drift_reference(world.features.values[:stop], names, window, life, self.settings)
            except DataError as error:
                self.notes.append(f"drift of features is not watched: {error.what}")
                made = None
            self._references[stop] = made
        return self._references[stop]

    def _expected(self, made: Forecast, stop: int) -> ConceptReference | None:
        """Return what forecasts of the training's time were worth out of sample; None where there were too few."""
        known = self._known(made, 0, stop)
        rows = np.flatnonzero(np.isfinite(known[:, 0]))
        if not len(rows):
            return None
        life = self.sleeve.plan.evaluation.refit_bars
        try:
            return concept_reference(known[rows[0] :], max(made.horizons), life, self.settings)
        except DataError as error:
            self.notes.append(f"outcomes of {made.model} are not watched: {error.what}")
            return None

"""The corridor one bar after the other: the functions of a back-test, with what they remember kept between the bars.

Features, members' windows, ensemble weights and calibrators are folds that go on from the history; rules and sizes look
at the whole history, as in a back-test. So a day that is replayed has the features, forecasts and signals of the
back-test of that day (:mod:`tradewind.live.parity` proves it).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.calibration.adaptive import Block, ConformalCalibrator, became_known
from tradewind.decisions.memory import Memory
from tradewind.decisions.signals import asks_members
from tradewind.evaluation import corridor
from tradewind.evaluation.corridor import Progress, World, silent
from tradewind.evaluation.fold_cache import FoldCache
from tradewind.evaluation.recommend import Decision
from tradewind.evaluation.surroundings import laid_on, market_regimes
from tradewind.evaluation.workspace import Workspace
from tradewind.features import FeatureEngine
from tradewind.features.table import Features
from tradewind.labels.targets import Labels
from tradewind.live.served import Served, Stepper, Timeline, history, require_servable
from tradewind.live.tape import BarRow, Tape
from tradewind.market.panel import Panel
from tradewind.models.ensembles.base import combiner_of, even
from tradewind.models.ensembles.combine import EQUAL_WEIGHT, Combined, average, disagreement
from tradewind.models.ensembles.fold import WeightFold
from tradewind.models.forecast import SAID, Forecast
from tradewind.models.settings import ENSEMBLE
from tradewind.risk.regimes.result import Regimes
from tradewind.risk.regimes.settings import RegimesSection
from tradewind.stats.growing import Growing

FloatArray = NDArray[np.float64]


class Known(Forecast):
    """Forecasts whose rows were checked when each of them was made."""

    def __post_init__(self) -> None:
        """Check nothing again."""


@dataclass(eq=False)
class MarketRegimes:
    """The regimes of the market: read from the bars of one system, and known to all."""

    settings: RegimesSection
    newest: Regimes | None = None

    def shown_by(self, panel: Panel) -> Regimes | None:
        """Return the regimes that a panel shows; None where the playbook wants none."""
        self.newest = market_regimes(panel, self.settings) if self.settings.use else None
        return self.newest

    def known(self, _panel: Panel) -> Regimes | None:
        """Return those that were read last."""
        return self.newest


class Track:
    """A forecaster's rows so far: a :class:`Forecast` that grows."""

    def __init__(self, first: Forecast) -> None:
        self._like = self._said_by = first.part(np.arange(0))
        self._held = {name: Growing(values) for name, values in first.arrays.items()}

    def extend(self, row: Forecast | None) -> None:
        """Put the forecast of the next bar behind the last; None: it has none."""
        for name, values in self._held.items():
            said = None if row is None else getattr(row, name)
            values.extend(np.full((1, *values.view.shape[1:]), np.nan) if said is None else said)
        if row is not None:
            self._said_by = row.part(np.arange(0))

    def nothing(self, times: NDArray[np.datetime64]) -> Forecast:
        """Return bars on which nothing is said."""
        like = self._like
        arrays: dict[str, Any] = {n: np.full((len(times), *v.shape[1:]), np.nan) for n, v in like.arrays.items()}
        by = self._said_by
        return Known(times, like.symbols, like.horizons, like.levels, **arrays, model=by.model, version=by.version)

    def over(self, times: NDArray[np.datetime64]) -> Forecast:
        """Return it on the time axis of a panel that ends with the last row."""
        like, by = self._like, self._said_by
        head = (times, like.symbols, like.horizons, like.levels)
        said: dict[str, Any] = {name: self._held[name].view if name in self._held else None for name in SAID}
        return Known(*head, **said, model=by.model, version=by.version, explanation=by.explanation)


@dataclass(frozen=True, eq=False)
class LiveStep:
    """What one bar brought.

    Attributes
    ----------
    row
        Of the panel that the decision's world has; the last one.
    members
        Forecasts by model, of all bars so far: as they were made, and calibrated each by itself.
    decision
        World, belief, signals and targets, as a back-test would have them at this close.
    seconds
        What each part took: features, forecast, calibrate, decide.
    """

    row: int
    members: Mapping[str, Forecast]
    calibrated: Mapping[str, Forecast]
    decision: Decision
    seconds: Mapping[str, float]

    @property
    def world(self) -> World:
        """The bars and features known at this close."""
        return self.decision.world


@dataclass(eq=False)
class LiveCorridor:
    """A plan that goes on from a history, bar by bar.

    Parameters
    ----------
    workspace, panel
        The plan, and the bars that there are already: what a back-test would have seen of them.
    serving
        Who forecasts, by model, and since when.
    cache
        Where the walk-forward's forecasts of the time before the served models lie.
    regimes
        What the market's regimes are by the end of a panel; by default those of its own bars, where the plan wants any.
    """

    workspace: Workspace
    panel: Panel
    serving: dict[str, list[tuple[np.datetime64, Served]]]
    notes: tuple[str, ...] = ()
    cache: FoldCache = field(default_factory=lambda: FoldCache(None))
    progress: Progress = silent
    regimes: Callable[[Panel], Regimes | None] | None = None
    world: World = field(init=False)

    def __post_init__(self) -> None:
        """Walk the history."""
        require_servable(self.workspace)
        plan, panel = self.workspace.plan, self.panel
        self.world = world = corridor.base_world(plan, panel, self.notes, self._around(panel))
        self._engine = FeatureEngine(corridor.feature_names(plan), threads=1)
        self._features, _ = self._engine.step(self._engine.initial_state(panel.shape[1]), panel)
        self._values = Growing(world.features.values)
        self._tape, self._horizons = Tape(panel), world.labels.horizons
        self._closes = Growing(np.log(np.where(panel.mask, panel.adjusted("close"), np.nan)))
        self.world = world = replace(world, features=self._grown(world.panel))
        raw = {name: self._history(world, since) for name, since in self.serving.items()}
        known = became_known(world.labels.returns, self._horizons)
        self._raw = {name: Track(made) for name, made in raw.items()}
        self._steppers: dict[str, Stepper] = {n: since[-1][1].stepper(world) for n, since in self.serving.items()}
        self._traded = _Traded(self.workspace, raw, self._raw, known)
        self._memory = Memory()
        self._calibrators = {name: _Calibrator(self.workspace, made, known) for name, made in raw.items()}

    def _around(self, panel: Panel) -> Any:
        regimes = self.regimes or MarketRegimes(self.workspace.plan.regimes).shown_by
        return laid_on(self.workspace, panel, regimes(panel))

    def _history(self, world: World, since: Timeline) -> Forecast:
        parts = history(world, since, len(world.panel), self.cache, self.progress)
        return corridor.join(world, parts) if parts else _blank(world, since[0][1])

    def switch(self, one: Served, at: np.datetime64) -> None:
        """Let another model forecast for a seat from the next bar on, which closes after ``at``."""
        self._steppers[one.name] = one.stepper(self.world)
        self.serving[one.name].append((at + np.timedelta64(1, "us"), one))

    def step(self, bar: BarRow) -> LiveStep:
        """Take in a bar that has closed, and decide."""
        clock = _StopWatch()
        panel = self._tape.append(bar)
        row = len(panel) - 1
        self._engine.step(self._features, panel.rows(row, row + 1), out=self._room())
        self._closes.extend(np.log(np.where(panel.mask[row], panel.adjusted("close")[row], np.nan))[None])
        around = self.world.surroundings if self._alone else self._around(panel)
        self.world = replace(
            self.world, panel=panel, features=self._grown(panel), labels=self._labels(panel), surroundings=around
        )
        clock.lap("features")
        windows = corridor.windows(self.world, np.array([row]))
        made = {name: stepper.step(windows) for name, stepper in self._steppers.items()}
        clock.lap("forecast")
        for name, said in made.items():
            self._raw[name].extend(said)
        known = self._outcomes(row)
        calibrated = {name: one.step(made[name], known) for name, one in self._calibrators.items()}
        traded = self._traded.step(made, known)
        clock.lap("calibrate")
        decision = self._decide(panel, traded, calibrated)
        clock.lap("decide")
        members = {name: track.over(panel.times) for name, track in self._raw.items()}
        views = {name: one.track.over(panel.times) for name, one in self._calibrators.items()}
        return LiveStep(row, members, views, decision, clock.seconds)

    def forecasts_of(self, name: str) -> Forecast:
        """Return what a model has forecast so far, uncalibrated."""
        return self._raw[name].over(self.world.panel.times)

    @property
    def log_closes(self) -> FloatArray:
        """Log of the adjusted closes so far, ``(T, N)``; NaN where there is no bar."""
        return np.asarray(self._closes.view)

    @property
    def _alone(self) -> bool:
        """Whether nothing surrounds the bars that the plan's decisions look at."""
        from tradewind.decisions.surroundings import asked_for

        return not self.workspace.plan.regimes.use and not asked_for(self.workspace.plan.decision)

    def _grown(self, panel: Panel) -> Features:
        """Return the features of all bars so far."""
        return Features(panel.times, panel.symbols, self.world.features.names, self._values.view)

    def _room(self) -> NDArray[np.float32]:
        """Return the place of the next bar's features."""
        self._values.extend(np.empty((1, *self._values.view.shape[1:]), dtype=np.float32))
        return np.asarray(self._values.view[-1:])

    def _labels(self, panel: Panel) -> Labels:
        """Return labels of which nothing is known: no model may read them when it forecasts."""
        nothing = np.broadcast_to(np.nan, (*panel.shape, len(self._horizons)))
        never = np.broadcast_to(np.int64(np.iinfo(np.int64).max), nothing.shape)
        return Labels(
            self._horizons, nothing, np.broadcast_to(np.nan, panel.shape), never, np.broadcast_to(0.0, nothing.shape)
        )

    def _outcomes(self, row: int) -> FloatArray:
        """Return the log returns that are known from this bar on, ``(1, N, H)``."""
        closes = self._closes.view
        nothing = np.full(closes.shape[1], np.nan)
        return np.stack([closes[row] - closes[row - h] if row >= h else nothing for h in self._horizons], axis=-1)[None]

    def _decide(self, panel: Panel, traded: _Traded, calibrated: Mapping[str, Track]) -> Decision:
        asked = asks_members(self.workspace.plan.decision.rule) and traded.is_ensemble
        members = {name: track.over(panel.times) for name, track in calibrated.items()} if asked else {}
        believed = traded.calibrator.track.over(panel.times)
        belief, signals, targets = corridor.act(self.world, believed, members, must_fire=False, memory=self._memory)
        return Decision(self.world, belief, signals, targets, traded.combined(panel))


class _Calibrator:
    """A forecaster's calibration, on from the history, on the grid that decisions are made on."""

    def __init__(self, workspace: Workspace, made: Forecast, known: FloatArray) -> None:
        settings = workspace.plan.calibration
        self._fold = None if settings.method == "none" else ConformalCalibrator(settings, made.horizons, made.levels)
        quantiles = made.quantiles
        if self._fold is not None:
            start = self._fold.initial_state(len(made.symbols))
            self._state, quantiles = self._fold.step(start, Block(made.quantiles, known))
        self.track = Track(replace(made, quantiles=quantiles).rounded())

    def step(self, made: Forecast | None, known: FloatArray) -> Track:
        """Take in the next bar's forecast, and the outcomes that became known with it."""
        if self._fold is not None:
            said = self.track.nothing(_NO_TIME) if made is None else made
            self._state, quantiles = self._fold.step(self._state, Block(said.quantiles, known))
            made = None if made is None else replace(made, quantiles=quantiles)
        self.track.extend(None if made is None else made.rounded())
        return self.track


class _Traded:
    """What decisions are made on: the one model's forecast, or that of the members combined."""

    def __init__(
        self, workspace: Workspace, raw: Mapping[str, Forecast], tracks: Mapping[str, Track], known: FloatArray
    ) -> None:
        plan = workspace.plan
        self.is_ensemble = plan.models.use == ENSEMBLE
        if not self.is_ensemble:
            self.calibrator = _Calibrator(workspace, raw[plan.models.use], known)
            return
        members = list(raw.values())
        first = members[0]
        self._fold = WeightFold(
            combiner_of(plan.ensemble, plan.models.seed), first.horizons, first.levels, len(members)
        )
        start = self._fold.initial_state(len(first.symbols))
        self._state, weights = self._fold.step(start, [one.quantiles for one in members], known)
        forecast, equal, spread, distance = self._average(members, weights)
        self._members = tracks
        self._forecast, self._equal = Track(forecast), Track(equal)
        self._weights, self._spread, self._distance = Growing(weights), Growing(spread), Growing(distance)
        self.calibrator = _Calibrator(workspace, forecast, known)

    def _average(
        self, members: list[Forecast], weights: FloatArray
    ) -> tuple[Forecast, Forecast, FloatArray, FloatArray]:
        level = np.broadcast_to(even(members[0].horizons, len(members)), weights.shape)
        equal = average(members, level, EQUAL_WEIGHT)
        return average(members, weights, ENSEMBLE), equal, *disagreement(members, equal)

    def step(self, made: Mapping[str, Forecast | None], known: FloatArray) -> _Traded:
        """Take in the next bar's forecasts, which the tracks of the members have taken in already."""
        if not self.is_ensemble:
            self.calibrator.step(next(iter(made.values())), known)
            return self
        times = next((one.times for one in made.values() if one is not None), _NO_TIME)
        rows = [self._members[name].nothing(times) if one is None else one for name, one in made.items()]
        self._state, weights = self._fold.step(self._state, [one.quantiles for one in rows], known)
        forecast, equal, spread, distance = self._average(rows, weights)
        self._forecast.extend(forecast)
        self._equal.extend(equal)
        for held, part in ((self._weights, weights), (self._spread, spread), (self._distance, distance)):
            held.extend(part)
        self.calibrator.step(forecast, known)
        return self

    def combined(self, panel: Panel) -> Combined | None:
        """Return the combination of all bars so far; None where one model is traded."""
        if not self.is_ensemble:
            return None
        return Combined(
            self._forecast.over(panel.times),
            self._equal.over(panel.times),
            {name: track.over(panel.times) for name, track in self._members.items()},
            self._weights.view,
            self._spread.view,
            self._distance.view,
            {},
        )


_NO_TIME = np.array([np.datetime64("NaT", "us")])


class _StopWatch:
    """How long each part took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name], self._since = now - self._since, now


def _blank(world: World, one: Served) -> Forecast:
    """Return a history without any forecast."""
    question = one.artefact.card["question"]
    shape = (*world.panel.shape, len(world.labels.horizons))
    levels = tuple(float(level) for level in question["levels"])
    chances = np.full((*shape, 3), np.nan) if question["classes"] else None
    nothing = np.full((*shape, len(levels)), np.nan)
    return Forecast(
        world.panel.times, world.panel.symbols, world.labels.horizons, levels, nothing, np.full(shape, np.nan), chances,
        model=one.name,
    )  # fmt: skip

"""The systems of a playbook, each walked over its own bars up to its decisions: one, or one for every timeframe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from tradewind.calibration.coverage import CoverageReport
from tradewind.decisions.coordinator import capital_of
from tradewind.errors import DataError, TradewindError, did_you_mean
from tradewind.evaluation import corridor
from tradewind.evaluation.account import Wanted
from tradewind.evaluation.corridor import Progress, World, silent
from tradewind.evaluation.data import Loaded, in_its_bars, load, load_or_sync, require_symbol, smaller_bars
from tradewind.evaluation.ensemble import shown_beside
from tradewind.evaluation.fold_cache import FoldCache
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.recommend import Decision
from tradewind.evaluation.surroundings import laid_on, market_regimes
from tradewind.evaluation.workspace import Workspace
from tradewind.market.bars import TIMEFRAMES
from tradewind.market.panel import Panel
from tradewind.market.store.lake import Pin
from tradewind.models.ensembles.combine import Combined
from tradewind.models.forecast import Forecast
from tradewind.models.settings import ENSEMBLE
from tradewind.risk.regimes.result import Regimes

NAIVE = "naive_normal"
"""The yardstick of every forecast: zero mean, EWMA volatility, normal."""


@dataclass(frozen=True, eq=False)
class Sleeve:
    """One system over its own bars, walked forward.

    Attributes
    ----------
    name
        Of its ``[timeframes.NAME]`` table, "" where the playbook has none.
    decision
        World, calibrated forecast, signals and targets of every bar.
    forecasts, left_out
        Uncalibrated out-of-sample forecasts by model, and why those are missing that were only to be compared with.
    coverage
        Realised coverage of the calibrated intervals.
    start
        Row of the first out-of-sample forecast.
    """

    name: str
    loaded: Loaded
    decision: Decision
    forecasts: Mapping[str, Forecast]
    left_out: Mapping[str, str]
    coverage: CoverageReport
    start: int
    combined: Combined | None = None

    @property
    def world(self) -> World:
        """The bars, features and labels behind it."""
        return self.decision.world

    @property
    def plan(self) -> Plan:
        """What it was asked to do."""
        return self.world.plan

    @property
    def wanted(self) -> Wanted:
        """What it asks of the account."""
        return Wanted(self.name, self.world, self.decision.signals, self.decision.targets, self.start)


@dataclass(frozen=True, eq=False)
class Walked:
    """All systems of a playbook, the one that results are told by first.

    ``unavailable`` says of the others why they could not be walked; ``pin`` is what all of them read.
    """

    sleeves: tuple[Sleeve, ...]
    unavailable: Mapping[str, str]
    pin: Pin
    regimes: Regimes | None = None

    @property
    def primary(self) -> Sleeve:
        """The system whose bars the account is judged by: daily ones where there are any."""
        return self.sleeves[0]

    def led_by(self, name: str) -> Walked:
        """Return it with another system first; raises ``DataError`` for one that could not be walked."""
        names = [one.name for one in self.sleeves]
        if name in self.unavailable:
            raise DataError(
                f"the timeframe {name} is not available: {self.unavailable[name]}",
                hint=f"look at {' or '.join(names)}, sync more history, or change [timeframes]",
            )
        if name not in names:
            raise did_you_mean("timeframe", name, names)
        return replace(self, sleeves=tuple(sorted(self.sleeves, key=lambda one: one.name != name)))


def walk(
    workspace: Workspace,
    progress: Progress = silent,
    *,
    as_of: datetime | None = None,
    pin: Pin | None = None,
    symbol: str | None = None,
) -> Walked:
    """Load, forecast, calibrate and decide for every system of a playbook.

    Where there are several, one that its data cannot serve is left out with its reason; raises ``DataError`` with all
    reasons where none is left. ``symbol`` refuses a walk whose universe lacks it.
    """
    places = {name: replace(workspace, plan=plan) for name, plan in workspace.plan.timeframes.items()}
    loaded, unavailable, pinned = loaded_systems(places or {"": workspace}, progress, as_of, pin)
    if symbol is not None:
        require_symbol(next(iter(loaded.values())).panel, symbol)
    cache = FoldCache(workspace.home / "folds")
    regimes = _regimes(workspace.plan, loaded)
    sleeves: list[Sleeve] = []
    for name, found in loaded.items():
        try:
            sleeves.append(_walk_one(name, (places or {"": workspace})[name], found, cache, progress, regimes))
        except DataError as error:
            if not places:
                raise
            unavailable[name] = error.what
    if not sleeves:
        said = "; ".join(f"{name}: {why}" for name, why in unavailable.items())
        raise DataError(
            f"no timeframe of the playbook can be walked: {said}", hint="sync more history, or change [timeframes]"
        )
    shared = _with_shares(workspace.plan, sleeves) if places else sleeves
    return Walked(tuple(sorted(shared, key=_distance_from_a_session)), unavailable, pinned, regimes)


def _with_shares(plan: Plan, sleeves: list[Sleeve]) -> list[Sleeve]:
    """Return the systems, each with the share of capital that the playbook gives it."""
    shares = capital_of(plan.coordinator, [one.name for one in sleeves]).tolist()
    return [
        replace(one, decision=replace(one.decision, share=share)) for one, share in zip(sleeves, shares, strict=True)
    ]


def _distance_from_a_session(sleeve: Sleeve) -> tuple[bool, float]:
    """Order systems by how near their bars are to a session's, longer ones before shorter ones."""
    minutes = TIMEFRAMES[sleeve.world.panel.timeframe] / TIMEFRAMES["1d"]
    return minutes < 1, max(minutes, 1 / minutes)


def loaded_systems(
    places: Mapping[str, Workspace], progress: Progress = silent, as_of: datetime | None = None, pin: Pin | None = None
) -> tuple[dict[str, Loaded], dict[str, str], Pin]:
    """Return the bars of every system, all of one state of the store, and why some have none.

    Raises ``DataError`` with all reasons where none has any; what is wrong with a single system is raised as it is.
    """
    found: dict[str, Loaded] = {}
    unavailable: dict[str, str] = {}
    hint = "change [timeframes] or data.source"
    for name, place in places.items():
        try:
            found[name] = load_or_sync(place, progress, as_of=as_of, pin=pin)
        except TradewindError as error:
            if len(places) == 1:
                raise
            unavailable[name], hint = error.what, error.hint or hint
    if not found:
        said = "; ".join(f"{name}: {why}" for name, why in unavailable.items())
        raise DataError(f"no timeframe of the playbook has any bars: {said}", hint=hint)
    last = list(found.values())[-1].pin
    if len(found) > 1:
        found = {name: load(smaller_bars(places[name]), as_of=as_of, pin=last) for name in found}
    return {name: in_its_bars(places[name], one) for name, one in found.items()}, unavailable, last


def _regimes(plan: Plan, loaded: Mapping[str, Loaded]) -> Regimes | None:
    """Return the regimes of the market, from the bars with the longest history; None where the playbook wants none."""
    if not plan.regimes.use:
        return None
    panels = {name: one.panel for name, one in loaded.items()}
    return market_regimes(panels[shows_the_market(panels)], plan.regimes)


def shows_the_market(panels: Mapping[str, Panel]) -> str:
    """Return the system whose bars regimes are read from: that with the longest history of those that show sessions."""
    fine = [name for name, panel in panels.items() if TIMEFRAMES[panel.timeframe] <= TIMEFRAMES["1d"]]
    if not fine:
        raise DataError("regimes need daily or smaller bars", hint="set [regimes] use = false, or trade daily bars too")
    return max(fine, key=lambda name: panels[name].times[-1] - panels[name].times[0])


def _walk_one(
    name: str, workspace: Workspace, loaded: Loaded, cache: FoldCache, progress: Progress, regimes: Regimes | None
) -> Sleeve:
    plan = workspace.plan
    surroundings = laid_on(workspace, loaded.panel, regimes)
    world = corridor.build_world(plan, loaded.panel, loaded.notes, cache, progress, surroundings)
    progress("features", 1, 1)
    combined = corridor.combine_out_of_sample(world, cache, progress) if ENSEMBLE in plan.models.all else None
    forecasts, left_out = _forecasts(world, cache, progress, combined)
    traded = combined if plan.models.use == ENSEMBLE else None
    believed = corridor.believed(world, forecasts[plan.models.use], traded, cache, progress)
    belief, signals, targets = corridor.act(world, believed.forecast, believed.members)
    decision = Decision(world, belief, signals, targets, traded)
    start = corridor.first_forecast_row(believed.forecast)
    return Sleeve(name, loaded, decision, forecasts, left_out, believed.coverage, start, combined)


def _forecasts(
    world: World, cache: FoldCache, progress: Progress, combined: Combined | None
) -> tuple[dict[str, Forecast], dict[str, str]]:
    """Return the forecasts by model, and why those are missing that were only to be compared with.

    An ensemble stands with equal weights and its members beside it.
    """
    found = {} if combined is None else shown_beside(combined)
    left_out: dict[str, str] = {}
    for name in dict.fromkeys((*world.plan.models.all, NAIVE)):
        if name in found:
            continue
        try:
            found[name] = corridor.forecast_out_of_sample(world, name, cache, progress)
        except DataError as error:
            if name in (world.plan.models.use, NAIVE):
                raise
            left_out[name] = error.what
    return found, left_out

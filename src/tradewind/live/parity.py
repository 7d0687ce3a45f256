"""Live equals back-test, proved: a running corridor's days laid beside the back-test of the same days.

The back-test is walked in one go over the whole panel, with the models that forecast live: features are recomputed,
windows read anew, forecasts made for all bars at once, weights and calibrators run from the first bar, the rule applied
to everything, and the account let live through it. The two share functions, and no state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tradewind.evaluation import corridor
from tradewind.evaluation.account import Wanted, trade
from tradewind.evaluation.corridor import Believed, Progress, World, silent
from tradewind.evaluation.fold_cache import FoldCache
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.recommend import Decision
from tradewind.evaluation.surroundings import laid_on, market_regimes
from tradewind.evaluation.workspace import Workspace
from tradewind.execution.manual import ManualOrder
from tradewind.live.acting import acted_on
from tradewind.live.corridor import LiveStep
from tradewind.live.quiet import Spans
from tradewind.live.served import Timeline, history
from tradewind.live.trader import iso
from tradewind.market.panel import Panel
from tradewind.models.ensembles.base import combiner_of
from tradewind.models.ensembles.combine import Combined, combine
from tradewind.models.forecast import Forecast
from tradewind.models.settings import ENSEMBLE

TOLERANCE: Final = 1e-6
"""How far forecasts may be apart: matrix products differ in their last bits with the shape of the batch."""

SIGNALS: Final = ("action", "decided", "close", "cover", "horizon_bars", "confidence", "stop", "target", "clause")


@dataclass(frozen=True)
class Difference:
    """The first thing that is not the same."""

    part: str
    time: str
    symbol: str
    what: str
    live: Any
    backtest: Any

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON says it."""
        return {
            "part": self.part,
            "time": self.time,
            "symbol": self.symbol,
            "what": self.what,
            "live": self.live,
            "backtest": self.backtest,
        }


@dataclass(eq=False)
class Recorder:
    """Keeps what a running corridor said at each bar, to be compared when it is over."""

    features: list[NDArray[np.float32]] = field(default_factory=list)
    forecasts: dict[str, list[NDArray[np.float64]]] = field(default_factory=dict)
    signals: dict[str, list[NDArray[Any]]] = field(default_factory=dict)
    weights: list[NDArray[np.float64]] = field(default_factory=list)
    first: int = -1

    def take(self, step: LiveStep) -> None:
        """Keep what was said at the newest bar."""
        if self.first < 0:
            self.first = step.row
        decision = step.decision
        self.features.append(step.world.features.values[-1].copy())
        said = {**step.members, "traded": decision.belief.forecast}
        for name, forecast in said.items():
            self.forecasts.setdefault(name, []).append(forecast.quantiles[-1].copy())
        for name in SIGNALS:
            self.signals.setdefault(name, []).append(getattr(decision.signals, name)[-1].copy())
        self.weights.append(decision.targets.weight[-1].copy())

    def __len__(self) -> int:
        """Return the number of bars."""
        return len(self.features)


@dataclass(frozen=True, eq=False)
class Reference:
    """The back-test of the days that a corridor ran: its world, forecasts by model, and decisions of every bar."""

    world: World
    members: Mapping[str, Forecast]
    believed: Believed
    decision: Decision

    def wanted(self, start: int) -> Wanted:
        """Return what it asks of the account from one of its bars on."""
        decision = self.decision
        return Wanted(self.world.plan.timeframe, self.world, decision.signals, decision.targets, start)


def backtest_of(
    workspace: Workspace,
    panel: Panel,
    serving: Mapping[str, Timeline],
    notes: tuple[str, ...] = (),
    cache: FoldCache | None = None,
    progress: Progress = silent,
    held: Spans | None = None,
    market: Panel | None = None,
    ordered: Sequence[ManualOrder] = (),
) -> Reference:
    """Walk a panel in one go, with the walk-forward's models and, since they were trained, those that forecast live.

    Between the closes of ``held``, by seat, nothing is recommended: a corridor that was stopped said nothing either.
    Regimes are read from the bars of ``market``, the panel's own by default; ``ordered`` are the orders of persons that
    were applied.
    """
    plan, cache = workspace.plan, cache or FoldCache(None)
    regimes = market_regimes(panel if market is None else market, plan.regimes) if plan.regimes.use else None
    world = corridor.base_world(plan, panel, notes, laid_on(workspace, panel, regimes))
    members = {}
    for name, since in serving.items():
        members[name] = corridor.join(world, history(world, since, len(panel), cache, progress))
        progress(f"{name} again", 1, 1)
    combined: Combined | None = None
    if plan.models.use == ENSEMBLE:
        combined = combine(members, world.labels.returns, combiner_of(plan.ensemble, plan.models.seed))
    made = members[plan.models.use] if combined is None else combined.forecast
    believed = corridor.believed(world, made, combined)
    belief, signals, targets = corridor.act(world, believed.forecast, believed.members, must_fire=False)
    decision = Decision(world, belief, signals, targets, combined)
    return Reference(world, members, believed, acted_on(decision, held or {}, ordered))


def differences(live: Mapping[str, Recorder], told: Mapping[str, Reference]) -> list[Difference]:
    """Return what is not the same, the first of each part of each system: features, forecasts, signals, targets."""
    found: list[Difference] = []
    for name, own in live.items():
        if len(own):  # longer bars may not have closed in these days
            found += [*_features(own, told[name]), *_forecasts(own, told[name]), *_signals(own, told[name])]
    return sorted(found, key=lambda one: (one.time, PARTS.index(one.part.partition(" ")[0])))


def ledger_difference(plan: Plan, wanted: Sequence[Wanted], ledger: str, start: int) -> list[Difference]:
    """Return whether the back-test of what systems want has another ledger than the live account.

    Parameters
    ----------
    ledger
        Hash of the live account's.
    start
        Row of the clock at whose close it could first decide.
    """
    tested = trade(plan, wanted, start=start).simulation
    if tested.ledger_hash == ledger:
        return []
    at = iso(tested.times[-1])
    return [Difference("ledger", at, "", "hash of all that was booked", ledger, tested.ledger_hash)]


PARTS: Final = ("features", "forecasts", "signals", "targets", "ledger")


def _features(live: Recorder, told: Reference) -> Iterator[Difference]:
    names = told.world.features.names
    own, theirs = np.stack(live.features), told.world.features.values[live.first : live.first + len(live)]
    same = (own == theirs) | (np.isnan(own) & np.isnan(theirs))
    yield from _first("features", same, own, theirs, told, live.first, lambda place: names[place[0]])


def _forecasts(live: Recorder, told: Reference) -> Iterator[Difference]:
    wanted = {**told.members, "traded": told.believed.forecast}
    for name, rows in live.forecasts.items():
        own, theirs = np.stack(rows), wanted[name].quantiles[live.first : live.first + len(live)]
        near = np.abs(own - theirs) <= TOLERANCE + (1e-12 if name != "traded" else 0.0)
        same = near | (np.isnan(own) & np.isnan(theirs))
        levels, horizons = wanted[name].levels, wanted[name].horizons
        said = lambda place, h=horizons, q=levels: f"{q[place[1]]:g} quantile over {h[place[0]]} bars"  # noqa: E731
        yield from _first(f"forecasts of {name}", same, own, theirs, told, live.first, said)


def _signals(live: Recorder, told: Reference) -> Iterator[Difference]:
    for name in SIGNALS:
        own = np.stack(live.signals[name])
        theirs = getattr(told.decision.signals, name)[live.first : live.first + len(live)]
        same = (own == theirs) | (np.isnan(own.astype(float)) & np.isnan(theirs.astype(float)))
        yield from _first("signals", same, own, theirs, told, live.first, lambda _, name=name: name)
    own, theirs = np.stack(live.weights), told.decision.targets.weight[live.first : live.first + len(live)]
    same = (own == theirs) | (np.isnan(own) & np.isnan(theirs))
    yield from _first("targets", same, own, theirs, told, live.first, lambda _: "weight")


def _first(
    part: str, same: NDArray[np.bool_], own: Any, theirs: Any, told: Reference, first: int, said: Any
) -> Iterator[Difference]:
    """Yield the first place where the two differ, if there is any."""
    places = np.argwhere(~same)
    if not len(places):
        return
    row, column, *rest = (int(i) for i in places[0])
    panel = told.world.panel
    place = tuple(places[0])
    yield Difference(
        part,
        iso(panel.times[first + row]),
        told.world.plan.column(panel.symbols[column]),
        said(rest),
        _plain(own[place]),
        _plain(theirs[place]),
    )


def _plain(value: Any) -> Any:
    number = value.item()
    return None if isinstance(number, float) and not np.isfinite(number) else number

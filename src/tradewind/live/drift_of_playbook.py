"""A playbook's own history with a change planted into it: how soon its monitor sees it, and what it does then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError, did_you_mean
from tradewind.evaluation import corridor
from tradewind.evaluation.corridor import Progress, World, silent
from tradewind.evaluation.data import load_or_sync
from tradewind.evaluation.fold_cache import FoldCache
from tradewind.evaluation.model_registry import ModelRegistry, seats_of, stack
from tradewind.evaluation.sleeves import NAIVE
from tradewind.evaluation.workspace import Workspace
from tradewind.live.drift_simulation import History, Planted, Said, simulate
from tradewind.live.prepare import train_the_missing
from tradewind.live.served import Served, require_exports, require_servable, seated
from tradewind.live.settings import LiveSection
from tradewind.live.settings_drift import DriftSection
from tradewind.models.forecast import Forecast

FloatArray = NDArray[np.float64]

TRAIN_PART: Final = 2
LIFE_PART: Final = 4
"""A simulated life learns from half as much as a real one and is a quarter as long: so there are more of them."""


def simulate_drift(
    workspace: Workspace,
    planted: Planted,
    *,
    seat: str | None = None,
    train_bars: int | None = None,
    life_bars: int | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Plant a change into a playbook's history and say what its drift monitor makes of it.

    The champion of a seat is asked again with the changed features, on the bars that it has not learnt from; before
    that the walk-forward's forecasts stand, and before those the forecasts of models of its kind that learnt from no
    more bars than a simulated life does: so that outcomes are known of most lives. Where nobody sat in the seat before
    it, the naive forecast stands for the champion that would be rolled back to, and the result says so.

    Returns what :func:`tradewind.live.drift_simulation.simulate` does, with ``seat``, ``champion`` and ``previous``.
    """
    require_servable(workspace)
    plan = workspace.plan
    settings = plan.playbook.section("drift", DriftSection)
    loaded = load_or_sync(workspace, progress)
    train_the_missing(workspace, progress)
    registry = ModelRegistry(workspace.home, workspace.records, workspace.clock)
    chosen, name = _seat(seats_of(plan), seat)
    engine = plan.playbook.section("live", LiveSection).engine
    champion = seated(registry, chosen, name, engine)
    cache = FoldCache(workspace.home / "folds")
    world = corridor.base_world(plan, loaded.panel, loaded.notes)
    require_exports({name: champion}, world)
    before = stack(workspace.records.alias_changes(chosen))[:-1]
    train = train_bars or plan.evaluation.min_train_bars // TRAIN_PART
    previous, called = _previous(world, registry, chosen, name, engine, before, train, cache, progress)
    made = _forecast(world, name, train, cache, progress)
    life = life_bars or max(plan.evaluation.refit_bars // LIFE_PART, 2)
    history = History(
        world.panel.times,
        world.features.names,
        world.features.values,
        world.labels.returns,
        world.labels.horizons,
        made.levels,
        Said(made.quantiles, _Again(world, champion, made, life)),
        previous,
    )
    found = simulate(
        history,
        planted,
        train_bars=train,
        life_bars=life,
        window_bars=settings.window_of(world.panel.timeframe),
        settings=settings,
        progress=progress,
    )
    told = {"playbook": plan.playbook.name, "source": plan.data.source, "seat": chosen}
    return {**told, "champion": champion.artefact.id, "previous": called, **found}


def _forecast(world: World, name: str, train_bars: int, cache: FoldCache, progress: Progress) -> Forecast:
    """Return the walk-forward's forecasts, with those of earlier and shorter folds in front of them."""
    made = corridor.forecast_out_of_sample(world, name, cache, progress)
    first = int(corridor.folds_of(world)[0].test[0])
    early = [fold for fold in corridor.folds_of(world, train_bars) if fold.test[0] < first]
    if not early:
        return made
    before = corridor.forecast_out_of_sample(world, name, cache, progress, early)
    return replace(made, quantiles=np.where(np.isnan(made.quantiles), before.quantiles, made.quantiles))


class _Again:
    """Asks a model anew about the bars from the first changed one on, for one life."""

    def __init__(self, world: World, one: Served, made: Forecast, life_bars: int) -> None:
        self._world, self._one, self._made, self._life = world, one, made, life_bars

    def __call__(self, features: NDArray[np.float32]) -> FloatArray:
        was = self._world.features.values
        changed = ~((features == was) | (np.isnan(features) & np.isnan(was))).all(axis=(1, 2))
        rows = np.flatnonzero(changed)
        said = self._made.quantiles
        if not len(rows):
            return said
        stop = min(int(rows[0]) + self._life, len(features))
        learnt = int(np.searchsorted(self._world.panel.times, self._one.trained_until, side="right"))
        asked = np.arange(max(int(rows[0]), learnt), stop)
        if not len(asked):
            return said
        changed_world = replace(self._world, features=replace(self._world.features, values=features))
        again = said.copy()
        again[asked] = self._one.over(changed_world.head(stop), asked).quantiles
        return again


def _previous(
    world: World,
    registry: ModelRegistry,
    seat: str,
    name: str,
    engine: Any,
    before: list[str],
    train_bars: int,
    cache: FoldCache,
    progress: Progress,
) -> tuple[Said, str]:
    """Return what the champion before said, or the naive forecast where there was none, and what that is called."""
    naive = _forecast(world, NAIVE, train_bars, cache, progress)
    if not before:
        return Said(naive.quantiles), f"{NAIVE} (nobody sat in {seat} before)"
    one = seated(registry, seat, name, engine, before[-1])
    require_exports({name: one}, world)
    learnt = int(np.searchsorted(world.panel.times, one.trained_until, side="right"))
    said = np.full_like(naive.quantiles, np.nan)
    rows = np.arange(learnt, len(world.panel))
    if len(rows):
        said[rows] = one.over(world, rows).quantiles
    return Said(said), one.artefact.id


def _seat(seats: dict[str, str], asked: str | None) -> tuple[str, str]:
    if asked is None:
        return next(iter(seats.items()))
    for seat, name in seats.items():
        if asked in (seat, name):
            return seat, name
    raise did_you_mean("seat", asked, [*seats, *seats.values()])


def planted_change(
    change: str, *, size: float | None = None, share: float | None = None, after_bars: int | None = None, seed: int = 0
) -> Planted:
    """Return a change as it is asked for on the command line; ``InputError`` for one that is not known."""
    from tradewind.live.drift_simulation import CHANGES

    for known in CHANGES:
        if change == known:
            return Planted(known, size, share, after_bars, seed)
    if not change:
        raise InputError("no change was named", hint=f"one of {', '.join(CHANGES)}")
    raise did_you_mean("change", change, CHANGES)

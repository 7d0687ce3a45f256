"""Fit the plan's models on every fold; keep their forecasts for the verbs that follow, and the last fold's models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from tradewind.errors import DataError
from tradewind.evaluation import corridor
from tradewind.evaluation.corridor import Progress, World, silent
from tradewind.evaluation.data import Loaded, load_or_sync
from tradewind.evaluation.fold_cache import FoldCache
from tradewind.evaluation.model_registry import ModelRegistry, seats_of
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.sleeves import NAIVE
from tradewind.evaluation.stored_models import artefact_id, store
from tradewind.evaluation.workspace import Workspace
from tradewind.labels.splits import Fold
from tradewind.models import artefact as artefacts
from tradewind.models.forecast import Forecast
from tradewind.models.settings import ENSEMBLE
from tradewind.models.state import UnstorableError


def train(workspace: Workspace, progress: Progress = silent, *, as_of: datetime | None = None) -> dict[str, Any]:
    """Fit every model on every walk-forward fold; folds that are stored already are not fitted again.

    So are the models that the traded one's calibration needs beside it. The last fold's model of each (of each member,
    for an ensemble) becomes an artefact; the traded one's, or each member's, is champion of its seat where there is
    none yet, else the challenger.

    Returns by model: folds, forecasts made, version of the last fold's fit, what it says of itself and the ``artefact``
    (or why it is ``not_stored``; a damaged one is ``put_aside`` and made again); for one that was only to be compared
    and cannot be fitted, why it is ``left_out``.
    """
    loaded = load_or_sync(workspace, progress, as_of=as_of)
    cache = FoldCache(workspace.home / "folds")
    world = corridor.build_world(workspace.plan, loaded.panel, loaded.notes, cache, progress)
    folds = corridor.folds_of(world)
    registry = ModelRegistry(workspace.home, workspace.records, workspace.clock)
    training = Training(registry, world, folds, loaded, cache, progress)
    models: dict[str, Any] = {}
    for name in workspace.plan.models.all:
        try:
            stored = training.stored(name)
            forecast = corridor.forecast_out_of_sample(world, name, cache, progress)
        except DataError as error:
            if name == workspace.plan.models.use:
                raise
            models[name] = {"folds": 0, "forecasts": 0, "version": None, "explanation": {}, "left_out": error.what}
            continue
        if name == workspace.plan.models.use:
            corridor.calibrated(world, forecast, cache, progress)
        models[name] = {
            "folds": len(folds),
            "forecasts": int(forecast.available.sum()),
            "version": forecast.version,
            "explanation": dict(forecast.explanation),
            **stored.get(name, {"members": stored}),
        }
    seats, lineage = _seats(registry, world, models), workspace.plan.lineage
    return {
        "playbook": workspace.plan.playbook.name,
        "source": workspace.plan.data.source,
        "trained_until": str(world.panel.times[int(folds[-1].test[0]) - 1])[:19] + "Z",
        "models": models,
        "aliases": seats.get(lineage) or registry.state_of(lineage),
        "seats": seats,
    }


@dataclass(frozen=True, eq=False)
class Training:
    """What every model of a training shares: the folds of its walk, of which the last one's model is kept."""

    registry: ModelRegistry
    world: World
    folds: Sequence[Fold]
    loaded: Loaded
    cache: FoldCache
    progress: Progress

    def stored(self, name: str) -> dict[str, dict[str, str]]:
        """Return the artefact of a model, or of each of an ensemble's members: one that cannot be fitted has none."""
        if name != ENSEMBLE:
            return {name: self.stored_one(name)}
        found = {}
        for member in self.world.plan.ensemble.members:
            try:
                found[member] = self.stored_one(member)
            except DataError as error:
                found[member] = {"not_stored": error.what}
        return found

    def stored_one(self, name: str) -> dict[str, str]:
        """Return the ``artefact`` of the last fold's model, made where there is none yet, or why there is none."""
        fold = self.folds[-1]
        known = artefact_id(self.world, name, self.folds)
        kept, told = self._kept(known)
        if kept:
            return {"artefact": known}
        earlier = self.walked(name, self.folds[:-1])
        fitted = corridor.fit_fold(self.world, name, fold, self.cache, self.progress)
        last = self.cache.get(self.world, name, fold, lambda: fitted.ask(fold.test))
        own = corridor.join(self.world, [*earlier, (int(fold.test[0]), last)])
        naive = corridor.join(self.world, self.walked(NAIVE, self.folds))
        try:
            made = store(self.registry, self.world, fitted, self.folds, own, naive, self.loaded.pin)
        except UnstorableError as error:
            return {"not_stored": error.what}
        return {"artefact": made.id, **told}

    def _kept(self, known: str) -> tuple[bool, dict[str, str]]:
        """Whether an artefact is there and whole; a damaged one is ``put_aside``, to be made again.

        One that is not in the records was written by a training that was killed before it could say so.
        """
        folder = self.registry.folder / known
        if not folder.exists():
            return False, {}
        try:
            self.registry.add(artefacts.read(folder, digest=self.registry.digest_of(known)))
        except DataError:
            return False, {"put_aside": str(artefacts.put_aside(folder))}
        return True, {}

    def walked(self, name: str, folds: Sequence[Fold]) -> list[tuple[int, Forecast]]:
        """Return the forecasts of the folds that the model can be fitted in."""
        return list(corridor.walk(self.world, name, self.cache, self.progress, folds, failures=[]))


def retraining_folds(plan: Plan, bars: int, horizons: Sequence[int], unseen_bars: int) -> list[Fold]:
    """Return a walk whose last model learns from all but the newest bars, which are left to judge it by.

    Before that the walk is the plan's own, so that its forecasts need not be made again. Raises ``DataError`` where
    too little is left to learn from.
    """
    settings, gap = plan.evaluation, max(horizons) + plan.labels.embargo_bars
    cut = bars - unseen_bars
    if cut - gap < settings.min_train_bars:
        raise DataError(
            f"{bars:,} bars are too few for a retraining: {unseen_bars:,} are kept to judge it by, {gap:,} are purged, "
            f"and evaluation.min_train_bars asks for {settings.min_train_bars:,}",
            hint="sync more history, or lower challenge.least_dates (or unseen_bars) or evaluation.min_train_bars",
        )
    earlier = corridor.planned_folds(plan, cut, horizons) if cut - gap > settings.min_train_bars else []
    first = max(0, cut - gap - settings.min_train_bars) if settings.window == "rolling" else 0
    train, test = np.arange(first, cut - gap, dtype=np.int64), np.arange(cut, bars, dtype=np.int64)
    return [*earlier, Fold(train, test, cut - gap, len(earlier))]


def _seats(registry: ModelRegistry, world: World, models: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Enter the artefact of every seat's model, and return what the aliases of each seat mean now."""
    told = models[world.plan.models.use]
    found = {}
    for seat, name in seats_of(world.plan).items():
        own = told.get("members", {name: told})[name].get("artefact")
        if own is not None:
            registry.entered(seat, own)
        found[seat] = registry.state_of(seat)
    return found

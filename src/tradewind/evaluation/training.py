"""Fit the plan's models on every fold and keep their forecasts for the verbs that follow."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tradewind.errors import DataError
from tradewind.evaluation import corridor
from tradewind.evaluation.corridor import Progress, silent
from tradewind.evaluation.data import load_or_sync
from tradewind.evaluation.fold_cache import FoldCache
from tradewind.evaluation.workspace import Workspace


def train(workspace: Workspace, progress: Progress = silent, *, as_of: datetime | None = None) -> dict[str, Any]:
    """Fit every model on every walk-forward fold; folds that are stored already are not fitted again.

    So are the models that the traded one's calibration needs beside it.

    Returns by model: folds, forecasts made, version of the last fold's fit and what it says of itself; for one that
    was only to be compared and cannot be fitted, why it is ``left_out``.
    """
    loaded = load_or_sync(workspace, progress, as_of=as_of)
    cache = FoldCache(workspace.home / "folds")
    world = corridor.build_world(workspace.plan, loaded.panel, loaded.notes, cache, progress)
    folds = corridor.folds_of(world)
    models: dict[str, Any] = {}
    for name in workspace.plan.models.all:
        try:
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
        }
    last = folds[-1]
    return {
        "playbook": workspace.plan.playbook.name,
        "source": workspace.plan.data.source,
        "trained_until": str(world.panel.times[int(last.test[0]) - 1])[:19] + "Z",
        "models": models,
    }

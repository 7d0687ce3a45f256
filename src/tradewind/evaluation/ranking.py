"""Where in the universe each symbol will probably end: bucket probabilities from the joint distribution."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError, InputError
from tradewind.evaluation import corridor
from tradewind.evaluation.corridor import Progress, World, silent
from tradewind.evaluation.data import load_or_sync
from tradewind.evaluation.fold_cache import FoldCache
from tradewind.evaluation.workspace import Workspace
from tradewind.models.forecast import Forecast
from tradewind.models.ranks import bucket_probabilities, correlation_of


def rank_probabilities(
    workspace: Workspace, horizon: int, buckets: int, progress: Progress = silent, *, as_of: datetime | None = None
) -> dict[str, Any]:
    """Return ``{as_of, horizon, symbols: {SYMBOL: [p1 … pk]}}`` for the newest close, lowest bucket first.

    Raises ``InputError`` for a horizon that the playbook does not forecast, ``DataError`` when fewer symbols than
    buckets have a forecast.
    """
    loaded = load_or_sync(workspace, progress, as_of=as_of)
    cache = FoldCache(workspace.home / "folds")
    world = corridor.build_world(workspace.plan, loaded.panel, loaded.notes, cache, progress)
    if horizon not in world.labels.horizons:
        raise InputError(
            f"horizon {horizon} is not forecast by this playbook",
            hint=f"choose one of {list(world.labels.horizons)}, or add it to labels.horizons_bars",
        )
    calibrated = corridor.believed_out_of_sample(world, cache, progress).forecast
    return {
        "as_of": str(np.datetime_as_string(world.panel.times[-1], unit="s")) + "Z",
        "horizon": horizon,
        "symbols": ranks_at(world, calibrated, len(world.panel) - 1, horizon, buckets),
    }


def ranks_at(world: World, forecast: Forecast, row: int, horizon: int, buckets: int) -> dict[str, list[float]]:
    """Return each symbol's bucket probabilities at one close; symbols without a forecast are left out."""
    index = forecast.horizons.index(horizon)
    usable = forecast.available[row, :, index] & world.panel.mask[row] & world.panel.member[row]
    columns = np.flatnonzero(usable)
    if len(columns) < buckets:
        raise DataError(
            f"{len(columns)} symbols have a forecast: too few for {buckets} buckets", hint="ask for fewer --buckets"
        )
    returns = log_returns(world, row)[:, columns]
    chances = bucket_probabilities(
        forecast.quantiles[row, columns, index],
        forecast.levels,
        correlation_of(returns),
        buckets=buckets,
        seed=world.plan.models.seed,
    )
    names = [world.panel.symbols[c] for c in columns]
    return {name: [float(p) for p in row_] for name, row_ in zip(names, chances, strict=True)}


def log_returns(world: World, row: int, bars: int = 504) -> NDArray[np.float64]:
    """Return the last two years of one-bar log returns up to ``row``, ``(bars, N)``."""
    close = world.panel.adjusted("close")[max(0, row - bars) : row + 1]
    return np.diff(np.log(close), axis=0)

"""How good the distributions were: proper scores against the naive forecast, and the direction's information."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.models.forecast import Forecast
from tradewind.stats.losses import pinball
from tradewind.stats.metrics.skill import correlations_by_date, directional_accuracy

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scores:
    """Losses of one model on one horizon by date: ``(T,)`` means over symbols, NaN where nothing was forecast."""

    pinball: Array
    rank_ic: Array
    directional_accuracy: float
    n: int


def scores(forecast: Forecast, outcomes: Array, index: int) -> Scores:
    """Score one horizon of a forecast against what happened, ``outcomes (T, N)``."""
    quantiles = forecast.quantiles[:, :, index, :]
    loss = pinball(outcomes, quantiles, forecast.levels).mean(axis=-1)
    known = np.isfinite(loss)
    rank = correlations_by_date(forecast.score[:, :, index], outcomes, ranks=True)
    accuracy = directional_accuracy(forecast.score[:, :, index], np.where(known, outcomes, np.nan))
    return Scores(_by_date(loss), rank, accuracy.value, int(known.sum()))


def skill(own: Scores, naive: Scores) -> float:
    """Return the share of the naive pinball loss that was saved, on the dates both forecast."""
    both = np.isfinite(own.pinball) & np.isfinite(naive.pinball)
    if not both.any():
        return float("nan")
    return 1.0 - float(own.pinball[both].mean() / naive.pinball[both].mean())


def quality_table(
    forecasts: dict[str, Forecast], outcomes: Array, naive: str, horizons: tuple[int, ...]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return, by model and horizon, mean pinball loss, skill against ``naive`` with its p-value, and rank IC.

    The p-value is Diebold-Mariano's on date means with a HAC variance as long as the horizon.
    """
    from tradewind.stats.significance import diebold_mariano, hac_t

    table: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in forecasts}
    for index, horizon in enumerate(horizons):
        happened = outcomes[:, :, index]
        all_scores = {name: scores(forecast, happened, index) for name, forecast in forecasts.items()}
        for name, own in all_scores.items():
            both = np.isfinite(own.pinball) & np.isfinite(all_scores[naive].pinball)
            test = (
                diebold_mariano(all_scores[naive].pinball[both], own.pinball[both], horizon) if name != naive else None
            )
            table[name][str(horizon)] = {
                "pinball": float(np.nanmean(own.pinball)),
                "pinball_skill": skill(own, all_scores[naive]),
                "dm_p": None if test is None else test.p_value,
                "rank_ic": _mean(own.rank_ic),
                "rank_ic_t": hac_t(own.rank_ic[np.isfinite(own.rank_ic)], horizon),
                "directional_accuracy": own.directional_accuracy,
                "n": own.n,
            }
    return table


def reliability(probability: Array, happened: NDArray[np.bool_], bins: int = 10) -> list[dict[str, float | int]]:
    """Return the reliability table of an event: forecast probability against how often it happened."""
    known = np.isfinite(probability)
    p, y = probability[known], happened[known]
    edges = np.unique(np.quantile(p, np.linspace(0, 1, bins + 1))) if p.size else np.array([])
    rows: list[dict[str, float | int]] = []
    for low, high in pairwise(edges):
        inside = (p >= low) & ((p < high) | (high == edges[-1]))
        if inside.any():
            rows.append(
                {
                    "forecast": float(p[inside].mean()),
                    "observed": float(y[inside].mean()),
                    "n": int(inside.sum()),
                }
            )
    return rows


def _by_date(loss: Array) -> Array:
    count = np.isfinite(loss).sum(axis=1)
    return np.where(count > 0, np.nansum(loss, axis=1) / np.maximum(count, 1), np.nan)


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")

"""How good the distributions were: proper scores against the naive forecast, and the direction's information."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.calibration.coverage import inside, interval_levels
from tradewind.models.forecast import Forecast
from tradewind.stats import overfitting, significance
from tradewind.stats.losses import level_weights, pinball
from tradewind.stats.metrics.skill import correlations_by_date, directional_accuracy

Array = NDArray[np.float64]
LEAST_DATES = 50
"""Fewer dates than this say nothing about which model is best."""

SCORE_NAMES = (
    "pinball",
    "pinball_skill",
    "dm_p",
    "confidence_set_p",
    "crps",
    "coverage_80",
    "ic",
    "rank_ic",
    "rank_ic_t",
    "icir",
    "directional_accuracy",
    "directional_accuracy_error",
)
"""What every model is scored by on every horizon."""


@dataclass(frozen=True, eq=False)
class Scores:
    """One model on one horizon, by date: ``(T,)`` means over symbols, NaN where nothing was forecast or known."""

    pinball: Array
    crps: Array
    ic: Array
    rank_ic: Array
    coverage_80: float
    directional_accuracy: float
    directional_accuracy_error: float
    n: int
    losses: Array
    """``(T, N)`` pinball loss of every forecast, for comparisons on what two models both forecast."""


def scores(forecast: Forecast, outcomes: Array, index: int) -> Scores:
    """Score one horizon of a forecast against what happened, ``outcomes (T, N)`` log returns."""
    quantiles = forecast.quantiles[:, :, index, :]
    loss = pinball(outcomes, quantiles, forecast.levels)
    known = np.isfinite(loss).all(axis=-1)
    hits = inside(quantiles, outcomes, interval_levels(forecast.levels, 0.8))
    score = forecast.score[:, :, index]
    came = np.where(known, outcomes, np.nan)
    accuracy = directional_accuracy(score, came)
    return Scores(
        pinball=_by_date(loss.mean(axis=-1)),
        crps=_by_date(2.0 * (loss @ level_weights(forecast.levels))),
        ic=correlations_by_date(score, outcomes),
        rank_ic=correlations_by_date(score, outcomes, ranks=True),
        coverage_80=_mean(hits),
        directional_accuracy=accuracy.value,
        directional_accuracy_error=_accuracy_error(score, came, forecast.horizons[index]),
        n=int(known.sum()),
        losses=loss.mean(axis=-1),
    )


def paired(*models: Scores) -> Array:
    """Return each model's pinball loss by date, ``(T, M)``, over the symbols that all of them forecast that date."""
    together = np.isfinite(np.stack([one.losses for one in models])).all(axis=0)
    table = np.column_stack([_by_date(np.where(together, one.losses, np.nan)) for one in models])
    return np.asarray(table[np.isfinite(table).all(axis=1)])


def skill(own: Scores, naive: Scores) -> float:
    """Return the share of the naive pinball loss that was saved, on the dates and symbols that both forecast."""
    both = paired(own, naive)
    return 1.0 - float(both[:, 0].mean() / both[:, 1].mean()) if len(both) else float("nan")


def quality_table(
    forecasts: Mapping[str, Forecast], outcomes: Array, naive: str, horizons: tuple[int, ...]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return every score by model and horizon.

    ``pinball_skill`` is against ``naive`` and ``dm_p`` its two-sided Diebold-Mariano p-value, on date means with HAC,
    over the symbols that both forecast; ``directional_accuracy_error`` is a standard error, clustered by date with HAC;
    ``confidence_set_p`` is the p-value of belonging to the set of best models (Hansen, Lunde & Nason 2011).
    """
    table: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in forecasts}
    for index, horizon in enumerate(horizons):
        all_scores = {name: scores(forecast, outcomes[:, :, index], index) for name, forecast in forecasts.items()}
        best = _confidence_set(all_scores, horizon)
        for name, own in all_scores.items():
            table[name][str(horizon)] = {
                "pinball": _mean(own.pinball),
                "pinball_skill": skill(own, all_scores[naive]),
                "dm_p": None if name == naive else _same_as_naive(own, all_scores[naive], horizon),
                "confidence_set_p": best.get(name),
                "crps": _mean(own.crps),
                "coverage_80": own.coverage_80,
                "ic": _mean(own.ic),
                "rank_ic": _mean(own.rank_ic),
                "rank_ic_t": significance.hac_t(own.rank_ic[np.isfinite(own.rank_ic)], horizon),
                "icir": _ratio(own.rank_ic),
                "directional_accuracy": own.directional_accuracy,
                "directional_accuracy_error": own.directional_accuracy_error,
                "n": own.n,
            }
    return table


def superior_ability(
    forecasts: Mapping[str, Forecast], outcomes: Array, naive: str, horizons: tuple[int, ...]
) -> dict[str, float | None]:
    """Return by horizon the p-value that no model beats the naive one (Hansen's SPA); None with too few dates."""
    found: dict[str, float | None] = {}
    for index, horizon in enumerate(horizons):
        judged = {name: scores(f, outcomes[:, :, index], index) for name, f in forecasts.items()}
        table = paired(judged[naive], *(own for name, own in judged.items() if name != naive))
        if len(table) < LEAST_DATES or table.shape[1] < 2:
            found[str(horizon)] = None
            continue
        test = overfitting.superior_predictive_ability(table[:, 0], table[:, 1:], block_bars=_block(horizon))
        found[str(horizon)] = test.consistent
    return found


def superior_ability_reason(found: Mapping[str, float | None], left_out: Collection[str]) -> str | None:
    """Say why a p-value of superior ability is missing and which models it leaves out; None where neither is so."""
    said = []
    if any(p is None for p in found.values()):
        said.append(
            f"fewer than {LEAST_DATES} dates that all models forecast, or fewer than two models beside the naive"
        )
    if left_out:
        said.append(f"without {', '.join(left_out)}, which could not be fitted")
    return "; ".join(said) or None


def unscored(reason: str, horizons: tuple[int, ...]) -> dict[str, dict[str, Any]]:
    """Return the rows of :func:`quality_table` for a model without forecasts: no score, and the reason."""
    return {str(horizon): {**dict.fromkeys(SCORE_NAMES), "n": 0, "reason": reason} for horizon in horizons}


def reliability(probability: Array, happened: NDArray[np.bool_], bins: int = 10) -> list[dict[str, float | int]]:
    """Return the reliability table of an event: forecast probability against how often it happened."""
    known = np.isfinite(probability)
    p, y = probability[known], happened[known]
    edges = np.unique(np.quantile(p, np.linspace(0, 1, bins + 1))) if p.size else np.array([])
    rows: list[dict[str, float | int]] = []
    for low, high in pairwise(edges):
        within = (p >= low) & ((p < high) | (high == edges[-1]))
        if within.any():
            observed = {"forecast": float(p[within].mean()), "observed": float(y[within].mean())}
            rows.append({**observed, "n": int(within.sum())})
    return rows


def _same_as_naive(own: Scores, naive: Scores, horizon: int) -> float | None:
    """Return the two-sided p-value that the model is as good as the naive one; None with too few dates."""
    both = paired(own, naive)
    if len(both) < LEAST_DATES:
        return None
    return significance.diebold_mariano(both[:, 1], both[:, 0], horizon).p_value


def _confidence_set(all_scores: Mapping[str, Scores], horizon: int) -> dict[str, float]:
    names = list(all_scores)
    table = paired(*all_scores.values())
    distinct = len(names) > 1 and bool((np.ptp(table, axis=1) > 0).any()) if len(table) else False
    if len(table) < LEAST_DATES or not distinct:
        return {}
    return overfitting.model_confidence_set(table, names, block_bars=_block(horizon), samples=500)


def _accuracy_error(score: Array, outcome: Array, horizon: int) -> float:
    """Return the standard error of the directional accuracy: symbols of a date move together, and horizons overlap."""
    product = np.sign(score) * np.sign(outcome)
    decided = np.isfinite(product) & (product != 0)
    if not decided.any():
        return float("nan")
    hits = decided & (product > 0)
    share = hits.sum() / decided.sum()
    excess = (hits.sum(axis=1) - share * decided.sum(axis=1))[decided.any(axis=1)]
    lags = max(horizon - 1, significance.automatic_lags(len(excess)))
    return float(significance.hac_standard_error(excess, lags) * len(excess) / decided.sum())


def _block(horizon: int) -> int:
    """Return the block of a bootstrap whose rows overlap by the horizon."""
    return max(10, 2 * horizon)


def _by_date(loss: Array) -> Array:
    count = np.isfinite(loss).sum(axis=1)
    return np.where(count > 0, np.nansum(loss, axis=1) / np.maximum(count, 1), np.nan)


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def _ratio(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean() / known.std(ddof=1)) if known.size > 1 and known.std() > 0 else float("nan")

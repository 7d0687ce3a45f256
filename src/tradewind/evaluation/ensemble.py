"""What a back-test says of its ensemble: weights, skill beside equal weights and members, disagreement, alerts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.models.ensembles.combine import EQUAL_WEIGHT, Combined
from tradewind.models.ensembles.resolved import mean_of_present, positive, sigma_of
from tradewind.models.forecast import Forecast
from tradewind.models.settings import ENSEMBLE, EnsembleSection
from tradewind.stats.diebold_mariano import diebold_mariano
from tradewind.stats.hac import automatic_lags, hac_standard_error
from tradewind.stats.losses import pinball
from tradewind.stats.metrics.skill import correlations_by_date

Array = NDArray[np.float64]

RECENT_DATES = 126
"""Newest dates with outcomes on which degradation is looked for."""

ALERT_P = 0.01
"""A one-sided p-value below this is an alert; every horizon is tested twice."""


def shown_beside(combined: Combined) -> dict[str, Forecast]:
    """Return the forecasts that are scored with an ensemble: itself, equal weights, every member that made any."""
    made = {name: one for name, one in combined.members.items() if one.available.any()}
    return {ENSEMBLE: combined.forecast, EQUAL_WEIGHT: combined.equal, **made}


def ensemble_result(
    combined: Combined, outcomes: Array, quality: Mapping[str, Mapping[str, Any]], section: EnsembleSection
) -> dict[str, Any]:
    """Return what the result says of the ensemble.

    Parameters
    ----------
    outcomes
        ``(T, N, H)`` log returns from each bar, NaN where not known yet.
    quality
        The table of scores by model and horizon, of what :func:`shown_beside` returns among others.
    """
    horizons = list(enumerate(combined.forecast.horizons))
    return {
        "method": section.method,
        "parameters": dict(section.parameters),
        "members": list(combined.members),
        "left_out": dict(combined.left_out),
        "weights_last": combined.weights_at(-1),
        "weights_mean": combined.mean_weights(),
        "pinball_skill": {str(h): _skills(combined, quality, str(h)) for _, h in horizons},
        "disagreement": {str(h): _disagreement(combined, outcomes[..., i], i) for i, h in horizons},
        "degradation": {str(h): _degradation(combined, outcomes[..., i], i, h) for i, h in horizons},
    }


def member_notes(combined: Combined) -> tuple[str, ...]:
    """Say which members have no forecast in some folds, and why."""
    told = combined.left_out.items()
    return tuple(f"ensemble: {name} is left out, the others share its weight, {why}" for name, why in told)


def ensemble_flags(result: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the degradation alerts, with their figures."""
    found = []
    for horizon, tests in result["degradation"].items():
        for name, (code, words) in _ALERTS.items():
            test = tests[name]
            if test["p"] is not None and test["p"] < ALERT_P and test["change"] > 0:
                said = words.format(change=test["change"], dates=test["dates"], p=test["p"], horizon=horizon)
                found.append({"code": code, "message": said})
    return found


_ALERTS = {
    "against_equal_weight": (
        "ensemble_worse_than_equal_weight",
        "over {horizon} bars the ensemble lost {change:.1%} more than equal weights on the last {dates} dates "
        "(Diebold-Mariano, one-sided p = {p:.4f})",
    ),
    "against_own_past": (
        "ensemble_degraded",
        "over {horizon} bars the ensemble's loss in units of its own sigma was {change:.1%} higher on the last {dates} "
        "dates than before (difference of means with HAC errors, one-sided p = {p:.4f})",
    ),
}


def _skills(combined: Combined, quality: Mapping[str, Mapping[str, Any]], horizon: str) -> dict[str, Any]:
    """Return the share of the naive pinball loss saved; None for members without a forecast."""
    names = (ENSEMBLE, EQUAL_WEIGHT, *combined.members)
    return {name: quality[name][horizon]["pinball_skill"] if name in quality else None for name in names}


def _disagreement(combined: Combined, outcome: Array, index: int) -> dict[str, Any]:
    """Return mean disagreement and its pooled rank correlation with the realised error in sigma."""
    middle = combined.forecast.levels.index(0.5)
    median = combined.forecast.quantiles[:, :, index, middle]
    error = np.abs(outcome - median) / _sigma(combined.forecast, index)
    found: dict[str, Any] = {}
    for name, values in (("spread", combined.spread[..., index]), ("distance", combined.distance[..., index])):
        known = np.isfinite(values) & np.isfinite(error)
        pair = (np.where(known, one, np.nan).reshape(1, -1) for one in (values, error))
        correlation = float(correlations_by_date(*pair, ranks=True)[0])
        made = values[np.isfinite(values)]
        found[name] = {
            "mean": float(made.mean()) if made.size else None,
            "rank_correlation_with_error": correlation if math.isfinite(correlation) else None,
            "n": int(known.sum()),
        }
    return found


def _degradation(combined: Combined, outcome: Array, index: int, horizon: int) -> dict[str, Any]:
    """Return both tests on resolved forecasts: against equal weights, and against the ensemble's own past."""
    both = (combined.forecast, combined.equal)
    own, equal = (pinball(outcome, one.quantiles[:, :, index], one.levels).mean(axis=-1) for one in both)
    dates = np.isfinite(own).any(axis=1)
    unit = mean_of_present((own / _sigma(combined.forecast, index))[dates].T)
    recent = np.flatnonzero(dates)[-RECENT_DATES:]
    return {
        "against_equal_weight": _worse(own[recent], equal[recent], horizon),
        "against_own_past": _worse_than_before(unit[np.isfinite(unit)], horizon),
    }


def _worse(own: Array, equal: Array, horizon: int) -> dict[str, Any]:
    """Return by how much the first lost more than the second, ``(T, N)`` each, and how likely that is by chance."""
    if len(own) < RECENT_DATES:
        return _untested(len(own))
    test = diebold_mariano(own, equal, horizon)
    if not math.isfinite(test.p_value):
        return {"change": test.difference, "p": None, "dates": len(own)}
    p = test.p_value / 2 if test.difference > 0 else 1 - test.p_value / 2
    return {"change": test.difference / float(np.nanmean(equal)), "p": p, "dates": len(own)}


def _worse_than_before(loss: Array, horizon: int) -> dict[str, Any]:
    """Compare the newest dates with all before, less those whose outcomes overlap with the newest."""
    recent, before = loss[-RECENT_DATES:], loss[: -RECENT_DATES - horizon]
    if len(before) < RECENT_DATES:
        return _untested(len(recent))
    gap = float(recent.mean() - before.mean())
    errors = [hac_standard_error(part, max(horizon - 1, automatic_lags(len(part)))) for part in (recent, before)]
    error = math.hypot(*errors)
    p = 0.5 * math.erfc(gap / error / math.sqrt(2.0)) if error > 0 else None
    return {"change": gap / float(before.mean()), "p": p, "dates": len(recent)}


def _untested(dates: int) -> dict[str, Any]:
    return {"change": None, "p": None, "dates": dates}


def _sigma(forecast: Forecast, index: int) -> Array:
    return positive(sigma_of(forecast.quantiles[:, :, index], forecast.levels))

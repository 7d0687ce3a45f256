"""The M6 task on the open panel: quintile probabilities of 100 names over 20 sessions, ranked probability score.

Every 20 sessions of 2012–2016 each name's 20-session return is ranked among the hundred; a forecast gives five
probabilities a name. Uniform scores 0.16. The risk-only peer is a zero-mean normal with EWMA volatility (0.94) and
the same shrunk correlation, in the same run.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks import _open_task as task_of
from benchmarks.forecasts import BASELINE, YEARS, number
from tradewind.models.assembly import bar_returns, log_prices
from tradewind.models.forecast import Forecast
from tradewind.models.ranks import bucket_probabilities, correlation_of
from tradewind.stats.losses import ranked_probability_score

NAMES, HORIZON, BUCKETS, HISTORY = 100, 20, 5, 504
DISTRIBUTION = "scale_blend"
AIMS = {"rps_below": 0.1561, "rps_below_risk_only": True}


def run() -> dict[str, Any]:
    task = task_of.load(with_features=False)
    ours, _ = task_of.walk(task, DISTRIBUTION, YEARS)
    risk_only, _ = task_of.walk(task, BASELINE, YEARS)
    outcome = task_of.outcomes_of(task, YEARS)[:, :, task_of.HORIZONS.index(HORIZON)]
    returns = bar_returns(log_prices(task.panel))
    first = int(np.searchsorted(task.panel.times, ours.times[0]))
    columns = the_names(task.panel.mask[first - HISTORY :])
    rows = [t for t in range(0, len(ours.times), HORIZON) if np.isfinite(outcome[t, columns]).all()]
    scored = np.array([one_round(t, first, columns, ours, risk_only, outcome, returns) for t in rows])
    mean = scored.mean(axis=0)
    gap = scored[:, 1] - scored[:, 0]
    figures = {
        "rps": number(mean[0], 5),
        "rps_risk_only": number(mean[1], 5),
        "rps_uniform": number(mean[2], 5),
        "rounds": len(rows),
        "names": len(columns),
        "t_against_risk_only": number(gap.mean() / (gap.std(ddof=1) / np.sqrt(len(gap))), 2),
        "flags": list(task.panel.flags),
    }
    return {
        "name": "m6",
        "ratios": {"risk_only": number(mean[1] / mean[0], 4), "uniform": number(mean[2] / mean[0], 4)},
        "figures": figures,
        "aims": AIMS,
        "met": bool(mean[0] < AIMS["rps_below"] and mean[0] < mean[1]),
    }


def the_names(mask: np.ndarray) -> np.ndarray:
    """A seeded draw of a hundred names with every bar: chosen by presence, not by fate of their prices."""
    whole = np.flatnonzero(mask.all(axis=0))
    return np.sort(np.random.default_rng(6).choice(whole, NAMES, replace=False))


def one_round(
    t: int, first: int, columns: np.ndarray, ours: Forecast, peer: Forecast, outcome: np.ndarray, returns: np.ndarray
) -> list[float]:
    index = ours.horizons.index(HORIZON)
    row = first + t
    correlation = correlation_of(returns[row - HISTORY + 1 : row + 1, columns])
    order = np.argsort(np.argsort(outcome[t, columns], kind="stable"), kind="stable")
    bucket = order * BUCKETS // len(columns)
    found = []
    for forecast in (ours, peer):
        quantiles = forecast.quantiles[t, columns, index]
        chances = bucket_probabilities(quantiles, forecast.levels, correlation, buckets=BUCKETS, seed=t)
        found.append(float(ranked_probability_score(bucket, chances).mean()))
    uniform = np.full((len(columns), BUCKETS), 1.0 / BUCKETS)
    return [*found, float(ranked_probability_score(bucket, uniform).mean())]

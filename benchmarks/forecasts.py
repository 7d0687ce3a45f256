"""Forecast quality of every model on the open daily panel: walk-forward 2012–2016, refitted each January.

Resumable: each model and year is kept in `.bench/forecasts` until a file of the models room changes. `FORECAST_MODELS`
(comma-separated names) restricts the run. Quantiles are judged by the return from the deciding close; IC, rank IC and
the net Sharpe by the return from the close after it, because nobody trades at the price that he decides on. Every
ratio-like figure has its naive baseline in the same run.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np

from benchmarks import _open_task as task_of
from tradewind.calibration.adaptive import calibrate
from tradewind.calibration.settings import CalibrationSection
from tradewind.models.forecast import Forecast
from tradewind.stats.bootstrap import bootstrap_interval
from tradewind.stats.diebold_mariano import diebold_mariano
from tradewind.stats.losses import crps, pinball

YEARS = range(2012, 2017)
BASELINE = "naive_normal"
FLAGSHIP = "blend_rank"
MODELS = (
    "naive_normal", "naive_t", "har", "scale_blend", "blend_rank", "garch_t", "ridge", "lightgbm_quantile",
    "lightgbm_rank", "random_forest", "xgboost", "voting",
)  # fmt: skip
ROUND_TRIP = 10e-4
AIMS: dict[str, Any] = {
    "pinball_skill": {"1": 4.5, "5": 5.0, "20": 5.0},
    "dm_p": 0.01,
    "coverage_80_within": 0.02,
    "coverage_by_year_within": 0.02,
    "coverage_rolling_100_within": 0.025,
    "rank_ic": {"1": 0.015, "5": 0.025, "20": 0.035},
    "net_sharpe_ci_above": 0.0,
}


def run() -> dict[str, Any]:
    wanted = [n for n in os.environ.get("FORECAST_MODELS", ",".join(MODELS)).split(",") if n]
    needs_features = any(n not in ("naive_normal", "naive_t", "har", "scale_blend", "garch_t") for n in wanted)
    task = task_of.load(with_features=needs_features)
    outcomes, tradable = task_of.outcomes_of(task, YEARS), task_of.outcomes_of(task, YEARS, wait=1)
    years = task_of.year_of(task.panel)
    years = years[np.isin(years, list(YEARS))]
    baseline, _ = task_of.walk(task, BASELINE, YEARS)
    figures: dict[str, Any] = {}
    for name in wanted:
        print(f"{name} …", file=sys.stderr, flush=True)
        forecast, seconds = task_of.walk(task, name, YEARS)
        first = int(np.searchsorted(task.panel.times, forecast.times[0]))
        calibrated, _ = calibrate(forecast, task.labels, CalibrationSection(), first)
        figures[name] = scores(calibrated, baseline, outcomes, years, tradable) | {
            "cpu_hours": round(seconds / 3600, 4)
        }
        figures[name]["raw"] = scores(forecast, baseline, outcomes, years)
    figures["panel"] = {"symbols": len(task.panel.symbols), "flags": list(task.panel.flags), "years": [2012, 2016]}
    return {"name": "forecasts", "ratios": {}, "figures": figures, "aims": AIMS, "met": met(figures.get(FLAGSHIP))}


def scores(
    forecast: Forecast,
    baseline: Forecast,
    outcomes: np.ndarray,
    years: np.ndarray,
    tradable: np.ndarray | None = None,
) -> dict[str, Any]:
    """Scores by horizon; with returns from the close after the decision also what the direction is worth."""
    found = {}
    for i, h in enumerate(forecast.horizons):
        found[str(h)] = one_horizon(forecast, baseline, outcomes[:, :, i], years, i, h)
        if tradable is not None:
            found[str(h)] |= direction(forecast.score[:, :, i], tradable[:, :, i], h)
    return found


def one_horizon(
    forecast: Forecast, baseline: Forecast, outcome: np.ndarray, years: np.ndarray, index: int, h: int
) -> dict[str, Any]:
    shared = forecast.available[:, :, index] & baseline.available[:, :, index] & np.isfinite(outcome)
    truth = np.where(shared, outcome, np.nan)
    mine, naive = (pinball(truth, f.quantiles[:, :, index], f.levels).mean(-1) for f in (forecast, baseline))
    inside = (truth >= forecast.quantiles[:, :, index, 1]) & (truth <= forecast.quantiles[:, :, index, -2])
    return {
        "pinball": number(np.nanmean(mine), 7),
        "crps": number(np.nanmean(crps(truth, forecast.quantiles[:, :, index], forecast.levels)), 7),
        "pinball_skill": number(100 * (1 - np.nansum(mine) / np.nansum(naive)), 3),
        "dm_p": number(diebold_mariano(mine, naive, h).p_value, 6),
        "coverage_80": number(inside[shared].mean(), 4),
        "coverage_by_year": {str(y): number(inside[shared & (years == y)[:, None]].mean(), 4) for y in YEARS},
        "coverage_rolling_100_off": number(rolling_deviation(inside, shared, forecast.levels), 4),
        "skill_by_year": {str(y): skill(mine, naive, years == y) for y in YEARS},
    }


def rolling_deviation(inside: np.ndarray, shared: np.ndarray, levels: tuple[float, ...]) -> float:
    """Largest departure of the mean coverage of 100 bars in a row from what the interval promises."""
    covered, count = np.where(shared, inside, False).sum(axis=1), shared.sum(axis=1)
    daily = (covered / np.maximum(count, 1))[count > 0]
    if len(daily) < 100:
        return np.nan
    promised = levels[-2] - levels[1]
    return float(np.abs(np.convolve(daily, np.full(100, 0.01), "valid") - promised).max())


def skill(mine: np.ndarray, naive: np.ndarray, rows: np.ndarray) -> float | None:
    return number(100 * (1 - np.nansum(mine[rows]) / np.nansum(naive[rows])), 2)


def direction(score: np.ndarray, outcome: np.ndarray, h: int) -> dict[str, Any]:
    """IC, rank IC with the t of its mean over non-overlapping stretches, and a decile book's Sharpe after costs."""
    ic = np.array([correlation(s, o, ranked=False) for s, o in zip(score, outcome, strict=True)])
    rank_ic = np.array([correlation(s, o, ranked=True) for s, o in zip(score, outcome, strict=True)])
    if not np.isfinite(rank_ic).any():
        return {"ic": None, "rank_ic": None, "rank_ic_t": None, "net_sharpe": None, "net_sharpe_ci": None}
    apart = rank_ic[::h][np.isfinite(rank_ic[::h])]
    t = apart.mean() / (apart.std(ddof=1) / np.sqrt(len(apart)))
    gains = book(score, outcome, h)
    yearly = np.sqrt(252 / h)
    sharpe = bootstrap_interval(gains, lambda g: yearly * g.mean(-1) / np.maximum(g.std(-1), 1e-12), seed=1)
    return {
        "ic": number(np.nanmean(ic), 5),
        "rank_ic": number(np.nanmean(rank_ic), 5),
        "rank_ic_t": number(t, 2),
        "net_sharpe": number(sharpe.value, 3),
        "net_sharpe_ci": [number(sharpe.low, 3), number(sharpe.high, 3)],
    }


def book(score: np.ndarray, outcome: np.ndarray, h: int) -> np.ndarray:
    """Simple return of the best against the worst tenth, rebuilt every ``h`` bars, less 10 bp per round trip."""
    gains, before = [], np.zeros(score.shape[1])
    for s, o in zip(score[::h], outcome[::h], strict=True):
        known = np.flatnonzero(np.isfinite(s) & np.isfinite(o))
        if len(known) < 20 or np.ptp(s[known]) == 0:
            continue
        order = known[np.argsort(s[known], kind="stable")]
        size = len(order) // 10
        weight = np.zeros_like(before)
        weight[order[-size:]], weight[order[:size]] = 0.5 / size, -0.5 / size
        cost = np.abs(weight - before).sum() * ROUND_TRIP / 2
        gains.append(float(weight[known] @ np.expm1(o[known])) - cost)
        before = weight
    return np.array(gains)


def correlation(score: np.ndarray, outcome: np.ndarray, ranked: bool) -> float:
    known = np.isfinite(score) & np.isfinite(outcome)
    s, o = score[known], outcome[known]
    if len(s) < 20 or np.ptp(s) < 1e-12:
        return np.nan
    if ranked:
        s, o = np.argsort(np.argsort(s)).astype(float), np.argsort(np.argsort(o)).astype(float)
    return float(np.corrcoef(s, o)[0, 1])


def number(value: Any, digits: int) -> float | None:
    return round(float(value), digits) if np.isfinite(value) else None


def met(flagship: dict[str, Any] | None) -> bool:
    """True only when the flagship reaches every aim at every horizon."""
    if flagship is None:
        return False
    return all(reached(flagship[str(h)], str(h)) for h in task_of.HORIZONS)


def reached(found: dict[str, Any], h: str) -> bool:
    covered = [found["coverage_80"], *found["coverage_by_year"].values()]
    return (
        found["pinball_skill"] >= AIMS["pinball_skill"][h]
        and found["dm_p"] < AIMS["dm_p"]
        and all(abs(c - 0.8) <= AIMS["coverage_80_within"] for c in covered)
        and (found["coverage_rolling_100_off"] or 1.0) <= AIMS["coverage_rolling_100_within"]
        and (found["rank_ic"] or 0.0) >= AIMS["rank_ic"][h]
        and (found["net_sharpe_ci"] or [-1.0])[0] > 0
    )

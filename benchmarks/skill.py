"""Forecast skill of every network and ensemble on 100 names of the open daily panel: 2014–2016, refitted twice.

The names are the 100 most traded of 2013, by the median of their daily turnover; the panel's members are those of 2021,
so every figure has survivorship bias. Each model is fitted on all before January 2014 and on all before July 2015, with
its own defaults, seed 1, one thread; the three best by mean skill over horizons also with seeds 2 and 3, and the mean
of the three. Networks read the `core` features, the baselines of the classical study all features, as they do there.
Ensembles combine the networks and `scale_blend`, weighted by what had come due, with their defaults: ten members at a
floor of 0.1 each leave `ewma_softmax` nothing to weigh, so that it is `equal` here.

Everything is judged after the online calibration that the product applies: pinball loss saved against the naive
normal, CRPS, coverage of the 80 % interval, IC and rank IC of the median against the return from the close after the
decision, the Sharpe ratio of a decile book after 10 bp per round trip. Intervals are 95 % by the stationary bootstrap
over dates. `confidence_set_p` is the p-value of belonging to the model confidence set of the horizon. Nothing was
tuned on these years; that the best three were chosen on them is the study's own choice, so read the others beside.

Resumable: each fit is kept in `.bench/skill` under a hash of its code, parameters and data. `SKILL_MODELS`
(comma-separated) restricts what is fitted; what is not kept yet is listed as `not_run`. `SKILL_ACCEPT_OLDER=1` takes
forecasts of older code where the code has changed since, and says of which models.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _open_task as task_of
from benchmarks.forecasts import book, correlation, number
from tradewind.calibration.adaptive import calibrate
from tradewind.calibration.settings import CalibrationSection
from tradewind.labels.forward import forward_returns
from tradewind.models.base import MODELS
from tradewind.models.ensembles.base import combiner_of
from tradewind.models.ensembles.combine import average, combine
from tradewind.models.forecast import LEVELS, Forecast
from tradewind.models.settings import EnsembleSection
from tradewind.stats.bootstrap import bootstrap_interval, stationary_indices
from tradewind.stats.losses import crps, pinball
from tradewind.stats.overfitting import model_confidence_set

BASELINE = "naive_normal"
CLASSICAL = ("naive_normal", "naive_t", "scale_blend", "lightgbm_quantile")
NETWORKS = ("lstm", "gru", "transformer", "tft", "mamba_stock", "ts_mamba", "kan", "gpt_patches", "samba")
METHODS = ("equal", "ewma_softmax", "bayes", "thompson", "stacking")
SEEDS = (1, 2, 3)
NAMES = 100
REFITS = (np.datetime64("2014-01-01"), np.datetime64("2015-07-01"))
END = np.datetime64("2017-01-01")
KEPT = task_of.ROOT / ".bench" / "skill"
ROOM = task_of.ROOT / "src" / "tradewind" / "models"


def run() -> dict[str, Any]:
    wanted = [n for n in os.environ.get("SKILL_MODELS", ",".join((*CLASSICAL, *NETWORKS))).split(",") if n]
    panel = the_panel()
    judged = Judge(panel)
    made, cpu, older, not_run = {}, {}, [], []
    for name in (*CLASSICAL, *NETWORKS):
        found = out_of_sample(panel, name, SEEDS[0], fit=name in wanted)
        if found is None:
            not_run.append(name)
            continue
        made[name], cpu[name], current = found
        older += [] if current else [name]
    members = {n: f for n, f in made.items() if n in NETWORKS or n == "scale_blend"}
    combined = ensembles(members, judged.labels.returns[judged.rows])
    figures = {name: judged.figures(f) for name, f in {**made, **combined}.items()}
    for name, seconds in cpu.items():
        figures[name]["cpu_hours"] = round(seconds / 3600, 4)
    judged.add_confidence_sets(figures)
    networks = [n for n in made if n in NETWORKS]
    best = sorted(networks, key=lambda n: -np.mean([figures[n][str(h)]["pinball_skill"] for h in task_of.HORIZONS]))[:3]
    seeds = {n: of_seeds(panel, judged, n, fit=n in wanted) for n in best}
    about = {
        "symbols": list(panel.symbols),
        "flags": list(panel.flags),
        "refits": [str(day) for day in REFITS],
        "until": str(END),
        "bars": len(judged.rows),
        "ensemble_members": list(members),
        "cpu_hours_in_all": round(sum(cpu.values()) / 3600, 3),
        "of_older_code": older,
        "not_run": not_run,
    }
    return {
        "name": "skill",
        "ratios": {},
        "figures": {**figures, "seeds": seeds, "about": about},
        "aims": {"all_models_run": True},
        "met": not not_run,
    }


@cache
def the_panel() -> Any:
    whole = task_of.open_panel(2016)
    year = np.flatnonzero(task_of.year_of(whole) == 2013)
    turnover = np.nan_to_num(whole.fields["close"][year] * whole.fields["volume"][year])
    order = np.argsort(-np.median(turnover, axis=0), kind="stable")[:NAMES]
    return whole.select(tuple(whole.symbols[i] for i in sorted(order)))


@cache
def the_task(all_features: bool) -> task_of.Task:
    """The panel with labels and features, computed once each."""
    from tradewind.features import compute
    from tradewind.features.registry import select

    panel = the_panel()
    names = select() if all_features else select(("core",))
    return task_of.Task(panel, forward_returns(panel, task_of.HORIZONS), compute(panel, names))


def out_of_sample(panel: Any, name: str, seed: int, fit: bool) -> tuple[Forecast, float, bool] | None:
    """Return a model's forecasts of all test bars, its CPU seconds, and whether they are of today's code."""
    parts, seconds, current = [], 0.0, True
    for number_, start in enumerate(REFITS):
        stop = (*REFITS, END)[number_ + 1]
        path = KEPT / f"{name}-{seed}-{code_of(name)}-{start}.npz"
        if not path.exists():
            known = sorted(KEPT.glob(f"{name}-{seed}-*-{start}.npz"), key=lambda p: p.stat().st_mtime)
            if known and os.environ.get("SKILL_ACCEPT_OLDER"):
                path, current = known[-1], False
            elif not fit:
                return None
            else:
                one_fit(panel, name, seed, start, stop, path)
        with np.load(path) as kept:
            if tuple(kept["symbols"]) != panel.symbols:
                raise SystemExit(f"{path} is of other names than the panel's: delete it")
            parts.append((kept["quantiles"], kept["score"]))
            seconds += float(kept["seconds"])
    rows = test_rows(panel, REFITS[0], END)
    quantiles, score = (np.concatenate(column) for column in zip(*parts, strict=True))
    made = Forecast(panel.times[rows], panel.symbols, task_of.HORIZONS, LEVELS, quantiles, score, model=name)
    return made, seconds, current


def one_fit(panel: Any, name: str, seed: int, start: np.datetime64, stop: np.datetime64, path: Path) -> None:
    """Fit on all before ``start`` and keep the forecasts until ``stop``."""
    print(f"{name}, seed {seed}, from {start} …", file=sys.stderr, flush=True)
    task = the_task(all_features=name in CLASSICAL)
    rows = test_rows(panel, start, stop)
    threads = {} if name.startswith("naive") else {"threads": 1}
    began = time.process_time()
    seen = task.head(int(rows[0]))
    model = MODELS.create(name, **{"seed": seed, **threads}).fit(task_of._training(seen))
    fitted = time.process_time() - began
    made = model.predict(task.head(int(rows[-1]) + 1).windows(rows))
    spent = time.process_time() - began
    print(f"  fitted in {fitted:.0f} CPU s, {spent:.0f} with its forecasts", file=sys.stderr, flush=True)
    KEPT.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".part.npz")
    told = {"symbols": np.array(panel.symbols), "seconds": spent, "fitted": fitted}
    np.savez(half, quantiles=made.quantiles, score=made.score, **told)
    half.replace(path)


def test_rows(panel: Any, start: np.datetime64, stop: np.datetime64) -> np.ndarray:
    day = panel.times.astype("datetime64[D]")
    return np.flatnonzero((day >= start) & (day < stop))


@cache
def code_of(name: str) -> str:
    """Hash of a model's file, of those of its room that it imports, near or far, and of the study's own choices."""
    waiting, texts = [ROOM / f"{type(MODELS.create(name)).__module__.rsplit('.', 1)[1]}.py"], {}
    while waiting:
        path = waiting.pop()
        if path in texts or not path.exists():
            continue
        texts[path] = path.read_text("utf-8")
        found = re.findall(r"from tradewind\.models((?:\.\w+)+) import", texts[path])
        waiting += [ROOM.joinpath(*dotted.strip(".").split(".")).with_suffix(".py") for dotted in found]
    whole = json.dumps([*the_panel().symbols, *map(str, REFITS), *(texts[path] for path in sorted(texts))])
    return hashlib.blake2b(whole.encode(), digest_size=6).hexdigest()


def ensembles(members: Mapping[str, Forecast], outcomes: np.ndarray) -> dict[str, Forecast]:
    if len(members) < 2:
        return {}
    names = tuple(members)
    sections = {m: EnsembleSection(members=names, method=m) for m in METHODS}
    made = {f"ensemble_{m}": combine(members, outcomes, combiner_of(s, 1)).forecast for m, s in sections.items()}
    return {name: replace(forecast, model=name) for name, forecast in made.items()}


def of_seeds(panel: Any, judged: Judge, name: str, fit: bool) -> dict[str, Any]:
    """Skill of each seed and of their mean, by horizon."""
    found = {seed: out_of_sample(panel, name, seed, fit) for seed in SEEDS}
    made = {str(seed): one[0] for seed, one in found.items() if one is not None}
    if len(made) < len(SEEDS):
        return {"not_run": [seed for seed, one in found.items() if one is None]}
    even = np.full((len(judged.rows), len(task_of.HORIZONS), len(made)), 1 / len(made))
    made["mean"] = average(list(made.values()), even, name)
    columns = ("pinball_skill", "pinball_skill_ci", "coverage_80", "rank_ic", "rank_ic_ci")
    scored = {label: judged.figures(one) for label, one in made.items()}
    return {
        label: {h: {c: row[c] for c in columns} for h, row in rows.items() if h.isdigit()}
        for label, rows in scored.items()
    }


class Judge:
    """Scores a forecast against what happened and against the naive normal, on what both forecast."""

    def __init__(self, panel: Any) -> None:
        self.labels = forward_returns(panel, task_of.HORIZONS)
        self.rows = test_rows(panel, REFITS[0], END)
        first = int(self.rows[0])
        self.outcomes = self.labels.returns[self.rows]
        late = np.full_like(self.labels.returns, np.nan)
        late[:-1] = self.labels.returns[1:]
        self.tradable = late[self.rows]
        self.first = first
        found = out_of_sample(panel, BASELINE, SEEDS[0], fit=True)
        assert found is not None
        self.naive = found[0]
        self.losses: dict[int, dict[str, np.ndarray]] = {}

    def figures(self, forecast: Forecast) -> dict[str, Any]:
        made, _ = calibrate(forecast, self.labels, CalibrationSection(), self.first)
        return {str(h): self.one_horizon(made, i, h) for i, h in enumerate(made.horizons)}

    def one_horizon(self, made: Forecast, i: int, h: int) -> dict[str, Any]:
        shared = made.available[:, :, i] & self.naive.available[:, :, i] & np.isfinite(self.outcomes[:, :, i])
        truth = np.where(shared, self.outcomes[:, :, i], np.nan)
        mine, naive = (pinball(truth, f.quantiles[:, :, i], f.levels).mean(-1) for f in (made, self.naive))
        with np.errstate(invalid="ignore"):
            inside = (truth >= made.quantiles[:, :, i, 1]) & (truth <= made.quantiles[:, :, i, -2])
        covered = by_date(np.where(shared, inside, np.nan))
        self.losses.setdefault(i, {})[made.model] = by_date(mine)
        block = max(10, 2 * h)
        low, high = ratio_interval(by_date(mine), by_date(naive), block)
        coverage = bootstrap_interval(covered, lambda x: x.mean(-1), seed=1, block_bars=block)
        return {
            "pinball": number(np.nanmean(mine), 7),
            "pinball_skill": number(100 * (1 - np.nansum(by_date(mine)) / np.nansum(by_date(naive))), 3),
            "pinball_skill_ci": [number(100 * (1 - high), 3), number(100 * (1 - low), 3)],
            "crps": number(np.nanmean(crps(truth, made.quantiles[:, :, i], made.levels)), 7),
            "coverage_80": number(coverage.value, 4),
            "coverage_80_ci": [number(coverage.low, 4), number(coverage.high, 4)],
            **direction(made.score[:, :, i], self.tradable[:, :, i], h),
        }

    def add_confidence_sets(self, figures: dict[str, Any]) -> None:
        for i, h in enumerate(task_of.HORIZONS):
            names = [n for n in figures if n in self.losses[i]]
            table = np.column_stack([self.losses[i][n] for n in names])
            table = table[np.isfinite(table).all(axis=1)]
            for name, p in model_confidence_set(table, names, block_bars=max(10, 2 * h)).items():
                figures[name][str(h)]["confidence_set_p"] = round(p, 4)


def by_date(values: np.ndarray) -> np.ndarray:
    count = np.isfinite(values).sum(axis=1)
    return np.where(count > 0, np.nansum(values, axis=1) / np.maximum(count, 1), np.nan)


def ratio_interval(mine: np.ndarray, naive: np.ndarray, block: int, samples: int = 2000) -> tuple[float, float]:
    """95 % interval of the ratio of two mean losses, dates of both resampled together."""
    known = np.isfinite(mine) & np.isfinite(naive)
    mine, naive = mine[known], naive[known]
    rows = stationary_indices(len(mine), block, samples, np.random.default_rng(1))
    low, high = np.quantile(mine[rows].mean(axis=1) / naive[rows].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def direction(score: np.ndarray, outcome: np.ndarray, h: int) -> dict[str, Any]:
    """IC, rank IC and a decile book's Sharpe ratio after costs, each with its interval."""
    found: dict[str, Any] = {}
    for name, ranked in (("ic", False), ("rank_ic", True)):
        daily = np.array([correlation(s, o, ranked=ranked) for s, o in zip(score, outcome, strict=True)])
        one = bootstrap_interval(daily, lambda x: x.mean(-1), seed=1, block_bars=max(10, 2 * h))
        found |= {name: number(one.value, 5), f"{name}_ci": [number(one.low, 5), number(one.high, 5)]}
    yearly = np.sqrt(252 / h)
    gains = book(score, outcome, h)
    sharpe = bootstrap_interval(gains, lambda g: yearly * g.mean(-1) / np.maximum(g.std(-1), 1e-12), seed=1)
    interval = [number(sharpe.low, 3), number(sharpe.high, 3)]
    return found | {"net_sharpe": number(sharpe.value, 3), "net_sharpe_ci": interval}

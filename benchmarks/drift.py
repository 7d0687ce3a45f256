"""Drift on real history: how often the monitor speaks where nothing was planted, how soon it sees what was, its cost.

Three histories with the 148 core features: the synthetic market (20 stocks, daily), the 20 names most traded in 2005 of
the open daily panel (survivors), and 20 names of the open 5-minute file. Each is cut into lives of a model: 756 daily
bars of training and 63 lived, or 1,560 and 390 of five minutes (20 sessions and one week). ``false_alarm_rate`` is the
share of windows without a planted change in which the level was ever ``drift``, ``false_alarm_lives`` that of lives;
some of them hold a real change (the autumn of 2008, August 2015), and they count. Outcomes are those of a ridge
regression, walked forward; the previous champion is the naive normal. What is planted begins a third into a life; all
features that take many values move unless it says otherwise. ``watched`` counts that level or more. A flipped sign of a
signal this weak cannot be seen in a life, and is not.

The peer of the speed is the loop one would write first, with scipy over features: statistic and p-value of
Kolmogorov–Smirnov, Wasserstein, Jensen–Shannon and a stability index of the newest hour against the training data.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._open_task import DATA
from tradewind.evaluation import corridor
from tradewind.evaluation.data import load_or_sync
from tradewind.evaluation.fold_cache import FoldCache
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.workspace import Workspace
from tradewind.live.drift_monitor import DriftMonitor
from tradewind.live.drift_reference import drift_reference
from tradewind.live.drift_simulation import History, Planted, Said, simulate
from tradewind.playbook import load

CHANGES = {
    "mean of all features by 2 deviations": Planted("mean_shift", 2.0),
    "mean of all features by 1 deviation": Planted("mean_shift", 1.0),
    "mean of a third of the features by 2 deviations": Planted("mean_shift", 2.0, 0.33),
    "deviations times 2": Planted("variance", 2.0),
    "deviations times 1.25": Planted("variance", 1.25),
    "correlation broken": Planted("correlation"),
    "sign of the signal": Planted("sign_flip"),
    "one feature dead": Planted("dead_feature"),
    "one feature missing": Planted("missing_feature"),
    "champion broken": Planted("broken_champion"),
}
LIVES = 8
DAILY, FIVE_MINUTES = (756, 63, 5), (1560, 390, 12)
AIMS = {"milliseconds_a_bar": 5.0, "false_alarm_rate": 0.05, "mean_by_2_detected": 0.95}
NAMES = (
    "GOOGL", "MSFT", "INTC", "AAPL", "XOM", "EBAY", "PFE", "GE", "C", "JCI", "AMGN", "QCOM", "AIG", "IBM", "JNJ",
    "AMAT", "JPM", "SLB", "NLOK", "VZ",
)  # fmt: skip


def run() -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for name, (history, (train, life, window)) in histories():
        found = {told: planted_into(history, train, life, window, change) for told, change in CHANGES.items()}
        whole = simulate(
            history, Planted("mean_shift"), train_bars=train, life_bars=life, window_bars=window, lives_most=999
        )
        figures[name] = {
            "symbols": history.features.shape[1],
            "bars": len(history.times),
            "train_life_window_bars": [train, life, window],
            "lives": whole["lives"],
            "windows": whole["windows"],
            "false_alarm_rate": whole["false_alarm_rate"],
            "false_alarm_lives": whole["false_alarm_lives"],
            "watch_rate": whole["watch"]["false_alarm_rate"],
            "planted": found,
        }
    ours, peer, learnt = speed(history, train, window)
    windows = sum(one["windows"] for one in figures.values())
    alarms = sum(one["windows"] * one["false_alarm_rate"] for one in figures.values())
    detected = min(one["planted"]["mean of all features by 2 deviations"]["detected"] for one in figures.values())
    rate = alarms / windows
    return {
        "name": "drift",
        "ratios": {"scipy_loop": peer / ours},
        "figures": {
            "false_alarm_rate": rate,
            "windows": windows,
            "milliseconds_a_bar": ours * 1e3,
            "scipy_loop_milliseconds_a_bar": peer * 1e3,
            "seconds_to_learn_a_reference": learnt,
            **figures,
        },
        "aims": AIMS,
        "met": bool(
            ours * 1e3 <= AIMS["milliseconds_a_bar"]
            and rate <= AIMS["false_alarm_rate"]
            and detected >= AIMS["mean_by_2_detected"]
        ),
    }


def planted_into(history: History, train: int, life: int, window: int, change: Planted) -> dict[str, Any]:
    found = simulate(history, change, train_bars=train, life_bars=life, window_bars=window, lives_most=LIVES)
    return {
        "detected": found["detected_share"],
        "delay_bars": found["delay_bars_median"],
        "watched": found["watch"]["detected_share"],
        "watch_delay_bars": found["watch"]["delay_bars_median"],
    }


def histories() -> Iterator[tuple[str, tuple[History, tuple[int, int, int]]]]:
    common = {"labels.barriers": False}
    synthetic = {
        "data.timeframe": "1d",
        "data.start": "2012-01-03",
        "data.end": "2023-12-29",
        "labels.horizons_bars": [1, 5, 20],
        "decision.horizon_bars": 20,
        "source.synthetic.options.n_symbols": 20,
    }
    yield "synthetic", (lived("synthetic", {**common, **synthetic}, DAILY), DAILY)
    daily = {
        **files("daily/sp500_ohlcv_2005_2016.parquet"),
        "universe.symbols": list(NAMES),
        "source.files.options.context": {"index": "macro/gspc_close.csv.gz", "vix": "macro/vix_daily.csv.gz"},
        "data.context": {"index": "index", "vix": "vix"},
    }
    yield "open_daily", (lived("files", {**common, **daily}, DAILY), DAILY)
    five = {
        **files("intraday/us_5min_2025H2.parquet"),
        "universe.symbols": five_minute_names(),
        "source.files.options.timeframe": "5m",
        "source.files.options.stamp": "start",
        "source.files.options.prices": "split",
        "data.timeframe": "5m",
        "data.context": {"index": "SPY", "nasdaq": "QQQ"},
        "labels.horizons_bars": [1, 6, 12],
        "decision.horizon_bars": 12,
    }
    yield "five_minutes", (lived("files", {**common, **five}, FIVE_MINUTES), FIVE_MINUTES)


def files(path: str) -> dict[str, Any]:
    if not (DATA / path).exists():
        raise SystemExit(f"{DATA / path} is not here: this benchmark needs the open data")
    return {"source.files.options.base": str(DATA), "source.files.options.path": path}


def five_minute_names() -> list[str]:
    import polars as pl

    known = pl.read_parquet(DATA / "intraday" / "us_5min_2025H2.parquet", columns=["ticker"])["ticker"]
    return [name for name in known.unique().sort().to_list() if name not in ("SPY", "QQQ")][:20]


def lived(source: str, overrides: dict[str, Any], bars: tuple[int, int, int]) -> History:
    """Return features, outcomes and walked-forward forecasts of a playbook; they begin half a training part in."""
    walk = {"evaluation.min_train_bars": bars[0] // 2, "evaluation.refit_bars": 2 * bars[1]}
    plan = Plan.of(load("dual-model", source=source, overrides={**overrides, **walk}))
    with tempfile.TemporaryDirectory() as home:
        loaded = load_or_sync(Workspace(plan, Path(home)))
        world = corridor.build_world(plan, loaded.panel, loaded.notes)
        said = {name: walked(world, name, Path(home)) for name in ("ridge", "naive_normal")}
    return History(
        world.panel.times,
        world.features.names,
        world.features.values,
        world.labels.returns,
        world.labels.horizons,
        said["ridge"][1],
        Said(said["ridge"][0]),
        Said(said["naive_normal"][0]),
    )


def walked(world: corridor.World, name: str, home: Path) -> tuple[np.ndarray, tuple[float, ...]]:
    made = corridor.forecast_out_of_sample(world, name, FoldCache(home / "folds"))
    quantiles = np.full((len(world.panel.times), *made.quantiles.shape[1:]), np.nan)
    quantiles[np.searchsorted(world.panel.times, made.times)] = made.quantiles
    return quantiles, made.levels


def speed(history: History, train: int, window: int, bars: int = 100) -> tuple[float, float, float]:
    """Return CPU seconds of one bar, of the same with scipy, and of learning a reference."""
    x = history.features[-train - bars :]
    began = time.process_time()
    reference = drift_reference(x[:train], history.names, window, bars)
    learnt = time.process_time() - began
    monitor = DriftMonitor(reference)
    state = monitor.start(x.shape[1], x[:train])
    when = history.times[-bars:]
    began = time.process_time()
    for row in range(bars):
        state, _ = monitor.step(state, when[row : row + 1], x[train + row : train + row + 1])
    ours = (time.process_time() - began) / bars
    began = time.process_time()
    with_scipy(x[:train].reshape(-1, x.shape[-1]), x[train : train + window].reshape(-1, x.shape[-1]))
    return ours, time.process_time() - began, learnt


def with_scipy(reference: np.ndarray, newest: np.ndarray) -> list[tuple[float, ...]]:
    from scipy.spatial.distance import jensenshannon
    from scipy.stats import ks_2samp, wasserstein_distance

    found = []
    for column in range(reference.shape[1]):
        a, b = (t[:, column][np.isfinite(t[:, column])].astype(float) for t in (reference, newest))
        if not len(a) or not len(b):
            continue
        edges = np.unique(np.quantile(a, np.linspace(0, 1, 21)))
        edges[0], edges[-1] = -np.inf, np.inf
        if len(edges) < 3:
            continue
        p, q = (np.histogram(t, edges)[0] + 0.5 for t in (a, b))
        p, q = p / p.sum(), q / q.sum()
        tested = ks_2samp(a, b, method="asymp")
        index = float(((q - p) * np.log(q / p)).sum())
        found.append((tested.statistic, tested.pvalue, wasserstein_distance(a, b), jensenshannon(p, q), index))
    return found

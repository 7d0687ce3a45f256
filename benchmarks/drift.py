"""Drift on histories that set the thresholds and on others: how often it speaks of nothing, what it sees, its cost.

The constants of the monitor were chosen on four histories (``chosen_on``) and are judged on four (``judged_on``),
that were looked at once, afterwards: other invented markets, other names of the open daily panel, and the open hourly
file. Judged names live in the same years as the chosen ones: the crises are not new. The thresholds of each life come
from the bars before it in both. Lives do not overlap: 756 daily bars of training and 63 lived, 1,560 and 390 of five
minutes, 882 and 147 of an hour.

``false_alarm_rate`` is the share of windows without a planted change in which the level was ever ``drift``,
``false_alarm_lives`` that of lives, each with its 95 % interval; some of them hold a real change (the autumn of 2008,
August 2015), and they count. Outcomes are those of a ridge regression, walked forward; the previous champion is the
naive normal. What is planted begins a third into a life; all features that take many values move unless it says
otherwise. ``watched`` counts that level or more. ``sign_by_skill`` turns the sign of an invented champion whose
information coefficient is known.

The peer of the speed is the loop one would write first, with scipy over features: statistic and p-value of
Kolmogorov–Smirnov, Wasserstein, Jensen–Shannon and a stability index of the newest hour against the training data.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtri

from benchmarks._open_task import DATA
from tradewind.evaluation import corridor
from tradewind.evaluation.data import load_or_sync
from tradewind.evaluation.fold_cache import FoldCache
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.workspace import Workspace
from tradewind.live.drift_monitor import DriftMonitor
from tradewind.live.drift_reference import drift_reference
from tradewind.live.drift_simulation import History, Planted, Said, simulate_all
from tradewind.playbook import load
from tradewind.stats.proportion import wilson

CHANGES = {
    "mean of all features by 2 deviations": Planted("mean_shift", 2.0),
    "mean of all features by 1 deviation": Planted("mean_shift", 1.0),
    "mean of a third of the features by 2 deviations": Planted("mean_shift", 2.0, 0.33),
    "deviations times 2": Planted("variance", 2.0),
    "deviations times 1.25": Planted("variance", 1.25),
    "correlation broken": Planted("correlation"),
    "all features mirrored": Planted("mirrored_features"),
    "a third of the features mirrored": Planted("mirrored_features", share=0.33),
    "sign of the signal": Planted("sign_flip"),
    "one feature dead": Planted("dead_feature"),
    "one feature missing": Planted("missing_feature"),
    "champion broken": Planted("broken_champion"),
}
EVERYWHERE = {name: CHANGES[name] for name in ("mean of all features by 2 deviations", "champion broken")}
LIVES = 8
LIVES_MOST = 40
SKILLS = (0.02, 0.05, 0.1, 0.2, 0.4)
DAILY, FIVE_MINUTES, HOURLY = (756, 63, 5), (1560, 390, 12), (882, 147, 6)
AIMS = {
    "milliseconds_a_bar": 5.0,
    "false_alarm_rate": 0.05,
    "mean_by_2_detected": 0.95,
    "champion_broken_detected": 0.95,
}
NAMES = (
    "GOOGL", "MSFT", "INTC", "AAPL", "XOM", "EBAY", "PFE", "GE", "C", "JCI", "AMGN", "QCOM", "AIG", "IBM", "JNJ",
    "AMAT", "JPM", "SLB", "NLOK", "VZ",
)  # fmt: skip
OTHER_NAMES = (
    "HAL", "HD", "AXP", "HPQ", "MRK", "UNH", "CMCSA", "KO", "WFC", "BA", "KLAC", "BBY", "LOW", "BIIB", "OXY", "TGT",
    "MDT", "ADBE", "RTX", "DD",
)  # fmt: skip


def run() -> dict[str, Any]:
    chosen = {name: measured(one, EVERYWHERE) for name, one in chosen_on()}
    judged, skills = {}, {}
    for name, (history, bars) in judged_on():
        judged[name] = measured((history, bars), CHANGES)
        if name.startswith("synthetic"):
            skills[name] = {f"{skill:g}": signs(history, bars, skill) for skill in SKILLS}
    ours, peer, learnt = speed(history, bars[0], bars[2])
    total = together(judged)
    detected = {
        name: min(one["planted"][told]["detected"] for one in judged.values())
        for name, told in zip(("mean_by_2", "champion_broken"), EVERYWHERE, strict=True)
    }
    return {
        "name": "drift",
        "ratios": {"scipy_loop": peer / ours},
        "figures": {
            "judged": total,
            "chosen": together(chosen),
            "milliseconds_a_bar": ours * 1e3,
            "scipy_loop_milliseconds_a_bar": peer * 1e3,
            "seconds_to_learn_a_reference": learnt,
            "sign_by_skill": skills,
            "judged_on": judged,
            "chosen_on": chosen,
        },
        "aims": AIMS,
        "met": bool(
            ours * 1e3 <= AIMS["milliseconds_a_bar"]
            and total["false_alarm_rate"] <= AIMS["false_alarm_rate"]
            and detected["mean_by_2"] >= AIMS["mean_by_2_detected"]
            and detected["champion_broken"] >= AIMS["champion_broken_detected"]
        ),
    }


def measured(one: tuple[History, tuple[int, int, int]], changes: dict[str, Planted]) -> dict[str, Any]:
    """Return false alarms and what is seen of two changes in all lives, and of the others in a few."""
    history, bars = one
    everywhere = dict(zip(EVERYWHERE, lived_through(history, bars, EVERYWHERE, LIVES_MOST), strict=True))
    others = {name: change for name, change in changes.items() if name not in EVERYWHERE}
    few = dict(zip(others, lived_through(history, bars, others, LIVES), strict=True)) if others else {}
    quiet = next(iter(everywhere.values()))
    return {
        "symbols": history.features.shape[1],
        "bars": len(history.times),
        "train_life_window_bars": list(bars),
        "lives": quiet["lives"],
        "windows": quiet["windows"],
        "false_alarm_rate": quiet["false_alarm_rate"],
        "false_alarm_interval": quiet["false_alarm_interval"],
        "false_alarm_lives": quiet["false_alarm_lives"],
        "false_alarm_lives_interval": quiet["false_alarm_lives_interval"],
        "rolled_back_without_change": quiet["rolled_back_without_change_share"],
        "watch_rate": quiet["watch"]["false_alarm_rate"],
        "planted": {name: seen({**everywhere, **few}[name]) for name in changes},
    }


def lived_through(
    history: History, bars: tuple[int, int, int], changes: dict[str, Planted], most: int
) -> list[dict[str, Any]]:
    train, life, window = bars
    asked = {"train_bars": train, "life_bars": life, "window_bars": window, "lives_most": most}
    return simulate_all(history, list(changes.values()), **asked)


def seen(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "lives": found["lives"],
        "detected": found["detected_share"],
        "detected_interval": found["detected_interval"],
        "delay_bars": found["delay_bars_median"],
        "watched": found["watch"]["detected_share"],
        "watch_delay_bars": found["watch"]["delay_bars_median"],
        "rolled_back": found["rolled_back_share"],
    }


def together(histories: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return false alarms and the broken champion over all histories; lives of different ones are independent."""
    parts = list(histories.values())
    lives, windows = sum(one["lives"] for one in parts), sum(one["windows"] for one in parts)
    spoke = round(sum(one["lives"] * one["false_alarm_lives"] for one in parts))
    broken = [one["planted"]["champion broken"] for one in parts]
    watched = sum(one["lives"] for one in broken)
    found = round(sum(one["lives"] * one["detected"] for one in broken))
    return {
        "lives": lives,
        "windows": windows,
        "false_alarm_rate": sum(one["windows"] * one["false_alarm_rate"] for one in parts) / windows,
        "false_alarm_lives": spoke / lives,
        "false_alarm_lives_interval": [float(end) for end in wilson(spoke / lives, lives)],
        "champion_broken_detected": found / watched,
        "champion_broken_detected_interval": [float(end) for end in wilson(found / watched, watched)],
    }


def signs(history: History, bars: tuple[int, int, int], skill: float) -> dict[str, Any]:
    """Return what is seen of a turned sign where the champion's information coefficient is known."""
    bare = replace(
        history, features=history.features[:, :, :1], names=history.names[:1], champion=skilled(history, skill)
    )
    [found] = lived_through(bare, bars, {"sign": Planted("sign_flip")}, LIVES_MOST)
    return seen(found)


def skilled(history: History, skill: float, seed: int = 0) -> Said:
    """Return an invented champion: calibrated, of the naive one's spread, with this correlation to the outcomes.

    What it does not know overlaps in time as outcomes of so many bars do.
    """
    assert history.returns is not None and history.previous is not None
    draw, score = np.random.default_rng(seed), ndtri(np.asarray(history.levels))
    quantiles = np.full_like(history.previous.quantiles, np.nan)
    for column, horizon in enumerate(history.horizons):
        naive = history.previous.quantiles[:, :, column]
        deviation = (naive[..., -1] - naive[..., 0]) / (score[-1] - score[0])
        came = np.nan_to_num(history.returns[:, :, column] / deviation)
        bars = draw.normal(size=(len(came) + horizon - 1, came.shape[1]))
        noise = np.lib.stride_tricks.sliding_window_view(bars, horizon, axis=0).sum(axis=-1) / np.sqrt(horizon)
        known = skill**2 * came + skill * np.sqrt(1.0 - skill**2) * noise
        quantiles[:, :, column] = deviation[..., None] * (known[..., None] + np.sqrt(1.0 - skill**2) * score)
    return Said(quantiles)


def chosen_on() -> Iterator[tuple[str, tuple[History, tuple[int, int, int]]]]:
    yield "synthetic", (invented_daily(), DAILY)
    yield "open_daily", (open_daily(NAMES), DAILY)
    yield "five_minutes", (five_minutes(), FIVE_MINUTES)
    yield "synthetic_five_minutes", (invented_five_minutes(11), FIVE_MINUTES)


def judged_on() -> Iterator[tuple[str, tuple[History, tuple[int, int, int]]]]:
    yield "hourly", (hourly(), HOURLY)
    yield "open_daily_other_names", (open_daily(OTHER_NAMES), DAILY)
    yield "synthetic_other_market", (invented_daily(101), DAILY)
    yield "synthetic_five_minutes_other_market", (invented_five_minutes(103), FIVE_MINUTES)


ONE_DAY = {
    "data.timeframe": "1d",
    "labels.barriers": False,
    "labels.horizons_bars": [1, 5, 20],
    "decision.horizon_bars": 20,
}


def invented_daily(seed: int | None = None) -> History:
    options = {} if seed is None else {"source.synthetic.options.seed": seed}
    years = {"data.start": "2012-01-03", "data.end": "2023-12-29", "source.synthetic.options.n_symbols": 20}
    return lived("synthetic", {**ONE_DAY, **years, **options}, DAILY)


def invented_five_minutes(seed: int) -> History:
    asked = {"labels.barriers": False, "data.start": "2023-06-01", "source.synthetic.options.seed": seed}
    return lived("synthetic", asked, FIVE_MINUTES)


def open_daily(names: tuple[str, ...]) -> History:
    asked = {
        **ONE_DAY,
        **files("daily/sp500_ohlcv_2005_2016.parquet"),
        "universe.symbols": list(names),
        "source.files.options.timeframe": "1d",
        "source.files.options.context": {"index": "macro/gspc_close.csv.gz", "vix": "macro/vix_daily.csv.gz"},
        "data.context": {"index": "index", "vix": "vix"},
    }
    return lived("files", asked, DAILY)


def five_minutes() -> History:
    asked = {
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
    return lived("files", asked, FIVE_MINUTES)


def hourly() -> History:
    asked = {
        **files("intraday/us_hourly_1998_2016.parquet"),
        "universe.symbols": ["AAPL", "AIG", "BAC", "IBM"],
        "source.files.options.timeframe": "1h",
        "source.files.options.stamp": "start",
        "source.files.options.prices": "raw",
        "data.timeframe": "1h",
        "data.context": {"index": "SPY"},
        "labels.barriers": False,
        "labels.horizons_bars": [1, 3, 7],
        "decision.horizon_bars": 7,
    }
    return lived("files", asked, HOURLY)


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
